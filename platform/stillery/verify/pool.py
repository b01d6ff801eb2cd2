"""The grading pool: worker processes; a hostile check can take down only the one that runs it."""

import selectors
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import TracebackType

from stillery.config import CodeConfig
from stillery.records import Verdict
from stillery.verify.code import run_code
from stillery.verify.judge import Check, FunctionCall, GradingTask, Outcome, Pair, Pending, TestRun, prepare, resolve
from stillery.verify.processes import Worker, overrun

DEADLINE_S = 5.0
MEMORY_BYTES = 2 << 30

# The number of checks sent to a worker at once: enough that waiting for the next chunk costs little beside a comparison
# (1 ms and more), few enough that the last chunks end together.
CHUNK_CHECKS = 16
WINDOW_JOBS = 4096
# The kernel ends a worker at its deadline; the parent does so only if that failed (a stopped process).
GRACE_S = 60.0


class GradingPool:
    """Worker processes that compare answers or call the user's verifier, started at the first check that needs one.

    Use it as a context manager, from one thread at a time. Code runs in its own sandbox within the limits `code` (by
    default those of the config). Each other check has `deadline_s` seconds of wall-clock time, and its process
    `memory_bytes` of address space.
    """

    def __init__(
        self,
        *,
        num_processes: int = 1,
        deadline_s: float = DEADLINE_S,
        memory_bytes: int = MEMORY_BYTES,
        code: CodeConfig | None = None,
    ) -> None:
        self.deadline_s = deadline_s
        self._num_processes = num_processes
        self._memory_bytes = memory_bytes
        self._code_limits = code or CodeConfig()
        self._workers: list[Worker] = []

    def __enter__(self) -> "GradingPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers. A pool that is used again starts new ones."""
        while self._workers:
            self._workers.pop().kill()

    def grade_many(self, jobs: Iterable[GradingTask]) -> Iterator[Verdict]:
        """The verdicts of jobs, in order. Easy jobs never leave this process, and a check that several jobs share is
        run once per window of 4,096 jobs."""
        remaining = iter(jobs)
        while window := list(islice(remaining, WINDOW_JOBS)):
            prepared = [prepare(job) for job in window]
            checks = list(dict.fromkeys(item.check for item in prepared if isinstance(item, Pending)))
            outcomes = dict(zip(checks, self.check_many(checks), strict=True))
            for item in prepared:
                yield resolve(item, outcomes[item.check]) if isinstance(item, Pending) else item

    def check_many(self, checks: Sequence[Check]) -> list[Outcome]:
        """The outcome of each check, in order: correct, wrong, timeout or error; unparsed for code that cannot be run.

        Raises UserError if a worker process does not start.
        """
        runs = {check: None for check in checks if isinstance(check, TestRun)}
        outcomes = dict(zip(runs, self._run_code(list(runs)), strict=True))
        asked = [check for check in checks if not isinstance(check, TestRun)]
        answers = iter(self._ask_workers(asked))
        return [outcomes[check] if isinstance(check, TestRun) else next(answers) for check in checks]

    def _run_code(self, runs: Sequence[TestRun]) -> list[Outcome]:
        if not runs:
            return []
        with ThreadPoolExecutor(self._num_processes) as threads:
            found = threads.map(lambda run: run_code(run.code, run.tests, limits=self._code_limits), runs)
            return [Outcome(*verdict) for verdict in found]

    def _ask_workers(self, checks: Sequence[Pair | FunctionCall]) -> list[Outcome]:
        wanted = min(self._num_processes, -(-len(checks) // CHUNK_CHECKS))
        try:
            while len(self._workers) < wanted:
                self._workers.append(self.start_worker())
            with _Round(self, checks, self._workers) as round_:
                return round_.run()
        except BaseException:
            # Workers may hold checks of the aborted round, whose replies must not mix with another round's.
            self.close()
            raise

    def start_worker(self) -> Worker:
        return Worker(deadline_s=self.deadline_s, memory_bytes=self._memory_bytes)


class _Round:
    """One call of `check_many`: the waiting checks, the checks in each worker, and the results."""

    def __init__(self, pool: GradingPool, checks: Sequence[Pair | FunctionCall], workers: list[Worker]) -> None:
        self._pool = pool
        self._checks = checks
        self._workers = workers
        self._outcomes: dict[int, Outcome] = {}
        self._waiting = deque(range(len(checks)))
        # A worker answers its checks in order, so the first of its deque is the current one.
        self._assigned: dict[Worker, deque[int]] = {}
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> "_Round":
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()

    def run(self) -> list[Outcome]:
        for worker in list(self._workers):
            self._hand_out(worker)
        while self._assigned:
            events = self._selector.select(timeout=self._pool.deadline_s + GRACE_S)
            for key, _ in events:
                self._take(key.data)
            for worker in [] if events else list(self._assigned):
                self._replace(worker, overrun(self._pool.deadline_s))
        return [self._outcomes[i] for i in range(len(self._checks))]

    def _hand_out(self, worker: Worker) -> None:
        size = min(CHUNK_CHECKS, -(-len(self._waiting) // len(self._workers)))
        chunk = deque(self._waiting.popleft() for _ in range(size))
        if chunk:
            worker.send([self._checks[i] for i in chunk])
            self._assigned[worker] = chunk
            self._selector.register(worker.replies, selectors.EVENT_READ, worker)

    def _take(self, worker: Worker) -> None:
        received = worker.receive()
        for outcome in received.outcomes:
            self._outcomes[self._assigned[worker].popleft()] = outcome
        if received.has_ended:
            self._replace(worker, worker.cause_of_death())
        elif received.has_lost_chunk or not self._assigned[worker]:
            self._selector.unregister(worker.replies)
            self._waiting.extendleft(reversed(self._assigned.pop(worker)))
            self._hand_out(worker)

    def _replace(self, worker: Worker, outcome: Outcome) -> None:
        """End a worker: its current check gets this outcome, those after it go to a new worker."""
        self._selector.unregister(worker.replies)
        left = self._assigned.pop(worker)
        if left:
            self._outcomes[left.popleft()] = outcome
        self._waiting.extendleft(reversed(left))
        worker.kill()
        self._workers[self._workers.index(worker)] = fresh = self._pool.start_worker()
        self._hand_out(fresh)
