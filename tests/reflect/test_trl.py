"""The preference losses against an independent implementation: TRL's DPOTrainer, on causal students."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import tiny_of
from tests.reflect.test_losses import PAIRS
from tinythinker.core.records import PreferencePair
from tinythinker.reflect.objective import ScoredPair, preference_objective, score_pairs
from tinythinker.reflect.reference import score_reference
from tinythinker.settings.schema import ReflectSettings
from tinythinker.student.encode import pad, prompt_ids, target_ids
from tinythinker.student.logps import Scorer
from tinythinker.student.student import Student

# Warnings from inside the library are not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")


def trl_inputs(student: Student, pairs: list[PreferencePair]) -> dict[str, torch.Tensor]:
    """The pairs as TRL batches them: whole texts, right-padded, all chosen before all rejected."""
    rows, completions = [], []
    for side in ("chosen", "rejected"):
        for pair in pairs:
            prompt = prompt_ids(student, [pair.prompt]).ids[0]
            target = target_ids(student, [getattr(pair, side)]).ids[0]
            rows.append([*prompt, *target])
            completions.append([0] * len(prompt) + [1] * len(target))
    ids, mask = pad(rows, student.pad_id, student.device)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "completion_mask": pad(completions, 0, student.device).ids,
    }


def trainer_of(student: Student, reference: Student, folder: Path, **config: Any) -> Any:
    """A DPOTrainer around the same models; it never trains on its data set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from datasets import Dataset, disable_progress_bars
        from trl.trainer.dpo_config import DPOConfig
        from trl.trainer.dpo_trainer import DPOTrainer

        disable_progress_bars()
        arguments = DPOConfig(
            output_dir=str(folder), report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False, **config
        )
        return DPOTrainer(
            model=student.model,
            ref_model=reference.model,
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": "rain", "chosen": " down", "rejected": " up"}]),
            processing_class=student.tokenizer,
        )


@pytest.fixture(params=["gpt2", "qwen3"])
def models(request: pytest.FixtureRequest) -> tuple[Student, Student]:
    """A student and a different reference."""
    student, reference = tiny_of(request.param, dropout=0.0), tiny_of(request.param, dropout=0.0)
    with torch.no_grad():
        for parameter in reference.model.parameters():
            parameter.mul_(1.1)
    return student, reference


def gradient(student: Student) -> torch.Tensor:
    made = [parameter.grad.flatten() for parameter in student.model.parameters() if parameter.grad is not None]
    student.model.zero_grad()
    return torch.cat(made)


def compare(
    models: tuple[Student, Student], pairs: list[PreferencePair], ours: dict[str, Any], folder: Path, **config: Any
) -> None:
    """Loss and gradient of both implementations on the same batch, float32."""
    student, reference = models
    settings = ReflectSettings.model_validate({"beta": 0.3, "alpha": 0.0} | ours)
    scored = [ScoredPair(one.pair, one.chosen, one.rejected) for one in score_reference(reference, [pairs])]
    student.model.eval()
    loss = preference_objective(student, settings)(Scorer(student.model), scored)
    mine = loss.total / loss.weight
    mine.backward()  # type: ignore[no-untyped-call]
    my_gradient = gradient(student)
    trainer = trainer_of(student, reference, folder, beta=0.3, **config)
    student.model.eval()
    theirs = trainer._compute_loss(student.model, trl_inputs(student, pairs), return_outputs=False)
    theirs.backward()
    assert mine.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert torch.allclose(my_gradient, gradient(student), atol=1e-5)


@pytest.mark.parametrize(("ours", "theirs"), [("dpo", "sigmoid"), ("ipo", "ipo"), ("dpo_norm", "sigmoid_norm")])
def test_losses_and_gradients_agree_with_trl(
    models: tuple[Student, Student], ours: str, theirs: str, tmp_path: Path
) -> None:
    compare(models, PAIRS, {"loss": ours}, tmp_path, loss_type=[theirs])


@pytest.mark.parametrize("pair", PAIRS)
def test_dpo_with_nll_agrees_with_trl(models: tuple[Student, Student], pair: PreferencePair, tmp_path: Path) -> None:
    # Pair by pair: TRL averages over the tokens of a batch, the method over the tokens of each text.
    config: dict[str, Any] = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}
    compare(models, [pair], {"alpha": 0.5}, tmp_path, **config)


def test_log_probabilities_of_texts_agree_with_trl(models: tuple[Student, Student], tmp_path: Path) -> None:
    student, reference = models
    with torch.no_grad():
        policy = score_pairs(student, Scorer(student.model).eval(), PAIRS).logps
    trainer = trainer_of(student, reference, tmp_path)
    student.model.eval()
    chosen, rejected = trainer.compute_ref_log_probs(student.model, trl_inputs(student, PAIRS))
    assert torch.allclose(policy.chosen, chosen, atol=1e-5)
    assert torch.allclose(policy.rejected, rejected, atol=1e-5)
