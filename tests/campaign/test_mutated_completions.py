"""Twenty thousand mutated completions: each is accepted whole or rejected with a flaw, quickly, and never an exception.

An accepted one gives a recall and one analysis per option, each a line of text without control characters, code fences
or NULs, and calls exactly one option correct.
"""

from __future__ import annotations

import random
import time
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from numpy.random import Generator

from tests.conftest import ask
from tinythinker.core.records import LABELS, Option, Question, Rationale, Rejected
from tinythinker.core.seeds import stream
from tinythinker.teacher.llm.parse import parse_completion, parse_structured, render_completion, render_structured

pytestmark = pytest.mark.slow

COMPLETIONS = 20_000
MOST_SECONDS = 0.5
"""For one completion of at most some 20,000 characters, on a machine that others use too."""
CORPUS = Path(__file__).parents[1] / "teacher" / "llm"
PIECES = (
    *("```", "```json\n", "~~~", "\0", "\x1b[31m", "\u202e", "\u200b", "\ufeff", "\ud800", "\u2028", "\r\n", "\n\n"),
    *("Key Information:", "Key Information: it is so.", "A is correct. Because it is.", "B is incorrect. Because no."),
    *("The answer is B.", "So option A is wrong.", "C is correct", "Correct answer: C", "</think>", "<think>"),
    *('{"key_information": "x"', '"options": [', "}", "]", '"', "\\", "\\u0000", "null", "NaN", "9" * 400, "[" * 2_000),
    *("-" * 5_000, "*" * 5_000, " " * 5_000, "A is " * 1_000, "not " * 500, "(A) " * 500, "A. B. C. " * 300),
)


def corpus() -> list[tuple[str, Question]]:
    """Completions with their questions: the two labelled corpora, and generated ones in both forms."""
    safe = ask("Where do people keep money?", "bank", "tree", "high school")
    read = yaml.safe_load((CORPUS / "completions.yaml").read_text())
    found = [(str(one["text"]), safe) for part in read.values() if isinstance(part, list) for one in part]
    halves: dict[str, Any] = yaml.safe_load((CORPUS / "contradictions.yaml").read_text())["halves"]
    good: list[tuple[Question, Rationale]] = []
    for half in halves.values():
        for one in half["questions"]:
            question = ask(one["stem"], *one["options"], gold=one["gold"], id=one["id"])
            analyses = tuple(one["analyses"])
            good.append((question, Rationale(question_id=one["id"], recall=one["recall"], analyses=analyses)))
    for number in range(100):
        draw = random.Random(number)
        count = draw.randrange(2, 9)
        options = tuple(Option(label=label, text=f"thing {draw.random()}") for label in LABELS[:count])
        question = Question(id=f"g{number}", stem="Which?", options=options, gold=draw.choice(LABELS[:count]))
        analyses = tuple(f"because of {draw.random()}" for _ in options)
        good.append((question, Rationale(question_id=question.id, recall="it is known.", analyses=analyses)))
    for question, rationale in good:
        found += [(render(question, rationale), question) for render in (render_completion, render_structured)]
    return found


def mutated(text: str, other: str, draw: Generator) -> str:
    """A text with up to four faults: parts gone, twice, elsewhere or foreign, lines shuffled, a sign changed."""
    for _ in range(int(draw.integers(0, 5))):
        start, end = sorted(int(i) for i in draw.integers(0, len(text) + 1, 2))
        piece = PIECES[int(draw.integers(0, len(PIECES)))]
        kind = int(draw.integers(0, 8))
        if kind == 0:
            text = text[:start] + text[min(end, start + 30) :]
        elif kind == 1:
            text = text[:end] + text[start:end] + text[end:]
        elif kind == 2:
            text = text[:start] + chr(int(draw.integers(0, 0x3000))) + text[start + 1 :]
        elif kind == 3:
            lines = text.split("\n")
            draw.shuffle(lines)
            text = "\n".join(lines)
        elif kind == 4:
            text = text[:start] + other[start:end] + text[start:]
        elif kind == 5:
            text = text[:start] + text[start:end].swapcase() + text[end:]
        else:
            text = text[:start] + piece + text[start if kind == 6 else end :]
    return text[:20_000]


def faults(rationale: Rationale, question: Question) -> list[str]:
    """What is wrong with an accepted rationale."""
    texts = [rationale.recall, *rationale.analyses]
    found = [] if len(rationale.analyses) == len(question.options) else ["not one analysis per option"]
    if rationale.label not in question.labels:
        found.append(f"label {rationale.label}")
    for text in texts:
        if not text.strip():
            found.append("an empty text")
        if "```" in text or any(unicodedata.category(sign) in ("Cc", "Cs", "Cf", "Zl", "Zp") for sign in text):
            found.append(f"a fence or control character in {text[:200]!r}")
        text.encode()
    return found


def test_mutated_completions_are_accepted_whole_or_rejected_with_a_flaw() -> None:
    texts = corpus()
    counts: Counter[str] = Counter()
    slowest = (0.0, "")
    wrong = []
    for number in range(COMPLETIONS):
        draw = stream(0, "completions", str(number))
        text, question = texts[number % len(texts)]
        changed = mutated(text, texts[int(draw.integers(0, len(texts)))][0], draw)
        for name, read in (("plain", parse_completion), ("structured", parse_structured)):
            began = time.process_time()
            try:
                found = read(changed, question)
            except Exception as error:  # noqa: BLE001
                wrong.append(f"{name} {number}: {type(error).__name__}: {error}: {changed[:300]!r}")
                continue
            slowest = max(slowest, (time.process_time() - began, f"{name} {number}"))
            if isinstance(found, Rejected):
                counts[f"{name}: rejected, {found.flaw}"] += 1
                continue
            counts[f"{name}: accepted"] += 1
            wrong += [f"{name} {number}: {fault}" for fault in faults(found, question)]
    print(f"{len(texts)} completions in the corpus; {COMPLETIONS} mutated, each read in both ways")
    for outcome, times in sorted(counts.items()):
        print(f"{outcome}: {times}")
    print(f"slowest: {slowest[0]:.3f} s ({slowest[1]})")
    assert wrong == []
    assert slowest[0] < MOST_SECONDS
    assert all(counts[f"{name}: accepted"] > COMPLETIONS / 20 for name in ("plain", "structured"))
