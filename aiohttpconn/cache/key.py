"""What a response is stored under: who was asked for what."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..messages import Request
    from ..transport import Transport


def key_of(request: Request, place: str | None) -> str:
    """The URL as it is asked for (RFC 9111 section 2: its target URI); a Host of the caller's own, and a socket that
    all connections go to, have it answered by others, and count too.

    >>> from aiohttpconn import Request
    >>> key_of(Request("GET", "http://me@a.example/#top"), None)
    'http://a.example/'
    >>> key_of(Request("GET", "http://a.example/", {"Host": "B.example"}), "/run/app.sock")
    'http://a.example/ /run/app.sock Host: b.example'
    """
    url = request.url
    key = url.without_userinfo().without_fragment().href if url.has_userinfo or "#" in url.href else url.href
    if place is not None:
        key = f"{key} {place}"
    host = request.headers.get("Host")
    if host is not None and host.lower() != url.origin.host_field:
        key = f"{key} Host: {host.lower()}"
    return key


def place_of(transport: Transport) -> str | None:
    """The Unix socket that a transport sends everything to, None if it goes by URLs: the same on each path to it."""
    path: str | None = getattr(transport, "uds", None)
    if path is None:
        return None
    return f"@{path[1:]}" if path.startswith("\0") else os.path.abspath(path)
