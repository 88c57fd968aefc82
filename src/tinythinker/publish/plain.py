"""A student's stages as code for plain `transformers`, for people who do not install this package."""

from __future__ import annotations

import json
from importlib import resources
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined
from jinja2 import Template as JinjaTemplate

from tinythinker.core.records import Question, Stage
from tinythinker.settings.schema import Normalize, RunSettings
from tinythinker.stages.plan import ANSWERED_WITH
from tinythinker.stages.template import ANALYZE, RECALL, Template

_LENGTHS: dict[Normalize, str] = {"none": "1", "characters": "len(ending)", "tokens": "len(labels)"}
"""What a text's log-probability is divided by."""


class Wording(NamedTuple):
    """What a student reads in one stage."""

    stage: Stage
    prompt: str


def wordings(settings: RunSettings) -> list[Wording]:
    """The prompts of the stages that a student answers with, with names in braces for what differs."""
    template, stages = Template.of(settings.stages), ANSWERED_WITH[settings.stages.plan]
    options = [{"label": label, "text": f"{{option {label}}}"} for label in "AB"]
    asked = Question.model_validate({"id": "asked", "stem": "{question}", "options": options, "gold": None})
    recall = "{recall}." if Stage.RECALL in stages else None
    analyses = ["{analysis of A}.", "{analysis of B}."] if Stage.ANALYZE in stages else []
    prompts = {
        Stage.RECALL: template.recall_prompt(asked),
        Stage.ANALYZE: template.analyze_prompt(asked, recall, "A"),
        Stage.SUMMARIZE: template.summarize_prompt(asked, recall, analyses),
        Stage.REASON: template.recall_prompt(asked),
    }
    return [Wording(stage, prompts[stage]) for stage in stages]


def plain_code(name: str, settings: RunSettings, question: Question, *, is_causal: bool) -> str:
    """A script that loads a student with `transformers`, asks it one question, and prints the whole reasoning.

    Args:
        name: of the student: on the Hugging Face Hub, or a folder.
        question: the example.
    """
    how, template = settings.generate, Template.of(settings.stages)
    return page("plain.jinja").render(
        name=_quoted(name),
        question=_quoted(question.stem),
        options=_quoted({option.label: option.text for option in question.options}),
        is_causal=is_causal,
        is_chat=settings.student.chat_template,
        stages=ANSWERED_WITH[settings.stages.plan],
        words={
            Stage.RECALL: RECALL,
            Stage.ANALYZE: ANALYZE,
            Stage.SUMMARIZE: template.last,
            "opening": template.opening.replace("{text}", "{option}"),
        },
        is_listed=template.name != "cloze",
        is_scored=is_scored(settings),
        ending={"letter": "", "named": "So the answer is option {label} ({option}).", "text": "{option}"}[
            template.form
        ],
        length=_LENGTHS[template.normalize(how.normalize)],
        most={
            Stage.RECALL: how.max_recall_tokens,
            Stage.ANALYZE: how.max_analysis_tokens,
            Stage.SUMMARIZE: how.max_conclusion_tokens,
            Stage.REASON: settings.student.max_target_tokens,
        },
    )


def is_scored(settings: RunSettings) -> bool:
    """Does the code take the most likely of the whole answers, instead of letting the student write one?"""
    return Template.of(settings.stages).form != "letter" and settings.generate.answer == "constrained"


def page(name: str) -> JinjaTemplate:
    """A template of this room, for plain text."""
    text = (resources.files("tinythinker") / "publish" / name).read_text(encoding="utf-8")
    made = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return made.from_string(text)


def _quoted(value: str | dict[str, str]) -> str:
    """A text, or texts by name, as Python writes them with double quotes."""
    return json.dumps(value, ensure_ascii=False)
