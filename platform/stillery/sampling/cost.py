"""The cost of an endpoint's samples, and the spending cap.

Money is reserved before a request is sent and settled after its reply, so that a cap is not exceeded while many are in
flight. The spending of a run's earlier starts is read from its durable log.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.sampling.backends.openai_api import OpenAIServer, ServerReply
from stillery.sampling.sample_log import SampleLog

# The number of tokens that a chat template may add to a prompt.
TEMPLATE_TOKENS = 256


class BudgetExceededError(UserError):
    """The next sample could exceed `max_cost`."""


@dataclass(slots=True)
class Account:
    """Requests and spending, over all engines that share the account.

    `cost` follows the usage that servers reported. `cost_unreported` is an upper bound on the cost of attempts that
    ended without a report (timed out, cut off, aborted), `cost_reserved` of those in flight.
    """

    num_answered: int = 0
    num_refused: int = 0
    num_given_up: int = 0
    num_retries: int = 0
    num_prompt_tokens: int = 0
    num_tokens: int = 0
    cost: float = 0.0
    cost_unreported: float = 0.0
    cost_reserved: float = 0.0

    def report(self, num_prompt_tokens: int, num_tokens: int, *, endpoint: OpenAIServer) -> None:
        """Count tokens that the server reported."""
        self.num_prompt_tokens += num_prompt_tokens
        self.num_tokens += num_tokens
        self.cost += cost_of(num_prompt_tokens, num_tokens, endpoint=endpoint)


def cost_of(num_prompt_tokens: int, num_tokens: int, *, endpoint: OpenAIServer) -> float:
    """The cost of this many tokens at the endpoint's prices."""
    prices = endpoint.input_price or 0.0, endpoint.output_price or 0.0
    return (num_prompt_tokens * prices[0] + num_tokens * prices[1]) / 1e6


def most_cost(rendered: str, *, num_tokens: int, endpoint: OpenAIServer) -> float:
    """An upper bound on the cost of a sample of `num_tokens`: each token of its prompt has at least one byte."""
    return cost_of(len(rendered.encode()) + TEMPLATE_TOKENS, num_tokens, endpoint=endpoint)


def most_tokens(sampling: Mapping[str, Any]) -> int:
    """The maximum number of tokens in a sample by its settings; 0 if they set no bound."""
    bounds = [sampling.get(name) for name in ("max_tokens", "max_completion_tokens")]
    return max((int(bound) for bound in bounds if bound), default=0)


def spent_before(logs: Folder, *, endpoint: OpenAIServer, model_id: str) -> Account:
    """An account with the cost of a run's logged samples of this model, at today's prices.

    A sample that was logged twice was paid for twice. One whose usage was not reported counts with its maximum cost.
    Spending that left no sample is unknown: failed attempts, and samples that a killed process had not yet logged.
    """
    account = Account()
    for key in logs.names():
        log = SampleLog(logs / key)
        # Texts are read only where a count is missing.
        for name, table in log.read(
            log.files(), columns=("model", "num_prompt_tokens", "num_tokens", "error")
        ).tables.items():
            rows = [row for row in table.to_pylist() if row["model"] == model_id]
            for row in rows:
                account.report(row["num_prompt_tokens"], row["num_tokens"], endpoint=endpoint)
            if any(row["error"] is None and not row["num_prompt_tokens"] and not row["num_tokens"] for row in rows):
                account.cost_unreported += _most_cost_unreported(log, name, endpoint=endpoint, model_id=model_id)
    return account


def _most_cost_unreported(log: SampleLog, name: str, *, endpoint: OpenAIServer, model_id: str) -> float:
    """The maximum cost of a file's samples whose usage was not reported."""
    cost = 0.0
    columns = ("model", "num_prompt_tokens", "num_tokens", "error", "rendered", "completion", "sampling")
    for table in log.read([name], columns=columns).tables.values():
        for row in table.to_pylist():
            is_unreported = not row["num_prompt_tokens"] and not row["num_tokens"] and row["error"] is None
            if row["model"] == model_id and is_unreported:
                num_tokens = most_tokens(json.loads(row["sampling"])) or len(row["completion"].encode())
                cost += most_cost(row["rendered"], num_tokens=num_tokens, endpoint=endpoint)
    return cost


class SpendingCap:
    """Keeps an account below the endpoint's `max_cost`; for one event loop."""

    def __init__(self, account: Account, *, endpoint: OpenAIServer) -> None:
        self.account = account
        self._endpoint = endpoint
        self._settled = asyncio.Event()

    def most(self, rendered: str, sampling: Mapping[str, Any]) -> float:
        """The maximum cost of a sample. Raises UserError where there is a cap, but no bound."""
        endpoint, num_tokens = self._endpoint, most_tokens(sampling)
        if endpoint.max_cost is not None and (not num_tokens or None in (endpoint.input_price, endpoint.output_price)):
            raise UserError(
                "teacher.endpoint.max_cost is set: it needs input_price and output_price, per million tokens, and "
                "teacher.sampling.max_tokens, or one sample might cost any sum"
            )
        return most_cost(rendered, num_tokens=num_tokens, endpoint=endpoint)

    async def reserve(self, most: float, *, is_idle: Callable[[], bool]) -> None:
        """Set `most` aside; waits while requests in flight may still leave enough, which is until `is_idle`.

        Raises BudgetExceededError if there is not enough.
        """
        cap, account = self._endpoint.max_cost, self.account
        while cap is not None and account.cost + account.cost_unreported + account.cost_reserved + most > cap:
            if is_idle():
                raise BudgetExceededError(
                    f"stopped before max_cost={cap:g} is exceeded: spent {account.cost:.4f} by reported usage and at "
                    f"most {account.cost_unreported:.4f} unreported, and the next sample may cost {most:.4f}; raise "
                    "teacher.endpoint.max_cost to go on (finished samples are kept)"
                )
            self._settled.clear()
            await self._settled.wait()
        account.cost_reserved += most

    def settle(self, most: float, *, reply: ServerReply | None, is_billed: bool) -> None:
        """Settle an attempt for which `most` was reserved, with this reply if any; `is_billed` says whether the server
        may charge for it."""
        account = self.account
        account.cost_reserved -= most
        if reply is not None and reply.num_prompt_tokens is not None and reply.num_tokens is not None:
            account.report(reply.num_prompt_tokens, reply.num_tokens, endpoint=self._endpoint)
        elif is_billed:
            account.cost_unreported += most
        self._settled.set()
