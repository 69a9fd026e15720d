"""What a pool knows of its routes."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..messages import Route
    from ..url import Origin
    from .slot import Slot
    from .waiters import Waiter


class Host:
    """One route: its idle connections (newest last), how many connections it has, who waits (first come first)."""

    __slots__ = ("count", "direct", "idle", "in_heap", "proxy", "route", "waiters")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.proxy = route.proxy
        self.direct = route.proxy is None and route.uds is None
        self.count = 0
        self.idle: dict[Slot, None] = {}
        self.waiters = NOBODY
        self.in_heap = False


NOBODY: OrderedDict[Waiter, None] = OrderedDict()
"""The queue of a host that nobody ever waited for: an empty one of its own takes 0.4 KiB."""


class Hosts:
    """The hosts that have a connection, or somebody who waits for one."""

    __slots__ = ("by_route", "direct", "open")

    def __init__(self) -> None:
        self.by_route: dict[Route, Host] = {}
        self.direct: dict[Origin, Host] = {}
        """Those of requests that go the pool's own way, by origin."""
        self.open = 0
        """How many connections they have together, idle or not."""

    def of(self, route: Route) -> Host:
        """The host of a route, new if need be."""
        host = self.by_route.get(route)
        if host is None:
            host = self.by_route[route] = Host(route)
        return host

    def keep(self, host: Host) -> None:
        """It is about to be used: it may have been dropped since it was found."""
        self.by_route[host.route] = host

    def drop_if_empty(self, host: Host) -> None:
        """Forget a host without connections that nobody waits for."""
        if not host.count and not host.waiters:
            if self.by_route.get(host.route) is host:
                del self.by_route[host.route]
            if self.direct.get(host.route.origin) is host:
                del self.direct[host.route.origin]
