from __future__ import annotations

from collections import Counter

import pytest

from tests.conftest import ask
from tinythinker.acquire.curriculum import Curriculum
from tinythinker.core.errors import TeacherError
from tinythinker.core.records import Question, Rationale, Stage
from tinythinker.settings.schema import StageSettings
from tinythinker.stages.examples import build_examples
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


def test_recalls_and_analyses_are_learned_with_a_full_stop_and_count_once() -> None:
    bare = Rationale(question_id="q1", recall="Rain falls", analyses=("no", 'it says "down"'))
    made = prompts("full", bare)
    assert [target for _, target in made] == ["Rain falls.", "no.", 'it says "down"', "So the answer is option B."]
    assert prompts("full", RATIONALE, RATIONALE.model_copy(update={"recall": "Rain falls"})) == prompts(
        "full", RATIONALE
    )


@pytest.mark.parametrize(
    ("plan", "stages"),
    [
        ("summarize", "s"),
        ("recall_summarize", "rs"),
        ("analyze_summarize", "aas"),
        ("full", "raas"),
        ("cot", "R"),
        ("multitask", "Rs"),
    ],
)
def test_a_plan_makes_the_examples_of_its_stages_only(plan: str, stages: str) -> None:
    letters = {Stage.RECALL: "r", Stage.ANALYZE: "a", Stage.SUMMARIZE: "s", Stage.REASON: "R"}
    assert "".join(letters[e.stage] for e in build_examples(plan, PAPER, [QUESTION], [RATIONALE])) == stages


def test_a_chain_of_thought_is_one_text_from_the_recall_prompt_to_the_answer() -> None:
    reasoned = "Rain falls.\nAnalyze: For option A, no. For option B, yes."
    asked = "Where?\n(A) up (B) down"
    assert prompts("cot", RATIONALE) == [(f"{asked}\nRecall:", f"{reasoned}\nSummarize: So the answer is option B.")]
    assert prompts("multitask", RATIONALE) == [
        (f"{asked}\nRecall:", reasoned),
        (f"{asked}\nSummarize:", "So the answer is option B."),
    ]


def test_a_chain_of_thought_from_a_recall_only_rationale_leaves_the_analyses_out() -> None:
    recall_only = Rationale(question_id="q1", recall="Rain falls.")
    assert prompts("cot", recall_only)[0][1] == "Rain falls.\nSummarize: So the answer is option B."


def test_multitask_learns_the_label_of_questions_without_a_rationale_too() -> None:
    assert prompts("multitask") == prompts("summarize")


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
    questions: list[Question], rationales: list[Rationale], *, permute: bool = True, plan: str = "full", **more: object
) -> Curriculum:
    settings = StageSettings.model_validate({"plan": plan, "interval": 1, "permute_options": permute, **more})
    return Curriculum(settings, tuple(questions), tuple(rationales), batch_size=2, seed=3)


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


def test_a_stage_without_examples_is_an_error_that_says_what_to_do() -> None:
    recall_only = Rationale(question_id="q1", recall="r.")
    with pytest.raises(TeacherError, match=r"found no rationale that teaches analyze.*stages\.plan=recall_summarize"):
        curriculum([QUESTION], [recall_only]).epoch(0)


def five() -> tuple[list[Question], list[Rationale]]:
    """Five questions with a rationale each, and one more for the first."""
    questions = [ask(f"Where is {i}?", "up", "down", gold="B", id=f"q{i}") for i in range(5)]
    rationales = [Rationale(question_id=q.id, recall=f"{q.id}.", analyses=("no.", "yes.")) for q in questions]
    return questions, [*rationales, Rationale(question_id="q0", recall="again.", analyses=("no.", "yes."))]


def test_shuffled_batches_mix_the_stages_and_lose_nothing() -> None:
    made = curriculum(*five(), permute=False, order="shuffled")
    batches = made.epoch(0)
    assert {stage for stage, _ in batches} == {"mixed"}
    assert any(len({example.stage for example in batch}) > 1 for _, batch in batches)
    seen = [example for _, batch in batches for example in batch]
    assert sorted(map(repr, seen)) == sorted(map(repr, made.examples(0)))


def test_a_sequence_trains_stage_after_stage_in_the_proportions_of_an_epoch() -> None:
    made = curriculum(*five(), order="sequential")  # 6 recalls, 12 analyses, 6 conclusions in batches of 2
    assert Counter(stage for stage, _ in made.epoch(0)) == {"recall": 3, "analyze": 6, "summarize": 3}
    order = [stage for stage, _ in made.sequence(24)]
    assert order == ["recall"] * 6 + ["analyze"] * 12 + ["summarize"] * 6


def test_at_most_the_requested_number_of_rationales_per_question_is_used() -> None:
    questions, rationales = five()
    assert len(curriculum(questions, rationales).used) == 6
    one_each = Curriculum(StageSettings(rationales=1), tuple(questions), tuple(rationales), batch_size=2, seed=3).used
    assert [own.question_id for own in one_each] == [question.id for question in questions]


def test_shuffled_rationales_go_to_other_questions_and_none_is_lost() -> None:
    questions, rationales = five()
    dealt = curriculum(questions, rationales, shuffle_rationales=True).used
    assert sorted(own.recall for own in dealt) == sorted(own.recall for own in rationales)
    assert all(own.recall != f"{own.question_id}." for own in dealt)


def test_rationales_are_shuffled_only_among_questions_with_the_same_number_of_options() -> None:
    questions, rationales = five()
    odd = ask("Who?", "I", "you", "they", gold="A", id="odd")
    own = Rationale(question_id="odd", recall="own.", analyses=("a.", "b.", "c."))
    dealt = curriculum([*questions, odd], [*rationales, own], shuffle_rationales=True).used
    assert [r.recall for r in dealt if r.question_id == "odd"] == ["own."]
