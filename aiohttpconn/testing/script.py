"""What a connection of a `ScriptedServer` does: the steps that scripts are made of, and scripts that are often wanted.

A script is a list of steps; or bytes, short for "read one request, send these bytes, close"; or a coroutine function
``async def script(reader, writer, connection)`` that does as it likes with the streams or with the connection's
methods. When a script ends, its connection is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from .connection import ScriptedConnection


class Step:
    """One step of a script."""

    async def play(self, conn: ScriptedConnection) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Send(Step):
    """Send bytes: whole, in pieces ending at the offsets `cuts`, or of `each` bytes, `pause` seconds between two."""

    data: bytes
    cuts: tuple[int, ...] = ()
    each: int | None = None
    pause: float = 0

    async def play(self, conn: ScriptedConnection) -> None:
        await conn.send(self.data, cuts=self.cuts, each=self.each, pause=self.pause)


def Drip(data: bytes, pause: float = 0) -> Send:  # noqa: N802 - a step like the others
    """Send byte by byte."""
    return Send(data, each=1, pause=pause)


@dataclass(frozen=True)
class ReadHead(Step):
    """Wait for the head of a request."""

    async def play(self, conn: ScriptedConnection) -> None:
        await conn.read_head()


@dataclass(frozen=True)
class ReadBody(Step):
    """Wait for the body of the request whose head was read last."""

    async def play(self, conn: ScriptedConnection) -> None:
        await conn.read_body(conn.requests[-1])


@dataclass(frozen=True)
class ReadRequest(Step):
    """Wait for a whole request."""

    async def play(self, conn: ScriptedConnection) -> None:
        await conn.read_request()


@dataclass(frozen=True)
class Pause(Step):
    """Do nothing for so many seconds."""

    seconds: float

    async def play(self, conn: ScriptedConnection) -> None:
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True)
class WaitFor(Step):
    """Do nothing until the test sets the event."""

    event: asyncio.Event

    async def play(self, conn: ScriptedConnection) -> None:
        await self.event.wait()


@dataclass(frozen=True)
class Close(Step):
    """Close in good order (FIN)."""

    async def play(self, conn: ScriptedConnection) -> None:
        await conn.close()


@dataclass(frozen=True)
class EndSending(Step):
    """FIN, and the script goes on."""

    async def play(self, conn: ScriptedConnection) -> None:
        conn.end_sending()


@dataclass(frozen=True)
class Truncate(Step):
    """FIN at the socket: TLS ends without close_notify."""

    async def play(self, conn: ScriptedConnection) -> None:
        conn.truncate()


@dataclass(frozen=True)
class Reset(Step):
    """RST."""

    async def play(self, conn: ScriptedConnection) -> None:
        conn.reset()


@dataclass(frozen=True)
class StopReading(Step):
    """Take nothing more."""

    async def play(self, conn: ScriptedConnection) -> None:
        conn.stop_reading()


@dataclass(frozen=True)
class ResumeReading(Step):
    """Take what comes again."""

    async def play(self, conn: ScriptedConnection) -> None:
        conn.resume_reading()


@dataclass(frozen=True)
class Hold(Step):
    """Say nothing more until the peer closes."""

    async def play(self, conn: ScriptedConnection) -> None:
        await conn.wait_closed_by_peer()


Script: TypeAlias = (
    bytes
    | Sequence[Step]
    | Callable[[asyncio.StreamReader, asyncio.StreamWriter, ScriptedConnection], Awaitable[object]]
)
"""What a connection plays (see the module's text)."""


async def play(script: Script, conn: ScriptedConnection) -> None:
    if callable(script):
        await script(conn.reader, conn.writer, conn)
        return
    if isinstance(script, bytes):
        script = [ReadRequest(), Send(script)]
    for step in script:
        await step.play(conn)


# --- scripts that are often wanted ------------------------------------------------------------------------------------


def response(body: bytes = b"", status: int = 200, *fields: tuple[str, str], close: bool = False) -> bytes:
    """A whole response: status line, these fields, Content-Length, and with `close` Connection: close."""
    reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    pairs = [*fields, ("Content-Length", str(len(body))), *([("Connection", "close")] if close else [])]
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in pairs), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def keep_alive(*responses: bytes) -> list[Step]:
    """Answer one request after the other on the same connection, then wait for the peer to close it."""
    steps: list[Step] = []
    for each in responses:
        steps += (ReadRequest(), Send(each))
    return [*steps, Hold()]


def stale_keep_alive(answer: bytes, *, reset: bool = False) -> list[Step]:
    """Answer one request, wait for the next, and close (or reset) without answering: the connection looked alive."""
    return [ReadRequest(), Send(answer), ReadHead(), Reset() if reset else Close()]


def closed_while_idle(answer: bytes, after: float = 0) -> list[Step]:
    """Answer one request as if more were welcome, and close the idle connection `after` seconds."""
    return [ReadRequest(), Send(answer), Pause(after), Close()]


def dripped(answer: bytes, pause: float = 0.001, each: int = 1) -> list[Step]:
    """Send the response `each` bytes at a time, `pause` seconds between two."""
    return [ReadRequest(), Send(answer, each=each, pause=pause)]


def slow_head(answer: bytes, pause: float = 0.05) -> list[Step]:
    """Send the head of the response byte by byte, its body at once."""
    end = answer.index(b"\r\n\r\n") + 4
    return [ReadRequest(), Send(answer[:end], each=1, pause=pause), Send(answer[end:])]


def reset_after(answer: bytes, size: int) -> list[Step]:
    """Send `size` bytes of the response's body, give them time to be read, and reset the connection."""
    end = answer.index(b"\r\n\r\n") + 4 + size
    # A reset that comes at once would take with it what was not read yet.
    return [ReadRequest(), Send(answer[:end]), Pause(0.02), Reset()]


def truncated_after(answer: bytes, size: int) -> list[Step]:
    """Send `size` bytes of the response's body, and close."""
    end = answer.index(b"\r\n\r\n") + 4 + size
    return [ReadRequest(), Send(answer[:end]), Close()]


def bad_chunk(body: bytes = b"some") -> list[Step]:
    """Send a chunk, and then something in place of a chunk's size."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [ReadRequest(), Send(head + b"%x\r\n%b\r\n" % (len(body), body) + b"what is this\r\n"), Hold()]


def never_answers() -> list[Step]:
    """Read the request, and say nothing."""
    return [ReadRequest(), Hold()]


def early_answer(answer: bytes | None = None) -> list[Step]:
    """Answer (with a 413) as soon as the request's head is there, and close once the peer has stopped sending."""
    return [
        ReadHead(),
        Send(response(b"too large", 413, close=True) if answer is None else answer),
        EndSending(),
        Hold(),
    ]
