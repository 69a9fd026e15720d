"""`set_tunnel`: CONNECT on the wire, what the proxy may answer, and TLS inside the tunnel."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    AsyncHTTPConnection,
    AsyncHTTPSConnection,
    BadStatusLine,
    ConnectError,
    ConnectTimeout,
    HTTPException,
    InvalidHeader,
    InvalidURL,
    LineTooLong,
    ProxyError,
    Timeout,
    TLSError,
)
from tests.servers.raw import Close, Head, Hold, Request, Reset, Send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.servers.origin import OriginServer
    from tests.servers.proxy import ConnectProxy
    from tests.servers.raw import RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def get(conn: AsyncHTTPConnection, target: str = "/") -> bytes:
    await conn.request("GET", target)
    return await (await conn.getresponse()).read()


# --- what goes out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "port", "authority"),
    [
        ("example.org", None, "example.org:80"),
        ("example.org", 8080, "example.org:8080"),
        ("example.org:8081", None, "example.org:8081"),
        ("::1", 443, "[::1]:443"),
        ("[::1]:444", None, "[::1]:444"),
        ("bücher.example", 443, "xn--bcher-kva.example:443"),
    ],
)
async def test_connect_byte_for_byte(raw_server: StartServer, host: str, port: int | None, authority: str) -> None:
    server = await raw_server([Head(), Send(ESTABLISHED), Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        conn.set_tunnel(host, port, {"Proxy-Authorization": "Basic eDp5", "X-Two": "2"})
        assert await get(conn, "/path") == b"ok"
    connect, request = server.requests
    head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: Basic eDp5\r\nX-Two: 2\r\n\r\n"
    assert connect.raw == head.encode()
    assert request.target == "/path"
    assert request.get("Host") == authority.removesuffix(":80")
    assert request.get("Proxy-Authorization") is None
    assert request.get("X-Two") is None


async def test_default_port_of_the_tunnel_is_the_connections(raw_server: StartServer) -> None:
    server = await raw_server([Head(), Send(b"HTTP/1.1 502 No\r\n\r\n")])
    conn = AsyncHTTPSConnection("127.0.0.1", server.port)
    conn.set_tunnel("example.org")
    with pytest.raises(ProxyError):
        await conn.connect()
    assert server.requests[0].target == "example.org:443"


async def test_host_of_the_caller_goes_to_the_proxy_once(raw_server: StartServer) -> None:
    server = await raw_server([Head(), Send(ESTABLISHED), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        conn.set_tunnel("example.org", 80, [("A", "b"), ("host", "other.example")])
        await conn.connect()
    assert server.requests[0].fields == [("Host", "other.example"), ("A", "b")]


@pytest.mark.parametrize("each", [None, 1])
async def test_answer_is_read_however_it_is_cut(raw_server: StartServer, each: int | None) -> None:
    answer = b"HTTP/1.1 102 Wait\r\n\r\nHTTP/1.0 299 Fine\r\nVia: a\r\nVia: b\r\nContent-Length: 9\r\n\r\n"
    server = await raw_server([Head(), Send(answer, each=each), Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        conn.set_tunnel("example.org", 80)
        assert conn.get_proxy_response_headers() is None
        assert await get(conn) == b"ok"  # a 2xx to CONNECT has no body, whatever its fields say
        headers = conn.get_proxy_response_headers()
        assert headers is not None
        assert headers.getall("VIA") == ["a", "b"]


async def test_each_new_connection_asks_for_the_tunnel_anew(raw_server: StartServer) -> None:
    goodbye = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    server = await raw_server([Head(), Send(ESTABLISHED), Request(), Send(goodbye)])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        conn.set_tunnel("example.org", 80)
        for _ in range(3):
            assert await get(conn) == b"ok"
    assert [request.method for request in server.requests] == ["CONNECT", "GET"] * 3


# --- what must not go out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["\r\nX: y", "\n", "\r", "\0", " ", "\t", "/", "@", "#"], ids=repr)
async def test_tunnel_host_with_what_must_not_be_sent_is_invalid_url(raw_server: StartServer, text: str) -> None:
    server = await raw_server([Hold()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    for host in (f"example{text}.org", f"example.org{text}", f"{text}example.org", f"example.org:80{text}"):
        with pytest.raises(InvalidURL) as caught:
            conn.set_tunnel(host)
        assert isinstance(caught.value, ValueError)
    assert server.connections == 0
    await conn.close()


@pytest.mark.parametrize(
    "fields",
    [{"Bad Name": "x"}, {"X\r\nY": "x"}, {"": "x"}, {"X": "a\r\nX-Injected: 1"}, {"X": "\0"}, {"X": "\n"}, {"X": "€"}],
    ids=repr,
)
async def test_tunnel_fields_with_what_must_not_be_sent_are_invalid_header(
    raw_server: StartServer, fields: dict[str, str]
) -> None:
    server = await raw_server([Hold()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    with pytest.raises(InvalidHeader):
        conn.set_tunnel("example.org", 80, fields)
    assert server.connections == 0


async def test_set_tunnel_once_connected_is_runtime_error(
    connect_proxy: ConnectProxy, http_server: OriginServer
) -> None:
    async with AsyncHTTPConnection("127.0.0.1", connect_proxy.port) as conn:
        conn.set_tunnel("127.0.0.1", http_server.port)
        await conn.connect()
        with pytest.raises(RuntimeError, match="established connection"):
            conn.set_tunnel("127.0.0.1", http_server.port)
        await conn.close()
        conn.set_tunnel("127.0.0.1", http_server.port)
        assert await get(conn) == b"hello"


# --- refusals ---------------------------------------------------------------------------------------------------------


async def refused(server: RawServer, kind: type[HTTPException] = ProxyError) -> Any:
    """The error of a tunnel to example.org through `server`."""
    async with asyncio.timeout(10):
        for cls in (AsyncHTTPConnection, AsyncHTTPSConnection):
            conn = cls("127.0.0.1", server.port)
            conn.set_tunnel("example.org", 4433)
            with pytest.raises(kind) as caught:
                await conn.request("GET", "/secret")
            assert type(caught.value) is kind
            assert "example.org:4433" in str(caught.value)
            assert f"127.0.0.1:{server.port}" in str(caught.value)
            assert not conn.is_connected
        await server.wait_idle()
    assert all(request.method == "CONNECT" for request in server.requests)
    return caught.value


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 407 Who Are You\r\nProxy-Authenticate: Basic\r\nContent-Length: 4\r\n\r\n", b"who?"),
        (
            b"HTTP/1.1 403 Who Are You\r\nProxy-Authenticate: Basic\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"2\r\nno\r\n0\r\n\r\n",
        ),
        (b"HTTP/1.1 502 Who Are You\r\nProxy-Authenticate: Basic\r\n\r\n", b"until close"),
        (b"HTTP/1.1 302 Who Are You\r\nProxy-Authenticate: Basic\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 503 Who Are You\r\nProxy-Authenticate: Basic\r\nContent-Length: 100\r\n\r\n", b"cut short"),
    ],
    ids=["length", "chunked", "close", "redirect", "short"],
)
@pytest.mark.parametrize("each", [None, 1])
async def test_refusal_is_proxy_error_with_status_headers_and_body(
    raw_server: StartServer, head: bytes, body: bytes, each: int | None
) -> None:
    server = await raw_server([Head(), Send(head + body, each=each), Close()])
    error = await refused(server)
    assert error.status == int(head[9:12])
    assert error.headers["proxy-authenticate"] == "Basic"
    assert error.body == (b"no" if b"chunked" in head else body)
    assert f"{error.status} Who Are You" in str(error)
    assert isinstance(error, ConnectError)
    again = pickle.loads(pickle.dumps(error))
    assert (again.status, again.body, str(again)) == (error.status, error.body, str(error))


@pytest.mark.parametrize("kind", ["length", "chunked", "close"])
async def test_only_the_first_64_kib_of_a_refusal_are_kept(raw_server: StartServer, kind: str) -> None:
    page = b"x" * 200_000
    data = {
        "length": b"HTTP/1.1 502 No\r\nContent-Length: 200000\r\n\r\n" + page,
        "chunked": b"HTTP/1.1 502 No\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n" + page + b"\r\n0\r\n\r\n",
        "close": b"HTTP/1.1 502 No\r\n\r\n" + page,
    }[kind]
    error = await refused(await raw_server([Head(), Send(data), Hold()]))
    assert error.body == page[:65_536]


async def test_close_instead_of_an_answer_is_proxy_error_with_its_cause(raw_server: StartServer) -> None:
    for script in ([Head(), Close()], [Head(), Reset()], [Head(), Send(b"HTTP/1.1 200 Conn"), Close()]):
        error = await refused(await raw_server(script))
        assert (error.status, error.headers, error.body) == (None, None, b"")
        assert error.__cause__ is not None


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", BadStatusLine),
        (b"HTTP/2 200 OK\r\n\r\n", BadStatusLine),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, LineTooLong),
        (b"\x15\x03\x01\x00\x02\x02\n", BadStatusLine),
    ],
    ids=["ssh", "http2", "endless", "tls alert"],
)
async def test_garbage_instead_of_an_answer_is_proxy_error_with_its_cause(
    raw_server: StartServer, answer: bytes, cause: type[HTTPException]
) -> None:
    error = await refused(await raw_server([Head(), Send(answer), Hold()]))
    assert isinstance(error.__cause__, cause)
    assert error.status is None


async def test_too_many_interim_answers_are_proxy_error(raw_server: StartServer) -> None:
    await refused(await raw_server([Head(), Send(b"HTTP/1.1 102 Wait\r\n\r\n" * 17 + ESTABLISHED), Hold()]))


async def test_101_is_no_tunnel(raw_server: StartServer) -> None:
    error = await refused(await raw_server([Head(), Send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), Hold()]))
    assert error.status == 101


async def test_proxy_that_is_not_there_is_connect_error(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])
    server.stop_listening()
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    conn.set_tunnel("example.org", 80)
    with pytest.raises(ConnectError) as caught:
        await conn.connect()
    assert f"127.0.0.1:{server.port}" in str(caught.value)


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 Conn", b"HTTP/1.1 102 Wait\r\n\r\n"], ids=["nothing", "half", "1xx"]
)
async def test_silent_proxy_is_connect_timeout(raw_server: StartServer, said: bytes) -> None:
    server = await raw_server([Head(), Send(said), Hold()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(connect=0.1))
    conn.set_tunnel("example.org", 80)
    async with asyncio.timeout(10):
        with pytest.raises(ConnectTimeout) as caught:
            await conn.connect()
        assert "example.org:80 through proxy" in str(caught.value)
        await server.wait_idle()


# --- TLS inside the tunnel --------------------------------------------------------------------------------------------


async def test_https_inside_the_tunnel(
    connect_proxy: ConnectProxy, https_server: OriginServer, client_ctx: Any
) -> None:
    connect_proxy.hosts["localhost:443"] = ("127.0.0.1", https_server.port)
    async with AsyncHTTPSConnection("127.0.0.1", connect_proxy.port, context=client_ctx) as conn:
        conn.set_tunnel("localhost")
        assert await get(conn) == b"hello"
        assert await get(conn, "/chunked/100000")
        assert conn.writer is not None
        assert conn.writer.get_extra_info("ssl_object").server_hostname == "localhost"
    assert connect_proxy.tunnels == ["localhost:443"]
    assert [request.get("Host") for request in https_server.requests] == ["localhost", "localhost"]
    assert all(request.target.startswith("/") for request in https_server.requests)


async def test_certificate_is_checked_against_the_tunnels_host(
    connect_proxy: ConnectProxy, https_server: OriginServer, client_ctx: Any
) -> None:
    connect_proxy.hosts["elsewhere.example:443"] = ("127.0.0.1", https_server.port)
    conn = AsyncHTTPSConnection("127.0.0.1", connect_proxy.port, context=client_ctx)
    conn.set_tunnel("elsewhere.example")
    with pytest.raises(TLSError, match=r"elsewhere\.example"):
        await conn.connect()
    assert not conn.is_connected


async def test_large_bodies_both_ways_through_a_tunnel(
    connect_proxy: ConnectProxy, https_server: OriginServer, client_ctx: Any
) -> None:
    body = bytes(range(256)) * 8192
    async with AsyncHTTPSConnection("127.0.0.1", connect_proxy.port, context=client_ctx) as conn:
        conn.set_tunnel("127.0.0.1", https_server.port)
        await conn.request("POST", "/echo", body)
        assert await (await conn.getresponse()).read() == body


async def test_bytes_sent_before_tls_begins_are_refused(
    connect_proxy: ConnectProxy, https_server: OriginServer, client_ctx: Any
) -> None:
    connect_proxy.greeting = b"injected"
    conn = AsyncHTTPSConnection("127.0.0.1", connect_proxy.port, context=client_ctx)
    conn.set_tunnel("127.0.0.1", https_server.port)
    with pytest.raises(TLSError):
        await conn.connect()
    assert not conn.is_connected


async def test_proxy_that_closes_when_tls_begins_is_tls_error(raw_server: StartServer, client_ctx: Any) -> None:
    server = await raw_server([Head(), Send(ESTABLISHED), Close()])
    conn = AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx)
    conn.set_tunnel("localhost")
    with pytest.raises(TLSError, match="localhost"):
        await conn.connect()


async def test_tunnel_over_a_unix_domain_socket(raw_server: StartServer) -> None:
    server = await raw_server([Head(), Send(ESTABLISHED), Request(), Send(OK), Hold()], uds=True)
    async with AsyncHTTPConnection("proxy", uds=server.path) as conn:
        conn.set_tunnel("example.org", 80)
        assert await get(conn) == b"ok"
    assert server.requests[0].target == "example.org:80"


@pytest.mark.interop
async def test_tunnel_through_squid(squid: Any, https_server: OriginServer, client_ctx: Any) -> None:
    async with AsyncHTTPSConnection(squid.host, squid.port, context=client_ctx) as conn:
        conn.set_tunnel("127.0.0.1", https_server.port)
        assert await get(conn) == b"hello"
        assert conn.get_proxy_response_headers() is not None
