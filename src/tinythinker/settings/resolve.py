"""Where a setting's value comes from: defaults, preset, config file, overrides; and names of older versions."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

from pydantic import JsonValue, ValidationError

from tinythinker.core.errors import SettingsError, expected, shortened
from tinythinker.core.files import read_text
from tinythinker.core.formats import MOST_YAML_BYTES, Json, MalformedError, parse_yaml, yaml_mapping
from tinythinker.core.progress import say
from tinythinker.core.run import Bound, Flat
from tinythinker.settings.describe import as_yaml, flatten, group_defaults, known_keys, optional_groups, unknown_setting
from tinythinker.settings.families import family_of
from tinythinker.settings.schema import EXTENDABLE, HUB, QUESTION_FILES, SECTIONS, TASKS, RunSettings


def validate(tree: Mapping[str, JsonValue]) -> RunSettings:
    """Check a tree of settings, also one that an older version wrote down.

    Raises:
        SettingsError: in one line that names the key.
    """
    try:
        return RunSettings.model_validate(_nested(list(upgrade(flatten(tree)).items())))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
        # An error from one of our validators names its keys, unless it is about a single value.
        if first["type"] == "value_error":
            message = first["msg"].removeprefix("Value error, ")
            raise SettingsError(f"setting {key}: {message}" if message.startswith("found ") else message) from None
        if first["type"] == "missing":
            raise SettingsError(f"setting {key}: found nothing, expected a value") from None
        wanted = first["msg"].removeprefix("Input should be ")
        raise SettingsError(expected(f"setting {key}", first["input"], wanted)) from None


def override(settings: RunSettings, overrides: Sequence[str]) -> RunSettings:
    """Settings changed by `key.path=value` overrides. Raises SettingsError."""
    return validate(_merge(settings.plain(), _overrides(overrides)))


def _overrides(overrides: Sequence[str]) -> Json:
    tree = _renamed(_nested([parse_override(text) for text in overrides]), "settings")
    _check_keys(tree, "settings")
    return tree


def load_settings(task: str, overrides: Sequence[str] = (), config: Path | None = None) -> RunSettings:
    """Resolve the settings of a task: defaults < the task's preset < the student's < config file < overrides.

    A preset's values for an optional group apply only if the config file or an override opens that group. The preset
    of OpenBookQA, for example, sets how many completions a language model gives, but does not choose one as teacher.

    Raises:
        SettingsError, DataError: something is wrong with a setting, or with the file.
    """
    given = _given(overrides, config)
    base = _merge({"task": task}, preset(task))
    base = _merge(base, student_preset(_merge(base, given)))
    for group in optional_groups():
        section, name = group.split(".")
        opened = given.get(section)
        inner = base.get(section)
        if isinstance(inner, dict) and not (isinstance(opened, dict) and opened.get(name) is not None):
            inner.pop(name, None)
    return validate(_merge(base, given))


def chosen(overrides: Sequence[str], config: Path | None) -> set[str]:
    """Keys of the settings that the user gave, in a config file or as overrides. Raises as `load_settings` does."""
    return set(flatten(_given(overrides, config)))


def reopened(stored: RunSettings, overrides: Sequence[str], config: Path | None) -> RunSettings:
    """The settings of a run that has begun, changed by what the user gave; presets and defaults do not matter.

    Raises as `load_settings` does.
    """
    return validate(_merge(stored.plain(), _given(overrides, config)))


def _given(overrides: Sequence[str], config: Path | None) -> Json:
    """What the user gave: a config file, and overrides on top."""
    given = {} if config is None else _read_yaml(read_text(config, most_bytes=MOST_YAML_BYTES), str(config))
    return _merge(given, _overrides(overrides))


def bound_of(settings: RunSettings) -> Bound:
    """The settings that must not change once their verb has begun."""
    plain = settings.plain()
    by_verb = {
        verb: {
            key: value
            for key, value in flatten({name: plain[name] for name in names if name != "evaluate"}).items()
            if key not in EXTENDABLE
        }
        for verb, names in SECTIONS.items()
    }
    return Bound(by_verb, {**group_defaults(), **flatten(RunSettings(task=settings.task).plain())}, upgrade)


_LLM = (
    "model base_url key_env prompt show_gold examples structured samples temperature max_tokens waves keep "
    "duplicate_distance reject_leaks mode poll_seconds concurrency requests_per_minute tokens_per_minute "
    "timeout_seconds attempts backoff_seconds budget budget_tokens input_price output_price"
).split()
MOVED: Mapping[str, str] = {
    **{f"teacher.{name}": f"teacher.llm.{name}" for name in _LLM},
    **{f"student.lora_{name}": f"student.lora.{name}" for name in ("rank", "alpha", "dropout", "targets", "save")},
    "teacher.wrong": "storeroom.wrong",
    "teacher.malformed": "storeroom.malformed",
}
"""Settings of version 0.1 that have another name today. The old names still work, in files and on the command line."""


def upgrade(flat: Flat) -> Flat:
    """Flat settings of an older version under today's names.

    Version 0.1 wrote down all settings of a language model and of LoRA, whether there was one or not; where there was
    none, the group becomes null.
    """
    if not flat.keys() & MOVED.keys():
        return flat
    moved = {MOVED.get(key, key): value for key, value in flat.items()}
    is_without_llm = moved.get("teacher.source", "openai") != "openai" and moved.get("teacher.llm.model") is None
    is_without_lora = "student.lora.rank" in moved and moved["student.lora.rank"] is None
    for group, is_without in (("teacher.llm", is_without_llm), ("student.lora", is_without_lora)):
        if is_without:
            moved = {key: value for key, value in moved.items() if not key.startswith(f"{group}.")} | {group: None}
    return moved


def _renamed(tree: Json, where: str) -> Json:
    """A tree from a file or the command line under today's names; says which names are old."""
    flat = flatten(tree)
    for key in flat.keys() & MOVED.keys():
        say(f"{where}: {key} is now called {MOVED[key]}; the old name still works")
    return _nested(list(upgrade(flat).items())) if flat.keys() & MOVED.keys() else tree


def preset(task: str) -> Json:
    """The preset of a task; empty for a benchmark without one, and for questions of your own.

    Raises:
        SettingsError: no such task.
    """
    file = resources.files("tinythinker") / "settings" / "presets" / f"{task}.yaml"
    if task in TASKS:
        return _read_yaml(file.read_text(encoding="utf-8"), f"preset {task}") if file.is_file() else {}
    if task.startswith(HUB) or Path(task).suffix.lower() in QUESTION_FILES or Path(task).is_file():
        return {}
    near = difflib.get_close_matches(task, list(TASKS), n=1)
    wanted = f"one of {', '.join(TASKS)}, a file of questions, or hub:OWNER/NAME" + (
        f" (did you mean {near[0]!r}?)" if near else ""
    )
    raise SettingsError(expected("task", task, wanted))


def student_preset(tree: Mapping[str, JsonValue]) -> Json:
    """The preset of the kind of student that settings name.

    Empty for a T5, which the tasks' presets are for, for a student with random weights, and for a model that is not on
    this machine yet.

    Args:
        tree: all settings but the student's preset.
    """
    student = tree.get("student")
    given = student if isinstance(student, Mapping) else {}
    name = given.get("name")
    if given.get("init", "pretrained") != "pretrained" or not isinstance(name, str) or family_of(name) != "causal":
        return {}
    file = resources.files("tinythinker") / "settings" / "presets" / "students" / "causal.yaml"
    return _read_yaml(file.read_text(encoding="utf-8"), "preset of causal students")


def preset_of_student(settings: RunSettings) -> list[str]:
    """The settings, as `key=value`, in which a run follows the preset of its kind of student."""
    wanted, actual = flatten(student_preset(settings.plain())), flatten(settings.plain())
    return [f"{key}={as_yaml(value)}" for key, value in wanted.items() if actual[key] == value]


def _read_yaml(text: str, where: str) -> Json:
    tree = yaml_mapping(text, where, "`key: value` lines")
    twice = [key for key, count in Counter(_paths(tree)).items() if count > 1]
    if twice:
        raise SettingsError(f"{where}: found the key {shortened(twice[0])} twice, expected every key once")
    tree = _renamed(tree, where)
    _check_keys(tree, where)
    return tree


def parse_override(text: str) -> tuple[str, JsonValue]:
    """`reflect.rounds=3` as `("reflect.rounds", 3)`; the value is read as YAML, or as text if it is not YAML.

    Raises:
        SettingsError: the text has no key or no `=`.
    """
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise SettingsError(expected("setting", text, "key.path=value"))
    try:
        return key.strip(), _yaml(value)
    except MalformedError:
        return key.strip(), value


def _yaml(text: str) -> JsonValue:
    """The value of a YAML text, with `1e-4` as a number and `yes` as text, unlike YAML 1.1."""
    value = parse_yaml(text)
    if isinstance(value, bool) and text.strip().lower() not in ("true", "false"):
        return text.strip()
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _merge(below: Mapping[str, JsonValue], above: Mapping[str, JsonValue]) -> Json:
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


_MOST_DOTS = 20
"""In a key; no setting lies that deep, and a tree is walked one call per level."""


def _nested(pairs: Sequence[tuple[str, JsonValue]]) -> Json:
    tree: Json = {}
    for key, value in pairs:
        if key.count(".") > _MOST_DOTS:
            raise unknown_setting(key)
        here: JsonValue = value
        for name in reversed(key.split(".")):
            here = {name: here}
        tree = _merge(tree, here) if isinstance(here, dict) else tree
    return tree


def _check_keys(tree: Json, where: str) -> None:
    """Refuse unknown keys before pydantic sees them, and suggest the closest known one."""
    if "task" in tree:
        raise SettingsError(
            expected(f"{where}, task", tree["task"], "no such key: the task is the command's first argument")
        )
    keys = set(known_keys())
    groups = {key.rsplit(".", depth)[0] for key in keys for depth in (1, 2) if key.count(".") >= depth}
    for key, value in flatten(tree).items():
        if key in groups and value is None and key in optional_groups():
            continue
        if key in groups:
            raise SettingsError(expected(f"{where}, {key}", value, f"a group of settings, such as {key}.x=..."))
        if key not in keys:
            raise unknown_setting(key)


def _paths(tree: Mapping[str, JsonValue], prefix: str = "") -> Iterator[str]:
    """The `key.path` of every single value, as often as it stands there."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
