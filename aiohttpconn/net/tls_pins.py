"""Pins of public keys: SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469 section 2.4)."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import TypeAlias

Pins: TypeAlias = frozenset[bytes]

# A text: compiled when the first pin is read. Its whole length tells a separator of two slashes from a digest whose
# base64 begins with one.
_PIN = r'(?ai)(?:(?:pin-)?sha256(?://|[/:=]))?"?(?:([a-z0-9+/]{43}=)|((?:[0-9a-f]{2}:?){32}))"?'


def parse_pins(given: str | bytes | Iterable[str | bytes] | None) -> Pins:
    """One pin or several as digests; none for None. Raises ValueError for what is no pin, and for an empty list: it
    would let everybody in, or nobody."""
    if given is None:
        return frozenset()
    if not isinstance(given, Iterable):
        raise TypeError(f"assert_fingerprint must be a pin of a public key, or several, not {given!r}")
    each: list[str | bytes] = []
    for pin in (given,) if isinstance(given, (str, bytes)) else given:
        # curl's --pinnedpubkey and RFC 7469 write several in one.
        each += [part.strip() for part in pin.split(";")] if isinstance(pin, str) else [pin]
    if not each:
        raise ValueError("assert_fingerprint: an empty list of pins fits no key; leave it out to hold nobody to any")
    return frozenset([_digest(pin) for pin in each])


def _digest(pin: str | bytes) -> bytes:
    if isinstance(pin, bytes) and len(pin) == 32:
        return pin
    if isinstance(pin, str) and (found := re.fullmatch(_PIN, pin)):
        base64, digits = found.groups()
        return b64decode(base64) if base64 else bytes.fromhex(digits.replace(":", ""))
    raise ValueError(f"not a SHA-256 pin of a public key: {pin!r} (32 bytes in base64 or hex are one)")


def pin_of(certificate: bytes) -> str:
    """The pin of a certificate in DER, as ``"sha256/…"``."""
    return pin_text(key_digest(certificate))


def pin_text(digest: bytes) -> str:
    """A digest as it is written."""
    return "sha256/" + b64encode(digest).decode()


def key_digest(certificate: bytes) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo of a certificate in DER (RFC 5280 section 4.1). Raises ValueError."""
    start, _ = _element(certificate, 0, 0x30)  # Certificate
    at, _ = _element(certificate, start, 0x30)  # TBSCertificate
    if certificate[at : at + 1] == b"\xa0":
        at = _element(certificate, at, 0xA0)[1]  # version
    for tag in (0x02, 0x30, 0x30, 0x30, 0x30):  # serialNumber, signature, issuer, validity, subject
        at = _element(certificate, at, tag)[1]
    _, end = _element(certificate, at, 0x30)
    from hashlib import sha256  # noqa: PLC0415 - 1 ms of import, for who pins keys

    return sha256(certificate[at:end]).digest()


def _element(data: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins and ends; it must be of that tag."""
    if at + 2 > len(data) or data[at] != tag:
        raise ValueError("not an X.509 certificate in DER")
    length = data[at + 1]
    start = at + 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    if start + length > len(data):
        raise ValueError("a certificate in DER that ends early")
    return start, start + length
