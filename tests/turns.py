"""The turns of the loop, counted: whether others get theirs while something long goes on."""

from __future__ import annotations

import asyncio


class TurnCounter:
    """Counts the turns of the loop as long as its block runs: it is one task more that wants its turn."""

    def __init__(self) -> None:
        self.count = 0

    async def __aenter__(self) -> TurnCounter:
        self._counting = asyncio.create_task(self._count())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._counting.cancel()
        await asyncio.wait({self._counting})

    async def _count(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)
