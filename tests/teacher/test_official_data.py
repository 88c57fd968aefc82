"""Entries in the form of the official training data, written anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ask
from tinythinker.core.errors import DataError
from tinythinker.core.records import Flaw, Question, Rationale, Rejected
from tinythinker.teacher.official_data import official_rationales

RAIN = ask("Where does rain go?", "up", "down", gold="B", id="rain")
MONEY = ask("Where is money kept?", "bank", "tree", "shoe", gold="A", id="money")
ASKED = "Where does rain go?\n(A) up (B) down"


def entry(prompt: str, label: str = "B") -> dict[str, str]:
    return {"input": prompt, "GT": label, "summarize": f"So the answer is option {label}."}


def read(tmp_path: Path, *entries: object, questions: tuple[Question, ...] = (RAIN, MONEY)) -> list[object]:
    file = tmp_path / "summarize.json"
    file.write_text(json.dumps(entries))
    return list(official_rationales(file, questions))


def test_an_entry_becomes_a_rationale_in_the_questions_order(tmp_path: Path) -> None:
    # The official data may put the gold option first.
    said = f"{ASKED}\nRecall: Rain falls.\nAnalyze: For option B, it is below. For option A, it is above.\nSummarize:"
    assert read(tmp_path, entry(said)) == [
        Rationale(question_id="rain", recall="Rain falls.", analyses=("it is above.", "it is below."), label="B")
    ]


def test_an_entry_without_analyses_teaches_recall_only(tmp_path: Path) -> None:
    assert read(tmp_path, entry(f"{ASKED}\nRecall: Rain falls.\nSummarize:", "A")) == [
        Rationale(question_id="rain", recall="Rain falls.", label="A")
    ]


def test_an_entry_of_another_question_is_rejected_as_a_leak(tmp_path: Path) -> None:
    (found,) = read(tmp_path, entry("Why?\n(A) up (B) down\nRecall: r.\nSummarize:"))
    assert isinstance(found, Rejected)
    assert (found.question_id, found.flaw) == ("summarize.json:1", Flaw.NOT_TRAIN)


@pytest.mark.parametrize(
    ("analyzed", "label", "flaw"),
    [
        ("For option A, no. For option B, it says For option A, yes.", "B", Flaw.UNALIGNED),  # whose is the last?
        ("For option A, no.", "B", Flaw.UNALIGNED),
        ("Well, For option A, no. For option B, yes.", "B", Flaw.UNALIGNED),
        ("For option A, For option B, yes.", "B", Flaw.UNALIGNED),
        ("For option A, no. For option B, yes.", "E", Flaw.VERDICTS),
    ],
)
def test_what_cannot_be_told_apart_is_rejected(tmp_path: Path, analyzed: str, label: str, flaw: Flaw) -> None:
    (found,) = read(tmp_path, entry(f"{ASKED}\nRecall: r.\nAnalyze: {analyzed}\nSummarize:", label))
    assert isinstance(found, Rejected)
    assert (found.question_id, found.flaw) == ("rain", flaw)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "expected a list of entries"),
        ("[3]", r"entry 1, input: found None, expected a text"),
        (
            '[{"input": "Q\\nRecall:", "GT": "A"}]',
            "entry 1, input: found .* expected a text that ends with `Summarize:`",
        ),
        ("[", "expected a list of entries"),
    ],
)
def test_another_form_is_a_one_line_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "summarize.json").write_text(content)
    with pytest.raises(DataError, match=message):
        list(official_rationales(tmp_path / "summarize.json", [RAIN]))
