"""What is said on standard error: failures, files saved, and bars while they are on their way."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

EVERY: Final = 10.0
"""Seconds from one line about a file that is on its way to the next."""


def human_size(size: float) -> str:
    """
    >>> human_size(999), human_size(1048575), human_size(1536)
    ('999 B', '1.0 MiB', '1.5 KiB')
    """
    if size < 1024:
        return f"{size:.0f} B"
    units = iter(("KiB", "MiB", "GiB", "TiB"))
    unit = ""
    while size >= 1023.95 and unit != "TiB":
        size, unit = size / 1024, next(units)
    return f"{size:.1f} {unit}"


def one_line(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would obey (a server may have written it)."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def complain(text: str) -> None:
    """One line on standard error, in the program's name."""
    say("aiohttpconn", text)


def say(name: str, text: str) -> None:
    """One line on standard error, about what goes by this name."""
    if sys.stderr is not None:
        try:
            print(f"{one_line(name)}: {one_line(text)}", file=sys.stderr, flush=True)
        except OSError:  # there is nobody left to tell; else, Python would try again at its end, and exit with 120
            sys.stderr = None


def came(size: int, seconds: float) -> str:
    """How much came, and how fast.

    >>> came(3 << 20, 1.5)
    '3.0 MiB in 1.50 s, 2.0 MiB/s'
    """
    return f"{human_size(size)} in {seconds:.2f} s, {human_size(size / max(seconds, 1e-6))}/s"


class Meter:
    """Counts one download. `size`: what an earlier run had brought."""

    def __init__(self, report: Report, name: str, total: int | None, size: int = 0) -> None:
        self._report = report
        self.name = name
        self.total = total
        self.size = size
        self.began = monotonic()
        self._told = self.began, size  # when, and how much had come

    def advance(self, size: int) -> None:
        """So many bytes more have come."""
        self.size += size
        self._report.moved(self)

    def summary(self) -> str:
        """What came, and how fast."""
        return came(self.size, monotonic() - self.began)

    def news(self) -> str | None:
        """How far it is, if nothing was said of it for a while."""
        (then, before), now = self._told, monotonic()
        if now - then < EVERY:
            return None
        self._told = now, self.size
        share = f"{self.size / self.total:.0%}, " if self.total else ""
        return f"{share}{human_size(self.size)}, {human_size((self.size - before) / (now - then))}/s"

    def __enter__(self) -> Meter:
        self._report.begun(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._report.ended(self)
        if kind is None:
            self._report.saved(self.name, self.summary())


class Report:
    """Plain lines, what a log wants: one for each file that is over, and from time to time one for each that takes
    long. `quiet` leaves only the failures."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet

    def failed(self, text: str) -> None:
        """Something went wrong."""
        complain(text)

    def saved(self, name: str, text: str) -> None:
        """A file is whole; how it came to be."""
        self._say(name, text)

    def _say(self, name: str, text: str) -> None:
        if not self.quiet:
            say(name, text)

    def begun(self, meter: Meter) -> None:
        """A download begins."""

    def moved(self, meter: Meter) -> None:
        """More of it has come."""
        if not self.quiet and (news := meter.news()) is not None:
            self._say(meter.name, news)

    def ended(self, meter: Meter) -> None:
        """It is over, well or not."""

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the bars away."""


def is_watched() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()
