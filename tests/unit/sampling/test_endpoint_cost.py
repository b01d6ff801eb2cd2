"""The cost of an endpoint's samples, and its cap."""

import contextlib
import dataclasses
import queue
from pathlib import Path

import pytest
from misbehaving_server import Answer, Server, always, ask, endpoint, reply, request, stream

from stillery.config import EndpointConfig, TeacherConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Generation
from stillery.sampling.backend import endpoint_source
from stillery.sampling.cost import Account, BudgetExceededError, cost_of
from stillery.sampling.sample_log import SampleLog


def test_costs_are_those_of_the_reported_tokens(server: Server) -> None:
    asked = endpoint(server, input_price=2.0, output_price=8.0)
    account = Account()
    ask(asked, "a", "b", "c", account=account)
    assert (account.num_prompt_tokens, account.num_tokens) == (30, 15)
    assert account.cost == pytest.approx(3 * (10 * 2 + 5 * 8) / 1e6)
    assert account.cost == pytest.approx(cost_of(30, 15, endpoint=asked))
    assert account.cost_reserved == pytest.approx(0)
    assert account.cost_unreported == 0


def test_an_attempt_without_a_report_counts_with_the_most_that_it_may_cost(server: Server) -> None:
    server.behave = lambda call: Answer(reply(), cut=call.attempt == 1)
    account = Account()
    ask(endpoint(server, input_price=0.0, output_price=8.0), "a", account=account)
    assert account.cost == pytest.approx(5 * 8 / 1e6)
    assert account.cost_unreported == pytest.approx(100 * 8 / 1e6)


def test_spending_stops_below_the_cap_and_keeps_what_is_paid_for(server: Server) -> None:
    """A sample costs 5 and may cost 100: at a cap of 300 two may be under way at first, and 41 come out of it."""
    server.behave = always(reply(), delay_s=0.005)
    account = Account()
    asked = endpoint(server, input_price=0.0, output_price=1e6, max_cost=300.0, concurrency=8)
    rows = stream(asked, [request(f"q{i}") for i in range(60)], account=account)
    taken: list[Generation] = []
    with pytest.raises(BudgetExceededError, match=r"stopped before max_cost=300 is exceeded: spent 205"):
        taken.extend(rows)
    assert (len(taken), account.cost) == (41, 205)
    assert list(rows) == []
    assert server.most_active <= 3
    assert sum(server.attempts.values()) == account.num_answered == 41
    again = ask(dataclasses.replace(asked, max_cost=400.0), "more", account=account)
    assert (len(again), account.cost) == (1, 210)


def test_a_second_start_of_a_run_spends_only_what_the_first_left(server: Server, tmp_path: Path) -> None:
    """A sample costs 5 and may cost 50: a cap of 100 leaves 11 of them over both starts."""
    prices = EndpointConfig(base_url=server.url, input_price=0.0, output_price=1e6, max_cost=100.0)
    teacher = TeacherConfig(kind="endpoint", model="m", endpoint=prices)
    source = endpoint_source(teacher, logs=Folder(str(tmp_path)))
    samples: list[Generation] = []
    for start in range(2):
        with contextlib.closing(source.start()) as engine:
            for i in range(4 if start == 0 else 60):
                finished: queue.SimpleQueue[Generation | Exception] = queue.SimpleQueue()
                engine.submit(request(f"{start}.{i}"), sampling={"max_tokens": 50}, done=finished.put)
                result = finished.get(timeout=60)
                if isinstance(result, Exception):
                    assert (start, type(result)) == (1, BudgetExceededError)
                    break
                samples.append(result)
                SampleLog(Folder(str(tmp_path)) / "key").append("batch", [result], number=1)
    assert len(samples) == sum(server.attempts.values()) == 11


@pytest.mark.parametrize(
    ("prices", "max_tokens"),
    [({}, 100), ({"input_price": 1.0}, 100), ({"input_price": 1.0, "output_price": 1.0}, None)],
)
def test_a_cap_without_a_bound_is_refused(server: Server, prices: dict[str, float], max_tokens: int | None) -> None:
    with pytest.raises(UserError, match=r"max_cost is set: it needs input_price and output_price"):
        ask(endpoint(server, max_cost=1.0, **prices), "q", max_tokens=max_tokens)
    assert not server.bodies
