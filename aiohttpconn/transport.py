"""What a client sends its requests through. A `ConnectionPool` is one; doubles for tests are others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .config import UNSET, Deadline, Unset

if TYPE_CHECKING:
    from .messages import Proxy, Request
    from .response import HTTPResponse


class RequestContext:
    """What goes with a request on its way down, beside the request itself.

    - `deadline`: the limits of the exchange.
    - `proxy`: the proxy to go through, None for none, `UNSET` for the transport's own.
    """

    __slots__ = ("deadline", "proxy")

    def __init__(self, deadline: Deadline, proxy: Proxy | Unset | None = UNSET) -> None:
        self.deadline = deadline
        self.proxy = proxy


@runtime_checkable
class Transport(Protocol):
    """Sends requests. Every coroutine may be cancelled at every await, and then nothing stays behind."""

    async def send(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send a request and return the final response as soon as its head is there, its body still to be read.

        The caller reads the body to its end or closes the response.
        """
        ...

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...
