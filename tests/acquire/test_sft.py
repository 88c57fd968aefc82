from __future__ import annotations

import pytest
import torch

from tests.conftest import tiny_student
from tinythinker.acquire.sft import sft_objective
from tinythinker.core.records import Stage, StageExample
from tinythinker.student.logps import Scorer


def example(prompt: str, target: str) -> StageExample:
    return StageExample(question_id="q", stage=Stage.RECALL, prompt=prompt, target=target)


EXAMPLES = [example("Where does rain go?", "rain is wet and falls."), example("rain", "down")]


def test_the_loss_is_a_sum_over_target_tokens_that_matches_the_models_own_mean() -> None:
    student = tiny_student(dropout=0.0)
    student.model.eval()
    loss = sft_objective(student)(Scorer(student.model), EXAMPLES)
    assert loss.weight == 7 + 2  # five words, a full stop, an end; one word, an end
    total = 0.0
    for one in EXAMPLES:
        encoded = student.tokenizer(one.prompt, return_tensors="pt")
        labels = student.tokenizer(one.target, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            mean = student.model(input_ids=encoded["input_ids"], labels=labels).loss
        total += mean.item() * labels.shape[1]
    assert loss.total.item() == pytest.approx(total, rel=1e-5)
