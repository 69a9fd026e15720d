"""`Spill`: requests that wait for hosts which hold things up, in a file of SQLite's that nobody sees."""

from __future__ import annotations

import marshal
import sqlite3
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict

from ..headers import Headers
from ..messages import BytesLike, Request
from ..url import URL, Origin
from .feed import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .feed import Feed
    from .result import MapResult
    from .turns import Host

_SCHEMA = """
CREATE TABLE waiting (host INTEGER, rank INTEGER, place INTEGER, job BLOB, PRIMARY KEY (host, rank, place))
WITHOUT ROWID
"""
_INSERT = "INSERT INTO waiting VALUES (?, ?, ?, ?)"
_FIRST = "SELECT rank, place, job FROM waiting WHERE host = ? ORDER BY rank, place LIMIT ?"
_DELETE = "DELETE FROM waiting WHERE host = ? AND (rank, place) <= (?, ?)"
_ALL = "SELECT rank, place, job FROM waiting WHERE job IS NOT NULL"


_AT_A_TIME = 500
"""Entries that a feed has back in one go: 5 ms."""


class Spill:
    """The requests of some hosts, each host's in the order in which they were read (a feed's: of their rank, and in it
    as they were read), in 2 MiB of memory and, beyond that, in a temporary file, which has no name and goes with the
    process. What is put there is read back as it was, a `Request` as an equal one.

    - `restore`: makes a job again of its index and what the source gave.
    - `feed`: that they came from, if it was one: it has no need to hold what is here.

    What cannot be written, such as a body that is read as it is sent, stays in memory, and only has its place here.
    All methods raise OSError if the file cannot be written or read (a full disk): nothing is to be asked of it then.
    """

    def __init__(self, restore: Callable[[int, Any], MapResult], feed: Feed | None) -> None:
        self.kept: dict[int, MapResult] = {}
        """What could not be written, by index."""
        self._restore = restore
        self._feed = feed
        self._rest: sqlite3.Cursor | None = None  # what the feed has not back yet, once it has some
        # Its user may let go of it in another thread: the garbage collector's.
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        # It is never read after a crash, so that it needs neither a journal nor an end of the transaction.
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute("BEGIN")
        self._file.execute(_SCHEMA)

    def put(self, host: Host, jobs: Iterable[MapResult]) -> None:
        """Requests of a host, which come after those of its that are there, or before, by their places."""
        rows = []
        entries = []
        for job in jobs:
            written = _written(job)
            rank = 0 if job.entry is None else job.entry.rank
            if written is None:
                self.kept[job.index] = job
            elif job.entry is not None:
                entries.append(job.entry)
            rows.append((id(host), rank, job.index, written))  # a host lives as long as it has any here
        try:
            self._file.executemany(_INSERT, rows)
        except sqlite3.Error as error:
            raise _failure(error) from error
        if self._feed is not None:
            for entry in entries:
                self._feed.set_aside(entry)

    def take(self, host: Host, most: int) -> list[MapResult]:
        """Take the first out that a host has here, `most` of them."""
        try:
            rows = self._file.execute(_FIRST, (id(host), most)).fetchall()
            self._file.execute(_DELETE, (id(host), *rows[-1][:2]))
        except sqlite3.Error as error:
            raise _failure(error) from error
        return [self.kept.pop(place) if job is None else self._read(rank, place, job) for rank, place, job in rows]

    def _read(self, rank: int, index: int, written: bytes) -> MapResult:
        given, turn, key, of_entry = marshal.loads(written)
        job = self._restore(index, _given(given))
        job.turn = turn
        job.key = key
        if of_entry is not None:
            job.entry = _entry(rank, job.given, of_entry)
            if self._feed is not None:
                self._feed.take_up(job.entry)
        return job

    def give_back(self) -> bool:
        """A feed has some of what is here back; False if there is no more. Nothing else is done with it after this."""
        feed, self._feed = self._feed, None  # there is no more if this fails
        if feed is None:
            return False
        try:
            if self._rest is None:
                self._rest = self._file.execute(_ALL)
            rows = self._rest.fetchmany(_AT_A_TIME)
        except sqlite3.Error as error:
            raise _failure(error) from error
        for rank, _, written in rows:
            given, _, _, of_entry = marshal.loads(written)
            feed.put_back(_entry(rank, _given(given), of_entry))
        if rows:
            self._feed = feed
        return bool(rows)

    def __del__(self) -> None:
        # Not before the last reference is gone: what is under way here may be interrupted by the garbage collector,
        # which has the map stopped, and a connection that is closed meanwhile is the end of the process.
        if hasattr(self, "_file"):
            self._file.close()


def _failure(cause: sqlite3.Error) -> OSError:
    return OSError(f"what waits for slow hosts cannot be kept in a temporary file: {cause}")


# `marshal` writes what it reads in the same process, and takes a tenth of a microsecond for a URL.


def _written(job: MapResult) -> bytes | None:
    """What is needed to make a job again; None if it cannot be written."""
    given: Any = job.given
    kind = type(given)
    if kind is URL:
        given = (given.href,)
    elif kind is Request:
        body = given.body
        if not (body is None or isinstance(body, (str, BytesLike))):
            return None
        fields = [(str(name), value) for name, value in given.headers.items()]
        origin = None if given.redirected_from is None else tuple(given.redirected_from)
        given = (given.method, given.url.href, fields, body, given.idempotent, origin)
    elif kind is not str:
        return None
    entry = job.entry
    of_entry = None if entry is None else (entry.number, entry.depth, entry.via)
    try:
        return marshal.dumps((given, job.turn, job.key, of_entry))
    except ValueError:  # a subclass of what it knows
        return None


def _given(written: Any) -> str | URL | Request:
    if isinstance(written, str):
        return written
    if len(written) == 1:
        return URL(written[0])
    method, url, fields, body, idempotent, origin = written
    first = None if origin is None else Origin(*origin)
    headers = Headers(CIMultiDict(fields))
    return Request(method, url, headers, body, idempotent=idempotent, redirected_from=first)


def _entry(rank: int, request: str | URL | Request, written: tuple[Any, ...]) -> Entry:
    number, depth, via = written
    return Entry(rank, number, request, depth, via)
