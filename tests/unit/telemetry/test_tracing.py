"""Spans report the events of the run and its stages, go where the environment says, and cost nothing without a
setting."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from stillery.errors import UserError
from stillery.pipeline.runner import run_pipeline
from stillery.telemetry import tracing
from support.small_run import small_config

PLATFORM = Path(__file__).parents[3] / "platform"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the user's own."""
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_RESOURCE_ATTRIBUTES", *tracing.ENDPOINTS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A collector on this machine, named in the environment: the bodies that it was sent."""
    bodies: list[bytes] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        yield bodies
        server.shutdown()
        thread.join()


def test_stages_are_spans_under_the_runs() -> None:
    made = InMemorySpanExporter()
    with tracing.traced("first", git_revision="abc", exporters=[made]):
        for name in ("generate", "verify"):
            with tracing.span(name, {"stillery.stage": name}) as span:
                assert span is not None
                span.set_attributes(tracing.counts_of({"kept": 3, "rate": 0.5, "dropped": {"wrong": 1}, "whole": True}))
    generate, verify, run = made.get_finished_spans()
    assert (generate.name, verify.name, run.name) == ("generate", "verify", "first")
    assert run.parent is None
    assert run.attributes == {"stillery.run": "first", "stillery.git_revision": "abc"}
    assert run.context is not None
    for stage in (generate, verify):
        assert stage.parent is not None
        assert stage.parent.span_id == run.context.span_id
        assert stage.attributes is not None
        assert dict(stage.attributes) == {
            "stillery.stage": stage.name, "stillery.summary.kept": 3, "stillery.summary.rate": 0.5,
        }  # fmt: skip
    assert run.resource.attributes["service.name"] == "stillery"


def test_a_failed_stage_is_an_error_and_passes_through() -> None:
    made = InMemorySpanExporter()
    with (
        pytest.raises(UserError, match="too hot"),
        tracing.traced("first", git_revision="abc", exporters=[made]),
        tracing.span("sft", {}),
    ):
        raise UserError("too hot")
    stage, run = made.get_finished_spans()
    assert [span.status.status_code for span in (stage, run)] == [StatusCode.ERROR, StatusCode.ERROR]
    assert [event.name for event in stage.events] == ["exception"]


def test_a_run_sends_its_spans_to_the_collector_of_the_environment(
    tmp_path: Path, collector: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "distilling")
    outputs = run_pipeline(small_config(tmp_path / "run", "run.name=first"), until="prompts")
    sent = [span for body in collector for span in ExportTraceServiceRequest.FromString(body).resource_spans]
    (resource,) = {attribute.value.string_value for group in sent for attribute in group.resource.attributes
                   if attribute.key == "service.name"}  # fmt: skip
    assert resource == "distilling"
    spans = {span.name: span for group in sent for scope in group.scope_spans for span in scope.spans}
    assert set(spans) == {"first", "prompts"}
    assert spans["prompts"].parent_span_id == spans["first"].span_id
    told = {attribute.key: attribute.value for attribute in spans["prompts"].attributes}
    assert told["stillery.run"].string_value == "first"
    assert told["stillery.stage"].string_value == "prompts"
    assert told["stillery.fingerprint"].string_value == outputs["prompts"].fingerprint
    assert told["stillery.rows_in"].int_value == 0
    assert told["stillery.rows_out"].int_value == 24 + 6 + 12 + 6 + 2


@pytest.mark.parametrize(
    ("variables", "kinds"),
    [
        ({}, []),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, []),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "console"}, []),
        ({"OTEL_TRACES_EXPORTER": "console"}, ["opentelemetry.sdk.trace.export.ConsoleSpanExporter"]),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            ["opentelemetry.exporter.otlp.proto.http.trace_exporter.OTLPSpanExporter"],
        ),
        (
            {"OTEL_TRACES_EXPORTER": "console, otlp"},
            [
                "opentelemetry.sdk.trace.export.ConsoleSpanExporter",
                "opentelemetry.exporter.otlp.proto.grpc.trace_exporter.OTLPSpanExporter",
            ],
        ),
    ],
)  # fmt: skip
def test_the_environment_chooses_the_exporters(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], kinds: list[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = tracing.exporters_of_environment()
    assert [f"{type(exporter).__module__}.{type(exporter).__name__}" for exporter in made] == kinds
    for exporter in made:
        exporter.shutdown()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "OTEL_TRACES_EXPORTER=jaeger: no such exporter .* console"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=http/json: set it to grpc or http/protobuf",
        ),
    ],
)
def test_an_exporter_that_is_not_there_is_refused_before_the_first_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said):
        run_pipeline(small_config(tmp_path / "run"), until="prompts")
    assert not (tmp_path / "run" / "stages").exists()


def test_without_variables_nothing_is_imported() -> None:
    code = (
        "import sys; from stillery.telemetry import tracing\n"
        "with tracing.traced('run', git_revision='abc'), tracing.span('sft', {}) as span:\n"
        "    assert span is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PLATFORM)
    assert done.stdout.strip() == "[]"
