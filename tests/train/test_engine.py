from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import distributed
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.fsdp import FSDPModule
from transformers import CONFIG_MAPPING, AutoModelForSeq2SeqLM

from tests.conftest import tiny_of
from tinythinker.acquire.sft import sft_objective
from tinythinker.core.errors import DataError, StudentError
from tinythinker.core.records import Stage, StageExample
from tinythinker.core.seeds import seed_torch
from tinythinker.settings.schema import TrainSettings
from tinythinker.student.reading import reads_trees
from tinythinker.student.student import Student
from tinythinker.train.engine import Engine, Replicas, Shards, build_engine

SETTINGS = TrainSettings(learning_rate=1e-2, shard=True)
EXAMPLES = [
    StageExample(question_id=target, stage=Stage.RECALL, prompt=f"Where? {target}", target=target)
    for target in ("rain falls.", "down", "rain is wet", "up")
]


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A group of one process, which holds all shards."""
    meeting = tmp_path_factory.mktemp("group") / "meeting"
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def build(kind: type[Replicas] | type[Shards], student: Student) -> Engine:
    return kind(Accelerator(), student, SETTINGS, 10)


def step(engine: Engine, student: Student) -> float:
    loss = sft_objective(student)(engine.model, EXAMPLES).total
    loss.backward()  # type: ignore[no-untyped-call]
    engine.optimizer.step()
    engine.optimizer.zero_grad()
    engine.scheduler.step()
    return loss.item()


def weights(student: Student) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in student.model.parameters()]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("architecture", ["t5", "qwen3"])
def test_shards_learn_what_whole_weights_learn_and_the_student_gets_them_on_request(architecture: str) -> None:
    plain, shared = (tiny_of(architecture, dropout=0.0) for _ in range(2))
    assert reads_trees(plain) == reads_trees(shared) == plain.is_causal
    replicas, shards = build(Replicas, plain), build(Shards, shared)
    assert all(parameter.numel() == 0 for parameter in shared.model.parameters())
    for _ in range(3):
        assert step(shards, shared) == pytest.approx(step(replicas, plain), rel=1e-5)
    with shards.whole():
        for own, wanted in zip(weights(shared), weights(plain), strict=True):
            torch.testing.assert_close(own, wanted)
    assert all(parameter.numel() == 0 for parameter in shared.model.parameters())


@pytest.mark.usefixtures("alone")
def test_shards_resume_from_their_checkpoint_as_if_uninterrupted(tmp_path: Path) -> None:
    shards = build(Shards, student := tiny_of("t5", dropout=0.0))
    for _ in range(2):
        step(shards, student)
    shards.save(tmp_path / "checkpoint", lambda folder: (folder / "more").touch())
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == ["more", "shards"]
    undisturbed = [step(shards, student) for _ in range(2)]
    other = build(Shards, again := tiny_of("t5", dropout=0.0))
    other.load(tmp_path / "checkpoint")
    assert [step(other, again) for _ in range(2)] == undisturbed


@pytest.mark.usefixtures("alone")
def test_a_checkpoint_of_the_other_kind_or_a_torn_one_is_refused_with_a_reason(tmp_path: Path) -> None:
    shards, replicas = (build(kind, tiny_of("t5")) for kind in (Shards, Replicas))
    for name, engine in (("shards", shards), ("replicas", replicas)):
        engine.save(tmp_path / name, lambda folder: None)
    with pytest.raises(StudentError, match="found shards of several processes, expected whole weights; start several"):
        replicas.load(tmp_path / "shards")
    with pytest.raises(StudentError, match="found whole weights of one process, expected shards; start one"):
        shards.load(tmp_path / "replicas")
    next((tmp_path / "shards" / "shards").glob("*.distcp")).unlink()
    with pytest.raises(OSError, match="distcp"):
        shards.load(tmp_path / "shards")


@pytest.mark.usefixtures("alone")
def test_a_weight_that_never_gets_a_gradient_does_not_break_the_checkpoint(tmp_path: Path) -> None:
    def unused() -> Student:
        student = tiny_of("t5", dropout=0.0)
        student.model.extra = torch.nn.Linear(2, 2)
        return student

    shards = build(Shards, student := unused())
    first = step(shards, student)
    assert first == pytest.approx(step(build(Replicas, plain := tiny_of("t5", dropout=0.0)), plain), rel=1e-5)
    shards.save(tmp_path / "checkpoint", lambda folder: None)
    other = build(Shards, again := unused())
    other.load(tmp_path / "checkpoint")
    assert step(other, again) == step(shards, student)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("name", ["mbart", "pegasus"])
def test_layers_are_found_in_families_with_other_names_for_them(name: str) -> None:
    known = tiny_of("t5")
    sides: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        sides |= {f"{side}_layers": 2, f"{side}_ffn_dim": 16, f"{side}_attention_heads": 2}
    kind: Any = CONFIG_MAPPING[name]
    config = kind(vocab_size=len(known.tokenizer), pad_token_id=0, d_model=16, dropout=0.0, **sides)
    seed_torch(0, "weights")
    models = [AutoModelForSeq2SeqLM.from_config(config)]
    models.append(copy.deepcopy(models[0]))
    plain, shared = (Student(model, known.tokenizer, known.recipe) for model in models)
    replicas, shards = build(Replicas, plain), build(Shards, shared)
    assert sum(isinstance(module, FSDPModule) for module in shards.model.modules()) == 5
    for _ in range(2):
        assert step(shards, shared) == pytest.approx(step(replicas, plain), rel=1e-4)


@pytest.mark.usefixtures("alone")
def test_ctrl_c_while_shards_are_written_stays_ctrl_c_and_a_full_disk_is_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = build(Shards, tiny_of("t5"))
    failures: dict[type[BaseException], BaseException] = {
        KeyboardInterrupt: KeyboardInterrupt(),
        DataError: OSError(28, "No space left"),
    }
    for wanted, failure in failures.items():

        def fail(*_: object, failure: BaseException = failure) -> None:
            raise failure

        monkeypatch.setattr(FileSystemWriter, "write_data", fail)
        with pytest.raises(wanted) as caught:
            shards.save(tmp_path / "checkpoint", lambda folder: None)
        assert str(caught.value).count("No space left") == (wanted is DataError)
        assert not (tmp_path / "checkpoint").exists()


def test_one_process_alone_does_not_shard() -> None:
    engine = build_engine(Accelerator(), tiny_of("t5"), SETTINGS, 10)
    assert isinstance(engine, Replicas)


class Hostile:
    """Unpickled, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("place", ["index", "entry"])
def test_no_pickle_among_the_shards_is_run(tmp_path: Path, place: str) -> None:
    shards = build(Shards, tiny_of("t5"))
    step(shards, tiny_of("t5"))
    mark = tmp_path / "ran"
    if place == "entry":
        shards.scheduler.scheduler.more = Hostile(mark)
    shards.save(tmp_path / "checkpoint", lambda folder: None)
    if place == "index":
        (tmp_path / "checkpoint" / "shards" / ".metadata").write_bytes(pickle.dumps(Hostile(mark)))
    other = build(Shards, tiny_of("t5"))
    if place == "entry":
        other.scheduler.scheduler.more = None
    with pytest.raises(OSError, match=r"a pickle that .*; it was not run"):
        other.load(tmp_path / "checkpoint")
    assert not mark.exists()


@pytest.mark.parametrize("file", ["optimizer.bin", "scheduler.bin", "random_states_0.pkl"])
def test_no_pickle_of_a_checkpoint_of_whole_weights_is_run(tmp_path: Path, file: str) -> None:
    replicas = build(Replicas, tiny_of("t5"))
    replicas.save(tmp_path / "checkpoint", lambda folder: None)
    torch.save(Hostile(tmp_path / "ran"), tmp_path / "checkpoint" / file)
    with suppress(pickle.UnpicklingError):  # the library does without a damaged file of random states
        replicas.load(tmp_path / "checkpoint")
    assert not (tmp_path / "ran").exists()
