"""Lists of files, in the form of aria2's (``aria2c -i``, and its sessions)."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from typing import Any, Final, TypeAlias

from ..download.digests import parse_checksum
from ..download.wanted import check_segments
from .quantities import count

Item: TypeAlias = tuple[str, str | None, dict[str, Any]]
"""URL, name, and keywords of `Client.download`."""

PASSED_OVER: Final = frozenset(
    {
        *("always-resume", "conditional-get", "continue", "max-resume-failure-tries", "remove-control-file"),
        *("connect-timeout", "timeout", "max-tries", "max-file-not-found", "retry-wait", "lowest-speed-limit"),
        *("max-connection-per-server", "max-download-limit", "min-split-size", "piece-length"),
        *("stream-piece-selector", "uri-selector", "reuse-uri", "use-head", "http-accept-gzip"),
        *("enable-http-keep-alive", "enable-http-pipelining", "async-dns", "http-auth-challenge"),
        *("enable-mmap", "max-mmap-limit", "file-allocation", "no-file-allocation-limit", "remote-time"),
        *("no-want-digest-header", "realtime-chunk-checksum"),
        *("gid", "force-save", "save-not-found"),
    }
)
"""Options of aria2 that change neither what is fetched nor where it is saved: how fast, how patiently, by which
requests, and how aria2 keeps its own books."""


def segments(text: str) -> int | str:
    """A number of segments, or "auto". Raises ArgumentTypeError."""
    if text == "auto":
        return text
    number = count(text)
    try:
        check_segments(number)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return number


def checksum(text: str) -> str:
    """A checksum as `Client.download` takes it. Raises ArgumentTypeError."""
    if ":" not in text:
        text = text.replace("=", ":", 1)  # as aria2c has it
    try:
        parse_checksum(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("checksum: ")) from error
    return text


async def listed_files(lines: AsyncIterator[str]) -> AsyncIterator[tuple[list[str], dict[str, list[str]]]]:
    """The files of a list: the URLs of each, and the values of the options below it. Raises OSError for what is no
    list."""
    urls: list[str] = []
    options: dict[str, list[str]] = {}
    async for line in lines:
        if line[0] not in " \t":
            if urls:
                yield urls, options
            urls, options = line.split("\t"), {}
            continue
        name, _, value = line.strip().partition("=")
        if not urls:
            raise OSError(f"{line.strip()!r} is no URL, and stands below none")
        options.setdefault(name, []).append(value)
    if urls:
        yield urls, options


def item_of(urls: list[str], options: dict[str, list[str]]) -> Item:
    """A file of a list. Of an option that is there twice the last counts, but for header=.

    Raises ValueError for an option that is not known, and would change what the file is or where it goes.
    """
    own: dict[str, Any] = {"mirrors": urls[1:]} if urls[1:] else {}
    for name, values in options.items():
        value = values[-1]
        match name:
            case "dir" | "out":
                pass
            case "checksum":
                own["checksum"] = checksum(value)
            case "split":
                own["segments"] = segments(value)
            case "header":
                pairs = [each.partition(":") for each in values]
                own["headers"] = [(field.strip(), content.strip()) for field, _, content in pairs]
            case _ if name not in PASSED_OVER:
                raise ValueError(f"{name}= is no option of a list: out=, dir=, checksum=, header= and split= are")
    path = options["out"][-1] if "out" in options else None
    if "dir" in options:  # in place of --directory, as aria2 has it
        path = os.path.join(os.path.abspath(options["dir"][-1]), path or "")
    return urls[0], path, own
