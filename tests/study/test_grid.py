from __future__ import annotations

from pathlib import Path

import pytest

from tinythinker.core.errors import SettingsError
from tinythinker.settings.resolve import load_settings
from tinythinker.study.grid import Grid, read_grid
from tinythinker.study.methods import METHODS


def test_a_task_alone_is_a_study_of_the_baselines_and_the_method() -> None:
    grid = read_grid("storeroom")
    assert list(grid.methods) == ["label_only", "cot", "multitask", "phase_1", "tinythinker"]
    assert grid.seeds == (0, 1, 2)
    assert (grid.budget, grid.compared_with) == ("steps", "tinythinker")


def test_a_study_file_and_the_command_line_give_the_same_grid(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "task: storeroom\n"
        "settings: {storeroom: {train: 200}, train.max_steps: 50}\n"
        "methods: [cot, phase_1]\n"
        "seeds: 2\n"
        "budget: flops\n"
        "vary: {storeroom.options: [2, 4]}\n"
    )
    asked = read_grid(
        "storeroom",
        ["storeroom.train=200", "train.max_steps=50"],
        methods=["cot", "phase_1"],
        seeds=2,
        budget="flops",
        vary="storeroom.options=2,4",
    )
    assert read_grid(str(file)) == asked
    assert read_grid(str(file), seeds=5).seeds == (0, 1, 2, 3, 4)
    assert read_grid(str(file), reference="cot").compared_with == "cot"
    assert read_grid(str(file), methods=["cot"]).methods == {"cot": ()}


def test_cells_are_every_value_seed_and_method_each_with_its_settings() -> None:
    grid = read_grid(
        "storeroom", ["train.max_steps=9"], methods=["cot", "phase_1"], seeds=2, vary="storeroom.train=5,9"
    )
    cells = list(grid.cells())
    assert [(c.value, c.seed, c.method) for c in cells][:3] == [("5", 0, "cot"), ("5", 0, "phase_1"), ("5", 1, "cot")]
    assert len(cells) == len(set(cells)) == 8
    assert grid.overrides(cells[-2]) == (
        "train.max_steps=9",
        "storeroom.train=9",
        "seed=1",
        "stages.plan=cot",
        "reflect.rounds=0",
    )


def test_a_new_method_in_a_study_file_is_defined_by_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "study.yml"
    file.write_text("task: storeroom\nmethods:\n  phase_1:\n  slow one: {train: {learning_rate: 1e-4}}\n")
    grid = read_grid(str(file))
    assert grid.methods == {"phase_1": (), "slow one": ("train.learning_rate=1e-4",)}
    assert grid.compared_with == "phase_1"
    settings = load_settings("storeroom", grid.overrides(list(grid.cells())[1]))
    assert settings.train.learning_rate == 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_the_settings_of_every_method_are_compatible(name: str) -> None:
    load_settings("csqa", METHODS[name].settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: storeroom\nmethods: [phase1]\n", r"method: found 'phase1', expected one of .*did you mean 'phase_1'"),
        ("task: storeroom\nmethod: [phase_1]\n", r"study\.yaml, key: found 'method', expected one of task, settings"),
        ("task: storeroom\nseeds: [1, 1]\n", r"seeds: found \[1, 1\], expected different ones"),
        ("task: storeroom\nreference: cot\nmethods: [phase_1]\n", r"reference: found 'cot', expected one of phase_1"),
        ("task: storeroom\nvary: {storeroom.trian: [1]}\n", r"'storeroom\.trian'.*did you mean 'storeroom\.train'"),
        (
            "task: storeroom\nsettings: {seed: 3}\n",
            r"setting of a study: found 'seed', expected the seeds with --seeds",
        ),
        ("task: storeroom\nvary: {storeroom.train: [some]}\n", r"setting storeroom\.train: found 'some'"),
        ("task: storeroom\nsettings: {train.max_step: 3}\n", r"setting 'train\.max_step': found no such setting"),
        ("task: storeroom\nbudget: time\n", r"study\.yaml: budget"),
        ("task: storeroom\nmethods: [cloze]\n", r"student\.init with method cloze: found 'scratch'"),
        ("task: storeroom\nmethods: {}\n", r"study\.yaml: methods"),
        ("- 1\n", r"study\.yaml: found \[1\], expected a mapping with task"),
        ("a: [\n", r"study\.yaml:2: found malformed YAML"),
        ("seeds: 3\n", r"study\.yaml: task"),
    ],
)
def test_a_study_that_cannot_run_is_refused_before_it_begins(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_grid(str(tmp_path / "study.yaml"))


def test_the_reference_is_the_whole_method_where_there_is_one() -> None:
    def of(*methods: str) -> str:
        return Grid.model_validate({"task": "storeroom", "methods": list(methods)}).compared_with

    assert of("tinythinker", "cot") == "tinythinker"
    assert of("phase_1", "cot") == "phase_1"
    assert of("cot", "label_only") == "label_only"


def test_the_same_value_twice_is_refused_since_its_cells_would_be_the_same(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"values of storeroom\.train: found \['5', '5'\], expected different ones"):
        read_grid("storeroom", vary="storeroom.train=5,5")
    (tmp_path / "study.yaml").write_text('task: storeroom\nvary: {storeroom.train: [5, "5"]}\n')
    with pytest.raises(SettingsError, match=r"values of storeroom\.train"):
        read_grid(str(tmp_path / "study.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: 10000000000", r"seeds: found 10000000000, expected at most 10,000"),
        (
            "vary: {storeroom.train: []}",
            r"values of storeroom\.train: found \[\], expected different ones, at least one",
        ),
        ("settings: !!python/name:os.system", r"study\.yaml:2: found YAML with the tag '!!python/name:os\.system'"),
        ("methods: {1: x}", r"study\.yaml:2: found the key '1', which is no text without quotes"),
        ("settings: {train: 2024-01-01}", r"found '2024-01-01', expected a group of settings"),
    ],
)
def test_odd_values_in_a_study_file_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "study.yaml").write_text(f"task: storeroom\n{text}\n")
    with pytest.raises(SettingsError, match=message):
        read_grid(str(tmp_path / "study.yaml"))
