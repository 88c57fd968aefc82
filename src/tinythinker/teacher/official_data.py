"""The training data that the official code builds from a teacher's completions, in its own files (METHOD section 2)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from tinythinker.core.errors import DataError, expected
from tinythinker.core.files import read_json_value
from tinythinker.core.records import Flaw, Question, Rationale, Rejected
from tinythinker.stages.template import Template, parts_of
from tinythinker.teacher.source import Asking, Given, free

FILE = "summarize.json"
"""Holds whole rationales: a question with its recall and all analyses, as the summarize stage reads them."""
PLACES = ("", "sft/recall_analyze_summarize", "final/sft/recall_analyze_summarize")
"""Where the file may lie in `teacher.path`."""


def official(asking: Asking) -> Given:
    """The source `official`: reads `summarize.json` in the folder `teacher.path` or in the official folders below it.

    Raises:
        SettingsError: no folder is given.
        DataError: the file is missing or does not have the official form.
    """
    path = asking.path
    file = (
        path
        if path.is_file()
        else next((path / place / FILE for place in PLACES if (path / place / FILE).is_file()), None)
    )
    if file is None:
        raise DataError(f"{path}: found no {FILE} in it or in {PLACES[1]}, expected the official training data")
    licence = "made by the official code; see where the files come from"
    return Given(official_rationales(file, asking.questions), free(asking), licence, inputs=(file,))


def official_rationales(file: Path, questions: Sequence[Question]) -> Iterator[Rationale | Rejected]:
    """A rationale from every entry of the file, with the label it was made for.

    Entries have no ids: a question is found by its stem and options, spacing aside. An entry of no training question is
    rejected, and so is one whose analyses cannot be told apart because a text itself says "For option".

    Raises:
        DataError: an entry does not have the official form.
    """
    entries = read_json_value(file, "a list of entries")
    if not isinstance(entries, list):
        raise DataError(expected(str(file), entries, "a list of entries"))
    paper = Template("paper")
    known = {_plain(parts_of(paper.recall_prompt(question))[:2]): question for question in questions}
    for number, entry in enumerate(entries, start=1):
        where = f"{file}: entry {number}"
        prompt, label = _text(entry, "input", where), _text(entry, "GT", where)
        parts = parts_of(prompt)
        if parts.request != "\nSummarize:":
            raise DataError(expected(f"{where}, input", prompt, "a text that ends with `Summarize:`"))
        question = known.get(_plain(parts[:2]))
        if question is None:
            yield Rejected(question_id=f"{file.name}:{number}", flaw=Flaw.NOT_TRAIN, text=prompt)
        else:
            yield _rationale(question, parts.reasoning, label)


def _text(entry: JsonValue, field: str, where: str) -> str:
    value = entry.get(field) if isinstance(entry, Mapping) else None
    if not isinstance(value, str):
        raise DataError(expected(f"{where}, {field}", value, "a text"))
    return value


def _plain(texts: Sequence[str]) -> str:
    return " ".join(" ".join(texts).split())


def _rationale(question: Question, reasoning: str, label: str) -> Rationale | Rejected:
    """The rationale in the reasoning part of a summarize prompt; its options may stand in any order."""

    def flawed(flaw: Flaw, reason: str) -> Rejected:
        return Rejected(question_id=question.id, flaw=flaw, text=reasoning.strip(), reason=reason)

    recall, _, analyzed = reasoning.removeprefix("\nRecall:").partition("\nAnalyze:")
    if not reasoning.startswith("\nRecall:") or not recall.strip():
        return flawed(Flaw.NO_RECALL, "no text after `Recall:`")
    if label not in question.labels:
        return flawed(Flaw.VERDICTS, f"made for {label}, which is no option")
    first, *pieces = re.split(r"(?:^|\s)For option ([A-Z]),(?=\s|$)", analyzed)
    said = {piece: text.strip() for piece, text in zip(pieces[::2], pieces[1::2], strict=True)}
    if analyzed.strip() and (first.strip() or sorted(pieces[::2]) != sorted(question.labels) or not all(said.values())):
        return flawed(Flaw.UNALIGNED, f"analyses of {', '.join(pieces[::2]) or 'no option'}")
    analyses = tuple(said[one] for one in question.labels) if said else ()
    return Rationale(question_id=question.id, recall=recall.strip(), analyses=analyses, label=label)
