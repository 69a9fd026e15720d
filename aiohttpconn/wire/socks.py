"""SOCKS 4, 4a and 5, the client's side: what to say to the proxy, and what its replies mean (RFC 1928, RFC 1929).

SOCKS 4 has no RFC; it is the memorandum "SOCKS: A protocol for TCP proxy across firewalls", and 4a its supplement.
"""

from __future__ import annotations

import enum
import re
from typing import Any, Literal, TypeAlias, cast

from ..errors import InvalidURL, ProtocolError, ProxyError

SocksKind: TypeAlias = Literal["socks4", "socks4a", "socks5", "socks5h"]
"""Scheme of the proxy's URL: the protocol, and who looks names up."""
KINDS: frozenset[str] = frozenset({"socks4", "socks4a", "socks5", "socks5h"})
NAMES_GO_TO_PROXY: frozenset[str] = frozenset({"socks4a", "socks5h"})
"""The kinds whose proxy looks the name up: nobody here learns of it, which Tor is about. To the others an address goes.
"""
DEFAULT_PORT = 1080  # RFC 1928 section 3

_NO_AUTHENTICATION, _USERNAME_PASSWORD, _NONE_ACCEPTABLE = 0x00, 0x02, 0xFF  # RFC 1928 section 3
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4  # ATYP, RFC 1928 section 5
_GRANTED4 = 90

_VISIBLE = re.compile(r"[!-~]+")

REPLIES5 = {
    0x01: "general failure",
    0x02: "not allowed by its rules",
    0x03: "network unreachable",
    0x04: "host unreachable",
    0x05: "connection refused",
    0x06: "TTL expired",
    0x07: "command not supported",
    0x08: "address type not supported",
    # Tor's, with its ExtendedErrors (Tor proposal 304).
    0xF0: "the onion service's descriptor cannot be found",
    0xF1: "the onion service's descriptor is invalid",
    0xF2: "the introduction to the onion service failed",
    0xF3: "the rendezvous with the onion service failed",
    0xF4: "the onion service wants a client authorization",
    0xF5: "the onion service refused the client authorization",
    0xF6: "the onion service's address is invalid",
    0xF7: "the introduction to the onion service timed out",
}
"""What REP says (RFC 1928 section 6), 0 apart."""

REPLIES4 = {
    91: "rejected or failed",
    92: "rejected, because it cannot reach identd here",
    93: "rejected, because identd here reports another user id",
}
"""What CD says, 90 apart."""


class SocksRefused(ProxyError):
    """The proxy understood the request and did not connect. `code` is REP of SOCKS 5, or CD of SOCKS 4.

    It is the cause of the `ProxyError` that is raised; of two proxies that fail, this one is alive.
    """

    def __init__(self, code: int, why: str | None) -> None:
        super().__init__(f"{why or 'unknown reason'} (code {code})")
        self.code = code


class SocksInexpressible(SocksRefused):
    """The protocol has no form for the target. Nothing was sent: the proxy is none the worse for it."""

    def __init__(self, why: str) -> None:
        super().__init__(0, why)
        self.args = (why,)


class _Step(enum.Enum):
    """What the proxy is to say next; the value says it in messages."""

    METHOD = "it said how to authenticate"
    VERDICT = "it said whether it takes the credentials"
    REPLY = "it answered the request"
    DONE = "the end"


class SocksHandshake:
    """One CONNECT to `host`:`port`: send `opening`, `feed()` what comes and send what that returns, until `done`.

    `host` is a name only with the kinds in `NAMES_GO_TO_PROXY`; one that is not ASCII is made so (IDNA). A literal
    address goes as an address with every kind. `credentials` are user and password; with SOCKS 4 the user id and "".

    Raises `InvalidURL` for what the protocol cannot carry (a name over 255 bytes, credentials not of 1 to 255), and
    `ProxyError` for an address that SOCKS 4 cannot. No message has the credentials in it.
    """

    __slots__ = ("_bound", "_credentials", "_received", "_request", "_step", "kind", "opening")

    def __init__(self, kind: SocksKind, host: str, port: int, credentials: tuple[str, str] | None = None) -> None:
        if kind not in KINDS:
            raise ValueError(f"not a kind of SOCKS: {kind!r}")
        if not 0 <= port <= 65535:
            raise InvalidURL(f"a port must be from 0 to 65535: {port}")
        self.kind = kind
        self._credentials = check_credentials(kind, credentials)
        self._received = b""
        self._bound: tuple[int, bytes, int] | None = None
        if _is_socks5(kind):
            self._request = _request5(kind, host, port)
            # Round trips are not saved by sending ahead: what to send next is the proxy's to say (RFC 1928 section 3).
            methods = bytes([_USERNAME_PASSWORD] if self._credentials else []) + bytes([_NO_AUTHENTICATION])
            self.opening = bytes([5, len(methods)]) + methods
            self._step = _Step.METHOD
        else:
            self._request = b""
            self.opening = _request4(kind, host, port, self._credentials[0] if self._credentials else b"")
            self._step = _Step.REPLY

    @property
    def done(self) -> bool:
        """Whether the proxy has connected."""
        return self._step is _Step.DONE

    @property
    def rest(self) -> bytes:
        """Once done: what came after the proxy's last reply, which is the server's."""
        return self._received

    @property
    def bound(self) -> tuple[str, int] | None:
        """Once done: address (or name) and port that the proxy says it connects from; often zeros."""
        if self._bound is None:
            return None
        kind, host, port = self._bound
        if kind == _IPV4:
            return ".".join(map(str, host)), port
        if kind == _NAME:
            return host.decode("latin-1"), port
        from ipaddress import IPv6Address  # noqa: PLC0415 - 3 ms that few need

        return str(IPv6Address(host)), port

    def feed(self, data: bytes) -> bytes:
        """Take in what the proxy sent, cut anywhere; returns what is to be sent to it now, b"" for nothing.

        Raises `SocksRefused`, `ProxyError` for credentials refused or missing, `ProtocolError` for what is not SOCKS.
        """
        self._received += data
        answer = b""
        while not self.done:
            said = self._advance()
            if said is None:
                break
            answer += said
        return answer

    def closed(self) -> ProtocolError:
        """The error to raise when the proxy closes before `done`."""
        if _HTTP.startswith(self._received) and self._received:
            return _not_socks(self.kind, self._received)
        if self._step is _Step.VERDICT:
            return ProtocolError("it closed the connection when it had got the credentials")
        return ProtocolError(f"it closed the connection before {self._step.value}")

    def _advance(self) -> bytes | None:
        """Take one reply; returns what it is answered with, None while it is not all there."""
        received = self._received
        version = 0 if not _is_socks5(self.kind) else 1 if self._step is _Step.VERDICT else 5
        if received and received[0] != version:
            if len(received) < len(_HTTP) and _HTTP.startswith(received):
                return None
            raise _not_socks(self.kind, received)
        if len(received) < 2:
            return None
        if version == 0:
            return self._reply4(received)
        if self._step is _Step.REPLY:
            return self._reply5(received)
        self._received = received[2:]
        if self._step is _Step.METHOD:
            return self._method(received[1])
        if received[1] != 0:  # RFC 1929 section 2
            raise ProxyError("it refused the user and password")
        self._step = _Step.REPLY
        return self._request

    def _method(self, method: int) -> bytes:
        if method == _NO_AUTHENTICATION:
            self._step = _Step.REPLY
            return self._request
        if method == _USERNAME_PASSWORD and self._credentials:
            self._step = _Step.VERDICT
            user, password = self._credentials
            return b"\x01%c%b%c%b" % (len(user), user, len(password), password)
        if method != _NONE_ACCEPTABLE:
            raise ProtocolError(f"it chose a way to authenticate that was not offered (0x{method:02x})")
        if self._credentials:
            raise ProxyError("it takes neither a user and password, which were given, nor none")
        raise ProxyError("it wants credentials, and none were given")

    def _reply5(self, received: bytes) -> bytes | None:
        code = received[1]
        if code:
            # Not waited for: some proxies close without an address.
            raise SocksRefused(code, REPLIES5.get(code))
        if len(received) < 5:
            return None
        kind = received[3]
        start = 4
        if kind == _NAME:
            start, length = 5, received[4]
        elif kind in (_IPV4, _IPV6):
            length = 4 if kind == _IPV4 else 16
        else:
            raise ProtocolError(f"it answered with an address of unknown type {kind}")
        end = start + length + 2
        if len(received) < end:
            return None
        self._bound = kind, received[start : end - 2], int.from_bytes(received[end - 2 : end])
        self._received = received[end:]
        self._step = _Step.DONE
        return b""

    def _reply4(self, received: bytes) -> bytes | None:
        code = received[1]
        if code != _GRANTED4:
            raise SocksRefused(code, REPLIES4.get(code))
        if len(received) < 8:
            return None
        self._bound = _IPV4, received[4:8], int.from_bytes(received[2:4])
        self._received = received[8:]
        self._step = _Step.DONE
        return b""

    def __repr__(self) -> str:
        return f"<SocksHandshake {self.kind} {'done' if self.done else f'before {self._step.value}'}>"


_HTTP = b"HTTP/"


def _is_socks5(kind: str) -> bool:
    return kind in ("socks5", "socks5h")


def _not_socks(kind: str, received: bytes) -> ProtocolError:
    # The same however it was cut: more than its beginning may not be there.
    if _HTTP.startswith(received[:5]):
        return ProtocolError("it answers in HTTP, not in SOCKS; its URL may have to begin with http://")
    if received[0] in (0x15, 0x16):  # alert or handshake, RFC 8446 section 5.1
        return ProtocolError("it answers in TLS, not in SOCKS")
    expected = "SOCKS 5" if _is_socks5(kind) else "SOCKS 4"
    return ProtocolError(f"its answer is not {expected}: it begins with the byte 0x{received[0]:02x}")


def check_credentials(kind: SocksKind, credentials: tuple[str, str] | None) -> tuple[bytes, bytes] | None:
    """User and password as they go out. Raises `InvalidURL` for what the protocol cannot carry, without naming them."""
    if credentials is None:
        return None
    try:
        user, password = (text.encode("utf-8", "surrogateescape") for text in credentials)
    except UnicodeEncodeError:
        # Neither chained nor quoted: the codec's error holds the text.
        raise InvalidURL("the SOCKS proxy's credentials cannot be written in UTF-8") from None
    if _is_socks5(kind):
        for what, value in (("user", user), ("password", password)):
            if not 1 <= len(value) <= 255:  # RFC 1929 section 2
                raise InvalidURL(f"a {what} for SOCKS 5 has 1 to 255 bytes in UTF-8, not {len(value)}")
    else:
        if password:
            raise InvalidURL("SOCKS 4 has a user id, and no password")
        if b"\0" in user or len(user) > 255:
            raise InvalidURL("a user id for SOCKS 4 has at most 255 bytes in UTF-8, and no NUL")
    return user, password


def _literal(host: str) -> Any:
    """The address that `host` spells out, None if it is a name."""
    if ":" not in host and not host[-1:].isdigit():
        return None
    from ipaddress import ip_address  # noqa: PLC0415 - 3 ms that few need

    try:
        return ip_address(host)
    except ValueError:
        return None


def _name(kind: str, host: str) -> bytes:
    """A name as it goes out: ASCII, 1 to 255 bytes."""
    if kind not in NAMES_GO_TO_PROXY:
        raise ValueError(f"{kind} takes an address, not the name {host!r}")
    if not host.isascii():
        from ..url import parse  # noqa: PLC0415 - names out of URLs are ASCII already

        host = parse(f"http://{host}/").origin.host
    if ":" in host or not _VISIBLE.fullmatch(host):
        raise InvalidURL(f"not a host: {host!r:.300}")
    if len(host) > 255:
        raise InvalidURL(f"a SOCKS proxy takes names of at most 255 bytes, not {len(host)}: {host[:80]!r}…")
    return host.encode("ascii")


def _request5(kind: SocksKind, host: str, port: int) -> bytes:
    address = _literal(host)
    if address is None:
        name = _name(kind, host)
        where = bytes([_NAME, len(name)]) + name
    elif getattr(address, "scope_id", None):
        raise InvalidURL(f"an address with a zone means nothing to a proxy: {host!r}")
    else:
        where = bytes([_IPV4 if address.version == 4 else _IPV6]) + cast("bytes", address.packed)
    return bytes([5, _CONNECT, 0]) + where + port.to_bytes(2)


def _request4(kind: SocksKind, host: str, port: int, user: bytes) -> bytes:
    address = _literal(host)
    name = b""
    if address is None:
        # An address that cannot be one announces a name (SOCKS 4a).
        packed, name = b"\0\0\0\1", _name(kind, host) + b"\0"
    elif address.version == 6:
        raise SocksInexpressible(f"SOCKS 4 has no IPv6 addresses, and {host} is one; SOCKS 5 has")
    else:
        packed = address.packed
        if packed[:3] == b"\0\0\0" and packed[3]:
            raise SocksInexpressible(f"SOCKS 4 cannot say {host}: it would be taken for the mark of a name")
    return bytes([4, _CONNECT]) + port.to_bytes(2) + packed + user + b"\0" + name
