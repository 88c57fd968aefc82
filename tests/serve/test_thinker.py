from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.conftest import ask
from tests.serve.played import PATIENCE_SECONDS, Played
from tinythinker.serve.limits import Limits, ResponseError
from tinythinker.serve.thinker import Thinker
from tinythinker.use.prediction import Prediction
from tinythinker.use.questions import Posed, SoFar


def posed(stem: str = "Where does rain go?") -> Posed:
    return Posed(ask(stem, "up", "down", gold=None))


def thinking(
    played: Played, work: Callable[[Thinker], Awaitable[None]], limits: Limits | None = None
) -> list[tuple[str, int]]:
    """Let a thinker work; the student and the size of every batch that it answered."""
    noted: list[tuple[str, int]] = []

    async def all_of_it() -> None:
        thinker = Thinker(played.answer, limits or Limits(), lambda name, made, _: noted.append((name, len(made))))
        thinker.start()
        await work(thinker)
        played.may_go_on.set()
        await thinker.stop()

    asyncio.run(all_of_it())
    return noted


async def answer_of(thinker: Thinker, one: Posed, student: str = "round-1") -> Prediction:
    events = [event async for event in thinker.events(thinker.submit(student, one))]
    assert isinstance(events[-1], Prediction)
    return events[-1]


async def begun(played: Played) -> None:
    """Wait until a batch has begun."""
    assert await asyncio.get_running_loop().run_in_executor(None, played.began.acquire, True, PATIENCE_SECONDS)


def test_questions_that_come_while_others_are_thought_about_are_answered_together() -> None:
    played = Played()
    played.may_go_on.clear()

    async def work(thinker: Thinker) -> None:
        first = asyncio.create_task(answer_of(thinker, posed()))
        await begun(played)
        others = [asyncio.create_task(answer_of(thinker, posed())) for _ in range(3)]
        await asyncio.sleep(0)
        played.may_go_on.set()
        assert [(await task).answer for task in (first, *others)] == ["A"] * 4

    assert thinking(played, work) == [("round-1", 1), ("round-1", 3)]


def test_a_full_batch_does_not_wait_for_its_window() -> None:
    async def work(thinker: Thinker) -> None:
        await asyncio.gather(*(answer_of(thinker, posed()) for _ in range(5)))

    limits = Limits(window_seconds=0.05, together=4)
    assert thinking(Played(), work, limits) == [("round-1", 4), ("round-1", 1)]


def test_a_batch_is_for_one_student_and_the_others_keep_their_turn() -> None:
    async def work(thinker: Thinker) -> None:
        names = ["round-1", "late", "round-1", "late"]
        made = await asyncio.gather(*(answer_of(thinker, posed(), name) for name in names))
        assert [one.answer for one in made] == ["A", "B", "A", "B"]

    assert thinking(Played("round-1", "late"), work) == [("round-1", 2), ("late", 2)]


def test_a_full_queue_is_429_and_says_when_to_try_again() -> None:
    played = Played()
    played.may_go_on.clear()

    async def work(thinker: Thinker) -> None:
        task = asyncio.create_task(answer_of(thinker, posed()))
        await begun(played)
        for _ in range(2):
            thinker.submit("round-1", posed())
        with pytest.raises(ResponseError, match="queue: found 2 questions waiting") as refused:
            thinker.submit("round-1", posed())
        assert (refused.value.status, refused.value.headers) == (429, {"retry-after": "1"})
        played.may_go_on.set()
        assert (await task).answer == "A"

    thinking(played, work, Limits(queue=2))


def test_a_question_that_is_not_answered_in_time_is_504_and_not_thought_about_later() -> None:
    played = Played()
    played.may_go_on.clear()

    async def work(thinker: Thinker) -> None:
        first = asyncio.create_task(answer_of(thinker, posed("first?")))
        await begun(played)
        second = asyncio.create_task(answer_of(thinker, posed("second?")))
        for task in (first, second):
            with pytest.raises(ResponseError, match=r"expected an answer within 0\.05 seconds") as refused:
                await task
            assert refused.value.status == 504
        played.may_go_on.set()
        thinker.submit("round-1", posed("third?"))
        await begun(played)

    thinking(played, work, Limits(timeout_seconds=0.05))
    assert [[one.question.stem for one in batch] for batch in played.batches] == [["first?"], ["third?"]]


def test_a_question_that_cannot_be_answered_spoils_no_other() -> None:
    async def work(thinker: Thinker) -> None:
        tasks = [asyncio.create_task(answer_of(thinker, posed(stem))) for stem in ("good?", "bad?", "good, too?")]
        await asyncio.wait(tasks)
        assert [task.exception() is None for task in tasks] == [True, False, True]
        error = tasks[1].exception()
        assert isinstance(error, ResponseError)
        assert (error.status, str(error)) == (
            500,
            "student: found that it could not answer (RuntimeError: this one is bad)",
        )
        assert thinker.is_working

    assert thinking(Played(), work) == [("round-1", 1), ("round-1", 1)]


def test_every_stage_is_told_before_the_answer() -> None:
    async def work(thinker: Thinker) -> None:
        heard = [event async for event in thinker.events(thinker.submit("round-1", posed()))]
        assert heard[:2] == [SoFar("rain is wet.", None), SoFar("rain is wet.", ("yes.", "no."))]
        assert isinstance(heard[2], Prediction)

    thinking(Played(), work)


def test_what_is_under_way_at_the_end_is_thought_to_its_end() -> None:
    played = Played()
    played.may_go_on.clear()

    async def work(thinker: Thinker) -> None:
        thinker.submit("round-1", posed())
        await begun(played)
        asyncio.get_running_loop().call_later(0.05, played.may_go_on.set)

    thinking(played, work)
    assert len(played.batches) == 1
