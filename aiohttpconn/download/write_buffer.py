"""What has come of a file and is not written yet: over all its connections, so that it is bounded however many."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from .part_file import PartFile

_LEAST_BLOCK: Final = 384 << 10
OLDEST: Final = 1.0
"""Seconds after which what has come is written with the next piece, however little it is: a kill loses it else."""


class Run(NamedTuple):
    """Pieces that follow one another in the file, from `offset` on."""

    offset: int
    pieces: list[bytes]


class WriteBuffer:
    """Collects pieces into blocks, each written in one turn through a thread (50 µs).

    - `most`: bytes that are held, collected or being written; whoever brings more waits. A block is a quarter of that,
      and 384 KiB at least; less where that takes more than a second.
    - `runs`: what is collected, for `PartFile.close()` to write what a failure has left.
    """

    def __init__(self, file: PartFile, most: int) -> None:
        self._file = file
        self._most = most
        self._block = max(most // 4, _LEAST_BLOCK)
        self._collected = 0
        self._held = 0
        self._since = 0.0
        """When the oldest of what is collected came."""
        self._writing: deque[tuple[asyncio.Task[None], int]] = deque()
        self.runs: list[Run] = []
        self._ending_at: dict[int, Run] = {}
        file.unwritten = self

    def add(self, offset: int, piece: bytes) -> bool:
        """A piece has come, which belongs there; whether `flush()` is due."""
        if not self._collected:
            self._since = monotonic()
        run = self._ending_at.pop(offset, None)
        if run is None:
            run = Run(offset, [])
            self.runs.append(run)
        run.pieces.append(piece)
        self._ending_at[offset + len(piece)] = run
        self._collected += len(piece)
        self._held += len(piece)
        return self._due

    @property
    def _due(self) -> bool:
        return self._collected >= self._block or (self._collected > 0 and monotonic() - self._since >= OLDEST)

    async def flush(self) -> None:
        """Begin to write what has come, once there is room for more. Raises OSError."""
        while self._writing and (self._writing[0][0].done() or self._held >= self._most):
            await self._oldest()
        if self._due:  # nobody else has begun meanwhile
            self._write()

    async def end(self) -> None:
        """Write all that has come, and wait for it. Raises OSError."""
        if self.runs:
            self._write()
        while self._writing:
            await self._oldest()

    def _write(self) -> None:
        self._writing.append((self._file.write(self.runs), self._collected))
        self.runs, self._ending_at, self._collected = [], {}, 0

    async def _oldest(self) -> None:
        """Wait until the block that has been written for the longest time is there."""
        oldest = self._writing[0]
        await asyncio.shield(oldest[0])
        if self._writing and self._writing[0] is oldest:  # of those who wait for it, one counts
            self._writing.popleft()
            self._held -= oldest[1]
