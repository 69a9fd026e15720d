"""The cache before the real nginx: what its log says of what it was asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import Client
from tests.servers.logged_nginx import serving

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    import trustme

    from tests.servers.logged_nginx import LoggedNginx

pytestmark = pytest.mark.interop

LOCATIONS = """
    location /fresh { expires 1h; try_files /f =404; }
    location /etag { expires -1; try_files /f =404; }
    location /modified { expires epoch; etag off; try_files /f =404; }
    location /gzip { expires 1h; gzip on; gzip_vary on; gzip_types *; try_files /f =404; }
    location /no-store { add_header Cache-Control no-store; try_files /f =404; }
    location /stale { add_header Cache-Control "max-age=0, stale-while-revalidate=600"; try_files /f =404; }
"""
FILE = b"a page of some size " * 500
THEN = 1_600_000_000


@pytest.fixture(scope="module")
def running(ca: trustme.CA) -> Iterator[LoggedNginx]:
    with serving(ca, LOCATIONS) as server:
        yield server


@pytest.fixture
def server(running: LoggedNginx) -> LoggedNginx:
    """It serves `FILE`; nothing is in its log yet."""
    running.put(FILE, THEN)
    running.logged()
    return running


def asked(server: LoggedNginx) -> list[int]:
    """What it answered since the last call."""
    return [each.status for each in server.logged()]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_of_fifty_at_a_time_one_is_asked(scheme: str, server: LoggedNginx, client_ctx: ssl.SSLContext) -> None:
    url = f"{server.url if scheme == 'http' else server.https}/fresh"
    async with Client(trust_env=False, cache=True, verify=client_ctx) as client:
        answers = await asyncio.gather(*[client.get(url) for _ in range(50)])
        answers.append(await client.get(url))
    assert {answer.content for answer in answers} == {FILE}
    assert sorted(answer.from_cache for answer in answers) == [False] + [True] * 50
    assert asked(server) == [200]


@pytest.mark.parametrize("by", ["etag", "modified"])
async def test_revalidated(by: str, server: LoggedNginx) -> None:
    async with Client(trust_env=False, cache=True) as client:
        for expected in ([200], [304], [304]):
            answer = await client.get(f"{server.url}/{by}")
            assert (answer.status, answer.content, answer.from_cache) == (200, FILE, expected == [304])
            assert asked(server) == expected
        assert ("ETag" in answer.headers) == (by == "etag")
        server.put(FILE[::-1], THEN + 1)
        answer = await client.get(f"{server.url}/{by}")
        assert (answer.content, answer.from_cache) == (FILE[::-1], False)
    assert asked(server) == [200]


async def test_each_coding_is_stored_for_itself(server: LoggedNginx) -> None:
    async with Client(trust_env=False, cache=True) as client:

        async def get(coding: str, **fields: str) -> tuple[str, bool]:
            answer = await client.get(f"{server.url}/gzip", headers={"Accept-Encoding": coding, **fields})
            assert answer.content == FILE
            assert answer.headers["Vary"] == "Accept-Encoding"
            return answer.headers.get("Content-Encoding", "identity"), answer.from_cache

        for fetched in (True, False):
            for coding in ("gzip", "identity"):
                assert await get(coding) == (coding, not fetched)
        assert asked(server) == [200, 200]
        # Its ETag is a weak one, for it is compressed anew each time.
        assert await get("gzip", **{"Cache-Control": "no-cache"}) == ("gzip", True)
    assert asked(server) == [304]


async def test_what_it_forbids_to_store(server: LoggedNginx) -> None:
    async with Client(trust_env=False, cache=True) as client:
        assert [(await client.get(f"{server.url}/no-store")).from_cache for _ in range(2)] == [False, False]
    assert asked(server) == [200, 200]


async def test_stale_while_it_is_revalidated(server: LoggedNginx) -> None:
    url = f"{server.url}/stale"
    async with Client(trust_env=False, cache=True) as client:
        await client.get(url)
        server.put(FILE[::-1], THEN + 1)
        with server.stopped():
            answers = [await client.get(url) for _ in range(5)]
        assert {(answer.content, answer.from_cache) for answer in answers} == {(FILE, True)}
        # In the background, it was asked once for all of them; whoever waits for a turn of the loop finds it stored.
        seen = asked(server)
        while len(seen) < 2:
            await asyncio.sleep(0.001)
            seen += asked(server)
        assert seen == [200, 200]
        answer = await client.get(url)
        while answer.content == FILE:
            await asyncio.sleep(0.001)
            answer = await client.get(url)
        assert answer.from_cache


async def test_a_second_client_finds_what_the_first_one_stored(server: LoggedNginx, tmp_path: Path) -> None:
    for stored in (False, True):
        async with Client(trust_env=False, cache=tmp_path / "responses.sqlite") as client:
            for path in ("fresh", "gzip"):
                answer = await client.get(f"{server.url}/{path}")
                assert (answer.content, answer.from_cache) == (FILE, stored)
    assert asked(server) == [200, 200]
