"""The process of one path: `python -m benchmarks.gpu_check.child MODULE:FUNCTION DEVICE REPORT`.

Writes the outcome to REPORT, and a traceback to standard error.
"""

import faulthandler
import importlib
import importlib.util
import json
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.gpu_check.evidence import NotShownError
from benchmarks.gpu_check.runner import FAILED, MISSING, PROVEN


def main() -> None:
    target, device, report = sys.argv[1:]
    # The runner's limit: say where it hangs, then leave through the path's own `finally`s.
    signal.signal(signal.SIGTERM, _leave)
    faulthandler.register(signal.SIGTERM, all_threads=True, chain=True)
    said = json.dumps(run(target, device))
    with tempfile.NamedTemporaryFile("w", dir=Path(report).parent, delete=False) as file:
        file.write(said)
    Path(file.name).rename(report)


def run(target: str, device: str) -> dict[str, Any]:
    """Call the path; its state, a one-line detail and its figures."""
    module, _, function = target.partition(":")
    try:
        figures = getattr(importlib.import_module(module), function)(device)
    except NotShownError as error:
        traceback.print_exc()
        return _said(FAILED, str(error))
    except ModuleNotFoundError as error:
        traceback.print_exc()
        package = (error.name or "").partition(".")[0]
        # A package that is there and lacks a module is of the wrong version: that is a failure.
        if package and importlib.util.find_spec(package) is None:
            return _said(MISSING, package)
        return _said(FAILED, _one_line(error))
    except Exception as error:
        # The boundary of a path: whatever breaks it is its outcome.
        traceback.print_exc()
        return _said(FAILED, _one_line(error))
    return _said(PROVEN, figures=figures)


def _said(state: str, detail: str = "", figures: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"state": state, "detail": detail, "figures": figures or {}}


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no message'}"


def _leave(_: int, __: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
