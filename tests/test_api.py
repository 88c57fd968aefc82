from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY, tiny_settings
from tinythinker import api
from tinythinker.core.errors import DataError, SettingsError, StudentError, TeacherError
from tinythinker.core.files import read_records
from tinythinker.core.records import Question, Verdict
from tinythinker.core.run import RunDirectory
from tinythinker.settings.resolve import validate
from tinythinker.student.load import load_student
from tinythinker.teacher.rationales import read_rationales


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished tiny run."""
    started = api.start("storeroom", tmp_path_factory.mktemp("runs") / "run", *TINY)
    api.run(started)
    return started


def test_a_run_writes_every_file_of_the_run_directory(run: RunDirectory) -> None:
    made = {str(path.relative_to(run.root)) for path in run.root.rglob("*") if path.is_file()}
    assert made >= {
        "manifest.json",
        "questions/train.jsonl",
        "questions/valid.jsonl",
        "questions/test.jsonl",
        "teacher/rationales.jsonl",
        "teacher/rejected.jsonl",
        "teacher/usage.json",
        "teacher/quality.json",
        "phase-1/metrics.jsonl",
        "phase-1/student/model.safetensors",
        "round-1/chains.jsonl",
        "round-1/pairs.jsonl",
        "round-2/student/config.json",
        "verdicts/phase-1.test.greedy.jsonl",
        "verdicts/round-2.test.greedy.jsonl",
        "report.html",
    }
    assert not [name for name in made if "checkpoint" in name or "/best/" in name or ".tmp" in name]


def test_there_is_one_verdict_per_test_question(run: RunDirectory) -> None:
    questions = read_records(run.questions("test"), Question)
    for name in ("phase-1", "round-1", "round-2"):
        verdicts = read_records(run.verdicts(f"{name}.test.greedy"), Verdict)
        assert [verdict.question_id for verdict in verdicts] == [question.id for question in questions]


def test_a_finished_run_is_not_done_again(run: RunDirectory) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.root.rglob("*.jsonl")} | {
        path: path.stat().st_mtime_ns for path in run.root.rglob("*.safetensors")
    }
    api.run(api.start("storeroom", run.root, *TINY))
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_same_seed_gives_the_same_verdicts(run: RunDirectory, tmp_path: Path) -> None:
    again = api.start("storeroom", tmp_path / "again", *TINY)
    api.run(again)
    for file in run.verdicts_folder.glob("*.jsonl"):
        assert (again.verdicts_folder / file.name).read_text() == file.read_text()


def test_all_plans_of_a_seed_start_from_the_same_weights_and_vocabulary(tmp_path: Path) -> None:
    students = []
    for plan in ("full", "summarize", "recall_summarize"):
        started = api.start(
            "storeroom", tmp_path / plan, *TINY, f"stages.plan={plan}", "train.max_steps=1", "train.warmup=1"
        )
        api.teach(started)
        students.append(load_student(api.train(started)))  # the first step's learning rate is 0
    first = students[0]
    for other in students[1:]:
        assert other.tokenizer.get_vocab() == first.tokenizer.get_vocab()
        weights = first.model.state_dict()
        assert all(torch.equal(weights[name], tensor) for name, tensor in other.model.state_dict().items())


def test_verbs_out_of_order_name_the_verb_to_run_first(tmp_path: Path) -> None:
    started = api.start("storeroom", tmp_path / "run", *TINY)
    with pytest.raises(DataError, match=r"found no finished `teach`"):
        api.train(started)
    with pytest.raises(StudentError, match=r"run `tinythinker train"):
        api.reflect(started)
    with pytest.raises(StudentError, match=r"run `tinythinker train"):
        api.evaluate(started)


def test_a_plan_that_the_rationales_cannot_teach_is_refused_before_any_training(tmp_path: Path) -> None:
    started = api.start("storeroom", tmp_path / "a", *TINY)
    api.teach(started)
    recall_only = tmp_path / "recall-only.jsonl"
    recall_only.write_text(
        "".join(
            r.model_copy(update={"analyses": ()}).model_dump_json() + "\n"
            for r in read_rationales(started.rationales)[1]
        )
    )
    overrides = (*TINY, "teacher.source=recorded", f"teacher.path={recall_only}")
    other = api.start("storeroom", tmp_path / "b", *overrides)
    assert api.teach(other).rationales_without_analyses > 0
    with pytest.raises(TeacherError, match=r"stages\.plan=recall_summarize"):
        api.train(other)
    assert api.train(other, "stages.plan=recall_summarize", force=True).exists()


def test_rationales_of_one_run_can_be_used_in_another(run: RunDirectory, tmp_path: Path) -> None:
    overrides = (*TINY, "teacher.source=recorded", f"teacher.path={run.rationales}")
    other = api.start("storeroom", tmp_path / "run", *overrides)
    api.teach(other)
    (header, taken), (origin, given) = read_rationales(other.rationales), read_rationales(run.rationales)
    assert taken == given
    assert header is not None
    assert origin is not None
    assert header.origin == origin
    assert header.split == origin.split
    assert str(run.rationales) in other.manifest().inputs


def test_a_run_may_be_evaluated_again_with_votes(run: RunDirectory) -> None:
    scores = api.evaluate(run, "evaluate.votes=3")
    assert run.verdicts("round-2.test.vote-3-at-0.7").exists()
    assert scores["phase-1"].n == 8
    assert run.manifest().settings["evaluate"] == tiny_settings().plain()["evaluate"]  # votes only for that call


def test_a_student_may_answer_with_some_of_its_stages(run: RunDirectory) -> None:
    api.evaluate(run, "evaluate.plan=recall_summarize")
    (verdict, *_) = read_records(run.verdicts("phase-1.test.greedy.recall_summarize"), Verdict)
    assert verdict.chains[0].recall is not None
    assert verdict.chains[0].analyses == ()
    assert read_records(run.verdicts("phase-1.test.greedy"), Verdict)[0].chains[0].analyses != ()


def test_a_student_cannot_answer_with_stages_that_it_has_not_learned(tmp_path: Path) -> None:
    started = api.start("storeroom", tmp_path / "run", *TINY, "stages.plan=recall_summarize", "reflect.stages=[recall]")
    api.teach(started)
    api.train(started)
    wanted = (
        r"evaluate\.plan with stages\.plan=recall_summarize: found 'full', expected one of summarize, recall_summarize"
    )
    with pytest.raises(SettingsError, match=wanted):
        api.evaluate(started, "evaluate.plan=full")


def test_texts_that_are_too_long_are_counted_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started = api.start(
        "storeroom", tmp_path / "run", *TINY, "student.max_prompt_tokens=20", "student.max_target_tokens=4"
    )
    api.teach(started)
    api.train(started)
    data = json.loads((started.phase_1.data).read_text())
    assert data["cut_prompts"] > 0
    assert data["cut_targets"] > 0
    assert f"{data['cut_prompts']} have a prompt of more than 20 tokens" in capsys.readouterr().err
    assert api.evaluate(started)["phase-1"].cut == 1.0


def test_changed_settings_are_refused_and_force_starts_over(run: RunDirectory, tmp_path: Path) -> None:
    started = api.start("storeroom", tmp_path / "run", *TINY)
    api.teach(started)
    with pytest.raises(SettingsError, match=r"seed: was 42, now 1"):
        api.start("storeroom", tmp_path / "run", *TINY, "seed=1")
    again = api.start("storeroom", tmp_path / "run", *TINY, "seed=1", force=True)
    assert not again.quality.exists()
    api.teach(again)
    assert again.rationales.read_text() != run.rationales.read_text()


OTHER = """
import pathlib, sys
from tinythinker.core.run import RunDirectory
with RunDirectory(pathlib.Path(sys.argv[1])).locked("train"):
    print("working", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_refused_in_one_line_that_names_the_first(run: RunDirectory) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, run.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "working\n"
    verdicts = run.verdicts("phase-1.test.greedy").read_bytes()
    wanted = rf"found another process at work in it \(`train`, process {other.pid} on {socket.gethostname()}, since 2"
    for verb in (api.teach, api.train, api.reflect, api.evaluate, api.run):
        with pytest.raises(DataError, match=wanted):
            verb(run)
    with pytest.raises(DataError, match=wanted):
        api.start("storeroom", run.root, *TINY)
    with pytest.raises(DataError, match=wanted):
        api.probe(run)
    # Readers go on.
    assert api.report(run).exists()
    assert api.ask(run, "Where?", ["up", "down"]).conclusion
    other.communicate("")
    assert run.verdicts("phase-1.test.greedy").read_bytes() == verdicts
    assert api.evaluate(run)["phase-1"].n == 8


def test_a_killed_writer_leaves_the_run_free(run: RunDirectory) -> None:
    other = subprocess.Popen([sys.executable, "-c", OTHER, run.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    other.kill()
    other.communicate()
    assert api.evaluate(run=run)["phase-1"].n == 8  # by name, too


def cut(file: Path) -> None:
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 255
    file.write_bytes(content)


VERBS: dict[str, Callable[[RunDirectory], object]] = {
    "train": lambda run: api.train(run, force=True),
    "reflect": lambda run: api.reflect(run, force=True),
    "more rounds": lambda run: api.reflect(run, "reflect.rounds=3"),
    "evaluate": lambda run: api.evaluate(run, force=True),
    "report": api.report,
    "probe": api.probe,
    "ask": lambda run: api.ask(run, "Where?", ["up", "down"]),
    "run": api.run,
}


@pytest.mark.parametrize(
    ("name", "harm", "verbs"),
    [
        ("questions/train.jsonl", cut, ("train", "reflect", "report", "run")),
        ("questions/valid.jsonl", cut, ("train", "reflect", "report", "run")),
        ("questions/test.jsonl", cut, ("evaluate", "report", "probe", "run")),
        ("questions/test.jsonl", Path.unlink, ("evaluate", "report", "probe")),
        ("teacher/rationales.jsonl", cut, ("train", "reflect", "report", "run")),
        ("phase-1/student/model.safetensors", flip, ("more rounds", "evaluate", "report", "run")),
        ("round-2/student/model.safetensors", flip, ("more rounds", "evaluate", "report", "probe", "ask", "run")),
        ("round-2/student/config.json", Path.unlink, ("more rounds", "evaluate", "report", "probe", "ask", "run")),
        ("round-1/pairs.jsonl", cut, ("more rounds", "evaluate", "report", "run")),
    ],
)
def test_a_damaged_file_is_named_by_every_verb_that_reads_it_and_nothing_is_changed(
    run: RunDirectory, tmp_path: Path, name: str, harm: Callable[[Path], None], verbs: tuple[str, ...]
) -> None:
    shutil.copytree(run.root, tmp_path / "run")
    harmed = RunDirectory(tmp_path / "run")
    harm(harmed.root / name)
    before = {path: path.read_bytes() for path in harmed.root.rglob("*") if path.is_file()}
    before.pop(harmed.manifest_file)  # learns the times of the copied files
    for verb in verbs:
        with pytest.raises(DataError, match=rf"{name}: found .*, expected (the|those).* that `\w+` wrote; restore it"):
            VERBS[verb](harmed)
    assert {path: path.read_bytes() for path in before} == before


def test_what_teach_wrote_is_made_again_if_it_is_deleted(run: RunDirectory, tmp_path: Path) -> None:
    shutil.copytree(run.root, tmp_path / "run")
    copy = RunDirectory(tmp_path / "run")
    copy.questions("test").unlink()
    copy.rationales.unlink()
    api.teach(api.start("storeroom", copy.root, *TINY))
    assert copy.questions("test").read_bytes() == run.questions("test").read_bytes()
    assert copy.rationales.read_bytes() == run.rationales.read_bytes()
    assert api.evaluate(copy) == api.evaluate(run)


def test_a_student_that_others_were_made_from_is_not_replaced_in_silence(run: RunDirectory, tmp_path: Path) -> None:
    shutil.copytree(run.root, tmp_path / "run")
    copy = RunDirectory(tmp_path / "run")
    shutil.rmtree(copy.round(1).root / "student")
    with pytest.raises(StudentError, match="expected the one that round 2 starts from; restore it, or delete round-2"):
        api.reflect(copy)
    shutil.rmtree(copy.round(2).root)
    assert api.reflect(copy) == copy.round(2).student  # both are made again
    shutil.rmtree(copy.phase_1.root)
    with pytest.raises(DataError, match="expected the one that rounds or verdicts were made with"):
        api.train(copy)


def test_a_start_that_cannot_work_leaves_no_trace(tmp_path: Path) -> None:
    where = tmp_path / "run"
    for error, override in (
        (SettingsError, "storeroom.test=400"),
        (DataError, "teacher.path=none.jsonl"),
        (StudentError, "student.name=/none"),
        (SettingsError, "stages.plan=summarize"),  # leaves reflection nothing to do
    ):
        more = ("teacher.source=recorded",) if "path" in override else ()
        init = ("student.init=pretrained",) if "name" in override else ()
        with pytest.raises(error):
            api.start("storeroom", where, *TINY, override, *more, *init, for_run=True)
        assert not where.exists()


def test_force_deletes_nothing_if_the_verb_cannot_work(run: RunDirectory, tmp_path: Path) -> None:
    shutil.copytree(run.root, tmp_path / "run")
    copy = RunDirectory(tmp_path / "run")
    with pytest.raises(DataError, match="found no such file"):
        api.start("storeroom", copy, *TINY, "teacher.source=recorded", "teacher.path=none.jsonl", force=True)
    with pytest.raises(StudentError, match="found no such folder"):
        api.train(copy, "student.init=pretrained", "student.name=/none", force=True)
    with pytest.raises(SettingsError, match=r"reflect\.stages"):
        api.reflect(copy, "stages.plan=summarize", force=True)
    assert api.evaluate(copy)["round-2"].n == 8


def own_questions(folder: Path) -> Path:
    file = folder / "mine.jsonl"
    lines = [
        {"id": f"q{i}", "question": f"Is {i} even?", "options": ["no", "yes"], "answer": ["yes", "no"][i % 2]}
        for i in range(20)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_own_questions_without_rationales_are_learned_from_labels_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (str(own_questions(tmp_path)), tmp_path / "run", "student.init=scratch", "train.max_steps=2")
    started = api.start(*given, for_run=True)
    assert "mine.jsonl comes without rationales: the student learns from labels alone" in capsys.readouterr().err
    settings = validate(started.manifest().settings)
    assert (settings.teacher.source, settings.stages.plan, settings.reflect.rounds) == ("none", "summarize", 0)
    assert list(api.run(started)) == ["phase-1"]
    assert list(api.run(api.start(*given, for_run=True))) == ["phase-1"]


@pytest.mark.parametrize("override", ["stages.plan=full", "teacher.source=recorded", "teacher.licence=mine"])
def test_whoever_chose_a_plan_or_a_teacher_is_not_given_another_one(tmp_path: Path, override: str) -> None:
    with pytest.raises(SettingsError, match=r"teacher\.path for teacher\.source=recorded: found None"):
        api.start(str(own_questions(tmp_path)), tmp_path / "run", override, for_run=True)
    assert not (tmp_path / "run").exists()
