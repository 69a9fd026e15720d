"""A scripted server that plays any bytes, and the steps that its scripts are made of.

It runs in the test's own loop. Each connection plays a script: a list of steps; or bytes, short for "read one request,
send these bytes, close"; or a coroutine function ``async def script(reader, writer, conn)`` that does as it likes with
the streams or with `conn`'s methods. When a script ends, its connection is closed.

    server = await raw_server([Request(), Send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"), Reset()])
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import struct
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

HEAD_LIMIT = 1 << 24


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


class Connection:
    """One accepted connection. `number` counts from 0."""

    def __init__(
        self, server: RawServer, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
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


# --- the steps of a script --------------------------------------------------------------------------------------------


class Step:
    """One step of a script."""

    async def play(self, conn: Connection) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Send(Step):
    """Send bytes: whole, in pieces ending at the offsets `cuts`, or of `each` bytes, `pause` seconds between two."""

    data: bytes
    cuts: tuple[int, ...] = ()
    each: int | None = None
    pause: float = 0

    async def play(self, conn: Connection) -> None:
        await conn.send(self.data, cuts=self.cuts, each=self.each, pause=self.pause)


def Drip(data: bytes, pause: float = 0) -> Send:
    """Send byte by byte."""
    return Send(data, each=1, pause=pause)


@dataclass(frozen=True)
class Head(Step):
    """Wait for the head of a request."""

    async def play(self, conn: Connection) -> None:
        await conn.read_head()


@dataclass(frozen=True)
class Body(Step):
    """Wait for the body of the request whose head was read last."""

    async def play(self, conn: Connection) -> None:
        await conn.read_body(conn.requests[-1])


@dataclass(frozen=True)
class Request(Step):
    """Wait for a whole request."""

    async def play(self, conn: Connection) -> None:
        await conn.read_request()


@dataclass(frozen=True)
class Pause(Step):
    """Do nothing for so many seconds."""

    seconds: float

    async def play(self, conn: Connection) -> None:
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True)
class WaitFor(Step):
    """Do nothing until the test sets the event."""

    event: asyncio.Event

    async def play(self, conn: Connection) -> None:
        await self.event.wait()


@dataclass(frozen=True)
class Close(Step):
    """Close in good order (FIN)."""

    async def play(self, conn: Connection) -> None:
        await conn.close()


@dataclass(frozen=True)
class EndSending(Step):
    """FIN, and the script goes on."""

    async def play(self, conn: Connection) -> None:
        conn.end_sending()


@dataclass(frozen=True)
class Truncate(Step):
    """FIN at the socket: TLS ends without close_notify."""

    async def play(self, conn: Connection) -> None:
        conn.truncate()


@dataclass(frozen=True)
class Reset(Step):
    """RST."""

    async def play(self, conn: Connection) -> None:
        conn.reset()


@dataclass(frozen=True)
class StopReading(Step):
    """Take nothing more."""

    async def play(self, conn: Connection) -> None:
        conn.stop_reading()


@dataclass(frozen=True)
class ResumeReading(Step):
    """Take what comes again."""

    async def play(self, conn: Connection) -> None:
        conn.resume_reading()


@dataclass(frozen=True)
class Hold(Step):
    """Say nothing more until the peer closes."""

    async def play(self, conn: Connection) -> None:
        await conn.wait_closed_by_peer()


Script = bytes | Sequence[Step] | Callable[[asyncio.StreamReader, asyncio.StreamWriter, Connection], Awaitable[object]]
"""What a connection plays (see the module's text)."""


async def _play(script: Script, conn: Connection) -> None:
    if callable(script):
        await script(conn.reader, conn.writer, conn)
        return
    if isinstance(script, bytes):
        script = [Request(), Send(script)]
    for step in script:
        await step.play(conn)


# --- the server -------------------------------------------------------------------------------------------------------


class RawServer:
    """Plays `scripts`: the first for the first connection, and so on; the last also for every further one.

    Args:
        scripts: see the module's text.
        tls: a server's `ssl.SSLContext`, to speak TLS.
        uds: listen on a Unix domain socket of its own (`path`) instead of TCP.
        host: the address to listen on, e.g. ``"::1"``.
        receive_buffer: SO_RCVBUF in bytes; small ones make a peer's writes block soon after `stop_reading()`.
        backlog: of `listen()`.
    """

    def __init__(
        self,
        *scripts: Script,
        tls: ssl.SSLContext | None = None,
        uds: bool = False,
        host: str = "127.0.0.1",
        receive_buffer: int | None = None,
        backlog: int = 128,
    ) -> None:
        self.scripts = scripts
        self.tls, self.host, self.backlog, self.receive_buffer = tls, host, backlog, receive_buffer
        self.uds = uds
        self.port = 0
        self.path = ""
        self.requests: list[Received] = []
        """Every request that was read, in order."""
        self.accepted: list[Connection] = []
        """Every connection, in order."""
        self.broken: list[Exception] = []
        """What ended scripts early because the peer had closed: most often what a test wants."""
        self.failures: list[Exception] = []
        """What else ended scripts: mistakes of the test, raised when the server is closed."""
        self._directory = ""
        self._closing = False
        self._server: asyncio.Server | None = None
        self._running: dict[asyncio.Task[None], Connection] = {}

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

    async def start(self) -> RawServer:
        # A client that goes away in its handshake, or does not answer close_notify, must not hold up the close.
        patience = {"ssl_handshake_timeout": 5.0, "ssl_shutdown_timeout": 1.0} if self.tls else {}
        if self.uds:
            # Short: a socket's path may have 107 bytes, and pytest's temporary directories are longer.
            self._directory = tempfile.mkdtemp(prefix="uds-")
            self.path = os.path.join(self._directory, "s")
            self._server = await asyncio.start_unix_server(
                self._accept, path=self.path, ssl=self.tls, limit=HEAD_LIMIT, backlog=self.backlog, **patience
            )
        else:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            listener = socket.socket(family, socket.SOCK_STREAM)
            if self.receive_buffer is not None:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
            listener.bind((self.host, 0))
            self.port = listener.getsockname()[1]
            self._server = await asyncio.start_server(
                self._accept, sock=listener, ssl=self.tls, limit=HEAD_LIMIT, backlog=self.backlog, **patience
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

    async def __aenter__(self) -> RawServer:
        return await self.start()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing:  # it was in the backlog, or in its handshake
            writer.transport.abort()
            return
        conn = Connection(self, len(self.accepted), reader, writer)
        self.accepted.append(conn)
        task = asyncio.get_running_loop().create_task(self._serve(conn))
        self._running[task] = conn
        task.add_done_callback(self._running.pop)

    async def _serve(self, conn: Connection) -> None:
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

    async def play(self, conn: Connection) -> None:
        """What a connection does: its script. Servers with manners of their own override it."""
        if self.scripts:
            await _play(self.scripts[min(conn.number, len(self.scripts) - 1)], conn)
