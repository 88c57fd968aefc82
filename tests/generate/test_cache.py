"""Batches of keys and values are taken apart and joined without gaps."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache

from tests.conftest import tiny_of
from tinythinker.generate.cache import Texts, join


def batch(numbers: list[list[int]], mask: list[list[int]]) -> Texts:
    """One layer with one head of width one, whose keys are these numbers and whose values are ten times as large."""
    keys = torch.tensor(numbers, dtype=torch.float32)[:, None, :, None]
    cache = DynamicCache()
    cache.update(keys, 10 * keys, 0)
    return Texts(cache, torch.tensor(mask))


GAPS = batch([[1, 2, 0, 3], [0, 4, 0, 0], [5, 6, 7, 0]], [[1, 1, 0, 1], [0, 1, 0, 0], [1, 1, 1, 0]])


def test_some_texts_are_taken_without_the_padding_of_the_others() -> None:
    model = tiny_of("gpt2").model
    taken = GAPS.some(model, [2, 0])
    assert taken.mask.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert taken.layers().keys[0].squeeze().tolist() == [[5, 6, 7], [1, 2, 3]]
    assert taken.layers().values[0].squeeze().tolist() == [[50, 60, 70], [10, 20, 30]]
    assert GAPS.some(model, [1]).mask.tolist() == [[1]]


def test_batches_are_joined_in_any_order_and_padded_on_the_left_alone() -> None:
    other = batch([[8, 9]], [[1, 1]])
    joined = join(tiny_of("gpt2").model, [([3, 0, 2], GAPS), ([1], other)])
    assert joined.mask.tolist() == [[0, 0, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]]
    assert joined.layers().keys[0].squeeze().tolist() == [[0, 0, 4], [0, 8, 9], [5, 6, 7], [1, 2, 3]]


def test_a_batch_that_has_read_nothing_stays_empty() -> None:
    empty = Texts(None, torch.zeros((3, 0), dtype=torch.long))
    assert empty.some(tiny_of("gpt2").model, [2, 1]).mask.shape == (2, 0)


@pytest.mark.parametrize("rows", [[0], [0, 1, 2]])
def test_the_longest_text_is_counted_without_padding(rows: list[int]) -> None:
    assert Texts(GAPS.cache, GAPS.mask[rows]).longest == 3
