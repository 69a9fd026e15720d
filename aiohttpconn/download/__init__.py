"""Files from the network: downloaded whole, resumed, in parallel ranges; and ranges as one stream.

What `Client.download`, `Client.download_all` and `Client.stream_ranges` do; they see the client as a `Fetch`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from ..config import UNSET
from ..url import URL
from .digests import parse_checksum
from .keywords import OF_ALL, OF_DOWNLOAD, OF_STREAM, check_keywords, check_own_keywords
from .many import download_many
from .one_file import OneFile
from .ordered import OrderedRanges
from .place import Places, named_paths
from .progress import Meter, Progress
from .range_stream import RangeStream
from .rate import Rate
from .result import Download, DownloadResult
from .sources import Sources
from .wanted import Wanted, check_segments, seconds_in_all, target

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Sequence

    from ..fetch import Fetch
    from .progress import Bar

__all__ = ["Download", "DownloadResult", "Progress", "RangeStream", "Rate", "download", "download_all", "stream_ranges"]


_SEGMENTS_OF_STREAM: Final = 4


async def download(
    fetch: Fetch,
    url: str | URL,
    path: str | os.PathLike[str] | None = None,
    *,
    progress: Any = False,
    **options: Any,
) -> Download:
    """`Client.download`."""
    check_keywords("download", options, OF_DOWNLOAD)
    with ExitStack() as stack:
        return await _download(fetch, url, path, _bar(progress, stack), Places(), **options)


async def _download(
    fetch: Fetch,
    url: str | URL,
    path: str | os.PathLike[str] | None,
    bar: Bar | None,
    places: Places,
    *,
    number: int | None = None,
    last: bool = True,
    segments: int | str = 1,
    checksum: str | None = None,
    mirrors: Sequence[str | URL] = (),
    resume: bool = True,
    overwrite: bool | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    limit_rate: float | Rate | None = None,
    fsync: bool = False,
    repairs: int = 5,
    headers: Any = None,
    timeout: Any = UNSET,
    **request: Any,
) -> Download:
    check_segments(segments)
    _check_flags(resume=resume, fsync=fsync)
    if overwrite is not None:
        _check_flags(overwrite=overwrite)
    total, timeout = seconds_in_all(timeout, fetch.timeout)
    place, in_folder = target(path)
    wanted = Wanted(
        path=place,
        in_folder=in_folder,
        segments=segments,
        checksum=None if checksum is None else parse_checksum(checksum),
        resume=resume,
        overwrite=overwrite,
        sync=fsync,
        repairs=repairs,
        places=places,
        number=number,
        last=last,
    )
    sources = Sources(fetch, _urls(url, mirrors), headers, {**request, "timeout": timeout})
    return await OneFile(sources, wanted, Meter(on_progress, bar), Rate.of(limit_rate)).run(total)


async def download_all(
    fetch: Fetch,
    items: Iterable[Any] | AsyncIterable[Any] | Mapping[Any, Any],
    *,
    concurrency: int = 8,
    directory: str | os.PathLike[str] | None = None,
    progress: Any = False,
    limit_rate: float | Rate | None = None,
    on_result: Callable[[DownloadResult], object] | None = None,
    **options: Any,
) -> list[DownloadResult]:
    """`Client.download_all`."""
    check_keywords("download_all", options, OF_ALL)
    if isinstance(items, Mapping):
        items = list(items.items())
    rate = Rate.of(limit_rate)
    places = Places(named_paths(items, directory))

    async def bring(
        url: str | URL, path: str | os.PathLike[str] | None, own: Mapping[str, Any], *, number: int, last: bool
    ) -> Download:
        check_own_keywords(own)
        place = path
        if directory is not None:
            place = os.path.join(directory, "" if path is None else path)
        where, in_folder = target(place)
        if not in_folder:
            places.name(where)
        keywords = {**options, "limit_rate": rate, **own, "number": number, "last": last}
        return await _download(fetch, url, place, bar, places, **keywords)

    with ExitStack() as stack:
        bar = _bar(progress, stack)
        return await download_many(items, bring, concurrency, on_result)


def stream_ranges(
    fetch: Fetch,
    url: str | URL,
    *,
    segments: int | str = _SEGMENTS_OF_STREAM,
    window: int = 16 << 20,
    mirrors: Sequence[str | URL] = (),
    repairs: int = 5,
    limit_rate: float | Rate | None = None,
    checksum: str | None = None,
    headers: Any = None,
    timeout: Any = UNSET,
    **request: Any,
) -> RangeStream:
    """`Client.stream_ranges`."""
    check_keywords("stream_ranges", request, OF_STREAM)
    check_segments(segments)
    count = _SEGMENTS_OF_STREAM if isinstance(segments, str) else segments
    total, timeout = seconds_in_all(timeout, fetch.timeout)
    sources = Sources(fetch, _urls(url, mirrors), headers, {**request, "timeout": timeout})
    digest = None if checksum is None else parse_checksum(checksum)
    ranges = OrderedRanges(sources, count, window, repairs, Rate.of(limit_rate), digest)
    return RangeStream(ranges, f"streaming {sources.all[0].shown}", total)


def _check_flags(**flags: object) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, not {value!r}")


def _urls(url: str | URL, mirrors: Sequence[str | URL]) -> list[str | URL]:
    if isinstance(mirrors, str) or not isinstance(mirrors, Iterable):
        raise TypeError(f"mirrors must be several URLs, one as [url], not {mirrors!r}")
    urls = [url, *mirrors]
    for each in urls:
        if not isinstance(each, (str, URL)):
            raise TypeError(f"{'url' if each is url else 'a mirror'} must be text or a URL, not {each!r}")
    return urls


def _bar(progress: Any, stack: ExitStack) -> Bar | None:
    if progress is False or progress is None:
        return None
    from .bars import Bars  # noqa: PLC0415 - rich is an extra, and takes 50 ms

    return stack.enter_context(Bars(progress))
