"""What Cache-Control says (RFC 9111 section 5.2, RFC 5861), as far as `hishel` does not act on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..headers import Headers

_DIRECTIVE = re.compile(r"""([^\s,=;"]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]*)))?""")
MOST = 2**31
"""Seconds; RFC 9111 section 1.2.2."""


def directives(headers: Headers) -> dict[str, str]:
    """The directives of Cache-Control by name in lower case, "" for those without a value; the first of a name counts.

    >>> from multidict import CIMultiDict
    >>> from aiohttpconn import Headers
    >>> directives(Headers(CIMultiDict({"Cache-Control": 'Max-Age="60", no-cache="Set-Cookie, X", public'})))
    {'max-age': '60', 'no-cache': 'Set-Cookie, X', 'public': ''}
    """
    lines = headers.getall("Cache-Control", None)
    if lines is None:
        return {}
    found: dict[str, str] = {}
    for name, quoted, plain in _DIRECTIVE.findall(", ".join(lines)):
        found.setdefault(name.lower(), quoted or plain)
    return found


def seconds(said: dict[str, str], name: str) -> int | None:
    """The seconds that a directive gives; None without it, or if it gives none."""
    value = said.get(name)
    if value is None or not (value.isascii() and value.isdigit()):
        return None
    return int(value) if len(value) < 11 else MOST
