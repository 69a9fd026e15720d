"""Where a body from memory ends: as far as it was measured, where its sender says so, or where it breaks off."""

from __future__ import annotations

from ..errors import IncompleteRead
from ..headers import EMPTY_HEADERS, Headers
from ..wire.framing import CloseDecoder, LengthDecoder


class Truncated(Exception):
    """Raised by what makes a body: it breaks off here, as if the peer had closed."""


class Ending:
    """How the sender of a body ends it. It may do so before the reader is there."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.cut = False
        self.trailers = EMPTY_HEADERS


class KnownLength(LengthDecoder):
    """A body of known length, whose sender may give up."""

    __slots__ = ("_ending",)

    def __init__(self, length: int, ending: Ending) -> None:
        super().__init__(length)
        self._ending = ending

    def eof(self) -> None:
        super().eof()
        if not self.done and self._ending.failure is not None:
            self.error = self._ending.failure  # type: ignore[assignment]  # what a handler raises is handed on as it is


class Unmeasured(CloseDecoder):
    """A body that ends where its sender says so, as one in chunks does."""

    __slots__ = ("_ending", "_framed", "trailers")

    def __init__(self, ending: Ending, *, framed: bool) -> None:
        super().__init__()
        self._ending = ending
        self._framed = framed  # else its end is a close like any other
        self.trailers: Headers = EMPTY_HEADERS

    def eof(self) -> None:
        if self._ending.failure is not None:
            self.error = self._ending.failure  # type: ignore[assignment]  # as above
        elif self._ending.cut and self._framed:
            self.error = IncompleteRead(b"", None)
        else:
            self.trailers = self._ending.trailers
            self.done = True
