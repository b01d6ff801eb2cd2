"""A limit on CPU time that only a wrong order of growth exceeds, even on a slow and busy machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

LIMIT_S = 30.0


@contextmanager
def soon_done() -> Iterator[None]:
    """Assert that the block took less than `LIMIT_S` seconds of this process's CPU time. Its body takes one or two at
    most; if it were quadratic (or worse), minutes to hours."""
    started = time.process_time()
    yield
    assert time.process_time() - started < LIMIT_S
