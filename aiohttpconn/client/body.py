"""From what a caller gives as content, form or JSON to a body and the fields that describe it."""

from __future__ import annotations

import functools
import math
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ..headers import CONTENT_LENGTH, TRANSFER_ENCODING
from ..upload import is_bytes_like

if TYPE_CHECKING:
    from ..headers import Headers
    from ..messages import Request
    from .form import Files, FormData

Content: TypeAlias = bytes | bytearray | memoryview | str | Iterable[bytes] | AsyncIterable[bytes] | Any
"""What `content=` takes: bytes-like, str or text file (UTF-8), binary file, path, iterable or async iterable of bytes.
"""

Fields: TypeAlias = list[tuple[str, str]]

# RFC 9110 section 8.6: methods that define a meaning for a body say that there is none by Content-Length: 0.
_BODY_EXPECTED = frozenset({"POST", "PUT", "PATCH"})
_CHUNKED = ("Transfer-Encoding", "chunked")


def encode_body(
    method: str,
    content: Content | None,
    data: FormData | None,
    json_value: Any,
    files: Files | None,
    encode_json: Callable[[Any], str | bytes] | None = None,
    own: Fields | None = None,
) -> tuple[Any, Fields]:
    """The body to send and its Content-Length, Transfer-Encoding and Content-Type.

    Bytes-like and str become bytes; everything else a body of `replay`, which knows whether it can be sent again. Files
    are measured where that is possible, from where they stand; what cannot be measured goes out chunked.

    `own` are the caller's own fields: a multipart Content-Type among them gives the boundary of a form with files, and
    is completed if it has none.

    Raises TypeError for what cannot be sent, ValueError for what JSON has no word for, or if files shall go out as
    something else than multipart.
    """
    if files is not None and not isinstance(files, Iterable):
        raise TypeError(f"files= takes a mapping or pairs, not {type(files).__name__}")
    given = [word for word, value in (("content", content), ("json", json_value)) if value is not None]
    if data is not None or files:
        given.append("data" if data is not None else "files")
    if len(given) > 1:
        raise TypeError(f"{'= and '.join(given)}= exclude each other")
    if json_value is not None:
        return _sized((encode_json or _json)(json_value), "application/json")
    if files:
        return _multipart(data, files, own or [])
    if data is not None:
        from .form import urlencoded  # noqa: PLC0415 - 2 ms of import; not every client sends forms

        return _sized(urlencoded(data), "application/x-www-form-urlencoded")
    if content is None:
        return None, [("Content-Length", "0")] if method in _BODY_EXPECTED else []
    if isinstance(content, str):
        content = content.encode()
    elif isinstance(content, memoryview):
        content = content.tobytes()
    if is_bytes_like(content):
        return bytes(content), [("Content-Length", str(len(content)))]
    from .replay import stream_body  # noqa: PLC0415 - not every client streams bodies

    body = stream_body(content)
    return body, [_framing(body.size)]


def prepared_body(body: Any) -> Any:
    """A body as it can be sent: what is not in memory, as one that knows whether it can be read again. A body of the
    caller's own with a method `rewind` knows that itself."""
    if body is None or isinstance(body, str) or is_bytes_like(body) or hasattr(body, "rewind"):
        return body
    from .replay import OneTimeBody, stream_body  # noqa: PLC0415 - not every client streams bodies

    return body if isinstance(body, OneTimeBody) else stream_body(body)


def with_body_prepared(request: Request) -> Request:
    """A request with its body prepared, for good, so that it is not begun twice; and framed, if it was made by hand."""
    body = prepared_body(request.body)
    if body is not request.body:
        object.__setattr__(request, "body", body)  # the same body, put so that it can be sent more than once
    if CONTENT_LENGTH in request.headers or TRANSFER_ENCODING in request.headers:
        return request
    return request.replace(body=body)


def merged_fields(client: Headers, body: Fields, own: Fields) -> Fields:
    """The fields of a request: a client's, those that describe its body, the caller's own, in place of one another.

    The caller's own go before all. A Content-Type that a client gives to all its requests stands for JSON and content,
    but not for a form: that is of no use under another name.
    """
    given = {name.lower() for name, _ in own}
    if not given.isdisjoint(_FRAMING) or CONTENT_LENGTH in client or TRANSFER_ENCODING in client:
        body = [pair for pair in body if pair[0].lower() not in _FRAMING]
    dropped = given
    described = next((value for name, value in body if name == "Content-Type"), "")
    if described.startswith("multipart/"):
        # It is what the caller gave, with the boundary.
        own = [(name, described if name.lower() == "content-type" else value) for name, value in own]
    if "Content-Type" in client and described:
        if described.startswith(("multipart/", "application/x-www-form-urlencoded")):
            dropped = {*given, "content-type"}
        else:
            body = [pair for pair in body if pair[0] != "Content-Type"]
    kept = [pair for pair in client.items() if pair[0].lower() not in dropped]
    return kept + [pair for pair in body if pair[0].lower() not in given] + own


_FRAMING = frozenset({"content-length", "transfer-encoding"})


def _framing(size: int | None) -> tuple[str, str]:
    return _CHUNKED if size is None else ("Content-Length", str(size))


def _sized(body: Any, content_type: str) -> tuple[bytes, Fields]:
    if isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes):
        raise TypeError(f"json_encoder must return str or bytes, not {type(body).__name__}")
    return body, [("Content-Length", str(len(body))), ("Content-Type", content_type)]


def _multipart(data: FormData | None, files: Files, own: Fields) -> tuple[Any, Fields]:
    from ..wire import multipart  # noqa: PLC0415 - not every client sends files
    from .form import multipart_body  # noqa: PLC0415

    media_type, boundary = "multipart/form-data", None
    content_type = next((value for name, value in own if name.lower() == "content-type"), None)
    if content_type is not None:
        if not content_type.lower().startswith("multipart/"):
            raise ValueError(f"files= are sent as multipart/form-data, and cannot be {content_type!r:.200}")
        media_type, boundary = content_type.rstrip("; \t"), multipart.boundary_of(content_type)
    announced = content_type if boundary is not None else None
    boundary = boundary or multipart.new_boundary()
    body = multipart_body(data, files, boundary)
    return body, [_framing(body.size), ("Content-Type", announced or multipart.content_type(boundary, media_type))]


# --- JSON -------------------------------------------------------------------------------------------------------------


def _json(value: Any) -> str | bytes:
    """JSON, compact, in UTF-8: by orjson where it is installed and knows all the types, else by json.

    ValueError for NaN and Infinity, which JSON has no word for, TypeError for what cannot be encoded.
    """
    fast = _orjson_dumps()
    if fast is not None:
        try:
            encoded: bytes = fast(value)
        except TypeError:
            pass  # integers over 64 bits and names that are no str are json's to encode, or to refuse
        else:
            # orjson's word for NaN is null, so only where that is to be seen need anybody look.
            if b"null" in encoded and _holds_nan(value):
                raise ValueError("NaN and Infinity have no place in JSON")
            return encoded
    import json  # noqa: PLC0415 - 2 ms of import; not every client speaks JSON

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@functools.cache
def _orjson_dumps() -> Callable[[Any], bytes] | None:
    try:
        import orjson  # noqa: PLC0415 - optional
    except ImportError:
        return None
    # As json does it, names that are numbers, None or booleans become text.
    return functools.partial(orjson.dumps, option=orjson.OPT_NON_STR_KEYS)


def _holds_nan(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(_holds_nan(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_holds_nan(item) for item in value)
    names = getattr(value, "__dataclass_fields__", ())
    return any(_holds_nan(getattr(value, name, None)) for name in names)
