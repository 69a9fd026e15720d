"""How a pool and what it lent end: `close()` in mid-everything, things dropped, other loops; and a torture."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    Client,
    ConnectionPool,
    HTTPException,
    IncompleteRead,
    Limits,
    PoolClosed,
    RemoteDisconnected,
    Timeout,
    WriteError,
)
from tests.auditing import audit, audit_quiet, settle
from tests.conftest import LOOPS
from tests.exchanges import build, context, fetch, send, until
from tests.servers.origin import OriginServer
from tests.servers.raw import Connection, Head, Hold, RawServer, Request, Reset, Send

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

# --- close() ----------------------------------------------------------------------------------------------------------


async def test_close(http_server: OriginServer) -> None:
    pool = ConnectionPool()
    await fetch(pool, http_server.url)
    assert not pool.closed
    await pool.close()
    assert pool.closed
    audit_quiet(pool)
    assert pool.stats().open == 0
    assert pool.stats().per_host == {}
    await until(lambda: http_server.open == 0)
    await pool.close()
    await asyncio.gather(pool.close(), pool.close())
    with pytest.raises(PoolClosed) as caught:
        await fetch(pool, http_server.url)
    assert caught.value.request.method == "GET"
    assert http_server.url in str(caught.value)
    with pytest.raises(PoolClosed):
        await pool.connection(http_server.url).__aenter__()
    audit_quiet(pool)
    assert http_server.connections == 1


async def test_close_unused() -> None:
    pool = ConnectionPool()
    await pool.close()
    audit_quiet(pool)
    async with ConnectionPool() as pool:
        pass
    assert pool.closed


async def test_close_fails_who_waits(http_server: OriginServer) -> None:
    pool = ConnectionPool(Limits(max_connections=1))
    held = await send(pool, f"{http_server.url}/bytes/3000000")
    waiting = [asyncio.create_task(fetch(pool, f"{http_server.url}/{number}")) for number in range(3)]
    block = asyncio.create_task(pool.connection(http_server.url).__aenter__())
    await until(lambda: pool.stats().waiting == 4)
    await pool.close()
    for number, task in enumerate(waiting):
        with pytest.raises(PoolClosed) as caught:
            await task
        assert caught.value.request.url.path == f"/{number}"
    with pytest.raises(PoolClosed):
        await block
    with pytest.raises(HTTPException):
        await held.read()
    audit_quiet(pool)
    assert pool.stats().open == 0
    assert len(http_server.requests) == 1


@pytest.mark.parametrize("reused", [False, True])
async def test_close_while_a_response_is_awaited(http_server: OriginServer, reused: bool) -> None:
    """Also on a connection that was used before: what it died of is no reason to send the request again."""
    pool = ConnectionPool()
    if reused:
        await fetch(pool, http_server.url)
    task = asyncio.create_task(fetch(pool, f"{http_server.url}/hold"))
    await until(lambda: len(http_server.requests) == 1 + reused)
    await pool.close()
    with pytest.raises(PoolClosed) as caught:
        await task
    assert caught.value.request.url.path == "/hold"
    assert caught.value.__cause__ is not None
    audit_quiet(pool)
    await settle(10)
    assert http_server.connections == 1
    assert len(http_server.requests) == 1 + reused


async def test_close_while_connecting(raw_server: Any, client_ctx: ssl.SSLContext) -> None:
    """TCP is there, and the TLS handshake gets no answer."""
    server = await raw_server([Hold()])
    pool = ConnectionPool(ssl_context=client_ctx)
    task = asyncio.create_task(fetch(pool, f"https://127.0.0.1:{server.port}/"))
    block = asyncio.create_task(pool.connection(f"https://127.0.0.1:{server.port}/").__aenter__())
    await until(lambda: server.connections == 2)
    assert pool.stats().in_use == 2
    await pool.close()
    done, _ = await asyncio.wait({task, block}, timeout=5)
    assert done == {task, block}
    with pytest.raises(PoolClosed):
        task.result()
    with pytest.raises(PoolClosed):
        block.result()
    audit_quiet(pool)
    await until(lambda: server.open == 0)


async def test_close_while_looking_up_a_name() -> None:
    from aiohttpconn.net.tcp import Address

    asked = asyncio.Event()

    class Slow:
        async def resolve(self, host: str, port: int) -> list[Address]:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    pool = ConnectionPool(resolver=Slow())  # type: ignore[arg-type]
    task = asyncio.create_task(fetch(pool, "http://slow.example/"))
    await asked.wait()
    await pool.close()
    done, _ = await asyncio.wait({task}, timeout=5)
    assert done
    with pytest.raises(PoolClosed):
        task.result()
    audit_quiet(pool)


async def test_close_while_a_waiter_is_given_its_slot(http_server: OriginServer) -> None:
    """In the very turn."""
    pool = ConnectionPool(Limits(max_connections=1))
    held = await send(pool, f"{http_server.url}/bytes/3000000")
    same = asyncio.create_task(fetch(pool, http_server.url))
    await until(lambda: pool.stats().waiting)
    await held.close()
    assert (pool.stats().waiting, pool.stats().in_use) == (0, 1)
    await pool.close()
    with pytest.raises(PoolClosed):
        await same
    audit_quiet(pool)
    assert len(http_server.requests) == 1


async def test_close_while_a_body_is_sent(raw_server: Any) -> None:
    server = await raw_server([Head(), Hold()], receive_buffer=4096)
    server.accepted.clear()
    pool = ConnectionPool()

    async def script() -> bytes:
        return await fetch(pool, server.url, "PUT", bytes(50_000_000))

    task = asyncio.create_task(script())
    await until(lambda: server.requests)
    await pool.close()
    with pytest.raises(PoolClosed):
        await task
    audit_quiet(pool)


@pytest.mark.parametrize("way", ["pool", "response", "dropped", "cancelled"])
async def test_body_that_goes_on_after_an_early_answer_ends_with_its_exchange(raw_server: Any, way: str) -> None:
    """The answer has come, and the body's source says nothing more: whatever ends the exchange ends that wait."""
    closed = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.sleep(0.02)  # for the answer to come
            yield b"second"
            await asyncio.Event().wait()
        finally:
            closed.set()

    server = await raw_server([Head(), Send(OK), Hold()])
    async with ConnectionPool() as pool:
        response = await send(pool, server.url, "POST", pieces())
        assert pool.stats().in_use == 1
        reading = asyncio.create_task(response.read())
        await settle()
        assert not reading.done()
        if way == "pool":
            await pool.close()
            with pytest.raises(PoolClosed):
                await reading
        else:
            reading.cancel()
            await asyncio.wait({reading})
        if way == "response":
            await response.close()
        elif way == "dropped":
            del response, reading
            gc.collect()
        await asyncio.wait_for(closed.wait(), 5)
        await settle()
        audit_quiet(pool)
        assert pool.stats().open == 0


async def test_response_dropped_unread_while_its_body_is_being_sent(raw_server: Any) -> None:
    """What sends the body must not keep the response: it is noticed, and everything ends."""
    closed = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"piece"
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    server = await raw_server([Head(), Send(OK), Hold()])
    async with ConnectionPool() as pool:
        held = [await send(pool, server.url, "POST", pieces())]
        assert pool.stats().in_use == 1
        with pytest.warns(ResourceWarning, match="POST .* was dropped before its body was read"):
            held.clear()
            gc.collect()
        await asyncio.wait_for(closed.wait(), 5)
        await settle()
        audit_quiet(pool)
        assert pool.stats().open == 0


@pytest.mark.parametrize("end", [[Reset()], []])
async def test_peer_ends_while_the_source_of_a_body_takes_its_time(raw_server: Any, end: list[Any]) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 1000
            await asyncio.sleep(0.01)

    server = await raw_server([Head(), *end])
    async with ConnectionPool() as pool:
        with pytest.raises((WriteError, RemoteDisconnected)):
            await fetch(pool, server.url, "POST", pieces())
        audit_quiet(pool)


@pytest.mark.parametrize("framing", ["Content-Length: 9", "Transfer-Encoding: chunked", "Connection: close"])
async def test_close_while_a_body_is_read(raw_server: Any, framing: str) -> None:
    """What came is no whole body, also where the body's end is the connection's."""
    start = b"5\r\nbegun\r\n" if "chunked" in framing else b"begun"
    server = await raw_server([Request(), Send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode() + start), Hold()])
    pool = ConnectionPool()
    response = await send(pool, server.url)
    assert await response.read1() == b"begun"
    task = asyncio.create_task(response.read())
    await settle()
    assert not task.done()
    await pool.close()
    with pytest.raises(HTTPException):
        await task
    audit_quiet(pool)
    await until(lambda: server.open == 0)
    pool = ConnectionPool()
    response = await send(pool, server.url)
    await pool.close()
    with pytest.raises(HTTPException):
        await response.read()
    audit_quiet(pool)


async def test_close_inside_a_block(http_server: OriginServer) -> None:
    pool = ConnectionPool()
    async with pool.connection(http_server.url) as conn:
        await pool.close()
        assert not conn.is_connected
    audit_quiet(pool)
    assert pool.stats().open == 0


async def test_response_that_was_read_outlives_the_pool(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        response = await send(pool, http_server.url)
    assert await response.read() == b"hello"
    await response.close()
    audit_quiet(pool)


async def test_close_from_within_one_of_its_exchanges(http_server: OriginServer) -> None:
    pool = ConnectionPool()
    response = await send(pool, f"{http_server.url}/bytes/3000000")
    with pytest.raises(HTTPException):
        async for _ in response:
            await pool.close()
    audit_quiet(pool)


# --- things dropped ---------------------------------------------------------------------------------------------------


async def test_response_dropped_unread(http_server: OriginServer) -> None:
    async with ConnectionPool(Limits(max_connections=1)) as pool:
        response = await send(pool, f"{http_server.url}/bytes/3000000?q", "POST", b"x")
        waiting = asyncio.create_task(fetch(pool, http_server.url))
        await until(lambda: pool.stats().waiting)
        with pytest.warns(ResourceWarning) as caught:
            del response
            gc.collect()
        assert "POST" in str(caught[0].message)
        assert f"{http_server.url}/bytes/3000000?q" in str(caught[0].message)
        assert len(caught) == 1
        assert await waiting == b"hello"
        audit_quiet(pool)
        assert http_server.connections == 2


async def test_response_dropped_names_no_secret(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        response = await send(pool, f"http://user:secret@127.0.0.1:{http_server.port}/bytes/3000000")
        with pytest.warns(ResourceWarning) as caught:
            del response
            gc.collect()
        await settle()
        assert "secret" not in str(caught[0].message)


async def test_response_dropped_in_another_thread(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        held = [await send(pool, f"{http_server.url}/bytes/3000000")]
        inside: list[int] = []

        def drop() -> None:
            with pytest.warns(ResourceWarning, match="GET http://"):
                held.clear()
            inside.append(pool.stats().in_use)

        thread = threading.Thread(target=drop)
        thread.start()
        thread.join()
        assert inside == [1]  # nothing of the pool was touched in that thread
        await until(lambda: pool.stats().open == 0)
        audit_quiet(pool)
        await until(lambda: http_server.open == 0)


async def test_response_dropped_with_everything(http_server: OriginServer) -> None:
    """Response and pool go in one cycle."""
    pool = ConnectionPool()
    cycle: list[Any] = [pool, await send(pool, f"{http_server.url}/bytes/3000000")]
    cycle.append(cycle)
    with pytest.warns(ResourceWarning):
        del pool, cycle
        gc.collect()
    await until(lambda: http_server.open == 0)


async def test_response_that_has_arrived_may_be_dropped(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        await send(pool, f"{http_server.url}/bytes/100")
        gc.collect()
        audit_quiet(pool)
        assert pool.stats().idle == 1


async def test_response_dropped_after_its_end(raw_server: Any) -> None:
    server = await raw_server([Request(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun")])
    async with ConnectionPool() as pool:
        response = await send(pool, server.url)
        with pytest.raises(IncompleteRead):
            await response.read()
        del response
        gc.collect()
        audit_quiet(pool)


async def test_iterator_dropped(http_server: OriginServer) -> None:
    async with ConnectionPool() as pool:
        with pytest.warns(ResourceWarning, match="/bytes/3000000"):
            await read_a_little(pool, http_server)
        await settle()
        audit_quiet(pool)


async def read_a_little(pool: ConnectionPool, server: OriginServer) -> None:
    async for _ in await send(pool, f"{server.url}/bytes/3000000"):
        break
    gc.collect()


async def test_pool_dropped_unclosed(http_server: OriginServer) -> None:
    pool = ConnectionPool()
    await fetch(pool, http_server.url)
    assert http_server.open == 1
    with pytest.warns(ResourceWarning, match=r"unclosed <ConnectionPool 1 open, 1 idle"):
        del pool
    await until(lambda: http_server.open == 0)


async def test_client_dropped_unclosed(http_server: OriginServer) -> None:
    client = Client(trust_env=False)
    await client.get(http_server.url)
    with pytest.warns(ResourceWarning, match="unclosed <ConnectionPool"):
        del client
        gc.collect()
    await until(lambda: http_server.open == 0)


async def test_pool_dropped_in_another_thread(http_server: OriginServer) -> None:
    held = [ConnectionPool()]
    await fetch(held[0], http_server.url)

    def drop() -> None:
        with pytest.warns(ResourceWarning, match="unclosed <ConnectionPool"):
            held.clear()

    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()
    await until(lambda: http_server.open == 0)


async def test_pool_without_connections_may_be_dropped(http_server: OriginServer) -> None:
    pool = ConnectionPool(Limits(max_idle=0))
    await fetch(pool, http_server.url)
    del pool
    gc.collect()


async def test_pool_is_not_kept_by_its_timer(http_server: OriginServer) -> None:
    pool = ConnectionPool(Limits(keepalive=0.02))
    await fetch(pool, http_server.url)
    with pytest.warns(ResourceWarning):
        del pool
    await asyncio.sleep(0.04)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_dropped_where_warnings_are_errors(http_server: OriginServer) -> None:
    """An error in a finaliser goes nowhere; what is to be done is done all the same."""
    async with ConnectionPool() as pool:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            response = await send(pool, f"{http_server.url}/bytes/3000000")
            block = pool.connection(http_server.url)
            await block.__aenter__()
            del response, block
            other = ConnectionPool()
            await fetch(other, http_server.url)
            del other
            gc.collect()
        await settle()
        audit_quiet(pool)
        await until(lambda: http_server.open == 0)


# --- loops ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_another_loop(name: str) -> None:
    async def first() -> None:
        async with OriginServer() as server:
            assert await fetch(pool, server.url) == b"hello"
            assert pool.stats().idle == 1
            await asyncio.to_thread(other_thread)
            audit_quiet(pool)
            assert await fetch(pool, server.url) == b"hello"
            assert server.connections == 1
            await pool.close()

    def other_thread() -> None:
        loop = LOOPS[name]()
        try:
            for use in (
                fetch(pool, "http://x.example/"),
                pool.connection("http://x.example/").__aenter__(),
                pool.close(),
            ):
                with pytest.raises(RuntimeError, match="another event loop"):
                    loop.run_until_complete(use)
        finally:
            loop.close()

    pool = ConnectionPool()
    loop = LOOPS[name]()
    try:
        loop.run_until_complete(first())
    finally:
        loop.close()
    audit_quiet(pool)
    assert pool.stats().open == 0


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_one_pool_for_each_of_two_loops(name: str) -> None:
    async def use() -> None:
        async with OriginServer() as server, ConnectionPool() as pool:
            assert await fetch(pool, server.url) == b"hello"

    for _ in range(2):
        loop = LOOPS[name]()
        try:
            loop.run_until_complete(use())
        finally:
            loop.close()


def test_pool_is_made_without_a_loop() -> None:
    pool = ConnectionPool()
    audit_quiet(pool)
    assert "0 open" in repr(pool)
    del pool
    gc.collect()


def test_pool_closed_after_its_loop_has_ended() -> None:
    """`asyncio.run()` twice, and the pool in between: an error that says so, and nothing worse."""

    async def use(pool: ConnectionPool) -> None:
        async with OriginServer() as server:
            await fetch(pool, server.url, fields={"Connection": "close"})

    pool = ConnectionPool()
    asyncio.run(use(pool))
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(pool.close())
    del pool
    gc.collect()


async def test_fifty_pools_side_by_side(http_server: OriginServer) -> None:
    pools = [ConnectionPool() for _ in range(50)]
    await asyncio.gather(*(fetch(pool, http_server.url) for pool in pools))
    await asyncio.gather(*(pool.close() for pool in pools))
    for pool in pools:
        audit_quiet(pool)


# --- torture ----------------------------------------------------------------------------------------------------------


class Rogue(RawServer):
    """Answers with the id that it was sent; in between it behaves as badly as chance has it."""

    def __init__(self, chance: random.Random, **options: Any) -> None:
        super().__init__(**options)
        self.chance = chance

    async def play(self, conn: Connection) -> None:
        chance = self.chance
        while True:
            try:
                request = await conn.read_request()
            except asyncio.IncompleteReadError:
                return
            ident = (request.get("Id") or "").encode()
            assert request.body in (b"", ident * 1000)
            body = ident * chance.choice([1, 1, 10, 5_000])
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nId: {ident.decode()}\r\n".encode()
            match chance.randrange(20):
                case 0:
                    return
                case 1:
                    conn.reset()
                    return
                case 2:
                    await conn.send(b"\x16\x03\x01 what is this?\r\n\r\n")
                    return
                case 3:
                    await conn.send(head + b"\r\n" + body[: len(body) // 2])
                    return
                case 4:
                    await conn.send(head + b"Connection: close\r\n\r\n" + body)
                    return
                case 5:
                    await conn.send(head + b"\r\n" + body + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nWRONG")
                case 6:
                    await conn.send(head + b"\r\n" + body)
                    return
                case 7:
                    await conn.send(
                        b"HTTP/1.1 103 Early Hints\r\n\r\n" + head + b"\r\n" + body, each=max(1, len(body) // 3)
                    )
                case 8:
                    await asyncio.sleep(chance.random() * 0.05)
                    await conn.send(head + b"\r\n" + body)
                case 9:
                    await conn.send(head[: len(head) // 2])
                    await conn.wait_closed_by_peer()
                    return
                case 10 | 11:
                    chunks = b"".join(b"%x\r\n%b\r\n" % (len(ident), ident) for _ in range(3))
                    coded = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nId: {ident.decode()}\r\n\r\n".encode()
                    await conn.send(coded + chunks + b"0\r\n\r\n", each=chance.choice([None, 7]))
                case 12:
                    await conn.send(head + b"\r\n")
                    await asyncio.sleep(chance.random() * 0.01)
                    await conn.send(body)
                    await asyncio.sleep(chance.random() * 0.01)
                    return
                case _:
                    await conn.send(head + b"\r\n" + body)


class Torture:
    """Many tasks that do with one pool whatever comes to mind."""

    def __init__(self, seed: int, tasks: int, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext) -> None:
        self.server_ctx, self.client_ctx = server_ctx, client_ctx
        self.chance = chance = random.Random(seed)
        self.tasks = tasks
        self.limits = Limits(
            max_connections=chance.choice([None, 1, 2, 5, 20]),
            max_per_host=chance.choice([None, 1, 2, 4]),
            max_idle=chance.choice([None, 0, 1, 3]),
            keepalive=chance.choice([None, 60, 0.01, 0]),
        )
        self.succeeded = 0
        self.failed: dict[str, int] = {}

    async def run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            self.servers = [
                await stack.enter_async_context(Rogue(self.chance, host=f"127.0.0.{1 + number}", backlog=500))
                for number in range(self.chance.choice([1, 3, 6]))
            ]
            if self.chance.random() < 0.5:
                self.servers.append(
                    await stack.enter_async_context(Rogue(self.chance, tls=self.server_ctx, backlog=500))
                )
            self.pool = pool = ConnectionPool(self.limits, ssl_context=self.client_ctx)
            auditor = asyncio.create_task(self.keep_auditing())
            running = [asyncio.create_task(self.guest(number)) for number in range(self.tasks)]
            canceller = asyncio.create_task(self.cancel_some(running))
            if self.chance.random() < 0.2:
                await asyncio.sleep(self.chance.random() * 0.3)
                await pool.close()
            await asyncio.wait(running)
            for extra in (auditor, canceller):
                extra.cancel()
            await asyncio.wait({auditor, canceller})
            if not auditor.cancelled():
                auditor.result()
            errors = [task.exception() for task in running if not task.cancelled()]
            # A cancelled task keeps its CancelledError, whose traceback keeps all local variables: a guest that was
            # cancelled between two pieces of a body would keep its response, and the response its slot.
            del running, auditor, canceller, extra
            gc.collect()  # what was dropped may hang in a cycle
            await settle(6)
            for error in errors:
                if error is not None:
                    raise error
            audit_quiet(pool)
            assert self.limits.max_connections is None or pool.stats().open <= self.limits.max_connections
            await pool.close()
            audit_quiet(pool)
            assert pool.stats().open == 0
            assert pool.stats().per_host == {}
            for server in self.servers:
                await asyncio.wait_for(server.wait_idle(), 5)

    async def keep_auditing(self) -> None:
        while True:
            audit(self.pool)
            await asyncio.sleep(0.002)

    async def cancel_some(self, running: list[asyncio.Task[None]]) -> None:
        while True:
            await asyncio.sleep(self.chance.random() * 0.01)
            for task in self.chance.sample(running, 3):
                if self.chance.random() < 0.3:
                    task.cancel()

    async def guest(self, number: int) -> None:
        for turn in range(self.chance.randrange(1, 6)):
            ident = f"<{number}.{turn}>"
            try:
                await self.exchange(ident)
                self.succeeded += 1
            except (HTTPException, TimeoutError) as error:
                name = type(error).__name__
                self.failed[name] = self.failed.get(name, 0) + 1
                if self.pool.closed:
                    return

    async def exchange(self, ident: str) -> None:
        chance = self.chance
        url = chance.choice(self.servers).url + "/"
        method, body = chance.choice(
            [("GET", None), ("GET", None), ("POST", ident.encode() * 1000), ("PUT", None), ("PUT", self.pieces(ident))]
        )
        timeout = Timeout(
            total=chance.choice([None, None, 0.02, 1]),
            read=chance.choice([0.02, 5]),
            pool=chance.choice([0, 0.02, 5, 5]),
        )
        way = chance.randrange(8)
        if way == 0:
            async with self.pool.connection(url) as conn:
                for _ in range(chance.randrange(3)):
                    conn.timeout = Timeout(read=0.02)
                    await conn.request(method, "/", body, {"Id": ident})
                    response = await conn.getresponse()
                    if chance.random() < 0.8:
                        self.check(ident, await response.read())
            return
        response = await send(self.pool, url, method, body, {"Id": ident}, timeout=timeout)
        assert response.getheader("Id") == ident
        if way == 1:
            await response.close()
        elif way == 2:
            del response  # the warning is ignored by the test
        elif way == 3:
            async for chunk in response:
                self.check_part(ident, chunk)
                await asyncio.sleep(0)
        else:
            self.check(ident, await response.read())

    async def pieces(self, ident: str) -> AsyncIterator[bytes]:
        for _ in range(4):
            yield ident.encode() * 250
            await asyncio.sleep(self.chance.choice([0, 0, 0.005]))

    @staticmethod
    def check(ident: str, body: bytes) -> None:
        assert body == ident.encode() * (len(body) // len(ident)), f"{ident} got {body[:100]!r}"

    @staticmethod
    def check_part(ident: str, part: bytes) -> None:
        assert part in ident.encode() * (len(part) // len(ident) + 2), f"{ident} got {part[:100]!r}"


SEED = int(os.environ.get("TORTURE_SEED", "0"))


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:the response to:ResourceWarning")
async def test_torture(soak: bool, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext) -> None:
    """What one run does follows from its seed, as far as the network lets it."""
    succeeded = 0
    for seed in range(SEED, SEED + (400 if soak else 6)):
        torture = Torture(seed, 200 if soak or seed % 3 == 0 else 80, server_ctx, client_ctx)
        print(f"seed {seed}: {torture.limits}")
        try:
            await asyncio.wait_for(torture.run(), 300)
        except BaseException as error:
            error.add_note(f"TORTURE_SEED={seed}")
            raise
        print(f"  {torture.succeeded} succeeded; {torture.failed}")
        succeeded += torture.succeeded
    assert succeeded > 100


async def test_errors_of_a_body_carry_the_request(raw_server: Any) -> None:
    server = await raw_server([Head(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")])
    async with ConnectionPool() as pool:
        request = build(server.url)
        response = await pool.send(request, context())
        with pytest.raises(IncompleteRead) as info:
            await response.read()
        assert info.value.request is request
