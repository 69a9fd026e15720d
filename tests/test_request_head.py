"""A request's head on its way out: what is in it, in which order, and what never reaches the socket."""

from __future__ import annotations

import asyncio
import http.client
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    AsyncHTTPConnection,
    AsyncHTTPSConnection,
    CannotSendHeader,
    CannotSendRequest,
    HTTPException,
    InvalidHeader,
    InvalidMethod,
    InvalidURL,
)
from tests.servers.raw import Hold, Received, Request, Send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.servers.raw import RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


# --- hosts and ports --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("example.org", None, ("example.org", 80)),
        ("example.org", 8080, ("example.org", 8080)),
        ("example.org:8080", None, ("example.org", 8080)),
        ("example.org:", None, ("example.org", 80)),
        ("127.0.0.1:81", None, ("127.0.0.1", 81)),
        ("[::1]", None, ("::1", 80)),
        ("[::1]:8080", None, ("::1", 8080)),
        ("[::1]:", None, ("::1", 80)),
        ("[::1]", 8080, ("::1", 8080)),
        ("::1", None, ("::1", 80)),
        ("::1", 8080, ("::1", 8080)),
        ("fe80::1%eth0", 8080, ("fe80::1%eth0", 8080)),
        ("example.org.", None, ("example.org.", 80)),
        ("under_score.example", None, ("under_score.example", 80)),
        ("bücher.example", None, ("xn--bcher-kva.example", 80)),
        ("example.org", 0, ("example.org", 0)),
        ("example.org", 65535, ("example.org", 65535)),
    ],
)
def test_host_and_port(host: str, port: int | None, expected: tuple[str, int]) -> None:
    conn = AsyncHTTPConnection(host, port)
    assert (conn.host, conn.port) == expected


@pytest.mark.parametrize(
    "host", ["example.org", "example.org:8080", "example.org:", "[::1]", "[::1]:8080", "127.0.0.1"]
)
def test_host_and_port_are_http_clients(host: str) -> None:
    mine, yours = AsyncHTTPConnection(host), http.client.HTTPConnection(host)
    assert (mine.host, mine.port) == (yours.host, yours.port)
    secure, theirs = AsyncHTTPSConnection(host), http.client.HTTPSConnection(host)
    assert (secure.host, secure.port) == (theirs.host, theirs.port)


@pytest.mark.parametrize(
    "host",
    [
        "example.org:http",
        "example.org:-1",
        "example.org:65536",
        "example.org:+80",
        "example.org:8 0",
        "",
        ":80",
        "[::1",
        "[::1]x",
        "ex ample.org",
        "example.org\r\n",
        "example.org\0",
        "example.org/path",
        "user@example.org",
        "example.org?q",
        "example.org#f",
        "exa\tmple.org",
    ],
)
def test_what_can_be_no_host_is_invalid_url(host: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        AsyncHTTPConnection(host)
    assert isinstance(caught.value, ValueError)


def test_port_out_of_range_is_invalid_url() -> None:
    for port in (-1, 65536):
        with pytest.raises(InvalidURL, match="from 0 to 65535"):
            AsyncHTTPConnection("example.org", port)


# --- what is sent -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def send(raw_server: StartServer) -> Callable[..., Awaitable[Received]]:
    """``await send(use)``: what reached the server when ``await use(conn)`` was done and its answer read."""

    async def run(use: Callable[[AsyncHTTPConnection], Awaitable[object]], **options: Any) -> Received:
        server = await raw_server([Request(), Send(EMPTY), Hold()])
        async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port, **options) as conn:
            await use(conn)
            await (await conn.getresponse()).read()
        (received,) = server.requests
        return received

    return run


async def test_plain_get_byte_for_byte(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(EMPTY), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/path?query=1", headers={"X-One": "1", "x-two": "zwei"})
        await conn.getresponse()
    (received,) = server.requests
    assert received.head.startswith(f"GET /path?query=1 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n".encode())
    assert received.fields[1:] == [("X-One", "1"), ("x-two", "zwei"), ("Accept-Encoding", "identity")]


async def test_stepwise_byte_for_byte(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(EMPTY), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        conn.putrequest("DELETE", "/thing")
        conn.putheader("X-Values", "one", b"two", 3)
        conn.putheader(b"X-Bytes", b"gr\xfc\xdfe")
        conn.putheader("X-Empty", "")
        assert server.requests == []  # both buffer
        await conn.endheaders()
        await conn.getresponse()
    (received,) = server.requests
    assert received.raw == (
        b"DELETE /thing HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept-Encoding: identity\r\n"
        b"X-Values: one two 3\r\nX-Bytes: gr\xfc\xdfe\r\nX-Empty: \r\n\r\n" % server.port
    )


async def test_empty_target_is_slash(send: Any) -> None:
    received = await send(lambda conn: conn.request("GET", ""))
    assert received.target == "/"


@pytest.mark.parametrize(
    "target", ["*", "http://example.org/absolute", "example.org:443", "/%20%zz?a=b&c;d#e", "/'\"<>"]
)
async def test_target_is_sent_as_it_is(send: Any, target: str) -> None:
    received = await send(lambda conn: conn.request("OPTIONS", target))
    assert received.target == target


async def test_host_of_the_caller_comes_first_and_once(send: Any) -> None:
    received = await send(lambda conn: conn.request("GET", "/", headers={"A": "b", "hOST": "example.org"}))
    assert received.fields[0] == ("Host", "example.org")
    assert received.get_all("Host") == ["example.org"]

    async def stepwise(conn: AsyncHTTPConnection) -> None:
        conn.putrequest("GET", "/", skip_host=True)
        conn.putheader("A", "b")
        conn.putheader("Host", "example.org")
        await conn.endheaders()

    received = await send(stepwise)
    assert received.fields == [("Host", "example.org"), ("Accept-Encoding", "identity"), ("A", "b")]


async def test_skip_host_and_skip_accept_encoding(send: Any) -> None:
    async def stepwise(conn: AsyncHTTPConnection) -> None:
        conn.putrequest("GET", "/", skip_host=True, skip_accept_encoding=True)
        await conn.endheaders()

    assert (await send(stepwise)).head == b"GET / HTTP/1.1\r\n\r\n"


async def test_accept_encoding_of_the_caller_is_the_only_one(send: Any) -> None:
    received = await send(lambda conn: conn.request("GET", "/", headers={"ACCEPT-encoding": "gzip"}))
    assert received.get_all("Accept-Encoding") == ["gzip"]


async def test_headers_as_pairs_keep_order_and_repeats(send: Any) -> None:
    pairs = [("B", "1"), ("A", b"2"), ("b", 3)]
    received = await send(lambda conn: conn.request("GET", "/", headers=pairs))
    assert received.fields[1:4] == [("B", "1"), ("A", "2"), ("b", "3")]


async def test_default_port_stays_out_of_host(raw_server: StartServer) -> None:
    class Connection(AsyncHTTPConnection):
        default_port = 0

    server = await raw_server([Request(), Send(EMPTY), Hold()])
    Connection.default_port = server.port  # type: ignore[misc]
    async with Connection("127.0.0.1") as conn:
        await conn.request("GET", "/")
        await conn.getresponse()
    assert server.requests[0].get("Host") == "127.0.0.1"


async def test_ipv6_address_has_brackets_in_host(raw_server: StartServer) -> None:
    try:
        server = await raw_server([Request(), Send(EMPTY), Hold()], host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with AsyncHTTPConnection("::1", server.port) as conn:
        await conn.request("GET", "/")
        await conn.getresponse()
    assert server.requests[0].get("Host") == f"[::1]:{server.port}"


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", None, None),
        ("HEAD", None, None),
        ("DELETE", None, None),
        ("POST", None, "0"),
        ("PUT", None, "0"),
        ("PATCH", None, "0"),
        ("GET", b"abc", "3"),
        ("POST", b"", "0"),
        ("GET", b"", "0"),
        ("POST", "grüße", "5"),
    ],
)
async def test_content_length_is_http_clients(send: Any, method: str, body: Any, length: str | None) -> None:
    received = await send(lambda conn: conn.request(method, "/", body))
    assert received.get("Content-Length") == length
    assert received.get("Transfer-Encoding") is None


async def test_nothing_of_a_request_given_up_is_left(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(EMPTY), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        with pytest.raises(InvalidHeader):
            await conn.request("GET", "/first", headers={"X-Left": "over", "Bad Name": "x"})
        await conn.request("GET", "/second")
        await conn.getresponse()
    (received,) = server.requests
    assert received.target == "/second"
    assert received.get("X-Left") is None


# --- order of the steps -----------------------------------------------------------------------------------------------


async def test_steps_out_of_order(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(EMPTY), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        with pytest.raises(CannotSendHeader):
            conn.putheader("A", "b")
        with pytest.raises(CannotSendHeader):
            await conn.endheaders()
        conn.putrequest("GET", "/")
        with pytest.raises(CannotSendRequest):
            conn.putrequest("GET", "/")
        with pytest.raises(CannotSendRequest):
            await conn.request("GET", "/")
        conn.putheader("A", "b")
        await conn.endheaders()
        with pytest.raises(CannotSendHeader):
            conn.putheader("A", "b")
        with pytest.raises(CannotSendHeader):
            await conn.endheaders()
        with pytest.raises(CannotSendRequest):
            conn.putrequest("GET", "/")
        assert (await conn.getresponse()).status == 200
    assert len(server.requests) == 1


# --- what never reaches the socket ------------------------------------------------------------------------------------

INJECTIONS = ["\r\nX-Injected: 1", "\n", "\r", "\0", "\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"]


@pytest.fixture
async def refuse(raw_server: StartServer) -> Callable[..., Awaitable[None]]:
    """``await refuse(use, kind)``: ``await use(conn)`` raises `kind`, and the server sees not one byte."""

    async def run(use: Callable[[AsyncHTTPConnection], Awaitable[object]], kind: type[HTTPException]) -> None:
        seen = []

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Any) -> None:
            seen.append(await conn.wait_closed_by_peer())

        server = await raw_server(script)
        conn = AsyncHTTPConnection("127.0.0.1", server.port)
        await conn.connect()
        with pytest.raises(kind) as caught:
            await use(conn)
        assert type(caught.value) is kind
        assert isinstance(caught.value, ValueError)
        await conn.close()
        async with asyncio.timeout(10):
            await server.wait_idle()
        assert seen == [b""]

    return run


async def stepwise(conn: AsyncHTTPConnection, *fields: tuple[Any, ...], method: str = "GET", target: str = "/") -> None:
    conn.putrequest(method, target)
    for name, *values in fields:
        conn.putheader(name, *values)
    await conn.endheaders()


@pytest.mark.parametrize("text", [*INJECTIONS, " ", "\t", "\x7f", "\x01", "é", "\u2028", "\ud800"], ids=repr)
async def test_target_with_what_must_not_be_sent_is_invalid_url(refuse: Any, text: str) -> None:
    for target in (f"/{text}", f"/path{text}rest", f"{text}/"):
        await refuse(lambda conn, target=target: conn.request("GET", target), InvalidURL)
    await refuse(lambda conn: stepwise(conn, target=f"/path{text}rest"), InvalidURL)


@pytest.mark.parametrize("text", [*INJECTIONS, " ", "\t", ":", "/", "", "é", "\x7f", "(", "\ud800"], ids=repr)
async def test_method_that_is_no_token_is_invalid_method(refuse: Any, text: str) -> None:
    method = f"GE{text}T" if text else ""
    await refuse(lambda conn: conn.request(method, "/"), InvalidMethod)
    await refuse(lambda conn: stepwise(conn, method=method), InvalidMethod)


@pytest.mark.parametrize("text", [*INJECTIONS, " ", "\t", ":", "", "é", "\x7f", "(", "\ud800"], ids=repr)
async def test_field_name_that_is_no_token_is_invalid_header(refuse: Any, text: str) -> None:
    name = f"X-{text}Y" if text else ""
    await refuse(lambda conn: conn.request("GET", "/", headers={name: "value"}), InvalidHeader)
    await refuse(lambda conn: stepwise(conn, (name, "value")), InvalidHeader)
    if text != "\ud800":
        await refuse(lambda conn: conn.request("GET", "/", headers=[(name.encode(), b"v")]), InvalidHeader)


@pytest.mark.parametrize("text", [*INJECTIONS, "\x01", "\x7f", "\x0b", "€", "\u010a", "\u560a", "\ud800"], ids=repr)
async def test_field_value_with_what_must_not_be_sent_is_invalid_header(refuse: Any, text: str) -> None:
    for value in (text, f"before{text}after", f"{text}after", f"before{text}"):
        await refuse(lambda conn, value=value: conn.request("GET", "/", headers={"X": value}), InvalidHeader)
    await refuse(lambda conn: stepwise(conn, ("X", "fine", f"before{text}after")), InvalidHeader)
    if text.isascii():
        await refuse(lambda conn: stepwise(conn, ("X", f"before{text}after".encode())), InvalidHeader)


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Expect"])
async def test_fields_with_a_meaning_are_checked_like_others(refuse: Any, name: str) -> None:
    await refuse(lambda conn: conn.request("GET", "/", headers={name: "x\r\nX-Injected: 1"}), InvalidHeader)


async def test_secret_in_a_refused_value_is_not_shown(raw_server: StartServer) -> None:
    with pytest.raises(InvalidHeader) as caught:
        await AsyncHTTPConnection("127.0.0.1", 9).request("GET", "/", headers={"Authorization": "hunter2\n"})
    assert "hunter2" not in str(caught.value)
    assert "Authorization" in str(caught.value)


@pytest.mark.parametrize("length", ["-1", "+1", "1x", "", "1 2", "0x1"])
async def test_content_length_that_is_no_number_is_invalid_header(refuse: Any, length: str) -> None:
    await refuse(lambda conn: conn.request("POST", "/", b"", {"Content-Length": length}), InvalidHeader)


async def test_framing_that_says_two_things_is_invalid_header(refuse: Any) -> None:
    both = {"Content-Length": "3", "Transfer-Encoding": "chunked"}
    await refuse(lambda conn: conn.request("POST", "/", b"abc", both), InvalidHeader)
    twice = [("Content-Length", "3"), ("content-length", "4")]
    await refuse(lambda conn: conn.request("POST", "/", b"abc", twice), InvalidHeader)
    hosts = [("Host", "a"), ("host", "b")]
    await refuse(lambda conn: conn.request("GET", "/", headers=hosts), InvalidHeader)


@pytest.mark.parametrize(
    "arguments",
    [
        (None, "/"),
        (b"GET", "/"),
        ("GET", None),
        ("GET", b"/"),
        ("GET", "/", None, {"X": None}),
        ("GET", "/", None, {"X": 1.5}),
    ],
    ids=repr,
)
async def test_wrong_types_are_type_errors(raw_server: StartServer, arguments: tuple[Any, ...]) -> None:
    server = await raw_server([Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        with pytest.raises(TypeError):
            await conn.request(*arguments)
        assert server.requests == []


def test_host_of_wrong_type_is_type_error() -> None:
    with pytest.raises(TypeError):
        AsyncHTTPConnection(b"example.org")  # type: ignore[arg-type]
