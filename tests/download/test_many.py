"""`client.download_all`: many files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from aiohttpconn import ChecksumMismatch, Client, DownloadResult, HTTPStatusError
from tests.download.server import BODY, Answer, FileServer
from tests.servers.raw import Received


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
    assert {result.unwrap().path.name for result in results[2:4]} == {"c.bin", "c-2.bin"}
    assert sorted(os.listdir(tmp_path)) == ["a", "c-2.bin", "c.bin"]


async def test_an_item_may_have_keywords_and_each_result_is_told_of(
    server: FileServer, client: Client, tmp_path: Path
) -> None:
    told: list[DownloadResult] = []
    items = [(server.url, "a", {"checksum": "md5:" + "0" * 32}), (server.url, "b", {"segments": 2}), server.url]
    results = await client.download_all(items, concurrency=1, directory=tmp_path, on_result=told.append)
    assert told == results
    assert [result.ok for result in results] == [False, True, True]
    assert isinstance(results[0].error, ChecksumMismatch)


async def test_only_if_changed_leaves_what_is_there(server: FileServer, client: Client, tmp_path: Path) -> None:
    items = [(f"{server.url}/a", "a"), f"{server.url}/b.bin"]

    async def again(**options: str) -> list[bool]:
        """For each whether it was fetched."""
        results = await client.download_all(
            [(url, path, options) for url, path in (items[0], (items[1], None))],  # type: ignore[misc]
            directory=tmp_path,
            only_if_changed=True,
            overwrite=True,
        )
        assert [result.unwrap().path.read_bytes() for result in results] == [server.body] * 2
        assert [result.unwrap().size for result in results] == [len(server.body)] * 2
        return [result.unwrap().fetched > 0 for result in results]

    assert await again() == [True, True]
    assert await again() == [False, False]
    assert await again(checksum="sha256:" + sha256(BODY).hexdigest()) == [False, False]
    content = bytearray(BODY)
    content[5] ^= 1
    times = (tmp_path / "a").stat().st_mtime
    (tmp_path / "a").write_bytes(content)  # of the same size and time: only the checksum knows
    os.utime(tmp_path / "a", (times, times))
    assert await again(checksum="sha256:" + sha256(BODY).hexdigest()) == [True, False]
    server.modified, server.etag = "Wed, 21 Oct 2015 07:28:01 GMT", '"v2"'
    assert await again() == [True, True]
    server.body = BODY[:-1]
    assert await again() == [True, True]
    server.modified = None  # nothing is known of it
    assert await again() == [True, True]


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
        with pytest.raises(ValueError, match="concurrency"):
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
