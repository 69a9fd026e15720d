"""A proxy as a value: where it is, what it is told, and how it is answered when it asks who one is."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias, final, runtime_checkable
from urllib.parse import unquote_to_bytes

from .errors import InvalidHeader, InvalidURL, UnsupportedScheme
from .headers import header_pairs
from .url import URL, Origin, parse

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from .headers import HeadersInput

_SOCKS = frozenset({"socks4", "socks4a", "socks5", "socks5h"})
# As texts, which `re` compiles when they are first used, and keeps: most programs have no proxy.
_SOCKS_URL = r"(?is)(socks4a?|socks5h?)://(.*)"
_EXPLICIT_PORT = r"[^/?#\\]*:[0-9]+(?=[/?#\\]|$)"
_NOT_ITS_OWN = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "trailer", "te"})
"""Fields that say where a message ends or who it is for: those of the request itself."""
_COLON = "a user name with a colon cannot be sent by basic authentication (RFC 7617 section 2)"


@runtime_checkable
class ProxyAuth(Protocol):
    """Who answers a proxy that asks who one is (RFC 9110 section 11.7). `DigestAuth` does."""

    def sign_for_proxy(self, proxy: Origin, method: str, target: str) -> str | None:
        """The Proxy-Authorization that goes with a request unasked; None before the proxy has asked."""
        ...

    def answer_proxy(
        self, proxy: Origin, method: str, target: str, challenges: Iterable[str], answered: int
    ) -> str | None:
        """The Proxy-Authorization that answers the Proxy-Authenticate values of a 407; None to give up.

        `answered` is how many challenges to the same request were answered before.
        """
        ...


@final
class Proxy:
    """A proxy to go through, and what it gets to know. An immutable value: equal ones share connections.

    - `url`: where it is, and how it is spoken to. ``http://``, and ``https://`` (TLS to the proxy first): http requests
      are forwarded, and https goes through a tunnel (CONNECT). ``socks5://`` and ``socks4://`` carry everything;
      ``socks5h://`` and ``socks4a://`` look names up as well. Userinfo is user and password, percent-encoded: by basic
      authentication (RFC 7617), or what SOCKS has for it.
    - `headers`: more fields for the proxy: of each CONNECT, and of forwarded requests that have none of that name. What
      it does with those of forwarded requests is up to the proxy: squid and proxy.py send them on to the origin.
    - `auth`: (user, password), or a `BasicAuth` or `DigestAuth`, in place of userinfo.
    - `context`: the `ssl.SSLContext` for TLS with an ``https://`` proxy; None for one that verifies against the
      system's CAs, or those of the file or folder that is the client's `verify`. (``verify=False`` and a client's
      certificate are for origins only.)

    Raises `InvalidURL`; `UnsupportedScheme`; `InvalidHeader`, also for what SOCKS has no place for; TypeError.

    >>> Proxy("http://proxy.example:3128", auth=("ada", "lovelace"))
    <Proxy http://proxy.example:3128 with credentials>
    """

    __slots__ = ("_hash", "_key", "auth", "authorization", "context", "credentials", "headers", "origin")

    origin: Origin
    """Scheme, host and port."""
    authorization: str | None
    """The Proxy-Authorization of basic authentication."""
    credentials: tuple[str, str] | None
    """User and password for SOCKS; bytes that are no UTF-8 as surrogates."""
    headers: tuple[tuple[str, str], ...]
    auth: ProxyAuth | None
    """Who answers challenges."""
    context: ssl.SSLContext | None
    _key: tuple[Any, ...]
    _hash: int

    def __init__(
        self,
        url: str | URL,
        *,
        headers: HeadersInput | None = None,
        auth: ProxyAuthInput | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        origin, userinfo = _origin_of(url)
        socks = origin.scheme in _SOCKS
        pairs = tuple(header_pairs(headers))
        if wrong := [name for name, _ in pairs if name.lower() in _NOT_ITS_OWN]:
            raise InvalidHeader(f"{', '.join(wrong)}: a proxy has no such field of its own")
        if socks and pairs:
            raise InvalidHeader("a SOCKS proxy is given no fields: it knows no HTTP")
        if context is not None and origin.scheme != "https":
            raise TypeError(f"context is for https proxies; there is no TLS with {origin}")
        answering: ProxyAuth | None = None
        authorization: str | None = None
        credentials: tuple[str, str] | None = None
        if auth is None:
            if userinfo is not None and not socks:
                if b":" in userinfo[0]:
                    raise InvalidURL(_COLON)
                authorization = _basic(*userinfo)
        elif isinstance(auth, (tuple, list)) and len(auth) == 2:
            userinfo = _octets(auth[0]), _octets(auth[1])
            if not socks:
                if b":" in userinfo[0]:
                    raise InvalidHeader(_COLON)
                authorization = _basic(*userinfo)
        elif isinstance(auth, ProxyAuth) and not socks:
            answering = auth
        else:
            kinds = "(user, password)" if socks else "(user, password), BasicAuth, DigestAuth"
            raise TypeError(f"auth of a proxy must be {kinds} or None, not {type(auth).__name__}")
        if socks and userinfo is not None:
            credentials = _text(userinfo[0]), _text(userinfo[1])
        self._put(origin, pairs, authorization, credentials, answering, context)

    def _put(self, *key: Any) -> None:
        put = object.__setattr__  # past __setattr__, which forbids it
        names = ("origin", "headers", "authorization", "credentials", "auth", "context")
        for name, value in zip(names, key, strict=True):
            put(self, name, value)
        put(self, "_key", key)
        put(self, "_hash", hash(key))

    @classmethod
    def of(cls, url: str | URL | Proxy | None) -> Proxy | None:
        """The proxy that a URL names, e.g. ``"http://user:password@proxy.example:3128"``. Raises as `Proxy`."""
        if url is None or isinstance(url, Proxy):
            return url
        if isinstance(url, str):
            return _of_text(url)
        if not isinstance(url, URL):
            # Not shown: it may hold a password.
            raise TypeError(f"a proxy must be a URL, a Proxy or None, not {type(url).__name__}")
        return cls(url)

    @property
    def is_socks(self) -> bool:
        """Whether it carries streams, and knows no HTTP."""
        return self.origin.scheme in _SOCKS

    @property
    def where(self) -> str:
        """Host and port, as messages name them."""
        origin = self.origin
        return f"[{origin.host}]:{origin.port}" if ":" in origin.host else f"{origin.host}:{origin.port}"

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The fields that the proxy gets unasked, and nobody else."""
        if self.authorization is None:
            return list(self.headers)
        kept = [pair for pair in self.headers if pair[0].lower() != "proxy-authorization"]
        return [*kept, ("Proxy-Authorization", self.authorization)]

    def fields_for(self, method: str, target: str) -> list[tuple[str, str]]:
        """The fields for one request, signed if the proxy has asked for that before."""
        if self.auth is None:
            return self.fields
        value = self.auth.sign_for_proxy(self.origin, method, target)
        return self.fields if value is None else self.fields_with(value)

    def fields_with(self, authorization: str) -> list[tuple[str, str]]:
        """The fields with this Proxy-Authorization."""
        kept = [pair for pair in self.headers if pair[0].lower() != "proxy-authorization"]
        return [*kept, ("Proxy-Authorization", authorization)]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Proxy) and self._key == other._key)

    def __hash__(self) -> int:
        return self._hash

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Proxy is immutable: its {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Proxy is immutable: its {name} cannot be deleted")

    def __copy__(self) -> Proxy:
        return self

    def __deepcopy__(self, memo: object) -> Proxy:
        return self  # immutable, and equal ones share connections

    def __reduce__(self) -> tuple[Any, ...]:
        if self.context is not None:
            raise TypeError("a Proxy with context= cannot be pickled: an ssl.SSLContext cannot")
        return _restore, self._key

    def __repr__(self) -> str:
        known = self.authorization or self.credentials or self.auth
        return f"<Proxy {self.origin}{' with credentials' if known else ''}>"


ProxyAuthInput: TypeAlias = tuple[str | bytes, str | bytes] | ProxyAuth
"""What `auth=` of a proxy takes."""
ProxyInput: TypeAlias = "str | URL | Proxy | Callable[[URL], str | URL | Proxy | None]"
"""What `proxy=` of a client and of its requests takes: a proxy, or a function from the URL of a request to one."""


@lru_cache(maxsize=256)
def _of_text(url: str) -> Proxy:
    # The proxies that requests are given repeat.
    return Proxy(url)


def _restore(*key: Any) -> Proxy:
    proxy = object.__new__(Proxy)
    proxy._put(*key)
    return proxy


def _origin_of(url: str | URL) -> tuple[Origin, tuple[bytes, bytes] | None]:
    """Where a proxy is, and user and password as the bytes that they are."""
    match = re.match(_SOCKS_URL, url) if isinstance(url, str) else None
    if match is not None:
        # The WHATWG knows no such scheme, and would take the name for an opaque one.
        parsed = parse(f"http://{match[2]}")
        port = parsed.origin.port if re.match(_EXPLICIT_PORT, match[2]) else 1080
        return Origin(match[1].lower(), parsed.origin.host, port), _userinfo(parsed)
    try:
        parsed = parse(url)
    except UnsupportedScheme as error:
        raise UnsupportedScheme(f"a proxy is http, https, socks4, socks4a, socks5 or socks5h: {error}") from error
    return parsed.origin, _userinfo(parsed)


def _userinfo(url: URL) -> tuple[bytes, bytes] | None:
    if not url.has_userinfo:
        return None
    user, _, password = url.href.partition("://")[2].partition("/")[0].rpartition("@")[0].partition(":")
    return unquote_to_bytes(user), unquote_to_bytes(password)


def _octets(value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(f"user and password of a proxy must be str or bytes, not {type(value).__name__}")
    return value.encode("utf-8", "surrogateescape")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _basic(user: bytes, password: bytes) -> str:
    return "Basic " + b64encode(user + b":" + password).decode()
