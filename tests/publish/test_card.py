"""The model card: what it says is what the run holds, its code runs, and nothing private stands in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from transformers import Qwen3Config, Qwen3ForCausalLM

from tests.conftest import TINY
from tests.test_causal import byte_tokenizer
from tinythinker import api
from tinythinker.core.errors import SettingsError, StudentError
from tinythinker.core.files import read_records
from tinythinker.core.records import Question, Verdict
from tinythinker.core.run import RunDirectory
from tinythinker.core.seeds import seed_torch
from tinythinker.core.text import finished
from tinythinker.publish.card import _MADE_UP
from tinythinker.settings.resolve import validate
from tinythinker.stages.template import Template

SHORT = (*TINY, "reflect.rounds=0", "generate.answer=free", "train.max_steps=3", "train.validate_every=3")


def trained(folder: Path, *overrides: str) -> RunDirectory:
    """A run with a student that has learned little, and no verdicts."""
    run = api.start("storeroom", folder / "run", *SHORT, *overrides)
    api.teach(run)
    api.train(run)
    return run


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run of two rounds."""
    run = api.start("storeroom", tmp_path_factory.mktemp("runs") / "run", *TINY)
    api.run(run)
    return run


def card_of(run: RunDirectory, **said: str) -> str:
    return api.card(run, **said).read_text(encoding="utf-8")


def base(folder: Path, *, is_chat: bool) -> Path:
    """A causal model with random weights whose generation settings would change what it writes."""
    tokenizer = byte_tokenizer(is_chat=is_chat)
    seed_torch(0, "weights")
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    config = Qwen3Config(
        vocab_size=400, num_key_value_heads=2, head_dim=8, eos_token_id=tokenizer.eos_token_id, **shape
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config.update(repetition_penalty=1.5, do_sample=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "overrides",
    [
        lambda folder: (),
        lambda folder: ("stages.template=paper", "stages.plan=recall_summarize"),
        lambda folder: ("stages.plan=cot", "student.max_target_tokens=32"),
        lambda folder: ("student.family=causal",),
        lambda folder: ("student.init=pretrained", f"student.name={base(folder / 'base', is_chat=False)}"),
        lambda folder: (
            "student.init=pretrained",
            f"student.name={base(folder / 'base', is_chat=True)}",
            "student.chat_template=true",
        ),
        lambda folder: ("stages.template=cloze", "generate.answer=constrained"),
        lambda folder: ("student.family=causal", "stages.answer=named", "generate.answer=constrained"),
        lambda folder: (
            "student.init=pretrained",
            f"student.name={base(folder / 'base', is_chat=False)}",
            "generate.answer=constrained",
            "stages.plan=summarize",
        ),
        lambda folder: (
            "student.init=pretrained",
            f"student.name={base(folder / 'base', is_chat=True)}",
            "student.chat_template=true",
            "generate.answer=constrained",
        ),
    ],
    ids=[
        "t5",
        "t5 recall and answer",
        "t5 one text",
        "causal",
        "causal pretrained",
        "causal chat",
        "t5 cloze",
        "causal named",
        "causal pretrained cloze",
        "causal chat cloze",
    ],
)
def test_the_lines_of_the_card_answer_as_ask_does(
    overrides: Callable[[Path], tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path, *overrides(tmp_path), "student.max_prompt_tokens=600")
    (code,) = re.findall(r"```python\n(.*?)```", card_of(run), re.DOTALL)
    capsys.readouterr()
    exec(compile(code.replace('"OWNER/NAME"', repr(str(run.phase_1.student))), "card.py", "exec"), {})
    printed = capsys.readouterr().out

    question = read_records(run.questions("test"), Question)[0]
    chain = api.ask(run, question.stem, [option.text for option in question.options])
    settings = validate(run.manifest().settings)
    template = Template.of(settings.stages)
    if chain.reasoning is not None:
        wanted = f"{template.recall_prompt(question)} {finished(chain.reasoning)}"
    else:
        is_written = settings.generate.answer == "free"
        said = finished(chain.conclusion) if is_written else chain.conclusion
        wanted = f"{template.summarize_prompt(question, chain.recall, chain.analyses)} {said}"
    assert printed == wanted + "\n"


def test_results_stand_in_the_table_and_in_the_metadata_of_the_hub(tested: RunDirectory) -> None:
    text = card_of(tested, licence="mit", base_model="some/base")
    data: Any = ModelCard(text).data
    right = [verdict.is_correct for verdict in read_records(tested.verdicts("round-2.test.greedy"), Verdict)]
    share = sum(right) / len(right)
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("accuracy", share, "Storeroom")
    assert (data.license, data.base_model, data.library_name) == ("mit", "some/base", "transformers")
    assert f"| phase 2, round 2 | test | greedy | {100 * share:.1f}% |" in text
    assert "| phase 1 | test | greedy |" in text
    assert "| chance | test | | 33.3% |" in text  # three options each
    assert "24 to train, 6 to validate, 8 to test, each with 3 options" in text
    assert "generated by tinythinker (MIT)" in text


def test_a_voted_answer_is_named_in_words(tested: RunDirectory) -> None:
    api.evaluate(tested, "evaluate.votes=3")
    assert "| phase 1 | test | vote over 3 chains at temperature 0.7 |" in card_of(tested)


def test_the_card_holds_no_path_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, elsewhere = "planted-0123456789", "/srv/secret/notes.txt"
    monkeypatch.setenv("SOME_API_KEY", key)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    note = f"from {elsewhere}; ask with {key} or hf_0123456789abcdefghij; in {tmp_path}/home/mine"
    run = trained(
        tmp_path,
        f"teacher.licence={note!r}",
        "student.init=pretrained",
        f"student.name={base(tmp_path / 'base', is_chat=False)}",
    )
    text = card_of(run)
    for planted in (key, "hf_0123", "/srv", "notes.txt", str(tmp_path), str(run.root), "home/mine"):
        assert planted not in text
    assert "from [path]; ask with [key] or [key]; in [path]" in text
    assert "a pretrained model" in text


def test_questions_of_your_own_are_neither_shown_nor_named(tmp_path: Path) -> None:
    file = tmp_path / "private.jsonl"
    lines = [f'{{"question": "Secret {i}?", "options": ["up", "down"], "answer": {i % 2}}}\n' for i in range(30)]
    file.write_text("".join(lines))
    run = api.start(
        str(file), tmp_path / "run", *(o for o in SHORT if not o.startswith("storeroom")), "student.init=scratch",
        "student.max_prompt_tokens=64", "teacher.source=none", "stages.plan=summarize",
    )  # fmt: skip
    api.teach(run)
    api.train(run)
    text = card_of(run)
    assert "Secret" not in text
    assert "private" not in text
    assert _MADE_UP.stem in text
    assert "the student learned from labels alone" in text
    assert "The student has not been tested yet. Chance is 50.0%" in text


def test_a_base_model_that_cannot_be_a_name_on_the_hub_is_refused(tested: RunDirectory) -> None:
    with pytest.raises(SettingsError, match=r"base model: found './here', expected OWNER/NAME"):
        api.card(tested, base_model="./here")


def test_a_run_without_a_student_has_no_card(tmp_path: Path) -> None:
    run = api.start("storeroom", tmp_path / "run", *SHORT)
    api.teach(run)
    with pytest.raises(StudentError, match="found no student, expected one; run `tinythinker train"):
        api.card(run)
    assert not run.card.exists()
