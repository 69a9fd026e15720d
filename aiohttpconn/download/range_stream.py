"""`RangeStream`: what `Client.stream_ranges` returns, a file as one stream of bytes in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .handover import HandOver

if TYPE_CHECKING:
    from types import TracebackType

    from ..headers import Headers
    from .ordered import OrderedRanges


class RangeStream:
    """The bytes of a file in their order: an asynchronous iterator, and a block that lets go of the connections.

    Left by ``break`` or an error, an ``async for`` without the block lets go of them too, as soon as nothing refers to
    the stream any more. No more than `window` bytes are held, and 256 KiB.

    One task at a time may wait for a piece; cancelled (by a time limit, say) it may ask again, and nothing is lost.
    StopAsyncIteration comes after the last byte only: a stream that failed raises that again, and one that was closed
    before its end `StreamClosed`, to a task that waits, too.
    """

    def __init__(self, ranges: OrderedRanges, doing: str, total: float | None) -> None:
        self._ranges = ranges
        self._pieces = HandOver(ranges.run, doing, total)

    @property
    def size(self) -> int | None:
        """Bytes of the file; None before the first piece, and where the server does not say it."""
        return self._ranges.size

    @property
    def headers(self) -> Headers | None:
        """The fields of the response that it began with, None before the first piece."""
        return self._ranges.headers

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await self._pieces.take()

    async def aclose(self) -> None:
        """Let go of the connections. Idempotent."""
        await self._pieces.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._pieces.close_soon()
