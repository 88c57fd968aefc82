"""How long prompts are for a student that is not there yet: with its vocabulary if that is at hand, without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tinythinker.core.errors import StudentError, first_line
from tinythinker.core.formats import parse_received
from tinythinker.core.records import Question
from tinythinker.settings.families import file_of
from tinythinker.settings.schema import RunSettings
from tinythinker.stages.template import Template
from tinythinker.tasks.tables.findings import Longest

Encode = Callable[[str], tuple[int, int]]
"""A text to the number of its tokens, and of those that the vocabulary does not have."""


def longest_prompt(settings: RunSettings) -> Callable[[Sequence[Question]], Longest]:
    """Finds the longest prompt among questions, before any reasoning stands in it.

    It counts tokens if the student's vocabulary is on this machine, characters otherwise. Raises StudentError if a
    vocabulary file cannot be read.
    """
    return partial(_longest, encode=_vocabulary(settings), template=Template.of(settings.stages))


def _longest(questions: Sequence[Question], *, encode: Encode | None, template: Template) -> Longest:
    prompts = [template.summarize_prompt(question, None, ()) for question in questions]
    counts = [(len(prompt), 0) if encode is None else encode(prompt) for prompt in prompts]
    at = max(range(len(counts)), key=lambda i: counts[i][0])
    unknown = [question.id for question, (_, count) in zip(questions, counts, strict=True) if count]
    return Longest(
        question_id=questions[at].id,
        length=counts[at][0],
        unit="characters" if encode is None else "tokens",
        count_unknown=None if encode is None else sum(count for _, count in counts),
        first_unknown=unknown[0] if unknown else None,
    )


def _vocabulary(settings: RunSettings) -> Encode | None:
    """The student's vocabulary; None if it is elsewhere, or will only be made from the questions."""
    student = settings.student
    if student.init == "scratch":
        return None if student.sentencepiece is None else _sentencepiece(student.sentencepiece)
    for name, read in (("tokenizer.json", _tokenizer), ("spiece.model", _sentencepiece)):
        if (file := file_of(student.name, name)) is not None:
            return read(file)
    return None


def _sentencepiece(file: Path) -> Encode:
    from sentencepiece import SentencePieceProcessor

    try:
        processor = SentencePieceProcessor(model_file=str(file))
    except (OSError, RuntimeError) as error:
        raise StudentError(f"{file}: found no SentencePiece vocabulary ({first_line(error)}), expected one") from None

    def encode(text: str) -> tuple[int, int]:
        ids = processor.encode(text)
        return len(ids) + 1, ids.count(processor.unk_id())  # and the end of the text

    return encode


def _tokenizer(file: Path) -> Encode | None:
    from tokenizers import Tokenizer

    try:
        text = file.read_text(encoding="utf-8")
        model, tokenizer = parse_received(text), Tokenizer.from_str(text)
    except Exception as error:  # noqa: BLE001 (the library raises nothing more special)
        raise StudentError(f"{file}: found no tokenizer ({first_line(error)}), expected one") from None
    inner = model.get("model") if isinstance(model, dict) else None
    name, number = (inner.get("unk_token"), inner.get("unk_id")) if isinstance(inner, dict) else (None, None)
    unknown = tokenizer.token_to_id(name) if isinstance(name, str) else number

    def encode(text: str) -> tuple[int, int]:
        ids = tokenizer.encode(text).ids
        return len(ids), ids.count(unknown) if isinstance(unknown, int) else 0

    return encode
