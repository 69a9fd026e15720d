"""What must not be written to a tape: the names that count as secrets there, and the word in their place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..secrets import MASK, bare_name, is_secret, masked_body, masked_field, masked_url
from ..wire.multipart import boundary_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..secrets import Place

REDACTED = "REDACTED"

_SHORT_ELSEWHERE = frozenset({"code", "key", "ticket"})
"""What some call a credential, and others what they look up or what came of it: those are shorter."""
_CREDENTIALS = frozenset({"authorization", "proxy-authorization"})


class Scrubber:
    """Replaces secrets by "REDACTED", always in the same way, so that what was scrubbed can still be compared.

    `names`: more names (of fields, query parameters, form fields and JSON members) whose values are secrets.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset([bare_name(name) for name in names])

    def is_secret(self, name: str, value: object, place: Place = "member") -> bool:
        """Whether a value is a secret. A program reads it again, so what may decide its way stays as it was."""
        bare = bare_name(name)
        if value == "":  # the next_page_token of a last page
            return False
        if bare in self._names:
            return True
        if isinstance(value, int | float):  # counts of tokens, lifetimes and the like
            return False
        if bare in _SHORT_ELSEWHERE and value != MASK and not (isinstance(value, str) and len(value) >= 20):
            return False
        return is_secret(name, place=place) or bare == "tokensleft"

    def url(self, url: str) -> str:
        """A URL: userinfo is left out, the values of secret parameters are replaced; all else stays as it is."""
        return masked_url(url, REDACTED, secret=self.is_secret)

    def fields(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Header fields; the names and attributes of cookies stay, schemes of credentials do not."""
        return [(name, self._field(name, value)) for name, value in pairs]

    def _field(self, name: str, value: str) -> str:
        return REDACTED if name.lower() in _CREDENTIALS else masked_field(name, value, REDACTED, self.is_secret)

    def body(self, body: bytes, content_type: str) -> bytes:
        """A form, also one in parts, or JSON; anything else stays as it is."""
        return masked_body(content_type, body, REDACTED, self.is_secret)

    def settled(self, fields: list[tuple[str, str]], body: bytes) -> tuple[list[tuple[str, str]], bytes]:
        """A request's fields and body with always the same boundary between its parts: it is made up for each."""
        for number, (name, value) in enumerate(fields):
            if name.lower() == "content-type" and value.lower().startswith("multipart/"):
                boundary = _boundary_of(value)
                if boundary is not None:
                    settled = re.sub(f'(?i)(boundary[ \t]*=[ \t]*"?){re.escape(boundary)}', rf"\1{_BOUNDARY}", value)
                    fields = [*fields[:number], (name, settled), *fields[number + 1 :]]
                    parts = (b"\r\n" + body).split(f"\r\n--{boundary}".encode())
                    body = f"\r\n--{_BOUNDARY}".encode().join(parts)[2:]
        return fields, body


_BOUNDARY = "recorded-boundary"


def _boundary_of(content_type: str) -> str | None:
    try:
        return boundary_of(content_type)
    except ValueError:
        return None
