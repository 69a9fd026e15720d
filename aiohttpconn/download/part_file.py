"""A file on its way: ``NAME.part`` with its sidecar ``NAME.part.jsonl``, renamed to ``NAME`` when it is complete.

What blocks is done in threads (by aiofiles), and a thread that is writing cannot be called back: whoever is cancelled
meanwhile goes at once, and `close()` waits for the thread.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiofiles.os

from .. import flock
from ..errors import DownloadError
from .file_name import shortened
from .sidecar import NO_LINK, Sidecar, State
from .spans import Spans

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from .pump import Pump
    from .write_buffer import Run, WriteBuffer

T = TypeVar("T")
_AT_ONCE: Final = 512
"""Pieces that one system call is given: POSIX takes 1,024."""
_READ: Final = 1 << 20
_HASHED: Final = 32 << 20
"""Bytes that a thread hashes before it asks whether it should go on: some 20 to 60 ms."""
_NOTED: Final = 256 << 10
"""Bytes that are pumped between two notes, at least: 10 µs each. A kill loses them, and what the pipe holds."""
_NAME_MAX: Final = 255


class BeingWritten(DownloadError):
    """Another download is writing the half file."""


class PartFile:
    """One half file, for one download.

    - `path`: where the complete file will be.
    - `sync`: whether what is noted, and the complete file, has to be on the disk, so that it is there after a power cut
      too. A note takes 1 to 10 ms then, and all of it no less time than the disk takes.
    """

    def __init__(self, path: str, sync: bool = False) -> None:
        self.path = path
        self._sync = sync
        folder, name = os.path.split(path)
        if len(name.encode("utf-8", "surrogateescape")) <= _NAME_MAX:
            # One that could not be made for its length is left as it is, and the error will name it.
            mark = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
            longest = len((name + ".part.jsonl.new").encode("utf-8", "surrogateescape"))
            name = name if longest <= _NAME_MAX else shortened(name, 200) + mark
        self.part = os.path.join(folder, name + ".part")
        self._sidecar = Sidecar(self.part + ".jsonl")
        self.spans = Spans()
        """What has been written."""
        self.state: State | None = None
        """Which file it is of; None while that is not known, or if it could not be gone on with."""
        self._descriptor = -1
        self._lock = threading.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self.unwritten: WriteBuffer | None = None

    # --- in the loop ---

    async def load(self) -> State | None:
        """Open the half file of an earlier run, if there is one that can be gone on with."""
        return await self._in_thread(self._load)

    async def begun(self) -> State | None:
        """What an earlier run began it as; None if there is no half file."""
        if not os.path.lexists(self._sidecar.path):  # noqa: ASYNC240 - 3 µs; a thread, 110
            return None
        return await self._in_thread(self._begun)

    async def start_over(self, state: State | None) -> None:
        """Begin with nothing. `state` is None for a file that no other run could go on with.

        Raises `BeingWritten` if another download writes it, and OSError.
        """
        cancelled = await self._settled()  # what is still being written belongs to what was there before
        if cancelled is not None:
            raise cancelled
        self.unwritten = None
        await self._in_thread(self._start_over, state)

    async def describe(self, state: State) -> None:
        """More has become known."""
        await self._in_thread(self._describe, state)

    def write(self, runs: Sequence[Run]) -> asyncio.Task[None]:
        """Begin to write; the task is done when it is written, and noted."""
        return self._start(self._write, runs)

    def pump(self, pump: Pump, offset: int, room: Callable[[int], int]) -> asyncio.Task[int]:
        """Begin a turn of the pump; the task is done when what it brought is written, and noted: so many bytes."""
        return self._start(self._pump, pump, offset, room)

    async def hash(self, hasher: Any, start: int, end: int) -> None:
        """Give the bytes [start, end) to something with `update()`."""
        for at in range(start, end, _HASHED):
            await self._in_thread(self._hash, hasher, at, min(at + _HASHED, end))

    async def complete(self, modified: float | None, *, overwrite: bool) -> None:
        """Rename it. `modified` is the time of its last change, None for now.

        Raises FileExistsError, if it must not be overwritten, and OSError.
        """
        await self._in_thread(self._complete, modified, overwrite)

    async def discard(self) -> None:
        """Delete it."""
        await self._in_thread(self._discard)

    async def close(self) -> None:
        """Write what has come, and let go of the file. It stays if it can be gone on with, else it is deleted.

        Idempotent. A cancellation is put off until it is done.
        """
        cancelled = await self._settled()
        if self._descriptor >= 0:
            self._start(self._close)
            cancelled = await self._settled() or cancelled
        if cancelled is not None:
            raise cancelled

    async def _settled(self) -> asyncio.CancelledError | None:
        """Wait until no thread is at work any more; the cancellation that came meanwhile."""
        cancelled: asyncio.CancelledError | None = None
        while self._running:
            try:
                await asyncio.wait(self._running)
            except asyncio.CancelledError as error:
                cancelled = error
        return cancelled

    def _start(self, function: Callable[..., T], *arguments: Any) -> asyncio.Task[T]:
        call: Callable[..., Coroutine[Any, Any, T]] = aiofiles.os.wrap(function)  # type: ignore[assignment]
        task = asyncio.get_running_loop().create_task(call(*arguments))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it is told, and perhaps nobody does any more

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.shield(self._start(function, *arguments))

    # --- in threads ---

    def _load(self) -> State | None:
        with self._lock:
            try:
                self._open(os.O_RDWR)
            except FileNotFoundError:
                return None
            found = self._sidecar.load()
            if found is not None:
                self.state, spans = found
                self.spans = spans.clipped(os.fstat(self._descriptor).st_size)
                self._sidecar.begin(self.state, self.spans)
            return self.state

    def _begun(self) -> State | None:
        found = self._sidecar.load()
        return None if found is None else found[0]

    def _open(self, flags: int) -> None:
        """Open it, and lock it: until the process ends, however it does."""
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | NO_LINK
        while self._descriptor < 0:
            try:
                descriptor = os.open(self.part, flags, 0o666)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise DownloadError(
                        f"{self.part} is a link: a half file is none, so it is not written to"
                    ) from error
                raise
            try:
                flock.lock(descriptor)
                there = os.stat(self.part)
                if os.path.samestat(there, os.fstat(descriptor)):  # nobody renamed it before it was locked
                    if there.st_nlink > 1:
                        # It was complete, and its process was killed between link() and unlink(): what is written now
                        # would be written to the file that is in its place.
                        os.unlink(self.part)
                        continue
                    self._descriptor = descriptor
                    return
            except FileNotFoundError:
                pass
            except BlockingIOError as error:
                raise BeingWritten(f"another download is writing {self.part}") from error
            finally:
                if self._descriptor < 0:
                    os.close(descriptor)

    def _start_over(self, state: State | None) -> None:
        with self._lock:
            self._open(os.O_RDWR | os.O_CREAT)
            self._sidecar.remove()  # before the bytes that it speaks of
            self._sync_folder()
            os.ftruncate(self._descriptor, 0)
            self.spans = Spans()
            self.state = state
            if state is not None:
                self._sidecar.begin(state, self.spans)

    def _describe(self, state: State) -> None:
        with self._lock:
            self.state = state
            self._sidecar.begin(state, self.spans)

    def _write(self, runs: Sequence[Run]) -> None:
        there: list[tuple[int, int]] = []
        try:
            for offset, pieces in runs:
                at = offset
                try:
                    for first in range(0, len(pieces), _AT_ONCE):
                        for written in self._written(at, pieces[first : first + _AT_ONCE]):
                            at += written
                finally:
                    there.append((offset, at))
        finally:
            self._note(*there)

    def _note(self, *there: tuple[int, int]) -> None:
        """These bytes are there, from the first of each pair to before the second."""
        spans = [(start, end) for start, end in there if end > start]
        if not spans:
            return
        if self._sync:
            _sync_data(self._descriptor)
        with self._lock:
            for start, end in spans:
                self.spans.add(start, end)
                self._sidecar.note(start, end, self.spans)

    def _pump(self, pump: Pump, offset: int, room: Callable[[int], int]) -> int:
        at = noted = offset
        try:
            with closing(pump.run(self._descriptor, offset, room)) as moves:
                for moved in moves:
                    at += moved
                    if at - noted >= _NOTED:
                        self._note((noted, at))
                        noted = at
        finally:
            self._note((noted, at))
        return at - offset

    def _written(self, offset: int, pieces: Sequence[bytes]) -> Iterable[int]:
        if hasattr(os, "pwritev"):
            size = sum(map(len, pieces))
            yield (written := os.pwritev(self._descriptor, pieces, offset))
            if written == size:
                return
            rest = memoryview(b"".join(pieces))[written:]
            offset += written
        else:
            rest = memoryview(b"".join(pieces))
        while rest:
            written = self._write_at(rest, offset)
            yield written
            rest, offset = rest[written:], offset + written

    def _write_at(self, data: memoryview, offset: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self._descriptor, data, offset)
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.write(self._descriptor, data)

    def _hash(self, hasher: Any, start: int, end: int) -> None:
        with open(self.part, "rb", buffering=0) as file:
            file.seek(start)
            buffer = memoryview(bytearray(min(_READ, end - start)))
            while start < end:
                size = file.readinto(buffer[: end - start])
                if not size:
                    raise DownloadError(f"{self.part} was cut short by somebody else")
                hasher.update(buffer[:size])
                start += size

    def _complete(self, modified: float | None, overwrite: bool) -> None:
        with self._lock:
            if self._sync:
                os.fsync(self._descriptor)
            if modified is not None:
                os.utime(self.part, (modified, modified))
            if overwrite:
                if os.name == "nt":
                    self._close_descriptor()  # Windows renames no open file
                os.replace(self.part, self.path)
            else:
                _rename_to_free_name(self.part, self.path)
            self._sync_folder()
            self._sidecar.remove()
            self._close_descriptor()

    def _sync_folder(self) -> None:
        if self._sync and hasattr(os, "O_DIRECTORY"):
            folder = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _discard(self) -> None:
        with self._lock:
            self._sidecar.remove()
            if self._descriptor >= 0:
                os.unlink(self.part)
                self._close_descriptor()
            self.state, self.spans = None, Spans()

    def _close(self) -> None:
        try:
            if self.state is None:
                self._discard()
            else:
                try:
                    self._write([] if self.unwritten is None else self.unwritten.runs)
                except OSError:
                    pass  # on a full disk: it will have to come again
                if not self.spans.size:
                    self._discard()
        finally:
            self._sidecar.close()
            self._close_descriptor()

    def _close_descriptor(self) -> None:
        if self._descriptor >= 0:
            flock.unlock(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


_sync_data = getattr(os, "fdatasync", os.fsync)


def _rename_to_free_name(part: str, path: str) -> None:
    try:
        os.link(part, path)  # unlike a rename, it fails if the name is taken
    except FileExistsError:
        raise
    except (OSError, AttributeError, NotImplementedError):  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(17, "File exists", path) from None
        os.rename(part, path)
    else:
        os.unlink(part)


def check_replaceable(path: str) -> None:
    """Refuse to put a file in the place of what is there and no file (``/dev/null``, a named pipe)."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise DownloadError(f"{path} is there, and no regular file: a download is renamed to where it belongs")
