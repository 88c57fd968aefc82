"""Settings -> the questions of a task, split into train, valid and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinythinker.core.errors import DataError, SettingsError, expected
from tinythinker.core.records import SPLITS, Question
from tinythinker.core.seeds import stream
from tinythinker.settings.schema import RunSettings
from tinythinker.tasks.choice_jsonl import Entry, from_hub, read_choice_jsonl
from tinythinker.tasks.storeroom import Storeroom, build_questions, build_storeroom
from tinythinker.tasks.strategyqa import read_strategyqa
from tinythinker.tasks.tables.own import read_own

CSQA_VALID = 1221
"""Official training questions of CommonsenseQA that become validation (METHOD section 2)."""


@dataclass(frozen=True)
class Task:
    """A task's questions by split, and what else its files say."""

    splits: Mapping[str, Sequence[Question]]
    facts: Mapping[str, str]
    """The fact a question was made from, by question id, where the benchmark has one."""
    inputs: tuple[Path, ...] = ()
    """Files that were read."""
    world: Storeroom | None = None
    """Storeroom's facts."""


def load_world(settings: RunSettings) -> Storeroom | None:
    """The facts behind a task, where they are known: Storeroom's. The same for the same settings."""
    return build_storeroom(settings.storeroom, settings.seed) if settings.task == "storeroom" else None


def load_task(settings: RunSettings) -> Task:
    """Read or make the questions of a task.

    Raises:
        DataError: a file is missing or wrong; the message names it, and the line.
        SettingsError: the settings ask for what the task cannot give.
    """
    if settings.task == "storeroom":
        world = build_storeroom(settings.storeroom, settings.seed)
        task = Task(build_questions(world, settings.storeroom, settings.seed), {}, world=world)
    elif settings.task in _BENCHMARKS:
        task = _BENCHMARKS[settings.task](settings)
    else:
        task = _own(settings)
    _check(task)
    limit = settings.limit
    limits = {"train": limit.train, "valid": limit.valid or limit.train, "test": limit.test}
    splits = {name: draw(task.splits[name], limits[name], settings.seed, name) for name in SPLITS}
    return Task(splits, task.facts, task.inputs, task.world)


def draw(questions: Sequence[Question], limit: int | None, seed: int, name: str) -> list[Question]:
    """A seeded draw of at most `limit` questions, in their own order."""
    if limit is None or limit >= len(questions):
        return list(questions)
    kept = stream(seed, "limit", name).permutation(len(questions))[:limit]
    return [questions[i] for i in sorted(kept)]


def divide(questions: Sequence[Question], shares: Mapping[str, int], seed: int) -> dict[str, list[Question]]:
    """Divide questions at random: the named numbers, and `train` for the rest; file order within each.

    Raises:
        DataError: nothing would be left for a split.
    """
    order = [int(i) for i in stream(seed, "split").permutation(len(questions))]
    divided: dict[str, list[Question]] = {}
    for name, count in shares.items():
        divided[name] = [questions[i] for i in sorted(order[:count])]
        order = order[count:]
    divided["train"] = [questions[i] for i in sorted(order)]
    for name, some in divided.items():
        if not some:
            raise DataError(
                expected(f"{name} split", f"no question of {len(questions)}", "at least one; add questions")
            )
    return divided


def _check(task: Task) -> None:
    """Ids must be unique over all splits, and every question here must have its answer."""
    counts = Counter(question.id for questions in task.splits.values() for question in questions)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        more = f" and {len(repeated) - 1} more" if len(repeated) > 1 else ""
        raise DataError(
            f"questions: found id {repeated[0]!r} {counts[repeated[0]]} times{more}, expected every id once"
        )
    for questions in task.splits.values():
        for question in questions:
            if question.gold is None:
                raise DataError(expected(f"question {question.id}, gold", None, f"one of {question.labels}"))


def _files(settings: RunSettings, title: str, *choices: Sequence[str]) -> list[Path]:
    """The official files in data_dir; each choice lists names of which the first that is there is taken."""
    folder = settings.data_dir
    if folder is None:
        raise AssertionError("callers read files only where there is a data_dir")
    found = []
    for names in choices:
        there = [folder / name for name in names if (folder / name).is_file()]
        if not there:
            wanted = ", ".join(names[0] for names in choices)
            raise DataError(f"data_dir {folder}: found no {' or '.join(names)}, expected the {title} files {wanted}")
        found.append(there[0])
    return found


def _fetch(
    settings: RunSettings, title: str, files: str, source: str, get: Callable[[], list[list[Entry]]]
) -> list[list[Entry]]:
    """Ask the Hugging Face Hub, and say what to do instead where it does not answer."""
    try:
        return get()
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise DataError(
            f"task {settings.task}: found no data_dir, and the Hugging Face Hub did not answer ({reason}); expected a "
            f"network, or data_dir=FOLDER with the official {title} files {files} (from {source})"
        ) from None


def _hub(name: str, config: str | None, splits: Sequence[str]) -> list[list[Entry]]:
    from datasets import load_dataset  # seconds to import, and seldom needed

    data = load_dataset(name, config)
    return [from_hub(data[split]) for split in splits]


def _csqa(settings: RunSettings) -> Task:
    """CommonsenseQA: validation drawn from the official training questions, the official dev set as test."""
    inputs: list[Path] = []
    if settings.data_dir is None:
        train, test = _fetch(
            settings,
            "CommonsenseQA",
            "train_rand_split.jsonl and dev_rand_split.jsonl",
            "https://www.tau-nlp.org/commonsenseqa",
            lambda: _hub("tau/commonsense_qa", None, ("train", "validation")),
        )
    else:
        inputs = _files(settings, "CommonsenseQA", ["train_rand_split.jsonl"], ["dev_rand_split.jsonl"])
        train, test = map(read_choice_jsonl, inputs)
    questions = [entry.question for entry in train]
    valid = min(CSQA_VALID, max(1, len(questions) // 5))
    divided = divide(questions, {"valid": valid}, settings.seed)
    return Task({**divided, "test": [entry.question for entry in test]}, {}, tuple(inputs))


def _obqa(settings: RunSettings) -> Task:
    """OpenBookQA: the official splits, and the core fact of each question where the `_complete` files are there."""
    inputs: list[Path] = []
    if settings.data_dir is None:
        parts = _fetch(
            settings,
            "OpenBookQA",
            "train_complete.jsonl, dev_complete.jsonl and test_complete.jsonl",
            "https://allenai.org/data/open-book-qa",
            lambda: _hub("allenai/openbookqa", "additional", ("train", "validation", "test")),
        )
    else:
        names = [[f"{part}_complete.jsonl", f"{part}.jsonl"] for part in ("train", "dev", "test")]
        inputs = _files(settings, "OpenBookQA", *names)
        parts = [read_choice_jsonl(path) for path in inputs]
    splits = {name: [entry.question for entry in part] for name, part in zip(SPLITS, parts, strict=True)}
    return Task(splits, _facts([entry for part in parts for entry in part]), tuple(inputs))


def _strategyqa(settings: RunSettings) -> Task:
    """StrategyQA: the labelled questions shuffled 80/10/10."""
    if settings.data_dir is None:
        (entries,) = _fetch(
            settings,
            "StrategyQA",
            "strategyqa_train.json",
            "https://allenai.org/data/strategyqa",
            lambda: [read_strategyqa(_hub_file("voidful/StrategyQA", "strategyqa_train.json"))],
        )
        inputs: list[Path] = []
    else:
        inputs = _files(settings, "StrategyQA", ["strategyqa_train.json"])
        entries = read_strategyqa(inputs[0])
    tenth = len(entries) // 10
    divided = divide([entry.question for entry in entries], {"valid": tenth, "test": tenth}, settings.seed)
    return Task(divided, _facts(entries), tuple(inputs))


def _hub_file(name: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(name, file, repo_type="dataset"))


def _own(settings: RunSettings) -> Task:
    """One file divided by shares, or with files of their own for validation and test."""
    split, path = settings.split, Path(settings.task)
    inputs = [path]
    questions = read_own(path)
    given = {name: file for name, file in (("valid", split.valid_file), ("test", split.test_file)) if file is not None}
    shares = {
        name: max(1, round(share * len(questions)))
        for name, share in (("valid", split.valid), ("test", split.test))
        if name not in given
    }
    if sum(shares.values()) >= len(questions):
        raise DataError(expected(str(path), f"{len(questions)} question(s)", "enough for train, valid and test"))
    splits = divide(questions, shares, settings.seed)
    for name, file in given.items():
        if file.resolve() == path.resolve():
            raise SettingsError(expected(f"split.{name}_file", str(file), "another file than the training questions"))
        splits[name] = read_own(file, f"{name}-")
        inputs.append(file)
    return Task(splits, {}, tuple(inputs))


def _facts(entries: Sequence[Entry]) -> dict[str, str]:
    return {entry.question.id: entry.fact for entry in entries if entry.fact is not None}


_BENCHMARKS: Mapping[str, Callable[[RunSettings], Task]] = {"csqa": _csqa, "obqa": _obqa, "strategyqa": _strategyqa}
