from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinythinker.core.errors import SettingsError
from tinythinker.core.records import Stage
from tinythinker.stages.plan import interleave, order_batches

R, A, S = Stage.RECALL, Stage.ANALYZE, Stage.SUMMARIZE


def steps(turn: dict[Stage, int], budget: dict[Stage, int]) -> str:
    return "".join(stage[0] for stage in interleave(turn, budget))


def test_an_exhausted_stage_does_not_shorten_the_turns_of_the_others() -> None:
    assert steps({R: 2, A: 4, S: 2}, {R: 3, A: 12, S: 6}) == "rraaaass" + "raaaass" + "aaaass"


def test_the_official_schedule_of_five_options_is_100_500_100() -> None:
    assert steps({R: 100, A: 500, S: 100}, {R: 200, A: 1000, S: 200}) == ("r" * 100 + "a" * 500 + "s" * 100) * 2


def test_a_turn_shorter_than_one_step_is_refused() -> None:
    with pytest.raises(SettingsError, match="at least one step for every stage"):
        steps({R: 0, A: 1}, {R: 1, A: 1})


@given(st.dictionaries(st.sampled_from(Stage), st.tuples(st.integers(1, 5), st.integers(0, 20))))
def test_every_stage_gets_its_whole_budget(plan: dict[Stage, tuple[int, int]]) -> None:
    turn = {stage: own for stage, (own, _) in plan.items()}
    budget = {stage: own for stage, (_, own) in plan.items()}
    ordered = list(interleave(turn, budget))
    assert {stage: ordered.count(stage) for stage in plan} == budget


def test_every_epoch_shows_every_item_once_in_a_new_order() -> None:
    items = {R: list(range(10)), S: list(range(100, 103))}
    epochs = [order_batches(items, {R: 1, S: 1}, batch_size=4, seed=1, epoch=epoch) for epoch in (0, 1)]
    for batches in epochs:
        assert "".join(stage[0] for stage, _ in batches) == "rsrr"
        assert sorted(item for _, batch in batches for item in batch) == [*range(10), 100, 101, 102]
    assert epochs[0] != epochs[1]
    assert epochs[0] == order_batches(items, {R: 1, S: 1}, batch_size=4, seed=1, epoch=0)


def test_items_that_belong_together_stay_together_in_a_new_order() -> None:
    items = {R: [f"{question}{i}" for question in "abcdefgh" for i in range(3)]}
    epochs = [
        order_batches(items, {R: 1}, batch_size=6, seed=1, epoch=n, together=lambda item: item[0]) for n in (0, 1)
    ]
    for batches in epochs:
        visited = [item for _, batch in batches for item in batch]
        assert sorted(visited) == items[R]
        assert all([item[1] for item in visited[i : i + 3]] == ["0", "1", "2"] for i in range(0, 24, 3))
        assert all(len({item[0] for item in batch}) == 2 for _, batch in batches)
    assert epochs[0] != epochs[1]
