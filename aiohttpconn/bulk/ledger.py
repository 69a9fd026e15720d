"""`Ledger`: an SQLite file that is written to by a thread of its own, some hundred changes to a commit."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, TypeVar

from .ledger_file import LedgerFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from .ledger_file import Change

T = TypeVar("T")


class Ledger:
    """Changes go to the file in the order in which they were put, a batch of them in one transaction.

    - `path`: of the file; "" for one in the temporary directory, that goes with the ledger.
    - `kind`: what the file is marked as (`PRAGMA application_id`): one of another kind is refused.
    - `schema`: the tables, made in a new file.

    A new file, and what SQLite puts beside it, is its owner's alone (mode 0600). Nothing is opened, and no thread
    started, before there is something to write or to ask. What could not be opened or written (another kind of file, a
    full disk) is an OSError that names the file, raised by this and each later call; nothing is written after it.

    A file is one ledger's until that is closed, or its process ends: to the next it is a BlockingIOError (`FileLock`,
    which keeps an empty file beside it meanwhile: `path` + ".lock").

    A process that is killed loses the changes of the last 0.1 s, one after the other from the end: the file is in
    SQLite's write-ahead mode, which does not wait for the disk, so that a power cut may lose more, and never leaves it
    inconsistent. One that ends writes everything.
    """

    def __init__(self, path: str, kind: int, schema: str) -> None:
        self._file = LedgerFile(path, kind, schema)
        self._closed = False

    def put(self, statement: str, *row: Any, also: Iterable[Change] = ()) -> None:
        """A change, to be written soon: at once in the order of changes, a moment later in the file. `also`: those that
        are written together with it, or none of them is."""
        self.check()
        self._file.put((statement, row), *also)

    async def flush(self) -> None:
        """Everything that was put is in the file when this returns."""
        if self._file.is_used:
            await self.run(lambda connection: None)
        self.check()

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What a function of the connection returns, called by the thread after all that was put."""
        self.check()
        return await asyncio.wrap_future(self._file.call(function))

    def ask(self, statement: str, *row: Any) -> list[Any]:
        """The rows of a query at once, in the caller's thread: for one that an index answers (4 µs)."""
        return self._file.ask(statement, row)

    def mark(self) -> Future[None]:
        """`flush` for who cannot await: to be given to `reach`, later if that may be."""
        self.check()
        return self._file.call(lambda connection: None)

    def reach(self, mark: Future[None]) -> None:
        """Everything that was put before the mark is in the file when this returns."""
        mark.result()
        self.check()

    async def close(self) -> None:
        """Write what is left and close the file. Idempotent."""
        if self._closed:
            return
        try:
            await self.flush()
        finally:
            self.close_soon()
            if self._file.is_used:
                await asyncio.shield(asyncio.wrap_future(self._file.closed))

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


def checkpoint_path(checkpoint: str | os.PathLike[str]) -> str:
    """The path of a checkpoint's file. Raises ValueError for "", which would keep nothing."""
    path = os.fspath(checkpoint)
    if not path:
        raise ValueError("checkpoint must be the path of a file, or None: ''")
    return path
