"""This library, past the proxy."""

from __future__ import annotations

from dataclasses import replace

from .adapter import Settings
from .aiohttpconn import AiohttpconnPeer


class DirectPeer(AiohttpconnPeer):
    async def open(self, settings: Settings) -> None:
        await super().open(replace(settings, proxy=None))


PEER = DirectPeer
