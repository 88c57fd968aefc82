from __future__ import annotations

import pytest

from tinythinker.core.errors import SettingsError
from tinythinker.core.formats import (
    MalformedError,
    parse_json,
    parse_json_values,
    parse_received,
    parse_yaml,
    yaml_mapping,
)

LAUGH = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Nine lines of aliases that stand for a thousand million values."""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", r"malformed JSON \(Expecting property name .* at column 2\)"),
        ('{"a": 1, "a": 2}', r"field 'a' twice"),
        ('{"b": {"a": 1, "c": 0, "a": 1}}', r"field 'a' twice"),
        ("[" * 101 + "]" * 101, r"nested more than 100 deep"),
        ("[" * 100_000, r"nested more than 100 deep"),
        ("9" * 5000, r"a number of thousands of digits"),
        ("[NaN]", r"NaN, which is no number"),
        ("[-Infinity]", r"-Infinity, which is no number"),
        ("1e999", r"'1e999', which is too large"),
        (r'{"\ud800": 1}', r"half a character"),
        (r'["\udc00\ud800"]', r"half a character"),
    ],
)
def test_a_json_text_that_is_no_plain_value_is_refused_with_the_reason(text: str, found: str) -> None:
    with pytest.raises(MalformedError, match=found):
        parse_json(text)


def test_json_that_only_looks_odd_is_read() -> None:
    deep = "[" * 100 + "]" * 100
    many = "[" + ",".join(["[]"] * 500) + "]"
    assert parse_json(many) == [[]] * 500
    assert parse_json(deep) != []
    assert parse_json(r'["\ud83d\ude00", "\\ud800"]') == ["\U0001f600", "\\ud800"]


@pytest.mark.parametrize("text", ['[1,\n\n{"a": 2}\n ]', '1\n\n{"a": 2}\n', '\n[1, \n{"a":\n2}]', '1\r\n\r\n{"a": 2}'])
def test_the_values_of_a_list_and_of_lines_come_with_the_line_they_begin_on(text: str) -> None:
    values = dict(parse_json_values(text))
    assert list(values.values()) == [1, {"a": 2}]
    assert list(values) == [text[: text.index("1")].count("\n") + 1, text[: text.index("{")].count("\n") + 1]


@pytest.mark.parametrize(
    ("text", "line"),
    [("[1,]", 1), ("[1\n", 2), ("[1]\n2", 1), ("1 2", 1), ("1\n{", 2), ('1\n\n{"a": 1, "a": 2}', 3), ("[\n,1]", 2)],
)
def test_a_list_or_line_that_is_torn_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(MalformedError) as caught:
        list(parse_json_values(text))
    assert caught.value.line == line


def test_no_values_are_none() -> None:
    assert list(parse_json_values("")) == list(parse_json_values(" [ ]\n")) == []


@pytest.mark.parametrize(
    ("text", "found", "line"),
    [
        ("a: 1\na: 2", "the key 'a' twice", 2),
        ("a: 1\nb: {c: 1, c: 1}", "the key 'c' twice", 2),
        ("1: 2", "the key '1', which is no text", 1),
        ("a:\n  yes: 2", "the key 'yes', which is no text", 2),
        ("[a]: 2", "the key 'a list or mapping'", 1),
        ("a: !!int z", "'z', which is no int", 1),
        ("a: !!float z", "'z', which is no float", 1),
        ("a: !!bool z", "'z', which is no bool", 1),
        ("a: !!timestamp z", "the tag '!!timestamp'", 1),
        ("a: !!binary aGVsbG8=", "the tag '!!binary'", 1),
        ("a: !!set {b}", "the tag '!!set'", 1),
        ("a: !!python/object/apply:os.system [exit 7]", "the tag '!!python/object/apply:os.system'", 1),
        ("a: " + "9" * 5000, "which is no int", 1),
        ("a: " + "[" * 1500 + "]" * 1500, "nested more than 100 deep", 1),
        (LAUGH, "stands for more than 100,000 values", 1),
        ("a: &a [*a]", "nested more than 100 deep, or in itself", 1),
        ("a: *b", "malformed YAML", 1),
        ("a: 1\n--- \nb: 2", "malformed YAML", 2),
        ("a:\n\tb: 2", "malformed YAML", 2),
        ("a: 1\nb: \x00", r"control character 0x0", 2),
        ('a: "\\0"', "a character that no text holds (0x0)", 1),
        ('a: "\\ud800"', "a character that no text holds (0xd800)", 1),
        ("a: {<<: 3}", "`<<` without a mapping", 1),
        ("x" * 1_000_001, "more than 1,000,000 characters", None),
    ],
)
def test_a_yaml_text_that_is_no_plain_value_is_refused_with_the_reason_and_its_line(
    text: str, found: str, line: int | None
) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_yaml(text)
    assert found in str(caught.value)
    assert caught.value.line == line


def test_yaml_is_read_with_aliases_written_out_and_dates_as_text() -> None:
    text = "a: &a {b: 1, c: 0x10}\nd: {<<: *a, b: 2}\ne: [2024-01-31, 1.5, ~, true, *a]\n"
    assert parse_yaml(text) == {
        "a": {"b": 1, "c": 16},
        "d": {"b": 2, "c": 16},
        "e": ["2024-01-31", 1.5, None, True, {"b": 1, "c": 16}],
    }


def test_what_was_paid_for_is_read_with_more_patience_than_what_can_be_corrected() -> None:
    assert parse_received(r'{"a": 1, "a": "\ud800 x", "\udc00": "\ud83d\ude00"}') == {"a": "? x", "?": "\U0001f600"}
    for text in ("{", "[" * 100_000, "[" * 900 + "]" * 900, "9" * 5000):
        with pytest.raises(MalformedError):
            parse_received(text)


def test_an_empty_text_is_an_empty_mapping_and_anything_else_must_be_one() -> None:
    assert yaml_mapping("# nothing\n", "a.yaml", "keys") == {}
    with pytest.raises(SettingsError, match=r"^a\.yaml: found 'x', expected keys$"):
        yaml_mapping("x", "a.yaml", "keys")
    with pytest.raises(SettingsError, match=r"^a\.yaml:2: found the key 'b' twice, expected keys$"):
        yaml_mapping("b: 1\nb: 1", "a.yaml", "keys")
