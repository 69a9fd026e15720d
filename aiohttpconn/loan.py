"""A connection's socket, lent to somebody who takes the rest of a body from it himself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .response import HTTPResponse


class Loan:
    """What is left of a body, to be read from the socket; made by `HTTPResponse.lend()`.

    A context manager, within which nothing is received by the event loop, nor timed. Leaving it in order gives the
    socket back, and the rest can be read as ever; leaving it by an exception aborts the connection.

    - `arrived`: what had been received, and comes before what the socket holds.
    - `descriptor`: a duplicate, the borrower's to close: it means this socket, whatever becomes of the connection. Not
      blocking. `left`: bytes that may be read from it.
    """

    __slots__ = ("_count", "_response", "_taken", "arrived", "descriptor", "left", "loss")

    def __init__(
        self,
        response: HTTPResponse,
        descriptor: int,
        arrived: list[bytes],
        left: int,
        count: Callable[[int], None] | None,
    ) -> None:
        self._response = response
        self._count = count
        self._taken = 0
        self.arrived = arrived
        self.descriptor = descriptor
        self.left = left
        self.loss: OSError | None = None
        """What reading from the socket failed with: it tells only once."""
        if count is not None:
            count(sum(map(len, arrived)))

    def took(self, size: int) -> None:
        """So many bytes have been read from the socket."""
        self.left -= size
        self._taken += size
        if self._count is not None:
            self._count(size)

    def __enter__(self) -> Loan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.take_back(None if error is not None else self._taken, self.loss)
