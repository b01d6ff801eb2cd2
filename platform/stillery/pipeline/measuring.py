"""Evaluates another checkpoint exactly as the students of a finished run were evaluated: for promotion, long after that
run.

In: the run's address, its config and the fingerprint of the prompts that it evaluated on. Out: scores and their
summary. The samples go to the run's durable log.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stillery.config import load_config
from stillery.errors import UserError
from stillery.io.run_folder import open_run
from stillery.io.storage import Folder
from stillery.stages.measuring import measure_model
from stillery.stages.stage import StageContext


def measure_as_in(run_uri: str, config_yaml: str, prompts: str, checkpoint: Path) -> tuple[Folder, Mapping[str, Any]]:
    """Evaluate a checkpoint (a local folder) on the test problems of a run, with its settings.

    `prompts` is the fingerprint of the run's problems. Raises UserError if the run's folder no longer holds them.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(config_yaml, encoding="utf-8")
        config = load_config(file, [f"run.dir={run_uri}"])
    if not (Folder(run_uri) / "stages").exists(""):
        raise UserError(f"the run that trained it is not at {run_uri} any more")
    with open_run(config) as run:
        problems = run.output("prompts", prompts)
        if problems is None:
            raise UserError(f"{run_uri} does not hold the problems any more that it was measured on")
        out = run.folder / "measured" / prompts
        return measure_model(StageContext(config, run, {"prompts": problems}, out), checkpoint)
