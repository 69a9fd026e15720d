"""How far a download is: told to a function at most ten times a second, and shown as a bar."""

from __future__ import annotations

import inspect
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

BETWEEN: Final = 0.1
"""Seconds from one report to the next."""
_WINDOW: Final = 30
"""Reports that the speed is measured over: three seconds."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is. `done`: bytes that are there, those of earlier runs included; `total`: None while it is
    not known; `speed`: bytes per second of late, 0 in the first tenth of a second; `segments`: connections at work."""

    path: str
    done: int
    total: int | None
    speed: float
    segments: int

    @property
    def seconds_left(self) -> float | None:
        """How long it will take still, as far as that is known."""
        return (self.total - self.done) / self.speed if self.total is not None and self.speed else None


class Bar(Protocol):
    """Somebody who shows it."""

    def show(self, progress: Progress) -> None:
        """Show how far one file is, by its `path`."""

    def hide(self, path: str) -> None:
        """That file is complete, or has failed."""


class Meter:
    """Counts one file's bytes, and reports."""

    def __init__(self, on_progress: Callable[[Progress], object] | None, bar: Bar | None) -> None:
        if on_progress is not None and not callable(on_progress):
            raise TypeError(f"on_progress must be a function, not {on_progress!r}")
        if inspect.iscoroutinefunction(on_progress):
            raise TypeError(f"on_progress is called, not awaited: a coroutine function cannot be it: {on_progress!r}")
        self._on_progress = on_progress
        self._bar = bar
        self.watched = on_progress is not None or bar is not None
        """Whether anybody wants to know."""
        self.path = ""
        self.done = 0
        self.total: int | None = None
        self.segments = 0
        self._due = 0.0
        self._seen: deque[tuple[float, int]] = deque(maxlen=_WINDOW)

    def start(self, path: str, done: int, total: int | None) -> None:
        """It begins, or begins again."""
        self.path, self.done, self.total = path, done, total
        self._seen.clear()
        self._seen.append((monotonic(), done))

    def moved(self) -> None:
        """`done` has grown."""
        now = monotonic()
        if now >= self._due:
            self._due = now + BETWEEN
            self._report(now)

    def end(self, complete: bool) -> None:
        """It is over."""
        if complete and self.watched:
            self.total = self.done
            self._report(monotonic())
        if self._bar is not None and self.path:
            self._bar.hide(self.path)

    def _report(self, now: float) -> None:
        self._seen.append((now, self.done))
        then, before = self._seen[0]
        speed = (self.done - before) / (now - then) if now - then >= BETWEEN else 0.0  # what one piece says is nothing
        progress = Progress(self.path, self.done, self.total, max(speed, 0.0), self.segments)
        if self._on_progress is not None:
            self._on_progress(progress)
        if self._bar is not None:
            self._bar.show(progress)
