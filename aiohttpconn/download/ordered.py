"""A file fetched in ranges side by side, as one sequence of pieces in their order."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any, Final

from multidict import CIMultiDict

from ..config import check_count
from ..errors import ConnectError, FileChanged, HTTPException, HTTPStatusError, PoolTimeout, ProtocolError
from ..headers import Headers
from .digests import mismatch, stated_digests
from .ranges import UNKNOWN, heeds_ranges
from .repair import Patience, is_passing
from .sources import OtherFile, RangesIgnored
from .version import Version

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .digests import Digest
    from .rate import Rate
    from .source import Source
    from .sources import Sources

LEAST_WINDOW: Final = 256 << 10
_BLOCKS: Final = 2
"""Ranges for each connection that fit into the window: while one is handed out, the next is on its way."""


class _Block:
    """One range, and what has come of it."""

    __slots__ = ("complete", "end", "pieces", "position")

    def __init__(self, start: int, end: int) -> None:
        self.position = start
        self.end = end
        self.pieces: deque[bytes] = deque()
        self.complete = False


class OrderedRanges:
    """What a `RangeStream` hands out, and the tasks that fetch it: they refer to this, and not to the stream.

    No more than `window` bytes are held.
    """

    def __init__(
        self,
        sources: Sources,
        segments: int,
        window: int,
        repairs: int,
        rate: Rate | None,
        checksum: Digest | None = None,
    ) -> None:
        check_count("segments", segments)
        if check_count("window", window) < LEAST_WINDOW:
            raise ValueError(f"window must be at least {LEAST_WINDOW} bytes: {window!r}")
        self._sources = sources
        sources.trusting = checksum is not None
        self._expected = [] if checksum is None else [checksum]
        self._hashers: dict[str, Any] = {}
        self._segments = segments
        self._range = max(window // (_BLOCKS * segments), 1)
        self._patience = Patience(repairs)
        self._rate = rate
        self._blocks: deque[_Block] = deque()
        self._at = 0
        """What the first response, or what goes on in its place, has brought."""
        self._end = UNKNOWN
        """And what it is to bring: what others bring begins there."""
        self._next = 0
        self._received = 0
        self._ranges_heeded = False
        self._let_go = asyncio.Event()
        """Set once the first response has given its connection back."""
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self.size: int | None = None
        self.headers: Headers | None = None

    async def run(self) -> AsyncGenerator[bytes]:
        """All pieces. Raises `ChecksumMismatch` after the last, and what requests raise."""
        try:
            async with aclosing(self._run()) as pieces:
                async for piece in pieces:
                    for hasher in self._hashers.values():
                        hasher.update(piece)
                    yield piece
            self._verify()
        finally:
            await self._end_tasks()

    def _expect(self, headers: Headers) -> None:
        """What a response says that the file is has to be so."""
        self._expected += stated_digests(headers, whole=True)
        names = {each.algorithm for each in self._expected}
        if "Trailer" in headers:  # what is said at the end, and hashed until then
            names.update(("sha512", "sha256", "md5"))
        for name in names:
            self._hashers.setdefault(name, hashlib.new(name, usedforsecurity=False))

    def _expect_at_the_end(self, trailers: Headers) -> None:
        """Trailers count as far as what they state was hashed on the way."""
        self._expected += [each for each in stated_digests(trailers, whole=True) if each.algorithm in self._hashers]

    def _verify(self) -> None:
        """All has been handed out."""
        for digest in self._expected:
            found = self._hashers[digest.algorithm].digest()
            if found != digest.value:
                raise mismatch(digest, found, self._sources.all[0].shown)

    async def _end_tasks(self) -> None:
        """No more ranges are to come, and those that came are not wanted. A cancellation is put off meanwhile."""
        tasks, self._tasks = self._tasks, []
        self._blocks.clear()
        for task in tasks:
            task.cancel()
        cancelled: asyncio.CancelledError | None = None
        pending = set(tasks)
        while pending:
            try:
                _, pending = await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def _run(self) -> AsyncGenerator[bytes]:
        at, ignored = 0, False
        try:
            async with aclosing(self._in_ranges()) as pieces:
                async for piece in pieces:
                    at += len(piece)
                    yield piece
        except RangesIgnored:
            ignored = True
        if ignored:
            await self._end_tasks()
            async with aclosing(self._whole_again(at)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _whole_again(self, at: int) -> AsyncGenerator[bytes]:
        """What is missing from `at` on, of a response that brings all of the file: ranges were not heeded after all."""
        async with self._sources.whole(self._patience, self._received) as (source, response):
            self._sources.check_whole(source, response)
            missing = -at
            async for piece in response.iter_raw():
                missing += len(piece)
                await self._count(len(piece))
                if missing > 0:
                    yield piece[-missing:]
            self._expect_at_the_end(response.trailers)

    async def _in_ranges(self) -> AsyncGenerator[bytes]:
        """All of it, over one connection where it cannot be divided. Raises `RangesIgnored`, perhaps halfway."""
        async with AsyncExitStack() as stack:
            source, response = await stack.enter_async_context(self._sources.whole(self._patience, self._received))
            self.headers = response.headers
            self.size = self._sources.content_length(response.headers)
            self._sources.check_size(self.size)
            version = Version.of(response.headers, self.size)
            self._sources.refer(source, version, response.headers)
            coded = self._sources.is_coded(response.headers)
            self._expect(Headers(CIMultiDict()) if coded else response.headers)
            if self.size is not None:
                self._end = self.size
                if self._segments > 1 and self.size > self._range and version.validator is not None:
                    self._begin(heeds_ranges(response.headers))
            failure: HTTPException | None = None
            try:
                async for piece in response.iter_bytes() if coded else response.iter_raw():
                    piece = await self._took(piece, self._end)  # noqa: PLW2901
                    if self._at >= self._end and not self._next:
                        await self._end_tasks()  # all has come: nobody asks any more whether it can be divided
                    yield piece
                    if self._at >= self._end:
                        break
                else:
                    self._end = self._at
                    if not coded:
                        self._expect_at_the_end(response.trailers)
            except HTTPException as error:
                if coded or version.validator is None:
                    raise
                failure = error
            await response.close()
            self._let_go.set()
            if failure is not None:
                async with aclosing(self._rest(failure)) as pieces:
                    async for piece in pieces:
                        yield piece
        if self._next:
            self._tasks.append(asyncio.create_task(self._work()))  # in the place of the first response
            async for piece in self._in_order():
                yield piece
        elif self._failure is not None:
            raise self._failure

    def _begin(self, heeded: bool | None) -> None:
        """Have ranges fetched beside the first response, if they are heeded. Where that is not known (None), it is
        asked while the response is handed out, which does not wait: the answer may wait for its connection."""
        if heeded is None:
            self._tasks = [asyncio.create_task(self._ask())]
        elif heeded:
            self._divide()

    async def _ask(self) -> None:
        """Ask whether ranges are heeded, and have them fetched then."""
        assert self.size is not None
        try:
            if await self._sources.heeds_ranges(self.size):
                self._divide()
        except Exception as error:  # of a hook, say
            self._failure = error

    def _divide(self) -> None:
        """Leave one range more to the first response, and what comes after it to others."""
        assert self.size is not None
        self._next = self._end = min(self._at + self._range, self._end)
        self._tasks += [asyncio.create_task(self._work()) for _ in range(self._segments - 1)]

    async def _took(self, piece: bytes, limit: int) -> bytes:
        """As much of a piece as comes before the limit."""
        piece = piece[: limit - self._at]
        self._at += len(piece)
        await self._count(len(piece))
        return piece

    async def _count(self, size: int) -> None:
        self._received += size
        if self._rate is not None:
            await self._rate.spent(size)

    async def _rest(self, failure: HTTPException) -> AsyncGenerator[bytes]:
        """What is missing of the range that the first response was to bring."""
        await self._patience.bear(failure, self._received)
        while self._at < self._end:
            source, before = self._sources.next(), self._at
            try:
                async with self._sources.range(source, before, self._end, self.size) as answer:
                    self._ranges_heeded = True
                    if self.size is None and answer.size is not None:
                        self._end = self.size = answer.size
                    async for piece in answer.response.iter_raw():
                        yield await self._took(piece, min(answer.end, self._end))
                        if self._at >= min(answer.end, self._end):
                            break
                if self._at == before:
                    raise ProtocolError("a response brought nothing")
            except HTTPException as error:
                await self._goes_on(error, source)

    async def _goes_on(self, error: HTTPException, source: Source) -> None:
        """Wait until it is time for another request, perhaps to another source. Raises the error if there is none."""
        if isinstance(error, OtherFile):
            return
        if isinstance(error, FileChanged) and self._sources.is_origin(source):
            raise error
        if (isinstance(error, ConnectError) or not is_passing(error)) and self._sources.give_up(source, error):
            return
        if isinstance(error, PoolTimeout) and not self._let_go.is_set():
            # The caller may have the only connection, and all the time that he wants.
            await self._let_go.wait()
            return
        try:
            await self._patience.bear(error, self._received)
        except HTTPStatusError as refusal:
            if self._ranges_heeded:
                raise
            # The server may fail with ranges only: it is asked for the whole then, which tells.
            raise RangesIgnored(f"ranges are answered with status {refusal.response.status}") from refusal

    async def _work(self) -> None:
        """One connection's part: range after range, as far ahead as the window goes."""
        assert self.size is not None
        try:
            while self._next < self.size:
                if len(self._blocks) >= _BLOCKS * self._segments - 1:
                    self._room.clear()
                    await self._room.wait()
                    continue
                block = _Block(self._next, min(self._next + self._range, self.size))
                self._next = block.end
                self._blocks.append(block)
                while block.position < block.end:
                    await self._bring(block)
                block.complete = True
                self._arrived.set()
        except BaseException as error:  # a request that ends as a cancelled one, too: who waits is told
            self._failure = self._failure or error
            self._arrived.set()
            if not isinstance(error, Exception):
                raise

    async def _bring(self, block: _Block) -> None:
        source = self._sources.next()
        before = block.position
        try:
            async with self._sources.range(source, block.position, block.end, self.size) as answer:
                self._ranges_heeded = True
                async for piece in answer.response.iter_raw():
                    piece = piece[: answer.end - block.position]  # noqa: PLW2901
                    block.position += len(piece)
                    block.pieces.append(piece)
                    if self._blocks and block is self._blocks[0]:
                        self._arrived.set()
                    await self._count(len(piece))
                    if block.position >= answer.end:
                        break
            if block.position == before:
                raise ProtocolError("a response brought nothing")
        except HTTPException as error:
            await self._goes_on(error, source)

    async def _in_order(self) -> AsyncGenerator[bytes]:
        at, size = self._end, self.size or 0
        while at < size:
            if self._failure is not None:
                raise self._failure
            block = self._blocks[0] if self._blocks else None
            if block is not None and block.pieces:
                piece = block.pieces.popleft()
                at += len(piece)
                yield piece
            elif block is not None and block.complete:
                self._blocks.popleft()
                self._room.set()
            else:
                self._arrived.clear()
                await self._arrived.wait()
