"""Proxies that are spoken to over TLS, and what the proxy alone gets to know."""

from __future__ import annotations

import base64
import hashlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    BasicAuth,
    Client,
    ConnectError,
    ConnectionPool,
    Limits,
    Proxy,
    ProxyError,
    TLSError,
    TLSOptions,
)
from aiohttpconn.net.tls import ssl_context
from tests.auditing import audit_quiet
from tests.cancellation import cancel_everywhere
from tests.servers.certificates import server_context
from tests.servers.origin import OriginServer, pattern
from tests.servers.program import free_port
from tests.servers.proxy import ConnectProxy
from tests.servers.raw import Hold, Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import trustme

    from tests.servers.haproxy import Haproxy
    from tests.servers.nginx import Nginx
    from tests.servers.squid import Proxy as Program


@pytest.fixture
async def secure_proxy(server_ctx: ssl.SSLContext) -> AsyncIterator[ConnectProxy]:
    """The scripted proxy, over TLS."""
    async with ConnectProxy(tls=server_ctx) as server:
        yield server


def client_of(proxy: Any, context: ssl.SSLContext) -> Client:
    return Client(proxy=proxy, verify=context, trust_env=False, timeout=10)


# --- TLS to the proxy -------------------------------------------------------------------------------------------------


async def test_tls_in_tls_and_forwarding_over_tls(
    secure_proxy: ConnectProxy, http_server: OriginServer, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    proxy = Proxy(f"https://us:er@localhost:{secure_proxy.port}", context=client_ctx)
    async with client_of(proxy, client_ctx) as client:
        for _ in range(2):
            for server in (http_server, https_server):
                body = (await client.get(f"{server.url}/bytes/300000")).content
                assert body == pattern(300_000)
                sent = await client.put(f"{server.url}/echo", content=body)
                assert sent.content == body
        assert {asked.get("Proxy-Authorization") for asked in secure_proxy.requests} == {"Basic dXM6ZXI="}
        assert secure_proxy.tunnels == [https_server.authority]
        assert set(secure_proxy.forwarded) == {f"{http_server.url}/bytes/300000", f"{http_server.url}/echo"}
        response = await client.get(https_server.url)
        assert f"through the proxy https://localhost:{secure_proxy.port}" in response.explain()
        assert [asked.get("Proxy-Authorization") for asked in https_server.requests[:1]] == [None]
        audit_quiet(client.pool)  # type: ignore[arg-type]


async def test_proxy_py_over_tls(https_proxy: Program, nginx: Nginx, client_ctx: ssl.SSLContext) -> None:
    proxy = Proxy(https_proxy.url, context=client_ctx)
    async with client_of(proxy, client_ctx) as client:
        for origin in (nginx.http, nginx.https):
            assert (await client.get(f"{origin}/1k")).content == pattern(1024)
            async with client.stream("GET", f"{origin}/big") as response:
                digest = hashlib.sha256()
                async for piece in response.iter_bytes():
                    digest.update(piece)
            assert digest.digest() == hashlib.sha256(pattern(nginx.big)).digest()
    async with client_of(Proxy(https_proxy.bare_url, context=client_ctx), client_ctx) as client:
        with pytest.raises(ProxyError) as caught:
            await client.get(nginx.https)
        assert caught.value.status == 407
        assert (await client.get(nginx.http)).status == 407


async def test_its_context_is_its_own(
    secure_proxy: ConnectProxy, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    """The client trusts the authority for origins; the proxy is verified by the system's all the same."""
    async with client_of(f"https://localhost:{secure_proxy.port}", client_ctx) as client:
        with pytest.raises(ProxyError, match=f"no TLS with the proxy localhost:{secure_proxy.port}") as caught:
            await client.get(https_server.url)
        assert isinstance(caught.value.__cause__, TLSError)
        assert caught.value.status is None
    async with client_of(Proxy(f"https://localhost:{secure_proxy.port}", context=client_ctx), client_ctx) as client:
        assert (await client.get(https_server.url)).text == "hello"
    proxy = Proxy(f"https://localhost:{secure_proxy.port}", context=client_ctx)
    async with Client(proxy=proxy, trust_env=False) as client:
        with pytest.raises(TLSError, match="localhost") as refused:
            await client.get(https_server.url)
        assert not isinstance(refused.value, ProxyError)
        assert client.stats().open == 0


async def test_a_proxy_that_speaks_no_tls(
    raw_server: Any, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    proxy = await raw_server(*[[Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Hold()]] * 2)
    async with client_of(f"https://{proxy.authority}", client_ctx) as client:
        for url in (https_server.url, "http://one.example/"):
            with pytest.raises(ProxyError, match="no TLS with the proxy"):
                await client.get(url)
        assert client.stats().open == 0


async def test_a_proxy_that_is_not_there_is_named(client_ctx: ssl.SSLContext) -> None:
    port = free_port()
    for scheme in ("http", "https", "socks5", "socks4a"):
        async with client_of(f"{scheme}://127.0.0.1:{port}", client_ctx) as client:
            for url in ("http://127.0.0.9/", "https://127.0.0.9/"):
                with pytest.raises(ProxyError, match=rf"the proxy 127\.0\.0\.1:{port} cannot be reached") as caught:
                    await client.get(url)
                assert isinstance(caught.value.__cause__, ConnectError)
                assert caught.value.status is None


async def test_every_await_under_cancellation(
    secure_proxy: ConnectProxy, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    proxy = Proxy(f"https://localhost:{secure_proxy.port}", context=client_ctx)
    async with ConnectionPool(proxy=proxy, ssl_context=client_ctx) as pool, Client(transport=pool) as client:

        async def scenario() -> None:
            assert (await client.get(f"{https_server.url}/close")).text == "goodbye"

        await cancel_everywhere(scenario, lambda: audit_quiet(pool))


# --- fields of the proxy's own ----------------------------------------------------------------------------------------


async def test_headers_go_to_the_proxy_only(
    connect_proxy: ConnectProxy, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    proxy = Proxy(connect_proxy.url, headers=[("X-Session", "1"), ("X-Session", "2"), ("User-Agent", "proxied")])
    async with client_of(proxy, client_ctx) as client:
        await client.get(https_server.url)
        (asked,) = connect_proxy.requests
        assert asked.get_all("X-Session") == ["1", "2"]
        assert asked.get_all("User-Agent") == ["proxied"]
        (got,) = https_server.requests
        assert got.get("X-Session") is None
        assert got.get("User-Agent") != "proxied"


async def test_forwarded_requests_say_nothing_twice(
    connect_proxy: ConnectProxy, http_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    proxy = Proxy(connect_proxy.url, headers={"X-Session": "1", "User-Agent": "proxied"}, auth=("a", "b"))
    async with client_of(proxy, client_ctx) as client:
        await client.get(http_server.url)
        await client.get(http_server.url, headers={"Proxy-Authorization": "Own", "x-session": "3"})
    async with ConnectionPool(proxy=proxy) as pool, pool.connection(http_server.url) as conn:
        await conn.request("GET", "/", headers={"proxy-authorization": "Mine"})
        await (await conn.getresponse()).read()
    proxy = Proxy(connect_proxy.url, auth=BasicAuth("a", "b"))
    async with ConnectionPool(proxy=proxy) as pool, pool.connection(http_server.url) as conn:
        await conn.request("GET", "/")
        await (await conn.getresponse()).read()
    one, two, three, four = connect_proxy.requests
    assert four.get_all("Proxy-Authorization") == ["Basic YTpi"]
    assert (one.get_all("X-Session"), one.get_all("Proxy-Authorization")) == (["1"], ["Basic YTpi"])
    assert len(one.get_all("User-Agent")) == 1
    assert (two.get_all("X-Session"), two.get_all("Proxy-Authorization")) == (["3"], ["Own"])
    assert three.get_all("Proxy-Authorization") == ["Mine"]


async def test_no_proxy_authorization_leaves_through_a_tunnel(
    connect_proxy: ConnectProxy,
    danted: Program,
    http_server: OriginServer,
    https_server: OriginServer,
    client_ctx: ssl.SSLContext,
) -> None:
    fields = {"Proxy-Authorization": "Basic secret", "Authorization": "Basic b3duOg=="}
    for proxy, server in ((connect_proxy.url, https_server), (danted.url, https_server), (danted.url, http_server)):
        async with client_of(proxy, client_ctx) as client:
            await client.get(server.url, headers=fields)
            got = server.requests[-1]
            assert got.get("Proxy-Authorization") is None
            assert got.get("Authorization") == "Basic b3duOg=="
    assert b"secret" not in connect_proxy.requests[0].raw
    assert connect_proxy.requests[0].get("Authorization") is None


async def test_proxies_that_differ_share_no_connection(
    connect_proxy: ConnectProxy, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    async with client_of(None, client_ctx) as client:
        for user in ("a", "b", "a"):
            proxy = Proxy(connect_proxy.url, auth=(user, "x"))
            assert (await client.get(https_server.url, proxy=proxy)).text == "hello"
        assert client.stats().opened_total == 2
    tokens = [base64.b64encode(f"{user}:x".encode()).decode() for user in ("a", "b")]
    assert [asked.get("Proxy-Authorization") for asked in connect_proxy.requests] == [f"Basic {t}" for t in tokens]


async def test_haproxy_as_a_forward_proxy(haproxy: Haproxy, nginx: Nginx, client_ctx: ssl.SSLContext) -> None:
    """It passes a request in absolute form on to its server."""
    async with client_of(f"http://127.0.0.1:{haproxy.http_port}", client_ctx) as client:
        for path, size in (("/1k", 1024), ("/chunked", 65_536), ("/big", nginx.big)):
            response = await client.get(f"http://origin.example{path}")
            assert response.headers["Via"] == "1.1 haproxy"
            assert len(response.content) == size
        assert client.stats().opened_total == 1


# --- whom to trust ----------------------------------------------------------------------------------------------------


async def test_authorities_of_the_client_are_those_of_its_proxies_too(
    secure_proxy: ConnectProxy, https_server: OriginServer, http_server: OriginServer, ca_file: Path
) -> None:
    url = f"https://localhost:{secure_proxy.port}"
    async with Client(proxy=url, verify=ca_file, trust_env=False, timeout=10) as client:
        for server in (https_server, http_server):
            assert (await client.get(server.url)).text == "hello"
    # What is said of origins is not said of the proxy: not that nothing is verified, nor a context.
    for verify in (False, ssl_context(ca_file)):
        async with Client(proxy=url, verify=verify, trust_env=False, timeout=10) as client:
            with pytest.raises(ProxyError, match=r"pass Proxy\(url, context=.*\) with the CA to trust, or its file as"):
                await client.get(https_server.url)


async def test_a_certificate_of_the_client_is_not_shown_to_the_proxy(
    server_ctx: ssl.SSLContext, ca: trustme.CA, ca_file: Path, http_server: OriginServer
) -> None:
    asking = server_context(ca)
    asking.verify_mode = ssl.CERT_OPTIONAL
    ca.configure_trust(asking)
    leaf = ca.issue_cert("me@example.org")
    shown: list[Any] = []

    class Asks(ConnectProxy):
        async def play(self, conn: Any) -> None:
            shown.append(conn.writer.get_extra_info("peercert"))
            await super().play(conn)

    async with Asks(tls=asking) as proxy:
        cert = leaf.private_key_and_cert_chain_pem.bytes()
        url = f"https://localhost:{proxy.port}"
        async with Client(proxy=url, verify=ca_file, cert=cert, trust_env=False, timeout=10) as client:
            assert (await client.get(http_server.url)).text == "hello"
    assert not any(shown)


async def test_the_environment_is_passed_over_for_the_proxy_too(
    secure_proxy: ConnectProxy, https_server: OriginServer, ca_file: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """Also by what is set after the client was made."""
    url = f"https://localhost:{secure_proxy.port}"
    async with (
        Client(proxy=url, trust_env=False, timeout=10) as client,
        Client(proxy=None, trust_env=False, timeout=10) as direct,
        Client(proxy=url, timeout=10) as trusting,
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
        with pytest.raises(ProxyError, match="certificate"):
            await client.get(https_server.url)
        with pytest.raises(TLSError, match="certificate"):
            await direct.get(https_server.url)
        assert not (tmp_path / "keys").exists()
        assert (await trusting.get(https_server.url)).text == "hello"


async def test_the_oldest_version_holds_for_the_proxy_too(ca: trustme.CA, ca_file: Path) -> None:
    context = server_context(ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    options = TLSOptions(minimum_version=ssl.TLSVersion.TLSv1_3)
    async with ConnectProxy(tls=context) as proxy:
        url = f"https://localhost:{proxy.port}"
        async with Client(proxy=url, verify=ca_file, tls=options, trust_env=False, timeout=10) as client:
            with pytest.raises(ProxyError, match="no TLS with the proxy"):
                await client.get("https://one.example/")


async def test_what_is_wrong_with_a_proxys_name_and_port(
    wrong_host_ctx: ssl.SSLContext, ca_file: Path, raw_server: Any
) -> None:
    async with ConnectProxy(tls=wrong_host_ctx) as proxy:
        url = f"https://localhost:{proxy.port}"
        async with Client(proxy=url, verify=ca_file, trust_env=False, timeout=10) as client:
            with pytest.raises(ProxyError, match=r"Proxy\(url, context=…\) one with check_hostname") as caught:
                await client.get("https://one.example/")
            assert "server_hostname" not in str(caught.value)
    server = await raw_server([Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Hold()])
    url = f"https://localhost:{server.port}"
    async with Client(proxy=url, verify=ca_file, trust_env=False, timeout=10) as client:
        with pytest.raises(ProxyError, match="give the proxy as http://"):
            await client.get("https://one.example/")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("tunnelled", [True, False], ids=["tunnel", "forwarded"])
async def test_sessions_with_the_proxy_are_resumed(
    version: ssl.TLSVersion,
    tunnelled: bool,
    ca: trustme.CA,
    ca_file: Path,
    http_server: OriginServer,
    https_server: OriginServer,
) -> None:
    server = https_server if tunnelled else http_server
    context = server_context(ca)
    context.maximum_version = version
    resumed: list[bool] = []

    class Counts(ConnectProxy):
        async def play(self, conn: Any) -> None:
            resumed.append(conn.writer.get_extra_info("ssl_object").session_reused)
            await super().play(conn)

    async with Counts(tls=context) as proxy:
        url = f"https://localhost:{proxy.port}"
        limits = Limits(max_idle=0)
        async with Client(proxy=url, verify=ca_file, limits=limits, trust_env=False, timeout=10) as client:
            for _ in range(3):
                assert (await client.get(server.url)).text == "hello"
    assert resumed == [False, True, True]
