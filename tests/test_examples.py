"""Every example in a docstring gives what it shows."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.test_architecture import modules

NAMES = [name for name, path in modules() if ">>>" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"tinythinker.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
