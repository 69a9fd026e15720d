"""This library, without cookies."""

from __future__ import annotations

from types import MappingProxyType

from .aiohttpconn import AiohttpconnPeer


class PlainPeer(AiohttpconnPeer):
    options = MappingProxyType({"cookies": False})


PEER = PlainPeer
