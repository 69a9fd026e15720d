"""What a Set-Cookie field says (RFC 6265bis section 5.6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

MAX_COOKIE = 4096
"""Octets of name and value together."""
MAX_ATTRIBUTE = 1024
"""Octets of an attribute's value; a longer one is as if it were not there."""
MAX_AGE = 400 * 24 * 3600
"""Seconds that a cookie is kept at most (section 5.5)."""

CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DELTA = r"-?[0-9]+"  # a text: compiled when the first Max-Age is read
_SAME_SITE = {"strict": "Strict", "lax": "Lax", "none": "None"}

# Servers set the same cookie again and again: parsing takes 4 µs, finding what was parsed before 0.1.
_CACHED_LINES = 1024
_CACHED_LENGTH = 512


class SetCookie:
    """One parsed Set-Cookie value.

    - `name`, `value`: as sent, without the white space around them; quotes are part of the value.
    - `attributes`: the last value of each attribute by its lower-case name, ``""`` for one without.

    What the attributes mean: `domain` (lower case, without a leading dot; ``""`` for none), `path` (None for the
    default), `secure`, `http_only`, `same_site` (``"Strict"``, ``"Lax"``, ``"None"`` or None), `max_age` (seconds, 0
    for at once) and `expires` (seconds since 1970), None where not given; `max_age` goes before `expires`.
    """

    __slots__ = (
        "attributes",
        "domain",
        "expires",
        "http_only",
        "max_age",
        "name",
        "path",
        "same_site",
        "secure",
        "value",
    )

    def __init__(self, name: str, value: str, attributes: Mapping[str, str]) -> None:
        self.name = name
        self.value = value
        self.attributes = MappingProxyType(dict(attributes))
        self.domain = attributes.get("domain", "").removeprefix(".").lower()
        path = attributes.get("path", "")
        self.path: str | None = path if path[:1] == "/" else None
        self.secure = "secure" in attributes
        self.http_only = "httponly" in attributes
        self.same_site: str | None = _SAME_SITE.get(attributes.get("samesite", "").lower())
        age = attributes.get("max-age")
        self.max_age: int | None = None if age is None else max(0, min(int(age), MAX_AGE))
        self.expires = _date(attributes["expires"]) if "expires" in attributes else None

    def __repr__(self) -> str:
        return f"<SetCookie {self.name}>"  # the value may be a secret


def parse_set_cookie(line: str) -> SetCookie | None:
    """What a Set-Cookie value says; None if it is to be ignored: it holds a control character or nothing, or its name
    and value are longer than 4096 octets together.

    >>> cookie = parse_set_cookie("sid=31d4; Path=/; Secure; HttpOnly")
    >>> cookie.name, cookie.value, dict(cookie.attributes)
    ('sid', '31d4', {'path': '/', 'secure': '', 'httponly': ''})
    """
    return _parsed_before(line) if len(line) <= _CACHED_LENGTH else _parse(line)


def _parse(line: str) -> SetCookie | None:
    if CONTROL.search(line):
        return None
    pair, *rest = line.split(";")
    name, equals, value = pair.partition("=")
    if not equals:
        name, value = "", pair
    name, value = name.strip(" \t"), value.strip(" \t")
    if not (name or value) or len(name) + len(value) > MAX_COOKIE:
        return None
    attributes = {}
    for part in rest:
        key, _, content = part.partition("=")
        key, content = key.strip(" \t").lower(), content.strip(" \t")
        if len(content) > MAX_ATTRIBUTE:
            continue
        if key == "max-age":
            if not re.fullmatch(_DELTA, content):
                continue  # an attribute that means nothing does not take the place of one before it
        elif key == "expires" and _date(content) is None:
            continue
        attributes[key] = content
    return SetCookie(name, value, attributes)


def _date(text: str) -> float | None:
    from .cookie_dates import parse_cookie_date  # noqa: PLC0415 - 0.5 ms of patterns, for cookies that have a date

    return parse_cookie_date(text)


_parsed_before = lru_cache(_CACHED_LINES)(_parse)
