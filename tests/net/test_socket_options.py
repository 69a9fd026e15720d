"""What is set on sockets before they connect, and what is said when the system will not have it."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import AsyncHTTPConnection, Client, ConnectError, ConnectionPool
from aiohttpconn.net.dial import open_stream
from aiohttpconn.net.socket_options import SocketOptions
from tests.auditing import Ground
from tests.servers.raw import Hold

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttpconn.net.stream import Stream
    from tests.servers.origin import OriginServer
    from tests.servers.raw import RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="an option of Linux")
RECEIVE_BUFFER = (socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)


class Known:
    """A resolver that knows the addresses already."""

    def __init__(self, *addresses: tuple[int, Any]) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, port: int) -> list[tuple[int, Any]]:
        return list(self.addresses)


def option(stream: Stream, level: int, name: int) -> int:
    value: int = stream.transport.get_extra_info("socket").getsockopt(level, name)
    return value


# --- what may be asked for --------------------------------------------------------------------------------------------


def test_nothing_asked_for() -> None:
    assert SocketOptions.of() is None
    assert SocketOptions.of([], None, None) is None


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        ({"socket_options": [(1, 2)]}, TypeError, "socket option must be"),
        ({"socket_options": [(1, 2, 3, 4)]}, TypeError, "socket option must be"),
        ({"socket_options": [(1, "TCP_NODELAY", 1)]}, TypeError, "socket option must be"),
        ({"socket_options": [(1, 2, None)]}, TypeError, "socket option must be"),
        ({"socket_options": (1, 2, 3)}, TypeError, "socket option must be"),
        ({"socket_options": [(1, 2, 2**31)]}, ValueError, "32 bits"),
        ({"tcp_keepalive": True}, TypeError, "tcp_keepalive"),
        ({"tcp_keepalive": (60, 10)}, TypeError, "tcp_keepalive"),
        ({"tcp_keepalive": (60, 10, 2.5)}, TypeError, "tcp_keepalive"),
        ({"tcp_keepalive": (0, 10, 2)}, ValueError, "tcp_keepalive"),
        ({"tcp_keepalive": (60, 99_999, 2)}, ValueError, "tcp_keepalive"),
        ({"tcp_keepalive": (60, 10, 128)}, ValueError, "tcp_keepalive"),
        ({"interface": ""}, ValueError, "interface"),
        ({"interface": "a-name-of-16-byte"}, ValueError, "interface"),
        ({"interface": "a\0b"}, ValueError, "interface"),
        ({"interface": 1}, TypeError, "interface"),
    ],
)
@pytest.mark.parametrize("kind", [Client, ConnectionPool, lambda **asked: AsyncHTTPConnection("localhost", **asked)])
def test_they_are_checked_at_once(kind: Any, asked: Any, error: type[Exception], text: str) -> None:
    if "interface" in asked and not hasattr(socket, "SO_BINDTODEVICE"):
        pytest.skip("no SO_BINDTODEVICE here")
    with pytest.raises(error, match=text):
        kind(**asked)


def test_the_names_in_the_errors() -> None:
    with socket.socket() as sock:
        for asked, words in (
            ((socket.IPPROTO_TCP, socket.TCP_MAXSEG, -1), r"\(IPPROTO_TCP, TCP_MAXSEG, -1\)"),
            ((socket.SOL_SOCKET, 9999, 1), r"\(SOL_SOCKET, 9999, 1\)"),
            ((9999, 1, b"x"), r"\(9999, 1, b'x'\)"),
        ):
            options = SocketOptions.of([asked])
            assert options is not None
            with pytest.raises(ConnectError, match=words):
                options.apply(sock)


# --- on each way to a socket ------------------------------------------------------------------------------------------


async def test_nodelay_is_on(raw_server: StartServer) -> None:
    server = await raw_server([Hold()], [Hold()])
    address = socket.AF_INET, (server.host, server.port)
    for resolver in (Known(address), Known(address, address)):
        stream = await open_stream("one.example", 1, resolver=resolver)
        assert option(stream, socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert option(stream, socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        stream.abort()


@pytest.mark.parametrize("several", [False, True])
async def test_options_are_set(raw_server: StartServer, several: bool) -> None:
    server = await raw_server([Hold()])
    address = socket.AF_INET, (server.host, server.port)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        resolver = Known((socket.AF_INET, deaf.getsockname()), address) if several else Known(address)
        options = SocketOptions.of(
            [RECEIVE_BUFFER, (socket.IPPROTO_TCP, socket.TCP_NODELAY, 0), (socket.IPPROTO_IPV6, 9999, 1)]
        )
        stream = await open_stream("one.example", 1, resolver=resolver, socket_options=options)
    plain = await open_stream("one.example", 1, resolver=Known(address))
    assert option(stream, socket.SOL_SOCKET, socket.SO_RCVBUF) < option(plain, socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert option(stream, socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0  # though the loop had switched it on
    stream.abort()
    plain.abort()


@LINUX
async def test_the_receive_buffer_is_there_before_the_window_is_announced(raw_server: StartServer) -> None:
    server = await raw_server([Hold()], [Hold()])
    clamps = []
    for options in (None, SocketOptions.of([(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])):
        stream = await open_stream(server.host, server.port, socket_options=options)
        info = stream.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
        clamps.append(info[6] >> 4)  # the window scale that we announced
        stream.abort()
    assert clamps[1] < clamps[0]


async def test_over_ipv6(raw_server: StartServer) -> None:
    try:
        server = await raw_server([Hold()], host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    options = SocketOptions.of(
        [(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 7), (socket.IPPROTO_IP, 9999, 1)],
    )
    stream = await open_stream("::1", server.port, socket_options=options)
    assert option(stream, socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) == 7
    stream.abort()


async def test_on_a_unix_socket_where_they_make_sense(raw_server: StartServer) -> None:
    server = await raw_server([Hold()], uds=True)
    options = SocketOptions.of(
        [(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        None,
        (60, 10, 5),
    )
    stream = await open_stream("localhost", 80, uds=server.path, socket_options=options)
    assert option(stream, socket.SOL_SOCKET, socket.SO_SNDBUF) == 16_384
    assert option(stream, socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
    stream.abort()


@LINUX
async def test_keep_alive_probes(http_server: OriginServer) -> None:
    async with Client(tcp_keepalive=(60, 10, 5)) as client, client.stream("GET", http_server.url):
        assert client.pool is not None
        (slot,) = [*client.pool._ledger.idle, *client.pool._ledger.leased]
        assert slot.connection.writer is not None
        sock = slot.connection.writer.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [sock.getsockopt(socket.IPPROTO_TCP, name) for name in names] == [60, 10, 5]


@pytest.mark.parametrize("several", [False, True])
async def test_an_option_that_the_system_refuses(raw_server: StartServer, several: bool) -> None:
    server = await raw_server()
    address = socket.AF_INET, (server.host, server.port)
    ground = Ground()
    with pytest.raises(ConnectError, match=r"cannot connect to one\.example:1: .*SOL_SOCKET, 9999, 1.*refused"):
        await open_stream(
            "one.example",
            1,
            resolver=Known(*[address] * (1 + several)),
            socket_options=SocketOptions.of([(socket.SOL_SOCKET, 9999, 1)]),
        )
    assert await ground.cleared() == []
    assert server.connections == 0


# --- the interface, the local address ---------------------------------------------------------------------------------


@LINUX
async def test_through_an_interface(http_server: OriginServer) -> None:
    async with Client(interface="lo") as client:
        assert (await client.get(http_server.url)).text == "hello"


@LINUX
async def test_an_interface_that_is_not_there(http_server: OriginServer) -> None:
    ground = Ground()
    async with Client(interface="nowhere0") as client:
        with pytest.raises(ConnectError, match=r"'nowhere0' \(SO_BINDTODEVICE\) was refused: No such dev"):
            await client.get(http_server.url)
    assert await ground.cleared() == []


def test_an_interface_that_is_not_allowed() -> None:
    class Forbidden(socket.socket):
        def setsockopt(self, *arguments: Any) -> None:
            raise PermissionError(1, os.strerror(1))

    options = SocketOptions.of((), "lo")
    assert options is not None
    with Forbidden() as sock, pytest.raises(ConnectError, match=r"'lo'.*refused: Operation not permitted"):
        options.apply(sock)


async def test_local_address_without_a_port(http_server: OriginServer) -> None:
    async with Client(local_address="127.0.0.3") as client, client.stream("GET", http_server.url):
        assert client.pool is not None
        (slot,) = [*client.pool._ledger.idle, *client.pool._ledger.leased]
        assert slot.connection.writer is not None
        assert slot.connection.writer.get_extra_info("sockname")[0] == "127.0.0.3"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (5, TypeError),
        (("127.0.0.1",), TypeError),
        (("127.0.0.1", "80"), TypeError),
        ((None, 80), TypeError),
        (("127.0.0.1", 99999), ValueError),
        (("127.0.0.1", -1), ValueError),
        ("", ValueError),
        ("localhost", ValueError),  # would be looked up, on the thread of the loop
        ("nope.invalid", ValueError),
        ("127.1", ValueError),
        ("[::1]", ValueError),
    ],
    ids=str,
)
def test_local_address_that_cannot_be_one(given: Any, error: type[Exception]) -> None:
    for make in (
        lambda: Client(local_address=given),
        lambda: ConnectionPool(local_address=given),
        lambda: AsyncHTTPConnection("localhost", source_address=given),
    ):
        with pytest.raises(error, match=r"(local|source)_address must"):
            make()


async def test_any_local_address_as_http_client_has_it(http_server: OriginServer) -> None:
    async with AsyncHTTPConnection("127.0.0.1", http_server.port, source_address=("", 0)) as conn:
        await conn.connect()
        assert conn.is_connected


async def test_local_address_of_ipv6(raw_server: StartServer) -> None:
    try:
        server = await raw_server([Hold()], host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    stream = await open_stream("::1", server.port, local_address="::1")
    assert stream.transport.get_extra_info("sockname")[0] == "::1"
    stream.abort()


async def test_local_address_of_one_family_only(raw_server: StartServer) -> None:
    """The addresses of the other one cannot be reached from it, the others can."""
    server = await raw_server([Hold()])
    both = Known((socket.AF_INET6, ("::1", server.port, 0, 0)), (socket.AF_INET, (server.host, server.port)))
    stream = await open_stream("one.example", 1, resolver=both, local_address="127.0.0.3")
    assert stream.transport.get_extra_info("sockname")[0] == "127.0.0.3"
    stream.abort()
    with pytest.raises(ConnectError, match=r"'::1' is no local address for IPv4"):
        await open_stream(server.host, server.port, local_address="::1")
    with pytest.raises(ConnectError, match=r"'192.0.2.1' cannot be connected from: Cannot assign"):
        await open_stream(server.host, server.port, local_address="192.0.2.1")
