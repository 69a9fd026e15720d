"""Lines of JSON, one for each result of a map; where they are written; and the folder of the bodies."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from .exits import StandardOutputError, UsageError
from .output import AHEAD, BlockingWriter

if TYPE_CHECKING:
    from .. import Response
    from ..bulk.result import MapResult

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_EXTENSION = re.compile(r"\.[a-z0-9]{1,8}", re.IGNORECASE)
_TEXT = re.compile(r"text/|application/([\w.+-]*\+)?(json|xml)|application/(javascript|x-ndjson)", re.IGNORECASE)


def record_of(result: MapResult, *, body: bool = False, head: bool = False) -> bytes:
    """The line of a result, with its line end."""
    record: dict[str, Any] = {"url": result.url if not isinstance(result.given, str) else result.given}
    response = result.response
    if response is not None:
        record["status"] = response.status
        if response.history:
            record["location"] = str(response.url.without_userinfo())
        record["type"] = response.headers.get("Content-Type")
        record["size"] = len(response.content)
        timings = response.timings  # without the wait for a connection, or for --rate: that is not the server's
        record["seconds"] = round((timings.first_byte or 0.0) - (timings.sent or 0.0), 6)
        if head:
            record["headers"] = list(response.headers.items())
        if result.value is not None:
            record["file"] = result.value
        if body:
            if _TEXT.match(record["type"] or ""):
                record["body"] = response.text
            else:
                record["base64"] = base64.b64encode(response.content).decode("ascii")
    if result.error is not None:
        record["error"] = type(result.error).__name__
        record["message"] = str(result.error)
    # What is no text, as bytes of a list in no known charset, becomes an escape, which JSON has for it.
    return _encode(record).encode("utf-8", "backslashreplace") + b"\n"


class RecordFile:
    """A file. Lines are written at once and in the loop: 3 µs each, of which a thread would make 40."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def write(self, line: bytes) -> None:
        """Write a line. Raises OSError."""
        view = memoryview(line)
        while view:
            view = view[os.write(self._descriptor, view) :]


class RecordPipe:
    """Standard output, or whatever may block: written by a thread, which is ahead of its reader by 256 KiB at most."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._path = path
        self._writer = BlockingWriter(lambda: descriptor)
        self._lines: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Task[None] | None = None

    async def write(self, line: bytes) -> None:
        """Take a line. Raises `StandardOutputError`, or OSError, for one before it."""
        self._lines.append(line)
        self._size += len(line)
        if self._writing is None or self._writing.done() or self._size > AHEAD:
            await self._turn()

    async def _turn(self) -> None:
        """Wait until what is being written is, and begin with what has come since."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
        data = b"".join(self._lines)
        self._lines, self._size = [], 0
        self._writing = asyncio.get_running_loop().create_task(self._put(data))

    async def _put(self, data: bytes) -> None:
        try:
            await self._writer.write(data)
        except OSError as error:
            if self._path == "-":
                raise StandardOutputError from error
            raise OSError(error.errno, error.strerror, self._path) from error

    async def end(self) -> None:
        """Write what is left."""
        await self._turn()
        assert self._writing is not None
        await self._writing

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        if self._writing is not None:
            self._writing.cancel()
        self._writer.abandon()


@asynccontextmanager
async def open_records(path: str, *, append: bool) -> AsyncIterator[RecordFile | RecordPipe]:
    """Where lines go: a file, begun anew or added to, or ``"-"`` for standard output. Raises `UsageError`."""
    if path == "-":
        if sys.stdout is None:
            raise StandardOutputError from OSError("it is closed")
        descriptor = os.dup(sys.stdout.fileno())
        regular = False
    else:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | (0 if append else os.O_TRUNC)
            descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise UsageError(f"-o {path}: {error.strerror or error}") from error
        regular = os.path.isfile(path)  # noqa: ASYNC240 - not a device, nor a pipe
        if regular:
            _cut_torn_line(descriptor)
    if regular:
        try:
            yield RecordFile(descriptor)
        finally:
            os.close(descriptor)
        return
    pipe = RecordPipe(descriptor, path)
    try:
        yield pipe
        await pipe.end()
    finally:
        pipe.abandon()


def _cut_torn_line(descriptor: int) -> None:
    """A line that a crash cut short goes: what it was of is not finished."""
    end = size = os.lseek(descriptor, 0, os.SEEK_END)
    while end:
        start = max(0, end - 65_536)
        os.lseek(descriptor, start, os.SEEK_SET)
        found = os.read(descriptor, end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)


class Folder:
    """Where bodies are saved: by the SHA-256 of their URL, in 256 folders, so that there may be millions."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            for number in range(256):
                os.makedirs(os.path.join(path, f"{number:02x}"), exist_ok=True)
        except OSError as error:
            raise UsageError(f"--save-dir {path}: {error.strerror or error}") from error

    async def save(self, response: Response) -> str:
        """Save the body; the path, relative to the folder. Raises OSError."""
        asked = (response.history[0] if response.history else response).request
        key = sha256(f"{asked.method} {asked.url.href}".encode()).hexdigest()[:32]
        extension = os.path.splitext(asked.url.path)[1]
        name = f"{key[:2]}/{key}" + (extension if _EXTENSION.fullmatch(extension) else "")
        await asyncio.to_thread(_save, os.path.join(self._path, name), response.content)
        return name


def _save(path: str, content: bytes) -> None:
    part = f"{path}.{threading.get_ident()}.part"  # the same URL may be saved by two at a time
    with open(part, "wb") as file:
        file.write(content)
    os.replace(part, path)
