"""Texts in JSON and YAML, from anywhere -> plain values. No text runs code, hangs, or raises anything but one error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

import yaml
from pydantic import JsonValue
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tinythinker.core.errors import SettingsError, expected, shortened

Json = dict[str, JsonValue]

MOST_YAML_BYTES = 1_000_000
"""Largest YAML text; a larger one would take minutes to read and is no settings file."""
_MOST_DEPTH = 100
"""Most brackets around a value: the libraries that take values apart call themselves once per level."""
_MOST_VALUES = 100_000
"""Most values in a YAML text once its aliases are written out; a few lines of aliases can stand for billions."""
_TAG = "tag:yaml.org,2002:"
_BOOLEANS = yaml.constructor.SafeConstructor.bool_values
_UNWRITABLE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class MalformedError(ValueError):
    """A text that is no plain value. The message says what was found.

    Args:
        line: where, counted from 1; None if the whole text is meant.
    """

    def __init__(self, found: str, line: int | None = None) -> None:
        super().__init__(found)
        self.line = line

    def at(self, where: str) -> str:
        """The place in a text, for a message: `study.yaml:3`."""
        return where if self.line is None else f"{where}:{self.line}"


def parse_json(text: str) -> JsonValue:
    """The value of a JSON text (RFC 8259).

    Raises:
        MalformedError: it is not JSON, names a field twice, nests too deeply, or holds a number or half a character
            that could not be written again.
    """
    with _malformed(None):
        return _checked(_STRICT.decode(text), text)


def parse_json_values(text: str) -> Iterator[tuple[int, JsonValue]]:
    """Every value in a text of JSON Lines, or in one JSON list, with the line it begins on, counted from 1.

    Outside a list a value may go on over several lines, and the next one begins on a new line.

    Raises:
        MalformedError: as `parse_json` does.
    """
    at = _after_blanks(text, 0)
    is_list = text.startswith("[", at)
    at = _after_blanks(text, at + 1) if is_list else at
    line, seen = 1, 0
    while at < len(text) and not (is_list and text[at] == "]"):
        line, seen = line + text.count("\n", seen, at), at
        with _malformed(line):
            value, stop = _STRICT.raw_decode(text, at)
            value = _checked(value, text[at:stop])
        yield line, value
        at = _after_blanks(text, stop)
        if is_list and text.startswith(",", at) and not text.startswith("]", _after_blanks(text, at + 1)):
            at = _after_blanks(text, at + 1)
        elif at < len(text) and (text[at] != "]" if is_list else "\n" not in text[stop:at]):
            raise MalformedError("malformed JSON (a value that goes on behind its end)", _line_at(text, at))
    if is_list and (at == len(text) or _after_blanks(text, at + 1) < len(text)):
        raise MalformedError("malformed JSON (a list without an end, or with something behind it)", _line_at(text, at))


@contextmanager
def _malformed(line: int | None) -> Iterator[None]:
    """Turn what the JSON decoder raises into MalformedErrors; `line` is where the text or value begins."""
    try:
        yield
    except json.JSONDecodeError as error:
        raise MalformedError(f"malformed JSON ({error.msg} at column {error.colno})", error.lineno) from None
    except RecursionError:
        raise MalformedError(f"malformed JSON (nested more than {_MOST_DEPTH} deep)", line) from None
    except MalformedError as error:
        raise MalformedError(str(error), line) from None
    except ValueError:  # Python's limit on the digits of an integer
        raise MalformedError("malformed JSON (a number of thousands of digits)", line) from None


def _checked(value: JsonValue, text: str) -> JsonValue:
    """The value that a text was decoded to. Raises MalformedError if it could not be written again."""
    if _is_too_deep(text, value):
        raise MalformedError(f"malformed JSON (nested more than {_MOST_DEPTH} deep)")
    if "\\u" in text and _UNWRITABLE.search(json.dumps(value, ensure_ascii=False)):
        raise MalformedError("malformed JSON (half a character, an escape \\ud800 to \\udfff without its partner)")
    return value


_BLANKS = re.compile(r"[ \t\n\r]*")


def _after_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return at if match is None else match.end()


def _line_at(text: str, at: int) -> int:
    return 1 + text.count("\n", 0, at)


def parse_received(text: str) -> JsonValue:
    """The value of a JSON text that was paid for, so that no more is refused than must be.

    Of a field named twice the last counts, and half a character, left by a cut-off escape, becomes a question mark.

    Raises:
        MalformedError: it is not JSON, or nests too deeply.
    """
    try:
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedError("malformed JSON") from None
    if _is_too_deep(text, value):
        raise MalformedError(f"malformed JSON (nested more than {_MOST_DEPTH} deep)")
    if _UNWRITABLE.search(json.dumps(value, ensure_ascii=False)):
        value = json.loads(_UNWRITABLE.sub("?", json.dumps(value, ensure_ascii=False)))
    return value


def _is_too_deep(text: str, value: JsonValue) -> bool:
    return text.count("[") + text.count("{") > _MOST_DEPTH and _depth(value) > _MOST_DEPTH


def _distinct(pairs: Sequence[tuple[str, JsonValue]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedError(f"malformed JSON (field {shortened(twice)} twice)")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedError(f"malformed JSON ({name}, which is no number)")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise MalformedError(f"malformed JSON ({shortened(text)}, which is too large)")
    return number


_STRICT = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_refuse_constant, parse_float=_finite)


def _depth(value: JsonValue) -> int:
    """How many lists and mappings lie around the innermost value."""
    depth, level = 0, [value]
    while inner := [one for one in level if isinstance(one, list | dict)]:
        depth += 1
        level = [part for one in inner for part in (one.values() if isinstance(one, dict) else one)]
    return depth


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but a date is text, and nesting has a limit."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (an instance variable to the types of PyYAML)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """See `yaml.composer.Composer.compose_node`."""
        self.depth += 1
        if self.depth > _MOST_DEPTH:
            raise MalformedError(f"YAML nested more than {_MOST_DEPTH} deep", self.line + 1)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def parse_yaml(text: str) -> JsonValue:
    """The value of a YAML 1.1 text that JSON could hold too: aliases are written out, a date stays text.

    Raises:
        MalformedError: it is not YAML, has a key twice or a key that is no text, a tag other than those of JSON's
            types, too many values, or a character that no text holds.
    """
    if len(text) > MOST_YAML_BYTES:
        raise MalformedError(f"more than {MOST_YAML_BYTES:,} characters of YAML")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise MalformedError("malformed YAML", mark.line + 1 if mark else None) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise MalformedError(f"malformed YAML (control character {error.character:#x})", line) from None
    except MalformedError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, IndexError):  # such as an escape \UFFFFFFFF
        raise MalformedError("malformed YAML") from None
    return None if node is None else _Plain(loader).value(node)


class _Plain:
    """Turns the nodes of a YAML text into plain values, and counts them."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._count = self._depth = 0

    def value(self, node: Node) -> JsonValue:
        """The value of a node. Raises MalformedError."""
        self._count += 1
        if self._count > _MOST_VALUES:
            raise MalformedError(f"YAML that stands for more than {_MOST_VALUES:,} values", _line(node))
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise MalformedError(f"YAML nested more than {_MOST_DEPTH} deep, or in itself", _line(node))
        try:
            if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
                return self._mapping(node)
            if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
                return [self.value(one) for one in node.value]
            if isinstance(node, ScalarNode):
                return self._scalar(node)
        finally:
            self._depth -= 1
        raise MalformedError(f"YAML with the tag {shortened(node.tag.replace(_TAG, '!!'))}", _line(node))

    def _mapping(self, node: MappingNode) -> Json:
        """A mapping; what `<<` merges into it gives way to its own keys."""
        merged: Json = {}
        own: Json = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                for one in self._merged(value_node):
                    merged = {**one, **merged}
                continue
            key = self.value(key_node)
            if not isinstance(key, str):
                shown = key_node.value if isinstance(key_node, ScalarNode) else "a list or mapping"
                raise MalformedError(f"the key {shortened(shown)}, which is no text without quotes", _line(key_node))
            if key in own:
                raise MalformedError(f"the key {shortened(key)} twice", _line(key_node))
            own[key] = self.value(value_node)
        return {**merged, **own}

    def _merged(self, node: Node) -> Iterator[Json]:
        value = self.value(node)
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                raise MalformedError("malformed YAML (`<<` without a mapping)", _line(node))
            yield one

    def _scalar(self, node: ScalarNode) -> JsonValue:
        text: str = node.value
        if found := _CONTROL.search(text) or _UNWRITABLE.search(text):
            raise MalformedError(f"YAML with a character that no text holds ({ord(found[0]):#x})", _line(node))
        kind = node.tag.removeprefix(_TAG)
        try:
            if kind in ("str", "value"):
                return text
            if kind == "null" and text.lower() in ("", "~", "null"):
                return None
            if kind == "bool":
                return _BOOLEANS[text.lower()]
            if kind == "int":
                return int(self._loader.construct_yaml_int(node))
            if kind == "float":
                return float(self._loader.construct_yaml_float(node))
        except (ValueError, KeyError, IndexError, OverflowError):
            raise MalformedError(f"{shortened(text)}, which is no {kind}", _line(node)) from None
        raise MalformedError(f"YAML with the tag {shortened(node.tag.replace(_TAG, '!!'))}", _line(node))


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def yaml_mapping(text: str, where: str, keys: str) -> Json:
    """The mapping in a YAML text; empty for an empty text.

    Args:
        where: names the text in messages.
        keys: what the text should hold, for messages.

    Raises:
        SettingsError: it is malformed, or no mapping.
    """
    try:
        value = parse_yaml(text)
    except MalformedError as error:
        raise SettingsError(f"{error.at(where)}: found {error}, expected {keys}") from None
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SettingsError(expected(where, value, keys))
    return dict(value)
