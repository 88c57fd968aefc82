from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import tiny_settings
from tinythinker.core.errors import DataError, SettingsError
from tinythinker.settings.resolve import load_settings
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.registry import Task, load_task


def own_file(folder: Path, count: int, name: str = "mine.jsonl", **more: object) -> Path:
    file = folder / name
    rows = [
        {"id": f"{name}{i}", "question": f"Where {i}?", "options": ["up", "down"], "answer": 0} | more
        for i in range(count)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def ids(task: Task) -> dict[str, list[str]]:
    return {name: [question.id for question in questions] for name, questions in task.splits.items()}


def own(folder: Path, count: int, *overrides: str) -> RunSettings:
    return load_settings(str(own_file(folder, count)), overrides)


def test_own_questions_are_divided_by_shares_each_into_one_split(tmp_path: Path) -> None:
    split = ids(load_task(own(tmp_path, 20, "split.test=0.2")))
    assert {name: len(own) for name, own in split.items()} == {"train": 14, "valid": 2, "test": 4}
    assert len({name for own in split.values() for name in own}) == 20


def test_the_split_is_a_function_of_the_seed(tmp_path: Path) -> None:
    first, again, other = (ids(load_task(own(tmp_path, 20, f"seed={seed}"))) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_given_validation_and_test_files_are_used_whole(tmp_path: Path) -> None:
    valid, test = own_file(tmp_path, 3, "v.jsonl"), own_file(tmp_path, 4, "t.jsonl")
    task = load_task(own(tmp_path, 5, f"split.valid_file={valid}", f"split.test_file={test}"))
    assert {name: len(own) for name, own in task.splits.items()} == {"train": 5, "valid": 3, "test": 4}
    assert len(task.inputs) == 3


def test_a_question_in_two_splits_is_refused(tmp_path: Path) -> None:
    test = own_file(tmp_path, 4, "t.jsonl", id="mine.jsonl0")
    with pytest.raises(DataError, match=r"found id 'mine\.jsonl0' \d times.*expected every id once"):
        load_task(own(tmp_path, 5, f"split.test_file={test}"))


def test_the_training_file_cannot_be_the_test_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected another file than the training questions"):
        load_task(own(tmp_path, 5, f"split.test_file={tmp_path / 'mine.jsonl'}"))


def test_too_few_questions_to_divide_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found '2 question\(s\)', expected enough for train, valid and test"):
        load_task(own(tmp_path, 2))


def test_a_limit_is_a_seeded_draw_in_file_order(tmp_path: Path) -> None:
    all_ids = ids(load_task(own(tmp_path, 40)))["train"]
    kept = ids(load_task(own(tmp_path, 40, "limit.train=5")))["train"]
    assert len(kept) == 5
    assert kept == [name for name in all_ids if name in kept]
    assert kept != all_ids[:5]


def test_a_limit_on_training_also_limits_validation_unless_validation_has_one(tmp_path: Path) -> None:
    assert len(ids(load_task(own(tmp_path, 100, "limit.train=3")))["valid"]) == 3
    assert len(ids(load_task(own(tmp_path, 100, "limit.train=3", "limit.valid=7")))["valid"]) == 7


def test_a_missing_official_file_is_named_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found no train_rand_split\.jsonl, expected the CommonsenseQA files"):
        load_task(load_settings("csqa", [f"data_dir={tmp_path}"]))


@pytest.mark.parametrize(
    ("task", "file"), [("csqa", "dev_rand_split"), ("obqa", "test_complete"), ("strategyqa", "strategyqa_train")]
)
def test_without_network_and_data_dir_one_line_says_which_files_to_get(
    task: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(
        DataError, match=rf"did not answer \(no route to host\); expected a network, or data_dir=.*{file}"
    ):
        load_task(load_settings(task))


def test_columns_of_a_benchmark_cannot_be_set() -> None:
    with pytest.raises(SettingsError, match=r"^data\.answer: found storeroom, which knows its own files"):
        load_task(tiny_settings("data.answer=x"))


def test_storeroom_comes_with_its_facts() -> None:
    task = load_task(tiny_settings())
    assert task.facts is not None
    assert {name: len(own) for name, own in task.splits.items()} == {"train": 24, "valid": 6, "test": 8}


@pytest.mark.data
def test_commonsenseqa_splits_as_published(data_dir: Path) -> None:
    task = load_task(load_settings("csqa", [f"data_dir={data_dir / 'csqa'}"]))
    assert {name: len(own) for name, own in task.splits.items()} == {"train": 8520, "valid": 1221, "test": 1221}
    official = (data_dir / "csqa" / "dev_rand_split.jsonl").read_text().splitlines()
    assert ids(task)["test"] == [json.loads(line)["id"] for line in official]


@pytest.mark.data
def test_openbookqa_splits_as_published_and_options_keep_their_commas(data_dir: Path) -> None:
    task = load_task(load_settings("obqa", [f"data_dir={data_dir / 'obqa'}"]))
    assert {name: len(own) for name, own in task.splits.items()} == {"train": 4957, "valid": 500, "test": 500}
    assert all(len(question.options) == 4 for own in task.splits.values() for question in own)
    # The official code joins options with ", " and splits them again (METHOD section 6, defect 3).
    torn = {name: sum(any(", " in o.text for o in q.options) for q in own) for name, own in task.splits.items()}
    assert torn == {"train": 55, "valid": 10, "test": 6}
    assert len(task.knowledge) == 4957 + 500 + 500


@pytest.mark.data
def test_strategyqa_splits_80_10_10(data_dir: Path) -> None:
    task = load_task(load_settings("strategyqa", [f"data_dir={data_dir / 'strategyqa'}"]))
    assert {name: len(own) for name, own in task.splits.items()} == {"train": 1832, "valid": 229, "test": 229}
    assert len(task.knowledge) > 2200
