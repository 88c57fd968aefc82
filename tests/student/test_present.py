from __future__ import annotations

from pathlib import Path

import pytest

from tinythinker.core.errors import StudentError
from tinythinker.settings.schema import StudentSettings
from tinythinker.student.present import refuse_absent_student, refuse_no_student


def check(**settings: object) -> None:
    refuse_absent_student(StudentSettings.model_validate(settings))


@pytest.mark.parametrize("name", ["./none", "/none/t5", "~/t5", "a/b/c", "models/"])
def test_a_path_without_a_folder_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudentError, match=f"student {name}: found no such folder"):
        check(name=name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudentError, match=r"found no config\.json in it"):
        check(name=str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    check(name=str(tmp_path))


def test_a_name_that_is_neither_on_disk_nor_to_be_downloaded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(StudentError, match="found it neither on this machine nor a network"):
        check(name="nobody/nothing")


def test_a_missing_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudentError, match=r"student\.sentencepiece: found no file"):
        check(init="scratch", sentencepiece=tmp_path / "none.model")
    check(init="scratch")


@pytest.mark.parametrize("file", ["tinythinker.json", "config.json", "adapter_config.json"])
def test_a_folder_of_ours_or_any_pretrained_model_is_a_student(tmp_path: Path, file: str) -> None:
    with pytest.raises(StudentError, match=r"found no config\.json in it, expected a run directory, a student"):
        refuse_no_student(str(tmp_path))
    (tmp_path / file).write_text("{}")
    refuse_no_student(str(tmp_path))
