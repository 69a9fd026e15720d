"""Which charset a body's text is in: declared, by its byte order mark, guessed, or UTF-8; and decoding as it comes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from encodings.aliases import aliases
from functools import lru_cache
from typing import Final, TypeAlias

DefaultEncoding: TypeAlias = str | Callable[[bytes], str | None] | None
"""What to take where nothing is declared and there is no byte order mark: a charset, or who guesses it."""

SAMPLE: Final = 4096
"""Bytes of a streamed body that a guesser is shown: of the whole body only if it is shorter."""

# RFC 9110 section 8.3.2: charset=token, or quoted.
_CHARSET = re.compile(r";[ \t]*charset[ \t]*=[ \t]*\"?([^\s\";]+)", re.IGNORECASE)

# The longer first: UTF-32's in little endian begins as UTF-16's does.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LONGEST_MARK: Final = 4
_EITHER_ORDER: Final = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
"""By codec, the marks that say which byte order it is in. Without one Python takes the machine's order for a whole
text, and for one that comes in pieces it raises a UnicodeError."""

_LONGEST_NAME: Final = 40
_SEPARATORS: Final = str.maketrans("-:", "__")
# Of the codecs that have an alias: what makes bytes of bytes or text of text, Windows' own, and UTF-7, which hides what
# is ASCII (WHATWG has none of these).
_NO_CHARSETS: Final = frozenset(
    ("base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13", "utf_7", "uu_codec", "zlib_codec")
)
# Of those that have none, the charsets: not idna, oem, punycode, raw_unicode_escape, undefined, unicode_escape.
_WITHOUT_ALIAS: Final = frozenset(
    ("cp1006", "cp720", "cp737", "cp856", "cp874", "cp875", "iso8859_1", "koi8_t", "koi8_u", "mac_arabic")
) | {"mac_croatian", "mac_farsi", "mac_romanian", "palmos", "utf_8_sig"}
_CHARSETS: Final = (_WITHOUT_ALIAS | set(aliases.values())) - _NO_CHARSETS


def declared_charset(content_type: str) -> str | None:
    """The charset that a Content-Type names; None without one, or for one that is not taken from a server.

    >>> declared_charset("text/html; charset=ISO-8859-1")
    'ISO-8859-1'
    """
    match = _CHARSET.search(content_type)
    return match[1] if match is not None and is_known_charset(match[1]) else None


@lru_cache(maxsize=128)
def is_known_charset(name: str) -> bool:
    """Whether this is one of Python's charsets: the only names that are taken from whom we do not know.

    Python keeps each name that it is asked for in vain, so it is not asked for others. A codec that somebody registered
    is not among them.

    >>> is_known_charset("ISO-8859-1"), is_known_charset("hex"), is_known_charset("utf-7")
    (True, False, False)
    """
    if len(name) > _LONGEST_NAME or not name.isascii():
        return False
    key = name.lower().translate(_SEPARATORS)
    return aliases.get(key, key) in _CHARSETS and is_charset(name)


def is_charset(name: str) -> bool:
    """Whether Python decodes text by this name. For names that the caller chose.

    Its codecs are not all charsets: "hex" and "zip" make bytes of bytes, and "idna" and "punycode" know no replacing of
    what does not decode.
    """
    try:
        "".encode(name)
        b"\xff".decode(name, "replace")
    except (LookupError, ValueError, TypeError):
        return False
    return True


def charset_of(body: bytes, default: DefaultEncoding) -> str:
    """The charset of a body that declares none: by its byte order mark, by `default`, else utf-8.

    >>> charset_of(b"\\xef\\xbb\\xbfa", None), charset_of(b"a", lambda body: "ascii"), charset_of(b"a", None)
    ('utf-8-sig', 'ascii', 'utf-8')
    """
    for mark, name in _MARKS:
        if body.startswith(mark):
            return name
    if callable(default):  # what it guesses it may have found in the body
        guess = default(body) if body else None
        return guess if isinstance(guess, str) and is_known_charset(guess) else "utf-8"
    return default if default is not None and is_charset(default) else "utf-8"


def decode_text(body: bytes, charset: str) -> str:
    """The text of a whole body; what does not decode is replaced by U+FFFD.

    >>> decode_text(b"a\\0", "utf-16"), decode_text(b"\\xfe\\xff\\0a", "utf-16")
    ('a', 'a')
    """
    return body.decode(_in_order(charset, body), "replace")


def _in_order(charset: str, beginning: bytes) -> str:
    """The charset for a text that begins so: in little endian, as WHATWG has it, where nothing tells the byte order."""
    codec = codecs.lookup(charset).name
    marks = _EITHER_ORDER.get(codec)
    return charset if marks is None or beginning.startswith(marks) else f"{codec}-le"


class TextDecoder:
    """Text from the pieces of a body, characters whole; what does not decode is replaced by U+FFFD.

    Args:
        charset: the declared one; None to find it in the body.
        default: as for `charset_of`. A guesser is shown the first 4 KiB, and no text comes before them.
    """

    __slots__ = ("_decoder", "_default", "_held", "charset")

    def __init__(self, charset: str | None, default: DefaultEncoding = None) -> None:
        self.charset = charset
        self._default = default
        self._held = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        if charset is not None and codecs.lookup(charset).name not in _EITHER_ORDER:
            self._decoder = _decoder(charset)

    def decode(self, data: bytes, final: bool = False) -> str:
        """The text of the next piece, as far as it is whole; with `final` the rest of it."""
        decoder = self._decoder
        if decoder is None:
            data = self._held + data
            if not final and self._waits_for_more(data):
                self._held = data
                return ""
            self._held = b""
            if self.charset is None:
                self.charset = charset_of(data[:SAMPLE], self._default)
            self._decoder = decoder = _decoder(_in_order(self.charset, data))
        state = decoder.getstate()
        try:
            return decoder.decode(data, final)
        except UnicodeError:
            # Python's ISO-2022-JP holds 8 bytes of a sequence that has not ended, and some are longer.
            decoder.setstate(state)
            return decoder.decode(data, True)

    def _waits_for_more(self, data: bytes) -> bool:
        """Whether these first bytes do not tell yet what charset or byte order it is."""
        if self.charset is None and callable(self._default):
            return len(data) < SAMPLE
        return len(data) < _LONGEST_MARK and (self.charset is not None or _may_be_marked(data))


def _may_be_marked(data: bytes) -> bool:
    """Whether so few bytes may turn out to be a byte order mark, or the beginning of another one."""
    return any(mark.startswith(data) for mark, _ in _MARKS)


def _decoder(charset: str) -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder(charset)("replace")
