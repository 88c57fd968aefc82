"""Answers without training: the baselines that every method has to beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.records import Chain, Question, Verdict
from tinythinker.core.seeds import stream
from tinythinker.evaluate.score import judge
from tinythinker.generate.label_logps import label_logps
from tinythinker.settings.schema import RunSettings
from tinythinker.student.encode import encode_prompts, encode_targets
from tinythinker.student.logps import target_logps
from tinythinker.student.make import make_student
from tinythinker.student.student import Student


def answer_untrained(
    how: str, questions: Sequence[Question], train: Sequence[Question], settings: RunSettings
) -> list[Verdict]:
    """The verdicts of an untrained method: majority, random, zero_shot or likelihood.

    Raises:
        SettingsError: zero_shot or likelihood with a student that is not pretrained.
        StudentError: the student cannot be loaded.
    """
    if how == "majority":
        answers = _majority(questions, train)
    elif how == "random":
        answers = _random(questions, settings.seed)
    else:
        if settings.student.init != "pretrained":
            raise SettingsError(
                expected(f"setting student.init with method {how}", settings.student.init, "pretrained")
            )
        student = make_student(settings, [], [])
        student.model.eval()
        answers = (_zero_shot if how == "zero_shot" else _likelihood)(student, questions)
    return [
        judge(question, [Chain(question_id=question.id, conclusion=how, answer=answer)])
        for question, answer in zip(questions, answers, strict=True)
    ]


def _majority(questions: Sequence[Question], train: Sequence[Question]) -> list[str]:
    """The most frequent gold label of `train` among the labels of each question; ties: the earlier label."""
    counts = Counter(question.gold for question in train)
    return [max(question.labels, key=lambda label: counts[label]) for question in questions]


def _random(questions: Sequence[Question], seed: int) -> list[str]:
    return [str(stream(seed, "random", question.id).choice(question.labels)) for question in questions]


def _zero_shot(student: Student, questions: Sequence[Question]) -> list[str]:
    """The most likely label after the summarize prompt with the question alone."""
    prompts = [student.recipe.template.summarize_prompt(question, None, ()) for question in questions]
    labels = [question.labels for question in questions]
    scored = label_logps(student, prompts, labels, batch_size=student.recipe.generate.batch_size)
    return [max(one.logps, key=one.logps.__getitem__) for one in scored]


@torch.inference_mode()
def _likelihood(student: Student, questions: Sequence[Question]) -> list[str]:
    """The label of the option whose text is the most likely continuation of the question, per token."""
    asked = [(question, option) for question in questions for option in question.options]
    scores: list[float] = []
    size = student.recipe.generate.batch_size
    for start in range(0, len(asked), size):
        some = asked[start : start + size]
        prompts = encode_prompts(student, [question.stem for question, _ in some])
        logps = target_logps(student.model, prompts, encode_targets(student, [option.text for _, option in some]))
        scores += (logps.total / logps.tokens).tolist()
    left = iter(scores)
    answers = []
    for question in questions:
        by_label = {label: next(left) for label in question.labels}
        answers.append(max(by_label, key=by_label.__getitem__))
    return answers
