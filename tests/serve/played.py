"""A service without a student: what it answers is scripted, and when it answers is up to the test."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from tinythinker.core.records import Chain
from tinythinker.serve.gate import Application
from tinythinker.serve.limits import ResponseError
from tinythinker.serve.roster import Roster
from tinythinker.use.prediction import Prediction, prediction_of
from tinythinker.use.questions import Posed, SoFar

PATIENCE_SECONDS = 600
"""What no step takes, not even on a busy machine."""


def played_answer(posed: Posed, usual: str = "A") -> Prediction:
    """Whoever recalls that rain falls answers B; whose analysis of an option says `yes` answers it; else `usual`."""
    question = posed.question
    recall = posed.recall or "rain is wet."
    favourite = "B" if "falls" in recall else usual
    own = tuple("yes." if label == favourite else "no." for label in question.labels)
    analyses = posed.analyses or own
    answer = next((label for label, text in zip(question.labels, analyses, strict=True) if "yes" in text), None)
    rest = 0.3 / (len(question.labels) - 1)
    logps = {label: math.log(0.7 if label == (answer or "A") else rest) for label in question.labels}
    conclusion = "I cannot say." if answer is None else f"So the answer is option {answer}."
    chain = Chain(
        question_id=question.id,
        recall=recall,
        analyses=analyses,
        conclusion=conclusion,
        answer=answer,
        option_logps=logps,
        count_tokens=9,
    )
    return prediction_of(question, [chain])


class Played(Roster):
    """Students that answer as they are told.

    Args:
        names: `late` means a student that answers B where others answer A.
    """

    def __init__(self, *names: str) -> None:
        super().__init__({name: Path(name) for name in names or ("round-1",)})
        self.batches: list[list[Posed]] = []
        self.began = threading.Semaphore(0)
        """Released when a batch begins."""
        self.may_go_on = threading.Event()
        """Batches wait for it after their stages are told."""
        self.may_go_on.set()

    def answer(self, name: str, posed: Sequence[Posed], tell: Callable[[int, SoFar], None]) -> list[Prediction]:
        """See `Roster.answer`."""
        self.batches.append(list(posed))
        self.began.release()
        for one in posed:
            if "bad" in one.question.stem:
                raise RuntimeError("this one is bad")
            if one.recall == "foreign.":
                raise ResponseError(422, "recall: found a given text, expected none")
        made = [played_answer(one, "B" if name == "late" else "A") for one in posed]
        for place, prediction in enumerate(made):
            tell(place, SoFar(prediction.recall, None))
            tell(place, SoFar(prediction.recall, prediction.analyses))
        assert self.may_go_on.wait(PATIENCE_SECONDS)
        return made


@contextmanager
def serving(application: Application) -> Iterator[str]:
    """The address at which an application answers, in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error", timeout_graceful_shutdown=5))
    is_up = threading.Event()
    thread = threading.Thread(target=_serve, args=(server, is_up))
    thread.start()
    try:
        assert is_up.wait(PATIENCE_SECONDS)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)


def _serve(server: uvicorn.Server, is_up: threading.Event) -> None:
    startup = server.startup

    async def started(*args: object, **kwargs: object) -> None:
        await startup(*args, **kwargs)  # type: ignore[arg-type]
        is_up.set()

    server.startup = started  # type: ignore[method-assign]
    server.run()
