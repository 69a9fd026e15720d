"""A HAR document: the entries of a log, in a file."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .entries import Entry


def document_of(entries: Iterable[Entry], *, sort: bool = True) -> dict[str, Any]:
    """A whole HAR document of entries: oldest first, or with `sort` False in the order they are in."""
    ordered = list(entries)
    if sort:
        ordered.sort(key=lambda entry: datetime.fromisoformat(entry["startedDateTime"]))
    return {"log": {"version": "1.2", "creator": {"name": "aiohttpconn", "version": __version__}, "entries": ordered}}


def save(path: str | os.PathLike[str], entries: Iterable[Entry], *, sort: bool = True) -> None:
    """Write entries to a file, as `document_of` has them; it is replaced at once or not at all."""
    text = json.dumps(document_of(entries, sort=sort), ensure_ascii=False, indent=2)
    beside = f"{os.fspath(path)}.{os.getpid()}.part"  # processes may write the same file
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    os.replace(beside, path)


def load(path: str | os.PathLike[str]) -> list[Entry]:
    """The entries of a file. Raises ValueError for one that is not HAR."""
    with open(path, encoding="utf-8-sig") as file:
        document = json.load(file)
    try:
        entries = document["log"]["entries"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{os.fspath(path)} is not a HAR file: it has no log of entries") from error
    if not isinstance(entries, list):
        raise ValueError(f"{os.fspath(path)} is not a HAR file: its entries are no list")
    return entries
