"""Records in a SQLite file, which several processes may share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from .database import Database
from .storage import MOST_VARIANTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..messages import Request
    from .record import Record

_PENDING = 64 << 20
"""Bytes of records that may wait to be written; what comes beyond that is not kept: the disk does not keep up."""
_ENOUGH = 8 << 20
"""Bytes for which nothing more is waited for."""
_GATHERING = 0.1
"""Seconds that a change waits for others to be written with it: a transaction costs as much as ten records."""
_AT_ONCE = 64
"""URLs in a transaction, for which other processes that write have to wait: about 5 ms."""


class _Changes:
    """What is to become of the records of a URL: some are removed, then others stored."""

    __slots__ = ("records", "removed", "size")

    def __init__(self) -> None:
        self.removed: list[Request | None] = []
        """Those for these requests; for None: all."""
        self.records: dict[object, Record] = {}
        self.size = 0

    def put(self, record: Record) -> None:
        self._drop(record.key)
        self.records[record.key] = record
        self.size += record.size
        if len(self.records) > MOST_VARIANTS:
            self._drop(next(iter(self.records)))

    def remove(self, request: Request | None) -> None:
        for record in list(self.records.values()):
            if request is None or record.serves(request):
                self._drop(record.key)
        self.removed = [None] if request is None else [*self.removed, request]

    def _drop(self, key: object) -> None:
        if (record := self.records.pop(key, None)) is not None:
            self.size -= record.size

    def over(self, found: Sequence[Record]) -> list[Record]:
        """What was found, once changed."""
        return [each for each in found if each.key not in self.records and not self._removes(each)] + [
            *self.records.values()
        ]

    def _removes(self, record: Record) -> bool:
        return any(request is None or record.serves(request) for request in self.removed)


class SQLiteStorage:
    """Records in the file at `path`, made for its owner alone: at most `max_size` bytes and `max_entries` of them, and
    those not used for longest go first.

    One thread reads and another one writes, so that no hit waits for what is stored. What was put is written 0.1 s
    later, together with what came meanwhile, and found here at once; other processes find it then, and a process that
    is killed loses what was not written yet. The file holds whole records only, whatever happens.

    (By `Client.map`, with 90,000 records in the file, 500 new pages took 8 s when each was written by itself, its
    bounds counted, and its reader queued behind it; so they take 0.46 s.)
    """

    def __init__(self, path: str | os.PathLike[str], max_size: int, max_entries: int) -> None:
        self.path = os.fspath(path)
        self._max_size = max_size
        self._max_entries = max_entries
        self._reader: ThreadPoolExecutor | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._from = Database(self.path)
        self._to = Database(self.path)
        self._lock = threading.Lock()  # of all that follows
        self._waiting: dict[str, _Changes] = {}
        self._writing: dict[str, _Changes] = {}
        self._touched: set[int] = set()
        self._size = 0  # bytes of all changes
        self._is_due = False
        self._hurry = threading.Event()
        self._closed = False

    # --- on the loop's side ---

    async def get(self, url: str, request: Request | None = None) -> Sequence[Record]:
        """See `Storage`. Raises OSError for a file that cannot be opened, or holds something else."""
        if self._closed:
            return ()
        with self._lock:
            changes = [each[url] for each in (self._writing, self._waiting) if url in each]
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, "aiohttpconn-cache-reader")
        found, touched = await asyncio.wrap_future(self._reader.submit(self._read, url, request))
        if touched:
            with self._lock:
                self._touched.update(touched)
                self._have_written()
        for each in changes:
            found = each.over(found)
        if changes and request is not None:
            found = [record for record in found if record.serves(request)]
        return found[-MOST_VARIANTS:]

    def put(self, record: Record) -> None:
        """See `Storage`."""
        with self._lock:
            if self._size + record.size <= _PENDING and (changes := self._changes_of(record.url)) is not None:
                self._size -= changes.size
                changes.put(record)
                self._size += changes.size
                if self._size > _ENOUGH:
                    self._hurry.set()

    def remove(self, url: str, request: Request | None = None) -> None:
        """See `Storage`."""
        with self._lock:
            if (changes := self._changes_of(url)) is not None:
                self._size -= changes.size
                changes.remove(request)
                self._size += changes.size

    def _changes_of(self, url: str) -> _Changes | None:
        """Those of a URL that wait to be written, if they still will be."""
        if self._closed:
            return None
        self._have_written()
        return self._waiting.setdefault(url, _Changes())

    def _have_written(self) -> None:
        """See to it that what waits is written soon."""
        if not self._is_due and not self._closed:
            self._is_due = True
            self._writing_thread().submit(self._write)

    def _writing_thread(self) -> ThreadPoolExecutor:
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, "aiohttpconn-cache-writer")
        return self._writer

    async def clear(self) -> None:
        """See `Storage`."""
        if not self._closed:
            self._hurry.set()
            await asyncio.wrap_future(self._writing_thread().submit(self._clear))

    async def close(self) -> None:
        """See `Storage`."""
        self._closed = True
        self._hurry.set()
        closing = []
        for thread, database in ((self._reader, self._from), (self._writer, self._to)):
            if thread is not None:
                closing.append(asyncio.wrap_future(thread.submit(database.close)))
                thread.shutdown(wait=False)
        self._reader = self._writer = None
        await asyncio.shield(asyncio.gather(*closing))  # cancelled or not, the files are closed

    # --- in the threads ---

    def _read(self, url: str, request: Request | None) -> tuple[list[Record], list[int]]:
        try:
            return self._from.read(url, request)
        except sqlite3.Error:  # locked for long, or damaged: then it is not in the cache
            return [], []

    def _write(self) -> None:
        self._hurry.wait(_GATHERING)
        with self._lock:
            self._is_due = False
            self._hurry.clear()
            self._writing, self._waiting = self._waiting, {}
            touched, self._touched = self._touched, set()
        try:
            rest = iter(self._writing.items())
            while (part := list(islice(rest, _AT_ONCE))) or touched:
                removed = [(url, request) for url, changes in part for request in changes.removed]
                records = [record for _, changes in part for record in changes.records.values()]
                self._to.write(removed, records, touched, self._max_size, self._max_entries)
                touched = set()
        except (sqlite3.Error, OSError):
            pass  # a full disk, or locked for long: the rest is not kept either
        finally:
            with self._lock:
                self._size -= sum([changes.size for changes in self._writing.values()])
                self._writing = {}

    def _clear(self) -> None:
        with self._lock:
            self._size -= sum([changes.size for changes in self._waiting.values()])
            self._waiting = {}
        with contextlib.suppress(sqlite3.Error, OSError):
            self._to.clear()

    def __repr__(self) -> str:
        return f"<SQLiteStorage {self.path}>"
