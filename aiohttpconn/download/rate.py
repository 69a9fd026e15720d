"""A bandwidth limit."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

BURST: Final = 0.25
"""Seconds' worth of bytes that may come at once after a pause, and that are taken at once."""
_LEAST: Final = 1 << 10
"""Bytes that are taken at once at least."""


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
        self.portion = max(int(limit * BURST), _LEAST)
        """Bytes to take at once: of more, some would be held back for long, and neither written nor reported."""
        self._free_at = -math.inf

    @classmethod
    def of(cls, value: Rate | float | None) -> Rate | None:
        """What a caller gave as a limit."""
        return value if value is None or isinstance(value, Rate) else cls(value)

    def portions(self, piece: bytes) -> Iterator[bytes]:
        """The piece, in as many as are to be taken one by one."""
        for at in range(0, len(piece), self.portion):
            yield piece[at : at + self.portion]

    async def spent(self, size: int) -> None:
        """So many bytes came: wait until they would have come at that rate."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - BURST) + size / self.limit
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)
