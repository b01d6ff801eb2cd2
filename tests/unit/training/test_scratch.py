"""The scratch folder of a training node, and incomplete copies of checkpoints."""

import subprocess
import sys
from pathlib import Path

import pyarrow.fs
import pytest
from ray.train import Checkpoint

from stillery.errors import UserError
from stillery.training.scratch import check_copy, made_and_locked


def test_what_a_killed_worker_left_goes_and_what_a_living_one_holds_stays(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from stillery.training.scratch import made_and_locked\n"
        f"with made_and_locked(Path({str(tmp_path)!r}) / 'sft-killed-0'):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    assert (tmp_path / "sft-killed-0").is_dir()
    (tmp_path / "mine").mkdir()
    with made_and_locked(tmp_path / "sft-one-0"):
        assert not (tmp_path / "sft-killed-0").exists()
        with made_and_locked(tmp_path / "sft-two-0"):
            assert (tmp_path / "sft-one-0").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_scratch_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "sft-one-0"
    with pytest.raises(UserError, match=r"set sft\.scratch to a folder"), made_and_locked(folder):
        pass


def test_a_checkpoint_that_did_not_arrive_whole_is_refused(tmp_path: Path) -> None:
    for place in ("node", "storage"):
        (tmp_path / place / "optimizer_0").mkdir(parents=True)
        (tmp_path / place / "optimizer_0" / "__0_0.distcp").write_bytes(b"0123456789")
    stored = Checkpoint(str(tmp_path / "storage"), pyarrow.fs.LocalFileSystem())
    (tmp_path / "storage" / "rng_state_1.pth").write_bytes(b"from another node")
    check_copy(tmp_path / "node", stored)
    (tmp_path / "storage" / "optimizer_0" / "__0_0.distcp").write_bytes(b"01234")
    with pytest.raises(UserError, match=r"__0_0.distcp has 5 bytes on storage and 10 in .*not copied whole"):
        check_copy(tmp_path / "node", stored)
    (tmp_path / "storage" / "optimizer_0" / "__0_0.distcp").unlink()
    with pytest.raises(UserError, match="has no bytes on storage"):
        check_copy(tmp_path / "node", stored)
