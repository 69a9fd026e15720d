"""A map's checkpoint: what is finished is not sent again, whatever ended the run before."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, Frontier, Request
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def targets(server: OriginServer) -> list[str]:
    """What the server was asked for since the last time."""
    seen = sorted(request.target for request in server.requests)
    server.requests.clear()
    return seen


def finished_in(path: Path) -> int:
    """How many the file says are finished."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM finished").fetchone()[0])


async def test_the_next_run_leaves_out_what_is_finished(
    tmp_path: Path, client: Client, http_server: OriginServer
) -> None:
    path = tmp_path / "done.sqlite"
    urls = [f"{http_server.url}/bytes/{size}" for size in range(700)]  # more than are looked up at a time
    first = [result async for result in client.map(urls[:600:2], checkpoint=path)]
    assert len(first) == 300
    targets(http_server)
    second = [result async for result in client.map(urls, checkpoint=path, ordered=True)]
    assert [result.index for result in second] == [n for n in range(700) if n % 2 or n >= 600]
    assert len(targets(http_server)) == 400
    assert [result async for result in client.map(urls, checkpoint=path)] == []
    assert targets(http_server) == []


async def test_requests_are_told_by_method_url_and_body(
    tmp_path: Path, client: Client, http_server: OriginServer
) -> None:
    url = http_server.url + "/echo"
    requests: list[Any] = [
        url,
        client.build_request("DELETE", url),
        client.build_request("POST", url, content=b"a"),
        client.build_request("POST", url, content=b"b"),
        url + "?",
    ]
    for expected in (5, 0):
        assert len([result async for result in client.map(requests, checkpoint=tmp_path / "c")]) == expected
    assert len([result async for result in client.map([url + "#part"], checkpoint=tmp_path / "c")]) == 0

    async def body() -> AsyncIterator[bytes]:
        yield b"a"

    streamed = client.build_request("POST", url, content=body())
    [result] = [result async for result in client.map([streamed], checkpoint=tmp_path / "c")]
    assert isinstance(result.error, TypeError)


async def test_requests_are_told_by_their_own_fields(tmp_path: Path, http_server: OriginServer) -> None:
    """Not by those that the client gives to all: they may be others in the next run."""
    url = http_server.url + "/echo"
    path = tmp_path / "c"
    languages = ["fr", "de"]

    def requests(client: Client) -> list[Any]:
        made = [client.build_request("GET", url, headers={"Accept-Language": language}) for language in languages]
        by_hand = [Request("GET", url, {"accept-LANGUAGE": "fr"}), Request("GET", url)]
        return [*made, *by_hand, url]

    async with Client(trust_env=False, headers={"User-Agent": "one"}) as client:
        results = client.map(requests(client)[:1], checkpoint=path)
        assert [result.index async for result in results] == [0]
    async with Client(trust_env=False, headers={"User-Agent": "another"}) as client:
        results = client.map(requests(client), checkpoint=path, headers={"X-A": "b"}, ordered=True)
        assert [result.index async for result in results] == [1, 3, 4]
    assert b"language" not in path.read_bytes().lower()


async def test_what_failed_is_tried_again(tmp_path: Path, client: Client, http_server: OriginServer) -> None:
    http_server.routes["/handled"] = Reply(b"no")
    paths = ["/status/200", "/status/404", "/status/500", "/status/503", "/status/429", "/handled"]

    async def handle(response: Any) -> None:
        if response.content == b"no":
            raise LookupError

    urls = [http_server.url + path for path in paths] + ["nonsense"]
    for expected in (paths, ["/status/503", "/status/429", "/handled"]):
        results = [result async for result in client.map(urls, checkpoint=tmp_path / "c", handle=handle)]
        assert [result.url for result in results if result.request is None] == ["nonsense"]
        assert set(targets(http_server)) == set(expected)


async def test_finished_is_what_was_followed_by_the_next(
    tmp_path: Path, client: Client, http_server: OriginServer
) -> None:
    """With `break`, or an error, what is in hand is not finished; with the end of the block it is."""
    urls = [f"{http_server.url}/bytes/{size}" for size in range(6)]
    count = 0
    async for _ in client.map(urls, checkpoint=tmp_path / "c", ordered=True):
        count += 1
        if count == 3:
            break
    while finished_in(tmp_path / "c") < 2:  # without a block, the file is written a moment later
        await asyncio.sleep(0.005)
    left = [result async for result in client.map(urls, checkpoint=tmp_path / "c", ordered=True)]
    assert [result.index for result in left] == [2, 3, 4, 5]
    async with client.map(urls, checkpoint=tmp_path / "d", ordered=True) as results:
        await anext(results)
    async with client.map(urls, checkpoint=tmp_path / "d", ordered=True) as results:
        assert (await anext(results)).index == 1
    with pytest.raises(LookupError):
        async with client.map(urls, checkpoint=tmp_path / "d", ordered=True) as results:
            await anext(results)
            raise LookupError
    async with client.map(urls, checkpoint=tmp_path / "d", ordered=True) as results:
        assert (await anext(results)).index == 2


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_error_of_the_source(
    asynchronous: bool, tmp_path: Path, client: Client, http_server: OriginServer
) -> None:
    def broken() -> Any:
        yield from [f"{http_server.url}/bytes/{size}" for size in range(3)]
        raise LookupError("no more")

    async def broken_later() -> Any:
        for url in broken():
            yield url

    for expected in (3, 0):
        results = client.map(broken_later() if asynchronous else broken(), checkpoint=tmp_path / "c")
        for _ in range(expected):
            assert (await anext(results)).ok
        with pytest.raises(LookupError, match="no more"):
            await anext(results)


async def test_a_file_that_is_something_else(tmp_path: Path, client: Client, http_server: OriginServer) -> None:
    (tmp_path / "c").write_text("no database, and long enough to be read as one" * 100)
    with pytest.raises(OSError, match="give another path"):
        async for _ in client.map([http_server.url], checkpoint=tmp_path / "c"):
            pass
    with pytest.raises(TypeError, match="Frontier"):
        client.map(Frontier(), checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match="checkpoint"):
        client.map([], checkpoint="")
    with pytest.raises(ValueError, match="checkpoint"):
        Frontier(checkpoint="")


async def test_in_use_by_another_map(tmp_path: Path, client: Client, http_server: OriginServer) -> None:
    urls = [f"{http_server.url}/bytes/{size}" for size in range(4)]
    async with client.map(urls, checkpoint=tmp_path / "c", ordered=True) as first:
        await anext(first)
        with pytest.raises(BlockingIOError, match="c is in use"):
            await anext(client.map(urls, checkpoint=tmp_path / "c"))
        assert (await anext(first)).url == urls[1]
    left = [result.url async for result in client.map(urls, checkpoint=tmp_path / "c", ordered=True)]
    assert left == urls[2:]


KILLED = """
import asyncio, sys, time
from aiohttpconn import Client, Frontier

async def main():
    async with Client(trust_env=False) as client:
        urls = [f"{sys.argv[1]}/bytes/{size}" for size in range(60)]
        if sys.argv[3] == "map":
            results = client.map(urls, checkpoint=sys.argv[2], ordered=True)
        else:
            results = client.map(Frontier(urls, checkpoint=sys.argv[2]), ordered=True)
        for _ in range(31):
            await anext(results)
        time.sleep(0.3)  # what is older than 0.1 s is in the file, though the loop stands still
        print("now", flush=True)
        time.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["map", "frontier"])
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_killed_while_it_computes(kind: str, tmp_path: Path, client: Client, http_server: OriginServer) -> None:
    path = tmp_path / "c"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, http_server.url, str(path), kind), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        assert await asyncio.wait_for(child.stdout.readline(), 60) == b"now\n"
    finally:
        child.kill()
        await child.wait()
    child._transport.close()  # type: ignore[attr-defined]
    urls = [f"{http_server.url}/bytes/{size}" for size in range(60)]
    if kind == "map":
        left = [result.url async for result in client.map(urls, checkpoint=path, ordered=True)]
    else:
        async with Frontier(checkpoint=path) as frontier:
            left = [result.url async for result in client.map(frontier, ordered=True)]
    assert left == urls[30:]
