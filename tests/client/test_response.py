"""`Response`: bodies decoded, whole and in pieces; text and JSON; what cannot be read twice."""

from __future__ import annotations

import gzip
import itertools
import json
import pickle
import random
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttpconn import (
    Client,
    DecodingError,
    HTTPException,
    IncompleteRead,
    Request,
    Response,
    StreamClosed,
    StreamConsumed,
)
from aiohttpconn.headers import EMPTY_HEADERS
from aiohttpconn.messages import ResponseHead
from aiohttpconn.url import parse
from tests.client.reading import take
from tests.servers.origin import DOCUMENT, OriginServer, Reply, pattern
from tests.servers.raw import Hold, Send
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
PIECE = 262_144


class Pieces:
    """What a response reads from, without a socket: a body that arrives in given pieces."""

    trailers = EMPTY_HEADERS

    def __init__(self, pieces: Iterable[bytes], **fields: str) -> None:
        pairs = [(name.replace("_", "-"), value) for name, value in fields.items()]
        self.head = ResponseHead(11, 200, "OK", CIMultiDictProxy(CIMultiDict(pairs)))
        self.pieces = iter([piece for piece in pieces if piece])
        self.closed = False
        self.taken = 0

    async def __anext__(self) -> bytes:
        for piece in self.pieces:
            self.taken += 1
            return piece
        raise StopAsyncIteration

    def take_piece(self) -> bytes:
        # Every second piece has arrived before it is asked for.
        if self.taken % 2 == 0:
            return b""
        self.taken += 1
        return next(self.pieces, b"")

    async def read(self) -> bytes:
        return b"".join(self.pieces)

    def check_loop(self) -> None:
        """It has none."""

    def close_now(self) -> None:
        self.closed = True


def response_of(*pieces: bytes, **fields: str) -> Response:
    """A response that is still to be read."""
    return Response(Pieces(pieces, **fields), Request("GET", parse("http://example.org/")), 0.0)  # type: ignore[arg-type]


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that waits for nothing but its turn."""
    try:
        while coroutine.send(None) is None:
            pass
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def all_of(iterator: Any) -> list[Any]:
    async def collect() -> list[Any]:
        return [item async for item in iterator]

    result: list[Any] = run(collect())
    return result


def cuttings(data: bytes) -> Iterable[list[bytes]]:
    """`data` whole, byte by byte, and cut at every one and every two places."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
    for one, two in itertools.combinations(range(1, len(data)), 2):
        yield [data[:one], data[one:two], data[two:]]


# --- the head ---------------------------------------------------------------------------------------------------------


async def test_the_head(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server(
        b"HTTP/1.0 418 I'm a teapot\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\nContent-Length: 0\r\n\r\n"
    )
    response = await client.get(server.url)
    assert response.status == response.status_code == 418
    assert response.reason == "I'm a teapot"
    assert response.http_version == "HTTP/1.0"
    assert response.headers.getall("SET-COOKIE") == ["a=b", "c=d"]
    assert [name for name, _ in response.headers.items()] == ["Set-Cookie", "set-cookie", "Content-Length"]
    with pytest.raises(TypeError):
        response.headers["X"] = "y"  # type: ignore[index]
    assert response.elapsed.total_seconds() > 0
    assert response.url == server.url
    assert "418" in repr(response)
    assert (response.is_success, response.is_redirect, response.is_error) == (False, False, True)


async def test_trailers_come_with_the_end_of_the_body(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/trailers"] = Reply(b"x" * 10, chunked=3, trailers=[("X-Sum", "10")])
    assert (await client.get(f"{http_server.url}/trailers")).trailers["x-sum"] == "10"


# --- text and JSON ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("text/plain; charset=iso-8859-1", "iso-8859-1"),
        ("text/plain;charset=ISO-8859-15", "ISO-8859-15"),
        ('text/plain; charset="utf-16"', "utf-16"),
        ("text/plain; CHARSET = koi8-r ; x=y", "koi8-r"),
        ("text/plain; x=y;charset=ascii", "ascii"),
        ("text/html", "utf-8"),
        ("", "utf-8"),
        ("text/plain; charset=", "utf-8"),
        ("text/plain; charset=no-such-thing", "utf-8"),
        ("text/plain; charset=hex", "utf-8"),
        ("text/plain; charset=base64", "utf-8"),
        ("text/plain; charset=rot13", "utf-8"),
        ("text/plain; charset=zlib", "utf-8"),
        ("text/plain; charset=undefined", "utf-8"),
        ("text/plain; charset=../../etc/passwd", "utf-8"),
        ("text/plain; charset=\xe4", "utf-8"),
        ("text/plain; charset=" + "x" * 10000, "utf-8"),
        ("text/plain; mycharset=latin-1", "utf-8"),
    ],
)
def test_the_declared_charset(content_type: str, encoding: str) -> None:
    assert response_of(Content_Type=content_type).encoding == encoding


def test_without_content_type_it_is_utf_8() -> None:
    assert response_of().encoding == "utf-8"


@pytest.mark.parametrize("charset", ["idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf-7", "mbcs"])
def test_no_declared_charset_makes_text_fail(charset: str) -> None:
    body = b"\xff\x00xn--\xe4\\uZZ+/"
    response = response_of(body, Content_Type=f"text/plain; charset={charset}")
    run(response.read())
    assert isinstance(response.text, str)
    assert isinstance("".join(all_of(response.iter_text())), str)
    assert isinstance(all_of(response.iter_lines()), list)


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        ("grüße €".encode(), "utf-8", "grüße €"),
        ("grüße".encode("latin-1"), "latin-1", "grüße"),
        ("grüße".encode("utf-16"), "utf-16", "grüße"),
        ("日本".encode("shift_jis"), "shift_jis", "日本"),
        (b"a\xffb", "utf-8", "a�b"),
        (b"\xe2\x82", "utf-8", "�"),
        (b"", "utf-8", ""),
    ],
)
def test_text_is_decoded_by_it(body: bytes, charset: str, text: str) -> None:
    fields = {"Content_Type": f"text/plain; charset={charset}"}
    response = response_of(body, **fields)
    run(response.read())
    assert response.text == text
    for pieces in cuttings(body):
        assert "".join(all_of(response_of(*pieces, **fields).iter_text())) == text


def test_encoding_may_be_set() -> None:
    response = response_of(b"\xe4", Content_Type="text/plain; charset=utf-8")
    run(response.read())
    response.encoding = "latin-1"
    assert response.text == "ä"
    with pytest.raises(LookupError):
        response.encoding = "no-such-thing"


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_finds_its_own_encoding(charset: str) -> None:
    response = response_of(json.dumps({"ä": [1, None]}, ensure_ascii=False).encode(charset))
    run(response.read())
    assert response.json() == {"ä": [1, None]}


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"\xff\xfe\xfd", b'{"a": "\xff"}', b"[1,]"])
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    response = response_of(body)
    run(response.read())
    with pytest.raises(ValueError):  # noqa: PT011 - the json module's subclasses differ
        response.json()


# --- lines ------------------------------------------------------------------------------------------------------------

LINE_ENDS = ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\r",
        "\r\n",
        "\n\r",
        "a",
        "a\n",
        "a\r\n",
        "a\r\nb",
        "a\r\rb\n\n",
        "\r\n\r\n",
        "a\u2028b\u2029c\x85d",
        "ä€\r\n𐍈\n",
        "a\x1cb\vc\fd",
        "".join(f"{n}{end}" for n, end in enumerate(LINE_ENDS)),
        "\r".join(LINE_ENDS[:4]),
    ],
)
def test_lines_are_those_of_splitlines_wherever_the_body_is_cut(text: str) -> None:
    data = text.encode()
    for pieces in cuttings(data):
        assert all_of(response_of(*pieces).iter_lines()) == text.splitlines(), pieces


@given(
    st.lists(st.sampled_from([*LINE_ENDS, "a", "ä", "€", "𐍈", ""]), max_size=30).map("".join),
    st.sampled_from(["utf-8", "utf-16", "utf-16-be"]),
    st.randoms(use_true_random=False),
)
def test_lines_of_any_text_in_any_pieces(text: str, charset: str, chance: random.Random) -> None:
    data = text.encode(charset)
    cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.randint(0, 6)))
    pieces = [data[start:end] for start, end in itertools.pairwise([0, *cuts, len(data)])]
    fields = {"Content_Type": f"text/plain; charset={charset}"}
    assert all_of(response_of(*pieces, **fields).iter_lines()) == text.splitlines()
    assert "".join(all_of(response_of(*pieces, **fields).iter_text())) == text


def test_lines_of_bytes_that_do_not_decode() -> None:
    data = b"a\xff\nb\xe2\x82\nc\xe2\x82"
    for pieces in cuttings(data):
        assert all_of(response_of(*pieces).iter_lines()) == data.decode(errors="replace").splitlines()


def test_a_line_comes_as_soon_as_its_end_is_there() -> None:
    response = response_of(b"one\ntw", b"o\r", b"\nthree")
    lines = response.iter_lines()
    raw: Any = response._raw
    assert run(anext(lines)) == "one"
    assert raw.taken == 1
    assert run(anext(lines)) == "two"
    assert run(anext(lines)) == "three"


def test_a_long_line_in_many_pieces_takes_linear_work() -> None:
    # 20,000 pieces without a line end: joining again and again what came before would be 10 GB of copying.
    response = response_of(*[b"x" * 50] * 20_000, b"\n", b"y")
    assert [len(line) for line in all_of(response.iter_lines())] == [1_000_000, 1]


# --- pieces -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 11, 1000])
@pytest.mark.parametrize("way", ["iter_bytes", "iter_raw"])
def test_pieces_of_one_size_however_the_body_arrives(way: str, size: int) -> None:
    data = bytes(range(10))
    expected = [data[at : at + size] for at in range(0, len(data), size)]
    for pieces in cuttings(data):
        assert all_of(getattr(response_of(*pieces), way)(size)) == expected


@pytest.mark.parametrize("way", ["iter_bytes", "iter_raw"])
def test_pieces_as_they_come(way: str) -> None:
    assert all_of(getattr(response_of(b"a", b"bcd", b"e"), way)()) == [b"a", b"bcd", b"e"]
    assert all_of(getattr(response_of(), way)()) == []
    assert all_of(getattr(response_of(), way)(5)) == []


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        response_of(b"x").iter_bytes(size)
    with pytest.raises(ValueError, match="at least 1"):
        response_of(b"x").iter_raw(size)


# --- content codings --------------------------------------------------------------------------------------------------


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODED = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZip": gzip.compress,
    "deflate": zlib.compress,
    " deflate ": raw_deflate,
    "identity": bytes,
    "gzip, identity": gzip.compress,
    "deflate, gzip": lambda data: gzip.compress(zlib.compress(data)),
}


@pytest.mark.parametrize("coding", CODED)
async def test_coded_bodies_whole_and_streamed(coding: str, client: Client, http_server: OriginServer) -> None:
    data = pattern(300_000)
    coded = CODED[coding](data)
    for chunked in (None, 1000):
        http_server.routes["/x"] = Reply(coded, fields=[("Content-Encoding", coding)], chunked=chunked)
        response = await client.get(f"{http_server.url}/x")
        assert response.content == data
        assert response.headers["Content-Encoding"] == coding.strip()
        async with client.stream("GET", f"{http_server.url}/x") as streamed:
            assert b"".join([piece async for piece in streamed.iter_bytes()]) == data
        async with client.stream("GET", f"{http_server.url}/x") as streamed:
            assert await streamed.read() == data
        async with client.stream("GET", f"{http_server.url}/x") as streamed:
            assert b"".join([piece async for piece in streamed.iter_raw()]) == coded
    assert http_server.connections == 1


async def test_coded_json_of_the_ordinary_server(client: Client, http_server: OriginServer) -> None:
    for coding in ("gzip", "deflate"):
        assert (await client.get(f"{http_server.url}/{coding}")).json() == DOCUMENT


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_coded_bodies_cut_anywhere(coding: str) -> None:
    data = b"hello hello"
    for pieces in cuttings(CODED[coding](data)):
        assert b"".join(all_of(response_of(*pieces, Content_Encoding=coding).iter_bytes())) == data


@pytest.mark.parametrize("coding", ["compress", "unheard-of", "gzip, unheard-of", "aws-chunked"])
async def test_an_unknown_coding_is_left_as_it_came(coding: str, client: Client, http_server: OriginServer) -> None:
    body = gzip.compress(b"x")
    http_server.routes["/x"] = Reply(body, fields=[("Content-Encoding", coding)])
    response = await client.get(f"{http_server.url}/x")
    assert response.content == body
    assert response.headers["Content-Encoding"] == coding
    async with client.stream("GET", f"{http_server.url}/x") as streamed:
        assert b"".join([piece async for piece in streamed.iter_bytes()]) == body


@pytest.mark.parametrize("status", [200, 204, 304])
async def test_an_empty_body_is_empty_whatever_its_coding(
    status: int, client: Client, http_server: OriginServer
) -> None:
    http_server.routes["/x"] = Reply(b"", status=status, fields=[("Content-Encoding", "gzip")])
    assert (await client.get(f"{http_server.url}/x")).content == b""
    assert (await client.head(f"{http_server.url}/gzip")).content == b""
    async with client.stream("GET", f"{http_server.url}/x") as streamed:
        assert [piece async for piece in streamed.iter_bytes()] == []


def bomb(coding: str, size: int) -> bytes:
    """`size` zeros, coded: a thousandth of them."""
    packer = zlib.compressobj(9, wbits={"gzip": 31, "deflate": 15}[coding])
    parts = [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join(parts) + packer.flush()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_comes_in_bounded_pieces(coding: str, client: Client, http_server: OriginServer) -> None:
    http_server.routes["/bomb"] = Reply(bomb(coding, 64 << 20), fields=[("Content-Encoding", coding)])
    async with client.stream("GET", f"{http_server.url}/bomb") as response:
        total = largest = 0
        tracemalloc.start()
        try:
            async for piece in response.iter_bytes():
                total += len(piece)
                largest = max(largest, len(piece))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert total == 64 << 20
    assert largest <= PIECE
    assert peak < 4 << 20, "no more than a few pieces are decoded ahead"


async def test_leaving_a_bomb_early_decodes_no_more_of_it(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/bomb"] = Reply(bomb("gzip", 64 << 20), fields=[("Content-Encoding", "gzip")])
    async with client.stream("GET", f"{http_server.url}/bomb") as response:
        async for piece in response.iter_bytes():
            assert 0 < len(piece) <= PIECE
            break


def broken() -> dict[str, tuple[str, bytes]]:
    good = gzip.compress(pattern(100_000))
    wrong_sum = bytearray(good)
    wrong_sum[-6] ^= 1
    corrupt = bytearray(good)
    corrupt[len(good) // 2] ^= 0xFF
    return {
        "no gzip at all": ("gzip", b"hello"),
        "truncated": ("gzip", good[:-9]),
        "without its checksum": ("gzip", good[:-8]),
        "wrong checksum": ("gzip", bytes(wrong_sum)),
        "corrupt": ("gzip", bytes(corrupt)),
        "no deflate at all": ("deflate", b"\xff\xff\xff"),
        "truncated deflate": ("deflate", zlib.compress(b"x" * 1000)[:-5]),
        "inner coding": ("deflate, gzip", gzip.compress(b"\xff\xff\xff")),
        "too many codings": (", ".join(["gzip"] * 6), b"x"),
    }


@pytest.mark.parametrize("kind", broken())
async def test_a_broken_coding_is_a_decoding_error(kind: str, client: Client, http_server: OriginServer) -> None:
    coding, body = broken()[kind]
    http_server.routes["/x"] = Reply(body, fields=[("Content-Encoding", coding)])
    url = f"{http_server.url}/x"
    with pytest.raises(DecodingError) as caught:
        await client.get(url)
    assert caught.value.request.url == url
    assert http_server.authority in str(caught.value)
    assert type(pickle.loads(pickle.dumps(caught.value))) is DecodingError
    for way in ("iter_bytes", "iter_text", "iter_lines", "read"):
        async with client.stream("GET", url) as response:
            with pytest.raises(DecodingError) as caught:
                await take(response, way)
            assert caught.value.request is response.request
            with pytest.raises((StreamConsumed, StreamClosed)):
                response.content  # noqa: B018 - the property raises
    assert (await client.get(http_server.url)).text == "hello", "the client goes on"


async def test_a_body_that_breaks_on_the_way_closes_its_connection(client: Client, raw_server: StartRaw) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 100000\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(head + b"no gzip"), Hold()])
    async with client.stream("GET", server.url) as response:
        with pytest.raises(DecodingError):
            async for _ in response.iter_bytes():
                pass
        assert client.stats().open == 0
        await server.wait_idle()


async def test_what_decoded_before_the_break_was_handed_out(client: Client, http_server: OriginServer) -> None:
    data = pattern(2_000_000)
    http_server.routes["/x"] = Reply(gzip.compress(data)[:-4], fields=[("Content-Encoding", "gzip")])
    got = b""
    async with client.stream("GET", f"{http_server.url}/x") as response:
        with pytest.raises(DecodingError):
            async for piece in response.iter_bytes():
                got += piece
    assert got == data


async def test_a_cut_off_coded_body_is_an_incomplete_read(client: Client, raw_server: StartRaw) -> None:
    coded = gzip.compress(pattern(10_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(coded)
    server = await raw_server(head + coded[:-20])
    with pytest.raises(IncompleteRead) as caught:
        await client.get(server.url)
    assert caught.value.expected == 20
    assert caught.value.partial == coded[:-20]


# --- once, and in order -----------------------------------------------------------------------------------------------


def test_content_before_it_was_read() -> None:
    response = response_of(b"x")
    with pytest.raises(StreamConsumed, match=r"await response\.read"):
        response.content  # noqa: B018 - the property raises
    with pytest.raises(StreamConsumed):
        response.text  # noqa: B018 - the property raises
    with pytest.raises(StreamConsumed):
        response.json()
    assert run(response.read()) == b"x"
    assert response.content == b"x"
    assert run(response.read()) == b"x", "what was kept can be read again"


@pytest.mark.parametrize("way", ["iter_bytes", "iter_raw", "iter_text", "iter_lines"])
def test_what_was_streamed_was_not_kept(way: str) -> None:
    response = response_of(b"x\ny")
    assert len(all_of(getattr(response, way)())) in (1, 2)
    with pytest.raises(StreamConsumed):
        response.content  # noqa: B018 - the property raises
    with pytest.raises(StreamConsumed):
        run(response.read())
    for again in ("iter_bytes", "iter_raw", "iter_text", "iter_lines"):
        with pytest.raises(StreamConsumed):
            all_of(getattr(response, again)())


@pytest.mark.parametrize("way", ["iter_bytes", "iter_text", "iter_lines"])
def test_what_was_read_can_be_streamed_any_number_of_times(way: str) -> None:
    response = response_of(gzip.compress(b"a\nb"), Content_Encoding="gzip")
    run(response.read())
    for _ in range(2):
        assert all_of(getattr(response, way)()) == (
            ["a", "b"] if way == "iter_lines" else ["a\nb"] if way == "iter_text" else [b"a\nb"]
        )
    with pytest.raises(StreamConsumed):
        all_of(response.iter_raw())


def test_what_was_read_is_streamed_in_bounded_pieces() -> None:
    response = response_of(pattern(PIECE * 2 + 5))
    run(response.read())
    assert [len(piece) for piece in all_of(response.iter_bytes())] == [PIECE, PIECE, 5]


@pytest.mark.parametrize("way", ["iter_bytes", "iter_raw", "iter_text", "iter_lines"])
def test_a_closed_response_is_not_read(way: str) -> None:
    response = response_of(b"x")
    run(response.close())
    run(response.close())
    with pytest.raises(StreamClosed):
        response.content  # noqa: B018 - the property raises
    with pytest.raises(StreamClosed):
        run(response.read())
    with pytest.raises(StreamClosed):
        all_of(getattr(response, way)())


def test_an_iterator_that_was_never_begun_claims_nothing() -> None:
    response = response_of(b"x")
    response.iter_bytes()
    response.iter_lines()
    assert run(response.read()) == b"x"


def test_an_iterator_at_its_end_stays_there() -> None:
    for way in ("iter_bytes", "iter_raw", "iter_text", "iter_lines"):
        iterator = getattr(response_of(b"x"), way)()
        assert len(all_of(iterator)) == 1
        assert all_of(iterator) == []


def test_aclose_of_an_iterator_closes_the_response() -> None:
    response = response_of(b"x", b"y")
    iterator = response.iter_bytes()
    assert run(anext(iterator)) == b"x"
    run(iterator.aclose())
    assert response._raw.closed


@pytest.mark.parametrize("read", [True, False])
async def test_a_response_pickles_as_a_snapshot(read: bool, client: Client, http_server: OriginServer) -> None:
    async with client.stream("GET", f"{http_server.url}/redirect/302?/gzip") as response:
        if read:
            await response.read()
        copy = pickle.loads(pickle.dumps(response))
    assert (copy.status, copy.reason, copy.http_version) == (200, "OK", "HTTP/1.1")
    assert list(copy.headers.items()) == list(response.headers.items())
    assert (copy.url, copy.elapsed) == (response.url, response.elapsed)
    assert [past.status for past in copy.history] == [302]
    if read:
        assert copy.json() == DOCUMENT
        assert b"".join([piece async for piece in copy.iter_bytes()]) == copy.content
    else:
        with pytest.raises(HTTPException):
            await copy.read()
    await copy.close()
