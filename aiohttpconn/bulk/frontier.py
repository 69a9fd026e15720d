"""`Frontier`: the requests that a crawl has still to send, fed with the links that it finds."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Self

from ..errors import InvalidURL
from ..messages import BytesLike, Request
from ..url import URL, Origin, join, parse
from . import backlog, seen
from .backlog import Backlog
from .feed import Entry
from .identity import canonical_url, key_of
from .ledger import Ledger, checkpoint_path
from .seen import Seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from ..client.response import Response
    from .ledger_file import Change
    from .result import MapResult

_KIND = 0x61686672  # "ahfr"
_HOSTS = "CREATE TABLE IF NOT EXISTS hosts (origin TEXT PRIMARY KEY, pages INTEGER) WITHOUT ROWID;"
_COUNT = "INSERT INTO hosts VALUES (?, 1) ON CONFLICT (origin) DO UPDATE SET pages = pages + 1"
_MOST = 1 << 63  # SQLite's whole numbers are below
_DETERMINED = ("/", "http://", "https://")
"""How references begin that mean the same on all pages of an origin."""


class Frontier:
    """What `Client.map` crawls from: requests, each of them once, in the order of their priority, and more of them as
    pages are read. The map ends when none is left and none is under way.

    - `start`: URLs and `Request`s at depth 0.
    - `max_depth`: how many links away from the start pages may be; None for any number. Counted is the way on which a
      page was first met: where a shorter one is met later, as when pages on it are slow, it stays at its depth.
    - `max_per_host`: how many requests to one origin are accepted; None for any number. (The origins are counted in
      memory, 0.3 KiB each.)
    - `max_pages`: how many are given out to one map; None for all. The next map goes on, with a checkpoint also that of
      another run.
    - `accept`: says of a `URL` whether it belongs to the crawl; None for all.
    - `canonical`: what makes of a `URL` the text by which it is told whether it has been there; see `canonical_url`.
    - `checkpoint`: path of an SQLite file that the crawl is kept in: another run with it goes on with what was not
      finished (see `Client.map`), and does not accept what was there before. What comes to an error is tried again by
      the next run. `start` is looked at each time, and known by then. Requests are in there as they are sent, with user
      name, password and fields: a new file is its owner's alone (mode 0600). One that is no frontier's, or cannot be
      written, is an OSError; one that another frontier has, here or in another process, a BlockingIOError.
    - `memory`: how many of the accepted are remembered in memory, 70 bytes each, and a quarter as many kept waiting
      there; beyond that they are in SQLite, in the checkpoint or a temporary file.

    A redirect is a link like others: `Client.map` gives where it leads to the frontier, at the same depth and priority,
    which sends it in its turn if it belongs to the crawl and has not been there; the redirect itself has no result, and
    counts as a request. (So it is for GET and HEAD; not if the map is given ``follow_redirects=``, or the client does
    not follow redirects.)

    It serves one map at a time, another is a RuntimeError; where that is left early, what was under way waits again.

    Requests wait as their URL, or as a `Request` whose body is in memory, and are made when they are sent: what goes
    with all of them is given to `Client.map`.

    >>> async def main():
    ...     frontier = Frontier(["http://localhost:8000/"], max_depth=2, max_pages=100)
    ...     async with Client() as client:
    ...         async for result in client.map(frontier, per_host=4):
    ...             if result.ok:
    ...                 frontier.add_links(result, ["/about", "next.html"])
    """

    def __init__(
        self,
        start: Iterable[str | URL | Request] = (),
        *,
        max_depth: int | None = None,
        max_per_host: int | None = None,
        max_pages: int | None = None,
        accept: Callable[[URL], bool] | None = None,
        canonical: Callable[[URL], str] = canonical_url,
        checkpoint: str | os.PathLike[str] | None = None,
        memory: int = 100_000,
    ) -> None:
        if isinstance(start, (str, bytes, URL, Request)):
            raise TypeError(f"start must be an iterable of URLs and requests, not one: give [{start!r}]")
        for name, limit in (("max_depth", max_depth), ("max_per_host", max_per_host), ("max_pages", max_pages)):
            if limit is not None:
                _whole(name, limit, 0)
        _whole("memory", memory, 1)
        if accept is not None and not callable(accept):
            raise TypeError(f"accept must be a function of a URL, not {accept!r}")
        if not callable(canonical):
            raise TypeError(f"canonical must be a function of a URL, not {canonical!r}")
        self.max_depth = max_depth
        self.max_per_host = max_per_host
        self.max_pages = max_pages
        self.wake: Callable[[], None] | None = None
        self._is_claimed = False
        self._accept = accept
        self._canonical = canonical
        self._path = None if checkpoint is None else checkpoint_path(checkpoint)
        keep = checkpoint is not None
        self._ledger = Ledger(self._path or "", _KIND, seen.SCHEMA + backlog.SCHEMA + _HOSTS)
        self._seen = Seen(memory, self._ledger, keep)
        self._backlog = Backlog(memory // 4, self._ledger, keep)
        self._under_way: dict[int, Entry] = {}
        self._aside = 0  # under way as well, and not held here
        self._taken = 0
        self._hosts: dict[Origin, int] = {}
        if keep and max_per_host is not None:
            for origin, pages in self._ledger.ask("SELECT origin, pages FROM hosts"):
                self._hosts[parse(origin).origin] = pages
        # Most links of a page have been met before: those are known by their very text, which costs 0.1 µs and not 6.
        self._met: dict[Origin, set[str]] = {}
        self._met_limit = max(1, memory // 4)
        self._met_count = 0
        for request in start:
            self.add(request)

    # --- what is added ---

    def add(self, request: str | URL | Request, *, depth: int = 0, priority: int = 0) -> bool:
        """Add a request, unless it has been there, or is beyond the limits; whether it was added.

        - `depth`: how many links away from the start it is. `priority`: higher goes first; within one, first come,
          first served.

        Raises `InvalidURL`, TypeError for a request whose body is not in memory, RuntimeError once the frontier is
        closed, and OSError for a checkpoint that cannot be written; nothing is added then.
        """
        if depth.__class__ is not int or not 0 <= depth < _MOST:
            _whole("depth", depth, 0)
        if priority.__class__ is not int or not -_MOST < priority < _MOST:
            _whole("priority", priority, -_MOST + 1)
        return self._add(request, depth, priority, ())

    def _add(self, request: str | URL | Request, depth: int, priority: int, via: tuple[int, ...]) -> bool:
        self._ledger.check()
        if self.max_depth is not None and depth > self.max_depth:
            return False
        if isinstance(request, Request):
            body = request.body
            if body is not None and not isinstance(body, (str, BytesLike)):
                raise TypeError(f"the body of a request that is to wait must be bytes, not {type(body).__name__}")
            if isinstance(body, memoryview):
                request = request.replace(body=bytes(body), headers=request.headers)
            url = request.url
        else:
            url = parse(request)
            request = url.href.partition("#")[0]  # the fragment is not sent
        key = self._key_of(request, url)
        # Where a redirect led from is where it may lead back to: with a cookie, or in another spelling.
        is_back = bool(via) and key in via
        if (key in self._seen and not is_back) or (self._accept is not None and not self._accept(url)):
            return False
        origin = url.origin
        pages = 0
        counts = self.max_per_host is not None and not is_back
        if counts and (pages := self._hosts.get(origin, 0)) >= self.max_per_host:  # type: ignore[operator]
            return False
        also: list[Change] = []  # what the checkpoint has with the request's row, or none of it
        if self._path is not None:
            if counts:
                also.append((_COUNT, (str(origin),)))
            if not is_back:
                also.append(self._seen.change(key))
        waiting = self._backlog
        waiting.push(Entry(-priority, waiting.next_number, request, depth, via), also)
        waiting.next_number += 1
        if counts:
            self._hosts[origin] = pages + 1
        if not is_back:
            self._seen.add(key)
        if self.wake is not None:
            self.wake()
        return True

    def _key_of(self, request: str | URL | Request, url: URL) -> int:
        if isinstance(request, Request):
            return key_of(request.method, self._canonical(url), request.body)
        return key_of("GET", self._canonical(url))

    def add_links(
        self,
        result: MapResult,
        references: Iterable[str | URL | None],
        *,
        base: str | URL | None = None,
        priority: int = 0,
    ) -> int:
        """Add what a page links to, one link deeper than the page; how many were new.

        - `result`: the page. `references`: the values of its ``href`` attributes, as they stand there, or URLs; those
          that are no http or https URLs (``mailto:``, ``#top``, None) are passed over.
        - `base`: what they are relative to, if it is not the page's URL (the page's ``<base href>``, which may be
          relative, and is passed over as well if it is none).
        """
        if isinstance(references, (str, bytes, URL)):
            raise TypeError(f"references must be an iterable of URLs, not one: give [{references!r}]")
        depth = result.depth + 1
        response = result.response
        if response is None or (self.max_depth is not None and depth > self.max_depth):
            return 0
        url = response.url
        if base is not None:
            try:
                url = join(url, str(base).strip())
            except InvalidURL:  # a browser takes the page's own then
                pass
        met = self._met.get(url.origin)
        if met is None:
            met = self._met[url.origin] = set()
        added = 0
        for given in references:
            reference = given if type(given) is str else _text_of(given)
            if not reference or reference in met or reference[0] == "#":
                continue
            try:
                added += self.add(join(url, reference.strip()), depth=depth, priority=priority)
            except InvalidURL:
                continue
            if reference.startswith(_DETERMINED):
                met.add(reference)
                self._met_count += 1
        if self._met_count > self._met_limit:
            self._met = {}
            self._met_count = 0
        return added

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._backlog)

    # --- what is taken ---

    def claim(self) -> None:
        """See `Feed`."""
        if self._is_claimed:
            raise RuntimeError("the frontier is being read by another map: close that first (`async with`)")
        self._is_claimed = True
        self._taken = 0

    def take(self) -> Entry | None:
        """See `Feed`."""
        if self.max_pages is not None and self._taken >= self.max_pages:
            return None
        entry = self._backlog.pop()
        if entry is not None:
            self._taken += 1
            self._under_way[entry.number] = entry
        return entry

    def done(self, entry: Entry, finished: bool) -> None:
        """See `Feed`."""
        if self._under_way.pop(entry.number, None) is None:
            return
        if finished:
            self._backlog.done(entry)
        else:
            self._backlog.leave_out(entry)

    def redirected(self, entry: Entry, response: Response, request: Request) -> None:
        """See `Feed`."""
        before = entry.request
        key = self._key_of(before, before.url if isinstance(before, Request) else parse(before))
        self._add(request, entry.depth, -entry.rank, (*entry.via, key))
        self.done(entry, True)

    def give_back(self) -> None:
        """See `Feed`."""
        self._is_claimed = False
        self._taken -= len(self._under_way)
        if not self._ledger.is_closed:  # else they wait in its file, if it was to stay
            for entry in self._under_way.values():
                self._backlog.push_back(entry)
        self._under_way.clear()

    def set_aside(self, entry: Entry) -> None:
        """See `Feed`."""
        del self._under_way[entry.number]
        self._aside += 1
        self._backlog.leave_out(entry)

    def take_up(self, entry: Entry) -> None:
        """See `Feed`."""
        self._under_way[entry.number] = entry
        self._aside -= 1

    def put_back(self, entry: Entry) -> None:
        """See `Feed`."""
        self._aside -= 1
        self._taken -= 1
        if not self._ledger.is_closed:
            self._backlog.push_back(entry)

    async def settle(self) -> None:
        """Write the checkpoint."""
        if not self._ledger.is_closed:
            await self._ledger.flush()

    async def __aiter__(self) -> AsyncIterator[str | URL | Request]:
        """The requests one after the other, without a map; each is finished when the next is asked for. Ends when none
        is left and none is under way elsewhere."""
        while True:
            while (entry := self.take()) is None:
                if not self._under_way and not self._aside:
                    return
                await asyncio.sleep(0.01)
            finished = False
            try:
                yield entry.request
                finished = True
            finally:
                self.done(entry, finished)

    async def close(self) -> None:
        """Write the checkpoint and close its file; nothing can be added then. Idempotent."""
        await self._ledger.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Frontier {len(self)} waiting, {len(self._under_way) + self._aside} under way>"


def _text_of(reference: str | URL | None) -> str | None:
    """A reference as it would stand on a page."""
    if isinstance(reference, URL):
        return reference.href
    if reference is not None and not isinstance(reference, str):
        raise TypeError(f"a reference must be a str or a URL, not {reference!r}")
    return reference


def _whole(name: str, value: object, least: int) -> None:
    """Raise TypeError for what is no whole number, ValueError for one out of bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if not least <= value < _MOST:
        raise ValueError(f"{name} must be {least} to {_MOST - 1}: {value!r}")
