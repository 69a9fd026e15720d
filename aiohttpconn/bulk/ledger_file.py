"""`LedgerFile`: an SQLite file and the thread that writes it."""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .file_lock import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Change: TypeAlias = tuple[str, tuple[Any, ...]]
"""A statement and its values."""

COMMIT_AFTER = 0.1
"""Seconds that a change waits for others to be committed with it: a commit costs as much as a hundred changes."""

AT_ONCE = 1000
"""Changes in one transaction, about: 2 ms, for which `ask` may have to wait."""

_VERSION = 1
"""Of the tables, in `PRAGMA user_version`."""

_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


class LedgerFile:
    """What is left of a `Ledger` that is no more, until all is written. See there.

    It is the thread that keeps the time, so that a change is written though its process only computes.
    """

    def __init__(self, path: str, kind: int, schema: str) -> None:
        self._path = path
        self._kind = kind
        self._schema = schema
        self._file_lock: FileLock | None = None
        self.error: Exception | None = None
        """What went wrong in the thread: nothing is written any more."""
        # The changes of one tuple are written together. Put at one end and taken at the other, each without a lock.
        self._batch: deque[tuple[Change, ...]] = deque()
        self._due: float | None = None  # when they are written
        self._lock = threading.Lock()  # of the connection, whose users are the thread and `ask`
        self._asking = threading.Lock()  # held by `ask`, which goes before the thread's next transaction
        self._connection: sqlite3.Connection | None = None
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()  # its put() may interrupt its put()
        self._thread: threading.Thread | None = None
        self._is_closing = False
        self.closed: Future[None] = Future()
        """Done when the thread has ended, and somebody else may have the file."""

    @property
    def is_used(self) -> bool:
        """Whether there is a thread, or a connection for it to close."""
        return self._thread is not None

    def put(self, *changes: Change) -> None:
        """Changes that are written together, soon."""
        self._batch.append(changes)
        if self._due is None:  # looked at after the changes are there: `_write` takes them after it is None
            self._due = monotonic() + COMMIT_AFTER
            self._start()
            self._work.put(_nothing)

    def give_last(self) -> None:
        """Have the thread write what is left, close the file and end."""
        self._is_closing = True
        self._work.put(None)

    def call(self, function: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Have the thread call a function of the connection, after all that was put before is written."""
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            self._write()
            try:
                with self._lock:
                    value = function(self._open())
            except sqlite3.Error as error:
                future.set_exception(self._failure(error))
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(value)

        self._start()
        self._work.put(work)
        return future

    def ask(self, statement: str, row: tuple[Any, ...]) -> list[Any]:
        """The rows of a query, in the caller's thread, of what is written."""
        self._start()
        try:
            with self._asking, self._lock:
                return self._open().execute(statement, row).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _start(self) -> None:
        if self._thread is None:
            # A daemon, so that a ledger that nobody closes does not keep the process from ending; see `_finish`.
            self._thread = threading.Thread(target=self._run, name="aiohttpconn-ledger", daemon=True)
            _in_use.add(self)
            self._thread.start()

    def finish(self) -> None:
        """Wait until everything is written and the file closed."""
        self.give_last()
        if self._thread is not None:
            self._thread.join()

    # --- in the thread ---

    def _run(self) -> None:
        while True:
            due = self._due
            try:
                work = self._work.get(timeout=None if due is None else max(0.0, due - monotonic()))
            except Empty:
                self._write()
                continue
            if work is None:
                break
            work()
            del work  # with what it refers to
        self._write()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._file_lock is not None:
                self._file_lock.lift()
                self._file_lock = None
        _in_use.discard(self)
        self.closed.set_result(None)

    def _write(self) -> None:
        """Write what was put until now, some thousand changes to a transaction. What is put meanwhile is due later: who
        puts without a pause would keep those waiting for ever who wait for this."""
        self._due = None
        batch = self._batch
        left = len(batch)
        try:
            while left and self.error is None:  # after a failure nothing, lest there be a gap
                changes: list[Change] = []
                while left and len(changes) < AT_ONCE:
                    changes += batch.popleft()
                    left -= 1
                with self._asking:
                    pass  # the thread would have the lock again before who waits for it is awake
                with self._lock:
                    connection = self._open()
                    connection.execute("BEGIN IMMEDIATE")
                    try:
                        for statement, rows in groupby(changes, itemgetter(0)):
                            connection.executemany(statement, [row for _, row in rows])
                        connection.execute("COMMIT")
                    except BaseException:
                        if connection.in_transaction:
                            connection.execute("ROLLBACK")
                        raise
        except sqlite3.Error as error:
            self.error = self._failure(error)
        except Exception as error:
            self.error = error

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        lock = self._locked() if self._path else None
        try:
            if self._path:
                self._make()
            connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            try:
                connection.execute("BEGIN IMMEDIATE")
                self._make_tables(connection)
                connection.execute("COMMIT")
                if self._path:
                    connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
            except BaseException:
                connection.close()
                raise
        except BaseException:
            if lock is not None:
                lock.lift()
            raise
        self._file_lock = lock
        self._connection = connection
        return connection

    def _locked(self) -> FileLock:
        try:
            return FileLock(self._path)
        except BlockingIOError:
            closing = [other for other in list(_in_use) if other._is_closing and other._file_lock is not None]
            if not closing:
                raise
        for other in closing:  # one may be the file's, and nobody can use that any more
            other.finish()
        return FileLock(self._path)

    def _make(self) -> None:
        """Make the file, if it is not there, its owner's alone: what SQLite puts beside it gets the same mode."""
        with suppress(FileExistsError):
            # Where a link leads: O_EXCL follows none.
            os.close(os.open(os.path.realpath(self._path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        (kind,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if (kind, version) == (self._kind, _VERSION):
            return
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if kind or version or tables:
            raise OSError(
                f"{self} is another database than a checkpoint of this kind and version; it was left as it is: "
                "give another path, or delete it"
            )
        for statement in self._schema.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {self._kind}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _failure(self, cause: sqlite3.Error) -> OSError:
        hint = " (if it is no checkpoint, or a damaged one, give another path, or delete it)"
        damaged = getattr(cause, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
        error = OSError(f"{self} cannot be used: {cause}{hint if damaged and self._path else ''}")
        error.__cause__ = cause
        return error

    def __str__(self) -> str:
        return f"the checkpoint {self._path}" if self._path else "the frontier"


def _nothing() -> None:
    """What the thread is given for it to look at the time."""


_in_use: set[LedgerFile] = set()


def _finish() -> None:
    """What was put is written before the process ends, though nobody closed the ledger."""
    for file in list(_in_use):
        file.finish()


atexit.register(_finish)
