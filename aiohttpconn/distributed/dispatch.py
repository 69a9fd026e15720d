"""`Dispatch`: hands requests to the workers that serve their hosts, takes the results, and does again what was lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ..bulk.feed import Feed
from ..messages import BytesLike, Request
from ..url import URL, parse
from .cluster import POLL, SessionLost
from .parcel import LedOn, unpack
from .partition import Lane, Partitions
from .result import ClusterResult, WorkerLost

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from ..bulk.checkpoint import Checkpoint
    from .cluster import Cluster, RemoteSession
    from .parcel import Plan
    from .places import Places

AT_ONCE = 200
"""Requests that are handed to a worker in one call."""
PATIENCE = 10.0
"""Seconds that the workers which are there at the beginning are waited for before anything is handed out."""
_AHEAD = 4
"""How often `per_host` requests of one host its worker has: those under way, and some to go on with."""
LOSSES = 3
"""How many workers are lost to a request before it is held to be the cause."""


class Dispatch:
    """What one map has under way on a cluster; `ClusterResults` is its consumer's side."""

    def __init__(
        self,
        cluster: Cluster,
        plan: Plan,
        source: Any,
        checkpoint: Checkpoint | None,
        places: Places | None,
        *,
        method: str,
        window: int,
        per_host: int,
        partition_of: Callable[[URL], str],
        ordered: bool,
    ) -> None:
        self.results: deque[ClusterResult] = deque()
        """Those that the consumer may have now."""
        self.failure: BaseException | None = None
        """What ended the map early: it is raised after the last result."""
        self.over = False
        self.feed: Feed | None = source if isinstance(source, Feed) else None
        if self.feed is not None:
            self.feed.claim()
        self._cluster = cluster
        self._plan = plan
        self._source = source
        self._checkpoint = checkpoint
        self._places = places  # of downloads
        self._method = method
        self._window = window
        self._partition_of = partition_of
        self._partitions = Partitions((window + 1) // 2, _AHEAD * per_host)
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._never_begun: tuple[str, ...] = ()  # the workers lost since a session could be opened last
        self._in_order: dict[int, ClusterResult] | None = {} if ordered else None
        self._next_turn = 0
        self._count = 0  # read from the source
        self._held = 0  # read, and not yet consumed
        self._exhausted = False
        self._room = asyncio.Event()  # something was consumed, or the feed has more
        self._ready = asyncio.Event()  # there are results, or it is over
        self.loop = asyncio.get_running_loop()
        self.task = self.loop.create_task(self._run())
        self.task.add_done_callback(self._ended)

    # --- the consumer's side ---

    async def wait(self) -> bool:
        """Wait for a result; False if there will be none any more."""
        while not self.results:
            if self.over:
                return False
            self._ready.clear()
            await self._ready.wait()
        return True

    def consumed(self) -> None:
        """The consumer is through with a result."""
        self._held -= 1
        self._room.set()

    async def stop(self) -> None:
        """End what is under way, here and there."""
        if self.feed is not None:
            self.feed.wake = None
            self.feed.give_back()
        self.task.cancel()
        await asyncio.wait([self.task])

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            self.failure = error
        self.over = True
        self._ready.set()

    # --- the run ---

    async def _run(self) -> None:
        async with self._cluster, asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(group))
            try:
                await self._read()
            except Exception as error:  # the source's own: what it gave before is done
                self.failure = error
            self._exhausted = True
            while self._partitions.size:
                self._room.clear()
                await self._room.wait()
            for task in [watching, *self._serving.values()]:
                task.cancel()
        if self.failure is not None:
            raise self.failure

    async def _read(self) -> None:
        """Read the source, as far ahead as there is room."""
        async with aclosing(self._items()) as jobs:
            async for job in jobs:
                self._held += 1
                if job.request is None:
                    self._deliver(job)
                else:
                    self._put(job)
                while self._held >= self._window * max(1, len(self._partitions.lanes)):
                    self._room.clear()
                    await self._room.wait()

    def _put(self, job: ClusterResult) -> None:
        assert job.request is not None
        self._partitions.put(job, self._partition_of(job.request.url))

    async def _items(self) -> AsyncGenerator[ClusterResult, None]:
        source: Any = self._source
        if self.feed is not None:
            self.feed.wake = self._room.set
            while True:
                entry = self.feed.take()
                if entry is not None:
                    job = self._prepare(entry.request)
                    job.entry = entry
                    yield job
                elif not self._held:
                    return
                else:
                    self._room.clear()
                    await self._room.wait()
        elif self._checkpoint is not None:
            unfinished: Any = self._checkpoint.unfinished(source, self._prepare, self._window)
            async with aclosing(unfinished) as jobs:
                async for job in jobs:
                    yield job
        elif isinstance(source, AsyncIterable):
            iterator = aiter(source)
            try:
                async for given in iterator:
                    yield self._prepare(given)
            finally:
                if (close := getattr(iterator, "aclose", None)) is not None:
                    await close()
        else:
            for given in source:
                yield self._prepare(given)

    def _prepare(self, given: Any) -> ClusterResult:
        """What the source gave, as a request; an error if it is none that can be handed on."""
        path = None
        match given:
            case (url, path) if self._places is not None:
                given = url
        job = ClusterResult(self._count, given)
        self._count += 1
        try:
            if self._places is not None:
                if not isinstance(given, (str, URL)):
                    raise TypeError(f"an item is a URL, or a pair of URL and path, not {given!r}")
                job.path = self._places.of(job.index, given, path)
            if not isinstance(given, Request):
                # That which it is known by: the worker's client makes its own of what was given.
                job.request = Request(self._method, parse(given))
            elif given.body is None or isinstance(given.body, (str, BytesLike)):
                job.request = given
            else:
                raise TypeError("a request whose body is read as it is sent cannot be handed to a worker")
        except (ValueError, TypeError) as error:
            job.error = error
        return job

    # --- the workers ---

    async def _watch(self, group: asyncio.TaskGroup) -> None:
        """Have every worker serve, those that join later too, until it has gone."""
        workers = await self._cluster.workers()
        self._partitions.expect(workers)
        begin_without = self.loop.call_later(PATIENCE, self._partitions.expect, ())
        try:
            while True:
                for worker in workers:
                    if worker not in self._serving:
                        self._serving[worker] = group.create_task(self._serve(worker))
                await asyncio.sleep(POLL)
                workers = await self._cluster.workers_now()
                self._partitions.only(workers)
        finally:
            begin_without.cancel()

    async def _serve(self, worker: str) -> None:
        """Have a worker do what falls to it, until it is lost."""
        try:
            try:
                session = await self._cluster.open(self._plan, worker)
            except SessionLost as error:
                self._never_begun += (worker,)
                if len(self._never_begun) >= LOSSES and not self._partitions.lanes:  # the settings may be the cause
                    lost = ", ".join(self._never_begun)
                    raise RuntimeError(f"no worker serves, and these were lost as they began: {lost}") from error
                return
            self._never_begun = ()
            lane = Lane(worker)
            try:
                self._partitions.join(lane)
                self._room.set()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._feed(lane, session))
                    group.create_task(self._take(lane, session))
                    await lane.until(lambda: lane.gone)
                    raise SessionLost(worker)
            except* SessionLost:
                session.release()
                self._take_back(lane)
            finally:
                await session.stop()
        finally:
            self._partitions.missed(worker)
            del self._serving[worker]

    async def _feed(self, lane: Lane, session: RemoteSession) -> None:
        while True:
            await lane.until(lambda: lane.ready and self._partitions.room(lane))
            jobs = self._partitions.send(lane, min(AT_ONCE, self._partitions.room(lane)))
            lane.changed()
            await session.feed([(job.turn, job.item(), job.hops) for job in jobs])

    async def _take(self, lane: Lane, session: RemoteSession) -> None:
        while True:
            await lane.until(lambda: lane.sent)
            while len(self.results) >= self._window:  # the rest waits there
                self._room.clear()
                await self._room.wait()
            for number, data in await session.take():
                job = self._partitions.brought(lane, number)
                job.response, job.value, job.error = unpack(data)
                job.worker = lane.worker
                if isinstance(job.value, LedOn):
                    self._lead_on(job, job.value.request)
                else:
                    self._deliver(job)
            if not self._partitions.size:
                self._room.set()

    def _lead_on(self, job: ClusterResult, following: Request) -> None:
        """A redirect is the affair of the host to which it leads."""
        assert job.response is not None
        if job.entry is not None and self.feed is not None:
            self.feed.redirected(job.entry, job.response, following)
            job.led_on = True
            self._deliver(job)
            return
        job.led.append(job.response)
        job.following, job.response, job.value = following, None, None
        self._partitions.put(job, self._partition_of(following.url))

    def _take_back(self, lane: Lane) -> None:
        """What a lost worker had is to be done again, unless it may not be sent twice."""
        for job in self._partitions.lose(lane):
            job.lost += (lane.worker,)
            assert job.request is not None
            request = job.following or job.request
            if request.is_idempotent and len(job.lost) < LOSSES:
                self._partitions.put(job, self._partition_of(request.url))
            else:
                job.error = WorkerLost(job.lost, request.is_idempotent)
                job.worker = lane.worker
                self._deliver(job)
        self._room.set()

    def _deliver(self, job: ClusterResult) -> None:
        if job.led and job.response is not None:
            job.response.history = (*job.led, *job.response.history)
        if job.led_on:
            self.consumed()
        if self._in_order is None:
            if not job.led_on:
                self.results.append(job)
        else:
            self._in_order[job.turn] = job
            while (done := self._in_order.pop(self._next_turn, None)) is not None:
                if not done.led_on:
                    self.results.append(done)
                self._next_turn += 1
        if self.results:
            self._ready.set()
