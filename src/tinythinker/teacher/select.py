"""Which rationales to keep: those that argue for the right label and say something new, up to a limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from tinythinker.core.records import Flaw, Question, Rationale, Rejected
from tinythinker.settings.schema import LlmSettings, TeacherSettings
from tinythinker.teacher.llm.ledger import effective_label


@dataclass(frozen=True)
class Selected:
    """Rationales kept, rationales rejected and why, and how the teacher voted."""

    rationales: tuple[Rationale, ...]
    rejected: tuple[Rejected, ...]
    votes: Mapping[str, Mapping[str, int]]
    """For every question with teacher verdicts: number of rationales by the label they call correct."""
    relabelled: Mapping[str, str]
    """New label of every question whose gold label the majority replaces (`label_policy=teacher` only)."""


def select_rationales(
    answers: Iterable[Rationale | Rejected], questions: Sequence[Question], teacher: TeacherSettings
) -> Selected:
    """Sort a teacher's answers into kept and rejected, question by question in their order.

    The label policy applies to every source whose rationales say which label they argue for. An LLM's
    rationale must also not leak the answer (if `reject_leaks`), not nearly repeat one already kept, and be
    within the limit per question.
    """
    well_formed: dict[str, list[Rationale]] = {}
    rejected: list[Rejected] = []
    for answer in answers:
        if isinstance(answer, Rejected):
            rejected.append(answer)
        else:
            well_formed.setdefault(answer.question_id, []).append(answer)
    kept: list[Rationale] = []
    votes: dict[str, Mapping[str, int]] = {}
    relabelled: dict[str, str] = {}
    for question in questions:
        rationales = well_formed.get(question.id, [])
        count = Counter(rationale.label for rationale in rationales if rationale.label is not None)
        label = effective_label(count, question.gold, teacher.label_policy)
        if count:
            votes[question.id] = dict(count.most_common())
        if label is not None and label != question.gold:
            relabelled[question.id] = label
        for chosen in _choose(rationales, question, label, teacher.llm):
            if isinstance(chosen, Rationale):
                kept.append(chosen)
            else:
                rejected.append(chosen)
    return Selected(tuple(kept), tuple(rejected), votes, relabelled)


def _choose(
    rationales: Sequence[Rationale], question: Question, label: str | None, llm: LlmSettings | None
) -> Iterator[Rationale | Rejected]:
    """Each rationale of a question, or why it is rejected; earlier ones take precedence."""
    kept: list[str] = []
    answer = next((option.text for option in question.options if option.label == label), "")
    for rationale in rationales:
        flaw = None
        if rationale.label not in (None, label):
            flaw = Flaw.DISAGREES, f"calls {rationale.label} correct, should argue for {label}"
        elif llm is not None:
            flaw = _flaw_of_llm(rationale.recall, kept, answer, llm)
        if flaw is None:
            kept.append(rationale.recall)
            yield rationale
        else:
            text = "\n".join([rationale.recall, *rationale.analyses])
            yield Rejected(question_id=question.id, flaw=flaw[0], text=text, reason=flaw[1])


def _flaw_of_llm(recall: str, kept: Sequence[str], answer: str, llm: LlmSettings) -> tuple[Flaw, str] | None:
    """Flaw and reason of what a language model recalled, after the recalls already kept; None if it is fine."""
    most = llm.keep or llm.samples
    near = _nearest(recall, kept, llm.duplicate_distance)
    if llm.reject_leaks and names(recall, answer):
        return Flaw.LEAK, f"the recall names {answer!r}"
    if near is not None:
        return Flaw.DUPLICATE, f"{near} edited characters from one that is kept"
    if len(kept) >= most:
        return Flaw.SURPLUS, f"{most} are already kept"
    return None


_ADVICE = {
    Flaw.CUT: "raise teacher.llm.max_tokens",
    Flaw.MALFORMED: "the endpoint may ignore response_format: try teacher.llm.structured=false",
    Flaw.LEAK: "teacher.llm.reject_leaks=false keeps these",
    Flaw.DISAGREES: "teacher.label_policy decides what happens to these",
    Flaw.NO_RECALL: "it does not fit the format: try another model, teacher.llm.structured=true or teacher.llm.prompt",
    Flaw.OPTIONS: "it does not fit the format: try another model, teacher.llm.structured=true or teacher.llm.prompt",
}
_SHOWN_CHARACTERS = 200


def advice(rejected: Rejected) -> str:
    """A rejected text on one line: flaw, reason, the beginning of the text, and what may help."""
    shown = " ".join(rejected.text.split())[:_SHOWN_CHARACTERS]
    helps = _ADVICE.get(rejected.flaw, "")
    reason = f" ({rejected.reason})" if rejected.reason else ""
    return f"{rejected.flaw}{reason}: {shown!r}" + (f"; {helps}" if helps else "")


def _nearest(recall: str, kept: Iterable[str], most: int) -> int | None:
    """Smallest edit distance from a recall to one already kept; None if above `most` (METHOD section 2)."""
    distances = (Levenshtein.distance(recall, other, score_cutoff=most) for other in kept)
    return min((distance for distance in distances if distance <= most), default=None)


def names(recall: str, answer: str) -> bool:
    """Does a text contain the answer's words in sequence, ignoring case and punctuation?

    A text may contain words such as yes and no for many reasons, so such an answer never counts as named.

    >>> names("People keep money in a Bank.", "bank"), names("Embankments are high.", "bank")
    (True, False)
    """
    words = _words(answer)
    return words not in ("", "yes", "no", "true", "false") and f" {words} " in f" {_words(recall)} "


def _words(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
