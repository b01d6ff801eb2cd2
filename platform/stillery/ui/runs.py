"""The existing runs, and which of a run's outputs belong together.

A run in an object store is read from a local copy, which is fetched page by page.
"""

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stillery.config import Config, load_config
from stillery.errors import UserError
from stillery.io.run_folder import MANIFEST, Output, find_run, home
from stillery.io.storage import Folder
from stillery.pipeline.order import STAGES
from stillery.pipeline.runner import input_key, stages_of
from stillery.stages.stage import Stage
from stillery.ui.run_copy import RunCopy

# Replaces a fingerprint: the samples that are being made.
RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished output with its manifest's record of its inputs: for each, `fingerprint` and `content`."""

    output: Output
    finished: str
    inputs: Mapping[str, Mapping[str, str]]

    @property
    def fingerprint(self) -> str:
        return self.output.fingerprint


class RunList:
    """The shown runs, by their name in addresses.

    Those named on the command line, or else all runs currently in the runs folder. A name is only looked up here and
    never becomes part of a path.
    """

    def __init__(self, runs: Sequence[str] = ()) -> None:
        """Raises UserError for a missing run."""
        self._named: dict[str, RunView] = {}
        for run in runs:
            source = find_run(run)
            copy = None if source.is_local else RunCopy(source)
            path = source.local if copy is None else copy.path
            plain, number = source.uri.rstrip("/").rpartition("/")[2], 2
            name = plain
            while name in self._named:
                name, number = f"{plain}-{number}", number + 1
            self._named[name] = RunView(name, path, source, copy)
        self._folder = home() / "runs"

    @property
    def roots(self) -> list[Path]:
        """The folders below which all files that are read lie."""
        return [run.path for run in self._named.values()] or [self._folder]

    @property
    def places(self) -> list[str]:
        """The locations of the runs, for display."""
        return [run.source.uri for run in self._named.values()] or [str(self._folder)]

    def all(self) -> list["RunView"]:
        """All runs, in their current state."""
        if self._named:
            return [run.refreshed() for run in self._named.values()]
        found = sorted(path.parent for path in self._folder.glob("*/run.yaml"))
        return [RunView(path.name, path, Folder(str(path))) for path in found]

    def find(self, name: str) -> "RunView":
        """Raises KeyError if there is no run of this name."""
        if self._named:
            return self._named[name].refreshed()
        return {run.name: run for run in self.all()}[name]


@dataclass(frozen=True, slots=True)
class RunView:
    """A run: its name in addresses, the folder that is read, the location of the run, and the copy that keeps the two
    in sync where they differ."""

    name: str
    path: Path
    source: Folder
    copy: RunCopy | None = None

    @property
    def folder(self) -> Folder:
        return Folder(str(self.path))

    def refreshed(self) -> "RunView":
        """The run, with its small files updated. Raises OSError if it cannot be reached."""
        if self.copy is not None:
            self.copy.refresh()
        return self

    def fetch(self, folder: Path) -> Path:
        """A folder of the run, with its tables on this machine. Raises OSError if they cannot be reached."""
        if self.copy is not None:
            self.copy.fetch(folder)
        return folder

    def config(self) -> Config | None:
        """The config of the latest start; None if another version of stillery wrote it."""
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

    def chosen(self, samples: str | None = None, *, fetch: Collection[str] = ()) -> dict[str, Output]:
        """The outputs that belong to one set of teacher's samples, by stage: the latest set, the one with the
        fingerprint `samples`, or RUNNING, the unfinished one. For each stage, the latest output that was made from the
        others. The tables of the stages `fetch` are on this machine.

        Raises KeyError if there is no such set.
        """
        of_teacher = self.finished("generate")
        if samples == RUNNING:
            of_teacher = []
        elif samples is not None:
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
        for stage, output in chosen.items():
            if stage in fetch:
                self.fetch(output.folder.local)
        return chosen


def _read(stage: str, manifest: Path, folder: Folder) -> Finished | None:
    """A finished output; None if its manifest is from another version of stillery."""
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
    """Cached by modification time: reading it takes longer than everything else on a page."""
    try:
        return load_config(path)
    except UserError:
        return None


def _fits(candidate: Finished, chosen: Mapping[str, Output], *, told: bool) -> bool:
    """Whether the outputs that the candidate was made from are the chosen ones, or have the same contents."""
    for need, made_of in candidate.inputs.items():
        source = chosen.get(need.partition(".")[0])
        if source is None:
            return False
        if made_of["fingerprint"] != source.fingerprint and made_of["content"] != input_key(need, chosen, told=told):
            return False
    return True
