"""What a run learned from, in files for other trainers: stage examples, preference pairs, chains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import JsonValue

from tinythinker.acquire.curriculum import curriculum_of
from tinythinker.core.errors import DataError
from tinythinker.core.files import iterate_records, read_json, whole_file, write_json
from tinythinker.core.formats import Json
from tinythinker.core.records import Chain, PreferencePair, Question, Record, Stage
from tinythinker.core.run import RunDirectory
from tinythinker.settings.resolve import validate
from tinythinker.settings.schema import RunSettings
from tinythinker.stages.template import Template
from tinythinker.teacher.taught import read_questions, read_taught

Kind = Literal["sft", "pairs", "chains"]
"""sft: the examples of phase 1; pairs: the preference pairs of all rounds; chains: what the student sampled in them."""
Form = Literal["trl", "llamafactory", "jsonl"]
"""For whom: TRL, LLaMA-Factory, or anybody (our own records, one per line)."""

DATASET_INFO = "dataset_info.json"
"""LLaMA-Factory's list of data sets, next to the files."""


class RoundPair(PreferencePair):
    """A preference pair, and the round that made it."""

    round: int


class RoundChain(Chain):
    """A sampled chain with its question, and the round that drew it."""

    round: int
    stage: Stage
    """The stage that was sampled; the others were greedy."""
    question: str
    options: dict[str, str]
    """Texts by label."""
    gold: str | None
    is_correct: bool


class TrainerLine(NamedTuple):
    """One line for a trainer: what the model reads, and what it should write or leave."""

    prompt: str
    completion: str
    rejected: str | None = None
    """The other text of a pair; None if there is none."""
    is_right: bool | None = None
    """Did a chain reach the right answer? None for texts that are right by definition."""


Given = tuple[Record, TrainerLine]
"""What we keep, and what a trainer needs of it."""


def export(run: RunDirectory, kind: Kind, form: Form = "trl", out: Path | None = None) -> Path:
    """Write what a run learned from for another trainer; lines that say the same are written once.

    Args:
        out: the folder; None takes `exports/FORM` in the run directory.

    Returns:
        The file: `sft.jsonl`, `pairs.jsonl` or `chains.jsonl`.

    Raises:
        DataError: the directory is no run, a file is damaged, or there is nothing of that kind yet.
    """
    settings = validate(run.manifest().settings)
    folder = run.exports / form if out is None else out
    file = folder / f"{kind}.jsonl"
    lines = _lines(_KINDS[kind](run, settings), settings, form)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{run.root}: found no {_NAMES[kind]}, expected some; {_REMEDIES[kind]}")
    with whole_file(file) as appender:
        for line in chain([first], lines):
            appender.add(line)
    if form == "llamafactory":
        _describe(folder / DATASET_INFO, kind)
    return file


def _lines(given: Iterator[Given], settings: RunSettings, form: Form) -> Iterator[Json]:
    if form == "jsonl":
        yield from (record.model_dump(mode="json") for record, _ in given)
        return
    write = _for_trl if form == "trl" else _for_llamafactory
    for line in dict.fromkeys(line for _, line in given):
        yield write(line, is_chat=settings.student.chat_template)


def _for_trl(line: TrainerLine, *, is_chat: bool) -> Json:
    """Types `prompt-completion`, `preference` and `unpaired preference` of TRL's documentation."""

    def read(text: str) -> JsonValue:
        return [{"role": "user", "content": text}] if is_chat else text

    def written(text: str) -> JsonValue:
        return [{"role": "assistant", "content": text}] if is_chat else f" {text}"

    if line.rejected is not None:
        return {"prompt": read(line.prompt), "chosen": written(line.completion), "rejected": written(line.rejected)}
    told: Json = {"prompt": read(line.prompt), "completion": written(line.completion)}
    return told if line.is_right is None else {**told, "label": line.is_right}


def _for_llamafactory(line: TrainerLine, *, is_chat: bool) -> Json:
    """The format that LLaMA-Factory calls alpaca."""
    space = "" if is_chat else " "
    asked: Json = {"instruction": line.prompt, "input": ""}
    if line.rejected is not None:
        return {**asked, "chosen": space + line.completion, "rejected": space + line.rejected}
    told: Json = {**asked, "output": space + line.completion}
    return told if line.is_right is None else {**told, "kto_tag": line.is_right}


_COLUMNS: Mapping[Kind, Json] = {
    "sft": {"response": "output"},
    "pairs": {"chosen": "chosen", "rejected": "rejected"},
    "chains": {"response": "output", "kto_tag": "kto_tag"},
}


def _describe(file: Path, kind: Kind) -> None:
    """Enter the exported file into the folder's `dataset_info.json`; other entries stay."""
    entry: Json = {
        "file_name": f"{kind}.jsonl",
        "columns": {"prompt": "instruction", "query": "input", **_COLUMNS[kind]},
    }
    if kind == "pairs":
        entry["ranking"] = True
    known = read_json(file) if file.exists() else {}
    write_json(file, {**known, f"tinythinker_{kind}": entry})


def _examples(run: RunDirectory, settings: RunSettings) -> Iterator[Given]:
    """The stage examples of phase 1 in data order, with the options in the questions' own order."""
    plain = settings.stages.model_copy(update={"permute_options": False})
    questions = read_questions(run, "train")
    curriculum = curriculum_of(settings.model_copy(update={"stages": plain}), questions, read_taught(run, questions))
    for example in curriculum.examples(0):
        yield example, TrainerLine(example.prompt, example.target)


def _pairs(run: RunDirectory, settings: RunSettings) -> Iterator[Given]:
    for number in run.begun_rounds():
        file = run.round(number).pairs
        if file.exists():
            run.refuse_damage(file)
            for pair in iterate_records(file, PreferencePair):
                yield RoundPair(**pair.model_dump(), round=number), TrainerLine(pair.prompt, pair.chosen, pair.rejected)


def _chains(run: RunDirectory, settings: RunSettings) -> Iterator[Given]:
    template = Template.of(settings.stages)
    questions = {question.id: question for question in read_questions(run, "train")}
    for number in run.begun_rounds():
        folder = run.round(number)
        files = {folder.chains: Stage.RECALL, folder.more_chains: Stage.RECALL, folder.analyze_chains: Stage.ANALYZE}
        for file, stage in files.items():
            for drawn in iterate_records(file, Chain, is_growing=True) if file.exists() else ():
                question = questions.get(drawn.question_id)
                if question is None:
                    found, wanted = f"a chain on question {drawn.question_id!r}", "chains on training questions"
                    raise DataError(f"{file}: found {found}, expected {wanted}; restore the file")
                made = _with_question(drawn, question, number, stage)
                yield made, TrainerLine(*template.told(question, drawn), is_right=made.is_correct)


def _with_question(drawn: Chain, question: Question, number: int, stage: Stage) -> RoundChain:
    return RoundChain(
        **drawn.model_dump(),
        round=number,
        stage=stage,
        question=question.stem,
        options={option.label: option.text for option in question.options},
        gold=question.gold,
        is_correct=drawn.answer == question.gold,
    )


_KINDS: Mapping[Kind, Callable[[RunDirectory, RunSettings], Iterator[Given]]] = {
    "sft": _examples,
    "pairs": _pairs,
    "chains": _chains,
}
_NAMES: Mapping[Kind, str] = {"sft": "stage examples", "pairs": "preference pairs", "chains": "sampled chains"}
_REMEDIES: Mapping[Kind, str] = {
    "sft": "the teacher gave nothing to learn from",
    "pairs": "`tinythinker reflect` makes them",
    "chains": "`tinythinker reflect` samples them",
}
