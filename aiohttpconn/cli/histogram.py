"""Latencies, counted in buckets: however many there are, they take the same memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

_BITS = 7
_HALF = 1 << _BITS


class Histogram:
    """Durations in whole microseconds, each known to 1 part in 128; exact up to 256 µs.

    A bucket is a power of two and 7 bits below it, as in HdrHistogram: a century of microseconds has 5,800.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0
        self.least = 0
        self.most = 0

    def add(self, duration: int) -> None:
        """Count one."""
        if not self.count or duration < self.least:
            self.least = duration
        self.most = max(self.most, duration)
        self.count += 1
        self.total += duration
        shift = max(0, duration.bit_length() - _BITS - 1)
        bucket = shift * _HALF + (duration >> shift)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1

    @property
    def mean(self) -> float:
        """Their mean; 0.0 of none."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, share: float) -> int:
        """The least duration that at least `share` per cent are not above; 0 of none.

        >>> histogram = Histogram()
        >>> for duration in range(1, 101):
        ...     histogram.add(duration)
        >>> histogram.percentile(50), histogram.percentile(99), histogram.percentile(100)
        (50, 99, 100)
        """
        wanted, seen = share / 100 * self.count, 0
        for duration, count in self._buckets():
            seen += count
            if seen >= wanted:
                return min(max(duration, self.least), self.most)
        return self.most

    def rows(self) -> list[tuple[int, int, int]]:
        """From the least to the most in steps of 1, 2, 5, 10, 20…: from, up to (not included), how many."""
        if not self.count:
            return []
        edges = [edge * 10**power for power in range(15) for edge in (1, 2, 5)]
        inner = [edge for edge in edges if self.least < edge <= self.most]
        bounds = [self.least, *inner, self.most + 1]
        rows = [[start, end, 0] for start, end in pairwise(bounds)]
        at = 0
        for duration, count in self._buckets():
            while at + 1 < len(rows) and duration >= rows[at][1]:
                at += 1
            rows[at][2] += count
        return [(start, end, count) for start, end, count in rows]

    def _buckets(self) -> Iterator[tuple[int, int]]:
        """The middle of each bucket, and how many are in it, in their order."""
        for bucket in sorted(self._counts):
            shift = max(0, bucket // _HALF - 1)
            start = (bucket - shift * _HALF) << shift
            yield start + ((1 << shift) >> 1), self._counts[bucket]
