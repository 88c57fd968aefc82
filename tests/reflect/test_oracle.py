"""Our losses against straightforward reimplementations: padding on the right, dropout off, in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conftest import ARCHITECTURES, tiny_of
from tinythinker.acquire.sft import sft_objective
from tinythinker.core.records import PreferencePair, Stage, StageExample
from tinythinker.reflect.objective import ScoredPair, over_batch, preference_objective
from tinythinker.settings.schema import ReflectSettings
from tinythinker.student.logps import Scorer
from tinythinker.student.student import Student

PAIRS = [
    ("Where does rain go?", "rain is wet and falls. it does.", "up"),
    ("rain", "down", "nowhere. up. up. up."),
    ("Where? (A) up (B) down Recall:", "rain is wet.", "For option A (up), rain falls."),
    ("it", "rain falls down and up and down", "rain falls down and up and up"),
]


def double(architecture: str, seed: int = 0) -> Student:
    """A student in double precision whose weights are moved by the seed."""
    student = tiny_of(architecture, dropout=0.3)
    student.model.double().eval()
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in student.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=noise, dtype=weight.dtype), alpha=0.05)
    return student


def ids_of(student: Student, text: str, *, end: bool) -> list[int]:
    ids: list[int] = student.tokenizer(text, add_special_tokens=False)["input_ids"]
    return [*ids, int(student.tokenizer.eos_token_id)] if end else ids


def token_logps(student: Student, prompts: list[str], targets: list[str]) -> list[Tensor]:
    """Log-probability of each target's tokens, one padded batch, nothing shared and nothing clever."""
    model, pad = student.model, student.pad_id
    is_causal = student.is_causal
    read = [ids_of(student, prompt, end=not is_causal) for prompt in prompts]
    wanted = [ids_of(student, (" " if is_causal else "") + target, end=True) for target in targets]
    rows = [a + b for a, b in zip(read, wanted, strict=True)] if is_causal else read
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    if is_causal:
        logits = model(input_ids=ids, attention_mask=mask).logits
        return [
            F.log_softmax(logits[i, len(a) - 1 : len(a) + len(b) - 1], -1)[range(len(b)), b]
            for i, (a, b) in enumerate(zip(read, wanted, strict=True))
        ]
    longest = max(map(len, wanted))
    labels = torch.tensor([row + [-100] * (longest - len(row)) for row in wanted])
    logits = model(input_ids=ids, attention_mask=mask, labels=labels).logits
    return [F.log_softmax(logits[i, : len(b)], -1)[range(len(b)), b] for i, b in enumerate(wanted)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_sft_loss_is_the_mean_over_the_batchs_target_tokens(architecture: str) -> None:
    student = double(architecture)
    examples = [
        StageExample(question_id="q", stage=Stage.RECALL, prompt=prompt, target=chosen) for prompt, chosen, _ in PAIRS
    ]
    loss = sft_objective(student)(Scorer(student.model).eval(), examples)
    tokens = torch.cat(token_logps(student, [one[0] for one in PAIRS], [one[1] for one in PAIRS]))
    assert loss.weight == len(tokens)
    assert loss.total.item() / loss.weight == pytest.approx(-tokens.mean().item(), abs=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("nll", ["text", "batch"])
def test_the_preference_loss_is_dpo_plus_the_nll_of_the_chosen(architecture: str, nll: str) -> None:
    student, reference = double(architecture), double(architecture, seed=1)
    settings = ReflectSettings(beta=0.5, alpha=0.5)
    prompts = [one[0] for one in PAIRS]
    sides = {
        (who, side): token_logps(model, prompts, [one[side] for one in PAIRS])
        for who, model in (("policy", student), ("reference", reference))
        for side in (1, 2)
    }
    sums = {key: torch.stack([logps.sum() for logps in some]) for key, some in sides.items()}
    margin = (sums["policy", 1] - sums["policy", 2]) - (sums["reference", 1] - sums["reference", 2])
    chosen = sides["policy", 1]
    by_text = torch.stack([-logps.mean() for logps in chosen]).mean()
    by_batch = -torch.cat(chosen).mean()  # the official mean, without the padding that it counts
    wanted = -F.logsigmoid(0.5 * margin).mean() + 0.5 * (by_text if nll == "text" else by_batch)

    scored = [
        ScoredPair(
            PreferencePair(question_id="q", stage=Stage.RECALL, prompt=prompt, chosen=one, rejected=other),
            sums["reference", 1][i].item(),
            sums["reference", 2][i].item(),
        )
        for i, (prompt, one, other) in enumerate(PAIRS)
    ]
    if nll == "batch":
        scored = over_batch(scored, [len(logps) for logps in chosen])
    loss = preference_objective(student, settings)(Scorer(student.model).eval(), scored)
    assert by_text.item() != pytest.approx(by_batch.item(), abs=1e-3)
    assert loss.total.item() / loss.weight == pytest.approx(wanted.item(), abs=1e-6)
