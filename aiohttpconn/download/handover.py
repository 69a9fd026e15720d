"""Pieces that one task makes, and others take: who waits for one may be cancelled, and another may close meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from ..errors import StreamClosed, TotalTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


AHEAD: Final = 256 << 10
"""Bytes that are made before they are asked for. (One piece: each costs two turns of the loop, 20 µs.)"""

_making: ContextVar[HandOver | None] = ContextVar("making", default=None)
"""Of whose making the running task is a part."""


class HandOver:
    """The pieces of an asynchronous generator, made by a task of its own, a few ahead of who takes them.

    - `make`: makes the generator, when the first piece is asked for. It refers to nobody whose end is to close this.
    - `doing`: for errors. `total`: seconds that may be waited for pieces in all, None for no limit; what the taker does
      between them does not count.
    """

    def __init__(self, make: Callable[[], AsyncGenerator[bytes]], doing: str, total: float | None) -> None:
        self._make = make
        self._doing = doing
        self._total = total
        self._waited = 0.0
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._room = asyncio.Event()
        self._waiter: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._complete = False
        """Whether all pieces were made, and none of them thrown away."""
        self._failure: Exception | None = None
        self._closing: asyncio.Task[None] | None = None  # loops keep tasks by weak references

    async def take(self) -> bytes:
        """The next piece. Cancelled, it can be called again: nothing is lost.

        Raises StopAsyncIteration after the last, and what making them failed with, each time; `StreamClosed` if
        `close()` came before the end; `TotalTimeout`; RuntimeError while another task waits here.
        """
        loop = asyncio.get_running_loop()
        if self._task is None and not self._closed:
            self._loop, self._task = loop, loop.create_task(self._run())
            self._task.add_done_callback(self._ended)
        if self._loop not in (None, loop):
            raise RuntimeError("this stream belongs to another event loop")
        if self._waiter is not None:
            raise RuntimeError("another task is waiting for the next piece of this stream")
        if not self._pieces and self._task is not None and not self._task.done():
            await self._wait(loop)
        if self._pieces:
            piece = self._pieces.popleft()
            self._held -= len(piece)
            if self._held <= AHEAD // 2:
                self._room.set()
            return piece
        if self._failure is not None:
            raise self._failure
        if self._complete:
            raise StopAsyncIteration
        raise StreamClosed("the stream was closed before its end", doing=self._doing)

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until there is a piece, or the end."""
        self._waiter, began = loop.create_future(), loop.time()
        try:
            if self._total is None:
                await self._waiter
            else:
                async with asyncio.timeout_at(began + self._total - self._waited):
                    await self._waiter
        except TimeoutError:
            self._failure = TotalTimeout(f"waited longer than {self._total} s in all", doing=self._doing)
            await self.close()
        finally:
            self._waiter = None
            self._waited += loop.time() - began

    async def _run(self) -> None:
        _making.set(self)
        try:
            async with aclosing(self._make()) as pieces:
                async for piece in pieces:
                    self._pieces.append(piece)
                    self._held += len(piece)
                    self._wake()
                    if self._held >= AHEAD:
                        self._room.clear()
                        await self._room.wait()
            self._complete = True
        except Exception as error:  # whatever it is, it is the taker's
            self._failure = self._failure or error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()
        self._wake()

    async def close(self) -> None:
        """End it: who waits is told. Idempotent. A cancellation is put off until all is let go of. Called while a piece
        is made (by a hook of its request), it does not wait for that.

        Raises RuntimeError on another event loop, while it is not over: that one's tasks cannot be waited for.
        """
        task, cancelled = self._task, None
        if task is not None and not task.done() and self._loop is not asyncio.get_running_loop():
            raise RuntimeError("this stream belongs to another event loop")
        if task is not None and not self._closed:
            task.cancel()
        self._closed = True
        self._complete = self._complete and not self._pieces
        self._pieces.clear()
        if _making.get() is self:
            return
        while task is not None and not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def close_soon(self) -> None:
        """`close()` in a task of its own, for somebody who cannot wait: a finaliser, on whatever thread it runs."""
        if self._loop is None or self._closed:
            return
        try:
            self._loop.call_soon_threadsafe(self._begin_to_close)
        except RuntimeError:
            pass  # the loop is closed, and all of it with it

    def _begin_to_close(self) -> None:
        assert self._loop is not None
        self._closing = self._loop.create_task(self.close())
