"""This library, without resumed TLS sessions."""

from __future__ import annotations

from types import MappingProxyType

from aiohttpconn import TLSOptions

from .aiohttpconn import AiohttpconnPeer


class UnresumedPeer(AiohttpconnPeer):
    options = MappingProxyType({"tls": TLSOptions(resume=False)})


PEER = UnresumedPeer
