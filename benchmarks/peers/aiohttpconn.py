"""This library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from aiohttpconn import Client, Limits, Proxy

from .adapter import Peer, Settings, Sink, require_ok


def proxy_of(url: str, settings: Settings) -> Proxy:
    """The proxy of that URL, verified as servers are."""
    return Proxy(url, context=settings.tls() if url.startswith("https:") else None)


class AiohttpconnPeer(Peer):
    options: Mapping[str, Any] = {}

    @property
    def version(self) -> str:
        try:
            return version("aiohttpconn")
        except PackageNotFoundError:  # run from a checkout
            from aiohttpconn._version import __version__

            return __version__

    async def open(self, settings: Settings) -> None:
        self.client = Client(
            limits=Limits(max_connections=settings.connections, max_idle=0 if settings.fresh else None),
            verify=settings.tls(),
            proxy=None if settings.proxy is None else proxy_of(settings.proxy, settings),
            trust_env=False,
            **self.options,
        )

    async def get(self, url: str) -> bytes:
        response = await self.client.get(url)
        require_ok(response.status)
        return response.content

    async def stream(self, url: str, sink: Sink | None = None) -> int:
        size = 0
        async with self.client.stream("GET", url) as response:
            require_ok(response.status)
            async for chunk in response.iter_bytes():
                size += len(chunk)
                if sink is not None:
                    sink(chunk)
        return size

    async def upload(self, url: str, blocks: AsyncIterable[bytes]) -> bytes:
        response = await self.client.post(url, content=blocks)
        require_ok(response.status)
        return response.content

    async def upload_form(self, url: str, file: Path) -> bytes:
        with file.open("rb") as opened:
            response = await self.client.post(url, data={"kind": "large"}, files={"file": opened})
        require_ok(response.status)
        return response.content

    async def begin(self, url: str, least: int) -> int:
        size = 0
        async with self.client.stream("GET", url) as response:
            require_ok(response.status)
            async for chunk in response.iter_bytes():
                size += len(chunk)
                if size >= least:
                    await asyncio.sleep(1)
                    break
        return size

    async def close(self) -> None:
        await self.client.close()


PEER = AiohttpconnPeer
