"""Happy eyeballs, source addresses, Unix domain sockets: one socket comes out, and no other stays."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import ConnectError
from aiohttpconn.net.address_book import AddressBook
from aiohttpconn.net.attempts import Attempts
from aiohttpconn.net.tcp import Address, connect_tcp, connect_unix, interleave, salvage
from tests.auditing import Ground, settle
from tests.cancellation import cancel_everywhere
from tests.net.streaming import until
from tests.servers.raw import Hold

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.servers.raw import RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
NEVER = 3600.0
"""A delay that no test waits for: what happens before happens for another reason."""


def v4(where: tuple[str, int]) -> Address:
    return V4, where


def at(server: RawServer) -> Address:
    return (V6, (server.host, server.port, 0, 0)) if ":" in server.host else (V4, (server.host, server.port))


async def alone(server: RawServer) -> None:
    """Wait until all connections but one are over."""
    await until(lambda: server.open <= 1)


# --- the order --------------------------------------------------------------------------------------------------------


def families(text: str) -> list[Address]:
    return [((V6 if letter in "ABC" else V4), letter) for letter in text]


@pytest.mark.parametrize(
    ("given", "tried"),
    [
        ("", ""),
        ("A", "A"),
        ("a", "a"),
        ("abc", "abc"),
        ("Aa", "Aa"),
        ("aA", "aA"),
        ("aBC", "aBC"),
        ("ABab", "AaBb"),
        ("abAB", "aAbB"),
        ("ABCa", "AaBC"),
        ("abcA", "aAbc"),
        ("AaBb", "AaBb"),
    ],
)
def test_families_take_turns_the_first_one_s_first(given: str, tried: str) -> None:
    assert "".join(where for _, where in interleave(families(given))) == tried


# --- one address ------------------------------------------------------------------------------------------------------


async def test_one_address(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])
    with await connect_tcp([at(server)]) as sock:
        assert sock.getpeername() == ("127.0.0.1", server.port)
        assert not sock.getblocking()


async def test_one_address_that_refuses_raises_what_the_system_says(refusing: tuple[str, int]) -> None:
    with pytest.raises(ConnectError, match=r"^Connection refused$") as caught:
        await connect_tcp([v4(refusing)])
    assert (caught.value.errno, caught.value.strerror) == (errno.ECONNREFUSED, "Connection refused")
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    (error,) = group.exceptions
    assert isinstance(error, ConnectionRefusedError)
    assert error.__notes__ == [f"when connecting to 127.0.0.1:{refusing[1]}"]


async def test_ipv6(raw_server: StartServer) -> None:
    try:
        server = await raw_server([Hold()], host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with await connect_tcp([at(server)]) as sock:
        assert sock.getpeername()[:2] == ("::1", server.port)


# --- several ----------------------------------------------------------------------------------------------------------


async def test_second_is_tried_as_soon_as_the_first_fails(raw_server: StartServer, refusing: tuple[str, int]) -> None:
    server = await raw_server([Hold()])
    for delay in (NEVER, None):
        with await connect_tcp([v4(refusing), at(server)], delay=delay) as sock:
            assert sock.getpeername()[1] == server.port


async def test_second_is_tried_after_the_delay_when_the_first_says_nothing(
    raw_server: StartServer, black_hole: tuple[str, int]
) -> None:
    server = await raw_server([Hold()])
    ground = Ground()
    with await connect_tcp([v4(black_hole), at(server)], delay=0.02) as sock:
        assert sock.getpeername()[1] == server.port
        await until(lambda: server.connections)
        # Ours and the server's end of it; not the loser's.
        assert len(ground.leftovers()) == 3, ground.leftovers()  # the third is the server's task


async def test_first_wins_if_it_answers_in_time(raw_server: StartServer) -> None:
    first, second = await raw_server([Hold()]), await raw_server([Hold()])
    with await connect_tcp([at(first), at(second)], delay=NEVER) as sock:
        assert sock.getpeername()[1] == first.port
        await settle()
        assert second.connections == 0


async def test_first_may_still_win_after_the_second_has_begun(
    raw_server: StartServer, black_hole: tuple[str, int]
) -> None:
    """The second one says nothing either; what answers wins, whoever it is."""
    server = await raw_server([Hold()])
    hole = v4(black_hole)
    with await connect_tcp([hole, hole, at(server), hole], delay=0.01) as sock:
        assert sock.getpeername()[1] == server.port


async def test_several_answer_at_once_and_one_is_kept(raw_server: StartServer) -> None:
    servers = [await raw_server([Hold()], host=f"127.0.0.{number}") for number in range(1, 6)]
    with await connect_tcp([at(server) for server in servers], delay=0) as sock:
        winner = next(server for server in servers if sock.getpeername() == (server.host, server.port))
        for server in servers:
            await until(lambda server=server: server.open == (server is winner))  # type: ignore[misc]


async def test_strictly_one_after_the_other_without_a_delay(
    raw_server: StartServer, black_hole: tuple[str, int]
) -> None:
    server = await raw_server([Hold()])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connect_tcp([v4(black_hole), at(server)], delay=None)
    await settle()
    assert server.connections == 0


async def test_families_are_tried_in_turns(raw_server: StartServer, refusing: tuple[str, int]) -> None:
    try:
        server = await raw_server([Hold()], host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with await connect_tcp([v4(refusing), v4(refusing), at(server)], delay=NEVER) as sock:
        assert sock.family == V6


async def test_all_fail(refusing: tuple[str, int]) -> None:
    port = refusing[1]
    addresses = [v4(("127.0.0.1", port)), v4(("127.0.0.2", port)), (V6, ("::1", port, 0, 0))]
    for delay in (0, 0.02, NEVER, None):
        with pytest.raises(ConnectError) as caught:
            await connect_tcp(addresses, delay=delay)
        group = caught.value.__cause__
        assert isinstance(group, ExceptionGroup)
        assert len(group.exceptions) == 3
        assert all(isinstance(error, OSError) for error in group.exceptions)
        for host in ("127.0.0.1", "127.0.0.2", "::1"):
            assert host in str(caught.value), "which address said what"
        assert "refused" in str(caught.value)
        assert caught.value.errno == errno.ECONNREFUSED, "that of all"
        notes = {note for error in group.exceptions for note in error.__notes__}
        assert notes == {f"when connecting to {host}:{port}" for host in ("127.0.0.1", "127.0.0.2", "[::1]")}


@pytest.mark.asyncio(loop_factories=["asyncio"])  # whose timers can be watched
async def test_next_begins_at_once_whichever_attempt_fails(
    raw_server: StartServer, black_hole: tuple[str, int], refusing: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first says nothing, the second begins after the delay and fails: the third waits for no other delay."""
    server = await raw_server([Hold()])
    expired = []
    wait = asyncio.wait

    async def watched(*args: Any, **options: Any) -> Any:
        done, pending = await wait(*args, **options)
        expired.append(not done)
        return done, pending

    monkeypatch.setattr(asyncio, "wait", watched)
    with await connect_tcp([v4(black_hole), v4(refusing), at(server)], delay=0.05) as sock:
        assert sock.getpeername()[1] == server.port
    assert expired == [True, False, False]


# --- what is remembered of them ---------------------------------------------------------------------------------------


def avoided(book: AddressBook, *addresses: Address) -> list[bool]:
    now = asyncio.get_running_loop().time()
    return [book.avoids(address, now) for address in addresses]


async def test_book_is_told_what_failed_and_what_worked(raw_server: StartServer, refusing: tuple[str, int]) -> None:
    server, book = await raw_server([Hold()]), AddressBook()
    bad, good = v4(refusing), at(server)
    book.failed(good, asyncio.get_running_loop().time())
    for delay in (NEVER, None):
        (await connect_tcp([bad, good], delay=delay, book=book)).close()
        assert avoided(book, bad, good) == [True, False]
        book.worked(bad)


async def test_book_s_order_is_kept(raw_server: StartServer) -> None:
    servers = [await raw_server([Hold()], host=f"127.0.0.{number}") for number in (1, 2)]
    refused = (V6, ("::1", 1, 0, 0))
    book = AddressBook()
    now = asyncio.get_running_loop().time()
    book.failed(refused, now)
    addresses = [refused, *map(at, servers)]
    for server in (servers[0], servers[1], servers[0]):
        order = book.order("a.example", 80, addresses, now)
        assert order[-1] == refused
        with await connect_tcp(order, delay=NEVER, book=book) as sock:
            assert sock.getpeername() == (server.host, server.port)


async def test_avoided_addresses_stay_last_in_spite_of_their_family(
    raw_server: StartServer, refusing: tuple[str, int]
) -> None:
    try:
        last = await raw_server([Hold()], host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    server = await raw_server([Hold()])
    with await connect_tcp([v4(refusing), at(server), at(last)], delay=NEVER, book=AddressBook()) as sock:
        assert sock.family == V4


@pytest.mark.asyncio(loop_factories=["asyncio"])  # whose methods can be replaced
async def test_book_is_not_told_that_we_are_out_of_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sock_connect(sock: socket.socket, where: object) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", sock_connect)
    book, addresses = AddressBook(), [v4(("127.0.0.1", 1)), v4(("127.0.0.2", 1))]
    with pytest.raises(ConnectError, match="assign"):
        await connect_tcp(addresses, book=book)
    assert avoided(book, *addresses) == [False, False]


async def test_book_is_told_who_was_overtaken(raw_server: StartServer, black_hole: tuple[str, int]) -> None:
    server, book = await raw_server([Hold()]), AddressBook()
    hole, good, behind = v4(black_hole), at(server), v4(("127.0.0.9", 1))
    (await connect_tcp([hole, good, behind], delay=0.02, book=book)).close()
    assert avoided(book, hole, good, behind) == [True, False, False]


async def test_book_is_not_told_of_one_without_a_head_start(
    raw_server: StartServer, black_hole: tuple[str, int], refusing: tuple[str, int]
) -> None:
    server, book = await raw_server([Hold()]), AddressBook()
    hole, good = v4(black_hole), at(server)
    (await connect_tcp([hole, good], delay=0, book=book)).close()
    assert avoided(book, hole, good) == [False, False]


async def test_book_is_not_told_of_what_is_nobody_s_fault(raw_server: StartServer, black_hole: tuple[str, int]) -> None:
    server, book = await raw_server([Hold()]), AddressBook()
    with pytest.raises(ConnectError):  # the source address is not ours
        await connect_tcp([at(server), at(server)], local_address=("192.0.2.1", 0), book=book)
    with pytest.raises(TimeoutError):  # cancelled
        async with asyncio.timeout(0.02):
            await connect_tcp([v4(black_hole), v4(black_hole)], delay=NEVER, book=book)
    assert avoided(book, at(server), v4(black_hole)) == [False, False]


async def test_book_is_told_of_those_that_had_their_full_time_when_all_are_given_up(
    raw_server: StartServer, black_hole: tuple[str, int], refusing: tuple[str, int]
) -> None:
    book = AddressBook()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connect_tcp([v4(refusing), v4(black_hole)], delay=0.03, book=book)
    assert avoided(book, v4(refusing), v4(black_hole)) == [True, True]


async def test_no_more_than_32_addresses_are_tried_and_the_error_is_short(refusing: tuple[str, int]) -> None:
    addresses = [v4((f"127.0.1.{number}", refusing[1])) for number in range(1, 101)]
    for book in (None, AddressBook()):
        with pytest.raises(ConnectError, match=r"^127\.0\.1\.1: .*; and 28 more$") as caught:
            await connect_tcp(addresses, delay=NEVER, book=book)
        assert len(str(caught.value)) < 200
        assert isinstance(caught.value.__cause__, ExceptionGroup)
        assert len(caught.value.__cause__.exceptions) == 32


async def test_order_that_was_given_is_kept(raw_server: StartServer) -> None:
    servers = [await raw_server([Hold()], host=f"127.0.0.{number}") for number in (1, 2)]
    refused = (V6, ("::1", 1, 0, 0))
    attempts = Attempts()
    addresses = [(V4, ("127.0.0.9", 1)), (V4, ("127.0.0.8", 1)), refused, at(servers[0])]
    with await connect_tcp(addresses, delay=NEVER, attempts=attempts, in_order=True) as sock:
        assert sock.getpeername()[1] == servers[0].port
    assert [attempt.address for attempt in attempts._all] == addresses


# --- cancelled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0, 0.005, None])
async def test_cancelled_at_every_await_leaves_nothing(
    raw_server: StartServer, black_hole: tuple[str, int], refusing: tuple[str, int], delay: float | None
) -> None:
    first, second = await raw_server([Hold()], host="127.0.0.3"), await raw_server([Hold()], host="127.0.0.4")
    addresses = [v4(refusing), at(first), at(second)]
    if delay is not None:
        addresses.insert(0, v4(black_hole))
    ground = Ground()

    async def scenario() -> None:
        (await connect_tcp(addresses, delay=delay)).close()

    async def check() -> None:
        assert not (left := await ground.cleared()), left

    assert await cancel_everywhere(scenario, check) >= 2


async def test_cancelled_while_all_say_nothing(black_hole: tuple[str, int]) -> None:
    ground = Ground()
    task = asyncio.create_task(connect_tcp([v4(black_hole)] * 4, delay=0.001))
    await until(lambda: len(ground.leftovers()) >= 9)  # four sockets, four tasks, and ours
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await ground.cleared()


async def test_black_hole_is_one(black_hole: tuple[str, int]) -> None:
    """The tests' own tool."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connect_tcp([v4(black_hole)])


# --- from where -------------------------------------------------------------------------------------------------------


async def test_source_address(raw_server: StartServer, refusing: tuple[str, int]) -> None:
    server = await raw_server([Hold()])
    for addresses in ([at(server)], [v4(refusing), at(server)]):
        with await connect_tcp(addresses, local_address=("127.0.0.2", 0)) as sock:
            assert sock.getsockname()[0] == "127.0.0.2"
    await until(lambda: server.connections == 2)
    for conn in server.accepted:
        assert conn.writer.get_extra_info("peername")[0] == "127.0.0.2"


async def test_source_address_that_is_not_ours(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])
    with pytest.raises(OSError, match=r"."):
        await connect_tcp([at(server)], local_address=("192.0.2.1", 0))
    with pytest.raises(ConnectError):
        await connect_tcp([at(server), at(server)], local_address=("192.0.2.1", 0))
    assert server.connections == 0


# --- Unix domain sockets ----------------------------------------------------------------------------------------------


async def test_unix_domain_socket(raw_server: StartServer) -> None:
    server = await raw_server([Hold()], uds=True)
    with await connect_unix(server.path) as sock:
        assert sock.family is socket.AF_UNIX
        assert sock.getpeername() == server.path


async def test_unix_domain_socket_that_is_not_there(tmp_path: object) -> None:
    with pytest.raises(ConnectError):
        await connect_unix(f"{tmp_path}/s")


# --- salvage ----------------------------------------------------------------------------------------------------------


def test_salvage_takes_what_there_is_and_waits_for_nothing() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        assert salvage(ours.fileno()) == b""
        theirs.sendall(b"answer")
        assert salvage(ours.fileno()) == b"answer"
        theirs.sendall(b"bye")
        theirs.close()
        assert salvage(ours.fileno()) == b"bye"
        assert salvage(ours.fileno()) == b""
    assert salvage(-1) == b""
