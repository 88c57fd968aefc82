from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import threading
import time
from collections import Counter
from email.utils import formatdate
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.teacher.conftest import KEY, Interviewer, read_usage, some_questions
from tests.teacher.llm.server import Answer, Request, chat, played_apart, rationale_text, refusal, serving
from tinythinker.core.errors import DataError, SettingsError, TeacherError
from tinythinker.core.files import Appender, read_records
from tinythinker.core.run import RunDirectory
from tinythinker.teacher.llm import endpoint, wire
from tinythinker.teacher.llm.ledger import Ledger, Reply


class Play:
    """Answers perfectly, after the given answers to the first requests."""

    def __init__(self, *first: Answer, has_n: bool = True, usage: tuple[int, int] | None = (100, 50)) -> None:
        self._first = list(first)
        self._has_n, self._usage = has_n, usage
        self._marks = count(1)
        self.is_down = False

    def __call__(self, request: Request) -> Answer:
        if self.is_down:
            return refusal(503, "down")
        if self._first:
            return self._first.pop(0)
        n = request.n if self._has_n else 1
        texts = [rationale_text(request, f"{next(self._marks):05d}" * 5) for _ in range(n)]
        return Answer(body=chat(texts, usage=self._usage))


def ledger_of(asked: object) -> Ledger:
    ledger = getattr(asked, "ledger")  # noqa: B009
    assert isinstance(ledger, Ledger)
    return ledger


def test_every_question_gets_its_completions_in_one_request(interview: Interviewer, run: RunDirectory) -> None:
    with serving(Play()) as server:
        asked = interview(server.url)
        asked.ask()
    assert asked.missing() == {}
    assert [request.n for request in server.requests] == [2, 2, 2, 2]
    body = server.requests[0].json
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("played", 0.8, 256)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    usage = read_usage(run)
    # 4 requests of 100 prompt and 50 completion tokens, at 1000 and 2000 dollars per million
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["cost"]) == (400, 200, 0.8)


def test_a_second_call_sends_nothing(interview: Interviewer) -> None:
    with serving(Play()) as server:
        interview(server.url).ask()
        interview(server.url).ask()
    assert len(server.requests) == 4


def test_an_endpoint_that_ignores_n_gets_one_request_per_completion(interview: Interviewer) -> None:
    with serving(Play(has_n=False)) as server:
        asked = interview(server.url)
        asked.ask()
    assert asked.missing() == {}
    assert len(server.requests) == 8  # the first request found this out, and its answer counts
    assert [request.n for request in server.requests[1:]] == [1] * 7


def test_an_endpoint_that_refuses_n_gets_one_request_per_completion(interview: Interviewer) -> None:
    with serving(Play(refusal(400, "only one completion choice is allowed, n must be 1"), has_n=False)) as server:
        asked = interview(server.url)
        asked.ask()
    assert asked.missing() == {}
    assert [request.n for request in server.requests[:2]] == [2, 1]
    assert len(server.requests) == 9


def test_an_endpoint_that_wants_the_other_name_of_max_tokens_gets_it(interview: Interviewer) -> None:
    complaint = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    with serving(Play(refusal(400, complaint))) as server:
        interview(server.url).ask()
    assert "max_tokens" in server.requests[0].json
    assert all("max_completion_tokens" in request.json for request in server.requests[1:])


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (refusal(429, "slow down"), "status 429"),
        (refusal(500, "oops"), "status 500"),
        (refusal(503, "overloaded"), "status 503"),
        (Answer(body=chat(["x"]), is_reset=True), "connection"),
        (Answer(body=chat(["x"])[:40]), "bad reply"),
        (Answer(body=chat([])), "bad reply"),
        (Answer(body=b"<html>busy</html>", headers={"content-type": "text/html"}), "bad reply"),
        (Answer(body=chat(["x"]), delay_seconds=5), "timeout"),
        (Answer(body=chat(["x" * 100]), drip_seconds=0.2), "timeout"),
    ],
    ids=["429", "500", "503", "reset", "torn", "no choices", "html", "timeout", "drip"],
)
def test_a_fault_is_retried_and_counted_and_never_kept_as_an_answer(
    interview: Interviewer, run: RunDirectory, fault: Answer, kind: str
) -> None:
    with serving(Play(fault, fault)) as server:
        asked = interview(server.url, "teacher.llm.timeout_seconds=0.5")
        asked.ask()
    assert asked.missing() == {}
    assert ledger_of(asked).count_received() == 8
    assert read_usage(run)["failed_tries"] == {kind: 2}


@pytest.mark.parametrize("header", [{"retry-after": "0.4"}, {"retry-after-ms": "400"}])
def test_all_workers_wait_as_long_as_the_server_asks(interview: Interviewer, header: dict[str, str]) -> None:
    with serving(Play(refusal(429, "slow down", None, **header))) as server:
        started = time.monotonic()
        interview(server.url).ask()
    assert time.monotonic() - started >= 0.4
    assert len(server.requests) == 5


def test_a_date_to_retry_after_is_understood(interview: Interviewer) -> None:
    late = formatdate(time.time() + 2000, usegmt=True)
    with serving(Play(refusal(429, "daily limit", None, **{"retry-after": late}))) as server:  # noqa: SIM117
        with pytest.raises(TeacherError, match=r"status 429 \(daily limit\), expected an answer within minutes"):
            interview(server.url).ask()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, None, "expected the key in OPENAI_API_KEY to be accepted"),
        (402, None, "expected credit on the account"),
        (403, None, "expected a key that may use model played"),
        (404, "model_not_found", "expected an endpoint with model played"),
        (429, "insufficient_quota", "expected credit on the account"),
    ],
)
def test_an_error_that_no_retry_can_fix_stops_at_once_and_says_what_to_do(
    interview: Interviewer, status: int, code: str | None, message: str
) -> None:
    with serving(lambda _: refusal(status, "no luck", code)) as server, pytest.raises(TeacherError) as caught:
        interview(server.url).ask()
    assert message in str(caught.value)
    assert "run the same command again" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 1


def test_a_request_that_is_wrong_for_every_question_stops_after_three(interview: Interviewer) -> None:
    with serving(lambda _: refusal(400, "top_k is not supported")) as server:  # noqa: SIM117
        with pytest.raises(TeacherError, match=r"status 400: top_k is not supported for each of the first 3 req"):
            interview(server.url, questions=some_questions(20)).ask()
    assert len(server.requests) == 3


def test_a_refused_first_question_does_not_block_the_others(interview: Interviewer) -> None:
    play = Play()

    def picky(request: Request) -> Answer:
        is_bad = "number 0" in request.json["messages"][-1]["content"]
        return refusal(400, "content policy") if is_bad else play(request)

    with serving(picky) as server:
        asked = interview(server.url, "teacher.llm.waves=1")
        asked.ask()
    assert asked.missing() == {"q0": 2}


def test_questions_that_always_fail_do_not_block_later_waves_of_the_others(interview: Interviewer) -> None:
    play, seen = Play(), Counter[str]()

    def poisoned(request: Request) -> Answer:
        question = request.json["messages"][-1]["content"].split("\n")[0]
        seen[question] += 1
        if any(f"number {i}?" in question for i in (3, 4, 5)):
            return refusal(500, "boom")
        return play(request) if seen[question] > 2 else Answer(body=chat(["garbled"] * request.n))

    settings = ("teacher.llm.attempts=2", "teacher.llm.concurrency=4")
    with serving(poisoned) as server:
        for _ in range(2):
            asked = interview(server.url, *settings, questions=some_questions(10))
            with pytest.raises(TeacherError, match="found no answer to the requests of 3 questions"):
                asked.ask()
    assert sorted(asked.missing()) == ["q3", "q4", "q5"]


def test_failures_inside_an_answer_are_failures_and_are_not_kept(interview: Interviewer, run: RunDirectory) -> None:
    failed = {"message": {"content": ""}, "finish_reason": "error", "error": {"code": 502}}
    body = json.dumps({"choices": [failed, failed], "usage": {"prompt_tokens": 9, "completion_tokens": 0}}).encode()
    with serving(Play(Answer(body=body))) as server:
        asked = interview(server.url)
        asked.ask()
    assert asked.missing() == {}
    assert ledger_of(asked).count_received() == 8
    assert read_usage(run)["failed_tries"] == {"status 502": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"usage": {}},
        {"usage": {"prompt_tokens": -1, "completion_tokens": 3}},
        {"usage": {"prompt_tokens": 3, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": -1}}},
        {"id": 17, "model": None},
        {"usage": [1]},
    ],
)
def test_an_answer_of_another_shape_is_kept_if_it_holds_a_text(
    interview: Interviewer, change: dict[str, object]
) -> None:
    play = Play()

    def odd(request: Request) -> Answer:
        return Answer(body=json.dumps(json.loads(play(request).body) | change).encode())

    with serving(odd) as server:
        asked = interview(server.url)
        asked.ask()
    assert asked.missing() == {}
    assert len(server.requests) == 4


def test_text_in_parts_and_with_torn_characters_is_kept(interview: Interviewer) -> None:
    play = Play()

    def odd(request: Request) -> Answer:
        body = json.loads(play(request).body)
        for choice in body["choices"]:
            text = choice["message"]["content"] + " \ud83d"
            choice["message"]["content"] = [{"type": "text", "text": text[:30]}, {"type": "text", "text": text[30:]}]
        return Answer(body=json.dumps(body).encode())

    with serving(odd) as server:
        asked = interview(server.url)
        asked.ask()
    assert asked.missing() == {}


def test_one_short_answer_does_not_switch_n_off(interview: Interviewer) -> None:
    play = Play()

    def short_once(request: Request) -> Answer:
        answer = play(request)
        if len(server.requests) == 3:
            body = json.loads(answer.body)
            return Answer(body=json.dumps(body | {"choices": body["choices"][:1]}).encode())
        return answer

    with serving(short_once) as server:
        asked = interview(server.url, "teacher.llm.samples=3", "teacher.llm.concurrency=1", questions=some_questions(6))
        asked.ask()
    assert asked.missing() == {}
    assert [request.n for request in server.requests] == [3, 3, 3, 2, 3, 3, 3]


def test_a_complaint_about_something_else_does_not_switch_n_off(interview: Interviewer) -> None:
    play = Play()

    def strict(request: Request) -> Answer:
        is_long = "number 2" in request.json["messages"][-1]["content"]
        return refusal(400, "prompt too long: n = 9000 tokens, in n parts") if is_long else play(request)

    with serving(strict) as server:
        interview(server.url, "teacher.llm.waves=1", "teacher.llm.concurrency=1").ask()
    assert [request.n for request in server.requests] == [2, 2, 2, 2]


def test_a_limit_on_n_is_respected(interview: Interviewer) -> None:
    play = Play()

    def at_most_three(request: Request) -> Answer:
        return refusal(400, "n must be at most 3", None) if request.n > 3 else play(request)

    with serving(at_most_three) as server:
        asked = interview(server.url, "teacher.llm.samples=8", "teacher.llm.concurrency=1", questions=some_questions(2))
        asked.ask()
    assert asked.missing() == {}
    assert max(request.n for request in server.requests[1:]) == 3
    assert len(server.requests) == 1 + 3 + 3


def test_attempts_that_may_be_billed_count_against_the_budget_and_are_reported(
    interview: Interviewer, run: RunDirectory
) -> None:
    torn = Answer(body=chat(["x"])[:40])
    short = ("teacher.llm.max_tokens=10", "teacher.llm.examples=0", "teacher.llm.concurrency=1")
    with serving(Play(torn, torn, usage=(100, 20))) as server:
        with pytest.raises(TeacherError, match="budget"):
            interview(server.url, "teacher.llm.budget=0.55", *short).ask()
        usage = read_usage(run)
        assert usage["cost"] == 0.0
        assert 0.4 < float(str(usage["lost_cost"])) <= 0.55  # two unreadable answers; no third attempt
        with pytest.raises(TeacherError, match="budget"):  # the next call remembers them
            interview(server.url, "teacher.llm.budget=0.55", *short).ask()
    assert len(server.requests) == 2


def test_an_unreachable_server_bills_nothing(interview: Interviewer, run: RunDirectory) -> None:
    with pytest.raises(TeacherError, match="found no server there"):
        interview("http://no-such-host.invalid/v1", "teacher.llm.budget=15").ask()
    assert read_usage(run)["lost_tokens"] == 0


def test_an_answer_torn_in_transit_may_be_billed(interview: Interviewer, run: RunDirectory) -> None:
    play = Play()

    def torn_later(request: Request) -> Answer:
        return Answer(body=play(request).body, is_reset=len(server.requests) in (3, 4))

    with serving(torn_later) as server:
        asked = interview(server.url, "teacher.llm.concurrency=1")
        asked.ask()
    assert asked.missing() == {}
    assert read_usage(run)["failed_tries"] == {"connection": 2}
    assert int(str(read_usage(run)["lost_tokens"])) > 2 * 1000


def test_a_hopeless_teacher_is_asked_only_once_more(interview: Interviewer) -> None:
    prose = Answer(body=chat(["Banks are places."] * 8))
    many = some_questions(50)
    with serving(lambda _: prose) as server:
        for _ in range(2):
            with pytest.raises(TeacherError, match=r"none that could be read.*another run asks once more"):
                interview(server.url, "teacher.llm.samples=8", "teacher.llm.concurrency=1", questions=many).ask()
    assert len(server.requests) == 8 + 1


def test_the_programs_own_signal_handlers_are_restored(interview: Interviewer) -> None:
    def own(number: int, frame: object) -> None:
        """A handler that a program may have set."""

    before = signal.signal(signal.SIGTERM, own)
    try:
        with serving(Play()) as server:
            interview(server.url).ask()
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_budget_holds_from_the_first_request_for_any_tokenizer(interview: Interviewer) -> None:
    play = Play(refusal(500, "boom"), usage=(6000, 20))
    with serving(play) as server:
        asked = interview(
            server.url, "teacher.llm.budget_tokens=70000", "teacher.llm.attempts=1", questions=some_questions(40)
        )
        with pytest.raises(TeacherError, match="budget"):
            asked.ask()
    sums = ledger_of(asked).totals
    assert sum(number for (_, _, name), number in sums.items() if "tokens" in name) <= 70000


def test_an_absurdly_late_retry_after_is_not_a_traceback(interview: Interviewer) -> None:
    odd = refusal(429, "later", None, **{"retry-after": "Mon, 01 Jan 12345 00:00:00 GMT"})
    with serving(Play(odd)) as server:
        asked = interview(server.url)
        asked.ask()
    assert asked.missing() == {}


def test_a_bug_in_one_worker_does_not_lose_the_requests_of_the_others(
    interview: Interviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play()
    answer_of = wire.reply_of

    def breaks(text: str, *rest: Any, **more: Any) -> Reply:
        if "q3" in str(rest[0].question_id):
            raise ZeroDivisionError
        return answer_of(text, *rest, **more)

    def slow(request: Request) -> Answer:
        is_fast = "number 3" in request.json["messages"][-1]["content"]
        return Answer(body=play(request).body, delay_seconds=0.0 if is_fast else 0.2)

    monkeypatch.setattr(endpoint, "reply_of", breaks)
    with serving(slow) as server:
        asked = interview(server.url, questions=some_questions(8))
        with pytest.raises(ZeroDivisionError):
            asked.ask()
    assert ledger_of(asked).count_received() == 14


def test_a_common_word_as_key_is_not_redacted(interview: Interviewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "something")
    play = Play()

    def says_something(request: Request) -> Answer:
        return Answer(body=play(request).body.replace(b"It is known", b"This is something known"))

    with serving(says_something) as server:
        asked = interview(server.url)
        asked.ask()
    assert "something known" in next(own.text for _, own in ledger_of(asked).texts())


def test_two_processes_cannot_ask_for_the_same_run_at_once(interview: Interviewer, run: RunDirectory) -> None:
    with run.locked("teach"), pytest.raises(DataError, match="found another process at work in it"):  # noqa: SIM117
        with run.locked("teach"):
            pass
    with run.locked("teach"):
        pass


def test_an_unreachable_server_is_a_one_line_error(interview: Interviewer) -> None:
    with pytest.raises(
        TeacherError, match=r"127\.0\.0\.1:9/v1: found no server there .*is it running.*nothing has been rec"
    ):
        interview("http://127.0.0.1:9/v1", "teacher.llm.attempts=2").ask()


def test_a_full_disk_ends_the_run_with_a_one_line_error_and_keeps_earlier_answers(
    interview: Interviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, written = Appender.add, count()

    def fails_the_third(self: Appender, *values: Reply) -> None:
        if next(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, *values)

    with serving(Play()) as server:
        with monkeypatch.context() as patched, pytest.raises(DataError, match="No space left on device"):
            patched.setattr(Appender, "add", fails_the_third)
            interview(server.url, "teacher.llm.concurrency=1").ask()
        again = interview(server.url)
        again.ask()
    assert again.missing() == {}
    assert len(server.requests) == 3 + 2


def test_long_waits_are_announced(interview: Interviewer, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Play(refusal(429, "slow down", None, **{"retry-after": "2.1"}))) as server:
        interview(server.url).ask()
    assert "teach: status 429 (slow down); trying again in 2 seconds" in capsys.readouterr().err


def test_a_server_that_goes_down_stops_the_run_and_earlier_answers_are_kept(interview: Interviewer) -> None:
    play = Play()

    def goes_down(request: Request) -> Answer:
        if "number 2" in request.json["messages"][-1]["content"]:
            play.is_down = True
        return play(request)

    settings = ("teacher.llm.attempts=2", "teacher.llm.concurrency=1")
    with serving(goes_down) as server:
        asked = interview(server.url, *settings)
        with pytest.raises(TeacherError, match="found no answer to the requests of 2 questions"):
            asked.ask()
    with serving(Play()) as server:
        again = interview(server.url, *settings)
        again.ask()
    assert again.missing() == {}
    assert len(server.requests) == 2


def test_a_request_that_the_endpoint_rejects_is_skipped_and_listed(interview: Interviewer) -> None:
    play = Play()

    def picky(request: Request) -> Answer:
        is_bad = "number 3" in request.json["messages"][-1]["content"]
        return refusal(400, "content policy") if is_bad else play(request)

    with serving(picky) as server:
        asked = interview(server.url, "teacher.llm.waves=2")
        asked.ask()
    assert asked.missing() == {"q3": 2}
    assert len(server.requests) == 3 + 2


def test_no_more_requests_are_in_flight_than_allowed(interview: Interviewer) -> None:
    play = Play()

    def slow(request: Request) -> Answer:
        return Answer(body=play(request).body, delay_seconds=0.05)

    with serving(slow) as server:
        interview(server.url, "teacher.llm.concurrency=3", questions=some_questions(12)).ask()
    assert server.most_at_once == 3


def test_the_limit_on_requests_per_minute_is_respected(interview: Interviewer) -> None:
    times: list[float] = []
    play = Play()

    def timed(request: Request) -> Answer:
        times.append(time.monotonic())
        return play(request)

    with serving(timed) as server:
        interview(server.url, "teacher.llm.requests_per_minute=600", questions=some_questions(8)).ask()
    assert times[-1] - times[0] >= 0.65  # 600 per minute is one per 100 ms, and eight requests have seven gaps


def test_the_limit_on_tokens_per_minute_is_respected(interview: Interviewer) -> None:
    questions = some_questions(6)
    with serving(Play()) as server:
        asked = interview(server.url, "teacher.llm.examples=0", "teacher.llm.max_tokens=50", questions=questions)
        per_request = asked.estimate().prompt_tokens // 6 + 2 * 50
    with serving(Play()) as server:
        started = time.monotonic()
        limit = per_request * 60 * 10  # ten requests per second
        interview(
            server.url,
            "teacher.llm.examples=0",
            "teacher.llm.max_tokens=50",
            f"teacher.llm.tokens_per_minute={limit}",
            questions=questions,
        ).ask()
    assert time.monotonic() - started >= 0.4


def test_a_budget_in_dollars_is_not_exceeded_and_can_be_raised(interview: Interviewer, run: RunDirectory) -> None:
    # A request costs 0.14 dollars; before, it counts as its estimated prompt and 2 x 10 completion tokens.
    short = ("teacher.llm.max_tokens=10", "teacher.llm.examples=0", "teacher.llm.concurrency=8")
    with serving(Play(usage=(100, 20))) as server:
        with pytest.raises(
            TeacherError, match=r"teacher\.llm\.budget=0\.55: found 360 tokens \(\$0\.4200\) used.*6 of 8 .*waves=0"
        ):
            interview(server.url, "teacher.llm.budget=0.55", *short).ask()
        spent = read_usage(run)["cost"]
        assert isinstance(spent, float)
        assert spent == pytest.approx(3 * (100 * 1000 + 20 * 2000) / 1e6)  # a fourth could have exceeded 0.55
        interview(server.url, "teacher.llm.budget=5", *short).ask()
    assert len(server.requests) == 4


def test_a_budget_in_tokens_is_not_exceeded(interview: Interviewer, run: RunDirectory) -> None:
    with (
        serving(Play()) as server,
        pytest.raises(TeacherError, match=r"teacher\.llm\.budget_tokens=300: found 0 tokens"),
    ):
        interview(server.url, "teacher.llm.budget_tokens=300").ask()
    assert server.requests == []


def test_a_budget_in_dollars_needs_a_price(interview: Interviewer) -> None:
    unpriced = ("teacher.llm.budget=1", "teacher.llm.input_price=null")
    with serving(Play()) as server, pytest.raises(SettingsError, match="found no price of played"):
        interview(server.url, *unpriced).ask()


def test_completions_for_another_prompt_are_reported_before_new_ones_are_paid_for(
    interview: Interviewer, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Play()) as server:
        interview(server.url).ask()
        assert "do not count" not in capsys.readouterr().err
        interview(server.url, "teacher.llm.temperature=0.1").ask()
    assert "teach: 8 completions in this run do not count: they were asked for with another prompt" in (
        capsys.readouterr().err
    )


def test_zero_waves_send_nothing(interview: Interviewer) -> None:
    with serving(Play()) as server:
        asked = interview(server.url, "teacher.llm.waves=0")
        asked.ask()
    assert server.requests == []
    assert len(asked.missing()) == 4


def test_openai_needs_a_key_and_another_server_does_not(
    interview: Interviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(SettingsError, match="environment variable OPENAI_API_KEY: found nothing, expected the API key"):
        interview("https://api.openai.com/v1").ask()
    with serving(Play()) as server:
        interview(server.url).ask()
    assert len(server.requests) == 4


def test_a_named_key_must_be_set(interview: Interviewer) -> None:
    with pytest.raises(SettingsError, match="environment variable MY_KEY: found nothing"):
        interview("http://127.0.0.1:9/v1", "teacher.llm.key_env=MY_KEY").ask()


def test_an_unreadable_teacher_is_stopped_early(interview: Interviewer) -> None:
    prose = Answer(body=chat(["Banks are places, and so the answer is clear."] * 8))
    with serving(lambda _: prose) as server:
        asked = interview(
            server.url, "teacher.llm.samples=8", "teacher.llm.concurrency=2", questions=some_questions(50)
        )
        with pytest.raises(
            TeacherError, match=r"found \d\d completions and none that could be read.*'Banks are places"
        ):
            asked.ask()
    assert len(server.requests) <= 8 + 2


def test_a_scheduler_that_ends_the_process_lets_requests_in_flight_finish_first(interview: Interviewer) -> None:
    play = Play()

    def slow(request: Request) -> Answer:
        if len(server.requests) == 3:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return Answer(body=play(request).body, delay_seconds=0.3)

    with serving(slow) as server:
        asked = interview(server.url, "teacher.llm.concurrency=2", questions=some_questions(30))
        with pytest.raises(KeyboardInterrupt):
            asked.ask()
    assert ledger_of(asked).count_received() == 6


def test_a_key_with_odd_characters_is_refused_without_being_shown(
    interview: Interviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "geheim-ß")
    with pytest.raises(SettingsError, match="no key has") as caught:
        interview("http://127.0.0.1:9/v1", "teacher.llm.key_env=MY_KEY").ask()
    assert "geheim" not in str(caught.value)


def test_the_key_is_in_no_file_even_if_the_server_echoes_it(
    interview: Interviewer, run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    play = Play(refusal(429, f"slow down, {KEY}"), refusal(500, f"Bearer {KEY}"))

    def echoes(request: Request) -> Answer:
        if "number 3" in request.json["messages"][-1]["content"]:
            return refusal(400, f"bad key {request.headers['authorization']}")
        answer = play(request)
        return Answer(answer.status, answer.body.replace(b"It is known", f"My key is {KEY}".encode()), answer.headers)

    with serving(echoes) as server:
        interview(server.url).ask()
    written = [path for path in run.root.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if KEY in path.read_text()]
    assert "My key is [key]" in run.completions.read_text()
    assert KEY not in "".join(capsys.readouterr())


def test_the_key_is_masked_in_whatever_field_the_server_repeats_it(interview: Interviewer, run: RunDirectory) -> None:
    def echoes(request: Request) -> Answer:
        text = rationale_text(request, "x").replace("It is known", f"It is known that {KEY}")
        choice = {"message": {"content": text, KEY: KEY}, "finish_reason": KEY}
        body = {
            "id": KEY,
            "model": [KEY],
            "choices": [choice, choice],
            "usage": {"prompt_tokens": 10**400},
            "more": KEY,
        }
        spelled = json.dumps(body).replace(KEY, "".join(f"\\u{ord(sign):04x}" for sign in KEY), 1)
        return Answer(200, spelled.encode(), {"x-request-id": KEY})

    with serving(echoes) as server:
        interview(server.url).ask()
    assert not [path for path in run.root.rglob("*") if path.is_file() and KEY in path.read_text()]
    reply = read_records(run.completions, Reply)[0]
    assert (reply.request, reply.completions[0].finish, reply.answered_by) == ("[key]", "[key]", "['[key]']")


def test_tokens_that_the_server_does_not_count_are_estimated_and_marked(
    interview: Interviewer, run: RunDirectory
) -> None:
    with serving(Play(usage=None)) as server:
        interview(server.url).ask()
    usage = read_usage(run)
    assert usage["uncounted_requests"] == 4
    assert int(str(usage["prompt_tokens"])) > 1000


def test_ctrl_c_waits_for_requests_in_flight_and_keeps_their_answers(interview: Interviewer) -> None:
    play = Play()

    def slow(request: Request) -> Answer:
        if len(server.requests) == 4:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        return Answer(body=play(request).body, delay_seconds=0.4)

    with serving(slow) as server:
        asked = interview(server.url, "teacher.llm.concurrency=3", questions=some_questions(30))
        with pytest.raises(KeyboardInterrupt):
            asked.ask()
    assert len(server.requests) == 4
    assert ledger_of(asked).count_received() == 8
    with pytest.raises(KeyboardInterrupt):  # the usual handler is back
        signal.raise_signal(signal.SIGINT)


async def _ask_inside(asked: object) -> None:
    asked.ask()  # type: ignore[attr-defined]


def test_a_notebook_with_a_running_loop_can_ask(interview: Interviewer) -> None:
    with serving(Play()) as server:
        asked = interview(server.url)
        asyncio.run(_ask_inside(asked))
    assert asked.missing() == {}


def test_an_interrupt_in_a_notebook_keeps_requests_in_flight_too(interview: Interviewer) -> None:
    play = Play()

    def slow(request: Request) -> Answer:
        if len(server.requests) == 3:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        return Answer(body=play(request).body, delay_seconds=0.3)

    loop = asyncio.new_event_loop()
    with serving(slow) as server:
        asked = interview(server.url, "teacher.llm.concurrency=2", questions=some_questions(30))
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(_ask_inside(asked))
    loop.close()
    assert len(server.requests) == 3
    assert ledger_of(asked).count_received() == 6


def test_more_fields_of_a_prompt_file_reach_the_server(interview: Interviewer, run: RunDirectory) -> None:
    run.root.mkdir()
    file = run.root / "prompt.yaml"
    file.write_text("instruction: Explain.\nrequest: {reasoning_effort: low, chat_template_kwargs: {think: false}}\n")
    with serving(Play()) as server:
        interview(server.url, f"teacher.llm.prompt={file}").ask()
    assert server.requests[0].json["reasoning_effort"] == "low"
    assert server.requests[0].json["chat_template_kwargs"] == {"think": False}


def test_structured_completions_are_requested_by_schema_and_read(interview: Interviewer) -> None:
    def structured(request: Request) -> Answer:
        schema = request.json["response_format"]["json_schema"]
        labels = schema["schema"]["properties"]["options"]["items"]["properties"]["option"]["enum"]
        said = {
            "key_information": f"Known {len(server.requests):05d}" * 9,
            "options": [
                {"option": label, "verdict": "correct" if label == "A" else "incorrect", "because": "so."}
                for label in labels
            ],
        }
        return Answer(body=chat([json.dumps(said)] * request.n))

    with serving(structured) as server:
        asked = interview(server.url, "teacher.llm.structured=true")
        asked.ask()
    assert asked.missing() == {}
    assert Counter(type(answer).__name__ for answer in asked.answers()) == {"Rationale": 8}


@pytest.mark.slow
def test_a_hundred_requests_a_second_are_made_in_constant_memory(interview: Interviewer) -> None:
    megabytes: list[float] = []

    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    with played_apart(0, faults=False) as url:
        interview(url, "teacher.llm.samples=1", "teacher.llm.model=warm-up", questions=some_questions(500)).ask()
        for model, many in (("first", 1000), ("second", 4000)):
            asked = interview(
                url, "teacher.llm.samples=1", f"teacher.llm.model={model}", questions=some_questions(many)
            )
            before, started = resident(), time.monotonic()
            asked.ask()
            rate = many / (time.monotonic() - started)
            megabytes.append(resident() - before)
            assert asked.missing() == {}
            assert rate >= 100  # 250 to 300 on a free machine
    assert megabytes[1] < megabytes[0] + 20  # another 3,000 requests hold more than 20 MB of prompts and texts
