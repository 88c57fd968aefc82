"""What endpoints do in practice, scripted: every behaviour with its wanted outcome."""

from __future__ import annotations

import json
import time
from itertools import count
from typing import Any

import pytest

from tests.conftest import ask
from tests.teacher.conftest import KEY, Interviewer, read_usage, some_questions
from tests.teacher.llm.server import (
    Answer,
    Handler,
    Request,
    body_of,
    chat,
    choice,
    rationale_text,
    refusal,
    serving,
    streamed,
)
from tinythinker.core.errors import TeacherError
from tinythinker.core.records import Flaw, Rationale, Rejected
from tinythinker.core.run import RunDirectory
from tinythinker.teacher.llm.interview import Interview
from tinythinker.teacher.llm.prompt import WORDINGS, make_prompt
from tinythinker.teacher.select import advice

ALONE = ("teacher.llm.samples=1", "teacher.llm.waves=1")
_MARKS = count(1)
FIELDS = ["reasoning_content", "reasoning"]


def perfect() -> Handler:
    """Answers every request perfectly."""

    def answer(request: Request) -> Answer:
        texts = [rationale_text(request, f"{next(_MARKS):05d}" * 5) for _ in range(request.n)]
        return Answer(body=chat(texts, usage=(2_000, 50)))

    return answer


def after(*first: Answer, then: Handler | None = None) -> Handler:
    """Gives these answers to the first requests, then answers perfectly."""
    left, rest = list(first), then or perfect()
    return lambda request: left.pop(0) if left else rest(request)


def rejected(asked: Interview) -> Rejected:
    """The first answer that could not be read."""
    return next(answer for answer in asked.answers() if isinstance(answer, Rejected))


# Thinking


@pytest.mark.parametrize("field", FIELDS)
def test_an_answer_among_the_thoughts_is_read_there(interview: Interviewer, field: str) -> None:
    def thinking(request: Request) -> Answer:
        thoughts: dict[str, Any] = {field: f"Let me think.\n</think>\n{rationale_text(request, 'x' * 20)}"}
        return Answer(body=body_of(choice(content=None, **thoughts)))

    with serving(thinking) as server:
        asked = interview(server.url, *ALONE)
        asked.ask()
    assert asked.missing() == {}
    assert all(isinstance(answer, Rationale) for answer in asked.answers())


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("content", [None, "", " \n"])
def test_thoughts_without_an_answer_say_where_the_text_is_and_what_helps(
    interview: Interviewer, field: str, content: str | None
) -> None:
    message: dict[str, Any] = {"content": content, field: "Hm, stairs go up."}
    answer = Answer(body=body_of(choice(**message)))
    with serving(lambda _: answer) as server:
        asked = interview(server.url, *ALONE)
        asked.ask()
    found = rejected(asked)
    assert (found.flaw, found.text) == (Flaw.THOUGHTS, "Hm, stairs go up.")
    assert f"all the text is in `{field}`" in advice(found)
    assert "teacher.llm.request" in advice(found)


def test_thoughts_next_to_an_answer_are_not_kept(interview: Interviewer, run: RunDirectory) -> None:
    def thinking(request: Request) -> Answer:
        return Answer(body=body_of(choice(content=rationale_text(request, "x" * 20), reasoning="private musings")))

    with serving(thinking) as server:
        interview(server.url, *ALONE).ask()
    assert "musings" not in run.completions.read_text()


@pytest.mark.parametrize(
    "message",
    [{"content": "", "reasoning_content": "Hm"}, {"content": None}, {"content": "<think>Hm, stairs"}],
    ids=["shown", "hidden", "in the text"],
)
def test_tokens_all_spent_on_thinking_are_named_and_counted(
    interview: Interviewer, run: RunDirectory, message: dict[str, Any]
) -> None:
    usage = {
        "prompt_tokens": 2_000,
        "completion_tokens": 256,
        "completion_tokens_details": {"reasoning_tokens": 256},
    }
    answer = Answer(body=body_of(choice(finish="length", **message), usage=usage))
    with serving(lambda _: answer) as server:
        asked = interview(server.url, *ALONE)
        asked.ask()
    found = rejected(asked)
    assert (found.flaw, found.reason) == (Flaw.CUT, "reached max_tokens while it was still thinking")
    assert "raise teacher.llm.max_tokens, or switch the model's thinking off" in advice(found)
    used = read_usage(run)
    # 4 requests at 1000 and 2000 dollars per million tokens
    assert (used["reasoning_tokens"], used["cost"]) == (4 * 256, 4 * (2.0 + 0.512))


def test_thinking_that_is_left_out_of_the_completion_tokens_is_paid_for(
    interview: Interviewer, run: RunDirectory
) -> None:
    usage = {"prompt_tokens": 2_000, "completion_tokens": 50, "total_tokens": 3_050}

    def thinking(request: Request) -> Answer:
        return Answer(body=body_of(choice(content=rationale_text(request, "x" * 20)), usage=usage))

    with serving(thinking) as server:
        interview(server.url, *ALONE).ask()
    used = read_usage(run)
    assert (used["completion_tokens"], used["reasoning_tokens"]) == (4 * 1_050, 4 * 1_000)


def test_thinking_counts_against_the_budget(interview: Interviewer) -> None:
    usage = {"prompt_tokens": 2_000, "completion_tokens": 0, "total_tokens": 12_000}
    with serving(lambda _: Answer(body=body_of(choice(content=""), usage=usage))) as server:
        with pytest.raises(TeacherError, match=r"budget_tokens=30000: found 24,000 tokens"):
            interview(server.url, *ALONE, "teacher.llm.budget_tokens=30000", "teacher.llm.concurrency=1").ask()
        assert len(server.requests) == 2


# Streams


def only_streams(request: Request) -> Answer:
    """Refuses whatever is not asked for as a stream."""
    if not request.json.get("stream"):
        return refusal(400, "This model only supports stream mode, please enable the stream parameter.")
    return Answer(body=streamed(perfect()(request).body), headers={"content-type": "text/event-stream"})


@pytest.mark.parametrize("stream", ["true", "false"])
def test_an_endpoint_that_only_streams_is_asked_for_streams(
    interview: Interviewer, run: RunDirectory, stream: str
) -> None:
    with serving(only_streams) as server:
        asked = interview(server.url, f"teacher.llm.stream={stream}")
        asked.ask()
    assert asked.missing() == {}
    assert [request.json.get("stream") for request in server.requests].count(None) == (stream == "false")
    assert server.requests[-1].json["stream_options"] == {"include_usage": True}
    used = read_usage(run)
    assert (used["prompt_tokens"], used["completion_tokens"], used["uncounted_requests"]) == (8_000, 200, 0)


def test_a_stream_without_usage_options_is_asked_for_without_them(interview: Interviewer, run: RunDirectory) -> None:
    def plain(request: Request) -> Answer:
        if "stream_options" in request.json:
            return refusal(400, "Unrecognized request argument supplied: stream_options")
        return only_streams(request)

    with serving(plain) as server:
        interview(server.url, "teacher.llm.stream=true").ask()
    assert len(server.requests) == 5
    assert read_usage(run)["completions"] == 8


def test_a_cut_stream_is_asked_for_again_and_may_have_been_billed(interview: Interviewer, run: RunDirectory) -> None:
    whole = streamed(chat(["Key Information: x", "y"]))
    cut = Answer(body=whole[: len(whole) // 2], headers={"content-type": "text/event-stream"})
    torn = Answer(body=whole.rpartition(b"data: {")[0].rpartition(b"data: {")[0])
    with serving(after(cut, torn, then=only_streams)) as server:
        asked = interview(server.url, "teacher.llm.stream=true")
        asked.ask()
    assert asked.missing() == {}
    assert asked.ledger.count_received() == 8
    assert read_usage(run)["failed_tries"] == {"bad reply": 2}
    assert int(str(read_usage(run)["lost_tokens"])) > 0


def test_an_error_in_mid_stream_is_the_endpoints_own(interview: Interviewer, run: RunDirectory) -> None:
    events = b'data: {"choices": [{"index": 0, "delta": {"content": "Key"}}]}\n\n'
    events += b'data: {"error": {"message": "worker died", "code": 502}, "choices": []}\n\n'
    with serving(after(Answer(body=events), then=only_streams)) as server:
        interview(server.url, "teacher.llm.stream=true").ask()
    assert read_usage(run)["failed_tries"] == {"status 502": 1}


def test_a_stream_that_spells_the_key_in_pieces_is_masked(interview: Interviewer, run: RunDirectory) -> None:
    def leaky(request: Request) -> Answer:
        return Answer(body=streamed(body_of(choice(content=f"{rationale_text(request, 'x')} {KEY} {KEY}")), pieces=60))

    with serving(leaky) as server:
        interview(server.url, *ALONE, "teacher.llm.stream=true").ask()
    assert KEY not in run.completions.read_text()
    assert "[key]" in run.completions.read_text()


# Forms of asking


@pytest.mark.parametrize(
    "complaint",
    [
        "Unsupported value: 'temperature' does not support 0.8. Only the default (1) value is supported.",
        "invalid temperature: only 1 is allowed for this model",
        "temperature is deprecated for this model",
    ],
)
def test_an_endpoint_with_one_temperature_gets_none_and_what_was_paid_keeps_its_key(
    interview: Interviewer, capsys: pytest.CaptureFixture[str], complaint: str
) -> None:
    def one_temperature(request: Request) -> Answer:
        return refusal(400, complaint) if "temperature" in request.json else perfect()(request)

    with serving(perfect()) as server:
        before = interview(server.url, questions=some_questions(2))
        before.ask()
    with serving(one_temperature) as server:
        asked = interview(server.url)
        asked.ask()
        assert interview(server.url).next_jobs() == []
    assert asked.missing() == {}
    assert [request.json.get("temperature") for request in server.requests].count(None) == 2  # the two new questions
    assert "takes no temperature; it is left out" in capsys.readouterr().err


def test_a_temperature_out_of_range_is_refused(interview: Interviewer) -> None:
    complaint = "temperature must be between 0 and 1; only values in this range are allowed"
    with serving(lambda _: refusal(400, complaint)) as server:  # noqa: SIM117
        with pytest.raises(TeacherError, match="temperature must be between 0 and 1"):
            interview(server.url).ask()
    assert all("temperature" in request.json for request in server.requests)


def test_more_fields_are_sent_with_every_request(interview: Interviewer) -> None:
    with serving(perfect()) as server:
        interview(server.url, "teacher.llm.request={reasoning_effort: low, extra_body: {k: [1]}}").ask()
    assert all(request.json["reasoning_effort"] == "low" for request in server.requests)
    assert all(request.json["extra_body"] == {"k": [1]} for request in server.requests)


# Errors with a good status


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (json.dumps({"error": {"message": "upstream is full", "code": 429}}), "status 429", "upstream is full"),
        (json.dumps({"error": {"message": "upstream is full"}}), "reported error", "upstream is full"),
        (json.dumps({"error": "model is loading"}), "reported error", "model is loading"),
        (body_of(choice(finish="error", error={"message": "worker died"})).decode(), "reported error", "worker died"),
        (body_of(choice(finish="error", content="Key Inf")).decode(), "reported error", "finish_reason: error"),
    ],
)
def test_an_error_with_a_good_status_says_its_own_message_and_costs_nothing(
    interview: Interviewer, run: RunDirectory, body: str, kind: str, message: str
) -> None:
    with serving(lambda _: Answer(body=body.encode())) as server:  # noqa: SIM117
        with pytest.raises(TeacherError, match=rf"last {kind}: {message}\)"):
            interview(server.url, "teacher.llm.attempts=2").ask()
    assert read_usage(run)["failed_tries"] == {kind: 6}
    assert read_usage(run)["lost_tokens"] == 0


def test_an_error_with_a_good_status_that_no_retry_can_fix_stops_at_once(interview: Interviewer) -> None:
    body = json.dumps({"error": {"message": "no credits left", "code": 402}}).encode()
    with serving(lambda _: Answer(body=body)) as server:  # noqa: SIM117
        with pytest.raises(TeacherError, match=r"status 402 \(no credits left\), expected credit on the account"):
            interview(server.url).ask()
    assert len(server.requests) == 1


def test_choices_without_an_error_are_kept_when_another_failed(interview: Interviewer) -> None:
    def half(request: Request) -> Answer:
        good = choice(0, content=rationale_text(request, f"{len(server.requests):05d}" * 5))
        return Answer(body=body_of(good, *[choice(1, finish="error")] * (request.n > 1)))

    with serving(half) as server:
        asked = interview(server.url)
        asked.ask()
    assert asked.missing() == {}
    assert asked.ledger.count_received() == 8


# Waits


@pytest.mark.parametrize(
    "limit",
    [
        Answer(429, b'[{"error": {"code": 429, "details": [{"@type": "RetryInfo", "retryDelay": "0.6s"}]}}]'),
        refusal(429, "Rate limit reached. Please try again in 600ms."),
        refusal(429, "slow", None, **{"x-ratelimit-reset-requests": "0.6s"}),
        Answer(200, b'{"error": {"code": 429, "message": "Please retry in 0.6s."}}'),
    ],
    ids=["retryDelay", "words", "reset", "good status"],
)
def test_all_workers_wait_as_long_as_a_limit_lasts(interview: Interviewer, limit: Answer) -> None:
    times: list[float] = []

    def timed(request: Request) -> Answer:
        times.append(time.monotonic())
        return limit if len(times) == 2 else perfect()(request)

    with serving(timed) as server:
        asked = interview(server.url, *ALONE, "teacher.llm.concurrency=2", questions=some_questions(8))
        asked.ask()
    assert asked.missing() == {}
    late = [at for at in times[2:] if at - times[1] < 0.55]
    assert len(late) <= 1  # the one that was under way with it


# Prompts


def test_a_prompt_that_is_cut_in_silence_is_said_once(
    interview: Interviewer, capsys: pytest.CaptureFixture[str]
) -> None:
    def short(request: Request) -> Answer:
        return Answer(body=chat(["Key Information: x"] * request.n, usage=(1_024, 50)))

    with serving(short) as server:
        interview(server.url, "teacher.llm.waves=2").ask()
    said = capsys.readouterr().err
    assert said.count("seems to cut prompts") == 1
    assert "counts 1,024 prompt tokens where about 1,7" in said
    assert "OLLAMA_CONTEXT_LENGTH" in said


def test_a_prompt_that_is_read_in_full_is_not_mentioned(
    interview: Interviewer, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(perfect()) as server:
        interview(server.url).ask()
    assert "cut prompts" not in capsys.readouterr().err


def test_a_prompt_that_is_refused_as_too_long_names_the_setting_that_shortens_it(interview: Interviewer) -> None:
    complaint = "request (1753 tokens) exceeds the available context size (1024 tokens), try increasing it"
    with serving(lambda _: refusal(400, complaint)) as server:  # noqa: SIM117
        with pytest.raises(TeacherError, match=r"try increasing it \(teacher\.llm\.examples=3 makes the prompt half"):
            interview(server.url).ask()


def test_the_limit_of_a_completion_follows_the_question_unless_it_is_set(interview: Interviewer) -> None:
    many = ask("Which?", *(f"thing {i}" for i in range(12)), gold="A", id="many")
    with serving(perfect()) as server:
        interview(server.url, questions=[many]).ask()
        interview(server.url, "teacher.llm.max_tokens=77", "teacher.llm.samples=3", questions=[many]).ask()
    limits = [request.json["max_tokens"] for request in server.requests]
    assert limits[0] > 256
    assert limits[1] == 77


def test_a_run_keeps_the_wording_that_it_was_begun_with(
    interview: Interviewer, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = WORDINGS
    with serving(perfect()) as server:
        with monkeypatch.context() as then:
            then.setattr("tinythinker.teacher.llm.interview.WORDINGS", (old,))
            begun = interview(server.url, questions=some_questions(2))
            begun.ask()
            interview(server.url, questions=some_questions(3)).export()
        count_before = len(server.requests)
        again = interview(server.url)
        assert again.prompt.hash == begun.prompt.hash
        again.ask()
        assert len(server.requests) == count_before + 2  # nothing that was paid for is asked again
        run.completions.unlink()
        assert interview(server.url).prompt.hash == begun.prompt.hash  # what is out as a file is in that wording too
    assert make_prompt.__defaults__ == (new,)


@pytest.mark.parametrize("place", ["finish", "content", "reasoning"])
def test_a_key_that_the_server_repeats_is_masked_wherever_it_stands(
    interview: Interviewer, run: RunDirectory, place: str
) -> None:
    said: dict[str, Any] = {"finish": "stop", "content": "", "reasoning": "", place: f"it is {KEY}"}
    with serving(lambda _: Answer(body=body_of(choice(**said)))) as server:
        interview(server.url, *ALONE).ask()
    assert KEY not in run.completions.read_text()
    assert "it is [key]" in run.completions.read_text()
