"""`Client.map` under rules of politeness: a host that has to wait holds up its own requests only, and takes no slot."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    AdaptiveThrottle,
    Client,
    ConnectError,
    Frontier,
    Hooks,
    HostConcurrency,
    RateLimit,
    Request,
    Retry,
    RobotsTxt,
    Rule,
    Timeout,
    TotalTimeout,
)
from aiohttpconn.testing import MockResponse, MockTransport
from tests.auditing import settle
from tests.bulk.test_map import Gate, until
from tests.cancellation import cancel_everywhere
from tests.politeness.test_transport import assert_no_lines
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from aiohttpconn import MapResults
    from aiohttpconn.politeness.rule import Send
    from tests.servers.raw import Received


class Door(Rule):
    """Hosts that are held back, until they are let go."""

    def __init__(self, *hosts: str, until: float = math.inf) -> None:
        self.hosts = set(hosts)
        self.until = until

    def ready_at(self, key: Hashable, now: float) -> float:
        return self.until if key in self.hosts else now


class Doubt(Rule):
    """Thinks about each request for some turns of the loop, and refuses the first ones."""

    def __init__(self, turns: Callable[[], int], refused: int = 0) -> None:
        self.turns = turns
        self.refused = refused

    async def check(self, request: Request, send: Send) -> None:
        for _ in range(self.turns()):
            await asyncio.sleep(0)
        if self.refused > 0:
            self.refused -= 1
            raise ConnectError("not yet")


def host(number: int) -> str:
    return f"127.0.{1 + number // 250}.{1 + number % 250}"


@pytest.fixture
async def hosts() -> AsyncIterator[OriginServer]:
    """A server at every address of loopback."""
    async with OriginServer(host="0.0.0.0") as server:
        yield server
        await settle()
        assert_no_lines()


def url(server: OriginServer, number: int, path: str = "/") -> str:
    return f"http://{host(number)}:{server.port}{path}"


async def nothing_comes(results: MapResults) -> None:
    """The map waits."""
    waits = asyncio.ensure_future(anext(results))
    await settle(20)
    assert not waits.done()
    waits.cancel()
    await asyncio.wait({waits})


@pytest.mark.parametrize("source", ["list", "frontier", "async generator"])
async def test_many_hosts_that_wait_take_no_slot(source: str, hosts: OriginServer) -> None:
    """Each of 40 hosts gets the request that its rate allows, four at a time; 39 of them have to wait then."""
    urls = [url(hosts, number, f"/bytes/{turn}") for number in range(40) for turn in range(1, 4)]

    async def later() -> AsyncIterator[str]:
        for each in urls:
            yield each

    given: Any = {"list": urls, "frontier": Frontier(urls), "async generator": later()}[source]
    async with (
        Client(politeness=RateLimit(1, per=1e6), trust_env=False) as client,
        client.map(given, concurrency=4, per_host=2, window=200) as results,
    ):
        seen = {(await anext(results)).unwrap().url.host for _ in range(40)}
        assert len(seen) == 40
        await nothing_comes(results)
    assert len(hosts.requests) == 40


async def test_retry_after_stops_its_hosts_only(hosts: OriginServer) -> None:
    """More hosts than there are slots, each of which asks for five minutes: the others go on to the end."""

    async def refused(request: Received) -> Reply:
        return Reply(status=429, fields=[("Retry-After", "300")])

    hosts.routes["/busy"] = refused
    busy = [url(hosts, number, "/busy") for number in range(20) for _ in range(3)]
    urls = busy + [url(hosts, 100 + number % 5, "/bytes/1") for number in range(100)]
    async with Client(politeness=AdaptiveThrottle(), trust_env=False) as client:
        statuses: Counter[int] = Counter()
        async with client.map(urls, concurrency=8) as results:
            for _ in range(120):
                statuses[(await anext(results)).unwrap().status] += 1
            assert statuses == {429: 20, 200: 100}


async def test_robots_txt_is_fetched_from_all_hosts_while_their_pages_wait(hosts: OriginServer) -> None:
    """It takes the first turn of each host, whose page waits for the next without a slot."""

    async def nothing_said(request: Received) -> Reply:
        return Reply(status=404)

    hosts.routes["/robots.txt"] = nothing_said
    urls = [url(hosts, number) for number in range(30)]
    rules = [RobotsTxt("example"), RateLimit(1, per=1e6)]
    async with Client(politeness=rules, trust_env=False) as client, client.map(urls, concurrency=3) as results:
        first = asyncio.ensure_future(anext(results))
        while len(hosts.requests) < 30:
            await asyncio.sleep(0.001)
        assert not first.done()
        first.cancel()
        await asyncio.wait({first})
    assert {request.target for request in hosts.requests} == {"/robots.txt"}


async def test_a_robots_txt_that_hangs_holds_up_its_own_host(hosts: OriginServer) -> None:
    """Who waits for it has no slot meanwhile."""
    gate = Gate()

    async def said(request: Received) -> Reply:
        if (request.get("Host") or "").startswith(f"{host(0)}:"):
            await gate(request)
        return Reply(status=404)

    hosts.routes["/robots.txt"] = said
    urls = [url(hosts, 0, f"/bytes/{number}") for number in range(6)] + [url(hosts, 1)] * 20
    async with (
        Client(politeness=RobotsTxt("example"), trust_env=False) as client,
        client.map(urls, concurrency=2, per_host=2) as results,
    ):
        assert {(await anext(results)).unwrap().url.host for _ in range(20)} == {host(1)}
        await nothing_comes(results)
        assert gate.held == 1
        gate.open.set()
        assert sorted([result.index async for result in results]) == list(range(6))


async def test_robots_txt_that_fails_is_tried_again_while_others_go_on(hosts: OriginServer) -> None:
    """The pause between two tries takes no slot, though one is all there are."""

    async def failing(request: Received) -> Reply:
        if (request.get("Host") or "").startswith(f"{host(0)}:"):
            return Reply(status=503, fields=[("Retry-After", "50")])
        return Reply(status=404)

    hosts.routes["/robots.txt"] = failing
    urls = [url(hosts, 0), *[url(hosts, 1, f"/bytes/{number}") for number in range(9)]]
    async with (
        Client(politeness=RobotsTxt("example"), trust_env=False) as client,
        client.map(urls, concurrency=1) as results,
    ):
        assert {(await anext(results)).unwrap().url.host for _ in range(9)} == {host(1)}


async def test_what_rules_ask_for_counts_as_under_way(hosts: OriginServer) -> None:
    """Each host's page waits for its robots.txt: not all of these are fetched at a time."""
    gate = Gate()
    hosts.routes["/robots.txt"] = gate
    urls = [url(hosts, number) for number in range(30)]
    async with (
        Client(politeness=RobotsTxt("example"), trust_env=False) as client,
        client.map(urls, concurrency=3, window=100) as results,
    ):
        first = asyncio.ensure_future(anext(results))
        await until(lambda: gate.held >= 3)
        await settle(20)
        assert gate.held <= 6  # those that were begun, and those that took their places before it was sent
        gate.open.set()
        assert (await first).ok
        assert [result.ok async for result in results] == [True] * 29
        assert gate.most <= 6


@pytest.mark.parametrize("retries", [None, Retry(attempts=4, backoff=0.001)])
async def test_a_check_that_fails_after_a_wait(retries: Retry | None, hosts: OriginServer) -> None:
    """That is a result, or the request is tried again; the map does not end meanwhile."""
    rule = Doubt(lambda: 3, refused=2)
    async with Client(politeness=rule, trust_env=False, retries=retries) as client:
        errors = [result.error async for result in client.map([url(hosts, 0)] * 3, concurrency=1)]
    assert len([error for error in errors if isinstance(error, ConnectError)]) == (2 if retries is None else 0)
    assert len(errors) == 3


async def test_no_more_than_the_slots_go_when_all_may_at_once(hosts: OriginServer) -> None:
    busy = most = 0

    async def page(request: Received) -> Reply:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await settle(3)
        busy -= 1
        return Reply(b"x")

    hosts.routes["/"] = page
    urls = [url(hosts, number) for number in range(30) for _ in range(2)]
    door = Door(*map(host, range(30)), until=asyncio.get_running_loop().time() + 0.1)
    async with Client(politeness=door, trust_env=False) as client:
        async with client.map(urls, concurrency=3) as results:
            async for result in results:
                assert result.ok
            workers = results._workers
        assert len(hosts.requests) == 60
        assert most <= 3
        assert workers is None


async def test_a_slow_host_at_the_head_of_the_list_fills_no_more_than_the_window(hosts: OriginServer) -> None:
    """What comes after it within the window goes on; what is beyond is not read."""
    read: list[int] = []

    def urls() -> Iterator[str]:
        for number in range(200):
            read.append(number)
            yield url(hosts, 0 if number < 30 else number)

    async with Client(politeness=Door(host(0)), trust_env=False) as client:
        async with client.map(urls(), concurrency=4, per_host=2, window=50) as results:
            assert {(await anext(results)).unwrap().url.host for _ in range(170)} == {host(n) for n in range(30, 200)}
        read.clear()
        async with client.map(urls(), concurrency=4, per_host=2, window=20) as results:
            await nothing_comes(results)
            assert len(read) <= 20 + 2
    read.clear()
    async with (
        Client(politeness=Door(*map(host, range(200))), trust_env=False) as client,
        client.map(urls(), concurrency=4, per_host=2, window=50) as results,
    ):
        await nothing_comes(results)
        assert 50 <= len(read) <= 50 + 4


async def test_others_under_the_same_rules_get_their_turn(hosts: OriginServer) -> None:
    """A call beside the map stands in the same line as what the map has waiting there: one request, not all."""
    order: list[str] = []

    async def page(request: Received) -> Reply:
        order.append(request.target)
        return Reply(b"x")

    hosts.routes["/"] = page
    rule = RateLimit(200)
    async with Client(politeness=rule, trust_env=False) as client, Client(politeness=rule, trust_env=False) as other:
        results = client.map([url(hosts, 0, f"/?{turn}") for turn in range(20)])
        second = other.map([url(hosts, 0, f"/?other{turn}") for turn in range(3)])
        await anext(results)

        async def all_of_the_second() -> None:
            assert len([result async for result in second]) == 3

        calls = [
            asyncio.ensure_future(client.get(url(hosts, 0, "/?aside"))),
            asyncio.ensure_future(all_of_the_second()),
        ]
        async for result in results:
            assert result.ok
        await asyncio.gather(*calls)
    assert sorted(order) == sorted(
        ["/?aside", *[f"/?{turn}" for turn in range(20)], *[f"/?other{turn}" for turn in range(3)]]
    )
    # Of the map's, per_host were begun at once; all others came after those who stood in line meanwhile.
    assert max(order.index("/?aside"), order.index("/?other2")) < order.index("/?19")


async def test_in_order(hosts: OriginServer) -> None:
    urls = [url(hosts, number % 7, f"/bytes/{number}") for number in range(50)]
    async with Client(politeness=[HostConcurrency(1), RateLimit(1000)], trust_env=False) as client:
        indexes = [result.index async for result in client.map(urls, concurrency=5, window=3, ordered=True)]
    assert indexes == list(range(50))


async def test_the_wait_may_come_to_an_end_by_its_own_limit(hosts: OriginServer) -> None:
    urls = [url(hosts, 0), url(hosts, 0), url(hosts, 1)]
    async with Client(politeness=RateLimit(1, per=1e6), trust_env=False, timeout=Timeout(total=0.05)) as client:
        errors = {result.index: result.error async for result in client.map(urls, concurrency=1)}
    assert errors[0] is errors[2] is None
    assert isinstance(errors[1], TotalTimeout)


async def test_what_a_request_started_may_outlive_it(hosts: OriginServer) -> None:
    """A task of a hook's, which knows the slot of the request that it was started in, waits on when that is over."""
    started: list[asyncio.Task[Any]] = []
    door = Door(host(1))

    async def begin(request: Request) -> None:
        if request.url.target == "/bytes/0":
            started.append(asyncio.ensure_future(client.get(url(hosts, 1))))
            await settle(2)

    async with Client(politeness=door, trust_env=False, hooks=Hooks(on_request=begin)) as client:
        urls = [url(hosts, 0, f"/bytes/{number}") for number in range(9)]
        async with client.map(urls, concurrency=1) as results:
            assert (await anext(results)).ok
            [task] = started
            assert not task.done()
            door.hosts.clear()
            await client.get(url(hosts, 1))  # when it is over, those that wait are looked at again
            assert [result.ok async for result in results] == [True] * 8
            assert (await task).status == 200


@pytest.mark.parametrize("seed", range(3))
async def test_by_chance_every_request_has_its_result(seed: int) -> None:
    """Hosts, answers, rules, maps and cancellations by chance: nothing is lost, and there are never more at a time."""
    chance = random.Random(seed)
    active: Counter[str] = Counter()

    async def handler(request: Request) -> MockResponse:
        name = request.url.path[1:2]
        active[name] += 1
        assert active[name] <= 4
        await settle(chance.randrange(3))
        active[name] -= 1
        return MockResponse(chance.choice([200, 200, 200, 503]), content=b"x" * chance.randrange(3))

    rules = [HostConcurrency(2), RateLimit(4000, burst=2), AdaptiveThrottle(limit=4, cooldown=0.0005)]
    rules.append(Doubt(lambda: chance.randrange(4)))
    clients = [Client(transport=MockTransport(handler), politeness=rules[:number]) for number in (2, 3, 4)]

    async def run(name: str, client: Client) -> None:
        urls = [f"http://host{chance.randrange(12)}.example/{name}/{number}" for number in range(80)]
        given: Any = chance.choice([urls, Frontier(urls)])
        ordered = chance.random() < 0.5
        timeout = Timeout(total=chance.choice([None, 0.01]))
        results = client.map(given, concurrency=4, per_host=2, window=6, ordered=ordered, timeout=timeout)
        found = []
        async for result in results:
            found.append(result.index)
            if chance.random() < 0.2:
                await settle(2)
        assert sorted(found) == list(range(80))

    async def left(client: Client) -> None:
        urls = [f"http://host{number % 5}.example/l/{number}" for number in range(20)]
        async with client.map(urls, concurrency=3) as results:
            for _ in range(chance.randrange(1, 10)):
                await anext(results)

    await asyncio.gather(*[run(name, chance.choice(clients)) for name in "abc"], *map(left, clients))
    for client in clients:
        await client.close()
    assert rules[0]._active == {}  # type: ignore[attr-defined]
    assert_no_lines()


@pytest.mark.parametrize("rule", [HostConcurrency, RateLimit, Doubt])
async def test_cancelled_at_every_await(rule: type[Rule], hosts: OriginServer) -> None:
    given = {HostConcurrency: HostConcurrency(1), RateLimit: RateLimit(20_000), Doubt: Doubt(lambda: 2)}[rule]
    async with Client(politeness=given, trust_env=False) as client:

        async def some() -> None:
            urls = [url(hosts, number % 2) for number in range(6)]
            async with client.map(urls, concurrency=2, per_host=2) as results:
                async for result in results:
                    assert result.ok

        assert await cancel_everywhere(some, assert_no_lines) > 0
        await some()
