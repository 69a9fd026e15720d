"""`AsyncHTTPSConnection`: whom it trusts, under which name, and what it says when it does not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import AsyncHTTPConnection, AsyncHTTPSConnection, ConnectError, ConnectTimeout, Timeout, TLSError
from tests.servers.certificates import server_context, trusting_context
from tests.servers.origin import pattern
from tests.servers.raw import Close, Hold, Request, Reset, Send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.servers.origin import OriginServer
    from tests.servers.raw import RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def get(conn: AsyncHTTPConnection, target: str = "/") -> bytes:
    await conn.request("GET", target)
    return await (await conn.getresponse()).read()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_exchanges_on_one_connection(https_server: OriginServer, client_ctx: ssl.SSLContext, host: str) -> None:
    async with AsyncHTTPSConnection(host, https_server.port, context=client_ctx) as conn:
        assert await get(conn) == b"hello"
        assert conn.reusable
        for path in ("/bytes/1000000", "/chunked/100000"):
            assert await get(conn, path) == pattern(int(path.rpartition("/")[2]))
        await conn.request("POST", "/echo", pattern(1_000_000))
        assert await (await conn.getresponse()).read() == pattern(1_000_000)
        assert https_server.connections == 1
        assert await get(conn, "/until-close/100000") == pattern(100_000)
        assert not conn.is_connected
        assert await get(conn) == b"hello"
    assert https_server.connections == 2
    assert https_server.requests[0].get("Host") == f"{host}:{https_server.port}"


def test_defaults_are_those_of_https() -> None:
    conn = AsyncHTTPSConnection("example.org")
    assert (conn.port, conn.default_port) == (443, 443)
    assert isinstance(conn, AsyncHTTPConnection)


async def test_every_option_of_the_plain_connection_is_taken(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    server = await raw_server([Request(), Send(OK), Hold()], tls=server_ctx)
    conn = AsyncHTTPSConnection(
        "localhost",
        server.port,
        context=client_ctx,
        server_hostname="127.0.0.1",
        timeout=5,
        source_address=("127.0.0.1", 0),
        blocksize=1000,
        happy_eyeballs_delay=None,
        max_head=1000,
        max_fields=10,
    )
    async with conn:
        assert await get(conn) == b"ok"


async def test_tls_over_a_unix_domain_socket(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    server = await raw_server([Request(), Send(OK), Hold()], tls=server_ctx, uds=True)
    async with AsyncHTTPSConnection("localhost", uds=server.path, context=client_ctx) as conn:
        assert await get(conn) == b"ok"


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "given", "sent"),
    [("localhost", None, "localhost"), ("127.0.0.1", "localhost", "localhost"), ("127.0.0.1", None, None)],
)
async def test_sni_and_alpn(
    raw_server: StartServer, ca: Any, server_ctx: ssl.SSLContext, host: str, given: str | None, sent: str | None
) -> None:
    names: list[str | None] = []
    context = server_context(ca)
    context.sni_callback = lambda connection, name, ctx: names.append(name)
    server = await raw_server([Request(), Send(OK), Hold()], tls=context)
    mine = trusting_context(ca)
    mine.set_alpn_protocols(["http/1.1"])
    async with AsyncHTTPSConnection(host, server.port, context=mine, server_hostname=given) as conn:
        assert await get(conn) == b"ok"
        assert conn.writer is not None
        assert conn.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    assert names == [sent]


async def test_trailing_dot_goes_from_sni_and_stays_in_host(
    raw_server: StartServer, ca: Any, client_ctx: ssl.SSLContext
) -> None:
    names: list[str | None] = []
    context = server_context(ca)
    context.sni_callback = lambda connection, name, ctx: names.append(name)
    server = await raw_server([Request(), Send(OK), Hold()], tls=context)

    class Resolver:
        async def resolve(self, host: str, port: int) -> Any:
            return [(socket.AF_INET, ("127.0.0.1", port))]

    async with AsyncHTTPSConnection("localhost.", server.port, context=client_ctx, resolver=Resolver()) as conn:
        assert await get(conn) == b"ok"
    assert names == ["localhost"]
    assert server.requests[0].get("Host") == f"localhost.:{server.port}"


# --- who is not trusted -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "says"),
    [("expired_ctx", "expired"), ("wrong_host_ctx", r"127\.0\.0\.1"), ("untrusted_ctx", "issuer")],
)
async def test_bad_certificate_is_tls_error_that_says_which_name_and_why(
    raw_server: StartServer, client_ctx: ssl.SSLContext, request: pytest.FixtureRequest, context: str, says: str
) -> None:
    server = await raw_server([Request(), Send(OK)], tls=request.getfixturevalue(context))
    conn = AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx)
    with pytest.raises(TLSError, match=says) as caught:
        await conn.request("GET", "/secret", headers={"Authorization": "secret"})
    assert isinstance(caught.value, ConnectError)
    assert isinstance(caught.value, OSError)
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert not conn.is_connected
    assert server.requests == []


async def test_verification_is_on_by_default(https_server: OriginServer) -> None:
    conn = AsyncHTTPSConnection("127.0.0.1", https_server.port)
    with pytest.raises(TLSError, match="certificate"):
        await conn.connect()
    assert https_server.requests == []


async def test_context_that_does_not_verify_is_the_callers(raw_server: StartServer, untrusted_ctx: Any) -> None:
    server = await raw_server([Request(), Send(OK), Hold()], tls=untrusted_ctx)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with AsyncHTTPSConnection("127.0.0.1", server.port, context=context) as conn:
        assert await get(conn) == b"ok"


async def test_no_tls_at_the_other_end_is_tls_error(raw_server: StartServer, client_ctx: ssl.SSLContext) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server_side: Any) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await server_side.wait_closed_by_peer()

    server = await raw_server(script)
    conn = AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx, timeout=5)
    with pytest.raises(TLSError, match="does not speak TLS"):
        await conn.connect()
    assert not conn.is_connected


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["close", "reset"])
async def test_connection_that_ends_in_the_handshake_is_tls_error(
    raw_server: StartServer, client_ctx: ssl.SSLContext, end: Any
) -> None:
    server = await raw_server([end])
    conn = AsyncHTTPSConnection("localhost", server.port, context=client_ctx)
    with pytest.raises(ConnectError, match="localhost") as caught:
        await conn.connect()
    assert isinstance(caught.value, TLSError)
    assert f"localhost:{server.port}" in str(caught.value)


async def test_silence_in_the_handshake_is_connect_timeout(raw_server: StartServer, client_ctx: ssl.SSLContext) -> None:
    server = await raw_server([Hold()])
    conn = AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx, timeout=Timeout(connect=0.1))
    async with asyncio.timeout(10):
        with pytest.raises(ConnectTimeout, match=r"within 0\.1 s") as caught:
            await conn.request("GET", "/")
        assert isinstance(caught.value, TimeoutError)
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        await server.wait_idle()


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_closing_says_close_notify(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    ends = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Any) -> None:
        await conn.read_request()
        await conn.send(OK)
        ends.append(await reader.read())  # raises if the peer only drops the connection

    server = await raw_server(script, tls=server_ctx)
    async with AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx) as conn:
        assert await get(conn) == b"ok"
    await server.wait_idle()
    assert ends == [b""]


async def test_server_that_closes_an_idle_connection_is_noticed(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    server = await raw_server([Request(), Send(OK), Close()], tls=server_ctx)
    async with asyncio.timeout(10), AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx) as conn:
        assert await get(conn) == b"ok"
        while conn.reusable:
            await asyncio.sleep(0)
        assert await get(conn) == b"ok"
    assert server.connections == 2


async def test_session_tickets_after_the_handshake_are_not_bytes_nobody_asked_for(
    https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    """TLS 1.3 sends them when the handshake is over, so that the socket of an idle connection has something to read."""
    async with AsyncHTTPSConnection("127.0.0.1", https_server.port, context=client_ctx) as conn:
        await conn.connect()
        for _ in range(20):
            await asyncio.sleep(0)
        for _ in range(3):
            assert await get(conn) == b"hello"
    assert https_server.connections == 1


@pytest.mark.interop
async def test_real_server(nginx: Any, ca_file: Path) -> None:
    context = ssl.create_default_context(cafile=str(ca_file))
    async with AsyncHTTPSConnection("localhost", nginx.https_port, context=context) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        assert response.status in (200, 403, 404)
        await response.read()
        assert conn.reusable
