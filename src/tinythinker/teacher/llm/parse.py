"""Read a teacher's completion: any formatting is accepted, no meaning is guessed, and a flaw is a value."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from tinythinker.core.errors import expected
from tinythinker.core.files import Json, describe
from tinythinker.core.records import Flaw, Question, Rationale, Rejected
from tinythinker.teacher.llm.claims import claims

_RECALL = re.compile(r"Key Information: *(\S.*)")
_ANALYSIS = re.compile(r"([A-Z]) is (correct|incorrect)\. Because +(\S.*)")

_DECOR = r"[\s>#*_`•·–—-]*+"
"""Marks around words; possessive, so that a long row of dashes takes only linear time."""
_START = rf"^{_DECOR}(?:\d{{1,2}}[.)]{_DECOR})?"
_COPIED = r"(?:first|and then|then|or)"
"""Words of our own format text that small models copy; they stand alone or before a line of the format."""
_KEY = re.compile(
    rf"{_START}(?:{_COPIED}\b[,:]?{_DECOR})?key (?:information|info|knowledge)(?:\s*\([^)]{{0,40}}\))?(?P<mid>{_DECOR})"
    rf"(?P<sign>[:：.]?){_DECOR}(?P<rest>.*)$",
    re.I,
)
_HEADING = re.compile(rf"{_START}\w[\w /&]{{0,40}}[:：]{_DECOR}$")
_HEADED = re.compile(rf"{_START}(?:\w[\w /&]{{2,40}}[:：]|{_COPIED}\b[,:]?){_DECOR}", re.I)
"""What may stand before the first option on its line: "Explanations:"."""
_STRAY = re.compile(rf"{_START}{_COPIED}[.,:]?{_DECOR}$", re.I)
_LABEL = re.compile(
    rf"{_START}(?:(?P<word>(?i:option|choice|answer)){_DECOR})?(?P<open>[(\[\"'“‘]*)(?P<label>[A-Za-z])"
    rf"(?P<close>[)\]\"'”’]*)(?P<end>[.:：)]?)(?![^\W_]|['’]){_DECOR}"
)
_VERDICT = re.compile(
    rf"[,:：]?{_DECOR}(?P<is>is\b|was\b)?[:：]?{_DECOR}(?:the |an? )?[\"'“‘(]?"
    rf"(?P<verdict>not (?:the )?correct|correct|incorrect)[\"'”’)]?(?: (?:answer|option|choice|one))?"
    rf"(?:{_DECOR}(?:[.,:;!：]|(?=because\b|since\b)|$)|[\s*_]*+(?:[–—]|-\s)){_DECOR}",
    re.I,
)
_COMPARES = re.compile(r"(?:while|whereas|and|but|so|although|though|even|not)\b", re.I)
"""What follows a verdict that is part of a longer sentence, and no line of the format."""
_BECAUSE = re.compile(rf"^{_DECOR}(?:this is |that is |it is )?(?:because|since)\b[\s,:*_]*", re.I)
_INLINE = re.compile(
    r"(?<=[.!?])[ \t*_]++(?=(?:\w[\w /&]{2,40}[:：][ *_]{0,4})?(?:option )?[(*_]{0,3}[A-Z][)*_]{0,3} "
    r"is (?:in|not )?correct[.,:*_]{0,3} [*_]{0,2}because\b)",
    re.I,
)
"""Between two parts of the format on one line."""
_AFTERWORD = re.compile(
    rf"{_START}(?:so|therefore|thus|hence|in (?:conclusion|summary|short)|overall|to sum up|conclusion|summary|note|"
    r"(?:final|correct|best|right) answer|answer|the (?:final |correct |right |best )?answer|wait|actually|correction|"
    r"question|i hope|hope (?:this|that)|let me know|feel free|please|is there anything)\b",
    re.I,
)
_ANNOUNCES = re.compile(
    rf"{_START}(?:now\b|let(?:['’]?s|\s+us)\b|here\s+(?:is|are)\b|below\b|i\s+will\b|i['’]ll\b|next\b|analysis\b|options?\s*$)",
    re.I,
)
_IN_BOLD = re.compile(r"^\s*(?:#.*|(\*\*|__)[^*_]+\1\s*)$")
_THOUGHT = re.compile(r"^.*</think(?:ing)?>", re.S | re.I)
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_FENCE = re.compile(r"`{3,}+(?:(?:json|text|txt|plaintext|markdown|md|yaml)\b)?|^~{3,}+\w*$", re.M)
_PLACEHOLDER = re.compile(r"\s*<[^<>]*>\.?\s*")
_JSON_KEY = '"key_information"'


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

    recalls: list[str]
    said: list[tuple[str, bool, str]]
    """Label, whether it is called correct, and why; in the order written."""
    aside: str = ""
    """Everything outside the format, to be judged but not kept."""


def parse_completion(completion: str, question: Question) -> Rationale | Rejected:
    """Split a completion into recalled knowledge and one analysis per option.

    Accepts what models write: numbering, bold, "(B)", "Option B", the option's text next to its label, headings,
    blank, broken and missing line ends, code fences, talk before and after. The parts may come in any order, since
    each bears its name, and a part may be repeated word for word, or as a verdict without its reason: neither leaves
    anything to guess. JSON is read too, as `parse_structured` does, so that no answer is lost to its form.

    Rejects, and never repairs: a missing or unknown option, a second key information or reason that differs, verdicts
    that single out no option, and a text that contradicts them anywhere (`claims`). Control characters and invisible
    marks are dropped. Does not check whether the option called correct is the gold one (see `teacher.select`).
    """
    return _read(completion, question, wants_json=False)


def parse_structured(completion: str, question: Question) -> Rationale | Rejected:
    """Split a completion in the JSON of `json_schema` likewise; one in plain lines is read by `parse_completion`."""
    return _read(completion, question, wants_json=True)


def _read(completion: str, question: Question, *, wants_json: bool) -> Rationale | Rejected:
    text = _THOUGHT.sub("", _FENCE.sub("\n", _cleaned(completion)))
    is_json = _JSON_KEY in text or (wants_json and not any(map(_KEY.match, text.split("\n"))))
    try:
        reading = _structured(text) if is_json else _strict(text) or _tolerant(text, question)
        return _checked(reading, question)
    except _FlawedError as flawed:
        return Rejected(question_id=question.id, flaw=flawed.flaw, text=completion, reason=flawed.reason)


def _cleaned(text: str) -> str:
    """The text with plain line ends, and without control characters, invisible marks and broken code points."""
    text = _LINE_END.sub("\n", text)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(sign for sign in text if sign in "\n\t" or unicodedata.category(sign) not in ("Cc", "Cf", "Cs"))


def _line(text: str) -> str:
    return " ".join(text.split())


def _checked(reading: _Reading, question: Question) -> Rationale:
    """The reading as a rationale for this question. Raises _FlawedError."""
    recalls = {recall for recall in reading.recalls if recall.strip() and not _PLACEHOLDER.fullmatch(recall)}
    if len(recalls) != 1:
        found = f"{len(recalls)} different texts of key information" if recalls else "no key information"
        raise _FlawedError(Flaw.NO_RECALL, f"{found} instead of one")
    verdicts, reasons = _merged(reading.said)
    if sorted(verdicts) != sorted(question.labels):
        raise _FlawedError(Flaw.OPTIONS, f"covers {', '.join(verdicts) or 'no option'}")
    if blank := [label for label in verdicts if label not in reasons]:
        raise _FlawedError(Flaw.OPTIONS, f"says nothing about {', '.join(blank)}")
    claimed = [label for label, is_correct in verdicts.items() if is_correct]
    if len(claimed) != 1:
        raise _FlawedError(Flaw.VERDICTS, f"calls {', '.join(claimed) or 'no option'} correct")
    (recall,), (correct,) = recalls, claimed
    parts = ((recall, None), *((reason, label) for label, reason in reasons.items()), (reading.aside, None))
    for text, about in parts:
        for claim in claims(text, question, about):
            if claim.contradicts(correct):
                raise _FlawedError(Flaw.VERDICTS, f"calls {correct} correct, but says {claim.quote!r}")
    return Rationale(
        question_id=question.id,
        recall=recall,
        analyses=tuple(reasons[label] for label in question.labels),
        label=correct,
    )


def _merged(said: Sequence[tuple[str, bool, str]]) -> tuple[dict[str, bool], dict[str, str]]:
    """Verdict and reason by label, repeats merged. Raises _FlawedError if they differ."""
    verdicts: dict[str, bool] = {}
    reasons: dict[str, str] = {}
    for label, is_correct, reason in said:
        if verdicts.setdefault(label, is_correct) != is_correct:
            raise _FlawedError(Flaw.VERDICTS, f"calls {label} both correct and incorrect")
        if reason.strip() and not _PLACEHOLDER.fullmatch(reason) and reasons.setdefault(label, reason) != reason:
            raise _FlawedError(Flaw.OPTIONS, f"explains {label} twice")
    return verdicts, reasons


def _structured(text: str) -> _Reading:
    """The reading of a completion in JSON. Raises _FlawedError."""
    at = max(text.find("{"), 0)
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    aside = text[:at]
    objects: list[_Structured] = []
    try:
        while text[at:].strip() and (not objects or text[at:].lstrip().startswith("{")):
            at += len(text[at:]) - len(text[at:].lstrip())
            value, at = decoder.raw_decode(text, at)
            objects.append(_Structured.model_validate(value))
        if not objects:
            json.loads(text)
    except ValidationError as error:
        raise _FlawedError(Flaw.MALFORMED, describe(error)) from None
    except (ValueError, RecursionError) as error:
        raise _FlawedError(Flaw.MALFORMED, f"no JSON: {error}") from None
    said = [
        (one.option, one.verdict == "correct", _BECAUSE.sub("", _field(one.because)))
        for answer in objects
        for one in answer.options
    ]
    return _Reading([_field(answer.key_information) for answer in objects], said, f"{aside}\n{text[at:]}")


def _field(text: str) -> str:
    return _line(_FENCE.sub(" ", _cleaned(text)))


def _once(pairs: Sequence[tuple[str, JsonValue]]) -> Json:
    """A JSON object from its pairs. Raises ValueError if a field appears twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a field twice")
    return made


def _strict(completion: str) -> _Reading | None:
    """The reading of a completion in exactly the format we asked for; None for any other."""
    first, *others = completion.strip("\n").split("\n")
    recall = _RECALL.fullmatch(first)
    lines = [_ANALYSIS.fullmatch(line) for line in others]
    if recall is None or not lines or None in lines:
        return None
    return _Reading([recall[1]], [(line[1], line[2] == "correct", line[3]) for line in lines if line])


def _tolerant(text: str, question: Question) -> _Reading:
    """The reading of a completion in freer formatting. Raises _FlawedError."""
    text = text.replace("\u00a0", " ")
    lines = _Lines(question)
    lines.take(text)
    if not lines.is_complete and (broken := _INLINE.sub("\n", text)) != text:
        lines = _Lines(question)
        lines.take(broken)
    if not lines.recalls:
        raise _FlawedError(Flaw.NO_RECALL, "no key information")
    said = [(label, is_correct, _BECAUSE.sub("", _text(parts))) for label, is_correct, parts in lines.said]
    return _Reading([_text(parts) for parts in lines.recalls], said, "\n".join(lines.aside))


class _Lines:
    """Puts the lines of a completion where they belong: to the key information, to an option, or aside."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self.recalls: list[list[str]] = []
        self.said: list[tuple[str, bool, list[str]]] = []
        self.aside: list[str] = []
        self._current: list[str] = self.aside
        self._has_ended = False

    @property
    def is_complete(self) -> bool:
        """Have all parts been begun?"""
        return bool(self.recalls) and {label for label, _, _ in self.said} >= set(self._question.labels)

    def take(self, text: str) -> None:
        """Put every line of a text in its place. Raises _FlawedError."""
        is_after_blank = False
        for line in text.split("\n"):
            if re.sub(_DECOR, "", line):
                self._place(line, is_after_blank)
            is_after_blank = not re.sub(_DECOR, "", line)

    def _place(self, line: str, is_after_blank: bool) -> None:
        key = _KEY.match(line)
        if key and (key["sign"] or not key["rest"] or re.search("[–—-]", key["mid"])):
            self._current = [key["rest"]]
            self.recalls.append(self._current)
        elif head := self._head(line):
            self._current = head[2]
            self.said.append(head)
        elif _STRAY.match(line) or (_HEADING.match(line) and any(self._current)):
            pass
        elif self._is_aside(line, is_after_blank):
            self.aside.append(line)
        else:
            self._current.append(line)

    def _head(self, line: str) -> tuple[str, bool, list[str]] | None:
        """An option's label, verdict and start of the reason if a line opens one. Raises _FlawedError."""
        head = _option_head(line, self._question)
        if head is None and not self.is_complete and (heading := _HEADED.match(line)):
            return _option_head(line[heading.end() :], self._question)
        return head

    def _is_aside(self, line: str, is_after_blank: bool) -> bool:
        """Is this line outside the format: before it, after it, or an answer given between its lines?

        Raises:
            _FlawedError: it may or may not belong to the key information.
        """
        if self._current is self.aside or self._has_ended:
            return True
        is_begun = any(self._current)
        if self.is_complete and is_begun and (is_after_blank or _AFTERWORD.match(line)):
            self._has_ended = True
            return True
        if is_begun and next(claims(line, self._question), None):
            self._has_ended = self.is_complete
            return True
        is_recall = bool(self.recalls) and self._current is self.recalls[-1]
        return is_recall and is_begun and _is_between(line, self._question, is_after_blank)


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
    rest, named = _without_name(rest, question)
    verdict = _VERDICT.match(rest)
    if verdict is None or not (verdict["is"] or start["close"] or start["end"] or named):
        return None
    if _COMPARES.match(rest, verdict.end()):
        return None
    name = next((option.text for option in question.options if option.label == label), "")
    if named and named != name.strip().casefold():
        raise _FlawedError(Flaw.OPTIONS, expected(f"name of {label}", named, repr(name)))
    return label, verdict["verdict"].lower() == "correct", [rest[verdict.end() :]]


def _without_name(rest: str, question: Question) -> tuple[str, str]:
    """The rest of a line without an option's text in front, and that text in small letters, if there is one."""
    opened = re.match(r"[,:\s]*([(\[\"'“‘*_]*)", rest)
    front = opened.end() if opened else 0
    texts = {option.text.strip().casefold() for option in question.options} - {"not", "correct", "incorrect"}
    for text in sorted(texts, key=len, reverse=True):
        end = front + len(text)
        if text and rest[front:end].casefold() == text and not rest[end : end + 1].isalnum():
            return re.sub(r"^[)\]\"'”’*_,.:\s]*", " ", rest[end:], count=1).lstrip(), text
    return rest, ""
