"""A ceiling on CPU time that only a wrong order of growth reaches, on a slow and crowded machine too."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

LIMIT_S = 30.0


@contextmanager
def soon_done() -> Iterator[None]:
    """Assert that the block took less than `LIMIT_S` seconds of this process's CPU time. What stands in it takes one or
    two at most; were it quadratic (or worse), minutes to hours."""
    started = time.process_time()
    yield
    assert time.process_time() - started < LIMIT_S
