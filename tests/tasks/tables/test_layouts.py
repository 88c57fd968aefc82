"""Layouts as people and public benchmarks have them; every question is written anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinythinker.core.errors import DataError
from tinythinker.core.records import LABELS
from tinythinker.settings.schema import DataSettings
from tinythinker.tasks.tables.own import read_own

BIRDS, SIZES = ["sparrow", "penguin", "owl"], ["feather", "leaf", "horse"]
Q1, Q2 = "Which bird can swim well?", "What is heavier than a goose?"


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def said(folder: Path, *rows: dict[str, Any], **data: Any) -> list[tuple[str, list[str], str | None]]:
    """What is read of rows: question, options and the right option's text."""
    read = read_own(write(folder, *rows), data=DataSettings(**data))
    return [
        (q.stem, [o.text for o in q.options], None if q.gold is None else q.options[LABELS.index(q.gold)].text)
        for q in read
    ]


PLAIN = [(Q1, BIRDS, "penguin"), (Q2, SIZES, "horse")]
NUMBERED = [
    ["option1", "option2", "option3"],
    ["Option 1", "Option 2", "Option 3"],
    ["choice_a", "choice_b", "choice_c"],
    ["choiceA", "choiceB", "choiceC"],
    ["opa", "opb", "opc"],
    ["answerA", "answerB", "answerC"],
    ["sol1", "sol2", "sol3"],
    ["ending0", "ending1", "ending2"],
    ["A", "B", "C"],
    ["a", "b", "c"],
]


@pytest.mark.parametrize("columns", NUMBERED, ids=lambda columns: columns[0])
def test_options_may_have_columns_of_their_own(tmp_path: Path, columns: list[str]) -> None:
    rows = [
        {"question": question, **dict(zip(columns, options, strict=True)), "answer": label}
        for question, options, label in ((Q1, BIRDS, "B"), (Q2, SIZES, "C"))
    ]
    assert said(tmp_path, *rows) == PLAIN


@pytest.mark.parametrize(
    "options",
    [
        lambda texts: {"options": texts},
        lambda texts: {"choices": texts},
        lambda texts: {"options": dict(zip("ABC", texts, strict=True))},
        lambda texts: {"options": json.dumps(texts)},
        lambda texts: {"options": str(texts)},
        lambda texts: {"choices": {"label": ["A", "B", "C"], "text": texts}},
        lambda texts: {"choices": str({"text": texts, "label": ["A", "B", "C"]})},
        lambda texts: {"choices": [{"label": n, "text": t} for n, t in zip("ABC", texts, strict=True)]},
    ],
)
def test_options_may_be_in_one_field_of_many_forms(tmp_path: Path, options: Any) -> None:
    first = {"question_stem": Q1, **options(BIRDS), "answerKey": "B"}
    second = {"question_stem": Q2, **options(SIZES), "answerKey": "C"}
    assert said(tmp_path, first, second) == PLAIN


BENCHMARKS: dict[str, tuple[dict[str, Any], tuple[str, list[str], str]]] = {
    "PIQA": (
        {"goal": "Warm your hands.", "sol1": "Rub them.", "sol2": "Freeze them.", "label": 0},
        ("Warm your hands.", ["Rub them.", "Freeze them."], "Rub them."),
    ),
    "SocialIQA": (
        {"context": "Ada fell.", "question": "How is she?", "answerA": "sore", "answerB": "fast", "label": "2"},
        ("Ada fell. How is she?", ["sore", "fast"], "fast"),
    ),
    "WinoGrande": (
        {"sentence": "The _ is wet.", "option1": "sea", "option2": "sun", "answer": "2"},
        ("The _ is wet.", ["sea", "sun"], "sun"),
    ),
    "HellaSwag": (
        {"ctx": "He opens the lid", "ctx_a": "He", "ctx_b": "", "endings": ["and looks.", "and flies."], "label": "0"},
        ("He opens the lid", ["and looks.", "and flies."], "and looks."),
    ),
    "SciQ": (
        {"question": Q1, "distractor3": "owl", "distractor1": "sparrow", "correct_answer": "penguin", "support": "x"},
        (Q1, ["penguin", "sparrow", "owl"], "penguin"),
    ),
    "GPQA": (
        {"Question": Q1, "Correct Answer": "penguin", "Incorrect Answer 1": "owl", "Incorrect Answer 2": "sparrow"},
        (Q1, ["penguin", "owl", "sparrow"], "penguin"),
    ),
    "Open Trivia": (
        {"category": "birds", "question": Q1, "correct_answer": "penguin", "incorrect_answers": ["owl", "sparrow"]},
        (Q1, ["penguin", "owl", "sparrow"], "penguin"),
    ),
    "MedQA": (
        {"question": Q1, "options": dict(zip("ABC", BIRDS, strict=True)), "answer": "penguin", "answer_idx": "B"},
        (Q1, BIRDS, "penguin"),
    ),
    "AQuA": (
        {"question": "What is 3 times 7?", "options": ["A)21", "B)24"], "rationale": "x", "correct": "A"},
        ("What is 3 times 7?", ["A)21", "B)24"], "A)21"),
    ),
    "BBQ": (
        {"context": "Ada met Bo.", "question": "Who sang?", "ans0": "Ada", "ans1": "Bo", "ans2": "Unknown", "label": 0},
        ("Ada met Bo. Who sang?", ["Ada", "Bo", "Unknown"], "Ada"),
    ),
    "RACE": (
        {"article": "Bo ran.", "question": "Who ran?", "options": ["Ada", "Bo"], "answer": "B", "example_id": "r1"},
        ("Bo ran. Who ran?", ["Ada", "Bo"], "Bo"),
    ),
    "DREAM": (
        {"dialogue": ["M: Tea?", "W: Yes."], "question": "What is drunk?", "choice": ["tea", "milk"], "answer": "tea"},
        ("M: Tea? W: Yes. What is drunk?", ["tea", "milk"], "tea"),
    ),
    "BoolQ": (
        {"question": "is ice cold", "passage": "Ice is frozen.", "answer": True},
        ("Ice is frozen. is ice cold", ["yes", "no"], "yes"),
    ),
    "StrategyQA": (
        {"qid": "s1", "question": "Is ice warm?", "answer": False, "facts": ["Ice is frozen."]},
        ("Is ice warm?", ["yes", "no"], "no"),
    ),
    "CREAK": (
        {"ex_id": "c1", "sentence": "Ice is cold.", "label": "true", "explanation": "x"},
        ("Ice is cold.", ["true", "false"], "true"),
    ),
    "TruthfulQA": (
        {"question": Q1, "mc1_targets": {"choices": BIRDS, "labels": [0, 1, 0]}, "mc2_targets": {"choices": ["x"]}},
        (Q1, BIRDS, "penguin"),
    ),
    "BIG-bench": (
        {"input": Q1, "target_scores": {"sparrow": 0, "penguin": 1, "owl": 0}},
        (Q1, BIRDS, "penguin"),
    ),
    "CommonsenseQA, official": (
        {
            "id": "x",
            "question": {
                "question_concept": "bird",
                "stem": Q1,
                "choices": [{"label": "A", "text": "owl"}, {"label": "B", "text": "penguin"}],
            },
            "answerKey": "B",
        },
        (Q1, ["owl", "penguin"], "penguin"),
    ),
    "ARC with numbers": (
        {"id": "x", "question": Q1, "choices": {"text": BIRDS, "label": ["1", "2", "3"]}, "answerKey": "2"},
        (Q1, BIRDS, "penguin"),
    ),
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_layouts_of_public_benchmarks_are_recognised(tmp_path: Path, name: str) -> None:
    row, wanted = BENCHMARKS[name]
    assert said(tmp_path, row) == [wanted]


def test_ids_and_facts_of_a_benchmark_are_read_with_it(tmp_path: Path) -> None:
    row, _ = BENCHMARKS["StrategyQA"]
    assert read_own(write(tmp_path, row))[0].id == "s1"


def test_settings_name_what_is_not_recognised(tmp_path: Path) -> None:
    row = {
        "scene": "At sea.",
        "asked": Q1,
        "w1": "owl",
        "w2": "penguin",
        "right": "penguin",
        "A": "not an option",
        "n": 5,
    }
    data = {"question": ["scene", "Asked"], "options": ["w1", "w2"], "answer": "right", "id": "n"}
    assert said(tmp_path, row, **data) == [(f"At sea. {Q1}", ["owl", "penguin"], "penguin")]
    assert read_own(write(tmp_path, row), data=DataSettings(**data))[0].id == "5"


def test_a_setting_decides_between_two_places(tmp_path: Path) -> None:
    row = {"question": Q1, "options": BIRDS, "A": "x", "B": "y", "answer": "B"}
    assert said(tmp_path, row, options="options") == [(Q1, BIRDS, "penguin")]
    assert said(tmp_path, row, options=["A", "B"]) == [(Q1, ["x", "y"], "y")]


def test_of_several_columns_of_a_question_only_the_last_must_say_something(tmp_path: Path) -> None:
    row = {"scene": "", "asked": Q1, "options": BIRDS, "answer": "B"}
    assert said(tmp_path, row, question=["scene", "asked"]) == PLAIN[:1]
    with pytest.raises(DataError, match=r"mine\.jsonl:1, scene: found '', expected some text"):
        said(tmp_path, row, question=["asked", "scene"])


@pytest.mark.parametrize("setting", ["question", "options", "answer", "id", "recall"])
def test_a_setting_that_names_no_field_is_refused_with_those_there_are(tmp_path: Path, setting: str) -> None:
    with pytest.raises(DataError, match=rf"mine\.jsonl, data\.{setting}=no: found no such field, expected .*'options'"):
        said(tmp_path, {"question": Q1, "options": BIRDS, "answer": "B"}, **{setting: "no"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": Q1, "options": BIRDS, "choices": BIRDS}, "found options in options and choices, expected"),
        ({"question": Q1, "option1": "x", "option2": "y", "A": "x", "B": "y"}, "found options in A, B and option1, "),
        ({"question": Q1, "query": Q1, "options": BIRDS}, "found question, query, which could each be the question"),
        ({"question": "", "context": "Ada fell.", "options": BIRDS}, "question: found '', expected some text"),
        ({"claim": Q1, "sentence": Q1, "answer": True}, "found claim, sentence, which could each be the question"),
        ({"question": Q1, "A": "x", "C": "y"}, "found options in a, c, expected them one after the other"),
        ({"question": Q1, "option2": "x", "option3": "y"}, "found options in option2, option3, expected them one"),
        ({"question": Q1, "ending0": None, "ending1": "x", "ending2": "y"}, "option ending0: found None, expected a"),
        ({"question": Q1, "A": "x", "B": "", "C": "y"}, "option b: found None, expected a text that is not blank"),
        ({"question": Q1, "option1": "x", "option_1": "y", "option2": "z"}, "found option1 and option_1, expected"),
        ({"question": Q1, "Question": Q2, "options": BIRDS}, "found 'Question' twice in the fields"),
        ({"question": Q1, "options": {"A": "x", "a": "y"}}, "labels: found .* expected distinct labels"),
        ({"question": Q1, "options": {"red": 1, "blue": 0}}, "label: found 'red', expected a letter or a number"),
        ({"question": Q1, "choices": {"label": ["A"], "text": BIRDS}}, "expected as many labels as texts"),
        ({"question": Q1, "options": [["x"], ["y"]]}, r"options: found \['x'\], expected a text"),
        ({"question": Q1, "options": "['a' 'b']"}, "expected a JSON list or mapping, or a Python one"),
        (
            {"question": Q1, "answer": "up"},
            r"found no options in the fields \['answer', 'question'\], expected them in",
        ),
        ({"claim": Q1, "label": 1}, "found no options in .* an answer true or false needs none"),
        ({"question": Q1, "options": BIRDS, "answer": "A", "label": "C"}, "found answer 'A', label 'C', which are not"),
        ({"input": Q1, "target_scores": {"x": 1, "y": 1}}, "expected 1 for one option and 0 for all others"),
    ],
)
def test_what_could_mean_two_things_is_refused(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"mine\.jsonl:1.*{message}"):
        said(tmp_path, {"answer": "A"} | row if "claim" not in row and "label" not in row else row)


def test_a_missing_option_at_the_end_is_one_the_question_does_not_have(tmp_path: Path) -> None:
    row = {"question": Q1, "option1": "x", "option2": "y", "option3": "", "option4": None, "answer": "option 2"}
    assert said(tmp_path, row) == [(Q1, ["x", "y"], "y")]


def test_numbers_and_truth_values_as_options_become_text(tmp_path: Path) -> None:
    row = {"question": Q1, "options": [6, 8.5, True], "answer": 8.5}
    assert said(tmp_path, row) == [(Q1, ["6", "8.5", "true"], "8.5")]


def test_a_question_without_an_answer_has_no_gold_label(tmp_path: Path) -> None:
    assert (
        said(tmp_path, {"question": Q1, "options": BIRDS}, {"question": Q1, "options": BIRDS, "answer": ""})
        == [(Q1, BIRDS, None)] * 2
    )
