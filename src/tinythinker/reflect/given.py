"""Pairs from a file, to train on instead of the student's own (`reflect.pairs`)."""

from __future__ import annotations

from pathlib import Path

from tinythinker.core.errors import DataError, expected
from tinythinker.core.files import Json, read_objects
from tinythinker.core.records import PreferencePair, Stage
from tinythinker.stages.template import parts_of

_KNOWN = frozenset(PreferencePair.model_fields)
_STAGES = {"Recall:": Stage.RECALL, "Analyze:": Stage.ANALYZE}


def read_pairs(path: Path) -> list[PreferencePair]:
    """The pairs in a file of JSON Lines: a round's `pairs.jsonl`, or lines of prompt, chosen and rejected.

    The stage, if a line does not give it, is the one that the end of its prompt asks for.

    Raises:
        DataError: the file is empty, or a line is not such a pair.
    """
    pairs = [_pair(line, f"{path}:{number}") for number, line in read_objects(path)]
    if not pairs:
        raise DataError(f"{path}: found no pairs, expected lines with the fields prompt, chosen and rejected")
    return pairs


def _pair(line: Json, where: str) -> PreferencePair:
    if unknown := sorted(line.keys() - _KNOWN):
        raise DataError(
            f"{where}: found the field {unknown[0]!r}, expected only {', '.join(PreferencePair.model_fields)}"
        )
    for field in ("prompt", "chosen", "rejected"):
        value = line.get(field)
        if not isinstance(value, str) or not value.strip():
            raise DataError(expected(f"{where}, {field}", value, "a text that is not blank"))
    prompt = str(line["prompt"])
    asks = parts_of(prompt).request.split()[:1]
    stage = line.get("stage") or (_STAGES.get(asks[0]) if asks else None)
    if stage not in ("recall", "analyze"):
        wanted = "recall or analyze, or a prompt that ends with `Recall:` or `Analyze: For option ...`"
        raise DataError(expected(f"{where}, stage", line.get("stage"), wanted))
    if line["chosen"] == line["rejected"]:
        raise DataError(expected(f"{where}, rejected", line["rejected"], "another text than the chosen one"))
    return PreferencePair(
        question_id=str(line.get("question_id") or ""),
        stage=Stage(stage),
        prompt=prompt,
        chosen=str(line["chosen"]),
        rejected=str(line["rejected"]),
        is_from_teacher=line.get("is_from_teacher") is True,
    )
