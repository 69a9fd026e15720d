"""What the caller of a download asks for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..config import UNSET, Timeout
from .there import is_there

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import Unset
    from .digests import Digest
    from .place import Places
    from .version import Version

MOST_SEGMENTS: Final = 64


@dataclass(slots=True)
class Wanted:
    """What the caller asked for.

    - `path`: the file, or the folder if `in_folder`; `places`: those of all items of the same call.
    - `overwrite`: None for whatever was asked for by name, and for nothing else; what is there and the same is left.
    - `number`: which of the items of the same call it is; `last`: whether no others will claim names any more.
    """

    path: str
    in_folder: bool
    segments: int | str
    checksum: Digest | None
    resume: bool
    overwrite: bool | None
    sync: bool
    repairs: int
    places: Places
    number: int | None = None
    last: bool = True

    async def is_there(self, path: str, version: Version | None, stated: Sequence[Digest] = ()) -> int | None:
        """The size of the file that is there, if it is the one that is wanted, and may be left; None if not.

        - `version`: what the server says, None where it was not asked; `stated`: its digests of all of the file.
        """
        return None if self.overwrite is not None else await is_there(path, version, stated, self.checksum)


def target(path: str | os.PathLike[str] | None) -> tuple[str, bool]:
    """Where a file is to go, and whether that is a folder: one that is there, or a name that ends in a separator."""
    if path is None:
        return os.getcwd(), True
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str):
        raise TypeError(f"path must be text or a path, not {path!r}")
    if not text:
        raise ValueError("path is empty: give a file, a folder, or None for the current folder")
    folder = text.endswith(tuple(filter(None, (os.sep, os.altsep)))) or os.path.isdir(text)
    # Through a link, so that the link stays.
    return os.path.realpath(text), folder


def check_segments(segments: int | str) -> None:
    """Refuse what is no number of segments."""
    if segments == "auto":
        return
    if isinstance(segments, bool) or not isinstance(segments, int):
        raise TypeError(f'segments must be a number or "auto", not {segments!r}')
    if not 1 <= segments <= MOST_SEGMENTS:
        raise ValueError(f"segments must be from 1 to {MOST_SEGMENTS}: {segments!r}")


def seconds_in_all(timeout: Timeout | float | Unset | None, default: Timeout) -> tuple[float | None, Any]:
    """The time for the whole download, and the `timeout` of each of its requests, which is without one."""
    chosen = default if timeout is UNSET else Timeout.of(timeout)
    if chosen.total is None:
        return None, timeout
    return chosen.total, chosen.replace(total=None)
