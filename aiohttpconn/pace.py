"""How fast a peer sends, against the least that is asked of it."""

from __future__ import annotations


class Pace:
    """Bytes per second, over windows of time in which somebody waited for them.

    Time that the caller takes for itself is not counted, but what comes meanwhile is: only a peer that would have been
    too slow for anybody is found too slow.

    - `least`: bytes per second. `over`: seconds of waiting that a window lasts.
    """

    __slots__ = ("_waited", "least", "over", "received")

    def __init__(self, least: float, over: float) -> None:
        self.least = least
        self.over = over
        self.received = 0
        """Bytes that came in this window. Whoever takes them in adds to it."""
        self._waited = 0.0

    @property
    def left(self) -> float:
        """Seconds of waiting until the window is over."""
        return self.over - self._waited

    def waited(self, seconds: float) -> None:
        """Count in one wait."""
        self._waited += seconds

    def too_slow(self) -> bool:
        """Whether a window has ended with too little in it; asked once all that came is counted in."""
        # Loops count whole milliseconds, and may be early by one.
        if self._waited + 0.002 < self.over:
            return False
        slow = self.received < self.least * self._waited
        self.received = 0
        self._waited = 0.0
        return slow

    def describe(self) -> str:
        """What is asked, in words."""
        return f"the peer sent less than {self.least:g} bytes per second over {self.over:g} s"
