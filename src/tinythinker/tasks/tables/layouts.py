"""Rows -> what they say: question, options, answer. A new layout of options is one function and one line in `LAYOUTS`.

Names of fields are compared without capitals, blanks and dashes. What a row says twice, or in a way that could mean
two things, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from tinythinker.core.errors import DataError, expected, shortened
from tinythinker.core.formats import Json
from tinythinker.core.records import LABELS
from tinythinker.core.text import joined
from tinythinker.settings.schema import DataSettings
from tinythinker.tasks.tables.answers import truth_of
from tinythinker.tasks.tables.literals import parse_cell
from tinythinker.tasks.tables.rows import is_empty

QUESTIONS = "question question_stem stem query problem goal prompt input".split()
CLAIMS = "claim statement sentence text".split()
"""Fields that state something which is true or false, or has a gap to fill."""
CONTEXTS = "context passage article paragraph para premise dialogue ctx".split()
"""Fields that a question refers to; they are read before it."""
LISTS = "options choices choice endings answer_choices answer_options candidates answers".split()
PREFIXES = "option opt op choice answer ans sol solution ending alternative alt candidate".split()
"""Beginnings of the names of columns with one option each: `option1`, `choice_a`, `opa`, `sol1`."""
ANSWERS = (
    "answer answer_key answerkey answer_idx answer_index answer_id correct_answer correct_answer_id correct_option "
    "correct_choice correct_idx correct correct_label cop label gold gold_label gold_idx gold_answer"
).split()
IDS = "id qid question_id ex_id example_id uid uuid".split()
KNOWLEDGE = ("fact1", "facts")
_NUMBERED = re.compile(rf"({'|'.join(PREFIXES)})_?([a-z]|\d{{1,2}})")
_LABEL = re.compile(rf"[a-z]|\d{{1,2}}|(?:{'|'.join(PREFIXES)})[ _-]?(?:[a-z]|\d{{1,2}})", re.IGNORECASE)
_WRONG = re.compile(r"(?:distractor|incorrect_answer|wrong_answer|incorrect|wrong)_?\d{1,2}")
_RIGHT = "correct_answer correct answer right_answer".split()

Fields = Mapping[str, JsonValue]
"""What a row says, by the plain names of its fields; None where it says nothing."""


class Choices(NamedTuple):
    """The options of a row."""

    fields: tuple[str, ...]
    """Plain names of the fields that they were read from."""
    texts: tuple[str, ...]
    names: tuple[str, ...] = ()
    """What the file calls them, in the options themselves; empty if it does not."""
    columns: tuple[str, ...] = ()
    """Names of their columns, which an answer may give."""
    right: int | None = None
    """Position of the right one, where the layout says it."""


class Said(NamedTuple):
    """What a row says, before its answer is understood."""

    line: int
    question: str
    choices: Choices
    answers: Mapping[str, JsonValue]
    """By field; several must mean the same option."""
    id: str | None
    knowledge: str | None
    analyses: tuple[str, ...]
    of_question: tuple[str, ...]
    """Plain names of the fields that the question was read from."""
    used: tuple[str, ...]
    """Plain names of all fields that were read."""


def plain_name(name: str) -> str:
    """A field's name without capitals, blanks and dashes: `Correct Answer` is `correct_answer`."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def said_in(line: int, row: Json, data: DataSettings, where: str) -> Said:
    """What one row says.

    Raises:
        DataError: it says too little, or something twice; the message names the fields that were found.
    """
    places = _fields(row, where)
    fields = {name: value for name, value in places.items() if value is not None}
    free = {name: value for name, value in fields.items() if name not in _claimed(data)}
    question, of_question = _question(fields, free, data, row, where)
    rest = {name: value for name, value in free.items() if name not in of_question}
    places = {name: value for name, value in places.items() if name in rest or name not in (*fields, *_claimed(data))}
    answers = _answers(fields, rest, data)
    choices = _choices(fields, places, data, row, where)
    if choices is None:
        choices = _truths(answers, is_claim=not set(of_question) & set(QUESTIONS))
    if choices is None:
        raise DataError(
            f"{where}: found no options in {_found(row)}, expected them in a field options or choices, in fields A, B, "
            "C ..., or named by data.options=; an answer true or false needs none"
        )
    if not 2 <= len(choices.texts) <= len(LABELS):
        raise DataError(expected(f"{where}, number of options", len(choices.texts), f"2 to {len(LABELS)}"))
    answers = {} if choices.right is not None else {n: v for n, v in answers.items() if n not in choices.fields}
    name, identity = _one_of(fields if data.id else rest, [plain_name(data.id)] if data.id else IDS)
    knowledge = _knowledge(fields, data, where)
    analyses = _analyses(fields, data, len(choices.texts), where)
    extra = [*map(plain_name, (data.recall or "", *(data.analyses or ()))), *KNOWLEDGE]
    used = (*of_question, *choices.fields, *answers, name, *(one for one in extra if one in fields))
    said_id = None if identity is None else _text(identity, f"{where}, {name}")
    return Said(line, question, choices, answers, said_id, knowledge, analyses, of_question, tuple(filter(None, used)))


def _found(row: Json) -> str:
    return f"the fields {shortened(list(row))}"


def _fields(row: Json, where: str) -> dict[str, JsonValue]:
    """The fields by plain name, None for an empty one; those inside a field `question` stand beside it."""
    inner = _inner(row)
    pairs = [(name, value) for name, value in row.items() if value is not inner] if inner else list(row.items())
    pairs += inner.items()
    fields: dict[str, JsonValue] = {}
    for name, value in pairs:
        if plain_name(name) in fields:
            raise DataError(f"{where}: found {shortened(name)} twice in {_found(row)}, expected every field once")
        fields[plain_name(name)] = value
    return {name: None if is_empty(value) else value for name, value in fields.items()}


def _inner(row: Json) -> Json:
    """The fields inside a field `question`; none if it is a text."""
    value = next((value for name, value in row.items() if plain_name(name) == "question"), None)
    return value if isinstance(value, dict) else {}


def refuse_unknown_columns(rows: Sequence[Json], data: DataSettings, where: str) -> None:
    """Raise DataError if a setting names a field that no row has."""
    named = [(f"data.{setting}", name) for setting, names in _by_setting(data).items() for name in names]
    there = dict.fromkeys(name for row in rows for name in (*row, *_inner(row))) if named else {}
    plain = {plain_name(name) for name in there}
    for setting, name in named:
        if plain_name(name) not in plain:
            found = shortened(list(there))
            raise DataError(f"{where}, {setting}={name}: found no such field, expected one of {found}")


def _by_setting(data: DataSettings) -> dict[str, tuple[str, ...]]:
    """The fields that the settings name; nothing else is read from them."""
    several = {"question": data.question, "options": data.options, "analyses": data.analyses}
    single = {"answer": data.answer, "id": data.id, "recall": data.recall}
    one = {setting: (name,) for setting, name in single.items() if name is not None}
    return one | {setting: names for setting, names in several.items() if names is not None}


def _claimed(data: DataSettings) -> set[str]:
    return {plain_name(name) for names in _by_setting(data).values() for name in names}


def _text(value: JsonValue, where: str) -> str:
    """A value as text: numbers and booleans as JSON writes them. Raises DataError."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(expected(where, value, "a text that is not blank"))
    return value


def _one_of(fields: Fields, names: Sequence[str]) -> tuple[str, JsonValue]:
    """The first of these fields that is there; an empty name if none is."""
    return next(((name, fields[name]) for name in names if name in fields), ("", None))


def _question(fields: Fields, free: Fields, data: DataSettings, row: Json, where: str) -> tuple[str, tuple[str, ...]]:
    """The question's text and the fields that it was read from; what it refers to may be empty, itself it may not."""
    if data.question is not None:
        known = list(map(plain_name, data.question))
        names = [name for name in known if name in fields]
        asked = known[-1:]
    else:
        known = [name for name in map(plain_name, row) if name in QUESTIONS] or list(QUESTIONS)
        contexts = [name for name in CONTEXTS if name in free]
        asked = [name for name in QUESTIONS if name in free]
        alone = [name for name in (*CLAIMS, *CONTEXTS) if name in free]
        if len(asked) > 1 or (not asked and len(alone) > 1):
            several = ", ".join(asked or alone)
            raise DataError(
                f"{where}: found {several}, which could each be the question, expected one, or data.question="
            )
        names = [*contexts, *asked] if asked else alone
    blank = [name for name, value in row.items() if plain_name(name) in (asked or known) and is_empty(value)]
    if blank and not (set(asked) & set(fields)):
        raise DataError(expected(f"{where}, {blank[0]}", row[blank[0]], "some text"))
    if not names:
        raise DataError(
            f"{where}: found no question in {_found(row)}, expected {known[0]}, or data.question= to name it"
        )
    return " ".join(_lines(fields[name], f"{where}, {name}") for name in names), tuple(names)


def _lines(value: JsonValue, where: str) -> str:
    """A text, or the lines of one, such as a dialogue. Raises DataError."""
    return " ".join(_text(one, where) for one in (value if isinstance(value, list) else [value]))


def _answers(fields: Fields, rest: Fields, data: DataSettings) -> dict[str, JsonValue]:
    if data.answer is not None:
        name = plain_name(data.answer)
        return {name: fields[name]} if name in fields else {}
    return {name: rest[name] for name in ANSWERS if name in rest}


def _choices(fields: Fields, places: Fields, data: DataSettings, row: Json, where: str) -> Choices | None:
    """The options, in the one place where they are; None if there are none."""
    if data.options is not None:
        names = [plain_name(name) for name in data.options]
        if len(names) > 1:
            return _in_columns([(name, fields.get(name)) for name in names], where)
        return _listed_in(names[0], fields[names[0]], where) if names[0] in fields else None
    found = [choices for layout in LAYOUTS for choices in layout(places, where)]
    if len(found) > 1:
        written = {plain_name(name): name for name in row}
        several = " and ".join(", ".join(written.get(name, name) for name in one.fields) for one in found)
        raise DataError(
            f"{where}: found options in {several}, expected the options in one place; remove the others, or name them "
            "with data.options="
        )
    return found[0] if found else None


def _truths(answers: Mapping[str, JsonValue], *, is_claim: bool) -> Choices | None:
    """The two options of a claim that is true or false, or of a question whose answer is yes or no."""
    if not answers or any(truth_of(value) is None for value in answers.values()):
        return None
    return Choices((), ("true", "false") if is_claim else ("yes", "no"))


def _in_columns(cells: Sequence[tuple[str, JsonValue]], where: str) -> Choices:
    """One option per column; empty cells at the end are options that the question does not have."""
    filled = list(cells)
    while filled and filled[-1][1] is None:
        filled.pop()
    names = tuple(name for name, _ in filled)
    return Choices(names, tuple(_text(value, f"{where}, option {name}") for name, value in filled), columns=names)


def _listed(places: Fields, where: str) -> Iterator[Choices]:
    """All options in one field: a list, a mapping from label to text, or the forms of the Hugging Face Hub."""
    for name in LISTS:
        value = places.get(name)
        if value is not None and (name != "answers" or (isinstance(value, list) and len(value) > 1)):
            yield _listed_in(name, value, where)


def _listed_in(name: str, value: JsonValue, where: str) -> Choices:
    where = f"{where}, {name}"
    value = parse_cell(value, where) if isinstance(value, str) else value
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        pairs = [(one.get("label"), one.get("text")) for one in value if isinstance(one, dict)]
    elif isinstance(value, list):
        return Choices((name,), tuple(_text(one, where) for one in value))
    elif isinstance(value, dict) and set(value) == {"label", "text"}:
        labels, texts = value["label"], value["text"]
        if not isinstance(labels, list) or not isinstance(texts, list) or len(labels) != len(texts):
            raise DataError(expected(where, value, "as many labels as texts"))
        pairs = list(zip(labels, texts, strict=True))
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise DataError(expected(where, value, "a list of texts, or a mapping from label to text"))
    names = [_text(label, f"{where}, label") for label, _ in pairs]
    if odd := [one for one in names if not _LABEL.fullmatch(one.strip())]:
        raise DataError(expected(f"{where}, label", odd[0], "a letter or a number"))
    if len({one.strip().lower() for one in names}) < len(names):
        raise DataError(expected(f"{where}, labels", names, "distinct labels"))
    return Choices((name,), tuple(_text(text, where) for _, text in pairs), tuple(one.strip() for one in names))


def _lettered(places: Fields, where: str) -> Iterator[Choices]:
    """Columns A, B, C ... in any case."""
    yield from _run({name: name for name in places if len(name) == 1 and name.upper() in LABELS}, places, where)


def _prefixed(places: Fields, where: str) -> Iterator[Choices]:
    """Columns with a common beginning: `option1`, `choice_a`, `opa`, `answerA`, `sol1`, `ending0`."""
    runs: dict[tuple[str, bool], dict[str, str]] = {}
    for name in places:
        if name not in (*LISTS, *ANSWERS) and (match := _NUMBERED.fullmatch(name)):
            mark = match[2].lstrip("0") or "0"
            run = runs.setdefault((match[1], mark.isdecimal()), {})
            if mark in run:
                raise DataError(f"{where}: found {run[mark]} and {name}, expected every option once")
            run[mark] = name
    for run in runs.values():
        yield from _run(run, places, where)


def _run(columns: Mapping[str, str], places: Fields, where: str) -> Iterator[Choices]:
    """The options in columns that are marked by letters or numbers in a row. Raises DataError for a gap.

    Args:
        columns: by mark.
    """
    marks = sorted(columns, key=lambda mark: (len(mark), mark))
    while marks and places[columns[marks[-1]]] is None:
        marks.pop()
    if not marks:
        return
    first = marks[0]
    wanted = LABELS.lower() if first == "a" else [str(int(first) + i) for i in range(26)] if first in "01" else ""
    if marks != list(wanted[: len(marks)]):
        raise DataError(
            f"{where}: found options in {', '.join(columns[mark] for mark in marks)}, expected them one after the "
            "other from the first, or data.options= to name the columns"
        )
    yield _in_columns([(columns[mark], places[columns[mark]]) for mark in marks], where)


def _right_and_wrong(places: Fields, where: str) -> Iterator[Choices]:
    """A right answer and wrong ones in fields of their own: SciQ, GPQA, Open Trivia."""
    wrong = [name for name, value in places.items() if _WRONG.fullmatch(name) and value is not None]
    right = [name for name in _RIGHT if places.get(name) is not None]
    lists = [name for name in ("incorrect_answers", "distractors") if places.get(name) is not None]
    if right and (wrong or lists):
        texts = [_text(places[name], f"{where}, {name}") for name in (right[0], *sorted(wrong))]
        for name in lists:
            texts += _listed_in(name, places[name], where).texts
        yield Choices((right[0], *sorted(wrong), *lists), tuple(texts), right=0)


def _scored(places: Fields, where: str) -> Iterator[Choices]:
    """Options with 1 for the right one and 0 for all others: BIG-bench `target_scores`, TruthfulQA `mc1_targets`."""
    for name in ("target_scores", "mc1_targets"):
        value = places.get(name)
        if not isinstance(value, dict):
            continue
        texts: list[JsonValue] = list(value)
        scores: list[JsonValue] = list(value.values())
        if set(value) == {"choices", "labels"}:
            texts, scores = (list(one) if isinstance(one, list) else [] for one in (value["choices"], value["labels"]))
        if len(texts) != len(scores) or scores.count(1) != 1 or scores.count(0) != len(scores) - 1:
            raise DataError(expected(f"{where}, {name}", value, "1 for one option and 0 for all others"))
        yield Choices((name,), tuple(_text(text, f"{where}, {name}") for text in texts), right=scores.index(1))


LAYOUTS: tuple[Callable[[Fields, str], Iterator[Choices]], ...] = (
    _listed,
    _lettered,
    _prefixed,
    _right_and_wrong,
    _scored,
)
"""Where options may be. Each gives what it finds in a row; all together must find one."""


def _knowledge(fields: Fields, data: DataSettings, where: str) -> str | None:
    name, value = _one_of(fields, KNOWLEDGE if data.recall is None else [plain_name(data.recall)])
    if isinstance(value, list) and data.recall is None:
        return joined(one for one in value if isinstance(one, str) and one.strip()) or None
    return None if value is None else _text(value, f"{where}, {name}")


def _analyses(fields: Fields, data: DataSettings, count: int, where: str) -> tuple[str, ...]:
    """One analysis per option, in the options' order; none if the row has none."""
    names = [plain_name(name) for name in data.analyses or ()]
    values = [fields.get(name) for name in names]
    if len(names) == 1 and values[0] is not None:
        value = parse_cell(values[0], f"{where}, {names[0]}") if isinstance(values[0], str) else values[0]
        values = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    while values and values[-1] is None:
        values.pop()
    if values and len(values) != count:
        raise DataError(expected(f"{where}, number of analyses", len(values), f"{count}, one per option"))
    return tuple(_text(value, f"{where}, data.analyses") for value in values)
