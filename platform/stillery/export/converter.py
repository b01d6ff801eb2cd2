"""Runs a third-party converter in a process of its own, which isolates its global state and stray files.

In: the arguments of a Python interpreter. Out: only the files that it writes; a failure is a UserError that holds the
end of its output.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from stillery.errors import UserError

_KEPT_LINES = 15


def require_packages(*modules: str, for_format: str) -> None:
    """Raise UserError for a module of the format's extra that isn't installed, before any work is done."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        names = ", ".join(missing)
        extra = "cpu" if for_format == "vllm" else "edge"
        raise UserError(f"export to {for_format} needs {names}; install the extra: pip install 'stillery[{extra}]'")


def run_converter(
    arguments: Sequence[str], *, scratch: Path, for_format: str, interpreter: Sequence[str] = (sys.executable, "-m")
) -> None:
    """Run `python -m` (or another interpreter) with these arguments in the folder `scratch`, offline.

    Raises UserError with the exit code and the last lines of its output if it fails.
    """
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [*interpreter, *arguments],
        cwd=scratch,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return
    how = f"exit code {done.returncode}"
    if done.returncode < 0:
        how = f"killed by {signal.Signals(-done.returncode).name}"
        if done.returncode == -signal.SIGKILL:
            how += ", which usually means that memory ran out"
    end = "\n".join(done.stdout.splitlines()[-_KEPT_LINES:])
    raise UserError(f"the {for_format} converter `{arguments[0]}` failed ({how}); the end of its output:\n{end}")
