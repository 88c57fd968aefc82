from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import MambaConfig

from tests.conftest import tiny_of, tiny_student
from tinythinker.acquire.sft import sft_objective
from tinythinker.core.records import Stage, StageExample
from tinythinker.student.logps import Scorer
from tinythinker.student.pieces import Costs, Lengths, costs_of, cut, lengths_of, reading_costs

COSTS = Costs(2.0, 3.0, 40.0)


def cost(lengths: Sequence[Lengths], pieces: Sequence[Sequence[int]]) -> float:
    """Cost computed independently: every piece padded to its longest item."""
    whole = 0.0
    for piece in pieces:
        prompt = max(lengths[i].prompt for i in piece)
        target = max(lengths[i].target for i in piece)
        whole += COSTS.per_pass + len(piece) * (COSTS.per_prompt_token * prompt + COSTS.per_target_token * target)
    return whole


def cuts(order: list[int]) -> Iterator[list[list[int]]]:
    """Every way to cut a row."""
    if not order:
        yield []
    for size in range(1, len(order) + 1):
        for rest in cuts(order[size:]):
            yield [order[:size], *rest]


@given(st.lists(st.builds(Lengths, st.integers(1, 60), st.integers(1, 30)), min_size=1, max_size=7))
def test_no_other_split_of_the_sorted_items_costs_less(lengths: list[Lengths]) -> None:
    pieces = cut(lengths, COSTS)
    assert sorted(i for piece in pieces for i in piece) == list(range(len(lengths)))
    order = sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True)
    assert cost(lengths, pieces) == pytest.approx(min(cost(lengths, other) for other in cuts(order)))


def test_items_of_one_length_stay_together_up_to_the_limit() -> None:
    alike = [Lengths(10, 5)] * 7
    assert len(cut(alike, COSTS)) == 1
    sizes = [len(piece) for piece in cut(alike, COSTS, most=3)]
    assert (sum(sizes), len(sizes), max(sizes)) == (7, 3, 3)


@given(
    st.lists(st.builds(Lengths, st.integers(1, 60), st.integers(1, 30)), min_size=1, max_size=12), st.integers(1, 200)
)
def test_a_piece_of_several_items_stays_within_its_token_limit(lengths: list[Lengths], most: int) -> None:
    pieces = cut(lengths, COSTS._replace(most_tokens=most))
    assert sorted(i for piece in pieces for i in piece) == list(range(len(lengths)))
    for piece in pieces:
        width = max(lengths[i].prompt for i in piece) + max(lengths[i].target for i in piece)
        assert len(piece) == 1 or len(piece) * width <= most


def test_items_of_one_length_are_split_evenly_if_tokens_are_limited() -> None:
    pieces = cut([Lengths(10, 5)] * 7, COSTS._replace(most_tokens=75))  # five would fit
    assert sorted(map(len, pieces)) == [3, 4]


def test_attention_makes_padding_dearer_in_a_long_row() -> None:
    # Rows of 10 and 9 tokens. Read: 10 + 2 * 10 = 30 in one pass, 20 + 10 + 9 = 39 in two. Comparing every token with
    # every one adds 2 * 100 = 200 to the first and 100 + 81 = 181 to the second.
    rows, costs = [Lengths(9, 1), Lengths(8, 1)], Costs(1.0, 1.0, 10.0)
    assert cut(rows, costs) == [[0, 1]]
    assert cut(rows, costs._replace(per_compared=1.0)) == [[0], [1]]


def test_a_wide_student_on_a_cpu_reads_fewer_tokens_at_once() -> None:
    narrow, wide = tiny_student(), tiny_of("t5")
    wide.model.config.d_model = 4 * narrow.model.config.d_model
    assert costs_of(narrow).most_tokens == 4 * costs_of(wide).most_tokens == 4 * reading_costs(wide).most_tokens


def test_only_a_causal_model_with_attention_pays_for_comparing_tokens() -> None:
    causal, seq2seq = tiny_of("qwen3"), tiny_of("t5")
    config = causal.model.config
    # Forward and backward, score and sum, twice what the operations say: 6 * 2 * 2 per number of a head and layer.
    numbers = config.head_dim * config.num_attention_heads * config.num_hidden_layers
    assert costs_of(causal).per_compared == 24 * numbers
    assert costs_of(seq2seq).per_compared == 0
    causal.model.config = MambaConfig(hidden_size=32, num_hidden_layers=2)  # it has no attention
    assert costs_of(causal).per_compared == 0


def test_lengths_are_those_the_student_reads_and_the_longest_target_counts() -> None:
    student = tiny_student()
    lengths = lengths_of(student, ["Where does rain go?"], ["down"], ["rain is wet and falls."])
    words = len("Where does rain go ?".split()) + 1  # and an end
    assert lengths == [Lengths(words, len("rain is wet and falls .".split()) + 1)]


@pytest.mark.parametrize("architecture", ["t5", "qwen3"])
def test_pieces_have_the_loss_and_the_gradient_of_the_whole(architecture: str) -> None:
    student = tiny_of(architecture, dropout=0.0)
    texts = ["rain", "Where does rain go?", "rain", "Where does wet rain go ? up down up"]
    targets = ["down", "rain is wet and falls.", "rain falls.", "up"]
    examples = [
        StageExample(question_id=str(i), stage=Stage.RECALL, prompt=prompt, target=target)
        for i, (prompt, target) in enumerate(zip(texts, targets, strict=True))
    ]
    objective, score = sft_objective(student), Scorer(student.model)

    def gradient(pieces: Sequence[Sequence[int]]) -> tuple[float, int, torch.Tensor]:
        student.model.zero_grad()
        losses = [objective(score, [examples[i] for i in piece]) for piece in pieces]
        for loss in losses:
            loss.total.backward()  # type: ignore[no-untyped-call]
        made = torch.cat([p.grad.flatten() for p in student.model.parameters() if p.grad is not None])
        return sum(loss.total.item() for loss in losses), sum(loss.weight for loss in losses), made.clone()

    free = costs_of(student)._replace(per_pass=0.0)
    pieces = cut(lengths_of(student, texts, targets), free)
    assert len(pieces) > 1
    whole, weight, all_at_once = gradient([range(4)])
    cut_total, cut_weight, in_pieces = gradient(pieces)
    assert cut_weight == weight
    assert cut_total == pytest.approx(whole, rel=1e-5)
    assert torch.allclose(in_pieces, all_at_once, atol=1e-5)
