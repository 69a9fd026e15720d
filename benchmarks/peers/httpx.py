"""httpx."""

from __future__ import annotations

from collections.abc import AsyncIterable
from types import ModuleType
from typing import ClassVar

import httpx

from .adapter import Peer, Settings, Sink, require_ok


class HttpxPeer(Peer):
    library: ClassVar[ModuleType] = httpx

    @property
    def version(self) -> str:
        return str(self.library.__version__)

    async def open(self, settings: Settings) -> None:
        idle = 0 if settings.fresh else settings.connections
        limits = self.library.Limits(
            max_connections=settings.connections, max_keepalive_connections=idle, keepalive_expiry=60
        )
        proxy = None
        if settings.proxy is not None:
            context = settings.tls() if settings.proxy.startswith("https:") else None
            proxy = self.library.Proxy(settings.proxy, ssl_context=context)
        self.client = self.library.AsyncClient(
            limits=limits, verify=settings.tls(), proxy=proxy, timeout=60, trust_env=False
        )

    async def get(self, url: str) -> bytes:
        response = await self.client.get(url)
        require_ok(response.status_code)
        content: bytes = response.content
        return content

    async def stream(self, url: str, sink: Sink | None = None) -> int:
        size = 0
        async with self.client.stream("GET", url) as response:
            require_ok(response.status_code)
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if sink is not None:
                    sink(chunk)
        return size

    async def upload(self, url: str, blocks: AsyncIterable[bytes]) -> bytes:
        response = await self.client.post(url, content=blocks)
        require_ok(response.status_code)
        content: bytes = response.content
        return content

    async def close(self) -> None:
        await self.client.aclose()


PEER = HttpxPeer
