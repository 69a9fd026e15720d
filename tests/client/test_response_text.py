"""NDJSON, and the charset of a body: declared, marked, guessed."""

from __future__ import annotations

import codecs
import encodings
import json
import pickle
import random
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import BodyTooLarge, Client
from aiohttpconn.client import charset
from aiohttpconn.client.charset import charset_of, declared_charset, decode_text
from tests.client.test_response import all_of, cuttings, response_of, run

if TYPE_CHECKING:
    from tests.servers.origin import OriginServer


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b"", []),
        (b"\n \r\n\t\n", []),
        (b'{"a": 1}\n[2]', [{"a": 1}, [2]]),
        (b"1\r\n\r\n2\n", [1, 2]),
        ('"\u2028\x85"\nnull\n'.encode(), ["\u2028\x85", None]),
        (codecs.BOM_UTF8 + b"1\n2", [1, 2]),
        ('"ä€𐍈"\n'.encode(), ["ä€𐍈"]),
    ],
)
def test_values_of_ndjson_wherever_the_body_is_cut(body: bytes, values: list[Any]) -> None:
    for pieces in cuttings(body):
        assert all_of(response_of(*pieces).iter_ndjson()) == values


@pytest.mark.parametrize(("bad", "column"), [(b"{oops}", 2), (b'"a\xff"', 3), (b"[1] 2", 5), (b"\x00", 1)])
def test_a_line_that_is_no_json_is_named_and_passed(bad: bytes, column: int) -> None:
    values = response_of(b"1\n\n", bad, b"\n4\n").iter_ndjson()
    assert run(anext(values)) == 1
    with pytest.raises(json.JSONDecodeError, match=rf"line 3 column {column} of the response to GET http") as caught:
        run(anext(values))
    assert (caught.value.lineno, caught.value.colno) == (3, column)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), ValueError)
    assert all_of(values) == [4]


async def test_ndjson_over_a_socket(client: Client, http_server: OriginServer) -> None:
    from tests.servers.origin import Reply

    documents = [{"n": n, "text": "ü\u2028" * n} for n in range(200)]
    body = "".join([json.dumps(document, ensure_ascii=False) + "\n" for document in documents]).encode()
    http_server.routes["/x"] = Reply(body, chunked=77)
    async with client.stream("GET", f"{http_server.url}/x") as response:
        assert [value async for value in response.iter_ndjson()] == documents
    async with client.stream("GET", f"{http_server.url}/x", max_body=1000) as response:
        with pytest.raises(BodyTooLarge):
            [value async for value in response.iter_ndjson()]


TEXT = "grüße\r\n€"


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be", "utf-16-le", "utf-32-be"])
def test_a_byte_order_mark_says_what_it_is(charset: str) -> None:
    body = TEXT.encode(charset)
    mark = {"utf-16-be": codecs.BOM_UTF16_BE, "utf-16-le": codecs.BOM_UTF16_LE, "utf-32-be": codecs.BOM_UTF32_BE}
    body = mark.get(charset, b"") + body
    response = response_of(body)
    run(response.read())
    assert response.text == TEXT
    for pieces in cuttings(body):
        streamed = response_of(*pieces)
        assert "".join(all_of(streamed.iter_text())) == TEXT
        assert streamed.encoding == response.encoding
        assert all_of(response_of(*pieces).iter_lines()) == TEXT.splitlines()


@pytest.mark.parametrize("charset", ["utf-16", "UTF_32", "u16", "utf32"])
@pytest.mark.parametrize("how", ["declared", "default", "set"])
def test_without_a_mark_the_little_end_comes_first(charset: str, how: str) -> None:
    little = "utf-16-le" if "16" in charset else "utf-32-le"
    for text in (TEXT, "ä", "𐍈", ""):
        for body in (text.encode(little), text.encode(little) + b"\xd8"):
            expected = body.decode(little, "replace")
            for pieces in cuttings(body):
                for way in ("text", "iter_text", "iter_lines"):
                    fields = {"Content_Type": f"text/plain; charset={charset}"} if how == "declared" else {}
                    response = response_of(*pieces, **fields)
                    if how == "default":
                        response.default_encoding = charset
                    elif how == "set":
                        response.encoding = charset
                    if way == "text":
                        run(response.read())
                        assert response.text == expected
                    elif way == "iter_text":
                        assert "".join(all_of(response.iter_text())) == expected
                        assert response.encoding == charset
                    else:
                        assert all_of(response.iter_lines()) == expected.splitlines()


@pytest.mark.parametrize("name", sorted(charset._CHARSETS))
def test_every_charset_replaces_what_does_not_decode(name: str) -> None:
    dice = random.Random(name)
    escapes = b"\x1b$()ABN&@~{}+-\x0e\x0fa\xff\xd8\xdc"
    bodies = [dice.randbytes(11), b"\x1b" * 20, b"\x1b$(BNABNABNABNABN", bytes(dice.choices(escapes, k=40))]
    for body in bodies:
        for pieces in cuttings(body):
            response = response_of(*pieces, Content_Type=f"text/plain; charset={name}")
            assert response.charset_encoding == name
            assert isinstance("".join(all_of(response.iter_text())), str)
        response = response_of(body, Content_Type=f"text/plain; charset={name}")
        run(response.read())
        assert isinstance(response.text, str)


def test_the_names_that_whatwg_and_python_share_are_known() -> None:
    names = {"utf-8", "utf8", "UTF-16", "utf-16be", "utf-8-sig", "us-ascii", "ansi_x3.4-1968", "l1", "latin5"}
    names |= {"866", "ibm866", "iso-8859-2", "ISO_8859-3:1988", "iso-ir-109", "koi8-r", "koi8-u", "macintosh"}
    names |= {"windows-1251", "Cp1252", "cp874", "gb18030", "GB2312", "gbk", "big5", "big5-hkscs", "euc-jp", "ms932"}
    names |= {"iso-2022-jp", "shift_jis", "SJIS", "euc-kr", "ks_c_5601-1987"}
    assert {name for name in names if declared_charset(f"text/plain; charset={name}") != name} == set()


ESCAPES = (
    "unicode_escape",
    "raw_unicode_escape",
    "utf-7",
    "UTF7",
    "unicode-1-1-utf-7",
    "idna",
    "punycode",
    "undefined",
)
NO_TEXT = ("hex", "rot13", "rot-13", "base64", "zip", "bz2", "uu", "quopri", "mbcs", "oem", "charmap")
NO_NAMES = ("aliases", "__init__", "utf!8", "utf--8", "utf-8-variants", "\u212aoi8-r", "")


@pytest.mark.parametrize("name", [*ESCAPES, *NO_TEXT, *NO_NAMES])
def test_what_is_not_taken_from_a_server(name: str) -> None:
    assert declared_charset(f"text/plain; charset={name}") is None
    assert charset_of(b"a", lambda body: name) == "utf-8"


def test_names_that_servers_make_up_are_not_kept_for_ever() -> None:
    kept = len(encodings._cache)  # type: ignore[attr-defined]
    for number in range(1000):
        for name in (f"made-up-{number}", "utf" + "-" * (number % 30) + "8" * number, f"utf{number}8"):
            declared_charset(f"text/plain; charset={name}")
            charset_of(b"a", lambda body: name)  # noqa: B023 - called at once
    assert len(encodings._cache) <= kept + 5  # type: ignore[attr-defined]
    assert charset.is_known_charset.cache_info().currsize <= 128


def test_a_registered_codec_serves_who_chooses_it() -> None:
    def find(name: str) -> codecs.CodecInfo | None:
        return codecs.lookup("cp1250") if name == "of_our_own" else None

    codecs.register(find)
    try:
        assert charset_of(b"a", "of-our-own") == "of-our-own"
        assert decode_text(b"\xe8", "of-our-own") == "č"
        assert declared_charset("text/plain; charset=of-our-own") is None
    finally:
        codecs.unregister(find)


@pytest.mark.parametrize("body", [b"\xef\xbb", b"\xff", b"\xfe", b"\x00\x00\xfe", b"a", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_a_few_bytes_are_the_same_text_read_and_streamed(body: bytes) -> None:
    response = response_of(body)
    run(response.read())
    for pieces in cuttings(body):
        assert "".join(all_of(response_of(*pieces).iter_text())) == response.text


def test_what_is_declared_goes_before_a_mark_and_a_guess() -> None:
    response = response_of(codecs.BOM_UTF8 + b"a", Content_Type="text/plain; charset=latin-1")
    response.default_encoding = "ascii"
    run(response.read())
    assert response.text == "ï»¿a"
    assert response.charset_encoding == "latin-1"


@pytest.mark.parametrize(
    ("default", "encoding"),
    [
        ("latin-1", "latin-1"),
        (lambda body: "latin-1", "latin-1"),
        (lambda body: None, "utf-8"),
        (lambda body: "no-such-thing", "utf-8"),
        ("zip", "utf-8"),
        (None, "utf-8"),
    ],
)
def test_the_default_encoding(default: Any, encoding: str) -> None:
    body = "grüße".encode("latin-1")
    text = body.decode(encoding, "replace")
    response = response_of(body)
    response.default_encoding = default
    run(response.read())
    assert (response.encoding, response.text) == (encoding, text)
    for pieces in cuttings(body):
        streamed = response_of(*pieces)
        streamed.default_encoding = default
        assert "".join(all_of(streamed.iter_text())) == text
        assert streamed.encoding == encoding


def test_a_guesser_is_shown_the_first_4_kib_of_a_streamed_body() -> None:
    shown: list[int] = []

    def guess(body: bytes) -> str:
        shown.append(len(body))
        return "latin-1"

    response = response_of(*[b"\xe4" * 1000] * 10)
    response.default_encoding = guess
    assert "".join(all_of(response.iter_text())) == "ä" * 10_000
    assert shown == [4096]


async def test_a_clients_default_encoding(http_server: OriginServer) -> None:
    from charset_normalizer import from_bytes

    from tests.servers.origin import Reply

    text = "Příliš žluťoučký kůň úpěl ďábelské ódy. " * 5
    http_server.routes["/x"] = Reply(text.encode("cp1250"))

    def guess(body: bytes) -> str | None:
        best = from_bytes(body).best()
        return None if best is None else best.encoding

    async with Client(trust_env=False, default_encoding=guess) as client:
        response = await client.get(f"{http_server.url}/x")
        assert response.encoding != "utf-8"
        assert "\N{REPLACEMENT CHARACTER}" not in response.text
        assert (await client.get(http_server.url)).text == "hello"


def test_json_takes_the_options_of_the_json_module() -> None:
    response = response_of(b"1.10")
    run(response.read())
    assert response.json(parse_float=str) == "1.10"
