"""The scripts that are often wanted, met by a client; and the resolver that takes its time."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from aiohttpconn import (
    Client,
    ConnectTimeout,
    IncompleteRead,
    NetworkError,
    ProtocolError,
    ReadError,
    ReadTimeout,
    RemoteDisconnected,
    ResolveError,
    Timeout,
    TotalTimeout,
)
from aiohttpconn.testing import ScriptedServer, SlowResolver, script

HELLO = script.response(b"hello there", 200, ("X-Own", "1"))


def client_of(**options: Any) -> Client:
    return Client(trust_env=False, **options)


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(HELLO, id="bytes"),
        pytest.param(script.keep_alive(HELLO), id="keep-alive"),
        pytest.param(script.dripped(HELLO, pause=0), id="dripped"),
        pytest.param(script.dripped(HELLO, each=7), id="dripped-in-pieces"),
        pytest.param(script.slow_head(HELLO, pause=0.0001), id="slow-head"),
        pytest.param(script.closed_while_idle(HELLO), id="closed-while-idle"),
    ],
)
async def test_responses_that_come_in_the_end(plan: Any) -> None:
    async with ScriptedServer(plan) as server, client_of() as client:
        response = await client.get(f"{server.url}/a?b")
        assert (response.content, response.headers["X-Own"]) == (b"hello there", "1")
        assert (server.connections, server.requests[0].target) == (1, "/a?b")


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        pytest.param(script.reset_after(HELLO, 5), ReadError, id="reset"),
        pytest.param(script.truncated_after(HELLO, 5), IncompleteRead, id="truncated"),
        pytest.param(script.bad_chunk(), ProtocolError, id="bad-chunk"),
        pytest.param(script.never_answers(), ReadTimeout, id="never-answers"),
        pytest.param(script.slow_head(HELLO, pause=0.03), ReadTimeout, id="slow-head"),
        pytest.param([script.ReadRequest(), script.Close()], RemoteDisconnected, id="closed"),
    ],
)
async def test_responses_that_do_not(plan: Any, kind: type[Exception]) -> None:
    async with ScriptedServer(plan) as server, client_of(timeout=Timeout(read=0.5)) as client:
        with pytest.raises(kind):
            await client.get(server.url)


async def test_what_came_before_a_reset_is_read() -> None:
    async with (
        ScriptedServer(script.reset_after(HELLO, 5)) as server,
        client_of() as client,
        client.stream("GET", server.url) as response,
    ):
        iterator = aiter(response.iter_bytes())
        assert await anext(iterator) == b"hello"
        with pytest.raises(ReadError):
            await anext(iterator)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_stale_connection_is_replayed_once_if_that_is_safe(reset: bool) -> None:
    plans = [script.stale_keep_alive(HELLO, reset=reset), script.keep_alive(HELLO)]
    async with ScriptedServer(*plans) as server, client_of() as client:
        assert (await client.get(server.url)).status == 200
        assert (await client.get(server.url)).status == 200
        assert server.connections == 2
    async with ScriptedServer(*plans) as server, client_of() as client:
        assert (await client.get(server.url)).status == 200
        with pytest.raises(NetworkError):
            await client.post(server.url, content=b"not twice")
        assert server.connections == 1


async def test_an_answer_in_mid_upload() -> None:
    async def endless() -> Any:
        while True:
            yield b"x" * 65_536
            await asyncio.sleep(0)

    async with ScriptedServer(script.early_answer()) as server, client_of() as client:
        response = await client.post(server.url, content=endless())
        assert (response.status, response.text) == (413, "too large")


async def test_a_script_that_fails_is_told_at_the_end() -> None:
    async def wrong(reader: Any, writer: Any, connection: Any) -> None:
        raise ZeroDivisionError("in the script")

    with pytest.raises(ZeroDivisionError):
        async with ScriptedServer(wrong) as server, client_of() as client:
            with pytest.raises(RemoteDisconnected):
                await client.get(server.url)


async def test_slow_resolver() -> None:
    async with ScriptedServer(HELLO) as server:
        resolver = SlowResolver(0.001, {"service.example": "127.0.0.1", "nowhere.example": ()})
        async with client_of(resolver=resolver) as client:
            url = f"http://service.example:{server.port}/"
            assert (await client.get(url)).content == b"hello there"
            assert (await client.get(f"http://localhost:{server.port}/")).status == 200
            with pytest.raises(ResolveError):
                await client.get("http://nowhere.example/")
        assert resolver.asked == ["service.example", "localhost", "nowhere.example"]
        async with client_of(resolver=SlowResolver(10, {"service.example": "127.0.0.1"})) as client:
            with pytest.raises(ConnectTimeout):
                await client.get(url, timeout=Timeout(connect=0.02))
            with pytest.raises(TotalTimeout):
                await client.get(url, timeout=Timeout(total=0.02))
    found = await SlowResolver(hosts={"six": ["::1", "127.0.0.1"]}).resolve("six", 80)
    assert list(found) == [(socket.AF_INET6, ("::1", 80, 0, 0)), (socket.AF_INET, ("127.0.0.1", 80))]


async def test_is_listening() -> None:
    server = ScriptedServer(HELLO)
    assert not server.is_listening
    async with server:
        assert server.is_listening
    assert not server.is_listening
