"""`client.download_all`: many files."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pickle
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import ChecksumMismatch, Client, DownloadResult, HTTPStatusError, Timeout, TotalTimeout
from tests.download.server import BODY, Answer, FileServer
from tests.servers.origin import pattern
from tests.servers.raw import Connection, Received

if TYPE_CHECKING:
    from tests.servers.nginx import Nginx


async def test_one_that_fails_does_not_stop_the_others(server: FileServer, client: Client, tmp_path: Path) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        return Answer(404, [], b"") if request.path == "/bad" else answer

    server.twist = twist
    items = [(f"{server.url}/a", "a"), (f"{server.url}/bad", "b"), f"{server.url}/c.bin", f"{server.url}/x/c.bin"]
    items += [(f"{server.url}/a", tmp_path / "a")]
    results = await client.download_all(items, concurrency=2, directory=tmp_path)
    assert [result.ok for result in results] == [True, False, True, True, False]
    assert [result.url for result in results[:2]] == [f"{server.url}/a", f"{server.url}/bad"]
    assert isinstance(results[1].error, HTTPStatusError)
    with pytest.raises(HTTPStatusError):
        results[1].unwrap()
    assert "another item" in str(results[4].error)
    names = {result.unwrap().path.name for result in results[2:4]}
    assert names in ({"c.bin", "c-3.bin"}, {"c.bin", "c-4.bin"})  # the number is the item's, whichever is second
    assert set(os.listdir(tmp_path)) == {"a", *names}


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("order", [1, -1])
async def test_a_name_from_a_url_is_not_what_another_item_is_saved_as(
    concurrency: int, order: int, client: Client, tmp_path: Path
) -> None:
    bodies = {"/x.bin": b"a" * 1000, "/y/x.bin": b"b" * 2000, "/other": b"c" * 3000, "/sub/X.bin": b"d" * 4000}

    class Several(FileServer):
        def answer(self, request: Received) -> Answer:
            self.body = bodies[request.path]
            return super().answer(request)

    async with Several() as server:
        (tmp_path / "sub").mkdir()
        items: list[object] = [f"{server.url}{path}" for path in ("/x.bin", "/y/x.bin")]
        items += [(f"{server.url}/other", "x.bin"), (f"{server.url}/sub/X.bin", "sub/")]
        items = items[::order]
        for _ in range(2):  # and another run finds them
            results = await client.download_all(items, directory=tmp_path, concurrency=concurrency)
            found = {result.url.removeprefix(server.url): result.unwrap().path for result in results}
            assert {path: found[path].read_bytes() for path in bodies} == bodies
            assert found["/other"].relative_to(tmp_path) == Path("x.bin")
            assert found["/sub/X.bin"].relative_to(tmp_path) == Path("sub/X.bin")
            numbers = ("x-1.bin", "x-2.bin") if order == 1 else ("x-4.bin", "x-3.bin")
            assert (found["/x.bin"].name, found["/y/x.bin"].name) == numbers
        assert all(result.unwrap().fetched <= 1 for result in results)


async def test_a_mapping_of_url_to_path(server: FileServer, client: Client, tmp_path: Path) -> None:
    items: dict[str, str | Path] = {f"{server.url}/a": "x", f"{server.url}/b": tmp_path / "y"}
    results = await client.download_all(items, directory=tmp_path)
    assert [result.unwrap().path.name for result in results] == ["x", "y"]
    assert sorted(os.listdir(tmp_path)) == ["x", "y"]


async def test_of_an_iterator_a_path_that_comes_too_late_is_refused(
    server: FileServer, client: Client, tmp_path: Path
) -> None:
    items = iter([f"{server.url}/x.bin", (f"{server.url}/other", "x.bin"), (f"{server.url}/other", "y.bin")])
    results = await client.download_all(items, directory=tmp_path, concurrency=1)
    assert [result.ok for result in results] == [True, False, True]
    with pytest.raises(ValueError, match=r"another item is saved as .*x\.bin"):
        results[1].unwrap()
    assert sorted(os.listdir(tmp_path)) == ["x.bin", "y.bin"]


async def test_an_item_may_have_keywords_and_each_result_is_told_of(
    server: FileServer, client: Client, tmp_path: Path
) -> None:
    told: list[DownloadResult] = []
    items = [(server.url, "a", {"checksum": "md5:" + "0" * 32}), (server.url, "b", {"segments": 2}), server.url]
    results = await client.download_all(items, concurrency=1, directory=tmp_path, on_result=told.append)
    assert told == results
    again = [pickle.loads(pickle.dumps(result)) for result in results]
    assert again[1:] == results[1:]
    assert str(again[0].error) == str(results[0].error)  # exceptions are equal to themselves only
    assert [result.ok for result in results] == [False, True, True]
    assert isinstance(results[0].error, ChecksumMismatch)


async def test_items_are_taken_as_they_are_begun(server: FileServer, client: Client, tmp_path: Path) -> None:
    taken = 0

    async def items() -> AsyncIterator[tuple[str, Path]]:
        nonlocal taken
        for number in range(6):
            taken += 1
            yield server.url, tmp_path / str(number)

    most = 0

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        nonlocal most
        most = max(most, taken - number)
        return answer

    server.twist = twist
    results = await client.download_all(items(), concurrency=2)
    assert [result.unwrap().path.name for result in results] == list("012345")
    assert most <= 2
    assert await client.download_all([]) == []
    for wrong in (0, True, "x"):
        with pytest.raises((ValueError, TypeError), match="concurrency"):
            await client.download_all([], concurrency=wrong)  # type: ignore[arg-type]


async def test_cancelled_all_can_be_gone_on_with(server: FileServer, client: Client, tmp_path: Path) -> None:
    halfway = asyncio.Event()
    begun = 0

    async def hang() -> None:
        nonlocal begun
        begun += 1
        if begun == 3:
            halfway.set()
        await asyncio.sleep(60)

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        answer.cut, answer.length, answer.after = len(BODY) // 2, len(BODY), hang
        return answer

    server.twist = twist
    items = [(server.url, tmp_path / str(number)) for number in range(5)]
    call = asyncio.create_task(client.download_all(items, concurrency=3, progress=True))
    await halfway.wait()
    while any(not (tmp_path / f"{number}.part.jsonl").exists() for number in range(3)):
        await asyncio.sleep(0)
    while any((tmp_path / f"{number}.part").stat().st_size <= 2**20 for number in range(3)):
        await asyncio.sleep(0.001)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    server.twist = lambda request, number, answer: answer
    results = await client.download_all(items, concurrency=3)
    assert [result.unwrap().path.read_bytes() == BODY for result in results] == [True] * 5
    assert [result.unwrap().resumed_from > 2**20 for result in results] == [True] * 3 + [False] * 2


async def test_the_same_call_again_fetches_nothing(server: FileServer, client: Client, tmp_path: Path) -> None:
    # Whoever is answered first: in the second run the last two come the other way round.
    bodies = {"/a": BODY[:1000], "/x/c.bin": BODY[1000:3000], "/y/c.bin": BODY[3000:4500]}
    first_answered = asyncio.Event()

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        assert request.get("Range") in (None, "bytes=0-0")
        server.body = bodies[request.path]
        return server.answer(request)

    server.twist = twist
    named = [(f"{server.url}/a", str(tmp_path / "a"))]
    in_folder = [f"{server.url}/x/c.bin", f"{server.url}/y/c.bin"]
    first = [result.unwrap() for result in await client.download_all(named)]
    first += [r.unwrap() for r in await client.download_all(in_folder, directory=tmp_path, concurrency=1)]
    assert [download.path.name for download in first] == ["a", "c.bin", "c-2.bin"]
    # Interrupted, so that c-2.bin is not there yet.
    (tmp_path / "c-2.bin").unlink()
    slow = "/x/c.bin"

    async def play(items: list[str]) -> list[str]:
        results = await client.download_all(items, directory=tmp_path, concurrency=2)
        return [f"{result.unwrap().path.name} {result.unwrap().fetched}" for result in results]

    class Late(FileServer):
        """Answers one path after the other has been answered."""

        async def play(self, conn: Connection) -> None:
            request = await conn.read_head()
            if request.path == slow:
                await first_answered.wait()
            answer = twist(request, 0, self.answer(request))
            answer.fields.append(("Connection", "close"))
            await conn.send(answer.head() + answer.body)
            first_answered.set()

    async with Late() as late:
        items = [f"{late.url}/x/c.bin", f"{late.url}/y/c.bin"]
        assert await play(items) == ["c.bin 0", "c-2.bin 1500"]
        first_answered.clear()
        assert await play(items) == ["c.bin 0", "c-2.bin 0"]
    again = (await client.download_all(named))[0].unwrap()
    assert (again.fetched, again.size, again.resumed_from, again.segments) == (0, 1000, 1000, 0)
    # What has changed is replaced under a name of the caller's, and kept under a server's.
    server.modified = "Thu, 22 Oct 2015 07:28:00 GMT"
    assert (await client.download_all(named))[0].unwrap().fetched == 1000
    kept = await client.download_all(in_folder[:1], directory=tmp_path)
    assert isinstance(kept[0].error, FileExistsError)


async def test_what_is_there_by_its_checksum_is_not_asked_for(
    server: FileServer, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(BODY)
    checksum = "sha256:" + hashlib.sha256(BODY).hexdigest()
    download = await client.download(server.url, tmp_path / "f", checksum=checksum)
    assert (download.fetched, download.verified, len(server.requests)) == (0, (checksum,), 0)
    (tmp_path / "f").write_bytes(b"x" + BODY[1:])
    assert (await client.download(server.url, tmp_path / "f", checksum=checksum)).fetched == len(BODY)
    assert (await client.download(server.url, tmp_path / "f", overwrite=True)).fetched == len(BODY)


async def test_what_is_no_item_is_its_own_result(server: FileServer, client: Client, tmp_path: Path) -> None:
    items = [(server.url, 5), (server.url, "p", "x"), 7, [server.url, str(tmp_path / "f")]]
    results = await client.download_all(items, directory=tmp_path)
    assert [type(result.error) for result in results] == [TypeError, TypeError, TypeError, type(None)]
    for wrong in (server.url, server.url.encode(), 5):
        with pytest.raises(TypeError, match="items must be several"):
            await client.download_all(wrong)  # type: ignore[arg-type]


async def test_a_source_of_items_that_fails(server: FileServer, client: Client, tmp_path: Path) -> None:
    def items() -> Iterator[tuple[str, Path]]:
        yield server.url, tmp_path / "a"
        yield server.url, tmp_path / "b"
        raise KeyError("no more")

    with pytest.raises(KeyError) as info:
        await client.download_all(items(), concurrency=3)
    assert info.value.__notes__[0].startswith("2 files are there")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == BODY


async def test_from_nginx_stopped_and_run_again(nginx: Nginx, client: Client, tmp_path: Path) -> None:
    urls = [f"{nginx.http}/big"]
    stopped = await client.download_all(
        urls, directory=tmp_path, timeout=Timeout(total=0.2), limit_rate=nginx.big, segments=2
    )
    assert isinstance(stopped[0].error, TotalTimeout)
    resumed = (await client.download_all(urls, directory=tmp_path, segments=2))[0].unwrap()
    assert resumed.resumed_from > 0
    assert resumed.path.read_bytes() == pattern(nginx.big)
    again = (await client.download_all(urls, directory=tmp_path))[0].unwrap()
    assert (again.fetched, again.path, sorted(os.listdir(tmp_path))) == (0, resumed.path, ["big"])
