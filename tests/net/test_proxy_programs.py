"""Real programs on the way: an HTTPS proxy (TLS in TLS), squid with digest authentication, HAProxy in between."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import AsyncHTTPConnection, AsyncHTTPSConnection, ProxyError, TLSError
from aiohttpconn.net.dial import open_stream, open_tunnel
from tests.servers.origin import pattern

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from aiohttpconn.net.stream import Stream
    from tests.servers.haproxy import Haproxy
    from tests.servers.nginx import Nginx
    from tests.servers.squid import Proxy

pytestmark = pytest.mark.interop


@contextlib.asynccontextmanager
async def secured(proxy: Proxy, context: ssl.SSLContext) -> AsyncIterator[Stream]:
    """A stream over TLS to the proxy."""
    stream = await open_stream(proxy.host, proxy.port)
    try:
        await stream.start_tls(context, proxy.host)
        yield stream
    finally:
        stream.abort()


def credentials(proxy: Proxy) -> bytes:
    return b"Proxy-Authorization: Basic %b\r\n" % b64encode(f"{proxy.user}:{proxy.password}".encode())


async def test_tls_in_tls_through_an_https_proxy(https_proxy: Proxy, nginx: Nginx, client_ctx: ssl.SSLContext) -> None:
    async with secured(https_proxy, client_ctx) as stream:
        await open_tunnel(stream, f"localhost:{nginx.https_port}", credentials(https_proxy))
        await stream.start_tls(client_ctx, "localhost")
        stream.writer.write(b"GET /big HTTP/1.0\r\nHost: localhost\r\n\r\n")
        head, _, body = (await stream.reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == pattern(nginx.big)


async def test_an_https_proxy_refuses_who_has_no_credentials(
    https_proxy: Proxy, nginx: Nginx, client_ctx: ssl.SSLContext
) -> None:
    async with secured(https_proxy, client_ctx) as stream:
        with pytest.raises(ProxyError) as caught:
            await open_tunnel(stream, f"localhost:{nginx.https_port}")
    assert caught.value.status == 407


async def test_an_https_proxy_whose_certificate_nobody_vouches_for(https_proxy: Proxy) -> None:
    from aiohttpconn.net.tls import ssl_context

    with pytest.raises(TLSError, match=https_proxy.host):
        async with secured(https_proxy, ssl_context()):
            pass


async def test_squid_challenges_by_digest(squid_digest: Proxy, nginx: Nginx) -> None:
    stream = await open_stream(squid_digest.host, squid_digest.port)
    try:
        with pytest.raises(ProxyError) as caught:
            await open_tunnel(stream, f"localhost:{nginx.https_port}", credentials(squid_digest))
    finally:
        stream.abort()
    assert caught.value.status == 407
    challenge = caught.value.headers["Proxy-Authenticate"]
    assert challenge.startswith("Digest ")
    assert 'realm="test"' in challenge


async def test_through_haproxy_byte_for_byte(haproxy: Haproxy, client_ctx: ssl.SSLContext) -> None:
    secure = AsyncHTTPSConnection("localhost", haproxy.tls_port, context=client_ctx)
    for conn in (AsyncHTTPConnection("127.0.0.1", haproxy.tcp_port), secure):
        async with conn:
            for _ in range(2):
                await conn.request("GET", "/1k")
                response = await conn.getresponse()
                assert response.getheader("Via") is None
                assert await response.read() == pattern(1024)


async def test_through_haproxy_message_for_message(haproxy: Haproxy, nginx: Nginx) -> None:
    async with AsyncHTTPConnection("127.0.0.1", haproxy.http_port) as conn:
        for target, size in (("/1k", 1024), ("/chunked", 65_536), ("/big", nginx.big)):
            await conn.request("GET", target)
            response = await conn.getresponse()
            assert response.getheader("Via") == "1.1 haproxy"
            assert len(await response.read()) == size
