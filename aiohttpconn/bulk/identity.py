"""Which requests are the same: their URL in canonical form, and the number that they are known by."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

from ..messages import BytesLike, Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..url import URL


def canonical_url(url: URL) -> str:
    """What the spellings of a page's address have in common: the URL without userinfo and fragment; percent-encoding in
    one form (RFC 3986 section 6.2.2: upper case, and none of what needs none); the parameters of the query sorted,
    empty ones left out; the host without a trailing dot. (Dot segments and default ports the parser has taken out.)

    What a server may tell apart stays apart: ``+`` and ``%20``, ``/a`` and ``/a/``, a name given twice.

    >>> from aiohttpconn import URL
    >>> canonical_url(URL("HTTP://Example.org.:80/a/../%7eb?y=2&x=%2f&#top"))
    'http://example.org/~b?x=%2F&y=2'
    """
    path, mark, query = url.target.partition("?")
    origin = url.origin
    if origin.host[-1] == "." and origin.uds is None:
        origin = origin._replace(host=origin.host.rstrip("."))
    site = str(origin)
    if "%" in path:
        path = _ENCODED.sub(_in_one_form, path)
    if not mark:
        return f"{site}{path}"
    if "%" in query:
        query = _ENCODED.sub(_in_one_form, query)
    if "&" in query:
        query = "&".join(sorted(filter(None, query.split("&"))))
    return f"{site}{path}?{query}" if query else f"{site}{path}"


_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _in_one_form(encoded: re.Match[str]) -> str:
    text = encoded[0]
    character = chr(int(text[1:], 16))
    return character if character in _UNRESERVED else text.upper()


def key_of(method: str, url: str, body: object = None) -> int:
    """The number that a request is known by: 64 bits of a digest, so that of 100 million pages one is mistaken for
    another with a probability of 0.0003. Raises TypeError for a body that is not in memory."""
    if method == "GET" and body is None:
        digest = blake2b(url.encode(), digest_size=8)
    else:
        digest = blake2b(f"{method} {url}\n".encode(), digest_size=8)
        if isinstance(body, str):
            digest.update(body.encode("latin-1"))
        elif isinstance(body, BytesLike):
            digest.update(body)
        elif body is not None:
            raise TypeError(f"a request whose body is read as it is sent cannot be told from others: {method} {url}")
    return int.from_bytes(digest.digest(), "big", signed=True)


def key_of_request(request: Request, own_fields: Iterable[tuple[str, str]] = ()) -> int:
    """The number of a `Request`, and of those of its fields by which it differs from others."""
    url = request.url
    href = url.href
    if url.has_userinfo or "#" in href:
        href = f"{url.origin}{url.target}"
    key = key_of(request.method, href, request.body)
    fields = sorted((name.lower(), value) for name, value in own_fields)
    if not fields:
        return key
    # Hashed, so that the file does not have them: they may be secrets.
    digest = blake2b(repr((key, fields)).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big", signed=True)
