"""Spans and measurements by the HTTP semantic conventions, collected in memory by OpenTelemetry's own SDK."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from aiohttpconn import Client, ConnectError, Retry
from aiohttpconn.client.hooks import Hooks
from aiohttpconn.otel import OpenTelemetryHooks
from tests.cancellation import cancel_when_received
from tests.servers.origin import OriginServer, Reply
from tests.servers.program import free_port
from tests.servers.raw import Hold
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
ROOT = Path(__file__).resolve().parents[1]


class Collected:
    """What an application with OpenTelemetry set up would export."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider(metric_readers=[self._metrics])

    def hooks(self, **options: Any) -> OpenTelemetryHooks:
        return OpenTelemetryHooks(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    def client(self, **options: Any) -> Client:
        return Client(trust_env=False, timeout=10, hooks=self.hooks(), **options)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended."""
        return self._spans.get_finished_spans()

    @property
    def points(self) -> list[HistogramDataPoint]:
        data = self._metrics.get_metrics_data()
        assert data is not None
        metrics = [metric for of in data.resource_metrics for scope in of.scope_metrics for metric in scope.metrics]
        assert [(metric.name, metric.unit) for metric in metrics] == [("http.client.request.duration", "s")]
        points = list(metrics[0].data.data_points)
        assert all(isinstance(point, HistogramDataPoint) for point in points)
        return points  # type: ignore[return-value]


@pytest.fixture
def collected() -> Iterator[Collected]:
    collected = Collected()
    yield collected
    collected.tracers.shutdown()
    collected.meters.shutdown()


async def test_a_span_by_the_conventions(http_server: OriginServer, collected: Collected) -> None:
    async with collected.client() as client:
        await client.get(f"{http_server.url}/?page=2")
    (span,) = collected.spans
    assert (span.name, span.kind) == ("GET", SpanKind.CLIENT)
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "url.full": f"{http_server.url}/?page=2",
        "server.address": "127.0.0.1",
        "server.port": http_server.port,
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "aiohttpconn"


async def test_the_trace_goes_on_at_the_server(http_server: OriginServer, collected: Collected) -> None:
    with collected.tracers.get_tracer("test").start_as_current_span("outer") as outer:
        async with collected.client() as client:
            await client.get(http_server.url, headers={"traceparent": "another's"})
    span = collected.spans[0]
    assert span.context is not None
    assert span.parent == outer.get_span_context()
    expected = f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"
    assert http_server.requests[0].get_all("traceparent") == [expected]


async def test_another_propagator(http_server: OriginServer, collected: Collected) -> None:
    hooks = collected.hooks(propagator=W3CBaggagePropagator())
    async with Client(trust_env=False, hooks=hooks) as client:
        await client.get(http_server.url)
    assert http_server.requests[0].get("traceparent") is None
    assert len(collected.spans) == 1


@pytest.mark.parametrize("status", [404, 500])
async def test_error_statuses(http_server: OriginServer, collected: Collected, status: int) -> None:
    async with collected.client() as client:
        await client.get(f"{http_server.url}/status/{status}")
    (span,) = collected.spans
    assert span.attributes is not None
    assert (span.attributes["http.response.status_code"], span.attributes["error.type"]) == (status, str(status))
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)


async def test_redirects_have_spans_of_their_own(http_server: OriginServer, collected: Collected) -> None:
    async with collected.client() as client:
        await client.get(f"{http_server.url}/redirect/302?/redirect/307?/bytes/3")
        await client.get(http_server.url)
    attributes = [dict(span.attributes or {}) for span in collected.spans]
    assert [of["http.response.status_code"] for of in attributes] == [302, 307, 200, 200]
    assert [of.get("http.request.resend_count") for of in attributes] == [None, 1, 2, None]
    assert [str(of["url.full"]).removeprefix(http_server.url) for of in attributes][2:] == ["/bytes/3", "/"]
    parents = [request.get("traceparent") for request in http_server.requests]
    assert len(set(parents)) == 4


async def test_retries_have_spans_of_their_own(http_server: OriginServer, collected: Collected) -> None:
    answers = [Reply(status=503), Reply(b"ok")]
    http_server.routes["/x"] = lambda request: answers.pop(0)
    async with collected.client(retries=Retry(attempts=2, backoff=0.001)) as client:
        await client.get(f"{http_server.url}/x")
    attributes = [dict(span.attributes or {}) for span in collected.spans]
    assert [(of["http.response.status_code"], of.get("http.request.resend_count")) for of in attributes] == [
        (503, None),
        (200, 1),
    ]


async def test_no_connection(collected: Collected) -> None:
    async with collected.client() as client:
        with pytest.raises(ConnectError):
            await client.get(f"http://127.0.0.1:{free_port()}/?token=s3cret")
    (span,) = collected.spans
    assert span.attributes is not None
    assert span.attributes["error.type"] == "aiohttpconn.errors.ConnectError"
    assert "http.response.status_code" not in span.attributes
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description
    assert "s3cret" not in span.to_json()


async def test_a_call_that_is_cancelled_ends_its_span(raw_server: StartRaw, collected: Collected) -> None:
    server = await raw_server([ReadRequest(), Hold()])
    async with collected.client() as client:
        await cancel_when_received(client.get(server.url), server)
    (span,) = collected.spans
    assert span.attributes is not None
    assert span.attributes["error.type"] == "asyncio.exceptions.CancelledError"


async def test_a_response_hook_that_raises_ends_the_span(http_server: OriginServer, collected: Collected) -> None:
    def fail(response: Any) -> None:
        raise LookupError("no")

    async with Client(trust_env=False, hooks=Hooks(on_response=fail) | collected.hooks()) as client:
        with pytest.raises(LookupError):
            await client.get(http_server.url)
    assert len(collected.spans) == 1


async def test_credentials_are_redacted(http_server: OriginServer, collected: Collected) -> None:
    site = http_server.url.removeprefix("http://")
    async with collected.client() as client:
        await client.get(f"http://joe:s3cret@{site}/?a=1&sig=s3cret&X-Goog-Signature=s3cret")
    (span,) = collected.spans
    assert span.attributes is not None
    shown = f"http://REDACTED:REDACTED@{site}/?a=1&sig=REDACTED&X-Goog-Signature=REDACTED"
    assert span.attributes["url.full"] == shown
    assert "s3cret" not in span.to_json()


async def test_a_method_that_nobody_knows(http_server: OriginServer, collected: Collected) -> None:
    async with collected.client() as client:
        await client.request("BREW", http_server.url)
    (span,) = collected.spans
    assert span.attributes is not None
    assert span.name == "HTTP"
    assert (span.attributes["http.request.method"], span.attributes["http.request.method_original"]) == (
        "_OTHER",
        "BREW",
    )


async def test_requests_within_requests(http_server: OriginServer, collected: Collected) -> None:
    """What is sent while another is about to be sent (a token, say) ends its own span and no other."""
    ours = collected.hooks()
    async with Client(trust_env=False, hooks=ours) as other:

        async def fetch(request: Any) -> None:
            await other.get(f"{http_server.url}/status/201")

        async with Client(trust_env=False, hooks=ours | Hooks(on_request=fetch)) as client:
            await client.get(f"{http_server.url}/status/202")
            await client.get(f"{http_server.url}/status/203")
    attributes = [span.attributes or {} for span in collected.spans]
    assert [of["http.response.status_code"] for of in attributes] == [201, 202, 201, 203]
    assert [str(of["url.full"])[-3:] for of in attributes] == ["201", "202", "201", "203"]


async def test_concurrent_calls(http_server: OriginServer, collected: Collected) -> None:
    async with collected.client() as client:
        await asyncio.gather(*(client.get(f"{http_server.url}/bytes/{n}") for n in range(20)))
    assert {str((span.attributes or {})["url.full"]) for span in collected.spans} == {
        f"{http_server.url}/bytes/{n}" for n in range(20)
    }


async def test_durations_are_measured(http_server: OriginServer, collected: Collected) -> None:
    async with collected.client() as client:
        await client.get(f"{http_server.url}/?page=1")
        await client.get(f"{http_server.url}/?page=2")
        await client.get(f"{http_server.url}/status/404")
    fine, missing = sorted(collected.points, key=lambda point: point.count, reverse=True)
    assert (fine.count, missing.count) == (2, 1)
    assert 0 < fine.sum < 60
    assert tuple(fine.explicit_bounds)[:3] == (0.005, 0.01, 0.025)
    assert dict(missing.attributes or {}) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": http_server.port,
        "http.response.status_code": 404,
        "network.protocol.version": "1.1",
        "error.type": "404",
    }


def test_without_the_api_it_is_said_which_extra_has_it() -> None:
    program = "import sys; sys.modules['opentelemetry'] = None\nimport aiohttpconn\nimport aiohttpconn.otel"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "ImportError: aiohttpconn.otel needs opentelemetry-api: pip install 'aiohttpconn[otel]'" in ran.stderr
