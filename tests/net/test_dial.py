"""From a host, a socket or a path to an open stream; tunnels through proxies, and everything proxies say instead."""

from __future__ import annotations

import asyncio
import errno
import pickle
import socket
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import BadStatusLine, ConnectError, LineTooLong, ProxyError, ResolveError, TooManyFields
from aiohttpconn.net import dial
from aiohttpconn.net.dial import REFUSAL_BODY, open_stream, open_tunnel, stream_over
from aiohttpconn.net.tcp import Address
from tests.auditing import Ground
from tests.cancellation import cancel_everywhere
from tests.net.streaming import connected, until
from tests.servers.raw import Close, Head, Hold, Reset, Send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.servers.raw import RawServer, Step

    StartServer = Callable[..., Awaitable[RawServer]]

V4 = int(socket.AF_INET)


class Known:
    """A resolver that knows what it is told."""

    def __init__(self, *addresses: Address) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        await asyncio.sleep(0)
        return self.addresses


async def says_hello(open_it: Awaitable[Any]) -> None:
    """The stream leads to a server that says hello; then it is closed."""
    stream = await open_it
    try:
        assert await stream.reader.readexactly(5) == b"hello"
    finally:
        stream.abort()


HELLO = [Send(b"hello"), Hold()]

# --- streams ----------------------------------------------------------------------------------------------------------


async def test_by_literal_address(raw_server: StartServer) -> None:
    server = await raw_server(HELLO)
    await says_hello(open_stream("127.0.0.1", server.port))


async def test_by_name(raw_server: StartServer) -> None:
    server = await raw_server(HELLO)
    await says_hello(open_stream("localhost", server.port))


async def test_by_a_resolver_of_one_s_own(raw_server: StartServer, refusing: tuple[str, int]) -> None:
    """Its port counts, too: it may know better."""
    server = await raw_server(HELLO, host="127.0.0.5")
    where = (V4, (server.host, server.port))
    await says_hello(open_stream("name.example", 1, resolver=Known(where)))
    await says_hello(open_stream("name.example", 1, resolver=Known((V4, refusing), where), happy_eyeballs_delay=3600))


async def test_by_ipv6_address(raw_server: StartServer) -> None:
    try:
        server = await raw_server(HELLO, host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    await says_hello(open_stream("::1", server.port))


async def test_past_a_black_hole(raw_server: StartServer, black_hole: tuple[str, int]) -> None:
    server = await raw_server(HELLO)
    resolver = Known((V4, black_hole), (V4, (server.host, server.port)))
    await says_hello(open_stream("name.example", 1, resolver=resolver, happy_eyeballs_delay=0.02))


@pytest.mark.parametrize("several", [False, True], ids=["one address", "several"])
async def test_from_a_source_address(raw_server: StartServer, refusing: tuple[str, int], several: bool) -> None:
    server = await raw_server(HELLO)
    addresses = [(V4, refusing)] * several + [(V4, (server.host, server.port))]
    stream = await open_stream("name.example", 1, resolver=Known(*addresses), local_address=("127.0.0.2", 0))
    try:
        await stream.reader.readexactly(5)
        assert server.accepted[0].writer.get_extra_info("peername")[0] == "127.0.0.2"
    finally:
        stream.abort()


async def test_by_unix_domain_socket(raw_server: StartServer) -> None:
    server = await raw_server(HELLO, uds=True)
    await says_hello(open_stream("name.example", 1, uds=server.path))


@pytest.mark.parametrize("blocking", [True, False])
async def test_over_a_socket_that_is_connected(raw_server: StartServer, blocking: bool) -> None:
    server = await raw_server(HELLO)
    sock = socket.create_connection((server.host, server.port))
    sock.setblocking(blocking)
    await says_hello(open_stream("name.example", 1, sock=sock))
    await until(lambda: sock.fileno() == -1)


async def test_over_a_unix_socket_that_is_connected(raw_server: StartServer) -> None:
    server = await raw_server(HELLO, uds=True)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(server.path)
    await says_hello(open_stream("name.example", 1, sock=sock))


# --- streams that do not come to be -----------------------------------------------------------------------------------


async def test_refused_says_where_and_why(refusing: tuple[str, int]) -> None:
    with pytest.raises(ConnectError) as caught:
        await open_stream(*refusing)
    assert f"127.0.0.1:{refusing[1]}" in str(caught.value)
    assert "refused" in str(caught.value)
    assert caught.value.errno == errno.ECONNREFUSED
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert [type(error) for error in group.exceptions] == [ConnectionRefusedError]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.errno, again.strerror, str(again)) == (errno.ECONNREFUSED, "Connection refused", str(caught.value))


async def test_all_refused_says_which_said_what(refusing: tuple[str, int]) -> None:
    resolver = Known((V4, ("127.0.0.2", refusing[1])), (V4, refusing))
    with pytest.raises(ConnectError) as caught:
        await open_stream("name.example", 4711, resolver=resolver)
    for word in ("name.example:4711", "127.0.0.1", "127.0.0.2", "refused"):
        assert word in str(caught.value)
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert len(caught.value.__cause__.exceptions) == 2


async def test_unknown_name_says_which() -> None:
    with pytest.raises(ResolveError, match=r"name\.example"):
        await open_stream("name.example", 80, resolver=Known())


async def test_missing_unix_domain_socket_says_which(tmp_path: object) -> None:
    with pytest.raises(ConnectError, match=r"/missing"):
        await open_stream("name.example", 80, uds=f"{tmp_path}/missing")


async def test_source_address_that_is_not_ours(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1"):
        await open_stream(server.host, server.port, local_address=("192.0.2.1", 0))


async def test_socket_that_is_closed() -> None:
    sock = socket.socket()
    sock.close()
    with pytest.raises(ConnectError):
        await open_stream("name.example", 80, sock=sock)


async def test_socket_that_is_no_stream() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pytest.raises((ConnectError, ValueError)):
        await open_stream("name.example", 80, sock=sock)
    assert sock.fileno() == -1, "it was handed over"


@pytest.mark.parametrize("way", ["address", "several", "black hole first", "socket", "unix"])
async def test_cancelled_at_every_await_leaves_nothing(
    raw_server: StartServer, black_hole: tuple[str, int], way: str
) -> None:
    server = await raw_server([Hold()], uds=way == "unix")
    here = (V4, (server.host, server.port))
    options: dict[str, Callable[[], dict[str, Any]]] = {
        "address": lambda: {"resolver": Known(here)},
        "several": lambda: {"resolver": Known(here, here), "happy_eyeballs_delay": 0},
        "black hole first": lambda: {"resolver": Known((V4, black_hole), here), "happy_eyeballs_delay": 0.005},
        "socket": lambda: {"sock": socket.create_connection(here[1])},
        "unix": lambda: {"uds": server.path},
    }
    ground = Ground()

    async def scenario() -> None:
        (await open_stream("name.example", 1, **options[way]())).abort()

    async def check() -> None:
        assert not (left := await ground.cleared()), left

    assert await cancel_everywhere(scenario, check) >= 1


# --- tunnels ----------------------------------------------------------------------------------------------------------

ASK = Head()
"""Proxies wait for the head of CONNECT, and for no body."""
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


async def refusal(server: RawServer, **options: Any) -> ProxyError:
    """What asking the server for a tunnel raises."""
    async with connected(server) as stream:
        with pytest.raises(ProxyError) as caught:
            await open_tunnel(stream, "example.org:443", **options)
    assert "example.org:443" in str(caught.value)
    return caught.value


async def test_what_the_proxy_is_asked(raw_server: StartServer) -> None:
    server = await raw_server([ASK, Send(ESTABLISHED), Hold()])
    async with connected(server) as stream:
        fields = b"Proxy-Authorization: Basic eDp5\r\n"
        head = await open_tunnel(stream, "example.org:443", fields, host_field="example.org:443")
        assert (head.status, head.reason) == (200, "Connection established")
    assert server.requests[0].head == (
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nProxy-Authorization: Basic eDp5\r\n\r\n"
    )


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ESTABLISHED, id="200"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200\r\n\r\n", id="no reason"),
        pytest.param(b"HTTP/1.1 200 OK\n\n", id="bare LF"),
        pytest.param(b"HTTP/1.1 299 Sure\r\nVia: x\r\n\r\n", id="299"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="204"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", id="a length that means nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked that means nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", id="close that means nothing"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + ESTABLISHED, id="after an interim response"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 16 + ESTABLISHED, id="after 16 of them"),
    ],
)
@pytest.mark.parametrize("each", [None, 1], ids=["whole", "byte by byte"])
async def test_tunnel_is_open_and_what_came_with_the_answer_is_the_server_s(
    raw_server: StartServer, answer: bytes, each: int | None
) -> None:
    server = await raw_server([ASK, Send(answer + b"hello", each=each), Hold()])
    async with connected(server) as stream:
        assert 200 <= (await open_tunnel(stream, "example.org:443")).status < 300
        assert await stream.reader.readexactly(5) == b"hello"


PAGE = bytes(range(256)) * 4


@pytest.mark.parametrize(
    ("rest", "body"),
    [
        pytest.param(b"Content-Length: 1024\r\n\r\n" + PAGE + b"more", PAGE, id="content-length"),
        pytest.param(b"Content-Length: 0\r\n\r\n", b"", id="content-length of nothing"),
        pytest.param(
            b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + PAGE + b"\r\n1\r\n!\r\n0\r\n\r\n", PAGE + b"!", id="chunked"
        ),
        pytest.param(b"\r\n" + PAGE, PAGE, id="until close"),
        pytest.param(b"Content-Length: 9999\r\n\r\n" + PAGE, PAGE, id="cut short"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n", b"abc", id="bad chunk"),
        pytest.param(b"Transfer-Encoding: gzip\r\n\r\nabc", b"", id="unknown coding"),
        pytest.param(b"Content-Length: x\r\n\r\nabc", b"", id="bad length"),
    ],
)
@pytest.mark.parametrize("each", [None, 1], ids=["whole", "byte by byte"])
async def test_refusal_has_status_fields_and_body(
    raw_server: StartServer, rest: bytes, body: bytes, each: int | None
) -> None:
    head = b"HTTP/1.1 407 Who Are You\r\nProxy-Authenticate: Basic\r\nX: 1\r\nx: 2\r\n"
    error = await refusal(await raw_server([ASK, Send(head + rest, each=each), Close()]))
    assert (error.status, error.body) == (407, body)
    assert error.headers.getall("X") == ["1", "2"]
    assert "407 Who Are You" in str(error)
    assert error.__cause__ is None


@pytest.mark.parametrize("status", [101, 199, 300, 304, 403, 502, 599])
async def test_anything_but_2xx_is_a_refusal(raw_server: StartServer, status: int) -> None:
    answer = b"HTTP/1.1 %d No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status
    error = await refusal(await raw_server([ASK, Send(answer), Close()]))
    assert error.status == (None if status == 199 else status)


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 200000\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n30d40\r\n"],
    ids=["content-length", "until close", "chunked"],
)
async def test_first_64_kib_of_a_refusal_are_kept_and_no_more_is_read(raw_server: StartServer, framing: bytes) -> None:
    page = bytes(range(250)) * 800
    error = await refusal(await raw_server([ASK, Send(b"HTTP/1.1 403 No\r\n" + framing + page), Hold()]))
    assert error.status == 403
    assert error.body == page[:65_536]
    assert REFUSAL_BODY == 65_536


@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n\r\n", b"\r\n"], ids=["content-length", "until close"])
async def test_dripping_refusal_is_not_waited_for(
    raw_server: StartServer, monkeypatch: pytest.MonkeyPatch, framing: bytes
) -> None:
    monkeypatch.setattr(dial, "REFUSAL_WAIT", 0.1)
    answer = Send(b"HTTP/1.1 403 No\r\n" + framing + b"first")
    error = await refusal(await raw_server([ASK, answer, Hold()]))
    assert (error.status, error.body) == (403, b"first")


@pytest.mark.parametrize(
    ("steps", "word"),
    [
        pytest.param([Close()], "closed", id="closes"),
        pytest.param([Send(b"HTTP/1.1 200 OK\r\nVia: "), Close()], "closed", id="closes inside the head"),
        pytest.param(
            [Send(b"HTTP/1.1 100 Continue\r\n\r\n"), Close()], "closed", id="closes after an interim response"
        ),
        pytest.param([Reset()], "closed", id="resets"),
    ],
)
async def test_proxy_that_leaves(raw_server: StartServer, steps: list[Step], word: str) -> None:
    error = await refusal(await raw_server([ASK, *steps]))
    assert word in str(error)
    assert (error.status, error.headers, error.body) == (None, None, b"")
    assert error.__cause__ is not None


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2p1\r\n", BadStatusLine, id="another protocol"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x0a\r\n", BadStatusLine, id="TLS alert"),
        pytest.param(b"<html>no</html>\n", BadStatusLine, id="HTTP/0.9"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 2000 + b"\r\n\r\n", LineTooLong, id="head too long"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 6 + b"\r\n", TooManyFields, id="too many fields"),
    ],
)
async def test_proxy_that_talks_nonsense(raw_server: StartServer, answer: bytes, cause: type[Exception]) -> None:
    error = await refusal(await raw_server([ASK, Send(answer), Hold()]), max_head=1000, max_fields=5)
    assert error.status is None
    assert type(error.__cause__) is cause
    assert str(error.__cause__) in str(error)


async def test_more_than_16_interim_responses(raw_server: StartServer) -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + ESTABLISHED
    error = await refusal(await raw_server([ASK, Send(answer), Hold()]))
    assert "16" in str(error)


@pytest.mark.parametrize("answer", [ESTABLISHED, b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nsorry"])
async def test_tunnel_cancelled_at_every_await_leaves_nothing(raw_server: StartServer, answer: bytes) -> None:
    server = await raw_server([ASK, Send(answer, each=7), Hold()])
    ground = Ground()

    async def scenario() -> None:
        async with connected(server) as stream:
            try:
                await open_tunnel(stream, "example.org:443")
            except ProxyError:
                assert b"403" in answer

    async def check() -> None:
        assert not (left := await ground.cleared()), left

    assert await cancel_everywhere(scenario, check) >= 2


async def test_stream_over_owns_the_socket_when_it_fails() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pytest.raises((OSError, ValueError)):
        await stream_over(sock)
    assert sock.fileno() == -1
