"""Parse a teacher's completion: any formatting is accepted, no meaning is guessed, and a flaw is a value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from tinythinker.core.errors import expected
from tinythinker.core.files import Json, describe
from tinythinker.core.records import Flaw, Question, Rationale, Rejected

_RECALL = re.compile(r"Key Information: *(\S.*)")
_ANALYSIS = re.compile(r"([A-Z]) is (correct|incorrect)\. Because +(\S.*)")

_DECOR = r"[\s>#*_`•·–—-]*+"
"""Marks around words; possessive, so that a long row of dashes takes only linear time."""
_START = rf"^{_DECOR}(?:\d{{1,2}}[.)]{_DECOR})?"
_KEY = re.compile(
    rf"{_START}key (?:information|info|knowledge)(?:\s*\([^)]{{0,40}}\))?(?P<mid>{_DECOR})(?P<sign>[:：.]?)"
    rf"{_DECOR}(?P<rest>.*)$",
    re.I,
)
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
    r"(?:final|correct|best|right) answer|answer|the (?:final |correct |right |best )?answer|wait|actually|correction|"
    r"question|i hope|let me know)\b",
    re.I,
)
_SAYS = re.compile(
    r"(?<![\w'’])(?:(?i:option|choice|answer)\s+)?[(\"'“*]{0,3}([A-Z])[)\"'”*]{0,3}\s+(?:is|was)"
    r"(?:\s+(?:actually|also|indeed|in fact|really))?\s+(not\s+)?(?:the\s+)?(correct|incorrect)\b"
    r"(?!\s+(?:only|if|for|when|in|under)\b)"
)
"""A verdict in the middle of a text."""
_SUPPOSES = re.compile(r"\b(?:if|where|although|unless|when|whether|while)\b[^.;!?]*$", re.I)
_TAKES_BACK = re.compile(
    r"^(?:no|wait|actually|sorry|correction)\s*[,.!:;–—-].{0,40}?\b(not\s+)?(correct|incorrect)\b", re.I
)
_ANSWER_IS = (
    r"\b(?:answer|(?:correct|best|right|final)\s+(?:option|choice|one))\b[*_]{0,2}"
    r"(?:\s+(?:is|was|must be|should be|would be|has to be|remains))?"
    r"(?:\s+(?:therefore|thus|clearly|then|indeed|definitely|hence))?(?P<colon>\s{0,3}[:：])?[\s*_]{0,4}"
    r"(?P<option>(?:option|choice|answer)\s+)?(?P<mark>[(\[\"'“*]{0,3})"
)
_ASSERTS_LABEL = re.compile(_ANSWER_IS + r"(?P<label>[A-Za-z])(?![\w'’])", re.I)
_IS_THE_ANSWER = re.compile(
    r"(?<![\w'’])[(\"'“*]{0,3}([A-Z])[)\"'”*]{0,3}\s+(?:is|was|must be)\s+(?:therefore\s+|thus\s+|clearly\s+|also\s+)?"
    r"(?:the\s+)?(?:only\s+)?(?:correct|right|best|answer)\b"
)
_ANNOUNCES = re.compile(
    rf"{_START}(?:now\b|let(?:['’]?s|\s+us)\b|here\s+(?:is|are)\b|below\b|i\s+will\b|i['’]ll\b|next\b|analysis\b|options?\s*$)",
    re.I,
)
_IN_BOLD = re.compile(r"^\s*(?:#.*|(\*\*|__)[^*_]+\1\s*)$")
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
    """A rationale in the wording we ask the teacher for; `parse_completion` reads it back."""
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


def json_schema(labels: Sequence[str]) -> Json:
    """JSON schema of a structured completion (strict mode: every field required, no others allowed)."""
    said: Json = {
        "type": "object",
        "properties": {
            "option": {"type": "string", "enum": [*labels]},
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
    """A completion with a flaw; never leaves this module."""

    def __init__(self, flaw: Flaw, reason: str) -> None:
        self.flaw, self.reason = flaw, reason


class _Reading(NamedTuple):
    """What a completion says, before it is checked against the question."""

    recall: str
    said: list[tuple[str, bool, str]]
    """Label, whether it is called correct, and why; in the order written."""


def parse_completion(completion: str, question: Question) -> Rationale | Rejected:
    """Split a completion into recalled knowledge and one analysis per option.

    Accepts what models write: numbering, bold, "(B)", "Option B", the option's text next to its label, blank
    and broken lines, a missing full stop or capital, talk before and after. Rejects, and never repairs: a
    missing, repeated or unknown option, a second key information, verdicts that single out no option, an
    afterword that contradicts them. Does not check whether the option called correct is the gold one (see
    `teacher.select`).
    """
    text = completion.replace("\r\n", "\n")
    try:
        strict = _strict(text)
        reading, afterword = (strict, "") if strict else _tolerant(text, question)
        _refuse_contradictions(reading, afterword, question)
        return _checked(reading, question)
    except _FlawedError as flawed:
        return Rejected(question_id=question.id, flaw=flawed.flaw, text=completion, reason=flawed.reason)


def parse_structured(completion: str, question: Question) -> Rationale | Rejected:
    """Split a completion in the JSON of `json_schema` likewise; a code fence around it is ignored."""
    text = _THOUGHT.sub("", completion).strip()
    text = re.sub(r"^```(?:json)?\s*|\s*```$", "", text)
    try:
        said = _Structured.model_validate(json.loads(text, object_pairs_hook=_once))
        options = [(one.option, one.verdict == "correct", _BECAUSE.sub("", _line(one.because))) for one in said.options]
        reading = _Reading(_line(said.key_information), options)
        _refuse_contradictions(reading, "", question)
        return _checked(reading, question)
    except ValidationError as error:
        return Rejected(question_id=question.id, flaw=Flaw.MALFORMED, text=completion, reason=describe(error))
    except (ValueError, RecursionError) as error:
        return Rejected(question_id=question.id, flaw=Flaw.MALFORMED, text=completion, reason=f"no JSON: {error}")
    except _FlawedError as flawed:
        return Rejected(question_id=question.id, flaw=flawed.flaw, text=completion, reason=flawed.reason)


def _once(pairs: Sequence[tuple[str, JsonValue]]) -> Json:
    """A JSON object from its pairs. Raises ValueError if a field appears twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a field twice")
    return made


def _line(text: str) -> str:
    return " ".join(text.split())


def _checked(reading: _Reading, question: Question) -> Rationale:
    """The reading as a rationale for this question. Raises _FlawedError."""
    if not reading.recall.strip():
        raise _FlawedError(Flaw.NO_RECALL, "the key information is empty")
    labels = [label for label, _, _ in reading.said]
    if sorted(labels) != sorted(question.labels):
        raise _FlawedError(Flaw.OPTIONS, f"covers {', '.join(labels) or 'no option'}")
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
    """The reading of a completion in exactly the format we asked for; None for any other."""
    first, *others = completion.strip("\n").split("\n")
    recall = _RECALL.fullmatch(first)
    lines = [_ANALYSIS.fullmatch(line) for line in others]
    if recall is None or not lines or None in lines:
        return None
    return _Reading(recall[1], [(line[1], line[2] == "correct", line[3]) for line in lines if line])


def _tolerant(completion: str, question: Question) -> tuple[_Reading, str]:
    """The reading of a completion in freer formatting, and the text after it. Raises _FlawedError."""
    lines = _THOUGHT.sub("", completion).replace("\u00a0", " ").split("\n")
    recall: list[str] = []
    said: list[tuple[str, bool, list[str]]] = []
    afterword: list[str] = []
    afterword_began = False
    count_keys = 0
    is_after_blank = False
    for line in lines:
        if not re.sub(_DECOR, "", line):
            is_after_blank = True
            continue
        key = _KEY.match(line)
        head = None if key else _option_head(line, question)
        is_complete = {label for label, _, _ in said} >= set(question.labels)
        if key and (key["sign"] or not key["rest"] or re.search("[–—-]", key["mid"])):
            count_keys += 1
            recall.append(key["rest"])
        elif head:
            if not count_keys:
                raise _FlawedError(Flaw.NO_RECALL, "no key information before the options")
            said.append(head)
        elif _HEADING.match(line) and not (said and not said[-1][2]):
            pass
        elif count_keys and not said and re.match(rf"{_START}answer\s*[:：]", line, re.I):
            afterword.append(line)
        elif said and is_complete and (afterword_began or _ends_before(line, said[-1][2], is_after_blank)):
            afterword.append(line)
            afterword_began = True
        elif said:
            said[-1][2].append(line)
        elif count_keys and not (any(recall) and _is_between(line, question, is_after_blank)):
            recall.append(line)
        is_after_blank = False
    if count_keys != 1:
        raise _FlawedError(Flaw.NO_RECALL, f"{count_keys} key information lines instead of one")
    options = [(label, is_correct, _BECAUSE.sub("", _text(parts))) for label, is_correct, parts in said]
    return _Reading(_text(recall), options), " ".join(afterword)


def _refuse_contradictions(reading: _Reading, afterword: str, question: Question) -> None:
    """Raise _FlawedError if a text contradicts the verdicts."""
    verdicts = {label: is_correct for label, is_correct, _ in reading.said}
    for text in (reading.recall, *(because for _, _, because in reading.said), afterword):
        for found in _SAYS.finditer(text):
            label, denied, word = found.groups()
            is_called = _calls_correct(denied, word)
            if verdicts.get(label, is_called) != is_called and not _SUPPOSES.search(text[: found.start()]):
                raise _FlawedError(Flaw.VERDICTS, f"contradicts itself about {label}")
    for label, is_correct, because in reading.said:
        if (back := _TAKES_BACK.match(because)) and _calls_correct(back[1], back[2]) != is_correct:
            raise _FlawedError(Flaw.VERDICTS, f"takes back its verdict on {label}")
    claimed = {label for label, is_correct in verdicts.items() if is_correct}
    if others := _asserted(afterword, question) - claimed:
        correct, named = ", ".join(sorted(claimed)), ", ".join(sorted(others))
        raise _FlawedError(Flaw.VERDICTS, f"calls {correct} correct, then answers {named}")


def _calls_correct(denied: str | None, word: str) -> bool:
    """Is the verdict "correct", given its word and a possible "not" before it?"""
    return (word.lower() == "correct") != bool(denied)


def _asserted(text: str, question: Question) -> set[str]:
    """Labels of the options that a text gives as the answer, by label or option text, not just mentions."""
    named = set(_IS_THE_ANSWER.findall(text))
    for found in _ASSERTS_LABEL.finditer(text):
        if found["label"].isupper() or found["colon"] or found["option"] or "(" in found["mark"]:
            named.add(found["label"].upper())
    for option in question.options:
        if option.text.strip().casefold() not in text.casefold():
            continue  # compiling a pattern per option text is slow
        words = re.escape(option.text.strip())
        begins = rf"{_ANSWER_IS}(?:(?:a|an|the)\s+)?{words}(?!\w)"
        ends = (
            rf"(?<!\w){words}\s+(?:is|was)\s+(?:the\s+)?(?:only\s+)?(?:correct|right|best)\s+(?:answer|option|choice)\b"
        )
        if len(option.text.strip()) > 1 and (re.search(begins, text, re.I) or re.search(ends, text, re.I)):
            named.add(option.label)
    return named & set(question.labels)


def _ends_before(line: str, last: Sequence[str], is_after_blank: bool) -> bool:
    """Has the last option's reason ended before this line?"""
    opens = _AFTERWORD.match(line) or _IS_THE_ANSWER.match(line.lstrip())
    return opens is not None or (is_after_blank and any(last))


def _is_between(line: str, question: Question, is_after_blank: bool) -> bool:
    """Is this line after the key information not part of it: an announcement, or an option repeated?

    Raises:
        _FlawedError: another paragraph mentions options, and may or may not be part of it.
    """
    if line.rstrip().endswith((":", "：")) or _IN_BOLD.match(line) or _ANNOUNCES.match(line):
        return True
    start = _LABEL.match(line)
    if start and start["label"].upper() in question.labels and (start["close"] or start["end"]):
        name = next(option.text for option in question.options if option.label == start["label"].upper())
        if line[start.end() :].strip(" .*_").casefold() == name.strip(" .").casefold():
            return True
    if is_after_blank and re.search(r"\boptions?\b", line, re.I):
        raise _FlawedError(
            Flaw.NO_RECALL, "another paragraph about options between the key information and the options"
        )
    return False


def _text(parts: Sequence[str]) -> str:
    """Lines joined into one, without leading bullets or unclosed emphasis."""
    bare = (re.sub(r"^\s*(?:[>•·–—-]\s+|\*\s+|\d{1,2}[.)]\s+)+", "", part) for part in parts)
    text = _line(" ".join(bare))
    for mark in ("**", "__"):
        if text.count(mark) % 2:
            text = text.removesuffix(mark) if text.endswith(mark) else text.replace(mark, "", 1)
    return text.strip()


def _option_head(line: str, question: Question) -> tuple[str, bool, list[str]] | None:
    """Label, verdict and start of the reason if a line opens an option, else None. Raises _FlawedError."""
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
    """The rest of a line without the option's text in front, and whether the text was there.

    Raises _FlawedError if the text is another option's.
    """
    opened = re.match(r"[,:\s]*([(\[\"'“‘*_]*)", rest)
    front = opened.end() if opened else 0
    texts = {option.text.strip().casefold() for option in question.options} - {"not", "correct", "incorrect"}
    for text in sorted(texts, key=len, reverse=True):
        end = front + len(text)
        follows = rest[end : end + 1]
        if text and rest[front:end].casefold() == text and not follows.isalnum():
            if text != name.strip().casefold():
                raise _FlawedError(Flaw.OPTIONS, expected(f"name of {label}", rest[front:end], repr(name)))
            return re.sub(r"^[)\]\"'”’*_,.:\s]*", " ", rest[end:], count=1).lstrip(), True
    return rest, False
