from __future__ import annotations

import json
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import TINY
from tinythinker import api
from tinythinker.acquire.objective import sft_objective, sft_pieces
from tinythinker.bench import baseline
from tinythinker.bench import bench as module
from tinythinker.bench.bench import DOERS, SECTIONS, Bench, Done, bench, work_of_student
from tinythinker.bench.counting import counted
from tinythinker.bench.machine import peak_memory
from tinythinker.bench.workload import Size, Work
from tinythinker.cli.app import app
from tinythinker.core.metrics import read_metrics
from tinythinker.generate.think import Thought, think
from tinythinker.reflect.rounds import train_round
from tinythinker.student.encode import encode_prompts
from tinythinker.student.student import load_student
from tinythinker.train.loop import Job, fit


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Of a run of seconds with phase 1 done, without dropout."""
    run = api.start("storeroom", tmp_path_factory.mktemp("bench") / "run", *TINY, "generate.answer=free")
    api.teach(run)
    api.train(run)
    return work_of_student(run.root, Size(questions=4, samples=2, steps=4))


def losses(folder: Path) -> list[float]:
    return [float(str(line["loss"])) for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]


def test_both_sides_write_the_same_greedy_chains_token_for_token(work: Work) -> None:
    (plain,) = baseline.chains(work.student(), work.test, work.plain(hot=False), 1, seed=0)
    product = think(work.student(), [Thought(question) for question in work.test])
    assert [own.texts() for own in plain] == [(str(c.recall), *c.analyses, c.conclusion) for c in product]
    assert [own.answer for own in plain] == [chain.answer for chain in product]


def test_both_sides_go_on_alike_from_recalls_that_are_given(work: Work) -> None:
    questions, recalls = zip(*work.recalled, strict=True)
    assert len(set(recalls)) > 1
    (plain,) = baseline.chains(work.student(), questions, work.plain(hot=False), 1, seed=0, recalls=recalls)
    product = think(work.student(), [Thought(question, 0, recall) for question, recall in work.recalled])
    assert [own.recall for own in plain] == list(recalls)
    assert [own.texts()[1:] for own in plain] == [(*c.analyses, c.conclusion) for c in product]


def test_a_round_draws_analyses_where_the_run_reflects_on_them(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
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
    # What does not fit the product cuts in front, the plain way at the end.
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
    job = Job(
        name="phase-1",
        epoch=lambda number: work.batches,
        objective=sft_objective(student),
        pieces=sft_pieces(student, None),
        cycle=100,
        validate=lambda: 0.0,
        dropout=True,
        keep_start=False,
    )
    # The baseline has no schedule; the product's is flattened to compare.
    settings = work.settings.train.model_copy(update={"max_steps": 1})
    fit(student, job, settings, seed=0, folder=tmp_path)
    assert losses(tmp_path)[0] == pytest.approx(plain[0], abs=1e-5)


def test_both_sides_have_the_same_losses_in_phase_2_before_the_first_step(work: Work, tmp_path: Path) -> None:
    pairs = work.pair_batches[0]
    own = work.settings.reflect.model_copy(update={"max_steps": 1, "batch_size": len(pairs)})
    plain = baseline.train_phase_2(work.student(), [pairs], own.learning_rate, own.beta, own.alpha)
    train_round(tmp_path / "round-1", work.student(), None, pairs, lambda _: 0.0, own, 0)
    assert losses(tmp_path / "round-1")[0] == pytest.approx(plain[0], abs=1e-5)


def test_positions_and_operations_are_counted_where_they_pass(work: Work) -> None:
    student = work.student()
    encoded = encode_prompts(student, ["rain", "where does rain go"])
    with counted(student) as positions:
        student.model.get_encoder()(input_ids=encoded.ids, attention_mask=encoded.mask)
    assert positions.prompts == encoded.ids.numel()
    assert positions.prompt_tokens == int(encoded.mask.sum()) < positions.prompts
    config = student.model.config
    inner, positions_read = config.num_heads * config.d_kv, encoded.ids.numel()
    matrices = config.num_layers * (4 * config.d_model * inner + 2 * config.d_model * config.d_ff)
    # Beside the matrices, attention multiplies queries with keys and weights with values.
    attention = config.num_layers * 2 * 2 * encoded.ids.shape[0] * encoded.ids.shape[1] ** 2 * inner
    assert positions.flops in (2 * matrices * positions_read, 2 * matrices * positions_read + attention)


def test_both_sides_learn_from_the_same_pairs_of_every_stage(work: Work) -> None:
    for batch in work.pair_batches:
        assert {pair.stage for pair in batch} == {batch[0].stage}
        assert all(pair.chosen != pair.rejected for pair in batch)
    assert {batch[0].stage for batch in work.pair_batches} == set(work.settings.reflect.stages)
    plain, product = (doer(work, work.student()) for doer in DOERS["phase_2"])
    assert plain.tokens == product.tokens


def test_more_steps_than_batches_are_as_many_as_there_are_batches_on_both_sides(work: Work) -> None:
    many = replace(work, size=work.size.model_copy(update={"steps": 10_000}))
    assert 2 < len(many.batches) < 100
    plain, product = (doer(many, many.student()) for doer in DOERS["phase_1"])
    assert plain.tokens == product.tokens


def test_a_bench_measures_every_kind_of_work_and_writes_it_down(work: Work, tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    bench(work, out, SECTIONS[:-1], turns=2)
    found = json.loads(out.read_text())
    for section in SECTIONS[:-1]:
        own = found[section]
        assert own["low"] <= own["ratio"] <= own["high"]
        assert len(own["baseline"]["seconds"]) == len(own["product"]["seconds"]) == 2
        assert 0 <= own["product"]["padding"] < 1
    assert all(0 < found["sampling"][side]["distinct"] <= 1 for side in ("baseline", "product"))
    assert "of the sampled recalls were new" in "\n".join(Bench.model_validate_json(out.read_text()).lines())


def test_recalls_are_new_to_their_question_or_not() -> None:
    drawn = [("q1", "rain falls"), ("q1", "rain falls"), ("q2", "rain falls"), ("q2", "rain is wet")]
    assert module._distinct(drawn) == 3 / 4


def test_the_peak_of_memory_is_that_of_the_process_which_asks(tmp_path: Path) -> None:
    held = bytearray(700_000_000)
    held[::4096] = b"1" * len(held[::4096])
    with get_context("spawn").Pool(1) as pool:
        asked = pool.apply(peak_memory)
    assert asked < peak_memory() - 300_000_000
    assert peak_memory() > len(held)


def test_unknown_parts_and_students_without_a_run_are_refused_in_one_line(work: Work, tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["bench", "--parts", "smapling", "--out", str(tmp_path / "b.json")])
    assert said.exit_code == 2
    assert "parts: found 'smapling', expected some of sampling, phase_1" in said.output
    load_student(work.folder).save(tmp_path / "lonely")
    said = CliRunner().invoke(app, ["bench", "--student", str(tmp_path / "lonely"), "--out", str(tmp_path / "b.json")])
    assert said.exit_code == 2
    assert "found no run directory around it" in said.output
    folder = str(work.folder)
    said = CliRunner().invoke(app, ["bench", "train.epochs=1", "--student", folder, "--out", str(tmp_path / "b.json")])
    assert said.exit_code == 2
    assert "settings: found 'train.epochs=1', expected none with --student" in said.output
    for out in (tmp_path, tmp_path / "b.run"):
        said = CliRunner().invoke(app, ["bench", "--student", folder, "--out", str(out)])
        assert said.exit_code == 2
        assert f"--out: found '{out}', expected the name of a file" in said.output
