from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ask
from tests.teacher.conftest import llm_settings, some_questions
from tinythinker.settings.schema import load_settings
from tinythinker.teacher.llm.cost import (
    Price,
    count_tokens,
    estimate,
    listed_name,
    price_of,
    price_table,
    prompt_tokens,
    spent,
)
from tinythinker.teacher.llm.interview import estimate_cost
from tinythinker.teacher.llm.ledger import Job
from tinythinker.teacher.llm.prompt import Prompt

PROMPT = Prompt(system="s" * 400, show_gold=True, structured=False, model="m", temperature=0.8, extra={})


def test_a_price_is_per_million_and_cached_tokens_have_their_own() -> None:
    price = Price(input=2.0, cached=0.5, output=8.0)
    # 300k at 2, 700k at 0.5, 250k at 8
    assert price.of(1_000_000, 250_000, 700_000) == pytest.approx(0.6 + 0.35 + 2.0)


def test_an_estimate_counts_a_prompt_once_per_request_and_completions_at_their_longest() -> None:
    question = ask("Where?", "up", "down")
    jobs = [Job(question, 1, 8, 256), Job(question.model_copy(update={"id": "q2"}), 1, 2, 512)]
    teacher = llm_settings("http://127.0.0.1:9/v1", "teacher.input_price=10", "teacher.output_price=30").teacher
    own = estimate(jobs, PROMPT, teacher)
    # system 400 characters, user "Question: Where?\nA. up\nB. down\nAnswer: A" 40: 100 + 10 tokens, 4 more a message
    assert prompt_tokens(PROMPT, question) == 118
    assert own.prompt_tokens == 2 * 118
    assert own.completion_tokens == 8 * 256 + 2 * 512
    assert own.cost == pytest.approx((2 * 118 * 10 + 3072 * 30) / 1e6)
    assert own.separate_cost == pytest.approx((10 * 118 * 10 + 3072 * 30) / 1e6)
    assert (own.requests, own.completions) == (2, 10)


@pytest.mark.data
@pytest.mark.parametrize(("task", "paid"), [("csqa", 337), ("obqa", 115), ("strategyqa", 38)])
def test_the_estimate_for_the_papers_teacher_is_near_what_its_authors_reckoned(
    data_dir: Path, task: str, paid: float
) -> None:
    # METHOD section 2: gpt-4o-2024-05-13, at most 256 tokens, 8 completions per question (CommonsenseQA) or 4
    own = estimate_cost(task, [f"data_dir={data_dir / task}", "teacher.model=gpt-4o-2024-05-13"])
    assert own.cost == pytest.approx(paid, rel=0.02)


def test_an_unknown_model_has_no_price_and_the_estimate_asks_for_one() -> None:
    teacher = load_settings("mine.jsonl", ["teacher.source=openai", "teacher.model=local"]).teacher
    own = estimate([Job(q, 1, 8, 256) for q in some_questions(2)], PROMPT, teacher)
    assert own.cost is None
    assert own.lines()[-1].startswith(
        "price               none: m is not in the package's price table; set teacher.input_"
    )


def test_prices_given_as_settings_go_before_the_table() -> None:
    given = load_settings("csqa", ["teacher.input_price=0", "teacher.output_price=0"]).teacher
    assert price_of("gpt-4o", given) == Price(input=0, cached=0, output=0)
    half = load_settings("csqa", ["teacher.input_price=7"]).teacher
    assert price_of("gpt-4o", half) == Price(input=7, cached=7, output=10)
    assert price_of("unheard-of", half) is None


@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),  # has a price of its own
        ("openai/gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4o-mini", "gpt-4o-mini"),
        ("qwen3:4b", "qwen3:4b"),
    ],
)
def test_a_model_is_found_without_its_provider_and_its_date(model: str, listed: str) -> None:
    assert listed_name(model) == listed


def test_all_waves_together_ask_for_everything_again_with_twice_the_tokens() -> None:
    teacher = llm_settings("http://127.0.0.1:9/v1", "teacher.waves=3").teacher
    own = estimate([Job(ask("Where?", "up", "down"), 1, 1, 100)], PROMPT, teacher)
    # 118 prompt tokens thrice at 1000, and 100 + 200 + 400 completion tokens at 2000 per million
    assert own.all_waves_cost == pytest.approx((3 * 118 * 1000 + 700 * 2000) / 1e6)


def test_the_table_is_dated_and_a_batch_takes_half() -> None:
    table, plain = price_table(), load_settings("csqa").teacher
    assert table.as_of.year >= 2026
    assert table.models["gpt-4o-2024-05-13"] == Price(input=5, cached=5, output=15)
    assert price_of("gpt-4o-2024-05-13", plain, is_batch=True) == Price(input=2.5, cached=2.5, output=7.5)


def test_what_was_spent_is_summed_by_model_and_way_of_asking() -> None:
    totals = {
        ("gpt-4o", False, "prompt_tokens"): 1_000_000,
        ("gpt-4o", False, "cached_tokens"): 400_000,
        ("gpt-4o", True, "completion_tokens"): 1_000_000,
    }
    # 600k at 2.50 and 400k at 1.25; a million of a batch's at 10 / 2
    assert spent(totals, load_settings("csqa").teacher) == pytest.approx(1.5 + 0.5 + 5.0)
    assert spent({("unheard-of", False, "prompt_tokens"): 1}, load_settings("csqa").teacher) is None
    assert spent({}, load_settings("csqa").teacher) == 0


def test_four_characters_count_as_a_token_and_what_is_left_as_one() -> None:
    assert [count_tokens(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]
