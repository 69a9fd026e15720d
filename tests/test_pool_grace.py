"""The two ends of a pool that its owner chooses: connections opened in advance, and a close that lets exchanges end."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    Client,
    ConnectError,
    ConnectionPool,
    HTTPException,
    Limits,
    PoolClosed,
    ProxyError,
    ProxyPool,
    TLSError,
)
from aiohttpconn.testing import MockTransport
from tests.auditing import audit, audit_quiet
from tests.cancellation import cancel_everywhere
from tests.exchanges import fetch, send, until
from tests.servers.certificates import server_context
from tests.servers.program import free_port
from tests.servers.raw import Hold, Request, Send, WaitFor

if TYPE_CHECKING:
    import ssl

    from tests.servers.nginx import Nginx
    from tests.servers.origin import OriginServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl"

# --- warm() -----------------------------------------------------------------------------------------------------------


async def test_warm_connections_are_idle_and_used(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        assert await pool.warm(http_server.url, 3) == 3
        audit_quiet(pool)
        assert (pool.stats().idle, pool.stats().opened_total) == (3, 3)
        await asyncio.gather(*(fetch(pool, http_server.url) for _ in range(3)))
        assert (http_server.connections, pool.stats().reused_total) == (3, 3)
        audit_quiet(pool)


async def test_warm_opens_what_is_missing(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        await fetch(pool, http_server.url)
        assert await pool.warm(http_server.url) == 0
        assert await pool.warm(http_server.url, 2) == 1
        assert await pool.warm(http_server.url, 0) == 0
        assert await pool.warm(http_server.url, 2) == 0
        audit_quiet(pool)
        assert pool.stats().idle == 2


async def test_two_warm_together_open_no_more_than_one_alone(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        opened = await asyncio.gather(pool.warm(http_server.url, 3), pool.warm(http_server.url, 3))
        assert (sum(opened), pool.stats().idle) == (3, 3)
        opened = await asyncio.gather(pool.warm(http_server.url, 4), pool.warm(http_server.url, 6))
        assert (sum(opened), pool.stats().idle) == (3, 6)
        audit_quiet(pool)


async def test_warm_raises_what_its_resolver_raised_and_no_group() -> None:
    class Broken:
        async def resolve(self, host: str, port: int) -> Any:
            raise KeyError("mine")

    async with ConnectionPool(resolver=Broken()) as pool:
        with pytest.raises(KeyError, match="mine"):
            await pool.warm("http://name.example/", 2)
        audit_quiet(pool)
        assert pool.stats().open == 0


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_connections=3),
        Limits(max_per_host=3),
        Limits(max_idle=3),
        Limits(max_connections=4, max_per_host=3, max_idle=5),
    ],
)
async def test_warm_keeps_to_the_limits(http_server: OriginServer, limits: Limits) -> None:
    async with ConnectionPool(limits) as pool:
        assert await pool.warm(http_server.url, 10) == 3
        audit_quiet(pool)
        assert await pool.warm(http_server.url, 10) == 0
        assert pool.stats().open == 3


async def test_warm_takes_nothing_from_others(http_server: OriginServer, raw_server: Any) -> None:
    other = await raw_server([Request(), Send(OK), Hold()])
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        await fetch(pool, other.url)
        assert await pool.warm(http_server.url, 1) == 0
        audit_quiet(pool)
        assert list(pool.stats().per_host) == [other.url]


async def test_warm_connections_serve_who_waits(http_server: OriginServer) -> None:
    """Somebody came while they were being opened and found no room."""
    async with ConnectionPool(Limits(max_connections=2)) as pool:
        warming = asyncio.create_task(pool.warm(http_server.url, 2))
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(fetch(pool, http_server.url)) for _ in range(4)]
        assert await warming == 2
        await asyncio.gather(*tasks)
        audit_quiet(pool)
        assert http_server.connections == 2


async def test_warm_over_tls(https_server: OriginServer, client_ctx: ssl.SSLContext) -> None:
    async with Client(verify=client_ctx) as client:
        assert await client.warm(f"{https_server.url}/some/page", 2) == 2
        assert (await client.get(https_server.url)).text == "hello"
        assert client.stats().opened_total == 2
        assert https_server.connections == 2


async def test_warm_relative_to_the_base_url(http_server: OriginServer) -> None:
    async with Client(http_server.url) as client:
        await client.warm("/")
        assert client.stats().idle == 1


async def test_warm_through_a_proxy(connect_proxy: Any, https_server: OriginServer, client_ctx: ssl.SSLContext) -> None:
    async with Client(verify=client_ctx, proxy=connect_proxy.url) as client:
        assert await client.warm(https_server.url, 2) == 2
        assert (await client.get(https_server.url)).text == "hello"
        assert client.stats().opened_total == 2


@pytest.mark.parametrize("way", ["url", "function", "ProxyPool", "environment"])
async def test_what_is_opened_in_advance_goes_the_way_of_requests(
    way: str, connect_proxy: Any, http_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`warm()`, of client and pool, and `pool.connection()`: none of them goes past the proxy."""
    if way == "environment":
        monkeypatch.setenv("http_proxy", connect_proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
    ways: dict[str, Any] = {
        "url": connect_proxy.url,
        "function": lambda url: connect_proxy.url,
        "ProxyPool": ProxyPool([connect_proxy.url]),
    }
    async with Client(**({"proxy": ways[way]} if way in ways else {})) as client:
        assert client.pool is not None
        assert await client.warm(http_server.url) == 1
        assert await client.pool.warm(http_server.url, 2) == 1
        async with client.pool.connection(http_server.url) as conn:
            await conn.request("GET", "/")
            assert await (await conn.getresponse()).read() == b"hello"
        assert connect_proxy.connections == 2
        assert connect_proxy.forwarded == [f"{http_server.url}/"]
        audit_quiet(client.pool)


async def test_a_proxy_that_fails_what_is_opened_in_advance_is_left_out(http_server: OriginServer) -> None:
    proxies = ProxyPool([f"http://127.0.0.1:{free_port()}" for _ in range(2)])
    async with Client(proxy=proxies) as client:
        assert client.pool is not None
        with pytest.raises(ProxyError):
            await client.warm(http_server.url)
        with pytest.raises(ProxyError):
            async with client.pool.connection(http_server.url):
                pass
        assert [state.failures for state in proxies.states()] == [1, 1]
        audit_quiet(client.pool)
    assert http_server.connections == 0


async def test_warm_raises_what_connecting_does(https_server: OriginServer, http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        with socket.socket() as deaf, pytest.raises(ConnectError, match="refused"):
            deaf.bind(("127.0.0.1", 0))
            await pool.warm(f"http://127.0.0.1:{deaf.getsockname()[1]}/", 3)
        audit_quiet(pool)
        with pytest.raises(TLSError):
            await pool.warm(https_server.url, 2)
        audit_quiet(pool)
        assert pool.stats().per_host == {}
        assert await pool.warm(http_server.url, 1) == 1


@pytest.mark.parametrize("n", [-1, 1.5, "2", True, None])
async def test_warm_wants_a_number(n: Any) -> None:
    async with ConnectionPool() as pool:
        with pytest.raises(TypeError, match="n must be a number"):
            await pool.warm("http://one.example/", n)


async def test_warm_after_close() -> None:
    pool = ConnectionPool()
    await pool.close()
    with pytest.raises(PoolClosed, match="in advance"):
        await pool.warm("http://one.example/")
    audit_quiet(pool)
    client = Client()
    await client.close()
    with pytest.raises(PoolClosed, match="in advance"):
        await client.warm("http://one.example/")


async def test_warm_needs_a_pool() -> None:
    async with Client(transport=MockTransport(lambda request: None)) as client:
        with pytest.raises(TypeError, match="not a pool"):
            await client.warm("http://one.example/")


async def test_to_be_opened_in_advance_is_no_request(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_requests=1)) as pool:
        assert await pool.warm(http_server.url, 3) == 3
        assert pool.stats().idle == 3
        await fetch(pool, http_server.url)
        assert pool.stats().idle == 2
    async with ConnectionPool(Limits(max_requests=2, jitter=0)) as pool:
        await pool.warm(http_server.url)
        await fetch(pool, http_server.url)
        assert pool.stats().idle == 1
        await fetch(pool, http_server.url)
        assert pool.stats().idle == 0


async def test_close_while_warming(raw_server: Any, client_ctx: ssl.SSLContext) -> None:
    server = await raw_server([Hold()])
    pool = ConnectionPool(ssl_context=client_ctx)
    warming = asyncio.create_task(pool.warm(f"https://127.0.0.1:{server.port}/", 3))
    await until(lambda: server.connections == 3)
    await pool.close()
    with pytest.raises(PoolClosed):
        await warming
    audit_quiet(pool)
    await until(lambda: server.open == 0)


@pytest.mark.parametrize("tls", [False, True])
async def test_warm_cancelled_everywhere(
    http_server: OriginServer, https_server: OriginServer, client_ctx: ssl.SSLContext, tls: bool
) -> None:
    server = https_server if tls else http_server
    pools: list[ConnectionPool] = []

    async def scenario() -> None:
        pools.append(ConnectionPool(ssl_context=client_ctx))
        await pools[-1].warm(server.url, 3)

    async def check() -> None:
        await until(lambda: pools[-1].stats().in_use == 0)
        audit_quiet(pools[-1])
        await pools[-1].close()
        await until(lambda: server.open == 0)

    assert await cancel_everywhere(scenario, check) > 0


@pytest.mark.interop
async def test_warm_at_nginx(nginx: Nginx, client_ctx: ssl.SSLContext) -> None:
    async with Client(verify=client_ctx) as client:
        for url in (nginx.http, nginx.https):
            assert await client.warm(url, 4) == 4
            serials = {(await client.get(f"{url}/connection")).text.split()[1] for _ in range(3)}
            assert serials == {"1", "2", "3"}  # the newest again and again
        assert (client.stats().opened_total, client.stats().reused_total) == (8, 6)


# --- close(grace) -----------------------------------------------------------------------------------------------------


async def test_running_exchanges_end(raw_server: Any) -> None:
    go = asyncio.Event()
    server = await raw_server(
        [Request(), WaitFor(go), Send(OK), Hold()], [Request(), Send(BEGUN), WaitFor(go), Send(b"ow")]
    )
    pool = ConnectionPool()
    head = asyncio.create_task(fetch(pool, server.url))
    await until(lambda: len(server.requests) == 1)
    body = await send(pool, server.url)
    closing = asyncio.create_task(pool.close(grace=60))
    await until(lambda: pool.closed)
    audit(pool)
    with pytest.raises(PoolClosed):
        await fetch(pool, server.url)
    with pytest.raises(PoolClosed):
        await pool.warm(server.url)
    go.set()
    assert await head == b"ok"
    assert not closing.done()  # a body is still to be read
    assert await body.read() == b"slow"
    await closing
    audit_quiet(pool)
    assert pool.stats().open == 0
    await until(lambda: server.open == 0)


async def test_idle_ones_are_closed_at_once_and_who_waits_is_told(http_server: OriginServer, raw_server: Any) -> None:
    go = asyncio.Event()
    server = await raw_server([Request(), WaitFor(go), Send(OK), Hold()])
    pool = ConnectionPool(Limits(max_per_host=1))
    await fetch(pool, http_server.url)
    running = asyncio.create_task(fetch(pool, server.url))
    await until(lambda: server.requests)
    waiting = asyncio.create_task(fetch(pool, server.url))
    await until(lambda: pool.stats().waiting)
    closing = asyncio.create_task(pool.close(grace=None))
    with pytest.raises(PoolClosed):
        await waiting
    await until(lambda: http_server.open == 0)
    assert http_server.broken == []
    go.set()
    assert await running == b"ok"
    await closing
    audit_quiet(pool)


async def test_what_takes_longer_is_aborted(http_server: OriginServer) -> None:
    pool = ConnectionPool()
    running = asyncio.create_task(fetch(pool, f"{http_server.url}/hold"))
    await until(lambda: http_server.requests)
    await pool.close(grace=0.02)
    with pytest.raises(PoolClosed):
        await running
    audit_quiet(pool)
    assert pool.stats().open == 0


@pytest.mark.parametrize("tls", [False, True])
async def test_a_body_that_is_being_read_ends_with_the_pool(raw_server: Any, ca: Any, ca_file: Any, tls: bool) -> None:
    server = await raw_server([Request(), Send(BEGUN), Hold()], tls=server_context(ca) if tls else None)
    url = f"{'https' if tls else 'http'}://localhost:{server.port}/"
    client = Client(verify=ca_file, retries=3)
    running = asyncio.create_task(client.get(url))
    async with client.stream("GET", url) as response:
        pieces = response.iter_bytes()
        assert await anext(pieces) == b"sl"
        await until(lambda: server.connections == 2)
        await client.close(grace=0.02)
        with pytest.raises(PoolClosed, match="the pool is closed") as caught:
            await anext(pieces)
    assert caught.value.request is not None
    with pytest.raises(PoolClosed):
        await running
    await until(lambda: server.open == 0)


async def test_one_that_is_still_connecting_goes_on(raw_server: Any) -> None:
    """It had its turn before; also its look-up goes on."""
    go = asyncio.Event()
    server = await raw_server([Request(), Send(OK), Hold()])

    class Slow:
        async def resolve(self, host: str, port: int) -> list[Any]:
            await go.wait()
            return [(2, ("127.0.0.1", port))]

    pool = ConnectionPool(resolver=Slow())
    running = asyncio.create_task(fetch(pool, f"http://one.example:{server.port}/"))
    await until(lambda: pool.stats().in_use)
    closing = asyncio.create_task(pool.close(grace=60))
    await until(lambda: pool.closed)
    go.set()
    assert await running == b"ok"
    await closing
    audit_quiet(pool)


async def test_an_exchange_that_fails_meanwhile_says_why(raw_server: Any) -> None:
    go = asyncio.Event()
    server = await raw_server([Request(), WaitFor(go)])
    pool = ConnectionPool()
    running = asyncio.create_task(fetch(pool, server.url))
    await until(lambda: server.requests)
    closing = asyncio.create_task(pool.close(grace=60))
    await until(lambda: pool.closed)
    go.set()
    with pytest.raises(HTTPException) as caught:
        await running
    assert not isinstance(caught.value, PoolClosed)
    await closing
    audit_quiet(pool)


@pytest.mark.parametrize("grace", [0, 0.02])
async def test_a_second_close_has_a_grace_of_its_own(http_server: OriginServer, grace: float) -> None:
    pool = ConnectionPool()
    running = asyncio.create_task(fetch(pool, f"{http_server.url}/hold"))
    await until(lambda: http_server.requests)
    first = asyncio.create_task(pool.close(grace=3600))
    await until(lambda: pool.closed)
    await pool.close(grace)
    with pytest.raises(PoolClosed):
        await running
    await first
    audit_quiet(pool)


async def test_closing_at_the_same_time(raw_server: Any) -> None:
    go = asyncio.Event()
    server = await raw_server([Request(), WaitFor(go), Send(OK), Hold()])
    pool = ConnectionPool()
    running = asyncio.create_task(fetch(pool, server.url))
    await until(lambda: server.requests)
    closing = [asyncio.create_task(pool.close(grace=3600)) for _ in range(3)]
    await until(lambda: pool.closed)
    go.set()
    assert await running == b"ok"
    await asyncio.gather(*closing)
    await pool.close(grace=3600)
    audit_quiet(pool)


async def test_a_cancelled_close_aborts(http_server: OriginServer) -> None:
    pool = ConnectionPool()
    running = asyncio.create_task(fetch(pool, f"{http_server.url}/hold"))
    await until(lambda: http_server.requests)
    closing = asyncio.create_task(pool.close(grace=3600))
    await until(lambda: pool.closed)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(PoolClosed):
        await running
    audit_quiet(pool)
    assert pool.stats().open == 0


async def test_close_cancelled_everywhere(http_server: OriginServer) -> None:
    pools: list[tuple[ConnectionPool, asyncio.Task[bytes]]] = []

    async def scenario() -> None:
        pool = ConnectionPool()
        before = len(http_server.requests)
        pools.append((pool, asyncio.create_task(fetch(pool, f"{http_server.url}/bytes/3000000"))))
        await until(lambda: len(http_server.requests) > before, 20)
        await pool.close(grace=60)

    async def check() -> None:
        pool, task = pools[-1]
        await pool.close()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        audit_quiet(pool)
        assert pool.stats().open == 0

    assert await cancel_everywhere(scenario, check) > 0


async def test_closing_within_a_block_waits_for_the_grace_and_no_longer(http_server: OriginServer) -> None:
    client = Client()
    async with client.stream("GET", f"{http_server.url}/bytes/3000000") as response:
        await client.close(grace=0.02)
        with pytest.raises(HTTPException):
            await response.read()
    assert client.pool is not None
    audit_quiet(client.pool)
    assert client.stats().open == 0


async def test_exclusive_blocks_end(http_server: OriginServer) -> None:
    pool = ConnectionPool()
    async with pool.connection(http_server.url) as conn:
        closing = asyncio.create_task(pool.close(grace=60))
        await until(lambda: pool.closed)
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == b"hello"
        assert not closing.done()
    await closing
    audit_quiet(pool)


async def test_a_client_s_close(raw_server: Any) -> None:
    go = asyncio.Event()
    server = await raw_server([Request(), Send(BEGUN), WaitFor(go), Send(b"ow")])
    client = Client()
    call = asyncio.create_task(client.get(server.url))
    await until(lambda: server.requests)
    closing = asyncio.create_task(client.close(grace=60))
    await until(lambda: client.is_closed)
    with pytest.raises(PoolClosed):
        await client.get(server.url)
    go.set()
    assert (await call).text == "slow"
    await closing
    assert client.pool is not None
    audit_quiet(client.pool)


async def test_a_block_ends_without_grace(http_server: OriginServer) -> None:
    async with Client() as client:
        call = asyncio.create_task(client.get(f"{http_server.url}/hold"))
        await until(lambda: http_server.requests)
    with pytest.raises(PoolClosed):
        await call


@pytest.mark.parametrize(("grace", "error"), [(-1, ValueError), ("5", TypeError), (True, TypeError)])
async def test_grace_is_checked(grace: Any, error: type[Exception]) -> None:
    async with ConnectionPool() as pool:
        with pytest.raises(error, match="grace"):
            await pool.close(grace)
        assert not pool.closed


# --- Client.close(grace): calls that are more than one exchange -------------------------------------------------------


def moved(path: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 4\r\n\r\n".encode()


async def test_calls_under_way_follow_redirects_within_the_grace(raw_server: Any) -> None:
    gate = asyncio.Event()
    server = await raw_server([Request(), WaitFor(gate), Send(moved("/next") + b"away")], [Request(), Send(OK)])
    client = Client(trust_env=False)
    running = asyncio.create_task(client.get(server.url))
    await until(lambda: client.stats().in_use == 1 and server.connections == 1)
    closing = asyncio.create_task(client.close(grace=60))
    await asyncio.sleep(0)
    with pytest.raises(PoolClosed):
        await client.get(server.url)
    gate.set()
    assert (await running).text == "ok"
    await closing
    assert client.stats().open == 0


async def test_calls_that_wait_for_a_connection_are_served_within_the_grace(raw_server: Any) -> None:
    gate = asyncio.Event()
    server = await raw_server([Request(), WaitFor(gate), Send(OK), *[Request(), Send(OK)] * 4])
    client = Client(limits=Limits(max_connections=1), trust_env=False)
    running = [asyncio.create_task(client.get(server.url)) for _ in range(5)]
    await until(lambda: client.stats().waiting == 4)
    closing = asyncio.create_task(client.close(grace=60))
    await asyncio.sleep(0)
    gate.set()
    await closing
    assert [(await each).text for each in running] == ["ok"] * 5
    assert client.pool is not None
    assert client.pool.closed


async def test_who_waits_when_the_grace_is_over_is_told(raw_server: Any) -> None:
    server = await raw_server([Request(), Hold()])
    client = Client(limits=Limits(max_connections=1), trust_env=False)
    running = [asyncio.create_task(client.get(server.url)) for _ in range(3)]
    await until(lambda: client.stats().waiting == 2)
    await client.close(grace=0.02)
    for error in await asyncio.gather(*running, return_exceptions=True):
        assert isinstance(error, PoolClosed)
    assert client.stats().waiting == 0
