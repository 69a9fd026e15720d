"""What a caller may set about time and numbers: `Timeout`, `Limits`, and the deadline that travels down."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Any, Final, Self

from .errors import ConnectTimeout, PoolTimeout, ReadTimeout, RequestTimeout, TotalTimeout, WriteTimeout


class Unset(enum.Enum):
    """The type of `UNSET`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Left out: inherit. (None, in contrast, switches a thing off.)"""
DEFAULT: Final = UNSET
"""`http.client`'s shape of the same: the connection's default timeouts."""


def check_seconds(name: str, value: float | None) -> None:
    """Refuse what is no number of seconds; None is no limit."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name} must not be negative: {value!r}")


def check_count(name: str, value: int) -> int:
    """The value, if it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1: {value!r}")
    return value


def meant(name: str, known: Iterable[str]) -> str:
    """What to add to an error about a name that is not known: which one may be meant; "" if none is like it."""
    from difflib import get_close_matches  # noqa: PLC0415 - for who mistypes

    close = get_close_matches(name, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _check_share(name: str, value: float | None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a share of the requests or None, not {value!r}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a share of the requests, 0 or more: {value!r}")


class Frozen:
    """A value: its slots in order are its arguments. What `dataclasses` would make of it, without importing them: they
    cost 4 ms, a tenth of `import asyncio, ssl`."""

    __slots__: tuple[str, ...] = ()

    def _set(self, *values: object) -> None:
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    def replace(self, **changes: Any) -> Self:
        """A copy with some of the arguments changed."""
        return type(self)(**(dict(zip(self.__slots__, self._values(), strict=True)) | changes))

    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.__slots__])

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; make another")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; make another")

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Frozen) and type(self) is type(other) else False

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        shown = ", ".join([f"{name}={getattr(self, name)!r}" for name in self.__slots__])
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._values()


class Timeout(Frozen):
    """How long each part of an exchange may take, in seconds; None is no limit.

    - `total`: from the call to the end of the body, everything included: `TotalTimeout`.
    - `connect`: name lookup, TCP, proxy tunnel and TLS together: `ConnectTimeout`.
    - `read`: the whole head, counted from the request being sent, then each wait for more of the body: `ReadTimeout`.
    - `write`: each wait for the peer to take more: `WriteTimeout`.
    - `pool`: waiting for a connection to become free: `PoolTimeout`.
    - `min_speed`: (bytes per second, over so many seconds): a body that the peer sends more slowly than that, time that
      the caller takes not counted, is `TooSlow`; None for no such limit.

    >>> Timeout(total=60, read=5)
    Timeout(total=60, connect=10, read=5, write=30, pool=30, min_speed=None)
    """

    __slots__ = ("total", "connect", "read", "write", "pool", "min_speed")  # noqa: RUF023 - in the order of the arguments
    total: float | None
    connect: float | None
    read: float | None
    write: float | None
    pool: float | None
    min_speed: tuple[float, float] | None

    def __init__(
        self,
        total: float | None = None,
        connect: float | None = 10,
        read: float | None = 30,
        write: float | None = 30,
        pool: float | None = 30,
        min_speed: tuple[float, float] | None = None,
    ) -> None:
        self._set(total, connect, read, write, pool, min_speed)
        for name in self.__slots__[:-1]:
            check_seconds(name, getattr(self, name))
        if min_speed is not None:
            if not isinstance(min_speed, tuple) or len(min_speed) != 2:
                raise TypeError(f"min_speed must be (bytes per second, seconds), not {min_speed!r}")
            for value in min_speed:
                if isinstance(value, bool) or not isinstance(value, (int, float)):
                    raise TypeError(f"min_speed must be two numbers, not {min_speed!r}")
                if not 0 < value < math.inf:
                    raise ValueError(f"min_speed must be above zero: {min_speed!r}")

    @classmethod
    def of(cls, value: Timeout | float | Unset | None) -> Timeout:
        """The `Timeout` meant by what a caller gave: a plain number sets all but `total`, None switches all off.

        >>> Timeout.of(5)
        Timeout(total=None, connect=5, read=5, write=5, pool=5, min_speed=None)
        """
        if isinstance(value, Timeout):
            return value
        if value is UNSET:
            return DEFAULT_TIMEOUT
        if value is not None:
            check_seconds("timeout", value)
        return cls(None, value, value, value, value)


DEFAULT_TIMEOUT: Final = Timeout()
NO_TIMEOUT: Final = Timeout(None, None, None, None, None)


class Limits(Frozen):
    """How many connections a pool may hold, and for how long it keeps idle ones. None is no limit.

    - `max_connections`: open ones in all, idle ones included.
    - `max_per_host`: open ones to one route (origin, proxy and TLS identity).
    - `max_idle`: idle ones kept, in all.
    - `keepalive`: seconds an idle connection is kept; less where the server says so (Keep-Alive), or has been found to
      close sooner.
    - `max_age`: seconds after which a connection is not used again. What is going on on it is never cut short.
    - `max_requests`: how many requests one connection serves. (The block of `connection()` counts as one.)
    - `jitter`: the share, from 0 to 1, of `max_age` and `max_requests` that is left to chance: each connection's own
      limits are less by up to that, so that they do not all go at once.
    """

    __slots__ = ("max_connections", "max_per_host", "max_idle", "keepalive", "max_age", "max_requests", "jitter")  # noqa: RUF023 - in the order of the arguments
    max_connections: int | None
    max_per_host: int | None
    max_idle: int | None
    keepalive: float | None
    max_age: float | None
    max_requests: int | None
    jitter: float

    def __init__(
        self,
        max_connections: int | None = 100,
        max_per_host: int | None = None,
        max_idle: int | None = None,
        keepalive: float | None = 60.0,
        max_age: float | None = None,
        max_requests: int | None = None,
        jitter: float = 0.1,
    ) -> None:
        self._set(max_connections, max_per_host, max_idle, keepalive, max_age, max_requests, jitter)
        for name, least in (("max_connections", 1), ("max_per_host", 1), ("max_idle", 0), ("max_requests", 1)):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be a whole number or None, not {value!r}")
            if value < least:
                raise ValueError(f"{name} must be at least {least}: {value!r}")
        check_seconds("keepalive", self.keepalive)
        check_seconds("max_age", self.max_age)
        if max_age == 0:
            raise ValueError("max_age must be above zero")
        if jitter is None:
            raise TypeError("jitter must be a number, not None")
        check_seconds("jitter", jitter)
        if jitter > 1:
            raise ValueError(f"jitter is a share, from 0 to 1: {jitter!r}")


class Retry(Frozen):
    """When and how often a request is sent again. Only for what may be sent twice: an idempotent method (RFC 9110
    section 9.2.2), an Idempotency-Key field, or `idempotent=True`; and only a body that can be replayed. Any other is
    tried again only when no connection could be made, so that nothing of it was sent.

    - `attempts`: how often it is sent at most, the first time included.
    - `statuses`: the responses that are tried again; errors of connecting and of the connection always are.
    - `backoff`: seconds before the second attempt, doubled for each one after it.
    - `jitter`: the share of each pause that is left to chance, from 0 to 1.
    - `max_delay`: seconds that no pause is over; a server that asks for more in Retry-After is not tried again.
    - `budget`: retries to an origin, as a share of the requests to it, so that an outage is not amplified: 0.2 is one
      retry for five requests (and ten more to begin with, which come back within a minute). None is no such limit.

    >>> Retry(attempts=5, backoff=1)
    Retry(attempts=5, statuses=frozenset({...}), backoff=1, jitter=0.5, max_delay=30, budget=0.2)
    """

    __slots__ = ("attempts", "statuses", "backoff", "jitter", "max_delay", "budget")  # noqa: RUF023 - in the order of the arguments
    attempts: int
    statuses: frozenset[int]
    backoff: float
    jitter: float
    max_delay: float
    budget: float | None

    def __init__(
        self,
        attempts: int = 3,
        statuses: Iterable[int] = (429, 502, 503, 504),
        backoff: float = 0.5,
        jitter: float = 0.5,
        max_delay: float = 30,
        budget: float | None = 0.2,
    ) -> None:
        self._set(attempts, frozenset(statuses), backoff, jitter, max_delay, budget)
        if any(isinstance(status, bool) or not isinstance(status, int) for status in self.statuses):
            raise TypeError(f"statuses must be whole numbers, not {statuses!r}")
        if isinstance(attempts, bool) or not isinstance(attempts, int):
            raise TypeError(f"attempts must be a whole number, not {attempts!r}")
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1: {attempts!r}")
        for name in ("backoff", "jitter", "max_delay"):
            if getattr(self, name) is None:
                raise TypeError(f"{name} must be a number, not None")
            check_seconds(name, getattr(self, name))
        _check_share("budget", budget)
        if jitter > 1:
            raise ValueError(f"jitter is a share, from 0 to 1: {jitter!r}")


class Hedge(Frozen):
    """Send an idempotent request a second time when the first has no answer yet; the first good answer wins, and the
    other attempt is cancelled. (429 and 5xx are no good answer while the other attempt may bring one.)

    - `after`: seconds to wait before, or "p95": as long as 95 of 100 of the latest requests to that origin took (then
      the first 20 requests to an origin are not hedged).
    - `budget`: second attempts to an origin, as a share of the requests to it, as in `Retry`; with both, they have one
      account together.

    >>> Hedge(0.2)
    Hedge(after=0.2, budget=0.2)
    """

    __slots__ = ("after", "budget")
    after: float | str
    budget: float | None

    def __init__(self, after: float | str = "p95", budget: float | None = 0.2) -> None:
        self._set(after, budget)
        if after is None:
            raise TypeError('after must be seconds or "p95", not None')
        if after != "p95":
            if isinstance(after, str):
                raise ValueError(f'after must be seconds or "p95", not {after!r}')
            check_seconds("after", after)
        _check_share("budget", budget)


def _unlimited(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


class Deadline:
    """The limits of one exchange on their way down: one absolute end, and how long each wait may take.

    `at` is the loop's time when `total` is over, infinite without one; `connect`, `read`, `write` and `pool` are
    seconds, infinite for no limit. One without a `total` says nothing about now, and may serve any number of exchanges.
    """

    __slots__ = ("at", "connect", "min_speed", "pool", "read", "timeout", "write")

    def __init__(self, timeout: Timeout, now: float) -> None:
        self.timeout = timeout
        self.at = math.inf if timeout.total is None else now + timeout.total
        self.connect = _unlimited(timeout.connect)
        self.read = _unlimited(timeout.read)
        self.write = _unlimited(timeout.write)
        self.pool = _unlimited(timeout.pool)
        self.min_speed = timeout.min_speed

    def expiry(self, kind: type[RequestTimeout], now: float, doing: str | None) -> RequestTimeout:
        """The error for a wait that ended without result: `TotalTimeout` if everything's time is over, else `kind`."""
        # uvloop counts whole milliseconds and may be early by one.
        if now + 0.002 >= self.at:
            return TotalTimeout(f"took longer than {self.timeout.total} s in all", doing=doing)
        what, seconds = {
            ConnectTimeout: ("no connection", self.timeout.connect),
            ReadTimeout: ("the peer sent nothing more", self.timeout.read),
            WriteTimeout: ("the peer took nothing more", self.timeout.write),
            PoolTimeout: ("no connection became free", self.timeout.pool),
        }[kind]
        return kind(f"{what} within {seconds} s", doing=doing)
