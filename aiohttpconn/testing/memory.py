"""Exchanges without a network: a response whose body comes over a stream in memory, with a real one's manners."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from ..errors import (
    BodyLengthMismatch,
    HTTPException,
    InvalidHeader,
    PoolClosed,
    ProtocolError,
    ReadError,
    ReadTimeout,
)
from ..headers import EMPTY_HEADERS, Headers
from ..http1 import MAX_INTERIM
from ..messages import Opening
from ..net.stream import Stream
from ..proxy import Proxy
from ..request_head import RequestOptions, request_options
from ..response import HTTPResponse
from ..upload import body_pieces
from ..wire.framing import BodyDecoder, BodyFraming, Framing, response_framing
from ..wire.head import encode_fields
from .ending import Ending, KnownLength, Truncated, Unmeasured

if TYPE_CHECKING:
    from types import TracebackType

    from ..messages import BytesLike, Request, ResponseHead
    from ..transport import RequestContext

_SLICE = 65_536
"""Bytes of a body that are handed on at once: what the network brings is no more."""

_Transport = TypeVar("_Transport", bound="MemoryTransport")


class UnexpectedRequest(HTTPException, LookupError):
    """A double was sent a request that it has no response for. Nothing was sent over a network."""


class _FarEnd(asyncio.Transport):
    """In place of a socket: tells the sender to wait while the reader has enough."""

    def __init__(self, exchange: MemoryExchange) -> None:
        super().__init__()
        self._exchange = exchange

    def pause_reading(self) -> None:
        self._exchange.room.clear()

    def resume_reading(self) -> None:
        self._exchange.room.set()

    def is_closing(self) -> bool:
        return self._exchange.over

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._exchange.broken(self._exchange.stream)


class MemoryExchange:
    """One request, and the response that is fed from memory. It owns the response as a connection would.

    The response may be dropped, closed or read to its end: `on_over` is then called once, with whether it was complete.
    Whatever task feeds it must keep no reference to the response itself, so that one that is dropped is noticed.
    """

    def __init__(self, request: Request, context: RequestContext) -> None:
        self.loop = asyncio.get_running_loop()
        self.request = request
        self.context = context
        self.room = asyncio.Event()
        """Set while the reader takes more, and for good when the exchange is over."""
        self.room.set()
        self.over = False
        self.on_over: Callable[[bool], None] | None = None
        self.stream = Stream(self.loop)
        self.stream.transport = _FarEnd(self)
        self.stream.reader.set_transport(self.stream.transport)
        self._ending = Ending()
        self._aborted = False
        self._limit: asyncio.Timeout | None = None
        self._pump: asyncio.Task[None] | None = None
        self._sent_at = perf_counter()
        self._opening = Opening()
        self._opening.why = "a double for tests keeps no connections"
        self._options: RequestOptions

    def doing(self) -> str:
        """What is being done, for messages."""
        return f"{self.request.method} {self.request.url.shown}"

    # --- the request ---

    @property
    def proxy(self) -> Proxy | None:
        """The proxy that it would go through, as far as the caller named one."""
        proxy = self.context.proxy
        return proxy if isinstance(proxy, Proxy) else None

    def check(self) -> None:
        """What a connection checks before it sends. Raises `InvalidHeader`, `BodyLengthMismatch`."""
        request = self.request
        fields = request.field_lines
        if fields is None:
            fields = encode_fields(request.headers.items())
            if not fields.count(b"\n") == fields.count(b"\r") == len(request.headers) or b"\0" in fields:
                raise InvalidHeader("a field of the request holds CR, LF or NUL")
        self._options = options = request_options[fields]
        if request.body is None and (options.chunked or options.length):
            announced = "Transfer-Encoding" if options.chunked else f"Content-Length of {options.length}"
            raise BodyLengthMismatch(f"the fields announce a body ({announced}), and there is none")

    async def connected(self) -> None:
        """Tell who watches that the request goes out: on a connection of its own."""
        if self.context.observer is not None:
            await self.context.observer.connected(self.request, self._opening)

    async def interim(self, heads: Sequence[ResponseHead]) -> None:
        """Tell who watches of the 1xx responses that go before the final one."""
        if len(heads) > MAX_INTERIM:
            raise ProtocolError(f"more than {MAX_INTERIM} interim responses")
        if (observer := self.context.observer) is not None:
            for said in [observer.interim(self.request, head) for head in heads]:
                if said is not None:
                    await said

    @asynccontextmanager
    async def head_limit(self) -> AsyncIterator[None]:
        """A block that comes to the response's head within the limits for it: `ReadTimeout`, `TotalTimeout`."""
        self._limit = limit = asyncio.timeout_at(self._by(self.context.deadline.read))
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if not limit.expired() or isinstance(error, HTTPException):
                raise
            if self._aborted:
                raise PoolClosed("the transport is closed", doing=self.doing()) from error
            raise self.context.deadline.expiry(ReadTimeout, self.loop.time(), self.doing()) from error
        finally:
            self._limit = None

    def _by(self, seconds: float) -> float | None:
        by = min(self.loop.time() + seconds, self.context.deadline.at)
        return None if by == math.inf else by

    async def request_pieces(self) -> AsyncIterator[BytesLike]:
        """The request's body as its sender makes it: that time is the sender's own, and only the total limit holds.

        Raises `BodyLengthMismatch` where it is not what Content-Length said, and what the body itself raises.
        """
        body = self.request.body
        if body is None:
            return
        declared = self.request.headers.get("Content-Length")
        left = int(declared) if declared is not None and declared.isdecimal() else None
        self._reschedule(math.inf)
        async for piece in body_pieces(body, _SLICE):
            if left is not None:
                left -= len(piece)
                if left < 0:
                    raise BodyLengthMismatch(f"the body is longer than its Content-Length of {declared}")
            self._reschedule(self.context.deadline.read)
            yield piece
            self._reschedule(math.inf)
        self._reschedule(self.context.deadline.read)
        self._sent_at = perf_counter()
        if left:
            raise BodyLengthMismatch(f"the body is {left} bytes shorter than its Content-Length of {declared}")

    def _reschedule(self, seconds: float) -> None:
        if self._limit is not None and not self._limit.expired() and not self._aborted:
            self._limit.reschedule(self._by(seconds))

    # --- the response ---

    def respond(
        self,
        head: ResponseHead,
        body: BytesLike | Iterable[BytesLike] | AsyncIterable[BytesLike] = b"",
        trailers: Headers | Callable[[], Headers] = EMPTY_HEADERS,
    ) -> HTTPResponse:
        """The response with this head, its body fed from these bytes or pieces as it is read.

        `trailers` are asked for when the body has come to its end.
        """
        kind, length, keep_alive = self._framing(head)
        if isinstance(body, (bytes, bytearray, memoryview)):
            whole = bytes(body)
            if kind is Framing.NONE or (trailers is EMPTY_HEADERS and len(whole) == length and len(whole) <= _SLICE):
                return self._whole(head, keep_alive, whole if kind is not Framing.NONE else b"")
            body = (whole,)
        response = self.open(head)
        # Begun before it can be cancelled, so that the pieces are always closed (`_end_pump` sees to that).
        self._pump = self.loop.create_task(self._feed_all(body, trailers))
        if self.over:  # a response without a body
            self._end_pump()
        return response

    def open(self, head: ResponseHead) -> HTTPResponse:
        """The response with this head, whose body comes by `feed()` and `end()`."""
        kind, length, keep_alive = self._framing(head)
        if kind is Framing.UPGRADE:
            if head.status == 101 and not self._options.upgrade:
                raise ProtocolError("101 Switching Protocols came, and nobody had asked for an upgrade")
            raise NotImplementedError("a double for tests cannot switch protocols: there are no streams to hand over")
        if length == 0:
            return self._whole(head, keep_alive, b"")
        decoder: BodyDecoder
        if length is None:
            decoder = Unmeasured(self._ending, framed=kind is Framing.CHUNKED)
        else:
            decoder = KnownLength(length, self._ending)
        response = self._response(head, keep_alive, b"")
        response.expect_body(self, self.stream, self.context.deadline, kind, decoder)
        response.when_over(self._close)
        return response

    def _whole(self, head: ResponseHead, keep_alive: bool, body: bytes) -> HTTPResponse:
        response = self._response(head, keep_alive, body)
        response.done_at = response.arrived_at
        self.finished(self.stream, keep_alive)
        return response

    def _framing(self, head: ResponseHead) -> BodyFraming:
        kind, length, keep_alive = response_framing(head, self.request.method)
        return kind, length, keep_alive and not self._options.close

    def _response(self, head: ResponseHead, keep_alive: bool, body: bytes) -> HTTPResponse:
        response = HTTPResponse(head, self.request.method, self.request.url, keep_alive, body)
        response.request, response.opening = self.request, self._opening
        response.proxy = None if self.proxy is None else self.proxy.origin
        response.sent_at, response.arrived_at = self._sent_at, perf_counter()
        return response

    async def feed(self, data: BytesLike) -> bool:
        """Hand on a piece of the body, each part of it when the reader has room; False when nobody wants it."""
        view = memoryview(data).cast("B")
        for at in range(0, len(view), _SLICE):
            await self.room.wait()
            if self.over:
                return False
            self.stream.reader.feed_data(bytes(view[at : at + _SLICE]))
        return not self.over

    def end(self, trailers: Headers = EMPTY_HEADERS, *, cut: bool = False) -> None:
        """The body has come to its end, or, with `cut`, breaks off here: then `IncompleteRead` if it is framed."""
        self._ending.trailers = trailers
        self._ending.cut = cut
        self.stream.reader.feed_eof()

    def fail(self, error: BaseException) -> None:
        """What the reader meets after what was fed; the first that went wrong counts."""
        if self._ending.failure is None:
            self._ending.failure = error
        self.stream.reader.feed_eof()

    async def _feed_all(
        self, body: Iterable[BytesLike] | AsyncIterable[BytesLike], trailers: Headers | Callable[[], Headers]
    ) -> None:
        pieces = body if isinstance(body, AsyncIterable) else each(body)
        iterator = aiter(pieces)
        try:
            async for piece in iterator:
                if not await self.feed(piece):
                    return
            self.end(trailers() if callable(trailers) else trailers)
        except Truncated:
            self.end(cut=True)
        except asyncio.CancelledError as error:
            # Asked for, and then nobody reads any more; or raised by the body itself, and the reader must not wait.
            self.fail(cancelled("what makes the body", error))
            raise
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # what pytest.fail() raises is none of Exception
            self.fail(error)
        finally:
            aclose = getattr(iterator, "aclose", None)
            if aclose is not None:
                await aclose()

    # --- what the response tells (ResponseOwner) ---

    def finished(self, stream: Stream, reusable: bool) -> None:
        self._close(True)

    def broken(self, stream: Stream) -> None:
        self._close(False)

    def handed_over(self, stream: Stream) -> None:
        self._close(False)

    def where(self) -> str:
        return str(self.request.url.origin)

    def abort(self) -> None:
        """Let go of it from this side: who still waits or reads gets a `ReadError`."""
        if not self.over:
            self._aborted = True
            if self._limit is not None and not self._limit.expired():
                self._limit.reschedule(self.loop.time())
            self.fail(self._closed_here())
            self._end_pump()

    def _closed_here(self) -> ReadError:
        return ReadError("the connection broke: it was closed on this side", doing=self.doing())

    def _close(self, complete: bool = False) -> None:
        if self.over:
            return
        self.over = True
        self.room.set()
        self.stream.reader.disarm()
        self._end_pump()
        if self.on_over is not None:
            self.on_over(complete)

    def _end_pump(self) -> None:
        if self._pump is not None and not self._pump.done():
            self.loop.call_soon(self._pump.cancel)

    async def wait(self) -> None:
        """Wait until what feeds the response has ended."""
        if self._pump is not None and not self._pump.done():
            await asyncio.wait((self._pump,))


async def each(pieces: Iterable[BytesLike]) -> AsyncIterator[BytesLike]:
    """The same pieces, to be awaited."""
    for piece in pieces:
        yield piece


class MemoryTransport:
    """Base of the doubles: keeps account of its exchanges, and ends them when it is closed."""

    def __init__(self) -> None:
        self.closed = False
        self._exchanges: set[MemoryExchange] = set()

    def begin(self, request: Request, context: RequestContext) -> MemoryExchange:
        """Begin an exchange. Raises `PoolClosed` once the transport is closed, and what `MemoryExchange.check` does."""
        exchange = MemoryExchange(request, context)
        try:
            if self.closed:
                raise PoolClosed("the transport is closed")
            exchange.check()
        except HTTPException as error:
            name(error, exchange)
            raise
        self._exchanges.add(exchange)
        exchange.on_over = lambda complete: self.exchange_over(exchange, complete)
        return exchange

    def exchange_over(self, exchange: MemoryExchange, complete: bool) -> None:
        """An exchange is over; `complete` if its response came to its end."""
        self._exchanges.discard(exchange)

    async def close(self) -> None:
        """End what is going on: who still reads gets a `ReadError`. Idempotent."""
        self.closed = True
        for exchange in list(self._exchanges):
            exchange.abort()
            await exchange.wait()

    async def __aenter__(self: _Transport) -> _Transport:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def name(error: BaseException, exchange: MemoryExchange) -> None:
    """Have an error of this library say what was being done."""
    if isinstance(error, HTTPException):
        error.request = exchange.request
        error.doing = error.doing or exchange.doing()


def cancelled(what: str, error: asyncio.CancelledError) -> RuntimeError:
    """What the caller hears of another task's cancellation: raised as it is, it would look like the caller's own."""
    failure = RuntimeError(f"{what} was cancelled, or raised CancelledError")
    failure.__cause__ = error
    return failure


def received_fields(request: Request) -> list[tuple[str, str]]:
    """The fields as a server gets them: Host first, and once."""
    fields = list(request.headers.items())
    hosts = [pair for pair in fields if pair[0].lower() == "host"]
    if not hosts:
        return [("Host", request.url.origin.host_field), *fields]
    return [*hosts, *[pair for pair in fields if pair[0].lower() != "host"]]
