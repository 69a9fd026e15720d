"""Bodies that are streams: what can be read once, what can be read again, and how many bytes that will be.

Each is an async iterable of bytes; to iterate anew is to begin anew. `Request.rewind()` asks for a method `rewind`,
which only those have that can.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import stat
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from typing import Any, TypeAlias

from ..errors import BodyNotReplayable
from ..messages import BytesLike
from ..upload import body_pieces

BLOCK = 262_144
"""Bytes that are read of a file at a time: each is a trip to a thread, some 50 µs."""

Pieces: TypeAlias = AsyncGenerator[BytesLike, None]


class OneTimeBody:
    """A body that can be read only once. `size` is its bytes, None where nobody knows.

    To begin to read it a second time is `BodyNotReplayable`: never is a half-read body sent as if it were whole.
    """

    __slots__ = ("_begun", "_pieces", "_running", "size")

    def __init__(self, pieces: Callable[[], Pieces], size: int | None = None) -> None:
        self._pieces = pieces
        self._begun = False
        self._running: Pieces | None = None
        self.size = size

    def _begin(self) -> None:
        if self._begun:
            raise BodyNotReplayable(
                "the body can be read only once, and has been; give it as bytes or as a seekable file"
            )
        self._begun = True

    def __aiter__(self) -> Pieces:
        self._begin()
        self._running = self._pieces()
        return self._running

    async def aclose(self) -> None:
        """End a reading that was broken off."""
        running, self._running = self._running, None
        if running is not None:
            await running.aclose()


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

    __slots__ = ("_content",)

    def __init__(self, content: Any) -> None:
        super().__init__(lambda: _encoded(content) if hasattr(content, "read") else _iterated(content))
        self._content = content

    async def aclose(self) -> None:
        """End the reading, and the caller's generator with it, if it is an asynchronous one."""
        await super().aclose()
        aclose = getattr(self._content, "aclose", None)
        if aclose is not None and not hasattr(self._content, "read"):
            await aclose()


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
            try:
                async for piece in part:
                    yield piece
            finally:
                await part.aclose()

    if all(isinstance(part, ReplayableBody) for part in parts):

        def rewind() -> None:
            for part in parts:
                assert isinstance(part, ReplayableBody)
                part.rewind()

        return ReplayableBody(pieces, size, rewind)
    return OneTimeBody(pieces, size)


async def _iterated(content: Any) -> Pieces:
    async for piece in body_pieces(content, BLOCK):
        yield piece


# --- files ------------------------------------------------------------------------------------------------------------


def _file_body(file: Any) -> OneTimeBody:
    text = isinstance(file, io.TextIOBase) or isinstance(getattr(file, "encoding", None), str)
    if inspect.iscoroutinefunction(file.read) or inspect.iscoroutinefunction(getattr(file, "seek", None)):
        return _async_file_body(file)
    start = _position(file)
    if start is None:
        return IteratorBody(file)
    size = None if text else _size(file, start)
    lock = threading.Lock()  # one for all readings: a request may be sent several times at once

    def pieces() -> Pieces:
        return _read(_Reading(file, start, text, lock))

    # Back at once, so that a closed file is an error before anything is sent.
    return ReplayableBody(pieces, size, lambda: file.seek(start))


def _path_body(path: os.PathLike[Any]) -> ReplayableBody:
    information = os.stat(path)
    if not stat.S_ISREG(information.st_mode):
        raise ValueError(f"not a regular file: {os.fspath(path)!r}; open it, and give what `open` returns")

    async def pieces() -> Pieces:
        # Unbuffered: it is read in large blocks.
        file = open(path, "rb", buffering=0)  # noqa: ASYNC230, SIM115 - some 20 µs; a thread's result could get lost
        reading = _Reading(file, 0, False, threading.Lock())
        try:
            async for block in _read(reading):
                yield block
        finally:
            reading.close()

    return ReplayableBody(pieces, information.st_size)


def _async_file_body(file: Any) -> OneTimeBody:
    """A file whose methods are awaited, aiofiles' for one: where it begins is known when it is first read."""
    if not hasattr(file, "seek") or not hasattr(file, "tell") or not _seekable_by_number(file):
        return IteratorBody(file)
    start: list[Any] = []

    async def pieces() -> Pieces:
        if start:
            await file.seek(start[0])
        else:
            start.append(await _awaited(file.tell()))
        async for block in _encoded(file):
            yield block

    return ReplayableBody(pieces)


async def _encoded(file: Any) -> Pieces:
    """A file's blocks from where it stands, text in UTF-8 (connections send it in latin-1, as `http.client` does)."""
    is_async = inspect.iscoroutinefunction(file.read)
    while True:
        block = file.read(BLOCK) if is_async else await asyncio.to_thread(file.read, BLOCK)
        block = await _awaited(block)
        if not block:
            return
        yield block.encode() if isinstance(block, str) else block


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class _Reading:
    """One way through a file, in a thread unless the file is in memory.

    A cancelled request leaves its thread reading; so every block of a binary file is sought and read under a lock, and
    closing waits for nobody: whoever comes out last does it.
    """

    __slots__ = ("_at", "_closing", "_file", "_lock", "_text", "in_memory")

    def __init__(self, file: Any, start: int, text: bool, lock: threading.Lock) -> None:
        self._file = file
        self._at: int | None = start
        self._text = text
        self._lock = lock
        self._closing = False
        self.in_memory = isinstance(file, (io.BytesIO, io.StringIO))

    def block(self) -> bytes:
        with self._lock:
            if self._at is not None:
                self._file.seek(self._at)
            data = self._file.read(BLOCK)
            if self._text:
                self._at = None  # where text stands is no count: from here on it is read in turn
            elif self._at is not None:
                self._at += len(data)
        if self._closing:
            self.close()
        return data.encode() if isinstance(data, str) else data

    def close(self) -> None:
        self._closing = True
        if self._lock.acquire(blocking=False):
            try:
                self._file.close()
            finally:
                self._lock.release()


async def _read(reading: _Reading) -> Pieces:
    while block := reading.block() if reading.in_memory else await asyncio.to_thread(reading.block):
        yield block


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
