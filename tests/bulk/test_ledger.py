"""What a checkpoint's file survives: a kill between any two rows, the garbage collector, and being something else."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import Client, Frontier, Request
from tests.forked import forked

if TYPE_CHECKING:
    from pathlib import Path

one_loop = pytest.mark.asyncio(loop_factories=["asyncio"])  # in a process of its own


async def ran(code: str, *arguments: str) -> tuple[int | None, bytes]:
    """Exit and what was written to stderr of some code in a process of its own, that must end within a minute."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", code, *arguments), stderr=asyncio.subprocess.PIPE
    )
    try:
        _, complaints = await asyncio.wait_for(child.communicate(), 60)
    except TimeoutError:
        child.kill()
        await child.wait()
        raise
    return child.returncode, complaints


COLLECTED = """
import asyncio, faulthandler, gc
from aiohttpconn import Frontier

faulthandler.dump_traceback_later(30, exit=True)

async def main():
    gc.set_threshold(13)
    loop = asyncio.get_running_loop()
    for number in range(600):
        circle = [Frontier([f"http://example.org/{n}" for n in range(10)], memory=4)]  # which is never closed
        circle.append(circle)
        del circle
        await loop.run_in_executor(None, int)

asyncio.run(main())
"""


@one_loop
async def test_collected_while_a_thread_is_being_started() -> None:
    """The collector may run while this very thread holds the lock of `concurrent.futures`."""
    assert await ran(COLLECTED) == (0, b"")


async def test_a_frontier_is_no_circle(tmp_path: Path) -> None:
    import gc
    import weakref

    gc.disable()
    try:
        frontier = Frontier(["http://example.org/"], checkpoint=tmp_path / "f", memory=4)
        await frontier.settle()
        gone = weakref.ref(frontier)
        del frontier
        assert gone() is None
    finally:
        gc.enable()


KILLED = """
import asyncio, os, sys
from aiohttpconn import Frontier

async def main():
    frontier = Frontier(checkpoint=sys.argv[1], max_per_host=10_000, memory=2000)
    for number in range(3000):
        frontier.add(f"http://example.org/{number}")
        if number % 200 == 0:
            await asyncio.sleep(0)
    os._exit(9)

asyncio.run(main())
"""


@one_loop
async def test_what_is_known_to_have_been_there_waits(tmp_path: Path) -> None:
    """Killed where the older half of what is known is dropped from memory, which has everything written."""
    path = tmp_path / "crawl"
    assert await ran(KILLED, str(path)) == (9, b"")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        counts = [connection.execute(f"SELECT {what}").fetchone()[0] for what in (
            "count(*) FROM seen", "count(*) FROM backlog", "sum(pages) FROM hosts"
        )]  # fmt: skip
    assert counts == [3000] * 3
    async with Frontier(checkpoint=path) as frontier:
        assert len(frontier) == 3000


async def test_a_page_is_written_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a batch is cut into transactions, no cut is between the rows of one page."""
    monkeypatch.setattr("aiohttpconn.bulk.ledger_file.AT_ONCE", 2)
    path = tmp_path / "crawl"
    counts = "SELECT (SELECT count(*) FROM seen), (SELECT count(*) FROM backlog), (SELECT sum(pages) FROM hosts)"
    async with Frontier(checkpoint=path, max_per_host=10_000) as frontier:
        for number in range(500):
            frontier.add(f"http://example.org/{number}")
        settled = asyncio.ensure_future(frontier.settle())
        with contextlib.closing(sqlite3.connect(path)) as connection:
            while not settled.done():
                seen, waiting, pages = connection.execute(counts).fetchone()
                assert seen == waiting == (pages or 0)
                await asyncio.sleep(0)


async def test_what_is_not_closed_is_written(tmp_path: Path) -> None:
    """At the end of the process, though the loop that would have written it is no more."""
    code = """
import asyncio, sys
from aiohttpconn import Frontier

async def main():
    global frontier
    frontier = Frontier(["http://example.org/"], checkpoint=sys.argv[1])

asyncio.run(main())
"""
    assert await ran(code, str(tmp_path / "f")) == (0, b"")
    async with Frontier(checkpoint=tmp_path / "f") as frontier:
        assert len(frontier) == 1


async def test_for_its_owner_alone(tmp_path: Path) -> None:
    """What a request carries is in there."""
    async with Frontier(checkpoint=tmp_path / "f") as frontier:
        frontier.add("http://user:password@example.org/")
        frontier.add(Request("GET", "http://example.org/2", {"Authorization": "Bearer secret"}))
        await frontier.settle()
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("f", "f.lock", "f-wal", "f-shm"), 0o600)


async def test_files_of_another_kind(tmp_path: Path, client: Client) -> None:
    async def first(path: Path) -> None:
        async with client.map(["http://127.0.0.1:1/"], checkpoint=path) as results:
            await anext(results)

    foreign = tmp_path / "foreign"
    with contextlib.closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE mine (a)")
    before = foreign.read_bytes()
    async with Frontier(["http://example.org/"], checkpoint=tmp_path / "crawl"):
        pass
    await first(tmp_path / "map")
    (tmp_path / "text").write_text("no database, and long enough to be read as one" * 100)
    for name in ("foreign", "crawl", "text"):
        with pytest.raises(OSError, match=rf"{name}.*give another path"):
            await first(tmp_path / name)
    for name in ("foreign", "map", "text"):
        with pytest.raises(OSError, match=rf"{name}.*give another path"):
            Frontier(checkpoint=tmp_path / name)
    assert foreign.read_bytes() == before
    for impossible in (tmp_path / "no" / "file", tmp_path):
        with pytest.raises(OSError, match=str(impossible)):
            await first(impossible)
        with pytest.raises(OSError, match=str(impossible)):
            Frontier(checkpoint=impossible)


async def test_in_use_by_another_frontier(tmp_path: Path) -> None:
    path = tmp_path / "f"
    frontier = Frontier(["http://example.org/1"], checkpoint=path)
    with pytest.raises(BlockingIOError, match="f is in use") as refused:
        Frontier(checkpoint=path)
    assert "delete" not in str(refused.value)
    frontier.add("http://example.org/2")
    await frontier.close()
    for number in range(3, 10):
        frontier = Frontier([f"http://example.org/{number}"], checkpoint=path)
        del frontier  # closed a moment later, for which the next one waits
    async with Frontier(checkpoint=path) as frontier:
        assert len(frontier) == 9
    assert {file.name for file in tmp_path.iterdir()} == {"f"}


HOLDING = """
import sys, time
from aiohttpconn import Frontier

frontier = Frontier(["http://example.org/1"], checkpoint=sys.argv[1])
print("now", flush=True)
time.sleep(60)
"""


@one_loop
async def test_in_use_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "f"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDING, str(path)), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        assert await asyncio.wait_for(child.stdout.readline(), 60) == b"now\n"
        with pytest.raises(BlockingIOError, match="f is in use"):
            Frontier(checkpoint=path)
    finally:
        child.kill()
        await child.communicate()
    assert (tmp_path / "f.lock").exists()  # which says nothing
    async with Frontier(["http://example.org/2"], checkpoint=path):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["f"]


async def test_in_use_by_the_name_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "f")
    async with Frontier(checkpoint=tmp_path / "link") as frontier:
        frontier.add("http://example.org/")
        await frontier.settle()
        with pytest.raises(BlockingIOError, match="f is in use"):
            Frontier(checkpoint=tmp_path / "f")
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


async def test_the_lock_is_not_of_the_database(tmp_path: Path) -> None:
    """Where flock() and fcntl() share one table (macOS, the BSDs, NFS), SQLite could not lock it any more."""
    path = tmp_path / "f"
    async with Frontier(["http://example.org/"], checkpoint=path) as frontier:
        await frontier.settle()
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_the_lock_does_not_outlive_its_owner_in_a_fork(tmp_path: Path) -> None:
    path = tmp_path / "f"
    frontier = Frontier(["http://example.org/"], checkpoint=path)
    with forked():
        await frontier.close()
        async with Frontier(checkpoint=path) as again:
            assert len(again) == 1


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no flock(), as Lustre may be mounted."""

    def flock(file: object, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.usefixtures("without_locks")
async def test_where_there_are_no_locks_it_is_one_frontiers_in_the_process(tmp_path: Path) -> None:
    async with Frontier(["http://example.org/"], checkpoint=tmp_path / "f"):
        with pytest.raises(BlockingIOError, match="f is in use"):
            Frontier(checkpoint=tmp_path / "f")
    async with Frontier(checkpoint=tmp_path / "f") as frontier:
        assert len(frontier) == 1


TAKING = """
import os, sys
from aiohttpconn.bulk.file_lock import FileLock

turns = 0
while turns < 300:
    try:
        lock = FileLock(sys.argv[1])
    except BlockingIOError:
        continue
    os.close(os.open(sys.argv[1], os.O_CREAT | os.O_EXCL))
    os.unlink(sys.argv[1])
    lock.lift()
    turns += 1
"""


@one_loop
async def test_one_at_a_time_has_the_lock(tmp_path: Path) -> None:
    """Though each removes the file of it, while others are opening that."""
    assert await asyncio.gather(*[ran(TAKING, str(tmp_path / "f")) for _ in range(3)]) == [(0, b"")] * 3
    assert not list(tmp_path.iterdir())


async def test_after_a_failure_nothing_is_written(tmp_path: Path) -> None:
    """A gap would be a page that is known and does not wait."""
    frontier = Frontier(["http://example.org/1"], checkpoint=tmp_path / "f")
    await frontier.settle()
    frontier._ledger.put("INSERT INTO nowhere VALUES (1)")
    frontier.add("http://example.org/2")
    with pytest.raises(OSError, match="nowhere"):
        await frontier.settle()
    with pytest.raises(OSError, match="nowhere"):
        frontier.add("http://example.org/3")
    assert len(frontier) == 2
    with pytest.raises(OSError, match="nowhere"):
        await frontier.close()
    async with Frontier(checkpoint=tmp_path / "f") as again:
        assert len(again) == 1
        again._ledger.put("INSERT INTO backlog SELECT * FROM backlog")
        with pytest.raises(OSError, match="UNIQUE") as failure:
            await again.settle()
        assert "delete" not in str(failure.value)  # the file is as good as it was
        with pytest.raises(OSError, match="UNIQUE"):
            await again.close()
