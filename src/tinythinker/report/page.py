"""One self-contained HTML report from a run directory, finished or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import yaml
from jinja2 import Environment

from tinythinker.core.files import iterate_records, read_record
from tinythinker.core.metrics import TrainingData, Validation, read_metrics
from tinythinker.core.progress import say
from tinythinker.core.records import Question, Rationale, Rejected, Verdict
from tinythinker.core.run import VERBS, Manifest, RunDirectory
from tinythinker.evaluate.answered import Answered, read_results, student_order
from tinythinker.evaluate.faithfulness import Faithfulness
from tinythinker.evaluate.score import Score, score
from tinythinker.reflect.pairs import PairCounts
from tinythinker.report.charts import (
    accuracy_bars,
    first_wrong_bars,
    preference_curves,
    token_bars,
    training_curves,
    vote_curves,
)
from tinythinker.settings.resolve import validate
from tinythinker.teacher.quality import read_quality
from tinythinker.teacher.rationales import read_header
from tinythinker.teacher.taught import read_questions, read_taught
from tinythinker.teacher.usage import read_usage

MOST_RATIONALES = 5
"""Number of kept rationales that the page shows."""
MOST_CHAINS = 60
"""Number of questions whose reasoning the page shows."""


@dataclass(frozen=True)
class Shown:
    """One question as the page shows it, with what each student wrote."""

    question: Question
    verdicts: Mapping[str, Verdict]

    @property
    def is_correct(self) -> bool:
        """Whether the last student answered correctly."""
        return list(self.verdicts.values())[-1].is_correct


@dataclass(frozen=True)
class Round:
    """One round of self-reflection as the page shows it."""

    number: int
    counts: PairCounts
    start: Validation | None
    """Validation of the student that the round started from; None if it does not compete (no rollback)."""
    best: Validation | None
    is_finished: bool

    @property
    def outcome(self) -> str:
        """The result in words."""
        if self.best is None:
            return "nothing to learn from" if self.is_finished else "under way"
        if self.start is None:
            return f"{100 * self.best.valid_accuracy:.1f}% (step {self.best.step})"
        start, best = f"{100 * self.start.valid_accuracy:.1f}%", f"{100 * self.best.valid_accuracy:.1f}%"
        if self.best.step:
            return f"{start} → {best} (step {self.best.step})"
        return f"{start}, " + ("rolled back" if self.is_finished else "nothing better yet")


def read_rounds(run: RunDirectory) -> list[Round]:
    """The rounds that have their pairs, in order."""
    shown = []
    for number in run.begun_rounds():
        folder = run.round(number)
        if not folder.counts.exists():
            continue
        metrics = read_metrics(folder.metrics)
        start = next((validation for validation in metrics.validations if validation.step == 0), None)
        counts = read_record(folder.counts, PairCounts)
        shown.append(Round(number, counts, start, metrics.best, folder.is_finished))
    return shown


Results = Mapping[str, Answered]
"""The verdicts of a run by file name, finished or not."""


def scores_of(beside: Mapping[str, Results], own: Results) -> dict[str, Score]:
    """Scores of the finished verdicts.

    Args:
        beside: of the runs inside the run's directory, by their names.
        own: of the run itself.
    """
    scores = {
        f"{inner} ({name})": score(answered.verdicts)
        for inner, results in beside.items()
        for name, answered in results.items()
        if answered.is_finished
    }
    return _short(scores | {name: score(some.verdicts) for name, some in own.items() if some.is_finished})


def _unfinished(run: RunDirectory, results: Results) -> list[str]:
    """One line on every unfinished file of verdicts."""
    return [
        f"{run.verdicts(name)}: evaluate is unfinished: {len(answered.verdicts)} of {answered.count_questions} "
        f"questions answered; run `tinythinker evaluate {run.root}` again"
        for name, answered in results.items()
        if not answered.is_finished
    ]


def _short(scores: Mapping[str, Score]) -> dict[str, Score]:
    """Shorter names if all students answered the test questions greedily; the names unchanged otherwise."""
    if all(name.rstrip(")").endswith(".test.greedy") for name in scores):
        plain = {name: name.replace(".test.greedy", "").replace(" (phase-1)", "") for name in scores}
        if len(set(plain.values())) == len(plain):
            return {plain[name]: found for name, found in scores.items()}
    return dict(scores)


def write_page(run: RunDirectory) -> None:
    """Write `report.html`; says which verdicts are unfinished, and shows only finished ones.

    Raises:
        DataError: the directory is not a run, or a file in it is damaged.
    """
    manifest = run.manifest()
    run.refuse_damage(*run.final("teach", "train", "reflect"))
    beside, own = {inner.root.name: read_results(inner) for inner in run.inner_runs()}, read_results(run)
    scores = scores_of(beside, own)
    unfinished = _unfinished(run, own)
    for inner in run.inner_runs():
        unfinished += _unfinished(inner, beside[inner.root.name])
    for line in unfinished:
        say(f"report: {line}")
    template = resources.files("tinythinker") / "report" / "page.jinja"
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        template.read_text(encoding="utf-8")
    )
    run.write_report(
        page.render(
            manifest=manifest,
            name=run.root.resolve().name,
            task=manifest.settings["task"],
            progress=_progress(run, manifest, own),
            scores=scores,
            unfinished=unfinished,
            has_facts=any(found.analyze_facts is not None for found in scores.values()),
            figures=[figure for figure in _figures(run, scores) if figure],
            shown=_chains(run, own),
            rounds=read_rounds(run),
            probes=_probes(run),
            quality=read_quality(run.quality) if run.quality.exists() else None,
            usage=read_usage(run.usage),
            header=read_header(run.rationales) if run.rationales.exists() else None,
            taught=_taught(run),
            data=read_record(run.phase_1.data, TrainingData) if run.phase_1.data.exists() else None,
            settings=yaml.safe_dump(manifest.settings, sort_keys=False, allow_unicode=True),
        ),
    )


def _progress(run: RunDirectory, manifest: Manifest, results: Results) -> list[tuple[str, str]]:
    """The state of every verb (`done`, `begun` or `not yet`) and its seconds."""
    wanted = validate(manifest.settings).reflect.rounds
    tested = [answered for name, answered in results.items() if ".test." in name]
    done = {
        "teach": run.quality.exists(),
        "train": run.phase_1.is_finished,
        "reflect": "reflect" in manifest.begun and len(run.rounds()) >= wanted,
        "evaluate": bool(tested) and all(answered.is_finished for answered in tested),
    }
    lines = []
    for verb in VERBS:
        state = "done" if done[verb] else "begun" if verb in manifest.begun else "not yet"
        if verb == "reflect" and wanted:
            state += f", {min(len(run.rounds()), wanted)} of {wanted} rounds"
        lines.append((verb, f"{state}, {manifest.seconds[verb]:.0f} s" if verb in manifest.seconds else state))
    return lines


def _figures(run: RunDirectory, scores: Mapping[str, Score]) -> list[str | None]:
    figures: list[str | None] = []
    if scores:
        figures += [accuracy_bars(scores), token_bars(scores), first_wrong_bars(scores), vote_curves(scores)]
    figures.append(training_curves(read_metrics(run.phase_1.metrics), "Phase 1: reasoning acquisition"))
    rounds = {number: read_metrics(run.round(number).metrics) for number in run.begun_rounds()}
    figures.append(preference_curves(rounds))
    for number, lines in rounds.items():
        figures.append(training_curves(lines, f"Phase 2: self-reflection, round {number}"))
    return figures


def _chains(run: RunDirectory, results: Results) -> list[Shown]:
    """A sample of test questions, some answered wrong, with the chains of the first and the last student."""
    verdicts = {name: found.verdicts for name, found in results.items() if found.is_finished}
    questions = {
        question.id: question
        for split in sorted({name.split(".")[1] for name in verdicts})
        for question in read_questions(run, split)
    }
    how = [name.partition(".")[2] for name in verdicts]
    usual = "test.greedy" if "test.greedy" in how else how[-1] if how else ""
    names = [name for name in verdicts if name.partition(".")[2] == usual]
    names = names if len(names) < 3 else [names[0], names[-1]]
    by_name = {name: {verdict.question_id: verdict for verdict in verdicts[name]} for name in names}
    shown = [
        Shown(questions[id_], {name.split(".")[0]: by_id[id_] for name, by_id in by_name.items() if id_ in by_id})
        for id_ in (by_name[names[-1]] if names else {})
    ]
    return _mixed(shown)


def _probes(run: RunDirectory) -> list[Faithfulness]:
    """Results of probing the run's students, in the order of the students."""
    files = sorted(run.probes.glob("*.json"), key=lambda path: student_order(path.stem))
    if run.probes.is_dir():
        run.refuse_damage(run.probes)
    return [read_record(file, Faithfulness) for file in files]


def _taught(run: RunDirectory) -> list[tuple[Question, Rationale | Rejected]]:
    """A few kept rationales, then one rejected completion per flaw, each with its question."""
    if not run.quality.exists():
        return []
    asked = read_questions(run, "train")
    questions = {question.id: question for question in asked}
    kept = read_taught(run, asked)
    step = max(1, len(kept) // MOST_RATIONALES)
    flaws: dict[str, Rejected] = {}
    for rejected in iterate_records(run.rejected, Rejected):
        flaws.setdefault(rejected.flaw, rejected)
    shown: list[Rationale | Rejected] = [*kept[::step][:MOST_RATIONALES], *flaws.values()]
    return [(questions[one.question_id], one) for one in shown if one.question_id in questions]


def _mixed(shown: Sequence[Shown]) -> list[Shown]:
    """At most `MOST_CHAINS` questions, up to half of them answered wrong, in their original order."""
    wrong = [i for i, one in enumerate(shown) if not one.is_correct][: MOST_CHAINS // 2]
    right = [i for i, one in enumerate(shown) if one.is_correct][: MOST_CHAINS - len(wrong)]
    return [shown[i] for i in sorted([*wrong, *right])]
