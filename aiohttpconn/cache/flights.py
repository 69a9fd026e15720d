"""`Flights`: those that are under way, and what is known of URLs by those that were lately."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

from ..politeness.slot import current_slot
from .flight import Flight, Landing, Outcome
from .record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages import Request
    from .storage import Storage

_REMEMBERED = 4096
"""URLs of which it is known what happened to them lately."""

FlightKey: TypeAlias = tuple[str, tuple[tuple[str, str], ...], str]
"""What identical requests have in common: URL, fields, method."""


class Flights:
    """The flights of one transport, whose records go into `storage`, if their bodies have at most `max_body` bytes."""

    def __init__(self, storage: Storage, max_body: int) -> None:
        self._storage = storage
        self._max_body = max_body
        self._under_way: dict[FlightKey, Flight] = {}
        self._not_shared: OrderedDict[str, None] = OrderedDict()
        self._stored: OrderedDict[str, int] = OrderedDict()  # how often
        self._written: OrderedDict[str, int] = OrderedDict()  # how often

    def __len__(self) -> int:
        return len(self._under_way)

    def under_way(self, key: FlightKey) -> Flight | None:
        """The one that such a request may wait for."""
        return self._under_way.get(key)

    def shares(self, url: str) -> bool:
        """Whether it is worth while to wait for another's request: not where what came last was not to be stored."""
        return url not in self._not_shared

    def stored(self, url: str) -> int | None:
        """How often lately a response for this URL was stored; a number that differs tells that one was meanwhile."""
        return self._stored.get(url)

    def begin(self, request: Request, key: FlightKey) -> Flight:
        """One that others may wait for, from now on in place of any other."""
        url = key[0]

        def landed(flight: Flight, outcome: Outcome) -> None:
            if self._under_way.get(key) is flight:
                del self._under_way[key]
            if outcome is Landing.UNSHARED:
                self._not_shared[url] = None
                if len(self._not_shared) > _REMEMBERED:
                    self._not_shared.popitem(last=False)
            elif isinstance(outcome, Record):
                self._not_shared.pop(url, None)
                _count(self._stored, url)

        flight = self._under_way[key] = self._flight(request, url, landed)
        return flight

    def begin_alone(self, request: Request, url: str) -> Flight:
        """One that nobody waits for."""
        return self._flight(request, url, None)

    def _flight(self, request: Request, url: str, landed: Callable[[Flight, Outcome], None] | None) -> Flight:
        written, storage = self._written.get(url), self._storage

        def told(flight: Flight, outcome: Outcome) -> None:
            if outcome is Landing.UNSHARED:
                storage.remove(url, request)  # it is not what is there any more
            if landed is not None:
                landed(flight, outcome)

        return Flight(storage, self._max_body, lambda: self._written.get(url) == written, told, current_slot.get())

    def written(self, url: str) -> None:
        """Something may have changed there: what is stored of it, or on its way, holds no longer."""
        _count(self._written, url)
        self._storage.remove(url)
        for key, flight in list(self._under_way.items()):
            if key[0] == url:
                flight.land(Landing.AGAIN)


def _count(counts: OrderedDict[str, int], url: str) -> None:
    counts[url] = counts.pop(url, 0) + 1
    if len(counts) > _REMEMBERED:
        counts.popitem(last=False)
