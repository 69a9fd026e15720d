"""`Partition`: the requests of some hosts, that one worker at a time serves."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..url import URL
    from .result import ClusterResult


def host_of(url: URL) -> str:
    """What a URL is partitioned by: its host, "www." left out: most redirects between hosts are about that."""
    return url.host.removeprefix("www.")


def number_of(key: str, partitions: int) -> int:
    """The partition of a key. (`hash` would be another one in each process.)"""
    return crc32(key.encode()) % partitions


class Partition:
    """Requests that wait for their worker, and those that it has, by number.

    - `worker`: the address of the worker; None if none serves it.
    """

    def __init__(self) -> None:
        self.waiting: deque[ClusterResult] = deque()
        self.sent: dict[int, ClusterResult] = {}
        self.worker: str | None = None
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Have `until` look again."""
        self._changed.set()

    async def until(self, ready: Callable[[], object]) -> None:
        """Wait for a condition."""
        while not ready():
            self._changed.clear()
            await self._changed.wait()

    def put(self, job: ClusterResult) -> None:
        """One more that waits."""
        self.waiting.append(job)
        self._changed.set()

    def send(self, most: int) -> list[ClusterResult]:
        """The next ones, counted as sent."""
        jobs = [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]
        self.sent.update([(job.turn, job) for job in jobs])
        self._changed.set()
        return jobs

    def brought(self, number: int) -> ClusterResult | None:
        """One that the worker is through with; None if it was not there."""
        job = self.sent.pop(number, None)
        self._changed.set()
        return job

    def take_back(self) -> list[ClusterResult]:
        """Those that the worker had, and that it has not brought."""
        jobs = list(self.sent.values())
        self.sent.clear()
        return jobs

    def put_back(self, jobs: list[ClusterResult]) -> None:
        """These wait again, before all others."""
        self.waiting.extendleft(reversed(jobs))
