"""Bodies that are streams: what can be read once, what can be read again, and how many bytes that will be.

Each is an async iterable of bytes; to iterate anew is to begin anew. `Request.rewind()` asks for a method `rewind`,
which only those have that can. One request may be sent several times at once (hedged ones are): each reading goes its
own way through the body, and whoever began it ends it, by the iterator's `aclose()`.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import stat
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias, TypeVar, cast
from weakref import WeakValueDictionary

from ..errors import BodyNotReplayable
from ..messages import BytesLike
from ..upload import SoleReading, body_pieces, checked_block

BLOCK = 262_144
"""Bytes that are read of a file at a time: each is a trip to a thread, some 50 µs."""

Pieces: TypeAlias = AsyncGenerator[BytesLike, None]


class OneTimeBody:
    """A body that can be read only once. `size` is its bytes, None where nobody knows.

    To begin to read it a second time is `BodyNotReplayable`: never is a half-read body sent as if it were whole.
    """

    __slots__ = ("_begun", "_pieces", "size")

    def __init__(self, pieces: Callable[[], Pieces], size: int | None = None) -> None:
        self._pieces = pieces
        self._begun = False
        self.size = size

    def _begin(self) -> None:
        if self._begun:
            raise BodyNotReplayable(
                "the body can be read only once, and has been; give it as bytes or as a seekable file"
            )
        self._begun = True

    def __aiter__(self) -> Pieces:
        self._begin()
        return self._pieces()


class ReplayableBody(OneTimeBody):
    """A body that can be read again, from where it began."""

    __slots__ = ("_rewind",)

    def __init__(
        self, pieces: Callable[[], Pieces], size: int | None = None, rewind: Callable[[], object] | None = None
    ) -> None:
        super().__init__(pieces, size)
        self._rewind = rewind

    def _begin(self) -> None:
        pass  # each reading sees itself to where it begins

    def rewind(self) -> None:
        """Put it back to where it began."""
        if self._rewind is not None:
            self._rewind()


class IteratorBody(OneTimeBody):
    """What a caller's iterable or async iterable of bytes, or object that can only `read`, gives."""

    __slots__ = ()

    def __init__(self, content: Any) -> None:
        super().__init__(lambda: _encoded(content) if hasattr(content, "read") else _iterated(content))


def stream_body(content: Any) -> OneTimeBody:
    """The body of a file object, a path, an iterable or an async iterable of bytes. Raises TypeError for anything else,
    OSError for a path that leads nowhere."""
    if isinstance(content, os.PathLike):
        return _path_body(content)
    if hasattr(content, "iter_bytes"):
        raise TypeError("the body of a response is sent on as content=response.iter_bytes(), or response.content")
    if hasattr(content, "read"):
        return _file_body(content)
    if isinstance(content, Sequence) and not isinstance(content, str):
        return ReplayableBody(lambda: _iterated(content))  # a list or tuple stays as it is
    if isinstance(content, dict) or not isinstance(content, (AsyncIterable, Iterable)):
        raise TypeError(
            "content must be bytes-like, str, a file, a path, or an iterable or async iterable of bytes, "
            f"not {type(content).__name__}"
        )
    return IteratorBody(content)


def bytes_body(data: bytes) -> ReplayableBody:
    """The body of bytes, as a part of another."""

    async def pieces() -> Pieces:
        view = memoryview(data)
        for at in range(0, len(view), BLOCK):
            yield view[at : at + BLOCK]

    return ReplayableBody(pieces, len(data))


def joined_body(parts: Sequence[OneTimeBody]) -> OneTimeBody:
    """Bodies one after the other as one: known in size, and replayable, if all of them are."""
    known = [part.size for part in parts if part.size is not None]
    size = sum(known) if len(known) == len(parts) else None

    async def pieces() -> Pieces:
        for part in parts:
            async with aclosing(aiter(part)) as reading:
                async for piece in reading:
                    yield piece

    if all(isinstance(part, ReplayableBody) for part in parts):

        def rewind() -> None:
            for part in parts:
                assert isinstance(part, ReplayableBody)
                part.rewind()

        return ReplayableBody(pieces, size, rewind)
    return OneTimeBody(pieces, size)


def _iterated(content: Any) -> Pieces:
    return cast("Pieces", body_pieces(content, BLOCK))


# --- files ------------------------------------------------------------------------------------------------------------


def _file_body(file: Any) -> OneTimeBody:
    text = isinstance(file, io.TextIOBase) or isinstance(getattr(file, "encoding", None), str)
    if inspect.iscoroutinefunction(file.read) or inspect.iscoroutinefunction(getattr(file, "seek", None)):
        return _async_file_body(file)
    shared = _shared(file, _open_files, _OpenFile)
    start, size = shared.span(text)
    if start is None:
        return IteratorBody(file)
    begin = start

    def pieces() -> Pieces:
        return _blocks(shared, _Reading(begin, size, text))

    # Back at once, so that a closed file is an error before anything is sent.
    return ReplayableBody(pieces, size, lambda: shared.rewind(begin))


def _path_body(path: os.PathLike[Any]) -> ReplayableBody:
    information = os.stat(path)
    if not stat.S_ISREG(information.st_mode):
        raise ValueError(f"not a regular file: {os.fspath(path)!r}; open it, and give what `open` returns")

    async def pieces() -> Pieces:
        # Unbuffered: it is read in large blocks.
        file = _OpenFile(open(path, "rb", buffering=0))  # noqa: ASYNC230, SIM115 - some 20 µs; a thread's result could get lost
        try:
            async with aclosing(_blocks(file, _Reading(0, None, False))) as blocks:
                async for block in blocks:
                    yield block
        finally:
            file.close()

    return ReplayableBody(pieces, information.st_size)


def _async_file_body(file: Any) -> OneTimeBody:
    """A file whose methods are awaited, aiofiles' for one: where it begins is known when it is first read."""
    if not hasattr(file, "seek") or not hasattr(file, "tell") or not _seekable_by_number(file):
        return IteratorBody(file)
    shared = _shared(file, _open_async_files, _OpenAsyncFile)
    known: list[Any] = []

    async def pieces() -> Pieces:
        reading = _AsyncReading(known)
        shared.readings.append(reading)
        try:
            while block := await shared.block(reading):
                yield block
        finally:
            reading.ended = True
            shared.readings.remove(reading)

    return ReplayableBody(pieces)


async def _encoded(file: Any) -> Pieces:
    """A file's blocks from where it stands, text in UTF-8 (connections send it in latin-1, as `http.client` does)."""
    is_async = inspect.iscoroutinefunction(file.read)
    with SoleReading(file):
        while True:
            block = file.read(BLOCK) if is_async else await asyncio.to_thread(file.read, BLOCK)
            block = checked_block(await block if inspect.isawaitable(block) else block)
            if not block:
                return
            yield block.encode() if isinstance(block, str) else block


class _Reading:
    """One way through a file: where it began, how many bytes that will be, where it is.

    Where text stands is no count, and costly to ask: `at` of text is set only when another reading moves the file.
    """

    __slots__ = ("at", "ended", "size", "start", "text")

    def __init__(self, start: int, size: int | None, text: bool) -> None:
        self.start = start
        self.size = size
        self.at = start
        self.text = text
        self.ended = False


class _OpenFile:
    """A file, as all share it who read it at the same time, for one request or for several.

    It is read in a thread unless it is in memory. A cancelled request leaves its thread reading; so every block is
    sought and read under a lock, and closing waits for nobody: whoever comes out last does it.
    """

    __slots__ = ("__weakref__", "_at_work", "_closing", "_lock", "file", "in_memory", "readings")

    def __init__(self, file: Any) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._at_work: _Reading | None = None  # of text: who left the file where it stands
        self._closing = False
        self.in_memory = isinstance(file, (io.BytesIO, io.StringIO))
        self.readings: list[_Reading] = []
        """Those under way."""

    def span(self, text: bool) -> tuple[int | None, int | None]:
        """Where a body begins that is made of the file now (None if it cannot be put back there), and its size."""
        if self.readings:
            # Where it stands is the readings' affair: it would be anywhere.
            reading = self.readings[-1]
            return reading.start, reading.size
        with self._lock:
            start = _position(self.file)
            return start, None if text or start is None else _size(self.file, start)

    def block(self, reading: _Reading) -> bytes:
        with self._lock:
            file = self.file
            if not reading.text:
                file.seek(reading.at)
                data = checked_block(file.read(BLOCK))
                reading.at += len(data)
            else:
                if self._at_work is not reading:
                    self._save()
                    file.seek(reading.at)
                    self._at_work = reading
                data = checked_block(file.read(BLOCK))
        if self._closing:
            self.close()
        return data.encode() if isinstance(data, str) else data

    def rewind(self, start: int) -> None:
        # Held by a thread, it is open, and it stands where that one wants it.
        if self._lock.acquire(blocking=False):
            try:
                self._save()
                self.file.seek(start)
            finally:
                self._lock.release()

    def _save(self) -> None:
        """Note how far the reading has come that was last at work, before the file is moved."""
        last = self._at_work
        if last is not None and not last.ended:
            last.at = self.file.tell()
        self._at_work = None  # not before: if that fails, the other goes on

    def close(self) -> None:
        self._closing = True
        if self._lock.acquire(blocking=False):
            try:
                self.file.close()
            finally:
                self._lock.release()


async def _blocks(file: _OpenFile, reading: _Reading) -> Pieces:
    file.readings.append(reading)
    try:
        while block := file.block(reading) if file.in_memory else await asyncio.to_thread(file.block, reading):
            yield block
    finally:
        reading.ended = True
        file.readings.remove(reading)


class _AsyncReading:
    """One way through an asynchronous file. `known` is where its body begins, empty until that was asked; `at` is set
    when another reading moves the file."""

    __slots__ = ("at", "ended", "known")

    def __init__(self, known: list[Any]) -> None:
        self.known = known
        self.at: Any = None
        self.ended = False


class _OpenAsyncFile:
    """A file whose methods are awaited, as all share it who read it at the same time."""

    __slots__ = ("__weakref__", "_at_work", "_is_async", "_lock", "_running", "file", "readings")

    def __init__(self, file: Any) -> None:
        self.file = file
        self._is_async = inspect.iscoroutinefunction(file.read)
        self._lock = asyncio.Lock()
        self._at_work: _AsyncReading | None = None  # who left the file where it stands
        self._running: asyncio.Future[Any] | None = None
        self.readings: list[_AsyncReading] = []
        """Those under way."""

    async def block(self, reading: _AsyncReading) -> bytes:
        async with self._lock:
            if self._running is not None and not self._running.done():
                await asyncio.wait((self._running,))  # a cancelled reading's: it may still move the file
            if self._at_work is not reading:
                await self._turn_to(reading)
            file = self.file
            read = file.read(BLOCK) if self._is_async else asyncio.to_thread(file.read, BLOCK)
            block = checked_block(await self._done(await self._done(read)))
        return block.encode() if isinstance(block, str) else block

    async def _turn_to(self, reading: _AsyncReading) -> None:
        """Have the file stand where a reading has come to."""
        file, last = self.file, self._at_work
        if not reading.known:
            # While others read it, it may stand anywhere.
            known = next((other.known for other in self.readings if other.known), None)
            if known is None:
                reading.known.append(await self._done(file.tell()))
                self._at_work = reading
                return
            reading.known.append(known[0])
        if last is not None and not last.ended:
            last.at = await self._done(file.tell())
        self._at_work = None  # cancelled in the midst, it stands nowhere
        await self._done(file.seek(reading.known[0] if reading.at is None else reading.at))
        self._at_work = reading

    async def _done(self, operation: Any) -> Any:
        """What an operation comes to. Cancelled, it goes on in its thread: the next one waits for it."""
        if not inspect.isawaitable(operation):
            return operation
        self._running = running = asyncio.ensure_future(operation)
        return await asyncio.shield(running)


_Shared = TypeVar("_Shared", _OpenFile, _OpenAsyncFile)
_open_files: WeakValueDictionary[int, _OpenFile] = WeakValueDictionary()
_open_async_files: WeakValueDictionary[int, _OpenAsyncFile] = WeakValueDictionary()


def _shared(file: Any, known: WeakValueDictionary[int, _Shared], make: Callable[[Any], _Shared]) -> _Shared:
    """What all bodies of a file share. By its id: not every file can be hashed; what is found holds it."""
    shared = known.get(id(file))
    if shared is None:
        shared = known[id(file)] = make(file)
    return shared


# --- where a file stands, and how much is left of it ------------------------------------------------------------------


def _position(file: Any) -> int | None:
    """Where a file stands, None if it cannot be put back there."""
    try:
        seekable = getattr(file, "seekable", None)
        if (seekable is not None and not seekable()) or not callable(file.seek):
            return None
        at = file.tell()
    except (AttributeError, OSError):
        return None
    return at if isinstance(at, int) else None


def _size(file: Any, start: int) -> int | None:
    """Bytes from where a binary file stands to its end, None if that cannot be known without reading it."""
    try:
        if isinstance(file, io.BytesIO):
            end = file.getbuffer().nbytes
        elif isinstance(file, io.BufferedIOBase) and not isinstance(getattr(file, "raw", None), io.FileIO):
            return None  # what unpacks (gzip, a member of a zip) would have to be read to its end to be measured
        elif isinstance(file, (io.FileIO, io.BufferedReader, io.BufferedRandom)):
            information = os.fstat(file.fileno())
            if not stat.S_ISREG(information.st_mode):
                return None
            end = information.st_size
        else:
            # tempfile's, mmap's, a caller's own.
            file.seek(0, os.SEEK_END)
            end = file.tell()
            file.seek(start)
        return max(0, end - start)
    except (AttributeError, OSError, ValueError, TypeError):
        return None


def _seekable_by_number(file: Any) -> bool:
    """Whether an asynchronous file is on a disk; those that do not tell are asked when they are read."""
    try:
        mode = os.fstat(file.fileno()).st_mode
    except (AttributeError, OSError, ValueError, TypeError):
        return True
    return stat.S_ISREG(mode)
