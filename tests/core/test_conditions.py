from __future__ import annotations

import torch

from tinythinker.core.conditions import conditions_now


def test_conditions_are_those_of_this_process() -> None:
    now = conditions_now()
    assert now.threads == torch.get_num_threads()
    assert now.processes == 1
    assert torch.__version__.startswith(now.torch.split("+")[0])


def test_only_what_changed_is_named() -> None:
    before = conditions_now()
    now = before.model_copy(update={"device": "NVIDIA H100", "processes": 4})
    assert now.changes_since(before) == ["processes 4 (was 1)", f"device NVIDIA H100 (was {before.device})"]
    assert before.changes_since(before) == []
