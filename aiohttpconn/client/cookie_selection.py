"""What requests to one host get of a jar's cookies (RFC 6265bis section 5.8.3), kept until something changes."""

from __future__ import annotations

from .cookie import Cookie, path_matches

NEVER = float("inf")

_PATHS = 64
"""Paths of a host for which the value of the Cookie field is kept."""


class Selection:
    """What a request to one host and path gets, and when it last did."""

    __slots__ = ("accessed", "cookies", "noted", "value")

    def __init__(self, cookies: list[Cookie]) -> None:
        self.cookies = cookies
        pairs = [f"{cookie.name}={cookie.value}" if cookie.name else cookie.value for cookie in cookies]
        self.value = "; ".join(pairs) if pairs else None
        self.accessed = 0
        self.noted = 0  # the access that the cookies know of


class Site:
    """The cookies for one host over one scheme, in the order in which they are sent, until one of them expires."""

    __slots__ = ("cookies", "paths", "until", "whole")

    def __init__(self, cookies: list[Cookie]) -> None:
        # Longer paths first, then those that were made earlier (section 5.8.3).
        cookies.sort(key=lambda cookie: (-len(cookie.path), cookie.order))
        self.cookies = cookies
        self.until = min([cookie.expires for cookie in cookies if cookie.expires is not None], default=NEVER)
        # Of most sites all cookies are for all paths.
        self.whole = Selection(cookies) if all(cookie.path == "/" for cookie in cookies) else None
        self.paths: dict[str, Selection] = {}

    def select(self, path: str) -> Selection:
        """The cookies of a request for a path."""
        if (found := self.whole or self.paths.get(path)) is None:
            found = Selection([cookie for cookie in self.cookies if path_matches(path, cookie.path)])
            if len(self.paths) >= _PATHS:
                self.note_accesses()
                self.paths.clear()
            self.paths[path] = found
        return found

    def note_accesses(self) -> None:
        """Tell the cookies when they were last sent: kept here meanwhile, since it would cost every request."""
        selections = [self.whole] if self.whole is not None else list(self.paths.values())
        for selection in selections:
            if selection.noted != selection.accessed:
                selection.noted = selection.accessed
                for cookie in selection.cookies:
                    cookie.accessed = max(cookie.accessed, selection.accessed)
