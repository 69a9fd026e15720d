"""Exclusive use of a connection."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ..config import UNSET, Deadline
from ..connection import UNOPENED
from ..errors import HTTPException, PoolClosed
from ..response import HTTPResponse
from .leased import open_slot
from .ledger import closed_error
from .slot import LEASED

if TYPE_CHECKING:
    from ..connection import AsyncHTTPConnection
    from ..url import URL
    from .pool import ConnectionPool
    from .slot import Slot


class PooledConnection:
    """Exclusive use of one of a pool's connections for the length of an `async with` block."""

    __slots__ = ("_pool", "_slot", "_url", "_way")

    def __init__(self, pool: ConnectionPool, url: URL) -> None:
        self._pool = pool
        self._url = url
        self._slot: Slot | None = None

    async def __aenter__(self) -> AsyncHTTPConnection:
        pool = self._pool
        ledger = pool._ledger
        if self._slot is not None:
            raise RuntimeError("this block has been entered already")
        loop = ledger.bind_loop()
        deadline = Deadline(pool.timeout, loop.time())
        chooser = pool.chooser
        proxy = UNSET if chooser is None else chooser.choose_for(self._url)
        host = ledger.host(self._url.origin, proxy)
        what = f"exclusive use of {self._url.origin}"
        slot = ledger.slot_now(host, what, loop.time())
        if slot is None:
            slot = await ledger.slot_later(host, what, deadline)
        try:
            await open_slot(ledger, slot, what, deadline)
        except BaseException as error:
            slot.give_back()
            if chooser is not None:
                chooser.came_to(host.proxy, error)
            if ledger.aborted and isinstance(error, HTTPException) and not isinstance(error, PoolClosed):
                raise closed_error(what) from error
            raise
        self._slot = slot
        connection = slot.connection
        self._way = connection.way()
        return connection

    async def __aexit__(self, *exc: object) -> None:
        self._end()

    def _end(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            connection = slot.connection
            if connection.way() != self._way:
                connection.abort()  # it leads elsewhere now
            route = slot.host.route
            connection.forward_to(None if route.proxy is None or route.tunnelled else route.origin)
            connection.timeout = self._pool.timeout
            connection.debuglevel = 0
            connection.on_interim = None
            connection.opening = UNOPENED
            connection.auto_open = True
            connection.response_class = HTTPResponse
            slot.give_back()

    def __del__(self) -> None:
        slot = self._slot
        if slot is None or slot.state is not LEASED:
            return
        text = f"the block with {slot.connection!r} was never left; it is closed"
        connection, give_back, loop = slot.connection, slot.give_back, self._pool._ledger.loop

        def let_go() -> None:
            connection.abort()
            give_back()

        try:
            if loop is not None:
                loop.call_soon_threadsafe(let_go)
        except RuntimeError:
            pass  # the loop is closed, and with it every connection
        warnings.warn(text, ResourceWarning, stacklevel=2)  # at last: it may be made an error
