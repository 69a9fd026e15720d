"""`CachingTransport`: answers what is stored, and stores what is answered."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Self

from multidict import CIMultiDict

from ..config import Deadline
from ..errors import HTTPException, NetworkError, ProtocolError, RequestTimeout, TotalTimeout
from ..headers import Headers
from ..messages import ResponseHead
from ..politeness.slot import current_slot, without_slot
from ..response import HTTPResponse
from ..transport import RequestContext
from ..url import join
from ..waits import Waits
from .cache import Cache
from .directives import directives
from .flight import Failure, Flight, Landing
from .flights import FlightKey, Flights
from .key import key_of, place_of
from .record import Record
from .rules import CACHED_METHODS, Use

if TYPE_CHECKING:
    from hishel import NeedRevalidation

    from ..messages import Request
    from ..transport import Transport

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_PASSING_BY = ("Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range", "Upgrade")
"""Who sends these has a cache of his own, or wants a part."""
_FAILED = frozenset({500, 502, 503, 504})
"""RFC 5861 section 4."""
_PASSING = frozenset({407, 408, 421, 425, 429})
"""Statuses that, like those from 500 on and 304, say nothing about what is there: another try may get it."""
_FAILURES = (NetworkError, RequestTimeout, ProtocolError)
BACKGROUND_SECONDS = 60.0
"""In all, for a revalidation that nobody waits for."""


class CachingTransport:
    """Answers requests from a cache, and stores what another transport answers: what ``Client(cache=…)`` is made of.

    - `inner`: the transport to send through. It is closed with this one.
    - `cache`: a `Cache`, the path of a SQLite file, or True for memory. One that is made here is closed with this.

    GET and HEAD are answered from the cache if the stored response is fresh; while it is revalidated in the background
    where stale-while-revalidate allows that; or after the server was asked whether it still holds. Of identical
    requests at a time one is sent, and the others share what it brings, if it can be stored. Where the server fails, a
    stale response stands in as far as stale-if-error goes. Other methods go to the server, and what is stored of their
    URL is forgotten if they succeed. Requests with a condition of their own, with Range, or with a body pass by.
    A response is stored when its body has been read to its end.
    """

    def __init__(self, inner: Transport, cache: Cache | str | os.PathLike[str] | bool = True) -> None:
        self.inner = inner
        self.cache = Cache.of(cache)
        self._place = place_of(inner)
        self.holds_back: bool = getattr(inner, "holds_back", False)
        """Whether requests may have to wait for rules of politeness."""
        self._owns_cache = not isinstance(cache, Cache)
        self._flights = Flights(self.cache.storage, self.cache.max_body)
        self.waits = Waits()
        """Who waits here for another's request; a client has its own in its place."""
        self._background: set[asyncio.Task[None]] = set()
        self._closed = False

    async def send(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send a request (see `Transport`)."""
        if request.method not in _SAFE:
            return await self._send_unsafe(request, context)
        headers = request.headers
        if request.method not in CACHED_METHODS or request.body is not None:
            return await self.inner.send(request, context)
        for name in _PASSING_BY:
            if name in headers:
                return await self.inner.send(request, context)
        url = key_of(request, self._place)
        while True:
            stored = self._flights.stored(url)
            record = await self._find(request, url)
            if self._flights.stored(url) != stored:
                continue  # while a file was read, a response for this URL was stored
            now = time.time()
            use = None if record is None else self.cache.rules.use(request, record, now)
            if record is not None and use is Use.FRESH:
                return _answer(request, record, now)
            key = (url, tuple(sorted(headers.items())), request.method)
            flight = self._flights.under_way(key)
            if record is not None and use is Use.STALE:
                if flight is None and not self._closed:
                    self._revalidate_later(request, context, record, key)
                return _answer(request, record, now)
            if "Cache-Control" in headers and "only-if-cached" in directives(headers):
                return _unavailable(request)
            slot = current_slot.get()
            sender = slot.rule if slot is not None and slot.is_held else None
            if flight is None or flight.waits_for_others(sender):
                return await self._lead(request, context, record, self._flights.begin(request, key))
            if not self._flights.shares(url):
                return await self._lead(request, context, record, self._flights.begin_alone(request, url))
            with self.waits.wait(request, context.deadline, "waiting for another"):
                # Without a slot: the leader may need one.
                outcome = await without_slot(flight.wait(context.deadline.read, sender))
            if isinstance(outcome, Record):
                return _answer(request, outcome, time.time())
            if isinstance(outcome, Failure):
                if outcome.is_for(context.deadline.timeout):
                    raise outcome.error_for(request)
            elif outcome is not Landing.AGAIN:
                return await self._lead(request, context, record, self._flights.begin_alone(request, url))

    async def _find(self, request: Request, url: str) -> Record | None:
        """The newest of the records that are for such a request."""
        records = await self.cache.storage.get(url, request)
        return max(records, key=lambda each: each.born, default=None)

    async def _lead(
        self, request: Request, context: RequestContext, record: Record | None, flight: Flight
    ) -> HTTPResponse:
        """Ask the server, for all who wait."""
        # One of its own: a client may use the same for all its requests.
        own = RequestContext(context.deadline, context.proxy, flight.departure.before(context.observer))
        try:
            return await self._ask(request, own, record, flight)
        except BaseException as error:
            flight.land(Failure.of(error, context.deadline.timeout))
            raise

    async def _ask(
        self, request: Request, context: RequestContext, record: Record | None, flight: Flight
    ) -> HTTPResponse:
        rules = self.cache.rules
        state = None if record is None else rules.revalidation(request, record)
        conditions = [] if state is None else rules.conditions(state)
        sent_at = time.time()
        try:
            response = await self.inner.send(request.with_fields(conditions) if conditions else request, context)
        except _FAILURES as error:
            if record is None or isinstance(error, TotalTimeout):
                raise
            if not rules.holds_despite_error(request, record, time.time()):
                raise
            flight.land(record)
            return _answer(request, record, time.time())
        try:
            again, answer = self._take_in(request, record, state if conditions else None, response, sent_at, flight)
        except BaseException:
            response.close_now()
            raise
        return await self._ask(request, context, None, flight) if again else answer

    def _take_in(
        self,
        request: Request,
        record: Record | None,
        state: NeedRevalidation | None,
        response: HTTPResponse,
        sent_at: float,
        flight: Flight,
    ) -> tuple[bool, HTTPResponse]:
        """Store what is to be stored of a response; the one for the caller, and whether to ask again instead."""
        rules = self.cache.rules
        now = time.time()
        if record is not None:
            if response.status == 304 and state is not None:
                response.close_now()
                refreshed = rules.refreshed(state, record, response.head, sent_at, now)
                if refreshed is None:  # it speaks of something else
                    self.cache.storage.remove(record.url)
                    return True, response
                if flight.still_holds():
                    self.cache.storage.put(refreshed)
                flight.land(refreshed)
                return False, _answer(request, refreshed, now, response)
            if response.status in _FAILED and rules.holds_despite_error(request, record, now):
                response.close_now()
                flight.land(record)
                return False, _answer(request, record, now)
        made = rules.record(request, key_of(request, self._place), response.head, sent_at, now)
        length = response.length
        if made is None or (length is not None and length > self.cache.max_body):
            status = response.status
            final = status < 500 and status != 304 and status not in _PASSING
            flight.land(Landing.UNSHARED if final else Landing.ALONE)
            return False, response
        flight.collect(made)
        if not response.ended:
            response.when_over(flight.over)
        response.tap(flight)
        return False, response

    # --- in the background ---

    def _revalidate_later(self, request: Request, context: RequestContext, record: Record, key: FlightKey) -> None:
        loop = asyncio.get_running_loop()
        own = RequestContext(
            Deadline(context.deadline.timeout.replace(total=BACKGROUND_SECONDS), loop.time()), context.proxy
        )
        task = loop.create_task(self._revalidate(request, own, record, self._flights.begin(request, key)))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _revalidate(self, request: Request, context: RequestContext, record: Record, flight: Flight) -> None:
        try:
            response = await self._lead(request, context, record, flight)
            try:
                async for _ in response:
                    if flight.landed:
                        break
            finally:
                response.close_now()
        except HTTPException:
            pass  # the next one who asks finds it stale, too

    # --- unsafe methods ---

    async def _send_unsafe(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send a request that may change what is stored (RFC 9111 section 4.4)."""
        response = await self.inner.send(request, context)
        if 200 <= response.status < 400:
            self._flights.written(key_of(request, self._place))
            for name in ("Location", "Content-Location"):
                if (reference := response.headers.get(name)) is not None:
                    try:
                        url = join(request.url, reference)
                    except HTTPException:
                        continue
                    if url.origin == request.url.origin:
                        self._flights.written(key_of(request.replace(url=url), self._place))
        return response

    # --- the end ---

    async def release(self) -> None:
        """End what goes on in the background, and close the cache if it was made here. Idempotent."""
        self._closed = True
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            if self._owns_cache:
                await self.cache.close()

    async def close(self) -> None:
        """End who waits with `PoolClosed`, `release()`, and close the transport inside. Idempotent."""
        self.waits.close()
        try:
            await self.release()
        finally:
            await self.inner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<CachingTransport {self.cache!r} before {self.inner!r}>"


def _answer(request: Request, record: Record, now: float, validated: HTTPResponse | None = None) -> HTTPResponse:
    """The response that a record makes."""
    head = record.head(now)
    if validated is not None and (cookies := validated.headers.getall("Set-Cookie", None)) is not None:
        fields = CIMultiDict(head.headers)
        fields.extend([("Set-Cookie", cookie) for cookie in cookies])
        head = ResponseHead(head.version, head.status, head.reason, Headers(fields))
    response = HTTPResponse(head, request.method, request.url, True, record.body)
    response.request = request
    response.from_cache = True
    if validated is not None:
        response.opening, response.proxy, response.queued = validated.opening, validated.proxy, validated.queued
        response.sent_at, response.arrived_at, response.done_at = (
            validated.sent_at,
            validated.arrived_at,
            validated.arrived_at,
        )
    return response


def _unavailable(request: Request) -> HTTPResponse:
    """The answer to only-if-cached when it is not (RFC 9111 section 5.2.1.7)."""
    head = ResponseHead(11, 504, "Gateway Timeout", Headers(CIMultiDict({"Content-Length": "0"})))
    response = HTTPResponse(head, request.method, request.url, True, b"")
    response.request = request
    return response
