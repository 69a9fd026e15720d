"""A function in place of a server: what it gets, what the caller gets, and that a double keeps a real one's manners."""

from __future__ import annotations

import asyncio
import gc
import gzip
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    BodyLengthMismatch,
    Client,
    ConnectError,
    Hooks,
    IncompleteRead,
    InvalidHeader,
    PoolClosed,
    ProtocolError,
    ReadError,
    ReadTimeout,
    Request,
    RequestContext,
    StreamConsumed,
    Timeout,
    TotalTimeout,
    Transport,
)
from aiohttpconn.config import Deadline
from aiohttpconn.testing import MockResponse, MockTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aiohttpconn.testing import MockRequest

URL = "http://service.example/path?q=1"


def client_of(handler: Any, **options: Any) -> Client:
    return Client(transport=MockTransport(handler), trust_env=False, **options)


def test_it_is_a_transport() -> None:
    assert isinstance(MockTransport(lambda request: 200), Transport)


# --- what the handler gets --------------------------------------------------------------------------------------------


async def pieces() -> AsyncIterator[bytes]:
    yield b"one "
    await asyncio.sleep(0)
    yield b"two"


@pytest.mark.parametrize(
    ("make", "body"),
    [
        pytest.param(lambda: None, b"", id="none"),
        pytest.param(lambda: b"bytes", b"bytes", id="bytes"),
        pytest.param(lambda: "süß", "süß".encode(), id="str"),
        pytest.param(lambda: BytesIO(b"file"), b"file", id="file"),
        pytest.param(lambda: [b"a", b"b"], b"ab", id="iterable"),
        pytest.param(pieces, b"one two", id="async-iterable"),
        pytest.param(lambda: b"x" * 300_000, b"x" * 300_000, id="large"),
    ],
)
async def test_every_kind_of_body_can_be_read(make: Any, body: bytes) -> None:
    def plain(request: MockRequest) -> MockResponse:
        return MockResponse(content=request.content)

    async def awaited(request: MockRequest) -> MockResponse:
        return MockResponse(content=await request.read())

    async def piecewise(request: MockRequest) -> MockResponse:
        return MockResponse(content=b"".join([piece async for piece in request.iter_bytes()]))

    for handler in (plain, awaited, piecewise):
        async with client_of(handler) as client:
            assert (await client.post(URL, content=make())).content == body


async def test_the_request_is_as_a_server_sees_it() -> None:
    transport = MockTransport(lambda request: 204)
    async with Client(transport=transport, trust_env=False, headers={"X-Own": "1"}) as client:
        assert (await client.put(URL, json={"a": [1]})).status == 204
    (request,) = transport.requests
    assert (request.method, str(request.url), request.target) == ("PUT", URL, "/path?q=1")
    assert next(iter(request.headers)) == "Host"
    assert (request.headers["host"], request.headers["X-Own"]) == ("service.example", "1")
    assert request.json() == {"a": [1]}
    assert request.text == '{"a":[1]}'


async def test_a_handler_may_answer_without_reading_the_body() -> None:
    ended = []

    async def body() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
        finally:
            ended.append("closed")

    async def refuse(request: MockRequest) -> int:
        return 413

    async def refuse_the_rest(request: MockRequest) -> int:
        assert await anext(request.iter_bytes()) == b"more"
        return 413

    for handler, closed in ((refuse, []), (refuse_the_rest, ["closed"])):  # what was never begun has nothing to close
        ended.clear()
        transport = MockTransport(handler)
        async with Client(transport=transport) as client:
            made = body()
            assert (await client.post(URL, content=made)).status == 413
            assert ended == closed
            with pytest.raises(StopAsyncIteration):
                await anext(made)
        with pytest.raises(StreamConsumed):
            _ = transport.requests[0].content


async def test_a_body_that_was_not_read_goes_on_being_sent_to_a_2xx() -> None:
    sent = []

    async def body() -> AsyncIterator[bytes]:
        for number in range(3):
            sent.append(number)
            yield b"piece"

    async def accept(request: MockRequest) -> int:
        return 202

    async with client_of(accept) as client:
        assert (await client.post(URL, content=body())).status == 202
    assert sent == [0, 1, 2]


async def test_a_body_that_is_not_as_long_as_declared() -> None:
    async with client_of(lambda request: 200) as client:
        for length in ("3", "30"):
            with pytest.raises(BodyLengthMismatch):
                await client.post(URL, content=pieces(), headers={"Content-Length": length})


async def test_what_the_body_raises_reaches_the_caller() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        raise ZeroDivisionError("in the body")

    async with client_of(lambda request: 200) as client:
        with pytest.raises(ZeroDivisionError):
            await client.post(URL, content=body())


# --- what the caller gets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status", "body", "kind"),
    [
        pytest.param(MockResponse(), 200, b"", None, id="empty"),
        pytest.param(MockResponse(201, content=b"raw"), 201, b"raw", None, id="content"),
        pytest.param(MockResponse(text="süß"), 200, "süß".encode(), "text/plain; charset=utf-8", id="text"),
        pytest.param(MockResponse(json={"a": 1}), 200, b'{"a": 1}', "application/json", id="json"),
        pytest.param(MockResponse(chunks=[b"a", b"bc"]), 200, b"abc", None, id="chunks"),
        pytest.param(MockResponse(chunks=pieces), 200, b"one two", None, id="async-chunks"),
        pytest.param(404, 404, b"", None, id="status"),
        pytest.param((200, {"Content-Type": "x/y"}, b"body"), 200, b"body", "x/y", id="tuple"),
        pytest.param((200, None, "text"), 200, b"text", "text/plain; charset=utf-8", id="tuple-of-text"),
        pytest.param((200, [], [b"a", b"b"]), 200, b"ab", None, id="tuple-of-pieces"),
        pytest.param(MockResponse(content=b"x" * 1_000_000), 200, b"x" * 1_000_000, None, id="large"),
        pytest.param(MockResponse(204), 204, b"", None, id="no-content"),
    ],
)
async def test_what_a_handler_may_return(answer: Any, status: int, body: bytes, kind: str | None) -> None:
    async def awaited(request: MockRequest) -> Any:
        return answer

    for handler in (lambda request: answer, awaited):
        async with client_of(handler) as client:
            response = await client.get(URL)
            assert (response.status, response.content, response.headers.get("Content-Type")) == (status, body, kind)
            async with client.stream("GET", URL) as response:
                assert b"".join([piece async for piece in response.iter_bytes()]) == body


async def test_a_response_that_was_read_can_be_returned() -> None:
    packed = MockResponse(headers={"Content-Encoding": "gzip", "X-A": "b"}, content=gzip.compress(b"plain"))
    async with client_of(lambda request: packed) as client:
        first = await client.get(URL)
        assert first.content == b"plain"
        async with client_of(lambda request: first) as other:
            second = await other.get(URL)
            assert (second.content, second.headers["X-A"]) == (b"plain", "b")


@pytest.mark.parametrize("answer", [MockResponse(text="a"), 204, (200, {"X-A": "b"}, b"c")])
async def test_a_response_in_place_of_a_function_answers_everything(answer: Any) -> None:
    transport = MockTransport(answer)
    async with Client(transport=transport) as client:
        first, second = await client.get(URL), await client.post(URL, content=b"x")
        assert (first.status, first.headers, first.content) == (second.status, second.headers, second.content)
        assert transport.requests[1].content == b"x"


@pytest.mark.parametrize("answer", [None, True, "text", object(), ValueError("raised")])
def test_what_answers_nothing_is_refused_at_once(answer: Any) -> None:
    with pytest.raises(TypeError, match="MockTransport takes a function of a request, or a MockResponse"):
        MockTransport(answer)


async def test_chunks_that_can_be_read_once_serve_once() -> None:
    def made() -> Iterator[bytes]:
        yield b"one"

    for chunks in (made(), pieces()):
        answer = MockResponse(chunks=chunks)
        async with client_of(lambda request, answer=answer: answer) as client:
            assert (await client.get(URL)).content.startswith(b"one")
            with pytest.raises(RuntimeError, match=r"can be read only once; give a list, or a function"):
                await client.get(URL)
    again = MockResponse(chunks=made)
    async with client_of(again) as client:
        assert [(await client.get(URL)).content for _ in range(2)] == [b"one", b"one"]


async def test_json_null_can_be_given() -> None:
    async with client_of(MockResponse(json=None)) as client:
        response = await client.get(URL)
        assert (response.content, response.headers["Content-Type"]) == (b"null", "application/json")


@pytest.mark.parametrize("status", [99, 100, 101, 199, 1000, -1])
def test_statuses_that_no_final_response_has(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        MockResponse(status)


@pytest.mark.parametrize("wrong", ["200", True, None, 200.0])
def test_a_status_is_a_number(wrong: Any) -> None:
    with pytest.raises(TypeError, match="status"):
        MockResponse(wrong)


@pytest.mark.parametrize(
    "given",
    [
        {"content": "text"},
        {"content": 5},
        {"text": b"bytes"},
        {"chunks": b"bytes"},
        {"chunks": "text"},
        {"chunks": 5},
        {"content": b"a", "trailers": {"X-Sum": "1"}},
        {"chunks": [b"a"], "headers": {"Content-Length": "1"}, "trailers": {"X-Sum": "1"}},
    ],
)
def test_what_a_body_cannot_be(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        MockResponse(**given)


@pytest.mark.parametrize("answer", [None, "text", True, (200,), (200, {}), object()])
async def test_anything_else_is_refused(answer: Any) -> None:
    async with client_of(lambda request: answer) as client:
        with pytest.raises(TypeError, match="a handler returns"):
            await client.get(URL)


def test_what_a_response_cannot_be() -> None:
    with pytest.raises(TypeError, match="exclude"):
        MockResponse(text="a", json=1)
    with pytest.raises(InvalidHeader):
        MockResponse(headers={"X": "a\r\nb"})
    for code in (99, 101, 200):
        with pytest.raises(ValueError, match="status"):
            MockResponse(interim=[(code, None)])


async def test_head_and_trailers_and_interim_responses() -> None:
    answer = MockResponse(chunks=lambda: [b"abc"], trailers={"X-Sum": "6"}, reason="Fine")
    async with client_of(lambda request: answer) as client:
        response = await client.get(URL)
        assert (response.reason, response.trailers["x-sum"]) == ("Fine", "6")
        response = await client.head(URL)
        assert (response.content, response.headers["Transfer-Encoding"]) == (b"", "chunked")
    async with client_of(lambda request: MockResponse(content=b"12345")) as client:
        response = await client.head(URL)
        assert (response.content, response.headers["Content-Length"]) == (b"", "5")


async def test_redirects_and_cookies_are_the_clients_affair() -> None:
    def handler(request: MockRequest) -> MockResponse:
        if request.url.path == "/from":
            return MockResponse(302, {"Location": "/to", "Set-Cookie": "a=b"})
        return MockResponse(text=request.url.path)

    async with client_of(handler) as client:
        response = await client.get("http://service.example/from")
        assert response.text == "/to"
        assert [each.status for each in response.history] == [302]


@pytest.mark.parametrize("error", [ConnectError("refused"), ZeroDivisionError("a bug"), TimeoutError("its own")])
async def test_what_the_handler_raises_reaches_the_caller(error: Exception) -> None:
    def handler(request: MockRequest) -> int:
        raise error

    async with client_of(handler) as client:
        with pytest.raises(type(error)) as caught:
            await client.get(URL)
        assert caught.value is error
        if isinstance(error, ConnectError):
            assert error.request.method == "GET"
            assert "service.example" in str(error)


# --- the body's manners -----------------------------------------------------------------------------------------------


async def test_the_head_comes_before_the_body() -> None:
    gate = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await gate.wait()
        yield b"second"

    async with (
        client_of(lambda request: MockResponse(chunks=body())) as client,
        client.stream("GET", URL) as response,
    ):
        assert response.status == 200
        iterator = aiter(response.iter_bytes())
        assert await anext(iterator) == b"first"
        gate.set()
        assert await anext(iterator) == b"second"


async def test_the_body_is_made_no_faster_than_it_is_read() -> None:
    made = []

    async def body() -> AsyncIterator[bytes]:
        for number in range(1000):
            made.append(number)
            yield b"x" * 65_536

    async with (
        client_of(lambda request: MockResponse(chunks=body())) as client,
        client.stream("GET", URL) as response,
    ):
        iterator = aiter(response.iter_raw())
        for _ in range(3):
            await anext(iterator)
            await asyncio.sleep(0.002)
        assert 3 <= len(made) < 20


async def test_what_a_body_raises_reaches_the_reader_after_what_came() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        raise ReadError("the cable")

    async with (
        client_of(lambda request: MockResponse(chunks=body())) as client,
        client.stream("GET", URL) as response,
    ):
        iterator = aiter(response.iter_bytes())
        assert await anext(iterator) == b"some"
        with pytest.raises(ReadError, match="the cable"):
            await anext(iterator)


async def test_a_body_shorter_than_its_length_is_incomplete() -> None:
    answer = MockResponse(headers={"Content-Length": "10"}, chunks=[b"1234"])
    async with client_of(lambda request: answer) as client:
        with pytest.raises(IncompleteRead) as caught:
            await client.get(URL)
        assert (caught.value.partial, caught.value.expected) == (b"1234", 6)


async def first_then_silence(ended: asyncio.Event) -> AsyncIterator[bytes]:
    """A body that says one piece and nothing more, and sets `ended` when it is ended."""
    try:
        yield b"first"
        await asyncio.Event().wait()
    finally:
        ended.set()


async def test_closing_a_response_early_ends_its_body() -> None:
    ended = asyncio.Event()
    async with client_of(lambda request: MockResponse(chunks=first_then_silence(ended))) as client:
        async with client.stream("GET", URL) as response:
            assert await anext(aiter(response.iter_bytes())) == b"first"
        await ended.wait()


async def test_dropping_a_response_warns_and_ends_its_body() -> None:
    ended = asyncio.Event()
    async with client_of(lambda request: MockResponse(chunks=first_then_silence(ended))) as client:
        request = client.build_request("GET", URL)
        response: Any = await client.send(request, stream=True)
        assert response.status == 200
        with pytest.warns(ResourceWarning, match="dropped before its body was read"):
            del response
            gc.collect()
        await ended.wait()


# --- time and cancellation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout", "kind"),
    [(Timeout(read=0.02), ReadTimeout), (Timeout(total=0.02), TotalTimeout), (Timeout(0.02, read=0.02), TotalTimeout)],
)
async def test_a_handler_that_takes_too_long(timeout: Timeout, kind: type[Exception]) -> None:
    cancelled = asyncio.Event()

    async def handler(request: MockRequest) -> int:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return 200

    async with client_of(handler, timeout=timeout) as client:
        with pytest.raises(kind) as caught:
            await client.get(URL)
        assert caught.value.request.method == "GET"
        assert cancelled.is_set()


@pytest.mark.parametrize(("timeout", "kind"), [(Timeout(read=0.02), ReadTimeout), (Timeout(total=0.02), TotalTimeout)])
async def test_a_body_that_takes_too_long(timeout: Timeout, kind: type[Exception]) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    async with client_of(lambda request: MockResponse(chunks=body()), timeout=timeout) as client:
        with pytest.raises(kind):
            await client.get(URL)


async def test_the_time_of_the_requests_own_body_is_not_the_servers() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(0.1)
        yield b"b"

    async with client_of(lambda request: MockResponse(content=request.content), timeout=Timeout(read=0.05)) as client:
        assert (await client.post(URL, content=body())).content == b"ab"


async def test_a_cancelled_call_cancels_the_handler() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def handler(request: MockRequest) -> int:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 200

    async with client_of(handler) as client:
        call = asyncio.create_task(client.get(URL))
        await began.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert ended.is_set()


async def test_a_closed_transport_sends_nothing_and_breaks_what_is_read() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    transport = MockTransport(lambda request: MockResponse(chunks=body()))
    async with Client(transport=transport) as client:
        async with client.stream("GET", URL) as response:
            iterator = aiter(response.iter_bytes())
            assert await anext(iterator) == b"first"
            await transport.close()
            with pytest.raises(ReadError) as caught:
                await anext(iterator)
            assert caught.value.request.method == "GET"
        await transport.close()
        with pytest.raises(PoolClosed):
            await client.get(URL)


async def test_a_transport_that_is_closed_before_its_handler_has_answered() -> None:
    began = asyncio.Event()

    async def handler(request: MockRequest) -> int:
        began.set()
        await asyncio.Event().wait()
        return 200

    transport = MockTransport(handler)
    async with Client(transport=transport) as client:
        call = asyncio.create_task(client.get(URL))
        await began.wait()
        await transport.close()
        with pytest.raises(PoolClosed) as caught:
            await call
        assert caught.value.request.method == "GET"


async def test_a_body_that_raises_cancellederror_lets_nobody_wait() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        raise asyncio.CancelledError

    async with client_of(lambda request: MockResponse(chunks=body())) as client:
        with pytest.raises(RuntimeError, match="what makes the body was cancelled"):
            await client.get(URL, timeout=None)


# --- the network's manners --------------------------------------------------------------------------------------------


async def test_what_a_connection_would_not_send_is_refused() -> None:
    transport = MockTransport(200)
    async with Client(transport=transport) as client:
        for fields in (
            [("Content-Length", "1"), ("Transfer-Encoding", "chunked")],
            [("Host", "a"), ("Host", "b")],
            [("Content-Length", "one")],
        ):
            with pytest.raises(InvalidHeader) as caught:
                await client.send(Request("POST", URL, fields, b"x"))
            assert caught.value.request.method == "POST"
        with pytest.raises(BodyLengthMismatch, match="announce a body"):
            await client.send(Request("POST", URL, {"Content-Length": "1"}))
    assert transport.requests == []


async def test_host_comes_first_and_once() -> None:
    transport = MockTransport(200)
    async with Client(transport=transport) as client:
        await client.get(URL, headers={"X-A": "b", "Host": "other.example"})
    fields = list(transport.requests[0].headers.items())
    assert fields[0] == ("Host", "other.example")
    assert [value for field, value in fields if field.lower() == "host"] == ["other.example"]


async def test_every_exchange_has_a_connection_of_its_own() -> None:
    seen: list[str] = []
    hooks = Hooks(
        on_connect=lambda request, opening: seen.append(f"connected {request.method}"),
        on_reuse=lambda request: seen.append("reused"),
        on_interim=lambda request, head: seen.append(f"interim {head.status}"),
    )
    async with client_of(MockResponse(interim=[(103, {"Link": " </a> "})]), hooks=hooks) as client:
        for _ in range(2):
            response = await client.get(URL)
            assert not response.timings.reused
            assert "a double for tests keeps no connections" in response.explain()
    assert seen == ["connected GET", "interim 103"] * 2


async def test_too_many_interim_responses() -> None:
    async with client_of(MockResponse(interim=[(102, None)] * 17)) as client:
        with pytest.raises(ProtocolError, match="interim"):
            await client.get(URL)


async def test_a_request_that_asks_for_the_connections_end_gets_it() -> None:
    transport = MockTransport(MockResponse(headers={"X-A": " spaced\t"}, content=b"x"))
    context = RequestContext(Deadline(Timeout(), 0.0))
    closing = await transport.send(Request("GET", URL, {"Connection": "close"}), context)
    assert (closing.will_close, closing.headers["X-A"]) == (True, "spaced")
    assert (await transport.send(Request("GET", URL), context)).will_close is False
    await transport.close()


async def test_the_proxy_that_a_request_names_is_noted() -> None:
    transport = MockTransport(200)
    async with Client(transport=transport) as client:
        response = await client.get(URL, proxy="http://user:pw@proxy.example:3128")
        assert "through the proxy http://proxy.example:3128" in response.explain()
        await client.get(URL)
        await client.get(URL, proxy=None)
    first, second, third = transport.requests
    assert first.proxy is not None
    assert (str(first.proxy.origin), first.proxy.authorization) == ("http://proxy.example:3128", "Basic dXNlcjpwdw==")
    assert second.proxy is third.proxy is None


async def test_many_at_once() -> None:
    async def handler(request: MockRequest) -> MockResponse:
        await asyncio.sleep(0)
        return MockResponse(text=request.url.query)

    async with client_of(handler) as client:
        urls = [f"http://service.example/?{number}" for number in range(100)]
        answers = await asyncio.gather(*[client.get(url) for url in urls])
        assert [answer.text for answer in answers] == [str(number) for number in range(100)]
