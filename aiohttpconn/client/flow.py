"""One request's way through redirects to its response."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from ..errors import HTTPException, TooManyRedirects
from ..transport import RequestContext
from .redirects import redirect_location, redirected
from .response import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages import Proxy, Request
    from ..response import HTTPResponse
    from ..transport import Transport

DRAINED = 65_536
"""Bytes of a redirect's body that are read to keep its connection; a longer one costs more than a new connection."""


async def send(
    transport: Transport,
    request: Request,
    context: RequestContext,
    *,
    follow_redirects: bool,
    max_redirects: int,
    allow_downgrade: bool,
    choose_proxy: Callable[[Request], Proxy | None] | None,
) -> Response:
    """Send a request, follow where it leads, and return the last response, its body unread."""
    history: tuple[Response, ...] = ()
    while True:
        if choose_proxy is not None:
            context = RequestContext(context.deadline, choose_proxy(request))
        began = perf_counter()
        raw = await transport.send(request, context)
        response = Response(raw, request, history, perf_counter() - began)
        if not follow_redirects or (location := redirect_location(raw.head)) is None:
            return response
        try:
            if len(history) >= max_redirects:
                raise TooManyRedirects(
                    f"more than {max_redirects} redirects",
                    history=(*history, response),
                    doing=f"{request.method} {request.url.without_userinfo()}",
                )
            following = redirected(request, raw.status, location, allow_downgrade=allow_downgrade)
        except HTTPException as error:
            error.request = request
            raw.close_now()
            raise
        await _drain(raw, response)
        history = (*history, response)
        request = following


async def _drain(raw: HTTPResponse, response: Response) -> None:
    """Read a redirect's body if it is framed and short, so that its connection can be used again; else close it."""
    length = raw.length
    framed = raw.chunked or length is not None
    if not framed or (length is not None and length > DRAINED):
        raw.close_now()
        return
    try:
        if length is not None:
            await response.read()
            return
        kept = b""
        while len(kept) <= DRAINED and (piece := await raw.read1()):
            kept += piece
        if raw.isclosed():
            response.keep(kept)
    except HTTPException:
        pass  # the redirect itself was whole, and what it said is known
    finally:
        raw.close_now()
