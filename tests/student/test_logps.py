from __future__ import annotations

import pytest
import torch

from tests.conftest import tiny_of
from tinythinker.student.encode import (
    IGNORED,
    Encoded,
    encode_prompts,
    encode_targets,
    encode_unique_prompts,
    prompt_ids,
    target_ids,
)
from tinythinker.student.logps import target_logps
from tinythinker.student.student import Student

PROMPTS = ["Where does rain go?", "rain is wet and falls. Where?"]
TARGETS = ["rain falls.", "down"]


@torch.no_grad()
def test_log_probabilities_match_a_plain_loop_over_tokens(any_student: Student) -> None:
    student = any_student
    model = student.model.eval()
    made = target_logps(model, encode_prompts(student, PROMPTS), encode_targets(student, TARGETS))
    for i, (prompt, target) in enumerate(
        zip(prompt_ids(student, PROMPTS).ids, target_ids(student, TARGETS).ids, strict=True)
    ):
        total = 0.0
        for j, token in enumerate(target):
            if student.is_causal:
                logits = model(input_ids=torch.tensor([[*prompt, *target[:j]]])).logits[0, -1]
            else:
                written = [[model.config.decoder_start_token_id, *target[:j]]]
                logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor(written)).logits[0, -1]
            total += torch.log_softmax(logits, 0)[token].item()
        assert made.total[i].item() == pytest.approx(total, abs=1e-4)
        assert made.tokens[i].item() == len(target)


def doubled(student: Student) -> tuple[Encoded, torch.Tensor]:
    """The texts with twice the width, the rest padding."""
    prompts, labels = encode_prompts(student, PROMPTS), encode_targets(student, TARGETS)
    order = -1 if student.is_causal else 1
    wide = Encoded(*(torch.cat([part, torch.zeros_like(part)][::order], 1) for part in prompts))
    return wide, torch.cat([labels, torch.full_like(labels, IGNORED)], 1)


def test_doubling_the_padding_changes_neither_scores_nor_gradients(any_student: Student) -> None:
    student = any_student
    student.model.eval()
    plain = encode_prompts(student, PROMPTS), encode_targets(student, TARGETS)
    totals, gradients = [], []
    for prompts, labels in (plain, doubled(student)):
        student.model.zero_grad()
        logps = target_logps(student.model, prompts, labels)
        logps.total.sum().backward()  # type: ignore[no-untyped-call]
        totals.append(logps.total.detach())
        assert logps.tokens.tolist() == [len(row) for row in target_ids(student, TARGETS).ids]
        gradients.append(torch.cat([p.grad.flatten() for p in student.model.parameters() if p.grad is not None]))
    assert torch.allclose(totals[0], totals[1], atol=1e-5)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-5)


def test_the_prompt_of_a_causal_student_is_not_part_of_the_loss() -> None:
    student = tiny_of("qwen3", dropout=0.0)
    labels = encode_targets(student, TARGETS)
    one = target_logps(student.model, encode_prompts(student, PROMPTS), labels)
    assert (
        one.tokens.sum().item() == (labels != IGNORED).sum().item() == sum(map(len, target_ids(student, TARGETS).ids))
    )


def test_targets_that_share_a_prompt_score_as_if_each_had_read_it_alone(any_student: Student) -> None:
    any_student.model.eval()
    once, prompt_of = encode_unique_prompts(any_student, ["rain", "Where does rain go?", "rain"])
    assert once.ids.shape[0] == 2
    assert prompt_of is not None
    labels = encode_targets(any_student, ["down", "up", "rain falls."])
    shared = target_logps(any_student.model, once, labels, prompt_of)
    repeated = encode_prompts(any_student, ["rain", "Where does rain go?", "rain"])
    apart = target_logps(any_student.model, repeated, labels)
    assert torch.allclose(shared.total, apart.total, atol=1e-5)
    assert torch.equal(shared.tokens, apart.tokens)


def test_the_vocabulary_is_computed_only_for_real_target_tokens(any_student: Student) -> None:
    seen: list[int] = []
    head = any_student.model.get_output_embeddings()
    head.register_forward_hook(lambda _, args, made: seen.append(made.numel() // made.shape[-1]))
    labels = encode_targets(any_student, ["down", "rain is wet and falls."])
    target_logps(any_student.model, encode_prompts(any_student, ["rain", "rain"]), labels)
    assert seen == [int((labels != IGNORED).sum())]


def test_gradients_are_the_same_bits_every_time_with_several_threads() -> None:
    student = tiny_of("t5", dropout=0.0)
    prompts, prompt_of = encode_unique_prompts(student, PROMPTS * 40)
    words = "rain falls down up nowhere is wet and does".split()
    # Rows with one prompt must differ, or the order in which their gradients are added up would not matter.
    labels = encode_targets(student, [" ".join(words[i % 9 :] + words[: i % 7]) for i in range(80)])
    before, made = torch.get_num_threads(), set()
    torch.set_num_threads(2)
    try:
        for _ in range(20):
            student.model.zero_grad()
            target_logps(student.model, prompts, labels, prompt_of).total.sum().backward()  # type: ignore[no-untyped-call]
            weight = next(student.model.get_encoder().parameters())
            assert weight.grad is not None
            made.add(weight.grad.numpy().tobytes())
    finally:
        torch.set_num_threads(before)
    assert len(made) == 1
