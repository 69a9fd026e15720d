"""SOCKS proxies, through the client: against Dante, and against a script for what Dante does not do."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import AddressBlocked, AddressPolicy, Client, InvalidURL, Proxy, ProxyError, ResolveError
from tests.auditing import audit_quiet
from tests.servers.danted import FORBIDDEN, NAME
from tests.servers.origin import pattern

if TYPE_CHECKING:
    from tests.servers.nginx import Nginx
    from tests.servers.squid import Proxy as Program

KINDS = ["socks4", "socks4a", "socks5", "socks5h"]


class Nobody:
    """A resolver that knows no name, and notes who asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> Any:
        self.asked.append(host)
        raise OSError("nobody is to ask")


def client_of(url: str | None, context: ssl.SSLContext, **options: Any) -> Client:
    return Client(proxy=url, verify=context, trust_env=False, timeout=10, **options)


@pytest.mark.parametrize(
    ("url", "origin", "credentials"),
    [
        ("socks5h://a:b@H.example", ("socks5h", "h.example", 1080), ("a", "b")),
        ("SOCKS5://[::1]:80", ("socks5", "::1", 80), None),
        ("socks4a://u@h:1081/", ("socks4a", "h", 1081), ("u", "")),
        ("socks4://1.2.3.4:80/", ("socks4", "1.2.3.4", 80), None),
        ("socks5://x:80@h/", ("socks5", "h", 1080), ("x", "80")),
    ],
)
def test_the_url_of_a_socks_proxy(url: str, origin: Any, credentials: Any) -> None:
    proxy = Proxy.of(url)
    assert proxy is not None
    assert (proxy.origin, proxy.credentials) == (origin, credentials)
    assert proxy == Proxy.of(url)
    assert hash(proxy) == hash(Proxy.of(url))
    assert "80@" not in repr(proxy)
    assert ("with credentials" in repr(proxy)) == (credentials is not None)


@pytest.mark.parametrize("kind", KINDS)
async def test_dante_carries_http_and_https(
    kind: str, danted: Program, nginx: Nginx, client_ctx: ssl.SSLContext
) -> None:
    url = danted.url.replace("socks5", kind)
    async with client_of(url, client_ctx) as client:
        for _ in range(2):
            # By address: Dante looks names up for SOCKS 5 only.
            for origin in (nginx.http, f"https://127.0.0.1:{nginx.https_port}"):
                response = await client.get(f"{origin}/1k")
                assert response.content == pattern(1024)
                assert f"through the proxy {url}" in response.explain()
        # One tunnel an origin, used again.
        assert client.stats().opened_total == 2
        audit_quiet(client.pool)  # type: ignore[arg-type]
        # The request is as it would be without: no absolute form, no field of a proxy's.
        assert (await client.get(f"{nginx.http}/1k", proxy=None)).headers["Server"] == response.headers["Server"]


async def test_names_are_left_to_the_proxy(danted_auth: Program, nginx: Nginx, client_ctx: ssl.SSLContext) -> None:
    nobody = Nobody()
    url = danted_auth.url.replace("socks5", "socks5h")
    async with client_of(url, client_ctx, resolver=nobody) as client:
        assert (await client.get(f"http://{NAME}:{nginx.http_port}/1k")).content == pattern(1024)
        with pytest.raises(ProxyError, match=r"did not connect to no\.such\.name\.invalid:80") as caught:
            await client.get("http://no.such.name.invalid/")
        assert caught.value.request.url.host == "no.such.name.invalid"
    assert nobody.asked == []


@pytest.mark.parametrize("kind", ["socks4", "socks5"])
async def test_names_are_looked_up_here(kind: str, danted: Program, nginx: Nginx, client_ctx: ssl.SSLContext) -> None:
    """By the client's own resolver, addresses given by hand included."""
    url = danted.url.replace("socks5", kind)
    async with client_of(url, client_ctx, resolver=Nobody(), resolve={"by-hand.example": "127.0.0.1"}) as client:
        assert (await client.get(f"http://by-hand.example:{nginx.http_port}/1k")).content == pattern(1024)
        with pytest.raises(ResolveError, match="unknown"):
            await client.get("http://unknown.example/")


async def test_refusals_say_why(
    danted: Program, danted_auth: Program, nginx: Nginx, client_ctx: ssl.SSLContext
) -> None:
    for url, target, why in (
        (danted_auth.bare_url, nginx.http, "wants credentials"),
        (danted_auth.bare_url.replace("//", "//ada:wrong@"), nginx.http, "it refused the user and password"),
        (danted.url, f"http://{FORBIDDEN}:{nginx.http_port}/", "not allowed by its rules"),
    ):
        async with client_of(url, client_ctx) as client:
            with pytest.raises(ProxyError, match=why) as caught:
                await client.get(target)
            assert "wrong" not in str(caught.value)
            assert f"proxy {url.rpartition('@')[2].removeprefix('socks5://')} did not" in str(caught.value)
            assert client.stats().open == 0


async def test_credentials_that_it_cannot_carry_are_the_callers_mistake(
    danted: Program, client_ctx: ssl.SSLContext
) -> None:
    async with client_of(danted.url.replace("//", f"//{'x' * 256}:y@"), client_ctx) as client:
        with pytest.raises(InvalidURL) as caught:
            await client.get("http://127.0.0.1/")
        assert "xxx" not in str(caught.value)


async def test_a_policy_holds_for_the_target_too(danted: Program, nginx: Nginx, client_ctx: ssl.SSLContext) -> None:
    policy = AddressPolicy.public_only(allow=[f"127.0.0.1:{danted.port}"])
    by_hand = {"inner.example": "127.0.0.1"}
    async with client_of(danted.url, client_ctx, addresses=policy, resolve=by_hand) as client:
        for url in (nginx.http, f"http://inner.example:{nginx.http_port}/"):
            with pytest.raises(AddressBlocked, match="is not public"):
                await client.get(url)
    permitting = AddressPolicy.public_only(allow=[f"127.0.0.1:{danted.port}", "inner.example"])
    async with client_of(danted.url, client_ctx, addresses=permitting, resolve=by_hand) as client:
        assert (await client.get(f"http://inner.example:{nginx.http_port}/1k")).content == pattern(1024)
