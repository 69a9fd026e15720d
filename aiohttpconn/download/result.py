"""What a download came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..secrets import masked_url

if TYPE_CHECKING:
    from pathlib import Path

    from ..headers import Headers


@dataclass(frozen=True, slots=True)
class Download:
    """A file that is complete.

    - `path`: where it is. `url`: where it came from, after redirects, without userinfo, query and
      fragment, which may be secret. `size`: its bytes.
    - `resumed_from`: how many of them an earlier run had brought (all, if it was there already). `fetched`: bytes that
      this run received.
    - `segments`: how many connections brought it, at most, at one time; 0 if it was there already.
    - `verified`: the digests that it was found to have, as "sha256:…"; empty if nobody stated any.
    - `elapsed`: seconds. `headers`: the fields of the response that it began with; of one that an earlier run got,
      those that describe the file.
    """

    path: Path
    url: str
    size: int
    resumed_from: int
    fetched: int
    segments: int
    verified: tuple[str, ...]
    elapsed: float
    headers: Headers = field(repr=False)


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """One item of `download_all`: its `download`, or the `error` that it failed with."""

    url: str
    path: Path | None
    download: Download | None = None
    error: Exception | None = None

    def __repr__(self) -> str:
        url = masked_url(self.url)
        return f"DownloadResult({url!r}, {self.path!r}, download={self.download!r}, error={self.error!r})"

    @property
    def ok(self) -> bool:
        """Whether the file is there."""
        return self.error is None

    def unwrap(self) -> Download:
        """The download. Raises the error if there is one."""
        if self.error is not None:
            raise self.error
        assert self.download is not None
        return self.download
