"""Cancelling a call at every await of its whole way: redirects, signatures, retries, hedges."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, Hedge, Hooks, Limits, RemoteDisconnected, Retry, Timeout
from aiohttpconn.client.auth import Auth
from tests.auditing import Ground, audit_quiet, settle
from tests.cancellation import cancel_everywhere
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.servers.raw import Received

StartRaw = Any  # Callable[..., Awaitable[RawServer]]
ENDLESS = Retry(attempts=3, backoff=0.001, budget=None)
TIMEOUTS = [pytest.param(Timeout(), id="parts"), pytest.param(Timeout(total=60), id="total")]


def every(period: int, bad: Reply, good: Reply) -> Callable[[Received], Reply]:
    """`good` each so many times, else `bad`."""
    count = 0

    def answer(received: Received) -> Reply:
        nonlocal count
        count += 1
        return good if count % period == 0 else bad

    return answer


def checks(client: Client) -> Callable[[], Awaitable[None]]:
    """That the pool is quiet, and no attempt is still running."""
    pool = client.pool
    assert pool is not None

    async def check() -> None:
        await settle(5)
        audit_quiet(pool)
        running = [task for task in asyncio.all_tasks() if "Flow._send" in repr(task.get_coro())]
        assert running == [], "an attempt still runs"

    return check


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(trust_env=False, limits=Limits(max_connections=2), timeout=10) as client:
        yield client


@pytest.mark.parametrize("timeout", TIMEOUTS)
@pytest.mark.parametrize("left", ["framed", "long", "unframed", "slow"])
async def test_retries(left: str, timeout: Timeout, client: Client, http_server: OriginServer) -> None:
    """Also while the rest of the failed response is read, and in the pause."""
    bad = {
        "framed": Reply(b"busy", status=503),
        "long": Reply(b"x" * 100_000, status=503),
        "unframed": Reply(b"busy", status=503, until_close=True),
        "slow": Reply(b"x" * 30_000, status=503, chunked=100),
    }[left]
    http_server.routes["/"] = every(3, bad, Reply(b"x" * 200_000))
    check = checks(client)

    async def fetch() -> None:
        response = await client.get(http_server.url, retries=ENDLESS, timeout=timeout)
        assert response.status in (200, 503)

    assert await cancel_everywhere(fetch, check) > 0
    await fetch()


async def test_retries_while_a_hook_is_told(http_server: OriginServer) -> None:
    async def told(request: Any, attempt: Any) -> None:
        await settle(1)

    http_server.routes["/"] = every(2, Reply(b"x" * 10_000_000, status=503), Reply(b"at last"))
    async with Client(trust_env=False, retries=ENDLESS, hooks=Hooks(on_retry=told)) as client:

        async def fetch() -> None:
            assert (await client.get(http_server.url)).status == 200

        assert await cancel_everywhere(fetch, checks(client)) > 0


async def test_retries_after_errors(client: Client, raw_server: StartRaw) -> None:
    async def hang_up(reader: Any, writer: Any, conn: Any) -> None:
        await conn.read_request()

    server = await raw_server(hang_up)

    async def fetch() -> None:
        with pytest.raises(RemoteDisconnected):
            await client.get(server.url, retries=ENDLESS)

    assert await cancel_everywhere(fetch, checks(client)) > 0
    await server.wait_idle()
    assert client.stats().open == 0


@pytest.mark.parametrize("who", ["first", "second", "both"])
@pytest.mark.parametrize("size", [0, 300_000])
async def test_hedges(who: str, size: int, client: Client, http_server: OriginServer) -> None:
    """Cancelled before the second attempt, beside it, and while the loser is called off."""
    http_server.routes["/"] = Reply(b"x" * size)
    count = 0

    async def answer(received: Received) -> Reply:
        nonlocal count
        count += 1
        if who == "both" or (count % 2 == 1) == (who == "first"):
            await asyncio.sleep(0.008)
            return Reply(b"x" * size)
        await asyncio.sleep(60)
        return Reply(b"late")

    http_server.routes["/"] = answer
    check = checks(client)

    async def fetch() -> None:
        nonlocal count
        count = 0
        response = await client.get(http_server.url, hedge=Hedge(0.002, budget=None))
        assert len(response.content) == size

    async def quiet() -> None:
        await check()
        assert client.stats().open <= 2

    assert await cancel_everywhere(fetch, quiet) > 0
    await fetch()


async def test_hedges_that_both_fail(client: Client, raw_server: StartRaw) -> None:
    async def hang_up(reader: Any, writer: Any, conn: Any) -> None:
        await conn.read_request()
        await asyncio.sleep(0.005)

    server = await raw_server(hang_up)

    async def fetch() -> None:
        with pytest.raises(RemoteDisconnected):
            await client.get(server.url, hedge=Hedge(0.001, budget=None))

    assert await cancel_everywhere(fetch, checks(client)) > 0


def signing(http_server: OriginServer) -> None:
    """/there asks for basic credentials by way of a redirect, and is busy two times of three."""

    def there(received: Received) -> Reply:
        if received.get("Authorization") is None:
            return Reply(b"who?" * 5000, status=401, fields=[("WWW-Authenticate", "Basic")], chunked=1000)
        return busy(received)

    busy = every(3, Reply(b"busy", status=503), Reply(b"x" * 100_000))
    http_server.routes |= {
        "/here": every(2, Reply(b"busy", status=503), Reply(b"on", status=307, fields=[("Location", "/there")])),
        "/there": there,
    }


@pytest.mark.parametrize("timeout", TIMEOUTS)
@pytest.mark.parametrize("way", ["get", "stream"])
async def test_redirects_signatures_retries_and_hedges_together(
    way: str, timeout: Timeout, http_server: OriginServer
) -> None:
    class OnDemand(Auth):
        def flow(self, request: Any) -> Any:
            response = yield request
            if response.status == 401:
                yield request.with_fields({"Authorization": "Basic eDp5"})

    signing(http_server)
    options: Any = {"auth": OnDemand(), "retries": ENDLESS, "hedge": Hedge(0.004, budget=None), "timeout": timeout}
    async with Client(trust_env=False, limits=Limits(max_connections=2)) as client:
        ended = 0

        async def fetch() -> None:
            nonlocal ended
            url = f"{http_server.url}/here"
            if way == "get":
                response = await client.get(url, **options)
                ended = response.status
                return
            async with client.stream("GET", url, **options) as response:
                async for _ in response.iter_bytes():
                    pass
                ended = response.status

        assert await cancel_everywhere(fetch, checks(client)) > 0
        for _ in range(3):
            await fetch()
            if ended == 200:
                break
        assert ended == 200


async def test_over_new_connections_each_time(http_server: OriginServer) -> None:
    """The same with nothing to lean on: sockets are counted."""
    ground = Ground()
    http_server.routes["/there"] = every(2, Reply(b"busy", status=503), Reply(b"x" * 50_000))

    async def fetch() -> None:
        async with Client(trust_env=False, retries=ENDLESS, hedge=Hedge(0.002, budget=None)) as client:
            response = await client.get(f"{http_server.url}/redirect/307?/there")
            assert response.status == 200

    async def nothing_left() -> None:
        await http_server.wait_idle()
        assert await ground.cleared() == []

    assert await cancel_everywhere(fetch, nothing_left) > 0


async def test_the_winner_is_not_kept_by_a_cancelled_call(client: Client, http_server: OriginServer) -> None:
    """What comes after any cancellation is the right response, on one connection."""
    number = 0

    async def fetch() -> None:
        await client.get(f"{http_server.url}/request?cancelled", hedge=Hedge(0.0, budget=None), retries=ENDLESS)

    async def next_is_right() -> None:
        nonlocal number
        await checks(client)()
        number += 1
        response = await client.get(f"{http_server.url}/request?{number}")
        assert response.json()["target"] == f"/request?{number}"

    assert await cancel_everywhere(fetch, next_is_right) > 0
