from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tinythinker.core.errors import DataError
from tinythinker.tasks.tables.own import read_own

GOOD: dict[str, Any] = {"question": "Where?", "options": ["up", "down", "left"], "answer": "B"}


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize("answer", ["B", "down", 1])
def test_the_answer_is_a_label_a_text_or_a_position(tmp_path: Path, answer: object) -> None:
    assert read_own(write(tmp_path, GOOD | {"answer": answer}, GOOD | {"answer": 0}))[0].gold == "B"


def test_options_may_be_a_mapping_and_keep_its_order(tmp_path: Path) -> None:
    (question,) = read_own(write(tmp_path, GOOD | {"options": {"2": "up", "1": "down"}, "answer": 1}))
    assert [(option.label, option.text) for option in question.options] == [("A", "up"), ("B", "down")]
    assert question.gold == "B"


def test_ids_are_optional_and_follow_the_line(tmp_path: Path) -> None:
    assert [q.id for q in read_own(write(tmp_path, GOOD, GOOD | {"id": 7}))] == ["mine-1", "7"]


def test_questions_may_differ_in_their_number_of_options(tmp_path: Path) -> None:
    many = GOOD | {"options": [str(i) + "th" for i in range(26)], "answer": "Z"}
    assert [len(q.options) for q in read_own(write(tmp_path, GOOD, many))] == [3, 26]


ODD = ["comma, inside", 'quote " inside', "new\nline", "  spaces  ", "ünïcode \u2028 \U0001f600", "(A) B: C"]


def test_odd_characters_in_options_survive_json_byte_for_byte(tmp_path: Path) -> None:
    (question,) = read_own(write(tmp_path, GOOD | {"options": ODD, "answer": 0}))
    assert [option.text for option in question.options] == ODD


def test_odd_characters_in_options_survive_csv_but_for_blanks_around_them(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["question", "answer", *"ABCDEF"])
        writer.writerow(["Where,\nreally?", "C", *ODD])
        writer.writerow(["Where?", "down", "up", "down", "", "", "", ""])
    first, second = read_own(file)
    assert (first.stem, [option.text for option in first.options], first.gold) == (
        "Where,\nreally?",
        [text.strip() for text in ODD],
        "C",
    )
    assert ([option.text for option in second.options], second.gold) == (["up", "down"], "B")


def test_csv_options_may_be_json_in_one_column(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text('id,question,options,answer\nx,Where?,"[""up"", ""down""]",1\ny,Where?,"[""up"", ""down""]",0\n')
    question, _ = read_own(file)
    assert (question.id, question.gold, len(question.options)) == ("x", "B", 2)


def test_a_number_may_be_the_text_of_an_option(tmp_path: Path) -> None:
    numbers = {"options": ["3", "4", "5"]}
    rows = [
        GOOD | numbers | {"answer": 4},
        GOOD | numbers | {"answer": "5"},
        GOOD | {"options": ["1", "2"], "answer": "1"},
    ]
    assert [question.gold for question in read_own(write(tmp_path, *rows))] == ["B", "C", "A"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            GOOD | {"question": " "},
            r"mine\.jsonl:2: found no question in the fields \['question', 'options', 'answer'\], expected one",
        ),
        (GOOD | {"options": ["up"]}, r"mine\.jsonl:2, number of options: found 1, expected 2 to 26"),
        (GOOD | {"options": ["x"] * 27}, r"mine\.jsonl:2, number of options: found 27, expected 2 to 26"),
        (GOOD | {"answer": "D"}, r"mine\.jsonl:2, answer: found 'D', expected a label \(A, B, C\), an option's text"),
        (GOOD | {"answer": 4}, r"mine\.jsonl:2, answer: found 4"),
        (GOOD | {"answer": -1}, r"mine\.jsonl:2, answer: found -1"),
        (GOOD | {"answer": ["A", "B"]}, r"mine\.jsonl:2, answer: found \['A', 'B'\]"),
        (GOOD | {"answer": True}, r"mine\.jsonl:2, answer: found True"),
        (GOOD | {"options": "up,down"}, r"mine\.jsonl:2, options: found 'up,down', expected a JSON list"),
        (GOOD | {"options": ["up", " "]}, r"mine\.jsonl:2, options: found ' ', expected a text that is not blank"),
        (GOOD | {"options": ["B", "A"], "answer": "A"}, r"found 'A', expected .*, and only one option meant"),
        (
            GOOD | {"options": ["1", "2", "3"], "answer": 1},
            r"found 1, which could mean A \(texts of options\) or B \(positions from 0\)",
        ),
        (GOOD | {"options": ["x", "x"], "answer": "x"}, r"found 'x', expected .*, and only one option meant"),
    ],
)
def test_a_bad_question_is_one_error_line_with_file_and_line(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_own(write(tmp_path, GOOD, row))


def test_a_csv_row_with_too_many_cells_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("question,answer,A,B\nWhere?,A,up,down\nWhere?,A,up,down,left,right\n")
    with pytest.raises(DataError, match=r"mine\.csv:3: found '2 cells too many', expected 4 cells"):
        read_own(tmp_path / "mine.csv")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("\n")
    with pytest.raises(DataError, match="found no question"):
        read_own(tmp_path / "mine.jsonl")


@pytest.mark.parametrize("answer", ["2", "1"])
def test_a_number_next_to_lettered_columns_is_refused_since_nobody_knows_from_where_it_counts(
    tmp_path: Path, answer: str
) -> None:
    (tmp_path / "mine.csv").write_text(f"question,A,B,C,answer\nWhere?,up,down,left,{answer}\n")
    with pytest.raises(
        DataError, match=r"mine\.csv:2, answer: found '\d', which could mean .* expected data\.answer_base=0 or"
    ):
        read_own(tmp_path / "mine.csv")


def test_a_number_next_to_lettered_options_in_json_is_refused_too(tmp_path: Path) -> None:
    lettered = GOOD | {"options": {"A": "up", "B": "down"}, "answer": 1}
    with pytest.raises(
        DataError, match=r"mine\.jsonl:1, answer: found 1, which could mean B \(positions from 0\) or A \("
    ):
        read_own(write(tmp_path, lettered))


def test_a_number_that_is_the_text_of_a_lettered_column_is_that_option(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("question,A,B,answer\nHow many?,3,4,4\n")
    assert read_own(tmp_path / "mine.csv")[0].gold == "B"


def test_a_label_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(
        '{"question": "?", "options": {"A": "a", "A": "b", "B": "c"}, "answer": "A"}\n'
    )
    with pytest.raises(DataError, match=r"mine\.jsonl:1: found malformed JSON \(field 'A' twice\)"):
        read_own(tmp_path / "mine.jsonl")
    (tmp_path / "mine.csv").write_text("question,A,A,answer\n?,a,b,A\n")
    with pytest.raises(DataError, match=r"mine\.csv:1: found \['question', 'A', 'A', 'answer'\], expected distinct"):
        read_own(tmp_path / "mine.csv")


def test_options_in_two_places_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text('question,options,A,B,answer\n?,"[""a"", ""b""]",c,d,B\n')
    with pytest.raises(DataError, match=r"mine\.csv:2: found options in options and A, B, expected .* in one place"):
        read_own(tmp_path / "mine.csv")
    with pytest.raises(DataError, match=r"mine\.jsonl:1: found options in options and A, expected .* in one place"):
        read_own(write(tmp_path, GOOD | {"A": "other"}))


def test_a_file_of_another_layout_is_refused_with_what_was_found_in_it(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("id,question,first,second,right\nx,?,a,b,1\n")
    with pytest.raises(DataError, match=r"mine\.csv:2: found no options in .*'first', 'second', 'right'\], expected"):
        read_own(tmp_path / "mine.csv")
    with pytest.raises(DataError, match=r"mine\.jsonl:1: found no question in the fields \['words', 'choices'\]"):
        read_own(write(tmp_path, {"words": "?", "choices": ["a", "b"]}))
