"""Where records are kept: the protocol, and memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..messages import Request
    from .record import Record

MOST_VARIANTS = 100
"""Records of one URL, beyond which the oldest goes: a server that varies by Cookie has no end of them."""


class Storage(Protocol):
    """Keeps records, as many as fit. What it cannot keep, or find, is not in the cache: it does not raise for that."""

    async def get(self, url: str, request: Request | None = None) -> Sequence[Record]:
        """The records of a URL, or those of them that are for such a request."""
        ...

    def put(self, record: Record) -> None:
        """Keep a record, in place of the one with the same URL and `key`. Waits for nothing."""
        ...

    def remove(self, url: str, request: Request | None = None) -> None:
        """Forget the records of a URL, or those of them that are for such a request. Waits for nothing."""
        ...

    async def clear(self) -> None:
        """Forget everything."""
        ...

    async def close(self) -> None:
        """Let go of everything that is open, once what was to be kept is. Idempotent."""
        ...


class MemoryStorage:
    """Records in memory: at most `max_size` bytes and `max_entries` of them; the URLs not used for longest go first."""

    def __init__(self, max_size: int, max_entries: int) -> None:
        self._max_size = max_size
        self._max_entries = max_entries
        self._records: OrderedDict[str, list[Record]] = OrderedDict()
        self._size = 0
        self._count = 0

    async def get(self, url: str, request: Request | None = None) -> Sequence[Record]:
        """See `Storage`."""
        records = self._records.get(url)
        if records is None:
            return ()
        self._records.move_to_end(url)
        return records if request is None else [record for record in records if record.serves(request)]

    def put(self, record: Record) -> None:
        """See `Storage`."""
        records = self._records.get(record.url, [])
        kept = [each for each in records if each.key != record.key]
        self._account(records, -1)
        # A new list: who has got the old one may be going through it.
        self._records[record.url] = records = [*kept[1 - MOST_VARIANTS :], record]
        self._records.move_to_end(record.url)
        self._account(records, +1)
        while self._size > self._max_size or self._count > self._max_entries:
            oldest = next(iter(self._records))
            if oldest != record.url:
                self.remove(oldest)
            elif len(records) > 1:  # many variants of one URL
                self._account(records[:1], -1)
                self._records[record.url] = records = records[1:]
            else:
                self.remove(oldest)

    def remove(self, url: str, request: Request | None = None) -> None:
        """See `Storage`."""
        records = self._records.pop(url, [])
        self._account(records, -1)
        if request is not None and (kept := [record for record in records if not record.serves(request)]):
            self._records[url] = kept
            self._account(kept, +1)

    def _account(self, records: list[Record], sign: int) -> None:
        self._count += sign * len(records)
        for record in records:
            self._size += sign * record.size

    async def clear(self) -> None:
        """See `Storage`."""
        self._records.clear()
        self._size = self._count = 0

    async def close(self) -> None:
        """See `Storage`."""

    def __repr__(self) -> str:
        return f"<MemoryStorage {self._count} records, {self._size} bytes>"
