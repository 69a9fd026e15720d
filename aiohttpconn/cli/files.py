"""Files that bodies are saved in: whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from ..download.part_file import PartFile
from ..download.write_buffer import WriteBuffer
from .output import BlockingWriter, Output

if TYPE_CHECKING:
    from types import TracebackType

AHEAD = 2 << 20
"""Bytes that are held until they are written."""


class SavedFile:
    """A file that appears under its name when it is whole; until then it is called ``NAME.part``, as a download's is,
    and nobody goes on with it."""

    def __init__(self, path: str) -> None:
        self._part = PartFile(os.path.realpath(path))  # through a link: the link stays
        self._size = 0

    async def __aenter__(self) -> SavedFile:
        try:
            await self._part.start_over(None)
        except BaseException:
            await self._part.close()
            raise
        self._buffer = WriteBuffer(self._part, AHEAD)
        return self

    async def write(self, data: bytes) -> None:
        full = self._buffer.add(self._size, data)
        self._size += len(data)
        if full:
            await self._buffer.flush()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self._buffer.end()
                await self._part.complete(None, overwrite=True)
        finally:
            await self._part.close()  # which deletes what is not complete


class SpecialFile:
    """What is there and no regular file (``/dev/null``, a named pipe): written to as it is, since renaming a file over
    it would put it out of the world."""

    def __init__(self, path: str) -> None:
        self._writer = BlockingWriter(lambda: os.open(path, os.O_WRONLY))

    async def write(self, data: bytes) -> None:
        await self._writer.write(data)

    async def __aenter__(self) -> SpecialFile:
        await self._writer.write(b"")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self._writer.close()
        else:
            self._writer.abandon()  # it may be stuck, and the command is perhaps being interrupted


def file_output(path: str) -> Output:
    """The `Output` that saves under `path`. Raises IsADirectoryError."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return SavedFile(path)  # nothing there; if nothing can be there, opening it says why
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
    return SavedFile(path) if stat.S_ISREG(mode) else SpecialFile(path)
