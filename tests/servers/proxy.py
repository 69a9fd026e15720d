"""A small CONNECT and forward proxy that notes what it was asked, and refuses as it is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import Any

from tests.servers.raw import Connection, RawServer, Received


class ConnectProxy(RawServer):
    """Opens tunnels, and forwards requests in absolute form. `requests` has what it was asked, the tunnels' too.

    - `answer`: bytes to answer every CONNECT with (then close) instead of opening a tunnel; b"" closes in silence.
    - `credentials`: ("user", "password") that a request must bring, else 407.
    - `hosts`: where names lead, ``"name:port"`` → (host, port); others are dialled as they are.
    - `greeting`: bytes of the "server" sent in the same packet as the 200.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.answer: bytes | None = None
        self.credentials: tuple[str, str] | None = None
        self.hosts: dict[str, tuple[str, int]] = {}
        self.greeting = b""
        self.established = b"HTTP/1.1 200 Connection established\r\n\r\n"
        self.tunnels: list[str] = []
        """The authorities that tunnels were opened to."""
        self.forwarded: list[str] = []
        """The URLs that were forwarded."""

    async def play(self, conn: Connection) -> None:
        request = await conn.read_head()
        if not self._authorised(request):
            await conn.send(
                b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="test"\r\n'
                b"Content-Length: 12\r\nConnection: close\r\n\r\nwho are you?"
            )
        elif request.method == "CONNECT":
            await self._tunnel(conn, request)
        else:
            await self._forward(conn, await conn.read_body(request))

    def _authorised(self, request: Received) -> bool:
        if self.credentials is None:
            return True
        token = base64.b64encode(":".join(self.credentials).encode()).decode()
        return request.get("Proxy-Authorization") == f"Basic {token}"

    async def _dial(self, authority: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = authority.rpartition(":")
        where = self.hosts.get(authority) or (host.strip("[]"), int(port))
        return await asyncio.open_connection(*where)

    async def _tunnel(self, conn: Connection, request: Received) -> None:
        if self.answer is not None:
            await conn.send(self.answer)
            return
        try:
            reader, writer = await self._dial(request.target)
        except OSError:
            await conn.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 11\r\n\r\nunreachable")
            return
        self.tunnels.append(request.target)
        try:
            await conn.send(self.established + self.greeting)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(conn.reader, writer))
                pumps.create_task(_pump(reader, conn.writer))
        finally:
            writer.transport.abort()

    async def _forward(self, conn: Connection, request: Received) -> None:
        scheme, _, rest = request.target.partition("://")
        authority, slash, path = rest.partition("/")
        if scheme != "http" or not authority:
            await conn.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return
        self.forwarded.append(request.target)
        reader, writer = await self._dial(authority if ":" in authority.rpartition("]")[2] else f"{authority}:80")
        try:
            lines = [f"{request.method} {slash or '/'}{path} HTTP/1.1"]
            lines += [f"{k}: {v}" for k, v in request.fields if not k.lower().startswith(("proxy-", "connection"))]
            writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + request.raw_body)
            await _pump(reader, conn.writer)
        finally:
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes until their end, and then the end itself."""
    with contextlib.suppress(OSError):  # not only ConnectionError: the end of one that is reset is ENOTCONN
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
        if writer.can_write_eof() and not writer.transport.is_closing():
            writer.write_eof()
            return
    writer.close()
