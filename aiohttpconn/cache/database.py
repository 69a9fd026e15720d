"""`Database`: the SQLite file of a cache, as one thread sees it."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from .record import Record, variant_of
from .storage import MOST_VARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..messages import Request

_VERSION = 2
# The body comes last: who reads the columns before it does not read its pages. The totals spare counting: with 90,000
# records that took 12 ms, for each one stored.
_SCHEMA = (
    """
CREATE TABLE responses (
  url TEXT NOT NULL, method TEXT NOT NULL, varies TEXT NOT NULL, variant BLOB NOT NULL,
  version INTEGER NOT NULL, status INTEGER NOT NULL, reason TEXT NOT NULL, fields TEXT NOT NULL,
  born REAL NOT NULL, size INTEGER NOT NULL, used REAL NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (url, method, varies, variant)
)
""",
    "CREATE INDEX responses_by_use ON responses (used, size)",
    "CREATE TABLE totals (entries INTEGER NOT NULL, size INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0, 0)",
    """
CREATE TRIGGER response_added AFTER INSERT ON responses BEGIN
  UPDATE totals SET entries = entries + 1, size = size + new.size;
END
""",
    """
CREATE TRIGGER response_gone AFTER DELETE ON responses BEGIN
  UPDATE totals SET entries = entries - 1, size = size - old.size;
END
""",
)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_TOUCHED = 60.0
"""Seconds: the last use of a record is noted that exactly, so that most hits write nothing."""
_WAIT = 5.0
"""Seconds to wait for another process that writes."""
_opening = threading.Lock()
"""One at a time in this process: for some of it SQLite does not wait."""


class _Busy(sqlite3.OperationalError):
    """Another process has it locked for long."""


class Database:
    """A connection to the file at `path`, which is made for its owner alone, and opened when it is first used. All its
    methods raise sqlite3.Error for a file that is locked for long, damaged or full, and OSError for one that cannot be
    opened, or holds something else.

    Several connections, of several processes, may read and one at a time write (SQLite's write-ahead mode): a reader
    sees what was committed and waits for nobody.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._request: Request | None = None  # the one that SQL's serves() is about

    # --- reading ---

    def read(self, url: str, request: Request | None) -> tuple[list[Record], list[int]]:
        """The records of a URL, or those of them that are for such a request, the oldest first; and which rows are to
        be touched."""
        db = self._open()
        self._request = request
        rows = db.execute(
            "SELECT rowid, method, varies, variant, version, status, reason, fields, body, born, used"
            " FROM responses WHERE url = ? AND serves(method, varies, variant) ORDER BY rowid",
            (url,),
        ).fetchall()
        now = time.time()
        records = [
            Record(
                method, url, tuple(varies.split()), variant, version, status, reason,
                [(name, value) for name, value in json.loads(fields)], body, born,
            )
            for _, method, varies, variant, version, status, reason, fields, body, born, _ in rows
        ]  # fmt: skip
        return records, [row[0] for row in rows if now - row[-1] > _TOUCHED]

    def _serves(self, method: str, varies: str, variant: bytes) -> bool:
        """In SQL: so a row is judged by the index, and no body is read for it."""
        request = self._request
        return request is None or (method == request.method and variant == variant_of(request, varies.split()))

    # --- writing ---

    def write(
        self,
        removed: Sequence[tuple[str, Request | None]],
        records: Sequence[Record],
        touched: Iterable[int],
        max_size: int,
        max_entries: int,
    ) -> None:
        """In one transaction: remove what is there of the URLs, or what of it is for the requests; store the records,
        in place of those with the same key; note that rows were used now; and make room."""
        db = self._open()
        now = time.time()
        rows = [
            (
                record.url, record.method, " ".join(record.varies), record.variant, record.version, record.status,
                record.reason, json.dumps(record.pairs), record.born, record.size, now, record.body,
            )
            for record in records
        ]  # fmt: skip
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany("UPDATE responses SET used = ? WHERE rowid = ?", [(now, row) for row in touched])
            there = self._there([url for url, _ in removed])
            for url, self._request in [each for each in removed if each[0] in there]:
                db.execute("DELETE FROM responses WHERE url = ? AND serves(method, varies, variant)", (url,))
            db.executemany(f"INSERT OR REPLACE INTO responses VALUES ({', '.join('?' * 12)})", rows)
            for url in self._there({row[0] for row in rows}, MOST_VARIANTS + 1):
                # A row that is replaced gets a new rowid: the oldest go.
                db.execute(
                    "DELETE FROM responses WHERE rowid IN"
                    f" (SELECT rowid FROM responses WHERE url = ? ORDER BY rowid DESC LIMIT -1 OFFSET {MOST_VARIANTS})",
                    (url,),
                )
            self._evict(max_size, max_entries)
            db.execute("COMMIT")
        except BaseException:
            _roll_back(db)
            raise

    def _there(self, urls: Iterable[str], least: int = 1) -> set[str]:
        """Those of the URLs of which there are so many records."""
        several = tuple(urls)
        if not several:
            return set()
        found = self._open().execute(
            f"SELECT url FROM responses WHERE url IN ({', '.join('?' * len(several))})"
            " GROUP BY url HAVING count(*) >= ?",
            (*several, least),
        )
        return {url for (url,) in found}

    def _evict(self, max_size: int, max_entries: int) -> None:
        db = self._open()
        count, size = db.execute("SELECT entries, size FROM totals").fetchone()
        count, size = count - max_entries, size - max_size
        if count <= 0 and size <= 0:
            return
        gone = []
        for row in db.execute("SELECT rowid, size FROM responses ORDER BY used, rowid"):
            if count <= 0 and size <= 0:
                break
            gone.append((row[0],))
            count, size = count - 1, size - row[1]
        db.executemany("DELETE FROM responses WHERE rowid = ?", gone)

    def clear(self) -> None:
        """Remove everything."""
        self._open().execute("DELETE FROM responses")

    # --- the file ---

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        try:
            with _opening:
                _make(self.path)
                db = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)
                try:
                    self._set_up(db)
                except BaseException:
                    db.close()
                    raise
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and _is_busy(error):
                raise _Busy from error
            raise OSError(f"{self.path} cannot be used as a cache: {error}") from error
        self._connection = db
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
                _roll_back(db)
                raise
        db.create_function("serves", 3, self._serves)
        db.execute("PRAGMA recursive_triggers=ON")  # else a row that is replaced goes without a trigger
        db.execute("PRAGMA synchronous=NORMAL")
        # For this SQLite does not wait for others: it says at once that they are busy.
        for pause in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, None):
            try:
                db.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
                if pause is None:
                    return  # it is as well without; whoever is the next to open it tries again
                time.sleep(pause)
            else:
                return

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _make(path: str) -> None:
    """Make the file, its owner's alone, if it is not there.

    One that is there is not opened: to close any descriptor of it would end all the locks that SQLite has on it in this
    process (fcntl(2)), and another process that believes to be the only one left would write over what this one reads.
    """
    try:
        # Where a link leads: O_EXCL follows none.
        os.close(os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path) from None


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in _BUSY


def _roll_back(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.execute("ROLLBACK")


def _version_of(db: sqlite3.Connection) -> int | None:
    """The version that a file says it has; None for one that is empty."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(version) if version or tables else None
