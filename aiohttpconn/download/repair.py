"""Which failures a download goes on after, and when."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final

from ..client.retries import retry_after
from ..errors import (
    AddressBlocked,
    ConnectError,
    HTTPException,
    HTTPStatusError,
    NetworkError,
    PoolTimeout,
    ProtocolError,
    RequestTimeout,
    TooSlow,
    TotalTimeout,
)

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0
_LONGEST_ASKED: Final = 60.0
"""Seconds that a server may ask for in Retry-After."""
_PASSING: Final = frozenset([408, 425, 429, 500, 502, 503, 504])


def is_passing(error: HTTPException) -> bool:
    """Whether the same request may well succeed a moment later."""
    if isinstance(error, HTTPStatusError):
        return error.response.status in _PASSING
    if isinstance(error, (TotalTimeout, AddressBlocked)):
        return False
    return isinstance(error, (NetworkError, RequestTimeout, ProtocolError, TooSlow))


def is_refusal(error: HTTPException) -> bool:
    """Whether the server, or the pool, may have enough of this many connections."""
    if isinstance(error, HTTPStatusError):
        return error.response.status in (429, 500, 502, 503, 504)
    return isinstance(error, (ConnectError, PoolTimeout))


class Patience:
    """Failures in a row, with nothing received between them.

    - `limit`: how many are borne.
    """

    def __init__(self, limit: int) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise TypeError(f"repairs must be a number, 0 or more, not {limit!r}")
        self.limit = limit
        self._failures = 0
        self._received = -1
        self._met = False
        """Whether a server was there at all, so far."""

    async def bear(self, error: HTTPException, received: int) -> None:
        """Wait before the next attempt, not at all after a first failure. `received`: bytes, so far.

        Raises the error, if it is one too many, or not one that passes.
        """
        if not is_passing(error):
            raise error
        if received > self._received:
            self._received, self._failures = received, 0
        self._failures += 1
        self._met = self._met or received > 0 or not _is_refused(error)
        # One that is being restarted comes back; where nobody ever listened, another attempt is all that is worth it.
        if self._failures > (self.limit if self._met else min(self.limit, 1)):
            error.add_note(f"{self._failures} attempts in a row failed without a byte")
            raise error
        pause = min(_FIRST_PAUSE * 2.0 ** (self._failures - 2), _LONGEST_PAUSE) if self._failures > 1 else 0.0
        await asyncio.sleep(max(pause * random.uniform(0.75, 1.25), _asked(error)))


def _is_refused(error: HTTPException) -> bool:
    return isinstance(error, ConnectError) and isinstance(error.__cause__, ConnectionRefusedError)


def _asked(error: HTTPException) -> float:
    if not isinstance(error, HTTPStatusError):
        return 0.0
    return min(retry_after(error.response.headers, time.time()), _LONGEST_ASKED)
