from __future__ import annotations

from pathlib import Path

from tests.conftest import ask, tiny_recipe, tiny_student
from tinythinker.core.files import read_records
from tinythinker.core.records import Verdict
from tinythinker.evaluate.score import verdicts_name
from tinythinker.evaluate.verdicts import answer_all, write_verdicts
from tinythinker.settings.schema import EvaluateSettings

QUESTIONS = [ask("Where does rain go?", "up", "down", gold="B", id=f"q{i}") for i in range(3)]


def test_a_file_of_verdicts_is_named_after_who_answered_what_and_how() -> None:
    assert verdicts_name("round-1", EvaluateSettings()) == "round-1.test.greedy"
    voted = EvaluateSettings(split="valid", votes=5, temperature=0.5)
    assert verdicts_name("phase-1", voted) == "phase-1.valid.vote-5-at-0.5"


def test_self_consistency_keeps_every_chain_and_its_likelihood() -> None:
    student = tiny_student(recipe=tiny_recipe(answer="constrained"))
    verdicts = answer_all(student, QUESTIONS, EvaluateSettings(votes=4, temperature=1.0), 0, None)
    assert [len(verdict.chains) for verdict in verdicts] == [4, 4, 4]
    assert all(chain.answer_logp is not None for verdict in verdicts for chain in verdict.chains)
    assert len({chain.recall for chain in verdicts[0].chains}) > 1


def test_one_verdict_per_question_is_written_to_disk(tmp_path: Path) -> None:
    file = tmp_path / "phase-1.test.greedy.jsonl"
    made = write_verdicts(file, tiny_student(), QUESTIONS, EvaluateSettings(), 0, None)
    assert read_records(file, Verdict) == list(made)
    assert [verdict.question_id for verdict in made] == ["q0", "q1", "q2"]
