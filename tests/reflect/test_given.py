from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinythinker.core.errors import DataError
from tinythinker.core.files import write_records
from tinythinker.core.records import PreferencePair, Stage
from tinythinker.reflect.given import read_pairs

RECALL = {"prompt": "Where?\n(A) up (B) down\nRecall:", "chosen": "Rain falls.", "rejected": "Rain is red."}
ANALYZE = {"prompt": "Where?\n(A) up (B) down\nRecall: r.\nAnalyze: For option B,", "chosen": "yes.", "rejected": "no."}


def test_lines_of_prompt_chosen_and_rejected_are_pairs_of_the_stage_that_the_prompt_asks_for(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in (RECALL, ANALYZE)))
    assert [(pair.stage, pair.chosen) for pair in read_pairs(file)] == [
        (Stage.RECALL, "Rain falls."),
        (Stage.ANALYZE, "yes."),
    ]


def test_the_pairs_of_a_round_are_read_as_they_were_written(tmp_path: Path) -> None:
    pair = PreferencePair(question_id="q", stage=Stage.RECALL, **RECALL, is_from_teacher=True)
    write_records(tmp_path / "pairs.jsonl", [pair])
    assert read_pairs(tmp_path / "pairs.jsonl") == [pair]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({**RECALL, "rejected": RECALL["chosen"]}, "1, rejected: found 'Rain falls.', expected another text"),
        ({**RECALL, "prompt": "Where?"}, "1, stage: found None, expected recall or analyze, or a prompt that ends"),
        ({**RECALL, "stage": "summarize"}, "1, stage: found 'summarize', expected recall or analyze"),
        ({**RECALL, "chosen": " "}, "1, chosen: found ' ', expected a text that is not blank"),
        ({**RECALL, "chosen": 3}, "1, chosen: found 3, expected a text that is not blank"),
        ({**RECALL, "score": 3}, "1: found the field 'score', expected only question_id, stage"),
    ],
)
def test_a_line_that_is_no_pair_is_a_one_line_error(tmp_path: Path, line: object, message: str) -> None:
    (tmp_path / "pairs.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / "pairs.jsonl")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").touch()
    with pytest.raises(DataError, match="found no pairs, expected lines"):
        read_pairs(tmp_path / "pairs.jsonl")
