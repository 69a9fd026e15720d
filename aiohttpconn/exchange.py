"""The seam between pool and connection: all that a pool needs of a connection of any version of HTTP.

`AsyncHTTPConnection` has one slot: one exchange at a time. A connection of a later version has more of them, enters
here, and changes neither pool nor client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .config import Deadline
    from .errors import HTTPException
    from .messages import Opening, Request, ResponseHead
    from .response import HTTPResponse


class ExchangeConnection(Protocol):
    """A connection on which exchanges can be started.

    One owner (a pool) calls these; none of them but `open` and `start` suspends. When `open` or `start` raises, or is
    cancelled, the connection is closed.
    """

    opening: Opening
    """How the connection was opened the last time. Whoever keeps it puts another in its place."""
    on_interim: Callable[[ResponseHead], Awaitable[None] | None] | None
    """Called with the head of each 1xx response; what it returns is awaited before the final response is returned."""
    on_change: Callable[[], None] | None
    """Called when, between exchanges, the connection was lost or something arrived that nobody asked for."""

    idle_limit: float
    """Seconds that the connection may be idle and used again. The owner sets it; it gets less when the peer says so."""

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that has not been closed, as far as is known."""
        ...

    def free_slots(self) -> int:
        """How many more exchanges can be started now; 0 when the connection cannot be used again."""
        ...

    async def open(self, deadline: Deadline) -> None:
        """Connect, tunnel and TLS included."""
        ...

    async def start(self, request: Request, deadline: Deadline, proxy_fields: bytes | None = None) -> HTTPResponse:
        """Send a request and return the final response once its head is there.

        `proxy_fields`: the request is for a proxy to forward: in absolute-form, with these fields (wire form) added.

        If the response is not over by then (`HTTPResponse.when_over` tells when it is), the slot is taken until it is.
        """
        ...

    def is_stale(self) -> bool:
        """Whether an idle connection must not be used: closed by the peer, or holding bytes nobody asked for."""
        ...

    def close_now(self) -> None:
        """Close an idle connection in order: TLS says goodbye. Waits for nothing."""
        ...

    def abort(self, error: HTTPException | None = None) -> None:
        """Close at once, in any state; drop what is unsent; wait for nothing. `error`: what a body that is being read
        ends with, in place of `ReadError`."""
        ...
