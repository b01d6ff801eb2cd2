"""`ray job submit --working-dir . -- jobs/...` as a user types it: executable, importable on the workers, durable."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def head() -> Iterator[dict[str, str]]:
    """The environment for clients of a Ray head that `stillery head` started."""
    environment = {**os.environ, "RAY_AUTH_MODE": "token"}
    started = subprocess.run([BIN / "stillery", "head"], env=environment, capture_output=True, text=True, timeout=180)
    if "is taken by another program" in started.stderr:
        pytest.skip(started.stderr.strip())
    assert started.returncode == 0, started.stderr
    yield environment
    if "started a Ray head" in started.stdout:
        subprocess.run([BIN / "ray", "stop"], env=environment, capture_output=True, timeout=60)


def submit(head: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [BIN / "ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--working-dir", ".", "--"]
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=head, capture_output=True, text=True, timeout=420
    )  # fmt: skip


def test_a_submitted_job_samples_on_workers_and_its_output_outlives_it(head: dict[str, str], tmp_path: Path) -> None:
    done = submit(
        head, "jobs/generate.py", f"run.dir={tmp_path / 'run'}", "prompts.num_train=6", "prompts.num_validation=6",
        "prompts.num_test=6", "prompts.num_longer=6", "prompts.num_held_out=1", "teacher.samples_per_prompt=2",
        "teacher.accepted_per_prompt=2",
        "teacher.sampling.max_tokens=32",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (manifest,) = (tmp_path / "run").glob("stages/generate/*/manifest.json")
    assert json.loads(manifest.read_text())["summary"]["num_samples"] == 24


def test_a_failing_job_says_why_and_fails(head: dict[str, str]) -> None:
    done = submit(head, "jobs/distill.py", "run.dir=relative/folder")
    assert done.returncode != 0
    assert "run.dir=relative/folder is relative" in done.stdout + done.stderr
