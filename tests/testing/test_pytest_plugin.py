"""The table of responses, and the plugin as a user's project has it: a pytest run of its own."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, ConnectError
from aiohttpconn.testing import MockRoutes, UnexpectedRequest

if TYPE_CHECKING:
    from pathlib import Path

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
from aiohttpconn import Client, ReadError
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

def test_network_is_back():
    assert "send" in vars(aiohttpconn.ConnectionPool)
    assert aiohttpconn.ConnectionPool.send.__module__ == "aiohttpconn.pool"

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
    assert "6 passed, 3 errors" in done.stdout, done.stdout + done.stderr
    for words in (
        "waits for 1 more",
        "nothing is registered for GET https://api.example/",
        "a scripted server was not closed: http://127.0.0.1:",
    ):
        assert words in done.stdout


def test_the_kit_needs_no_pytest() -> None:
    import subprocess

    program = "import sys, aiohttpconn.testing; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
