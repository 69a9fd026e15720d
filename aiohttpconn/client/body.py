"""From what a caller gives as content to a body and the fields that describe it."""

from __future__ import annotations

import inspect
import io
import os
import stat
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

from ..upload import is_bytes_like

Content: TypeAlias = bytes | bytearray | memoryview | str | Iterable[bytes] | AsyncIterable[bytes] | Any
"""What `content=` takes: bytes-like, str or text file (UTF-8), binary file, iterable or async iterable of bytes."""

FormData: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]]
Files: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]]

Fields: TypeAlias = list[tuple[str, str]]

# RFC 9110 section 8.6: methods that define a meaning for a body say that there is none by Content-Length: 0.
_BODY_EXPECTED = frozenset({"POST", "PUT", "PATCH"})


def encode_body(
    method: str,
    content: Content | None,
    data: FormData | None,
    json_value: Any,
    files: Files | None,
    encode_json: Callable[[Any], str | bytes] | None = None,
) -> tuple[Any, Fields]:
    """The body to send and its Content-Length, Transfer-Encoding and Content-Type.

    Bytes-like and str become bytes, which can be sent again; files and iterables stay what they are. Files are measured
    where that is possible, from where they stand; what cannot be measured goes out chunked.
    """
    if json_value is not None:
        if content is not None:
            raise TypeError("content= and json= exclude each other")
        import json  # noqa: PLC0415 - 2 ms of import; not every client speaks JSON

        body = json.dumps(json_value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        return body, [("Content-Length", str(len(body))), ("Content-Type", "application/json")]
    if content is None:
        return None, [("Content-Length", "0")] if method in _BODY_EXPECTED else []
    if isinstance(content, str):
        content = content.encode()
    elif isinstance(content, memoryview):
        content = content.tobytes()
    if is_bytes_like(content):
        return bytes(content), [("Content-Length", str(len(content)))]
    if isinstance(content, io.TextIOBase):
        return _TextFile(content), [("Transfer-Encoding", "chunked")]  # its size is in characters
    if hasattr(content, "read"):
        size = _file_size(content)
        return content, [("Transfer-Encoding", "chunked") if size is None else ("Content-Length", str(size))]
    if isinstance(content, dict) or not isinstance(content, (AsyncIterable, Iterable)):
        raise TypeError(
            "content must be bytes-like, str, a file, or an iterable or async iterable of bytes, "
            f"not {type(content).__name__}"
        )
    return content, [("Transfer-Encoding", "chunked")]


class _TextFile:
    """A text file to be sent as a str is: in UTF-8. (`http.client` sends both in latin-1, and so do connections.)"""

    def __init__(self, file: io.TextIOBase) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size).encode()


def _file_size(file: Any) -> int | None:
    """Bytes from where a binary file stands to its end, None if that cannot be known without reading it."""
    try:
        if isinstance(file, io.BytesIO):
            return max(0, file.getbuffer().nbytes - file.tell())
        information = os.fstat(file.fileno())
        # An asynchronous file's tell() would have to be awaited.
        if not stat.S_ISREG(information.st_mode) or inspect.iscoroutinefunction(file.tell):
            return None
        at = file.tell()
        return max(0, information.st_size - at) if isinstance(at, int) else None
    except (AttributeError, OSError, ValueError):
        return None
