"""What comes faster than it is taken goes from the socket into the file within the kernel; and how that ends."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, Hooks, ReadTimeout
from tests.cancellation import cancel_everywhere
from tests.download.server import MIB, Answer, FileServer, cut_first

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.servers.raw import Connection, Received

pytestmark = pytest.mark.skipif(not hasattr(os, "splice"), reason="this system has no splice()")
LARGE = random.Random(7).randbytes(8 * MIB + 33)


class Splices:
    """Counts what is moved into files, and fails where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moved = 0
        self.source_error: OSError | None = None
        self.file_error: OSError | None = None
        self._splice = os.splice
        monkeypatch.setattr(os, "splice", self)

    def __call__(self, source: int, target: int, count: int, **options: Any) -> int:
        into_file = "offset_dst" in options
        error = self.file_error if into_file else self.source_error
        if error is not None:
            raise error
        moved = self._splice(source, target, count, **options)
        self.moved += moved if into_file else 0
        return moved


@pytest.fixture
def splices(monkeypatch: pytest.MonkeyPatch) -> Splices:
    return Splices(monkeypatch)


class Fast(FileServer):
    """Sends all that it can at once."""

    async def play(self, conn: Connection) -> None:
        conn.writer.transport.set_write_buffer_limits(4 * MIB)
        await super().play(conn)


@pytest.fixture
async def fast() -> AsyncIterator[Fast]:
    async with Fast(LARGE) as server:
        yield server


def descriptors() -> set[str]:
    """What the process has open, by what it is."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(name + os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            pass  # that of the listing itself
    return found


@pytest.mark.parametrize("segments", [1, 3])
async def test_a_large_file_is_pumped(
    segments: int, fast: Fast, client: Client, tmp_path: Path, splices: Splices
) -> None:
    seen: list[int] = []
    download = await client.download(
        fast.url, tmp_path / "f", segments=segments, on_progress=lambda progress: seen.append(progress.done)
    )
    assert download.path.read_bytes() == LARGE
    assert os.listdir(tmp_path) == ["f"]
    assert splices.moved > MIB
    assert download.fetched >= len(LARGE) >= seen[-1]
    assert seen == sorted(seen)
    # The connection was given back in order, and hears the peer again.
    assert (await client.get(fast.url)).content == LARGE
    assert fast.connections == 1 or segments > 1


async def test_what_is_to_be_seen_is_not_pumped(fast: Fast, tmp_path: Path, splices: Splices) -> None:
    pieces = 0

    async def on_chunk(*_: object) -> None:
        nonlocal pieces
        pieces += 1

    async with Client(trust_env=False, hooks=Hooks(on_chunk=on_chunk)) as client:
        download = await client.download(fast.url, tmp_path / "f")
    assert download.path.read_bytes() == LARGE
    assert pieces
    async with Client(trust_env=False) as client:
        await client.download(fast.url, tmp_path / "f", limit_rate=1e9)
    assert not splices.moved


async def test_a_connection_that_breaks_is_gone_on_from(
    fast: Fast, client: Client, tmp_path: Path, splices: Splices
) -> None:
    fast.twist = cut_first(6 * MIB)
    download = await client.download(fast.url, tmp_path / "f")
    assert download.path.read_bytes() == LARGE
    assert fast.asked == ["", f"bytes={6 * MIB}-{len(LARGE) - 1}"]
    assert splices.moved > MIB


async def test_a_connection_that_is_reset(fast: Fast, client: Client, tmp_path: Path, splices: Splices) -> None:
    def reset(source: int, target: int, count: int, **options: Any) -> int:
        if splices.moved > MIB and fast.connections == 1 and "offset_dst" not in options:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        return splices(source, target, count, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "splice", reset)
        download = await client.download(fast.url, tmp_path / "f")
    assert download.path.read_bytes() == LARGE
    assert fast.connections == 2
    assert download.fetched == len(LARGE)


@pytest.mark.parametrize("where", ["source_error", "file_error"])
async def test_a_system_that_cannot(where: str, fast: Fast, client: Client, tmp_path: Path, splices: Splices) -> None:
    # A socket of some kind, or a file system: what is in the pipe by then is written by hand.
    setattr(splices, where, OSError(errno.EINVAL, "Invalid argument"))
    download = await client.download(fast.url, tmp_path / "f")
    assert download.path.read_bytes() == LARGE
    assert download.fetched == len(LARGE)
    assert not splices.moved


async def test_too_many_pipes(
    fast: Fast, client: Client, tmp_path: Path, splices: Splices, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(flags: int) -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pipe2", refuse)
    before = descriptors()
    download = await client.download(fast.url, tmp_path / "f")
    assert download.path.read_bytes() == LARGE
    assert not splices.moved
    assert len(descriptors() - before) <= 2  # both ends of the idle connection


async def test_a_full_disk_loses_nothing(fast: Fast, client: Client, tmp_path: Path, splices: Splices) -> None:
    def full(source: int, target: int, count: int, **options: Any) -> int:
        if "offset_dst" in options and splices.moved > 2 * MIB:
            raise OSError(errno.ENOSPC, "No space left on device")
        return splices(source, target, count, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "splice", full)
        with pytest.raises(OSError, match="No space") as caught:
            await client.download(fast.url, tmp_path / "f")
    assert "are kept" in caught.value.__notes__[0]
    download = await client.download(fast.url, tmp_path / "f")
    assert download.path.read_bytes() == LARGE
    assert download.resumed_from > 2 * MIB
    assert download.resumed_from + download.fetched == len(LARGE)


async def test_a_peer_that_falls_silent(fast: Fast, client: Client, tmp_path: Path, splices: Splices) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        answer.cut, answer.length, answer.after = 4 * MIB, len(answer.body), asyncio.Event().wait
        return answer

    fast.twist = twist
    with pytest.raises(ReadTimeout):
        await client.download(fast.url, tmp_path / "f", timeout=0.1, repairs=0)
    assert splices.moved > MIB
    assert (tmp_path / "f.part").read_bytes() == LARGE[: 4 * MIB]


async def test_cancelled_anywhere(fast: Fast, client: Client, tmp_path: Path, splices: Splices) -> None:
    fast.body = LARGE[: 4 * MIB]
    await client.download(fast.url, tmp_path / "f")
    assert splices.moved
    pipes = {each for each in descriptors() if "pipe" in each}

    async def scenario() -> None:
        for file in tmp_path.iterdir():
            file.unlink()
        await client.download(fast.url, tmp_path / "f")

    def check() -> None:
        assert {each for each in descriptors() if "pipe" in each} == pipes
        assert client.stats().in_use == 0
        if (tmp_path / "f.part").exists():
            assert LARGE.startswith((tmp_path / "f.part").read_bytes())

    assert await cancel_everywhere(scenario, check)
    assert (tmp_path / "f").read_bytes() == LARGE[: 4 * MIB]


async def test_a_lent_socket(fast: Fast, client: Client) -> None:
    """What a borrower takes is counted, and what he leaves is read as ever."""
    async with client.stream("GET", fast.url) as response:
        assert response.lend_socket() is None  # nobody reads yet
        pieces = response.iter_raw()
        body = await anext(pieces)
        loan = response.lend_socket()
        assert loan is not None
        with loan, socket.socket(fileno=loan.descriptor) as borrowed:
            body += b"".join(loan.arrived)
            assert loan.left == len(LARGE) - len(body)
            while len(body) < 5 * MIB:
                try:
                    data = borrowed.recv(loan.left)
                except BlockingIOError:
                    await asyncio.sleep(0)
                    continue
                loan.took(len(data))
                body += data
        assert response.num_bytes_downloaded == len(body)
        async for piece in pieces:
            body += piece
    assert body == LARGE
    async with client.stream("GET", fast.url, max_body=len(LARGE)) as response:
        assert await anext(response.iter_raw())
        assert response.lend_socket() is None
    # A borrower who fails leaves nobody knows what on the connection.
    with pytest.raises(ZeroDivisionError):
        async with client.stream("GET", fast.url) as response:
            await anext(response.iter_raw())
            loan = response.lend_socket()
            assert loan is not None
            os.close(loan.descriptor)
            with loan:
                raise ZeroDivisionError
    assert client.stats().open <= 1


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Under 8 MiB, in a process that does nothing else. (Of 1 GiB: 1.5 MiB, and 7 for eight segments.)"""

    async def grown() -> list[int]:
        async with Fast(LARGE * 3) as server:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.download.grown", server.url, str(tmp_path / "f"), "1", "8"),
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await child.communicate()
        assert child.returncode == 0
        return [int(line) for line in output.split()]

    sizes = asyncio.run(grown())
    assert (tmp_path / "f").read_bytes() == LARGE * 3
    assert len(sizes) == 2
    assert max(sizes) < 8 * MIB
