"""A bandwidth limit."""

from __future__ import annotations

import asyncio
import math
from typing import Final

BURST: Final = 0.25
"""Seconds' worth of bytes that may come at once after a pause."""


class Rate:
    """Bytes per second that all who share it have together.

    - `limit`: bytes per second.
    """

    def __init__(self, limit: float) -> None:
        if isinstance(limit, bool) or not isinstance(limit, (int, float)):
            raise TypeError(f"limit_rate must be bytes per second, not {limit!r}")
        if not 0 < limit < math.inf:
            raise ValueError(f"limit_rate must be above zero: {limit!r}")
        self.limit = limit
        self._free_at = -math.inf

    @classmethod
    def of(cls, value: Rate | float | None) -> Rate | None:
        """What a caller gave as a limit."""
        return value if value is None or isinstance(value, Rate) else cls(value)

    async def spent(self, size: int) -> None:
        """So many bytes came: wait until they would have come at that rate."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - BURST) + size / self.limit
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)
