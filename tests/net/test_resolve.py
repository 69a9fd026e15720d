"""From names to addresses: literal ones without asking, a resolver of one's own, what fails."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from aiohttpconn import AsyncHTTPConnection, Client, ConnectError, ConnectionPool, OverridingResolver, ResolveError
from aiohttpconn.net.resolve import SystemResolver, literal_address, resolve
from aiohttpconn.net.tcp import Address

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


class Known:
    """A resolver that knows what it is told, and notes what it is asked."""

    def __init__(self, answer: Sequence[Address] | BaseException) -> None:
        self.answer = answer
        self.asked: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append((host, port))
        await asyncio.sleep(0)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


LITERAL = [
    ("127.0.0.1", (V4, ("127.0.0.1", 80))),
    ("255.255.255.255", (V4, ("255.255.255.255", 80))),
    ("::1", (V6, ("::1", 80, 0, 0))),
    ("::", (V6, ("::", 80, 0, 0))),
    ("2001:db8::1", (V6, ("2001:db8::1", 80, 0, 0))),
    ("::ffff:127.0.0.1", (V6, ("::ffff:127.0.0.1", 80, 0, 0))),
]
NAMES = [
    "localhost",
    "example.org",
    "127.1",
    "0x7f.1",
    "1.2.3.4.5",
    "256.1.1.1",
    "host9",
    "9",
    "",
    "fe80::1%lo",
    "::g",
    "１.1.1.1",
]


@pytest.mark.parametrize(("host", "address"), LITERAL)
def test_literal_address(host: str, address: Address) -> None:
    assert literal_address(host, 80) == address


@pytest.mark.parametrize("host", NAMES)
def test_name_is_no_literal_address(host: str) -> None:
    assert literal_address(host, 80) is None


@pytest.mark.parametrize(("host", "address"), LITERAL)
async def test_literal_address_is_not_looked_up(host: str, address: Address) -> None:
    resolver = Known(AssertionError("asked"))
    assert await resolve(host, 80, resolver) == [address]
    assert not resolver.asked


@pytest.mark.parametrize("host", ["example.org", "127.1", "fe80::1%lo"])
async def test_own_resolver_is_asked_and_its_order_kept(host: str) -> None:
    answer = [(V6, ("::1", 80, 0, 0)), (V4, ("127.0.0.2", 80)), (V4, ("127.0.0.1", 80))]
    resolver = Known(answer)
    assert list(await resolve(host, 80, resolver)) == answer
    assert resolver.asked == [(host, 80)]


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError("out of order"), "out of order"),
        (OSError(5, "I/O error"), "I/O error"),
        (TimeoutError("too slow"), "too slow"),
        (UnicodeError("label too long"), "label too long"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_resolver_that_fails(failure: Exception, why: str) -> None:
    with pytest.raises(ResolveError) as caught:
        await resolve("example.org", 80, Known(failure))
    assert "example.org" in str(caught.value)
    assert why in str(caught.value)
    assert caught.value.__cause__ is failure
    assert isinstance(caught.value, OSError)


async def test_resolver_that_knows_no_address() -> None:
    with pytest.raises(ResolveError, match=r"example\.org"):
        await resolve("example.org", 80, Known([]))


async def test_resolver_s_own_mistakes_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        await resolve("example.org", 80, Known(ZeroDivisionError()))


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        "127.0.0.1",
        5,
        [None],
        socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM),
        [(V4, ("127.0.0.1",))],
        [(V4, ("127.0.0.1", "80"))],
        [(V4, ("127.0.0.1", 65536))],
        [(V4, ("localhost", 80))],  # would be looked up again, by somebody else
        [(V4, ("::1", 80))],
        [(V6, ("127.0.0.1", 80))],
        [(99, ("127.0.0.1", 80))],
        [(V4, ("127.0.0.1", 80)), (V4, ("127.0.0.1\0", 80))],
    ],
    ids=repr,
)
async def test_answer_that_is_none_says_what_is_wanted(answer: Any) -> None:
    with pytest.raises(TypeError, match=r"said of 'example\.org' .* must be pairs of family and socket address"):
        await resolve("example.org", 80, Known(answer))


async def test_answers_that_are_as_good() -> None:
    where = ("127.0.0.1", 80)
    for answer in (iter([(V4, where)]), ((V4, where),), [[socket.AF_INET, list(where)]]):
        assert await resolve("example.org", 80, Known(answer)) == [(V4, where)]  # type: ignore[arg-type]
    number = socket.if_nametoindex("lo")
    for where6 in (("fe80::1%lo", 80), ("fe80::1%lo", 80, 0, 7), (f"fe80::1%{number}", 80, 0, 0)):
        assert await resolve("example.org", 80, Known([(V6, where6)])) == [(V6, ("fe80::1", 80, 0, number))]


async def test_a_zone_in_the_text_is_not_looked_up_by_the_loop() -> None:
    """By its executor asyncio would ask, and have a thread started."""
    async with Client(resolver=Known([(V6, ("fe80::1%lo", 9, 0, 0))]), timeout=5) as client:
        with pytest.raises(ConnectError):
            await client.get("http://example.org/")
        assert getattr(asyncio.get_running_loop(), "_default_executor", None) is None
    with pytest.raises(ResolveError, match="no interface with this name"):
        await resolve("example.org", 80, Known([(V6, ("fe80::1%none0", 80, 0, 0))]))


@pytest.mark.parametrize("resolver", [object(), "192.0.2.53", Known, lambda host, port: []])
def test_what_is_no_resolver_is_refused_where_it_is_given(resolver: Any) -> None:
    for make in (
        lambda: Client(resolver=resolver),
        lambda: ConnectionPool(resolver=resolver),
        lambda: AsyncHTTPConnection("localhost", resolver=resolver),
        lambda: OverridingResolver({}, resolver),
    ):
        with pytest.raises(TypeError, match=r"(resolver|upstream) must have resolve\(host, port\)"):
            make()


async def test_system_s_resolver() -> None:
    found = await SystemResolver().resolve("localhost", 80)
    assert {where[0] for _, where in found} <= {"127.0.0.1", "::1"}
    assert all(where[1] == 80 for _, where in found)
    assert len(set(found)) == len(found), "one for each address, not for each kind of socket"
    assert list(await resolve("localhost", 80)) == list(found)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"], ids=["label too long", "empty label"])
async def test_name_that_cannot_be_one(host: str) -> None:
    with pytest.raises(ResolveError) as caught:
        await resolve(host, 80)
    assert host in str(caught.value)


async def test_cancelled_lookup() -> None:
    begun = asyncio.Event()

    class Never:
        async def resolve(self, host: str, port: int) -> Any:
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(resolve("example.org", 80, Never()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
