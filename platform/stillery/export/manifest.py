"""The manifest of an artifact: its contents, its source, its comparison with that source, and its speed. JSON.

A manifest means that the artifact passed the gate: it is written last, before the folder gets its name.
"""

import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stillery.export.formats.litert.runtime import litert_versions
from stillery.export.parity.figures import Parity
from stillery.export.parity.gate import ParityCheck
from stillery.export.parity.speed import Speed
from stillery.export.sources import ExportSource
from stillery.io.cards import licenses_of
from stillery.io.hashing import file_fingerprint, model_fingerprint
from stillery.io.run_folder import git_revision
from stillery.io.storage import Folder

MANIFEST = "manifest.json"

_PACKAGES = ("gguf", "xllamacpp", "onnxruntime", "onnxruntime-genai", "executorch", "torchao", "torch", "transformers")


def describe(
    folder: Path,
    *,
    format_name: str,
    quantization: str,
    source: ExportSource,
    parity: Parity,
    checks: Sequence[ParityCheck],
    converter_checks: Sequence[ParityCheck],
    speed: Speed,
    num_calibration: int,
    export_s: float,
    how_to_run: str,
) -> dict[str, Any]:
    """The manifest of the files in a folder, as plain data."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        "format": format_name,
        "quantization": quantization,
        "num_calibration_texts": num_calibration,
        "files": [
            {"name": str(p.relative_to(folder)), "size_bytes": p.stat().st_size, "sha256": file_fingerprint(p)}
            for p in files
        ],
        "size_bytes": sum(path.stat().st_size for path in files),
        "source": {
            "model": source.model,
            "version": source.version,
            "run_id": source.run_id,
            "fingerprint": model_fingerprint(source.folder),
            "tokenizer_sha256": tokenizer_hash(source.folder),
        },
        "license": license_of(source.folder),
        "parity": asdict(parity),
        "checks": [asdict(check) for check in checks],
        "converter_checks": [asdict(check) for check in converter_checks],
        "speed": asdict(speed),
        "machine": {"processor": processor(), "num_cpus": os.cpu_count(), "threads": 1, "system": platform.platform()},
        "export_s": export_s,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "git_revision": git_revision(),
        "packages": _versions(format_name),
        "how_to_run": how_to_run,
    }


def report_failure(
    *, format_name: str, quantization: str, source: ExportSource, checks: Sequence[ParityCheck], parity: Parity | None
) -> dict[str, Any]:
    """The report of an artifact that failed the gate: everything measured, and none of its files."""
    return {
        "format": format_name,
        "quantization": quantization,
        "source": {"model": source.model, "version": source.version, "run_id": source.run_id},
        "failed": [check.name for check in checks if not check.is_passed],
        "checks": [asdict(check) for check in checks],
        "parity": None if parity is None else asdict(parity),
        "packages": _versions(format_name),
    }


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write under a temporary name and rename, so that the file is complete or absent."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.rename(path)


def tokenizer_hash(folder: Path) -> str:
    """SHA-256 over everything that shapes prompts and tokens: tokenizer, its settings and the chat template."""
    digest = hashlib.sha256()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        path = folder / name
        digest.update(f"{name}:{file_fingerprint(path) if path.is_file() else None}\n".encode())
    return digest.hexdigest()


def license_of(folder: Path) -> str:
    """What the checkpoint's card says under `license`, `see LICENSE` beside such a file, else `not stated`."""
    return ", ".join(licenses_of(Folder(str(folder)))) or "not stated"


def processor() -> str:
    """The processor's name, as reported by the kernel."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def _versions(format_name: str) -> dict[str, str]:
    found = litert_versions() if format_name == "litert" else {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
