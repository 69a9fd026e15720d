"""Where files go: those that the caller named, and those whose names the servers chose."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .file_name import numbered
from .part_file import PartFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .digests import Digest
    from .sources import Sources
    from .version import Version
    from .wanted import Wanted


class NameTaken(Exception):
    """The name may be that of another item, which is still to come."""


class Place(NamedTuple):
    """Where a file goes."""

    path: str
    there: int | None
    """The size of the file if it is there already; None if not."""


class Places:
    """The paths that the items of one call have. Of what the caller named each is one item's, and chosen by none.

    - `named`: those that the caller names, as far as it is known beforehand.

    Whether the file system tells upper case from lower is not known: names are chosen as if it did not.
    """

    def __init__(self, named: Iterable[str] = ()) -> None:
        self._named: set[str] = set()
        self._chosen: set[str] = set()
        self._lowered = {path.lower() for path in named}

    def name(self, path: str) -> None:
        """This is where an item goes, as the caller says. Raises ValueError if it is another one's."""
        if path in self._named or path.lower() in self._chosen:
            raise ValueError(f"another item is saved as {path}")
        self._named.add(path)
        self._lowered.add(path.lower())

    def is_free(self, path: str) -> bool:
        """Whether it can be chosen."""
        return path.lower() not in self._lowered and path.lower() not in self._chosen

    def choose(self, path: str) -> bool:
        """An item goes there, if it is free; whether it was."""
        free = self.is_free(path)
        if free:
            self._chosen.add(path.lower())
        return free


def named_paths(items: object, directory: str | os.PathLike[str] | None) -> set[str]:
    """Where those of a list go that the caller named. That is told by their text alone (2 µs each, 26 with
    links looked up), and of an iterator not at all."""
    found = set()
    if isinstance(items, (list, tuple)):
        folder = os.path.realpath("" if directory is None else directory)
        for item in items:
            if isinstance(item, (list, tuple)) and len(item) > 1 and isinstance(item[1], (str, Path)):
                found.add(os.path.normpath(os.path.join(folder, item[1])))
    return found


async def choose(wanted: Wanted, sources: Sources, name: str, version: Version, stated: Sequence[Digest]) -> Place:
    """The place of a file that the server calls `name`: in the folder, under another item's name with a number, which
    is its own so that it has the same in another run.

    Raises `NameTaken`.
    """
    if wanted.number is None:
        return await _place(os.path.join(wanted.path, name), wanted, version, stated)
    places, number = wanted.places, wanted.number + 1
    names = [name, numbered(name, number)]
    owners: dict[str, str | None] = {}
    for each in names:
        path = os.path.join(wanted.path, each)
        begun = await PartFile(path).begun()
        owners[each] = owner = None if begun is None else begun.source
        if not places.is_free(path):
            continue
        place = await _place(path, wanted, version, stated)
        mine = place.there is not None or any(source.key == owner for source in sources.all)
        if mine and places.choose(path):  # it may be another's meanwhile
            return place
    first = next((each for each in names if places.is_free(os.path.join(wanted.path, each))), names[1])
    path = os.path.join(wanted.path, first)
    taken = wanted.overwrite is None and os.path.lexists(path)  # noqa: ASYNC240 - another item would claim the name
    if first == name and not wanted.last and (taken or owners[first] is not None):
        raise NameTaken
    while not places.choose(path):
        number += 1
        path = os.path.join(wanted.path, numbered(name, number))
    return await _place(path, wanted, version, stated)


async def _place(path: str, wanted: Wanted, version: Version, stated: Sequence[Digest]) -> Place:
    return Place(path, await wanted.is_there(path, version, stated))
