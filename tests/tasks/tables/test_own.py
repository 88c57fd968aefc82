from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tinythinker.core.errors import DataError
from tinythinker.settings.resolve import load_settings
from tinythinker.settings.schema import DataSettings
from tinythinker.tasks.tables.own import OwnQuestions, read_own

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
            r"mine\.jsonl:2, question: found ' ', expected some text",
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


HEAD = "question,A,B,C,D,answer\n"
BIRDS = "Which bird can swim well?,sparrow,penguin,owl,eagle"
BOARD = "What do you need to write on a blackboard?,chalk,butter,sand,a hammer"
SNOW = "Where is snow most likely?,desert,rain forest,coral reef,mountain top"
GOOSE = "What is heavier than a goose?,feather,leaf,horse,coin"
FOUR = f"{HEAD}{BIRDS},B\n{BOARD},A\n{SNOW},D\n{GOOSE},C\n"


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "mine.csv").write_bytes(text.encode(encoding))
    return folder / "mine.csv"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FOUR.replace(",", ";"), "utf-8"),
        (FOUR.replace(",", "\t"), "utf-8"),
        (FOUR.replace(",", "\t"), "utf-16"),
        (FOUR.replace(",", " , "), "utf-8"),
        (FOUR.replace("question", "Question").replace("answer", "Answer"), "utf-8"),
        (f"{FOUR},,,,,\n,,,,,\n", "utf-8"),
        (FOUR.replace("\n", "\r\n"), "utf-8-sig"),
    ],
)
def test_tables_as_people_have_them_are_read(tmp_path: Path, text: str, encoding: str) -> None:
    read = read_own(table(tmp_path, text, encoding))
    assert [question.gold for question in read] == ["B", "A", "D", "C"]
    assert [option.text for option in read[2].options] == ["desert", "rain forest", "coral reef", "mountain top"]


def test_answers_in_many_ways_are_all_read(tmp_path: Path) -> None:
    ways = ["b", "(B)", "B.", " B ", "B)", "Answer: B", "(B) penguin"]
    read = read_own(table(tmp_path, HEAD + "".join(f"{BIRDS},{way}\n" for way in ways)))
    assert [question.gold for question in read] == ["B"] * 7


def test_numbers_that_count_from_1_are_read_once_that_is_known(tmp_path: Path) -> None:
    file = table(tmp_path, f"{HEAD}{BIRDS},2\n{BOARD},1\n")
    with pytest.raises(DataError, match=r"mine\.csv:2, answer: found '2', which could mean C .* or B .*and 1 more;"):
        read_own(file)
    assert [question.gold for question in read_own(file, data=DataSettings(answer_base=1))] == ["B", "A"]
    decided = table(
        tmp_path, f"{HEAD}{BIRDS},2\n{BOARD},1\n{SNOW},4\n".replace("A,B,C,D,answer", "opa,opb,opc,opd,cop")
    )
    assert [question.gold for question in read_own(decided)] == ["B", "A", "D"]


def test_a_validation_file_counts_like_the_training_file(tmp_path: Path) -> None:
    train = table(tmp_path, f"{HEAD}{BIRDS},2\n{BOARD},1\n{SNOW},4\n")
    valid = tmp_path / "valid.csv"
    valid.write_text(f"{HEAD}{GOOSE},3\n")
    with pytest.raises(DataError, match="which could mean"):
        read_own(valid)
    settings = load_settings(str(train), [f"split.valid_file={valid}"])
    entries = OwnQuestions().read(settings)
    assert entries.parts["valid"][0].question.gold == "C"
    assert "mine.csv:4, answer is 4 of 4 options" in "\n".join(entries.about)


def test_options_with_blanks_are_kept_in_json_and_found_without_them(tmp_path: Path) -> None:
    (question,) = read_own(write(tmp_path, GOOD | {"options": [" bank", "shoe "], "answer": "bank"}))
    assert ([option.text for option in question.options], question.gold) == ([" bank", "shoe "], "A")


def test_questions_without_answers_cannot_be_learned_from(tmp_path: Path) -> None:
    blind = {key: value for key, value in GOOD.items() if key != "answer"}
    settings = load_settings(str(write(tmp_path, GOOD, blind)))
    with pytest.raises(
        DataError, match=r"mine\.jsonl:2: found no answer \(1 of 2 .*'question', 'options', 'answer'.*predict"
    ):
        OwnQuestions().read(settings)


def test_a_row_without_options_is_no_claim_where_others_have_some(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mine\.jsonl:2: found no options, though other rows have some, expected"):
        read_own(write(tmp_path, GOOD, {"question": "Which of these?", "answer": "N"}))


def test_fields_that_disagree_about_the_answer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"mine\.jsonl:1: found answer 'B', label 'C', which are not one option, expected"
    ):
        read_own(write(tmp_path, GOOD | {"label": "C"}))
    assert read_own(write(tmp_path, GOOD | {"label": "C"}), data=DataSettings(answer="answer"))[0].gold == "B"
    assert read_own(write(tmp_path, GOOD | {"answer_idx": "down"}))[0].gold == "B"


def test_a_file_brings_its_own_rationales(tmp_path: Path) -> None:
    rows = [GOOD | {"why": "Up is up.", "each": ["no.", "yes.", "no."]}, GOOD | {"why": "", "each": None}]
    data = ["data.recall=why", "data.analyses=each"]
    (entry, other) = OwnQuestions().read(load_settings(str(write(tmp_path, *rows)), data)).parts["train"]
    assert (entry.knowledge, entry.analyses) == ("Up is up.", ("no.", "yes.", "no."))
    assert (other.knowledge, other.analyses) == (None, ())
    (tmp_path / "wide.csv").write_text("question,A,B,answer,why,wa,wb\n?,x,y,A,Because.,yes.,no.\n")
    settings = load_settings(str(tmp_path / "wide.csv"), ["data.recall=why", "data.analyses=[wa, wb]"])
    assert OwnQuestions().read(settings).parts["train"][0].analyses == ("yes.", "no.")
    with pytest.raises(DataError, match=r"mine\.jsonl:1, number of analyses: found 2, expected 3, one per option"):
        OwnQuestions().read(load_settings(str(write(tmp_path, GOOD | {"why": "x", "each": ["a.", "b."]})), data))
