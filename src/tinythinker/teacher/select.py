"""Which rationales are kept: those that argue for the right label, say something new, and are not too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from tinythinker.core.records import Flaw, Question, Rationale, Rejected
from tinythinker.settings.schema import TeacherSettings
from tinythinker.teacher.llm.ledger import effective_label


@dataclass(frozen=True)
class Selected:
    """What was kept, what was not and why, and how the teacher voted."""

    rationales: tuple[Rationale, ...]
    rejected: tuple[Rejected, ...]
    votes: Mapping[str, Mapping[str, int]]
    """For every question the teacher gave verdicts on: rationales by the label they call correct."""
    relabelled: Mapping[str, str]
    """Questions whose gold label the teacher's majority replaces (`label_policy=teacher` only)."""


def select_rationales(
    answers: Iterable[Rationale | Rejected], questions: Sequence[Question], teacher: TeacherSettings
) -> Selected:
    """Sort what a teacher gave into kept and rejected, question by question in their order.

    Every source is held to the label policy, where its rationales say which label they argue for. What an LLM wrote
    must also be no leak (if so wished), no near-duplicate of one kept before, and within the cap per question.
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
        own = well_formed.get(question.id, [])
        count = Counter(rationale.label for rationale in own if rationale.label is not None)
        label = effective_label(count, question.gold, teacher.label_policy)
        if count:
            votes[question.id] = dict(count.most_common())
        if label is not None and label != question.gold:
            relabelled[question.id] = label
        for chosen in _choose(own, question, label, teacher):
            if isinstance(chosen, Rationale):
                kept.append(chosen)
            else:
                rejected.append(chosen)
    return Selected(tuple(kept), tuple(rejected), votes, relabelled)


def _choose(
    own: Sequence[Rationale], question: Question, label: str | None, teacher: TeacherSettings
) -> Iterator[Rationale | Rejected]:
    """Each rationale of a question, or why it is not kept; earlier ones go first."""
    kept: list[str] = []
    most = teacher.keep or teacher.samples
    answer = next((option.text for option in question.options if option.label == label), "")
    for rationale in own:
        flaw = None
        if rationale.label not in (None, label):
            flaw, reason = Flaw.DISAGREES, f"calls {rationale.label} correct, should argue for {label}"
        elif teacher.source == "openai":
            near = _nearest(rationale.recall, kept, teacher.duplicate_distance)
            if teacher.reject_leaks and names(rationale.recall, answer):
                flaw, reason = Flaw.LEAK, f"the recall names {answer!r}"
            elif near is not None:
                flaw, reason = Flaw.DUPLICATE, f"{near} edited characters from one that is kept"
            elif len(kept) >= most:
                flaw, reason = Flaw.SURPLUS, f"{most} are kept"
        if flaw is None:
            kept.append(rationale.recall)
            yield rationale
        else:
            text = "\n".join([rationale.recall, *rationale.analyses])
            yield Rejected(question_id=question.id, flaw=flaw, text=text, reason=reason)


_ADVICE = {
    Flaw.CUT: "raise teacher.max_tokens",
    Flaw.MALFORMED: "the endpoint may not heed response_format: teacher.structured=false",
    Flaw.LEAK: "teacher.reject_leaks=false keeps such",
    Flaw.DISAGREES: "teacher.label_policy says what becomes of such",
    Flaw.NO_RECALL: "it does not keep to the form asked for: another model, teacher.structured=true, or teacher.prompt",
    Flaw.OPTIONS: "it does not keep to the form asked for: another model, teacher.structured=true, or teacher.prompt",
}
_SHOWN_CHARACTERS = 200


def advice(rejected: Rejected) -> str:
    """A rejected text on one line: flaw, reason, its beginning, and what may help."""
    shown = " ".join(rejected.text.split())[:_SHOWN_CHARACTERS]
    helps = _ADVICE.get(rejected.flaw, "")
    reason = f" ({rejected.reason})" if rejected.reason else ""
    return f"{rejected.flaw}{reason}: {shown!r}" + (f"; {helps}" if helps else "")


def _nearest(recall: str, kept: Iterable[str], most: int) -> int | None:
    """Smallest edit distance of a recall to one kept, if it is at most `most` (METHOD section 2)."""
    distances = (Levenshtein.distance(recall, other, score_cutoff=most) for other in kept)
    return min((distance for distance in distances if distance <= most), default=None)


def names(recall: str, answer: str) -> bool:
    """Does a text hold the answer's words in a row, whatever their case and what stands around them?

    Answers such as yes and no are words that a text may hold for many reasons; they count as never named.

    >>> names("People keep money in a Bank.", "bank"), names("Embankments are high.", "bank")
    (True, False)
    """
    words = _words(answer)
    return words not in ("", "yes", "no", "true", "false") and f" {words} " in f" {_words(recall)} "


def _words(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
