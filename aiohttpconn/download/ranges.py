"""Ranges of a file (RFC 9110 section 14): what a response says that it holds, and who fetches which. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..headers import Headers

UNKNOWN: Final = 1 << 62
"""Where a file ends of which nobody said how long it is."""
LEAST_SEGMENT: Final = 1 << 20
"""Bytes below which a file, or what is missing of it, is not divided."""
LEAST_STOLEN: Final = 128 << 10
"""Bytes that must be left of a segment for another connection to take half of it."""
SLOW: Final = 0.5
"""Seconds that a segment must be expected to take still; else a request more costs more time than it saves."""
LAGGING: Final = 1.0
"""Seconds for which a segment must have been far slower than others were, for another connection to take all of its
rest. (What a lost packet costs is over by then.)"""
MUTE: Final = 4.0
"""Seconds for which no response must have begun at least, for one that is still to begin to count as lagging."""
_FAR: Final = 4
"""How many times as long as the other connection a segment must be expected to take for that."""

_CONTENT_RANGE: Final = re.compile(r"bytes[ \t]+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
_UNSATISFIED: Final = re.compile(r"bytes[ \t]+\*/(\d{1,18})", re.ASCII | re.IGNORECASE)


class ContentRange(NamedTuple):
    """The bytes [start, end) of a file of `size` bytes, None where that was not said."""

    start: int
    end: int
    size: int | None


def content_range(headers: Headers) -> ContentRange | None:
    """The Content-Range of a 206; None if it has none, or none that makes sense (RFC 9110 section 14.4)."""
    values = headers.getall("Content-Range", [])
    match = _CONTENT_RANGE.fullmatch(values[0].strip()) if len(values) == 1 else None
    if match is None:
        return None
    first, last, size = int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])
    if last < first or (size is not None and last >= size):
        return None
    return ContentRange(first, last + 1, size)


def heeds_ranges(headers: Headers) -> bool | None:
    """Whether the server says that it heeds ranges; None if it says nothing, as it need not (RFC 9110 section 14.3)."""
    stated = headers.get("Accept-Ranges", "").strip().lower()
    return stated == "bytes" if stated else None


def unsatisfied_size(headers: Headers) -> int | None:
    """The size of the file, as a 416 says it."""
    match = _UNSATISFIED.fullmatch(headers.get("Content-Range", "").strip())
    return int(match[1]) if match is not None else None


class Segment:
    """The bytes [position, end) that one connection is still to bring."""

    __slots__ = (
        "_began",
        "_lagging_since",
        "_mark",
        "_seen",
        "_speed",
        "_start",
        "abandon",
        "abandoned",
        "asked_at",
        "end",
        "held",
        "position",
        "reach",
        "takeovers",
    )

    def __init__(self, start: int, end: int, now: float, takeovers: int = 0) -> None:
        self._start, self._began = start, now
        self.position = start
        """The next byte that is to come."""
        self.end = end
        """May shrink while it is being fetched, and grow up to `reach`."""
        self.reach = start
        """How far the response goes that is being read."""
        self.held = False
        """Whether it waits because of a bandwidth limit, and not for the peer."""
        self.asked_at: float | None = None
        """When it was asked for, until the response begins: no speed can be told meanwhile. (It may wait for a turn,
        for a connection, for a server that reads the file from far away.)"""
        self.takeovers = takeovers
        """How often what is left of it was taken from a connection that lagged behind."""
        self.abandon: Callable[[], object] | None = None
        """Has whoever brings it stop at once, whatever he waits for."""
        self.abandoned = False
        """Whether he was told to. What he brings until he heeds it is not wanted, and nothing more is left to him."""
        self._mark, self._seen = now, start
        self._speed: float | None = None
        self._lagging_since: float | None = None

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return self.end - self.position

    def seconds_left(self, now: float) -> float:
        """How long it will take still, by how fast it was of late; infinite while nothing comes of a response that has
        begun, 0 as long as it is too early to say."""
        elapsed = now - self._mark
        if self.held or self.asked_at is not None:
            self._mark, self._seen, self._speed = now, self.position, None
        elif elapsed >= SLOW / 2:
            self._speed = (self.position - self._seen) / elapsed
            self._mark, self._seen = now, self.position
        if self._speed is None:
            return 0.0
        return self.left / self._speed if self._speed else float("inf")

    def stop_at(self, position: int) -> None:
        """Somebody else brings all that follows."""
        self.end = position
        if self.abandon is not None:
            self.abandoned = True
            self.abandon()

    def speed(self, now: float) -> float:
        """Bytes per second, since it began to come."""
        return (self.position - self._start) / max(now - self._began, 1e-6)

    def answered(self, now: float) -> None:
        """The response begins that it was asked for by."""
        self.asked_at = None
        self._mark, self._seen, self._speed = now, self.position, None
        if self.position == self._start:
            self._began = now

    def lags(self, now: float, is_behind: bool) -> bool:
        """Whether it has been behind for long enough to be taken over.

        Each takeover doubles the time that the next one waits for: where it is not the connection that is slow but the
        server, connections do not go on taking a rest from each other.
        """
        if not is_behind:
            self._lagging_since = None
            return False
        if self._lagging_since is None:
            self._lagging_since = now
        return now - self._lagging_since >= LAGGING * (1 << self.takeovers)


class Plan:
    """What is to be fetched, by whom: gaps that nobody has begun, and segments that are being fetched.

    - `latency`: seconds from a request to its response, so far. `queued`: whether requests wait for rules of the
      client's, however long: who waits for his response is left alone.
    """

    def __init__(
        self, gaps: Iterable[tuple[int, int]], segments: int = 1, *, latency: float = 0.0, queued: bool = False
    ) -> None:
        self.gaps = list(gaps)
        self._queued = queued
        self.active: list[Segment] = []
        self.divisible = False
        self._usual = 0.0
        """Bytes per second that segments came with, those of late above all; 0 while none has come."""
        self._latency = latency
        """Seconds from a request to its response, those of late and the longest above all."""
        self._answered_at = float("-inf")
        """When a response began last."""
        if segments > 1:
            self.divide(segments)

    def divide(self, segments: int) -> None:
        """Have what is missing come in about so many segments, what one connection was to bring alone so far too."""
        self.divisible = True
        begun = [(segment, segment.position) for segment in self.active]  # read once: a thread may be moving it
        missing = sum(end - start for start, end in self.gaps) + sum(segment.end - at for segment, at in begun)
        share = max(LEAST_SEGMENT, -(-missing // segments))
        for segment, at in begun:
            if segment.end > at + share:
                self.gaps.append((at + share, segment.end))
                segment.end = at + share
        self.gaps = [(at, min(at + share, end)) for start, end in sorted(self.gaps) for at in range(start, end, share)]

    @property
    def over(self) -> bool:
        """Whether nothing is left to fetch."""
        return not self.gaps and not self.active

    def take(self, now: float) -> Segment | None:
        """Something to fetch: the first gap, else of the slowest segment half of what it still has to bring, or all if
        it lags far behind; None if there is nothing that is worth it."""
        if self.gaps:
            segment = Segment(*self.gaps.pop(0), now)
        elif lagging := self._lagging(now):
            at = lagging.position  # read once: a thread may be moving it
            segment = Segment(at, lagging.end, now, lagging.takeovers + 1)
            lagging.stop_at(at)
        elif slowest := self._slowest([each for each in self._divisible if each.left >= LEAST_STOLEN], now):
            middle = slowest.end - slowest.left // 2
            segment = Segment(middle, slowest.end, now, slowest.takeovers)
            slowest.end = middle
        else:
            return None
        self.active.append(segment)
        return segment

    @property
    def _divisible(self) -> list[Segment]:
        """Those that somebody else may bring a part of."""
        return [each for each in self.active if self.divisible and each.end < UNKNOWN and each.left > 0]

    def _latency_now(self, now: float) -> float:
        """Seconds after which a response to one request more may be expected: no sooner than to those that wait."""
        waits = [now - each.asked_at for each in self.active if each.asked_at is not None]
        return max([self._latency, *waits])

    def _lagging(self, now: float) -> Segment | None:
        """A segment that another connection would clearly be done with sooner, all of it."""
        lagging = [each for each in self._divisible if each.lags(now, self._is_behind(each, now))]
        return max(lagging, key=lambda each: each.seconds_left(now), default=None)

    def _is_behind(self, segment: Segment, now: float) -> bool:
        if not self._usual:
            return False
        if segment.asked_at is None:
            return segment.seconds_left(now) >= _FAR * (SLOW + self._latency + segment.left / self._usual)
        # While others are answered, the line moves that it may stand in: of the pool, of a proxy.
        quiet = now - max(segment.asked_at, self._answered_at)
        return not self._queued and quiet >= max(MUTE, _FAR * self._latency)

    def _slowest(self, segments: list[Segment], now: float) -> Segment | None:
        """The one that takes longest, if half of it would clearly come sooner by another request, which has to be
        answered first."""
        least = SLOW + _FAR * self._latency_now(now)
        expected = [(segment.seconds_left(now), segment) for segment in segments]
        worth = [each for each in expected if each[0] >= least]
        return max(worth, key=lambda each: each[0])[1] if worth else None

    def asked(self, segment: Segment, now: float) -> None:
        """A request for the segment is about to be sent, once it is its turn."""
        segment.asked_at = now

    def answered(self, segment: Segment, now: float) -> None:
        """Its response begins."""
        assert segment.asked_at is not None
        waited = now - segment.asked_at
        self._latency = max(waited, (self._latency + waited) / 2)
        self._answered_at = now
        segment.answered(now)

    def goes_on(self, segment: Segment, now: float) -> bool:
        """Whether the response that has brought the segment brings the following one, too: it goes as far, and whoever
        asked for that will be answered only later."""
        after = next((each for each in self.active if each.position == segment.end and each.left > 0), None)
        if segment.abandoned or after is None or after.asked_at is None or after.abandon is None:
            return False
        if after.end > segment.reach or self._latency - (now - after.asked_at) < SLOW:
            return False
        segment.end = after.end
        after.stop_at(after.position)
        return True

    def done(self, segment: Segment, now: float) -> None:
        """The segment has come."""
        self.active.remove(segment)
        speed = segment.speed(now)
        self._usual = (self._usual + speed) / 2 if self._usual else speed

    def give_back(self, segment: Segment) -> None:
        """Whoever fetched the segment does not go on: a response that brings the bytes anyway takes them over, else
        somebody else will."""
        self.active.remove(segment)
        if segment.left > 0:
            self.gaps.append((segment.position, segment.end))
            self.gaps.sort()
        self._extend()

    def _extend(self) -> None:
        for segment in [each for each in self.active if not each.abandoned]:
            while (gap := next((gap for gap in self.gaps if gap[0] == segment.end), None)) and gap[1] <= segment.reach:
                segment.end = gap[1]
                self.gaps.remove(gap)
