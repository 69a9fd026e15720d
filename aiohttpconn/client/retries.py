"""When a request is sent again after it failed, or beside the first attempt because that is late.

Decided on values: no I/O, no sleeping. Only what may be sent twice is sent twice: an idempotent request (RFC 9110
section 9.2.2) whose body can be replayed; any other only when there was no connection to send it over. What is tried
again:

| outcome | again | why |
|---|---|---|
| a response with one of `Retry.statuses` | yes | the server, or who stands before it, said that it is for now |
| any other response | no | it is the answer |
| `ConnectError` | yes | refused, unreachable: may be a restart |
| `ResolveError` | unless the name is known not to exist | a name server may be away; a typing error stays one |
| `TLSError` | only a connection that was closed in the handshake | a refused certificate stays refused |
| `ProxyError` | without an answer, or with one of `Retry.statuses` | 403 and 407 stay |
| `AddressBlocked` | of a proxy of a `ProxyPool` | a rule of the caller's own; the next proxy may be within it |
| `ReadError`, `WriteError`, `RemoteDisconnected` | yes | the connection was lost before the response was there |
| `ConnectTimeout`, `ReadTimeout`, `WriteTimeout` | yes | the next server of a pool may be faster |
| `PoolTimeout` | no | nothing was sent: the caller's own queue is too long, and it would only go to its end |
| `TotalTimeout` | no | there is no time left |
| `ProtocolError` but `RemoteDisconnected` | no | it would be said again |
| `PoolClosed`, `InvalidURL` and all others | no | they are about the caller's side |

A body that breaks off while it is read is not tried again either: the caller may have had part of it.
"""

from __future__ import annotations

import math
import random
import re
import socket
import ssl
import time
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from ..errors import (
    AddressBlocked,
    ConnectError,
    ConnectTimeout,
    HTTPException,
    NetworkError,
    ProtocolError,
    ProxyError,
    ReadTimeout,
    ResolveError,
    TLSError,
    WriteTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..config import Hedge, Retry
    from ..headers import Headers
    from ..messages import Request, ResponseHead
    from ..url import Origin

RESERVE = 10
"""Attempts that an origin may have beyond its share: a client that has just begun, or that seldom asks, would have no
share worth mentioning. They come back in `RESERVE_SECONDS`: at most one every 6 s, which is no load."""
RESERVE_SECONDS = 60.0
MOST_SAVED = 100
"""Attempts that an origin can save up: when a server restarts, what is under way to it fails all at once."""
MAX_ORIGINS = 1024
"""Origins that are remembered, the longest unused forgotten first: a crawler sees any number of them."""
SAMPLES = 100
LEAST_SAMPLES = 20

_NO_SUCH_NAME = {
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
}

# RFC 9110 section 5.6.7: IMF-fixdate, and the two obsolete forms that a recipient must know.
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_HTTP_DATES = (
    re.compile(rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) (?P<month>[A-Z][a-z]{{2}}) (?P<year>[0-9]{{4}}) {_CLOCK} GMT"),
    re.compile(rf"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-(?P<month>[A-Z][a-z]{{2}})-(?P<year>[0-9]{{2}}) {_CLOCK} GMT"),
    re.compile(rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[0-9 ][0-9]) {_CLOCK} (?P<year>[0-9]{{4}})"),
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _Site:
    """What is remembered of one origin: how many more attempts it may have, and how long its answers took."""

    __slots__ = ("balance", "by_time", "counted_at", "latest")

    def __init__(self, now: float) -> None:
        self.balance: float = RESERVE
        self.counted_at = now
        self.latest: deque[float] = deque()
        self.by_time: list[float] = []  # the same, in order

    def save(self, share: float, now: float) -> None:
        """One more request."""
        self._refill(now)
        if self.balance < MOST_SAVED:
            self.balance += share

    def spend(self, budget: float | None, now: float) -> bool:
        """Whether there may be one more attempt; it is then counted."""
        if budget is None:
            return True
        self._refill(now)
        # Five fifths are a little less than one.
        if not budget or self.balance < 1 - 1e-9:
            return False
        self.balance -= 1
        return True

    def _refill(self, now: float) -> None:
        if self.balance < RESERVE:
            self.balance = min(RESERVE, self.balance + (now - self.counted_at) * RESERVE / RESERVE_SECONDS)
        self.counted_at = now

    def took(self, seconds: float) -> None:
        if len(self.latest) == SAMPLES:
            del self.by_time[bisect_left(self.by_time, self.latest.popleft())]
        self.latest.append(seconds)
        insort(self.by_time, seconds)

    def p95(self) -> float | None:
        """Seconds within which 95 of 100 answers came; None while too few are known."""
        count = len(self.by_time)
        return self.by_time[math.ceil(0.95 * count) - 1] if count >= LEAST_SAMPLES else None


class RetryRecord:
    """A client's policy of further attempts, and what it remembers of each origin for it.

    - `clock`: seconds that never go back. `wall_clock`: seconds since 1970. `chance`: a number from 0 to 1.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._chance = chance
        self._sites: OrderedDict[Origin, _Site] = OrderedDict()

    def began(self, request: Request, retry: Retry | None, hedge: Hedge | None) -> None:
        """A request is about to be sent for the first time: its origin may have so much more of other attempts."""
        shares = [policy.budget or 0.0 for policy in (retry, hedge) if policy is not None]
        self._site(request).save(max(shares, default=0.0), self._clock())

    def delay(
        self,
        retry: Retry,
        request: Request,
        attempt: int,
        outcome: HTTPException | ResponseHead,
        left: float,
        *,
        next_proxy: bool = False,
    ) -> float | None:
        """Seconds from the outcome of an attempt (counted from 1) to the next attempt; None if there is to be none.

        `left` is how many seconds the call may still take, `next_proxy` whether the next attempt takes the next of
        several proxies. When there is a next attempt, it is counted against the
        origin's budget.
        """
        if attempt >= retry.attempts or not request.replayable:
            return None
        if not request.is_idempotent and not (isinstance(outcome, HTTPException) and was_unsent(outcome)):
            return None
        asked = 0.0
        if isinstance(outcome, HTTPException):
            if not may_pass(outcome, retry.statuses, next_proxy=next_proxy):
                return None
        elif outcome.status in retry.statuses:
            asked = retry_after(outcome.headers, self._wall_clock())
        else:
            return None
        pause = min(retry.backoff * 2.0 ** min(attempt - 1, 60), retry.max_delay)
        pause = max(pause * (1 - retry.jitter * self._chance()), asked)
        if asked > retry.max_delay or pause >= left or not self._site(request).spend(retry.budget, self._clock()):
            return None
        return pause

    def hedge_after(self, hedge: Hedge, request: Request) -> float | None:
        """Seconds to wait for a response before the request is sent a second time; None for not at all."""
        if isinstance(hedge.after, str):
            return self._site(request).p95()
        return hedge.after

    def may_hedge(self, hedge: Hedge, request: Request) -> bool:
        """Whether the second attempt may be made now; it is then counted against the origin's budget."""
        return self._site(request).spend(hedge.budget, self._clock())

    def took(self, request: Request, seconds: float) -> None:
        """A response to a request came after so many seconds."""
        self._site(request).took(seconds)

    def _site(self, request: Request) -> _Site:
        origin = request.url.origin
        sites = self._sites
        site = sites.get(origin)
        if site is None:
            site = sites[origin] = _Site(self._clock())
            if len(sites) > MAX_ORIGINS:
                sites.popitem(last=False)
        else:
            sites.move_to_end(origin)
        return site

    def __repr__(self) -> str:
        return f"<RetryRecord of {len(self._sites)} origins>"


def was_unsent(error: HTTPException) -> bool:
    """Whether the request cannot have reached anybody: there was no connection to send it over.

    A `TLSError` may come after it was sent: by TLS 1.3 a server refuses the client's certificate only then.
    """
    return isinstance(error, (ConnectError, ConnectTimeout)) and not isinstance(error, TLSError)


def may_pass(error: HTTPException, statuses: Collection[int], *, next_proxy: bool = False) -> bool:
    """Whether what failed so may go well the next time (the table above). `statuses`: answers of a proxy that may.
    `next_proxy`: whether the next of several proxies is taken."""
    if isinstance(error, (ConnectTimeout, ReadTimeout, WriteTimeout)):
        return True
    if isinstance(error, AddressBlocked):
        return error.of_proxy and next_proxy
    if not isinstance(error, NetworkError):
        return False
    cause = error.__cause__
    if isinstance(error, TLSError):
        # One without a reason or a cause is a peer that closed in good order.
        return (cause is None and error.reason is None) or (
            (isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError)) or isinstance(cause, ssl.SSLEOFError)
        )
    if isinstance(error, ResolveError):
        # One without a cause is a resolver that found nothing.
        return isinstance(cause, OSError) and not (isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_NAME)
    if isinstance(error, ProxyError):
        if isinstance(cause, (TLSError, ResolveError)):
            return may_pass(cause, statuses)  # of the proxy's own
        if error.status is not None:
            return error.status in statuses
        return not isinstance(cause, ProtocolError) or isinstance(cause, NetworkError)
    return True


def retry_after(headers: Headers, now: float) -> float:
    """The seconds that Retry-After asks for (RFC 9110 section 10.2.3); 0 if it asks for none, or cannot be read.

    `now` is in seconds since 1970. A date is counted from the response's own Date where it has one, so that the clocks
    of both sides need not agree.
    """
    value = headers.get("Retry-After")
    if value is None:
        return 0.0
    if value.isascii() and value.isdigit():
        return float(value) if len(value) < 12 else math.inf
    at = http_date(value, now)
    if at is None:
        return 0.0
    said_at = http_date(headers.get("Date", ""), now)
    return max(0.0, at - (now if said_at is None else said_at))


def http_date(text: str, now: float) -> float | None:
    """Seconds since 1970 of an HTTP-date in any of its three forms; None for what is no date.

    `now` tells the century of a year with two digits: one over 50 years ahead is in the past.
    """
    from datetime import UTC, datetime  # noqa: PLC0415 - 2 ms of import for what few servers send

    match = next(filter(None, [form.fullmatch(text) for form in _HTTP_DATES]), None)
    if match is None or match["month"] not in _MONTHS:
        return None
    year = int(match["year"])
    this_year = datetime.fromtimestamp(now, UTC).year
    if len(match["year"]) == 2:
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    second = min(int(match["second"]), 59)  # a leap second is none for datetime
    try:
        moment = datetime(
            year,
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            second,
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return moment.timestamp()
