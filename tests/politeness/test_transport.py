"""A client with rules, over real connections: who goes when, what it costs, and what a cancellation leaves."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections import Counter
from collections.abc import Hashable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    AdaptiveThrottle,
    Client,
    ConnectError,
    ConnectionPool,
    HostConcurrency,
    Limits,
    PoliteTransport,
    RateLimit,
    Request,
    Retry,
    Rule,
    Timeout,
    TotalTimeout,
)
from aiohttpconn.politeness.admission import running_admission
from aiohttpconn.testing import MockResponse, MockTransport
from tests.auditing import audit_quiet, settle
from tests.cancellation import cancel_everywhere
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers.raw import Received


class Gate(Rule):
    """Lets nothing go until it is opened, and notes what it is told."""

    def __init__(self, opens_at: float = math.inf) -> None:
        self.opens_at = opens_at
        self.told: list[tuple[str, Hashable]] = []

    def ready_at(self, key: Hashable, now: float) -> float:
        return self.opens_at

    def began(self, key: Hashable, now: float) -> None:
        self.told.append(("began", key))

    def answered(self, key: Hashable, outcome: Any, began: float, seconds: float, now: float) -> None:
        self.told.append(("answered", getattr(outcome, "status", type(outcome).__name__)))
        assert seconds >= 0
        assert began <= now

    def over(self, key: Hashable, now: float) -> None:
        self.told.append(("over", key))


@asynccontextmanager
async def polite(*rules: Rule, **options: Any) -> AsyncIterator[Client]:
    """A client with rules; in the end nobody waits any more, and no slot is taken."""
    async with Client(trust_env=False, politeness=rules, **options) as client:
        yield client
        await settle()
        assert_no_lines()
        assert client.pool is not None
        audit_quiet(client.pool)


def assert_no_lines() -> None:
    admission = running_admission()
    assert not admission._lines
    assert not admission._held
    assert not admission._due
    assert admission._timer is None


class Counting:
    """A route that counts how many it answers at a time, and says in which order they came."""

    def __init__(self, server: OriginServer, path: str = "/count", turns: int = 5) -> None:
        self.most = self.now = 0
        self.order: list[str] = []
        self.at: list[float] = []
        server.routes[path] = self.answer
        self.turns = turns

    async def answer(self, request: Received) -> Reply:
        self.now += 1
        self.most = max(self.most, self.now)
        self.order.append(request.target.partition("?")[2])
        self.at.append(asyncio.get_running_loop().time())
        await settle(self.turns)
        self.now -= 1
        return Reply(b"ok")


async def test_no_more_than_so_many_at_a_time(http_server: OriginServer) -> None:
    count = Counting(http_server)
    async with polite(HostConcurrency(3)) as client:
        await asyncio.gather(*[client.get(f"{http_server.url}/count?{number}") for number in range(20)])
    assert count.most == 3
    assert sorted(count.order, key=int) == [str(number) for number in range(20)]


async def test_the_slot_is_taken_until_the_body_is_over(http_server: OriginServer) -> None:
    async with polite(HostConcurrency(1)) as client:
        async with client.stream("GET", f"{http_server.url}/bytes/2000000") as response:
            second = asyncio.create_task(client.get(http_server.url))
            await settle(10)
            assert not second.done()
            await response.read()
            assert (await second).status == 200
        async with client.stream("GET", f"{http_server.url}/bytes/2000000"):
            second = asyncio.create_task(client.get(http_server.url))
            await settle(10)
        assert (await second).status == 200, "left before its end, it is over as well"


async def test_requests_go_out_by_the_rate_and_in_order(http_server: OriginServer) -> None:
    class Noted(RateLimit):
        def began(self, key: Hashable, now: float) -> None:
            at.append(now)
            super().began(key, now)

    at: list[float] = []
    count = Counting(http_server, turns=0)
    async with polite(Noted(1000, burst=2)) as client:
        await asyncio.gather(*[client.get(f"{http_server.url}/count?{number}") for number in range(12)])
    assert len(count.order) == len(at) == 12
    # When they went, not when they came: the first ones open connections.
    assert at[-1] - at[0] >= 0.0099, "twelve, two of them at once, in less than ten thousandths of a second"


async def test_rules_agree_on_one_moment(http_server: OriginServer) -> None:
    # While nothing may go, turns by the rate are not used up: what waits does not go out at once when it may.
    gate, rate = Gate(), RateLimit(1000)
    async with polite(rate, gate) as client:
        calls = [asyncio.create_task(client.get(http_server.url)) for _ in range(5)]
        await settle(5)
        loop = asyncio.get_running_loop()
        began = gate.opens_at = loop.time()
        running_admission().changed(*next(iter(running_admission()._lines)))
        await asyncio.gather(*calls)
    assert loop.time() - began >= 0.0035, "five requests at 1000 a second took less than four thousandths of it"


async def test_one_host_does_not_hold_up_another(http_server: OriginServer) -> None:
    async with polite(HostConcurrency(1)) as client:
        held = asyncio.create_task(client.get(f"{http_server.url}/hold"))
        waiting = asyncio.create_task(client.get(http_server.url))
        async with OriginServer(host="127.0.0.2") as other:
            assert (await client.get(other.url)).status == 200
        assert not waiting.done()
        held.cancel()
        assert (await waiting).status == 200


async def test_a_rule_is_told_what_came_of_each_request(http_server: OriginServer) -> None:
    gate = Gate(0.0)
    async with polite(gate) as client:
        await client.get(f"{http_server.url}/status/404")
        with pytest.raises(ConnectError):
            await client.get("http://127.0.0.1:1/")
        call = asyncio.create_task(client.get(f"{http_server.url}/hold"))
        while gate.told[-1] != ("began", "127.0.0.1"):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait({call})
    host = "127.0.0.1"
    assert gate.told == [
        *[("began", host), ("answered", 404), ("over", host)],
        *[("began", host), ("answered", "ConnectError"), ("over", host)],
        *[("began", host), ("over", host)],
    ]


async def test_each_redirect_and_each_retry_stands_in_line(http_server: OriginServer) -> None:
    gate = Gate(0.0)
    replies = itertools.chain([Reply(status=503)], itertools.repeat(Reply(b"ok")))
    http_server.routes["/flaky"] = lambda request: next(replies)
    async with polite(gate, retries=Retry(backoff=0)) as client:
        assert (await client.get(f"{http_server.url}/redirect/302?/flaky")).status == 200
    assert [what for what, _ in gate.told].count("began") == 3


async def test_retry_after_holds_back_all_clients_that_share_the_rule(http_server: OriginServer) -> None:
    http_server.routes["/busy"] = Reply(status=429, fields=[("Retry-After", "3600")])
    throttle = AdaptiveThrottle(max_cooldown=0.03)
    async with polite(throttle) as one, polite(throttle) as two:
        await one.get(f"{http_server.url}/busy")
        began = asyncio.get_running_loop().time()
        assert (await two.get(http_server.url)).status == 200
    assert asyncio.get_running_loop().time() - began >= 0.025


async def test_clients_that_share_a_rule_take_turns(http_server: OriginServer) -> None:
    count = Counting(http_server)
    rule = HostConcurrency(1)
    async with polite(rule) as one, polite(rule, Gate(0.0)) as two:
        urls = [f"{http_server.url}/count?{number}" for number in range(6)]
        await asyncio.gather(*[(one, two)[number % 2].get(url) for number, url in enumerate(urls)])
    assert count.order == ["0", "1", "2", "3", "4", "5"]
    assert count.most == 1


async def test_the_wait_counts_within_total_and_no_other_limit(http_server: OriginServer) -> None:
    async with polite(Gate()) as client:
        with pytest.raises(TotalTimeout, match="waiting for the turn of GET") as caught:
            await client.get(http_server.url, timeout=Timeout(total=0.01))
        assert str(caught.value.request.url) == f"{http_server.url}/"
    async with polite(RateLimit(50)) as client:
        patient = Timeout(pool=0.001, connect=1, read=1)
        assert len(await asyncio.gather(*[client.get(http_server.url, timeout=patient) for _ in range(3)])) == 3


async def test_a_cancelled_wait_takes_no_turn(http_server: OriginServer) -> None:
    count = Counting(http_server)
    async with polite(HostConcurrency(1)) as client:
        held = asyncio.create_task(client.get(f"{http_server.url}/hold"))
        await settle(3)
        calls = [asyncio.create_task(client.get(f"{http_server.url}/count?{number}")) for number in range(9)]
        await settle(3)
        for number in (0, 1, 4, 8):
            calls[number].cancel()
        held.cancel()
        await asyncio.wait(calls)
    assert count.order == ["2", "3", "5", "6", "7"]


@pytest.mark.parametrize("path", ["/", "/chunked/200000"])
async def test_cancelled_anywhere_nothing_stays_taken(path: str, http_server: OriginServer) -> None:
    rule = HostConcurrency(1)
    async with polite(rule, RateLimit(100_000), AdaptiveThrottle(), limits=Limits(max_connections=2)) as client:

        async def scenario() -> None:
            # The first holds the only turn while the other waits; then the other goes.
            first = asyncio.create_task(client.get(http_server.url + path))
            try:
                await client.get(http_server.url + path)
            finally:
                await asyncio.wait({first})
            assert first.result().status == 200

        async def check() -> None:
            await settle(5)
            assert rule._active == {}
            assert_no_lines()
            assert client.pool is not None
            audit_quiet(client.pool)

        async def alone() -> None:
            await client.get(http_server.url + path)

        assert await cancel_everywhere(alone, check) > 0
        await scenario()


async def test_cancelled_while_waiting_at_any_moment(http_server: OriginServer) -> None:
    rule = HostConcurrency(1)
    async with polite(rule) as client:

        async def behind_another() -> None:
            holder = asyncio.create_task(client.get(f"{http_server.url}/bytes/1000"))
            await asyncio.sleep(0)
            try:
                await client.get(http_server.url)
            finally:
                holder.cancel()

        async def check() -> None:
            await settle(5)
            assert rule._active == {}
            assert_no_lines()

        assert await cancel_everywhere(behind_another, check) > 0
        assert (await client.get(http_server.url)).status == 200


async def test_many_that_wait_and_give_up_leave_nothing_behind() -> None:
    async with Client(transport=MockTransport(lambda r: MockResponse()), politeness=Gate(1e12)) as client:
        for _ in range(20):
            calls = [asyncio.create_task(client.get(f"http://host{number}.example/")) for number in range(50)]
            keeper = asyncio.create_task(client.get("http://keeper.example/"))
            await settle(2)
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
            assert len(running_admission()._due) <= 2 * len(running_admission()._lines) + 120
            keeper.cancel()
            await asyncio.wait({keeper})
    assert_no_lines()


async def test_before_any_transport() -> None:
    inner = MockTransport(lambda request: MockResponse(text=request.url.path))
    async with Client(transport=PoliteTransport(inner, HostConcurrency(1))) as client:
        answers = await asyncio.gather(*[client.get(f"http://a.example/{number}") for number in range(3)])
        assert [answer.text for answer in answers] == ["/0", "/1", "/2"]
    assert not inner.closed, "a transport that was given stays open"
    async with ConnectionPool() as pool, Client(transport=pool, politeness=RateLimit(5)) as client:
        assert client.pool is pool


def test_what_is_no_rule_is_refused() -> None:
    with pytest.raises(TypeError, match="instance of Rule"):
        Client(politeness=[5])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"RateLimit\(…\)"):
        Client(politeness=[RateLimit])  # type: ignore[list-item]


async def test_hooks_are_told_and_the_request_is_as_it_was(http_server: OriginServer) -> None:
    async with polite(RateLimit(1000)) as client:
        response = await client.send(Request("GET", f"{http_server.url}/request"))
        assert response.timings.first_byte is not None


@pytest.mark.parametrize("seed", range(3))
async def test_by_chance_no_rule_is_ever_broken(seed: int) -> None:
    # Hosts, clients, cancellations and durations by chance: at no moment more than the rules allow, and nobody is lost.
    chance = random.Random(seed)
    active: Counter[str] = Counter()
    begun: dict[str, list[float]] = {}
    loop = asyncio.get_running_loop()

    async def handler(request: Request) -> MockResponse:
        host = request.url.host
        active[host] += 1
        begun.setdefault(host, []).append(loop.time())
        try:
            assert active[host] <= 2
            await settle(chance.randrange(4))
            return MockResponse(chance.choice([200, 200, 503]), content=b"x" * chance.randrange(3))
        finally:
            active[host] -= 1

    rules = [HostConcurrency(2), RateLimit(2000, burst=3), AdaptiveThrottle(limit=4, cooldown=0.0005)]
    transport = MockTransport(handler)
    clients = [Client(transport=transport, politeness=rules[:number]) for number in (2, 3)]
    calls = []
    for _ in range(120):
        url = f"http://host{chance.randrange(4)}.example/"
        calls.append(asyncio.create_task(chance.choice(clients).get(url)))
        await settle(chance.randrange(3))
        if chance.random() < 0.3:
            chance.choice(calls).cancel()
    await asyncio.wait(calls)
    assert all(call.cancelled() or call.result().status in (200, 503) for call in calls)
    assert_no_lines()
    assert rules[0]._active == {}  # type: ignore[attr-defined]
    for moments in begun.values():
        for at, later in zip(moments, moments[10:], strict=False):
            assert later - at >= (10 - 3) / 2000, "ten requests after this one came sooner than the rate allows"
    for client in clients:
        await client.close()


def test_a_rule_belongs_to_the_loop_that_it_was_first_used_on() -> None:
    rule = HostConcurrency(1)

    async def fetch() -> None:
        transport = MockTransport(lambda request: MockResponse())
        for _ in range(2):  # any number of clients there
            async with Client(transport=transport, politeness=rule) as client:
                await client.get("http://a.example/")

    asyncio.run(fetch())
    with pytest.raises(RuntimeError, match=r"HostConcurrency\(1\) belongs to another event loop"):
        asyncio.run(fetch())
