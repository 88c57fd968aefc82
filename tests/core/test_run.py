from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import tiny_settings
from tinythinker.core.conditions import Conditions
from tinythinker.core.contents import sha256
from tinythinker.core.errors import DataError, SettingsError
from tinythinker.core.run import RunDirectory, TrainingFolder, differences
from tinythinker.settings.resolve import bound_of, load_settings


def begin(run: RunDirectory, verb: str, *overrides: str, force: bool = False) -> None:
    settings = tiny_settings(*overrides)
    run.begin(verb, settings.plain(), bound_of(settings), force=force)


def work(run: RunDirectory, *verbs: str) -> None:
    """Leave something that a verb made, so that its settings count."""
    for verb in verbs:
        path = {"teach": run.questions("train"), "train": run.phase_1.data, "reflect": run.round(1).chains}[verb]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def test_the_manifest_keeps_settings_and_versions(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    begin(run, "teach", "seed=5")
    manifest = run.manifest()
    assert manifest.settings["seed"] == 5
    assert set(manifest.versions) >= {"tinythinker", "torch", "transformers"}


def test_other_settings_on_a_begun_run_are_refused_and_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    begin(run, "teach", "seed=5")
    work(run, "teach")
    with pytest.raises(SettingsError, match=r"`teach` was begun with other settings \(seed: was 5, now 6\).*--force"):
        begin(run, "teach", "seed=6")
    begin(run, "teach", "seed=5")


def test_settings_of_a_verb_that_has_not_begun_may_still_change(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    begin(run, "teach")
    begin(run, "train", "train.learning_rate=0.01")
    assert run.manifest().begun["train"]["train.learning_rate"] == 0.01
    work(run, "train")
    with pytest.raises(SettingsError, match="`train` was begun"):
        begin(run, "reflect", "train.learning_rate=0.02")


def test_settings_of_a_verb_that_made_nothing_do_not_count(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    begin(run, "teach", "seed=5")
    begin(run, "teach", "seed=6")
    assert run.manifest().begun["teach"]["seed"] == 6
    run.completions.parent.mkdir()
    run.completions.write_text("x")  # a paid answer
    with pytest.raises(SettingsError, match="seed: was 6, now 5"):
        begin(run, "teach", "seed=5")


def test_the_settings_of_a_verb_that_failed_at_once_are_taken_back(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    begin(run, "teach")
    before = run.manifest()
    begin(run, "train", "train.learning_rate=0.01")
    run.withdraw("train", before)
    assert "train" not in run.manifest().begun
    assert run.manifest().settings == before.settings
    begin(run, "train", "train.learning_rate=0.01")
    work(run, "train")
    run.withdraw("train", before)
    assert run.manifest().begun["train"]["train.learning_rate"] == 0.01


@pytest.fixture
def taught(tmp_path: Path) -> RunDirectory:
    """A run with three questions, whose content is known."""
    run = RunDirectory(tmp_path / "run")
    begin(run, "teach")
    run.questions("test").parent.mkdir()
    run.questions("test").write_text("1\n2\n3\n")
    run.confirm(run.questions("test"))
    return run


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1\n2\n", "found 2 lines, expected the 3 lines that `teach` wrote; restore it, or delete it and call `teach`"),
        ("", "found 0 lines, expected the 3 lines"),
        ("1\n2\n4\n", "found 3 lines of other content, expected those that `teach` wrote"),
        ("1\n2\n3", "found 3 lines of other content"),
        (None, r"found no such file, expected the 3 lines"),
    ],
)
def test_a_file_that_was_cut_emptied_altered_or_lost_is_refused(
    taught: RunDirectory, text: str | None, found: str
) -> None:
    file = taught.questions("test")
    file.unlink()
    if text is not None:
        file.write_text(text)
    manifest = taught.manifest_file.read_bytes()
    for check in (taught.refuse_damage, taught.confirm):
        with pytest.raises(DataError, match=rf"test\.jsonl: {found}"):
            check(file)
    assert taught.manifest_file.read_bytes() == manifest


def test_a_file_is_not_read_again_until_it_is_touched(taught: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    file, read = taught.questions("test"), []

    def count(path: Path) -> str:
        read.append(path)
        return sha256(path)

    monkeypatch.setattr("tinythinker.core.contents.sha256", count)
    taught.confirm(file)
    assert read == []
    copy = file.with_name("copy")
    shutil.copyfile(file, copy)
    copy.replace(file)  # the same content, at another time
    taught.confirm(file)
    taught.confirm(file)
    assert read == [file]


def test_what_is_to_be_made_again_is_forgotten_first(taught: RunDirectory) -> None:
    file = taught.questions("test")
    taught.forget(file.parent)
    file.write_text("other\n")  # a kill here leaves a file that counts as new
    taught.confirm(file)
    assert taught.manifest().files["questions/test.jsonl"].lines == 1


def test_a_folder_stands_for_all_files_in_it(taught: RunDirectory) -> None:
    student = taught.phase_1.student
    student.mkdir(parents=True)
    (student / "weights").write_bytes(b"1234")
    taught.confirm(student)
    (student / "weights").unlink()
    (student / "more").write_text("new")
    with pytest.raises(
        DataError, match=r"weights: found no such file, expected the 4 bytes that `train` wrote.*--force"
    ):
        taught.refuse_damage(student)


def test_force_forgets_what_it_deletes(taught: RunDirectory) -> None:
    begin(taught, "teach", force=True)
    assert taught.manifest().files == {}


def test_what_a_verb_worked_under_is_kept_and_changes_are_named_once(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    begin(run, "train")
    first = Conditions(threads=1, processes=1, device="a", python="3.11", torch="2.13", transformers="5.23")
    then = first.model_copy(update={"threads": 2, "torch": "2.14"})
    assert run.add_conditions("train", first) == []
    assert run.add_conditions("train", then) == ["threads 2 (was 1)", "torch 2.14 (was 2.13)"]
    assert run.add_conditions("train", then) == []
    assert run.add_conditions("reflect", then) == []
    assert run.manifest().conditions == {"train": (first, then), "reflect": (then,)}


def test_more_rounds_may_be_requested_later(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    begin(run, "reflect", "reflect.rounds=1")
    begin(run, "reflect", "reflect.rounds=3")


def test_force_deletes_what_this_verb_and_later_ones_made_and_nothing_else(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    for verb in ("teach", "train", "reflect"):
        begin(run, verb)
    for file in (run.usage, run.phase_1.root / "x", run.round(1).root / "x", run.verdicts("phase-1")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    begin(run, "train", "train.learning_rate=0.01", force=True)
    assert run.usage.exists()
    assert not run.phase_1.root.exists()
    assert not run.round(1).root.exists()
    assert not run.verdicts_folder.exists()


def test_force_never_deletes_paid_completions(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    begin(run, "teach")
    for file in (run.completions, run.batches.state("wave-1"), run.rationales, run.quality):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    begin(run, "teach", "storeroom.train=9", force=True)
    assert run.completions.exists()
    assert (run.batches.state("wave-1")).exists()
    assert not run.rationales.exists()
    assert not run.quality.exists()


def test_a_directory_with_other_files_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(SettingsError, match=r"found other files and no manifest\.json"):
        begin(RunDirectory(tmp_path), "teach", force=True)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_directory_that_a_kill_left_before_its_first_manifest_is_still_new(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.lock.parent.mkdir(parents=True)
    for file in (run.lock, run.lock.with_name(".lock.json"), run.root / ".manifest.json.tmp"):
        file.write_text("{")
    begin(run, "teach")
    assert run.manifest().settings["task"] == "storeroom"


def test_a_result_that_was_known_and_is_gone_is_refused_not_forgotten(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    begin(run, "teach")
    run.phase_1.student.mkdir(parents=True)
    run.phase_1.metrics.write_text("{}\n")
    assert run.final("train") == [run.phase_1.metrics, run.phase_1.student]  # version 0.1 wrote no data.json
    run.confirm(*run.final("train"))
    run.phase_1.metrics.unlink()
    with pytest.raises(DataError, match=r"metrics\.jsonl: found no such file, expected the 1 line that `train` wrote"):
        run.confirm(*run.final("train"))


def test_a_directory_without_a_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found no manifest\.json, expected a run directory"):
        RunDirectory(tmp_path).manifest()


def test_differences_are_listed_by_key() -> None:
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == ["b: was 2, now 3", "c: was None, now 4"]


def test_a_setting_unknown_to_an_old_manifest_counts_as_its_default() -> None:
    assert differences({"a": 1}, {"a": 1, "new": 4}, {"a": 0, "new": 4}) == []
    assert differences({"a": 1}, {"a": 1, "new": 5}, {"a": 0, "new": 4}) == ["new: was 4, now 5"]


def test_a_run_begun_before_a_setting_existed_can_be_resumed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    settings = load_settings("storeroom")
    run.begin("teach", settings.plain(), bound_of(settings))
    work(run, "teach")
    manifest = run.manifest()
    older = {key: own for key, own in manifest.begun["teach"].items() if key != "storeroom.hops"}
    run.save(manifest.model_copy(update={"begun": {"teach": older}}))
    run.begin("teach", settings.plain(), bound_of(settings))
    other = load_settings("storeroom", ["storeroom.hops=2"])
    with pytest.raises(SettingsError, match=r"storeroom\.hops: was 1, now 2"):
        run.begin("teach", other.plain(), bound_of(other))


def test_a_refused_force_deletes_nothing(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    begin(run, "teach")
    begin(run, "train")
    work(run, "teach", "train")
    with pytest.raises(SettingsError, match="`teach` was begun with other settings"):
        begin(run, "train", "seed=7", force=True)
    assert run.phase_1.root.exists()


def test_a_folder_that_only_looks_like_a_round_is_left_alone(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    begin(run, "reflect")
    for name in ("round-1", "round-10", "round-1.bak"):
        (run.root / name / "student").mkdir(parents=True)
    assert run.rounds() == [1, 10]
    begin(run, "reflect", force=True)
    assert [path.name for path in run.root.glob("round-*")] == ["round-1.bak"]


def test_asking_whether_a_training_is_finished_deletes_nothing(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path / "phase-1")
    for part in (folder.student, folder.best, folder.checkpoint(3)):
        part.mkdir(parents=True)
    assert folder.is_finished
    assert folder.best.exists()
    assert folder.checkpoints() == [folder.checkpoint(3)]
    folder.remove_leftovers()
    assert [path.name for path in folder.root.iterdir()] == ["student"]


def test_a_run_stands_wherever_a_path_may_stand(tmp_path: Path) -> None:
    assert Path(RunDirectory(tmp_path / "run")) == tmp_path / "run"
