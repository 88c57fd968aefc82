"""The documents: up to date with the code, no broken link, and examples that run."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if "_build" not in path.relative_to(ROOT).parts
)
WIDEST = 100
"""Characters of a line of prose; a table's row, a link and code may be longer."""


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def python_of(path: Path) -> str:
    """The Python blocks of a page, as one script."""
    return "\n".join(re.findall(r"```python\n(.*?)```", read(path), re.DOTALL))


def run_script(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a script in a folder of its own."""
    monkeypatch.chdir(folder)
    exec(compile(script, "script.py", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("name", ["settings.md", "command-line.md"])
def test_the_reference_is_what_the_code_says(name: str) -> None:
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "docs" / "write_reference.py")
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    assert read(ROOT / "docs" / "reference" / name) == writer.pages()[name], "out of date: run `make reference`"


def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", ROOT / "docs", tmp_path / "site"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "guide" / "teachers.html").is_file()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_page_links_to_exists(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(path))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_wraps_at_100(path: Path) -> None:
    prose = re.sub(r"```.*?```", "", read(path), flags=re.DOTALL)
    long = [
        line
        for line in prose.split("\n")
        if len(line) > WIDEST and not line.startswith(("|", "    ")) and "](" not in line
    ]
    assert long == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_over_several_lines_can_be_copied(path: Path) -> None:
    broken = [line for line in read(path).splitlines() if re.match(r"    .*\\ +\S", line)]
    assert not broken, "a backslash goes on only at the end of a line"


def test_the_readme_is_an_invitation() -> None:
    assert len(read(ROOT / "README.md").split("\n")) <= 150


def test_the_example_of_the_readme_runs_and_asks_the_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = python_of(ROOT / "README.md")
    assert "train.epochs=100" in script
    assert "reflect.rounds=1" in script
    quick = script.replace("train.epochs=100", "train.epochs=1").replace("reflect.rounds=1", "reflect.rounds=0")
    run_script(quick, tmp_path, monkeypatch)
    printed = capsys.readouterr().out
    assert "runs/mine/report.html" in printed
    assert "recall=" in printed
    # The right option stands first as often as second, so that its position says nothing.
    asked = (tmp_path / "mine.jsonl").read_text().split("\n")
    first = sum('"options": ["' + line.split('"answer": "')[1].rstrip('"}') + '"' in line for line in asked)
    assert 0.4 < first / len(asked) < 0.6


@pytest.mark.usefixtures("forgotten")
def test_the_four_extensions_of_the_page_run_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_script(python_of(ROOT / "docs" / "EXTENDING.md"), tmp_path, monkeypatch)
    assert [line.split(":")[0] for line in capsys.readouterr().out.split("\n") if line] == ["phase_1", "hinged"]
