from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import ARCHITECTURES, ask, tiny_of
from tinythinker.core.records import Question
from tinythinker.evaluate.untrained import answer_untrained
from tinythinker.settings.resolve import load_settings
from tinythinker.settings.schema import RunSettings
from tinythinker.stages.template import Template
from tinythinker.student.student import Student

TRAIN = [ask("Where?", "up", "down", gold=gold, id=f"t{i}") for i, gold in enumerate("ABBA")]


def answered(how: str, questions: list[Question]) -> list[str | None]:
    verdicts = answer_untrained(how, questions, TRAIN, load_settings("storeroom"))
    return [verdict.answer for verdict in verdicts[how]]


def test_the_majority_is_the_most_frequent_label_and_ties_go_to_the_earlier() -> None:
    questions = [ask("Who?", "I", "you", gold="B"), ask("Who?", "I", "you", "they", gold="C", id="q2")]
    assert answered("majority", questions) == ["A", "A"]
    first = answer_untrained("majority", questions, TRAIN, load_settings("storeroom"))["majority"][0]
    assert first.chains[0].conclusion == "I"  # what a comparison shows of the chain
    TRAIN.append(ask("Where?", "up", "down", gold="B", id="t4"))
    assert answered("majority", questions) == ["B", "B"]


def test_random_answers_depend_on_the_seed_and_use_every_label() -> None:
    questions = [ask("Who?", "I", "you", "they", gold="C", id=f"q{i}") for i in range(60)]
    assert answered("random", questions) == answered("random", questions)
    assert set(answered("random", questions)) == {"A", "B", "C"}


QUESTIONS = [
    ask("Where does rain go?", "up", "down it does", "nowhere", gold="B"),
    ask("Where is rain?", "nowhere", "up up up up", gold="A", id="q2"),
]


def settings_for(student: Path) -> RunSettings:
    """Settings of a student that has few positions."""
    limits = ("student.max_target_tokens", *(f"generate.max_{what}_tokens" for what in ("recall", "analysis")))
    overrides = [f"{key}=16" for key in (*limits, "generate.max_conclusion_tokens")]
    return load_settings("csqa", [f"student.name={student}", *overrides])


def plainly(student: Student, prompt: str, text: str) -> list[float]:
    """Log-probability of every token of a text after a prompt, by a plain loop over the whole text."""
    tokenizer, model = student.tokenizer, student.model.eval()
    with torch.no_grad():
        if not student.is_causal:
            labels = tokenizer(text, return_tensors="pt")["input_ids"][:, :-1]
            logits = model(**tokenizer(prompt, return_tensors="pt"), labels=labels).logits[0]
            return [float(row.log_softmax(0)[token]) for row, token in zip(logits, labels[0], strict=True)]
        before = tokenizer(prompt)["input_ids"]
        before = before[:-1] if before[-1] == tokenizer.eos_token_id else before
        after = tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        logits = model(input_ids=torch.tensor([before + after])).logits[0]
        return [float(logits[len(before) + i - 1].log_softmax(0)[token]) for i, token in enumerate(after)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_most_likely_text_matches_a_plain_loop_in_all_three_ways_of_comparing(
    architecture: str, tmp_path: Path
) -> None:
    student = tiny_of(architecture, dropout=0.0)
    student.save(tmp_path / "student")
    found = answer_untrained("pretrained", QUESTIONS, [], settings_for(tmp_path / "student"))
    for place, question in enumerate(QUESTIONS):
        prompt = Template("cloze").summarize_prompt(question, None, ())
        assert prompt == f"Question: {question.stem}\nAnswer:"
        logps = {option.label: plainly(student, prompt, option.text) for option in question.options}
        lengths = {option.label: len(option.text) for option in question.options}
        scores = {
            "cloze": {label: sum(some) / lengths[label] for label, some in logps.items()},
            "cloze_sum": {label: sum(some) for label, some in logps.items()},
            "cloze_token": {label: sum(some) / len(some) for label, some in logps.items()},
        }
        best = {name: max(by_label, key=by_label.__getitem__) for name, by_label in scores.items()}
        assert {name: found[name][place].answer for name in best} == best


def test_the_most_likely_letter_matches_a_plain_loop(tmp_path: Path) -> None:
    student = tiny_of("llama", dropout=0.0)
    student.save(tmp_path / "student")
    found = answer_untrained("pretrained", QUESTIONS, [], settings_for(tmp_path / "student"))["letters"]
    for verdict, question in zip(found, QUESTIONS, strict=True):
        options = "\n".join(f"{option.label}. {option.text}" for option in question.options)
        prompt = f"Question: {question.stem}\n{options}\nAnswer:"
        scores = {label: sum(plainly(student, prompt, label)) for label in question.labels}
        assert verdict.answer == max(scores, key=scores.__getitem__)
