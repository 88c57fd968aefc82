"""Write docs/reference from the code: `make reference`. A test fails while the pages are out of date."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from tinythinker import api
from tinythinker.cli.main import build
from tinythinker.settings.describe import FieldLine
from tinythinker.settings.resolve import MOVED
from tinythinker.settings.schema import TASKS, RunSettings

FOLDER = Path(__file__).parent / "reference"
WRITTEN = "<!-- Written by `make reference`. Change the code, not this page. -->\n"


def pages() -> dict[str, str]:
    """File name -> what it should hold."""
    return {"settings.md": "\n".join(_settings()) + "\n", "command-line.md": _command_line()}


def _settings() -> Iterator[str]:
    yield "# Settings\n"
    yield WRITTEN
    yield _wrapped(
        "Give a setting as `key.path=value` after the task, or in a YAML file with `--config`. An override wins over "
        "the file, the file over the task's preset, the preset over the default. `tinythinker settings` prints this "
        "list; `tinythinker settings --task csqa` prints it with a preset's values. A group that may be `null` "
        "exists as soon as you set one of its members."
    )
    for group, lines in itertools.groupby(api.settings(), key=_group):
        yield f"\n## {group or 'general'}\n"
        if group and (about := _about(group)):
            yield f"{about}\n"
        yield from (_setting(line) for line in lines)
    yield from _presets()
    yield from _moved()


def _group(line: FieldLine) -> str:
    """The group of a setting; empty for one that stands alone, such as `seed`."""
    return line.key.rpartition(".")[0].partition(".")[0]


def _about(group: str) -> str:
    """The docstring of a group of settings."""
    kind = RunSettings.model_fields[group].annotation
    return _wrapped(" ".join((getattr(kind, "__doc__", None) or "").split()))


def _setting(line: FieldLine) -> str:
    is_said = line.default in line.allowed.split(" | ") or line.default == "required"
    default = line.default if line.default == "required" else f"default `{line.default}`"
    allowed = f"`{line.allowed}`" if not is_said or "|" in line.allowed or " " in line.allowed else ""
    head = f"- **`{line.key}`** ({'; '.join(part for part in (allowed or f'`{line.allowed}`', default) if part)})"
    return textwrap.fill(f"{head}: {line.meaning}", 100, subsequent_indent="  ", break_long_words=False)


def _presets() -> Iterator[str]:
    """What each task's preset changes."""
    tasks = list(TASKS)
    defaults = {line.key: line.default for line in api.settings()}
    values = {task: {line.key: line.default for line in api.settings(task=task)} for task in tasks}
    yield "\n## Presets\n"
    yield _wrapped("Where a preset differs from the default. Your own files use the defaults.") + "\n"
    yield f"| setting | default | {' | '.join(tasks)} |"
    yield "|---|---|" + "---|" * len(tasks)
    for key, default in defaults.items():
        if key != "task" and any(values[task][key] != default for task in tasks):
            cells = (f"`{values[task][key]}`" if values[task][key] != default else "" for task in tasks)
            yield f"| `{key}` | `{default}` | {' | '.join(cells)} |"


def _moved() -> Iterator[str]:
    yield "\n## Renamed settings\n"
    yield _wrapped("The old names still work, with a message that says the new one.") + "\n"
    yield "| version 0.1 | since 0.2 |\n|---|---|"
    yield from (f"| `{old}` | `{new}` |" for old, new in MOVED.items())


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _command_line() -> str:
    command = get_command(build())
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="tinythinker"), name="tinythinker")
    # The list of commands cuts their first sentences short, and the headings below say the same.
    top, _, rest = text.partition("**Commands**")
    commands = "## " + rest.partition("\n## ")[2]
    body = top.replace("# `tinythinker`", "", 1).strip() + "\n\n" + commands
    wrapped = (
        line
        if line.startswith(("#", "`", "$"))
        else textwrap.fill(line, 100, subsequent_indent="  " * line.startswith("*"))
        for line in body.strip().split("\n")
    )
    return f"# Command line\n\n{WRITTEN}\n" + "\n".join(wrapped) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
