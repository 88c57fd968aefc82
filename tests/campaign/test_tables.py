"""Ten thousand generated tables of questions: what is read is what was written, and everything else is refused.

Each table has a truth. It is written in one of many formats and layouts, with answers in one of many ways, sometimes
with the settings that a careful user would give. A question that is read otherwise than it was meant is a failure.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.random import Generator

from tinythinker.core.errors import TinyThinkerError
from tinythinker.core.records import LABELS
from tinythinker.core.seeds import stream
from tinythinker.settings.schema import DataSettings
from tinythinker.tasks.tables.own import read_own

pytestmark = pytest.mark.slow

TABLES = 10_000
WORDS = (
    *("sparrow", "a hammer", "Rain forest", "yes", "no", "true", "A", "b", "C", "I", "café", "Zürich", "3.5", "50 %"),
    *("one, two", 'he said "no"', "semi; colon", "a|b", "two\nlines", "(A) it", "B. that", "option 2", "None", "N/A"),
    *("007", "1e5", "['x']", "{}", " padded ", "“curly”", "где", "答え", "Answer: C", "true story", "x=1", "#", "-1"),
)
NOISE: Mapping[str, Callable[[Generator, int], Any]] = {
    "category": lambda draw, i: str(pick(draw, ["physics", "history"])),
    "difficulty": lambda draw, i: int(draw.integers(1, 5)),
    "source": lambda draw, i: f"page {i}",
    "explanation": lambda draw, i: "Because it is so.",
    "label": lambda draw, i: int(draw.integers(0, 3)),
    "score": lambda draw, i: float(draw.random()),
    "": lambda draw, i: i,
    "key": lambda draw, i: f"k{i}",
    "context": lambda draw, i: "",
}
"""Columns that have nothing to do with the question, though some look as if they had."""


class Truth(NamedTuple):
    question: str
    options: tuple[str, ...]
    gold: int


def pick(draw: Generator, values: Sequence[Any]) -> Any:
    return values[int(draw.integers(len(values)))]


def options_of(draw: Generator, kind: str, count: int) -> list[str]:
    if kind == "words":
        return [str(pick(draw, WORDS)) for _ in range(count)]
    if kind == "yes or no":
        return list(pick(draw, [("yes", "no"), ("no", "yes"), ("true", "false"), ("No", "Yes")]))
    return [str(draw.integers(0, 5 if kind == "small numbers" else 2000)) for _ in range(count)]


def truths(draw: Generator) -> list[Truth]:
    """The questions of a table: some have options that are numbers, some the same options in every row."""
    kind = pick(draw, ["words", "words", "small numbers", "numbers", "yes or no"])
    most = int(draw.integers(2, 6))
    is_even = bool(draw.random() < 0.7)
    found = []
    for i in range(int(draw.integers(1, 9))):
        count = most if is_even else int(draw.integers(2, most + 1))
        options = options_of(draw, kind, count)
        if len({" ".join(text.casefold().split()) for text in options}) < len(options) and draw.random() < 0.9:
            options = [f"{text} {mark}" for text, mark in zip(options, "pqrstu", strict=False)]
        found.append(Truth(f"{pick(draw, WORDS)} number {i}?", tuple(options), int(draw.integers(len(options)))))
    return found


def answer_ways(draw: Generator, rows: Sequence[Truth], base: int) -> tuple[list[Any], bool]:
    """The answers of a table, in one of the ways that people write them; and are they positions?"""
    way = pick(draw, ["label", "small", "many", "text", "number", "number", "number text", "boolean", "float"])

    def one(row: Truth) -> Any:
        label, text = LABELS[row.gold], row.options[row.gold]
        forms = [label, label.lower(), f"({label})", f"{label}.", f" {label} ", f"{label})", f"Answer: {label}"]
        forms += [
            f"({label}) {text}",
            f"{label}. {text}",
            text,
            f"The answer is {label}.".rstrip("."),
            f"Option {label}",
        ]
        return {
            "label": label,
            "small": label.lower(),
            "many": pick(draw, forms),
            "text": text,
            "number": row.gold + base,
            "number text": str(row.gold + base),
            "float": float(row.gold + base),
            "boolean": text.lower() in ("yes", "true") if {t.lower() for t in row.options} in TRUTHS else label,
        }[way]

    return [one(row) for row in rows], way in ("number", "number text", "float")


TRUTHS = ({"yes", "no"}, {"true", "false"})


def _is_mark(said: object) -> bool:
    """Is this a label or a number?"""
    return str(said) in LABELS or str(said).removesuffix(".0").isdecimal()


def columns_of(draw: Generator, kind: str, count: int) -> list[str]:
    """Names of the columns with one option each."""
    if kind == "letters":
        return list(pick(draw, [LABELS, LABELS.lower()])[:count])
    if kind == "numbered":
        prefix = pick(draw, ["option", "choice_", "op", "answer", "sol", "Option ", "ending"])
        if prefix == "ending":
            return [f"ending{i}" for i in range(count)]
        return [f"{prefix}{mark}" for mark in (LABELS[:count] if draw.random() < 0.5 else range(1, count + 1))]
    return [f"word no. {i} of {count}" for i in range(count)]


def options_in(draw: Generator, kind: str, names: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
    """The field with all options of a row."""
    pairs = list(zip(names, texts, strict=True))
    if kind == "list":
        return {pick(draw, ["options", "choices"]): list(texts)}
    if kind == "mapping":
        return {"options": dict(pairs)}
    if kind in ("labelled", "nested"):
        return {"choices": [{"label": name, "text": text} for name, text in pairs]}
    return {"choices": {"label": list(names), "text": list(texts)}}


def layout(
    draw: Generator, rows: Sequence[Truth], answers: Sequence[Any], is_text: bool
) -> tuple[list[dict[str, Any]], DataSettings]:
    """The rows of a table, in one of the layouts that are recognised, or in another one with its settings."""
    kind = str(
        pick(draw, ["list", "mapping", "labelled", "hub", "numbered hub", "nested", "letters", "numbered", "odd"])
    )
    question = pick(draw, ["question", "Question", "question_stem", "QUESTION", "query"])
    answer = pick(draw, ["answer", "Answer", "answerKey", "correct", "label", "correct_answer"])
    columns = columns_of(draw, kind, max(len(row.options) for row in rows))
    settings = DataSettings()
    if kind == "odd":
        question, answer = "what is asked", "what is right"
        settings = DataSettings(question=(question,), options=tuple(columns), answer=answer)
    noise = [name for name in NOISE if draw.random() < 0.06 and name != answer]
    made = []
    for i, (row, said) in enumerate(zip(rows, answers, strict=True)):
        names = [str(n + 1) if kind == "numbered hub" else LABELS[n] for n in range(len(row.options))]
        if kind in ("letters", "numbered", "odd"):
            options = dict(zip(columns, [*row.options, *[""] * len(columns)], strict=False))
        else:
            options = options_in(draw, kind, names, row.options)
            if is_text:
                options = {name: pick(draw, [repr, json.dumps])(value) for name, value in options.items()}
        if kind == "numbered hub" and (is_text or isinstance(said, str)) and _is_mark(said):
            said = names[row.gold]  # a text that is a label is one, whatever else it could count
        is_nested = kind == "nested" and not is_text
        fields = {"question": {"stem": row.question, **options}} if is_nested else {question: row.question, **options}
        fields |= {answer: said, **{name: NOISE[name](draw, i) for name in noise}}
        made.append(dict(sorted(fields.items(), key=lambda _: draw.random())) if draw.random() < 0.2 else fields)
    return made, settings


def table(path: Path, rows: Sequence[Mapping[str, Any]], draw: Generator, separator: str) -> bytes:
    """The bytes of a CSV file, sometimes with padded cells, empty rows, marks and other encodings."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, lineterminator=pick(draw, ["\n", "\r\n"]))
    pad = " " if draw.random() < 0.15 else ""
    writer.writerow([f"{pad}{name}" for name in names])
    for row in rows:
        cells = ["" if row.get(name) is None else str(row.get(name)) for name in names]
        writer.writerow([f"{cell}{pad}" for cell in cells])
        if draw.random() < 0.05:
            writer.writerow([""] * len(names))
    text = out.getvalue()
    encoding = pick(
        draw, ["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "cp1251", "mac-roman", "gbk"]
    )
    try:
        return text.encode(str(encoding))
    except UnicodeEncodeError:
        return text.encode("utf-8")


def as_file(path: Path, rows: list[dict[str, Any]], draw: Generator, kind: str) -> None:
    if kind == "jsonl":
        content = "".join(json.dumps(row, ensure_ascii=bool(draw.random() < 0.5)) + "\n" for row in rows).encode()
    elif kind == "json":
        content = json.dumps(rows, indent=pick(draw, [None, 1])).encode()
    elif kind == "parquet":
        sink = io.BytesIO()
        names = list(dict.fromkeys(name for row in rows for name in row))
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), sink)
        content = sink.getvalue()
    else:
        content = table(path, rows, draw, kind)
    path.write_bytes(gzip.compress(content) if draw.random() < 0.1 else content)


def plain(text: str) -> str:
    return text.strip()


def test_ten_thousand_tables_are_read_as_they_were_meant_or_refused(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    wrong = []
    for number in range(TABLES):
        draw = stream(20261126, "tables", number)
        rows = truths(draw)
        base = int(draw.integers(2))
        kind = str(pick(draw, ["jsonl", "jsonl", "json", "parquet", ",", ",", ";", "\t", "|"]))
        answers, are_numbers = answer_ways(draw, rows, base)
        made, data = layout(draw, rows, answers, kind not in ("jsonl", "json", "parquet"))
        if draw.random() < 0.3 and are_numbers:
            data = data.model_copy(update={"answer_base": base})
        path = tmp_path / pick(draw, ["mine.jsonl", "mine.csv", "mine.txt"])
        try:
            as_file(path, made, draw, kind)
        except (pa.ArrowException, UnicodeEncodeError):
            counts["not written"] += 1
            continue
        try:
            read = read_own(path, data=data)
        except TinyThinkerError as error:
            counts["refused"] += 1
            said = re.sub(r"^\S*?(:\d+)?(, [^:]*)?: ", "", str(error))
            reasons[re.sub(r"'.*?'|\".*?\"|\d+", "_", said)[:70]] += 1
            continue
        got = [(plain(q.stem), [plain(o.text) for o in q.options], q.gold) for q in read]
        meant = [(plain(row.question), [plain(text) for text in row.options], LABELS[row.gold]) for row in rows]
        counts["read" if got == meant else "wrong"] += 1
        if got != meant:
            wrong.append(
                (number, kind, data, made[:3], next((g, m) for g, m in zip(got, meant, strict=False) if g != m))
            )
    print(f"\n{dict(counts)}")
    for reason, count in reasons.most_common(25):
        print(f"{count:6} {reason}")
    assert wrong == [], f"{len(wrong)}: {wrong[:3]}"
    assert counts["read"] > TABLES // 2
