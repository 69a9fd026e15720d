"""`HarRecorder`: hooks that record what a client does."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..client.hedging import CALLED_OFF
from ..client.hooks import Hooks
from ..errors import DecodingError
from ..wire.codings import Decoder, decoder_for
from .archive import document_of, save
from .entries import Entry, Exchange, entry_of

if TYPE_CHECKING:
    import os

    from ..client.response import Response
    from ..messages import Request


class HarRecorder(Hooks):
    """Hooks that record what a client does, to be saved as HAR 1.2; each redirect and retry is an entry of its own.

    - `keep_secrets`: write credentials as they are. Left out, they are masked wherever their names give them away.
    - `max_body`: bytes kept of each body, 10 MiB unless told; of a longer one, only its size is recorded.

    Requests that failed are recorded too: status 0, and ``_error`` says why, as browsers do it. So it does where a body
    that the client reads breaks off. An attempt that was called off for its hedge has status 0 and a comment.

    >>> recorder = HarRecorder()
    >>> recorder.entries
    []
    """

    def __init__(self, *, keep_secrets: bool = False, max_body: int = 10 * 1024 * 1024) -> None:
        super().__init__(
            on_request=self._began,
            on_response=self._arrived,
            on_chunk=self._received,
            on_error=self._failed,
        )
        self.keep_secrets = keep_secrets
        self.max_body = max_body
        self._records: list[_Record] = []
        self._reading: WeakKeyDictionary[Response, _Record] = WeakKeyDictionary()

    @property
    def entries(self) -> list[Entry]:
        """What was recorded so far, as HAR entries, oldest first. Bodies are in them as far as they have been read."""
        records = sorted(self._records, key=lambda record: record.exchange.started)
        return [entry_of(record.finished(self.max_body), keep_secrets=self.keep_secrets) for record in records]

    def as_dict(self) -> dict[str, Any]:
        """The HAR document as JSON takes it."""
        return document_of(self.entries)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the HAR document to a file, which is replaced at once or not at all."""
        save(path, self.entries)

    def clear(self) -> None:
        """Forget what was recorded."""
        self._records.clear()
        self._reading = WeakKeyDictionary()

    # --- hooks ---

    def _began(self, request: Request) -> None:
        _began.set({**_began.get(), self: perf_counter()})

    def _begun(self) -> float:
        """When the request began whose outcome is there; 0 if it never did: a hook before this one raised."""
        rest = dict(_began.get())
        began = rest.pop(self, 0.0)
        _began.set(rest)
        return began

    def _arrived(self, response: Response) -> None:
        began = self._begun()
        exchange = self._exchange(response.request, began)
        exchange.status, exchange.reason = response.status, response.reason
        exchange.http_version = response.http_version
        exchange.headers = list(response.headers.items())
        exchange.timings = _timings(response, began)
        self._records.append(record := _Record(exchange, perf_counter()))
        self._reading[response] = record

    def _received(self, response: Response, data: bytes) -> None:
        record = self._reading.get(response)
        if record is None:  # forgotten by clear()
            return
        record.size += len(data)
        record.exchange.timings["receive"] = perf_counter() - record.arrived
        if record.size <= self.max_body:
            record.chunks.append(bytes(data))
        else:
            record.chunks.clear()

    def _failed(self, request: Request, error: BaseException) -> None:
        began = self._begun()
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        broken = None if began else self._record_of(request)
        if broken is not None:
            broken.exchange.error = said
            return
        exchange = self._exchange(request, began)
        if isinstance(error, CancelledError) and error.args == (CALLED_OFF,):
            exchange.comment = CALLED_OFF
        else:
            exchange.error = said
        exchange.timings = {"send": 0.0, "wait": perf_counter() - began if began else 0.0, "receive": 0.0}
        self._records.append(_Record(exchange, perf_counter()))

    def _record_of(self, request: Request) -> _Record | None:
        """The record of the response to a request, while somebody holds that."""
        found = [record for response, record in self._reading.items() if response.request is request]
        return max(found, key=lambda record: record.arrived, default=None)

    def _exchange(self, request: Request, began: float) -> Exchange:
        ago = perf_counter() - began if began else 0.0
        body = request.body
        exchange = Exchange(
            method=request.method,
            url=str(request.url.without_fragment()),
            request_headers=[("Host", request.url.origin.host_field)] if "Host" not in request.headers else [],
            started=datetime.now(UTC) - timedelta(seconds=ago),
        )
        exchange.request_headers += request.headers.items()
        if isinstance(body, bytes | bytearray | memoryview):
            if len(body) <= self.max_body:
                exchange.request_body = bytes(body)
            else:
                exchange.request_comment = f"a body of {len(body)} bytes, over the {self.max_body} that are recorded"
        elif body is not None:
            exchange.request_comment = "the body was a stream, which is not recorded"
        return exchange


_NOTHING: Mapping[HarRecorder, float] = {}
_began: ContextVar[Mapping[HarRecorder, float]] = ContextVar("aiohttpconn_har_began", default=_NOTHING)
"""When the request that the task is sending began, by perf_counter(), as each recorder was told."""


class _Record:
    """An exchange whose body is perhaps still on its way: as it comes, codings on."""

    def __init__(self, exchange: Exchange, arrived: float) -> None:
        self.exchange = exchange
        self.arrived = arrived
        self.chunks: list[bytes] = []
        self.size = 0

    def finished(self, limit: int) -> Exchange:
        """The exchange, with what is there of the body by now."""
        exchange = self.exchange
        if not exchange.status:
            return exchange
        exchange.encoded_size = self.size
        exchange.body, exchange.comment, exchange.coded = None, "", False
        exchange.partial = bool(exchange.error)
        if self.size > limit:
            exchange.comment = f"a body of {self.size} bytes, over the {limit} that are recorded"
        elif not self.size and _has_body(exchange) and not exchange.error:
            exchange.encoded_size = -1
            exchange.comment = "nobody read the body"
        else:
            self._decode(exchange, limit)
        exchange.partial = exchange.partial or exchange.body is None
        return exchange

    def _decode(self, exchange: Exchange, limit: int) -> None:
        """Put in the body, its codings taken off where that can be done."""
        raw = b"".join(self.chunks)
        codings = [value for name, value in exchange.headers if name.lower() == "content-encoding"]
        try:
            decoder = decoder_for(codings) if raw and codings else None
            exchange.body = raw if decoder is None else _decoded(decoder, raw, limit, whole=not exchange.partial)
            exchange.coded = decoder is None and any(coding.strip().lower() != "identity" for coding in codings)
        except DecodingError as error:
            exchange.body, exchange.coded = raw, True
            exchange.comment = f"as it came, since it does not decode: {error}"
        if exchange.partial:
            exchange.comment = exchange.comment or f"it broke off after {self.size} bytes"
        if exchange.body is None:
            exchange.comment = f"a body of over {limit} bytes once decoded, which are not recorded"


def _has_body(exchange: Exchange) -> bool:
    """Whether the fields of the response announce a body that is not empty (RFC 9112 section 6.3)."""
    if exchange.method == "HEAD" or exchange.status in (204, 304):
        return False
    fields = {name.lower(): value.strip() for name, value in exchange.headers}
    return "transfer-encoding" in fields or fields.get("content-length", "0") != "0"


def _decoded(decoder: Decoder, raw: bytes, limit: int, *, whole: bool) -> bytes | None:
    """The body without its codings; None for one over the limit, which is not inflated any further."""
    pieces = []
    size = 0
    for piece in decoder.decode(raw):
        size += len(piece)
        if size > limit:
            return None
        pieces.append(piece)
    if whole:
        pieces.append(decoder.flush())
    return b"".join(pieces)


def _timings(response: Response, began: float) -> dict[str, float]:
    """The steps of an exchange up to the head of its response, in seconds."""
    raw = response._raw
    timings = {"blocked": raw.queued, "receive": 0.0}
    opened = 0.0
    if raw.opening is not None:
        steps = (raw.opening.connect, raw.opening.tunnel, raw.opening.tls)
        timings["connect"] = sum([step for step in steps if step is not None])
        opened = timings["connect"]
        if raw.opening.lookup is not None:
            timings["dns"] = raw.opening.lookup
            opened += raw.opening.lookup
        if raw.opening.tls is not None:
            timings["ssl"] = raw.opening.tls  # and in "connect", as HAR has it
    arrived = raw.arrived_at or perf_counter()
    # A double for tests may not say when it sent.
    sent = raw.sent_at or began
    timings["send"] = max(0.0, sent - began - raw.queued - opened)
    timings["wait"] = max(0.0, arrived - sent)
    return timings
