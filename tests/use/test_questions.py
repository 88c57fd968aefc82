from __future__ import annotations

from collections.abc import Iterator

import pytest

from tinythinker.core.errors import DataError
from tinythinker.core.records import Question, Stage
from tinythinker.use.questions import Posed, as_question, questions_in, spoken_question


def parts(question: Question) -> tuple[str, list[str]]:
    return question.stem, [option.text for option in question.options]


@pytest.mark.parametrize(
    "text",
    [
        "Where does rain go?\nA) up\nB) down",
        "Where does rain go?\n(A) up (B) down",
        "Question: Where does rain go?\nAnswer choices:\n  a. up\n  b. down\n\nAnswer:",
        "Where does rain go?\n- A: up\n- B: down\nReply with one letter.",
        "Where does rain go?\r\n1) up\r\n2) down\r\n",
        "Q: Where does rain go? (A) up (B) down",
    ],
)
def test_the_options_in_a_text_are_found_in_the_usual_ways_of_listing_them(text: str) -> None:
    assert parts(spoken_question(text)) == ("Where does rain go?", ["up", "down"])


def test_the_last_list_counts_and_a_letter_in_the_question_begins_none() -> None:
    text = "Plan A. first, then:\n1. wait\n2. go\nWhich is last? It is not (C) clear.\nA) wait\nB) go\nC) stop"
    assert parts(spoken_question(text))[1] == ["wait", "go", "stop"]


@pytest.mark.parametrize("text", ["Where does rain go?", "Where?\nA) up", "Where?\nB) up\nC) down", ""])
def test_a_text_without_a_list_of_options_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"question: found .*, expected its options after it"):
        spoken_question(text)


def test_a_line_of_json_is_a_question_as_soon_as_it_is_there() -> None:
    def lines() -> Iterator[str]:
        yield '{"id": "one", "question": "Where?", "options": ["up", "down"]}\n'
        yield "\n"
        raise AssertionError("the second line is not needed for the first question")

    first = next(questions_in(lines(), "standard input"))
    assert (first.id, parts(first)) == ("one", ("Where?", ["up", "down"]))


def test_json_in_a_known_layout_is_recognised_and_its_answer_is_not_told() -> None:
    line = '{"question": {"stem": "Where?", "choices": [{"label": "A", "text": "up"}, {"label": "B", "text": "down"}]}'
    (found,) = questions_in([line + ', "answerKey": "B"}'], "here")
    assert (found.id, parts(found), found.gold) == ("here-1", ("Where?", ["up", "down"]), None)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "here: found nothing, expected a question"),
        (['{"question": "Where?", "options": ["up", "down"]}', "oops"], "here:2: found malformed JSON"),
        (['{"question": "Where?", "options": ["up"]}'], "here:1.*found 1, expected"),
    ],
)
def test_what_is_no_question_is_named_with_its_line(lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(questions_in(lines, "here"))


def test_given_reasoning_must_be_whole_and_such_as_the_student_reads() -> None:
    question = as_question("Where?", ["up", "down"])
    with pytest.raises(DataError, match="analyses: found 1, expected 2, one per option"):
        Posed(question, "rain falls", ("it does",))
    with pytest.raises(DataError, match="found an empty text"):
        Posed(question, " ")
    with pytest.raises(DataError, match="recall: found none with given analyses"):
        Posed(question, None, ("no", "yes")).refuse_foreign((Stage.RECALL, Stage.ANALYZE, Stage.SUMMARIZE))
    with pytest.raises(DataError, match="recall: found a given text, expected none: this student has the stages summ"):
        Posed(question, "rain falls").refuse_foreign((Stage.SUMMARIZE,))
    Posed(question, None, ("no", "yes")).refuse_foreign((Stage.ANALYZE, Stage.SUMMARIZE))
