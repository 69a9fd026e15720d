"""A server for what nginx cannot be told to do; runs in a process of its own: ``python -m benchmarks.rawserver CORE``.

- ``GET /chunked/N``: N MiB in chunks of 16 KiB, from a block that was framed once.
- ``POST /sink``: reads a body (chunked, or with a Content-Length) and throws it away; answers its size and, for
  ``/sink/crc``, its checksum.
- ``GET /bomb/N``: N MiB of zeros, as gzip of a thousandth of that.
- ``GET /hold/N``: answered when N such requests are waiting, so that N connections are open at once.
- ``GET /open``: how many other connections are open.

It trusts its clients: one request at a time. Its first line of output is its port.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
import zlib

import uvloop

from .contents import BLOCK, CHUNK_SIZE

MEBIBYTE = b"".join(
    b"%x\r\n%b\r\n" % (CHUNK_SIZE, BLOCK[start : start + CHUNK_SIZE]) for start in range(0, 1 << 20, CHUNK_SIZE)
)
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
BUFFER_SIZE = 1 << 20


class BodyCounter:
    """Counts the bytes of a request's body, chunked or of a known length."""

    def __init__(self, head: bytes, checksum: bool) -> None:
        length = CONTENT_LENGTH.search(head)
        self.chunked = length is None
        self.left = 0 if length is None else int(length[1])
        self.ended = not self.chunked and self.left == 0
        self.size = self.crc = 0
        self.checksum = checksum
        self.line = b""
        self.last_chunk = False

    def feed(self, data: memoryview) -> bool:
        """Take what arrived; True once the body has ended."""
        while len(data) and not self.ended:
            if not self.left:
                data = self._read_line(data)
                continue
            taken, data = data[: self.left], data[self.left :]
            if self.checksum:
                self.crc = zlib.crc32(taken, self.crc)
            self.size += len(taken)
            self.left -= len(taken)
            self.ended = not self.chunked and not self.left
        return self.ended

    def _read_line(self, data: memoryview) -> memoryview:
        """Take a chunk's size, the end of a chunk, or the end of the body; return what follows."""
        taken = bytes(data[:32])
        end = taken.find(b"\n") + 1
        self.line += taken[: end or len(taken)]
        if end:
            size = self.line.strip()
            self.line = b""
            if size:
                self.left = int(size.split(b";")[0], 16)
                self.last_chunk = self.left == 0
            else:
                self.ended = self.last_chunk
        return data[end or len(taken) :]


class RawServer:
    """What the connections share."""

    def __init__(self) -> None:
        self.connections: set[RawConnection] = set()
        self.held: list[RawConnection] = []
        self.buffer = bytearray(BUFFER_SIZE)


class RawConnection(asyncio.BufferedProtocol):
    """One client's connection."""

    def __init__(self, server: RawServer) -> None:
        self.server = server
        self.head = b""
        self.body: BodyCounter | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = memoryview(self.server.buffer)[:nbytes]
        if self.body is None:
            self.head += bytes(data)
            head, end, rest = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            self.head = b""
            method, target = head.split(b" ", 2)[:2]
            if method == b"GET":
                self._answer_get(target.decode())
                return
            if b"100-continue" in head.lower():
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.body = BodyCounter(head, checksum=target.endswith(b"/crc"))
            data = memoryview(rest)
        if self.body.feed(data):
            self._answer(b"%d %d" % (self.body.size, self.body.crc))
            self.body = None

    def _answer(self, body: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _answer_get(self, target: str) -> None:
        _, name, *number = target.split("/")
        if name == "chunked":
            self.task = asyncio.get_running_loop().create_task(self._send_chunked(int(number[0])))
        elif name == "bomb":
            self.task = asyncio.get_running_loop().create_task(self._send_bomb(int(number[0])))
        elif name == "hold":
            self.server.held.append(self)
            if len(self.server.held) >= int(number[0]):
                held, self.server.held = self.server.held, []
                for connection in held:
                    connection._answer(b"ok")
        else:
            self._answer(b"%d" % (len(self.server.connections) - 1))

    async def _send_chunked(self, mebibytes: int) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(mebibytes):
            await self.writable.wait()
            self.transport.write(MEBIBYTE)
        self.transport.write(b"0\r\n\r\n")

    async def _send_bomb(self, mebibytes: int) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n")
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        self.transport.write(packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH))
        unit = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)  # the same for every MiB that follows
        for _ in range(mebibytes - 1):
            await self.writable.wait()
            self.transport.write(unit)
        self.transport.close()


async def serve() -> None:
    server = RawServer()
    listener = socket.create_server(("0.0.0.0", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    running = await loop.create_server(lambda: RawConnection(server), sock=listener, backlog=4096)
    await running.serve_forever()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    uvloop.run(serve())
