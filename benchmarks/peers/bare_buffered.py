"""The floor of `asyncio.BufferedProtocol`: a body is received into one buffer, again and again, and never copied."""

from __future__ import annotations

import asyncio
import ssl

from .adapter import Peer, Settings, Sink
from .bare_protocol import Exchange
from .lanes import Origins

BUFFER_SIZE = 1 << 18


class Filler(Exchange, asyncio.BufferedProtocol):
    """An exchange that offers a buffer for its bytes."""

    def __init__(self) -> None:
        self.buffer = bytearray(BUFFER_SIZE)
        self.view = memoryview(self.buffer)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self.left:
            self.left -= nbytes
            if self.sink is not None:
                self.sink(self.view[:nbytes])
        else:
            body = self.take_head(bytes(self.view[:nbytes]))
            self.left -= len(body)
            if self.sink is not None:
                self.sink(body)
        if not self.left:
            self.done.set_result(None)


async def dial(host: str, port: int, tls: ssl.SSLContext | None) -> Filler:
    _, protocol = await asyncio.get_running_loop().create_connection(Filler, host, port, ssl=tls)
    return protocol


class BareBuffered(Peer):
    @property
    def version(self) -> str:
        return "standard library"

    async def open(self, settings: Settings) -> None:
        self.origins: Origins[Filler] = Origins(settings.connections, settings.tls(), dial)

    async def stream(self, url: str, sink: Sink | None = None) -> int:
        lanes, request = self.origins.of(url)
        filler = await lanes.take()
        done = filler.send(request, 0, sink)
        await done
        lanes.give_back(filler)
        return filler.size

    async def close(self) -> None:
        for filler in self.origins.forget():
            filler.transport.close()


PEER = BareBuffered
