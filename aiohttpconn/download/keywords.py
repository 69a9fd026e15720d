"""What downloads may be given, for type checkers and editors: nothing of this is needed to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..config import Retry, Timeout, Unset
    from ..headers import HeadersInput
    from ..proxy import ProxyInput
    from ..url import URL, Params
    from .progress import Progress
    from .rate import Rate
    from .result import DownloadResult


class RangeRequestKeywords(TypedDict, total=False):
    """The keywords of `Client.request` that the requests of a download may have."""

    params: Params
    headers: HeadersInput | None
    cookies: Mapping[str, str] | Any
    auth: Any
    follow_redirects: bool | Unset
    timeout: Timeout | float | Unset | None
    proxy: ProxyInput | Unset | None
    retries: Retry | int | Unset | None
    max_body: int | Unset | None


class RangeStreamKeywords(RangeRequestKeywords, total=False):
    """The keywords of `Client.stream_ranges`."""

    segments: int
    window: int
    checksum: str | None
    mirrors: Sequence[str | URL]
    repairs: int
    limit_rate: float | Rate | None


class EachDownloadKeywords(RangeRequestKeywords, total=False):
    """The keywords that `Client.download` and `Client.download_all` both have."""

    segments: int | str
    resume: bool
    overwrite: bool | None
    on_progress: Callable[[Progress], object] | None
    progress: Any
    limit_rate: float | Rate | None
    fsync: bool
    repairs: int


class DownloadKeywords(EachDownloadKeywords, total=False):
    """The keywords of `Client.download`."""

    checksum: str | None
    mirrors: Sequence[str | URL]


class DownloadAllKeywords(EachDownloadKeywords, total=False):
    """The keywords of `Client.download_all`."""

    concurrency: int
    directory: Any
    on_result: Callable[[DownloadResult], object] | None
