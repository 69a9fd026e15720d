"""Requests as values and on the wire: URL and query, fields in their order and spelling, bodies framed."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, InvalidHeader, InvalidMethod, InvalidURL, Request
from tests.servers.origin import OriginServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SIGNED = (
    "/bucket/a%20b/%7Ename~/c+d%2Be.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260101%2Feu-1%2Fs3"
    "%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=content-type%3bhost&x-id=GetObject&empty=&flag"
    "&X-Amz-Signature=0f%c3%A4+plus~tilde*star!'()"
)


# --- URL and query ----------------------------------------------------------------------------------------------------


async def test_a_signed_url_goes_out_byte_for_byte(client: Client, http_server: OriginServer) -> None:
    # An apostrophe is the one character of it that the WHATWG's parser escapes in a query.
    signed = SIGNED.replace("'", "")
    await client.get(http_server.url + signed)
    await client.put(http_server.url + signed, content=b"x")
    await client.get(http_server.url + signed, params={"added": "ä b"})
    await client.get(http_server.url + signed, params={})
    await client.get(http_server.url + signed, params="raw=%7e")
    targets = [received.target for received in http_server.requests]
    assert targets == [signed, signed, f"{signed}&added=%C3%A4+b", signed, f"{signed}&raw=%7e"]


async def test_params_of_the_client_come_first(http_server: OriginServer) -> None:
    async with Client(http_server.url, trust_env=False, params={"key": "k"}) as client:
        await client.get("/a?x=%7e", params=[("b", 1), ("b", None)])
        await client.get("/a")
        await client.post("/a?x", params="c=%20", content=b"")
    targets = [received.target for received in http_server.requests]
    assert targets == ["/a?x=%7e&key=k&b=1&b=", "/a?key=k", "/a?x&key=k&c=%20"]


@pytest.mark.parametrize("params", [{"a": object()}, {1: "a"}, {"a": b"b"}])
def test_params_of_another_type(params: Any) -> None:
    with pytest.raises(TypeError):
        Client(trust_env=False).build_request("GET", "http://localhost/", params=params)


# --- fields -----------------------------------------------------------------------------------------------------------


async def test_fields_keep_order_spelling_and_repeats(client: Client, http_server: OriginServer) -> None:
    fields = [("x-lower", "1"), ("X-UPPER", "2"), ("X-Mixed-cASE", "3"), ("x-lower", "4"), ("A", ""), ("accept", "a/b")]
    await client.get(http_server.url, headers=fields)
    await client.post(http_server.url, headers=fields, content=b"x")
    for received in http_server.requests:
        assert [pair for pair in received.fields if pair in fields] == fields
        assert received.get_all("Accept") == ["a/b"], "in place of the client's own"
        assert received.fields[0][0] == "Host"
        names = [name for name, _ in received.fields]
        assert names.index("User-Agent") < names.index("x-lower"), "the client's own go first"


async def test_the_clients_fields_and_the_requests(http_server: OriginServer) -> None:
    async with Client(trust_env=False, headers={"X-Client": "1", "X-Both": "client"}) as client:
        await client.get(http_server.url, headers={"x-both": "request"})
        await client.get(http_server.url)
    first, second = http_server.requests
    assert (first.get_all("X-Client"), first.get_all("X-Both")) == (["1"], ["request"])
    assert second.get_all("X-Both") == ["client"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"json": {}}, "application/vnd.api+json"),
        ({"content": b"{}"}, "application/vnd.api+json"),
        ({"data": {"a": "b"}}, "application/x-www-form-urlencoded"),
        ({"files": {"a": b"b"}}, "multipart/form-data; boundary="),
    ],
)
async def test_a_content_type_of_the_client(body: dict[str, Any], expected: str, http_server: OriginServer) -> None:
    """It names JSON and content; a form under another name would be of no use to anybody."""
    async with Client(trust_env=False, headers={"content-type": "application/vnd.api+json"}) as client:
        await client.post(http_server.url, **body)
        await client.post(http_server.url, **body, headers={"Content-Type": "multipart/own; boundary=b"})
    first, second = http_server.requests
    (value,) = first.get_all("Content-Type")
    assert value.startswith(expected)
    assert second.get_all("Content-Type") == ["multipart/own; boundary=b"]


async def test_framing_of_the_client_is_the_bodys(http_server: OriginServer) -> None:
    async with Client(trust_env=False, headers={"Transfer-Encoding": "chunked"}) as client:
        await client.post(http_server.url, content=b"x")
    (received,) = http_server.requests
    assert (received.body, received.get("Content-Length")) == (b"x", None)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"headers": {"X": "a\nb"}}, InvalidHeader),
        ({"headers": {"X Y": "a"}}, InvalidHeader),
        ({"headers": {"X": "€"}}, InvalidHeader),
        ({"method": "GE T"}, InvalidMethod),
        ({"url": "http://exa mple/"}, InvalidURL),
        ({"url": "/relative"}, InvalidURL),
    ],
)
def test_nothing_that_cannot_be_sent_is_built(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Client(trust_env=False).build_request(**{"method": "GET", "url": "http://localhost/", **options})


# --- build and send ---------------------------------------------------------------------------------------------------


async def test_a_request_is_built_inspected_and_sent(client: Client, http_server: OriginServer) -> None:
    request = client.build_request("POST", f"{http_server.url}/request?a", params={"b": "c"}, json={"x": 1})
    assert http_server.connections == 0
    assert (request.method, request.url.target, request.body) == ("POST", "/request?a&b=c", b'{"x":1}')
    assert request.headers["content-type"] == "application/json"
    assert request.headers["Content-Length"] == "7"
    response = await client.send(request)
    assert response.request is request
    assert response.json()["target"] == "/request?a&b=c"


async def test_send_with_stream(client: Client, http_server: OriginServer) -> None:
    request = client.build_request("GET", f"{http_server.url}/bytes/100000")
    response = await client.send(request, stream=True)
    assert client.stats().in_use in (0, 1)
    assert b"".join([piece async for piece in response.iter_bytes()]) == (await client.send(request)).content
    await response.close()
    assert client.stats().in_use == 0


async def test_a_changed_copy_is_sent(client: Client, http_server: OriginServer) -> None:
    request = client.build_request("GET", f"{http_server.url}/request")
    changed = request.with_fields({"X-Own": "1"}).replace(method="OPTIONS").without_fields("accept-encoding")
    await client.send(request)
    await client.send(changed)
    first, second = http_server.requests
    assert (first.method, first.get("X-Own"), first.get("Accept-Encoding") is None) == ("GET", None, False)
    assert (second.method, second.get("X-Own"), second.get("Accept-Encoding")) == ("OPTIONS", "1", None)


async def test_a_request_of_ones_own(client: Client, http_server: OriginServer) -> None:
    """Made without a client's `build_request`: its body is framed all the same."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    from aiohttpconn.url import parse

    url = parse(f"{http_server.url}/echo")
    assert (await client.send(Request("PUT", url, body=b"ab"))).content == b"ab"
    assert (await client.send(Request("PUT", url, body=pieces()))).content == b"ab"
    changed = client.build_request("POST", url, content=b"long content").replace(body=b"short")
    assert (await client.send(changed)).content == b"short"
    first, second, third = http_server.requests
    assert first.get("Content-Length") == "2"
    assert second.get("Transfer-Encoding") == "chunked"
    assert third.get_all("Content-Length") == ["5"]


# --- as a command line ------------------------------------------------------------------------------------------------


@pytest.mark.interop
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "DELETE"},
        {"method": "POST"},
        {"url": "/echo?a={b,c}&d=[1-3]&e='x'&f=$HOME`id`"},
        {"method": "POST", "content": 'it\'s $HOME `id` \\ "quoted"\n€'},
        {"method": "POST", "content": b"@not-a-file"},
        {"method": "PUT", "content": b"\0\xff%d\\n\r\n'"},
        {"method": "POST", "content": b""},
        {"method": "POST", "json": {"a": ["b", "ä"]}},
        {"method": "PATCH", "data": {"a": "b c"}},
        {"method": "POST", "files": {"f": ("a.txt", b"file\0content")}},
        {"headers": {"X-Empty": "", "X-Quoted": "a 'b' \"c\" $d", "User-Agent": "own"}},
    ],
)
async def test_curl_sends_the_same(options: dict[str, Any], client: Client, http_server: OriginServer) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    import asyncio

    options = {"method": "GET", "url": "/echo", **options}
    options["url"] = http_server.url + options["url"]
    request = client.build_request(**options)
    await client.send(request)
    command = f"{request.as_curl()} --silent --noproxy '*'"
    stdin = b"".join([piece async for piece in request.body]) if "files" in options else b""
    ran = await asyncio.to_thread(subprocess.run, ["sh", "-c", command], input=stdin, check=True, capture_output=True)
    assert ran.stderr == b""
    ours, theirs = http_server.requests
    assert (theirs.method, theirs.target, theirs.body) == (ours.method, ours.target, ours.body)
    assert sorted(theirs.fields) == sorted(ours.fields)
