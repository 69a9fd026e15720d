"""A request's head while it is put together: what is in it, and what it asks for."""

from __future__ import annotations

import re
from functools import lru_cache

from .errors import InvalidHeader, InvalidURL
from .headers import check_method, list_elements
from .url import parse
from .wire.grammar import DIGITS, TARGET
from .wire.head import LineCache, encode_fields, encode_request_head

# A name or an address (RFC 3986 section 3.2.2): no control character, no space, nothing that ends a host in a URL.
_HOST = re.compile(r"[!$-.0-;=A-Z_a-z~]+")


def check_target(target: str) -> str:
    """The request target if it holds visible ASCII only (RFC 9112 section 3.2), "/" for "", else `InvalidURL`."""
    if not isinstance(target, str):
        raise TypeError(f"the request target must be a str, not {type(target).__name__}")
    if not target:
        return "/"
    if not TARGET.fullmatch(target):
        raise InvalidURL(f"a request target must be visible ASCII without spaces: {target[:200]!r}")
    return target


def split_host_port(host: str, port: int | None, default: int) -> tuple[str, int]:
    """Name and port from "name", "name:port", "[::1]" or "[::1]:port"; an IPv6 address loses its brackets.

    Raises `InvalidURL` for a port that is no number up to 65,535 and for what can be no host.
    """
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, not {type(host).__name__}")
    name, digits = host, ""
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InvalidURL(f"not a host: {host!r}")
        digits = rest[1:]
    elif host.count(":") == 1:
        name, _, digits = host.partition(":")
    if port is None:
        if digits and not DIGITS.fullmatch(digits):
            raise InvalidURL(f"nonnumeric port: {digits!r}")
        port = int(digits) if digits else default
    if not 0 <= port <= 65535:
        raise InvalidURL(f"a port must be from 0 to 65535: {port}")
    if not name.isascii():
        name = parse(f"http://{name}/").origin.host
    if not _HOST.fullmatch(name):
        raise InvalidURL(f"not a host: {host!r}")
    return name, port


@lru_cache(maxsize=256)
def host_field(host: str, port: int, default: int) -> str:
    """The value of Host (RFC 9110 section 7.2). Raises `InvalidURL` for what can be no host, and no port."""
    name, number = split_host_port(f"[{host}]" if ":" in host else host, port, default)
    shown = f"[{name}]" if ":" in name else name
    return shown if number == default else f"{shown}:{number}"


class RequestOptions:
    """What a block of fields (in wire form) asks of the connection that sends it."""

    __slots__ = ("chunked", "close", "expect", "host", "length", "plain", "upgrade", "without_host")

    def __init__(self, fields: bytes) -> None:
        pairs = []
        for line in fields.decode("latin-1").split("\r\n")[:-1]:
            name, _, value = line.partition(":")
            pairs.append((name, value.strip(" \t")))
        by_name: dict[str, list[str]] = {}
        for name, value in pairs:
            by_name.setdefault(name.lower(), []).append(value)
        connection = {option.lower() for option in list_elements(by_name.get("connection", ()))}
        codings = [coding.lower() for coding in list_elements(by_name.get("transfer-encoding", ()))]
        lengths = by_name.get("content-length", [])
        hosts = by_name.get("host", [])
        if len(hosts) > 1:
            raise InvalidHeader("Host is given more than once")
        if codings and lengths:
            raise InvalidHeader("Content-Length and Transfer-Encoding exclude each other (RFC 9112 section 6.2)")
        if len(lengths) > 1 or (lengths and not DIGITS.fullmatch(lengths[0])):
            raise InvalidHeader(f"Content-Length must be one number: {', '.join(lengths)!r:.200}")
        if "transfer-encoding" in by_name and codings[-1:] != ["chunked"]:
            # Nobody could tell where its body ends: it would be taken for the next request.
            raise InvalidHeader("the Transfer-Encoding of a request must end in chunked (RFC 9112 section 6.1)")
        self.upgrade, self.close = "upgrade" in by_name, "close" in connection
        self.expect = "100-continue" in {value.lower() for value in by_name.get("expect", ())}
        self.chunked = codings[-1:] == ["chunked"]
        self.length = int(lengths[0]) if lengths else None
        # The caller's own Host goes first.
        self.host = hosts[0] if hosts else None
        self.without_host = encode_fields([pair for pair in pairs if pair[0].lower() != "host"]) if hosts else fields
        # Nothing of the above, and no body: the fields go out as they are.
        self.plain = not (self.upgrade or self.close or self.expect or hosts or self.chunked or self.length)


request_options: LineCache[RequestOptions] = LineCache(RequestOptions, limit=256, longest=1024)
"""From a block of fields in wire form to its options: a client sends the same fields again and again."""


class RequestHead:
    """Method, target and fields of a request that is put together step by step. What goes in has been checked."""

    def __init__(self, method: str, target: str, pairs: list[tuple[str, str]]) -> None:
        self.method = check_method(method)
        self.target = check_target(target)
        self.pairs = pairs
        self.names = {name.lower() for name, _ in pairs}
        self.skip_host = False

    def has(self, name: str) -> bool:
        """Whether a field of that name (lower case) was put."""
        return name in self.names

    def put(self, name: str, value: str) -> None:
        """Add a field."""
        self.pairs.append((name, value))
        self.names.add(name.lower())

    def to_proxy(self, origin: str, fields: list[tuple[str, str]]) -> RequestHead:
        """This head with its target in absolute-form, and a proxy's own fields."""
        if self.target.startswith("/"):
            self.target = origin + self.target
        elif self.target == "*":
            self.target = origin  # RFC 9112 section 3.2.4
        for name, value in fields:
            if not self.has(name.lower()):  # what the request says itself is not said twice
                self.put(name, value)
        return self

    def encode(self, host: str) -> bytes:
        """The head in wire form, Host first; afterwards `upgrade`, `close`, `expect` and `length` are known."""
        options = request_options[encode_fields(self.pairs)]
        self.upgrade, self.close, self.expect = options.upgrade, options.close, options.expect
        self.length = options.length
        first = host if options.host is None else options.host
        if self.skip_host and options.host is None:
            return encode_request_head(self.method, self.target, None, options.without_host)
        return encode_request_head(self.method, self.target, first, options.without_host)
