"""Which runs there are, and which of a run's outputs belong together."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stillery.config import Config, load_config
from stillery.errors import UserError
from stillery.io.run_folder import MANIFEST, Output, find_run, home
from stillery.io.storage import Folder
from stillery.pipeline.order import STAGES
from stillery.pipeline.runner import input_key, stages_of
from stillery.stages.stage import Stage


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished output with what its manifest says of its inputs: for each, `fingerprint` and `content`."""

    output: Output
    finished: str
    inputs: Mapping[str, Mapping[str, str]]

    @property
    def fingerprint(self) -> str:
        return self.output.fingerprint


class RunList:
    """The runs that are shown, by the name that stands in addresses.

    Those named on the command line, or else whatever lies in the runs folder at the moment. A name is looked up here
    and never becomes part of a path.
    """

    def __init__(self, runs: Sequence[str] = ()) -> None:
        """Raises UserError for a run that is not there, or lies where there is no local path."""
        self._named: dict[str, Path] = {}
        for run in runs:
            path = find_run(run).local
            name, number = path.name, 2
            while name in self._named:
                name, number = f"{path.name}-{number}", number + 1
            self._named[name] = path
        self._folder = home() / "runs"

    @property
    def roots(self) -> list[Path]:
        """The folders below which everything lies that is read."""
        return list(self._named.values()) or [self._folder]

    def all(self) -> dict[str, Path]:
        """The runs' folders by name."""
        if self._named:
            return self._named
        return {path.parent.name: path.parent for path in sorted(self._folder.glob("*/run.yaml"))}

    def find(self, name: str) -> "RunView":
        """Raises KeyError if there is no run of this name."""
        return RunView(name, self.all()[name])


@dataclass(frozen=True, slots=True)
class RunView:
    """A run: its name in addresses, and its folder."""

    name: str
    path: Path

    @property
    def folder(self) -> Folder:
        return Folder(str(self.path))

    def config(self) -> Config | None:
        """The config of the latest start; None where another version of stillery wrote it."""
        return _read_config(self.path / "run.yaml", (self.path / "run.yaml").stat().st_mtime_ns)

    def stages(self) -> tuple[Stage, ...]:
        """The stages that the latest start runs, in order."""
        config = self.config()
        return STAGES if config is None else stages_of(config)

    def finished(self, stage: str) -> list[Finished]:
        """The finished outputs of a stage, the latest first."""
        folder = self.folder / "stages" / stage
        found = (_read(stage, path, folder) for path in (self.path / "stages" / stage).glob(f"*/{MANIFEST}"))
        return sorted((one for one in found if one), key=lambda one: (one.finished, one.fingerprint), reverse=True)

    def chosen(self, samples: str | None = None) -> dict[str, Output]:
        """The outputs that belong to one set of teacher's samples, by stage: the latest, or that with the fingerprint
        `samples`. Of each stage, the latest output that was made of the others.

        Raises KeyError if there is no such set.
        """
        of_teacher = self.finished("generate")
        if samples is not None:
            of_teacher = [one for one in of_teacher if one.fingerprint == samples]
            if not of_teacher:
                raise KeyError(samples)
        chosen: dict[str, Output] = {}
        for stage in STAGES:
            candidates = of_teacher if stage.name == "generate" else self.finished(stage.name)
            if stage.name == "prompts" and of_teacher:
                asked = {told["fingerprint"] for told in of_teacher[0].inputs.values()}
                candidates = [one for one in candidates if one.fingerprint in asked] or candidates
            fitting = (one for one in candidates if one in of_teacher or _fits(one, chosen, told=stage.reads_summaries))
            if (latest := next(fitting, None)) is not None:
                chosen[stage.name] = latest.output
        return chosen


def _read(stage: str, manifest: Path, folder: Folder) -> Finished | None:
    """A finished output; None where what its manifest says is that of another version of stillery."""
    name = manifest.parent.name
    try:
        told = json.loads(manifest.read_bytes())
        inputs = {
            need: {key: str(made_of[key]) for key in ("fingerprint", "content")}
            for need, made_of in told["inputs"].items()
        }
        return Finished(Output(stage, name, folder / name, told["summary"], told["files"]), told["finished"], inputs)
    except (ValueError, KeyError, TypeError):
        return None


@functools.lru_cache(maxsize=64)
def _read_config(path: Path, _changed_ns: int) -> Config | None:
    """Read once for each time that it was written: it takes longer than all else of a page."""
    try:
        return load_config(path)
    except UserError:
        return None


def _fits(candidate: Finished, chosen: Mapping[str, Output], *, told: bool) -> bool:
    """Whether the outputs that the candidate was made of are the chosen ones, or hold the same."""
    for need, made_of in candidate.inputs.items():
        source = chosen.get(need.partition(".")[0])
        if source is None:
            return False
        if made_of["fingerprint"] != source.fingerprint and made_of["content"] != input_key(need, chosen, told=told):
            return False
    return True
