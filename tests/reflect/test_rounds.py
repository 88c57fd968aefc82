from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY, tiny_settings
from tinythinker import api
from tinythinker.core.errors import DataError, SettingsError, StudentError
from tinythinker.core.files import read_json, read_record, read_records, write_records
from tinythinker.core.records import Chain, PreferencePair, Question, Stage
from tinythinker.core.run import RunDirectory, TrainingFolder
from tinythinker.evaluate.verdicts import write_verdicts
from tinythinker.generate.think import Draws, Thought
from tinythinker.reflect import sample
from tinythinker.reflect.pairs import PairCounts
from tinythinker.reflect.reference import PairReference, score_reference
from tinythinker.reflect.sample import Sampler, draw_questions
from tinythinker.settings.schema import ReflectSettings
from tinythinker.student.encode import encode_prompts, encode_targets
from tinythinker.student.load import load_student
from tinythinker.student.logps import target_logps
from tinythinker.student.student import Student
from tinythinker.tasks.registry import load_task
from tinythinker.teacher.rationales import read_rationales

QUESTIONS = load_task(tiny_settings()).splits["train"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run with phase 1 done."""
    started = api.start("storeroom", tmp_path_factory.mktemp("trained") / "run", *TINY)
    api.teach(started)
    api.train(started)
    return started.root


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> RunDirectory:
    """A fresh copy of that run for every test to change."""
    shutil.copytree(trained, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def weights(folder: TrainingFolder) -> dict[str, torch.Tensor]:
    return load_student(folder.student).model.state_dict()


def test_a_round_leaves_chains_pairs_metrics_and_a_student(run: RunDirectory) -> None:
    api.reflect(run, "reflect.rounds=1")
    folder = run.round(1)
    chains = read_records(folder.chains, Chain)
    assert len(chains) == 6 * 3
    assert [chain.sample for chain in chains] == [0, 1, 2] * 6
    pairs = read_records(folder.pairs, PreferencePair)
    assert pairs
    assert all(pair.chosen != pair.rejected for pair in pairs)
    assert (folder.metrics).exists()
    assert (folder.student / "model.safetensors").exists()


def test_samples_do_not_depend_on_how_many_are_decoded_at_once(run: RunDirectory, tmp_path: Path) -> None:
    api.reflect(run, "reflect.rounds=1")
    first = read_records(run.round(1).chains, Chain)
    api.reflect(run, "reflect.rounds=1", force=True)
    assert read_records(run.round(1).chains, Chain) == first


def test_a_round_that_does_not_help_leaves_the_student_as_it_was(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The starting student validates at 0.5, every trained one at 0.4.
    accuracies = iter([0.5, *[0.4] * 20])
    monkeypatch.setattr("tinythinker.evaluate.verdicts.greedy_accuracy", lambda student, questions: next(accuracies))
    api.reflect(run, "reflect.rounds=1")
    before, after = weights(run.phase_1), weights(run.round(1))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_round_that_helps_changes_the_student_and_the_next_starts_from_it(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.5, 0.6, 0.7, *[0.1] * 20])
    monkeypatch.setattr("tinythinker.evaluate.verdicts.greedy_accuracy", lambda student, questions: next(accuracies))
    api.reflect(run, "reflect.rounds=2")
    start, first, second = weights(run.phase_1), weights(run.round(1)), weights(run.round(2))
    assert not all(torch.equal(start[name], first[name]) for name in start)
    if (run.round(2).metrics).exists():
        assert '"valid_accuracy":0.1' in (run.round(2).metrics).read_text()
    assert set(second) == set(first)


def test_without_any_pair_the_round_says_so_and_keeps_the_student(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tinythinker.reflect.sample.recall_pairs", lambda *_, **__: [])
    monkeypatch.setattr("tinythinker.reflect.sample.analyze_pairs", lambda *_, **__: [])
    api.reflect(run, "reflect.rounds=1")
    assert "nothing to learn from" in capsys.readouterr().err
    before, after = weights(run.phase_1), weights(run.round(1))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_initial_reference_is_phase_1s_student_in_every_round(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def watched(student: Student, batches: Sequence[Sequence[PreferencePair]], *, bf16: bool) -> list[PairReference]:
        seen.append({name: tensor.clone() for name, tensor in student.model.state_dict().items()})
        return score_reference(student, batches, bf16=bf16)

    monkeypatch.setattr("tinythinker.reflect.reference.score_reference", watched)
    accuracies = iter([0.5, 0.6, 0.7, 0.7, *[0.8] * 20])
    monkeypatch.setattr("tinythinker.evaluate.verdicts.greedy_accuracy", lambda student, questions: next(accuracies))
    api.reflect(run, "reflect.rounds=2", "reflect.reference=initial")
    start, first = weights(run.phase_1), weights(run.round(1))
    assert not all(torch.equal(start[name], first[name]) for name in start)
    assert len(seen) == 2
    assert all(torch.equal(start[name], tensor) for reference in seen for name, tensor in reference.items())


def test_pairs_come_from_one_stage_only_if_the_settings_say_so(run: RunDirectory) -> None:
    api.reflect(run, "reflect.rounds=1", "reflect.stages=[recall]")
    pairs = read_records(run.round(1).pairs, PreferencePair)
    assert {pair.stage for pair in pairs} == {Stage.RECALL}
    assert not (run.round(1).root / "analyze-chains.jsonl").exists()


def test_every_round_draws_new_questions_and_leaves_out_those_without_an_answer() -> None:
    settings = ReflectSettings(questions=5)
    hidden = Question(id="hidden", stem="s", options=QUESTIONS[0].options, gold=None)
    first, second = (draw_questions([hidden, *QUESTIONS], settings, seed) for seed in (1, 2))
    assert len(first) == len(second) == 5
    assert first != second
    assert "hidden" not in {q.id for q in draw_questions([hidden, *QUESTIONS], ReflectSettings(), 1)}


@pytest.mark.parametrize("bf16", ["never", "always"])
def test_the_first_step_of_a_round_starts_from_a_margin_of_exactly_0(run: RunDirectory, bf16: str) -> None:
    api.reflect(run, "reflect.rounds=1", f"reflect.bf16={bf16}", "reflect.stages=[recall]")
    lines = (run.round(1).metrics).read_text().splitlines()
    first = next(json.loads(line) for line in lines if "margin" in line)
    assert first["margin"] == 0.0


def test_a_plan_without_the_stages_to_reflect_on_is_refused(tmp_path: Path) -> None:
    started = api.start("storeroom", tmp_path / "run", *TINY, "stages.plan=summarize")
    api.teach(started)
    api.train(started)
    with pytest.raises(
        SettingsError, match=r"reflect\.stages: found .* expected a stage that stages\.plan=summarize has"
    ):
        api.reflect(started)


@pytest.mark.parametrize(
    ("setting", "message"),
    [("sampling=uncertain", "found 'uncertain', expected even"), ("on_policy=0.5", "found 0.5, expected 1")],
)
def test_recall_settings_are_refused_if_the_plan_has_no_recall(setting: str, message: str, tmp_path: Path) -> None:
    overrides = (f"reflect.{setting}", "stages.plan=analyze_summarize")
    run = api.start("storeroom", tmp_path / "run", *TINY, *overrides)
    with pytest.raises(SettingsError, match=f"with stages.plan=analyze_summarize: {message}"):
        api.run(run)
    assert not run.quality.exists()


def test_a_missing_pretrained_student_is_reported_before_a_paid_teacher_is_asked(tmp_path: Path) -> None:
    teacher = ("teacher.source=openai", "teacher.llm.model=any")
    overrides = ("student.init=pretrained", f"student.name={tmp_path / 'nowhere'}", *teacher)
    run = api.start("storeroom", tmp_path / "run", *TINY, *overrides)
    with pytest.raises(StudentError, match="found no such folder"):
        api.run(run)
    assert not run.quality.exists()


def test_leftovers_of_a_kill_at_the_very_end_are_removed_by_the_next_call(run: RunDirectory) -> None:
    api.reflect(run)
    last = run.round(run.rounds()[-1])
    last.best.mkdir()
    last.checkpoint(4).mkdir()
    api.reflect(run)
    assert not last.checkpoints() + list(last.root.glob("best"))


def test_a_round_that_a_sabotaged_pair_file_makes_worse_is_rolled_back(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rationales = read_rationales(run.rationales)[1]
    questions = {question.id: question for question in read_records(run.questions("train"), Question)}

    @torch.no_grad()
    def likelihood(student: Student, _: object) -> float:
        """Log-probability of the teacher's recalls: high for a good student, low after sabotage."""
        prompts = [student.recipe.template.recall_prompt(questions[one.question_id]) for one in rationales]
        targets = encode_targets(student, [one.recall for one in rationales])
        logps = target_logps(student.model.eval(), encode_prompts(student, prompts), targets)
        return math.exp(logps.total.sum().item() / logps.tokens.sum().item())

    monkeypatch.setattr("tinythinker.evaluate.verdicts.greedy_accuracy", likelihood)
    template = load_student(run.phase_1.student).recipe.template
    write_records(
        run.round(1).pairs,
        [
            PreferencePair(
                question_id=one.question_id,
                stage=Stage.RECALL,
                prompt=template.recall_prompt(questions[one.question_id]),
                chosen="needs it needs it needs",
                rejected=one.recall,
            )
            for one in rationales
        ],
    )
    api.reflect(run, "reflect.rounds=1", "reflect.learning_rate=1e-2", "reflect.max_steps=8")
    lines = [json.loads(line) for line in (run.round(1).metrics).read_text().splitlines()]
    start, *later = [line["valid_accuracy"] for line in lines if "valid_accuracy" in line]
    assert max(later) < start
    assert "rolled back" in capsys.readouterr().err
    before, after = weights(run.phase_1), weights(run.round(1))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_without_rollback_the_round_keeps_its_best_student(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinythinker.evaluate.verdicts.greedy_accuracy", lambda student, questions: 0.4)
    api.reflect(run, "reflect.rounds=1", "reflect.rollback=false")
    before, after = weights(run.phase_1), weights(run.round(1))
    assert not all(torch.equal(before[name], after[name]) for name in before)


def test_the_reference_is_scored_once_and_kept(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tinythinker.reflect.rounds.fit", dies)
    with pytest.raises(KeyboardInterrupt):
        api.reflect(run, "reflect.rounds=1")
    monkeypatch.undo()
    monkeypatch.setattr("tinythinker.reflect.reference.score_reference", dies)
    api.reflect(run, "reflect.rounds=1")
    assert (run.round(1).reference).exists()


def test_stored_scores_that_do_not_match_the_rounds_first_student_are_refused(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = score_reference

    def shifted(*arguments: object, **options: object) -> list[PairReference]:
        return [one.model_copy(update={"chosen": one.chosen + 5}) for one in plain(*arguments, **options)]  # type: ignore[arg-type]

    monkeypatch.setattr("tinythinker.reflect.reference.score_reference", shifted)
    with pytest.raises(DataError, match=r"reference\.jsonl: found log-probabilities that are not those of the round's"):
        api.reflect(run, "reflect.rounds=1")


def test_stored_scores_of_other_pairs_are_refused(run: RunDirectory) -> None:
    api.reflect(run, "reflect.rounds=1")
    file = run.round(1).reference
    write_records(file, read_records(file, PairReference)[1:])
    shutil.rmtree(run.round(1).student)
    with pytest.raises(DataError, match=r"reference\.jsonl: found scores of other pairs than pairs\.jsonl has"):
        api.reflect(run, "reflect.rounds=1")


def counts(run: RunDirectory, number: int) -> PairCounts:
    return PairCounts.model_validate(read_json(run.round(number).counts))


def test_the_counts_of_a_round_match_its_files(run: RunDirectory) -> None:
    api.reflect(run, "reflect.rounds=1")
    folder, made = run.round(1), counts(run, 1)
    pairs = read_records(folder.pairs, PreferencePair)
    chains = [read_records(file, Chain) for file in (folder.chains, folder.analyze_chains)]
    assert made.questions == 6
    assert made.questions_with_pairs == len({pair.question_id for pair in pairs})
    assert made.samples == sum(map(len, chains))
    assert made.recall_pairs + made.analyze_pairs == len(pairs)
    assert made.from_teacher == sum(pair.is_from_teacher for pair in pairs)
    assert made.repeated == len(chains[0]) - len({(chain.question_id, chain.recall) for chain in chains[0]}) + (
        len(chains[1]) - len({(chain.question_id, chain.recall, chain.analyses) for chain in chains[1]})
    )


def test_samples_and_temperature_follow_their_schedules(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    heats = []

    def watched(temperature: float, *rest: object) -> object:
        heats.append(temperature)
        return Draws(temperature, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(sample, "Draws", watched)
    schedule = ("reflect.samples_per_question=[4, 2]", "reflect.temperature=[1.0, 0.5]", "reflect.stages=[recall]")
    api.reflect(run, "reflect.rounds=3", *schedule)
    assert [len(read_records(run.round(n).chains, Chain)) for n in (1, 2, 3)] == [24, 12, 12]
    assert heats == [1.0, 0.5, 0.5]


def test_uncertain_sampling_spends_the_rest_on_questions_solved_sometimes(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [one for one in QUESTIONS if one.gold == "A"][:3]
    answers = {asked[0].id: "AB", asked[1].id: "A", asked[2].id: "B"}  # right sometimes, always, never

    def scripted(student: Student, thoughts: Sequence[Thought], *, draws: object) -> list[Chain]:
        return [
            Chain(
                question_id=one.question.id,
                sample=one.sample,
                recall=f"{one.sample}",
                conclusion="",
                answer=answers[one.question.id][one.sample % len(answers[one.question.id])],
            )
            for one in thoughts
        ]

    monkeypatch.setattr(sample, "think", scripted)
    settings = ReflectSettings(sampling="uncertain", samples_per_question=(5,))
    sampler = Sampler(load_student(run.phase_1.student), settings, run.round(1), 1, 0)
    by_question = sampler.recalls(asked)
    # First 3 of 5 each, then the 3 x 2 left over go to the one question.
    assert [len(own) for own in by_question] == [3 + 6, 3, 3]
    assert [chain.sample for chain in by_question[0]] == list(range(9))  # no random stream is used twice
    assert all({chain.question_id for chain in own} == {one.id} for own, one in zip(by_question, asked, strict=True))


def test_earlier_pairs_are_replayed_if_the_settings_say_so(run: RunDirectory) -> None:
    api.reflect(run, "reflect.rounds=2", "reflect.replay_rounds=1")
    earlier = read_records(run.round(1).pairs, PreferencePair)
    own = read_records(run.round(2).pairs, PreferencePair)
    scored = {one.pair for one in read_records(run.round(2).reference, PairReference)}
    assert scored == {*earlier, *own}
    assert (counts(run, 1).replayed, counts(run, 2).replayed) == (0, len(earlier))


@pytest.mark.parametrize("loss", ["ipo", "dpo_norm", "none"])
def test_every_loss_trains(run: RunDirectory, loss: str) -> None:
    api.reflect(run, "reflect.rounds=1", f"reflect.loss={loss}")
    before = weights(run.phase_1)
    assert len(weights(run.round(1))) == len(before)
    assert '"loss"' in (run.round(1).metrics).read_text()


def test_pairs_can_be_made_without_training_and_trained_on_elsewhere(run: RunDirectory, tmp_path: Path) -> None:
    made = api.reflect(run, "reflect.rounds=1", pairs_only=True)
    assert made == run.round(1).pairs
    assert not run.round(1).metrics.exists()
    pairs = read_records(made, PreferencePair)
    shutil.copytree(run.root, tmp_path / "other")
    other = RunDirectory(tmp_path / "other")
    trained = api.reflect(run, "reflect.rounds=1")
    (tmp_path / "half.jsonl").write_text("".join(made.read_text().splitlines(keepends=True)[::2]))
    api.reflect(other, "reflect.rounds=1", f"reflect.pairs={tmp_path / 'half.jsonl'}", force=True)
    assert read_records(other.round(1).pairs, PreferencePair) == pairs[::2]
    assert not other.round(1).chains.exists()
    assert trained == run.round(1).student


def test_pairs_of_another_run_train_the_same_student_as_its_own_would(run: RunDirectory, tmp_path: Path) -> None:
    pairs = shutil.copy(api.reflect(run, "reflect.rounds=1", pairs_only=True), tmp_path / "pairs.jsonl")
    api.reflect(run, "reflect.rounds=1")
    own = weights(run.round(1))
    api.reflect(run, "reflect.rounds=1", f"reflect.pairs={pairs}", force=True)
    assert all(torch.equal(own[name], tensor) for name, tensor in weights(run.round(1)).items())


def test_a_pairs_file_that_is_missing_is_found_out_before_anything_else(run: RunDirectory) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl: found no such file"):
        api.reflect(run, "reflect.pairs=absent.jsonl")


def test_a_student_of_labels_alone_learns_from_pairs_of_its_answers(tmp_path: Path) -> None:
    run = api.start("storeroom", tmp_path / "run", *TINY, "stages.plan=summarize", "reflect.stages=[summarize]")
    api.teach(run)
    api.train(run)
    api.reflect(run, "reflect.rounds=1", "reflect.rollback=false")
    chains = read_records(run.round(1).chains, Chain)
    pairs = read_records(run.round(1).pairs, PreferencePair)
    assert [(chain.sample, chain.recall, chain.analyses) for chain in chains] == [(0, None, ())] * 6
    assert [pair.question_id for pair in pairs] == [chain.question_id for chain in chains]
    assert {pair.stage for pair in pairs} == {Stage.SUMMARIZE}
    assert run.round(1).is_finished


def test_a_round_that_was_rolled_back_is_not_tested_again(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinythinker.evaluate.verdicts.greedy_accuracy", lambda *_: 0.5)
    api.reflect(run, "reflect.rounds=1")
    assert run.same_student("round-1") == "phase-1"
    answered: list[str] = []

    def counted(file: Path, *rest: object) -> object:
        answered.append(file.stem)
        return write_verdicts(file, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("tinythinker.evaluate.verdicts.write_verdicts", counted)
    scores = api.evaluate(run)
    assert answered == ["phase-1.test.greedy"]
    assert scores["round-1"] == scores["phase-1"]
    assert api.evaluate(run) == scores


def test_the_official_way_of_a_round_runs_and_says_what_it_trained_on(run: RunDirectory) -> None:
    official = ("interval=auto", "epoch=cycle", "nll=batch", "analyze_under=paired", "fallback=true", "epochs=2")
    api.reflect(run, "reflect.rounds=1", *(f"reflect.{one}" for one in official), "reflect.max_steps=null")
    folder = run.round(1)
    recalls = [pair for pair in read_records(folder.pairs, PreferencePair) if pair.stage is Stage.RECALL]
    chosen = {(pair.question_id, pair.chosen.removesuffix(".")) for pair in recalls}
    drawn = {(c.question_id, str(c.recall).removesuffix(".")) for c in read_records(folder.analyze_chains, Chain)}
    assert drawn == chosen
    assert any(pair.is_from_teacher for pair in recalls)


@pytest.mark.parametrize("words", [("reflect.stages=[summarize]",), ("reflect.loss=grpo", "reflect.alpha=0")])
def test_a_round_can_learn_from_answers_alone_and_from_groups(
    run: RunDirectory, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    api.reflect(run, "reflect.rounds=1", "reflect.rollback=false", *words, force=True)
    said = capsys.readouterr().err
    assert run.round(1).is_finished
    if "summarize" in words[0]:
        assert "0 recall and 0 analyze pairs, " in said and "summarize pairs from 6 of 6 questions" in said
    else:
        counts, pairs = read_record(run.round(1).counts, PairCounts), read_records(run.round(1).pairs, PreferencePair)
        assert counts.pairs == len(pairs)
        recalls = {(pair.question_id, pair.chosen) for pair in pairs if pair.stage is Stage.RECALL}
        for id_, chosen in recalls:
            lost = {p.rejected for p in pairs if p.question_id == id_ and p.stage is Stage.RECALL}
            assert {p.rejected for p in pairs if (p.question_id, p.chosen) == (id_, chosen)} >= lost
