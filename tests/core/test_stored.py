from __future__ import annotations

from pathlib import Path

import pytest

from tinythinker.core.errors import DataError
from tinythinker.core.files import read_records, write_records
from tinythinker.core.records import Rationale
from tinythinker.core.stored import Picked, Stored, complete, pick


def rationale(name: str) -> Rationale:
    return Rationale(question_id=name, recall="r")


def names_of(records: object) -> list[str]:
    assert not isinstance(records, Rationale)
    return [record.question_id for record in records]  # type: ignore[attr-defined]


@pytest.fixture
def stored(tmp_path: Path) -> Stored[Rationale]:
    write_records(tmp_path / "a.jsonl", [rationale(name) for name in ("é", "b", "\U0001f600", "d", "e")])
    return Stored(tmp_path / "a.jsonl", Rationale)


def test_records_on_disk_are_a_sequence(stored: Stored[Rationale]) -> None:
    assert len(stored) == 5
    assert names_of(stored) == ["é", "b", "\U0001f600", "d", "e"]
    assert (stored[0].question_id, stored[2].question_id, stored[-1].question_id) == ("é", "\U0001f600", "e")
    assert names_of(stored[1:4]) == ["b", "\U0001f600", "d"]
    assert names_of(stored[::2]) == ["é", "\U0001f600", "e"]
    with pytest.raises(IndexError):
        stored[5]


def test_a_line_that_is_no_record_is_named_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question_id": "a", "recall": "r"}\n{"question_id": 3}\n')
    stored = Stored(tmp_path / "a.jsonl", Rationale)
    assert stored[0].question_id == "a"
    with pytest.raises(DataError, match=r"a\.jsonl:2: "):
        stored[1]


def test_picked_records_come_in_the_order_of_their_places(stored: Stored[Rationale]) -> None:
    picked = pick(stored, [4, 0, 3])
    assert isinstance(picked, Picked)
    assert names_of(picked) == ["e", "é", "d"]
    assert picked[1].question_id == "é"
    assert names_of(picked[1:]) == ["é", "d"]
    assert names_of(pick(picked, [2, 0])) == ["d", "e"]
    assert names_of(pick(stored, [0, 3] * 600)) == ["é", "d"] * 600  # more than are in memory at once
    assert pick(["a", "b", "c"], [2, 0]) == ["c", "a"]


def fits(name: str, made: Rationale) -> bool:
    return made.question_id == name


@pytest.mark.parametrize("left", range(8))
def test_an_interrupted_file_ends_like_an_uninterrupted_one(tmp_path: Path, left: int) -> None:
    asked: list[str] = []

    def work(names: object) -> list[Rationale]:
        assert isinstance(names, list)
        asked.extend(names)
        return [rationale(name) for name in names]

    names = list("abcdefg")
    write_records(tmp_path / "a.jsonl", [rationale(name) for name in names[:left]])
    made = complete(tmp_path / "a.jsonl", Rationale, names, work, fits=fits, chunk=3, name="test")
    assert list(made) == [rationale(name) for name in names]
    assert read_records(tmp_path / "a.jsonl", Rationale) == [rationale(name) for name in names]
    # Whole chunks of three are kept, and the complete file of seven; the rest is requested again.
    assert asked == names[{0: 0, 1: 0, 2: 0, 3: 3, 4: 3, 5: 3, 6: 6, 7: 7}[left] :]


def test_a_character_torn_by_a_kill_does_not_prevent_resuming(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(rationale("a").model_dump_json().encode() + b"\n" + '{"question_id": "é'.encode()[:-1])
    made = complete(
        file, Rationale, ["a", "b"], lambda names: [rationale(name) for name in names], fits=fits, chunk=1, name="test"
    )
    assert [record.question_id for record in made] == ["a", "b"]
    assert read_records(file, Rationale) == list(made)


@pytest.mark.parametrize(
    ("names", "found"), [("abcd", "found 4 lines, expected at most 3"), ("ax", "a.jsonl:2: found")]
)
def test_lines_of_other_items_are_neither_used_nor_overwritten(tmp_path: Path, names: str, found: str) -> None:
    file = tmp_path / "a.jsonl"
    write_records(file, [rationale(name) for name in names])
    before = file.read_bytes()
    with pytest.raises(DataError, match=found):
        complete(file, Rationale, "abc", lambda some: [rationale(n) for n in some], fits=fits, chunk=1, name="test")
    assert file.read_bytes() == before
