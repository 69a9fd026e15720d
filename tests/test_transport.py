"""What a client sends its requests through: a pool, or a double of one's own."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    UNSET,
    Client,
    ConnectError,
    ConnectionPool,
    HTTPResponse,
    Limits,
    PoolClosed,
    ReadTimeout,
    Request,
    RequestContext,
    Timeout,
    Transport,
)
from aiohttpconn.config import Deadline
from aiohttpconn.connection import AsyncHTTPConnection
from aiohttpconn.proxy import Proxy
from tests.auditing import audit_quiet
from tests.exchanges import fetch

if TYPE_CHECKING:
    from tests.servers.origin import OriginServer


class Double:
    """Answers from a table of bytes, through a socket pair that takes no network; notes what it is asked."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self.answers = answers
        self.sent: list[tuple[Request, RequestContext]] = []
        self.closed = 0

    async def send(self, request: Request, context: RequestContext) -> HTTPResponse:
        self.sent.append((request, context))
        answer = self.answers.get(request.url.path)
        if answer is None:
            error = ConnectError("the double knows no such path")
            error.request = request
            raise error
        here, there = socket.socketpair()
        with there:
            there.sendall(answer)
            there.shutdown(socket.SHUT_WR)
            connection = AsyncHTTPConnection("double", sock=here)
            await connection.open(context.deadline)
            return await connection.start(request, context.deadline)

    async def close(self) -> None:
        self.closed += 1


def answer(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


async def test_double_in_a_client() -> None:
    double = Double(
        {
            "/": answer(b"from the double"),
            "/json": answer(b'{"a": 1}', "Content-Type: application/json"),
            "/from": answer(b"", "Location: /json", status="302 Found"),
            "/missing": answer(b"no", status="404 Not Found"),
        }
    )
    async with Client(transport=double) as client:
        assert (await client.get("http://x.example/")).content == b"from the double"
        response = await client.get("http://x.example/from")
        assert response.json() == {"a": 1}
        assert [each.status for each in response.history] == [302]
        assert (await client.get("http://x.example/missing")).status == 404
        async with client.stream("GET", "http://x.example/") as response:
            assert b"".join([chunk async for chunk in response.iter_bytes()]) == b"from the double"
        with pytest.raises(ConnectError) as caught:
            await client.post("http://x.example/nowhere", content=b"body")
        assert caught.value.request.body == b"body"
        assert client.pool is None
        with pytest.raises(TypeError):
            client.stats()
    assert double.closed == 0  # it is not the client's to close
    request, _ = double.sent[-1]
    assert (request.method, str(request.url)) == ("POST", "http://x.example/nowhere")
    with pytest.raises(PoolClosed):
        await client.get("http://x.example/")


async def test_context_has_what_goes_with_a_request() -> None:
    double = Double({"/": answer(b"")})
    async with Client(transport=double, timeout=Timeout(total=7, read=3)) as client:
        now = asyncio.get_running_loop().time()
        await client.get("http://x.example/")
        await client.get("http://x.example/", timeout=None)
        await client.get("http://x.example/", timeout=2, proxy="http://u:p@proxy.example:3128")
        await client.get("http://x.example/", proxy=None)
    contexts = [context for _, context in double.sent]
    assert now + 6.9 < contexts[0].deadline.at < now + 8
    assert contexts[0].deadline.read == 3
    assert contexts[0].proxy is UNSET
    assert contexts[1].deadline.at == contexts[1].deadline.read == float("inf")
    assert contexts[2].deadline.read == 2
    assert contexts[2].proxy == Proxy.of("http://u:p@proxy.example:3128")
    assert contexts[3].proxy is None


def test_context_by_itself() -> None:
    deadline = Deadline(Timeout(), 0.0)
    assert RequestContext(deadline).proxy is UNSET
    assert RequestContext(deadline).deadline is deadline
    assert RequestContext(deadline, None).proxy is None


def test_transport_is_a_protocol() -> None:
    assert isinstance(ConnectionPool(), Transport)
    assert isinstance(Double({}), Transport)
    assert not isinstance(object(), Transport)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("proxy", None),
        ("proxy", "http://proxy.example:3128"),
        ("verify", True),
        ("verify", False),
        ("uds", "/run/x"),
        ("uds", None),
        ("resolver", None),
        ("limits", Limits()),
        ("local_address", ("127.0.0.1", 0)),
    ],
)
def test_network_arguments_are_the_transports_own(name: str, value: Any) -> None:
    for transport in (Double({}), ConnectionPool()):
        with pytest.raises(TypeError, match=name):
            Client(transport=transport, **{name: value})


def test_all_of_the_needless_arguments_are_named() -> None:
    with pytest.raises(TypeError, match=r"proxy.*uds"):
        Client(transport=Double({}), proxy=None, uds="/run/x")


async def test_pool_shared_by_two_clients(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        async with Client(transport=pool) as one, Client(transport=pool) as other:
            assert one.pool is other.pool is pool
            for client in (one, other, one):
                assert (await client.get(http_server.url)).text == "hello"
            assert http_server.connections == 1
            assert one.stats() == other.stats() == pool.stats()
            await one.close()
            with pytest.raises(PoolClosed):
                await one.get(http_server.url)
            assert (await other.get(http_server.url)).text == "hello"
        assert not pool.closed
        assert await fetch(pool, http_server.url) == b"hello"
        assert http_server.connections == 1
        audit_quiet(pool)


async def test_client_closes_the_pool_that_it_made(http_server: OriginServer) -> None:
    client = Client(trust_env=False)
    assert (await client.get(http_server.url)).text == "hello"
    pool = client.pool
    assert pool is not None
    assert client.stats().idle == 1
    await client.close()
    await client.close()
    assert pool.closed
    assert client.stats().open == 0
    audit_quiet(pool)


async def test_pool_under_a_client_that_was_closed(http_server: OriginServer) -> None:
    pool = ConnectionPool()
    client = Client(transport=pool)
    await pool.close()
    with pytest.raises(PoolClosed):
        await client.get(http_server.url)


async def test_times_of_the_client_hold_in_a_shared_pool(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        hasty, patient = Client(transport=pool, timeout=0.03), Client(transport=pool)
        waiting = asyncio.create_task(patient.get(f"{http_server.url}/hold"))
        with pytest.raises(ReadTimeout):
            await hasty.get(f"{http_server.url}/hold")
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})
        audit_quiet(pool)


async def test_pool_takes_requests_as_values(http_server: OriginServer) -> None:
    """Without a client above: what it builds can be sent by anyone."""
    request = Client(trust_env=False, headers={"X-Own": "1"}).build_request(
        "PUT", f"{http_server.url}/request", json=[1]
    )
    async with ConnectionPool() as pool:
        from tests.exchanges import context

        response = await pool.send(request, context())
        body = await response.read()
        assert b'"X-Own", "1"' in body
        assert b'"method": "PUT"' in body
        assert response.status == 200
        assert response.url == f"{http_server.url}/request"
