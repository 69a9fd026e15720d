"""Identical requests at a time, of which one is sent: it leads a flight, the others wait what comes of it."""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

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


class Flight:
    """One request under way. Its leader's body is collected as it is read, and becomes the record if it is whole.

    `still_holds` tells whether what it brings may be stored, `on_landing` is called once. As a `BodyTap` it keeps no
    reference to the response.
    """

    def __init__(
        self,
        storage: Storage,
        max_body: int,
        still_holds: Callable[[], bool],
        on_landing: Callable[[Flight, Record | Landing], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._storage = storage
        self._max_body = max_body
        self.still_holds = still_holds
        self._on_landing: Callable[[Flight, Record | Landing], None] | None = on_landing
        self._landed: asyncio.Future[Record | Landing] = loop.create_future()
        self._record: Record | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._moved_at: float | None = None  # None: the head is not there yet

    @property
    def landed(self) -> bool:
        """Whether it is over."""
        return self._on_landing is None

    def land(self, outcome: Record | Landing) -> None:
        """It is over. Only the first time counts."""
        if self._on_landing is not None:
            tell, self._on_landing = self._on_landing, None
            self._record, self._pieces = None, []
            self._landed.set_result(outcome)
            tell(self, outcome)

    async def wait(self, patience: float, at: float) -> Record | Landing:
        """What comes of it; `ALONE` if its head is not there for `patience` seconds, if its body stalls, or at `at`."""
        began = self._loop.time()
        while not self._landed.done():
            now = self._loop.time()
            until = min(at, began + patience if self._moved_at is None else self._moved_at + STALLED)
            if until <= now:
                return Landing.ALONE
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
