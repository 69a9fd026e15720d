"""`HTTPResponse`: one response of an `AsyncHTTPConnection`, its head there, its body on demand."""

from __future__ import annotations

import asyncio
import math
import os
import warnings
from collections import deque
from collections.abc import AsyncIterator, Callable
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from .errors import (
    HTTPException,
    IncompleteRead,
    PoolClosed,
    ReadError,
    ReadTimeout,
    ResponseNotReady,
    StreamClosed,
    TooSlow,
)
from .headers import EMPTY_HEADERS, Headers
from .pace import Pace
from .wire.framing import BodyDecoder, Framing, LengthDecoder

if TYPE_CHECKING:
    import ssl

    from .config import Deadline
    from .loan import Loan
    from .messages import Opening, Request, ResponseHead
    from .net.stream import Stream, StreamReader, StreamWriter
    from .net.tls_info import TLSInfo
    from .url import URL, Origin


MAX_PIECE = 262_144
"""Bytes of the body that are handed out at once by those ways of reading that take what is there."""
_ARRIVED = 131_072
"""Bytes of the body that are taken off the stream before they are asked for. It holds up to 512 KiB itself: with this
and one piece more, a response that nobody reads stays below 1 MiB."""
_LENT = 1 << 20
"""Bytes that must be missing for the socket to be lent: of less, most has come by then."""


class ResponseOwner(Protocol):
    """What a response needs of the connection that it came on."""

    def finished(self, stream: Stream, reusable: bool) -> None:
        """The response has been read to its end; `reusable` unless something forbids the next request."""

    def broken(self, stream: Stream) -> None:
        """The response will not be read to its end: abort."""

    def handed_over(self, stream: Stream) -> None:
        """The streams are somebody else's from now on."""

    def where(self) -> str:
        """Host and port, as messages name them."""
        ...


class BodyTap(Protocol):
    """Who gets a copy of a body while somebody else reads it."""

    def piece(self, data: bytes) -> None:
        """A piece of the body has arrived."""

    def done(self) -> None:
        """The body has arrived to its end, as its framing says. (Called once, or never.)"""


class HTTPResponse:
    """A response as `http.client` has it, awaited. Made by `AsyncHTTPConnection.getresponse()`.

    The body is what remains after transfer-coding and before content-coding. It is read by one coroutine at a time: all
    of it by `read()`, in pieces by `read(n)`, `read1()`, `readinto()`, `readline()`, or as an async iterator of bytes
    as they arrive. A body that ends early is `IncompleteRead`, a broken connection `ReadError`, a silent peer
    `ReadTimeout`. Each of these, and cancelling a read, closes the connection. A response belongs to the event loop of
    its connection: to go on receiving on another one is a RuntimeError.
    """

    # What only a response has that was not whole when it was made has a default of the class.
    upload: asyncio.Task[bool] | None = None
    """The rest of the request's body, still being sent while the response is read."""
    opening: Opening | None = None
    """How the connection was opened, if it was for this exchange."""
    proxy: Origin | None = None
    """The proxy that the exchange went through, None for none."""
    uds: str | None = None
    """The path of the Unix domain socket that it went through."""
    secured: ssl.SSLObject | None = None
    """The TLS session with the server that it came over; it keeps 20 to 40 KiB of OpenSSL's while it is kept."""
    request: Request | None = None
    """What it answers, where it came through a pool: errors of reading it say so."""
    from_cache = False
    """Whether it was answered from a cache, its head and body stored before."""
    queued = 0.0
    """Seconds that were spent waiting for a connection to become free."""
    sent_at = arrived_at = done_at = 0.0
    """`time.perf_counter()` when the request was sent, the head had come, and the exchange was over."""
    _ahead = False
    """Whether less than usual is received ahead."""
    _guard: _Guard | None = None
    _tap: BodyTap | None = None
    _kind = Framing.LENGTH
    _owner: ResponseOwner
    _stream: Stream
    _deadline: Deadline
    _pace: Pace | None

    def __init__(self, head: ResponseHead, method: str, target: str | URL, keep_alive: bool, body: bytes) -> None:
        """A response that is whole: its exchange is over."""
        self.head = head
        self.method = method
        self._target = target
        self._keep_alive = keep_alive
        self.ended = True
        """Whether the exchange is over: the connection is no longer this response's."""
        self._decoder: BodyDecoder | None = None  # None: all of the body is there
        self._body = body  # in place of _pieces, for a response that was whole when it was made
        self._pieces: deque[bytes] | None = None
        self._size = len(body)  # of either
        self._failure: BaseException | None = None
        self._closed = False

    def expect_body(
        self,
        owner: ResponseOwner,
        stream: Stream,
        deadline: Deadline,
        kind: Framing,
        decoder: BodyDecoder | None,
    ) -> None:
        """The body is still to come over `stream`; without a `decoder` the streams are to be handed over."""
        self._owner = owner
        self._stream = stream
        self._deadline = deadline
        self._pace = None if deadline.min_speed is None else Pace(*deadline.min_speed)
        self._kind = kind
        self._decoder = decoder
        self.ended = False

    def when_over(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once when the exchange is over, however it ends: read, failed, closed, or dropped.

        Only for a response whose exchange is not over yet (`ended`). What was set before is called first.
        """
        if self._guard is not None:
            self._guard.add(callback)
        else:
            self._guard = _Guard(self._owner, self._stream, callback, self.method, self._target)

    def tap(self, tap: BodyTap) -> None:
        """Give `tap` a copy of the body, of which nothing has been read yet: what is there, the rest as it arrives."""
        for piece in (self._body,) if self._pieces is None else self._pieces:
            if piece:
                tap.piece(piece)
        if self.ended:
            tap.done()
        else:
            self._tap = tap

    # --- head ---

    @property
    def status(self) -> int:
        """Status code."""
        return self.head.status

    @property
    def reason(self) -> str:
        """Reason phrase, "" when there is none."""
        return self.head.reason

    @property
    def version(self) -> int:
        """10 for HTTP/1.0, 11 for HTTP/1.1."""
        return self.head.version

    @property
    def headers(self) -> Headers:
        """The fields: case-insensitive, in order, repeats kept."""
        return self.head.headers

    @property
    def msg(self) -> Headers:
        """The same as `headers`, by `http.client`'s other name."""
        return self.head.headers

    def getheader(self, name: str, default: str | None = None) -> str | None:
        """The value of a field, repeated ones joined with ", "; `default` if there is none."""
        values = self.head.headers.getall(name, None)
        return default if values is None else ", ".join(values)

    def getheaders(self) -> list[tuple[str, str]]:
        """All fields as (name, value) pairs, as received."""
        return list(self.head.headers.items())

    @property
    def url(self) -> str:
        """What was asked for: the request target, or the URL where a client asked."""
        return str(self._target)

    def geturl(self) -> str:
        """The same as `url`."""
        return str(self._target)

    @property
    def tls(self) -> TLSInfo | None:
        """The TLS session with the server that it came over, None for plain HTTP. (Made when it is asked for.)"""
        if self.secured is None:
            return None
        from .net.tls_info import TLSInfo  # noqa: PLC0415 - for who asks

        return TLSInfo.of(self.secured)

    # --- state ---

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self._kind is Framing.CHUNKED

    @property
    def length(self) -> int | None:
        """Bytes of the body not read yet, None when that is not known."""
        if self._decoder is None:
            return self._size
        missing = self._decoder.missing
        return None if missing is None else missing + self._size

    @property
    def will_close(self) -> bool:
        """Whether the connection is closed after this response."""
        return not self._keep_alive

    @property
    def trailers(self) -> Headers:
        """The fields after a chunked body, once it has been read; empty otherwise."""
        return EMPTY_HEADERS if self._decoder is None else self._decoder.trailers

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._closed

    @property
    def complete(self) -> bool:
        """Whether all of the body has arrived."""
        return self._failure is None and (self._decoder is None or self._decoder.done)

    def isclosed(self) -> bool:
        """Whether the body has been read to its end."""
        return self.complete and not self._size

    # --- receiving ---

    async def _receive(self) -> bool:
        """Get at least one piece of the body; False at its end."""
        decoder = self._decoder
        while not self._size:
            if self._failure is not None:
                raise self._failure
            if decoder is None or decoder.done:
                if self.upload is None or self.ended:
                    return False
                self.check_loop()
                await self._await_upload(self.upload)
                continue
            if self._closed:
                raise self._named_error(StreamClosed("the response was closed before its body was read"))
            self.check_loop()
            at = self._deadline.at
            if at != math.inf and self._stream.loop.time() >= at:
                # A peer that is always ahead of a slow consumer lets nobody wait, and time passes all the same.
                self._fail(self._deadline.expiry(ReadTimeout, at, self._doing()))
                continue
            reader = self._stream.reader
            data = reader.take()
            if data:
                self.feed(data)
            elif reader.ended:
                self._end()
            else:
                await self._wait(reader)
        return True

    def check_loop(self) -> None:
        """Raise RuntimeError unless this is the connection's event loop, or nothing is received any more."""
        if not self.ended and self._stream.loop is not asyncio.get_running_loop():
            raise RuntimeError(f"{self._named()} belongs to another event loop: that of its connection")

    async def _await_upload(self, upload: asyncio.Task[bool]) -> None:
        """The response is there, the request is not through: an exchange is over when both are."""
        try:
            await asyncio.wait((upload,))
        except BaseException:
            self._fail(None)
            raise

    async def _wait(self, reader: StreamReader) -> None:
        deadline = self._deadline
        now = self._stream.loop.time()
        by = now + deadline.read
        if deadline.at < by:
            by = deadline.at
        try:
            if self._pace is None:
                arrived = await reader.waiter(by)
            else:
                arrived = await self._wait_paced(reader, self._pace, by)
        except BaseException as error:
            self._fail(error if isinstance(error, TooSlow) else None)
            raise
        if not arrived:
            self._fail(deadline.expiry(ReadTimeout, self._stream.loop.time(), self._doing()))

    async def _wait_paced(self, reader: StreamReader, pace: Pace, by: float) -> bool:
        """`reader.waiter(by)`, a window at a time. Raises `TooSlow` when one ends with too little in it."""
        now = self._stream.loop.time()
        while not pace.too_slow():
            arrived = await reader.waiter(min(by, now + pace.left))
            before, now = now, self._stream.loop.time()
            pace.waited(now - before)
            if arrived or now + 0.002 >= by:
                return arrived
        raise TooSlow(pace.describe())

    def feed(self, data: bytes) -> None:
        """Take in bytes that came after the head."""
        decoder = self._decoder
        assert decoder is not None
        pieces = decoder.feed(data)
        if pieces:
            size = 0
            for piece in pieces:
                size += len(piece)
            self._queue().extend(pieces)
            self._size += size
            if self._tap is not None:
                for piece in pieces:
                    self._tap.piece(piece)
            if self._pace is not None:
                self._pace.received += size
        if decoder.done:
            self._finish()
        elif decoder.error is not None:
            self._fail(decoder.error)

    def _end(self) -> None:
        """The peer sends no more."""
        decoder, stream = self._decoder, self._stream
        assert decoder is not None
        loss = stream.loss
        if isinstance(loss, PoolClosed):
            self._fail(loss)
            return
        if loss is not None:
            error = ReadError(f"the connection broke while the body was read: {loss}")
            error.__cause__ = loss
            self._fail(error)
            return
        decoder.eof()
        if decoder.done and stream.truncated:
            self._fail(IncompleteRead(b"", None, "TLS ended without close_notify: the body may have been cut short"))
        elif decoder.done:
            self._finish()
        elif decoder.error is not None:
            self._fail(decoder.error)

    def take_arrived(self) -> None:
        """Take in, without waiting, what has already arrived of the body; of a long one no more than its beginning."""
        reader = self._stream.reader
        while self._size < _ARRIVED and not self.complete and self._failure is None and (data := reader.take()):
            self.feed(data)

    def _discard_arrived(self) -> None:
        """Take in what has already arrived of a body that nobody wants: it may be all of it."""
        while not self.ended:
            self.take_arrived()
            if not self._size:
                break
            self._discard()

    def _discard(self) -> None:
        self._body = b""
        if self._pieces is not None:
            self._pieces.clear()
        self._size = 0

    def _finish(self) -> None:
        """The body is there to its end."""
        if self.upload is not None and not self.upload.done():
            return  # the exchange is over when the request is, too: `uploaded` comes back here
        if self.ended:
            return
        decoder = self._decoder
        assert decoder is not None
        clean = self._keep_alive and not decoder.unused
        if self._ahead:
            self._stream.receive_ahead()
        self._owner.finished(self._stream, clean)
        if self._tap is not None:
            self._tap.done()
        self._over()

    def uploaded(self, task: asyncio.Task[bool]) -> None:
        """The request's body, sent while the response was read, has ended one way or the other."""
        error = None if task.cancelled() else task.exception()
        if self.ended:
            return
        if task.cancelled():  # the connection was closed
            loss = self._stream.loss
            self._fail(loss if isinstance(loss, PoolClosed) else None)
            return
        if error is not None:
            self._fail(error)
            return
        self._keep_alive = self._keep_alive and task.result()
        if self.complete:
            self._finish()

    def _fail(self, error: BaseException | None) -> None:
        """The body will not come to its end: let go of the connection. What had come can still be read."""
        if error is None:
            error = StreamClosed("reading the body was cancelled")
        self._failure = self._named_error(error) if isinstance(error, HTTPException) else error
        self._abort()

    def _abort(self) -> None:
        self._owner.broken(self._stream)
        self._over()

    def _over(self) -> None:
        self.ended = True
        self.done_at = perf_counter()
        if self._guard is not None:
            self._guard.release()

    def _named_error(self, error: HTTPException) -> HTTPException:
        """The same error, saying in the midst of what it came."""
        error.doing = error.doing or self._doing()
        if error.request is None and self.request is not None:
            error.request = self.request
        return error

    def _doing(self) -> str:
        return f"reading {self._named()}"

    def _named(self) -> str:
        target = self._target
        if not isinstance(target, str):
            return f"the response to {self.method} {target.shown}"
        where = f" at {self._owner.where()}" if hasattr(self, "_owner") else ""  # one that was whole has none
        return f"the response to {self.method} {target}{where}"

    def _queue(self) -> deque[bytes]:
        pieces = self._pieces
        if pieces is None:
            self._pieces = pieces = deque((self._body,) if self._body else ())
            self._body = b""
        return pieces

    def take_whole(self) -> bytes | None:
        """All of the body that has not been read, without waiting; None if it is not (or no more) to be had."""
        if not self.ended or self._failure is not None or self._closed:
            return None
        return self.take_pieces()

    def take_pieces(self) -> bytes:
        """Everything that is there, without waiting: all of the body if the exchange is over in order."""
        pieces = self._pieces
        if pieces is None:
            data, self._body, self._size = self._body, b"", 0
            return data
        if not pieces:
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        return data

    def _take(self, amount: int) -> bytes:
        """At most `amount` bytes of the first piece."""
        pieces = self._queue()
        data = pieces.popleft()
        if len(data) > amount:
            pieces.appendleft(data[amount:])
            data = data[:amount]
        self._size -= len(data)
        return data

    # --- http.client's ways of reading ---

    async def read(self, amt: int | None = None) -> bytes:
        """The rest of the body, or the next `amt` bytes of it (fewer only at its end); b"" after the end.

        When it ends early, what was read by this call is the `partial` of `IncompleteRead`.
        """
        if amt is not None and amt >= 0:
            return await self._read_exactly(amt)
        parts: list[bytes] = []
        try:
            while await self._receive():
                parts.append(self.take_pieces())
        except IncompleteRead as error:
            raise self._partial(error, parts) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _read_exactly(self, amount: int) -> bytes:
        parts: list[bytes] = []
        left = amount
        try:
            while left and await self._receive():
                data = self._take(left)
                parts.append(data)
                left -= len(data)
        except IncompleteRead as error:
            raise self._partial(error, parts) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _partial(self, error: IncompleteRead, parts: list[bytes]) -> IncompleteRead:
        partial = IncompleteRead(b"".join(parts) + error.partial, error.expected, error.why, doing=error.doing)
        partial.request = error.request
        return partial

    async def read1(self, n: int = -1) -> bytes:
        """What is there, at most `n` bytes and 256 KiB of it; waits only if nothing is. b"" after the end."""
        if n == 0 or not await self._receive():
            return b""
        return self._take_some() if n < 0 else self._take(n)

    def _take_some(self) -> bytes:
        """The pieces that are there, as far as they stay within `MAX_PIECE`."""
        pieces = self._queue()
        data = pieces.popleft()
        size = len(data)
        if pieces and size + len(pieces[0]) <= MAX_PIECE:
            parts = [data]
            while pieces and size + len(pieces[0]) <= MAX_PIECE:
                parts.append(pieces.popleft())
                size += len(parts[-1])
            data = b"".join(parts)
        self._size -= size
        return data

    async def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill `buffer` from the body, across chunks; the number of bytes, fewer than fit only at the end."""
        view = memoryview(buffer).cast("B")
        filled = 0
        try:
            while filled < len(view) and await self._receive():
                data = self._take(len(view) - filled)
                view[filled : filled + len(data)] = data
                filled += len(data)
        except IncompleteRead as error:
            raise self._partial(error, [bytes(view[:filled])]) from error
        return filled

    async def readline(self, limit: int = -1) -> bytes:
        """One line with its line end (b"\\n"), at most `limit` bytes of it; b"" after the end of the body."""
        parts: list[bytes] = []
        size = 0
        try:
            while (limit < 0 or size < limit) and await self._receive():
                first = self._queue()[0]
                end = first.find(b"\n") + 1
                amount = end or len(first)
                if limit >= 0:
                    amount = min(amount, limit - size)
                data = self._take(amount)
                parts.append(data)
                size += len(data)
                if data.endswith(b"\n"):
                    break
        except IncompleteRead as error:
            raise self._partial(error, parts) from error
        return b"".join(parts)

    async def peek(self, n: int = -1) -> bytes:
        """What is there without taking it, at most `n` bytes; waits only if nothing is. b"" after the end."""
        if not await self._receive():
            return b""
        data = self._queue()[0]
        return data if n < 0 else data[:n]

    # --- as an async iterator ---

    def __aiter__(self) -> HTTPResponse:
        return self

    async def __anext__(self) -> bytes:
        if not self._size and not await self._receive():
            raise StopAsyncIteration
        return self.take_piece()

    def take_piece(self) -> bytes:
        """The next piece of what is there, without waiting; b"" if nothing is."""
        if not self._size:
            return b""
        data = self._queue().popleft()
        self._size -= len(data)
        return data

    async def iter_chunks(self, size: int) -> AsyncIterator[bytes]:
        """The body in pieces of `size` bytes, the last one shorter."""
        if size < 1:
            raise ValueError(f"the size of a chunk must be at least 1, not {size}")
        while data := await self._read_exactly(size):
            yield data

    async def iter_lines(self) -> AsyncIterator[bytes]:
        """The body line by line, line ends kept."""
        while line := await self.readline():
            yield line

    # --- the end ---

    async def close(self) -> None:
        """Let go of the connection: kept if the rest of the body has already arrived, else aborted. Idempotent.

        Waits for nothing.
        """
        self.close_now()

    def close_now(self) -> None:
        """`close()` without being awaited."""
        if self._closed:
            return
        self.check_loop()
        self._closed = True
        self._discard_arrived()
        if not self.ended:
            self._abort()
        self._discard()

    def receive_ahead(self, size: int) -> None:
        """Have no more of the body than about so many bytes received before they are asked for."""
        if not self.ended:
            self._ahead = True
            self._stream.receive_ahead(size)

    def lend(self, count: Callable[[int], None] | None = None) -> Loan | None:
        """The socket, for somebody who takes the rest of the body from it himself; None if that cannot be done: it is
        nearly all there, comes in chunks or through TLS, or is watched or timed as it comes.

        - `count`: told how many bytes are taken past this response.
        """
        decoder = self._decoder
        if self.ended or self._closed or self._failure is not None or not isinstance(decoder, LengthDecoder):
            return None
        if self._tap is not None or self._pace is not None or self.upload is not None or self._deadline.at != math.inf:
            return None
        self.check_loop()
        stream = self._stream
        reader, socket = stream.reader, stream.bare_socket
        if socket is None or decoder.remaining - reader.buffered < _LENT:
            return None
        try:
            descriptor = os.dup(socket)
        except OSError:
            return None  # there are too many already
        for data in reader.hold():
            self.feed(data)
        arrived = list(self._queue())
        self._discard()
        from .loan import Loan  # noqa: PLC0415 - for large downloads

        return Loan(self, descriptor, arrived, decoder.remaining, count)

    def take_back(self, taken: int | None, loss: OSError | None) -> None:
        """The socket that was lent is needed no more. So many bytes of the body were taken from it, None for nobody
        knows how many; `loss`: what the socket has told."""
        if self.ended:
            return
        if taken is None:
            self._fail(None)
            return
        decoder = self._decoder
        assert isinstance(decoder, LengthDecoder)
        decoder.skip(taken)
        self._stream.reader.release()
        if decoder.done:
            self._finish()
        elif loss is not None:
            self._stream.broke(loss)

    async def detach(self) -> tuple[StreamReader, StreamWriter]:
        """Hand over the streams, unread bytes first: after a 101, or by hand.

        From then on they are the caller's, to be closed by the caller; the connection forgets them. In the midst of a
        chunked body, what was decoded and not read comes first; from there on all is as the peer sent it, the framing
        of the chunks included. A response whose body has arrived whole has no streams: `ResponseNotReady`.
        """
        closed = "the streams are closed and cannot be handed over"
        if self._failure is not None or self._closed:
            raise self._named_error(StreamClosed(closed))
        if self.ended:
            raise self._named_error(
                ResponseNotReady("the response has been read, and its connection may be in use again")
            )
        self.check_loop()
        stream = self._stream
        if stream.transport.is_closing():
            raise self._named_error(StreamClosed(closed))
        if self._decoder is not None:
            stream.reader.unread(self._decoder.unparsed + self._decoder.unused)
        stream.reader.unread(self.take_pieces())
        self._decoder = None
        self._closed = True
        self._owner.handed_over(stream)
        self._over()
        return stream.reader, stream.writer

    async def __aenter__(self) -> HTTPResponse:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close_now()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "complete" if self.complete else "reading"
        return f"<HTTPResponse {self.status} {self.reason} {state}>"


class _Guard:
    """What gives the connection back for a response that is dropped before it was read to its end.

    An object of its own, so that the many responses that are whole from the start have no finaliser: 0.3 µs each.
    """

    __slots__ = ("_callback", "_method", "_owner", "_stream", "_target")

    def __init__(
        self, owner: ResponseOwner, stream: Stream, callback: Callable[[], None], method: str, target: str | URL
    ) -> None:
        self._owner = owner
        self._stream = stream
        self._callback: Callable[[], None] | None = callback
        self._method = method
        self._target = target

    def add(self, callback: Callable[[], None]) -> None:
        """One more to be called."""
        first = self._callback
        assert first is not None, "the exchange is over"

        def both() -> None:
            first()
            callback()

        self._callback = both

    def release(self) -> None:
        """The exchange is over."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    def __del__(self) -> None:
        callback = self._callback
        if callback is None:
            return
        stream, owner = self._stream, self._owner

        def let_go() -> None:
            owner.broken(stream)
            callback()

        try:
            # The finaliser may run on any thread.
            stream.loop.call_soon_threadsafe(let_go)
        except RuntimeError:
            pass  # the loop is closed, and with it every connection
        target = self._target if isinstance(self._target, str) else self._target.shown
        warnings.warn(  # at last: it may be made an error
            f"the response to {self._method} {target} was dropped before its body was read; its connection is closed",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )
