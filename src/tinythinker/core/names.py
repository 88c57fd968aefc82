"""Named things that can be added from outside: benchmarks, teacher sources, preference losses."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from tinythinker.core.errors import expected

T = TypeVar("T")


class Names:
    """The values that a setting allows. Use it as `Annotated[str, NAMES]` on a settings field.

    The names are declared next to the setting, apart from what they stand for, so that a setting can be checked
    without loading torch.
    """

    def __init__(self, setting: str, names: Iterable[str]) -> None:
        self.setting = setting
        self._names = list(names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        """Allow one more name. Raises ValueError if it is taken."""
        if name in self._names:
            raise ValueError(expected(f"new name for {self.setting}", name, "one that is not taken"))
        self._names.append(name)

    def check(self, name: str) -> str:
        """Return the name unchanged. Raises ValueError with the allowed names if it is unknown."""
        if name not in self._names:
            near = difflib.get_close_matches(name, self._names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(expected(f"setting {self.setting}", name, f"one of {', '.join(self._names)}{hint}"))
        return name

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


class Registry(Mapping[str, T]):
    """What each name stands for. `add` is the one line that registers something new.

    Args:
        names: the names that the setting allows; must be those of `things`.
        things: by name.
    """

    def __init__(self, names: Names, things: Mapping[str, T]) -> None:
        if sorted(names) != sorted(things):
            raise ValueError(expected(f"registered for {names.setting}", sorted(things), f"{sorted(names)}"))
        self._names, self._things = names, dict(things)

    def __getitem__(self, name: str) -> T:
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def add(self, name: str, thing: T) -> None:
        """Register a thing and allow its name as a setting. Raises ValueError if the name is taken."""
        self._names.add(name)
        self._things[name] = thing
