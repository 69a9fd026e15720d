"""The floor of `asyncio.Protocol`: nothing is parsed, bytes are counted."""

from __future__ import annotations

import asyncio
import ssl

from .adapter import Peer, Settings, Sink
from .lanes import Origins, content_length


class Exchange(asyncio.BaseProtocol):
    """Sends a request, and is done once as many bytes have come as the response has.

    `size` is that of the last body whose head was looked at, `left` what is still to come.
    """

    transport: asyncio.Transport
    done: asyncio.Future[None]
    size = left = 0
    sink: Sink | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def send(self, request: bytes, left: int, sink: Sink | None) -> asyncio.Future[None]:
        """Ask, and wait for `left` bytes. Where it is 0, the head is looked at, and `sink` gets the body only."""
        self.left = left
        self.sink = sink
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.done

    def take_head(self, data: bytes) -> bytes:
        """Learn how long the body is; return what has come of it."""
        head, _, rest = data.partition(b"\r\n\r\n")
        self.size = self.left = content_length(head + b"\r\n")
        return rest


class Receiver(Exchange, asyncio.Protocol):
    """An exchange that is handed its bytes."""

    def data_received(self, data: bytes) -> None:
        if not self.left:
            data = self.take_head(data)
        self.left -= len(data)
        if self.sink is not None:
            self.sink(data)
        if not self.left:
            self.done.set_result(None)


async def dial(host: str, port: int, tls: ssl.SSLContext | None) -> Receiver:
    _, protocol = await asyncio.get_running_loop().create_connection(Receiver, host, port, ssl=tls)
    return protocol


class BareProtocol(Peer):
    head_size = size = 0

    @property
    def version(self) -> str:
        return "standard library"

    async def open(self, settings: Settings) -> None:
        self.origins: Origins[Receiver] = Origins(settings.connections, settings.tls(), dial)

    async def get(self, url: str) -> bytes:
        lanes, request = self.origins.of(url)
        receiver = await lanes.take()
        pieces: list[bytes] = []
        if not self.size:
            # All responses of a workload are of one size, head included. It is learnt once, on a connection of its own.
            reader, writer = await asyncio.open_connection(lanes.host, lanes.port, ssl=lanes.tls)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            self.head_size, self.size = len(head), len(head) + content_length(head)
        await receiver.send(request, self.size, pieces.append)
        lanes.give_back(receiver)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return data[self.head_size :]

    async def stream(self, url: str, sink: Sink | None = None) -> int:
        lanes, request = self.origins.of(url)
        receiver = await lanes.take()
        await receiver.send(request, 0, sink)
        lanes.give_back(receiver)
        return receiver.size

    async def close(self) -> None:
        for receiver in self.origins.forget():
            receiver.transport.close()


PEER = BareProtocol
