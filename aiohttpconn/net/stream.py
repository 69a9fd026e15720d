"""Asyncio streams on a protocol of our own: chunks handed on uncopied, back-pressure, deadlines by one re-armed timer.

`StreamReader` and `StreamWriter` have asyncio's interface. Stock asyncio copies every byte twice into a bytearray and
deletes from its front, which caps it at a third of what the protocol underneath delivers.
"""

from __future__ import annotations

import asyncio
import math
import select
import ssl
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .tcp import salvage
from .tls_errors import FOR_SERVER, Advice
from .tls_transport import TLSTransport

if TYPE_CHECKING:
    from .tls_pins import Pins
    from .tls_sessions import Resumption

HIGH_WATER = 262_144
"""Bytes buffered above which reading from the socket pauses; it goes on below half of them."""
_MOST_CHUNKS = 64
NEVER = math.inf


def _joined(chunks: list[bytes]) -> list[bytes]:
    """The same bytes in fewer chunks: neighbours together, as far as they stay within `HIGH_WATER`."""
    joined: list[bytes] = []
    group: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > HIGH_WATER:
            joined.append(b"".join(group))
            group.clear()
            size = len(chunk)
        group.append(chunk)
    joined.append(b"".join(group))
    return joined


class StreamReader(asyncio.StreamReader):
    """`asyncio.StreamReader` over a list of chunks.

    Beside asyncio's coroutines it has what the layers above need without suspending: `take`, `unread`, `waiter`.
    What arrived before the connection broke is handed out before the error is raised.
    """

    __slots__ = (
        "_chunks",
        "_deadline",
        "_error",
        "_event_loop",
        "_source",
        "_source_paused",
        "_timer",
        "_timer_when",
        "_wakeup",
        "buffered",
        "ended",
        "high_water",
        "on_activity",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=HIGH_WATER, loop=loop)
        self._event_loop = loop
        self._chunks: list[bytes] = []  # a deque takes 0.6 KiB when it is empty
        self.buffered = 0
        """Bytes that can be taken now."""
        self.ended = False
        """Whether nothing more will arrive (what is buffered can still be taken)."""
        self._error: BaseException | None = None
        self._wakeup: asyncio.Future[bool] | None = None
        self._deadline = NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._timer_when = NEVER
        self._source: asyncio.Transport | None = None
        self._source_paused = False
        self.high_water = HIGH_WATER
        """Bytes buffered above which reading pauses."""
        self.on_activity: Callable[[], None] | None = None
        """Called when something arrives, or the end comes, while nobody waits for it."""

    # --- fed by the protocol ---

    def set_transport(self, transport: asyncio.BaseTransport) -> None:
        self._source = transport  # type: ignore[assignment]

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        length = len(data)
        if length <= HIGH_WATER:
            self._chunks.append(data)
        else:
            # TLS may bring a record more than was read at once, and what was salvaged comes in one.
            self._chunks.extend(data[at : at + HIGH_WATER] for at in range(0, length, HIGH_WATER))
        self.buffered = size = self.buffered + length
        waiter = self._wakeup
        if waiter is not None and not waiter.done():
            self._wakeup = None
            waiter.set_result(True)
        else:
            self._wake()
            chunks = self._chunks
            if len(chunks) > _MOST_CHUNKS:
                # Tiny ones: each is an object of 33 bytes or more, and taking the first of many moves all the others.
                chunks[:] = _joined(chunks)
        if size > self.high_water and not self._source_paused and self._source is not None:
            self._source.pause_reading()
            self._source_paused = True

    def feed_eof(self) -> None:
        self.ended = True
        self._wake()

    def set_exception(self, exc: BaseException) -> None:
        self._error = exc
        self.feed_eof()

    def exception(self) -> Any:
        return self._error

    def _wake(self) -> None:
        waiter = self._wakeup
        if waiter is not None:
            self._wakeup = None
            if not waiter.done():
                waiter.set_result(True)
                return
        if self.on_activity is not None:
            self.on_activity()

    # --- without suspending ---

    def take(self) -> bytes:
        """The next chunk as it arrived, at most `HIGH_WATER` bytes of it; b"" when nothing is buffered."""
        if not self._chunks:
            return b""
        data = self._chunks.pop(0)
        self.buffered = size = self.buffered - len(data)
        if self._source_paused and size <= self.high_water // 2:
            self._resume_source()
        return data

    def unread(self, data: bytes) -> None:
        """Put bytes back in front of everything else."""
        if data:
            self._chunks.insert(0, data)
            self.buffered += len(data)

    def hold(self) -> list[bytes]:
        """Receive nothing until `release()`; what is there, taken."""
        if self._source is not None and not self._source_paused:
            self._source.pause_reading()
            self._source_paused = True
        chunks, self._chunks, self.buffered = self._chunks, [], 0
        return chunks

    def release(self) -> None:
        """Receive again."""
        if self._source_paused:
            self._resume_source()

    def _resume_source(self) -> None:
        self._source_paused = False
        if self._source is not None and not self._source.is_closing():
            self._source.resume_reading()

    def waiter(self, deadline: float = NEVER) -> asyncio.Future[bool]:
        """A future that becomes True when something arrives or the end comes, False at `deadline` (the loop's time).

        It is for one coroutine at a time, and only for when there is nothing to take. The timer behind it is left
        armed when the wait is over and set anew only when it fires early, or is needed earlier than it is armed for:
        0.1 µs a wait, against 3 to 5 µs for `asyncio.timeout`.
        """
        if self._wakeup is not None and not self._wakeup.done():
            raise RuntimeError("another coroutine is already waiting for this stream to receive data")
        self._wakeup = waiter = self._event_loop.create_future()
        if self.ended or self._chunks:
            self._wake()
        else:
            self._deadline = deadline
            if deadline < self._timer_when:
                self._arm(deadline)
        return waiter

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_when = when
        self._timer = self._event_loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_when = NEVER
        waiter = self._wakeup
        if waiter is None or waiter.done():
            return
        # uvloop counts whole milliseconds and may be early by one.
        if self._event_loop.time() + 0.001 >= self._deadline:
            self._wakeup = None
            waiter.set_result(False)
        elif self._deadline < NEVER:
            self._arm(self._deadline)

    def disarm(self) -> None:
        """Cancel the timer: the stream is being closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_when = NEVER

    # --- asyncio's interface ---

    def at_eof(self) -> bool:
        return self.ended and not self._chunks

    async def _more(self) -> bool:
        """Wait for something to take; False at the end of the stream."""
        if self._chunks:
            return True
        if not self.ended:
            await self.waiter()
            if self._chunks:
                return True
        if self._error is not None:
            raise self._error
        return False

    async def read(self, n: int = -1) -> bytes:
        if n == 0:
            return b""
        if n < 0:
            parts = []
            try:
                while await self._more():
                    parts.append(self.take())
            except BaseException:
                self.unread(b"".join(parts))
                raise
            return b"".join(parts)
        if not await self._more():
            return b""
        data = self.take()
        if len(data) > n:
            self.unread(data[n:])
            data = data[:n]
        return data

    async def readexactly(self, n: int) -> bytes:
        if n < 0:
            raise ValueError("readexactly size can not be less than zero")
        parts: list[bytes] = []
        left = n
        while left:
            try:
                more = await self._more()
            except BaseException:  # cancelled, or the connection broke: nothing is lost
                self.unread(b"".join(parts))
                raise
            if not more:
                raise asyncio.IncompleteReadError(b"".join(parts), n)
            data = await self.read(left)
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    async def readuntil(self, separator: Any = b"\n") -> bytes:
        separators = (separator,) if isinstance(separator, (bytes, bytearray)) else tuple(separator)
        if not separators or not all(separators):
            raise ValueError("Separator should be at least one-byte string")
        longest = max(map(len, separators))
        data = b""
        searched = 0
        while True:
            if ends := [(at + len(mark), at) for mark in separators if (at := data.find(mark, searched)) >= 0]:
                end, start = min(ends)
                if start > HIGH_WATER:
                    self.unread(data)
                    raise asyncio.LimitOverrunError("Separator is found, but chunk is longer than limit", start)
                self.unread(data[end:])
                return data[:end]
            searched = max(0, len(data) + 1 - longest)
            if searched > HIGH_WATER:
                self.unread(data)
                raise asyncio.LimitOverrunError("Separator is not found, and chunk exceed the limit", searched)
            try:
                more = await self._more()
            except BaseException:
                self.unread(data)
                raise
            if not more:
                raise asyncio.IncompleteReadError(data, None)
            data += self.take()

    async def readline(self) -> bytes:
        try:
            return await self.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError as error:
            # As asyncio does: a line that is there to its end is dropped, else all that is buffered is.
            data = self.take()
            if data.startswith(b"\n", error.consumed):
                self.unread(data[error.consumed + 1 :])
            else:
                while self.take():
                    pass
            raise ValueError(error.args[0]) from error

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    def __repr__(self) -> str:
        return f"<StreamReader {self.buffered} bytes buffered{', ended' if self.ended else ''}>"


class StreamWriter(asyncio.StreamWriter):
    """`asyncio.StreamWriter`; `start_tls` works on every loop, and inside TLS too."""

    def __init__(self, stream: Stream, transport: asyncio.Transport) -> None:
        super().__init__(transport, stream, stream.reader, stream.loop)
        self._stream = stream

    async def start_tls(
        self,
        sslcontext: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        async with asyncio.timeout(ssl_handshake_timeout):
            await self._stream.start_tls(sslcontext, server_hostname)

    def writelines(self, data: Iterable[Any]) -> None:
        # asyncio's transports never ask for a pause here in Python 3.12 and 3.13: drain() would not wait.
        self._transport.write(b"".join(data))

    def replace_transport(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __del__(self, *_: object) -> None:
        """Nothing: the connection owns the transport, and says so when it is dropped unclosed."""


class Stream(asyncio.Protocol):
    """A byte stream to a server: the protocol under `reader` and `writer`, and what their owner needs of both.

    Made by `net.dial`. One owner at a time; not safe for two readers at once. `abort()` may be called in any state,
    ends every wait, and leaves neither socket nor timer behind.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_descriptor",
        "_drain_waiters",
        "_loss",
        "_poll",
        "_wake_on_resume",
        "_write_paused",
        "_writer",
        "data_received",
        "loop",
        "lost",
        "reader",
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.reader = StreamReader(loop)
        self._writer: StreamWriter | None = None
        self.transport: asyncio.Transport
        self.lost = False
        """Whether the connection is gone, by either side."""
        self._descriptor = -1
        self._poll: Any = None
        self._write_paused = False
        self._wake_on_resume = False
        self._drain_waiters: list[asyncio.Future[None]] = []  # an empty deque takes 0.6 KiB
        self._closed: asyncio.Future[None] | None = None
        self._loss: BaseException | None = None
        # An attribute of the instance: one call less for every chunk that arrives.
        self.data_received = self.reader.feed_data  # type: ignore[method-assign]

    # --- protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]
        self._descriptor = transport.get_extra_info("socket").fileno()
        self.reader.set_transport(transport)

    def eof_received(self) -> bool:
        self.reader.feed_eof()
        # The owner decides: an answer may be complete, and what is still to be sent may matter to the peer.
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.lost:
            return
        self.lost = True
        if exc is not None and self.tls is None and (rest := salvage(self._descriptor)):
            self.reader.feed_data(rest)
        self._poll = None
        self._loss = exc or self._loss
        if exc is not None:
            self.reader.set_exception(exc)
        else:
            self.reader.feed_eof()
        self.reader.disarm()
        self._writer = None  # whoever has it keeps it; a circle would wait for the garbage collector
        for waiter in self._drain_waiters:
            if not waiter.done():
                waiter.set_exception(exc or ConnectionResetError("Connection lost"))
        self._drain_waiters.clear()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        for waiter in self._drain_waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._drain_waiters.clear()
        if self._wake_on_resume:
            self._wake_on_resume = False
            self.reader._wake()

    # --- asyncio.StreamWriter's private wishes of its protocol ---

    async def _drain_helper(self) -> None:
        if self.lost:
            raise ConnectionResetError("Connection lost")
        if not self._write_paused:
            return
        waiter: asyncio.Future[None] = self.loop.create_future()
        self._drain_waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._drain_waiters:
                self._drain_waiters.remove(waiter)

    def _get_close_waiter(self, stream: object) -> asyncio.Future[None]:
        if self._closed is None:
            self._closed = self.loop.create_future()
            if self.lost:
                self._closed.set_result(None)
        return self._closed

    # --- for the owner ---

    @property
    def writer(self) -> StreamWriter:
        """The stream to write to; made when it is asked for: most connections of a pool never are."""
        if self._writer is None:
            self._writer = StreamWriter(self, self.transport)
        return self._writer

    @property
    def loss(self) -> BaseException | None:
        """Why the connection is gone, None if it ended in order or is still there."""
        return self._loss

    @property
    def must_drain(self) -> bool:
        """Whether the peer has to take some of what was written before more is written."""
        return self._write_paused

    def drain_waiter(self, deadline: float = NEVER) -> asyncio.Future[bool]:
        """A future that becomes True when more may be written, or when something arrives; False at `deadline`."""
        self._wake_on_resume = True
        return self.reader.waiter(deadline)

    @property
    def tls(self) -> TLSTransport | None:
        """The TLS layer on top, if there is one."""
        return self.transport if isinstance(self.transport, TLSTransport) else None

    @property
    def truncated(self) -> bool:
        """Whether TLS ended without the peer's close_notify: the end may be an attacker's (RFC 8446 section 6.1)."""
        tls = self.tls
        return tls is not None and not tls.close_notify_received

    @property
    def bare_socket(self) -> int | None:
        """The descriptor of the socket, if what it receives is what `reader` is given; else, and once the end has come,
        None."""
        if self.tls is not None or self.lost or self.reader.ended or self.transport.is_closing():
            return None
        return self._descriptor

    def receive_ahead(self, size: int = HIGH_WATER) -> None:
        """Have so many bytes received ahead of whoever reads, and about as many at once where that can be said: through
        TLS. (Loops read up to 256 KiB from a bare socket.)"""
        self.reader.high_water = size
        if self.tls is not None:
            self.tls.receive_at_once(size)

    def broke(self, error: OSError) -> None:
        """The socket said so to somebody who read from it himself, and says it only once."""
        if not self.lost:
            self._loss = error
            self.abort()

    def is_stale(self) -> bool:
        """Whether an idle connection must not be used any more: closed by the peer, or holding bytes nobody asked for.

        A busy loop may not have read yet what has arrived, so the socket itself is looked at: 0.5 µs.
        """
        reader = self.reader
        if self.lost or reader.ended or reader.buffered or self.transport.is_closing():
            return True
        poll = self._poll
        if poll is None:
            if not hasattr(select, "poll"):
                return bool(select.select([self._descriptor], [], [], 0)[0])
            self._poll = poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(0):
            return False
        tls = self.tls
        return tls is None or not tls.look() or self.lost or reader.ended or bool(reader.buffered)

    async def start_tls(
        self,
        context: ssl.SSLContext,
        server_hostname: str | None,
        pins: Pins | None = None,
        resumption: Resumption | None = None,
        advice: Advice = FOR_SERVER,
    ) -> None:
        """Put TLS on top: `reader` and `writer` stay the same objects. Also on top of TLS.

        `pins`: digests of which one must be that of the server's public key, None for any. `resumption`: the earlier
        sessions. `advice`: what a refusal says can be done about it. Raises `TLSError`. Bytes that were received in the
        clear and not read are refused: whoever sent them is not the peer of the session.
        """
        transport = self.transport
        if self.reader.buffered:
            raise ConnectionError("received bytes in the clear before TLS began")
        layer = TLSTransport(self.loop, transport, self, context, server_hostname, self._descriptor, resumption, advice)
        await layer.handshake()
        if pins is not None:
            layer.check_pins(pins)
        self.transport = layer
        self.reader.set_transport(layer)
        if self._writer is not None:
            self._writer.replace_transport(layer)

    def close(self) -> None:
        """Close in order if nothing is left to send, else abort."""
        if self.transport.get_write_buffer_size():
            self.abort()
        else:
            self.reader.disarm()
            self.transport.close()

    def abort(self, loss: BaseException | None = None) -> None:
        """Drop what is unsent, close the socket, and let nobody wait. `loss`: what is to become of who still reads."""
        if self._loss is None and not self.lost:
            # Whoever still reads must not take this for the end of the body.
            self._loss = loss or ConnectionAbortedError("it was closed on this side")
        self.reader.disarm()
        self.transport.abort()

    def __repr__(self) -> str:
        state = "lost" if self.lost else "closing" if self.transport.is_closing() else "open"
        return f"<Stream {state}{' TLS' if self.tls else ''} {self.transport.get_extra_info('peername')}>"
