"""Limits and waiters: who gets a connection, who waits, who is next, and what it costs to decide that.

The pool's decisions are compared with a model that decides the same by looking at everything, step by step, on
connections without sockets. What a pool does with real ones is in the other `test_pool_*` modules.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from aiohttpconn import Limits, PoolTimeout, Timeout
from tests.auditing import audit, audit_quiet, settle
from tests.conftest import LOOPS
from tests.exchanges import StubPool, StubResponse, build, context

if TYPE_CHECKING:
    pass

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
