from __future__ import annotations

from collections import Counter

import pytest

from tests.conftest import ask
from tinythinker.core.errors import TeacherError
from tinythinker.core.records import Question, Rationale, Stage
from tinythinker.stages.examples import Curriculum, build_examples
from tinythinker.stages.template import Template

PAPER = Template("paper")
QUESTION = ask("Where?", "up", "down", gold="B")
RATIONALE = Rationale(question_id="q1", recall="Rain falls.", analyses=("no.", "yes."))


def prompts(plan: str, *rationales: Rationale) -> list[tuple[str, str]]:
    return [(example.prompt, example.target) for example in build_examples(plan, PAPER, [QUESTION], rationales)]


def test_a_rationale_becomes_one_recall_an_analyze_per_option_and_a_summarize() -> None:
    asked = "Where?\n(A) up (B) down"
    assert prompts("full", RATIONALE) == [
        (f"{asked}\nRecall:", "Rain falls."),
        (f"{asked}\nRecall: Rain falls.\nAnalyze: For option A,", "no."),
        (f"{asked}\nRecall: Rain falls.\nAnalyze: For option B,", "yes."),
        (
            f"{asked}\nRecall: Rain falls.\nAnalyze: For option A, no. For option B, yes.\nSummarize:",
            "So the answer is option B.",
        ),
    ]


@pytest.mark.parametrize(
    ("plan", "stages"),
    [("summarize", "s"), ("recall_summarize", "rs"), ("analyze_summarize", "aas"), ("full", "raas")],
)
def test_a_plan_makes_the_examples_of_its_stages_only(plan: str, stages: str) -> None:
    assert "".join(e.stage[0] for e in build_examples(plan, PAPER, [QUESTION], [RATIONALE])) == stages


def test_labels_alone_need_no_rationale() -> None:
    assert prompts("summarize") == [("Where?\n(A) up (B) down\nSummarize:", "So the answer is option B.")]


def test_a_recall_only_rationale_teaches_nothing_that_needs_analyses() -> None:
    recall_only = Rationale(question_id="q1", recall="Rain falls.")
    assert [e.stage for e in build_examples("full", PAPER, [QUESTION], [recall_only])] == [Stage.RECALL]
    assert len(build_examples("recall_summarize", PAPER, [QUESTION], [recall_only])) == 2


def test_exact_repeats_are_dropped_and_others_kept() -> None:
    same_recall = RATIONALE.model_copy(update={"analyses": ("no.", "surely.")})
    stages = Counter(e.stage for e in build_examples("full", PAPER, [QUESTION], [RATIONALE, RATIONALE, same_recall]))
    assert stages == {Stage.RECALL: 1, Stage.ANALYZE: 3, Stage.SUMMARIZE: 2}


def curriculum(
    questions: list[Question], rationales: list[Rationale], *, permute: bool = True, plan: str = "full"
) -> Curriculum:
    return Curriculum(plan, PAPER, tuple(questions), tuple(rationales), 2, 1, permute, seed=3)


def test_permuted_epochs_differ_from_each_other_and_not_from_themselves() -> None:
    questions = [ask("Where?", "up", "down", "left", "right", gold="B", id=f"q{i}") for i in range(4)]
    rationales = [Rationale(question_id=q.id, recall=q.id, analyses=("a.", "b.", "c.", "d.")) for q in questions]
    made = curriculum(questions, rationales)
    assert made.epoch(1) == made.epoch(1)
    assert made.examples(0) != made.examples(1)


def test_a_permuted_example_keeps_every_analysis_with_its_option() -> None:
    question = ask("Where?", "up", "down", "left", gold="B")
    rationale = Rationale(question_id="q1", recall="r.", analyses=("about up.", "about down.", "about left."))
    for epoch in range(6):
        for example in curriculum([question], [rationale]).examples(epoch):
            if example.stage is Stage.ANALYZE:
                label = example.prompt[-2]
                text = example.prompt.split(f"({label}) ")[1].split(" (")[0].split("\n")[0]
                assert example.target == f"about {text}."


def test_every_epoch_has_the_same_number_of_examples_even_with_repeated_questions() -> None:
    twins = [ask("Where?", "up", "down", "left", gold="B", id=name) for name in ("q1", "q2")]
    rationales = [Rationale(question_id=q.id, recall="r.", analyses=("a.", "b.", "c.")) for q in twins]
    made = curriculum(twins, rationales)
    assert {len(made.examples(epoch)) for epoch in range(8)} == {5}


def test_the_turn_of_analyze_is_as_long_as_there_are_options() -> None:
    made = curriculum([ask("s", "a", "b", "c")], [])
    assert made.turn() == {Stage.RECALL: 1, Stage.ANALYZE: 3, Stage.SUMMARIZE: 1}


def test_a_stage_without_any_example_is_an_error_that_says_what_to_do() -> None:
    recall_only = Rationale(question_id="q1", recall="r.")
    with pytest.raises(TeacherError, match=r"found no rationale that teaches analyze.*stages\.plan=recall_summarize"):
        curriculum([QUESTION], [recall_only]).epoch(0)
