from __future__ import annotations

from pathlib import Path

import pytest

from tinythinker.publish.private import private_in, without_private


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/datasets/tau/commonsense_qa",
        "and/or, 1/2/3, a/b/c",
        'f"{text}\\nAnalyze: {opening}"',
        "tinythinker ask FOLDER",
    ],
)
def test_what_only_looks_like_a_path_stays(text: str) -> None:
    assert without_private(text) == text


@pytest.mark.parametrize("path", ["/srv/a/b.gguf", "~/models/x", "./runs/a", "..\\runs\\a\\b", "C:\\Users\\me"])
def test_a_path_is_replaced(path: str) -> None:
    assert without_private(f"in ({path})") == "in ([path])"


def test_a_folder_of_this_machine_is_found_in_every_spelling(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "run")
    for text in (f"{link}/student", f"{tmp_path}/run/student", str(Path.home() / "x")):
        assert str(private_in(f'{{"name": "{text}"}}', link)).startswith("the folder ")
    assert private_in('{"name": "student"}', link) is None


def test_a_short_home_directory_is_no_private_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/root")
    assert private_in('{"vocab": {"/root": 7, "/rooted": 8}}') is None
    assert private_in('{"name": "/root/models"}') == "the folder /root"


def test_a_key_of_the_environment_is_found_and_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "0123456789abcdef")
    assert private_in("see 0123456789abcdef") == "a key (not shown)"
    assert without_private("see 0123456789abcdef") == "see [key]"
