"""Bodies to send that tell what became of them: whether they were begun, and whether they were ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.auditing import settle
from tests.servers.origin import pattern

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BLOCK = pattern(65_536)


async def endless(closed: list[bool] | None = None) -> AsyncIterator[bytes]:
    """A body that never ends, and always has more. `closed` gets an item when it is closed."""
    try:
        while True:
            yield BLOCK
    finally:
        if closed is not None:
            closed.append(True)


class CountedBody:
    """A body of several pieces, each followed by a turn of the loop. It begins anew each time it is called."""

    def __init__(self, piece: bytes, times: int) -> None:
        self.piece = piece
        self.times = times
        self.running = 0
        """How many of its iterators were begun and have not ended."""

    async def __call__(self) -> AsyncIterator[bytes]:
        self.running += 1
        try:
            for _ in range(self.times):
                yield self.piece
                await settle(1)
        finally:
            self.running -= 1
