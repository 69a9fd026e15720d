"""Against real servers and proxies: nginx over HTTP, HTTPS and a Unix domain socket; squid and proxy.py."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    AsyncHTTPConnection,
    AsyncHTTPSConnection,
    Client,
    Limits,
    ProxyError,
    ReadTimeout,
    Timeout,
    TLSError,
    TooManyRedirects,
    TotalTimeout,
)
from tests.auditing import audit_quiet, settle
from tests.bodies import endless
from tests.servers.nginx import REDIRECTS, STATUSES, document
from tests.servers.origin import pattern

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.servers.nginx import Nginx
    from tests.servers.squid import Proxy

pytestmark = pytest.mark.interop
SCHEMES = ["http", "https"]


@pytest.fixture
async def client(ca_file: Path) -> AsyncIterator[Client]:
    """A client that trusts the test authority by the path of its certificate."""
    async with Client(verify=str(ca_file), trust_env=False, timeout=30) as client:
        yield client
        await settle()
        audit_quiet(client.pool)  # type: ignore[arg-type]


def origin(nginx: Nginx, scheme: str) -> str:
    return nginx.https if scheme == "https" else nginx.http


# --- nginx ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_pages_of_every_framing(scheme: str, nginx: Nginx, client: Client) -> None:
    base = origin(nginx, scheme)
    assert (await client.get(f"{base}/1k")).content == pattern(1024)
    chunked = await client.get(f"{base}/chunked")
    assert chunked.headers["Transfer-Encoding"] == "chunked"
    assert chunked.content == b"x" * 65536
    assert (await client.get(f"{base}/json")).json()[13]["name"] == "item 13"
    head = await client.head(f"{base}/big")
    assert (head.headers["Content-Length"], head.content) == (str(nginx.big), b"")
    assert (await client.get(f"{base}/target?a=%2f%7e&b=ä")).text == "/target?a=%2f%7e&b=%C3%A4"
    assert client.stats().opened_total == 1


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_gzip_is_asked_for_and_undone(scheme: str, nginx: Nginx, client: Client) -> None:
    response = await client.get(f"{origin(nginx, scheme)}/gzip")
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.content == document()
    async with client.stream("GET", f"{origin(nginx, scheme)}/gzip") as streamed:
        assert b"".join([piece async for piece in streamed.iter_bytes()]) == document()
    plain = await client.get(f"{origin(nginx, scheme)}/gzip", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.content == document()


@pytest.mark.parametrize("status", STATUSES)
async def test_statuses(status: int, nginx: Nginx, client: Client) -> None:
    response = await client.get(f"{nginx.http}/echo-status/{status}")
    assert response.status == status
    assert response.is_error is (status >= 400)
    assert (await client.get(f"{nginx.http}/1k")).status == 200, "the connection goes on after it"


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_redirects(scheme: str, status: int, nginx: Nginx, client: Client) -> None:
    response = await client.get(f"{origin(nginx, scheme)}/redirect/{status}")
    assert response.content == pattern(1024)
    assert [past.status for past in response.history] == [status]
    assert client.stats().opened_total == 1


async def test_absolute_redirects_and_loops(nginx: Nginx, client: Client) -> None:
    for base in (nginx.http, nginx.https):
        assert (await client.get(f"{base}/redirect/absolute")).url == f"{base}/1k"
        with pytest.raises(TooManyRedirects) as caught:
            await client.get(f"{base}/redirect/loop")
        assert len(caught.value.history) == 21


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_uploads_of_every_kind(scheme: str, nginx: Nginx, client: Client, tmp_path: Path) -> None:
    url = f"{origin(nginx, scheme)}/upload"

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    (tmp_path / "file").write_bytes(b"x" * 1_000_000)
    with open(tmp_path / "file", "rb") as file:
        contents: list[Any] = [b"x" * 1_000_000, pieces(), iter([b"x" * 500_000] * 2), file]
        for content in contents:
            assert (await client.post(url, content=content)).text == "1000000"
    assert (await client.post(url, content=b"")).text in ("", "0")
    assert (await client.post(url, content=b"abc", headers={"Expect": "100-continue"})).text == "3"
    assert client.stats().opened_total == 1


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_an_upload_that_is_refused_half_way(scheme: str, nginx: Nginx, client: Client) -> None:
    url = f"{origin(nginx, scheme)}/413"
    assert (await client.post(url, content=b"x" * 1000)).text == "1000"
    for content in (b"x" * (32 << 20), endless()):
        response = await client.post(url, content=content)
        assert response.status == 413
        assert b"413" in response.content
    assert (await client.post(url, content=b"x" * 5000, headers={"Expect": "100-continue"})).status == 413


async def test_connections_that_the_server_closes(nginx: Nginx, client: Client) -> None:
    for _ in range(3):
        response = await client.get(f"{nginx.http}/close")
        assert (response.headers["Connection"], len(response.content)) == ("close", 1024)
    assert client.stats().opened_total == 3
    assert client.stats().open == 0


async def test_keep_alive_is_what_the_server_sees(nginx: Nginx, client: Client) -> None:
    answers = [(await client.get(f"{nginx.https}/connection")).text.split() for _ in range(5)]
    assert len({serial for serial, _ in answers}) == 1
    assert [int(number) for _, number in answers] == [1, 2, 3, 4, 5]


async def test_a_slow_server_meets_its_deadline(nginx: Nginx, client: Client) -> None:
    async with client.stream("GET", f"{nginx.http}/slow") as response:
        assert len(await anext(response.iter_bytes())) > 0
    with pytest.raises(TotalTimeout):
        await client.get(f"{nginx.http}/slow", timeout=Timeout(total=0.2))
    with pytest.raises((ReadTimeout, TotalTimeout)):
        await client.get(f"{nginx.https}/slow", timeout=Timeout(read=0.15, total=3))
    assert client.stats().open == 0


async def test_over_a_unix_domain_socket(nginx: Nginx) -> None:
    async with Client("http://localhost", uds=nginx.uds, trust_env=False) as client:
        assert (await client.get("/1k")).content == pattern(1024)
        assert (await client.post("/upload", content=b"abc")).text == "3"
        assert (await client.get("/redirect/302")).content == pattern(1024)
        assert client.stats().opened_total == 1


async def test_who_does_not_know_the_authority_refuses(nginx: Nginx, untrusted_ctx: ssl.SSLContext) -> None:
    async with Client(trust_env=False) as client:
        with pytest.raises(TLSError, match="localhost"):
            await client.get(f"{nginx.https}/1k")
    async with Client(trust_env=False, verify=False) as client:
        assert (await client.get(f"{nginx.https}/1k")).status == 200


async def test_the_connection_level(nginx: Nginx, client_ctx: ssl.SSLContext) -> None:
    plain = AsyncHTTPConnection("127.0.0.1", nginx.http_port)
    secure = AsyncHTTPSConnection("localhost", nginx.https_port, context=client_ctx)
    for connection in (plain, secure):
        async with connection:
            for number in (1, 2, 3):
                await connection.request("GET", "/connection")
                response = await connection.getresponse()
                assert (await response.read()).split()[1] == str(number).encode()


async def test_200_at_once_with_the_reuse_counted(nginx: Nginx, ca_file: Path) -> None:
    limits = Limits(max_connections=20)
    for base in (nginx.http, nginx.https):
        async with Client(verify=str(ca_file), trust_env=False, limits=limits) as client:
            responses = await asyncio.gather(*(client.get(f"{base}/1k?{n}") for n in range(200)))
            assert {(response.status, response.content) for response in responses} == {(200, pattern(1024))}
            stats = client.stats()
            assert stats.opened_total <= 20
            assert stats.opened_total + stats.reused_total == 200
            audit_quiet(client.pool)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_eight_streams_of_32_mib_at_once(scheme: str, nginx: Nginx, client: Client) -> None:
    expected = hashlib.sha256(pattern(nginx.big)).digest()

    async def download() -> bytes:
        digest = hashlib.sha256()
        async with client.stream("GET", f"{origin(nginx, scheme)}/big") as response:
            async for piece in response.iter_bytes():
                digest.update(piece)
        return digest.digest()

    assert set(await asyncio.gather(*(download() for _ in range(8)))) == {expected}
    assert client.stats().opened_total == 8
    assert client.stats().idle == 8


# --- proxies ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["squid", "proxypy"])
def open_proxy(request: pytest.FixtureRequest) -> Proxy:
    """A proxy that is open to all."""
    proxy: Proxy = request.getfixturevalue(request.param)
    return proxy


@pytest.fixture(params=["squid_auth", "proxypy_auth"])
def closed_proxy(request: pytest.FixtureRequest) -> Proxy:
    """A proxy that wants credentials."""
    proxy: Proxy = request.getfixturevalue(request.param)
    return proxy


async def use(proxy_url: str, nginx: Nginx, ca_file: Path, scheme: str) -> None:
    """The usual requests, through a proxy."""
    base = origin(nginx, scheme)
    async with Client(proxy=proxy_url, verify=str(ca_file), trust_env=False, timeout=30) as client:
        assert (await client.get(f"{base}/1k")).content == pattern(1024)
        assert (await client.get(f"{base}/target?a=%2f%7e")).text == "/target?a=%2f%7e"
        assert (await client.get(f"{base}/gzip")).content == document()
        assert (await client.get(f"{base}/chunked")).content == b"x" * 65536
        assert (await client.get(f"{base}/redirect/302")).content == pattern(1024)
        assert (await client.put(f"{base}/upload", content=b"x" * 200_000)).text == "200000"
        assert (await client.get(f"{base}/echo-status/404")).status == 404
        async with client.stream("GET", f"{base}/big") as response:
            size = 0
            async for piece in response.iter_bytes():
                size += len(piece)
                if size > 2 << 20:
                    break
        responses = await asyncio.gather(*(client.get(f"{base}/1k?{n}") for n in range(20)))
        assert {response.content for response in responses} == {pattern(1024)}
        await settle()
        audit_quiet(client.pool)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_through_an_open_proxy(scheme: str, open_proxy: Proxy, nginx: Nginx, ca_file: Path) -> None:
    await use(open_proxy.url, nginx, ca_file, scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_through_a_proxy_with_credentials(scheme: str, closed_proxy: Proxy, nginx: Nginx, ca_file: Path) -> None:
    await use(closed_proxy.url, nginx, ca_file, scheme)


async def test_a_tunnel_is_used_again(open_proxy: Proxy, nginx: Nginx, ca_file: Path) -> None:
    async with Client(proxy=open_proxy.url, verify=str(ca_file), trust_env=False) as client:
        answers = [(await client.get(f"{nginx.https}/connection")).text.split() for _ in range(4)]
        assert [int(number) for _, number in answers] == [1, 2, 3, 4]
        assert client.stats().opened_total == 1


@pytest.mark.parametrize("userinfo", ["", "ada:wrong@"])
async def test_a_proxy_without_the_right_credentials_refuses(
    userinfo: str, closed_proxy: Proxy, nginx: Nginx, ca_file: Path
) -> None:
    proxy = f"http://{userinfo}{closed_proxy.host}:{closed_proxy.port}"
    async with Client(proxy=proxy, verify=str(ca_file), trust_env=False) as client:
        assert (await client.get(f"{nginx.http}/1k")).status == 407
        with pytest.raises(ProxyError) as caught:
            await client.get(f"{nginx.https}/1k")
        assert caught.value.status == 407
        assert "wrong" not in str(caught.value)
        assert client.stats().in_use == 0


async def test_a_proxy_that_cannot_reach_the_origin(open_proxy: Proxy, client: Client) -> None:
    with pytest.raises(ProxyError) as caught:
        await client.get("https://127.0.0.1:1/", proxy=open_proxy.url)
    assert caught.value.status is None or caught.value.status >= 500
    assert client.stats().open == 0


async def test_the_connection_level_through_a_tunnel(
    open_proxy: Proxy, nginx: Nginx, client_ctx: ssl.SSLContext
) -> None:
    connection = AsyncHTTPSConnection(open_proxy.host, open_proxy.port, context=client_ctx)
    connection.set_tunnel("localhost", nginx.https_port)
    async with connection:
        for _ in range(2):
            await connection.request("GET", "/1k")
            response = await connection.getresponse()
            assert await response.read() == pattern(1024)


async def test_through_a_proxy_named_by_the_environment(
    open_proxy: Proxy, nginx: Nginx, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("all_proxy", open_proxy.url)
    async with Client(verify=str(ca_file)) as client:
        through = (await client.get(f"{nginx.http}/1k")).headers
        assert (await client.get(f"{nginx.https}/1k")).status == 200
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    async with Client(verify=str(ca_file)) as client:
        past = (await client.get(f"{nginx.http}/1k")).headers
    assert "Via" in through or "squid" not in open_proxy.url
    assert "Via" not in past
