from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.conftest import TINY
from tinythinker import api
from tinythinker.core.errors import DataError
from tinythinker.core.files import read_json, write_text
from tinythinker.core.run import RunDirectory
from tinythinker.reflect.pairs import PairCounts
from tinythinker.report.page import write_page
from tinythinker.report.tested import read_rounds


class Tags(HTMLParser):
    """Collects tags and asserts that every opened tag is closed."""

    VOID = frozenset({"meta", "link", "br", "input", "img", "path", "use", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


def read(run: RunDirectory) -> str:
    page = run.report.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return page


def rows(page: str) -> dict[str, list[str]]:
    """The texts of the cells by the name of the row, of all tables whose rows become cards."""
    found = re.findall(r'<th role="rowheader" scope="row">([^<]*)</th>(.*?)</tr>', page)
    return {name: re.findall(r"<td[^>]*>([^<]*)", cells) for name, cells in found}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run = api.start("storeroom", tmp_path_factory.mktemp("runs") / "run", *TINY)
    api.run(run)
    return run


def test_the_page_is_self_contained(finished: RunDirectory) -> None:
    page = read(finished)
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert page.count("<svg") >= 5
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def improved(finished: RunDirectory, root: Path, number: int) -> RunDirectory:
    """A copy of the run in which a round was not rolled back, but got better in its second step."""
    run = RunDirectory(root)
    shutil.copytree(finished.root, run.root)
    metrics = run.round(number).metrics
    lines = '{"step": 0, "valid_accuracy": 0.25}\n{"step": 2, "valid_accuracy": 0.5}\n'
    metrics.write_text("".join(x for x in metrics.read_text().splitlines(True) if "valid_accuracy" not in x) + lines)
    run.forget(metrics)
    return run


def test_the_page_has_a_row_per_student_and_every_stage_of_the_chains(finished: RunDirectory, tmp_path: Path) -> None:
    run = improved(finished, tmp_path / "better", 2)
    write_page(run)
    page = read(run)
    assert {"phase 1", "round 1", "round 2"} <= rows(page).keys()
    assert page.count('<details class="chain') == 8
    # Eight questions, first and last student, one recall and three analyses each.
    assert page.count("<b>Recall</b>") == 16
    assert page.count("<b>Analyze ") == 48
    assert len(re.findall(r'class="step (?:right|wrong)"><b>Recall', page)) == 16


def test_a_round_that_was_rolled_back_is_no_second_result(finished: RunDirectory, tmp_path: Path) -> None:
    page = read(finished)
    assert [own.outcome[-11:] for own in read_rounds(finished)] == ["rolled back"] * 2
    assert len(rows(page)["phase 1"]) > 5
    why = "rolled back: no step did better on the validation questions, so it is phase 1, with the same results"
    assert rows(page)["round 1"] == rows(page)["round 2"] == [why]
    assert "round 1" not in chart(page, "Accuracy on the test questions")
    assert "Phase 2: self-reflection, round 1 (rolled back)" in page
    assert page.count("<b>Recall</b>") == 8  # one student is left to show
    run = improved(finished, tmp_path / "better", 1)
    write_page(run)
    assert rows(read(run))["round 2"] == [why.replace("phase 1", "round 1")]
    assert "round 1" in chart(read(run), "Accuracy on the test questions")


def chart(page: str, title: str) -> str:
    """The chart with this title."""
    return next(one for one in page.split("<svg")[1:] if f">{title}</title>" in one)


def test_voted_answers_are_named_explained_and_counted(finished: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "voted")
    shutil.copytree(finished.root, run.root)
    shutil.rmtree(run.verdicts_folder)
    api.evaluate(run, "evaluate.votes=3")
    write_page(run)
    page = read(run)
    assert "vote-3" not in page
    assert len(rows(page)["phase 1, 3 votes"]) > 5
    assert "the student reasons 3 times about every question" in page
    counts = [
        re.findall(r"\d+", own) for own in re.findall(r"<p class=\"soft\">Votes: ([A-Za-z0-9, ]+)\. The first", page)
    ]
    assert [sum(map(int, own)) for own in counts] == [3] * 8


def test_everything_that_scrolls_can_have_the_focus(finished: RunDirectory) -> None:
    page = read(finished)
    assert all('tabindex="0"' in tag for tag in re.findall(r"<(?:pre|div class=\"wide\")[^>]*>", page))
    assert len(re.findall(r'<div class="wide" role="region" tabindex="0" aria-label="\w', page)) == page.count('"wide"')


@pytest.mark.parametrize("left", [("questions", "teacher"), ("questions", "teacher", "phase-1"), ()])
def test_an_unfinished_run_has_a_page_too(finished: RunDirectory, tmp_path: Path, left: tuple[str, ...]) -> None:
    run = RunDirectory(tmp_path / "half")
    run.root.mkdir()
    shutil.copy(finished.manifest_file, run.manifest_file)
    for name in left:
        shutil.copytree(finished.root / name, run.root / name)
    write_page(run)
    assert "No test verdicts yet." in read(run)


def test_files_that_are_still_being_written_do_not_break_the_page(finished: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "running")
    shutil.copytree(finished.root, run.root)
    shutil.rmtree(run.phase_1.student)
    verdicts = run.verdicts("round-2.test.greedy")
    verdicts.write_text("".join(verdicts.read_text().splitlines(keepends=True)[:7]))
    for file in (run.phase_1.metrics, verdicts):
        with file.open("a") as more:
            more.write('{"step": 7, "lo')
    write_page(run)
    assert "Phase 1" in read(run)


def test_verdicts_on_a_part_of_the_questions_are_announced_and_not_shown(
    finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(tmp_path / "torn")
    shutil.copytree(finished.root, run.root)
    file = run.verdicts("round-2.test.greedy")
    file.write_bytes(file.read_bytes()[:-20])
    write_page(run)
    said = f"evaluate is unfinished: 7 of 8 questions answered; run `tinythinker evaluate {run.root}` again"
    assert said in capsys.readouterr().err
    page = read(run)
    assert said in page
    assert "round 1" in rows(page)
    assert "round 2" not in rows(page)
    assert "<b>evaluate</b> begun" in page


def test_an_empty_file_of_verdicts_is_an_unfinished_one(finished: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "emptied")
    shutil.copytree(finished.root, run.root)
    run.verdicts("phase-1.test.greedy").write_text("")
    write_page(run)
    assert "evaluate is unfinished: 0 of 8 questions answered" in read(run)


def test_a_damaged_file_makes_no_page(finished: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "cut")
    shutil.copytree(finished.root, run.root)
    page = run.report.read_bytes()
    pairs = run.round(1).pairs
    pairs.write_text("".join(pairs.read_text().splitlines(keepends=True)[:1]))
    with pytest.raises(
        DataError, match=r"round-1/pairs\.jsonl: found 1 line, expected the \d+ lines that `reflect` wrote"
    ):
        write_page(run)
    assert run.report.read_bytes() == page


def test_texts_are_escaped(finished: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "odd")
    shutil.copytree(finished.root, run.root)
    file = run.questions("test")
    file.write_text(file.read_text().replace("What should", "<script>alert(1)</script> What should"))
    run.forget(file)
    write_page(run)
    assert "<script>alert" not in read(run)


def test_runs_inside_the_directory_are_shown_next_to_it(finished: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "outer")
    shutil.copytree(finished.root, run.root)
    shutil.copytree(finished.root, run.root / "label-only")
    shutil.rmtree(run.root / "label-only" / "round-1")
    for file in (run.root / "label-only" / "verdicts").glob("round-*"):
        file.unlink()
    write_page(run)
    assert len(rows(read(run))["label-only"]) > 5


def test_a_folder_that_is_not_a_run_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found no manifest\.json"):
        write_page(RunDirectory(tmp_path))


def test_the_page_shows_the_outcome_of_every_round(finished: RunDirectory) -> None:
    page = read(finished)
    table = page[page.index("<h2>Self-reflection") : page.index("<h2>Reasoning")]
    for number in finished.rounds():
        counts = PairCounts.model_validate(read_json(finished.round(number).counts))
        _, having, recall, analyze = rows(table)[str(number)][:4]
        assert having == f"{counts.questions_with_pairs} of {counts.questions}"
        assert (recall, analyze) == (str(counts.recall_pairs), str(counts.analyze_pairs))
    assert "chosen and rejected texts" in page


@pytest.mark.parametrize(
    ("accuracies", "is_finished", "outcome"),
    [
        ([(0, 0.5), (2, 0.75), (4, 0.75)], True, "50.0% → 75.0% (step 2)"),
        ([(0, 0.5), (2, 0.5)], True, "50.0%, rolled back"),
        ([(0, 0.5)], False, "50.0%, nothing better yet"),
        ([(2, 0.4)], True, "40.0% (step 2)"),
        ([], True, "nothing to learn from"),
        ([], False, "under way"),
    ],
)
def test_a_rounds_outcome_in_words(
    accuracies: list[tuple[int, float]], is_finished: bool, outcome: str, finished: RunDirectory, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path)
    run.round(1).root.mkdir()
    shutil.copy(finished.round(1).counts, run.round(1).root)
    write_text(
        run.round(1).metrics,
        "".join(f'{{"step": {step}, "valid_accuracy": {accuracy}}}\n' for step, accuracy in accuracies),
    )
    if is_finished:
        (run.round(1).student).mkdir()
    assert [own.outcome for own in read_rounds(run)] == [outcome]
