"""Whether a file that is there already is the one that is wanted."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any, Final

import aiofiles.os

from .version import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .digests import Digest
    from .version import Version

_READ: Final = 1 << 20
_HASHED: Final = 32 << 20
"""Bytes that a thread hashes at a time: some 20 to 60 ms."""


def date_of(path: str) -> str | None:
    """What If-Range has for the file that is there: the time of its last change, which is what the server said when it
    was downloaded; None if there is none."""
    status = _status(path)
    if status is None:
        return None
    from email.utils import formatdate  # noqa: PLC0415 - 8 ms, for those that find something there

    try:
        return formatdate(int(status.st_mtime), usegmt=True)
    except ValueError:  # after the year 9999
        return None


async def is_there(path: str, version: Version | None, stated: Sequence[Digest], checksum: Digest | None) -> int | None:
    """The size of the file, if it has the checksum, or else the size, the date and the digests that the server states;
    None if not.

    - `version`: what the server says, None where it was not asked; `stated`: its digests of all of the file.
    """
    status = _status(path)
    if status is None:
        return None
    size = status.st_size
    if version is not None and version.size not in (None, size):
        return None
    if checksum is not None:
        return size if await _digest(path, size, checksum.algorithm) == checksum.value else None
    if version is None or version.size is None:
        return None
    modified = timestamp(version.modified)
    if modified is None or int(status.st_mtime) != int(modified):
        return None
    for digest in stated:  # size and date outlive a disk that fails, and a copy that was damaged
        if await _digest(path, size, digest.algorithm) != digest.value:
            return None
    return size


def _status(path: str) -> os.stat_result | None:
    """Of a regular file; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


async def _digest(path: str, size: int, algorithm: str) -> bytes | None:
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    feed: Any = aiofiles.os.wrap(_feed)  # type: ignore[call-arg, unused-ignore]
    try:
        for at in range(0, size, _HASHED):
            await feed(path, hasher, at, min(at + _HASHED, size))
    except OSError:
        return None
    return hasher.digest()


def _feed(path: str, hasher: Any, start: int, end: int) -> None:
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        while start < end and (piece := file.read(min(_READ, end - start))):
            hasher.update(piece)
            start += len(piece)
