"""What earlier stages read is not read again, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.conftest import ARCHITECTURES, ask, tiny_of, tiny_recipe
from tinythinker.core.records import Stage
from tinythinker.generate import memory as module
from tinythinker.generate.memory import Known, Memory
from tinythinker.generate.state import begin
from tinythinker.generate.think import Draws, Thought, think
from tinythinker.generate.writer import StudentWriter
from tinythinker.student.student import Student

CAUSAL = [name for name in ARCHITECTURES if name != "t5"]
QUESTIONS = [
    ask("Where does rain go when it is wet and falls?", "up", "down", "nowhere", gold="B", id="q1"),
    ask("Where does wet rain go?", "down", "up", gold="A", id="q2"),
    ask("rain is wet and falls. Where does it go?", "up", "down", "nowhere", gold="C", id="q3"),
]
THOUGHTS = [Thought(question, sample) for question in QUESTIONS for sample in range(3)]
SAMPLED = Draws(1.0, 7, frozenset({Stage.RECALL, Stage.ANALYZE}))


def student_of(architecture: str, answer: str = "free") -> Student:
    """A student whose texts vary: larger weights, so that its distribution is not flat."""
    student = tiny_of(architecture, dropout=0.0)
    with torch.no_grad():
        for weight in student.model.parameters():
            weight.mul_(3)
    recipe = tiny_recipe(answer=answer)
    # In bfloat16 the last digits, and so a draw now and then, depend on what is computed together.
    generate = recipe.generate.model_copy(update={"bf16": "never"})
    student.recipe = recipe.model_copy(update={"max_prompt_tokens": 200, "generate": generate})
    return student


@pytest.mark.parametrize("architecture", CAUSAL)
@torch.inference_mode()
def test_a_remembered_beginning_gives_the_logits_of_a_plain_forward_pass(architecture: str) -> None:
    student = student_of(architecture)
    first = [[5, 6, 7, 8, 9, 10, 11, 12, 13], [20, 21, 22, 23, 24, 25, 26, 27, 28, 29]]
    state = begin(student, first)
    state.feed(torch.tensor([[14], [30]]))
    memory = Memory()
    state.store(memory, [1, 0], [[*first[1], 30], [*first[0], 14]])
    assert len(memory) == 2
    # Two prompts go on from the first text, one from the second, one breaks off early, and one is new.
    later = [
        [*first[0], 14, 40],
        [*first[0], 14, 41, 42],
        [*first[1], 30, 40],
        [*first[1][:8], 50, 51],
        [60, 61, 62],
    ]
    assert [memory.longest(row) for row in later] == [
        Known(0, 1, 10),
        Known(0, 1, 10),
        Known(0, 0, 11),
        Known(0, 0, 8),
        None,
    ]
    state = begin(student, later, memory=memory)
    state.feed(torch.full((5, 1), 33))
    for made, row in zip(state.logits, later, strict=True):
        plain = student.model(input_ids=torch.tensor([[*row, 33]])).logits[0, -1]
        assert torch.allclose(made, plain, atol=1e-4)


@pytest.mark.parametrize("answer", ["free", "constrained"])
@pytest.mark.parametrize("architecture", CAUSAL)
@pytest.mark.parametrize("draws", [None, SAMPLED])
def test_chains_are_the_same_without_a_memory(
    architecture: str, answer: str, draws: Draws | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = student_of(architecture, answer)
    with_memory = think(student, THOUGHTS, draws=draws, score=True)
    monkeypatch.setattr(module, "LEAST_SHARED", 10_000)
    plain = think(student, THOUGHTS, draws=draws, score=True)
    assert [(c.recall, c.analyses, c.conclusion, c.answer) for c in with_memory] == [
        (c.recall, c.analyses, c.conclusion, c.answer) for c in plain
    ]
    assert len({c.recall for c in plain}) > 2
    for one, other in zip(with_memory, plain, strict=True):
        assert one.answer_logp == (None if other.answer_logp is None else pytest.approx(other.answer_logp, abs=1e-4))


def count_read(student: Student, thoughts: list[Thought]) -> int:
    """Tokens that the model reads or writes for these chains, padding included."""
    counts: list[int] = []

    def count(module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        counts.append(kwargs["input_ids"].numel())

    hook = student.model.register_forward_pre_hook(count, with_kwargs=True)
    think(student, thoughts, draws=SAMPLED)
    hook.remove()
    return sum(counts)


def test_the_question_and_the_recall_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    student = student_of("llama")
    with_memory = count_read(student, THOUGHTS[:3])
    monkeypatch.setattr(module, "LEAST_SHARED", 10_000)
    assert with_memory < 0.75 * count_read(student, THOUGHTS[:3])


def test_what_does_not_fit_the_attention_window_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    student = student_of("gemma3")  # a window of 64 tokens
    whole = [chain.conclusion for chain in think(student, THOUGHTS)]
    taken: list[int] = []
    recall = Memory.recall

    def counted(self: Memory, model: Any, known: Any) -> Any:
        taken.append(sum(one is not None for one in known))
        return recall(self, model, known)

    monkeypatch.setattr(Memory, "recall", counted)
    assert [chain.conclusion for chain in think(student, THOUGHTS)] == whole
    few = len(taken)
    student.model.config.sliding_window = 4_000
    think(student, THOUGHTS)
    assert len(taken) > 2 * few


def test_a_writer_forgets_when_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = StudentWriter(student_of("llama"), is_sampled=False)
    writer.write(["Where does rain go? rain is wet and falls."], 4, None, [True])
    assert writer._memory is not None
    assert len(writer._memory) == 1
    writer.forget()
    assert len(writer._memory) == 0
