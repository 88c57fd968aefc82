"""Phase 2: rounds of sampling from the student, pairing right with wrong, and training on the difference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tinythinker.config import ReflectSettings
from tinythinker.core.jsonl import complete, read_records, write_records
from tinythinker.core.progress import say
from tinythinker.core.records import Chain, PreferencePair, Question, Rationale, Stage
from tinythinker.core.run import RunDirectory
from tinythinker.core.seeds import derive_seed, stream
from tinythinker.generate.think import Draws, Thought, think
from tinythinker.preferences import analyze_pairs, chosen_and_rejected, recall_pairs
from tinythinker.reflect.dpo import ScoredPair, preference_objective, score_reference
from tinythinker.stages.plan import PLANS, order_batches
from tinythinker.student.student import Student, load_student
from tinythinker.tasks.load import draw
from tinythinker.train.loop import Job, fit, is_finished, wants_bf16

CHUNK = 512
"""Chains between two writes to disk."""


def reflect_rounds(
    run: RunDirectory,
    questions: Sequence[Question],
    rationales: Sequence[Rationale],
    validate: Callable[[Student], float],
    settings: ReflectSettings,
    seed: int,
) -> Student:
    """Do every round that is not done yet.

    A round starts from the student of the round before, and that student competes for being the round's best; so each
    round's student is the best by validation so far, and a round that does not help changes nothing.

    Returns:
        The student of the last round, phase 1's if there are none.
    """
    student = load_student(run.phase_1 / "student")
    for number in range(1, settings.rounds + 1):
        folder = run.round(number)
        if is_finished(folder):
            student = load_student(folder / "student")
            continue
        pairs = _pairs(folder, student, questions, rationales, settings, derive_seed(seed, "round", number))
        reference = load_student(run.phase_1 / "student") if settings.reference == "initial" else student
        student = _train(folder, student, reference, pairs, validate, settings, seed)
    return student


def draw_questions(questions: Sequence[Question], settings: ReflectSettings, seed: int) -> list[Question]:
    """The questions of one round: those with a known answer, or a seeded draw of them in their own order."""
    return draw([question for question in questions if question.gold is not None], settings.questions, seed, "round")


def _pairs(
    folder: Path,
    student: Student,
    questions: Sequence[Question],
    rationales: Sequence[Rationale],
    settings: ReflectSettings,
    seed: int,
) -> list[PreferencePair]:
    """Sample and pair, or read the pairs if that is done; chains land on disk as they come."""
    file = folder / "pairs.jsonl"
    if file.exists():
        return read_records(file, PreferencePair)
    asked = draw_questions(questions, settings, seed)
    stages = PLANS[student.recipe.stages.plan]
    template = student.recipe.template
    count = settings.samples_per_question
    pairs: list[PreferencePair] = []
    chosen: list[tuple[Question, str | None]] = [(question, None) for question in asked]

    if Stage.RECALL in stages:
        thoughts = [Thought(question, i) for question in asked for i in range(count)]
        chains = _sample(folder / "chains.jsonl", student, thoughts, Stage.RECALL, settings, seed)
        teacher: Mapping[str, list[str]] = defaultdict(list)
        for rationale in rationales:
            teacher[rationale.question_id].append(rationale.recall)
        chosen = []
        for i, question in enumerate(asked):
            own = chains[i * count : (i + 1) * count]
            chosen += [(question, recall) for recall in chosen_and_rejected(own, question)[0]]
            if "recall" in settings.stages:
                rng = stream(seed, "pairs", "recall", question.id)
                pairs += recall_pairs(question, own, teacher.get(question.id, []), template, rng)

    if Stage.ANALYZE in stages and "analyze" in settings.stages:
        # One number per chain of a question, also across its recalls, so that no two share a random stream.
        numbers: dict[str, int] = defaultdict(int)
        thoughts = []
        for question, recall in chosen:
            for _ in range(count):
                thoughts.append(Thought(question, numbers[question.id], recall))
                numbers[question.id] += 1
        chains = _sample(folder / "analyze-chains.jsonl", student, thoughts, Stage.ANALYZE, settings, seed)
        for i, (question, _) in enumerate(chosen):
            rng = stream(seed, "pairs", "analyze", question.id, i)
            pairs += analyze_pairs(question, chains[i * count : (i + 1) * count], template, rng)

    pairs = list(dict.fromkeys(pairs))
    write_records(file, pairs)
    counts = ", ".join(f"{sum(pair.stage == stage for pair in pairs)} {stage}" for stage in settings.stages)
    say(f"{folder.name}: {counts} pairs from {len({pair.question_id for pair in pairs})} of {len(asked)} questions")
    return pairs


def _sample(
    file: Path, student: Student, thoughts: Sequence[Thought], stage: Stage, settings: ReflectSettings, seed: int
) -> list[Chain]:
    draws = Draws(settings.temperature, seed, frozenset({stage}))
    name = file.parent.name

    def work(some: Sequence[Thought]) -> list[Chain]:
        return think(student, some, draws=draws)

    chains = complete(file, Chain, thoughts, work, chunk=CHUNK, name=f"{name}: sampling to {stage}")
    if cut := sum(chain.count_cut > 0 for chain in chains):
        say(f"{name}: {cut} of {len(chains)} chains had a prompt that lost its front (student.max_prompt_tokens)")
    return chains


def _train(
    folder: Path,
    student: Student,
    reference: Student,
    pairs: Sequence[PreferencePair],
    validate: Callable[[Student], float],
    settings: ReflectSettings,
    seed: int,
) -> Student:
    by_stage = {stage: [pair for pair in pairs if pair.stage is stage] for stage in Stage}
    by_stage = {stage: own for stage, own in by_stage.items() if own}
    if not by_stage:
        say(f"{folder.name}: no question had both right and wrong reasoning, so there is nothing to learn from")
        student.save(folder / "student")
        return student
    turn = dict.fromkeys(by_stage, settings.interval)

    def order(epoch: int) -> list[tuple[Stage, list[PreferencePair]]]:
        return order_batches(
            by_stage, turn, batch_size=settings.batch_size, seed=derive_seed(seed, folder.name), epoch=epoch
        )

    size = settings.micro_batch_size or settings.batch_size
    passes = [batch[i : i + size] for _, batch in order(0) for i in range(0, len(batch), size)]
    scored = score_reference(reference, passes, bf16=wants_bf16(settings, reference))

    def epoch(number: int) -> list[tuple[Stage, list[ScoredPair]]]:
        return [(stage, [scored[pair] for pair in batch]) for stage, batch in order(number)]

    job = Job(
        name=folder.name,
        epoch=epoch,
        objective=preference_objective(student, beta=settings.beta, alpha=settings.alpha),
        cycle=settings.interval * len(by_stage),
        validate=lambda: validate(student),
        dropout=False,
        keep_start=True,
    )
    return fit(student, job, settings, seed=seed, folder=folder)
