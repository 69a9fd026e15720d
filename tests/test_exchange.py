"""The seam between pool and connection: what a pool asks of a connection is what the protocol says, and no more."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import AsyncHTTPConnection, AsyncHTTPSConnection, ConnectionPool, Limits, RemoteDisconnected, Timeout
from aiohttpconn.config import Deadline
from aiohttpconn.exchange import ExchangeConnection
from aiohttpconn.pool.ways import Ways
from tests.auditing import audit_quiet, settle
from tests.exchanges import StubConnection, StubPool, StubWays, build, context, fetch, send, until
from tests.servers.raw import Hold, Reset, Send
from tests.servers.raw import Request as Await

if TYPE_CHECKING:
    from tests.servers.origin import OriginServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun"


def names(protocol: type) -> set[str]:
    """What a protocol asks for."""
    found = {name for name in vars(protocol) if not name.startswith("_")} | set(inspect.get_annotations(protocol))
    return {name for name in found if not name.startswith("_")}


def deadline() -> Deadline:
    return Deadline(Timeout(read=5), asyncio.get_running_loop().time())


@pytest.mark.parametrize("kind", [AsyncHTTPConnection, AsyncHTTPSConnection])
def test_connections_are_exchange_connections(kind: type[AsyncHTTPConnection]) -> None:
    connection = kind("localhost")
    for name in names(ExchangeConnection):
        assert hasattr(connection, name), name
        theirs, ours = getattr(ExchangeConnection, name, None), getattr(kind, name, None)
        if inspect.isfunction(theirs):
            assert inspect.iscoroutinefunction(theirs) == inspect.iscoroutinefunction(ours)
            assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters)  # type: ignore[arg-type]


async def test_pool_uses_nothing_but_the_protocol() -> None:
    """A connection that has only the protocol's names serves a pool through all of its ways."""
    asked: set[str] = set()

    class Strict:
        def __init__(self, inner: StubConnection) -> None:
            object.__setattr__(self, "inner", inner)

        def __getattr__(self, name: str) -> Any:
            asked.add(name)
            assert name in names(ExchangeConnection), f"the pool asked for {name!r}"
            return getattr(self.inner, name)

        def __setattr__(self, name: str, value: object) -> None:
            assert name in names(ExchangeConnection), f"the pool set {name!r}"
            setattr(self.inner, name, value)

    class StrictWays(StubWays):
        def new_connection(self, route: Any) -> Any:
            return Strict(super().new_connection(route))

    class StrictPool(StubPool):
        _ways_class = StrictWays

    pool = StrictPool(Limits(max_connections=2, max_idle=1))
    first: Any = await send(pool, "http://a/")
    second: Any = await send(pool, "http://b/")
    waiting = [asyncio.create_task(send(pool, url)) for url in ("http://a/", "http://c/", "http://a/")]
    await settle()
    first.finish()
    second.finish(keep_alive=False)
    await settle()
    for task in waiting:
        response: Any = await task
        response.finish()
        await settle()
    audit_quiet(pool)
    await pool.close()
    assert asked >= {"open", "start", "free_slots", "is_stale", "abort", "close_now"}


async def test_open_and_start(http_server: OriginServer) -> None:
    connection = AsyncHTTPConnection("127.0.0.1", http_server.port)
    assert connection.free_slots() == 0
    await connection.open(deadline())
    assert (connection.free_slots(), connection.is_connected, connection.is_stale()) == (1, True, False)
    await connection.open(deadline())
    assert http_server.connections == 1
    response = await connection.start(build(f"{http_server.url}/bytes/3000000"), deadline())
    assert connection.free_slots() == 0
    assert not response.ended
    over: list[int] = []
    response.when_over(lambda: over.append(connection.free_slots()))
    assert len(await response.read()) == 3_000_000
    assert over == [1]  # called once, and the connection is free by then
    await response.close()
    assert over == [1]
    connection.close_now()
    assert connection.free_slots() == 0


async def test_response_that_is_whole_has_ended(http_server: OriginServer) -> None:
    connection = AsyncHTTPConnection("127.0.0.1", http_server.port)
    await connection.open(deadline())
    response = await connection.start(build(http_server.url), deadline())
    assert response.ended
    assert connection.free_slots() == 1
    assert await response.read() == b"hello"
    connection.close_now()


@pytest.mark.parametrize("way", ["close", "abort", "cancel", "reset"])
async def test_when_over_is_called_however_it_ends(raw_server: Any, way: str) -> None:
    go = asyncio.Event()

    async def script(reader: Any, writer: Any, conn: Any) -> None:
        await conn.read_request()
        await conn.send(BEGUN)
        await go.wait()
        if way == "reset":
            conn.reset()
        else:
            await conn.wait_closed_by_peer()

    server = await raw_server(script)
    connection = AsyncHTTPConnection("127.0.0.1", server.port)
    await connection.open(deadline())
    response = await connection.start(build(server.url), deadline())
    over: list[bool] = []
    response.when_over(lambda: over.append(response.ended))
    reading = asyncio.create_task(response.read())
    await settle()
    go.set()
    if way == "close":
        reading.cancel()
        await asyncio.wait({reading})
        await response.close()
    elif way == "cancel":
        reading.cancel()
    elif way == "abort":
        connection.abort()
    await asyncio.wait({reading})
    assert reading.cancelled() or reading.exception() is not None
    assert over == [True]
    assert connection.free_slots() == 0


async def test_on_change_tells_that_an_idle_connection_was_lost(raw_server: Any) -> None:
    go = asyncio.Event()

    async def script(reader: Any, writer: Any, conn: Any) -> None:
        await conn.read_request()
        await conn.send(OK)
        await go.wait()

    server = await raw_server(script)
    connection = AsyncHTTPConnection("127.0.0.1", server.port)
    changes: list[bool] = []
    connection.on_change = lambda: changes.append(connection.is_connected)
    await connection.open(deadline())
    response = await connection.start(build(server.url), deadline())
    assert await response.read() == b"ok"
    assert changes == []
    go.set()
    await until(lambda: changes)
    assert changes == [False]
    assert connection.is_stale()
    assert connection.free_slots() == 0


async def test_on_change_says_nothing_within_an_exchange(raw_server: Any) -> None:
    server = await raw_server([Await(), Reset()])
    connection = AsyncHTTPConnection("127.0.0.1", server.port)
    changes: list[int] = []
    connection.on_change = lambda: changes.append(1)
    await connection.open(deadline())
    with pytest.raises(RemoteDisconnected):
        await connection.start(build(server.url), deadline())
    await settle()
    assert changes == []
    assert not connection.is_connected


async def test_failed_start_closes(raw_server: Any) -> None:
    """An error or a cancellation in `start` leaves a closed connection."""
    server = await raw_server([Await(), Hold()])
    connection = AsyncHTTPConnection("127.0.0.1", server.port)
    await connection.open(deadline())
    task = asyncio.create_task(connection.start(build(server.url), deadline()))
    await until(lambda: server.requests)
    task.cancel()
    await asyncio.wait({task})
    assert not connection.is_connected
    await until(lambda: server.open == 0)


async def test_absolute_form_and_extra_fields(raw_server: Any) -> None:
    server = await raw_server([Await(), Send(OK), Hold()])
    connection = AsyncHTTPConnection("127.0.0.1", server.port)
    await connection.open(deadline())
    request = build("http://user:pw@a.example/p?q#f", fields={"X": "1"})
    await connection.start(request, deadline(), b"Proxy-Authorization: Basic x\r\n")
    connection.close_now()
    received = server.requests[0]
    assert received.target == "http://a.example/p?q"
    assert received.fields == [("Host", "a.example"), ("Proxy-Authorization", "Basic x"), ("X", "1")]


async def test_abort_ends_opening(raw_server: Any, client_ctx: Any) -> None:
    server = await raw_server([Hold()])
    connection = AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx)
    task = asyncio.create_task(connection.open(deadline()))
    await until(lambda: server.connections)
    connection.abort()
    with pytest.raises(OSError, match="closed while it was being opened"):
        await task
    await until(lambda: server.open == 0)


async def test_abort_in_the_turn_in_which_connecting_takes_too_long(raw_server: Any, client_ctx: Any) -> None:
    server = await raw_server([Hold()])
    connection = AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx)
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(connection.open(Deadline(Timeout(connect=0.05), loop.time())))
    await until(lambda: server.connections)
    loop.call_later(0.06, connection.abort)
    time.sleep(0.1)  # both are due now
    with pytest.raises(OSError, match="closed while it was being opened"):
        await task
    await until(lambda: server.open == 0)


async def test_seam_is_where_another_kind_of_connection_enters(http_server: OriginServer) -> None:
    """A pool whose connections are made elsewhere, side by side with real ones."""

    class MixedWays(Ways):
        def new_connection(self, route: Any) -> Any:
            if route.origin.host == "stub":
                return StubConnection(route, 0, at_once=True)
            return super().new_connection(route)

    class Mixed(ConnectionPool):
        _ways_class = MixedWays

    async with Mixed() as pool:
        assert await fetch(pool, http_server.url) == b"hello"
        await pool.send(build("http://stub/"), context())
        audit_quiet(pool)
        assert pool.stats().idle == 2
