"""Names of several files that are saved side by side."""

from __future__ import annotations

from collections.abc import Iterable

from ..download.file_name import numbered


def distinct(names: Iterable[str]) -> list[str]:
    """The names in their order, those that came before (in any case of letters) numbered: a.txt, a-2.txt, …"""
    taken: set[str] = set()
    result = []
    for name in names:
        free, number = name, 1
        while free.lower() in taken:
            number += 1
            free = numbered(name, number)
        taken.add(free.lower())
        result.append(free)
    return result
