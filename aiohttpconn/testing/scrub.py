"""What must not be written to disk: credentials in fields, URLs and bodies, replaced before anybody sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_plus

REDACTED = "REDACTED"

SECRET_FIELDS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-amz-security-token", "authentication-info"}
)
"""Header fields whose values are secrets, beside those whose names say so."""

_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|token|api[-_]?key|auth[-_]?key|access[-_]?key|private[-_]?key|signature|credential"
    r"|session[-_]?id|assertion|^(pwd|sig|jwt|code_verifier|auth)$",
    re.IGNORECASE,
)
_CONFIGURATION = re.compile(r"token[-_]?(type|url|endpoint)|max[-_]?tokens", re.IGNORECASE)


class Scrubber:
    """Replaces secrets by "REDACTED", always in the same way, so that what was scrubbed can still be compared.

    `names`: more names (of fields, query parameters, form fields and JSON members) whose values are secrets.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset([name.lower() for name in names])

    def is_secret(self, name: str) -> bool:
        """Whether what goes by that name is a secret."""
        if name.lower() in self._names:
            return True
        return _SECRET_NAME.search(name) is not None and _CONFIGURATION.search(name) is None

    def fields(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Header fields; the names and attributes of cookies stay."""
        return [(name, self._field(name, value)) for name, value in pairs]

    def _field(self, name: str, value: str) -> str:
        lowered = name.lower()
        if lowered == "cookie":
            return "; ".join([f"{each.partition('=')[0].strip()}={REDACTED}" for each in value.split(";")])
        if lowered == "set-cookie":
            cookie, separator, attributes = value.partition(";")
            return f"{cookie.partition('=')[0]}={REDACTED}{separator}{attributes}"
        if lowered in ("location", "content-location", "referer"):
            return self.url(value)
        return REDACTED if lowered in SECRET_FIELDS or self.is_secret(name) else value

    def url(self, url: str) -> str:
        """A URL: userinfo is left out, the values of secret parameters are replaced; all else stays as it is."""
        url = re.sub(r"^([a-z][a-z0-9+.-]*:)?//[^/?#]*@", lambda match: f"{match[1] or ''}//", url, flags=re.IGNORECASE)
        front, mark, fragment = url.partition("#")
        path, question, query = front.partition("?")
        return f"{path}{question}{self.form(query)}{mark}{self.form(fragment)}"

    def form(self, text: str) -> str:
        """Text as application/x-www-form-urlencoded."""
        pairs = [each.partition("=") for each in text.split("&")]
        return "&".join(
            [
                name + equals + (REDACTED if value and self._is_secret_parameter(unquote_plus(name), value) else value)
                for name, equals, value in pairs
            ]
        )

    def _is_secret_parameter(self, name: str, value: str) -> bool:
        # `key` is what some services call their API key, and others what they look up: those are shorter.
        return self.is_secret(name) or (name.lower() == "key" and len(value) >= 20)

    def body(self, body: bytes, content_type: str) -> bytes:
        """A form or a JSON document; anything else, and what does not parse, stays as it is."""
        kind = content_type.partition(";")[0].strip().lower()
        try:
            if kind == "application/x-www-form-urlencoded":
                return self.form(body.decode()).encode()
            if kind == "application/json" or kind.endswith("+json"):
                document = json.loads(body)
                scrubbed = self._document(document)
                # Byte for byte as it came unless there was something to hide.
                return body if scrubbed == document else json.dumps(scrubbed, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            pass
        return body

    def _document(self, value: Any, secret: bool = False) -> Any:
        if isinstance(value, dict):
            return {name: self._document(each, secret or self.is_secret(name)) for name, each in value.items()}
        if isinstance(value, list):
            return [self._document(each, secret) for each in value]
        # Numbers are counts of tokens, lifetimes and the like.
        return REDACTED if secret and isinstance(value, str) and value else value
