"""The ledger of a pool: who owns which connection. It is decided here, and nowhere else.

**Ownership.** A connection is leased (one exchange, or one block with exclusive use, owns it), idle (the pool owns it),
or closed. These are all the ways from one to the other, and none of them suspends:

| from | to | by | when |
|---|---|---|---|
| nothing | leased | `lease_new` | there is room; connecting happens inside the slot, in the task of its owner |
| idle | leased | `slot_now` | a request comes; the newest idle one that is still alive |
| leased | leased | `take_back` | its owner is done, it can be used again, and somebody waits who is next |
| leased | idle | `take_back` | the same, and nobody waits |
| leased | closed | `take_back` | its exchange is not complete, its peer ends it, or it has lived long enough |
| leased | closed, then leased | `renew` | a reused connection was found dead: a fresh one takes its place |
| idle | closed | `remove` | it was lost, its time is over, another needs the room, or the pool is closed |

A slot returns itself, however its exchange ends: by `Slot.give_back`, which does nothing the second time.

How it is decided who gets what, so that no step looks at all connections:

- Whoever finds no slot waits (see `waiters.py`). When anything becomes free, who waited the longest of those whom it
  helps is served. So waiters are served in the order in which they came, by each limit.
- Idle connections stand in the order in which they became idle: the longest idle is closed first, to make room or
  because its time is over.
- While somebody waits only for room in the pool as a whole, no connection is idle; and while a connection to a host is
  idle, nobody waits for that host. So a newcomer can never overtake.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING

from ..config import UNSET
from ..errors import PoolClosed
from ..messages import Request
from .hosts import Hosts
from .lives import Lives, is_used_up
from .slot import CLOSED, IDLE, LEASED, Slot
from .timer import Timer
from .waiters import Waiters

if TYPE_CHECKING:
    from ..config import Deadline, Limits, Unset
    from ..errors import RemoteDisconnected, WriteError
    from ..proxy import Proxy
    from ..url import Origin
    from .hosts import Host
    from .ways import Ways


_QUIET_TURNS = 10
"""Turns of the loop without a leased connection after which nobody is taken to be about to lease one."""


class Ledger:
    """The connections of one pool, and who has them. Serves the event loop that it was first used on."""

    __slots__ = (
        "__weakref__",
        "_drained",
        "_lives",
        "_max_requests",
        "_ways",
        "aborted",
        "closed",
        "closed_total",
        "hosts",
        "idle",
        "leased",
        "loop",
        "max_connections",
        "max_idle",
        "max_per_host",
        "opened_total",
        "reused_total",
        "sweeper",
        "waiters",
    )

    def __init__(self, limits: Limits, ways: Ways) -> None:
        self._ways = ways
        self.max_connections = _number(limits.max_connections)
        self.max_per_host = _number(limits.max_per_host)
        self.max_idle = _number(limits.max_idle)
        self._max_requests = limits.max_requests
        self._lives = Lives(limits)
        self.hosts = Hosts()
        self.leased: dict[Slot, None] = {}  # in the order in which they were leased
        self.idle: OrderedDict[Slot, None] = OrderedDict()  # longest idle first
        self.waiters = Waiters(self.hosts, self.leased, self.max_per_host)
        self.opened_total = 0
        self.reused_total = 0
        self.closed_total = 0
        self.closed = False
        self.aborted = False
        """Closed, and what was going on is not to end by itself."""
        self._drained: asyncio.Future[None] | None = None  # while `drained` waits for what is going on
        self.loop: asyncio.AbstractEventLoop | None = None
        self.sweeper = Timer(self._sweep)
        """For when the time of an idle connection may be over."""

    def bind_loop(self) -> asyncio.AbstractEventLoop:
        """The running loop; RuntimeError if it is not the one that the pool was first used on."""
        loop = asyncio.get_running_loop()
        if self.loop is None:
            self.loop = loop
        elif self.loop is not loop:
            raise RuntimeError("the pool belongs to another event loop: use one pool (or client) for each loop")
        return loop

    def host(self, origin: Origin, proxy: Proxy | Unset | None) -> Host:
        """The host of the route to an origin; `proxy` is as in `RequestContext`."""
        route = self._ways.route(origin, proxy)
        host = self.hosts.of(route)
        if proxy is UNSET:
            self.hosts.direct[origin] = host
        return host

    def has_room(self, host: Host) -> bool:
        """Whether there is a slot without waiting."""
        if host.idle:
            return True
        return host.count < self.max_per_host and (self.hosts.open < self.max_connections or bool(self.idle))

    # --- slots, taken ---

    def slot_now(self, host: Host, what: object, now: float) -> Slot | None:
        """A slot without waiting: the newest idle connection, else room for a new one. Decided, not yet connected."""
        if self.closed:
            self.hosts.drop_if_empty(host)
            raise closed_error(what)
        idle = host.idle
        had_idle = bool(idle)
        while idle:
            slot, _ = idle.popitem()
            del self.idle[slot]
            slot.state = LEASED
            if now < slot.idle_until and not slot.connection.is_stale():
                slot.what = what
                slot.since = now
                self.leased[slot] = None
                self.reused_total += 1
                return slot
            self.remove(slot)
        if host.count >= self.max_per_host:
            return None
        if self.hosts.open >= self.max_connections:
            if not self.idle:
                return None
            self.remove(next(iter(self.idle)), in_order=True)
        slot = self.lease_new(host, what, now)
        if had_idle:
            slot.why = "the idle ones to it had been closed by the peer or kept for too long"
        return slot

    async def slot_later(self, host: Host, what: object, deadline: Deadline) -> Slot:
        """Wait for a slot in the host's queue."""
        loop = self.loop
        assert loop is not None
        waiter = self.waiters.join(host, what, deadline, loop)
        future = waiter.future
        try:
            slot = await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                # Cancelled in the very turn in which the slot came.
                future.result().give_back()
            else:
                self.waiters.give_up(waiter)
            self.hosts.drop_if_empty(host)
            raise
        if self.closed:
            slot.give_back()
            raise closed_error(what)
        if slot.used and slot.connection.is_stale():
            # Looked at now, not when it was handed over: others have had their turn since.
            self.reused_total -= 1
            self.renew(slot)
            slot.why = "the peer had closed the one that became free"
        return slot

    def lease_new(self, host: Host, what: object, now: float) -> Slot:
        """A slot with a new connection, for which there is room."""
        try:
            slot = Slot(self, host, self._ways.new_connection(host.route))
        except BaseException:  # a host name that URLs allow and connections do not, as in http://a{b}/
            self.hosts.drop_if_empty(host)
            raise
        slot.why = f"all {host.count} to it were in use" if host.count else "there was none to it"
        self.hosts.keep(host)  # its last connection may just have been found dead, and the host dropped
        host.count += 1
        self.hosts.open += 1
        self.opened_total += 1
        self._lives.begin(slot, now)
        return self._lease(slot, what, now)

    def renew(self, slot: Slot) -> None:
        """Put a fresh connection into a slot whose reused one turned out to be dead."""
        slot.connection.on_change = None
        slot.connection.abort()
        slot.connection = self._ways.new_connection(slot.host.route)
        slot.connection.on_change = slot.changed
        slot.used = False
        self.closed_total += 1
        self.opened_total += 1
        self._lives.begin(slot, self.loop.time())  # type: ignore[union-attr]

    def _lease(self, slot: Slot, what: object, now: float) -> Slot:
        slot.state = LEASED
        slot.what = what
        slot.since = slot.idle_since = now
        self.leased[slot] = None
        return slot

    # --- slots, given back ---

    def take_back(self, slot: Slot) -> None:
        """An owner is done. See `Slot.give_back`."""
        del self.leased[slot]
        slot.what = None
        connection = slot.connection
        if connection.on_interim is not None:
            connection.on_interim = None
        waiters = self.waiters
        if not connection.free_slots() or self.closed:
            self.remove(slot)
            self._serve()
        elif self._max_requests is not None and is_used_up(slot):
            self._retire(slot)
        elif not waiters.count or (host := waiters.next_host(slot.host)) is None:
            self._keep(slot)
        elif host is slot.host:
            now = self.loop.time()  # type: ignore[union-attr]
            if now >= slot.expires:
                self._retire(slot)
                return
            waiter = waiters.pop(host)
            self.reused_total += 1
            waiter.future.set_result(self._lease(slot, waiter.what, now))
        else:
            self.remove(slot)
            self._serve()

    def _keep(self, slot: Slot) -> None:
        """Nobody waits: the connection is idle from now on."""
        idle = self.idle
        if len(idle) >= self.max_idle:
            if not idle:  # none is to be kept
                self.remove(slot, in_order=True)
                return
            self.remove(next(iter(idle)), in_order=True)
        slot.idle_since = now = self.loop.time()  # type: ignore[union-attr]
        until = now + slot.connection.idle_limit
        if until > slot.expires:
            until = slot.expires
            if until <= now:
                self._retire(slot)
                return
        slot.idle_until = until
        slot.state = IDLE
        slot.host.idle[slot] = idle[slot] = None
        if until < self.sweeper.when:
            self.sweeper.arm(self.loop, until)  # type: ignore[arg-type]

    def _retire(self, slot: Slot) -> None:
        """A connection that could go on is closed when it becomes free: it has lived long enough."""
        self.remove(slot, in_order=True)
        self._serve()

    def forget_idle(self, slot: Slot) -> None:
        """An idle connection was lost."""
        self.remove(slot)
        self._serve()

    def remove(self, slot: Slot, in_order: bool = False) -> None:
        """Close a connection that nobody holds, and make room. `in_order`: TLS says goodbye."""
        if slot.state is CLOSED:
            return
        host = slot.host
        if slot.state is IDLE:
            self.idle.pop(slot, None)
            host.idle.pop(slot, None)
        slot.state = CLOSED
        connection = slot.connection
        connection.on_change = None
        if in_order:
            connection.close_now()
        else:
            connection.abort()
        host.count -= 1
        self.hosts.open -= 1
        self.closed_total += 1
        if host.waiters:
            self.waiters.enqueue(host)
        else:
            self.hosts.drop_if_empty(host)
        if self._drained is not None and not self.leased and not self._drained.done():
            self._drained.set_result(None)

    def _serve(self) -> None:
        """Let those who wait open connections, as far as there is room."""
        if self.closed:
            return
        waiters = self.waiters
        while waiters.count and (host := waiters.top()) is not None:
            if self.hosts.open >= self.max_connections:
                if not self.idle:
                    return
                self.remove(next(iter(self.idle)), in_order=True)
            waiter = waiters.pop(host)
            assert self.loop is not None
            try:
                waiter.future.set_result(self.lease_new(host, waiter.what, self.loop.time()))
            except Exception as error:
                waiter.future.set_exception(error)  # the waiter's affair, not of whoever gave a slot back

    # --- idle ones whose time is over ---

    def learn(self, slot: Slot, error: RemoteDisconnected | WriteError) -> None:
        """A connection was found dead when it was used again: those to the same host are not to be idle for as long."""
        limit = self._lives.found_dead(slot, error)
        if limit is None:
            return
        host = slot.host
        for other in self.leased:
            if other.host is host and limit < other.connection.idle_limit:
                other.connection.idle_limit = limit
        for other in host.idle:
            if limit < other.connection.idle_limit:
                other.connection.idle_limit = limit
                other.idle_until = until = min(other.idle_until, other.idle_since + limit)
                if until < self.sweeper.when:
                    self.sweeper.arm(self.loop, until)  # type: ignore[arg-type]

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the idle ones whose time is over.

        It looks at all of them, since each has a time of its own; where they are many, the next look is not before
        twenty times as long as this one took (0.1 µs each).
        """
        now = loop.time()
        soonest = math.inf
        looked_at = len(self.idle)
        for slot in list(self.idle):
            if slot.idle_until <= now + 0.001:  # uvloop counts whole milliseconds and may be early by one
                self.remove(slot, in_order=True)
            elif slot.idle_until < soonest:
                soonest = slot.idle_until
        self.sweeper.not_before = now + 0.000_002 * looked_at if looked_at > 500 else 0.0
        if soonest < math.inf:
            self.sweeper.arm(loop, soonest)

    # --- the end ---

    def stop(self) -> None:
        """No more requests: who waits is told, idle connections are closed. What is going on goes on."""
        self.closed = True
        self._ways.forget_sessions()
        self.waiters.fail(closed_error)
        self.sweeper.cancel()
        for slot in list(self.idle):
            self.remove(slot, in_order=True)

    async def drained(self, within: float | None) -> None:
        """Wait until nothing is going on any more, after `stop`; for `within` seconds at most, None for no limit."""
        if self._drained is None or self._drained.done():
            self._drained = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._drained], timeout=within)

    async def run_dry(self, within: float | None) -> None:
        """Keep nothing idle, and wait until nothing is leased and nobody waits; requests are served meanwhile."""
        loop = asyncio.get_running_loop()
        end = math.inf if within is None else loop.time() + within
        self.max_idle = 0
        for slot in list(self.idle):
            self.remove(slot, in_order=True)
        quiet = 0
        # Between one hop of a redirect and the next, nothing is leased for a turn of the loop or two.
        while quiet < _QUIET_TURNS and (left := end - loop.time()) > 0 and not self.closed:
            if self.leased:
                quiet = 0
                await self.drained(None if left == math.inf else left)
            else:
                quiet = 0 if self.waiters.count else quiet + 1
                await asyncio.sleep(0)

    def abort(self) -> None:
        """Abort what is going on, after `stop`: its owners hear of it, and give their slots back."""
        self.aborted = True
        for slot in list(self.leased):
            slot.connection.abort(closed_error(slot.what))


def closed_error(what: object) -> PoolClosed:
    """The error for who asked for `what`: a request, a text, or None."""
    error = PoolClosed("the pool is closed", doing=None if what is None else str(what))
    if isinstance(what, Request):
        error.request = what
    return error


def _number(limit: int | None) -> int:
    return sys.maxsize if limit is None else limit  # infinity would be a float: comparing takes longer
