"""Brings what is missing of a file, over one connection or several, and goes on after failures."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from ..errors import ConnectError, FileChanged, HTTPException, HTTPStatusError, ProtocolError
from .pump import AMPLE, AVAILABLE, Outcome, Pump
from .ranges import UNKNOWN
from .repair import is_passing, is_refusal
from .sources import OtherFile, RangesIgnored
from .write_buffer import WriteBuffer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from ..fetch import Fetched
    from ..loan import Loan
    from .part_file import PartFile
    from .progress import Meter
    from .ranges import Plan, Segment
    from .rate import Rate
    from .repair import Patience
    from .source import Source
    from .sources import Answer, Sources

MEMORY: Final = 2 << 20
"""Bytes that are held, collected or being written, over all segments."""
MEMORY_OF_ONE: Final = 768 << 10
"""The same for each segment: a kill loses them and what the stream holds (256 KiB), no more than 1 MiB."""
MOST_AHEAD: Final = 256 << 10
"""Bytes that connections receive ahead if they are told nothing."""
LEAST_AHEAD: Final = 64 << 10
"""Bytes that are received ahead for each segment at least. With half of that, 64 segments over TLS take 40 % more CPU,
for 8 MiB less of memory.

By how much a process grows for 512 MiB from nginx, in MiB: with 1 segment 1 (over TLS 2), with 8 segments 3 (over TLS
6), with 64 segments 25 (over TLS 33). With a block for each segment it was 12 over TLS with 8, and 80 with 64.
"""
_LOOK: Final = 0.25
"""Seconds after which a connection that has nothing to do looks again for a segment that is slow."""


class StartOver(Exception):
    """The transfer broke, and what was brought is of no use: the file's version cannot be told."""


class Transfer:
    """One file on its way.

    - `size`: of the file, None where it is not known yet. `resumable`: whether the rest may be fetched by itself.
    """

    def __init__(
        self,
        part: PartFile,
        sources: Sources,
        plan: Plan,
        patience: Patience,
        meter: Meter,
        rate: Rate | None,
        *,
        size: int | None,
        resumable: bool,
        received: int,
    ) -> None:
        self._part = part
        self._sources = sources
        self._plan = plan
        self._patience = patience
        self._meter = meter
        self._rate = rate
        self._resumable = resumable
        self._pumps = AVAILABLE and rate is None
        self._over = asyncio.Event()
        self._ignored: RangesIgnored | None = None
        self._ranges_heeded = False
        self.size = size
        self.received = received
        """Bytes that came, those before it included."""
        self.connections = 1
        """How many were at work at one time, at most."""

    async def run(self, first: tuple[Source, Fetched, AsyncIterator[bytes]] | None, connections: int) -> None:
        """Bring everything, over so many connections. `first` is a response that brings all of the file, with its body.

        A plan that is not divided yet is one of which nobody knows whether ranges are heeded. That is asked while the
        first response is read on: it never waits for the answer, which may wait for its connection.

        Raises `FileChanged`, `RangesIgnored`, `StartOver`, OSError, and what requests raise.
        """
        self._meter.segments = 1
        self._ahead = max(MEMORY_OF_ONE // connections, LEAST_AHEAD)
        if self._rate is not None:
            self._ahead = min(self._ahead, self._rate.portion)
        self._buffer = WriteBuffer(self._part, min(MEMORY, MEMORY_OF_ONE * connections))
        failure: BaseException | None = None
        if connections == 1:
            await self._work(first)
        else:
            try:
                async with asyncio.TaskGroup() as group:
                    if self._plan.divisible:
                        self._join(group, connections)
                        await self._work(first)
                    else:
                        asking = group.create_task(self._divide(group, connections))
                        await self._work(first)
                        asking.cancel()  # all has come meanwhile
            except BaseExceptionGroup as errors:
                failure = errors
                while isinstance(failure, BaseExceptionGroup):
                    failure = failure.exceptions[0]
        if failure is not None:
            raise failure
        if self._plan.gaps and self._ignored is None:
            await self._work()  # what others gave back when they left
        if self._ignored is not None and self._plan.gaps:
            raise self._ignored
        await self._buffer.end()

    def _join(self, group: asyncio.TaskGroup, connections: int) -> None:
        """Have the others begin, beside the first connection."""
        self.connections = self._meter.segments = connections
        for _ in range(connections - 1):
            group.create_task(self._work())

    async def _divide(self, group: asyncio.TaskGroup, connections: int) -> None:
        """Ask whether ranges are heeded, and have others join in if they are, and enough is left."""
        assert self.size is not None
        if await self._sources.heeds_ranges(self.size):
            self._plan.divide(connections)
            if self._plan.gaps:
                self._join(group, connections)

    async def _work(self, first: tuple[Source, Fetched, AsyncIterator[bytes]] | None = None) -> None:
        """One connection's part: segment after segment."""
        plan, clock = self._plan, asyncio.get_running_loop().time
        while self._ignored is None:
            segment = plan.take(clock())
            if segment is None:
                if not plan.active:
                    return
                await self._look_again()
                continue
            if not await self._bring(segment, first):
                return
            first = None
        if not plan.active:
            self._over.set()

    async def _look_again(self) -> None:
        try:
            async with asyncio.timeout(_LOOK):
                await self._over.wait()
        except TimeoutError:
            pass

    async def _bring(self, segment: Segment, first: tuple[Source, Fetched, AsyncIterator[bytes]] | None) -> bool:
        """Bring a segment; whether this connection goes on."""
        plan, complete = self._plan, False
        scope = asyncio.timeout(None)  # it is over when another connection takes the rest
        try:
            async with scope:
                segment.abandon = partial(scope.reschedule, 0)
                goes_on = complete = await self._fill(segment, first)
        except TimeoutError:
            if not scope.expired():
                raise
            goes_on = True
        finally:
            segment.abandon = None
            if complete:
                plan.done(segment, asyncio.get_running_loop().time())
            else:  # a request that ends as a cancelled one, too: nobody tells the others of that
                plan.give_back(segment)
        if plan.over:
            self._over.set()
        return goes_on

    async def _fill(self, segment: Segment, first: tuple[Source, Fetched, AsyncIterator[bytes]] | None) -> bool:
        """Have the segment come to its end; False if this connection had better not go on with it."""
        if first is not None:
            await self._bring_first(segment, *first)
        while segment.left > 0:
            source = self._sources.next()
            try:
                await self._bring_range(segment, source)
            except HTTPException as error:
                if not await self._goes_on(error, source, segment):
                    return False
        return True

    async def _bring_first(
        self, segment: Segment, source: Source, response: Fetched, pieces: AsyncIterator[bytes]
    ) -> None:
        segment.reach = UNKNOWN if self.size is None else self.size
        try:
            await self._read(segment, pieces, response)
            if self.size is None:
                segment.end = self.size = segment.position
        except HTTPException as error:
            if not self._resumable:
                raise StartOver from error
            await self._goes_on(error, source, None)
        finally:
            segment.reach = segment.position
            await response.close()

    async def _bring_range(self, segment: Segment, source: Source) -> None:
        before, clock = segment.position, asyncio.get_running_loop().time
        self._plan.asked(segment, clock())
        try:
            async with self._sources.range(source, before, segment.end, self.size) as answer:
                self._plan.answered(segment, clock())
                self._ranges_heeded = True
                self._learn(answer, segment)
                segment.reach = answer.end
                try:
                    await self._read(segment, answer.response.iter_raw(), answer.response)
                finally:
                    segment.reach = segment.position
        finally:
            segment.asked_at = None
        if segment.position == before and segment.left > 0:
            raise ProtocolError("a response brought nothing", doing=f"GET {answer.response.url.shown}")

    def _learn(self, answer: Answer, segment: Segment) -> None:
        if self.size is None and answer.size is not None:
            segment.end = self.size = self._meter.total = answer.size

    async def _read(self, segment: Segment, pieces: AsyncIterator[bytes], response: Fetched) -> None:
        if self._ahead < MOST_AHEAD:
            response.receive_ahead(self._ahead)
        async for piece in pieces:
            # Borrowed before the piece is seen to: while that waits, no more would come than is held already.
            if len(piece) >= AMPLE and self._pumps and (loan := response.lend_socket()) is not None:
                loan.arrived.insert(0, piece)
                with loan:
                    if await self._pump(segment, loan):
                        return
            elif self._rate is not None:
                if await self._took_all(segment, self._rate.portions(piece)):
                    return
            elif await self._took(segment, piece):
                return

    async def _took(self, segment: Segment, piece: bytes) -> bool:
        """A piece has come; whether it was the last that is wanted."""
        meter, rate = self._meter, self._rate
        size = len(piece)
        while size >= (left := self._wanted(segment)) and self._goes_further(segment):
            pass
        if size > left:
            size = left
            segment.reach = segment.position + size  # what is cut off is gone: this response brings no more
        full = self._buffer.add(segment.position, piece if len(piece) == size else piece[:size])
        segment.position += size
        self.received += size
        meter.done += size
        if full:
            await self._buffer.flush()
        if meter.watched:
            meter.moved()
        if rate is not None:
            segment.held = True
            await rate.spent(size)
            segment.held = False
        return self._wanted(segment) <= 0

    async def _pump(self, segment: Segment, loan: Loan) -> bool:
        """Have what comes pumped into the file, for as long as that is the faster way; whether the last that is wanted
        has come."""
        try:
            pump = Pump(loan.descriptor)
        except OSError:  # too many are open: all goes on without
            self._pumps = False
            return await self._took_all(segment, loan.arrived)
        # A turn that is not wanted any more ends by itself, and at once: its bytes are counted then.
        abandon, segment.abandon = segment.abandon, None
        try:
            if await self._took_all(segment, loan.arrived):
                return True
            while pump.outcome is Outcome.GOING and loan.left:
                if self._wanted(segment) <= 0 and not self._goes_further(segment):
                    break
                start = segment.position
                room = partial(self._room, segment, start, loan.left)
                size = await asyncio.shield(self._part.pump(pump, start, room))
                loan.took(size)
                self.received += size
                segment.position = min(start + size, segment.end)
                self._meter.done += segment.position - start
                if self._meter.watched:
                    self._meter.moved()
            loan.loss = pump.loss
            self._pumps = self._pumps and pump.outcome is not Outcome.UNABLE
        finally:
            segment.abandon = abandon
            pump.close()
        return self._wanted(segment) <= 0

    def _room(self, segment: Segment, start: int, left: int, moved: int) -> int:
        """How many bytes more are wanted of the `left` ones, once the pump has moved so many. (Called in its thread.)

        The position is kept up to date within a turn, as far as the end is heeded: others would take a segment that
        seems to stand still for a slow one, and fetch again what is being written.
        """
        segment.position = min(start + moved, segment.end)
        return min(self._wanted(segment), left - moved)

    async def _took_all(self, segment: Segment, pieces: Iterable[bytes]) -> bool:
        for piece in pieces:
            if await self._took(segment, piece):
                return True
        return False

    def _wanted(self, segment: Segment) -> int:
        """Bytes of this response that the segment still needs."""
        return min(segment.end, segment.reach) - segment.position

    def _goes_further(self, segment: Segment) -> bool:
        """Whether this response brings the following segment, too."""
        return segment.reach > segment.end and self._plan.goes_on(segment, asyncio.get_running_loop().time())

    async def _goes_on(self, error: HTTPException, source: Source, segment: Segment | None) -> bool:
        """Whether to go on with the segment after a failure, once it is time to; None is one that was just begun.

        Raises the error if nobody can go on.
        """
        others = len(self._plan.active) > 1
        if isinstance(error, OtherFile):
            return True
        if isinstance(error, RangesIgnored):
            if segment is None or self._sources.give_up(source, error):
                return True
            if others:  # a response that brings all of the file may be among them
                self._ignored = error
                return False
            raise error
        if isinstance(error, FileChanged):
            if not self._sources.is_origin(source) and self._sources.give_up(source, error):
                return True
            raise error
        if (isinstance(error, ConnectError) or not is_passing(error)) and self._sources.give_up(source, error):
            return True
        if segment is not None and others and is_refusal(error):
            return False
        try:
            await self._patience.bear(error, self.received)
        except HTTPStatusError as refusal:
            if segment is None or self._ranges_heeded:
                raise
            # The server may fail with ranges only: it is asked for the whole then, which tells.
            raise RangesIgnored(f"ranges are answered with status {refusal.response.status}") from refusal
        return True
