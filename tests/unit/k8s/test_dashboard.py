"""Every query of the Grafana dashboard names metrics and labels that are exported."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import ray
from manifests import ROOT
from prometheus_client import generate_latest
from ray._private.telemetry.open_telemetry_metric_recorder import OpenTelemetryMetricRecorder

from stillery.telemetry.metrics import METRICS

DASHBOARD = json.loads((ROOT / "k8s" / "grafana" / "stillery.json").read_text())
# PromQL's own words, as far as the dashboard uses them.
WORDS = {"sum", "max", "avg", "rate", "by", "and", "histogram_quantile", "label_values"}


def exported() -> set[str]:
    """Our metrics under the names that Prometheus sees: Ray puts `ray_` before those of a run, and exporters put
    `_total` after counters and more after histograms."""
    runs = {f"ray_{name}" + ("_total" if metric.kind == "Counter" else "") for name, metric in METRICS.items()}
    gateway = (ROOT / "platform" / "stillery" / "serving" / "gateway" / "metrics.py").read_text()
    suffixes = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}
    found = re.findall(r"(Counter|Gauge|Histogram)\(\s*\"(\w+)\"", gateway)
    assert found
    return runs | {name + suffix for kind, name in found for suffix in suffixes[kind]}


def queries() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return panels + [v["query"]["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]


def names_in(query: str) -> set[str]:
    """The metrics in a query: its words without label matchers, groupings and ranges."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)|, run\)", " ", query)
    return set(re.findall(r"[a-zA-Z_]\w*", bare)) - WORDS


def test_rays_exporter_gives_a_runs_metrics_these_names() -> None:
    recorder = OpenTelemetryMetricRecorder()
    for name, metric in METRICS.items():
        register = {"Counter": recorder.register_counter_metric, "Gauge": recorder.register_gauge_metric}
        register[metric.kind](name, metric.description)
        recorder.set_metric_value(name, dict.fromkeys(metric.tag_keys, "x"), 1)
    lines = re.findall(r"^(ray_stillery_\w+)\{(.*)\}", generate_latest().decode(), flags=re.MULTILINE)
    assert {name for name, _ in lines} == {name for name in exported() if name.startswith("ray_stillery_")}
    tags = {name: set(re.findall(r"(\w+)=", labels)) for name, labels in lines}
    for name, metric in METRICS.items():
        seen = tags[f"ray_{name}" + ("_total" if metric.kind == "Counter" else "")]
        assert set(metric.tag_keys) == {tag for tag in seen if not tag.startswith("otel_")}


def missing(query: str) -> list[str]:
    """The metrics of a query that nobody sends."""
    modules = Path(str(ray.__file__)).parent / "dashboard" / "modules"
    drawn = " ".join(path.read_text() for path in (modules / "metrics" / "dashboards").glob("*.py"))
    reported = re.findall(r'"(\w+)": Gauge\(', (modules / "reporter" / "reporter_agent.py").read_text())
    rays_own = {*re.findall(r"\bray_\w+", drawn), *(f"ray_{name}" for name in reported)}
    return [name for name in names_in(query) if name not in exported() | rays_own]


def test_every_metric_comes_from_a_port_that_is_scraped() -> None:
    """Ray's own come from port 8080 under `ray_`, the endpoint's from 8000. The autoscaler's own port is not open."""
    names = {name for query in queries() for name in names_in(query)}
    assert {name for name in names if not name.startswith(("ray_", "stillery_http_"))} == set()


def test_every_query_names_metrics_that_exist() -> None:
    assert len(queries()) >= 15
    assert all(names_in(query) for query in queries())
    assert {query: missing(query) for query in queries() if missing(query)} == {}


def test_every_metric_of_a_run_is_drawn() -> None:
    drawn = {name for query in queries() for name in names_in(query)}
    assert {name for name in exported() if name.startswith("ray_stillery_")} <= drawn


def test_queries_group_and_select_by_tags_that_the_metric_has() -> None:
    for query in queries():
        for name, metric in METRICS.items():
            used = re.findall(rf"\bray_{name}(?:_total)?\{{([^}}]*)\}}", query)
            labels = {label for matcher in used for label in re.findall(r"(\w+)=", matcher)}
            if used:
                labels |= {label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")}
            assert labels <= set(metric.tag_keys), query


@pytest.mark.parametrize(
    "query",
    ["sum(ray_stillery_sample_total)", "rate(ray_stillery_samples[5m])", "sum by (run) (stillery_samples_total)"],
)
def test_a_misspelt_metric_is_caught(query: str) -> None:
    assert missing(query)


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
