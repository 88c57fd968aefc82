from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from tests.conftest import TINY
from tinythinker import api
from tinythinker.core.errors import DataError, StudentError
from tinythinker.core.files import read_records
from tinythinker.core.records import Question
from tinythinker.core.run import RunDirectory
from tinythinker.stages.template import Template


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished tiny run."""
    started = api.start("storeroom", tmp_path_factory.mktemp("runs") / "run", *TINY)
    api.run(started)
    return started


def test_a_student_may_be_given_as_a_run_a_folder_or_loaded_once(run: RunDirectory) -> None:
    folder = run.round(2).student
    asked = [api.ask(student, "Where?", ["up", "down"]) for student in (run, run.root, folder, api.load(run))]
    assert all(chain == asked[0] for chain in asked)


def test_a_student_answers_the_three_prompts_in_plain_transformers_as_in_ask(run: RunDirectory) -> None:
    question = read_records(run.questions("test"), Question)[0]
    chain = api.ask(run, question.stem, [option.text for option in question.options])
    folder = run.round(2).student
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def write(prompt: str, tokens: int) -> str:
        output = model.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=tokens, do_sample=False)
        return str(tokenizer.decode(output[0], skip_special_tokens=True)).strip()

    template = Template("named")
    assert write(template.recall_prompt(question), 6) == chain.recall
    for label, analysis in zip(question.labels, chain.analyses, strict=True):
        assert write(template.analyze_prompt(question, chain.recall, label), 6) == analysis


def test_a_damaged_student_is_a_one_line_error(run: RunDirectory, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    shutil.copytree(run.round(2).student, folder)
    (folder / "model.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(StudentError, match="found nothing that loads"):
        api.ask(folder, "Where?", ["up", "down"])


@pytest.mark.parametrize(("question", "options"), [("", ["a", "b"]), ("q", ["a"]), ("q", ["a", ""]), ("q", ["a"] * 27)])
def test_a_question_that_cannot_be_asked_is_refused(run: RunDirectory, question: str, options: list[str]) -> None:
    with pytest.raises(DataError, match="found"):
        api.ask(run.root, question, options)
