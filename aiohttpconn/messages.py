"""The values that travel between the floors: a request, the head of a response, and the route that a pool keys on."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

from multidict import CIMultiDict, CIMultiDictProxy, istr

from .config import UNSET, Unset
from .errors import BodyNotReplayable
from .headers import EMPTY_HEADERS, Headers, HeadersInput, check_method, header_pairs
from .unix_socket import shown_path
from .url import URL, Origin, parse

if TYPE_CHECKING:
    import ssl

    from .proxy import Proxy

BytesLike: TypeAlias = bytes | bytearray | memoryview
Body: TypeAlias = BytesLike | str | IO[bytes] | IO[str] | Iterable[bytes] | AsyncIterable[bytes]
"""What may be sent as a body: bytes-like, str (latin-1), a file object, an iterable or async iterable of bytes."""
_Fields: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

_SET_COOKIE = istr("Set-Cookie")
_IN_MEMORY = (bytes, str, bytearray, memoryview)

# RFC 9110 section 9.2.2.
IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
_METHODS = IDEMPOTENT_METHODS | {"POST", "PATCH"}


class ResponseHead:
    """Status line and fields of one response (RFC 9112 sections 4 and 5). `version` is 10 or 11."""

    __slots__ = ("headers", "reason", "set_cookie", "status", "version")

    def __init__(self, version: int, status: int, reason: str, headers: Headers) -> None:
        self.version = version
        self.status = status
        self.reason = reason
        self.headers = headers
        self.set_cookie: list[str] | None = headers.getall(_SET_COOKIE, None)
        """The values of Set-Cookie, None without one: looked up once, since heads repeat and are parsed once."""

    def __repr__(self) -> str:
        return f"<ResponseHead HTTP/1.{self.version - 10} {self.status} {self.reason}>"


class Opening:
    """How a connection came to be: why none was reused, and how many seconds each step took; None where there was none.

    `lookup` is the name's, `connect` TCP's (or the Unix socket's), `tunnel` the proxy's answer to CONNECT, `tls` the
    handshake. `proxy_answered`: whether the proxy has said anything yet; None without one.
    """

    __slots__ = ("connect", "lookup", "proxy_answered", "tls", "tunnel", "why")

    def __init__(self) -> None:
        self.why = ""
        self.lookup: float | None = None
        self.connect: float | None = None
        self.tunnel: float | None = None
        self.tls: float | None = None
        self.proxy_answered: bool | None = None

    def __repr__(self) -> str:
        steps = [(name, getattr(self, name)) for name in ("lookup", "connect", "tunnel", "tls")]
        return "<Opening " + ", ".join([f"{name} {value:.3f} s" for name, value in steps if value is not None]) + ">"


class Route(NamedTuple):
    """Which connections may serve a request: same origin, same proxy, same TLS identity. A pool keys on it.

    That holds for http requests that a proxy forwards, too. By RFC 9112 any connection to the proxy would do, but some
    (proxy.py is one) pass everything that comes on a connection on to the origin of its first request.
    """

    origin: Origin
    proxy: Proxy | None = None
    context: ssl.SSLContext | None = None
    uds: str | None = None

    @property
    def tunnelled(self) -> bool:
        """Whether the proxy is asked for a tunnel (https, or anything by SOCKS) rather than to forward (http)."""
        return self.proxy is not None and (self.origin.scheme == "https" or self.proxy.is_socks)

    def __str__(self) -> str:
        via = f" through {self.proxy.origin}" if self.proxy is not None else ""
        own_socket = self.uds is not None and self.origin.uds is None
        return f"{self.origin}{via}" + (f" on {shown_path(self.uds or '')}" if own_socket else "")


class _Parts:
    """What a `Request` is made of, while it is being made."""

    __slots__ = (
        "body",
        "field_lines",
        "headers",
        "idempotent",
        "method",
        "more_lines",
        "own_cookies",
        "redirected_from",
        "url",
    )

    method: str
    url: URL
    headers: Headers
    body: Any
    idempotent: bool | None
    field_lines: bytes | None
    more_lines: bytes
    own_cookies: str | None
    redirected_from: Origin | None


class Request(_Parts):
    """One request as a value: nothing is opened or sent by making one, and it does not change. A changed copy is made
    by `replace`, `with_fields` and `without_fields`.

    `method`, `url` as text, and `headers` in any form but the read-only `Headers` are checked: `InvalidMethod`,
    `InvalidURL`, `InvalidHeader`. A known method may be given in lower case. `headers` has no Host field unless the
    caller set one: it is derived from `url`. `body` is bytes-like, an iterable or async iterable of bytes, or None.
    `field_lines` is `headers` in wire form when somebody has already made it (a client makes that of its default
    fields once). A client's own fields, and bodies as forms or JSON, are put in by `Client.build_request`.
    `more_lines` are fields that are in `headers` and not in `field_lines` (those of a client's cookies, which
    change). `own_cookies` is what of its Cookie field was given with the request, and is not a client's; None: all of
    it. `redirected_from` is where the caller began, if a redirect led here: what he gave for that origin is
    not sent to another.

    Requests are equal when their parts are; bodies that are streams, when they are the same object.

    >>> request = Request("GET", parse("http://example.org/")).with_fields({"Accept": "text/html"})
    >>> print(request.as_curl())
    curl -H 'Accept: text/html' http://example.org/
    """

    __slots__ = ()

    def __new__(
        cls,
        method: str,
        url: URL | str,
        headers: Headers | _Fields = EMPTY_HEADERS,
        body: Any = None,
        *,
        field_lines: bytes | None = None,
        idempotent: bool | None = None,
        more_lines: bytes = b"",
        own_cookies: str | None = None,
        redirected_from: Origin | None = None,
    ) -> Request:
        if method not in _METHODS:
            method = method_of(method)
        # Put together as what can be changed, then sealed: object.__setattr__ for each part would cost five times that.
        parts: Any = object.__new__(_Parts)
        parts.method = method
        parts.url = url if isinstance(url, URL) else parse(url)
        # Anything else comes from a caller's hands: here it is kept from ending a field, or the head, early.
        parts.headers = headers if isinstance(headers, Headers) else _checked(headers)
        parts.body = body
        parts.field_lines = field_lines
        parts.idempotent = idempotent
        parts.more_lines = more_lines
        parts.own_cookies = own_cookies
        parts.redirected_from = redirected_from
        parts.__class__ = cls
        request: Request = parts
        return request

    def __setattr__(self, name: str, value: object) -> NoReturn:
        how = "with_fields({…})" if name == "headers" else f"replace({name}=…)"
        raise AttributeError(f"a Request does not change: request.{how} makes a copy with another {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Request does not change: its {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Request):
            return NotImplemented
        return (self.method, self.url, self.headers, self.body, self.idempotent) == (
            other.method,
            other.url,
            other.headers,
            other.body,
            other.idempotent,
        )

    def __hash__(self) -> int:
        return hash((self.method, self.url))

    def replace(
        self,
        *,
        method: str | None = None,
        url: URL | str | None = None,
        headers: Headers | _Fields | None = None,
        body: Any = UNSET,
        idempotent: bool | Unset | None = UNSET,
    ) -> Request:
        """A copy with some of it changed; it is checked as a new one is.

        A new body gets Content-Length or Transfer-Encoding of its own in place of the old one's, unless new `headers`
        say what it has. Content-Type stays.
        """
        if body is not UNSET and headers is None:
            headers = _reframed(self.headers, self.method if method is None else method, body)
        own_cookies = self.own_cookies
        if own_cookies is not None and headers is not None:
            if not isinstance(headers, Headers):
                headers = _checked(headers)
            if headers.get("Cookie") != self.headers.get("Cookie"):
                own_cookies = None
        return Request(
            self.method if method is None else method,
            self.url if url is None else url,
            self.headers if headers is None else headers,
            self.body if body is UNSET else body,
            field_lines=self.field_lines if headers is None else None,
            idempotent=self.idempotent if isinstance(idempotent, Unset) else idempotent,
            more_lines=self.more_lines if headers is None else b"",
            own_cookies=own_cookies,
            redirected_from=self.redirected_from,
        )

    def with_fields(self, fields: HeadersInput) -> Request:
        """A copy with these fields, in place of those of the same names. Raises `InvalidHeader`."""
        pairs = header_pairs(fields)
        names = {name.lower() for name, _ in pairs}
        kept = [pair for pair in self.headers.items() if pair[0].lower() not in names]
        return self.replace(headers=Headers(CIMultiDict([*kept, *pairs])))

    def with_field_last(self, name: str, value: str, own_cookies: str | Unset | None = UNSET) -> Request:
        """`with_fields` for one field, the wire form of all others kept: it was made of a client's own once."""
        lines = self.field_lines
        own = self.own_cookies if isinstance(own_cookies, Unset) else own_cookies
        if lines is None or name in self.headers:
            copied = self.with_fields({name: value})
            object.__setattr__(copied, "own_cookies", own)  # nobody else has it yet
            return copied
        headers = CIMultiDict(self.headers)
        headers.add(name, value)
        return Request(
            self.method,
            self.url,
            Headers(headers),
            self.body,
            field_lines=lines,
            idempotent=self.idempotent,
            more_lines=self.more_lines + f"{name}: {value}\r\n".encode("latin-1"),
            own_cookies=own,
            redirected_from=self.redirected_from,
        )

    def without_fields(self, *names: str) -> Request:
        """A copy without the fields of these names."""
        dropped = {name.lower() for name in names}
        kept = [pair for pair in self.headers.items() if pair[0].lower() not in dropped]
        return self.replace(headers=Headers(CIMultiDict(kept)))

    @property
    def replayable(self) -> bool:
        """Whether the body can be sent a second time exactly as the first: there is none, it is bytes, or it can be put
        back to where it began (a seekable file)."""
        return self.body is None or isinstance(self.body, _IN_MEMORY) or hasattr(self.body, "rewind")

    def rewind(self) -> None:
        """Put the body back to where it began, so that it can be sent again. Raises `BodyNotReplayable`."""
        if self.body is None or isinstance(self.body, _IN_MEMORY):
            return
        rewind = getattr(self.body, "rewind", None)
        if rewind is None:
            raise BodyNotReplayable(
                "the body can be read only once, and has been; give it as bytes or as a seekable file",
                doing=f"sending {self.method} {self.url.shown} again",
            )
        rewind()

    def as_curl(self) -> str:
        """The request as a command line of curl, for a POSIX shell. Credentials are in it: mind where it goes.

        A body that is a stream is left to standard input (``--data-binary @-``).
        """
        from shlex import quote  # noqa: PLC0415 - for what few ask

        body = self.body
        if isinstance(body, str):
            body = body.encode("latin-1")
        elif isinstance(body, (bytearray, memoryview)):
            body = bytes(body)
        words = ["curl"]
        if self.method != ("GET" if body is None else "POST"):
            words += ["--head"] if self.method == "HEAD" and body is None else ["-X", quote(self.method)]
        for name, value in self.headers.items():
            if name.lower() == "content-length" and body is not None:
                continue
            # An empty value would take the field out.
            words += ["-H", quote(f"{name}: {value}" if value else f"{name};")]
        if isinstance(body, bytes):
            if b"\0" in body or not _is_text(body):
                words = ["printf", quote("".join(f"\\{octet:03o}" for octet in body)), "|", *words]
                words += ["--data-binary", "@-"]
            else:
                words += ["--data-raw", quote(body.decode())]
        elif body is not None:
            words += ["--data-binary", "@-"]
        if body is not None and "Content-Type" not in self.headers:
            words += ["-H", "'Content-Type:'"]  # else it would say that it is a form
        url = str(self.url)
        if (path := self.url.origin.uds) is not None:
            words += [f"--{'abstract-' * path.startswith(chr(0))}unix-socket", quote(path.removeprefix(chr(0)))]
            url = url.replace(str(self.url.origin), f"http://{self.url.origin.host_field}", 1)
        if any(character in url for character in "[]{}"):
            words.append("--globoff")  # else curl would make several URLs of it
        words.append(quote(url))
        return " ".join(words)

    @property
    def is_idempotent(self) -> bool:
        """Whether sending it twice has the effect of once (RFC 9110 section 9.2.2), or the caller said so."""
        if self.idempotent is not None:
            return self.idempotent
        return self.method in IDEMPOTENT_METHODS or "Idempotency-Key" in self.headers

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url.shown}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A snapshot: a body that is a stream stays behind.
        body = bytes(self.body) if isinstance(self.body, memoryview) else self.body
        body = body if isinstance(body, _IN_MEMORY) else None
        pairs = tuple(self.headers.items())
        return _restore_request, (self.method, self.url, pairs, body, self.idempotent, self.redirected_from)

    def __copy__(self) -> Request:
        return self

    def __deepcopy__(self, memo: object) -> Request:
        return self


def method_of(method: str) -> str:
    """A method as it is meant: "get" is GET, though on the wire it would be another one. Raises `InvalidMethod`."""
    if method in _METHODS:
        return method
    check_method(method)
    upper = method.upper()
    return upper if upper in _METHODS else method


def _checked(headers: Any) -> Headers:
    if isinstance(headers, CIMultiDictProxy):
        return Headers(headers)  # that of a request or response before; what goes out is looked at once more
    return Headers(CIMultiDict(header_pairs(headers)))


def _reframed(headers: Headers, method: str, body: Any) -> Headers:
    """The fields with the framing of a body in place of another's (RFC 9110 section 8.6)."""
    kept = [pair for pair in headers.items() if pair[0].lower() not in ("content-length", "transfer-encoding")]
    if isinstance(body, _IN_MEMORY):
        kept.append(("Content-Length", str(body.nbytes if isinstance(body, memoryview) else len(body))))
    elif body is not None:
        size = getattr(body, "size", None)  # of a body that was measured
        chunked = not isinstance(size, int)
        kept.append(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(size)))
    elif method in ("POST", "PUT", "PATCH"):
        kept.append(("Content-Length", "0"))
    return Headers(CIMultiDict(kept))


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _restore_request(
    method: str,
    url: URL,
    pairs: Iterable[tuple[str, str]],
    body: bytes | None,
    idempotent: bool | None,
    redirected_from: Origin | None = None,
) -> Request:
    headers = Headers(CIMultiDict(pairs))
    return Request(method, url, headers, body, idempotent=idempotent, redirected_from=redirected_from)
