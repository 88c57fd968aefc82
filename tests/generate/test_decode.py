from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.conftest import ask, tiny_of, tiny_recipe, tiny_student
from tinythinker.core.records import LABELS
from tinythinker.generate import decode as module
from tinythinker.generate.choose import best_tokens, draw_tokens
from tinythinker.generate.decode import Decoded, Sampling, decode
from tinythinker.generate.label_logps import label_logps
from tinythinker.settings.schema import StudentSettings
from tinythinker.stages.answer import conclusion
from tinythinker.student.encode import encode_prompts, encode_targets
from tinythinker.student.logps import target_logps
from tinythinker.student.scratch import scratch_student
from tinythinker.student.student import Student

PROMPTS = ["Where does rain go?", "rain", "rain is wet and falls. Where? (A) up (B) down", "down"]


def greedy(student: Student, prompts: list[str], batch_size: int = 8) -> list[Decoded]:
    return decode(student, prompts, max_tokens=6, batch_size=batch_size)


def sampled(student: Student, prompts: list[str], seeds: list[int], *, size: int = 8, heat: float = 1.0) -> list[str]:
    sampling = Sampling(heat, seeds)
    return [text.text for text in decode(student, prompts, max_tokens=6, batch_size=size, sampling=sampling)]


def test_a_text_does_not_depend_on_the_batch_it_was_decoded_in(any_student: Student) -> None:
    student = any_student
    assert greedy(student, PROMPTS) == greedy(student, PROMPTS, batch_size=1) == greedy(student, PROMPTS[::-1])[::-1]


def test_equal_prompts_are_decoded_once_and_all_get_the_text(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    plain = module._batch

    def counted(student: Student, rows: list[list[int]], how: module._How) -> list[Decoded]:
        sizes.append(len(rows))
        return plain(student, rows, how)

    monkeypatch.setattr(module, "_batch", counted)
    once = greedy(student, ["rain", "down"])
    assert greedy(student, ["rain", "down", "rain"]) == [once[0], once[1], once[0]]
    assert sizes == [2, 2]


def test_a_sampled_text_depends_only_on_its_own_seed_and_prompt(any_student: Student) -> None:
    student = any_student
    seeds = [11, 12, 13, 14]
    together = sampled(student, PROMPTS, seeds)
    assert sampled(student, PROMPTS, seeds, size=3) == together
    assert sampled(student, PROMPTS[2:3], [13]) == together[2:3]
    assert sampled(student, PROMPTS, [1, 2, 3, 4]) != together


def first_tokens(student: Student, *, heat: float, count: int) -> torch.Tensor:
    """Share of every token among many draws of the first token."""
    ids = student.tokenizer(["rain"])["input_ids"] * count
    drawn = module._batch(student, ids, module._How(1, count, Sampling(heat, range(count)), None, None))
    words = [text.text for text in drawn]
    vocabulary = [
        str(student.tokenizer.decode([i], skip_special_tokens=True)).strip() for i in range(len(student.tokenizer))
    ]
    return torch.tensor([words.count(word) / count if vocabulary.count(word) == 1 else math.nan for word in vocabulary])


@torch.no_grad()
def exact(student: Student) -> torch.Tensor:
    encoded = encode_prompts(student, ["rain"])
    start = torch.tensor([[student.model.config.decoder_start_token_id]])
    student.model.eval()
    logits: torch.Tensor = student.model(
        input_ids=encoded.ids, attention_mask=encoded.mask, decoder_input_ids=start
    ).logits
    return logits[0, -1, : len(student.tokenizer)].double()


@pytest.mark.parametrize("heat", [0.7, 2.0])
def test_samples_follow_the_exact_distribution_at_the_temperature(heat: float) -> None:
    student, count = tiny_student(), 8000
    wanted = (exact(student) / heat).softmax(0)
    found = first_tokens(student, heat=heat, count=count)
    known = ~found.isnan()
    # Five standard deviations of a share, for every token.
    assert ((found - wanted)[known].abs() <= 5 * (wanted[known] * (1 - wanted[known]) / count).sqrt() + 1e-9).all()


def test_a_uniform_number_picks_the_token_it_falls_on() -> None:
    # Probabilities 0.5, 0, 0.25, 0.25: cumulative 0.5, 0.5, 0.75, 1.
    logits = torch.tensor([[0.5, 0.0, 0.25, 0.25]]).log().repeat(5, 1)
    uniforms = torch.tensor([0.0, 0.499, 0.501, 0.751, 0.999], dtype=torch.float64)
    assert draw_tokens(logits, uniforms, 1.0).tolist() == [0, 0, 2, 3, 3]
    # At temperature 0.5 probabilities are squared and scaled: 2/3, 0, 1/6, 1/6.
    assert draw_tokens(logits[:2], torch.tensor([0.66, 0.67], dtype=torch.float64), 0.5).tolist() == [0, 2]


def test_a_large_vocabulary_is_sampled_as_with_a_plain_cumulative_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(500, 1000, generator=generator)
    uniforms = torch.rand(500, generator=generator, dtype=torch.float64)
    cumulated = torch.softmax(logits.double() / 0.7, dim=1).cumsum(1)
    plain = [next(i for i, c in enumerate(row) if c > u) for row, u in zip(cumulated, uniforms, strict=True)]
    assert draw_tokens(logits, uniforms, 0.7).tolist() == plain


def test_a_token_with_probability_zero_is_never_drawn_even_at_the_edge() -> None:
    logits = torch.full((1, 700), -torch.inf)
    logits[0, [5, 300]] = 0.0
    almost_one = torch.tensor([1 - 2**-53], dtype=torch.float64)
    assert draw_tokens(logits, almost_one, 1.0).tolist() == [300]
    assert draw_tokens(logits, torch.zeros_like(almost_one), 1.0).tolist() == [5]


def test_nan_logits_draw_some_token_of_the_vocabulary() -> None:
    logits = torch.full((2, 300), torch.nan)
    logits[1, :] = torch.inf
    assert all(0 <= token < 300 for token in draw_tokens(logits, torch.tensor([0.2, 0.9]).double(), 1.0).tolist())


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_best_token_is_the_first_of_equals(kind: torch.dtype) -> None:
    # In bfloat16, many logits are equal.
    logits = torch.randn(200, 1000, generator=torch.Generator().manual_seed(0)).to(kind)
    assert best_tokens(logits).tolist() == [row.index(max(row)) for row in logits.tolist()]


def test_a_whole_batch_is_decoded_as_plain_transformers_decodes_it(any_student: Student) -> None:
    student = any_student
    prompts = [f"{'rain is wet and falls. ' * (i % 4)}Where? (A) up (B) down {i}" for i in range(40)]
    encoded = encode_prompts(student, prompts)
    student.model.eval()
    output = student.model.generate(  # type: ignore[operator]
        input_ids=encoded.ids, attention_mask=encoded.mask, max_new_tokens=12, do_sample=False
    )
    written = output[:, encoded.ids.shape[1] :] if student.is_causal else output
    plain = [text.strip() for text in student.tokenizer.batch_decode(written, skip_special_tokens=True)]
    assert [text.text for text in decode(student, prompts, max_tokens=12, batch_size=16)] == plain


def test_tokens_of_a_text_are_counted_up_to_its_end() -> None:
    student = tiny_student()
    made = greedy(student, PROMPTS)
    assert all(1 <= text.count_tokens <= 6 for text in made)
    silenced = tiny_student()
    with torch.no_grad():
        silenced.model.lm_head.weight.zero_()
    # All logits are equal: greedy takes token 0, padding, and never ends.
    assert [text.count_tokens for text in greedy(silenced, ["rain"])] == [6]


def test_label_log_probabilities_match_scoring_each_whole_conclusion(any_student: Student) -> None:
    student = any_student
    questions = [ask("Where?", "up", "down", "out", gold="A"), ask("Where?", "up", "down", gold="A")]
    prompts = ["rain\nSummarize:", "Where does rain go?\nSummarize:"]
    made = label_logps(student, prompts, questions, batch_size=8)
    for prompt, question, scored in zip(prompts, questions, made, strict=True):
        own = question.options
        # The conclusions differ only from the label on, so after the same prefix the label decides.
        encoded = encode_prompts(student, [prompt] * len(own))
        heads = encode_targets(student, [conclusion(option).removesuffix(".") for option in own])[:, :-1]
        with torch.no_grad():
            scores = torch.log_softmax(target_logps(student.model, encoded, heads).total, 0)
        assert list(scored.logps.values()) == pytest.approx(scores.tolist(), abs=1e-4)
        assert sum(math.exp(value) for value in scored.logps.values()) == pytest.approx(1)


@pytest.mark.data
def test_labels_that_begin_with_the_same_token_are_distinguished(data_dir: Path) -> None:
    settings = StudentSettings(init="scratch", sentencepiece=data_dir / "t5" / "spiece.model")
    student = scratch_student(settings, tiny_recipe(), [], 0)
    question = ask("Where?", *map(str, range(len(LABELS))), gold="A")
    (made,) = label_logps(student, ["rain\nSummarize:"], [question], batch_size=8)
    assert len(set(made.logps.values())) == 26


@pytest.mark.parametrize("architecture", ["t5", "llama"])
def test_a_text_ends_at_any_token_that_the_model_ends_with(architecture: str) -> None:
    student = tiny_of(architecture)
    seeds = Sampling(1.0, [3])
    drawn: list[int] = []

    def recorded(*given: object) -> torch.Tensor:
        tokens = draw_tokens(*given)  # type: ignore[arg-type]
        drawn.extend(tokens.tolist())
        return tokens

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "draw_tokens", recorded)
        decode(student, ["rain is wet"], max_tokens=12, batch_size=1, sampling=seeds)
    last = next(i for i in range(1, len(drawn)) if drawn[i] not in drawn[:i])
    assert student.model.generation_config is not None
    student.model.generation_config.eos_token_id = [int(student.tokenizer.eos_token_id), drawn[last]]
    short = decode(student, ["rain is wet"], max_tokens=12, batch_size=1, sampling=seeds)[0]
    assert (short.count_tokens, short.is_stopped) == (last + 1, False)


def test_ids_beyond_the_vocabulary_are_no_text() -> None:
    # Output layers are often wider than the vocabulary: T5's has 28 places that stand for nothing.
    student = tiny_of("t5")
    unknown = len(student.tokenizer)
    student.model.resize_token_embeddings(unknown + 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "best_tokens", lambda logits: torch.full((len(logits),), unknown))
        made = decode(student, ["rain"], max_tokens=3, batch_size=1)[0]
    assert (made.text, made.count_tokens) == ("", 3)
