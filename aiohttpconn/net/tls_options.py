"""`TLSOptions`: what there is to say of TLS beside whom to trust and who one is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from .tls_pins import Pins, parse_pins

if TYPE_CHECKING:
    import ssl

Fingerprints: TypeAlias = str | Iterable[str] | Mapping[str, str | Iterable[str]]


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """What a client or pool is to do with TLS, beside `verify` and `cert`.

    - `server_hostname`: the name to verify and to send by SNI, instead of the URL's host (for all hosts).
    - `assert_fingerprint`: SHA-256 pins of public keys (of the SubjectPublicKeyInfo, as RFC 7469 has them), base64 or
      hex, ``sha256/`` before it or not. The server's own key must be one of them, else `TLSError` before a byte is
      sent; also with ``verify=False``. One or several for all hosts, or a mapping of host to those of that host, where
      other hosts are not held to any.
    - `minimum_version`: the oldest version of TLS; None for 1.2. Not for a context of one's own.
    - `resume`: whether sessions are kept, so that a further connection to a host is opened at less cost (RFC 8446
      section 2.2).

    >>> TLSOptions(assert_fingerprint={"api.example": "sha256/" + "A" * 43 + "="}).pins_for("www.example") is None
    True
    """

    server_hostname: str | None = None
    assert_fingerprint: Fingerprints = ()
    minimum_version: ssl.TLSVersion | None = None
    resume: bool = True

    def __post_init__(self) -> None:
        given = self.assert_fingerprint
        checked: object
        if isinstance(given, Mapping):
            checked = tuple(sorted([(host.lower().rstrip("."), parse_pins(pins)) for host, pins in given.items()]))
        else:
            checked = parse_pins(given)
        object.__setattr__(self, "assert_fingerprint", checked)

    def pins_for(self, host: str) -> Pins | None:
        """The digests of which one must be that of the host's key; None for any."""
        pins: Any = self.assert_fingerprint
        if isinstance(pins, tuple):  # as it was made of a mapping: what can be hashed
            return next((own for name, own in pins if name == host.lower().rstrip(".")), None)
        return pins or None
