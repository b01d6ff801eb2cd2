"""The program of a worker process: `python -m stillery.verify.worker DEADLINE_S MEMORY_BYTES`.

In: one JSON line per chunk, [number, [check, …]], where a check is {"pair": [predicted, gold, kind]} or a call of the
user's verifier, {"call": fields of a GradingTask, "pair": … or "rules": [verdict, detail]}. Out: the line "ready" once,
then one JSON line per check, as soon as it is done, [number, [verdict, detail]].

The checks run in a forked child, so that replacing a dead one costs a fork rather than the import of computer algebra.
The kernel enforces the deadline: an interval timer whose signal keeps its default action, which is to end the child,
also in the middle of C code and also after the parent has died. So its exit status distinguishes a deadline (SIGALRM)
from a crash; the line [number, {"ended": exit status}] reports it, and neither affects any other check. The child's
remaining checks of that chunk are lost. Number 0 stands for a child that ended between chunks, perhaps with a chunk
that it had read and not begun: the parent sends that one again. If several chunks are waiting, only the last is still
wanted.
"""

import gc
import json
import mmap
import os
import resource
import select
import signal
import sys
from pathlib import Path
from typing import IO, Any

# A comparison this close to the memory limit may have had a MemoryError swallowed by computer algebra.
_SUSPECT_SHARE = 4
_BETWEEN = bytes(8)

Reply = tuple[str, str | None]


def main() -> None:
    deadline_s, memory_bytes = float(sys.argv[1]), int(sys.argv[2])
    # Ctrl-C reaches the whole process group; the parent decides when a worker ends, by closing its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    from stillery.verify import symbolic

    symbolic.equal("x+1", "1+x")  # Imports and warms the parser, outside any deadline.
    gc.freeze()
    requests, replies = _take_pipes()
    _say(replies, "ready")
    at = mmap.mmap(-1, 8)  # The number of the child's current chunk, 0 between chunks; shared with it.
    while (status := _serve_in_child(requests, replies, at, deadline_s, memory_bytes)) != 0:
        _say(replies, [int.from_bytes(at[:]), {"ended": status}])
        at[:] = _BETWEEN


def _serve_in_child(requests: int, replies: IO[str], at: mmap.mmap, deadline_s: float, memory_bytes: int) -> int:
    """The exit status of a child that answers chunks until the input ends: 0 then, or minus the signal that ended
    it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    while chunk := _newest_chunk(requests):
        number, checks = json.loads(chunk)
        at[:] = number.to_bytes(8)
        for check in checks:
            try:
                function = _import(check)
            except Exception as error:
                # Boundary: the user's module may not be importable here.
                _say(replies, [number, ("error", f"verify.function: {error}"[:500])])
                continue
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # A user function may have changed it.
            signal.setitimer(signal.ITIMER_REAL, deadline_s)
            reply = _make(check, function, memory_bytes)
            signal.setitimer(signal.ITIMER_REAL, 0)
            _say(replies, [number, reply])
        at[:] = _BETWEEN
    os._exit(0)


def _newest_chunk(requests: int) -> bytes:
    """The last of the chunks that have arrived, once there is one; empty at the end of the input."""
    arrived = b""
    while not arrived.endswith(b"\n") or select.select([requests], [], [], 0)[0]:
        if not (data := os.read(requests, 1 << 20)):
            break
        arrived += data
    chunks = arrived.split(b"\n")[:-1]
    return chunks[-1] if chunks else b""


def _import(check: dict[str, Any]) -> Any:
    """Import the user's function, outside any deadline: its imports may be slow."""
    from stillery.verify.functions import load_function

    return load_function(check["call"]["function"], key="verify.function", arguments=1) if "call" in check else None


def _make(check: dict[str, Any], function: Any, memory_bytes: int) -> Reply:
    if function is not None:
        from stillery.verify.functions import read_reply
        from stillery.verify.judge import GradingTask

        fields: dict[str, Any] = check["call"]
        fields["choices"] = tuple(fields["choices"])
        job = GradingTask(**fields)
        try:
            verdict, evidence = read_reply(function(job))
        except Exception as error:
            # Boundary: an error in the user's function says nothing about the model.
            return "error", f"verify.function {job.function}: {type(error).__name__}: {str(error)[:400]}"
        if verdict is not None:
            return "correct" if verdict else "wrong", evidence
    if "pair" not in check:
        return check["rules"][0], check["rules"][1]
    predicted, gold, kind = check["pair"]
    return _compare(predicted, gold, kind, memory_bytes)


def _compare(predicted: str, gold: str, kind: str, memory_bytes: int) -> Reply:
    from stillery.verify import symbolic
    from stillery.verify.compare import compare

    try:
        same = compare(predicted, gold, answer_kind=kind, leaf=symbolic.equal)
    except Exception as error:
        # Boundary: any error in computer algebra is this pair's error, not its verdict.
        return "error", f"{type(error).__name__}: {str(error)[:200]}"
    if not same and (peak_bytes := _peak_bytes()) > memory_bytes // _SUSPECT_SHARE:
        return "error", f"MemoryError: the comparison took {peak_bytes >> 20} MiB"
    assert same is not None
    return "correct" if same else "wrong", None


def _peak_bytes() -> int:
    """This program's peak memory. Not getrusage's ru_maxrss: that includes the parent's memory at the time of the fork,
    which in an engine's or a trainer's process is gigabytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def _take_pipes() -> tuple[int, IO[str]]:
    """Reserve standard input for requests and standard output for replies: libraries read an empty input, and their
    output is discarded."""
    requests, replies = os.dup(0), os.fdopen(os.dup(1), "w", encoding="ascii")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    return requests, replies


def _say(replies: IO[str], reply: object) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
