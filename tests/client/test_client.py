"""`Client`: its verbs, what it sends, and what it holds on to."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

import aiohttpconn
from aiohttpconn import (
    UNSET,
    URL,
    BodyLengthMismatch,
    Client,
    ConnectError,
    ConnectionPool,
    HTTPException,
    HTTPStatusError,
    IncompleteRead,
    InvalidHeader,
    InvalidMethod,
    InvalidURL,
    Limits,
    PoolClosed,
    ReadTimeout,
    RemoteDisconnected,
    Request,
    RequestContext,
    Timeout,
    TLSError,
    UnsupportedScheme,
)
from aiohttpconn.url import parse
from aiohttpconn.wire.codings import accept_encoding
from tests.auditing import audit_quiet, settle
from tests.servers.origin import OriginServer, Reply
from tests.servers.program import free_port
from tests.servers.raw import Hold, Send
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DEFAULT_FIELDS = [
    ("User-Agent", f"aiohttpconn/{aiohttpconn.__version__}"),
    ("Accept", "*/*"),
    ("Accept-Encoding", accept_encoding()),
]

# --- verbs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH"])
async def test_every_verb_sends_its_method(method: str, client: Client, http_server: OriginServer) -> None:
    response = await getattr(client, method.lower())(f"{http_server.url}/request")
    assert response.status == 200
    (received,) = http_server.requests
    assert (received.method, received.target) == (method, "/request")
    assert response.content == b"" if method == "HEAD" else response.json()["method"] == method


@pytest.mark.parametrize("method", ["PURGE", "PROPFIND", "purge"])
async def test_a_method_of_any_kind_goes_out_as_it_was_given(
    method: str, client: Client, http_server: OriginServer
) -> None:
    response = await client.request(method, f"{http_server.url}/request")
    assert response.json()["method"] == method


@pytest.mark.parametrize("method", ["", "G ET", "GET\r\nX: y", "GÉT"])
async def test_what_is_no_method_never_reaches_the_socket(
    method: str, client: Client, http_server: OriginServer
) -> None:
    with pytest.raises(InvalidMethod):
        await client.request(method, http_server.url)
    assert http_server.connections == 0


async def test_head_of_a_long_body_leaves_the_connection_usable(client: Client, http_server: OriginServer) -> None:
    response = await client.head(f"{http_server.url}/bytes/100000")
    assert response.headers["Content-Length"] == "100000"
    assert response.content == b""
    assert (await client.get(f"{http_server.url}/bytes/3")).content == b"\0\1\2"
    assert http_server.connections == 1


async def test_stream_gives_the_head_first_and_the_body_on_demand(client: Client, http_server: OriginServer) -> None:
    async with client.stream("GET", f"{http_server.url}/bytes/300000") as response:
        assert response.status == 200
        assert sum([len(piece) async for piece in response.iter_bytes()]) == 300000
    assert client.stats().idle == 1


async def test_build_request_sends_nothing_and_send_sends_it(client: Client, http_server: OriginServer) -> None:
    request = client.build_request(
        "POST", f"{http_server.url}/echo", params={"a": "b"}, headers={"X-One": "1"}, content="ä"
    )
    assert isinstance(request, Request)
    assert (request.method, request.url.target, request.body) == ("POST", "/echo?a=b", "ä".encode())
    assert request.headers["x-one"] == "1"
    await settle()
    assert http_server.connections == 0
    response = await client.send(request)
    assert response.content == "ä".encode()
    assert response.request is request
    assert (await client.send(request)).content == "ä".encode(), "a request is a value, and can be sent again"


async def test_send_with_stream_leaves_the_body_to_the_caller(client: Client, http_server: OriginServer) -> None:
    request = client.build_request("GET", f"{http_server.url}/bytes/300000")
    response = await client.send(request, stream=True)
    assert client.stats().in_use == 1
    assert len(await response.read()) == 300000
    assert client.stats().in_use == 0
    await response.close()


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "url", "sent"),
    [
        ("", "/a", "/a"),
        ("", "a", "/a"),
        ("", "", "/"),
        ("/api", "a", "/api/a"),
        ("/api", "/a", "/api/a"),
        ("/api/", "/a", "/api/a"),
        ("/api/", "a/b?c=d", "/api/a/b?c=d"),
        ("/api", "", "/api/"),
        ("/api", "?q=1", "/api/?q=1"),
        ("/api/v1", "../v2/x", "/api/v2/x"),
        ("/api", "a b/ä", "/api/a%20b/%C3%A4"),
        ("/api", "a%2Fb", "/api/a%2Fb"),
        ("/api?key=1", "a", "/api/a"),
        ("/api#part", "a", "/api/a"),
    ],
)
async def test_relative_urls_are_appended_to_the_base(
    base: str, url: str, sent: str, http_server: OriginServer
) -> None:
    async with Client(http_server.url + base, trust_env=False) as client:
        await client.get(url)
    assert http_server.requests[0].target == sent


async def test_absolute_urls_and_parsed_ones_go_past_the_base(http_server: OriginServer) -> None:
    async with Client("http://unreachable.invalid/api", trust_env=False) as client:
        assert (await client.get(http_server.url)).status == 200
        assert (await client.get(URL(http_server.url))).status == 200
        assert str(client.base_url) == "http://unreachable.invalid/api/"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("/relative", InvalidURL),
        ("", InvalidURL),
        ("ftp://example.org/", UnsupportedScheme),
        ("http://", InvalidURL),
        ("http://exa\nmple.org/", InvalidURL),
        ("http://127.0.0.1:70000/", InvalidURL),
    ],
)
async def test_what_is_no_url_says_so(url: str, error: type[Exception], client: Client) -> None:
    with pytest.raises(error) as caught:
        await client.get(url)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, HTTPException)


async def test_fragments_and_userinfo_are_never_in_the_target(client: Client, http_server: OriginServer) -> None:
    response = await client.get(f"http://user:secret@{http_server.authority}/request?a=b#fragment")
    (received,) = http_server.requests
    assert received.target == "/request?a=b"
    assert received.get("Host") == http_server.authority
    assert b"fragment" not in received.raw
    assert response.url.fragment == "fragment"


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({"a": "1", "b": "x y&="}, "a=1&b=x+y%26%3D"),
        ({"a": ["1", 2], "b": ()}, "a=1&a=2"),
        ([("a", "1"), ("b", "2"), ("a", "3")], "a=1&b=2&a=3"),
        ({"t": True, "f": False, "n": None, "i": -3, "d": 1.5}, "t=true&f=false&n=&i=-3&d=1.5"),
        ({"ä": "€"}, "%C3%A4=%E2%82%AC"),
        ("raw=%2f+~", "raw=%2f+~"),
        (b"raw=%2f", "raw=%2f"),
        ({}, None),
        ("", None),
        (None, None),
    ],
)
async def test_every_kind_of_params(params: Any, query: str | None, client: Client, http_server: OriginServer) -> None:
    await client.get(f"{http_server.url}/request", params=params)
    assert http_server.requests[0].target == ("/request" if query is None else f"/request?{query}")


async def test_a_signed_url_goes_out_byte_for_byte(client: Client, http_server: OriginServer) -> None:
    signed = "/b/k%2fey~!'()*?X-Sig=aB%2b%2F%3D&X-Cred=a%2Fb&e=%7e+%20;:@,$()*[]|&&="
    await client.get(http_server.url + signed)
    await client.get(http_server.url + signed, params={"more": "ä"})
    assert [received.target for received in http_server.requests] == [signed, signed + "&more=%C3%A4"]


async def test_the_clients_params_come_before_the_requests(http_server: OriginServer) -> None:
    async with Client(http_server.url, params={"key": "k/1"}, trust_env=False) as client:
        await client.get("/x?own=%7e", params=[("own", "2")])
        await client.get("/x")
    assert [received.target for received in http_server.requests] == ["/x?own=%7e&key=k%2F1&own=2", "/x?key=k%2F1"]


@pytest.mark.parametrize("params", [{"a": object()}, {1: "a"}, {"a": b"bytes"}])
async def test_params_of_other_types_are_refused(params: Any, client: Client, http_server: OriginServer) -> None:
    with pytest.raises(TypeError):
        await client.get(http_server.url, params=params)


# --- fields -----------------------------------------------------------------------------------------------------------


async def test_the_default_fields_and_their_order(client: Client, http_server: OriginServer) -> None:
    await client.get(http_server.url)
    assert http_server.requests[0].fields == [("Host", http_server.authority), *DEFAULT_FIELDS]
    assert list(client.headers.items()) == DEFAULT_FIELDS


async def test_accept_encoding_names_what_can_be_decoded(client: Client, http_server: OriginServer) -> None:
    await client.get(http_server.url)
    named = (http_server.requests[0].get("Accept-Encoding") or "").split(", ")
    assert named[:2] == ["gzip", "deflate"]
    assert set(named) <= {"gzip", "deflate", "br", "zstd"}


async def test_fields_of_a_request_replace_those_of_the_client_whatever_their_case(http_server: OriginServer) -> None:
    headers = [("X-Both", "client"), ("x-KEEP", "1"), ("X-Both", "client too"), ("accept", "text/plain")]
    async with Client(http_server.url, headers=headers, trust_env=False) as client:
        await client.get("/", headers={"x-bOTH": "request", "USER-AGENT": "mine"})
        await client.get("/")
    replaced, untouched = http_server.requests
    host, encoding = ("Host", http_server.authority), DEFAULT_FIELDS[2]
    own = [("x-bOTH", "request"), ("USER-AGENT", "mine")]
    assert replaced.fields == [host, encoding, ("x-KEEP", "1"), ("accept", "text/plain"), *own]
    assert untouched.fields == [host, DEFAULT_FIELDS[0], encoding, *headers]


async def test_spelling_order_and_repeats_are_kept(client: Client, http_server: OriginServer) -> None:
    pairs = [("x-B", "2"), ("X-a", "1"), ("x-B", "3"), ("X-Empty", "")]
    await client.get(http_server.url, headers=pairs)
    assert http_server.requests[0].fields[4:] == pairs


@pytest.mark.parametrize("headers", [{b"X-A": b"\xe4"}, {"X-A": "ä"}, [(b"X-A", "ä")]])
async def test_fields_may_be_bytes_and_latin_1(headers: Any, client: Client, http_server: OriginServer) -> None:
    await client.get(http_server.url, headers=headers)
    assert b"\r\nX-A: \xe4\r\n" in http_server.requests[0].head


@pytest.mark.parametrize(
    "headers",
    [{"X\r\nEvil": "1"}, {"X": "1\r\nEvil: 2"}, {"X": "a\0b"}, {"X ": "1"}, {"": "1"}, {"X": "€"}, {"X:": "1"}],
)
async def test_fields_that_would_break_the_message_never_reach_the_socket(
    headers: dict[str, str], client: Client, http_server: OriginServer
) -> None:
    with pytest.raises(InvalidHeader):
        await client.get(http_server.url, headers=headers)
    with pytest.raises(InvalidHeader):
        Client(headers=headers)
    assert http_server.connections == 0


async def test_host_can_be_overridden_and_still_comes_first_and_once(client: Client, http_server: OriginServer) -> None:
    await client.get(http_server.url, headers={"X-A": "1", "hOst": "virtual.example"})
    (received,) = http_server.requests
    assert received.get_all("Host") == ["virtual.example"]
    assert received.fields[0][0].lower() == "host"


async def test_two_hosts_are_refused(client: Client, http_server: OriginServer) -> None:
    with pytest.raises(InvalidHeader):
        await client.get(http_server.url, headers=[("Host", "a"), ("host", "b")])
    assert http_server.requests == []


# --- settings ---------------------------------------------------------------------------------------------------------


async def test_max_head_and_max_fields_reach_the_connection(raw_server: StartRaw) -> None:
    many = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20)) + b"Content-Length: 0\r\n\r\n"
    server = await raw_server(many)
    async with Client(server.url, max_fields=10, trust_env=False) as client:
        with pytest.raises(aiohttpconn.TooManyFields):
            await client.get("/")
    async with Client(server.url, max_head=100, trust_env=False) as client:
        with pytest.raises(aiohttpconn.LineTooLong):
            await client.get("/")
    async with Client(server.url, trust_env=False) as client:
        assert len((await client.get("/")).headers) == 21


async def test_a_head_that_another_client_was_sent_is_held_to_the_own_limits(raw_server: StartRaw) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Known: to another\r\nX-And: y\r\nContent-Length: 2\r\n\r\n"
    server = await raw_server(head + b"ok")
    for limits, error in (
        ({}, None),  # whose head the others are sent again
        ({"max_fields": 3}, None),
        ({"max_fields": 2}, aiohttpconn.TooManyFields),
        ({"max_head": len(head)}, None),
        ({"max_head": len(head) - 1}, aiohttpconn.LineTooLong),
    ):
        async with Client(server.url, **limits, trust_env=False) as client:
            if error is None:
                assert (await client.head("/")).content == b""  # the same head, and it means something else
                assert (await client.get("/")).text == "ok"  # last: this is what the next client is sent again
            else:
                with pytest.raises(error):
                    await client.get("/")


async def test_limits_reach_the_pool(http_server: OriginServer) -> None:
    async with Client(http_server.url, limits=Limits(max_connections=2), trust_env=False) as client:
        responses = await asyncio.gather(*(client.get("/bytes/10") for _ in range(20)))
        assert {response.status for response in responses} == {200}
        assert client.stats().opened_total <= 2
    assert http_server.connections <= 2


async def test_uds(raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(OK)], uds=True)
    async with Client("http://service.local/v1", uds=server.path, trust_env=False) as client:
        assert (await client.get("/x")).text == "ok"
    assert server.requests[0].target == "/v1/x"
    assert server.requests[0].get("Host") == "service.local"


async def test_uds_goes_past_the_proxies_of_the_environment(
    raw_server: StartRaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    server = await raw_server([ReadRequest(), Send(OK)], uds=True)
    async with Client("http://service.local", uds=server.path) as client:
        assert (await client.get("/x")).text == "ok"
    assert server.requests[0].target == "/x"


async def test_local_address(http_server: OriginServer) -> None:
    async with Client(http_server.url, local_address=("127.0.0.2", 0), trust_env=False) as client:
        await client.get("/")
        (connection,) = http_server.accepted
        assert connection.writer.get_extra_info("peername")[0] == "127.0.0.2"


async def test_resolver(http_server: OriginServer) -> None:
    asked: list[tuple[str, int]] = []

    class Fixed:
        async def resolve(self, host: str, port: int) -> list[Any]:
            asked.append((host, port))
            import socket

            return [(socket.AF_INET, ("127.0.0.1", http_server.port))]

    async with Client(resolver=Fixed(), trust_env=False) as client:
        assert (await client.get("http://name.example/")).text == "hello"
    assert asked == [("name.example", 80)]
    assert http_server.requests[0].get("Host") == "name.example"


@pytest.mark.parametrize("way", ["context", "file", "folder", "off"])
async def test_verify_takes_a_context_a_path_or_false(
    way: str, https_server: OriginServer, client_ctx: ssl.SSLContext, ca_file: Path, tmp_path: Path
) -> None:
    import ssl as ssl_module
    import subprocess

    verify: Any = {"context": client_ctx, "file": str(ca_file), "off": False, "folder": tmp_path}[way]
    if way == "folder":
        # OpenSSL finds the certificates of a folder by the hash of their subject.
        assert ssl_module.OPENSSL_VERSION
        found = subprocess.run(
            ["openssl", "x509", "-hash", "-noout", "-in", str(ca_file)], capture_output=True, text=True, check=False
        )
        if found.returncode:
            pytest.skip("the openssl program is missing")
        (tmp_path / f"{found.stdout.strip()}.0").write_bytes(ca_file.read_bytes())
    async with Client(https_server.url, verify=verify, trust_env=False) as client:
        assert (await client.get("/")).text == "hello"


async def test_verification_is_on_unless_it_is_switched_off(https_server: OriginServer) -> None:
    async with Client(https_server.url, trust_env=False) as client:
        with pytest.raises(TLSError) as caught:
            await client.get("/")
        assert caught.value.request.url.host == "127.0.0.1"
        assert "127.0.0.1" in str(caught.value)
        audit_quiet(client.pool)  # type: ignore[arg-type]
    assert https_server.requests == []


# --- transports -------------------------------------------------------------------------------------------------------


class RecordingTransport:
    """Sends through a pool, and notes what it was given."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self.sent: list[tuple[Request, RequestContext]] = []
        self.closed = 0

    async def send(self, request: Request, context: RequestContext) -> Any:
        self.sent.append((request, context))
        return await self.pool.send(request, context)

    async def close(self) -> None:
        self.closed += 1


async def test_a_pool_may_be_shared_and_stays_open(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        for _ in range(2):
            async with Client(http_server.url, transport=pool, trust_env=False) as client:
                assert client.pool is pool
                await client.get("/")
                assert client.stats().idle == 1
        assert not pool.closed
        assert pool.stats().reused_total == 1
        with pytest.raises(PoolClosed):
            await client.get("/")


async def test_a_transport_of_ones_own(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        transport = RecordingTransport(pool)
        async with Client(http_server.url, transport=transport, timeout=Timeout(total=5, read=3)) as client:
            response = await client.get("/redirect/302?/request")
            assert response.json()["method"] == "GET"
            assert client.pool is None
            with pytest.raises(TypeError):
                client.stats()
        assert [request.url.path for request, _ in transport.sent] == ["/redirect/302", "/request"]
        first, second = (context for _, context in transport.sent)
        assert first.deadline is second.deadline
        assert first.proxy is UNSET
        assert first.deadline.timeout.read == 3
        assert transport.closed == 0


@pytest.mark.parametrize(
    "argument",
    [
        {"proxy": "http://127.0.0.1:1"},
        {"proxy": None},
        {"verify": False},
        {"verify": True},
        {"uds": "/tmp/s"},
        {"resolver": None},
        {"limits": Limits()},
        {"local_address": ("127.0.0.1", 0)},
    ],
)
async def test_network_arguments_beside_a_transport_are_a_type_error(argument: dict[str, Any]) -> None:
    async with ConnectionPool() as pool:
        with pytest.raises(TypeError, match=next(iter(argument))):
            Client(transport=pool, **argument)


async def test_a_transport_goes_past_the_proxies_of_the_environment(
    http_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    async with ConnectionPool() as pool, Client(http_server.url, transport=pool) as client:
        assert (await client.get("/")).text == "hello"


# --- errors -----------------------------------------------------------------------------------------------------------


def same_after_pickling(error: HTTPException) -> HTTPException:
    """The error as another process would get it."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.request.url == error.request.url
    assert copy.request.method == error.request.method
    assert list(copy.request.headers.items()) == list(error.request.headers.items())
    assert isinstance(copy, HTTPException)
    return copy


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (b"", RemoteDisconnected),
        (b"HTTP/1.1 200", RemoteDisconnected),
        (b"SSH-2.0-OpenSSH\r\n", aiohttpconn.BadStatusLine),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", IncompleteRead),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", aiohttpconn.ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", aiohttpconn.DecodingError),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nabc", aiohttpconn.DecodingError),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\nContent-Length: 0\r\n\r\n", aiohttpconn.RedirectBlocked),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[/\r\nContent-Length: 0\r\n\r\n", InvalidURL),
        ([ReadRequest(), Hold()], ReadTimeout),
    ],
)
async def test_errors_carry_their_request_name_the_host_and_pickle(
    script: Any, error: type[HTTPException], raw_server: StartRaw, client: Client
) -> None:
    server = await raw_server(script)
    with pytest.raises(error) as caught:
        await client.request("PUT", f"{server.url}/path?q", content=b"body", headers={"X-A": "b"}, timeout=0.2)
    request = caught.value.request
    assert (request.method, str(request.url), request.body) == ("PUT", f"{server.url}/path?q", b"body")
    same_after_pickling(caught.value)
    if error is not aiohttpconn.RedirectBlocked and error is not InvalidURL:
        assert server.authority in str(caught.value)


async def test_a_refused_connection_carries_its_request(client: Client) -> None:
    with pytest.raises(ConnectError) as caught:
        await client.get(f"http://127.0.0.1:{free_port()}/x")
    assert caught.value.request.url.path == "/x"
    assert isinstance(caught.value, OSError)
    same_after_pickling(caught.value)


async def test_a_request_whose_body_is_a_stream_pickles_without_it(client: Client, raw_server: StartRaw) -> None:
    async def body() -> Any:
        yield b"x"

    server = await raw_server(b"")
    with pytest.raises(RemoteDisconnected) as caught:
        await client.post(server.url, content=body())
    assert same_after_pickling(caught.value).request.body is None


async def test_raise_for_status_returns_the_response_or_raises_with_it(
    client: Client, http_server: OriginServer
) -> None:
    good = await client.get(f"{http_server.url}/status/204")
    assert good.raise_for_status() is good
    bad = await client.get(f"http://user:secret@{http_server.authority}/status/503")
    with pytest.raises(HTTPStatusError) as caught:
        bad.raise_for_status()
    error = caught.value
    assert error.response is bad
    assert error.request is bad.request
    assert "503 Service Unavailable" in str(error)
    assert http_server.authority in str(error)
    assert "secret" not in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.response.status, copy.response.content) == (503, b"status 503")
    assert copy.request.url == bad.url
    assert list(copy.response.headers.items()) == list(bad.headers.items())


@pytest.mark.parametrize("status", [200, 204, 299, 300, 304, 399, 400, 404, 451, 499, 500, 599, 999])
async def test_raise_for_status_raises_from_400_on(status: int, client: Client, http_server: OriginServer) -> None:
    response = await client.get(f"{http_server.url}/status/{status}")
    assert response.is_error is (status >= 400)
    assert response.is_success is (200 <= status < 300)
    if status < 400:
        response.raise_for_status()
    else:
        with pytest.raises(HTTPStatusError):
            response.raise_for_status()


# --- life -------------------------------------------------------------------------------------------------------------


async def test_a_closed_client_says_so(http_server: OriginServer) -> None:
    client = Client(http_server.url, trust_env=False)
    await client.get("/")
    await client.close()
    await client.close()
    with pytest.raises(PoolClosed) as caught:
        await client.get("/again")
    assert caught.value.request.url.path == "/again"
    with pytest.raises(PoolClosed):
        async with client.stream("GET", "/"):
            pass
    assert client.stats().open == 0
    await http_server.wait_idle()


async def test_closing_the_client_ends_what_is_in_flight(raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Hold()])
    client = Client(server.url, trust_env=False)
    flight = asyncio.create_task(client.get("/"))
    while not server.requests:
        await asyncio.sleep(0.001)
    await client.close()
    with pytest.raises(PoolClosed):
        await flight
    await server.wait_idle()


async def test_a_client_that_was_never_used_needs_no_close() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Client(trust_env=False)
        gc.collect()


async def test_a_client_that_was_not_closed_warns_and_lets_go(http_server: OriginServer) -> None:
    clients = [Client(http_server.url, trust_env=False)]
    await clients[0].get("/")
    with pytest.warns(ResourceWarning, match="unclosed"):
        clients.clear()
    await http_server.wait_idle()


def test_another_loop_is_a_clear_error() -> None:
    async def first(client: Client) -> None:
        async with OriginServer() as server:
            await client.get(server.url)

    async def second(client: Client) -> None:
        with pytest.raises(RuntimeError, match="loop"):
            await client.get("http://127.0.0.1:9/")

    client = Client(trust_env=False)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(second(client))
        except BaseException as error:
            failures.append(error)

    with asyncio.Runner() as runner:
        runner.run(first(client))
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        runner.run(client.close())
    assert failures == []


async def test_repr_tells_the_state(http_server: OriginServer) -> None:
    async with Client(http_server.url, trust_env=False) as client:
        await client.get("/")
        assert "1 open" in repr(client)
    assert "closed" in repr(client)


async def test_concurrent_requests_share_the_connections(client: Client, http_server: OriginServer) -> None:
    async def one(n: int) -> None:
        response = await client.post(f"{http_server.url}/echo", content=b"%d" % n)
        assert response.content == b"%d" % n

    for _ in range(4):
        await asyncio.gather(*(one(n) for n in range(25)))
    assert http_server.connections <= 25
    assert client.stats().reused_total == 100 - client.stats().opened_total


async def test_a_route_may_answer_late_without_mixing_responses(client: Client, http_server: OriginServer) -> None:
    async def late(received: Any) -> Reply:
        await asyncio.sleep(0.001 * (7 * int(received.target.partition("?")[2]) % 5))
        return Reply(received.target.encode())

    http_server.routes["/late"] = late
    responses = await asyncio.gather(*(client.get(f"{http_server.url}/late?{n}") for n in range(30)))
    assert [response.text for response in responses] == [f"/late?{n}" for n in range(30)]


# --- fields that say what is not so -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("fields", [{"Content-Length": "5"}, {"Transfer-Encoding": "chunked"}])
async def test_a_body_that_is_announced_and_not_there(
    method: str, fields: dict[str, str], http_server: OriginServer
) -> None:
    async with Client(http_server.url, trust_env=False) as client:
        with pytest.raises(BodyLengthMismatch, match="announce a body"):
            await client.request(method, "/echo", headers=fields)
        assert (await client.get("/")).text == "hello"
    async with Client(http_server.url, headers=fields, trust_env=False) as client:
        with pytest.raises(BodyLengthMismatch):
            await client.request(method, "/echo")
    assert [request.target for request in http_server.requests] == ["/"]


async def test_no_body_announced_as_such(http_server: OriginServer) -> None:
    async with Client(http_server.url, trust_env=False) as client:
        for _ in range(2):
            assert (await client.post("/echo", headers={"Content-Length": "0"})).content == b""
    assert http_server.connections == 1


async def test_a_101_that_nobody_takes_over_leaves_nothing_behind(raw_server: Any) -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(switching), Hold()], [ReadRequest(), Send(OK), Hold()])
    async with Client(server.url, limits=Limits(max_connections=1), timeout=5, trust_env=False) as client:
        response = await client.get("/", headers={"Upgrade": "x", "Connection": "upgrade"})
        assert (response.status, response.content) == (101, b"")
        assert client.stats().open == 0
        assert (await client.get("/")).status == 200


@pytest.mark.parametrize("value", ["a\r\nY: b", "a\nY: b", "a\rb", "a\0b"])
async def test_fields_that_were_never_checked_do_not_go_out(value: str, http_server: OriginServer) -> None:
    async with Client(http_server.url, trust_env=False) as client:
        unchecked = CIMultiDictProxy(CIMultiDict({"X": value}))
        request = Request("GET", parse(http_server.url), unchecked)
        with pytest.raises(InvalidHeader):
            await client.send(request)
        assert (await client.get("/")).text == "hello"
    assert len(http_server.requests) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"params": 5}, "params must be a mapping, pairs, str or bytes, not int"),
        ({"headers": 5}, "headers must be a mapping or pairs, not int"),
        ({"max_body": "1 MiB"}, "max_body must be a number of bytes or None, not '1 MiB'"),
        ({"max_body": True}, "max_body must be"),
    ],
)
async def test_options_of_a_wrong_type_are_named(options: dict[str, Any], says: str, client: Client) -> None:
    with pytest.raises(TypeError, match=says):
        await client.get("http://localhost:1/", **options)


async def test_a_response_is_not_a_body(client: Client, http_server: OriginServer) -> None:
    response: Any = await client.get(http_server.url)
    with pytest.raises(TypeError, match=r"content=response\.iter_bytes\(\), or response\.content"):
        await client.post(http_server.url, content=response)
    assert len(http_server.requests) == 1


def test_what_is_given_as_the_wrong_kind() -> None:
    with pytest.raises(ValueError, match="max_body must not be negative"):
        Client(max_body=-1, trust_env=False)
    with pytest.raises(TypeError, match="headers must be"):
        Client(headers="x: y", trust_env=False)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="limits must be"):
        Client(limits=5, trust_env=False)  # type: ignore[arg-type]
