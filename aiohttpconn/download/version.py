"""Which version of a file a response is of, and whether a part of it may be completed by a later response."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..client.retries import http_date

if TYPE_CHECKING:
    from ..headers import Headers


class Version(NamedTuple):
    """What tells one version of a file from another. `size` is None where nobody said it."""

    size: int | None
    etag: str | None
    """The entity tag, weak ones included."""
    modified: str | None
    """Last-Modified, as it was sent."""
    dated: bool
    """Whether Last-Modified tells versions apart: it is a second older than the response (RFC 9110 section 8.8.2.2)."""

    @classmethod
    def of(cls, headers: Headers, size: int | None) -> Version:
        """The version that a response is of."""
        etag = headers.get("ETag", "").strip() or None
        modified = headers.get("Last-Modified", "").strip() or None
        changed, now = timestamp(modified), timestamp(headers.get("Date"))
        return cls(size, etag, modified, changed is not None and now is not None and now - changed >= 1)

    @classmethod
    def restored(cls, data: Any) -> Version | None:
        """What `list(version)` was before it was saved; None if it is damaged."""
        match data:
            case [None | int() as size, None | str() as etag, None | str() as modified, bool() as dated]:
                if (size is None or size >= 0) and not set("\r\n\0") & set(f"{etag}{modified}"):  # they are sent again
                    return cls(size, etag, modified, dated)
        return None

    @property
    def validator(self) -> str | None:
        """What If-Range may hold (RFC 9110 section 13.1.5): a strong entity tag, else a date that tells versions apart;
        None if neither was sent."""
        if self.etag is not None:
            return self.etag if self.etag.startswith('"') else None
        return self.modified if self.dated else None

    def same(self, other: Version) -> bool:
        """Whether both are surely the same version."""
        return self.validator is not None and self.size == other.size and not self.contradicts(other)

    def agrees(self, other: Version) -> bool:
        """Whether what two servers have is surely the same file: by a strong entity tag, or by Last-Modified and size.
        (Entity tags of two servers may differ though the files do not.)"""
        if None not in (self.size, other.size) and self.size != other.size:
            return False
        if self.etag is not None and self.etag == other.etag and self.etag.startswith('"'):
            return True
        return None not in (self.size, other.size, self.modified) and self.modified == other.modified

    def contradicts(self, other: Version) -> bool:
        """Whether the two are surely different versions. (A 206 need not repeat what a 200 said.)"""
        return (
            (self.size is not None and other.size is not None and self.size != other.size)
            or (self.etag is not None and other.etag is not None and self.etag != other.etag)
            or (self.etag is None and None not in (self.modified, other.modified) and self.modified != other.modified)
        )


def timestamp(value: str | None) -> float | None:
    """A date of HTTP in seconds since 1970; None if it is none."""
    return http_date(value.strip(), time.time()) if value else None
