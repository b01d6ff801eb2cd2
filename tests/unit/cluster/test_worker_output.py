"""The workers' lines that reach the driver's terminal; and Ray still has the hook that decides this."""

import logging
from typing import Any

import pytest

from stillery.cluster.worker_output import read_workers, sort_lines
from stillery.telemetry.marked import mark


def batch(*lines: str) -> dict[str, Any]:
    return {"lines": list(lines), "pid": 7, "is_err": False}


def test_our_lines_lose_the_process_id_noise_goes_and_the_rest_stays_rays(capsys: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("n", logging.INFO, "", 0, "engine: ready", None, None)
    handed: list[dict[str, Any]] = []
    noise = "[W1127 utils.cpp:68] Warning: NUMA binding: Using MEMBIND policy"
    sort_lines(batch(mark(record), noise, "Traceback"), handed.append)
    sort_lines(batch(noise), handed.append)
    assert capsys.readouterr().out == "engine: ready\n"
    assert handed == [batch("Traceback")]


def test_all_is_heard_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLERY_RAY_LOGS", "all")
    handed: list[dict[str, Any]] = []
    sort_lines(batch("NUMA binding: x"), handed.append)
    assert handed == [batch("NUMA binding: x")]


def test_ray_still_prints_workers_lines_by_a_function_of_this_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import worker

    handed: list[tuple[Any, bool]] = []
    monkeypatch.setattr(worker, "print_to_stdstream", lambda data, ignore_prefix: handed.append((data, ignore_prefix)))
    assert read_workers()
    assert read_workers(), "once is enough"
    worker.print_to_stdstream(batch("a line"), ignore_prefix=True)
    assert handed == [(batch("a line"), True)]


def test_ray_connects_that_function_by_its_name_at_init() -> None:
    import inspect

    from ray._private import worker

    assert "functools.partial(print_to_stdstream, ignore_prefix=" in inspect.getsource(worker.connect)
