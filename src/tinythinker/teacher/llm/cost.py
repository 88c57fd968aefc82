"""What asking costs: prices, an estimate before anything is sent, and totals of what was used."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict

from tinythinker.core.formats import yaml_mapping
from tinythinker.core.records import Question, Record
from tinythinker.settings.schema import LlmSettings
from tinythinker.teacher.llm.ledger import MOST_DOUBLINGS, Job
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.usage import Price

_CHARACTERS_PER_TOKEN = 4.0
"""Roughly, for English text; recent vocabularies need slightly fewer tokens."""
_TOKENS_AROUND = 8
"""Tokens of the fixed wording around a recall or an analysis ("A is incorrect. Because")."""
_TOKENS_PER_MESSAGE = 4
"""Tokens that the chat format adds to every message."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    batch: float
    models: dict[str, Price]


@cache
def price_table() -> _Table:
    """The package's price table (`prices.yaml`)."""
    text = (resources.files("tinythinker") / "teacher" / "llm" / "prices.yaml").read_text(encoding="utf-8")
    return _Table.model_validate(yaml_mapping(text, "prices.yaml", "a table"))


def price_of(model: str, llm: LlmSettings, *, is_batch: bool = False) -> Price | None:
    """Price of a model: from the settings, else from the table, else None.

    Only a price from the table gets the batch discount; one from the settings is used unchanged.
    """
    table = price_table()
    listed = table.models.get(listed_name(model))
    if listed is not None and is_batch:
        listed = Price(**{name: value * table.batch for name, value in listed.model_dump().items()})
    given_input, given_output = llm.input_price, llm.output_price
    if listed is None:
        if given_input is None or given_output is None:
            return None
        return Price(input=given_input, cached=given_input, output=given_output)
    return Price(
        input=listed.input if given_input is None else given_input,
        cached=listed.cached if given_input is None else given_input,
        output=listed.output if given_output is None else given_output,
    )


def listed_name(model: str) -> str:
    """A model's name in the table: without provider, and without date unless the table lists that date.

    >>> listed_name("openai/gpt-4o-mini-2024-07-18")
    'gpt-4o-mini'
    """
    bare = model.rsplit("/", 1)[-1]
    return bare if bare in price_table().models else re.sub(r"-\d{4}-\d{2}-\d{2}$", "", bare)


def price_source(model: str, llm: LlmSettings) -> str:
    """Where a model's price comes from, as text to print; if there is none, what to do about it."""
    given = [name for name in ("input_price", "output_price") if getattr(llm, name) is not None]
    by_settings = " and ".join(f"teacher.llm.{name}" for name in given)
    if len(given) == 2:
        return by_settings
    if (listed := listed_name(model)) in price_table().models:
        name = "" if listed == model else f" for {listed}"
        return (f"{by_settings} and " if by_settings else "") + f"the package's table{name} as of {price_table().as_of}"
    return (
        f"none: {model} is not in the package's price table; set teacher.llm.input_price and "
        "teacher.llm.output_price (US dollars per million tokens; 0 for your own model)"
    )


def count_tokens(text: str) -> int:
    """Estimated tokens of a text; the true count depends on the teacher's vocabulary.

    >>> count_tokens("Rain is wet.")
    3
    """
    return -(-len(text) // int(_CHARACTERS_PER_TOKEN))


def prompt_tokens(prompt: Prompt, question: Question) -> int:
    """Estimated prompt tokens of one request."""
    return sum(count_tokens(message["content"]) + _TOKENS_PER_MESSAGE for message in prompt.messages(question))


def dollars(amount: float | None) -> str:
    """An amount in US dollars as text to print, with four decimals below one dollar.

    >>> dollars(1234.5), dollars(0.0123), dollars(None)
    ('$1,234.50', '$0.0123', 'not known')
    """
    if amount is None:
        return "not known"
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"


class Estimate(Record):
    """What the next wave costs at most, before anything is sent: every completion at its token limit."""

    model: str
    questions: int
    requests: int
    completions: int
    prompt_tokens: int
    completion_tokens: int
    """At most: completions times max_tokens."""
    likely_completion_tokens: int
    """Completion tokens if completions are as long as the worked examples."""
    cost: float | None
    """Most US dollars for the first wave; None if the price is not known."""
    likely_cost: float | None
    separate_cost: float | None
    """Most US dollars if the endpoint returns one completion per request, so each one pays for the prompt."""
    all_waves_cost: float | None
    """Most US dollars for all remaining waves, if no completion is usable and every one is cut off."""
    batch_cost: float | None
    """Most US dollars for the first wave with the Batch API."""
    price: Price | None
    price_source: str
    received: int = 0
    """Usable completions already received, which are not part of the estimate."""

    def lines(self) -> list[str]:
        """The estimate as lines to print."""
        received = f"; {self.received:,} already received" if self.received else ""
        per = f", {self.prompt_tokens / self.requests:,.0f} per request" if self.requests else ""
        if not self.requests:
            return [f"nothing to ask {self.model} for{received}"]
        lines = [
            f"model               {self.model}",
            f"requests            {self.requests:,}, one per training question, for {self.completions:,} completions"
            f"{received}",
            f"prompt tokens       about {self.prompt_tokens:,}{per}",
            f"completion tokens   at most {self.completion_tokens:,}; likely "
            f"{self.likely_completion_tokens:,}, going by the length of the worked examples",
        ]
        if self.price is None or self.cost is None:
            return [*lines, f"price               {self.price_source}"]
        prices = f"${self.price.input:g} and ${self.price.output:g} per million prompt and completion tokens"
        return [
            *lines,
            f"price               {prices}, from {self.price_source}",
            f"cost                at most {dollars(self.cost)} for the first wave; likely {dollars(self.likely_cost)}",
            f"  later waves       ask again for what failed: at most {dollars(self.all_waves_cost)} "
            "including the first wave",
            f"  without `n`       at most {dollars(self.separate_cost)}, if every completion needs a request",
            f"  by batch          at most {dollars(self.batch_cost)}, if there is a Batch API (teacher.llm.mode=batch)",
            "teacher.llm.budget sets a hard limit",
        ]


def estimate(jobs: Sequence[Job], prompt: Prompt, llm: LlmSettings, received: int = 0) -> Estimate:
    """The estimate for a list of jobs, with one request per job."""
    prompts = {job.question.id: prompt_tokens(prompt, job.question) for job in jobs}
    inputs = sum(prompts.values())
    separate_inputs = sum(prompts[job.question.id] * job.wanted for job in jobs)
    outputs = sum(job.wanted * job.max_tokens for job in jobs)
    likely = sum(job.wanted * min(job.max_tokens, _likely_length(job.question, prompt)) for job in jobs)
    price = price_of(prompt.model, llm, is_batch=llm.mode == "batch")
    batch_price = price_of(prompt.model, llm, is_batch=True)
    return Estimate(
        model=prompt.model,
        questions=len(prompts),
        requests=len(jobs),
        completions=sum(job.wanted for job in jobs),
        prompt_tokens=inputs,
        completion_tokens=outputs,
        likely_completion_tokens=likely,
        cost=price.of(inputs, outputs) if price else None,
        likely_cost=price.of(inputs, likely) if price else None,
        separate_cost=price.of(separate_inputs, outputs) if price else None,
        all_waves_cost=_all_waves(jobs, inputs, outputs, price, llm) if price else None,
        batch_cost=batch_price.of(inputs, outputs) if batch_price else None,
        price=price,
        price_source=price_source(prompt.model, llm),
        received=received,
    )


def _all_waves(jobs: Sequence[Job], inputs: int, outputs: int, price: Price, llm: LlmSettings) -> float:
    """US dollars if each wave from this one on asks for everything again, with twice the tokens each time."""
    left = llm.waves - min((job.wave for job in jobs), default=llm.waves + 1) + 1
    return sum(price.of(inputs, outputs * 2 ** min(wave, MOST_DOUBLINGS)) for wave in range(left))


def _likely_length(question: Question, prompt: Prompt) -> int:
    """Tokens of a completion whose sentences are as long as those of the worked examples."""
    per_sentence = _TOKENS_AROUND + count_tokens("x" * prompt.sentence_length)
    return per_sentence * (1 + len(question.options))


def spent(totals: Mapping[tuple[str, bool, str], int], llm: LlmSettings) -> float | None:
    """US dollars for everything in a ledger; None if a model's price is not known."""
    by_kind: dict[tuple[str, bool], Counter[str]] = {}
    for (model, is_batch, name), count in totals.items():
        by_kind.setdefault((model, is_batch), Counter())[name] += count
    total = 0.0
    for (model, is_batch), counts in by_kind.items():
        price = price_of(model, llm, is_batch=is_batch)
        if price is None:
            return None
        total += price.of(counts["prompt_tokens"], counts["completion_tokens"], counts["cached_tokens"])
    return total


def used_tokens(totals: Mapping[tuple[str, bool, str], int]) -> int:
    """Tokens used for everything in a ledger, prompts and completions together."""
    sums = sum_over_models(totals)
    return sums.get("prompt_tokens", 0) + sums.get("completion_tokens", 0)


def sum_over_models(totals: Mapping[tuple[str, bool, str], int]) -> dict[str, int]:
    """A ledger's counts by kind, summed over models."""
    sums: Counter[str] = Counter()
    for (_, _, name), count in totals.items():
        sums[name] += count
    return dict(sums)
