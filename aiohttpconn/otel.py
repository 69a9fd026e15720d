"""OpenTelemetry for a client: a span and a measurement for each request that is sent. Needs the extra ``otel``.

By the semantic conventions of HTTP clients (stable since 1.23; QUERY is a known method since 1.38):
https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

import os
from asyncio import CancelledError
from contextvars import ContextVar
from time import perf_counter, time_ns
from typing import TYPE_CHECKING
from weakref import ref

from ._version import __version__
from .client.hedging import CALLED_OFF
from .client.hooks import Hooks, resend_count
from .secrets import masked_text, masked_url

try:
    from opentelemetry import metrics, propagate, trace
except ImportError as error:
    raise ImportError("aiohttpconn.otel needs opentelemetry-api: pip install 'aiohttpconn[otel]'") from error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import Span, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from .client.response import Response
    from .messages import Request

__all__ = ["OpenTelemetryHooks"]

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

# RFC 9110 section 9, RFC 5789, RFC 10008: others would make as many time series as somebody cares to invent.
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})

# Seconds; the conventions' advice for http.client.request.duration.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

_REDACTED = "REDACTED"


class OpenTelemetryHooks(Hooks):
    """Hooks that make a CLIENT span and a measurement of ``http.client.request.duration`` for each request sent.

    - `tracer_provider`, `meter_provider`, `propagator`: left out, the global ones. The propagator puts the span into
      the request's fields: ``traceparent`` (W3C Trace Context) unless another is set up.
    - `known_methods`: those that are told apart, case-sensitive; all others are ``_OTHER``. Left out, what the variable
      OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS lists with commas between, else those of RFC 9110, PATCH and QUERY.

    Redirects and retries have spans of their own, with ``http.request.resend_count``. A span begins when the request is
    about to be sent, waiting for a connection included, and ends with the head of its response. When the body that is
    then read for the caller fails, an INTERNAL span below it, "GET body", lasts from there to the failure, and holds
    the error; the measurement stands. ``error.type`` is the status, 400 and above, or the class of the error. The
    attempt of a hedge that was called off is no error, and not measured. Credentials and signatures in ``url.full`` are
    redacted.

    >>> from aiohttpconn import Client
    >>> client = Client(hooks=OpenTelemetryHooks())
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        propagator: TextMapPropagator | None = None,
        known_methods: Iterable[str] | None = None,
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
        self._methods = _known_methods(known_methods)
        # What a task is sending. Hooks of one request are called in one task, one after the other, and a request may
        # be sent within another (an OAuth2 token, say): then it is put back to the outer one. Of this object alone, so
        # that two of them in one client do not end each other's spans.
        self._sending: ContextVar[_Sending | None] = ContextVar("aiohttpconn_otel_sending", default=None)
        # What was answered, as long as somebody has the response: its body may be read in another task than it was
        # asked for in (a hedge's). By the id of the request, which is nobody else's while the response holds it.
        self._answers: dict[int, tuple[ref[Response], _Sending]] = {}

    def _begin(self, request: Request) -> Request:
        method, url = request.method, request.url
        known = method in self._methods
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
        fields: dict[str, str] = {}
        propagator = self._propagator or propagate.get_global_textmap()
        # (The type of the default setter is a fault of the API.)
        propagator.inject(fields, context=trace.set_span_in_context(span))  # pyright: ignore[reportArgumentType]
        self._sending.set(_Sending(request, fields, span, kept, self._sending.get()))
        return request.with_fields(fields) if fields else request

    def _answered(self, response: Response) -> None:
        status = response.status
        attributes: dict[str, AttributeValue] = {
            "http.response.status_code": status,
            "network.protocol.version": response.http_version.removeprefix("HTTP/"),
        }
        if response.is_error:
            attributes["error.type"] = str(status)
        sending = self._sending.get()
        if sending is not None:
            self._end(sending, attributes, trace.Status(trace.StatusCode.ERROR) if response.is_error else None)
            self._keep(response, sending)

    def _keep(self, response: Response, sending: _Sending) -> None:
        key, answers = id(response.request), self._answers

        def forget(gone: ref[Response]) -> None:
            if (answer := answers.get(key)) is not None and answer[0] is gone:
                del answers[key]

        answers[key] = (ref(response, forget), sending)

    def _failed(self, request: Request, error: BaseException) -> None:
        answer = self._answers.get(id(request))
        if answer is not None and (response := answer[0]()) is not None and response.request is request:
            self._broke_off(answer[1], response, error)
            return
        sending = self._sending.get()
        if sending is None or not sending.is_of(request):
            return  # another's on_request hook raised before ours was called
        if isinstance(error, CancelledError) and error.args == (CALLED_OFF,):
            self._sending.set(sending.outer)
            sending.span.end()
        else:
            self._end(sending, {"error.type": _name(error)}, _error_status(error))

    def _end(self, sending: _Sending, attributes: dict[str, AttributeValue], status: trace.Status | None) -> None:
        self._sending.set(sending.outer)
        sending.span.set_attributes(attributes)
        if status is not None:
            sending.span.set_status(status)
        sending.ended = time_ns()
        sending.span.end(sending.ended)
        self._duration.record(
            perf_counter() - sending.began,
            {**sending.kept, **attributes},
            context=trace.set_span_in_context(sending.span),
        )

    def _broke_off(self, sending: _Sending, response: Response, error: BaseException) -> None:
        """The body failed. A span that has ended says nothing any more, so that another has to."""
        method = str(sending.kept["http.request.method"])
        span = self._tracer.start_span(
            f"{method if method in self._methods else 'HTTP'} body",
            context=trace.set_span_in_context(sending.span),
            attributes={
                **sending.kept,
                "http.response.status_code": response.status,
                "error.type": _name(error),
            },
            start_time=sending.ended,
        )
        span.set_status(_error_status(error))
        span.end()


class _Sending:
    """A request under way: its span, and the attributes that its measurement has too."""

    __slots__ = ("began", "ended", "fields", "kept", "outer", "request", "span")

    def __init__(
        self,
        request: Request,
        fields: dict[str, str],
        span: Span,
        kept: dict[str, AttributeValue],
        outer: _Sending | None,
    ) -> None:
        self.began = perf_counter()
        self.ended = 0
        self.request = request
        self.fields = fields
        self.span = span
        self.kept = kept
        self.outer = outer

    def is_of(self, request: Request) -> bool:
        """Whether a request is what this began with, or what hooks made of it before or after: then it carries our
        fields, or is at least for the same URL. Another is one sent within it, which failed before it had a span."""
        mine = self.request
        if request is mine or (request.method, request.url) == (mine.method, mine.url):
            return True
        return bool(self.fields) and all(request.headers.get(name) == value for name, value in self.fields.items())


def _known_methods(given: Iterable[str] | None) -> frozenset[str]:
    if isinstance(given, str):
        raise TypeError(f"known_methods takes several methods: give one as [{given!r}]")
    if given is not None:
        return frozenset(given)
    listed = os.environ.get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "").split(",")
    return frozenset([method for name in listed if (method := name.strip())]) or _METHODS


def _name(error: BaseException) -> str:
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _error_status(error: BaseException) -> trace.Status:
    return trace.Status(trace.StatusCode.ERROR, masked_text(str(error), _REDACTED))
