"""How long the connections of a pool live, and how long they may be idle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import RemoteDisconnected
from ..lifetime import LearntLimits, jittered

if TYPE_CHECKING:
    from ..config import Limits
    from ..errors import WriteError
    from .slot import Slot


class Lives:
    """Draws the limits of each connection from the pool's, and from what dead ones have taught."""

    __slots__ = ("_keepalive", "_learnt", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._keepalive: float = math.inf if limits.keepalive is None else limits.keepalive
        self._learnt = LearntLimits()

    def begin(self, slot: Slot, now: float) -> None:
        """Draw the limits of a connection that is about to be opened."""
        limits = self._limits
        keepalive = self._keepalive
        slot.connection.idle_limit = self._learnt.limit(slot.host.route, keepalive, now) if self._learnt else keepalive
        if limits.max_age is not None:
            slot.expires = now + jittered(limits.max_age, limits.jitter)
        if limits.max_requests is not None:
            slot.left = math.ceil(jittered(limits.max_requests, limits.jitter))

    def found_dead(self, slot: Slot, error: RemoteDisconnected | WriteError) -> float | None:
        """A connection was dead when it was used again: how long those of its route may be idle from now on.

        None if there is nothing to learn of it.
        """
        if isinstance(error, RemoteDisconnected) and error.bytes_received:
            return None
        return self._learnt.died(slot.host.route, slot.since - slot.idle_since, slot.since)


def is_used_up(slot: Slot) -> bool:
    """Whether the connection has served as many requests as it may, with the one that has ended now."""
    slot.left -= 1
    return slot.left <= 0
