from __future__ import annotations

import json

import pytest

from tests.teacher.llm.server import chat, streamed
from tinythinker.core.formats import MalformedError
from tinythinker.teacher.llm.stream import is_stream, joined


def events(*chunks: object) -> str:
    return "".join(f"data: {json.dumps(chunk, ensure_ascii=False)}\r\n\r\n" for chunk in chunks)


def piece(text: str, index: int = 0, finish: str | None = None) -> dict[str, object]:
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}]}


def test_the_pieces_of_several_choices_give_the_body_they_would_have_been() -> None:
    body = chat(["first text", "second"], finish=["stop", "length"], usage=(10, 5))
    whole, made = json.loads(body), joined(streamed(body).decode())
    assert isinstance(made, dict)
    assert (made["choices"], made["usage"], made["model"]) == (whole["choices"], whole["usage"], "played")


def test_line_ends_inside_a_text_end_no_piece() -> None:
    made = joined(events(piece("a\u2028b"), piece("\x85c", finish="stop")) + "data: [DONE]")
    assert isinstance(made, dict)
    assert made["choices"] == [{"index": 0, "message": {"content": "a\u2028b\x85c"}, "finish_reason": "stop"}]


@pytest.mark.parametrize(
    "text",
    [events(piece("a")), events(piece("a", finish="stop"), piece("b", 1)), events(piece("a"))[:-9], events()],
    ids=["no end", "one of two", "torn", "empty"],
)
def test_a_stream_that_ended_early_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        joined(text)


def test_a_stream_without_its_last_mark_is_whole_if_every_choice_is() -> None:
    assert joined(events(piece("a"), piece("", finish="stop"))) == {
        "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]
    }


def test_a_body_in_one_piece_is_no_stream() -> None:
    assert is_stream(": ping\n\ndata: {}")
    assert not is_stream(chat(["data: x\ndata: y"]).decode())
    assert not is_stream("<html>data: x</html>")
