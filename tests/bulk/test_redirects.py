"""Redirects in a crawl: links like others, that do not lead out of it, nor twice to one page."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, Frontier, Hooks, RedirectBlocked, Request, TooManyRedirects
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.raw import Received


def moved(location: str, status: int = 302, *more: tuple[str, str]) -> Reply:
    return Reply(status=status, fields=[("Location", location), *more])


def asked(server: OriginServer) -> list[str]:
    """The targets that the server was asked for since the last time."""
    seen = [request.target for request in server.requests]
    server.requests.clear()
    return seen


async def paths(client: Client, frontier: Frontier, **options: Any) -> list[str]:
    """What the results were asked for, in order."""
    return [result.unwrap().request.url.target async for result in client.map(frontier, concurrency=1, **options)]


async def test_where_it_leads_is_in_the_crawl_once(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/a"] = moved("/b", 301)
    http_server.routes["/b"] = moved("/c", 307)
    http_server.routes["/c"] = Reply(b"c")
    http_server.routes["/other"] = moved("/c")
    for ordered in (False, True):
        frontier = Frontier([http_server.url + path for path in ("/a", "/other", "/c", "/b")])
        assert await paths(client, frontier, ordered=ordered) == ["/c"]
        assert sorted(asked(http_server)) == ["/a", "/b", "/c", "/other"]


async def test_depth_priority_and_handle(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/a"] = moved("/c#there")
    frontier = Frontier(max_depth=3)
    frontier.add(http_server.url + "/a", depth=3, priority=2)
    frontier.add(http_server.url + "/bytes/1", priority=1)
    handled = []

    async def handle(response: Any) -> None:
        handled.append(response.url.path)

    results = [result async for result in client.map(frontier, concurrency=1, handle=handle, ordered=True)]
    assert [(result.unwrap().url.path, result.depth) for result in results] == [("/c", 3), ("/bytes/1", 0)]
    assert handled == ["/c", "/bytes/1"]


async def test_it_does_not_lead_out(client: Client, http_server: OriginServer) -> None:
    """Not to what is not accepted, nor beyond the budgets."""
    http_server.routes["/out"] = moved(f"http://127.0.0.2:{http_server.port}/evil")
    http_server.routes["/login"] = moved("/private")
    accepted: Any = {"accept": lambda url: url.host == "127.0.0.1" and url.path != "/private"}
    start = [http_server.url + path for path in ("/out", "/login", "/bytes/1")]
    assert await paths(client, Frontier(start, **accepted)) == ["/bytes/1"]
    assert asked(http_server) == ["/out", "/login", "/bytes/1"]
    assert await paths(client, Frontier(start[1:], max_per_host=2)) == ["/bytes/1"]
    assert asked(http_server) == ["/login", "/bytes/1"]
    assert await paths(client, Frontier(start[1:], max_pages=2)) == ["/bytes/1"]
    assert asked(http_server) == ["/login", "/bytes/1"]


async def test_back_to_where_it_began(client: Client, http_server: OriginServer) -> None:
    """A page that sends away for a cookie, and one that says in which spelling it wants to be asked for."""

    def page(request: Received) -> Reply:
        return Reply(b"page") if "ok=1" in (request.get("Cookie") or "") else moved("/consent")

    http_server.routes["/page"] = page
    http_server.routes["/consent"] = moved("/page", 302, ("Set-Cookie", "ok=1"))
    assert await paths(client, Frontier([http_server.url + "/page"], max_per_host=2)) == ["/page"]
    http_server.routes["/list"] = lambda request: Reply() if request.target.endswith("b=2&a=1") else moved("?b=2&a=1")
    assert await paths(client, Frontier([http_server.url + "/list?a=1&b=2"])) == ["/list?b=2&a=1"]


@pytest.mark.parametrize("checkpoint", [False, True])
async def test_one_that_leads_nowhere_is_an_error(checkpoint: bool, http_server: OriginServer, tmp_path: Path) -> None:
    turns = itertools.count()
    http_server.routes["/circle"] = moved("/circle")
    http_server.routes["/on"] = lambda request: moved(f"/on?{next(turns)}")
    http_server.routes["/ftp"] = moved("ftp://example.org/")
    http_server.routes["/two"] = moved("/a", 302, ("Location", "/b"))
    frontier = Frontier(
        [http_server.url + path for path in ("/circle", "/on", "/ftp", "/two")],
        memory=2,  # they go to the file and come back
        checkpoint=tmp_path / "f" if checkpoint else None,
    )
    async with frontier, Client(trust_env=False, max_redirects=3) as client:
        errors = {result.request.url.path: result.error async for result in client.map(frontier) if result.request}
    assert {path: type(error) for path, error in errors.items()} == {
        "/circle": TooManyRedirects,
        "/on": TooManyRedirects,
        "/ftp": RedirectBlocked,
        "/two": RedirectBlocked,
    }
    assert asked(http_server).count("/circle") == 4


async def test_who_follows_them_himself(client: Client, http_server: OriginServer) -> None:
    """Explicitly, or with a client that follows none; and what is no GET."""
    http_server.routes["/a"] = moved("/bytes/1")
    start = [http_server.url + "/a"]
    results = [result async for result in client.map(Frontier(start), follow_redirects=True)]
    assert [(result.url, len(result.unwrap().history)) for result in results] == [(start[0], 1)]
    results = [result async for result in client.map(Frontier(start), follow_redirects=False)]
    assert [result.unwrap().status for result in results] == [302]
    async with Client(trust_env=False, follow_redirects=False) as other:
        results = [result async for result in other.map(Frontier(start))]
    assert [result.unwrap().status for result in results] == [302]
    post = Request("POST", start[0], body=b"x")
    [result] = [result async for result in client.map(Frontier([post]))]
    assert result.unwrap().url.path == "/bytes/1"
    results = [result async for result in client.map(Frontier([Request("HEAD", start[0])]))]
    assert [(result.unwrap().request.method, result.url) for result in results] == [
        ("HEAD", http_server.url + "/bytes/1")
    ]


@pytest.mark.parametrize("memory", [2, 100])
@pytest.mark.parametrize("of_map", [False, True])
async def test_secrets_stay_with_their_origin(memory: int, of_map: bool, tmp_path: Path) -> None:
    """As where the client follows, whether the request has been in the file or not."""
    secret: dict[str, Any] = {"auth": ("user", "word"), "cookies": {"mine": "1"}}
    own: dict[str, Any] = {"headers": {"X-Api-Key": "secret", "Accept": "text/html"}}
    async with OriginServer(host="0.0.0.0") as server:
        first, other = (f"http://127.0.1.{number}:{server.port}" for number in (1, 2))
        server.routes["/a"] = moved(f"{other}/elsewhere")
        frontier = Frontier([f"{first}/a"], memory=memory, checkpoint=tmp_path / "f")
        for number in range(9):
            frontier.add(f"{first}/bytes/{number}")
        async with frontier, Client(trust_env=False, **({} if of_map else secret)) as client:
            await paths(client, frontier, **own, **(secret if of_map else {}))
        begun, *_, elsewhere = server.requests
    assert {"authorization", "cookie", "x-api-key"} <= {name.lower() for name, _ in begun.fields}
    assert elsewhere.path == "/elsewhere"
    names = {name.lower() for name, _ in elsewhere.fields}
    assert "accept" in names
    assert not {"authorization", "cookie", "x-api-key"} & names


@pytest.mark.parametrize("hooked", [False, True])
async def test_a_long_body_of_a_redirect_is_not_fetched(hooked: bool, http_server: OriginServer) -> None:
    """Up to 64 KiB are, so that the connection can be used again."""
    http_server.routes["/short"] = Reply(bytes(1000), 302, [("Location", "/bytes/1")])
    http_server.routes["/long"] = Reply(bytes(50_000_000), 302, [("Location", "/bytes/2")])
    sizes: list[int] = []
    hooks = Hooks(on_chunk=lambda response, chunk: sizes.append(len(chunk))) if hooked else None
    for path, opened in (("/short", 1), ("/long", 2)):
        async with Client(trust_env=False, hooks=hooks) as client:
            assert await paths(client, Frontier([http_server.url + path])) == ["/bytes/" + str(opened)]
            assert client.stats().opened_total == opened
            [unread] = [r async for r in client.map([http_server.url + "/short"], follow_redirects=False)]
            assert len(unread.unwrap().content) == 1000, "who follows none himself gets all of it"
    assert sum(sizes) < 100_000
