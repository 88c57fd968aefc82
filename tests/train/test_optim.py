from __future__ import annotations

import pytest

from tests.conftest import tiny_student
from tinythinker.settings.schema import TrainSettings
from tinythinker.train.optim import build_optimizer


def test_the_rate_warms_up_linearly_and_falls_to_zero_along_a_cosine() -> None:
    settings = TrainSettings(learning_rate=1.0, warmup=0.2)
    optimizer, scheduler = build_optimizer(tiny_student().model, settings, 10)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    # Two steps of warm-up, then (1 + cos(pi k / 8)) / 2.
    assert rates[:4] == pytest.approx([0, 0.5, 1, 0.961940], abs=1e-5)
    assert rates[6] == pytest.approx(0.5)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)
