"""Hedging: a second attempt beside one that takes long, and what becomes of the two."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .response import Response


_REFUSED = (401, 407, 429)
"""A signature that is good for one request only, or too many requests: the other attempt may fare better."""


CALLED_OFF = "called off: the other attempt was answered first"
"""The text of the CancelledError that ends an attempt which is not wanted any more."""


class Hedged(NamedTuple):
    """That there was a second attempt beside the first: how many seconds after it, and whether it answered first."""

    after: float
    won: bool


async def race(
    attempt: Coroutine[object, object, Response],
    again: Callable[[], Coroutine[object, object, Response]],
    after: float,
    departed: Callable[[], float | None],
    may_hedge: Callable[[], bool],
) -> Response:
    """Two attempts: the first good answer wins, the other attempt is cancelled. Without a good one it is any answer,
    then the error of the first attempt.

    The second begins `after` seconds after the first had a connection (`departed` says when by the loop's time, None
    while it waits for one), if it then may.
    """
    loop = asyncio.get_running_loop()
    running = [asyncio.create_task(attempt)]
    winner: asyncio.Task[Response] | None = None
    try:
        pause = after
        while not (await asyncio.wait(running, timeout=pause))[0]:
            since = departed()
            pause = after if since is None else since + after - loop.time()
            if pause > 0.001:  # uvloop counts whole milliseconds
                continue
            if may_hedge():
                running.append(asyncio.create_task(again()))
            break
        while not all(task.done() for task in running):
            await asyncio.wait([task for task in running if not task.done()], return_when=asyncio.FIRST_COMPLETED)
            if any(task.done() and _is_good(task) for task in running):
                break
        answered = [task for task in running if task.done() and task.exception() is None]
        winner = min(answered, key=lambda task: not _is_good(task), default=running[0])
        await _call_off([task for task in running if task is not winner], CALLED_OFF)
    except BaseException:
        await _call_off(running)
        raise
    if not answered and len(running) == 2:
        _note(running[0], f"the second attempt, {after:.3g} s later, came to", running[1])
    try:
        response = winner.result()
        if len(running) == 2:
            response.hedged = Hedged(after, winner is running[1])
        return response
    finally:
        del running, winner  # an error that its own traceback refers to is a circle


def _note(failed: asyncio.Task[Response], what: str, other: asyncio.Task[Response]) -> None:
    """Say in the error of one attempt what that of the other was."""
    error, second = failed.exception(), other.exception()
    assert error is not None
    error.add_note(f"{what}: {type(second).__name__}: {second}")


def _is_good(task: asyncio.Task[Response]) -> bool:
    """Whether an attempt that is over has brought what is worth to end the other for. One that is refused because there
    are too many (429), or that met a broken server (5xx), is not."""
    return task.exception() is None and not ((status := task.result().status) >= 500 or status in _REFUSED)


async def _call_off(tasks: list[asyncio.Task[Response]], why: str | None = None) -> None:
    """End attempts that are not wanted any more, and close what they may have brought meanwhile. Cancelled while it
    waits for them, it does so all the same."""
    for task in tasks:
        task.cancel(why)
    cancelled: asyncio.CancelledError | None = None
    for task in tasks:
        while not task.done():
            try:
                await asyncio.wait((task,))
            except asyncio.CancelledError as error:
                cancelled = error
        if not task.cancelled() and task.exception() is None:
            await task.result().close()
    if cancelled is not None:
        raise cancelled
