"""What asking costs: prices, an estimate before anything is sent, and totals of what was used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

from tinythinker.core.records import Record
from tinythinker.settings.schema import LlmSettings
from tinythinker.teacher.llm.ledger import MOST_DOUBLINGS, Job
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.llm.tokens import likely_tokens, prompt_tokens
from tinythinker.teacher.usage import Price

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

_PER = 1000
"""Tokens that prices are looked up for: few enough for the lowest tier of every model."""
_OPENAI = "openai"


@cache
def _listed(model: str, address: str, *, is_batch: bool = False) -> tuple[str, Price] | None:
    """A model's name and price in the list that the package `genai-prices` brings with it; nothing is fetched.

    Looked up with the provider at `teacher.llm.base_url`; at an address that the list does not know, with OpenAI, whose
    models others serve under the same names.
    """
    from genai_prices import Usage, calc_price  # it takes a fifth of a second

    context = {"processing": "batch"} if is_batch else None

    def find(usage: Usage) -> PriceCalculation:
        try:
            return calc_price(usage, model, provider_api_url=address, price_context=context)
        except LookupError:
            return calc_price(usage, model.rsplit("/", 1)[-1], provider_id=_OPENAI, price_context=context)

    try:
        found = find(Usage(input_tokens=_PER))
        cached, output = find(Usage(input_tokens=_PER, cache_read_tokens=_PER)), find(Usage(output_tokens=_PER))
    except LookupError:
        return None
    per_million = [float(one.total_price) * 1e6 / _PER for one in (found, cached, output)]
    return found.model.id, Price(input=per_million[0], cached=per_million[1], output=per_million[2])


def price_of(model: str, llm: LlmSettings, *, is_batch: bool = False) -> Price | None:
    """Price of a model: from the settings, else from the price list, else None.

    Only a price from the list gets the batch discount; one from the settings is used unchanged.
    """
    given_input, given_output = llm.input_price, llm.output_price
    if given_input is not None and given_output is not None:
        return Price(input=given_input, cached=given_input, output=given_output)
    found = _listed(model, llm.base_url, is_batch=is_batch)
    if found is None:
        return None
    _, listed = found
    return Price(
        input=listed.input if given_input is None else given_input,
        cached=listed.cached if given_input is None else given_input,
        output=listed.output if given_output is None else given_output,
    )


def price_source(model: str, llm: LlmSettings) -> str:
    """Where a model's price comes from, as text to print; if there is none, what to do about it."""
    given = [name for name in ("input_price", "output_price") if getattr(llm, name) is not None]
    by_settings = " and ".join(f"teacher.llm.{name}" for name in given)
    if len(given) == 2:
        return by_settings
    if (found := _listed(model, llm.base_url)) is not None:
        listed, _ = found
        name = "" if listed == model else f" for {listed}"
        source = f"genai-prices {metadata.version('genai-prices')}{name}"
        return (f"{by_settings} and " if by_settings else "") + source
    return (
        f"none: {model} is not in the price list (genai-prices); set teacher.llm.input_price and "
        "teacher.llm.output_price (US dollars per million tokens; 0 for your own model)"
    )


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
        if self.likely_completion_tokens >= self.completion_tokens:
            lines.append("  too few           teacher.llm.max_tokens is no more than that: many will be cut; raise it")
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
    likely = sum(job.wanted * min(job.max_tokens, likely_tokens(prompt, job.question)) for job in jobs)
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
