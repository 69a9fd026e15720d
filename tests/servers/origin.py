"""An ordinary HTTP/1.1 origin server on the scripted one: keep-alive, routes, and the usual paths built in.

- ``/``: 200, ``hello``                       - ``/bytes/N``: N bytes with Content-Length
- ``/chunked/N``: N bytes in chunks of 1,000  - ``/until-close/N``: N bytes, ended by the close
- ``/echo``: the request's body               - ``/request``: method, target, fields and body's size as JSON
- ``/status/NNN``: that status                - ``/redirect/NNN?TARGET``: that status and Location: TARGET
- ``/gzip``, ``/deflate``: JSON, so coded     - ``/close``: 200 with Connection: close
- ``/hold``: reads the request, never answers

`routes` has more of them, and goes before these: path → `Reply`, or a function from the request to one (or coroutine).
"""

from __future__ import annotations

import asyncio
import gzip
import http
import inspect
import json
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.servers.raw import Connection, RawServer, Received

PATTERN = bytes(range(256)) * 256

DOCUMENT = {"numbers": list(range(100)), "text": "grüße"}
"""What ``/gzip`` and ``/deflate`` hold, as JSON."""


def pattern(size: int) -> bytes:
    """`size` bytes in which a lost, doubled or moved block would show."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


@dataclass
class Reply:
    """A response to send. Content-Length is set, unless it is `chunked` (in pieces of that size) or `until_close`."""

    body: bytes = b""
    status: int = 200
    fields: Sequence[tuple[str, str]] = ()
    reason: str | None = None
    chunked: int | None = None
    until_close: bool = False
    close: bool = False
    trailers: Sequence[tuple[str, str]] = ()

    def head(self) -> bytes:
        reason = self.reason
        if reason is None:
            reason = http.HTTPStatus(self.status).phrase if self.status in http.HTTPStatus._value2member_map_ else ""
        fields = list(self.fields)
        if self.chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        elif not self.until_close and not (self.status < 200 or self.status in (204, 304)):
            fields.append(("Content-Length", str(len(self.body))))
        if self.close or self.until_close:
            fields.append(("Connection", "close"))
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in fields), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def coded_body(self) -> bytes:
        if not self.chunked:
            return self.body
        pieces = [self.body[at : at + self.chunked] for at in range(0, len(self.body), self.chunked)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        trailers = "".join(f"{name}: {value}\r\n" for name, value in self.trailers).encode("latin-1")
        return chunks + b"0\r\n" + trailers + b"\r\n"


Handler = Callable[[Received], "Reply | Awaitable[Reply]"]


class OriginServer(RawServer):
    """Answers requests one after the other on each connection, until the peer closes or asks to."""

    def __init__(self, routes: dict[str, Reply | Handler] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.routes: dict[str, Reply | Handler] = routes or {}
        self.fallback: Reply | Handler = Reply(b"not found", status=404)
        """What a path that is nowhere answers."""

    async def play(self, conn: Connection) -> None:
        while True:
            try:
                request = await conn.read_head()
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise
                return
            if (request.get("Expect") or "").lower() == "100-continue":
                await conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await conn.read_body(request)
            reply = await self._answer(request, conn)
            if reply is None:
                return
            head = request.method == "HEAD" or reply.status in (204, 304)
            await conn.send(reply.head() + (b"" if head else reply.coded_body()))
            wants = (request.get("Connection") or "").lower()
            if reply.close or reply.until_close or wants == "close" or (request.version == "HTTP/1.0" and not wants):
                return

    async def _answer(self, request: Received, conn: Connection) -> Reply | None:
        route = self.routes.get(request.path)
        if route is None:
            if request.path == "/hold":
                await conn.wait_closed_by_peer()
                return None
            route = built_in(request) or self.fallback
        if callable(route):
            made = route(request)
            return await made if inspect.isawaitable(made) else made
        return route


def built_in(request: Received) -> Reply | None:
    """The reply of a path that is built in."""
    name, _, rest = request.path.removeprefix("/").partition("/")
    if name in ("bytes", "chunked", "until-close"):
        body = pattern(int(rest))
        return Reply(body, chunked=1000 if name == "chunked" else None, until_close=name == "until-close")
    if name == "status":
        return Reply(f"status {rest}".encode(), status=int(rest))
    if name == "redirect":
        return Reply(b"elsewhere", status=int(rest), fields=[("Location", request.target.partition("?")[2])])
    if name in ("gzip", "deflate"):
        pack = gzip.compress if name == "gzip" else zlib.compress
        fields = [("Content-Type", "application/json"), ("Content-Encoding", name)]
        return Reply(pack(json.dumps(DOCUMENT).encode()), fields=fields)
    if request.path == "/echo":
        kind = request.get("Content-Type")
        return Reply(request.body, fields=[("Content-Type", kind)] if kind else ())
    if request.path == "/request":
        document = {"method": request.method, "target": request.target, "fields": request.fields}
        return Reply(json.dumps(document | {"body": len(request.body)}).encode(), fields=[_JSON])
    return {"/": Reply(b"hello", fields=[_TEXT]), "/close": Reply(b"goodbye", close=True)}.get(request.path)


_JSON = ("Content-Type", "application/json")
_TEXT = ("Content-Type", "text/plain; charset=utf-8")
