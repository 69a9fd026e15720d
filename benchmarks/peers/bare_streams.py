"""The floor of asyncio streams: `open_connection`, `readuntil`, `readexactly`, and no checks at all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable

from .adapter import Peer, Settings, Sink
from .lanes import Origins, content_length

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def dial(host: str, port: int, tls: ssl.SSLContext | None) -> Streams:
    return await asyncio.open_connection(host, port, ssl=tls)


class BareStreams(Peer):
    @property
    def version(self) -> str:
        return "standard library"

    async def open(self, settings: Settings) -> None:
        self.origins: Origins[Streams] = Origins(settings.connections, settings.tls(), dial)
        self.revisits = settings.revisits

    async def get(self, url: str) -> bytes:
        lanes, request = self.origins.of(url)
        streams = reader, writer = await lanes.take()
        writer.write(request)
        body = await reader.readexactly(content_length(await reader.readuntil(b"\r\n\r\n")))
        if self.revisits:
            lanes.give_back(streams)
        else:
            writer.close()
        return body

    async def stream(self, url: str, sink: Sink | None = None) -> int:
        lanes, request = self.origins.of(url)
        streams = reader, writer = await lanes.take()
        writer.write(request)
        length = content_length(await reader.readuntil(b"\r\n\r\n"))
        size = await (read_chunked(reader, sink) if length < 0 else read_sized(reader, length, sink))
        lanes.give_back(streams)
        return size

    async def upload(self, url: str, blocks: AsyncIterable[bytes]) -> bytes:
        lanes, request = self.origins.of(url)
        streams = reader, writer = await lanes.take()
        writer.write(b"POST" + request[3:-2] + b"Transfer-Encoding: chunked\r\n\r\n")
        async for block in blocks:
            writer.writelines((b"%x\r\n" % len(block), block, b"\r\n"))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        body = await reader.readexactly(content_length(await reader.readuntil(b"\r\n\r\n")))
        lanes.give_back(streams)
        return body

    async def close(self) -> None:
        for _, writer in self.origins.forget():
            writer.close()


async def read_sized(reader: asyncio.StreamReader, length: int, sink: Sink | None) -> int:
    left = length
    while left:
        data = await reader.read(min(left, 1 << 18))
        left -= len(data)
        if sink is not None:
            sink(data)
    return length


async def read_chunked(reader: asyncio.StreamReader, sink: Sink | None) -> int:
    size = 0
    while length := int(await reader.readuntil(b"\r\n"), 16):
        data = await reader.readexactly(length + 2)
        size += length
        if sink is not None:
            sink(data[:-2])
    await reader.readexactly(2)
    return size


PEER = BareStreams
