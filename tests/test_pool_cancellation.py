"""Cancelled at every await, a pool loses nothing: no slot, no waiter, no socket, no task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, ConnectionPool, Limits, ProxyError
from aiohttpconn.proxy import Proxy
from tests.auditing import Ground, audit_quiet, settle
from tests.cancellation import cancel_everywhere
from tests.exchanges import fetch, send, until
from tests.servers.origin import OriginServer, pattern
from tests.servers.raw import Connection, Hold, Request, Send

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tests.servers.proxy import ConnectProxy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Watch:
    """What must hold after each cancelled run: the pool is quiet, and open sockets are the pool's idle ones."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self.ground = Ground()

    async def __call__(self) -> None:
        audit_quiet(self.pool)
        left: list[str] = []
        for _ in range(2000):
            left = self.ground.leftovers()
            # The servers are in this process: each connection has two ends here, and a task that serves it.
            sockets = [text for text in left if text.startswith("socket")]
            tasks = [text for text in left if text.startswith("task") and "ScriptedServer._serve" not in text]
            if len(sockets) <= 2 * self.pool.stats().open and not tasks:
                audit_quiet(self.pool)
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"{self.pool!r} left behind: {left}")


async def run(pool: ConnectionPool, scenario: Callable[[], Coroutine[Any, Any, object]], *, least: int) -> None:
    """Cancel the scenario everywhere, at `least` so often, and look what it left each time."""
    assert await cancel_everywhere(scenario, Watch(pool)) >= least


def empty(pool: ConnectionPool) -> None:
    """Let go of the idle ones, so that the next request opens a connection."""
    for slot in list(pool._ledger.idle):
        pool._ledger.remove(slot)


async def test_fresh_connection(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_idle=0)) as pool:
        await run(pool, lambda: fetch(pool, http_server.url), least=4)
        assert pool.stats().open == 0


async def test_fresh_connection_by_name(http_server: OriginServer) -> None:
    """A look-up in a thread, and a race of addresses."""
    async with ConnectionPool(Limits(max_idle=0)) as pool:
        await run(pool, lambda: fetch(pool, f"http://localhost:{http_server.port}/"), least=4)


async def test_reused_connection(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:

        async def scenario() -> None:
            await asyncio.shield(asyncio.ensure_future(fetch(pool, http_server.url)))
            reused = pool.stats().reused_total
            assert await fetch(pool, http_server.url) == b"hello"
            assert pool.stats().reused_total > reused

        async def check() -> None:
            await until(lambda: pool.stats().in_use == 0)
            await watch()

        watch = Watch(pool)
        assert await cancel_everywhere(scenario, check) >= 4


@pytest.mark.parametrize("target", ["/bytes/1000000", "/chunked/300000", "/until-close/1000000"])
async def test_reading_a_body(http_server: OriginServer, target: str) -> None:
    async with ConnectionPool() as pool:

        async def scenario() -> None:
            response = await send(pool, http_server.url + target)
            size = 0
            async for chunk in response:
                size += len(chunk)
            assert size == int(target.rpartition("/")[2])

        await run(pool, scenario, least=6)


async def test_sending_a_body(http_server: OriginServer) -> None:
    body = pattern(3_000_000)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 500_000):
            await asyncio.sleep(0)
            yield body[at : at + 500_000]

    async with ConnectionPool(Limits(max_idle=0)) as pool:

        async def scenario() -> None:
            assert await fetch(pool, http_server.url + "/echo", "PUT", pieces()) == body

        await run(pool, scenario, least=12)


async def test_waiting_for_a_slot(http_server: OriginServer) -> None:
    """The slot comes free while the scenario waits; whoever waits behind it is served all the same."""
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        behind: list[asyncio.Task[bytes]] = []

        holders: list[asyncio.Task[None]] = []

        async def holder(release: asyncio.Event) -> None:
            async with pool.connection(http_server.url):
                await release.wait()

        async def scenario() -> None:
            release = asyncio.Event()
            holders.append(asyncio.ensure_future(holder(release)))
            loop = asyncio.get_running_loop()
            try:
                while not pool.stats().in_use:
                    await asyncio.sleep(0)
                loop.call_later(0.005, release.set)
                behind.append(asyncio.ensure_future(late()))
                await fetch(pool, http_server.url)
            finally:
                release.set()

        async def late() -> bytes:
            await asyncio.sleep(0.001)
            return await fetch(pool, http_server.url)

        async def check() -> None:
            if behind:
                assert await asyncio.wait_for(behind.pop(), 5) == b"hello"
            await until(lambda: pool.stats().in_use == 0)
            await watch()

        watch = Watch(pool)
        assert await cancel_everywhere(scenario, check) >= 4


async def test_waiting_for_a_slot_of_another_host(http_server: OriginServer) -> None:
    """The slot that comes is one that is still to be connected."""
    async with OriginServer() as other, ConnectionPool(Limits(max_connections=1)) as pool:
        behind: list[asyncio.Task[bytes]] = []

        async def scenario() -> None:
            held = await send(pool, other.url + "/bytes/3000000")
            loop = asyncio.get_running_loop()
            loop.call_later(0.002, held.close_now)
            try:
                behind.append(asyncio.ensure_future(late()))
                assert await fetch(pool, http_server.url) == b"hello"
            finally:
                held.close_now()

        async def late() -> bytes:
            await asyncio.sleep(0)
            return await fetch(pool, http_server.url)

        async def check() -> None:
            if behind:
                assert await asyncio.wait_for(behind.pop(), 5) == b"hello"
            await until(lambda: pool.stats().in_use == 0)
            empty(pool)
            await watch()

        watch = Watch(pool)
        assert await cancel_everywhere(scenario, check) >= 6


async def test_sending_again(raw_server: Any) -> None:
    """The first connection is dead when it is used again, and every second one serves."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        await conn.read_request()
        await conn.send(OK)
        await conn.read_request()  # and closes

    server = await raw_server(script)
    async with ConnectionPool() as pool:

        async def scenario() -> None:
            empty(pool)
            assert await fetch(pool, server.url) == b"ok"
            before = len(server.requests)
            assert await fetch(pool, server.url) == b"ok"
            assert len(server.requests) == before + 2

        await run(pool, scenario, least=10)


async def test_tls(https_server: OriginServer, client_ctx: ssl.SSLContext) -> None:
    async with ConnectionPool(Limits(max_idle=0), ssl_context=client_ctx) as pool:
        await run(pool, lambda: fetch(pool, https_server.url + "/bytes/300000"), least=6)


async def test_tls_by_name(https_server: OriginServer, client_ctx: ssl.SSLContext) -> None:
    async with ConnectionPool(Limits(max_idle=0), ssl_context=client_ctx) as pool:
        await run(pool, lambda: fetch(pool, f"https://localhost:{https_server.port}/"), least=6)


async def test_tunnel(https_server: OriginServer, connect_proxy: ConnectProxy, client_ctx: ssl.SSLContext) -> None:
    async with ConnectionPool(Limits(max_idle=0), ssl_context=client_ctx, proxy=connect_proxy.url) as pool:

        async def check() -> None:
            audit_quiet(pool)
            assert pool.stats().open == 0
            await until(lambda: not connect_proxy.open and not https_server.open)
            await watch()

        watch = Watch(pool)
        assert await cancel_everywhere(lambda: fetch(pool, https_server.url), check) >= 6


async def test_forwarded(http_server: OriginServer, connect_proxy: ConnectProxy) -> None:
    async with ConnectionPool(Limits(max_idle=0), proxy=connect_proxy.url) as pool:

        async def check() -> None:
            audit_quiet(pool)
            await until(lambda: not connect_proxy.open and not http_server.open)
            await watch()

        watch = Watch(pool)
        assert await cancel_everywhere(lambda: fetch(pool, http_server.url), check) >= 4


async def test_proxy_that_refuses(raw_server: Any, https_server: OriginServer, client_ctx: ssl.SSLContext) -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\n"
    proxy = await raw_server([Request(), Send(refusal), Send(b"sorry!"), Hold()])
    async with ConnectionPool(ssl_context=client_ctx) as pool:

        async def scenario() -> None:
            try:
                await fetch(pool, https_server.url, proxy=Proxy.of(proxy.url))
            except ProxyError as error:
                refusals.append(error.status)

        refusals: list[int | None] = []
        await run(pool, scenario, least=3)
        assert set(refusals) == {403}
        assert pool.stats().open == 0


async def test_unix_socket(raw_server: Any) -> None:
    server = await raw_server([Request(), Send(OK), Hold()], uds=True)
    async with ConnectionPool(Limits(max_idle=0), uds=server.path) as pool:
        await run(pool, lambda: fetch(pool, "http://x.example/"), least=3)


async def test_exclusive_use(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:

        async def scenario() -> None:
            empty(pool)
            async with pool.connection(http_server.url) as conn:
                for target in ("/", "/bytes/400000"):
                    await conn.request("GET", target)
                    response = await conn.getresponse()
                    await response.read()
            async with pool.connection(http_server.url) as conn:
                await conn.request("POST", "/echo", b"body")
                assert await (await conn.getresponse()).read() == b"body"

        await run(pool, scenario, least=8)


async def test_exclusive_use_of_a_slot_that_is_waited_for(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_connections=1)) as pool:

        async def scenario() -> None:
            held = await send(pool, http_server.url + "/bytes/3000000")
            asyncio.get_running_loop().call_later(0.002, held.close_now)
            try:
                async with pool.connection(http_server.url) as conn:
                    await conn.request("GET", "/")
                    assert await (await conn.getresponse()).read() == b"hello"
            finally:
                held.close_now()

        await run(pool, scenario, least=6)


async def test_through_the_client(http_server: OriginServer) -> None:
    async with Client(trust_env=False) as client:
        pool = client.pool
        assert pool is not None
        url = f"{http_server.url}/redirect/302?/gzip"

        async def scenario() -> None:
            empty(pool)
            assert (await client.get(url)).json()["text"] == "grüße"
            async with client.stream("GET", f"{http_server.url}/bytes/400000") as response:
                assert sum([len(chunk) async for chunk in response.iter_bytes()]) == 400_000

        await run(pool, scenario, least=8)


async def test_closing_the_pool(http_server: OriginServer) -> None:
    """Cancelled in mid-close, nothing is left open all the same."""
    ground = Ground()

    async def scenario() -> None:
        pool = ConnectionPool()
        pools.append(pool)
        await asyncio.shield(asyncio.ensure_future(fetch(pool, http_server.url)))
        await pool.close()
        assert pool.closed

    async def check() -> None:
        for pool in pools:
            await until(lambda pool=pool: pool.stats().in_use == 0)  # type: ignore[misc]
            await pool.close()
            audit_quiet(pool)
            assert pool.stats().open == 0
        pools.clear()
        await until(lambda: not http_server.open)
        assert not [text for text in ground.leftovers() if text.startswith("socket")]

    pools: list[ConnectionPool] = []
    assert await cancel_everywhere(scenario, check) >= 4


async def test_many_are_cancelled_at_once(http_server: OriginServer) -> None:
    """All in the same turn: those that have a connection, those that connect, those that wait."""
    async with ConnectionPool(Limits(max_connections=4)) as pool:
        for turns in range(12):
            tasks = [asyncio.create_task(fetch(pool, http_server.url)) for _ in range(30)]
            await settle(turns)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await settle()
            audit_quiet(pool)
            assert await asyncio.wait_for(fetch(pool, http_server.url), 5) == b"hello"


async def test_task_group_fails(http_server: OriginServer) -> None:
    """The sibling of one that fails is cancelled, as structured concurrency has it."""

    async def fail() -> None:
        await until(lambda: http_server.requests)
        raise ZeroDivisionError

    async with ConnectionPool(Limits(max_connections=2)) as pool:
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(fetch(pool, f"{http_server.url}/hold"))
                group.create_task(fail())
        audit_quiet(pool)
        assert pool.stats().open == 0
        assert await fetch(pool, http_server.url) == b"hello"


async def test_asyncio_timeout_around(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await fetch(pool, f"{http_server.url}/hold")
        audit_quiet(pool)
        assert pool.stats().open == 0
