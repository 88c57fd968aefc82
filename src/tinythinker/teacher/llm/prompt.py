"""What the teacher is asked: an instruction, worked examples, the question. Sole owner of that wording."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.files import describe, read_text
from tinythinker.core.records import LABELS, Option, Question, Rationale
from tinythinker.core.seeds import stream
from tinythinker.settings.schema import RunSettings, TeacherSettings
from tinythinker.teacher.llm.parse import (
    json_schema,
    parse_completion,
    parse_structured,
    render_completion,
    render_structured,
)

Message = dict[str, str]
_OURS = frozenset("model messages n stream temperature max_tokens max_completion_tokens response_format".split())
"""Fields of the request body that settings decide."""

_FORMAT = (
    "Write exactly these lines and nothing else: first\n"
    "Key Information: <one or two sentences of general knowledge that do not mention the options>\n"
    "and then one line for every option, in order:\n"
    "<label> is correct. Because <one sentence>\n"
    "or\n"
    "<label> is incorrect. Because <one sentence>\n"
)
_STRUCTURE = (
    'Answer with one JSON object and nothing else: "key_information" holds one or two sentences of general knowledge '
    'that do not mention the options, "options" holds for every option, in order, its label as "option", its '
    '"verdict", and one sentence as "because".\n'
)
_ONE = "Exactly one option is correct."
_SHOWN = f"{_ONE} The answer is given with the question: explain it, and never say that it was given."
_HIDDEN = f"{_ONE} Find it from the knowledge."


class _File(BaseModel):
    """Base of what a prompt file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(_File):
    """A worked example: a question as it is asked, and the completion wanted."""

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
        """The question, and the rationale to show for it. Raises ValidationError, ValueError if they do not fit."""
        options = tuple(Option(label=label, text=text) for label, text in zip(LABELS, self.options, strict=False))
        question = Question(id="example", stem=self.question, options=options, gold=self.answer)
        if len(self.analyses) != len(options):
            raise ValueError(expected("analyses", len(self.analyses), f"{len(options)}, one per option"))
        return question, Rationale(question_id="example", recall=self.recall, analyses=self.analyses)


class PromptFile(_File):
    """An instruction with worked examples, as one YAML file holds them."""

    instruction: str = Field(min_length=1)
    examples: tuple[Example, ...] = ()
    request: dict[str, Any] = Field(default_factory=dict)
    """More fields of the request body, for this teacher: `{reasoning_effort: low}`."""

    @field_validator("request")
    @classmethod
    def _leaves_ours_alone(cls, request: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(_OURS & request.keys()):
            raise ValueError(f"found {taken}, expected other fields: these have settings of their own")
        try:
            json.dumps(request, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"found {request}, expected what JSON can hold ({error})") from None
        return request


@dataclass(frozen=True)
class Prompt:
    """Everything about the requests that is the same for all questions."""

    system: str
    show_gold: bool
    structured: bool
    model: str
    temperature: float | None
    extra: Mapping[str, Any]
    sentence_length: int = 120
    """Mean characters of a recall or an analysis in the worked examples."""

    def messages(self, question: Question) -> list[Message]:
        """What is sent for a question."""
        user = ask_text(question, show_gold=self.show_gold)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": user}]

    def body(self, question: Question) -> dict[str, Any]:
        """The request body, but for the number of completions and of their tokens."""
        body: dict[str, Any] = {"model": self.model, "messages": self.messages(question)}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.structured:
            schema = {"name": "rationale", "strict": True, "schema": json_schema(question.labels)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {**body, **self.extra}

    def key(self, question: Question) -> str:
        """Names all that decides what may be answered; a completion serves only where it was asked for so."""
        return _digest([question.id, self.body(question)])

    @property
    def hash(self) -> str:
        """Names the prompt as far as it is the same for all questions."""
        return _digest([self.system, self.show_gold, self.structured, self.model, self.temperature, dict(self.extra)])

    @property
    def parse(self) -> Any:
        """The reader of this prompt's completions: `parse_completion` or `parse_structured`."""
        return parse_structured if self.structured else parse_completion


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def ask_text(question: Question, *, show_gold: bool) -> str:
    """A question as the teacher reads it, with the answer where it may be seen (METHOD section 2)."""
    lines = [f"Question: {question.stem}", *(f"{option.label}. {option.text}" for option in question.options)]
    return "\n".join([*lines, f"Answer: {question.gold}"] if show_gold else lines)


def make_prompt(settings: RunSettings, questions: Sequence[Question]) -> Prompt:
    """The prompt of a run: its instruction, a seeded draw of worked examples, the form to answer in.

    Raises:
        SettingsError: no model is named, or the prompt file is wrong.
        DataError: the prompt file cannot be read.
    """
    teacher = settings.teacher
    if teacher.model is None:
        raise SettingsError(expected("teacher.model for teacher.source=openai", None, "the name of a model"))
    name, text = _prompt_text(teacher, settings.task, questions)
    file = _read(name, text)
    shown = stream(settings.seed, "worked examples").permutation(len(file.examples))[: teacher.examples]
    render = render_structured if teacher.structured else render_completion
    examples = []
    for i in shown:
        try:
            question, rationale = file.examples[i].parts()
        except ValueError as error:
            reason = describe(error) if isinstance(error, ValidationError) else str(error)
            raise SettingsError(f"{name}: example {i + 1}: {reason}") from None
        examples.append(f"{ask_text(question, show_gold=teacher.show_gold)}\n\n{render(question, rationale)}")
    parts = [
        " ".join(file.instruction.split()),
        _SHOWN if teacher.show_gold else _HIDDEN,
        (_STRUCTURE if teacher.structured else _FORMAT).strip(),
        *(f"Example {number}\n\n{example}" for number, example in enumerate(examples, start=1)),
    ]
    return Prompt(
        system="\n\n".join(parts),
        show_gold=teacher.show_gold,
        structured=teacher.structured,
        model=teacher.model,
        temperature=teacher.temperature,
        extra=file.request,
        **_sentence_length(file.examples),
    )


def _sentence_length(examples: Sequence[Example]) -> dict[str, int]:
    lengths = [len(text) for example in examples for text in (example.recall, *example.analyses)]
    return {"sentence_length": round(sum(lengths) / len(lengths))} if lengths else {}


def family(task: str, questions: Sequence[Question]) -> str:
    """Which instruction and examples suit a task: `commonsense`, `science` or `yes_no`."""
    known = {"csqa": "commonsense", "obqa": "science", "strategyqa": "yes_no"}
    if task in known:
        return known[task]
    texts = {tuple(option.text.strip().lower().rstrip(".") for option in question.options) for question in questions}
    return "yes_no" if texts and texts <= {("yes", "no"), ("no", "yes"), ("true", "false")} else "commonsense"


def _prompt_text(teacher: TeacherSettings, task: str, questions: Sequence[Question]) -> tuple[str, str]:
    if teacher.prompt is not None:
        return f"teacher.prompt {teacher.prompt}", read_text(Path(teacher.prompt))
    name = family(task, questions)
    file = resources.files("tinythinker") / "teacher" / "llm" / "prompts" / f"{name}.yaml"
    return f"prompt {name}", file.read_text(encoding="utf-8")


def _read(name: str, text: str) -> PromptFile:
    try:
        value = yaml.safe_load(text)
        if not isinstance(value, dict):
            raise SettingsError(expected(name, value, "instruction: and, if wanted, examples: and request:"))
        return PromptFile.model_validate(value)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise SettingsError(f"{name}{line}: found malformed YAML, expected instruction and examples") from None
    except ValidationError as error:
        raise SettingsError(f"{name}: {describe(error)}") from None
