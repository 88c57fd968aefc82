from __future__ import annotations

import json
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.conftest import TINY, tiny_student
from tinythinker import api
from tinythinker.acquire.phase_1 import phase_1_training
from tinythinker.bench import baseline
from tinythinker.bench import bench as module
from tinythinker.bench.arguments import SECTIONS
from tinythinker.bench.bench import DOERS, Bench, Done, measure, work_of_student
from tinythinker.bench.counting import counted
from tinythinker.bench.machine import peak_memory
from tinythinker.bench.workload import Size, Work
from tinythinker.cli.main import build
from tinythinker.core.metrics import read_metrics
from tinythinker.core.run import RoundFolder, TrainingFolder
from tinythinker.generate.state import begin
from tinythinker.generate.think import Thought, think
from tinythinker.reflect.rounds import train_round
from tinythinker.student.encode import encode_prompts
from tinythinker.student.load import load_student
from tinythinker.student.logps import Forest, logps_of
from tinythinker.student.reading import read
from tinythinker.train.loop import fit


@pytest.fixture(scope="module", params=["seq2seq", "causal"])
def work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The work of a tiny run with phase 1 done, without dropout, for a student of either family."""
    family = (f"student.family={request.param}", "train.batches=questions", "reflect.batches=questions")
    run = api.start("storeroom", tmp_path_factory.mktemp("bench") / "run", *TINY, "generate.answer=free", *family)
    api.teach(run)
    api.train(run)
    return work_of_student(run.root, Size(questions=4, samples=2, steps=4))


def losses(folder: TrainingFolder) -> list[float]:
    return [step.loss for step in read_metrics(folder.metrics).steps]


def test_both_sides_write_the_same_greedy_chains_token_for_token(work: Work) -> None:
    (plain,) = baseline.chains(work.student(), work.test, work.plain(hot=False), 1, seed=0)
    product = think(work.student(), [Thought(question) for question in work.test])
    assert [own.texts() for own in plain] == [(str(c.recall), *c.analyses, c.conclusion) for c in product]
    assert [own.answer for own in plain] == [chain.answer for chain in product]


def test_both_sides_continue_given_recalls_in_the_same_way(work: Work) -> None:
    questions, recalls = zip(*work.recalled, strict=True)
    assert len(set(recalls)) > 1
    (plain,) = baseline.chains(work.student(), questions, work.plain(hot=False), 1, seed=0, recalls=recalls)
    product = think(work.student(), [Thought(question, 0, recall) for question, recall in work.recalled])
    assert [own.recall for own in plain] == list(recalls)
    assert [own.texts()[1:] for own in plain] == [(*c.analyses, c.conclusion) for c in product]


def test_a_round_samples_analyses_only_if_the_run_reflects_on_them(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "train_round", lambda *_: None)
    monkeypatch.setattr(module, "_stepped", lambda _: Done(0.0, 0))
    monkeypatch.setattr(module, "_phase_2_baseline", lambda *_: Done(0.0, 0))
    for doer in DOERS["round"]:
        tokens = []
        for stages in (("recall",), ("recall", "analyze")):
            some = Work(work.folder, work.run, work.size)
            own = work.settings.reflect.model_copy(update={"stages": stages})
            some.settings = work.settings.model_copy(update={"reflect": own})
            tokens.append(doer(some, work.student()).tokens)
        assert tokens[0] < tokens[1]


@pytest.mark.data
def test_both_sides_write_the_same_greedy_chains_to_hundreds_of_real_prompts(data_dir: Path, tmp_path: Path) -> None:
    run = api.start(
        "csqa",
        tmp_path / "run",
        f"data_dir={data_dir / 'csqa'}",
        f"teacher.path={data_dir / 'ecqa'}",
        *("student.init=scratch", "student.dropout=0", "reflect.rounds=0"),
        *("limit.train=40", "limit.valid=4", "limit.test=34"),
        *("train.max_steps=250", "train.batch_size=16", "train.learning_rate=0.003", "stages.order=shuffled"),
        *("generate.max_recall_tokens=32", "generate.max_analysis_tokens=32"),
    )
    api.teach(run)
    api.train(run)
    work = work_of_student(run.root, Size(questions=34))
    asked = [*work.train, *work.test]
    (plain,) = baseline.chains(work.student(), asked, work.plain(hot=False), 1, seed=0)
    product = think(work.student(), [Thought(question) for question in asked])
    # The product cuts the reasoning of a long prompt, the baseline its end.
    whole = [i for i, chain in enumerate(product) if chain.count_cut == 0]
    written = [plain[i].texts() for i in whole]
    assert sum(map(len, written)) > 400
    assert len({text for own in written for text in own}) > 60
    assert written == [(str(product[i].recall), *product[i].analyses, product[i].conclusion) for i in whole]


def test_both_sides_have_the_same_losses_in_phase_1(work: Work, tmp_path: Path) -> None:
    plain = baseline.train_phase_1(
        work.student(), [batch for _, batch in work.batches], work.settings.train.learning_rate
    )
    student = work.student()
    training = phase_1_training(student, work.settings, lambda number: work.batches, cycle=100, validate=lambda: 0.0)
    # The baseline has no learning rate schedule, so only the first step is compared.
    settings = work.settings.train.model_copy(update={"max_steps": 1})
    folder = TrainingFolder(tmp_path)
    fit(student, training, settings, seed=0, folder=folder)
    assert losses(folder)[0] == pytest.approx(plain[0], abs=1e-5)


def test_both_sides_have_the_same_losses_in_phase_2_before_the_first_step(work: Work, tmp_path: Path) -> None:
    pairs = work.pair_batches[0]
    own = work.settings.reflect.model_copy(update={"max_steps": 1, "batch_size": len(pairs)})
    plain = baseline.train_phase_2(work.student(), [pairs], own.learning_rate, own.beta, own.alpha)
    folder = RoundFolder(tmp_path / "round-1")
    train_round(folder, work.student(), None, pairs, lambda _: 0.0, own, 0)
    assert losses(folder)[0] == pytest.approx(plain[0], abs=1e-5)


def test_positions_and_operations_of_a_pass_are_counted() -> None:
    student = tiny_student()
    encoded = encode_prompts(student, ["rain", "where does rain go"])
    with counted(student) as positions:
        student.model.get_encoder()(input_ids=encoded.ids, attention_mask=encoded.mask)
    assert positions.prompts == encoded.ids.numel()
    assert positions.prompt_tokens == int(encoded.mask.sum()) < positions.prompts
    config = student.model.config
    inner, positions_read = config.num_heads * config.d_kv, encoded.ids.numel()
    matrices = config.num_layers * (4 * config.d_model * inner + 2 * config.d_model * config.d_ff)
    # Besides the matrices, attention multiplies queries with keys and weights with values.
    attention = config.num_layers * 2 * 2 * encoded.ids.shape[0] * encoded.ids.shape[1] ** 2 * inner
    assert positions.weight_flops == 2 * matrices * positions_read
    assert positions.flops in (2 * matrices * positions_read, 2 * matrices * positions_read + attention)


def test_tokens_of_trees_and_of_a_cache_are_counted_without_padding() -> None:
    student = tiny_student(family="causal")
    reading = read(student, ["rain is wet", "rain is wet and falls", "Where?"], ["down", "up", "down"])
    assert isinstance(reading, Forest)
    with counted(student) as positions:
        logps_of(student.model, reading)
    assert positions.prompts == reading.ids.numel() > reading.size
    assert positions.prompt_tokens == reading.size
    with counted(student) as positions, torch.inference_mode():
        begin(student, [[5, 6, 7, 8], [9, 10]]).feed(torch.tensor([[11], [12]]))
    assert positions.prompt_tokens == 4 + 2 + 2


def test_both_sides_learn_from_the_same_pairs_of_every_stage(work: Work) -> None:
    for batch in work.pair_batches:
        assert {pair.stage for pair in batch} == {batch[0].stage}
        assert all(pair.chosen != pair.rejected for pair in batch)
    assert {batch[0].stage for batch in work.pair_batches} == set(work.settings.reflect.stages)
    plain, product = (doer(work, work.student()) for doer in DOERS["phase_2"])
    assert plain.tokens == product.tokens


def test_the_number_of_steps_is_capped_at_the_number_of_batches_on_both_sides(work: Work) -> None:
    many = replace(work, size=work.size.model_copy(update={"steps": 10_000}))
    assert 2 < len(many.batches) < 100
    plain, product = (doer(many, many.student()) for doer in DOERS["phase_1"])
    assert plain.tokens == product.tokens


def test_a_step_has_as_many_examples_and_pairs_as_the_bench_is_asked_for(work: Work) -> None:
    small = Work(work.folder, work.run, work.size.model_copy(update={"batch_size": 3}))
    assert {len(batch) for _, batch in small.batches} == {len(batch) for batch in small.pair_batches} == {3}
    assert len(work.batches[0][1]) > 3


def test_a_bench_measures_every_kind_of_work_and_writes_the_results(work: Work, tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    measure(work, out, SECTIONS[:-1], turns=2)
    found = json.loads(out.read_text())
    for section in SECTIONS[:-1]:
        own = found[section]
        assert own["low"] <= own["ratio"] <= own["high"]
        assert len(own["baseline"]["seconds"]) == len(own["product"]["seconds"]) == 2
        assert 0 <= own["product"]["padding"] < 1
        assert all(0 < own[side]["needed_share"] <= 1.001 for side in ("baseline", "product"))
    assert all(0 < found["sampling"][side]["distinct"] <= 1 for side in ("baseline", "product"))
    assert "of the sampled recalls were new" in "\n".join(Bench.model_validate_json(out.read_text()).lines())


def test_a_recall_is_new_unless_its_question_already_has_it() -> None:
    drawn = [("q1", "rain falls"), ("q1", "rain falls"), ("q2", "rain falls"), ("q2", "rain is wet")]
    assert module._distinct(drawn) == 3 / 4


def test_peak_memory_is_that_of_the_calling_process(tmp_path: Path) -> None:
    held = bytearray(700_000_000)
    held[::4096] = b"1" * len(held[::4096])
    with get_context("spawn").Pool(1) as pool:
        asked = pool.apply(peak_memory)
    assert asked < peak_memory() - 300_000_000
    assert peak_memory() > len(held)


def test_unknown_parts_and_students_without_a_run_are_refused_in_one_line(work: Work, tmp_path: Path) -> None:
    out_file = str(tmp_path / "b.json")
    said = CliRunner().invoke(build(), ["bench", "--parts", "smapling", "--out", out_file])
    assert said.exit_code == 2
    assert "parts: found 'smapling', expected some of sampling, phase_1" in said.output
    load_student(work.folder).save(tmp_path / "lonely")
    said = CliRunner().invoke(
        build(), ["bench", "--student", str(tmp_path / "lonely"), "--out", str(tmp_path / "b.json")]
    )
    assert said.exit_code == 2
    assert "found no run directory around it" in said.output
    folder = str(work.folder)
    said = CliRunner().invoke(build(), ["bench", "train.epochs=1", "--student", folder, "--out", out_file])
    assert said.exit_code == 2
    assert "settings: found 'train.epochs=1', expected none with --student" in said.output
    for out in (tmp_path, tmp_path / "b.run"):
        said = CliRunner().invoke(build(), ["bench", "--student", folder, "--out", str(out)])
        assert said.exit_code == 2
        assert f"--out: found '{out}', expected the name of a file" in said.output
