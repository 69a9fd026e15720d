"""Which bytes of a file are there: spans [start, end), sorted, apart from each other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Spans:
    """A set of byte positions.

    >>> spans = Spans([(0, 10), (20, 30)])
    >>> spans.add(10, 20)
    >>> list(spans), spans.size, spans.gaps(40)
    ([(0, 30)], 30, [(30, 40)])
    """

    __slots__ = ("_ends", "_starts", "size")

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.size = 0
        """How many bytes are there."""
        for start, end in spans:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """These are there too; what was there already may be among them."""
        if start >= end:
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:  # what it touches becomes one with it
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
            self.size -= sum(self._ends[first:last]) - sum(self._starts[first:last])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        self.size += end - start

    def gaps(self, size: int) -> list[tuple[int, int]]:
        """What of a file of so many bytes is not there."""
        edges = [0, *(edge for span in self for edge in span if edge <= size), size]
        return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=False) if start < end]

    def clipped(self, size: int) -> Spans:
        """The part of it below `size`."""
        return Spans((start, min(end, size)) for start, end in self)

    @property
    def prefix(self) -> int:
        """How many bytes are there from the first on without a gap."""
        return self._ends[0] if self._starts and self._starts[0] == 0 else 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        return len(self._starts)
