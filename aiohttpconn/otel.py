"""OpenTelemetry for a client: a span and a measurement for each request that is sent. Needs the extra ``otel``.

By the semantic conventions of HTTP clients (stable since 1.23):
https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING

from ._version import __version__
from .client.hooks import Hooks, resend_count
from .secrets import masked_text, masked_url

try:
    from opentelemetry import metrics, propagate, trace
except ImportError as error:
    raise ImportError("aiohttpconn.otel needs opentelemetry-api: pip install 'aiohttpconn[otel]'") from error

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import Span, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from .client.response import Response
    from .messages import Request

__all__ = ["OpenTelemetryHooks"]

SCHEMA_URL = "https://opentelemetry.io/schemas/1.23.0"

# RFC 9110 section 9 and RFC 5789: others would make as many time series as somebody cares to invent.
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})

# Seconds; the conventions' advice for http.client.request.duration.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

_REDACTED = "REDACTED"


class OpenTelemetryHooks(Hooks):
    """Hooks that make a CLIENT span and a measurement of ``http.client.request.duration`` for each request sent.

    - `tracer_provider`, `meter_provider`, `propagator`: left out, the global ones. The propagator puts the span into
      the request's fields: ``traceparent`` (W3C Trace Context) unless another is set up.

    Redirects and retries have spans of their own, with ``http.request.resend_count``. A span begins when the request is
    about to be sent, waiting for a connection included, and ends with the head of its response. Credentials and
    signatures in ``url.full`` are redacted.

    >>> from aiohttpconn import Client
    >>> client = Client(hooks=OpenTelemetryHooks())
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        propagator: TextMapPropagator | None = None,
    ) -> None:
        super().__init__(on_request=self._begin, on_response=self._answered, on_error=self._failed)
        self._tracer = trace.get_tracer("aiohttpconn", __version__, tracer_provider, SCHEMA_URL)
        meter = metrics.get_meter("aiohttpconn", __version__, meter_provider, SCHEMA_URL)
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._propagator = propagator
        # What a task is sending. Hooks of one request are called in one task, one after the other, and a request may
        # be sent within another (an OAuth2 token, say): then it is put back to the outer one. Of this object alone, so
        # that two of them in one client do not end each other's spans.
        self._sending: ContextVar[_Sending | None] = ContextVar("aiohttpconn_otel_sending", default=None)

    def _begin(self, request: Request) -> Request:
        method, url = request.method, request.url
        known = method in _METHODS
        kept: dict[str, AttributeValue] = {
            "http.request.method": method if known else "_OTHER",
            "server.address": url.host,
            "server.port": url.port,
        }
        attributes = {**kept, "url.full": masked_url(url, _REDACTED, f"{_REDACTED}:{_REDACTED}@")}
        if not known:
            attributes["http.request.method_original"] = method
        if resends := resend_count():
            attributes["http.request.resend_count"] = resends
        span = self._tracer.start_span(method if known else "HTTP", kind=trace.SpanKind.CLIENT, attributes=attributes)
        self._sending.set(_Sending(span, kept, self._sending.get()))
        fields: dict[str, str] = {}
        propagator = self._propagator or propagate.get_global_textmap()
        # (The type of the default setter is a fault of the API.)
        propagator.inject(fields, context=trace.set_span_in_context(span))  # pyright: ignore[reportArgumentType]
        return request.with_fields(fields) if fields else request

    def _answered(self, response: Response) -> None:
        status = response.status
        attributes: dict[str, AttributeValue] = {
            "http.response.status_code": status,
            "network.protocol.version": response.http_version.removeprefix("HTTP/"),
        }
        if response.is_error:
            attributes["error.type"] = str(status)
        self._end(attributes, trace.Status(trace.StatusCode.ERROR) if response.is_error else None)

    def _failed(self, request: Request, error: BaseException) -> None:
        cls = type(error)
        name = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
        self._end({"error.type": name}, trace.Status(trace.StatusCode.ERROR, masked_text(str(error), _REDACTED)))

    def _end(self, attributes: dict[str, AttributeValue], status: trace.Status | None) -> None:
        sending = self._sending.get()
        if sending is None:
            return  # another's on_request hook raised before ours was called
        self._sending.set(sending.outer)
        sending.span.set_attributes(attributes)
        if status is not None:
            sending.span.set_status(status)
        sending.span.end()
        self._duration.record(
            perf_counter() - sending.began,
            {**sending.kept, **attributes},
            context=trace.set_span_in_context(sending.span),
        )


class _Sending:
    """A request under way: its span, and the attributes that its measurement has too."""

    __slots__ = ("began", "kept", "outer", "span")

    def __init__(self, span: Span, kept: dict[str, AttributeValue], outer: _Sending | None) -> None:
        self.began = perf_counter()
        self.span = span
        self.kept = kept
        self.outer = outer
