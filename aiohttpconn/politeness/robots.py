"""`RobotsTxt`: what robots.txt says (RFC 9309)."""

from __future__ import annotations

import asyncio
import copy
import math
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple

from multidict import CIMultiDict

from ..client.redirects import redirect_location, redirected
from ..client.response import Response
from ..client.retries import RetryRecord, retry_after
from ..config import Retry, check_seconds
from ..errors import HTTPException, RequestTimeout, RobotsDenied
from ..headers import Headers
from ..messages import Request, ResponseHead
from ..url import Origin, join
from .hosts import Hosts
from .rule import Rule, Send

if TYPE_CHECKING:
    from protego import Protego

MAX_BYTES = 512_000
"""Bytes of a robots.txt that are read (RFC 9309 section 2.5: at least 500 KiB); the rest is passed over."""
MAX_REDIRECTS = 5
"""RFC 9309 section 2.3.1.2."""
MAX_KEPT = 4 << 20
"""Bytes of text of all the files that are kept, the last used ones; parsed they take 30 times that."""
_PARSED_AT_ONCE = 16_384
"""Bytes: 5 ms. What is longer is parsed in a thread."""
_AGAIN = 60.0
"""Seconds after which a file that could not be had is asked for again."""
_RETRY = Retry(attempts=4, statuses=(429, *range(500, 600)), backoff=1.0, max_delay=_AGAIN, budget=None)
"""How it is tried again while they wait who asked: a server that restarts is back within these 4 to 7 s."""
_DAY = 86_400.0
"""RFC 9309 section 2.4."""
_ASKED_WITH = ("user-agent", "accept-encoding", "accept-language", "from")


class _Said(NamedTuple):
    """What an origin's robots.txt says, and until when it holds."""

    rules: Protego | None  # None: nothing is said, or, with `refused`, all is forbidden
    refused: str | None
    until: float
    size: int


class _Fetch:
    """A fetch under way, and how many wait for it."""

    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[_Said | HTTPException]) -> None:
        self.task = task
        self.waiting = 0


class RobotsTxt(Rule):
    """Requests that the robots.txt of their origin forbids are `RobotsDenied`; its Crawl-delay is kept. Needs the extra
    ``robots``.

    - `user_agent`: the name under which the file's groups are looked up; left out, the request's User-Agent.
    - `max_age`: seconds for which a file is kept.
    - `max_crawl_delay`: the most seconds between two requests, whatever the file asks for; None for no limit.

    The file is fetched with the first request to an origin, once for all who wait for it. After 429, 5xx or a failure
    of the network it is tried three times more, 1, 2 and 4 s later (up to half of that less, by chance) or when
    Retry-After says, while they wait; their own `total` bounds that. No file (4xx) allows everything, one that cannot
    be had (429, 5xx, too many redirects) forbids everything (RFC 9309 section 2.3.1) until it is asked for again a
    minute later, or after a longer Retry-After, a day at most. An older one holds on meanwhile. If the origin cannot be
    reached at all the request fails with the error that says so; within the next minute it does at the first try.
    """

    def __init__(
        self, user_agent: str | None = None, *, max_age: float = 86_400.0, max_crawl_delay: float | None = 60.0
    ) -> None:
        try:
            import protego  # noqa: F401, PLC0415 - an extra
        except ImportError as error:
            raise ImportError('RobotsTxt needs protego: pip install "aiohttpconn[robots]"') from error
        if user_agent is not None and not isinstance(user_agent, str):
            raise TypeError(f"user_agent must be a str or None, not {user_agent!r}")
        if user_agent is not None and not user_agent.strip():
            raise ValueError("user_agent must be a name, or be left out: it is empty")
        if max_age is None:
            raise TypeError("max_age must be a number of seconds, not None")
        check_seconds("max_age", max_age)
        check_seconds("max_crawl_delay", max_crawl_delay)
        self.user_agent = user_agent
        self.max_age = max_age
        self.max_crawl_delay = math.inf if max_crawl_delay is None else max_crawl_delay
        self._said: OrderedDict[Origin, _Said] = OrderedDict()
        self._size = 0
        self._fetching: dict[Origin, _Fetch] = {}
        self._next_at: Hosts[float] = Hosts(lambda at, now: at <= now)
        self._out_of_reach: Hosts[float] = Hosts(lambda until, now: until <= now)
        self._retries = RetryRecord()

    def key(self, request: Request) -> Hashable:
        """Origin and user agent: both decide which group of which file holds."""
        return request.url.origin, self._agent(request)

    def _agent(self, request: Request) -> str:
        return self.user_agent or request.headers.get("User-Agent") or "*"

    async def check(self, request: Request, send: Send) -> None:
        """Raises `RobotsDenied`, and what fetching the file does."""
        url = request.url
        if url.path == "/robots.txt":
            return
        said = self._said.get(url.origin)
        if said is None or said.until <= asyncio.get_running_loop().time():
            said = await self._fetched(request, said, send)
        else:
            self._said.move_to_end(url.origin)
        if said.refused is not None:
            raise RobotsDenied(f"{url.origin}/robots.txt could not be had, which forbids everything: {said.refused}")
        if said.rules is not None and not said.rules.can_fetch(
            url.without_userinfo().without_fragment().href, self._agent(request)
        ):
            target = url.shown.removeprefix(str(url.origin))
            raise RobotsDenied(f"{url.origin}/robots.txt forbids {target} to {self._agent(request)}")

    # --- Crawl-delay ---

    def ready_at(self, key: Hashable, now: float) -> float:
        """See `Rule`."""
        return self._next_at.get(key, now)

    def began(self, key: Hashable, now: float) -> None:
        """See `Rule`."""
        assert isinstance(key, tuple)
        origin, agent = key
        said = self._said.get(origin)
        if said is not None and said.rules is not None and (delay := said.rules.crawl_delay(agent)):
            self._next_at.put(key, now + min(delay, self.max_crawl_delay), now)

    # --- the file ---

    async def _fetched(self, request: Request, old: _Said | None, send: Send) -> _Said:
        """The file, fetched once for all who ask meanwhile; the fetch ends when nobody waits for it any more."""
        origin = request.url.origin
        fetch = self._fetching.get(origin)
        if fetch is None:
            task = asyncio.get_running_loop().create_task(self._fetch(request, old, send))
            fetch = self._fetching[origin] = _Fetch(task)
        fetch.waiting += 1
        try:
            await asyncio.wait((fetch.task,))
        finally:
            fetch.waiting -= 1
            if not fetch.waiting and self._fetching.get(origin) is fetch:
                del self._fetching[origin]
                fetch.task.cancel()
        if fetch.task.cancelled():
            raise RobotsDenied(f"fetching {origin}/robots.txt was cancelled")
        said = fetch.task.result()
        if isinstance(said, HTTPException):
            error = copy.copy(said)  # each who waits raises one of his own
            error.request = request
            raise error from said
        return said

    async def _fetch(self, request: Request, old: _Said | None, send: Send) -> _Said | HTTPException:
        origin = request.url.origin
        try:
            said = await self._tried(_request_of(request), old, send)
        except HTTPException as error:
            return error
        finally:
            task = asyncio.current_task()
            if (fetch := self._fetching.get(origin)) is not None and fetch.task is task:
                del self._fetching[origin]
        if said.refused is not None and old is not None:
            said = old._replace(until=said.until)
        self._keep(origin, said)
        return said

    def _keep(self, origin: Origin, said: _Said) -> None:
        if (old := self._said.pop(origin, None)) is not None:
            self._size -= old.size
        self._said[origin] = said
        self._size += said.size
        while self._size > MAX_KEPT and len(self._said) > 1:
            self._size -= self._said.popitem(last=False)[1].size

    async def _tried(self, request: Request, old: _Said | None, send: Send) -> _Said:
        """What the file says, or that it cannot be had, after as many tries as it takes."""
        origin, loop = request.url.origin, asyncio.get_running_loop()
        # Nobody is to wait where an older file holds, nor again and again for a host that is down.
        once = old is not None or self._out_of_reach.get(origin, 0.0) > loop.time()
        attempt = 0
        outcome: HTTPException | ResponseHead
        while True:
            attempt += 1
            try:
                answer = await self._ask(request, send)
            except HTTPException as error:
                outcome = error
            else:
                if isinstance(answer, _Said):
                    return answer
                outcome = answer
            pause = None if once else self._pause(request, attempt, outcome)
            if pause is None:
                break
            await asyncio.sleep(pause)
        if isinstance(outcome, HTTPException):
            if not once:
                self._out_of_reach.put(origin, loop.time() + _AGAIN, loop.time())
            raise outcome
        asked = min(retry_after(outcome.headers, time.time()), _DAY)
        return _Said(None, f"status {outcome.status}", loop.time() + max(_AGAIN, asked), _LEAST)

    def _pause(self, request: Request, attempt: int, outcome: HTTPException | ResponseHead) -> float | None:
        """Seconds to the next try; None if there is to be none."""
        if isinstance(outcome, RequestTimeout):
            return None  # they have waited for long
        return self._retries.delay(_RETRY, request, attempt, outcome, math.inf)

    async def _ask(self, request: Request, send: Send) -> _Said | ResponseHead:
        """What the file says; the head of the response where it may say something else soon."""
        loop = asyncio.get_running_loop()
        for _ in range(MAX_REDIRECTS + 1):
            response = Response(await send(request), request, 0.0)
            try:
                location = redirect_location(response.head)
                if location is not None:
                    try:
                        request = redirected(request, response.status, location)
                    except HTTPException as error:
                        return _Said(None, str(error), loop.time() + _AGAIN, _LEAST)
                    continue
                if response.is_success:
                    text = await _text_of(response)
                    return _Said(await _parsed(text), None, loop.time() + self.max_age, _LEAST + len(text))
                if 400 <= response.status < 500 and response.status != 429:
                    return _Said(None, None, loop.time() + self.max_age, _LEAST)
                return response.head
            finally:
                await response.close()
        return _Said(None, f"more than {MAX_REDIRECTS} redirects", loop.time() + _AGAIN, _LEAST)

    def __repr__(self) -> str:
        return f"RobotsTxt({'' if self.user_agent is None else repr(self.user_agent)})"


_LEAST = 100
"""What a file that says nothing counts for."""


def _request_of(request: Request) -> Request:
    """The request for the robots.txt that a request falls under: without its credentials."""
    fields = [pair for pair in request.headers.items() if pair[0].lower() in _ASKED_WITH]
    headers = Headers(CIMultiDict([*fields, ("Accept", "text/plain, */*;q=0.5")]))
    return Request("GET", join(request.url.without_userinfo(), "/robots.txt"), headers)


async def _text_of(response: Response) -> str:
    parts: list[bytes] = []
    size = 0
    async for piece in response.iter_bytes():
        parts.append(piece)
        size += len(piece)
        if size >= MAX_BYTES:
            break
    return b"".join(parts)[:MAX_BYTES].decode("utf-8-sig", "replace")


async def _parsed(text: str) -> Protego:
    from protego import Protego  # noqa: PLC0415 - an extra

    if len(text) <= _PARSED_AT_ONCE:
        return Protego.parse(text)
    return await asyncio.to_thread(Protego.parse, text)
