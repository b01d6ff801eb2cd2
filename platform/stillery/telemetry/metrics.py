"""A run's own Prometheus metrics, exported through Ray's.

In: the driver's counts while stages run. Out: series named `ray_stillery_...` on the metrics port of the driver's node,
beside Ray's own; k8s/grafana draws them. Without a Ray cluster every call returns at once, and a metric that cannot be
sent never ends the run that it measures.
"""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, cast

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's kind, its meaning, and its tags besides `run` and `stage`."""

    kind: Literal["Counter", "Gauge"]
    description: str
    tags: tuple[str, ...] = ()

    @property
    def tag_keys(self) -> tuple[str, ...]:
        return ("run", "stage", *self.tags)


METRICS = {
    "stillery_samples": Metric("Counter", "Samples made; what the log held already is not made again."),
    "stillery_tokens": Metric("Counter", "Tokens of the samples made.", ("direction",)),
    "stillery_accepted": Metric("Counter", "Samples accepted while the teacher samples."),
    "stillery_sample_errors": Metric("Counter", "Samples that the engine refused or that failed."),
    "stillery_cost": Metric("Counter", "What an endpoint's tokens cost, in the currency of its prices."),
    "stillery_verdicts": Metric("Counter", "Checked samples by verdict.", ("verdict",)),
    "stillery_rejected": Metric("Counter", "Samples that curation dropped, by reason.", ("reason",)),
    "stillery_kept": Metric("Counter", "Samples that curation kept."),
    "stillery_stage_progress": Metric("Gauge", "How much of the running stage is done, 0 to 1."),
    "stillery_stage_running": Metric("Gauge", "1 while the stage runs."),
    # A counter stays on the metrics page when its driver has ended; a gauge goes.
    "stillery_stage_seconds": Metric("Counter", "How long the stage ran.", ("outcome",)),
}

# Ray sends a gauge once each time it is set, and its metrics page drops it after two reports, 20 s by default.
REFRESH_S = 5.0

_where: ContextVar[Mapping[str, str] | None] = ContextVar("stillery_observed_stage", default=None)
_made: dict[str, Any] = {}
# The current values of the running stage's gauges. The lock keeps a refresh from sending a value that has just been
# replaced.
_gauges: dict[str, float] = {}
_lock = threading.Lock()


@contextlib.contextmanager
def running(stage: str, *, run: str, refresh_s: float = REFRESH_S) -> Generator[None]:
    """Tag the metrics inside with the run and its stage, and record that the stage runs, and how it ended."""
    started = time.monotonic()
    with working_for({"run": run, "stage": stage}, refresh_s=refresh_s):
        _record("stillery_stage_running", 1)
        _record("stillery_stage_progress", 0)
        outcome = "failed"
        try:
            yield
            outcome = "finished"
            _record("stillery_stage_progress", 1)
        finally:
            _record("stillery_stage_running", 0)
            _record("stillery_stage_seconds", time.monotonic() - started, outcome=outcome)


def here() -> dict[str, str]:
    """The tags of the running stage, to be passed to a process that works for it; none outside a stage."""
    return dict(_where.get() or {})


@contextlib.contextmanager
def working_for(where: Mapping[str, str], *, refresh_s: float = REFRESH_S) -> Generator[None]:
    """Tag this thread's metrics inside with a stage's `here()`; gauges are sent again every `refresh_s`."""
    token = _where.set(where or None)
    over = threading.Event()
    refresher = threading.Thread(target=_refresh, args=(where, over, refresh_s), daemon=True, name="gauges")
    refresher.start()
    try:
        yield
    finally:
        over.set()
        refresher.join()
        _gauges.clear()
        _where.reset(token)


def sampled(*, made: int, accepted: int, errors: int, tokens: int, prompt_tokens: int, cost: float = 0.0) -> None:
    """Count samples that have just become durable; `tokens` are the completions'."""
    _record("stillery_samples", made)
    _record("stillery_accepted", accepted)
    _record("stillery_sample_errors", errors)
    _record("stillery_tokens", prompt_tokens, direction="prompt")
    _record("stillery_tokens", tokens, direction="completion")
    _record("stillery_cost", cost)


def progressed(done: int, *, of: int) -> None:
    """Record the progress of the running stage."""
    if of:
        _record("stillery_stage_progress", done / of)


def decided(summary: Mapping[str, Any]) -> None:
    """Count the sample totals in a finished stage's summary: verdicts, and the numbers kept and dropped."""
    for verdict, count in _counts(summary, "verdicts").items():
        _record("stillery_verdicts", count, verdict=verdict)
    for reason, count in _counts(summary, "dropped").items():
        _record("stillery_rejected", count, reason=reason)
    kept = summary.get("kept")
    if isinstance(kept, int):
        _record("stillery_kept", kept)


def _counts(summary: Mapping[str, Any], key: str) -> Mapping[str, int]:
    counts = summary.get(key)
    return cast(Mapping[str, int], counts) if isinstance(counts, Mapping) else {}


def _refresh(tags: Mapping[str, str], over: threading.Event, every_s: float) -> None:
    """Send the gauges again until the stage is over."""
    while not over.wait(every_s):
        with _lock:
            for name, value in _gauges.items():
                _send(name, value, dict(tags))


def _record(name: str, value: float, **tags: str) -> None:
    """Send one value, if there is a stage to tag it with and a Ray cluster to send it to."""
    where = _where.get()
    if where is None:
        return
    if METRICS[name].kind == "Gauge":
        with _lock:
            _gauges[name] = value
            _send(name, value, {**where, **tags})
    elif value > 0:
        _send(name, value, {**where, **tags})


def _send(name: str, value: float, tags: dict[str, str]) -> None:
    if not _is_connected():
        return
    try:
        metric = _made.get(name) or _made.setdefault(name, _make(name))
        record = metric.inc if METRICS[name].kind == "Counter" else metric.set
        record(value, tags=tags)
    except Exception:
        # Boundary: a run that takes hours must not end because a counter could not be sent.
        log.warning("the metric %s could not be recorded", name, exc_info=True)


def _make(name: str) -> Any:
    from ray.util import metrics

    spec = METRICS[name]
    return getattr(metrics, spec.kind)(name, description=spec.description, tag_keys=spec.tag_keys)


def _is_connected() -> bool:
    """Whether this process is part of a Ray cluster, without importing Ray."""
    # The attribute is missing while another thread is still importing it.
    is_initialized = getattr(sys.modules.get("ray"), "is_initialized", None)
    return is_initialized is not None and is_initialized()
