from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import TINY
from tinythinker.core.errors import SettingsError
from tinythinker.core.run import StudyDirectory
from tinythinker.settings.resolve import bound_of, load_settings
from tinythinker.study.begun import refuse_other_settings
from tinythinker.study.folders import cell_of, folder_name
from tinythinker.study.grid import Grid, read_grid


def grid_of(*values: str, methods: tuple[str, ...] = ("majority",)) -> Grid:
    settings = [*TINY, "student.init=pretrained"]
    return read_grid("storeroom", settings, methods=methods, seeds=1, vary=f"student.name={','.join(values)}")


@pytest.mark.parametrize("name", ["phase_1", "0.5", "1e-4", "cot", "9999", "qwen3-0.6b", "a_b+c=d"])
def test_a_name_that_every_disk_holds_is_the_folder(name: str) -> None:
    assert folder_name(name) == name


ODD = [
    *(
        "..",
        ".",
        "",
        "/",
        "a/b",
        "a-b",
        "a b",
        "A-b",
        "a-B",
        "a, b",
        "[a, b]",
        "a\\b",
        "a:b",
        "b.",
        "b",
        "con",
        "nul.txt",
    ),
    *("seed-0", "Seed-0", "x" * 300, "x" * 301, "\u00e9", "e\u0301", "a\nb", "../b", "-1", "1", "1.0", "true", "True"),
    folder_name("a/b"),
    folder_name(".."),
]


def test_different_texts_have_different_folders_also_where_case_does_not_count() -> None:
    names = [folder_name(text) for text in ODD]
    assert len({name.lower() for name in names}) == len(ODD)
    for name in names:
        assert Path(name).name == name and len(name) <= 64
        assert name not in (".", "..") and not name.endswith(".")
        assert not re.fullmatch(r"seed-\d+", name)


def test_cells_stay_in_the_study_and_apart(tmp_path: Path) -> None:
    grid = grid_of("..", "b", "a/b", "a-b")
    directory = StudyDirectory(tmp_path / "study")
    roots = [cell_of(grid, place, directory).root for place in grid.cells() if place.method == "majority"]
    assert len(set(roots)) == 4
    assert all(
        root.resolve().relative_to(directory.cells.resolve()).parts[1:] == ("majority", "seed-0") for root in roots
    )


def test_a_cell_of_an_older_version_is_found_under_its_old_name_if_it_is_the_same_cell(tmp_path: Path) -> None:
    grid = grid_of("a/b", "a-b")
    directory = StudyDirectory(tmp_path / "study")
    slashed, _ = (place for place in grid.cells() if place.method == "majority")
    old = directory.cell(Path("cells/a-b/majority/seed-0"))
    settings = load_settings("storeroom", grid.overrides(slashed))
    old.begin("teach", settings.plain(), bound_of(settings))
    assert cell_of(grid, slashed, directory).root == old.root
    with pytest.raises(SettingsError, match=r"a cell of other settings \(student\.name: was 'a/b', now 'a-b'\)"):
        refuse_other_settings(grid, directory)
    assert cell_of(grid_of("a//b"), next(grid_of("a//b").cells()), directory).root != old.root
