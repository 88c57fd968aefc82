from __future__ import annotations

from pathlib import Path

import pytest

from tests.teacher.conftest import some_questions
from tinythinker.core.errors import DataError
from tinythinker.core.files import write_json
from tinythinker.core.records import Flaw, Rationale, Rejected
from tinythinker.teacher.quality import Disagreement, WordCounts, measure, read_quality
from tinythinker.teacher.select import Selected

QUESTIONS = some_questions(3)
SELECTED = Selected(
    rationales=(
        Rationale(question_id="q0", recall="one two", analyses=("a b c", "d")),
        Rationale(question_id="q0", recall="one two three four", analyses=("a", "d e f")),
    ),
    rejected=(
        Rejected(question_id="q1", flaw=Flaw.OPTIONS, text=""),
        Rejected(question_id="q1", flaw=Flaw.CUT, text=""),
        Rejected(question_id="q2", flaw=Flaw.OPTIONS, text=""),
    ),
    votes={"q0": {"A": 2}, "q1": {"B": 3, "A": 1}, "q2": {"A": 1, "B": 1}},
    relabelled={},
)


def test_kept_and_rejected_rationales_are_counted() -> None:
    quality = measure("openai", SELECTED, QUESTIONS, "gold", 3.0, {"q1": 4})
    assert (quality.rationales, quality.questions_without_rationale) == (2, 2)
    assert quality.rejected == {"cut": 1, "options": 2}
    assert quality.rationales_per_question == {0: 2, 2: 1}
    assert quality.recall_words == WordCounts(mean=3.0, median=3.0, most=4)
    assert quality.analysis_words == WordCounts(mean=2.0, median=2.0, most=3)
    assert quality.cost_per_rationale == 1.5
    assert quality.missing == {"q1": 4}


def test_questions_whose_majority_contradicts_the_gold_label_are_listed_with_their_texts() -> None:
    quality = measure("openai", SELECTED, QUESTIONS, "gold", None, {})
    assert quality.disagreements == (
        Disagreement(
            question_id="q1",
            stem="Where is number 1?",
            gold="A",
            gold_text="up",
            majority="B",
            majority_text="down",
            votes={"B": 3, "A": 1},
        ),
    )
    assert any("1 questions whose gold label most verdicts contradict; labels kept" in line for line in quality.lines())


def test_quality_is_read_back_from_its_file_and_a_damaged_file_is_a_one_line_error(tmp_path: Path) -> None:
    quality = measure("openai", SELECTED, QUESTIONS, "gold", 3.0, {"q1": 4})
    write_json(tmp_path / "quality.json", quality.model_dump(mode="json"))
    assert read_quality(tmp_path / "quality.json") == quality
    (tmp_path / "quality.json").write_text("{}")
    with pytest.raises(DataError, match=r"quality\.json: source: found nothing"):
        read_quality(tmp_path / "quality.json")
