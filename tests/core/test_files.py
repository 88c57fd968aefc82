from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from tinythinker.core import files
from tinythinker.core.errors import DataError
from tinythinker.core.files import (
    appending,
    read_json,
    read_objects,
    read_records,
    read_text,
    remove,
    resolved,
    whole_folder,
    write_records,
    write_text,
)
from tinythinker.core.records import Rationale


def rationale(name: str) -> Rationale:
    return Rationale(question_id=name, recall="r")


def test_records_come_back_as_they_were_written_byte_for_byte(tmp_path: Path) -> None:
    odd = Rationale(question_id='é,\n\u2028"', recall="tab\tcomma, 'quote' \U0001f600")
    write_records(tmp_path / "a.jsonl", [odd, rationale("q")])
    assert read_records(tmp_path / "a.jsonl", Rationale) == [odd, rationale("q")]


def test_malformed_json_is_reported_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"question_id": "q", "recall": "r"}\n' * 6 + "{oops\n")
    with pytest.raises(DataError, match=r"a\.jsonl:7: found malformed JSON"):
        list(read_objects(file))


def test_a_line_that_is_not_an_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("[1]\n")
    with pytest.raises(DataError, match=r"a\.jsonl:1: found \[1\], expected a JSON object"):
        list(read_objects(tmp_path / "a.jsonl"))


def test_an_unknown_field_of_a_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question_id": "q", "recall": "r", "recal": 1}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:1: recal: found 1, expected no such field"):
        read_records(tmp_path / "a.jsonl", Rationale)


def test_a_missing_file_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no such file"):
        read_records(tmp_path / "none.jsonl", Rationale)


def test_text_that_is_not_utf8_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        list(read_objects(tmp_path / "a.jsonl"))


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}\r\n')
    assert [value for _, value in read_objects(tmp_path / "a.jsonl")] == [{"a": 1}, {"a": 2}]


def test_a_json_file_that_holds_a_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(DataError, match="expected a JSON object"):
        read_json(tmp_path / "a.json")


def test_a_full_disk_leaves_the_old_file_whole_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.jsonl"
    write_text(file, "old\n")

    def full(path: Path, text: str) -> None:
        path.write_text(text[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_write", full)
    with pytest.raises(DataError, match=r"a\.jsonl: No space left on device; nothing was half-written"):
        write_text(file, "new text\n")
    assert file.read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_folder_that_cannot_be_filled_leaves_the_old_one_whole(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "weights").write_text("old")
    with pytest.raises(DataError, match="No space left"), whole_folder(folder) as new:
        (new / "weights").write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (folder / "weights").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_line_torn_by_a_kill_is_dropped_before_new_lines_are_added(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"question_id":"a","recall":"r"}\n{"question_id":"b","rec')
    with appending(file) as lines:
        lines.add(rationale("c"))
    assert [record.question_id for record in read_records(file, Rationale)] == ["a", "c"]


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_json_that_the_parser_cannot_handle_is_a_one_line_error(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl:1: found malformed JSON"):
        list(read_objects(tmp_path / "a.jsonl"))


def test_of_a_link_only_the_link_is_removed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "precious").touch()
    for name, target in (("folder", "far"), ("file", "far/precious"), ("dangling", "nowhere"), ("loop", "loop")):
        (tmp_path / name).symlink_to(target)
        remove(tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["far", "precious"]


def test_a_whole_folder_takes_the_place_of_a_link_and_leaves_what_lies_behind_it(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "precious").touch()
    (tmp_path / "made").symlink_to("far")
    (tmp_path / ".made.tmp").symlink_to("far")
    with whole_folder(tmp_path / "made") as folder:
        (folder / "new").touch()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["new"]
    assert not (tmp_path / "made").is_symlink()
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["precious"]


def test_links_in_the_way_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("dangling", "loop"):
        with pytest.raises(DataError, match="found a file, or a link to nothing, where a folder must be; remove it"):
            write_text(tmp_path / name / "a.txt", "x")
    with pytest.raises(DataError, match="found links that go in circles"):
        resolved(tmp_path / "loop")


def test_a_device_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(DataError, match="found more than 1,000 bytes, expected a smaller file"):
        read_text(Path("/dev/zero"), most_bytes=1_000)


def test_a_name_in_a_message_is_short_and_printable(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"question_id": "q", "recall": "r", "x\n" + "y" * 10_000: 1}) + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl:1: 'x\\ny{10}") as caught:
        read_records(tmp_path / "a.jsonl", Rationale)
    assert len(str(caught.value)) < 600
