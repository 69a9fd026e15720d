"""Which bodies can be sent again, and that none goes out half: redirects, challenges, retries, stale connections."""

from __future__ import annotations

import asyncio
import io
import os
from typing import TYPE_CHECKING, Any

import aiofiles
import pytest

from aiohttpconn import BodyNotReplayable, Client, NetworkError, RemoteDisconnected, Request, WriteError
from aiohttpconn.url import parse
from tests.auditing import settle
from tests.bodies import endless
from tests.servers.origin import OriginServer, Reply, pattern
from tests.servers.raw import Connection, Head, Hold, Reset, Send
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

MIB = 1 << 20
CONTENT = pattern(300_000)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"skipped" + CONTENT)
    return path


async def pieces() -> AsyncIterator[bytes]:
    yield CONTENT


KINDS = ["bytes", "file", "unbuffered", "BytesIO", "text", "StringIO", "aiofiles", "path", "list"]
"""What can be sent again. Files stand at 7 when they are given."""


class Source:
    """A content of one kind, and its files closed afterwards."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: list[Any] = []

    async def __aenter__(self) -> Source:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for opened in self.opened:
            closing = opened.close()
            if closing is not None:
                await closing

    async def of(self, kind: str) -> Any:
        made: Any
        if kind == "bytes":
            return CONTENT
        if kind == "list":
            return [CONTENT[:10], CONTENT[10:]]
        if kind == "path":
            self.path.write_bytes(CONTENT)
            return self.path
        if kind == "aiofiles":
            made = await aiofiles.open(self.path, "rb")
            await made.seek(7)
        elif kind == "StringIO":
            made = io.StringIO("skipped" + CONTENT.decode("latin-1"))
            made.seek(7)
        elif kind == "BytesIO":
            made = io.BytesIO(b"skipped" + CONTENT)
            made.seek(7)
        elif kind == "text":
            made = open(self.path, encoding="latin-1", newline="")  # noqa: SIM115
            made.read(7)
        else:
            made = open(self.path, "rb", buffering=0 if kind == "unbuffered" else -1)  # noqa: SIM115
            made.read(7)
        self.opened.append(made)
        return made

    def sent(self, kind: str) -> bytes:
        return CONTENT.decode("latin-1").encode() if kind in ("text", "StringIO") else CONTENT


# --- on values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_may_be_sent_again_and_again(
    kind: str, file: Path, client: Client, http_server: OriginServer
) -> None:
    async with Source(file) as source:
        request = client.build_request("POST", f"{http_server.url}/echo", content=await source.of(kind))
        assert request.replayable
        for _ in range(3):
            assert (await client.send(request)).content == source.sent(kind)


@pytest.mark.parametrize("kind", KINDS)
async def test_rewound_in_the_middle(kind: str, file: Path, client: Client) -> None:
    async with Source(file) as source:
        request = client.build_request("POST", "http://localhost/", content=await source.of(kind))
        if kind != "bytes":
            reading = aiter(request.body)
            await anext(reading)
            request.rewind()
            assert b"".join([bytes(piece) async for piece in request.body]) == source.sent(kind)
            await reading.aclose()
        request.rewind()


@pytest.mark.parametrize("at", [0, 7])
def test_rewind_puts_a_file_back_to_where_it_stood(at: int, file: Path) -> None:
    with open(file, "rb") as opened:
        opened.seek(at)
        request = Client(trust_env=False).build_request("POST", "http://localhost/", content=opened)
        opened.seek(100)
        request.rewind()
        assert opened.tell() == at
    with pytest.raises(ValueError, match="closed"):
        request.rewind()


def unseekable() -> Any:
    reading, writing = os.pipe()
    os.write(writing, b"piped")
    os.close(writing)
    return open(reading, "rb")


class OnlyReads:
    left = b"once"

    def read(self, size: int = -1) -> bytes:
        data, self.left = self.left, b""
        return data


ONCE = [lambda: iter([b"once"]), lambda: (b"once" for _ in range(1)), pieces, OnlyReads, unseekable]


@pytest.mark.parametrize("wrap", [lambda once: {"content": once}, lambda once: {"files": [("a", b"x"), ("f", once)]}])
@pytest.mark.parametrize("make", ONCE)
async def test_what_can_be_read_once_is_never_sent_twice(
    make: Any, wrap: Any, client: Client, http_server: OriginServer
) -> None:
    once = make()
    request = client.build_request("PUT", f"{http_server.url}/echo", **wrap(once))
    assert not request.replayable
    with pytest.raises(BodyNotReplayable, match="only once"):
        request.rewind()
    await client.send(request)
    with pytest.raises(BodyNotReplayable, match="only once"):
        await client.send(request)
    assert client.stats().open == 0
    assert len(http_server.requests) <= 2
    if hasattr(once, "close"):
        once.close()


@pytest.mark.parametrize(
    ("files", "replayable"),
    [
        ([("a", b"x")], True),
        ([("a", b"x"), ("b", io.BytesIO(b"y")), ("c", ("c", [b"z"]))], True),
        ([("a", b"x"), ("b", iter([b"y"]))], False),
        ([("a", iter([b"y"])), ("b", b"x")], False),
    ],
)
def test_multipart_can_be_sent_again_if_all_its_parts_can(files: Any, replayable: bool) -> None:
    request = Client(trust_env=False).build_request("POST", "http://localhost/", data={"d": "e"}, files=files)
    assert request.replayable is replayable
    if replayable:
        request.rewind()


# --- who sends again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_redirect_gets_the_whole_body_again(
    kind: str, status: int, form: bool, file: Path, client: Client, http_server: OriginServer
) -> None:
    async with Source(file) as source:
        content = await source.of(kind)
        body: dict[str, Any] = {"files": {"f": ("name", content)}} if form else {"content": content}
        response = await client.post(f"{http_server.url}/redirect/{status}?/echo", **body)
        first, second = http_server.requests
        assert first.body == second.body
        assert first.get("Content-Type") == second.get("Content-Type")
        assert response.content == first.body
        if not form:
            assert first.body == source.sent(kind)
        assert source.sent(kind) in first.body


@pytest.mark.parametrize("make", ONCE)
async def test_a_redirect_of_what_can_be_read_once_is_an_error(
    make: Any, client: Client, http_server: OriginServer
) -> None:
    once = make()
    with pytest.raises(BodyNotReplayable) as caught:
        await client.post(f"{http_server.url}/redirect/307?/echo", content=once)
    assert caught.value.request is not None
    assert len(http_server.requests) == 1
    # 303 asks for no body.
    if hasattr(once, "close"):
        once.close()
    again = make()
    assert (await client.post(f"{http_server.url}/redirect/303?/", content=again)).text == "hello"
    if hasattr(again, "close"):
        again.close()


async def test_a_retry_gets_the_whole_body_again(file: Path, http_server: OriginServer) -> None:
    from aiohttpconn import Retry

    answers = [Reply(status=503), Reply(b"done")]
    http_server.routes["/busy"] = lambda received: answers.pop(0)
    async with Client(trust_env=False, retries=Retry(attempts=3, backoff=0.0)) as client:
        with open(file, "rb") as opened:
            opened.seek(7)
            response = await client.put(f"{http_server.url}/busy", content=opened)
    assert response.text == "done"
    assert [received.body for received in http_server.requests] == [CONTENT, CONTENT]


async def test_an_answer_to_a_challenge_has_the_whole_body(
    file: Path, client: Client, http_server: OriginServer
) -> None:
    from aiohttpconn import DigestAuth

    def challenge(received: Any) -> Reply:
        if received.get("Authorization"):
            return Reply(b"done")
        return Reply(status=401, fields=[("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')])

    http_server.routes["/secret"] = challenge
    with open(file, "rb") as opened:
        opened.seek(7)
        response = await client.put(f"{http_server.url}/secret", content=opened, auth=DigestAuth("user", "password"))
    assert response.text == "done"
    assert [received.body for received in http_server.requests] == [CONTENT, CONTENT]


# --- stale connections ------------------------------------------------------------------------------------------------


def half_then_gone(size: int) -> Any:
    """Answers one request, reads some of the next one's body, and resets."""

    async def script(reader: Any, writer: Any, conn: Connection) -> None:
        await conn.read_request()
        await conn.send(OK)
        await conn.read_head()
        await reader.readexactly(size)
        conn.writer.transport.abort()

    return script


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("kind", ["file", "unbuffered", "BytesIO", "text", "aiofiles", "path"])
async def test_a_half_sent_file_is_sent_from_its_beginning_on_the_next_connection(
    kind: str, form: bool, file: Path, client: Client, raw_server: Any
) -> None:
    big = pattern(6 * MIB)
    file.write_bytes(b"skipped" + big)
    server = await raw_server(half_then_gone(2 * MIB), [ReadRequest(), Send(OK), Hold()])
    await client.get(server.url)
    async with Source(file) as source:
        if kind == "path":
            file.write_bytes(big)
            content: Any = file
        elif kind == "BytesIO":
            content = io.BytesIO(b"skipped" + big)
            content.seek(7)
        else:
            content = await source.of(kind)
        body: dict[str, Any] = {"files": {"f": ("name", content)}} if form else {"content": content}
        response = await client.put(server.url, **body)
    assert response.text == "ok"
    whole = server.requests[-1]
    assert whole.connection == 1
    expected = big.decode("latin-1").encode() if kind == "text" else big
    if form:
        head, _, rest = whole.body.partition(b"\r\n\r\n")
        assert rest.startswith(expected)
        assert rest[len(expected) :] == b"\r\n" + head[: head.index(b"\r\n")] + b"--\r\n"
    else:
        assert whole.body == expected


@pytest.mark.parametrize("how", ["stale", "redirect"])
async def test_a_body_of_ones_own_is_asked_to_rewind(
    how: str, client: Client, http_server: OriginServer, raw_server: Any
) -> None:
    class Own(io.BytesIO):
        rewinds = 0

        def rewind(self) -> None:
            self.rewinds += 1
            self.seek(0)

    own = Own(pattern(6 * MIB))
    server = await raw_server(half_then_gone(2 * MIB), [ReadRequest(), Send(OK), Hold()])
    await client.get(server.url)
    url = server.url if how == "stale" else f"{http_server.url}/redirect/307?/echo"
    await client.send(Request("PUT", parse(url), body=own))
    assert own.rewinds == 1
    last = (server if how == "stale" else http_server).requests[-1]
    assert last.body == pattern(6 * MIB)


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_nothing_half_sent_is_sent_again_if_it_may_not_be(method: str, client: Client, raw_server: Any) -> None:
    server = await raw_server(half_then_gone(2 * MIB), [ReadRequest(), Send(OK), Hold()])
    await client.get(server.url)
    content: Any = endless() if method == "PUT" else io.BytesIO(bytes(6 * MIB))
    with pytest.raises((WriteError, RemoteDisconnected, NetworkError)):
        await client.request(method, server.url, content=content)
    assert server.connections == 1


# --- at once ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("built", ["once", "each"])
@pytest.mark.parametrize("kind", KINDS)
async def test_one_body_sent_several_times_at_once(
    kind: str, built: str, form: bool, file: Path, client: Client, http_server: OriginServer
) -> None:
    async with Source(file) as source:
        content = await source.of(kind)
        body: dict[str, Any] = {"files": {"f": ("name", content)}} if form else {"content": content}

        def build() -> Request:
            return client.build_request("PUT", f"{http_server.url}/echo", **body)

        one = build()
        requests = [one if built == "once" else build() for _ in range(4)]
        responses = await asyncio.gather(*[client.send(request) for request in requests])
        for request, response in zip(requests, responses, strict=True):
            if not form:
                assert response.content == source.sent(kind)
                continue
            boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
            head, _, rest = response.content.partition(b"\r\n\r\n")
            assert head.startswith(b"--" + boundary)
            assert rest == source.sent(kind) + b"\r\n--" + boundary + b"--\r\n"


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_send_that_is_cancelled_ends_no_other_of_the_same_request(
    kind: str, form: bool, file: Path, client: Client, raw_server: Any
) -> None:
    begun, go = asyncio.Semaphore(0), asyncio.Event()

    async def script(reader: Any, writer: Any, conn: Connection) -> None:
        head = await conn.read_head()
        await reader.readexactly(10)
        begun.release()
        if head.target == "/stays":
            await go.wait()
            rest = await reader.readexactly(len(whole) - 10)
            await conn.send(OK if await asyncio.to_thread(whole.endswith, rest) else b"HTTP/1.1 400 Cut\r\n\r\n")
        await conn.wait_closed_by_peer()

    server = await raw_server(script)
    big = pattern(16 * MIB)
    file.write_bytes(b"skipped" + big)
    async with Source(file) as source:
        content: Any
        if kind in ("list", "bytes"):
            content = [big[at : at + 100_000] for at in range(0, len(big), 100_000)]
        elif kind == "path":
            file.write_bytes(big)
            content = file
        elif kind in ("BytesIO", "StringIO"):
            content = (
                io.BytesIO(b"skipped" + big) if kind == "BytesIO" else io.StringIO("skipped" + big.decode("latin-1"))
            )
            content.seek(7)
        else:
            content = await source.of(kind)
        body: dict[str, Any] = {"files": {"f": ("name", content)}} if form else {"content": content}
        goes = client.build_request("PUT", f"{server.url}/goes", **body)
        whole = b"".join([bytes(piece) async for piece in goes.body])
        goes = goes.with_fields({"Content-Length": str(len(whole))}).without_fields("Transfer-Encoding")
        first = asyncio.create_task(client.send(goes))
        second = asyncio.create_task(client.send(goes.replace(url=f"{server.url}/stays")))
        await begun.acquire()
        await begun.acquire()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        go.set()
        assert (await second).status == 200


@pytest.mark.parametrize("kind", ["text", "StringIO", "file", "aiofiles"])
async def test_rewound_while_another_reads(kind: str, file: Path, client: Client) -> None:
    async with Source(file) as source:
        request = client.build_request("POST", "http://localhost/", content=await source.of(kind))
        reading = aiter(request.body)
        begun = bytes(await anext(reading))
        request.rewind()
        assert begun + b"".join([bytes(piece) async for piece in reading]) == source.sent(kind)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig", "gb18030"])
async def test_text_is_read_by_turns(encoding: str, tmp_path: Path, client: Client) -> None:
    text = "".join([f"{number}: ä € \U0001f600\r\n" for number in range(40_000)])
    path = tmp_path / "text"
    path.write_text(text, encoding=encoding, newline="")
    with open(path, encoding=encoding) as file:
        request = client.build_request("POST", "http://localhost/", content=file)
        found = [b"", b""]
        readings = [aiter(request.body), aiter(request.body)]
        while pieces := [await anext(reading, b"") for reading in readings]:
            if pieces == [b"", b""]:
                break
            found = [sofar + piece for sofar, piece in zip(found, pieces, strict=True)]
    assert found == [text.replace("\r\n", "\n").encode()] * 2


async def test_where_a_file_stands_while_it_is_sent_is_not_where_another_body_begins(
    file: Path, client: Client
) -> None:
    for kind in ("file", "text", "BytesIO", "aiofiles"):
        async with Source(file) as source:
            content = await source.of(kind)
            reading = aiter(client.build_request("POST", "http://localhost/", content=content).body)
            await anext(reading)
            meanwhile = client.build_request("POST", "http://localhost/", content=content)
            assert b"".join([bytes(piece) async for piece in meanwhile.body]) == source.sent(kind)
            await reading.aclose()


async def test_two_stretches_of_one_file_at_once(file: Path, client: Client, http_server: OriginServer) -> None:
    with open(file, "rb") as opened:
        whole = client.build_request("PUT", f"{http_server.url}/echo", content=opened)
        opened.seek(7)
        rest = client.build_request("PUT", f"{http_server.url}/echo", content=opened)
        responses = await asyncio.gather(client.send(whole), client.send(rest))
    assert [response.content for response in responses] == [b"skipped" + CONTENT, CONTENT]


async def test_what_a_cancelled_reading_left_to_a_thread_moves_no_other(client: Client) -> None:
    """An asynchronous file works in a thread, which goes on when its caller is cancelled."""

    class Threaded:
        def __init__(self) -> None:
            self.inside = io.BytesIO(CONTENT)
            self.slow: asyncio.Future[None] | None = None

        async def read(self, size: int) -> bytes:
            if self.slow is None:
                return self.inside.read(size)

            async def later(slow: asyncio.Future[None]) -> bytes:
                await slow
                return self.inside.read(size)

            return await asyncio.shield(asyncio.ensure_future(later(self.slow)))

        async def seek(self, at: int) -> int:
            self.inside.seek(at)
            await settle(20)
            return at

        async def tell(self) -> int:
            return self.inside.tell()

    file = Threaded()
    request = client.build_request("POST", "http://localhost/", content=file)
    file.slow = slow = asyncio.get_running_loop().create_future()
    cancelled = asyncio.create_task(anext(aiter(request.body)))
    await settle()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    file.slow = None

    async def read() -> bytes:
        return b"".join([bytes(piece) async for piece in request.body])

    reading = asyncio.create_task(read())
    await settle(10)
    slow.set_result(None)
    assert await reading == CONTENT


@pytest.mark.parametrize("built", ["once", "each", "by hand"])
async def test_of_two_that_send_what_can_be_read_once_one_gets_it_whole(
    built: str, client: Client, http_server: OriginServer
) -> None:
    """Each would get a part of it, and send that as if it were the whole."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def generator() -> AsyncIterator[bytes]:
        yield CONTENT
        begun.set()
        await go.wait()
        yield b"end"

    body, url = generator(), f"{http_server.url}/echo"
    if built == "by hand":
        one = other = Request("PUT", url, [("Transfer-Encoding", "chunked")], body=body)
    else:
        one = other = client.build_request("PUT", url, content=body)
        if built == "each":
            other = client.build_request("PUT", url, content=body)
    first = asyncio.create_task(client.send(one))
    await begun.wait()
    with pytest.raises(BodyNotReplayable, match="only once"):
        await client.send(other)
    go.set()
    assert (await first).content == CONTENT + b"end"


@pytest.mark.parametrize("make", [pieces, lambda: (b"once" for _ in range(1))])
async def test_a_generator_that_has_ended_is_no_empty_body(
    make: Any, client: Client, http_server: OriginServer
) -> None:
    generator = make()
    await client.put(f"{http_server.url}/echo", content=generator)
    with pytest.raises(BodyNotReplayable, match="only once"):
        await client.put(f"{http_server.url}/echo", content=generator)


async def test_a_generator_is_ended_with_the_request_that_was_broken_off(client: Client, raw_server: Any) -> None:
    ended = []

    def generator() -> Iterator[bytes]:
        try:
            while True:
                yield CONTENT
        finally:
            ended.append(True)

    server = await raw_server([Head(), Reset()])
    body = generator()
    with pytest.raises((WriteError, RemoteDisconnected, NetworkError)):
        await client.post(server.url, content=body)
    assert ended == [True]
    with pytest.raises(BodyNotReplayable):
        await client.post(server.url, content=body)


# --- files that have nothing to read yet ------------------------------------------------------------------------------


class NothingYet:
    def read(self, size: int = -1) -> bytes | None:
        return None


class NothingYetAsync:
    async def read(self, size: int = -1) -> bytes | None:
        return None


class NothingYetSeekable(NothingYet):
    def seek(self, at: int, whence: int = 0) -> int:
        return 0

    def tell(self) -> int:
        return 0


class NothingYetSeekableAsync(NothingYetAsync):
    async def seek(self, at: int) -> int:
        return 0

    async def tell(self) -> int:
        return 0


@pytest.mark.parametrize("make", [NothingYet, NothingYetAsync, NothingYetSeekable, NothingYetSeekableAsync])
@pytest.mark.parametrize("raw", [False, True])
async def test_a_file_that_has_nothing_yet_is_not_taken_as_ended(
    make: Any, raw: bool, client: Client, http_server: OriginServer
) -> None:
    url = f"{http_server.url}/echo"
    chunked = [("Transfer-Encoding", "chunked")]
    request = Request("PUT", url, chunked, body=make()) if raw else client.build_request("PUT", url, content=make())
    # What can be sought is measured, at 0 bytes: where no body is announced none can be missing.
    request = request.without_fields("Content-Length").with_fields({"Transfer-Encoding": "chunked"})
    with pytest.raises(BlockingIOError, match=r"read\(\) returned None"):
        await client.send(request)


async def test_a_pipe_that_does_not_block(client: Client, http_server: OriginServer) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(reading, "rb", buffering=0) as pipe, open(writing, "wb"):
        with pytest.raises(BlockingIOError, match=r"read\(\) returned None"):
            await client.put(f"{http_server.url}/echo", content=pipe)
        with pytest.raises(BlockingIOError, match=r"read\(\) returned None"):
            await client.put(f"{http_server.url}/echo", files={"f": pipe})
