from __future__ import annotations

from tests.conftest import tiny_student
from tinythinker.core.metrics import Weights


def test_weights_of_a_t5_are_counted_on_the_side_whose_tokens_use_them() -> None:
    # 1m: width 128, 4 heads of 32, feed-forward 512, two layers.
    student = tiny_student()
    vocabulary = student.model.config.vocab_size
    attention, feed_forward = 4 * 128 * 128, 2 * 128 * 512
    encoder = 2 * (attention + feed_forward)
    cross_source = 2 * (2 * 128 * 128)
    decoder = 2 * (2 * attention + feed_forward) - cross_source
    assert student.weights == Weights(
        per_prompt_token=encoder + cross_source, per_target_token=decoder + 128 * vocabulary
    )


def test_a_decoder_reads_prompt_and_target_and_computes_the_vocabulary_only_for_targets() -> None:
    student = tiny_student(family="causal")
    layer = 4 * 128 * 128 + 3 * 128 * 384
    assert student.weights == Weights(
        per_prompt_token=4 * layer, per_target_token=4 * layer + 128 * student.model.config.vocab_size
    )


def test_training_takes_six_operations_per_weight_and_token() -> None:
    assert Weights(per_prompt_token=10, per_target_token=3).flops(prompt_tokens=7, target_tokens=2) == 6 * (70 + 6)
