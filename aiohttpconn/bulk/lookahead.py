"""`Lookahead`: when a map reads on that has as much before it as it may, and can send none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

PATIENCE = 0.1
"""Seconds that a map is held up before it reads on; twice as many after each time in vain, if results come anyway."""

LONGEST = 0.8

AT_A_TIME = 1000
"""Requests that are put aside as they come, and then others have a turn: 10 to 20 ms."""


class Lookahead:
    """All that waits is for hosts that have as much under way as they may, or are held back; the next in the source may
    be for another. Where it is not, because one host has them all, reading on is work for nothing: so it is done rarely
    as long as results come (2 % of the time), more often when everything hangs, and at once while it finds what can be
    sent.

    - `read_on`: called if it is still so then.
    """

    __slots__ = ("_loop", "_moved", "_patience", "_read_on", "_timer", "found")

    def __init__(self, loop: asyncio.AbstractEventLoop, read_on: Callable[[], None]) -> None:
        self._loop = loop
        self._read_on = read_on
        self._patience = PATIENCE
        self._timer: asyncio.TimerHandle | None = None
        self._moved = False
        self.found = False
        """Whether something could be sent that was read."""

    def wait(self) -> None:
        """Nothing can be sent now, though a worker has become free."""
        if self._timer is None:
            self._timer = self._loop.call_later(0 if self.found else self._patience, self._ring)
        else:
            self._moved = True

    def _ring(self) -> None:
        self._timer = None
        in_vain = self._moved and not self.found
        self._patience = min(2 * self._patience, LONGEST) if in_vain else PATIENCE
        self._moved = self.found = False
        self._read_on()

    def stop(self) -> None:
        """It is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
