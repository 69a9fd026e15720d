"""A pool of real connections: keyed by route, reused newest first, never handed out dead; replay; exclusive use."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    AsyncHTTPConnection,
    AsyncHTTPSConnection,
    Client,
    ConnectError,
    ConnectionPool,
    HTTPException,
    HTTPResponse,
    IncompleteRead,
    InvalidURL,
    Limits,
    ReadTimeout,
    RemoteDisconnected,
    StreamClosed,
    Timeout,
    UnsupportedScheme,
)
from aiohttpconn.proxy import Proxy
from tests.auditing import audit, audit_quiet, settle
from tests.exchanges import fetch, send, until
from tests.servers.certificates import trusting_context
from tests.servers.origin import OriginServer, pattern
from tests.servers.raw import Connection, Hold, RawServer, Request, Reset, Send, WaitFor

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    import trustme

    from tests.servers.proxy import ConnectProxy

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    """A pool with the default limits; after the test nobody has or awaits one of its connections."""
    async with ConnectionPool() as pool:
        yield pool
        await settle()
        audit_quiet(pool)
    audit_quiet(pool)
    assert pool.stats().open == 0


def borrowed_socket(conn: Connection) -> socket.socket:
    """The server's end, to be used past the loop."""
    return socket.socket(fileno=os.dup(conn.writer.get_extra_info("socket").fileno()))


def say_while_loop_is_busy(conn: Connection, data: bytes) -> None:
    """The peer sends, or closes where `data` is empty, and the loop has no chance to read it."""
    with borrowed_socket(conn) as sock:
        if data:
            sock.setblocking(True)
            sock.sendall(data)
        else:
            sock.shutdown(socket.SHUT_WR)
    time.sleep(0.01)


# --- reuse and routes -------------------------------------------------------------------------------------------------


async def test_connection_is_reused(pool: ConnectionPool, http_server: OriginServer) -> None:
    for _ in range(5):
        assert await fetch(pool, http_server.url) == b"hello"
        audit(pool)
    assert http_server.connections == 1
    stats = pool.stats()
    assert (stats.open, stats.idle, stats.in_use, stats.waiting) == (1, 1, 0, 0)
    assert (stats.opened_total, stats.reused_total, stats.closed_total) == (1, 4, 0)


async def test_stats_per_host(raw_server: StartRaw, pool: ConnectionPool, http_server: OriginServer) -> None:
    slow = await raw_server([Request(), Hold()])
    await fetch(pool, http_server.url)
    task = asyncio.create_task(fetch(pool, slow.url))
    await until(lambda: slow.requests)
    stats = pool.stats()
    assert (stats.open, stats.idle, stats.in_use, stats.waiting) == (2, 1, 1, 0)
    assert {key: (host.open, host.idle, host.waiting) for key, host in stats.per_host.items()} == {
        http_server.url: (1, 1, 0),
        slow.url: (1, 0, 0),
    }
    task.cancel()
    await asyncio.wait({task})
    stats = pool.stats()
    assert list(stats.per_host) == [http_server.url]
    assert (stats.open, stats.opened_total, stats.closed_total) == (1, 2, 1)


async def test_stats_are_a_value(pool: ConnectionPool, http_server: OriginServer) -> None:
    before = pool.stats()
    await fetch(pool, http_server.url)
    assert before.open == 0
    assert before == ConnectionPool().stats()
    with pytest.raises(AttributeError):
        before.open = 3  # type: ignore[misc]


async def test_newest_idle_is_reused_first(pool: ConnectionPool, http_server: OriginServer) -> None:
    held = [await send(pool, http_server.url + "/bytes/3000000") for _ in range(3)]
    for number in (1, 2, 0):
        await held[number].read()
    assert pool.stats().idle == 3
    await fetch(pool, http_server.url)
    assert http_server.requests[-1].connection == 0  # the last to become idle
    first = await send(pool, http_server.url + "/bytes/3000000")
    second = await send(pool, http_server.url + "/bytes/3000000")
    third = await send(pool, http_server.url + "/bytes/3000000")
    assert [request.connection for request in http_server.requests[-3:]] == [0, 2, 1]
    for response in (first, second, third):
        await response.read()


async def test_hosts_do_not_share(raw_server: StartRaw, pool: ConnectionPool) -> None:
    servers = [await raw_server(OK), await raw_server(OK)]
    for server in servers:
        await fetch(pool, server.url)
        assert server.connections == 1


async def test_names_are_not_looked_up_to_share(pool: ConnectionPool, http_server: OriginServer) -> None:
    """The same server by two names: two routes, since the second name may lead elsewhere tomorrow."""
    await fetch(pool, f"http://127.0.0.1:{http_server.port}/")
    await fetch(pool, f"http://localhost:{http_server.port}/")
    assert http_server.connections == 2
    assert len(pool.stats().per_host) == 2


async def test_spelling_of_an_origin_does_not_matter(pool: ConnectionPool, http_server: OriginServer) -> None:
    for host in ("localhost", "LOCALHOST", "user:secret@localhost"):
        await fetch(pool, f"http://{host}:{http_server.port}/?{host}#top")
    assert http_server.connections == 1
    assert "secret" not in str(pool.stats())


async def test_https_and_http_do_not_share(
    http_server: OriginServer, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    async with ConnectionPool(ssl_context=client_ctx) as pool:
        for _ in range(3):
            assert await fetch(pool, http_server.url) == b"hello"
            assert await fetch(pool, https_server.url) == b"hello"
            audit_quiet(pool)
        assert (http_server.connections, https_server.connections) == (1, 1)
        with pytest.raises(HTTPException):  # plain HTTP to the port where TLS is spoken
            await fetch(pool, f"http://127.0.0.1:{https_server.port}/")
        audit_quiet(pool)


async def test_context_of_another_pool_is_another_identity(ca: trustme.CA, https_server: OriginServer) -> None:
    one, other = trusting_context(ca), trusting_context(ca)
    async with ConnectionPool(ssl_context=one) as pool, ConnectionPool(ssl_context=other) as another:
        await fetch(pool, https_server.url)
        await fetch(another, https_server.url)
        await fetch(pool, https_server.url)
        assert https_server.connections == 2
        audit_quiet(pool)


async def test_proxy_is_part_of_the_route(
    pool: ConnectionPool, http_server: OriginServer, connect_proxy: ConnectProxy
) -> None:
    proxy = Proxy.of(connect_proxy.url)
    assert await fetch(pool, http_server.url) == b"hello"
    assert await fetch(pool, http_server.url, proxy=proxy) == b"hello"
    assert connect_proxy.forwarded == [http_server.url + "/"]
    assert await fetch(pool, http_server.url, proxy=None) == b"hello"
    assert [request.connection for request in http_server.requests] == [0, 1, 0]


async def test_credentials_of_a_proxy_are_part_of_the_route(raw_server: StartRaw, pool: ConnectionPool) -> None:
    forward = await raw_server([Request(), Send(OK), Request(), Send(NEXT), Hold()])
    for user in ("alice", "bob"):
        await fetch(pool, "http://a.example/", proxy=Proxy.of(f"http://{user}:pw@127.0.0.1:{forward.port}"))
    assert forward.connections == 2
    assert "pw" not in str(pool.stats())
    assert pool.stats().per_host == {f"http://a.example through {forward.url}": (2, 2, 0)}


async def test_plain_requests_to_an_origin_through_a_proxy_share_its_connections(
    raw_server: StartRaw, pool: ConnectionPool
) -> None:
    forward = await raw_server([Request(), Send(OK), Request(), Send(NEXT), Hold()], [Request(), Send(OK), Hold()])
    proxy = Proxy.of(f"http://u:p@127.0.0.1:{forward.port}")
    assert await fetch(pool, "http://a.example/1", proxy=proxy) == b"ok"
    assert await fetch(pool, "http://a.example/2", proxy=proxy) == b"next"
    assert await fetch(pool, "http://b.example/3", proxy=proxy) == b"ok"
    assert [(request.connection, request.target) for request in forward.requests] == [
        (0, "http://a.example/1"),
        (0, "http://a.example/2"),
        (1, "http://b.example/3"),
    ]
    assert [request.get("Host") for request in forward.requests] == ["a.example", "a.example", "b.example"]
    assert all(request.get("Proxy-Authorization") == "Basic dTpw" for request in forward.requests)


async def test_tunnels_are_keyed_by_their_origin(
    connect_proxy: ConnectProxy, https_server: OriginServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    async with (
        OriginServer(tls=server_ctx) as another,
        ConnectionPool(ssl_context=client_ctx, proxy=connect_proxy.url) as pool,
    ):
        for _ in range(2):
            for server in (https_server, another):
                assert await fetch(pool, server.url) == b"hello"
                audit_quiet(pool)
        assert connect_proxy.tunnels == [https_server.authority, another.authority]
        assert connect_proxy.forwarded == []


async def test_proxy_of_the_pool_forwards(http_server: OriginServer, connect_proxy: ConnectProxy) -> None:
    async with ConnectionPool(proxy=connect_proxy.url) as pool:
        assert await fetch(pool, http_server.url) == b"hello"
        assert connect_proxy.forwarded == [http_server.url + "/"]
        assert await fetch(pool, http_server.url, proxy=None) == b"hello"
        assert len(connect_proxy.forwarded) == 1
        audit_quiet(pool)


def test_proxy_must_be_one() -> None:
    with pytest.raises(UnsupportedScheme, match="socks5h"):
        ConnectionPool(proxy="ftp://proxy.example:3128")


async def test_unix_socket(raw_server: StartRaw) -> None:
    server = await raw_server([Request(), Send(OK), Request(), Send(NEXT), Hold()], uds=True)
    async with ConnectionPool(uds=server.path) as pool:
        assert await fetch(pool, "http://anything.example/") == b"ok"
        assert await fetch(pool, "http://anything.example/") == b"next"
        assert server.connections == 1
        assert server.path in next(iter(pool.stats().per_host))
        audit_quiet(pool)


async def test_error_of_connecting_gives_the_slot_back(pool: ConnectionPool, raw_server: StartRaw) -> None:
    server = await raw_server(OK)
    server.stop_listening()
    await settle()
    with pytest.raises(ConnectError) as caught:
        await send(pool, server.url)
    assert server.authority in str(caught.value)
    assert str(caught.value.request.url) == server.url + "/"
    audit_quiet(pool)
    assert pool.stats().open == 0


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (OK, 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 1),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 0),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n", 0),
        (OK + b"more than asked for", 0),
    ],
)
async def test_kept_only_if_both_sides_can_go_on(
    pool: ConnectionPool, raw_server: StartRaw, answer: bytes, kept: int
) -> None:
    server = await raw_server([Request(), Send(answer), Hold()])
    assert await fetch(pool, server.url) in (b"ok", b"")
    await settle()
    audit_quiet(pool)
    assert pool.stats().idle == kept


async def test_connection_close_in_the_request(pool: ConnectionPool, http_server: OriginServer) -> None:
    await fetch(pool, http_server.url, fields={"Connection": "close"})
    assert pool.stats().open == 0


async def test_garbage_closes_the_connection(pool: ConnectionPool, raw_server: StartRaw) -> None:
    server = await raw_server([Request(), Send(b"SSH-2.0-OpenSSH_9.2\r\n"), Hold()])
    with pytest.raises(HTTPException) as caught:
        await fetch(pool, server.url)
    assert caught.value.request is not None
    audit_quiet(pool)
    assert pool.stats().open == 0


async def test_response_closed_early_gives_up_its_connection(pool: ConnectionPool, raw_server: StartRaw) -> None:
    server = await raw_server([Request(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome"), Hold()])
    response = await send(pool, server.url)
    assert pool.stats().in_use == 1
    await response.close()
    audit_quiet(pool)
    assert pool.stats().open == 0
    with pytest.raises(StreamClosed):
        await response.read()


async def test_response_closed_whose_rest_has_arrived_keeps_its_connection(
    pool: ConnectionPool, http_server: OriginServer
) -> None:
    response = await send(pool, http_server.url + "/bytes/100")
    await response.close()
    audit_quiet(pool)
    assert pool.stats().idle == 1


async def test_upgrade_leaves_the_pool(pool: ConnectionPool, raw_server: StartRaw) -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nfirst"
    server = await raw_server([Request(), Send(switching), Hold()])
    response = await send(pool, server.url, fields={"Upgrade": "x", "Connection": "upgrade"})
    assert pool.stats().in_use == 1
    reader, writer = await response.detach()
    audit_quiet(pool)
    assert pool.stats().open == 0
    assert await reader.readexactly(5) == b"first"
    writer.close()
    await writer.wait_closed()


async def test_bodies_belong_to_their_requests(pool: ConnectionPool, http_server: OriginServer) -> None:
    async def one(number: int) -> None:
        for turn in range(10):
            body = f"{number}-{turn}".encode() * 50
            assert await fetch(pool, http_server.url + "/echo", "POST", body) == body

    await asyncio.gather(*(one(number) for number in range(20)))
    audit_quiet(pool)


# --- dead connections are never handed out ----------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
@pytest.mark.parametrize("tls", [False, True])
async def test_idle_connection_is_dropped_as_soon_as_the_loop_reads_it(
    raw_server: StartRaw, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext, data: bytes, tls: bool
) -> None:
    go = asyncio.Event()
    script = [Request(), Send(OK), WaitFor(go), *([Send(data), Hold()] if data else [])]
    server = await raw_server(script, [Request(), Send(NEXT), Hold()], tls=server_ctx if tls else None)
    async with ConnectionPool(ssl_context=client_ctx) as pool:
        await fetch(pool, server.url)
        assert pool.stats().idle == 1
        go.set()
        await until(lambda: pool.stats().open == 0)
        audit_quiet(pool)
        assert await fetch(pool, server.url, "POST", b"x") == b"next"
        assert pool.stats().reused_total == 0


@pytest.mark.parametrize("data", [b"", b"\r\n", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
async def test_dead_connection_is_noticed_at_checkout_though_the_loop_was_busy(
    pool: ConnectionPool, raw_server: StartRaw, data: bytes
) -> None:
    server: RawServer = await raw_server([Request(), Send(OK), Hold()], [Request(), Send(NEXT), Hold()])
    await fetch(pool, server.url)
    say_while_loop_is_busy(server.accepted[0], data)
    # A POST would not be sent again: it must not have gone out on the dead one.
    assert await fetch(pool, server.url, "POST", b"x") == b"next"
    assert [request.connection for request in server.requests] == [0, 1]
    stats = pool.stats()
    assert (stats.opened_total, stats.reused_total, stats.closed_total) == (2, 0, 1)


async def test_host_whose_last_connection_was_found_dead_is_still_limited(raw_server: StartRaw) -> None:
    server: RawServer = await raw_server([Request(), Send(OK), Hold()], [Request(), Hold()])
    async with ConnectionPool(Limits(max_per_host=1)) as pool:
        await fetch(pool, server.url)
        say_while_loop_is_busy(server.accepted[0], b"")
        first = asyncio.create_task(fetch(pool, server.url))
        second = asyncio.create_task(fetch(pool, server.url))
        await until(lambda: len(server.requests) == 2)
        audit(pool)
        assert (pool.stats().in_use, pool.stats().waiting) == (1, 1)
        for task in (first, second):
            task.cancel()
        await asyncio.wait({first, second})
        audit_quiet(pool)


async def test_all_dead_ones_of_a_host_are_passed_over(pool: ConnectionPool, raw_server: StartRaw) -> None:
    go = asyncio.Event()
    dying = [Request(), WaitFor(go), Send(OK), Hold()]
    server: RawServer = await raw_server(*[dying] * 4, [Request(), Send(NEXT), Hold()])
    tasks = [asyncio.create_task(fetch(pool, server.url)) for _ in range(4)]
    await until(lambda: len(server.requests) == 4)
    go.set()
    await asyncio.gather(*tasks)
    assert pool.stats().idle == 4
    for conn in server.accepted:
        say_while_loop_is_busy(conn, b"")
    assert await fetch(pool, server.url, "POST", b"x") == b"next"
    assert pool.stats().open == 1


@pytest.mark.parametrize("data", [b"", b"surprise"])
async def test_dead_connection_is_not_handed_to_a_waiter(raw_server: StartRaw, data: bytes) -> None:
    """It has died by the time it is given back."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
    server: RawServer = await raw_server([Request(), Send(head), Hold()], [Request(), Send(NEXT), Hold()])
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        response = await send(pool, server.url)
        waiting = asyncio.create_task(fetch(pool, server.url, "POST", b"x"))
        await until(lambda: pool.stats().waiting)
        say_while_loop_is_busy(server.accepted[0], b"done" + data)
        if not data:
            say_while_loop_is_busy(server.accepted[0], b"")
        assert await response.read() == b"done"
        assert await waiting == b"next"
        assert [request.connection for request in server.requests] == [0, 1]
        audit_quiet(pool)


@pytest.mark.parametrize("data", [b"", b"surprise"])
async def test_connection_that_dies_on_its_way_to_a_waiter(raw_server: StartRaw, data: bytes) -> None:
    """Good when it was given back, dead when the waiter's turn comes."""
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndo"
    go = asyncio.Event()
    server: RawServer = await raw_server(
        [Request(), Send(half), WaitFor(go), Send(b"ne"), Hold()], [Request(), Send(NEXT), Hold()]
    )
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        response = await send(pool, server.url)
        waiting = asyncio.create_task(fetch(pool, server.url, "POST", b"x"))
        await until(lambda: pool.stats().waiting)
        go.set()
        assert await response.read(4) == b"done"
        # The slot was handed over within that read, and the waiter has not run since.
        assert (pool.stats().waiting, pool.stats().in_use) == (0, 1)
        say_while_loop_is_busy(server.accepted[0], data)
        assert await waiting == b"next"
        audit_quiet(pool)
        assert [request.connection for request in server.requests] == [0, 1]


async def test_session_tickets_do_not_count_as_unasked(https_server: OriginServer, client_ctx: ssl.SSLContext) -> None:
    async with ConnectionPool(ssl_context=client_ctx) as pool:
        async with pool.connection(https_server.url) as conn:
            assert conn.is_connected
            await settle(20)
        assert await fetch(pool, https_server.url) == b"hello"
        assert https_server.connections == 1
        audit_quiet(pool)


# --- a request on a connection that died is sent again, if that does no harm ------------------------------------------


@pytest.fixture
async def dying(raw_server: StartRaw) -> Callable[..., Awaitable[RawServer]]:
    """A server whose first connection answers once, and at the second request does as it is told."""

    async def start(*end: Any, rest: Any = None) -> RawServer:
        first = [Request(), Send(OK), Request(), *end]
        return await raw_server(first, rest if rest is not None else [Request(), Send(NEXT), Hold()])  # type: ignore[no-any-return]

    return start


CLOSED: list[Any] = []
RESET = [Reset()]


@pytest.mark.parametrize("end", [CLOSED, RESET])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_idempotent_request_is_sent_again(pool: ConnectionPool, dying: Any, end: list[Any], method: str) -> None:
    server = await dying(*end, rest=[Request(), Send(NEXT.removesuffix(b"next") if method == "HEAD" else NEXT), Hold()])
    await fetch(pool, server.url)
    body = await fetch(pool, server.url, method, b"body" if method == "PUT" else None)
    assert body == (b"" if method == "HEAD" else b"next")
    assert [request.connection for request in server.requests] == [0, 0, 1]
    assert server.requests[1].raw == server.requests[2].raw
    stats = pool.stats()
    assert (stats.opened_total, stats.closed_total, stats.open) == (2, 1, 1)


@pytest.mark.parametrize("end", [CLOSED, RESET])
@pytest.mark.parametrize(
    ("method", "body", "idempotent"),
    [
        ("POST", None, None),
        ("POST", b"body", None),
        ("PATCH", b"body", None),
        ("FOO", None, None),
        ("GET", None, False),
    ],
)
async def test_other_requests_are_never_sent_twice(
    pool: ConnectionPool, dying: Any, end: list[Any], method: str, body: bytes | None, idempotent: bool | None
) -> None:
    server = await dying(*end)
    await fetch(pool, server.url)
    with pytest.raises(RemoteDisconnected) as caught:
        await fetch(pool, server.url, method, body, idempotent=idempotent)
    assert caught.value.request.method == method
    assert len(server.requests) == 2
    assert server.connections == 1
    audit_quiet(pool)


async def test_post_said_to_be_idempotent_is_sent_again(pool: ConnectionPool, dying: Any) -> None:
    server = await dying()
    await fetch(pool, server.url)
    assert await fetch(pool, server.url, "POST", b"body", idempotent=True) == b"next"
    assert [request.body for request in server.requests] == [b"", b"body", b"body"]


async def test_post_with_an_idempotency_key_is_sent_again(pool: ConnectionPool, dying: Any) -> None:
    server = await dying()
    await fetch(pool, server.url)
    assert await fetch(pool, server.url, "POST", b"body", {"idempotency-key": "42"}) == b"next"
    assert len(server.requests) == 3


async def test_large_body_is_sent_again(pool: ConnectionPool, dying: Any) -> None:
    server = await dying()
    await fetch(pool, server.url)
    body = pattern(1_000_000)
    assert await fetch(pool, server.url, "PUT", body) == b"next"
    assert [len(request.body) for request in server.requests] == [0, 1_000_000, 1_000_000]
    assert server.requests[2].body == body


@pytest.mark.parametrize("kind", ["iterator", "async"])
async def test_body_that_can_be_read_only_once_is_not_sent_again(pool: ConnectionPool, dying: Any, kind: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    server = await dying()
    await fetch(pool, server.url)
    with pytest.raises(RemoteDisconnected):
        await fetch(pool, server.url, "PUT", pieces() if kind == "async" else iter([b"a", b"b"]))
    assert len(server.requests) == 2
    audit_quiet(pool)


@pytest.mark.parametrize("end", [CLOSED, RESET])
@pytest.mark.parametrize("sent", [b"H", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_not_sent_again_after_a_byte_of_the_response(
    pool: ConnectionPool, dying: Any, end: list[Any], sent: bytes
) -> None:
    go = asyncio.Event()
    server = await dying(Send(sent), WaitFor(go), *end)
    await fetch(pool, server.url)
    task = asyncio.create_task(fetch(pool, server.url))
    await until(lambda: len(server.requests) == 2)
    await asyncio.sleep(0.01)
    go.set()
    with pytest.raises(RemoteDisconnected) as caught:
        await task
    assert caught.value.bytes_received == len(sent)
    assert len(server.requests) == 2
    assert server.connections == 1
    audit_quiet(pool)


async def test_not_sent_again_once_the_body_had_begun(pool: ConnectionPool, dying: Any) -> None:
    server = await dying(Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun"))
    await fetch(pool, server.url)
    with pytest.raises(IncompleteRead):
        await fetch(pool, server.url)
    assert len(server.requests) == 2
    audit_quiet(pool)


async def test_not_sent_again_after_a_timeout(pool: ConnectionPool, dying: Any) -> None:
    server = await dying(Hold())
    await fetch(pool, server.url)
    with pytest.raises(ReadTimeout) as caught:
        await fetch(pool, server.url, timeout=Timeout(read=0.05))
    assert caught.value.request.url.origin.port == server.port
    assert len(server.requests) == 2
    audit_quiet(pool)
    assert pool.stats().open == 0


async def test_dead_twice_is_an_error(pool: ConnectionPool, dying: Any) -> None:
    server = await dying(rest=[Request()])
    await fetch(pool, server.url)
    with pytest.raises(RemoteDisconnected):
        await fetch(pool, server.url)
    assert len(server.requests) == 3
    assert pool.stats().open == 0
    audit_quiet(pool)


async def test_dead_on_a_fresh_connection_is_an_error(pool: ConnectionPool, raw_server: StartRaw) -> None:
    server = await raw_server([Request()])
    with pytest.raises(RemoteDisconnected):
        await fetch(pool, server.url)
    assert len(server.requests) == 1
    audit_quiet(pool)


async def test_fresh_connection_for_the_replay_is_refused(pool: ConnectionPool, dying: Any) -> None:
    server = await dying()
    await fetch(pool, server.url)
    server.stop_listening()
    await settle()
    with pytest.raises(ConnectError):
        await fetch(pool, server.url)
    audit_quiet(pool)
    assert pool.stats().open == 0


async def test_replay_does_not_use_another_idle_connection(pool: ConnectionPool, raw_server: StartRaw) -> None:
    """Others that have been idle as long are likely dead, too."""
    go = asyncio.Event()
    first = [Request(), WaitFor(go), Send(OK), Request()]
    server = await raw_server(first, first, [Request(), Send(NEXT), Hold()])
    tasks = [asyncio.create_task(fetch(pool, server.url)) for _ in range(2)]
    await until(lambda: len(server.requests) == 2)
    go.set()
    await asyncio.gather(*tasks)
    assert pool.stats().idle == 2
    assert await fetch(pool, server.url) == b"next"
    assert server.requests[-1].connection == 2
    assert len(server.requests) == 4


async def test_replay_over_tls(raw_server: StartRaw, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext) -> None:
    server = await raw_server([Request(), Send(OK), Request()], [Request(), Send(NEXT), Hold()], tls=server_ctx)
    async with ConnectionPool(ssl_context=client_ctx) as pool:
        await fetch(pool, server.url)
        assert await fetch(pool, server.url) == b"next"
        audit_quiet(pool)


async def test_replay_through_the_client(http_server: OriginServer, dying: Any) -> None:
    server = await dying()
    async with Client(trust_env=False) as client:
        assert (await client.get(server.url)).content == b"ok"
        assert (await client.post(server.url, content=b"x", idempotent=True)).content == b"next"
        assert len(server.requests) == 3


# --- exclusive use ----------------------------------------------------------------------------------------------------


async def get(conn: AsyncHTTPConnection, target: str = "/") -> bytes:
    await conn.request("GET", target)
    response = await conn.getresponse()
    return await response.read()


async def test_connection_block(pool: ConnectionPool, http_server: OriginServer) -> None:
    async with pool.connection(http_server.url) as conn:
        assert isinstance(conn, AsyncHTTPConnection)
        assert not isinstance(conn, AsyncHTTPSConnection)
        assert conn.is_connected
        assert pool.stats().in_use == 1
        assert await get(conn) == b"hello"
        assert await get(conn, "/bytes/5") == pattern(5)
        audit(pool)
    audit_quiet(pool)
    assert pool.stats().idle == 1
    assert await fetch(pool, http_server.url) == b"hello"
    async with pool.connection(http_server.url + "/path?is=ignored") as again:
        assert again is conn
        assert await get(again) == b"hello"
    assert http_server.connections == 1
    stats = pool.stats()
    assert (stats.opened_total, stats.reused_total) == (1, 2)


async def test_connection_block_over_tls(https_server: OriginServer, client_ctx: ssl.SSLContext) -> None:
    async with ConnectionPool(ssl_context=client_ctx) as pool:
        for _ in range(2):
            async with pool.connection(https_server.url) as conn:
                assert isinstance(conn, AsyncHTTPSConnection)
                assert await get(conn) == b"hello"
            audit_quiet(pool)
        assert https_server.connections == 1


async def test_connection_block_through_a_tunnel(
    https_server: OriginServer, connect_proxy: ConnectProxy, client_ctx: ssl.SSLContext
) -> None:
    async with ConnectionPool(ssl_context=client_ctx, proxy=connect_proxy.url) as pool:
        async with pool.connection(https_server.url) as conn:
            assert await get(conn) == b"hello"
        audit_quiet(pool)
        assert connect_proxy.tunnels == [https_server.authority]


async def test_connection_is_nobody_elses_inside_the_block(pool: ConnectionPool, http_server: OriginServer) -> None:
    async with pool.connection(http_server.url) as conn, pool.connection(http_server.url) as other:
        assert conn is not other
        assert await get(conn) == b"hello"
        assert await fetch(pool, http_server.url) == b"hello"
        assert await get(conn) == b"hello"
        assert http_server.connections == 3
    audit_quiet(pool)


async def test_block_unused_gives_the_connection_back(pool: ConnectionPool, http_server: OriginServer) -> None:
    async with pool.connection(http_server.url):
        pass
    assert pool.stats().idle == 1
    assert await fetch(pool, http_server.url) == b"hello"
    assert http_server.connections == 1


async def test_block_left_in_mid_exchange_closes(pool: ConnectionPool, raw_server: StartRaw) -> None:
    server = await raw_server([Request(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome"), Hold()])
    async with pool.connection(server.url) as conn:
        await conn.request("GET", "/")
    audit_quiet(pool)
    assert pool.stats().open == 0
    async with pool.connection(server.url) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
    assert pool.stats().open == 0
    with pytest.raises(HTTPException):
        await response.read()
    async with pool.connection(server.url) as conn:
        conn.putrequest("GET", "/")
    assert pool.stats().open == 0
    audit_quiet(pool)


async def test_exception_in_the_block(pool: ConnectionPool, http_server: OriginServer) -> None:
    """The exchange was over: the connection is good. It was not: it is closed."""
    with pytest.raises(ZeroDivisionError):
        async with pool.connection(http_server.url) as conn:
            await get(conn)
            raise ZeroDivisionError
    audit_quiet(pool)
    assert pool.stats().idle == 1
    with pytest.raises(ZeroDivisionError):
        async with pool.connection(http_server.url) as conn:
            await conn.request("GET", "/")
            raise ZeroDivisionError
    audit_quiet(pool)
    assert pool.stats().open == 0


async def test_block_that_closes_its_connection(pool: ConnectionPool, http_server: OriginServer) -> None:
    async with pool.connection(http_server.url) as conn:
        await get(conn)
        await conn.close()
    audit_quiet(pool)
    assert pool.stats().open == 0


async def test_block_leaves_no_settings_behind(pool: ConnectionPool, http_server: OriginServer) -> None:
    class Special(HTTPResponse):
        pass

    async with pool.connection(http_server.url) as conn:
        conn.timeout = Timeout(read=0.001)
        conn.set_debuglevel(1)
        conn.on_interim = lambda head: None
        conn.response_class = Special
        conn.auto_open = False
    async with pool.connection(http_server.url) as again:
        assert again is conn
        assert again.timeout == pool.timeout
        assert again.on_interim is None
        assert again.auto_open
        assert again.debuglevel == 0
    assert type(await send(pool, http_server.url)) is HTTPResponse


async def test_block_counts_against_the_limits(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_per_host=1), timeout=Timeout(pool=0.02)) as pool:
        async with pool.connection(http_server.url):
            with pytest.raises(TimeoutError):
                async with pool.connection(http_server.url):
                    raise AssertionError("entered")
            waiting = asyncio.create_task(fetch(pool, http_server.url))
            await until(lambda: pool.stats().waiting)
            audit(pool)
        assert await waiting == b"hello"
        assert http_server.connections == 1
        audit_quiet(pool)


async def test_block_cannot_be_entered_twice_at_once(pool: ConnectionPool, http_server: OriginServer) -> None:
    block = pool.connection(http_server.url)
    async with block:
        with pytest.raises(RuntimeError):
            await block.__aenter__()
    async with block as conn:
        assert conn.is_connected


async def test_block_never_left(pool: ConnectionPool, http_server: OriginServer) -> None:
    block = pool.connection(http_server.url)
    conn = await block.__aenter__()
    await get(conn)
    with pytest.warns(ResourceWarning, match=f"{http_server.port}.*never left"):
        del block
        gc.collect()
    await settle()
    audit_quiet(pool)
    assert pool.stats().open == 0
    assert not conn.is_connected


async def test_block_cannot_connect(pool: ConnectionPool, raw_server: StartRaw) -> None:
    server = await raw_server(OK)
    server.stop_listening()
    await settle()
    with pytest.raises(ConnectError):
        async with pool.connection(server.url):
            raise AssertionError("entered")
    audit_quiet(pool)
    assert pool.stats().open == 0


async def test_dead_idle_connection_is_not_given_to_a_block(pool: ConnectionPool, raw_server: StartRaw) -> None:
    server: RawServer = await raw_server([Request(), Send(OK), Hold()], [Request(), Send(NEXT), Hold()])
    await fetch(pool, server.url)
    say_while_loop_is_busy(server.accepted[0], b"")
    async with pool.connection(server.url) as conn:
        await conn.request("POST", "/", b"x")
        assert await (await conn.getresponse()).read() == b"next"


@pytest.mark.parametrize("url", ["", "example.org", "/path", "http://", "http://[::1/"])
def test_block_needs_a_url(url: str) -> None:
    with pytest.raises(InvalidURL):
        ConnectionPool().connection(url)


def test_block_needs_http() -> None:
    with pytest.raises(UnsupportedScheme):
        ConnectionPool().connection("ftp://example.org/")


# --- exclusive use, and what must not come of it ----------------------------------------------------------------------


async def test_exclusive_use_of_a_plain_origin_through_a_proxy(raw_server: StartRaw) -> None:
    forward = await raw_server([Request(), Send(OK), Request(), Send(OK), Request(), Send(OK)])
    async with (
        ConnectionPool(proxy=f"http://user:secret@127.0.0.1:{forward.port}") as pool,
        pool.connection("http://origin.example:81") as conn,
    ):
        for target in ("/x?y", "*", "http://other.example/"):
            await conn.request("OPTIONS", target)
            assert await (await conn.getresponse()).read() == b"ok"
    assert [request.target for request in forward.requests] == [
        "http://origin.example:81/x?y",
        "http://origin.example:81",
        "http://other.example/",
    ]
    for request in forward.requests:
        assert request.get("Host") == "origin.example:81"
        assert request.get("Proxy-Authorization") == "Basic dXNlcjpzZWNyZXQ="


async def test_connection_that_was_led_elsewhere_does_not_go_back(
    http_server: OriginServer, raw_server: StartRaw, pool: ConnectionPool
) -> None:
    other = await raw_server([Request(), Send(NEXT), Hold()])
    async with pool.connection(http_server.url) as conn:
        await conn.close()
        conn.port = other.port
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == b"next"
    assert pool.stats().idle == 0
    assert await fetch(pool, http_server.url) == b"hello"


async def test_tickets_of_tls_are_no_stray_bytes(https_server: OriginServer, client_ctx: ssl.SSLContext) -> None:
    """TLS 1.3 servers send them after the handshake: the loop, being busy, has not read them yet."""
    async with ConnectionPool(ssl_context=client_ctx) as pool, pool.connection(https_server.url) as conn:
        time.sleep(0.05)
        assert conn.reusable
        writer = conn.writer
        await conn.request("GET", "/")
        assert conn.writer is writer
        assert await (await conn.getresponse()).read() == b"hello"
    assert https_server.connections == 1


async def test_stray_bytes_and_the_end_within_tls_are_noticed(
    server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext, raw_server: StartRaw
) -> None:
    for last in (Send(b"stray"), Reset()):
        server = await raw_server([Request(), Send(OK), WaitFor(go := asyncio.Event()), last, Hold()], tls=server_ctx)
        async with ConnectionPool(ssl_context=client_ctx) as pool, pool.connection(server.url) as conn:
            await conn.request("GET", "/")
            await (await conn.getresponse()).read()
            go.set()
            await asyncio.sleep(0.02)
            assert not conn.reusable
