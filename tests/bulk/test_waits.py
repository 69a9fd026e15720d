"""Requests of a map that wait for others, for the rules, and for the time of a retry: each comes to its end."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    AdaptiveThrottle,
    Client,
    Frontier,
    OAuth2ClientCredentials,
    PoolClosed,
    RateLimit,
    Retry,
    RobotsTxt,
)
from tests.auditing import settle
from tests.bulk.test_politeness import hosts, nothing_comes, url
from tests.cancellation import cancel_everywhere
from tests.politeness.test_transport import assert_no_lines
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from tests.servers.raw import Received

__all__ = ["hosts"]

FRESH = ("Cache-Control", "max-age=60")


@pytest.fixture
def site(hosts: OriginServer) -> OriginServer:
    """Every host's /to-one leads to the same page; all pages may be stored."""

    async def to_one(request: Received) -> Reply:
        return Reply(status=302, fields=[("Location", url(hosts, 240, "/page"))])

    async def page(request: Received) -> Reply:
        await settle(2)
        return Reply(b"page", fields=[FRESH])

    async def nothing_said(request: Received) -> Reply:
        return Reply(status=404)

    hosts.routes |= {"/to-one": to_one, "/page": page, "/robots.txt": nothing_said}
    return hosts


def asked(server: OriginServer) -> Counter[str]:
    """How often each path was asked for, without queries."""
    return Counter(request.target.partition("?")[0] for request in server.requests)


@pytest.mark.parametrize("source", ["list", "frontier", "frontier, redirects followed"])
@pytest.mark.parametrize("rule", [RobotsTxt, RateLimit])
async def test_many_that_wait_for_one_which_waits_for_its_turn(rule: Any, source: str, site: OriginServer) -> None:
    """All lead to a page that is asked for once; who asks for it has no slot when it is his turn, and the others, who
    wait for him, have none to spare unless they give it back."""
    urls = [url(site, 240 if rule is RateLimit else number // 5, f"/to-one?{number}") for number in range(20)]
    given: Any = urls if source == "list" else Frontier(urls)
    options: Any = {"follow_redirects": True} if "followed" in source else {}
    rules = RobotsTxt("example") if rule is RobotsTxt else RateLimit(100, burst=2)
    async with Client(cache=True, politeness=rules, trust_env=False) as client, asyncio.timeout(10):
        pages = [result.unwrap().text async for result in client.map(given, concurrency=4, **options)]
    assert pages == ["page"] * (1 if source == "frontier" else 20)
    assert asked(site)["/page"] == 1
    assert asked(site)["/to-one"] == 20


@pytest.mark.parametrize("place", ["loop", "handle", "another map"])
async def test_who_takes_the_results_waits_for_one_of_the_requests(place: str, site: OriginServer) -> None:
    """It has to wait for its turn, and no other is sent as long as those that are done are not taken."""
    first, logo = url(site, 0, "/page?first"), url(site, 0, "/page?logo")
    urls = [first, logo, *[url(site, 1 + number % 40, f"/page?{number}") for number in range(80)]]
    async with Client(cache=True, politeness=RateLimit(40), trust_env=False) as client, asyncio.timeout(10):

        async def fetch(response: Any) -> None:
            assert (await client.get(logo)).text == "page"

        results = client.map(urls, concurrency=3, window=200, handle=fetch if place == "handle" else None)
        count = 0
        async for result in results:
            assert result.unwrap().text == "page"
            count += 1
            if place == "loop":
                await fetch(None)
            elif place == "another map":
                assert [each.unwrap().text async for each in client.map([logo], concurrency=1)] == ["page"]
        assert count == len(urls)
    assert sum("logo" in request.target for request in site.requests) <= 2


@pytest.mark.parametrize("given", ["client", "map"])
@pytest.mark.parametrize("rule", [None, AdaptiveThrottle])
async def test_the_time_before_a_retry_is_nobody_s_place(given: str, rule: Any, site: OriginServer) -> None:
    """More hosts than there are slots ask to come again in five minutes: the others go on to the end."""

    async def refused(request: Received) -> Reply:
        return Reply(status=503, fields=[("Retry-After", "300")])

    site.routes["/busy"] = refused
    urls = [url(site, number, "/busy") for number in range(20)]
    urls += [url(site, 100 + number % 5, f"/page?{number}") for number in range(60)]
    retries: Any = {"retries": Retry(attempts=2, max_delay=1000, budget=None)}
    politeness = None if rule is None else rule()
    async with (
        Client(politeness=politeness, trust_env=False, **(retries if given == "client" else {})) as client,
        client.map(urls, concurrency=4, **(retries if given == "map" else {})) as results,
        asyncio.timeout(10),
    ):
        assert {(await anext(results)).unwrap().text for _ in range(60)} == {"page"}
        await nothing_comes(results)
    assert asked(site) == {"/busy": 20, "/page": 60}


@pytest.mark.parametrize("ordered", [False, True])
async def test_who_takes_the_results_may_wait_for_the_rest(ordered: bool, site: OriginServer) -> None:
    """As many as may be are done when he closes the client: those that wait for the rules go all the same."""
    urls = [url(site, number % 12, f"/page?{number}") for number in range(100)]
    pages = 0
    client = Client(politeness=RateLimit(50), trust_env=False)
    with pytest.raises(PoolClosed):
        async for result in client.map(urls, concurrency=3, ordered=ordered):
            pages += result.response is not None
            if result.index == 10:
                async with asyncio.timeout(10):
                    await client.close(grace=None)
    assert 11 < pages < 100


async def test_no_more_than_the_slots_go_when_all_are_sent_again_at_once(site: OriginServer) -> None:
    busy = most = 0
    refused: set[str] = set()

    async def page(request: Received) -> Reply:
        nonlocal busy, most
        if request.get("Host") not in refused:
            refused.add(request.get("Host") or "")
            return Reply(status=503)
        busy += 1
        most = max(most, busy)
        await settle(3)
        busy -= 1
        return Reply(b"page")

    site.routes["/page"] = page
    retries = Retry(attempts=2, backoff=0.05, jitter=0, budget=None)
    async with Client(retries=retries, trust_env=False) as client, asyncio.timeout(10):
        urls = [url(site, number, "/page") for number in range(30)]
        assert [result.unwrap().text async for result in client.map(urls, concurrency=3)] == ["page"] * 30
    assert most <= 3


@pytest.mark.parametrize("robots", [False, True])
async def test_the_token_that_all_wait_for_waits_for_its_turn(robots: bool, site: OriginServer) -> None:
    """It is asked for by the same client, in the name of the first that needs it."""
    rules = [RobotsTxt("example"), RateLimit(100, burst=2)] if robots else [RateLimit(100, burst=1)]

    async def token(request: Received) -> Reply:
        return Reply(b'{"access_token": "t", "token_type": "Bearer"}', fields=[("Content-Type", "application/json")])

    site.routes["/token"] = token
    async with Client(politeness=rules, trust_env=False) as client, asyncio.timeout(10):
        await client.get(url(site, 240, "/page"))  # the next to that host has to wait
        auth = OAuth2ClientCredentials(url(site, 240, "/token"), "id", "secret", client=client)
        urls = [url(site, number, "/page") for number in range(20)]
        assert [result.unwrap().text async for result in client.map(urls, concurrency=3, auth=auth)] == ["page"] * 20
    assert asked(site)["/token"] == 1


class Busy:
    """Three hosts whose /to-one leads to one page of a fourth; each asks for patience the first time."""

    def __init__(self, server: OriginServer) -> None:
        self.server = server
        self.refused: set[str | None] = set()
        server.routes |= {"/to-one": self, "/page": self}

    async def __call__(self, request: Received) -> Reply:
        if (asked := request.get("Host")) not in self.refused:
            self.refused.add(asked)
            return Reply(status=503)
        if request.target.startswith("/to-one"):
            return Reply(status=302, fields=[("Location", url(self.server, 240, "/page"))])
        await settle(2)
        return Reply(b"page", fields=[FRESH])


@pytest.mark.parametrize("source", [list, Frontier])
@pytest.mark.parametrize("retries", [None, Retry(attempts=3, backoff=0.002, budget=None)])
@pytest.mark.parametrize("rule", [RobotsTxt, RateLimit, AdaptiveThrottle])
@pytest.mark.parametrize("cache", [None, True])
async def test_all_together(cache: Any, rule: Any, retries: Retry | None, source: Any, site: OriginServer) -> None:
    """Every request has its result, whatever it waits for on its way."""
    Busy(site)
    rules = {
        RobotsTxt: lambda: RobotsTxt("example"),
        RateLimit: lambda: RateLimit(1000),
        AdaptiveThrottle: lambda: AdaptiveThrottle(slow=None, cooldown=0.002),
    }[rule]()
    urls = [url(site, number % 3, f"/to-one?{number}") for number in range(12)]
    async with Client(cache=cache, politeness=rules, retries=retries, trust_env=False) as client, asyncio.timeout(20):
        results = [result async for result in client.map(source(urls), concurrency=2, per_host=2)]
    statuses = Counter(result.unwrap().status for result in results)
    if retries is None:
        assert set(statuses) <= {200, 503}
        assert len(results) == (4 if source is Frontier else 12)  # the page, and those who were refused
    else:
        assert statuses == {200: 1 if source is Frontier else 12}


@pytest.mark.parametrize("cache", [None, True])
async def test_nothing_that_may_have_waited_is_kept_with_its_connection(cache: Any, site: OriginServer) -> None:
    retries = Retry(attempts=2, backoff=0.001)
    async with Client(cache=cache, politeness=RateLimit(10_000), retries=retries, trust_env=False) as client:
        kept = [weakref.ref(result.unwrap()) async for result in client.map([url(site, 0, "/page")])]
        await settle(2)
        gc.collect()
        assert client.pool is not None
        assert client.pool.stats().idle == 1
        assert [each() for each in kept] == [None]


async def test_cancelled_at_every_await(site: OriginServer) -> None:
    """While it waits for a turn, for another's answer, for a slot, for the time of a retry."""
    retries = Retry(attempts=3, backoff=0.001, budget=None)
    rules = RateLimit(20_000)

    async def some() -> None:
        Busy(site)
        urls = [url(site, number % 2, f"/to-one?{number}") for number in range(4)]
        async with (
            Client(cache=True, politeness=rules, retries=retries, trust_env=False) as client,
            client.map(urls, concurrency=2, per_host=2) as results,
        ):
            async for result in results:
                assert result.unwrap().text == "page"

    assert await cancel_everywhere(some, assert_no_lines) > 0
    await some()
