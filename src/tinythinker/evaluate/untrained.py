"""Answers without training: the baselines that every method has to beat."""

from __future__ import annotations

from collections.abc import Sequence

from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.records import Chain, Question, Verdict
from tinythinker.core.seeds import stream
from tinythinker.evaluate.guessing import majority_answers
from tinythinker.evaluate.score import judge
from tinythinker.generate.endings import Ending, ending_logps, normalized
from tinythinker.settings.schema import Normalize, RunSettings
from tinythinker.stages.template import Template
from tinythinker.student.make import untrained_student
from tinythinker.student.student import Student


def answer_untrained(
    how: str, questions: Sequence[Question], train: Sequence[Question], settings: RunSettings
) -> dict[str, list[Verdict]]:
    """The verdicts of answers without training, by name.

    Args:
        how: majority, random, or pretrained: the student as it is, which gives `cloze` (per character), `cloze_sum`,
            `cloze_token` (per token) and `letters` at once.

    Raises:
        SettingsError: pretrained with a student that is not.
        StudentError: the student cannot be loaded.
    """
    if how == "majority":
        answers = {how: majority_answers(questions, train)}
    elif how == "random":
        answers = {how: _random(questions, settings.seed)}
    else:
        if settings.student.init != "pretrained":
            raise SettingsError(
                expected("setting student.init with an untrained student", settings.student.init, "pretrained")
            )
        student = untrained_student(settings)
        answers = _cloze(student, questions) | _letters(student, questions)
    return {
        name: [
            judge(question, [Chain(question_id=question.id, conclusion=question.text_of(answer), answer=answer)])
            for question, answer in zip(questions, chosen, strict=True)
        ]
        for name, chosen in answers.items()
    }


def _random(questions: Sequence[Question], seed: int) -> list[str]:
    return [str(stream(seed, "random", question.id).choice(question.labels)) for question in questions]


_CLOZE: dict[Normalize, str] = {"characters": "cloze", "none": "cloze_sum", "tokens": "cloze_token"}
"""Names of the three ways to compare options of different lengths."""


def _cloze(student: Student, questions: Sequence[Question]) -> dict[str, list[str]]:
    """The option whose text is the most likely after "Question: ... Answer:"; all three ways from one pass."""
    template = Template("cloze")
    prompts = [template.summarize_prompt(question, None, ()) for question in questions]
    texts = [[option.text for option in question.options] for question in questions]
    scored = ending_logps(student, prompts, texts, batch_size=student.recipe.generate.batch_size)
    return {name: _best(questions, scored, how) for how, name in _CLOZE.items()}


def _letters(student: Student, questions: Sequence[Question]) -> dict[str, list[str]]:
    """The option whose letter is the most likely after the question, its options by letter, and "Answer:"."""
    prompts = [lettered_prompt(question) for question in questions]
    scored = ending_logps(
        student, prompts, [question.labels for question in questions], batch_size=student.recipe.generate.batch_size
    )
    return {"letters": _best(questions, scored, "none")}


def lettered_prompt(question: Question) -> str:
    """A question with its options by letter, as language models are usually asked."""
    options = [f"{option.label}. {option.text}" for option in question.options]
    return "\n".join([f"Question: {question.stem}", *options, "Answer:"])


def _best(questions: Sequence[Question], scored: Sequence[Sequence[Ending]], how: Normalize) -> list[str]:
    """The label of the best ending of every question; ties: the earlier one."""
    return [
        max(zip(question.labels, normalized(endings, how), strict=True), key=lambda pair: pair[1])[0]
        for question, endings in zip(questions, scored, strict=True)
    ]
