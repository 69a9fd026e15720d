"""What a client sends its requests through. A `ConnectionPool` is one; doubles for tests are others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .config import UNSET, Deadline, Unset

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from .messages import Opening, Request, ResponseHead
    from .proxy import Proxy
    from .response import HTTPResponse
    from .url import URL


class RequestContext:
    """What goes with a request on its way down, beside the request itself.

    - `deadline`: the limits of the exchange.
    - `proxy`: the proxy to go through, None for none, `UNSET` for the transport's own.
    - `observer`: who is told what happens on the way, None for nobody.
    - `leased_at`: the loop's time when the request got the right to a connection; None while it waits for one.
    """

    __slots__ = ("deadline", "leased_at", "observer", "proxy")

    def __init__(
        self, deadline: Deadline, proxy: Proxy | Unset | None = UNSET, observer: Observer | None = None
    ) -> None:
        self.deadline = deadline
        self.proxy = proxy
        self.observer = observer
        self.leased_at: float | None = None


class ProxyChoice(Protocol):
    """Who says which proxy to go through."""

    def choose_for(self, url: URL) -> Proxy | None:
        """The proxy for a request to that URL, None for none."""

    def came_to(self, proxy: Proxy | None, error: BaseException | None) -> None:
        """What a request through the proxy came to: a response (None), or an error."""


class Observer(Protocol):
    """Who is told what a transport does with a request. What these raise, the request fails with."""

    async def connected(self, request: Request, opening: Opening) -> None:
        """A connection was opened for the request."""

    async def reused(self, request: Request) -> None:
        """The request goes out on a connection that has served before."""

    def interim(self, request: Request, head: ResponseHead) -> Awaitable[None] | None:
        """A 1xx response came. What is to be awaited of it is awaited before the response is returned."""


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
