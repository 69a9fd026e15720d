"""`AdaptiveThrottle`: as much as a host takes without complaint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING

from ..client.retries import retry_after
from ..config import check_count, check_seconds
from ..errors import ConnectTimeout, ReadTimeout, RemoteDisconnected, RequestTimeout
from ..messages import ResponseHead
from .hosts import Hosts
from .rule import Key, Rule, check_key

if TYPE_CHECKING:
    from collections.abc import Set

LEAST_WINDOW = 1 / 64
"""The least part of the time in which something is asked of a host."""
LEARNT = 600.0
"""Seconds for which what was learnt about a host is kept when nothing is asked of it."""
_NOTICED = 0.05
"""Seconds below which no answer is slow, whatever the others took."""
_SMOOTHING = 1 / 8
_DRIFT = 1 / 256
_CAREFUL = 1 / 16
_OVERLOADED = (ConnectTimeout, ReadTimeout, RemoteDisconnected)


class _Host:
    """What is known of a host."""

    __slots__ = (
        "active",
        "began_at",
        "cooling_until",
        "decreased_at",
        "latency",
        "refusals",
        "refused_at",
        "usual",
        "window",
    )

    def __init__(self, window: float) -> None:
        self.window = window
        """How many exchanges there may be at a time; a part of one: that part of the time."""
        self.active = 0
        self.began_at = -math.inf
        self.decreased_at = -math.inf
        self.cooling_until = -math.inf
        self.refused_at = math.inf
        """What the window was at the last complaint."""
        self.refusals = 0
        """Rounds of complaints in a row."""
        self.latency = 0.0
        """The smoothed seconds until an answer; 0.0: there was none yet."""
        self.usual = math.inf
        """The least that it was lately."""


class AdaptiveThrottle(Rule):
    """As many exchanges with a host at a time as it takes without complaint: one more for each round of good answers,
    half as many after a complaint (AIMD, as TCP does it), and less than one at a time if need be (but not for timeouts,
    which were pauses themselves).

    A complaint is a response of `statuses`, a timeout or a connection closed without an answer, or answers that take
    longer than they usually do. After one of `statuses` with Retry-After nothing is sent to that host until that is
    over (`max_cooldown` at most), by anybody who shares this rule. Where the last complaint came,
    more is tried only slowly.

    - `start`: exchanges at a time with a host that nothing is known of; `limit`: the most.
    - `statuses`: the responses that are complaints.
    - `slow`: how many times as long as usual the answers must take to be a complaint (smoothed, and 50 ms at least);
      None: time does not matter.
    - `cooldown`: seconds of silence after a second complaint of `statuses` in a row, where there is no Retry-After,
      doubled for each more; `max_cooldown`: the most, of a Retry-After, too.
    - `backoff`: what is left after a complaint, as a share.
    - `key`: from a request to what it is counted under; left out, its host.

    >>> AdaptiveThrottle(limit=16)
    AdaptiveThrottle(start=1, limit=16)
    """

    def __init__(
        self,
        *,
        start: int = 1,
        limit: int = 16,
        statuses: Iterable[int] = (429, 503),
        slow: float | None = 3.0,
        cooldown: float = 1.0,
        max_cooldown: float = 300.0,
        backoff: float = 0.5,
        key: Key | None = None,
    ) -> None:
        self.start = check_count("start", start)
        self.limit = check_count("limit", limit)
        if start > limit:
            raise ValueError(f"start must not be above limit: {start!r} > {limit!r}")
        self.statuses: Set[int] = _checked_statuses(statuses)
        for name, number in (("slow", slow), ("backoff", backoff)):
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                if number is None and name == "slow":
                    continue
                raise TypeError(f"{name} must be a number, not {number!r}")
        if slow is not None and not slow > 1:
            raise ValueError(f"slow must be above 1: {slow!r}")
        self.slow = slow
        for name, value in (("cooldown", cooldown), ("max_cooldown", max_cooldown)):
            if value is None:
                raise TypeError(f"{name} must be a number of seconds, not None")
            check_seconds(name, value)
        self.cooldown = cooldown
        self.max_cooldown = max_cooldown
        if not 0 < backoff < 1:
            raise ValueError(f"backoff must be a share between 0 and 1: {backoff!r}")
        self.backoff = backoff
        self._key = check_key(key)
        self._hosts: Hosts[_Host] = Hosts(_forgettable)
        self._wall_clock: Callable[[], float] = time.time

    def ready_at(self, key: Hashable, now: float) -> float:
        """See `Rule`."""
        host = self._hosts.get(key)
        if host is None:
            return now
        if host.active >= _whole(host.window):
            return math.inf
        at = host.cooling_until
        if host.window < 1:  # one at a time, and a pause so that it is busy for that part of the time
            at = max(at, host.began_at + max(host.latency, _NOTICED) / host.window)
        return at

    def began(self, key: Hashable, now: float) -> None:
        """See `Rule`."""
        host = self._hosts.get(key)
        if host is None:
            host = _Host(self.start)
            self._hosts.put(key, host, now)
        host.active += 1
        host.began_at = now

    def answered(
        self, key: Hashable, outcome: ResponseHead | Exception, began: float, seconds: float, now: float
    ) -> None:
        """See `Rule`."""
        host = self._hosts[key]
        if isinstance(outcome, Exception):
            if isinstance(outcome, _OVERLOADED):
                # One that waited its full time was itself a pause: no others are added to it.
                waited = isinstance(outcome, RequestTimeout)
                self._decrease(host, began, now, min(1.0, host.window) if waited else LEAST_WINDOW)
            return
        if outcome.status in self.statuses:
            asked = retry_after(outcome.headers, self._wall_clock())
            if self._decrease(host, began, now):
                # The first says that it was a little too much, to which half of it is an answer; the next says more.
                if host.refusals and not asked:
                    asked = self.cooldown * 2.0 ** min(host.refusals - 1, 30)
                host.refusals += 1
            if asked:
                host.cooling_until = max(host.cooling_until, now + min(asked, self.max_cooldown))
            return
        slow = self._is_slow(host, seconds)
        if began <= host.decreased_at:
            return  # it was sent when more was
        host.refusals = 0
        if slow:
            self._decrease(host, began, now)
        elif host.active + 1 >= host.window:  # else it is not this that holds anything back
            step = 1 / _whole(host.window)
            if abs(host.window - host.refused_at) < 1:
                step *= _CAREFUL
            host.window = min(float(self.limit), host.window + step)

    def over(self, key: Hashable, now: float) -> None:
        """See `Rule`."""
        self._hosts[key].active -= 1

    def _is_slow(self, host: _Host, seconds: float) -> bool:
        host.latency = host.latency + _SMOOTHING * (seconds - host.latency) if host.latency else seconds
        # What is usual follows slowly, so that a host which has become slower for good is not held down for ever.
        host.usual = min(host.latency, host.usual * (1 + _DRIFT))
        return self.slow is not None and host.latency > max(_NOTICED, self.slow * host.usual)

    def _decrease(self, host: _Host, began: float, now: float, least: float = LEAST_WINDOW) -> bool:
        """Less from now on; whether it was. What had begun before the last time tells nothing new."""
        if began <= host.decreased_at:
            return False
        host.decreased_at = now
        host.refused_at = host.window
        host.window = max(least, host.window * self.backoff)
        return True

    def window(self, key: Hashable) -> float:
        """How many exchanges at a time a host (or whatever `key` says) gets now."""
        host = self._hosts.get(key)
        return float(self.start) if host is None else host.window

    def __repr__(self) -> str:
        return f"AdaptiveThrottle(start={self.start}, limit={self.limit})"


def _checked_statuses(statuses: Iterable[int]) -> Set[int]:
    if isinstance(statuses, (str, bytes)) or not isinstance(statuses, Iterable):
        raise TypeError(f"statuses must be several status codes, not {statuses!r}")
    checked = frozenset(statuses)
    for status in checked:
        if isinstance(status, bool) or not isinstance(status, int):
            raise TypeError(f"statuses must be whole numbers, not {status!r}")
        if not 100 <= status <= 999:
            raise ValueError(f"no status code: {status!r}")
    return checked


def _whole(window: float) -> int:
    """Exchanges at a time. (A third, added three times, is one.)"""
    return max(1, math.floor(window + 1e-9))


def _forgettable(host: _Host, now: float) -> bool:
    return not host.active and host.cooling_until <= now and host.began_at + LEARNT < now
