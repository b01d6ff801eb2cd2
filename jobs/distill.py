#!/usr/bin/env python3
"""The whole pipeline: problems, teacher, verification, curation, training, evaluation, registry, report.

    ray job submit --working-dir . -- jobs/distill.py [--config FILE] [key=value ...]

Without arguments it distils the embedded teacher into the embedded student (jobs/configs/demo.yaml). The jobs beside
this one stop after a stage; what an earlier job has made is not made again.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The code beside this file, not an installed copy of it: a submitted job brings its own.
sys.path.insert(0, str(ROOT / "platform"))


def job(command: str, *, config: str = "demo.yaml") -> int:
    """Run one `stillery` command with this job's arguments, by default with a config of the project's own."""
    from stillery.cli.main import main

    arguments = sys.argv[1:]
    if "--config" not in arguments:
        arguments = ["--config", str(ROOT / "jobs" / "configs" / config), *arguments]
    return main([command, *arguments])


if __name__ == "__main__":
    sys.exit(job("run"))
