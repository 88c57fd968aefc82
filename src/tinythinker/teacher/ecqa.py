"""Human annotation as a teacher: ECQA's explanations of CommonsenseQA, and the facts behind other benchmarks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from rapidfuzz import fuzz
from scipy.optimize import linear_sum_assignment

from tinythinker.core.errors import TeacherError
from tinythinker.core.files import describe, read_objects
from tinythinker.core.records import Flaw, Question, Rationale, Rejected
from tinythinker.core.text import joined

ECQA_FILES = ("ecqa_train.jsonl", "ecqa_validation.jsonl", "ecqa_test.jsonl")

_NAMED = 0.5
"""A sentence names an option if it holds at least this share of the option's telling words."""
_SIMILAR = 80.0
"""Two words are the same but for spelling from this similarity on (rapidfuzz ratio, 0 to 100)."""
_IN_ORDER = 0.1
"""What standing in the option's own position is worth, in shares of words; it decides between equals only."""
_COMMON = frozenset(
    "a an and as at be by for from her his in into is it its of on or out the their to up with you your".split()
)


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")

    q_no: str
    taskA_pos: str  # noqa: N815  (the file's own names)
    taskA_neg: str  # noqa: N815


def ecqa_files(folder: Path) -> list[Path]:
    """The ECQA files in a folder. Raises TeacherError if there is none."""
    files = [folder / name for name in ECQA_FILES if (folder / name).is_file()]
    if not files:
        raise TeacherError(f"teacher.path {folder}: found none of {', '.join(ECQA_FILES)}, expected the ECQA files")
    return files


def ecqa_rationales(files: Sequence[Path], questions: Sequence[Question]) -> Iterator[Rationale | Rejected]:
    """A rationale, or why there is none, for every ECQA row.

    Rows join by question id, never by ECQA's own splits, which overlap the CommonsenseQA test set: a row whose question
    is not among `questions` is rejected as `not_train`. A question that stands in several files counts once.

    Args:
        questions: the training questions.

    Raises:
        DataError, TeacherError: a file cannot be read; names file and line.
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


def fact_rationales(facts: Mapping[str, str], questions: Sequence[Question]) -> Iterator[Rationale]:
    """A recall-only rationale for every question whose benchmark says which fact it was made from."""
    for question in questions:
        if question.id in facts:
            yield Rationale(question_id=question.id, recall=facts[question.id])


def _align(question: Question, row: _Row) -> Rationale | Rejected:
    """Sort ECQA's sentences to the options they speak of."""

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
    """General knowledge and the analysis of the right option, out of the sentences in its favour.

    General are those that do not name the right option, else the first sentence; the others are its analysis. Where
    that leaves nothing for one side, the last sentence serves as the analysis, and a single sentence serves as both.

    >>> split_positives(["Jugs hold water.", "A kitchen has jugs."], "kitchen")
    ('Jugs hold water.', 'A kitchen has jugs.')
    """
    general = [sentence for sentence in sentences if _share_named(sentence, gold) < _NAMED] or [sentences[0]]
    if len(general) == len(sentences) > 1:
        general = list(sentences[:-1])
    special = [sentence for sentence in sentences if sentence not in general] or [sentences[-1]]
    return joined(general), joined(special)


def assign(sentences: Sequence[str], options: Sequence[str]) -> list[str] | str:
    """Sort sentences to options by the words they name; never by guessing.

    As many sentences as options: one each, so that the most words are named; the order decides between equals.
    Sentences that name nothing are placed only if one pair is left over, or if everything stands in order. Any other
    number: a sentence goes to the option it names best (or to all that it names in full), and to the one still missing
    if it is the only one left over.

    Returns:
        What was said of each option, or the reason why some option has nothing.
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
    lines, options = linear_sum_assignment(worth, maximize=True)
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
            # Half of two names: the option under discussion, or the next one, if it is among them.
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
    """Share of an option's telling words that a sentence holds, allowing for inflection and misspelling."""
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
