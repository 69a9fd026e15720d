"""The clients that are compared, each behind the same adapter (`Peer`)."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Final

from .adapter import Peer, Settings

CLIENTS: Final = ("aiohttpconn", "pyreqwest", "aiohttp", "httpx", "httpx2")
VARIANTS: Final = (
    "aiohttpconn-plain",
    "aiohttpconn-unresumed",
    "aiohttpconn-direct",
    "aiohttpconn-rate-limit",
    "aiohttpconn-host-concurrency",
    "aiohttpconn-memory-cache",
    "aiohttpconn-sqlite-cache",
)
"""Ours without what a workload is about, or with it."""
BEFORE: Final = "aiohttpconn-before"
"""Another checkout of ours, whose path is in the environment (`BEFORE_PATH`)."""
BEFORE_PATH: Final = "AIOHTTPCONN_BEFORE"
FLOORS: Final = ("bare-streams", "bare-protocol", "bare-buffered")
PEERS: Final = CLIENTS + VARIANTS + FLOORS
SLOW: Final = ("httpx", "httpx2")
"""These get a tenth of the origins and half of the seconds; figures are per request."""
OURS: Final = "aiohttpconn"


def peer(name: str) -> Peer:
    """The adapter of that name. `ImportError` if its library is not installed."""
    if name == BEFORE:
        sys.path.insert(0, os.environ[BEFORE_PATH])
        name = OURS
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    made = module.PEER()
    assert isinstance(made, Peer)
    return made


__all__ = ["BEFORE", "BEFORE_PATH", "CLIENTS", "FLOORS", "OURS", "PEERS", "SLOW", "Peer", "Settings", "peer"]
