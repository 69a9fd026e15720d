"""A request's body on its way out: every kind of body as pieces, framed, counted, sent no faster than it is taken."""

from __future__ import annotations

import asyncio
import errno
import inspect
import io
import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable
from typing import IO, TYPE_CHECKING, Any, TypeGuard

from .errors import BodyLengthMismatch, BodyNotReplayable, HTTPException, TLSError, WriteError, WriteTimeout
from .wire.framing import LAST_CHUNK, encode_chunk

if TYPE_CHECKING:
    from .config import Deadline
    from .messages import BytesLike
    from .net.stream import Stream

_SLICE = 262_144
"""Bytes of a body in memory that are written at once: between slices the peer's answer and its pace are looked at."""
_TURN = 1_048_576
"""Bytes after which the loop gets a turn, though the peer takes all at once and the body never waits: else its answer,
the end of the connection and everybody else would wait for the end of the body."""


def is_bytes_like(body: object) -> TypeGuard[BytesLike]:
    return isinstance(body, (bytes, bytearray, memoryview))


def encode_text(body: str) -> bytes:
    """A str body as `http.client` sends it: latin-1."""
    try:
        return body.encode("latin-1")
    except UnicodeEncodeError as error:
        raise UnicodeEncodeError(
            error.encoding,
            error.object,
            error.start,
            error.end,
            "a str body is sent as latin-1; encode it to bytes, e.g. body.encode('utf-8')",
        ) from error


def body_length(body: object) -> int | None:
    """Bytes of the body where that is known without reading it: bytes-like and str, 0 for None."""
    if body is None:
        return 0
    if isinstance(body, memoryview):
        return body.nbytes
    if is_bytes_like(body):
        return len(body)
    if isinstance(body, str):
        return len(encode_text(body))
    return None


async def body_pieces(body: Any, blocksize: int) -> AsyncIterator[BytesLike]:
    """The body in pieces as they come, empty ones left out.

    Files are read in blocks of `blocksize`, those on disk in a thread, so that a slow disk does not hold up the loop;
    what their `read` returns may be awaitable, as aiofiles' is. Whoever is done with the pieces before their end closes
    them, and a generator of the body's with them: that of this reading, never another's of the same body.

    Raises TypeError for what cannot be sent, BlockingIOError for a file that has nothing to read yet,
    `BodyNotReplayable` for an iterator or a file that is being read for another request, or a generator that has ended.
    """
    if isinstance(body, str):
        body = encode_text(body)
    if is_bytes_like(body):
        view = memoryview(body).cast("B")
        for at in range(0, len(view), _SLICE):
            yield view[at : at + _SLICE]
    elif hasattr(body, "read"):
        with SoleReading(body):
            async for block in _file_blocks(body, blocksize):
                yield block
    elif isinstance(body, AsyncIterable):
        pieces = aiter(body)
        with SoleReading(pieces):
            try:
                async for piece in pieces:
                    if checked := _checked(piece):
                        yield checked
            finally:
                if (aclose := getattr(pieces, "aclose", None)) is not None:
                    await aclose()
    elif isinstance(body, Iterable) and not isinstance(body, dict):
        each = iter(body)
        with SoleReading(each):
            try:
                for piece in each:
                    if checked := _checked(piece):
                        yield checked
            finally:
                if isinstance(each, Generator):
                    each.close()
    else:
        raise TypeError(
            "a body must be bytes-like, str, a file, or an iterable or async iterable of bytes, "
            f"not {type(body).__name__}"
        )


_being_read: set[int] = set()


class SoleReading:
    """Within it nobody else may take from `source`: each of two readers would get a part of the body, and send it as if
    it were the whole. Raises `BodyNotReplayable` for the second, and for a generator that has ended."""

    __slots__ = ("_key",)

    def __init__(self, source: object) -> None:
        self._key = key = id(source)  # kept from being another's by the reference that the reader holds
        if key in _being_read:
            raise BodyNotReplayable(
                "the body can be read only once, and is being read for another request; give each a body of its own"
            )
        if getattr(source, "gi_frame", key) is None or getattr(source, "ag_frame", key) is None:
            raise BodyNotReplayable("the body can be read only once, and has been: its generator has ended")

    def __enter__(self) -> None:
        _being_read.add(self._key)

    def __exit__(self, *exc: object) -> None:
        _being_read.discard(self._key)


def _checked(piece: object) -> BytesLike:
    if isinstance(piece, bytes):
        return piece
    if is_bytes_like(piece):
        return memoryview(piece).cast("B")
    raise TypeError(f"the pieces of a body must be bytes-like, not {type(piece).__name__}")


def checked_block(block: Any) -> Any:
    """What a file's `read` returned. Raises BlockingIOError for None: there may be more, but not yet."""
    if block is None:
        raise BlockingIOError(
            errno.EAGAIN,
            "a body's read() returned None: the file is non-blocking, and has nothing to read yet; "
            "give one that blocks, or an async iterable of bytes",
        )
    return block


async def _file_blocks(file: IO[bytes] | IO[str], blocksize: int) -> AsyncIterator[BytesLike]:
    read: Callable[[int], Any] = file.read
    in_memory = isinstance(file, (io.BytesIO, io.StringIO))
    is_async = inspect.iscoroutinefunction(read)
    while True:
        block = read(blocksize) if in_memory or is_async else await asyncio.to_thread(read, blocksize)
        if inspect.isawaitable(block):
            block = await block
        if not checked_block(block):
            return
        yield encode_text(block) if isinstance(block, str) else block


async def _chained(*sources: AsyncIterator[BytesLike]) -> AsyncIterator[BytesLike]:
    try:
        for pieces in sources:
            async for piece in pieces:
                yield piece
    finally:
        for pieces in sources:
            await pieces.aclose()  # type: ignore[attr-defined]


class Upload:
    """Sends one body over a stream, framed by chunks or counted against its declared length.

    `watch` is called whenever something has arrived meanwhile, and says whether to go on; None when somebody else reads
    what arrives. `run` returns whether the body was sent to its end. When it raises, the connection is of no more use.
    """

    __slots__ = (
        "_blocksize",
        "_chunked",
        "_deadline",
        "_declared",
        "_pieces",
        "_show",
        "_stream",
        "partial",
        "sent",
        "watch",
    )

    def __init__(
        self,
        stream: Stream,
        body: Any,
        *,
        chunked: bool,
        declared: int | None,
        blocksize: int,
        deadline: Deadline,
        watch: Callable[[], bool] | None,
        show: Callable[[bytes], None] | None = None,
    ) -> None:
        self._stream = stream
        self._blocksize = blocksize
        self._show = show
        self._pieces = body_pieces(body, blocksize)
        self._chunked = chunked
        self._declared = declared
        self._deadline = deadline
        self.sent = 0
        """Bytes of the body handed to the transport."""
        self.partial = False
        """Whether more of the body may follow: then it is no error that this is shorter than declared."""
        self.watch = watch

    @property
    def complete(self) -> bool:
        """Whether as much was sent as was declared."""
        return self._declared is None or self.sent == self._declared

    def add(self, body: Any) -> None:
        """Have more sent after what is still to be sent. Not while `run` is running."""
        self._pieces = _chained(self._pieces, body_pieces(body, self._blocksize))

    async def run(self) -> bool:
        """Send what is left of the body. May be called again after it returned False, to go on."""
        at = self._deadline.at
        if at == math.inf:
            return await self._run()
        limit = asyncio.timeout_at(at)
        try:
            # A body that comes slowly keeps the peer waiting, not us: the end of all time must reach into its iterator.
            async with limit:
                return await self._run()
        except TimeoutError as error:
            if not limit.expired() or isinstance(error, HTTPException):
                raise
            raise self._deadline.expiry(WriteTimeout, at, None) from error

    async def _run(self) -> bool:
        stream = self._stream
        write = stream.transport.write
        turn = _TURN
        async for piece in self._pieces:
            # Lost meanwhile: uvloop answers a write with a RuntimeError of its own.
            if stream.lost and not await self._may_go_on():
                return False
            self.sent += len(piece)
            # Joined: asyncio's writelines never asks for a pause in Python 3.12 and 3.13, and so would buffer all.
            data = b"".join(encode_chunk(piece)) if self._chunked else piece  # type: ignore[arg-type]
            if self._show is not None:
                self._show(bytes(data))
            if not self._chunked and self._declared is not None and self.sent > self._declared:
                raise BodyLengthMismatch(
                    f"the body is longer than its Content-Length of {self._declared}: at least {self.sent} bytes"
                )
            write(data)
            if self.sent >= turn:
                turn = self.sent + _TURN
                await asyncio.sleep(0)
            arrived = self.watch is not None and stream.reader.buffered
            if (stream.must_drain or arrived or stream.lost) and not await self._may_go_on():
                return False
        if not self.complete and not self.partial and not self._chunked:
            raise BodyLengthMismatch(
                f"the body is shorter than its Content-Length of {self._declared}: {self.sent} bytes"
            )
        if stream.lost and not await self._may_go_on():
            return False
        if self._chunked:
            if self._show is not None:
                self._show(LAST_CHUNK)
            write(LAST_CHUNK)
        return True

    async def _may_go_on(self) -> bool:
        """Wait for the peer to take what was written, with an eye on what it sends meanwhile."""
        stream = self._stream
        while True:
            if self.watch is not None and not self.watch():
                return False
            if stream.lost:
                if isinstance(stream.loss, TLSError):
                    raise stream.loss  # the server refuses the client's certificate: in TLS 1.3 while it is sent to
                raise WriteError(f"the connection broke while the body was sent: {stream.loss}") from stream.loss
            if not stream.must_drain:
                return True
            now = stream.loop.time()
            if not await self._wait(min(now + self._deadline.write, self._deadline.at)):
                raise self._deadline.expiry(WriteTimeout, stream.loop.time(), None)

    async def _wait(self, deadline: float) -> bool:
        """Wait until more may be written, or something has arrived; False at `deadline`."""
        if self.watch is not None:
            return await self._stream.drain_waiter(deadline)
        try:
            async with asyncio.timeout_at(None if deadline == math.inf else deadline):
                await self._stream.writer.drain()
        except TimeoutError:
            return False
        except ConnectionError:
            pass  # `_may_go_on` looks at the stream
        return True

    async def close(self) -> None:
        """The body will not be sent to its end: let its iterator clean up."""
        await self._pieces.aclose()  # type: ignore[attr-defined]
