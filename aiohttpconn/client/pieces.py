"""A response's body on its way to the caller, piece by piece: raw, counted and capped, decoded, or kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..errors import BodyTooLarge, HTTPException, ReadTimeout
from ..wire.codings import MAX_CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..wire.codings import Decoder
    from .chunkers import Chunker
    from .response import Response

T = TypeVar("T")

TURN: Final = 16
"""Decoded pieces after which the loop has a turn though nothing is waited for: 4 MiB take some 4 ms. What a server
sends in a moment may decode for minutes."""
_RAW_TURN: Final = 256
"""The same for pieces as they came: those that have arrived may be chunks of one byte."""
_ITEMS_TURN: Final = 512
"""The same for what pieces are cut into: that many lines take some 0.1 ms, values of JSON 1 ms."""
_ITEM: Final = 512
"""Bytes that count as an item, whatever they are cut into: a piece of 256 KiB is a turn."""


def check_total(response: Response) -> None:
    """Raise `TotalTimeout`, and close, once the time for everything is over: where the body has arrived nobody waits,
    and no wait can end late."""
    deadline = response.deadline
    if deadline is not None and deadline.timeout.total is not None:
        now = asyncio.get_running_loop().time()
        if now >= deadline.at:
            error = deadline.expiry(ReadTimeout, now, None)
            response.name(error)
            response._raw.close_now()
            raise error


class RawPieces:
    """The pieces of the body as they come off the connection."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self._raw = response._raw
        self._begun = False
        self._since_turn = 0
        deadline = response.deadline
        self._timed = deadline is not None and deadline.timeout.total is not None
        self.count = 0
        """Bytes that have come."""

    def ready(self) -> bytes:
        """The next piece if it is there already, else b"": spares two coroutines a piece."""
        if not self._begun or self._timed or self._since_turn >= _RAW_TURN:
            return b""
        self._since_turn += 1
        piece = self._raw.take_piece()
        self.count += len(piece)
        return piece

    async def next(self) -> bytes:
        """The next piece, b"" at the end."""
        if not self._begun:
            self._response._claim(self)
            self._begun = True
        self._since_turn += 1
        if self._since_turn > _RAW_TURN:
            await self.turn()
        try:
            piece = await self._raw.__anext__()
        except StopAsyncIteration:
            return b""
        except HTTPException as error:
            self._response.name(error)
            raise
        if self._timed:
            check_total(self._response)
        self.count += len(piece)
        return piece

    def counted(self, size: int) -> None:
        """So many bytes were taken by somebody else."""
        self.count += size

    async def turn(self) -> None:
        """Let others have their turn: nothing else would, for as long as nothing is waited for."""
        self._since_turn = 0
        try:
            await asyncio.sleep(0)
        except BaseException:
            self._raw.close_now()
            raise


class WatchedPieces(RawPieces):
    """The same, told to hooks, and no more than `limit` bytes of them."""

    def __init__(self, response: Response, limit: int | None) -> None:
        super().__init__(response)
        self._limit = limit
        hooks = response.hooks
        self._hooks = None if hooks is None or hooks.on_chunk is None else hooks
        self._refusal: BodyTooLarge | None = None

    def ready(self) -> bytes:
        return b""

    async def next(self) -> bytes:
        if self._refusal is not None:
            raise self._refusal
        limit = self._limit
        if not self._begun and limit is not None and (length := self._raw.length) is not None and length > limit:
            self._response._claim(self)
            raise self._refuse(f"the body is {length} bytes long, and at most {limit} were wanted")
        piece = await super().next()
        if limit is not None and self.count > limit:
            raise self._refuse(f"the body is over {limit} bytes")
        if self._hooks is not None and piece:
            try:
                await self._hooks.chunk(self._response, piece)
            except BaseException:
                self._raw.close_now()
                raise
        return piece

    def _refuse(self, why: str) -> BodyTooLarge:
        self._refusal = error = BodyTooLarge(why)
        self._response.name(error)
        self._raw.close_now()
        return error


class KeptPieces(RawPieces):
    """The body that was read before, 256 KiB at a time."""

    _at = 0

    def ready(self) -> bytes:
        return b""

    async def next(self) -> bytes:
        content = self._response.content
        piece = content[self._at : self._at + MAX_CHUNK]
        self._at += len(piece)
        return piece


class DecodedPieces(RawPieces):
    """The pieces of the decoded body, no more than `limit` bytes of them: never more inflated than one piece."""

    def __init__(self, response: Response, source: RawPieces, decoder: Decoder, limit: int | None) -> None:
        super().__init__(response)
        self._source = source
        self._decoder = decoder
        self._limit = limit
        self._pending: Iterator[bytes] = iter(())
        self._fruitful = True  # whether what was given to the decoder last has brought anything
        self._ended = False
        self._error: HTTPException | None = None

    def ready(self) -> bytes:
        return b""

    async def next(self) -> bytes:
        if self._error is not None:
            raise self._error
        try:
            while not self._ended:
                piece = next(self._pending, None)
                if piece is None:
                    await self._feed()
                    continue
                self._since_turn += 1 if piece else TURN
                if self._since_turn >= TURN:
                    await self.turn()
                if self._timed:
                    check_total(self._response)
                if piece:
                    self._fruitful = True
                    self.count += len(piece)
                    if self._limit is not None and self.count > self._limit:
                        raise BodyTooLarge(f"the decoded body is over {self._limit} bytes")
                    return piece
        except HTTPException as error:
            self._error = error
            self._pending = iter(())
            self._response.name(error)
            self._raw.close_now()
            raise
        return b""

    async def _feed(self) -> None:
        """Give the decoder more of what has come."""
        if not self._fruitful:
            self._since_turn += 1
            if self._since_turn >= TURN:
                await self.turn()
        self._fruitful = False
        data = await self._source.next()
        if data:
            self._pending = self._decoder.decode(data)
        else:
            self._decoder.flush()
            self._ended = True


class BodyIterator(AsyncIterator[T]):
    """A body in pieces. `aclose()` closes the response; leaving the loop early needs nothing inside `client.stream`."""

    __slots__ = ("_chunker", "_ended", "_items", "_left", "_pieces", "_ready", "_response", "_since_turn")

    def __init__(self, response: Response, pieces: RawPieces, chunker: Chunker[T] | None) -> None:
        self._response = response
        self._pieces = pieces
        self._chunker: Chunker[T] | None = chunker
        self._items: Iterator[T] = iter(())  # of the last piece
        self._left = 0  # how many of them are not in _ready
        self._ready: Iterator[T] = iter(())  # so many that counting them one by one can be spared
        self._since_turn = 0
        self._ended = False

    def __aiter__(self) -> BodyIterator[T]:
        return self

    async def __anext__(self) -> T:
        chunker = self._chunker
        if chunker is None:
            piece = self._pieces.ready() or await self._pieces.next()
            if not piece:
                raise StopAsyncIteration
            return piece  # type: ignore[return-value]
        while True:
            for ready in self._ready:
                return ready
            if self._since_turn >= _ITEMS_TURN:
                self._since_turn = 0
                await self._pieces.turn()
            if self._left:
                count = min(self._left, _ITEMS_TURN - self._since_turn)
                self._left -= count
                self._since_turn += count
                self._ready = islice(self._items, count)
                continue
            if self._ended:
                raise StopAsyncIteration
            data = await self._pieces.next()
            self._ended = not data
            items = chunker.feed(data) if data else chunker.flush()
            self._since_turn += len(data) // _ITEM
            count = len(items)
            if self._since_turn + count <= _ITEMS_TURN:
                self._since_turn += count
                self._ready = iter(items)
            else:
                self._items = iter(items)
                self._left = count

    async def aclose(self) -> None:
        """Close the response."""
        await self._response.close()


class ValueIterator(AsyncIterator[Any]):
    """The values of a body of newline-delimited JSON; `aclose()` closes the response."""

    __slots__ = ("_line", "_lines", "_response")

    def __init__(self, response: Response, lines: BodyIterator[bytes]) -> None:
        self._response = response
        self._lines = lines
        self._line = 0

    def __aiter__(self) -> ValueIterator:
        return self

    async def __anext__(self) -> Any:
        import json  # noqa: PLC0415 - 2 ms of import; not every client speaks JSON

        while True:
            line = await self._lines.__anext__()
            self._line += 1
            try:
                # Strictly UTF-8 (RFC 8259 section 8.1); of the first line without the mark that some put before it.
                text = line.decode("utf-8-sig" if self._line == 1 else "utf-8")
                if text.strip(" \t\r"):
                    return json.loads(text)
            except json.JSONDecodeError as error:
                raise self._at_line(error.msg, error.doc, error.pos) from error
            except UnicodeDecodeError as error:
                shown = line.decode("utf-8", "replace")
                raise self._at_line("not UTF-8", shown, len(line[: error.start].decode("utf-8"))) from error

    def _at_line(self, message: str, line: str, position: int) -> ValueError:
        import json  # noqa: PLC0415 - as above

        request = self._response.request
        error = json.JSONDecodeError(message, line, position)
        error.lineno = self._line
        where = f"line {self._line} column {position + 1} of the response to {request.method}"
        error.args = (f"{message}: {where} {request.url.shown}",)
        return error

    async def aclose(self) -> None:
        """Close the response."""
        await self._response.close()
