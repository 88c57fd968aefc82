from __future__ import annotations

import pytest

from tinythinker.core.errors import DataError, SettingsError
from tinythinker.tasks.tables.encodings import decode

SAID = "Wo liegt Zürich? \U0001f600"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_read_with_or_without_a_mark(encoding: str) -> None:
    assert decode(SAID.encode(encoding), None, "mine.csv").text == SAID


def test_a_mark_in_front_of_big_endian_text_is_no_part_of_it() -> None:
    assert decode(b"\xfe\xff" + SAID.encode("utf-16-be"), None, "mine.csv") == (SAID, "utf-16")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("Straße in Köln, 5 Äpfel", "cp1252"), ("café", "latin-1"), ("žluťoučký kůň", "cp1250"), ("café", "mac-roman")],
)
def test_a_one_byte_encoding_is_taken_where_all_that_make_words_say_the_same(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), None, "mine.csv").text == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("jalapeño", "cp1252"),  # the same bytes are `jalapeńo` in cp1250
        ("yazılı", "cp1254"),  # and `yazýlý` in cp1252
        ("где снег", "cp1251"),
        ("‘so’ – he said", "cp1252"),
    ],
)
def test_bytes_that_could_say_several_things_are_refused_with_the_choices(text: str, encoding: str) -> None:
    with pytest.raises(
        DataError, match=rf"^mine\.csv: found b'.*at byte \d+, .*data\.encoding=, one of .*{encoding} \("
    ):
        decode(text.encode(encoding), None, "mine.csv")
    assert decode(text.encode(encoding), encoding, "mine.csv").text == text


def test_a_wrong_encoding_of_the_user_is_refused() -> None:
    with pytest.raises(DataError, match=r"mine\.csv, data\.encoding: found 'utf-8', expected the encoding of the file"):
        decode("é".encode("latin-1"), "utf-8", "mine.csv")
    for name in ("base64", "no such", "x\0"):
        with pytest.raises(SettingsError, match=r"data\.encoding: found .*, expected such as utf-8, utf-16, cp1252"):
            decode(b"a", name, "mine.csv")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(DataError, match="found bytes that are zero, expected a text"):
        decode(b"\0\1\0\0\2", None, "mine.csv")
    with pytest.raises(DataError, match="found the mark of utf-16 and bytes that are not utf-16"):
        decode(b"\xff\xfea", None, "mine.csv")
