"""Cookies (RFC 6265bis)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..url import URL


class CookieJar:
    """Cookies that servers set, and which of them go with a request."""

    def __init__(self) -> None:
        self.size = 0

    def header_for(self, url: URL) -> str | None:
        """The value of the Cookie field for a request, None for none."""
        return None

    def update(self, url: URL, values: Sequence[str]) -> None:
        """Take in the Set-Cookie values of a response."""


def checked_cookies(cookies: Mapping[str, str]) -> dict[str, str]:
    """The names and values of a mapping, checked. Raises `InvalidHeader`."""
    return dict(cookies)
