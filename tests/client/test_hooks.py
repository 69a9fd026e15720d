"""Hooks: who is told what, in which order, what they may change, and what stays behind when they raise."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import BodyTooLarge, Client, ConnectError, IncompleteRead, RemoteDisconnected, Retry
from aiohttpconn.client.hooks import Hooks, resend_count
from aiohttpconn.messages import Request
from aiohttpconn.url import parse
from tests.auditing import audit_quiet, settle
from tests.cancellation import cancel_when_received
from tests.servers.origin import OriginServer, Reply
from tests.servers.program import free_port
from tests.servers.raw import Hold, Send
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttpconn.client.response import Response
    from aiohttpconn.messages import ResponseHead

ROOT = Path(__file__).resolve().parents[2]
StartRaw = Any  # Callable[..., Awaitable[RawServer]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NAMES = (
    *("on_request", "on_response", "on_connect", "on_reuse", "on_redirect"),
    *("on_retry", "on_interim", "on_chunk", "on_error"),
)


class Told:
    """Notes what is told, by functions or by coroutine functions."""

    def __init__(self) -> None:
        self.what: list[str] = []
        self.told: dict[str, list[tuple[Any, ...]]] = {}

    def hooks(self, awaited: bool) -> Hooks:
        return Hooks(**{name: self.noting(name, awaited) for name in NAMES})

    def noting(self, name: str, awaited: bool) -> Callable[..., Any]:
        def note(*told: Any) -> None:
            self.what.append(name)
            self.told.setdefault(name, []).append(told)

        async def note_awaited(*told: Any) -> None:
            await asyncio.sleep(0)
            note(*told)

        return note_awaited if awaited else note


def new_client(hooks: Hooks, **options: Any) -> Client:
    return Client(trust_env=False, timeout=10, hooks=hooks, **options)


async def quiet(client: Client) -> None:
    """No slot of the client's pool is taken."""
    await settle()
    assert client.pool is not None
    audit_quiet(client.pool)


@pytest.mark.parametrize("awaited", [False, True], ids=["functions", "coroutines"])
async def test_who_is_told_what_in_which_order(http_server: OriginServer, awaited: bool) -> None:
    told = Told()
    async with new_client(told.hooks(awaited)) as client:
        response = await client.get(f"{http_server.url}/redirect/302?/bytes/3")
        await client.get(f"{http_server.url}/status/204")
    assert told.what == [
        *("on_request", "on_connect", "on_response", "on_chunk", "on_redirect"),
        *("on_request", "on_reuse", "on_response", "on_chunk"),
        *("on_request", "on_reuse", "on_response"),
    ]
    assert told.told["on_response"][1] == (response,)
    assert told.told["on_chunk"] == [(response.history[0], b"elsewhere"), (response, response.content)]
    request, opening = told.told["on_connect"][0]
    assert request.url.path == "/redirect/302"
    assert opening.connect > 0
    led, following = told.told["on_redirect"][0]
    assert (led.status, following.url.path) == (302, "/bytes/3")


@pytest.mark.parametrize("awaited", [False, True], ids=["functions", "coroutines"])
async def test_a_retry_is_told_with_what_the_attempt_came_to(http_server: OriginServer, awaited: bool) -> None:
    told = Told()
    answers = [Reply(status=503), Reply(b"ok")]
    http_server.routes["/x"] = lambda request: answers.pop(0)
    retry = Retry(attempts=2, backoff=0.001, jitter=0)
    async with new_client(told.hooks(awaited), retries=retry) as client:
        assert (await client.get(f"{http_server.url}/x")).text == "ok"
    (request, attempt), *more = told.told["on_retry"]
    assert not more
    assert (request.method, attempt.outcome) == ("GET", 503)
    assert attempt.delay >= 0
    assert [name for name in told.what if name in ("on_request", "on_response", "on_retry")] == [
        *("on_request", "on_response", "on_retry", "on_request", "on_response")
    ]


@pytest.mark.parametrize("awaited", [False, True], ids=["functions", "coroutines"])
async def test_interim_responses_are_told_before_the_final_one(raw_server: StartRaw, awaited: bool) -> None:
    told = Told()
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(early + early + OK)])
    async with new_client(told.hooks(awaited)) as client:
        await client.get(server.url)
    heads: list[ResponseHead] = [head for _, head in told.told["on_interim"]]
    assert [(head.status, head.headers["Link"]) for head in heads] == [(103, "</a.css>")] * 2
    assert told.what[:5] == ["on_request", "on_connect", "on_interim", "on_interim", "on_response"]


async def test_a_pool_is_not_asked_to_observe_for_nobody() -> None:
    def nobody(*told: Any) -> None: ...

    assert Hooks().observer is None
    assert Hooks(on_request=nobody, on_response=nobody, on_chunk=nobody).observer is None
    for name in ("on_connect", "on_reuse", "on_interim"):
        hooks = Hooks(**{name: nobody})
        assert hooks.observer is hooks


# --- what they may change ---------------------------------------------------------------------------------------------


async def test_the_request_that_a_hook_returns_is_sent_instead(http_server: OriginServer) -> None:
    async def sign(request: Request) -> Request:
        await asyncio.sleep(0)
        return request.with_fields({"X-Signature": str(len(request.headers["X-Id"]))})

    hooks = Hooks(on_request=[lambda request: request.with_fields({"X-Id": "four"}), sign, lambda request: None])
    async with new_client(hooks) as client:
        response = await client.get(f"{http_server.url}/request")
        fields = dict(response.json()["fields"])
    assert (fields["X-Id"], fields["X-Signature"]) == ("four", "4")
    assert response.request.headers["X-Signature"] == "4"


async def test_a_hook_sees_the_cookies_and_the_signature_that_go_out(http_server: OriginServer) -> None:
    seen: list[Request] = []
    async with new_client(Hooks(on_request=seen.append), cookies={"a": "1"}) as client:
        await client.get(http_server.url)
    assert seen[0].headers["Cookie"] == "a=1"


async def test_each_redirect_is_changed_anew(http_server: OriginServer) -> None:
    counts: list[int] = []

    def number(request: Request) -> Request:
        counts.append(resend_count())
        return request.with_fields({"X-Number": str(resend_count())})

    async with new_client(Hooks(on_request=number)) as client:
        response = await client.get(f"{http_server.url}/redirect/302?/redirect/307?/request")
        assert dict(response.json()["fields"])["X-Number"] == "2"
        await client.get(http_server.url)
    assert counts == [0, 1, 2, 0]


async def test_what_a_request_hook_returns_must_be_a_request(http_server: OriginServer) -> None:
    async with new_client(Hooks(on_request=lambda request: {"X-Id": "1"})) as client:  # type: ignore[arg-type,return-value]
        with pytest.raises(TypeError, match="on_request hook returns a Request or None"):
            await client.get(http_server.url)
        await quiet(client)


async def test_a_request_may_be_sent_elsewhere(http_server: OriginServer) -> None:
    def elsewhere(request: Request) -> Request:
        return request.replace(method="PUT", url=parse(f"{http_server.url}/echo"), body=b"new").with_fields(
            {"Content-Length": "3"}
        )

    async with new_client(Hooks(on_request=elsewhere)) as client:
        response = await client.get("http://nowhere.invalid/")
        assert (response.text, response.url.path, response.request.method) == ("new", "/echo", "PUT")
        await quiet(client)


async def test_a_response_hook_may_read_the_body(http_server: OriginServer) -> None:
    async def read(response: Response) -> None:
        assert await response.read() == b"hello"

    async with new_client(Hooks(on_response=read)) as client:
        assert (await client.get(http_server.url)).text == "hello"
        async with client.stream("GET", http_server.url) as response:
            assert response.text == "hello"
        await quiet(client)
        assert client.stats().opened_total == 1


# --- errors -----------------------------------------------------------------------------------------------------------


async def test_a_failed_connection_is_told() -> None:
    told = Told()
    async with new_client(told.hooks(False)) as client:
        with pytest.raises(ConnectError) as caught:
            await client.get(f"http://127.0.0.1:{free_port()}/")
    ((request, error),) = told.told["on_error"]
    assert error is caught.value
    assert request is caught.value.request
    assert told.what == ["on_request", "on_error"]


async def test_an_answer_that_does_not_come_is_told(raw_server: StartRaw) -> None:
    told = Told()
    server = await raw_server([ReadRequest()])
    async with new_client(told.hooks(True)) as client:
        with pytest.raises(RemoteDisconnected):
            await client.get(server.url)
    assert told.what == ["on_request", "on_connect", "on_error"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_body_that_breaks_off_is_told_unless_the_caller_reads_it_himself(
    stream: bool, raw_server: StartRaw
) -> None:
    told = Told()
    server = await raw_server([ReadRequest(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")])
    async with new_client(told.hooks(True)) as client:
        with pytest.raises(IncompleteRead) as caught:
            if stream:
                async with client.stream("GET", server.url) as response:
                    await response.read()
            else:
                await client.get(server.url)
    assert "on_response" in told.what
    if stream:
        assert "on_error" not in told.what
    else:
        assert told.what[-1] == "on_error"
        assert told.told["on_error"][0][1] is caught.value


async def test_a_body_that_is_too_large_is_told(http_server: OriginServer) -> None:
    told = Told()
    async with Client(trust_env=False, max_body=10, hooks=told.hooks(False)) as client:
        with pytest.raises(BodyTooLarge):
            await client.get(f"{http_server.url}/bytes/100")
    assert isinstance(told.told["on_error"][0][1], BodyTooLarge)


async def test_what_the_body_raises_is_told(http_server: OriginServer) -> None:
    def broken() -> Any:
        yield b"a"
        raise LookupError("no more")

    told = Told()
    async with new_client(told.hooks(False)) as client:
        with pytest.raises(LookupError):
            await client.post(http_server.url, content=broken())
        await quiet(client)
    assert isinstance(told.told["on_error"][0][1], LookupError)


async def test_a_caller_who_gives_up_is_told(raw_server: StartRaw) -> None:
    told = Told()
    server = await raw_server([ReadRequest(), Hold()])
    async with new_client(told.hooks(True)) as client:
        await cancel_when_received(client.get(server.url), server)
        await quiet(client)
    assert told.what == ["on_request", "on_connect", "on_error"]
    assert isinstance(told.told["on_error"][0][1], asyncio.CancelledError)


@pytest.mark.parametrize("awaited", [False, True], ids=["function", "coroutine"])
@pytest.mark.parametrize("name", ["on_request", "on_response", "on_connect", "on_redirect", "on_chunk"])
async def test_what_a_hook_raises_reaches_the_caller_and_leaves_nothing_behind(
    http_server: OriginServer, name: str, awaited: bool
) -> None:
    def fail(*told: Any) -> None:
        raise LookupError(name)

    async def fail_awaited(*told: Any) -> None:
        await asyncio.sleep(0)
        raise LookupError(name)

    async with new_client(Hooks(**{name: fail_awaited if awaited else fail})) as client:
        with pytest.raises(LookupError, match=name):
            await client.get(f"{http_server.url}/redirect/302?/bytes/100000")
        await quiet(client)
    assert client.stats().open == 0


@pytest.mark.parametrize("awaited", [False, True], ids=["function", "coroutine"])
async def test_a_reuse_hook_that_raises(http_server: OriginServer, awaited: bool) -> None:
    def fail(request: Request) -> None:
        raise LookupError("again")

    async def fail_awaited(request: Request) -> None:
        fail(request)

    async with new_client(Hooks(on_reuse=fail_awaited if awaited else fail)) as client:
        await client.get(http_server.url)
        with pytest.raises(LookupError, match="again"):
            await client.get(http_server.url)
        await quiet(client)


@pytest.mark.parametrize("awaited", [False, True], ids=["function", "coroutine"])
async def test_an_interim_hook_that_raises(raw_server: StartRaw, awaited: bool) -> None:
    def fail(request: Request, head: ResponseHead) -> None:
        raise LookupError("early")

    async def fail_awaited(request: Request, head: ResponseHead) -> None:
        fail(request, head)

    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(interim * 3), Hold()])
    async with new_client(Hooks(on_interim=fail_awaited if awaited else fail)) as client:
        with pytest.raises(LookupError, match="early"):
            await client.get(server.url)
        await quiet(client)
        assert client.stats().open == 0


async def test_a_retry_hook_that_raises(http_server: OriginServer) -> None:
    def fail(*told: Any) -> None:
        raise LookupError("once more")

    async with new_client(Hooks(on_retry=fail), retries=Retry(attempts=3, backoff=0.001)) as client:
        with pytest.raises(LookupError, match="once more"):
            await client.get(f"{http_server.url}/status/503")
        await quiet(client)


async def test_the_others_are_told_though_one_raises(http_server: OriginServer) -> None:
    told: list[str] = []

    def fail(response: Response) -> None:
        raise LookupError("first")

    def fail_too(response: Response) -> None:
        raise KeyError("second")

    hooks = Hooks(on_response=[fail, fail_too, lambda response: told.append("third")])
    async with new_client(hooks) as client:
        with pytest.raises(LookupError, match="first"):
            await client.get(http_server.url)
        await quiet(client)
    assert told == ["third"]


async def test_a_hook_cancelled_while_it_is_awaited(http_server: OriginServer) -> None:
    for name in ("on_request", "on_connect", "on_response", "on_redirect", "on_chunk"):
        reached = asyncio.Event()

        async def wait(*told: Any, reached: asyncio.Event = reached) -> None:
            reached.set()
            await asyncio.Event().wait()

        async with new_client(Hooks(**{name: wait})) as client:
            call = asyncio.create_task(client.get(f"{http_server.url}/redirect/302?/bytes/10"))
            await asyncio.wait_for(reached.wait(), 10)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await quiet(client)


def test_who_has_no_hooks_does_not_import_them() -> None:
    program = "import sys, aiohttpconn; client = aiohttpconn.Client(trust_env=False); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = ran.stdout.split()
    assert "aiohttpconn.client.flow" in modules
    unused = {"client.hooks", "client.logs", "client.secrets", "har", "otel"}
    assert unused.isdisjoint({name.removeprefix("aiohttpconn.") for name in modules})


# --- the object -------------------------------------------------------------------------------------------------------


def test_what_is_not_given_is_none() -> None:
    hooks = Hooks(on_request=[], on_error=print)
    assert {name: getattr(hooks, name) for name in NAMES} == {**dict.fromkeys(NAMES), "on_error": (print,)}


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="on_retry must be a function or several, not 'x'"):
        Hooks(on_retry=[print, "x"])  # type: ignore[list-item]


async def test_hooks_combine_in_order() -> None:
    def add(letter: str) -> Hooks:
        return Hooks(
            on_request=lambda request: request.with_fields({"X": request.headers.get("X", "") + letter}),
        )

    request = Request("GET", parse("http://example.org/"))
    assert (await (add("a") | add("b")).request(request)).headers["X"] == "ab"
    assert (await Hooks.combined(add("a"), None, add("b"), add("c")).request(request)).headers["X"] == "abc"
    assert Hooks.combined(None).on_request is None
    with pytest.raises(TypeError):
        add("a") | None  # type: ignore[operator]
