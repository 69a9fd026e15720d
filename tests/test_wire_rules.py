"""What a response gets, row by row of the wire rules (RFC 9110, RFC 9112), over a server that plays any bytes."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    AsyncHTTPConnection,
    AsyncHTTPSConnection,
    BadHeader,
    BadStatusLine,
    HTTPException,
    HTTPResponse,
    IncompleteRead,
    LineTooLong,
    NetworkError,
    ProtocolError,
    ReadError,
    RemoteDisconnected,
    TooManyFields,
    UnknownTransferEncoding,
)
from tests.servers.raw import Close, Hold, Request, Reset, Send, Truncate, WaitFor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.servers.raw import RawServer, Step

    StartServer = Callable[..., Awaitable[RawServer]]

OK = b"HTTP/1.1 200 OK\r\n"
SMALL = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
PIECES = pytest.mark.parametrize("each", [None, 1], ids=["whole", "byte by byte"])


@dataclass
class Outcome:
    """One exchange that went well."""

    response: HTTPResponse
    body: bytes
    connected: bool
    server: RawServer

    @property
    def fields(self) -> list[tuple[str, str]]:
        return self.response.getheaders()


async def fetch(
    raw_server: StartServer,
    data: bytes,
    *,
    method: str = "GET",
    each: int | None = None,
    then: tuple[Step, ...] = (Hold(),),
    headers: dict[str, str] | None = None,
    **options: Any,
) -> Outcome:
    """Ask a server that answers with `data`, in pieces of `each` bytes, and then plays `then`."""
    server = await raw_server([Request(), Send(data, each=each), *then])
    async with (
        asyncio.timeout(20),
        AsyncHTTPConnection("127.0.0.1", server.port, **options) as conn,
    ):
        await conn.request(method, "/", headers=headers or {})
        response = await conn.getresponse()
        body = await response.read()
        return Outcome(response, body, conn.is_connected, server)


async def get(conn: AsyncHTTPConnection, target: str = "/") -> bytes:
    await conn.request("GET", target)
    return await (await conn.getresponse()).read()


async def fail(raw_server: StartServer, data: bytes, kind: type[HTTPException], **how: Any) -> Any:
    """The error that `data` brings: exactly of `kind`, saying to whom, and with the connection closed."""
    then = how.pop("then", (Hold(),))
    each = how.pop("each", None)
    server = await raw_server([Request(), Send(data, each=each), *then])
    conn = AsyncHTTPConnection("127.0.0.1", server.port, **how)
    async with asyncio.timeout(20):
        with pytest.raises(kind) as caught:
            await get(conn, "/path")
        assert type(caught.value) is kind
        assert not conn.is_connected
        assert "GET /path" in str(caught.value)
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        await server.wait_idle()  # the server's script ends only when we have closed
    await conn.close()
    return caught.value


# --- the status line --------------------------------------------------------------------------------------------------


@PIECES
@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/0.9 200 OK",
        b"HTTP/2 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.10 200 OK",
        b"HTTP/1.x 200 OK",
        b"HTTP/11 200 OK",
        b"http/1.1 200 OK",
        b" HTTP/1.1 200 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 -20 OK",
        b"HTTP/1.1 2x0 OK",
        b"HTTP/1.1 OK",
        b"HTTP/1.1",
        b"HTTP/1.1 200 O\0K",
        b"ICY 200 OK",
        b"PRI * HTTP/2.0",
        b"<html><body>HTTP/0.9 has no head</body></html>",
        b"",
    ],
)
async def test_status_line_that_is_none_is_bad_status_line(
    raw_server: StartServer, line: bytes, each: int | None
) -> None:
    error = await fail(raw_server, line + b"\r\nContent-Length: 0\r\n\r\n", BadStatusLine, each=each)
    assert error.line == line.decode("latin-1")
    assert repr(error.line)[1:-1] in str(error)


async def test_bad_status_line_is_told_at_the_end_of_the_line(raw_server: StartServer) -> None:
    error = await fail(raw_server, b"220 mail.example ESMTP\r\n", BadStatusLine)
    assert error.line == "220 mail.example ESMTP"


@PIECES
@pytest.mark.parametrize("line", [b"HTTP/1.1 200\r\n", b"HTTP/1.1 200 \r\n"])
async def test_reason_may_be_empty_with_or_without_its_space(
    raw_server: StartServer, line: bytes, each: int | None
) -> None:
    got = await fetch(raw_server, line + b"Content-Length: 2\r\n\r\nok", each=each)
    assert (got.response.status, got.response.reason, got.body) == (200, "", b"ok")


@PIECES
async def test_bare_cr_in_the_status_line_is_bad_status_line(raw_server: StartServer, each: int | None) -> None:
    error = await fail(raw_server, b"HTTP/1.1 200 O\rK\r\n\r\n", BadStatusLine, each=each)
    assert error.line == "HTTP/1.1 200 O\rK"


@pytest.mark.parametrize(("minor", "version"), [(0, 10), (1, 11), (2, 11), (9, 11)])
async def test_minor_versions_are_read_as_1_0_or_1_1(raw_server: StartServer, minor: int, version: int) -> None:
    got = await fetch(raw_server, b"HTTP/1.%d 200 OK\r\nContent-Length: 0\r\n\r\n" % minor)
    assert got.response.version == version


@pytest.mark.parametrize("status", [200, 299, 404, 599, 600, 999])
async def test_any_final_status_of_three_digits_is_taken(raw_server: StartServer, status: int) -> None:
    got = await fetch(raw_server, b"HTTP/1.1 %d What\r\nContent-Length: 0\r\n\r\n" % status)
    assert (got.response.status, got.response.reason) == (status, "What")


# --- the connection ends too early ------------------------------------------------------------------------------------


async def test_closed_before_any_byte_is_remote_disconnected(raw_server: StartServer) -> None:
    error = await fail(raw_server, b"", RemoteDisconnected, then=(Close(),))
    assert error.bytes_received == 0
    assert error.line == ""
    assert isinstance(error, (BadStatusLine, NetworkError, ConnectionResetError))
    assert isinstance(error, BadStatusLine)
    assert isinstance(error, NetworkError)
    assert isinstance(error, ConnectionResetError)


async def test_reset_before_any_byte_is_remote_disconnected_with_its_cause(raw_server: StartServer) -> None:
    error = await fail(raw_server, b"", RemoteDisconnected, then=(Reset(),))
    assert error.bytes_received == 0
    assert isinstance(error.__cause__, ConnectionError)


async def test_closed_inside_the_head_is_remote_disconnected_at_every_byte(raw_server: StartServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: y\r\n\r\n"
    scripts = [[Request(), Send(head[:cut]), Close()] for cut in range(1, len(head))]
    server = await raw_server(*scripts)
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    for cut in range(1, len(head)):
        await conn.request("GET", "/")
        with pytest.raises(RemoteDisconnected) as caught:
            await conn.getresponse()
        assert caught.value.bytes_received == cut
        assert str(cut) in str(caught.value)
    assert server.connections == len(head) - 1


async def test_closed_inside_an_interim_head_is_remote_disconnected(raw_server: StartServer) -> None:
    await fail(raw_server, b"HTTP/1.1 103 Early Hints\r\nLink: x", RemoteDisconnected, then=(Close(),))


async def test_closed_after_interim_responses_is_remote_disconnected(raw_server: StartServer) -> None:
    await fail(raw_server, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", RemoteDisconnected, then=(Close(),))


# --- limits of the head -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", [None, 4096])
@pytest.mark.parametrize("ended", [True, False], ids=["with its end", "without end"])
async def test_head_over_64_kib_is_line_too_long(raw_server: StartServer, each: int | None, ended: bool) -> None:
    fields = b"".join(b"X-%03d: %s\r\n" % (number, b"v" * 700) for number in range(100))
    error = await fail(raw_server, OK + fields + (b"\r\n" if ended else b""), LineTooLong, each=each)
    assert error.limit == 65_536
    assert error.size > 65_536
    assert str(error.size) in str(error)
    assert "65536" in str(error)


@pytest.mark.parametrize("each", [None, 4096])
async def test_line_over_65536_is_line_too_long_whatever_the_head_may_have(
    raw_server: StartServer, each: int | None
) -> None:
    data = OK + b"X: " + b"v" * 66_000 + b"\r\n\r\n"
    error = await fail(raw_server, data, LineTooLong, each=each, max_head=1_000_000)
    assert (error.limit, error.size > 65_536) == (65_536, True)


@pytest.mark.parametrize("each", [None, 7])
async def test_max_head_is_the_callers(raw_server: StartServer, each: int | None) -> None:
    head = OK + b"Content-Length: 0\r\nX: " + b"v" * 100 + b"\r\n\r\n"
    got = await fetch(raw_server, head, max_head=len(head), each=each)
    assert got.response.status == 200
    error = await fail(raw_server, head, LineTooLong, max_head=len(head) - 1, each=each)
    assert error.limit == len(head) - 1


async def test_max_head_holds_for_interim_responses_together(raw_server: StartServer) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 300 + b"\r\n\r\n"
    await fail(raw_server, hints * 4 + SMALL, LineTooLong, max_head=1000)


async def test_max_head_holds_for_trailers(raw_server: StartServer) -> None:
    data = OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"v" * 2000
    await fail(raw_server, data, LineTooLong, max_head=1000)


@PIECES
async def test_more_than_256_fields_is_too_many_fields(raw_server: StartServer, each: int | None) -> None:
    fields = b"".join(b"A%d:b\r\n" % number for number in range(255))
    got = await fetch(raw_server, OK + b"Content-Length: 0\r\n" + fields + b"\r\n", each=each)
    assert len(got.fields) == 256
    error = await fail(raw_server, OK + b"Content-Length: 0\r\n" + fields + b"X: y\r\n\r\n", TooManyFields, each=each)
    assert error.limit == 256
    assert "more than 256 header fields" in str(error)


async def test_max_fields_is_the_callers_and_holds_for_trailers(raw_server: StartServer) -> None:
    error = await fail(raw_server, OK + b"A: 1\r\nB: 2\r\nC: 3\r\n\r\n", TooManyFields, max_fields=2)
    assert error.limit == 2
    trailers = OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"
    await fail(raw_server, trailers, TooManyFields, max_fields=2)


# --- fields -----------------------------------------------------------------------------------------------------------


@PIECES
@pytest.mark.parametrize(
    "line",
    [
        b"no colon",
        b"Name : value",
        b"Name\t: value",
        b": value",
        b"Na me: value",
        b"N\xe4me: value",
        b"Na(me: value",
        b"Name: va\0lue",
        b"Name: va\rlue",
        b"Na\rme: value",
        b"Na\0me: value",
    ],
)
async def test_field_line_that_is_none_is_bad_header(raw_server: StartServer, line: bytes, each: int | None) -> None:
    error = await fail(raw_server, OK + b"Good: yes\r\n" + line + b"\r\n\r\n", BadHeader, each=each)
    assert error.line == line.decode("latin-1")
    assert repr(error.line) in str(error)


@PIECES
async def test_obs_fold_is_unfolded_to_one_space(raw_server: StartServer, each: int | None) -> None:
    data = OK + b"X: one  \r\n \t two\r\n\tthree\r\nContent-Length: 2\r\n\r\nok"
    got = await fetch(raw_server, data, each=each)
    assert got.fields == [("X", "one two three"), ("Content-Length", "2")]
    assert got.body == b"ok"


@PIECES
@pytest.mark.parametrize("start", [b" ", b"\t"])
async def test_obs_fold_right_after_the_status_line_is_bad_header(
    raw_server: StartServer, start: bytes, each: int | None
) -> None:
    await fail(raw_server, OK + start + b"X: y\r\nContent-Length: 0\r\n\r\n", BadHeader, each=each)


@PIECES
async def test_bare_lf_as_line_end_in_the_head_is_accepted(raw_server: StartServer, each: int | None) -> None:
    got = await fetch(raw_server, b"HTTP/1.1 200 OK\nX: y\r\nContent-Length: 2\n\nok", each=each)
    assert got.fields == [("X", "y"), ("Content-Length", "2")]
    assert (got.response.reason, got.body) == ("OK", b"ok")


@PIECES
async def test_reason_and_values_are_latin_1_and_stripped_of_spaces_and_tabs(
    raw_server: StartServer, each: int | None
) -> None:
    data = b"HTTP/1.1 200 \t Tr\xe8s bien\t \r\nX: \t gr\xfc\xdfe \t\r\nEmpty:\r\nContent-Length: 0\r\n\r\n"
    got = await fetch(raw_server, data, each=each)
    assert got.response.reason == "Très bien"
    assert got.fields == [("X", "grüße"), ("Empty", ""), ("Content-Length", "0")]


@PIECES
async def test_fields_keep_order_spelling_and_repeats(raw_server: StartServer, each: int | None) -> None:
    data = OK + b"sEt-COOkie: a\r\nB: 1\r\nSet-Cookie: c\r\nContent-Length: 0\r\n\r\n"
    got = await fetch(raw_server, data, each=each)
    assert got.fields == [("sEt-COOkie", "a"), ("B", "1"), ("Set-Cookie", "c"), ("Content-Length", "0")]
    assert got.response.headers.getall("SET-COOKIE") == ["a", "c"]
    assert got.response.getheader("set-cookie") == "a, c"


# --- Content-Length ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lengths",
    [
        ["+5"],
        ["-5"],
        ["5 5"],
        ["0x5"],
        ["5.0"],
        ["five"],
        [""],
        ["5;"],
        ["5_0"],
        ["\xb25"],
        [str(2**63)],
        ["9" * 40],
        ["5", "6"],
        ["5, 6"],
        ["5,"],
        ["5", ""],
        ["5", "-5"],
    ],
    ids=str,
)
async def test_content_length_that_is_no_number_or_several_is_protocol_error(
    raw_server: StartServer, lengths: list[str]
) -> None:
    fields = "".join(f"Content-Length: {length}\r\n" for length in lengths).encode("latin-1")
    error = await fail(raw_server, OK + fields + b"\r\nhello", ProtocolError)
    assert "Content-Length" in str(error)


@PIECES
@pytest.mark.parametrize("lengths", [["5", "5"], ["5, 5"], ["5,5", "5"], ["005"], ["5", "05"]], ids=str)
async def test_repeated_identical_content_lengths_count_as_one(
    raw_server: StartServer, lengths: list[str], each: int | None
) -> None:
    fields = "".join(f"Content-Length: {length}\r\n" for length in lengths).encode("latin-1")
    got = await fetch(raw_server, OK + fields + b"\r\nhello", each=each)
    assert got.body == b"hello"
    assert got.connected


async def test_content_length_of_2_to_the_63_less_1_is_a_length(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK + b"Content-Length: %d\r\n\r\nhello" % (2**63 - 1)), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        assert response.length == 2**63 - 1
        assert await response.read(5) == b"hello"
        assert response.length == 2**63 - 6


@PIECES
async def test_body_that_ends_early_by_its_content_length_is_incomplete_read(
    raw_server: StartServer, each: int | None
) -> None:
    data = OK + b"Content-Length: 10\r\n\r\nhello"
    error = await fail(raw_server, data, IncompleteRead, each=each, then=(Close(),))
    assert (error.partial, error.expected) == (b"hello", 5)
    assert "5 bytes read, 5 more expected" in str(error)


# --- Transfer-Encoding ------------------------------------------------------------------------------------------------

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@PIECES
@pytest.mark.parametrize(
    "coding", [b"chunked", b"Chunked", b"CHUNKED", b" chunked\t", b"identity, chunked", b",chunked,"]
)
async def test_transfer_encoding_with_chunked_last_is_chunked(
    raw_server: StartServer, coding: bytes, each: int | None
) -> None:
    data = OK + b"Transfer-Encoding: " + coding + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    got = await fetch(raw_server, data, each=each)
    assert got.body == b"hello"
    assert got.response.chunked
    assert got.connected


@PIECES
@pytest.mark.parametrize("length", [b"5", b"3", b"nonsense", b"-1", b"1, 2"])
@pytest.mark.parametrize("first", [True, False], ids=["length first", "length last"])
async def test_content_length_beside_chunked_is_ignored_and_the_connection_not_reused(
    raw_server: StartServer, length: bytes, first: bool, each: int | None
) -> None:
    fields = [b"Content-Length: " + length + b"\r\n", b"Transfer-Encoding: chunked\r\n"]
    data = OK + b"".join(fields if first else fields[::-1]) + b"\r\n6\r\nhello!\r\n0\r\n\r\n"
    got = await fetch(raw_server, data, each=each)
    assert got.body == b"hello!"
    assert got.response.will_close
    assert not got.connected


async def test_transfer_encoding_without_chunked_last_is_read_until_close(raw_server: StartServer) -> None:
    body = b"5\r\nhello\r\n0\r\n\r\n"
    got = await fetch(
        raw_server, OK + b"Transfer-Encoding: chunked, identity\r\nContent-Length: 3\r\n\r\n" + body, then=()
    )
    assert got.body == body
    assert got.response.will_close
    assert not got.connected


@PIECES
async def test_identity_alone_is_as_if_absent(raw_server: StartServer, each: int | None) -> None:
    got = await fetch(raw_server, OK + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", each=each)
    assert got.body == b"hello"
    assert got.connected
    got = await fetch(raw_server, OK + b"Transfer-Encoding: identity\r\n\r\nuntil close", each=each, then=())
    assert got.body == b"until close"


@pytest.mark.parametrize(
    "coding",
    ["gzip", "gzip, chunked", "chunked, gzip", "identity, deflate", "xchunked", "chunked;q=1", "", "chunked x"],
)
async def test_unknown_transfer_coding_anywhere_is_unknown_transfer_encoding(
    raw_server: StartServer, coding: str
) -> None:
    data = OK + f"Transfer-Encoding: {coding}\r\n".encode() + b"\r\n5\r\nhello\r\n0\r\n\r\n"
    error = await fail(raw_server, data, UnknownTransferEncoding)
    assert error.value == coding
    assert isinstance(error, ProtocolError)


@pytest.mark.parametrize("fields", [[b"chunked, chunked"], [b"chunked", b"chunked"]], ids=["one field", "two"])
async def test_chunked_twice_is_protocol_error(raw_server: StartServer, fields: list[bytes]) -> None:
    lines = b"".join(b"Transfer-Encoding: " + value + b"\r\n" for value in fields)
    await fail(raw_server, OK + lines + b"\r\n0\r\n\r\n", ProtocolError)


@PIECES
async def test_chunked_in_http_1_0_is_decoded_and_never_reused(raw_server: StartServer, each: int | None) -> None:
    data = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    got = await fetch(raw_server, data, each=each)
    assert got.body == b"hello"
    assert got.response.will_close
    assert not got.connected


# --- chunks -----------------------------------------------------------------------------------------------------------


@PIECES
@pytest.mark.parametrize("size", [b"5 ", b"5   \t", b"05", b"00000000000000000000000000000005", b"5;", b"5 ; x"])
async def test_padding_after_a_chunk_size_and_leading_zeros_are_skipped(
    raw_server: StartServer, size: bytes, each: int | None
) -> None:
    got = await fetch(raw_server, CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n", each=each)
    assert got.body == b"hello"
    assert got.connected


@PIECES
@pytest.mark.parametrize(
    "extension", [b";a=b", b';a="x;y"', b"; \x01\x7f\xff", b";;;", b';"', b"; a b c", b";" + b"x" * 2000]
)
async def test_chunk_extension_is_skipped_unread(raw_server: StartServer, extension: bytes, each: int | None) -> None:
    got = await fetch(raw_server, CHUNKED + b"5" + extension + b"\r\nhello\r\n0" + extension + b"\r\n\r\n", each=each)
    assert got.body == b"hello"


@PIECES
@pytest.mark.parametrize(
    "framing",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r\n0\n\r\n",
        b"5\r\nhello\r\n0\r\n\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhello\rx0\r\n\r\n",
        b"5\r\nhell\r\n0\r\n\r\n",
        b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: y\n\r\n",
    ],
    ids=repr,
)
async def test_sloppy_chunk_framing_is_protocol_error(
    raw_server: StartServer, framing: bytes, each: int | None
) -> None:
    await fail(raw_server, CHUNKED + framing, ProtocolError, each=each)


@PIECES
@pytest.mark.parametrize(
    "line",
    [
        b"",
        b";a=b",
        b"+5",
        b"-5",
        b"0x5",
        b"x",
        b"5h",
        b"5_0",
        b" 5",
        b"\t5",
        b"5 0",
        b"5.0",
        b"\xb25",
        b"1" + b"0" * 16,
        b"f" * 17,
        b"5;" + b"x" * 4096,
        b"0" * 4096 + b"5",
        b"5" + b" " * 4096,
    ],
    ids=lambda line: repr(line[:20]),
)
async def test_chunk_size_that_is_none_is_protocol_error(
    raw_server: StartServer, line: bytes, each: int | None
) -> None:
    await fail(raw_server, CHUNKED + line + b"\r\nhello\r\n0\r\n\r\n", ProtocolError, each=each)


async def test_chunk_line_without_end_is_protocol_error(raw_server: StartServer) -> None:
    await fail(raw_server, CHUNKED + b"5;" + b"x" * 5000, ProtocolError)


async def test_what_came_before_broken_framing_is_read_first(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(CHUNKED + b"5\r\nhello\r\nbroken\r\n"), Hold()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    await conn.request("GET", "/")
    response = await conn.getresponse()
    assert await response.read(5) == b"hello"
    with pytest.raises(ProtocolError, match="not a chunk size"):
        await response.read()
    with pytest.raises(ProtocolError, match="not a chunk size"):
        await response.read()
    assert not response.isclosed()
    await server.wait_idle()


@PIECES
@pytest.mark.parametrize("at", range(1, len(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n")))
async def test_chunked_body_that_ends_early_is_incomplete_read(
    raw_server: StartServer, at: int, each: int | None
) -> None:
    body = b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    error = await fail(raw_server, CHUNKED + body[:at], IncompleteRead, each=each, then=(Close(),))
    assert error.partial == body[3:8][: max(0, at - 3)]
    assert error.expected is None


@pytest.mark.parametrize("rest", [b"0\r\n", b"0\r\nX: y", b"0\r\nX: y\r\n", b"0\r\n\r"], ids=repr)
async def test_closed_after_the_last_chunks_line_is_incomplete_read(raw_server: StartServer, rest: bytes) -> None:
    error = await fail(raw_server, CHUNKED + b"5\r\nhello\r\n" + rest, IncompleteRead, then=(Close(),))
    assert (error.partial, error.expected) == (b"hello", None)
    assert "trailers" in str(error)


@PIECES
async def test_trailers_are_kept_apart_from_the_fields(raw_server: StartServer, each: int | None) -> None:
    data = CHUNKED + b"5\r\nhello\r\n0\r\nDigest: a\r\ndigest: b\r\nContent-Length: 99\r\n\r\n"
    got = await fetch(raw_server, data, each=each)
    assert list(got.response.trailers.items()) == [("Digest", "a"), ("digest", "b"), ("Content-Length", "99")]
    assert got.fields == [("Transfer-Encoding", "chunked")]
    assert got.connected


@PIECES
@pytest.mark.parametrize("line", [b"no colon", b"Name : value", b" folded", b"Na\0me: x"])
async def test_trailer_line_that_is_none_is_bad_header(raw_server: StartServer, line: bytes, each: int | None) -> None:
    await fail(raw_server, CHUNKED + b"0\r\n" + line + b"\r\n\r\n", BadHeader, each=each)


# --- no body ----------------------------------------------------------------------------------------------------------


@PIECES
@pytest.mark.parametrize("field", [b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n", b""])
@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304), ("POST", 204)]
)
async def test_head_204_and_304_have_no_body_whatever_the_fields_say(
    raw_server: StartServer, method: str, status: int, field: bytes, each: int | None
) -> None:
    head = b"HTTP/1.1 %d Such\r\n%b\r\n" % (status, field)
    server = await raw_server([Request(), Send(head, each=each), Request(), Send(SMALL), Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request(method, "/")
        response = await conn.getresponse()
        assert response.status == status
        assert await response.read() == b""
        assert response.length == 0
        assert response.isclosed()
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == b"hello"
    assert server.connections == 1


async def test_interim_responses_have_no_body_whatever_the_fields_say(raw_server: StartServer) -> None:
    interim = (
        b"HTTP/1.1 102 Processing\r\nContent-Length: 10\r\n\r\nHTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    got = await fetch(raw_server, interim + SMALL)
    assert got.body == b"hello"
    assert got.connected


@pytest.mark.parametrize("field", [b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_2xx_to_connect_has_no_body_and_hands_over_the_streams(raw_server: StartServer, field: bytes) -> None:
    server = await raw_server([Request(), Send(b"HTTP/1.1 200 Go\r\n" + field + b"\r\nraw bytes"), Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("CONNECT", "example.org:443")
        response = await conn.getresponse()
        assert await response.read() == b""
        reader, writer = await response.detach()
        assert await reader.readexactly(9) == b"raw bytes"
        writer.close()
        await writer.wait_closed()


# --- body until close -------------------------------------------------------------------------------------------------


@PIECES
async def test_body_until_close(raw_server: StartServer, each: int | None) -> None:
    got = await fetch(raw_server, OK + b"\r\nall of this", each=each, then=())
    assert got.body == b"all of this"
    assert got.response.length is None
    assert got.response.will_close
    assert not got.connected


async def test_body_until_close_ended_by_a_reset_is_read_error(raw_server: StartServer) -> None:
    arrived = asyncio.Event()
    server = await raw_server([Request(), Send(OK + b"\r\npart"), WaitFor(arrived), Reset()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        assert await response.read(4) == b"part"
        arrived.set()
        with pytest.raises(ReadError) as caught:
            await response.read()
        assert isinstance(caught.value.__cause__, ConnectionError)
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        assert not conn.is_connected


async def test_body_of_known_length_ended_by_a_reset_is_read_error(raw_server: StartServer) -> None:
    arrived = asyncio.Event()
    server = await raw_server([Request(), Send(OK + b"Content-Length: 9\r\n\r\npart"), WaitFor(arrived), Reset()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        assert await response.read(4) == b"part"
        arrived.set()
        with pytest.raises(ReadError):
            await response.read()


@pytest.mark.parametrize("each", [None, 1])
async def test_body_until_close_on_tls_with_close_notify_is_whole(
    raw_server: StartServer, server_ctx: Any, client_ctx: Any, each: int | None
) -> None:
    server = await raw_server([Request(), Send(OK + b"\r\nall of this", each=each), Close()], tls=server_ctx)
    async with AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx) as conn:
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == b"all of this"


@pytest.mark.parametrize("each", [None, 1])
async def test_body_until_close_on_tls_without_close_notify_is_incomplete_read(
    raw_server: StartServer, server_ctx: Any, client_ctx: Any, each: int | None
) -> None:
    server = await raw_server([Request(), Send(OK + b"\r\npart", each=each), Truncate(), Hold()], tls=server_ctx)
    async with AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        with pytest.raises(IncompleteRead) as caught:
            await response.read()
        assert (caught.value.partial, caught.value.expected) == (b"part", None)
        assert "close_notify" in str(caught.value)
        assert f"127.0.0.1:{server.port}" in str(caught.value)


@pytest.mark.parametrize("data", [SMALL, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"], ids=["Content-Length", "chunked"])
async def test_framed_body_on_tls_needs_no_close_notify(
    raw_server: StartServer, server_ctx: Any, client_ctx: Any, data: bytes
) -> None:
    server = await raw_server([Request(), Send(data), Truncate(), Hold()], tls=server_ctx)
    async with AsyncHTTPSConnection("127.0.0.1", server.port, context=client_ctx) as conn:
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == b"hello"


# --- after the body ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [SMALL, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"], ids=["Content-Length", "chunked"])
@pytest.mark.parametrize("extra", [b"x", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"])
async def test_bytes_after_the_body_in_the_same_packet_discard_the_connection(
    raw_server: StartServer, data: bytes, extra: bytes
) -> None:
    server = await raw_server([Request(), Send(data + extra), Hold()], [Request(), Send(SMALL), Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == b"hello"
        assert not conn.reusable
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == b"hello"
        assert server.connections == 2


def send_at_once(server: RawServer, data: bytes) -> None:
    """Send past the loop: what it has no turn to read stays in the client's socket."""
    descriptor = server.accepted[0].writer.get_extra_info("socket").fileno()
    with socket.socket(fileno=os.dup(descriptor)) as borrowed:
        assert borrowed.send(data) == len(data)


@pytest.mark.parametrize("turns", [0, 20], ids=["still in the socket", "read by the loop"])
async def test_bytes_after_the_body_on_an_idle_connection_discard_it(raw_server: StartServer, turns: int) -> None:
    server = await raw_server([Request(), Send(SMALL), Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == b"hello"
        assert conn.reusable
        send_at_once(server, b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")
        for _ in range(turns):
            await asyncio.sleep(0)
        assert not conn.reusable
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == b"hello"
        assert server.connections == 2


@pytest.mark.parametrize("status", [101, 100, 103])
async def test_interim_response_on_an_idle_connection_discards_it(raw_server: StartServer, status: int) -> None:
    server = await raw_server([Request(), Send(SMALL), Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        assert await (await conn.getresponse()).read() == b"hello"
        send_at_once(server, b"HTTP/1.1 %d Such\r\n\r\n" % status)
        assert not conn.reusable


@PIECES
@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: closed\r\n", True),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\nKeep-Alive: timeout=5\r\n", False),
    ],
    ids=repr,
)
async def test_connection_close_and_http_1_0_close_after_the_body(
    raw_server: StartServer, head: bytes, kept: bool, each: int | None
) -> None:
    got = await fetch(raw_server, head + b"Content-Length: 5\r\n\r\nhello", each=each)
    assert got.body == b"hello"
    assert got.connected is kept
    assert got.response.will_close is not kept


async def test_connection_close_in_the_request_closes_after_the_body(raw_server: StartServer) -> None:
    got = await fetch(raw_server, SMALL, headers={"Connection": "close"})
    assert got.body == b"hello"
    assert got.response.will_close
    assert not got.connected


# --- interim responses and upgrades -----------------------------------------------------------------------------------


@pytest.mark.parametrize("each", [None, 5])
async def test_16_interim_responses_are_passed_over_and_one_more_is_protocol_error(
    raw_server: StartServer, each: int | None
) -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    got = await fetch(raw_server, interim * 16 + SMALL, each=each)
    assert got.body == b"hello"
    error = await fail(raw_server, interim * 17 + SMALL, ProtocolError, each=each)
    assert "more than 16 interim responses" in str(error)


UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


async def test_101_that_was_asked_for_gives_the_response_and_the_raw_streams(raw_server: StartServer) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Any) -> None:
        await conn.read_request()
        writer.write(UPGRADED + b"first ")
        while data := await reader.read(100):
            writer.write(data)

    server = await raw_server(echo)
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/", headers={"Connection": "upgrade", "Upgrade": "echo"})
        response = await conn.getresponse()
        assert response.status == 101
        assert response.getheader("Upgrade") == "echo"
        reader, writer = await response.detach()
        assert isinstance(reader, asyncio.StreamReader)
        assert isinstance(writer, asyncio.StreamWriter)
        writer.write(b"second")
        await writer.drain()
        assert await reader.readexactly(12) == b"first second"
        assert not conn.is_connected
        assert conn.reader is None
        writer.close()
        await writer.wait_closed()


@PIECES
async def test_101_that_nobody_asked_for_is_protocol_error(raw_server: StartServer, each: int | None) -> None:
    error = await fail(raw_server, UPGRADED, ProtocolError, each=each)
    assert "101" in str(error)


async def test_final_response_to_an_upgrade_request_is_an_ordinary_one(raw_server: StartServer) -> None:
    got = await fetch(raw_server, SMALL, headers={"Connection": "upgrade", "Upgrade": "echo"})
    assert (got.response.status, got.body, got.connected) == (200, b"hello", True)
