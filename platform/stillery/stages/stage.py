"""The definition of a stage: a function from config and input tables to an output folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stillery.config import Config
from stillery.io.run_folder import Output, Run
from stillery.io.storage import Folder
from stillery.metrics import TooManyFailuresError
from stillery.telemetry.logs import logger

# Parts of an output on which later stages may depend separately.
TRAINED, MEASURED = "prompts.trained", "prompts.measured"
TUNED, REFINED = "sft.checkpoint", "refine.checkpoint"


@dataclass(frozen=True, slots=True)
class StageContext:
    """The context of a stage: the config, the run, the outputs of the earlier stages and its own folder."""

    config: Config
    run: Run
    outputs: Mapping[str, Output]
    out: Folder

    def folder(self, stage: str) -> Folder:
        """The output folder of an earlier stage."""
        return self.outputs[stage].folder

    @property
    def tuned(self) -> str:
        """The fine-tuned checkpoint."""
        return (self.folder("sft") / "checkpoint").uri

    @property
    def student(self) -> str:
        """The run's student: the refined one if there is one."""
        return (self.folder("refine") / "checkpoint").uri if "refine" in self.outputs else self.tuned


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of the pipeline. `settings` are the config fields in its fingerprint, `needs` the stages before it.

    A need like `prompts.trained` names a part of an output: the rest may change without a new output of this stage.
    `version` is raised when the meaning of an output changes. A stage that `reads_summaries` depends on its inputs'
    summaries, too. Ray is started, or connected to, before the first stage that `uses_ray`. A stage that is not
    `enabled` is skipped, and later stages run without it. `also_needs` are needs that depend on settings.
    """

    name: str
    version: int
    needs: tuple[str, ...]
    settings: Callable[[Config], dict[str, Any]]
    run: Callable[[StageContext], dict[str, Any]]
    uses_ray: bool = True
    enabled: Callable[[Config], bool] = lambda _: True
    reads_summaries: bool = False
    also_needs: Callable[[Config], tuple[str, ...]] = lambda _: ()


def retry_failed(name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run the work, and once more if samples failed: the log holds all others, so only the failed ones are sampled
    again."""
    try:
        summary = work()
        if not summary.get("failed"):
            return summary
        logger.info(f"{name}: {summary['failed']:.1%} of the samples failed; they are tried once more")
    except TooManyFailuresError as error:
        logger.info(f"{error}; they are tried once more")
    return work()
