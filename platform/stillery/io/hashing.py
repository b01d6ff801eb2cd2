"""Content hashes of files and models, which identify them in any location.

A file above 1 MiB is hashed once per machine: the hash is stored under $STILLERY_HOME/hashes with the file's path,
size, times and inode, and is valid as long as they stay the same.
"""

import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from stillery import records
from stillery.io.run_folder import home
from stillery.telemetry.logs import logger

_SMALL_BYTES = 1 << 20
_TOLD_BYTES = 4 << 30
# A file modified this recently may be modified again without a new timestamp.
_SETTLED_NS = 2_000_000_000

# Weights that are not safetensors: vLLM and Transformers are configured to ignore them (sampling/models.py), unless
# load_format says otherwise.
OTHER_WEIGHTS = frozenset({".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".onnx", ".gguf", ".tflite"})
# The checksums of a model's files, in sha256sum's format, beside those files.
SUMS = "SHA256SUMS"
_PROSE = ("README", "LICENSE", "LICENCE", "NOTICE", "CHANGELOG")


def file_fingerprint(path: Path) -> str:
    """The SHA-256 of a file's contents."""
    path = path.resolve()
    stat = path.stat()
    if stat.st_size <= _SMALL_BYTES:
        return _sha256(path)
    # The inode's change time is included because no copying tool can set it.
    seen = [str(path), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    kept = home() / "hashes" / f"{records.digest('file', str(path))}.json"
    with contextlib.suppress(OSError, ValueError):
        entry = json.loads(kept.read_text(encoding="utf-8"))
        if entry["seen"] == seen:
            return str(entry["sha256"])
    found = _sha256(path)
    after = path.stat()
    is_settled = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS
    if is_settled and (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == tuple(seen[3:]):
        _keep(kept, {"seen": seen, "sha256": found})
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(kept: Path, entry: Mapping[str, Any]) -> None:
    # If it cannot be stored, the file is hashed again next time.
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary = kept.with_name(f".{uuid.uuid4().hex}.partial")
        temporary.write_text(json.dumps(entry), encoding="utf-8")
        temporary.replace(kept)


def model_fingerprint(model: Path, *, other_weights: bool = False) -> str:
    """The contents of a local model folder: those of its files, by name.

    Every file at its top level counts, and the templates in `additional_chat_templates`, except prose, hidden files
    and, unless `other_weights`, weights that are not safetensors. An adapter's folder includes its base, if that is a
    folder.
    """
    files = [path for path in _files_of(model) if other_weights or path.suffix not in OTHER_WEIGHTS]
    size_bytes = sum(path.stat().st_size for path in files)
    if size_bytes > _TOLD_BYTES:
        logger.debug(f"hashing {size_bytes / 1e9:.0f} GB of {model}; once, unless it changes")
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        hashes = list(pool.map(file_fingerprint, files))
    parts: list[Any] = [[str(path.relative_to(model)), found] for path, found in zip(files, hashes, strict=True)]
    base = _base_of_adapter(model)
    return records.digest("model", parts if base is None else [*parts, ["base", model_fingerprint(base)]])


def fingerprint_of_sums(sums: Mapping[str, str]) -> str:
    """The contents of a model folder, as from `model_fingerprint`, given the SHA-256 of each of its files."""
    names = sorted(name for name in sums if _counts(name) and Path(name).suffix not in OTHER_WEIGHTS)
    return records.digest("model", [[name, sums[name]] for name in names])


def _files_of(model: Path) -> list[Path]:
    found = [*model.iterdir(), *(model / "additional_chat_templates").glob("*.jinja")]
    # Cached snapshots of the Hub consist of links.
    return sorted(path for path in found if path.is_file() and _counts(path.name))


def _counts(name: str) -> bool:
    return not name.startswith(".") and name != SUMS and Path(name).stem.upper() not in _PROSE


def _base_of_adapter(model: Path) -> Path | None:
    try:
        config: Any = json.loads((model / "adapter_config.json").read_text(encoding="utf-8"))
        base = Path(str(config["base_model_name_or_path"])).expanduser()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return base if base.is_dir() and base.resolve() != model.resolve() else None


def contents_of(value: Any) -> Any:
    """The same plain data with each path of a file or folder replaced by a hash of its contents."""
    if isinstance(value, Mapping):
        return {key: contents_of(inner) for key, inner in cast(Mapping[str, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [contents_of(inner) for inner in cast(list[Any], value)]
    if not isinstance(value, str):
        return value
    try:
        path = Path(value).expanduser()
        if path.is_file():
            return "sha256:" + file_fingerprint(path)
        return "sha:" + model_fingerprint(path, other_weights=True) if value and path.is_dir() else value
    except (OSError, ValueError, RuntimeError):
        # Too long for a path, or not a path at all.
        return value
