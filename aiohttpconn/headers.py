"""Header fields: their types, and what may be sent as a method, a field name or a field value (RFC 9110 section 5).

Fields of messages are a `multidict.CIMultiDictProxy`: case-insensitive, read-only; order, spelling and repeats kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from multidict import CIMultiDict, CIMultiDictProxy, istr

from .errors import InvalidHeader, InvalidMethod


class Headers(CIMultiDictProxy[str]):
    """The fields of a message, read-only: `multidict.CIMultiDictProxy`. Its repr leaves credentials out."""

    __slots__ = ()

    def __repr__(self) -> str:
        from .secrets import masked_fields  # noqa: PLC0415 - for who looks

        fields = ", ".join([f"{name!r}: {value!r}" for name, value in masked_fields(self.items())])
        return f"<{type(self).__name__}({fields})>"

    def __reduce__(self) -> tuple[Any, ...]:  # type: ignore[override] # multidict's own refuses, and does no more
        return _restore_headers, (type(self), [(str(name), value) for name, value in self.items()])


def _restore_headers(cls: type[Headers], pairs: list[tuple[str, str]]) -> Headers:
    return cls(CIMultiDict(pairs))


HeaderValue: TypeAlias = str | bytes | int
HeadersInput: TypeAlias = (
    Mapping[str, HeaderValue]
    | Mapping[bytes, HeaderValue]
    | Iterable[tuple[str, HeaderValue]]
    | Iterable[tuple[bytes, HeaderValue]]
)

# RFC 9110 section 5.6.2: token.
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110 section 5.5: a field value holds visible characters, SP, HTAB and obs-text. Of the control characters CR, LF
# and NUL are dangerous and the others have no meaning, so none of them is sent.
_FORBIDDEN_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

CONNECTION = istr("Connection")
CONTENT_LENGTH = istr("Content-Length")
KEEP_ALIVE = istr("Keep-Alive")
PROXY_CONNECTION = istr("Proxy-Connection")
TRANSFER_ENCODING = istr("Transfer-Encoding")
HOST = istr("Host")

EMPTY_HEADERS: Headers = Headers(CIMultiDict())


def check_method(method: str) -> str:
    """`method` itself if it is a token (RFC 9110 section 9.1), else `InvalidMethod`."""
    if not isinstance(method, str):
        raise TypeError(f"the method must be a str, not {method!r}")
    if not TOKEN.fullmatch(method):
        raise InvalidMethod(f"the method must be a token (letters, digits, no spaces): {method!r}")
    return method


def check_field_name(name: str | bytes) -> str:
    """The field name as text if it is a token (RFC 9110 section 5.1), else `InvalidHeader`."""
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    if not isinstance(text, str):
        raise TypeError(f"a field name must be str or bytes, not {name!r}")
    if not TOKEN.fullmatch(text):
        raise InvalidHeader(f"a field name must be a token (letters, digits, '-', no spaces): {text!r}")
    return text


def check_field_value(name: str, value: HeaderValue) -> str:
    """The field value as text that fits into latin-1 and holds no control character but HTAB, else `InvalidHeader`."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bytes):
        text = value.decode("latin-1")
    elif isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    else:
        raise TypeError(f"the value of field {name} must be str, bytes or int, not {type(value).__name__}")
    if found := _FORBIDDEN_IN_VALUE.search(text):
        # The value itself may be a secret, so only the culprit is shown.
        raise InvalidHeader(f"the value of field {name} holds the control character {found[0]!r}")
    if not text.isascii():
        try:
            text.encode("latin-1")
        except UnicodeEncodeError:
            raise InvalidHeader(
                f"the value of field {name} has characters outside latin-1; encode it to bytes as the server expects"
            ) from None  # it would carry the value
    return text


def header_pairs(headers: HeadersInput | None) -> list[tuple[str, str]]:
    """What a caller gave as headers, as checked pairs in the order given.

    Raises `InvalidHeader` for a name that is no token or a value with control characters.
    """
    if headers is None:
        return []
    items: Any = headers.items() if isinstance(headers, Mapping) else headers
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise TypeError(f"headers must be a mapping or pairs, not {type(headers).__name__}")
    pairs = []
    for raw_name, raw_value in items:
        name = check_field_name(raw_name)
        pairs.append((name, check_field_value(name, raw_value)))
    return pairs


def list_elements(values: Iterable[str]) -> list[str]:
    """The elements of a comma-separated field, over all its lines, stripped; empty ones left out (RFC 9110 5.6.1)."""
    return [element for value in values for part in value.split(",") if (element := part.strip(" \t"))]
