"""Which charset a body's text is in: declared, by its byte order mark, guessed, or UTF-8; and decoding as it comes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
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


def declared_charset(content_type: str) -> str | None:
    """The charset that a Content-Type names; None without one, or for one that Python does not know.

    >>> declared_charset("text/html; charset=ISO-8859-1")
    'ISO-8859-1'
    """
    match = _CHARSET.search(content_type)
    return match[1] if match is not None and is_charset(match[1]) else None


def is_charset(name: str) -> bool:
    """Whether Python decodes text by this name.

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
    guess = (default(body) if body else None) if callable(default) else default
    return guess if guess is not None and is_charset(guess) else "utf-8"


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
        self._decoder = None if charset is None else _decoder(charset)

    def decode(self, data: bytes, final: bool = False) -> str:
        """The text of the next piece, as far as it is whole; with `final` the rest of it."""
        if self._decoder is None:
            data = self._held + data
            if not final and len(data) < (SAMPLE if callable(self._default) else _LONGEST_MARK):
                self._held = data
                if callable(self._default) or _may_be_marked(data):
                    return ""
            self._held = b""
            self.charset = charset_of(data[:SAMPLE], self._default)
            self._decoder = _decoder(self.charset)
        return self._decoder.decode(data, final)


def _may_be_marked(data: bytes) -> bool:
    """Whether so few bytes may turn out to be a byte order mark, or the beginning of another one."""
    return any(mark.startswith(data) for mark, _ in _MARKS)


def _decoder(charset: str) -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder(charset)("replace")
