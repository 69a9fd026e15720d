"""`ScriptedServer`: a real server on loopback that plays any bytes, and a resolver that takes its time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..net.resolve import SystemResolver
from .connection import Received, ScriptedConnection
from .script import Script, play

if TYPE_CHECKING:
    from ..net.tcp import Address

HEAD_LIMIT = 1 << 24


class ScriptedServer:
    """Plays `scripts`: the first for the first connection, and so on; the last also for every further one.

    - `scripts`: lists of steps, bytes, or coroutine functions: see `aiohttpconn.testing.script`.
    - `tls`: a server's `ssl.SSLContext`, to speak TLS.
    - `uds`: listen on a Unix domain socket of its own (`path`) instead of TCP.
    - `host`: the address to listen on, e.g. ``"::1"``. `port`: 0 for any that is free.
    - `receive_buffer`: SO_RCVBUF in bytes; small ones make a peer's writes block soon after `stop_reading()`.
    - `backlog`: of `listen()`.

    It runs in the loop of the test, within ``async with``. At the end, what went wrong in a script is raised.

    >>> from aiohttpconn import Client, IncompleteRead
    >>> from aiohttpconn.testing import ScriptedServer, script
    >>> async with ScriptedServer(script.truncated_after(script.response(b"hello"), 2)) as server, Client() as client:
    ...     try:
    ...         await client.get(server.url)
    ...     except IncompleteRead as error:
    ...         print(error.partial, error.expected, server.connections)
    b'he' 3 1
    """

    def __init__(
        self,
        *scripts: Script,
        tls: ssl.SSLContext | None = None,
        uds: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        receive_buffer: int | None = None,
        backlog: int = 128,
    ) -> None:
        self.scripts = scripts
        self.tls, self.host, self.backlog, self.receive_buffer = tls, host, backlog, receive_buffer
        self.uds = uds
        self.port = port
        self.path = ""
        self.requests: list[Received] = []
        """Every request that was read, in order."""
        self.accepted: list[ScriptedConnection] = []
        """Every connection, in order."""
        self.broken: list[Exception] = []
        """What ended scripts early because the peer had closed: most often what a test wants."""
        self.failures: list[Exception] = []
        """What else ended scripts: mistakes of the test, raised when the server is closed."""
        self._directory = ""
        self._closing = False
        self._server: asyncio.Server | None = None
        self._running: dict[asyncio.Task[None], ScriptedConnection] = {}

    # --- what tests ask

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        return len(self.accepted)

    @property
    def open(self) -> int:
        """How many of them are still being played."""
        return len(self._running)

    @property
    def is_listening(self) -> bool:
        """Whether it takes connections."""
        return self._server is not None and self._server.is_serving()

    @property
    def scheme(self) -> str:
        """``"https"`` with TLS, else ``"http"``."""
        return "https" if self.tls else "http"

    @property
    def authority(self) -> str:
        """``host:port``, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """``scheme://host:port``, without a slash at its end."""
        return f"{self.scheme}://{self.authority}"

    async def wait_idle(self) -> None:
        """Wait until no script is being played."""
        while self._running:
            await asyncio.wait(set(self._running))

    # --- life

    async def start(self) -> ScriptedServer:
        # A client that goes away in its handshake, or does not answer close_notify, must not hold up the close.
        handshake, shutdown = (5.0, 1.0) if self.tls else (None, None)
        if self.uds:
            # Short: a socket's path may have 107 bytes, and pytest's temporary directories are longer.
            self._directory = tempfile.mkdtemp(prefix="uds-")
            self.path = os.path.join(self._directory, "s")
            self._server = await asyncio.start_unix_server(
                self._accept,
                path=self.path,
                ssl=self.tls,
                limit=HEAD_LIMIT,
                backlog=self.backlog,
                ssl_handshake_timeout=handshake,
                ssl_shutdown_timeout=shutdown,
            )
        else:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            listener = socket.socket(family, socket.SOCK_STREAM)
            if self.receive_buffer is not None:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
            if self.port and os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just left
            listener.bind((self.host, self.port))
            self.port = listener.getsockname()[1]
            self._server = await asyncio.start_server(
                self._accept,
                sock=listener,
                ssl=self.tls,
                limit=HEAD_LIMIT,
                backlog=self.backlog,
                ssl_handshake_timeout=handshake,
                ssl_shutdown_timeout=shutdown,
            )
        return self

    def stop_listening(self) -> None:
        """Refuse further connections; those there are go on."""
        assert self._server is not None
        self._server.close()

    async def close(self) -> None:
        """End everything: scripts are cancelled, connections aborted. Raises the first of `failures`."""
        self._closing = True
        self.stop_listening()
        for task, conn in list(self._running.items()):
            task.cancel()
            conn.writer.transport.abort()
        await self.wait_idle()
        for conn in self.accepted:
            conn.writer.transport.abort()
        await asyncio.sleep(0)
        assert self._server is not None
        await self._server.wait_closed()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
        if self.failures:
            raise self.failures[0]

    async def __aenter__(self) -> ScriptedServer:
        return await self.start()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing:  # it was in the backlog, or in its handshake
            writer.transport.abort()
            return
        conn = ScriptedConnection(self, len(self.accepted), reader, writer)
        self.accepted.append(conn)
        task = asyncio.get_running_loop().create_task(self._serve(conn))
        self._running[task] = conn
        task.add_done_callback(self._running.pop)

    async def _serve(self, conn: ScriptedConnection) -> None:
        try:
            await self.play(conn)
            await conn.close()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError) as error:
            conn.ended = True
            self.broken.append(error)
        except Exception as error:
            # uvloop's word for a write after the peer's reset is a RuntimeError.
            late = isinstance(error, RuntimeError) and "handler is closed" in str(error)
            (self.broken if late else self.failures).append(error)
        finally:
            # How the connection ended is kept in a future of asyncio's protocol, which silences it when it is
            # collected; the collector may come to the future first.
            ended = conn.writer._protocol._get_close_waiter(conn.writer)  # type: ignore[attr-defined]
            ended.add_done_callback(lambda future: future.cancelled() or future.exception())
            with contextlib.suppress(AttributeError):  # asyncio's transport has no loop any more once it is through
                conn.writer.transport.abort()

    async def play(self, conn: ScriptedConnection) -> None:
        """What a connection does: its script. Servers with manners of their own override it."""
        if self.scripts:
            await play(self.scripts[min(conn.number, len(self.scripts) - 1)], conn)


class SlowResolver:
    """Looks up names with a delay; `Client(resolver=…)`.

    - `delay`: seconds that each look-up takes.
    - `hosts`: names and the addresses that they have; other names are the system's affair. An empty one has none.
    """

    def __init__(self, delay: float = 0.0, hosts: Mapping[str, Sequence[str] | str] | None = None) -> None:
        self.delay = delay
        self.hosts = dict(hosts or {})
        self.asked: list[str] = []
        """The names that were looked up, in order."""

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """See `Resolver`."""
        self.asked.append(host)
        await asyncio.sleep(self.delay)
        found = self.hosts.get(host)
        if found is None:
            return await SystemResolver().resolve(host, port)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, f"no address is known for {host!r} (as asked)")
        literals = [found] if isinstance(found, str) else found
        return [
            (socket.AF_INET6, (each, port, 0, 0)) if ":" in each else (socket.AF_INET, (each, port))
            for each in literals
        ]
