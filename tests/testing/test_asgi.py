"""Applications in place of a server: plain ASGI, Starlette and FastAPI; streaming both ways, disconnects, lifespan."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from aiohttpconn import Client, IncompleteRead, InvalidHeader, PoolClosed, ReadTimeout, Timeout, TotalTimeout
from aiohttpconn.testing import ASGITransport, ClientDisconnected

URL = "http://app.example"


def client_of(app: Any, **options: Any) -> tuple[ASGITransport, Client]:
    transport = ASGITransport(app, **options)
    return transport, Client(transport=transport, trust_env=False)


def start(status: int = 200, *fields: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(fields), **more}


def body(data: bytes = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


# --- plain applications -----------------------------------------------------------------------------------------------


async def test_scope() -> None:
    scopes = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await send(start(204))
        await send(body())

    transport, client = client_of(app, root_path="/root", client=("10.0.0.1", 5), lifespan="off")
    async with transport, client:
        response = await client.get(f"{URL}:8080/a%20b/%C3%BC?x=%20y&z", headers={"X-Own": "ü"})
        assert response.status == 204
    (scope,) = scopes
    assert scope["type"] == "http"
    assert (scope["method"], scope["scheme"], scope["http_version"]) == ("GET", "http", "1.1")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b/ü", b"/a%20b/%C3%BC", b"x=%20y&z")
    assert (scope["root_path"], scope["client"], scope["server"]) == ("/root", ("10.0.0.1", 5), ("app.example", 8080))
    assert scope["headers"][0] == (b"host", b"app.example:8080")
    assert (b"x-own", b"\xfc") in scope["headers"]


async def test_the_head_comes_at_once_and_the_body_as_it_is_sent() -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await gate.wait()
        await send(body(b"one", True))
        gate.clear()
        await gate.wait()
        await send(body(b"two"))

    transport, client = client_of(app, lifespan="off")
    async with transport, client, client.stream("GET", URL) as response:
        assert response.status == 200
        gate.set()
        iterator = aiter(response.iter_bytes())
        assert await anext(iterator) == b"one"
        gate.set()
        assert [piece async for piece in iterator] == [b"two"]


async def test_the_application_sends_no_faster_than_its_response_is_read() -> None:
    sent = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        for number in range(200):
            sent.append(number)
            await send(body(b"x" * 100_000, True))
        await send(body())

    transport, client = client_of(app, lifespan="off")
    async with transport, client, client.stream("GET", URL) as response:
        await asyncio.sleep(0.01)
        assert len(sent) < 20
        assert sum([len(piece) async for piece in response.iter_bytes()]) == 20_000_000
        assert len(sent) == 200


async def test_the_requests_body_is_made_as_it_is_received() -> None:
    made: list[int] = []
    seen: list[int] = []

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            made.append(number)
            yield b"%d" % number

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(len(made))
        await send(start())
        while True:
            message = await receive()
            seen.append(len(made))
            await send(body(message["body"], message["more_body"]))
            if not message["more_body"]:
                return

    transport, client = client_of(app, lifespan="off")
    async with transport, client:
        assert (await client.post(URL, content=pieces())).content == b"012"
    assert seen == [0, 1, 2, 3, 3]


async def test_a_piece_is_not_lost_by_a_receive_that_is_cancelled() -> None:
    gate = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        await gate.wait()
        yield b"kept"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.01)
        gate.set()
        assert (await receive())["body"] == b"kept"
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await send(start(204))
        await send(body())
        assert await receive() == {"type": "http.disconnect"}

    transport, client = client_of(app, lifespan="off")
    async with transport, client:
        assert (await client.post(URL, content=pieces())).status == 204


async def test_what_the_requests_body_raises_reaches_the_caller() -> None:
    seen = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        raise ZeroDivisionError("in the body")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            seen.append(message["body"])

    transport, client = client_of(app, lifespan="off")
    async with transport, client:
        with pytest.raises(ZeroDivisionError):
            await client.post(URL, content=pieces())
    assert seen == [b"x"]


async def test_trailers() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "http.response.trailers" in scope["extensions"]
        await send(start(200, trailers=True))
        await send(body(b"abc"))
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"6")]})

    transport, client = client_of(app, lifespan="off")
    async with transport, client:
        response = await client.get(URL)
        assert (response.content, response.trailers["X-Sum"]) == (b"abc", "6")


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([body(b"x")], "before 'http.response.start'"),
        ([start(), start()], "after 'http.response.start'"),
        ([], "without sending a response"),
    ],
)
async def test_an_application_that_breaks_the_protocol(messages: list[dict[str, Any]], words: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    transport, client = client_of(app, lifespan="off")
    async with transport, client:
        with pytest.raises(RuntimeError, match=words):
            await client.get(URL)


async def test_a_body_that_is_cut_short() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200, *([(b"content-length", b"10")] if scope["path"] == "/length" else [])))
        await send(body(b"1234", True))

    transport, client = client_of(app, lifespan="off")
    async with transport, client:
        for path, expected in (("/length", 6), ("/chunks", None)):
            with pytest.raises(IncompleteRead) as caught:
                await client.get(URL + path)
            assert (caught.value.partial, caught.value.expected) == (b"1234", expected)


@pytest.mark.parametrize("after", ["nothing", "head", "piece"])
@pytest.mark.parametrize("raises", [True, False])
async def test_what_the_application_raises(after: str, raises: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if after != "nothing":
            await send(start())
        if after == "piece":
            await send(body(b"some", True))
        raise ZeroDivisionError("a bug")

    transport, client = client_of(app, lifespan="off", raise_app_exceptions=raises)
    async with transport, client:
        if raises:
            with pytest.raises(ZeroDivisionError):
                await client.get(URL)
        elif after == "nothing":
            response = await client.get(URL)
            assert (response.status, response.text) == (500, "Internal Server Error")
        else:
            with pytest.raises(IncompleteRead):
                await client.get(URL)


@pytest.mark.parametrize("after", ["nothing", "head", "piece"])
@pytest.mark.parametrize("raises", [True, False])
async def test_a_cancellation_that_nobody_asked_for_is_a_failure(after: str, raises: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if after != "nothing":
            await send(start())
        if after == "piece":
            await send(body(b"some", True))
        raise asyncio.CancelledError

    transport, client = client_of(app, lifespan="off", raise_app_exceptions=raises)
    async with transport, client:
        if raises:
            with pytest.raises(RuntimeError, match="the application was cancelled") as caught:
                await client.get(URL, timeout=None)
            assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        elif after == "nothing":
            assert (await client.get(URL, timeout=None)).status == 500
        else:
            with pytest.raises(IncompleteRead):
                await client.get(URL, timeout=None)


async def test_what_is_no_exception_reaches_the_caller_too() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pytest.fail("the test in the application failed")

    transport, client = client_of(app, lifespan="off")
    async with transport, client:
        with pytest.raises(pytest.fail.Exception, match="in the application"):
            await client.get(URL, timeout=None)


@pytest.mark.parametrize("pieces", [[b"hello!"], [b"hel", b"lo!"], [b"hell"], [b"hello", b"!"]])
@pytest.mark.parametrize("raises", [True, False])
async def test_a_body_has_to_be_as_long_as_its_content_length(pieces: list[bytes], raises: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200, (b"content-length", b"5")))
        for piece in pieces[:-1]:
            await send(body(piece, True))
        await send(body(pieces[-1]))

    transport, client = client_of(app, lifespan="off", raise_app_exceptions=raises)
    async with client:
        if raises:
            with pytest.raises(RuntimeError, match=r"1 bytes (longer|shorter)"):
                await client.get(URL)
        elif pieces[0] == b"hello":  # the caller has all of it before more is sent
            assert (await client.get(URL)).content == b"hello"
        else:
            with pytest.raises(IncompleteRead):
                await client.get(URL)
    await transport.close()


async def test_what_fails_when_the_caller_has_the_whole_body_is_not_lost() -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200, (b"content-length", b"5")))
        await send(body(b"hello", True))
        await gate.wait()
        raise ZeroDivisionError("a bug")

    transport, client = client_of(app, lifespan="off")
    async with client:
        for method in ("GET", "HEAD"):
            gate.clear()
            assert (await client.request(method, URL)).status == 200
            gate.set()
            with pytest.raises(ZeroDivisionError):
                await transport.settled()
    await transport.close()


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_that_has_no_body(status: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(status))
        await send(body(b"null"))

    transport, client = client_of(app, lifespan="off")
    async with client:
        with pytest.raises(RuntimeError, match="4 bytes longer"):
            await client.get(URL)
            await transport.settled()
    await transport.close()


@pytest.mark.parametrize(
    "field", [(b"x-bad", b"a\r\nx-more: b"), (b"x bad", b"a"), (b"x-bad", b"\x00"), (b"x-bad\r\n", b"a")]
)
@pytest.mark.parametrize("raises", [True, False])
async def test_fields_that_cannot_be_sent(field: tuple[bytes, bytes], raises: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200, field))
        await send(body())

    transport, client = client_of(app, lifespan="off", raise_app_exceptions=raises)
    async with transport, client:
        if raises:
            with pytest.raises(InvalidHeader):
                await client.get(URL)
        else:
            assert (await client.get(URL)).status == 500


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        pytest.param(start(101), ValueError, id="101"),
        pytest.param(start(1000), ValueError, id="1000"),
        pytest.param({"type": "http.response.start", "status": "200"}, ValueError, id="text"),
        pytest.param({**start(), "headers": [("x-text", "a")]}, TypeError, id="fields-as-text"),
    ],
)
async def test_a_head_that_cannot_be(message: dict[str, Any], kind: type[Exception]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(message)

    transport, client = client_of(app, lifespan="off")
    async with transport, client:
        with pytest.raises(kind):
            await client.get(URL)


async def test_the_method_is_as_it_was_sent() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(scope["method"].encode()))

    transport, client = client_of(app, lifespan="off")
    async with transport, client:
        assert (await client.request("Purge", URL)).content == b"Purge"


def test_an_application_is_called() -> None:
    with pytest.raises(TypeError, match="must be an ASGI application"):
        ASGITransport(None)  # type: ignore[arg-type]


async def test_a_response_without_a_body_drops_what_the_application_sends() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200, (b"content-length", b"5")))
        await send(body(b"hello"))

    transport, client = client_of(app, lifespan="off")
    async with transport, client:
        response = await client.head(URL)
        assert (response.content, response.headers["Content-Length"]) == (b"", "5")
        await transport.settled()


async def test_websockets_are_refused_in_words() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("not called")

    transport, client = client_of(app, lifespan="off")
    async with transport, client:
        with pytest.raises(NotImplementedError, match="no websockets"):
            await client.get(URL, headers={"Upgrade": "websocket", "Connection": "Upgrade"})


# --- disconnects, time, cancellation ----------------------------------------------------------------------------------


def endless(seen: list[str], began: asyncio.Event | None = None) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if began is not None:
            began.set()
        try:
            if scope["path"] == "/listening":
                await send(start())
                await send(body(b"first", True))
                assert (await receive())["type"] == "http.request"
                seen.append((await receive())["type"])
            elif scope["path"] == "/sending":
                await send(start())
                while True:
                    await send(body(b"x" * 100_000, True))
            else:
                if scope["path"] == "/deaf":
                    await send(start())
                await asyncio.Event().wait()
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    return app


@pytest.mark.parametrize(
    ("path", "what"),
    [("/listening", "http.disconnect"), ("/sending", "ClientDisconnected"), ("/deaf", "CancelledError")],
)
@pytest.mark.parametrize("how", ["close", "drop"])
async def test_a_response_that_is_not_read_to_its_end_is_a_disconnect(path: str, what: str, how: str) -> None:
    seen: list[str] = []
    transport, client = client_of(endless(seen), lifespan="off", grace=0.02)
    async with client:
        if how == "close":
            async with client.stream("GET", URL + path) as response:
                assert response.status == 200
        else:
            dropped: Any = await client.send(client.build_request("GET", URL + path), stream=True)
            with pytest.warns(ResourceWarning):
                del dropped
                gc.collect()
            await asyncio.sleep(0)
        await transport.settled()
        assert seen == [what]
    await transport.close()


async def test_a_cancelled_call_is_a_disconnect() -> None:
    seen: list[str] = []
    began = asyncio.Event()
    transport, client = client_of(endless(seen, began), lifespan="off", grace=0.02)
    async with client:
        call = asyncio.create_task(client.get(f"{URL}/never"))
        await began.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await transport.settled()
    assert seen == ["CancelledError"]


@pytest.mark.parametrize(("timeout", "kind"), [(Timeout(read=0.02), ReadTimeout), (Timeout(total=0.02), TotalTimeout)])
@pytest.mark.parametrize("path", ["/never", "/deaf"])
async def test_timeouts(timeout: Timeout, kind: type[Exception], path: str) -> None:
    transport, client = client_of(endless([]), lifespan="off", grace=0)
    async with transport, client:
        with pytest.raises(kind):
            await client.get(URL + path, timeout=timeout)


async def test_closing_ends_what_is_going_on() -> None:
    began = asyncio.Event()
    transport, client = client_of(endless([], began), lifespan="off", grace=0)
    async with client:
        call = asyncio.create_task(client.get(f"{URL}/never"))
        await began.wait()
        await transport.close()
        with pytest.raises(PoolClosed) as caught:  # as a pool's
            await call
        assert caught.value.request.method == "GET"
        with pytest.raises(PoolClosed):
            await client.get(URL)
        await transport.close()


# --- lifespan ---------------------------------------------------------------------------------------------------------


def noting_lifespan(seen: list[str], state: dict[str, Any]) -> Any:
    """A lifespan that gives the application its state, and notes when it begins and when it ends."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        seen.append("begins")
        yield state
        seen.append("ends")

    return lifespan


async def test_lifespan_and_its_state() -> None:
    seen: list[str] = []

    async def show(request: Request) -> Response:
        request.state.own = 1
        return PlainTextResponse(request.state.database)

    app = Starlette(routes=[Route("/", show)], lifespan=noting_lifespan(seen, {"database": "open"}))
    transport, client = client_of(app, lifespan="on")
    with pytest.raises(RuntimeError, match="async with"):
        await client.get(URL)
    async with transport:
        assert seen == ["begins"]
        assert transport.state == {"database": "open"}
        assert (await client.get(URL)).text == "open"
        assert (await client.get(URL)).text == "open"
        assert transport.state == {"database": "open"}
        with pytest.raises(RuntimeError, match="already"):
            await transport.__aenter__()
    assert seen == ["begins", "ends"]


async def test_an_application_that_knows_no_lifespan() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send(start(204))
        await send(body())

    transport, client = client_of(app)
    async with transport:
        assert (await client.get(URL)).status == 204
    with pytest.raises(RuntimeError, match="does not know") as caught:
        await ASGITransport(app, lifespan="on").__aenter__()
    assert isinstance(caught.value.__cause__, AssertionError)


@pytest.mark.parametrize("phase", ["startup", "shutdown"])
async def test_a_lifespan_that_fails(phase: str) -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if phase == "startup":
            raise ZeroDivisionError("a bug")
        yield
        raise ZeroDivisionError("a bug")

    with pytest.raises(RuntimeError, match=rf"{phase} failed[\s\S]*ZeroDivisionError"):
        async with ASGITransport(Starlette(lifespan=lifespan)):
            pass


def test_lifespan_has_three_values() -> None:
    with pytest.raises(ValueError, match="lifespan"):
        ASGITransport(Starlette(), lifespan="maybe")


# --- Starlette --------------------------------------------------------------------------------------------------------


async def test_starlette() -> None:
    done: list[str] = []
    hold = asyncio.Event()

    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type=request.headers.get("content-type"))

    async def counted(request: Request) -> Response:
        return JSONResponse([len(piece) async for piece in request.stream()])

    async def streamed(request: Request) -> Response:
        async def numbers() -> AsyncIterator[str]:
            for number in range(5):
                yield f"{number}\n"

        return StreamingResponse(numbers())

    async def background(request: Request) -> Response:
        async def later() -> None:
            await hold.wait()
            done.append("background")

        return PlainTextResponse("accepted", background=BackgroundTask(later))

    async def form(request: Request) -> Response:
        async with request.form() as fields:
            return JSONResponse({name: str(value) for name, value in fields.items()})

    async def fails(request: Request) -> Response:
        raise ZeroDivisionError("a bug")

    app = Starlette(
        routes=[
            Route("/echo", echo, methods=["POST"]),
            Route("/counted", counted, methods=["POST"]),
            Route("/streamed", streamed),
            Route("/background", background),
            Route("/form", form, methods=["POST"]),
            Route("/fails", fails),
        ]
    )

    async def pieces() -> AsyncIterator[bytes]:
        for size in (3, 5):
            await asyncio.sleep(0)
            yield b"x" * size

    transport, client = client_of(app)
    async with transport, client:
        assert (await client.post(f"{URL}/echo", content=b"x" * 200_000)).content == b"x" * 200_000
        assert [size for size in (await client.post(f"{URL}/counted", content=pieces())).json() if size] == [3, 5]
        async with client.stream("GET", f"{URL}/streamed") as response:
            assert [line async for line in response.iter_lines()] == list("01234")
        assert (await client.get(f"{URL}/background")).text == "accepted"
        assert done == []
        hold.set()
        await transport.settled()
        assert done == ["background"]
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await client.post(f"{URL}/form", content="a=%C3%BC", headers=kind)).json() == {"a": "ü"}
        assert (await client.get(f"{URL}/missing")).status == 404
        with pytest.raises(ZeroDivisionError):
            await client.get(f"{URL}/fails")
    transport, client = client_of(app, raise_app_exceptions=False)
    async with transport, client:
        assert (await client.get(f"{URL}/fails")).status == 500


async def test_a_background_task_that_fails() -> None:
    gate = asyncio.Event()

    async def later() -> None:
        await gate.wait()
        raise ZeroDivisionError("a bug")

    async def accept(request: Request) -> Response:
        return PlainTextResponse("accepted", background=BackgroundTask(later))

    transport, client = client_of(Starlette(routes=[Route("/", accept)]))
    async with transport:
        assert (await client.get(URL)).text == "accepted"
        gate.set()
        with pytest.raises(ZeroDivisionError):
            await transport.settled()
        await transport.settled()


async def test_starlettes_middleware_that_listens() -> None:
    ended = asyncio.Event()

    async def through(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["X-Through"] = "1"
        return response

    async def echo(request: Request) -> Response:
        return Response(await request.body())

    async def endless(request: Request) -> Response:
        async def more() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x"
                    await asyncio.sleep(0.001)
            finally:
                ended.set()

        return StreamingResponse(more())

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(0.002)
        yield b"b"

    app = Starlette(
        routes=[Route("/echo", echo, methods=["POST"]), Route("/endless", endless)],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=through)],
    )
    transport, client = client_of(app)
    async with transport, client:
        response = await client.post(f"{URL}/echo", content=pieces())
        assert (response.content, response.headers["X-Through"]) == (b"ab", "1")
        async with client.stream("GET", f"{URL}/endless") as response:
            assert await anext(aiter(response.iter_bytes())) == b"x"
        await ended.wait()
        await transport.settled()


@pytest.mark.parametrize("how", ["timeout", "close"])
async def test_starlette_sees_that_the_client_is_gone_when_it_asks(how: str) -> None:
    began, saw = asyncio.Event(), asyncio.Event()

    async def watch(request: Request) -> None:
        began.set()
        while not await request.is_disconnected():
            await asyncio.sleep(0.001)
        saw.set()

    async def polls(request: Request) -> Response:
        await watch(request)
        return PlainTextResponse("nobody is there")

    async def streams(request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            yield "first"
            await watch(request)

        return StreamingResponse(pieces())

    app = Starlette(routes=[Route("/polls", polls), Route("/streams", streams)])
    transport, client = client_of(app, lifespan="off", grace=None)
    async with transport, client:
        if how == "timeout":
            with pytest.raises(TotalTimeout):
                await client.get(f"{URL}/polls", timeout=Timeout(total=0.02))
        else:
            call = asyncio.create_task(client.get(f"{URL}/polls"))
            await began.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await saw.wait()


# --- FastAPI ----------------------------------------------------------------------------------------------------------


class Order(BaseModel):
    """What the test orders."""

    name: str
    count: int = 1


async def test_fastapi() -> None:
    seen: list[str] = []
    app = FastAPI(lifespan=noting_lifespan(seen, {"prefix": "order"}))

    @app.post("/orders", status_code=201)
    async def order(order: Order) -> dict[str, Any]:
        return {"id": 7, **order.model_dump()}

    @app.get("/orders/{number}")
    def look_up(number: int, detail: bool = False) -> dict[str, Any]:  # plain: FastAPI runs it in a thread
        return {"id": number, "detail": detail}

    @app.get("/events")
    async def events() -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            for number in range(3):
                yield json.dumps({"number": number}) + "\n"
                await asyncio.sleep(0)

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    transport = ASGITransport(app, lifespan="on")
    async with transport, Client(URL, transport=transport, trust_env=False) as client:
        response = await client.post("/orders", json={"name": "tea"})
        assert (response.status, response.json()) == (201, {"id": 7, "name": "tea", "count": 1})
        assert (await client.post("/orders", json={"count": 2})).status == 422
        response = await client.get("/orders/5", params={"detail": "true"})
        assert response.json() == {"id": 5, "detail": True}
        async with client.stream("GET", "/events") as response:
            assert [json.loads(line)["number"] async for line in response.iter_lines()] == [0, 1, 2]
        assert (await client.get("/openapi.json")).json()["paths"].keys() == {"/orders", "/orders/{number}", "/events"}
    assert seen == ["begins", "ends"]


def test_the_applications_exception_for_a_client_that_is_gone_is_an_oserror() -> None:
    assert issubclass(ClientDisconnected, OSError)
