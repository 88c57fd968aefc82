"""Settings -> a student before any training."""

from __future__ import annotations

from collections.abc import Sequence

from tinythinker.core.progress import say
from tinythinker.core.records import Question, Rationale
from tinythinker.settings.schema import RunSettings
from tinythinker.stages.examples import build_examples
from tinythinker.stages.template import Template
from tinythinker.student.load import pretrained_student
from tinythinker.student.scratch import scratch_student
from tinythinker.student.student import Recipe, Student

_T5_RATE = 5e-4
"""The published learning rate, which is T5's."""


def make_student(settings: RunSettings, questions: Sequence[Question], rationales: Sequence[Rationale]) -> Student:
    """A student ready for phase 1.

    A word-level vocabulary is collected from all texts of the training split, even those the plan does not
    train on, so all plans of one seed start from the same vocabulary and the same weights.

    Raises:
        StudentError: the model, folder or vocabulary file does not load.
    """
    how = settings.student
    recipe = _recipe(settings)
    if how.init == "pretrained":
        student = pretrained_student(how, recipe)
        if student.is_causal and how.lora is None and settings.train.learning_rate >= _T5_RATE:
            say(
                f"student {how.name}: train.learning_rate={settings.train.learning_rate:g} suits a T5; a causal model "
                "of this kind is usually spoilt by it (its preset has 1e-4)"
            )
        return student
    template = Template.of(settings.stages)
    examples = [
        example for plan in ("full", "summarize") for example in build_examples(plan, template, questions, rationales)
    ]
    texts = [text for example in examples for text in (example.prompt, example.target)]
    return scratch_student(how, recipe, texts, settings.seed)


def untrained_student(settings: RunSettings) -> Student:
    """The pretrained model that a run's student begins with, as it is. Raises StudentError."""
    recipe = _recipe(settings).model_copy(update={"is_trained": False, "lora": None})
    student = pretrained_student(settings.student, recipe)
    student.model.eval()
    return student


def _recipe(settings: RunSettings) -> Recipe:
    how = settings.student
    return Recipe(
        stages=settings.stages,
        generate=settings.generate,
        max_prompt_tokens=how.max_prompt_tokens,
        max_target_tokens=how.max_target_tokens,
        chat_template=how.chat_template,
        lora=how.lora,
    )
