"""The only training loop: optimizer steps over batches that somebody else has put in order.

Both phases differ in their batches and their objective alone. The loop is a function of the seed and the step number,
so a run that was killed and starts again from its last checkpoint ends with the same weights as an undisturbed one.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
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
from tinythinker.core.errors import StudentError, expected
from tinythinker.core.files import Json, appending, read_json, read_objects, write_json, write_text
from tinythinker.core.progress import Progress, say
from tinythinker.core.seeds import seed_torch
from tinythinker.settings.schema import OptimSettings
from tinythinker.student.adapters import merge
from tinythinker.student.logps import Scorer
from tinythinker.student.student import Student, load_student
from tinythinker.train.engine import Engine, build_engine, whole_tensor

Item = TypeVar("Item")

# Every checkpoint of a model with shared embeddings would be announced as a warning.
logging.getLogger("accelerate").setLevel(logging.ERROR)


class Tokens(NamedTuple):
    """Tokens that went through the student, padding left out."""

    prompts: int
    targets: int


class Loss(NamedTuple):
    """A sum over items and what to divide it by, so that pieces add up to the whole batch exactly."""

    total: Tensor
    """Scalar with gradient: summed over tokens (phase 1) or pairs (phase 2)."""
    weight: int
    """Number of tokens or pairs summed over."""
    figures: dict[str, float]
    """Other sums worth a line in metrics.jsonl, divided by the same weight there."""
    tokens: Tokens


@dataclass(frozen=True)
class Job(Generic[Item]):
    """One training, start to finish."""

    name: str
    """What the progress bar and the random streams call it: `phase-1`, `round-2`."""
    epoch: Callable[[int], Sequence[tuple[str, Sequence[Item]]]]
    """Batches of an epoch in order, each with the name of its stage; the same number in every epoch."""
    objective: Callable[[Scorer, Sequence[Item]], Loss]
    pieces: Callable[[Sequence[Item]], Sequence[Sequence[Item]]]
    """How a batch is cut into forward passes; gradients add up to the whole batch's."""
    cycle: int
    """Optimizer steps between validations, unless the settings say otherwise."""
    validate: Callable[[], float]
    """Accuracy of the student as it is, in [0, 1]; higher is better."""
    dropout: bool
    """Is dropout on while training?"""
    keep_start: bool
    """Does the student as it starts compete for being the best (phase 2), or not (phase 1)?"""


class Position(BaseModel):
    """Where a checkpoint stands."""

    step: int
    """Optimizer steps done."""
    best_step: int | None
    best_accuracy: float
    """Validation accuracy of the best student so far; -1 before any."""
    since_best: int = 0
    """Validations since then that were no better."""


def fit(student: Student, job: Job[Item], settings: OptimSettings, *, seed: int, folder: Path) -> Student:
    """Train, validate every cycle, keep the best, and leave it in `folder/student`.

    Args:
        student: its weights are changed in place.
        folder: receives `metrics.jsonl` and `student/`; `checkpoint-*/` and `best/` while at work. If they are there
            already, training goes on from the last checkpoint; if `student/` is there, nothing is left to do.

    Returns:
        The student with the best validation accuracy (the earliest of equals), loaded from `folder/student`.

    Raises:
        StudentError: the loss is no longer a number.
    """
    if not ranks.on_first(lambda: is_finished(folder)):
        _train(student, job, settings, seed, folder)
        gc.collect()  # what holds shards holds itself
    return load_student(folder / "student")


def _train(student: Student, job: Job[Item], settings: OptimSettings, seed: int, folder: Path) -> None:
    """What `fit` does when it is not done yet."""
    best = folder / "best"
    first = job.epoch(0)
    total = count_steps(settings, len(first))
    every = min(settings.validate_every or job.cycle, total)

    student.adapt(seed, job.name)
    AcceleratorState._reset_state()  # the phases of one process may differ in precision
    accelerator = Accelerator(
        mixed_precision="bf16" if wants_bf16(settings, student) else "no", step_scheduler_with_optimizer=False
    )
    save_memory(student, settings)
    engine = build_engine(accelerator, student, settings, total)
    position = _resume(engine, folder)
    metrics = folder / "metrics.jsonl"
    ranks.on_first(lambda: _drop_metrics_after(metrics, position.step))

    def write(line: Json) -> None:
        if log is not None:
            log.add(line)

    def judge(position: Position) -> Position:
        with engine.whole():
            accuracy = job.validate()
            write({"step": position.step, "valid_accuracy": accuracy})
            if accuracy <= position.best_accuracy:
                return position.model_copy(update={"since_best": position.since_best + 1})
            ranks.on_first(lambda: student.save(best))
        return Position(step=position.step, best_step=position.step, best_accuracy=accuracy)

    def is_out_of_patience() -> bool:
        return settings.patience is not None and position.since_best >= settings.patience

    epoch, batches = 0, first
    with ExitStack() as stack:
        log = stack.enter_context(appending(metrics)) if ranks.is_first() else None
        progress = stack.enter_context(Progress(job.name, total, position.step))
        stack.enter_context(ranks.lost_processes())
        if position.step == 0 and job.keep_start:
            position = judge(position)
        for step in range(position.step, total):
            if is_out_of_patience():
                say(f"{job.name}: stopped at step {step}, {position.since_best} validations after its best")
                break
            if step // len(first) != epoch:
                epoch = step // len(first)
                batches = job.epoch(epoch)
            stage, items = batches[step % len(first)]
            set_mode(engine.model, dropout=job.dropout)
            seed_torch(seed, "dropout", job.name, step, *([ranks.number()] if ranks.number() else []))
            started = time.perf_counter()
            line = _step(
                accelerator,
                engine,
                job,
                items,
                settings.max_gradient_norm,
                f"{job.name}, step {step + 1}, {stage}",
            )
            engine.scheduler.step()
            write(
                {
                    "step": step + 1,
                    "stage": stage,
                    **line,
                    "learning_rate": engine.scheduler.get_last_lr()[0],
                    "seconds": round(time.perf_counter() - started, 4),
                }
            )
            position = position.model_copy(update={"step": step + 1})
            progress.advance(loss=line["loss"], valid=position.best_accuracy)
            if (step + 1) % every == 0 or step + 1 == total:
                position = judge(position)
                if step + 1 < total:  # after the last step it would be removed at once
                    _checkpoint(engine, folder, position)
        is_to_merge = student.recipe.lora is not None and student.recipe.lora.save == "merged"
        with engine.whole() if is_to_merge else nullcontext():
            ranks.on_first(lambda: _finish(student, best, folder / "student", is_to_merge=is_to_merge))


def _finish(student: Student, best: Path, final: Path, *, is_to_merge: bool) -> None:
    """Put the best student in its place, its adapters made part of its weights if they are to be."""
    if is_to_merge:
        merge(student, best)
        student.save(final)
        shutil.rmtree(best)
    else:
        best.rename(final)
    _remove_checkpoints(final.parent)


def count_steps(settings: OptimSettings, steps_per_epoch: int) -> int:
    """Optimizer steps of a whole training."""
    steps = settings.epochs * steps_per_epoch
    return steps if settings.max_steps is None else min(steps, settings.max_steps)


def save_memory(student: Student, settings: OptimSettings) -> None:
    """Compute activations twice instead of keeping them, if that is asked for."""
    if settings.gradient_checkpointing:
        student.model.activation_checkpointing_enable({"use_reentrant": False})


def set_mode(model: torch.nn.Module, *, dropout: bool) -> None:
    """Dropout on or off; layers that compute their activations twice do so in training mode only, which is theirs."""
    model.train(dropout)
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing:
            module.training = True


def is_finished(folder: Path) -> bool:
    """Has a training left its student in this folder? What a kill at the very end left beside it is removed."""
    if not (folder / "student").exists():
        return False
    _remove_checkpoints(folder)
    shutil.rmtree(folder / "best", ignore_errors=True)
    return True


def wants_bf16(settings: OptimSettings, student: Student) -> bool:
    """Does a training with these settings run in bfloat16 on this student's device?"""
    if settings.bf16 == "auto":
        return student.device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return settings.bf16 == "always"


def _step(
    accelerator: Accelerator,
    engine: Engine,
    job: Job[Item],
    items: Sequence[Item],
    max_norm: float,
    where: str,
) -> dict[str, float]:
    """One optimizer step over a batch, in pieces whose gradients add up to the batch's.

    Raises StudentError, and leaves the weights as they are, if the loss or its gradient is no longer a number.
    """
    model, passes = engine.model, _passes(job, items, engine)
    sums: dict[str, float] = defaultdict(float)
    for number, (piece, part) in enumerate(passes, start=1):
        is_last = number == len(passes)
        with nullcontext() if is_last else accelerator.no_sync(model):
            # A cache of weights in bfloat16 would be all of them, in every process.
            with accelerator.autocast(AutocastKwargs(cache_enabled=not engine.is_shared_out)):
                loss = job.objective(model, piece)
            accelerator.backward(part * loss.total)
        counts = {"prompt_tokens": loss.tokens.prompts, "target_tokens": loss.tokens.targets}
        for name, value in {"loss": loss.total.item(), "weight": loss.weight, **loss.figures, **counts}.items():
            sums[name] += part * value
    names = list(sums)
    if ranks.count() > 1:
        added = torch.tensor([sums[name] for name in names], dtype=torch.float64, device=accelerator.device)
        sums = dict(zip(names, accelerator.reduce(added, "sum").tolist(), strict=True))
    weight, prompt_tokens, target_tokens = (sums.pop(name) for name in ("weight", "prompt_tokens", "target_tokens"))
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    # Several processes have the mean of their gradients, and the batch's is their sum over its weight.
    torch._foreach_div_(gradients, weight / ranks.count())
    norm = float(whole_tensor(accelerator.clip_grad_norm_(model.parameters(), max_norm)))
    for name, value in (("loss", sums["loss"]), ("gradient norm", norm)):
        if not math.isfinite(value):
            raise StudentError(
                expected(f"{where} {name}", value, "a finite number")
                + "; start over with --force and a smaller learning_rate, or bf16=never"
            )
    engine.optimizer.step()
    engine.optimizer.zero_grad()
    means = {name: value / weight for name, value in sums.items()}
    return {
        "loss": means.pop("loss"),
        "gradient_norm": norm,
        **means,
        "prompt_tokens": int(prompt_tokens),
        "target_tokens": int(target_tokens),
    }


def _passes(job: Job[Item], items: Sequence[Item], engine: Engine) -> list[tuple[Sequence[Item], float]]:
    """The forward passes of this process over its share of a batch, each with what it counts: 1, or 0."""
    own = ranks.share(items)
    # A process without a share of a small batch adds nothing, but is there when gradients are added up.
    passes = [(piece, 1.0 if own else 0.0) for piece in job.pieces(own or items[:1])]
    missing = ranks.most(len(passes)) - len(passes) if engine.is_shared_out else 0
    return passes + [(passes[-1][0], 0.0)] * missing


def _checkpoint(engine: Engine, folder: Path, position: Position) -> None:
    """Save everything a continuation needs: weights, optimizer, schedule, position."""
    engine.save(
        folder / f"checkpoint-{position.step:08d}",
        lambda temporary: write_json(temporary / "position.json", position.model_dump()),
    )
    ranks.on_first(lambda: _remove_checkpoints(folder, before=position.step))


def _remove_checkpoints(folder: Path, before: float = math.inf) -> None:
    for checkpoint in folder.glob("checkpoint-*"):
        if int(checkpoint.name.removeprefix("checkpoint-")) < before:
            shutil.rmtree(checkpoint)


def _resume(engine: Engine, folder: Path) -> Position:
    """Load the last checkpoint, if there is one."""
    checkpoints = sorted(folder.glob("checkpoint-*"))
    if not checkpoints:
        return Position(step=0, best_step=None, best_accuracy=-1.0)
    last = checkpoints[-1]
    try:
        engine.load(last)
        return Position.model_validate(read_json(last / "position.json"))
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        raise StudentError(
            f"{last}: found a damaged checkpoint ({reason}); delete it to start this training over"
        ) from None


def _drop_metrics_after(metrics: Path, step: int) -> None:
    """Forget figures of steps that will be done again."""
    if not metrics.exists():
        return
    kept: list[Json] = [
        line for _, line in read_objects(metrics, is_growing=True) if step and int(str(line["step"])) <= step
    ]
    write_text(metrics, "".join(json.dumps(line) + "\n" for line in kept))
