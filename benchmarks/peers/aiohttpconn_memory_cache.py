"""This library, with a cache in memory."""

from __future__ import annotations

from types import MappingProxyType

from .aiohttpconn import AiohttpconnPeer


class MemoryCachePeer(AiohttpconnPeer):
    options = MappingProxyType({"cache": True})


PEER = MemoryCachePeer
