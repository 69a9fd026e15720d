"""How long connections live: the share of chance in it, and what was learnt of the servers that end them sooner."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

LEARNT_FOR = 600.0
"""Seconds after which it is forgotten what one dead connection taught: it may have been a restart, or a server that has
since been set up otherwise."""
LEAST_IDLE = 1.0
"""Seconds: a connection that died idle for less was ended for another reason than having been idle."""
MOST_LEARNT = 1024


def jittered(limit: float, jitter: float) -> float:
    """A connection's own limit: up to the share `jitter` less than `limit`, so that those that were opened together are
    not all closed at once."""
    if not jitter:
        return limit
    from random import random  # noqa: PLC0415 - it takes 3 ms, and most pools set no limit

    return limit * (1 - jitter * random())


class LearntLimits:
    """How long connections may be idle, by route, as dead ones have shown. Bounded; old lessons are forgotten."""

    __slots__ = ("_learnt",)

    def __init__(self) -> None:
        self._learnt: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # seconds, and until when

    def __bool__(self) -> bool:
        return bool(self._learnt)

    def died(self, route: Hashable, idle: float, now: float) -> float | None:
        """A connection that had been idle for `idle` seconds was found dead when it was used again.

        From now on half of that is the limit: whatever dropped it in silence (a NAT, a firewall) did so some time
        before. Returns the limit; None if there is nothing to learn of it.
        """
        if idle < LEAST_IDLE:
            return None
        limit = idle / 2
        known = self._learnt.pop(route, None)
        if known is not None and known[1] > now:
            limit = min(limit, known[0])
        elif len(self._learnt) >= MOST_LEARNT:
            self._learnt.popitem(last=False)
        self._learnt[route] = limit, now + LEARNT_FOR
        return limit

    def limit(self, route: Hashable, own: float, now: float) -> float:
        """How long a connection of the route may be idle, `own` at most."""
        known = self._learnt.get(route)
        if known is None:
            return own
        if known[1] <= now:
            del self._learnt[route]
            return own
        return min(known[0], own)
