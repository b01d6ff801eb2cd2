"""Metrics are counted under the right names and tags, cost nothing without Ray, and never break a run."""

import logging
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.util import metrics as ray_metrics

from stillery.sampling.batch import Tally
from stillery.sampling.progress import SamplingProgress
from stillery.telemetry import metrics as observe
from stillery.telemetry.bars import ProgressBar

PLATFORM = Path(__file__).parents[3] / "platform"
Recorded = list[tuple[str, float, dict[str, str]]]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """The values that would be sent to Ray, recorded in place of sending, with a Ray that claims to be running."""
    values: Recorded = []

    def record(self: ray_metrics.Metric, value: float, tags: dict[str, str] | None = None) -> None:
        self._validate_tags(self._get_final_tags(tags))
        values.append((self._name, value, tags or {}))

    monkeypatch.setattr(ray_metrics.Metric, "_record", record)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    monkeypatch.setattr(observe, "_made", {})
    return values


def of(recorded: Recorded, name: str) -> list[tuple[float, dict[str, str]]]:
    return [(value, tags) for metric, value, tags in recorded if metric == name]


def test_a_stage_counts_what_it_makes(recorded: Recorded) -> None:
    bars: list[ProgressBar] = []
    progress = SamplingProgress(
        "generate", num_prompts=4, most_samples=32, judged=True, prices=(1.0, 10.0), write=bars.append
    )
    with observe.running("generate", run="first"):
        progress.add(Tally(made=5, accepted=3, errors=1, tokens=700, prompt_tokens=100, needed={"a": 2}))
    where = {"run": "first", "stage": "generate"}
    assert of(recorded, "stillery_samples") == [(5, where)]
    assert of(recorded, "stillery_accepted") == [(3, where)]
    assert of(recorded, "stillery_sample_errors") == [(1, where)]
    assert of(recorded, "stillery_tokens") == [
        (100, {**where, "direction": "prompt"}),
        (700, {**where, "direction": "completion"}),
    ]
    assert of(recorded, "stillery_cost") == [(pytest.approx(0.0071), where)]
    assert [value for value, _ in of(recorded, "stillery_stage_progress")] == [0, 0.25, 1]
    assert [value for value, _ in of(recorded, "stillery_stage_running")] == [1, 0]


def test_a_tally_with_nothing_new_increments_no_counter(recorded: Recorded) -> None:
    with observe.running("generate", run="first"):
        observe.sampled(made=0, accepted=0, errors=0, tokens=0, prompt_tokens=0)
    assert {name for name, _, _ in recorded if observe.METRICS[name].kind == "Counter"} == {"stillery_stage_seconds"}


def test_rejections_are_counted_by_reason(recorded: Recorded) -> None:
    with observe.running("curate", run="first"):
        observe.decided({"kept": 7, "dropped": {"wrong": 2, "repeated": 1}})
        observe.decided({"verdicts": {"correct": 9}})
        observe.decided({"files": 3, "dropped": 4})
    assert [(value, tags["reason"]) for value, tags in of(recorded, "stillery_rejected")] == [
        (2, "wrong"),
        (1, "repeated"),
    ]
    assert [(value, tags["verdict"]) for value, tags in of(recorded, "stillery_verdicts")] == [(9, "correct")]
    assert [value for value, _ in of(recorded, "stillery_kept")] == [7]


def test_a_failed_stage_says_so_and_its_error_passes_through(recorded: Recorded) -> None:
    with pytest.raises(ZeroDivisionError), observe.running("verify", run="first"):
        _ = 1 // 0
    assert [tags["outcome"] for _, tags in of(recorded, "stillery_stage_seconds")] == ["failed"]
    assert [value for value, _ in of(recorded, "stillery_stage_running")] == [1, 0]
    assert 1 not in [value for value, _ in of(recorded, "stillery_stage_progress")]


def test_gauges_are_sent_again_while_the_stage_runs_and_not_afterwards(recorded: Recorded) -> None:
    def progress() -> list[float]:
        return [value for value, _ in of(recorded, "stillery_stage_progress")]

    with observe.running("generate", run="first", refresh_s=0.01):
        observe.progressed(1, of=4)
        end = time.monotonic() + 10
        while progress().count(0.25) < 4 and time.monotonic() < end:
            time.sleep(0.01)
    assert progress()[-1] == 1
    assert progress().count(0.25) >= 4
    assert [value for value, _ in of(recorded, "stillery_stage_running")].count(1) >= 3
    sent = len(recorded)
    time.sleep(0.05)
    assert len(recorded) == sent


def test_a_process_that_works_for_a_stage_records_with_its_tags(recorded: Recorded) -> None:
    with observe.running("sft", run="first"):
        handed = observe.here()
    assert observe.here() == {}
    recorded.clear()
    with observe.working_for(handed):
        observe.progressed(1, of=2)
    with observe.working_for({}):
        observe.progressed(2, of=2)
    assert [(value, tags["run"], tags["stage"]) for value, tags in of(recorded, "stillery_stage_progress")] == [
        (0.5, "first", "sft")
    ]


def test_what_no_judge_looked_at_is_not_counted_as_accepted(recorded: Recorded) -> None:
    bars: list[ProgressBar] = []
    progress = SamplingProgress("evaluate", num_prompts=4, most_samples=32, judged=False, write=bars.append)
    with observe.running("evaluate_after", run="first"):
        progress.add(Tally(made=5, accepted=5, tokens=700, prompt_tokens=100, needed={"a": 2}))
    assert of(recorded, "stillery_accepted") == []
    assert [value for value, _ in of(recorded, "stillery_samples")] == [5]


def test_outside_a_stage_nothing_is_recorded(recorded: Recorded) -> None:
    observe.sampled(made=5, accepted=3, errors=1, tokens=700, prompt_tokens=100)
    assert recorded == []


def test_a_metric_that_cannot_be_sent_is_logged_and_breaks_nothing(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no agent")

    monkeypatch.setattr(ray_metrics.Metric, "_record", refuse)
    with (
        caplog.at_level(logging.WARNING, logger="stillery.telemetry.metrics"),
        observe.running("generate", run="first"),
    ):
        observe.progressed(1, of=2)
    assert "stillery_stage_progress could not be recorded" in caplog.text


def test_without_ray_it_is_not_even_imported() -> None:
    code = (
        "import sys; from stillery.telemetry import metrics as observe\n"
        "with observe.running('generate', run='r'):\n"
        "    observe.sampled(made=1, accepted=1, errors=0, tokens=1, prompt_tokens=1)\n"
        "print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PLATFORM)
    assert done.stdout.strip() == "False"


def test_metric_names_and_tags_are_valid_for_prometheus_and_used() -> None:
    source = Path(observe.__file__).read_text()
    for name, metric in observe.METRICS.items():
        assert re.fullmatch(r"stillery_[a-z]+(_[a-z]+)*", name)
        assert not name.endswith("_total"), "the exporter adds it"
        assert source.count(f'_record("{name}"') > 0, f"{name} is never recorded"
        assert {"run", "stage"} <= set(metric.tag_keys)
