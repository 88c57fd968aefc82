"""Phase 2: rounds of sampling from the student, pairing right with wrong, and training on the difference."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tinythinker.core import ranks
from tinythinker.core.files import read_records
from tinythinker.core.metrics import read_metrics
from tinythinker.core.progress import say
from tinythinker.core.records import PreferencePair, Question, Rationale, Stage
from tinythinker.core.run import RoundFolder, RunDirectory
from tinythinker.core.seeds import derive_seed
from tinythinker.core.stored import OnDemand, pick
from tinythinker.reflect.objective import ScoredPair, over_batch, pair_pieces, preference_objective
from tinythinker.reflect.reference import Scores, check_reference, reference_scores
from tinythinker.reflect.sample import Sampler, make_pairs
from tinythinker.reflect.schedule import Batch, Schedule
from tinythinker.settings.schema import ReflectSettings
from tinythinker.student.encode import target_ids
from tinythinker.student.load import load_student
from tinythinker.student.student import Student
from tinythinker.train.loop import Training, fit


def reflect_rounds(
    run: RunDirectory,
    questions: Sequence[Question],
    rationales: Sequence[Rationale],
    validate: Callable[[Student], float],
    settings: ReflectSettings,
    seed: int,
    *,
    is_pairs_only: bool = False,
) -> None:
    """Run every round that is not finished yet.

    A round starts from the student of the round before. Unless `reflect.rollback` is off, that student also
    competes to be the round's best. So each round's student is the best by validation so far, and a round
    that does not help is rolled back.

    Args:
        is_pairs_only: stop when the first of these rounds has its pairs.
    """
    student = load_student(run.phase_1.student)
    for number in range(1, settings.rounds + 1):
        folder = run.round(number)
        if ranks.on_first(lambda folder=folder: folder.is_finished):  # type: ignore[misc]
            ranks.on_first(folder.remove_leftovers)
            student = load_student(folder.student)
            continue
        sampler = Sampler(student, settings, folder, number, derive_seed(seed, "round", number))
        pairs = make_pairs(sampler, questions, rationales, _earlier(run, number, settings.replay_rounds))
        if is_pairs_only:
            return
        is_its_own = settings.reference == "previous" or number == 1
        initial = None if is_its_own else run.phase_1.student
        student = train_round(folder, student, initial, pairs, validate, settings, seed)


def _earlier(run: RunDirectory, number: int, rounds: int) -> list[PreferencePair]:
    """The pairs of the last `rounds` rounds before this one, newest first."""
    before = range(number - 1, max(0, number - 1 - rounds), -1)
    return [pair for other in before for pair in read_records(run.round(other).pairs, PreferencePair)]


def train_round(
    folder: RoundFolder,
    student: Student,
    initial: Path | None,
    pairs: Sequence[PreferencePair],
    validate: Callable[[Student], float],
    settings: ReflectSettings,
    seed: int,
) -> Student:
    """The student trained on the pairs of a round.

    Args:
        initial: folder of the reference; None: the reference is the given student, before this training.
    """
    by_stage = _by_stage(pairs)
    if not by_stage:
        say(f"{folder.name}: no question had both right and wrong reasoning, so there is nothing to learn from")
        ranks.on_first(lambda: student.save(folder.student))
        return student
    schedule = Schedule(by_stage, settings, derive_seed(seed, folder.name))
    pieces = pair_pieces(student, settings.micro_batch_size)

    def passes() -> Iterator[list[PreferencePair]]:
        for _, batch in schedule.first_pass():
            for share in ranks.shares(batch):
                yield from pieces(share) if share else ()

    # Even adapters that change nothing yet use other kernels; add them now, so that the margin starts at 0.
    student.adapt(seed, folder.name)
    scored = reference_scores(
        folder.reference, lambda: student if initial is None else load_student(initial), passes, settings
    )
    if initial is None:
        check_reference(folder.reference, student, [scored[pair] for pair in next(passes())], settings)
    training = Training(
        name=folder.name,
        epoch=_scored_epochs(schedule, scored, student),
        objective=preference_objective(student, settings),
        pieces=_scored_pieces(pieces),
        cycle=sum(schedule.turn().values()),
        validate=lambda: validate(student),
        dropout=False,
        keep_start=settings.rollback,
    )
    trained = fit(student, training, settings, seed=seed, folder=folder)
    _tell_outcome(folder)
    return trained


def _by_stage(pairs: Sequence[PreferencePair]) -> dict[Stage, Sequence[PreferencePair]]:
    """Pairs by stage, without empty stages."""
    places: dict[Stage, array[int]] = {}
    for place, pair in enumerate(pairs):
        places.setdefault(pair.stage, array("q")).append(place)
    return {stage: pick(pairs, places[stage]) for stage in Stage if stage in places}


class _ScoredEpoch(OnDemand[tuple[Stage, Sequence[ScoredPair]]]):
    """Batches with the scores of their pairs, each looked up when it is needed."""

    def __init__(self, batches: Sequence[Batch], scored: Scores, student: Student | None) -> None:
        """`student`: whose tokens weigh the NLL over the batch; None: each text by itself (`reflect.nll`)."""
        self._batches, self._scored, self._student = batches, scored, student

    def __len__(self) -> int:
        return len(self._batches)

    def _at(self, place: int) -> tuple[Stage, Sequence[ScoredPair]]:
        stage, batch = self._batches[place]
        items = [self._scored[pair] for pair in batch]
        if self._student is None:
            return stage, items
        tokens = [len(ids) for ids in target_ids(self._student, [item.pair.chosen for item in items]).ids]
        return stage, over_batch(items, tokens)


def _scored_epochs(schedule: Schedule, scored: Scores, student: Student) -> Callable[[int], _ScoredEpoch]:
    """The schedule's epochs with scored pairs."""
    weighs = student if schedule.settings.nll == "batch" else None
    return lambda number: _ScoredEpoch(schedule.epoch(number), scored, weighs)


def _scored_pieces(
    pieces: Callable[[Sequence[PreferencePair]], list[list[PreferencePair]]],
) -> Callable[[Sequence[ScoredPair]], list[list[ScoredPair]]]:
    """The same pieces of scored pairs."""

    def of(items: Sequence[ScoredPair]) -> list[list[ScoredPair]]:
        item_of = {item.pair: item for item in items}
        return [[item_of[pair] for pair in piece] for piece in pieces(list(item_of))]

    return of


def _tell_outcome(folder: RoundFolder) -> None:
    metrics = read_metrics(folder.metrics)
    start, best = metrics.validations[0], metrics.best
    if best is None or start.step > 0:
        return
    before = f"{start.valid_accuracy:.3f}"
    if best.step == 0:
        say(f"{folder.name}: no step validated above the start ({before}), so it is rolled back")
    else:
        say(f"{folder.name}: validation accuracy {before} -> {best.valid_accuracy:.3f} (step {best.step})")
