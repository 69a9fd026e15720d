"""A proxy chosen for each request: by a function, or by a pool of proxies."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    URL,
    AddressBlocked,
    BadStatusLine,
    Client,
    ConnectTimeout,
    InvalidURL,
    Proxy,
    ProxyError,
    ProxyPool,
    ReadTimeout,
    RemoteDisconnected,
    RequestTimeout,
    ResolveError,
    Timeout,
    TLSError,
)
from aiohttpconn.client.proxies import blames_proxy
from aiohttpconn.wire.socks import SocksInexpressible, SocksRefused
from tests.servers.danted import FORBIDDEN
from tests.servers.origin import OriginServer
from tests.servers.program import free_port
from tests.servers.proxy import ConnectProxy
from tests.servers.raw import Hold, Send
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from tests.servers.nginx import Nginx
    from tests.servers.squid import Proxy as Program

StartRaw = Any
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
A, B, C = "http://a.example", "http://b.example", "http://c.example"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def turns(pool: ProxyPool, number: int, url: str = "http://x.example/") -> str:
    return "".join([pool(url).origin.host[0] for _ in range(number)])


def proxy(url: str) -> Proxy:
    found = Proxy.of(url)
    assert found is not None
    return found


@pytest.fixture
async def other_proxy() -> AsyncIterator[ConnectProxy]:
    async with ConnectProxy() as server:
        yield server


# --- the order --------------------------------------------------------------------------------------------------------


def test_they_take_turns(clock: Clock) -> None:
    assert turns(ProxyPool([A, B, C], clock=clock), 7) == "abcabca"
    assert turns(ProxyPool([A, Proxy(B), A], clock=clock), 6) == "abaaba"
    assert len(ProxyPool([A, B, A])) == 2
    assert repr(ProxyPool([A])) == "<ProxyPool 1 proxies, 0 of them failed>"


def test_one_that_failed_is_left_out_and_tried_again(clock: Clock) -> None:
    pool = ProxyPool([A, B, C], probe_after=30, probe_most=100, clock=clock)
    pool.failed(proxy(B))
    pool.failed(proxy(B))  # one of many that were under way together
    assert [(state.failures, state.avoided) for state in pool.states()] == [(0, 0), (1, 30), (0, 0)]
    assert turns(pool, 5) == "acaca"
    clock.now += 30
    assert turns(pool, 6).count("b") == 1  # one tries it; the others do without until it is known
    pool.failed(proxy(B))
    assert pool.states()[1][1:] == (2, 60)
    clock.now += 59
    assert "b" not in turns(pool, 6)
    clock.now += 1
    assert "b" in turns(pool, 3)
    pool.worked(proxy(B))
    assert pool.states()[1][1:] == (0, 0)
    assert turns(pool, 6).count("b") == 2
    for _ in range(9):  # it doubles, up to its bound
        pool.failed(proxy(B))
        clock.now += 100
        assert "b" in turns(pool, 3)
    pool.failed(proxy(B))
    assert pool.states()[1].avoided == 100


def test_a_probe_that_nobody_heard_of_again_is_made_once_more(clock: Clock) -> None:
    pool = ProxyPool([A, B], clock=clock)
    pool.failed(proxy(B))
    clock.now += 30
    assert turns(pool, 4).count("b") == 1  # say it was cancelled
    clock.now += 30
    assert turns(pool, 4).count("b") == 1


def test_when_all_failed_the_least_bad_is_tried(clock: Clock) -> None:
    pool = ProxyPool([A, B, C], clock=clock)
    for url in (A, B, C):
        pool.failed(proxy(url))
        clock.now += 1
    assert turns(pool, 1) == "a"
    pool.failed(proxy(A))
    assert turns(pool, 1) == "b"
    pool.failed(proxy(B))
    assert turns(pool, 1) == "c"
    pool.worked(proxy(C))
    assert turns(pool, 3) == "ccc"


def test_a_host_stays_with_its_proxy_as_long_as_that_works(clock: Clock) -> None:
    pool = ProxyPool([A, B, C], sticky="host", clock=clock)
    hosts = [f"http://host{number}.example/" for number in range(6)]
    first = [turns(pool, 1, url) for url in hosts]
    assert "".join(first) == "abcabc"
    assert [turns(pool, 1, url.upper() + "x?y") for url in hosts] == first
    assert pool(URL("https://host0.example:444/")) == proxy(A)
    pool.failed(proxy(A))
    moved = [turns(pool, 3, url) for url in hosts]
    assert [where[0] for where in moved[1:3]] == ["b", "c"]
    assert set("".join(moved)) == {"b", "c"}
    pool.worked(proxy(A))
    assert [turns(pool, 1, url) for url in hosts] == [where[0] for where in moved]  # it does not move back


def test_the_hosts_remembered_are_bounded() -> None:
    pool = ProxyPool([A, B], sticky="host")
    for number in range(10_050):
        pool(URL(f"http://h{number}.example/"))
    assert len(pool._hosts) == 10_000


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: ProxyPool([]), ValueError),
        (lambda: ProxyPool(A), TypeError),
        (lambda: ProxyPool(["ftp://a"]), InvalidURL),
        (lambda: ProxyPool([A], sticky="origin"), ValueError),  # type: ignore[arg-type]
        (lambda: ProxyPool([A], probe_after=0), ValueError),
        (lambda: ProxyPool([A], probe_after=5, probe_most=4), ValueError),
    ],
)
def test_what_is_no_pool_says_so(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


def test_which_errors_blame_the_proxy() -> None:
    def caused(cause: BaseException) -> ProxyError:
        error = ProxyError("x")
        error.__cause__ = cause
        return error

    connected = ConnectTimeout("x")
    connected.connected = True
    blocked = AddressBlocked("x")
    blocked.of_proxy = True
    for error in (ProxyError("x"), caused(OSError()), caused(TLSError("x")), ConnectTimeout("x"), blocked):
        assert blames_proxy(error)
    for error in (
        ProxyError("x", status=502),
        caused(SocksRefused(5, "refused")),
        caused(SocksInexpressible("SOCKS 4 has no IPv6 addresses")),
        connected,
        AddressBlocked("x"),
        TLSError("x"),
        ResolveError("x"),
        ReadTimeout("x"),
        asyncio.CancelledError(),
    ):
        assert not blames_proxy(error)


# --- through the client -----------------------------------------------------------------------------------------------


async def test_a_function_chooses_for_each_request(
    connect_proxy: ConnectProxy, http_server: OriginServer, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    asked: list[str] = []

    def choose(url: URL) -> str | None:
        asked.append(str(url))
        return connect_proxy.url if url.scheme == "https" or "proxied" in url.path else None

    async with Client(proxy=choose, verify=client_ctx, timeout=10) as client:
        await client.get(f"{http_server.url}/")
        assert connect_proxy.requests == []
        url = f"{http_server.url}/redirect/302?{https_server.url}/"
        assert (await client.get(url)).text == "hello"  # each hop is asked for
        assert [request.method for request in connect_proxy.requests] == ["CONNECT"]
        await client.get(f"{http_server.url}/proxied", proxy=None)
        await client.get(f"{http_server.url}/", proxy=lambda url: Proxy(connect_proxy.url))
        assert [request.method for request in connect_proxy.requests] == ["CONNECT", "GET"]
    assert asked == [f"{http_server.url}/", url, f"{https_server.url}/"]


async def test_what_a_function_raises_the_request_raises(http_server: OriginServer) -> None:
    def fails(url: URL) -> None:
        raise LookupError(url.host)

    async with Client(proxy=fails) as client:
        with pytest.raises(LookupError):
            await client.get(http_server.url)
        with pytest.raises(InvalidURL):
            await client.get(http_server.url, proxy=lambda url: "no proxy")
        for wrong in (5, ProxyPool([A]), False):
            with pytest.raises(TypeError, match="a proxy must be a URL, a Proxy or None, not "):
                await client.get(http_server.url, proxy=lambda url, wrong=wrong: wrong)  # type: ignore[misc]
        with pytest.raises(TypeError, match="a proxy must be a URL, a Proxy or None, not bool"):
            await client.get(http_server.url, proxy=False)  # type: ignore[arg-type]
    assert http_server.connections == 0


async def test_a_function_that_is_to_be_awaited_is_refused(http_server: OriginServer) -> None:
    async def choose(url: URL) -> None: ...

    with pytest.raises(TypeError, match=r"proxy must be a function .* cannot be a coroutine function"):
        Client(proxy=choose)  # type: ignore[arg-type]
    async with Client(proxy=lambda url: choose(url)) as client:  # type: ignore[arg-type, return-value]
        with pytest.raises(TypeError, match="must return a proxy: it cannot be a coroutine function"):
            await client.get(http_server.url)


def test_none_is_no_proxy_of_a_pool() -> None:
    with pytest.raises(TypeError, match="None is no proxy"):
        ProxyPool([A, None])  # type: ignore[list-item]


async def test_what_was_not_sent_goes_through_the_next_proxy_by_any_method(
    connect_proxy: ConnectProxy,
    raw_server: StartRaw,
    http_server: OriginServer,
    https_server: OriginServer,
    client_ctx: ssl.SSLContext,
) -> None:
    for url in (http_server.url, https_server.url):
        pool = ProxyPool([f"http://127.0.0.1:{free_port()}", connect_proxy.url])
        async with Client(proxy=pool, verify=client_ctx, timeout=10, retries=2) as client:
            assert (await client.post(f"{url}/echo", content=b"once")).content == b"once"
    server = await raw_server([ReadRequest()])  # what was sent is not sent twice
    async with Client(proxy=server.url, timeout=10, retries=2) as client:
        with pytest.raises(RemoteDisconnected):
            await client.post(http_server.url, content=b"once")


async def test_rotation(
    connect_proxy: ConnectProxy,
    other_proxy: ConnectProxy,
    http_server: OriginServer,
    https_server: OriginServer,
    client_ctx: ssl.SSLContext,
) -> None:
    pool = ProxyPool([connect_proxy.url, other_proxy.url])
    async with Client(proxy=pool, verify=client_ctx, timeout=10) as client:
        for _ in range(4):
            assert (await client.get(https_server.url)).text == "hello"
        assert client.stats().opened_total == 2  # a tunnel through each, used again
        for _ in range(2):
            assert (await client.get(http_server.url)).text == "hello"
    assert (len(connect_proxy.tunnels), len(other_proxy.tunnels)) == (1, 1)
    assert (len(connect_proxy.forwarded), len(other_proxy.forwarded)) == (1, 1)


async def test_a_dead_proxy_is_left_out(
    connect_proxy: ConnectProxy, https_server: OriginServer, client_ctx: ssl.SSLContext, clock: Clock
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    pool = ProxyPool([dead, connect_proxy.url], clock=clock)
    async with Client(proxy=pool, verify=client_ctx, timeout=10) as client:
        with pytest.raises(ProxyError, match="cannot be reached"):
            await client.get(https_server.url)
        for _ in range(4):
            assert (await client.get(https_server.url)).text == "hello"
        assert [state.failures for state in pool.states()] == [1, 0]
        clock.now += 30
        outcomes = await asyncio.gather(*[client.get(https_server.url) for _ in range(4)], return_exceptions=True)
        assert [type(outcome) for outcome in outcomes].count(ProxyError) == 1
        assert pool.states()[0].failures == 2
    # With retries nobody notices.
    pool = ProxyPool([dead, connect_proxy.url])
    async with Client(proxy=pool, verify=client_ctx, timeout=10, retries=2) as client:
        assert (await client.get(https_server.url)).text == "hello"
        assert [state.failures for state in pool.states()] == [1, 0]


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9\r\n"])
async def test_one_that_says_nothing_that_makes_sense_is_dead(
    said: bytes, connect_proxy: ConnectProxy, client_ctx: ssl.SSLContext
) -> None:
    connect_proxy.answer = said
    pool = ProxyPool([connect_proxy.url])
    async with Client(proxy=pool, verify=client_ctx, timeout=10) as client:
        with pytest.raises(ProxyError):
            await client.get("https://one.example/")
    assert pool.states()[0].failures == 1


async def test_one_that_refuses_is_alive(
    danted: Program, connect_proxy: ConnectProxy, nginx: Nginx, client_ctx: ssl.SSLContext
) -> None:
    connect_proxy.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    socks4 = danted.url.replace("socks5", "socks4")
    pool = ProxyPool([danted.url, connect_proxy.url, socks4])
    async with Client(proxy=pool, verify=client_ctx, timeout=10) as client:
        for url in (f"http://{FORBIDDEN}:{nginx.http_port}/", "https://one.example/", "http://[::1]:1/"):
            with pytest.raises(ProxyError):
                await client.get(url)
    assert [state.failures for state in pool.states()] == [0, 0, 0]


async def test_an_error_of_the_target_is_not_the_proxys(connect_proxy: ConnectProxy, http_server: OriginServer) -> None:
    pool = ProxyPool([connect_proxy.url])
    async with Client(proxy=pool, timeout=10) as client:
        assert (await client.get(f"{http_server.url}/status/503")).status == 503
        with pytest.raises(ReadTimeout):
            await client.get(f"{http_server.url}/hold", timeout=0.2)
    assert pool.states()[0].failures == 0


SAYS_NO = [ReadRequest(), Send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")]
URLS = ["http://one.example/", "https://one.example/"]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    ("script", "limits"),
    [
        pytest.param([ReadRequest()], Timeout(), id="closes"),
        pytest.param([ReadRequest(), Send(b"SSH-2.0-OpenSSH_9\r\n\r\n")], Timeout(), id="speaks something else"),
        pytest.param([Hold()], Timeout(connect=0.05, read=0.05), id="says nothing"),
        pytest.param([Hold()], Timeout(total=0.05), id="says nothing until the end"),
    ],
)
async def test_one_that_accepts_and_does_nothing_is_dead(
    raw_server: StartRaw, url: str, script: Any, limits: Timeout
) -> None:
    server = await raw_server(*[script] * 2)
    pool = ProxyPool([server.url])
    async with Client(proxy=pool, timeout=limits) as client:
        with pytest.raises((ProxyError, BadStatusLine, RequestTimeout)):
            await client.get(url)
    assert pool.states()[0].failures == 1


async def test_a_socks_proxy_that_says_nothing_is_dead_and_one_whose_target_does_not(raw_server: StartRaw) -> None:
    """Once it has said how to authenticate, it is the target that takes long."""
    dead = await raw_server([Hold()])
    alive = await raw_server([Send(b"\x05\x00"), Hold()])
    pool = ProxyPool([f"socks5h://{dead.authority}", f"socks5h://{alive.authority}"])
    async with Client(proxy=pool, timeout=0.1) as client:
        for _ in range(2):
            with pytest.raises(ConnectTimeout):
                await client.get("http://one.example/")
    assert [state.failures for state in pool.states()] == [1, 0]


@pytest.mark.parametrize("url", URLS)
async def test_one_that_has_worked_is_dead_when_nothing_came_three_times_in_a_row(
    raw_server: StartRaw, url: str
) -> None:
    """It may be the target that says nothing."""
    silent = [ReadRequest(), Hold()]
    server = await raw_server(SAYS_NO, silent, silent, SAYS_NO, silent, silent, silent)
    pool = ProxyPool([server.url])
    failures = []
    async with Client(proxy=pool, timeout=10) as client:
        for seconds in (10, 0.2, 0.2, 10, 0.2, 0.2, 0.2):
            with contextlib.suppress(ProxyError, ConnectTimeout, ReadTimeout):
                timeout = Timeout(connect=seconds, read=seconds)
                assert (await client.get(url, timeout=timeout)).status == 403
            failures.append(pool.states()[0].failures)
    assert failures == [0, 0, 0, 0, 0, 0, 1]


async def test_what_breaks_on_a_connection_that_has_served_is_no_news_of_the_proxy(raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(OK), ReadRequest()])
    pool = ProxyPool([server.url])
    async with Client(proxy=pool, timeout=10) as client:
        assert (await client.get("http://one.example/")).text == "ok"
        with pytest.raises(RemoteDisconnected):
            await client.post("http://one.example/")
    assert pool.states()[0].failures == 0


async def test_nor_is_what_breaks_on_one_that_was_in_exclusive_use(raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(OK), ReadRequest()])
    pool = ProxyPool([server.url])
    async with Client(proxy=pool, timeout=10) as client:
        assert client.pool is not None
        async with client.pool.connection("http://one.example/") as conn:
            await conn.request("GET", "/")
            assert await (await conn.getresponse()).read() == b"ok"
        client.pool.audit()
        with pytest.raises(RemoteDisconnected):
            await client.post("http://one.example/")
    assert pool.states()[0].failures == 0


async def test_a_hedge_goes_through_another_proxy(raw_server: StartRaw) -> None:
    slow = await raw_server([ReadRequest(), Hold()])
    fast = await raw_server([ReadRequest(), Send(OK), Hold()])
    async with Client(proxy=ProxyPool([slow.url, fast.url]), hedge=0.05, timeout=10) as client:
        assert (await client.get("http://one.example/")).text == "ok"
    assert (len(slow.requests), len(fast.requests)) == (1, 1)


async def test_sticky_hosts_through_the_client(
    connect_proxy: ConnectProxy, other_proxy: ConnectProxy, http_server: OriginServer
) -> None:
    where = ("127.0.0.1", http_server.port)
    connect_proxy.hosts = other_proxy.hosts = {"one.example:80": where, "two.example:80": where}
    async with Client(proxy=ProxyPool([connect_proxy.url, other_proxy.url], sticky="host"), timeout=10) as client:
        for _ in range(2):
            await client.get("http://one.example/")
            await client.get("http://two.example/")
    assert connect_proxy.forwarded == ["http://one.example/"] * 2
    assert other_proxy.forwarded == ["http://two.example/"] * 2
