from __future__ import annotations

from pathlib import Path

import pytest

from tests.teacher.conftest import llm_settings, some_questions
from tinythinker.core.errors import DataError
from tinythinker.core.records import Flaw, Question, Rationale, Rejected
from tinythinker.teacher.llm.ledger import Completion, Ledger, Reply, effective_label, read_completion
from tinythinker.teacher.llm.prompt import Prompt, make_prompt

QUESTIONS = some_questions(2)
PROMPT = make_prompt(llm_settings("http://127.0.0.1:9/v1"), QUESTIONS)
GOOD = "Key Information: x.\nA is correct. Because y.\nB is incorrect. Because z."
WRONG = GOOD.replace("A is correct", "A is incorrect").replace("B is incorrect", "B is correct")


def ledger(path: Path, policy: str = "gold", prompt: Prompt = PROMPT) -> Ledger:
    return Ledger(path, QUESTIONS, prompt, samples=4, max_tokens=100, policy=policy)


def reply(wave: int, *texts: str, question: Question = QUESTIONS[0], cut: int = 0, prompt: Prompt = PROMPT) -> Reply:
    """A reply with these texts; the last `cut` of them are cut off."""
    whole = len(texts) - cut
    return Reply(
        request="r",
        question_id=question.id,
        prompt=prompt.key(question),
        wave=wave,
        max_tokens=100,
        completions=tuple(
            Completion(text=text, finish="stop" if i < whole else "length") for i, text in enumerate(texts)
        ),
        model=prompt.model,
        prompt_tokens=10,
        completion_tokens=5 * len(texts),
    )


def wanted(book: Ledger, wave: int) -> list[tuple[str, int, int]]:
    return [(job.question.id, job.wanted, job.max_tokens) for job in book.jobs(wave)]


def add(book: Ledger, *replies: Reply) -> None:
    with book:
        for one in replies:
            book.add(one)


def test_at_first_everything_is_missing(tmp_path: Path) -> None:
    assert wanted(ledger(tmp_path / "c.jsonl"), 1) == [("q0", 4, 100), ("q1", 4, 100)]


def test_an_interrupted_wave_requests_what_it_has_not_received_usable_or_not(tmp_path: Path) -> None:
    add(ledger(tmp_path / "c.jsonl"), reply(1, GOOD, "garbled", GOOD))
    assert wanted(ledger(tmp_path / "c.jsonl"), 1) == [("q0", 1, 100), ("q1", 4, 100)]


def test_the_next_wave_requests_what_is_not_usable(tmp_path: Path) -> None:
    book = ledger(tmp_path / "c.jsonl")
    add(book, reply(1, GOOD, "garbled", WRONG, GOOD))
    assert wanted(book, 2)[0] == ("q0", 2, 100)


def test_a_question_that_reached_a_later_wave_is_not_asked_in_an_earlier_one(tmp_path: Path) -> None:
    book = ledger(tmp_path / "c.jsonl")
    add(book, reply(1, GOOD), reply(2, GOOD))  # wave 1 lost three for good, wave 2 requested three
    assert wanted(book, 1) == [("q1", 4, 100)]
    assert wanted(book, 2)[0] == ("q0", 2, 100)
    assert wanted(book, 3)[0] == ("q0", 2, 100)


def test_tokens_double_with_every_cut_wave_up_to_eightfold(tmp_path: Path) -> None:
    book = ledger(tmp_path / "c.jsonl")
    most = []
    for wave in range(1, 7):
        most.append(wanted(book, wave)[0][2])
        add(book, reply(wave, GOOD, cut=1))
    assert most == [100, 200, 400, 800, 800, 800]


def test_answers_to_other_requests_do_not_count_but_their_cost_does(tmp_path: Path) -> None:
    other = make_prompt(llm_settings("http://127.0.0.1:9/v1", "teacher.llm.temperature=0.1"), QUESTIONS)
    add(ledger(tmp_path / "c.jsonl", prompt=other), reply(1, GOOD, GOOD, prompt=other))
    book = ledger(tmp_path / "c.jsonl")
    assert wanted(book, 1)[0] == ("q0", 4, 100)
    assert book.totals["played", False, "completion_tokens"] == 10
    assert list(book.texts()) == []


def test_more_samples_request_only_the_difference(tmp_path: Path) -> None:
    add(ledger(tmp_path / "c.jsonl"), reply(1, GOOD, GOOD, GOOD, GOOD))
    more = Ledger(tmp_path / "c.jsonl", QUESTIONS, PROMPT, samples=6, max_tokens=100, policy="gold")
    assert wanted(more, 1)[0] == ("q0", 2, 100)


def test_a_line_torn_by_a_kill_is_dropped_and_requested_again(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    add(ledger(path), reply(1, GOOD), reply(1, GOOD, question=QUESTIONS[1]))
    path.write_bytes(path.read_bytes()[:-20])
    book = ledger(path)
    assert wanted(book, 1) == [("q0", 3, 100), ("q1", 4, 100)]
    add(book, reply(1, GOOD, question=QUESTIONS[1]))
    assert wanted(ledger(path), 1) == [("q0", 3, 100), ("q1", 3, 100)]


def test_a_damaged_line_in_the_middle_is_an_error_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    add(ledger(path), reply(1, GOOD))
    path.write_text("{}\n" + path.read_text())
    with pytest.raises(DataError, match=r"c\.jsonl:1: request: found nothing"):
        ledger(path)


@pytest.mark.parametrize(
    ("completion", "flaw"),
    [
        (Completion(text=GOOD, finish="length"), Flaw.CUT),
        (Completion(text=GOOD, finish="content_filter"), Flaw.REFUSED),
        (Completion(text=" \n", finish="stop"), Flaw.REFUSED),
        (Completion(text="hm", finish="stop"), Flaw.NO_RECALL),
    ],
)
def test_cut_or_withheld_completions_are_rejected_even_if_well_formed(completion: Completion, flaw: Flaw) -> None:
    read = read_completion(completion, QUESTIONS[0], PROMPT)
    assert isinstance(read, Rejected)
    assert read.flaw is flaw


def test_a_completion_without_a_finish_reason_is_read() -> None:
    assert isinstance(read_completion(Completion(text=GOOD), QUESTIONS[0], PROMPT), Rationale)


@pytest.mark.parametrize(
    ("votes", "policy", "label"),
    [
        ({"A": 1, "B": 3}, "gold", "A"),
        ({"A": 1, "B": 3}, "teacher", "B"),
        ({"A": 2, "B": 2}, "teacher", "A"),  # no majority
        ({"B": 2, "C": 2, "A": 1}, "teacher", "A"),
        ({}, "teacher", "A"),
    ],
)
def test_only_a_majority_replaces_the_gold_label_and_only_if_requested(
    votes: dict[str, int], policy: str, label: str
) -> None:
    assert effective_label(votes, "A", policy) == label
