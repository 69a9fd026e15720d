"""What a test may leave behind: nothing. Counts of sockets and tasks, and the audit of a pool."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttpconn import ConnectionPool

GRACE = 1.0
"""Seconds that sockets and tasks get to go away: closing takes a loop turn or two, TLS and a thread a little longer."""


def open_sockets() -> frozenset[tuple[int, int]]:
    """The sockets that this process has open, as (file descriptor, inode)."""
    found = set()
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # the directory's own descriptor is gone by now
            entry = os.fstat(int(name))
            if stat.S_ISSOCK(entry.st_mode):
                found.add((int(name), entry.st_ino))
    return frozenset(found)


NAMELESS = "'' to ''"
"""How `describe_socket()` ends for one of a pair."""


def describe_socket(descriptor: int) -> str:
    """The socket's two addresses, as far as it tells them."""
    import socket

    try:
        borrowed = socket.socket(fileno=os.dup(descriptor))
    except OSError as error:
        return f"fd {descriptor}: {error}"
    with borrowed:
        ends = []
        for name in (borrowed.getsockname, borrowed.getpeername):
            try:
                ends.append(repr(name()))
            except OSError:
                ends.append("nobody")
        return f"fd {descriptor}: {' to '.join(ends)}"


def pending_tasks() -> frozenset[asyncio.Task[Any]]:
    """The running loop's unfinished tasks, but the one that asks."""
    return frozenset(asyncio.all_tasks() - {asyncio.current_task()})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Ground:
    """How the ground looked at one moment: which sockets and tasks there were. Made inside the loop."""

    sockets: frozenset[tuple[int, int]] = field(default_factory=open_sockets)
    tasks: frozenset[asyncio.Task[Any]] = field(default_factory=pending_tasks)

    def leftovers(self) -> list[str]:
        """What is there now and was not then, one line each."""
        now = open_sockets()
        fresh = [describe_socket(number) for number, _ in sorted(now - self.sockets)]
        # uvloop makes itself a new socket pair each time it is run, and a pytest fixture is a run of its own.
        for _ in range(min(2, len(self.sockets - now), sum(text.endswith(NAMELESS) for text in fresh))):
            fresh.remove(next(text for text in fresh if text.endswith(NAMELESS)))
        return [
            *(f"task still pending: {task!r}" for task in pending_tasks() - self.tasks),
            *(f"socket still open: {text}" for text in fresh),
        ]

    async def cleared(self, grace: float | None = None) -> list[str]:
        """Wait until nothing is left over, at most for `grace` seconds (`GRACE`); what is left over then."""
        await settle()
        loop = asyncio.get_running_loop()
        end = loop.time() + (GRACE if grace is None else grace)
        while (left := self.leftovers()) and loop.time() < end:
            await asyncio.sleep(0.005)
        return left


async def settle(turns: int = 3) -> None:
    """Let the loop turn: callbacks that are due, and the closes they bring, happen."""
    for _ in range(turns):
        await asyncio.sleep(0)


def audit(pool: ConnectionPool) -> None:
    """Assert every invariant of the pool: its own audit, and that its figures agree with each other."""
    pool.audit()
    stats = pool.stats()
    for name in ("open", "idle", "in_use", "waiting", "opened_total", "reused_total", "closed_total"):
        assert getattr(stats, name) >= 0, f"{name} is negative in {stats}"
    assert stats.opened_total - stats.closed_total == stats.open, f"opened less closed is not open in {stats}"
    assert stats.idle <= stats.open, f"more idle than open in {stats}"


def audit_quiet(pool: ConnectionPool) -> None:
    """`audit()`, and that nobody has or awaits a connection: every slot came back."""
    audit(pool)
    stats = pool.stats()
    assert stats.in_use == 0, f"a slot is still taken in {stats}"
    assert stats.waiting == 0, f"somebody still waits in {stats}"
    assert stats.idle == stats.open, f"an open connection is neither idle nor in use in {stats}"


class LoopComplaints:
    """What the loop's exception handler is told while a test runs: 'never retrieved' and errors in callbacks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.texts: list[str] = []
        self._previous: Callable[..., object] | None = None

    def __enter__(self) -> LoopComplaints:
        self._previous = self.loop.get_exception_handler()
        self.loop.set_exception_handler(self._record)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.loop.set_exception_handler(self._previous)

    def _record(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        about = {key: value for key, value in context.items() if key not in ("message", "exception")}
        self.texts.append(f"{context['message']}: {error!r} ({about})" if error else f"{context['message']} ({about})")

    def collect(self) -> list[str]:
        """Everything said so far, once what nobody refers to any more has been collected."""
        gc.collect()
        return self.texts
