"""What is done with a leased slot: its connection is opened, and a request is sent on it by its route.

Whoever holds the slot calls these, and gives it back when they raise.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from multidict import istr

from ..connection import UNOPENED
from ..errors import HTTPException, RemoteDisconnected, WriteError
from ..wire.framing import proxy_closes
from ..wire.head import encode_fields
from .ledger import closed_error

if TYPE_CHECKING:
    from ..config import Deadline
    from ..messages import Request
    from ..proxy import Proxy
    from ..response import HTTPResponse
    from ..transport import Observer
    from .ledger import Ledger
    from .slot import Slot

_PROXY_AUTHORIZATION = istr("Proxy-Authorization")
_CHALLENGE_BODY = 65_536
"""Bytes of a proxy's challenge that are read to keep its connection."""


async def open_slot(ledger: Ledger, slot: Slot, what: object, deadline: Deadline) -> None:
    """Connect, on behalf of `what`: a request or a text. `PoolClosed` if the pool was closed meanwhile."""
    connection = slot.connection
    await connection.open(deadline)
    if ledger.aborted:
        raise closed_error(what)
    connection.opening.why = slot.why
    slot.used = True


async def observe(observer: Observer, slot: Slot, request: Request, reused: bool) -> None:
    """Tell who wants to know on what connection the request goes out, and of the 1xx responses to it."""
    slot.connection.on_interim = partial(observer.interim, request)
    if reused:
        await observer.reused(request)
    else:
        await observer.connected(request, slot.connection.opening)


def is_fresh(slot: Slot) -> bool:
    """Whether the connection was opened for whoever holds the slot now: no response has taken the record of how yet."""
    return slot.connection.opening is not UNOPENED


async def start(
    ledger: Ledger, slot: Slot, request: Request, deadline: Deadline, observer: Observer | None
) -> HTTPResponse:
    """Send by the slot's route: through a proxy, if need be in absolute form and with its own fields."""
    route = slot.host.route
    proxy = route.proxy
    if proxy is None:
        response = await slot.connection.start(request, deadline)
    elif route.tunnelled:
        if _PROXY_AUTHORIZATION in request.headers:
            request = request.without_fields(_PROXY_AUTHORIZATION)  # the origin is not to know
        response = await slot.connection.start(request, deadline)
    else:
        response = await _forward(ledger, slot, request, deadline, observer, proxy)
    response.proxy = None if proxy is None else proxy.origin
    response.uds = route.uds
    return response


async def start_anew(
    ledger: Ledger, slot: Slot, request: Request, deadline: Deadline, observer: Observer | None
) -> HTTPResponse:
    """Send once more, on a fresh connection: the reused one was dead (see `may_replay`)."""
    request.rewind()  # some of the body may have been read
    slot.why = "the peer had closed the connection that was to be used again"
    await _renew(ledger, slot, request, deadline, observer)
    return await start(ledger, slot, request, deadline, observer)


async def _renew(ledger: Ledger, slot: Slot, request: Request, deadline: Deadline, observer: Observer | None) -> None:
    """Put a fresh connection into the slot and open it, for reasons that `slot.why` has."""
    ledger.renew(slot)
    await open_slot(ledger, slot, request, deadline)
    if observer is not None:
        await observe(observer, slot, request, reused=False)


def may_replay(request: Request, error: RemoteDisconnected | WriteError) -> bool:
    """Whether the request may go out once more: no byte of a response came, and once more is as good as once."""
    if isinstance(error, RemoteDisconnected) and error.bytes_received:
        return False
    return request.is_idempotent and request.replayable


async def _forward(
    ledger: Ledger, slot: Slot, request: Request, deadline: Deadline, observer: Observer | None, proxy: Proxy
) -> HTTPResponse:
    """Have the proxy send the request on, and answer its challenges.

    A proxy may close after its challenge and not say so. Then the answer finds no connection, and goes out once more on
    a fresh one (see `may_replay`).
    """
    target = request.url.absolute_form
    fields = proxy.fields_for(request.method, target)
    answered = 0
    kept = False  # whether the connection has carried a challenge, and seems to be there still
    while True:
        headers = request.headers
        # What the request says itself is not said twice.
        own = [pair for pair in fields if pair[0] not in headers]
        try:
            response = await slot.connection.start(request, deadline, encode_fields(own))
        except HTTPException as error:
            if answered:
                error.proxy_answered = True
            is_cut = isinstance(error, (RemoteDisconnected, WriteError)) and may_replay(request, error)
            if not kept or not is_cut or ledger.aborted:
                raise
            kept = False
        else:
            if response.status != 407 or proxy.auth is None or _PROXY_AUTHORIZATION in headers:
                return response
            challenges = response.headers.getall("Proxy-Authenticate", ())
            value = proxy.auth.answer_proxy(proxy.origin, request.method, target, challenges, answered)
            if value is None:
                return response
            fields = proxy.fields_with(value)
            answered += 1
            try:
                await _read_away(response)
            finally:
                response.close_now()
            kept = not proxy_closes(response.headers) and not slot.connection.is_stale()
        request.rewind()
        if not kept:
            slot.why = "the proxy closed the one on which it asked who one is"
            await _renew(ledger, slot, request, deadline, observer)


async def _read_away(response: HTTPResponse) -> None:
    """Read a body that nobody asked for, if it is framed and not long, so that its connection can be used again."""
    length = response.length
    if not response.chunked and (length is None or length > _CHALLENGE_BODY):
        return
    size = 0
    try:
        async with asyncio.timeout(1.0):
            while size <= _CHALLENGE_BODY and (piece := await response.read1()):
                size += len(piece)
    except (HTTPException, TimeoutError):
        pass  # what it had to say was in its head
