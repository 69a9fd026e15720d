"""`Ledger`: an SQLite file that is written to by a thread of its own, some hundred changes to a commit."""

from __future__ import annotations

import asyncio
import atexit
import os
import sqlite3
import threading
from concurrent.futures import Future
from itertools import groupby
from operator import itemgetter
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
COMMIT_AFTER = 0.1
"""Seconds that a change waits for others to be committed with it: a commit costs as much as a hundred changes."""

AT_ONCE = 1000
"""Changes in one transaction, about: 2 ms, for which `ask` may have to wait."""

_VERSION = 1
"""Of the tables, in `PRAGMA user_version`."""


class Ledger:
    """Changes go to the file in the order in which they were put, a batch of them in one transaction.

    - `path`: of the file; "" for one in the temporary directory, that goes with the ledger.
    - `kind`: what the file is marked as (`PRAGMA application_id`): one of another kind is refused.
    - `schema`: the tables, made in a new file.

    A new file, and what SQLite puts beside it, is its owner's alone (mode 0600). Nothing is opened, and no thread
    started, before there is something to write or to ask. What could not be opened or written (another kind of file, a
    full disk) is an OSError that names the file, raised by this and each later call; nothing is written after it.

    A process that is killed loses the changes of the last 0.1 s, one after the other from the end: the file is in
    SQLite's write-ahead mode, which does not wait for the disk, so that a power cut may lose more, and never leaves it
    inconsistent. One that ends writes everything.
    """

    def __init__(self, path: str, kind: int, schema: str) -> None:
        self._file = _File(path, kind, schema)
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    def put(self, statement: str, *row: Any) -> None:
        """A change, to be written soon: at once in the order of changes, a moment later in the file."""
        self.check()
        self._file.batch.append((statement, row, False))
        if self._timer is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # it is written with those that come in a loop
                return
            self._timer = loop.call_later(COMMIT_AFTER, self.write)

    def put_with_it(self, statement: str, *row: Any) -> None:
        """A change that is written together with the one that was put before, or neither is."""
        self._file.batch.append((statement, row, True))

    def write(self) -> None:
        """Have the thread write what was put."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        file = self._file
        if file.batch and not self._closed:
            batch, file.batch = file.batch, []
            file.give(lambda: file.write(batch))

    async def flush(self) -> None:
        """Everything that was put is in the file when this returns."""
        self.write()
        if self._file.is_used:
            await self.run(lambda connection: None)
        self.check()

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What a function of the connection returns, called by the thread after all that was put."""
        self.check()
        self.write()
        return await asyncio.wrap_future(self._file.call(function))

    def ask(self, statement: str, *row: Any) -> list[Any]:
        """The rows of a query at once, in the caller's thread: for one that an index answers (4 µs)."""
        return self._file.ask(statement, row)

    def write_now(self) -> None:
        """`flush` for who cannot await."""
        self.check()
        self.write()
        self._file.call(lambda connection: None).result()
        self.check()

    async def close(self) -> None:
        """Write what is left and close the file. Idempotent."""
        if self._closed:
            return
        try:
            await self.flush()
        finally:
            self.close_soon()

    def close_soon(self) -> None:
        """The same, without waiting for it. Takes no lock and starts no thread: the garbage collector may call this
        while anything at all is half done, in this thread too."""
        if not self._closed:
            self._closed = True
            self._file.give_last()

    def check(self) -> None:
        """Raise what went wrong in the thread; RuntimeError once it is closed."""
        if self._file.error is not None:
            raise self._file.error
        if self._closed:
            raise RuntimeError(f"{self._file} is closed")

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be put any more."""
        return self._closed

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close_soon()


class _File:
    """The file and the thread that writes it: what is left of a ledger that is no more, until all is written."""

    def __init__(self, path: str, kind: int, schema: str) -> None:
        self._path = path
        self._kind = kind
        self._schema = schema
        self.batch: list[tuple[str, tuple[Any, ...], bool]] = []
        self.error: Exception | None = None
        self._lock = threading.Lock()  # of the connection, whose users are the thread and `ask`
        self._connection: sqlite3.Connection | None = None
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()  # its put() may interrupt its put()
        self._thread: threading.Thread | None = None

    @property
    def is_used(self) -> bool:
        """Whether there is a thread, or a connection for it to close."""
        return self._thread is not None

    def give(self, work: Callable[[], None]) -> None:
        """Have the thread do something after all that it was given before."""
        self._start()
        self._work.put(work)

    def give_last(self) -> None:
        """Have the thread write what is left, close the file and end."""
        self._work.put(None)

    def call(self, function: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Have the thread call a function of the connection."""
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                with self._lock:
                    value = function(self._open())
            except sqlite3.Error as error:
                future.set_exception(self._failure(error))
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(value)

        self.give(work)
        return future

    def ask(self, statement: str, row: tuple[Any, ...]) -> list[Any]:
        self._start()
        try:
            with self._lock:
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
        """Wait until everything is written."""
        self.give_last()
        if self._thread is not None:
            self._thread.join()

    # --- in the thread ---

    def _run(self) -> None:
        work: Callable[[], None] | None
        while (work := self._work.get()) is not None:
            work()
            del work  # with what it refers to
        self.write(self.batch)
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        _in_use.discard(self)

    def write(self, batch: list[tuple[str, tuple[Any, ...], bool]]) -> None:
        start = 0
        try:
            while start < len(batch) and self.error is None:  # after a failure nothing, lest there be a gap
                end = start + AT_ONCE
                while end < len(batch) and batch[end][2]:
                    end += 1
                with self._lock:
                    connection = self._open()
                    connection.execute("BEGIN IMMEDIATE")
                    try:
                        for statement, changes in groupby(batch[start:end], itemgetter(0)):
                            connection.executemany(statement, [row for _, row, _ in changes])
                        connection.execute("COMMIT")
                    except BaseException:
                        if connection.in_transaction:
                            connection.execute("ROLLBACK")
                        raise
                start = end
        except sqlite3.Error as error:
            self.error = self._failure(error)
        except Exception as error:
            self.error = error

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        if self._path:  # what SQLite puts beside it gets the same mode
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600))
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
        self._connection = connection
        return connection

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
        damaged = not isinstance(cause, sqlite3.OperationalError)
        error = OSError(f"{self} cannot be used: {cause}{hint if damaged and self._path else ''}")
        error.__cause__ = cause
        return error

    def __str__(self) -> str:
        return f"the checkpoint {self._path}" if self._path else "the frontier"


_in_use: set[_File] = set()


def _finish() -> None:
    """What was put is written before the process ends, though nobody closed the ledger."""
    for file in list(_in_use):
        file.finish()


atexit.register(_finish)
