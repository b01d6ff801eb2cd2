"""Prometheus metrics of one process: requests, rejections, latency, requests in flight, tokens.

Labels come from small fixed sets (route templates, statuses, reasons), so that no client can create unbounded series.
Behind several replicas a scrape reaches one of them (plus the metrics that it adds from another process, as the ingress
does from a model's replica); the label `replica` keeps their counters apart, so that none seems to run backwards. A sum
over replicas is as fresh as the last scrape of each.
"""

import os
import socket
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from stillery.serving.gateway.usage import Usage

CONTENT_TYPE = CONTENT_TYPE_LATEST

# Seconds: from an error to a long chain of thought.
_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """The metrics of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "stillery_http_requests",
            "Requests answered.",
            ["replica", "route", "method", "status"],
            registry=self._registry,
        )
        self._refused = Counter(
            "stillery_http_refused",
            "Requests that the gateway turned away.",
            ["replica", "reason"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "stillery_http_request_seconds",
            "From the request's head to the last byte of the response.",
            ["replica", "route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._first_byte_seconds = Histogram(
            "stillery_http_first_byte_seconds",
            "From the request's head to the first byte of the response's body.",
            ["replica", "route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        in_flight = Gauge("stillery_http_in_flight", "Requests under way.", ["replica"], registry=self._registry)
        self._replica = f"{socket.gethostname()}-{os.getpid()}"
        self.in_flight = in_flight.labels(self._replica)
        self._tokens = Counter(
            "stillery_tokens", "Tokens, as far as responses tell.", ["replica", "kind"], registry=self._registry
        )

    def count(
        self, *, route: str, method: str, status: int, seconds: float, first_byte_seconds: float | None, usage: Usage
    ) -> None:
        """Count one finished request. Status 499 stands for a client that disconnected before the response began."""
        self._requests.labels(self._replica, route, method_label(method), str(status)).inc()
        self._seconds.labels(self._replica, route).observe(seconds)
        if first_byte_seconds is not None:
            self._first_byte_seconds.labels(self._replica, route).observe(first_byte_seconds)
        self._tokens.labels(self._replica, "prompt").inc(usage.prompt_tokens)
        self._tokens.labels(self._replica, "completion").inc(usage.completion_tokens)

    def refuse(self, reason: str) -> None:
        """Count one refused request."""
        self._refused.labels(self._replica, reason).inc()

    def families(self) -> list[Metric]:
        """All current metrics, to be shown here or sent to another process."""
        return list(self._registry.collect())


class _Merged(Collector):
    """Metric families of several processes, with the samples of one name together, as the text format requires."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families: dict[str, Metric] = {}
        for family in families:
            self._families.setdefault(family.name, _empty(family)).samples.extend(family.samples)

    def collect(self) -> Iterable[Metric]:
        return self._families.values()


def _empty(family: Metric) -> Metric:
    return Metric(family.name, family.documentation, family.type, family.unit)


def exposition(families: Iterable[Metric]) -> bytes:
    """Families, of one process or several, in Prometheus' text format."""
    return generate_latest(_Merged(families))


def method_label(method: str) -> str:
    """The request's method, or `other` for a non-standard one."""
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
