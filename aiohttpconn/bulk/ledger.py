"""`Ledger`: an SQLite file that is written to by a thread of its own, some hundred changes to a commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

T = TypeVar("T")
COMMIT_AFTER = 0.1
"""Seconds that a change waits for others to be committed with it: a commit costs as much as a hundred changes."""

AT_ONCE = 1000
"""Changes in one transaction: 2 ms, for which `ask` may have to wait."""


class Ledger:
    """Changes go to the file in the order in which they were put, a batch of them in one transaction.

    - `path`: of the file; "" for one in the temporary directory, that goes with the ledger.
    - `schema`: the tables, made where they are not there.

    What could not be written (a full disk) is raised by the next call. A process that is killed loses the changes of
    the last 0.1 s, one after the other from the end: the file is in SQLite's write-ahead mode, which does not wait for
    the disk, so that a power cut may lose more, and never leaves it inconsistent.
    """

    def __init__(self, path: str, schema: str) -> None:
        self._path = path
        self._schema = schema
        self._lock = threading.Lock()  # of the connection, whose users are the thread and `ask`
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = ThreadPoolExecutor(1, "aiohttpconn-ledger")
        self._batch: list[tuple[str, tuple[Any, ...]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._last: Future[None] | None = None  # the last batch that the thread was given
        self._error: Exception | None = None

    def put(self, statement: str, *row: Any) -> None:
        """A change, to be written soon: at once in the order of changes, a moment later in the file."""
        self._check()
        self._batch.append((statement, row))
        if self._timer is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # it is written with those that come in a loop
                return
            self._timer = loop.call_later(COMMIT_AFTER, self.write)

    def write(self) -> None:
        """Have the thread write what was put."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._batch and self._thread is not None:
            self._last = self._thread.submit(self._write_in_thread, self._batch)
            self._batch = []

    async def flush(self) -> None:
        """Everything that was put is in the file when this returns."""
        self.write()
        await self.run(lambda connection: None)
        self._check()

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What a function of the connection returns, called by the thread after all that was put."""
        self._check()
        self.write()
        assert self._thread is not None
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._call, function)

    def ask(self, statement: str, *row: Any) -> list[Any]:
        """The rows of a query at once, in the caller's thread: for one that an index answers (4 µs)."""
        with self._lock:
            connection = self._open()
            return connection.execute(statement, row).fetchall()

    def write_here(self) -> None:
        """Write in the caller's thread, after what the thread was given."""
        self._check()
        if self._last is not None:
            self._last.result()
        self._write_in_thread(self._taken())
        self._check()

    async def close(self) -> None:
        """Write what is left and close the file. Idempotent."""
        if self._thread is None:
            return
        try:
            await self.flush()
        finally:
            self.close_soon()

    def close_soon(self) -> None:
        """The same, without waiting for it."""
        if self._thread is None:
            return
        thread = self._thread
        try:
            self.write()
            thread.submit(self._close_in_thread)
            thread.shutdown(wait=False)
        except RuntimeError:  # the interpreter is about to end, and threads take no more work
            self._write_in_thread(self._taken())
            self._close_in_thread()
        self._thread = None

    # --- in the thread ---

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            try:
                if self._path:
                    connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(self._schema)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            return function(self._open())

    def _taken(self) -> list[tuple[str, tuple[Any, ...]]]:
        batch, self._batch = self._batch, []
        return batch

    def _write_in_thread(self, batch: list[tuple[str, tuple[Any, ...]]]) -> None:
        try:
            for start in range(0, len(batch), AT_ONCE):
                with self._lock:
                    connection = self._open()
                    connection.execute("BEGIN")
                    try:
                        for statement, changes in groupby(batch[start : start + AT_ONCE], itemgetter(0)):
                            connection.executemany(statement, [row for _, row in changes])
                    except BaseException:
                        connection.execute("ROLLBACK")
                        raise
                    connection.execute("COMMIT")
        except Exception as error:
            self._error = error

    def _close_in_thread(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._thread is None:
            raise RuntimeError("the ledger is closed")

    def __del__(self) -> None:
        if getattr(self, "_thread", None) is not None:
            self.close_soon()
