"""Identical requests at a time, of which one is sent: it leads a flight, the others wait what comes of it."""

from __future__ import annotations

import asyncio
import copy
import enum
import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ..errors import HTTPException, RequestTimeout, TotalTimeout
from .departure import Departure

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import Timeout
    from ..messages import Request
    from ..politeness.rule import Rule
    from ..politeness.slot import Slot
    from .record import Record
    from .storage import Storage

STALLED = 1.0
"""Seconds without a new piece after which the others no longer wait for a body: its reader takes his time, or is
himself waiting for one of them."""


class Landing(enum.Enum):
    """What those who waited are to do if there is no record for them."""

    ALONE = "each sends its own: what came, this time, is not to be shared"
    UNSHARED = "each sends its own, from now on: what is there is not to be stored"
    AGAIN = "one of them leads the next: nothing came, for reasons of the first one's own"


class Failure(NamedTuple):
    """Why there is no response: for each who waited, so that not each has to find out by himself."""

    error: HTTPException
    limits: Timeout | None
    """Those that were exceeded, without `total`; None: it failed for another reason."""

    @classmethod
    def of(cls, error: BaseException, timeout: Timeout) -> Failure | Landing:
        """What an error of the leader's, under his limits, means for the others: `AGAIN` if it is his alone."""
        if not isinstance(error, HTTPException) or isinstance(error, TotalTimeout):
            return Landing.AGAIN
        # A copy: the error's own traceback leads to the flight.
        limits = timeout.replace(total=None) if isinstance(error, RequestTimeout) else None
        return cls(_copy_of(error, error.request), limits)

    def is_for(self, timeout: Timeout) -> bool:
        """Whether another request, with these limits, failed with it."""
        return self.limits is None or self.limits == timeout.replace(total=None)

    def error_for(self, request: Request) -> HTTPException:
        """The error, to be raised for one of them."""
        return _copy_of(self.error, request)


def _copy_of(error: HTTPException, request: Request | None) -> HTTPException:
    copied = copy.copy(error)
    copied.request = request
    copied.__cause__ = error.__cause__
    return copied


Outcome: TypeAlias = "Record | Failure | Landing"


class Flight:
    """One request under way. Its leader's body is collected as it is read, and becomes the record if it is whole.

    `still_holds` tells whether what it brings may be stored, `on_landing` is called once, `slot` is the leader's. As a
    `BodyTap` it keeps no reference to the response.
    """

    def __init__(
        self,
        storage: Storage,
        max_body: int,
        still_holds: Callable[[], bool],
        on_landing: Callable[[Flight, Outcome], None],
        slot: Slot | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._storage = storage
        self._max_body = max_body
        self.still_holds = still_holds
        self._on_landing: Callable[[Flight, Outcome], None] | None = on_landing
        self._landed: asyncio.Future[Outcome] = loop.create_future()
        self._record: Record | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._moved_at: float | None = None  # None: the head is not there yet
        self._slot = slot
        self.departure = Departure()

    @property
    def landed(self) -> bool:
        """Whether it is over."""
        return self._on_landing is None

    def land(self, outcome: Outcome) -> None:
        """It is over. Only the first time counts."""
        if self._on_landing is not None:
            tell, self._on_landing = self._on_landing, None
            self._record, self._pieces, self._slot = None, [], None
            self._landed.set_result(outcome)
            tell(self, outcome)

    def waits_for_others(self, sender: Rule | None) -> bool:
        """Whether the leader has given his slot back and needs another of his sender's, which `sender` (what counts the
        slots of who asks) is not. Who is to take the sender's results may be the one who asks: he must not wait."""
        slot = self._slot
        return slot is not None and slot.is_given_back and slot.rule is not sender

    async def wait(self, patience: float, sender: Rule | None) -> Outcome:
        """What comes of it; `ALONE` if its head is not there `patience` seconds after it departed, or if its body
        stalls; `AGAIN` once it `waits_for_others`. (Before it departs, who asks for himself would have to wait for his
        turn as well. And a leader who is as patient is to be the first to give up, else all the others would go at that
        moment.)"""
        began = self._loop.time()
        while not self._landed.done():
            now = self._loop.time()
            until = math.inf
            if self._moved_at is not None:
                until = self._moved_at + STALLED
            elif self.departure.at is not None:
                until = max(began, self.departure.at) + patience + STALLED
            if until <= now:
                return Landing.ALONE
            if self.waits_for_others(sender):
                return Landing.AGAIN
            await asyncio.wait((self._landed,), timeout=min(until - now, STALLED))
        return self._landed.result()

    # --- the body (BodyTap) ---

    def collect(self, record: Record) -> None:
        """The head is there; the record, but for its body."""
        self._record = record
        self._moved_at = self._loop.time()

    def piece(self, data: bytes) -> None:
        """See `BodyTap`."""
        if self._record is None:
            return
        self._moved_at = self._loop.time()
        self._size += len(data)
        if self._size > self._max_body:
            self.land(Landing.UNSHARED)
        else:
            self._pieces.append(data)

    def done(self) -> None:
        """See `BodyTap`."""
        record = self._record
        if record is None:
            return
        record.body = b"".join(self._pieces)
        if self.still_holds():
            self._storage.put(record)
            self.land(record)
        else:
            self.land(Landing.AGAIN)

    def over(self) -> None:
        """The exchange is over, its body at its end or not."""
        self.land(Landing.AGAIN)
