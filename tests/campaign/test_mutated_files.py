"""Thousands of damaged files through the functions that commands use: a wrong file is one error of ours, or is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from numpy.random import Generator

from tinythinker.core.errors import TinyThinkerError
from tinythinker.core.run import RunDirectory
from tinythinker.core.seeds import stream
from tinythinker.settings.resolve import load_settings, parse_override, validate
from tinythinker.study.grid import read_grid
from tinythinker.tasks.official import read_official
from tinythinker.tasks.tables.own import read_own
from tinythinker.teacher.llm.prompt import make_prompt
from tinythinker.teacher.rationales import read_rationales

pytestmark = pytest.mark.slow

QUESTION_FILES, YAML_FILES = 5_000, 2_000

JSONL = (
    '{"id": "q1", "question": "Where is snow?", "options": ["desert", "mountain"], "answer": "B"}\n'
    '{"question": "How many legs?", "options": {"A": "3", "B": "4", "C": "5"}, "answer": "4"}\n'
    '{"id": 7, "question": "Wo \\u00fcberall?", "options": ["up", "down", "left"], "answer": 0}\n'
)
CSV = (
    "id,question,A,B,C,answer\n"
    "q1,Where is snow?,desert,mountain,,B\n"
    'q2,"Which, ""really""?",up,down,left,down\n'
    "q3,\u00dcber was?,eins,zwei,drei,C\n"
)
CSV_JSON = 'question,options,answer\nWhere?,"[""up"", ""down""]",0\n'
RATIONALES = (
    '{"question_id": "q1", "recall": "Snow lies high.", "analyses": ["too hot.", "cold."], "label": "B"}\n'
    '{"question_id": "q2", "recall": "Down is below."}\n'
)
CHOICES = (
    '{"id": "c1", "question": {"stem": "Where?", "choices": [{"label": "A", "text": "up"}, {"label": "B", '
    '"text": "down"}]}, "answerKey": "B", "fact1": "Down is below."}\n'
)
YES_NO = '[{"qid": "y1", "question": "Is it so?", "answer": true, "facts": ["It is.", "So is it."]}]\n'
MANIFEST = (
    '{"settings": {"task": "csqa", "seed": 1}, "begun": {"teach": {"seed": 1}}, "versions": {"torch": "2"},'
    ' "git": null, "inputs": {"a.jsonl": "00"}, "seconds": {"teach": 1.5}}\n'
)
SETTINGS = (
    "seed: 3\n"
    "teacher: {source: openai, llm: {model: x, samples: 2, temperature: null}}\n"
    "train: &t {epochs: 2, learning_rate: 1e-4}\n"
    "student:\n  name: a/b\n  lora: {rank: 2, targets: [q, v]}\n"
    "reflect: {temperature: [0.7, 0.9], stages: [recall, analyze]}\n"
)
STUDY = (
    "task: storeroom\n"
    "settings: {storeroom: {train: 200}, train.max_steps: 50}\n"
    "methods: {cot: null, mine: {stages.plan: summarize, reflect.rounds: 0}}\n"
    "seeds: [0, 1]\nbudget: flops\nvary: {storeroom.options: [2, 4]}\nreference: cot\n"
)
PROMPT = (
    "instruction: >\n  Explain the answer.\n"
    "request: {reasoning_effort: low, logit_bias: {'50256': -100}}\n"
    "examples:\n"
    "  - question: Is ice cold?\n    options: ['yes', 'no']\n    answer: A\n"
    "    recall: Ice is frozen water.\n    analyses: [it is frozen., it is frozen.]\n"
)
WORDS = (
    *(
        "!!int z",
        "!!timestamp 1",
        "!!binary x",
        "!!python/object/apply:os.system ['exit 7']",
        "2024-02-30",
        "&a ",
        "*a",
    ),
    *(
        "[" * 1500,
        "{" * 1500,
        "- " * 1500,
        "? ",
        "<<: ",
        "\t",
        "\0",
        "\x07",
        "\ufeff",
        "\u2028",
        "\r",
        "\ud800",
        "\\ud800",
    ),
    *(
        "9" * 5000,
        "1e999",
        "NaN",
        ".inf",
        "Infinity",
        "null",
        "true",
        "''",
        '""',
        '"',
        "'",
        ",",
        ":",
        ": ",
        "\n",
        "---\n",
    ),
    *("%YAML 9.9\n", "|", ">", "#", "\\", '\\"', "\\uZZZZ", "a" * 300_000, "A", "0", "-1", "id", "options", "answer"),
)


def mutated(text: str, draw: Generator) -> bytes:
    """The text with one to four faults, in UTF-8 most of the time."""
    for _ in range(int(draw.integers(1, 5))):
        start, end = sorted(int(i) for i in draw.integers(0, len(text) + 1, 2))
        end = min(end, start + int(draw.integers(0, 40)))
        kind = int(draw.integers(0, 6))
        if kind == 0:
            text = text[:start] + text[end:]
        elif kind == 1:
            text = text[:end] + text[start:end] + text[end:]
        elif kind == 2:
            text = text[:start] + chr(int(draw.integers(0, 0x300))) + text[start + 1 :]
        elif kind == 3:
            lines = text.splitlines(keepends=True)
            draw.shuffle(lines)
            text = "".join(lines)
        else:
            text = text[:start] + WORDS[int(draw.integers(0, len(WORDS)))] + text[end if kind == 4 else start :]
    content = text.encode("utf-8", "surrogatepass")
    fault = int(draw.integers(0, 40))
    if fault == 0:
        return text.encode("utf-16", "surrogatepass")
    if fault == 1:
        return text.encode("latin-1", "replace")
    if fault == 2:
        return content[: int(draw.integers(0, len(content) + 1))]
    return content


def outcome(read: Callable[[Path], object], file: Path) -> str:
    """`read`, or the kind of error; the message of an error is one short line without a traceback."""
    try:
        read(file)
    except TinyThinkerError as error:
        message = str(error)
        assert 0 < len(message) < 2_000, message[:3_000]
        assert not re.search(r"\n|Traceback", message), message
        return type(error).__name__
    return "read"


def campaign(name: str, count: int, folder: Path, targets: Sequence[tuple[str, str, Callable[[Path], object]]]) -> None:
    """Damage each target's text in turn, `count` files in all, and print how they were received."""
    counts: Counter[tuple[str, str]] = Counter()
    for number in range(count):
        file_name, text, read = targets[number % len(targets)]
        file = folder / file_name
        file.write_bytes(mutated(text, stream(0, name, str(number))))
        try:
            counts[file_name, outcome(read, file)] += 1
        except BaseException:
            print(f"{name} {number}: {file.read_bytes()[:2_000]!r}")
            raise
    for (file_name, result), times in sorted(counts.items()):
        print(f"{name}: {file_name}: {result} {times}")
    assert {result for _, result in counts} > {"read"}


def test_a_damaged_question_or_rationale_file_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    campaign(
        "questions",
        QUESTION_FILES,
        tmp_path,
        [
            ("a.jsonl", JSONL, read_own),
            ("b.csv", CSV, read_own),
            ("c.csv", CSV_JSON, read_own),
            ("rationales.jsonl", RATIONALES, read_rationales),
            ("choices.jsonl", CHOICES, read_official),
            ("yes-no.json", YES_NO, read_official),
            ("manifest.json", MANIFEST, lambda file: validate(RunDirectory(file.parent).manifest().settings)),
        ],
    )


def test_a_damaged_yaml_file_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    def prompt(file: Path) -> object:
        settings = load_settings(
            "csqa", ["teacher.source=openai", "teacher.llm.model=x", f"teacher.llm.prompt={file}", "teacher.path=null"]
        )
        return make_prompt(settings, []).hash

    def override(file: Path) -> object:
        text = file.read_bytes().decode("utf-8", "replace").replace("\0", "")
        return parse_override(f"a={text}"), load_settings("csqa", [f"teacher.licence={text}"])

    campaign(
        "yaml",
        YAML_FILES,
        tmp_path,
        [
            ("settings.yaml", SETTINGS, lambda file: load_settings("csqa", [], file)),
            ("study.yaml", STUDY, lambda file: read_grid(str(file))),
            ("prompt.yaml", PROMPT, prompt),
            ("override.txt", "[recall, {a: 1}, 'x']", override),
        ],
    )
