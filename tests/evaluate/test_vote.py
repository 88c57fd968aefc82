from __future__ import annotations

import pytest

from tinythinker.core.records import Chain
from tinythinker.evaluate.vote import vote


def chains(*answers: str | tuple[str, float] | None) -> list[Chain]:
    made = []
    for i, answer in enumerate(answers):
        label, logp = answer if isinstance(answer, tuple) else (answer, None)
        made.append(Chain(question_id="q", sample=i, conclusion="", answer=label, answer_logp=logp))
    return made


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        (("A", "B", "B"), "B"),
        ((None, None, "C"), "C"),
        ((None, None), None),
        ((None, None, None, "A", "B", "B"), "B"),
        (("B", "A"), "A"),
    ],
)
def test_the_majority_of_readable_answers_wins_and_the_earlier_label_wins_a_bare_tie(
    answers: tuple[str | None, ...], winner: str | None
) -> None:
    assert vote(chains(*answers)) == winner


def test_a_tie_goes_to_the_likelier_answers() -> None:
    # Summed probabilities: A 0.2 + 0.3 = 0.5; B 0.5 + 0.1 = 0.6.
    assert vote(chains(("A", -1.6094), ("B", -0.6931), ("A", -1.2040), ("B", -2.3026))) == "B"


def test_likelihood_does_not_outweigh_a_vote() -> None:
    assert vote(chains(("A", -5.0), ("A", -5.0), ("B", -0.01))) == "A"


def test_the_order_of_the_chains_does_not_matter() -> None:
    given = chains(("A", -1.0), ("B", -0.5), None)
    assert vote(given) == vote(given[::-1]) == "B"
