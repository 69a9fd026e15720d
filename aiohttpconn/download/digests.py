"""Digests that a file must have: the caller's, and those that the server sent (RFC 9530, RFC 3230, RFC 1864)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from ..errors import ChecksumMismatch

if TYPE_CHECKING:
    from ..headers import Headers

_STRONGEST_FIRST: Final = ("sha512", "sha256", "sha1", "md5")
_FIELD_NAMES: Final = {"sha-512": "sha512", "sha-256": "sha256", "sha": "sha1", "sha-1": "sha1", "md5": "md5"}
"""The algorithms of digest fields that tell one file from another; checksums such as crc32c are passed over."""
# Each is matched with one whole member: searched for in a field of 64 KiB, they would take a minute.
_MEMBER: Final = re.compile(r"([a-z0-9-]{1,16})=:([A-Za-z0-9+/=]{,128}):")  # a Dictionary of Byte Sequences (RFC 9651)
_OLD_MEMBER: Final = re.compile(r"([A-Za-z0-9-]{1,16})=([A-Za-z0-9+/=]{,128})")  # RFC 3230


class Digest(NamedTuple):
    """`algorithm` is `hashlib`'s name, `value` the digest, `source` who stated it: "checksum", or a field's name."""

    algorithm: str
    value: bytes
    source: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value.hex()}"


def mismatch(digest: Digest, found: bytes, shown: str, note: str = "") -> ChecksumMismatch:
    """The error for bytes that are not those. `shown`: the URL without secrets; `note`: what became of them."""
    stated = "the caller" if digest.source == "checksum" else digest.source
    return ChecksumMismatch(
        f"the {digest.algorithm} of what was received is {found.hex()}, and {stated} says {digest.value.hex()}{note}",
        doing=f"downloading {shown}",
    )


def parse_checksum(text: str) -> Digest:
    """What a caller gives as `checksum`: an algorithm of `hashlib`, a colon, the digest in hexadecimal or base64.

    Raises ValueError for what is none.

    >>> str(parse_checksum("md5:XUFAKrxLKna5cZ2REBfFkg=="))
    'md5:5d41402abc4b2a76b9719d911017c592'
    """
    if not isinstance(text, str):
        raise TypeError(f'checksum must be text such as "sha256:…", not {text!r}')
    name, _, stated = text.partition(":")
    stated = stated.strip(" :")
    name = name.strip().rstrip("=").lower()
    algorithm = _FIELD_NAMES.get(name, name.replace("-", "_") if name.startswith("sha3") else name)
    try:
        size = hashlib.new(algorithm, usedforsecurity=False).digest_size
    except ValueError:
        raise ValueError(f"checksum: no algorithm that hashlib knows: {name!r}") from None
    if not size:
        raise ValueError(f"checksum: {name} has no length of its own")
    value = _bytes_of(stated, size)
    if value is None:
        raise ValueError(f"checksum: {stated!r} is no {name} digest, which has {2 * size} hexadecimal digits")
    return Digest(algorithm, value, "checksum")


def _bytes_of(stated: str, size: int) -> bytes | None:
    try:
        if len(stated) == 2 * size:
            return bytes.fromhex(stated)
        value = base64.b64decode(stated, validate=True)
    except (ValueError, binascii.Error):
        return None
    return value if len(value) == size else None


def stated_digests(headers: Headers, *, whole: bool) -> list[Digest]:
    """The digests that the fields of a response state of the file, at most one (the strongest) of each field.

    `whole`: whether the content is the file itself, and not a range of it: then the fields about the content count too.
    What cannot be read is passed over.
    """
    found = [_strongest(headers, "Repr-Digest", _MEMBER), _strongest(headers, "Digest", _OLD_MEMBER)]
    if whole:
        found.append(_strongest(headers, "Content-Digest", _MEMBER))
        if (value := _bytes_of(headers.get("Content-MD5", "").strip(), 16)) is not None:
            found.append(Digest("md5", value, "Content-MD5"))
    return [digest for digest in found if digest is not None]


def _strongest(headers: Headers, field: str, member: re.Pattern[str]) -> Digest | None:
    stated: dict[str, bytes] = {}
    for text in ",".join(headers.getall(field, [])).split(","):
        match = member.fullmatch(text.partition(";")[0].strip(" \t"))  # parameters are passed over
        algorithm = None if match is None else _FIELD_NAMES.get(match[1].lower())
        if match is None or algorithm is None:
            continue
        value = _bytes_of(match[2], hashlib.new(algorithm, usedforsecurity=False).digest_size)
        if value is not None:
            stated[algorithm] = value
    return next((Digest(name, stated[name], field) for name in _STRONGEST_FIRST if name in stated), None)
