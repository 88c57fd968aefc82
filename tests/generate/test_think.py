from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import pytest
import torch

from tests.conftest import ask, tiny_recipe, tiny_student
from tinythinker.core.records import Chain, Question, Stage
from tinythinker.generate.decode import Decoded, Sampling
from tinythinker.generate.label_logps import LabelLogps
from tinythinker.generate.think import Draws, Thought, reason, think
from tinythinker.student.encode import encode_prompts, encode_targets
from tinythinker.student.logps import target_logps
from tinythinker.student.student import Student

TWO = ask("Where does rain go?", "up", "down", gold="B")
THREE = ask("Where?", "up", "down", "nowhere", gold="C", id="q2")


def test_every_option_of_every_question_is_analyzed_for_any_number_of_options(student: Student) -> None:
    chains = think(student, [Thought(TWO), Thought(THREE)])
    assert [len(chain.analyses) for chain in chains] == [2, 3]
    assert [chain.question_id for chain in chains] == ["q1", "q2"]


class Scripted:
    """A writer of fixed texts that remembers the prompts it saw."""

    def __init__(self, recall: str = "rain is wet") -> None:
        self.seen: list[str] = []
        self._recall = recall

    def write(
        self,
        prompts: Sequence[str],
        max_tokens: int,
        sampling: Sampling | None = None,
        is_continued: Sequence[bool] | None = None,
    ) -> list[Decoded]:
        self.seen.extend(prompts)
        said = {"Recall:": self._recall, "Summarize:": "So the answer is option B."}
        texts = [
            next((text for cue, text in said.items() if prompt.endswith(cue)), f"({len(prompt)})") for prompt in prompts
        ]
        return [Decoded(text, 3, is_cut=len(prompt) > 120) for text, prompt in zip(texts, prompts, strict=True)]

    def score_labels(self, prompts: Sequence[str], questions: Sequence[Question]) -> list[LabelLogps]:
        raise AssertionError("free answers are written, not scored")

    def write_and_score(
        self, prompts: Sequence[str], questions: Sequence[Question], max_tokens: int
    ) -> list[tuple[Decoded, LabelLogps]]:
        raise AssertionError("nobody asked for scores")


def test_a_chain_feeds_every_stage_into_the_next() -> None:
    writer = Scripted()
    (chain,) = reason(writer, tiny_recipe(template="paper"), [Thought(TWO)])
    asked = "Where does rain go?\n(A) up (B) down"
    known = f"{asked}\nRecall: rain is wet."
    first, second = f"{known}\nAnalyze: For option A,", f"{known}\nAnalyze: For option B,"
    summary = f"{known}\nAnalyze: For option A, ({len(first)}). For option B, ({len(second)}).\nSummarize:"
    assert writer.seen == [f"{asked}\nRecall:", first, second, summary]
    assert chain == Chain(
        question_id="q1",
        recall="rain is wet",
        analyses=(f"({len(first)})", f"({len(second)})"),
        conclusion="So the answer is option B.",
        answer="B",
        count_tokens=12,
        count_cut=0,
    )


def test_a_given_recall_is_kept_and_costs_no_tokens() -> None:
    writer = Scripted()
    (chain,) = reason(writer, tiny_recipe(), [Thought(TWO, recall="given")])
    assert not any(prompt.endswith("Recall:") for prompt in writer.seen)
    assert (chain.recall, chain.count_tokens) == ("given", 9)


@pytest.mark.parametrize(("plan", "count"), [("summarize", 1), ("recall_summarize", 2), ("analyze_summarize", 3)])
def test_a_plan_generates_only_its_stages(plan: str, count: int) -> None:
    writer = Scripted()
    (chain,) = reason(writer, tiny_recipe(plan=plan), [Thought(TWO)])
    assert len(writer.seen) == count
    assert (chain.recall is None) == ("recall" not in plan)
    assert (chain.analyses == ()) == ("analyze" not in plan)


def test_only_the_stage_under_reflection_is_sampled_each_text_from_its_own_stream() -> None:
    draws = Draws(0.7, 5, frozenset({Stage.ANALYZE}))
    thoughts = [Thought(TWO, 0), Thought(THREE, 0), Thought(TWO, 1)]
    assert draws.of(Stage.RECALL, thoughts) is None
    sampling = draws.of(Stage.ANALYZE, thoughts)
    assert isinstance(sampling, Sampling)
    assert len(set(sampling.seeds)) == 2 + 3 + 2
    alone = draws.of(Stage.ANALYZE, [Thought(TWO, 1)])
    assert alone is not None
    assert list(alone.seeds) == list(sampling.seeds)[5:]


def test_constrained_answers_are_always_readable_and_free_ones_may_not_be() -> None:
    thoughts = [Thought(TWO), Thought(THREE)]
    constrained = think(tiny_student(recipe=tiny_recipe(answer="constrained")), thoughts)
    assert all(chain.answer in thought.question.labels for chain, thought in zip(constrained, thoughts, strict=True))
    free = think(tiny_student(), thoughts)
    assert [chain.answer for chain in free] == [None, None]


def test_a_scored_chain_has_the_log_probability_of_its_answer() -> None:
    (chain,) = think(tiny_student(recipe=tiny_recipe(answer="constrained")), [Thought(TWO)], score=True)
    assert chain.answer_logp is not None
    assert math.log(0.5) <= chain.answer_logp <= 0


def test_a_summarize_prompt_that_was_cut_is_counted_in_both_ways_of_answering() -> None:
    for answer in ("free", "constrained"):
        recipe = tiny_recipe(plan="summarize", answer=answer).model_copy(update={"max_prompt_tokens": 8})
        (chain,) = think(tiny_student(recipe=recipe), [Thought(TWO)])
        assert chain.count_cut == 1


def test_texts_that_reach_their_limit_are_counted() -> None:
    student = tiny_student(recipe=tiny_recipe(answer="constrained"))
    with torch.no_grad():
        student.model.lm_head.weight.zero_()  # never ends
    (chain,) = think(student, [Thought(TWO)])
    assert chain.count_stopped == 3


@pytest.mark.parametrize("family", ["seq2seq", "causal"])
@pytest.mark.parametrize(("template", "form"), [("named", "named"), ("paper", "text"), ("cloze", None)])
@pytest.mark.parametrize("plan", ["full", "cot", "summarize"])
def test_constrained_answers_in_every_form_are_the_most_likely_whole_endings(
    family: Literal["seq2seq", "causal"], template: str, form: str | None, plan: str
) -> None:
    recipe = tiny_recipe(plan=plan, template=template, answer="constrained")
    stages = recipe.stages.model_copy(update={"answer": form})
    student = tiny_student(recipe=recipe.model_copy(update={"stages": stages}), family=family, dropout=0.0)
    for thought, chain in zip(
        [Thought(TWO), Thought(THREE)], think(student, [Thought(TWO), Thought(THREE)]), strict=True
    ):
        question, words = thought.question, student.recipe.template
        prompt = words.summarize_prompt(question, chain.recall, chain.analyses)
        if plan == "cot":
            prompt = words.answer_prompt(question, words.before_answer(chain.reasoning or ""))
        per_length = {}
        for label in question.labels:
            text = words.conclusion(question, label)
            with torch.no_grad():
                total = target_logps(
                    student.model, encode_prompts(student, [prompt]), encode_targets(student, [text])
                ).total.item()
            per_length[label] = total / len(text) if words.form == "text" else total
        assert chain.answer == max(per_length, key=per_length.__getitem__)
        assert chain.conclusion == words.conclusion(question, chain.answer)


def test_what_an_untrained_student_recalls_ends_with_its_line() -> None:
    writer = Scripted("rain is wet\nAnswer: up\nQuestion:")
    recipe = tiny_recipe(plan="recall_summarize").model_copy(update={"is_trained": False})
    (chain,) = reason(writer, recipe, [Thought(TWO)])
    assert chain.recall == "rain is wet"
