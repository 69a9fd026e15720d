"""What a response tells of its exchange: timings, cookies, the next request, and `explain()`."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, RedirectBlocked
from aiohttpconn.config import Retry
from tests.servers.origin import OriginServer, Reply
from tests.servers.raw import Hold, Send
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    import ssl

    from tests.servers.proxy import ConnectProxy
    from tests.servers.raw import Received


async def test_timings_of_a_connection_that_was_opened_and_used_again(
    client: Client, http_server: OriginServer, https_server: OriginServer
) -> None:
    first = (await client.get(http_server.url)).timings
    assert not first.reused
    assert first.connect is not None
    assert first.connect > 0
    assert first.tls is None
    assert first.tunnel is None
    assert first.queued == 0.0
    assert first.sent is not None
    assert first.first_byte is not None
    assert first.done is not None
    assert first.connect < first.sent < first.first_byte <= first.done
    second = (await client.get(http_server.url)).timings
    assert second.reused
    assert (second.dns, second.connect, second.tls) == (None, None, None)
    assert (await client.get(https_server.url)).timings.tls


async def test_timings_of_a_body_that_is_still_to_come(client: Client, http_server: OriginServer) -> None:
    async with client.stream("GET", f"{http_server.url}/bytes/10000000") as response:
        assert response.timings.done is None
        assert "so far" in response.explain()
        await response.read()
        timings = response.timings
        assert timings.done is not None
        assert timings.first_byte is not None
        assert timings.done > timings.first_byte
        assert response.elapsed.total_seconds() == pytest.approx(timings.first_byte, abs=1e-5)


async def test_a_snapshot_keeps_what_is_no_stream(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/x"] = Reply(b"\xe4", fields=[("Set-Cookie", "a=b")], chunked=1, trailers=[("X-Sum", "1")])
    async with client.stream("GET", f"{http_server.url}/redirect/302?/x") as response:
        await response.read()
        response.encoding = "latin-1"
        copy = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(response))))
    assert copy.timings == response.timings
    assert copy.elapsed == response.elapsed
    assert (copy.text, copy.cookies, copy.num_bytes_downloaded) == ("ä", {"a": "b"}, 1)
    assert copy.trailers["X-Sum"] == "1"
    assert copy.history[0].timings == response.history[0].timings
    assert copy.explain() == response.explain()
    assert copy.is_closed


async def test_cookies_are_those_that_this_response_set(client: Client, http_server: OriginServer) -> None:
    lines = [
        "a=1; Path=/",
        "b=x=y; HttpOnly",
        "a=2",
        "gone=1; Max-Age=0",
        "old=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ]
    http_server.routes["/set"] = Reply(b"", fields=[("Set-Cookie", line) for line in lines])
    response = await client.get(f"{http_server.url}/set")
    assert response.cookies == {"a": "2", "b": "x=y"}
    assert (await client.get(http_server.url)).cookies == {}


async def test_the_next_request(client: Client, http_server: OriginServer) -> None:
    url = f"{http_server.url}/redirect/303?/request"
    response = await client.post(url, json=[1], follow_redirects=False, headers={"X-A": "b"})
    following = response.next_request
    assert following is not None
    assert (following.method, following.url, following.body) == ("GET", f"{http_server.url}/request", None)
    assert following.headers["X-A"] == "b"
    assert (await client.send(following)).json()["method"] == "GET"
    assert (await client.get(http_server.url)).next_request is None
    assert (await client.get(f"{http_server.url}/status/302", follow_redirects=False)).next_request is None


async def test_the_next_request_has_cookies_once(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/set"] = Reply(b"", fields=[("Set-Cookie", "a=1; Path=/")])
    await client.get(f"{http_server.url}/set")
    response = await client.get(f"{http_server.url}/redirect/302?/request", follow_redirects=False)
    assert response.request.headers["Cookie"] == "a=1"
    assert response.next_request is not None
    fields = (await client.send(response.next_request)).json()["fields"]
    assert [value for name, value in fields if name == "Cookie"] == ["a=1"]


async def test_the_next_request_of_a_downgrade_is_blocked(client: Client, https_server: OriginServer) -> None:
    response = await client.get(f"{https_server.url}/redirect/302?http://localhost/", follow_redirects=False)
    with pytest.raises(RedirectBlocked):
        response.next_request  # noqa: B018 - the property raises


# --- explain() --------------------------------------------------------------------------------------------------------


async def test_one_page_of_a_plain_request(client: Client, http_server: OriginServer) -> None:
    page = (await client.get(f"{http_server.url}/bytes/1500")).explain()
    assert page.startswith(f"GET {http_server.url}/bytes/1500 came to 200 OK\n")
    assert "opened for this request, since there was none to it" in page
    assert f"{http_server.url}, directly" in page
    assert "1,500 bytes of body" in page
    assert "connect " in page
    page = (await client.get(f"{http_server.url}/gzip")).explain()
    assert "used before, and kept alive" in page
    assert "(gzip)" in page
    assert max(map(len, page.splitlines())) < 160


async def test_hops_and_dropped_fields(client: Client, http_server: OriginServer, https_server: OriginServer) -> None:
    url = f"{http_server.url}/redirect/302?{https_server.url}/bytes/1"
    page = (await client.get(url, headers={"X-Api-Key": "s3cret", "Authorization": "Bearer s3cret"})).explain()
    assert "after 1 other\n" in page
    assert f"1. GET {http_server.url}/redirect/302" in page
    assert "302 Found" in page
    assert f"2. GET {https_server.url}/bytes/1" in page
    assert "X-Api-Key" in page
    assert "Authorization" in page
    assert "s3cret" not in page
    assert "tls " in page


async def test_attempts(http_server: OriginServer) -> None:
    replies = [Reply(b"", status=503), Reply(b"", status=502), Reply(b"done")]

    def reply(request: Received) -> Reply:
        return replies.pop(0)

    http_server.routes["/x"] = reply
    async with Client(trust_env=False, retries=Retry(backoff=0.001, budget=None)) as client:
        page = (await client.get(f"{http_server.url}/x")).explain()
    assert "attempt 1:" in page
    assert "503; the next one" in page
    assert "502; the next one" in page


async def test_no_secret_is_shown(client: Client, http_server: OriginServer) -> None:
    secret = "s3cret"
    http_server.routes["/set"] = Reply(b"", fields=[("Set-Cookie", f"sid={secret}; Path=/")])
    await client.get(f"{http_server.url}/set")
    query = f"token={secret}&X-Amz-Signature={secret}&page=2"
    url = f"http://u:{secret}@{http_server.authority}/redirect/302?/request?{query}"
    response: Any = await client.get(url, headers={"X-Token": secret})
    page = response.explain()
    assert secret not in page
    assert "page=2" in page


async def test_a_socket_is_named(raw_server: Any) -> None:
    server = await raw_server([ReadRequest(), Send(b"HTTP/1.1 204 No Content\r\n\r\n"), Hold()], uds=True)
    async with Client("http://service.local", uds=server.path, trust_env=False) as client:
        assert f"http://service.local, through the socket {server.path}\n" in (await client.get("/")).explain()


async def test_the_proxy_is_named(
    connect_proxy: ConnectProxy, http_server: OriginServer, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    proxy = f"http://user:s3cret@{connect_proxy.authority}"
    async with Client(proxy=proxy, verify=client_ctx, trust_env=False) as client:
        for url in (http_server.url, https_server.url):
            response = await client.get(url)
            assert f"{url}, through the proxy http://{connect_proxy.authority}" in response.explain()
            assert "s3cret" not in response.explain()
        assert response.timings.tunnel
