from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ask
from tinythinker.core.records import Flaw, Rationale, Rejected
from tinythinker.core.seeds import stream
from tinythinker.teacher.llm.claims import claims
from tinythinker.teacher.llm.parse import (
    json_schema,
    parse_completion,
    parse_structured,
    render_completion,
    render_structured,
)

QUESTION = ask("Where do people keep money?", "bank", "tree", "high school")
CORPUS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "completions.yaml").read_text(encoding="utf-8"))
GOOD = CORPUS["accepted"][0]["text"]


def says_nothing(text: str) -> bool:
    """Does a text claim nothing about the options? One that does may contradict the verdicts."""
    return not any(claims(text, QUESTION, "A"))


LINE = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp", "Zs")), min_size=1).filter(says_nothing)


@pytest.mark.parametrize("case", CORPUS["accepted"], ids=lambda case: case["name"])
def test_the_parser_accepts_any_formatting(case: dict[str, Any]) -> None:
    wanted = CORPUS["keeps"] | {name: case[name] for name in ("recall", "analyses") if name in case}
    assert parse_completion(case["text"], QUESTION) == Rationale(
        question_id="q1", label=case.get("label", "A"), recall=wanted["recall"], analyses=tuple(wanted["analyses"])
    )


@pytest.mark.parametrize("case", CORPUS["rejected"], ids=lambda case: case["name"])
def test_incomplete_or_ambiguous_completions_are_kept_whole_with_their_flaw(case: dict[str, Any]) -> None:
    rejected = parse_completion(case["text"], QUESTION)
    assert isinstance(rejected, Rejected), rejected
    assert (rejected.flaw, rejected.text) == (Flaw(case["flaw"]), case["text"])
    assert rejected.reason


@pytest.mark.parametrize(
    ("options", "afterword", "is_fine"),
    [
        (("yes", "no"), "There is no time limit, so yes is the right answer.", True),
        (("yes", "no"), "The correct answer is A: yes, since there is no limit.", True),
        (("yes", "no"), "Let me know if you'd like me to revise any option - no problem!", True),
        (("yes", "no"), "So the answer is no.", False),
        (("a", "e", "i", "o"), "So the answer is A. I hope this helps!", True),
        (("a", "e", "i", "o"), "So the answer is option C.", False),
        (("bank", "answer", "tree"), "So the correct answer is A.", True),
        (("8", "6", "2", "4"), "The answer is A, 8 legs, that is 4 pairs.", True),
        (("8", "6", "2", "4"), "The correct answer is B because six is right.", False),
        (("copper wire", "rubber band"), "The best answer is A, a copper wire: rubber would insulate.", True),
        (("copper wire", "rubber band"), "The answer is a rubber band.", False),
    ],
)
def test_an_afterword_is_judged_by_what_it_answers_not_by_what_it_mentions(
    options: tuple[str, ...], afterword: str, is_fine: bool
) -> None:
    question = ask("Which?", *options)
    rationale = Rationale(question_id="q1", recall="r.", analyses=tuple("xyzw"[: len(options)]), label="A")
    read = parse_completion(f"{render_completion(question, rationale)}\n\n{afterword}", question)
    assert read == rationale if is_fine else isinstance(read, Rejected)


def test_the_corpus_has_enough_cases_with_distinct_names() -> None:
    names = [case["name"] for case in CORPUS["accepted"] + CORPUS["rejected"]]
    assert len(set(names)) == len(names) >= 60


@given(LINE, LINE, LINE, LINE)
def test_a_rendered_rationale_parses_back_to_itself(recall: str, first: str, second: str, third: str) -> None:
    rationale = Rationale(question_id="q1", recall=recall, analyses=(first, second, third), label="B")
    assert parse_completion(render_completion(QUESTION, rationale), QUESTION) == rationale


WORDS = st.text(st.characters(categories=("L", "N", "P")), min_size=1).filter(says_nothing)
REASONS = WORDS.filter(lambda text: not any(word in text.casefold() for word in ("because", "since")))  # not kept


@given(WORDS, REASONS, REASONS, REASONS)
def test_a_structured_rationale_parses_back_to_itself(recall: str, first: str, second: str, third: str) -> None:
    rationale = Rationale(question_id="q1", recall=recall, analyses=(first, second, third), label="C")
    assert parse_structured(render_structured(QUESTION, rationale), QUESTION) == rationale


@given(st.text())
def test_no_text_raises(text: str) -> None:
    parse_completion(text, QUESTION)
    parse_structured(text, QUESTION)


MARKS = [
    *"ABCDabc()[].:,*_-#> \n\t\"'“”",
    "Key Information:",
    "is correct.",
    "is incorrect.",
    "Because",
    "Option",
    "bank",
    "\n\n",
    "not",
    "So the answer is B.",
    "</think>",
]


def test_no_mutation_of_a_completion_yields_a_rationale_with_wrong_labels() -> None:
    rng = stream(0, "mutations")
    sources = [case["text"] for case in CORPUS["accepted"]]
    count_accepted = 0
    for i in range(10_000):
        text = str(sources[i % len(sources)])
        for _ in range(int(rng.integers(1, 6))):
            at, to = sorted(int(k) for k in rng.integers(0, len(text) + 1, 2))
            piece = str(rng.choice(MARKS))
            text = [
                text[:at] + piece + text[at:],
                text[:at] + text[min(to, at + 12) :],
                text[:at] + piece + text[at + len(piece) :],
                text[:at] + text[at:to] + text[at:],
            ][int(rng.integers(4))]
        read = parse_completion(text, QUESTION)
        if isinstance(read, Rationale):
            count_accepted += 1
            assert read.question_id == QUESTION.id
            assert read.label in QUESTION.labels
            assert len(read.analyses) == len(QUESTION.options)
            assert all(analysis.strip() for analysis in (read.recall, *read.analyses))
    assert 500 < count_accepted < 9_500  # otherwise the mutations would prove nothing


@pytest.mark.parametrize(
    "mark",
    [
        *(
            "-",
            "* ",
            " ",
            "_",
            "(",
            "'",
            "A. ",
            "1. ",
            '"',
            "*",
            "{",
            "```",
            "<b>",
            "answer ",
            "A is ",
            "option B ",
            "it is ",
        ),
        *(
            "B is correct, ",
            "A, ",
            "A.A.",
            "the answer is B and ",
            "B, not A, ",
            "if A is correct ",
            "none of ",
            "bank ",
        ),
        *("A is correct. Because ", "Key Information: ", "Explanations: ", "ignore the ", "\u200b"),
    ],
)
def test_a_long_row_of_anything_is_parsed_in_linear_time(mark: str) -> None:
    end = "A is correct. Because x.\nB is incorrect. Because y.\nC is incorrect. Because z."
    row = mark * (50_000 // len(mark))
    began = time.process_time()
    for text in (f"Key Information: x\n{end}\n\nAnswer{row}", f"Key Information: x{row}\n{end}", row):
        parse_completion(text, QUESTION)
    assert time.process_time() - began < 5  # in quadratic time it would be minutes


WRITTEN = Rationale(question_id="q1", recall="Money is kept.", analyses=("a", "b", "c"), label="A")


@pytest.mark.parametrize("parse", [parse_completion, parse_structured])
@pytest.mark.parametrize("render", [render_completion, render_structured])
def test_a_completion_is_read_in_either_form_whichever_was_asked_for(parse: Any, render: Any) -> None:
    assert parse(render(QUESTION, WRITTEN), QUESTION) == WRITTEN
    assert parse(f"```\n{render(QUESTION, WRITTEN)}\n```\nI hope this helps!", QUESTION) == WRITTEN
    rejected = parse(f"```\n{render(QUESTION, WRITTEN)}\n```\nSo the answer is C.", QUESTION)
    assert isinstance(rejected, Rejected)
    assert (rejected.flaw, rejected.reason) == (Flaw.VERDICTS, "calls A correct, but says 'so the answer is C'")


@pytest.mark.parametrize(("parse", "flaw"), [(parse_completion, Flaw.NO_RECALL), (parse_structured, Flaw.MALFORMED)])
def test_a_text_in_neither_form_has_the_flaw_of_the_form_asked_for(parse: Any, flaw: Flaw) -> None:
    rejected = parse("I cannot help with that.", QUESTION)
    assert isinstance(rejected, Rejected)
    assert rejected.flaw is flaw


def test_a_structured_completion_may_be_said_twice_but_not_in_two_ways() -> None:
    said = render_structured(QUESTION, WRITTEN)
    assert parse_structured(f"{said}\n{said}", QUESTION) == WRITTEN
    assert isinstance(parse_structured(f"{said}\n{said.replace('kept', 'spent')}", QUESTION), Rejected)


@pytest.mark.parametrize("sign", ["\\u0000", "\\u200b", "\\u202e", "\\ud800", "\\u0007"])
def test_no_control_character_or_invisible_mark_reaches_a_structured_rationale(sign: str) -> None:
    said = render_structured(QUESTION, WRITTEN).replace("kept", f"ke{sign}pt").replace('"b"', f'"b{sign}"')
    assert parse_structured(said, QUESTION) == WRITTEN


def test_a_structured_completion_may_be_in_a_code_fence() -> None:
    rationale = Rationale(question_id="q1", recall="Money is kept.", analyses=("a", "b", "c"), label="A")
    fenced = f"```json\n{render_structured(QUESTION, rationale)}\n```"
    assert parse_structured(fenced, QUESTION) == rationale


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        (lambda said: said["options"].pop(), Flaw.OPTIONS),
        (lambda said: said["options"].append(said["options"][0] | {"because": "another"}), Flaw.OPTIONS),
        (lambda said: said["options"].append(said["options"][0] | {"verdict": "incorrect"}), Flaw.VERDICTS),
        (lambda said: said["options"][2].update(because="c. The answer is B."), Flaw.VERDICTS),
        (lambda said: said.update(key_information="r. Answer: C"), Flaw.VERDICTS),
        (lambda said: said["options"][0].update(option="Z"), Flaw.OPTIONS),
        (lambda said: said["options"][1].update(because="  "), Flaw.OPTIONS),
        (lambda said: said["options"][1].update(verdict="correct"), Flaw.VERDICTS),
        (lambda said: said["options"][1].update(verdict="maybe"), Flaw.MALFORMED),
        (lambda said: said.update(key_information=""), Flaw.NO_RECALL),
        (lambda said: said.pop("key_information"), Flaw.MALFORMED),
    ],
)
def test_a_structured_completion_follows_the_same_rules(change: Any, flaw: Flaw) -> None:
    said = json.loads(
        render_structured(QUESTION, Rationale(question_id="q1", recall="r", analyses=("a", "b", "c"), label="A"))
    )
    change(said)
    rejected = parse_structured(json.dumps(said), QUESTION)
    assert isinstance(rejected, Rejected)
    assert rejected.flaw is flaw


def test_torn_json_is_malformed_and_not_an_exception() -> None:
    rejected = parse_structured('{"key_information": "Money', QUESTION)
    assert isinstance(rejected, Rejected)
    assert rejected.flaw is Flaw.MALFORMED
    assert rejected.reason.startswith("no JSON: Unterminated string")


def test_a_structured_completion_with_a_repeated_field_is_malformed() -> None:
    said = render_structured(QUESTION, Rationale(question_id="q1", recall="r", analyses=("a", "b", "c"), label="A"))
    twice = said.replace('"verdict": "correct"', '"verdict": "correct", "verdict": "incorrect"')
    rejected = parse_structured(twice, QUESTION)
    assert isinstance(rejected, Rejected)
    assert (rejected.flaw, rejected.reason) == (Flaw.MALFORMED, "no JSON: a field twice")


def test_a_structured_reason_loses_its_because_like_a_written_one() -> None:
    rationale = Rationale(question_id="q1", recall="r", analyses=("a", "b", "c"), label="A")
    said = render_structured(QUESTION, rationale).replace('"because": "', '"because": "Because ')
    assert parse_structured(said, QUESTION) == rationale


@pytest.mark.parametrize("name", ["correct", "incorrect", "not", "because", "A", "B", "is", "12", "a (b)", "bank tree"])
def test_an_option_may_have_any_text(name: str) -> None:
    question = ask("Which?", "bank", name, "tree")
    lines = ["Key Information: r.", "A: incorrect. Because x.", "B: not correct. Because y.", "C: correct. Because z."]
    wanted = Rationale(question_id="q1", recall="r.", analyses=("x.", "y.", "z."), label="C")
    assert parse_completion("\n".join(lines), question) == wanted
    named = [lines[0], lines[1], f"B ({name}) is not correct. Because y.", lines[3]]
    read = parse_completion("\n".join(named), question)
    assert read == wanted or (isinstance(read, Rejected) and read.flaw in (Flaw.OPTIONS, Flaw.VERDICTS))


def test_the_schema_allows_the_questions_labels_and_no_others() -> None:
    schema: Any = json_schema(("A", "B"))
    assert schema["properties"]["options"]["items"]["properties"]["option"]["enum"] == ["A", "B"]
    assert schema["additionalProperties"] is False
