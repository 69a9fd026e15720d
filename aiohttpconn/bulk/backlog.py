"""`Backlog`: requests that wait, by priority; the next ones in memory, and the rest in SQLite."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from ..messages import Request
from ..url import parse
from .feed import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .ledger import Ledger
    from .ledger_file import Change

SCHEMA = """
CREATE TABLE IF NOT EXISTS backlog (
    rank INTEGER, number INTEGER, depth INTEGER, method TEXT, url TEXT, fields TEXT, body BLOB, idempotent INTEGER,
    origin TEXT, via TEXT,
    PRIMARY KEY (rank, number)
) WITHOUT ROWID;
"""
_INSERT = "INSERT INTO backlog VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NEXT = """
SELECT rank, number, depth, method, url, fields, body, idempotent, origin, via FROM backlog
WHERE (rank, number) >= (?, ?){but} ORDER BY rank, number LIMIT ?
"""
_DELETE = "DELETE FROM backlog WHERE (rank, number) = (?, ?)"
_DELETE_BEFORE = "DELETE FROM backlog WHERE (rank, number) < (?, ?)"
_OUT = "CREATE TEMP TABLE out (number INTEGER PRIMARY KEY)"
_NOT_OUT = " AND number NOT IN (SELECT number FROM temp.out)"
_LEAVE_OUT = "INSERT OR IGNORE INTO temp.out VALUES (?)"
_TAKE_IN = "DELETE FROM temp.out WHERE number = ?"
_LOADED = 1000
"""Entries that go to the file, or come from there, in one go, at most: 5 ms."""
_FIRST = (-(1 << 63), 0)


class Backlog:
    """Entries in the order of their rank and number, lowest first.

    - `limit`: how many are kept in memory. When there are more, the last ones are left to the ledger: what stands at
      `_beyond` or after it is there and not in memory.
    - `keep`: whether all of them are in the ledger as well until they are `done`, because the file is to stay. Which of
      them are out is not in it: that is so in memory and, of those that may be out for long, in a table of its
      connection, so that they wait again for the next run.
    """

    def __init__(self, limit: int, ledger: Ledger, keep: bool) -> None:
        self._limit = max(2, limit)
        self._ledger = ledger
        self._keep = keep
        self._heap: list[Entry] = []
        self._beyond: tuple[int, int] | None = None
        self._next = _NEXT.format(but=_NOT_OUT if keep else "")
        self._out: set[int] = set()  # taken out, and still in the file that stays; but for those of the table
        self._waiting = 0
        self.next_number = 0
        """The number of the next entry, higher than all that are there."""
        if keep:
            [(self._waiting, last)] = ledger.ask("SELECT count(*), max(number) FROM backlog")
            ledger.ask(_OUT)
            if self._waiting:
                self._beyond, self.next_number = _FIRST, last + 1

    def __len__(self) -> int:
        return self._waiting

    def push(self, entry: Entry, also: Iterable[Change] = ()) -> None:
        """Add one; `also`: the changes of a ledger that is kept that go with it."""
        self._waiting += 1
        beyond = self._beyond
        elsewhere = beyond is not None and entry[:2] >= beyond
        if self._keep or elsewhere:
            self._ledger.put(_INSERT, *_row(entry), also=also)
        if elsewhere:
            return
        heapq.heappush(self._heap, entry)
        if len(self._heap) > self._limit:
            self._leave_some()

    def pop(self) -> Entry | None:
        """Take the first out; None if there is none."""
        while not self._heap:
            if self._beyond is None:
                return None
            self._load()
        self._waiting -= 1
        entry = heapq.heappop(self._heap)
        if self._keep:
            self._out.add(entry.number)
        return entry

    def push_back(self, entry: Entry) -> None:
        """One that was taken out waits again."""
        self._waiting += 1
        self._take_in(entry)
        if self._beyond is None or entry[:2] < self._beyond:
            heapq.heappush(self._heap, entry)
            if len(self._heap) > self._limit:
                self._leave_some()
        elif not self._keep:
            self._ledger.put(_INSERT, *_row(entry))

    def done(self, entry: Entry) -> None:
        """One that was taken out need not be there any more the next time."""
        if self._keep:
            self._take_in(entry)
            self._ledger.put(_DELETE, entry.rank, entry.number)

    def leave_out(self, entry: Entry) -> None:
        """One that was taken out stays so for long, or for this run, and takes no memory."""
        if self._keep and not self._ledger.is_closed:
            self._ledger.put(_LEAVE_OUT, entry.number)
            self._out.discard(entry.number)

    def _take_in(self, entry: Entry) -> None:
        if entry.number in self._out:
            self._out.remove(entry.number)
        elif self._keep:
            self._ledger.put(_TAKE_IN, entry.number)

    def _leave_some(self) -> None:
        heap = self._heap
        heap.sort()
        kept = max(len(heap) // 2, len(heap) - _LOADED)
        later = heap[kept:]
        del heap[kept:]
        if not self._keep:
            for entry in later:
                self._ledger.put(_INSERT, *_row(entry))
        self._beyond = later[0][:2]

    def _load(self) -> None:
        """Take the next ones into memory."""
        ledger, beyond = self._ledger, self._beyond
        assert beyond is not None
        ledger.reach(ledger.mark())
        size = min(_LOADED, self._limit)
        rows = ledger.ask(self._next, *beyond, size)
        self._heap = [_entry(*row) for row in rows if row[1] not in self._out]  # in order: that is a heap
        self._beyond = None
        if len(rows) == size:
            rank, number = rows[-1][:2]
            self._beyond = (rank, number + 1)
        if rows and not self._keep:
            ledger.put(_DELETE_BEFORE, rows[-1][0], rows[-1][1] + 1)


def _row(entry: Entry) -> tuple[Any, ...]:
    rank, number, request, depth, via = entry
    if not isinstance(request, Request):
        return rank, number, depth, "GET", str(request), None, None, None, None, None
    import json  # noqa: PLC0415 - few add more than URLs

    body = request.body.encode("latin-1") if isinstance(request.body, str) else request.body
    fields = json.dumps(list(request.headers.items()))
    origin = None if request.redirected_from is None else str(request.redirected_from)
    more = (body, request.idempotent, origin, json.dumps(via) if via else None)
    return rank, number, depth, request.method, request.url.href, fields, *more


def _entry(
    rank: int,
    number: int,
    depth: int,
    method: str,
    url: str,
    fields: str | None,
    body: bytes | None,
    twice: int | None,
    origin: str | None,
    via: str | None,
) -> Entry:
    if fields is None:
        return Entry(rank, number, url, depth)
    import json  # noqa: PLC0415 - the same

    idempotent = None if twice is None else bool(twice)
    first = None if origin is None else parse(origin).origin
    request = Request(method, url, json.loads(fields), body, idempotent=idempotent, redirected_from=first)
    return Entry(rank, number, request, depth, tuple(json.loads(via)) if via else ())
