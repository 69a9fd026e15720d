"""`Departure`: when a request is on its way, so that who waits for its answer knows from when on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ..messages import Opening, Request, ResponseHead
    from ..transport import Observer


class Departure:
    """An `Observer` that notes when the request had its connection, and passes on all that it is told.

    - `at`: the loop's time then; None while the request waits for a turn or for a connection.
    """

    __slots__ = ("_observer", "at")

    def __init__(self) -> None:
        self.at: float | None = None
        self._observer: Observer | None = None

    def before(self, observer: Observer | None) -> Departure:
        """This, telling `observer` too."""
        self._observer = observer
        return self

    async def connected(self, request: Request, opening: Opening) -> None:
        """See `Observer`."""
        self.at = asyncio.get_running_loop().time()
        if self._observer is not None:
            await self._observer.connected(request, opening)

    async def reused(self, request: Request) -> None:
        """See `Observer`."""
        self.at = asyncio.get_running_loop().time()
        if self._observer is not None:
            await self._observer.reused(request)

    def interim(self, request: Request, head: ResponseHead) -> Awaitable[None] | None:
        """See `Observer`."""
        self.at = asyncio.get_running_loop().time()  # as a limit of `read` starts anew
        return None if self._observer is None else self._observer.interim(request, head)
