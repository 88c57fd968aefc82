from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import TINY, ask, tiny_settings
from tinythinker import session
from tinythinker.core.errors import SettingsError, TeacherError
from tinythinker.core.run import RunDirectory
from tinythinker.settings.resolve import load_settings
from tinythinker.tasks.registry import Task, load_task
from tinythinker.teacher.collect import collect_rationales
from tinythinker.teacher.taught import read_questions, read_taught

PLAIN = Task({"train": [ask("Where?", "up", "down")], "valid": [], "test": []}, {})


def test_collected_rationales_are_counted(tmp_path: Path) -> None:
    settings = tiny_settings("storeroom.annotated=0.5", "storeroom.malformed=0.5")
    task = load_task(settings)
    quality = collect_rationales(settings, task, RunDirectory(tmp_path)).quality
    assert quality.questions == 24
    malformed = sum(quality.rejected.values())
    assert malformed > 0
    assert quality.rationales + malformed == 12
    assert quality.questions_without_rationale == 24 - quality.rationales
    assert quality.rationales_per_question == {0: 24 - quality.rationales, 1: quality.rationales}


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["teacher.source=scripted"], SettingsError, "only storeroom has a script"),
        (["teacher.source=facts"], TeacherError, "found no facts with the questions"),
        (["teacher.source=ecqa"], SettingsError, r"teacher\.path for teacher\.source=ecqa: found None"),
        (["teacher.source=recorded"], SettingsError, r"teacher\.path for teacher\.source=recorded: found None"),
    ],
)
def test_a_source_that_does_not_fit_the_task_is_refused(
    tmp_path: Path, overrides: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        collect_rationales(load_settings("mine.jsonl", overrides), PLAIN, RunDirectory(tmp_path))


def test_a_teacher_without_usable_rationales_is_an_error_unless_labels_are_enough(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("")
    overrides = ["teacher.source=recorded", f"teacher.path={tmp_path / 'r.jsonl'}"]
    with pytest.raises(
        TeacherError, match=r"found no usable rationale for 1 training questions.*stages\.plan=summarize"
    ):
        collect_rationales(load_settings("mine.jsonl", overrides), PLAIN, RunDirectory(tmp_path))
    labels_only = load_settings("mine.jsonl", [*overrides, "stages.plan=summarize"])
    assert collect_rationales(labels_only, PLAIN, RunDirectory(tmp_path)).rationales == ()


def test_the_teacher_explains_a_seeded_share_of_the_questions_and_the_others_keep_their_labels(tmp_path: Path) -> None:
    def explained(*more: str) -> tuple[set[str], int]:
        settings = load_settings("storeroom", ["storeroom.train=40", "storeroom.annotated=1", *more])
        made = collect_rationales(settings, load_task(settings), RunDirectory(tmp_path))
        assert all(question.gold for question in made.questions) and not made.rejected
        return {one.question_id for one in made.rationales}, len(made.questions)

    every, count = explained()
    some, still = explained("teacher.annotated=0.25")
    assert (len(every), count) == (40, 40)
    assert (len(some), still) == (10, 40)
    assert explained("teacher.annotated=0.25")[0] == some < every
    assert explained("teacher.annotated=0.25", "seed=7")[0] != some


def test_a_run_with_a_share_of_rationales_goes_on_after_teach(tmp_path: Path) -> None:
    run = session.start(
        "storeroom", tmp_path / "run", *TINY, "storeroom.train=40", "storeroom.annotated=1", "teacher.annotated=0.25"
    )
    quality = session.teach(run)
    questions = read_questions(run, "train")
    assert len(questions) == quality.questions == 40
    assert len(read_taught(run, questions)) == quality.rationales == 10
    assert (quality.questions_without_rationale, quality.left_to_labels) == (30, 30)
    said = "10 rationales kept, 30 of 40 questions without one (30 of them were not to be explained: teacher.annotated)"
    assert quality.lines()[0].startswith(said)
    assert session.train(run).is_dir()
