"""Limits and waiters: who gets a connection, who waits, who is next, and what it costs to decide that.

The pool's decisions are compared with a model that decides the same by looking at everything, step by step, on
connections without sockets. What a pool does with real ones is in the other `test_pool_*` modules.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from aiohttpconn import ConnectError, ConnectionPool, InvalidURL, Limits, PoolClosed, PoolTimeout, Timeout, TotalTimeout
from tests.auditing import audit, audit_quiet, settle
from tests.conftest import LOOPS
from tests.exchanges import StubPool, StubResponse, build, context, fetch, send, until
from tests.servers.origin import OriginServer, Reply
from tests.servers.raw import Hold, Request, Send, WaitFor

# --- a model ----------------------------------------------------------------------------------------------------------


@dataclass
class ModelConnection:
    """What the model knows of a connection; `number` is the order in which it was made."""

    host: int
    number: int
    opened: bool = False


@dataclass
class Model:
    """The rules, one by one, with a look at everything each time."""

    max_connections: float
    max_per_host: float
    max_idle: float
    made: int = 0
    held: dict[int, ModelConnection] = field(default_factory=dict)
    """By the number of the asker."""
    idle: list[ModelConnection] = field(default_factory=list)
    """The longest idle first."""
    queue: list[tuple[int, int]] = field(default_factory=list)
    """(asker, host), first come first."""

    def connections_to(self, host: int) -> int:
        return sum(each.host == host for each in [*self.held.values(), *self.idle])

    @property
    def open(self) -> int:
        return len(self.held) + len(self.idle)

    def make(self, asker: int, host: int) -> None:
        self.held[asker] = ModelConnection(host, self.made)
        self.made += 1

    def may_open(self, host: int) -> bool:
        return self.connections_to(host) < self.max_per_host and (self.open < self.max_connections or bool(self.idle))

    def open_for(self, asker: int, host: int) -> None:
        if self.open >= self.max_connections:
            del self.idle[0]
        self.make(asker, host)

    def ask(self, asker: int, host: int) -> None:
        mine = [each for each in self.idle if each.host == host]
        if mine:
            self.idle.remove(mine[-1])
            self.held[asker] = mine[-1]
        elif self.may_open(host):
            self.open_for(asker, host)
        else:
            self.queue.append((asker, host))

    def serve(self) -> None:
        """Somebody's connection is gone: the first comers for whom there is room now get a new one."""
        while (one := next((one for one in self.queue if self.may_open(one[1])), None)) is not None:
            self.queue.remove(one)
            self.open_for(*one)

    def give_back(self, asker: int, *, usable: bool) -> None:
        connection = self.held.pop(asker)
        if not usable:
            self.serve()
            return
        # It can help those who wait for its host, and those who wait only for room in the pool as a whole.
        for one in self.queue:
            if one[1] == connection.host:
                self.queue.remove(one)
                self.held[one[0]] = connection
                return
            if self.connections_to(one[1]) < self.max_per_host:
                self.serve()
                return
        if self.max_idle:
            if len(self.idle) >= self.max_idle:
                del self.idle[0]
            self.idle.append(connection)

    def lose(self, connection: ModelConnection) -> None:
        self.idle.remove(connection)
        self.serve()


HOSTS = 4


class PoolMachine(RuleBasedStateMachine):
    """Drives a pool of stub connections and the model alike, and compares them after every step."""

    loop_name = "asyncio"

    @initialize(
        total=st.sampled_from([None, 1, 2, 3, 5]),
        per_host=st.sampled_from([None, 1, 2, 3]),
        idle=st.sampled_from([None, 0, 1, 2]),
    )
    def begin(self, total: int | None, per_host: int | None, idle: int | None) -> None:
        self.loop = LOOPS[self.loop_name]()
        limits = Limits(max_connections=total, max_per_host=per_host, max_idle=idle)
        self.pool = StubPool(limits)
        self.model = Model(*(float("inf") if limit is None else limit for limit in (total, per_host, idle)))
        self.askers = 0
        self.tasks: dict[int, asyncio.Task[Any]] = {}
        self.served: list[int] = []
        self.played = 0

    # --- steps

    def turn(self, *actions: Any) -> None:
        """Do all of the actions in one turn of the loop, then let everything happen that follows."""

        async def one_turn() -> None:
            for action in actions:
                action()
            await settle(6)

        self.loop.run_until_complete(one_turn())
        self.compare()

    def compare(self) -> None:
        audit(self.pool)
        stats, model = self.pool.stats(), self.model
        assert (stats.in_use, stats.idle, stats.waiting) == (len(model.held), len(model.idle), len(model.queue))
        done = {asker: task.result() for asker, task in self.tasks.items() if task.done()}
        holders = {asker: response.connection.number for asker, response in done.items()}
        assert holders == {asker: connection.number for asker, connection in model.held.items()}
        alive = sorted(each.number for each in self.pool.made if each.connected)
        assert alive == sorted(each.number for each in [*model.held.values(), *model.idle])
        assert len(self.pool.made) == model.made == stats.opened_total
        self.played += 1

    def new_task(self, host: int, timeout: Timeout | None = None) -> int:
        self.askers = asker = self.askers + 1

        async def ask() -> StubResponse:
            return await self.pool.send(build(f"http://host-{host}/{asker}"), context(timeout))  # type: ignore[return-value]

        self.tasks[asker] = self.loop.create_task(ask())
        return asker

    def finish(self, asker: int, usable: bool) -> None:
        response = self.tasks.pop(asker).result()
        response.finish(usable)

    def forget_after(self, asker: int, *actions: Any) -> None:
        """The asker is cancelled within the actions, and has heard it after them."""
        task = self.tasks.pop(asker)
        self.turn(*actions)
        assert task.cancelled()

    def holder(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.model.held)), "holder")

    def waiter(self, data: st.DataObject) -> tuple[int, int]:
        """One who waits; the first ones matter most."""
        at = data.draw(st.integers(0, min(3, len(self.model.queue) - 1)), "waiter")
        return self.model.queue[at]

    # --- what may happen

    @rule(host=st.integers(0, HOSTS - 1))
    def ask(self, host: int) -> None:
        def action() -> None:
            self.model.ask(self.new_task(host), host)

        self.turn(action)

    @rule(hosts=st.lists(st.integers(0, HOSTS - 1), min_size=2, max_size=8))
    def many_ask(self, hosts: list[int]) -> None:
        def action() -> None:
            for host in hosts:
                self.model.ask(self.new_task(host), host)

        self.turn(action)

    @precondition(lambda self: self.model.held)
    @rule(data=st.data(), usable=st.booleans())
    def give_back(self, data: st.DataObject, usable: bool) -> None:
        asker = self.holder(data)

        def action() -> None:
            self.finish(asker, usable)
            self.model.give_back(asker, usable=usable)

        self.turn(action)

    @precondition(lambda self: len(self.model.held) > 1)
    @rule(data=st.data())
    def many_give_back(self, data: st.DataObject) -> None:
        order = data.draw(st.permutations(sorted(self.model.held)), "order")[:3]
        usable = data.draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)), "usable")

        def action() -> None:
            for asker, good in zip(order, usable, strict=True):
                self.finish(asker, good)
                self.model.give_back(asker, usable=good)

        self.turn(action)

    @precondition(lambda self: self.model.queue)
    @rule(data=st.data())
    def waiter_is_cancelled(self, data: st.DataObject) -> None:
        asker, host = self.waiter(data)
        task = self.tasks[asker]

        def action() -> None:
            task.cancel()
            self.model.queue.remove((asker, host))

        self.forget_after(asker, action)

    @precondition(lambda self: self.model.queue and self.model.held)
    @rule(data=st.data(), usable=st.booleans())
    def cancelled_waiter_is_passed_over(self, data: st.DataObject, usable: bool) -> None:
        """Cancelled, and in the same turn, before it runs, a connection comes free."""
        (asker, host), holder = self.waiter(data), self.holder(data)

        task = self.tasks[asker]

        def action() -> None:
            task.cancel()
            self.model.queue.remove((asker, host))
            self.finish(holder, usable)
            self.model.give_back(holder, usable=usable)

        self.forget_after(asker, action)

    @precondition(lambda self: self.model.queue and self.model.held)
    @rule(data=st.data(), usable=st.booleans())
    def slot_comes_to_one_who_is_then_cancelled(self, data: st.DataObject, usable: bool) -> None:
        """A connection comes free, and who got it is cancelled in the same turn, before it runs."""
        (asker, host), holder = self.waiter(data), self.holder(data)
        task = self.tasks[asker]

        def action() -> None:
            self.finish(holder, usable)
            self.model.give_back(holder, usable=usable)
            task.cancel()
            if (asker, host) in self.model.queue:
                self.model.queue.remove((asker, host))
            else:
                # It was given one, and gives it back: usable if it was handed over, unopened if it was to be opened.
                self.model.give_back(asker, usable=self.model.held[asker].number in connected)

        connected = {each.number for each in self.pool.made if each.connected}
        self.forget_after(asker, action)

    @precondition(lambda self: self.model.held)
    @rule(data=st.data(), usable=st.booleans(), host=st.integers(0, HOSTS - 1))
    def time_is_over_in_the_turn_of_the_slot(self, data: st.DataObject, usable: bool, host: int) -> None:
        """A waiter's time is over, and in the same turn, before it runs, a connection comes free."""
        if any(each.host == host for each in self.model.idle) or self.model.may_open(host):
            return
        holder = self.holder(data)
        task = self.tasks.pop(self.new_task(host, Timeout(pool=0)))
        waiting = self.pool.stats().waiting

        def give() -> None:
            self.finish(holder, usable)
            self.model.give_back(holder, usable=usable)

        def action() -> None:
            assert self.pool.stats().waiting == waiting + 1
            # The waiter's timer is due in the next turn, and this one right behind it.
            self.loop.call_at(self.loop.time(), give)

        self.turn(action)
        assert isinstance(task.exception(), PoolTimeout)

    @precondition(lambda self: self.model.idle)
    @rule(data=st.data())
    def idle_connection_is_lost(self, data: st.DataObject) -> None:
        lost = data.draw(st.sampled_from(self.model.idle), "lost")

        def action() -> None:
            self.pool.made[lost.number].lose()
            self.model.lose(lost)

        self.turn(action)

    @precondition(lambda self: self.model.idle)
    @rule(data=st.data(), count=st.integers(1, 3))
    def idle_connections_are_found_stale(self, data: st.DataObject, count: int) -> None:
        """Nobody notices before somebody asks for them."""
        host = data.draw(st.sampled_from(self.model.idle), "of the host of").host

        def action() -> None:
            for lost in [each for each in self.model.idle if each.host == host][-count:]:
                self.pool.made[lost.number].stale = True
                self.model.idle.remove(lost)
            self.model.ask(self.new_task(host), host)

        self.turn(action)

    @precondition(lambda self: self.model.queue and self.model.held)
    @rule(data=st.data())
    def connection_goes_stale_on_its_way(self, data: st.DataObject) -> None:
        """It was good when it was handed over, and is not when its new owner runs: the owner gets a fresh one."""
        holder = self.holder(data)

        def action() -> None:
            connection = self.model.held[holder]
            self.finish(holder, True)
            self.model.give_back(holder, usable=True)
            for asker, got in self.model.held.items():
                if got is connection:
                    self.pool.made[connection.number].stale = True
                    self.model.make(asker, connection.host)

        self.turn(action)

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def connection_goes_stale_in_use(self, data: st.DataObject) -> None:
        """When it is given back it looks good, but the socket holds bytes that nobody asked for."""
        asker = self.holder(data)

        def action() -> None:
            connection = self.tasks[asker].result().connection
            waited_for = any(
                one[1] == self.model.held[asker].host or self.model.connections_to(one[1]) < self.model.max_per_host
                for one in self.model.queue
            )
            if waited_for:
                connection.stale = True
            self.finish(asker, True)
            self.model.give_back(asker, usable=not waited_for)

        self.turn(action)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.run_down()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(settle(6))
            self.loop.close()

    def run_down(self) -> None:
        # Nobody starves: whoever waits is served, when the others go one by one.
        while self.model.held:
            asker = min(self.model.held)

            def action(asker: int = asker) -> None:
                self.finish(asker, True)
                self.model.give_back(asker, usable=True)

            self.turn(action)
        assert not self.model.queue
        audit_quiet(self.pool)
        self.loop.run_until_complete(self.pool.close())
        audit_quiet(self.pool)
        assert self.pool.stats().open == 0
        assert not any(each.connected for each in self.pool.made)


@pytest.mark.parametrize("loop_name", sorted(LOOPS))
def test_pool_decides_as_the_model_does(loop_name: str, soak: bool) -> None:
    machine = type("Machine", (PoolMachine,), {"loop_name": loop_name})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=2000 if soak else 80,
            stateful_step_count=50,
            deadline=None,
            derandomize=not soak,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink) if soak else (Phase.generate,),  # shrinking takes minutes
        ),
    )


# --- limits, with real connections ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_connections", "max_per_host", "max_idle"])
@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (1.5, TypeError), ("3", TypeError), (True, TypeError)])
def test_limits_are_checked(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        Limits(**{name: value})


@pytest.mark.parametrize("name", ["max_connections", "max_per_host"])
def test_limit_of_no_connection_at_all_is_a_mistake(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0})
    assert Limits(max_idle=0).max_idle == 0


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (float("nan"), ValueError), ("60", TypeError)])
def test_keepalive_is_checked(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="keepalive"):
        Limits(keepalive=value)


def test_limits_by_default() -> None:
    assert Limits() == Limits(max_connections=100, max_per_host=None, max_idle=None, keepalive=60.0)
    assert ConnectionPool().limits == Limits()


class Gate(OriginServer):
    """Answers with the request's target, once its gate is open; notes how many it has at once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.gate = asyncio.Event()
        self.at_once = self.most = 0
        self.fallback = self._wait

    async def _wait(self, request: Any) -> Reply:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        return Reply(request.target.encode())


async def test_limits_hold_for_real_connections() -> None:
    async with Gate() as one, Gate() as other, ConnectionPool(Limits(max_connections=3, max_per_host=2)) as pool:
        urls = [f"{server.url}/x/{number}" for number in range(20) for server in (one, other)]
        tasks = [asyncio.create_task(fetch(pool, url)) for url in urls]
        await until(lambda: one.at_once + other.at_once == 3)
        audit(pool)
        assert (pool.stats().in_use, pool.stats().waiting) == (3, 37)
        one.gate.set()
        other.gate.set()
        bodies = await asyncio.gather(*tasks)
        assert bodies == [url.removeprefix(one.url).removeprefix(other.url).encode() for url in urls]
        assert one.most <= 2
        assert other.most <= 2
        audit_quiet(pool)
        assert pool.stats().open <= 3


async def test_hundred_connections_by_default() -> None:
    async with Gate(backlog=500) as server, ConnectionPool() as pool:
        tasks = [asyncio.create_task(fetch(pool, f"{server.url}/x/{number}")) for number in range(150)]
        await until(lambda: server.at_once == 100)
        await settle(10)
        assert server.connections == 100
        assert pool.stats().waiting == 50
        server.gate.set()
        await asyncio.gather(*tasks)
        assert server.connections == 100
        audit_quiet(pool)


async def test_no_limit_at_all() -> None:
    async with Gate(backlog=500) as server, ConnectionPool(Limits(max_connections=None)) as pool:
        tasks = [asyncio.create_task(fetch(pool, f"{server.url}/x/{number}")) for number in range(150)]
        await until(lambda: server.at_once == 150)
        server.gate.set()
        await asyncio.gather(*tasks)
        audit_quiet(pool)


async def test_waiters_are_served_in_order(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        tasks = [asyncio.create_task(fetch(pool, f"{http_server.url}/bytes/{number}")) for number in range(30)]
        bodies = await asyncio.gather(*tasks)
        assert [len(body) for body in bodies] == list(range(30))
        assert [request.target for request in http_server.requests] == [f"/bytes/{number}" for number in range(30)]
        assert http_server.connections == 1
        assert pool.stats().reused_total == 29
        audit_quiet(pool)


async def test_newcomer_does_not_overtake(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        first = await send(pool, f"{http_server.url}/bytes/1000000")
        waiting = asyncio.create_task(fetch(pool, f"{http_server.url}/bytes/1"))
        await until(lambda: pool.stats().waiting)
        await first.close()
        # The slot is the waiter's already, though it has not run yet.
        newcomer = asyncio.create_task(fetch(pool, f"{http_server.url}/bytes/2"))
        assert await waiting == b"\0"
        assert len(await newcomer) == 2
        assert [request.target for request in http_server.requests] == ["/bytes/1000000", "/bytes/1", "/bytes/2"]
        audit_quiet(pool)


async def test_busy_host_does_not_hold_up_another(http_server: OriginServer) -> None:
    """The per-host limit is that host's waiters' affair only."""
    async with Gate() as busy, ConnectionPool(Limits(max_connections=5, max_per_host=1)) as pool:
        tasks = [asyncio.create_task(fetch(pool, f"{busy.url}/x/{number}")) for number in range(10)]
        await until(lambda: busy.at_once)
        assert await fetch(pool, http_server.url) == b"hello"
        assert pool.stats().waiting == 9
        busy.gate.set()
        await asyncio.gather(*tasks)
        assert busy.connections == 1


async def test_longest_idle_of_another_host_makes_room() -> None:
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(OriginServer()) for _ in range(4)]
        pool = await stack.enter_async_context(ConnectionPool(Limits(max_connections=3)))
        for server in servers[:3]:
            await fetch(pool, server.url)
        await fetch(pool, servers[0].url)  # now the second one's has been idle for longest
        assert pool.stats().idle == 3
        await fetch(pool, servers[3].url)
        audit_quiet(pool)
        assert set(pool.stats().per_host) == {servers[number].url for number in (0, 2, 3)}
        assert pool.stats().open == 3
        await until(lambda: servers[1].open == 0)  # and it was told


async def test_max_idle(http_server: OriginServer) -> None:
    async with Gate() as server, ConnectionPool(Limits(max_idle=2)) as pool:
        tasks = [asyncio.create_task(fetch(pool, f"{server.url}/x/{number}")) for number in range(5)]
        await until(lambda: server.at_once == 5)
        server.gate.set()
        await asyncio.gather(*tasks)
        audit_quiet(pool)
        assert pool.stats().idle == 2
        await fetch(pool, http_server.url)
        assert pool.stats().idle == 2
        assert http_server.url in pool.stats().per_host  # the newest is kept


async def test_no_idle_ones(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_idle=0)) as pool:
        for _ in range(2):
            await fetch(pool, http_server.url)
            audit_quiet(pool)
            assert pool.stats().open == 0
        assert http_server.connections == 2


async def test_no_idle_ones_and_somebody_waits(http_server: OriginServer) -> None:
    """What goes straight to a waiter was never idle."""
    async with ConnectionPool(Limits(max_connections=1, max_idle=0)) as pool:
        await asyncio.gather(*(fetch(pool, http_server.url) for _ in range(5)))
        audit_quiet(pool)
        assert http_server.connections == 1


@pytest.mark.parametrize("tls", [False, True])
async def test_idle_ones_are_closed_when_their_time_is_over(
    http_server: OriginServer, https_server: OriginServer, client_ctx: Any, tls: bool
) -> None:
    """Without any traffic that would trigger it."""
    server = https_server if tls else http_server
    async with ConnectionPool(Limits(keepalive=0.05), ssl_context=client_ctx) as pool:
        await fetch(pool, server.url)
        assert pool.stats().idle == 1
        await until(lambda: pool.stats().open == 0)
        audit_quiet(pool)
        await until(lambda: server.open == 0)
        assert server.broken == []  # in good order
        assert await fetch(pool, server.url) == b"hello"
        assert server.connections == 2
        await until(lambda: pool.stats().open == 0)


async def test_idle_ones_expire_one_by_one() -> None:
    async with OriginServer() as one, OriginServer() as other, ConnectionPool(Limits(keepalive=0.1)) as pool:
        await fetch(pool, one.url)
        await asyncio.sleep(0.05)
        await fetch(pool, other.url)
        await until(lambda: one.url not in pool.stats().per_host)
        audit(pool)
        assert list(pool.stats().per_host) == [other.url]
        await until(lambda: pool.stats().open == 0)
        audit_quiet(pool)


async def test_expired_one_is_not_reused_though_the_loop_was_busy(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(keepalive=0.02)) as pool:
        await fetch(pool, http_server.url)
        time.sleep(0.04)
        await fetch(pool, http_server.url)
        assert http_server.connections == 2
        assert pool.stats().reused_total == 0


async def test_kept_without_end(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(keepalive=None)) as pool:
        await fetch(pool, http_server.url)
        audit_quiet(pool)
        assert pool.stats().idle == 1


async def test_connection_in_use_does_not_expire(raw_server: Any) -> None:
    go = asyncio.Event()
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    server = await raw_server([Request(), Send(ok), Request(), WaitFor(go), Send(ok), Hold()])
    async with ConnectionPool(Limits(keepalive=0.02)) as pool:
        await fetch(pool, server.url)
        task = asyncio.create_task(fetch(pool, server.url))
        await asyncio.sleep(0.05)
        go.set()
        assert await task == b"ok"
        assert server.connections == 1


# --- waiting and its end ----------------------------------------------------------------------------------------------


async def test_pool_timeout_says_who_holds_the_connections(raw_server: Any) -> None:
    server, other = await raw_server([Request(), Hold()]), await raw_server([Request(), Hold()])
    async with ConnectionPool(Limits(max_connections=2)) as pool:
        tasks = [
            asyncio.create_task(fetch(pool, server.url + "/oldest")),
            asyncio.create_task(fetch(pool, other.url + "/newer", "POST", b"x")),
        ]
        await until(lambda: server.requests and other.requests)
        with pytest.raises(PoolTimeout) as caught:
            await fetch(pool, server.url + "/third", timeout=Timeout(pool=0.02))
        text = str(caught.value)
        assert "2 of 2 connections are in use" in text
        assert f"1 of them to {server.url}" in text
        assert re.search(r"the oldest for \d+\.\d s by <Request GET", text)
        assert f"{server.url}/oldest" in text
        assert f"{server.url}/third" in text
        assert "0.02 s" in text
        assert caught.value.request.url.path == "/third"
        assert isinstance(caught.value, TimeoutError)
        audit(pool)
        assert pool.stats().waiting == 0
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        audit_quiet(pool)


async def test_pool_timeout_keeps_userinfo_to_itself(raw_server: Any) -> None:
    server = await raw_server([Request(), Hold()])
    url = f"http://user:secret@127.0.0.1:{server.port}/"
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        task = asyncio.create_task(fetch(pool, url))
        await until(lambda: server.requests)
        with pytest.raises(PoolTimeout) as caught:
            await fetch(pool, url, timeout=Timeout(pool=0))
        assert "secret" not in str(caught.value)
        task.cancel()
        await asyncio.wait({task})


async def test_pool_timeout_of_a_block(raw_server: Any) -> None:
    server = await raw_server([Request(), Hold()])
    async with ConnectionPool(Limits(max_connections=1), timeout=Timeout(pool=0.01)) as pool:
        async with pool.connection(server.url):
            with pytest.raises(PoolTimeout, match=r"1 of 1 connections.*exclusive use of http://127"):
                await pool.connection(server.url).__aenter__()
            audit(pool)
        audit_quiet(pool)


async def test_total_time_counts_while_waiting(raw_server: Any) -> None:
    server = await raw_server([Request(), Hold()])
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        task = asyncio.create_task(fetch(pool, server.url))
        await until(lambda: server.requests)
        with pytest.raises(TotalTimeout) as caught:
            await fetch(pool, server.url, timeout=Timeout(total=0.02))
        assert caught.value.request is not None
        task.cancel()
        await asyncio.wait({task})
        audit_quiet(pool)


async def test_no_time_for_waiting_is_no_hindrance_when_there_is_room(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        assert await fetch(pool, http_server.url, timeout=Timeout(pool=0)) == b"hello"


async def test_one_whose_time_is_over_is_not_served(raw_server: Any) -> None:
    go = asyncio.Event()
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    server = await raw_server([Request(), WaitFor(go), Send(ok), Request(), Send(ok), Hold()])
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        first = asyncio.create_task(fetch(pool, server.url + "/1"))
        hasty = asyncio.create_task(fetch(pool, server.url + "/2", timeout=Timeout(pool=0.01)))
        patient = asyncio.create_task(fetch(pool, server.url + "/3"))
        with pytest.raises(PoolTimeout):
            await hasty
        go.set()
        assert await asyncio.gather(first, patient) == [b"ok", b"ok"]
        assert [request.target for request in server.requests] == ["/1", "/3"]


async def test_failed_connection_lets_the_next_try(raw_server: Any, http_server: OriginServer) -> None:
    """Of another host, and of the same one."""
    server = await raw_server([])
    server.stop_listening()
    await settle()
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        tasks = [asyncio.create_task(fetch(pool, url)) for url in [server.url] * 3 + [http_server.url]]
        *failed, body = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in failed] == [ConnectError] * 3
        assert body == b"hello"
        audit_quiet(pool)


# --- what it costs ----------------------------------------------------------------------------------------------------


class Steps:
    """Counts the calls, of Python and of C functions, that the code within makes: not those of a garbage collection,
    of which hypothesis is told."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Steps:
        gc.disable()
        sys.setprofile(self._event)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def _event(self, frame: object, event: str, argument: object) -> None:
        self.count += event in ("call", "c_call")


async def hold(pool: StubPool, urls: list[str]) -> list[Any]:
    return [await send(pool, url) for url in urls]


async def many_idle(hosts: int, each: int) -> StubPool:
    """A pool with so many hosts, and so many idle connections to each."""
    pool = StubPool(Limits(max_connections=None, keepalive=None))
    for number in range(hosts):
        for response in await hold(pool, [f"http://host-{number}/"] * each):
            response.finish()
    assert pool.stats().idle == hosts * each
    return pool


async def steps_of(pool: StubPool, *urls: str) -> list[int]:
    """How many steps an exchange takes, the second time (caches are warm)."""
    counts = []
    for url in urls:
        for _ in range(2):
            request, its_context = build(url), context()
            with Steps() as steps:
                response: Any = await pool.send(request, its_context)
                response.finish()
        counts.append(steps.count)
    return counts


@pytest.mark.parametrize(("hosts", "each"), [(10_000, 1), (1, 10_000), (100, 100)])
async def test_exchange_costs_the_same_with_many_connections(hosts: int, each: int) -> None:
    few, many = await many_idle(10, 1), await many_idle(hosts, each)
    here, last, elsewhere = "http://host-0/", f"http://host-{hosts - 1}/", "http://host-new/"
    assert await steps_of(few, here, elsewhere) == await steps_of(many, here, elsewhere)
    assert await steps_of(few, here) == await steps_of(many, last)
    for pool in (few, many):
        await pool.close()


async def test_making_room_costs_the_same_with_many_connections() -> None:
    counts = []
    for size in (10, 10_000):
        pool = StubPool(Limits(max_connections=size, keepalive=None))
        for number in range(size):
            (response,) = await hold(pool, [f"http://host-{number}/"])
            response.finish()
        counts.append(await steps_of_strangers(pool))
        assert pool.stats().open == size
        await pool.close()
    assert counts[0] == counts[1]


async def steps_of_strangers(pool: StubPool) -> int:
    """Every one finds the pool full of other hosts' idle connections."""
    for number in range(3):
        request, its_context = build(f"http://stranger-{number}/"), context()
        with Steps() as steps:
            response: Any = await pool.send(request, its_context)
            response.finish()
    return steps.count


@pytest.mark.parametrize("per_host", [None, 2])
async def test_handing_over_costs_the_same_with_many_waiters(per_host: int | None) -> None:
    """Waiters of as many hosts as there are waiters, in a pool that is full."""
    counts = []
    for size in (10, 3_000):
        pool = StubPool(Limits(max_connections=2, max_per_host=per_host))
        held = await hold(pool, ["http://host-a/", "http://host-b/"])
        tasks = [asyncio.create_task(send(pool, f"http://host-{number}/")) for number in range(size)]
        await settle()
        assert pool.stats().waiting == size
        with Steps() as steps:
            held[0].finish()
            held[1].finish(keep_alive=False)
        counts.append(steps.count)
        await settle()
        assert [task.done() for task in tasks[:3]] == [True, True, False]
        await pool.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(each, PoolClosed) for each in results) == size - 2
    # A heap of many hosts is a little deeper, and its comparisons are no calls.
    assert counts[0] == counts[1]


async def test_many_hosts_leave_nothing_behind() -> None:
    pool = StubPool(Limits(max_connections=50), at_once=True)
    for number in range(20_000):
        await send(pool, f"http://host-{number}/")
    audit_quiet(pool)
    stats = pool.stats()
    assert (stats.open, stats.opened_total, stats.closed_total) == (50, 20_000, 19_950)
    assert len(stats.per_host) == 50
    assert containers(pool) <= 50
    await pool.close()
    assert containers(pool) == 0


def containers(pool: ConnectionPool) -> int:
    """The size of the largest thing that the pool keeps."""
    ledger = pool._ledger
    owners: list[Any] = [ledger, ledger.hosts, ledger.waiters]
    kept = [getattr(owner, name) for owner in owners for name in owner.__slots__ if name != "__weakref__"]
    return max(len(value) for value in kept if hasattr(value, "__len__"))


async def test_waiters_who_gave_up_leave_nothing_behind() -> None:
    """Though no connection has come free since: some by their time, some cancelled, each for another host."""
    pool = StubPool(Limits(max_connections=1))
    (held,) = await hold(pool, ["http://held/"])
    for round_ in range(50):
        tasks = [
            asyncio.create_task(
                send(pool, f"http://host-{round_}-{number}/", timeout=Timeout(pool=0 if number % 2 else 9))
            )
            for number in range(40)
        ]
        await settle()
        for task in tasks[::2]:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() or isinstance(task.exception(), PoolTimeout) for task in tasks)
        audit(pool)
    assert pool.stats().waiting == 0
    assert len(pool.stats().per_host) == 1
    assert containers(pool) < 300  # of 2,000 hosts
    held.finish()
    audit_quiet(pool)
    await pool.close()
    assert containers(pool) == 0


async def test_one_host_whose_waiters_give_up_again_and_again() -> None:
    pool = StubPool(Limits(max_connections=1))
    (held,) = await hold(pool, ["http://held/"])
    for _ in range(1000):
        with pytest.raises(PoolTimeout):
            await send(pool, "http://other/", timeout=Timeout(pool=0))
    audit(pool)
    assert containers(pool) < 200
    held.finish()
    await pool.close()
    audit_quiet(pool)


async def test_refused_after_close_leaves_nothing_behind() -> None:
    pool = StubPool()
    await pool.close()
    for number in range(10):
        with pytest.raises(PoolClosed):
            await send(pool, f"http://host-{number}/")
    audit_quiet(pool)
    assert pool.stats().per_host == {}


async def test_name_that_cannot_be_dialled_leaves_nothing_behind(http_server: OriginServer) -> None:
    """URLs allow a few characters in names that no host has; also not in the way of those who wait."""
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        with pytest.raises(InvalidURL):
            await send(pool, "http://a{b}/")
        audit_quiet(pool)
        holder = await send(pool, f"{http_server.url}/bytes/3000000")
        odd = asyncio.create_task(send(pool, "http://a{b}/"))
        next_one = asyncio.create_task(fetch(pool, f"http://localhost:{http_server.port}/"))
        await until(lambda: pool.stats().waiting == 2)
        await holder.read()
        with pytest.raises(InvalidURL):
            await odd
        assert await next_one == b"hello"
        audit_quiet(pool)
