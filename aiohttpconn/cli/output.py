"""Standard output: bodies in order, written in a thread of its own because it may block for ever."""

from __future__ import annotations

import asyncio
import os
import queue
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from .exits import StandardOutputError

if TYPE_CHECKING:
    from types import TracebackType

HELD = 8 << 20
"""Bytes of bodies that wait, all together, for the bodies before them to be through."""
AHEAD = 262_144
"""Bytes that the body whose turn it is may be ahead of its reader."""


class Output(Protocol):
    """Takes one body. Left with an error, what was written is not kept where that can be helped."""

    async def write(self, data: bytes) -> None:
        """Take a piece; returns when there is room for the next."""
        ...

    async def __aenter__(self) -> Output: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class BlockingWriter:
    """Writes to what may block for ever (a terminal, a pipe), in a thread of its own.

    A daemon: when the command is interrupted while the other end takes nothing, nobody waits for it. The pipe is not
    made non-blocking because it may be shared with other programs. `open_descriptor` runs in the thread too.
    """

    def __init__(self, open_descriptor: Callable[[], int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._open = open_descriptor
        self._jobs: queue.SimpleQueue[tuple[bytes | None, asyncio.Future[None]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True, name="aiohttpconn-output").start()

    async def write(self, data: bytes) -> None:
        """Returns when all of it is written. Raises OSError."""
        await self._do(data)

    async def close(self) -> None:
        """Close the descriptor; afterwards nothing can be written."""
        await self._do(None)

    def abandon(self) -> None:
        """Close the descriptor when what was given to it is written, if ever; nobody waits for that."""
        done: asyncio.Future[None] = self._loop.create_future()
        done.cancel()
        self._jobs.put((None, done))

    async def _do(self, data: bytes | None) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put((data, done))
        await done

    def _run(self) -> None:
        descriptor = -1
        data: bytes | None = b""
        while data is not None:
            data, done = self._jobs.get()
            error: OSError | None = None
            try:
                if descriptor < 0:
                    descriptor = self._open()
                if data is None:
                    os.close(descriptor)
                else:
                    _write_all(descriptor, data)
            except OSError as caught:
                error = caught
            try:
                self._loop.call_soon_threadsafe(_settle, done, error)
            except RuntimeError:
                return  # the loop is closed: nobody asks any more


def _settle(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # somebody else made it non-blocking
            select.select([], [descriptor], [])


# --- standard output --------------------------------------------------------------------------------------------------


class OrderedOutput:
    """Bodies on standard output, one after the other in the order of their numbers, whichever comes first.

    `run()` prints. What comes before its turn is held; above `HELD` bytes its source waits. Nothing can get stuck as
    long as bodies are begun in the order of their numbers: then the one whose turn it is has begun.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._turn = 0
        self._held: dict[int, deque[bytes]] = {}
        self._finished: set[int] = set()
        self._size = 0
        self._ahead = 0  # how much of it is of the body whose turn it is
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    def part(self, number: int) -> OrderedPart:
        """The `Output` of one body, from 0."""
        return OrderedPart(self, number)

    async def write(self, number: int, data: bytes) -> None:
        """Take a piece of a body."""
        self._held.setdefault(number, deque()).append(data)
        self._size += len(data)
        if number == self._turn:
            self._ahead += len(data)
            self._news.set()
        while self._ahead > AHEAD if number == self._turn else self._size > HELD:
            self._room.clear()
            await self._room.wait()

    def finish(self, number: int) -> None:
        """A body is through, or nothing more of it will come."""
        self._finished.add(number)
        if number == self._turn:
            self._news.set()

    async def run(self) -> None:
        """Print until all bodies are through. Raises `StandardOutputError`."""
        if sys.stdout is None:
            raise StandardOutputError from OSError("it is closed")
        try:
            descriptor = sys.stdout.fileno()
        except OSError as error:
            raise StandardOutputError from error
        writer = BlockingWriter(lambda: os.dup(descriptor))
        try:
            await self._print(writer)
        finally:
            writer.abandon()

    async def _print(self, writer: BlockingWriter) -> None:
        while self._turn < self._count:
            if pieces := self._held.pop(self._turn, None):
                data = b"".join(pieces)
                try:
                    await writer.write(data)
                except OSError as error:
                    raise StandardOutputError from error
                self._size -= len(data)
                self._ahead -= len(data)
                self._room.set()
            elif self._turn in self._finished:
                self._finished.remove(self._turn)
                self._turn += 1
                self._ahead = sum(map(len, self._held.get(self._turn, ())))
                self._room.set()
            else:
                self._news.clear()
                await self._news.wait()


class OrderedPart:
    """One body of an `OrderedOutput`. What came of a broken one is printed.

    Leaving it does not `finish()`: a fetch may fail before it gets as far as this.
    """

    def __init__(self, ordered: OrderedOutput, number: int) -> None:
        self._ordered = ordered
        self._number = number

    async def write(self, data: bytes) -> None:
        await self._ordered.write(self._number, data)

    async def __aenter__(self) -> OrderedPart:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass
