"""Requests in the clear that a proxy forwards: over which connection each goes, and what is said when one fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import BadStatusLine, Client, ConnectTimeout, Proxy, ProxyError, ReadTimeout, RemoteDisconnected
from tests.auditing import audit_quiet
from tests.servers.origin import OriginServer
from tests.servers.program import free_port
from tests.servers.raw import Hold, Request, Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers.squid import Proxy as Program

StartRaw = Any
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def other_server() -> AsyncIterator[OriginServer]:
    async with OriginServer() as server:
        yield server


@pytest.mark.interop
@pytest.mark.parametrize("program", ["proxypy", "squid"])
async def test_each_origin_gets_its_own_requests(
    program: str, request: pytest.FixtureRequest, http_server: OriginServer, other_server: OriginServer
) -> None:
    """proxy.py passes all that comes on a connection on to the origin of the first request."""
    proxy: Program = request.getfixturevalue(program)
    async with Client(proxy=proxy.url, timeout=10) as client:
        for number in range(3):
            for server, secret in ((http_server, "one"), (other_server, "two")):
                url = f"{server.url}/request?{number}"
                answer = (await client.get(url, headers={"Authorization": secret})).json()
                assert answer["target"].endswith(f"/request?{number}")
        audit_quiet(client.pool)  # type: ignore[arg-type]
        assert client.stats().opened_total == 2  # and each is used again
    for server, secret in ((http_server, "one"), (other_server, "two")):
        assert len(server.requests) == 3
        assert {asked.get("Authorization") for asked in server.requests} == {secret}


async def test_what_fails_says_through_which_proxy(raw_server: StartRaw) -> None:
    dead = f"127.0.0.1:{free_port()}"
    async with Client(proxy=f"http://{dead}") as client:
        with pytest.raises(ProxyError, match=rf"\[connecting to x\.example:80 through proxy {dead}\]"):
            await client.get("http://x.example/")
    scripts: list[tuple[Any, type[Exception]]] = [
        ([Request()], RemoteDisconnected),
        ([Request(), Send(b"SSH-2.0-OpenSSH_9\r\n\r\n")], BadStatusLine),
        ([Request(), Hold()], ReadTimeout),
    ]
    server = await raw_server(*[script for script, _ in scripts])
    async with Client(proxy=server.url, timeout=0.1) as client:
        for _, error in scripts:
            with pytest.raises(error, match=rf"GET http://x\.example/ through proxy 127\.0\.0\.1:{server.port}\]"):
                await client.get("http://x.example/")


async def test_a_proxy_that_cannot_be_connected_in_time_is_named(raw_server: StartRaw) -> None:
    server = await raw_server([Hold()])
    proxy = Proxy(f"https://127.0.0.1:{server.port}")
    async with Client(proxy=proxy, timeout=0.1) as client:
        with pytest.raises(ConnectTimeout, match=rf"x\.example:80 through proxy 127\.0\.0\.1:{server.port}"):
            await client.get("http://x.example/")
        with pytest.raises(ConnectTimeout, match=rf"x\.example:443 through proxy 127\.0\.0\.1:{server.port}"):
            await client.get("https://x.example/")


@pytest.mark.parametrize(
    ("userinfo", "says"),
    [("", r"407 .* \(it wants Basic; no credentials were sent: give them in"), ("a:b@", "credentials that were sent")],
)
async def test_a_refusal_of_credentials_says_what_to_do(userinfo: str, says: str, squid_auth: Program) -> None:
    async with Client(proxy=f"http://{userinfo}127.0.0.1:{squid_auth.port}", timeout=10) as client:
        with pytest.raises(ProxyError, match=says) as caught:
            await client.get("https://x.example/")
    assert caught.value.status == 407
