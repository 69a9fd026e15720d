"""multipart/form-data as it is sent (RFC 7578, RFC 2046 section 5.1): bytes only, whoever streams the parts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

# RFC 2046 section 5.1.1: up to 70 of these characters, a space not last.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_BOUNDARY_PARAMETER = re.compile(r""";[ \t]*boundary[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))""", re.IGNORECASE)
_NEEDS_QUOTES = re.compile(r"[^0-9A-Za-z'+_\-.]")
_NEWLINE = re.compile(r"\r\n?|\n")
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


def new_boundary() -> str:
    """A boundary that nobody can guess, so that nobody can put it into a file: 128 random bits."""
    return os.urandom(16).hex()


def check_boundary(boundary: str) -> str:
    """`boundary` itself if RFC 2046 allows it, else ValueError."""
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError(
            f"a boundary has 1 to 70 letters, digits or any of '()+_,-./:=? and does not end with a space: {boundary!r}"
        )
    return boundary


def content_type(boundary: str, media_type: str = "multipart/form-data") -> str:
    """The value of Content-Type that announces the boundary, in quotes where RFC 2045 section 5.1 wants them.

    >>> content_type("a b")
    'multipart/form-data; boundary="a b"'
    """
    return (
        f'{media_type}; boundary="{boundary}"'
        if _NEEDS_QUOTES.search(boundary)
        else f"{media_type}; boundary={boundary}"
    )


def boundary_of(value: str) -> str | None:
    """The boundary that a Content-Type announces; None if it announces none. Raises ValueError for one not allowed.

    >>> boundary_of('multipart/form-data; charset=utf-8; Boundary="a b"')
    'a b'
    """
    found = _BOUNDARY_PARAMETER.search(value)
    if found is None:
        return None
    quoted, plain = found.groups()
    return check_boundary(plain.strip(" \t") if quoted is None else re.sub(r"\\(.)", r"\1", quoted))


def with_crlf(text: str) -> str:
    """The text with CR LF for each of its line ends, be they CR, LF or CR LF: as HTML's forms send names and values.

    >>> with_crlf("a\\nb\\rc\\r\\nd")
    'a\\r\\nb\\r\\nc\\r\\nd'
    """
    return _NEWLINE.sub("\r\n", text) if "\n" in text or "\r" in text else text


def disposition(name: str, filename: str | None = None) -> bytes:
    """The value of a part's Content-Disposition: UTF-8, with quotes, CR and LF escaped as browsers do.

    RFC 7578 section 4.2 leaves the escaping open; this is that of the HTML standard, "multipart/form-data encoding
    algorithm", by which a line end in the name, but not in the file's, is CR LF. RFC 2231's ``filename*`` must not be
    used there.

    >>> disposition("file", 'a "b".txt')
    b'form-data; name="file"; filename="a %22b%22.txt"'
    """
    value = f'form-data; name="{with_crlf(name).translate(_ESCAPES)}"'
    if filename is not None:
        value += f'; filename="{filename.translate(_ESCAPES)}"'
    return value.encode(errors="surrogateescape")  # a file's name that is no UTF-8 goes as it is on disk


def part_head(boundary: str, fields: Iterable[tuple[str, bytes]]) -> bytes:
    """What goes before the content of a part: its delimiter, its fields (checked ones), an empty line.

    A part is followed by CR LF, which belongs to the next delimiter or the close delimiter.
    """
    lines = [f"--{boundary}\r\n".encode()]
    for name, value in fields:
        lines.append(b"%b: %b\r\n" % (name.encode(), value))
    lines.append(b"\r\n")
    return b"".join(lines)


def close_delimiter(boundary: str) -> bytes:
    """What goes after the last part."""
    return f"--{boundary}--\r\n".encode()
