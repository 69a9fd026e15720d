"""`MapResults`: what `Client.map` returns, the results of many requests as they come."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from ..config import check_count
from ..messages import Request
from ..url import URL
from .feed import Feed
from .keywords import check_handle, told_apart
from .workers import Workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..client.response import Response
    from ..errors import HTTPException
    from ..fetch import Fetch
    from .checkpoint import Checkpoint
    from .result import MapResult
    from .source import Requests

_WINDOW = 10
_AT_A_STRETCH = 0.01
"""Seconds that a consumer who need not wait may go on: then the map's own have their turn, whatever it computes."""


class MapResults:
    """An async iterator of `MapResult`; also a block, that ends what is still under way when it is left.

    Left by ``break`` or an error, an ``async for`` without the block does that too, as soon as nothing refers to the
    iterator any more; a checkpoint is then written a moment later. One task at a time may iterate.
    """

    def __init__(
        self,
        fetch: Fetch,
        requests: Requests,
        *,
        concurrency: int = 100,
        per_host: int = 8,
        ordered: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        handle: Callable[[Response], Awaitable[Any]] | None = None,
        window: int | None = None,
        method: str = "GET",
        **keywords: Any,
    ) -> None:
        if isinstance(requests, (str, bytes, URL, Request)):
            raise TypeError(f"requests must be an iterable of URLs and requests, not one: give [{requests!r}]")
        if not isinstance(requests, (Iterable, AsyncIterable, Feed)):
            raise TypeError(f"requests must be an iterable of URLs and requests, not {requests!r}")
        if checkpoint is not None and isinstance(requests, Feed):
            raise TypeError("a frontier keeps a checkpoint of its own: Frontier(…, checkpoint=path)")
        check_handle(handle)
        concurrency = check_count("concurrency", concurrency)
        per_host = check_count("per_host", per_host)
        build, send = told_apart(fetch, method, keywords)
        if window is None:
            # Hosts that have to wait are known only as far as is read, which is dearer than priorities.
            near = ordered or (isinstance(requests, Feed) and not fetch.holds_back)
            window = concurrency if near else _WINDOW * concurrency
        self._requests = requests
        self._workers: Workers | None = None
        self._given: MapResult | None = None  # what the consumer has in hand
        self._over = False
        self._waiting = False
        self._waited_at = 0.0  # in monotonic time
        self._checkpoint: Checkpoint | None = None
        if checkpoint is not None:
            from .checkpoint import Checkpoint  # noqa: PLC0415 - sqlite3, for those who ask for it

            self._checkpoint = Checkpoint(checkpoint, fetch.headers.items())
        self._options: dict[str, Any] = {
            "concurrency": concurrency,
            "per_host": per_host,
            "window": check_count("window", window),
            "ordered": ordered,
            "handle": handle,
            "method": method,
            "build": build,
            "send": send,
        }
        self._fetch = fetch

    def _start(self) -> Workers:
        """On the first step, in the loop: workers keep nothing of this, so that it goes when its user lets go of it."""
        if isinstance(self._requests, Feed):
            self._requests.claim()
        self._workers = workers = Workers(self._fetch, self._requests, self._checkpoint, **self._options)
        return workers

    def __aiter__(self) -> AsyncIterator[MapResult]:
        return self

    async def __anext__(self) -> MapResult:
        if self._over:
            raise StopAsyncIteration
        workers = self._workers or self._start()
        if workers.loop is not asyncio._get_running_loop():
            raise RuntimeError("this map belongs to another event loop")
        if self._waiting:
            raise RuntimeError("another task is waiting for the next result of this map")
        if self._given is not None:
            self._consumed(workers, self._given)
        if not workers.results or monotonic() - self._waited_at > _AT_A_STRETCH:
            self._waiting = True
            try:
                if workers.results:
                    await asyncio.sleep(0)
                more = await workers.wait()
            finally:
                self._waiting = False
                self._waited_at = monotonic()
            if self._over:  # closed by another task meanwhile
                raise StopAsyncIteration
            if not more:
                await self.aclose()
                if workers.failure is not None:
                    raise workers.failure
                raise StopAsyncIteration
        self._given = result = workers.take_result()
        if not workers.is_full:
            workers.pump()
        return result

    def _consumed(self, workers: Workers, result: MapResult) -> None:
        """The consumer is through with a result: it need not be fetched again."""
        self._given = None
        if result.entry is not None and workers.feed is not None:
            workers.feed.done(result.entry, is_finished(result))
        elif self._checkpoint is not None and result.key is not None and is_finished(result):
            self._checkpoint.finished(result.key)

    def wind_up(self, error: HTTPException) -> None:
        """Begin nothing more: its client is being closed. Iterating comes to the results of what has begun, and then to
        the error."""
        if self._workers is not None:
            self._workers.wind_up(error)

    def break_off(self, error: HTTPException) -> None:
        """End what is still under way: its client is closed. Iterating comes to the results that there are, and then to
        the error."""
        if self._workers is not None:
            self._workers.break_off(error)

    async def aclose(self) -> None:
        """End what is still under way, and write the checkpoint. Idempotent."""
        if self._workers is not None and self._workers.loop is not asyncio._get_running_loop():
            raise RuntimeError("this map belongs to another event loop")
        self._over = True
        workers, self._workers = self._workers, None
        try:
            if workers is not None:
                await workers.end()
        finally:
            if workers is not None and workers.feed is not None:
                await workers.feed.settle()
            if self._checkpoint is not None:
                await self._checkpoint.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is None and self._given is not None and self._workers is not None:
            self._consumed(self._workers, self._given)
        await self.aclose()

    def __del__(self) -> None:
        workers = getattr(self, "_workers", None)
        if getattr(self, "_checkpoint", None) is not None:
            self._checkpoint.close_soon()  # type: ignore[union-attr]
        if workers is None:
            return
        if asyncio._get_running_loop() is workers.loop:
            workers.stop()
        else:
            try:
                workers.loop.call_soon_threadsafe(workers.stop)
            except RuntimeError:
                if workers.feed is not None:  # the loop is closed, and all of it with it: another may go on
                    workers.feed.give_back()

    def __repr__(self) -> str:
        return f"<MapResults {'over' if self._over else 'not begun' if self._workers is None else 'under way'}>"


_LATER = frozenset({429, 502, 503, 504})


def is_finished(result: MapResult) -> bool:
    """Whether a request need not be sent again by another run: there was a response, and one that does not say to come
    again later (429, 502, 503, 504), and `handle` went well."""
    return result.error is None and result.response is not None and result.response.status not in _LATER
