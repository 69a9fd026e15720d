"""`TLSOptions`: what there is to say of TLS beside whom to trust and who one is."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from ..config import Frozen
from ..errors import InvalidURL
from ..url import parse
from .tls_pins import Pins, parse_pins

Fingerprints: TypeAlias = str | Iterable[str] | Mapping[str, str | Iterable[str]]
_HOST = r"\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*|[^\s:/?#@\\*\[\]]+"
"""A host alone, of any spelling: a name or an address, one of IPv6 in brackets or not. (A text: compiled when the first
host is pinned.)"""


class _ByHost(tuple[tuple[str, Pins], ...]):
    """The pins of each host, as what can be hashed."""

    __slots__ = ()


class TLSOptions(Frozen):
    """What a client or pool is to do with TLS, beside `verify` and `cert`.

    - `server_hostname`: the name to verify and to send by SNI, instead of the URL's host (for all hosts).
    - `assert_fingerprint`: SHA-256 pins of public keys (of the SubjectPublicKeyInfo, as RFC 7469 has them), base64 or
      hex, ``sha256/`` before it or not, or curl's ``sha256//``. The server's own key must be one of them, else
      `TLSError` before a byte is sent; also with ``verify=False``. One or several for all hosts, or a mapping of host
      (without scheme and port, in any spelling) to those of that host, where other hosts are not held to any.
    - `minimum_version`: the oldest version of TLS, also with a proxy; None for 1.2. Not for a context of one's own.
    - `resume`: whether sessions are kept, so that a further connection to a host is opened at less cost (RFC 8446
      section 2.2).

    Raises ValueError for what is no pin, no host or an empty list: pins that are never looked at protect nobody.

    >>> TLSOptions(assert_fingerprint={"api.example": "sha256/" + "A" * 43 + "="}).pins_for("www.example") is None
    True
    """

    __slots__ = ("server_hostname", "assert_fingerprint", "minimum_version", "resume")  # noqa: RUF023 - in the order of the arguments
    server_hostname: str | None
    assert_fingerprint: Fingerprints | None
    minimum_version: ssl.TLSVersion | None
    resume: bool

    def __init__(
        self,
        server_hostname: str | None = None,
        assert_fingerprint: Fingerprints | None = None,
        minimum_version: ssl.TLSVersion | None = None,
        resume: bool = True,
    ) -> None:
        name, oldest = server_hostname, minimum_version
        if name is not None and not isinstance(name, str):
            raise TypeError(f"server_hostname must be a str or None, not {name!r}")
        if name is not None and (not name.strip() or "\0" in name):
            raise ValueError(f"server_hostname must be the name of a host, not {name!r}")
        if oldest is not None and not isinstance(oldest, ssl.TLSVersion):
            raise TypeError(
                f"minimum_version must be an ssl.TLSVersion, such as ssl.TLSVersion.TLSv1_3, or None, not {oldest!r}"
            )
        given: Any = assert_fingerprint
        if isinstance(given, Mapping):
            if not given:
                raise ValueError("assert_fingerprint: an empty mapping pins no host; leave it out for none")
            given = _ByHost(sorted([(_host_of(key), _pins_of(key, pins)) for key, pins in given.items()]))
        elif given is not None and not isinstance(given, _ByHost):
            given = parse_pins(given)
        self._set(server_hostname, given, minimum_version, resume)

    def pins_for(self, host: str) -> Pins | None:
        """The digests of which one must be that of the host's key; None for any."""
        pins: Any = self.assert_fingerprint
        if isinstance(pins, _ByHost):
            return next((own for name, own in pins if name == host.lower().rstrip(".")), None)
        return pins  # type: ignore[no-any-return]


def _host_of(key: object) -> str:
    """The host of a mapping of pins as URLs have it: another spelling would never be found, and the pin not count."""
    if not isinstance(key, str):
        raise TypeError(f"assert_fingerprint: a host must be a str, not {key!r}")
    if re.fullmatch(_HOST, key) is not None:
        try:
            return parse(f"https://{f'[{key}]' if key.count(':') > 1 and key[0] != '[' else key}/").host.rstrip(".")
        except InvalidURL:
            pass
    raise ValueError(
        f"assert_fingerprint: {key!r} is not the name or address of one host (without scheme, port and path)"
    )


def _pins_of(host: str, given: Any) -> Pins:
    if given is None:
        raise ValueError(f"assert_fingerprint: no pins for {host!r}; leave the host out to hold it to none")
    return parse_pins(given)
