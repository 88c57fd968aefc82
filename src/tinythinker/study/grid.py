"""A study file, or a task and command-line options -> the cells of a grid of methods, values and seeds."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from tinythinker.core.errors import SettingsError, expected, shortened
from tinythinker.core.files import describe, read_text
from tinythinker.core.formats import MOST_YAML_BYTES, yaml_mapping
from tinythinker.settings.describe import as_yaml, flatten, known_keys, unknown_setting
from tinythinker.settings.resolve import load_settings, parse_override
from tinythinker.settings.schema import Settings
from tinythinker.study.methods import METHODS, RENAMED, Method

_MOST_SEEDS = 10_000
Budget = Literal["steps", "target_tokens", "flops"]


class Grid(Settings):
    """What a study compares. The fields are also the keys of a study file."""

    task: str
    """csqa, obqa, strategyqa, storeroom, the path of a file of questions, or hub:OWNER/NAME[/CONFIG]."""
    settings: tuple[str, ...] = ()
    """Settings of all cells; they override the task's preset."""
    methods: dict[str, tuple[str, ...]] = Field(min_length=1)
    """Methods by name, each with further settings. A new name with settings defines a new method."""
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    """Seeds to run every method with. A seed decides the draws, the weights and, on Storeroom, the world."""
    budget: Budget = "steps"
    """Unit in which phase 1 of all methods gets an equal budget: optimizer steps (as many as the settings
    say), or the target tokens or floating-point operations that the stages of the study's own plan use
    in those steps."""
    vary: tuple[str, tuple[str, ...]] | None = None
    """A setting and its values, for curves: the whole grid runs once per value."""
    reference: str | None = None
    """The method that the others are compared with; null: tinythinker, else phase_1, else the last one."""

    @field_validator("settings", mode="before")
    @classmethod
    def _overrides(cls, value: object) -> object:
        return as_overrides(value)

    @field_validator("methods", mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            value = dict.fromkeys(value)
        if isinstance(value, Mapping):
            return {RENAMED.get(str(name), str(name)): as_overrides(settings) for name, settings in value.items()}
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _so_many(cls, value: object) -> object:
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        if value > _MOST_SEEDS:
            raise ValueError(f"found {value}, expected at most {_MOST_SEEDS:,}")
        return tuple(range(value))

    @field_validator("vary", mode="before")
    @classmethod
    def _one_key(cls, value: object) -> object:
        if isinstance(value, Mapping) and len(value) == 1:
            ((key, values),) = value.items()
            listed = values if isinstance(values, list) else [values]
            return key, tuple(one if isinstance(one, str) else as_yaml(one) for one in listed)
        return value

    def method(self, name: str) -> Method:
        """The method with this name; one without settings if the name is not built in."""
        return METHODS.get(name, Method("defined in the study file"))

    @property
    def compared_with(self) -> str:
        """The method that the others are compared with."""
        usual = [name for name in ("tinythinker", "phase_1") if name in self.methods]
        return self.reference or [*usual, list(self.methods)[-1]][0]

    def cells(self) -> Iterator[Place]:
        """Every cell: values in the outermost loop, then seeds, then methods, each in the given order."""
        values = self.vary[1] if self.vary else (None,)
        for value, seed, name in itertools.product(values, self.seeds, self.methods):
            yield Place(name, seed, value)

    def overrides(self, place: Place) -> tuple[str, ...]:
        """All settings of a cell; they override the task's preset."""
        return (*self.common(place), *self.method(place.method).settings, *self.methods[place.method])

    def common(self, place: Place) -> tuple[str, ...]:
        """The settings of a cell that do not depend on its method."""
        varied = (f"{self.vary[0]}={place.value}",) if self.vary else ()
        return (*self.settings, *varied, f"seed={place.seed}")

    def check(self) -> None:
        """Refuse a grid that would fail halfway. Raises SettingsError, DataError."""
        if self.reference is not None and self.reference not in self.methods:
            raise SettingsError(expected("reference", self.reference, f"one of {', '.join(self.methods)}"))
        for name, overrides in self.methods.items():
            if name not in METHODS and not overrides:
                near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.4)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                wanted = f"one of {', '.join(METHODS)}, or a new name with settings{hint}"
                raise SettingsError(expected("method", name, wanted))
        if len(set(self.seeds)) < len(self.seeds):
            raise SettingsError(expected("seeds", list(self.seeds), "different ones"))
        if self.vary is not None and not 0 < len(set(self.vary[1])) == len(self.vary[1]):
            raise SettingsError(
                expected(f"values of {self.vary[0]}", list(self.vary[1]), "different ones, at least one")
            )
        for overrides in (self.settings, *self.methods.values(), (f"{self.vary[0]}=",) if self.vary else ()):
            if any(setting.startswith("seed=") for setting in overrides):
                raise SettingsError(expected("setting of a study", "seed", "the seeds with --seeds, or under `seeds:`"))
        if self.vary is not None and self.vary[0] not in known_keys():
            raise unknown_setting(self.vary[0])
        for place in self.cells():
            settings = load_settings(self.task, self.overrides(place))
            if self.method(place.method).is_pretrained and settings.student.init != "pretrained":
                where = f"setting student.init with method {place.method}"
                raise SettingsError(expected(where, settings.student.init, "pretrained"))


@dataclass(frozen=True)
class Place:
    """Position of a cell in the grid."""

    method: str
    seed: int
    value: str | None
    """Value of the setting that varies; None if none does."""

    def __str__(self) -> str:
        value = "" if self.value is None else f"{shortened(self.value)}, "
        return f"cell {value}{self.method}, seed {self.seed}"


def as_overrides(value: object) -> object:
    """Settings as `key.path=value` words, from a nested mapping or a list of such words."""
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return tuple(f"{key}={as_yaml(one)}" for key, one in flatten(value).items())
    if isinstance(value, list | tuple):
        return tuple(str(one) for one in value)
    return value


def read_grid(
    source: str,
    settings: Sequence[str] = (),
    *,
    methods: Sequence[str] = (),
    seeds: int | None = None,
    budget: str | None = None,
    vary: str | None = None,
    reference: str | None = None,
) -> Grid:
    """A study from its file or its task, with the additions of the command line.

    Args:
        source: a YAML study file, or a task.
        settings: settings of all cells; they override the file's.
        methods: names; if empty, the file's, or else label_only, cot, multitask, phase_1 and tinythinker.
        seeds: number of seeds, counted from 0; None: the file's, or the default.
        budget: unit of the budget, see `Grid`; None: the file's, or the default.
        vary: `key.path=value,value`; None: the file's, or nothing varies.
        reference: the method that the others are compared with; None: the file's, or the default.

    Raises:
        SettingsError, DataError: the study cannot run as described.
    """
    is_file = source.lower().endswith((".yaml", ".yml"))
    tree: dict[str, Any] = _read(Path(source)) if is_file else {"task": source}
    tree["settings"] = (*_words(tree.get("settings")), *settings)
    if methods:
        known = tree.get("methods")
        defined = known if isinstance(known, Mapping) else {}
        tree["methods"] = {name: defined.get(name) for name in methods}
    tree.setdefault("methods", ["label_only", "cot", "multitask", "phase_1", "tinythinker"])
    if seeds is not None:
        tree["seeds"] = seeds
    if budget is not None:
        tree["budget"] = budget
    if reference is not None:
        tree["reference"] = reference
    if vary is not None:
        if "=" not in vary:
            raise SettingsError(expected("vary", vary, "key.path=value,value"))
        key, values = parse_override(vary)
        tree["vary"] = {key: [part for part in str(values).split(",") if part]}
    try:
        grid = Grid.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(f"{source}: {describe(error)}") from None
    grid.check()
    return _with_the_untrained(grid)


def _with_the_untrained(grid: Grid) -> Grid:
    """A grid that has the rows of the untrained student, if its student is pretrained."""
    student = load_settings(grid.task, grid.settings).student
    missing = {name: () for name, method in METHODS.items() if method.is_pretrained and name not in grid.methods}
    if student.init != "pretrained" or not missing:
        return grid
    return grid.model_copy(update={"methods": {**missing, **grid.methods}, "reference": grid.compared_with})


def _words(value: object) -> tuple[str, ...]:
    made = as_overrides(value)
    return made if isinstance(made, tuple) else (str(made),)


def _read(file: Path) -> dict[str, Any]:
    keys = f"a mapping with {', '.join(Grid.model_fields)}"
    tree: dict[str, Any] = dict(yaml_mapping(read_text(file, most_bytes=MOST_YAML_BYTES), str(file), keys))
    unknown = [key for key in tree if key not in Grid.model_fields]
    if unknown:
        raise SettingsError(expected(f"{file}, key", unknown[0], f"one of {', '.join(Grid.model_fields)}"))
    return tree
