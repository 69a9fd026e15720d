"""SOCKS over real sockets: against scripts for everything a proxy may do, and against Dante."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import AddressBlocked, ConnectError, InvalidURL, ProtocolError, ProxyError, ResolveError
from aiohttpconn.net.dial import open_stream
from aiohttpconn.net.guard import AddressPolicy
from aiohttpconn.net.socks import open_socks
from aiohttpconn.wire.socks import SocksRefused
from tests.auditing import Ground
from tests.cancellation import cancel_everywhere
from tests.net.streaming import connected
from tests.servers.danted import FORBIDDEN, NAME, NAME6
from tests.servers.origin import pattern
from tests.servers.raw import Close, Connection, Hold, Reset, Send, Step

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from aiohttpconn.net.stream import Stream
    from aiohttpconn.net.tcp import Address
    from tests.servers.nginx import Nginx
    from tests.servers.raw import RawServer
    from tests.servers.squid import Proxy

    StartServer = Callable[..., Awaitable[RawServer]]

ADA = ("ada", "s3cret-lace")
NONE, LOGIN, ACCEPTED = b"\x05\x00", b"\x05\x02", b"\x01\x00"
CONNECTED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x1f\x90"
GRANTED = b"\x00\x5a" + bytes(6)
V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


@dataclass(frozen=True)
class Expect(Step):
    """Read exactly these bytes; anything else fails the test."""

    data: bytes

    async def play(self, conn: Connection) -> None:
        got = await conn.reader.readexactly(len(self.data))
        assert got == self.data, f"expected {self.data!r}, got {got!r}"


@dataclass(frozen=True)
class Silence(Step):
    """Wait until the peer closes; anything that it sends fails the test."""

    async def play(self, conn: Connection) -> None:
        got = await conn.wait_closed_by_peer()
        assert got == b"", f"expected nothing, got {got!r}"


class Known:
    """A resolver that knows what it is told, and notes what it is asked."""

    def __init__(self, *addresses: Address) -> None:
        self.addresses = addresses
        self.asked: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        await asyncio.sleep(0)
        self.asked.append((host, port))
        return self.addresses


class Nobody:
    """A resolver that is not to be asked."""

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        raise AssertionError(f"{host} was looked up here")


HELLO5, HELLO5_ADA = Expect(b"\x05\x01\x00"), Expect(b"\x05\x02\x02\x00")
CREDENTIALS = Expect(b"\x01\x03ada\x0bs3cret-lace")
REQUEST5 = Expect(b"\x05\x01\x00\x03\x0bexample.org\x01\xbb")
REQUEST4 = Expect(b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00example.org\x00")


# --- dialogues --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", [None, 1])
async def test_socks5_with_credentials(raw_server: StartServer, each: int | None) -> None:
    """One step after the other, and what the target sends at once is not lost."""
    first = b"220 hello\r\n"
    server = await raw_server(
        [
            *(HELLO5_ADA, Send(LOGIN, each=each), CREDENTIALS, Send(ACCEPTED, each=each)),
            *(REQUEST5, Send(CONNECTED + first, each=each), Expect(b"EHLO"), Hold()),
        ]
    )
    async with connected(server) as stream:
        assert await open_socks(stream, "socks5h", "example.org", 443, ADA, resolver=Nobody()) == ("127.0.0.1", 8080)
        assert await stream.reader.readexactly(len(first)) == first
        stream.writer.write(b"EHLO")


@pytest.mark.parametrize("each", [None, 1])
async def test_socks4a(raw_server: StartServer, each: int | None) -> None:
    server = await raw_server([REQUEST4, Send(GRANTED + b"hello", each=each), Hold()])
    async with connected(server) as stream:
        assert await open_socks(stream, "socks4a", "example.org", 443, resolver=Nobody()) == ("0.0.0.0", 0)
        assert await stream.reader.readexactly(5) == b"hello"


async def test_tls_inside(raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext) -> None:
    origin = await raw_server([Expect(b"ping"), Send(b"pong"), Hold()], tls=server_ctx)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        assert await reader.readexactly(3) == b"\x05\x01\x00"
        writer.write(NONE)
        request = await reader.readexactly(4 + 1 + 9 + 2)
        assert request[5:] == b"localhost" + origin.port.to_bytes(2)
        there, to = await asyncio.open_connection("127.0.0.1", origin.port)
        writer.write(CONNECTED)
        try:
            async with asyncio.TaskGroup() as pumps:
                for source, sink in ((reader, to), (there, writer)):
                    pumps.create_task(_pump(source, sink))
        finally:
            to.transport.abort()

    server = await raw_server(relay)
    async with connected(server) as stream:
        await open_socks(stream, "socks5h", "localhost", origin.port)
        await stream.start_tls(client_ctx, "localhost")
        stream.writer.write(b"ping")
        assert await stream.reader.readexactly(4) == b"pong"


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while some := await source.read(65536):
            sink.write(some)
            await sink.drain()
    sink.close()


# --- names and addresses ----------------------------------------------------------------------------------------------

ADDRESS4 = b"\x01\x09\x08\x07\x06"
ADDRESS6 = b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01"


@pytest.mark.parametrize(
    ("addresses", "asked"),
    [
        ([(V4, ("9.8.7.6", 443))], ADDRESS4 + b"\x01\xbb"),
        ([(V4, ("9.8.7.6", 8443))], ADDRESS4 + b"\x20\xfb"),
        ([(V6, ("2001:db8::1", 443, 0, 0))], ADDRESS6 + b"\x01\xbb"),
        ([(V6, ("2001:db8::1", 443, 0, 0)), (V4, ("9.8.7.6", 443)), (V4, ("1.1.1.1", 443))], ADDRESS4 + b"\x01\xbb"),
    ],
    ids=["IPv4", "the resolver's port", "IPv6", "the first IPv4"],
)
async def test_socks5_gets_an_address_looked_up_here(
    raw_server: StartServer, addresses: list[Address], asked: bytes
) -> None:
    server = await raw_server([HELLO5, Send(NONE), Expect(b"\x05\x01\x00" + asked), Send(CONNECTED), Hold()])
    resolver = Known(*addresses)
    async with connected(server) as stream:
        await open_socks(stream, "socks5", "example.org", 443, resolver=resolver)
    assert resolver.asked == [("example.org", 443)]


async def test_socks4_gets_an_ipv4_address(raw_server: StartServer) -> None:
    server = await raw_server([Expect(b"\x04\x01\x01\xbb\x09\x08\x07\x06ada\x00"), Send(GRANTED), Hold()])
    resolver = Known((V6, ("2001:db8::1", 443, 0, 0)), (V4, ("9.8.7.6", 443)))
    async with connected(server) as stream:
        await open_socks(stream, "socks4", "example.org", 443, ("ada", ""), resolver=resolver)


@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
@pytest.mark.parametrize(("host", "asked"), [("9.8.7.6", ADDRESS4), ("2001:db8::1", ADDRESS6)])
async def test_a_literal_is_an_address_to_everyone(raw_server: StartServer, kind: Any, host: str, asked: bytes) -> None:
    server = await raw_server(
        [HELLO5, Send(NONE), Expect(b"\x05\x01\x00" + asked + b"\x01\xbb"), Send(CONNECTED), Hold()]
    )
    async with connected(server) as stream:
        await open_socks(stream, kind, host, 443, resolver=Nobody())


@pytest.mark.parametrize("kind", ["socks4", "socks5"])
async def test_a_name_without_address_is_resolve_error(raw_server: StartServer, kind: Any) -> None:
    server = await raw_server([Silence()])
    async with connected(server) as stream:
        with pytest.raises(ResolveError, match=r"example\.org"):
            await open_socks(stream, kind, "example.org", 443, resolver=Known())


@pytest.mark.parametrize(("kind", "host"), [("socks4", "name.example"), ("socks4", "::1"), ("socks4a", "::1")])
async def test_ipv6_with_socks4_is_proxy_error(raw_server: StartServer, kind: Any, host: str) -> None:
    server = await raw_server([Silence()])
    async with connected(server) as stream:
        with pytest.raises(ProxyError, match=r"SOCKS 4 has no IPv6 addresses, and ::1 is one") as caught:
            await open_socks(stream, kind, host, 443, resolver=Known((V6, ("::1", 443, 0, 0))))
        assert f"127.0.0.1:{server.port}" in str(caught.value)


async def test_an_address_with_a_zone_is_not_asked_for(raw_server: StartServer) -> None:
    server = await raw_server([Silence()])
    async with connected(server) as stream:
        with pytest.raises(InvalidURL, match="zone"):
            await open_socks(stream, "socks5", "n.example", 443, resolver=Known((V6, ("fe80::1", 443, 0, 7))))


@pytest.mark.parametrize(
    ("kind", "host", "resolver"),
    [
        ("socks5", "name.example", Known((V4, ("10.0.0.1", 443)))),
        ("socks4", "name.example", Known((V4, ("127.0.0.1", 443)))),
        ("socks5", "127.0.0.1", Nobody()),
        ("socks5h", "127.0.0.1", Nobody()),
        ("socks5h", "::ffff:127.0.0.1", Nobody()),
        ("socks5h", "localhost", Nobody()),
        ("socks4a", "denied.example", Nobody()),
    ],
)
async def test_what_the_policy_forbids_is_not_asked_for(
    raw_server: StartServer, kind: Any, host: str, resolver: Known
) -> None:
    policy = AddressPolicy.public_only(deny=["denied.example"])
    server = await raw_server([Silence()])
    async with connected(server) as stream:
        with pytest.raises(AddressBlocked):
            await open_socks(stream, kind, host, 443, resolver=resolver, policy=policy)


async def test_the_address_asked_for_is_one_that_the_policy_permits(raw_server: StartServer) -> None:
    server = await raw_server(
        [HELLO5, Send(NONE), Expect(b"\x05\x01\x00\x01\x08\x08\x08\x08\x01\xbb"), Send(CONNECTED), Hold()]
    )
    resolver = Known((V4, ("127.0.0.1", 443)), (V4, ("8.8.8.8", 443)))
    async with connected(server) as stream:
        policy = AddressPolicy.public_only()
        await open_socks(stream, "socks5", "name.example", 443, resolver=resolver, policy=policy)


@pytest.mark.parametrize(
    ("host", "credentials"), [("x" * 256, None), ("a b", None), ("example.org", ("", "x")), ("example.org", ("x", ""))]
)
async def test_what_cannot_be_said_is_invalid_url_and_nothing_is_sent(
    raw_server: StartServer, host: str, credentials: tuple[str, str] | None
) -> None:
    server = await raw_server([Silence()])
    async with connected(server) as stream:
        with pytest.raises(InvalidURL):
            await open_socks(stream, "socks5h", host, 443, credentials)


# --- refusals ---------------------------------------------------------------------------------------------------------


async def refusal(
    server: RawServer, kind: Any = "socks5h", credentials: tuple[str, str] | None = None, **options: Any
) -> ProxyError:
    """What asking the server for a way raises."""
    async with connected(server) as stream:
        with pytest.raises(ProxyError) as caught:
            await open_socks(stream, kind, "example.org", 443, credentials, **options)
    error = caught.value
    assert type(error) is ProxyError
    assert isinstance(error, ConnectError)
    assert "example.org:443" in str(error)
    assert (error.status, error.headers, error.body) == (None, None, b"")
    assert error.__cause__ is not None
    assert ADA[1] not in str(error)
    return error


@pytest.mark.parametrize("each", [None, 1])
async def test_a_refusal_names_proxy_and_target_and_says_why(raw_server: StartServer, each: int | None) -> None:
    refused = b"\x05\x05\x00\x01" + bytes(6)
    server = await raw_server([HELLO5, Send(NONE, each=each), REQUEST5, Send(refused, each=each), Close()])
    error = await refusal(server)
    where = f"127.0.0.1:{server.port}"
    assert str(error) == f"the SOCKS 5 proxy {where} did not connect to example.org:443: connection refused (code 5)"
    assert isinstance(error.__cause__, SocksRefused)
    assert error.__cause__.code == 5
    assert "SOCKS 5 proxy socks5h://proxy.example:1080 did not" in str(
        await refusal(server, proxy="socks5h://proxy.example:1080")
    )


@pytest.mark.parametrize("code", [91, 92, 93])
async def test_a_refusal_of_socks4(raw_server: StartServer, code: int) -> None:
    server = await raw_server([REQUEST4, Send(b"\x00" + bytes([code]) + bytes(6)), Close()])
    error = await refusal(server, "socks4a")
    assert "rejected" in str(error)
    assert isinstance(error.__cause__, SocksRefused)
    assert error.__cause__.code == code


@pytest.mark.parametrize(
    ("script", "credentials", "text"),
    [
        ([HELLO5, Send(b"\x05\xff"), Close()], None, "it wants credentials, and none were given"),
        ([HELLO5_ADA, Send(b"\x05\xff"), Close()], ADA, "neither a user and password, which were given, nor none"),
        ([HELLO5_ADA, Send(LOGIN), CREDENTIALS, Send(b"\x01\x01"), Close()], ADA, "it refused the user and password"),
        (
            [HELLO5_ADA, Send(LOGIN), CREDENTIALS, Close()],
            ADA,
            "it closed the connection when it had got the credentials",
        ),
    ],
    ids=["wanted", "not of that kind", "refused", "closed"],
)
async def test_credentials_that_do_not_do(
    raw_server: StartServer, script: list[Step], credentials: tuple[str, str] | None, text: str
) -> None:
    error = await refusal(await raw_server(script), credentials=credentials)
    assert text in str(error)
    assert not isinstance(error.__cause__, SocksRefused)


@pytest.mark.parametrize(
    "before",
    [
        [HELLO5],
        [HELLO5, Send(b"\x05")],
        [HELLO5, Send(NONE), REQUEST5],
        [HELLO5, Send(NONE), REQUEST5, Send(CONNECTED[:9])],
    ],
)
@pytest.mark.parametrize("end", [Close(), Reset()])
async def test_a_close_instead_of_an_answer_has_its_cause(
    raw_server: StartServer, before: list[Step], end: Step
) -> None:
    error = await refusal(await raw_server([*before, end]))
    assert "it closed the connection before" in str(error)
    assert isinstance(error.__cause__, ProtocolError)
    if isinstance(end, Reset):
        assert isinstance(error.__cause__.__cause__, ConnectionError)


@pytest.mark.parametrize(
    ("kind", "answer", "text"),
    [
        ("socks5h", b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answers in HTTP"),
        ("socks4a", b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answers in HTTP"),
        ("socks5h", b"SSH-2.0-OpenSSH_9.2\r\n", "not SOCKS 5"),
        ("socks5h", GRANTED, "not SOCKS 5"),
        ("socks4a", b"\x05\xff", "not SOCKS 4"),
        ("socks5h", b"\x15\x03\x01\x00\x02\x02\x46", "it answers in TLS"),
        ("socks5h", b"\x05\x02", "not offered"),
    ],
)
@pytest.mark.parametrize("each", [None, 1])
async def test_garbage_has_its_cause(
    raw_server: StartServer, kind: Any, answer: bytes, text: str, each: int | None
) -> None:
    hello = HELLO5 if kind == "socks5h" else REQUEST4
    error = await refusal(await raw_server([hello, Send(answer, each=each), Hold()]), kind)
    assert text in str(error)
    assert isinstance(error.__cause__, ProtocolError)


async def test_a_real_http_server_is_recognised(nginx: Nginx) -> None:
    stream = await open_stream("127.0.0.1", nginx.http_port)
    try:
        with pytest.raises(ProxyError, match="it answers in HTTP"):
            await open_socks(stream, "socks5h", "example.org", 443)
    finally:
        stream.abort()


# --- time and cancellation --------------------------------------------------------------------------------------------


async def test_silence_ends_with_the_callers_deadline_and_leaves_nothing(raw_server: StartServer) -> None:
    server = await raw_server([HELLO5, Hold()])
    async with connected(server) as stream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await open_socks(stream, "socks5h", "example.org", 443)


@pytest.mark.parametrize("kind", ["socks5", "socks5h", "socks4", "socks4a"])
async def test_cancelled_anywhere_it_leaves_nothing(raw_server: StartServer, kind: Any) -> None:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            if kind.startswith("socks4"):
                await reader.readexactly(9)
                writer.write(GRANTED)
            else:
                for size, reply in ((4, LOGIN), (16, ACCEPTED), (10, CONNECTED)):
                    await reader.readexactly(size)
                    writer.write(reply)
            await conn.wait_closed_by_peer()

    server = await raw_server(proxy)
    resolver = Known((V4, ("9.8.7.6", 443)))
    ground = Ground()

    async def scenario() -> None:
        stream = await open_stream("127.0.0.1", server.port)
        try:
            await open_socks(stream, kind, "example.org", 443, ADA if "5" in kind else None, resolver=resolver)
        finally:
            stream.abort()

    async def check() -> None:
        await server.wait_idle()
        assert not (left := await ground.cleared()), left

    assert await cancel_everywhere(scenario, check) >= (4 if "5" in kind else 2)


# --- Dante ------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def through(
    proxy: Proxy, kind: Any, host: str, port: int, credentials: tuple[str, str] | None = None, **options: Any
) -> AsyncIterator[Stream]:
    """A stream to `host`:`port` through the proxy."""
    stream = await open_stream(proxy.host, proxy.port)
    try:
        await open_socks(stream, kind, host, port, credentials, **options)
        yield stream
    finally:
        stream.abort()


async def get(stream: Stream, target: str = "/1k") -> bytes:
    stream.writer.write(b"GET %b HTTP/1.0\r\nHost: localhost\r\n\r\n" % target.encode())
    head, _, body = (await stream.reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return body


async def dante_refuses(proxy: Proxy, kind: Any, host: str, port: int, **options: Any) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        async with through(proxy, kind, host, port, **options):
            pass
    assert f"{proxy.host}:{proxy.port}" in str(caught.value)
    assert host in str(caught.value)
    assert "lace" not in str(caught.value)
    return caught.value


@pytest.mark.interop
@pytest.mark.parametrize("kind", ["socks4", "socks4a", "socks5", "socks5h"])
async def test_dante_by_address(danted: Proxy, nginx: Nginx, kind: Any) -> None:
    async with through(danted, kind, "127.0.0.1", nginx.http_port) as stream:
        assert await get(stream) == pattern(1024)


@pytest.mark.interop
@pytest.mark.parametrize("kind", ["socks4", "socks5"])
async def test_dante_gets_the_address_of_a_name_looked_up_here(danted: Proxy, nginx: Nginx, kind: Any) -> None:
    resolver = Known((V4, ("127.0.0.1", nginx.http_port)))
    async with through(danted, kind, "only-here.example", nginx.http_port, resolver=resolver) as stream:
        assert await get(stream) == pattern(1024)
    assert len(resolver.asked) == 1


@pytest.mark.interop
async def test_dante_looks_the_name_up_that_nobody_here_knows(danted: Proxy, nginx: Nginx) -> None:
    """Its SOCKS 4 takes no names, so there is no socks4a here."""
    async with through(danted, "socks5h", NAME, nginx.http_port, resolver=Nobody()) as stream:
        assert await get(stream) == pattern(1024)
    with pytest.raises(ResolveError):
        async with through(danted, "socks5", NAME, nginx.http_port):
            pass


@pytest.mark.interop
@pytest.mark.parametrize(("kind", "host"), [("socks5", "::1"), ("socks5h", "::1"), ("socks5h", NAME6)])
async def test_dante_over_ipv6(danted: Proxy, raw_server: StartServer, kind: Any, host: str) -> None:
    try:
        server = await raw_server([Send(b"hello"), Hold()], host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    async with through(danted, kind, host, server.port) as stream:
        assert await stream.reader.readexactly(5) == b"hello"


@pytest.mark.interop
async def test_dante_with_user_and_password(danted_auth: Proxy, nginx: Nginx) -> None:
    credentials = (danted_auth.user or "", danted_auth.password or "")
    async with through(danted_auth, "socks5h", NAME, nginx.http_port, credentials) as stream:
        assert await get(stream) == pattern(1024)


@pytest.mark.interop
async def test_dante_that_wants_none_gets_no_credentials(danted: Proxy, nginx: Nginx) -> None:
    async with through(danted, "socks5h", NAME, nginx.http_port, ADA) as stream:
        assert await get(stream) == pattern(1024)


@pytest.mark.interop
async def test_dante_refuses_credentials(danted_auth: Proxy, nginx: Nginx) -> None:
    error = await dante_refuses(danted_auth, "socks5h", NAME, nginx.http_port)
    assert "it wants credentials, and none were given" in str(error)
    for credentials in (("ada", "lace"), ("lovelace", "s3cret-lace")):
        error = await dante_refuses(danted_auth, "socks5h", NAME, nginx.http_port, credentials=credentials)
        assert "it refused the user and password" in str(error)


@pytest.mark.interop
@pytest.mark.parametrize(
    ("kind", "host", "code"),
    [
        ("socks5", FORBIDDEN, 2),
        ("socks5h", "127.0.0.1", 5),
        ("socks5h", "name.invalid", 4),
        ("socks4", FORBIDDEN, 91),
        ("socks4", "127.0.0.1", 91),
    ],
    ids=["rules", "refused", "no such name", "rules of 4", "refused by 4"],
)
async def test_dante_refuses_in_words(
    danted: Proxy, refusing: tuple[str, int], kind: Any, host: str, code: int
) -> None:
    error = await dante_refuses(danted, kind, host, refusing[1])
    assert isinstance(error.__cause__, SocksRefused)
    assert error.__cause__.code == code


@pytest.mark.interop
async def test_tls_and_a_large_body_through_dante(danted: Proxy, nginx: Nginx, client_ctx: ssl.SSLContext) -> None:
    async with through(danted, "socks5h", NAME, nginx.https_port) as stream:
        await stream.start_tls(client_ctx, "localhost")
        body = await get(stream, "/big")
    assert len(body) == nginx.big
    assert body == pattern(nginx.big)


@pytest.mark.interop
async def test_many_at_once_through_dante(danted: Proxy, nginx: Nginx) -> None:
    async def one() -> bytes:
        async with through(danted, "socks5h", NAME, nginx.http_port) as stream:
            return await get(stream)

    assert await asyncio.gather(*(one() for _ in range(20))) == [pattern(1024)] * 20
