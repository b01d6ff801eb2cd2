"""Grades code by its tests: the format of tests, the code in a completion, and a run of both in a sandbox.

A problem of kind `code` has as its gold answer the tests, as JSON of a `CodeTests`. The code runs in a process of its
own (`stillery.sandbox`) without network, other processes, or write access to files other than its own.
"""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import stillery
from stillery.config import CodeConfig
from stillery.records import VerdictKind
from stillery.telemetry.logs import logger
from stillery.verify.template import TemplateParts

_FENCED = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+#-]*)[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)
_PYTHON = ("", "python", "python3", "py")
_OUTCOMES = {
    "passed": VerdictKind.CORRECT,
    "failed": VerdictKind.WRONG,
    # Neither certainly the model's fault nor ours: it does not count as a wrong answer, and is not retried.
    "missing": VerdictKind.UNPARSED,
    "error": VerdictKind.ERROR,
}
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from stillery.sandbox.program import main; del sys.path[0]; main()"
)

_told_open: set[str] = set()


@dataclass(frozen=True, slots=True)
class CodeTests:
    """The tests of a problem, in Python. `setup` runs before the code; `asserts` are statements that run after it, in
    the same process; `cases` are (standard input, standard output) of whole programs."""

    setup: str = ""
    asserts: tuple[str, ...] = ()
    cases: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        cases = [{"stdin": stdin, "stdout": stdout} for stdin, stdout in self.cases]
        return json.dumps({"setup": self.setup, "asserts": self.asserts, "cases": cases}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "CodeTests":
        """Raises ValueError for anything but the output of `to_json`."""
        try:
            found = json.loads(text)
            cases = tuple((str(case["stdin"]), str(case["stdout"])) for case in found["cases"])
            return cls(str(found["setup"]), tuple(map(str, found["asserts"])), cases)
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"the gold answer of kind code is no tests ({type(error).__name__}: {error})") from None


def find_code(parts: TemplateParts, *, is_cut: bool) -> tuple[str | None, str | None]:
    """The code in a completion, and the reason if there is none: its last fenced block, that of the answer first; an
    answer block without a fence is code as a whole. Code that is cut off counts as none."""
    answer = parts.answer if parts.answer_closed or not is_cut else None
    for text in (answer, parts.visible):
        blocks = [(match[2].lower(), match[3]) for match in _FENCED.finditer(text or "")]
        if blocks:
            language, code = next((b for b in reversed(blocks) if b[0] in _PYTHON), blocks[-1])
            return (code, None) if language in _PYTHON else (None, f"the code is {language}; only Python is run")
    return (answer, None) if answer and answer.strip() else (None, "no block of code")


def run_code(code: str, tests: str, *, limits: CodeConfig) -> tuple[VerdictKind, str]:
    """The verdict on code by its tests (as JSON), with evidence: the first test that failed with its output.

    A failure of the code, including exceeded limits, is `wrong`; a sandbox failure is `error`, and a sandbox that does
    not end within `limits.wall_s` is `timeout`: the machine may be busy.
    """
    with tempfile.TemporaryDirectory(prefix="stillery-code-", ignore_cleanup_errors=True) as folder:
        job = {
            **dataclasses.asdict(CodeTests.from_json(tests)),
            "cases": [{"stdin": stdin, "stdout": stdout} for stdin, stdout in CodeTests.from_json(tests).cases],
            "code": code,
            "cpu_s": limits.cpu_s,
            "memory_bytes": limits.memory_mb << 20,
            "output_bytes": limits.output_kb << 10,
            "folder": folder,
        }
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", _START, str(Path(stillery.__file__).parents[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            # None of our environment, which may contain keys.
            env={"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            process_group=0,
        )
        try:
            out, errors = process.communicate(json.dumps(job).encode(), timeout=limits.wall_s)
        except subprocess.TimeoutExpired:
            return VerdictKind.TIMEOUT, f"the tests took longer than {limits.wall_s:g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
    try:
        told = json.loads(out)
    except ValueError:
        said = errors.decode(errors="replace").strip()[-300:]
        return VerdictKind.ERROR, f"the sandbox ended without a word (exit status {process.returncode}): {said}"
    _tell_open(told["open"])
    return _OUTCOMES[told["outcome"]], told["detail"]


def _tell_open(ways: list[str]) -> None:
    """Log once per process which restrictions the kernel did not enforce."""
    for way in ways:
        if way not in _told_open:
            _told_open.add(way)
            logger.warning(f"verify: code of models runs less isolated than it could ({way}); see verify.code")
