"""The keywords that go with every request of a map: told apart, and looked at once, before the first is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from ..config import meant

if TYPE_CHECKING:
    from ..fetch import Fetch
    from ..messages import Request

OF_BUILDING = frozenset({"params", "headers", "content", "data", "json", "files", "idempotent"})
"""What goes into a request that is made of a URL."""

OF_SENDING = frozenset({"cookies", "auth", "follow_redirects", "timeout", "proxy", "max_body", "retries", "hedge"})
"""What goes with `Request`s, too."""

REDIRECTED = frozenset({"GET", "HEAD"})
"""Methods of a crawl, whose redirects are links."""

_UNFOLLOWED: dict[str, Any] = {"follow_redirects": False}
_OWN = ("checkpoint", "concurrency", "handle", "method", "ordered", "per_host", "window")


def check_handle(handle: object) -> None:
    """Refuse what is no coroutine function: each response would come to that error."""
    function = handle
    while isinstance(function, partial):
        function = function.func
    if handle is not None and not (iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)):
        raise TypeError(f"handle must be a coroutine function (async def) of a response, not {handle!r}")


def told_apart(fetch: Fetch, method: str, keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of building and those of sending.

    Raises TypeError for a name that is none and for what can be read only once, and what `build_request` raises for
    values: else each request would come to that error.
    """
    for name in keywords:
        if name not in OF_BUILDING and name not in OF_SENDING:
            raise TypeError(f"map() takes no keyword {name!r}{meant(name, [*OF_BUILDING, *OF_SENDING, *_OWN])}")
    build = {name: value for name, value in keywords.items() if name in OF_BUILDING}
    for name, value in build.items():
        if _is_read_once(value):
            raise TypeError(
                f"{name} goes with every request of a map, and {type(value).__name__} can be read only once; "
                "give bytes, a list or a mapping, or a path"
            )
    fetch.build_request(method, "http://localhost/", **build)
    return build, {name: value for name, value in keywords.items() if name in OF_SENDING}


def unfollowed(request: Request, keywords: dict[str, Any]) -> dict[str, Any]:
    """With which keywords a crawl sends a request: redirects of GET and HEAD are left to the frontier. To where one led
    goes nothing that the caller gave for another origin."""
    if request.method not in REDIRECTED:
        return keywords
    if not keywords:
        return _UNFOLLOWED
    keywords = {**keywords, "follow_redirects": False}
    first, origin = request.redirected_from, request.url.origin
    if first is not None and first != origin:
        if "auth" in keywords:
            keywords["auth"] = None
        same_host = first.host == origin.host and (origin.is_secure or not first.is_secure)
        if isinstance(keywords.get("cookies"), Mapping) and not same_host:
            del keywords["cookies"]
    return keywords


def _is_read_once(value: object) -> bool:
    """Whether it is an iterator or a file (which is one), or has one within it, as ``files=`` may."""
    if isinstance(value, Mapping):
        return any(_is_read_once(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return any(_is_read_once(each) for each in value)
    return isinstance(value, (Iterator, AsyncIterator)) or hasattr(value, "read")
