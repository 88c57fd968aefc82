from __future__ import annotations

import torch

from tinythinker.core.seeds import derive_seed, seed_torch, stream


def test_a_seed_is_the_same_on_every_machine() -> None:
    # Worked out by hand: blake2b, 8 bytes, of b"42\x1fsample\x1fq1\x1f3", big-endian, halved.
    assert derive_seed(42, "sample", "q1", 3) == 1357478677946038142


def test_parts_of_a_name_do_not_run_together() -> None:
    assert derive_seed(1, "ab", "c") != derive_seed(1, "a", "bc")


def test_equal_names_draw_equal_numbers_and_others_do_not() -> None:
    assert stream(7, "x").random(3).tolist() == stream(7, "x").random(3).tolist()
    assert stream(7, "x").random() != stream(7, "y").random()


def test_torch_draws_from_the_named_stream() -> None:
    seed_torch(1, "weights")
    first = torch.rand(2)
    seed_torch(1, "weights")
    assert torch.equal(first, torch.rand(2))
