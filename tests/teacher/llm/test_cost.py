from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ask
from tests.teacher.conftest import some_questions
from tinythinker.settings.schema import LlmSettings
from tinythinker.teacher.llm.cost import estimate, price_of, price_source, spent
from tinythinker.teacher.llm.interview import estimate_cost
from tinythinker.teacher.llm.ledger import Job
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.llm.tokens import prompt_tokens
from tinythinker.teacher.usage import Price

PROMPT = Prompt(system="s" * 400, show_gold=True, structured=False, model="m", temperature=0.8, extra={})


def test_a_price_is_per_million_and_cached_tokens_have_their_own() -> None:
    price = Price(input=2.0, cached=0.5, output=8.0)
    # 300k at 2, 700k at 0.5, 250k at 8
    assert price.of(1_000_000, 250_000, 700_000) == pytest.approx(0.6 + 0.35 + 2.0)


def test_an_estimate_counts_prompts_once_per_request_and_completions_at_full_length() -> None:
    question = ask("Where?", "up", "down")
    jobs = [Job(question, 1, 8, 256), Job(question.model_copy(update={"id": "q2"}), 1, 2, 512)]
    own = estimate(jobs, PROMPT, LlmSettings(model="m", input_price=10, output_price=30))
    # system 400 characters, user "Question: Where?\nA. up\nB. down\nAnswer: A" 40: 100 + 10 tokens, 4 more a message
    assert prompt_tokens(PROMPT, question) == 118
    assert own.prompt_tokens == 2 * 118
    assert own.completion_tokens == 8 * 256 + 2 * 512
    assert own.cost == pytest.approx((2 * 118 * 10 + 3072 * 30) / 1e6)
    assert own.separate_cost == pytest.approx((10 * 118 * 10 + 3072 * 30) / 1e6)
    assert (own.requests, own.completions) == (2, 10)


@pytest.mark.data
@pytest.mark.parametrize(("task", "paid"), [("csqa", 337), ("obqa", 115), ("strategyqa", 38)])
def test_the_estimate_for_the_papers_teacher_is_near_its_authors_figure(data_dir: Path, task: str, paid: float) -> None:
    # METHOD section 2: gpt-4o-2024-05-13, at most 256 tokens, 8 completions per question (CommonsenseQA) or 4. Our
    # worked examples are not theirs: with 8 of them our prompts are longer than theirs, with 7 about as long.
    model = ("teacher.llm.model=gpt-4o-2024-05-13", "teacher.llm.examples=7")
    own = estimate_cost(task, [f"data_dir={data_dir / task}", *model])
    assert own.cost == pytest.approx(paid, rel=0.02)


def test_an_unknown_model_has_no_price_and_the_estimate_asks_for_one() -> None:
    own = estimate([Job(q, 1, 8, 256) for q in some_questions(2)], PROMPT, LlmSettings(model="local"))
    assert own.cost is None
    assert own.lines()[-1].startswith(
        "price               none: m is not in the price list (genai-prices); set teacher."
    )


def test_prices_in_the_settings_override_the_table() -> None:
    given = LlmSettings(model="m", input_price=0, output_price=0)
    assert price_of("gpt-4o", given) == Price(input=0, cached=0, output=0)
    half = LlmSettings(model="m", input_price=7)
    assert price_of("gpt-4o", half) == Price(input=7, cached=7, output=10)
    assert price_of("unheard-of", half) is None


LOCAL = "http://localhost:4000/v1"


@pytest.mark.parametrize(
    ("model", "address", "source"),
    [
        ("gpt-4o-2024-05-13", "https://api.openai.com/v1", r"genai-prices [\d.]+"),  # has its own price
        ("openai/gpt-4o-mini-2024-07-18", LOCAL, r"genai-prices [\d.]+ for gpt-4o-mini"),
        ("openai/gpt-4o-mini", "https://openrouter.ai/api/v1", r"genai-prices [\d.]+"),
        ("qwen3:4b", LOCAL, r"none: qwen3:4b is not in the price list .*"),
    ],
)
def test_a_model_is_found_without_provider_prefix_and_date(model: str, address: str, source: str) -> None:
    assert re.fullmatch(source, price_source(model, LlmSettings(model="m", base_url=address)))


def test_the_estimate_of_all_waves_repeats_everything_with_doubled_tokens() -> None:
    llm = LlmSettings(model="m", waves=3, input_price=1000, output_price=2000)
    own = estimate([Job(ask("Where?", "up", "down"), 1, 1, 100)], PROMPT, llm)
    # 3 x 118 prompt tokens at 1000, and 100 + 200 + 400 completion tokens at 2000 per million
    assert own.all_waves_cost == pytest.approx((3 * 118 * 1000 + 700 * 2000) / 1e6)


def test_a_batch_costs_half_where_the_list_says_so() -> None:
    plain = LlmSettings(model="m")
    assert price_of("gpt-4o-2024-05-13", plain) == Price(input=5, cached=5, output=15)  # the paper's teacher
    assert price_of("gpt-4o-2024-05-13", plain, is_batch=True) == Price(input=2.5, cached=2.5, output=7.5)


def test_an_estimate_that_stands_on_the_limit_says_so() -> None:
    question = ask("Where?", "up", "down")
    cramped = estimate([Job(question, 1, 2, 50)], PROMPT, LlmSettings(model="m"))
    assert any("teacher.llm.max_tokens is no more than that" in line for line in cramped.lines())
    roomy = estimate([Job(question, 1, 2, 256)], PROMPT, LlmSettings(model="m"))
    assert not any("is no more than that" in line for line in roomy.lines())


def test_spending_is_summed_by_model_and_request_mode() -> None:
    totals = {
        ("gpt-4o", False, "prompt_tokens"): 1_000_000,
        ("gpt-4o", False, "cached_tokens"): 400_000,
        ("gpt-4o", True, "completion_tokens"): 1_000_000,
    }
    # 600k at 2.50 and 400k at 1.25; a million in a batch at 10 / 2
    assert spent(totals, LlmSettings(model="m")) == pytest.approx(1.5 + 0.5 + 5.0)
    assert spent({("unheard-of", False, "prompt_tokens"): 1}, LlmSettings(model="m")) is None
    assert spent({}, LlmSettings(model="m")) == 0
