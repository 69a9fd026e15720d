"""What must not be written to a tape: the names that count as secrets there, and the word in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..secrets import bare_name, is_secret, masked_body, masked_field, masked_url

if TYPE_CHECKING:
    from collections.abc import Iterable

REDACTED = "REDACTED"

_CREDENTIALS = frozenset({"authorization", "proxy-authorization"})


class Scrubber:
    """Replaces secrets by "REDACTED", always in the same way, so that what was scrubbed can still be compared.

    `names`: more names (of fields, query parameters, form fields and JSON members) whose values are secrets.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset([bare_name(name) for name in names])

    def is_secret(self, name: str, value: object) -> bool:
        """Whether a value is a secret. A program reads it again, so what may decide its way stays as it was."""
        bare = bare_name(name)
        if value == "":  # the next_page_token of a last page
            return False
        if bare in self._names:
            return True
        if isinstance(value, int | float):  # counts of tokens, lifetimes and the like
            return False
        if bare == "key":
            # What some services call their API key, and others what they look up: those are shorter.
            return isinstance(value, str) and len(value) >= 20
        return is_secret(name) or bare == "tokensleft"

    def url(self, url: str) -> str:
        """A URL: userinfo is left out, the values of secret parameters are replaced; all else stays as it is."""
        return masked_url(url, REDACTED, secret=self.is_secret)

    def fields(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Header fields; the names and attributes of cookies stay, schemes of credentials do not."""
        return [(name, self._field(name, value)) for name, value in pairs]

    def _field(self, name: str, value: str) -> str:
        return REDACTED if name.lower() in _CREDENTIALS else masked_field(name, value, REDACTED, self.is_secret)

    def body(self, body: bytes, content_type: str) -> bytes:
        """A form or a JSON document; anything else, and what does not parse, stays as it is."""
        return masked_body(content_type, body, REDACTED, self.is_secret)
