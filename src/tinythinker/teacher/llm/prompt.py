"""What the teacher is asked: an instruction, worked examples, the question. Sole owner of the wording."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.files import describe, read_text
from tinythinker.core.formats import MOST_YAML_BYTES, Json, yaml_mapping
from tinythinker.core.masking import hidden, hidden_everywhere
from tinythinker.core.records import LABELS, Option, Question, Rationale, Rejected
from tinythinker.core.seeds import stream
from tinythinker.settings.schema import LlmSettings, RequestFields, RunSettings
from tinythinker.tasks.registry import benchmark_of
from tinythinker.teacher.llm.parse import (
    json_schema,
    parse_completion,
    parse_structured,
    render_completion,
    render_structured,
)

Message = dict[str, str]

_KNOWLEDGE = "Key Information: <one or two sentences of general knowledge that do not mention the options>\n"
_FORMAT = (
    "Write only lines of this form. The knowledge comes on top, and every option has one line, in order:\n\n"
    f"{_KNOWLEDGE}"
)
_FORMAT_1 = (
    f"Write exactly these lines and nothing else: first\n{_KNOWLEDGE}and then one line for every option, in order:\n"
    "<label> is correct. Because <one sentence>\nor\n<label> is incorrect. Because <one sentence>\n"
)
_MOST_SHOWN = 3
"""Options in the form: enough to show that one is correct and the others are not."""
_STRUCTURE = (
    'Answer with one JSON object and nothing else: "key_information" holds one or two sentences of general knowledge '
    'that do not mention the options, "options" holds for every option, in order, its label as "option", its '
    '"verdict", and one sentence as "because".\n'
)
WORDINGS = (2, 1)
"""Versions of the wording, newest first: the text of the format and the place of the worked examples.

Answers are paid for under a hash of what was asked, so a run that was begun with an older wording keeps it. Version 1,
until November 2026: the examples stand in the system message.
"""
_ONE = "Exactly one option is correct."
_SHOWN = f"{_ONE} The answer is given with the question: explain it, and never say that it was given."
_HIDDEN = f"{_ONE} Find it from the knowledge."


class _File(BaseModel):
    """Base of the parts of a prompt file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(_File):
    """A worked example: a question, and the completion we want for it."""

    question: str = Field(min_length=1)
    options: tuple[str, ...] = Field(min_length=2, max_length=len(LABELS))
    answer: str
    """Label of the right option."""
    recall: str = Field(min_length=1)
    analyses: tuple[str, ...]

    @field_validator("options", mode="before")
    @classmethod
    def _are_texts(cls, options: object) -> object:
        if isinstance(options, list) and any(isinstance(option, bool) for option in options):
            raise ValueError(f'found {options}, expected texts; in YAML, "yes" and "no" need their quotes')
        return options

    def parts(self) -> tuple[Question, Rationale]:
        """The question and the rationale to show for it. Raises ValidationError, ValueError on a mismatch."""
        options = tuple(Option(label=label, text=text) for label, text in zip(LABELS, self.options, strict=False))
        question = Question(id="example", stem=self.question, options=options, gold=self.answer)
        if len(self.analyses) != len(options):
            raise ValueError(expected("analyses", len(self.analyses), f"{len(options)}, one per option"))
        return question, Rationale(question_id="example", recall=self.recall, analyses=self.analyses)


class PromptFile(_File):
    """The contents of one YAML prompt file: an instruction with worked examples."""

    instruction: str = Field(min_length=1)
    examples: tuple[Example, ...] = ()
    request: RequestFields = Field(default_factory=dict)
    """Extra fields of the request body for this teacher: `{reasoning_effort: low}`."""


@dataclass(frozen=True)
class Prompt:
    """Everything about the requests that is the same for all questions."""

    system: str
    show_gold: bool
    structured: bool
    model: str
    temperature: float | None
    extra: Mapping[str, JsonValue]
    sentence_length: int = 120
    """Mean characters of a recall or an analysis in the worked examples."""
    turns: tuple[tuple[str, str], ...] = ()
    """Worked examples as turns of the chat before the question: what is asked, and what we want to hear."""

    def messages(self, question: Question) -> list[Message]:
        """The chat messages sent for a question."""
        shown = [text for turn in self.turns for text in turn]
        talk = [*shown, ask_text(question, show_gold=self.show_gold)]
        return [
            {"role": "system", "content": self.system},
            *({"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(talk)),
        ]

    def body(self, question: Question) -> Json:
        """The request body, without the number of completions and their token limit."""
        messages: list[JsonValue] = [dict(message) for message in self.messages(question)]
        body: Json = {"model": self.model, "messages": messages}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.structured:
            schema: Json = {"name": "rationale", "strict": True, "schema": json_schema(question.labels)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {**body, **self.extra}

    def key(self, question: Question) -> str:
        """Hash of everything that shapes an answer; a completion counts only if requested under this key."""
        return _digest([question.id, self.body(question)])

    @property
    def hash(self) -> str:
        """Hash of the part of the prompt that is the same for all questions."""
        same = [self.system, self.show_gold, self.structured, self.model, self.temperature, dict(self.extra)]
        return _digest([*same, self.turns] if self.turns else same)

    @property
    def parse(self) -> Callable[[str, Question], Rationale | Rejected]:
        """The parser of this prompt's completions: `parse_completion` or `parse_structured`."""
        return parse_structured if self.structured else parse_completion


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def ask_text(question: Question, *, show_gold: bool) -> str:
    """A question as the teacher reads it, with the answer if `show_gold` (METHOD section 2)."""
    lines = [f"Question: {question.stem}", *(f"{option.label}. {option.text}" for option in question.options)]
    return "\n".join([*lines, f"Answer: {question.gold}"] if show_gold else lines)


def llm_of(settings: RunSettings) -> LlmSettings:
    """The settings of the language model. Raises SettingsError where the teacher is none."""
    if settings.teacher.llm is None:
        wanted = "openai, the only source that answers requests"
        raise SettingsError(expected("teacher.source", settings.teacher.source, wanted))
    return settings.teacher.llm


def make_prompt(settings: RunSettings, questions: Sequence[Question], wording: int = WORDINGS[0]) -> Prompt:
    """The prompt of a run: its instruction, a seeded draw of worked examples, the answer format.

    Args:
        wording: one of `WORDINGS`.

    Raises:
        SettingsError: the settings name no language model, or the prompt file is wrong.
        DataError: the prompt file cannot be read.
    """
    llm = llm_of(settings)
    name, text = _prompt_text(llm, settings.task, questions)
    file = _read(name, text)
    shown = stream(settings.seed, "worked examples").permutation(len(file.examples))[: llm.examples]
    render = render_structured if llm.structured else render_completion
    examples = []
    for i in shown:
        try:
            question, rationale = file.examples[i].parts()
        except ValueError as error:
            reason = describe(error) if isinstance(error, ValidationError) else str(error)
            raise SettingsError(f"{name}: example {i + 1}: {reason}") from None
        examples.append((ask_text(question, show_gold=llm.show_gold), render(question, rationale)))
    is_old = wording == 1
    in_system = [f"Example {i}\n\n{asked}\n\n{said}" for i, (asked, said) in enumerate(examples, start=1)]
    parts = [
        " ".join(file.instruction.split()),
        _SHOWN if llm.show_gold else _HIDDEN,
        (_STRUCTURE if llm.structured else _FORMAT_1 if is_old else _form(questions)).strip(),
        *(in_system if is_old else ()),
    ]
    return Prompt(
        system="\n\n".join(parts),
        show_gold=llm.show_gold,
        structured=llm.structured,
        model=llm.model,
        temperature=llm.temperature,
        extra=_more_fields(file.request, llm),
        turns=() if is_old else tuple(examples),
        **_sentence_length(file.examples),
    )


def _form(questions: Sequence[Question]) -> str:
    """The form of a completion, with no more options than every question has."""
    counts = [len(question.options) for question in questions] or [2]
    shown = LABELS[: min(_MOST_SHOWN, *counts)]
    verdicts = ("correct" if label == "B" else "incorrect" for label in shown)
    lines = [f"{label} is {verdict}. Because <one sentence>" for label, verdict in zip(shown, verdicts, strict=True)]
    return _FORMAT + "\n".join([*lines, *(["..."] if max(counts) > len(shown) else [])])


def _more_fields(of_file: Json, llm: LlmSettings) -> Json:
    """The extra fields of a request, from the prompt file and the settings. Raises SettingsError if one is the key."""
    fields = {name: value for name, value in {**of_file, **llm.request}.items() if llm.request.get(name, 0) is not None}
    if hidden_everywhere(fields, hidden(os.environ.get(llm.key_env, "").strip())) != fields:
        raise SettingsError(
            f"setting teacher.llm.request: found the key of {llm.key_env} in it (not shown), expected none: it is sent "
            "with every request anyway"
        )
    return fields


def _sentence_length(examples: Sequence[Example]) -> dict[str, int]:
    lengths = [len(text) for example in examples for text in (example.recall, *example.analyses)]
    return {"sentence_length": round(sum(lengths) / len(lengths))} if lengths else {}


def _prompt_text(llm: LlmSettings, task: str, questions: Sequence[Question]) -> tuple[str, str]:
    if llm.prompt is not None:
        return f"teacher.llm.prompt {llm.prompt}", read_text(Path(llm.prompt), most_bytes=MOST_YAML_BYTES)
    name = benchmark_of(task).prompt_family(questions)
    file = resources.files("tinythinker") / "teacher" / "llm" / "prompts" / f"{name}.yaml"
    return f"prompt {name}", file.read_text(encoding="utf-8")


def _read(name: str, text: str) -> PromptFile:
    try:
        return PromptFile.model_validate(yaml_mapping(text, name, "instruction and, optionally, examples and request"))
    except ValidationError as error:
        raise SettingsError(f"{name}: {describe(error)}") from None
