"""The first impression, for both families of student."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tinythinker.quickstart import Summary, quickstart

GUESSING = 0.25


@pytest.mark.slow
@pytest.mark.parametrize("student", ["seq2seq", "causal"])
def test_labels_do_not_help_reasoning_does_and_reflection_adds_to_it(
    student: Literal["seq2seq", "causal"], tmp_path: Path
) -> None:
    made = quickstart(tmp_path / "quickstart", seed=0, student=student)
    assert made.label_only.low < GUESSING + 0.05
    assert made.phase_1.low > 0.6
    assert made.phase_2.accuracy > made.phase_1.accuracy + 0.05
    assert made.seconds < 480
    assert Summary.model_validate_json((tmp_path / "quickstart" / "summary.json").read_text()) == made
    assert (tmp_path / "quickstart" / "report.html").exists()
