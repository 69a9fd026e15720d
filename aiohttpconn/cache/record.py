"""`Record`: one stored response, and which requests it is for."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict

from ..headers import Headers
from ..messages import ResponseHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..messages import Request

_OVERHEAD = 512
"""Bytes that a record takes beside its body and fields, roughly."""


class Record:
    """A stored response.

    - `varies`: names of the request's fields that it was selected by (Vary), in lower case; `variant`: what they said,
      as a digest, so that no credentials are kept.
    - `pairs`: its fields, without those of the connection and without Set-Cookie.
    - `born`: when it was made by the origin, by this machine's clock: seconds since 1970 (RFC 9111 section 4.2.3).
    """

    __slots__ = (
        "_head",
        "body",
        "born",
        "fresh_at",
        "judged",
        "method",
        "pairs",
        "reason",
        "status",
        "url",
        "variant",
        "varies",
        "version",
    )

    def __init__(
        self,
        method: str,
        url: str,
        varies: tuple[str, ...],
        variant: bytes,
        version: int,
        status: int,
        reason: str,
        pairs: Sequence[tuple[str, str]],
        body: bytes,
        born: float,
    ) -> None:
        self.method = method
        self.url = url
        self.varies = varies
        self.variant = variant
        self.version = version
        self.status = status
        self.reason = reason
        self.pairs = tuple(pairs)
        self.body = body
        self.born = born
        self.judged: Any = None
        """Its fields as `rules` shows them to hishel."""
        self.fresh_at: int | None = None
        """The second in which it was last found to be fresh."""
        self._head: tuple[int, ResponseHead] | None = None

    @property
    def key(self) -> tuple[str, tuple[str, ...], bytes]:
        """Which of the records of a URL it takes the place of."""
        return self.method, self.varies, self.variant

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly."""
        return len(self.body) + sum([len(name) + len(value) for name, value in self.pairs]) + _OVERHEAD

    def serves(self, request: Request) -> bool:
        """Whether it was selected by what this request says, too (RFC 9111 section 4.1)."""
        return self.method == request.method and self.variant == variant_of(request, self.varies)

    def head(self, now: float) -> ResponseHead:
        """Its head as it is now, with its age."""
        age = max(0, int(now - self.born))
        if self._head is None or self._head[0] != age:
            fields = CIMultiDict(self.pairs)
            fields["Age"] = str(age)
            self._head = age, ResponseHead(self.version, self.status, self.reason, Headers(fields))
        return self._head[1]

    def __repr__(self) -> str:
        return f"<Record {self.method} {self.url} {self.status}>"


def variant_of(request: Request, varies: Iterable[str]) -> bytes:
    """What a request says in the fields of these names; empty if it says nothing. Authorization always counts, and so
    do cookies that were given with the request: what one user got is not for another, even where a server forgets to
    say so. Those of a client, which its servers change all the time, are all one user's."""
    headers = request.headers
    said = [f"{name}:{', '.join(headers.getall(name, ()))}" for name in (*varies, "authorization") if name in headers]
    if "cookie" in headers and request.own_cookies != "":
        own = request.own_cookies
        said.append(f"own cookies:{', '.join(headers.getall('cookie')) if own is None else own}")
    return blake2b("\n".join(said).encode("latin-1", "replace"), digest_size=16).digest() if said else b""
