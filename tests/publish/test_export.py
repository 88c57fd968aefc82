"""Exports: TRL tokenizes them to what our student trains on, and LLaMA-Factory's documented shape."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.publish.test_card import SHORT, base
from tinythinker import api
from tinythinker.core.errors import DataError
from tinythinker.core.files import read_records
from tinythinker.core.records import Chain, PreferencePair, Question
from tinythinker.core.run import RunDirectory
from tinythinker.stages.template import Template
from tinythinker.student.encode import prompt_ids, target_ids
from tinythinker.student.load import load_student
from tinythinker.student.student import Student


def reflected(folder: Path, *, is_chat: bool) -> RunDirectory:
    """A run of a causal student with one round. What it samples is noise, so pairs are given."""
    pairs = [PreferencePair(question_id="q", stage="recall", prompt=f"{i}?\nRecall:", chosen="rain", rejected="sun")
             for i in range(4)]  # fmt: skip
    file = folder / "given.jsonl"
    file.write_text("".join(pair.model_dump_json() + "\n" for pair in pairs))
    run = api.start(
        "storeroom", folder / "run", *SHORT, "student.init=pretrained", "student.max_prompt_tokens=600",
        f"student.name={base(folder / 'base', is_chat=is_chat)}", f"student.chat_template={str(is_chat).lower()}",
    )  # fmt: skip
    api.teach(run)
    api.train(run)
    api.reflect(run, "reflect.rounds=1", f"reflect.pairs={file}", "reflect.stages=[recall]")
    return run


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "chat"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return reflected(tmp_path_factory.mktemp("runs"), is_chat=request.param)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with chains of a T5 student's own."""
    run = api.start("storeroom", tmp_path_factory.mktemp("runs") / "run", *SHORT, "generate.answer=constrained")
    api.teach(run)
    api.train(run)
    api.reflect(run, "reflect.rounds=1")
    return run


def lines_of(run: RunDirectory, kind: Literal["sft", "pairs", "chains"], form: Literal["trl", "llamafactory", "jsonl"],
             folder: Path | None = None) -> list[Any]:  # fmt: skip
    return [json.loads(line) for line in api.export(run, kind, form, folder).read_text().splitlines()]


def tokenized_by_trl(trainer: str, student: Student, file: Path, folder: Path) -> Any:
    """The data set that a trainer of TRL makes of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import trl
        from datasets import disable_progress_bars, load_dataset

        disable_progress_bars()
        config = getattr(trl, f"{trainer}Config")(
            output_dir=str(folder), report_to="none", use_cpu=True, bf16=False, max_length=None
        )
        return getattr(trl, f"{trainer}Trainer")(
            model=student.model,
            args=config,
            train_dataset=load_dataset("json", data_files=str(file), split="train", cache_dir=str(folder / "cache")),
            processing_class=student.tokenizer,
        ).train_dataset


@pytest.mark.filterwarnings("ignore")
def test_trl_trains_on_the_tokens_that_our_student_trains_on(run: RunDirectory, tmp_path: Path) -> None:
    student = load_student(run.phase_1.student)
    made = tokenized_by_trl("SFT", student, api.export(run, "sft", "trl"), tmp_path)
    ours = lines_of(run, "sft", "jsonl")
    assert len(made) == len(ours) > 24
    for theirs, example in zip(made, ours, strict=True):
        prompt = prompt_ids(student, [example["prompt"]]).ids[0]
        target = target_ids(student, [example["target"]]).ids[0]
        # A chat template may write a line end after the turn, which TRL learns too.
        assert theirs["input_ids"][: len(prompt) + len(target)] == [*prompt, *target]
        assert theirs["labels"][: len(prompt) + len(target)] == [*[-100] * len(prompt), *target]


@pytest.mark.filterwarnings("ignore")
def test_trl_reads_pairs_as_preferences(run: RunDirectory, tmp_path: Path) -> None:
    student = load_student(run.phase_1.student)
    made = tokenized_by_trl("DPO", student, api.export(run, "pairs", "trl"), tmp_path)
    assert len(made) == 4
    for number, theirs in enumerate(made):
        assert theirs["prompt_ids"] == prompt_ids(student, [f"{number}?\nRecall:"]).ids[0]
        for side, text in (("chosen", "rain"), ("rejected", "sun")):
            target = target_ids(student, [text]).ids[0]
            assert theirs[f"{side}_ids"][: len(target)] == target


@pytest.mark.filterwarnings("ignore")
def test_trl_reads_chains_as_texts_that_are_right_or_wrong(
    run: RunDirectory, sampled: RunDirectory, tmp_path: Path
) -> None:
    # TRL's trainers take causal models alone; the texts may be anybody's.
    student = load_student(run.phase_1.student)
    made = tokenized_by_trl("KTO", student, api.export(sampled, "chains", "trl"), tmp_path)
    said = lines_of(sampled, "chains", "trl")
    assert [theirs["label"] for theirs in made] == [line["label"] for line in said]
    assert {line["label"] for line in said} == {True, False}
    completion = student.tokenizer(said[0]["completion"], add_special_tokens=False)["input_ids"]
    assert made[0]["completion_ids"][: len(completion)] == completion


def test_chains_are_all_there_with_question_and_verdict(sampled: RunDirectory) -> None:
    drawn = read_records(sampled.round(1).chains, Chain)
    first, said = drawn[0], lines_of(sampled, "chains", "jsonl")
    question = next(q for q in read_records(sampled.questions("train"), Question) if q.id == first.question_id)
    told = {"question": question.stem, "gold": question.gold, "is_correct": first.answer == question.gold}
    assert len(said) >= len(drawn)
    assert said[0] == first.model_dump(mode="json") | told | {
        "round": 1,
        "stage": "recall",
        "options": {option.label: option.text for option in question.options},
    }
    asked, written = Template("named").told(question, first)
    assert lines_of(sampled, "chains", "trl")[0] == {
        "prompt": asked,
        "completion": f" {written}",
        "label": told["is_correct"],
    }


def test_equal_lines_are_written_once(sampled: RunDirectory) -> None:
    texts = [json.dumps(line) for line in lines_of(sampled, "chains", "trl")]
    assert len(texts) == len(set(texts)) <= len(lines_of(sampled, "chains", "jsonl"))


def test_llamafactory_finds_all_kinds_in_one_folder(run: RunDirectory, tmp_path: Path) -> None:
    # The shapes that its data/README.md documents for `alpaca`: sft, ranking, kto.
    sft, pairs = lines_of(run, "sft", "llamafactory", tmp_path), lines_of(run, "pairs", "llamafactory", tmp_path)
    space = "" if run.manifest().settings["student"]["chat_template"] else " "  # type: ignore[index, call-overload]
    assert set(sft[0]) == {"instruction", "input", "output"}
    assert pairs[0] == {"instruction": "0?\nRecall:", "input": "", "chosen": f"{space}rain", "rejected": f"{space}sun"}
    described = json.loads((tmp_path / "dataset_info.json").read_text())
    assert described == {
        "tinythinker_sft": {
            "file_name": "sft.jsonl",
            "columns": {"prompt": "instruction", "query": "input", "response": "output"},
        },
        "tinythinker_pairs": {
            "file_name": "pairs.jsonl",
            "ranking": True,
            "columns": {"prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected"},
        },
    }
    for name, entry in described.items():
        line = json.loads((tmp_path / entry["file_name"]).read_text().splitlines()[0])
        assert set(entry["columns"].values()) == set(line), name


def test_llamafactory_gets_chains_with_the_tag_of_kto(sampled: RunDirectory, tmp_path: Path) -> None:
    chains = lines_of(sampled, "chains", "llamafactory", tmp_path)
    assert {type(line["kto_tag"]) for line in chains} == {bool}
    assert (
        json.loads((tmp_path / "dataset_info.json").read_text())["tinythinker_chains"]["columns"]["kto_tag"]
        == "kto_tag"
    )


def test_what_is_not_there_yet_is_named(tmp_path: Path) -> None:
    run = api.start("storeroom", tmp_path / "run", *SHORT)
    api.teach(run)
    for kind, said in (("pairs", "preference pairs"), ("chains", "sampled chains")):
        with pytest.raises(DataError, match=rf"found no {said}, expected some; `tinythinker reflect`"):
            api.export(run, kind)  # type: ignore[arg-type]
    assert not run.exports.exists()
