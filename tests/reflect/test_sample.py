from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ask, tiny_student
from tinythinker.core.files import write_records
from tinythinker.core.records import Chain, Question, Rationale
from tinythinker.core.run import RoundFolder
from tinythinker.core.stored import Stored
from tinythinker.generate.think import Thought, think
from tinythinker.reflect import sample
from tinythinker.reflect.sample import Continued, Explained, Recalled, Sampler, make_pairs
from tinythinker.settings.schema import ReflectSettings
from tinythinker.student.student import Student

ONE, TWO = ask("Where?", "up", "down", id="q1"), ask("When?", "now", "then", id="q2")


def test_thoughts_on_one_question_are_numbered_across_all_its_recalls() -> None:
    thoughts = Continued([ONE, TWO], [Recalled(0, "a."), Recalled(0, "b."), Recalled(1, None)], 2)
    assert [(one.question.id, one.sample, one.recall) for one in thoughts] == [
        ("q1", 0, "a."), ("q1", 1, "a."), ("q1", 2, "b."), ("q1", 3, "b."), ("q2", 0, None), ("q2", 1, None),
    ]  # fmt: skip


def test_the_rationales_of_a_question_are_found_in_their_order() -> None:
    told = [
        Rationale(question_id=id_, recall=recall, analyses=())
        for id_, recall in (("q2", "x"), ("q1", "y"), ("q2", "z"))
    ]
    explained = Explained(told)
    assert [rationale.recall for rationale in explained.of(TWO)] == ["x", "z"]
    assert not explained.of(ask("Why?", "so", "thus", id="q3"))


def test_a_round_holds_few_questions_at_once_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "CHUNK", 6)
    write_records(tmp_path / "train.jsonl", (ONE.model_copy(update={"id": f"q{i}"}) for i in range(30)))
    questions = Stored(tmp_path / "train.jsonl", Question)
    sampler = Sampler(tiny_student(), ReflectSettings(samples_per_question=(2,)), RoundFolder(tmp_path / "r"), 1, 0)
    before = alive()
    most = 0

    def watched(student: Student, thoughts: Sequence[Thought], **how: Any) -> list[Chain]:
        nonlocal most
        most = max(most, alive() - before)
        return think(student, thoughts, **how)

    monkeypatch.setattr(sample, "think", watched)
    make_pairs(sampler, questions, [], [])
    assert 0 < most <= 2 * 6


def alive() -> int:
    """Questions in memory."""
    return sum(isinstance(one, Question) for one in gc.get_objects())
