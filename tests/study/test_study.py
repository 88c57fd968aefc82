from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.conftest import TINY, tiny_student
from tinythinker.core.errors import DataError, SettingsError, StudentError, TinyThinkerError
from tinythinker.core.files import read_json
from tinythinker.core.run import RunDirectory, StudyDirectory, alone_in
from tinythinker.evaluate.verdicts import write_verdicts
from tinythinker.reflect import rounds
from tinythinker.student.student import Student
from tinythinker.study import cells
from tinythinker.study.grid import Grid, read_grid
from tinythinker.study.results import Results, gather, marked_rows, table
from tinythinker.study.study import study
from tinythinker.train import loop

SMALL = (*TINY, "reflect.rounds=1", "reflect.stages=[recall]")
ANSWERED: list[Path] = []
"""Files of verdicts that the finished study wrote, in order."""
METHODS = ["majority", "random", "label_only", "cot", "multitask", "phase_1", "tinythinker"]


def grid_of(*settings: str, methods: list[str] = METHODS, **more: object) -> Grid:
    return read_grid("storeroom", [*SMALL, *settings], methods=methods, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Grid, Path, Results]:
    grid, out = grid_of(seeds=2), tmp_path_factory.mktemp("studies") / "study"

    def counted(file: Path, *rest: object) -> object:
        ANSWERED.append(file)
        return write_verdicts(file, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinythinker.evaluate.verdicts.write_verdicts", counted)
        return grid, out, study(grid, out)


def test_a_study_writes_its_results_tables_and_page(finished: tuple[Grid, Path, Results]) -> None:
    _, out, results = finished
    cells = json.loads((out / "results.json").read_text())
    assert len(cells) == len(results.cells) == 14
    wanted = {"method", "seed", "accuracy", "low", "high", "n", "target_tokens", "flops", "seconds", "unreadable"}
    assert all(wanted <= set(cell) for cell in cells)
    assert (out / "table.md").read_text().count("\n| ") == 1 + len(METHODS)
    page = (out / "study.html").read_text()
    assert page.count("<svg") == 1
    assert all(page.count(f'scope="row">{method}</th>') == 2 for method in METHODS)
    linked = re.findall(r'<a href="([^"]+)">', page)
    assert len(linked) == 14
    assert all((out / unquote(href)).name == "report.html" and (out / unquote(href)).is_file() for href in linked)
    comparisons = read_json(out / "comparisons.json")
    assert comparisons["reference"] == "tinythinker"


def test_every_method_spends_equal_steps_and_reports_their_cost(finished: tuple[Grid, Path, Results]) -> None:
    by_method = {cell.method: cell for cell in finished[2].cells if cell.seed == 0}
    assert {by_method[name].steps for name in ("label_only", "cot", "multitask", "phase_1")} == {6}
    assert by_method["cot"].target_tokens > by_method["phase_1"].target_tokens
    assert by_method["tinythinker"].flops > by_method["phase_1"].flops > 0
    assert by_method["majority"].flops == by_method["random"].steps == 0


def test_cells_that_share_phase_1_train_it_once(finished: tuple[Grid, Path, Results]) -> None:
    _, out, _ = finished
    one, other = (out / "cells" / name / "seed-0" for name in ("phase_1", "tinythinker"))
    weights = "phase-1/student/model.safetensors"
    assert (one / weights).read_bytes() == (other / weights).read_bytes()
    assert len(list((one / "verdicts").iterdir())) == 1
    assert RunDirectory(other).manifest().seconds["train"] == RunDirectory(one).manifest().seconds["train"]


def test_cells_that_share_phase_1_test_it_once(finished: tuple[Grid, Path, Results]) -> None:
    _, out, _ = finished
    one, other = (out / "cells" / name / "seed-0/verdicts/phase-1.test.greedy.jsonl" for name in METHODS[-2:])
    assert one in ANSWERED
    assert other not in ANSWERED
    assert one.read_bytes() == other.read_bytes()
    assert "verdicts/phase-1.test.greedy.jsonl" in RunDirectory(other.parents[1]).manifest().files


def test_a_repeated_study_does_no_work_and_gives_the_same_results(
    finished: tuple[Grid, Path, Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, out, results = finished

    def unexpected(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("tinythinker.acquire.phase_1.fit", unexpected)
    monkeypatch.setattr("tinythinker.evaluate.untrained.judge", unexpected)
    assert study(grid, out) == results


def test_more_seeds_and_methods_extend_a_study_and_fewer_select_a_part_of_it(
    finished: tuple[Grid, Path, Results], tmp_path: Path
) -> None:
    _, out, results = finished
    part = gather(grid_of(methods=["cot", "phase_1"], seeds=1), StudyDirectory(out))
    assert part.cells == tuple(c for c in results.cells if c.method in ("cot", "phase_1") and c.seed == 0)
    assert part.comparisons[""]["cot"].seeds == 1


def test_the_table_calls_no_method_better_without_significance(finished: tuple[Grid, Path, Results]) -> None:
    grid, _, results = finished
    for row, line in zip(results.rows, [x for x in table(grid, results) if x.startswith("| ")][1:], strict=True):
        own = results.comparisons[""].get(row.method)
        if own is not None and own.p_holm is not None and own.p_holm > 0.05:
            assert "no significant difference" in line


def test_workers_get_the_results_of_one_process(finished: tuple[Grid, Path, Results], tmp_path: Path) -> None:
    grid = grid_of(methods=["majority", "label_only"], seeds=2)
    alone = [cell for cell in finished[2].cells if cell.method in grid.methods]
    together = study(grid, tmp_path / "study", workers=2).cells
    key = [(cell.method, cell.seed, cell.accuracy, cell.target_tokens) for cell in together]
    assert key == [(cell.method, cell.seed, cell.accuracy, cell.target_tokens) for cell in alone]


@pytest.mark.skipif(sys.platform != "linux", reason="looks its processes up in /proc")
@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_workers_end_when_the_study_ends_for_any_reason(sign: signal.Signals, code: int, tmp_path: Path) -> None:
    words = ["study", "storeroom", "train.max_steps=9999", "--methods", "phase_1", "--seeds", "3", "--workers", "2"]
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tinythinker", *words, "--out", str(tmp_path / "study")],
            stderr=stderr,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    _until(lambda: log.read_text().count("weights") == 2)
    workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    os.kill(process.pid, sign)
    assert process.wait(30) == code
    _until(lambda: not any(_is_at_work(pid) for pid in workers))
    assert "Traceback" not in log.read_text()


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _is_at_work(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_budget_of_target_tokens_is_spent_to_within_a_step(tmp_path: Path) -> None:
    grid = grid_of("train.max_steps=30", methods=["phase_1", "label_only", "cot"], seeds=1, budget="target_tokens")
    cells = {cell.method: cell for cell in study(grid, tmp_path / "study").cells}
    wanted = cells["phase_1"].target_tokens
    for name in ("label_only", "cot"):
        own = cells[name]
        assert abs(own.target_tokens - wanted) <= own.target_tokens / own.steps
    assert cells["cot"].steps < 30


def test_a_budget_of_operations_counts_prompts_too(tmp_path: Path) -> None:
    grid = grid_of("train.max_steps=30", methods=["phase_1", "label_only"], seeds=1, budget="flops")
    cells = {cell.method: cell for cell in study(grid, tmp_path / "study").cells}
    assert cells["label_only"].flops == pytest.approx(cells["phase_1"].flops, rel=0.05)
    assert cells["label_only"].steps > 30


def test_a_method_that_sets_its_own_length_keeps_it(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "task: storeroom\nmethods:\n  phase_1:\n  long: {train.max_steps: 9, reflect.rounds: 0}\nseeds: 1\n"
    )
    grid = read_grid(str(file), SMALL)
    assert [cell.steps for cell in study(grid, tmp_path / "study").cells] == [6, 9]


def test_a_killed_cell_resumes_with_the_budget_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = grid_of(methods=["cot"], seeds=1, budget="target_tokens")
    out, original = tmp_path / "study", loop.fit

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tinythinker.acquire.phase_1.fit", killed)
    with pytest.raises(KeyboardInterrupt):
        study(grid, out)
    assert json.loads((out / "results.json").read_text()) == []
    monkeypatch.setattr("tinythinker.acquire.phase_1.fit", original)
    monkeypatch.setattr(cells, "_budget", killed)
    assert len(study(grid, out).cells) == 1


def test_a_cell_that_differs_only_in_how_it_answers_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("task: storeroom\nmethods:\n  tinythinker:\n  votes: {evaluate: {votes: 3}}\nseeds: 1\n")
    trained: list[str] = []
    original = loop.fit

    def counted(student: Student, training: loop.Training[object], *rest: object, **more: object) -> Student:
        trained.append(training.name)
        return original(student, training, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("tinythinker.acquire.phase_1.fit", counted)
    monkeypatch.setattr(rounds, "fit", counted)
    one, votes = study(read_grid(str(file), SMALL), tmp_path / "study").cells
    assert trained in (["phase-1", "round-1"], ["phase-1"])
    assert (one.seconds, one.steps, one.flops) == (votes.seconds, votes.steps, votes.flops)
    assert (len(one.votes), len(votes.votes)) == (0, 3)


def test_votes_come_from_one_sampling_run(tmp_path: Path) -> None:
    grid = grid_of("evaluate.votes=3", methods=["phase_1"], seeds=1)
    (cell,) = study(grid, tmp_path / "study").cells
    assert len(cell.votes) == 3
    assert cell.votes[-1].share == cell.accuracy
    assert "Accuracy of a vote over the first k chains" in (tmp_path / "study" / "table.md").read_text()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"found other files and no study\.json"):
        study(grid_of(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_other_settings_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "study"
    study(grid_of(methods=["majority", "label_only"], seeds=1, budget="target_tokens"), out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(SettingsError, match=r"found a cell of other settings \(storeroom\.test: was 8, now 7\)"):
        study(grid_of("storeroom.test=7", methods=["majority", "label_only"], seeds=1, budget="target_tokens"), out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_cells_that_are_not_in_the_grid_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "study"
    study(grid_of(methods=["majority", "random"], seeds=2), out)
    study(grid_of(methods=["random"], seeds=2), out)
    assert "study: 2 cells of earlier calls are kept and not in these tables" in capsys.readouterr().err


def test_two_studies_cannot_run_in_one_folder(tmp_path: Path) -> None:
    out = tmp_path / "study"
    study(grid_of(methods=["majority"], seeds=1), out)
    with alone_in(out, out / ".lock", "study"), pytest.raises(DataError, match="found another process at work in it"):
        study(grid_of(methods=["majority"], seeds=2), out)


def test_an_error_names_its_cell_and_keeps_the_others(tmp_path: Path) -> None:
    grid = grid_of(methods=["majority", "label_only"], seeds=1, vary="train.learning_rate=0.001,1e30")
    with pytest.raises(StudentError, match=r"^cells/1e30/label_only/seed-0: phase-1, step \d+, summarize"):
        study(grid, tmp_path / "study")
    cells = json.loads((tmp_path / "study" / "results.json").read_text())
    assert [(cell["method"], cell["value"]) for cell in cells] == [
        ("majority", "0.001"),
        ("label_only", "0.001"),
        ("majority", "1e30"),
    ]


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("storeroom.test=4,9999", r"cells/9999/majority/seed-0: storeroom\.test: found 9999"),
        (
            "student.sentencepiece=null,none.model",
            r"cells/none\.model/tinythinker/seed-0: student\.sentencepiece: found",
        ),
        ("reflect.stages=[recall],[analyze]", r"cells/analyze-\w+/tinythinker/seed-0: reflect\.stages: found"),
    ],
)
def test_a_cell_that_cannot_work_is_found_before_anything_is_written(tmp_path: Path, vary: str, message: str) -> None:
    settings = ("stages.plan=recall_summarize",) if "reflect" in vary else ()
    grid = grid_of(*settings, methods=["majority", "tinythinker"], seeds=1, vary=vary)
    with pytest.raises(TinyThinkerError, match=f"^{message}"):
        study(grid, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_study_of_a_pretrained_student_has_the_untrained_rows_unasked_and_marks_what_is_below_them(
    tmp_path: Path,
) -> None:
    student = tiny_student(family="causal")
    student.model.save_pretrained(tmp_path / "plain")
    student.tokenizer.save_pretrained(tmp_path / "plain")
    words = ("student.init=pretrained", f"student.name={tmp_path / 'plain'}", "stages.template=cloze")
    limits = ("student.max_target_tokens=16", "student.max_prompt_tokens=48")
    settings = [*SMALL, *words, *limits, "generate.answer=constrained"]
    grid = read_grid("storeroom", settings, methods=["label_only"], seeds=1)
    results = study(grid, tmp_path / "study")
    assert [row.method for row in results.rows] == ["cloze", "cloze_sum", "cloze_token", "letters", "label_only"]
    best = max(results.rows[:4], key=lambda row: row.accuracy.mean)
    marks = [row.below for row in results.rows]
    assert marks[:4] == [None] * 4
    assert marks[4] == (best.method if results.rows[4].accuracy.mean < best.accuracy.mean else None)
    higher = [
        row.model_copy(update={"accuracy": row.accuracy.model_copy(update={"mean": 1.0})}) for row in results.rows[:1]
    ]
    lower = results.rows[4].model_copy(update={"accuracy": results.rows[4].accuracy.model_copy(update={"mean": 0.5})})
    marked = marked_rows(grid, [*higher, lower])
    assert [row.below for row in marked] == [None, "cloze"]
    assert "below cloze, untrained" in "\n".join(
        table(grid, results.model_copy(update={"rows": tuple(marked), "comparisons": {}}))
    )
