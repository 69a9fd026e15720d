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
    from ..transport import Transport

DRAINED = 65_536
"""Bytes of a redirect's body that are read to keep its connection; a longer one costs more than a new connection."""


async def follow(
    transport: Transport,
    response: Response,
    context: RequestContext,
    *,
    max_redirects: int,
    allow_downgrade: bool,
    choose_proxy: Callable[[Request], Proxy | None] | None,
) -> Response:
    """Follow a response where it leads, and return the last one, its body unread."""
    history: tuple[Response, ...] = ()
    while (location := redirect_location(response.head)) is not None:
        request = response.request
        try:
            if len(history) >= max_redirects:
                raise TooManyRedirects(
                    f"more than {max_redirects} redirects",
                    history=(*history, response),
                    doing=f"{request.method} {request.url.without_userinfo()}",
                )
            following = redirected(request, response.status, location, allow_downgrade=allow_downgrade)
        except HTTPException as error:
            error.request = request
            await response.close()
            raise
        await response.drain(DRAINED)
        history = (*history, response)
        if choose_proxy is not None:
            context = RequestContext(context.deadline, choose_proxy(following))
        began = perf_counter()
        raw = await transport.send(following, context)
        response = Response(raw, following, perf_counter() - began)
        response.history = history
    return response
