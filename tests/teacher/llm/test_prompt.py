from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ask
from tests.teacher.conftest import llm_settings, some_questions
from tinythinker.core.errors import DataError, SettingsError
from tinythinker.core.records import Rationale
from tinythinker.settings.resolve import load_settings
from tinythinker.tasks.registry import benchmark_of
from tinythinker.teacher.llm.parse import parse_completion
from tinythinker.teacher.llm.prompt import WORDINGS, Prompt, make_prompt

QUESTIONS = some_questions(1)


def prompt(*overrides: str) -> Prompt:
    return make_prompt(llm_settings("http://127.0.0.1:9/v1", *overrides), QUESTIONS)


def shown(made: Prompt) -> list[str]:
    """The worked examples of a prompt."""
    return ["\n\n".join(turn) for turn in made.turns]


def test_the_user_turn_gives_question_options_and_the_right_answer() -> None:
    assert prompt().messages(QUESTIONS[0])[-1] == {
        "role": "user",
        "content": "Question: Where is number 0?\nA. up\nB. down\nAnswer: A",
    }


def test_the_gold_answer_can_be_hidden_from_the_teacher_in_question_and_examples() -> None:
    hidden = prompt("teacher.llm.show_gold=false").messages(QUESTIONS[0])
    assert not any("Answer: " in message["content"] for message in hidden)
    assert "Answer: " in prompt().messages(QUESTIONS[0])[1]["content"]


@pytest.mark.parametrize("task", ["csqa", "obqa", "strategyqa"])
def test_the_parser_accepts_every_worked_example(task: str) -> None:
    settings = load_settings(task, ["teacher.source=openai", "teacher.llm.model=m", "teacher.llm.examples=99"])
    examples = shown(make_prompt(settings, QUESTIONS))
    assert len(examples) >= 8
    for example in examples:
        asked, completion = example.split("\n\n")
        lines = asked.split("\n")
        question = ask(lines[0], *(line[3:] for line in lines[1:-1]), gold=lines[-1].removeprefix("Answer: "))
        read = parse_completion(completion, question)
        assert isinstance(read, Rationale)
        assert read.label == question.gold


def test_the_examples_are_a_seeded_draw() -> None:
    first, again, other = prompt(), prompt(), prompt("seed=7")
    assert len(shown(first)) == 7
    assert first == again
    assert shown(first) != shown(other)
    assert shown(prompt("teacher.llm.examples=0")) == []


def test_examples_are_turns_of_the_chat_and_stood_in_the_system_message_before() -> None:
    new, old = (make_prompt(llm_settings("http://127.0.0.1:9/v1"), QUESTIONS, wording) for wording in WORDINGS)
    assert [message["role"] for message in new.messages(QUESTIONS[0])] == ["system", *["user", "assistant"] * 7, "user"]
    assert [message["role"] for message in old.messages(QUESTIONS[0])] == ["system", "user"]
    assert "nothing else: first" in old.system and "nothing else: first" not in new.system
    assert all(example in old.system for example in shown(new))
    assert new.key(QUESTIONS[0]) != old.key(QUESTIONS[0])


def test_the_key_of_a_request_covers_exactly_what_decides_its_answer() -> None:
    key = prompt().key(QUESTIONS[0])
    assert (
        prompt("teacher.llm.max_tokens=9", "teacher.llm.samples=3", "teacher.llm.concurrency=1").key(QUESTIONS[0])
        == key
    )
    for override in ("model=other", "temperature=0.1", "show_gold=false", "structured=true", "examples=3"):
        assert prompt(f"teacher.llm.{override}").key(QUESTIONS[0]) != key
    assert prompt().key(QUESTIONS[0].model_copy(update={"id": "q9"})) != key


def test_more_fields_are_sent_and_belong_to_what_is_asked(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("instruction: x\nrequest: {reasoning_effort: low, top_p: 0.9}")
    file = f"teacher.llm.prompt={tmp_path / 'p.yaml'}"
    of_file, none, more = prompt(file), prompt(file, "teacher.llm.request={}"), prompt(file, MORE)
    body = more.body(QUESTIONS[0])
    assert (body["reasoning_effort"], body["chat_template_kwargs"]) == ("high", {"enable_thinking": False})
    assert "top_p" not in body
    assert of_file.key(QUESTIONS[0]) == none.key(QUESTIONS[0]) != more.key(QUESTIONS[0])
    assert prompt("teacher.llm.request.seed=5").body(QUESTIONS[0])["seed"] == 5


MORE = "teacher.llm.request={reasoning_effort: high, chat_template_kwargs: {enable_thinking: no}, top_p: null}"


@pytest.mark.parametrize(
    ("request_fields", "message"),
    [
        ("{n: 3}", r"setting teacher\.llm\.request: found \['n'\], expected other fields"),
        ("[1]", r"setting teacher\.llm\.request: found no mapping"),
        ("sk-0123456789abcdef0123", r"setting teacher\.llm\.request: found no mapping"),
        ("{x: {api_key: hush-hush}}", r"request: found what looks like a key or a password \(not shown\)"),
        ("{headers: {a: Bearer hush-hush-hush}}", r"request: found what looks like a key"),
        ("{user: sk-0123456789abcdef0123}", r"request: found what looks like a key"),
        ("{proxy: 'http://me:hush@host/'}", r"request: found what looks like a key"),
        ("{user: my-own-key-1234567}", r"request: found the key of OPENAI_API_KEY in it \(not shown\)"),
    ],
)
def test_no_field_of_ours_and_no_secret_is_added_to_a_request(
    monkeypatch: pytest.MonkeyPatch, request_fields: str, message: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "my-own-key-1234567")
    with pytest.raises(SettingsError, match=message) as caught:
        prompt(f"teacher.llm.request={request_fields}")
    assert not any(secret in str(caught.value) for secret in ("hush", "0123", "my-own-key-1"))


def test_the_wordings_are_what_their_answers_were_paid_for_under(tmp_path: Path) -> None:
    # A change here makes every run ask again for what it has paid for: add a wording instead.
    (tmp_path / "p.yaml").write_text(OWN.replace("[yes, no]", '["yes", "no"]'))
    settings = llm_settings("http://127.0.0.1:9/v1", f"teacher.llm.prompt={tmp_path / 'p.yaml'}")
    hashes = {wording: make_prompt(settings, QUESTIONS, wording).hash for wording in WORDINGS}
    assert hashes == {2: "7ea96c3b5a9af3bd", 1: "acd7a3cc0a77ce6e"}


def test_the_form_shows_no_option_that_a_question_may_lack() -> None:
    two, five = ask("Is it?", "yes", "no"), ask("Where?", *"vwxyz")
    settings = llm_settings("http://127.0.0.1:9/v1")
    ends = [make_prompt(settings, some).system.rpartition(" options>\n")[2] for some in ([two], [five], [two, five])]
    because = "Because <one sentence>"
    assert ends == [
        f"A is incorrect. {because}\nB is correct. {because}",
        f"A is incorrect. {because}\nB is correct. {because}\nC is incorrect. {because}\n...",
        f"A is incorrect. {because}\nB is correct. {because}\n...",
    ]


def test_a_temperature_of_null_is_not_sent() -> None:
    assert "temperature" not in prompt("teacher.llm.temperature=null").body(QUESTIONS[0])


def test_the_prompt_family_follows_the_task_or_the_options() -> None:
    assert [benchmark_of(task).prompt_family([]) for task in ("csqa", "obqa", "strategyqa")] == [
        "commonsense",
        "science",
        "yes_no",
    ]
    assert (
        benchmark_of("mine.jsonl").prompt_family([ask("Is it?", "yes", "no"), ask("Is it?", "No", "Yes")]) == "yes_no"
    )
    assert (
        benchmark_of("mine.jsonl").prompt_family([ask("Is it?", "yes", "no"), ask("Where?", "up", "down")])
        == "commonsense"
    )


OWN = """
instruction: Explain the law.
examples:
  - {question: "May I?", options: [yes, no], answer: B, recall: Law is law., analyses: [it is not., it is not.]}
"""


def test_a_custom_file_replaces_instruction_and_examples(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(OWN.replace("[yes, no]", '["yes", "no"]'))
    own = prompt(f"teacher.llm.prompt={tmp_path / 'p.yaml'}")
    assert own.system.startswith("Explain the law.\n\n")
    assert shown(own) == [
        "Question: May I?\nA. yes\nB. no\nAnswer: B\n\n"
        "Key Information: Law is law.\nA is incorrect. Because it is not.\nB is correct. Because it is not."
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("instruction: [", r"p\.yaml:1: found malformed YAML"),
        ("examples: []", r"p\.yaml: instruction: found nothing, expected a value"),
        ("instruction: x\nexample: y", r"p\.yaml: example: found 'y', expected no such field"),
        (OWN, r"options: found \[True, False\], expected texts; in YAML, .yes. and .no. need their quotes"),
        (OWN.replace("[yes, no]", "[up, down]").replace("answer: B", "answer: C"), r"example 1: gold: found 'C'"),
        (OWN.replace("[yes, no]", "[up, down, left]"), r"example 1: analyses: found 2, expected 3, one per option"),
        ("instruction: x\nrequest: {top_p: .nan}", r"request: found .* expected what JSON can hold"),
        ("instruction: x\nrequest: {model: y}", r"request: found \['model'\], expected other fields"),
    ],
)
def test_a_wrong_file_is_a_one_line_error_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        prompt(f"teacher.llm.prompt={tmp_path / 'p.yaml'}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_missing_model_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no such file"):
        prompt(f"teacher.llm.prompt={tmp_path / 'none.yaml'}")
    with pytest.raises(SettingsError, match=r"setting teacher\.llm\.model: found None"):
        prompt("teacher.llm.model=null")
