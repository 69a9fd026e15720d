"""Files that bodies are saved in: whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import aiofiles
import aiofiles.os

from .output import BlockingWriter, Output

if TYPE_CHECKING:
    from types import TracebackType

BLOCK = 1 << 20
"""Bytes written to a file at once: each write is a turn through a thread (50 µs)."""


class SavedFile:
    """A file that appears under its name when it is whole; until then it is called ``NAME.part``."""

    def __init__(self, path: str) -> None:
        self._path = os.path.realpath(path)  # through a link: the link stays
        self._part = self._path + ".part"
        self._file: Any = None
        self._pieces: list[bytes] = []
        self._size = 0

    async def __aenter__(self) -> SavedFile:
        opening = asyncio.ensure_future(aiofiles.open(self._part, "wb"))
        try:
            self._file = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # A thread is opening it and cannot be called back.
            try:
                self._file = await opening
                await self._discard()
            except OSError:
                pass
            raise
        return self

    async def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= BLOCK:
            await self._flush()

    async def _flush(self) -> None:
        pieces, self._pieces, self._size = self._pieces, [], 0
        await self._file.write(b"".join(pieces))

    async def _discard(self) -> None:
        try:
            await self._file.close()
            await aiofiles.os.unlink(self._part)
        except OSError:
            pass  # what made it worthless is what will be reported

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            await self._discard()
            return
        try:
            await self._flush()
            await self._file.close()
            await aiofiles.os.replace(self._part, self._path)
        except BaseException:
            await self._discard()
            raise


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
