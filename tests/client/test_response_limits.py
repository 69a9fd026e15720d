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

from aiohttpconn import BodyTooLarge, Client, DecodingError, HTTPException, Response, Timeout, TotalTimeout
from aiohttpconn.config import Deadline
from aiohttpconn.wire.codings import decoder_for
from tests.client.reading import take
from tests.client.test_response import response_of
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


MEMBER = gzip.compress(b"")
FRAME = bytes.fromhex("28b52ffd2000010000")
LITTLE = {
    "gzip members": ("gzip", MEMBER * 20_000, 100),
    "gzip members one by one": ("gzip", MEMBER * 20_000, 100),
    "zstd frames": ("zstd", FRAME * 20_000, 100),
    "zstd frames one by one": ("zstd", FRAME * 20_000, 100),
    "zeros behind the end": ("gzip", MEMBER + bytes(4 * MIB), 4),
    "members of one byte": ("gzip", gzip.compress(b" ") * 20_000, 1000),
}


@pytest.mark.parametrize("way", ["read", "iter_bytes", "iter_text", "iter_ndjson"])
@pytest.mark.parametrize("what", LITTLE)
async def test_others_have_their_turn_while_much_brings_little(what: str, way: str) -> None:
    """Of a body that has arrived: nothing is waited for."""
    coding, body, least = LITTLE[what]
    if decoder_for([coding]) is None:
        pytest.skip(f"cannot decode {coding}")
    size = len(body) // 20_000 if "one by one" in what else 100_000
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    async with TurnCounter() as turns:
        await take(response_of(*pieces, Content_Encoding=coding), way)
    assert turns.count >= least


@pytest.mark.parametrize("way", ["get", "read", "iter_bytes"])
async def test_others_have_their_turn_while_empty_members_come(
    way: str, client: Client, http_server: OriginServer
) -> None:
    http_server.routes["/x"] = Reply(MEMBER * 50_000, fields=[("Content-Encoding", "gzip")])
    async with TurnCounter() as turns:
        if way == "get":
            assert (await client.get(f"{http_server.url}/x")).content == b""
        else:
            async with client.stream("GET", f"{http_server.url}/x") as response:
                assert await take(response, way) == 0
    assert turns.count >= 350


@pytest.mark.parametrize("way", ["iter_lines", "iter_ndjson", "iter_bytes"])
@pytest.mark.parametrize("state", ["arrived", "coded", "read", "in small pieces"])
async def test_others_have_their_turn_between_many_items(state: str, way: str) -> None:
    body = b"1\n" * 120_000
    if state == "coded":
        response = response_of(gzip.compress(body), Content_Encoding="gzip")
    elif state == "in small pieces":
        response = response_of(*[body[at : at + 100] for at in range(0, len(body), 100)])
    else:
        response = response_of(body)
    if state == "read":
        await response.read()
    items = response.iter_bytes(1) if way == "iter_bytes" else getattr(response, way)()
    async with TurnCounter() as turns:
        count = 0
        async for _ in items:
            count += 1
    assert count == (240_000 if way == "iter_bytes" else 120_000)
    assert turns.count >= (400 if way == "iter_bytes" else 200)


@pytest.mark.parametrize("way", ["iter_raw", "iter_bytes", "iter_text", "iter_lines"])
async def test_others_have_their_turn_between_many_chunks(way: str) -> None:
    async with TurnCounter() as turns:
        assert await take(response_of(*[b"x"] * 20_000), way) == 20_000
    assert turns.count >= 70


@pytest.mark.parametrize("way", WAYS)
async def test_ordinary_reading_gives_up_few_turns(way: str) -> None:
    body = b"x" * 99 + b"\n"
    async with TurnCounter() as turns:
        response = response_of(gzip.compress(body * 5000), Content_Encoding="gzip")
        if way == "iter_ndjson":
            response = response_of(gzip.compress((b'"' + body[2:-1] + b'"\n') * 5000), Content_Encoding="gzip")
        assert await take(response, way) > 0
    assert turns.count < 20


@pytest.mark.parametrize("way", ["iter_bytes", "iter_lines"])
async def test_cancelling_in_a_turn_closes(way: str) -> None:
    body = gzip.compress(b"\n" * 100_000) if way == "iter_lines" else MEMBER * 5000
    response = response_of(body, Content_Encoding="gzip")
    task = asyncio.create_task(take(response, way))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert response._raw.closed


# --- the time for everything ------------------------------------------------------------------------------------------


def expiring(response: Response, total: float | None = 5) -> Deadline:
    """The deadline that a response has got; not over yet."""
    response.deadline = deadline = Deadline(Timeout(total=total), asyncio.get_running_loop().time())
    return deadline


@pytest.mark.parametrize("coding", ["gzip", "identity"])
@pytest.mark.parametrize("way", ["iter_bytes", "iter_raw", "iter_text", "iter_lines", "iter_ndjson"])
async def test_a_slow_consumer_of_what_has_arrived_is_stopped(way: str, coding: str) -> None:
    body = gzip.compress(b"1\n" * MIB) if coding == "gzip" else b"1\n" * 1000
    response = response_of(body[:500], body[500:1000], body[1000:], Content_Encoding=coding)
    deadline = expiring(response)
    items = getattr(response, way)()
    await anext(items)
    deadline.at = asyncio.get_running_loop().time() - 1
    for _ in range(2):
        with pytest.raises(TotalTimeout, match=r"longer than 5 s in all \[reading the response to GET") as caught:
            while True:
                await anext(items)
        assert caught.value.request is response.request
        assert response._raw.closed


@pytest.mark.parametrize("way", ["iter_bytes", "iter_raw", "iter_lines"])
async def test_a_body_that_was_all_handed_out_is_no_timeout(way: str) -> None:
    response = response_of(b"one\n", b"two\n")
    deadline = expiring(response)
    items = getattr(response, way)()
    await anext(items)
    await anext(items)
    deadline.at = asyncio.get_running_loop().time() - 1
    with pytest.raises(StopAsyncIteration):
        await anext(items)


async def test_no_total_is_no_end_and_what_was_read_stays() -> None:
    response = response_of(b"one", b"two")
    expiring(response, total=None)
    assert await take(response, "iter_bytes") == 6
    response = response_of(b"one")
    deadline = expiring(response)
    assert await response.read() == b"one"
    deadline.at = asyncio.get_running_loop().time() - 1
    assert await take(response, "iter_bytes") == 3


@pytest.mark.parametrize("limit", [None, 1 << 30])
async def test_decoding_what_has_arrived_ends_with_the_time_for_everything(limit: int | None) -> None:
    for body in (gzip.compress(bytes(16 * MIB)), MEMBER * 5000):
        response = response_of(body, Content_Encoding="gzip")
        response.max_body = limit
        expiring(response).at = asyncio.get_running_loop().time() - 1
        with pytest.raises(TotalTimeout) as caught:
            await response.read()
        assert caught.value.request is response.request
        assert response._raw.closed


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
