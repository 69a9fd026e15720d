"""`Dispatch`: hands requests to the workers that serve their hosts, takes the results, and does again what was lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ..bulk.feed import Feed
from ..messages import BytesLike, Request
from ..url import parse
from .cluster import POLL, SessionLost
from .parcel import unpack
from .partition import Partition, number_of
from .result import ClusterResult, WorkerLost

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from ..bulk.checkpoint import Checkpoint
    from ..url import URL
    from .cluster import Cluster, RemoteSession
    from .parcel import Plan

AT_ONCE = 200
"""Requests that are handed to a worker in one call."""
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
        *,
        kind: str,
        method: str,
        window: int,
        partitions: int | None,
        partition_of: Callable[[URL], str],
        ordered: bool,
    ) -> None:
        self.results: deque[ClusterResult] = deque()
        """Those that the consumer may have now."""
        self.failure: BaseException | None = None
        """What ended the map early: it is raised after the last result."""
        self.over = False
        self.feed: Feed | None = source if isinstance(source, Feed) else None
        self._cluster = cluster
        self._plan = plan
        self._source = source
        self._checkpoint = checkpoint
        self._kind = kind
        self._method = method
        self._window = window
        self._wanted = partitions
        self._partition_of = partition_of
        self._partitions: list[Partition] = []
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
        async with self._cluster:
            number = self._wanted or len(await self._cluster.workers())
            self._partitions = [Partition() for _ in range(number)]
            async with asyncio.TaskGroup() as group:
                for partition in self._partitions:
                    group.create_task(self._serve(partition))
                try:
                    await self._read()
                except Exception as error:  # the source's own: what it gave before is done
                    self.failure = error
                self._exhausted = True
                for partition in self._partitions:
                    partition.changed()
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
                    number = number_of(self._partition_of(job.request.url), len(self._partitions))
                    self._partitions[number].put(job)
                while self._held >= self._window * len(self._partitions):
                    self._room.clear()
                    await self._room.wait()

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
        if self._kind == "download" and isinstance(given, tuple):
            given, path = given
        job = ClusterResult(self._count, given, path)
        self._count += 1
        try:
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

    async def _serve(self, partition: Partition) -> None:
        """Have a worker serve a partition, and after its loss another one."""
        lost: str | None = None
        never_begun: tuple[str, ...] = ()
        while True:
            await partition.until(lambda: partition.waiting or self._exhausted)
            if not partition.waiting:
                return
            try:
                session = await self._open(partition, lost)
            except SessionLost as error:
                lost = str(error)
                never_begun += (lost,)
                if len(never_begun) >= LOSSES:  # the settings may be the cause
                    raise WorkerLost(never_begun, True) from error
                await asyncio.sleep(POLL / 5)
                continue
            never_begun = ()
            try:
                await self._exchange(partition, session)
            except* SessionLost:
                lost = session.worker
                self._take_back(partition, lost)
                session.release()
            finally:
                partition.worker = None
                await session.stop()

    async def _open(self, partition: Partition, lost: str | None) -> RemoteSession:
        """A session on the worker that serves the fewest partitions, and that is not the one that was lost."""
        workers = await self._cluster.workers()
        serving = [each.worker for each in self._partitions]
        partition.worker = min(workers, key=lambda worker: (worker == lost, serving.count(worker)))
        return await self._cluster.open(self._plan, partition.worker)

    async def _exchange(self, partition: Partition, session: RemoteSession) -> None:
        """Returns when there is nothing left to do. Raises a group of `SessionLost`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed(partition, session))
            group.create_task(self._take(partition, session))

    async def _feed(self, partition: Partition, session: RemoteSession) -> None:
        while True:
            await partition.until(lambda: len(partition.sent) < self._window if partition.waiting else self._exhausted)
            if not partition.waiting:
                return
            jobs = partition.send(min(AT_ONCE, self._window - len(partition.sent)))
            await session.feed([(job.turn, job.item(self._kind)) for job in jobs])

    async def _take(self, partition: Partition, session: RemoteSession) -> None:
        while True:
            await partition.until(lambda: partition.sent or (self._exhausted and not partition.waiting))
            if not partition.sent:
                return
            while len(self.results) >= self._window:  # the rest waits there
                self._room.clear()
                await self._room.wait()
            for number, data in await session.take():
                job = partition.brought(number)
                if job is not None:
                    job.response, job.value, job.error = unpack(data)
                    job.worker = session.worker
                    self._deliver(job)

    def _take_back(self, partition: Partition, worker: str) -> None:
        """What a lost worker had waits again, unless it may not be sent twice."""
        again = []
        for job in partition.take_back():
            job.lost += (worker,)
            assert job.request is not None
            if job.request.is_idempotent and len(job.lost) < LOSSES:
                again.append(job)
            else:
                job.error = WorkerLost(job.lost, job.request.is_idempotent)
                job.worker = worker
                self._deliver(job)
        partition.put_back(again)

    def _deliver(self, job: ClusterResult) -> None:
        if self._in_order is None:
            self.results.append(job)
        else:
            self._in_order[job.turn] = job
            while (done := self._in_order.pop(self._next_turn, None)) is not None:
                self.results.append(done)
                self._next_turn += 1
        if self.results:
            self._ready.set()
