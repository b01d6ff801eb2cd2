#!/usr/bin/env python3
"""A whole run on models that are plain Hugging Face folders, like a user's local models.

    python tests/benchmarks/conformance/local_models.py

The embedded models are copied to two folders elsewhere, and a small run is started with their paths as teacher and
student. It must finish; and since models are identified by their contents, the same run with the models' embedded names
must then find every stage done.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.faults.kill_each_stage import ROOT, command, environment

MODELS = ROOT / "platform" / "stillery" / "tiny_models" / "models"


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stillery-trial-"))
    for name in ("teacher", "student"):
        shutil.copytree(MODELS / name, folder / "my models" / name)
    paths = [f"teacher.model={folder}/my models/teacher", f"sft.student={folder}/my models/student"]
    by_path = start(folder, *paths)
    print(by_path.stdout[by_path.stdout.find("\nmodel ") :])
    if by_path.returncode != 0:
        print(by_path.stdout[-2000:], by_path.stderr[-2000:])
        return 1
    by_name = start(folder)
    is_same = by_name.returncode == 0 and "nothing to do" in by_name.stdout
    print("the same run by the models' embedded names:", "nothing to do" if is_same else by_name.stdout[-2000:])
    return int(not is_same)


def start(folder: Path, *models: str) -> subprocess.CompletedProcess[str]:
    sizes = ["prompts.num_train=12", "prompts.num_test=6"]
    return subprocess.run(
        [*command(folder), *sizes, *models], env=environment(folder), capture_output=True, text=True
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
