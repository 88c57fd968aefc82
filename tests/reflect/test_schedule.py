"""Turns and cycles compared with the official rule worked out by hand (METHOD section 4)."""

from __future__ import annotations

from collections import Counter

from tinythinker.core.records import PreferencePair, Stage
from tinythinker.reflect.schedule import Schedule
from tinythinker.settings.schema import ReflectSettings


def pairs(stage: Stage, count: int) -> list[PreferencePair]:
    return [
        PreferencePair(question_id="q", stage=stage, prompt="p", chosen=f"{i}.", rejected="w.") for i in range(count)
    ]


def schedule(recall: int, analyze: int, **settings: object) -> Schedule:
    made = {Stage.RECALL: pairs(Stage.RECALL, recall), Stage.ANALYZE: pairs(Stage.ANALYZE, analyze)}
    given = {stage: some for stage, some in made.items() if some}
    return Schedule(given, ReflectSettings.model_validate({"batch_size": 32, **settings}), seed=0)


def test_turns_follow_the_official_rule() -> None:
    # 70 // 32 + 1 = 3 steps of recall; 150 // 70 + 1 = 3 times as many of analyze.
    assert schedule(70, 150).turn() == {Stage.RECALL: 3, Stage.ANALYZE: 9}
    # Full batches get a step more, too: 64 // 32 + 1.
    assert schedule(64, 10).turn() == {Stage.RECALL: 3, Stage.ANALYZE: 3}


def test_a_stage_alone_has_one_step_more_than_full_batches() -> None:
    assert schedule(0, 100).turn() == {Stage.ANALYZE: 4}
    assert schedule(20, 0).turn() == {Stage.RECALL: 1}


def test_a_number_sets_the_same_turn_for_both() -> None:
    assert schedule(70, 150, interval=5).turn() == {Stage.RECALL: 5, Stage.ANALYZE: 5}


def test_an_epoch_of_pairs_visits_each_pair_once() -> None:
    order = schedule(70, 150).epoch(0)
    assert [stage for stage, _ in order] == [Stage.RECALL] * 3 + [Stage.ANALYZE] * 5
    assert sum(len(batch) for _, batch in order) == 220
    assert schedule(70, 150).first_pass() == order


def test_an_epoch_that_is_a_cycle_takes_whole_turns_and_begins_used_up_pairs_again() -> None:
    made = schedule(70, 150, epoch="cycle")
    order = made.epoch(0)
    assert [stage for stage, _ in order] == [Stage.RECALL] * 3 + [Stage.ANALYZE] * 9
    seen = Counter(pair.chosen for stage, batch in order if stage is Stage.ANALYZE for pair in batch)
    # Five batches hold all 150 pairs once; the other four, full ones of 32, begin a second pass.
    assert Counter(seen.values()) == {2: 128, 1: 22}


def test_cycles_go_on_where_the_last_one_ended() -> None:
    made = schedule(70, 150, epoch="cycle")
    steps = [batch for number in range(5) for stage, batch in made.epoch(number) if stage is Stage.ANALYZE]
    assert len(steps) == 45
    for start in range(0, 45, 5):  # nine passes over 150 pairs in five batches each
        assert sorted(int(pair.chosen[:-1]) for batch in steps[start : start + 5] for pair in batch) == list(range(150))


def test_the_first_pass_is_made_of_the_first_batches_of_the_cycles() -> None:
    made = schedule(70, 150, epoch="cycle", interval=2)
    visited = [batch for number in range(3) for batch in made.epoch(number)]
    assert all(batch in visited for batch in made.first_pass())
