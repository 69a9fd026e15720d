"""`Partitions`: which worker serves which host, and what is to be done there. A host is a partition: one worker's."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from ..url import URL
    from .result import ClusterResult

REMEMBERED = 20_000
"""Hosts of which nothing is left to do, and whose worker is known all the same: that has their connections, cookies and
rules. 3 MB."""


def host_of(url: URL) -> str:
    """What a URL is partitioned by: its host, "www." left out, which a site has or has not."""
    return url.host.removeprefix("www.")


class _Host:
    """What is to be done at one host.

    - `sent`: how many its worker has. `lane`: its worker; None while it is nobody's. `queued`: whether it is among
      those that can go on.
    """

    __slots__ = ("key", "lane", "queued", "sent", "waiting")

    def __init__(self, key: str, lane: Lane | None) -> None:
        self.key = key
        self.lane = lane
        self.sent = 0
        self.queued = False
        self.waiting: deque[ClusterResult] = deque()


class Lane:
    """A worker, and what it has: `sent`, by number; `ready`, its hosts that can go on; `load`, how many requests are
    left to it, sent or not. `gone`: whether the cluster has it no more."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.sent: dict[int, tuple[ClusterResult, _Host]] = {}
        self.ready: deque[_Host] = deque()
        self.load = 0
        self.gone = False
        self.lost = False
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Have `until` look again."""
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()


class Partitions:
    """All hosts, and the workers that serve them.

    A host belongs to the worker that got its first request, until that is lost; one that nobody has begun goes to the
    worker with the least to do, when that has room. So who joins, or is through, takes what comes next.

    - `most`: how many requests a worker has at most. `most_of_host`: how many of them of one host, so that a slow one
      does not fill it.
    """

    def __init__(self, most: int, most_of_host: int) -> None:
        self.lanes: list[Lane] = []
        self.size = 0
        """How many requests are to be done."""
        self._most = most
        self._most_of_host = most_of_host
        self._hosts: dict[str, _Host] = {}  # those where something is to be done
        self._served: dict[str, Lane] = {}  # the others, those done last at the end
        self._unbegun: deque[_Host] = deque()
        self._expected: set[str] = set()

    # --- workers ---

    def expect(self, workers: Iterable[str]) -> None:
        """Nothing is handed out before these have joined: else all goes to the first."""
        self._expected = set(workers)
        self._allot()

    def join(self, lane: Lane) -> None:
        """One more."""
        self.lanes.append(lane)
        self.missed(lane.worker)

    def missed(self, worker: str) -> None:
        """It need not be waited for."""
        self._expected.discard(worker)
        self._allot()

    def only(self, workers: Collection[str]) -> None:
        """These are left: to the others it is said that they have gone."""
        for lane in self.lanes:
            if lane.worker not in workers:
                lane.gone = True
                lane.changed()

    def lose(self, lane: Lane) -> list[ClusterResult]:
        """What a worker had, which is not to be done any more unless it is `put` again; its hosts are nobody's."""
        lane.lost = True
        if lane in self.lanes:
            self.lanes.remove(lane)
        jobs = [job for job, _ in lane.sent.values()]
        self.size -= len(jobs)
        lane.sent.clear()
        for host in [each for each in self._hosts.values() if each.lane is lane]:
            host.lane, host.sent, host.queued = None, 0, False
            if host.waiting:
                self._queue(host)
            else:
                del self._hosts[host.key]
        self._allot()
        return jobs

    # --- requests ---

    def put(self, job: ClusterResult, key: str) -> None:
        """One more that is to be done."""
        host = self._hosts.get(key)
        if host is None:
            lane = self._served.pop(key, None)
            host = self._hosts[key] = _Host(key, None if lane is None or lane.lost else lane)
        host.waiting.append(job)
        self.size += 1
        if host.lane is not None:
            host.lane.load += 1
        if not host.queued and host.sent < self._most_of_host:
            self._queue(host)
        self._allot()

    def room(self, lane: Lane) -> int:
        """How many more a worker may have."""
        return self._most - len(lane.sent)

    def send(self, lane: Lane, most: int) -> list[ClusterResult]:
        """The next ones for a worker, its hosts in turn; counted as sent."""
        jobs: list[ClusterResult] = []
        while lane.ready and len(jobs) < most:
            host = lane.ready.popleft()
            job = host.waiting.popleft()
            host.sent += 1
            lane.sent[job.turn] = job, host
            jobs.append(job)
            host.queued = False
            if host.waiting and host.sent < self._most_of_host:
                self._queue(host)
        return jobs

    def brought(self, lane: Lane, number: int) -> ClusterResult:
        """One that a worker is through with."""
        job, host = lane.sent.pop(number)
        host.sent -= 1
        lane.load -= 1
        self.size -= 1
        if not host.waiting:
            if not host.sent:
                del self._hosts[host.key]
                self._served[host.key] = lane
                if len(self._served) > REMEMBERED:
                    del self._served[next(iter(self._served))]
        elif not host.queued:
            self._queue(host)
        self._allot()
        lane.changed()
        return job

    def _queue(self, host: _Host) -> None:
        host.queued = True
        if host.lane is None:
            self._unbegun.append(host)
        else:
            host.lane.ready.append(host)
            host.lane.changed()

    def _allot(self) -> None:
        """Give the hosts that are nobody's to the workers that have room."""
        while self._unbegun and self.lanes and not self._expected:
            lane = min(self.lanes, key=lambda each: (len(each.sent) + len(each.ready) >= self._most, each.load))
            if len(lane.sent) + len(lane.ready) >= self._most:
                return
            host = self._unbegun.popleft()
            host.lane = lane
            lane.load += len(host.waiting)
            lane.ready.append(host)
            lane.changed()
