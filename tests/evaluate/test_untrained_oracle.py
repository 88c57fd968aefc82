"""lm-evaluation-harness as an independent oracle for `cloze`: same model, questions and prompts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinythinker.evaluate.untrained import answer_untrained
from tinythinker.settings.resolve import load_settings
from tinythinker.tasks.registry import load_task

MODEL = os.environ.get("TINYTHINKER_PRETRAINED")
QUESTIONS = 500


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(MODEL is None, reason="TINYTHINKER_PRETRAINED names no folder of a pretrained model")
def test_cloze_gives_the_answers_of_lm_evaluation_harness(data_dir: Path, tmp_path: Path) -> None:
    lm_eval = pytest.importorskip("lm_eval")
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    settings = load_settings(
        "csqa", [f"student.name={MODEL}", f"data_dir={data_dir / 'csqa'}", f"limit.test={QUESTIONS}"]
    )
    questions = load_task(settings).splits["test"]
    rows = [
        {"stem": one.stem, "texts": [option.text for option in one.options], "gold": one.labels.index(str(one.gold))}
        for one in questions
    ]
    Dataset.from_list(rows).to_json(tmp_path / "rows.jsonl")
    task = ConfigurableTask(
        config={
            "task": "cloze",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "Question: {{stem}}\nAnswer:",
            "doc_to_choice": "{{texts}}",
            "doc_to_target": "{{gold}}",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        }
    )
    found = lm_eval.evaluate(
        lm=HFLM(pretrained=MODEL, device="cpu", dtype="float32", batch_size=16),
        task_dict={"cloze": task},
        log_samples=True,
        bootstrap_iters=0,
    )
    ours = answer_untrained("pretrained", questions, [], settings)
    for name, per_length in (("cloze_sum", False), ("cloze", True)):
        same = 0
        for sample in found["samples"]["cloze"]:
            texts = sample["doc"]["texts"]
            logps = [answer[0] for answer in sample["filtered_resps"]]
            scores = [logp / len(text) if per_length else logp for logp, text in zip(logps, texts, strict=True)]
            verdict = ours[name][sample["doc_id"]]
            same += verdict.answer == questions[sample["doc_id"]].labels[scores.index(max(scores))]
        print(f"{name}: the same answer on {same} of {len(questions)} questions")
        assert same >= 0.99 * len(questions)
