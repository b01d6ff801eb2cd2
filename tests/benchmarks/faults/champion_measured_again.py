#!/usr/bin/env python3
"""Can a student become champion through an easier measurement? The same weights are registered twice.

    python tests/benchmarks/faults/champion_measured_again.py [--folder DIR]

One run trains the embedded student and registers it, measured at a high temperature; it becomes champion. The same run
is started again with a low temperature for the evaluations alone: nothing is retrained, and the same checkpoint is
registered as a second version. It must not beat itself. Prints one table.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.pipeline.runner import run_pipeline  # noqa: E402
from stillery.registry.promotion import promote  # noqa: E402
from support.small_run import small_config  # noqa: E402

SETTINGS = (
    "prompts.num_train=150", "prompts.num_test=40", "prompts.num_longer=0", "prompts.num_held_out=0",
    "teacher.samples_per_prompt=2", "sft.trl.num_train_epochs=4", "bonds.enabled=false", "evaluate.splits=[test]",
    "export.formats=[]", "cluster.address=local",
)  # fmt: skip


def register(folder: Path, *, temperature: float) -> dict[str, Any]:
    """Run the line and return the summary of the registration, with the seconds that it all took."""
    uri = f"register.tracking_uri=sqlite:///{folder}/mlflow.db"
    config = small_config(folder / "run", *SETTINGS, uri, f"evaluate.sampling.temperature={temperature}")
    started = time.monotonic()
    outputs = run_pipeline(config)
    accuracy = outputs["evaluate_after"].summary["splits"]["test"]["overall"]["pass@1"]["mean"]
    return {**outputs["register"].summary, "pass@1": accuracy, "seconds": time.monotonic() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=None, help="where the run goes (default: a temporary folder)")
    folder: Path = (parser.parse_args().folder or Path(tempfile.mkdtemp(prefix="stillery-trial-"))).absolute()
    os.environ |= {"STILLERY_HOME": str(folder / "home"), "RAY_AUTH_MODE": "disabled"}
    rows = {1.5: register(folder, temperature=1.5)}
    if "champion" not in rows[1.5]["aliases"]:
        uri = f"sqlite:///{folder}/mlflow.db"
        promote(rows[1.5]["name"], "1", tracking_uri=uri, force="the trial needs a champion")
    rows[0.2] = register(folder, temperature=0.2)
    print(f"\n{'version':<9}{'temperature':<13}{'pass@1':<9}{'seconds':<9}{'aliases':<24}decision")
    for temperature, row in rows.items():
        figures = f"{row['version']:<9}{temperature:<13}{row['pass@1']:<9.3f}{row['seconds']:<9.0f}"
        print(f"{figures}{', '.join(row['aliases']):<24}{row['decision']}")


if __name__ == "__main__":
    main()
