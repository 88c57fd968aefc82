from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from tests.conftest import tiny_recipe, tiny_student
from tinythinker import api
from tinythinker.core.errors import SettingsError, StudentError

RAIN = {"question": "Where does rain go?", "options": ["up", "down"]}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("students") / "student"
    tiny_student(recipe=tiny_recipe(answer="constrained")).save(folder)
    return folder


@contextmanager
def served(student: Path, *words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a service in a process of its own, and the process."""
    command = [sys.executable, "-m", "tinythinker", "serve", str(student), "--port", "0", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def asked(address: str) -> dict[str, object]:
    body = json.dumps(RAIN).encode()
    request = urllib.request.Request(f"{address}/v1/answer", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as given:
        made: dict[str, object] = json.load(given)
    return made


def test_a_service_answers_openai_s_client_and_ends_with_what_is_under_way_answered(student: Path) -> None:
    # The window is long, so that the question still waits when the process is told to end.
    with served(student, "--window-ms", "2000") as (address, process):
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        with client:
            said = "Where does rain go?\nA) up\nB) down"
            made = client.chat.completions.create(
                model=client.models.list().data[0].id, messages=[{"role": "user", "content": said}]
            )
        answer = api.load(student).answer("Where does rain go?", ["up", "down"])
        assert (made.choices[0].message.content or "").endswith(f"Answer: {answer.answer} ({answer.text})")
        heard: list[dict[str, object]] = []
        asking = threading.Thread(target=lambda: heard.append(asked(address)))
        asking.start()
        while json.load(urllib.request.urlopen(f"{address}/healthz"))["waiting"] == 0:
            pass
        process.send_signal(signal.SIGTERM)
        asking.join(60)
        assert [one["answer"] for one in heard] == [answer.answer]
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err.strip().split("\n")[-1]) == (
            0,
            "serve: stopped; every question that was under way has been answered",
        )


def test_other_machines_are_let_in_only_with_a_key(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"--host 0\.0\.0\.0: found no key, expected --key-env NAME"):
        api.serve(student, host="0.0.0.0")
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(SettingsError, match="--key-env: found no value in the variable of that name"):
        api.serve(student, key_env="NO_SUCH_KEY")
    monkeypatch.setenv("ODD_KEY", "hush hush")
    with pytest.raises(SettingsError, match=r"found a key .* with blanks") as refused:
        api.serve(student, key_env="ODD_KEY")
    assert "hush" not in str(refused.value)


def test_a_port_that_is_taken_and_a_student_that_is_not_there_are_one_line(student: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"--host 127\.0\.0\.1 --port {port}: found that it cannot be used"):
            api.serve(student, port=port)
    with pytest.raises(StudentError, match="found no such folder"):
        api.serve(tmp_path / "none")
    with pytest.raises(StudentError, match="found no such folder"):
        api.serve(student, tmp_path / "none")


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinythinker.serve.service.find_spec", lambda name: None if name == "uvicorn" else os)
    with pytest.raises(SettingsError, match=r"found no package uvicorn, .*'tinythinker\[serve\]'"):
        api.serve(student)
