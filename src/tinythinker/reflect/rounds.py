"""Phase 2: rounds of sampling from the student, pairing right with wrong, and training on the difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tinythinker.core import ranks
from tinythinker.core.files import read_records
from tinythinker.core.metrics import best_validation, read_metrics, validations
from tinythinker.core.progress import say
from tinythinker.core.records import PreferencePair, Question, Rationale, Stage
from tinythinker.core.run import RunDirectory
from tinythinker.core.seeds import derive_seed
from tinythinker.reflect.losses import ScoredPair, pair_pieces, preference_objective
from tinythinker.reflect.reference import check_reference, reference_scores
from tinythinker.reflect.sample import Sampler, make_pairs
from tinythinker.settings.schema import ReflectSettings
from tinythinker.stages.plan import order_batches
from tinythinker.student.student import Student, load_student
from tinythinker.train.loop import Job, fit, is_finished


def reflect_rounds(
    run: RunDirectory,
    questions: Sequence[Question],
    rationales: Sequence[Rationale],
    validate: Callable[[Student], float],
    settings: ReflectSettings,
    seed: int,
) -> Student:
    """Do every round that is not done yet.

    A round starts from the student of the round before. Unless `reflect.rollback` is off, that student competes for
    being the round's best; so each round's student is the best by validation so far, and a round that does not help is
    rolled back.

    Returns:
        The student of the last round, phase 1's if there are none.
    """
    student = load_student(run.phase_1 / "student")
    for number in range(1, settings.rounds + 1):
        folder = run.round(number)
        if ranks.on_first(lambda folder=folder: is_finished(folder)):  # type: ignore[misc]
            student = load_student(folder / "student")
            continue
        sampler = Sampler(student, settings, folder, number, derive_seed(seed, "round", number))
        pairs = make_pairs(sampler, questions, rationales, _earlier(run, number, settings.replay_rounds))
        is_own = settings.reference == "previous" or number == 1
        initial = None if is_own else run.phase_1 / "student"
        student = train_round(folder, student, initial, pairs, validate, settings, seed)
    return student


def _earlier(run: RunDirectory, number: int, rounds: int) -> list[PreferencePair]:
    """The pairs of so many rounds before this one, newest first."""
    before = range(number - 1, max(0, number - 1 - rounds), -1)
    return [pair for other in before for pair in read_records(run.round(other) / "pairs.jsonl", PreferencePair)]


def train_round(
    folder: Path,
    student: Student,
    initial: Path | None,
    pairs: Sequence[PreferencePair],
    validate: Callable[[Student], float],
    settings: ReflectSettings,
    seed: int,
) -> Student:
    """Train on the pairs of a round.

    Args:
        initial: folder of the reference, if it is another student than the one that is trained.
    """
    by_stage = {stage: [pair for pair in pairs if pair.stage is stage] for stage in Stage}
    by_stage = {stage: own for stage, own in by_stage.items() if own}
    if not by_stage:
        say(f"{folder.name}: no question had both right and wrong reasoning, so there is nothing to learn from")
        ranks.on_first(lambda: student.save(folder / "student"))
        return student
    turn = dict.fromkeys(by_stage, settings.interval)

    def order(epoch: int) -> list[tuple[Stage, list[PreferencePair]]]:
        return order_batches(
            by_stage, turn, batch_size=settings.batch_size, seed=derive_seed(seed, folder.name), epoch=epoch
        )

    pieces = pair_pieces(student, settings.micro_batch_size)
    passes = [piece for _, batch in order(0) for own in ranks.shares(batch) if own for piece in pieces(own)]
    # Adapters that change nothing yet take other kernels all the same; the margin is to begin at 0.
    student.adapt(seed, folder.name)
    scored = reference_scores(
        folder / "reference.jsonl", lambda: student if initial is None else load_student(initial), passes, settings
    )
    if initial is None:
        check_reference(folder / "reference.jsonl", student, [scored[pair] for pair in passes[0]], settings)

    def epoch(number: int) -> list[tuple[Stage, list[ScoredPair]]]:
        return [(stage, [scored[pair] for pair in batch]) for stage, batch in order(number)]

    job = Job(
        name=folder.name,
        epoch=epoch,
        objective=preference_objective(student, settings),
        pieces=lambda items: [[scored[pair] for pair in piece] for piece in pieces([item.pair for item in items])],
        cycle=settings.interval * len(by_stage),
        validate=lambda: validate(student),
        dropout=False,
        keep_start=settings.rollback,
    )
    trained = fit(student, job, settings, seed=seed, folder=folder)
    _tell_outcome(folder)
    return trained


def _tell_outcome(folder: Path) -> None:
    lines = read_metrics(folder / "metrics.jsonl")
    start, best = validations(lines)[0], best_validation(lines)
    if best is None or start.step > 0:
        return
    if best.step == 0:
        say(f"{folder.name}: nothing validated above its start ({start.accuracy:.3f}), so it is rolled back to that")
    else:
        say(f"{folder.name}: validation accuracy {start.accuracy:.3f} -> {best.accuracy:.3f} (step {best.step})")
