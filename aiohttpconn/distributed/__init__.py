"""Maps and downloads on a Dask ``distributed`` cluster that is already there. Needs the extra ``dask``.

    from aiohttpconn import RateLimit, distributed

    settings = {"politeness": RateLimit(2), "timeout": 10}
    async with distributed.map(urls, cluster, handle=parse, client=settings) as results:
        async for result in results:
            print(result.url, result.worker, result.value)

Each host is one worker's, from its first request on: what holds for a host there (`per_host`, rules of politeness,
cookies, connections) holds in the whole cluster. Hosts that nobody has begun go to the worker with the least to do, so
that one which joins, or is through, takes its share. A worker process has one client for all maps of the same settings,
on a uvloop of its own in a thread of its own, until the process ends.

A redirect of a GET or HEAD comes back, and is sent by the worker of the host to which it leads; cookies are each
worker's own, and `handle` sees the last response without its history. (A download follows redirects where it is, and
so does `follow_redirects=True` given to the map itself: the rules of the host to which they lead then hold for each
worker by itself.)

A worker that is lost (or answers nothing for 30 s) leaves its hosts to those that are left, or to its successor. **What
was handed out is never sent again, and every request has exactly one result.** Of what the lost worker had, and had not
brought (half of `window` at most, and of one host four times `per_host`, most of which it had not begun), each
idempotent request is sent once more, and `handle` called once more; any other one is an item whose error is
`WorkerLost`, and so is what three workers were lost to. Its hosts begin anew elsewhere: a rule has forgotten what it
learnt of them. With a `checkpoint`, which the caller keeps, the same holds for the next run, if this process is killed:
but for what was handed out in its last 0.1 s, which is sent again.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bulk.feed import Feed
from ..bulk.keywords import check_handle, told_apart
from ..config import check_count
from ..download.keywords import OF_DOWNLOAD, check_keywords
from ..download.result import DownloadResult
from ..messages import Request
from ..url import URL
from .cluster import Cluster
from .dispatch import Dispatch
from .parcel import Plan, Work, dumps_settings
from .partition import host_of
from .places import Places
from .result import ClusterResult, WorkerLost
from .results import ClusterResults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from ..bulk.source import Requests
    from ..client.client import Client
    from ..client.response import Response

    ClientSettings: TypeAlias = Mapping[str, Any] | Callable[[], Client] | None

__all__ = ["ClusterResult", "ClusterResults", "WorkerLost", "download", "map"]

_WINDOW = 10


def map(
    requests: Requests,
    cluster: Any,
    *,
    handle: Callable[[Response], Awaitable[Any]] | None = None,
    client: ClientSettings = None,
    concurrency: int = 100,
    per_host: int = 8,
    ordered: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    window: int | None = None,
    partition_of: Callable[[URL], str] = host_of,
    direct: bool | None = None,
    method: str = "GET",
    **options: Any,
) -> ClusterResults[ClusterResult]:
    """`Client.map` on many machines: an async iterator of `ClusterResult`, as they come.

    - `requests`: as of `Client.map`, with absolute URLs: read by the caller, as far as there is room. A `Frontier` too.
    - `cluster`: a Dask cluster, a Dask client (of either kind), or a scheduler's address. It is left as it is.
    - `handle`: a coroutine function, called by the worker with each response; only what it returns is brought, and the
      response without its body. It is pickled, as all that goes to and fro (by cloudpickle: lambdas may be).
    - `client`: keywords of `Client` (rules of politeness are made anew from what they are here: give fresh ones), or a
      function that returns a client, called once in each worker process.
    - `concurrency`: how many are under way at a time on each worker; `per_host`: how many of them to one origin, in the
      whole cluster.
    - `ordered`, `checkpoint` (a file of the caller's), `method` and the others: as of `Client.map`.
    - `window`: how many requests for each worker are read ahead, with it (half of them at most), or wait as results:
      left out 10 × `concurrency`. Besides, a worker holds 4 MiB of results until they are taken, and is held up by a
      consumer that is slow.
    - `partition_of`: from a URL to the text that all URLs have in common which one worker is to serve; left out, the
      host without a leading "www.".
    - `direct`: whether results come from the workers directly, rather than through the scheduler; left out, as the Dask
      client given has it. It takes load off the scheduler where workers can be reached.

    What goes wrong with one request is its result's `error`. Raises TypeError and ValueError at once for keywords that
    no request could have; what the source raises; and what makes it impossible to go on: settings that are no client's,
    a scheduler that is not there, or lost (ConnectionError). While there is no worker, it waits.
    """
    if isinstance(requests, (str, bytes, URL, Request)) or not isinstance(requests, (Iterable, AsyncIterable, Feed)):
        raise TypeError(f"requests must be an iterable of URLs and requests, not {requests!r}")
    if checkpoint is not None and isinstance(requests, Feed):
        raise TypeError("a frontier keeps a checkpoint of its own: Frontier(…, checkpoint=path)")
    check_handle(handle)
    for name, value in (("concurrency", concurrency), ("per_host", per_host)):
        check_count(name, value)
    _check_keywords(method, options)
    options = {"per_host": per_host, "method": method, "window": window or _WINDOW * concurrency, **options}
    dask = Cluster(cluster, direct)
    work = dumps_settings("handle" if handle is not None else "a keyword", Work("map", concurrency, options, handle))
    plan = Plan(_client(client), work)
    kept = None
    if checkpoint is not None:
        from ..bulk.checkpoint import Checkpoint  # noqa: PLC0415 - sqlite3, for those who ask for it

        kept = Checkpoint(checkpoint)
    dispatching = _dispatching(concurrency, window, per_host, partition_of)
    return ClusterResults(
        lambda: Dispatch(dask, plan, requests, kept, None, method=method, ordered=ordered, **dispatching),
        kept,
        lambda result: result,
    )


def download(
    items: Iterable[Any] | AsyncIterable[Any] | Mapping[Any, Any],
    cluster: Any,
    *,
    directory: str | os.PathLike[str] | None = None,
    client: ClientSettings = None,
    concurrency: int = 8,
    window: int | None = None,
    partition_of: Callable[[URL], str] = host_of,
    direct: bool | None = None,
    **options: Any,
) -> ClusterResults[DownloadResult]:
    """`Client.download_all` on many machines: an async iterator of `DownloadResult`, as they come.

    - `items`: absolute URLs, or pairs of URL and path, or a mapping of URL to path. Paths are those of the workers'
      machines: relative to `directory`, and that to the caller's current folder, by its absolute path. Without a path,
      or with one that ends in a separator, the name is that in the URL, with the item's number (from 1) when another
      item has it; what a server calls the file does not count, so that no two workers ever write the same one, and
      another run finds it. A file that is there is left if it is the same, else replaced, unless `overwrite=False` is
      given.
    - `concurrency`: how many files at a time on each worker; `limit_rate` is for each file.
    - the others: as of `map`, and of `Client.download` (those that pickle).

    Where workers share a file system, the file that a lost worker was bringing is gone on with by the next one: what
    had been written is not fetched again.
    """
    if isinstance(items, (str, bytes, URL)) or not isinstance(items, (Iterable, AsyncIterable)):
        raise TypeError(f"items must be an iterable of URLs, or of pairs of URL and path, not {items!r}")
    if isinstance(items, Mapping):
        items = list(items.items())
    check_count("concurrency", concurrency)
    check_keywords("download", options, OF_DOWNLOAD)
    places = Places(os.path.abspath("" if directory is None else directory))
    dask = Cluster(cluster, direct)
    plan = Plan(_client(client), dumps_settings("a keyword", Work("download", concurrency, options)))
    dispatching = _dispatching(concurrency, window, concurrency, partition_of)
    return ClusterResults(
        lambda: Dispatch(dask, plan, items, None, places, method="GET", ordered=False, **dispatching),
        None,
        _download_result,
    )


def _check_keywords(method: str, options: dict[str, Any]) -> None:
    """As `Client.map` does it, here and at once."""
    from ..client.client import Client  # noqa: PLC0415 - types only, else

    told_apart(Client(), method, options)


def _download_result(result: ClusterResult) -> DownloadResult:
    path = None if result.path is None else Path(result.path)
    if result.error is not None:
        return DownloadResult(str(result.given), path, None, result.error)
    return DownloadResult(str(result.given), result.value.path, result.value)


def _client(settings: ClientSettings) -> bytes:
    if settings is not None and not isinstance(settings, Mapping) and not callable(settings):
        raise TypeError(f"client must be keywords of Client, or a function that returns a Client, not {settings!r}")
    return dumps_settings("client", settings if callable(settings) else dict(settings or {}))


def _dispatching(
    concurrency: int, window: int | None, per_host: int, partition_of: Callable[[URL], str]
) -> dict[str, Any]:
    if window is None:
        window = _WINDOW * concurrency
    check_count("window", window)
    return {"window": window, "per_host": per_host, "partition_of": partition_of}
