"""Bodies of requests: from what a caller gives to what the server gets, and the fields that describe it."""

from __future__ import annotations

import array
import io
import json
import os
from typing import TYPE_CHECKING, Any

import aiofiles
import pytest

from aiohttpconn import BodyLengthMismatch, Client
from aiohttpconn.client.body import encode_body
from aiohttpconn.testing import script
from tests.bodies import endless
from tests.servers.origin import OriginServer, pattern
from tests.servers.raw import Head, Hold, Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

# --- decided on values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_methods_that_expect_a_body_say_that_there_is_none(method: str) -> None:
    assert encode_body(method, None, None, None, None) == (None, [("Content-Length", "0")])


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "PURGE"])
def test_the_others_say_nothing(method: str) -> None:
    assert encode_body(method, None, None, None, None) == (None, [])


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b"", b""),
        (b"bytes", b"bytes"),
        (bytearray(b"array"), b"array"),
        (memoryview(b"a view")[2:], b"view"),
        (memoryview(array.array("H", [1, 2])), b"\1\0\2\0"),
        (memoryview(b"abcdef")[::2], b"ace"),
        ("", b""),
        ("grüße €", "grüße €".encode()),
    ],
)
def test_what_is_in_memory_becomes_bytes_with_a_length(content: Any, body: bytes) -> None:
    made, fields = encode_body("GET", content, None, None, None)
    assert made == body
    assert type(made) is bytes
    assert fields == [("Content-Length", str(len(body)))]


def test_a_bytearray_may_be_changed_afterwards() -> None:
    content = bytearray(b"before")
    made, _ = encode_body("POST", content, None, None, None)
    content[:] = b"after!"
    assert made == b"before"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5, None, True], "ä": "€"}, '{"a":[1,2.5,null,true],"ä":"€"}'),
        ([], "[]"),
        ({}, "{}"),
        (0, "0"),
        (False, "false"),
        ("", '""'),
    ],
)
def test_json_is_compact_utf_8(value: Any, text: str) -> None:
    body, fields = encode_body("POST", None, None, value, None)
    assert body == text.encode()
    assert fields == [("Content-Length", str(len(body))), ("Content-Type", "application/json")]


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}])
def test_what_json_has_no_word_for_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode_body("POST", None, None, value, None)


def test_content_and_json_exclude_each_other() -> None:
    with pytest.raises(TypeError, match="exclude"):
        encode_body("POST", b"x", None, {"a": 1}, None)


@pytest.mark.parametrize("content", [{"a": "b"}, 5, 2.5, object()])
async def test_what_is_no_body_is_a_type_error(content: Any, client: Client, http_server: OriginServer) -> None:
    with pytest.raises(TypeError, match=type(content).__name__):
        await client.post(http_server.url, content=content)
    assert http_server.connections == 0


@pytest.mark.parametrize("content", [["text"], [b"good", 5], [None]])
async def test_pieces_that_are_no_bytes_are_a_type_error(
    content: Any, client: Client, http_server: OriginServer
) -> None:
    with pytest.raises(TypeError):
        await client.post(http_server.url, content=content)
    assert client.stats().open == 0


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of 300,000 bytes."""
    path = tmp_path / "file"
    path.write_bytes(pattern(300_000))
    return path


@pytest.mark.parametrize("at", [0, 1, 65536, 299_999, 300_000, 400_000])
async def test_a_file_is_measured_and_sent_from_where_it_stands(
    at: int, file: Path, client: Client, http_server: OriginServer
) -> None:
    with open(file, "rb") as opened:
        opened.seek(at)
        await client.post(f"{http_server.url}/echo", content=opened)
        assert not opened.closed
    (received,) = http_server.requests
    assert received.get("Content-Length") == str(max(0, 300_000 - at))
    assert received.get("Transfer-Encoding") is None
    assert received.body == pattern(300_000)[at:]


@pytest.mark.parametrize("buffering", [0, -1])
async def test_buffered_and_unbuffered_files(
    buffering: int, file: Path, client: Client, http_server: OriginServer
) -> None:
    with open(file, "rb", buffering=buffering) as opened:
        opened.read(10)
        await client.put(f"{http_server.url}/echo", content=opened)
    assert http_server.requests[0].body == pattern(300_000)[10:]


@pytest.mark.parametrize("at", [0, 3, 10, 20])
async def test_bytes_io(at: int, client: Client, http_server: OriginServer) -> None:
    content = io.BytesIO(b"0123456789")
    content.seek(at)
    await client.post(f"{http_server.url}/echo", content=content)
    (received,) = http_server.requests
    assert received.get("Content-Length") == str(max(0, 10 - at))
    assert received.body == b"0123456789"[at:]


async def test_a_text_file_is_sent_as_text_is_in_utf_8(
    tmp_path: Path, client: Client, http_server: OriginServer
) -> None:
    (tmp_path / "text").write_text("grüße €\n" * 20_000, encoding="utf-16")
    with open(tmp_path / "text", encoding="utf-16") as opened:
        await client.post(f"{http_server.url}/echo", content=opened)
    await client.post(f"{http_server.url}/echo", content=io.StringIO("€"))
    for received, text in zip(http_server.requests, ("grüße €\n" * 20_000, "€"), strict=True):
        assert received.body == text.encode()
        assert received.get("Transfer-Encoding") == "chunked"
        assert received.get("Content-Length") is None


@pytest.mark.parametrize("at", [0, 1000])
async def test_a_file_of_aiofiles(at: int, file: Path, client: Client, http_server: OriginServer) -> None:
    async with aiofiles.open(file, "rb") as opened:
        await opened.seek(at)
        await client.post(f"{http_server.url}/echo", content=opened)
    (received,) = http_server.requests
    assert received.body == pattern(300_000)[at:]
    assert received.get("Transfer-Encoding") == "chunked", "its position would have to be awaited"


async def test_a_text_file_of_aiofiles_goes_in_utf_8(tmp_path: Path, client: Client, http_server: OriginServer) -> None:
    text = "grüße €\n" * 60_000
    (tmp_path / "text").write_text(text, encoding="utf-16")
    async with aiofiles.open(tmp_path / "text", encoding="utf-16") as opened:
        request = client.build_request("POST", f"{http_server.url}/echo", content=opened)
        for _ in range(2):
            assert (await client.send(request)).content == text.encode()


async def test_what_reads_text_goes_in_utf_8(client: Client, http_server: OriginServer) -> None:
    class Source:
        left = "€" * 3

        async def read(self, size: int = -1) -> str:
            text, self.left = self.left, ""
            return text

    await client.post(f"{http_server.url}/echo", content=Source())
    assert http_server.requests[0].body == ("€" * 3).encode()


async def test_a_pipe_has_no_size(client: Client, http_server: OriginServer) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"through the pipe")
    os.close(writing)
    with open(reading, "rb") as opened:
        await client.post(f"{http_server.url}/echo", content=opened)
    (received,) = http_server.requests
    assert (received.body, received.get("Transfer-Encoding")) == (b"through the pipe", "chunked")


async def test_an_object_that_only_reads(client: Client, http_server: OriginServer) -> None:
    class Source:
        left = 3

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            return b"piece" if self.left >= 0 else b""

    await client.post(f"{http_server.url}/echo", content=Source())
    (received,) = http_server.requests
    assert (received.body, received.get("Transfer-Encoding")) == (b"piece" * 3, "chunked")


async def test_a_file_that_shrinks_meanwhile_is_an_error(file: Path, client: Client, http_server: OriginServer) -> None:
    with open(file, "rb", buffering=0) as opened:
        request = client.build_request("POST", f"{http_server.url}/echo", content=opened)
        os.truncate(file, 1000)
        with pytest.raises(BodyLengthMismatch) as caught:
            await client.send(request)
    assert caught.value.request is request
    assert client.stats().open == 0


async def test_a_file_that_grows_meanwhile_is_an_error(file: Path, client: Client, http_server: OriginServer) -> None:
    with open(file, "rb", buffering=0) as opened:
        request = client.build_request("POST", f"{http_server.url}/echo", content=opened)
        with open(file, "ab") as more:
            more.write(b"more")
        with pytest.raises(BodyLengthMismatch):
            await client.send(request)
    assert client.stats().open == 0


# --- iterables --------------------------------------------------------------------------------------------------------


def generator() -> Iterator[bytes]:
    yield b"one"
    yield b""
    yield b"two"


async def async_generator() -> AsyncIterator[bytes]:
    yield b"one"
    yield b""
    yield b"two"


@pytest.mark.parametrize(
    "make",
    [
        generator,
        async_generator,
        lambda: [b"one", b"", b"two"],
        lambda: (b"one", bytearray(b"two")),
        lambda: iter([memoryview(b"one"), b"two"]),
    ],
)
async def test_iterables_go_in_chunks(make: Any, client: Client, http_server: OriginServer) -> None:
    response = await client.post(f"{http_server.url}/echo", content=make())
    assert response.content == b"onetwo"
    (received,) = http_server.requests
    assert received.get("Transfer-Encoding") == "chunked"
    assert received.get("Content-Length") is None
    assert received.raw_body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_an_empty_iterable_is_an_empty_body(client: Client, http_server: OriginServer) -> None:
    await client.post(f"{http_server.url}/echo", content=iter([]))
    assert http_server.requests[0].raw_body == b"0\r\n\r\n"


async def test_an_iterable_of_declared_length_is_not_chunked(client: Client, http_server: OriginServer) -> None:
    await client.post(f"{http_server.url}/echo", content=generator(), headers={"content-length": "6"})
    (received,) = http_server.requests
    assert (received.body, received.get("Transfer-Encoding")) == (b"onetwo", None)
    assert received.get_all("Content-Length") == ["6"]


@pytest.mark.parametrize("declared", ["5", "7"])
async def test_a_wrong_declared_length_is_an_error(declared: str, client: Client, http_server: OriginServer) -> None:
    for make in (generator, async_generator):
        with pytest.raises(BodyLengthMismatch) as caught:
            await client.post(f"{http_server.url}/echo", content=make(), headers={"Content-Length": declared})
        assert isinstance(caught.value, ValueError)
        assert client.stats().open == 0


async def test_bytes_may_go_in_chunks(client: Client, http_server: OriginServer) -> None:
    await client.post(f"{http_server.url}/echo", content=b"whole", headers={"Transfer-Encoding": "chunked"})
    (received,) = http_server.requests
    assert received.body == b"whole"
    assert received.get("Content-Length") is None


async def test_an_error_of_the_iterator_is_the_callers_own(client: Client, http_server: OriginServer) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await client.post(f"{http_server.url}/echo", content=failing())
    assert client.stats().open == 0
    assert (await client.get(http_server.url)).text == "hello"


async def test_the_iterator_is_ended_when_the_server_says_no(client: Client, raw_server: Any) -> None:
    ended: list[bool] = []
    server = await raw_server([Head(), Send(script.response(b"no!", 413, close=True)), Hold()])
    response = await client.post(server.url, content=endless(ended))
    assert (response.status, response.text) == (413, "no!")
    assert ended == [True]


# --- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_no_body_is_content_length_0_on_the_wire(method: str, client: Client, http_server: OriginServer) -> None:
    await client.request(method, http_server.url)
    assert http_server.requests[0].get_all("Content-Length") == ["0"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "HEAD"])
async def test_any_method_may_have_a_body(method: str, client: Client, http_server: OriginServer) -> None:
    await client.request(method, f"{http_server.url}/echo", content=b"body")
    await client.request(method, http_server.url)
    first, second = http_server.requests
    assert first.body == b"body"
    assert second.get("Content-Length") is None


async def test_json_on_the_wire(client: Client, http_server: OriginServer) -> None:
    response = await client.post(f"{http_server.url}/echo", json={"ä": 1})
    assert response.json() == {"ä": 1}
    (received,) = http_server.requests
    assert received.get_all("Content-Type") == ["application/json"]
    assert json.loads(received.body) == {"ä": 1}


async def test_a_content_type_of_ones_own_wins(client: Client, http_server: OriginServer) -> None:
    await client.post(f"{http_server.url}/echo", json=[], headers={"content-type": "application/problem+json"})
    assert http_server.requests[0].get_all("Content-Type") == ["application/problem+json"]


async def test_content_has_no_content_type_of_its_own(client: Client, http_server: OriginServer) -> None:
    await client.post(f"{http_server.url}/echo", content="text")
    assert http_server.requests[0].get("Content-Type") is None


async def test_expect_100_continue(client: Client, http_server: OriginServer) -> None:
    response = await client.post(f"{http_server.url}/echo", content=b"body", headers={"Expect": "100-continue"})
    assert response.content == b"body"
