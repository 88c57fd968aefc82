"""Pushing to a played Hub: a server that speaks its HTTP API, in another process's eyes the Hub itself."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.publish.test_card import base, trained
from tests.teacher.llm.server import Answer, Request, serving
from tinythinker import api
from tinythinker.core.errors import DataError, SettingsError
from tinythinker.core.run import RunDirectory

TOKEN = "hf_playedplayedplayed01"


class PlayedHub:
    """The calls that a commit makes; weights go through LFS, all else is part of the commit."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.stored: dict[str, bytes] = {}
        self.committed: dict[str, bytes] = {}
        self.made: dict[str, Any] = {}
        self.tokens: set[str] = set()
        self.status = 200

    def __call__(self, request: Request) -> Answer:
        if request.path == "/api/agent-harnesses":  # the library asks for it now and then
            return Answer(404)
        self.calls.append(f"{request.method} {request.path}")
        self.tokens.add(request.headers.get("authorization", ""))
        if self.status != 200:
            return Answer(self.status, b'{"error": "played"}')
        return Answer(body=json.dumps(self._answer(request)).encode(), headers={"content-type": "application/json"})

    def _answer(self, request: Request) -> Any:
        match request.path.rpartition("/")[2] if "/lfs/" not in request.path else "lfs":
            case "create":
                self.made = request.json
                return {"url": f"{self.url}/me/student", "name": "me/student"}
            case "validate-yaml":
                return {"errors": [], "warnings": []}
            case "lfs":
                objects = [
                    {**one, "actions": {"upload": {"href": f"{self.url}/store/{one['oid']}"}}}
                    for one in request.json["objects"]
                ]
                return {"transfer": "basic", "objects": objects}
        if request.path.startswith("/store/"):
            self.stored[request.path.rpartition("/")[2]] = request.body
            return {}
        if "/preupload/" in request.path:
            return {"files": [self._mode(one["path"]) for one in request.json["files"]]}
        return self._commit(request)

    def _mode(self, path: str) -> Any:
        mode = "lfs" if path.endswith(".safetensors") else "regular"
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def _commit(self, request: Request) -> Any:
        for line in map(json.loads, request.body.splitlines()):
            told = line["value"]
            if line["key"] == "file":
                self.committed[told["path"]] = base64.b64decode(told["content"])
            elif line["key"] == "lfsFile":
                self.committed[told["path"]] = self.stored[told["oid"]]
        return {"commitUrl": f"{self.url}/me/student/commit/1", "commitOid": "1"}

    url = ""


def push(url: str, folder: Path, *words: str | os.PathLike[str], token: str | None = TOKEN) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command, for which the Hub is at this address."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    own = {"HF_ENDPOINT": url, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tinythinker", "push", *(os.fspath(word) for word in words)],
        env=kept | own | ({} if token is None else {"HF_TOKEN": token}),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return trained(tmp_path_factory.mktemp("runs"))


def test_folder_and_card_arrive_byte_for_byte_in_one_commit(run: RunDirectory, tmp_path: Path) -> None:
    hub = PlayedHub()
    with serving(hub) as server:
        hub.url = server.url.removesuffix("/v1")
        code, out, err = push(hub.url, tmp_path, run, "me/student", "--private", "--licence", "mit")
    assert (code, out.strip()) == (0, f"{hub.url}/me/student"), err
    files = {file.name: file.read_bytes() for file in run.phase_1.student.iterdir()}
    assert "model.safetensors" in files
    card = hub.committed.pop("README.md").decode()
    assert hub.committed == files
    assert list(hub.stored) == [hashlib.sha256(files["model.safetensors"]).hexdigest()]
    assert "license: mit" in card
    assert 'name = "me/student"' in card
    assert (hub.made["name"], hub.made["organization"], hub.made["visibility"]) == ("student", "me", "private")
    assert sum("/commit/" in call for call in hub.calls) == 1
    assert hub.tokens <= {f"Bearer {TOKEN}", ""}  # storage gets none
    assert TOKEN not in out + err


def test_a_dry_run_shows_what_would_go_and_asks_nobody(run: RunDirectory, tmp_path: Path) -> None:
    hub = PlayedHub()
    with serving(hub) as server:
        code, out, err = push(server.url.removesuffix("/v1"), tmp_path, run, "me/student", "--dry-run", token=None)
    assert (code, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines()] == [
        *sorted(file.name for file in run.phase_1.student.iterdir()),
        "README.md",
    ]
    size = (run.phase_1.student / "model.safetensors").stat().st_size
    assert f"{size:>14,}  model.safetensors" in out.splitlines()
    assert hub.calls == []


@pytest.mark.parametrize(
    ("status", "token", "code", "message"),
    [
        (401, TOKEN, 2, "push me/student: found 'status 401', expected a token (HF_TOKEN) that may write"),
        (403, TOKEN, 2, "found 'status 403'"),
        (500, TOKEN, 3, "push me/student: found the Hugging Face Hub not answering as it should"),
        (200, None, 2, "push: found no token of the Hugging Face Hub, expected one in HF_TOKEN"),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    run: RunDirectory, tmp_path: Path, status: int, token: str | None, code: int, message: str
) -> None:
    hub = PlayedHub()
    hub.status = status
    with serving(hub) as server:
        found, out, err = push(server.url.removesuffix("/v1"), tmp_path, run, "me/student", token=token)
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert TOKEN not in err


def test_a_hub_that_is_not_there_is_one_line(run: RunDirectory, tmp_path: Path) -> None:
    code, _, err = push("http://127.0.0.1:9", tmp_path, run, "me/student")
    assert (code, len(err.splitlines())) == (3, 1), err


def test_a_card_of_your_own_goes_as_it_is(run: RunDirectory, tmp_path: Path) -> None:
    own = tmp_path / "own.md"
    own.write_text("# Mine\n")
    assert api.push(run, "me/student", card_file=own, dry_run=True).files[-1].bytes == 7
    own.write_text(f"# In {run.root}\n")
    with pytest.raises(
        DataError, match=r"the card: found the folder .*, expected nothing of this machine; nothing was"
    ):
        api.push(run, "me/student", card_file=own, dry_run=True)


def test_adapters_on_a_folder_of_this_machine_are_not_sent(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    folder = base(tmp_path / "base", is_chat=False)
    run = trained(
        tmp_path,
        "student.init=pretrained",
        f"student.name={folder}",
        "student.lora.rank=2",
        "student.lora.save=adapter",
    )
    with pytest.raises(
        DataError, match=r"adapter_config.json: found the folder .*; train with student.lora.save=merged"
    ):
        api.push(run, "me/student", dry_run=True)


@pytest.mark.parametrize("name", ["student", "me/", "a/b/c", "me/../x", "me/a b"])
def test_a_name_that_the_hub_does_not_have_is_refused(run: RunDirectory, name: str) -> None:
    with pytest.raises(SettingsError, match=r"name: found .*, expected OWNER/NAME"):
        api.push(run, name, dry_run=True)
