"""Hedging over real sockets: a second attempt beside the first, and what becomes of the one that loses."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, Hedge, Limits, RemoteDisconnected, Retry, Timeout, TotalTimeout
from aiohttpconn.client.retries import RESERVE
from tests.auditing import Ground, audit_quiet, settle
from tests.exchanges import until
from tests.servers.origin import OriginServer, Reply
from tests.servers.raw import Close, Hold, Pause, Send
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers.raw import Received

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
FIRST, SECOND = OK + b"1.", OK + b"2."
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
SOON = Hedge(0.03, budget=None)


async def quiet(client: Client) -> None:
    await settle(5)
    assert client.pool is not None
    audit_quiet(client.pool)


async def test_the_second_attempt_wins(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Hold()], [ReadRequest(), Send(SECOND), Hold()])
    response = await client.get(server.url, hedge=SOON)
    assert response.text == "2."
    assert response.hedged is not None
    assert response.hedged.won
    assert (
        "hedge:        a second attempt went out 30.00 ms after the first, and answered first\n" in response.explain()
    )
    assert pickle.loads(pickle.dumps(response)).hedged == response.hedged
    assert len(server.requests) == 2
    await quiet(client)
    assert client.stats().open == 1, "the loser's connection is closed, the winner's kept"
    await until(lambda: server.accepted[0].ended)


async def test_the_first_attempt_wins_though_it_is_late(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Pause(0.1), Send(FIRST), Hold()], [ReadRequest(), Hold()])
    response = await client.get(server.url, hedge=SOON)
    assert response.text == "1."
    assert response.hedged == (0.03, False)
    assert "and was called off\n" in response.explain()
    assert len(server.requests) == 2
    await quiet(client)
    assert client.stats().open == 1
    await until(lambda: server.accepted[1].ended)


async def test_no_second_attempt_where_the_first_is_in_time(client: Client, http_server: OriginServer) -> None:
    for _ in range(3):
        response = await client.get(http_server.url, hedge=Hedge(60))
        assert (response.text, response.hedged) == ("hello", None)
    assert len(http_server.requests) == 3
    assert http_server.connections == 1


async def test_of_the_client_and_off_for_a_request(raw_server: StartRaw) -> None:
    server = await raw_server(
        [ReadRequest(), Hold()],
        [ReadRequest(), Send(SECOND), ReadRequest(), Pause(0.1), Send(SECOND), Hold()],
        [ReadRequest(), Hold()],
    )
    async with Client(trust_env=False, hedge=0.03) as client:
        assert (await client.get(server.url)).text == "2."
        assert (await client.get(server.url, hedge=None)).text == "2."
        assert len(server.requests) == 3
        await quiet(client)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_may_not_be_sent_twice_is_not(method: str, client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Pause(0.1), Send(FIRST), Hold()])
    response = await client.request(method, server.url, content=b"x", hedge=SOON)
    assert response.text == "1."
    assert len(server.requests) == 1


async def test_an_idempotency_key_will_do(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Hold()], [ReadRequest(), Send(SECOND), Hold()])
    response = await client.post(server.url, content=b"both", headers={"Idempotency-Key": "7"}, hedge=SOON)
    assert response.text == "2."
    assert [received.body for received in server.requests] == [b"both", b"both"]


async def test_a_body_that_is_read_as_it_is_sent_is_not_sent_by_two(client: Client, raw_server: StartRaw) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"once"

    server = await raw_server([ReadRequest(), Pause(0.1), Send(FIRST), Hold()])
    assert (await client.put(server.url, content=pieces(), hedge=SOON)).text == "1."
    assert len(server.requests) == 1


async def test_in_a_stream(client: Client, raw_server: StartRaw) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    server = await raw_server([ReadRequest(), Hold()], [ReadRequest(), Send(head), Send(b"x" * 100_000), Hold()])
    async with client.stream("GET", server.url, hedge=SOON) as response:
        assert len(await response.read()) == 100_000
    await quiet(client)
    assert client.stats().open == 1


async def test_none_for_one_that_waits_for_a_connection(http_server: OriginServer) -> None:
    """It would wait behind it, and be sent when the first is answered."""
    gate = asyncio.Event()

    async def slow(request: Received) -> Reply:
        await gate.wait()
        return Reply(b"done")

    http_server.routes["/slow"] = slow
    url = f"{http_server.url}/slow"
    async with Client(trust_env=False, limits=Limits(max_connections=1), hedge=Hedge(0.02, budget=None)) as client:
        calls = [asyncio.create_task(client.get(url)) for _ in range(3)]
        await asyncio.sleep(0.15)
        gate.set()
        responses = await asyncio.gather(*calls)
        assert [response.hedged for response in responses] == [None] * 3
        assert len(http_server.requests) == 3
        assert http_server.connections == 1
        await quiet(client)
        assert client.stats().open == 1


async def test_the_time_counts_from_when_there_was_a_connection(http_server: OriginServer) -> None:
    async def slow(request: Received) -> Reply:
        await asyncio.sleep(0.04)
        return Reply(b"done")

    http_server.routes["/slow"] = slow
    async with Client(trust_env=False, limits=Limits(max_connections=4), hedge=Hedge(5, budget=None)) as client:
        await asyncio.gather(*[client.get(f"{http_server.url}/slow") for _ in range(12)])
        assert len(http_server.requests) == 12


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_the_failure_of_one_is_not_the_answer_while_the_other_may_be(
    client: Client, raw_server: StartRaw
) -> None:
    server = await raw_server([ReadRequest(), Pause(0.15), Send(FIRST), Hold()], [ReadRequest(), Close()])
    assert (await client.get(server.url, hedge=SOON)).text == "1."
    server = await raw_server([ReadRequest(), Pause(0.06), Close()], [ReadRequest(), Pause(0.1), Send(SECOND), Hold()])
    assert (await client.get(server.url, hedge=SOON)).text == "2."
    await quiet(client)


async def test_a_busy_server_is_not_the_answer_while_the_other_may_be(client: Client, raw_server: StartRaw) -> None:
    """Being asked twice may be just what it refuses: without hedging there would be an answer."""
    server = await raw_server([ReadRequest(), Pause(0.15), Send(FIRST), Hold()], [ReadRequest(), Send(BUSY), Hold()])
    assert (await client.get(server.url, hedge=SOON)).text == "1."
    await quiet(client)
    server = await raw_server([ReadRequest(), Pause(0.15), Close()], [ReadRequest(), Send(BUSY), Hold()])
    response = await client.get(server.url, hedge=SOON)
    assert (response.status, response.text) == (503, "busy"), "any answer is better than none"
    server = await raw_server([ReadRequest(), Pause(0.1), Send(BUSY), Hold()], [ReadRequest(), Send(BUSY), Hold()])
    assert (await client.get(server.url, hedge=SOON)).status == 503
    await quiet(client)


async def test_an_early_failure_is_not_waited_upon(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Close()])
    with pytest.raises(RemoteDisconnected) as caught:
        await client.get(server.url, hedge=Hedge(60))
    assert not hasattr(caught.value, "__notes__")
    assert len(server.requests) == 1


async def test_when_both_fail_both_are_told(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server(
        [ReadRequest(), Pause(0.1), Send(b"HTTP/1.1 200"), Close()], [ReadRequest(), Send(b"SSH-2.0\r\n"), Hold()]
    )
    with pytest.raises(RemoteDisconnected, match="after 12 bytes") as caught:
        await client.get(server.url, hedge=SOON)
    (note,) = caught.value.__notes__
    assert note.startswith("the second attempt, 0.03 s later, came to: BadStatusLine: not an HTTP/1.x status line")
    await quiet(client)
    assert client.stats().open == 0


async def test_with_retries(client: Client, raw_server: StartRaw) -> None:
    """Each attempt may have one beside it."""
    failing = [ReadRequest(), Pause(0.06), Close()]
    server = await raw_server(failing, failing, [ReadRequest(), Hold()], [ReadRequest(), Send(SECOND), Hold()])
    response = await client.get(server.url, hedge=SOON, retries=Retry(backoff=0.001))
    assert response.text == "2."
    (attempt,) = response.attempts
    assert isinstance(attempt.outcome, RemoteDisconnected)
    assert len(server.requests) == 4
    await quiet(client)


async def test_total_holds_for_both(client: Client, raw_server: StartRaw) -> None:
    server = await raw_server([ReadRequest(), Hold()])
    with pytest.raises(TotalTimeout):
        await client.get(server.url, hedge=SOON, timeout=Timeout(total=0.4))
    assert len(server.requests) == 2
    assert client.stats().open == 0
    await quiet(client)


# --- how many ---------------------------------------------------------------------------------------------------------


async def test_a_budget_holds_for_them(http_server: OriginServer) -> None:
    """A server that is slow for everybody is not asked twice by everybody."""

    async def late(received: Received) -> Reply:
        await asyncio.sleep(0.02)
        return Reply(b"late")

    http_server.routes["/"] = late
    async with Client(trust_env=False, hedge=0.001, limits=Limits(max_connections=None)) as client:
        for _ in range(20):
            responses = await asyncio.gather(*[client.get(http_server.url) for _ in range(10)])
            assert {response.text for response in responses} == {"late"}
        await quiet(client)
    asked = len(http_server.requests)
    assert 200 < asked <= 200 * 1.2 + RESERVE + 2
    await http_server.wait_idle()


async def test_p95(http_server: OriginServer) -> None:
    slow: set[int] = set()

    async def answer(received: Received) -> Reply:
        if received.connection in slow:
            await asyncio.sleep(60)
        return Reply(b"quick")

    http_server.routes["/"] = answer
    async with Client(trust_env=False, hedge=Hedge(), timeout=10) as client:
        for _ in range(20):
            await client.get(http_server.url)
        assert http_server.connections == 1, "too little is known to send anything twice"
        slow.add(0)
        assert (await client.get(http_server.url)).text == "quick"
        assert http_server.connections == 2
        assert len(http_server.requests) <= 22
        await quiet(client)


# --- nothing is left --------------------------------------------------------------------------------------------------


async def test_both_answer_at_once(client: Client, http_server: OriginServer) -> None:
    """The two responses come in the same turn: one is taken, the other let go."""
    gate = asyncio.Event()

    async def wait(received: Received) -> Reply:
        if len(http_server.requests) % 2 == 0:
            gate.set()
        await gate.wait()
        return Reply(b"x" * 300_000)

    http_server.routes["/"] = wait
    for _ in range(20):
        gate.clear()
        http_server.requests.clear()
        assert len((await client.get(http_server.url, hedge=Hedge(0.001, budget=None))).content) == 300_000
        await quiet(client)


async def test_the_client_is_closed_meanwhile(raw_server: StartRaw) -> None:
    ground = Ground()
    server = await raw_server([ReadRequest(), Hold()])
    client = Client(trust_env=False, hedge=SOON)
    call = asyncio.create_task(client.get(server.url))
    await until(lambda: len(server.requests) == 2)
    await client.close()
    with pytest.raises(Exception, match="closed"):
        await call
    await server.wait_idle()
    await quiet(client)
    del call
    assert [text for text in await ground.cleared() if "task" in text] == []


async def test_the_loser_is_not_waited_for(client: Client, raw_server: StartRaw) -> None:
    """It is over in the turn in which it is cancelled, however its server behaves."""
    half = b"HTTP/1.1 200 OK\r\nX: "
    server = await raw_server([ReadRequest(), Send(half), Hold()], [ReadRequest(), Send(SECOND), Hold()])
    tasks = asyncio.all_tasks()
    assert (await client.get(server.url, hedge=SOON)).text == "2."
    mine = {task for task in asyncio.all_tasks() - tasks if "_send" in repr(task.get_coro())}
    assert mine == set()
