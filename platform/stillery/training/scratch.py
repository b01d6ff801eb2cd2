"""A training node's working files: one folder that all workers of the node share, on the node's own disk.

    SCRATCH/sft-ATTEMPT-NODE/        checkpoints until they are uploaded, the training data, a checkpoint to go on from
    SCRATCH/sft-ATTEMPT-NODE.lock    held by the node's first worker; what no living process holds is removed

SCRATCH is `sft.scratch`, else the node's cache (`copies.cache_home`). An attempt is one start of the worker group.
"""

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

from stillery.errors import UserError
from stillery.io.copies import cache_home


@contextlib.contextmanager
def node_scratch(configured: str | None) -> Generator[Path]:
    """The node's folder for this attempt: made by its first worker before any other continues, removed at the end.

    Raises UserError if it cannot be made.
    """
    import ray.train
    from ray.train.collective import barrier, broadcast_from_rank_zero

    context = ray.train.get_context()
    attempt = broadcast_from_rank_zero(uuid.uuid4().hex)
    root = Path(configured).expanduser() if configured else cache_home() / "scratch"
    folder = root / f"sft-{attempt}-{context.get_node_rank()}"
    with contextlib.ExitStack() as stack:
        if context.get_local_rank() == 0:
            stack.enter_context(made_and_locked(folder))
        barrier()
        yield folder


@contextlib.contextmanager
def made_and_locked(folder: Path) -> Generator[None]:
    """Make a folder that belongs to this process until the block ends, when it is removed, after removing those that
    killed processes left beside it."""
    lock = folder.with_name(f"{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        held = lock.open("w")
    except OSError as error:
        raise UserError(
            f"cannot use {folder.parent} as scratch ({error.strerror}): set sft.scratch to a folder on the training "
            "nodes' own disks that this user may write to"
        ) from None
    # The lock comes first: a folder without it would be taken for an abandoned one.
    with held:
        fcntl.flock(held, fcntl.LOCK_EX)
        _remove_abandoned(folder.parent)
        folder.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _remove_abandoned(root: Path) -> None:
    for lock in root.glob("sft-*.lock"):
        with contextlib.suppress(OSError), lock.open() as file:
            # The lock is held: its process lives.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)


def bring_checkpoint(checkpoint: Any, scratch: Path) -> Path:
    """A checkpoint that Ray holds, as a folder that every worker of the node can read: in place on a mounted file
    system, else a copy, made by the node's first worker.

    Raises UserError if the copy is incomplete.
    """
    import pyarrow.fs
    import ray.train
    from ray.train.collective import barrier

    if isinstance(checkpoint.filesystem, pyarrow.fs.LocalFileSystem):
        return Path(checkpoint.path)
    folder = scratch / "resumed"
    if ray.train.get_context().get_local_rank() == 0:
        checkpoint.to_directory(folder)
        check_copy(folder, checkpoint)
    barrier()
    return folder


def upload(checkpoint: Any, name: str) -> Any:
    """Copy a node's part of a checkpoint to Ray Train's storage, and verify that it arrived. Returns the checkpoint for
    Ray to keep.

    Raises UserError if it did not.
    """
    import ray.train

    # Ray's abstract class has no type for it.
    storage: Any = ray.train.get_context().get_storage()
    stored = storage.persist_current_checkpoint(checkpoint, name)
    check_copy(Path(checkpoint.path), stored)
    return stored


def check_copy(folder: Path, stored: Any) -> None:
    """Raise UserError if a file of a local folder and of a checkpoint on storage differ in size, or is only local."""
    import pyarrow.fs

    found = stored.filesystem.get_file_info(pyarrow.fs.FileSelector(stored.path, recursive=True))
    sizes = {os.path.relpath(info.path, stored.path): info.size for info in found if info.is_file}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        if sizes.get(name) != path.stat().st_size:
            raise UserError(
                f"{stored.path}/{name} has {sizes.get(name, 'no')} bytes on storage and {path.stat().st_size} in "
                f"{folder}: the checkpoint was not copied whole; see that neither disk is full and start again"
            )
