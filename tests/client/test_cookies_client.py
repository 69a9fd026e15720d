"""Cookies on the wire: `Client` with a jar of its own, a shared one, a mapping, and none."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, InvalidHeader
from aiohttpconn.client.cookies import CookieJar
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    pass


def setting(*lines: str, to: str | None = None) -> Reply:
    fields = [("Set-Cookie", line) for line in lines]
    return Reply(b"", 200 if to is None else 302, fields if to is None else [*fields, ("Location", to)])


def cookies_of(server: OriginServer) -> list[str | None]:
    return [request.get("Cookie") for request in server.requests]


def plain(**options: Any) -> Client:
    return Client(trust_env=False, timeout=10, **options)


async def test_what_a_server_sets_comes_back(http_server: OriginServer) -> None:
    http_server.routes["/in"] = setting("sid=1; Path=/; HttpOnly", "deep=2; Path=/deep")
    http_server.routes["/out"] = setting("sid=; Path=/; Max-Age=0")
    async with plain(base_url=http_server.url) as client:
        for path in ("/", "/in", "/", "/deep/x", "/out", "/"):
            await client.get(path)
        assert cookies_of(http_server) == [None, None, "sid=1", "deep=2; sid=1", "sid=1", None]
        assert client.cookies is not None
        assert [cookie.name for cookie in client.cookies] == ["deep"]
        assert client.cookies.size == 1
        async with client.stream("POST", "/deep", content=b"x"):
            pass
        assert cookies_of(http_server)[-1] == "deep=2"


async def test_a_cookie_that_changes_with_each_response(http_server: OriginServer) -> None:
    http_server.routes["/"] = lambda _: setting(f"count={len(http_server.requests)}; Path=/")
    async with plain() as client:
        for _ in range(4):
            await client.get(http_server.url)
    assert cookies_of(http_server) == [None, "count=1", "count=2", "count=3"]


async def test_a_redirect_sets_and_gets_cookies(http_server: OriginServer) -> None:
    http_server.routes["/login"] = setting("sid=1; Path=/", to="/home")
    http_server.routes["/home"] = setting("seen=yes; Path=/")
    async with plain() as client:
        await client.get(http_server.url + "/login")
        await client.get(http_server.url + "/")
    assert cookies_of(http_server) == [None, "sid=1", "sid=1; seen=yes"]


async def test_a_redirect_to_another_host_takes_no_cookies_along(http_server: OriginServer) -> None:
    async with OriginServer() as other:
        here = http_server.url.replace("127.0.0.1", "localhost")
        there = other.url.replace("localhost", "127.0.0.1")
        http_server.routes["/go"] = setting("sid=1; Path=/", to=there + "/back")
        other.routes["/back"] = setting("theirs=2; Path=/", to=here + "/end")
        http_server.routes["/end"] = Reply(b"end")
        async with plain(cookies={"mine": "3"}) as client:
            response = await client.get(here + "/go", cookies={"once": "4"})
            assert response.content == b"end"
            assert cookies_of(http_server) == ["mine=3; once=4", "mine=3; once=4; sid=1"]
            assert cookies_of(other) == [None]
            await client.get(there + "/")
        assert cookies_of(other)[-1] == "mine=3; theirs=2"


async def test_secure_cookies_stay_on_https(
    client: Client, http_server: OriginServer, https_server: OriginServer
) -> None:
    https_server.routes["/"] = setting("__Host-sid=1; Secure; Path=/", "open=2; Path=/")
    http_server.routes["/set"] = setting("evil=3; Secure", "open=4; Path=/")
    secure, insecure = f"https://localhost:{https_server.port}", f"http://localhost:{http_server.port}"
    for url in (secure, insecure, insecure + "/set", secure):
        await client.get(url)
    # Ports share cookies (RFC 6265bis section 8.5), schemes share those that are not Secure.
    assert cookies_of(http_server) == ["open=2", "open=2"]
    assert cookies_of(https_server) == [None, "__Host-sid=1; open=4"]


async def test_a_mapping_of_the_client_goes_with_every_request(http_server: OriginServer) -> None:
    async with plain(cookies={"a": "1", "b": 'x "y"'}) as client:
        await client.get(http_server.url)
        await client.get(http_server.url, cookies={"b": "2", "c": "3"})
        await client.get(http_server.url, cookies=False)
        await client.get(http_server.url, headers={"Cookie": "own=0"})
    assert cookies_of(http_server) == ['a=1; b=x "y"', "a=1; b=2; c=3", None, 'own=0; a=1; b=x "y"']


async def test_a_mapping_of_a_request_goes_with_that_one(http_server: OriginServer) -> None:
    async with plain() as client:
        await client.get(http_server.url, cookies={"a": "1"})
        await client.get(http_server.url)
    assert cookies_of(http_server) == ["a=1", None]


async def test_what_cannot_be_sent_is_refused_before_a_byte(http_server: OriginServer) -> None:
    async with plain() as client:
        for bad in ({"a": "1\r\nX: y"}, {"a": "1; b=2"}, {"a;b": "1"}, {"": "1"}):
            with pytest.raises(InvalidHeader):
                await client.get(http_server.url, cookies=bad)
    with pytest.raises(InvalidHeader):
        Client(cookies={"a": "\n"})
    assert http_server.requests == []


async def test_no_cookies_at_all(http_server: OriginServer) -> None:
    http_server.routes["/"] = setting("sid=1; Path=/")
    async with plain(cookies=False) as client:
        assert client.cookies is None
        for _ in range(2):
            response = await client.get(http_server.url)
            assert response.headers["Set-Cookie"] == "sid=1; Path=/"
    async with plain() as client:
        await client.get(http_server.url, cookies=False)
        assert client.cookies is not None
        assert len(client.cookies) == 0
        await client.get(http_server.url)
    assert cookies_of(http_server) == [None] * 4


async def test_clients_share_a_jar(http_server: OriginServer) -> None:
    http_server.routes["/in"] = setting("sid=1; Path=/")
    jar = CookieJar()
    async with plain(cookies=jar) as one, plain(cookies=jar) as two, plain() as third:
        await one.get(http_server.url + "/in")
        await two.get(http_server.url + "/")
        await third.get(http_server.url + "/")
        await third.get(http_server.url + "/", cookies=jar)
    assert cookies_of(http_server) == [None, "sid=1", None, "sid=1"]


@pytest.mark.parametrize("form", ["json", "netscape"])
async def test_a_session_is_saved_and_goes_on(http_server: OriginServer, form: str) -> None:
    http_server.routes["/in"] = setting("sid=1; Path=/; Max-Age=1000", "tip=off; Path=/")
    file = io.StringIO()
    async with plain() as client:
        await client.get(http_server.url + "/in")
        assert client.cookies is not None
        getattr(client.cookies, f"save_{form}")(file)
    jar = CookieJar()
    getattr(jar, f"load_{form}")(io.StringIO(file.getvalue()))
    async with plain(cookies=jar) as client:
        await client.get(http_server.url + "/")
    assert cookies_of(http_server) == [None, "sid=1; tip=off"]


async def test_bytes_of_a_value_come_back_as_they_came(http_server: OriginServer) -> None:
    http_server.routes["/in"] = setting("name=gr\xc3\xbc\xc3\x9fe; Path=/", 'quoted="a, b"; Path=/')
    async with plain() as client:
        await client.get(http_server.url + "/in")
        await client.get(http_server.url + "/")
    assert cookies_of(http_server)[-1] == 'name=gr\xc3\xbc\xc3\x9fe; quoted="a, b"'
