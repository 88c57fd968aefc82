"""Where a student that recalls before it answers loses its answers.

    python experiments/real/attribution.py RUN ECQA_DIR
    python experiments/real/attribution.py RUN RECALLS.jsonl

Its validation questions are answered without a recall, with its own, with another question's, with the teacher's, and
with the scores of both ways added.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tinythinker.core.records import Question, Rationale
from tinythinker.core.run import RunDirectory
from tinythinker.evaluate.score import wilson
from tinythinker.generate.endings import Ending, ending_logps, normalized
from tinythinker.generate.think import Thought, think
from tinythinker.student.load import load_student
from tinythinker.student.precision import decoding
from tinythinker.student.student import Student
from tinythinker.teacher.ecqa import ecqa_files, ecqa_rationales
from tinythinker.teacher.recorded import recorded_rationales as recorded
from tinythinker.teacher.taught import read_questions


def main(run: RunDirectory, teacher: Path) -> None:
    student = load_student(run.student(run.trainings()[-1]))
    questions = read_questions(run, "valid")
    given = ecqa_rationales(ecqa_files(teacher), questions) if teacher.is_dir() else recorded(teacher, questions)[1]
    told = {answer.question_id: answer.recall for answer in given if isinstance(answer, Rationale)}
    own = [chain.recall for chain in think(student, [Thought(question) for question in questions])]
    halved = decoding(student, is_sampled=False)
    direct = scores(halved, questions, [None] * len(questions))
    recalled = scores(halved, questions, own)
    print_share("no recall", questions, direct)
    print_share("own recall", questions, recalled)
    print_share(
        "both added",
        questions,
        [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(direct, recalled, strict=True)],
    )
    print_share("another question's recall", questions, scores(halved, questions, [*own[1:], own[0]]))
    known = [question for question in questions if question.id in told]
    print_share("teacher's recall", known, scores(halved, known, [told[question.id] for question in known]))
    print_share("own recall, the same questions", known, [recalled[questions.index(question)] for question in known])
    for question, recall in list(zip(questions, own, strict=True))[:8]:
        gold = question.text_of(str(question.gold))
        print(f"- {question.stem} [{gold}] {recall} | teacher: {told.get(question.id)}")


def scores(student: Student, questions: Sequence[Question], recalls: list[str | None]) -> list[list[float]]:
    template = student.recipe.template
    prompts = [template.summarize_prompt(q, recall, ()) for q, recall in zip(questions, recalls, strict=True)]
    texts = [[template.conclusion(q, label) for label in q.labels] for q in questions]
    made: list[list[Ending]] = ending_logps(student, prompts, texts, batch_size=64)
    return [normalized(some, student.recipe.normalize) for some in made]


def print_share(name: str, questions: Sequence[Question], found: list[list[float]]) -> None:
    right = sum(q.labels[some.index(max(some))] == q.gold for q, some in zip(questions, found, strict=True))
    share = wilson(right, len(questions))
    print(f"{name}: {share.share:.1%} ({share.low:.1%} to {share.high:.1%}, n = {len(questions)})", flush=True)


if __name__ == "__main__":
    main(RunDirectory(Path(sys.argv[1])), Path(sys.argv[2]))
