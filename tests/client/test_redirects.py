"""Redirects: decided on values, and followed over sockets."""

from __future__ import annotations

import asyncio
import gzip
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttpconn import (
    BodyNotReplayable,
    Client,
    InvalidURL,
    Limits,
    RedirectBlocked,
    RemoteDisconnected,
    Request,
    StreamClosed,
    StreamConsumed,
    TooManyRedirects,
    UnsupportedScheme,
)
from aiohttpconn.client.redirects import redirect_location, redirected
from aiohttpconn.messages import ResponseHead
from aiohttpconn.url import parse
from tests.auditing import audit_quiet, settle
from tests.servers.origin import OriginServer, Reply
from tests.servers.raw import Hold, Send, WaitFor
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers.raw import Received

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def head(status: int, *locations: str) -> ResponseHead:
    fields = CIMultiDict([("Location", location) for location in locations])
    return ResponseHead(11, status, "", CIMultiDictProxy(fields))


def request(method: str = "GET", url: str = "https://one.example/a/b?c#d", body: Any = None, **fields: str) -> Request:
    pairs = [(name.replace("_", "-"), value) for name, value in fields.items()]
    return Request(method, parse(url), CIMultiDictProxy(CIMultiDict(pairs)), body)


# --- which responses lead elsewhere -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_five_statuses_lead_elsewhere(status: int) -> None:
    assert redirect_location(head(status, "/x")) == "/x"


@pytest.mark.parametrize("status", [200, 201, 204, 300, 304, 305, 306, 309, 400, 503])
def test_no_other_status_does(status: int) -> None:
    assert redirect_location(head(status, "/x")) is None


@pytest.mark.parametrize("locations", [(), ("",), ("  \t",)])
def test_no_or_blank_location_leads_nowhere(locations: tuple[str, ...]) -> None:
    assert redirect_location(head(302, *locations)) is None


# --- method and body --------------------------------------------------------------------------------------------------

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"]
KEPT = {
    301: {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"},
    302: {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"},
    303: {"GET", "HEAD"},
    307: set(METHODS),
    308: set(METHODS),
}
TABLE = [(status, method) for status in KEPT for method in METHODS]


@pytest.mark.parametrize(("status", "method"), TABLE)
def test_what_becomes_of_method_body_and_its_fields(status: int, method: str) -> None:
    described = {"Content_Type": "text/plain", "Content_Length": "4", "Content_Encoding": "identity", "X_Own": "1"}
    described |= {"Content_Language": "en", "Content_Location": "/x", "Expect": "100-continue"}
    made = request(method, body=b"body", **described)
    following = redirected(made, status, "/next")
    if method in KEPT[status]:
        assert (following.method, following.body) == (method, b"body")
        assert following.headers == made.headers
    else:
        assert (following.method, following.body) == ("GET", None)
        assert list(following.headers.items()) == [("X-Own", "1")]
    assert (made.method, made.body) == (method, b"body"), "the request itself is left as it was"


@pytest.mark.parametrize(("status", "method"), TABLE)
async def test_the_same_over_a_socket(status: int, method: str, client: Client, http_server: OriginServer) -> None:
    response = await client.request(method, f"{http_server.url}/redirect/{status}?/request", content=b"body")
    first, second = http_server.requests
    assert (first.method, first.body) == (method, b"body")
    kept = method in KEPT[status]
    assert (second.method, second.body) == (method if kept else "GET", b"body" if kept else b"")
    assert second.get("Content-Length") == ("4" if kept else None)
    assert response.url.path == "/request"
    assert response.request.method == second.method
    assert [past.status for past in response.history] == [status]


@pytest.mark.parametrize("idempotent", [True, False, None])
def test_what_the_caller_said_of_idempotence_is_kept(idempotent: bool | None) -> None:
    made = request("POST", body=b"x")
    made = made.replace(idempotent=idempotent)
    assert redirected(made, 307, "/x").idempotent is idempotent


def not_replayable() -> list[Any]:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"body"

    return [iter([b"body"]), pieces(), (b"body" for _ in range(1))]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_that_can_be_read_once_is_not_sent_twice(
    status: int, number: int, client: Client, http_server: OriginServer
) -> None:
    with pytest.raises(BodyNotReplayable) as caught:
        await client.post(f"{http_server.url}/redirect/{status}?/request", content=not_replayable()[number])
    assert caught.value.request.method == "POST"
    (received,) = http_server.requests
    assert received.body == b"body"


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("status", [301, 302, 303])
async def test_such_a_body_is_no_obstacle_where_it_is_dropped(
    status: int, number: int, client: Client, http_server: OriginServer
) -> None:
    response = await client.post(f"{http_server.url}/redirect/{status}?/request", content=not_replayable()[number])
    assert response.json()["method"] == "GET"
    fields = {name.lower() for name, _ in http_server.requests[1].fields}
    assert fields.isdisjoint({"content-length", "transfer-encoding"})


@pytest.mark.parametrize("content", ["grüße", b"bytes", bytearray(b"array"), memoryview(b"view")])
async def test_bodies_in_memory_are_sent_again(content: Any, client: Client, http_server: OriginServer) -> None:
    response = await client.put(f"{http_server.url}/redirect/307?/echo", content=content)
    expected = content.encode() if isinstance(content, str) else bytes(content)
    assert response.content == expected
    assert [received.body for received in http_server.requests] == [expected, expected]


async def test_json_is_sent_again(client: Client, http_server: OriginServer) -> None:
    response = await client.post(f"{http_server.url}/redirect/308?/echo", json={"a": 1})
    assert response.json() == {"a": 1}
    assert http_server.requests[1].get("Content-Type") == "application/json"


# --- where to ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/x", "https://one.example/x#d"),
        ("x", "https://one.example/a/x#d"),
        ("../x", "https://one.example/x#d"),
        ("?q", "https://one.example/a/b?q#d"),
        ("//two.example/x", "https://two.example/x#d"),
        ("\\x", "https://one.example/x#d"),
        ("https://two.example", "https://two.example/#d"),
        ("  /x ", "https://one.example/x#d"),
        ("/x#own", "https://one.example/x#own"),
        ("/x#", "https://one.example/x#"),
        ("#own", "https://one.example/a/b?c#own"),
        ("HTTPS://TWO.example:443/X", "https://two.example/X#d"),
        ("/caf\xc3\xa9", "https://one.example/caf%C3%A9#d"),  # UTF-8 on the wire
        ("/caf\xe9", "https://one.example/caf%E9#d"),  # latin-1 on the wire
        ("/a b%2f%7e", "https://one.example/a%20b%2f%7e#d"),
        ("https://b\xc3\xbccher.example/", "https://xn--bcher-kva.example/#d"),
        ("https://user:pass@two.example/x", "https://user:pass@two.example/x#d"),
    ],
)
def test_where_a_location_leads(location: str, url: str) -> None:
    assert redirected(request(), 302, location).url.href == url


def test_userinfo_is_not_inherited() -> None:
    made = request(url="https://user:secret@one.example/a")
    assert redirected(made, 302, "/x").url.href == "https://one.example/x"


@pytest.mark.parametrize("location", ["ftp://one.example/", "javascript:alert(1)", "file:///etc/passwd", "mailto:a@b"])
def test_other_schemes_are_blocked(location: str) -> None:
    with pytest.raises(RedirectBlocked) as caught:
        redirected(request(), 302, location)
    assert isinstance(caught.value.__cause__, UnsupportedScheme)


@pytest.mark.parametrize("location", ["https://", "https://[::1", "https://a:99999/", "https://a\tb/"])
def test_what_is_no_url_leads_nowhere(location: str) -> None:
    with pytest.raises(InvalidURL):
        redirected(request(), 302, location)


def test_from_https_to_http_is_blocked_unless_allowed() -> None:
    with pytest.raises(RedirectBlocked):
        redirected(request(), 302, "http://one.example/x")
    assert redirected(request(), 302, "http://one.example/x", allow_downgrade=True).url.scheme == "http"
    assert redirected(request(url="http://one.example/"), 302, "https://one.example/x").url.scheme == "https"


async def test_from_https_to_http_over_sockets(
    https_server: OriginServer, http_server: OriginServer, client: Client, client_ctx: Any
) -> None:
    url = f"{https_server.url}/redirect/302?{http_server.url}/request"
    with pytest.raises(RedirectBlocked) as caught:
        await client.get(url)
    assert caught.value.request.url == url
    assert http_server.connections == 0
    async with Client(allow_downgrade=True, verify=client_ctx, trust_env=False) as lenient:
        response = await lenient.get(url, headers={"Authorization": "Basic eDp5"})
    assert response.url.scheme == "http"
    assert http_server.requests[0].get("Authorization") is None


async def test_from_http_to_https(https_server: OriginServer, http_server: OriginServer, client: Client) -> None:
    response = await client.get(f"{http_server.url}/redirect/301?{https_server.url}/request")
    assert response.url.scheme == "https"
    assert response.json()["method"] == "GET"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        (b"next?x=1", "/dir/next?x=1"),
        (b"//AUTHORITY/abs", "/abs"),
        (b"/caf\xc3\xa9", "/caf%C3%A9"),
        (b"/caf\xe9#frag", "/caf%E9"),
        (b"http://AUTHORITY", "/"),
    ],
)
async def test_locations_as_they_come_on_the_wire(
    location: bytes, target: str, client: Client, raw_server: StartRaw
) -> None:
    async def script(reader: Any, writer: Any, conn: Any) -> None:
        where = location.replace(b"AUTHORITY", conn.server.authority.encode())
        await conn.read_request()
        await conn.send(b"HTTP/1.1 302 Found\r\nLocation: " + where + b"\r\nContent-Length: 0\r\n\r\n")
        await conn.read_request()
        await conn.send(OK)

    server = await raw_server(script)
    response = await client.get(f"{server.url}/dir/page#top")
    assert server.requests[1].target == target
    assert response.url.fragment == ("frag" if b"#" in location else "top")


@pytest.mark.parametrize("fields", [b"", b"Location:\r\n", b"Location:   \r\n"])
async def test_without_a_location_the_response_is_returned_as_it_is(
    fields: bytes, client: Client, raw_server: StartRaw
) -> None:
    server = await raw_server(b"HTTP/1.1 302 Found\r\n" + fields + b"Content-Length: 4\r\n\r\nbody")
    response = await client.get(server.url)
    assert (response.status, response.content, response.history) == (302, b"body", ())
    assert not response.is_redirect


@pytest.mark.parametrize("status", [300, 304, 305])
async def test_other_statuses_with_a_location_are_returned(
    status: int, client: Client, http_server: OriginServer
) -> None:
    response = await client.get(f"{http_server.url}/redirect/{status}?/request")
    assert response.status == status
    assert not response.is_redirect


# --- off, and too many ------------------------------------------------------------------------------------------------


async def test_following_can_be_off_for_the_client_or_for_a_request(http_server: OriginServer) -> None:
    url = "/redirect/302?/request"
    async with Client(http_server.url, follow_redirects=False, trust_env=False) as client:
        response = await client.get(url)
        assert (response.status, response.text, response.is_redirect) == (302, "elsewhere", True)
        assert response.headers["Location"] == "/request"
        assert (await client.get(url, follow_redirects=True)).status == 200
        async with client.stream("GET", url) as streamed:
            assert streamed.status == 302
    async with Client(http_server.url, trust_env=False) as client:
        assert (await client.get(url, follow_redirects=False)).status == 302
        assert (await client.send(client.build_request("GET", url), follow_redirects=False)).status == 302


def counting_down(received: Received) -> Reply:
    left = int(received.target.partition("?")[2])
    return Reply(b"done") if left == 0 else Reply(status=302, fields=[("Location", f"/count?{left - 1}")])


async def test_twenty_are_followed_and_no_more(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/count"] = counting_down
    response = await client.get(f"{http_server.url}/count?20")
    assert response.text == "done"
    assert [past.url.query for past in response.history] == [str(n) for n in range(20, 0, -1)]
    http_server.requests.clear()
    with pytest.raises(TooManyRedirects) as caught:
        await client.get(f"{http_server.url}/count?21")
    assert len(http_server.requests) == 21
    error = caught.value
    assert [past.url.query for past in error.history] == [str(n) for n in range(21, 0, -1)]
    assert error.request is error.history[-1].request
    assert http_server.authority in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert [past.url for past in copy.history] == [past.url for past in error.history]
    assert http_server.connections == 1


@pytest.mark.parametrize("limit", [0, 1, 3])
async def test_the_limit_can_be_set(limit: int, http_server: OriginServer) -> None:
    http_server.routes["/count"] = counting_down
    async with Client(http_server.url, max_redirects=limit, trust_env=False) as client:
        assert (await client.get(f"/count?{limit}")).text == "done"
        with pytest.raises(TooManyRedirects) as caught:
            await client.get(f"/count?{limit + 1}")
        assert len(caught.value.history) == limit + 1
        audit_quiet(client.pool)  # type: ignore[arg-type]


async def test_a_loop_ends(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/loop"] = Reply(status=302, fields=[("Location", "/loop")])
    with pytest.raises(TooManyRedirects):
        await client.get(f"{http_server.url}/loop")
    assert len(http_server.requests) == 21


# --- credentials ------------------------------------------------------------------------------------------------------

SECRETS = {
    "Authorization": "Basic c2VjcmV0",
    "Cookie": "session=secret",
    "Proxy-Authorization": "Basic c2VjcmV0",
    "X-Api-Key": "secret",
    "X-Custom": "secret",
    "Host": "secret.example",
    "Origin": "https://secret.example",
    "Referer": "https://secret.example/",
}
HARMLESS = {
    "User-Agent": "me",
    "Accept": "text/x",
    "Accept-Language": "de",
    "Range": "bytes=0-",
    "If-None-Match": '"x"',
}


@pytest.mark.parametrize(
    "location",
    ["https://two.example/x", "//sub.one.example/", "https://one.example:444/", "http://one.example/"],
)
@pytest.mark.parametrize("status", [302, 307])
def test_across_origins_only_harmless_fields_are_kept(status: int, location: str) -> None:
    made = Request("GET", parse("https://one.example/"), CIMultiDictProxy(CIMultiDict(SECRETS | HARMLESS)))
    following = redirected(made, status, location, allow_downgrade=True)
    assert dict(following.headers) == HARMLESS


@pytest.mark.parametrize("location", ["/x", "https://one.example:443/y", "https://ONE.example"])
def test_within_an_origin_everything_is_kept(location: str) -> None:
    made = Request("GET", parse("https://one.example/"), CIMultiDictProxy(CIMultiDict(SECRETS | HARMLESS)))
    assert redirected(made, 302, location).headers == made.headers


def test_what_was_dropped_does_not_come_back_with_the_way_back() -> None:
    made = request(Authorization="secret")
    away = redirected(made, 302, "https://two.example/")
    assert "Authorization" not in redirected(away, 302, "https://one.example/").headers


async def test_credentials_do_not_cross_ports(client: Client, http_server: OriginServer) -> None:
    secrets = {**SECRETS, "Host": http_server.authority}
    async with OriginServer() as other:
        await client.get(f"{http_server.url}/redirect/302?{other.url}/request", headers=secrets | HARMLESS)
        first, second = http_server.requests[0], other.requests[0]
    for name, value in secrets.items():
        assert first.get(name) == value
        assert second.get(name) == (other.authority if name == "Host" else None)
    for name, value in HARMLESS.items():
        assert second.get(name) == value


async def test_credentials_do_not_cross_hosts(client: Client, http_server: OriginServer) -> None:
    url = f"http://localhost:{http_server.port}/request"
    await client.get(f"{http_server.url}/redirect/302?{url}", headers={"Authorization": "x", "Host": "virtual.example"})
    first, second = http_server.requests
    assert (first.get("Authorization"), first.get("Host")) == ("x", "virtual.example")
    assert (second.get("Authorization"), second.get("Host")) == (None, f"localhost:{http_server.port}")


async def test_the_clients_own_fields_are_dropped_across_origins_too(http_server: OriginServer) -> None:
    async with OriginServer() as other, Client(headers={"X-Api-Key": "secret"}, trust_env=False) as client:
        await client.get(f"{http_server.url}/redirect/302?{other.url}/request")
        assert http_server.requests[0].get("X-Api-Key") == "secret"
        assert other.requests[0].get("X-Api-Key") is None


async def test_within_an_origin_they_go_along(client: Client, http_server: OriginServer) -> None:
    await client.get(f"{http_server.url}/redirect/302?/request", headers=SECRETS)
    second = http_server.requests[1]
    assert {name: second.get(name) for name in SECRETS} == SECRETS


async def test_userinfo_of_a_location_is_not_in_the_request(client: Client, http_server: OriginServer) -> None:
    location = f"http://user:secret@{http_server.authority}/request"
    response = await client.get(f"{http_server.url}/redirect/302?{location}")
    assert response.status == 200
    assert b"secret" not in http_server.requests[1].raw


# --- the redirect's own body ------------------------------------------------------------------------------------------


def redirect_with(received_fields: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: /next\r\n" + received_fields + b"\r\n"


@pytest.mark.parametrize("size", [0, 1, 65535, 65536])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_up_to_64_kib_is_read_and_the_connection_kept(
    chunked: bool, size: int, client: Client, http_server: OriginServer
) -> None:
    reply = Reply(b"x" * size, status=302, fields=[("Location", "/")], chunked=1000 if chunked else None)
    http_server.routes["/start"] = reply
    response = await client.get(f"{http_server.url}/start")
    assert response.text == "hello"
    assert response.history[0].content == b"x" * size
    assert http_server.connections == 1
    assert client.stats().reused_total == 1


async def test_a_coded_body_of_a_redirect_is_decoded(client: Client, http_server: OriginServer) -> None:
    fields = [("Location", "/"), ("Content-Encoding", "gzip")]
    http_server.routes["/start"] = Reply(gzip.compress(b"moved"), status=302, fields=fields)
    http_server.routes["/broken"] = Reply(b"moved", status=302, fields=fields)
    assert (await client.get(f"{http_server.url}/start")).history[0].content == b"moved"
    response = await client.get(f"{http_server.url}/broken")
    assert response.text == "hello", "what a redirect has to say is in its head"
    with pytest.raises(StreamConsumed):
        response.history[0].content  # noqa: B018 - the property raises


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(b"Content-Length: 65537\r\n", id="long"),
        pytest.param(b"Content-Length: 9223372036854775807\r\n", id="endless"),
        pytest.param(b"", id="until the close"),
    ],
)
async def test_a_long_or_unframed_body_is_not_waited_for(fields: bytes, client: Client, raw_server: StartRaw) -> None:
    # The server sends nothing of the body and does not close: whoever waited for it would hang.
    server = await raw_server([ReadRequest(), Send(redirect_with(fields)), Hold()], [ReadRequest(), Send(OK)])
    response = await client.get(server.url)
    assert response.text == "ok"
    assert server.connections == 2
    assert response.history[0].status == 302
    with pytest.raises(StreamClosed):
        response.history[0].content  # noqa: B018 - the property raises


async def test_an_endless_chunked_body_is_read_up_to_64_kib(client: Client, raw_server: StartRaw) -> None:
    released = asyncio.Event()

    async def endless(reader: Any, writer: Any, conn: Any) -> None:
        await conn.read_request()
        await conn.send(redirect_with(b"Transfer-Encoding: chunked\r\n"))
        while not released.is_set():
            await conn.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await asyncio.sleep(0)

    server = await raw_server(endless, [ReadRequest(), Send(OK)])
    try:
        assert (await client.get(server.url)).text == "ok"
        assert server.connections == 2
    finally:
        released.set()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"Content-Length: 10\r\n\r\nabc", id="cut off"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", id="broken"),
    ],
)
async def test_a_broken_body_does_not_stop_the_redirect(body: bytes, client: Client, raw_server: StartRaw) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /next\r\n"
    server = await raw_server(head + body, [ReadRequest(), Send(OK)])
    assert (await client.get(server.url)).text == "ok"
    assert server.connections == 2


async def test_connection_close_is_heeded(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/start"] = Reply(b"x", status=302, fields=[("Location", "/")], close=True)
    assert (await client.get(f"{http_server.url}/start")).text == "hello"
    assert http_server.connections == 2


async def test_a_redirect_to_an_upload_that_was_refused_half_way(client: Client, raw_server: StartRaw) -> None:
    """The answer comes while the body is still being sent: 303 ends the upload, and GET follows."""
    asked = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await asked.wait()
        for _ in range(1000):
            yield b"x" * 65536
            await asyncio.sleep(0)

    async def refuse(reader: Any, writer: Any, conn: Any) -> None:
        await conn.read_head()
        await conn.send(b"HTTP/1.1 303 See Other\r\nLocation: /why\r\nContent-Length: 0\r\n\r\n")
        asked.set()
        await conn.wait_closed_by_peer()

    server = await raw_server(refuse, [ReadRequest(), Send(OK)])
    response = await client.post(server.url, content=body())
    assert (response.text, response.request.method) == ("ok", "GET")
    assert server.connections == 2


# --- what is left of the way ------------------------------------------------------------------------------------------


async def test_history_and_urls_tell_the_way(client: Client, http_server: OriginServer) -> None:
    url = f"{http_server.url}/redirect/301?/redirect/307?/request"
    response = await client.get(url, params={"p": "q"}, headers={"X-A": "b"})
    assert [str(past.url) for past in response.history] == [
        url + "&p=q",
        f"{http_server.url}/redirect/307?/request&p=q",
    ]
    assert [past.status for past in response.history] == [301, 307]
    assert [len(past.history) for past in response.history] == [0, 1]
    assert all(past.is_redirect for past in response.history)
    assert response.request.headers["X-A"] == "b"
    assert str(response.url) == f"{http_server.url}/request&p=q"


async def test_redirects_inside_stream(client: Client, http_server: OriginServer) -> None:
    async with client.stream("GET", f"{http_server.url}/redirect/302?/bytes/300000") as response:
        assert len(response.history) == 1
        assert len(b"".join([piece async for piece in response.iter_bytes()])) == 300000
    assert http_server.connections == 1


async def test_an_error_behind_a_redirect_carries_the_request_it_met(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(redirect_with(b"Content-Length: 0\r\n")), ReadRequest()], b"")
    with pytest.raises(RemoteDisconnected) as caught:
        await client.get(server.url)
    assert caught.value.request.url.path == "/next"


async def test_the_slot_is_free_before_the_redirect_is_followed(http_server: OriginServer) -> None:
    """One connection is enough for any number of redirects, within an origin and across."""
    async with OriginServer() as other, Client(limits=Limits(max_connections=1), trust_env=False, timeout=5) as client:
        url = f"{http_server.url}/redirect/302?{other.url}/redirect/302?{http_server.url}/request"
        assert (await client.get(url)).status == 200
        http_server.routes["/long"] = Reply(b"x" * 100000, status=302, fields=[("Location", "/")])
        assert (await client.get(f"{http_server.url}/long")).text == "hello"
        await settle()
        audit_quiet(client.pool)  # type: ignore[arg-type]


async def test_redirects_wait_for_no_body_of_a_head_response(client: Client, raw_server: StartRaw) -> None:
    never = asyncio.Event()
    head = redirect_with(b"Content-Length: 10\r\n")
    server = await raw_server([ReadRequest(), Send(head), ReadRequest(), Send(OK[:-2]), WaitFor(never)])
    response = await client.head(server.url)
    assert response.status == 200
    assert server.connections == 1
    never.set()


@pytest.mark.parametrize("location", [b"ftp://elsewhere/", b"http://[", b"/too-many"])
async def test_a_redirect_that_is_not_followed_holds_no_connection(location: bytes, raw_server: StartRaw) -> None:
    """Its body has not arrived, and whoever holds the error holds nothing else."""
    server = await raw_server(
        [ReadRequest(), Send(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 9\r\n\r\n"), Hold()]
    )
    async with Client(max_redirects=0 if location == b"/too-many" else 20, trust_env=False) as client:
        with pytest.raises((RedirectBlocked, InvalidURL, TooManyRedirects)) as caught:
            await client.get(server.url)
        assert client.stats().open == 0
        assert caught.value.request.url == server.url
        await server.wait_idle()
