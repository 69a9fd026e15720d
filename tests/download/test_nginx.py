"""Downloads from the real nginx: killed, cut off, replaced meanwhile, without ranges; its log says what was sent."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.download.server import MIB
from tests.download.test_kill import ROOT, SEGMENTS, SMALL, TWICE
from tests.servers.file_nginx import AT_ONCE, serving_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttpconn import Client, Progress
    from tests.servers.file_nginx import FileNginx

pytestmark = pytest.mark.interop

SHARE = AT_ONCE + MIB
"""Of a segment: so much that its end has to be waited for."""
FILE = random.Random(11).randbytes(SEGMENTS * SHARE)
OTHER = FILE[::-1]
ONCE = pytest.mark.asyncio(loop_factories=["uvloop"])
"""A process for each loop would take longer than it is worth."""


@pytest.fixture(scope="module")
def running() -> Iterator[FileNginx]:
    with serving_file() as server:
        yield server


@pytest.fixture
def server(running: FileNginx) -> FileNginx:
    """Serves `FILE`, slowly; nothing is in its log yet."""
    running.replace(FILE)
    running.be_slow(True)
    running.logged()
    return running


def right(path: Path, body: bytes = FILE) -> bool:
    """Whether that is what is there, and nothing else."""
    same = hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(body).digest()
    return same and os.listdir(path.parent) == [path.name]


def noted(path: Path) -> int:
    """Bytes of the half file, so far."""
    try:
        lines = Path(f"{path}.part.jsonl").read_text().splitlines()[1:]
    except FileNotFoundError:
        return 0
    spans = [line.strip("[]").split(", ") for line in lines if line.endswith("]")]
    return sum(int(end) - int(start) for start, end in spans)


async def killed(server: FileNginx, url: str, path: Path, segments: int, after: int) -> int:
    """Download it in a process, on the test's kind of loop, that is killed when so many bytes have come; how many were
    sent to it. From then on the server is fast."""
    loop = "uvloop" if "uvloop" in type(asyncio.get_running_loop()).__module__ else "asyncio"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.download.killed", loop, url, str(path), str(segments), str(SMALL)), cwd=ROOT
    )
    while noted(path) < after:
        assert child.returncode is None, "it ended before it could be killed"
        await asyncio.sleep(0.001)
    child.kill()
    await child.wait()
    assert not path.exists(), "a half file under the name"
    server.be_slow(False)
    return sum(logged.sent for logged in server.logged())


async def disturbed(
    client: Client, server: FileNginx, where: str, path: Path, segments: int, act: Callable[[], object]
) -> int:
    """Download it, and call `act` when a MiB has come; how many bytes were received. Then the server is fast."""
    acted = False

    def moved(progress: Progress) -> None:
        nonlocal acted
        if progress.done >= MIB and not acted:
            acted = True
            server.be_slow(False)
            act()

    download = await client.download(f"{server.url}/{where}", path, segments=segments, on_progress=moved)
    assert acted
    return download.fetched


# --- the client is killed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("segments", [1, SEGMENTS])
async def test_killed_and_gone_on_with(segments: int, server: FileNginx, client: Client, tmp_path: Path) -> None:
    path, url = tmp_path / "f", f"{server.url}/f"
    server.replace(body := FILE[: segments * SHARE])
    first = await killed(server, url, path, segments, random.randrange(1, len(body) // 2))
    etag = (await client.head(url)).headers["ETag"]
    download = await client.download(url, path, segments=segments)
    assert right(path, body)
    assert download.resumed_from + download.fetched == len(body)
    again = [logged for logged in server.logged() if logged.asked]
    assert sum(logged.sent for logged in again) <= download.fetched + segments * TWICE
    assert {(logged.status, logged.condition) for logged in again} == {(206, etag)}
    assert first - download.resumed_from <= segments * TWICE


@ONCE
async def test_killed_and_the_file_replaced(server: FileNginx, client: Client, tmp_path: Path) -> None:
    path, url = tmp_path / "f", f"{server.url}/f"
    await killed(server, url, path, SEGMENTS, MIB)
    server.replace(OTHER)
    download = await client.download(f"{server.url}/f", path, segments=SEGMENTS)
    assert download.resumed_from == 0
    assert right(path, OTHER)
    assert server.logged()[0].status in (200, 206)


@ONCE
async def test_killed_where_ranges_are_not_heeded(server: FileNginx, client: Client, tmp_path: Path) -> None:
    path, url = tmp_path / "f", f"{server.url}/no-ranges"
    server.replace(body := FILE[:SHARE])
    await killed(server, url, path, SEGMENTS, MIB)
    download = await client.download(url, path, segments=SEGMENTS)
    assert download.resumed_from == 0
    assert right(path, body)


# --- the server is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("segments", [1, SEGMENTS])
async def test_its_worker_is_killed(segments: int, server: FileNginx, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "f"
    server.replace(body := FILE[: segments * SHARE])
    fetched = await disturbed(client, server, "f", path, segments, server.kill_worker)
    assert right(path, body)
    assert fetched == len(body)  # nothing twice
    assert {logged.status for logged in server.logged()} == {206}  # the killed one logged nothing


async def test_it_is_killed_and_started_again(server: FileNginx, client: Client, tmp_path: Path) -> None:
    def restart() -> None:
        server.kill()
        asyncio.get_running_loop().call_later(0.05, server.start_again)

    path = tmp_path / "f"
    assert await disturbed(client, server, "f", path, SEGMENTS, restart) == len(FILE)
    assert right(path)


@pytest.mark.parametrize("segments", [1, SEGMENTS])
async def test_the_file_is_replaced_meanwhile(segments: int, server: FileNginx, client: Client, tmp_path: Path) -> None:
    def replace() -> None:
        server.replace(other)
        server.kill_worker()  # else each connection would bring the old one to its end

    path = tmp_path / "f"
    body, other = FILE[: segments * SHARE], OTHER[: segments * SHARE]
    server.replace(body)
    await disturbed(client, server, "f", path, segments, replace)
    assert right(path, other)


# --- what it makes of a request ---------------------------------------------------------------------------------------


async def test_segments_of_a_file(server: FileNginx, client: Client, tmp_path: Path) -> None:
    server.be_slow(False)
    download = await client.download(f"{server.url}/f", tmp_path / "f", segments=SEGMENTS)
    assert right(tmp_path / "f")
    logged = server.logged()
    etag = download.headers["ETag"]
    assert sorted((each.status, each.condition) for each in logged) == [(200, ""), *[(206, etag)] * (len(logged) - 1)]
    assert len(logged) >= SEGMENTS


async def test_ranges_that_are_not_heeded(server: FileNginx, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "f"
    server.replace(body := FILE[:SHARE])
    fetched = await disturbed(client, server, "no-ranges", path, SEGMENTS, server.kill_worker)
    assert right(path, body)
    assert fetched > len(body)  # what had come was of no use
    assert server.logged()[-1][:3] == ("/no-ranges", 200, len(body))


async def test_a_location_that_gzips(server: FileNginx, client: Client, tmp_path: Path) -> None:
    server.be_slow(False)
    server.replace(body := b"what gets smaller " * 100_000)
    download = await client.download(f"{server.url}/gzip", tmp_path / "f", segments=2)
    assert right(tmp_path / "f", body)
    assert download.fetched == len(body)  # identity was asked for, and so it could be divided
    assert sum(each.sent for each in server.logged()) < len(body) + TWICE
    # For who asks for it, it is decoded. (Its length is not known, and no range of it is of use.)
    await client.download(f"{server.url}/gzip", tmp_path / "f", segments=2, headers={"Accept-Encoding": "gzip"})
    assert right(tmp_path / "f", body)
    (logged,) = server.logged()
    assert logged.sent < len(body) // 10
