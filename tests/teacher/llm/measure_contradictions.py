"""Which sentences the parser of completions takes for contradictions, by place.

`python -m tests.teacher.llm.measure_contradictions` prints the table of false accepts and false rejects.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.conftest import ask
from tinythinker.core.records import Question, Rationale, Rejected
from tinythinker.teacher.llm.parse import parse_completion, parse_structured, render_completion, render_structured


class Case(NamedTuple):
    """One sentence at one place of an otherwise good completion."""

    half: str
    id: str
    form: str
    """`lines` or `json`."""
    place: str
    is_contradiction: bool
    question: Question
    rationale: Rationale
    """What the completion says without the sentence."""
    completion: str

    def read(self) -> Rationale | Rejected:
        """What the parser makes of it."""
        parse = parse_structured if self.form == "json" else parse_completion
        return parse(self.completion, self.question)

    @property
    def is_missed(self) -> bool:
        """Does the parser accept a contradiction, or reject another sentence?"""
        return isinstance(self.read(), Rejected) != self.is_contradiction


@cache
def corpus() -> dict[str, Any]:
    """Questions and sentences by half, and the sentences known to be misjudged."""
    path = Path(__file__).parent / "contradictions.yaml"
    read: dict[str, Any] = yaml.load(
        path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return read


def cases() -> Iterator[Case]:
    """Every sentence at every one of its places, in lines and in JSON."""
    for half, content in corpus()["halves"].items():
        asked = {question["id"]: question for question in content["questions"]}
        for entry in content["sentences"]:
            about = asked[entry["question"]]
            question = ask(about["stem"], *about["options"], gold=about["gold"])
            rationale = Rationale(
                question_id=question.id, recall=about["recall"], analyses=tuple(about["analyses"]), label=question.gold
            )
            for place in entry["places"]:
                for form, put in (("lines", _in_lines), ("json", _in_json)):
                    if text := put(question, rationale, place, entry["sentence"]):
                        is_contradiction = entry["wanted"] == "reject"
                        yield Case(half, entry["id"], form, place, is_contradiction, question, rationale, text)


_LINE: dict[str, Callable[[Question], int]] = {
    "recall_end": lambda question: 0,
    "gold_analysis_end": lambda question: 1 + question.labels.index(question.gold or ""),
    "wrong_analysis_end": lambda question: 1 + (question.labels[0] == question.gold),
}
"""The line that a sentence is appended to, by place."""


def _in_lines(question: Question, rationale: Rationale, place: str, sentence: str) -> str:
    lines = render_completion(question, rationale).split("\n")
    if place in _LINE:
        lines[_LINE[place](question)] += f" {sentence}"
    elif place == "recall_line":
        lines.insert(1, sentence)
    else:
        lines += [sentence] if place == "own_line" else ["", sentence]
    return "\n".join(lines)


def _in_json(question: Question, rationale: Rationale, place: str, sentence: str) -> str | None:
    said = json.loads(render_structured(question, rationale))
    if place == "recall_line":
        return None
    if place == "recall_end":
        said["key_information"] += f" {sentence}"
    elif place in _LINE:
        said["options"][_LINE[place](question) - 1]["because"] += f" {sentence}"
    return json.dumps(said) + {"own_line": f"\n{sentence}", "after_blank": f"\n\n{sentence}"}.get(place, "")


def table() -> str:
    """False accepts and false rejects, by half of the corpus, form and place."""
    counts: Counter[tuple[str, str, str, bool]] = Counter()
    missed: Counter[tuple[str, str, str, bool]] = Counter()
    for case in cases():
        is_missed = case.is_missed
        for form, place in ((case.form, case.place), ("both", "all")):
            key = (case.half, form, place, case.is_contradiction)
            counts[key] += 1
            missed[key] += is_missed
    rows = [f"{'half':<10} {'form':<6} {'place':<20} {'false accepts':>14} {'false rejects':>14}"]
    for half, form, place in sorted({key[:3] for key in counts}, key=lambda key: (key[0], key[1] != "both", key)):
        shown = (f"{missed[half, form, place, bad]} of {counts[half, form, place, bad]}" for bad in (True, False))
        rows.append(f"{half:<10} {form:<6} {place:<20} " + " ".join(f"{cell:>14}" for cell in shown))
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
