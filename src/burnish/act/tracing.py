"""Where a run's OpenTelemetry spans go: nowhere, to the terminal, or to a collector.

Spans stand at the run's own time, counted from the moment at which it began: on a virtual clock a call of 8 s is 8 s
long, too.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from burnish.core.errors import UserError
from burnish.core.packages import Need, not_installed

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Tracer

Target = Literal["none", "console", "otlp"]
NAME = "burnish.act"
# A simulated episode makes its spans in an instant; what does not fit in the queue would be dropped.
QUEUE, SOON = 200_000, 1000.0  # spans; milliseconds
REACH = 3.0  # seconds to wait for a collector to accept a connection


@contextmanager
def tracing(target: Target) -> Iterator[Tracer | None]:
    """A tracer whose spans are delivered when this is left; ``None``: whatever the process has set up itself.

    ``otlp`` speaks OTLP over HTTP and reads the standard's variables (`OTEL_EXPORTER_OTLP_ENDPOINT`,
    `OTEL_EXPORTER_OTLP_HEADERS`, ...); ``console`` writes one line of JSON a span to standard error.

    Raises:
        UserError: the packages are missing, or no collector is there.
    """
    if target == "none":
        yield None
        return
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider

        processor = _console() if target == "console" else _otlp()
    except ImportError as error:
        raise not_installed(f"runtime.tracing: {target}", Need((error.name or "opentelemetry",), "act")) from None
    # Not the process's global provider: there can be only one of those, and a notebook may play many episodes.
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "burnish"}), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    try:
        yield provider.get_tracer(NAME)
    finally:
        provider.shutdown()


def _console() -> SpanProcessor:
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    line = ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: span.to_json(indent=None) + "\n")
    return SimpleSpanProcessor(line)


def _otlp() -> SpanProcessor:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _reach(
        os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or "http://localhost:4318"
    )
    return BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=QUEUE, schedule_delay_millis=SOON)


def _reach(url: str) -> None:
    """Better one line at the start than spans that are lost at the end."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=REACH).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"runtime.tracing: no collector at {url.rpartition('@')[2]} ({type(error).__name__}); start one, set "
            "OTEL_EXPORTER_OTLP_ENDPOINT, or use `tracing: none`"
        ) from None
