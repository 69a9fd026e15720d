"""Cancel at every await: a scenario is run again and again, each time cancelled one suspension later.

And a single call that is cancelled while the server has its request and has not answered.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import types
from typing import TYPE_CHECKING, Any

import pytest

from tests.auditing import settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from tests.servers.raw import RawServer


class Moment(enum.Enum):
    """When, about a suspension, the cancellation is delivered."""

    SUSPENDED = "while it waits: what it awaits has not happened"
    WOKEN = "in the turn in which what it awaits has happened, before it runs: the result is there and is lost"
    TWICE = "while it waits, and once more at the first suspension of its clean-up"


class Stepper:
    """Drives a coroutine and cancels its task about its `at`-th suspension (counted from 1)."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], at: int, moment: Moment) -> None:
        self.coroutine = coroutine
        self.at = at
        self.moment = moment
        self.suspensions = 0
        self.cancelled_at: int | None = None
        self.suspended_after_cancelling = False
        self.task: asyncio.Task[object] | None = None

    async def run(self) -> object:
        self.task = asyncio.current_task()
        return await self._drive()

    @types.coroutine
    def _drive(self) -> Generator[Any, Any, object]:
        try:
            waited_for = self.coroutine.send(None)
            while True:
                self._suspended(waited_for)
                try:
                    value = yield waited_for
                except GeneratorExit:
                    raise
                except BaseException as error:
                    waited_for = self.coroutine.throw(error)
                else:
                    waited_for = self.coroutine.send(value)
        except StopIteration as end:
            return end.value
        finally:
            self.coroutine.close()

    def _suspended(self, waited_for: Any) -> None:
        self.suspensions += 1
        if self.cancelled_at is not None and self.suspensions > self.cancelled_at:
            self.suspended_after_cancelling = True
            if self.moment is Moment.TWICE and self.suspensions == self.cancelled_at + 1:
                self._cancel()
        elif self.suspensions == self.at:
            if self.moment is Moment.WOKEN and waited_for is not None:
                # Added before the task's own wake-up, hence called before it. The wait may also end by other means
                # than this future (a task wakes only by it, so it does not).
                waited_for.add_done_callback(lambda _: self._cancel())
                self.cancelled_at = self.suspensions
            else:
                self._cancel()
                self.cancelled_at = self.suspensions

    def _cancel(self) -> None:
        assert self.task is not None
        self.task.cancel()


async def cancel_everywhere(
    scenario: Callable[[], Coroutine[Any, Any, object]],
    check: Callable[[], Awaitable[object] | object],
    *,
    limit: int = 500,
    seconds: float = 20.0,
) -> int:
    """Cancel `scenario` at its first suspension, then anew at its second, and so on until it completes undisturbed.

    Each suspension is met at every `Moment`. After each run the loop turns a little and `check()` is called (awaited if
    it is a coroutine function): it audits the pool and counts what is left. What the scenario starts as tasks of its
    own is not stepped.

    Args:
        scenario: makes the coroutine; called once for every run, so it starts from the beginning each time.
        check: raises if the run left anything behind.
        limit: the most suspensions that the scenario may have.
        seconds: how long one run may take before it counts as hanging.

    Returns:
        How many runs were cancelled. Assert that it is not 0.

    Raises:
        AssertionError: a run swallowed the cancellation, raised something else because of it, hung, or `check()` said
            so; or the scenario has more than `limit` suspensions. What the undisturbed scenario raises passes through.
    """
    cancelled = 0
    for moment in (Moment.SUSPENDED, Moment.WOKEN):
        for at in range(1, limit + 2):
            assert at <= limit, f"the scenario has more than {limit} suspensions"
            stepper = await _run(scenario, check, at, moment, seconds)
            if stepper.cancelled_at is None:
                break  # it completed before its at-th suspension
            cancelled += 1
            if stepper.suspended_after_cancelling and moment is Moment.SUSPENDED:
                stepper = await _run(scenario, check, at, Moment.TWICE, seconds)
                cancelled += stepper.cancelled_at is not None
    return cancelled


async def _run(
    scenario: Callable[[], Coroutine[Any, Any, object]],
    check: Callable[[], Awaitable[object] | object],
    at: int,
    moment: Moment,
    seconds: float,
) -> Stepper:
    stepper = Stepper(scenario(), at, moment)
    where = f"cancelled at suspension {at}, {moment.value}"
    task = asyncio.create_task(stepper.run())
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        stack = "".join(str(frame) for frame in task.get_stack())
        task.cancel()
        await asyncio.wait({task}, timeout=1)
        raise AssertionError(f"hung: {where} ({stack})")
    if stepper.cancelled_at is None:
        task.result()  # undisturbed: its own errors are the test's
    elif not task.cancelled():
        error = task.exception()
        if error is None:
            raise AssertionError(f"the cancellation was swallowed: {where}")
        raise AssertionError(f"{error!r} came out instead of CancelledError: {where}") from error
    await settle()
    try:
        verdict = check()
        if inspect.isawaitable(verdict):
            await verdict
    except AssertionError as error:
        error.add_note(where)
        raise
    return stepper


async def cancel_when_received(call: Coroutine[Any, Any, object], server: RawServer) -> None:
    """Start the call, and cancel it as soon as the server has its request: the cancellation must come out of it."""
    task = asyncio.create_task(call)
    while not server.requests:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
