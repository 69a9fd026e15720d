"""A connection cancelled at every await: no socket, no task and no warning stays, and it can be used again."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from aiofiles.threadpool import wrap

from aiohttpconn import AsyncHTTPConnection, AsyncHTTPSConnection, ProxyError
from tests.auditing import Ground
from tests.cancellation import cancel_everywhere
from tests.servers.origin import pattern
from tests.servers.raw import Head, Hold, Request, Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
    from pathlib import Path

    from tests.servers.origin import OriginServer
    from tests.servers.proxy import ConnectProxy
    from tests.servers.raw import Connection, RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BODY = pattern(400_000)


async def cancelled_everywhere(
    use: Callable[[AsyncHTTPConnection], Coroutine[Any, Any, object]],
    make: Callable[[], AsyncHTTPConnection],
    *,
    least: int = 1,
) -> None:
    """Cancel ``use(conn)`` at each of its awaits, `least` of them or more; afterwards the connection is closed and all
    that it had is gone, though nobody called `close()`."""
    connections: list[AsyncHTTPConnection] = []
    ground = Ground()

    async def scenario() -> None:
        conn = make()
        connections.append(conn)
        await use(conn)
        await conn.close()

    async def check() -> None:
        conn = connections[-1]
        assert not conn.is_connected, conn
        assert not (left := await ground.cleared()), left

    assert await cancel_everywhere(scenario, check) >= least


async def exchange(conn: AsyncHTTPConnection) -> None:
    await conn.request("GET", "/")
    assert await (await conn.getresponse()).read() == b"ok"


# --- connecting -------------------------------------------------------------------------------------------------------


class Resolver:
    """Takes its time, and knows the addresses it is given."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts

    async def resolve(self, host: str, port: int) -> Any:
        await asyncio.sleep(0)
        return [(socket.AF_INET, (host, port)) for host in self.hosts]


@pytest.mark.parametrize(
    "hosts", [("127.0.0.1",), ("127.9.9.9", "127.0.0.1"), ("127.0.0.1", "127.0.0.1")], ids=["one", "second", "two"]
)
@pytest.mark.parametrize("delay", [None, 0.0, 0.25])
async def test_connect(raw_server: StartServer, hosts: tuple[str, ...], delay: float | None) -> None:
    server = await raw_server([Hold()])

    def make() -> AsyncHTTPConnection:
        return AsyncHTTPConnection("name.example", server.port, resolver=Resolver(*hosts), happy_eyeballs_delay=delay)

    await cancelled_everywhere(lambda conn: conn.connect(), make)


async def test_connect_to_a_literal_address_and_to_a_path(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])
    await cancelled_everywhere(lambda conn: conn.connect(), lambda: AsyncHTTPConnection("127.0.0.1", server.port))
    server = await raw_server([Hold()], uds=True)
    await cancelled_everywhere(lambda conn: conn.connect(), lambda: AsyncHTTPConnection("x", uds=server.path))


async def test_connect_over_a_socket_that_was_given(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])

    def make() -> AsyncHTTPConnection:
        return AsyncHTTPConnection("x", sock=socket.create_connection(("127.0.0.1", server.port)))

    await cancelled_everywhere(lambda conn: conn.connect(), make)


async def test_tls_handshake(https_server: OriginServer, client_ctx: ssl.SSLContext) -> None:
    def make() -> AsyncHTTPConnection:
        return AsyncHTTPSConnection("127.0.0.1", https_server.port, context=client_ctx)

    await cancelled_everywhere(lambda conn: conn.connect(), make, least=2)


async def test_tunnel_with_tls_inside(
    connect_proxy: ConnectProxy, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    def make() -> AsyncHTTPConnection:
        conn = AsyncHTTPSConnection("127.0.0.1", connect_proxy.port, context=client_ctx)
        conn.set_tunnel("127.0.0.1", https_server.port)
        return conn

    await cancelled_everywhere(lambda conn: conn.connect(), make, least=3)


async def test_refused_tunnel(raw_server: StartServer) -> None:
    refusal = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nno!!"
    server = await raw_server([Head(), Send(refusal, each=20), Hold()])

    async def use(conn: AsyncHTTPConnection) -> None:
        conn.set_tunnel("example.org", 80)
        with pytest.raises(ProxyError):
            await conn.connect()

    await cancelled_everywhere(use, lambda: AsyncHTTPConnection("127.0.0.1", server.port), least=3)


# --- exchanges --------------------------------------------------------------------------------------------------------

RESPONSES = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
    "close": b"HTTP/1.1 200 OK\r\n\r\nok",
    "interim": b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + OK,
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("kind", RESPONSES)
async def test_request_head_and_body(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext, kind: str, tls: bool
) -> None:
    script = [Request(), Send(RESPONSES[kind], each=11), *([] if kind == "close" else [Hold()])]
    server = await raw_server(script, tls=server_ctx if tls else None)

    def make() -> AsyncHTTPConnection:
        if tls:
            return AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx)
        return AsyncHTTPConnection("127.0.0.1", server.port)

    await cancelled_everywhere(exchange, make, least=3)


async def read_all(response: Any) -> bytes:
    return await response.read()


async def read_n(response: Any) -> bytes:
    return await response.read(2)


async def readinto(response: Any) -> bytes:
    buffer = bytearray(2)
    assert await response.readinto(buffer) == 2
    return bytes(buffer)


async def read1(response: Any) -> bytes:
    return await response.read1() + await response.read1()


async def readline(response: Any) -> bytes:
    return await response.readline()


async def peek(response: Any) -> bytes:
    await response.peek()
    return await response.read(2)


async def iterate(response: Any) -> bytes:
    return b"".join([piece async for piece in response])


async def iter_chunks(response: Any) -> bytes:
    return b"".join([piece async for piece in response.iter_chunks(1)])


async def iter_lines(response: Any) -> bytes:
    return b"".join([line async for line in response.iter_lines()])


@pytest.mark.parametrize("way", [read_all, read_n, readinto, read1, readline, peek, iterate, iter_chunks, iter_lines])
async def test_every_way_of_reading(raw_server: StartServer, way: Callable[[Any], Awaitable[bytes]]) -> None:
    server = await raw_server([Request(), Send(OK, each=1), Hold()])

    async def use(conn: AsyncHTTPConnection) -> None:
        await conn.request("GET", "/")
        assert await way(await conn.getresponse()) == b"ok"

    await cancelled_everywhere(use, lambda: AsyncHTTPConnection("127.0.0.1", server.port), least=3)


async def test_second_exchange_on_the_connection(http_server: OriginServer) -> None:
    async def use(conn: AsyncHTTPConnection) -> None:
        for _ in range(2):
            await conn.request("GET", "/chunked/200000")
            await (await conn.getresponse()).read()

    await cancelled_everywhere(use, lambda: AsyncHTTPConnection("127.0.0.1", http_server.port), least=3)


async def test_connection_can_be_used_again_after_each(http_server: OriginServer) -> None:
    conn = AsyncHTTPConnection("127.0.0.1", http_server.port)
    number = 0

    async def scenario() -> None:
        nonlocal number
        number += 1
        await conn.request("POST", "/echo", b"%d" % number)
        assert await (await conn.getresponse()).read() == b"%d" % number

    async def check() -> None:
        await scenario()  # gets its own answer, not that of the one before

    assert await cancel_everywhere(scenario, check) >= 2
    await conn.close()


async def test_detached_streams(raw_server: StartServer) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        await conn.read_request()
        await conn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\nhi", each=20)
        await conn.wait_closed_by_peer()

    server = await raw_server(script)

    async def use(conn: AsyncHTTPConnection) -> None:
        await conn.request("GET", "/", headers={"Connection": "upgrade", "Upgrade": "echo"})
        reader, writer = await (await conn.getresponse()).detach()
        try:
            assert await reader.readexactly(2) == b"hi"
        finally:
            writer.close()
        await writer.wait_closed()

    await cancelled_everywhere(use, lambda: AsyncHTTPConnection("127.0.0.1", server.port), least=2)


# --- uploads ----------------------------------------------------------------------------------------------------------


class Pieces:
    """The body as an async generator that notes whether it was closed."""

    def __init__(self) -> None:
        self.open = 0

    async def __call__(self) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            for at in range(0, len(BODY), 50_000):
                await asyncio.sleep(0)
                yield BODY[at : at + 50_000]
        finally:
            self.open -= 1


def blocks() -> Iterator[bytes]:
    for at in range(0, len(BODY), 50_000):
        yield BODY[at : at + 50_000]


async def answered(conn: AsyncHTTPConnection) -> None:
    response = await conn.getresponse()
    assert await response.read() == b"ok"


@pytest.mark.parametrize("kind", ["bytes", "small", "BytesIO", "list", "generator", "async generator", "stepwise"])
async def test_uploads(raw_server: StartServer, kind: str) -> None:
    server = await raw_server([Request(), Send(OK), Hold()], receive_buffer=16_384)
    pieces = Pieces()

    async def use(conn: AsyncHTTPConnection) -> None:
        if kind == "stepwise":
            conn.putrequest("POST", "/")
            conn.putheader("Content-Length", len(BODY))
            await conn.endheaders()
            for block in blocks():
                await conn.send(block)
        else:
            make: dict[str, Callable[[], Any]] = {
                "bytes": lambda: BODY,
                "small": lambda: b"small",
                "BytesIO": lambda: io.BytesIO(BODY),
                "list": lambda: list(blocks()),
                "generator": blocks,
                "async generator": pieces,
            }
            await conn.request("POST", "/", make[kind]())
        await answered(conn)

    await cancelled_everywhere(use, lambda: AsyncHTTPConnection("127.0.0.1", server.port), least=2)
    assert pieces.open == 0
    assert server.requests[-1].body in (BODY, b"small")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["file", "aiofiles"])
async def test_upload_of_a_file(raw_server: StartServer, tmp_path: Path, asynchronous: bool) -> None:
    path = tmp_path / "body"
    path.write_bytes(BODY[:150_000])
    server = await raw_server([Request(), Send(OK), Hold()])

    async def use(conn: AsyncHTTPConnection) -> None:
        with path.open("rb") as file:
            await conn.request("POST", "/", wrap(file) if asynchronous else file)
        await answered(conn)

    await cancelled_everywhere(use, lambda: AsyncHTTPConnection("127.0.0.1", server.port), least=4)
    assert server.requests[-1].body == BODY[:150_000]


async def test_upload_over_tls(raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext) -> None:
    server = await raw_server([Request(), Send(OK), Hold()], tls=server_ctx, receive_buffer=16_384)
    pieces = Pieces()

    async def use(conn: AsyncHTTPConnection) -> None:
        await conn.request("POST", "/", pieces())
        await answered(conn)

    def make() -> AsyncHTTPConnection:
        return AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx)

    await cancelled_everywhere(use, make, least=3)
    assert pieces.open == 0


@pytest.mark.parametrize("final", [False, True], ids=["100", "417"])
async def test_expect(raw_server: StartServer, final: bool) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        received = await conn.read_head()
        if final:
            await conn.send(b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nok", each=10)
        else:
            await conn.send(b"HTTP/1.1 100 Continue\r\n\r\n", each=10)
            await conn.read_body(received)
            await conn.send(OK, each=10)
        await conn.wait_closed_by_peer()

    server = await raw_server(script)
    pieces = Pieces()

    async def use(conn: AsyncHTTPConnection) -> None:
        await conn.request("POST", "/", pieces(), {"Expect": "100-continue"})
        await answered(conn)

    await cancelled_everywhere(use, lambda: AsyncHTTPConnection("127.0.0.1", server.port), least=3)
    assert pieces.open == 0


async def test_413_in_mid_upload(raw_server: StartServer) -> None:
    server = await raw_server([Head(), Send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nok", each=10), Hold()])
    pieces = Pieces()

    async def use(conn: AsyncHTTPConnection) -> None:
        await conn.request("POST", "/", pieces())
        await answered(conn)

    await cancelled_everywhere(use, lambda: AsyncHTTPConnection("127.0.0.1", server.port), least=2)
    assert pieces.open == 0


async def test_2xx_in_mid_upload(raw_server: StartServer) -> None:
    """The one case in which a connection has a task of its own: it ends with the exchange."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        await conn.read_head()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        left = len(BODY)
        while left:
            data = await reader.read(50_000)
            if not data:
                return
            left -= len(data)
            writer.write(data)
            await writer.drain()
        await conn.wait_closed_by_peer()

    server = await raw_server(echo, receive_buffer=16_384)
    pieces = Pieces()

    async def use(conn: AsyncHTTPConnection) -> None:
        await conn.request("POST", "/", pieces(), {"Content-Length": str(len(BODY))})
        assert await (await conn.getresponse()).read() == BODY

    await cancelled_everywhere(use, lambda: AsyncHTTPConnection("127.0.0.1", server.port), least=3)
    assert pieces.open == 0
