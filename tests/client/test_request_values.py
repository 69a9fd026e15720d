"""Requests as values: what they are made of does not change, and what goes out is what they say."""

from __future__ import annotations

import asyncio
import copy
import io
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttpconn import (
    Auth,
    BodyNotReplayable,
    Client,
    ConnectionPool,
    Hooks,
    HTTPStatusError,
    InvalidHeader,
    Request,
    RequestContext,
    Retry,
    Timeout,
    TotalTimeout,
)
from aiohttpconn.config import Deadline
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from aiohttpconn import Response
    from tests.servers.raw import Received

NOW = Retry(attempts=3, backoff=0.001, budget=None)


def bodies(server: OriginServer) -> list[bytes]:
    return [request.body for request in server.requests]


def failing_once(request: Received) -> Reply:
    """503, then 200."""
    failing_once.count += 1  # type: ignore[attr-defined]
    return Reply(b"", status=503 if failing_once.count % 2 else 200)  # type: ignore[attr-defined]


@pytest.fixture
def flaky(http_server: OriginServer) -> str:
    failing_once.count = 0  # type: ignore[attr-defined]
    http_server.routes["/flaky"] = failing_once
    return f"{http_server.url}/flaky"


# --- a value ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["method", "url", "headers", "body", "idempotent", "field_lines", "more_lines", "new"])
def test_nothing_of_it_changes(name: str) -> None:
    request = Request("GET", "http://a/")
    with pytest.raises(AttributeError, match="does not change"):
        setattr(request, name, "x")
    with pytest.raises(AttributeError, match="does not change"):
        delattr(request, name)
    assert request == Request("GET", "http://a/")


def test_the_error_says_how_a_copy_is_made() -> None:
    request = Request("GET", "http://a/")
    with pytest.raises(AttributeError, match=r"request\.replace\(method=…\)"):
        request.method = "PUT"  # type: ignore[misc]
    with pytest.raises(AttributeError, match=r"request\.with_fields\(\{…\}\)"):
        request.headers = {}  # type: ignore[misc,assignment]


def test_equal_by_its_parts() -> None:
    one = Request("POST", "http://a/", {"A": "1"}, b"x")
    assert one == Request("post", "HTTP://A:80/", [("a", "1")], b"x")
    assert hash(one) == hash(Request("POST", "http://a/"))
    for change in ({"method": "PUT"}, {"url": "http://a/b"}, {"body": b"y"}, {"idempotent": True}):
        other: Any = one.replace(**change)  # type: ignore[arg-type]
        assert one != other
    assert one != "POST http://a/"
    assert copy.copy(one) is copy.deepcopy(one) is one


@pytest.mark.parametrize("body", [b"bytes", "text", bytearray(b"array"), memoryview(b"view")])
def test_bodies_in_memory_are_pickled(body: Any) -> None:
    back = pickle.loads(pickle.dumps(Request("POST", "http://a/", body=body)))
    assert back.body == body


@pytest.mark.parametrize("method", ["get", "Get", "head", "post", "put", "patch", "delete", "options"])
async def test_known_methods_in_any_case(method: str, client: Client, http_server: OriginServer) -> None:
    response = await client.request(method, f"{http_server.url}/bytes/3")
    assert response.status == 200
    assert http_server.requests[-1].method == method.upper()
    assert client.build_request(method, "http://a/").method == method.upper()
    assert Request(method, "http://a/").method == method.upper()


async def test_a_request_of_a_wrong_type_is_named(client: Client) -> None:
    with pytest.raises(TypeError, match="send\\(\\) takes a Request, not str"):
        await client.send("http://a/")  # type: ignore[arg-type]


# --- framing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["identity", "gzip", "", "chunked, gzip"])
async def test_no_body_goes_out_without_an_end(value: str, client: Client, http_server: OriginServer) -> None:
    with pytest.raises(InvalidHeader, match="must end in chunked"):
        await client.post(http_server.url, content=b"GET /x HTTP/1.1\r\n\r\n", headers={"Transfer-Encoding": value})
    assert (await client.get(http_server.url)).text == "hello"
    assert [request.target for request in http_server.requests] == ["/"]


@pytest.mark.parametrize("body", [b"GET /x HTTP/1.1\r\n\r\n", "text", [b"a", b"b"]])
async def test_a_body_is_framed_whoever_made_the_request(body: Any, http_server: OriginServer) -> None:
    whole = body.encode() if isinstance(body, str) else b"".join(body) if isinstance(body, list) else body
    by_hand = Request("POST", f"{http_server.url}/echo", {"X": "1"}, body)

    def without(request: Request) -> Request:
        return request.without_fields("Content-Length").without_fields("Transfer-Encoding")

    class Signs(Auth):
        def flow(self, request: Request) -> Generator[Request, Response, None]:
            yield Request("POST", request.url, {"Y": "2"}, body)

    async with Client(trust_env=False) as client:
        assert (await client.send(by_hand)).content == whole
        assert (await client.get(f"{http_server.url}/echo", auth=Signs())).content == whole
    for hook in (without, lambda request: by_hand):
        async with Client(trust_env=False, hooks=Hooks(on_request=hook)) as client:
            assert (await client.post(f"{http_server.url}/echo", content=body)).content == whole
    async with ConnectionPool() as pool:
        response = await pool.send(by_hand, RequestContext(Deadline(Timeout.of(5), 0.0)))
        assert await response.read() == whole


async def test_a_proxy_of_a_mapping_is_a_value_of_fields(http_server: OriginServer) -> None:
    fields = CIMultiDictProxy(CIMultiDict({"X-Own": "1"}))
    async with Client(trust_env=False) as client:
        await client.send(Request("GET", http_server.url, fields))
    assert http_server.requests[-1].get("X-Own") == "1"


# --- bodies that are streams ------------------------------------------------------------------------------------------


async def test_a_request_made_by_hand_is_sent_again_as_it_was(client: Client, http_server: OriginServer) -> None:
    url = f"{http_server.url}/echo"
    file = io.BytesIO(b"-abcdef")
    file.read(1)
    for body in (file, [b"abc", b"def"]):
        request = Request("PUT", url, body=body)
        assert [(await client.send(request)).content for _ in range(3)] == [b"abcdef"] * 3
        assert request.replayable
    request = Request("PUT", url, body=(piece for piece in [b"one"]))
    assert (await client.send(request)).content == b"one"
    with pytest.raises(BodyNotReplayable):
        await client.send(request)
    assert not request.replayable


async def test_a_hooks_body_is_sent_again_as_it_was(flaky: str, http_server: OriginServer) -> None:
    file, once = io.BytesIO(b"hookfile"), (piece for piece in [b"one"])
    for body, expected in ((file, [b"hookfile"] * 2), (b"bytes", [b"bytes"] * 2)):
        hooks = Hooks(on_request=lambda request, body=body: request.replace(body=body))
        async with Client(trust_env=False, hooks=hooks, retries=NOW) as client:
            before = len(http_server.requests)
            assert (await client.put(flaky, content=b"x")).status == 200
            assert bodies(http_server)[before:] == expected
    async with Client(trust_env=False, hooks=Hooks(on_request=lambda request: request.replace(body=once))) as client:
        before = len(http_server.requests)
        with pytest.raises(BodyNotReplayable):
            await client.put(f"{http_server.url}/redirect/307?/echo", content=b"x")
        assert bodies(http_server)[before:] == [b"one"]


async def test_a_flows_body_is_sent_again_as_it_was(flaky: str, http_server: OriginServer) -> None:
    class Signs(Auth):
        def flow(self, request: Request) -> Generator[Request, Response, None]:
            yield request.replace(body=io.BytesIO(b"flow"))

    async with Client(trust_env=False, auth=Signs(), retries=NOW) as client:
        assert (await client.put(flaky, content=b"x")).status == 200
    assert bodies(http_server) == [b"flow", b"flow"]


# --- flows that are none ----------------------------------------------------------------------------------------------


class _Empty(Auth):
    def flow(self, request: Request) -> Generator[Request, Response, None]:
        return
        yield


class _AsyncEmpty(Auth):
    async def async_flow(self, request: Request) -> AsyncIterator[Request]:  # type: ignore[override]
        return
        yield


class _Text(Auth):
    def flow(self, request: Request) -> Any:
        yield "GET /"


class _Coroutine(Auth):
    async def flow(self, request: Request) -> Any:  # type: ignore[override]
        yield request


class _AsyncCoroutine(Auth):
    async def async_flow(self, request: Request) -> Any:  # type: ignore[override]
        return request


@pytest.mark.parametrize(
    ("auth", "kind", "says"),
    [
        (_AsyncCoroutine(), TypeError, r"_AsyncCoroutine\.async_flow\(\) must be an async generator"),
        (_Empty(), RuntimeError, "yielded no request"),
        (_AsyncEmpty(), RuntimeError, "_AsyncEmpty yielded no request"),
        (_Text(), TypeError, "_Text must yield a Request, not str"),
        (_Coroutine(), TypeError, r"_Coroutine\.flow\(\) must be a generator"),
    ],
)
async def test_a_flow_that_is_none_is_named(
    auth: Auth, kind: type[Exception], says: str, client: Client, http_server: OriginServer
) -> None:
    with pytest.raises(kind, match=says):
        await client.get(http_server.url, auth=auth)
    assert not http_server.requests


# --- time -------------------------------------------------------------------------------------------------------------


async def test_total_holds_for_hooks_and_what_is_read_to_be_signed(client: Client, http_server: OriginServer) -> None:
    async def never(*told: object) -> None:
        await asyncio.Event().wait()

    class Hashes(Auth):
        needs_request_body = True

        def flow(self, request: Request) -> Generator[Request, Response, None]:
            yield request

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    short = Timeout(total=0.05)
    for hooks in (Hooks(on_request=never), Hooks(on_response=never)):
        async with Client(trust_env=False, hooks=hooks) as hooked:
            with pytest.raises(TotalTimeout, match="in a hook of GET"):
                await hooked.get(http_server.url, timeout=short)
            assert hooked.stats().in_use == 0
    with pytest.raises(TotalTimeout, match="signing POST"):
        await client.post(http_server.url, content=endless(), auth=Hashes(), timeout=short)
    assert client.stats().in_use == 0


# --- params and statuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "query"),
    [
        ({"page": 2}, "a=1&page=2"),
        ([("page", 2), ("page", 3)], "a=1&page=2&page=3"),
        ({"b": 2}, "page=1&a=1&b=2"),
        ("page=2", "page=1&a=1&page=2"),
        (None, "page=1&a=1"),
    ],
)
def test_own_params_go_in_place_of_the_clients(own: Any, query: str) -> None:
    client = Client(params={"page": 1, "a": 1}, trust_env=False)
    assert client.build_request("GET", "http://a/", params=own).url.query == query


async def test_statuses_are_raised_after_retries_and_challenges(flaky: str, http_server: OriginServer) -> None:
    async with Client(trust_env=False, raise_for_status=True, retries=NOW) as client:
        assert (await client.get(flaky)).status == 200
        with pytest.raises(HTTPStatusError) as caught:
            await client.get(f"{http_server.url}/status/404")
        assert caught.value.response.status == 404
        with pytest.raises(HTTPStatusError):
            async with client.stream("GET", f"{http_server.url}/status/500"):
                pass
        assert client.stats().in_use == 0
        assert (await client.get(f"{http_server.url}/redirect/302?/")).status == 200


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cross_origin_headers": "X-Key"}, r"give one as \[name\]"),
        ({"max_redirects": "5"}, "max_redirects must be a number"),
        ({"max_redirects": -1}, "max_redirects must be a number"),
        ({"follow_redirects": "no"}, "follow_redirects must be True or False"),
        ({"raise_for_status": 1}, "raise_for_status must be True or False"),
        ({"default_encoding": 5}, "default_encoding must be the name"),
        ({"json_encoder": 5}, "json_encoder must be a function"),
        ({"transport": ConnectionPool}, "transport must have send"),
        ({"transport": ConnectionPool(), "max_head": 5}, "max_head"),
    ],
)
def test_what_a_client_is_made_with_is_checked(options: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        Client(trust_env=False, **options)
    with pytest.raises(TypeError, match="on_request must be a function or several, not 5"):
        Hooks(on_request=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be a charset that Python knows"):
        Client(trust_env=False, default_encoding="nope")
