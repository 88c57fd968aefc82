"""When does phase 2 help? Three regimes of Storeroom, controls that get as many steps, and the ablation.

Every cell (regime, seed, arm) is a run directory of its own; phase 1 is trained once per regime and seed. A killed
study goes on where it was. Nothing is chosen on test questions.

    python -m experiments.reflection run OUT --regimes a b c --seeds 0 1 2 3 4
    python -m experiments.reflection table OUT
"""

from __future__ import annotations

import argparse
import itertools
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scipy.stats import binomtest, t, ttest_rel

from tinythinker import api
from tinythinker.answer import answer_all
from tinythinker.config import EvaluateSettings, RunSettings, TrainSettings, validate
from tinythinker.core.jsonl import read_records
from tinythinker.core.metrics import best_validation, read_metrics
from tinythinker.core.progress import say
from tinythinker.core.records import Question, Verdict
from tinythinker.core.run import RunDirectory
from tinythinker.core.seeds import derive_seed
from tinythinker.evaluate.score import score
from tinythinker.stages.examples import Curriculum
from tinythinker.stages.template import Template
from tinythinker.student.student import Student, load_student
from tinythinker.teacher.rationales import read_rationales
from tinythinker.train.loop import Job, fit, is_finished
from tinythinker.train.sft import sft_objective

REGIMES: Mapping[str, tuple[str, ...]] = {
    "a": (),
    "b": ("storeroom.annotated=1.0", "teacher.wrong=0.3"),
    "c": ("storeroom.annotated=1.0", "train.max_steps=160"),
}
"""a: 70% of the things annotated (the preset); b: all annotated, three in ten rationales wrong; c: all annotated truly,
phase 1 stopped early."""

ARMS: Mapping[str, tuple[str, ...]] = {
    "reflection": (),
    "self-training": ("reflect.loss=none",),
    "continued": (),
}
"""What follows phase 1. The controls: the same pairs without a preference, and phase 1 for as many steps more."""

ABLATION: Mapping[str, tuple[str, ...]] = {
    "recall and analyze pairs": ("reflect.stages=[recall,analyze]", "reflect.interval=5"),
    "analyze pairs": ("reflect.stages=[analyze]",),
    "alpha 0": ("reflect.alpha=0",),
    "alpha 0.5": ("reflect.alpha=0.5",),
    "beta 0.5": ("reflect.beta=0.5",),
    "reference initial": ("reflect.reference=initial",),
    "temperature 0.7": ("reflect.temperature=0.7",),
    "temperature 1.3": ("reflect.temperature=1.3",),
}
"""One departure each from the preset's phase 2: recall pairs, alpha 1, beta 0.1, reference previous, temperature 1."""

CONTINUED_RATE = 1e-3
"""Peak rate of the continued phase 1: its own."""


def run(out: Path, regimes: Sequence[str], seeds: Sequence[int], arms: Sequence[str]) -> None:
    """Do every cell that is not done yet."""
    for regime, seed in itertools.product(regimes, seeds):
        base = RunDirectory(out / f"{regime}-{seed}" / "phase-1")
        api.start("storeroom", base.root, *REGIMES[regime], f"seed={seed}")
        api.teach(base)
        api.train(base)
        for arm in arms:
            folder = out / f"{regime}-{seed}" / arm.replace(" ", "-")
            if not folder.exists():
                shutil.copytree(base.root, folder.with_suffix(".tmp"), dirs_exist_ok=True)
                folder.with_suffix(".tmp").rename(folder)
            say(f"{regime}, seed {seed}: {arm}")
            cell = RunDirectory(folder)
            if arm == "continued":
                _continue(cell)
            else:
                api.reflect(cell, *(ARMS | ABLATION)[arm])
            api.evaluate(cell)


def _continue(cell: RunDirectory) -> None:
    """Phase 1 for as many optimizer steps as all rounds of phase 2 take; its best student becomes `round-1`."""
    settings: RunSettings = validate(cell.manifest().settings)
    if is_finished(cell.round(1)):
        return
    student = load_student(cell.phase_1 / "student")
    questions = read_records(cell.questions("train"), Question)
    valid = read_records(cell.questions("valid"), Question)
    seed = derive_seed(settings.seed, "continued")
    curriculum = Curriculum(
        plan=settings.stages.plan,
        template=Template(settings.stages.template),
        questions=tuple(questions),
        rationales=tuple(read_rationales(cell.rationales)[1]),
        batch_size=settings.train.batch_size,
        interval=settings.stages.interval,
        permute_options=settings.stages.permute_options,
        seed=seed,
    )
    steps = settings.reflect.rounds * (settings.reflect.max_steps or 0)
    optim: Mapping[str, object] = settings.train.model_dump() | {
        "max_steps": steps,
        "validate_every": settings.reflect.validate_every,
        "learning_rate": CONTINUED_RATE,
    }
    job = Job(
        name="continued",
        epoch=curriculum.epoch,
        objective=sft_objective(student),
        cycle=steps,
        validate=lambda: _accuracy(student, valid),
        dropout=True,
        keep_start=True,
    )
    fit(student, job, TrainSettings.model_validate(optim), seed=seed, folder=cell.round(1))


def _accuracy(student: Student, questions: Sequence[Question]) -> float:
    return score(answer_all(student, questions, EvaluateSettings(), 0, None)).accuracy


def _correct(cell: Path, student: str | None = None) -> dict[str, bool]:
    """Right or wrong by test question, of the last student or the named one."""
    run_ = RunDirectory(cell)
    name = student or f"round-{run_.rounds()[-1]}"
    verdicts = read_records(run_.verdicts(f"{name}.test.greedy"), Verdict)
    return {verdict.question_id: verdict.is_correct for verdict in verdicts}


def _validation(cell: Path) -> float:
    run_ = RunDirectory(cell)
    best = best_validation(read_metrics(run_.round(run_.rounds()[-1]) / "metrics.jsonl"))
    return best.accuracy if best else math.nan


def table(out: Path) -> None:
    """Print accuracy by regime and arm, and what `reflection` gains on each of the others."""
    by_regime: dict[str, dict[int, Path]] = {}
    for folder in sorted(out.glob("*-*")):
        regime, seed = folder.name.split("-")
        by_regime.setdefault(regime, {})[int(seed)] = folder
    for regime, folders in by_regime.items():
        print(f"\nregime {regime}: {' '.join(REGIMES[regime]) or 'the preset'}")
        arms = ["phase 1", *ARMS, *ABLATION]
        cells: dict[str, dict[int, dict[str, bool]]] = {}
        for arm in arms:
            for seed, folder in folders.items():
                cell = folder / (arm.replace(" ", "-") if arm != "phase 1" else "reflection")
                if (cell / "report.html").exists() or list((cell / "verdicts").glob("*.jsonl")):
                    cells.setdefault(arm, {})[seed] = _correct(cell, "phase-1" if arm == "phase 1" else None)
        for arm, own in cells.items():
            _print_row(arm, own, cells["reflection"], folders)


def _print_row(
    arm: str, own: Mapping[int, Mapping[str, bool]], reflection: Mapping[int, Mapping[str, bool]], folders: object
) -> None:
    accuracies = [_mean(own[seed]) for seed in own]
    line = f"{arm:<26} n={len(own)} mean {100 * _average(accuracies):.1f} sd {100 * _deviation(accuracies):.1f}"
    line += " [" + " ".join(f"{100 * a:.1f}" for a in accuracies) + "]"
    seeds = [seed for seed in own if seed in reflection]
    if arm != "reflection" and len(seeds) > 1:
        gains = [100 * (_mean(reflection[seed]) - _mean(own[seed])) for seed in seeds]
        half = t.ppf(0.975, len(gains) - 1) * _deviation(gains) / math.sqrt(len(gains))
        p = ttest_rel([_mean(reflection[s]) for s in seeds], [_mean(own[s]) for s in seeds]).pvalue
        better = sum(reflection[s][q] and not own[s][q] for s in seeds for q in own[s])
        worse = sum(own[s][q] and not reflection[s][q] for s in seeds for q in own[s])
        exact = binomtest(better, better + worse).pvalue if better + worse else 1.0
        mean = _average(gains)
        line += (
            f"; reflection gains {mean:+.1f} ({mean - half:+.1f} to {mean + half:+.1f}), "
            f"paired t p={p:.2g}, McNemar {better}:{worse} p={exact:.2g}"
        )
    print(line)


def _mean(correct: Mapping[str, bool]) -> float:
    return sum(correct.values()) / len(correct)


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    if len(values) < 2:
        return math.nan
    mean = _average(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def main() -> None:
    """Run cells, or print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("run", "table"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--regimes", nargs="+", default=list(REGIMES), choices=list(REGIMES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=[*ARMS, *ABLATION])
    arguments = parser.parse_args()
    verbs: Mapping[str, Callable[[], None]] = {
        "run": lambda: run(arguments.out, arguments.regimes, arguments.seeds, arguments.arms),
        "table": lambda: table(arguments.out),
    }
    verbs[arguments.verb]()


if __name__ == "__main__":
    main()
