"""This library, with a rate limit that never holds back."""

from __future__ import annotations

from types import MappingProxyType

from aiohttpconn import RateLimit

from .aiohttpconn import AiohttpconnPeer


class RateLimitPeer(AiohttpconnPeer):
    options = MappingProxyType({"politeness": RateLimit(1e6, burst=1000)})


PEER = RateLimitPeer
