"""`Workers`: the tasks that send the requests of one map, and what they have to do and have done.

Every decision is made without suspending, by who has just become free: a worker that is through with a request takes
the next one itself, and ends when there is none; `pump` starts workers when there is again. So nothing is handed from
task to task, and a request costs a map 4 µs beside the 20 to 60 of building and sending it.

Bounds: `window` requests wait in memory, `concurrency` are under way, and as many again are done and not yet taken by
the consumer; nothing is read from the source, or sent, beyond that. When nothing of what waits can be sent, and more
could be, the source is read on: see `Lookahead`.

A request that has to wait for a rule of politeness is not under way meanwhile: it gives its place to another, and none
of its host's is begun until it goes (see `Slots`). So one of a host waits in the rules' line, where it stands among
those of other clients, and the rest in `Turns`. One that waits for another's answer, or to
be sent again, gives its place away, too, but for its host.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from ..config import UNSET
from ..errors import HTTPException, PoolClosed, TooManyRedirects
from .keywords import REDIRECTED, unfollowed
from .lookahead import AT_A_TIME, Lookahead
from .result import MapResult
from .source import Source
from .turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ..client.response import Response
    from ..fetch import Fetch
    from .checkpoint import Checkpoint
    from .slots import Slots
    from .source import Given, Requests
    from .spill import Spill


class Workers:
    """What one map has under way. See the module; `MapResults` is its consumer's side."""

    def __init__(
        self,
        fetch: Fetch,
        requests: Requests,
        checkpoint: Checkpoint | None = None,
        *,
        concurrency: int,
        per_host: int,
        window: int,
        ordered: bool,
        handle: Callable[[Response], Awaitable[Any]] | None,
        method: str,
        build: dict[str, Any],
        send: dict[str, Any],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.results: deque[MapResult] = deque()
        """Those that the consumer may have now."""
        self.failure: BaseException | None = None
        """What ended the map early: it is raised after the last result."""
        self._fetch = fetch
        self._concurrency = concurrency
        self._window = window
        self._handle = handle
        self._send = send
        self._turns = Turns(per_host, window, self._make_spill)
        self._lookahead = Lookahead(self.loop, self._look_on)
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots: Slots | None = None
        retries = send.get("retries", UNSET)
        if fetch.holds_back or (fetch.retries if retries is UNSET else retries) is not None:
            from .slots import Slots  # noqa: PLC0415 - most clients have nothing to wait for

            self._slots = Slots(self)
        self._waiting = 0  # without a slot
        self._under_way = 0
        self._held = 0  # under way, or done and not yet taken
        # In order, what is read can be sent: else those that are done could wait for one that may not be sent.
        self._most_held = sys.maxsize if ordered else 2 * concurrency
        self._most_ahead = concurrency + window if ordered else sys.maxsize
        self._read_ahead = 0  # read and not yet taken
        self._in_order: dict[int, MapResult] | None = {} if ordered else None
        self._next_turn = 0
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None  # of the reader, while there is none
        self.stopped = False
        self._source = Source(requests, checkpoint, partial(fetch.build_request, method, **build), self.pump, window)
        self.feed = self._source.feed
        # Whether redirects are the feed's.
        self._leads_on = self.feed is not None and "follow_redirects" not in send and fetch.follow_redirects
        self._reader: asyncio.Task[None] | None = None
        if self._source.stream is not None:
            self._reader = self.loop.create_task(self._read_all(self._source.stream))

    # --- the consumer's side ---

    async def wait(self) -> bool:
        """Wait for a result; False if there will be none any more."""
        while not self.results:
            if self.stopped:
                return False
            self.pump()
            if self.results:
                break
            if not self._under_way and not self._waiting and self._reader is None:
                return False
            self._waiter = waiter = self.loop.create_future()
            try:
                await waiter
            finally:
                self._waiter = None
        return True

    def take_result(self) -> MapResult:
        """The next result; there must be one."""
        self._held -= 1
        self._read_ahead -= 1
        return self.results.popleft()

    @property
    def is_full(self) -> bool:
        """Whether as much is under way as may be."""
        return self._under_way >= self._concurrency

    def pump(self) -> None:
        """Start workers as long as there is room for them, and something to do."""
        if self.stopped:
            return
        if self._slots is not None:
            self._slots.offer()
        while self._under_way < self._concurrency and (job := self._take()) is not None:
            task = self.loop.create_task(self._work(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._room is not None and (self.failure is not None or self._has_room()):
            self._let_read(self._room)

    async def end(self) -> None:
        """`stop`, and wait until all has ended. What was put aside goes back to its feed in pieces: 11 µs each."""
        self._cancel()
        tasks = list(self._tasks) if self._reader is None else [*self._tasks, self._reader]
        try:
            for _ in iter(self._turns.give_back, False):
                await asyncio.sleep(0)
        except OSError as error:
            self.failure = self.failure or error
        finally:
            self.stop()
        if tasks:
            await asyncio.wait(tasks)

    def stop(self) -> None:
        """Cancel everything, and let go of it."""
        self._cancel()
        if self.feed is not None:
            self.feed.give_back()
        self._forget_turns()

    def wind_up(self, error: HTTPException) -> None:
        """Nothing more is read: `error` comes after the results of what has been, however late they are taken."""
        self.failure = self.failure or error
        self.pump()

    def break_off(self, error: HTTPException) -> None:
        """Nothing more is sent, and what is under way is cancelled: `error` comes after the results that there are."""
        self.failure = self.failure or error
        self._cancel(but=asyncio.current_task())  # a `handle` may close the client

    def _cancel(self, but: asyncio.Task[Any] | None = None) -> None:
        """Have all tasks end, the first time."""
        if self.stopped:
            return
        self.stopped = True
        self._source.end()
        self._lookahead.stop()
        for task in [*self._tasks, self._reader]:
            if task is not None and task is not but:
                task.cancel()
        if self._slots is not None:  # what still waits for them was started by a request, and is not the map's
            self._slots.offer()
        self._notify()

    # --- what waits for the rules ---

    @property
    def may_send(self) -> bool:
        """Whether one more may be under way."""
        if self.stopped:
            return True
        # Once nothing more is read, who is to take the results may be waiting for all that has begun: see `wind_up`.
        return self._under_way < self._concurrency and (self._held < self._most_held or self.failure is not None)

    def count_in(self) -> None:
        """One more is under way."""
        self._under_way += 1
        self._held += 1

    def count_out(self) -> None:
        """One less is under way, and it has no result yet."""
        self._under_way -= 1
        self._held -= 1

    def look_again(self) -> None:
        """What was counted, and was none of the map's own requests, is over."""
        self.pump()
        if not self._under_way:
            self._notify()

    def begin_wait(self, job: MapResult | None) -> None:
        """A request has to wait: others take its place, none of them of the host of `job`."""
        self._waiting += 1
        if job is not None:
            self._turns.hold(job)
        self.pump()

    def end_wait(self, job: MapResult | None) -> None:
        """It waits no more."""
        self._waiting -= 1
        if job is not None:
            self._turns.release(job)
        self.pump()

    # --- what is to be done ---

    def _take(self) -> MapResult | None:
        """The next request to send, counted as under way; None if there is none now."""
        if self._held >= self._most_held or self._under_way >= self._concurrency or self.stopped:
            return None
        turns = self._turns
        job: MapResult | None
        try:
            if turns.ready:
                job = turns.next()
            else:
                job = self._read()
                if job is not None and turns.passed:
                    self._lookahead.found = True
        except Exception as error:  # what is aside cannot be written or read
            self._break_off(error)
            return None
        if job is not None:
            self._under_way += 1
            self._held += 1
            if self._room is not None and 2 * turns.pending <= self._window and self._has_room():
                self._let_read(self._room)
        elif self._is_held_up():
            self._lookahead.wait()
        return job

    def _let_read(self, room: asyncio.Future[None]) -> None:
        if not room.done():
            room.set_result(None)

    def _has_room(self) -> bool:
        return (
            self._turns.pending + self._waiting < self._window
            and self._turns.passed < AT_A_TIME
            and self._held < self._most_held
            and self._read_ahead < self._most_ahead
            and self.failure is None
        )

    def _is_held_up(self) -> bool:
        """Whether there would be more to send if there were room to read on."""
        return (
            not self._turns.ready
            and (self._source.may_have_more or self._reader is not None)
            and self._held < self._most_held
            and self._in_order is None
            and self.failure is None
            and not self._has_room()
        )

    def _look_on(self) -> None:
        """Make room by putting aside what cannot be sent."""
        if self.is_full or not self._is_held_up():
            return
        try:
            self._turns.put_aside(max(0, self._window // 2 - self._waiting))
        except Exception as error:
            self._break_off(error)
        self.pump()

    def _make_spill(self) -> Spill:
        from .spill import Spill  # noqa: PLC0415 - sqlite3, for whom it is too much

        return Spill(self._source.restored, self.feed)

    def _read(self) -> MapResult | None:
        """Read from the source until something can be sent at once."""
        if self._reader is not None or self.failure is not None:
            return None
        while self._has_room():
            try:
                job = self._source.next()
            except Exception as error:
                self.failure = error
                return None
            if job is None:
                return None
            self._read_ahead += 1
            if job.request is None:
                self._held += 1
                self._deliver(job)
            elif self._turns.enter(job, job.request.url.origin):
                return job
        return None

    async def _read_all(self, source: AsyncIterator[Given | MapResult]) -> None:
        """Read an asynchronous source to its end, no further ahead than `window`."""
        try:
            async for item in source:
                job = item if isinstance(item, MapResult) else self._source.job(item)
                self._read_ahead += 1
                if job.request is None:
                    self._held += 1
                    self._deliver(job)
                else:
                    self._turns.put(job, job.request.url.origin)
                    if self._turns.passed and self._turns.ready:
                        self._lookahead.found = True
                if self._under_way < self._concurrency:
                    self.pump()
                while not self._has_room():
                    if self.failure is not None:
                        return
                    self._room = self.loop.create_future()
                    try:
                        await self._room
                    finally:
                        self._room = None
        except Exception as error:
            self.failure = self.failure or error
        finally:
            try:
                if (close := getattr(source, "aclose", None)) is not None:
                    await close()
            finally:
                self._reader = None
                self._notify()

    # --- the work ---

    async def _work(self, job: MapResult | None) -> None:
        keywords, handle, leads_on, slots = self._send, self._handle, self._leads_on, self._slots
        send = self._fetch.send_for_links if leads_on else self._fetch.send
        try:
            while job is not None:
                assert job.request is not None
                try:
                    if leads_on:
                        keywords = unfollowed(job.request, self._send)
                    sending = send(job.request, **keywords)
                    job.response = response = await (sending if slots is None else slots.send(sending, job))
                    if leads_on and response.status >= 300:
                        self._lead_on(job, response)
                    if handle is not None and not job.led_on:
                        self._turns.over(job)  # the host is through with it
                        if self._turns.ready and self._under_way < self._concurrency:
                            self.pump()
                        job.value = await handle(response)
                except Exception as error:
                    self._failed(job, error)
                except asyncio.CancelledError as error:
                    if self.stopped or asyncio.current_task().cancelling():  # type: ignore[union-attr]
                        raise
                    self._failed(job, RuntimeError("what it waited for was cancelled, and not the map"), error)
                self._under_way -= 1
                self._turns.over(job)
                self._deliver(job)
                if slots is not None:
                    slots.offer()
                job = self._take()
            if self._room is not None or not self._under_way:
                self.pump()
                self._notify()
        except BaseException as error:
            if not self.stopped:
                self._under_way -= 1
                self._break_off(error)
            raise

    def _lead_on(self, job: MapResult, response: Response) -> None:
        """Have the feed see to where a redirect leads; what a client would raise instead is raised here."""
        assert self.feed is not None
        assert job.entry is not None
        assert job.request is not None
        if job.request.method not in REDIRECTED or not response.is_redirect:
            return
        try:
            following = response.next_request
            assert following is not None
            if len(job.entry.via) >= (most := self._fetch.max_redirects):
                raise TooManyRedirects(f"more than {most} redirects", history=(response,), doing=repr(job.request))
            self.feed.redirected(job.entry, response, following)
            job.led_on = True
        except HTTPException as error:
            job.response, error.request = None, job.request
            raise

    def _failed(self, job: MapResult, error: Exception, cause: BaseException | None = None) -> None:
        trace = error.__traceback__
        if cause is not None:
            error.__cause__ = cause
        elif trace is not None:
            error.__traceback__ = trace.tb_next  # without the worker's frame, which leads to everything
        job.error = error
        if isinstance(error, PoolClosed):
            self.failure = self.failure or error  # it would be the same with all that are left

    def _break_off(self, error: BaseException) -> None:
        """A worker was ended from outside: nothing more is sent."""
        if self.failure is None:
            cancelled = isinstance(error, asyncio.CancelledError)
            self.failure = RuntimeError("a task of the map was cancelled from outside") if cancelled else error
        self._forget_turns()
        self._source.end()
        self._notify()

    def _forget_turns(self) -> None:
        try:
            self._turns.clear()
        except OSError as error:
            self.failure = self.failure or error

    def _deliver(self, job: MapResult) -> None:
        in_order = self._in_order
        if job.led_on:
            self._held -= 1
            self._read_ahead -= 1
        if in_order is None:
            if job.led_on:
                return
            self.results.append(job)
        else:
            in_order[job.turn] = job
            turn = self._next_turn
            while (done := in_order.pop(turn, None)) is not None:
                if not done.led_on:
                    self.results.append(done)
                turn += 1
            self._next_turn = turn
            if not self.results:
                return
        if self._waiter is not None:
            self._notify()

    def _notify(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
