"""OpenTelemetry spans of a run: what there is of them, at which times, and where they go."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from burnish.act import clock
from burnish.act.loop import play
from burnish.act.memory.log import Event
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.recipe import Limits, ReflexSettings, RuntimeSettings, TeamRecipe
from burnish.act.runtime import Runtime
from burnish.core.errors import UserError
from burnish.core.run import Run
from tests.act.worlds import Meadow, team, wary

TINY = Path(__file__).parents[2] / "recipes" / "planning_acting" / "tiny.yaml"


def traced(settings: RuntimeSettings, world: Meadow) -> tuple[list[ReadableSpan], list[Event]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def main() -> list[Event]:
        memory = SQLiteMemory(Path(":memory:"))
        agents = team(("ann",), wary, 8.0, settings)
        await Runtime(settings, world, memory, agents, provider.get_tracer("test")).run()
        return [event async for event in memory.since(0)]

    events = clock.run(main, "virtual")
    return list(exporter.get_finished_spans()), events


def test_all_that_a_run_does_is_a_span_at_the_time_of_the_run() -> None:
    rule = ReflexSettings(event="threat", skill="evade")
    settings = RuntimeSettings(clock="virtual", reflexes=[rule], limits=Limits(seconds=20.0))
    spans, events = traced(settings, Meadow(threat_at=10.0))
    zero = min(span.start_time or 0 for span in spans)

    def rows(name: str) -> list[tuple[float, float, Any]]:
        found = [span for span in spans if span.name == name]
        times = [(((s.start_time or 0) - zero) / 1e9, ((s.end_time or 0) - zero) / 1e9) for s in found]
        status = [(span.attributes or {}).get("status") for span in found]
        return sorted((round(a, 6), round(b, 6), what) for (a, b), what in zip(times, status, strict=True))

    calls = [(0.0, 8.0, "done"), (8.0, 10.0, "cancelled"), (10.0, 18.0, "done"), (18.0, 20.0, "cancelled")]
    assert rows("llm_call") == calls  # the reflex at 10 gives up the thought that did not know
    assert rows("skill")[:2] == [(8.0, 10.0, "interrupted"), (10.0, 11.0, "done")]
    assert rows("reflex") == [(10.0, 10.0, None)]
    assert rows("world") == [(10.0, 10.0, None)]
    assert rows("limit") == [(20.0, 20.0, None)]
    for name, kind in (("llm_call", "call_end"), ("skill", "skill_end"), ("command", "command"), ("chat", "chat")):
        assert len(rows(name)) == sum(event.kind == kind for event in events), name
    by_id = {span.context.span_id: span for span in spans}
    parents = {(span.name, by_id[span.parent.span_id].name) for span in spans if span.parent is not None}
    assert {("llm_call", "plan"), ("command", "skill"), ("cleanup", "skill")} <= parents
    plan = next(span for span in spans if span.name == "plan")
    assert (plan.attributes or {})["reason"] == "nothing to fear"


class Collector(BaseHTTPRequestHandler):
    """Takes what an OTLP exporter sends."""

    got: list[ExportTraceServiceRequest]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            self.got.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ExportTraceServiceRequest]]:
    Collector.got = []
    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield Collector.got
    server.shutdown()
    server.server_close()


def episode(path: Path, target: str) -> list[Event]:
    from burnish.act.replay import read_log

    recipe = TeamRecipe.load(TINY, ["runtime.limits.seconds=30", f"runtime.tracing={target}"])
    with Run(recipe, path, quiet=True) as run:
        play(recipe, run)
    return read_log(path)


def test_a_collector_gets_every_span(tmp_path: Path, collector: list[ExportTraceServiceRequest]) -> None:
    events = episode(tmp_path / "run", "otlp")
    resources = [resource for request in collector for resource in request.resource_spans]
    names = {(a.key, a.value.string_value) for resource in resources for a in resource.resource.attributes}
    assert ("service.name", "burnish") in names
    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    for name, kind in (("llm_call", "call_start"), ("plan", "plan"), ("skill", "skill_start"), ("command", "command")):
        expected = sum(event.kind == kind for event in events)
        # A plan whose call is given up, or cut off by the end, is a span, but no event.
        given_up = sum(event.kind == "call_end" and event.data["status"] == "cancelled" for event in events)
        assert sum(span.name == name for span in spans) - expected == (given_up if name == "plan" else 0), name
        assert expected > 2


def test_the_terminal_gets_a_line_a_span(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    episode(tmp_path / "run", "console")
    shown = capsys.readouterr()
    names = [json.loads(line)["name"] for line in shown.err.splitlines() if line.startswith("{")]
    assert {"llm_call", "plan", "skill", "command"} <= set(names)
    assert '"name"' not in shown.out


def test_tracing_changes_nothing(tmp_path: Path, collector: list[ExportTraceServiceRequest]) -> None:
    assert episode(tmp_path / "with", "otlp") == episode(tmp_path / "without", "none")


def test_no_collector_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"no collector at 127\.0\.0\.1:9") as caught:
        episode(tmp_path / "run", "otlp")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[")
    with pytest.raises(UserError, match="no collector"):
        episode(tmp_path / "run2", "otlp")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(UserError, match="the extra `act` brings it"):
        episode(tmp_path / "run", "otlp")
