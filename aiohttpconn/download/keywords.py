"""What downloads may be given: for type checkers and editors, and to tell what is none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict

from ..config import meant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..config import Hedge, Retry, Timeout, Unset
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
    hedge: Hedge | float | Unset | None
    max_body: int | Unset | None


class RangeStreamKeywords(RangeRequestKeywords, total=False):
    """The keywords of `Client.stream_ranges`."""

    segments: int | str
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


OF_DOWNLOAD: Final = DownloadKeywords.__optional_keys__
OF_STREAM: Final = RangeStreamKeywords.__optional_keys__
OF_ALL: Final = OF_DOWNLOAD | DownloadAllKeywords.__optional_keys__
_OF_ALL_ALONE: Final = (OF_ALL - OF_DOWNLOAD) | {"progress"}
_OF_BODIES: Final = frozenset(["content", "data", "files", "json"])


def check_keywords(call: str, given: Iterable[str], known: frozenset[str]) -> None:
    """Raise TypeError for a name that is not known to the method `call`."""
    for name in given:
        if name in _OF_BODIES:
            raise TypeError(f"{call}() takes no {name}=: it is a GET without a body")
        if name not in known:
            raise TypeError(f"{call}() takes no keyword {name!r}{meant(name, known)}")


def check_own_keywords(given: Iterable[str]) -> None:
    """Raise TypeError for a name that is none of one item of `download_all`."""
    for name in given:
        if name in _OF_ALL_ALONE:
            raise TypeError(f"{name}= is for all items together, not for one of them")
    check_keywords("download", given, OF_DOWNLOAD)
