"""A run's figures for experiment trackers: TensorBoard, Weights & Biases, Trackio, MLflow; through accelerate.

What a training writes down is read from its files while it works and sent on. So no training knows of trackers, each
figure is sent once even if the run is killed and resumed, and a tracker that fails stops nothing: neither the training
nor another tracker.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from secrets import token_hex
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from tinythinker.core import ranks
from tinythinker.core.errors import SettingsError, expected, first_line
from tinythinker.core.files import read_record, write_record
from tinythinker.core.metrics import GrowingMetrics, Metrics, StepMetrics
from tinythinker.core.progress import say
from tinythinker.core.records import Record
from tinythinker.core.run import RunDirectory
from tinythinker.reflect.pairs import PairCounts
from tinythinker.settings.describe import flatten

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

_SECONDS_BETWEEN = 2.0
_MOST_SECONDS = 60.0
"""That trackers may take after the work is over."""
Figures = Mapping[str, float]


class Sent(Record):
    """How much of a training a tracker has: `trackers/TRAINING/sent-NAME.json`."""

    id: str
    """Of the tracker's run, so that a resumed training goes on in it; a training that starts over has another."""
    step: int = 0
    """Optimizer steps up to this one."""
    validated: int = -1
    """Validations up to this step; -1: none."""
    has_counts: bool = False
    """Also the counts of its pairs?"""


def refuse_missing_trackers(names: Sequence[str]) -> None:
    """Raise SettingsError if the library of a tracker is not installed."""
    for name in names:
        if find_spec(name) is None:
            wanted = f"trackers whose library is installed; run `pip install {name}`"
            raise SettingsError(expected("setting trackers", name, wanted))


@contextmanager
def tracked(run: RunDirectory, names: Sequence[str]) -> Iterator[None]:
    """Send the figures of a run's trainings to trackers while the work inside goes on.

    Only the first of several processes does so. What cannot be sent is said once; the work goes on.
    """
    if not names or not ranks.is_first():
        yield
        return
    import accelerate.tracking  # noqa: F401 - before there are two threads that import

    is_over = Event()
    followers = [Thread(target=_follow, args=(run, name, is_over), name=name, daemon=True) for name in names]
    for follower in followers:
        follower.start()
    try:
        yield
    finally:
        is_over.set()
        for follower in followers:
            follower.join(_MOST_SECONDS)
            if follower.is_alive():
                say(f"trackers: {follower.name} took more than {_MOST_SECONDS:.0f} s to end; left alone")


def _follow(run: RunDirectory, name: str, is_over: Event) -> None:
    """Send one tracker what is new, again and again, and once more when the work is over."""
    try:
        tracker = _Follower(run, name)
        is_last = False
        while not is_last:
            is_last = is_over.wait(_SECONDS_BETWEEN)
            tracker.send()
        tracker.close()
    except Exception as error:  # noqa: BLE001 - whatever a foreign service does, the training goes on
        say(f"trackers: {name} failed ({first_line(error)}); the run goes on without it")


_TALK = Lock()


@contextmanager
def _talking_aside() -> Iterator[None]:
    """Send what a library prints to stderr, since stdout is for the result; for one tracker at a time."""
    with _TALK, redirect_stdout(sys.stderr):
        yield


class _Follower:
    """Sends one tracker the figures of every training, each as a run of the tracker, one after the other."""

    def __init__(self, run: RunDirectory, name: str) -> None:
        self._run, self._name = run, name
        self._metrics: dict[str, GrowingMetrics] = {}
        self._open: tuple[str, GeneralTracker] | None = None
        self._sent: dict[str, Sent] = {}

    def send(self) -> None:
        """Send what is new."""
        for training in [self._run.phase_1.name, *(self._run.round(n).name for n in self._run.begun_rounds())]:
            file = self._run.tracked(training) / f"sent-{self._name}.json"
            if training not in self._sent:
                self._sent[training] = read_record(file, Sent) if file.exists() else Sent(id=token_hex(8))
            sent = self._sent[training]
            metrics = self._metrics.setdefault(training, GrowingMetrics(self._run.training(training).metrics)).more()
            news, now = _news(self._run, training, metrics, sent)
            if now == sent:
                continue
            for step, figures in news:
                self._tracker_of(training).log(dict(figures), step=step)
            self._sent[training] = now
            write_record(file, now)

    def close(self) -> None:
        """End the run of the tracker that is open."""
        if self._open is not None:
            with _talking_aside():
                self._open[1].finish()
            self._open = None

    def _tracker_of(self, training: str) -> GeneralTracker:
        if self._open is None or self._open[0] != training:
            self.close()  # most trackers allow one open run in a process
            with _talking_aside():
                self._open = training, _started(self._name, self._run, training, self._sent[training].id)
        return self._open[1]


def _news(run: RunDirectory, training: str, metrics: Metrics, sent: Sent) -> tuple[list[tuple[int, Figures]], Sent]:
    """The figures of a training that have not been sent, each with its step, and how much will have been sent."""
    news: list[tuple[int, Figures]] = []
    counts = run.round(int(training.rpartition("-")[2])).counts if training != run.phase_1.name else None
    has_counts = sent.has_counts or (counts is not None and counts.exists())
    if counts is not None and has_counts and not sent.has_counts:
        pairs = read_record(counts, PairCounts).model_dump()
        news.append((0, {f"pairs/{name}": float(value) for name, value in pairs.items()}))
    news += [(line.step, _figures(line)) for line in metrics.steps if line.step > sent.step]
    validations = [line for line in metrics.validations if line.step > sent.validated]
    news += [(line.step, {"valid_accuracy": line.valid_accuracy}) for line in validations]
    step = max([sent.step, *(line.step for line in metrics.steps)])
    validated = max([sent.validated, *(line.step for line in validations)])
    return sorted(news, key=lambda own: own[0]), Sent(id=sent.id, step=step, validated=validated, has_counts=has_counts)


def _figures(line: StepMetrics) -> Figures:
    """The figures of a step; its loss also under the name of its stage."""
    known = line.model_dump(exclude={"step", "stage", "total_steps"}, exclude_none=True)
    return {name: float(value) for name, value in known.items()} | {f"loss/{line.stage}": line.loss}


def _started(name: str, run: RunDirectory, training: str, own: str) -> GeneralTracker:
    """A tracker's run for one training, with the settings of ours; `own` is its id."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    project = run.root.resolve().name
    folder = str(run.trackers)
    arguments: dict[str, tuple[str, dict[str, str]]] = {
        "tensorboard": (training, {"logging_dir": folder}),
        "wandb": (project, {"name": training, "group": project, "id": own, "resume": "allow", "dir": folder}),
        "trackio": (project, {"name": training, "resume": "allow"}),
        "mlflow": (project, {"run_name": training}),
    }
    first, others = arguments[name]
    run.trackers.mkdir(exist_ok=True)
    tracker: GeneralTracker = LOGGER_TYPE_TO_CLASS[name](first, **others)
    tracker.main_process_only = (
        False  # only the first process comes here; asking which it is would set up torch's group
    )
    tracker.start()
    if name != "tensorboard":  # it would make a run of its own of them
        settings = {key: value for key, value in flatten(run.manifest().settings).items() if value is not None}
        tracker.store_init_configuration({key: str(value) for key, value in settings.items()})
    return tracker
