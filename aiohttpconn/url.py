"""URLs: what a caller types or a server sends in Location, made into what goes out on the wire.

URLs are read as browsers read them (the WHATWG URL standard, by `can_ada`), with one exception: tab, CR and LF are
refused wherever they stand, where a browser drops them in silence. Everything here is derived from the parser's `href`,
so what a caller percent-encoded is sent byte for byte, an empty ``?`` included.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, NoReturn, TypeAlias, TypeVar, final

from can_ada import URLSearchParams
from can_ada import parse as _parse_whatwg

from .errors import InvalidURL, UnsupportedScheme
from .unix_socket import HOST as UNIX_HOST
from .unix_socket import SCHEME as UNIX
from .unix_socket import normalised_href, path_of_host

_DEFAULT_PORTS = {"http": 80, "https": 443, UNIX: 80}

# `parse` takes 0.07 µs for a text it knows, 2.1 for a new one (0.4 of them the parser's), 3.5 when its origin is new
# too (CPython 3.11, one x86-64 core).
#
# Bounds of the caches: two generations of so many entries each, none with a longer text or href. A hostile page full of
# links can make them hold 28 MiB (2,048 times a text of four bytes a character, its href, target and tail), and 12 MiB
# of sites, no more. There are as many sites as a crawl goes round in: with 2,000 origins in no order, 1,024 of them
# sent three URLs in four the long way (4 of 75 µs a page).
_CACHED_URLS = 1024
_CACHED_URL_LENGTH = 2048
_CACHED_SITES = 4096
_CACHED_SITE_LENGTH = 320  # a host name has at most 253 characters (RFC 1035 section 2.3.4)

ParamValue: TypeAlias = str | int | float | bool | None
_Value: TypeAlias = ParamValue | Sequence[ParamValue]
Params: TypeAlias = Mapping[str, _Value] | Iterable[tuple[str, _Value]] | str | bytes | None
"""What `merge_params` takes."""


class Origin(NamedTuple):
    """Scheme, host and port: who answers for a URL (RFC 9110 section 4.3.1).

    A tuple, so that it hashes and compares at the speed of C: pools key on it. `host` is ASCII and lower case, an IPv6
    address without brackets, a trailing dot kept; `port` is always the number. (Of ``http+unix://%2Frun%2Fapp.sock/``
    `host` is the socket's path, percent-encoded.)

    >>> parse("HTTPS://Bücher.example:8443/").origin
    Origin(scheme='https', host='xn--bcher-kva.example', port=8443)
    >>> str(Origin("http", "::1", 80))
    'http://[::1]'
    """

    scheme: str
    host: str
    port: int

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.scheme == "https"

    @property
    def uds(self) -> str | None:
        """The path of the Unix socket that an http+unix URL names, ``"\\0name"`` if it is abstract; else None."""
        return path_of_host(self.host) if self.scheme == UNIX else None

    @property
    def default_port(self) -> int:
        """The scheme's own port: 80 or 443; 1080 of a SOCKS proxy."""
        return _DEFAULT_PORTS.get(self.scheme, 1080)

    @property
    def host_field(self) -> str:
        """The value of Host (RFC 9110 section 7.2): IPv6 in brackets, the port left out when it is the default."""
        if self.scheme == UNIX:
            return UNIX_HOST
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == self.default_port else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host if self.scheme == UNIX else self.host_field}"


@final
class URL:
    """A parsed http, https or http+unix URL; an immutable value. ``URL(text)`` is `parse(text)`.

    - `href`: the whole URL as the parser serialises it, userinfo and fragment included; also `str(url)`.
    - `origin`: scheme, host and port.
    - `target`: path and query as they go into the request line (origin-form, RFC 9112 section 3.2.1); visible ASCII.
    - `has_userinfo`: whether it carries a user name or a password.
    - `request_tail`: the head of a request from the target to the end of Host, ready to be sent after the method and a
      space: ``b"/x?y HTTP/1.1\\r\\nHost: example.org\\r\\n"``. Made once, since URLs repeat and this does not change.

    URLs are equal, and hash, by `href`. A URL also equals a str that parses to it; such a str finds it in a set or dict
    only when it is spelt as `href` is.

    >>> url = parse("http://example.org/a b/../c?q=ä#top")
    >>> url
    URL('http://example.org/c?q=%C3%A4#top')
    >>> url.target, url.fragment
    ('/c?q=%C3%A4', 'top')
    """

    __slots__ = ("has_userinfo", "href", "origin", "request_tail", "target")

    href: str
    origin: Origin
    target: str
    has_userinfo: bool
    request_tail: bytes

    def __new__(cls, url: str | URL) -> URL:
        return parse(url)

    @property
    def scheme(self) -> str:
        """``"http"``, ``"https"`` or ``"http+unix"``."""
        return self.origin.scheme

    @property
    def host(self) -> str:
        """The origin's host: ASCII, lower case, no brackets."""
        return self.origin.host

    @property
    def port(self) -> int:
        """The origin's port, the default filled in."""
        return self.origin.port

    @property
    def path(self) -> str:
        """The path, percent-encoded; at least ``"/"``."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What follows ``?``, percent-encoded; ``""`` when there is none."""
        return self.target.partition("?")[2]

    @property
    def fragment(self) -> str:
        """What follows ``#``, percent-encoded, which is never sent; ``""`` when there is none."""
        return self.href.partition("#")[2]

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User name and password of the URL, percent-decoded (as UTF-8); None where it carries neither."""
        userinfo, at, _ = self._site.partition("@")
        if not at:
            return None
        username, _, password = userinfo[userinfo.index("//") + 2 :].partition(":")
        return _percent_decode(username), _percent_decode(password)

    @property
    def username(self) -> str:
        """The user name, percent-decoded; ``""`` when there is none."""
        return (self.credentials or ("", ""))[0]

    @property
    def password(self) -> str:
        """The password, percent-decoded; ``""`` when there is none."""
        return (self.credentials or ("", ""))[1]

    @property
    def absolute_form(self) -> str:
        """The request target for a proxy (absolute-form, RFC 9112 section 3.2.2): no userinfo, no fragment."""
        return f"{self.origin}{self.target}"

    @property
    def shown(self) -> str:
        """This URL as messages name it: no userinfo, and parameters that look like secrets masked."""
        from .secrets import masked_url  # noqa: PLC0415 - for errors and those who look

        return masked_url(self)

    def without_userinfo(self) -> URL:
        """This URL without user name and password."""
        if not self.has_userinfo:
            return self
        return _from_href(f"{self.origin}{self.href[_path_start(self.href) :]}")

    def without_fragment(self) -> URL:
        """This URL without its fragment, an empty one (``#`` alone) included."""
        href, mark, _ = self.href.partition("#")
        return _from_href(href) if mark else self

    @property
    def _site(self) -> str:
        """Everything before the path: ``"https://user:password@example.org:8443"``."""
        return self.href[: _path_start(self.href)]

    def __str__(self) -> str:
        return self.href

    def __repr__(self) -> str:
        from .secrets import masked_url  # noqa: PLC0415 - the same

        userinfo, at, _ = self._site.partition("//")[2].partition("@")
        name, colon, _ = userinfo.partition(":")
        visible = name + (":[hidden]" if colon else "") + at
        return f"URL({masked_url(self, userinfo=visible)!r})"

    def __hash__(self) -> int:
        return hash(self.href)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, URL):
            return self.href == other.href
        if isinstance(other, str):
            try:
                return self.href == other or self.href == parse(other).href
            except InvalidURL:
                return False
        return NotImplemented

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a URL is immutable: its {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a URL is immutable: its {name} cannot be deleted")

    def __reduce__(self) -> tuple[object, ...]:
        return parse, (self.href,)


class _Site(NamedTuple):
    """What all URLs of one origin have in common."""

    origin: Origin
    after_target: str  # the rest of the request line, and Host


_V = TypeVar("_V")


class _Generations(Generic[_V]):
    """A bounded dict that forgets what was not asked for lately, a generation at a time.

    Evicting one by one (``del d[next(iter(d))]``) walks over the holes that earlier evictions left: quadratic.
    Readers look into `young` themselves: a hit is one `dict.get`.
    """

    __slots__ = ("_limit", "old", "young")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.young: dict[str, _V] = {}
        self.old: dict[str, _V] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def remember(self, text: str, value: _V) -> None:
        if len(self.young) >= self._limit:
            self.old = self.young
            self.young = {}
        self.young[text] = value


_urls: _Generations[URL] = _Generations(_CACHED_URLS)
_sites: _Generations[_Site] = _Generations(_CACHED_SITES)


def parse(url: str | URL) -> URL:
    """The URL that a text means.

    Args:
        url: an absolute http or https URL as one would type it into a browser; or an http+unix URL, whose host is the
            path of a Unix socket, percent-encoded (``http+unix://%2Frun%2Fapp.sock/path``; ``%00name`` is an abstract
            one). A `URL` is returned as it is.

    Raises:
        UnsupportedScheme: the scheme is another.
        InvalidURL: no scheme, no host, a host or port that cannot be; tab, CR or LF; a lone surrogate.
        TypeError: neither str nor `URL`.

    Sources: the WHATWG URL standard, section 4.4; RFC 9110 section 4.2.

    >>> parse("http://example.org/?").target
    '/?'
    """
    if type(url) is str:
        known = _urls.young.get(url)
        return _parse_text(url) if known is None else known
    if isinstance(url, URL):
        return url
    if isinstance(url, str):
        return parse(str.__str__(url))
    raise TypeError(f"a URL must be a str or an aiohttpconn.URL, not {_kind(url)}")


def is_known(text: str) -> bool:
    """Whether a text was parsed lately: then it may come again."""
    return text in _urls.young


def _kind(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def join(base: URL | str, reference: str) -> URL:
    """The URL that a reference means on the page at `base`: RFC 3986 section 5, with the habits of browsers.

    They are: a backslash is a slash, ``//host`` keeps the scheme, ``http:x`` on an http page is relative. A relative
    reference keeps the base's userinfo. (`can_ada` joins by ``+``, exactly as the standard's parser does with a base.)

    Args:
        base: an absolute URL.
        reference: an absolute or relative one. What came in a Location field goes through `decode_location` first.

    Raises:
        UnsupportedScheme, InvalidURL, TypeError: as `parse`, for the result.

    >>> join("http://example.org/a/b?c", "../d")
    URL('http://example.org/d')
    """
    if not isinstance(reference, str):
        raise TypeError(f"a URL reference must be a str, not {type(reference).__name__}")
    base = parse(base)
    _check_text(reference)
    try:
        href = (_parse_whatwg(base.href) + reference).href
    except (ValueError, TypeError) as error:
        raise _refusal(reference, f"on {base!r}") from error
    if href.startswith(UNIX):
        href = normalised_href(href)
    return _from_href(href)


def decode_location(value: str) -> str:
    """The text that a server meant by a field value such as Location's, which is decoded as latin-1.

    Fields should be ASCII, but servers send URLs in UTF-8: those are decoded. Otherwise the bytes above 0x7F are
    percent-encoded one by one, so that they go back as they came. A value beyond latin-1 is text already, and left.

    >>> decode_location("/caf\\xc3\\xa9"), decode_location("/caf\\xe9")
    ('/café', '/caf%E9')
    """
    if value.isascii():
        return value
    try:
        octets = value.encode("latin-1")
    except UnicodeEncodeError:
        return value
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return _percent_encode_high(octets)


def merge_params(url: URL | str, params: Params) -> URL:
    """The URL with `params` appended to its query. What the query held stays byte for byte, the fragment too.

    Args:
        url: the URL to extend.
        params: a mapping or an iterable of pairs: they are form-urlencoded as browsers do it (WHATWG URL standard,
            section 5.2: UTF-8, space to ``+``, everything but ASCII letters, digits and ``*-._`` percent-encoded).
            A value that is a sequence gives one pair for each item, an empty one none. As with httpx, True and False
            are ``true`` and ``false``, and None is an empty value (``key=``); numbers are as `str` writes them.
            str or bytes: a query that the caller has encoded, appended as it is but for what cannot stand in one
            (space, ``#``, control characters, non-ASCII), which is percent-encoded.
            None or nothing in it: the URL unchanged.

    Raises:
        InvalidURL: tab, CR or LF in a str; a lone surrogate; whatever `parse` raises for `url`.
        TypeError: a key or value of another type.

    >>> merge_params("http://example.org/?a=%7e#f", {"q": "x y", "n": [1, None]})
    URL('http://example.org/?a=%7e&q=x+y&n=1&n=#f')
    """
    url = parse(url)
    if params is None:
        return url
    if isinstance(params, str):
        added = re.sub(_NOT_IN_QUERY, lambda match: f"%{ord(match[0]):02X}", params)
    elif isinstance(params, (bytes, bytearray)):
        return merge_params(url, _percent_encode_high(params))
    else:
        added = _form_urlencode(params)
    if not added:
        return url
    before, mark, fragment = url.href.partition("#")
    separator = "?" if "?" not in before else "" if before.endswith(("?", "&")) else "&"
    return parse(f"{before}{separator}{added}{mark}{fragment}")


def other_params(params: Params, than: Params) -> Params:
    """Those of `params` whose names are not in `than`, which goes in their place; text that a caller has encoded has
    no names."""
    if params is None or isinstance(params, (str, bytes, bytearray)) or isinstance(than, (str, bytes, bytearray)):
        return params
    if not isinstance(than, Iterable):
        return params  # it will be refused
    names = set(than) if isinstance(than, Mapping) else {pair[0] for pair in than}
    pairs: Any = params.items() if isinstance(params, Mapping) else params
    return [(name, value) for name, value in pairs if name not in names]


# --- from text to URL -------------------------------------------------------------------------------------------------

_SCHEME = r"[\0- ]*([A-Za-z][A-Za-z0-9+.-]*):"  # a text: only errors have it compiled
# Control characters and spaces at the end of a URL are dropped, "#" begins its fragment; tab, LF and CR are left for
# `parse` to refuse.
_NOT_IN_QUERY = r"[\0-\x08\x0B\x0C\x0E-\x20#]"  # a text: few queries are given as one
_PERCENT_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")
_SINGLE = (str, int, float, bytes, bytearray, type(None))  # bytes, so that they are refused, and not item by item
_HIGH_OCTET = re.compile(rb"[\x80-\xFF]")
_VISIBLE_ASCII = re.compile(r"[!-~]+")
# What stands for itself in a path and in a query alike (WHATWG URL standard, section 1.3), and needs no second look:
# neither "%", for %2e is a dot, nor "\\", which is a slash.
_PLAIN_TARGET = re.compile(r"[A-Za-z0-9\-._~!$&()*+,;=:@/?]*")

# What `URL.__setattr__` forbids. Half the cost of object.__setattr__: 0.3 µs a URL.
_set_href = URL.__dict__["href"].__set__
_set_origin = URL.__dict__["origin"].__set__
_set_target = URL.__dict__["target"].__set__
_set_has_userinfo = URL.__dict__["has_userinfo"].__set__
_set_request_tail = URL.__dict__["request_tail"].__set__


def _parse_text(text: str) -> URL:
    """`parse` for a text that is not in the young generation."""
    known = _urls.old.get(text)
    if known is None:
        start = _path_start(text)
        site = _sites.young.get(text[:start])
        if site is not None and start > 0 and _PLAIN_TARGET.fullmatch(text, start) and "/." not in text:
            # A site that the parser has serialised, and a path and query that it would leave as they are: 1 µs less.
            known = _make(text, site, text[start:], False)
        else:
            _check_text(text)
            try:
                href = _parse_whatwg(text).href
            except (ValueError, TypeError) as error:
                raise _refusal(text) from error
            if href.startswith(UNIX):
                href = normalised_href(href)
            known = _from_href(href)
    if len(text) <= _CACHED_URL_LENGTH and len(known.href) <= _CACHED_URL_LENGTH:
        _urls.remember(text, known)
    return known


def _check_text(text: str) -> None:
    # Three scans in C are four times as fast as one regular expression.
    if "\n" in text or "\r" in text or "\t" in text:
        raise InvalidURL(f"a URL must not contain tab, CR or LF: {shown(text)}")


def _path_start(href: str) -> int:
    # "https://" is the longest that comes before the host, and "http://a" the shortest before the path.
    start = href.find("/", 8)
    if start == 10 and href.startswith(UNIX):
        start = href.find("/", 12)
    return start


def _from_href(href: str) -> URL:
    """The URL of what the parser has serialised: nothing is left to normalise."""
    start = _path_start(href)
    site_text = href[:start]
    site = _sites.young.get(site_text) or _site_of(site_text, href)
    # The parser sees to this already; 0.15 µs so that no fault of it lets a request be split (RFC 9112 section 11.1).
    if _VISIBLE_ASCII.fullmatch(href) is None:
        raise InvalidURL(f"a URL must come down to visible ASCII: {shown(href)}")
    fragment = href.find("#", start)
    target = href[start:] if fragment < 0 else href[start:fragment]
    return _make(href, site, target, "@" in site_text)


def _make(href: str, site: _Site, target: str, has_userinfo: bool) -> URL:
    url = object.__new__(URL)
    _set_href(url, href)
    _set_origin(url, site.origin)
    _set_target(url, target)
    _set_has_userinfo(url, has_userinfo)
    _set_request_tail(url, (target + site.after_target).encode())
    return url


def _site_of(text: str, href: str) -> _Site:
    """The site of "http://host:port", with or without userinfo, from the older generation or anew."""
    known = _sites.old.get(text)
    if known is None:
        scheme, _, authority = text.partition("://")
        if scheme not in _DEFAULT_PORTS:
            raise _unsupported(href)
        if "@" in authority:  # looked up again without: passwords are no keys, and equal origins share one object
            text = f"{scheme}://{authority.partition('@')[2]}"
            return _sites.young.get(text) or _site_of(text, href)
        host, bracket, port = authority.rpartition("]")
        if bracket:
            host, port = host[1:], port[1:]
        else:
            host, _, port = authority.partition(":")
        origin = Origin(scheme, host, int(port) if port else _DEFAULT_PORTS[scheme])
        known = _Site(origin, f" HTTP/1.1\r\nHost: {UNIX_HOST if scheme == UNIX else authority}\r\n")
    if len(text) <= _CACHED_SITE_LENGTH:
        _sites.remember(text, known)
    return known


# --- why not ----------------------------------------------------------------------------------------------------------


def _refusal(text: str, where: str = "") -> InvalidURL:
    """The error that says what is wrong with a text that the parser refused."""
    what = f"{shown(text)} {where}".rstrip()
    try:
        text.encode()
    except UnicodeEncodeError:
        return InvalidURL(f"a URL must be text, and a lone surrogate is none: {what}")
    scheme = re.match(_SCHEME, text)
    if scheme and scheme[1].lower() not in _DEFAULT_PORTS:
        return _unsupported(text)
    if scheme or where:
        return InvalidURL(f"the URL has no host, or a host or port that cannot be: {what}")
    if not text.strip():
        return InvalidURL("the URL is empty")
    return InvalidURL(f"the URL has no scheme, it must begin with http:// or https://: {what}")


def _unsupported(text: str) -> UnsupportedScheme:
    scheme, _, rest = text.partition(":")
    message = f"only http and https URLs can be fetched, not {shown(scheme.strip())}: {shown(text)}"
    if scheme.strip().lower() == "https+unix":  # which name would the certificate have to be for?
        message += " (TLS over a Unix socket: an https URL, and uds= with the socket's path)"
    if rest[:1].isdigit():  # "localhost:8000/x": by the standard a scheme, by the look of it a host and its port
        message += " (if that is a host and its port, put http:// or https:// before it)"
    return UnsupportedScheme(message)


def shown(text: str) -> str:
    """A text as an error shows it: on one line, not endless, and whatever may be a password left out."""
    text = without_password(text)
    return repr(text) if len(text) <= 200 else repr(text[:200]) + "…"


def without_password(text: str) -> str:
    """A text that is no URL, and whatever may be a user name and password left out.

    All up to the last "@" may be: a password with a slash in it is the very thing that makes a URL invalid.
    """
    hidden, at, rest = text.rpartition("@")
    if not at:
        return text
    scheme = re.match(_SCHEME, hidden)
    return f"{scheme[0] if scheme else ''}[hidden]@{rest}"


# --- percent and form encoding ----------------------------------------------------------------------------------------


def _percent_decode(text: str) -> str:
    octets = _PERCENT_ENCODED.sub(lambda match: bytes((int(match[1], 16),)), text.encode("ascii"))
    return octets.decode("utf-8", "replace")


def _percent_encode_high(octets: bytes | bytearray) -> str:
    return _HIGH_OCTET.sub(lambda match: b"%%%02X" % match[0][0], octets).decode("ascii")


def _form_urlencode(params: Mapping[str, _Value] | Iterable[tuple[str, _Value]]) -> str:
    encoded = URLSearchParams("")
    if not isinstance(params, (dict, Iterable)):  # dict: spares the slow look at what Iterable means
        raise TypeError(f"params must be a mapping, pairs, str or bytes, not {type(params).__name__}")
    for key, value in params.items() if isinstance(params, (dict, Mapping)) else params:
        if not isinstance(key, str):
            raise TypeError(f"a query parameter's name must be a str, not {type(key).__name__}")
        # The plain types first: to ask whether something is a Sequence costs 0.3 µs.
        for item in value if not isinstance(value, _SINGLE) and isinstance(value, Sequence) else (value,):
            text = _param_text(key, item)
            try:
                encoded.append(str.__str__(key), text)
            except TypeError as error:
                raise InvalidURL(f"the query parameter {key!r} must be text, and a lone surrogate is none") from error
    return str(encoded)


def _param_text(key: str, value: object) -> str:
    # The types' own methods: an enumeration's str() may be "Colour.RED".
    if isinstance(value, str):
        return str.__str__(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    raise TypeError(f"the query parameter {key!r} must be str, int, float, bool or None, not {type(value).__name__}")
