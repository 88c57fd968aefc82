"""Read a teacher's completion. Tolerant of manner, never of meaning: what is malformed is a value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from tinythinker.core.errors import expected
from tinythinker.core.jsonl import describe
from tinythinker.core.records import Flaw, Question, Rationale, Rejected

_RECALL = re.compile(r"Key Information: *(\S.*)")
_ANALYSIS = re.compile(r"([A-Z]) is (correct|incorrect)\. Because +(\S.*)")

_DECOR = r"[\s>#*_`•·–—-]*+"
"""Marks around words; possessive, so that a long row of dashes costs no more than its length."""
_START = rf"^{_DECOR}(?:\d{{1,2}}[.)]{_DECOR})?"
_KEY = re.compile(rf"{_START}key (?:information|info|knowledge){_DECOR}(?P<sign>[:：.]?){_DECOR}(?P<rest>.*)$", re.I)
_HEADING = re.compile(rf"{_START}\w[\w /&]{{0,40}}[:：]{_DECOR}$")
_LABEL = re.compile(
    rf"{_START}(?:(?P<word>(?i:option|choice|answer))\s*{_DECOR})?(?P<open>[(\[\"'“‘]*)(?P<label>[A-Za-z])"
    rf"(?P<close>[)\]\"'”’]*)(?P<end>[.:：)]?)(?![^\W_]|['’]){_DECOR}"
)
_VERDICT = re.compile(
    rf"[,:：]?{_DECOR}(?P<is>is\b|was\b)?[:：]?{_DECOR}(?:the |an? )?[\"'“‘(]?"
    rf"(?P<verdict>not (?:the )?correct|correct|incorrect)[\"'”’)]?(?: (?:answer|option|choice|one))?"
    rf"(?:{_DECOR}(?:[.,:;!：]|(?=because\b|since\b)|$)|[\s*_]*+(?:[–—]|-\s)){_DECOR}",
    re.I,
)
_BECAUSE = re.compile(rf"^{_DECOR}(?:this is |that is |it is )?(?:because|since)\b[\s,:*_]*", re.I)
_AFTERWORD = re.compile(
    rf"{_START}(?:so|therefore|thus|hence|in (?:conclusion|summary|short)|overall|to sum up|conclusion|summary|note|"
    r"(?:final|correct|best|right) answer|answer|the (?:final |correct |right |best )?answer)\b",
    re.I,
)
_ANSWERS = re.compile(
    r"\b(?i:answer|option|choice)\b(?:\s+is)?[\s:：*_(\"'“]*(?i:option\s+)?[(\"'“*_]*([A-Z])\b(?!['’])"
)
_THOUGHT = re.compile(r"^.*</think(?:ing)?>", re.S | re.I)


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")

    option: str
    verdict: Literal["correct", "incorrect"]
    because: str


class _Structured(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key_information: str
    options: list[_Said]


def render_completion(question: Question, rationale: Rationale) -> str:
    """A rationale in the wording a teacher is asked for; `parse_completion` reads it back."""
    lines = [f"Key Information: {rationale.recall}"]
    for label, verdict, analysis in _verdicts(question, rationale):
        lines.append(f"{label} is {verdict}. Because {analysis}")
    return "\n".join(lines)


def render_structured(question: Question, rationale: Rationale) -> str:
    """A rationale as the JSON that `json_schema` asks for; `parse_structured` reads it back."""
    options = [
        {"option": label, "verdict": verdict, "because": analysis}
        for label, verdict, analysis in _verdicts(question, rationale)
    ]
    return json.dumps({"key_information": rationale.recall, "options": options}, ensure_ascii=False)


def _verdicts(question: Question, rationale: Rationale) -> Iterator[tuple[str, str, str]]:
    claimed = rationale.label or question.gold
    for label, analysis in zip(question.labels, rationale.analyses, strict=True):
        yield label, "correct" if label == claimed else "incorrect", analysis


def json_schema(labels: Sequence[str]) -> dict[str, object]:
    """JSON schema of a structured completion (strict mode: every field required, none beside them)."""
    said = {
        "type": "object",
        "properties": {
            "option": {"type": "string", "enum": list(labels)},
            "verdict": {"type": "string", "enum": ["correct", "incorrect"]},
            "because": {"type": "string"},
        },
        "required": ["option", "verdict", "because"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"key_information": {"type": "string"}, "options": {"type": "array", "items": said}},
        "required": ["key_information", "options"],
        "additionalProperties": False,
    }


class _FlawedError(Exception):
    """A completion that will not do; never leaves this module."""

    def __init__(self, flaw: Flaw, reason: str) -> None:
        self.flaw, self.reason = flaw, reason


class _Reading(NamedTuple):
    """What a completion says, before it is checked against the question."""

    recall: str
    said: list[tuple[str, bool, str]]
    """Label, whether it is called correct, and why; in the order written."""


def parse_completion(completion: str, question: Question) -> Rationale | Rejected:
    """Split a completion into recalled knowledge and one analysis per option.

    Read as models write: numbering, bold, "(B)", "Option B", the option's text beside its label, blank and broken
    lines, a missing full stop or capital, talk before and after. Rejected, never repaired: a missing, repeated or
    foreign option, two key informations, verdicts that single out no option, an afterword that contradicts them.
    Whether the option called correct is the gold one is not judged here (see `teacher.select`).
    """
    text = completion.replace("\r\n", "\n")
    try:
        reading = _strict(text) or _tolerant(text, question)
        return _checked(reading, question)
    except _FlawedError as flawed:
        return Rejected(question_id=question.id, flaw=flawed.flaw, text=completion, reason=flawed.reason)


def parse_structured(completion: str, question: Question) -> Rationale | Rejected:
    """The same for a completion in the JSON of `json_schema`; a fence around it is passed over."""
    text = _THOUGHT.sub("", completion).strip()
    text = re.sub(r"^```(?:json)?\s*|\s*```$", "", text)
    try:
        said = _Structured.model_validate_json(text)
        options = [(one.option, one.verdict == "correct", _line(one.because)) for one in said.options]
        return _checked(_Reading(_line(said.key_information), options), question)
    except ValidationError as error:
        reason = "no JSON" if error.errors()[0]["type"] == "json_invalid" else describe(error)
        return Rejected(question_id=question.id, flaw=Flaw.MALFORMED, text=completion, reason=reason)
    except _FlawedError as flawed:
        return Rejected(question_id=question.id, flaw=flawed.flaw, text=completion, reason=flawed.reason)


def _line(text: str) -> str:
    return " ".join(text.split())


def _checked(reading: _Reading, question: Question) -> Rationale:
    """The reading as a rationale of this question. Raises _FlawedError."""
    if not reading.recall.strip():
        raise _FlawedError(Flaw.NO_RECALL, "the key information is empty")
    labels = [label for label, _, _ in reading.said]
    if sorted(labels) != sorted(question.labels):
        raise _FlawedError(Flaw.OPTIONS, f"speaks of {', '.join(labels) or 'no option'}")
    blank = [label for label, _, because in reading.said if not because.strip()]
    if blank:
        raise _FlawedError(Flaw.OPTIONS, f"says nothing about {', '.join(blank)}")
    claimed = [label for label, is_correct, _ in reading.said if is_correct]
    if len(claimed) != 1:
        raise _FlawedError(Flaw.VERDICTS, f"calls {', '.join(claimed) or 'no option'} correct")
    said: Mapping[str, str] = {label: because for label, _, because in reading.said}
    return Rationale(
        question_id=question.id,
        recall=reading.recall,
        analyses=tuple(said[label] for label in question.labels),
        label=claimed[0],
    )


def _strict(completion: str) -> _Reading | None:
    """Exactly what was asked for, to the letter; None for anything else."""
    first, *others = completion.strip("\n").split("\n")
    recall = _RECALL.fullmatch(first)
    lines = [_ANALYSIS.fullmatch(line) for line in others]
    if recall is None or not lines or None in lines:
        return None
    return _Reading(recall[1], [(line[1], line[2] == "correct", line[3]) for line in lines if line])


def _tolerant(completion: str, question: Question) -> _Reading:
    """The same content in a freer manner. Raises _FlawedError."""
    lines = _THOUGHT.sub("", completion).replace("\u00a0", " ").split("\n")
    recall: list[str] = []
    said: list[tuple[str, bool, list[str]]] = []
    afterword: list[str] = []
    count_keys = 0
    is_after_blank = False
    for line in lines:
        if not re.sub(_DECOR, "", line):
            is_after_blank = True
            continue
        key = _KEY.match(line)
        head = None if key else _option_head(line, question)
        is_complete = {label for label, _, _ in said} >= set(question.labels)
        if key and (key["sign"] or not key["rest"]):
            count_keys += 1
            recall.append(key["rest"])
        elif head:
            if not count_keys:
                raise _FlawedError(Flaw.NO_RECALL, "no key information before the options")
            said.append(head)
        elif _HEADING.match(line) and not (said and not said[-1][2]):
            pass
        elif said and is_complete and (afterword or _AFTERWORD.match(line) or (is_after_blank and any(said[-1][2]))):
            afterword.append(line)
        elif said:
            said[-1][2].append(line)
        elif count_keys:
            recall.append(line)
        is_after_blank = False
    if count_keys != 1:
        raise _FlawedError(Flaw.NO_RECALL, f"{count_keys} key informations")
    options = [(label, is_correct, _BECAUSE.sub("", _text(parts))) for label, is_correct, parts in said]
    claimed = {label for label, is_correct, _ in options if is_correct}
    named = set(_ANSWERS.findall("\n".join(afterword)))
    if named - claimed:
        raise _FlawedError(
            Flaw.VERDICTS, f"calls {', '.join(sorted(claimed))} correct, then answers {', '.join(named)}"
        )
    return _Reading(_text(recall), options)


def _text(parts: Sequence[str]) -> str:
    """Lines as one, without bullets at their fronts or emphasis left open."""
    bare = (re.sub(r"^\s*(?:[>•·–—-]\s+|\*\s+|\d{1,2}[.)]\s+)+", "", part) for part in parts)
    text = _line(" ".join(bare))
    for mark in ("**", "__"):
        if text.count(mark) % 2:
            text = text.removesuffix(mark) if text.endswith(mark) else text.replace(mark, "", 1)
    return text.strip()


def _option_head(line: str, question: Question) -> tuple[str, bool, list[str]] | None:
    """Label, verdict and the beginning of its reason, if a line opens an option. Raises _FlawedError."""
    start = _LABEL.match(line)
    if start is None or (start["label"].islower() and not (start["word"] or start["close"] or start["end"] == ")")):
        return None
    label, rest = start["label"].upper(), line[start.end() :]
    name = next((option.text for option in question.options if option.label == label), "")
    rest, is_named = _without_name(rest, name, question, label)
    verdict = _VERDICT.match(rest)
    if verdict is None or not (verdict["is"] or start["close"] or start["end"] or is_named):
        return None
    return label, verdict["verdict"].lower() == "correct", [rest[verdict.end() :]]


def _without_name(rest: str, name: str, question: Question, label: str) -> tuple[str, bool]:
    """The rest of a line without the option's own text in front. Raises _FlawedError if it is another's."""
    opened = re.match(r"[,:\s]*([(\[\"'“‘*_]*)", rest)
    front = opened.end() if opened else 0
    texts = {option.text.strip().casefold(): option.label for option in question.options}
    for text in sorted(texts, key=len, reverse=True):
        end = front + len(text)
        follows = rest[end : end + 1]
        if text and rest[front:end].casefold() == text and not follows.isalnum():
            if text != name.strip().casefold():
                raise _FlawedError(Flaw.OPTIONS, expected(f"name of {label}", rest[front:end], repr(name)))
            return re.sub(r"^[)\]\"'”’*_,.:\s]*", " ", rest[end:], count=1).lstrip(), True
    return rest, False
