"""Where bodies end, row by row of the wire rules; chunked bodies taken apart and put together; limits."""

from __future__ import annotations

import string
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttpconn.errors import (
    BadHeader,
    HTTPException,
    IncompleteRead,
    LineTooLong,
    ProtocolError,
    TooManyFields,
    UnknownTransferEncoding,
)
from aiohttpconn.messages import ResponseHead
from aiohttpconn.wire import framing as framing_module
from aiohttpconn.wire.framing import (
    LAST_CHUNK,
    MAX_CHUNK_LINE,
    ChunkedDecoder,
    CloseDecoder,
    Framing,
    LengthDecoder,
    content_length,
    encode_chunk,
    encode_last_chunk,
    response_framing,
)
from aiohttpconn.wire.head import MAX_HEAD, encode_fields
from tests.wire.pieces import Played, cut, play, play_all_ways

NONE, LENGTH, CHUNKED, CLOSE, UPGRADE = Framing
BIGGEST = 2**63 - 1
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def framing(
    *fields: tuple[str, str], status: int = 200, method: str = "GET", version: int = 11
) -> tuple[Framing, int | None, bool]:
    return response_framing(ResponseHead(version, status, "", CIMultiDictProxy(CIMultiDict(fields))), method)


def te(value: str) -> tuple[str, str]:
    return "Transfer-Encoding", value


def cl(value: str) -> tuple[str, str]:
    return "Content-Length", value


KEEP_ALIVE = ("Connection", "keep-alive")

# --- row: HEAD, 1xx, 204, 304, 2xx to CONNECT have no body whatever the fields say ------------------------------------

LYING = [
    pytest.param([], id="no fields"),
    pytest.param([cl("5")], id="a length"),
    pytest.param([te("chunked")], id="chunked"),
    pytest.param([te("gzip")], id="an unknown coding"),
    pytest.param([cl("nonsense")], id="a bad length"),
    pytest.param([cl("5"), cl("6")], id="lengths that differ"),
]


@pytest.mark.parametrize("fields", LYING)
@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304), ("POST", 204), ("GET", 100), ("GET", 103), ("GET", 199)],
)
def test_no_body_whatever_the_fields_say(method: str, status: int, fields: list[tuple[str, str]]) -> None:
    assert framing(*fields, method=method, status=status) == (NONE, 0, True)


@pytest.mark.parametrize("fields", LYING)
@pytest.mark.parametrize("status", [200, 204, 299])
def test_2xx_to_connect_is_a_tunnel(status: int, fields: list[tuple[str, str]]) -> None:
    kind, length, reusable = framing(*fields, method="CONNECT", status=status)
    assert kind is (NONE if status == 204 else UPGRADE)
    assert not length
    assert status == 204 or not reusable


@pytest.mark.parametrize("status", [301, 407, 500])
def test_refusal_of_connect_has_a_body(status: int) -> None:
    assert framing(cl("5"), method="CONNECT", status=status) == (LENGTH, 5, True)


@pytest.mark.parametrize("fields", LYING)
def test_101_hands_the_streams_over(fields: list[tuple[str, str]]) -> None:
    assert framing(*fields, status=101) == (UPGRADE, None, False)


@pytest.mark.parametrize("status", [200, 201, 205, 206, 301, 404, 500, 999])
def test_any_other_has_a_body(status: int) -> None:
    assert framing(cl("5"), status=status) == (LENGTH, 5, True)


# --- row: Content-Length ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "length"),
    [
        pytest.param(["0"], 0, id="zero"),
        pytest.param(["5"], 5, id="small"),
        pytest.param([str(BIGGEST)], BIGGEST, id="2**63-1"),
        pytest.param(["0" * 4000 + "5"], 5, id="leading zeros"),
        pytest.param(["0" * 4000], 0, id="nothing but zeros"),
        pytest.param(["0" + str(BIGGEST)], BIGGEST, id="2**63-1 with a leading zero"),
        pytest.param(["5", "5"], 5, id="repeated, identical"),
        pytest.param(["6, 6"], 6, id="a list of identical ones"),
        pytest.param(["6,6", "6"], 6, id="both"),
        pytest.param(["6", "06"], 6, id="the same number spelled differently"),
    ],
)
def test_content_length_taken(values: list[str], length: int) -> None:
    assert content_length(values) == length
    assert framing(*map(cl, values)) == (LENGTH, length, True)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([""], id="empty"),
        pytest.param(["-1"], id="negative"),
        pytest.param(["+5"], id="plus sign"),
        pytest.param(["5 5"], id="space within"),
        pytest.param(["0x5"], id="hexadecimal"),
        pytest.param(["5.0"], id="a point"),
        pytest.param(["5e1"], id="an exponent"),
        pytest.param(["1_000"], id="an underscore"),
        pytest.param(["²"], id="superscript two"),
        pytest.param(["5;"], id="something after"),
        pytest.param(["5\xa0"], id="no-break space"),
        pytest.param(["\x0b5"], id="vertical tab"),
        pytest.param(["five"], id="a word"),
        pytest.param([str(BIGGEST + 1)], id="2**63"),
        pytest.param(["1" + "0" * 19], id="20 digits"),
        pytest.param(["9" * 5000], id="5,000 digits"),
        pytest.param(["5", "6"], id="two that differ"),
        pytest.param(["5, 6"], id="a list that differs"),
        pytest.param(["5,"], id="a list with an empty element"),
        pytest.param([",5"], id="a list that begins empty"),
        pytest.param(["5", ""], id="one of two empty"),
        pytest.param(["5", "x"], id="one of two bad"),
    ],
)
def test_content_length_refused(values: list[str]) -> None:
    with pytest.raises(ProtocolError, match="Content-Length") as caught:
        framing(*map(cl, values))
    assert len(str(caught.value)) < 400


# --- rows: Transfer-Encoding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values", [["chunked"], ["Chunked"], ["CHUNKED"], ["identity, chunked"], ["identity", "chunked"]]
)
def test_chunked_last(values: list[str]) -> None:
    assert framing(*map(te, values)) == (CHUNKED, None, True)


@pytest.mark.parametrize("values", [[" chunked"], ["\tchunked\t"], [",chunked"], ["chunked,"], [", ,chunked ,"]])
def test_chunked_among_white_space_and_empty_elements(values: list[str]) -> None:
    assert framing(*map(te, values)) == (CHUNKED, None, True)


@pytest.mark.parametrize("length", ["5", "0", "-1", "nonsense", "", str(BIGGEST + 1)])
def test_length_beside_chunked_is_ignored_valid_or_not_and_never_reused(length: str) -> None:
    assert framing(te("chunked"), cl(length), KEEP_ALIVE) == (CHUNKED, None, False)
    assert framing(te("chunked"), cl(length), cl("6")) == (CHUNKED, None, False)


@pytest.mark.parametrize("length", ["5", "nonsense"])
def test_without_chunked_last_the_body_goes_until_close(length: str) -> None:
    assert framing(te("chunked, identity")) == (CLOSE, None, False)
    assert framing(te("chunked, identity"), cl(length), KEEP_ALIVE) == (CLOSE, None, False)


def test_identity_alone_is_as_if_absent() -> None:
    assert framing(te("identity"), cl("5")) == (LENGTH, 5, True)
    assert framing(te("identity")) == (CLOSE, None, False)
    assert framing(te("identity, identity"), cl("5")) == (LENGTH, 5, True)
    with pytest.raises(ProtocolError):
        framing(te("identity"), cl("x"))


@pytest.mark.parametrize(
    "values",
    [
        ["gzip"],
        ["gzip, chunked"],
        ["chunked, gzip"],
        ["gzip", "chunked"],
        ["chunked", "gzip"],
        ["chunked;q=1"],
        ["xchunked"],
        ["chunked x"],
        ["\x0bchunked"],
        ["chunked\xa0"],
        ['"chunked"'],
        ["trailers"],
        [""],
        [","],
    ],
    ids=repr,
)
@pytest.mark.parametrize("length", [[], [cl("5")]], ids=["", "beside a length"])
def test_unknown_transfer_coding(values: list[str], length: list[tuple[str, str]]) -> None:
    with pytest.raises(UnknownTransferEncoding) as caught:
        framing(*map(te, values), *length)
    assert caught.value.value == ", ".join(values)


@pytest.mark.parametrize("values", [["chunked, chunked"], ["chunked", "chunked"], ["chunked, identity, chunked"]])
def test_chunked_twice_is_refused(values: list[str]) -> None:
    with pytest.raises(ProtocolError) as caught:
        framing(*map(te, values))
    assert type(caught.value) is ProtocolError


def test_transfer_encoding_in_http_1_0_is_decoded_and_never_reused() -> None:
    assert framing(te("chunked"), KEEP_ALIVE, version=10) == (CHUNKED, None, False)
    assert framing(te("chunked"), version=10) == (CHUNKED, None, False)
    assert framing(te("chunked, identity"), KEEP_ALIVE, version=10) == (CLOSE, None, False)


# --- rows: until close; reuse -----------------------------------------------------------------------------------------


def test_neither_length_nor_chunked_goes_until_close() -> None:
    assert framing() == (CLOSE, None, False)
    assert framing(KEEP_ALIVE) == (CLOSE, None, False)


@pytest.mark.parametrize(
    ("version", "values", "reusable"),
    [
        (11, [], True),
        (11, ["keep-alive"], True),
        (11, ["close"], False),
        (11, ["Close"], False),
        (11, ["CLOSE"], False),
        (11, ["keep-alive, close"], False),
        (11, ["close, keep-alive"], False),
        (11, ["keep-alive", "close"], False),
        (11, ["upgrade , close"], False),
        (11, ["closed"], True),
        (11, [""], True),
        (10, [], False),
        (10, ["keep-alive"], True),
        (10, ["Keep-Alive"], True),
        (10, ["x, Keep-Alive"], True),
        (10, ["keep-alive", "close"], False),
        (10, ["close"], False),
        (10, ["keep-alives"], False),
    ],
)
def test_reuse_by_version_and_connection_field(version: int, values: list[str], reusable: bool) -> None:
    fields = [("Connection", value) for value in values]
    assert framing(cl("5"), *fields, version=version) == (LENGTH, 5, reusable)
    assert framing(*fields, version=version, status=204) == (NONE, 0, reusable)


# --- bodies of known length, and until close --------------------------------------------------------------------------


def test_body_of_known_length_and_what_comes_after() -> None:
    played = play_all_ways(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello+more")
    assert (played.body, played.unread, played.error) == (b"hello", b"+more", None)


@pytest.mark.parametrize("came", range(5))
def test_body_of_known_length_that_ends_early_is_never_success(came: int) -> None:
    played = play_all_ways(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + b"hello"[:came])
    assert type(played.error) is IncompleteRead
    assert played.error.expected == 5 - came
    assert played.body == b"hello"[:came]


def test_length_decoder_counts_down() -> None:
    decoder = LengthDecoder(5)
    assert decoder.missing == 5
    assert decoder.feed(b"he") == [b"he"]
    assert (decoder.missing, decoder.done) == (3, False)
    assert decoder.feed(b"llo") == [b"llo"]
    assert (decoder.missing, decoder.done, decoder.unused) == (0, True, b"")
    assert LengthDecoder(0).done


def test_body_until_close() -> None:
    played = play_all_ways(b"HTTP/1.1 200 OK\r\n\r\nhello\r\n\r\nworld")
    assert (played.body, played.error) == (b"hello\r\n\r\nworld", None)
    decoder = CloseDecoder()
    assert decoder.missing is None
    decoder.eof()
    assert decoder.done


# --- chunked ----------------------------------------------------------------------------------------------------------


def chunked(data: bytes, **limits: int) -> Played:
    """What becomes of a chunked body, the same under every cutting."""
    return play_all_ways(CHUNKED_HEAD + data, **limits)


def decode(data: bytes) -> tuple[bytes, list[tuple[str, str]]]:
    """Body and trailers of what must be taken."""
    played = chunked(data)
    if played.error is not None:
        raise played.error
    assert not played.unread
    return played.body, played.trailers


def refused(data: bytes, **limits: int) -> HTTPException:
    """The error of what must not be taken."""
    played = chunked(data, **limits)
    assert played.error is not None, "taken"
    assert played.stage == "read"
    return played.error


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"5\r\nhello\r\n0\r\n\r\n", id="plain"),
        pytest.param(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", id="two chunks"),
        pytest.param(b"00000000000000000000005\r\nhello\r\n000\r\n\r\n", id="leading zeros"),
        pytest.param(b"5;a=b\r\nhello\r\n0;c\r\n\r\n", id="extensions"),
        pytest.param(b'5;a="b;\\"c\r\nhello\r\n0\r\n\r\n', id="extension with unbalanced quotes"),
        pytest.param(b"5;\x01\xff\x7f =;;\r\nhello\r\n0\r\n\r\n", id="extension of anything"),
        pytest.param(b"5 ;a\r\nhello\r\n0\r\n\r\n", id="space before an extension"),
        pytest.param(b"5 \t \r\nhello\r\n0  \r\n\r\n", id="spaces and tabs after the size"),
    ],
)
def test_chunked_body_taken(data: bytes) -> None:
    assert decode(data) == (b"hello", [])


def test_chunk_sizes_are_hexadecimal_in_either_case() -> None:
    body = b"x" * 0xAB
    assert decode(b"aB\r\n" + body + b"\r\n0\r\n\r\n")[0] == body


def test_chunk_data_may_be_anything() -> None:
    body = b"\r\n0\r\n\r\n"
    assert decode(b"7\r\n" + body + b"\r\n0\r\n\r\n")[0] == body


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\r\nhello\r\n0\r\n\r\n", id="empty size"),
        pytest.param(b";ext\r\nhello\r\n0\r\n\r\n", id="extension without a size"),
        pytest.param(b"-5\r\nhello\r\n0\r\n\r\n", id="minus"),
        pytest.param(b"+5\r\nhello\r\n0\r\n\r\n", id="plus"),
        pytest.param(b"0x5\r\nhello\r\n0\r\n\r\n", id="prefix 0x"),
        pytest.param(b"x5\r\nhello\r\n0\r\n\r\n", id="prefix x"),
        pytest.param(b" 5\r\nhello\r\n0\r\n\r\n", id="space before"),
        pytest.param(b"\t5\r\nhello\r\n0\r\n\r\n", id="tab before"),
        pytest.param(b"0 5\r\nhello\r\n0\r\n\r\n", id="space inside"),
        pytest.param(b"5 5\r\nhello\r\n0\r\n\r\n", id="space and more digits"),
        pytest.param(b"5_0\r\nhello\r\n0\r\n\r\n", id="underscore"),
        pytest.param(b"5.\r\nhello\r\n0\r\n\r\n", id="point"),
        pytest.param(b"5h\r\nhello\r\n0\r\n\r\n", id="not hexadecimal"),
        pytest.param("５\r\nhello\r\n0\r\n\r\n".encode(), id="not ASCII"),
        pytest.param(b"5,a\r\nhello\r\n0\r\n\r\n", id="comma for a semicolon"),
        pytest.param(b"5 a=b\r\nhello\r\n0\r\n\r\n", id="extension without a semicolon"),
        pytest.param(b"5\x0b\r\nhello\r\n0\r\n\r\n", id="vertical tab after the size"),
        pytest.param(b"5;a\0b\r\nhello\r\n0\r\n\r\n", id="NUL in an extension"),
        pytest.param(b"5;a\rb\r\nhello\r\n0\r\n\r\n", id="bare CR in an extension"),
        pytest.param(b"5\r\r\nhello\r\n0\r\n\r\n", id="bare CR before CRLF"),
        pytest.param(b"5\0\r\nhello\r\n0\r\n\r\n", id="NUL after the size"),
        pytest.param(b"5\nhello\r\n0\r\n\r\n", id="bare LF after the size"),
        pytest.param(b"\n5\r\nhello\r\n0\r\n\r\n", id="bare LF first"),
        pytest.param(b"5;a\nhello\r\n0\r\n\r\n", id="bare LF after an extension"),
        pytest.param(b"5\r\nhello\n0\r\n\r\n", id="bare LF after the data"),
        pytest.param(b"5\r\nhello0\r\n\r\n", id="nothing after the data"),
        pytest.param(b"5\r\nhello\r0\r\n\r\n", id="bare CR after the data"),
        pytest.param(b"5\r\nhello+\r\n0\r\n\r\n", id="more data than the size says"),
        pytest.param(b"5\r\nhell\r\n0\r\n\r\n", id="less data than the size says"),
        pytest.param(b"5\r\nhello\r\n\r\n0\r\n\r\n", id="empty line between chunks"),
        pytest.param(b"0\n\r\n", id="bare LF after the last chunk's size"),
        pytest.param(b"0\r\n\n", id="bare LF at the end"),
        pytest.param(b"0\r\nA: b\n\r\n", id="bare LF in the trailers"),
        pytest.param(b"0\r\nA: b\r\n\n", id="bare LF after the trailers"),
        pytest.param(b"0\r\nA: b\n\n", id="bare LFs only in the trailers"),
    ],
)
def test_sloppy_chunk_framing_is_refused(data: bytes) -> None:
    assert type(refused(data)) is ProtocolError


def test_chunk_before_the_error_is_handed_out_first() -> None:
    played = chunked(b"5\r\nhello\r\nnonsense\r\n")
    assert played.body == b"hello"
    assert type(played.error) is ProtocolError


def test_chunk_size_of_16_significant_digits_is_taken_and_of_17_refused() -> None:
    played = chunked(b"f" * 16 + b"\r\nhello")
    assert type(played.error) is IncompleteRead
    assert played.body == b"hello"
    assert type(chunked(b"0" * 50 + b"f" * 16 + b"\r\nhello").error) is IncompleteRead
    assert type(refused(b"1" + b"0" * 16 + b"\r\nhello")) is ProtocolError
    assert type(refused(b"0" * 50 + b"1" + b"0" * 16 + b"\r\nhello")) is ProtocolError


@pytest.mark.parametrize("line", [b"5;%b", b"%b5", b"5%b"], ids=["extension", "leading zeros", "spaces"])
def test_chunk_line_at_and_over_its_limit(line: bytes) -> None:
    """4 KiB with its CRLF. Extensions, leading zeros and padding all count."""
    filling = {b"5;%b": b"x", b"%b5": b"0", b"5%b": b" "}[line]
    room = MAX_CHUNK_LINE - len(line % b"") - 2
    assert decode(line % (filling * room) + b"\r\nhello\r\n0\r\n\r\n")[0] == b"hello"
    error = refused(line % (filling * (room + 1)) + b"\r\nhello\r\n0\r\n\r\n")
    assert type(error) is ProtocolError
    assert str(MAX_CHUNK_LINE) in str(error)


def test_chunk_line_that_never_ends_is_refused_at_the_limit() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(b"5;" + b"x" * (MAX_CHUNK_LINE - 3)) == []
    assert decoder.error is None
    decoder.feed(b"x")
    assert type(decoder.error) is ProtocolError


# --- the end of a chunked body ----------------------------------------------------------------------------------------


def test_chunked_body_cut_short_at_every_byte_is_never_success() -> None:
    data = b"5;e\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\nC: d\r\n\r\n"
    assert decode(data) == (b"hello world", [("A", "b"), ("C", "d")])
    for end in range(len(data)):
        played = chunked(data[:end])
        assert type(played.error) is IncompleteRead, data[:end]
        assert played.error.expected is None
        assert b"hello world".startswith(played.body)


def test_closed_before_the_end_of_the_trailers_says_so() -> None:
    for end in (b"0\r\n", b"0\r\n\r", b"0\r\nA: b\r\n"):
        played = chunked(b"5\r\nhello\r\n" + end)
        assert type(played.error) is IncompleteRead
        assert "trailers" in str(played.error)
        assert played.body == b"hello"


def test_bytes_after_a_chunked_body_are_unread() -> None:
    for end in (b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n"):
        played = chunked(b"5\r\nhello\r\n" + end + b"HTTP/1.1 200 OK\r\n\r\n")
        assert played.error is None
        assert played.unread == b"HTTP/1.1 200 OK\r\n\r\n"


# --- trailers ---------------------------------------------------------------------------------------------------------


def test_trailers_are_fields_as_in_a_head() -> None:
    data = b"0\r\nA:  b \r\na: c\r\nFold: x\r\n  y\r\nEmpty:\r\nL: \xe9\r\n\r\n"
    assert decode(data)[1] == [("A", "b"), ("a", "c"), ("Fold", "x y"), ("Empty", ""), ("L", "é")]


@pytest.mark.parametrize("line", [b"no colon", b"A : b", b"A: b\0", b"A: b\rc", b": b", b" A: b", b"A: b\r"], ids=repr)
def test_bad_trailer_is_a_bad_header(line: bytes) -> None:
    assert type(refused(b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n")) is BadHeader


def trailers_of(size: int) -> bytes:
    return b"A: " + b"t" * (size - 7) + b"\r\n\r\n"


def test_trailers_at_and_over_the_limit_of_a_head() -> None:
    assert len(decode(b"0\r\n" + trailers_of(MAX_HEAD))[1]) == 1
    error = refused(b"0\r\n" + trailers_of(MAX_HEAD + 1))
    assert type(error) is LineTooLong
    assert error.limit == MAX_HEAD
    limit = len(CHUNKED_HEAD)
    assert chunked(b"0\r\n" + trailers_of(limit), max_head=limit).error is None
    assert type(refused(b"0\r\n" + trailers_of(limit + 1), max_head=limit)) is LineTooLong


def test_trailers_that_never_end_are_refused_at_the_limit() -> None:
    decoder = ChunkedDecoder()
    decoder.feed(b"0\r\nA: " + b"t" * (MAX_HEAD - 3))
    assert decoder.error is None
    decoder.feed(b"t")
    assert type(decoder.error) is LineTooLong


def test_as_many_trailers_as_fields_are_allowed() -> None:
    three = b"0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"
    assert chunked(three, max_fields=3).error is None
    error = refused(three, max_fields=2)
    assert type(error) is TooManyFields
    assert error.limit == 2


def test_bare_line_feed_beyond_the_limit_is_the_same_error_however_it_is_cut() -> None:
    limit = len(CHUNKED_HEAD)
    far = b"0\r\nA: " + b"t" * 2 * limit + b"\nB: c\r\n\r\n"
    assert type(refused(far, max_head=limit)) is LineTooLong
    near = b"0\r\nA: \n" + b"t" * 2 * limit + b"\r\n\r\n"
    assert type(refused(near, max_head=limit)) is ProtocolError


def test_dripped_trailers_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for bare LFs goes on where it stopped: again at every byte, 64 KiB of them took 34 s."""
    searched = 0
    pattern = framing_module.BARE_LF

    class Watched:
        def search(self, data: bytes, start: int, end: int) -> object:
            nonlocal searched
            searched += end - start
            return pattern.search(data, start, end)

    monkeypatch.setattr(framing_module, "BARE_LF", Watched())
    decoder = ChunkedDecoder()
    decoder.feed(b"0\r\n")
    size = 20_000
    for value in b"A:" + b" " * size:
        decoder.feed(bytes((value,)))
    assert decoder.error is None
    assert searched < 2 * size
    decoder.feed(b"x\r\n\r\n")
    assert decoder.done
    assert decoder.trailers["A"] == "x"


def test_dripped_chunks_hold_only_the_line() -> None:
    """What has been handed out is not kept: a body in single bytes takes no memory."""
    decoder = ChunkedDecoder()
    for _ in range(1000):
        for value in b"5;ext\r\nhello\r\n":
            decoder.feed(bytes((value,)))
            assert len(decoder._held) <= 8


# --- generated --------------------------------------------------------------------------------------------------------

WORDS = [
    b"0",
    b"5",
    b"a",
    b";x",
    b" ",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"hello",
    b"hello\r\n",
    b"5\r\nhello\r\n",
    b"A: b",
]
HOSTILE = st.one_of(
    st.binary(max_size=100),
    st.lists(st.sampled_from([*WORDS, b"0\r\n\r\n", b"f" * 17, b"\r\n\r\n"]), max_size=20).map(b"".join),
)
CUTS = st.lists(st.integers(0, 300), max_size=12)


def run(parts: list[bytes], max_head: int, max_fields: int) -> tuple[object, ...]:
    decoder = ChunkedDecoder(max_head, max_fields)
    body = b""
    unread = b""
    for part in parts:
        if decoder.done:
            unread += part
            continue
        body += b"".join(decoder.feed(part))
        if decoder.error is not None:
            break
        unread += decoder.unused
    decoder.eof()
    assert decoder.done is (decoder.error is None)
    return body, unread, list(decoder.trailers.items()), type(decoder.error)


@given(HOSTILE, CUTS, st.sampled_from([(MAX_HEAD, 256), (20, 2), (8, 1)]))
@example(b"0\r\nA: bbbbbbb\n\r\n", [5], (8, 1))
@example(b"0\r\n\r\n\r\n", [3, 4], (MAX_HEAD, 256))
@settings(max_examples=800)
def test_any_chunked_bytes_in_any_pieces_have_one_outcome(data: bytes, at: list[int], limits: tuple[int, int]) -> None:
    """And nothing but this library's own errors come out."""
    whole = run([data] if data else [], *limits)
    assert run(cut(data, at), *limits) == whole
    assert run(cut(data, range(len(data))), *limits) == whole


NAME = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=10)
VALUE = st.text(string.printable.replace("\r", "").replace("\n", ""), max_size=20).map(lambda text: text.strip(" \t"))


@given(
    st.binary(max_size=3000),
    st.lists(st.integers(0, 3000), max_size=10),
    st.lists(st.tuples(NAME, VALUE), max_size=5),
    CUTS,
)
@settings(max_examples=300)
def test_what_is_encoded_decodes_to_the_same(
    body: bytes, chunk_ends: list[int], trailers: list[tuple[str, str]], at: list[int]
) -> None:
    data = b"".join(piece for part in cut(body, chunk_ends) for piece in encode_chunk(part))
    data += encode_last_chunk(encode_fields(trailers))
    for parts in (cut(CHUNKED_HEAD + data, at), cut(CHUNKED_HEAD + data, range(len(data)))):
        played = play(parts)
        assert played.error is None
        assert played.body == body
        assert played.trailers == trailers
        assert not played.unread


# --- writing ----------------------------------------------------------------------------------------------------------


def test_chunk_in_wire_form() -> None:
    data = b"x" * 255
    encoded = encode_chunk(data)
    assert encoded == (b"ff\r\n", data, b"\r\n")
    assert encoded[1] is data, "the data is not copied"


def test_last_chunk_in_wire_form() -> None:
    assert encode_last_chunk() == LAST_CHUNK == b"0\r\n\r\n"
    assert encode_last_chunk(b"A: b\r\n") == b"0\r\nA: b\r\n\r\n"


def test_pieces_of_chunks_are_not_joined_or_copied() -> None:
    data = b"x" * 100_000
    decoder = ChunkedDecoder()
    decoder.feed(b"%x\r\n" % (2 * len(data)))
    assert decoder.feed(data)[0] is data


@pytest.mark.parametrize("size", [1, 2, 16, 1000, 4095])
def test_small_chunks_that_come_together_are_handed_out_together(size: int) -> None:
    chunk = b"%x\r\n%b\r\n" % (size, b"x" * size)
    count = 262_144 // len(chunk)
    pieces = ChunkedDecoder().feed(chunk * count)
    assert sum(map(len, pieces)) == size * count
    assert len(pieces) <= 5
    assert max(map(len, pieces)) < 65_536 + 4096


def test_small_chunks_stay_between_the_large_ones_that_they_came_between() -> None:
    sizes = [1, 2, 5000, 3, 4096, 4095, 70_000, 9]
    chunks = [bytes((65 + number,)) * size for number, size in enumerate(sizes)]
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    pieces = ChunkedDecoder().feed(data)
    assert b"".join(pieces) == b"".join(chunks)
    assert [len(piece) for piece in pieces] == [3, 5000, 3, 4096, 4095, 70_000, 9]


def test_sizes_that_repeat_are_bounded_in_the_cache() -> None:
    decoder = ChunkedDecoder()
    for number in range(3000):
        decoder.feed(b"1;%d\r\nx\r\n" % number)
    assert decoder.error is None
    cache = framing_module._CHUNK_LINES
    for held in (cache, cache._older):
        assert len(held) <= cache._limit
        assert max(map(len, held), default=0) <= cache._longest


def test_cuts_are_exact() -> None:
    """The tests' own tool: nothing is lost or doubled."""
    data = bytes(range(200))
    assert b"".join(cut(data, [0, 3, 3, 199, 200, 500])) == data
    assert [len(part) for part in cut(data, [3, 10])] == [b - a for a, b in pairwise([0, 3, 10, 200])]
