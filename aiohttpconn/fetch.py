"""What the rooms above one response (bulk, download) need of a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .client.response import Response
    from .messages import Request


class Fetch(Protocol):
    """Who makes requests and sends them: a `Client`."""

    @property
    def build_request(self) -> Callable[..., Request]:
        """Of a method, a URL (which may be relative where the client has a base) and keywords: the `Request`."""
        ...

    @property
    def send(self) -> Callable[..., Awaitable[Response]]:
        """Of a request and keywords: send it and read its response."""
        ...
