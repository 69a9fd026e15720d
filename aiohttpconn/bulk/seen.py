"""`Seen`: a set of numbers that only grows, the latest of them in memory and all others in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .ledger import Ledger
    from .ledger_file import Change

SCHEMA = "CREATE TABLE IF NOT EXISTS seen (key INTEGER PRIMARY KEY);"
_INSERT = "INSERT OR IGNORE INTO seen VALUES (?)"
_SELECT = "SELECT 1 FROM seen WHERE key = ?"


class Seen:
    """The numbers of what was added.

    - `limit`: how many are kept in memory (70 bytes each): two generations, of which the older one is dropped.
    - `ledger`: all go to it once there are a quarter as many, and with each one of those before.
    - `keep`: whether they go there from the first on, because the file is to stay: put by the caller as a `change`.
    """

    def __init__(self, limit: int, ledger: Ledger, keep: bool) -> None:
        self._generation = max(1, limit // 2)
        self._ledger = ledger
        self._keep = self._written = keep  # whether they go to the ledger
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._unwritten: list[int] = []  # of those that were there when the first went to the ledger
        self._mark: Future[None] | None = None  # after the last of the older generation
        self._stored = keep and bool(ledger.ask("SELECT 1 FROM seen LIMIT 1"))
        """Whether there are any that are not in memory."""

    def __contains__(self, key: int) -> bool:
        if key in self._young or key in self._old:
            return True
        return self._stored and bool(self._ledger.ask(_SELECT, key))

    def change(self, key: int) -> Change:
        """What adds a number to a ledger that is kept. It goes with the request's row: a request would be lost if it
        were known to have been there and did not wait."""
        return _INSERT, (key,)

    def add(self, key: int) -> None:
        """Add one that is not there."""
        self._young.add(key)
        if self._written and not self._keep:
            self._ledger.put(_INSERT, key)
            if self._unwritten:
                self._ledger.put(_INSERT, self._unwritten.pop())
        size = len(self._young)
        if not self._written and 2 * size >= self._generation:
            self._written = True
            self._unwritten = list(self._young)
        if size < self._generation:
            return
        while self._unwritten:  # one at most
            self._ledger.put(_INSERT, self._unwritten.pop())
        if self._mark is not None:  # reached long ago, unless it is a small generation: waiting for it took 30 ms
            self._ledger.reach(self._mark)
            self._stored = True
        self._young, self._old = set(), self._young
        self._mark = self._ledger.mark()
