"""One connection of a `ScriptedServer`, and the requests that it reads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .scripted import ScriptedServer


@dataclass
class Received:
    """A request as the server read it. `raw_body` is as it came, `body` after the chunked coding."""

    head: bytes
    connection: int
    body: bytes = b""
    raw_body: bytes = b""
    method: str = field(init=False)
    target: str = field(init=False)
    version: str = field(init=False)
    fields: list[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        first, *lines = self.head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        self.method, self.target, self.version = first.split(" ")
        self.fields = [(name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines)]

    @property
    def raw(self) -> bytes:
        """The whole request as it came."""
        return self.head + self.raw_body

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of the first field of that name, in any case."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), default)

    def get_all(self, name: str) -> list[str]:
        """The values of all fields of that name, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]


class ScriptedConnection:
    """One accepted connection. `number` counts from 0."""

    def __init__(
        self, server: ScriptedServer, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server, self.number, self.reader, self.writer = server, number, reader, writer
        self.requests: list[Received] = []
        self.ended = False
        """Whether the peer is known to have closed or reset it."""

    # --- receiving

    async def read_head(self) -> Received:
        """Wait for a request's head. `asyncio.IncompleteReadError` where the peer closes first."""
        received = Received(await self.reader.readuntil(b"\r\n\r\n"), self.number)
        self.requests.append(received)
        self.server.requests.append(received)
        return received

    async def read_body(self, received: Received) -> Received:
        """Wait for the body of the request whose head was read, by its Content-Length or chunks."""
        if (received.get("Transfer-Encoding") or "").lower() == "chunked":
            while True:
                line = await self.reader.readuntil(b"\r\n")
                received.raw_body += line
                size = int(line.partition(b";")[0], 16)
                if size == 0:
                    break
                chunk = await self.reader.readexactly(size + 2)
                received.raw_body += chunk
                received.body += chunk[:-2]
            while line != b"\r\n":  # trailers
                line = await self.reader.readuntil(b"\r\n")
                received.raw_body += line
        elif length := int(received.get("Content-Length") or 0):
            received.body = received.raw_body = await self.reader.readexactly(length)
        return received

    async def read_request(self) -> Received:
        """Wait for a whole request."""
        return await self.read_body(await self.read_head())

    async def wait_closed_by_peer(self) -> bytes:
        """Read until the peer closes or resets; what it still sent."""
        rest = bytearray()
        with contextlib.suppress(ConnectionError):
            while some := await self.reader.read(65536):
                rest += some
        self.ended = True
        return bytes(rest)

    def stop_reading(self) -> None:
        """Take nothing more, so that the peer's writes fill the buffers between and then block."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def resume_reading(self) -> None:
        """Undo `stop_reading()`."""
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]

    # --- sending

    async def send(self, data: bytes, *, cuts: Iterable[int] = (), each: int | None = None, pause: float = 0) -> None:
        """Send `data`, in pieces that end at the offsets `cuts`, or of `each` bytes; `pause` seconds between two.

        The loop turns between two pieces, so that a client in it reads them one by one.
        """
        ends = list(range(each, len(data), each)) if each else [cut for cut in sorted(cuts) if 0 < cut < len(data)]
        start = 0
        for end in [*ends, len(data)]:
            self.writer.write(data[start:end])
            await self.writer.drain()
            start = end
            if end < len(data):
                for _ in range(3):
                    await asyncio.sleep(0)
                if pause:
                    await asyncio.sleep(pause)

    # --- ending

    def end_sending(self) -> None:
        """FIN, and go on reading. On TLS, where streams cannot do so, without close_notify."""
        if not self.writer.can_write_eof():
            self.truncate()
        elif not self.writer.transport.is_closing():
            with contextlib.suppress(OSError):  # ENOTCONN: the peer has reset it
                self.writer.write_eof()

    def truncate(self) -> None:
        """FIN at the socket itself: on TLS the peer sees the end without a close_notify."""
        descriptor = self.writer.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(descriptor)) as borrowed, contextlib.suppress(OSError):
            borrowed.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        """Close in good order: what was written goes out, then close_notify on TLS, then FIN."""
        self.writer.close()
        with contextlib.suppress(OSError):  # whatever the peer did meanwhile; ENOTCONN on uvloop is one
            await self.writer.wait_closed()

    def reset(self) -> None:
        """RST: the peer's reads fail, what was on its way is lost."""
        descriptor = self.writer.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(descriptor)) as borrowed, contextlib.suppress(OSError):
            borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
