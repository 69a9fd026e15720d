"""`Source`: what a map reads its requests from, as jobs."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from ..messages import Request
from ..url import URL
from .feed import Feed
from .result import MapResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from .checkpoint import Checkpoint

Given: TypeAlias = str | URL | Request
Requests: TypeAlias = Iterable[Given] | AsyncIterable[Given] | Feed
"""What `Client.map` reads: any iterable, or async iterable, of URLs and requests; or a `Frontier`."""
_END: Any = object()


class Source:
    """Gives jobs: at once, by `next`, or one after the other as they come, by `stream`.

    - `build`: makes a request of a URL.
    - `wake`: called when a feed has something again that `next` found empty.
    - `ahead`: how many are read at a time to be looked up in the checkpoint.
    """

    def __init__(
        self,
        requests: Requests,
        checkpoint: Checkpoint | None,
        build: Callable[[str | URL], Request],
        wake: Callable[[], None],
        ahead: int,
    ) -> None:
        self.feed: Feed | None = None
        self.stream: AsyncIterator[Given | MapResult] | None = None
        """That of an asynchronous source, and of one with a checkpoint; None if `next` reads it."""
        self._build = build
        self._wake = wake
        self._items: Iterator[Given] | None = None
        self._count = 0
        if isinstance(requests, Feed):
            self.feed = requests
        elif checkpoint is not None:
            self.stream = checkpoint.unfinished(requests, self.job, ahead)
        elif isinstance(requests, AsyncIterable):
            self.stream = aiter(requests)
        else:
            self._items = iter(requests)

    @property
    def may_have_more(self) -> bool:
        """Whether it is worth while to ask `next` again."""
        return self._items is not None or self.feed is not None

    def next(self) -> MapResult | None:
        """The next job; None if there is none now. Raises what the iterable raises, which ends it, and the feed."""
        feed = self.feed
        if feed is not None:
            entry = feed.take()
            if entry is None:
                feed.wake = self._wake
                return None
            feed.wake = None
            job = self.job(entry.request)
            job.entry = entry
            return job
        if self._items is None:
            return None
        try:
            item = next(self._items, _END)
        except BaseException:
            self._items = None
            raise
        if item is _END:
            self._items = None
            return None
        return self.job(item)

    def end(self) -> None:
        """Let go of the iterable, and be called by the feed no more."""
        self._items = None
        if self.feed is not None:
            self.feed.wake = None

    def job(self, given: Given) -> MapResult:
        """The job of what was given: with an error if that is no request."""
        job = MapResult(self._count, given)
        self._count += 1
        return self._with_request(job)

    def restored(self, index: int, given: Given) -> MapResult:
        """A job once more that was made before, and put aside since."""
        job = self._with_request(MapResult(index, given))
        if job.error is not None:  # which it was not the first time: what goes with all requests was changed
            raise job.error
        return job

    def _with_request(self, job: MapResult) -> MapResult:
        given = job.given
        try:
            job.request = given if isinstance(given, Request) else self._build(given)
        except (ValueError, TypeError) as error:  # InvalidURL is a ValueError
            job.error = error
        return job
