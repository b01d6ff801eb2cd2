"""All runs, and one run: its live stages, its results, and the funnel that links to its samples."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from stillery.config import to_yaml
from stillery.io.run_folder import Output
from stillery.records import Split
from stillery.registry.lineage import EVALUATIONS, redact
from stillery.report.page import POLICY as REPORT_POLICY
from stillery.ui.filters import DROPPED, KEPT
from stillery.ui.live import is_sampling, state_of
from stillery.ui.log_files import log_of
from stillery.ui.runs import RunView
from stillery.ui.site import path, query_of, site_of


@dataclass(frozen=True, slots=True)
class FunnelBar:
    """A bar of the funnel: a name, the number of samples, their share of all, the bar's class, and its link."""

    name: str
    number: int
    share: float
    style: str
    address: str


def all_runs(request: Request) -> Response:
    """Every run with its state and results."""
    site = site_of(request)
    rows = [(view, state_of(view, site.database), _results(view.chosen())) for view in site.runs.all()]
    rows.sort(key=lambda row: (row[1].is_running is not True, -row[1].started.timestamp()))
    is_live = any(state.is_running for _, state, _ in rows)
    return site.page(request, "runs.html", rows=rows, is_live=is_live, folder=", ".join(map(redact, site.runs.places)))


def overview(request: Request) -> Response:
    """One run."""
    site = site_of(request)
    run = site.run(request)
    samples = query_of(request).get("samples")
    chosen = chosen_of(run, samples)
    config = run.config()
    state = state_of(run, site.database)
    return site.page(
        request,
        "run.html",
        run=run,
        tab="overview",
        samples=samples,
        state=state,
        is_live=bool(state.is_running),
        results=_results(chosen),
        funnel=_funnel(run, chosen, samples),
        registered=chosen["register"].summary if "register" in chosen else None,
        has_samples="generate" in chosen,
        sets=run.finished("generate"),
        place=redact(run.source.uri),
        is_sampling=is_sampling(state) and log_of(run) is not None,
        config="" if config is None else redact(to_yaml(config)),
    )


def report(request: Request) -> Response:
    """The run's own report, under the report's own policy."""
    site = site_of(request)
    chosen = chosen_of(site.run(request), query_of(request).get("samples"), fetch=("report",))
    if "report" not in chosen:
        raise HTTPException(404, "This run has no report yet; `stillery report` writes one of what is finished.")
    page = chosen["report"].folder.read_bytes("report.html")
    return HTMLResponse(page, headers={"content-security-policy": REPORT_POLICY})


def chosen_of(run: RunView, samples: str | None, *, fetch: Collection[str] = ()) -> dict[str, Output]:
    """The outputs to show together, with the tables of the stages `fetch`. Raises HTTPException (404) if the run has no
    such samples."""
    try:
        return run.chosen(samples, fetch=fetch)
    except KeyError:
        raise HTTPException(404, f"The run {run.name} has no finished samples {samples}.") from None


def _results(chosen: Mapping[str, Output]) -> dict[str, dict[str, Any]]:
    """The measures of each evaluated model, by role and split."""
    found: dict[str, dict[str, Any]] = {}
    for stage, role in EVALUATIONS.items():
        if stage in chosen:
            splits = chosen[stage].summary["splits"]
            found[role] = {split: splits[split]["overall"] for split in Split if split in splits}
    return {role: measures for role, measures in found.items() if measures}


def _funnel(run: RunView, chosen: Mapping[str, Output], samples: str | None) -> list[tuple[str, list[FunnelBar]]]:
    """Groups of bars: from the teacher's samples to the training set, the verdicts, why samples were dropped, flags."""
    if "generate" not in chosen:
        return []
    made = int(chosen["generate"].summary.get("num_samples") or chosen["generate"].folder.num_rows())
    graded = chosen["verify"].summary if "verify" in chosen else {}
    curated = chosen["curate"].summary if "curate" in chosen else {}

    def bar(name: str, number: int, style: str = "plain", **filters: str) -> FunnelBar:
        address = path("runs", run.name, "samples", samples=samples, **filters)
        return FunnelBar(name.replace("_", " "), number, number / made if made else 0.0, style, address)

    main = [bar("generated", made)]
    if "correct" in curated:
        main.append(bar("verified correct", curated["correct"], "good", verdict="correct"))
        main.append(bar("kept for training", curated["kept"], "good", outcome=KEPT))
        main.append(bar("dropped", made - curated["kept"], "bad", outcome=DROPPED))
    verdicts = [bar(v, n, "good" if v == "correct" else "bad", verdict=v) for v, n in _ordered(graded, "verdicts")]
    reasons = [bar(reason, number, "bad", outcome=reason) for reason, number in _ordered(curated, "dropped")]
    flags = [bar(flag, number, "other", flag=flag) for flag, number in _ordered(graded, "flags")]
    groups = [("From the teacher to the training set", main), ("Verdicts", verdicts)]
    groups += [("Why samples were dropped", reasons), ("Readability flags", flags)]
    return [(name, bars) for name, bars in groups if bars]


def _ordered(summary: Mapping[str, Any], key: str) -> list[tuple[str, int]]:
    counts: Mapping[str, int] = summary.get(key) or {}
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
