from __future__ import annotations

from pathlib import Path

import pytest

from tinythinker.core.contents import content_of, sha256, without
from tinythinker.core.errors import DataError


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # The example of FIPS 180-2.
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(("text", "lines"), [("", 0), ("a\n", 1), ("a\nb\n", 2), ("a\nb", 2)])
def test_lines_are_counted_as_an_editor_shows_them(tmp_path: Path, text: str, lines: int) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    assert content_of(tmp_path / "a.jsonl").lines == lines
    (tmp_path / "a.bin").write_text(text)
    assert content_of(tmp_path / "a.bin").lines is None


def test_a_missing_file_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no such file"):
        content_of(tmp_path / "none")


def test_a_folder_is_left_out_with_its_files_and_not_one_with_a_longer_name(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    held = content_of(tmp_path / "x")
    names = ("round-1/pairs.jsonl", "round-1/student/a", "round-10/pairs.jsonl")
    assert list(without(dict.fromkeys(names, held), "round-1")) == ["round-10/pairs.jsonl"]
    assert list(without(dict.fromkeys(names, held), "round-1/pairs.jsonl")) == list(names[1:])
