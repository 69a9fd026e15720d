"""Forms: `data=` as application/x-www-form-urlencoded, and with `files=` as multipart/form-data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import quote_plus

from ..headers import check_field_value, header_pairs
from ..upload import is_bytes_like
from ..wire import multipart
from .replay import OneTimeBody, bytes_body, joined_body, stream_body

FormValue: TypeAlias = str | bytes | bytearray | memoryview | int | float | bool | None
FormData: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""What `data=` takes: names to values (`FormValue`), or to sequences of them; or pairs."""

Files: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""What `files=` takes: names to a content, or to (filename, content[, content type[, headers]]); or pairs of them.

A content is bytes-like, str (UTF-8), a file object, a path, an iterable or an async iterable of bytes."""


def urlencoded(data: FormData) -> bytes:
    """A form as application/x-www-form-urlencoded (WHATWG URL standard, section 5.2: UTF-8, space to ``+``, everything
    but ASCII letters, digits and ``*-._`` percent-encoded).

    A value that is a sequence gives one pair for each item. True and False are ``true`` and ``false``, None is empty.
    Raises TypeError for what is no form.

    >>> urlencoded({"q": "a b~", "n": [1, None]})
    b'q=a+b%7E&n=1&n='
    """
    return "&".join(
        [f"{_escaped(name.encode())}={_escaped(_text(name, value))}" for name, value in _fields(data)]
    ).encode()


def multipart_body(data: FormData | None, files: Files, boundary: str) -> OneTimeBody:
    """A form with files as multipart/form-data (RFC 7578): first the fields of `data`, then the files, in order.

    A str among the fields has its line ends made CR LF, as browsers do it (HTML standard, "multipart/form-data encoding
    algorithm"; RFC 2046 section 4.1.1 has it so for text); bytes go out as they are, and so do the contents of files.

    Nothing is read yet. The body knows its size when every file's is known, and can be sent again when every file can.
    Raises TypeError for what is no form, `InvalidHeader` for fields of a part that cannot be sent.
    """
    pieces: list[OneTimeBody] = []
    between = b""
    for head, content in _parts(data, files, boundary):
        pieces += [bytes_body(between + head), content]
        between = b"\r\n"
    pieces.append(bytes_body(between + multipart.close_delimiter(boundary)))
    return joined_body(pieces)


def _escaped(value: bytes) -> str:
    return quote_plus(value, safe="*").replace("~", "%7E")


# --- data -------------------------------------------------------------------------------------------------------------


def _fields(data: FormData) -> Iterator[tuple[str, FormValue]]:
    for name, value in _pairs(data, "data", "content= sends bytes, str, files and iterables as they are"):
        if isinstance(value, Sequence) and not isinstance(value, str) and not is_bytes_like(value):
            for item in value:
                yield name, item
        else:
            yield name, value


def _pairs(given: Any, word: str, hint: str) -> Iterator[tuple[str, Any]]:
    """The pairs of a mapping or of an iterable of pairs."""
    if isinstance(given, str) or is_bytes_like(given) or hasattr(given, "read") or not isinstance(given, Iterable):
        raise TypeError(f"{word}= takes a mapping or pairs, not {type(given).__name__}; {hint}")
    for item in given.items() if isinstance(given, Mapping) else given:
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise TypeError(f"{word}= takes a mapping or pairs, not an iterable of {type(item).__name__}; {hint}")
        name, value = item
        if not isinstance(name, str):
            raise TypeError(f"a form field's name must be a str, not {type(name).__name__}")
        yield name, value


def _text(name: str, value: object) -> bytes:
    """A value of a form as bytes. The types' own methods: an enumeration's str() may be "Colour.RED"."""
    if isinstance(value, str):
        return str.encode(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return int.__repr__(value).encode()
    if isinstance(value, float):
        return float.__repr__(value).encode()
    hint = "; files= takes files" if hasattr(value, "read") or isinstance(value, (tuple, os.PathLike)) else ""
    raise TypeError(
        f"the form field {name!r} must be str, bytes, int, float, bool or None, not {type(value).__name__}{hint}"
    )


# --- files ------------------------------------------------------------------------------------------------------------


def _parts(data: FormData | None, files: Files, boundary: str) -> Iterator[tuple[bytes, OneTimeBody]]:
    """The head and the content of each part."""
    if data is not None:
        for name, value in _fields(data):
            head = multipart.part_head(boundary, [("Content-Disposition", multipart.disposition(name))])
            yield head, bytes_body(_text(name, multipart.with_crlf(value) if isinstance(value, str) else value))
    for name, value in _pairs(files, "files", "a file goes under a name: files={'file': …}"):
        filename, content, media_type, headers = _file(name, value)
        fields = [("Content-Disposition", multipart.disposition(name, filename))]
        own = [(key, text.encode("latin-1")) for key, text in header_pairs(headers)]
        given = {key.lower() for key, _ in own}
        if media_type is None and filename is not None:
            media_type = _guessed(filename)
        if media_type is not None:
            fields.append(("Content-Type", check_field_value("Content-Type", media_type).encode("latin-1")))
        fields = [field for field in fields if field[0].lower() not in given] + own
        yield multipart.part_head(boundary, fields), _content(name, content)


def _file(name: str, value: Any) -> tuple[str | None, Any, str | None, Any]:
    """The file name, content, content type and fields of one file."""
    if not isinstance(value, tuple):
        return _filename(value), value, None, None
    if not 2 <= len(value) <= 4:
        raise TypeError(
            f"the file {name!r} must be a content or (filename, content[, content type[, headers]]), "
            f"not a tuple of {len(value)}"
        )
    filename, content, media_type, headers = (*value, None, None)[:4]
    if filename is not None and not isinstance(filename, (str, os.PathLike)):
        raise TypeError(f"the file name of {name!r} must be a str or None, not {type(filename).__name__}")
    return None if filename is None else os.fsdecode(filename), content, media_type, headers


def _filename(content: Any) -> str:
    """The last part of the name of a file or a path; as with httpx, ``upload`` if there is none."""
    name = content if isinstance(content, os.PathLike) else getattr(content, "name", None)
    if not isinstance(name, (str, bytes, os.PathLike)):  # an open descriptor's is its number
        return "upload"
    return os.path.basename(os.fsdecode(name)) or "upload"


def _content(name: str, content: Any) -> OneTimeBody:
    if isinstance(content, str):
        return bytes_body(content.encode())
    if is_bytes_like(content):
        return bytes_body(bytes(content))
    if isinstance(content, (list, tuple)) and not all(is_bytes_like(piece) for piece in content):
        raise TypeError(
            f"the file {name!r} is a {type(content).__name__}; several files of one name are given as pairs"
        )
    if content is None:
        raise TypeError(f"the file {name!r} has no content")
    return stream_body(content)


def _guessed(filename: str) -> str:
    import mimetypes  # noqa: PLC0415 - it reads the system's tables when first asked, some ms

    return mimetypes.guess_type(filename)[0] or "application/octet-stream"
