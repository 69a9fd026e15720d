"""Addresses given by hand: what the keys and values mean, which are refused, and who is asked for the rest."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn.net.overrides import OverridingResolver
from aiohttpconn.net.resolve import resolve
from tests.net.test_resolve import Known

if TYPE_CHECKING:
    from aiohttpconn.net.tcp import Address

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


def v4(host: str, port: int = 443) -> Address:
    return V4, (host, port)


def v6(host: str, port: int = 443, zone: int = 0) -> Address:
    return V6, (host, port, 0, zone)


@pytest.mark.parametrize(
    ("entry", "value", "found"),
    [
        ("example.org:443", "127.0.0.1", [v4("127.0.0.1")]),
        ("example.org", "127.0.0.1", [v4("127.0.0.1")]),
        ("*:443", "127.0.0.1", [v4("127.0.0.1")]),
        ("*", "127.0.0.1", [v4("127.0.0.1")]),
        ("EXAMPLE.org.:443", "::1", [v6("::1")]),
        ("example.org", "[::1]", [v6("::1")]),
        ("example.org", ["127.0.0.2", "[::1]", "127.0.0.1"], [v4("127.0.0.2"), v6("::1"), v4("127.0.0.1")]),
        ("example.org", ("127.0.0.2",), [v4("127.0.0.2")]),
        ("example.org", "127.0.0.2,[::1], ::2", [v4("127.0.0.2"), v6("::1"), v6("::2")]),
        ("example.org", "fe80::1%lo", [v6("fe80::1", zone=socket.if_nametoindex("lo"))]),
        ("example.org", "[fe80::1%1]", [v6("fe80::1", zone=1)]),
    ],
)
async def test_entry_that_counts(entry: str, value: Any, found: list[Address]) -> None:
    upstream = Known(AssertionError("asked"))
    for host in ("example.org", "Example.ORG", "example.org."):
        assert list(await OverridingResolver({entry: value}, upstream).resolve(host, 443)) == found


@pytest.mark.parametrize("entry", ["example.org:80", "www.example.org", "org", "*:80", "example.org.uk:443"])
async def test_entry_that_does_not_count(entry: str) -> None:
    upstream = Known([v4("192.0.2.1")])
    resolver = OverridingResolver({entry: "127.0.0.1"}, upstream)
    assert await resolver.resolve("example.org", 443) == [v4("192.0.2.1")]
    assert upstream.asked == [("example.org", 443)]
    assert resolver.override("example.org", 443) is None


async def test_the_most_particular_entry_counts() -> None:
    entries = {"*": "127.0.0.1", "*:443": "127.0.0.2", "example.org": "127.0.0.3", "example.org:443": "127.0.0.4"}
    for number in (4, 3, 2, 1):
        assert OverridingResolver(entries).override("example.org", 443) == [v4(f"127.0.0.{number}")]
        entries.popitem()


async def test_names_are_compared_after_idna() -> None:
    resolver = OverridingResolver({"Bücher.example:443": "127.0.0.1"})
    assert list(await resolver.resolve("xn--bcher-kva.example", 443)) == [v4("127.0.0.1")]


async def test_address_is_not_looked_up_whatever_is_overridden() -> None:
    resolver = OverridingResolver({"*": "127.0.0.1"})
    assert list(await resolve("192.0.2.1", 443, resolver)) == [v4("192.0.2.1")]
    assert list(await resolve("example.org", 443, resolver)) == [v4("127.0.0.1")]


async def test_without_entries_and_upstream_the_system_answers() -> None:
    assert await OverridingResolver({}).resolve("localhost", 443)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("", "127.0.0.1"),
        (":443", "127.0.0.1"),
        ("example.org:", "127.0.0.1"),
        ("example.org:0", "127.0.0.1"),
        ("example.org:65536", "127.0.0.1"),
        ("example.org:https", "127.0.0.1"),
        ("example.org:４４３", "127.0.0.1"),
        ("http://example.org", "127.0.0.1"),
        ("example.org/", "127.0.0.1"),
        ("user@example.org", "127.0.0.1"),
        ("*.example.org", "127.0.0.1"),
        ("exa mple.org", "127.0.0.1"),
        ("192.0.2.1:80", "127.0.0.1"),
        ("0xC0000201", "127.0.0.1"),
        ("[::1]:80", "127.0.0.1"),
        ("[::1]", "127.0.0.1"),
        ("::1", "127.0.0.1"),
        ("example.org", ""),
        ("example.org", []),
        ("example.org", "127.1"),
        ("example.org", "127.0.0.1:80"),
        ("example.org", "[::1]:80"),
        ("example.org", "[127.0.0.1]"),
        ("example.org", "localhost"),
        ("example.org", "127.0.0.1,"),
        ("example.org", "127.0.0.1%lo"),
        ("example.org", "fe80::1%nowhere"),
        ("example.org", ["127.0.0.1", "other.example"]),
        ("example.org", [127]),
    ],
)
def test_entry_that_is_refused_is_named(entry: str, value: Any) -> None:
    with pytest.raises(ValueError, match="resolve entry") as caught:
        OverridingResolver({"good.example": "127.0.0.1", entry: value})
    assert repr(entry) in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("overrides", ["example.org:443:127.0.0.1", ["example.org:443:127.0.0.1"]])
def test_overrides_that_are_no_mapping(overrides: Any) -> None:
    with pytest.raises(TypeError, match="mapping"):
        OverridingResolver(overrides)


@pytest.mark.parametrize(("entry", "value"), [(443, "127.0.0.1"), ("example.org", 127), ("example.org", None)])
def test_entries_of_the_wrong_type(entry: Any, value: Any) -> None:
    with pytest.raises(TypeError, match="resolve entry"):
        OverridingResolver({entry: value})
