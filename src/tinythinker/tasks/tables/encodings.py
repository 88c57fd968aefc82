"""Bytes -> text, in whichever encoding they are; where that is not certain, nothing is guessed."""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import NamedTuple

from tinythinker.core.errors import DataError, SettingsError, expected

USUAL = (
    *("cp1252", "iso-8859-15", "cp1250", "iso-8859-2", "cp1251", "koi8-r", "cp1253", "cp1254", "cp1257"),
    *("mac-roman", "cp850", "cp437", "cp866", "gbk", "big5", "shift_jis", "euc_kr"),
)
"""Usual encodings besides Unicode, from which `data.encoding` chooses if the bytes do not; the first is preferred."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_EAST = frozenset(("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL"))
"""Alphabets that one word may mix, by the first word of their characters' names."""
_WORD = re.compile(r"[^\W\d_]+")
_SIGNS = frozenset("“”„‘’‚–—…«»•·°§©®™€£¢¥¿¡±×÷µ²³¼½¾\xa0，。、？！：；（）《》「」")
"""Characters outside ASCII, besides letters, that texts of questions hold."""


class PlainText(NamedTuple):
    """A text and the encoding it was in."""

    text: str
    encoding: str


def decode(content: bytes, encoding: str | None, where: str) -> PlainText:
    """The text that some bytes hold, without a byte order mark.

    Args:
        encoding: what `data.encoding` says; None finds it out.
        where: names the bytes in messages.

    Raises:
        SettingsError: `encoding` is no encoding of texts.
        DataError: the bytes are not in that encoding, or could be in several that read differently.
    """
    if encoding is not None:
        text = _decoded(content, _known(encoding))
        if text is None:
            raise DataError(
                expected(f"{where}, data.encoding", encoding, "the encoding of the file; it is another one")
            )
        return PlainText(text.removeprefix("\ufeff"), encoding)
    for mark, name in _MARKS:
        if content.startswith(mark):
            text = _decoded(content, name)
            if text is None:
                raise DataError(
                    f"{where}: found the mark of {name} and bytes that are not {name}, expected one encoding"
                )
            return PlainText(text.removeprefix("\ufeff"), name)
    if b"\0" in content:
        return _without_mark(content, where)
    text = _decoded(content, "utf-8")
    return PlainText(text, "utf-8") if text is not None else _certain(content, where)


def _known(encoding: str) -> str:
    try:
        "".encode(encoding)  # an encoding of texts, not of bytes such as base64
    except (LookupError, ValueError):
        raise SettingsError(expected("data.encoding", encoding, f"such as utf-8, utf-16, {', '.join(USUAL)}")) from None
    return encoding


def _decoded(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except (UnicodeError, ValueError):
        return None


def _without_mark(content: bytes, where: str) -> PlainText:
    """A text in UTF-16 without a mark: tables hold ASCII characters, whose other byte is zero."""
    found = [
        PlainText(text, name)
        for name in ("utf-16-le", "utf-16-be")
        if (text := _decoded(content, name)) is not None and "\0" not in text and text[:4].isascii()
    ]
    if len(found) != 1:
        raise DataError(f"{where}: found bytes that are zero, expected a text, or data.encoding= with its encoding")
    return found[0]


def _certain(content: bytes, where: str) -> PlainText:
    """A text in one of the usual encodings, if all those in which it makes words say the same."""
    texts = {name: text for name in USUAL if (text := _decoded(content, name)) is not None and _makes_words(text)}
    if len(set(texts.values())) == 1:
        name, text = next(iter(texts.items()))
        return PlainText(text, name)
    at = next(i for i, byte in enumerate(content) if byte > 127)  # UTF-8 would have read it otherwise
    shown = content[max(0, at - 20) : at + 20]
    choices = [f"{name} ({_around(text, at)})" for name, text in texts.items()] or list(USUAL)
    raise DataError(
        f"{where}: found {shown!r} at byte {at}, which is not UTF-8, expected to know its encoding; give "
        f"data.encoding=, one of {', '.join(choices)}"
    )


def _around(text: str, at: int) -> str:
    """The word around a character, for a message, or the part of a long one."""
    start, end = max(0, at - 20), min(len(text), at + 20)
    return next((word[0] for word in _WORD.finditer(text, start, end) if word.start() <= at < word.end()), text[at])


def _makes_words(text: str) -> bool:
    """Are all words of one alphabet, without capitals inside, and all other characters usual ones?"""
    words = {word for word in _WORD.findall(text) if not word.isascii()}
    signs = {sign for sign in set(text) if not sign.isascii() and not sign.isalpha()}
    return signs <= _SIGNS and all(map(_is_word, words))


def _is_word(word: str) -> bool:
    alphabets = {unicodedata.name(letter, "").split(" ")[0] for letter in word}
    if alphabets <= _EAST:
        return True
    is_cased = word.islower() or word.isupper() or (word[0].isupper() and word[1:].islower())
    return len(alphabets) == 1 and "ª" not in word and "º" not in word and is_cased
