"""kill -9 at random moments of a segmented download: each goes on, and the file is right."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
import sys
from pathlib import Path

import pytest

from aiohttpconn import Client
from tests.download.server import BODY, MIB, FileServer

ROOT = Path(__file__).resolve().parents[2]
SEGMENTS = 4
TWICE = 1 * MIB
"""Bytes that may be fetched a second time, for each segment."""
SMALL, LARGE = 32 << 10, 128 << 10
"""Bytes that the sockets of both sides are asked to hold (and hold twice that): so few that what they hold need not be
counted; and so many that what comes is pumped into the file within the kernel."""


class Counting(FileServer):
    """Keeps next to nothing of what it sent in buffers, so that what it counts was received."""

    reached = 0
    """How many bytes to send before `halfway` is set."""

    def __init__(self, body: bytes, buffer: int) -> None:
        super().__init__(body)
        self.buffer = buffer
        self.halfway = asyncio.Event()

    async def play(self, conn: object) -> None:
        transport = conn.writer.transport  # type: ignore[attr-defined]
        transport.set_write_buffer_limits(0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.buffer)
        try:
            await super().play(conn)  # type: ignore[arg-type]
        except ConnectionError:
            pass  # the client was killed

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "sent" and isinstance(value, int) and value >= self.reached and hasattr(self, "halfway"):
            self.halfway.set()


async def killed_once(server: Counting, path: Path, after: int, segments: int, loop: str) -> bool:
    """Start the download in a process, kill it when the server has sent so many bytes; whether it was on its way."""
    server.sent, server.reached = 0, after
    server.halfway.clear()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.download.killed"),
        *(loop, server.url, str(path), str(segments), str(server.buffer)),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
    )
    waiting = [asyncio.ensure_future(server.halfway.wait()), asyncio.ensure_future(child.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    running = child.returncode is None
    if running:
        child.kill()
    await child.wait()
    for each in waiting:
        each.cancel()
    return running


async def rounds(count: int, path: Path, size: int, chance: random.Random, buffer: int) -> None:
    body = (BODY * (size // len(BODY) + 1))[:size]
    digest = hashlib.sha256(body).hexdigest()
    async with Counting(body, buffer) as server:
        for turn in range(count):
            path.unlink(missing_ok=True)
            segments = SEGMENTS if turn else 1
            loop = ("asyncio", "uvloop")[turn % 2]
            running = await killed_once(server, path, chance.randrange(1, size), segments, loop)
            before = server.sent
            if path.exists():  # it may get its name while the signal is under way
                assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, (
                    f"turn {turn}: a half file under the name"
                )
            async with Client(trust_env=False) as client:
                download = await client.download(server.url, path, segments=segments)
            assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, f"turn {turn}"
            assert os.listdir(path.parent) == [path.name]
            if running:
                assert download.resumed_from + download.fetched == size
                twice = before - download.resumed_from
                assert twice <= segments * (TWICE + (0 if buffer == SMALL else 4 * buffer)), (
                    f"turn {turn}: {twice} bytes were fetched twice"
                )


@pytest.mark.soak
@pytest.mark.parametrize("buffer", [SMALL, LARGE])
def test_killed_at_random_moments(buffer: int, tmp_path: Path, soak: bool) -> None:
    # Not a coroutine: fifty take longer than those may.
    asyncio.run(rounds(50 if soak else 2, tmp_path / "f", 24 * MIB, random.Random(), buffer))
