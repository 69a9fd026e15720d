"""Cancelling the client at every await: no slot stays taken, no socket open, no task running."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, Limits, ProxyError, Timeout
from tests.auditing import Ground, audit_quiet, settle
from tests.bodies import CountedBody
from tests.cancellation import cancel_everywhere
from tests.client.reading import take
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.servers.proxy import ConnectProxy

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
TIMEOUTS = [pytest.param(Timeout(), id="parts"), pytest.param(Timeout(total=60), id="total")]


@asynccontextmanager
async def audited(**options: Any) -> AsyncIterator[tuple[Client, Callable[[], Awaitable[None]]]]:
    """A client, and a check that its pool is quiet and still serves."""
    async with Client(trust_env=False, **options) as client:
        pool = client.pool
        assert pool is not None

        async def check() -> None:
            await settle(5)
            audit_quiet(pool)

        yield client, check


@pytest.mark.parametrize("timeout", TIMEOUTS)
@pytest.mark.parametrize("path", ["/", "/bytes/300000", "/chunked/5000", "/until-close/5000", "/gzip", "/close"])
async def test_get(path: str, timeout: Timeout, http_server: OriginServer) -> None:
    async with audited(timeout=timeout, limits=Limits(max_connections=2)) as (client, check):

        async def fetch() -> None:
            assert (await client.get(http_server.url + path)).status == 200

        assert await cancel_everywhere(fetch, check) > 0
        await fetch()


async def test_get_over_a_new_connection_each_time(http_server: OriginServer) -> None:
    ground = Ground()

    async def fetch() -> None:
        async with Client(trust_env=False) as client:
            assert (await client.get(f"http://localhost:{http_server.port}/bytes/100000")).status == 200

    async def nothing_left() -> None:
        await http_server.wait_idle()
        assert await ground.cleared() == []

    assert await cancel_everywhere(fetch, nothing_left) > 0


@pytest.mark.parametrize("content", ["bytes", "pieces", "expect"])
async def test_post(content: str, http_server: OriginServer) -> None:
    pieces = CountedBody(b"x" * 40_000, times=5)
    async with audited() as (client, check):

        async def post() -> None:
            body = b"x" * 200_000 if content == "bytes" else pieces()
            headers = {"Expect": "100-continue"} if content == "expect" else {}
            response = await client.post(f"{http_server.url}/echo", content=body, headers=headers)
            assert len(response.content) == 200_000

        async def check_all() -> None:
            await check()
            assert pieces.running == 0, "the body's iterator was not ended"

        assert await cancel_everywhere(post, check_all) > 0
        await post()


@pytest.mark.parametrize("way", ["iter_bytes", "iter_raw", "iter_lines", "read", "leave"])
async def test_stream(way: str, http_server: OriginServer) -> None:
    async with audited() as (client, check):

        async def stream() -> None:
            async with client.stream("GET", f"{http_server.url}/chunked/200000") as response:
                if way != "leave":
                    await take(response, way)

        assert await cancel_everywhere(stream, check) > 0
        await stream()


@pytest.mark.parametrize("start", ["/redirect/302?/redirect/307?/bytes/100000", "/long", "/unframed"])
async def test_redirects(start: str, http_server: OriginServer) -> None:
    location = [("Location", "/chunked/2000")]
    http_server.routes["/long"] = Reply(b"x" * 100_000, status=302, fields=location)
    http_server.routes["/unframed"] = Reply(b"x" * 1000, status=302, fields=location, until_close=True)
    async with audited(limits=Limits(max_connections=1)) as (client, check):

        async def fetch() -> None:
            assert (await client.get(http_server.url + start)).status == 200

        assert await cancel_everywhere(fetch, check) > 0
        await fetch()


async def test_redirects_across_origins(http_server: OriginServer) -> None:
    async with OriginServer() as other, audited(limits=Limits(max_connections=1)) as (client, check):

        async def fetch() -> None:
            response = await client.get(f"{http_server.url}/redirect/302?{other.url}/bytes/1000")
            assert response.status == 200

        assert await cancel_everywhere(fetch, check) > 0
        await fetch()


async def test_tls(https_server: OriginServer, client_ctx: ssl.SSLContext) -> None:
    ground = Ground()

    async def fetch() -> None:
        async with Client(trust_env=False, verify=client_ctx) as client:
            assert (await client.get(f"{https_server.url}/bytes/100000")).status == 200

    async def nothing_left() -> None:
        await https_server.wait_idle()
        assert await ground.cleared() == []

    assert await cancel_everywhere(fetch, nothing_left) > 0


@pytest.mark.parametrize("secure", [False, True])
async def test_a_proxy(
    secure: bool,
    connect_proxy: ConnectProxy,
    http_server: OriginServer,
    https_server: OriginServer,
    client_ctx: ssl.SSLContext,
) -> None:
    ground = Ground()
    connect_proxy.credentials = ("user", "secret")
    url = (https_server if secure else http_server).url

    async def fetch() -> None:
        proxy = f"http://user:secret@{connect_proxy.authority}"
        async with Client(proxy=proxy, verify=client_ctx, trust_env=False) as client:
            assert (await client.get(f"{url}/bytes/10000")).status == 200

    async def nothing_left() -> None:
        await connect_proxy.wait_idle()
        assert await ground.cleared() == []

    assert await cancel_everywhere(fetch, nothing_left) > 0


async def test_a_proxy_that_refuses(connect_proxy: ConnectProxy) -> None:
    connect_proxy.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!"
    async with audited(proxy=connect_proxy.url) as (client, check):

        async def fetch() -> None:
            with pytest.raises(ProxyError):
                await client.get("https://example.org/")

        assert await cancel_everywhere(fetch, check) > 0


async def test_a_replayed_request(raw_server: StartRaw) -> None:
    """The reused connection dies without a word, and the request goes out anew, cancelled at any await of that."""

    async def once_and_close(reader: Any, writer: Any, conn: Any) -> None:
        await conn.read_request()
        await conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await conn.read_head()

    server = await raw_server(once_and_close)
    async with audited() as (client, check):

        async def twice() -> None:
            assert (await client.get(server.url)).text == "ok"
            assert (await client.get(server.url)).text == "ok"

        assert await cancel_everywhere(twice, check) > 0


async def test_waiting_for_a_connection(http_server: OriginServer) -> None:
    async with audited(limits=Limits(max_connections=1)) as (client, check):

        async def behind_another() -> None:
            request = client.build_request("GET", f"{http_server.url}/bytes/5000")
            first = await client.send(request, stream=True)
            try:
                asyncio.get_running_loop().call_later(0.001, first._raw.close_now)
                assert (await client.get(http_server.url)).text == "hello"
            finally:
                await first.close()

        assert await cancel_everywhere(behind_another, check) > 0
        await behind_another()


async def test_after_any_cancellation_the_next_response_is_the_right_one(http_server: OriginServer) -> None:
    """The response that nobody took is never given to the request that comes next."""
    number = 0
    async with audited(limits=Limits(max_connections=1)) as (client, check):

        async def fetch() -> None:
            await client.get(f"{http_server.url}/request?cancelled")

        async def next_is_right() -> None:
            nonlocal number
            await check()
            number += 1
            response = await client.get(f"{http_server.url}/request?{number}")
            assert response.json()["target"] == f"/request?{number}"

        assert await cancel_everywhere(fetch, next_is_right) > 0
