#!/usr/bin/env python3
"""The whole pipeline: problems, teacher, verification, curation, training, evaluation, registry, report.

    ray job submit --working-dir . -- jobs/distill.py [--config FILE] [key=value ...]

Without arguments it distils the embedded teacher into the embedded student (jobs/configs/demo.yaml). The other jobs in
this folder stop after a stage; outputs of an earlier job are reused.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The code in this checkout, not an installed copy: a submitted job brings its own.
sys.path.insert(0, str(ROOT / "platform"))


def job(command: str, *, config: str = "demo.yaml") -> int:
    """Run one `stillery` command with this job's arguments, by default with one of the project's configs."""
    from stillery.cli.main import main

    arguments = sys.argv[1:]
    if "--config" not in arguments:
        arguments = ["--config", str(ROOT / "jobs" / "configs" / config), *arguments]
    return main([command, *arguments])


if __name__ == "__main__":
    sys.exit(job("run"))
