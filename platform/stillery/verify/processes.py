"""One worker process of the grading pool: starting, messaging and ending it."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import stillery
from stillery.errors import UserError
from stillery.records import VerdictKind
from stillery.verify.judge import FunctionCall, Outcome, Pair

# Importing computer algebra takes seconds, and many more on a busy machine.
START_S = 180.0
# The number that stands for no chunk: the child ended before beginning one.
BETWEEN_CHUNKS = 0


@dataclass(frozen=True, slots=True)
class ChunkOutcomes:
    """Outcomes of the checks of a chunk, in order. `has_lost_chunk`: the child ended; the last outcome is the check
    that ended it, if it was within the chunk, and the checks after it were not run; `has_ended`: the process is gone,
    together with its current check."""

    outcomes: list[Outcome]
    has_lost_chunk: bool
    has_ended: bool


class Worker:
    """A child process that runs checks (in a child of its own), and the pipes to it.

    It is a plain child with pipes rather than one of multiprocessing: it neither forks a process with threads nor
    imports the caller's main module, so it works from Ray actors, Ray Train, threads, notebooks and scripts without a
    main guard. When its parent dies, its input ends, and it exits.
    """

    def __init__(self, *, deadline_s: float, memory_bytes: int) -> None:
        self._deadline_s = deadline_s
        self._is_ready = False
        self._chunk = 0
        self._partial = b""
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115
        # -P: a file in the current folder must not shadow a module of the same name.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "stillery.verify.worker", str(deadline_s), str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env=os.environ | {"PYTHONPATH": _python_path()},
            process_group=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.process_id = self._process.pid
        self._requests = self._process.stdin
        self.replies = self._process.stdout.fileno()

    def send(self, checks: Sequence[Pair | FunctionCall]) -> None:
        """Send a chunk. The worker reads it completely before it writes any reply, so neither side waits for the other.

        Raises UserError if the process does not start.
        """
        self._await_start()
        self._chunk += 1
        chunk = json.dumps([self._chunk, [_as_json(check) for check in checks]])
        try:
            self._requests.write(chunk.encode("ascii") + b"\n")
            self._requests.flush()
        except BrokenPipeError:
            pass  # The process was killed from outside; its replies end too, and that is handled in `receive`.

    def receive(self) -> ChunkOutcomes:
        """The replies that have arrived (blocks until there are some). Replies to an earlier chunk, whose checks have
        been given up or reassigned, are skipped."""
        data = os.read(self.replies, 1 << 16)
        *lines, self._partial = (self._partial + data).split(b"\n")
        outcomes: list[Outcome] = []
        for line in lines:
            number, reply = json.loads(line)
            if number == BETWEEN_CHUNKS:
                return ChunkOutcomes(outcomes, has_lost_chunk=True, has_ended=False)
            if number == self._chunk and isinstance(reply, dict):
                return ChunkOutcomes([*outcomes, self._ending(reply["ended"])], has_lost_chunk=True, has_ended=False)
            if number == self._chunk:
                outcomes.append(Outcome(VerdictKind(reply[0]), reply[1]))
        return ChunkOutcomes(outcomes, has_lost_chunk=False, has_ended=not data)

    def cause_of_death(self) -> Outcome:
        """The meaning of the process's end for its current check."""
        return self._ending(self._process.wait())

    def kill(self) -> None:
        # Its child is in its process group, whose id stays valid until the process has been waited for.
        if self._process.poll() is None:
            os.killpg(self.process_id, signal.SIGKILL)
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._complaints):
            assert file is not None
            # The rest of the buffer belongs to a process that is gone.
            with contextlib.suppress(BrokenPipeError):
                file.close()

    def _ending(self, status: int) -> Outcome:
        if status == -signal.SIGALRM:
            return overrun(self._deadline_s)
        reason = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return Outcome(VerdictKind.ERROR, f"the worker process ended: {reason}")

    def _await_start(self) -> None:
        while not self._is_ready:
            if select.select([self.replies], [], [], START_S)[0]:
                data = os.read(self.replies, 1 << 16)
                self._partial += data
                self._is_ready = self._partial == b'"ready"\n'
                if data:
                    continue
            self._complaints.seek(0)
            said = self._complaints.read()[-2000:].decode(errors="replace").strip()
            raise UserError(
                f"the answer-checking process did not start ({sys.executable} -m stillery.verify.worker):\n{said}\n"
                "math-verify must be importable there and the machine have memory left"
            )
        self._partial = b""


def overrun(deadline_s: float) -> Outcome:
    return Outcome(VerdictKind.TIMEOUT, f"the check took longer than {deadline_s:g} s")


def _as_json(check: Pair | FunctionCall) -> dict[str, Any]:
    """A check in the worker's input format."""
    if isinstance(check, Pair):
        return {"pair": [check.predicted, check.gold, check.kind]}
    return {"call": asdict(check.job), **_as_rules(check)}


def _as_rules(call: FunctionCall) -> dict[str, Any]:
    return _as_json(call.rules) if isinstance(call.rules, Pair) else {"rules": [call.rules.kind, call.rules.detail]}


def _python_path() -> str:
    """The folders from which the child imports the same package as this process, and this process's other modules."""
    source_root = str(Path(stillery.__file__).parents[1])
    return os.pathsep.join([source_root, *(p for p in sys.path if p and p != source_root)])
