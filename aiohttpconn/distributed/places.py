"""`Places`: where downloads go, settled by the caller, so that no two workers write the same file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from multidict import CIMultiDict

from ..download.file_name import file_name, numbered
from ..headers import Headers
from ..url import parse

if TYPE_CHECKING:
    from ..url import URL


class Places:
    """Paths under a folder, each given once. Only the caller knows all items; a name that a server states, which the
    worker alone would know, does not count."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._taken: set[str] = set()

    def of(self, number: int, url: str | URL, path: str | os.PathLike[str] | None) -> str:
        """Where an item goes: as `path` says; in a folder (None, or what ends in a separator) by the name in the URL,
        and if another item has that, by `number` too. Raises ValueError for a path that another item has."""
        place = os.path.join(self._folder, "" if path is None else os.fspath(path))
        if place.endswith(tuple(filter(None, (os.sep, os.altsep)))):
            folder = place
            parsed = parse(url) if isinstance(url, str) else url
            name = file_name(Headers(CIMultiDict()), parsed)
            place = os.path.join(folder, name)
            while place.lower() in self._taken:
                name = numbered(name, number + 1)
                place = os.path.join(folder, name)
        place = os.path.normpath(place)
        if place.lower() in self._taken:
            raise ValueError(f"another item is saved as {place}")
        self._taken.add(place.lower())
        return place
