"""Redirects as browsers follow them (RFC 9110 section 15.4, the Fetch standard's table). Decided on values: no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multidict import CIMultiDict

from ..errors import BodyNotReplayable, InvalidURL, RedirectBlocked, UnsupportedScheme
from ..headers import Headers
from ..messages import Request
from ..url import URL, decode_location, join, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages import ResponseHead

REDIRECTS = frozenset({301, 302, 303, 307, 308})

# Fields about a body go when the body goes: these, and all that begin with "content-" (the Fetch standard names five).
_BODY_FIELDS = frozenset({"expect", "trailer", "transfer-encoding"})
# What survives a change of origin, beside what is about a body and what begins with "accept". Anything else may be a
# credential: Authorization, Cookie, api-key, X-Token …
_ACROSS_ORIGINS = frozenset(
    {
        "cache-control",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "pragma",
        "range",
        "user-agent",
    }
)


def _is_about_body(name: str) -> bool:
    return name.startswith("content-") or name in _BODY_FIELDS


def _may_cross(name: str, keep: frozenset[str]) -> bool:
    return name.startswith("accept") or _is_about_body(name) or name in _ACROSS_ORIGINS or name in keep


def redirect_location(head: ResponseHead) -> str | None:
    """The Location of a redirect; None if the response is none, or names no place to go."""
    if head.status not in REDIRECTS:
        return None
    location = head.headers.get("Location")
    return location if location is not None and location.strip() else None


def check_location(head: ResponseHead) -> None:
    """Raise `RedirectBlocked` for several Locations that differ: one may have been slipped in, and browsers follow
    none of them either."""
    if len(set(head.headers.getall("Location", ()))) > 1:
        raise RedirectBlocked("the response has several Location fields that differ")


def left_behind(sent: Headers, request: Request) -> tuple[str, ...]:
    """The names of the fields that were sent before a redirect and are not sent after it, those of a body that did not
    go along left out."""
    return tuple(
        dict.fromkeys(
            name
            for name in sent
            if name not in request.headers and not (request.body is None and _is_about_body(name.lower()))
        )
    )


def redirected(
    request: Request,
    status: int,
    location: str,
    *,
    allow_downgrade: bool = False,
    keep: frozenset[str] = frozenset(),
) -> Request:
    """The request that follows a redirect.

    301 and 302 turn POST into GET, 303 all but GET and HEAD, 307 and 308 nothing. Across origins only harmless fields
    are kept, and those whose names (in lower case) are in `keep`. A fragment is inherited (RFC 9110 section 10.2.2),
    userinfo is not. Raises `RedirectBlocked` for https to http, to another Unix socket and for other schemes,
    `InvalidURL` for no URL at all, `BodyNotReplayable` when the body was read once already.
    """
    url = _target(request.url, location)
    if url.origin.scheme == "http" and request.url.origin.scheme == "https" and not allow_downgrade:
        raise RedirectBlocked(f"the redirect leads from https to http: {url.shown}")
    if url.origin.uds is not None and url.origin != request.url.origin:
        raise RedirectBlocked(f"the redirect leads to a Unix socket: {url.shown}")
    method, body = request.method, request.body
    headers = request.headers
    field_lines = request.field_lines
    becomes_get = (status in (301, 302) and method == "POST") or (status == 303 and method not in ("GET", "HEAD"))
    if becomes_get:
        method, body = "GET", None
        headers, field_lines = _only(headers, lambda name: not _is_about_body(name)), None
    elif not request.replayable:
        raise BodyNotReplayable(
            f"{status} asks for the body to be sent again to {url.shown}, and it can be read only once; "
            "give it as bytes"
        )
    if url.origin != request.url.origin:
        kept = _only(headers, lambda name: _may_cross(name, keep))
        if len(kept) < len(headers):
            headers, field_lines = kept, None
    if request.more_lines:
        field_lines = None  # they would be left out
    return Request(
        method,
        url,
        headers,
        body,
        field_lines=field_lines,
        idempotent=request.idempotent,
        redirected_from=request.redirected_from or request.url.origin,
    )


def _target(base: URL, location: str) -> URL:
    try:
        url = join(base.without_userinfo(), decode_location(location))
    except UnsupportedScheme as error:
        raise RedirectBlocked(f"the redirect leads to a scheme that is not http or https: {shown(location)}") from error
    except InvalidURL as error:
        error.args = (f"the redirect leads nowhere: {error.args[0]}",)
        raise
    if base.fragment and "#" not in location:
        url = join(url, "#" + base.fragment)
    return url


def _only(headers: Headers, keeps: Callable[[str], bool]) -> Headers:
    return Headers(CIMultiDict([pair for pair in headers.items() if keeps(pair[0].lower())]))
