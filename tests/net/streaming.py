"""Streams to servers, as the tests of this floor want them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

from aiohttpconn.net.dial import open_stream, open_tunnel
from tests.servers.proxy import ConnectProxy

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttpconn.net.stream import Stream
    from tests.servers.raw import RawServer

    StartServer = Callable[..., Awaitable[RawServer]]


@contextlib.asynccontextmanager
async def connected(server: RawServer) -> AsyncIterator[Stream]:
    """A stream in the clear to the server."""
    stream = await open_stream("127.0.0.1", server.port)
    try:
        yield stream
    finally:
        stream.abort()


async def until(condition: Callable[[], object]) -> None:
    """Turn the loop until the condition holds; a test that hangs here is stopped after 10 s."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def drain_by(read: Callable[[], Awaitable[bytes]]) -> tuple[bytes, OSError | None]:
    """What can be read, up to the end or the error."""
    got = b""
    try:
        while some := await read():
            got += some
    except OSError as error:
        return got, error
    return got, None


def reset_on_close(conn: socket.socket) -> None:
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.asynccontextmanager
async def layered(
    layers: str, script: Any, server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> AsyncIterator[Stream]:
    """A stream to a server that plays the script: in the clear, over TLS, or over TLS in a TLS tunnel."""
    origin = await server(script, tls=None if layers == "plain" else server_ctx)
    if layers == "TLS in TLS":
        async with ConnectProxy(tls=server_ctx) as proxy:
            stream = await open_stream("127.0.0.1", proxy.port)
            try:
                await stream.start_tls(client_ctx, "localhost")
                await open_tunnel(stream, origin.authority)
                await stream.start_tls(client_ctx, "localhost")
                yield stream
            finally:
                stream.abort()
    else:
        async with connected(origin) as stream:
            if layers == "TLS":
                await stream.start_tls(client_ctx, "localhost")
            yield stream
