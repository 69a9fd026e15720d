"""`Timeout(min_speed=…)`: peers that drip are let go, and slow callers are not blamed on them."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import AsyncHTTPConnection, Client, ReadTimeout, Timeout, TooSlow, TotalTimeout
from tests.auditing import audit_quiet, settle
from tests.client.reading import take
from tests.servers.raw import Hold, Pause, Send
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    from tests.servers.origin import OriginServer

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
SLOW = Timeout(min_speed=(10_000, 0.1))


def body(kind: bytes, size: int) -> bytes:
    return b"1\r\nx\r\n" * size + b"0\r\n\r\n" if kind == CHUNKED else b"x" * size


@pytest.mark.parametrize("kind", [LENGTH, CHUNKED, CLOSE], ids=["length", "chunked", "close"])
@pytest.mark.parametrize("way", ["read", "iter_raw", "iter_bytes", "iter_lines"])
async def test_drips_of_one_byte(kind: bytes, way: str, client: Client, raw_server: StartRaw) -> None:
    """No single wait is long, and it would go on for minutes."""
    each = 6 if kind == CHUNKED else 1
    server = await raw_server([ReadRequest(), Send(kind), Send(body(kind, 1000), each=each, pause=0.005)])
    with pytest.raises(TooSlow, match="less than 10000 bytes per second over 0") as caught:
        async with client.stream("GET", f"{server.url}/", timeout=SLOW) as response:
            await take(response, way)
    assert caught.value.request.url == f"{server.url}/"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert client.stats().open == 0


async def test_of_the_client(raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(LENGTH), Send(b"x" * 1000, each=1, pause=0.005)])
    async with Client(trust_env=False, timeout=SLOW) as client:
        with pytest.raises(TooSlow):
            await client.get(server.url)
        audit_quiet(client.pool)  # type: ignore[arg-type]
        assert client.stats().open == 0


async def test_a_request_may_have_another(raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(LENGTH), Send(b"x" * 1000, each=25, pause=0.01)])
    async with Client(trust_env=False, timeout=SLOW) as client:
        response = await client.get(server.url, timeout=Timeout(min_speed=(100, 0.3)))
        assert len(response.content) == 1000


async def test_of_a_connection(raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(LENGTH), Send(b"x" * 1000, each=1, pause=0.005)])
    async with AsyncHTTPConnection(f"127.0.0.1:{server.port}", timeout=SLOW) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        with pytest.raises(TooSlow):
            await response.read()
        assert not conn.is_connected
        with pytest.raises(TooSlow):
            await response.read()


@pytest.mark.parametrize("kind", [LENGTH, CHUNKED], ids=["length", "chunked"])
async def test_a_peer_that_is_fast_enough(kind: bytes, client: Client, raw_server: StartRaw) -> None:
    """Some 1,000 bytes per second, over several windows."""
    each = 60 if kind == CHUNKED else 10
    server = await raw_server([ReadRequest(), Send(kind), Send(body(kind, 1000), each=each, pause=0.01), Hold()])
    response = await client.get(server.url, timeout=Timeout(min_speed=(100, 0.2)))
    assert len(response.content) == 1000


async def test_framing_does_not_count_as_content(client: Client, raw_server: StartRaw) -> None:
    """Chunks of one byte with long extensions: many bytes on the wire, few for the caller."""
    chunk = b"1;" + b"e" * 1000 + b"\r\nx\r\n"
    server = await raw_server([ReadRequest(), Send(CHUNKED), Send(chunk * 1000, each=len(chunk), pause=0.005)])
    with pytest.raises(TooSlow):
        await client.get(server.url, timeout=Timeout(min_speed=(2000, 0.1)))


async def test_the_head_is_not_measured(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Pause(0.15), Send(LENGTH + b"x" * 1000), Hold()])
    response = await client.get(server.url, timeout=Timeout(min_speed=(1000, 0.05)))
    assert len(response.content) == 1000


async def test_a_slow_caller_is_not_the_peers_fault(client: Client, http_server: OriginServer) -> None:
    """The peer could send far more than is taken off it."""
    fast = Timeout(min_speed=(100_000, 0.05))
    async with client.stream("GET", f"{http_server.url}/bytes/2000000", timeout=fast) as response:
        size = count = 0
        async for piece in response.iter_bytes():
            size += len(piece)
            count += 1
            if count % 8 == 1:
                await asyncio.sleep(0.07)  # longer than a window
        assert size == 2_000_000


async def test_what_comes_while_the_caller_is_busy_is_the_peers_credit(client: Client, raw_server: StartRaw) -> None:
    """Bursts of 500 bytes every 40 ms that come while nobody waits, and nothing when somebody does: counting only what
    ends a wait, it would be next to nothing."""
    busy = asyncio.Event()

    async def bursts(reader: Any, writer: Any, conn: Any) -> None:
        await conn.read_request()
        await conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5010\r\n\r\n")
        for _ in range(10):
            await busy.wait()
            busy.clear()
            await conn.send(b"x" * 500)
            await asyncio.sleep(0.04)
            await conn.send(b"y")
        await conn.wait_closed_by_peer()

    server = await raw_server(bursts)
    async with client.stream("GET", server.url, timeout=Timeout(min_speed=(2000, 0.08))) as response:
        size = 0
        pieces = response.iter_raw()
        while size < 5010:
            if size % 501 == 0:
                busy.set()
                await asyncio.sleep(0.01)  # at its own affairs
            size += len(await anext(pieces))
        assert size == 5010


async def test_a_peer_that_falls_silent_after_a_good_start(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(LENGTH + b"x" * 900), Hold()])
    with pytest.raises(TooSlow):
        await client.get(server.url, timeout=Timeout(min_speed=(1000, 0.1)))
    assert client.stats().open == 0


async def test_read_comes_first_where_it_is_shorter(client: Client, raw_server: StartRaw) -> None:
    """A window that ends while nothing comes does not begin the wait anew."""
    server = await raw_server([ReadRequest(), Send(LENGTH + b"x" * 900), Hold()])
    with pytest.raises(ReadTimeout):
        await client.get(server.url, timeout=Timeout(read=0.15, min_speed=(1000, 0.1)))


async def test_total_comes_first_where_it_is_shorter(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(LENGTH), Send(b"x" * 1000, each=1, pause=0.005)])
    with pytest.raises(TotalTimeout):
        await client.get(server.url, timeout=Timeout(total=0.1, min_speed=(1000, 10)))


async def test_the_end_within_a_window_is_in_time(client: Client, raw_server: StartRaw) -> None:
    """A short body is never slow: no window was over."""
    server = await raw_server([ReadRequest(), Send(CHUNKED), Send(body(CHUNKED, 10), each=6, pause=0.002), Hold()])
    response = await client.get(server.url, timeout=Timeout(min_speed=(1e9, 60)))
    assert response.content == b"x" * 10


async def test_cancelling_while_it_is_measured(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(LENGTH), Hold()])
    call = asyncio.create_task(client.get(server.url, timeout=Timeout(min_speed=(1, 60))))
    while not server.requests:
        await settle()
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert client.stats().open == 0
