"""The run folder: the location of each stage's output, and when it counts as complete.

    RUN/run.yaml                          the resolved config of the latest start
    RUN/started                           when the run was first started, by its machine's clock
    RUN/log/KEY/*.parquet                 durable samples, appended as they finish, shared by every n and k
    RUN/log/KEY/owner                     which start of the run may append
    RUN/stages/STAGE/FINGERPRINT/         one immutable output
        *.parquet, checkpoint/, ...       what the stage made
        manifest.json                     settings, inputs, git revision, counts, checksums: written last

A fingerprint covers the stage's own settings, the contents of its inputs and the stage's version number, so a changed
setting makes a new output beside the old one. An output without a manifest is unfinished: the stage may resume from its
files.
"""

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillery import records
from stillery.config import Config, to_yaml
from stillery.errors import UserError
from stillery.io.storage import Folder

MANIFEST = "manifest.json"
STARTED = "started"


@dataclass(frozen=True, slots=True)
class Output:
    """A finished output of a stage. `summary` is the stage's report: counts, metrics, seconds; `files` are the
    checksums of its tables, by name."""

    stage: str
    fingerprint: str
    folder: Folder
    summary: dict[str, Any]
    files: dict[str, str]

    @property
    def content(self) -> str:
        """The contents of the tables, whatever settings made them: the key for later stages."""
        return records.digest("content", self.files)[:16]

    @property
    def told(self) -> str:
        """The contents of the tables and the stage's summary, except its duration."""
        reported = {key: value for key, value in self.summary.items() if key != "seconds"}
        return records.digest("told", self.files, reported)[:16]


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder. `started`, the time of the first start, is the current time for chat templates: a template that
    prints the date would otherwise make every sample again after midnight."""

    folder: Folder
    git_revision: str
    started: datetime.datetime = field(default_factory=datetime.datetime.now)

    def output(self, stage: str, fingerprint: str) -> Output | None:
        """The output of a stage, if it is complete."""
        folder = self.stage_folder(stage, fingerprint)
        if not folder.exists(MANIFEST):
            return None
        manifest = json.loads(folder.read_bytes(MANIFEST))
        return Output(stage, fingerprint, folder, manifest["summary"], manifest["files"])

    def stage_folder(self, stage: str, fingerprint: str) -> Folder:
        return self.folder / "stages" / stage / fingerprint

    @property
    def logs(self) -> Folder:
        """The folder of all of the run's logs."""
        return self.folder / "log"

    def log_folder(self, key: str) -> Folder:
        """The folder to which durable samples with this key are appended; the key covers everything that determines a
        sample, but not n."""
        return self.logs / key

    def complete(
        self,
        stage: str,
        fingerprint: str,
        *,
        version: int,
        settings: Mapping[str, Any],
        inputs: Mapping[str, Mapping[str, str]],
        summary: Mapping[str, Any],
    ) -> Output:
        """Mark a stage's output as complete: the manifest is written last, so its existence means that the output is
        complete.

        `inputs` records for each input its output (`fingerprint`) and what the stage's own fingerprint covers of it
        (`content`).
        """
        folder = self.stage_folder(stage, fingerprint)
        tables = [*folder.names(".parquet"), *(name for name in folder.names(".json") if name != MANIFEST)]
        files = {name: checksum(folder.read_bytes(name)) for name in tables}
        manifest = {
            "stage": stage,
            "version": version,
            "fingerprint": fingerprint,
            "settings": dict(settings),
            "inputs": {name: dict(made_of) for name, made_of in inputs.items()},
            "git_revision": self.git_revision,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "files": files,
            "summary": dict(summary),
        }
        folder.write_bytes(MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
        return Output(stage, fingerprint, folder, dict(summary), files)


def fingerprint_of(stage: str, *, version: int, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """16 hex digits that change when the stage's settings, its inputs' contents or its meaning (version) change."""
    return records.digest("stage", stage, version, dict(settings), dict(inputs))[:16]


def home() -> Path:
    """The default location of runs and the embedded MLflow store: $STILLERY_HOME or ~/.stillery."""
    return Path(os.environ.get("STILLERY_HOME") or Path.home() / ".stillery").expanduser().absolute()


def is_submitted_job() -> bool:
    """Whether this process is the driver of a submitted Ray job, whose working directory is Ray's temporary copy."""
    return bool(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR"))


def run_uri(config: Config) -> str:
    """The absolute address of the run.

    Raises UserError for a relative path inside a submitted Ray job: the run would lie in Ray's cached copy of the
    working directory and vanish with it.
    """
    uri = config.run.dir
    if uri is None:
        return str(home() / "runs" / config.run.name)
    if "://" in uri:
        return _checked_uri(uri)
    if Path(uri).is_absolute():
        return uri
    if is_submitted_job():
        raise UserError(
            f"run.dir={uri} is relative, and a submitted job's folder is temporary: give an absolute path or a URI"
        )
    return str(Path(uri).absolute())


def _checked_uri(uri: str) -> str:
    """The URI of a run. Raises UserError for one that cannot contain a folder."""
    # Object stores' clients take these as patterns or options, even inside a name.
    special = next((text for text in ("::", "?", "*", "[", "]", "#") if text in uri), None)
    if special is not None:
        raise UserError(f"run.dir={uri}: {special!r} cannot be part of it; give PROTOCOL://BUCKET/FOLDER")
    return uri.rstrip("/")


@contextlib.contextmanager
def open_run(config: Config) -> Generator[Run]:
    """Open (or create) the run's folder and lock it: two drivers of one run would do everything twice.

    The lock is the kernel's, so a killed driver leaves none behind. Object stores have no lock.
    """
    folder = Folder(run_uri(config))
    with contextlib.ExitStack() as stack:
        if folder.is_local:
            stack.enter_context(_locked(folder.local))
        folder.write_bytes("run.yaml", to_yaml(config).encode())
        yield Run(folder, git_revision(), _started(folder))


def _started(folder: Folder) -> datetime.datetime:
    if not folder.exists(STARTED):
        folder.write_bytes(STARTED, datetime.datetime.now().isoformat(timespec="seconds").encode())
    return datetime.datetime.fromisoformat(folder.read_bytes(STARTED).decode())


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = (path / ".lock").open("a")
    except OSError as error:
        raise UserError(f"cannot use {path} as run folder: {error.strerror}; choose another run.dir") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another process is working on {path}: wait for it, stop it, or choose another run.name"
            ) from None
        yield


def find_run(run: str) -> Folder:
    """The folder of a run by its name, path or URI. Raises UserError if there is none."""
    named = home() / "runs" / run
    folder = Folder(str(named) if "://" not in run and named.is_dir() else run)
    if not folder.exists("run.yaml"):
        raise UserError(f"no run {run}: neither in {home() / 'runs'} nor a run's folder; see `stillery runs list`")
    return folder


def manifests_of(run: Folder, stage: str = "*") -> list[dict[str, Any]]:
    """The manifests of a run's finished outputs, of all stages or one, in the order of completion."""
    fs, path = (run / "stages").open_fs()
    found = [json.loads(fs.cat_file(name)) for name in fs.glob(f"{path}/{stage}/*/{MANIFEST}")]
    return sorted(found, key=lambda manifest: str(manifest["finished"]))


def git_revision() -> str:
    """The revision of the code: $STILLERY_GIT_REVISION (set at submission), else git's, else unknown.

    A revision with uncommitted changes ends in `-dirty`.
    """
    told = os.environ.get("STILLERY_GIT_REVISION")
    if told:
        return told
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def checksum(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
