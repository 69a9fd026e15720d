"""Time, as a caller of the client sets it: per request, in all, over redirects and through slow consumers."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    Client,
    ConnectTimeout,
    Limits,
    PoolTimeout,
    ReadTimeout,
    RequestTimeout,
    Timeout,
    TotalTimeout,
    WriteTimeout,
)
from tests.auditing import audit_quiet, settle
from tests.bodies import endless
from tests.exchanges import until
from tests.servers.origin import OriginServer, Reply
from tests.servers.raw import Head as ReadHead
from tests.servers.raw import Hold, Pause, Send, StopReading
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SOON = 0.08
"""Seconds after which the limits under test are over; the others are far away."""


def check(error: RequestTimeout, url: str) -> None:
    """It names its request and host, and goes through pickle."""
    assert isinstance(error, TimeoutError)
    assert error.request.url == url
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.request.url) == (type(error), str(error), error.request.url)


# --- which limit counts -----------------------------------------------------------------------------------------------


async def test_a_requests_timeout_replaces_the_clients(http_server: OriginServer) -> None:
    url = f"{http_server.url}/hold"
    async with Client(timeout=60, trust_env=False) as client:
        for timeout in (SOON, Timeout(read=SOON)):
            with pytest.raises(ReadTimeout) as caught:
                await client.get(url, timeout=timeout)
            check(caught.value, url)
            with pytest.raises(ReadTimeout):
                async with client.stream("GET", url, timeout=timeout):
                    pass
            with pytest.raises(ReadTimeout):
                await client.send(client.build_request("GET", url), timeout=timeout)
        audit_quiet(client.pool)  # type: ignore[arg-type]


async def test_it_replaces_all_of_it(http_server: OriginServer) -> None:
    """A total of the client's does not hold for a request that brings limits of its own."""

    async def late(received: Any) -> Reply:
        await asyncio.sleep(2 * SOON)
        return Reply(b"late")

    http_server.routes["/late"] = late
    async with Client(timeout=Timeout(total=SOON), trust_env=False) as client:
        for timeout in (60, None, Timeout()):
            assert (await client.get(f"{http_server.url}/late", timeout=timeout)).text == "late"
        with pytest.raises(TotalTimeout) as caught:
            await client.get(f"{http_server.url}/late")
        check(caught.value, f"{http_server.url}/late")


async def test_none_switches_all_of_it_off(http_server: OriginServer) -> None:
    async def late(received: Any) -> Reply:
        await asyncio.sleep(2 * SOON)
        return Reply(b"late")

    http_server.routes["/late"] = late
    async with Client(timeout=SOON, trust_env=False) as client:
        assert (await client.get(f"{http_server.url}/late", timeout=None)).text == "late"
    async with Client(timeout=None, trust_env=False) as client:
        assert client.timeout == Timeout(None, None, None, None, None)
        assert (await client.get(f"{http_server.url}/late")).text == "late"


@pytest.mark.parametrize("timeout", [-1, float("nan")])
async def test_what_is_no_time_is_a_value_error(timeout: float, client: Client, http_server: OriginServer) -> None:
    with pytest.raises(ValueError, match="timeout"):
        await client.get(http_server.url, timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        Client(timeout=timeout)


# --- each limit has its error -----------------------------------------------------------------------------------------


async def test_connect(raw_server: StartRaw, server_ctx: Any, client: Client) -> None:
    """A server that accepts and says nothing: TLS never comes to be."""
    server = await raw_server([Hold()])
    url = f"https://127.0.0.1:{server.port}/"
    with pytest.raises(ConnectTimeout) as caught:
        await client.get(url, timeout=Timeout(connect=SOON))
    check(caught.value, url)
    await server.wait_idle()


async def test_connect_through_a_proxy_that_is_silent(raw_server: StartRaw, client: Client) -> None:
    server = await raw_server([ReadHead(), Hold()])
    with pytest.raises(ConnectTimeout):
        await client.get("https://example.org/", proxy=server.url, timeout=Timeout(connect=SOON))
    await server.wait_idle()


async def test_write(raw_server: StartRaw, client: Client) -> None:
    server = await raw_server([StopReading(), Pause(60)], receive_buffer=4096)
    url = f"{server.url}/"
    with pytest.raises(WriteTimeout) as caught:
        await client.post(url, content=endless(), timeout=Timeout(write=SOON))
    check(caught.value, url)
    assert client.stats().open == 0


async def test_pool(http_server: OriginServer) -> None:
    async with Client(limits=Limits(max_connections=1), trust_env=False) as client:
        async with client.stream("GET", f"{http_server.url}/bytes/10000000"):
            with pytest.raises(PoolTimeout) as caught:
                await client.get(f"{http_server.url}/second", timeout=Timeout(pool=SOON))
        check(caught.value, f"{http_server.url}/second")
        assert "1 of 1 connections are in use" in str(caught.value)
        assert f"{http_server.url}/bytes/10000000" in str(caught.value), "it says who holds them"
        assert (await client.get(http_server.url)).text == "hello"


async def test_read_counts_to_the_whole_head(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(OK, each=1, pause=0.02), Hold()])
    with pytest.raises(ReadTimeout):
        await client.get(server.url, timeout=Timeout(read=SOON))
    assert client.stats().open == 0


# --- total ------------------------------------------------------------------------------------------------------------


async def test_total_holds_over_redirects(client: Client, http_server: OriginServer) -> None:
    async def slowly_on(received: Any) -> Reply:
        await asyncio.sleep(0.05)
        return Reply(status=302, fields=[("Location", f"/on?{len(http_server.requests)}")])

    http_server.routes["/on"] = slowly_on
    with pytest.raises(TotalTimeout) as caught:
        await client.get(f"{http_server.url}/on", timeout=Timeout(total=0.5))
    assert 1 < len(http_server.requests) < 20, "no hop alone took as long"
    assert caught.value.request.url.path == "/on"
    assert client.stats().open == 0


async def test_total_holds_while_the_body_of_a_redirect_is_read(client: Client, raw_server: StartRaw) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 10\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(head), Hold()], [ReadRequest(), Hold()])
    with pytest.raises(TotalTimeout):
        await client.get(server.url, timeout=Timeout(total=SOON))
    assert client.stats().open == 0
    await server.wait_idle()


async def test_total_holds_while_waiting_for_a_connection(http_server: OriginServer) -> None:
    async with Client(limits=Limits(max_connections=1), trust_env=False) as client:
        async with client.stream("GET", f"{http_server.url}/bytes/10000000"):
            with pytest.raises(TotalTimeout) as caught:
                await client.get(f"{http_server.url}/second", timeout=Timeout(total=SOON))
        check(caught.value, f"{http_server.url}/second")


async def test_total_holds_while_connecting(raw_server: StartRaw, client: Client) -> None:
    server = await raw_server([Hold()])
    with pytest.raises(TotalTimeout):
        await client.get(f"https://127.0.0.1:{server.port}/", timeout=Timeout(total=SOON))
    await server.wait_idle()


async def test_total_holds_while_sending(raw_server: StartRaw, client: Client) -> None:
    server = await raw_server([StopReading(), Pause(60)], receive_buffer=4096)
    with pytest.raises(TotalTimeout):
        await client.post(server.url, content=b"x" * (32 << 20), timeout=Timeout(total=SOON))
    assert client.stats().open == 0


@pytest.mark.parametrize("way", ["read", "stream"])
async def test_total_holds_for_a_body_that_drips(way: str, client: Client, raw_server: StartRaw) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(head), Send(b"x" * 1000, each=1, pause=0.01)])
    with pytest.raises(TotalTimeout) as caught:
        if way == "read":
            await client.get(f"{server.url}/", timeout=Timeout(total=0.1))
        else:
            async with client.stream("GET", f"{server.url}/", timeout=Timeout(total=0.1)) as response:
                async for _ in response.iter_bytes():
                    pass
    check(caught.value, f"{server.url}/")
    assert client.stats().open == 0


@pytest.mark.parametrize("way", ["iter_bytes", "iter_raw", "iter_lines", "read"])
async def test_total_counts_a_slow_consumer_though_the_server_is_always_ahead(
    way: str, client: Client, raw_server: StartRaw
) -> None:
    """There is always something to be read, and no read ever waits: the time is over all the same."""

    async def flood(reader: Any, writer: Any, conn: Any) -> None:
        await conn.read_request()
        await conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        while True:
            await conn.send(b"line\n" * 13107)

    server = await raw_server(flood)
    async with client.stream("GET", f"{server.url}/", timeout=Timeout(total=SOON)) as response:

        async def consume() -> None:
            if way == "read":
                await asyncio.sleep(1.5 * SOON)
                await response.read()
                return
            count = 0
            async for _ in getattr(response, way)():
                count += 1
                if way != "iter_lines" or count % 10_000 == 0:
                    await asyncio.sleep(0.01)
                assert count < 500_000, "the time was over long ago"
                assert way == "iter_lines" or count < 100, "the time was over long ago"

        with pytest.raises(TotalTimeout) as caught:
            await consume()
        check(caught.value, f"{server.url}/")
        assert client.stats().open == 0


async def test_a_slow_consumer_without_total_has_all_the_time(client: Client, http_server: OriginServer) -> None:
    async with client.stream("GET", f"{http_server.url}/bytes/1000000", timeout=Timeout(read=SOON)) as response:
        await asyncio.sleep(1.5 * SOON)
        assert len(await response.read()) == 1_000_000


async def test_what_has_arrived_whole_is_in_time(client: Client, http_server: OriginServer) -> None:
    """The body had come to its end within the total: when it is looked at does not matter any more."""
    async with client.stream("GET", f"{http_server.url}/bytes/100", timeout=Timeout(total=SOON)) as response:
        await until(lambda: response._raw.complete)
        await asyncio.sleep(1.5 * SOON)
        assert len(await response.read()) == 100


async def test_each_request_has_its_own_total(http_server: OriginServer) -> None:
    async with Client(timeout=Timeout(total=0.5), trust_env=False) as client:
        for _ in range(3):
            assert (await client.get(http_server.url)).text == "hello"
            await asyncio.sleep(0.2)
        assert (await client.get(http_server.url)).text == "hello"


@pytest.mark.parametrize("timeout", [0, Timeout(total=0)])
async def test_no_time_at_all(timeout: Any, client: Client, http_server: OriginServer) -> None:
    with pytest.raises(RequestTimeout):
        await client.get(http_server.url, timeout=timeout)
    await settle()
    audit_quiet(client.pool)  # type: ignore[arg-type]


async def test_a_timeout_of_the_callers_own_is_not_taken_for_one_of_ours(
    client: Client, http_server: OriginServer
) -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(SOON):
            await client.get(f"{http_server.url}/hold")
    assert not isinstance(caught.value, RequestTimeout)
    assert client.stats().open == 0


@pytest.mark.parametrize("pace", [0.01, 60])
async def test_total_counts_a_slow_producer_too(pace: float, client: Client, http_server: OriginServer) -> None:
    """The body of an upload comes so slowly that the peer is always ahead."""
    ended = []

    async def slowly() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(pace)
        finally:
            ended.append(True)

    url = f"{http_server.url}/echo"
    with pytest.raises(TotalTimeout) as caught:
        await client.post(url, content=slowly(), timeout=Timeout(total=SOON))
    check(caught.value, url)
    assert client.stats().open == 0
    assert ended == [True]
