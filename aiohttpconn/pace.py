"""How fast a peer sends, against the least that is asked of it."""

from __future__ import annotations


class Pace:
    """Bytes per second over windows of time in which somebody waited for them: what the caller takes for itself is not
    the peer's.

    - `least`: bytes per second. `over`: seconds that a window lasts.
    """

    __slots__ = ("_received", "_waited", "least", "over")

    def __init__(self, least: float, over: float) -> None:
        self.least = least
        self.over = over
        self._waited = 0.0
        self._received = 0

    @property
    def left(self) -> float:
        """Seconds of waiting until the window is over."""
        return self.over - self._waited

    def too_slow(self, waited: float, received: int) -> bool:
        """Count in one wait and what came at its end; whether a window has ended with too little in it."""
        self._waited += waited
        self._received += received
        # Loops count whole milliseconds, and may be early by one.
        if self._waited + 0.002 < self.over:
            return False
        slow = self._received < self.least * self._waited
        self._waited = 0.0
        self._received = 0
        return slow

    def describe(self) -> str:
        """What is asked, in words."""
        return f"the peer sent less than {self.least:g} bytes per second over {self.over:g} s"
