from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tinythinker.core.errors import DataError, SettingsError
from tinythinker.core.files import write_records
from tinythinker.core.records import Chain, Question, Verdict
from tinythinker.core.run import RunDirectory
from tinythinker.evaluate.score import judge
from tinythinker.report.versus import compare_runs, write_comparison

FIXTURE = Path(__file__).parents[1] / "fixtures" / "version-0.1" / "storeroom"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A finished run with two students on eight questions."""
    shutil.copytree(FIXTURE, tmp_path / "a")
    return RunDirectory(tmp_path / "a")


def answering(run: RunDirectory, name: str, answers: str) -> Path:
    """Verdicts that give these answers, one letter per question."""
    from tinythinker.teacher.taught import read_questions

    questions = read_questions(run, "test")
    file = run.verdicts(name)
    write_records(file, verdicts(questions, answers))
    return file


def verdicts(questions: Sequence[Question], answers: str) -> list[Verdict]:
    return [
        judge(one, [Chain(question_id=one.id, recall=f"fact {answer}", conclusion=f"It is {answer}.", answer=answer)])
        for one, answer in zip(questions, answers, strict=True)
    ]


def other(run: RunDirectory, name: str) -> RunDirectory:
    """A copy of the run next to it."""
    shutil.copytree(run.root, run.root.parent / name)
    return RunDirectory(run.root.parent / name)


GOLD = "CBACCCCC"
"""The gold labels of the fixture's test questions."""


def test_figures_and_tests_match_values_worked_by_hand(run: RunDirectory) -> None:
    first = answering(run, "phase-1.test.greedy", "A" * 8)  # right on one
    second = answering(run, "round-1.test.greedy", GOLD[:7] + "A")  # right on seven
    found = compare_runs([first, second])
    assert [own.name for own in found.contenders] == ["a (phase 1)", "a (round 1)"]
    assert [own.accuracy.share for own in found.contenders] == [1 / 8, 7 / 8]
    (duel,) = found.duels
    assert (duel.name, duel.other) == ("a (round 1)", "a (phase 1)")
    assert (duel.comparison.difference, duel.comparison.better, duel.comparison.worse) == (6 / 8, 6, 0)
    assert duel.comparison.p_holm == pytest.approx(2 / 2**6)  # McNemar: six of six
    assert duel.verdict() == "a (round 1) is better"
    assert len(found.differences) == 6
    assert all(own.is_decisive for own in found.differences)


def test_decisive_questions_come_first_and_both_chains_are_printed(run: RunDirectory) -> None:
    first = answering(run, "phase-1.test.greedy", "AAACCCCC")
    second = answering(run, "round-1.test.greedy", "BBACCCCC")  # another wrong answer, then a right one
    found = compare_runs([first, second])
    assert [own.is_decisive for own in found.differences] == [True, False]
    printed = "\n".join(found.lines(show=1))
    assert "their answers differ on 2 of 8 questions, on 1 of these some are right and some wrong" in printed
    assert "  a (phase 1): A, wrong\n    Recall: fact A\n" in printed
    assert "  a (round 1): B, right\n    Recall: fact B\n" in printed
    assert printed.count("<- gold") == 1
    assert "1 more" in printed
    assert "no significant difference" in printed


def test_a_run_stands_for_its_last_students_greedy_answers(run: RunDirectory) -> None:
    answering(run, "round-1.test.vote-3-at-0.7", "A" * 8)
    last = answering(run, "round-1.test.greedy", "B" * 8)
    changed = other(run, "b")
    assert [own.file for own in compare_runs([run.root, changed.root]).contenders] == [
        str(last),
        str(changed.verdicts("round-1.test.greedy")),
    ]


def test_three_runs_make_three_tests_corrected_together(run: RunDirectory) -> None:
    answering(run, "round-1.test.greedy", "A" * 8)
    better, best = other(run, "b"), other(run, "c")
    answering(better, "round-1.test.greedy", GOLD[:7] + "A")
    answering(best, "round-1.test.greedy", GOLD)
    found = compare_runs([run.root, better.root, best.root])
    assert [(duel.name[0], duel.other[0]) for duel in found.duels] == [("b", "a"), ("c", "a"), ("c", "b")]
    # McNemar: six of six, seven of seven, one of one; Holm multiplies the smallest by 3, the next by 2.
    assert [duel.comparison.p_holm for duel in found.duels] == pytest.approx([2 * 2 / 64, 3 * 2 / 128, 1.0])


def test_runs_with_the_same_folder_name_are_told_apart_by_their_parents(run: RunDirectory) -> None:
    for parent in ("cot", "phase_1"):
        shutil.copytree(run.root, run.root.parent / parent / "seed-0")
    paths = [run.root.parent / parent / "seed-0" for parent in ("cot", "phase_1")]
    assert [own.name for own in compare_runs(paths).contenders] == ["cot/seed-0 (round 1)", "phase_1/seed-0 (round 1)"]


def test_the_page_holds_the_table_the_tests_and_every_difference(run: RunDirectory, tmp_path: Path) -> None:
    first = answering(run, "phase-1.test.greedy", "A" * 8)
    second = answering(run, "round-1.test.greedy", GOLD)
    write_comparison(compare_runs([first, second]), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('<details class="chain"') == 7
    assert page.count("<b>Recall</b>") == 14
    assert "a (round 1) is better" in page
    assert "<svg" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)


def test_other_questions_are_refused(run: RunDirectory) -> None:
    changed = other(run, "b")
    file = changed.questions("test")
    file.write_text(file.read_text().replace("What should", "Where could"))
    with pytest.raises(DataError, match=r"b/verdicts/.*: found another question .* expected the questions of .*a/verd"):
        compare_runs([run.root, changed.root])


def test_what_cannot_be_compared_is_one_line(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="runs to compare: found 1, expected two or more"):
        compare_runs([run.root])
    with pytest.raises(SettingsError, match="expected different ones"):
        compare_runs([run.root, run.root])
    with pytest.raises(DataError, match=r"found no manifest\.json"):
        compare_runs([run.root, tmp_path])
    with pytest.raises(DataError, match="found a file outside of a run's verdicts"):
        compare_runs([run.root, run.questions("test")])
    bare = other(run, "b")
    shutil.rmtree(bare.verdicts_folder)
    with pytest.raises(DataError, match=r"found no finished verdicts.*tinythinker evaluate"):
        compare_runs([run.root, bare.root])
    torn = run.verdicts("phase-1.test.greedy")
    torn.write_text("".join(torn.read_text().splitlines(True)[:3]))
    with pytest.raises(DataError, match="found 3 of 8 verdicts, expected all"):
        compare_runs([run.root, torn])
