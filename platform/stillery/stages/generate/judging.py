"""Grades samples during generation: a Ray actor beside the engines, not in their way."""

import queue
import threading
from collections.abc import Callable
from typing import Any

from stillery.config import CurateConfig, VerifyConfig
from stillery.io.storage import Folder
from stillery.records import Generation, Prompt, Verdict, from_table
from stillery.verify.acceptance import Acceptance
from stillery.verify.rows import GRADED_COLUMNS, job_of, open_pool

MOST_AT_ONCE = 64


class Grader:
    """The Ray actor: rows of generations in; for each the label that it is counted under, or None where it is not
    accepted."""

    def __init__(self, verify: VerifyConfig, curate: CurateConfig, prompts: Folder) -> None:
        self._rule = Acceptance.of(curate)
        self._prompts_by_id = {prompt.prompt_id: prompt for prompt in from_table(prompts.read_all(Prompt), Prompt)}
        self._config = verify
        self._pool = open_pool(verify)

    def accept(self, rows: list[dict[str, Any]]) -> list[str | None]:
        """Grade rows of GRADED_COLUMNS."""
        verdicts = self._pool.grade_many(job_of(row, self._prompts_by_id, self._config) for row in rows)
        return [self._key(row, verdict) for row, verdict in zip(rows, verdicts, strict=True)]

    def _key(self, row: dict[str, Any], verdict: Verdict) -> str | None:
        if self._rule.why_dropped(verdict) is not None:
            return None
        return self._rule.key(sample_id=row["sample_id"], completion=row["completion"])


def start_grader(verify: VerifyConfig, curate: CurateConfig, prompts: Folder) -> Any:
    """A handle of a new grading actor, which reads the prompts itself. After a restart it resumes its pending calls."""
    import ray

    actor = ray.remote(num_cpus=0.25, max_restarts=-1, max_task_retries=-1)(Grader)
    return actor.remote(verify, curate, prompts)


class VerdictJudge:
    """Sends samples to the grading actor, batching all that arrived during the previous call.

    It is passed to the engine actors as a handle; each starts its own thread at its first sample.
    """

    def __init__(self, grader: Any) -> None:
        self._grader = grader
        self._waiting: queue.SimpleQueue[tuple[Generation, Callable[[str | Exception | None], None]]] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return VerdictJudge, (self._grader,)

    def submit(self, generation: Generation, *, done: Callable[[str | Exception | None], None]) -> None:
        with self._lock:
            if self._waiting is None:
                self._waiting = queue.SimpleQueue()
                threading.Thread(target=self._run, args=(self._waiting,), daemon=True, name="judge").start()
        self._waiting.put((generation, done))

    def _run(self, waiting: "queue.SimpleQueue[tuple[Generation, Callable[[str | Exception | None], None]]]") -> None:
        import ray

        while True:
            batch = [waiting.get()]
            while len(batch) < MOST_AT_ONCE and not waiting.empty():
                batch.append(waiting.get())
            rows = [{name: getattr(generation, name) for name in GRADED_COLUMNS} for generation, _ in batch]
            try:
                keys: list[Any] = ray.get(self._grader.accept.remote(rows))
            except Exception as error:
                # Boundary: any failure of the grader is passed to the callers that wait for it.
                keys = [error] * len(batch)
            for (_, done), key in zip(batch, keys, strict=True):
                done(key)
