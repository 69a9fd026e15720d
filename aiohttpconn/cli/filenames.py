"""Names of files, from URLs that strangers may have chosen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

from ..url import URL

FALLBACK = "index.html"
LONGEST = 200
"""Bytes of a name: file systems take 255, and ``.part`` or a number may be appended."""

# What some file system or shell gives a meaning of its own.
_MEANINGFUL = re.compile(r'[<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def file_name(url: URL) -> str:
    """The last segment of the URL's path, percent-decoded and made harmless: no separator, no control or bidirectional
    character, no dot or dash in front (hidden files, options), no device's name, at most 200 bytes.

    >>> file_name(URL("https://example.org/a/report%202.pdf?x=1"))
    'report 2.pdf'
    >>> file_name(URL("https://example.org/%2e%2e%2f.bashrc")), file_name(URL("https://example.org/"))
    ('_._.bashrc', 'index.html')
    """
    name = unquote(url.path.rpartition("/")[2])
    name = _MEANINGFUL.sub("_", "".join(char if char.isprintable() else "_" for char in name)).strip(" ")
    if not name.strip(". "):
        return FALLBACK
    # Windows drops trailing dots and spaces, so that another file would be written.
    name = name.rstrip(". ")
    if name[0] in ".-":
        name = "_" + name[1:]
    if _RESERVED.fullmatch(name):
        name = "_" + name
    return _shortened(name)


def distinct(names: Iterable[str]) -> list[str]:
    """The names in their order, those that came before (in any case of letters) numbered: a.txt, a-2.txt, …"""
    taken: set[str] = set()
    result = []
    for name in names:
        stem, dot, extension = name.partition(".")
        free, number = name, 1
        while free.lower() in taken:
            number += 1
            free = f"{stem}-{number}{dot}{extension}"
        taken.add(free.lower())
        result.append(free)
    return result


def _shortened(name: str) -> str:
    """At most `LONGEST` bytes, the extension kept where it is one."""
    if len(name.encode()) <= LONGEST:
        return name
    stem, dot, extension = name.rpartition(".")
    ending = dot + extension if dot and len(extension) <= 16 else ""
    room = LONGEST - len(ending.encode())
    return (stem if ending else name).encode()[:room].decode(errors="ignore") + ending
