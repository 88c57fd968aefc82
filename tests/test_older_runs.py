"""Run directories made by version 0.1 (commit 7b67580) go on working."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import TINY
from tinythinker import api
from tinythinker.core.errors import SettingsError
from tinythinker.core.files import read_records
from tinythinker.core.metrics import read_metrics
from tinythinker.core.records import Chain, Verdict
from tinythinker.core.run import RunDirectory
from tinythinker.session import settings_of

MADE = Path(__file__).parent / "fixtures" / "version-0.1"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A copy of a finished Storeroom run with one round, a wrong tenth of rationales, and a probe."""
    shutil.copytree(MADE / "storeroom", tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def test_an_older_run_is_reported(run: RunDirectory) -> None:
    page = api.report(run).read_text()
    assert "Is the reasoning used?" in page
    assert "round-1" in page


def test_an_older_run_is_evaluated_without_doing_anything_twice(run: RunDirectory) -> None:
    files = {file: file.read_text() for file in run.verdicts_folder.iterdir()}
    scores = api.evaluate(run)
    assert scores["round-1"].accuracy == 0.75
    assert {file: file.read_text() for file in run.verdicts_folder.iterdir()} == files
    assert api.evaluate(run, "evaluate.votes=2")["phase-1"].n == 8


def test_an_older_student_is_asked(run: RunDirectory) -> None:
    chain = api.ask(run.root, "What should you keep a thing in?", ["box", "jar"])
    assert chain.answer in ("A", "B")
    recorded = read_records(run.verdicts("round-1.test.greedy"), Verdict)[0].chains[0]
    assert isinstance(recorded, Chain)


def test_an_older_run_is_reflected_one_round_further(run: RunDirectory) -> None:
    before = run.round(1).pairs.read_bytes()
    assert api.reflect(run, "reflect.rounds=2") == run.round(2).student
    assert run.round(1).pairs.read_bytes() == before
    assert read_metrics(run.round(2).metrics).validations
    assert list(api.evaluate(run)) == ["phase-1", "round-1", "round-2"]


def test_an_older_run_is_opened_again_with_the_settings_it_was_begun_with(run: RunDirectory) -> None:
    words = [*TINY, "reflect.rounds=1", "teacher.wrong=0.1"]
    assert api.teach(api.start("storeroom", run.root, *words)).rationales == 16
    with pytest.raises(SettingsError, match=r"storeroom\.wrong: was 0\.1, now 0\.0"):
        api.start("storeroom", run.root, *words[:-1], "storeroom.wrong=0")


def test_an_older_run_goes_on_with_its_own_settings_and_says_which(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert api.teach(api.start("storeroom", run.root)).rationales == 16
    kept = settings_of(run).storeroom
    assert (kept.things, kept.wrong) == (6, 0.1)
    said = capsys.readouterr().err
    assert "goes on with its own settings, a new run would have others" in said
    assert "storeroom.wrong: was 0.1, now 0.0" in said
    assert "reflect.interval: was 100, now 'auto'" in said


def test_what_an_older_run_paid_for_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(MADE / "asked", tmp_path / "asked")
    monkeypatch.chdir(tmp_path / "asked")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    words = ["teacher.source=openai", "teacher.llm.model=played", "teacher.llm.samples=2", "student.init=scratch"]
    nobody = "teacher.llm.base_url=http://127.0.0.1:9/v1"
    run = api.start("questions.jsonl", "run", *words, nobody, "split.valid=0.2", "split.test=0.2")
    assert api.teach(run).rationales == 8
    run.quality.unlink()
    assert api.teach(run).rationales == 8  # every answer is in the ledger, under the key it was asked for
    assert "completions in this run do not count" not in capsys.readouterr().err
