"""Spans and measurements by the HTTP semantic conventions, collected in memory by OpenTelemetry's own SDK."""

from __future__ import annotations

import asyncio
import gc
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

from aiohttpconn import BodyTooLarge, Client, ConnectError, Hedge, IncompleteRead, Request, Retry
from aiohttpconn.client.hooks import Hooks
from aiohttpconn.otel import OpenTelemetryHooks
from tests.cancellation import cancel_when_received
from tests.servers.origin import OriginServer, Reply
from tests.servers.program import free_port
from tests.servers.raw import Hold, Send
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


@pytest.mark.parametrize("changed", [False, True], ids=["as it was", "changed by a hook"])
async def test_an_inner_request_that_fails_before_its_span_leaves_the_outer_s(
    http_server: OriginServer, collected: Collected, changed: bool
) -> None:
    def refuse(request: Any) -> None:
        if "/inner" in str(request.url):
            raise LookupError("no")

    async def send_inner(request: Any) -> Any:
        with pytest.raises(LookupError):
            await client.get(f"{http_server.url}/inner")
        return request.with_fields({"X-A": "b"}) if changed else None

    hooks = Hooks(on_request=refuse) | collected.hooks() | Hooks(on_request=send_inner)
    async with Client(trust_env=False, hooks=hooks) as client:
        await client.get(f"{http_server.url}/status/202")
    (span,) = collected.spans
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 202
    assert "error.type" not in span.attributes


async def test_a_request_that_later_hooks_changed_ends_its_span(collected: Collected) -> None:
    other = f"http://127.0.0.1:{free_port()}/other"
    for later in (
        lambda request: request.replace(url=other),
        lambda request: request.without_fields("traceparent"),
    ):
        async with Client(trust_env=False, hooks=collected.hooks() | Hooks(on_request=later)) as client:
            with pytest.raises(ConnectError):
                await client.get(other.replace("other", "first"))
    assert len(collected.spans) == 2


async def test_a_later_hook_that_raises_ends_the_span(http_server: OriginServer, collected: Collected) -> None:
    def fail(request: Any) -> None:
        raise LookupError("no")

    earlier = Hooks(on_request=lambda request: request.with_fields({"X-A": "b"}))
    hooks = earlier | collected.hooks() | Hooks(on_request=fail)
    async with Client(trust_env=False, hooks=hooks) as client:
        with pytest.raises(LookupError):
            await client.get(http_server.url)
    (span,) = collected.spans
    assert (span.attributes or {})["error.type"] == "LookupError"


async def test_a_body_that_breaks_off(raw_server: StartRaw, collected: Collected) -> None:
    server = await raw_server([ReadRequest(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")])
    later = Hooks(on_request=lambda request: request.with_fields({"X-A": "b"}))
    async with Client(trust_env=False, timeout=10, hooks=collected.hooks() | later) as client:
        with pytest.raises(IncompleteRead):
            await client.get(server.url)
    answered, broken = collected.spans
    assert answered.status.status_code is StatusCode.UNSET
    assert (broken.name, broken.kind, broken.parent) == ("GET body", SpanKind.INTERNAL, answered.context)
    assert broken.start_time == answered.end_time
    assert broken.status.status_code is StatusCode.ERROR
    assert dict(broken.attributes or {}) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "http.response.status_code": 200,
        "error.type": "aiohttpconn.errors.IncompleteRead",
    }
    (point,) = collected.points
    assert point.count == 1, "a request is measured once"


async def test_a_body_that_is_too_large_after_a_hedge(raw_server: StartRaw, collected: Collected) -> None:
    """The attempt was sent in another task than its body is read in."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    server = await raw_server([ReadRequest(), Hold()], [ReadRequest(), Send(answer), Hold()])
    async with collected.client(hedge=Hedge(0.03, budget=None), max_body=1) as client:
        with pytest.raises(BodyTooLarge):
            await client.get(server.url)
    (broken,) = [span for span in collected.spans if span.name == "GET body"]
    assert broken.parent in [span.context for span in collected.spans if span is not broken]


async def test_the_attempt_of_a_hedge_that_is_called_off_is_no_error(
    raw_server: StartRaw, collected: Collected
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    server = await raw_server([ReadRequest(), Hold()], [ReadRequest(), Send(answer), Hold()])
    async with collected.client(hedge=Hedge(0.03, budget=None)) as client:
        await client.get(server.url)
    assert len(collected.spans) == 2
    assert {span.status.status_code for span in collected.spans} == {StatusCode.UNSET}
    assert not [span for span in collected.spans if "error.type" in (span.attributes or {})]
    (point,) = collected.points
    assert point.count == 1


def known(collected: Collected, method: str, **options: Any) -> Any:
    """What a method is called."""
    hooks = collected.hooks(**options)
    for hook in hooks.on_request or ():
        hook(Request(method, "http://any.example/"))
    for tell in hooks.on_error or ():
        tell(Request(method, "http://any.example/"), LookupError())
    return (collected.spans[-1].attributes or {})["http.request.method"]


def test_which_methods_are_known(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", raising=False)
    assert known(collected, "QUERY") == "QUERY"
    assert known(collected, "PROPFIND") == "_OTHER"
    assert known(collected, "PROPFIND", known_methods=["PROPFIND"]) == "PROPFIND"
    assert known(collected, "GET", known_methods=["PROPFIND"]) == "_OTHER"
    assert known(collected, "GET", known_methods=[]) == "_OTHER"
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET, PROPFIND,")
    assert known(collected, "PROPFIND") == "PROPFIND"
    assert known(collected, "GET") == "GET"
    assert known(collected, "POST") == "_OTHER"
    assert known(collected, "POST", known_methods=["POST"]) == "POST"
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "")
    assert known(collected, "POST") == "POST"
    with pytest.raises(TypeError, match="known_methods"):
        collected.hooks(known_methods="GET")


async def test_what_was_answered_is_forgotten_with_its_response(
    http_server: OriginServer, collected: Collected
) -> None:
    hooks = collected.hooks()
    async with Client(trust_env=False, hooks=hooks) as client:
        responses = [await client.get(http_server.url) for _ in range(3)]
        assert len(hooks._answers) == 3
        del responses
        gc.collect()
        assert not hooks._answers


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
