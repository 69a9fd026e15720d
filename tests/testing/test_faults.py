"""What may go wrong does, where and how often it was asked for; between a client and any transport."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    Client,
    ConnectError,
    ConnectionPool,
    Hooks,
    IncompleteRead,
    ReadError,
    ReadTimeout,
    Timeout,
    TooSlow,
    TotalTimeout,
)
from aiohttpconn.testing import FaultTransport, MockResponse, MockTransport, ScriptedServer, Truncated, faults, script
from tests.auditing import audit_quiet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers.origin import OriginServer

URL = "http://service.example/"
BODY = bytes(range(256)) * 40


def client_of(*befall: faults.Fault, answer: Any = None, seed: int | None = None, **options: Any) -> Client:
    inside = MockTransport(lambda request: answer or MockResponse(content=BODY))
    return Client(transport=FaultTransport(inside, *befall, seed=seed), trust_env=False, **options)


async def statuses(client: Client, count: int, url: str = URL) -> list[int]:
    return [(await client.get(url)).status for _ in range(count)]


async def test_without_faults_nothing_changes() -> None:
    async with client_of() as client:
        assert (await client.get(URL)).content == BODY


async def test_status_and_how_often() -> None:
    async with client_of(faults.Status(503, {"Retry-After": "1"}, b"later", every=3)) as client:
        assert await statuses(client, 6) == [200, 200, 503, 200, 200, 503]
    async with client_of(faults.Status(429, times=2)) as client:
        assert await statuses(client, 4) == [429, 429, 200, 200]
    fault = faults.Status(418, when=lambda request: request.url.path == "/tea")
    async with client_of(fault) as client:
        assert await statuses(client, 1) == [200]
        assert await statuses(client, 1, f"{URL}tea") == [418]
        assert (fault.seen, fault.befallen) == (1, 1)


async def test_chance_is_the_same_with_the_same_seed() -> None:
    runs = []
    for seed in (7, 7, 8):
        async with client_of(faults.Status(503, probability=0.5), seed=seed) as client:
            runs.append(await statuses(client, 40))
    assert runs[0] == runs[1] != runs[2]
    assert 8 < runs[0].count(503) < 32


@pytest.mark.parametrize("choice", [{"every": 0}, {"probability": 1.1}, {"probability": -1}])
def test_choices_that_make_no_sense(choice: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        faults.Latency(1, **choice)


@pytest.mark.parametrize(
    "make",
    [
        lambda: faults.Latency(-1),
        lambda: faults.Latency(1, jitter=-1),
        lambda: faults.Reset(-1),
        lambda: faults.Truncate(-1),
        lambda: faults.Drip(0),
        lambda: faults.Drip(1, size=0),
        lambda: faults.Status(1000),
        lambda: faults.Status(503, times=-1),
    ],
)
def test_figures_that_make_no_sense(make: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        make()


@pytest.mark.parametrize("inner", [None, MockTransport, lambda request: 200])
def test_it_goes_before_a_transport(inner: Any) -> None:
    with pytest.raises(TypeError, match="goes before a transport"):
        FaultTransport(inner)


def test_a_fault_is_one_that_was_made() -> None:
    inside = MockTransport(200)
    with pytest.raises(TypeError, match=r"instance of faults\.Fault.* make one of it: Reset\(…\)"):
        FaultTransport(inside, faults.Reset)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"instance of faults\.Fault"):
        FaultTransport(inside, 503)  # type: ignore[arg-type]


async def test_failure() -> None:
    async with client_of(faults.Failure(every=2)) as client:
        assert (await client.get(URL)).status == 200
        with pytest.raises(ConnectError, match=r"service\.example") as caught:
            await client.get(URL)
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        assert caught.value.request.method == "GET"
    async with client_of(faults.Failure(lambda: ReadTimeout("as asked"))) as client:
        with pytest.raises(ReadTimeout, match="as asked"):
            await client.get(URL)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("after", [0, 1, 255, 10_239])
async def test_a_body_that_breaks(after: int, chunked: bool) -> None:
    answer = MockResponse(chunks=[BODY[at : at + 1000] for at in range(0, len(BODY), 1000)]) if chunked else None
    async with client_of(faults.Reset(after), answer=answer) as client, client.stream("GET", URL) as response:
        got = b""
        with pytest.raises(ReadError, match="broke") as caught:
            async for piece in response.iter_bytes():
                got += piece
        assert got == BODY[:after]
        assert isinstance(caught.value.__cause__, ConnectionResetError)
    async with client_of(faults.Truncate(after), answer=answer) as client:
        with pytest.raises(IncompleteRead) as incomplete:
            await client.get(URL)
        assert incomplete.value.partial == BODY[:after]
        assert incomplete.value.expected == (None if chunked else len(BODY) - after)
    async with client_of(faults.Reset(len(BODY)), answer=answer) as client:
        assert (await client.get(URL)).content == BODY


async def test_a_body_that_a_close_ends_cannot_be_seen_to_be_cut_short() -> None:
    answer = MockResponse(headers={"Transfer-Encoding": "identity"}, content=BODY)
    async with client_of(faults.Truncate(5), answer=answer) as client:
        assert (await client.get(URL)).content == BODY[:5]


async def test_latency_is_within_the_limits() -> None:
    async with client_of(faults.Latency(10, jitter=1)) as client:
        with pytest.raises(ReadTimeout):
            await client.get(URL, timeout=Timeout(read=0.02))
        with pytest.raises(TotalTimeout):
            await client.get(URL, timeout=Timeout(total=0.02))
        call = asyncio.create_task(client.get(URL))
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_drip() -> None:
    answer = MockResponse(content=b"abcdefg")
    async with client_of(faults.Drip(2000, size=3), answer=answer) as client:
        async with client.stream("GET", URL) as response:
            pieces = [piece async for piece in response.iter_bytes()]
        assert pieces == [b"abc", b"def", b"g"]
    async with client_of(faults.Drip(200)) as client:
        with pytest.raises(TooSlow):
            await client.get(URL, timeout=Timeout(min_speed=(10_000, 0.05)))


async def test_several_faults_in_their_order() -> None:
    async with (
        client_of(faults.Latency(0.001), faults.Drip(1_000_000, size=64), faults.Reset(100)) as client,
        client.stream("GET", URL) as response,
    ):
        iterator = aiter(response.iter_bytes())
        assert [await anext(iterator), await anext(iterator)] == [BODY[:64], BODY[64:100]]
        with pytest.raises(ReadError):
            await anext(iterator)


async def test_a_fault_of_ones_own() -> None:
    class Backwards(faults.Fault):
        async def body(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for piece in pieces:
                yield piece[::-1]
                raise Truncated

    async with client_of(Backwards(), answer=MockResponse(content=b"abc")) as client:
        assert (await client.get(URL)).content == b"cba"


async def test_a_response_of_a_fault_of_ones_own_is_given_whole() -> None:
    class Instead(faults.Fault):
        async def before(self, request: Any, chance: Any) -> MockResponse:
            return MockResponse(chunks=lambda: [b"a", b"b"], trailers={"X-Sum": "2"}, interim=[(103, {"Link": "</a>"})])

    seen: list[int] = []
    hooks = Hooks(on_interim=lambda request, head: seen.append(head.status))
    async with client_of(Instead(), hooks=hooks) as client:
        response = await client.get(URL)
        assert (response.content, response.trailers["X-Sum"], seen) == (b"ab", "2", [103])


async def test_a_fault_that_fails_lets_go_of_the_response() -> None:
    class Wrong(faults.Fault):
        def body(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes] | None:
            raise ZeroDivisionError("a bug")

    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with client_of(Wrong(), answer=MockResponse(chunks=endless())) as client:
        with pytest.raises(ZeroDivisionError):
            await client.get(URL)
        await ended.wait()


async def test_an_upgrade_that_a_fault_befalls_closes_its_connection() -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: test\r\nConnection: Upgrade\r\n\r\n"
    fields = {"Upgrade": "test", "Connection": "Upgrade"}
    async with ScriptedServer([script.ReadRequest(), script.Send(answer), script.Hold()]) as server:
        pool = ConnectionPool()
        async with FaultTransport(pool, faults.Reset()) as transport, Client(transport=transport) as client:
            with pytest.raises(NotImplementedError, match="switch protocols"):
                await client.get(server.url, headers=fields)
            audit_quiet(pool)
        await server.wait_idle()


async def test_trailers_and_heads_pass() -> None:
    answer = MockResponse(chunks=lambda: [b"a", b"b"], trailers={"X-Sum": "2"})
    async with client_of(faults.Drip(1_000_000), answer=answer) as client:
        response = await client.get(URL)
        assert (response.content, response.trailers["X-Sum"]) == (b"ab", "2")
        assert (await client.head(URL)).content == b""


async def test_around_a_real_pool(http_server: OriginServer) -> None:
    """What was broken off on this side is closed on the other, and no slot stays taken."""
    pool = ConnectionPool()
    plan = (faults.Reset(100, when=lambda request: "broken" in request.url.query), faults.Drip(50_000_000, size=4096))
    async with FaultTransport(pool, *plan) as transport, Client(transport=transport) as client:
        assert len((await client.get(f"{http_server.url}/bytes/100000")).content) == 100_000
        with pytest.raises(ReadError):
            await client.get(f"{http_server.url}/bytes/1000000?broken")
        async with client.stream("GET", f"{http_server.url}/bytes/5000000") as response:
            assert await anext(aiter(response.iter_bytes()))
        assert (await client.get(f"{http_server.url}/chunked/5000")).status == 200
        await asyncio.sleep(0.01)
        audit_quiet(pool)
    assert pool.closed
