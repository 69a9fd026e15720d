"""Ranges of a file (RFC 9110 section 14): what a response says that it holds, and who fetches which. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..headers import Headers

UNKNOWN: Final = 1 << 62
"""Where a file ends of which nobody said how long it is."""
LEAST_SEGMENT: Final = 1 << 20
"""Bytes below which a file, or what is missing of it, is not divided."""
LEAST_STOLEN: Final = 128 << 10
"""Bytes that must be left of a segment for another connection to take half of it."""
SLOW: Final = 0.5
"""Seconds that a segment must be expected to take still; else a request more costs more time than it saves."""

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


def unsatisfied_size(headers: Headers) -> int | None:
    """The size of the file, as a 416 says it."""
    match = _UNSATISFIED.fullmatch(headers.get("Content-Range", "").strip())
    return int(match[1]) if match is not None else None


class Segment:
    """The bytes [position, end) that one connection is still to bring."""

    __slots__ = ("_mark", "_seen", "_speed", "began_at", "end", "position", "reach")

    def __init__(self, start: int, end: int, now: float) -> None:
        self.began_at = start
        self.position = start
        """The next byte that is to come."""
        self.end = end
        """May shrink while it is being fetched, and grow up to `reach`."""
        self.reach = start
        """How far the response goes that is being read."""
        self._mark, self._seen, self._speed = now, start, 0.0

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return self.end - self.position

    def seconds_left(self, now: float) -> float:
        """How long it will take still, by how fast it was of late; infinite while nothing comes."""
        if now - self._mark >= SLOW / 2 or not self._speed:
            elapsed = max(now - self._mark, 1e-6)
            self._speed = (self.position - self._seen) / elapsed
            if elapsed >= SLOW / 2:
                self._mark, self._seen = now, self.position
        return self.left / self._speed if self._speed else float("inf")


class Plan:
    """What is to be fetched, by whom: gaps that nobody has begun, and segments that are being fetched."""

    def __init__(self, gaps: Iterable[tuple[int, int]], segments: int = 1) -> None:
        self.gaps = list(gaps)
        if segments > 1:
            missing = sum(end - start for start, end in self.gaps)
            share = max(LEAST_SEGMENT, -(-missing // segments))
            self.gaps = [(at, min(at + share, end)) for start, end in self.gaps for at in range(start, end, share)]
        self.active: list[Segment] = []
        self.divisible = segments > 1

    @property
    def over(self) -> bool:
        """Whether nothing is left to fetch."""
        return not self.gaps and not self.active

    def take(self, now: float) -> Segment | None:
        """Something to fetch: the first gap, else half of what the slowest segment still has to bring; None if there is
        nothing that is worth it."""
        if self.gaps:
            segment = Segment(*self.gaps.pop(0), now)
        else:
            slowest = self._slowest(now)
            if slowest is None:
                return None
            middle = slowest.end - slowest.left // 2
            segment = Segment(middle, slowest.end, now)
            slowest.end = middle
        self.active.append(segment)
        return segment

    def _slowest(self, now: float) -> Segment | None:
        worth = [
            (seconds, segment)
            for segment in self.active
            if self.divisible
            and segment.end < UNKNOWN
            and segment.left >= LEAST_STOLEN
            and (seconds := segment.seconds_left(now)) >= SLOW
        ]
        return max(worth, key=lambda each: each[0])[1] if worth else None

    def done(self, segment: Segment) -> None:
        """The segment has come."""
        self.active.remove(segment)

    def give_back(self, segment: Segment) -> None:
        """Whoever fetched the segment does not go on: a response that brings the bytes anyway takes them over, else
        somebody else will."""
        self.active.remove(segment)
        if segment.left:
            self.gaps.append((segment.position, segment.end))
            self.gaps.sort()
        self._extend()

    def _extend(self) -> None:
        for segment in self.active:
            while (gap := next((gap for gap in self.gaps if gap[0] == segment.end), None)) and gap[1] <= segment.reach:
                segment.end = gap[1]
                self.gaps.remove(gap)
