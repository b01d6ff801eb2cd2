"""Training checkpoints: where Ray Train keeps them, which are complete, and a model folder made from one."""

import contextlib
import json
import posixpath
from collections.abc import Callable, Generator
from fnmatch import fnmatch
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stillery.io.copies import cache_home
from stillery.io.storage import Folder
from stillery.io.transfer import copy_files, publish_model
from stillery.telemetry.logs import logger
from stillery.training.adapters import keep_adapter, merge_trained

# The folder of a checkpoint in which Accelerate puts a model's shards.
MODEL_SHARDS = "pytorch_model_fsdp_0"
# The folders, within the output, of Ray Train's checkpoints and of the trained adapter.
RAY_TRAIN, ADAPTER = "ray_train", "adapter"
SNAPSHOT = "checkpoint_manager_snapshot.json"

# The files of a training checkpoint that serving, evaluation and export need.
MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
               "tokenizer*", "special_tokens_map.json", "vocab.json", "merges.txt", "chat_template*")  # fmt: skip


def remove_unfinished(stored: Folder) -> None:
    """Remove the checkpoints that Ray Train's snapshot does not name: a killed process left them half uploaded.

    A truncated snapshot is removed too, and training starts over: Ray Train would refuse to start.
    """
    text = stored.read_bytes(SNAPSHOT).decode(errors="replace") if stored.exists(SNAPSHOT) else ""
    try:
        json.loads(text or "null")
    except ValueError:
        logger.info(f"sft: {stored.uri}/{SNAPSHOT} was cut off, so training begins anew")
        text = ""
    fs, path = stored.open_fs()
    unfinished = [name for name in stored.names() if name.startswith("checkpoint_") and name not in text]
    for name in unfinished if text else {*unfinished, *stored.names(SNAPSHOT)}:
        fs.rm(posixpath.join(path, name), recursive=True)


def storage_of(out: Folder) -> dict[str, Any]:
    """Where Ray Train keeps its checkpoints: in the stage's folder, through the file system that the whole run uses."""
    if out.is_local:
        return {"storage_path": str(out.local)}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    fs, path = out.open_fs()
    return {"storage_path": path, "storage_filesystem": PyFileSystem(FSSpecHandler(fs))}


def publish_checkpoint(source: Folder, target: Folder, *, describe: Callable[[Path], None]) -> None:
    """Make a model folder from a training checkpoint; optimizer and random states are left out.

    `describe` completes a local folder of all model files but the weights. A model that FSDP saved in shards
    (SHARDED_STATE_DICT) is merged on this machine's disk first.
    """
    with _described(source, describe) as (scratch, described, weights):
        whole = source
        if MODEL_SHARDS in source.names():
            whole, weights = _merged(source / MODEL_SHARDS, scratch)
        publish_model(target, [(described, described.names()), (whole, weights)])


def _merged(shards: Folder, scratch: Folder) -> tuple[Folder, list[str]]:
    """FSDP's shards merged into one file in a scratch folder; the folder and the file's name."""
    from accelerate.utils import merge_fsdp_weights

    copy_files(shards, scratch / "shards", shards.names())
    merge_fsdp_weights(str((scratch / "shards").local), str((scratch / "whole").local))
    return scratch / "whole", (scratch / "whole").names(".safetensors")


def count_parameters(checkpoint: Folder) -> int:
    """The number of parameters in a folder's safetensors, read from their headers."""
    total = 0
    for name in checkpoint.names(".safetensors"):
        with checkpoint.open_file(name) as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(prod(tensor["shape"]) for key, tensor in header.items() if key != "__metadata__")
    return total


def publish_adapted(
    base: str,
    source: Folder,
    target: Folder,
    *,
    adapter: Folder,
    describe: Callable[[Path], None],
    is_quantized: bool = False,
) -> None:
    """Make a model folder from a training checkpoint that holds an adapter, merged into the `base` on this machine, and
    a folder of the `adapter` alone. `describe` is as for `publish_checkpoint`. The weights keep the dtype of training
    or, where the base was quantized for training, the base's own."""
    with _described(source, describe) as (scratch, described, _):
        kept, whole = scratch / "adapter", scratch / "whole"
        trained = json.loads((described.local / "config.json").read_text(encoding="utf-8"))
        keep_adapter(base, source, described, kept.local)
        dtype = "auto" if is_quantized else trained.get("dtype") or "auto"
        merge_trained(base, kept.local, whole.local, dtype=dtype)
        publish_model(adapter, [(kept, kept.names())])
        # The config of the merged model: the trained one may have been quantized.
        model = [n for n in whole.names() if n == "config.json" or ".safetensors" in n]
        publish_model(target, [(described, [n for n in described.names() if n != "config.json"]), (whole, model)])


@contextlib.contextmanager
def _described(source: Folder, describe: Callable[[Path], None]) -> Generator[tuple[Folder, Folder, list[str]]]:
    """A scratch folder with a completed folder of all model files of a checkpoint but the weights, and the names of the
    weights."""
    names = [name for name in source.names() if any(fnmatch(name, pattern) for pattern in MODEL_FILES)]
    weights = [name for name in names if name.endswith(".safetensors")]
    cache = cache_home() / "scratch"
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="publish-", dir=cache) as folder:
        scratch = Folder(folder)
        described = scratch / "described"
        copy_files(source, described, [name for name in names if name not in weights])
        describe(described.local)
        yield scratch, described, weights
