"""Retries over real sockets: what the server gets to see, and what the caller gets back."""

from __future__ import annotations

import asyncio
import io
import pickle
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    BodyNotReplayable,
    Client,
    ConnectError,
    Hooks,
    IncompleteRead,
    Limits,
    PoolClosed,
    PoolTimeout,
    ReadTimeout,
    RemoteDisconnected,
    Retry,
    Timeout,
    TLSError,
    TotalTimeout,
)
from tests.auditing import audit_quiet, settle
from tests.servers.origin import OriginServer, Reply
from tests.servers.program import free_port
from tests.servers.raw import Close, Hold, Pause, Reset, Send
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from tests.servers.raw import Received

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAST = Retry(attempts=3, backoff=0.002)


def failing(times: int, *replies: Reply) -> Callable[[Received], Reply]:
    """So often one of `replies` (503) by turns, then 200."""
    bad = replies or (Reply(b"busy", status=503),)
    count = 0

    def answer(received: Received) -> Reply:
        nonlocal count
        count += 1
        return bad[(count - 1) % len(bad)] if count <= times else Reply(received.body or b"at last")

    return answer


# --- statuses ---------------------------------------------------------------------------------------------------------


async def test_nothing_is_tried_again_unless_it_is_asked_for(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/"] = failing(1)
    response = await client.get(http_server.url)
    assert (response.status, response.attempts) == (503, ())
    assert len(http_server.requests) == 1


async def test_a_status_is_tried_again(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/"] = failing(2, Reply(b"busy", status=503), Reply(b"", status=429))
    response = await client.get(http_server.url, retries=FAST)
    assert (response.status, response.text) == (200, "at last")
    assert [attempt.outcome for attempt in response.attempts] == [503, 429]
    assert all(attempt.delay > 0 for attempt in response.attempts)
    assert response.history == (), "those are not redirects"
    assert len(http_server.requests) == 3
    assert http_server.connections == 1, "what was left of the responses was read, and the connection used again"


async def test_a_number_is_that_many_attempts(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/"] = failing(99)
    response = await client.get(http_server.url, retries=2)
    assert len(response.attempts) == 1
    assert 0.25 <= response.attempts[0].delay <= 0.5
    for wrong in ("2", 2.0, True):
        with pytest.raises(TypeError, match="retries"):
            await client.get(http_server.url, retries=wrong)


async def test_of_the_client_and_of_the_request(http_server: OriginServer) -> None:
    async with Client(trust_env=False, retries=FAST) as client:
        http_server.routes["/"] = failing(1)
        assert (await client.get(http_server.url)).status == 200
        http_server.routes["/"] = failing(1)
        assert (await client.get(http_server.url, retries=None)).status == 503
        http_server.routes["/"] = failing(2)
        assert (await client.get(http_server.url, retries=Retry(attempts=2, backoff=0))).status == 503
        http_server.routes["/"] = failing(1)
        async with client.stream("GET", http_server.url) as response:
            assert await response.read() == b"at last"
        http_server.routes["/"] = failing(1)
        assert (await client.send(client.build_request("GET", http_server.url))).status == 200


async def test_the_last_response_is_the_answer_when_all_fail(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/"] = failing(99)
    response = await client.get(http_server.url, retries=FAST)
    assert (response.status, response.text) == (503, "busy")
    assert len(response.attempts) == 2
    assert len(http_server.requests) == 3


async def test_retry_after_is_waited_for(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/"] = failing(1, Reply(status=429, fields=[("Retry-After", "1")]))
    began = time.monotonic()
    response = await client.get(http_server.url, retries=FAST)
    assert response.status == 200
    assert response.attempts[0].delay == 1
    assert time.monotonic() - began > 0.98, "not before the server asked to be left alone"


async def test_retry_after_that_is_too_long(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/"] = failing(1, Reply(status=429, fields=[("Retry-After", "1000")]))
    assert (await client.get(http_server.url, retries=FAST)).status == 429
    response = await client.get(http_server.url, timeout=Timeout(total=5), retries=Retry(max_delay=2000))
    assert response.status == 200, "the first was the only one to fail"
    http_server.routes["/"] = failing(1, Reply(status=429, fields=[("Retry-After", "10")]))
    response = await client.get(http_server.url, timeout=Timeout(total=5), retries=Retry())
    assert response.status == 429, "an answer at once, where the time would not do"


async def test_a_post_is_not_sent_twice(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/"] = failing(1)
    assert (await client.post(http_server.url, content=b"x", retries=FAST)).status == 503
    assert len(http_server.requests) == 1


@pytest.mark.parametrize("options", [{"idempotent": True}, {"headers": {"Idempotency-Key": "7"}}])
async def test_a_post_that_may_be_sent_twice(
    options: dict[str, Any], client: Client, http_server: OriginServer
) -> None:
    http_server.routes["/"] = failing(2)
    response = await client.post(http_server.url, content=b"x" * 100_000, retries=FAST, **options)
    assert response.content == b"x" * 100_000
    assert [received.body for received in http_server.requests] == [b"x" * 100_000] * 3


async def test_a_body_that_can_be_read_only_once(client: Client, http_server: OriginServer) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"once"

    http_server.routes["/"] = failing(1)
    response = await client.put(http_server.url, content=pieces(), retries=FAST)
    assert response.status == 503
    assert len(http_server.requests) == 1


async def test_a_body_is_rewound(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/"] = failing(2)
    body = io.BytesIO(b"...all of it")
    body.seek(3)
    assert (await client.put(http_server.url, content=body, retries=FAST)).content == b"all of it"
    assert [received.body for received in http_server.requests] == [b"all of it"] * 3


async def test_a_body_that_will_not_be_rewound_is_a_clear_error(client: Client, http_server: OriginServer) -> None:
    class Stuck(io.BytesIO):
        def rewind(self) -> None:
            raise BodyNotReplayable("the file was closed")

    http_server.routes["/"] = failing(2)
    request = client.build_request("PUT", http_server.url).replace(body=Stuck(b"x"))
    with pytest.raises(BodyNotReplayable, match="closed"):
        await client.send(request, retries=FAST)


# --- what is left of the responses in between -------------------------------------------------------------------------


async def test_a_body_that_does_not_end_holds_nothing_up(client: Client, raw_server: StartRaw) -> None:
    """The pause is all the time that the rest of a failed response gets."""
    head = b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nx"
    server = await raw_server([ReadRequest(), Send(head), Hold()], [ReadRequest(), Send(OK), Hold()])
    response = await client.get(server.url, retries=FAST, timeout=None)
    assert response.text == "ok"
    assert server.connections == 2


async def test_a_body_that_is_broken_does_not_matter(client: Client, raw_server: StartRaw) -> None:
    head = b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n"
    server = await raw_server([ReadRequest(), Send(head), Hold()], [ReadRequest(), Send(OK), Hold()])
    assert (await client.get(server.url, retries=FAST)).text == "ok"


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["close", "reset"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 O"], ids=["nothing", "half a head"])
async def test_a_lost_connection(end: Any, said: bytes, client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(said), end], [ReadRequest(), Send(OK), Hold()])
    response = await client.get(server.url, retries=FAST)
    assert response.text == "ok"
    (attempt,) = response.attempts
    assert isinstance(attempt.outcome, RemoteDisconnected)
    assert attempt.outcome.__traceback__ is None, "it would keep all that was under way"
    copy = pickle.loads(pickle.dumps(attempt))
    assert (str(copy.outcome), copy.delay) == (str(attempt.outcome), attempt.delay)


async def test_a_server_that_is_not_there(client: Client) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with pytest.raises(ConnectError) as caught:
            await client.get(url, retries=FAST)
    assert caught.value.request.url == url
    notes = caught.value.__notes__
    assert len(notes) == 2
    assert notes[0].startswith("attempt 1 came to: ConnectError: cannot connect to 127.0.0.1")
    assert pickle.loads(pickle.dumps(caught.value)).__notes__ == notes


async def test_a_server_that_comes_back(client: Client) -> None:
    port = free_port()  # none that the system may give to somebody else meanwhile
    async with OriginServer(port=port):
        pass
    patient = Retry(attempts=10, backoff=0.01, jitter=0)
    call = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/", retries=patient))
    await asyncio.sleep(0.02)
    async with OriginServer(port=port):
        response = await call
    assert response.text == "hello"
    assert response.attempts


async def test_a_read_timeout(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Hold()], [ReadRequest(), Send(OK), Hold()])
    response = await client.get(server.url, retries=FAST, timeout=Timeout(read=0.1))
    assert isinstance(response.attempts[0].outcome, ReadTimeout)
    assert server.connections == 2


async def test_a_certificate_that_is_refused_is_not_looked_at_twice(https_server: OriginServer) -> None:
    async with Client(trust_env=False, retries=FAST) as client:
        with pytest.raises(TLSError, match="certificate") as caught:
            await client.get(https_server.url)
        assert not hasattr(caught.value, "__notes__")
    assert https_server.connections <= 1


async def test_a_handshake_that_breaks_off(
    client: Client, raw_server: StartRaw, client_ctx: ssl.SSLContext, server_ctx: ssl.SSLContext
) -> None:
    server = await raw_server([Close()])
    with pytest.raises(TLSError) as caught:
        await client.get(f"https://127.0.0.1:{server.port}/", retries=FAST)
    assert len(caught.value.__notes__) == 2
    assert server.connections == 3


async def test_what_is_no_http_is_not_asked_twice(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(b"SSH-2.0-OpenSSH\r\n"), Hold()])
    with pytest.raises(Exception, match="not an HTTP/1"):
        await client.get(server.url, retries=FAST)
    assert server.connections == 1


async def test_a_body_that_breaks_off_is_the_callers(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), Close()])
    with pytest.raises(IncompleteRead):
        await client.get(server.url, retries=FAST)
    assert server.connections == 1


async def test_a_full_pool_is_not_made_fuller(http_server: OriginServer) -> None:
    async with Client(trust_env=False, limits=Limits(max_connections=1), retries=FAST) as client:
        async with client.stream("GET", f"{http_server.url}/bytes/10000000"):
            with pytest.raises(PoolTimeout) as caught:
                await client.get(http_server.url, timeout=Timeout(pool=0.02))
        assert not hasattr(caught.value, "__notes__")
        await client.close()
        with pytest.raises(PoolClosed):
            await client.get(http_server.url)


async def test_an_outage_is_not_amplified(raw_server: StartRaw) -> None:
    """A thousand requests to a server that hangs up on everybody."""
    server = await raw_server([ReadRequest(), Close()])
    async with Client(trust_env=False, retries=Retry(attempts=4, backoff=0.001)) as client:

        async def ask() -> None:
            for _ in range(100):
                with pytest.raises(RemoteDisconnected):
                    await client.get(server.url)

        await asyncio.gather(*[ask() for _ in range(10)])
        audit_quiet(client.pool)  # type: ignore[arg-type]
    # Ten in reserve, and what of it comes back while the test runs: one in 6 s.
    assert 1150 < len(server.requests) < 1250


# --- total, redirects -------------------------------------------------------------------------------------------------


async def test_total_holds_over_all_attempts(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/"] = failing(10_000)
    endless = Retry(attempts=10_000, backoff=0.1, jitter=0, max_delay=0.1, budget=None)
    began = time.monotonic()
    response = await client.get(http_server.url, retries=endless, timeout=Timeout(total=1))
    assert response.status == 503, "the last answer that came in time"
    assert 2 < len(http_server.requests) < 15
    assert time.monotonic() - began < 5


async def test_total_ends_an_attempt(client: Client, raw_server: StartRaw) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(busy), ReadRequest(), Hold()])
    with pytest.raises(TotalTimeout) as caught:
        await client.get(server.url, retries=FAST, timeout=Timeout(total=0.1))
    assert caught.value.__notes__ == ["attempt 1 came to: status 503"]
    assert client.stats().open == 0


@pytest.mark.parametrize("way", ["read", "stream"])
async def test_total_holds_for_the_body_after_redirects_and_attempts(
    way: str, client: Client, raw_server: StartRaw
) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    moved = b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n"
    drip = [Send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), Send(b"x" * 1000, each=1, pause=0.01)]
    steps = [Send(busy), ReadRequest(), Send(moved), ReadRequest(), Send(busy), ReadRequest(), Pause(0.05), *drip]
    server = await raw_server([ReadRequest(), *steps])
    with pytest.raises(TotalTimeout) as caught:
        if way == "read":
            await client.get(server.url, retries=FAST, timeout=Timeout(total=0.2))
        else:
            async with client.stream("GET", server.url, retries=FAST, timeout=Timeout(total=0.2)) as response:
                assert [hop.status for hop in response.history] == [302]
                async for _ in response.iter_bytes():
                    pass
    assert caught.value.request.url.path == "/next"
    assert len(server.requests) == 4
    assert client.stats().open == 0


async def test_one_deadline_for_all_of_a_call(client: Client, http_server: OriginServer) -> None:
    pool = client.pool
    assert pool is not None
    deadlines = []

    class Watching:
        async def send(self, request: Any, context: Any) -> Any:
            deadlines.append(context.deadline)
            return await pool.send(request, context)

        async def close(self) -> None:
            """It is the pool's."""

    http_server.routes["/a"] = failing(2, Reply(status=503))
    async with Client(transport=Watching(), trust_env=False, retries=FAST, timeout=Timeout(total=60)) as watched:
        url = f"{http_server.url}/redirect/302?/a"
        async with watched.stream("GET", url) as response:
            deadlines.append(response._raw._deadline if not response._raw.ended else deadlines[0])
            await response.read()
        assert len(deadlines) == 5
        assert len(set(map(id, deadlines))) == 1
        await watched.get(http_server.url)
        assert deadlines[-1] is not deadlines[0], "each call has its own"


async def test_each_hop_has_attempts_of_its_own(client: Client, http_server: OriginServer) -> None:
    moved = Reply(status=302, fields=[("Location", "/there")])
    count = 0

    def first(received: Received) -> Reply:
        nonlocal count
        count += 1
        return Reply(status=502) if count < 3 else moved

    http_server.routes |= {"/here": first, "/there": failing(2)}
    response = await client.get(f"{http_server.url}/here", retries=FAST)
    assert response.status == 200
    assert [attempt.outcome for attempt in response.history[0].attempts] == [502, 502]
    assert [attempt.outcome for attempt in response.attempts] == [503, 503]


async def test_cookies_of_a_failed_attempt_count(client: Client, http_server: OriginServer) -> None:
    """The jar takes from every response, and gives to every request: also to the next attempt."""
    http_server.routes["/"] = failing(1, Reply(status=503, fields=[("X-Seen", "1")]))
    response = await client.get(http_server.url, retries=FAST, cookies={"a": "1"})
    assert response.status == 200
    assert [received.get("Cookie") for received in http_server.requests] == ["a=1", "a=1"]


# --- hooks ------------------------------------------------------------------------------------------------------------


async def test_hooks_are_told(http_server: OriginServer) -> None:
    http_server.routes["/"] = failing(2)
    told = []
    hooks = Hooks(on_retry=lambda request, attempt: told.append((str(request.url), attempt.outcome)))
    async with Client(trust_env=False, retries=FAST, hooks=hooks) as client:
        assert (await client.get(f"{http_server.url}/")).status == 200
    assert told == [(f"{http_server.url}/", 503)] * 2


async def test_a_hook_that_fails_ends_it(http_server: OriginServer) -> None:
    """The response in between is nobody's by then, and its body has not arrived."""

    def fail(request: Any, attempt: Any) -> None:
        raise LookupError("enough")

    http_server.routes["/"] = failing(2, Reply(b"x" * 10_000_000, status=503))
    async with Client(trust_env=False, retries=FAST, hooks=Hooks(on_retry=fail)) as client:
        with pytest.raises(LookupError):
            await client.get(http_server.url)
        await settle()
        audit_quiet(client.pool)  # type: ignore[arg-type]
    assert len(http_server.requests) == 1


async def test_a_hook_that_takes_all_the_time(http_server: OriginServer) -> None:
    async def dawdle(request: Any, attempt: Any) -> None:
        await asyncio.sleep(0.2)

    http_server.routes["/"] = failing(2)
    async with Client(trust_env=False, retries=FAST, hooks=Hooks(on_retry=dawdle)) as client:
        with pytest.raises(TotalTimeout) as caught:
            await client.get(f"{http_server.url}/", timeout=Timeout(total=0.1))
    assert caught.value.request.url == f"{http_server.url}/"
    assert len(http_server.requests) == 1, "it is not sent when there is no time left for an answer"


# --- what is remembered -----------------------------------------------------------------------------------------------


async def test_nothing_is_remembered_where_nothing_is_retried(client: Client, http_server: OriginServer) -> None:
    await client.get(http_server.url)
    assert client._flow.record is None


async def test_errors_make_no_circles(client: Client, raw_server: StartRaw) -> None:
    """What failed goes at once, without waiting for the collector: frames hold bodies and connections."""
    import gc
    import weakref

    server = await raw_server([ReadRequest(), Close()])
    gc.collect()
    gc.disable()
    try:
        kept = []
        try:
            await client.get(server.url, retries=FAST)
        except RemoteDisconnected as error:
            kept.append(weakref.ref(error))
        await settle()
        assert kept[0]() is None
    finally:
        gc.enable()
