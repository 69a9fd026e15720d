"""Content codings (RFC 9110 section 8.4): bodies decoded while they stream, in bounded pieces.

gzip (RFC 1952) and deflate (RFC 1950, or bare RFC 1951) always; br (RFC 7932) and zstd (RFC 8878) where their libraries
are installed, which are imported when first used. `x-gzip` and `x-deflate` are gzip and deflate; `identity` and empty
list members are nothing. A list is undone from its end, up to five codings. One that is unknown, or whose library is
missing, switches decoding off altogether: the bytes stay as they came, and Content-Encoding still tells the truth.

What the contract leaves open:

- An empty body is empty in every coding.
- gzip members follow one another. Behind a complete one, whatever does not begin with 1F 8B (zero padding too) is
  ignored to the end of the body; a cut-off 1F or 1F 8B is a truncated member. zlib has no members: what follows it, or
  raw deflate, is ignored.
- deflate is zlib's if its first two bytes are a zlib header (CM 8, CINFO up to 7, a multiple of 31), else raw. A preset
  dictionary is refused. A raw stream that passes for zlib's, or gzip labelled deflate, is an error, not a guess.
- zstd frames follow one another; skippable ones hold nothing. The window of a single-segment frame is its content
  (RFC 9659 counts so too), and refused over 8 MiB as any other.
- A gzip header over 128 KiB is refused: FEXTRA takes half of that at most, and a file's name is never as long.
- What decodes before a truncation, or before a checksum that does not match, has been handed out. Where the compressed
  data itself is corrupt, what the library decoded in the failing step (up to 256 KiB) is lost.

The wrappers of gzip and zlib are read here, and the library gets bare DEFLATE. So isal and zlib take the same bodies:
isal by itself passes over reserved flags, loses its place in an FHCRC header or a preset dictionary that comes byte by
byte; and both drop what they decoded in the call in which a checksum fails. isal also lets pass some broken Huffman
tables that come in pieces. A checksum catches that, but raw deflate has none: zlib decodes it.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

from aiohttpconn.errors import BodyTooLarge, DecodingError

if TYPE_CHECKING:
    from types import ModuleType

MAX_CHUNK: Final = 262_144
"""The most that one step hands out, in bytes. Larger steps are cheaper: gunzipping 119 kB of JSON takes 82 µs in one
step, 95 µs in steps of 64 KiB, 100 µs in steps of 16 KiB."""
MAX_CODINGS: Final = 5
"""The most codings that are undone, as in curl and urllib3."""

_MAX_INPUT: Final = 65_536  # given to a library at once: what it has not used is copied after every step
_MAX_GZIP_HEADER: Final = 131_072
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_WINDOW_LOG: Final = 23  # 8 MiB, the largest that RFC 9659 lets a sender use
# brotli adds blocks of 32, 64, 128 … KiB to its output until there is this much: 229,328 bytes then
_BROTLI_LIMIT: Final = MAX_CHUNK // 2
_ZSTD: Final = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"

_Steps: TypeAlias = Generator[bytes, bytes, None]
"""One coding being undone: yields decoded pieces, and b"" to be sent more input (b"" at its end)."""


def _more(coding: str) -> Generator[bytes, bytes, bytes]:
    """More input where the coding cannot end yet."""
    data = yield b""
    if not data:
        raise DecodingError(f"{coding} body: ends early, the compressed data is truncated")
    return data


def _inflate(
    coding: str, library: ModuleType, data: bytes, checksum: Callable[[bytes, int], int] | None
) -> Generator[bytes, bytes, tuple[bytes, int, int]]:
    """Undo bare DEFLATE (RFC 1951); returns what follows it, and the checksum and size of what it held."""
    inflater = library.decompressobj(-zlib.MAX_WBITS)
    value = 1 if checksum is library.adler32 else 0
    size = 0
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
        if inflater.eof:
            return inflater.unused_data, value, size
        data = inflater.unconsumed_tail
        if not data and len(piece) < MAX_CHUNK:  # a full piece: there may be more without any input
            data = yield from _more(coding)


def _gzip_header_size(data: bytes) -> int | None:
    """Length of the member header that `data` begins with; None while it is incomplete (RFC 1952 section 2.3)."""
    if data[:2] != _GZIP_MAGIC[: len(data)]:
        raise DecodingError(f"gzip body: begins with {data[:2].hex(' ')}, not with 1f 8b")
    if len(data) > 2 and data[2] != 8:
        raise DecodingError(f"gzip body: unknown compression method {data[2]}")
    if len(data) > 3 and data[3] & 0xE0:
        raise DecodingError(f"gzip body: reserved header flags are set ({data[3]:#04x})")
    if len(data) < 10:
        return None
    flags, end = data[3], 10
    if flags & 0x04:  # FEXTRA
        end = 12 + int.from_bytes(data[10:12], "little")
    for name in (0x08, 0x10):  # FNAME, FCOMMENT: ended by NUL
        if flags & name:
            end = data.find(0, end) + 1 or len(data) + 1
    if flags & 0x02:  # FHCRC
        end += 2
    if len(data) < end:
        if len(data) > _MAX_GZIP_HEADER:
            raise DecodingError(f"gzip body: the header is over {_MAX_GZIP_HEADER} bytes")
        return None
    if flags & 0x02 and zlib.crc32(data[: end - 2]) & 0xFFFF != int.from_bytes(data[end - 2 : end], "little"):
        raise DecodingError("gzip body: the header's CRC does not match")
    return end


def _gzip(library: ModuleType) -> _Steps:
    data = yield b""
    if not data:
        return
    while True:
        while not (header := _gzip_header_size(data)):
            data += yield from _more("gzip")
        data, crc, size = yield from _inflate("gzip", library, data[header:], library.crc32)
        while len(data) < 8:
            data += yield from _more("gzip")
        if crc != int.from_bytes(data[:4], "little"):
            raise DecodingError("gzip body: the CRC does not match, the data is corrupt")
        if size & 0xFFFFFFFF != int.from_bytes(data[4:8], "little"):
            raise DecodingError(f"gzip body: decodes to {size} bytes, which is not what its trailer says")
        data = data[8:]
        while len(data) < 2 and _GZIP_MAGIC.startswith(data):
            if not data:
                data = yield b""
                if not data:
                    return
            else:
                data += yield from _more("gzip")
        if not data.startswith(_GZIP_MAGIC):
            break
    while (yield b""):
        pass


def _deflate(library: ModuleType) -> _Steps:
    data = yield b""
    if not data:
        return
    while len(data) < 2:
        data += yield from _more("deflate")
    method, flags = data[0], data[1]
    if method & 0x0F != 8 or method > 0x78 or (method << 8 | flags) % 31:
        yield from _inflate("deflate", zlib, data, None)
    else:
        if flags & 0x20:
            raise DecodingError("deflate body: needs a preset dictionary, and none was agreed on")
        data, adler, _ = yield from _inflate("deflate", library, data[2:], library.adler32)
        while len(data) < 4:
            data += yield from _more("deflate")
        if adler != int.from_bytes(data[:4], "big"):
            raise DecodingError("deflate body: the Adler-32 checksum does not match, the data is corrupt")
    while (yield b""):
        pass


def _brotli(library: ModuleType) -> _Steps:
    data = yield b""
    if not data:
        return
    decoder = library.Decompressor()
    if not hasattr(decoder, "can_accept_more_data"):
        raise DecodingError("br body: the installed brotli is older than 1.2 and cannot bound what it decodes")
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


def _zstd(library: ModuleType) -> _Steps:
    options = {library.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    data = yield b""
    while data:
        frame = library.ZstdDecompressor(options=options)
        while not frame.eof:
            try:
                piece: bytes = frame.decompress(data, MAX_CHUNK)
            except library.ZstdError as error:
                raise DecodingError(f"zstd body: corrupt, or a window over 8 MiB ({error})") from error
            data = b""
            if piece:
                yield piece
            if frame.needs_input and not frame.eof:
                data = yield from _more("zstd")
        data = frame.unused_data or (yield b"")


# --- what there is ----------------------------------------------------------------------------------------------------


@cache
def _library(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


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

    Looks for the libraries once, and imports none of them.

    >>> accept_encoding().startswith("gzip, deflate")
    True
    """
    names = ["gzip", "deflate"]
    if _installed("brotli"):
        names.append("br")
    if _installed("_zstd" if sys.version_info >= (3, 14) else _ZSTD):  # the standard library may be built without it
        names.append("zstd")
    return ", ".join(names)


# --- decoding ---------------------------------------------------------------------------------------------------------


def _through(steps: _Steps, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Undo one coding, taking a piece of the one outside it only when all of the one before has been handed on."""
    for data in pieces:
        for start in range(0, len(data), _MAX_INPUT):
            piece = steps.send(data[start : start + _MAX_INPUT])
            while piece:
                yield piece
                piece = next(steps)


class Decoder:
    """Undoes the content codings of one body; `decoder_for` makes it.

    Give it the body in any pieces by `decode`, take all that each gives, and call `flush` at the end of the body. At
    most 256 KiB of each coding is decoded ahead of the caller, however far the body expands.

    >>> decoder = decoder_for(["deflate"])
    >>> [piece for data in (b"\\x4b", b"\\x04\\x00") for piece in decoder.decode(data)], decoder.flush()
    ([b'a'], b'')
    """

    __slots__ = ("_error", "_stages", "_undrained")

    def __init__(self, stages: Sequence[_Steps]) -> None:
        self._stages = stages
        self._error: DecodingError | None = None
        self._undrained = False
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
            The decoded pieces, each of 1 byte to 256 KiB, decoded when it is asked for. Take them all before the next
            call of `decode` or `flush` (else that is a `RuntimeError`), or drop the decoder.

        Raises:
            DecodingError: while iterating: the body is corrupt. Every later call raises it again.
        """
        self._check()
        self._undrained = True
        pieces: Iterable[bytes] = (data,)
        for steps in self._stages:
            pieces = _through(steps, pieces)
        return self._drain(pieces)

    def _drain(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        try:
            yield from pieces
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
    decoder = decoder_for(content_encoding)
    pieces: list[bytes] = []
    size = 0
    for piece in (body,) if decoder is None else decoder.decode(body):
        size += len(piece)
        if max_size is not None and size > max_size:
            raise BodyTooLarge(f"the decoded body is over {max_size} bytes")
        pieces.append(piece)
    if decoder is not None:
        decoder.flush()
    return b"".join(pieces)  # one piece: that very object, uncopied
