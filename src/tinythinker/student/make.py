"""Settings -> the student as it is before any training."""

from __future__ import annotations

from collections.abc import Sequence

from tinythinker.config import RunSettings
from tinythinker.core.records import Question, Rationale
from tinythinker.stages.examples import build_examples
from tinythinker.stages.template import Template
from tinythinker.student.scratch import scratch_student
from tinythinker.student.student import Recipe, Student, pretrained_student


def make_student(settings: RunSettings, questions: Sequence[Question], rationales: Sequence[Rationale]) -> Student:
    """A student ready for phase 1.

    A word-level vocabulary is collected from everything the training split says, whatever the plan trains on: so all
    plans of one seed start from the same vocabulary and the same weights.

    Raises:
        StudentError: the model, folder or vocabulary file does not load.
    """
    recipe = Recipe(
        stages=settings.stages,
        generate=settings.generate,
        max_prompt_tokens=settings.student.max_prompt_tokens,
        max_target_tokens=settings.student.max_target_tokens,
    )
    if settings.student.init == "pretrained":
        return pretrained_student(settings.student, recipe)
    template = Template(settings.stages.template)
    examples = [
        example for plan in ("full", "summarize") for example in build_examples(plan, template, questions, rationales)
    ]
    texts = [text for example in examples for text in (example.prompt, example.target)]
    return scratch_student(settings.student, recipe, texts, settings.seed)
