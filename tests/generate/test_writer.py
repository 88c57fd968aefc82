from __future__ import annotations

from itertools import count

import pytest
import torch

from tests.conftest import ask
from tinythinker.generate import decode, writer
from tinythinker.generate.label_logps import label_logps
from tinythinker.generate.writer import StudentWriter
from tinythinker.stages.answer import conclusion
from tinythinker.student.encode import whole_target_ids
from tinythinker.student.student import Student

QUESTIONS = [ask("Where?", "up", "down", "out", gold="A"), ask("Where?", "up", "down", gold="A")]
PROMPTS = ["rain\nSummarize:", "Where does rain go?\nSummarize:"]


def test_an_answer_that_begins_as_answers_do_is_scored_while_it_is_written(
    any_student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = label_logps(any_student, PROMPTS, QUESTIONS, batch_size=8)
    (told,) = whole_target_ids(any_student, [conclusion(QUESTIONS[0].options[1], "letter")])
    steps = count()
    monkeypatch.setattr(decode, "best_tokens", lambda logits: torch.full((len(logits),), told[next(steps)]))
    monkeypatch.setattr(writer, "label_logps", lambda *_, **__: pytest.fail("the prompts were read again"))
    made = StudentWriter(any_student, is_sampled=False).write_and_score(PROMPTS, QUESTIONS, len(told))
    for (text, found), wanted in zip(made, expected, strict=True):
        assert text.count_tokens == len(told)
        assert found.logps == pytest.approx(wanted.logps, abs=1e-4)


def test_an_answer_that_begins_in_another_way_is_scored_all_the_same(any_student: Student) -> None:
    found = StudentWriter(any_student, is_sampled=False)
    made = found.write_and_score(PROMPTS, QUESTIONS, 4)
    assert [text for text, _ in made] == found.write(PROMPTS, 4)
    assert [scores for _, scores in made] == found.score_labels(PROMPTS, QUESTIONS)
