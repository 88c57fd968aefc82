from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.teacher.conftest import KEY, Interviewer, read_usage, some_questions
from tests.teacher.llm.server import Answer, Request, chat, rationale_text, refusal, serving
from tinythinker.core.errors import DataError, SettingsError, TeacherError
from tinythinker.core.run import RunDirectory
from tinythinker.teacher.llm import batch as batch_module
from tinythinker.teacher.llm.interview import Interview

BATCH = ("teacher.llm.mode=batch", "teacher.llm.poll_seconds=0.01")
Lines = list[dict[str, Any]]


def answered(line: dict[str, Any], mark: str) -> dict[str, Any]:
    """The output line of a successful request line."""
    body = line["body"]
    request = Request("POST", line["url"], {}, json.dumps(body).encode())
    texts = [rationale_text(request, f"{mark}{i}" * 4) for i in range(body["n"])]
    return {
        "id": f"batch_req_{mark}",
        "custom_id": line["custom_id"],
        "response": {"status_code": 200, "body": json.loads(chat(texts))},
        "error": None,
    }


class Provider:
    """The files and batches of OpenAI's API, in memory."""

    def __init__(self, work: Callable[[Lines], Lines] | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.looks = 0
        self.die_after_create = self.is_reset = False
        self.status = "completed"
        marks = count(1)
        self.work = work or (lambda lines: [answered(line, f"{next(marks):07d}") for line in lines])

    def __call__(self, request: Request) -> Answer:
        path = request.path.removeprefix("/v1").split("?")[0]
        if path == "/files":
            found = re.search(rb'name="file".*?\r\n\r\n(.*?)\r\n--', request.body, re.S)
            assert found
            return self._json(id=self._add(found[1]), object="file")
        if path.startswith("/files/"):
            return Answer(body=self.files[path.split("/")[2]])
        if path == "/batches" and request.method == "GET":
            return self._json(object="list", data=list(self.batches.values()), has_more=False)
        if path == "/batches":
            name = f"batch_{len(self.batches)}"
            asked = request.json
            self.batches[name] = {"id": name, "object": "batch", "status": "in_progress", "endpoint": asked["endpoint"]}
            self.batches[name] |= {"metadata": asked["metadata"], "input_file_id": asked["input_file_id"]}
            if self.die_after_create:
                self.die_after_create = False
                return Answer(502, b"gone", is_reset=self.is_reset)
            return Answer(body=json.dumps(self.batches[name]).encode())
        own = self.batches[path.split("/")[2]]
        self.looks += 1
        if self.looks % 2 == 0:  # the first look finds the batch still under way
            lines = [json.loads(line) for line in self.files[own["input_file_id"]].decode().splitlines()]
            done = self.work(lines) if self.status != "failed" else []
            own["status"] = self.status
            good = [line for line in done if line["error"] is None]
            bad = [line for line in done if line["error"] is not None]
            own["output_file_id"] = self._lines(good) if good else None
            own["error_file_id"] = self._lines(bad) if bad else None
            own["errors"] = {"object": "list", "data": [{"code": "x", "message": "no such model"}]}
        return Answer(body=json.dumps(own).encode())

    def _lines(self, lines: Lines) -> str:
        return self._add("".join(json.dumps(line) + "\n" for line in lines).encode())

    def _add(self, content: bytes) -> str:
        name = f"file_{len(self.files)}"
        self.files[name] = content
        return name

    @staticmethod
    def _json(**body: object) -> Answer:
        return Answer(body=json.dumps(body).encode())


def interrupted_while_waiting(asked: Interview, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submit a batch, and press Ctrl-C at the first poll."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("time.sleep", interrupt)
        asked.ask()


def test_a_batch_is_submitted_waited_for_and_collected(interview: Interviewer, run: RunDirectory) -> None:
    provider = Provider()
    with serving(provider) as server:
        asked = interview(server.url, *BATCH)
        asked.ask()
    assert asked.missing() == {}
    assert len(provider.batches) == 1
    lines = [json.loads(line) for line in provider.files["file_0"].decode().splitlines()]
    assert {(line["method"], line["url"], line["body"]["n"]) for line in lines} == {("POST", "/v1/chat/completions", 2)}
    assert len({line["custom_id"] for line in lines}) == 4
    assert all(len(line["custom_id"]) <= 64 for line in lines)
    # prices in the settings are used unchanged: 4 x (100 x 1000 + 50 x 2000) / 1e6
    assert read_usage(run)["cost"] == 0.8
    assert not [path for path in run.root.rglob("*") if path.is_file() and KEY in path.read_text()]


def test_the_listed_price_is_halved_by_the_batch(interview: Interviewer, run: RunDirectory) -> None:
    listed = ("teacher.llm.model=gpt-4o-2024-05-13", "teacher.llm.input_price=null", "teacher.llm.output_price=null")
    with serving(Provider()) as server:
        interview(server.url, *BATCH, *listed).ask()
    # 4 x (100 x 5 + 50 x 15) / 1e6 / 2
    assert read_usage(run)["cost"] == pytest.approx(0.0025)


def test_only_what_a_batch_left_out_is_submitted_again(interview: Interviewer) -> None:
    marks = count(1)

    def forgets_the_last(lines: Lines) -> Lines:
        done = [answered(line, f"{next(marks):07d}") for line in lines]
        return done[:-1] if len(done) > 1 else done

    provider = Provider(forgets_the_last)
    provider.status = "expired"
    with serving(provider) as server:
        asked = interview(server.url, *BATCH)
        asked.ask()
    assert asked.missing() == {}
    sizes = [len(provider.files[own["input_file_id"]].splitlines()) for own in provider.batches.values()]
    assert sizes == [4, 1]


def test_malformed_completions_are_requested_again_in_the_next_wave(interview: Interviewer) -> None:
    marks = count(1)

    def half_garbled(lines: Lines) -> Lines:
        done = [answered(line, f"{next(marks):07d}") for line in lines]
        if lines[0]["custom_id"].startswith("w1"):
            for line in done:
                line["response"]["body"]["choices"][0]["message"]["content"] = "garbled"
        return done

    provider = Provider(half_garbled)
    with serving(provider) as server:
        asked = interview(server.url, *BATCH)
        asked.ask()
    assert asked.missing() == {}
    assert [own["metadata"]["tinythinker"][:6] for own in provider.batches.values()] == ["wave-1", "wave-2"]


def test_a_request_that_always_fails_is_listed_and_the_others_count(interview: Interviewer) -> None:
    marks = count(1)

    def one_fails(lines: Lines) -> Lines:
        done = [answered(line, f"{next(marks):07d}") for line in lines]
        for line in done:
            asked = next(one for one in lines if one["custom_id"] == line["custom_id"])
            if "number 3" in asked["body"]["messages"][-1]["content"]:
                line["error"] = {"code": "content_policy", "message": "no"}
        return done

    with serving(Provider(one_fails)) as server:
        asked = interview(server.url, *BATCH, "teacher.llm.waves=1")
        asked.ask()
    assert asked.missing() == {"q3": 2}


@pytest.mark.parametrize("is_reset", [True, False])
def test_a_batch_whose_submission_got_no_answer_is_found_and_not_submitted_again(
    interview: Interviewer, is_reset: bool
) -> None:
    provider = Provider()
    provider.die_after_create, provider.is_reset = True, is_reset  # the provider has it; its reply got lost
    with serving(provider) as server:
        asked = interview(server.url, *BATCH)
        asked.ask()
    assert asked.missing() == {}
    assert len(provider.batches) == 1


def test_a_batch_submitted_just_before_a_kill_is_found_and_not_submitted_again(
    interview: Interviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider()
    save = batch_module._Provider._save

    def killed(self: batch_module._Provider, state: batch_module.BatchJob) -> None:
        if state.batch_id is not None:
            raise KeyboardInterrupt
        save(self, state)

    with serving(provider) as server:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(batch_module._Provider, "_save", killed)
            interview(server.url, *BATCH).ask()
        again = interview(server.url, *BATCH)
        again.ask()
    assert again.missing() == {}
    assert len(provider.batches) == 1


def test_more_samples_in_the_same_wave_are_different_requests(interview: Interviewer) -> None:
    provider = Provider()
    with serving(provider) as server:
        interview(server.url, *BATCH).ask()
        more = interview(server.url, *BATCH, "teacher.llm.samples=4")
        more.ask()
    assert more.missing() == {}
    assert len(provider.batches) == 2


def test_a_batch_that_ended_without_answers_is_submitted_again_by_the_next_call(interview: Interviewer) -> None:
    provider = Provider(lambda lines: [])
    provider.status = "cancelled"
    with serving(provider) as server:
        with pytest.raises(TeacherError, match="found a batch without a single answer"):
            interview(server.url, *BATCH).ask()
        provider.work, provider.status = Provider().work, "completed"
        again = interview(server.url, *BATCH)
        again.ask()
    assert again.missing() == {}


def test_a_batch_under_way_is_collected_even_if_the_settings_have_changed(
    interview: Interviewer, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider()
    with serving(provider) as server:
        interrupted_while_waiting(interview(server.url, *BATCH), monkeypatch)
        other = interview(server.url, *BATCH, "teacher.llm.temperature=0.1", questions=some_questions(2))
        other.ask()
        assert other.missing() == {}
        back = interview(server.url, *BATCH)
    assert back.missing() == {}
    assert read_usage(run)["completions"] == 8 + 4


def test_a_batch_of_older_settings_whose_collection_is_interrupted_is_collected_once(
    interview: Interviewer, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider()
    forget = batch_module._Provider._save

    def breaks_off(self: batch_module._Provider, state: batch_module.BatchJob) -> None:
        if state.is_collected:
            raise KeyboardInterrupt
        forget(self, state)

    with serving(provider) as server:
        with monkeypatch.context() as patched:
            patched.setattr(batch_module._Provider, "_save", breaks_off)
            for temperature in ("0.8", "0.1", "0.1"):
                with pytest.raises(KeyboardInterrupt):
                    interview(server.url, *BATCH, f"teacher.llm.temperature={temperature}").ask()
        back = interview(server.url, *BATCH)
    assert back.missing() == {}
    assert read_usage(run)["completions"] == 8


def test_an_endpoint_without_batches_still_allows_direct_requests(interview: Interviewer) -> None:
    def no_batches(request: Request) -> Answer:
        if "/chat/" not in request.path:
            return refusal(404, "no such path")
        return Answer(body=chat([rationale_text(request, f"{len(server.requests)}{i}" * 9) for i in range(request.n)]))

    with serving(no_batches) as server:
        with pytest.raises(TeacherError, match="404"):
            interview(server.url, *BATCH).ask()
        asked = interview(server.url)
        asked.ask()
    assert asked.missing() == {}


def test_the_budget_of_a_batch_uses_batch_prices(interview: Interviewer) -> None:
    listed = ("teacher.llm.model=gpt-4o-2024-05-13", "teacher.llm.input_price=null", "teacher.llm.output_price=null")
    cost = interview("http://127.0.0.1:9/v1", *BATCH, *listed).estimate().batch_cost
    assert cost is not None
    provider = Provider()
    with serving(provider) as server:
        asked = interview(server.url, *BATCH, *listed, f"teacher.llm.budget={cost * 1.6}")
        asked.ask()
    assert asked.missing() == {}
    assert len(provider.batches) == 1


def test_the_next_call_waits_for_a_batch_under_way_and_does_not_pay_twice(
    interview: Interviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider()
    with serving(provider) as server:
        interrupted_while_waiting(interview(server.url, *BATCH), monkeypatch)
        with pytest.raises(
            SettingsError, match=r"found batch batch_0 not collected, expected teacher\.llm\.mode=batch"
        ):
            interview(server.url).ask()
        again = interview(server.url, *BATCH)
        again.ask()
    assert again.missing() == {}
    assert len(provider.batches) == 1


def test_a_batch_that_is_refused_says_why_and_can_be_tried_again(interview: Interviewer) -> None:
    provider = Provider()
    provider.status = "failed"
    with serving(provider) as server:
        with pytest.raises(TeacherError, match=r"batch_0 failed \(no such model\)"):
            interview(server.url, *BATCH).ask()
        provider.status = "completed"
        again = interview(server.url, *BATCH)
        again.ask()
    assert again.missing() == {}
    assert len(provider.batches) == 2


def test_a_large_wave_is_submitted_as_several_files(interview: Interviewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "MOST_REQUESTS", 3)
    provider = Provider()
    with serving(provider) as server:
        asked = interview(server.url, *BATCH, questions=some_questions(8))
        asked.ask()
    assert asked.missing() == {}
    sizes = [len(provider.files[own["input_file_id"]].splitlines()) for own in provider.batches.values()]
    assert sorted(sizes) == [2, 3, 3]


def test_a_budget_holds_back_requests_that_could_exceed_it(interview: Interviewer) -> None:
    provider = Provider()
    short = ("teacher.llm.max_tokens=10", "teacher.llm.examples=0")
    with serving(provider) as server, pytest.raises(TeacherError, match="budget"):
        interview(server.url, *BATCH, *short, "teacher.llm.budget=0.8").ask()
    assert 1 <= len(provider.files["file_0"].splitlines()) < 4


def exported(asked: Any) -> tuple[Path, Lines]:
    path = asked.export()
    assert path is not None
    return path, [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, lines: Lines) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_file_submitted_by_hand_is_imported_once(interview: Interviewer, tmp_path: Path) -> None:
    asked = interview("http://127.0.0.1:9/v1")
    path, lines = exported(asked)
    assert path.name == "export-wave-1.jsonl"
    output = write(tmp_path / "out.jsonl", [answered(line, f"{i:07d}") for i, line in enumerate(lines)])
    assert asked.take_in(output)[:2] == (4, 0)
    assert interview("http://127.0.0.1:9/v1").take_in(output)[:2] == (0, 4)
    again = interview("http://127.0.0.1:9/v1")
    assert again.missing() == {}
    assert again.export() is None
    again.ask()  # asks nobody: there is no server


def test_an_incomplete_output_file_leaves_the_rest_to_the_next_export(interview: Interviewer, tmp_path: Path) -> None:
    asked = interview("http://127.0.0.1:9/v1")
    _, lines = exported(asked)
    failed = {
        "custom_id": lines[1]["custom_id"],
        "response": {"status_code": 500, "body": {"error": "x"}},
        "error": None,
    }
    taken = asked.take_in(write(tmp_path / "out.jsonl", [answered(lines[0], "0000001"), failed]))
    assert (taken.replies, taken.known, list(taken.failed)) == (1, 0, ["q1"])
    _, rest = exported(interview("http://127.0.0.1:9/v1"))
    assert [line["custom_id"] for line in rest] == [line["custom_id"] for line in lines[1:]]
    names = sorted(path.name for path in tmp_path.rglob("export-*.jsonl"))
    assert names == ["export-wave-1-2.jsonl", "export-wave-1.jsonl"]  # the first may be submitted already, so it stays


@pytest.mark.parametrize("name", ["w1-r0-n2-t256-0000000000000000", "request-1", "w1-r0-nx-t256-0000000000000000", ""])
def test_answers_to_other_requests_are_refused_with_file_and_line(
    interview: Interviewer, tmp_path: Path, name: str
) -> None:
    output = write(tmp_path / "out.jsonl", [{"custom_id": name, "response": None}])
    with pytest.raises(DataError, match=r"out\.jsonl:1, custom_id: found '.*', expected a request of this run"):
        interview("http://127.0.0.1:9/v1").take_in(output)


def test_a_cut_completion_is_requested_again_with_more_tokens(interview: Interviewer, tmp_path: Path) -> None:
    asked = interview("http://127.0.0.1:9/v1")
    _, lines = exported(asked)
    done = [answered(line, f"{i:07d}") for i, line in enumerate(lines)]
    done[2]["response"]["body"]["choices"][1]["finish_reason"] = "length"
    asked.take_in(write(tmp_path / "out.jsonl", done))
    path, second = exported(asked)
    assert path.name == "export-wave-2.jsonl"
    assert [(line["body"]["n"], line["body"]["max_tokens"]) for line in second] == [(1, 512)]
