"""`RateLimit` and `HostConcurrency`: so many in a time, so many at a time."""

from __future__ import annotations

import math
from collections.abc import Hashable

from ..config import check_count
from .hosts import Hosts
from .rule import Key, Rule, check_key


class RateLimit(Rule):
    """So many requests to a host in a time, as a token bucket counts them.

    - `requests`: how many, `per` so many seconds.
    - `burst`: how many may go at once after a pause; left out, 1: they go out evenly.
    - `key`: from a request to what it is counted under; left out, its host.

    >>> RateLimit(10, per=1.0, burst=20)
    RateLimit(10, per=1.0, burst=20)
    """

    def __init__(self, requests: float, *, per: float = 1.0, burst: int = 1, key: Key | None = None) -> None:
        for name, value in (("requests", requests), ("per", per)):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number, not {value!r}")
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be finite and above zero: {value!r}")
        self.requests = requests
        self.per = per
        self.burst = check_count("burst", burst)
        self._key = check_key(key)
        self._interval = per / requests
        # When the bucket is full again: all that there is to know of it. One that is full says nothing.
        self._full_at: Hosts[float] = Hosts(lambda full_at, now: full_at <= now)

    def ready_at(self, key: Hashable, now: float) -> float:
        """See `Rule`."""
        full_at = self._full_at.get(key)
        return now if full_at is None else full_at - (self.burst - 1) * self._interval

    def began(self, key: Hashable, now: float) -> None:
        """See `Rule`."""
        self._full_at.put(key, max(self._full_at.get(key, now), now) + self._interval, now)

    def __repr__(self) -> str:
        return f"RateLimit({self.requests}, per={self.per}, burst={self.burst})"


class HostConcurrency(Rule):
    """So many exchanges with a host at a time, each from its request to the end of its body.

    - `limit`: how many.
    - `key`: from a request to what it is counted under; left out, its host.

    (`Limits(max_per_host=…)` counts connections instead: to a route, idle ones included.)

    >>> HostConcurrency(4)
    HostConcurrency(4)
    """

    def __init__(self, limit: int, *, key: Key | None = None) -> None:
        self.limit = check_count("limit", limit)
        self._key = check_key(key)
        self._active: dict[Hashable, int] = {}

    def ready_at(self, key: Hashable, now: float) -> float:
        """See `Rule`."""
        return now if self._active.get(key, 0) < self.limit else math.inf

    def began(self, key: Hashable, now: float) -> None:
        """See `Rule`."""
        self._active[key] = self._active.get(key, 0) + 1

    def over(self, key: Hashable, now: float) -> None:
        """See `Rule`."""
        left = self._active[key] - 1
        if left:
            self._active[key] = left
        else:
            del self._active[key]

    def __repr__(self) -> str:
        return f"HostConcurrency({self.limit})"
