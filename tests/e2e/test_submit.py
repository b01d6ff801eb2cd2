"""`ray job submit --working-dir . -- jobs/...` as typed by a user: executable, importable on the workers, durable."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Head:
    """A head of these tests' own: where jobs are submitted, and the environment that clients of it need."""

    address: str
    environment: dict[str, str]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A Ray head that `stillery head` started, beside any other Ray of the machine, and stops again."""
    gcs, dashboard, agent = free_ports(3)
    environment = {**os.environ, "RAY_AUTH_MODE": "token"}
    ports = ["--port", str(gcs), "--dashboard-port", str(dashboard), "--agent-port", str(agent)]
    # Not pytest's folder: the path of a Unix socket has at most 107 bytes, and Ray's part of it is long.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        command = [BIN / "stillery", "head", *ports]
        started = subprocess.run(
            [*command, "--temp-dir", folder], env=environment, capture_output=True, text=True, timeout=180
        )
        try:
            assert started.returncode == 0, started.stderr
            assert "started a Ray head" in started.stdout
            yield Head(f"http://127.0.0.1:{dashboard}", environment)
        finally:
            stopped = subprocess.run([*command, "--stop"], capture_output=True, text=True, timeout=120)
        assert stopped.returncode == 0, stopped.stderr
        assert "stopped the Ray head" in stopped.stdout


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens at, all different."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def submit(head: Head, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [BIN / "ray", "job", "submit", "--address", head.address, "--working-dir", ".", "--", *arguments]
    return subprocess.run(command, cwd=ROOT, env=head.environment, capture_output=True, text=True, timeout=420)


def test_a_submitted_job_samples_on_workers_and_its_output_outlives_it(head: Head, tmp_path: Path) -> None:
    done = submit(
        head, "jobs/generate.py", f"run.dir={tmp_path / 'run'}", "prompts.num_train=6", "prompts.num_validation=6",
        "prompts.num_test=6", "prompts.num_longer=6", "prompts.num_held_out=1", "teacher.samples_per_prompt=2",
        "teacher.accepted_per_prompt=2",
        "teacher.sampling.max_tokens=32",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (manifest,) = (tmp_path / "run").glob("stages/generate/*/manifest.json")
    assert json.loads(manifest.read_text())["summary"]["num_samples"] == 24


def test_a_submitted_export_leaves_its_artifact_in_the_folder_that_is_named(head: Head, tmp_path: Path) -> None:
    arguments = ("jobs/export.py", "--format", "gguf", "--quantization", "Q8_0", "--max-size-mb", "1")
    sizes = ("export.num_problems=12", "export.max_positions=150")
    done = submit(head, *arguments, "--out", str(tmp_path / "exports"), "embedded:student", *sizes)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    manifest = json.loads((tmp_path / "exports" / "student-gguf-Q8_0" / "manifest.json").read_text())
    assert all(check["is_passed"] for check in manifest["checks"])
    relative = submit(head, *arguments, "embedded:student")
    assert relative.returncode != 0
    assert "--out exports is relative" in relative.stdout + relative.stderr


def test_a_failing_job_says_why_and_fails(head: Head) -> None:
    done = submit(head, "jobs/distill.py", "run.dir=relative/folder")
    assert done.returncode != 0
    assert "run.dir=relative/folder is relative" in done.stdout + done.stderr
