"""Who waits for slots: first come, first served, by each limit.

Whoever finds no slot waits in the queue of its host. Hosts that have somebody waiting and may have one more connection
stand in a heap by their longest-waiting: its top is the next that needs nothing but room in the pool.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from typing import TYPE_CHECKING

from ..errors import PoolTimeout, RequestTimeout, TotalTimeout
from ..messages import Request
from .hosts import NOBODY
from .timer import Timer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from ..config import Deadline
    from .hosts import Host, Hosts
    from .slot import Slot


class Waiter:
    """Somebody who waits for a slot, for `what`, until `by`. `number` is the order of arrival."""

    __slots__ = ("by", "deadline", "future", "host", "number", "what")

    def __init__(
        self,
        host: Host,
        number: int,
        future: asyncio.Future[Slot],
        what: object,
        by: float,
        deadline: Deadline,
    ) -> None:
        self.host = host
        self.number = number
        self.future = future
        self.what = what
        self.by = by
        self.deadline = deadline


class Waiters:
    """All who wait for a slot of one pool, in the queues of their hosts, and which of them is next."""

    __slots__ = ("__weakref__", "_arrivals", "_hosts", "_leased", "_max_per_host", "_timer", "count", "heap")

    def __init__(self, hosts: Hosts, leased: Mapping[Slot, None], max_per_host: int) -> None:
        self._hosts = hosts
        self._leased = leased
        self._max_per_host = max_per_host
        self._arrivals = 0
        self.count = 0
        self.heap: list[tuple[int, Host]] = []
        """The hosts to be served, by the number of their longest-waiting."""
        self._timer = Timer(self._expire)  # when somebody's time may be over

    # --- they come and go ---

    def join(self, host: Host, what: object, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> Waiter:
        """Stand at the end of the host's queue, until the deadline at most."""
        by = loop.time() + deadline.pool
        if deadline.at < by:
            by = deadline.at
        if by < self._timer.when:
            self._timer.arm(loop, by)
        self._arrivals = number = self._arrivals + 1
        waiter = Waiter(host, number, loop.create_future(), what, by, deadline)
        waiters = host.waiters
        if not waiters:
            self._hosts.keep(host)
            if waiters is NOBODY:
                host.waiters = waiters = OrderedDict()
        waiters[waiter] = None
        self.count += 1
        if not host.in_heap:
            self.enqueue(host)
        return waiter

    def give_up(self, waiter: Waiter) -> None:
        """Wait no longer; nothing if it was passed over already."""
        if waiter.host.waiters.pop(waiter, self) is None:
            self.count -= 1

    def pop(self, host: Host) -> Waiter:
        """Take the first out of the host's queue: it is served."""
        waiter, _ = host.waiters.popitem(last=False)
        self.count -= 1
        return waiter

    def fail(self, error: Callable[[object], Exception]) -> None:
        """Nobody is served any more: tell everybody, by the error for what it wanted."""
        for host in list(self._hosts.by_route.values()):
            for waiter in host.waiters:
                if not waiter.future.done():
                    waiter.future.set_exception(error(waiter.what))
        self.heap.clear()
        self._timer.cancel()

    # --- who is next ---

    def first(self, host: Host) -> Waiter | None:
        """The longest-waiting, past those who were cancelled, or whose time ended, and who have not run since."""
        waiters = host.waiters
        while waiters:
            waiter = next(iter(waiters))
            if not waiter.future.done():
                return waiter
            del waiters[waiter]
            self.count -= 1
        return None

    def next_host(self, host: Host) -> Host | None:
        """Whose waiter is next, if a connection to `host` has become free: the longest-waiting of those it can help."""
        first = self.first(host)
        if first is not None and (not (heap := self.heap) or (len(heap) == 1 and heap[0][1] is host)):
            return host  # there is no other: the fast way for who talks to one host
        top = self.top()
        if first is None:
            return top
        if top is None or first.number <= next(iter(top.waiters)).number:
            return host
        return top

    def top(self) -> Host | None:
        """The host whose longest-waiting is the next that needs only room in the pool."""
        heap = self.heap
        while heap:
            number, host = heap[0]
            first = self.first(host)
            if first is None or host.count >= self._max_per_host:
                heapq.heappop(heap)
                host.in_heap = False
                self._hosts.drop_if_empty(host)  # those whose time ended have not run yet
            elif first.number == number:
                return host
            else:
                heapq.heapreplace(heap, (first.number, host))
        return None

    def enqueue(self, host: Host) -> None:
        """Somebody waits for `host`: put it into the heap, if it may have one more connection."""
        if not host.in_heap and host.count < self._max_per_host:
            if len(self.heap) > 2 * len(self._hosts.by_route) + 64:
                self._drop_from_heap()
            host.in_heap = True
            heapq.heappush(self.heap, (next(iter(host.waiters)).number, host))

    def _drop_from_heap(self) -> None:
        """Let go of hosts whose waiters have all given up: half of the heap at least."""
        for _, host in self.heap:
            host.in_heap = bool(host.waiters)
        self.heap = [item for item in self.heap if item[1].in_heap]
        heapq.heapify(self.heap)

    # --- the end of their time ---

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Fail those whose time is over.

        It looks at everybody, so that nothing need be kept in the order of time. Where that takes long (0.3 µs each),
        the next look is not before twenty times as long, however often somebody's time ends: with 10,000 waiting an
        error may be 0.06 s late.
        """
        now = loop.time()
        soonest = math.inf
        hosts = self._hosts.by_route.values()
        for host in hosts:
            for waiter in host.waiters:
                if not waiter.future.done():
                    if waiter.by <= now + 0.001:  # uvloop counts whole milliseconds and may be early by one
                        waiter.future.set_exception(self._expiry(waiter, now))
                    elif waiter.by < soonest:
                        soonest = waiter.by
        looked_at = self.count + len(hosts)
        self._timer.not_before = now + 0.000_006 * looked_at if looked_at > 500 else 0.0
        if soonest < math.inf:
            self._timer.arm(loop, soonest)

    def _expiry(self, waiter: Waiter, now: float) -> RequestTimeout:
        error = waiter.deadline.expiry(PoolTimeout, now, f"waiting for a connection for {waiter.what}")
        if not isinstance(error, TotalTimeout):
            error.args = (f"{error.args[0]}: {self._holders(waiter.host, now)}",)
        if isinstance(waiter.what, Request):
            error.request = waiter.what
        return error

    def _holders(self, host: Host, now: float) -> str:
        """Who holds the connections."""
        leased = self._leased
        text = f"{len(leased)} of {self._hosts.open} connections are in use, {host.count} of them to {host.route}"
        oldest = next(iter(leased), None)
        if oldest is not None:
            text += f"; the oldest for {now - oldest.since:.1f} s by {oldest.what!r}"
        return text + f"; {self.count} are waiting"
