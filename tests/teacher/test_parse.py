from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ask
from tinythinker.core.records import Flaw, Rationale, Rejected
from tinythinker.teacher.parse import parse_completion, render_completion

QUESTION = ask("Where?", "up", "down", gold="B")
GOOD = "Key Information: Rain falls.\nA is incorrect. Because it goes down.\nB is correct. Because it falls."


def test_a_complete_completion_becomes_a_rationale_in_option_order() -> None:
    swapped = "\n".join([GOOD.split("\n")[0], *GOOD.split("\n")[:0:-1]])
    wanted = Rationale(question_id="q1", recall="Rain falls.", analyses=("it goes down.", "it falls."))
    assert parse_completion(GOOD, QUESTION) == parse_completion(swapped, QUESTION) == wanted


@pytest.mark.parametrize(
    ("completion", "flaw"),
    [
        ("", Flaw.NO_RECALL),
        (GOOD.replace("Key Information:", "Information:"), Flaw.NO_RECALL),
        (GOOD + "\nKey Information: more.", Flaw.NO_RECALL),
        ("\n".join(GOOD.split("\n")[:2]), Flaw.OPTIONS),
        (GOOD.replace("B is", "C is"), Flaw.OPTIONS),
        (GOOD + "\nB is correct. Because again.", Flaw.OPTIONS),
        (GOOD.replace("A is incorrect", "A is correct"), Flaw.DISAGREES),
        (GOOD.replace("B is correct", "B is incorrect"), Flaw.DISAGREES),
    ],
)
def test_a_flawed_completion_is_kept_whole_with_its_flaw(completion: str, flaw: Flaw) -> None:
    rejected = parse_completion(completion, QUESTION)
    assert isinstance(rejected, Rejected)
    assert (rejected.flaw, rejected.text) == (flaw, completion)


LINE = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs")), min_size=1)


@given(LINE, LINE, LINE)
def test_a_rendered_rationale_parses_back_to_itself(recall: str, first: str, second: str) -> None:
    rationale = Rationale(question_id="q1", recall=recall, analyses=(first, second))
    assert parse_completion(render_completion(QUESTION, rationale), QUESTION) == rationale


@given(st.text())
def test_no_text_raises(text: str) -> None:
    parse_completion(text, QUESTION)
