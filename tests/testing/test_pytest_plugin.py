"""The table of responses, and the plugin as a user's project has it: a pytest run of its own."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, ConnectError, InvalidURL
from aiohttpconn.testing import MockRoutes, UnexpectedRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttpconn.testing import MockRequest

URL = "http://service.example"


@pytest.mark.parametrize(
    ("pattern", "url", "matches"),
    [
        ("http://service.example/a", "http://service.example/a", True),
        ("http://service.example/a", "http://service.example/a?x=1", True),
        ("http://service.example/a?x=1", "http://service.example/a?x=1", True),
        ("http://service.example/a?x=1", "http://service.example/a?x=2", False),
        ("http://service.example/a", "http://service.example/ab", False),
        ("HTTP://Service.example", "http://service.example/", True),
        ("http://service.example/*", "http://service.example/a/b?c", True),
        ("*/users/*", "http://service.example/users/7", True),
        ("*.example/", "http://service.example/x", False),
        ("https://API.example/*", "https://api.example/users", True),
        ("HTTPS://api.example:443/*", "https://api.example/users", True),
        ("http://user:pw@service.example/*", "http://service.example/users", True),
        ("http://*.Service.example/a", "http://api.service.example/a", True),
        ("http://*.Bücher.example/a", "http://api.bücher.example/a", True),
        ("http://*.Bücher.example", "http://api.bücher.example/", True),
        ("http://127.0.0.1:*", "http://127.0.0.1:8000/a", True),
        ("http://[::1]:*/a", "http://[::1]:8000/a", True),
        ("*://service.example/A", "http://service.example/A", True),
        ("*://service.example/A", "http://service.example/a", False),
        ("http://service.example/a b/*", "http://service.example/a b/c", True),
        ("http://service.example/ü/*", "http://service.example/ü/c", True),
        ("http://service.example/x/../a/*", "http://service.example/a/c", True),
        ("http://service.example/a/*#part", "http://service.example/a/c", True),
        ("*/a b/ü", "http://service.example/a b/ü", True),
        ("*Users*", "http://service.example/Users/7", True),
        ("*token=1*", "http://service.example/?a=2&token=1", True),
        ("http://service.example/a?x=1&y=2", "http://service.example/a?y=2&x=1", True),
        ("http://service.example/a?x=1", "http://service.example/a?x=1&y=2", False),
        ("http://service.example/a?x=1&y=2", "http://service.example/a?x=1", False),
        ("http://service.example/a?x=1&x=1", "http://service.example/a?x=1", False),
        ("http://service.example/a?x=1&*", "http://service.example/a?y=2&x=1", True),
        ("http://service.example/a?x=1&*", "http://service.example/a?x=1", True),
        ("http://service.example/a?x=*", "http://service.example/a?x=1", True),
        ("http://service.example/a?x=*", "http://service.example/a?x=1&y=2", False),
        ("http://service.example/a?x=*&x=1*", "http://service.example/a?x=12&x=2", True),
        ("http://service.example/a?q=a b", "http://service.example/a?q=a+b", True),
        ("http://service.example/a?q=ü*", "http://service.example/a?q=%C3%BCber", True),
        ("http://service.example/a?", "http://service.example/a?x=1", False),
        ("http://service.example/a?", "http://service.example/a", True),
        ("http://service.example/*?x=1", "http://service.example/a/b?x=1", True),
        (re.compile(r"/users/\d+$"), "http://service.example/users/12", True),
        (re.compile(r"/users/\d+$"), "http://service.example/users/x", False),
    ],
)
async def test_patterns(pattern: Any, url: str, matches: bool) -> None:
    routes = MockRoutes()
    routes.add("GET", pattern, 204)
    async with Client(transport=routes, trust_env=False) as client:
        if matches:
            assert (await client.get(url)).status == 204
        else:
            with pytest.raises(UnexpectedRequest, match="nothing is registered for GET"):
                await client.get(url)


@pytest.mark.parametrize("pattern", ["service.example/*", "ftp://service.example/*", "service.example"])
def test_patterns_that_nothing_can_match(pattern: str) -> None:
    with pytest.raises(InvalidURL):
        MockRoutes().add("GET", pattern)


async def test_methods_that_everybody_knows_may_be_in_small_letters() -> None:
    routes = MockRoutes()
    routes.add("get", f"{URL}/a", text="got")
    routes.add("purge", f"{URL}/a", text="purged")
    async with Client(transport=routes, trust_env=False) as client:
        assert (await client.get(f"{URL}/a")).text == "got"
        assert (await client.request("purge", f"{URL}/a")).text == "purged"
        with pytest.raises(UnexpectedRequest):
            await client.request("PURGE", f"{URL}/a")


async def test_an_exception_says_of_which_request_it_is() -> None:
    routes = MockRoutes()
    routes.add(None, f"{URL}/*", answer=ConnectError("refused"))
    async with Client(transport=routes, trust_env=False) as client:
        for path in ("/a", "/b"):
            with pytest.raises(ConnectError, match=f"GET {URL}{path}") as caught:
                await client.get(f"{URL}{path}")
            assert caught.value.request.url.path == path


async def test_a_coroutine_function_may_answer_without_reading_the_body() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"more"

    async def refuse(request: MockRequest) -> int:
        return 413

    routes = MockRoutes()
    routes.add("POST", URL, answer=refuse)
    async with Client(transport=routes, trust_env=False) as client:
        assert (await client.post(URL, content=endless())).status == 413


@pytest.mark.parametrize("answer", ["text", True, ConnectError, object()])
async def test_what_is_no_answer(answer: Any) -> None:
    routes = MockRoutes()
    with pytest.raises(TypeError, match="answer= takes"):
        routes.add("GET", URL, answer=answer)


async def test_routes_in_their_order() -> None:
    routes = MockRoutes()
    once = routes.add("GET", f"{URL}/a", 503, times=2)
    always = routes.add(None, f"{URL}/*", text="there")
    async with Client(transport=routes, trust_env=False) as client:
        assert [(await client.get(f"{URL}/a")).status for _ in range(3)] == [503, 503, 200]
        assert (await client.post(f"{URL}/b", content=b"x")).text == "there"
    assert (len(once.requests), len(always.requests), always.requests[1].content) == (2, 2, b"x")
    routes.assert_all_requested()


async def test_answers_of_ones_own() -> None:
    routes = MockRoutes()
    routes.add("GET", f"{URL}/function", answer=lambda request: (200, {}, request.target))
    routes.add("GET", f"{URL}/error", answer=ConnectError("refused"))
    routes.add("GET", f"{URL}/status", answer=201)
    async with Client(transport=routes, trust_env=False) as client:
        assert (await client.get(f"{URL}/function?1")).text == "/function?1"
        assert (await client.get(f"{URL}/status")).status == 201
        with pytest.raises(ConnectError, match="refused"):
            await client.get(f"{URL}/error")
    with pytest.raises(TypeError, match="exclude"):
        routes.add("GET", URL, answer=200, text="x")


def test_what_was_not_asked_for() -> None:
    routes = MockRoutes()
    routes.add("GET", f"{URL}/a", times=2)
    with pytest.raises(AssertionError, match="waits for 2 more"):
        routes.assert_all_requested()


PROJECT = """
import asyncio
import aiohttpconn
from aiohttpconn import Client, ConnectionPool, PoolClosed, ReadError
from aiohttpconn.testing import UnexpectedRequest, script

def test_mocked(aiohttpconn_mock):
    route = aiohttpconn_mock.add("GET", "https://api.example/users/*", json={"name": "Ada"})
    async def main():
        async with Client() as client:
            assert (await client.get("https://api.example/users/1")).json() == {"name": "Ada"}
        assert (await aiohttpconn.get("https://api.example/users/2")).status == 200
        async with Client(transport=aiohttpconn_mock) as client:
            assert (await client.get("https://api.example/users/3")).status == 200
    asyncio.run(main())
    assert [request.url.path for request in route.requests] == ["/users/1", "/users/2", "/users/3"]

def test_scripted(scripted_server, aiohttpconn_mock):
    aiohttpconn_mock.let_pass("http://127.0.0.1:*")
    async def main():
        async with scripted_server(script.reset_after(script.response(b"x" * 100), 10)) as server, Client() as client:
            try:
                await client.get(server.url)
            except ReadError:
                return server.connections
    assert asyncio.run(main()) == 1

def test_unused_fails(aiohttpconn_mock):
    aiohttpconn_mock.add("GET", "https://api.example/")

def test_unexpected_fails(aiohttpconn_mock):
    async def main():
        try:
            await aiohttpconn.get("https://api.example/")
        except UnexpectedRequest:
            pass
    asyncio.run(main())

def test_exclusive_connections(scripted_server, aiohttpconn_mock):
    aiohttpconn_mock.let_pass("http://127.0.0.1:*")
    async def main():
        async with scripted_server(script.response(b"x")) as server, ConnectionPool() as pool:
            async with pool.connection(server.url) as connection:
                assert connection.is_connected
    asyncio.run(main())

def test_connection_fails(aiohttpconn_mock):
    async def main():
        async with ConnectionPool() as pool:
            try:
                async with pool.connection("https://user:pw@api.example/a"):
                    pass
            except UnexpectedRequest as error:
                assert 'let_pass("https://api.example/")' in str(error)
                assert "pw" not in str(error)
    asyncio.run(main())

def test_closed_and_proxy(aiohttpconn_mock):
    route = aiohttpconn_mock.add("GET", "https://api.example/")
    async def main():
        client = Client(proxy="http://proxy.example:3128")
        await client.get("https://api.example/")
        await client.pool.close()
        try:
            await client.get("https://api.example/")
        except PoolClosed:
            return True
    assert asyncio.run(main())
    assert str(route.requests[0].proxy.origin) == "http://proxy.example:3128"

def test_network_is_back():
    assert "send" in vars(aiohttpconn.ConnectionPool)
    assert aiohttpconn.ConnectionPool.send.__module__.startswith("aiohttpconn.pool")

def test_open_server_fails(scripted_server):
    async def main():
        await scripted_server(b"").start()
    asyncio.run(main())
"""


def test_plugin(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "test_project.py").write_text(PROJECT)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    # Named and alone: where the package is installed, its entry point would bring it a second time.
    plugins = ["-p", "aiohttpconn.testing.pytest_plugin", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "-rfE", str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "9 passed, 4 errors" in done.stdout, done.stdout + done.stderr
    for words in (
        "waits for 1 more",
        "nothing is registered for GET https://api.example/",
        "nothing can be registered for exclusive use of https://api.example",
        "a scripted server was not closed: http://127.0.0.1:",
    ):
        assert words in done.stdout


def test_the_kit_needs_no_pytest() -> None:
    import subprocess

    program = "import sys, aiohttpconn.testing; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
