"""One self-contained HTML report from a run directory, finished or not."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml

from tinythinker.core.files import iterate_records, read_record
from tinythinker.core.metrics import TrainingData, read_metrics
from tinythinker.core.progress import say
from tinythinker.core.records import Question, Rationale, Rejected, Verdict
from tinythinker.core.run import RunDirectory
from tinythinker.evaluate.answered import read_results, student_order
from tinythinker.evaluate.faithfulness import Faithfulness
from tinythinker.evaluate.guessing import Guessing, guessing
from tinythinker.evaluate.score import first_wrong_stage
from tinythinker.evaluate.vote import tally
from tinythinker.report.cards import Cards, interval, percent
from tinythinker.report.charts import (
    accuracy_bars,
    first_wrong_bars,
    preference_curves,
    token_bars,
    training_curves,
    vote_curves,
)
from tinythinker.report.html import render
from tinythinker.report.standing import Standing, progress_of
from tinythinker.report.tested import Results, Round, Tested, in_plain, read_rounds, read_tested
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


def _unfinished(run: RunDirectory, results: Results) -> list[str]:
    """One line on every unfinished file of verdicts."""
    return [
        f"{run.verdicts(name)}: evaluate is unfinished: {len(answered.verdicts)} of {answered.count_questions} "
        f"questions answered; run `tinythinker evaluate {run.root}` again"
        for name, answered in results.items()
        if not answered.is_finished
    ]


def write_page(run: RunDirectory, *, reload_every: int | None = None) -> None:
    """Write `report.html`; says which verdicts are unfinished, and shows only finished ones.

    Args:
        reload_every: seconds after which a browser loads the page again; None: it does not.

    Raises:
        DataError: the directory is not a run, or a file in it is damaged.
    """
    manifest = run.manifest()
    run.refuse_damage(*run.final("teach", "train", "reflect"))
    beside, own = {inner.root.name: read_results(inner) for inner in run.inner_runs()}, read_results(run)
    unfinished = _unfinished(run, own)
    for inner in run.inner_runs():
        unfinished += _unfinished(inner, beside[inner.root.name])
    for line in unfinished:
        say(f"report: {line}")
    tested, rounds = read_tested(run, beside, own), read_rounds(run)
    run.write_report(
        render(
            "report/page.jinja",
            reload_every=reload_every,
            manifest=manifest,
            name=run.root.resolve().name,
            task=manifest.settings["task"],
            progress=progress_of(run, manifest, own),
            results=_results_table(tested) if tested else None,
            votes=sorted({one.way.votes for one in tested if one.way.votes > 1}),
            unfinished=unfinished,
            has_facts=any(one.score.analyze_facts is not None for one in tested),
            figures=[figure for figure in _figures(run, tested, rounds) if figure],
            shown=_chains(run, tested),
            first_wrong_stage=first_wrong_stage,
            tally=tally,
            rounds=_rounds_table(rounds) if rounds else None,
            probes=_probes(run),
            in_plain=in_plain,
            quality=read_quality(run.quality) if run.quality.exists() else None,
            usage=read_usage(run.usage),
            header=read_header(run.rationales) if run.rationales.exists() else None,
            taught=_taught(run),
            data=read_record(run.phase_1.data, TrainingData) if run.phase_1.data.exists() else None,
            settings=yaml.safe_dump(manifest.settings, sort_keys=False, allow_unicode=True),
        ),
    )


def _results_table(tested: Sequence[Tested]) -> Cards:
    """A row per student and way of answering; of one that is an earlier student, only that it is."""
    has_facts = any(one.score.analyze_facts is not None for one in tested)
    facts = ("recalled facts right", "analyzed facts right") if has_facts else ()
    columns = ("student", "accuracy", "95% interval", "questions", "unreadable", "tokens per answer", *facts)
    rows = []
    for one in tested:
        s = one.score
        if one.same_as is not None:
            why = "rolled back: no step did better on the validation questions" if one.is_rolled_back else "no pairs"
            rows.append((one.name, f"{why}, so it is {one.same_as}, with the same results"))
            continue
        shares = (percent(s.recall_facts), percent(s.analyze_facts)) if has_facts else ()
        answers = (percent(s.accuracy), interval(s.low, s.high), f"{s.n:,}", percent(s.unreadable))
        tokens = (f"{s.tokens_per_answer:.1f}", *shares, percent(s.cut), percent(s.stopped))
        rows.append((one.name, *answers, *tokens))
    return Cards("Results of every student", (*columns, "prompts cut", "texts stopped"), tuple(rows))


def _rounds_table(rounds: Sequence[Round]) -> Cards:
    """A row per round of self-reflection."""
    has_replayed = any(own.counts.replayed for own in rounds)
    has_answers = any(own.counts.summarize_pairs for own in rounds)
    columns = (
        "round",
        "validation accuracy",
        "questions with pairs",
        "recall pairs",
        "analyze pairs",
        *(("summarize pairs",) if has_answers else ()),
        "chosen from the teacher",
        *(("pairs of earlier rounds",) if has_replayed else ()),
        "samples",
        "repeated",
        "unreadable",
        "tokens: chosen, rejected",
    )
    rows = []
    for own in rounds:
        c = own.counts
        pairs = c.pairs
        cells = (
            str(own.number),
            own.outcome,
            f"{c.questions_with_pairs:,} of {c.questions:,}",
            f"{c.recall_pairs:,}",
            f"{c.analyze_pairs:,}",
            *((f"{c.summarize_pairs:,}",) if has_answers else ()),
            percent(c.from_teacher / pairs if pairs else None),
            *((f"{c.replayed:,}",) if has_replayed else ()),
            f"{c.samples:,}",
            percent(c.repeated / c.samples if c.samples else None),
            percent(c.unreadable / c.samples if c.samples else None),
            f"{c.chosen_tokens:.1f}, {c.rejected_tokens:.1f}",
        )
        rows.append(cells)
    return Cards("Rounds of self-reflection", columns, tuple(rows))


def _figures(run: RunDirectory, tested: Sequence[Tested], rounds: Sequence[Round]) -> list[str | None]:
    figures: list[str | None] = []
    results = [one for one in tested if one.same_as is None]
    scores = {one.name: one.score for one in results}
    guesses = _guesses(run, {*(one.way.split for one in results), "valid"})
    for split in sorted({one.way.split for one in results}):
        some = {one.name: one.score.interval for one in results if one.way.split == split}
        figures.append(accuracy_bars(some, f"Accuracy on the {in_plain(split)} questions", guesses.get(split)))
    if results:
        split = results[-1].way.split
        figures += [token_bars(scores), first_wrong_bars(scores), vote_curves(scores, guesses.get(split))]
    on_valid = guesses.get("valid")
    figures.append(training_curves(read_metrics(run.phase_1.metrics), "Phase 1: reasoning acquisition", on_valid))
    metrics = {number: read_metrics(run.round(number).metrics) for number in run.begun_rounds()}
    figures.append(preference_curves(metrics))
    rolled_back = {own.number for own in rounds if own.is_rolled_back}
    for number, lines in metrics.items():
        end = " (rolled back)" if number in rolled_back else ""
        figures.append(training_curves(lines, f"Phase 2: self-reflection, round {number}{end}", on_valid))
    return figures


def _guesses(run: RunDirectory, splits: Collection[str]) -> dict[str, Guessing]:
    """What guessing scores on every split; nothing before `teach` has left the questions."""
    if not run.quality.exists():
        return {}
    train = read_questions(run, "train")
    return {split: guessing(read_questions(run, split), train) for split in splits}


def _chains(run: RunDirectory, tested: Sequence[Tested]) -> list[Shown]:
    """A sample of questions, some answered wrong, with the chains of the run's first and its last student.

    Of students that answered in several ways, greedy answers to the test questions are preferred.
    """
    own = [one for one in tested if one.is_own and one.same_as is None]
    if not own:
        return []
    greedy = [one for one in own if (one.way.split, one.way.temperature, one.way.plan) == ("test", None, None)]
    last = (greedy or own)[-1]
    alike = [one for one in own if one.way[1:] == last.way[1:]]
    ends = alike if len(alike) < 3 else [alike[0], alike[-1]]
    by_name = {one.name: {verdict.question_id: verdict for verdict in one.verdicts} for one in ends}
    return _mixed(
        [
            Shown(question, {name: by_id[question.id] for name, by_id in by_name.items()})
            for question in read_questions(run, last.way.split)
        ]
    )


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


def keep_page(run: RunDirectory, seen: Iterable[Standing], *, every: int = 15) -> Iterator[Standing]:
    """Hand on where a run stands, and meanwhile keep `report.html` up to date; at the end it stops loading itself.

    Args:
        seen: as `standing.watch` gives it.
        every: seconds between two pages, and after which a browser loads the page again.

    Raises:
        DataError: a file of the run is damaged, or the page cannot be written.
    """
    written = -math.inf
    try:
        for standing in seen:
            if time.monotonic() - written >= every:
                write_page(run, reload_every=every)
                written = time.monotonic()
            yield standing
    finally:
        write_page(run)
