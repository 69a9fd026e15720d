"""`max_body` on every way to a body, hooks on its pieces, bombs, and the corpus of content codings through a client."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import BodyTooLarge, Client, DecodingError, HTTPException
from tests.client.reading import take
from tests.corpus import load
from tests.servers.origin import OriginServer, Reply, pattern
from tests.servers.raw import Hold, Send
from tests.servers.raw import Request as ReadRequest
from tests.turns import TurnCounter

if TYPE_CHECKING:
    from collections.abc import Callable

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
MIB = 1 << 20
WAYS = ["read", "iter_bytes", "iter_raw", "iter_text", "iter_lines", "iter_ndjson"]


@pytest.mark.parametrize("framing", ["bytes", "chunked", "until-close"])
@pytest.mark.parametrize("size", [1000, 300_000])
async def test_max_body_of_a_plain_body(framing: str, size: int, client: Client, http_server: OriginServer) -> None:
    url = f"{http_server.url}/{framing}/{size}"
    assert (await client.get(url, max_body=size)).content == pattern(size)
    with pytest.raises(BodyTooLarge) as caught:
        await client.get(url, max_body=size - 1)
    assert caught.value.request.url == url
    assert http_server.authority in str(caught.value)
    for way in ("read", "iter_bytes", "iter_raw"):
        async with client.stream("GET", url, max_body=size) as response:
            assert await take(response, way) == size
        async with client.stream("GET", url, max_body=size - 1) as response:
            with pytest.raises(BodyTooLarge):
                await take(response, way)
            with pytest.raises(HTTPException):
                await take(response, way)
    assert client.stats().in_use == 0


@pytest.mark.parametrize("way", WAYS)
async def test_max_body_holds_each_way_and_closes(way: str, client: Client, raw_server: StartRaw) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(head + b"64\r\n" + b"1\n" * 50 + b"\r\n"), Hold()])
    async with client.stream("GET", server.url, max_body=99) as response:
        with pytest.raises(BodyTooLarge, match="over 99 bytes"):
            await take(response, way)
        assert client.stats().open == 0
    await server.wait_idle()


@pytest.mark.parametrize("way", WAYS)
async def test_max_body_counts_what_is_decoded(way: str, client: Client, http_server: OriginServer) -> None:
    fields = [("Content-Encoding", "gzip")]
    http_server.routes["/x"] = Reply(gzip.compress(b"1\n" * 500), fields=fields)
    async with client.stream("GET", f"{http_server.url}/x", max_body=1000) as response:
        assert await take(response, way) > 0
    if way == "iter_raw":
        return
    async with client.stream("GET", f"{http_server.url}/x", max_body=999) as response:
        with pytest.raises(BodyTooLarge):
            await take(response, way)


async def test_a_length_over_max_body_fails_at_once(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun"), Hold()])
    with pytest.raises(BodyTooLarge, match="100 bytes long, and at most 99"):
        await client.get(server.url, max_body=99)
    assert client.stats().open == 0
    await server.wait_idle()


async def test_max_body_of_a_head_request_and_of_none(client: Client, http_server: OriginServer) -> None:
    assert (await client.head(f"{http_server.url}/bytes/1000", max_body=10)).headers["Content-Length"] == "1000"
    assert (await client.get(f"{http_server.url}/bytes/0", max_body=0)).content == b""
    with pytest.raises(BodyTooLarge):
        await client.get(f"{http_server.url}/bytes/1", max_body=0)


async def test_a_clients_max_body(http_server: OriginServer) -> None:
    async with Client(trust_env=False, max_body=100) as client:
        with pytest.raises(BodyTooLarge):
            await client.get(f"{http_server.url}/bytes/101")
        assert len((await client.get(f"{http_server.url}/bytes/101", max_body=None)).content) == 101
        # A redirect's body is not the one that is returned.
        http_server.routes["/from"] = Reply(pattern(500), status=302, fields=[("Location", "/bytes/100")])
        assert len((await client.get(f"{http_server.url}/from")).content) == 100


async def test_max_body_against_an_endless_body(client: Client, raw_server: StartRaw) -> None:
    async def flood(reader: Any, writer: Any, conn: Any) -> None:
        await conn.read_request()
        await conn.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await conn.send(bytes(65536))

    server = await raw_server(flood)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            await client.get(server.url, max_body=MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * MIB
    assert client.stats().open == 0


# --- bombs ------------------------------------------------------------------------------------------------------------


def bomb_of_a_gib() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(16 * MIB)
    return b"".join([packer.compress(zeros) for _ in range(64)]) + packer.flush()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    return bomb_of_a_gib()


async def test_a_gib_of_zeros_stopped_after_a_mib(client: Client, http_server: OriginServer, bomb: bytes) -> None:
    http_server.routes["/bomb"] = Reply(bomb, fields=[("Content-Encoding", "gzip")])
    await client.get(f"{http_server.url}/gzip")  # what is imported is not what is measured
    tracemalloc.start()
    try:
        got = 0
        async with client.stream("GET", f"{http_server.url}/bomb") as response:
            async for piece in response.iter_bytes():
                got += len(piece)
                if got >= MIB:
                    break
        with pytest.raises(BodyTooLarge):
            await client.get(f"{http_server.url}/bomb", max_body=MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert got <= MIB + 262_144
    assert peak < 4 * MIB


async def test_others_have_their_turn_while_a_bomb_is_decoded(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/bomb"] = Reply(gzip.compress(bytes(32 * MIB)), fields=[("Content-Encoding", "gzip")])
    for way in ("get", "stream"):
        if way == "get":
            async with TurnCounter() as turns:
                assert len((await client.get(f"{http_server.url}/bomb")).content) == 32 * MIB
        else:
            async with client.stream("GET", f"{http_server.url}/bomb") as response:
                pieces = response.iter_bytes()
                await anext(pieces)
                async with TurnCounter() as turns:
                    async for _ in pieces:
                        pass
        assert turns.count >= 5


async def test_stacked_codings_that_decode_to_nothing_end(client: Client, http_server: OriginServer) -> None:
    empty = gzip.compress(b"") * 100_000
    http_server.routes["/x"] = Reply(gzip.compress(empty), fields=[("Content-Encoding", "gzip, gzip")])
    with pytest.raises(DecodingError, match="next to nothing"):
        await client.get(f"{http_server.url}/x")


# --- hooks and counts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["get", *WAYS[:5]])
async def test_each_raw_piece_is_told(way: str, http_server: OriginServer) -> None:
    from aiohttpconn.client.hooks import Hooks

    coded = gzip.compress(pattern(100_000))
    http_server.routes["/x"] = Reply(coded, fields=[("Content-Encoding", "gzip")], chunked=1000)
    told = bytearray()

    async def on_chunk(response: Any, data: bytes) -> None:
        told.extend(data)
        assert response.num_bytes_downloaded == len(told)

    async with Client(trust_env=False, hooks=Hooks(on_chunk=on_chunk)) as client:
        if way == "get":
            response = await client.get(f"{http_server.url}/x")
        else:
            async with client.stream("GET", f"{http_server.url}/x") as response:
                await take(response, way)
        assert bytes(told) == coded
        assert response.num_bytes_downloaded == len(coded)


async def test_what_a_chunk_hook_raises_reaches_the_reader(http_server: OriginServer) -> None:
    from aiohttpconn.client.hooks import Hooks

    def on_chunk(response: Any, data: bytes) -> None:
        raise ZeroDivisionError

    async with Client(trust_env=False, hooks=Hooks(on_chunk=on_chunk)) as client:
        with pytest.raises(ZeroDivisionError):
            await client.get(f"{http_server.url}/bytes/1000000")
        assert client.stats().open == client.stats().idle == 0


@pytest.mark.parametrize("path", ["/gzip", "/bytes/1000", "/chunked/5000", "/bytes/0"])
async def test_bytes_downloaded(path: str, client: Client, http_server: OriginServer) -> None:
    async with client.stream("GET", http_server.url + path) as response:
        size = len(b"".join([piece async for piece in response.iter_raw()]))
        assert response.num_bytes_downloaded == size
    assert (await client.get(http_server.url + path)).num_bytes_downloaded == size
    assert (await client.get(http_server.url + path, max_body=10_000)).num_bytes_downloaded == size


@pytest.mark.parametrize("way", WAYS[1:])
async def test_breaking_out_gives_back_or_closes(way: str, client: Client, http_server: OriginServer) -> None:
    http_server.routes["/small"] = Reply(b"1\n2\n3\n")
    http_server.routes["/large"] = Reply(b"1\n" * 5_000_000)
    for path, idle in (("/small", 1), ("/large", 0)):
        async with client.stream("GET", http_server.url + path) as response:
            async for _ in getattr(response, way)():
                break
        assert client.stats().in_use == 0
        assert client.stats().idle == idle
        assert response.is_closed


# --- the corpus -------------------------------------------------------------------------------------------------------

try:
    CASES: list[dict[str, Any]] = load("content_codings.json")["cases"]
    NO_CORPUS = ""
except pytest.skip.Exception as absent:
    CASES, NO_CORPUS = [], str(absent)


def odd(data: bytes) -> list[bytes]:
    pieces, at, size = [], 0, 1
    while at < len(data):
        pieces.append(data[at : at + size])
        at += size
        size = size * 3 % 1021 + 1
    return pieces


@pytest.mark.corpus
@pytest.mark.skipif(bool(NO_CORPUS), reason=NO_CORPUS)
@pytest.mark.parametrize("split", ["whole", "byte by byte", "odd pieces"])
async def test_the_corpus_over_sockets(split: str, client: Client, raw_server: StartRaw) -> None:
    """Each case as a chunked body whose chunks are the pieces."""
    cut: dict[str, Callable[[bytes], list[bytes]]] = {
        "whole": lambda data: [data] if data else [],
        "byte by byte": lambda data: [data[at : at + 1] for at in range(len(data))],
        "odd pieces": odd,
    }
    bodies = iter(CASES * 2)

    async def play(reader: Any, writer: Any, conn: Any) -> None:
        while True:
            try:
                await conn.read_request()
            except asyncio.IncompleteReadError:
                return
            case = next(bodies)
            values = case["content_encoding"]
            values = values if isinstance(values, list) else [] if values is None else [values]
            fields = "".join([f"Content-Encoding: {value}\r\n" for value in values]).encode("latin-1")
            pieces = cut[split](base64.b64decode(case["data_b64"]))
            chunks = b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]) + b"0\r\n\r\n"
            await conn.send(b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n" % fields + chunks)

    server = await raw_server(play)

    def is_stated(case: dict[str, Any], which: str, got: bytes) -> bool:
        return (len(got), hashlib.sha256(got).hexdigest()) == (case[f"{which}_len"], case[f"{which}_sha256"])

    for case in CASES:
        if case["outcome"] == "ok":
            assert is_stated(case, "decoded", (await client.get(server.url)).content), case["name"]
        else:
            with pytest.raises(DecodingError):
                await client.get(server.url)
    for case in CASES:
        got = bytearray()
        error = None
        async with client.stream("GET", server.url) as response:
            try:
                async for piece in response.iter_bytes():
                    assert len(piece) <= 262_144
                    got += piece
            except DecodingError as caught:
                error = caught
        assert (error is None) == (case["outcome"] == "ok"), case["name"]
        if error is None or "partial_len" in case:
            assert is_stated(case, "decoded" if error is None else "partial", bytes(got)), case["name"]
