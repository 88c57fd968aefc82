"""Every setting as people read it: key, default, allowed values, meaning."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from tinythinker.core.errors import SettingsError, shortened
from tinythinker.core.files import Json
from tinythinker.core.names import Names
from tinythinker.settings.schema import MAPPINGS, SECTIONS, RunSettings, Settings


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Json:
    """`{"reflect": {"beta": 0.5}}` as `{"reflect.beta": 0.5}`."""
    flat: Json = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value and f"{prefix}{key}" not in MAPPINGS:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


class FieldLine(Settings):
    """One setting, described for people."""

    key: str
    default: str
    allowed: str
    meaning: str


def describe_settings(verb: str | None = None) -> Iterator[FieldLine]:
    """Key, default, allowed values and meaning of every setting, in order.

    Args:
        verb: only the settings that this verb is the first to read; None describes all.
    """
    sections = RunSettings.model_fields if verb is None else SECTIONS[verb]
    for name in sections:
        yield from _lines(name, RunSettings.model_fields[name])


def _lines(key: str, field: FieldInfo) -> Iterator[FieldLine]:
    group = _group(field.annotation)
    if group is not None:
        for name, inner in group.model_fields.items():
            yield from _lines(f"{key}.{name}", inner)
        return
    default = "required" if field.is_required() else as_yaml(field.get_default(call_default_factory=True))
    meaning = " ".join((field.description or "").split())
    yield FieldLine(key=key, default=default, allowed=_allowed(field), meaning=meaning)


def _group(annotation: object) -> type[Settings] | None:
    """The settings model of a group of settings, also of one that may be null; None for a single setting."""
    candidates = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    models = [one for one in candidates if isinstance(one, type) and issubclass(one, Settings)]
    return models[0] if models else None


def optional_groups() -> list[str]:
    """Groups that exist or are null, such as `student.lora`."""
    return [
        f"{section}.{name}"
        for section, outer in RunSettings.model_fields.items()
        if (model := _group(outer.annotation)) is not None
        for name, field in model.model_fields.items()
        if _group(field.annotation) is not None
    ]


def group_defaults() -> Json:
    """Defaults of the settings in groups that may be null, for groups that are not."""
    return {
        line.key: yaml.safe_load(line.default)
        for line in describe_settings()
        if line.default != "required" and line.key.rsplit(".", 1)[0] in optional_groups()
    }


def as_yaml(value: object) -> str:
    """A setting's value on one line, as you would write it in a file."""
    plain = list(value) if isinstance(value, tuple) else value
    return str(yaml.safe_dump(plain, default_flow_style=True)).split("\n")[0]


def _allowed(field: FieldInfo) -> str:
    for rule in field.metadata:
        if isinstance(rule, Names):
            return " | ".join(rule)
    return " ".join([_type_name(field.annotation), *_bounds(field)])


def _bounds(field: FieldInfo) -> list[str]:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in signs.items()
        if hasattr(rule, name)
    ]


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        plain, *rules = get_args(annotation)
        bounds = (bound for rule in rules if isinstance(rule, FieldInfo) for bound in _bounds(rule))
        return " ".join([_type_name(plain), *bounds])
    if get_origin(annotation) is Literal:
        return " | ".join(get_args(annotation))
    if get_origin(annotation) is dict:
        return "mapping"
    if get_origin(annotation) is tuple:
        return f"list of {_type_name(get_args(annotation)[0])}"
    if inner := get_args(annotation):
        return " | ".join(_type_name(part) for part in inner)
    return {int: "integer", float: "number", str: "text", bool: "true | false", Path: "path", type(None): "null"}[
        annotation
    ]


def known_keys() -> list[str]:
    """The `key.path` of every setting."""
    return [line.key for line in describe_settings()]


def unknown_setting(key: str) -> SettingsError:
    """The error for an unknown setting, which suggests the closest known one."""
    keys = known_keys()
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.4)
    if not near:
        near = [known for known in keys if known.split(".")[-1] == key.split(".")[-1]]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if key.split(".")[-1] in ("key", "api_key", "token"):
        hint = "; an API key is only read from the environment variable that teacher.llm.key_env names"
    return SettingsError(
        f"setting {shortened(key)}: found no such setting, expected one of those in `tinythinker settings`{hint}"
    )
