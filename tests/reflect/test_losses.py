from __future__ import annotations

import math

import pytest
import torch

from tests.conftest import ARCHITECTURES, tiny_of, tiny_student
from tinythinker.core.records import PreferencePair, Stage
from tinythinker.reflect.losses import PREFERENCE_LOSSES, PairLogps, dpo_loss, dpo_margin, group_loss, ipo_loss
from tinythinker.reflect.objective import ScoredPair, over_batch, preference_objective, score_pairs
from tinythinker.reflect.reference import score_reference
from tinythinker.settings.schema import ReflectSettings
from tinythinker.student.encode import target_ids
from tinythinker.student.logps import Scorer
from tinythinker.student.student import Student

PAIRS = [
    PreferencePair(
        question_id="q1", stage=Stage.RECALL, prompt="Where does rain go?", chosen="down.", rejected="rain is wet."
    ),
    PreferencePair(question_id="q2", stage=Stage.RECALL, prompt="rain", chosen="rain is wet and falls.", rejected="up"),
    PreferencePair(question_id="q3", stage=Stage.ANALYZE, prompt="Where? rain is wet", chosen="up", rejected="nowhere"),
]


def pair(chosen: float, rejected: float) -> PairLogps:
    return PairLogps(torch.tensor([chosen]), torch.tensor([rejected]))


def settings(**values: object) -> ReflectSettings:
    return ReflectSettings.model_validate({"beta": 0.5, "alpha": 0.0} | values)


def scored_by(student: Student, pairs: list[PreferencePair]) -> list[ScoredPair]:
    return [ScoredPair(one.pair, one.chosen, one.rejected) for one in score_reference(student, [pairs])]


def test_dpo_loss_is_log_two_before_any_training() -> None:
    untrained = pair(chosen=-3.0, rejected=-7.0)
    assert dpo_loss(untrained, untrained, beta=0.5).item() == pytest.approx(math.log(2))


def test_dpo_loss_matches_a_value_worked_by_hand() -> None:
    # margin = (-1 - -4) - (-2 - -3) = 3 - 1 = 2;  loss = -log σ(0.5 * 2) = log(1 + e⁻¹)
    policy, reference = pair(-1.0, -4.0), pair(-2.0, -3.0)
    assert dpo_margin(policy, reference).item() == 2.0
    assert dpo_loss(policy, reference, beta=0.5).item() == pytest.approx(math.log1p(math.exp(-1)))


def test_dpo_loss_falls_as_the_margin_grows_and_pulls_on_both_sides() -> None:
    chosen, rejected = torch.tensor([-2.0], requires_grad=True), torch.tensor([-3.0], requires_grad=True)
    dpo_loss(PairLogps(chosen, rejected), pair(-2.0, -3.0), beta=0.5).sum().backward()  # type: ignore[no-untyped-call]
    # d/dm -log σ(βm) at m = 0 is -β/2.
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert (chosen.grad.item(), rejected.grad.item()) == pytest.approx((-0.25, 0.25))


def test_label_smoothing_weighs_both_directions() -> None:
    # margin 2, β 0.5: -0.9 log σ(1) - 0.1 log σ(-1) = 0.9 log(1 + e⁻¹) + 0.1 (1 + log(1 + e⁻¹))
    made = dpo_loss(pair(-1.0, -4.0), pair(-2.0, -3.0), beta=0.5, label_smoothing=0.1)
    assert made.item() == pytest.approx(math.log1p(math.exp(-1)) + 0.1)


def test_ipo_stops_at_the_margin_it_wants() -> None:
    # β 0.25 wants a margin of 2, which is reached here; at the start, with margin 0, the loss is 2².
    assert ipo_loss(pair(-1.0, -4.0), pair(-2.0, -3.0), beta=0.25).item() == 0.0
    assert ipo_loss(pair(-1.0, -4.0), pair(-1.0, -4.0), beta=0.25).item() == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        ("dpo", math.log1p(math.exp(-1))),  # margin 2, β 0.5
        ("dpo_norm", math.log1p(math.exp(-0.375))),  # per token: (-0.5 + 1) - (-1 + 0.75) = 0.75
        ("ipo", 0.0625),  # (0.75 - 1)²
        ("grpo", -0.4),  # e^-0.25 counts as 0.8, e^0.5 as 1.2
        ("none", 0.0),
    ],
)
def test_every_loss_matches_a_value_worked_by_hand(loss: str, wanted: float) -> None:
    policy, reference, tokens = pair(-1.0, -4.0), pair(-2.0, -3.0), pair(2.0, 4.0)
    own = settings(loss=loss, alpha=1.0)
    preference = PREFERENCE_LOSSES[own.loss]
    ours, theirs = (preference.compared(logps, tokens) for logps in (policy, reference))
    assert preference.loss(ours, theirs, own).item() == pytest.approx(wanted)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_margin_is_exactly_0_at_step_0_with_dropout_in_the_config(architecture: str) -> None:
    student = tiny_of(architecture, dropout=0.3)
    scored = scored_by(student, PAIRS)
    loss = preference_objective(student, settings())(Scorer(student.model).eval(), scored)
    assert loss.figures["margin"] == 0.0
    assert loss.total.item() / loss.weight == pytest.approx(math.log(2), abs=1e-7)


def test_the_nll_is_the_mean_per_token_of_the_chosen_text_without_padding() -> None:
    student = tiny_student(dropout=0.0)
    scored = scored_by(student, PAIRS)
    losses = {
        alpha: preference_objective(student, settings(alpha=alpha))(Scorer(student.model), scored).total.item()
        for alpha in (0.0, 1.0)
    }
    by_hand = 0.0
    for one in PAIRS:
        ids = student.tokenizer(one.prompt, return_tensors="pt")["input_ids"]
        labels = student.tokenizer(one.chosen, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            by_hand += student.model(input_ids=ids, labels=labels).loss.item()
    assert losses[1.0] - losses[0.0] == pytest.approx(by_hand, rel=1e-4)


def test_over_a_batch_the_nll_is_the_mean_over_all_its_chosen_tokens() -> None:
    student = tiny_student(dropout=0.0)
    tokens = [len(ids) for ids in target_ids(student, [pair.chosen for pair in PAIRS]).ids]
    scored = over_batch(scored_by(student, PAIRS), tokens)
    logps = score_pairs(student, Scorer(student.model), PAIRS).logps.chosen
    losses = {
        alpha: preference_objective(student, settings(alpha=alpha))(Scorer(student.model), scored).total.item()
        for alpha in (0.0, 1.0)
    }
    mean = -logps.sum().item() / sum(tokens)
    assert (losses[1.0] - losses[0.0]) / len(PAIRS) == pytest.approx(mean, rel=1e-4)
    # Pieces of a batch add up to the same loss.
    objective = preference_objective(student, settings(alpha=1.0))
    pieces = sum(objective(Scorer(student.model), [one]).total.item() for one in scored)
    assert pieces == pytest.approx(losses[1.0], rel=1e-5)


def test_training_on_pairs_makes_the_student_prefer_the_chosen() -> None:
    student = tiny_student(dropout=0.0)
    scored = scored_by(student, PAIRS)
    objective = preference_objective(student, settings())
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=1e-3)
    for _ in range(10):
        loss = objective(Scorer(student.model), scored)
        loss.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    final = objective(Scorer(student.model), scored)
    assert final.figures["reward_accuracy"] == len(PAIRS)
    assert final.total.item() < 0.5 * math.log(2) * len(PAIRS)


def test_a_fixed_reference_enters_the_margin_with_its_sign() -> None:
    student = tiny_student(dropout=0.0)
    (scored,) = scored_by(student, PAIRS[:1])
    moved = ScoredPair(scored.pair, scored.reference_chosen - 2.0, scored.reference_rejected - 1.0)
    figures = preference_objective(student, settings())(Scorer(student.model), [moved]).figures
    # The student now prefers the chosen text by 2 - 1 = 1 nat more than this reference does.
    assert figures["margin"] == pytest.approx(1.0, abs=1e-5)


def test_over_every_pair_the_group_loss_is_minus_the_sum_of_advantages_times_ratios() -> None:
    right, wrong = torch.tensor([0.05, -0.1]), torch.tensor([0.1, -0.05, 0.0])  # log ratios per token
    rewards = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
    advantages = rewards - rewards.mean()
    plain = -(advantages * torch.cat([right, wrong]).exp()).sum()
    every = torch.cartesian_prod(right, wrong)
    start = torch.zeros(len(every))
    losses = group_loss(PairLogps(every[:, 0], every[:, 1]), PairLogps(start, start), clip=0.2)
    assert losses.sum().item() == pytest.approx(len(rewards) * plain.item(), abs=1e-6)


def test_a_text_that_moved_past_the_clip_pulls_no_more() -> None:
    chosen, rejected = torch.tensor([0.5], requires_grad=True), torch.tensor([-0.5], requires_grad=True)
    start = torch.zeros(1)
    loss = group_loss(PairLogps(chosen, rejected), PairLogps(start, start), clip=0.2).sum()
    grads = torch.autograd.grad(loss, [chosen, rejected])

    assert [grad.item() for grad in grads] == [0.0, 0.0]
