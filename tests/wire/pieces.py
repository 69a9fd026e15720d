"""Bytes cut into pieces, and a response played piece by piece through the wire alone, as a connection would do it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from aiohttpconn.errors import HTTPException, RemoteDisconnected
from aiohttpconn.wire.framing import (
    BodyDecoder,
    ChunkedDecoder,
    CloseDecoder,
    Framing,
    LengthDecoder,
    response_framing,
)
from aiohttpconn.wire.head import MAX_FIELDS, MAX_HEAD, HeadParser

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aiohttpconn.messages import ResponseHead


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    """`data` in pieces that end at the offsets `at` (those beyond its end count for nothing); none of them empty."""
    ends = sorted({offset for offset in at if 0 < offset < len(data)})
    return [data[start:end] for start, end in pairwise([0, *ends, len(data)]) if end > start]


def cuttings(data: bytes, randomly: int = 4, *, singly: int = 5000) -> Iterator[list[bytes]]:
    """The ways to cut that every parser is tested with: whole, byte by byte, at random (the same each time).

    More than `singly` bytes are not cut byte by byte but at random in 300 places.
    """
    yield [data] if data else []
    yield (
        cut(data, range(len(data)))
        if len(data) <= singly
        else cut(data, random.Random(1).sample(range(len(data)), 300))
    )
    for seed in range(randomly):
        chance = random.Random(seed)
        yield cut(data, [chance.randrange(len(data) + 1) for _ in range(chance.randint(1, 7))])


@dataclass
class Played:
    """What became of the bytes of one response, the peer having closed after them."""

    head: ResponseHead | None = None
    interim: list[ResponseHead] = field(default_factory=list)
    framing: tuple[Framing, int | None, bool] | None = None
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    unread: bytes = b""
    error: HTTPException | None = None
    stage: str = ""
    """Where the error came: "getresponse" or "read"."""

    def summary(self) -> tuple[object, ...]:
        """All of it that must not depend on how the bytes were cut."""
        heads = [(h.status, h.reason, h.version, list(h.headers.items())) for h in self.interim]
        head = None
        if self.head is not None:
            head = self.head.status, self.head.reason, self.head.version, list(self.head.headers.items())
        return (
            heads,
            head,
            self.framing,
            self.body,
            self.trailers,
            # After an error in the framing it is nobody's business what else there was.
            self.unread if self.error is None else None,
            type(self.error),
            self.stage,
        )


def decoder_for(framing: Framing, length: int | None, max_head: int, max_fields: int) -> BodyDecoder | None:
    """The decoder for a body so framed, None where there is none."""
    if framing is Framing.LENGTH:
        return LengthDecoder(length or 0)
    if framing is Framing.CHUNKED:
        return ChunkedDecoder(max_head, max_fields)
    return CloseDecoder() if framing is Framing.CLOSE else None


def play(
    parts: Iterable[bytes], method: str = "GET", *, max_head: int = MAX_HEAD, max_fields: int = MAX_FIELDS
) -> Played:
    """Parse one response out of `parts`, then the end."""
    played = Played()
    coming = iter(parts)
    parser = HeadParser(max_head, max_fields)
    try:
        head = None
        while head is None:
            data = next(coming, None)
            if data is None:
                raise RemoteDisconnected(bytes_received=parser.bytes_received)
            head = parser.feed(data)
            while head is not None and head.status < 200 and head.status != 101:
                played.interim.append(head)
                head = parser.feed(parser.rest) if parser.rest else None
        played.framing = response_framing(head, method)
        played.head = head
    except HTTPException as error:
        played.error, played.stage = error, "getresponse"
        return played
    decoder = decoder_for(*played.framing[:2], max_head, max_fields)
    for data in (parser.rest, *coming):
        if not data:
            continue
        if decoder is None or decoder.done:
            played.unread += data
            continue
        pieces = decoder.feed(data)
        assert all(pieces), "an empty piece"
        played.body += b"".join(pieces)
        if decoder.error is not None:
            break
        if decoder.done:
            played.unread += decoder.unused
    if decoder is not None:
        if not decoder.done and decoder.error is None:
            decoder.eof()
        assert decoder.done or decoder.error is not None
        played.trailers = list(decoder.trailers.items())
        if decoder.error is not None:
            played.error, played.stage = decoder.error, "read"
    return played


def play_all_ways(
    data: bytes, method: str = "GET", *, max_head: int = MAX_HEAD, max_fields: int = MAX_FIELDS, randomly: int = 4
) -> Played:
    """`play` under every cutting; that the outcome is the same each time. Returns that of the whole."""
    first: Played | None = None
    for parts in cuttings(data, randomly):
        played = play(parts, method, max_head=max_head, max_fields=max_fields)
        if first is None:
            first = played
        assert played.summary() == first.summary(), f"another outcome when cut into {list(map(len, parts))[:20]}"
    assert first is not None
    return first
