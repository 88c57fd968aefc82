from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ARCHITECTURES, tiny_of
from tinythinker.generate import state as module
from tinythinker.generate.memory import Known
from tinythinker.generate.state import Family, begin, plan_reading, share_prefixes
from tinythinker.student.pieces import Costs

CAUSAL = [name for name in ARCHITECTURES if name != "t5"]
QUESTION, RECALL, OTHER = [5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16, 17, 18], [18, 17, 16, 15, 14, 13, 12]
ROWS = [
    [*QUESTION, *RECALL, 20],
    [*QUESTION, *RECALL, 21, 22],
    [*QUESTION, *OTHER, 20],
    [*QUESTION, *OTHER, 21],
]


def test_the_options_of_one_recall_share_everything_before_them() -> None:
    assert share_prefixes(ROWS) == [Family([0, 1], 14), Family([2, 3], 13)]


def test_equal_prompts_share_all_but_the_last_token() -> None:
    assert share_prefixes([[1, 2, 3], [1, 2, 3], [1, 2, 3]]) == [Family([0, 1, 2], 2)]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=12))
def test_every_row_is_in_one_family_with_its_beginning_and_has_tokens_left(rows: list[list[int]]) -> None:
    families = share_prefixes(rows)
    assert sorted(i for own in families for i in own.rows) == list(range(len(rows)))
    for own in families:
        beginnings = {tuple(rows[i][: own.width]) for i in own.rows}
        assert len(beginnings) == 1
        assert all(len(rows[i]) > own.width for i in own.rows)


def test_groups_that_save_more_apart_are_not_merged_for_a_short_common_beginning() -> None:
    # Together, four rows save 3 * 1 tokens; as two pairs, 1 * 4 + 1 * 4.
    rows = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [1, 7, 8, 9, 5], [1, 7, 8, 9, 6]]
    assert share_prefixes(rows) == [Family([0, 1], 4), Family([2, 3], 4)]


def test_a_beginning_that_nobody_shares_is_not_split_off() -> None:
    rows = [[1, 2, 3], [4, 5, 6]]
    assert plan_reading(rows, [None, None]).rests is None


def test_only_what_follows_the_known_beginning_is_shared() -> None:
    # All rows begin with the question 1 2 3. Two of them are known up to 4 and go on alike with 5 6; one is known up
    # to 7, and shares nothing that is still to be read.
    rows = [[1, 2, 3, 4, 5, 6, 8], [1, 2, 3, 4, 5, 6, 9], [1, 2, 3, 7, 5]]
    known = [Known(0, 0, 4), Known(0, 0, 4), Known(0, 1, 4)]
    plan = plan_reading(rows, known)
    assert plan.known == [known[2], known[0]]
    assert plan.trunks == [[], [5, 6]]
    assert plan.trunk_of == [1, 1, 0]
    assert plan.rests == [[8], [9], [5]]


@pytest.mark.parametrize("architecture", CAUSAL)
@torch.inference_mode()
def test_a_shared_beginning_gives_the_logits_of_a_plain_forward_pass(architecture: str) -> None:
    student = tiny_of(architecture)
    rows = ROWS
    assert plan_reading(rows, [None] * len(rows)).rests is not None
    state = begin(student, rows, opening=[30])
    state.feed(torch.tensor([[31], [32], [33], [34]]))
    state.keep(torch.tensor([3, 0]))
    state.feed(torch.tensor([[35], [36]]))
    written = [[*rows[3], 30, 34, 35], [*rows[0], 30, 31, 36]]
    for made, row in zip(state.logits, written, strict=True):
        plain = student.model(input_ids=torch.tensor([row])).logits[0, -1]
        assert torch.allclose(made, plain, atol=1e-5)


def test_a_shared_beginning_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    student = tiny_of("qwen3")
    shapes = []
    plain = module._Causal._read

    def watched(self: module._Causal, ids: torch.Tensor, mask: torch.Tensor) -> None:
        shapes.append(tuple(ids.shape))
        plain(self, ids, mask)

    monkeypatch.setattr(module._Causal, "_read", watched)
    with torch.inference_mode():
        begin(student, [[*QUESTION, *RECALL, 20 + i] for i in range(5)])
    assert shapes == [(1, 14), (5, 1)]


@pytest.mark.parametrize("architecture", CAUSAL)
@torch.inference_mode()
def test_rows_of_different_lengths_are_read_in_pieces_and_give_the_logits_of_a_plain_forward_pass(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "reading_costs", lambda student: Costs(1.0, 0.0, 3.0))
    student = tiny_of(architecture)
    lengths = []
    plain_read = module._Causal._read

    def watched(self: module._Causal, ids: torch.Tensor, mask: torch.Tensor) -> None:
        lengths.append(ids.shape[1])
        plain_read(self, ids, mask)

    monkeypatch.setattr(module._Causal, "_read", watched)
    # All begin alike; then one goes on for one token, two for twelve.
    rows = [[*QUESTION, *RECALL, 20], [*QUESTION, *RECALL, *range(30, 42)], [*QUESTION, *RECALL, *range(40, 52)]]
    state = begin(student, rows)
    assert lengths == [14, 12, 1]
    state.feed(torch.tensor([[31], [32], [33]]))
    state.keep(torch.tensor([2, 0]))
    state.feed(torch.tensor([[35], [36]]))
    for made, row in zip(state.logits, [[*rows[2], 33, 35], [*rows[0], 31, 36]], strict=True):
        plain = student.model(input_ids=torch.tensor([row])).logits[0, -1]
        assert torch.allclose(made, plain, atol=1e-5)


@pytest.mark.parametrize("architecture", CAUSAL)
@torch.inference_mode()
def test_the_output_layer_reads_what_it_need_not_copy_its_weights_for(architecture: str) -> None:
    # Where weights want no gradient, torch copies them once per row if the rows are a slice of something larger.
    student = tiny_of(architecture)
    strides: list[tuple[int, ...]] = []
    student.model.get_output_embeddings().register_forward_pre_hook(lambda _, args: strides.append(args[0].stride()))
    begin(student, [[5, 6, 7], [8, 9, 10]])
    width = student.model.config.hidden_size
    assert strides == [(width, width, 1)]


@torch.inference_mode()
def test_prompts_longer_than_an_attention_window_share_nothing_and_stay_exact() -> None:
    student = tiny_of("gemma3")  # its window is 64 tokens
    beginning = [int(i) % 90 + 3 for i in range(60)]
    rows = [[*beginning, 5], [*beginning, 6, 7, 8, 9, 10, 11, 12], [*beginning, 9]]
    assert plan_reading(rows, [None] * len(rows)).rests is not None
    state = begin(student, rows)
    state.feed(torch.tensor([[31], [32], [33]]))
    for made, row, token in zip(state.logits, rows, (31, 32, 33), strict=True):
        plain = student.model(input_ids=torch.tensor([[*row, token]])).logits[0, -1]
        assert torch.allclose(made, plain, atol=1e-5)
