"""How long a pool's connections live: by age, by requests served, by what the server says, by what was learnt of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiohttpconn import Client, ConnectionPool, Limits, RemoteDisconnected, lifetime
from tests.auditing import audit, audit_quiet
from tests.exchanges import StubPool, build, context, fetch, send, until
from tests.servers.nginx import Nginx
from tests.servers.origin import OriginServer, Reply
from tests.servers.raw import Hold, Request, Reset, Send, WaitFor

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
URL = "http://one.example/"

# --- what may be asked for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_age": 0}, ValueError, "max_age"),
        ({"max_age": -1}, ValueError, "max_age"),
        ({"max_age": "60"}, TypeError, "max_age"),
        ({"max_requests": 0}, ValueError, "max_requests"),
        ({"max_requests": 2.5}, TypeError, "max_requests"),
        ({"max_requests": True}, TypeError, "max_requests"),
        ({"jitter": 1.1}, ValueError, "jitter"),
        ({"jitter": -0.1}, ValueError, "jitter"),
        ({"jitter": None}, TypeError, "jitter"),
        ({"jitter": "0.1"}, TypeError, "jitter"),
    ],
)
def test_limits_of_life_are_checked(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Limits(**options)


def test_no_limit_of_life_unless_asked_for() -> None:
    assert (Limits().max_age, Limits().max_requests, Limits().jitter) == (None, None, 0.1)


# --- requests served --------------------------------------------------------------------------------------------------


async def test_a_connection_serves_so_many_requests(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_requests=3, jitter=0)) as pool:
        for number in range(1, 8):
            assert await fetch(pool, http_server.url) == b"hello"
            audit_quiet(pool)
            assert http_server.connections == (number + 2) // 3
            assert pool.stats().idle == (number % 3 > 0)
        assert http_server.broken == []  # closed in good order


async def test_one_request_each(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_requests=1)) as pool:
        for number in range(1, 4):
            await fetch(pool, http_server.url)
            audit_quiet(pool)
            assert (http_server.connections, pool.stats().open) == (number, 0)


async def test_blocks_count_as_one(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_requests=2, jitter=0)) as pool:
        async with pool.connection(http_server.url) as conn:
            for _ in range(5):
                await conn.request("GET", "/")
                await (await conn.getresponse()).read()
        await fetch(pool, http_server.url)
        audit_quiet(pool)
        assert (http_server.connections, pool.stats().open) == (1, 0)


async def test_who_waits_gets_a_new_one_when_a_connection_has_served_enough(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_connections=2, max_requests=5, jitter=0)) as pool:
        await asyncio.gather(*(fetch(pool, http_server.url) for _ in range(40)))
        audit_quiet(pool)
        assert http_server.connections == 8


async def test_each_has_a_limit_of_its_own() -> None:
    pool = StubPool(Limits(max_requests=1000, jitter=0.5, max_connections=None), at_once=True)
    for _ in range(20_000):
        await pool.send(build(URL), context())
    served = [connection.exchanges for connection in pool.made[:-1]]
    assert all(500 <= each <= 1000 for each in served)
    assert len(set(served)) > 5
    audit_quiet(pool)
    await pool.close()


async def test_a_connection_opened_in_place_of_a_dead_one_counts_anew(raw_server: Any) -> None:
    server = await raw_server(
        [Request(), Send(OK), Request()], [Request(), Send(OK), Request(), Send(OK), Hold()], [Request(), Send(OK)]
    )
    async with ConnectionPool(Limits(max_requests=2, jitter=0)) as pool:
        for connections in (1, 2, 2, 3):
            await fetch(pool, server.url)
            audit_quiet(pool)
            assert server.connections == connections


# --- age --------------------------------------------------------------------------------------------------------------


async def test_an_old_connection_is_not_used_again(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_age=0.02, keepalive=None)) as pool:
        await fetch(pool, http_server.url)
        await until(lambda: pool.stats().open == 0)  # without any traffic that would trigger it
        audit_quiet(pool)
        await fetch(pool, http_server.url)
        assert http_server.connections == 2
        assert http_server.broken == []


async def test_a_young_one_is(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_age=3600)) as pool:
        for _ in range(3):
            await fetch(pool, http_server.url)
            audit_quiet(pool)
        assert http_server.connections == 1


async def test_an_exchange_is_never_cut_short(raw_server: Any) -> None:
    go = asyncio.Event()

    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl"
    server = await raw_server([Request(), Send(begun), WaitFor(go), Send(b"ow"), Hold()])
    async with ConnectionPool(Limits(max_age=0.02)) as pool:
        response = await send(pool, server.url)
        await asyncio.sleep(0.04)
        audit(pool)
        go.set()
        assert await response.read() == b"slow"
        audit_quiet(pool)
        assert pool.stats().open == 0


async def test_who_waits_gets_a_new_one_when_a_connection_is_too_old(raw_server: Any) -> None:
    go = asyncio.Event()

    server = await raw_server(*[[Request(), WaitFor(go), Send(OK), Hold()]] * 2)
    async with ConnectionPool(Limits(max_age=0.02, max_connections=1)) as pool:
        tasks = [asyncio.create_task(fetch(pool, server.url)) for _ in range(2)]
        await until(lambda: pool.stats().waiting)
        await asyncio.sleep(0.04)
        go.set()
        assert await asyncio.gather(*tasks) == [b"ok", b"ok"]
        audit_quiet(pool)
        assert server.connections == 2


async def test_they_do_not_all_go_at_once() -> None:
    pool = StubPool(Limits(max_age=100, jitter=0.5), at_once=True)
    for number in range(50):
        await pool.send(build(f"http://host{number}.example/"), context())
    until_when = sorted(slot.expires - slot.since for slot in pool._ledger.idle)
    assert 50 <= until_when[0] < 75 < until_when[-1] <= 100
    audit_quiet(pool)
    await pool.close()


# --- what the server says ---------------------------------------------------------------------------------------------


def saying(value: str) -> Reply:
    return Reply(b"hello", fields=[("Keep-Alive", value)])


async def test_a_connection_is_closed_before_the_server_would(http_server: OriginServer) -> None:
    """Nothing else can close it: the server would keep it for ever."""
    http_server.routes["/"] = saying("timeout=1, max=100")
    async with ConnectionPool(Limits(keepalive=None)) as pool:
        await fetch(pool, http_server.url)
        audit_quiet(pool)
        assert pool.stats().idle == 1
        async with asyncio.timeout(30):
            while pool.stats().open:
                await asyncio.sleep(0.01)
        assert http_server.broken == []


@pytest.mark.parametrize("value", ["timeout=0", "timeout=60, max=0"])
async def test_a_connection_that_the_server_gives_no_time_is_not_used_again(
    http_server: OriginServer, value: str
) -> None:
    http_server.routes["/"] = saying(value)
    async with ConnectionPool() as pool:
        for number in range(1, 4):
            await fetch(pool, http_server.url)
            audit(pool)
            assert http_server.connections == number


async def test_a_long_time_is_no_reason_to_keep_it_longer_than_wished(http_server: OriginServer) -> None:
    http_server.routes["/"] = saying("timeout=3600")
    async with ConnectionPool(Limits(keepalive=0.02)) as pool:
        await fetch(pool, http_server.url)
        await until(lambda: pool.stats().open == 0)
        audit_quiet(pool)


async def test_it_is_said_of_one_connection(http_server: OriginServer) -> None:
    http_server.routes["/said"] = saying("timeout=0")
    async with ConnectionPool() as pool:
        one, other = await send(pool, f"{http_server.url}/said"), await send(pool, f"{http_server.url}/bytes/3000000")
        await one.read()
        await other.read()
        await fetch(pool, http_server.url)
        assert http_server.connections == 2
        await until(lambda: pool.stats().open == 1)
        audit_quiet(pool)


async def test_of_a_body_that_was_sent_too(http_server: OriginServer) -> None:
    """The long way of an exchange learns it as well."""
    http_server.routes["/"] = saying("timeout=0")
    async with ConnectionPool() as pool:
        for number in range(1, 3):
            await fetch(pool, http_server.url, "POST", b"body")
            assert http_server.connections == number


@pytest.mark.interop
async def test_nginx_says_how_long(nginx: Nginx) -> None:
    async with Client() as client:
        first, second = [(await client.get(f"{nginx.http}/keep-alive")).text.split() for _ in range(2)]
        assert client.pool is not None
        assert first[0] == second[0]
        assert [slot.connection.idle_limit for slot in client.pool._ledger.idle] == [60.0]
    async with Client(limits=Limits(keepalive=None)) as client:
        await client.get(f"{nginx.http}/keep-alive")
        assert client.pool is not None
        assert [slot.connection.idle_limit for slot in client.pool._ledger.idle] == [3599.0]


@pytest.mark.interop
async def test_nginx_does_not_get_to_close_first(nginx: Nginx) -> None:
    async with Client() as client:
        assert (await client.get(f"{nginx.http}/brief")).headers["Keep-Alive"] == "timeout=1"
        pool = client.pool
        assert pool is not None
        (slot,) = pool._ledger.idle
        ended = []
        slot.connection.on_change = lambda: ended.append("by nginx")
        async with asyncio.timeout(30):
            while pool.stats().open:
                await asyncio.sleep(0.01)
        assert ended == []
        audit_quiet(pool)


@pytest.mark.interop
async def test_nginx_ends_a_connection_with_its_third_request(nginx: Nginx) -> None:
    async with Client() as client:
        served = [(await client.get(f"{nginx.http}/three")).text.split()[1] for _ in range(7)]
        assert served == ["1", "2", "3", "1", "2", "3", "1"]
        assert client.pool is not None
        audit_quiet(client.pool)


# --- what was learnt --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [[], [Reset()]])
async def test_a_dead_one_shortens_the_time_of_its_host(
    raw_server: Any, monkeypatch: pytest.MonkeyPatch, end: list[Any]
) -> None:
    monkeypatch.setattr(lifetime, "LEAST_IDLE", 0.0)
    server = await raw_server([Request(), Send(OK), Request(), *end], [Request(), Send(OK), Hold()])
    other = await raw_server([Request(), Send(OK), Hold()])
    async with ConnectionPool(Limits(keepalive=3600)) as pool:
        await fetch(pool, server.url)
        await fetch(pool, other.url)
        await asyncio.sleep(0.02)
        await fetch(pool, server.url)
        audit_quiet(pool)
        learnt, unchanged = sorted(slot.connection.idle_limit for slot in pool._ledger.idle)
        assert 0.009 < learnt < 1800
        assert unchanged == 3600
        await until(lambda: server.url not in pool.stats().per_host)  # the new one's time is over as soon
        assert other.url in pool.stats().per_host


async def test_it_is_learnt_from_a_request_that_cannot_be_sent_again(
    raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifetime, "LEAST_IDLE", 0.0)
    server = await raw_server([Request(), Send(OK), Request()], [Request(), Send(OK), Hold()])
    async with ConnectionPool() as pool:
        await fetch(pool, server.url)
        await asyncio.sleep(0.02)
        with pytest.raises(RemoteDisconnected):
            await fetch(pool, server.url, "POST", b"body")
        await fetch(pool, server.url)
        (slot,) = pool._ledger.idle
        assert slot.connection.idle_limit < 30
        audit_quiet(pool)


async def test_others_that_are_idle_and_in_use_are_shortened_too(
    raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifetime, "LEAST_IDLE", 0.0)
    go = asyncio.Event()

    busy = [Request(), WaitFor(go), Send(OK), Hold()]
    dies = [Request(), Send(OK), Request(), Send(OK), Request()]
    server = await raw_server(busy, dies, dies, [Request(), Send(OK), Hold()])
    async with ConnectionPool(Limits(keepalive=3600)) as pool:
        leased = asyncio.create_task(fetch(pool, server.url))
        await until(lambda: server.requests)
        await asyncio.gather(fetch(pool, server.url), fetch(pool, server.url))
        await fetch(pool, server.url)
        await asyncio.sleep(0.02)
        await fetch(pool, server.url)  # the one used last dies
        assert server.connections == 4
        assert all(slot.connection.idle_limit < 1800 for slot in [*pool._ledger.idle, *pool._ledger.leased])
        audit(pool)
        go.set()
        await leased
        await until(lambda: pool.stats().open == 0)


async def test_an_answer_that_broke_off_teaches_nothing(raw_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "LEAST_IDLE", 0.0)
    server = await raw_server([Request(), Send(OK), Request(), Send(b"HTTP/1.1 200")], [Request(), Send(OK), Hold()])
    async with ConnectionPool() as pool:
        await fetch(pool, server.url)
        with pytest.raises(RemoteDisconnected):
            await fetch(pool, server.url)
        await fetch(pool, server.url)
        (slot,) = pool._ledger.idle
        assert slot.connection.idle_limit == 60


async def test_a_restart_teaches_nothing(raw_server: Any) -> None:
    server = await raw_server([Request(), Send(OK), Request()], [Request(), Send(OK), Hold()])
    async with ConnectionPool() as pool:
        await fetch(pool, server.url)
        await fetch(pool, server.url)
        (slot,) = pool._ledger.idle
        assert slot.connection.idle_limit == 60
        audit_quiet(pool)
