from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import TINY
from tinythinker.cli import app

VERBS = (
    "quickstart",
    "run",
    "teach",
    "cost",
    "batch-export",
    "batch-import",
    "train",
    "reflect",
    "evaluate",
    "report",
    "ask",
    "settings",
)
GOOD = '{"id": "q%d", "question": "Where %d?", "options": ["up", "down"], "answer": 0}\n'


def call(*words: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def refused(code: int, message: str, *words: str | Path) -> None:
    """The command ends with this code and one line that holds the message."""
    exit_code, out, err = call(*words)
    last = err.strip().split("\n")[-1]
    assert (exit_code, out) == (code, ""), err
    assert last.startswith("error: ")
    assert message in last


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    code, out, err = call("run", "storeroom", *TINY, "--out", folder)
    assert code == 0, err
    assert out.strip() == str(folder / "report.html")
    assert "round-2: accuracy" in err
    return folder


def test_the_steps_one_at_a_time_make_what_run_makes(run: Path, tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    assert call("teach", "storeroom", *TINY, "--out", steps)[1].strip() == str(steps / "teacher" / "rationales.jsonl")
    assert call("train", steps)[1].strip() == str(steps / "phase-1" / "student")
    assert call("reflect", steps)[1].strip() == str(steps / "round-2" / "student")
    assert call("evaluate", steps)[1].strip() == str(steps / "verdicts")
    assert call("report", steps)[1].strip() == str(steps / "report.html")
    for file in (run / "verdicts").iterdir():
        assert (steps / "verdicts" / file.name).read_text() == file.read_text()


def test_ask_shows_recall_every_analysis_and_the_answer(run: Path) -> None:
    words = ("What should you keep a thing in?", "--option", "box", "-o", "jar", "-o", "bag")
    code, out, _ = call("ask", run, *words)
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "Recall",
        "Analyze A",
        "Analyze B",
        "Analyze C",
        "Summarize",
        "Answer",
    ]
    _, out, _ = call("ask", run / "round-1" / "student", *words, "--json")
    assert len(json.loads(out)["analyses"]) == 3


def test_settings_of_a_verb_are_listed_with_their_meaning() -> None:
    code, out, _ = call("settings", "reflect")
    assert code == 0
    assert "reflect.beta = 0.5    [number > 0]\n    DPO beta" in out
    assert "train." not in out
    assert "train.max_steps = 400" in call("settings", "--task", "storeroom")[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD % (0, 0) * 0 + "".join(GOOD % (i, i) for i in range(6)) + "{oops\n",
            "mine.jsonl:7: found malformed JSON",
        ),
        (GOOD % (1, 1) + GOOD % (1, 1) + "".join(GOOD % (i, i) for i in range(2, 12)), "found id 'q1' 2 times"),
        (GOOD % (1, 1) + GOOD.replace('"answer": 0', '"answer": "C"') % (2, 2), "mine.jsonl:2, answer: found 'C'"),
        (GOOD.replace(', "down"', "") % (1, 1), "mine.jsonl:1, number of options: found 1, expected 2 to 26"),
        (GOOD.replace('"down"', ", ".join(f'"{i}"' for i in range(26))) % (1, 1), "number of options: found 27"),
        (GOOD.replace("Where %d?", "") % 1, "mine.jsonl:1, question: found '', expected some text"),
    ],
    ids=["malformed", "duplicate", "gold", "one-option", "27-options", "empty-question"],
)
def test_bad_questions_are_one_line_with_exit_code_3_and_nothing_half_written(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "mine.jsonl").write_text(text)
    refused(3, message, "run", tmp_path / "mine.jsonl", "--out", tmp_path / "run", "student.init=scratch")
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == ["manifest.json"]


def test_a_missing_file_is_exit_code_3(tmp_path: Path) -> None:
    refused(3, "none.jsonl: found no such file", "run", tmp_path / "none.jsonl", "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("reflect.round=3", "expected did you mean 'reflect.rounds'"),
        ("reflect.beta=-1", "setting reflect.beta: found -1, expected greater than 0"),
        ("nonsense", "setting: found 'nonsense', expected key.path=value"),
    ],
)
def test_bad_settings_are_exit_code_2_and_write_nothing(tmp_path: Path, override: str, message: str) -> None:
    refused(2, message, "run", "storeroom", override, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_directory_of_other_settings_is_refused_until_forced(run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "run"
    assert call("teach", "storeroom", *TINY, "--out", mine)[0] == 0
    refused(2, "seed: was 42, now 7", "teach", "storeroom", *TINY, "seed=7", "--out", mine)
    assert call("teach", "storeroom", *TINY, "seed=7", "--out", mine, "--force")[0] == 0
    refused(2, "`train` was begun with other settings", "train", run, "train.learning_rate=0.5")


def test_a_folder_that_is_no_student_is_exit_code_5(tmp_path: Path) -> None:
    refused(5, "expected a student folder", "ask", tmp_path, "Where?", "-o", "up", "-o", "down")


def test_a_pretrained_student_that_does_not_load_is_exit_code_5(tmp_path: Path) -> None:
    overrides = [*TINY, "student.init=pretrained", f"student.name={tmp_path / 'none'}"]
    refused(5, "found nothing that loads", "run", "storeroom", *overrides, "--out", tmp_path / "run")


def test_a_teacher_without_its_file_is_refused(tmp_path: Path) -> None:
    refused(
        2,
        "teacher.path for teacher.source=ecqa",
        "run",
        "storeroom",
        *TINY,
        "teacher.source=ecqa",
        "--out",
        tmp_path / "r",
    )
    refused(
        4,
        "found none of ecqa_train.jsonl",
        "run",
        "storeroom",
        *TINY,
        "teacher.source=ecqa",
        f"teacher.path={tmp_path}",
        "--out",
        tmp_path / "s",
    )


def test_a_directory_that_is_no_run_is_exit_code_3(tmp_path: Path) -> None:
    for verb in ("train", "reflect", "evaluate", "report"):
        refused(3, "found no manifest.json", verb, tmp_path)


def test_an_unknown_verb_or_task_is_exit_code_2(tmp_path: Path) -> None:
    assert call("tran")[0] == 2
    refused(2, "did you mean 'csqa'", "run", "csqaa", "--out", tmp_path / "run")
    refused(2, "verb: found 'tran'", "settings", "tran")


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_is_there_at_once(verb: str) -> None:
    def seconds(*words: str) -> float:
        started = time.monotonic()
        shown = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
        assert "Usage:" in shown.stdout
        return time.monotonic() - started

    bare = "import typer; app = typer.Typer(); app.command()(lambda: None); app(['--help'])"
    ratios: list[float] = []
    while not ratios or (min(ratios) >= 2 and len(ratios) < 6):  # a busy machine gets more tries
        # Measured side by side: half a second on a free machine is several on a busy one.
        least = seconds("-c", bare)
        ratios.append(seconds("-m", "tinythinker", *([verb] if verb else []), "--help") / least)
    assert min(ratios) < 2, "help takes twice as long as typer alone: something heavy is imported"
