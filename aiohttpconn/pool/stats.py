"""What a pool has, and has done so far, in figures."""

from __future__ import annotations

from typing import NamedTuple


class HostStats(NamedTuple):
    """What a pool has of one route."""

    open: int
    idle: int
    waiting: int


class PoolStats(NamedTuple):
    """What a pool has now (`open` = `idle` + `in_use`), and has done so far.

    `reused_total` counts the times that an open connection was used again; `per_host` is keyed by the route as text,
    without the proxy's credentials.
    """

    open: int
    idle: int
    in_use: int
    waiting: int
    opened_total: int
    reused_total: int
    closed_total: int
    per_host: dict[str, HostStats]
