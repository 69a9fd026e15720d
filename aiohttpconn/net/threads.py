"""Threads for calls of the system that block, and may block for a long time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

SLOW = 1.0
"""Seconds after which a job no longer counts among those that may run at a time."""


class Job:
    """One call that `Threads` is to make. `started` is when it began (`time.monotonic`), None while it is queued."""

    __slots__ = ("call", "dropped", "ended", "started", "stuck")

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.started: float | None = None
        self.ended = False
        self.dropped = False
        self.stuck = False


class Threads:
    """Daemon threads, made when there is work and ended when there is none.

    An executor of the standard library joins its threads when the interpreter exits: one `getaddrinfo` that hangs would
    hang the exit. These are left behind instead, and neither does `close()` wait for them.

    - `most`: how many may work at a time. A job that was given up, or has been at it for more than a second while
      others are queued, does not count, so that calls that hang do not keep the others from being made; up to four
      times `most` threads may exist for that reason.
    - `idle`: seconds after which a thread without work ends.
    """

    def __init__(self, most: int, *, name: str = "aiohttpconn", idle: float = 10.0) -> None:
        self._most = most
        self._name = name
        self._idle_seconds = idle
        self._queue: deque[Job] = deque()
        self._changed = threading.Condition()
        self._waiting = 0
        self._count = 0
        self._stuck = 0
        self._running: dict[Job, None] = {}  # those that count, the longest-running first
        self._closed = False

    def __len__(self) -> int:
        """How many threads there are."""
        return self._count

    def submit(self, call: Callable[[], object]) -> Job:
        """Have `call` made on a thread; it must not raise. Raises OSError if the system gives no thread."""
        job = Job(call)
        with self._changed:
            if self._closed:
                raise RuntimeError("the threads were ended")
            self._queue.append(job)
            if not self._serve() and not self._count:
                self._queue.pop()
                raise OSError("no thread can be started")
        return job

    def give_up(self, job: Job) -> None:
        """Nobody waits for the job any more: what is queued is not begun; beside what runs, another may run."""
        with self._changed:
            if job.ended or job.stuck:
                return
            if job.started is None:
                job.dropped = True
                return
            self._discount(job)
            if self._queue:
                self._serve()

    def close(self) -> None:
        """Drop what is queued and end the threads; those within a call end after it. Waits for nothing."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()

    def _discount(self, job: Job) -> None:
        job.stuck = True
        self._stuck += 1
        del self._running[job]

    def _serve(self) -> bool:
        """See to it that somebody takes what is queued; whether a thread is there for it, or will be."""
        if self._waiting:
            self._changed.notify()
            if self._waiting >= len(self._queue):
                return True
        # One more than may work: it watches over those that do, and takes over when one has been at it for too long.
        if self._count - self._stuck > self._most or self._count >= 4 * self._most:
            return True  # the next that is through takes it
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._count += 1
        try:
            thread.start()
        except RuntimeError:
            self._count -= 1
            return False
        return True

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job.call()
            with self._changed:
                job.ended = True
                self._stuck -= job.stuck
                self._running.pop(job, None)
            del job  # what it refers to is not kept until the next one comes

    def _next(self) -> Job | None:
        took_over = False
        with self._changed:
            while not self._closed:
                while self._queue and self._queue[0].dropped:
                    self._queue.popleft()
                if not self._queue:
                    if self._count - self._stuck > self._most + 1 or not self._wait(self._idle_seconds):
                        break
                elif len(self._running) < self._most:
                    job = self._queue.popleft()
                    job.started = monotonic()
                    self._running[job] = None
                    if took_over and self._queue:
                        self._serve()  # who watched works now: another is to watch
                    return job
                else:
                    longest = next(iter(self._running))
                    assert longest.started is not None
                    left = longest.started + SLOW - monotonic()
                    if left > 0:
                        self._wait(left)
                    else:
                        self._discount(longest)
                        took_over = True
            self._count -= 1
            return None

    def _wait(self, seconds: float) -> bool:
        """Wait for work, or for leave to do it; whether there may be some."""
        self._waiting += 1
        told = self._changed.wait(seconds)
        self._waiting -= 1
        return told or bool(self._queue)
