"""`Fetch`: what the rooms above single requests (downloads, bulk fetching) need of a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from .client.response import Response
    from .config import Retry, Timeout
    from .headers import Headers
    from .loan import Loan
    from .messages import Request
    from .url import URL


class Fetched(Protocol):
    """A response whose body is still to be read, as `Client.stream` has it."""

    @property
    def status(self) -> int:
        """Status code."""
        ...

    @property
    def headers(self) -> Headers:
        """The fields."""
        ...

    @property
    def url(self) -> URL:
        """The URL that this is the response to, after redirects."""
        ...

    @property
    def request(self) -> Request:
        """What it is the response to, as it was sent: after redirects, signed, with cookies."""
        ...

    @property
    def asked(self) -> Request | None:
        """The same before it was signed and given cookies, where that makes a difference."""
        ...

    @property
    def trailers(self) -> Headers:
        """The fields that came after the body, once it has been read to its end."""
        ...

    def iter_raw(self, size: int | None = None) -> AsyncIterator[bytes]:
        """The body as it comes, content codings left on."""
        ...

    def iter_bytes(self, size: int | None = None) -> AsyncIterator[bytes]:
        """The decoded body as it comes."""
        ...

    def receive_ahead(self, size: int) -> None:
        """Have no more of the body than about so many bytes received before they are asked for."""
        ...

    def lend_socket(self) -> Loan | None:
        """The socket, to take what is left of the body from it; None where that cannot be done."""
        ...

    def raise_for_status(self) -> Any:
        """Raise `HTTPStatusError` for a 4xx or 5xx."""
        ...

    def close(self) -> Awaitable[None]:
        """Let go of the connection. Idempotent."""
        ...


class Fetch(Protocol):
    """A client, as seen from below."""

    @property
    def timeout(self) -> Timeout:
        """What holds for requests without one of their own."""
        ...

    @property
    def max_body(self) -> int | None:
        """Bytes that a body may have; None for no limit."""
        ...

    @property
    def headers(self) -> Headers:
        """The fields that go with every request."""
        ...

    @property
    def follow_redirects(self) -> bool:
        """Whether redirects are followed where the caller does not say."""
        ...

    @property
    def max_redirects(self) -> int:
        """How many of them."""
        ...

    @property
    def retries(self) -> Retry | None:
        """When requests are sent again where the caller does not say."""
        ...

    @property
    def holds_back(self) -> bool:
        """Whether requests may have to wait for rules of politeness."""
        ...

    @property
    def build_request(self) -> Callable[..., Request]:
        """Of a method, a URL (which may be relative where the client has a base) and keywords: the `Request`."""
        ...

    @property
    def send(self) -> Callable[..., Awaitable[Response]]:
        """Of a request and keywords: send it and read its response."""
        ...

    @property
    def send_for_links(self) -> Callable[..., Awaitable[Response]]:
        """`send`, but that the body of a redirect which is not followed is read only so far."""
        ...

    def stream(
        self, method: str, url: str | URL, *args: Any, **keywords: Any
    ) -> AbstractAsyncContextManager[Fetched, Any]:
        """`Client.stream`."""
        ...
