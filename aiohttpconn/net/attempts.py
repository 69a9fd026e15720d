"""What was tried on the way to one connection, and what came of it: for errors, and for the book of addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConnectError

if TYPE_CHECKING:
    from .address_book import AddressBook
    from .tcp import Address

_SHOWN = 4
"""How many attempts an error's text tells of; its cause has them all."""


class Attempt:
    """An attempt at one address, since when (the loop's time), and why it failed."""

    __slots__ = ("address", "error", "since")

    def __init__(self, address: Address, since: float) -> None:
        self.address = address
        self.since = since
        self.error: Exception | None = None

    @property
    def why(self) -> str:
        """What came of it."""
        return "no answer" if self.error is None else getattr(self.error, "strerror", None) or str(self.error)

    def __str__(self) -> str:
        where = self.address[1]
        return f"{where[0] if isinstance(where, tuple) else where}: {self.why}"


class Attempts:
    """The attempts of one connection, in the order in which they began. `book` is told what is to be avoided."""

    __slots__ = ("_all", "_book", "_delay", "winner")

    def __init__(self, book: AddressBook | None = None) -> None:
        self._all: list[Attempt] = []
        self._book = book
        self._delay = 0.25  # RFC 8305 section 5: Connection Attempt Delay
        self.winner: Address | None = None
        """The address that was connected to, where there were others."""

    def wait_for_each(self, delay: float | None) -> None:
        """How long an address has before others are tried. (With None, and with 0, that tells nothing of it.)"""
        self._delay = delay or self._delay

    def begin(self, address: Address, now: float) -> Attempt:
        """A new attempt."""
        attempt = Attempt(address, now)
        self._all.append(attempt)
        return attempt

    def given_up(self, now: float, *, time_is_over: bool = False) -> None:
        """What has said nothing in its full time is to be avoided, `time_is_over` or not: where it is, all the time
        that there was is a full one."""
        if self._book is None or not self._all:
            return
        full = min(self._delay, now - self._all[0].since) if time_is_over else self._delay
        for attempt in self._all:
            # Timers may be early by the clock's resolution.
            if attempt.error is None and attempt.address != self.winner and now - attempt.since >= 0.9 * full:
                self._book.failed(attempt.address, now)

    def turned_out_bad(self, now: float) -> None:
        """The address that was connected to does not do what it is there for."""
        if self._book is not None and self.winner is not None:
            self._book.failed(self.winner, now)

    def __bool__(self) -> bool:
        return bool(self._all)

    def __str__(self) -> str:
        texts = [str(attempt) for attempt in self._all[:_SHOWN]]
        if len(self._all) > _SHOWN:
            texts.append(f"and {len(self._all) - _SHOWN} more")
        return "; ".join(texts)

    def causes(self) -> ExceptionGroup[Exception]:
        """An exception for each, with a note of its address."""
        errors: list[Exception] = []
        for attempt in self._all:
            error = attempt.error or TimeoutError("no answer")
            error.add_note(f"when connecting to {shown(attempt.address)}")
            errors.append(error)
        return ExceptionGroup("connection attempts", errors)

    def failure(self) -> ConnectError:
        """The error for when all have failed. (They are forgotten: they hold on to frames that hold on to this.)"""
        failure = ConnectError(self._all[0].why if len(self._all) == 1 else str(self))
        numbers = {getattr(attempt.error, "errno", None) for attempt in self._all}
        if len(numbers) == 1:
            first = self._all[0].error
            failure.errno, failure.strerror = getattr(first, "errno", None), getattr(first, "strerror", None)
        failure.__cause__ = self.causes()
        self._all = []
        return failure


def shown(address: Address) -> str:
    """The address as text: ``"127.0.0.1:80"``, ``"[::1]:80"``, the path of a Unix socket."""
    where = address[1]
    if not isinstance(where, tuple):
        return str(where)
    host, port = where[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
