"""A run's cost is read from its log: a cap holds over all starts of the run, not for each."""

import dataclasses
import queue
from pathlib import Path
from typing import Any

import pytest

from stillery.config import EndpointConfig, TeacherConfig
from stillery.io.storage import Folder
from stillery.records import Generation, Request
from stillery.sampling.backend import endpoint_source
from stillery.sampling.backends.openai_api import OpenAIServer
from stillery.sampling.cost import BudgetExceededError, spent_before
from stillery.sampling.sample_log import SampleLog

MODEL = "endpoint:m"
# A million tokens of output cost a million: a token costs 1.
ENDPOINT = OpenAIServer(base_url="http://127.0.0.1:9/v1", model="m", input_price=0.0, output_price=1e6)


def made(index: int, *, num_tokens: int = 5, **changes: Any) -> Generation:
    num_prompt_tokens = 3 if num_tokens else 0
    row = Generation(
        f"s{index}", "p", index, 0, "q", "abc", "stop", num_prompt_tokens, num_tokens, None, MODEL,
        '{"max_tokens": 100}', 0, False, None,
    )  # fmt: skip
    return dataclasses.replace(row, **changes)


def log_rows(log: Folder, *files: list[Generation]) -> None:
    for number, rows in enumerate(files, start=1):
        SampleLog(log).append("batch", rows, number=number)


def logs_in(folder: Path) -> Folder:
    """Two logs of a run: 3 samples of 5 tokens, one of them twice, one failed half-way, and another model's."""
    logs = Folder(str(folder))
    log_rows(logs / "sampled", [made(0), made(1)], [made(1), made(2, error="the second step was refused")])
    log_rows(logs / "evaluated", [made(0), made(9, model="sha:student", num_tokens=1000)])
    return logs


def test_every_logged_sample_of_the_model_was_paid_for(tmp_path: Path) -> None:
    account = spent_before(logs_in(tmp_path), endpoint=ENDPOINT, model_id=MODEL)
    assert (account.num_prompt_tokens, account.num_tokens) == (15, 25)
    assert (account.cost, account.cost_unreported) == (25, 0)


def test_putting_files_together_changes_no_bill(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    assert SampleLog(logs / "sampled").compact("batch") is not None
    assert spent_before(logs, endpoint=ENDPOINT, model_id=MODEL).num_tokens == 25


def test_a_run_that_has_made_nothing_has_spent_nothing(tmp_path: Path) -> None:
    assert spent_before(Folder(str(tmp_path / "none")), endpoint=ENDPOINT, model_id=MODEL).cost == 0


@pytest.mark.parametrize(("sampling", "most"), [('{"max_tokens": 100}', 100), ("{}", 3)])
def test_a_sample_without_a_report_counts_with_the_most_that_it_may_have_cost(
    tmp_path: Path, sampling: str, most: int
) -> None:
    logs = Folder(str(tmp_path))
    log_rows(logs / "key", [made(0, num_tokens=0, sampling=sampling), made(1, num_tokens=0, error="refused")])
    account = spent_before(logs, endpoint=ENDPOINT, model_id=MODEL)
    assert (account.cost, account.cost_unreported) == (0, most)


def test_a_start_after_the_cap_was_reached_asks_nothing(tmp_path: Path) -> None:
    teacher = TeacherConfig(
        kind="endpoint",
        model="m",
        endpoint=EndpointConfig(base_url=ENDPOINT.base_url, input_price=0.0, output_price=1e6, max_cost=100.0),
    )
    engine = endpoint_source(teacher, logs=logs_in(tmp_path)).start()
    finished: queue.SimpleQueue[Generation | Exception] = queue.SimpleQueue()
    # 25 are spent: one of at most 76 more might exceed the cap of 100. Nothing listens at the address.
    engine.submit(Request("s", "p", 0, 0, "[]"), sampling={"max_tokens": 76}, done=finished.put)
    error = finished.get(timeout=20)
    engine.close()
    assert isinstance(error, BudgetExceededError)
    assert "spent 25.0000 by reported usage" in str(error)
