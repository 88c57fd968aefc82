from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from tinythinker.core.names import Names, Registry


def test_a_setting_takes_the_names_that_are_declared_and_no_others() -> None:
    colour = TypeAdapter(Annotated[str, Names("paint.colour", ["red", "green"])])
    assert colour.validate_python("red") == "red"
    with pytest.raises(ValidationError, match=r"setting paint\.colour: found 'gren', expected one of red, green; did"):
        colour.validate_python("gren")


def test_what_is_added_is_allowed_and_found() -> None:
    names = Names("paint.colour", ["red"])
    paints = Registry(names, {"red": 1})
    paints.add("blue", 2)
    assert (names.check("blue"), paints["blue"], list(paints)) == ("blue", 2, ["red", "blue"])
    with pytest.raises(ValueError, match="expected one that is not taken"):
        paints.add("red", 3)
    assert paints["red"] == 1


def test_declared_names_and_registered_things_must_be_the_same() -> None:
    with pytest.raises(ValueError, match=r"registered for paint\.colour: found \['red'\]"):
        Registry(Names("paint.colour", ["red", "green"]), {"red": 1})
