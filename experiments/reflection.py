"""When does phase 2 help? Three regimes of Storeroom, controls with as many steps, and the ablation.

Every cell (regime, seed, arm) is a run directory; phase 1 is trained once per regime and seed. Run a killed
study again to resume it. Test questions decide no choice.

    python -m experiments.reflection run OUT --regimes a b c --seeds 0 1 2 3 4
    python -m experiments.reflection table OUT
"""

from __future__ import annotations

import argparse
import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import binomtest, ttest_rel

from tinythinker import api
from tinythinker.acquire.curriculum import curriculum_of
from tinythinker.acquire.phase_1 import phase_1_training
from tinythinker.core.files import read_records
from tinythinker.core.progress import say
from tinythinker.core.records import Question, Verdict
from tinythinker.core.run import RunDirectory
from tinythinker.core.seeds import derive_seed
from tinythinker.evaluate.verdicts import greedy_accuracy
from tinythinker.settings.resolve import validate
from tinythinker.settings.schema import RunSettings, TrainSettings
from tinythinker.student.load import load_student
from tinythinker.teacher.rationales import read_rationales
from tinythinker.train.loop import fit

REGIMES: Mapping[str, tuple[str, ...]] = {
    "a": (),
    "b": ("storeroom.annotated=1.0", "storeroom.wrong=0.3"),
    "c": ("storeroom.annotated=1.0", "train.max_steps=160"),
}
"""a: 70% of the things annotated (the preset); b: all annotated, but three in ten rationales wrong; c: all
annotated correctly, but phase 1 stopped early."""

ARMS: Mapping[str, tuple[str, ...]] = {
    "reflection": (),
    "self-training": ("reflect.loss=none",),
    "continued": (),
}
"""What follows phase 1. Two controls: pairs made in the same way, but trained on without a preference loss
(self-training); phase 1 for as many steps (continued)."""

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
"""Each departs in one respect from the preset's phase 2: recall pairs, alpha 1, beta 0.1, reference previous,
temperature 1."""

CONTINUED_RATE = 1e-3
"""Peak learning rate of the continued phase 1: the same as in phase 1."""


def run(out: Path, regimes: Sequence[str], seeds: Sequence[int], arms: Sequence[str]) -> None:
    """Run every cell that is not finished yet."""
    for regime, seed in itertools.product(regimes, seeds):
        base = RunDirectory(out / f"{regime}-{seed}" / "phase-1")
        api.start("storeroom", base.root, *REGIMES[regime], f"seed={seed}")
        api.teach(base)
        api.train(base)
        for arm in arms:
            folder = out / f"{regime}-{seed}" / arm.replace(" ", "-")
            if not folder.exists():
                shutil.copytree(base.root, folder.with_name(folder.name + ".tmp"), dirs_exist_ok=True)
                folder.with_name(folder.name + ".tmp").rename(folder)
            say(f"{regime}, seed {seed}: {arm}")
            cell = RunDirectory(folder)
            if arm == "continued":
                _continue(cell)
            else:
                api.reflect(cell, *{**ARMS, **ABLATION}[arm])
            api.evaluate(cell)


def _continue(cell: RunDirectory) -> None:
    """Continue phase 1 for as many steps as all rounds of phase 2; the best student becomes `round-1`."""
    settings: RunSettings = validate(cell.manifest().settings)
    if cell.round(1).is_finished:
        return
    student = load_student(cell.phase_1.student)
    questions = read_records(cell.questions("train"), Question)
    valid = read_records(cell.questions("valid"), Question)
    seed = derive_seed(settings.seed, "continued")
    curriculum = curriculum_of(
        settings.model_copy(update={"seed": seed}), questions, read_rationales(cell.rationales)[1]
    )
    steps = settings.reflect.rounds * (settings.reflect.max_steps or 0)
    optim: Mapping[str, object] = settings.train.model_dump() | {
        "max_steps": steps,
        "validate_every": settings.reflect.validate_every,
        "learning_rate": CONTINUED_RATE,
    }
    training = phase_1_training(
        student,
        settings,
        curriculum.epoch,
        cycle=steps,
        validate=lambda: greedy_accuracy(student, valid),
        name="continued",
        keep_start=True,
    )
    fit(student, training, TrainSettings.model_validate(optim), seed=seed, folder=cell.round(1))


Answers = Mapping[str, bool]
"""Whether each test question was answered correctly, by question id."""


def _answers(cell: Path, student: str) -> Answers | None:
    """The answers of the student with this name (`last`: the last one); None if it has not been tested."""
    run_ = RunDirectory(cell)
    name = f"round-{max(run_.rounds(), default=0)}" if student == "last" else student
    file = run_.verdicts(f"{name}.test.greedy")
    if not file.exists():
        return None
    return {verdict.question_id: verdict.is_correct for verdict in read_records(file, Verdict)}


def table(out: Path) -> None:
    """Print accuracy by regime and arm, and the gain of `reflection` over each other arm."""
    for regime, settings in REGIMES.items():
        print(f"\nregime {regime}: {' '.join(settings) or 'the preset'}")
        by_arm: dict[str, dict[int, Answers]] = {}
        for folder in sorted(out.glob(f"{regime}-*")):
            seed = int(folder.name.split("-")[1])
            for arm in ("phase 1", *ARMS, *ABLATION):
                is_start = arm == "phase 1"
                cell = folder / ("reflection" if is_start else arm.replace(" ", "-"))
                answers = _answers(cell, "phase-1" if is_start else "last")
                if answers is not None:
                    by_arm.setdefault(arm, {})[seed] = answers
        for arm, own in by_arm.items():
            print(_row(arm, own) + (_gain(by_arm.get("reflection", {}), own) if arm != "reflection" else ""))


def _accuracies(answers: Mapping[int, Answers], seeds: Sequence[int]) -> list[float]:
    return [100 * mean(answers[seed].values()) for seed in seeds]


def _row(arm: str, own: Mapping[int, Answers]) -> str:
    accuracies = _accuracies(own, list(own))
    spread = f"{stdev(accuracies):.1f}" if len(own) > 1 else "-"
    each = " ".join(f"{accuracy:.1f}" for accuracy in accuracies)
    return f"{arm:<26}{mean(accuracies):5.1f}  sd {spread:>4}  ({each})"


def _gain(reflection: Mapping[int, Answers], other: Mapping[int, Answers]) -> str:
    """Mean gain with its 95% interval over seeds (paired t), and McNemar's exact test over all questions."""
    seeds = [seed for seed in other if seed in reflection]
    if len(seeds) < 2:
        return ""
    ours, theirs = _accuracies(reflection, seeds), _accuracies(other, seeds)
    test = ttest_rel(ours, theirs)
    low, high = test.confidence_interval(0.95)
    pairs = [(reflection[seed][id_], right) for seed in seeds for id_, right in other[seed].items()]
    better, worse = pairs.count((True, False)), pairs.count((False, True))
    exact = binomtest(better, better + worse).pvalue if better + worse else 1.0
    gain = mean(our - their for our, their in zip(ours, theirs, strict=True))
    return f"; reflection {gain:+.1f} ({low:+.1f} to {high:+.1f}), p {test.pvalue:.2g}; {better}:{worse}, p {exact:.2g}"


def main() -> None:
    """Run the cells, or print their results."""
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
