"""Content codings (RFC 9110 section 8.4): bodies decoded while they stream, in bounded pieces.

gzip (RFC 1952) and deflate (RFC 1950, or bare RFC 1951) always; br (RFC 7932) and zstd (RFC 8878) where their libraries
are installed (brotli from 1.2 on), which are imported when first used. `x-gzip` and `x-deflate` are gzip and deflate;
`identity` and empty list members are nothing. A list is undone from its end, up to five codings. One that is unknown,
or whose library is missing or lacks what is needed here, switches decoding off altogether: the bytes stay as they came,
and Content-Encoding still tells the truth.

What the contract leaves open:

- An empty body is empty in every coding.
- gzip members follow one another. Behind a complete one, whatever does not begin with 1F 8B (zero padding too) is
  ignored to the end of the body; a cut-off 1F or 1F 8B is a truncated member. zlib has no members: what follows it, or
  raw deflate, is ignored.
- deflate is zlib's if its first two bytes are a zlib header (CM 8, CINFO up to 7, a multiple of 31), else raw. A preset
  dictionary is refused. A raw stream that passes for zlib's, or gzip labelled deflate, is an error, not a guess.
- zstd frames follow one another; skippable ones hold nothing. The window of a single-segment frame is its content
  (RFC 9659 counts so too), and refused over 8 MiB as any other. A frame that tells its size holds just that.
- A gzip header whose file name and comment take over 64 KiB is refused.
- What one coding hands to the next in a stack, in all, may be 1 MiB and 64 times what comes out at the end. More is no
  compression but a way to keep the reader busy (DecodingError): some hundred bytes can hold terabytes of empty gzip
  members, empty blocks, skippable frames or garbage, and each of these decodes to nothing that `max_size` could stop.
  What the network brings is not counted: decoding it takes at most some 15 µs for each 9 bytes (zstd frames that hold
  nothing, or one byte: each takes the library 8 µs to begin). Others have their turn meanwhile: where much has been
  done and little came out, `decode` says so by an empty piece.
- What decodes before a truncation, or before a checksum that does not match, has been handed out. Where the compressed
  data itself is corrupt, what the library decoded in the failing step (up to 256 KiB) is lost.

The wrappers of gzip and zlib are read here, and the library gets bare DEFLATE. So isal and zlib take the same bodies:
isal by itself passes over reserved flags, loses its place in an FHCRC header or a preset dictionary that comes byte by
byte; and both drop what they decoded in the call in which a checksum fails. isal also lets pass some broken Huffman
tables that come in pieces. A checksum catches that, but raw deflate has none: zlib decodes it.

libzstd judges a frame by other rules when it gets all of it at once: it passes over the window, and over the size of
blocks. When it gets it in pieces, it passes over the size that the frame tells, if its last block is empty. So it gets
the header by itself, which makes all bodies come in pieces, and the size is counted here: the same verdict however a
body was split.
"""

from __future__ import annotations

import importlib
import math
import sys
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiohttpconn.errors import BodyTooLarge, DecodingError

if TYPE_CHECKING:
    from types import ModuleType

MAX_CHUNK: Final = 262_144
"""The most that one step hands out, in bytes. Larger steps are cheaper: gunzipping 119 kB of JSON takes 82 µs in one
step, 95 µs in steps of 64 KiB, 100 µs in steps of 16 KiB."""
MAX_CODINGS: Final = 5
"""The most codings that are undone, as in curl and urllib3."""

_MAX_INPUT: Final = 65_536  # given to a library at once: what it has not used is copied after every step
_FIRST_INPUT: Final = 512
"""Given first to every gzip member and zstd frame but the first of a body; then twice as much each time. A library
copies what it has not used when one ends: with whole steps, 64 KiB of empty members cost 110 MB of copying."""
_FRUITLESS_INPUT: Final = 8192  # given to a library once a step of input has brought nothing
_MEMBERS: Final = 128
"""gzip members or zstd frames after which others have their turn, if they hold little: 128 take up to 2 ms."""
_MAX_GZIP_NAMES: Final = 65_536
_MAX_BETWEEN: Final = 1 << 20
_MAX_BETWEEN_RATIO: Final = 64
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SINGLE_SEGMENT: Final = 0x20
_ZSTD_WINDOW_LOG: Final = 23  # 8 MiB, the largest that RFC 9659 lets a sender use
# brotli adds blocks of 32, 64, 128 … KiB to its output until there is this much: 229,328 bytes then
_BROTLI_LIMIT: Final = MAX_CHUNK // 2
_ZSTD: Final = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"

_Steps: TypeAlias = Generator[bytes | None, bytes, None]
"""One coding being undone: yields decoded pieces, b"" to be sent more input (b"" at its end), and None where much has
been done and little came of it, to be just resumed."""


def _more(coding: str) -> Generator[bytes | None, bytes, bytes]:
    """More input where the coding cannot end yet."""
    data = yield b""
    if not data:
        raise DecodingError(f"{coding} body: ends early, the compressed data is truncated")
    return data


class _Input:
    """What has come of a coded body and is not decoded yet. (Slicing it anew for each of many members is quadratic.)"""

    __slots__ = ("_at", "_data", "step")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.step = _MAX_INPUT

    def __len__(self) -> int:
        return len(self._data) - self._at

    def add(self, data: bytes) -> None:
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    def peek(self, size: int) -> bytes:
        return self._data[self._at : self._at + size]

    def skip(self, size: int) -> None:
        self._at += size

    def take(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size]
        self._at += len(data)
        return data

    def take_through_nul(self) -> bytes:
        """Up to the first NUL, it included; everything where there is none."""
        end = self._data.find(b"\0", self._at) + 1
        return self.take(end - self._at if end else len(self))

    def next_step(self) -> bytes:
        """What to give to the library next."""
        data = self.take(self.step)
        self.step = min(2 * self.step, _MAX_INPUT)
        return data

    def give_back(self, size: int) -> None:
        """The last `size` bytes were not used."""
        self._at -= size


def _inflate(
    coding: str, library: ModuleType, source: _Input, checksum: Callable[[bytes, int], int] | None
) -> Generator[bytes | None, bytes, tuple[int, int]]:
    """Undo bare DEFLATE (RFC 1951); returns the checksum and size of what it held."""
    inflater = library.decompressobj(-zlib.MAX_WBITS)
    value = 1 if checksum is library.adler32 else 0
    size = 0
    data = source.next_step()
    while True:
        try:
            piece: bytes = inflater.decompress(data, MAX_CHUNK)
        except library.error as error:
            raise DecodingError(f"{coding} body: the compressed data is corrupt ({error})") from error
        if piece:
            if checksum is not None:
                value = checksum(piece, value)
            size += len(piece)
            yield piece
        elif len(data) >= _FRUITLESS_INPUT:  # empty blocks
            source.step = _FRUITLESS_INPUT
            yield None
        if inflater.eof:
            source.give_back(len(inflater.unused_data))
            return value, size
        data = inflater.unconsumed_tail
        if not data and len(piece) < MAX_CHUNK:  # a full piece: there may be more without any input
            data = source.next_step()
            if not data:
                source.add((yield from _more(coding)))
                data = source.next_step()


def _gzip_header(source: _Input) -> _Steps:
    """Take in the header of a member (RFC 1952 section 2.3), however small the pieces that it comes in."""
    while len(source) < 2:
        source.add((yield from _more("gzip")))
    if (magic := source.peek(2)) != _GZIP_MAGIC:
        raise DecodingError(f"gzip body: begins with {magic.hex(' ')}, not with 1f 8b")
    while len(source) < 10:
        source.add((yield from _more("gzip")))
    fixed = source.take(10)
    flags = fixed[3]
    if fixed[2] != 8:
        raise DecodingError(f"gzip body: unknown compression method {fixed[2]}")
    if flags & 0xE0:
        raise DecodingError(f"gzip body: reserved header flags are set ({flags:#04x})")
    if flags & 0x1E == 0:
        return
    crc = zlib.crc32(fixed)
    if flags & 0x04:  # FEXTRA
        while len(source) < 2:
            source.add((yield from _more("gzip")))
        crc = zlib.crc32(source.peek(2), crc)
        left = int.from_bytes(source.take(2), "little")
        while left:
            if not (data := source.take(left)):
                source.add((yield from _more("gzip")))
            crc = zlib.crc32(data, crc)
            left -= len(data)
    size = 0
    for name in (0x08, 0x10):  # FNAME, FCOMMENT: ended by NUL
        data = b"" if flags & name else b"\0"
        while not data.endswith(b"\0"):
            if not (data := source.take_through_nul()):
                source.add((yield from _more("gzip")))
            crc = zlib.crc32(data, crc)
            size += len(data)
            if size > _MAX_GZIP_NAMES:
                raise DecodingError(f"gzip body: the names in its header are over {_MAX_GZIP_NAMES} bytes")
    if flags & 0x02:  # FHCRC
        while len(source) < 2:
            source.add((yield from _more("gzip")))
        if crc & 0xFFFF != int.from_bytes(source.take(2), "little"):
            raise DecodingError("gzip body: the header's CRC does not match")


def _gzip(library: ModuleType) -> _Steps:
    data = yield b""
    if not data:
        return
    source = _Input(data)
    for number in count(1):
        yield from _gzip_header(source)
        crc, size = yield from _inflate("gzip", library, source, library.crc32)
        while len(source) < 8:
            source.add((yield from _more("gzip")))
        if crc != int.from_bytes(source.take(4), "little"):
            raise DecodingError("gzip body: the CRC does not match, the data is corrupt")
        if size & 0xFFFFFFFF != int.from_bytes(source.take(4), "little"):
            raise DecodingError(f"gzip body: decodes to {size} bytes, which is not what its trailer says")
        while _GZIP_MAGIC.startswith(magic := source.peek(2)) and len(magic) < 2:
            if magic:
                source.add((yield from _more("gzip")))
            else:
                data = yield b""
                if not data:
                    return
                source.add(data)
        if magic != _GZIP_MAGIC:
            break
        source.step = _FIRST_INPUT
        if number % _MEMBERS == 0:
            yield None
    while (yield b""):
        pass


def _deflate(library: ModuleType) -> _Steps:
    data = yield b""
    if not data:
        return
    source = _Input(data)
    while len(source) < 2:
        source.add((yield from _more("deflate")))
    method, flags = source.peek(2)
    if method & 0x0F != 8 or method > 0x78 or (method << 8 | flags) % 31:
        yield from _inflate("deflate", zlib, source, None)
    else:
        if flags & 0x20:
            raise DecodingError("deflate body: needs a preset dictionary, and none was agreed on")
        source.skip(2)
        adler, _ = yield from _inflate("deflate", library, source, library.adler32)
        while len(source) < 4:
            source.add((yield from _more("deflate")))
        if adler != int.from_bytes(source.take(4), "big"):
            raise DecodingError("deflate body: the Adler-32 checksum does not match, the data is corrupt")
    while (yield b""):
        pass


def _brotli(library: ModuleType) -> _Steps:
    data = yield b""
    if not data:
        return
    decoder = library.Decompressor()
    while not decoder.is_finished():
        try:
            piece: bytes = decoder.process(data, output_buffer_limit=_BROTLI_LIMIT)
        except library.error as error:
            raise DecodingError(f"br body: the compressed data is corrupt, or more follows it ({error})") from error
        data = b""
        if piece:
            yield piece
        elif decoder.can_accept_more_data() and not decoder.is_finished():  # true of itself also with output pending
            data = yield from _more("br")
    if (yield b""):
        raise DecodingError("br body: more follows the end of the compressed data")


def _zstd_header_size(beginning: bytes) -> int:
    """How long the header of a frame is that begins so (RFC 8878 section 3.1), or how much of it tells."""
    if len(beginning) < 5:
        return 5
    if _is_skippable(beginning):
        return 8
    if not beginning.startswith(_ZSTD_MAGIC):
        return 5  # the library says what it thinks of that
    dictionary = (0, 1, 2, 4)[beginning[4] & 0x03]
    return 5 + (not beginning[4] & _SINGLE_SEGMENT) + dictionary + _zstd_size_field(beginning[4])


def _is_skippable(beginning: bytes) -> bool:
    return beginning[0] & 0xF0 == 0x50 and beginning[1:4] == b"\x2a\x4d\x18"


def _zstd_size_field(descriptor: int) -> int:
    """How many bytes of a header tell the size of the content: its last ones."""
    return (1 if descriptor & _SINGLE_SEGMENT else 0, 2, 4, 8)[descriptor >> 6]


def _zstd_content_size(header: bytes) -> int | None:
    """The size that the header of a frame tells, None where it tells none."""
    field = _zstd_size_field(header[4])
    if not field:
        return None
    return int.from_bytes(header[-field:], "little") + (256 if field == 2 else 0)


def _zstd(library: ModuleType) -> _Steps:
    options = {library.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    source = _Input(b"")
    for number in count(1):
        if not source:
            data = yield b""
            if not data:
                return
            source.add(data)
        while len(source) < (size := _zstd_header_size(source.peek(5))):
            source.add((yield from _more("zstd")))
        header = source.take(size)
        if _is_skippable(header):
            left = int.from_bytes(header[4:], "little")
            while left:
                if not (skipped := min(left, len(source))):
                    source.add((yield from _more("zstd")))
                source.skip(skipped)
                left -= skipped
        else:
            yield from _zstd_frame(library, options, header, source)
            source.step = _FIRST_INPUT
        if number % _MEMBERS == 0:
            yield None


def _zstd_frame(library: ModuleType, options: dict[Any, int], header: bytes, source: _Input) -> _Steps:
    frame = library.ZstdDecompressor(options=options)
    size = 0
    data = header
    while True:
        try:
            piece: bytes = frame.decompress(data, MAX_CHUNK)
        except library.ZstdError as error:
            raise DecodingError(f"zstd body: corrupt, or a window over 8 MiB ({error})") from error
        if piece:
            size += len(piece)
            yield piece
        data = b""
        if frame.eof:
            break
        if frame.needs_input:
            data = source.next_step()
            if not data:
                source.add((yield from _more("zstd")))
                data = source.next_step()
    source.give_back(len(frame.unused_data))
    told = _zstd_content_size(header)
    if told is not None and size != told:
        raise DecodingError(f"zstd body: a frame decodes to {size} bytes, and says that it holds {told}")


# --- what there is ----------------------------------------------------------------------------------------------------


@cache
def _library(name: str) -> ModuleType | None:
    """The library of this name, if it is installed and has what is asked of it here."""
    try:
        library = importlib.import_module(name)
    except ImportError:
        return None
    return library if _USABLE[name](library) else None


def _has(value: object, *names: str) -> bool:
    return all(hasattr(value, name) for name in names)


_USABLE: Final[dict[str, Callable[[ModuleType], bool]]] = {
    "isal.isal_zlib": lambda library: (
        _has(library, "decompressobj", "crc32", "adler32", "error")
        and _has(library.decompressobj(-zlib.MAX_WBITS), "eof", "unconsumed_tail", "unused_data")
    ),
    # From 1.2 on. What an older one decodes cannot be bounded, and many a package is content with one.
    "brotli": lambda library: (
        _has(library, "Decompressor", "error")
        and _has(library.Decompressor, "process", "is_finished", "can_accept_more_data")
    ),
    _ZSTD: lambda library: (
        _has(library, "ZstdDecompressor", "ZstdError", "DecompressionParameter")
        and _has(library.ZstdDecompressor, "eof", "needs_input", "unused_data")
    ),
}
"""Whether a library has what is asked of it here, by its name."""


def _inflating() -> ModuleType:
    return _library("isal.isal_zlib") or zlib


_CODINGS: Final[dict[str, tuple[Callable[[ModuleType], _Steps], Callable[[], ModuleType | None]]]] = {
    "gzip": (_gzip, _inflating),
    "x-gzip": (_gzip, _inflating),
    "deflate": (_deflate, _inflating),
    "x-deflate": (_deflate, _inflating),
    "br": (_brotli, lambda: _library("brotli")),
    "zstd": (_zstd, lambda: _library(_ZSTD)),
}


def _installed(name: str) -> bool:
    try:
        import importlib.util  # noqa: PLC0415 - not needed before the first client

        return importlib.util.find_spec(name) is not None
    except ImportError:  # the package that it would be in is missing
        return False


@cache
def accept_encoding() -> str:
    """The value for Accept-Encoding (RFC 9110 section 12.5.3): the codings whose libraries are installed.

    Looks for the libraries once. Of them brotli is imported, if it is there: only so it tells whether it can be used
    (0.4 ms; importlib.metadata takes 13 ms to tell its version).

    >>> accept_encoding().startswith("gzip, deflate")
    True
    """
    names = ["gzip", "deflate"]
    if _library("brotli") is not None:
        names.append("br")
    if _installed("_zstd" if sys.version_info >= (3, 14) else _ZSTD):  # the standard library may be built without it
        names.append("zstd")
    return ", ".join(names)


# --- decoding ---------------------------------------------------------------------------------------------------------


def _through(steps: _Steps, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Undo one coding, taking a piece of the one outside it only when all of the one before has been handed on.

    An empty piece, of this coding or of one outside it, says that much was done and nothing came of it.
    """
    fruitless = 0
    for data in pieces:
        if not data:
            yield data
        for start in range(0, len(data), _MAX_INPUT):
            piece = steps.send(data[start : start + _MAX_INPUT])
            fruitless = fruitless + 1 if piece == b"" else 0
            if fruitless > 1:  # once is nothing: a block of zstd may be longer
                yield b""
            while piece != b"":
                yield piece or b""
                piece = next(steps)


class Decoder:
    """Undoes the content codings of one body; `decoder_for` makes it.

    Give it the body in any pieces by `decode`, take all that each gives, and call `flush` at the end of the body. At
    most 256 KiB of each coding is decoded ahead of the caller, however far the body expands.

    >>> decoder = decoder_for(["deflate"])
    >>> [piece for data in (b"\\x4b", b"\\x04\\x00") for piece in decoder.decode(data)], decoder.flush()
    ([b'a'], b'')
    """

    __slots__ = ("_between", "_error", "_stages", "_undrained")

    def __init__(self, stages: Sequence[_Steps]) -> None:
        self._stages = stages
        self._error: DecodingError | None = None
        self._undrained = False
        self._between = _MAX_BETWEEN  # bytes that may still pass between the codings
        for steps in stages:
            next(steps)  # up to where it wants input

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._undrained:
            raise RuntimeError("the pieces of the last decode() have not all been taken")

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Decode the next piece of the body.

        Args:
            data: of any size, also empty.

        Returns:
            The decoded pieces, each of up to 256 KiB, decoded when it is asked for. One is empty where much has been
            done and little came out, so that others can be given their turn. Take them all before the next call of
            `decode` or `flush` (else that is a `RuntimeError`), or drop the decoder.

        Raises:
            DecodingError: while iterating: the body is corrupt. Every later call raises it again.
        """
        self._check()
        self._undrained = True
        pieces = _through(self._stages[0], (data,) if data else ())
        for steps in self._stages[1:]:
            pieces = _through(steps, self._counted(pieces))
        return self._drain(pieces)

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """What passes from one coding to the next."""
        for piece in pieces:
            self._between -= len(piece)
            if self._between < 0:
                raise DecodingError("stacked codings that decode to next to nothing: the body was made to keep us busy")
            yield piece

    def _drain(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        try:
            if len(self._stages) == 1:
                yield from pieces
            else:
                for piece in pieces:
                    self._between += _MAX_BETWEEN_RATIO * len(piece)
                    yield piece
        except DecodingError as error:
            self._error = error
            raise
        self._undrained = False

    def flush(self) -> bytes:
        """End the body.

        Returns:
            What was still held back: nothing, as `decode` hands out all that can be decoded.

        Raises:
            DecodingError: the body is truncated.
        """
        self._check()
        for steps in self._stages:
            try:
                steps.send(b"")
            except StopIteration:
                pass
            except DecodingError as error:
                self._error = error
                raise
        return b""


def decoder_for(content_encoding: Sequence[str]) -> Decoder | None:
    """The decoder for a body with these values of Content-Encoding.

    Args:
        content_encoding: one string for each field, in the order received.

    Returns:
        None where there is nothing to decode, or a coding that is not known here: the body is then taken as it comes.

    Raises:
        DecodingError: more than five codings.

    >>> decoder_for(["identity"]) is decoder_for(["gzip, unheard-of"]) is None
    True
    """
    names = [part.strip(" \t").lower() for value in content_encoding for part in value.split(",")]
    codings = [_CODINGS.get(name) for name in reversed(names) if name and name != "identity"]
    if not codings or None in codings:
        return None
    if len(codings) > MAX_CODINGS:
        raise DecodingError(f"{len(codings)} stacked content codings, more than {MAX_CODINGS} are not undone")
    stages: list[_Steps] = []
    for begin, find in filter(None, codings):
        library = find()
        if library is None:
            return None
        stages.append(begin(library))
    return Decoder(stages)


def decode_all(content_encoding: Sequence[str], body: bytes, max_size: int | None = None) -> bytes:
    """Decode a body that is there as a whole.

    Args:
        content_encoding: the values of Content-Encoding, as for `decoder_for`.
        body: all of it, as received.
        max_size: the most that it may decode to, in bytes; None for no limit.

    Returns:
        The decoded body; `body` itself where there is nothing to decode.

    Raises:
        DecodingError: it is truncated or corrupt, or has more than five codings.
        BodyTooLarge: it decodes to more than `max_size`; at most 256 KiB more than that has been decoded.

    >>> decode_all(["deflate"], b"\\x4b\\x04\\x00")
    b'a'
    """
    whole = WholeBody(content_encoding, body, max_size)
    whole.advance()
    return whole.content()


class WholeBody:
    """A body that is there as a whole, and decoded some pieces at a time, so that others have their turn in between.

    Args and errors are those of `decode_all`; the errors come from the constructor and from `advance`.
    """

    __slots__ = ("_coming", "_decoder", "_max_size", "_parts", "_size")

    def __init__(self, content_encoding: Sequence[str], body: bytes, max_size: int | None = None) -> None:
        self._decoder = decoder = decoder_for(content_encoding)
        self._coming = iter((body,) if body else ()) if decoder is None else decoder.decode(body)
        self._max_size = math.inf if max_size is None else max_size
        self._parts: list[bytes] = []
        self._size = 0

    def advance(self, pieces: int | None = None) -> bool:
        """Decode so many pieces more, fewer where little comes of much work (None for all); whether that was all."""
        taken = 0
        for piece in self._coming:
            if piece:
                taken += 1
                self._size += len(piece)
                if self._size > self._max_size:
                    self._parts.clear()
                    raise BodyTooLarge(f"the decoded body is over {self._max_size} bytes")
                self._parts.append(piece)
            elif pieces is not None:
                return False
            if taken == pieces:
                return False
        if self._decoder is not None:
            self._decoder.flush()
        return True

    def content(self) -> bytes:
        """What was decoded. One piece is that very object, uncopied."""
        parts = self._parts
        return parts[0] if len(parts) == 1 else b"".join(parts)
