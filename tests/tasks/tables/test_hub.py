"""Without a network: a folder of files that `datasets` reads as it reads a data set of the Hub, and a played Hub."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tinythinker.core.errors import DataError, SettingsError
from tinythinker.settings.resolve import load_settings
from tinythinker.tasks.registry import load_task
from tinythinker.tasks.tables.hub import read_hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def rows(count: int, answer: str = "B") -> list[dict[str, Any]]:
    choices = {"label": ["A", "B"], "text": ["up", "down"]}
    return [{"question": f"Where {i}?", "choices": choices, "answerKey": answer} for i in range(count)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set OWNER/NAME with three splits, whose test answers are held back, under the working directory."""
    made = tmp_path / "owner" / "name"
    made.mkdir(parents=True)
    for split, some in {"train": rows(8), "validation": rows(3), "test": rows(2, answer="")}.items():
        (made / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path


def test_a_data_set_is_read_with_its_own_splits_and_without_answers_that_are_held_back(folder: Path) -> None:
    task = load_task(load_settings("hub:owner/name", ["split.test=0.25"]))
    assert {name: len(questions) for name, questions in task.splits.items()} == {"train": 6, "valid": 3, "test": 2}
    assert [option.text for option in task.splits["valid"][0].options] == ["up", "down"]
    assert task.splits["train"][0].gold == "B"


def test_the_revision_is_the_hubs_newest_and_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    asked: dict[str, object] = {}
    text, labels = Value("string"), ClassLabel(names=["A", "B"])
    kinds = Features({"question": text, "choices": [text], "answer": labels})
    some = {"question": ["Where?"] * 4, "choices": [["up", "down"]] * 4, "answer": [0, 1, 1, 1]}

    def load(name: str, config: str | None, *, revision: str | None) -> DatasetDict:
        asked.update(name=name, config=config, revision=revision)
        return DatasetDict({"train": Dataset.from_dict(some, features=kinds)})

    monkeypatch.setattr("datasets.load_dataset", load)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda self, name: SimpleNamespace(sha=COMMIT))
    task = load_task(load_settings("hub:owner/name/main"))
    assert asked == {"name": "owner/name", "config": "main", "revision": COMMIT}
    assert task.revisions == {"hub:owner/name/main": COMMIT}
    assert [q.gold for questions in task.splits.values() for q in questions].count("A") == 1
    assert read_hub("hub:owner/name@abc").revision == "abc"


def test_a_data_set_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"hub:owner/none: found no such data set .* expected one on the Hugging"):
        read_hub("hub:owner/none")


@pytest.mark.parametrize("task", ["hub:", "hub:name", "hub:a/b/c/d", "hub:a /b"])
def test_a_task_of_another_form_is_refused(task: str) -> None:
    with pytest.raises(SettingsError, match="expected hub:OWNER/NAME"):
        read_hub(task)
