"""Which requests are the same: their URL in canonical form, and the number that they are known by."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from ..messages import BytesLike, Request

if TYPE_CHECKING:
    from ..url import URL


def canonical_url(url: URL) -> str:
    """The URL without userinfo and fragment, the parameters of its query sorted: what two spellings of a page's address
    have in common. (Host, port, dot segments and percent-encoding are the parser's: `URL` has them in one form.)

    >>> from aiohttpconn import URL
    >>> canonical_url(URL("HTTP://Example.org:80/a/../b?y=2&x=1#top"))
    'http://example.org/b?x=1&y=2'
    """
    path, mark, query = url.target.partition("?")
    if not mark:
        return f"{url.origin}{path}"
    if "&" in query:
        query = "&".join(sorted(query.split("&")))
    return f"{url.origin}{path}?{query}" if query else f"{url.origin}{path}"


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


def key_of_request(request: Request) -> int:
    """The number of a `Request`."""
    url = request.url
    href = url.href
    if url.has_userinfo or "#" in href:
        href = f"{url.origin}{url.target}"
    return key_of(request.method, href, request.body)
