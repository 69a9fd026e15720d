"""Where records are kept: what comes back, what goes first, and what a file may be."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Cache, Client, Request
from aiohttpconn.cache import database, sqlite
from aiohttpconn.cache.database import Database
from aiohttpconn.cache.record import Record, variant_of
from aiohttpconn.cache.sqlite import SQLiteStorage
from aiohttpconn.cache.storage import MOST_VARIANTS, MemoryStorage, Storage
from aiohttpconn.testing import MockResponse, MockTransport
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Make = Any  # Callable[[int, int], Storage]
FRESH = [("Cache-Control", "max-age=1000")]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Storage]:
    def made(max_size: int = 1 << 20, max_entries: int = 100) -> Storage:
        if request.param == "memory":
            return MemoryStorage(max_size, max_entries)
        return SQLiteStorage(tmp_path / "cache.sqlite", max_size, max_entries)

    return made


async def kept(storage: Storage) -> Storage:
    """It, once all is where it is to stay: what is not yet written to a file is found beyond its bounds."""
    if not isinstance(storage, SQLiteStorage):
        return storage
    await storage.close()
    return SQLiteStorage(storage.path, storage._max_size, storage._max_entries)


def record(url: str = "http://a/", body: bytes = b"body", **parts: Any) -> Record:
    made: dict[str, Any] = {"method": "GET", "varies": (), "variant": b""} | parts
    pairs = [("A", "1"), ("a", "\xe4"), ("B", "")]
    return Record(made["method"], url, made["varies"], made["variant"], 11, 200, "Très bien", pairs, body, 1234.5)


async def test_what_was_put_comes_back(make: Make) -> None:
    storage = make()
    one = record(varies=("accept", "x"), variant=b"\0\xff", body=bytes(range(256)))
    storage.put(one)
    (found,) = await storage.get("http://a/")
    for name in ("method", "url", "varies", "variant", "version", "status", "reason", "pairs", "body", "born"):
        assert getattr(found, name) == getattr(one, name), name
    assert list(await storage.get("http://b/")) == []
    await storage.close()


async def test_the_same_takes_the_place_and_variants_stand_side_by_side(make: Make) -> None:
    storage = make()
    for body in (b"1", b"2"):
        storage.put(record(body=body))
        storage.put(record(body=body, variant=b"v", varies=("x",)))
    storage.put(record(method="HEAD", body=b""))
    found = await storage.get("http://a/")
    assert sorted(each.body for each in found) == [b"", b"2", b"2"]
    storage.remove("http://a/")
    assert list(await storage.get("http://a/")) == []
    await storage.close()


async def test_no_more_than_so_many_and_so_much(make: Make) -> None:
    many = make(max_entries=10)
    for number in range(50):
        many.put(record(f"http://{number}/"))
    many = await kept(many)
    assert [number for number in range(50) if await many.get(f"http://{number}/")] == [*range(40, 50)]
    await many.clear()
    await many.close()
    large = make(max_size=10_000, max_entries=1000)
    for number in range(10):
        large.put(record(f"http://{number}/", b"x" * 3000))
    large = await kept(large)
    assert [number for number in range(10) if await large.get(f"http://{number}/")] == [8, 9]
    large.put(record("http://huge/", b"x" * 20_000))
    large = await kept(large)
    assert list(await large.get("http://huge/")) == []
    await large.close()


async def test_many_variants_of_one_url_are_bounded_too() -> None:
    storage = MemoryStorage(1 << 20, 5)
    for number in range(50):
        storage.put(record(variant=b"%d" % number, varies=("cookie",)))
    assert [each.variant for each in await storage.get("http://a/")] == [b"45", b"46", b"47", b"48", b"49"]


async def test_only_those_for_a_request_are_read_and_removed(make: Make) -> None:
    storage = make(max_size=1 << 30, max_entries=10_000)
    asks = [Request("GET", "http://a/", {"X": str(number)}) for number in range(2 * MOST_VARIANTS)]
    for ask in asks:
        storage.put(record(body=ask.headers["X"].encode(), varies=("x",), variant=variant_of(ask, ("x",))))
    storage = await kept(storage)
    found = await storage.get("http://a/")
    assert [each.body for each in found] == [b"%d" % number for number in range(MOST_VARIANTS, 2 * MOST_VARIANTS)]
    assert [each.body for each in await storage.get("http://a/", asks[-1])] == [asks[-1].headers["X"].encode()]
    assert not await storage.get("http://a/", asks[0])
    assert not await storage.get("http://a/", asks[-1].replace(method="HEAD"))
    storage.remove("http://a/", asks[-1])
    assert not await storage.get("http://a/", asks[-1])
    assert len(await storage.get("http://a/")) == MOST_VARIANTS - 1
    await storage.close()


async def test_the_body_of_another_variant_is_not_read_from_the_file(tmp_path: Path) -> None:
    storage = SQLiteStorage(tmp_path / "cache.sqlite", 1 << 30, 1000)
    asks = [Request("GET", "http://a/", {"X": str(number)}) for number in range(4)]
    for ask in asks:
        storage.put(record(body=b"x" * 1_000_000, varies=("x",), variant=variant_of(ask, ("x",))))
    await storage.get("http://b/")
    tracemalloc.start()
    try:
        assert len(await storage.get("http://a/", asks[1])) == 1
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    await storage.close()


async def test_what_is_used_stays() -> None:
    storage = MemoryStorage(1 << 20, 3)
    for url in ("http://1/", "http://2/", "http://3/"):
        storage.put(record(url))
    await storage.get("http://1/")
    storage.put(record("http://4/"))
    assert [bool(await storage.get(f"http://{number}/")) for number in (1, 2, 3, 4)] == [True, False, True, True]


# --- the file ---------------------------------------------------------------------------------------------------------


async def test_it_outlives_the_program(http_server: OriginServer, tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    http_server.routes["/r"] = Reply(b"x" * 100_000, fields=FRESH)
    for _ in range(2):
        async with Client(trust_env=False, cache=path) as client:
            answer = await client.get(f"{http_server.url}/r")
    assert answer.from_cache
    assert len(http_server.requests) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "others may read what was for one user"


async def test_another_process_shares_it(http_server: OriginServer, tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    http_server.routes["/r"] = Reply(b"shared", fields=FRESH)
    program = """
import asyncio, sys
from aiohttpconn import Client
async def main():
    async with Client(cache=sys.argv[1], trust_env=False) as client:
        response = await client.get(sys.argv[2])
        print(response.text, response.from_cache)
asyncio.run(main())
"""
    async with Client(trust_env=False, cache=path) as client:
        await client.get(f"{http_server.url}/r")
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(path), f"{http_server.url}/r", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await other.communicate()
    assert out.split() == [b"shared", b"True"]


async def test_another_process_that_opens_and_closes_it_takes_nothing_away(tmp_path: Path) -> None:
    """The last to close a file writes its -wal into it and removes that: nobody is the last while this one has it."""
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM totals').fetchone()"
    path = tmp_path / "cache.sqlite"
    storage: Storage = SQLiteStorage(path, 1 << 20, 100)
    await storage.get("http://a/")
    storage.put(record())
    storage = await kept(storage)
    await storage.get("http://a/")  # the reader has it open, and the writer opens it after that
    await storage.clear()
    beside = set(tmp_path.iterdir())
    assert len(beside) == 3
    other = await asyncio.create_subprocess_exec(sys.executable, "-W", "ignore", "-c", program, str(path))
    assert await other.wait() == 0
    assert set(tmp_path.iterdir()) == beside
    await storage.close()


async def test_several_open_a_new_file_at_once(tmp_path: Path) -> None:
    for number in range(10):
        storages = [SQLiteStorage(tmp_path / f"{number}.sqlite", 1 << 20, 100) for _ in range(8)]
        assert await asyncio.gather(*[storage.get("http://a/") for storage in storages]) == [[]] * 8
        for storage in storages:
            storage.put(record())
            await storage.close()


async def test_a_file_that_another_has_locked_is_no_error(
    http_server: OriginServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_WAIT", 0.001)
    path = tmp_path / "cache.sqlite"
    http_server.routes["/r"] = Reply(b"x", fields=FRESH)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with Client(trust_env=False, cache=path) as client:
            assert not (await client.get(f"{http_server.url}/r")).from_cache
            other.execute("COMMIT")
            await client.get(f"{http_server.url}/r")
            assert (await client.get(f"{http_server.url}/r")).from_cache
    other.close()


async def test_no_credentials_are_written(http_server: OriginServer, tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    http_server.routes["/r"] = Reply(b"x", fields=[*FRESH, ("Vary", "Cookie"), ("Set-Cookie", "sid=geheim2")])
    async with Client(trust_env=False, cache=path, cookies={"sid": "geheim1"}) as client:
        await client.get(f"http://user:geheim3@127.0.0.1:{http_server.port}/r", headers={"Authorization": "geheim4"})
    assert b"geheim" not in path.read_bytes()
    assert b"max-age" in path.read_bytes()


@pytest.mark.parametrize("what", ["text", "database", "folder"])
async def test_a_file_that_is_something_else_is_left_alone(
    what: str, http_server: OriginServer, tmp_path: Path
) -> None:
    path = tmp_path / "other"
    if what == "text":
        path.write_text("my diary " * 1000)
    elif what == "database":
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE diary (day TEXT)")
        db.close()
    else:
        path.mkdir()
    before = path.read_bytes() if path.is_file() else None
    async with Client(trust_env=False, cache=path) as client:
        for _ in range(2):
            with pytest.raises(OSError, match="other"):
                await client.get(http_server.url)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert http_server.requests == []


async def test_no_hit_waits_for_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_GATHERING", 0.0)
    storage = await kept(SQLiteStorage(tmp_path / "cache.sqlite", 1 << 20, 100))
    assert isinstance(storage, SQLiteStorage)
    storage.put(record("http://old/"))
    storage = await kept(storage)
    other = sqlite3.connect(tmp_path / "cache.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # nothing can be written
    try:
        ask = Request("GET", "http://new/", {"X": "1"})
        for body in (b"1", b"2"):
            storage.put(record("http://new/", body, varies=("x",), variant=variant_of(ask, ("x",))))
            while not storage._writing:
                await asyncio.sleep(0)
        storage.remove("http://gone/")
        assert [each.body for each in await storage.get("http://old/")] == [b"body"]
        assert [each.body for each in await storage.get("http://new/", ask)] == [b"2"]
        assert not await storage.get("http://new/", Request("GET", "http://new/", {"X": "2"}))
        storage.remove("http://old/")
        assert not await storage.get("http://old/")
        storage.remove("http://new/", ask)
        assert not await storage.get("http://new/", ask)
        storage.put(record("http://old/", b"newer"))
        assert [each.body for each in await storage.get("http://old/")] == [b"newer"]
    finally:
        other.execute("COMMIT")
        other.close()
    storage = await kept(storage)
    assert [each.body for each in await storage.get("http://old/")] == [b"newer"]
    assert not await storage.get("http://new/")
    await storage.close()


def test_what_is_stored_already_makes_nothing_slower(tmp_path: Path) -> None:
    file = Database(str(tmp_path / "cache.sqlite"))
    urls = iter([f"http://{number}/" for number in range(5000)])

    def steps(stored: int, bound: int = 5000) -> int:
        """Of SQLite, for one more record when so many are stored."""
        counted = 0

        def step() -> None:
            nonlocal counted
            counted += 1

        (there,) = file._open().execute("SELECT count(*) FROM responses").fetchone()
        file.write([], [record(next(urls)) for _ in range(stored - there)], (), 1 << 30, bound)
        file._open().set_progress_handler(step, 10)
        file.write([("http://gone/", None)], [record(next(urls))], (), 1 << 30, bound)
        file._open().set_progress_handler(None, 10)
        return counted

    few, few_to_go = steps(50), steps(60, bound=60)
    assert steps(3000) < 1.5 * few
    assert steps(4000, bound=4000) < 1.5 * few_to_go, "when another one has to go for it"
    file.close()


def test_the_totals_are_right_whatever_became_of_a_record(tmp_path: Path) -> None:
    file = Database(str(tmp_path / "cache.sqlite"))

    def write(removed: list[str], *stored: Record) -> tuple[int, int]:
        file.write([(url, None) for url in removed], stored, (), 1 << 20, 100)
        (totals,) = file._open().execute("SELECT entries, size FROM totals").fetchall()
        return totals  # type: ignore[no-any-return]

    one, longer, other = record(), record(body=b"x" * 100), record("http://b/")
    assert write([], one, other) == (2, one.size + other.size)
    assert write([], longer) == (2, longer.size + other.size), "one takes the place of the other"
    assert write(["http://a/", "http://c/"]) == (1, other.size)
    file.clear()
    assert write([]) == (0, 0)
    file.close()


async def test_what_was_used_last_stays_in_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_TOUCHED", -1.0)
    storage: Storage = SQLiteStorage(tmp_path / "cache.sqlite", 1 << 20, 3)
    for url in ("http://1/", "http://2/", "http://3/"):
        storage.put(record(url))
    storage = await kept(storage)
    await storage.get("http://1/")
    storage = await kept(storage)
    storage.put(record("http://4/"))
    storage = await kept(storage)
    assert [bool(await storage.get(f"http://{number}/")) for number in (1, 2, 3, 4)] == [True, False, True, True]
    await storage.close()


async def test_a_disk_that_does_not_keep_up_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_PENDING", 10_000)
    path = tmp_path / "cache.sqlite"
    storage = SQLiteStorage(path, 1 << 30, 1000)
    await storage.get("http://a/")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for number in range(100):
        storage.put(record(f"http://{number}/", b"x" * 2000))
        storage.put(record(f"http://{number}/", b"x" * 2000))
    assert [number for number in range(100) if await storage.get(f"http://{number}/")] == [0, 1, 2]
    assert 7500 < storage._size <= 10_000, "what takes the place of another does not count twice"
    other.execute("COMMIT")
    other.close()
    await storage.clear()
    assert storage._size == 0
    await storage.close()
    await storage.close()
    storage.put(record())
    assert list(await storage.get("http://a/")) == []


WRITER = """
import asyncio, itertools, sys
from aiohttpconn import Cache, Client
from aiohttpconn.testing import MockResponse, MockTransport

path, name = sys.argv[1:]

def answer(request):
    return MockResponse(content=request.url.path.encode() * 300, headers={"Cache-Control": "max-age=1000"})

async def main():
    async with Cache(path, max_entries=300) as cache, Client(transport=MockTransport(answer), cache=cache) as client:
        for number in itertools.count():
            await client.get(f"http://a/{name}/{number}")
            if number % 100 == 0:
                print(number, flush=True)

asyncio.run(main())
"""


async def test_killed_while_they_write_they_leave_whole_records_only(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(path), str(number), stdout=asyncio.subprocess.PIPE
        )
        for number in range(2)
    ]
    written = tmp_path / "cache.sqlite-wal"
    for writer in writers:
        assert writer.stdout is not None
        for _ in range(5):
            assert await writer.stdout.readline()
        # Some transactions: 500 pages may be fetched before the first.
        while not written.exists() or written.stat().st_size < 500_000:
            assert await writer.stdout.readline()
    for writer in writers:
        writer.kill()
        await writer.communicate()
    asked: list[str] = []

    def answer(request: Request) -> MockResponse:
        asked.append(request.url.path)
        return MockResponse(content=b"not stored")

    async with Client(transport=MockTransport(answer), cache=path) as client:
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            (count, size) = db.execute("SELECT count(*), sum(size) FROM responses").fetchone()
            assert db.execute("SELECT entries, size FROM totals").fetchall() == [(count, size)]
            urls = [url for (url,) in db.execute("SELECT url FROM responses")]
        db.close()
        assert 0 < count <= 300
        for url in urls:
            answered = await client.get(url)
            assert answered.content == answered.url.path.encode() * 300
    assert not asked


async def test_a_file_that_was_damaged_meanwhile_is_no_cache(http_server: OriginServer, tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    http_server.routes["/r"] = Reply(b"x", fields=FRESH)
    async with Cache(path) as cache, Client(trust_env=False, cache=cache) as client:
        await client.get(f"{http_server.url}/r")
        with sqlite3.connect(path) as db:
            db.execute("DROP TABLE responses")
        db.close()
        assert (await client.get(f"{http_server.url}/r")).status == 200
        assert (await client.get(f"{http_server.url}/r")).status == 200
