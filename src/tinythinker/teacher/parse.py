"""Read a teacher's completion; a malformed one is a value, never repaired."""

from __future__ import annotations

import re

from tinythinker.core.records import Flaw, Question, Rationale, Rejected

_RECALL = re.compile(r"^Key Information: *(\S.*)$", re.MULTILINE)
_ANALYSIS = re.compile(r"^([A-Z]) is (correct|incorrect)\. Because *(\S.*)$", re.MULTILINE)


def render_completion(question: Question, rationale: Rationale) -> str:
    """A rationale in the wording a teacher is asked for; `parse_completion` reads it back."""
    lines = [f"Key Information: {rationale.recall}"]
    for label, analysis in zip(question.labels, rationale.analyses, strict=True):
        verdict = "correct" if label == question.gold else "incorrect"
        lines.append(f"{label} is {verdict}. Because {analysis}")
    return "\n".join(lines)


def parse_completion(completion: str, question: Question) -> Rationale | Rejected:
    """Split a completion into recalled knowledge and one analysis per option.

    A rationale either arrives complete and in agreement with the gold label, or does not arrive
    (METHOD section 2; `label_policy: gold`).
    """

    def reject(flaw: Flaw, reason: str) -> Rejected:
        return Rejected(question_id=question.id, flaw=flaw, text=completion, reason=reason)

    recalls = _RECALL.findall(completion)
    if len(recalls) != 1:
        return reject(Flaw.NO_RECALL, f"{len(recalls)} lines of key information")
    lines = _ANALYSIS.findall(completion)
    labels = [label for label, _, _ in lines]
    if sorted(labels) != sorted(question.labels):
        return reject(Flaw.OPTIONS, f"speaks of {', '.join(labels) or 'no option'}")
    claimed = [label for label, verdict, _ in lines if verdict == "correct"]
    if claimed != [question.gold]:
        return reject(Flaw.DISAGREES, f"calls {', '.join(claimed) or 'nothing'} correct, gold is {question.gold}")
    said = {label: text for label, _, text in lines}
    return Rationale(
        question_id=question.id, recall=recalls[0], analyses=tuple(said[label] for label in question.labels)
    )
