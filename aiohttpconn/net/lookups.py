"""Look-ups of names: made once for all who ask, remembered for a while, and bounded in number and time."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Sequence
from copy import copy
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, NoReturn

from ..config import check_seconds
from .answers import Answer, Answers
from .resolve import Found, Resolver, checked_addresses, checked_resolver, system_lookup
from .threads import Threads

if TYPE_CHECKING:
    from .tcp import Address
    from .threads import Job


class _Lookup:
    """One look-up under way, and who waits for it since when."""

    __slots__ = ("began", "job", "key", "port", "result", "task", "timer", "waiters")

    def __init__(self, key: str, port: int, began: float) -> None:
        self.key = key
        self.port = port
        self.began = began
        self.job: Job | None = None
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.result: Answer | None = None
        self.waiters: dict[asyncio.Future[Answer], float] = {}

    @property
    def started(self) -> float | None:
        """When it began, None while it waits for a thread."""
        return self.began if self.job is None else self.job.started

    def answer(self, answer: Answer) -> None:
        """The end: hand the answer to all who wait."""
        self.result = answer
        self.job = None  # it refers to this, and what goes in circles waits for the collector
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(answer)


class CachingResolver:
    """A `Resolver` that asks once for all who want the same name, and remembers what it was told.

    - `ttl`: seconds that addresses are kept; at most, where the upstream knows better (`TimedResolver`; at least 1 s).
    - `negative_ttl`: seconds that it is remembered that a name has no address. A failure that may pass is remembered
      for at most one second.
    - `max_names`: how many names are remembered; the one looked up longest ago goes first.
    - `timeout`: seconds that a look-up may take, None for no limit; the time it waits for a thread does not count.
    - `threads`: how many look-ups by the system run at a time (not those of an `upstream`), begun as they are needed.
      One that has been at it for more than a second does not count, up to three times as many.
    - `stale_if_error`: seconds that addresses past their time still serve when looking them up again fails or takes too
      long (RFC 8767); None to do without. That a name no longer exists is no failure.
    - `upstream`: the resolver that is asked; None for the system. It stays its owner's to close.

    Names are told apart without regard to case; a trailing dot counts, since search lists apply only without one. Ports
    make no difference: an upstream is told the port that was asked for first. Each waiter may be cancelled by itself.
    A look-up by the system runs on when nobody waits for it any more, and what it finds is remembered.

    An idle resolver may be used from another event loop than before; one with look-ups under way may not.

    >>> import asyncio
    >>> async def main():
    ...     resolver = CachingResolver(ttl=300)
    ...     try:
    ...         return await resolver.resolve("localhost", 80)
    ...     finally:
    ...         await resolver.close()
    """

    def __init__(
        self,
        *,
        ttl: float = 60.0,
        negative_ttl: float = 5.0,
        max_names: int = 10_000,
        timeout: float | None = 5.0,
        threads: int = 32,
        stale_if_error: float | None = 300.0,
        upstream: Resolver | None = None,
    ) -> None:
        for name, value in (("ttl", ttl), ("negative_ttl", negative_ttl), ("stale_if_error", stale_if_error or 0)):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number of seconds, not {value!r}")
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number of seconds, not {value!r}")
        check_seconds("timeout", timeout)
        if timeout == 0:
            raise ValueError("timeout must be above 0, or None, not 0")
        if upstream is not None:
            checked_resolver("upstream", upstream)
        for name, number in (("max_names", max_names), ("threads", threads)):
            if isinstance(number, bool) or not isinstance(number, int):
                raise TypeError(f"{name} must be a whole number, not {number!r}")
            if number < 1:
                raise ValueError(f"{name} must be 1 or more, not {number!r}")
        self.timeout = timeout
        self.upstream = upstream
        self._threads = Threads(threads, name="aiohttpconn-lookup")
        self._answers = Answers(ttl, negative_ttl, stale_if_error or 0.0, max_names)
        self._lookups: dict[str, _Lookup] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many names are remembered."""
        return len(self._answers)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        return f"<CachingResolver {len(self._answers)} names, {len(self._lookups)} look-ups under way{state}>"

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of `host`, from memory if it may be.

        Raises `socket.gaierror` or another OSError when there is none, TimeoutError after `timeout`, RuntimeError when
        it was closed, and what else an upstream raises. (`Client` and `ConnectionPool` make `ResolveError` of the
        OSErrors.)
        """
        answer = self._answers.get(host.lower())
        if answer is None or answer.until <= monotonic():
            answer = await self._look_up(host, port)
        if answer.error is not None:
            _raise(answer.error)
        return answer.at(port)

    def clear(self) -> None:
        """Forget all names. Look-ups under way go on."""
        self._answers.clear()

    async def close(self) -> None:
        """Forget all, end what is under way, and refuse what comes. A thread within a look-up is not waited for."""
        self._closed = True
        self._threads.close()
        self.clear()
        lookups, self._lookups = self._lookups, {}
        tasks = []
        for lookup in lookups.values():
            if lookup.timer is not None:
                lookup.timer.cancel()
            lookup.answer(Answer.failed(OSError("the resolver was closed")))
            if lookup.task is not None:
                lookup.task.cancel()
                tasks.append(lookup.task)
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)  # an upstream that will not be cancelled does not hold this up

    # --- one look-up ---

    async def _look_up(self, host: str, port: int) -> Answer:
        key = host.lower()
        loop = asyncio.get_running_loop()
        if self._closed:
            raise RuntimeError("the resolver is closed")
        if loop is not self._loop:
            self._move_to(loop)
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._begin(host, key, port)
            if lookup.result is not None:
                return lookup.result  # tasks are eager here (Python 3.12), and the upstream did not wait
        waiter: asyncio.Future[Answer] = loop.create_future()
        lookup.waiters[waiter] = monotonic()
        if lookup.timer is None and self.timeout is not None:
            lookup.timer = loop.call_later(self.timeout, self._check_time, lookup)
        try:
            return await waiter
        finally:
            del lookup.waiters[waiter]
            if not lookup.waiters and self._lookups.get(key) is lookup:
                self._abandon(lookup)

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None and not self._loop.is_closed() and self._lookups:
            raise RuntimeError("the resolver has look-ups under way in another event loop")
        self._lookups.clear()  # those of a closed loop will not be answered
        self._loop = loop

    def _begin(self, host: str, key: str, port: int) -> _Lookup:
        lookup = _Lookup(key, port, monotonic())
        if self.upstream is None:
            lookup.job = system_lookup(self._threads, host, port, partial(self._found, lookup, None))
            self._lookups[key] = lookup
        else:
            self._lookups[key] = lookup
            lookup.task = asyncio.create_task(self._ask(lookup, self.upstream, host), name=f"look-up of {host}")
        return lookup

    async def _ask(self, lookup: _Lookup, upstream: Resolver, host: str) -> None:
        ttl: float | None = None
        found: Found
        try:
            timed = getattr(upstream, "resolve_with_ttl", None)
            if timed is not None:
                said = await timed(host, lookup.port)
                if not isinstance(said, (tuple, list)) or len(said) != 2:
                    raise TypeError(f"resolve_with_ttl() must return (addresses, seconds), not {said!r:.200}")
                addresses, ttl = said
            else:
                addresses = await upstream.resolve(host, lookup.port)
            found = checked_addresses(host, addresses), None
            if ttl is not None and not isinstance(ttl, (int, float)):
                raise TypeError(f"resolve_with_ttl() must tell the time in seconds or None, not {ttl!r:.200}")
        except asyncio.CancelledError:
            # By whoever closed or gave up; or the upstream was cancelled on its own.
            self._found(lookup, None, (None, OSError("the look-up was cancelled")))
            raise
        except Exception as error:
            found = None, error
        self._found(lookup, ttl, found)

    def _found(self, lookup: _Lookup, ttl: float | None, found: Found) -> None:
        """The end of a look-up: remember what came of it, and tell all who wait."""
        if self._lookups.get(lookup.key) is not lookup:
            return  # it was given up, or all is closed
        del self._lookups[lookup.key]
        if lookup.timer is not None:
            lookup.timer.cancel()
            lookup.timer = None
        now = monotonic()
        addresses, error = found
        if addresses:
            answer = self._answers.found(lookup.key, lookup.port, addresses, ttl, now)
        else:
            error = error or socket.gaierror(socket.EAI_NONAME, "it has no address")
            answer = self._answers.failure(lookup.key, error, now)
        lookup.answer(answer)

    # --- time and giving up ---

    def _check_time(self, lookup: _Lookup) -> None:
        """The timer of a look-up, which is set anew as long as somebody may have to be told that it took too long."""
        timeout = self.timeout
        assert timeout is not None
        assert self._loop is not None
        lookup.timer = None
        now = monotonic()
        started = lookup.started
        if started is None:
            due = now + timeout
        elif (due := started + timeout) <= now:
            if lookup.job is not None:
                self._threads.give_up(lookup.job)
            due = self._expire(lookup, started, timeout, now)
        if due < math.inf:
            lookup.timer = self._loop.call_later(due - now, self._check_time, lookup)

    def _expire(self, lookup: _Lookup, started: float, timeout: float, now: float) -> float:
        """Tell those who have waited long enough; when that will be so of the next."""
        late = None
        for waiter, since in lookup.waiters.items():
            due = max(since, started) + timeout
            if due > now:
                return due
            if late is None:
                error = TimeoutError(f"looking it up took more than {timeout:g} s")
                late = self._answers.stale(lookup.key, now) or Answer.failed(error)
            if not waiter.done():
                waiter.set_result(late)
        return math.inf

    def _abandon(self, lookup: _Lookup) -> None:
        """Nobody waits any more. What a thread has begun goes on; the rest ends."""
        job = lookup.job
        if job is not None:
            if job.started is not None:
                return
            self._threads.give_up(job)
            if not job.dropped:
                return  # it has just begun
        del self._lookups[lookup.key]
        if lookup.task is not None:
            lookup.task.cancel()
        if lookup.timer is not None:
            lookup.timer.cancel()


def _raise(error: Exception) -> NoReturn:
    """Raise one's own copy: an error that many raise would gather the tracebacks of all."""
    try:
        fresh = copy(error).with_traceback(error.__traceback__)
        if error.__cause__ is not None:
            fresh.__cause__ = error.__cause__
    except Exception:
        fresh = error
    try:
        raise fresh
    finally:
        del fresh, error  # they refer to this frame
