"""`aiodns` as a resolver, against a DNS server on loopback."""

from __future__ import annotations

import asyncio
import builtins
import socket
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import ResolveError
from aiohttpconn.net import dns
from aiohttpconn.net.dns import AioDNSResolver
from aiohttpconn.net.lookups import CachingResolver
from aiohttpconn.net.resolve import resolve
from tests.auditing import Ground, settle
from tests.cancellation import cancel_everywhere
from tests.net.streaming import until
from tests.servers.dns import AAAA, SERVFAIL, A, DNSServer, Records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttpconn.net.tcp import Address

pytest.importorskip("aiodns", minversion="4.0")  # name servers with ports

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
BOTH = ("192.0.2.1", "2001:db8::1", "192.0.2.2")

ZONE = {
    "both.example": Records(BOTH, ttl=120),
    "v4.example": Records(("192.0.2.1",), ttl=7),
    "v6.example": Records(("2001:db8::1",)),
    "none.example": Records(),
    "broken.example": Records(code=SERVFAIL),
    "broken-v6.example": Records(("192.0.2.1",), code_v6=SERVFAIL),
    "slow-v6.example": Records(BOTH, slow_v6=0.3),
    "no-v6.example": Records(BOTH, slow_v6=None),
    "no-v4.example": Records(BOTH, slow_v4=None),
    "silent.example": Records(slow_v4=None, slow_v6=None),
    "ttl0.example": Records(("192.0.2.1",), ttl=0),
    "slow-v4.example": Records(("192.0.2.1",), slow_v4=0.3),
    "search": Records(("192.0.2.9",)),
}


def v4(*hosts: str, port: int = 80) -> list[Address]:
    return [(V4, (host, port)) for host in hosts]


def v6(*hosts: str, port: int = 80) -> list[Address]:
    return [(V6, (host, port, 0, 0)) for host in hosts]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine under load must not make halves of whole answers."""
    monkeypatch.setattr(dns, "RESOLUTION_DELAY", 30.0)


@pytest.fixture
async def server() -> AsyncIterator[DNSServer]:
    async with DNSServer(ZONE, host="127.0.0.53") as server:
        yield server


@pytest.fixture
async def resolver(server: DNSServer) -> AsyncIterator[AioDNSResolver]:
    resolver = AioDNSResolver([server.authority], timeout=10.0, tries=1)
    yield resolver
    await resolver.close()


def some_order(found: Any) -> list[Address]:
    """c-ares sorts the addresses of a family by what it can reach."""
    return sorted(found)


async def test_both_families_are_asked_at_once(resolver: AioDNSResolver, server: DNSServer) -> None:
    found, ttl = await resolver.resolve_with_ttl("both.example", 443)
    assert found[0] == (V6, ("2001:db8::1", 443, 0, 0)), "IPv6 first"
    assert some_order(found) == some_order(v6("2001:db8::1", port=443) + v4("192.0.2.1", "192.0.2.2", port=443))
    assert ttl == 120
    assert sorted(server.asked) == [("both.example", A), ("both.example", AAAA)]


@pytest.mark.parametrize(
    ("name", "found", "kept"),
    [
        ("v4.example", v4("192.0.2.1"), 7),
        ("v6.example", v6("2001:db8::1"), 300),
        ("V4.Example.", v4("192.0.2.1"), 7),
        ("broken-v6.example", v4("192.0.2.1"), 0),
        ("ttl0.example", v4("192.0.2.1"), 0),
    ],
)
async def test_one_family(resolver: AioDNSResolver, name: str, found: list[Address], kept: float) -> None:
    assert await resolver.resolve_with_ttl(name, 80) == (found, kept)


@pytest.mark.parametrize("name", ["slow-v6.example", "no-v6.example"])
async def test_a_family_that_lets_others_wait_is_left_out_for_now(
    resolver: AioDNSResolver, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "RESOLUTION_DELAY", 0.05)
    found, ttl = await resolver.resolve_with_ttl(name, 80)
    assert some_order(found) == some_order(v4("192.0.2.1", "192.0.2.2"))
    assert ttl == 0, "half an answer is not kept for long"


async def test_ipv6_alone_where_ipv4_says_nothing(resolver: AioDNSResolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "RESOLUTION_DELAY", 0.05)
    assert await resolver.resolve_with_ttl("no-v4.example", 80) == (v6("2001:db8::1"), 0)


async def test_one_family_that_has_no_address_is_no_reason_to_leave_the_other(
    resolver: AioDNSResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "RESOLUTION_DELAY", 0.0)
    assert await resolver.resolve_with_ttl("slow-v4.example", 80) == (v4("192.0.2.1"), 300)


async def test_the_second_family_gets_its_delay(resolver: AioDNSResolver) -> None:
    found, ttl = await resolver.resolve_with_ttl("slow-v6.example", 80)
    assert found[0] == v6("2001:db8::1")[0]
    assert ttl == 300


@pytest.mark.parametrize("name", ["nothing.example", "none.example", "none.example."])
async def test_name_without_address(resolver: AioDNSResolver, name: str) -> None:
    with pytest.raises(socket.gaierror) as caught:
        await resolver.resolve(name, 80)
    assert caught.value.errno == socket.EAI_NONAME


async def test_name_that_cannot_be_one(resolver: AioDNSResolver) -> None:
    for name in ("a..example", "a" * 64 + ".example"):
        with pytest.raises(ResolveError, match="no address"):
            await resolve(name, 80, resolver)


async def test_server_that_fails(resolver: AioDNSResolver) -> None:
    with pytest.raises(socket.gaierror) as caught:
        await resolver.resolve("broken.example", 80)
    assert caught.value.errno == socket.EAI_AGAIN


async def test_server_that_says_nothing(server: DNSServer) -> None:
    resolver = AioDNSResolver([server.authority], timeout=0.05, tries=1)
    with pytest.raises(TimeoutError):
        await resolver.resolve("silent.example", 80)
    with pytest.raises(ResolveError, match=r"silent\.example.*in time"):
        await resolve("silent.example", 80, resolver)
    await resolver.close()


async def test_file_of_hosts(resolver: AioDNSResolver, server: DNSServer) -> None:
    found = await resolver.resolve("localhost", 80)
    assert {where[0] for _, where in found} <= {"127.0.0.1", "::1"}
    assert not server.asked


async def test_name_without_a_dot_goes_by_the_search_list(resolver: AioDNSResolver, server: DNSServer) -> None:
    """Which ends with the name itself."""
    assert await resolver.resolve("search", 80) == v4("192.0.2.9")
    assert ("search", A) in server.asked


async def test_within_a_cache(resolver: AioDNSResolver, server: DNSServer) -> None:
    caching = CachingResolver(upstream=resolver)
    for port in (80, 443, 80):
        assert list(await caching.resolve("v4.example", port)) == v4("192.0.2.1", port=port)
    assert len(server.asked) == 2
    answer = caching._answers.get("v4.example")
    assert answer is not None
    assert answer.stale_until - answer.until == pytest.approx(300)
    await caching.close()


async def test_the_ttl_is_heeded_by_a_cache(resolver: AioDNSResolver, server: DNSServer) -> None:
    from aiohttpconn.net import lookups

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookups, "monotonic", lambda: 1000.0)
        caching = CachingResolver(upstream=resolver)
        await caching.resolve("v4.example", 80)
        answer = caching._answers.get("v4.example")
        assert answer is not None
        assert answer.until == pytest.approx(1007.0)
        await caching.close()


@pytest.mark.parametrize("name", ["both.example", "slow-v6.example", "nothing.example", "localhost"])
async def test_cancelled_at_every_await_leaves_nothing(server: DNSServer, name: str) -> None:
    ground = Ground()

    async def scenario() -> None:
        resolver = AioDNSResolver([server.authority], timeout=10.0, tries=1)
        try:
            await resolver.resolve(name, 80)
        except socket.gaierror:
            assert name == "nothing.example"
        finally:
            await resolver.close()

    async def check() -> None:
        assert not (left := await ground.cleared(5)), left

    assert await cancel_everywhere(scenario, check) >= 1


async def test_close_ends_what_is_under_way(server: DNSServer) -> None:
    resolver = AioDNSResolver([server.authority], timeout=30)
    task = asyncio.create_task(resolver.resolve("silent.example", 80))
    await until(lambda: len(server.asked) == 2)
    await resolver.close()
    await resolver.close()
    with pytest.raises(OSError, match="closed"):
        await task
    with pytest.raises(RuntimeError, match="closed"):
        await resolver.resolve("v4.example", 80)
    await settle()


def test_from_one_loop_to_the_next() -> None:
    resolver = AioDNSResolver(["127.0.0.53:1"], timeout=0.05, tries=1)

    async def look_up() -> None:
        assert await resolver.resolve("localhost", 80)

    for _ in range(2):
        asyncio.run(look_up())
    asyncio.run(resolver.close())


async def test_not_from_two_loops(resolver: AioDNSResolver) -> None:
    await resolver.resolve("v4.example", 80)

    def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(resolver.resolve("v4.example", 80))

    await asyncio.to_thread(elsewhere)


async def test_name_servers_that_are_none() -> None:
    with pytest.raises(TypeError, match="list"):
        AioDNSResolver("127.0.0.1")
    resolver = AioDNSResolver(["not an address"])
    with pytest.raises(ValueError, match="not an address"):
        await resolver.resolve("v4.example", 80)
    await resolver.close()


def test_without_aiodns_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "aiodns":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"aiohttpconn\[dns\]"):
        AioDNSResolver()
