from __future__ import annotations

from typing import Literal

import pytest

from tests.conftest import ask
from tinythinker.stages.template import Template, parts_of

QUESTION = ask("Where does rain go?", "up", "down, mostly", gold="B")
ASKED = "Where does rain go?\n(A) up (B) down, mostly"


def test_the_paper_template_matches_the_published_text_exactly() -> None:
    paper = Template("paper")
    assert paper.recall_prompt(QUESTION) == f"{ASKED}\nRecall:"
    assert paper.analyze_prompt(QUESTION, "Rain falls.", "B") == f"{ASKED}\nRecall: Rain falls.\nAnalyze: For option B,"
    assert paper.summarize_prompt(QUESTION, "Rain falls.", ("no.", "yes.")) == (
        f"{ASKED}\nRecall: Rain falls.\nAnalyze: For option A, no. For option B, yes.\nSummarize:"
    )
    assert paper.conclusion(QUESTION, "B") == "So the answer is option B."


def test_the_named_template_says_the_option_in_analyze_and_summarize() -> None:
    named = Template("named")
    assert named.analyze_prompt(QUESTION, "r.", "B").endswith("\nAnalyze: For option B (down, mostly),")
    assert "For option A (up), x. For option B (down, mostly), y.\n" in named.summarize_prompt(
        QUESTION, "r.", ("x", "y")
    )


def test_stages_that_a_plan_leaves_out_do_not_appear_in_prompts() -> None:
    paper = Template("paper")
    assert paper.summarize_prompt(QUESTION, None, ()) == f"{ASKED}\nSummarize:"
    assert paper.summarize_prompt(QUESTION, "r.", ()) == f"{ASKED}\nRecall: r.\nSummarize:"
    assert paper.analyze_prompt(QUESTION, None, "A") == f"{ASKED}\nAnalyze: For option A,"


@pytest.mark.parametrize(
    ("recall", "written"),
    [
        ("Rain falls", "Rain falls."),
        ("Rain falls.", "Rain falls."),
        ('"Rain"', '"Rain"'),
        ("'Rain'", "'Rain'"),
        ("Rain!", "Rain!."),
    ],
)
def test_knowledge_gets_a_full_stop_unless_it_ends_in_one_or_in_a_quote(recall: str, written: str) -> None:
    assert f"Recall: {written}\n" in Template().analyze_prompt(QUESTION, recall, "A")


def test_knowledge_that_says_for_option_is_separated_by_position_not_by_parsing() -> None:
    tricky = ("see For option B, no.", "For option A, yes.")
    prompt = Template("paper").summarize_prompt(QUESTION, "r.", tricky)
    assert prompt.endswith("Analyze: For option A, see For option B, no. For option B, For option A, yes.\nSummarize:")


@pytest.mark.parametrize("name", ["paper", "named"])
def test_a_chain_written_as_one_text_is_read_back_with_any_white_space(name: Literal["paper", "named"]) -> None:
    template, question = Template(name), ask("Where?", "up  there", "down (below)", gold="B")
    text = template.reasoning(question, "Rain falls", ("no.", "For option A, maybe."), "B")
    for written in (text, " ".join(text.split())):
        recall, analyses, concluded = template.read_reasoning(question, written)
        assert (recall, analyses) == ("Rain falls.", ("no.", "For option A, maybe."))
        assert template.read_conclusion(question, concluded) == "B"


@pytest.mark.parametrize(
    ("text", "recall", "count", "concluded"),
    [
        ("Rain falls.", "Rain falls.", 0, ""),
        ("", None, 0, ""),
        ("Rain falls. Analyze: For option A, no.", "Rain falls.", 0, ""),
        ("Rain falls. Analyze: For option B, no. For option A, yes. Summarize: x", "Rain falls.", 0, "x"),
        ("Rain falls. Summarize: So the answer is option B.", "Rain falls.", 0, "So the answer is option B."),
    ],
)
def test_missing_parts_of_a_chain_stay_missing_and_are_not_guessed(
    text: str, recall: str | None, count: int, concluded: str
) -> None:
    read = Template("paper").read_reasoning(ask("Where?", "up", "down", gold="B"), text)
    assert (read.recall, len(read.analyses), read.conclusion) == (recall, count, concluded)


@pytest.mark.parametrize("name", ["paper", "named"])
def test_a_prompt_is_taken_apart_into_question_reasoning_and_request(name: Literal["paper", "named"]) -> None:
    template = Template(name)
    opening = "For option B," if name == "paper" else "For option B (down, mostly),"
    said = "For option A, no. For option B, yes."
    if name == "named":
        said = "For option A (up), no. For option B (down, mostly), yes."
    stem, options = "Where does rain go?", "\n(A) up (B) down, mostly"
    assert parts_of(template.recall_prompt(QUESTION)) == (stem, options, "", "\nRecall:")
    assert parts_of(template.analyze_prompt(QUESTION, "Rain falls.", "B")) == (
        stem,
        options,
        "\nRecall: Rain falls.",
        f"\nAnalyze: {opening}",
    )
    assert parts_of(template.summarize_prompt(QUESTION, "Rain falls.", ("no.", "yes."))) == (
        stem,
        options,
        f"\nRecall: Rain falls.\nAnalyze: {said}",
        "\nSummarize:",
    )
    assert parts_of(template.summarize_prompt(QUESTION, None, ())) == (stem, options, "", "\nSummarize:")


def test_a_shorter_prompt_loses_reasoning_first_and_then_the_stem() -> None:
    parts = parts_of(Template("paper").analyze_prompt(QUESTION, "Rain falls.", "B"))
    request = "\nAnalyze: For option B,"
    assert parts.count_words() == 3 + 4
    assert parts.shortened(0) == "".join(parts)
    assert parts.shortened(1) == f"{ASKED}\nRain falls.{request}"
    assert parts.shortened(3) == f"{ASKED}{request}"
    assert parts.shortened(5) == f"rain go?\n(A) up (B) down, mostly{request}"
    assert parts.shortened(7) == f"\n(A) up (B) down, mostly{request}"


def test_the_cloze_template_lists_no_options_and_answers_with_a_text() -> None:
    cloze = Template("cloze")
    assert cloze.summarize_prompt(QUESTION, None, ()) == "Question: Where does rain go?\nAnswer:"
    assert cloze.recall_prompt(QUESTION) == "Question: Where does rain go?\nRecall:"
    assert cloze.summarize_prompt(QUESTION, "Rain falls", ()) == (
        "Question: Where does rain go?\nRecall: Rain falls.\nAnswer:"
    )
    assert cloze.analyze_prompt(QUESTION, "r.", "B") == (
        "Question: Where does rain go?\nRecall: r.\nAnalyze: For down, mostly,"
    )
    assert cloze.conclusion(QUESTION, "B") == "down, mostly"
    assert cloze.read_conclusion(QUESTION, "Down, mostly.") == "B"


@pytest.mark.parametrize(("name", "answer"), [("paper", "named"), ("named", "text"), ("cloze", None)])
def test_a_text_up_to_its_answer_and_an_answer_make_the_whole_text(
    name: Literal["paper", "named", "cloze"], answer: Literal["named", "text"] | None
) -> None:
    template = Template(name, answer)
    whole = template.reasoning(QUESTION, "Rain falls.", ("no.", "yes."), "B")
    before = template.before_answer(whole)
    assert before == template.reasoning(QUESTION, "Rain falls.", ("no.", "yes."), None)
    assert template.with_answer(before, template.conclusion(QUESTION, "B")) == whole
    assert template.answer_prompt(QUESTION, before) == template.summarize_prompt(
        QUESTION, "Rain falls.", ("no.", "yes.")
    )
