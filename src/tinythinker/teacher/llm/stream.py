"""An answer that arrives in pieces (server-sent events), put together into the body it would have been."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from tinythinker.core.formats import Json, MalformedError, parse_received

_DATA = "data:"
_END = "[DONE]"


def is_stream(text: str) -> bool:
    """Is a response a stream of events, and not one JSON value?"""
    return text.lstrip()[:1] in ("d", "e", ":", "i", "r") and any(map(_is_data, text.split("\n")))


def _is_data(line: str) -> bool:
    return line.startswith(_DATA)


def joined(text: str) -> JsonValue:
    """The body of a chat completion from its pieces; the usage is the last one given.

    Raises:
        MalformedError: a piece is torn, or the stream ended before every choice did.
    """
    body: Json = {}
    messages: dict[int, Json] = {}
    finishes: dict[int, JsonValue] = {}
    is_ended = False
    for line in filter(_is_data, text.split("\n")):  # not `splitlines`: a text may hold other line ends
        piece = line.removeprefix(_DATA).strip()
        if piece == _END:
            is_ended = True
            break
        for name, value in _fields(piece):
            if name == "choices":
                _add(value, messages, finishes)
            elif value is not None:
                body[name] = value
    if "error" not in body and not (is_ended or (messages and messages.keys() == finishes.keys())):
        raise MalformedError("a stream that ended early")
    whole = messages.keys() & finishes.keys() if "error" in body else messages.keys()
    choices: list[JsonValue] = [
        {"index": i, "message": messages[i], "finish_reason": finishes.get(i)} for i in sorted(whole)
    ]
    return body | ({"choices": choices} if choices else {})


def _fields(piece: str) -> Iterator[tuple[str, JsonValue]]:
    value = parse_received(piece)
    yield from value.items() if isinstance(value, dict) else ()


def _add(choices: JsonValue, messages: dict[int, Json], finishes: dict[int, JsonValue]) -> None:
    """Add what a piece says of each choice to what the earlier ones said."""
    for choice in choices if isinstance(choices, list) else []:
        index = choice.get("index", 0) if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(index, int):
            continue
        message = messages.setdefault(index, {})
        delta = choice.get("delta")
        for name, value in delta.items() if isinstance(delta, dict) else ():
            before = message.get(name)
            if isinstance(value, str):
                message[name] = (before if isinstance(before, str) else "") + value if name != "role" else value
        if (finish := choice.get("finish_reason")) is not None:
            finishes[index] = finish
        if choice.get("error"):
            finishes[index] = "error"
