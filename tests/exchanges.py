"""What the tests of the pool are made of: requests as values, and connections that are played without a socket."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict, CIMultiDictProxy

from aiohttpconn import UNSET, ConnectionPool, HTTPException, Request, RequestContext, Timeout
from aiohttpconn.config import Deadline
from aiohttpconn.messages import Opening
from aiohttpconn.pool.ways import Ways
from aiohttpconn.url import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttpconn import HTTPResponse
    from aiohttpconn.messages import Route


def build(
    url: str, method: str = "GET", body: Any = None, fields: dict[str, str] | None = None, **options: Any
) -> Request:
    """A request as a client would make it: a body of bytes has its length, any other goes in chunks."""
    pairs = dict(fields or {})
    if isinstance(body, bytes):
        pairs["Content-Length"] = str(len(body))
    elif body is not None:
        pairs["Transfer-Encoding"] = "chunked"
    return Request(method, parse(url), CIMultiDictProxy(CIMultiDict(pairs)), body, **options)


def context(timeout: Timeout | float | None = 10, proxy: Any = UNSET) -> RequestContext:
    """What goes with a request; its time begins now."""
    return RequestContext(Deadline(Timeout.of(timeout), asyncio.get_running_loop().time()), proxy)


async def send(
    pool: ConnectionPool,
    url: str,
    method: str = "GET",
    body: Any = None,
    fields: dict[str, str] | None = None,
    *,
    timeout: Timeout | float | None = 10,
    proxy: Any = UNSET,
    **options: Any,
) -> HTTPResponse:
    """Send one request; the response's body is still to be read."""
    return await pool.send(build(url, method, body, fields, **options), context(timeout, proxy))


async def fetch(pool: ConnectionPool, url: str, *arguments: Any, **options: Any) -> bytes:
    """Send one request and read the body."""
    return await (await send(pool, url, *arguments, **options)).read()


async def until(condition: Callable[[], object], turns: int = 100_000) -> None:
    """Let the loop turn until the condition holds."""
    for turn in range(turns):
        if condition():
            return
        await asyncio.sleep(0 if turn % 10 else 0.001)
    raise AssertionError("it did not come to pass")


class StubResponse:
    """A response whose exchange goes on until the test ends it."""

    def __init__(self, connection: StubConnection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.ended = connection.at_once
        self.on_end: Callable[[], None] | None = None

    def when_over(self, callback: Callable[[], None]) -> None:
        assert not self.ended
        self.on_end = callback

    def finish(self, keep_alive: bool = True) -> None:
        """The exchange is over, and the connection can be used again or not."""
        assert not self.ended
        self.ended = True
        self.connection.busy = False
        self.connection.connected = keep_alive
        on_end, self.on_end = self.on_end, None
        assert on_end is not None
        on_end()


class StubConnection:
    """A connection without a socket, with nothing but what `ExchangeConnection` asks for.

    `at_once`: every exchange is over as soon as it is started.
    """

    def __init__(self, route: Route, number: int, at_once: bool = False) -> None:
        self.route = route
        self.number = number
        self.at_once = at_once
        self.connected = False
        self.busy = False
        self.stale = False
        self.exchanges = 0
        self.opening = Opening()
        self.on_interim: Any = None
        self.on_change: Callable[[], None] | None = None
        self.idle_limit = math.inf

    def free_slots(self) -> int:
        return int(self.connected and not self.busy)

    @property
    def is_connected(self) -> bool:
        return self.connected

    async def open(self, deadline: Deadline) -> None:
        self.connected = True

    async def start(self, request: Request, deadline: Deadline, proxy_fields: bytes | None = None) -> StubResponse:
        assert self.connected, "a connection that is closed was handed out"
        assert not self.busy, "a connection was handed out twice"
        assert not self.stale, "a connection that is stale was handed out"
        assert self.route.origin == request.url.origin, "a connection of another route was handed out"
        self.busy = not self.at_once
        self.exchanges += 1
        return StubResponse(self, request)

    def is_stale(self) -> bool:
        return self.stale or not self.connected

    def close_now(self) -> None:
        self.connected = self.busy = False

    def abort(self, error: HTTPException | None = None) -> None:
        self.connected = self.busy = False

    def lose(self) -> None:
        """The peer closes the idle connection, and the loop notices."""
        assert not self.busy
        self.connected = False
        assert self.on_change is not None
        self.on_change()


class StubWays(Ways):
    """Makes `StubConnection`s."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.at_once = False
        self.made: list[StubConnection] = []

    def new_connection(self, route: Route) -> Any:
        connection = StubConnection(route, len(self.made), self.at_once)
        self.made.append(connection)
        return connection


class StubPool(ConnectionPool):
    """A pool of `StubConnection`s: all of the pool's own decisions, no network. `made` has every one of them."""

    _ways_class = StubWays
    _ways: StubWays

    def __init__(self, *arguments: Any, at_once: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ways.at_once = at_once
        self.made = self._ways.made
