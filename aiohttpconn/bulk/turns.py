"""`Turns`: whose request is sent next, so that no host has more than its share under way, and none is forgotten."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..url import Origin
    from .result import MapResult
    from .spill import Spill

_AT_A_TIME = 100
"""Requests that are read back from the file in one go, at most."""


class Host:
    """One origin: how many of its requests are under way, and which wait (None if none ever did: a deque is 0.6 KiB);
    after those, `aside` of them in the `Spill`."""

    __slots__ = ("active", "aside", "listed", "origin", "queue")

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.active = 0
        self.aside = 0
        self.queue: deque[MapResult] | None = None
        self.listed = False


class Turns:
    """The requests that wait, by origin. Hosts that may have one more under way take turns; known is only who has any.

    - `per_host`: how many of an origin may be under way. `window`: how many should wait in memory.
    - `spill`: makes the file for what is put aside.
    """

    __slots__ = ("_hosts", "_make_spill", "_per_host", "_spill", "_window", "passed", "pending", "ready")

    def __init__(self, per_host: int, window: int, spill: Callable[[], Spill]) -> None:
        self._per_host = per_host
        self._window = window
        self._make_spill = spill
        self._spill: Spill | None = None
        self._hosts: dict[Origin, Host] = {}
        self.ready: deque[Host] = deque()
        """The hosts of which one may be sent now."""
        self.pending = 0
        """How many wait in memory."""
        self.passed = 0
        """How many were put aside as they came, because their hosts' were, since `put_aside`; none once one of these
        hosts has none left, and can use more."""

    def enter(self, job: MapResult, origin: Origin) -> bool:
        """Count a request in as under way if it may be sent now, else let it wait; whether it may."""
        host = self._hosts.get(origin)
        if host is None:
            host = self._hosts[origin] = Host(origin)
        job.host = host
        if host.active < self._per_host and not host.queue and not host.aside:
            host.active += 1
            return True
        self._wait(job, host)
        return False

    def put(self, job: MapResult, origin: Origin) -> None:
        """Let a request wait for its turn, even if that is now."""
        host = self._hosts.get(origin)
        if host is None:
            host = self._hosts[origin] = Host(origin)
        job.host = host
        self._wait(job, host)

    def _wait(self, job: MapResult, host: Host) -> None:
        if host.aside:
            self._spill_over(host, (job,))
            self.passed += 1
        else:
            if host.queue is None:
                host.queue = deque()
            host.queue.append(job)
            self.pending += 1
        if not host.listed and host.active < self._per_host:
            host.listed = True
            self.ready.append(host)

    def next(self) -> MapResult:
        """The next request of the host whose turn it is; there must be one that is `ready`."""
        host = self.ready.popleft()
        queue = host.queue or self._take_back(host)
        job = queue.popleft()
        self.pending -= 1
        host.active += 1
        if (queue or host.aside) and host.active < self._per_host:
            self.ready.append(host)
        else:
            host.listed = False
        return job

    def over(self, job: MapResult) -> None:
        """A request is no longer under way. Nothing happens the second time."""
        host = job.host
        if host is None:
            return
        job.host = None
        host.active -= 1
        self._look_at(host)

    def hold(self, job: MapResult) -> None:
        """A request that is under way has to wait, and so would all others of its host: none has a turn until then."""
        host = job.host
        if host is None:
            return
        host.active += self._per_host  # as if there were no room
        if host.listed:
            host.listed = False
            self.ready.remove(host)

    def release(self, job: MapResult) -> None:
        """It goes on."""
        host = job.host
        if host is None:
            return
        host.active -= self._per_host
        self._look_at(host)

    def _look_at(self, host: Host) -> None:
        if host.queue or host.aside:
            if not host.listed and host.active < self._per_host:
                host.listed = True
                self.ready.append(host)
        elif not host.active:
            self._hosts.pop(host.origin, None)

    # --- what is put aside ---

    def put_aside(self, most: int) -> None:
        """Put the requests of the hosts that have most of them aside, until `most` are left in memory. What comes for
        these hosts goes there as well, until all of it has been taken back. Raises what `Spill` does."""
        self.passed = 0
        waiting = [host for host in self._hosts.values() if host.queue]
        waiting.sort(key=_length, reverse=True)
        for host in waiting:
            if self.pending <= most:
                break
            queue, host.queue = host.queue, None
            assert queue
            self.pending -= len(queue)
            self._spill_over(host, queue)

    def _spill_over(self, host: Host, jobs: Collection[MapResult]) -> None:
        if self._spill is None:
            self._spill = self._make_spill()
        spill = self._spill
        before = len(spill.kept)
        spill.put(host, jobs)
        host.aside += len(jobs)
        self.pending += len(spill.kept) - before

    def _take_back(self, host: Host) -> deque[MapResult]:
        """The first that a host has aside, as many as there is room for and one at least."""
        spill = self._spill
        assert spill is not None
        before = len(spill.kept)
        queue = host.queue = deque(spill.take(host, max(1, min(_AT_A_TIME, self._window // 2 - self.pending))))
        for job in queue:
            job.host = host
        host.aside -= len(queue)
        if not host.aside:
            self.passed = 0
        self.pending += len(queue) - (before - len(spill.kept))
        return queue

    def give_back(self) -> bool:
        """A feed has some of what is aside back; False if there is no more. `clear` follows, and nothing else. Raises
        what `Spill` does."""
        return self._spill is not None and self._spill.give_back()

    def clear(self) -> None:
        """Forget who waits. Raises what `Spill` does, after that."""
        for host in self._hosts.values():
            host.queue = None
            host.aside = 0
            host.listed = False  # those under way may still be held
        self._hosts.clear()
        self.ready.clear()
        self.pending = 0
        try:
            while self.give_back():
                pass
        finally:
            self._spill = None


def _length(host: Host) -> int:
    return len(host.queue or ())
