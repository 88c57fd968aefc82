"""What may still be spent. The budget holds even if every request under way is billed in full."""

from __future__ import annotations

from collections.abc import Callable

from tinythinker.core.errors import SettingsError
from tinythinker.core.records import Question
from tinythinker.settings.schema import LlmSettings
from tinythinker.teacher.llm.cost import price_of, spent, used_tokens
from tinythinker.teacher.llm.ledger import Job, Ledger, Reply
from tinythinker.teacher.llm.prompt import Prompt
from tinythinker.teacher.llm.tokens import prompt_tokens
from tinythinker.teacher.usage import Lost

_BATCH_CAUTION = 2.0
"""Safety factor for estimated prompt tokens until the endpoint has counted some."""


class Purse:
    """What may still be spent; requests under way count at their highest possible cost, so the budget holds.

    Prompt tokens are estimated until an answer counts them; every count corrects the estimate. So it does with an
    endpoint that bills more completion tokens than it was allowed to make.

    Args:
        lost: what earlier calls may have been billed for without a readable answer; it stays held.
    """

    def __init__(self, llm: LlmSettings, prompt: Prompt, ledger: Ledger, lost: Lost) -> None:
        self._llm, self._prompt, self._ledger = llm, prompt, ledger
        self._price = price_of(prompt.model, llm, is_batch=llm.mode == "batch")
        self.lost = lost
        """What tries were perhaps billed for without a readable answer, in this and all earlier calls."""
        self._held_tokens, self._held_cost = lost.tokens, lost.cost
        # A batch is sent as a whole, before any of its prompts has been counted.
        self._ratio = _BATCH_CAUTION if llm.mode == "batch" and ledger.last_counted is None else 1.0
        self._overrun = 1.0
        """Most completion tokens billed so far over those allowed: some endpoints think outside of the limit."""
        self.learn_from_ledger()
        if llm.budget is not None and (self._price is None or spent(ledger.totals, llm) is None):
            raise SettingsError(
                f"teacher.llm.budget={llm.budget:g}: found no price of {prompt.model}, expected "
                "teacher.llm.input_price and teacher.llm.output_price (US dollars per million tokens), or "
                "teacher.llm.budget_tokens instead"
            )

    def prompt_tokens(self, job: Job) -> int:
        """The best available estimate of a job's prompt tokens."""
        return round(prompt_tokens(self._prompt, job.question) * self._ratio)

    def most(self, job: Job) -> int:
        """Most tokens that a job may use, prompt and completions together."""
        return self.prompt_tokens(job) + self._most_made(job)

    def _most_made(self, job: Job) -> int:
        return round(job.wanted * job.max_tokens * self._overrun)

    def most_cost(self, job: Job) -> float:
        """Most US dollars that a job may cost; 0 where the price is not known."""
        return self._price.of(self.prompt_tokens(job), self._most_made(job)) if self._price else 0.0

    def lose(self, job: Job) -> None:
        """Count a try as spent if it may have been billed without a readable answer."""
        tokens, cost = self.most(job), self.most_cost(job)
        self._held_tokens += tokens
        self._held_cost += cost
        self.lost = Lost(tokens=self.lost.tokens + tokens, cost=self.lost.cost + cost)

    def is_exceeded(self) -> bool:
        """Could the spent, reserved and possibly lost amounts together exceed the budget?"""
        return not self._allows(0, 0.0)

    def _allows(self, tokens: int, cost: float) -> bool:
        """Does the budget allow this much more?"""
        budget, budget_tokens = self._llm.budget, self._llm.budget_tokens
        if budget_tokens is not None and used_tokens(self._ledger.totals) + self._held_tokens + tokens > budget_tokens:
            return False
        if budget is None:
            return True
        return (spent(self._ledger.totals, self._llm) or 0) + self._held_cost + cost <= budget

    def reserve(self, job: Job) -> Callable[[], None] | None:
        """Reserve the most a job may cost; returns how to release it, or None if the budget is too small."""
        tokens, cost = self.most(job), self.most_cost(job)
        if not self._allows(tokens, cost):
            return None
        self._held_tokens += tokens
        self._held_cost += cost

        def give_back() -> None:
            self._held_tokens -= tokens
            self._held_cost -= cost

        return give_back

    def learn_from_ledger(self) -> None:
        """Correct the prompt estimate with the latest reply whose tokens were counted."""
        if (reply := self._ledger.last_counted) is not None:
            self._ratio = 1.0
            self.learn(self._ledger.question(reply), reply)

    def learn(self, question: Question, reply: Reply) -> None:
        """Raise the estimates to match a counted reply; a lower count does not reduce them."""
        if reply.is_counted:
            self._ratio = max(self._ratio, reply.prompt_tokens / max(1, prompt_tokens(self._prompt, question)))
            allowed = max(1, len(reply.completions) * reply.max_tokens)
            self._overrun = max(self._overrun, reply.completion_tokens / allowed)
