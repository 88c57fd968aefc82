"""A language model as teacher source: asks until everything is there, then reads what it said."""

from __future__ import annotations

from tinythinker.teacher.llm.interview import Interview
from tinythinker.teacher.llm.prompt import llm_of
from tinythinker.teacher.source import Asking, Given


def language_model(asking: Asking) -> Given:
    """The source `openai`.

    Raises:
        TeacherError: it could not be asked everything; what was received is kept.
        KeyboardInterrupt: the user stopped it; the same.
    """
    llm = llm_of(asking.settings)
    interview = Interview(asking.settings, asking.questions, asking.run)
    interview.ask()
    model = interview.answered_by()
    return Given(
        answers=interview.answers(),
        usage=interview.usage(),
        licence=f"written by {model}; the terms of its provider apply",
        inputs=(llm.prompt,) if llm.prompt else (),
        missing=interview.missing(),
        model=model,
        prompt=interview.prompt.hash,
    )
