"""What is kept of each host, and forgotten in time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

State = TypeVar("State")

KEPT = 1024
"""States that are kept before anything is forgotten."""


class Hosts(dict[Hashable, State]):
    """The states of hosts by key. Those that say nothing any more are dropped each time there are twice as many as were
    left the last time: so their number stays below twice that of the hosts in use, at two steps a new one."""

    def __init__(self, idle: Callable[[State, float], bool]) -> None:
        super().__init__()
        self._idle = idle
        self._bound = KEPT

    def put(self, key: Hashable, state: State, now: float) -> None:
        """Keep the state of a host."""
        self[key] = state
        if len(self) > self._bound:
            for idle in [each for each, kept in self.items() if each != key and self._idle(kept, now)]:
                del self[idle]
            self._bound = max(KEPT, 2 * len(self))
