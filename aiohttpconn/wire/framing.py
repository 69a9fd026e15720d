"""Where a body ends (RFC 9112 section 6), and the bodies themselves taken apart and put together (section 7)."""

from __future__ import annotations

import enum
from typing import Protocol, TypeAlias

from ..errors import HTTPException, IncompleteRead, LineTooLong, ProtocolError, UnknownTransferEncoding
from ..headers import (
    CONNECTION,
    CONTENT_LENGTH,
    EMPTY_HEADERS,
    PROXY_CONNECTION,
    TRANSFER_ENCODING,
    Headers,
    list_elements,
)
from ..messages import ResponseHead
from .grammar import BARE_LF, CHUNK_LINE, DIGITS
from .head import MAX_FIELDS, MAX_HEAD, LineCache, parse_fields

MAX_CHUNK_LINE = 4096
MAX_LENGTH = 2**63 - 1
_SMALL = 4096
"""Bytes below which the data of chunks is put together: 256 KiB in chunks of two bytes would be 2 MB of objects."""
_JOINED = 65_536
_KEEP_ALIVE = ["keep-alive"]


class Framing(enum.Enum):
    """How the end of a body is told."""

    NONE = "no body"
    LENGTH = "content-length"
    CHUNKED = "chunked"
    CLOSE = "close"
    UPGRADE = "upgrade"


# How a response's body ends, how long it is where that is known, and whether the connection outlives it. A plain tuple,
# and the members looked up once: a NamedTuple and three look-ups on the enum cost as much as the rest of the decision.
BodyFraming: TypeAlias = tuple[Framing, int | None, bool]
_NONE, _LENGTH, _CHUNKED, _CLOSE, _UPGRADE = Framing


def response_framing(head: ResponseHead, method: str) -> BodyFraming:
    """Decide once how the body of the response to a `method` request ends (RFC 9112 section 6.3).

    Raises `UnknownTransferEncoding`, `ProtocolError`.
    """
    headers = head.headers
    status = head.status
    connection = headers.getall(CONNECTION, None)
    if connection is None or connection == _KEEP_ALIVE:
        keep_alive = head.version == 11 or connection is not None
    else:
        options = {option.lower() for option in list_elements(connection)}
        keep_alive = "close" not in options and (head.version == 11 or "keep-alive" in options)
    if status == 101:
        return _UPGRADE, None, False
    if method == "HEAD" or status < 200 or status in (204, 304):
        return _NONE, 0, keep_alive
    if method == "CONNECT" and status < 300:
        return _UPGRADE, None, False
    codings = headers.getall(TRANSFER_ENCODING, None)
    lengths = headers.getall(CONTENT_LENGTH, None)
    if codings is not None:
        kind = _transfer_framing(codings)
        if kind is _CHUNKED:
            # Length and chunked together are how messages are smuggled: never reuse (RFC 9112 section 6.1).
            return _CHUNKED, None, keep_alive and head.version == 11 and lengths is None
        if kind is _CLOSE:
            return _CLOSE, None, False
    if lengths is not None:
        if len(lengths) == 1 and len(value := lengths[0]) < 19 and value.isascii() and value.isdigit():
            return _LENGTH, int(value), keep_alive
        return _LENGTH, content_length(lengths), keep_alive
    return _CLOSE, None, False


def proxy_closes(headers: Headers) -> bool:
    """Whether a proxy says that it closes in the field that older ones have for it (RFC 9112 appendix C.2.2)."""
    return any(option.lower() == "close" for option in list_elements(headers.getall(PROXY_CONNECTION, ())))


def _transfer_framing(values: list[str]) -> Framing | None:
    """CHUNKED if chunked is last, CLOSE if it is not; None if there is only identity, which is as good as no field."""
    codings = [coding.lower() for coding in list_elements(values)]
    if not codings or any(coding not in ("chunked", "identity") for coding in codings):
        raise UnknownTransferEncoding(", ".join(values))
    chunked = codings.count("chunked")
    if chunked > 1:
        raise ProtocolError(f"chunked is applied more than once in Transfer-Encoding: {', '.join(values)!r}")
    if not chunked:
        return None
    return Framing.CHUNKED if codings[-1] == "chunked" else Framing.CLOSE


def content_length(values: list[str]) -> int:
    """The one length that all the values of Content-Length agree on (RFC 9110 section 8.6), else `ProtocolError`."""
    lengths = set()
    for value in ",".join(values).split(","):
        digits = value.strip(" \t")
        if not DIGITS.fullmatch(digits):
            raise ProtocolError(f"Content-Length is not a number: {', '.join(values)!r:.200}")
        significant = digits.lstrip("0") or "0"
        if len(significant) > 19 or int(significant) > MAX_LENGTH:
            raise ProtocolError(f"Content-Length is over 2**63-1: {', '.join(values)!r:.200}")
        lengths.add(int(significant))
    if len(lengths) > 1:
        raise ProtocolError(f"Content-Length has several values that differ: {', '.join(values)!r:.200}")
    return lengths.pop()


# --- bodies, read -----------------------------------------------------------------------------------------------------


class BodyDecoder(Protocol):
    """Takes the body out of the bytes of a connection.

    `feed` returns the pieces of the body in `data`, never empty ones. An error in the middle is kept in `error`, so
    that what came before it can be handed out first. Once `done`, `unused` holds what came after the body; until then,
    `unparsed` holds the beginning of framing whose end has not come.
    """

    done: bool
    error: HTTPException | None
    unused: bytes
    trailers: Headers

    @property
    def unparsed(self) -> bytes: ...

    def feed(self, data: bytes) -> list[bytes]: ...

    def eof(self) -> None:
        """The peer sends no more: `IncompleteRead` in `error` unless that is where the body ends."""

    @property
    def missing(self) -> int | None:
        """Bytes of the body still to come, None when that is not known."""


class LengthDecoder:
    """A body of known length (RFC 9112 section 6.2)."""

    __slots__ = ("done", "error", "remaining", "unused")
    trailers = EMPTY_HEADERS
    unparsed = b""

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.done = length == 0
        self.error: HTTPException | None = None
        self.unused = b""

    def feed(self, data: bytes) -> list[bytes]:
        remaining = self.remaining - len(data)
        if remaining > 0:
            self.remaining = remaining
            return [data]
        self.done = True
        self.remaining = 0
        if remaining < 0:
            self.unused = data[remaining:]
            data = data[:remaining]
        return [data] if data else []

    def skip(self, size: int) -> None:
        """So many bytes of the body were taken by somebody else."""
        self.remaining -= size
        self.done = self.remaining == 0

    def eof(self) -> None:
        if not self.done:
            self.error = IncompleteRead(b"", self.remaining)

    @property
    def missing(self) -> int | None:
        return self.remaining


class CloseDecoder:
    """A body that ends when the peer closes (RFC 9112 section 6.3, rule 8)."""

    __slots__ = ("done", "error", "unused")
    trailers = EMPTY_HEADERS
    unparsed = b""

    def __init__(self) -> None:
        self.done = False
        self.error: HTTPException | None = None
        self.unused = b""

    def feed(self, data: bytes) -> list[bytes]:
        return [data] if data else []

    def eof(self) -> None:
        self.done = True

    @property
    def missing(self) -> int | None:
        return None


def _parse_chunk_line(line: bytes) -> int:
    match = CHUNK_LINE.fullmatch(line)
    if match is None:
        raise ProtocolError(f"not a chunk size: {line[:200]!r}")
    # Leading zeros count against the line's limit only.
    digits = match[1].lstrip(b"0")
    if len(digits) > 16:
        raise ProtocolError(f"a chunk size of more than 16 hexadecimal digits: {line[:200]!r}")
    return int(digits or b"0", 16)


_CHUNK_LINES: LineCache[int] = LineCache(_parse_chunk_line, limit=512, longest=20)


def _flush(small: bytearray, pieces: list[bytes]) -> None:
    pieces.append(bytes(small))
    small.clear()


class _Part(enum.Enum):
    SIZE = enum.auto()
    DATA = enum.auto()
    DATA_END = enum.auto()
    TRAILERS = enum.auto()


_SIZE, _DATA, _DATA_END, _TRAILERS = _Part


class ChunkedDecoder:
    """A chunked body with its trailers (RFC 9112 section 7.1). Framing is taken strictly: CRLF only.

    The data of small chunks that came together is handed out together, up to 64 KiB at a time.
    """

    __slots__ = ("_held", "_left", "_max_fields", "_max_head", "_part", "done", "error", "trailers", "unused")

    def __init__(self, max_head: int = MAX_HEAD, max_fields: int = MAX_FIELDS) -> None:
        self.done = False
        self.error: HTTPException | None = None
        self.unused = b""
        self.trailers: Headers = EMPTY_HEADERS
        self._part = _Part.SIZE
        self._left = 0  # of the chunk's data
        self._held = b""  # the beginning of a line, or of the trailers, whose end has not come
        self._max_head = max_head
        self._max_fields = max_fields

    def feed(self, data: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        small = bytearray()
        try:
            self._take(data, pieces, small)
        except HTTPException as error:
            self.error = error
        if small:
            pieces.append(bytes(small))
        return pieces

    def _take(self, data: bytes, pieces: list[bytes], small: bytearray) -> None:
        """`small` collects the data of small chunks; what is in it comes after `pieces`."""
        seen = len(self._held)
        if seen:
            data = self._held + data
            self._held = b""
        at = 0
        size = len(data)
        part = self._part
        while at < size:
            if part is _SIZE:
                end = data.find(b"\n", at)
                if (end if end >= 0 else size) - at >= MAX_CHUNK_LINE:
                    raise ProtocolError(f"a chunk line of over {MAX_CHUNK_LINE} bytes")
                if end < 0:
                    break
                if data[end - 1 : end] != b"\r" or end == at:
                    raise ProtocolError(f"bare LF after a chunk size: {data[at:end][:200]!r}")
                left = _CHUNK_LINES[data[at : end - 1]]
                at = end + 1
                after = at + left
                if left and data[after : after + 2] == b"\r\n":
                    # All of the chunk is here, as is the rule in a long body: one turn in place of three.
                    if left < _SMALL:
                        small += data[at:after]
                        if len(small) >= _JOINED:
                            _flush(small, pieces)
                    else:
                        if small:
                            _flush(small, pieces)
                        pieces.append(data[at:after])
                    at = after + 2
                    continue
                self._left = left
                part = _DATA if left else _TRAILERS
            elif part is _DATA:
                end = at + self._left
                if small:
                    _flush(small, pieces)
                if end > size:
                    pieces.append(data[at:] if at else data)
                    self._left = end - size
                    at = size
                    break
                pieces.append(data[at:end])
                at = end
                part = _DATA_END
            elif part is _DATA_END:
                if data[at : at + 2] != b"\r\n":
                    if size - at == 1 and data[at:] == b"\r":
                        break
                    raise ProtocolError(f"no CRLF after a chunk's data but {data[at : at + 2]!r}")
                at += 2
                part = _SIZE
            else:
                seen = seen if self._part is part else 0
                self._part = part
                self._take_trailers(data[at:], seen)
                return
        self._part = part
        self._held = data[at:]

    def _take_trailers(self, data: bytes, seen: int) -> None:
        """`seen` of the bytes were here before. They are not searched again: a section of 64 KiB that came byte by byte
        took 34 s so."""
        if data.startswith(b"\r\n"):
            end, after = 0, 2
        else:
            end = data.find(b"\r\n\r\n", max(0, seen - 3))
            after = end + 4 if end >= 0 else len(data)
        # In the order in which a byte-by-byte reader would meet them.
        if BARE_LF.search(data, seen, min(after, self._max_head)):
            raise ProtocolError("bare LF in the trailer section")
        if after > self._max_head:
            raise LineTooLong("the trailer section", after, self._max_head)
        if end < 0:
            self._held = data
            return
        if end:
            self.trailers = parse_fields(data[: end + 1], self._max_fields)
        self.done = True
        self.unused = data[after:]

    @property
    def unparsed(self) -> bytes:
        return self._held

    def eof(self) -> None:
        if not self.done and self.error is None:
            why = "the last chunk has come, the end of the trailers has not" if self._part is _Part.TRAILERS else ""
            self.error = IncompleteRead(b"", None, why)

    @property
    def missing(self) -> int | None:
        return None


# --- bodies, written --------------------------------------------------------------------------------------------------

LAST_CHUNK = b"0\r\n\r\n"


def encode_chunk(data: bytes) -> tuple[bytes, bytes, bytes]:
    """One chunk (RFC 9112 section 7.1) as three pieces, so that the data is not copied. `data` must not be empty."""
    return b"%x\r\n" % len(data), data, b"\r\n"


def encode_last_chunk(trailers: bytes = b"") -> bytes:
    """The end of a chunked body; `trailers` are fields in wire form (RFC 9112 section 7.1.2)."""
    return b"0\r\n" + trailers + b"\r\n" if trailers else LAST_CHUNK
