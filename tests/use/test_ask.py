from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from tests.conftest import TINY, tiny_of
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


@pytest.mark.parametrize("architecture", ["t5", "llama"])
def test_any_pretrained_folder_answers_with_an_option_and_says_that_it_is_untrained(
    architecture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = tiny_of(architecture)
    student.model.save_pretrained(tmp_path / "plain")
    student.tokenizer.save_pretrained(tmp_path / "plain")
    limits = "generate.max_recall_tokens generate.max_analysis_tokens generate.max_conclusion_tokens".split()
    chain = api.ask(tmp_path / "plain", "Where does rain go?", ["up", "down"])
    assert chain.answer in ("A", "B") and chain.conclusion in ("up", "down") and chain.recall is None
    assert "not trained by tinythinker" in capsys.readouterr().err
    scores = api.evaluate_untrained(
        tmp_path / "plain",
        "storeroom",
        "storeroom.test=12",
        "student.max_target_tokens=16",
        *(f"{key}=16" for key in limits),
    )
    assert list(scores) == ["cloze", "cloze_sum", "cloze_token", "letters"]
    assert all(score.n == 12 and score.unreadable == 0 for score in scores.values())


def test_an_untrained_student_can_be_probed_on_the_questions_of_a_run(run: RunDirectory, tmp_path: Path) -> None:
    student = tiny_of("llama")
    student.model.save_pretrained(tmp_path / "plain")
    student.tokenizer.save_pretrained(tmp_path / "plain")
    found = api.probe(tmp_path / "plain", run=run.root, questions=4)
    assert (found.student, found.n) == ("plain", 4)
    assert {effect.part for effect in found.effects} <= {"recall"}


def test_a_name_that_is_neither_here_nor_reachable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(StudentError, match="nobody/nothing: found it neither on this machine nor a network"):
        api.ask("nobody/nothing", "Where?", ["up", "down"])
