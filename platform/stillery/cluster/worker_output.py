"""Workers' output on the driver's terminal: our own lines as if logged by the driver, and no noise.

In: batches of lines, as Ray passes them to the driver. Out: records of the driver's logger; other lines as Ray prints
them.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from stillery.telemetry import logs
from stillery.telemetry.marked import unmark

# `all`: no output of Ray and libraries is left out.
NOISE_VARIABLE = "STILLERY_RAY_LOGS"
# Lines about which a user can do nothing, by a part of the line: memory placement, and the initial number of a worker's
# threads.
NOISE = ("NUMA binding:", "The object store is using /tmp instead of /dev/shm", "Setting OMP_NUM_THREADS")


def sort_lines(data: Mapping[str, Any], rest: Callable[[dict[str, Any]], None]) -> None:
    """Turn a batch's marked lines into records, and pass those that are not noise to `rest`, as a batch."""
    others: list[str] = []
    hears_all = os.environ.get(NOISE_VARIABLE) == "all"
    for line in data["lines"]:
        record = unmark(line, name=logs.logger.name)
        if record is not None:
            logs.logger.handle(record)
        elif hears_all or not any(text in line for text in NOISE):
            others.append(line)
    if any(line.strip() for line in others):
        with logs.without_bar():
            rest({**data, "lines": others})


def read_workers() -> bool:
    """Read workers' lines from now on; call it before `ray.init`. False if this Ray version has no such hook: lines
    then come as Ray prints them."""
    try:
        # Not part of Ray's public interface: tests/unit/cluster/test_worker_output.py fails if it changes.
        from ray._private import worker

        original: Any = worker.print_to_stdstream
    except (ImportError, AttributeError):
        return False
    if not hasattr(original, "reads_workers"):

        def read(data: Mapping[str, Any], ignore_prefix: bool) -> None:
            sort_lines(data, lambda batch: original(batch, ignore_prefix))

        read.reads_workers = True  # type: ignore[attr-defined]
        worker.print_to_stdstream = read
    return True
