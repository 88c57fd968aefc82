from __future__ import annotations

import math

from tests.conftest import ask
from tinythinker.core.records import Chain
from tinythinker.use.prediction import prediction_of

QUESTION = ask("Where does rain go?", "up", "down", gold="B")


def chain(answer: str | None, share_of_a: float, recall: str = "rain is wet") -> Chain:
    logps = {"A": math.log(share_of_a), "B": math.log(1 - share_of_a)}
    own = None if answer is None else logps[answer]
    return Chain(
        question_id="q1", recall=recall, conclusion="c", answer=answer, answer_logp=own, option_logps=logps,
        count_tokens=5, count_stopped=1,
    )  # fmt: skip


def test_a_greedy_prediction_is_its_one_chain() -> None:
    made = prediction_of(QUESTION, [chain("B", 0.25)])
    assert (made.answer, made.text, made.is_readable, made.is_correct) == ("B", "down", True, True)
    assert made.probabilities == {"A": 0.25, "B": 0.75}
    assert (made.votes, made.count_tokens, made.is_cut, made.is_stopped) == (None, 5, False, True)


def test_votes_are_counted_and_the_reasoning_shown_is_that_of_a_winner() -> None:
    chains = [chain("A", 0.9, "first"), chain("B", 0.2, "second"), chain(None, 0.4, "third"), chain("B", 0.1, "fourth")]
    made = prediction_of(QUESTION, chains)
    assert (made.answer, made.recall, made.votes) == ("B", "second", {"A": 1, "B": 2})
    assert made.probabilities == {"A": 0.4, "B": 0.6}  # the mean of .9 .2 .4 .1
    assert made.count_tokens == 20


def test_an_unreadable_answer_is_no_answer_and_wrong() -> None:
    made = prediction_of(QUESTION, [chain(None, 0.4)])
    assert (made.answer, made.text, made.is_readable, made.is_correct) == (None, None, False, False)
    assert prediction_of(QUESTION.labelled(None), [chain(None, 0.4)]).is_correct is None


def test_the_log_probabilities_of_all_labels_are_not_written_to_files() -> None:
    assert "option_logps" not in chain("A", 0.5).model_dump_json()
