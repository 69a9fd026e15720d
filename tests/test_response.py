"""`HTTPResponse`: every way of reading, over every framing and split, compared with `http.client` on the same bytes."""

from __future__ import annotations

import asyncio
import http.client
import io
import random
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDictProxy

from aiohttpconn import (
    AsyncHTTPConnection,
    HTTPResponse,
    IncompleteRead,
    ReadTimeout,
    ResponseNotReady,
    StreamClosed,
    Timeout,
)
from tests.net.streaming import until
from tests.servers.raw import Close, Hold, Request, Send, WaitFor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.servers.raw import RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

LINES = [b"first\n", b"\n", b"third\r\n", b"x" * 300 + b"\n", b"no line end"]
BODY = b"".join(LINES)


def with_length(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def in_chunks(body: bytes, sizes: tuple[int, ...] = (1, 7, 2, 100, 3)) -> bytes:
    parts = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    at = number = 0
    while at < len(body):
        piece = body[at : at + sizes[number % len(sizes)]]
        parts.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        at += len(piece)
        number += 1
    return b"".join(parts) + b"0\r\n\r\n"


def until_close(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n\r\n" + body


FRAMINGS = {"length": with_length, "chunked": in_chunks, "close": until_close}


class Canned:
    """A socket as `http.client.HTTPResponse` needs it, with all of the response in it."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self.data))


def theirs(data: bytes, method: str = "GET") -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(Canned(data), method=method)  # type: ignore[arg-type]
    response.begin()
    return response


@pytest.fixture
async def ours(raw_server: StartServer) -> AsyncIterator[Callable[..., Awaitable[HTTPResponse]]]:
    """``await ours(data, …)``: the response that `data` is, sent whole, in pieces of `each` bytes or cut at `cuts`."""
    connections = []

    async def start(data: bytes, *, method: str = "GET", then: Any = (), **how: Any) -> HTTPResponse:
        server = await raw_server([Request(), Send(data, **how), *then])
        conn = AsyncHTTPConnection("127.0.0.1", server.port, timeout=10)
        connections.append(conn)
        await conn.request(method, "/path")
        return await conn.getresponse()

    yield start
    for conn in connections:
        await conn.close()


Ours = "Callable[..., Awaitable[HTTPResponse]]"

framed = pytest.mark.parametrize("framing", FRAMINGS)
split = pytest.mark.parametrize(
    "how",
    [{}, {"each": 1}, {"each": 13}, *({"cuts": tuple(random.Random(seed).sample(range(900), 6))} for seed in range(3))],
    ids=["whole", "each 1", "each 13", "random 0", "random 1", "random 2"],
)


# --- every way of reading ---------------------------------------------------------------------------------------------


async def by_read_all(response: HTTPResponse) -> bytes:
    return await response.read()


async def by_read_n(response: HTTPResponse) -> bytes:
    parts = []
    while data := await response.read(7):
        parts.append(data)
    assert all(len(part) == 7 for part in parts[:-1])  # fewer than asked for only at the end
    return b"".join(parts)


async def by_read1(response: HTTPResponse) -> bytes:
    parts = []
    while data := await response.read1():
        parts.append(data)
    return b"".join(parts)


async def by_read1_n(response: HTTPResponse) -> bytes:
    parts = []
    while data := await response.read1(5):
        assert len(data) <= 5
        parts.append(data)
    return b"".join(parts)


async def by_readinto(response: HTTPResponse) -> bytes:
    parts = []
    buffer = bytearray(11)
    while size := await response.readinto(buffer):
        parts.append(bytes(buffer[:size]))
    assert all(len(part) == 11 for part in parts[:-1])  # filled across chunks
    return b"".join(parts)


async def by_readinto_memoryview(response: HTTPResponse) -> bytes:
    buffer = bytearray(1000)
    size = await response.readinto(memoryview(buffer)[10:])
    assert bytes(buffer[:10]) == bytes(10)
    assert await response.readinto(memoryview(bytearray(5))) == 0
    return bytes(buffer[10 : 10 + size])


async def by_readinto_wide_memoryview(response: HTTPResponse) -> bytes:
    buffer = bytearray(1600)
    size = await response.readinto(memoryview(buffer).cast("d"))
    return bytes(buffer[:size])


async def by_readline(response: HTTPResponse) -> bytes:
    lines = []
    while line := await response.readline():
        lines.append(line)
    assert lines == LINES
    return b"".join(lines)


async def by_readline_limit(response: HTTPResponse) -> bytes:
    lines = []
    while line := await response.readline(4):
        assert len(line) <= 4
        assert b"\n" not in line[:-1]
        lines.append(line)
    assert lines[:3] == [b"firs", b"t\n", b"\n"]
    return b"".join(lines)


async def by_peek_and_read1(response: HTTPResponse) -> bytes:
    parts = []
    while seen := await response.peek():
        assert await response.peek(3) == seen[:3]
        data = await response.read1(len(seen))
        assert data == seen
        parts.append(data)
    return b"".join(parts)


async def by_iterating(response: HTTPResponse) -> bytes:
    parts = [chunk async for chunk in response]
    assert all(parts)  # never empty
    return b"".join(parts)


async def by_iter_chunks(response: HTTPResponse) -> bytes:
    parts = [chunk async for chunk in response.iter_chunks(9)]
    assert all(len(part) == 9 for part in parts[:-1])
    assert 0 < len(parts[-1]) <= 9
    return b"".join(parts)


async def by_iter_lines(response: HTTPResponse) -> bytes:
    lines = [line async for line in response.iter_lines()]
    assert lines == LINES
    return b"".join(lines)


async def by_everything_in_turn(response: HTTPResponse) -> bytes:
    parts = [await response.readline(), await response.read(3), await response.read1(2)]
    buffer = bytearray(20)
    parts.append(bytes(buffer[: await response.readinto(buffer)]))
    assert (await response.peek(1)) in (b"x",)
    async for chunk in response.iter_chunks(50):
        parts.append(chunk)
        break
    parts.append(await response.read())
    return b"".join(parts)


WAYS = [
    by_read_all,
    by_read_n,
    by_read1,
    by_read1_n,
    by_readinto,
    by_readinto_memoryview,
    by_readinto_wide_memoryview,
    by_readline,
    by_readline_limit,
    by_peek_and_read1,
    by_iterating,
    by_iter_chunks,
    by_iter_lines,
    by_everything_in_turn,
]


@split
@framed
async def test_every_way_of_reading_gives_the_body(ours: Any, framing: str, how: dict[str, Any]) -> None:
    data = FRAMINGS[framing](BODY)
    expected = theirs(data).read()
    assert expected == BODY
    for way in WAYS:
        response = await ours(data, **how)
        assert await way(response) == BODY, way.__name__
        assert response.isclosed()
        assert response.length in (0, None)
        assert not response.closed
        # After the end every way says so, and says it again.
        assert await response.read() == b""
        assert await response.read(5) == b""
        assert await response.read1() == b""
        assert await response.readline() == b""
        assert await response.peek() == b""
        assert await response.readinto(bytearray(5)) == 0
        assert [chunk async for chunk in response] == []
        assert [chunk async for chunk in response.iter_chunks(5)] == []
        assert [line async for line in response.iter_lines()] == []


@framed
@pytest.mark.parametrize("how", [{}, {"each": 1}], ids=["whole", "byte by byte"])
async def test_reads_of_a_given_size_give_what_http_client_gives(ours: Any, framing: str, how: dict[str, Any]) -> None:
    data = FRAMINGS[framing](BODY)
    mine, yours = await ours(data, **how), theirs(data)
    for size in (0, 1, 5, 0, 17, 3, 200, 1000, 1):
        assert await mine.read(size) == yours.read(size)
    mine, yours = await ours(data, **how), theirs(data)
    for size in (4, 1, 40, 0, 400, 1):
        my_buffer, your_buffer = bytearray(size), bytearray(size)
        assert await mine.readinto(my_buffer) == yours.readinto(your_buffer)
        assert my_buffer == your_buffer
    mine, yours = await ours(data, **how), theirs(data)
    for limit in (-1, 2, 0, 100, 1000, -1, -1, 5):
        assert await mine.readline(limit) == yours.readline(limit)


@framed
async def test_empty_body(ours: Any, framing: str) -> None:
    for way in (by_read_all, by_read_n, by_read1, by_readinto, by_iterating, by_readline_limit):
        response = await ours(FRAMINGS[framing](b""))
        if way is by_readline_limit:
            assert [line async for line in response.iter_lines()] == []
        else:
            assert await way(response) == b""
        assert response.isclosed()


async def test_read_of_nothing_waits_for_nothing(ours: Any) -> None:
    response = await ours(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", then=[Hold()])
    assert await response.read(0) == b""
    assert await response.read1(0) == b""
    assert await response.readinto(bytearray()) == 0
    assert await response.readline(0) == b""
    assert not response.isclosed()
    await response.close()


async def test_negative_amount_reads_all(ours: Any) -> None:
    assert await (await ours(with_length(BODY))).read(-1) == BODY
    assert await (await ours(with_length(BODY))).read(None) == BODY


async def test_iter_chunks_of_no_size_is_value_error(ours: Any) -> None:
    response = await ours(with_length(BODY))
    with pytest.raises(ValueError, match="at least 1"):
        [chunk async for chunk in response.iter_chunks(0)]


async def test_pieces_are_handed_on_as_they_arrive(raw_server: StartServer) -> None:
    go = asyncio.Event()
    head = Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    server = await raw_server([Request(), head, WaitFor(go), Send(b"world"), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        pieces = aiter(response)
        assert await anext(pieces) == b"hello"
        go.set()
        assert await anext(pieces) == b"world"
        with pytest.raises(StopAsyncIteration):
            await anext(pieces)


async def test_slow_consumer_of_a_large_body_gets_all_of_it(http_server: Any) -> None:
    from tests.servers.origin import pattern

    async with AsyncHTTPConnection("127.0.0.1", http_server.port) as conn:
        for path in ("/bytes/3000000", "/chunked/3000000", "/until-close/3000000"):
            await conn.request("GET", path)
            response = await conn.getresponse()
            parts = [await response.read(100_000)]
            for _ in range(50):  # the socket fills, and reading from it pauses
                await asyncio.sleep(0)
            async for chunk in response:
                parts.append(chunk)
                await asyncio.sleep(0)
            assert b"".join(parts) == pattern(3_000_000)


# --- the head ---------------------------------------------------------------------------------------------------------


async def test_head_is_as_http_client_has_it(ours: Any) -> None:
    data = (
        b"HTTP/1.1 404 Not Here\r\nServer: x\r\nSet-Cookie: a=1\r\nX-Empty:\r\nset-cookie: b=2\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    )
    mine, yours = await ours(data), theirs(data)
    assert (mine.status, mine.reason, mine.version) == (yours.status, yours.reason, yours.version)
    assert mine.getheaders() == yours.getheaders()
    for name in ("server", "SET-COOKIE", "x-empty", "absent"):
        assert mine.getheader(name) == yours.getheader(name)
        assert mine.getheader(name, "default") == yours.getheader(name, "default")
        assert mine.headers.get(name) == yours.headers.get(name)
        assert mine.msg.get(name) == yours.msg.get(name)
    assert mine.length == yours.length == 5
    assert mine.chunked == yours.chunked is False
    assert mine.will_close == yours.will_close
    assert mine.closed == yours.closed is False
    assert mine.isclosed() == yours.isclosed() is False
    assert await mine.read(2) == yours.read(2)
    assert mine.length == yours.length == 3
    assert await mine.read() == yours.read()
    assert mine.length == yours.length == 0
    assert mine.isclosed() == yours.isclosed() is True
    assert mine.headers is mine.msg
    assert isinstance(mine.headers, CIMultiDictProxy)
    assert mine.url == mine.geturl() == "/path"
    assert list(mine.trailers) == []
    assert repr(mine).startswith("<HTTPResponse 404 Not Here")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n",
    ],
    ids=repr,
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_framing_is_told_as_http_client_tells_it(ours: Any, head: bytes, method: str) -> None:
    data = head + b"\r\n"
    mine, yours = await ours(data, method=method), theirs(data, method)
    if method == "GET":
        assert mine.chunked == bool(yours.chunked)
        assert mine.length == yours.length
    assert mine.will_close == bool(yours.will_close) or method == "HEAD"
    assert mine.version == yours.version
    assert mine.reason == yours.reason
    await mine.close()


async def test_repeated_fields_are_joined_by_getheader(ours: Any) -> None:
    data = b"HTTP/1.1 200 OK\r\nVia: a\r\nVia: b, c\r\nvia: d\r\nContent-Length: 0\r\n\r\n"
    response = await ours(data)
    assert response.getheader("VIA") == "a, b, c, d" == theirs(data).getheader("VIA")
    assert response.getheader("X") is None


async def test_trailers_are_there_once_the_body_has_been_read(raw_server: StartServer) -> None:
    go = asyncio.Event()
    server = await raw_server(
        [
            Request(),
            Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n"),
            WaitFor(go),
            Send(b"0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n"),
            Hold(),
        ]
    )
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        assert response.chunked
        assert response.length is None
        assert await response.read1() == b"hello"
        assert dict(response.trailers) == {}
        assert not response.isclosed()
        go.set()
        assert await response.read() == b""
        assert response.trailers.getall("X-Sum") == ["1", "2"]
        assert response.isclosed()
        assert conn.reusable


# --- bodies that end early --------------------------------------------------------------------------------------------

SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\none\ntwo"
SHORT_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n8\r\ntwo"


@pytest.mark.parametrize(("data", "expected"), [(SHORT, 13), (SHORT_CHUNKED, None)], ids=["length", "chunked"])
@pytest.mark.parametrize("each", [None, 1])
async def test_incomplete_read_in_every_way_of_reading(
    ours: Any, data: bytes, expected: int | None, each: int | None
) -> None:
    async def read_all(response: HTTPResponse) -> None:
        await response.read()

    async def read_n(response: HTTPResponse) -> None:
        await response.read(20)

    async def readinto(response: HTTPResponse) -> None:
        await response.readinto(bytearray(20))

    async def iter_chunks(response: HTTPResponse) -> None:
        async for _ in response.iter_chunks(20):
            pytest.fail("handed out as if it were whole")

    for way in (read_all, read_n, readinto, iter_chunks):
        response = await ours(data, each=each, then=[Close()])
        with pytest.raises(IncompleteRead) as caught:
            await way(response)
        assert (caught.value.partial, caught.value.expected) == (b"one\ntwo", expected), way.__name__
        assert "GET /path at 127.0.0.1:" in str(caught.value)
        assert not response.isclosed()
        with pytest.raises(IncompleteRead):  # never taken for success afterwards
            await response.read()
        with pytest.raises(IncompleteRead):
            await response.read1()

    # What can be handed out is, and only then the error comes, with what had not been handed out.
    response = await ours(data, each=each, then=[Close()])
    assert await response.read(5) == b"one\nt"
    with pytest.raises(IncompleteRead) as caught:
        await response.read(5)
    assert (caught.value.partial, caught.value.expected) == (b"wo", expected)

    response = await ours(data, each=each, then=[Close()])
    assert await response.readline() == b"one\n"
    with pytest.raises(IncompleteRead) as caught:
        await response.readline()
    assert (caught.value.partial, caught.value.expected) == (b"two", expected)

    async def lines(response: HTTPResponse, got: list[bytes]) -> None:
        async for line in response.iter_lines():
            got.append(line)  # noqa: PERF401 - what came before the error is what matters

    async def read1(response: HTTPResponse, got: list[bytes]) -> None:
        while True:
            got.append(await response.read1())

    async def peek(response: HTTPResponse, got: list[bytes]) -> None:
        while True:
            await response.peek()
            got.append(await response.read1(1))

    async def iteration(response: HTTPResponse, got: list[bytes]) -> None:
        while True:
            got.append(await anext(response))

    for step, before in ((lines, b"one\n"), (read1, b"one\ntwo"), (peek, b"one\ntwo"), (iteration, b"one\ntwo")):
        response = await ours(data, each=each, then=[Close()])
        got: list[bytes] = []
        with pytest.raises(IncompleteRead) as caught:
            await step(response, got)
        assert b"".join(got) == before
        assert (caught.value.partial, caught.value.expected) == (b"one\ntwo"[len(before) :], expected)


async def test_incomplete_read_is_what_http_client_has(ours: Any) -> None:
    with pytest.raises(http.client.IncompleteRead) as yours:
        theirs(SHORT).read()
    response = await ours(SHORT, then=[Close()])
    with pytest.raises(IncompleteRead) as mine:
        await response.read()
    assert (mine.value.partial, mine.value.expected) == (yours.value.partial, yours.value.expected)


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_close_keeps_the_connection_when_the_rest_has_arrived(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(in_chunks(BODY)), Request(), Send(with_length(BODY)), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        assert await response.read(3) == b"fir"
        while server.accepted[0].writer.transport.get_write_buffer_size():
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        await response.close()
        assert response.closed
        assert conn.reusable
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == BODY
    assert server.connections == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
    ],
    ids=["length", "chunked", "close"],
)
async def test_close_aborts_the_connection_when_the_rest_has_not_arrived(raw_server: StartServer, head: bytes) -> None:
    server = await raw_server([Request(), Send(head), Hold()], [Request(), Send(with_length(BODY)), Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        assert await response.read(2) == b"he"
        await response.close()
        await response.close()
        assert response.closed
        assert not response.isclosed()
        assert not conn.is_connected
        with pytest.raises(StreamClosed, match="closed before its body was read"):
            await response.read()
        await server.wait_idle()  # it sees the end
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == BODY
    assert server.connections == 2


async def test_async_with_closes_the_response(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        async with await conn.getresponse() as response:
            assert await response.read(1) == b"h"
        assert response.closed
        assert not conn.is_connected


async def test_closing_a_response_that_was_read_keeps_the_connection(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(with_length(BODY)), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        async with await conn.getresponse() as response:
            assert await response.read() == BODY
        assert response.closed
        assert response.isclosed()
        assert conn.reusable


async def test_a_response_of_before_does_not_disturb_the_next_exchange(raw_server: StartServer) -> None:
    server = await raw_server(
        [
            Request(),
            Send(with_length(BODY)),
            Request(),
            Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"),
            Hold(),
        ]
    )
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        first = await conn.getresponse()
        assert await first.read() == BODY
        await conn.request("GET", "/")
        second = await conn.getresponse()
        await first.close()
        assert await first.read() == b""
        assert conn.is_connected
        assert await second.read(5) == b"hello"
        await second.close()


async def test_a_body_that_arrived_whole_frees_the_connection_before_it_is_read(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(with_length(b"one")), Request(), Send(with_length(b"two")), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        first = await conn.getresponse()
        assert conn.reusable
        await conn.request("GET", "/")
        second = await conn.getresponse()
        assert (await second.read(), await first.read()) == (b"two", b"one")


# --- handing over -----------------------------------------------------------------------------------------------------


async def test_detach_by_hand_gives_unread_bytes_first(raw_server: StartServer) -> None:
    server = await raw_server(
        [Request(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello "), Request(), Send(b"world"), Hold()]
    )
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        assert await response.read(2) == b"he"
        reader, writer = await response.detach()
        assert conn.reader is None
        assert conn.writer is None
        assert not conn.is_connected
        assert response.closed
        writer.write(b"GET /by/hand HTTP/1.1\r\n\r\n")
        assert await reader.readexactly(9) == b"llo world"
        await conn.close()  # no longer its business
        assert not writer.is_closing()
        with pytest.raises(StreamClosed):
            await response.detach()
        writer.close()
        await writer.wait_closed()


CHUNKS = b"5\r\nhello\r\n10;ext\r\n0123456789abcdef\r\n0\r\n\r\n"
DETACHED = [
    *((cut, CHUNKS[8:]) for cut in (8, 9)),
    *((cut, CHUNKS[10:]) for cut in range(10, 18)),
    *((cut, CHUNKS[18:]) for cut in range(18, 36)),
    *((cut, CHUNKS[18:34] + CHUNKS[36:]) for cut in range(36, 39)),
    *((cut, CHUNKS[18:34] + CHUNKS[39:]) for cut in range(39, 41)),
]


@pytest.mark.parametrize(("cut", "rest"), DETACHED)
async def test_detach_in_the_midst_of_chunks_loses_nothing(raw_server: StartServer, cut: int, rest: bytes) -> None:
    """What was decoded and not read, then all as it was sent, from wherever the decoder had come to."""
    more = asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = await raw_server([Request(), Send(head + CHUNKS[:cut]), WaitFor(more), Send(CHUNKS[cut:]), Close()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        assert await response.read(2) == b"he"
        reader, writer = await response.detach()
        more.set()
        assert await reader.read() == b"llo" + rest
        writer.close()
        await writer.wait_closed()


async def test_detach_after_the_body_is_response_not_ready(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(with_length(BODY)), Request(), Send(in_chunks(BODY), each=50), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        for _ in range(2):
            await conn.request("GET", "/")
            response = await conn.getresponse()
            await response.read()
            with pytest.raises(ResponseNotReady):
                await response.detach()
            assert conn.reusable


async def test_detach_after_close_is_stream_closed(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello"), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        await response.close()
        with pytest.raises(StreamClosed):
            await response.detach()


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", [b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n", b""])
async def test_each_wait_for_more_of_the_body_has_the_read_timeout(raw_server: StartServer, framing: bytes) -> None:
    body = b"5\r\nhello\r\n" if b"chunked" in framing else b"hello"
    server = await raw_server([Request(), Send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + body), Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(read=0.05)) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        assert await response.read(5) == b"hello"
        with pytest.raises(ReadTimeout) as caught:
            await response.read()
        assert isinstance(caught.value, TimeoutError)
        assert re.search(r"within 0\.05 s.*GET / at 127\.0\.0\.1:\d+", str(caught.value))
        assert not conn.is_connected
        await server.wait_idle()


async def test_body_that_drips_may_take_longer_than_the_read_timeout_in_all(raw_server: StartServer) -> None:
    head = Send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
    server = await raw_server([Request(), head, Send(b"dripping", each=1, pause=0.1), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(read=0.5)) as conn:
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == b"dripping"


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 16, 1000, 16_384, None])
async def test_slow_consumer_holds_less_than_a_mib_whatever_the_chunks(
    raw_server: StartServer, size: int | None
) -> None:
    """All that is held for the response, the objects that hold it included."""
    if size is None:
        head, block = b"Content-Length: 1073741824", b"x" * 65_536
    else:
        head, block = b"Transfer-Encoding: chunked", (b"%x\r\n%b\r\n" % (size, b"x" * size)) * (60_000 // (size + 5))

    async def flood(reader: Any, writer: asyncio.StreamWriter, conn: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        while not writer.is_closing():
            writer.write(block)
            await writer.drain()

    server = await raw_server(flood)
    async with AsyncHTTPConnection("127.0.0.1", server.port, timeout=10) as conn:
        await conn.request("GET", "/")
        await until(lambda: conn.reader is not None and conn.reader.buffered > 262_144)
        response = await conn.getresponse()

        def held() -> int:
            pieces = [*response._queue(), *conn.reader._chunks]
            return sum(map(sys.getsizeof, pieces)) + sys.getsizeof(response._pieces)

        most = held()
        for _ in range(20):
            await asyncio.sleep(0.005)
            most = max(most, held())
            assert len(await response.__anext__()) <= 262_144
            most = max(most, held())
        assert most < 1 << 20


async def test_no_more_than_256_kib_is_handed_out_at_once(raw_server: StartServer) -> None:
    body = bytes(range(251)) * 4000
    pieces = [Send(body[at : at + 50_000]) for at in range(0, 300_000, 50_000)]
    server = await raw_server([Request(), Send(with_length(body)[: -len(body)]), *pieces, Send(body[300_000:]), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port, timeout=10) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        await until(lambda: conn.reader is not None and conn.reader.buffered > 262_144)
        while conn.reader is not None and conn.reader.buffered:
            response.feed(conn.reader.take())
        got = []
        while data := await response.read1():
            got.append(data)
        assert b"".join(got) == body
        assert max(map(len, got)) <= 262_144


@pytest.mark.parametrize("arrived", [50_000, 400_000])
async def test_close_takes_all_that_has_arrived(raw_server: StartServer, arrived: int) -> None:
    """However much of it: the connection is kept."""
    server = await raw_server(
        [Request(), Send(with_length(b"x" * arrived)), Request(), Send(with_length(b"next")), Hold()]
    )
    async with AsyncHTTPConnection("127.0.0.1", server.port, timeout=10) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        for _ in range(200):  # until all of it has come, or no more is taken off the socket
            await asyncio.sleep(0.001)
        await response.close()
        assert conn.reusable
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == b"next"


# --- loops ------------------------------------------------------------------------------------------------------------


async def test_going_on_in_another_loop_is_refused_and_harms_nothing(raw_server: StartServer) -> None:
    more = asyncio.Event()
    server = await raw_server(
        [Request(), Send(in_chunks(BODY)[:100]), WaitFor(more), Send(in_chunks(BODY)[100:]), Hold()]
    )
    async with AsyncHTTPConnection("127.0.0.1", server.port, timeout=10) as conn:
        await conn.request("GET", "/path")
        response = await conn.getresponse()
        begun = await response.read1()

        async def elsewhere() -> None:
            for use in (
                response.read(),
                response.read(5),
                response.read1(),
                response.readinto(bytearray(5)),
                response.readline(),
                response.peek(),
                response.__anext__(),
                response.iter_lines().__anext__(),
                response.close(),
                response.detach(),
            ):
                with pytest.raises(RuntimeError, match=r"GET /path .*belongs to another event loop"):
                    await use

        await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
        more.set()
        assert begun + await response.read() == BODY
        assert conn.reusable
        # What has arrived whole belongs to nobody.
        assert await asyncio.to_thread(lambda: asyncio.run(response.read())) == b""
        await asyncio.to_thread(lambda: asyncio.run(response.close()))
