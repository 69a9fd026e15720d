"""The values that travel between the floors: a request, the head of a response, and the route that a pool keys on."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterable, Iterable
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

from multidict import CIMultiDict, CIMultiDictProxy

from .errors import UnsupportedScheme
from .headers import EMPTY_HEADERS, Headers
from .url import URL, Origin, parse

if TYPE_CHECKING:
    import ssl

BytesLike: TypeAlias = bytes | bytearray | memoryview
Body: TypeAlias = BytesLike | str | IO[bytes] | IO[str] | Iterable[bytes] | AsyncIterable[bytes]
"""What may be sent as a body: bytes-like, str (latin-1), a file object, an iterable or async iterable of bytes."""

# RFC 9110 section 9.2.2.
IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})


class ResponseHead:
    """Status line and fields of one response (RFC 9112 sections 4 and 5). `version` is 10 or 11."""

    __slots__ = ("headers", "reason", "status", "version")

    def __init__(self, version: int, status: int, reason: str, headers: Headers) -> None:
        self.version = version
        self.status = status
        self.reason = reason
        self.headers = headers

    def __repr__(self) -> str:
        return f"<ResponseHead HTTP/1.{self.version - 10} {self.status} {self.reason}>"


class Proxy(NamedTuple):
    """A proxy to go through: where it is, and the Proxy-Authorization value that it alone gets."""

    origin: Origin
    authorization: str | None = None

    @classmethod
    def of(cls, url: str | URL | Proxy | None) -> Proxy | None:
        """The proxy that a URL names, e.g. ``"http://user:password@proxy.example:3128"``; userinfo is its basic
        credentials (RFC 7617). Raises `InvalidURL`, `UnsupportedScheme`."""
        if url is None or isinstance(url, Proxy):
            return url
        parsed = parse(url)
        if parsed.origin.scheme != "http":
            raise UnsupportedScheme(f"a proxy is reached over http, not {parsed.origin.scheme}: {parsed.origin}")
        authorization = None
        if (credentials := parsed.credentials) is not None:
            authorization = "Basic " + b64encode(":".join(credentials).encode()).decode()
        return cls(parsed.origin, authorization)

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The fields that the proxy gets, and nobody else."""
        return [] if self.authorization is None else [("Proxy-Authorization", self.authorization)]

    def __repr__(self) -> str:
        return f"<Proxy {self.origin}{' with credentials' if self.authorization else ''}>"


class Route(NamedTuple):
    """Which connections may serve a request: same origin, same proxy, same TLS identity. A pool keys on it.

    For a plain-http request through a proxy any connection to that proxy will do, so `origin` is then the proxy's.
    """

    origin: Origin
    proxy: Proxy | None = None
    context: ssl.SSLContext | None = None
    uds: str | None = None

    @property
    def tunnelled(self) -> bool:
        """Whether the proxy is asked for a tunnel by CONNECT (https) rather than to forward (http)."""
        return self.proxy is not None and self.origin.scheme == "https"

    def __str__(self) -> str:
        via = f" through {self.proxy.origin}" if self.proxy is not None else ""
        return f"{self.origin}{via}" + (f" on {self.uds}" if self.uds else "")


class Request:
    """One request as a value: nothing is opened or sent by making one.

    `method` and `headers` have been checked. `headers` has no Host field unless the caller set one: it is derived from
    `url`. `body` is bytes-like, an iterable or async iterable of bytes, or None. `field_lines` is `headers` in wire
    form when somebody has already made it (a client makes that of its default fields once).
    """

    __slots__ = ("body", "field_lines", "headers", "idempotent", "method", "url")

    def __init__(
        self,
        method: str,
        url: URL,
        headers: Headers = EMPTY_HEADERS,
        body: Any = None,
        *,
        field_lines: bytes | None = None,
        idempotent: bool | None = None,
    ) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.field_lines = field_lines
        self.idempotent = idempotent

    @property
    def replayable(self) -> bool:
        """Whether the body can be sent a second time exactly as the first."""
        return self.body is None or isinstance(self.body, bytes)

    @property
    def is_idempotent(self) -> bool:
        """Whether sending it twice has the effect of once (RFC 9110 section 9.2.2), or the caller said so."""
        if self.idempotent is not None:
            return self.idempotent
        return self.method in IDEMPOTENT_METHODS or "Idempotency-Key" in self.headers

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url.without_userinfo()}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A snapshot: a body that is a stream stays behind.
        body = self.body if self.replayable else None
        return _restore_request, (self.method, self.url, tuple(self.headers.items()), body, self.idempotent)


def _restore_request(
    method: str, url: URL, pairs: Iterable[tuple[str, str]], body: bytes | None, idempotent: bool | None
) -> Request:
    return Request(method, url, CIMultiDictProxy(CIMultiDict(pairs)), body, idempotent=idempotent)
