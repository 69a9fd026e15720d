"""This library, without cookies."""

from __future__ import annotations

from .aiohttpconn import AiohttpconnPeer


class PlainPeer(AiohttpconnPeer):
    cookies = False


PEER = PlainPeer
