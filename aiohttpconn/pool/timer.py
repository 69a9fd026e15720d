"""A timer for many moments: it is armed for the soonest of them, and does not keep the one it calls."""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Timer:
    """Calls a method, with the loop, when the soonest of many moments has come; a timer for each would cost 1.5 µs.

    It is left armed when what it was armed for has gone away: the method looks at what there is, and arms it anew. The
    method's object is not kept by it: a pool that was dropped unclosed can be collected, and says so.
    """

    __slots__ = ("_handle", "_method", "not_before", "when")

    def __init__(self, method: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        self._method = weakref.WeakMethod(method)
        self._handle: asyncio.TimerHandle | None = None
        self.when = math.inf
        """The loop's time at which the method is called; whoever needs it sooner arms the timer."""
        self.not_before = 0.0
        """The loop's time before which the method is not called, whatever the timer is armed for."""

    def arm(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        """Call the method at `when`, by the loop's time, instead of when it was going to be called."""
        if self._handle is not None:
            self._handle.cancel()
        self.when = when = max(when, self.not_before)
        self._handle = loop.call_at(when, self._ring, loop)

    def cancel(self) -> None:
        """Do not call the method."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = None
        self.when = math.inf
        method = self._method()
        if method is not None:
            method(loop)
