"""`Cache`: where responses are stored, and by which rules."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ..config import check_seconds

if TYPE_CHECKING:
    from .storage import Storage

MEMORY = 64 << 20
FILE = 1 << 30


class Cache:
    """Stored responses, and what they may be used for (RFC 9111). Needs the extra ``cache``.

    - `path`: of a SQLite file, which outlives the program and which several processes may share; None: in memory.
    - `max_size`: bytes in all; left out, 64 MiB in memory and 1 GiB in a file. `max_entries`: how many responses.
    - `max_body`: bytes that a body may have, content codings on, to be stored; a longer one is passed on only.
    - `stale_if_error`: seconds for which a response that is no longer fresh stands in where the server fails, beside
      what the server itself (stale-if-error) allows.
    - `shared`: whether it serves several users. A private cache, as browsers have it, stores what is for one user.

    Raises FileNotFoundError for a path in a folder that is not there.

    Give the same one to several clients only if they act for the same user. (A request's own Authorization and cookies
    are told apart.) Who makes one closes it; a client closes
    the one that it makes of a path, or of True.

    >>> async def main():
    ...     async with Cache("responses.sqlite") as cache, Client(cache=cache) as client:
    ...         await client.get("http://localhost:8000/")
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        max_size: int | None = None,
        max_entries: int = 100_000,
        max_body: int = 8 << 20,
        stale_if_error: float = 0.0,
        shared: bool = False,
    ) -> None:
        if path is not None and not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path must be that of a file, or None, not {path!r}")
        if path == "":
            raise ValueError("path must be that of a file: it is empty")
        if path is not None and not os.path.isdir(folder := os.path.dirname(os.path.abspath(path))):
            raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder!r}", os.fspath(path))
        for name, value in (("max_size", max_size), ("max_entries", max_entries), ("max_body", max_body)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise TypeError(f"{name} must be a whole number, not {value!r}")
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1: {value!r}")
        if stale_if_error is None:
            raise TypeError("stale_if_error must be a number of seconds, not None")
        check_seconds("stale_if_error", stale_if_error)
        try:
            from .rules import Judgement  # noqa: PLC0415 - hishel is an extra, and takes 0.1 s to import
        except ImportError as error:
            raise ImportError('a cache needs hishel: pip install "aiohttpconn[cache]"') from error
        if max_size is None:
            max_size = MEMORY if path is None else FILE
        self.max_body = min(max_body, max_size)  # else one would drive out all others, and then itself
        self.rules = Judgement(shared=shared, stale_if_error=stale_if_error)
        self.storage: Storage
        if path is None:
            from .storage import MemoryStorage  # noqa: PLC0415 - one or the other

            self.storage = MemoryStorage(max_size, max_entries)
        else:
            from .sqlite import SQLiteStorage  # noqa: PLC0415 - the same

            self.storage = SQLiteStorage(path, max_size, max_entries)

    @classmethod
    def of(cls, value: Cache | str | os.PathLike[str] | bool) -> Cache:
        """The cache meant by what a caller gave: itself, one in the file at a path, or, for True, one in memory."""
        if isinstance(value, Cache):
            return value
        if value is True:
            return cls()
        if isinstance(value, (str, os.PathLike)):
            return cls(value)
        raise TypeError(f"cache must be a Cache, a path, True or None, not {value!r}")

    async def clear(self) -> None:
        """Forget everything."""
        await self.storage.clear()

    async def close(self) -> None:
        """Write what is still to be written, and close the file. Idempotent."""
        await self.storage.close()

    async def __aenter__(self) -> Cache:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Cache {self.storage!r}>"
