"""Records in a SQLite file, which several processes may share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from .record import Record, variant_of
from .storage import MOST_VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..messages import Request

T = TypeVar("T")

_VERSION = 1
_SCHEMA = (
    """
CREATE TABLE responses (
  url TEXT NOT NULL, method TEXT NOT NULL, varies TEXT NOT NULL, variant BLOB NOT NULL,
  version INTEGER NOT NULL, status INTEGER NOT NULL, reason TEXT NOT NULL, fields TEXT NOT NULL, body BLOB NOT NULL,
  born REAL NOT NULL, size INTEGER NOT NULL, used REAL NOT NULL,
  PRIMARY KEY (url, method, varies, variant)
)
""",
    "CREATE INDEX responses_by_use ON responses (used, size)",
)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_PENDING = 64 << 20
"""Bytes of records that may wait to be written; what comes beyond that is not kept: the disk does not keep up."""
_TOUCHED = 60.0
"""Seconds: the last use of a record is noted that exactly, so that most hits write nothing."""
_WAIT = 5.0
"""Seconds to wait for another process that writes."""


class _Busy(sqlite3.OperationalError):
    """Another process has it locked for long."""


class SQLiteStorage:
    """Records in the file at `path`, made for its owner alone: at most `max_size` bytes and `max_entries` of them, and
    those not used for longest go first. All work is done in order by a thread of its own."""

    def __init__(self, path: str | os.PathLike[str], max_size: int, max_entries: int) -> None:
        self.path = os.fspath(path)
        self._max_size = max_size
        self._max_entries = max_entries
        self._thread: ThreadPoolExecutor | None = None
        self._db: sqlite3.Connection | None = None
        self._pending = 0
        self._closed = False

    # --- on the loop's side ---

    async def get(self, url: str, request: Request | None = None) -> Sequence[Record]:
        """See `Storage`. Raises OSError for a file that cannot be opened, or holds something else."""
        if self._closed:
            return ()
        return await asyncio.wrap_future(self._submit(self._get, url, request))

    def put(self, record: Record) -> None:
        """See `Storage`."""
        size = record.size
        if self._closed or self._pending + size > _PENDING:
            return
        self._pending += size
        self._submit(self._put, record, size)

    def remove(self, url: str, request: Request | None = None) -> None:
        """See `Storage`."""
        if not self._closed:
            self._submit(self._remove, url, request)

    async def clear(self) -> None:
        """See `Storage`."""
        if not self._closed:
            await asyncio.wrap_future(self._submit(self._clear))

    async def close(self) -> None:
        """See `Storage`."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is not None:
            closing = thread.submit(self._close)
            thread.shutdown(wait=False)
            await asyncio.wrap_future(closing)

    def _submit(self, do: Callable[..., T], *args: Any) -> Future[T]:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "aiohttpconn-cache")
        return self._thread.submit(do, *args)

    # --- in the thread ---

    def _open(self) -> sqlite3.Connection:
        if self._db is not None:
            return self._db
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        db = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)
        try:
            self._set_up(db)
        except sqlite3.OperationalError as error:
            db.close()
            if error.sqlite_errorcode & 0xFF in _BUSY:
                raise _Busy from error
            raise OSError(f"{self.path} cannot be used as a cache: {error}") from error
        except sqlite3.DatabaseError as error:
            db.close()
            raise OSError(f"{self.path} cannot be used as a cache: {error}") from error
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def _set_up(self, db: sqlite3.Connection) -> None:
        """Make the tables, if the file is new. Others may open it at the same time: one of them makes them."""
        if _version_of(db) != _VERSION:
            db.execute("BEGIN IMMEDIATE")  # now nobody else makes them
            try:
                found = _version_of(db)
                if found is None:
                    for statement in _SCHEMA:
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version={_VERSION}")
                elif found != _VERSION:
                    raise OSError(f"{self.path} is another database than a cache of this version; it was left as it is")
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        db.execute("PRAGMA synchronous=NORMAL")
        # For this SQLite does not wait for others: it says at once that they are busy.
        for pause in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, None):
            try:
                db.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _BUSY:
                    raise
                if pause is None:
                    return  # it is as well without; whoever is the next to open it tries again
                time.sleep(pause)
            else:
                return

    def _rows_of(self, db: sqlite3.Connection, url: str, request: Request | None) -> list[int]:
        """Which rows are those of a URL, or for such a request. Answered by the index: no body is read for it."""
        found = db.execute("SELECT rowid, method, varies, variant FROM responses WHERE url = ?", (url,)).fetchall()
        if request is None:
            return [row for row, *_ in found]
        said = {varies: variant_of(request, varies.split()) for _, _, varies, _ in found}
        return [row for row, method, varies, variant in found if method == request.method and variant == said[varies]]

    def _get(self, url: str, request: Request | None) -> list[Record]:
        try:
            db = self._open()
            found = self._rows_of(db, url, request)
            rows = db.execute(
                "SELECT method, varies, variant, version, status, reason, fields, body, born, used"
                f" FROM responses WHERE rowid IN ({', '.join('?' * len(found))})",
                found,
            ).fetchall()
            now = time.time()
            if any(now - row[-1] > _TOUCHED for row in rows):
                db.executemany("UPDATE responses SET used = ? WHERE rowid = ?", [(now, row) for row in found])
        except sqlite3.Error:  # locked for long, or damaged: then it is not in the cache
            return []
        return [
            Record(
                method, url, tuple(varies.split()), variant, version, status, reason,
                [(name, value) for name, value in json.loads(fields)], body, born,
            )
            for method, varies, variant, version, status, reason, fields, body, born, _ in rows
        ]  # fmt: skip

    def _put(self, record: Record, size: int) -> None:
        try:
            db = self._open()
            values = (
                record.url, record.method, " ".join(record.varies), record.variant, record.version, record.status,
                record.reason, json.dumps(record.pairs), record.body, record.born, size, time.time(),
            )  # fmt: skip
            db.execute(f"INSERT OR REPLACE INTO responses VALUES ({', '.join('?' * len(values))})", values)
            # The covering index has rowid, and a row that is replaced gets a new one: the oldest go.
            db.execute(
                "DELETE FROM responses WHERE rowid IN"
                f" (SELECT rowid FROM responses WHERE url = ? ORDER BY rowid DESC LIMIT -1 OFFSET {MOST_VARIANTS})",
                (record.url,),
            )
            self._evict(db)
        except (sqlite3.Error, OSError):
            pass  # a full disk, or locked for long
        finally:
            self._pending -= size

    def _evict(self, db: sqlite3.Connection) -> None:
        count, size = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM responses").fetchone()
        if count <= self._max_entries and size <= self._max_size:
            return
        # A tenth more than needed, so that not each new record has another one looked for.
        count, size = count - 0.9 * self._max_entries, size - 0.9 * self._max_size
        gone = []
        for row in db.execute("SELECT rowid, size FROM responses ORDER BY used, rowid"):
            if count <= 0 and size <= 0:
                break
            gone.append((row[0],))
            count, size = count - 1, size - row[1]
        db.executemany("DELETE FROM responses WHERE rowid = ?", gone)

    def _remove(self, url: str, request: Request | None) -> None:
        with contextlib.suppress(sqlite3.Error, OSError):
            db = self._open()
            if request is None:
                db.execute("DELETE FROM responses WHERE url = ?", (url,))
            else:
                gone = [(row,) for row in self._rows_of(db, url, request)]
                db.executemany("DELETE FROM responses WHERE rowid = ?", gone)

    def _clear(self) -> None:
        with contextlib.suppress(sqlite3.Error, OSError):
            self._open().execute("DELETE FROM responses")

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def __repr__(self) -> str:
        return f"<SQLiteStorage {self.path}>"


def _version_of(db: sqlite3.Connection) -> int | None:
    """The version that a file says it has; None for one that is empty."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(version) if version or tables else None
