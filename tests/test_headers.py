"""What may be sent as a method, a field name or a field value; and nothing that could begin another line gets out."""

from __future__ import annotations

import copy
import pickle
import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy, istr

from aiohttpconn import AsyncHTTPConnection, Headers, HTTPException, InvalidHeader, InvalidMethod, InvalidURL, Request
from aiohttpconn.headers import (
    EMPTY_HEADERS,
    check_field_name,
    check_field_value,
    check_method,
    header_pairs,
    list_elements,
)
from tests.servers.raw import Hold

TOKEN_CHARACTERS = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
NOT_TOKEN = [*sorted({chr(code) for code in range(256)} - set(TOKEN_CHARACTERS)), "Ā", "１", "\u2028", "😀"]
CONTROLS = [chr(code) for code in (*range(32), 127) if chr(code) != "\t"]

# --- as values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, *(lambda value, n=n: pickle.loads(pickle.dumps(value, n)) for n in (0, 2, 5))]
)
def test_fields_are_pickled_and_copied_with_order_spelling_and_repeats(again: Callable[[Headers], Headers]) -> None:
    pairs = [("Set-Cookie", "a=1"), ("x-OTHER", "\xe9"), ("set-cookie", "b=2")]
    headers = Headers(CIMultiDict([(istr(name), value) for name, value in pairs]))
    copied = again(headers)
    assert type(copied) is Headers
    assert copied == headers
    assert list(copied.items()) == pairs
    assert copied.getall("SET-cookie") == ["a=1", "b=2"]


# --- methods and names ------------------------------------------------------------------------------------------------


def test_every_token_character_may_stand_in_a_method_and_a_name() -> None:
    assert check_method(TOKEN_CHARACTERS) == TOKEN_CHARACTERS
    assert check_field_name(TOKEN_CHARACTERS) == TOKEN_CHARACTERS
    assert check_field_name(TOKEN_CHARACTERS.encode()) == TOKEN_CHARACTERS
    assert check_method("get") == "get", "methods are case-sensitive and go out as given"


@pytest.mark.parametrize("character", NOT_TOKEN, ids=ascii)
def test_no_other_character_may_anywhere(character: str) -> None:
    for text in (character, character + "A", "A" + character + "B", "A" + character):
        with pytest.raises(InvalidMethod):
            check_method(text)
        with pytest.raises(InvalidHeader):
            check_field_name(text)


def test_empty_method_and_name_are_refused() -> None:
    with pytest.raises(InvalidMethod):
        check_method("")
    with pytest.raises(InvalidHeader):
        check_field_name("")


@pytest.mark.parametrize("value", [None, 5, b"GET", ["GET"]])
def test_method_that_is_no_text(value: Any) -> None:
    with pytest.raises(TypeError):
        check_method(value)


@pytest.mark.parametrize("value", [None, 5, ["Name"]])
def test_name_that_is_no_text(value: Any) -> None:
    with pytest.raises(TypeError):
        check_field_name(value)


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("tab\tand space ", "tab\tand space "),
        ("latin-1: é ÿ", "latin-1: é ÿ"),
        (b"bytes \xff", "bytes ÿ"),
        (5, "5"),
        (-1, "-1"),
    ],
)
def test_value_taken(value: Any, text: str) -> None:
    assert check_field_value("Name", value) == text


@pytest.mark.parametrize("character", CONTROLS, ids=ascii)
def test_no_control_character_but_tab_may_stand_in_a_value(character: str) -> None:
    for text in (character, "a" + character, character + "a", "a" + character + "b"):
        with pytest.raises(InvalidHeader, match="Name"):
            check_field_value("Name", text)
        with pytest.raises(InvalidHeader, match="Name"):
            check_field_value("Name", text.encode("latin-1"))


@pytest.mark.parametrize("text", ["Ā", "日本", "a\u2028b", "😀", "\udc80"], ids=ascii)
def test_value_outside_latin_1_is_refused(text: str) -> None:
    with pytest.raises(InvalidHeader, match="latin-1"):
        check_field_value("Name", text)


@pytest.mark.parametrize("value", [None, 1.5, True, ["a"], object()])
def test_value_of_another_type(value: Any) -> None:
    with pytest.raises(TypeError, match="Name"):
        check_field_value("Name", value)


def test_a_refused_value_is_not_shown() -> None:
    with pytest.raises(InvalidHeader) as caught:
        check_field_value("Authorization", "Bearer secret\r\nX: y")
    assert "secret" not in str(caught.value)
    assert "Authorization" in str(caught.value)


# --- pairs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"A": "1", "B": "2"},
        {b"A": b"1", b"B": b"2"},
        [("A", "1"), ("B", "2")],
        (("A", 1), ("B", 2)),
        iter([("A", "1"), ("B", "2")]),
        CIMultiDict([("A", "1"), ("B", "2")]),
        CIMultiDictProxy(CIMultiDict([("A", "1"), ("B", "2")])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_pairs_of_what_a_caller_gives(given: Any) -> None:
    assert header_pairs(given) == [("A", "1"), ("B", "2")]


def test_pairs_keep_order_spelling_and_repeats() -> None:
    pairs = [("b", "1"), ("A", "2"), ("B", "3"), ("a", "2")]
    assert header_pairs(pairs) == pairs
    assert header_pairs(CIMultiDict(pairs)) == pairs


def test_pairs_of_nothing() -> None:
    assert header_pairs(None) == header_pairs({}) == header_pairs([]) == []
    assert not EMPTY_HEADERS


# --- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "elements"),
    [
        ([], []),
        (["a"], ["a"]),
        (["a, b"], ["a", "b"]),
        (["a,b", "c"], ["a", "b", "c"]),
        ([" a\t, ,b ,,"], ["a", "b"]),
        ([""], []),
        ([",,", " , "], []),
        (["a\xa0,b"], ["a\xa0", "b"]),
    ],
)
def test_elements_of_a_list(values: list[str], elements: list[str]) -> None:
    assert list_elements(values) == elements


# --- nothing that could begin another line gets out -------------------------------------------------------------------

DANGEROUS = st.sampled_from(["\r", "\n", "\r\n", "\0", " ", "\r\nX: y", "\x0b", "\x85", "\u2028", "嘊", "č", "\x7f"])
PLAIN = st.text(string.ascii_letters + string.digits + "/._-", max_size=8)
POISONED = st.tuples(PLAIN, DANGEROUS, PLAIN).map("".join)


@given(POISONED, POISONED.map(lambda text: "/" + text))
@settings(max_examples=200)
def test_poisoned_method_target_and_name_never_pass(text: str, target: str) -> None:
    conn = AsyncHTTPConnection("example.org")
    with pytest.raises(InvalidMethod):
        conn.putrequest(text, "/")
    with pytest.raises(InvalidURL):
        conn.putrequest("GET", target)
    conn.putrequest("GET", "/")
    with pytest.raises(InvalidHeader):
        conn.putheader(text, "x")


@given(POISONED.filter(lambda text: not text.isprintable() or not text.isascii()), st.booleans())
@settings(max_examples=200)
def test_poisoned_value_never_passes(text: str, as_bytes: bool) -> None:
    conn = AsyncHTTPConnection("example.org")
    conn.putrequest("GET", "/")
    value: Any = text.encode("utf-8", "surrogatepass") if as_bytes else text
    try:
        conn.putheader("Name", value)
    except InvalidHeader:
        return
    sent = value.decode("latin-1") if as_bytes else value
    assert not set(sent) & {"\r", "\n", "\0", "\x7f", "\x0b"}


@given(POISONED)
@settings(max_examples=200)
def test_poisoned_tunnel_host_and_host_never_pass(text: str) -> None:
    try:
        conn = AsyncHTTPConnection("proxy.example")
        conn.set_tunnel(text)
        assert conn._tunnel is not None
        name = conn._tunnel[0]
        # What a URL's host may be converted from (IDNA) may pass, converted.
        assert name.isascii()
        assert name.isprintable()
        assert " " not in name
    except InvalidURL:
        pass
    try:
        assert AsyncHTTPConnection(text).host.isprintable()
    except InvalidURL:
        pass


@pytest.mark.parametrize("bad", ["\r", "\n", "\0", " ", "\r\nX: y"], ids=ascii)
async def test_no_byte_is_sent_of_a_request_that_is_refused(raw_server: Any, bad: str) -> None:
    """Method, target, field, tunnel host and the tunnel's fields: the connection stays silent, and stays usable."""
    server = await raw_server([Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.connect()
        with pytest.raises(InvalidMethod):
            await conn.request(f"GET{bad}", "/")
        with pytest.raises(InvalidURL):
            await conn.request("GET", f"/{bad}x")
        with pytest.raises(InvalidHeader):
            await conn.request("GET", "/", headers={f"A{bad}": "x"})
        if bad != " ":
            with pytest.raises(InvalidHeader):
                await conn.request("GET", "/", headers={"A": f"x{bad}y"})
            with pytest.raises(InvalidHeader):
                await conn.request("GET", "/", headers={"Host": f"x{bad}y"})
        assert conn.reusable
    await server.wait_idle()
    tunnel = AsyncHTTPConnection("127.0.0.1", server.port)
    with pytest.raises(InvalidURL):
        tunnel.set_tunnel(f"example{bad}.org", 443)
    with pytest.raises(HTTPException):
        tunnel.set_tunnel("example.org", 443, headers={f"A{bad}": "x"})
    assert server.connections == 1
    assert not server.requests
    assert await server.accepted[0].reader.read() == b""


def test_the_repr_of_fields_leaves_credentials_out() -> None:
    request = Request("GET", "http://a/", [("Authorization", "Basic c2VjcmV0"), ("Cookie", "sid=secret"), ("A", "1")])
    assert repr(request.headers) == ("<Headers('Authorization': 'Basic [hidden]', 'Cookie': 'sid=[hidden]', 'A': '1')>")
    assert isinstance(request.headers, CIMultiDictProxy)
    assert request.headers["authorization"] == "Basic c2VjcmV0"
