"""`MapResult`: what came of one of many requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..messages import Request
from ..url import without_password

if TYPE_CHECKING:
    from ..client.response import Response
    from ..url import URL
    from .feed import Entry
    from .turns import Host


class MapResult:
    """What came of one request of `Client.map`: a response, its body read, or an error.

    - `index`: the place in the source, from 0.
    - `given`: what the source gave: a str, a `URL` or a `Request`. `request`: the `Request` that was made of it; None
      if nothing could be (`error` says why).
    - `response`: the last response, after redirects; None if there is none.
    - `error`: what was raised, in place of a response or by `handle`; None if all went well.
    - `value`: what `handle(response)` returned.
    """

    __slots__ = ("entry", "error", "given", "host", "index", "key", "led_on", "request", "response", "turn", "value")

    def __init__(self, index: int, given: str | URL | Request) -> None:
        self.index = index
        self.given = given
        self.request: Request | None = None
        self.response: Response | None = None
        self.error: Exception | None = None
        self.value: Any = None
        # What follows is the map's own.
        self.turn = index  # the place among those that are sent
        self.host: Host | None = None
        self.entry: Entry | None = None  # what a feed gave
        self.led_on = False  # whether the response is a redirect, and the feed has where it leads
        self.key: int | None = None  # under which the checkpoint knows it

    @property
    def ok(self) -> bool:
        """Whether there is no error. A 404 is a response, and no error (see `Response.is_success`)."""
        return self.error is None

    @property
    def url(self) -> str:
        """The URL that was asked for, without user name and password; what was given, if it is none, without what may
        be them. (`response.url` is where redirects led.)"""
        if self.request is not None:
            url = self.request.url
            return url.without_userinfo().href if url.has_userinfo else url.href
        return without_password(str(self.given.url if isinstance(self.given, Request) else self.given))

    @property
    def depth(self) -> int:
        """How many links away from the start a `Frontier` found it; 0 with other sources."""
        return 0 if self.entry is None else self.entry.depth

    def unwrap(self) -> Response:
        """The response. Raises the error, if there is one."""
        if self.error is not None:
            raise self.error
        assert self.response is not None
        return self.response

    def __repr__(self) -> str:
        shown = f"{self.request.method} {self.request.url.shown}" if self.request is not None else "no request"
        if self.error is not None:
            return f"<MapResult {self.index} {shown}: {type(self.error).__name__}>"
        return f"<MapResult {self.index} {shown}: {'under way' if self.response is None else self.response.status}>"
