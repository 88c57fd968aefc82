from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.conftest import ask, tiny_recipe, tiny_student
from tests.serve.played import Played
from tinythinker import api
from tinythinker.serve.application import make_application
from tinythinker.serve.limits import Limits
from tinythinker.serve.roster import Roster

RAIN = {"question": "Where does rain go?", "options": ["up", "down"]}


def client_of(application: Any) -> TestClient:
    return TestClient(application, base_url="http://localhost")


@pytest.fixture
def client() -> Iterator[TestClient]:
    examples = [ask(f"Where {i}?", "up", "down", gold="B", id=f"q{i}") for i in range(5)]
    with client_of(make_application(Played("round-1", "late"), examples)) as made:
        yield made


def events_of(text: str) -> list[tuple[str, Any]]:
    """Server-sent events by name."""
    parts = [part.split("\n") for part in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in parts]


def test_an_answer_is_the_record_of_predict(tmp_path: Path) -> None:
    tiny_student(recipe=tiny_recipe(answer="constrained")).save(tmp_path)
    with client_of(make_application(Roster({"tiny": tmp_path}))) as client:
        given = client.post("/v1/answer", json={**RAIN, "id": "q7"})
        edited = client.post("/v1/answer", json={**RAIN, "recall": "rain falls.", "analyses": ["no.", "yes."]})
    student = api.load(tmp_path)
    made = student.answer(RAIN["question"], RAIN["options"])  # type: ignore[arg-type]
    assert given.text == made.model_copy(update={"id": "q7"}).model_dump_json()
    assert edited.json()["recall"] == "rain falls."
    assert edited.json()["analyses"] == ["no.", "yes."]


def test_the_stages_come_as_they_are_written_and_then_the_same_answer(client: TestClient) -> None:
    whole = client.post("/v1/answer", json=RAIN).json()
    streamed = client.post("/v1/answer", json={**RAIN, "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert events_of(streamed.text) == [
        ("recall", {"recall": "rain is wet."}),
        ("analyses", {"analyses": ["yes.", "no."]}),
        ("answer", whole),
    ]


def test_the_student_goes_on_from_an_edited_recall_and_from_edited_analyses(client: TestClient) -> None:
    assert client.post("/v1/answer", json={**RAIN, "recall": "rain falls."}).json()["answer"] == "B"
    edited = {**RAIN, "recall": "rain is wet.", "analyses": ["no.", "yes, it does."]}
    assert client.post("/v1/answer", json=edited).json()["answer"] == "B"


def test_another_student_is_asked_by_name(client: TestClient) -> None:
    assert client.get("/v1/students").json() == ["round-1", "late"]
    assert [client.post("/v1/answer", json={**RAIN, "student": n}).json()["answer"] for n in ("round-1", "late")] == [
        "A",
        "B",
    ]
    assert [one["id"] for one in client.get("/v1/models").json()["data"]] == ["round-1", "late"]
    refused = client.post("/v1/answer", json={**RAIN, "student": "none"})
    assert refused.status_code == 404
    assert refused.json()["error"]["message"] == "student: found 'none', expected one of round-1, late"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"question": "Where?"}, "options: Field required"),
        ({"question": "Where?", "options": ["up"]}, "options: List should have at least 2 items"),
        ({"question": "Where?", "options": ["up"] * 27}, "options: List should have at most 26 items"),
        ({"question": " ", "options": ["up", "down"]}, "question and options: found an empty text"),
        ({"question": "x" * 10_001, "options": ["up", "down"]}, "question: String should have at most 10000"),
        ({**RAIN, "analyses": ["no."]}, "analyses: found 1, expected 2, one per option"),
        ({**RAIN, "recall": "foreign."}, "recall: found a given text, expected none"),
        ({**RAIN, "votes": 3}, "votes: Extra inputs are not permitted (found 3)"),
        (["Where?"], "body: found something else, expected a JSON object"),
    ],
)
def test_what_is_no_question_is_refused_in_one_line(client: TestClient, body: object, message: str) -> None:
    given = client.post("/v1/answer", json=body)
    assert given.status_code == 422
    assert given.json()["error"]["message"].startswith(message)
    assert "\n" not in given.json()["error"]["message"]


def test_malformed_json_and_unknown_paths_are_told_in_the_same_shape(client: TestClient) -> None:
    given = client.post("/v1/answer", content="{oops", headers={"content-type": "application/json"})
    assert (given.status_code, given.json()["error"]["type"]) == (422, "invalid_request_error")
    assert (
        client.get("/v1/answer").json()["error"]["message"]
        == "GET /v1/answer: method not allowed; /docs lists all paths"
    )
    assert client.get("/none").status_code == 404


def test_an_error_on_the_way_ends_the_stream_with_its_message(client: TestClient) -> None:
    streamed = client.post("/v1/answer", json={**RAIN, "question": "bad?", "stream": True})
    assert events_of(streamed.text)[-1][0] == "error"


def test_a_body_that_is_too_large_is_refused_before_it_is_read(client: TestClient) -> None:
    assert client.post("/v1/answer", content=b"x" * (256 * 1024 + 1)).status_code == 413

    def parts() -> Iterator[bytes]:
        for _ in range(300):
            yield b"x" * 1024

    assert client.post("/v1/answer", content=parts()).status_code == 413


def test_a_full_queue_is_429_with_the_seconds_to_wait() -> None:
    with client_of(make_application(Played(), limits=Limits(queue=0))) as client:
        given = client.post("/v1/answer", json={**RAIN, "stream": True})
    assert (given.status_code, given.headers["retry-after"]) == (429, "1")


def test_a_key_is_needed_where_one_is_set_but_not_to_see_that_all_is_well() -> None:
    with client_of(make_application(Played(), key="hush")) as client:
        for path in ("/v1/students", "/metrics", "/v1/examples"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"authorization": "Bearer wrong"}).status_code == 401
            assert client.get(path, headers={"authorization": "Bearer hush"}).status_code == 200
        for path in ("/", "/docs", "/openapi.json", "/healthz"):
            assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"), [("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("evil.example", 421)]
)
def test_a_local_service_answers_no_request_for_another_host(host: str, status: int) -> None:
    with client_of(make_application(Played(), is_local=True)) as client:
        assert client.get("/v1/students", headers={"host": host}).status_code == status


def test_figures_are_counted_by_path_and_student(client: TestClient) -> None:
    for _ in range(3):
        client.post("/v1/answer", json=RAIN)
    client.get("/none/of/these")
    figures = client.get("/metrics").text
    assert 'tinythinker_requests_total{path="/v1/answer",status="200"} 3.0' in figures
    assert 'tinythinker_requests_total{path="other",status="404"} 1.0' in figures
    assert 'tinythinker_answers_total{student="round-1"} 3.0' in figures
    assert 'tinythinker_tokens_total{student="round-1"} 27.0' in figures
    assert "tinythinker_waiting 0.0" in figures


def test_examples_are_test_questions_with_their_answers(client: TestClient) -> None:
    assert client.get("/v1/examples?start=1&count=1").json() == [
        {"id": "q1", "question": "Where 1?", "options": ["up", "down"], "answer": "B"}
    ]
    assert client.get("/v1/examples?count=1000").status_code == 422


def test_the_pages_need_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/docs"):
        page = client.get(path)
        assert "script-src 'sha256-" in page.headers["content-security-policy"] or path == "/docs"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        for word in ("http://", "https://", "//cdn", "@import"):
            assert word not in page.text.replace("http://localhost:8000/v1/answer", "")


def test_the_page_about_the_paths_names_every_path_and_every_field(client: TestClient) -> None:
    text = client.get("/docs").text
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) <= {path for path in described["paths"] if path in text}
    for name in ("question", "options", "analyses", "probabilities", "is_readable", "messages"):
        assert f"<code>{name}</code>" in text
    assert "POST" in text


def test_a_question_in_a_chat_is_answered_in_the_shape_of_openai(client: TestClient) -> None:
    said = "Where does rain go?\nA) up\nB) down"
    body = {"model": "late", "messages": [{"role": "user", "content": said}], "temperature": 0.3}
    given = client.post("/v1/chat/completions", json=body).json()
    assert given["choices"][0]["message"]["content"] == (
        "Recall: rain is wet.\nAnalyze A: no.\nAnalyze B: yes.\nAnswer: B (down)"
    )
    assert given["tinythinker"] == client.post("/v1/answer", json={**RAIN, "student": "late"}).json()
    streamed = client.post("/v1/chat/completions", json={**body, "stream": True}).text.strip().split("\n\n")
    assert streamed[-1] == "data: [DONE]"
    deltas = [json.loads(part.removeprefix("data: "))["choices"][0]["delta"] for part in streamed[:-1]]
    assert deltas[1] == {"content": "Recall: rain is wet.\n"}
    assert "".join(delta.get("content", "") for delta in deltas) == given["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"messages": [{"role": "user", "content": "Where?"}]}, 422, "messages: question: found 'Where?', expected"),
        ({"messages": [{"role": "system", "content": "Be kind."}]}, 422, "messages: found none by the user"),
        ({"messages": [{"role": "user", "content": "W?\nA) a\nB) b"}], "model": "gpt"}, 404, "student: found 'gpt'"),
        ({"messages": [{"role": "user", "content": "W?\nA) a\nB) b"}], "n": 2}, 422, "n: Input should be less"),
    ],
)
def test_a_chat_without_a_question_is_refused(client: TestClient, body: object, status: int, message: str) -> None:
    given = client.post("/v1/chat/completions", json=body)
    assert given.status_code == status
    assert given.json()["error"]["message"].startswith(message)


def test_the_service_says_that_it_is_well(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "waiting": 0}
