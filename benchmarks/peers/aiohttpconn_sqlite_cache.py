"""This library, with a cache in a file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .adapter import Settings
from .aiohttpconn import AiohttpconnPeer


class SQLiteCachePeer(AiohttpconnPeer):
    async def open(self, settings: Settings) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.options = {"cache": Path(self.folder.name) / "responses.sqlite"}
        await super().open(settings)

    async def close(self) -> None:
        await super().close()
        self.folder.cleanup()


PEER = SQLiteCachePeer
