"""`Rule`: when a request may go out. To be subclassed for rules of one's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ..messages import Request, ResponseHead
    from ..response import HTTPResponse

Key: TypeAlias = Callable[["Request"], Hashable]
"""From a request to what it is counted under."""
Send: TypeAlias = Callable[["Request"], Awaitable["HTTPResponse"]]
"""Sends a request of a rule's own, which the rules' lines hold for, and their checks do not."""


def check_key(key: Key | None) -> Key | None:
    """The function given as a rule's `key`, if it is one, or None."""
    if key is not None and not callable(key):
        raise TypeError(f"key must be a function of the request, not {key!r}")
    return key


class Rule:
    """When a request may go out. Subclass it, and override what the rule is about; by default nothing is held back.

    A rule counts by `key`: by host unless it was given another. It serves the event loop it was first used on,
    and any number of clients there; none of its methods but `check` may wait. Moments are those of the loop's clock,
    in seconds.

    >>> class AtNight(Rule):
    ...     "Nothing goes out before `at`."
    ...     def __init__(self, at: float) -> None:
    ...         self.at = at
    ...     def ready_at(self, key: Hashable, now: float) -> float:
    ...         return self.at
    """

    _key: Key | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def bind_loop(self) -> None:
        """Belong to the running event loop from now on; RuntimeError if it is another's."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError(f"{self!r} belongs to another event loop: use one rule for each loop")

    def key(self, request: Request) -> Hashable:
        """What the request is counted under: its host (without the port), or what the function given for it says."""
        return request.url.host if self._key is None else self._key(request)

    async def check(self, request: Request, send: Send) -> None:
        """Refuse a request, by raising, before it stands in line. What this asks of servers goes through `send`."""

    def ready_at(self, key: Hashable, now: float) -> float:
        """The moment from which the next request may go; infinite: not before another one of this key is over."""
        return now

    def began(self, key: Hashable, now: float) -> None:
        """A request goes out. `over` follows, once."""

    def answered(
        self, key: Hashable, outcome: ResponseHead | Exception, began: float, seconds: float, now: float
    ) -> None:
        """What came of the request that went out at `began`: the head of its response, or why there is none. It took
        `seconds` from when the request was on its connection."""

    def over(self, key: Hashable, now: float) -> None:
        """The exchange is over: its body read, given up or failed, or the request cancelled."""
