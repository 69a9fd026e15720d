"""A server of one file, with ranges, that misbehaves as it is told."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.servers.raw import Connection, RawServer, Received

MIB = 1 << 20
BODY = random.Random(5).randbytes(3 * MIB + 77)
"""No two blocks of it are alike."""


@dataclass
class Answer:
    """What is sent: the body may be cut short, and the connection with it."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    cut: int | None = None
    length: int | None = None
    """Content-Length; None for that of the body, -1 for none at all, so that the close ends it."""
    after: Callable[[], Awaitable[object]] | None = field(default=None)
    """Awaited before what was cut off would come."""
    before: Callable[[], Awaitable[object]] | None = field(default=None)
    """Awaited before anything is sent."""
    midway: Callable[[], Awaitable[object]] | None = field(default=None)
    """Awaited when the first 64 KiB of the body are sent."""

    def head(self) -> bytes:
        length = len(self.body) if self.length is None else self.length
        fields = [*self.fields, *([("Content-Length", str(length))] if length >= 0 else [("Connection", "close")])]
        lines = [f"HTTP/1.1 {self.status} OK", *(f"{name}: {value}" for name, value in fields)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class FileServer(RawServer):
    """Serves `body` under every path.

    - `twist`: given a request, its number and the answer it would get, makes the answer it gets.
    """

    def __init__(self, body: bytes = BODY, **options: Any) -> None:
        super().__init__(**options)
        self.body = body
        self.etag: str | None = '"v1"'
        self.modified: str | None = "Wed, 21 Oct 2015 07:28:00 GMT"
        self.date: str | None = "Thu, 22 Oct 2015 07:28:00 GMT"
        self.fields: list[tuple[str, str]] = []
        self.ranges = True
        self.twist: Callable[[Received, int, Answer], Answer] = lambda request, number, answer: answer
        self.sent = 0
        """Bytes of bodies."""

    @property
    def asked(self) -> list[str]:
        """The Range fields of the requests, "" for none."""
        return [request.get("Range") or "" for request in self.requests]

    async def play(self, conn: Connection) -> None:
        while True:
            try:
                request = await conn.read_head()
            except asyncio.IncompleteReadError:
                return
            answer = self.twist(request, len(self.requests) - 1, self.answer(request))
            body = answer.body if answer.cut is None else answer.body[: answer.cut]
            if answer.before is not None:
                await answer.before()
            await conn.send(answer.head())
            for at in range(0, len(body), 65536):
                await conn.send(body[at : at + 65536])
                self.sent += len(body[at : at + 65536])
                if at == 0 and answer.midway is not None:
                    await answer.midway()
            if answer.after is not None:
                await answer.after()
            if answer.cut is not None or answer.length == -1:
                return

    def answer(self, request: Received) -> Answer:
        """The right answer."""
        named = [("ETag", self.etag), ("Last-Modified", self.modified), ("Date", self.date)]
        fields = [(name, value) for name, value in named if value is not None] + self.fields
        if self.ranges:
            fields.append(("Accept-Ranges", "bytes"))
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.get("Range") or "")
        condition = request.get("If-Range")
        if match is None or not self.ranges or condition not in (None, self.etag, self.modified):
            return Answer(200, fields, self.body)
        start = int(match[1])
        end = min(int(match[2]) + 1 if match[2] else len(self.body), len(self.body))
        if start >= end:
            return Answer(416, [*fields, ("Content-Range", f"bytes */{len(self.body)}")], b"")
        fields.append(("Content-Range", f"bytes {start}-{end - 1}/{len(self.body)}"))
        return Answer(206, fields, self.body[start:end])


def silent(until: int = 0) -> Callable[[Received, int, Answer], Answer]:
    """A twist: nothing is said of ranges, and the first answer stands still midway until so many requests came."""
    came = asyncio.Event()

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        answer.fields = [field for field in answer.fields if field[0] != "Accept-Ranges"]
        if number + 1 >= until:
            came.set()
        if number == 0:
            answer.midway = came.wait
        return answer

    return twist


def cut_first(size: int) -> Callable[[Received, int, Answer], Answer]:
    """A twist: the first answer ends after so many bytes."""

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        if number == 0:
            answer.cut, answer.length = size, len(answer.body)
        return answer

    return twist
