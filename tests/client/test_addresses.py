"""Where a client connects to: what an `AddressPolicy` permits, on every way and hop, and addresses given by hand."""

from __future__ import annotations

import asyncio
import pickle
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from aiohttpconn import (
    AddressBlocked,
    AddressPolicy,
    AsyncHTTPConnection,
    CachingResolver,
    Client,
    ConnectError,
    ConnectionPool,
    ConnectTimeout,
    ProxyPool,
    ResolveError,
    Retry,
    Timeout,
    TLSError,
)
from tests.auditing import audit_quiet
from tests.servers.origin import OriginServer
from tests.servers.program import free_port
from tests.servers.raw import Hold, Send

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from tests.servers.proxy import ConnectProxy

StartRaw = Any
V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
PUBLIC = AddressPolicy.public_only()


class Answers:
    """A resolver that gives one answer after the other, the last for ever, and counts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> list[tuple[int, Any]]:
        await asyncio.sleep(0)
        self.asked.append(host)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(V6, (text, port, 0, 0)) if ":" in text else (V4, (text, port)) for text in found]


@pytest.fixture
def forbidden() -> Iterator[socket.socket]:
    """Somebody listens at 127.0.0.1, on the port of `elsewhere`."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
async def elsewhere(forbidden: socket.socket) -> AsyncIterator[OriginServer]:
    """A second origin, on an address of its own."""
    async with OriginServer(host="127.0.0.2", port=forbidden.getsockname()[1]) as server:
        yield server


def allowing(*entries: str, **options: Any) -> Client:
    policy = AddressPolicy.public_only(allow=entries)
    return Client(addresses=policy, trust_env=False, timeout=10, **options)


def connected(server: socket.socket) -> bool:
    """Whether anybody has come."""
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


# --- without a proxy --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "2130706433", "localhost", "[::ffff:127.0.0.1]", "a@127.1"])
async def test_what_is_local_is_refused_without_a_look_up(host: str, http_server: OriginServer) -> None:
    nobody = Answers([])
    async with Client(addresses=PUBLIC, resolver=nobody, trust_env=False) as client:
        with pytest.raises(AddressBlocked, match="is forbidden") as caught:
            await client.get(f"http://{host}:{http_server.port}/")
        assert caught.value.request.url.host in str(caught.value)
        assert client.stats().opened_total == 0
    assert nobody.asked == []
    assert http_server.connections == 0


async def test_a_name_is_judged_by_its_addresses(http_server: OriginServer) -> None:
    async with Client(addresses=PUBLIC, resolver=Answers(["127.0.0.1", "::1"]), trust_env=False) as client:
        with pytest.raises(AddressBlocked, match=r"127\.0\.0\.1 is not public"):
            await client.get(f"http://inner.example:{http_server.port}/")
        assert client.stats().open == 0
    assert http_server.connections == 0


async def test_of_a_mixed_answer_only_the_permitted_are_dialled(
    forbidden: socket.socket, elsewhere: OriginServer
) -> None:
    port = elsewhere.port
    answer = Answers(["127.0.0.1", "127.0.0.2", "::1"])
    async with allowing("127.0.0.2", resolver=answer) as client:
        for _ in range(3):
            response = await client.get(f"http://mixed.example:{port}/close")
            assert response.text == "goodbye"
    assert not connected(forbidden)
    assert elsewhere.connections == 3


async def test_a_resolver_that_changes_its_mind_is_asked_once_a_connection(
    forbidden: socket.socket, elsewhere: OriginServer
) -> None:
    """What was judged is what is dialled: a second answer would be another."""
    port = elsewhere.port
    rebinding = Answers(["127.0.0.2"], ["127.0.0.1"])
    async with allowing("127.0.0.2", resolver=rebinding) as client:
        assert (await client.get(f"http://rebind.example:{port}/close")).text == "goodbye"
        assert rebinding.asked == ["rebind.example"]
        with pytest.raises(AddressBlocked, match=r"127\.0\.0\.1"):
            await client.get(f"http://rebind.example:{port}/")
    assert not connected(forbidden)
    # Remembered, the name keeps the address that it had.
    remembering = CachingResolver(upstream=Answers(["127.0.0.2"], ["127.0.0.1"]))
    async with allowing("127.0.0.2", resolver=remembering) as client:
        for _ in range(3):
            assert (await client.get(f"http://rebind.example:{port}/close")).text == "goodbye"
    await remembering.close()
    assert not connected(forbidden)


async def test_each_hop_of_a_redirect_is_judged(http_server: OriginServer, elsewhere: OriginServer) -> None:
    async with allowing(f"127.0.0.2:{elsewhere.port}") as client:
        with pytest.raises(AddressBlocked) as caught:
            await client.get(f"{elsewhere.url}/redirect/302?{http_server.url}/")
        assert caught.value.request.url.origin.port == http_server.port
        assert (await client.get(f"{elsewhere.url}/redirect/302?{elsewhere.url}/")).text == "hello"
        with pytest.raises(AddressBlocked):
            await client.get(f"{elsewhere.url}/redirect/302?http://localhost:{elsewhere.port}/")
    assert http_server.connections == 0


async def test_schemes_are_judged_too(http_server: OriginServer) -> None:
    policy = AddressPolicy(schemes=["https"])
    async with Client(addresses=policy, trust_env=False) as client:
        with pytest.raises(AddressBlocked, match="only https URLs are permitted"):
            await client.get(http_server.url)


async def test_a_blocked_address_is_not_tried_again(http_server: OriginServer) -> None:
    asked = Answers(["127.0.0.1"])
    async with Client(addresses=PUBLIC, resolver=asked, retries=3, trust_env=False) as client:
        with pytest.raises(AddressBlocked):
            await client.get("http://inner.example/")
    assert len(asked.asked) == 1


async def test_a_connection_and_a_pool_of_ones_own_take_a_policy(http_server: OriginServer) -> None:
    async with AsyncHTTPConnection("127.0.0.1", http_server.port, addresses=PUBLIC) as conn:
        with pytest.raises(AddressBlocked) as caught:
            await conn.request("GET", "/")
        assert "connecting to 127.0.0.1" in str(caught.value)
    async with ConnectionPool(addresses=PUBLIC) as pool:
        with pytest.raises(AddressBlocked):
            async with pool.connection(http_server.url):
                pass
        audit_quiet(pool)
    assert http_server.connections == 0


# --- on the way -------------------------------------------------------------------------------------------------------


async def test_a_proxy_must_be_permitted(connect_proxy: ConnectProxy, http_server: OriginServer) -> None:
    async with Client(proxy=connect_proxy.url, addresses=PUBLIC, trust_env=False) as client:
        for url in ("http://192.0.2.1/", "http://origin.example/", "https://origin.example/"):
            with pytest.raises(AddressBlocked):
                await client.get(url)
        assert client.stats().open == 0
    assert connect_proxy.connections == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_is_not_asked_for_what_is_forbidden(scheme: str, connect_proxy: ConnectProxy) -> None:
    async with allowing(connect_proxy.authority, proxy=connect_proxy.url) as client:
        for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254"):
            with pytest.raises(AddressBlocked):
                await client.get(f"{scheme}://{host}/")
    assert connect_proxy.connections == 0


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
@pytest.mark.parametrize("target", ["http", "https"])
async def test_a_pool_goes_on_from_a_proxy_that_is_not_permitted(
    scheme: str,
    target: str,
    connect_proxy: ConnectProxy,
    http_server: OriginServer,
    https_server: OriginServer,
    client_ctx: ssl.SSLContext,
) -> None:
    origin = {"http": http_server, "https": https_server}[target]
    rules = {"allow": [connect_proxy.authority, origin.authority]}
    proxies = [f"{scheme}://127.0.0.3:{connect_proxy.port}", connect_proxy.url]
    options: dict[str, Any] = {"addresses": AddressPolicy.public_only(**rules), "verify": client_ctx, "timeout": 10}
    pool = ProxyPool(proxies)
    async with Client(proxy=pool, retries=Retry(attempts=2, backoff=0.001), **options) as client:
        assert (await client.post(f"{origin.url}/echo", content=b"x")).status == 200
        assert [state.failures for state in pool.states()] == [1, 0]
    # Without retries: it is left out from then on.
    pool = ProxyPool(proxies)
    async with Client(proxy=pool, **options) as client:
        with pytest.raises(AddressBlocked, match=r"127\.0\.0\.3") as caught:
            await client.get(origin.url)
        assert caught.value.of_proxy
        assert pickle.loads(pickle.dumps(caught.value)).of_proxy
        for _ in range(3):
            assert (await client.get(origin.url)).text == "hello"
        assert [state.failures for state in pool.states()] == [1, 0]
    pool = ProxyPool(proxies)
    async with Client(proxy=pool, **options) as client:
        with pytest.raises(AddressBlocked):
            await client.warm(origin.url)
        assert [state.failures for state in pool.states()] == [1, 0]


async def test_a_forbidden_proxy_that_comes_from_no_pool_is_not_tried_again(connect_proxy: ConnectProxy) -> None:
    for proxy in (connect_proxy.url, lambda url: connect_proxy.url):
        async with Client(proxy=proxy, addresses=PUBLIC, retries=3) as client:
            with pytest.raises(AddressBlocked) as caught:
                await client.get("http://origin.example/")
        assert caught.value.of_proxy
        assert not hasattr(caught.value, "__notes__"), "there was no other attempt"
    assert connect_proxy.connections == 0


async def test_a_forbidden_origin_is_not_the_proxys_fault(connect_proxy: ConnectProxy, raw_server: StartRaw) -> None:
    """Refused by its URL, and after a look-up of ours for a SOCKS proxy."""
    socks = await raw_server(*[[Send(b"\x05\x00"), Hold()]] * 5)
    policy = AddressPolicy.public_only(allow=[connect_proxy.authority, socks.authority])
    for proxy, url in [
        (connect_proxy.url, "http://10.0.0.1/"),
        (connect_proxy.url, "https://localhost/"),
        (f"socks5://{socks.authority}", "http://inner.example/"),
    ]:
        pool = ProxyPool([proxy, proxy])
        asked = Answers(["10.0.0.1"])
        async with Client(proxy=pool, addresses=policy, resolver=asked, retries=3, timeout=10) as client:
            with pytest.raises(AddressBlocked) as caught:
                await client.get(url)
            assert caught.value.of_proxy is False
            assert not hasattr(caught.value, "__notes__"), "there was no other attempt"
        assert pool.states()[0].failures == 0
    assert connect_proxy.connections == 0
    assert socks.connections == 1


async def test_through_a_permitted_proxy_to_a_permitted_name(
    connect_proxy: ConnectProxy, http_server: OriginServer, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    connect_proxy.hosts = {
        "one.example:80": ("127.0.0.1", http_server.port),
        "elsewhere.example:443": ("127.0.0.1", https_server.port),
    }
    async with allowing(connect_proxy.authority, proxy=connect_proxy.url, verify=client_ctx) as client:
        assert (await client.get("http://one.example/")).text == "hello"
        with pytest.raises(ConnectError, match=r"elsewhere\.example"):  # its certificate is another's
            await client.get("https://elsewhere.example/")
    assert connect_proxy.tunnels == ["elsewhere.example:443"]


async def test_a_tunnel_of_ones_own_is_judged(connect_proxy: ConnectProxy) -> None:
    policy = AddressPolicy.public_only(allow=[connect_proxy.authority])
    async with AsyncHTTPConnection("127.0.0.1", connect_proxy.port, addresses=policy) as conn:
        conn.set_tunnel("10.0.0.1", 80)
        with pytest.raises(AddressBlocked, match=r"10\.0\.0\.1"):
            await conn.connect()
    assert connect_proxy.connections == 0


async def test_a_policy_of_any_kind_keeps_urls_of_strangers_from_sockets() -> None:
    async with OriginServer(uds=True) as server:
        url = f"http+unix://{quote(server.path, safe='')}/"
        for policy in (AddressPolicy(deny=["10.0.0.0/8"]), AddressPolicy(schemes=["https"]), AddressPolicy(deny=["*"])):
            async with Client(addresses=policy) as client:
                with pytest.raises(AddressBlocked, match="Unix socket"):
                    await client.get(url)
        async with Client(addresses=AddressPolicy(deny=["*"]), uds=server.path) as client:
            with pytest.raises(AddressBlocked, match="Unix socket"):
                await client.get("http://app/")
        for policy in (AddressPolicy(schemes=["http+unix"]), AddressPolicy(allow=["unix:" + server.path])):
            async with Client(addresses=policy) as client:
                assert (await client.get(url)).status == 200


async def test_a_unix_socket_is_local(tmp_path: Path) -> None:
    async with OriginServer(uds=True) as server:
        async with Client(uds=server.path, addresses=PUBLIC) as client:
            with pytest.raises(AddressBlocked, match="Unix socket"):
                await client.get("http://anything.example/")
        async with Client(
            uds=server.path, addresses=AddressPolicy.public_only(allow=["unix:" + server.path])
        ) as client:
            # The host is a word in the request then: it is not connected to.
            assert (await client.get("http://localhost/")).text == "hello"
        async with AsyncHTTPConnection("localhost", uds=server.path, addresses=PUBLIC) as conn:
            with pytest.raises(AddressBlocked):
                await conn.connect()
        assert server.connections == 1


# --- by hand ----------------------------------------------------------------------------------------------------------


async def test_addresses_by_hand(http_server: OriginServer) -> None:
    port = http_server.port
    async with Client(resolve={f"api.example:{port}": "127.0.0.1"}, trust_env=False) as client:
        response = await client.get(f"http://API.example:{port}/request")
        assert ["Host", f"api.example:{port}"] in response.json()["fields"]
        with pytest.raises(ResolveError):
            await client.get("http://other.invalid/")
    upstream = Answers(["127.0.0.1"])
    async with Client(resolve={"api.example:1": "127.0.0.1"}, resolver=upstream, trust_env=False) as client:
        assert (await client.get(f"http://api.example:{port}/")).text == "hello"
    assert upstream.asked == ["api.example"]


async def test_addresses_by_hand_are_judged(http_server: OriginServer) -> None:
    async with Client(resolve={"*": "127.0.0.1"}, addresses=PUBLIC, trust_env=False) as client:
        with pytest.raises(AddressBlocked, match=r"127\.0\.0\.1 is not public"):
            await client.get(f"http://api.example:{http_server.port}/")
    assert http_server.connections == 0


@pytest.mark.parametrize("name", ["resolve", "addresses"])
def test_they_are_the_transports_own_affair(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        Client(transport=ConnectionPool(), **{name: None})


def test_what_is_no_policy_says_so() -> None:
    for make in (Client, ConnectionPool):
        with pytest.raises(TypeError, match="public_only"):
            make(addresses=["10.0.0.0/8"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is wrong"):
        Client(resolve={"a:80": "b"})


# --- look-ups ---------------------------------------------------------------------------------------------------------


async def test_a_client_looks_a_name_up_once(http_server: OriginServer, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []
    system = socket.getaddrinfo

    def noting(host: Any, *args: Any, **options: Any) -> Any:
        looked_up.append(host)
        return system("127.0.0.1", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", noting)
    async with Client(trust_env=False) as client:
        url = f"http://counted.example:{http_server.port}/close"
        await asyncio.gather(*[client.get(url) for _ in range(10)])
        assert (await client.get(url)).text == "goodbye"
        assert client.stats().opened_total == 11
    assert looked_up == ["counted.example"]


async def test_an_address_that_failed_is_avoided(http_server: OriginServer) -> None:
    """Of two addresses one refuses: after the first time, the other goes first."""
    answers = Answers(["127.0.0.9", "127.0.0.1"])
    async with Client(resolver=answers, trust_env=False) as client:
        for _ in range(6):
            assert (await client.get(f"http://two.example:{http_server.port}/close")).text == "goodbye"
        assert client.pool is not None
        assert "1 addresses that failed" in repr(client.pool._ways.book)


async def test_nothing_of_a_look_up_stays_behind_a_closed_client() -> None:
    async with Client(trust_env=False) as client:
        with pytest.raises(ConnectError):
            await client.get(f"http://localhost:{free_port()}/")
    assert client.pool is not None
    own = client.pool._ways.own_resolver
    assert own is not None
    with pytest.raises(RuntimeError, match="closed"):
        await own.resolve("again.example", 80)


# --- addresses that do not do -----------------------------------------------------------------------------------------


def black_hole(host: str, port: int) -> list[socket.socket]:
    """Who connects there hears nothing: the kernel's queue is full."""
    listener = socket.socket()
    listener.bind((host, port))
    listener.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    return [listener, *fillers]


async def test_a_timeout_tells_which_address_said_what(http_server: OriginServer) -> None:
    port = http_server.port
    sockets = black_hole("127.0.0.5", port) + black_hole("127.0.0.6", port)
    names = {"all.example": ["127.0.0.9", "127.0.0.5", "127.0.0.6"], "one.example": "127.0.0.5"}
    async with Client(resolve=names, timeout=Timeout(connect=0.4), trust_env=False) as client:
        with pytest.raises(ConnectTimeout) as caught:
            await client.get(f"http://all.example:{port}/")
        text = "127.0.0.9: Connection refused; 127.0.0.5: no answer; 127.0.0.6: no answer"
        assert str(caught.value).startswith(f"no connection within 0.4 s: {text} [")
        group = caught.value.__cause__
        assert isinstance(group, ExceptionGroup)
        assert [type(error) for error in group.exceptions] == [ConnectionRefusedError, TimeoutError, TimeoutError]
        assert group.exceptions[1].__notes__ == [f"when connecting to 127.0.0.5:{port}"]
        with pytest.raises(ConnectTimeout, match=r"within 0\.4 s: 127\.0\.0\.5: no answer \["):
            await client.get(f"http://one.example:{port}/")
    for each in sockets:
        each.close()


@pytest.mark.parametrize("seconds", [0.05, 0.4], ids=["short", "long"])
async def test_an_address_that_hangs_until_the_time_is_over_is_avoided(
    http_server: OriginServer, seconds: float
) -> None:
    """One after the other, or all within less than the delay between two: nobody else ever wins."""
    port = http_server.port
    sockets = black_hole("127.0.0.5", port)
    names = {"two.example": ["127.0.0.5", "127.0.0.1"]}
    pool = ConnectionPool(resolve=names, timeout=Timeout(connect=seconds), happy_eyeballs_delay=None)
    async with pool, Client(transport=pool, timeout=Timeout(connect=seconds)) as client:
        with pytest.raises(ConnectTimeout):
            await client.get(f"http://two.example:{port}/")
        for _ in range(3):
            assert (await client.get(f"http://two.example:{port}/close")).text == "goodbye"
    for each in sockets:
        each.close()


@pytest.mark.parametrize("fault", ["nonsense", "silence"])
async def test_an_address_whose_tls_fails_is_avoided(
    server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext, fault: str
) -> None:
    async with OriginServer(host="127.0.0.1", tls=server_ctx) as good:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if fault == "nonsense":
                writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            else:
                await reader.read(-1)  # until the client has gone
            writer.close()

        bad = await asyncio.start_server(serve, "127.0.0.2", good.port)
        names = {"localhost": ["127.0.0.2", "127.0.0.1"]}
        timeout = Timeout(connect=0.3)
        async with Client(resolve=names, verify=client_ctx, timeout=timeout, trust_env=False) as client:
            with pytest.raises((TLSError, ConnectTimeout)):
                await client.get(f"https://localhost:{good.port}/")
            assert (await client.get(f"https://localhost:{good.port}/")).text == "hello"
        bad.close()


async def test_addresses_by_hand_are_tried_in_the_order_given(http_server: OriginServer) -> None:
    names = {"two.example": ["127.0.0.1", "127.0.0.2"]}
    with socket.create_server(("127.0.0.2", http_server.port)) as other:
        other.setblocking(False)
        async with Client(resolve=names, trust_env=False) as client:
            for _ in range(4):
                assert (await client.get(f"http://two.example:{http_server.port}/close")).text == "goodbye"
        assert not connected(other)


async def test_a_name_with_thousands_of_addresses_is_tried_32_times() -> None:
    many = [f"127.1.{number // 200}.{number % 200 + 1}" for number in range(2000)]
    async with Client(resolver=Answers(many), trust_env=False) as client:
        with pytest.raises(ConnectError, match="and 28 more") as caught:
            await client.get(f"http://many.example:{free_port()}/")
    assert len(str(caught.value)) < 300
