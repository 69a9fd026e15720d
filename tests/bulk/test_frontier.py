"""`Frontier`: each page once, in order, within its budgets, in bounded memory, and on again after the end of a run."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import URL, Client, Frontier, InvalidURL, Request
from aiohttpconn.bulk.identity import canonical_url
from tests.auditing import settle
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.raw import Received

SITE = "http://example.org"


def drained(frontier: Frontier) -> list[str]:
    """What the frontier has, one after the other, each of them finished."""
    found = []
    while (entry := frontier.take()) is not None:
        request = entry.request
        found.append(str(request.url if isinstance(request, Request) else request).removeprefix(SITE))
        frontier.done(entry, True)
    return found


def numbered(request: Received) -> Reply:
    """A site without end: page n links to 2n + 1 and 2n + 2, as JSON."""
    number = int(request.path.removeprefix("/n/"))
    links = [f"/n/{2 * number + 1}", f"/n/{2 * number + 2}#part", "/n/0", "mailto:somebody", "http://[bad"]
    return Reply(json.dumps(links).encode())


@pytest.fixture
async def site(http_server: OriginServer) -> str:
    """The URL of page 0."""
    http_server.fallback = numbered
    return f"{http_server.url}/n/0"


async def crawled(client: Client, frontier: Frontier, **options: Any) -> dict[str, int]:
    """The paths that were fetched, with their depth."""
    found = {}
    async for result in client.map(frontier, **options):
        found[result.unwrap().url.path] = result.depth
        frontier.add_links(result, result.unwrap().json())
    return found


# --- what is accepted -------------------------------------------------------------------------------------------------


def test_each_once_by_its_canonical_url() -> None:
    frontier = Frontier()
    spellings = ["/a?x=1&y=2", "/a?y=2&x=1", "/b/../a?x=1&y=2#top", ":80/a?x=1&y=2"]
    assert [frontier.add(SITE + text) for text in spellings] == [True, False, False, False]
    assert frontier.add("HTTP://user:word@EXAMPLE.org/a?x=1&y=2") is False
    assert frontier.add(f"{SITE}/a?x=1&y=3")
    assert frontier.add(f"{SITE}/a")
    assert not frontier.add(f"{SITE}/a?")
    assert not frontier.add(URL(f"{SITE}/a"))
    assert not frontier.add(Request("GET", f"{SITE}/a"))
    assert frontier.add(Request("POST", f"{SITE}/a", body=b"1"))
    assert frontier.add(Request("POST", f"{SITE}/a", body=b"2"))
    assert not frontier.add(Request("POST", f"{SITE}/a", body=memoryview(b"2")))
    assert len(frontier) == 5
    for wrong in ("nonsense", "ftp://example.org/"):
        with pytest.raises(InvalidURL):
            frontier.add(wrong)
    with pytest.raises(TypeError, match="body"):
        frontier.add(Request("POST", f"{SITE}/a", body=iter([b"1"])))
    with pytest.raises(TypeError, match="iterable"):
        Frontier(SITE)
    assert canonical_url(URL("http://a/?")) == "http://a/"


def test_spellings_of_one_page() -> None:
    same = [
        ("http://x.org/~u", "http://x.org/%7Eu"),
        ("http://x.org/~u?a=~", "http://x.org/%7eu?a=%7e"),
        ("http://x.org/a%2fb?c=%2f", "http://x.org/a%2Fb?c=%2F"),
        ("http://x.org/é", "http://x.org/%c3%a9"),
        ("http://x.org./", "http://x.org/"),
        ("http://x.org.:8000/", "http://x.org:8000/"),
        ("http://x.org/?a=1&", "http://x.org/?a=1"),
        ("http://x.org/?&&b=2&&a=1", "http://x.org/?a=1&b=2"),
        ("http://x.org/?&", "http://x.org/"),
        ("http://x.org/?b=%41&a", "http://x.org/?a&b=A"),
        ("http://[::1]/", "http://[0:0:0:0:0:0:0:1]:80/"),
    ]
    for one, other in same:
        assert canonical_url(URL(one)) == canonical_url(URL(other))
    distinct = [
        ("http://x.org/?a=b+c", "http://x.org/?a=b%20c"),
        ("http://x.org/a%2Fb", "http://x.org/a/b"),
        ("http://x.org/a%25", "http://x.org/a%2525"),
        ("http://x.org/a", "http://x.org/a/"),
        ("http://x.org/?a=1&a=1", "http://x.org/?a=1"),
        ("http://x.org/?a=1%26", "http://x.org/?a=1&"),
        ("http://x.org/", "https://x.org/"),
    ]
    for one, other in distinct:
        assert canonical_url(URL(one)) != canonical_url(URL(other))
    socket = "http+unix://%2Frun%2Fapp./a"
    assert canonical_url(URL(socket)) == socket


def test_ones_own_canonical_form() -> None:
    frontier = Frontier(canonical=lambda url: url.path.lower())
    assert frontier.add(f"{SITE}/A?1")
    assert not frontier.add(f"{SITE}/a?2")


async def test_wrong_values_change_nothing(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"priority": "high"}, TypeError),
        ({"priority": None}, TypeError),
        ({"priority": float("nan")}, TypeError),
        ({"priority": True}, TypeError),
        ({"priority": 2**63}, ValueError),
        ({"priority": -(2**63)}, ValueError),
        ({"depth": None}, TypeError),
        ({"depth": "1"}, TypeError),
        ({"depth": -1}, ValueError),
    ]
    async with Frontier(checkpoint=tmp_path / "f", max_depth=3, max_per_host=2) as frontier:
        for values, error in wrong:
            with pytest.raises(error, match=next(iter(values))):
                frontier.add(f"{SITE}/", **values)
        assert frontier.add(f"{SITE}/", priority=2**63 - 1)
        assert frontier.add(f"{SITE}/last", priority=-(2**63) + 1)
        await frontier.settle()
        assert drained(frontier) == ["/", "/last"]
    with pytest.raises(RuntimeError, match="closed"):
        frontier.add(f"{SITE}/2")
    async with Frontier() as frontier:
        pass
    with pytest.raises(RuntimeError, match="the frontier is closed"):
        frontier.add(f"{SITE}/2")
    options: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"memory": -5}, ValueError),
        ({"memory": None}, TypeError),
        ({"max_pages": "x"}, TypeError),
        ({"max_depth": "3"}, TypeError),
        ({"max_per_host": -1}, ValueError),
        ({"accept": 5}, TypeError),
        ({"canonical": None}, TypeError),
        ({"start": b"http://example.org/"}, TypeError),
    ]
    for values, error in options:
        with pytest.raises(error, match=next(iter(values))):
            Frontier(**values)


async def test_closed_before_its_map(client: Client, site: str, tmp_path: Path) -> None:
    """The map being left after it, what was under way is in the file."""
    for path in (tmp_path / "f", None):
        async with Frontier([site, site + "0"], checkpoint=path) as frontier:
            results = client.map(frontier)
            await anext(results)
        await results.aclose()
    async with Frontier(checkpoint=tmp_path / "f") as frontier:
        assert len(frontier) == 2


def test_limits() -> None:
    frontier = Frontier(max_depth=1, max_per_host=2, accept=lambda url: url.path != "/no")
    assert frontier.add(f"{SITE}/deep", depth=2) is False
    assert frontier.add(f"{SITE}/no") is False
    assert frontier.add(f"{SITE}/1", depth=1)
    assert frontier.add(f"{SITE}/2")
    assert frontier.add(f"{SITE}/3") is False
    assert frontier.add("http://other.example/3")


def test_order() -> None:
    frontier = Frontier([f"{SITE}/1", f"{SITE}/2"])
    frontier.add(f"{SITE}/later", priority=-1)
    frontier.add(f"{SITE}/first", priority=7)
    frontier.add(f"{SITE}/3")
    assert drained(frontier) == ["/first", "/1", "/2", "/3", "/later"]


@pytest.mark.parametrize("checkpoint", [False, True])
async def test_more_than_memory_holds(checkpoint: bool, tmp_path: Path) -> None:
    """The same as without a limit, whatever has gone to the file: each once, and in order."""
    chance = random.Random(1)
    small = Frontier(memory=20, checkpoint=tmp_path / "f" if checkpoint else None)
    large = Frontier()
    taken: list[list[str]] = [[], []]
    out: list[list[Any]] = [[], []]
    failed: list[str] = []
    for _ in range(2000):
        path, priority = f"{SITE}/{chance.randrange(700)}", chance.randrange(4)
        assert small.add(path, priority=priority) == large.add(path, priority=priority)
        take, done, finished = chance.random() < 0.2, chance.random() < 0.2, chance.random() < 0.9
        for frontier, seen, held in zip((small, large), taken, out, strict=True):
            if take and (entry := frontier.take()) is not None:
                seen.append(str(entry.request))
                held.append(entry)
            if done and held:
                entry = held.pop(0)
                frontier.done(entry, finished)
                if not finished and frontier is small:
                    failed.append(str(entry.request).removeprefix(SITE))
        if chance.random() < 0.02:
            await asyncio.sleep(0)
    assert len(small) == len(large)
    assert len(small._backlog._heap) <= 6
    assert len(small._seen._young) + len(small._seen._old) <= 20
    assert len(failed) > 10
    for frontier in (small, large):
        frontier.give_back()
    assert taken[0] + drained(small) == taken[1] + drained(large)
    await small.close()
    await small.close()
    if checkpoint:
        async with Frontier(checkpoint=tmp_path / "f") as again:
            assert sorted(drained(again)) == sorted(failed)


def test_no_add_writes_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to the file when memory is half full goes there little by little, and nobody waits for what was just
    put."""
    frontier = Frontier(memory=400)
    ledger = frontier._ledger
    put, mark, reach = ledger.put, ledger.mark, ledger.reach
    puts = adds = 0
    marks: dict[Any, int] = {}

    def counted(*args: Any, **options: Any) -> None:
        nonlocal puts
        puts += 1
        put(*args, **options)

    def marked() -> Any:
        made = mark()
        marks[made] = adds
        return made

    def reached(given: Any) -> None:
        assert marks[given] <= adds - 200
        reach(given)

    for name, replaced in (("put", counted), ("mark", marked), ("reach", reached)):
        monkeypatch.setattr(ledger, name, replaced)
    for number in range(2000):
        adds, puts = number, 0
        assert frontier.add(f"{SITE}/{number}")
        assert frontier._seen._stored == (number >= 399)
        assert puts <= 3 or number == 100  # where the half of those that wait is left to the file
    assert not any(frontier.add(f"{SITE}/{number}") for number in range(2000))


# --- crawling ---------------------------------------------------------------------------------------------------------


async def test_a_crawl_ends_when_nothing_is_left(client: Client, site: str, http_server: OriginServer) -> None:
    found = await crawled(client, Frontier([site], max_depth=5), concurrency=10)
    assert found == {f"/n/{number}": (number + 1).bit_length() - 1 for number in range(63)}
    assert len(http_server.requests) == 63


async def test_max_pages_and_the_rest(client: Client, site: str) -> None:
    frontier = Frontier([site], max_pages=10)
    assert len(await crawled(client, frontier, concurrency=1)) == 10
    assert len(frontier) == 11
    frontier.max_pages = 2
    assert set(await crawled(client, frontier, concurrency=1)) == {"/n/10", "/n/11"}


async def test_one_map_at_a_time(client: Client, site: str, http_server: OriginServer) -> None:
    urls = [f"{http_server.url}/n/{number}" for number in range(30)]
    frontier = Frontier(urls)
    first = client.map(frontier, concurrency=10)
    found = [(await anext(first)).url]
    with pytest.raises(RuntimeError, match="another map"):
        await anext(client.map(frontier))
    found.append((await anext(first)).url)
    await first.aclose()
    found += [result.url async for result in client.map(frontier)]
    assert sorted(found) == sorted([*urls, found[1]])  # what was in hand is fetched again


async def test_a_map_that_goes_with_its_loop(client: Client, site: str) -> None:
    """Its frontier serves another one."""
    frontier = Frontier([site])
    left = []

    async def first() -> None:
        async with Client(trust_env=False) as own:
            left.append(client_map := own.map(frontier))
            await anext(client_map)

    await asyncio.to_thread(asyncio.run, first())
    left.clear()
    assert [result.url async for result in client.map(frontier)] == [site]


async def test_fed_by_another_task(client: Client, site: str, http_server: OriginServer) -> None:
    """While something is under way, what is added is sent at once."""
    frontier = Frontier([http_server.url + "/hold"])

    async def crawl() -> list[str]:
        return [result.url async for result in client.map(frontier, timeout=0.3)]

    task = asyncio.create_task(crawl())
    while not http_server.requests:
        await asyncio.sleep(0.001)
    frontier.add(site)
    assert await task == [site, http_server.url + "/hold"]


async def test_without_a_map(client: Client, site: str) -> None:
    frontier = Frontier([f"{SITE}/{number}" for number in range(3)])
    found = []
    async for request in frontier:
        found.append(str(request).removeprefix(SITE))
        if len(found) < 3:
            frontier.add(f"{SITE}/{len(found) + 10}")
    assert found == ["/0", "/1", "/2", "/11", "/12"]


async def test_links(client: Client, site: str, http_server: OriginServer) -> None:
    """What is on a page is relative to where it was found, or to its own base. The map being left, it waits again, and
    so does the page that was in hand."""
    frontier = Frontier([http_server.url + "/redirect/302?/n/5"], max_depth=1)
    async for result in client.map(frontier, follow_redirects=True):
        if result.depth == 0:
            links = ["x", " /y ", None, "", "#top", "javascript:void(0)", "x", "/n/5?", "http://127.0.0.2/"]
            assert frontier.add_links(result, links) == 4
            assert frontier.add_links(result, links) == 0
            assert frontier.add_links(result, ["z"], base="/other/") == 1
            for no_base in ("http://[bad", "data:text/html,", ""):
                assert not frontier.add_links(result, ["x"], base=no_base)
            assert not frontier.add_links(result, [URL("http://127.0.0.2/"), URL(http_server.url + "/y")])
            assert frontier.add_links(result, [URL("http://127.0.0.3/")]) == 1
            for one in ("/about", b"/about", URL("http://127.0.0.2/")):
                with pytest.raises(TypeError, match="iterable"):
                    frontier.add_links(result, one)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="reference"):
                frontier.add_links(result, [7])  # type: ignore[list-item]
            break
    assert [path.removeprefix(http_server.url) for path in drained(frontier)] == [
        "/redirect/302?/n/5",
        "/n/x",
        "/y",
        "/n/5?",
        "http://127.0.0.2/",
        "/other/z",
        "http://127.0.0.3/",
    ]


async def test_the_next_run_goes_on(tmp_path: Path, client: Client, site: str, http_server: OriginServer) -> None:
    """Left in the midst, with pages under way and one in hand: all pages once, but for those."""
    path = tmp_path / "crawl"
    options: dict[str, Any] = {"max_depth": 6, "checkpoint": path, "max_per_host": 100}
    frontier = Frontier([site], **options)
    finished: set[str] = set()
    async for result in client.map(frontier, concurrency=3):
        if len(finished) == 40:
            break
        frontier.add_links(result, result.unwrap().json())
        finished.add(result.unwrap().url.path)
    await settle(5)
    await frontier.close()
    async with Frontier([site], **options) as frontier:
        rest = await crawled(client, frontier, concurrency=3)
    assert not finished & set(rest)
    assert len(finished) + len(rest) == 100
    assert all(depth == (int(path.rpartition("/")[2]) + 1).bit_length() - 1 for path, depth in rest.items())
    http_server.requests.clear()
    async with Frontier([site], **options) as frontier:
        assert await crawled(client, frontier) == {}
    assert http_server.requests == []


async def test_what_failed_is_tried_by_the_next_run(tmp_path: Path, client: Client, http_server: OriginServer) -> None:
    urls = [http_server.url + path for path in ("/status/503", "/status/404", "/status/200")]
    post = client.build_request("POST", http_server.url + "/status/503", content=b"a", headers={"X-A": "b"})
    for expected in (4, 2):
        async with Frontier([*urls, post], checkpoint=tmp_path / "f") as frontier:
            requests = [result.request async for result in client.map(frontier)]
        assert len(requests) == expected
    assert requests[1] == post


async def test_what_is_out_for_long_takes_no_memory(tmp_path: Path) -> None:
    """What failed, and what a map put aside: neither is given out again, also where it is among the next ones in the
    file, until it is put back, or by the next run."""
    frontier = Frontier(checkpoint=tmp_path / "f", memory=40)
    aside = []
    for number in range(300):
        frontier.add(f"{SITE}/{number}")
        entry = frontier.take()
        assert entry is not None
        if number % 3:
            frontier.done(entry, False)
        else:
            frontier.set_aside(entry)
            aside.append(entry)
    assert len(frontier._backlog._out) == 0
    for number in range(300, 330):  # they come before what is out, so that the file is read from there
        frontier.add(f"{SITE}/{number}", priority=1)
    frontier.take_up(aside[0])
    frontier.done(aside[0], True)
    frontier.put_back(aside[1])
    assert drained(frontier) == [f"/{number}" for number in [*range(300, 330), 3]]
    await frontier.close()
    async with Frontier(checkpoint=tmp_path / "f", memory=40) as again:
        assert drained(again) == [f"/{number}" for number in range(1, 300) if number != 3]


@pytest.mark.parametrize(("checkpoint", "next_run"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("memory", [8, 100_000])
async def test_what_was_handed_out_waits_again_in_its_place(
    checkpoint: bool, next_run: bool, memory: int, tmp_path: Path, client: Client, site: str
) -> None:
    """A map is left with requests under way and results not taken: by priority, and first come, first served within
    one, they come before what had not been handed out; of the same frontier, and of the next run's with its file."""
    path = tmp_path / "crawl" if checkpoint else None
    frontier = Frontier(memory=memory, checkpoint=path)
    priorities = [3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]
    for number, priority in enumerate(priorities):
        frontier.add(f"{site}?{number}", priority=priority)
    order = [str(number) for number in sorted(range(16), key=lambda number: -priorities[number])]
    for turn in range(2):
        async with client.map(frontier, concurrency=4, window=2) as results:
            taken = (await anext(results)).unwrap().url.query  # finished, with the end of the block
            await settle(3)
            if turn:  # so many that come before what is under way that this is no more among the next ones
                for number in range(16, 24):
                    frontier.add(f"{site}?{number}", priority=9)
                order = [str(number) for number in range(16, 24)] + order
        order.remove(taken)
        assert len(frontier) == len(order)
    results = client.map(frontier, concurrency=4)
    await anext(results)
    await results.aclose()  # in hand, and not finished
    assert len(frontier) == len(order)
    if next_run:
        await frontier.close()
        frontier = Frontier(memory=memory, checkpoint=path)
    found = [result.unwrap().url.query async for result in client.map(frontier, concurrency=1)]
    assert found == order
    assert len(frontier) == 0
    await frontier.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*nowhere/crawl\.sqlite'$"):
        Frontier(["http://a.example/"], checkpoint=tmp_path / "nowhere" / "crawl.sqlite")


async def test_max_pages_are_those_of_one_map(client: Client, http_server: OriginServer) -> None:
    frontier = Frontier([f"{http_server.url}/bytes/{number}" for number in range(1, 8)], max_pages=3)
    assert [len([result async for result in client.map(frontier)]) for _ in range(4)] == [3, 3, 1, 0]
