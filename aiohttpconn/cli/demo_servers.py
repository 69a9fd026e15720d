"""The demo's own servers, on loopback and in the demo's loop: an origin over HTTP and HTTPS, and a CONNECT proxy."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import ssl
from contextlib import AsyncExitStack

import trustme

NAME = "origin.example"
"""The origin's name: one that only the demo's proxy knows the address of (RFC 2606 keeps it out of the DNS)."""
DOWNLOAD = 32 << 20
"""Bytes of each download."""
_BLOCK = 262_144
GREETING = b"Hello, this is the demo's origin server.\n"


@functools.lru_cache(maxsize=16)
def _block(number: int) -> bytes:
    """What download `number` repeats: another for each, so that a mix-up shows."""
    return hashlib.shake_256(b"download %d" % number).digest(_BLOCK)


def download_digest(number: int) -> str:
    """SHA-256 of download `number`, in hex."""
    digest = hashlib.sha256()
    for _ in range(DOWNLOAD // _BLOCK):
        digest.update(_block(number))
    return digest.hexdigest()


class _Server:
    """A server on loopback. Leaving its block ends its connections and waits until nothing of it is left."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def __aenter__(self) -> _Server:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._run(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self.serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client is gone: for a server the end of a connection like any other
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What one connection does."""
        raise NotImplementedError


class Origin(_Server):
    """``/hello``: a greeting; ``/item/N``: N in words of its own; ``/download/N``: 32 MiB of a content of its own."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _read_head(reader):
            target = head.split(b" ", 2)[1]
            what, _, rest = target[1:].partition(b"/")
            if what == b"download":
                writer.write(_answer(b"200 OK", b"application/octet-stream", DOWNLOAD))
                block = _block(int(rest))
                for _ in range(DOWNLOAD // _BLOCK):
                    writer.write(block)
                    await writer.drain()
            elif what == b"item":
                body = b'{"item": %b}' % rest
                writer.write(_answer(b"200 OK", b"application/json", len(body)) + body)
            elif what == b"hello":
                writer.write(_answer(b"200 OK", b"text/plain; charset=utf-8", len(GREETING)) + GREETING)
            else:
                writer.write(_answer(b"404 Not Found", b"text/plain", 0))


class TunnelProxy(_Server):
    """Opens tunnels (RFC 9110 section 9.3.6), and only to the authorities in `addresses`: ``name:port`` → port on
    loopback. `tunnels` has those it opened."""

    def __init__(self, addresses: dict[str, int]) -> None:
        super().__init__()
        self.addresses = addresses
        self.tunnels: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, _ = (await _read_head(reader)).split(b" ", 2)
        authority = target.decode("latin-1")
        if method != b"CONNECT" or authority not in self.addresses:
            writer.write(_answer(b"403 Forbidden", b"text/plain", 0))
            await writer.drain()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.addresses[authority])
        self.tunnels.append(authority)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ways = [
                asyncio.ensure_future(_carry(reader, there_writer)),
                asyncio.ensure_future(_carry(there_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            there_writer.transport.abort()
            writer.transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            there_writer.transport.abort()


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """A request's head; b"" when the connection ends before one."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


def _answer(status: bytes, kind: bytes, length: int) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (status, kind, length)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_BLOCK):
        writer.write(data)
        await writer.drain()


class DemoServers:
    """All of them, running inside ``async with``. `trust` is a client's context that knows the demo's CA."""

    def __init__(self) -> None:
        ca = trustme.CA()
        certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(NAME, "127.0.0.1").configure_cert(certificate)
        self.trust = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())
        self.plain = Origin()
        self.secure = Origin(certificate)
        self.proxy = TunnelProxy({})
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> DemoServers:
        async with AsyncExitStack() as stack:
            for server in (self.plain, self.secure, self.proxy):
                await stack.enter_async_context(server)
            self.proxy.addresses[f"{NAME}:443"] = self.secure.port
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()
