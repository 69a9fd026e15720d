"""`ConnectionPool`: keep-alive connections per route, under limits, first come, first served.

How it is decided who gets what, so that no step looks at all connections:

- A *host* is what the pool knows of one route: its idle connections, how many it has, who waits for one.
- A *slot* is the right to use one connection. It is taken by decisions that never suspend, and returns itself, however
  its exchange ends. Connecting happens inside a slot, in the task of its owner.
- Whoever finds no slot waits in the queue of its host. Hosts that have somebody waiting and may have one more
  connection stand in a heap by their longest-waiting; when anything becomes free, the top of the heap is served. So
  waiters are served in the order in which they came, by each limit.
- Idle connections stand in the order in which they became idle: the longest idle is closed first, to make room or
  because its time is over.
- While somebody waits only for room in the pool as a whole, no connection is idle; and while a connection to a host is
  idle, nobody waits for that host. So a newcomer can never overtake.
"""

from __future__ import annotations

import asyncio
import enum
import heapq
import math
import os
import warnings
import weakref
from asyncio import get_running_loop
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from multidict import istr

from .config import DEFAULT, UNSET, Deadline, Limits, Timeout, Unset, check_seconds
from .connection import UNOPENED, AsyncHTTPConnection, AsyncHTTPSConnection
from .errors import HTTPException, PoolClosed, PoolTimeout, RemoteDisconnected, TotalTimeout, WriteError
from .lifetime import LearntLimits, jittered
from .messages import Request, Route
from .net.socket_options import SocketOptions
from .net.tls import ssl_context as default_context
from .net.tls_options import TLSOptions
from .net.tls_sessions import TLSSessions
from .proxy import Proxy
from .response import HTTPResponse
from .unix_socket import socket_path
from .url import URL, Origin, parse
from .wire.head import MAX_FIELDS, MAX_HEAD, encode_fields

if TYPE_CHECKING:
    import ssl

    from .net.address_book import AddressBook
    from .net.guard import AddressPolicy
    from .net.lookups import CachingResolver
    from .net.resolve import Resolver
    from .net.socket_options import SocketOption
    from .net.tcp import Address
    from .transport import Observer, RequestContext


class _State(enum.Enum):
    LEASED = "leased"
    IDLE = "idle"
    CLOSED = "closed"


_LEASED, _IDLE, _CLOSED = _State


class HostStats(NamedTuple):
    """What a pool has of one route."""

    open: int
    idle: int
    waiting: int


class PoolStats(NamedTuple):
    """What a pool has now (`open` = `idle` + `in_use`), and has done so far.

    `reused_total` counts the times that an open connection was used again; `per_host` is keyed by the route as text.
    """

    open: int
    idle: int
    in_use: int
    waiting: int
    opened_total: int
    reused_total: int
    closed_total: int
    per_host: dict[str, HostStats]


class _Host:
    """One route: its idle connections (newest last), how many connections it has, who waits (first come first)."""

    __slots__ = ("count", "direct", "idle", "in_heap", "proxy", "route", "waiters")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.proxy = route.proxy
        self.direct = route.proxy is None and route.uds is None
        self.count = 0
        self.idle: dict[_Slot, None] = {}
        self.waiters = _NOBODY
        self.in_heap = False


class _Waiter:
    """Somebody who waits for a slot, for `what`, until `by`. `number` is the order of arrival."""

    __slots__ = ("by", "deadline", "future", "host", "number", "what")

    def __init__(
        self,
        host: _Host,
        number: int,
        future: asyncio.Future[_Slot],
        what: object,
        by: float,
        deadline: Deadline,
    ) -> None:
        self.host = host
        self.number = number
        self.future = future
        self.what = what
        self.by = by
        self.deadline = deadline


class _Slot:
    """The right to use one connection, and the pool's record of it. Whoever holds it gives it back, once."""

    __slots__ = (
        "__weakref__",
        "connection",
        "expires",
        "host",
        "idle_since",
        "idle_until",
        "left",
        "pool",
        "since",
        "state",
        "used",
        "what",
        "why",
    )

    def __init__(self, pool: ConnectionPool, host: _Host, connection: AsyncHTTPConnection) -> None:
        self.pool = weakref.ref(pool)  # a pool that was dropped unclosed can be collected, and says so
        self.host = host
        self.connection = connection
        self.state = _LEASED
        self.used = False
        """Whether the connection has served before: then the peer may be about to close it."""
        self.idle_since = 0.0
        self.idle_until = 0.0
        self.expires = math.inf
        """When the connection is too old to be used again."""
        self.left = 0
        """How many more requests it may serve, where the pool limits them."""
        self.since = 0.0
        self.what: object = None
        """Who holds it: a request, or a text."""
        self.why = ""
        """Why its connection had to be opened."""
        connection.on_change = self.changed

    def give_back(self) -> None:
        """The connection goes on to the next who waits, or idle, or is closed: as its state allows."""
        pool = self.pool()
        if pool is not None and self.state is _LEASED:
            pool._take_back(self)

    def changed(self) -> None:
        """The connection was lost while it was idle, or said something that nobody had asked for."""
        pool = self.pool()
        if pool is not None and self.state is _IDLE:
            pool._forget_idle(self)


_NOBODY: OrderedDict[_Waiter, None] = OrderedDict()
"""The queue of a host that nobody ever waited for: an empty one of its own takes 0.4 KiB."""


class ConnectionPool:
    """Keep-alive connections per route, under `Limits`; safe under cancellation. It is also a `Transport`.

    - `limits`: how many connections, and how long idle ones are kept.
    - `timeout`: seconds, a `Timeout`, or None; holds for `connection()`.
    - `ssl_context`: for https; None for one that verifies against the system's CAs.
    - `proxy`: URL of a proxy for all routes, or a `Proxy`.
    - `resolver`: who looks up names (see `Resolver`); None for the system, asked by a `CachingResolver` of the pool's
      own. `resolve`: addresses by hand, as ``{"host:port": "address"}`` (see `OverridingResolver`).
    - `addresses`: an `AddressPolicy` that says what may be connected to; None for everything.
    - `uds`: path of a Unix domain socket that all connections go to, but those of http+unix URLs. `local_address`:
      (host, port), or a host, to connect from. `socket_options`, `interface`, `tcp_keepalive`: see
      `AsyncHTTPConnection`.
    - `max_head`, `max_fields`: bytes and fields that the heads of one response may have.
    - `tls`: `TLSOptions`; its `minimum_version` is for the context that is made where `ssl_context` is None.

    A pool serves the event loop it was first used on.

    >>> async def main():
    ...     async with ConnectionPool() as pool:
    ...         async with pool.connection("http://localhost:8000") as conn:
    ...             await conn.request("GET", "/")
    ...             response = await conn.getresponse()
    ...             return await response.read()
    """

    # What each request asks for. Only 30 attributes of an instance are found at once: one more, and a request cost 3 %.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_closed",
        "_direct",
        "_idle",
        "_leased",
        "_loop",
        "_max_connections",
        "_max_idle",
        "_max_per_host",
        "_max_requests",
        "_open",
        "_reused_total",
        "_sweep_when",
        "_waiting",
    )

    def __init__(
        self,
        limits: Limits | None = None,
        timeout: Timeout | float | Unset | None = DEFAULT,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | URL | Proxy | None = None,
        resolver: Resolver | None = None,
        *,
        resolve: Mapping[str, str | Sequence[str]] | None = None,
        addresses: AddressPolicy | None = None,
        uds: str | os.PathLike[str] | None = None,
        local_address: tuple[str, int] | str | None = None,
        socket_options: Iterable[SocketOption] = (),
        interface: str | None = None,
        tcp_keepalive: tuple[int, int, int] | None = None,
        happy_eyeballs_delay: float | None = 0.25,
        max_head: int = MAX_HEAD,
        max_fields: int = MAX_FIELDS,
        tls: TLSOptions | None = None,
    ) -> None:
        if limits is not None and not isinstance(limits, Limits):
            raise TypeError(f"limits must be a Limits or None, not {limits!r}")
        self.limits = limits if limits is not None else Limits()
        self.timeout = Timeout.of(timeout)
        self.proxy = Proxy.of(proxy)
        if tls is not None and not isinstance(tls, TLSOptions):
            raise TypeError(f"tls must be a TLSOptions or None, not {tls!r}")
        self._ssl_context = ssl_context
        self._tls = tls if tls is not None else TLSOptions()
        self._sessions = TLSSessions() if self._tls.resume else None
        self._uds = None if uds is None else socket_path(os.fsdecode(uds))
        self._book: AddressBook | None = None
        self._addresses = _checked_policy(addresses)
        self._own_resolver = _OwnResolver() if resolver is None else None
        resolver = self._own_resolver or resolver
        if resolve is not None:
            from .net.overrides import OverridingResolver  # noqa: PLC0415 - few give addresses by hand

            resolver = OverridingResolver(resolve, resolver)
        self._options: dict[str, Any] = {
            "source_address": local_address,
            "socket_options": SocketOptions.of(socket_options, interface, tcp_keepalive) or (),
            "happy_eyeballs_delay": happy_eyeballs_delay,
            "resolver": resolver,
            "addresses": addresses,
            "max_head": max_head,
            "max_fields": max_fields,
        }
        self._max_connections = _number(self.limits.max_connections)
        self._max_per_host = _number(self.limits.max_per_host)
        self._max_idle = _number(self.limits.max_idle)
        self._keepalive: float = math.inf if self.limits.keepalive is None else self.limits.keepalive
        self._max_requests = self.limits.max_requests
        self._learnt = LearntLimits()
        self._hosts: dict[Route, _Host] = {}
        self._direct: dict[Origin, _Host] = {}  # the hosts of requests that go the pool's own way, by origin
        self._leased: dict[_Slot, None] = {}  # in the order in which they were leased
        self._idle: OrderedDict[_Slot, None] = OrderedDict()  # longest idle first
        self._open = 0
        self._waiting = 0
        self._heap: list[tuple[int, _Host]] = []  # hosts to be served, by the number of their longest-waiting
        self._arrivals = 0
        self._expiry: asyncio.TimerHandle | None = None  # when the time of a waiter may be over
        self._expiry_when = math.inf
        self._expiry_not_before = 0.0
        self._opened_total = 0
        self._reused_total = 0
        self._closed_total = 0
        self._closed = False
        self._aborted = False  # closed, and what was going on is not to end by itself
        self._drained: asyncio.Future[None] | None = None  # while `close` waits for what is going on
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.TimerHandle | None = None  # when the time of an idle connection may be over
        self._sweep_when = math.inf
        self._sweep_not_before = 0.0

    # --- the transport ---

    async def send(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send a request over a connection of its route; the connection comes back when the response is over.

        A request sent on a reused connection that died before any byte of a response is sent once more, on a fresh one,
        if it is idempotent and its body can be replayed. Raises `PoolTimeout`, `PoolClosed`, and what connecting and
        exchanging raise.
        """
        loop = self._loop
        if loop is None or loop is not get_running_loop():
            loop = self._bind_loop()
        deadline = context.deadline
        proxy = context.proxy
        origin = request.url.origin
        host = self._direct.get(origin) if proxy is UNSET else None
        if host is None:
            try:
                host = self._host(origin, proxy)
            except HTTPException as error:
                error.request = request
                raise
        slot = self._slot_now(host, request, loop.time())
        queued = 0.0
        if slot is None:
            queued = perf_counter()
            slot = await self._slot_later(host, request, deadline)
            queued = perf_counter() - queued
        context.leased_at = slot.since
        observer = context.observer
        try:
            reused = slot.used
            if not reused:
                await self._open_slot(slot, request, deadline)
            if observer is not None:
                await self._observe(observer, slot, request, reused)
            try:
                if host.direct:
                    response = await slot.connection.start(request, deadline)
                else:
                    response = await self._start_by_route(slot, request, deadline)
            except (RemoteDisconnected, WriteError) as error:
                if reused:
                    self._learn(slot, error)
                if not reused or self._aborted or not _may_replay(request, error):
                    raise
                self._renew(slot)
                slot.why = "the peer had closed the connection that was to be used again"
                reused = False
                request.rewind()  # some of the body may have been read
                await self._open_slot(slot, request, deadline)
                if observer is not None:
                    await self._observe(observer, slot, request, reused)
                response = await self._start_by_route(slot, request, deadline)
        except BaseException as error:
            slot.give_back()
            if isinstance(error, HTTPException):
                error.request = request
                if self._aborted and not isinstance(error, PoolClosed):
                    raise self._closed_error(request) from error
            raise
        if not reused:
            response.opening, slot.connection.opening = slot.connection.opening, UNOPENED
        if queued:
            response.queued = queued
        if response.ended:
            self._take_back(slot)
        else:
            response.request = request
            response.when_over(slot.give_back)
        return response

    def has_room(self, request: Request, proxy: Proxy | Unset | None = UNSET) -> bool:
        """Whether a request would get a connection at once, idle or new. `proxy` is as in `RequestContext`."""
        host = self._host(request.url.origin, proxy)
        try:
            if host.idle:
                return True
            return host.count < self._max_per_host and (self._open < self._max_connections or bool(self._idle))
        finally:
            self._drop_host_if_empty(host)

    async def _observe(self, observer: Observer, slot: _Slot, request: Request, reused: bool) -> None:
        """Tell who wants to know on what connection the request goes out, and of the 1xx responses to it."""
        slot.connection.on_interim = partial(observer.interim, request)
        if reused:
            await observer.reused(request)
        else:
            await observer.connected(request, slot.connection.opening)

    async def _open_slot(self, slot: _Slot, what: object, deadline: Deadline) -> None:
        connection = slot.connection
        await connection.open(deadline)
        if self._aborted:
            raise self._closed_error(what)
        connection.opening.why = slot.why
        slot.used = True

    async def _start_by_route(self, slot: _Slot, request: Request, deadline: Deadline) -> HTTPResponse:
        """Send, through a proxy if need be in absolute form and with its own fields."""
        route = slot.host.route
        proxy = route.proxy
        if proxy is None:
            response = await slot.connection.start(request, deadline)
        elif route.tunnelled:
            if _PROXY_AUTHORIZATION in request.headers:
                request = request.without_fields(_PROXY_AUTHORIZATION)  # the origin is not to know
            response = await slot.connection.start(request, deadline)
        else:
            response = await self._forward(slot, request, deadline, proxy)
        response.proxy = None if proxy is None else proxy.origin
        response.uds = route.uds
        return response

    async def _forward(self, slot: _Slot, request: Request, deadline: Deadline, proxy: Proxy) -> HTTPResponse:
        """Have the proxy send the request on, and answer its challenges."""
        target = request.url.absolute_form
        fields = proxy.fields_for(request.method, target)
        answered = 0
        while True:
            headers = request.headers
            # What the request says itself is not said twice.
            own = [pair for pair in fields if pair[0] not in headers]
            response = await slot.connection.start(request, deadline, encode_fields(own))
            if response.status != 407 or proxy.auth is None or _PROXY_AUTHORIZATION in headers:
                return response
            challenges = response.headers.getall("Proxy-Authenticate", ())
            value = proxy.auth.answer_proxy(proxy.origin, request.method, target, challenges, answered)
            if value is None:
                return response
            fields = proxy.fields_with(value)
            answered += 1
            try:
                await _read_away(response)
                request.rewind()
            finally:
                response.close_now()
            if not slot.connection.free_slots():
                self._renew(slot)
                slot.why = "the proxy closed the one on which it asked who one is"
                await self._open_slot(slot, request, deadline)

    # --- exclusive use ---

    def connection(self, url: str | URL) -> PooledConnection:
        """An async context manager: an exclusive, connected `AsyncHTTPConnection` to the origin of `url`.

        After the block the connection goes back to the pool if its last exchange is over, else it is closed.
        """
        return PooledConnection(self, parse(url))

    # --- state ---

    def stats(self) -> PoolStats:
        """What the pool has now, and has done so far."""
        return PoolStats(
            open=self._open,
            idle=len(self._idle),
            in_use=len(self._leased),
            waiting=self._waiting,
            opened_total=self._opened_total,
            reused_total=self._reused_total,
            closed_total=self._closed_total,
            per_host={
                str(host.route): HostStats(host.count, len(host.idle), len(host.waiters))
                for host in self._hosts.values()
            },
        )

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._closed

    async def warm(self, url: str | URL, n: int = 1, *, proxy: Proxy | Unset | None = UNSET) -> int:
        """Open connections in advance, so that `n` to the origin of `url` are idle; how many were opened.

        They are opened at the same time, and no more than the limits leave room for: nobody is made to wait or loses a
        connection for it. When one cannot be opened its error is raised, and those under way are given up; those that
        are open stay. `proxy` is as in `RequestContext`. Raises `PoolClosed`, and what connecting raises.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise TypeError(f"n must be a number of connections, 0 or more, not {n!r}")
        loop = self._bind_loop()
        origin = parse(url).origin
        what = f"a connection in advance to {origin}"
        if self._closed:
            raise self._closed_error(what)
        host = self._host(origin, proxy)
        wanted = min(
            n - len(host.idle),
            self._max_per_host - host.count,
            self._max_connections - self._open,
            self._max_idle - len(self._idle),
        )
        deadline = Deadline(self.timeout, loop.time())
        slots: dict[_Slot, None] = {}  # those that are still to be given back

        async def open_one(slot: _Slot) -> None:
            await self._open_slot(slot, what, deadline)
            slot.connection.opening = UNOPENED  # no request waited for it
            del slots[slot]
            slot.give_back()

        try:
            while len(slots) < wanted:
                slots[self._lease_new(host, what, loop.time())] = None
            opened = len(slots)
            async with asyncio.TaskGroup() as group:
                for slot in list(slots):
                    group.create_task(open_one(slot))
        except* HTTPException as errors:
            error = next(iter(errors.exceptions))
            if self._aborted and not isinstance(error, PoolClosed):
                raise self._closed_error(what) from error
            raise error from None
        finally:
            for slot in slots:  # by us: a task that is cancelled before its first step has no say
                slot.give_back()
            self._drop_host_if_empty(host)
        return opened

    async def close(self, grace: float | None = 0.0) -> None:
        """Fail who waits with `PoolClosed`, close every connection, abort what is in flight. Idempotent.

        - `grace`: seconds that running exchanges get to end, their bodies read included, before they are aborted; None
          for as long as they take. New requests are `PoolClosed` at once.

        A second `close()` has a grace of its own: without one it aborts what the first still waits for. When it is
        cancelled, everything is aborted at once.
        """
        check_seconds("grace", grace)
        if self._closed and not self._leased:
            return
        self._bind_loop()
        if not self._closed:
            self._stop()
        try:
            if self._leased and grace != 0:
                if self._drained is None:
                    self._drained = get_running_loop().create_future()
                await asyncio.wait([self._drained], timeout=grace)
        finally:
            self._aborted = True
            for slot in list(self._leased):
                slot.connection.abort()
            if self._own_resolver is not None:
                await self._own_resolver.close()
        # The transports close their sockets at the next turn of the loop, and who was reading hears of it then.
        for _ in range(3):
            await asyncio.sleep(0)

    def _stop(self) -> None:
        """No more requests: who waits is told, idle connections are closed. What is going on goes on."""
        self._closed = True
        if self._sessions is not None:
            self._sessions.clear()
        for host in list(self._hosts.values()):
            for waiter in host.waiters:
                if not waiter.future.done():
                    waiter.future.set_exception(self._closed_error(waiter.what))
        self._heap.clear()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for slot in list(self._idle):
            self._remove(slot, in_order=True)

    async def __aenter__(self) -> ConnectionPool:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __del__(self) -> None:
        slots = [*getattr(self, "_idle", ()), *getattr(self, "_leased", ())]
        if getattr(self, "_closed", True) or not slots or self._loop is None:
            return
        sweeper = self._sweeper

        def let_go() -> None:
            if sweeper is not None:
                sweeper.cancel()
            for slot in slots:
                slot.connection.abort()

        try:
            self._loop.call_soon_threadsafe(let_go)
        except RuntimeError:
            pass  # the loop is closed, and with it every connection
        warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)  # at last: may be an error

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self._open} open, {len(self._idle)} idle, {self._waiting} waiting"
        return f"<ConnectionPool {state}>"

    def _bind_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("the pool belongs to another event loop: use one pool (or client) for each loop")
        return loop

    # --- hosts ---

    def _host(self, origin: Origin, proxy: Proxy | Unset | None) -> _Host:
        if self._addresses is not None:
            self._check_addresses(self._addresses, origin)
        own_way = proxy is UNSET
        way = self.proxy if isinstance(proxy, Unset) else proxy
        context = None
        if origin.scheme == "https":
            context = self._ssl_context
            if context is None:
                self._ssl_context = context = default_context(minimum_version=self._tls.minimum_version)
        target = origin
        if way is not None and origin.scheme == "http" and not way.is_socks:
            target = Origin("http", way.origin.host, way.origin.port)  # any connection to the proxy will do
        uds = self._uds
        if target.scheme == "http+unix":
            way, uds = None, origin.uds  # no proxy lies before a socket
        route = Route(target, way, context, uds)
        host = self._hosts.get(route)
        if host is None:
            host = self._hosts[route] = _Host(route)
        if own_way and target is origin:
            self._direct[origin] = host
        return host

    def _check_addresses(self, policy: AddressPolicy, origin: Origin) -> None:
        """Refuse what can be refused before a name is looked up: whatever the way, and on every hop of a redirect."""
        if origin.uds is not None:
            policy.check_unix(origin.uds)  # such a URL leads nowhere else: the scheme says nothing more
        elif self._uds is None:
            policy.check_origin(origin)
        else:
            policy.check_scheme(origin)
            policy.check_unix(self._uds)

    def _drop_host_if_empty(self, host: _Host) -> None:
        if not host.count and not host.waiters:
            if self._hosts.get(host.route) is host:
                del self._hosts[host.route]
            if self._direct.get(host.route.origin) is host:
                del self._direct[host.route.origin]

    def _new_connection(self, route: Route) -> AsyncHTTPConnection:
        origin, proxy = route.origin, route.proxy
        peer = origin if proxy is None else proxy.origin
        if self._book is None:
            from .net.address_book import AddressBook  # noqa: PLC0415 - not before something is connected

            self._book = self._options["address_book"] = AddressBook()
        if origin.scheme == "http+unix":
            return AsyncHTTPConnection(origin.host_field, peer.port, self.timeout, uds=route.uds, **self._options)
        connection: AsyncHTTPConnection
        if route.context is None:
            connection = AsyncHTTPConnection(
                _bracketed(peer.host), peer.port, self.timeout, uds=route.uds, **self._options
            )
        else:
            connection = AsyncHTTPSConnection(
                _bracketed(peer.host),
                peer.port,
                timeout=self.timeout,
                context=route.context,
                server_hostname=self._tls.server_hostname,
                assert_fingerprint=self._tls.pins_for(origin.host),
                sessions=self._sessions,
                uds=route.uds,
                **self._options,
            )
        if proxy is not None:
            connection.set_proxy(proxy, origin if route.tunnelled else None)
        return connection

    # --- slots, taken ---

    def _slot_now(self, host: _Host, what: object, now: float) -> _Slot | None:
        """A slot without waiting: the newest idle connection, else room for a new one. Decided, not yet connected."""
        if self._closed:
            self._drop_host_if_empty(host)
            raise self._closed_error(what)
        idle = host.idle
        had_idle = bool(idle)
        while idle:
            slot, _ = idle.popitem()
            del self._idle[slot]
            slot.state = _LEASED
            if now < slot.idle_until and not slot.connection.is_stale():
                slot.what = what
                slot.since = now
                self._leased[slot] = None
                self._reused_total += 1
                return slot
            self._remove(slot)
        if host.count >= self._max_per_host:
            return None
        if self._open >= self._max_connections:
            if not self._idle:
                return None
            self._remove(next(iter(self._idle)), in_order=True)
        slot = self._lease_new(host, what, now)
        if had_idle:
            slot.why = "the idle ones to it had been closed by the peer or kept for too long"
        return slot

    def _lease(self, slot: _Slot, what: object, now: float) -> _Slot:
        slot.state = _LEASED
        slot.what = what
        slot.since = slot.idle_since = now
        self._leased[slot] = None
        return slot

    def _lease_new(self, host: _Host, what: object, now: float) -> _Slot:
        try:
            slot = _Slot(self, host, self._new_connection(host.route))
        except BaseException:  # a host name that URLs allow and connections do not, as in http://a{b}/
            self._drop_host_if_empty(host)
            raise
        slot.why = f"all {host.count} to it were in use" if host.count else "there was none to it"
        self._hosts[host.route] = host  # its last connection may just have been found dead, and the host dropped
        host.count += 1
        self._open += 1
        self._opened_total += 1
        self._begin_life(slot, now)
        return self._lease(slot, what, now)

    def _begin_life(self, slot: _Slot, now: float) -> None:
        """Draw the limits of a connection that is about to be opened."""
        limits = self.limits
        keepalive = self._keepalive
        slot.connection.idle_limit = self._learnt.limit(slot.host.route, keepalive, now) if self._learnt else keepalive
        if limits.max_age is not None:
            slot.expires = now + jittered(limits.max_age, limits.jitter)
        if limits.max_requests is not None:
            slot.left = math.ceil(jittered(limits.max_requests, limits.jitter))

    def _renew(self, slot: _Slot) -> None:
        """Put a fresh connection into a slot whose reused one turned out to be dead."""
        slot.connection.on_change = None
        slot.connection.abort()
        slot.connection = self._new_connection(slot.host.route)
        slot.connection.on_change = slot.changed
        slot.used = False
        self._closed_total += 1
        self._opened_total += 1
        self._begin_life(slot, self._loop.time())  # type: ignore[union-attr]

    def _learn(self, slot: _Slot, error: RemoteDisconnected | WriteError) -> None:
        """A connection was found dead when it was used again: those to the same host are not to be idle for as long."""
        if isinstance(error, RemoteDisconnected) and error.bytes_received:
            return
        host = slot.host
        limit = self._learnt.died(host.route, slot.since - slot.idle_since, slot.since)
        if limit is None:
            return
        for other in self._leased:
            if other.host is host and limit < other.connection.idle_limit:
                other.connection.idle_limit = limit
        for other in host.idle:
            if limit < other.connection.idle_limit:
                other.connection.idle_limit = limit
                other.idle_until = until = min(other.idle_until, other.idle_since + limit)
                if until < self._sweep_when:
                    self._arm_sweeper(until)

    async def _slot_later(self, host: _Host, what: object, deadline: Deadline) -> _Slot:
        """Wait for a slot in the host's queue."""
        loop = self._loop
        assert loop is not None
        self._arrivals = number = self._arrivals + 1
        by = loop.time() + deadline.pool
        if deadline.at < by:
            by = deadline.at
        if by < self._expiry_when:
            self._arm_expiry(by)
        future: asyncio.Future[_Slot] = loop.create_future()
        waiter = _Waiter(host, number, future, what, by, deadline)
        waiters = host.waiters
        if not waiters:
            self._hosts[host.route] = host
            if waiters is _NOBODY:
                host.waiters = waiters = OrderedDict()
        waiters[waiter] = None
        self._waiting += 1
        if not host.in_heap:
            self._enqueue(host)
        try:
            slot = await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                # Cancelled in the very turn in which the slot came.
                future.result().give_back()
            elif waiters.pop(waiter, self) is None:
                self._waiting -= 1
            self._drop_host_if_empty(host)
            raise
        if self._closed:
            slot.give_back()
            raise self._closed_error(what)
        if slot.used and slot.connection.is_stale():
            # Looked at now, not when it was handed over: others have had their turn since.
            self._reused_total -= 1
            self._renew(slot)
            slot.why = "the peer had closed the one that became free"
        return slot

    # --- the end of a waiter's time ---

    def _arm_expiry(self, when: float) -> None:
        """One timer for all who wait, left armed when they are served: one for each would cost 1.5 µs."""
        assert self._loop is not None
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry_when = when = max(when, self._expiry_not_before)
        self._expiry = self._loop.call_at(when, _call, weakref.WeakMethod(self._expire_due))

    def _expire_due(self) -> None:
        """Fail those whose time is over.

        It looks at everybody, so that nothing need be kept in the order of time. Where that takes long (0.3 µs each),
        the next look is not before twenty times as long, however often somebody's time ends: with 10,000 waiting an
        error may be 0.06 s late.
        """
        assert self._loop is not None
        self._expiry = None
        self._expiry_when = math.inf
        now = self._loop.time()
        soonest = math.inf
        for host in self._hosts.values():
            for waiter in host.waiters:
                if not waiter.future.done():
                    if waiter.by <= now + 0.001:  # uvloop counts whole milliseconds and may be early by one
                        self._expire(waiter, now)
                    elif waiter.by < soonest:
                        soonest = waiter.by
        looked_at = self._waiting + len(self._hosts)
        self._expiry_not_before = now + 0.000_006 * looked_at if looked_at > 500 else 0.0
        if soonest < math.inf:
            self._arm_expiry(soonest)

    def _expire(self, waiter: _Waiter, now: float) -> None:
        error = waiter.deadline.expiry(PoolTimeout, now, f"waiting for a connection for {waiter.what}")
        if not isinstance(error, TotalTimeout):
            error.args = (f"{error.args[0]}: {self._holders(waiter.host, now)}",)
        if isinstance(waiter.what, Request):
            error.request = waiter.what
        waiter.future.set_exception(error)

    def _holders(self, host: _Host, now: float) -> str:
        """Who holds the connections."""
        text = f"{len(self._leased)} of {self._open} connections are in use, {host.count} of them to {host.route}"
        oldest = next(iter(self._leased), None)
        if oldest is not None:
            text += f"; the oldest for {now - oldest.since:.1f} s by {oldest.what!r}"
        return text + f"; {self._waiting} are waiting"

    # --- slots, given back ---

    def _take_back(self, slot: _Slot) -> None:
        del self._leased[slot]
        slot.what = None
        connection = slot.connection
        if connection.on_interim is not None:
            connection.on_interim = None
        if not connection.free_slots() or self._closed:
            self._remove(slot)
            self._serve()
        elif self._max_requests is not None and self._is_used_up(slot):
            self._retire(slot)
        elif not self._waiting or (host := self._next_host(slot.host)) is None:
            self._keep(slot)
        elif host is slot.host:
            now = self._loop.time()  # type: ignore[union-attr]
            if now >= slot.expires:
                self._retire(slot)
                return
            waiter = self._pop_waiter(host)
            self._reused_total += 1
            waiter.future.set_result(self._lease(slot, waiter.what, now))
        else:
            self._remove(slot)
            self._serve()

    def _is_used_up(self, slot: _Slot) -> bool:
        """Whether the connection has served as many requests as it may."""
        slot.left -= 1
        return slot.left <= 0

    def _retire(self, slot: _Slot) -> None:
        """A connection that could go on is closed when it becomes free: it has lived long enough."""
        self._remove(slot, in_order=True)
        self._serve()

    def _next_host(self, host: _Host) -> _Host | None:
        """Whose waiter is next, if a connection to `host` has become free: the longest-waiting of those it can help."""
        first = self._first_waiter(host)
        if first is not None and (not (heap := self._heap) or (len(heap) == 1 and heap[0][1] is host)):
            return host  # there is no other: the fast way for who talks to one host
        top = self._top()
        if first is None:
            return top
        if top is None or first.number <= next(iter(top.waiters)).number:
            return host
        return top

    def _first_waiter(self, host: _Host) -> _Waiter | None:
        """The longest-waiting, past those who were cancelled, or whose time ended, and who have not run since."""
        waiters = host.waiters
        while waiters:
            waiter = next(iter(waiters))
            if not waiter.future.done():
                return waiter
            del waiters[waiter]
            self._waiting -= 1
        return None

    def _pop_waiter(self, host: _Host) -> _Waiter:
        waiter, _ = host.waiters.popitem(last=False)
        self._waiting -= 1
        return waiter

    def _keep(self, slot: _Slot) -> None:
        """Nobody waits: the connection is idle from now on."""
        idle = self._idle
        if len(idle) >= self._max_idle:
            if not idle:  # none is to be kept
                self._remove(slot, in_order=True)
                return
            self._remove(next(iter(idle)), in_order=True)
        slot.idle_since = now = self._loop.time()  # type: ignore[union-attr]
        until = now + slot.connection.idle_limit
        if until > slot.expires:
            until = slot.expires
            if until <= now:
                self._retire(slot)
                return
        slot.idle_until = until
        slot.state = _IDLE
        slot.host.idle[slot] = idle[slot] = None
        if until < self._sweep_when:
            self._arm_sweeper(until)

    def _forget_idle(self, slot: _Slot) -> None:
        """An idle connection was lost."""
        self._remove(slot)
        self._serve()

    def _remove(self, slot: _Slot, in_order: bool = False) -> None:
        """Close a connection that nobody holds, and make room. `in_order`: TLS says goodbye."""
        if slot.state is _CLOSED:
            return
        host = slot.host
        if slot.state is _IDLE:
            self._idle.pop(slot, None)
            host.idle.pop(slot, None)
        slot.state = _CLOSED
        connection = slot.connection
        connection.on_change = None
        if in_order:
            connection.close_now()
        else:
            connection.abort()
        host.count -= 1
        self._open -= 1
        self._closed_total += 1
        if host.waiters:
            self._enqueue(host)
        else:
            self._drop_host_if_empty(host)
        if self._drained is not None and not self._leased and not self._drained.done():
            self._drained.set_result(None)

    # --- who is next ---

    def _enqueue(self, host: _Host) -> None:
        """Somebody waits for `host`: put it into the heap, if it may have one more connection."""
        if not host.in_heap and host.count < self._max_per_host:
            if len(self._heap) > 2 * len(self._hosts) + 64:
                self._drop_from_heap()
            host.in_heap = True
            heapq.heappush(self._heap, (next(iter(host.waiters)).number, host))

    def _drop_from_heap(self) -> None:
        """Let go of hosts whose waiters have all given up: half of the heap at least."""
        for _, host in self._heap:
            host.in_heap = bool(host.waiters)
        self._heap = [item for item in self._heap if item[1].in_heap]
        heapq.heapify(self._heap)

    def _top(self) -> _Host | None:
        """The host whose longest-waiting is the next that needs only room in the pool."""
        heap = self._heap
        while heap:
            number, host = heap[0]
            first = self._first_waiter(host)
            if first is None or host.count >= self._max_per_host:
                heapq.heappop(heap)
                host.in_heap = False
                self._drop_host_if_empty(host)  # all its waiters have given up
            elif first.number == number:
                return host
            else:
                heapq.heapreplace(heap, (first.number, host))
        return None

    def _serve(self) -> None:
        """Let those who wait open connections, as far as there is room."""
        if self._closed:
            return
        while self._waiting and (host := self._top()) is not None:
            if self._open >= self._max_connections:
                if not self._idle:
                    return
                self._remove(next(iter(self._idle)), in_order=True)
            waiter = self._pop_waiter(host)
            assert self._loop is not None
            try:
                waiter.future.set_result(self._lease_new(host, waiter.what, self._loop.time()))
            except Exception as error:
                waiter.future.set_exception(error)  # the waiter's affair, not of whoever gave a slot back

    # --- idle ones whose time is over ---

    def _arm_sweeper(self, when: float) -> None:
        assert self._loop is not None
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweep_when = when = max(when, self._sweep_not_before)
        self._sweeper = self._loop.call_at(when, _call, weakref.WeakMethod(self._sweep))

    def _sweep(self) -> None:
        """Close the idle ones whose time is over.

        It looks at all of them, since each has a time of its own; where they are many, the next look is not before
        twenty times as long as this one took (0.1 µs each).
        """
        assert self._loop is not None
        self._sweeper = None
        self._sweep_when = math.inf
        now = self._loop.time()
        soonest = math.inf
        looked_at = len(self._idle)
        for slot in list(self._idle):
            if slot.idle_until <= now + 0.001:  # uvloop counts whole milliseconds and may be early by one
                self._remove(slot, in_order=True)
            elif slot.idle_until < soonest:
                soonest = slot.idle_until
        self._sweep_not_before = now + 0.000_002 * looked_at if looked_at > 500 else 0.0
        if soonest < math.inf:
            self._arm_sweeper(soonest)

    # --- words and checks ---

    def _closed_error(self, what: object) -> PoolClosed:
        error = PoolClosed("the pool is closed", doing=None if what is None else str(what))
        if isinstance(what, Request):
            error.request = what
        return error

    def audit(self) -> None:
        """Check every invariant of the pool; AssertionError with what is wrong. For tests: it looks at everything."""
        wrong: list[str] = []

        def check(holds: bool, text: str) -> None:
            if not holds:
                wrong.append(text)

        slots = [*self._idle, *self._leased]
        check(self._open == len(slots), f"{self._open} open, but {len(slots)} known")
        check(len(set(slots)) == len(slots), "a connection is idle and leased")
        check(self._open <= self._max_connections, f"{self._open} open, over the limit")
        check(len(self._idle) <= self._max_idle, f"{len(self._idle)} idle, over the limit")
        check(self._opened_total - self._closed_total == self._open, "opened less closed is not open")
        for slot in self._idle:
            check(slot.state is _IDLE, f"{slot.state} stands among the idle")
            check(slot.idle_until <= slot.expires, "an idle connection is kept for longer than it lives")
            check(slot in slot.host.idle, "an idle connection is not with its host")
            check(slot.connection.is_connected or slot.connection.is_stale(), "an idle connection is not connected")
        for slot in self._leased:
            check(slot.state is _LEASED, f"{slot.state} stands among the leased")
        for slot in slots:
            check(self._hosts.get(slot.host.route) is slot.host, f"{slot.host.route} has a connection and is not known")
        waiting = 0
        for route, host in self._hosts.items():
            check(host.route == route, "a host stands under another route")
            check(bool(host.count or host.waiters), f"{route} is empty and still there")
            check(host.count == sum(slot.host is host for slot in slots), f"{route} counts its connections wrongly")
            check(host.count <= self._max_per_host, f"{route} has {host.count} connections, over the limit")
            check(all(slot in self._idle for slot in host.idle), f"{route} has an idle connection the pool has not")
            check(not (host.idle and host.waiters), f"somebody waits for {route} beside an idle connection")
            if host.waiters and host.count < self._max_per_host and not self._closed:
                check(host.in_heap, f"{route} would not be served")
                check(self._open >= self._max_connections and not self._idle, f"somebody waits for {route} for nothing")
            waiting += len(host.waiters)
        check(waiting == self._waiting, f"{self._waiting} waiting, but {waiting} known")
        check(
            all(self._hosts.get(host.route) is host for host in self._direct.values()), "a dropped host is still known"
        )
        check(all(host.in_heap for _, host in self._heap), "the heap has a host that does not know of it")
        soonest = min((slot.idle_until for slot in self._idle), default=math.inf)
        check(
            self._closed or self._sweep_when <= max(soonest, self._sweep_not_before),
            "nobody ends the idle ones",
        )
        if wrong:
            raise AssertionError(f"{self!r}: " + "; ".join(wrong))


def _call(reference: weakref.WeakMethod[Callable[[], None]]) -> None:
    """What a pool's timers do: they must not keep a pool that was dropped unclosed."""
    method = reference()
    if method is not None:
        method()


class _OwnResolver:
    """A pool's own resolver: a `CachingResolver`, made when the first name is looked up: it takes 1 ms to import."""

    __slots__ = ("_resolver",)

    def __init__(self) -> None:
        self._resolver: CachingResolver | None = None

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """See `Resolver`."""
        if self._resolver is None:
            from .net.lookups import CachingResolver  # noqa: PLC0415

            self._resolver = CachingResolver()
        return await self._resolver.resolve(host, port)

    async def close(self) -> None:
        if self._resolver is not None:
            await self._resolver.close()


def _checked_policy(value: AddressPolicy | None) -> AddressPolicy | None:
    if value is not None:
        from .net.guard import AddressPolicy  # noqa: PLC0415 - for those who have one

        if not isinstance(value, AddressPolicy):
            raise TypeError(f"addresses must be an AddressPolicy, such as AddressPolicy.public_only(), not {value!r}")
    return value


def _number(limit: int | None) -> float:
    return math.inf if limit is None else limit


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


_PROXY_AUTHORIZATION = istr("Proxy-Authorization")
_CHALLENGE_BODY = 65_536
"""Bytes of a proxy's challenge that are read to keep its connection."""


async def _read_away(response: HTTPResponse) -> None:
    """Read a body that nobody asked for, if it is framed and not long, so that its connection can be used again."""
    length = response.length
    if not response.chunked and (length is None or length > _CHALLENGE_BODY):
        return
    size = 0
    try:
        async with asyncio.timeout(1.0):
            while size <= _CHALLENGE_BODY and (piece := await response.read1()):
                size += len(piece)
    except (HTTPException, TimeoutError):
        pass  # what it had to say was in its head


def _may_replay(request: Request, error: RemoteDisconnected | WriteError) -> bool:
    """Whether the request may go out once more: no byte of a response came, and once more is as good as once."""
    if isinstance(error, RemoteDisconnected) and error.bytes_received:
        return False
    return request.is_idempotent and request.replayable


class PooledConnection:
    """Exclusive use of one of a pool's connections for the length of an `async with` block."""

    __slots__ = ("_pool", "_slot", "_url", "_way")

    def __init__(self, pool: ConnectionPool, url: URL) -> None:
        self._pool = pool
        self._url = url
        self._slot: _Slot | None = None

    async def __aenter__(self) -> AsyncHTTPConnection:
        pool = self._pool
        if self._slot is not None:
            raise RuntimeError("this block has been entered already")
        loop = pool._bind_loop()
        deadline = Deadline(pool.timeout, loop.time())
        host = pool._host(self._url.origin, UNSET)
        what = f"exclusive use of {self._url.origin}"
        slot = pool._slot_now(host, what, loop.time())
        if slot is None:
            slot = await pool._slot_later(host, what, deadline)
        try:
            await pool._open_slot(slot, what, deadline)
        except BaseException as error:
            slot.give_back()
            if pool._aborted and isinstance(error, HTTPException) and not isinstance(error, PoolClosed):
                raise pool._closed_error(what) from error
            raise
        self._slot = slot
        connection = slot.connection
        self._way = connection.way()
        proxy = host.proxy
        if proxy is not None and not host.route.tunnelled:
            connection.forward_to(self._url.origin, proxy.fields)
        return connection

    async def __aexit__(self, *exc: object) -> None:
        self._end()

    def _end(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            connection = slot.connection
            if connection.way() != self._way:
                connection.abort()  # it leads elsewhere now
            connection.forward_to(None, [])
            connection.timeout = self._pool.timeout
            connection.debuglevel = 0
            connection.on_interim = None
            connection.auto_open = True
            connection.response_class = HTTPResponse
            slot.give_back()

    def __del__(self) -> None:
        slot = self._slot
        if slot is None or slot.state is not _LEASED:
            return
        text = f"the block with {slot.connection!r} was never left; it is closed"
        connection, give_back, loop = slot.connection, slot.give_back, self._pool._loop

        def let_go() -> None:
            connection.abort()
            give_back()

        try:
            if loop is not None:
                loop.call_soon_threadsafe(let_go)
        except RuntimeError:
            pass  # the loop is closed, and with it every connection
        warnings.warn(text, ResourceWarning, stacklevel=2)  # at last: it may be made an error
