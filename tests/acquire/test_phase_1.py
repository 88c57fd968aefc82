from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tinythinker import api
from tinythinker.core.files import read_record
from tinythinker.core.metrics import TrainingData
from tinythinker.core.run import RunDirectory

ODD = {"question": "Which is an empty set in this notation?", "options": ["{}", "<>", "~", "\\0"], "answer": "A"}
EQUAL = {"question": "Which is an average?", "options": ["mean", "mode", "range", "mode"], "answer": "A"}


def trained(folder: Path, row: Mapping[str, object], *overrides: str) -> RunDirectory:
    """A run of one step on questions that are all alike."""
    file = folder / "mine.jsonl"
    file.write_text("".join(json.dumps({**row, "id": f"q{i}"}) + "\n" for i in range(6)))
    words = ("teacher.source=none", "stages.plan=summarize", "reflect.rounds=0", "student.init=scratch")
    run = api.start(str(file), folder / "run", *words, "train.max_steps=1", *overrides, for_run=True)
    api.teach(run)
    api.train(run)
    return run


def test_questions_with_equal_options_are_counted_and_named_in_the_report(tmp_path: Path) -> None:
    run = trained(tmp_path, EQUAL)
    data = read_record(run.phase_1.data, TrainingData)
    assert (data.equal_options, data.unknown_tokens, data.first_unknown) == (4, 0, None)
    assert data.first_equal_options is not None
    assert f"options of the same text: 4 (first: {data.first_equal_options})" in api.report(run).read_text()


@pytest.mark.data
def test_tokens_that_the_students_vocabulary_lacks_are_counted_and_named_in_the_report(
    tmp_path: Path, data_dir: Path
) -> None:
    run = trained(tmp_path, ODD, f"student.sentencepiece={data_dir / 't5' / 'spiece.model'}")
    data = read_record(run.phase_1.data, TrainingData)
    assert (data.unknown_tokens, data.first_unknown) == (4, "q0")  # one per option; equal examples are learned once
    assert f"{data.unknown_tokens} tokens of the prompts (first in question {data.first_unknown})" in (
        api.report(run).read_text()
    )


@pytest.mark.parametrize(("bf16", "precision"), [("always", "bfloat16"), ("never", "float32")])
def test_training_says_its_precision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bf16: str, precision: str
) -> None:
    run = trained(tmp_path, EQUAL, f"train.bf16={bf16}")
    parameters = read_record(run.phase_1.data, TrainingData).parameters
    assert f"phase-1: {parameters:,} weights, trained in {precision}\n" in capsys.readouterr().err
