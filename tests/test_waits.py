"""Calls that wait for something else than a connection: told when the client is closed, served within its grace."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, PoolClosed, RateLimit, Retry, RobotsTxt, Rule
from tests.auditing import pending_tasks, settle
from tests.politeness.test_transport import assert_no_lines
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable

    from aiohttpconn import Response
    from tests.servers.raw import Received


class Door(Rule):
    """Holds everything back until it is opened."""

    def __init__(self) -> None:
        self.until = math.inf

    def ready_at(self, key: Hashable, now: float) -> float:
        return self.until if self.until > now else now


KINDS = ["rule", "robots.txt", "flight", "retry", "map"]


def waiting(kind: str, server: OriginServer) -> tuple[Client, list[Any]]:
    """A client, and calls that wait: for a turn, for a robots.txt that is tried again, for the one that waits for a
    turn, for a minute to be over; a map whose request waits for a turn."""
    count = 0

    async def later(request: Received) -> Reply:
        nonlocal count
        count += 1
        return Reply(status=503) if count == 1 else Reply(b"hello")

    server.routes["/later"] = server.routes["/robots.txt"] = later
    door = Door()
    options: dict[str, Any] = {
        "robots.txt": {"politeness": RobotsTxt("example")},
        "flight": {"cache": True, "politeness": door},
        "retry": {"retries": Retry(attempts=2, jitter=0, backoff=60.0, max_delay=60.0)},
    }.get(kind, {"politeness": door})
    client = Client(trust_env=False, **options)
    url = server.url + ("/later" if kind == "retry" else "/bytes/5")
    if kind == "map":

        async def read() -> Response:
            async for result in client.map([url]):
                return result.unwrap()
            raise AssertionError

        return client, [read()]
    return client, [client.get(url) for _ in range(3 if kind == "flight" else 1)]


@pytest.mark.parametrize("kind", KINDS)
async def test_who_waits_is_told_that_the_client_is_closed(kind: str, http_server: OriginServer) -> None:
    client, calls = waiting(kind, http_server)
    tasks = [asyncio.ensure_future(call) for call in calls]
    while kind in ("robots.txt", "retry") and not http_server.requests:
        await asyncio.sleep(0)
    await settle(20)
    assert not any(task.done() for task in tasks)
    await client.close()
    async with asyncio.timeout(0.5):
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in outcomes} == {PoolClosed}
    assert "waiting" in str(outcomes[0]) or kind == "retry"
    assert_no_lines()


@pytest.mark.parametrize("kind", ["rule", "retry", "map"])
async def test_who_waits_is_served_within_the_grace(kind: str, http_server: OriginServer) -> None:
    http_server.routes["/bytes/5"] = lambda request: settled()
    client, calls = waiting(kind, http_server)
    if kind != "retry":
        door = client._transport.rules[0]  # type: ignore[attr-defined]
        door.until = asyncio.get_running_loop().time() + 0.05
    else:
        client._retry = Retry(attempts=2, jitter=0, backoff=0.05)
    tasks = [asyncio.ensure_future(call) for call in calls]
    await settle(20)
    await client.close(grace=10)
    assert [task.done() for task in tasks] == [True] * len(tasks)
    assert {task.result().text for task in tasks} == {"hello"}


async def settled() -> Reply:
    await settle(15)
    return Reply(b"hello")


async def test_the_grace_is_all_they_get(http_server: OriginServer) -> None:
    client, calls = waiting("rule", http_server)
    call = asyncio.ensure_future(calls[0])
    await settle()
    await client.close(grace=0.01)
    with pytest.raises(PoolClosed):
        await call
    assert_no_lines()


@pytest.mark.parametrize("source", ["list", "async generator"])
@pytest.mark.parametrize("polite", [False, True])
async def test_a_map_whose_reader_was_cancelled_ends_with_the_client(
    source: str, polite: bool, http_server: OriginServer
) -> None:
    """What the reader's traceback refers to, the map, lives on; its tasks do not."""
    urls = [f"{http_server.url}/bytes/{number}" for number in range(1, 40)]

    async def later() -> AsyncIterator[str]:
        for each in urls:
            yield each

    async def forever(response: Response) -> None:
        await asyncio.get_running_loop().create_future()

    async def read() -> None:
        given: Any = urls if source == "list" else later()
        async for _ in client.map(given, concurrency=3, window=4, handle=forever):
            pass

    before = pending_tasks()
    client = Client(politeness=RateLimit(1, per=1e6) if polite else None, trust_env=False)
    reader = asyncio.ensure_future(read())
    while not http_server.requests:
        await asyncio.sleep(0.001)
    await settle(5)
    reader.cancel()
    await asyncio.wait({reader})
    await client.close()
    await settle(3)
    assert {task for task in pending_tasks() - before if "aiohttpconn" in repr(task)} == set()


async def test_handle_may_close_the_client(http_server: OriginServer) -> None:
    closed = []

    async def close(response: Response) -> None:
        await client.close()
        await asyncio.sleep(0)
        closed.append(response)

    client = Client(trust_env=False)
    with pytest.raises(PoolClosed):
        async for _ in client.map([http_server.url + "/"] * 20, concurrency=1, handle=close):
            pass
    assert len(closed) == 1


@pytest.mark.parametrize("ends", ["client", "pool", "task"])
async def test_what_ends_a_map_ends_its_source_that_waits_for_room(ends: str, http_server: OriginServer) -> None:
    over = []

    async def endless() -> AsyncIterator[str]:
        try:
            yield http_server.url + "/"
            if ends == "client":
                await client.close()
            while True:
                yield http_server.url + "/"
        finally:
            over.append(True)

    async def handle(response: Response) -> None:
        if ends == "pool":
            assert client.pool is not None
            await client.pool.close()
        elif ends == "task":
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.sleep(0)

    async with Client(trust_env=False) as client, asyncio.timeout(5):
        with pytest.raises(RuntimeError if ends == "task" else PoolClosed):
            async for _ in client.map(endless(), concurrency=2, window=2, handle=handle):
                pass
    assert over
