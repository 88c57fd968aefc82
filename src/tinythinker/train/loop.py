"""The only training loop: optimizer steps over batches in a given order.

The two phases differ only in their batches and their objective. The loop is a function of the seed and the
step number, so a run that is killed and resumed from its last checkpoint ends with the same weights as an
undisturbed run.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Generic, NamedTuple, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import AutocastKwargs
from pydantic import BaseModel
from safetensors import SafetensorError
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from tinythinker.core import ranks
from tinythinker.core.errors import StudentError, expected, first_line, is_out_of_memory
from tinythinker.core.files import Appender, appending, read_json, read_objects, remove, write_json, write_text
from tinythinker.core.metrics import StepMetrics, Validation
from tinythinker.core.progress import Progress, say
from tinythinker.core.records import Record
from tinythinker.core.run import TrainingFolder
from tinythinker.core.seeds import seed_torch
from tinythinker.settings.schema import OptimSettings
from tinythinker.student.adapters import merged_from
from tinythinker.student.load import load_student
from tinythinker.student.logps import Scorer
from tinythinker.student.student import Student
from tinythinker.train.engine import build_engine, whole_tensor
from tinythinker.train.mixed_precision import short_attention_in_float32, wants_bf16

Item = TypeVar("Item")
_POSITION = "position.json"


class Tokens(NamedTuple):
    """Tokens that the student processed, without padding."""

    prompts: int
    targets: int


class Loss(NamedTuple):
    """A sum over items and its divisor, so that pieces add up to exactly the loss of the whole batch."""

    total: Tensor
    """Scalar with gradient: summed over tokens (phase 1) or pairs (phase 2)."""
    weight: int
    """Number of tokens or pairs summed over."""
    figures: Mapping[str, float]
    """Other sums to record as fields of `StepMetrics`, divided by the same weight there."""
    tokens: Tokens


@dataclass(frozen=True)
class Training(Generic[Item]):
    """One training, start to finish."""

    name: str
    """Its name in the progress bar and in random streams: `phase-1`, `round-2`."""
    epoch: Callable[[int], Sequence[tuple[str, Sequence[Item]]]]
    """Batches of an epoch in order, each with the name of its stage; the same number in every epoch."""
    objective: Callable[[Scorer, Sequence[Item]], Loss]
    pieces: Callable[[Sequence[Item]], Sequence[Sequence[Item]]]
    """Cuts a batch into forward passes; their gradients add up to the whole batch's."""
    cycle: int
    """Optimizer steps between validations, unless the settings give another number."""
    validate: Callable[[], float]
    """Accuracy of the student as it is now, in [0, 1]; higher is better."""
    dropout: bool
    """Is dropout on during training?"""
    keep_start: bool
    """May the student before the first step count as the best (phase 2), or not (phase 1)?"""


class Position(BaseModel):
    """How far training has come, as stored in a checkpoint. Fields that older versions stored are ignored."""

    step: int = 0
    """Optimizer steps done."""
    best_accuracy: float = -1.0
    """Validation accuracy of the best student so far; -1 before any."""
    since_best: int = 0
    """Validations since the best one; none was better."""


def fit(
    student: Student, training: Training[Item], settings: OptimSettings, *, seed: int, folder: TrainingFolder
) -> Student:
    """Train, validate every cycle, and save the best student in the folder.

    Args:
        student: its weights are changed in place.
        folder: receives `metrics.jsonl` and `student/`, and during training `checkpoint-*/` and `best/`.
            Training resumes from the last checkpoint there; if `student/` is there, training is done.

    Returns:
        The student with the best validation accuracy (the earliest on a tie), loaded from the folder.

    Raises:
        StudentError: the loss or its gradient is no longer finite.
    """
    if ranks.on_first(lambda: folder.is_finished):
        ranks.on_first(folder.remove_leftovers)
    else:
        try:
            _Fit(student, training, settings, seed, folder).run()
        finally:
            AcceleratorState._reset_state()  # others in this process choose their own precision
        gc.collect()  # objects that hold shards are in reference cycles
    return load_student(folder.student)


class _Fit(Generic[Item]):
    """One training under way."""

    def __init__(
        self, student: Student, training: Training[Item], settings: OptimSettings, seed: int, folder: TrainingFolder
    ) -> None:
        # accelerate warns at every checkpoint of a model with shared embeddings.
        logging.getLogger("accelerate").setLevel(logging.ERROR)
        self._student, self._training, self._settings = student, training, settings
        self._seed, self._folder = seed, folder
        self._batches, self._epoch = training.epoch(0), 0
        self._steps_per_epoch = len(self._batches)
        self._total = count_steps(settings, self._steps_per_epoch)
        student.adapt(seed, training.name)
        AcceleratorState._reset_state()  # phases run in one process may differ in precision
        self._accelerator = Accelerator(
            mixed_precision="bf16" if wants_bf16(settings, student) else "no", step_scheduler_with_optimizer=False
        )
        save_memory(student, settings)
        self._engine = build_engine(self._accelerator, student, settings, self._total)
        self._position = self._resume()
        self._log: Appender | None = None

    def run(self) -> None:
        """Do all steps that are left, then put the best student in its place."""
        ranks.on_first(lambda: _drop_metrics_after(self._folder.metrics, self._position.step))
        with ExitStack() as stack:
            self._log = stack.enter_context(appending(self._folder.metrics)) if ranks.is_first() else None
            progress = stack.enter_context(Progress(self._training.name, self._total, self._position.step))
            stack.enter_context(ranks.lost_processes())
            stack.enter_context(short_attention_in_float32())
            if self._position.step == 0 and self._training.keep_start:
                self._validate()
            while self._position.step < self._total and not self._is_out_of_patience():
                line = self._step(*self._batch())
                self._write(line)
                self._position = self._position.model_copy(update={"step": line.step})
                progress.advance(loss=line.loss, valid=self._position.best_accuracy)
                if self._is_time_to_validate():
                    self._validate()
                    if self._position.step < self._total:  # after the last step it would be removed at once
                        self._checkpoint()
            self._finish()

    def _batch(self) -> tuple[str, Sequence[Item]]:
        """Stage and items of the next step."""
        epoch, place = divmod(self._position.step, self._steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._training.epoch(epoch)
        return self._batches[place]

    def _is_time_to_validate(self) -> bool:
        every = min(self._settings.validate_every or self._training.cycle, self._total)
        return self._position.step % every == 0 or self._position.step == self._total

    def _is_out_of_patience(self) -> bool:
        patience, position = self._settings.patience, self._position
        if patience is None or position.since_best < patience:
            return False
        say(f"{self._training.name}: stopped at step {position.step}, {position.since_best} validations after its best")
        return True

    def _write(self, line: Record) -> None:
        if self._log is not None:
            self._log.add(line)

    def _validate(self) -> None:
        """Validate the student as it is now, and keep it if it is the best so far."""
        position = self._position
        with self._engine.whole():
            accuracy = self._training.validate()
            self._write(Validation(step=position.step, valid_accuracy=accuracy))
            if accuracy > position.best_accuracy:
                ranks.on_first(lambda: self._student.save(self._folder.best))
                self._position = Position(step=position.step, best_accuracy=accuracy)
            else:
                self._position = position.model_copy(update={"since_best": position.since_best + 1})

    def _step(self, stage: str, items: Sequence[Item]) -> StepMetrics:
        """One optimizer step.

        Raises:
            StudentError: the loss or its gradient is no longer finite; the weights are left unchanged.
        """
        step, engine = self._position.step + 1, self._engine
        set_mode(engine.model, dropout=self._training.dropout)
        rank = [ranks.number()] if ranks.number() else []
        seed_torch(self._seed, "dropout", self._training.name, step - 1, *rank)
        started = time.perf_counter()
        sums = self._summed(self._backward(items))
        weight, prompts, targets = (sums.pop(name) for name in ("weight", "prompt_tokens", "target_tokens"))
        gradients = [parameter.grad for parameter in engine.model.parameters() if parameter.grad is not None]
        # Gradients are averaged over processes; the batch's gradient is their sum divided by its weight.
        torch._foreach_div_(gradients, weight / ranks.count())
        clipped = self._accelerator.clip_grad_norm_(engine.model.parameters(), self._settings.max_gradient_norm)
        norm = float(whole_tensor(clipped))
        for name, value in (("loss", sums["loss"]), ("gradient norm", norm)):
            if not math.isfinite(value):
                raise StudentError(
                    expected(f"{self._training.name}, step {step}, {stage} {name}", value, "a finite number")
                    + "; start over with --force and a smaller learning_rate, or bf16=never"
                )
        engine.optimizer.step()
        engine.optimizer.zero_grad()
        engine.scheduler.step()
        return StepMetrics(
            step=step,
            stage=stage,
            gradient_norm=norm,
            prompt_tokens=int(prompts),
            target_tokens=int(targets),
            learning_rate=engine.scheduler.get_last_lr()[0],
            seconds=round(time.perf_counter() - started, 4),
            total_steps=self._total,
            **{name: value / weight for name, value in sums.items()},
        )

    def _backward(self, items: Sequence[Item]) -> Mapping[str, float]:
        """Add up the gradients of a batch, piece by piece. Returns this process's sums by name."""
        model, passes = self._engine.model, self._passes(items)
        sums: dict[str, float] = defaultdict(float)
        for number, (piece, part) in enumerate(passes, start=1):
            is_last = number == len(passes)
            with nullcontext() if is_last else self._accelerator.no_sync(model):
                # With shards, autocast's cache would hold all weights in bfloat16 in every process.
                with self._accelerator.autocast(AutocastKwargs(cache_enabled=not self._engine.is_shared_out)):
                    loss = self._training.objective(model, piece)
                self._accelerator.backward(part * loss.total)
            counts = {"prompt_tokens": loss.tokens.prompts, "target_tokens": loss.tokens.targets}
            for name, value in {"loss": loss.total.item(), "weight": loss.weight, **loss.figures, **counts}.items():
                sums[name] += part * value
        return sums

    def _summed(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Sums by name over all processes."""
        if ranks.count() == 1:
            return dict(sums)
        added = torch.tensor(list(sums.values()), dtype=torch.float64, device=self._accelerator.device)
        return dict(zip(sums, self._accelerator.reduce(added, "sum").tolist(), strict=True))

    def _passes(self, items: Sequence[Item]) -> list[tuple[Sequence[Item], float]]:
        """The forward passes of this process over its share of a batch, each with its factor, 1 or 0."""
        mine = ranks.share(items)
        # A process without a share of a small batch adds nothing, but must take part when gradients are summed.
        passes = [(piece, 1.0 if mine else 0.0) for piece in self._training.pieces(mine or items[:1])]
        missing = ranks.most(len(passes)) - len(passes) if self._engine.is_shared_out else 0
        return passes + [(passes[-1][0], 0.0)] * missing

    def _checkpoint(self) -> None:
        """Save everything needed to resume: weights, optimizer, schedule, position."""
        position = self._position
        self._engine.save(
            self._folder.checkpoint(position.step),
            lambda temporary: write_json(temporary / _POSITION, position.model_dump()),
        )
        ranks.on_first(lambda: self._folder.remove_checkpoints(before=position.step))

    def _resume(self) -> Position:
        """Load the last checkpoint, if there is one, and return its position."""
        checkpoints = self._folder.checkpoints()
        if not checkpoints:
            return Position()
        last = checkpoints[-1]
        try:
            self._engine.load(last)
            return Position.model_validate(read_json(last / _POSITION))
        except (OSError, RuntimeError, ValueError, LookupError, EOFError, SafetensorError, UnpicklingError) as error:
            if is_out_of_memory(error):
                raise
            reason = first_line(error)
            raise StudentError(
                f"{last}: found a damaged checkpoint ({reason}), expected a whole one; delete it to start this "
                "training over"
            ) from None

    def _finish(self) -> None:
        """Move the best student to its final folder, its adapters merged into its weights if the recipe says so."""
        lora = self._student.recipe.lora
        is_to_merge = lora is not None and lora.save == "merged"

        def work() -> None:
            if is_to_merge:
                self._student.model = merged_from(self._student.model, self._folder.best)
                self._student.save(self._folder.student)
                remove(self._folder.best)
            else:
                self._folder.best.rename(self._folder.student)
            self._folder.remove_checkpoints()

        with self._engine.whole() if is_to_merge else nullcontext():
            ranks.on_first(work)


def count_steps(settings: OptimSettings, steps_per_epoch: int) -> int:
    """Optimizer steps of a whole training."""
    ends = [settings.max_steps] if settings.max_steps is not None else []
    if settings.epochs is not None:
        ends.append(settings.epochs * steps_per_epoch)
    return min(ends)


def save_memory(student: Student, settings: OptimSettings) -> None:
    """Compute activations twice instead of keeping them, if the settings say so."""
    if settings.gradient_checkpointing:
        student.model.activation_checkpointing_enable({"use_reentrant": False})


def set_mode(model: torch.nn.Module, *, dropout: bool) -> None:
    """Turn dropout on or off.

    Layers that compute their activations twice do so only in training mode, so these layers always stay in
    it; the modules inside them follow `dropout`.
    """
    model.train(dropout)
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing:
            module.training = True


def _drop_metrics_after(metrics: Path, step: int) -> None:
    """Remove the metrics of steps that will be repeated."""
    if not metrics.exists():
        return
    lines = [line for _, line in read_objects(metrics, is_growing=True)]
    kept = [line for line in lines if step and int(str(line["step"])) <= step]
    write_text(metrics, "".join(json.dumps(line) + "\n" for line in kept))
