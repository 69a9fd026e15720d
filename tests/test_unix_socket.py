"""Unix domain sockets: one for all of a client's requests, and those that http+unix URLs name."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    AsyncHTTPConnection,
    Client,
    ConnectError,
    ConnectionPool,
    InvalidURL,
    ProxyPool,
    RedirectBlocked,
    Request,
    UnsupportedScheme,
)
from aiohttpconn.unix_socket import host_of_path, path_of_host
from aiohttpconn.url import URL, join, merge_params, parse
from tests.auditing import Ground, audit_quiet
from tests.exchanges import fetch
from tests.servers.raw import Hold, RawServer, Send
from tests.servers.raw import Request as Read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.nginx import Nginx
    from tests.servers.origin import OriginServer

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def at(path: str, target: str = "/") -> str:
    return f"http+unix://{host_of_path(path)}{target}"


def redirect(location: str) -> list[Any]:
    return [Read(), Send(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()), Hold()]


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "href", "path", "target"),
    [
        ("http+unix://%2Frun%2Fapp.sock/a?b#c", None, "/run/app.sock", "/a?b"),
        ("http+unix://%2frun%2f%61pp.sock", "http+unix://%2Frun%2Fapp.sock/", "/run/app.sock", "/"),
        ("HTTP+UNIX://%2Frun%2FApp?q", "http+unix://%2Frun%2FApp/?q", "/run/App", "/?q"),
        ("http+unix://%2Frun%2Fa#f", "http+unix://%2Frun%2Fa/#f", "/run/a", "/"),
        (" http+unix://%2Fa/b/../c d\\e ", "http+unix://%2Fa/c%20d/e", "/a", "/c%20d/e"),
        ("http+unix://%2Fa/?q='ä'", "http+unix://%2Fa/?q=%27%C3%A4%27", "/a", "/?q=%27%C3%A4%27"),
        ("http+unix://%2Fa/%7e?", None, "/a", "/%7e?"),
        ("http+unix://%00name/", None, "\0name", "/"),
        ("http+unix://%40name/x", "http+unix://%00name/x", "\0name", "/x"),
        ("http+unix://.%2F%40name/", None, "./@name", "/"),
        ("http+unix://app.sock/", None, "app.sock", "/"),
        ("http+unix://%2Fa%20b%3Ac/", None, "/a b:c", "/"),
        ("http+unix://%2F%C3%A4/", None, "/ä", "/"),
    ],
)
def test_urls_of_sockets(text: str, href: str | None, path: str, target: str) -> None:
    for again in (text, text.replace("?", "?more&") if "?" in text else text):  # what is common to both is known then
        url = parse(again)
        assert url.href.replace("more&", "") == (href or text)
        assert (url.scheme, url.origin.uds, url.port) == ("http+unix", path, 80)
        assert url.target.replace("more&", "") == target
        assert url.request_tail == f"{url.target} HTTP/1.1\r\nHost: localhost\r\n".encode()
        assert url.href == f"{url.origin}{url.target}{url.fragment and '#'}{url.fragment}"
        assert parse(url.href) == url


@pytest.mark.parametrize(
    "text",
    [
        "http+unix://",
        "http+unix:///run/app.sock",
        "http+unix:/run/app.sock",
        "http+unix:x",
        "http+unix://?q",
        "http+unix://%00/",
        "http+unix://%40/",
        "http+unix://%2Fa%00b/",
        "http+unix://%00a%00/",
        "http+unix://%2Fa:80/",
        "http+unix://[::1]/",
        "http+unix://%2Fa b/",
        "http+unix://%2Fa/\r\nX: y",
        "http+unix://%2Fa%0D%0A\n/",
    ],
)
def test_urls_that_name_no_socket(text: str) -> None:
    with pytest.raises(InvalidURL):
        parse(text)


def test_tls_over_a_socket_has_no_url_of_its_own() -> None:
    with pytest.raises(UnsupportedScheme, match="uds="):
        parse("https+unix://%2Fa/")


def test_userinfo() -> None:
    url = parse("http+unix://joe:s3cret@%2Frun%2Fa/x")
    assert url.credentials == ("joe", "s3cret")
    assert url.origin == parse("http+unix://%2Frun%2Fa/").origin
    assert url.without_userinfo().href == "http+unix://%2Frun%2Fa/x"
    assert "s3cret" not in repr(url) + url.shown


@pytest.mark.parametrize("path", ["/run/app.sock", "\0name", "a b", "/ä", "/%2F", "/a:b@c?d#e[f]", "./@x"])
def test_from_a_path_to_a_host_and_back(path: str) -> None:
    assert path_of_host(host_of_path(path)) == path
    assert parse(at(path)).origin.uds == path


@pytest.mark.parametrize(
    ("reference", "joined"),
    [
        ("x", "http+unix://%2Frun%2Fa/b/x"),
        ("/x", "http+unix://%2Frun%2Fa/x"),
        ("../../x", "http+unix://%2Frun%2Fa/x"),
        ("?x", "http+unix://%2Frun%2Fa/b/c?x"),
        ("#x", "http+unix://%2Frun%2Fa/b/c#x"),
        ("", "http+unix://%2Frun%2Fa/b/c"),
        ("http://one.example/x", "http://one.example/x"),
        ("http+unix://%2Frun%2Fother/x", "http+unix://%2Frun%2Fother/x"),
    ],
)
def test_references_on_a_page_of_a_socket(reference: str, joined: str) -> None:
    assert join("http+unix://%2Frun%2Fa/b/c", reference) == URL(joined)
    assert parse(joined).href == joined


def test_params_and_curl() -> None:
    url = merge_params("http+unix://%2Frun%2Fa b".replace(" ", "%20") + "/x", {"q": 1})
    assert url.href == "http+unix://%2Frun%2Fa%20b/x?q=1"
    assert Request("GET", url).as_curl() == "curl --unix-socket '/run/a b' 'http://localhost/x?q=1'"
    assert Request("GET", at("\0n")).as_curl() == "curl --abstract-unix-socket n http://localhost/"


# --- requests ---------------------------------------------------------------------------------------------------------


async def test_a_request_to_a_url_of_a_socket(raw_server: Any) -> None:
    server = await raw_server([Read(), Send(OK), Read(), Send(OK), Hold()], uds=True)
    async with Client() as client:
        response = await client.get(at(server.path, "/a?b"))
        assert response.text == "ok"
        assert response.url.href == at(server.path, "/a?b")
        await client.post(at(server.path.upper().lower()), content=b"x")
        assert client.pool is not None
        audit_quiet(client.pool)
        assert (client.stats().opened_total, list(client.stats().per_host)) == (1, [str(response.url.origin)])
    assert [(got.target, got.get("Host")) for got in server.requests] == [("/a?b", "localhost"), ("/", "localhost")]


async def test_pooled_by_socket(raw_server: Any) -> None:
    one = await raw_server([Read(), Send(OK), Hold()], uds=True)
    other = await raw_server([Read(), Send(OK), Hold()], uds=True)
    async with ConnectionPool() as pool:
        for server in (one, other):
            await fetch(pool, at(server.path))
            async with pool.connection(at(server.path)) as conn:
                assert conn.uds == server.path
            assert await pool.warm(at(server.path), 1) == 0
        audit_quiet(pool)
        assert (one.connections, other.connections, pool.stats().open) == (1, 1, 2)


async def test_a_url_s_socket_goes_before_the_client_s(raw_server: Any) -> None:
    one = await raw_server([Read(), Send(OK), Hold()], uds=True)
    other = await raw_server([Read(), Send(OK), Hold()], uds=True)
    async with Client(uds=one.path) as client:
        await client.get(at(other.path))
        assert (one.connections, other.connections) == (0, 1)
        await client.get("http://app.example/")
        assert one.requests[0].get("Host") == "app.example"


async def test_as_base_url(raw_server: Any) -> None:
    server = await raw_server([Read(), Send(OK), Read(), Send(OK), Hold()], uds=True)
    async with Client(at(server.path, "/v1")) as client:
        await client.get("containers/json")
        await client.get(at(server.path, "/v2"))
    assert [got.target for got in server.requests] == ["/v1/containers/json", "/v2"]


@pytest.mark.parametrize("proxy", ["environment", "client", "request"])
async def test_no_proxy_lies_before_a_socket(
    raw_server: Any, connect_proxy: Any, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    server = await raw_server([Read(), Send(OK), Hold()], uds=True)
    if proxy == "environment":
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, connect_proxy.url)
    async with Client(**({"proxy": connect_proxy.url} if proxy == "client" else {})) as client:
        own = {"proxy": connect_proxy.url} if proxy == "request" else {}
        response = await client.get(at(server.path), **own)
        assert response.text == "ok"
    assert server.requests[0].target == "/"


async def test_nobody_is_asked_for_a_proxy_before_a_socket(raw_server: Any) -> None:
    """Nor is one of a pool taken to be alive because a socket answered."""
    server = await raw_server(*[[Read(), Send(OK), Hold()]] * 4, uds=True)
    url = at(server.path)
    pool = ProxyPool(["http://127.0.0.1:1", "http://127.0.0.1:2"])
    dead = pool.states()[0].proxy
    pool.failed(dead)
    asked: list[URL] = []
    for proxy in (pool, asked.append):
        async with Client(proxy=proxy) as client:
            assert (await client.get(url)).text == "ok"
            assert await client.warm(url, 2) == 1
            assert client.pool is not None
            async with client.pool.connection(url) as conn:
                assert conn.uds == server.path
        async with Client() as client:
            assert (await client.get(url, proxy=proxy)).text == "ok"
    assert asked == []
    assert [state.failures for state in pool.states()] == [1, 0]
    pool.worked(dead)
    assert pool("http://origin.example/") is dead, "it is still the first one's turn"


@LINUX
@pytest.mark.parametrize("form", ["uds=@", "uds=\0", "connection", "%00", "%40"])
async def test_abstract_sockets(form: str) -> None:
    name = f"aiohttpconn-{os.getpid()}-{form.encode().hex()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name)
        listener.listen()
        import asyncio

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await reader.read()
            writer.close()

        server = await asyncio.start_unix_server(serve, sock=listener)
        try:
            if form == "connection":
                async with AsyncHTTPConnection("localhost", uds=f"@{name}") as conn:
                    await conn.request("GET", "/")
                    assert await (await conn.getresponse()).read() == b"ok"
                    assert f"@{name}" in repr(conn)
            else:
                uds = form[4] + name if form.startswith("uds") else None
                async with Client(uds=uds) as client:
                    url = "http://localhost/" if uds else f"http+unix://{form}{name}/"
                    assert (await client.get(url)).text == "ok"
                    assert "\0" not in repr(client.stats())
        finally:
            server.close()


async def test_a_path_object(raw_server: Any) -> None:
    from pathlib import Path

    server = await raw_server([Read(), Send(OK), Hold()], uds=True)
    async with Client(uds=Path(server.path)) as client:
        assert (await client.get("http://localhost/")).text == "ok"


@pytest.mark.parametrize("uds", ["", "\0", "@", "a\0b", "\0\0", "/" + "a" * 107, "@" + "a" * 107])
def test_what_cannot_be_a_socket_is_refused_where_it_is_given(uds: str) -> None:
    for make in (
        lambda: Client(uds=uds),
        lambda: ConnectionPool(uds=uds),
        lambda: AsyncHTTPConnection("localhost", uds=uds),
    ):
        with pytest.raises(ValueError, match=r"^uds must "):
            make()


@pytest.mark.parametrize(
    "proxy", ["http://user:secret@127.0.0.1:1", lambda url: None, ProxyPool(["http://127.0.0.1:1"])]
)
def test_no_proxy_beside_a_socket(proxy: Any) -> None:
    """The socket would be told the proxy's credentials, and the proxy nothing."""
    with pytest.raises(TypeError, match="none before a Unix socket"):
        Client(uds="/run/app.sock", proxy=proxy)
    if isinstance(proxy, str):
        with pytest.raises(TypeError, match="none before a Unix socket"):
            ConnectionPool(uds="/run/app.sock", proxy=proxy)


async def test_no_proxy_for_a_request_of_a_client_with_a_socket(
    raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await raw_server([Read(), Send(OK), Read(), Send(OK), Hold()], uds=True)
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@127.0.0.1:1")
    async with Client(uds=server.path) as client:
        pool = ProxyPool(["http://127.0.0.1:1", "http://127.0.0.1:2"])
        for proxy in ("http://user:secret@127.0.0.1:1", lambda url: "http://127.0.0.1:1", pool):
            with pytest.raises(TypeError, match="none before a Unix socket"):
                await client.get("http://origin.example/", proxy=proxy)
        assert pool("http://origin.example/").origin.port == 1, "none has taken its turn"
        assert server.connections == 0
        assert (await client.get("http://origin.example/", proxy=None)).text == "ok"
        assert (await client.get("http://origin.example/")).text == "ok", "the environment's does not apply"
    assert [(got.target, got.get("Proxy-Authorization")) for got in server.requests] == [("/", None)] * 2


async def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    ground = Ground()
    async with Client() as client:
        with pytest.raises(ConnectError, match=r"cannot connect to .*/none\.sock: No such file"):
            await client.get(at(str(tmp_path / "none.sock")))
        with pytest.raises(InvalidURL, match="not longer than"):
            await client.get(at("/" + "a" * 200))
        with pytest.raises(ConnectError, match="cannot connect to @nobody: Connection refused"):
            await client.get("http+unix://%00nobody/")
        assert client.pool is not None
        audit_quiet(client.pool)
    assert await ground.cleared() == []


# --- redirects, cookies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["http", "uds"])
async def test_a_redirect_never_leads_to_a_socket(raw_server: Any, start: str) -> None:
    secret = await raw_server(uds=True)
    server: RawServer = await raw_server(redirect(at(secret.path)), uds=start == "uds")
    async with Client() as client:
        with pytest.raises(RedirectBlocked, match="Unix socket"):
            await client.get(server.url if start == "http" else at(server.path))
    assert secret.connections == 0


async def test_a_redirect_on_the_same_socket(raw_server: Any) -> None:
    for location in ("/next", "next", "absolute"):
        server = await raw_server(uds=True)
        server.scripts = [
            [*redirect(at(server.path, "/next") if location == "absolute" else location)[:2], Read(), Send(OK), Hold()]
        ]
        async with Client() as client:
            assert (await client.get(at(server.path, "/first"))).text == "ok"
        assert [got.target for got in server.requests] == ["/first", "/next"]


async def test_a_redirect_from_a_socket_to_the_network(raw_server: Any, http_server: OriginServer) -> None:
    server = await raw_server(redirect(http_server.url), uds=True)
    async with Client() as client:
        response = await client.get(at(server.path), headers={"X-Secret": "1"})
        assert response.text == "hello"
    assert http_server.requests[0].get("X-Secret") is None


async def test_cookies_stay_with_their_socket(raw_server: Any) -> None:
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2; Domain=sock\r\nContent-Length: 0\r\n\r\n"
    one = await raw_server([Read(), Send(cookie), Read(), Send(OK), Hold()], uds=True)
    other = await raw_server([Read(), Send(OK), Hold()], uds=True)
    async with Client() as client:
        await client.get(at(one.path))
        await client.get(at(one.path))
        await client.get(at(other.path))
    assert [got.get("Cookie") for got in one.requests] == [None, "a=1"]
    assert [got.get("Cookie") for got in other.requests] == [None]


@pytest.mark.interop
async def test_nginx_over_a_url(nginx: Nginx) -> None:
    async with Client(at(nginx.uds)) as client:
        assert len((await client.get("/1k")).content) == 1024
        first, second = [(await client.get("/connection")).text.split()[1] for _ in range(2)]
        assert (first, second) == ("2", "3")
        assert (await client.get("/redirect/302")).url.href == at(nginx.uds, "/1k")
        assert client.stats().opened_total == 1
