"""The layout that the rest relies on."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_platform_is_a_source_root_and_never_a_package() -> None:
    """With an __init__.py it would shadow the standard library's platform module from the repository's root."""
    assert not (ROOT / "platform" / "__init__.py").exists()
    code = "import platform, sys; sys.exit(not hasattr(platform, 'python_version'))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_jobs_are_executable_and_thin() -> None:
    jobs = sorted((ROOT / "jobs").glob("*.py"))
    assert jobs
    for job in jobs:
        assert os.access(job, os.X_OK), f"{job.name} is not executable"
        assert job.read_text().startswith("#!/usr/bin/env python3\n")
        assert len(job.read_text().splitlines()) <= 40


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Help and config errors answer in under a second because of this."""
    code = (
        "import sys; sys.path.insert(0, 'platform'); import stillery.cli.main, stillery.pipeline.runner;"
        "print(sorted({'torch', 'vllm', 'ray', 'trl', 'transformers', 'mlflow', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
