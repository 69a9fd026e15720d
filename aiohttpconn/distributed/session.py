"""`Session`: one partition of a map, on the worker that serves it. A Dask actor: the caller calls its methods."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from ..bulk.feed import Entry
from .parcel import LedOn, loads, pack
from .process import this_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from ..client.client import Client
    from ..client.response import Response
    from ..download.result import Download
    from ..messages import Request
    from .parcel import Plan, Work
    from .process import Process

    Item: TypeAlias = tuple[int, Any, int]
    """What is to be done: its number, what was given, and how many redirects led to it."""

    Taken: TypeAlias = tuple[list[tuple[int, bytes]], bytes | None]
    """Results by number; and the pickled error of the session itself, after which there is nothing more."""

REPLY = 4 << 20
"""Bytes of results that one reply brings, and that wait for the next: a worker whose caller is slow is held up."""
_LOCKED = 15.0
"""Seconds for which a half file may be another download's: one of a caller that was killed, and began again at once, is
still under way where the loss has not been noticed."""
_LOOK_AGAIN = 0.5


class Session:
    """Does what it is fed, until it is stopped or its last reference goes: with the caller, in the end, who may be
    killed. Its methods are called by the worker's loop, and work in the process's own."""

    def __init__(self, plan: Plan) -> None:
        self._process = this_process()
        self._run = _Run(self._process, plan)

    async def start(self) -> bytes | None:
        """Begin; the pickled error if that cannot be done as the plan has it."""
        return await self._process.call(self._run.start())

    async def feed(self, items: list[Item]) -> None:
        """What is to be done."""
        self._process.loop.call_soon_threadsafe(self._run.feed, items)

    async def take(self, seconds: float) -> Taken:
        """Results, each once. Waits for one, at most so long; raises RuntimeError if it was stopped."""
        return await self._process.call(self._run.take(seconds))

    async def stop(self) -> None:
        """End what is under way."""
        await self._process.call(self._run.stop())

    def __del__(self) -> None:
        run = getattr(self, "_run", None)
        if run is not None:
            try:
                self._process.loop.call_soon_threadsafe(run.cancel)
            except RuntimeError:
                pass  # the loop is closed, and all of it with it


class _Run:
    """What the loop of the process has of a session; it does not hold the session."""

    def __init__(self, process: Process, plan: Plan) -> None:
        self._process = process
        self._plan = plan
        self._fed: asyncio.Queue[Item] = asyncio.Queue()
        self._feed = _Fed(self._fed, self._led_on)
        self._done: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> bytes | None:
        """See `Session`."""
        try:
            work: Work = loads(self._plan.work)
            client = await self._process.use(self._plan.client)
        except Exception as error:
            return pack(None, None, error, False)
        self._task = asyncio.get_running_loop().create_task(self._work(client, work))
        self._task.add_done_callback(lambda task: self._ready.set())
        return None

    def feed(self, items: list[Item]) -> None:
        """See `Session`."""
        for item in items:
            self._fed.put_nowait(item)
        if self._feed.wake is not None:
            self._feed.wake()

    async def take(self, seconds: float) -> Taken:
        """See `Session`."""
        if not self._done:
            self._ready.clear()
            assert self._task is not None
            if self._task.done():
                return [], self._failure(self._task)
            try:
                async with asyncio.timeout(seconds):
                    await self._ready.wait()
            except TimeoutError:
                return [], None
        taken: list[tuple[int, bytes]] = []
        size = 0
        while self._done and (not taken or size + len(self._done[0][1]) <= REPLY):
            taken.append(self._done.popleft())
            size += len(taken[-1][1])
        self._size -= size
        self._room.set()
        return taken, None

    def _failure(self, task: asyncio.Task[None]) -> bytes:
        if task.cancelled():
            raise RuntimeError("the session was stopped")
        error = task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, Exception):
            error = RuntimeError(f"a session came to {error!r}")
        return pack(None, None, error, False)

    def cancel(self) -> None:
        """End it, without waiting."""
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """See `Session`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    # --- the work ---

    async def _work(self, client: Client, work: Work) -> None:
        try:
            if work.kind == "map":
                await self._map(client, work)
            else:
                async with asyncio.TaskGroup() as group:
                    for _ in range(work.concurrency):
                        group.create_task(self._download(client, work.options))
        finally:
            await self._process.leave(self._plan.client)

    async def _map(self, client: Client, work: Work) -> None:
        feed = self._feed
        while True:
            feed.first = await self._fed.get()
            # It ends when there is nothing to do, and goes on from here.
            async with client.map(feed, concurrency=work.concurrency, handle=work.handle, **work.options) as results:
                async for result in results:
                    assert result.entry is not None
                    data = pack(result.response, result.value, result.error, work.handle is None)
                    await self._put(result.entry.number, data)

    def _led_on(self, number: int, response: Response, request: Request) -> None:
        self._add(number, pack(response, LedOn(request), None, False))

    async def _download(self, client: Client, options: dict[str, Any]) -> None:
        while True:
            number, (url, path), _ = await self._fed.get()
            try:
                data = pack(None, await _downloaded(client, url, path, options), None, False)
            except Exception as error:
                data = pack(None, None, error, False)
            await self._put(number, data)

    async def _put(self, number: int, data: bytes) -> None:
        while self._size >= REPLY:
            self._room.clear()
            await self._room.wait()
        self._add(number, data)

    def _add(self, number: int, data: bytes) -> None:
        self._done.append((number, data))
        self._size += len(data)
        self._ready.set()


async def _downloaded(client: Client, url: Any, path: str, options: dict[str, Any]) -> Download:
    from ..download.part_file import BeingWritten  # noqa: PLC0415 - not for maps

    patient = asyncio.get_running_loop().time() + _LOCKED
    while True:
        try:
            return await client.download(url, path, **options)
        except BeingWritten:
            if asyncio.get_running_loop().time() > patient:
                raise
        await asyncio.sleep(_LOOK_AGAIN)


class _Fed:
    """A `Feed` of what the caller sends: where a redirect leads is the affair of another worker, perhaps."""

    def __init__(self, queue: asyncio.Queue[Item], led_on: Callable[[int, Response, Request], None]) -> None:
        self.wake: Callable[[], None] | None = None
        self.first: Item | None = None
        self._queue = queue
        self._led_on = led_on

    def claim(self) -> None:
        """See `Feed`: the one map of a run reads it."""

    def take(self) -> Entry | None:
        """See `Feed`."""
        item, self.first = self.first, None
        if item is None:
            if self._queue.empty():
                return None
            item = self._queue.get_nowait()
        number, given, hops = item
        return Entry(0, number, given, via=(0,) * hops)

    def redirected(self, entry: Entry, response: Response, request: Request) -> None:
        """See `Feed`."""
        self._led_on(entry.number, response, request)

    def done(self, entry: Entry, finished: bool) -> None:
        """See `Feed`; the caller keeps account."""

    def give_back(self) -> None:
        """See `Feed`; the caller keeps account."""

    def set_aside(self, entry: Entry) -> None:
        """See `Feed`; nothing is held of what was taken."""

    def take_up(self, entry: Entry) -> None:
        """See `Feed`."""

    def put_back(self, entry: Entry) -> None:
        """See `Feed`; the caller keeps account."""

    async def settle(self) -> None:
        """See `Feed`; nothing is kept here."""
