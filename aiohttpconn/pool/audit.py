"""What must always hold of a ledger."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..connection import UNOPENED
from .slot import IDLE, LEASED

if TYPE_CHECKING:
    from .ledger import Ledger


def breaches(ledger: Ledger) -> list[str]:
    """The invariants that do not hold, one line each. It looks at everything."""
    wrong: list[str] = []

    def check(holds: bool, text: str) -> None:
        if not holds:
            wrong.append(text)

    hosts = ledger.hosts
    slots = [*ledger.idle, *ledger.leased]
    check(hosts.open == len(slots), f"{hosts.open} open, but {len(slots)} known")
    check(len(set(slots)) == len(slots), "a connection is idle and leased")
    check(hosts.open <= ledger.max_connections, f"{hosts.open} open, over the limit")
    check(len(ledger.idle) <= ledger.max_idle, f"{len(ledger.idle)} idle, over the limit")
    check(ledger.opened_total - ledger.closed_total == hosts.open, "opened less closed is not open")
    for slot in ledger.idle:
        check(slot.state is IDLE, f"{slot.state} stands among the idle")
        check(slot.idle_until <= slot.expires, "an idle connection is kept for longer than it lives")
        check(slot in slot.host.idle, "an idle connection is not with its host")
        check(slot.connection.opening is UNOPENED, "an idle connection has kept how it was opened")
        check(slot.connection.is_connected or slot.connection.is_stale(), "an idle connection is not connected")
    for slot in ledger.leased:
        check(slot.state is LEASED, f"{slot.state} stands among the leased")
    for slot in slots:
        route = slot.host.route
        check(hosts.by_route.get(route) is slot.host, f"{route} has a connection and is not known")
    waiting = 0
    for route, host in hosts.by_route.items():
        check(host.route == route, "a host stands under another route")
        check(bool(host.count or host.waiters), f"{route} is empty and still there")
        check(host.count == sum(slot.host is host for slot in slots), f"{route} counts its connections wrongly")
        check(host.count <= ledger.max_per_host, f"{route} has {host.count} connections, over the limit")
        check(all(slot in ledger.idle for slot in host.idle), f"{route} has an idle connection the pool has not")
        check(not (host.idle and host.waiters), f"somebody waits for {route} beside an idle connection")
        if host.waiters and host.count < ledger.max_per_host and not ledger.closed:
            check(host.in_heap, f"{route} would not be served")
            full = hosts.open >= ledger.max_connections and not ledger.idle
            check(full, f"somebody waits for {route} for nothing")
        waiting += len(host.waiters)
    check(waiting == ledger.waiters.count, f"{ledger.waiters.count} waiting, but {waiting} known")
    check(
        all(hosts.by_route.get(host.route) is host for host in hosts.direct.values()), "a dropped host is still known"
    )
    check(all(host.in_heap for _, host in ledger.waiters.heap), "the heap has a host that does not know of it")
    soonest = min((slot.idle_until for slot in ledger.idle), default=math.inf)
    check(
        ledger.closed or ledger.sweeper.when <= max(soonest, ledger.sweeper.not_before),
        "nobody ends the idle ones",
    )
    return wrong
