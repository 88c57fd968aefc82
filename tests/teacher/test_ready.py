from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import tiny_settings
from tinythinker.core.errors import DataError, SettingsError, TeacherError, TinyThinkerError
from tinythinker.core.run import RunDirectory
from tinythinker.tasks.registry import load_task
from tinythinker.teacher.ready import refuse_unready_teacher


def check(tmp_path: Path, *overrides: str) -> None:
    settings = tiny_settings(*overrides)
    refuse_unready_teacher(settings, load_task(settings), RunDirectory(tmp_path / "run"))


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (("teacher.source=recorded",), SettingsError, r"teacher\.path for teacher\.source=recorded: found None"),
        (("teacher.source=recorded", "teacher.path=none.jsonl"), DataError, r"none\.jsonl: found no such file"),
        (("teacher.source=recorded", "teacher.path=."), DataError, r"teacher\.path \.: found no such file"),
        (("teacher.source=ecqa", "teacher.path=."), TeacherError, r"found none of ecqa_train\.jsonl"),
        (("teacher.source=facts",), TeacherError, "found no facts"),
        (("teacher.source=none",), SettingsError, r"found 'none', expected a source of rationales"),
        (("teacher.source=openai", "teacher.llm.model=m", "teacher.llm.prompt=none.yaml"), DataError, r"none\.yaml"),
    ],
)
def test_a_teacher_that_lacks_what_it_reads_is_refused_and_nothing_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: tuple[str, ...],
    error: type[TinyThinkerError],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        check(tmp_path, *overrides)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_rationales_is_read_to_its_end(tmp_path: Path) -> None:
    settings = tiny_settings()
    question = load_task(settings).splits["train"][0]
    file = tmp_path / "why.jsonl"
    file.write_text(json.dumps({"question_id": question.id, "recall": "r", "analyses": ["a"]}) + "\n")
    with pytest.raises(DataError, match=f"analyses of question {question.id}: found 1, expected 3, one per option"):
        check(tmp_path, "teacher.source=recorded", f"teacher.path={file}")


@pytest.mark.parametrize("overrides", [(), ("teacher.source=none", "stages.plan=summarize")])
def test_a_teacher_that_has_all_it_needs_passes(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    check(tmp_path, *overrides)
