"""`ConnectionPool`: keep-alive connections per route, under limits, first come, first served."""

from __future__ import annotations

import asyncio
import warnings
from asyncio import get_running_loop
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar

from ..config import DEFAULT, UNSET, Deadline, Limits, Timeout, Unset, check_seconds
from ..connection import UNOPENED
from ..errors import HTTPException, PoolClosed, RemoteDisconnected, WriteError
from ..url import URL, parse
from ..wire.head import MAX_FIELDS, MAX_HEAD
from .leased import is_fresh, may_replay, observe, open_slot, start, start_anew
from .ledger import Ledger, closed_error
from .ways import Ways

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Iterable, Mapping, Sequence

    from ..messages import Request
    from ..net.guard import AddressPolicy
    from ..net.resolve import Resolver
    from ..net.socket_options import SocketOption
    from ..net.tls_options import TLSOptions
    from ..proxy import Proxy
    from ..response import HTTPResponse
    from ..transport import ProxyChoice, RequestContext
    from .pooled_connection import PooledConnection
    from .slot import Slot
    from .stats import PoolStats


class ConnectionPool:
    """Keep-alive connections per route, under `Limits`; safe under cancellation. It is also a `Transport`.

    - `limits`: how many connections, and how long idle ones are kept.
    - `timeout`: seconds, a `Timeout`, or None; holds for `connection()`.
    - `ssl_context`: for https; None for one that verifies against the system's CAs.
    - `proxy`: URL of a proxy for all routes, or a `Proxy`; not beside `uds`.
    - `resolver`: who looks up names (see `Resolver`); None for the system, asked by a `CachingResolver` of the pool's
      own. `resolve`: addresses by hand, as ``{"host:port": "address"}`` (see `OverridingResolver`).
    - `addresses`: an `AddressPolicy` that says what may be connected to; None for everything.
    - `uds`: path of a Unix domain socket that all connections go to, but those of http+unix URLs. `local_address`:
      (address, port), or an address, to connect from. `socket_options`, `interface`, `tcp_keepalive`: see
      `AsyncHTTPConnection`.
    - `max_head`, `max_fields`: bytes and fields that the heads of one response may have.
    - `tls`: `TLSOptions`; its `minimum_version` is for the contexts that are made here.
    - `authorities`: path of a file or folder of CAs to trust where no context was given: with https where `ssl_context`
      is None, with an https proxy that has none of its own; None for the system's. `trust_env`: whether SSL_CERT_FILE,
      SSL_CERT_DIR and SSLKEYLOGFILE are looked at for them.

    A pool serves the event loop it was first used on.

    >>> async def main():
    ...     async with ConnectionPool() as pool:
    ...         async with pool.connection("http://localhost:8000") as conn:
    ...             await conn.request("GET", "/")
    ...             response = await conn.getresponse()
    ...             return await response.read()
    """

    _ways_class: ClassVar[type[Ways]] = Ways
    """What makes the connections: another kind of them (see `exchange.py`) enters here."""

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
        authorities: str | os.PathLike[str] | None = None,
        trust_env: bool = True,
    ) -> None:
        if limits is not None and not isinstance(limits, Limits):
            raise TypeError(f"limits must be a Limits or None, not {limits!r}")
        self.limits = limits if limits is not None else Limits()
        self._ways = self._ways_class(
            timeout=Timeout.of(timeout),
            ssl_context=ssl_context,
            proxy=None if proxy is None else _proxy_of(proxy),
            resolver=resolver,
            resolve=resolve,
            addresses=addresses,
            uds=uds,
            local_address=local_address,
            socket_options=socket_options,
            interface=interface,
            tcp_keepalive=tcp_keepalive,
            happy_eyeballs_delay=happy_eyeballs_delay,
            max_head=max_head,
            max_fields=max_fields,
            tls=tls,
            authorities=authorities,
            trust_env=trust_env,
        )
        self.chooser: ProxyChoice | None = None
        """Who says which proxy `connection()` and `warm()` go through, in place of `proxy`: a client's way of
        choosing."""
        self._ledger = Ledger(self.limits, self._ways)

    # --- the transport ---

    async def send(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send a request over a connection of its route; the connection comes back when the response is over.

        A request sent on a reused connection that died before any byte of a response is sent once more, on a fresh one,
        if it is idempotent and its body can be replayed. Raises `PoolTimeout`, `PoolClosed`, and what connecting and
        exchanging raise.
        """
        ledger = self._ledger
        loop = ledger.loop
        if loop is None or loop is not get_running_loop():
            loop = ledger.bind_loop()
        deadline = context.deadline
        proxy = context.proxy
        origin = request.url.origin
        host = ledger.hosts.direct.get(origin) if proxy is UNSET else None
        if host is None:
            try:
                host = ledger.host(origin, proxy)
            except HTTPException as error:
                error.request = request
                raise
        slot = ledger.slot_now(host, request, loop.time())
        queued = 0.0
        if slot is None:
            queued = perf_counter()
            slot = await ledger.slot_later(host, request, deadline)
            queued = perf_counter() - queued
        context.leased_at = slot.since
        observer = context.observer
        try:
            reused = slot.used
            if not reused:
                await open_slot(ledger, slot, request, deadline)
            if observer is not None:
                await observe(observer, slot, request, reused)
            try:
                if host.direct:
                    response = await slot.connection.start(request, deadline)
                else:
                    response = await start(ledger, slot, request, deadline, observer)
                    reused = not is_fresh(slot)  # a proxy's challenge may have ended the reused one
            except (RemoteDisconnected, WriteError) as error:
                if is_fresh(slot):
                    raise
                ledger.learn(slot, error)
                if ledger.aborted or not may_replay(request, error):
                    raise
                reused = False
                response = await start_anew(ledger, slot, request, deadline, observer)
        except BaseException as error:
            slot.connection.opening = UNOPENED  # it may stay open: a hook may have raised
            slot.give_back()
            if isinstance(error, HTTPException):
                error.request = request
                if ledger.aborted and not isinstance(error, PoolClosed):
                    raise closed_error(request) from error
            raise
        if not reused:
            response.opening, slot.connection.opening = slot.connection.opening, UNOPENED
        if queued:
            response.queued = queued
        if response.ended:
            ledger.take_back(slot)
        else:
            response.request = request
            response.when_over(slot.give_back)
        return response

    def has_room(self, request: Request, proxy: Proxy | Unset | None = UNSET) -> bool:
        """Whether a request would get a connection at once, idle or new. `proxy` is as in `RequestContext`."""
        ledger = self._ledger
        host = ledger.host(request.url.origin, proxy)
        try:
            return ledger.has_room(host)
        finally:
            ledger.hosts.drop_if_empty(host)

    @property
    def uds(self) -> str | None:
        """The path of the Unix socket that all connections go to, ``"\\0name"`` if it is abstract; None without."""
        return self._ways.uds

    # --- exclusive use ---

    def connection(self, url: str | URL) -> PooledConnection:
        """An async context manager: an exclusive, connected `AsyncHTTPConnection` to the origin of `url`.

        It goes the way that a request would go, through the same proxy. After the block the connection goes back to the
        pool if its last exchange is over, else it is closed.
        """
        from .pooled_connection import PooledConnection  # noqa: PLC0415 - a client's requests do without

        return PooledConnection(self, parse(url))

    # --- state ---

    def stats(self) -> PoolStats:
        """What the pool has now, and has done so far."""
        from .stats import HostStats, PoolStats  # noqa: PLC0415 - 0.5 ms of import, for who asks

        ledger = self._ledger
        per_host: dict[str, HostStats] = {}
        for host in ledger.hosts.by_route.values():
            name = str(host.route)  # the same for routes that differ in their proxy's credentials
            opened, idle, waiting = per_host.get(name, (0, 0, 0))
            per_host[name] = HostStats(opened + host.count, idle + len(host.idle), waiting + len(host.waiters))
        return PoolStats(
            open=ledger.hosts.open,
            idle=len(ledger.idle),
            in_use=len(ledger.leased),
            waiting=ledger.waiters.count,
            opened_total=ledger.opened_total,
            reused_total=ledger.reused_total,
            closed_total=ledger.closed_total,
            per_host=per_host,
        )

    def audit(self) -> None:
        """Check every invariant of the pool; AssertionError with what is wrong. For tests: it looks at everything."""
        from .audit import breaches  # noqa: PLC0415 - for tests

        wrong = breaches(self._ledger)
        if wrong:
            raise AssertionError(f"{self!r}: " + "; ".join(wrong))

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._ledger.closed

    @property
    def timeout(self) -> Timeout:
        """The limits of `connection()` and `warm()`."""
        return self._ways.timeout

    @property
    def proxy(self) -> Proxy | None:
        """The proxy of all routes, None for none."""
        return self._ways.proxy

    async def warm(self, url: str | URL, n: int = 1, *, proxy: Proxy | Unset | None = UNSET) -> int:
        """Open connections in advance, so that `n` to the origin of `url` are idle; how many were opened.

        Those that another call is opening count. They are opened at the same time, and no more than the limits leave
        room for: nobody is made to wait or loses a connection for it. When one cannot be opened its error is raised,
        and those under way are given up; those that are open stay. `proxy` is as in `RequestContext`. Raises
        `PoolClosed`, and what connecting raises.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise TypeError(f"n must be a number of connections, 0 or more, not {n!r}")
        ledger = self._ledger
        loop = ledger.bind_loop()
        origin = parse(url).origin
        what = f"a connection in advance to {origin}"
        if ledger.closed:
            raise closed_error(what)
        chooser = self.chooser if proxy is UNSET else None
        if chooser is not None:
            proxy = chooser.choose_for(parse(url))
        host = ledger.host(origin, proxy)
        under_way = [slot for slot in ledger.leased if slot.host is host and slot.what == what]
        wanted = min(
            n - len(host.idle) - len(under_way),
            ledger.max_per_host - host.count,
            ledger.max_connections - ledger.hosts.open,
            ledger.max_idle - len(ledger.idle) - len(under_way),
        )
        deadline = Deadline(self.timeout, loop.time())
        slots: dict[Slot, None] = {}  # those that are still to be given back

        async def open_one(slot: Slot) -> None:
            await open_slot(ledger, slot, what, deadline)
            slot.connection.opening = UNOPENED  # no request waited for it
            slot.left += 1  # it has served nobody
            del slots[slot]
            slot.give_back()

        try:
            while len(slots) < wanted:
                slots[ledger.lease_new(host, what, loop.time())] = None
            opened = len(slots)
            async with asyncio.TaskGroup() as group:
                for slot in list(slots):
                    group.create_task(open_one(slot))
            return opened
        except ExceptionGroup as group:
            error = group.exceptions[0]
            if chooser is not None:
                chooser.came_to(host.proxy, error)
        finally:
            for slot in slots:  # by us: a task that is cancelled before its first step has no say
                slot.give_back()
            ledger.hosts.drop_if_empty(host)
        try:
            if ledger.aborted and isinstance(error, HTTPException) and not isinstance(error, PoolClosed):
                raise closed_error(what) from error
            raise error
        finally:
            del error  # it refers to this frame

    async def drain(self, within: float | None = None) -> None:
        """Wait until nobody has a connection, nor waits for one; `within` seconds at most, None for no limit.

        Requests go on being served, and what comes is accepted: whoever sends them stops first. From now on no
        connection is kept idle. For `close()` to come after it.
        """
        check_seconds("within", within)
        ledger = self._ledger
        ledger.bind_loop()
        if not ledger.closed:
            await ledger.run_dry(within)

    async def close(self, grace: float | None = 0.0) -> None:
        """Fail who waits with `PoolClosed`, close every connection, abort what is in flight. Idempotent.

        - `grace`: seconds that running exchanges get to end, their bodies read included, before they are aborted; None
          for as long as they take. New requests are `PoolClosed` at once.

        A second `close()` has a grace of its own: without one it aborts what the first still waits for. When it is
        cancelled, everything is aborted at once.
        """
        check_seconds("grace", grace)
        ledger = self._ledger
        if ledger.closed and not ledger.leased:
            return
        ledger.bind_loop()
        if not ledger.closed:
            ledger.stop()
        try:
            if ledger.leased and grace != 0:
                await ledger.drained(within=grace)
        finally:
            ledger.abort()
            await self._ways.close()
        # The transports close their sockets at the next turn of the loop, and who was reading hears of it then.
        for _ in range(3):
            await asyncio.sleep(0)

    async def __aenter__(self) -> ConnectionPool:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __del__(self) -> None:
        ledger: Ledger | None = getattr(self, "_ledger", None)  # None: it could not be made
        if ledger is None or ledger.closed or ledger.loop is None or not ledger.hosts.open:
            return
        sweeper, slots = ledger.sweeper, [*ledger.idle, *ledger.leased]

        def let_go() -> None:
            sweeper.cancel()
            for slot in slots:
                slot.connection.abort()

        try:
            ledger.loop.call_soon_threadsafe(let_go)
        except RuntimeError:
            pass  # the loop is closed, and with it every connection
        warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)  # at last: may be an error

    def __repr__(self) -> str:
        ledger = self._ledger
        text = f"{ledger.hosts.open} open, {len(ledger.idle)} idle, {ledger.waiters.count} waiting"
        return f"<ConnectionPool {'closed' if ledger.closed else text}>"


def _proxy_of(given: str | URL | Proxy) -> Proxy | None:
    from ..proxy import Proxy  # noqa: PLC0415 - most pools have none

    return Proxy.of(given)
