"""Where a file goes whose name the server chose."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from .file_name import numbered
from .part_file import PartFile

if TYPE_CHECKING:
    from collections.abc import Sequence

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


async def choose(wanted: Wanted, sources: Sources, name: str, version: Version, stated: Sequence[Digest]) -> Place:
    """The place of a file that the server calls `name`: in the folder, under another item's name with a number, which
    is its own so that it has the same in another run.

    Raises `NameTaken`.
    """
    if wanted.number is None:
        return await _place(wanted, name, version, stated)
    names = [name, numbered(name, wanted.number + 1)]
    owners: dict[str, str | None] = {}
    for each in names:
        begun = await PartFile(os.path.join(wanted.path, each)).begun()
        owners[each] = owner = None if begun is None else begun.source
        if each.lower() in wanted.claimed:
            continue
        place = await _place(wanted, each, version, stated)
        mine = place.there is not None or any(source.key == owner for source in sources.all)
        if mine and each.lower() not in wanted.claimed:  # meanwhile
            wanted.claimed.add(each.lower())
            return place
    first = next((each for each in names if each.lower() not in wanted.claimed), names[1])
    path = os.path.join(wanted.path, first)
    taken = wanted.overwrite is None and os.path.lexists(path)  # noqa: ASYNC240 - another item would claim the name
    if first == name and not wanted.last and (taken or owners[first] is not None):
        raise NameTaken
    number = wanted.number + 1
    while first.lower() in wanted.claimed:
        number += 1
        first = numbered(name, number)
    wanted.claimed.add(first.lower())
    return await _place(wanted, first, version, stated)


async def _place(wanted: Wanted, name: str, version: Version, stated: Sequence[Digest]) -> Place:
    path = os.path.join(wanted.path, name)
    return Place(path, await wanted.is_there(path, version, stated))
