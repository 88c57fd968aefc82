"""Human explanations as a teacher: ECQA (Aggarwal et al. 2021), aligned to CommonsenseQA's options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import scipy
from pydantic import BaseModel, ConfigDict, ValidationError
from rapidfuzz import fuzz

from tinythinker.core.errors import TeacherError
from tinythinker.core.files import describe, read_objects
from tinythinker.core.records import Flaw, Question, Rationale, Rejected
from tinythinker.core.text import joined
from tinythinker.teacher.source import Asking, Given, free

ECQA_FILES = ("ecqa_train.jsonl", "ecqa_validation.jsonl", "ecqa_test.jsonl")

_NAMED = 0.5
"""A sentence names an option if it contains at least this share of the option's content words."""
_SIMILAR = 80.0
"""Two words count as spellings of one word from this similarity up (rapidfuzz ratio, 0 to 100)."""
_IN_ORDER = 0.1
"""Bonus, in shares of words, for a sentence in the same position as the option; only breaks ties."""
_COMMON = frozenset(
    "a an and as at be by for from her his in into is it its of on or out the their to up with you your".split()
)


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")

    q_no: str
    taskA_pos: str  # noqa: N815  (the names in the file)
    taskA_neg: str  # noqa: N815


def ecqa(asking: Asking) -> Given:
    """The source `ecqa`: reads the ecqa_*.jsonl files in the folder `teacher.path`."""
    files = ecqa_files(asking.path)
    return Given(
        ecqa_rationales(files, asking.questions),
        free(asking),
        "ECQA annotations: CDLA-Sharing-1.0",
        inputs=tuple(files),
    )


def ecqa_files(folder: Path) -> list[Path]:
    """The ECQA files in a folder. Raises TeacherError if there are none."""
    files = [folder / name for name in ECQA_FILES if (folder / name).is_file()]
    if not files:
        raise TeacherError(f"teacher.path {folder}: found none of {', '.join(ECQA_FILES)}, expected the ECQA files")
    return files


def ecqa_rationales(files: Sequence[Path], questions: Sequence[Question]) -> Iterator[Rationale | Rejected]:
    """A rationale, or why there is none, for every ECQA row.

    Rows are matched by question id, never by ECQA's splits, which overlap the CommonsenseQA test set: a row
    whose question is not among `questions` is rejected as `not_train`. Of a question's rows, only the first
    counts.

    Args:
        questions: the training questions.

    Raises:
        DataError, TeacherError: a file cannot be read; the message names file and line.
    """
    wanted = {question.id: question for question in questions}
    seen: set[str] = set()
    for path in files:
        for number, value in read_objects(path):
            try:
                row = _Row.model_validate(value)
            except ValidationError as error:
                raise TeacherError(f"{path}:{number}: {describe(error)}") from None
            if row.q_no in seen:
                continue
            seen.add(row.q_no)
            if row.q_no in wanted:
                yield _align(wanted[row.q_no], row)
            else:
                yield Rejected(question_id=row.q_no, flaw=Flaw.NOT_TRAIN, text=f"{row.taskA_pos}\n{row.taskA_neg}")


def _align(question: Question, row: _Row) -> Rationale | Rejected:
    """Assign ECQA's sentences to the options they discuss."""

    def reject(reason: str) -> Rejected:
        text = f"{row.taskA_pos}\n{row.taskA_neg}"
        return Rejected(question_id=question.id, flaw=Flaw.UNALIGNED, text=text, reason=reason)

    positives, negatives = _lines(row.taskA_pos), _lines(row.taskA_neg)
    if not positives:
        return reject("no sentence for the right option")
    gold = next(option.text for option in question.options if option.label == question.gold)
    wrong = [option.text for option in question.options if option.label != question.gold]
    sorted_out = assign(negatives, wrong)
    if isinstance(sorted_out, str):
        return reject(sorted_out)
    recall, analysis = split_positives(positives, gold)
    others = iter(sorted_out)
    analyses = tuple(analysis if option.label == question.gold else next(others) for option in question.options)
    return Rationale(question_id=question.id, recall=recall, analyses=analyses)


def split_positives(sentences: Sequence[str], gold: str) -> tuple[str, str]:
    """General knowledge, and the analysis of the right option, from the sentences in its favour.

    Sentences that do not name the right option are general knowledge; if all name it, the first one is. The
    others are the analysis; if none names it, the last sentence is. A single sentence serves as both.

    >>> split_positives(["Jugs hold water.", "A kitchen has jugs."], "kitchen")
    ('Jugs hold water.', 'A kitchen has jugs.')
    """
    general = [sentence for sentence in sentences if _share_named(sentence, gold) < _NAMED] or [sentences[0]]
    if len(general) == len(sentences) > 1:
        general = list(sentences[:-1])
    special = [sentence for sentence in sentences if sentence not in general] or [sentences[-1]]
    return joined(general), joined(special)


def assign(sentences: Sequence[str], options: Sequence[str]) -> list[str] | str:
    """Assign sentences to options by the words they share, without guessing.

    If there are as many sentences as options, each option gets one, so as to maximize the words named; order
    breaks ties. Sentences that do not name their option are placed only if there is just one of them, or if
    all sentences are in the options' order.

    With any other number, a sentence goes to the option it names best (or to all that it names in full).
    Sentences that name no option go to the one still missing, if just one is missing and they directly follow
    each other.

    Returns:
        What was said about each option, or the reason why some option has nothing.
    """
    shares = [[_share_named(sentence, option) for option in options] for sentence in sentences]
    said = _one_to_one(shares) if len(sentences) == len(options) else _by_best_name(shares, len(options))
    missing = [option for option, lines in zip(options, said, strict=True) if not lines]
    if missing:
        return f"{len(sentences)} sentences, none surely about {', '.join(missing)}"
    return [joined(sentences[i] for i in lines) for lines in said]


def _one_to_one(shares: Sequence[Sequence[float]]) -> list[list[int]]:
    count = len(shares)
    worth = [[share + _IN_ORDER * (i == j) for j, share in enumerate(row)] for i, row in enumerate(shares)]
    lines, options = scipy.optimize.linear_sum_assignment(worth, maximize=True)
    pairs = list(zip(lines.tolist(), options.tolist(), strict=True))
    unnamed = [(i, j) for i, j in pairs if shares[i][j] < _NAMED]
    is_sure = len(unnamed) <= 1 or all(i == j for i, j in pairs)
    said: list[list[int]] = [[] for _ in range(count)]
    for i, j in pairs:
        if is_sure or (i, j) not in unnamed:
            said[j].append(i)
    return said


def _by_best_name(shares: Sequence[Sequence[float]], count: int) -> list[list[int]]:
    said: list[list[int]] = [[] for _ in range(count)]
    left_over = []
    before = 0
    for i, row in enumerate(shares):
        best = max(row)
        if best < _NAMED:
            left_over.append(i)
            continue
        named = [j for j, share in enumerate(row) if share == best]
        if best < 1 and len(named) > 1:
            # Several named equally, none in full: take the option discussed last, or the one after it.
            named = [j for j in (before, before + 1) if j in named][:1]
        for j in named:
            said[j].append(i)
        before = named[-1] if named else before
    missing = [j for j in range(count) if not said[j]]
    is_one_run = left_over == list(range(left_over[0], left_over[-1] + 1)) if left_over else False
    if len(missing) == 1 and is_one_run:
        said[missing[0]] = left_over
    return said


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _share_named(sentence: str, option: str) -> float:
    """Share of an option's content words found in a sentence, allowing for inflection and misspelling."""
    words = _words(sentence)
    telling = [word for word in _words(option) if word not in _COMMON] or _words(option)
    if not telling:
        return 0.0
    return sum(any(_same(word, other) for other in words) for word in telling) / len(telling)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _same(word: str, other: str) -> bool:
    if word == other:
        return True
    if min(len(word), len(other)) < 3:
        return False
    return _root(word) == _root(other) or (len(word) > 3 and fuzz.ratio(word, other) >= _SIMILAR)


def _root(word: str) -> str:
    """A word without the ending of an English plural, participle or the like."""
    for ending in ("ies", "ing", "ed", "es", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
