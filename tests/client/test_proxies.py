"""Proxies, through the client: forwarding and tunnels, who gets whose credentials, and refusals."""

from __future__ import annotations

import asyncio
import base64
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    Client,
    ConnectError,
    InvalidURL,
    ProxyError,
    RedirectBlocked,
    TLSError,
    UnsupportedScheme,
)
from tests.auditing import audit_quiet
from tests.servers.origin import OriginServer
from tests.servers.program import free_port
from tests.servers.raw import Head, Hold, Send
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from tests.servers.proxy import ConnectProxy

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
USER, PASSWORD = "us er", "p:ä@/"
TOKEN = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture
async def proxied(connect_proxy: ConnectProxy, client_ctx: ssl.SSLContext) -> AsyncIterator[Client]:
    """A client that goes through the scripted proxy, without credentials."""
    async with Client(proxy=connect_proxy.url, verify=client_ctx, trust_env=False, timeout=10) as client:
        yield client
        audit_quiet(client.pool)  # type: ignore[arg-type]


def with_userinfo(proxy: Any) -> str:
    return f"http://us%20er:p%3A%C3%A4%40%2F@{proxy.authority}"


# --- what goes where --------------------------------------------------------------------------------------------------


async def test_http_is_forwarded_in_absolute_form(
    proxied: Client, connect_proxy: ConnectProxy, http_server: OriginServer
) -> None:
    response = await proxied.get(f"http://u:p@{http_server.authority}/request?a=%2f#fragment", headers={"X-A": "b"})
    assert response.json()["target"] == "/request?a=%2f"
    (asked,) = connect_proxy.requests
    assert (asked.method, asked.target) == ("GET", f"{http_server.url}/request?a=%2f")
    assert asked.fields[0] == ("Host", http_server.authority)
    assert asked.get("X-A") == "b"
    assert asked.get("Proxy-Authorization") is None


async def test_https_goes_through_a_tunnel(
    proxied: Client, connect_proxy: ConnectProxy, https_server: OriginServer
) -> None:
    response = await proxied.get(f"{https_server.url}/request?a=b", headers={"Cookie": "secret"})
    assert response.json()["target"] == "/request?a=b"
    (asked,) = connect_proxy.requests
    assert (asked.method, asked.target) == ("CONNECT", https_server.authority)
    assert asked.get_all("Host") == [https_server.authority]
    assert b"secret" not in asked.raw
    assert connect_proxy.tunnels == [https_server.authority]


async def test_a_tunnel_is_kept_and_used_again(
    proxied: Client, connect_proxy: ConnectProxy, https_server: OriginServer
) -> None:
    for _ in range(3):
        assert (await proxied.get(https_server.url)).text == "hello"
    assert len(connect_proxy.tunnels) == 1
    assert len(https_server.requests) == 3
    assert proxied.stats().reused_total == 2


async def test_a_connection_to_the_proxy_serves_one_http_origin(client: Client, raw_server: StartRaw) -> None:
    proxy = await raw_server(*[[ReadRequest(), Send(OK)] * 2] * 2)
    for url in ("http://one.example/a", "http://two.example:81/b", "http://one.example/c", "http://two.example:81/d"):
        assert (await client.get(url, proxy=proxy.url)).text == "ok"
    assert [(asked.connection, asked.target) for asked in proxy.requests] == [
        (0, "http://one.example/a"),
        (1, "http://two.example:81/b"),
        (0, "http://one.example/c"),
        (1, "http://two.example:81/d"),
    ]


@pytest.mark.parametrize("path", ["/bytes/300000", "/chunked/300000"])
async def test_bodies_both_ways(
    path: str, proxied: Client, http_server: OriginServer, https_server: OriginServer
) -> None:
    for server in (http_server, https_server):
        assert len((await proxied.get(server.url + path)).content) == 300_000
        # PUT may be sent again: the proxy closes after each request it forwards, and does not say so.
        assert (await proxied.put(f"{server.url}/echo", content=b"x" * 200_000)).content == b"x" * 200_000
        async with proxied.stream("GET", server.url + path) as response:
            assert sum([len(piece) async for piece in response.iter_bytes()]) == 300_000


async def test_many_tunnels_at_once(proxied: Client, connect_proxy: ConnectProxy, https_server: OriginServer) -> None:
    responses = await asyncio.gather(*(proxied.get(f"{https_server.url}/request?{n}") for n in range(10)))
    assert [response.json()["target"] for response in responses] == [f"/request?{n}" for n in range(10)]
    assert 0 < len(connect_proxy.tunnels) <= 10


# --- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["client", "request"])
async def test_the_proxys_credentials_reach_the_proxy_and_nobody_else(
    way: str,
    connect_proxy: ConnectProxy,
    http_server: OriginServer,
    https_server: OriginServer,
    client_ctx: ssl.SSLContext,
) -> None:
    connect_proxy.credentials = (USER, PASSWORD)
    proxy: Any = {"proxy": with_userinfo(connect_proxy)}
    of_client, of_request = (proxy, {}) if way == "client" else ({}, proxy)
    own = {"Authorization": "Bearer origin"}
    async with Client(verify=client_ctx, trust_env=False, **of_client) as client:
        for server in (http_server, https_server):
            assert (await client.get(f"{server.url}/request", headers=own, **of_request)).status == 200
    forwarded, tunnel = connect_proxy.requests
    assert forwarded.get_all("Proxy-Authorization") == tunnel.get_all("Proxy-Authorization") == [TOKEN]
    assert tunnel.get("Authorization") is None, "the origin's never reach the proxy where there is a tunnel"
    for server in (http_server, https_server):
        (received,) = server.requests
        assert received.get("Proxy-Authorization") is None
        assert received.get("Authorization") == "Bearer origin"
        assert TOKEN.encode() not in received.raw


async def test_they_do_not_reach_an_origin_without_the_proxy(
    connect_proxy: ConnectProxy, http_server: OriginServer
) -> None:
    async with Client(proxy=with_userinfo(connect_proxy), trust_env=False) as client:
        await client.get(http_server.url, proxy=None)
        assert http_server.requests[0].get("Proxy-Authorization") is None
        assert connect_proxy.connections == 0


async def test_credentials_are_never_shown(connect_proxy: ConnectProxy) -> None:
    connect_proxy.credentials = ("somebody", "else")
    async with Client(proxy=f"http://user:s3cret@{connect_proxy.authority}", trust_env=False) as client:
        with pytest.raises(ProxyError) as caught:
            await client.get("https://example.org/")
        token = base64.b64encode(b"user:s3cret").decode()
        for text in (str(caught.value), repr(caught.value), repr(client), repr(client.stats())):
            assert "s3cret" not in text
            assert token not in text


async def test_connections_of_different_credentials_are_not_mixed(client: Client, raw_server: StartRaw) -> None:
    proxy = await raw_server([ReadRequest(), Send(OK)] * 2)
    for user in ("ada", "bob", "ada"):
        await client.get("http://one.example/", proxy=f"http://{user}:x@{proxy.authority}")
    assert [asked.connection for asked in proxy.requests] == [0, 1, 0]


# --- which proxy ------------------------------------------------------------------------------------------------------


async def test_a_requests_proxy_goes_before_the_clients(
    proxied: Client, connect_proxy: ConnectProxy, http_server: OriginServer, raw_server: StartRaw
) -> None:
    other = await raw_server([ReadRequest(), Send(OK)] * 3)
    assert (await proxied.get(f"{http_server.url}/a", proxy=other.url)).text == "ok"
    async with proxied.stream("GET", f"{http_server.url}/b", proxy=other.url) as response:
        assert await response.read() == b"ok"
    request = proxied.build_request("GET", f"{http_server.url}/c")
    assert (await proxied.send(request, proxy=other.url)).text == "ok"
    assert [asked.target for asked in other.requests] == [f"{http_server.url}/{name}" for name in "abc"]
    assert connect_proxy.connections == 0
    assert (await proxied.get(http_server.url)).text == "hello"
    assert connect_proxy.connections == 1


async def test_none_goes_past_the_proxy(
    proxied: Client, connect_proxy: ConnectProxy, http_server: OriginServer, https_server: OriginServer
) -> None:
    for server in (http_server, https_server):
        assert (await proxied.get(server.url, proxy=None)).text == "hello"
    async with proxied.stream("GET", http_server.url, proxy=None) as response:
        assert await response.read() == b"hello"
    assert connect_proxy.connections == 0


@pytest.mark.parametrize(
    ("proxy", "error"),
    [
        ("https://127.0.0.1:99999", InvalidURL),
        ("http://us%3Aer:p@127.0.0.1:1", InvalidURL),
        ("socks6://127.0.0.1:1", UnsupportedScheme),
        ("socks5://", InvalidURL),
        ("127.0.0.1:1", InvalidURL),
        ("", InvalidURL),
    ],
)
async def test_what_is_no_proxy_says_so(proxy: str, error: type[Exception], client: Client) -> None:
    with pytest.raises(error):
        Client(proxy=proxy)
    with pytest.raises(error):
        await client.get("http://example.org/", proxy=proxy)


async def test_redirects_stay_with_the_requests_proxy(
    client: Client, connect_proxy: ConnectProxy, http_server: OriginServer, https_server: OriginServer
) -> None:
    url = f"{http_server.url}/redirect/302?{https_server.url}/request"
    response = await client.get(url, proxy=with_userinfo(connect_proxy), headers={"Authorization": "x"})
    assert response.status == 200
    assert [asked.method for asked in connect_proxy.requests] == ["GET", "CONNECT"]
    assert [asked.get("Proxy-Authorization") for asked in connect_proxy.requests] == [TOKEN, TOKEN]
    assert https_server.requests[0].get("Authorization") is None
    assert https_server.requests[0].get("Proxy-Authorization") is None
    with pytest.raises(RedirectBlocked):
        await client.get(f"{https_server.url}/redirect/302?{http_server.url}/", proxy=connect_proxy.url)


# --- refusals ---------------------------------------------------------------------------------------------------------


async def test_407_to_connect_is_a_proxy_error(
    proxied: Client, connect_proxy: ConnectProxy, https_server: OriginServer
) -> None:
    connect_proxy.credentials = ("user", "secret")
    with pytest.raises(ProxyError) as caught:
        await proxied.get(f"{https_server.url}/x")
    error = caught.value
    assert (error.status, error.body) == (407, b"who are you?")
    assert error.headers["proxy-authenticate"] == 'Basic realm="test"'
    assert error.request.url.path == "/x"
    assert isinstance(error, ConnectError)
    assert https_server.authority in str(error)
    assert "407" in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.status, copy.body, str(copy)) == (407, b"who are you?", str(error))
    assert https_server.connections == 0
    assert proxied.stats().open == 0


async def test_407_to_a_forwarded_request_is_a_response(
    proxied: Client, connect_proxy: ConnectProxy, http_server: OriginServer
) -> None:
    connect_proxy.credentials = ("user", "secret")
    response = await proxied.get(http_server.url)
    assert (response.status, response.text) == (407, "who are you?")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!", 502),
        (b"HTTP/1.1 403 Forbidden\r\n\r\nno!", 403),
        (b"HTTP/1.1 302 Found\r\nLocation: https://phish.example/\r\nContent-Length: 0\r\n\r\n", 302),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101),
        (b"SSH-2.0-OpenSSH_9\r\n", None),
        (b"HTTP/1.1 20", None),
        (b"", None),
    ],
)
async def test_whatever_else_it_says_is_a_proxy_error(
    answer: bytes, status: int | None, proxied: Client, connect_proxy: ConnectProxy
) -> None:
    connect_proxy.answer = answer
    with pytest.raises(ProxyError) as caught:
        await proxied.get("https://example.org/x")
    assert caught.value.status == status
    assert "example.org:443" in str(caught.value)
    if status is None:
        assert caught.value.__cause__ is not None
    assert proxied.stats().open == 0


async def test_a_proxy_that_is_not_there(client: Client) -> None:
    for url in ("http://example.org/", "https://example.org/"):
        with pytest.raises(ConnectError) as caught:
            await client.get(url, proxy=f"http://127.0.0.1:{free_port()}")
        assert caught.value.request.url == url


async def test_the_origin_is_verified_inside_the_tunnel(
    connect_proxy: ConnectProxy, https_server: OriginServer
) -> None:
    async with Client(proxy=connect_proxy.url, trust_env=False) as client:
        with pytest.raises(TLSError):
            await client.get(https_server.url)
        assert client.stats().open == 0
    assert https_server.requests == []


async def test_the_name_that_is_verified_is_the_origins(
    client: Client, connect_proxy: ConnectProxy, raw_server: StartRaw, wrong_host_ctx: ssl.SSLContext
) -> None:
    server = await raw_server([ReadRequest(), Send(OK), Hold()], tls=wrong_host_ctx)
    connect_proxy.hosts = dict.fromkeys(("elsewhere.example:443", "one.example:443"), ("127.0.0.1", server.port))
    assert (await client.get("https://elsewhere.example/", proxy=connect_proxy.url)).text == "ok"
    with pytest.raises(TLSError) as caught:
        await client.get("https://one.example/", proxy=connect_proxy.url)
    assert "one.example" in str(caught.value)


async def test_bytes_before_tls_are_not_taken_for_the_origins(
    proxied: Client, connect_proxy: ConnectProxy, https_server: OriginServer
) -> None:
    connect_proxy.greeting = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    with pytest.raises(ConnectError):
        await proxied.get(https_server.url)
    assert proxied.stats().open == 0


async def test_a_kept_tunnel_that_dies_is_opened_anew(client: Client, raw_server: StartRaw) -> None:
    """The replay of a request goes through the proxy again."""
    proxy = await raw_server([ReadRequest(), Send(OK), Head()], [ReadRequest(), Send(OK)])
    for _ in range(2):
        assert (await client.get("http://one.example/", proxy=proxy.url)).text == "ok"
    assert [asked.connection for asked in proxy.requests] == [0, 0, 1]
    assert {asked.target for asked in proxy.requests} == {"http://one.example/"}
