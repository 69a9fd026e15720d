"""`client.stream`: who reads how much, who leaves when, and what becomes of the connection."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from aiohttpconn import Client, IncompleteRead, ReadError, ReadTimeout, StreamClosed, StreamConsumed
from tests.auditing import audit_quiet, settle
from tests.client.reading import take
from tests.exchanges import until
from tests.servers.origin import OriginServer, pattern
from tests.servers.raw import Hold, Reset, Send, Step, WaitFor
from tests.servers.raw import Request as ReadRequest

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
WAYS = ["iter_bytes", "iter_raw", "iter_text", "iter_lines"]
FRAMINGS = ["bytes", "chunked", "until-close"]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
async def test_the_body_as_it_comes(framing: str, size: int, client: Client, http_server: OriginServer) -> None:
    for way in ("iter_bytes", "iter_raw"):
        async with client.stream("GET", f"{http_server.url}/{framing}/{size}") as response:
            pieces = [piece async for piece in getattr(response, way)()]
        assert b"".join(pieces) == pattern(size)
        assert b"" not in pieces
    assert client.stats().idle == (0 if framing == "until-close" else 1)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_in_pieces_of_one_size(framing: str, client: Client, http_server: OriginServer) -> None:
    for way in ("iter_bytes", "iter_raw"):
        async with client.stream("GET", f"{http_server.url}/{framing}/100000") as response:
            pieces = [piece async for piece in getattr(response, way)(7777)]
        assert b"".join(pieces) == pattern(100_000)
        assert {len(piece) for piece in pieces[:-1]} == {7777}
        assert len(pieces[-1]) == 100_000 % 7777


async def test_how_much_is_received_ahead(client: Client, http_server: OriginServer) -> None:
    async with client.stream("GET", f"{http_server.url}/bytes/300000") as response:
        for size, error in ((0, ValueError), (-1, ValueError), ("64", TypeError), (True, TypeError)):
            with pytest.raises(error, match="size must be"):
                response.receive_ahead(size)  # type: ignore[arg-type]
        response.receive_ahead(1)
        assert await response.read() == pattern(300_000)


async def test_pieces_come_while_the_server_still_sends(client: Client, raw_server: StartRaw) -> None:
    more = asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(head + b"first"), WaitFor(more), Send(b"again"), Hold()])
    async with client.stream("GET", server.url) as response:
        got = b""
        async for piece in response.iter_bytes():
            got += piece
            if got == b"first":
                more.set()
    assert got == b"firstagain"


async def test_lines_come_while_the_server_still_sends(client: Client, raw_server: StartRaw) -> None:
    more = asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = await raw_server(
        [ReadRequest(), Send(head + b"6\r\none\ntw\r\n"), WaitFor(more), Send(b"1\r\no\r\n0\r\n\r\n")]
    )
    lines = []
    async with client.stream("GET", server.url) as response:
        async for line in response.iter_lines():
            lines.append(line)
            more.set()
    assert lines == ["one", "two"]


async def test_a_multibyte_character_that_is_cut_by_the_chunks(client: Client, raw_server: StartRaw) -> None:
    euro = "€\u2028€".encode()
    chunks = b"".join(b"1\r\n%c\r\n" % octet for octet in euro) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(head), Send(chunks, each=1)] * 2)
    async with client.stream("GET", server.url) as response:
        assert "".join([text async for text in response.iter_text()]) == "€\u2028€"
    async with client.stream("GET", server.url) as response:
        assert [line async for line in response.iter_lines()] == ["€", "€"]


# --- leaving ----------------------------------------------------------------------------------------------------------


async def leave_after_one(response: Any, way: str) -> None:
    async for _ in getattr(response, way)():
        break


@pytest.mark.parametrize("way", WAYS)
async def test_breaking_out_of_the_loop_closes_and_warns_of_nothing(
    way: str, client: Client, raw_server: StartRaw
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(head + b"line\n" * 1000), Hold()])
    async with client.stream("GET", server.url) as response:
        await leave_after_one(response, way)
    assert client.stats().open == 0
    assert response._raw.closed
    del response
    gc.collect()
    await server.wait_idle()


async def test_leaving_when_all_has_arrived_keeps_the_connection(client: Client, http_server: OriginServer) -> None:
    async with client.stream("GET", f"{http_server.url}/bytes/100") as response:
        pass
    assert response.status == 200
    assert client.stats().idle == 1
    await client.get(http_server.url)
    assert http_server.connections == 1


async def test_leaving_with_an_exception_of_ones_own(client: Client, http_server: OriginServer) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client.stream("GET", f"{http_server.url}/bytes/10000000") as response:
            async for _ in response.iter_bytes():
                raise ZeroDivisionError
    assert client.stats().open == 0
    audit_quiet(client.pool)  # type: ignore[arg-type]


async def test_after_the_block_the_rest_is_gone(client: Client, http_server: OriginServer) -> None:
    async with client.stream("GET", f"{http_server.url}/bytes/10000000") as response:
        iterator = response.iter_bytes()
        await anext(iterator)
    with pytest.raises(StreamClosed):
        while True:
            await anext(iterator)


async def test_what_was_read_inside_the_block_stays(client: Client, http_server: OriginServer) -> None:
    async with client.stream("GET", f"{http_server.url}/bytes/300000") as response:
        await response.read()
    assert response.content == pattern(300_000)


async def test_closing_inside_the_block(client: Client, http_server: OriginServer) -> None:
    async with client.stream("GET", f"{http_server.url}/bytes/10000000") as response:
        await response.close()
        assert client.stats().open == 0
        with pytest.raises(StreamClosed):
            await response.read()


@pytest.mark.parametrize("ending", ["cut", "reset"])
async def test_a_body_that_ends_early_says_so(ending: str, client: Client, raw_server: StartRaw) -> None:
    arrived = asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    script = [ReadRequest(), Send(head + b"begun"), WaitFor(arrived)]
    server = await raw_server([*script, Reset()] if ending == "reset" else script)
    got = b""
    async with client.stream("GET", server.url) as response:
        with pytest.raises(ReadError if ending == "reset" else IncompleteRead) as caught:
            async for piece in response.iter_bytes():
                got += piece
                arrived.set()
        assert caught.value.request is response.request
    assert got == b"begun"


async def test_a_slow_consumer_does_not_let_the_body_pile_up(client: Client, raw_server: StartRaw) -> None:
    """Back-pressure reaches the server: it cannot send on while nobody reads."""
    sent = 0

    async def flood(reader: Any, writer: Any, conn: Any) -> None:
        nonlocal sent
        await conn.read_request()
        await conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
        while sent < 64 << 20:
            await conn.send(b"x" * 65536)
            sent += 65536

    server = await raw_server(flood)
    async with client.stream("GET", server.url) as response:
        iterator = response.iter_bytes()
        await anext(iterator)
        before = -1
        while before != sent:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 32 << 20
        total = 0
        async for piece in iterator:
            total += len(piece)
    assert total > 60 << 20


async def test_the_read_timeout_is_for_each_wait(client: Client, raw_server: StartRaw) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(head + b"x" * 20, each=20, pause=0.03), Hold()])
    async with client.stream("GET", server.url, timeout=0.15) as response:
        with pytest.raises(ReadTimeout) as caught:
            async for _ in response.iter_bytes():
                pass
        assert caught.value.request is response.request
        assert client.stats().open == 0


async def test_many_streams_at_once(client: Client, http_server: OriginServer) -> None:
    async def one(n: int) -> int:
        async with client.stream("GET", f"{http_server.url}/{FRAMINGS[n % 3]}/200000") as response:
            return sum([len(piece) async for piece in response.iter_bytes()])

    assert await asyncio.gather(*(one(n) for n in range(12))) == [200_000] * 12


async def test_a_stream_that_is_never_entered_is_nothing(client: Client, http_server: OriginServer) -> None:
    client.stream("GET", http_server.url)
    gc.collect()
    await settle()
    assert http_server.connections == 0


async def test_a_response_that_is_dropped_unread_warns_and_closes(client: Client, http_server: OriginServer) -> None:
    request = client.build_request("GET", f"{http_server.url}/bytes/10000000")
    held = [await client.send(request, stream=True)]
    with pytest.warns(ResourceWarning, match=rf"GET {http_server.url}/bytes/10000000"):
        held.clear()
    await until(lambda: client.stats().open == 0)


@pytest.mark.parametrize("way", [*WAYS, "read"])
async def test_cancelling_a_read_closes_the_connection(way: str, client: Client, raw_server: StartRaw) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(head + b"begun"), Hold()])
    entered = asyncio.Event()

    async def read() -> None:
        async with client.stream("GET", server.url) as response:
            entered.set()
            await take(response, way)

    task = asyncio.create_task(read())
    await entered.wait()
    await settle(20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.stats().open == 0
    await server.wait_idle()


def in_two_parts(go: asyncio.Event) -> list[Step]:
    """Answers with the first part of a body, and with the rest when `go` is set."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    return [ReadRequest(), Send(head + b"he"), WaitFor(go), Send(b"llo"), Hold()]


@pytest.mark.parametrize("how", ["not read", "streamed", "closed"])
async def test_a_body_that_is_not_to_be_had_says_whose_it_is(how: str, client: Client, raw_server: StartRaw) -> None:
    server = await raw_server(in_two_parts(go := asyncio.Event()))
    async with client.stream("GET", f"{server.url}/what") as response:
        errors = []
        if how == "not read":
            with pytest.raises(StreamConsumed) as info:
                response.content  # noqa: B018 - a property
            errors.append(info.value)
        else:
            if how == "streamed":
                go.set()
                assert b"".join([piece async for piece in response.iter_bytes()]) == b"hello"
            else:
                await response.close()
            kind = StreamConsumed if how == "streamed" else StreamClosed
            with pytest.raises(kind) as info:
                response.content  # noqa: B018 - the same
            errors.append(info.value)
            with pytest.raises(kind) as info:
                await response.read()
            errors.append(info.value)
            with pytest.raises(kind) as info:
                await response.iter_raw().__anext__()
            errors.append(info.value)
    for error in errors:
        assert error.request is response.request
        assert f"GET {server.url}/what" in str(error)


@pytest.mark.parametrize("way", [*WAYS, "read"])
async def test_errors_of_the_body_say_whose_it_is(way: str, client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")])
    async with client.stream("GET", f"{server.url}/what") as response:
        with pytest.raises(IncompleteRead) as info:
            await take(response, way)
    assert info.value.request is response.request
    assert f"GET {server.url}/what" in str(info.value)


async def test_going_on_in_another_loop_is_refused_and_harms_nothing(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server(in_two_parts(go := asyncio.Event()))
    async with client.stream("GET", server.url) as response:

        async def elsewhere() -> None:
            for use in (response.read(), response.iter_bytes().__anext__(), response.close()):
                with pytest.raises(RuntimeError, match="belongs to another event loop"):
                    await use

        await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
        go.set()
        assert await response.read() == b"hello"
    assert client.stats().idle == 1
