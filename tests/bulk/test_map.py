"""`Client.map`: every request once, under its limits, and what goes wrong with one is its own affair."""

from __future__ import annotations

import asyncio
import io
import itertools
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    URL,
    Client,
    Frontier,
    HostConcurrency,
    HTTPException,
    InvalidURL,
    PoolClosed,
    RateLimit,
    Request,
    Timeout,
)
from tests.auditing import audit_quiet, settle
from tests.cancellation import cancel_everywhere
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.servers.nginx import Nginx
    from tests.servers.raw import Received


class Gate:
    """A route that counts the requests it holds, until it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.held = 0
        self.most = 0

    async def __call__(self, request: Received) -> Reply:
        self.held += 1
        self.most = max(self.most, self.held)
        try:
            await self.open.wait()
        finally:
            self.held -= 1
        return Reply(b"let through")


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def with_host(server: OriginServer, number: int) -> str:
    """The server under another address of loopback: another origin."""
    return f"http://127.0.1.{number}:{server.port}"


@pytest.fixture
async def wide_server() -> AsyncIterator[OriginServer]:
    """A server at every address of loopback."""
    async with OriginServer(host="0.0.0.0") as server:
        yield server


async def test_every_request_has_one_result(client: Client, http_server: OriginServer) -> None:
    urls = [f"{http_server.url}/bytes/{size}" for size in range(300)]
    results = [result async for result in client.map(urls, concurrency=20)]
    assert sorted(result.index for result in results) == list(range(300))
    for result in results:
        assert result.ok
        assert result.given == result.url == urls[result.index]
        assert len(result.unwrap().content) == result.index
        assert result.depth == 0


async def test_the_url_of_a_result_is_fit_to_be_written_down(client: Client, http_server: OriginServer) -> None:
    [result] = [result async for result in client.map([http_server.url.replace("//", "//user:word@") + "/request"])]
    assert result.url == http_server.url + "/request"
    assert "Authorization" in str(result.unwrap().json()["fields"])
    for text in ("http://user:wo/rd@host:x/a", "user:word@host/a", "ftp://user:word@host/a"):
        [result] = [result async for result in client.map([text])]
        assert result.given == text
        assert result.url.endswith("[hidden]@" + text.rpartition("@")[2])
        for said in (result.url, repr(result), str(result), repr(result.error)):
            assert "word" not in said


@pytest.mark.parametrize("kind", ["list", "generator", "async generator"])
async def test_sources(kind: str, client: Client, http_server: OriginServer) -> None:
    given = [
        http_server.url + "/",
        URL(http_server.url + "/bytes/1"),
        client.build_request("POST", http_server.url + "/echo", content=b"abc"),
    ]

    async def later() -> AsyncIterator[Any]:
        for item in given:
            await asyncio.sleep(0)
            yield item

    source: Any = {"list": given, "generator": (item for item in given), "async generator": later()}[kind]
    contents = {result.index: result.unwrap().content async for result in client.map(source)}
    assert contents == {0: b"hello", 1: bytes(1), 2: b"abc"}


@pytest.mark.parametrize("source", [(), iter(())])
async def test_nothing_to_do(source: Any, client: Client) -> None:
    assert [result async for result in client.map(source)] == []


async def test_an_error_is_an_item_and_no_end(client: Client, http_server: OriginServer) -> None:
    good = http_server.url + "/"
    urls: list[Any] = [good, "nonsense", "ftp://example.org/", 7, http_server.url + "/hold", good + "status/404"]
    results = {result.index: result async for result in client.map(urls, timeout=Timeout(read=0.7))}
    assert [results[number].ok for number in range(6)] == [True, False, False, False, False, True]
    assert isinstance(results[1].error, InvalidURL)
    assert results[1].request is None
    assert results[1].url == "nonsense"
    assert isinstance(results[3].error, TypeError)
    with pytest.raises(HTTPException):
        results[4].unwrap()
    assert results[5].unwrap().status == 404
    assert "InvalidURL" in repr(results[1])
    assert "404" in repr(results[5])


async def test_keywords_go_with_every_url(client: Client, http_server: OriginServer) -> None:
    options: Any = {"method": "POST", "headers": {"X-A": "b"}, "json": [1], "params": {"q": "1"}, "cookies": {"c": "d"}}
    [result] = [result async for result in client.map([http_server.url + "/request"], **options)]
    seen = result.unwrap().json()
    assert seen["method"] == "POST"
    assert seen["target"] == "/request?q=1"
    assert ["X-A", "b"] in seen["fields"]
    assert ["Cookie", "c=d"] in seen["fields"]
    [result] = [result async for result in client.map([http_server.url + "/redirect/302?/"], follow_redirects=False)]
    assert result.unwrap().status == 302


async def test_relative_urls_are_the_base_urls(http_server: OriginServer) -> None:
    async with Client(http_server.url + "/bytes", trust_env=False) as client:
        sizes = [len(result.unwrap().content) async for result in client.map(["/1", "2"], ordered=True)]
    assert sizes == [1, 2]


async def test_concurrency_and_per_host(wide_server: OriginServer, client: Client) -> None:
    gate = wide_server.routes["/"] = Gate()
    urls = [with_host(wide_server, number) + "/" for number in range(1, 6) for _ in range(10)]

    async def most(**limits: int) -> int:
        gate.open.clear()
        gate.most = 0
        results = client.map(urls, **limits)
        first = asyncio.ensure_future(anext(results))
        await until(lambda: gate.held >= min(limits["concurrency"], 5 * limits["per_host"]))
        await settle(20)
        gate.open.set()
        await first
        assert len([result async for result in results]) == len(urls) - 1
        return gate.most

    assert await most(concurrency=7, per_host=3) == 7
    assert await most(concurrency=40, per_host=2) == 10


async def test_a_host_that_hangs_holds_up_only_its_own(wide_server: OriginServer, client: Client) -> None:
    """See `test_spill` for more of them than the window holds."""
    gate = wide_server.routes["/slow"] = Gate()
    slow, quick = with_host(wide_server, 1) + "/slow", with_host(wide_server, 2) + "/bytes/1"
    urls = [slow if number % 20 == 0 else quick for number in range(23 * 20)]  # 4 of them are sent, 19 wait
    async with client.map(urls, concurrency=6, per_host=4, window=20) as results:
        for _ in range(23 * 19):
            assert (await anext(results)).url == quick
        assert gate.held == 4
        gate.open.set()
        assert len([result async for result in results]) == 23


async def test_under_rules_of_politeness(wide_server: OriginServer) -> None:
    """Each host in its own time; what a rule refuses is the error of its request."""
    busy: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def page(request: Received) -> Reply:
        host = request.get("Host") or ""
        busy[host] += 1
        most[host] = max(most[host], busy[host])
        await asyncio.sleep(0)
        busy[host] -= 1
        return Reply()

    wide_server.routes["/"] = page
    urls = [with_host(wide_server, number % 3) + "/" for number in range(60)]
    async with Client(politeness=[HostConcurrency(1), RateLimit(10_000)], trust_env=False) as client:
        results = [result async for result in client.map(urls, concurrency=9, per_host=3)]
    assert sorted(result.index for result in results) == list(range(60))
    assert all(result.ok for result in results)
    assert list(most.values()) == [1, 1, 1]


async def test_nginx(nginx: Nginx, client: Client) -> None:
    """Of a server that ends connections: with bodies of each framing, redirects, and a checkpoint that knows them."""
    paths = [
        "/1k",
        "/json",
        "/gzip",
        "/chunked",
        "/close",
        "/three",
        "/redirect/301",
        "/echo-status/404",
        "/redirect/loop",
    ]
    urls = [nginx.http + path + f"?{turn}" for turn in range(10) for path in paths]
    sizes: dict[str, set[int]] = {}
    async for result in client.map(urls, concurrency=12, per_host=6):
        path = result.unwrap().request.url.path if result.ok else type(result.error).__name__
        sizes.setdefault(path, set()).add(len(result.response.content) if result.response else 0)
    assert sizes["/1k"] == {1024}
    assert sizes["/chunked"] == {65_536}
    assert sizes["/json"] == sizes["/gzip"]
    assert sizes["TooManyRedirects"] == {0}
    frontier = Frontier([nginx.http + path for path in paths])
    found = {result.request.url.path async for result in client.map(frontier) if result.request is not None}
    assert found == {*paths} - {"/redirect/301"}


async def test_hosts_take_turns(wide_server: OriginServer, client: Client) -> None:
    urls = [f"{with_host(wide_server, host)}/bytes/{n}" for host in (1, 2, 3) for n in range(10)]
    order = [result.index // 10 async for result in client.map(urls, concurrency=3, per_host=1)]
    assert {tuple(sorted(order[at : at + 3])) for at in range(3, 24, 3)} == {(0, 1, 2)}


async def test_results_in_order(wide_server: OriginServer, client: Client) -> None:
    """The first is held until the others have come as far as they may: what is held back is bounded."""
    gate = wide_server.routes["/first"] = Gate()
    count = itertools.count(1)
    taken: list[int] = []

    def urls() -> Iterator[str]:
        yield with_host(wide_server, 1) + "/first"
        for number in itertools.islice(count, 100):
            taken.append(number)
            yield f"{with_host(wide_server, 2 + number % 3)}/bytes/{number}"

    async with client.map(urls(), concurrency=4, window=6, ordered=True) as results:
        first = asyncio.ensure_future(anext(results))
        await until(lambda: len(taken) == 9 and client.stats().in_use == 1)
        await settle(20)
        assert len(taken) == 9
        gate.open.set()
        assert (await first).index == 0
        assert [result.index async for result in results] == list(range(1, 101))


async def test_what_is_read_ahead_is_bounded(
    client: Client, http_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for what is read to find other hosts, when the one has been waited for long enough (see `test_spill`)."""
    monkeypatch.setattr("aiohttpconn.bulk.lookahead.PATIENCE", 3600)
    read: list[int] = []

    def endless() -> Iterator[str]:
        for number in itertools.count():
            read.append(number)
            yield http_server.url + "/"

    async def endless_later() -> AsyncIterator[str]:
        for url in endless():
            yield url

    for source in (endless(), endless_later()):
        read.clear()
        async with client.map(source, concurrency=5, per_host=2, window=10) as results:
            for consumed in range(1, 30):
                await anext(results)
                await settle(30)
                assert len(read) <= consumed + 10 + 2 * 5 + 1


async def test_a_slow_consumer_slows_it_down(client: Client, http_server: OriginServer) -> None:
    for per_host in (8, 2):  # 2: the others wait for their turn, and are not sent for want of room
        http_server.requests.clear()
        urls = itertools.repeat(http_server.url + "/")
        async with client.map(urls, concurrency=3, per_host=per_host) as results:
            await anext(results)
            await until(lambda: len(http_server.requests) >= 6)
            await settle(50)
            assert len(http_server.requests) <= 1 + 2 * 3


async def test_a_consumer_that_computes(client: Client, http_server: OriginServer) -> None:
    """The loop has its turn all the same, though the next results are there."""
    loop = asyncio.get_running_loop()
    results = client.map([f"{http_server.url}/bytes/{size}" for size in range(20)])
    await anext(results)
    while len(http_server.requests) < 20:
        await asyncio.sleep(0)
    await settle(20)
    for _ in range(5):
        had_its_turn = asyncio.Event()
        loop.call_soon(had_its_turn.set)
        time.sleep(0.011)
        await anext(results)
        assert had_its_turn.is_set()
    await results.aclose()


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_error_of_the_source_comes_last(asynchronous: bool, client: Client, http_server: OriginServer) -> None:
    def broken() -> Iterator[str]:
        yield from [http_server.url + "/"] * 5
        raise LookupError("no more")

    async def broken_later() -> AsyncIterator[str]:
        for url in broken():
            yield url

    results = client.map(broken_later() if asynchronous else broken())
    for _ in range(5):
        assert (await anext(results)).ok
    with pytest.raises(LookupError, match="no more"):
        await anext(results)
    with pytest.raises(StopAsyncIteration):
        await anext(results)


async def test_handle_runs_with_the_requests(client: Client, http_server: OriginServer) -> None:
    meet = asyncio.Barrier(3)

    async def handle(response: Any) -> int:
        if len(response.content) == 7:
            raise LookupError("seven")
        await meet.wait()  # three at a time, though of one host only one may be under way
        return len(response.content) * 2

    urls = [f"{http_server.url}/bytes/{size}" for size in (1, 2, 3, 7)]
    results = [result async for result in client.map(urls, per_host=1, ordered=True, handle=handle)]
    assert [result.value for result in results] == [2, 4, 6, None]
    assert isinstance(results[3].error, LookupError)
    assert results[3].response is not None


async def test_handle_that_is_cancelled_by_what_it_awaits(client: Client, http_server: OriginServer) -> None:
    async def handle(response: Any) -> None:
        waits = asyncio.get_running_loop().create_future()
        waits.cancel()
        await waits

    results = [result async for result in client.map([http_server.url + "/"] * 3, handle=handle)]
    assert [type(result.error) for result in results] == [RuntimeError] * 3


async def test_closing_the_client_ends_it(http_server: OriginServer) -> None:
    read = 0

    def urls() -> Iterator[str]:
        nonlocal read
        for _ in range(10_000):
            read += 1
            yield http_server.url + "/"

    async with Client(trust_env=False) as client:
        with pytest.raises(PoolClosed):
            async for result in client.map(urls(), concurrency=5, window=10):
                if result.index == 3:
                    await client.close()
    assert read < 100


async def test_wrong_arguments(client: Client) -> None:
    for wrong in ("http://example.org/", URL("http://example.org/"), Request("GET", "http://example.org/"), 7):
        with pytest.raises(TypeError, match="iterable"):
            client.map(wrong)  # type: ignore[arg-type]
    for name in ("concurrency", "per_host", "window"):
        with pytest.raises(ValueError, match=name):
            client.map([], **{name: 0})  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=name):
            client.map([], **{name: 1.5})  # type: ignore[arg-type]
    for handle in (7, print, len, lambda response: None, partial(print, 1), Gate):
        with pytest.raises(TypeError, match="handle"):
            client.map([], handle=handle)  # type: ignore[arg-type]
    gate = Gate()  # an object whose __call__ is one
    for coroutine_function in (gate, gate.__call__, partial(gate.__call__), partial(gate)):
        client.map([], handle=coroutine_function)  # type: ignore[arg-type]


async def test_wrong_keywords_are_wrong_once(client: Client) -> None:
    """They would be so with each request, or be passed over with `Request`s."""
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"concurency": 5}, TypeError, "did you mean 'concurrency'"),
        ({"stream": True}, TypeError, "stream"),
        ({"timeout": "x"}, TypeError, "timeout|seconds|number"),
        ({"method": "B AD"}, ValueError, "B AD"),
        ({"headers": 5}, TypeError, "int"),
        ({"headers": iter([("a", "b")])}, TypeError, "headers.*only once"),
        ({"retries": "x"}, TypeError, "retries"),
        ({"hedge": "x"}, ValueError, "seconds"),
        ({"auth": 5}, TypeError, "auth"),
        ({"cookies": 5}, TypeError, "cookies"),
        ({"proxy": 5}, TypeError, "proxy"),
        ({"max_body": "x"}, TypeError, "max_body"),
        ({"max_body": -1}, ValueError, "max_body must not be negative"),
        ({"follow_redirects": 1}, TypeError, "follow_redirects"),
        ({"content": iter([b"x"])}, TypeError, "content.*only once"),
        ({"content": io.BytesIO(b"x")}, TypeError, "content.*only once"),
        ({"files": {"file": ("name", io.BytesIO(b"x"))}}, TypeError, "files.*only once"),
        ({"content": b"x", "json": 1}, TypeError, "exclude"),
    ]
    for source in (["http://127.0.0.1:1/"], [Request("GET", "http://127.0.0.1:1/")], Frontier()):
        for values, error, said in wrong:
            with pytest.raises(error, match=said):
                client.map(source, **values)
    client.map([], content=b"x", timeout=None, cookies=False, auth=None, proxy=None, retries=None, hedge=None)


# --- leaving it early -------------------------------------------------------------------------------------------------


async def test_break_leaves_nothing_behind(client: Client, http_server: OriginServer) -> None:
    async for result in client.map([http_server.url + "/"] * 3 + [http_server.url + "/hold"] * 20):
        if result.index == 2:
            break
    await settle(5)
    assert client.pool is not None
    audit_quiet(client.pool)


async def test_the_block_ends_what_is_under_way(client: Client, http_server: OriginServer) -> None:
    with pytest.raises(LookupError):
        async with client.map(itertools.repeat(http_server.url + "/hold")) as results:
            waits = asyncio.ensure_future(anext(results))
            await until(lambda: len(http_server.requests) == 8)
            raise LookupError
    await settle(3)
    assert client.pool is not None
    audit_quiet(client.pool)
    with pytest.raises(StopAsyncIteration):
        await waits
    with pytest.raises(StopAsyncIteration):
        await anext(results)


async def test_a_wait_may_be_given_up_and_the_map_goes_on(client: Client, http_server: OriginServer) -> None:
    gate = http_server.routes["/gate"] = Gate()
    async with client.map([http_server.url + "/gate"]) as results:
        waits = asyncio.ensure_future(anext(results))
        await until(lambda: gate.held == 1)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        gate.open.set()
        assert (await anext(results)).ok


async def test_one_task_at_a_time(client: Client, http_server: OriginServer) -> None:
    async with client.map([http_server.url + "/hold"]) as results:
        waits = asyncio.ensure_future(anext(results))
        await settle()
        with pytest.raises(RuntimeError, match="another task"):
            await anext(results)
        waits.cancel()


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_it_belongs_to_one_loop(client: Client, http_server: OriginServer) -> None:
    results = client.map([http_server.url + "/"] * 3)
    await anext(results)

    def elsewhere() -> None:
        async def go_on() -> None:
            with pytest.raises(RuntimeError, match="another event loop"):
                await anext(results)
            with pytest.raises(RuntimeError, match="another event loop"):
                await results.aclose()

        asyncio.run(go_on())

    await asyncio.to_thread(elsewhere)
    assert len([result async for result in results]) == 2


@pytest.mark.parametrize("kind", ["list", "async generator", "checkpoint", "frontier"])
async def test_cancelled_at_every_await(kind: str, client: Client, http_server: OriginServer, tmp_path: Path) -> None:
    urls = [f"{http_server.url}/bytes/{size}" for size in range(12)]
    closed = []

    async def later() -> AsyncIterator[str]:
        try:
            for url in urls:
                await asyncio.sleep(0)
                yield url
        finally:
            closed.append(True)

    async def fetch_all() -> None:
        path = None
        source: Any = urls
        if kind == "async generator":
            source = later()
        elif kind == "frontier":
            source = Frontier(urls)
        elif kind == "checkpoint":
            path = tmp_path / str(len(closed))
            closed.append(True)
        async with client.map(source, concurrency=3, per_host=2, checkpoint=path) as results:
            assert len([result async for result in results]) == 12

    async def check() -> None:
        await settle(5)
        assert client.pool is not None
        audit_quiet(client.pool)

    runs = await cancel_everywhere(fetch_all, check)
    assert runs > 0
    if kind == "async generator":
        assert len(closed) >= runs
