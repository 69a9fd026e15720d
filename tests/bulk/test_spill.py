"""Hosts that hang hold up their own requests only, however many: those are put aside, and memory stays flat."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sqlite3
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import URL, Client, Frontier, Request
from aiohttpconn.bulk.result import MapResult
from aiohttpconn.bulk.spill import Spill
from tests.auditing import audit_quiet, settle
from tests.bulk.test_map import Gate, until, with_host
from tests.bulk.test_politeness import Door
from tests.cancellation import cancel_everywhere
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.servers.raw import Received

LIMITS: dict[str, Any] = {"concurrency": 8, "per_host": 2, "window": 6}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held up reads on at once, and not in a tenth of a second."""
    monkeypatch.setattr("aiohttpconn.bulk.lookahead.PATIENCE", 0.001)
    monkeypatch.setattr("aiohttpconn.bulk.lookahead.LONGEST", 0.002)


@pytest.fixture
async def server() -> AsyncIterator[OriginServer]:
    """A server at every address of loopback, whose host 0 answers when its gate is opened."""
    async with OriginServer(host="0.0.0.0") as server:
        gate = server.routes["gate"] = Gate()

        def answer(request: Received) -> Any:
            return gate(request) if (request.get("Host") or "").startswith("127.0.1.0:") else Reply(b"quick")

        server.fallback = answer
        yield server
        await settle()


def gate_of(server: OriginServer) -> Gate:
    gate = server.routes["gate"]
    assert isinstance(gate, Gate)
    return gate


def is_hung(url: str) -> bool:
    return "//127.0.1.0:" in url


def alive(kind: type) -> int:
    gc.collect()
    return sum(isinstance(each, kind) for each in gc.get_objects())


def mixed(server: OriginServer, hosts: int = 10, each: int = 12) -> list[str]:
    """URLs of several hosts in turn; of host 0 as many as of another."""
    return [f"{with_host(server, number % hosts)}/{number}" for number in range(hosts * each)]


def drained(frontier: Frontier) -> list[str]:
    """What waits there."""
    return [str(entry.request) for entry in iter(frontier.take, None)]


def sorted_by_host(server: OriginServer) -> list[str]:
    """The host that hangs comes first."""
    hung = [f"{with_host(server, 0)}/{number}" for number in range(3000)]
    return hung + [url for url in mixed(server) if not is_hung(url)]


async def later(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


@pytest.mark.parametrize("kind", ["list", "requests", "async generator", "checkpoint", "frontier"])
@pytest.mark.parametrize("listed", [mixed, sorted_by_host])
async def test_all_others_are_done_while_one_hangs(
    kind: str, listed: Any, server: OriginServer, client: Client, tmp_path: Path
) -> None:
    urls: list[str] = listed(server)
    source: Any = urls
    options = dict(LIMITS)
    if kind == "requests":
        source = [client.build_request("PUT", url, content=url.encode()) for url in urls]
    elif kind == "async generator":
        source = later(urls)
    elif kind == "checkpoint":
        options["checkpoint"] = tmp_path / "done.sqlite"
    elif kind == "frontier":
        source = Frontier(urls)
    others = {url for url in urls if not is_hung(url)}
    found = set()
    async with client.map(source, **options) as results:
        for _ in range(len(others)):
            result = await anext(results)
            found.add(result.url)
            assert urls[result.index] == result.url
        assert found == others
        assert gate_of(server).held == 2
        if listed is mixed:
            gate_of(server).open.set()
            async for result in results:
                found.add(result.url)
                assert urls[result.index] == result.url
                assert result.request is not None
                if kind == "requests":
                    assert result.given == source[result.index]
                else:
                    assert result.given == result.url
            assert found == set(urls)
    assert alive(Spill) == 0


async def test_memory_stays_flat(server: OriginServer, client: Client) -> None:
    """An endless list for one host that hangs: it is read on, and no more of it is in memory than the window holds."""
    before = alive(MapResult) + alive(Request)
    read = 0

    def urls() -> Iterator[str]:
        nonlocal read
        for read in itertools.count():
            yield f"{with_host(server, 0)}/{read}"

    async with client.map(urls(), **LIMITS) as results:
        waits = asyncio.ensure_future(anext(results))
        await until(lambda: read > 3000)
        assert alive(MapResult) + alive(Request) - before <= 2 * (2 + 6)
        gate_of(server).open.set()
        await waits
        for _ in range(100):  # what is read back fits into the window, too
            await anext(results)
        assert alive(MapResult) + alive(Request) - before <= 2 * (3 * 8 + 6)


async def test_a_host_that_goes_on_again(server: OriginServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it has done all that was put aside, the rest is read without being held up again."""
    monkeypatch.setattr("aiohttpconn.bulk.workers.AT_A_TIME", 50)
    read = 0

    def urls() -> Iterator[str]:
        nonlocal read
        for read in range(1, 201):
            if read == 10:  # it reads on twice
                monkeypatch.setattr("aiohttpconn.bulk.lookahead.PATIENCE", 3600)
            yield f"{with_host(server, 0)}/{read}"

    async with client.map(urls(), **LIMITS) as results:
        first = asyncio.ensure_future(anext(results))
        await until(lambda: read == 2 + 6 + 50 + 50)
        gate_of(server).open.set()
        found = [await first] + [result async for result in results]
    assert sorted(result.index for result in found) == list(range(200))


async def test_each_hosts_are_sent_in_order(server: OriginServer, client: Client) -> None:
    """What cannot be written, too; and everything is as it was."""
    base = with_host(server, 0)

    def given() -> list[Any]:
        made: list[Any] = [f"{base}/0", *[f"{with_host(server, 1)}/{number}" for number in range(20)]]
        for number in range(1, 60):
            url = f"{base}/{number}"
            kinds: list[Any] = [
                url,
                URL(url),
                Request("PUT", url, [("B-a", "1"), ("A-b", "ü")], "ä"),
                Request("POST", url, {"Transfer-Encoding": "chunked"}, iter([b"once", b"only"])),
                Request("PATCH", url, {}, memoryview(b"view"), idempotent=True),
                f"nonsense {number}",
            ]
            made.append(kinds[number % len(kinds)])
        return made

    source = given()
    results = client.map(iter(source), concurrency=8, per_host=1, window=30)  # the ten that cannot be written fit in
    async with results:
        quick = [await anext(results) for _ in range(20 + 10)]
        assert gate_of(server).held == 1
        gate_of(server).open.set()
        rest = [result async for result in results]
    assert sorted(result.index for result in (*quick, *rest)) == list(range(len(source)))
    for result in rest:
        assert type(result.given) is type(source[result.index])
        assert result.given == source[result.index]
        assert result.ok
    seen = [request for request in server.requests if is_hung(f"http://{request.get('Host')}")]
    assert [int(request.path[1:]) for request in seen] == [0, *[number for number in range(1, 60) if number % 6 != 5]]
    bodies = {number: request.body for request in seen if (number := int(request.path[1:]) % 6) > 1}
    assert bodies == {2: b"\xe4", 3: b"onceonly", 4: b"view"}


async def test_bodies_that_cannot_be_written_count_against_the_window(server: OriginServer, client: Client) -> None:
    read = 0

    def requests() -> Iterator[Request]:
        nonlocal read
        for _ in range(50):
            read += 1
            yield Request("POST", with_host(server, 0) + "/x", {"Transfer-Encoding": "chunked"}, iter([b"x"]))

    async with client.map(requests(), **LIMITS) as results:
        waits = asyncio.ensure_future(anext(results))
        await until(lambda: gate_of(server).held == 2)
        await settle(50)
        assert read == 2 + 6
        gate_of(server).open.set()
        await waits
        assert len([result async for result in results]) == 49


async def test_in_order_it_goes_no_further(server: OriginServer, client: Client) -> None:
    """For the results would have to be kept, until that of the host that hangs has come."""
    read: list[str] = []

    def urls() -> Iterator[str]:
        for url in mixed(server):
            read.append(url)
            yield url

    async with client.map(urls(), ordered=True, **LIMITS) as results:
        waits = asyncio.ensure_future(anext(results))
        await until(lambda: len(read) == 8 + 6)
        await settle(50)
        assert len(read) == 8 + 6
        gate_of(server).open.set()
        await waits
        assert [result.index async for result in results] == list(range(1, 120))


async def test_hosts_that_rules_hold_back(server: OriginServer) -> None:
    async with Client(politeness=Door("127.0.1.0", "127.0.1.1"), trust_env=False) as client:
        urls = sorted_by_host(server)
        others = {url for url in urls if not is_hung(url) and "127.0.1.1:" not in url}
        async with client.map(urls, **LIMITS) as results:
            assert {(await anext(results)).url for _ in others} == others


async def test_an_ordinary_map_has_no_file(
    server: OriginServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*args: Any, **options: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(sqlite3, "connect", connect)
    assert len([result async for result in client.map(mixed(server)[1::2])]) == 60


@pytest.mark.parametrize("kind", ["list", "async generator", "frontier"])
async def test_a_full_disk_ends_the_map(
    kind: str, server: OriginServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def connect_to_a_full_disk(*args: Any, **options: Any) -> Any:
        connection = connect(*args, **options)
        connection.execute("PRAGMA max_page_count = 20")
        return connection

    urls = sorted_by_host(server)
    source: Any = {"list": urls, "async generator": later(urls), "frontier": Frontier(urls)}[kind]
    monkeypatch.setattr(sqlite3, "connect", connect_to_a_full_disk)
    gate = gate_of(server)
    async with aclosing(client.map(source, **LIMITS)) as results:
        first = asyncio.ensure_future(anext(results))
        await until(lambda: results._workers is not None and results._workers.failure is not None)
        gate.open.set()
        await first
        with pytest.raises(OSError, match="temporary file: database or disk is full"):
            [result async for result in results]
    assert alive(Spill) == 0


# --- of a frontier ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [False, True])
async def test_a_frontier_has_back_what_was_put_aside(
    keep: bool, server: OriginServer, client: Client, tmp_path: Path
) -> None:
    """Where the map is left; another goes on within its own budget."""
    urls = mixed(server)
    path = tmp_path / "crawl" if keep else None
    frontier = Frontier(urls, checkpoint=path, memory=16, max_pages=115)
    async with client.map(frontier, **LIMITS) as results:
        for _ in range(115 - 12):
            assert not is_hung((await anext(results)).url)
        assert repr(frontier) == "<Frontier 5 waiting, 13 under way>"  # with the one in hand
    assert repr(frontier) == "<Frontier 17 waiting, 0 under way>"
    gate_of(server).open.set()
    frontier.max_pages = 12  # of each map
    found = [result.url async for result in client.map(frontier, **LIMITS)]
    assert set(found) == {url for url in urls if is_hung(url)}
    assert len(found) == 12
    assert len(frontier) == 5
    await frontier.close()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_was_put_aside_goes_back_in_pieces(
    cancelled: bool, server: OriginServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop has its turns meanwhile, and the frontier is still the map's; if it is not awaited, nothing is lost."""
    monkeypatch.setattr("aiohttpconn.bulk.spill._AT_A_TIME", 3)
    urls = mixed(server, each=60)
    frontier = Frontier(urls)
    results = client.map(frontier, **LIMITS)
    for _ in range(540):
        in_hand = (await anext(results)).url
        assert not is_hung(in_hand)
    await until(lambda: frontier._aside > 50)
    closing = asyncio.ensure_future(results.aclose())
    sizes = []
    while not closing.done():
        sizes.append(len(frontier))
        if 0 < len(frontier) < 30:
            with pytest.raises(RuntimeError):
                frontier.claim()
            if cancelled:
                closing.cancel()
        await asyncio.sleep(0)
    assert len(set(sizes)) > (1 if cancelled else 15)
    assert closing.cancelled() == cancelled
    assert sorted(drained(frontier)) == sorted([in_hand, *filter(is_hung, urls)])
    await frontier.close()


async def test_a_crawl_that_is_killed_loses_nothing(server: OriginServer, client: Client, tmp_path: Path) -> None:
    urls = mixed(server)
    killed = Frontier(urls, checkpoint=tmp_path / "crawl")
    async with client.map(killed, **LIMITS) as results:
        for _ in range(108):
            await anext(results)
        await killed.settle()
        copies = [tmp_path / f"crawl{end}" for end in ("", "-wal", "-shm")]
        for file in copies:  # what a kill would leave now
            (tmp_path / file.name.replace("crawl", "left")).write_bytes(file.read_bytes())
    await killed.close()
    gate_of(server).open.set()
    async with Frontier(urls, checkpoint=tmp_path / "left") as frontier:
        found = [result.url async for result in client.map(frontier)]
    # The last result was in hand.
    assert {url for url in found if is_hung(url)} == {url for url in urls if is_hung(url)}
    assert len(found) == 12 + 1


async def test_within_a_host_by_priority(server: OriginServer, client: Client) -> None:
    base = with_host(server, 0)
    frontier = Frontier([f"{base}/{number}" for number in range(40)])
    quick = [with_host(server, 1) + f"/{number}" for number in range(10)]
    for url in quick:
        frontier.add(url, priority=-1)
    async with client.map(frontier, concurrency=8, per_host=1, window=6) as results:
        for _ in quick:
            assert not is_hung((await anext(results)).url)
        frontier.add(f"{base}/soon", priority=1)
        await until(lambda: not len(frontier))
        gate_of(server).open.set()
        found = [result.url.removeprefix(base) async for result in results]
    assert found.index("/soon") < 10
    found.remove("/soon")
    assert found == [f"/{number}" for number in range(40)]


# --- leaving it early -------------------------------------------------------------------------------------------------


async def test_break_leaves_nothing_behind(server: OriginServer, client: Client) -> None:
    done = 0
    async for _ in client.map(mixed(server), **LIMITS):
        done += 1
        if done == 100:
            assert alive(Spill) == 1
            break
    await settle(5)
    assert alive(Spill) == 0
    assert client.pool is not None
    audit_quiet(client.pool)


@pytest.mark.parametrize("kind", ["list", "frontier"])
async def test_cancelled_at_every_await(
    kind: str, server: OriginServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiohttpconn.bulk.lookahead.PATIENCE", 0)
    gate_of(server).open.set()
    urls = mixed(server, 2, 5)

    async def fetch_all() -> None:
        source: Any = Frontier(urls) if kind == "frontier" else urls
        async with client.map(source, concurrency=4, per_host=1, window=2) as results:
            assert len([result async for result in results]) == 10

    async def check() -> None:
        await settle(5)
        assert alive(Spill) == 0
        assert client.pool is not None
        audit_quiet(client.pool)

    assert await cancel_everywhere(fetch_all, check) > 0
