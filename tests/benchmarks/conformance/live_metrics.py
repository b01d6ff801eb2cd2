#!/usr/bin/env python3
"""A run's own metrics as Prometheus would see them: Ray's metrics page, read every second during runs.

    python tests/benchmarks/conformance/live_metrics.py [--runs embedded endpoint] [--json OUT] [--folder DIR]

Starts its own Ray head, beside any other Ray on the machine, and submits two jobs to it with `ray job submit`: the full
pipeline on the embedded models, and a teacher behind an endpoint that has prices and refuses some requests, up to the
curated samples. Afterwards the page's counters must add up to the runs' tables; each metric of the Grafana dashboard
must have been seen; and a long stage must have been seen running all the while. Exits with 1 if not. Everything that
was started is ended, also on Ctrl-C.
"""

import argparse
import calendar
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]
# Before Ray is imported: this cluster asks for no token, and no other is meant.
os.environ["RAY_AUTH_MODE"] = "disabled"
for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
    os.environ.pop(name, None)

from stillery.config import load_config  # noqa: E402
from stillery.pipeline.order import STAGES  # noqa: E402
from support.local_cluster import LocalCluster  # noqa: E402
from support.metrics_page import Watch, agrees, total  # noqa: E402
from support.run_counts import expected_metrics, is_finished  # noqa: E402
from support.scripted_teacher import ScriptedTeacher, write_problems  # noqa: E402
from support.small_run import DEMO, SMALL  # noqa: E402
from support.submission import Submission  # noqa: E402

DASHBOARD = ROOT / "k8s" / "grafana" / "stillery.json"
EMBEDDED = (
    *SMALL, "run.name=embedded", "teacher.accepted_per_prompt=2", "curate.max_per_prompt=2", "evaluate.splits=[test]",
    # Enough training for Ray to report of it half-way.
    "sft.trl.num_train_epochs=12", "sft.trl.per_device_train_batch_size=2", "export.formats=[]",
)  # fmt: skip
# About 30 s of sampling, so that its progress is reported half-way.
ENDPOINT = (
    "run.name=endpoint", "teacher.samples_per_prompt=6", "teacher.accepted_per_prompt=2", "curate.max_per_prompt=2",
    "teacher.endpoint.concurrency=4", "teacher.endpoint.input_price=1.0", "teacher.endpoint.output_price=2.0",
)  # fmt: skip
# Ray reports every 10 s and keeps a gauge for two reports.
REPORT_S, LONG_STAGE_S, LEAST_SEEN = 10.0, 35.0, 0.9
JOB_LIMIT_S = 1200.0


@dataclass(frozen=True)
class Check:
    """Something that must hold, of a run."""

    run: str
    what: str
    page: float | None
    tables: float | None
    holds: bool

    @property
    def line(self) -> str:
        values = "".join(f"{'' if v is None else f'{v:,.10g}':>16}" for v in (self.page, self.tables))
        return f"{self.run:<10}{self.what:<66}{values}  {'' if self.holds else 'NOT AS IT SHOULD BE'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS), help="default: both")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the checks there")
    parser.add_argument("--folder", type=Path, help="keep runs here (default: kept only of failures)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder: Path = options.folder or Path(tempfile.mkdtemp(prefix="stillery-trial-"))
    checks: list[Check] = []
    with LocalCluster(folder / "home", environment={"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}) as cluster:
        cluster.start_head(num_cpus=4)
        with Watch(cluster.head.metrics_url, prefix="ray_stillery_") as watch:
            settings = {name: RUNS[name](cluster, folder / name) for name in options.runs}
            # The last values: the drivers are gone, what they have counted stays.
            time.sleep(2 * REPORT_S)
        for name, overrides in settings.items():
            checks += check_counters(name, folder / name, overrides, watch) + check_gauges(name, folder / name, watch)
        if len(options.runs) == len(RUNS):
            checks += check_dashboard(watch)
    print(f"{'run':<10}{'what':<66}{'page':>16}{'tables':>16}")
    print("\n".join(check.line for check in checks))
    if options.json is not None:
        options.json.write_text(json.dumps([check.__dict__ for check in checks], indent=1) + "\n")
    bad = sum(not check.holds for check in checks)
    print(f"{len(checks) - bad} of {len(checks)} as they should be; the page was read {len(watch.times)} times")
    if bad:
        print(f"runs and the drivers' output are in {folder}")
    elif options.folder is None:
        shutil.rmtree(folder)
    return int(bad > 0)


def run_embedded(cluster: LocalCluster, run: Path) -> list[str]:
    """The whole line. Returns its settings."""
    return submit(cluster, run, [*EMBEDDED], job="distill")


def run_endpoint(cluster: LocalCluster, run: Path) -> list[str]:
    """A teacher that costs money and refuses one request in ten. Returns its settings."""
    with ScriptedTeacher(characters=700, latency_s=1.0, refuse_one_in=10) as teacher:
        problems = write_problems(run.with_name("problems"), num_train=30)
        overrides = [*problems, f"teacher.endpoint.base_url={teacher.url}", *ENDPOINT]
        return submit(cluster, run, overrides, job="curate")


RUNS = {"embedded": run_embedded, "endpoint": run_endpoint}


def submit(cluster: LocalCluster, run: Path, overrides: list[str], *, job: str) -> list[str]:
    started = time.monotonic()
    submission = Submission(cluster, run, overrides, job=job)
    submission.finish(limit_s=JOB_LIMIT_S)
    run.with_suffix(".log").write_text(submission.output())
    state = "done" if submission.has_succeeded else f"FAILED, see {run.with_suffix('.log')}"
    print(f"{run.name}: {state} after {time.monotonic() - started:.0f} s", flush=True)
    return [*overrides, f"run.dir={run}"]


def check_counters(name: str, run: Path, overrides: list[str], watch: Watch) -> list[Check]:
    """The last page against the run's tables."""
    last = "report" if name == "embedded" else "curate"
    checks = [Check(name, f"{last} is finished", None, None, is_finished(run, last))]
    for metric, tags, expected in expected_metrics(run, load_config(DEMO, overrides)):
        page = total(watch.last, metric, {"run": name, **tags})
        shown = ", ".join(f"{key}={value}" for key, value in tags.items())
        checks.append(Check(name, f"{metric}{{{shown}}}", page, expected, agrees(page, expected)))
    return checks


def check_gauges(name: str, run: Path, watch: Watch) -> list[Check]:
    """What the page said of the run's stages while they ran: in seconds, and whether a long one was always there."""
    checks: list[Check] = []
    longest = 0.0
    for stage in [stage.name for stage in STAGES if stage.name != "prompts" and is_finished(run, stage.name)]:
        (path,) = run.glob(f"stages/{stage}/*/manifest.json")
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        seconds = float(manifest["summary"]["seconds"])
        tags = {"run": name, "stage": stage}
        page = total(watch.last, "ray_stillery_stage_seconds_total", {**tags, "outcome": "finished"})
        shown = f"ray_stillery_stage_seconds_total{{stage={stage}}}"
        checks.append(Check(name, shown, page, seconds, abs(page - seconds) < 1.0))
        longest = max(longest, seconds)
        end = calendar.timegm(time.strptime(manifest["finished"], "%Y-%m-%dT%H:%M:%SZ"))
        reads = [when for when in watch.times if end - seconds + 1.5 * REPORT_S <= when <= end]
        if seconds >= LONG_STAGE_S and reads:
            running = {when for when, value in watch.of("ray_stillery_stage_running", tags) if value == 1}
            share = sum(when in running for when in reads) / len(reads)
            what = f"{stage} was seen to run, share of {len(reads)} readings"
            checks.append(Check(name, what, share, LEAST_SEEN, share >= LEAST_SEEN))
    progress = {value for _, value in watch.of("ray_stillery_stage_progress", {"run": name})}
    if longest >= LONG_STAGE_S:
        between = sum(0 < value < 1 for value in progress)
        checks.append(Check(name, "values of progress between 0 and 1, at least", between, 1, between >= 1))
    return checks


def check_dashboard(watch: Watch) -> list[Check]:
    """Each metric of ours that Grafana draws was on the page. Of Ray's own it is only told: some need an autoscaler or
    a GPU."""
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    queries = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", []))
    drawn = sorted(set(re.findall(r"\b(?:ray|autoscaler)_\w+", queries)))
    ours = [metric for metric in drawn if metric.startswith("ray_stillery_")]
    others = [f"{metric} ({'seen' if metric in watch.names else 'not seen'})" for metric in drawn if metric not in ours]
    print("Ray's own in the dashboard:", ", ".join(others))
    return [Check("dashboard", f"{metric} was seen", None, None, metric in watch.names) for metric in ours]


if __name__ == "__main__":
    sys.exit(main())
