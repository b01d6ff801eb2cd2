#!/usr/bin/env python3
"""The whole pipeline: problems, teacher, verification, curation, training, evaluation, registry, report.

    ray job submit --working-dir . -- jobs/distill.py [--config FILE] [key=value ...]

Without arguments it distils the embedded teacher into the embedded student (jobs/configs/demo.yaml).
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The code beside this file, not an installed copy of it: a submitted job brings its own.
sys.path.insert(0, str(ROOT / "platform"))

from stillery.cli import main  # noqa: E402

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--config" not in arguments:
        arguments = ["--config", str(ROOT / "jobs" / "configs" / "demo.yaml"), *arguments]
    sys.exit(main(["run", *arguments]))
