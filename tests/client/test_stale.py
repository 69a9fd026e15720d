"""Keep-alive connections that the server has given up meanwhile, as a caller of the client meets them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, NetworkError, RemoteDisconnected
from tests.auditing import settle
from tests.servers.origin import OriginServer
from tests.servers.raw import Connection, EndSending, Hold, Reset, Send
from tests.servers.raw import Head as ReadHead
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
FIRST = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"
ONCE = [ReadRequest(), Send(FIRST)]
AGAIN = [ReadRequest(), Send(NEXT), Hold()]


async def test_a_connection_that_was_closed_meanwhile_is_not_used(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server(ONCE, AGAIN)
    assert (await client.get(server.url)).text == "first"
    await server.wait_idle()
    assert (await client.post(server.url, content=iter([b"cannot be replayed"]))).text == "next"
    assert [received.connection for received in server.requests] == [0, 1]


@pytest.mark.parametrize("said", [b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", b"x", NEXT])
async def test_a_connection_that_said_something_unasked_is_not_used(
    said: bytes, client: Client, raw_server: StartRaw
) -> None:
    server = await raw_server([*ONCE, Send(said), Hold()], AGAIN)
    assert (await client.get(server.url)).text == "first"
    await settle(20)
    assert (await client.get(server.url)).text == "next"
    assert server.connections == 2


@pytest.mark.parametrize("end", [[], [Reset()]])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_an_idempotent_request_is_sent_again_when_the_reused_connection_dies(
    method: str, end: list[Any], client: Client, raw_server: StartRaw
) -> None:
    """The server reads the second request and closes without a word: the race that keep-alive always has."""
    server = await raw_server([*ONCE, ReadRequest(), *end], [ReadRequest(), Send(NEXT), Hold()])
    await client.get(server.url)
    content = b"body" if method == "PUT" else None
    response = await client.request(method, f"{server.url}/again", content=content)
    assert response.status == 200
    assert response.content == (b"" if method == "HEAD" else b"next")
    assert [(got.method, got.target, got.connection) for got in server.requests] == [
        ("GET", "/", 0),
        (method, "/again", 0),
        (method, "/again", 1),
    ]
    assert [got.body for got in server.requests[1:]] == [content or b""] * 2


@pytest.mark.parametrize("method", ["POST", "PATCH", "PURGE"])
async def test_a_request_that_is_not_idempotent_is_never_sent_twice(
    method: str, client: Client, raw_server: StartRaw
) -> None:
    server = await raw_server([*ONCE, ReadRequest()], AGAIN)
    await client.get(server.url)
    with pytest.raises(RemoteDisconnected) as caught:
        await client.request(method, f"{server.url}/again", content=b"x")
    assert caught.value.request.method == method
    assert [got.target for got in server.requests] == ["/", "/again"]


@pytest.mark.parametrize("how", [{"idempotent": True}, {"headers": {"Idempotency-Key": "1"}}])
async def test_unless_the_caller_says_that_it_is(how: dict[str, Any], client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([*ONCE, ReadRequest()], AGAIN)
    await client.get(server.url)
    assert (await client.post(server.url, content=b"x", **how)).text == "next"
    assert [got.body for got in server.requests] == [b"", b"x", b"x"]


async def test_nor_is_one_that_the_caller_says_is_not(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([*ONCE, ReadRequest()], AGAIN)
    await client.get(server.url)
    with pytest.raises(RemoteDisconnected):
        await client.request("GET", server.url, idempotent=False)
    assert len(server.requests) == 2


async def pieces() -> AsyncIterator[bytes]:
    yield b"x"


@pytest.mark.parametrize("make", [pieces, lambda: iter([b"x"])])
async def test_nor_is_a_body_that_can_be_read_once(make: Any, client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([*ONCE, ReadRequest()], AGAIN)
    await client.get(server.url)
    with pytest.raises(NetworkError):
        await client.put(server.url, content=make())
    assert len(server.requests) == 2


async def test_a_fresh_connection_that_dies_is_an_error(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest()])
    with pytest.raises(RemoteDisconnected):
        await client.get(server.url)
    assert len(server.requests) == 1


async def test_it_is_sent_again_once_only(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([*ONCE, ReadRequest()], [ReadRequest()], AGAIN)
    await client.get(server.url)
    with pytest.raises(RemoteDisconnected):
        await client.get(server.url)
    assert len(server.requests) == 3


@pytest.mark.parametrize("some", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_once_a_byte_of_the_answer_has_come_it_is_not_sent_again(
    some: bytes, client: Client, raw_server: StartRaw
) -> None:
    server = await raw_server([*ONCE, ReadRequest(), Send(some)], AGAIN)
    await client.get(server.url)
    with pytest.raises(RemoteDisconnected) as caught:
        await client.get(server.url)
    assert caught.value.bytes_received > 0
    assert len(server.requests) == 2


async def test_a_replayed_request_may_be_redirected(client: Client, raw_server: StartRaw) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"
    server = await raw_server([*ONCE, ReadRequest()], [ReadRequest(), Send(moved), ReadRequest(), Send(NEXT)])
    await client.get(server.url)
    response = await client.get(f"{server.url}/here")
    assert (response.text, [past.status for past in response.history]) == ("next", [302])
    assert [got.target for got in server.requests] == ["/", "/here", "/here", "/there"]


async def test_a_redirect_over_a_connection_that_dies_is_sent_again(client: Client, raw_server: StartRaw) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(moved), ReadRequest()], AGAIN)
    assert (await client.get(server.url)).text == "next"
    assert [got.target for got in server.requests] == ["/", "/there", "/there"]


async def test_a_half_closed_connection_is_not_used(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([*ONCE, EndSending(), Hold()], AGAIN)
    assert (await client.get(server.url)).text == "first"
    await settle(20)
    assert (await client.get(server.url)).text == "next"
    assert server.connections == 2


async def test_many_at_once_over_connections_that_all_die(client: Client, raw_server: StartRaw) -> None:
    """Every connection answers once and closes at its second request: every request arrives all the same."""

    async def once_and_close(reader: Any, writer: Any, conn: Connection) -> None:
        await conn.read_request()
        await conn.send(NEXT)
        await conn.read_head()

    server = await raw_server(once_and_close)
    for _ in range(5):
        responses = await asyncio.gather(*(client.get(f"{server.url}/{n}") for n in range(10)))
        assert {response.text for response in responses} == {"next"}


async def test_over_tls(client: Client, raw_server: StartRaw, server_ctx: Any) -> None:
    server = await raw_server([*ONCE, ReadHead()], AGAIN, tls=server_ctx)
    assert (await client.get(server.url)).text == "first"
    assert (await client.get(server.url)).text == "next"
    assert [got.connection for got in server.requests] == [0, 0, 1]


async def test_connection_close_is_not_kept(client: Client, http_server: OriginServer) -> None:
    for _ in range(3):
        assert (await client.get(f"{http_server.url}/close")).text == "goodbye"
    assert http_server.connections == 3
    assert client.stats().open == 0
