"""The program of a sandbox: code and its tests as JSON on standard input, their result as JSON on standard output.

In: {"code", "setup", "asserts": [source, …], "cases": [{"stdin", "stdout"}, …], "cpu_s", "memory_bytes",
"output_bytes", "folder"}. Out: {"outcome": passed | failed | missing | error, "detail", "open": the restrictions that
the kernel did not enforce}. Each program that is run is a fork of this one: all assertions are one, every case is one,
and the first failure ends it. The first process never runs a line of the code, so the code can affect the reported
result only through its test's own output.
"""

import ast
import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import IO, Any, NoReturn

from stillery.sandbox.isolation import die_with_parent, enter_namespaces, seal

# How a run of the code reports a missing module, an exception, and a sandbox failure.
_MISSING, _RAISED, _BROKEN = 3, 1, 4
_FOLDER_SHARE = 16
_SHOWN_CHARS = 300


def main() -> None:
    die_with_parent()
    job = json.loads(sys.stdin.buffer.read())
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    refused = enter_namespaces(job["folder"], size_bytes=_FOLDER_SHARE * job["output_bytes"])
    die_with_parent()  # Repeated: the new credentials undo it.
    run = _Run(job, [] if refused is None else [f"namespaces: {refused}"], results.fileno())
    outcome, detail = run.all()
    json.dump({"outcome": outcome, "detail": detail, "open": run.open}, results)
    results.close()


class _Run:
    """The tests of one piece of code, one after the other."""

    def __init__(self, job: dict[str, Any], open_: list[str], results: int) -> None:
        self._job = job
        self.open = open_
        self._results = results

    def all(self) -> tuple[str, str]:
        asserts, cases = self._job["asserts"], self._job["cases"]
        total = len(asserts) + len(cases)
        if asserts:
            end = self._fork(self._assertions, "")
            if (told := end.told(f"test {end.passed + 1} of {total}", done=end.passed == len(asserts))) is not None:
                source = asserts[end.passed] if end.passed < len(asserts) else ""
                return told[0], f"{told[1]}; the test is {_shown(source)}" if source else told[1]
        for number, case in enumerate(cases, len(asserts) + 1):
            end = self._fork(self._program, case["stdin"])
            if (told := end.told(f"test {number} of {total}", done=True)) is not None:
                return told[0], f"{told[1]}; its input is {_shown(case['stdin'])}"
            if end.output.split() != case["stdout"].split():
                expected = f"it printed {_shown(end.output)}, expected {_shown(case['stdout'])}"
                return "failed", f"test {number} of {total}: {expected}; its input is {_shown(case['stdin'])}"
        return "passed", f"passed {total} test{'s' if total > 1 else ''}"

    def _fork(self, body: Callable[[int], None], text: str) -> "_End":
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(text.encode())
            given.seek(0)
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                self._become(body, writer, [given, out, err])
            os.close(writer)
            _, status, usage = os.wait4(child, 0)
            marks = os.read(reader, 1 << 16)
            os.close(reader)
            refused, _, passed = marks.rpartition(b"\n")
            if refused and (way := f"system calls: {refused.decode()}") not in self.open:
                self.open.append(way)
            return _End(status, usage, len(passed), _read(out), _read(err), self._job)

    def _become(self, body: Callable[[int], None], writer: int, streams: list[IO[bytes]]) -> NoReturn:
        """Run a body as the code's own process; its exit status is the result."""
        code = _BROKEN
        try:
            die_with_parent()
            for number, stream in enumerate(streams):
                os.dup2(stream.fileno(), number)
            os.close(self._results)
            for stream in streams:
                stream.close()
            sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
            sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
            refused = seal(**{name: self._job[name] for name in ("cpu_s", "memory_bytes", "output_bytes")})
            if refused is not None:
                os.write(writer, f"{refused}\n".encode())
            code = _RAISED
            body(writer)
            code = 0
        except SystemExit as left:
            code = 0 if left.code in (None, 0) else _RAISED
        except ModuleNotFoundError as error:
            code = _MISSING
            os.write(2, f"{error.name}".encode())
        except BaseException as error:
            told = traceback.TracebackException.from_exception(error, limit=-3, compact=True)
            os.write(2, "".join(told.format())[-4000:].encode(errors="replace"))
        finally:
            # A full file, a closed stream: output that cannot be written counts as not printed.
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            os._exit(code)

    def _program(self, _: int) -> None:
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(self._job["setup"], "setup", "exec"), space)
        exec(compile(self._job["code"], "solution", "exec"), space)

    def _assertions(self, writer: int) -> None:
        space: dict[str, Any] = {"__name__": "solution"}
        exec(compile(self._job["setup"], "setup", "exec"), space)
        exec(compile(self._job["code"], "solution", "exec"), space)
        for source in self._job["asserts"]:
            try:
                exec(compile(source, "test", "exec"), space)
            except AssertionError as error:
                if (value := _left_side(source, space)) is not None and not error.args:
                    raise AssertionError(f"it gave {value}") from None
                raise
            os.write(writer, b".")


class _End:
    """The end of a run of the code."""

    def __init__(
        self, status: int, usage: resource.struct_rusage, passed: int, output: str, errors: str, job: dict[str, Any]
    ) -> None:
        self._code = os.waitstatus_to_exitcode(status)
        self._cpu_s = usage.ru_utime + usage.ru_stime
        self.passed = passed
        self.output = output
        self._errors = errors
        self._job = job

    def told(self, test: str, *, done: bool) -> tuple[str, str] | None:
        """The outcome and its evidence; None for a run that completed."""
        limit = self._job["cpu_s"]
        if self._code == 0:
            return None if done else ("failed", f"{test}: the program ended before its tests did")
        if self._code == _MISSING:
            return "missing", f"it needs the module {self._errors[:80]!r}, which is not installed where code runs"
        if self._code == _BROKEN or (self._code == -signal.SIGKILL and self._cpu_s < limit):
            return "error", f"{test}: the sandbox failed ({self._code}): {self._errors[-_SHOWN_CHARS:]}"
        if self._code in (-signal.SIGXCPU, -signal.SIGKILL):
            return "failed", f"{test}: it took more than {limit:g} s of CPU time"
        if self._code < 0:
            return "failed", f"{test}: it ended by {signal.Signals(-self._code).name}"
        said = f"; it had printed {_shown(self.output)}" if self.output else ""
        return "failed", f"{test}: {_last(self._errors) or f'exit status {self._code}'}{said}"


def _left_side(source: str, space: dict[str, Any]) -> str | None:
    """The left side of `assert … == …`, evaluated."""
    match ast.parse(source).body:
        case [ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()]))]:
            return _shown(eval(compile(ast.Expression(left), "test", "eval"), space))
        case _:
            return None


def _last(errors: str) -> str:
    """An exception's own line and its location."""
    lines = [line.strip() for line in errors.strip().splitlines() if line.strip()]
    place = next((line for line in reversed(lines) if line.startswith('File "solution"')), "")
    where = f" ({place.removeprefix('File ').rstrip(',')})" if place else ""
    return f"{lines[-1][:_SHOWN_CHARS]}{where}" if lines else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")
