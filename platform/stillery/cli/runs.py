"""`stillery runs list|show|open`: the runs below $STILLERY_HOME and their finished stages."""

import webbrowser
from collections.abc import Callable
from pathlib import Path

from stillery.errors import UserError
from stillery.io.run_folder import find_run, home, manifests_of
from stillery.io.storage import Folder
from stillery.pipeline.order import STAGES


def list_runs() -> str:
    """A line per run: its name, the number of finished outputs, the latest of them and its time."""
    folder = home() / "runs"
    runs = sorted(path for path in folder.glob("*") if (path / "run.yaml").is_file())
    if not runs:
        return f"no runs in {folder}; `stillery run --config demo` makes one"
    lines = [f"{'run':<28}{'outputs':>8}  {'latest stage':<18}finished"]
    for path in runs:
        manifests = manifests_of(Folder(str(path)))
        latest = manifests[-1] if manifests else {"stage": "-", "finished": "-"}
        lines.append(f"{path.name:<28}{len(manifests):>8}  {latest['stage']:<18}{latest['finished']}")
    return "\n".join(lines)


def show_run(run: str) -> str:
    """A line per output of a run, in the order of stages: fingerprint, time of completion, seconds, files."""
    manifests = manifests_of(find_run(run))
    names = [stage.name for stage in STAGES]
    ordered = sorted(manifests, key=lambda m: names.index(m["stage"]) if m["stage"] in names else len(names))
    lines = [f"{'stage':<18}{'fingerprint':<18}{'finished':<22}{'seconds':>9}{'files':>7}"]
    for m in ordered:
        seconds, num_files = m["summary"].get("seconds", 0), len(m["files"])
        lines.append(f"{m['stage']:<18}{m['fingerprint']:<18}{m['finished']:<22}{seconds:>9.1f}{num_files:>7}")
    return "\n".join(lines)


def open_report(run: str) -> str:
    """Open the latest report of a run in the browser; returns its address."""
    reports = [m for m in manifests_of(find_run(run)) if m["stage"] == "report"]
    if not reports:
        raise UserError(f"{run} has no report yet; `stillery report` writes one of what is finished")
    address = str(reports[-1]["summary"]["path"])
    webbrowser.open(address if "://" in address else Path(address).as_uri())
    return address


ACTIONS: dict[str, Callable[[str], str]] = {"show": show_run, "open": open_report}
