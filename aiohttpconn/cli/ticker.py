"""How far a long run is, from time to time: a bar on a terminal, a line in a log."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from .progress import is_watched

_BAR = 0.2
_LINE = 10.0
"""Seconds from one to the next."""


class Counter(Protocol):
    """What is shown of a run."""

    def text(self) -> str:
        """What has been done, in a few words."""
        ...

    def share(self) -> float | None:
        """The share that has been done; None while that is not known."""
        ...


class _Bar(Protocol):
    def show(self, text: str, share: float | None) -> None: ...

    def close(self) -> None: ...


class _Lines:
    """Lines on standard error."""

    def show(self, text: str, share: float | None) -> None:
        if sys.stderr is not None:
            part = "" if share is None else f"{share:.0%}: "
            print(f"{part}{text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


@asynccontextmanager
async def shown(counter: Counter, *, quiet: bool) -> AsyncIterator[None]:
    """A block during which `counter` is shown, unless `quiet`."""
    if quiet:
        yield
        return
    bar, every = _shower()
    task = asyncio.get_running_loop().create_task(_tick(counter, bar.show, every))
    try:
        yield
    finally:
        task.cancel()
        bar.close()


async def _tick(counter: Counter, show: Callable[[str, float | None], None], every: float) -> None:
    while True:
        await asyncio.sleep(every)
        show(counter.text(), counter.share())


def _shower() -> tuple[_Bar, float]:
    if is_watched():
        try:
            from .bars import OneBar  # noqa: PLC0415 - rich, for who looks on
        except ImportError:
            pass
        else:
            return OneBar(), _BAR
    return _Lines(), _LINE
