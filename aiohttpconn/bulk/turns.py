"""`Turns`: whose request is sent next, so that no host has more than its share under way, and none is forgotten."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..url import Origin
    from .result import MapResult


class Host:
    """One origin: how many of its requests are under way, and which wait (None if none ever did: a deque is 0.6 KiB)"""

    __slots__ = ("active", "listed", "origin", "queue")

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.active = 0
        self.queue: deque[MapResult] | None = None
        self.listed = False


class Turns:
    """The requests that wait, by origin. Hosts that may have one more under way take turns; known is only who has any.

    - `per_host`: how many of an origin may be under way.
    """

    __slots__ = ("_hosts", "_per_host", "pending", "ready")

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._hosts: dict[Origin, Host] = {}
        self.ready: deque[Host] = deque()
        """The hosts of which one may be sent now."""
        self.pending = 0
        """How many wait."""

    def enter(self, job: MapResult, origin: Origin) -> bool:
        """Count a request in as under way if it may be sent now, else let it wait; whether it may."""
        host = self._hosts.get(origin)
        if host is None:
            host = self._hosts[origin] = Host(origin)
        job.host = host
        if host.active < self._per_host and not host.queue:
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
        queue = host.queue
        assert queue
        job = queue.popleft()
        self.pending -= 1
        host.active += 1
        if queue and host.active < self._per_host:
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
        if host.queue:
            if not host.listed and host.active < self._per_host:
                host.listed = True
                self.ready.append(host)
        elif not host.active:
            self._hosts.pop(host.origin, None)

    def clear(self) -> None:
        """Forget who waits."""
        for host in self._hosts.values():
            host.queue = None
        self._hosts.clear()
        self.ready.clear()
        self.pending = 0
