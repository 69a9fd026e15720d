"""What the floors share: a handful of keep-alive connections per origin, handed out last in, first out."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

C = TypeVar("C")
Dial = Callable[[str, int, ssl.SSLContext | None], Awaitable[C]]


@dataclass(slots=True)
class Lanes(Generic[C]):
    """The connections to one origin; at most `left` more are made. No checks, no deadlines."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    left: int
    dial: Dial[C]
    idle: list[C] = field(default_factory=list)
    waiters: deque[asyncio.Future[C]] = field(default_factory=deque)

    async def take(self) -> C:
        if self.idle:
            return self.idle.pop()
        if self.left:
            self.left -= 1
            return await self.dial(self.host, self.port, self.tls)
        waiter: asyncio.Future[C] = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        return await waiter

    def give_back(self, connection: C) -> None:
        if self.waiters:
            self.waiters.popleft().set_result(connection)
        else:
            self.idle.append(connection)


URLS_KEPT = 64


class Origins(Generic[C]):
    """Splits URLs, and knows the connections of each origin. Repeated URLs are split once: these are floors."""

    def __init__(self, connections: int, tls: ssl.SSLContext, dial: Dial[C]) -> None:
        self.connections = connections
        self.tls = tls
        self.dial = dial
        self.known: dict[str, Lanes[C]] = {}
        self.urls: dict[str, tuple[Lanes[C], bytes]] = {}

    def of(self, url: str) -> tuple[Lanes[C], bytes]:
        """The connections for `url`, and the request for it."""
        return self.urls.get(url) or self.split(url)

    def split(self, url: str) -> tuple[Lanes[C], bytes]:
        scheme, _, authority, target = url.split("/", 3)
        lanes = self.known.get(scheme + authority)
        if lanes is None:
            host, _, port = authority.partition(":")
            tls = self.tls if scheme == "https:" else None
            lanes = self.known[scheme + authority] = Lanes(host, int(port), tls, self.connections, self.dial)
        found = lanes, f"GET /{target} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
        if len(self.urls) < URLS_KEPT:
            self.urls[url] = found
        return found

    def forget(self) -> list[C]:
        """All idle connections, which are the caller's to close."""
        idle = [connection for lanes in self.known.values() for connection in lanes.idle]
        self.known.clear()
        return idle


def content_length(head: bytes) -> int:
    """The Content-Length of nginx's and the raw server's heads, -1 where there is none."""
    _, found, rest = head.partition(b"Content-Length: ")
    return int(rest[: rest.index(b"\r")]) if found else -1
