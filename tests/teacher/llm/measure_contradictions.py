"""Which sentences the parser of completions takes for contradictions, by place.

    python -m tests.teacher.llm.measure_contradictions [FILE] [--misses]

prints the table of false accepts and false rejects, in plain lines and in JSON.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.conftest import ask
from tinythinker.core.records import Question, Rationale, Rejected
from tinythinker.teacher.llm.parse import (
    parse_completion,
    parse_structured,
    render_completion,
    render_structured,
)

FILE = Path(__file__).parent / "contradictions.yaml"


class Case(NamedTuple):
    """One sentence at one place of an otherwise good completion."""

    id: str
    place: str
    form: str
    is_contradiction: bool
    sentence: str
    question: Question
    rationale: Rationale
    """Without the sentence."""
    completion: str

    def read(self) -> Rationale | Rejected:
        """What the parser makes of it."""
        parse = parse_structured if self.form == "json" else parse_completion
        return parse(self.completion, self.question)

    @property
    def is_missed(self) -> bool:
        """Does the parser accept a contradiction, or reject another sentence?"""
        return isinstance(self.read(), Rejected) != self.is_contradiction


def corpus(path: Path = FILE) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Questions by id, and the sentences."""
    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {question["id"]: question for question in read["questions"]}, read["sentences"]


def cases(path: Path = FILE) -> Iterator[Case]:
    """Every sentence at every one of its places, in both forms."""
    questions, sentences = corpus(path)
    for entry in sentences:
        asked = questions[entry["question"]]
        question = ask(asked["stem"], *asked["options"], gold=asked["gold"])
        rationale = Rationale(
            question_id="q1", recall=asked["recall"], analyses=tuple(asked["analyses"]), label=asked["gold"]
        )
        for place in entry["places"]:
            for form, put in (("lines", _in_lines), ("json", _in_json)):
                if text := put(question, rationale, place, entry["sentence"]):
                    yield Case(
                        entry["id"],
                        place,
                        form,
                        entry["wanted"] == "reject",
                        entry["sentence"],
                        question,
                        rationale,
                        text,
                    )


def _in_lines(question: Question, rationale: Rationale, place: str, sentence: str) -> str:
    lines = render_completion(question, rationale).split("\n")
    if place in _LINES:
        at = _LINES[place](question)
        lines[at] = f"{lines[at]} {sentence}"
    elif place == "recall_line":
        lines.insert(1, sentence)
    else:
        lines += [sentence] if place == "own_line" else ["", sentence]
    return "\n".join(lines)


def _in_json(question: Question, rationale: Rationale, place: str, sentence: str) -> str | None:
    said = json.loads(render_structured(question, rationale))
    if place == "recall_end":
        said["key_information"] += f" {sentence}"
    elif place in _LINES:
        said["options"][_LINES[place](question) - 1]["because"] += f" {sentence}"
    elif place == "recall_line":
        return None
    return json.dumps(said) + {"own_line": f"\n{sentence}", "after_blank": f"\n\n{sentence}"}.get(place, "")


_LINES: dict[str, Callable[[Question], int]] = {
    "recall_end": lambda question: 0,
    "gold_analysis_end": lambda question: 1 + question.labels.index(question.gold or ""),
    "wrong_analysis_end": lambda question: (
        1 + next(i for i, label in enumerate(question.labels) if label != question.gold)
    ),
}
"""The line that a sentence is appended to, by place."""


def table(path: Path = FILE) -> str:
    """False accepts and false rejects, by half of the corpus, form and place."""
    counts: Counter[tuple[str, str, str, bool]] = Counter()
    missed: Counter[tuple[str, str, str, bool]] = Counter()
    for case in cases(path):
        key = (case.id.split("_")[0], case.form, case.place, case.is_contradiction)
        for name in (key, (key[0], "both", "anywhere", key[3])):
            counts[name] += 1
            missed[name] += case.is_missed
    rows = ["half   form   place               false accepts  false rejects"]
    for half, form, place in dict.fromkeys(key[:3] for key in counts):
        shown = (f"{missed[half, form, place, bad]}/{counts[half, form, place, bad]}" for bad in (True, False))
        rows.append(f"{half:<6} {form:<6} {place:<19}" + "".join(f" {cell:>13} " for cell in shown))
    return "\n".join(rows)


def main(arguments: list[str]) -> None:
    """Print the table, and the misses with `--misses`."""
    paths = [Path(argument) for argument in arguments if argument != "--misses"] or [FILE]
    for path in paths:
        print(table(path))
        if "--misses" in arguments:
            for case in cases(path):
                if case.is_missed:
                    print(
                        case.id,
                        case.form,
                        case.place,
                        "accepted" if case.is_contradiction else "rejected",
                        case.sentence,
                    )
                    read = case.read()
                    if isinstance(read, Rejected):
                        print("   ", read.flaw.value, read.reason)


if __name__ == "__main__":
    main(sys.argv[1:])
