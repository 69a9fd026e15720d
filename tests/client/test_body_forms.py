"""`data=`: forms as browsers encode them; and `json=` by whatever encoder."""

from __future__ import annotations

import enum
import io
import json
import math
import subprocess
import sys
import urllib.parse
from dataclasses import dataclass
from typing import Any

import pytest
from multidict import MultiDict

from aiohttpconn import Client
from tests.servers.origin import OriginServer

FORM = "application/x-www-form-urlencoded"


class Colour(enum.StrEnum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, ""),
        ({"a": "b"}, "a=b"),
        ({"a": "b c", "d": "e&f=g"}, "a=b+c&d=e%26f%3Dg"),
        ({"ä€": "😀"}, "%C3%A4%E2%82%AC=%F0%9F%98%80"),
        ({"a": "*-._~"}, "a=*-._%7E"),  # the WHATWG's set, which is not RFC 3986's
        ({"a": "!'()/?:@+%\r\n\0"}, "a=%21%27%28%29%2F%3F%3A%40%2B%25%0D%0A%00"),
        ({"a": ["x", "y"], "b": ("z",), "c": []}, "a=x&a=y&b=z"),
        ({"a": [1, None, True]}, "a=1&a=&a=true"),
        ([("a", "1"), ("b", "2"), ("a", "3")], "a=1&b=2&a=3"),
        (lambda: (pair for pair in [("a", "1"), ["b", "2"]]), "a=1&b=2"),
        (MultiDict([("a", "1"), ("a", "2")]), "a=1&a=2"),
        ({"a": 1, "b": 2.5, "c": True, "d": False, "e": None, "": ""}, "a=1&b=2.5&c=true&d=false&e=&="),
        ({"a": b"\xff&", "b": bytearray(b"c"), "d": memoryview(b"e")}, "a=%FF%26&b=c&d=e"),
        ({"a": Colour.RED, "b": Number.ONE}, "a=red&b=1"),
    ],
)
async def test_a_form(data: Any, text: str, client: Client, http_server: OriginServer) -> None:
    await client.post(f"{http_server.url}/echo", data=data() if callable(data) else data)
    (received,) = http_server.requests
    assert received.body == text.encode()
    assert received.get_all("Content-Type") == [FORM]
    assert received.get_all("Content-Length") == [str(len(text))]


def test_a_form_is_read_back_as_it_was() -> None:
    pairs = [("".join(map(chr, range(128))), "".join(map(chr, range(128, 0x800)))), ("\U0001f600", "+ %20")]
    body = Client(trust_env=False).build_request("POST", "http://localhost/", data=pairs).body
    assert urllib.parse.parse_qsl(body.decode(), strict_parsing=True) == pairs


@pytest.mark.parametrize(
    "data",
    [
        "a=b",
        b"a=b",
        bytearray(b"a"),
        memoryview(b"a"),
        io.BytesIO(b"a=b"),
        io.StringIO("a"),
        [b"a", b"b"],
        iter(["ab"]),
        5,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_form_is_told_of_content(data: Any) -> None:
    with pytest.raises(TypeError, match="content="):
        Client(trust_env=False).build_request("POST", "http://localhost/", data=data)


def test_an_async_iterator_is_told_of_content() -> None:
    async def pieces() -> Any:
        yield b"a"

    with pytest.raises(TypeError, match="content="):
        Client(trust_env=False).build_request("POST", "http://localhost/", data=pieces())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({1: "a"}, "name"),
        ({"a": {"b": "c"}}, "dict"),
        ({"a": [["b"]]}, "list"),
        ({"a": object()}, "object"),
        ({"a": io.BytesIO()}, "files="),
        ([("a", "b", "c")], "tuple"),
    ],
)
def test_values_that_are_none(data: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        Client(trust_env=False).build_request("POST", "http://localhost/", data=data)


@pytest.mark.parametrize(
    "two",
    [
        {"content": b"a", "data": {}},
        {"content": b"a", "json": 1},
        {"json": 1, "data": {"a": "b"}},
        {"json": 1, "files": {"a": b"b"}},
        {"content": b"", "files": {"a": b"b"}},
    ],
)
def test_only_data_and_files_go_together(two: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="exclude") as caught:
        Client(trust_env=False).build_request("POST", "http://localhost/", **two)
    assert all(f"{word}=" in str(caught.value) for word in two)


# --- JSON -------------------------------------------------------------------------------------------------------------


@dataclass
class Point:
    x: float


@pytest.mark.parametrize("place", [lambda x: x, lambda x: {"a": [1, (None, x)]}, lambda x: {"p": Point(x)}])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_is_refused_wherever_it_hides(number: float, place: Any) -> None:
    value = place(number)
    with pytest.raises((ValueError, TypeError)):
        Client(trust_env=False).build_request("POST", "http://localhost/", json=value)


@pytest.mark.parametrize("value", [{"a": None}, [None, 1.5, "null", (1, 2)], {"null": [{}]}])
def test_null_is_not_nan(value: Any) -> None:
    body = Client(trust_env=False).build_request("POST", "http://localhost/", json=value).body
    assert json.loads(body) == json.loads(json.dumps(value))


@pytest.mark.parametrize("value", [2**70, {1: "a"}, {"a": -(2**63) - 1}])
def test_what_json_encodes_is_encoded_with_orjson_too(value: Any) -> None:
    body = Client(trust_env=False).build_request("POST", "http://localhost/", json=value).body
    assert body == json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}])
def test_what_is_no_json_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        Client(trust_env=False).build_request("POST", "http://localhost/", json=value)


def test_without_orjson_the_bytes_are_the_same() -> None:
    program = (
        "import sys; sys.modules['orjson'] = None\n"
        "from aiohttpconn import Client\n"
        "build = Client(trust_env=False).build_request\n"
        "sys.stdout.buffer.write(build('POST', 'http://localhost/', json={'ä': [1, 2.5, None, True, '€']}).body)\n"
        "try: build('POST', 'http://localhost/', json=float('nan'))\n"
        "except ValueError: print('refused', end='')\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    ours = Client(trust_env=False).build_request("POST", "http://localhost/", json={"ä": [1, 2.5, None, True, "€"]})
    assert ran.stdout == ours.body + b"refused"


@pytest.mark.parametrize("encode", [lambda value: f"<{value}ä>", lambda value: f"<{value}ä>".encode()])
async def test_an_encoder_of_ones_own(encode: Any, http_server: OriginServer) -> None:
    async with Client(trust_env=False, json_encoder=encode) as client:
        await client.post(f"{http_server.url}/echo", json=5)
    (received,) = http_server.requests
    assert received.body == "<5ä>".encode()
    assert received.get_all("Content-Length") == [str(len("<5ä>".encode()))]
    assert received.get_all("Content-Type") == ["application/json"]


def test_an_encoder_that_returns_neither_text_nor_bytes() -> None:
    client = Client(trust_env=False, json_encoder=lambda value: value)
    with pytest.raises(TypeError, match="json_encoder"):
        client.build_request("POST", "http://localhost/", json={})
