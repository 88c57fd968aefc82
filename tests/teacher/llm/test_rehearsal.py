from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest

from tests.teacher.llm.server import Answer, Handler, Request, chat, rationale_text, refusal, serving
from tinythinker import api
from tinythinker.core.errors import SettingsError, TeacherError
from tinythinker.core.run import RunDirectory

LINES = [
    {"id": f"q{i}", "question": f"Where is number {i}?", "options": ["up", "down"], "answer": "AB"[i % 2]}
    for i in range(10)
]


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of ten questions: six to train on."""
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    monkeypatch.chdir(tmp_path)
    return "q.jsonl"


def words(url: str, *more: str) -> list[str]:
    return [
        "teacher.source=openai",
        "teacher.llm.model=played",
        f"teacher.llm.base_url={url}",
        "teacher.llm.samples=2",
        "teacher.llm.attempts=1",
        "teacher.llm.input_price=1000",
        "teacher.llm.output_price=2000",
        "split.valid=0.2",
        "split.test=0.2",
        "student.init=scratch",
        *more,
    ]


def perfect(*, spoilt: int = 0) -> Handler:
    """Answers perfectly, after some answers that nobody can read."""
    number = count()

    def answer(request: Request) -> Answer:
        texts = [rationale_text(request, f"{next(number) * 7919:05d}" * 7) for _ in range(request.n)]
        return Answer(body=chat(["hm"] if next(number) < 2 * spoilt else texts, usage=(2_000, 50)))

    return answer


def test_a_rehearsal_shows_request_reply_reading_tokens_and_money(task: str) -> None:
    with serving(perfect(spoilt=1)) as server:
        heard = api.try_(task, *words(server.url), out="run")
    assert [request.n for request in server.requests] == [1, 1, 1]
    assert heard.request["messages"] == server.requests[0].json["messages"]
    assert [one.read is not None for one in heard.heard] == [False, True, True]
    assert heard.heard[0].reply.text == "hm"
    assert "no_recall (no key information): 'hm'" in str(heard.heard[0].problem)
    assert (heard.requests, heard.prompt_tokens, heard.completion_tokens) == (3, 6_000, 150)
    # 6,000 at 1000 and 150 at 2000 dollars per million; all: six questions of 2,000, twelve completions of 50
    assert heard.cost == pytest.approx(6.3)
    assert heard.whole_completions == 12
    assert heard.whole_cost == pytest.approx(13.2)
    printed = "\n".join(heard.lines())
    assert "[reply, finish: stop]\nhm" in printed
    assert "2 of 3 replies could be read" in printed
    assert "$6.30 (price: teacher.llm.input_price and teacher.llm.output_price); all 12 completions" in printed


def test_what_a_rehearsal_paid_for_is_not_asked_for_again(task: str) -> None:
    with serving(perfect()) as server:
        api.try_(task, *words(server.url), out="run", questions=2)
        again = api.try_(task, *words(server.url), out="run", questions=2)
        assert len(server.requests) == 2
        assert (again.requests, again.cost, len(again.heard)) == (0, 0, 2)
        assert "nothing was asked" in "\n".join(again.lines())
        run = api.start(task, "run", *words(server.url))
        assert api.teach(run).rationales == 12
    assert sum(request.n for request in server.requests) == 12


def test_a_rehearsal_decides_no_setting(task: str) -> None:
    with serving(perfect()) as server:
        api.try_(task, *words(server.url, "teacher.llm.temperature=0.1"), out="run", questions=1)
        api.try_(task, *words(server.url), out="run", questions=1)
        run = api.start(task, "run", *words(server.url, "teacher.llm.examples=2"))
        api.teach(run)
        with pytest.raises(SettingsError, match="was begun with other settings"):
            api.try_(task, *words(server.url), "teacher.llm.examples=3", out="run")
    assert [request.json["temperature"] for request in server.requests[:3]] == [0.1, 0.8, 0.8]


def test_a_rehearsal_that_fails_says_so_in_one_line_and_leaves_no_settings_behind(task: str) -> None:
    with serving(lambda _: refusal(401, "who are you?")) as server:  # noqa: SIM117
        with pytest.raises(TeacherError, match=r"status 401 \(who are you\?\)"):
            api.try_(task, *words(server.url), out="run")
    assert RunDirectory(Path("run")).manifest().begun == {}
    with pytest.raises(SettingsError, match="questions: found 0, expected 1 or more"):
        api.try_(task, *words(server.url), out="run", questions=0)


def test_what_the_endpoint_refuses_is_told(task: str) -> None:
    def picky(request: Request) -> Answer:
        is_first = len(server.requests) == 1
        return refusal(400, "no such word") if is_first else perfect()(request)

    with serving(picky) as server:
        heard = api.try_(task, *words(server.url), out="run", questions=2)
    assert (len(heard.heard), list(heard.refused.values())) == (1, ["status 400: no such word"])
    assert "refused]\nstatus 400: no such word" in "\n".join(heard.lines())
    with serving(lambda _: refusal(400, "no such word")) as server:  # noqa: SIM117
        with pytest.raises(TeacherError, match="status 400: no such word, expected an answer to one of the questions"):
            api.try_(task, *words(server.url), out="other", questions=2)
