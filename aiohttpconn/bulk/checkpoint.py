"""`Checkpoint`: which requests of a map are finished, kept in a file, so that the next run leaves them out."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..messages import Request
from .identity import key_of_request
from .ledger import Ledger, checkpoint_path

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from .result import MapResult

    _Piece: TypeAlias = tuple[Sequence[Any], Exception | None]

_KIND = 0x61686D70  # "ahmp"
_SCHEMA = "CREATE TABLE IF NOT EXISTS finished (key INTEGER PRIMARY KEY)"
_FINISHED = "INSERT OR IGNORE INTO finished VALUES (?)"
_IS_FINISHED = "SELECT 1 FROM finished WHERE key = ?"
_OF_THE_BODY = frozenset({"content-length", "transfer-encoding"})
_AT_A_TIME = 500
"""Requests that are looked up in one go: handing a question to the thread costs as much as 20 answers."""


class Checkpoint:
    """The finished requests of `Client.map`, in an SQLite file at `path`, eight bytes each.

    - `usual`: the fields that a client gives to all of its requests, by which they are not told apart.
    """

    def __init__(self, path: str | os.PathLike[str], usual: Iterable[tuple[str, str]] = ()) -> None:
        self._usual = frozenset(usual)
        self._ledger = Ledger(checkpoint_path(path), _KIND, _SCHEMA)

    def finished(self, key: int) -> None:
        """A request is finished."""
        self._ledger.put(_FINISHED, key)

    async def unfinished(
        self, requests: Iterable[Any] | AsyncIterable[Any], job_of: Callable[[Any], MapResult], ahead: int
    ) -> AsyncIterator[MapResult]:
        """Those of `requests` that are not finished, made by `job_of`; read up to `ahead` at a time."""
        turn = 0
        pieces = (
            _one_by_one(requests)
            if isinstance(requests, AsyncIterable)
            else _by_many(iter(requests), min(ahead, _AT_A_TIME))
        )
        try:
            async for piece, failure in pieces:
                jobs = [job_of(given) for given in piece]
                for job in jobs:
                    if job.request is not None:
                        try:
                            job.key = key_of_request(job.request, self._own_fields(job))
                        except TypeError as error:
                            job.request, job.error = None, error
                for job in await self._ledger.run(lambda connection, jobs=jobs: _left_of(connection, jobs)):  # type: ignore[misc]
                    job.turn = turn
                    turn += 1
                    yield job
                if failure is not None:
                    raise failure
        finally:
            await pieces.aclose()

    def _own_fields(self, job: MapResult) -> list[tuple[str, str]]:
        """The fields that came with a request; those of a URL are the client's and the map's."""
        if not isinstance(job.given, Request):
            return []
        fields = job.given.headers
        return [pair for pair in fields.items() if pair not in self._usual and pair[0].lower() not in _OF_THE_BODY]

    async def close(self) -> None:
        """Write what is left."""
        await self._ledger.close()

    def close_soon(self) -> None:
        """The same, without waiting for it."""
        self._ledger.close_soon()


def _left_of(connection: sqlite3.Connection, jobs: Sequence[MapResult]) -> list[MapResult]:
    ask = connection.execute
    return [job for job in jobs if job.key is None or ask(_IS_FINISHED, (job.key,)).fetchone() is None]


async def _by_many(source: Iterator[Any], size: int) -> AsyncGenerator[_Piece, None]:
    """The source in pieces; with the last, what reading it raised."""
    while True:
        piece: list[Any] = []
        failure = None
        try:
            piece.extend(islice(source, size))
        except Exception as error:
            failure = error
        if piece or failure is not None:
            yield piece, failure
        if len(piece) < size:
            return


async def _one_by_one(source: AsyncIterable[Any]) -> AsyncGenerator[_Piece, None]:
    """An asynchronous source may take its time for the next: nothing is held back for it."""
    iterator = aiter(source)
    try:
        async for given in iterator:
            yield (given,), None
    finally:
        if (close := getattr(iterator, "aclose", None)) is not None:
            await close()
