"""`Waits`: calls that wait for something else than a connection: their turn, another's answer, the time of a retry."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from .errors import HTTPException, PoolClosed, TotalTimeout

if TYPE_CHECKING:
    from types import TracebackType

    from .config import Deadline
    from .messages import Request


class Waits:
    """Those of one client, or one transport, which may be ended all at once."""

    def __init__(self) -> None:
        self._waiting: set[Wait] = set()
        self._over: asyncio.Event | None = None
        self.closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, request: Request, deadline: Deadline, doing: str) -> Wait:
        """A block (``with``) in which a request waits, `doing` what. Raises `TotalTimeout` by its deadline and
        `PoolClosed` once this is closed, both of them for that request, and whatever the block does."""
        return Wait(self, request, deadline, doing)

    def close(self) -> None:
        """End them with `PoolClosed`, and all that come. Idempotent."""
        self.closed = True
        for wait in self._waiting:
            wait.end()

    async def over(self) -> None:
        """Wait until nobody waits any more."""
        while self._waiting:
            self._over = self._over or asyncio.Event()
            await self._over.wait()

    def begin(self, wait: Wait) -> None:
        """One waits."""
        self._waiting.add(wait)

    def leave(self, wait: Wait) -> None:
        """It waits no more."""
        self._waiting.discard(wait)
        if self._over is not None and not self._waiting:
            self._over.set()
            self._over = None


class Wait:
    """One of them: what `asyncio.timeout` does, ended from outside as well, and at a third of its cost (1.5 µs)."""

    __slots__ = ("_cancelling", "_deadline", "_doing", "_ended", "_request", "_task", "_timer", "_waits")

    def __init__(self, waits: Waits, request: Request, deadline: Deadline, doing: str) -> None:
        self._waits = waits
        self._request = request
        self._deadline = deadline
        self._doing = doing
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def end(self) -> None:
        """Its time is over, or it is closed."""
        if not self._ended:
            self._ended = True
            self._task.cancel()

    def __enter__(self) -> None:
        if self._waits.closed:
            raise self._error()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        if self._deadline.at < math.inf:
            loop = asyncio.get_running_loop()
            if self._deadline.at <= loop.time():
                raise self._error()
            self._timer = loop.call_at(self._deadline.at, self.end)
        self._waits.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waits.leave(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._ended and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._error() from error

    def _error(self) -> HTTPException:
        doing = f"{self._doing} {self._request.method} {self._request.url.shown}"
        error: HTTPException
        if self._waits.closed:
            error = PoolClosed("the client is closed", doing=doing)
        else:
            error = self._deadline.expiry(TotalTimeout, self._deadline.at, doing)
        error.request = self._request
        return error
