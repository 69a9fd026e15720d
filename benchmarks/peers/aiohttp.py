"""aiohttp, with its C parser."""

from __future__ import annotations

from collections.abc import AsyncIterable

import aiohttp

from .adapter import Peer, Settings, Sink, require_ok


class AiohttpPeer(Peer):
    @property
    def version(self) -> str:
        return aiohttp.__version__

    async def open(self, settings: Settings) -> None:
        # Idle connections do not count in `limit`, so they are only kept where they will be used again.
        connector = aiohttp.TCPConnector(
            limit=settings.connections, ssl=settings.tls(), force_close=settings.fresh or not settings.revisits
        )
        self.session = aiohttp.ClientSession(connector=connector, proxy=settings.proxy)

    async def get(self, url: str) -> bytes:
        async with self.session.get(url) as response:
            require_ok(response.status)
            return await response.read()

    async def stream(self, url: str, sink: Sink | None = None) -> int:
        size = 0
        async with self.session.get(url) as response:
            require_ok(response.status)
            async for chunk in response.content.iter_any():
                size += len(chunk)
                if sink is not None:
                    sink(chunk)
        return size

    async def upload(self, url: str, blocks: AsyncIterable[bytes]) -> bytes:
        async with self.session.post(url, data=blocks) as response:
            require_ok(response.status)
            return await response.read()

    async def close(self) -> None:
        await self.session.close()


PEER = AiohttpPeer
