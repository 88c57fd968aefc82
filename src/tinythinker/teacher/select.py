"""Which rationales to keep: those that argue for the right label and say something new, up to a limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

from tinythinker.core.records import Flaw, Question, Rationale, Rejected
from tinythinker.core.seeds import stream
from tinythinker.settings.schema import LlmSettings, TeacherSettings
from tinythinker.teacher.llm.ledger import STILL_THINKING, effective_label


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
    answers: Iterable[Rationale | Rejected], questions: Sequence[Question], teacher: TeacherSettings, seed: int
) -> Selected:
    """Sort a teacher's answers into kept and rejected, question by question in their order.

    The label policy applies to every source whose rationales say which label they argue for. An LLM's
    rationale must also not leak the answer (if `reject_leaks`), not nearly repeat another one (`duplicates`), and be
    within the limit per question.

    Args:
        seed: of the run; only `duplicates=refill` draws.
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
        for chosen in _choose(rationales, question, label, teacher.llm, seed):
            if isinstance(chosen, Rationale):
                kept.append(chosen)
            else:
                rejected.append(chosen)
    return Selected(tuple(kept), tuple(rejected), votes, relabelled)


def _choose(
    rationales: Sequence[Rationale], question: Question, label: str | None, llm: LlmSettings | None, seed: int
) -> Iterator[Rationale | Rejected]:
    """Each rationale of a question, or why it is rejected."""
    answer = next((option.text for option in question.options if option.label == label), "")
    sound: list[str] = []
    flaws: list[_Found | None] = []
    for rationale in rationales:
        flaw = None
        if rationale.label not in (None, label):
            flaw = Flaw.DISAGREES, f"calls {rationale.label} correct, should argue for {label}"
        elif llm is not None and llm.reject_leaks and names(rationale.recall, answer):
            flaw = Flaw.LEAK, f"the recall names {answer!r}"
        else:
            sound.append(rationale.recall)
        flaws.append(flaw)
    if llm is None:
        chosen: list[_Found | None] = [None] * len(sound)
    elif llm.duplicates == "refill":
        chosen = _refilled(sound, llm, stream(seed, "refill", question.id))
    else:
        chosen = _first(sound, llm)
    of_sound = iter(chosen)
    for rationale, flaw in zip(rationales, flaws, strict=True):
        found = flaw or next(of_sound)
        if found is None:
            yield rationale
        else:
            text = "\n".join([rationale.recall, *rationale.analyses])
            yield Rejected(question_id=question.id, flaw=found[0], text=text, reason=found[1])


_Found = tuple[Flaw, str]
"""A flaw and its reason."""


def _first(recalls: Sequence[str], llm: LlmSettings) -> list[_Found | None]:
    """What is wrong with each recall of a language model after those kept before it; None: it is kept."""
    most = llm.keep or llm.samples
    kept: list[str] = []
    found: list[_Found | None] = []
    for recall in recalls:
        near = _nearest(recall, kept, llm.duplicate_distance)
        if near is not None:
            found.append((Flaw.DUPLICATE, f"{near} edited characters from one that is kept"))
        elif len(kept) >= most:
            found.append((Flaw.SURPLUS, f"{most} are already kept"))
        else:
            kept.append(recall)
            found.append(None)
    return found


def _refilled(recalls: Sequence[str], llm: LlmSettings, rng: np.random.Generator) -> list[_Found | None]:
    """Likewise as in the official code: recalls that are close to no other one, then a random draw of the rest."""
    most = llm.keep or llm.samples
    near = [
        _nearest(recall, [*recalls[:i], *recalls[i + 1 :]], llm.duplicate_distance) for i, recall in enumerate(recalls)
    ]
    alone = [i for i, distance in enumerate(near) if distance is None][:most]
    others = [i for i in range(len(recalls)) if i not in alone]
    drawn = [others[i] for i in rng.permutation(len(others))[: most - len(alone)]]
    return [
        None
        if i in alone or i in drawn
        else (Flaw.SURPLUS, f"{most} are already kept")
        if distance is None
        else (Flaw.DUPLICATE, f"{distance} edited characters from another one")
        for i, distance in enumerate(near)
    ]


_LESS_THINKING = (
    "switch the model's thinking off or shorten it with teacher.llm.request, such as {reasoning_effort: low} or "
    "{chat_template_kwargs: {enable_thinking: false}}"
)
_ADVICE = {
    Flaw.CUT: "raise teacher.llm.max_tokens",
    Flaw.THOUGHTS: _LESS_THINKING,
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
    if rejected.flaw is Flaw.CUT and STILL_THINKING in rejected.reason:
        helps = f"{helps}, or {_LESS_THINKING}"
    reason = f" ({rejected.reason})" if rejected.reason else ""
    return f"{rejected.flaw}{reason}: {shown!r}" + (f"; {helps}" if helps else "")


def _nearest(recall: str, others: Iterable[str], most: int) -> int | None:
    """Smallest edit distance from a recall to one of the others; None if above `most` (METHOD section 2)."""
    distances = (Levenshtein.distance(recall, other, score_cutoff=most) for other in others)
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
