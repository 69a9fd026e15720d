"""Heads of responses, row by row of the wire rules; limits; what is cached; request heads written."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aiohttpconn.errors import (
    BadHeader,
    BadStatusLine,
    HTTPException,
    LineTooLong,
    ProtocolError,
    RemoteDisconnected,
    TooManyFields,
)
from aiohttpconn.wire import head as head_module
from aiohttpconn.wire.head import (
    MAX_FIELDS,
    MAX_HEAD,
    MAX_LINE,
    HeadParser,
    LineCache,
    encode_fields,
    encode_request_head,
    parse_fields,
    unfolded_lines,
)
from tests.wire.pieces import cut, play, play_all_ways

OK = b"HTTP/1.1 200 OK\r\n"
NO_BODY = b"Content-Length: 0\r\n\r\n"


def refused(data: bytes, **limits: int) -> HTTPException:
    """The error that the head gets, the same under every cutting."""
    played = play_all_ways(data, **limits)
    assert played.error is not None, f"taken: {played.head!r}"
    assert played.stage == "getresponse"
    assert isinstance(played.error, ProtocolError)
    return played.error


def fields(data: bytes, **limits: int) -> list[tuple[str, str]]:
    """The fields of the head, the same under every cutting."""
    played = play_all_ways(data, **limits)
    assert played.error is None, played.error
    assert played.head is not None
    return list(played.head.headers.items())


# --- row: the status line ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "version", "status", "reason"),
    [
        pytest.param(b"HTTP/1.1 200 OK", 11, 200, "OK", id="plain"),
        pytest.param(b"HTTP/1.0 404 Not Found", 10, 404, "Not Found", id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200 ", 11, 200, "", id="empty reason, with its space"),
        pytest.param(b"HTTP/1.1 200", 11, 200, "", id="no reason, no space"),
        pytest.param(
            b"HTTP/1.1 200   spaced \t", 11, 200, "spaced", id="spaces and tabs around the reason are stripped"
        ),
        pytest.param(b"HTTP/1.1 200 a  b", 11, 200, "a  b", id="those within it are kept"),
        pytest.param(b"HTTP/1.1 200 D\xe9j\xe0 vu", 11, 200, "Déjà vu", id="the reason is latin-1"),
        pytest.param(b"HTTP/1.2 200 OK", 11, 200, "OK", id="HTTP/1.2 is read as 1.1"),
        pytest.param(b"HTTP/1.9 200 OK", 11, 200, "OK", id="HTTP/1.9 is read as 1.1"),
        pytest.param(b"HTTP/1.1 999 What", 11, 999, "What", id="any three digits"),
        pytest.param(b"HTTP/1.1 200 HTTP/1.1 404", 11, 200, "HTTP/1.1 404", id="anything as a reason"),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["CRLF", "bare LF"])
def test_status_line_taken(line: bytes, version: int, status: int, reason: str, end: bytes) -> None:
    played = play_all_ways(line + end + NO_BODY)
    assert played.error is None
    assert played.head is not None
    assert (played.head.version, played.head.status, played.head.reason) == (version, status, reason)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty line first"),
        pytest.param(b"<html>hello", id="HTTP/0.9"),
        pytest.param(b"PRI * HTTP/2.0", id="HTTP/2 preface"),
        pytest.param(b"HTTP/2 200", id="HTTP/2"),
        pytest.param(b"HTTP/2.0 200 OK", id="HTTP/2.0"),
        pytest.param(b"HTTP/0.9 200 OK", id="HTTP/0.9 with a status"),
        pytest.param(b"HTTP/1 200 OK", id="no minor version"),
        pytest.param(b"HTTP/1.10 200 OK", id="minor version of two digits"),
        pytest.param(b"HTTP/01.1 200 OK", id="leading zero"),
        pytest.param(b"http/1.1 200 OK", id="lower case"),
        pytest.param(b" HTTP/1.1 200 OK", id="space first"),
        pytest.param(b"\xef\xbb\xbfHTTP/1.1 200 OK", id="byte order mark first"),
        pytest.param(b"HTTP/1.1  200 OK", id="two spaces"),
        pytest.param(b"HTTP/1.1\t200 OK", id="tab for a space"),
        pytest.param(b"HTTP/1.1 20 OK", id="two digits"),
        pytest.param(b"HTTP/1.1 2000 OK", id="four digits"),
        pytest.param(b"HTTP/1.1 200OK", id="no space before the reason"),
        pytest.param(b"HTTP/1.1 200\tOK", id="tab before the reason"),
        pytest.param(b"HTTP/1.1 -20 OK", id="signed"),
        pytest.param(b"HTTP/1.1 +20 OK", id="plus sign"),
        pytest.param("HTTP/1.1 ２００ OK".encode(), id="digits that are not ASCII"),
        pytest.param(b"HTTP/1.1", id="version only"),
        pytest.param(b"HTTP/1.1 200 O\rK", id="bare CR in the reason"),
        pytest.param(b"HTTP/1.1 200\r OK", id="bare CR before the reason"),
        pytest.param(b"HTTP/1.1 200 OK\r", id="bare CR before CRLF"),
        pytest.param(b"HTTP/1.1 200 O\0K", id="NUL"),
        pytest.param(b"ICY 200 OK", id="Shoutcast"),
        pytest.param(b"220 ftp.example ready", id="FTP"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02", id="TLS alert"),
    ],
)
@pytest.mark.parametrize("rest", [b"\r\n" + NO_BODY, b"\r\n"], ids=["with fields", "and then nothing"])
def test_status_line_refused(line: bytes, rest: bytes) -> None:
    error = refused(line + rest)
    assert type(error) is BadStatusLine
    assert error.line == line.decode("latin-1")


def test_status_line_is_refused_as_soon_as_it_has_ended() -> None:
    """Not only when the peer closes: a server of another protocol waits for its client to speak."""
    with pytest.raises(BadStatusLine, match=r"SSH-2\.0"):
        HeadParser().feed(b"SSH-2.0-OpenSSH_9.2p1\r\n")


# --- rows: closed before or inside the head ---------------------------------------------------------------------------


def test_closed_before_any_byte() -> None:
    error = play([]).error
    assert type(error) is RemoteDisconnected
    assert error.bytes_received == 0


def test_closed_inside_the_head_at_every_byte() -> None:
    whole = OK + b"A: b\r\n C\r\nContent-Length: 0\r\n\r\n"
    for end in range(1, len(whole)):
        error = refused(whole[:end])
        assert type(error) is RemoteDisconnected, end
        assert error.bytes_received == end


# --- row: limits of the head ------------------------------------------------------------------------------------------


def head_of(size: int) -> bytes:
    start = OK + b"Content-Length: 0\r\nA: "
    data = start + b"a" * (size - len(start) - 4) + b"\r\n\r\n"
    assert len(data) == size
    return data


def test_head_of_exactly_the_limit_is_taken() -> None:
    assert len(fields(head_of(MAX_HEAD))) == 2
    assert fields(head_of(100), max_head=100)


def test_head_one_byte_over_the_limit_is_refused() -> None:
    error = refused(head_of(MAX_HEAD + 1))
    assert type(error) is LineTooLong
    assert error.limit == MAX_HEAD
    assert error.size > MAX_HEAD
    assert "65536" in str(error)
    assert type(refused(head_of(101), max_head=100)) is LineTooLong


def test_head_that_never_ends_is_refused_at_the_limit() -> None:
    parser = HeadParser()
    assert parser.feed(OK + b"A: " + b"a" * (MAX_HEAD - len(OK) - 3)) is None
    with pytest.raises(LineTooLong):
        parser.feed(b"a")


def test_garbage_over_the_limit_is_the_same_error_however_it_is_cut() -> None:
    assert type(refused(b"x" * 200 + b"\r\n" + NO_BODY, max_head=100)) is LineTooLong
    assert type(refused(b"x" * 90 + b"\r\n" + NO_BODY, max_head=100)) is BadStatusLine


@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["CRLF", "bare LF"])
def test_field_line_of_exactly_the_limit_is_taken(end: bytes) -> None:
    value = b"v" * (MAX_LINE - 3)
    data = OK + b"A: " + value + end + NO_BODY
    assert fields(data, max_head=1 << 20)[0] == ("A", value.decode())


@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["CRLF", "bare LF"])
def test_field_line_one_byte_over_the_limit_is_refused_whatever_the_head_may_have(end: bytes) -> None:
    error = refused(OK + b"A: " + b"v" * (MAX_LINE - 2) + end + NO_BODY, max_head=1 << 20)
    assert type(error) is LineTooLong
    assert (error.size, error.limit) == (MAX_LINE + 1, MAX_LINE)


def test_status_line_at_and_over_the_limit() -> None:
    start = b"HTTP/1.1 200 "
    at_limit = start + b"r" * (MAX_LINE - len(start))
    assert fields(at_limit + b"\r\n" + NO_BODY, max_head=1 << 20)
    error = refused(at_limit + b"r\r\n" + NO_BODY, max_head=1 << 20)
    assert type(error) is LineTooLong
    assert error.size == MAX_LINE + 1


# --- row: number of fields --------------------------------------------------------------------------------------------


def many(count: int) -> bytes:
    return OK + b"".join(b"F%d: x\r\n" % number for number in range(count - 1)) + NO_BODY


def test_as_many_fields_as_allowed_are_taken() -> None:
    assert len(fields(many(MAX_FIELDS))) == MAX_FIELDS
    assert len(fields(many(3), max_fields=3)) == 3


def test_one_field_more_is_refused() -> None:
    error = refused(many(MAX_FIELDS + 1))
    assert type(error) is TooManyFields
    assert error.limit == MAX_FIELDS
    assert str(MAX_FIELDS) in str(error)
    assert type(refused(many(4), max_fields=3)) is TooManyFields


def test_continuation_lines_are_not_fields_of_their_own() -> None:
    data = OK + b"A: b\r\n" + b" c\r\n" * 10 + NO_BODY
    assert len(fields(data, max_fields=2)) == 2


def test_limits_hold_for_all_interim_heads_together() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    final = OK + NO_BODY
    size = 2 * len(interim) + len(final)
    assert fields(2 * interim + final, max_head=size, max_fields=3)
    assert type(refused(2 * interim + final, max_head=size - 1, max_fields=3)) is LineTooLong
    assert type(refused(2 * interim + final, max_head=size, max_fields=2)) is TooManyFields


def test_limits_begin_anew_with_each_response() -> None:
    parser = HeadParser(max_head=len(OK + NO_BODY), max_fields=1)
    for _ in range(3):
        parser.start()
        assert parser.feed(OK + NO_BODY) is not None


# --- row: field lines -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"no colon", id="no colon"),
        pytest.param(b": value", id="no name"),
        pytest.param(b"Name : value", id="space before the colon"),
        pytest.param(b"Name\t: value", id="tab before the colon"),
        pytest.param(b"Na me: value", id="space in the name"),
        pytest.param(b"Na\x00me: value", id="NUL in the name"),
        pytest.param(b"N\xe4me: value", id="name not ASCII"),
        pytest.param(b"Na(me: value", id="delimiter in the name"),
        pytest.param(b'"Name": value', id="quotes about the name"),
        pytest.param(b"Na/me: value", id="slash in the name"),
        pytest.param(b"Na[me]: value", id="brackets in the name"),
        pytest.param(b"Na,me: value", id="comma in the name"),
        pytest.param(b"Name: va\x00lue", id="NUL in the value"),
        pytest.param(b"Name: va\rlue", id="bare CR in the value"),
        pytest.param(b"Name: value\r", id="bare CR before CRLF"),
        pytest.param(b"\rName: value", id="bare CR first"),
        pytest.param(b"Name\r: value", id="bare CR before the colon"),
        pytest.param(b"HTTP/1.1 200 OK", id="a second status line"),
    ],
)
@pytest.mark.parametrize("before", [b"", b"Server: x\r\n", b"Server: x\n"], ids=["first", "second", "after a bare LF"])
def test_field_line_refused(line: bytes, before: bytes) -> None:
    assert type(refused(OK + NO_BODY[:-2] + before + line + b"\r\n\r\n")) is BadHeader
    error = refused(OK + before + line + b"\r\n" + NO_BODY)
    assert type(error) is BadHeader
    assert error.line == line.decode("latin-1")
    assert error.why in str(error)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        pytest.param(b"Name: value", "Name", "value", id="plain"),
        pytest.param(b"Name:value", "Name", "value", id="no space"),
        pytest.param(b"Name: \t value \t ", "Name", "value", id="spaces and tabs around the value are stripped"),
        pytest.param(b"Name: a \t b", "Name", "a \t b", id="those within it are kept"),
        pytest.param(b"Name:", "Name", "", id="empty"),
        pytest.param(b"Name:    ", "Name", "", id="white space only"),
        pytest.param(b"Name: a:b", "Name", "a:b", id="colon in the value"),
        pytest.param(b"Name: caf\xe9 \xfe\xff", "Name", "café þÿ", id="latin-1"),
        pytest.param(b"Name: \xc3\xa9", "Name", "Ã©", id="UTF-8 is read as latin-1"),
        pytest.param(b"Name: \x01\x1b\x7f", "Name", "\x01\x1b\x7f", id="other control characters are let be"),
        pytest.param(b"Name: \x85\xa0x\xa0\x85", "Name", "\x85\xa0x\xa0\x85", id="only spaces and tabs are stripped"),
        pytest.param(b"!#$%&'*+-.^_`|~09azAZ: x", "!#$%&'*+-.^_`|~09azAZ", "x", id="every character of a token"),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["CRLF", "bare LF"])
def test_field_line_taken(line: bytes, name: str, value: str, end: bytes) -> None:
    assert fields(OK + line + end + NO_BODY)[0] == (name, value)


def test_fields_keep_order_spelling_and_repeats() -> None:
    data = OK + b"sEt-CooKie: a\r\nX: 1\r\nSet-Cookie: b\r\nx: 2\r\n" + NO_BODY
    expected = [("sEt-CooKie", "a"), ("X", "1"), ("Set-Cookie", "b"), ("x", "2"), ("Content-Length", "0")]
    assert fields(data) == expected
    head = play([data]).head
    assert head is not None
    assert head.headers.getall("SET-COOKIE") == ["a", "b"]


# --- row: obs-fold ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folded", "value"),
    [
        pytest.param(b"A: b\r\n c", "b c", id="a space"),
        pytest.param(b"A: b\r\n\tc", "b c", id="a tab"),
        pytest.param(b"A: b \t\r\n \t c", "b c", id="white space at the fold becomes one space"),
        pytest.param(b"A: b\r\n c\r\n d", "b c d", id="twice"),
        pytest.param(b"A:\r\n b", "b", id="empty before"),
        pytest.param(b"A: b\n c", "b c", id="after a bare LF"),
        pytest.param(b"A: b\r\n c: d", "b c: d", id="what looks like a field is none"),
    ],
)
def test_continuation_line_is_unfolded_to_one_space(folded: bytes, value: str) -> None:
    assert fields(OK + folded + b"\r\n" + NO_BODY)[0] == ("A", value)


@pytest.mark.parametrize("start", [b" ", b"\t"], ids=["space", "tab"])
def test_continuation_line_right_after_the_status_line_is_refused(start: bytes) -> None:
    assert type(refused(OK + start + b"X: y\r\n" + NO_BODY)) is BadHeader


def test_continuation_line_cannot_mend_a_bad_field() -> None:
    assert type(refused(OK + b"A\r\n : b\r\n" + NO_BODY)) is BadHeader


# --- row: bare LF -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 200 OK\nA: b\nC: d\n\n", id="everywhere"),
        pytest.param(b"HTTP/1.1 200 OK\nA: b\r\nC: d\r\n\r\n", id="status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", id="field"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\nC: d\n\r\n", id="last field"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\n", id="empty line"),
        pytest.param(b"HTTP/1.1 200 OK\nA: b\nC: d\n\r\n", id="all but the empty line"),
    ],
)
def test_bare_line_feed_is_a_line_end_in_the_head(data: bytes) -> None:
    played = play_all_ways(data + b"body\r\n\r\nof it")
    assert played.error is None
    assert played.head is not None
    assert list(played.head.headers.items()) == [("A", "b"), ("C", "d")]
    assert played.body == b"body\r\n\r\nof it"


def test_head_without_fields() -> None:
    for data in (b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No Content\n\n"):
        assert fields(data) == []


# --- what comes after the head ----------------------------------------------------------------------------------------


def test_rest_is_what_came_after_the_head() -> None:
    data = OK + NO_BODY + b"rest"
    for at in range(len(data)):
        parser = HeadParser()
        pieces = cut(data, [at])
        while parser.feed(pieces.pop(0)) is None:
            assert not parser.rest
        assert parser.rest + b"".join(pieces) == b"rest"


# --- generated --------------------------------------------------------------------------------------------------------

WORDS = [b"A: b", b"A", b":", b" ", b"\t", b"\r\n", b"\n", b"\r", b"\0", b"\r\n\r\n", b"\xff", b"x" * 40]
LINES = [b"HTTP/1.1 200 OK", b"HTTP/1.1 100 C", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"0\r\n\r\n"]
PARTS = st.sampled_from([*WORDS, *LINES])
HOSTILE = st.one_of(st.binary(max_size=200), st.lists(PARTS, max_size=20).map(b"".join))
CUTS = st.lists(st.integers(0, 400), max_size=12)


@given(
    st.one_of(HOSTILE, HOSTILE.map((OK).__add__)),
    CUTS,
    st.sampled_from([(MAX_HEAD, MAX_FIELDS), (64, 3), (40, 1)]),
)
@example(b"x" * 90 + b"\n", [50], (64, 3))
@example(OK + b"\r\n" + b"\n" * 3, [19], (64, 3))
@settings(max_examples=600)
def test_any_bytes_in_any_pieces_have_one_outcome(data: bytes, at: list[int], limits: tuple[int, int]) -> None:
    """And nothing but this library's own errors come out."""
    max_head, max_fields = limits
    whole = play([data] if data else [], max_head=max_head, max_fields=max_fields)
    for parts in (cut(data, at), cut(data, range(len(data)))):
        played = play(parts, max_head=max_head, max_fields=max_fields)
        assert played.summary() == whole.summary()


TOKEN = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=20)
VALUE = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n\0"), max_size=40).map(
    lambda text: text.strip(" \t")
)


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=12), CUTS)
@settings(max_examples=200)
def test_fields_written_are_read_back(pairs: list[tuple[str, str]], at: list[int]) -> None:
    data = b"HTTP/1.1 204 No Content\r\n" + encode_fields(pairs) + b"\r\n"
    played = play(cut(data, at))
    assert played.head is not None
    assert list(played.head.headers.items()) == pairs


# --- no more work than the bytes are worth ----------------------------------------------------------------------------


def test_dripped_head_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for the end of the head goes on where it stopped: 64 KiB byte by byte is no 2 GiB of searching."""
    searched = 0
    pattern = head_module.HEAD_END

    class Watched:
        def search(self, data: bytes, start: int) -> object:
            nonlocal searched
            searched += len(data) - start
            return pattern.search(data, start)

    monkeypatch.setattr(head_module, "HEAD_END", Watched())
    parser = HeadParser()
    for value in OK + b"A:" + b" " * 20_000:
        assert parser.feed(bytes((value,))) is None
    assert searched < 4 * 20_100


@pytest.mark.parametrize(
    "filling",
    [b" ", b"\t \t", b"a", b"\r", b"\n ", b"\r\n a", b": ", b"A:b\r\n\tc\r\n"],
    ids=["spaces", "tabs", "letters", "CR", "folds", "long folds", "colons", "short fields"],
)
def test_head_full_of_anything_ends(filling: bytes) -> None:
    """64 KiB of what makes parsers backtrack: a quadratic one would not come to its end here."""
    body = (filling * (60_000 // len(filling) + 1))[:60_000]
    for data in (OK + b"A: x" + body + b"\r\n\r\n", OK + body + b"\r\n\r\n", body + b"\r\n\r\n"):
        for parts in ([data], cut(data, range(0, len(data), 97))):
            played = play(parts)
            assert played.error is None or isinstance(played.error, ProtocolError)


# --- the cache of lines -----------------------------------------------------------------------------------------------


def test_line_cache_parses_a_line_once() -> None:
    calls: list[bytes] = []

    def parse(line: bytes) -> int:
        calls.append(line)
        return len(line)

    cache = LineCache(parse, limit=10, longest=8)
    assert [cache[b"abc"], cache[b"abc"], cache[b"ab"]] == [3, 3, 2]
    assert calls == [b"abc", b"ab"]


def test_line_cache_is_bounded_under_distinct_lines() -> None:
    cache = LineCache(len, limit=50, longest=16)
    for number in range(10_000):
        assert cache[b"%d" % number] == len(str(number))
        assert len(cache) <= 50
        assert len(cache._older) <= 50
    assert len(cache) + len(cache._older) <= 100


def test_line_cache_keeps_no_long_line() -> None:
    cache = LineCache(len, limit=50, longest=16)
    assert cache[b"x" * 17] == 17
    assert not cache
    assert cache[b"x" * 16] == 16
    assert list(cache) == [b"x" * 16]


def test_line_cache_keeps_what_is_used_while_it_forgets() -> None:
    """A line asked for again and again is not parsed again, whatever else passes."""
    calls = 0

    def parse(line: bytes) -> bytes:
        nonlocal calls
        calls += line == b"often"
        return line

    cache = LineCache(parse, limit=10, longest=16)
    for number in range(1000):
        cache[b"%d" % number]
        cache[b"often"]
    assert calls == 1


def test_line_cache_remembers_no_failure() -> None:
    def parse(line: bytes) -> int:
        raise BadHeader(line.decode())

    cache: LineCache[int] = LineCache(parse)
    for _ in range(2):
        with pytest.raises(BadHeader):
            cache[b"bad"]
    assert not cache


def test_parser_caches_stay_bounded_under_a_hostile_server() -> None:
    caches = [head_module._NAMES, head_module._STATUS_LINES, head_module._FIELD_LINES]
    for number in range(6_000):
        parser = HeadParser()
        data = b"HTTP/1.1 200 %d\r\nN%d: v\r\nX: %d\r\nLong: %s\r\n\r\n" % (number, number, number, b"v" * 300)
        assert parser.feed(data) is not None
    for cache in caches:
        assert len(cache) <= cache._limit
        assert len(cache._older) <= cache._limit
        assert max(map(len, [*cache, *cache._older])) <= cache._longest
    total = sum(len(line) for cache in caches for line in (*cache, *cache._older))
    assert total < 2 << 20


def test_a_cached_line_is_not_taken_for_another() -> None:
    for first, second in (("a", "A"), ("a", "a "), ("a", "b")):
        assert fields(OK + f"X: {first}\r\n".encode() + NO_BODY)[0] == ("X", first.strip())
        assert fields(OK + f"X: {second}\r\n".encode() + NO_BODY)[0] == ("X", second.strip())
    assert fields(OK + b"x: a\r\n" + NO_BODY)[0] == ("x", "a")


# --- blocks and heads written -----------------------------------------------------------------------------------------


def test_parse_fields_of_an_empty_block() -> None:
    assert not parse_fields(b"")


def test_unfolded_lines() -> None:
    assert unfolded_lines(b"A: b\r\n c\nD: e") == [b"A: b c", b"D: e"]


def test_request_head_in_wire_form() -> None:
    block = encode_fields([("X-One", "1"), ("X-Two", "é")])
    assert block == b"X-One: 1\r\nX-Two: \xe9\r\n"
    assert encode_request_head("GET", "/a?b", "example.org:81", block) == (
        b"GET /a?b HTTP/1.1\r\nHost: example.org:81\r\nX-One: 1\r\nX-Two: \xe9\r\n\r\n"
    )
    assert encode_request_head("GET", "/", None, b"") == b"GET / HTTP/1.1\r\n\r\n"
