"""Bodies on their way out: every kind of body and framing, Expect, early answers, peers that stop reading or break."""

from __future__ import annotations

import array
import asyncio
import io
from typing import TYPE_CHECKING, Any

import aiofiles
import pytest

from aiohttpconn import (
    AsyncHTTPConnection,
    BodyLengthMismatch,
    BodyNotReplayable,
    CannotSendRequest,
    HTTPResponse,
    RemoteDisconnected,
    Timeout,
    TotalTimeout,
    WriteError,
    WriteTimeout,
)
from aiohttpconn.upload import body_pieces
from tests.bodies import endless
from tests.servers.origin import pattern
from tests.servers.raw import Body, Close, Head, Hold, Request, Reset, Send, StopReading, WaitFor
from tests.turns import TurnCounter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.servers.raw import Connection, RawServer, Received

    StartServer = Callable[..., Awaitable[RawServer]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LARGE = pattern(8 << 20)
SMALL_BUFFER = 16_384


async def generator(*pieces: Any) -> AsyncIterator[Any]:
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


async def answered(conn: AsyncHTTPConnection) -> tuple[int, bytes]:
    response = await conn.getresponse()
    return response.status, await response.read()


# --- every kind of body -----------------------------------------------------------------------------------------------


class PieceByPiece:
    """An async iterable that is no generator."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def __aiter__(self) -> PieceByPiece:
        return self

    async def __anext__(self) -> bytes:
        if not self.pieces:
            raise StopAsyncIteration
        return self.pieces.pop(0)


def sync_generator(*pieces: bytes) -> Iterator[bytes]:
    yield from pieces


KNOWN: dict[str, tuple[Callable[[], Any], bytes]] = {
    "bytes": (lambda: b"some bytes", b"some bytes"),
    "empty bytes": (lambda: b"", b""),
    "large bytes": (lambda: LARGE, LARGE),
    "bytearray": (lambda: bytearray(b"a bytearray"), b"a bytearray"),
    "large bytearray": (lambda: bytearray(LARGE[:700_000]), LARGE[:700_000]),
    "memoryview": (lambda: memoryview(b"x a view")[2:], b"a view"),
    "memoryview of doubles": (lambda: memoryview(array.array("d", [1.5, 2.5])), array.array("d", [1.5, 2.5]).tobytes()),
    "memoryview of two dimensions": (lambda: memoryview(b"123456").cast("B", (2, 3)), b"123456"),
    "large memoryview": (lambda: memoryview(LARGE[:700_000]), LARGE[:700_000]),
    "empty memoryview": (lambda: memoryview(b""), b""),
    "str": (lambda: "grüße", b"gr\xfc\xdfe"),
    "empty str": (lambda: "", b""),
}
UNKNOWN: dict[str, tuple[Callable[[], Any], bytes]] = {
    "BytesIO": (lambda: io.BytesIO(b"a file in memory"), b"a file in memory"),
    "large BytesIO": (lambda: io.BytesIO(LARGE[:700_000]), LARGE[:700_000]),
    "empty BytesIO": (lambda: io.BytesIO(), b""),
    "StringIO": (lambda: io.StringIO("grüße"), b"gr\xfc\xdfe"),
    "list": (lambda: [b"one ", bytearray(b"two "), memoryview(b"three")], b"one two three"),
    "tuple": (lambda: (b"one ", b"two"), b"one two"),
    "empty list": (list, b""),
    "empty pieces": (lambda: [b"", b"one", b"", bytearray(), memoryview(b""), b" two", b""], b"one two"),
    "wide pieces": (lambda: [memoryview(array.array("H", [1, 2]))], array.array("H", [1, 2]).tobytes()),
    "generator": (lambda: sync_generator(b"one ", b"", b"two"), b"one two"),
    "async generator": (lambda: generator(b"one ", b"", bytearray(b"two")), b"one two"),
    "empty async generator": (lambda: generator(), b""),
    "async iterable": (lambda: PieceByPiece(b"one ", b"", b"two"), b"one two"),
    "large async generator": (lambda: generator(*[LARGE[:65_536]] * 20), LARGE[:65_536] * 20),
}


@pytest.fixture
async def send(raw_server: StartServer) -> Callable[..., Awaitable[Received]]:
    """``await send(body)``: the request as the server received it; it is followed by another on the same connection."""

    async def run(body: Any, headers: Any = (), **options: Any) -> Received:
        server = await raw_server([Request(), Send(OK), Request(), Send(OK), Hold()])
        async with asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
            await conn.request("POST", "/", body, headers, **options)
            assert await answered(conn) == (200, b"ok")
            await conn.request("GET", "/next")
            assert await answered(conn) == (200, b"ok")
        first, second = server.requests
        assert second.target == "/next"
        assert server.connections == 1
        return first

    return run


@pytest.mark.parametrize("kind", KNOWN)
async def test_body_of_known_size_goes_with_content_length(send: Any, kind: str) -> None:
    make, expected = KNOWN[kind]
    received = await send(make())
    assert received.get_all("Content-Length") == [str(len(expected))]
    assert received.get("Transfer-Encoding") is None
    assert received.raw_body == expected


@pytest.mark.parametrize("kind", UNKNOWN)
async def test_body_of_unknown_size_goes_chunked(send: Any, kind: str) -> None:
    make, expected = UNKNOWN[kind]
    received = await send(make())
    assert received.get_all("Transfer-Encoding") == ["chunked"]
    assert received.get("Content-Length") is None
    assert received.body == expected


@pytest.mark.parametrize("kind", {**KNOWN, **UNKNOWN})
async def test_every_kind_of_body_with_the_callers_content_length(send: Any, kind: str) -> None:
    make, expected = {**KNOWN, **UNKNOWN}[kind]
    received = await send(make(), {"Content-Length": str(len(expected))})
    assert received.raw_body == expected
    assert received.get("Transfer-Encoding") is None


@pytest.mark.parametrize("kind", {**KNOWN, **UNKNOWN})
async def test_every_kind_of_body_cut_into_chunks_on_demand(send: Any, kind: str) -> None:
    make, expected = {**KNOWN, **UNKNOWN}[kind]
    received = await send(make(), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert received.body == expected
    assert received.raw_body.endswith(b"0\r\n\r\n")


async def test_empty_pieces_do_not_end_a_chunked_body(send: Any) -> None:
    received = await send([b"one", b"", b"two"])
    assert received.raw_body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, 70_000])
async def test_real_files(send: Any, tmp_path: Path, size: int) -> None:
    path = tmp_path / "body"
    path.write_bytes(LARGE[:size])
    with path.open("rb") as file:
        received = await send(file)
        assert not file.closed
    assert received.get("Transfer-Encoding") == "chunked"
    assert received.body == LARGE[:size]
    async with aiofiles.open(path, "rb") as file:
        assert (await send(file)).body == LARGE[:size]


async def test_real_text_files(send: Any, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("grüße\n" * 30_000, encoding="utf-8")
    with path.open(encoding="utf-8") as file:
        assert (await send(file)).body == ("grüße\n" * 30_000).encode("latin-1")
    async with aiofiles.open(path, encoding="utf-8") as file:
        assert (await send(file)).body == ("grüße\n" * 30_000).encode("latin-1")


async def test_file_is_sent_from_where_it_stands(send: Any) -> None:
    file = io.BytesIO(b"skipped, sent")
    file.seek(9)
    assert (await send(file)).body == b"sent"


async def test_files_are_read_in_blocks_of_blocksize(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port, blocksize=4) as conn:
        await conn.request("POST", "/", io.BytesIO(b"123456789"))
        await answered(conn)
    assert server.requests[0].raw_body == b"4\r\n1234\r\n4\r\n5678\r\n1\r\n9\r\n0\r\n\r\n"


@pytest.mark.parametrize("kind", ["BytesIO", "list", "async generator"])
async def test_transfer_encoding_of_the_caller_is_his_own_to_encode(send: Any, kind: str) -> None:
    framed = b"3;ext\r\none\r\n0\r\nX: y\r\n\r\n"
    body = {"BytesIO": io.BytesIO(framed), "list": [framed[:5], framed[5:]], "async generator": generator(framed)}[kind]
    received = await send(body, {"Transfer-Encoding": "chunked"})
    assert received.raw_body == framed


# --- what can be no body ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [5, 1.5, object(), {"a": "b"}, True], ids=["int", "float", "object", "dict", "bool"])
async def test_wrong_type_of_body_is_type_error(raw_server: StartServer, body: Any) -> None:
    server = await raw_server([Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        with pytest.raises(TypeError, match="body"):
            await conn.request("POST", "/", body)
        assert not conn.is_connected  # half a request may be out
        await server.wait_idle()


@pytest.mark.parametrize("pieces", [["text"], [b"fine", "text"], [b"fine", 5], [None]], ids=repr)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["list", "async generator"])
async def test_wrong_type_of_piece_is_type_error(raw_server: StartServer, pieces: Any, asynchronous: bool) -> None:
    server = await raw_server([Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        with pytest.raises(TypeError, match="pieces of a body"):
            await conn.request("POST", "/", generator(*pieces) if asynchronous else pieces)
        assert not conn.is_connected
        await server.wait_idle()


@pytest.mark.parametrize("make", [str, io.StringIO])
async def test_text_outside_latin_1_says_what_to_do(raw_server: StartServer, make: Callable[[str], Any]) -> None:
    server = await raw_server([Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        with pytest.raises(UnicodeEncodeError, match=r"encode\('utf-8'\)"):
            await conn.request("POST", "/", make("€"))


@pytest.mark.parametrize("asynchronous", [False, True], ids=["generator", "async generator"])
async def test_error_of_the_body_itself_comes_out_and_closes(raw_server: StartServer, asynchronous: bool) -> None:
    def broken() -> Iterator[bytes]:
        yield b"begun"
        raise LookupError("mine")

    async def broken_too() -> AsyncIterator[bytes]:
        yield b"begun"
        raise LookupError("mine")

    server = await raw_server([Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        with pytest.raises(LookupError, match="mine"):
            await conn.request("POST", "/", broken_too() if asynchronous else broken())
        assert not conn.is_connected
        await server.wait_idle()


# --- lengths that do not fit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [2, 4])
@pytest.mark.parametrize(
    "make",
    [
        lambda: b"abc",
        lambda: bytearray(b"abc"),
        lambda: "abc",
        lambda: [b"a", b"bc"],
        lambda: io.BytesIO(b"abc"),
        lambda: generator(b"ab", b"c"),
    ],
    ids=["bytes", "bytearray", "str", "list", "file", "async generator"],
)
async def test_body_unlike_its_content_length_is_an_error_and_closes(
    raw_server: StartServer, make: Callable[[], Any], declared: int
) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        received.append(await conn.wait_closed_by_peer())

    received: list[bytes] = []
    server = await raw_server(take)
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        with pytest.raises(BodyLengthMismatch) as caught:
            await conn.request("POST", "/", make(), {"Content-Length": str(declared)})
        assert isinstance(caught.value, ValueError)
        assert f"Content-Length is {declared}" in str(caught.value) or f"Content-Length of {declared}" in str(
            caught.value
        )
        assert f"POST / at 127.0.0.1:{server.port}" in str(caught.value)
        assert not conn.is_connected
        await server.wait_idle()
    # Never more than was declared: the rest would be taken for a request.
    assert len(received[0].partition(b"\r\n\r\n")[2]) <= declared


async def test_large_body_unlike_its_content_length(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        for declared in (len(LARGE) - 1, len(LARGE) + 1):
            with pytest.raises(BodyLengthMismatch):
                await conn.request("POST", "/", LARGE, {"Content-Length": str(declared)})
            assert not conn.is_connected


# --- step by step -----------------------------------------------------------------------------------------------------


async def begin(conn: AsyncHTTPConnection, *fields: tuple[str, str], body: Any = None, **options: Any) -> None:
    conn.putrequest("POST", "/", skip_accept_encoding=True)
    for name, value in fields:
        conn.putheader(name, value)
    await conn.endheaders(body, **options)


async def test_send_after_endheaders(raw_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"seven ")
    server = await raw_server([Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await begin(conn, ("Content-Length", "34"))
        await conn.send(b"one ")
        await conn.send("two ")
        await conn.send(io.BytesIO(b"three "))
        await conn.send([b"four ", b"five "])
        await conn.send(generator(b"six ", b""))
        with path.open("rb") as file:
            await conn.send(file)
        await conn.send(bytearray(b""))
        assert await answered(conn) == (200, b"ok")
        assert conn.reusable
    assert server.requests[0].raw_body == b"one two three four five six seven "


async def test_send_of_chunks_framed_by_hand(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await begin(conn, ("Transfer-Encoding", "chunked"))
        for piece in (b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"):
            await conn.send(piece)
        assert await answered(conn) == (200, b"ok")
    assert server.requests[0].body == b"onetwo"


@pytest.mark.parametrize("encode", [False, True])
async def test_endheaders_with_a_body_cuts_it_into_chunks_on_demand(raw_server: StartServer, encode: bool) -> None:
    server = await raw_server([Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        body = [b"one", b"two"] if encode else [b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"]
        await begin(conn, ("Transfer-Encoding", "chunked"), body=body, encode_chunked=encode)
        assert await answered(conn) == (200, b"ok")
    assert server.requests[0].raw_body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_send_of_less_than_was_declared_is_an_error_and_closes(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await begin(conn, ("Content-Length", "5"))
        await conn.send(b"four")
        with pytest.raises(BodyLengthMismatch, match="shorter than its Content-Length of 5: 4 bytes"):
            await conn.getresponse()
        assert not conn.is_connected
        await server.wait_idle()


@pytest.mark.parametrize(
    "make", [lambda: b"67", lambda: [b"67"], lambda: generator(b"6", b"7")], ids=["bytes", "list", "gen"]
)
async def test_send_of_more_than_was_declared_is_an_error_and_closes(
    raw_server: StartServer, make: Callable[[], Any]
) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        received.append(await conn.wait_closed_by_peer())

    received: list[bytes] = []
    server = await raw_server(take)
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await begin(conn, ("Content-Length", "6"))
        await conn.send(b"12345")
        with pytest.raises(BodyLengthMismatch, match="longer than its Content-Length of 6"):
            await conn.send(make())
        assert not conn.is_connected
        await server.wait_idle()
    assert len(received[0].partition(b"\r\n\r\n")[2]) <= 6


async def test_send_while_the_response_is_open_is_cannot_send_request(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        conn.putrequest("GET", "/")
        with pytest.raises(CannotSendRequest):
            await conn.send(b"before the head")
        await conn.endheaders()
        response = await conn.getresponse()
        with pytest.raises(CannotSendRequest):
            await conn.send(b"too late")
        await response.close()


# --- Expect: 100-continue ---------------------------------------------------------------------------------------------

EXPECT = {"Expect": "100-continue"}
BODIES = pytest.mark.parametrize(
    "make", [lambda: b"body", lambda: [b"bo", b"dy"], lambda: generator(b"body")], ids=["bytes", "list", "generator"]
)


@BODIES
@pytest.mark.parametrize("each", [None, 1])
@pytest.mark.parametrize("expect", ["100-continue", "100-Continue"])
async def test_body_waits_for_100(
    raw_server: StartServer, make: Callable[[], Any], expect: str, each: int | None
) -> None:
    early = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        received = await conn.read_head()
        for _ in range(10):
            await asyncio.sleep(0)
        early.append(bytes(reader._buffer))  # type: ignore[attr-defined]
        await conn.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + CONTINUE, each=each)
        await conn.read_body(received)
        await conn.send(OK)
        await conn.wait_closed_by_peer()

    server = await raw_server(script)
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        seen: list[int] = []
        conn.on_interim = lambda head: seen.append(head.status)
        await conn.request("POST", "/", make(), {"Expect": expect})
        assert await answered(conn) == (200, b"ok")
        assert seen == [103, 100]
        assert conn.reusable
    assert early == [b""]
    assert server.requests[0].body == b"body"


@BODIES
@pytest.mark.parametrize("status", [417, 401, 302, 200])
async def test_final_answer_instead_of_100_means_the_body_is_not_sent(
    raw_server: StartServer, make: Callable[[], Any], status: int
) -> None:
    rest = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        await conn.read_head()
        await conn.send(b"HTTP/1.1 %d Such\r\nContent-Length: 2\r\n\r\nno" % status)
        rest.append(await conn.wait_closed_by_peer())

    server = await raw_server(script)
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("POST", "/", make(), EXPECT)
        response = await conn.getresponse()
        assert response.will_close
        assert (response.status, await response.read()) == (status, b"no")
        assert not conn.is_connected
        await server.wait_idle()
    assert rest == [b""]


async def test_close_instead_of_100_is_remote_disconnected(raw_server: StartServer) -> None:
    server = await raw_server([Head(), Close()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("POST", "/", b"body", EXPECT)
        with pytest.raises(RemoteDisconnected):
            await conn.getresponse()


@BODIES
async def test_body_is_sent_when_nothing_comes_for_a_second(
    raw_server: StartServer, make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import aiohttpconn.http1

    assert aiohttpconn.http1.CONTINUE_TIMEOUT == 1.0
    monkeypatch.setattr(aiohttpconn.http1, "CONTINUE_TIMEOUT", 0.05)
    server = await raw_server([Request(), Send(OK), Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("POST", "/", make(), EXPECT)
        assert await answered(conn) == (200, b"ok")
        assert conn.reusable
    assert server.requests[0].body == b"body"


async def test_100_that_comes_late_is_passed_over(raw_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiohttpconn.http1.CONTINUE_TIMEOUT", 0.02)
    server = await raw_server([Request(), Send(CONTINUE + OK), Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("POST", "/", b"body", EXPECT)
        assert await answered(conn) == (200, b"ok")


@pytest.mark.parametrize("final", [False, True], ids=["100", "final answer"])
async def test_expect_step_by_step(raw_server: StartServer, final: bool) -> None:
    rest = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        received = await conn.read_head()
        for _ in range(10):
            await asyncio.sleep(0)
        rest.append(bytes(reader._buffer))  # type: ignore[attr-defined]
        if final:
            await conn.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
            rest.append(await conn.wait_closed_by_peer())
        else:
            await conn.send(CONTINUE)
            await conn.read_body(received)
            await conn.send(OK)
            await conn.wait_closed_by_peer()

    server = await raw_server(script)
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await begin(conn, ("Expect", "100-continue"), ("Content-Length", "4"))
        await conn.send(b"bo")
        await conn.send(b"dy")
        assert await answered(conn) == ((417, b"no") if final else (200, b"ok"))
        assert conn.is_connected is not final
        if final:
            await server.wait_idle()
    assert rest == ([b"", b""] if final else [b""])


# --- answers that come while the body is still being sent -------------------------------------------------------------


LARGE_BODIES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: LARGE,
    "file": lambda: io.BytesIO(LARGE),
    "list": lambda: [LARGE[at : at + 65_536] for at in range(0, len(LARGE), 65_536)],
    "endless generator": endless,
}


@pytest.mark.parametrize("kind", LARGE_BODIES)
async def test_413_in_mid_upload_ends_it_though_the_server_takes_no_more(raw_server: StartServer, kind: str) -> None:
    script = [Head(), StopReading(), Send(TOO_LARGE), WaitFor(done := asyncio.Event())]
    server = await raw_server(script, receive_buffer=SMALL_BUFFER)
    async with asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("POST", "/", LARGE_BODIES[kind]())
        response = await conn.getresponse()
        assert (response.status, response.will_close) == (413, True)
        assert await response.read() == b"too much"
        assert not conn.is_connected
        done.set()


@pytest.mark.parametrize("kind", LARGE_BODIES)
async def test_413_in_mid_upload_while_the_server_goes_on_reading(raw_server: StartServer, kind: str) -> None:
    server = await raw_server([Head(), Send(TOO_LARGE), Hold()])
    async with asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("POST", "/", LARGE_BODIES[kind]())
        assert await answered(conn) == (413, b"too much")
        assert not conn.is_connected  # the request is not complete: nothing else may follow it
        await server.wait_idle()


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["close", "reset"])
@pytest.mark.parametrize("kind", LARGE_BODIES)
async def test_413_in_mid_upload_of_a_server_that_closes_is_not_lost(
    raw_server: StartServer, kind: str, end: Any
) -> None:
    server = await raw_server([Head(), Send(TOO_LARGE), end])
    async with asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        for _ in range(5):
            await conn.request("POST", "/", LARGE_BODIES[kind]())
            assert await answered(conn) == (413, b"too much")
            assert not conn.is_connected


@pytest.mark.parametrize("kind", LARGE_BODIES)
async def test_413_over_tls_of_a_server_that_closes_is_not_lost(
    raw_server: StartServer, kind: str, server_ctx: Any, client_ctx: Any
) -> None:
    from aiohttpconn import AsyncHTTPSConnection

    server = await raw_server([Head(), Send(TOO_LARGE), Close()], tls=server_ctx)
    async with asyncio.timeout(20), AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx) as conn:
        await conn.request("POST", "/", LARGE_BODIES[kind]())
        assert await answered(conn) == (413, b"too much")
        assert not conn.is_connected


async def test_answer_to_a_small_body_of_a_server_that_reads_nothing_and_resets(raw_server: StartServer) -> None:
    server = await raw_server([Send(TOO_LARGE), Close()])
    async with asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        for body in (b"small", [b"small", b"pieces"], generator(b"small")):
            await conn.request("POST", "/", body)
            assert await answered(conn) == (413, b"too much")
            await conn.close()


async def test_body_that_is_not_sent_to_its_end_is_closed(raw_server: StartServer) -> None:
    closed: list[bool] = []
    server = await raw_server([Head(), Send(TOO_LARGE), Hold()])
    async with asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("POST", "/", endless(closed))
        assert closed == [True]
        assert await answered(conn) == (413, b"too much")


async def test_reset_in_mid_upload_without_an_answer_is_write_error(raw_server: StartServer) -> None:
    closed: list[bool] = []
    server = await raw_server([Head(), Reset()])
    async with asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        with pytest.raises(WriteError) as caught:
            await conn.request("POST", "/", endless(closed))
        assert f"POST / at 127.0.0.1:{server.port}" in str(caught.value)
        assert not conn.is_connected
        assert closed == [True]


async def test_upload_that_never_waits_leaves_the_loop_its_turns(raw_server: StartServer) -> None:
    """A body that is always there and a peer that takes all at once must not keep everybody else waiting."""
    server = await raw_server([Request(), Send(OK), Hold()])

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(400):
            seen.append(turns.count)
            yield LARGE[:20_000]

    seen: list[int] = []
    async with TurnCounter() as turns, asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("POST", "/", pieces())
        assert await answered(conn) == (200, b"ok")
    most = max(seen.count(turn) for turn in set(seen))
    assert most * 20_000 <= 2 << 20


async def test_interim_answers_in_mid_upload_are_passed_over(raw_server: StartServer) -> None:
    server = await raw_server([Head(), Send(b"HTTP/1.1 102 Processing\r\n\r\n" * 3, each=10), Body(), Send(OK), Hold()])
    async with asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        seen: list[int] = []
        conn.on_interim = lambda head: seen.append(head.status)
        await conn.request("POST", "/", LARGE)
        assert await answered(conn) == (200, b"ok")
        assert seen == [102, 102, 102]
        assert conn.reusable
    assert server.requests[0].body == LARGE


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
    """Answer at once, and send back what comes as it comes; then answer one more request."""
    received = await conn.read_head()
    if length := received.get("Content-Length"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n" % length.encode())
        left = int(length)
    else:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        left = -1
    tail = b""
    while left and not tail.endswith(b"\r\n0\r\n\r\n"):
        data = await reader.read(50_000)
        assert data
        left -= len(data)
        tail = (tail + data)[-7:] if left < 0 else b""
        writer.write(data)
        await writer.drain()
    await conn.read_request()
    await conn.send(OK)


@pytest.mark.parametrize("kind", ["bytes", "file", "list", "generator"])
async def test_2xx_goes_on_sending_while_it_is_read(raw_server: StartServer, kind: str) -> None:
    blocks = [LARGE[at : at + 60_000] for at in range(0, len(LARGE), 60_000)]
    body = {"bytes": LARGE, "file": io.BytesIO(LARGE), "list": blocks, "generator": generator(*blocks)}[kind]
    server = await raw_server(echo, receive_buffer=SMALL_BUFFER)
    async with asyncio.timeout(30), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("POST", "/", body)
        response = await conn.getresponse()
        assert await response.read() == LARGE
        while not conn.reusable:
            await asyncio.sleep(0)
        await conn.request("GET", "/next")
        assert await answered(conn) == (200, b"ok")
        assert server.connections == 1


async def test_2xx_goes_on_with_what_is_sent_step_by_step(raw_server: StartServer) -> None:
    server = await raw_server(echo, receive_buffer=SMALL_BUFFER)
    async with asyncio.timeout(30), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await begin(conn, ("Content-Length", str(len(LARGE))))
        for at in range(0, len(LARGE), 1 << 20):
            await conn.send(LARGE[at : at + (1 << 20)])
        response = await conn.getresponse()
        assert await response.read() == LARGE
        while not conn.reusable:
            await asyncio.sleep(0)
        await conn.request("GET", "/next")
        assert await answered(conn) == (200, b"ok")


async def test_exchange_is_over_when_the_request_is_sent_too(raw_server: StartServer) -> None:
    """The answer is whole long before the request is."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        received = await conn.read_head()
        await conn.send(OK)
        await read.wait()
        await conn.read_body(received)
        await conn.read_request()
        await conn.send(OK)

    read = asyncio.Event()
    server = await raw_server(script, receive_buffer=SMALL_BUFFER)
    async with asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("POST", "/", LARGE)
        response = await conn.getresponse()
        assert await response.read(2) == b"ok"
        assert not conn.reusable
        with pytest.raises(CannotSendRequest):
            await conn.request("GET", "/next")
        read.set()
        while not conn.reusable:
            await asyncio.sleep(0)
        await conn.request("GET", "/next")
        assert await answered(conn) == (200, b"ok")
    assert server.requests[0].body == LARGE
    assert server.connections == 1


@pytest.mark.parametrize("how", ["response", "connection"])
async def test_closing_in_the_middle_of_both_ends_the_upload(raw_server: StartServer, how: str) -> None:
    closed: list[bool] = []
    server = await raw_server(
        [Head(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"), StopReading(), Hold()]
    )
    async with asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("POST", "/", endless(closed))
        response = await conn.getresponse()
        assert await response.read(5) == b"hello"
        await (response.close() if how == "response" else conn.close())
        assert not conn.is_connected
        while not closed:
            await asyncio.sleep(0)


async def test_error_of_the_body_after_an_early_2xx_fails_the_response(raw_server: StartServer) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield LARGE
        await going_on.wait()
        raise LookupError("mine")

    going_on = asyncio.Event()
    server = await raw_server([Head(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"), Hold()])
    async with asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("POST", "/", broken())
        response = await conn.getresponse()
        assert isinstance(response, HTTPResponse)
        going_on.set()
        with pytest.raises(LookupError, match="mine"):
            await response.read()
        assert not conn.is_connected
        await server.wait_idle()


async def test_answer_before_all_was_sent_step_by_step_is_not_followed_by_another_request(
    raw_server: StartServer,
) -> None:
    """What is missing of the body would be taken from the next request."""
    server = await raw_server([Head(), Send(OK), Hold()], [Request(), Send(OK), Hold()])
    async with asyncio.timeout(20), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await begin(conn, ("Content-Length", "1000"))
        while conn.reader is not None and not conn.reader.buffered:
            await asyncio.sleep(0)
        await conn.send(b"some of it")
        assert await answered(conn) == (200, b"ok")
        assert not conn.reusable
        while conn.is_connected:
            await asyncio.sleep(0)
        await conn.request("GET", "/next")
        assert await answered(conn) == (200, b"ok")
        assert server.connections == 2


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LARGE_BODIES)
async def test_peer_that_takes_no_more_is_write_timeout(raw_server: StartServer, kind: str) -> None:
    server = await raw_server([Head(), StopReading(), WaitFor(done := asyncio.Event())], receive_buffer=SMALL_BUFFER)
    conn = AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(write=0.1))
    async with asyncio.timeout(20), conn:
        with pytest.raises(WriteTimeout) as caught:
            await conn.request("POST", "/", LARGE_BODIES[kind]())
        assert isinstance(caught.value, TimeoutError)
        assert "within 0.1 s" in str(caught.value)
        assert f"POST / at 127.0.0.1:{server.port}" in str(caught.value)
        assert not conn.is_connected
        done.set()


async def test_total_ends_an_upload(raw_server: StartServer) -> None:
    server = await raw_server([Head(), StopReading(), WaitFor(done := asyncio.Event())], receive_buffer=SMALL_BUFFER)
    conn = AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(total=0.1))
    async with asyncio.timeout(20), conn:
        with pytest.raises(TotalTimeout) as caught:
            await conn.request("POST", "/", LARGE)
        assert isinstance(caught.value, TimeoutError)
        done.set()


async def test_write_timeout_after_an_early_2xx_fails_the_response(raw_server: StartServer) -> None:
    head = Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
    server = await raw_server(
        [Head(), head, StopReading(), WaitFor(done := asyncio.Event())], receive_buffer=SMALL_BUFFER
    )
    conn = AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(write=0.1))
    async with asyncio.timeout(20), conn:
        await conn.request("POST", "/", LARGE)
        response = await conn.getresponse()
        with pytest.raises(WriteTimeout):
            await response.read()
        assert not conn.is_connected
        done.set()


async def test_peer_that_takes_slowly_is_waited_for(raw_server: StartServer) -> None:
    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        await conn.read_head()
        for _ in range(6):
            await reader.readexactly(len(LARGE) // 8)
            await asyncio.sleep(0.1)
        await reader.readexactly(len(LARGE) // 4)
        await conn.send(OK)

    server = await raw_server(slowly, receive_buffer=SMALL_BUFFER)
    conn = AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(write=0.5))
    async with asyncio.timeout(20), conn:
        await conn.request("POST", "/", LARGE)
        assert await answered(conn) == (200, b"ok")


# --- one source, two readers ------------------------------------------------------------------------------------------


class Reader:
    def __init__(self) -> None:
        self.left = [b"one", b"two"]

    def read(self, size: int) -> bytes:
        return self.left.pop(0) if self.left else b""


class AsyncReader(Reader):
    async def read(self, size: int) -> bytes:  # type: ignore[override]
        return super().read(size)


@pytest.mark.parametrize(
    "make",
    [
        lambda: iter([b"one", b"two"]),
        lambda: sync_generator(b"one", b"two"),
        lambda: generator(b"one", b"two"),
        lambda: PieceByPiece(b"one", b"two"),
        Reader,
        AsyncReader,
    ],
)
async def test_what_can_be_read_once_is_read_by_one(make: Callable[[], Any]) -> None:
    body = make()
    reading, other = body_pieces(body, 3), body_pieces(body, 3)
    assert await anext(reading) == b"one"
    with pytest.raises(BodyNotReplayable, match="another request"):
        await anext(other)
    assert [piece async for piece in reading] == [b"two"]


@pytest.mark.parametrize("make", [lambda: sync_generator(b"one", b"two"), lambda: generator(b"one", b"two")])
@pytest.mark.parametrize("to_its_end", [False, True])
async def test_a_generator_that_has_ended_is_no_empty_body(make: Callable[[], Any], to_its_end: bool) -> None:
    body = make()
    reading = body_pieces(body, 3)
    if to_its_end:
        assert [piece async for piece in reading] == [b"one", b"two"]
    else:
        await anext(reading)
        await reading.aclose()  # type: ignore[attr-defined]
    with pytest.raises(BodyNotReplayable, match="ended"):
        await anext(body_pieces(body, 3))


@pytest.mark.parametrize("make", [lambda: [b"one", b"two"], lambda: (b"one", b"two"), lambda: b"onetwo"])
async def test_what_begins_anew_each_time_is_read_by_many(make: Callable[[], Any]) -> None:
    body = make()
    reading, other = body_pieces(body, 3), body_pieces(body, 3)
    first = bytes(await anext(reading))
    assert b"".join([bytes(piece) async for piece in other]) == b"onetwo"
    assert first + b"".join([bytes(piece) async for piece in reading]) == b"onetwo"
