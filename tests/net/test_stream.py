"""The reader and writer under every connection: asyncio's behaviour, back-pressure, deadlines, ends of all kinds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiohttpconn.net.dial import open_stream, stream_over
from aiohttpconn.net.stream import HIGH_WATER, Stream, StreamReader, StreamWriter
from tests.auditing import settle
from tests.conftest import LOOPS
from tests.net.streaming import connected, drain_by, layered, reset_on_close, until
from tests.servers.raw import Close, EndSending, Hold, Reset, Send, WaitFor

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from tests.servers.raw import Connection, RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

MIB = 1 << 20


def new_reader() -> StreamReader:
    return StreamReader(asyncio.get_running_loop())


# --- the reader as asyncio documents it -------------------------------------------------------------------------------

CHUNKS = st.lists(st.text("ab\n;", min_size=1, max_size=8).map(str.encode), max_size=12)
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 12)),
        st.tuples(st.just("readexactly"), st.integers(0, 20)),
        st.tuples(st.just("readline"), st.none()),
        st.tuples(st.just("readuntil"), st.sampled_from([b"\n", b";", b"ab", b"a\n", b"x"])),
        st.tuples(st.just("next"), st.none()),
    ),
    min_size=1,
    max_size=12,
)


async def call(reader: asyncio.StreamReader, name: str, argument: Any) -> tuple[str, Any, Any]:
    """What comes of one call: how it ended, with what, and what it expected."""
    try:
        if name == "next":
            return "value", await reader.__anext__(), None
        arguments = () if argument is None else (argument,)
        return "value", await getattr(reader, name)(*arguments), None
    except asyncio.IncompleteReadError as error:
        return "incomplete", error.partial, error.expected
    except StopAsyncIteration:
        return "stop", None, None


async def compare(chunks: list[bytes], calls: list[tuple[str, Any]]) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = StreamReader(loop), asyncio.StreamReader(limit=HIGH_WATER, loop=loop)

    async def feed() -> None:
        for chunk in chunks:
            ours.feed_data(chunk)
            theirs.feed_data(chunk)
            await asyncio.sleep(0)
        ours.feed_eof()
        theirs.feed_eof()

    feeding = asyncio.create_task(feed())
    left = b"".join(chunks)
    for name, argument in calls:
        got = await call(ours, name, argument)
        if name == "read" and argument > 0:
            # How much comes at once is nobody's promise: at least a byte, at most what was asked for, b"" at the end.
            assert got[0] == "value"
            assert len(got[1]) <= argument
            assert bool(got[1]) is bool(left)
            assert await theirs.readexactly(len(got[1])) == got[1]
        else:
            assert got == await call(theirs, name, argument), (name, argument)
        if got[1]:
            assert left.startswith(got[1])
            left = left[len(got[1]) :]
        assert ours.at_eof() is (feeding.done() and not left)
    await feeding
    assert await ours.read() == await theirs.read() == left
    assert ours.at_eof()


@pytest.mark.parametrize("loop", LOOPS)
@given(CHUNKS, CALLS)
@settings(max_examples=150)
def test_every_call_does_what_asyncio_s_does(loop: str, chunks: list[bytes], calls: list[tuple[str, Any]]) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(compare(chunks, calls))


async def test_reader_and_writer_are_asyncio_s(raw_server: StartServer) -> None:
    async with connected(await raw_server([Hold()])) as stream:
        assert isinstance(stream.reader, asyncio.StreamReader)
        assert isinstance(stream.writer, asyncio.StreamWriter)
        assert stream.writer.transport is stream.transport
        assert stream.writer.get_extra_info("peername")[0] == "127.0.0.1"


async def test_lines_by_async_for() -> None:
    reader = new_reader()
    for piece in (b"one\ntw", b"o\n", b"\nlast"):
        reader.feed_data(piece)
    reader.feed_eof()
    assert [line async for line in reader] == [b"one\n", b"two\n", b"\n", b"last"]


async def test_readuntil_one_of_several_separators() -> None:
    """As from Python 3.13 on: the shortest data that ends with one of them."""
    reader = new_reader()
    reader.feed_data(b"a;b\r\nc\nd")
    assert await reader.readuntil((b"\r\n", b";")) == b"a;"
    assert await reader.readuntil((b"\n", b"\r\n")) == b"b\r\n"
    assert await reader.readuntil((b"x", b"c\n", b"\n")) == b"c\n"
    reader.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await reader.readuntil((b"\r\n", b"\n"))
    assert caught.value.partial == b"d"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio's takes tuples from 3.13 on")
@given(CHUNKS, st.lists(st.sampled_from([b"\n", b";", b"ab", b"a\n;", b"b;"]), min_size=1, max_size=3).map(tuple))
@settings(max_examples=100)
def test_tuples_of_separators_as_asyncio_s(chunks: list[bytes], separators: tuple[bytes, ...]) -> None:
    with asyncio.Runner() as runner:
        runner.run(compare(chunks, [("readuntil", separators)] * 4))


@pytest.mark.parametrize("separator", [b"", (), (b"a", b"")], ids=repr)
async def test_empty_separator_is_refused(separator: Any) -> None:
    with pytest.raises(ValueError, match="at least one-byte"):
        await new_reader().readuntil(separator)


async def test_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="less than zero"):
        await new_reader().readexactly(-1)


async def test_reading_nothing_does_not_wait() -> None:
    assert await new_reader().read(0) == b""
    assert await new_reader().readexactly(0) == b""


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"end"])
@pytest.mark.parametrize("beyond", [-3, -2, -1, 0, 1, 2, 3])
@pytest.mark.parametrize("piece", [1 << 30, 50_000], ids=["whole", "in pieces"])
@pytest.mark.parametrize("ends", [True, False])
async def test_limit_of_readuntil_is_asyncio_s(separator: bytes, beyond: int, piece: int, ends: bool) -> None:
    loop = asyncio.get_running_loop()
    data = b"x" * (HIGH_WATER + beyond) + (separator + b"rest" if ends else b"")
    outcomes = []
    for reader in (StreamReader(loop), asyncio.StreamReader(limit=HIGH_WATER, loop=loop)):
        for at in range(0, len(data), piece):
            reader.feed_data(data[at : at + piece])
        reader.feed_eof()
        try:
            outcomes.append((None, len(await reader.readuntil(separator)), await reader.read()))
        except asyncio.LimitOverrunError as error:
            outcomes.append((type(error), error.consumed, await reader.read()))
        except asyncio.IncompleteReadError as error:
            outcomes.append((type(error), len(error.partial), b""))
    if piece < len(data) and not ends:
        # Ours is already told in the middle of the pieces, when only so much was there to be searched.
        assert [outcome[0] for outcome in outcomes[:1]] == [outcomes[1][0]]
        return
    ours, theirs = outcomes
    assert ours == theirs


async def test_limit_overrun_leaves_the_data_there() -> None:
    reader = new_reader()
    reader.feed_data(b"x" * (HIGH_WATER + 10))
    with pytest.raises(asyncio.LimitOverrunError) as caught:
        await reader.readuntil(b"\n")
    assert caught.value.consumed <= HIGH_WATER + 10
    reader.feed_data(b"\nnext\n")
    with pytest.raises(asyncio.LimitOverrunError) as caught:
        await reader.readuntil(b"\n")
    assert await reader.readexactly(caught.value.consumed) == b"x" * (HIGH_WATER + 10)
    assert await reader.readuntil(b"\n") == b"\n"
    assert await reader.readuntil(b"\n") == b"next\n"


@pytest.mark.parametrize("complete", [True, False])
async def test_readline_over_the_limit_is_a_value_error_and_drops_the_line(complete: bool) -> None:
    """As asyncio documents it: a complete line is removed, otherwise all that is buffered."""
    loop = asyncio.get_running_loop()
    rests = []
    for reader in (StreamReader(loop), asyncio.StreamReader(limit=HIGH_WATER, loop=loop)):
        reader.feed_data(b"x" * (HIGH_WATER + 10) + (b"\nnext\n" if complete else b""))
        with pytest.raises(ValueError, match="Separator is"):
            await reader.readline()
        reader.feed_data(b"more")
        reader.feed_eof()
        rests.append(await reader.read())
    assert rests[0] == rests[1] == (b"next\nmore" if complete else b"more")


# --- cancellation, errors, several readers ----------------------------------------------------------------------------

READS: list[Any] = [
    pytest.param(lambda reader: reader.read(), id="read to the end"),
    pytest.param(lambda reader: reader.read(10), id="read some"),
    pytest.param(lambda reader: reader.readexactly(1000), id="readexactly"),
    pytest.param(lambda reader: reader.readuntil(b"\r\n"), id="readuntil"),
    pytest.param(lambda reader: reader.readline(), id="readline"),
    pytest.param(lambda reader: reader.__anext__(), id="async for"),
]


@pytest.mark.parametrize("read", READS)
async def test_cancelling_a_read_loses_no_bytes(read: Callable[[StreamReader], Coroutine[Any, Any, bytes]]) -> None:
    reader = new_reader()
    got = b""
    for chunk in (b"one", b"two", b"three"):
        task = asyncio.create_task(read(reader))
        await asyncio.sleep(0)
        reader.feed_data(chunk)
        await asyncio.sleep(0)
        if task.done():
            got += task.result()
        task.cancel()
        await asyncio.wait({task})
    reader.feed_eof()
    assert got + await reader.read() == b"onetwothree"


@pytest.mark.parametrize("read", READS)
async def test_what_came_before_the_connection_broke_can_be_read(
    read: Callable[..., Coroutine[Any, Any, bytes]],
) -> None:
    reader = new_reader()
    reader.feed_data(b"data")
    reader.set_exception(ConnectionResetError("gone"))
    got, error = await drain_by(lambda: read(reader))
    assert type(error) is ConnectionResetError
    if not got:
        assert await reader.read(100) == b"data"
    assert isinstance(reader.exception(), ConnectionResetError)
    with pytest.raises(ConnectionResetError):
        await reader.read(100)


async def test_second_reader_at_once_is_refused() -> None:
    reader = new_reader()
    first = asyncio.create_task(reader.read(10))
    await asyncio.sleep(0)
    for second in (reader.read(10), reader.readline(), reader.readexactly(1)):
        with pytest.raises(RuntimeError, match="already waiting"):
            await second
    reader.feed_data(b"data")
    assert await first == b"data"


async def test_reader_after_a_cancelled_one_is_none_too_many() -> None:
    reader = new_reader()
    first = asyncio.create_task(reader.read(10))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    second = asyncio.create_task(reader.read(10))
    await asyncio.sleep(0)
    reader.feed_data(b"data")
    assert await second == b"data"


async def test_take_and_unread() -> None:
    reader = new_reader()
    assert reader.take() == b""
    reader.feed_data(b"one" * 1000)
    reader.feed_data(b"two" * 1000)
    assert reader.buffered == 6000
    first = reader.take()
    reader.unread(first[5:])
    reader.unread(b"")
    assert reader.buffered == 6000 - 5
    assert first[:5] + await reader.readexactly(5995) == b"one" * 1000 + b"two" * 1000
    assert not reader.at_eof()
    reader.feed_eof()
    assert reader.at_eof()
    assert reader.ended


async def test_chunks_are_handed_on_uncopied() -> None:
    reader = new_reader()
    chunk = b"x" * 100_000
    reader.feed_data(chunk)
    reader.feed_data(b"y" * 100_000)
    assert reader.take() is chunk


@pytest.mark.parametrize("size", [1, 4000, 5000, 100_000, 262_144, 262_145, 1_000_000])
async def test_no_chunk_is_over_256_kib(size: int) -> None:
    """Not when many are put together, nor when one comes that is larger."""
    reader = new_reader()
    chunks = [bytes((number % 256,)) * size for number in range(200 if size < 10_000 else 5)]
    for chunk in chunks:
        reader.feed_data(chunk)
    taken = []
    while data := reader.take():
        taken.append(data)
    assert b"".join(taken) == b"".join(chunks)
    assert max(map(len, taken)) <= HIGH_WATER
    assert len(taken) <= 64
    assert not reader.buffered


async def test_what_arrives_while_nobody_waits_is_told() -> None:
    reader = new_reader()
    told: list[int] = []
    reader.on_activity = lambda: told.append(reader.buffered)
    reader.feed_data(b"x" * 5)
    assert told == [5]
    reader.take()
    waiter = reader.waiter()
    reader.feed_data(b"y")
    assert await waiter is True
    assert told == [5], "somebody waited for it"
    reader.feed_eof()
    assert len(told) == 2


# --- deadlines --------------------------------------------------------------------------------------------------------


class TimedLoop:
    """A loop that notes the timers asked of it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.timers: list[asyncio.TimerHandle] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)

    def call_at(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        handle = self.loop.call_at(when, callback)
        self.timers.append(handle)
        return handle

    @property
    def armed(self) -> int:
        """Timers that may still fire (uvloop's do up to 1 ms early)."""
        now = self.loop.time() + 0.002
        return sum(not handle.cancelled() and handle.when() > now for handle in self.timers)


async def test_wait_ends_at_its_deadline() -> None:
    loop = asyncio.get_running_loop()
    reader = new_reader()
    begun = loop.time()
    assert await reader.waiter(begun + 0.05) is False
    assert loop.time() >= begun + 0.045, "early"
    reader.feed_data(b"x")
    assert await reader.waiter(loop.time() + 5) is True
    reader.disarm()


async def test_deadline_in_the_past_ends_the_wait_at_once() -> None:
    reader = new_reader()
    assert await reader.waiter(asyncio.get_running_loop().time() - 1) is False


async def test_deadline_does_not_hide_what_is_there() -> None:
    reader = new_reader()
    reader.feed_data(b"x")
    assert await reader.waiter(asyncio.get_running_loop().time() - 1) is True


async def test_one_timer_serves_many_waits() -> None:
    loop = TimedLoop()
    reader = StreamReader(loop)  # type: ignore[arg-type]
    for _ in range(100):
        waiter = reader.waiter(loop.time() + 30)
        reader.feed_data(b"x")
        assert await waiter is True
        reader.take()
    assert len(loop.timers) == 1
    assert loop.armed == 1
    reader.disarm()
    assert loop.armed == 0


async def test_timer_that_fires_early_is_armed_anew_for_the_later_deadline() -> None:
    loop = TimedLoop()
    reader = StreamReader(loop)  # type: ignore[arg-type]
    waiter = reader.waiter(loop.time() + 0.03)
    reader.feed_data(b"x")
    assert await waiter is True
    reader.take()
    later = loop.time() + 0.08
    assert await reader.waiter(later) is False
    assert loop.time() >= later - 0.005, "the first wait's deadline ended the second"
    assert len(loop.timers) == 2
    assert loop.armed == 0


async def test_earlier_deadline_than_the_armed_one_is_kept() -> None:
    loop = TimedLoop()
    reader = StreamReader(loop)  # type: ignore[arg-type]
    waiter = reader.waiter(loop.time() + 30)
    reader.feed_data(b"x")
    assert await waiter is True
    reader.take()
    async with asyncio.timeout(10):
        assert await reader.waiter(loop.time() + 0.03) is False
    assert loop.armed == 0


async def test_timer_ends_no_wait_without_a_deadline() -> None:
    loop = TimedLoop()
    reader = StreamReader(loop)  # type: ignore[arg-type]
    waiter = reader.waiter(loop.time() + 0.02)
    reader.feed_data(b"x")
    assert await waiter is True
    reader.take()
    waiter = reader.waiter()
    await asyncio.sleep(0.05)
    assert not waiter.done()
    assert loop.armed == 0
    reader.feed_eof()
    assert await waiter is True


@pytest.mark.parametrize("end", ["abort", "close", "closed by the peer", "reset by the peer"])
async def test_no_timer_is_left_when_the_stream_is_over(raw_server: StartServer, end: str) -> None:
    go = asyncio.Event()
    steps = {"closed by the peer": [WaitFor(go), Close()], "reset by the peer": [WaitFor(go), Reset()]}
    async with connected(await raw_server(steps.get(end, [Hold()]))) as stream:
        loop = TimedLoop()
        stream.reader._event_loop = loop  # type: ignore[assignment]
        waiter = stream.reader.waiter(loop.time() + 3600)
        assert loop.armed == 1
        if end in ("abort", "close"):
            getattr(stream, end)()
        go.set()
        assert await waiter is True, "the end of the stream ends every wait"
        if end == "closed by the peer":
            stream.close()
        await until(lambda: stream.lost)
        assert loop.armed == 0
        assert stream.reader.at_eof()


# --- back-pressure, reading -------------------------------------------------------------------------------------------


LAYERS = pytest.mark.parametrize("layers", ["plain", "TLS", "TLS in TLS"])


@LAYERS
@pytest.mark.soak
async def test_slow_consumer_never_holds_more_than_a_mib(
    layers: str, raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext, soak: bool
) -> None:
    size = 1024 * MIB if soak else 64 * MIB
    block = bytes(range(256)) * 1024

    async def flood(reader: object, writer: asyncio.StreamWriter, conn: Connection) -> None:
        for _ in range(size // len(block)):
            writer.write(block)
            await writer.drain()

    async with layered(layers, flood, raw_server, server_ctx, client_ctx) as stream:
        reader = stream.reader
        most = 0

        async def held() -> int:
            """What is buffered once nothing more comes for a while: whoever does not read is not flooded."""
            before = -1
            while before != reader.buffered:
                before = reader.buffered
                await asyncio.sleep(0.02)
            return before

        await until(lambda: reader.buffered > HIGH_WATER)
        assert await held() <= MIB
        received = 0
        while not reader.at_eof():
            most = max(most, reader.buffered)
            data = reader.take()
            if not data:
                await reader.waiter()
                continue
            assert data[:8] == bytes((received + n) % 256 for n in range(min(8, len(data))))
            received += len(data)
            if received % 7 == 0:
                await asyncio.sleep(0)
        assert received == size
        assert most <= MIB


@LAYERS
async def test_reading_goes_on_after_a_pause(
    layers: str, raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    """Stopped in the middle by asyncio's own calls as by `take`."""
    body = bytes(range(251)) * 20_000
    async with layered(layers, [Send(body), Hold()], raw_server, server_ctx, client_ctx) as stream:
        await until(lambda: stream.reader.buffered > HIGH_WATER)
        await asyncio.sleep(0.01)
        got = await stream.reader.readexactly(1_000_000)
        got += await stream.reader.readexactly(len(body) - 1_000_000)
        assert got == body


async def test_abort_while_reading_is_paused(raw_server: StartServer) -> None:
    server = await raw_server([Send(b"x" * 4 * MIB)])
    async with connected(server) as stream:
        await until(lambda: stream.reader.buffered > HIGH_WATER)
        stream.abort()
        await until(lambda: stream.lost)
        taken = 0
        while data := stream.reader.take():
            taken += len(data)
        assert taken > HIGH_WATER
        assert stream.reader.at_eof()


# --- back-pressure, writing -------------------------------------------------------------------------------------------


@LAYERS
async def test_writer_is_held_up_until_the_peer_takes_more(
    layers: str, raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    go = asyncio.Event()
    taken = bytearray()

    async def slow(reader: asyncio.StreamReader, writer: object, conn: Connection) -> None:
        await go.wait()
        while some := await reader.read(MIB):
            taken.extend(some)

    size = 0
    async with layered(layers, slow, raw_server, server_ctx, client_ctx) as stream:
        block = b"y" * 65536
        async with asyncio.timeout(20):
            while not stream.must_drain:
                stream.writer.write(block)
                size += len(block)
                if size > 8 * MIB:
                    await asyncio.sleep(0)
        draining = asyncio.create_task(stream.writer.drain())
        waiter = stream.drain_waiter()
        await asyncio.sleep(0.02)
        while stream.must_drain and not draining.done() and size < 64 * MIB:
            # Proxies take more than one might think; it ends where everybody's buffers are full.
            stream.writer.write(block)
            size += len(block)
            await asyncio.sleep(0)
        go.set()
        await draining
        assert await waiter is True
        await until(lambda: len(taken) == size)
        assert bytes(taken) == b"y" * size


async def test_drain_that_need_not_wait(raw_server: StartServer) -> None:
    async with connected(await raw_server([Hold()])) as stream:
        assert not stream.must_drain
        stream.writer.write(b"x")
        await stream.writer.drain()


async def fill(stream: Stream) -> None:
    while not stream.must_drain:
        stream.writer.write(b"z" * 65536)
        await asyncio.sleep(0)


@pytest.fixture
async def full(raw_server: StartServer) -> AsyncIterator[tuple[Stream, RawServer]]:
    """A stream whose peer takes nothing more."""

    async def deaf(reader: object, writer: object, conn: Connection) -> None:
        conn.stop_reading()
        await asyncio.Event().wait()

    server = await raw_server(deaf, receive_buffer=4096)
    async with connected(server) as stream:
        await until(lambda: server.connections)
        await fill(stream)
        yield stream, server


async def test_drain_ends_with_an_error_when_the_connection_breaks(full: tuple[Stream, RawServer]) -> None:
    stream, server = full
    draining = [asyncio.create_task(stream.writer.drain()) for _ in range(2)]
    await asyncio.sleep(0)
    server.accepted[0].reset()
    for task in draining:
        with pytest.raises(ConnectionError):
            await task
    with pytest.raises(ConnectionError):
        await stream.writer.drain()
    assert isinstance(stream.loss, OSError)


async def test_cancelled_drain_leaves_nothing(full: tuple[Stream, RawServer]) -> None:
    stream, _ = full
    task = asyncio.create_task(stream.writer.drain())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert not stream._drain_waiters


async def test_abort_ends_drains(full: tuple[Stream, RawServer]) -> None:
    stream, _ = full
    task = asyncio.create_task(stream.writer.drain())
    await asyncio.sleep(0)
    stream.abort()
    with pytest.raises(ConnectionError):
        await task


async def test_close_with_unsent_data_aborts(full: tuple[Stream, RawServer]) -> None:
    stream, _ = full
    stream.close()
    await until(lambda: stream.lost)


async def test_waiting_for_room_ends_at_its_deadline(full: tuple[Stream, RawServer]) -> None:
    stream, _ = full
    assert await stream.drain_waiter(stream.loop.time() + 0.03) is False
    assert stream.must_drain


async def test_waiting_for_room_ends_when_something_arrives(raw_server: StartServer) -> None:
    async def answer_early(reader: object, writer: asyncio.StreamWriter, conn: Connection) -> None:
        conn.stop_reading()
        await go.wait()
        writer.write(b"enough")
        await asyncio.Event().wait()

    go = asyncio.Event()
    server = await raw_server(answer_early, receive_buffer=4096)
    async with connected(server) as stream:
        await until(lambda: server.connections)
        await fill(stream)
        waiter = stream.drain_waiter(stream.loop.time() + 10)
        go.set()
        assert await waiter is True
        assert stream.must_drain
        assert await stream.reader.read(10) == b"enough"


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_close_and_wait_closed(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])
    async with connected(server) as stream:
        waiting = asyncio.create_task(stream.writer.wait_closed())
        await settle()
        assert not waiting.done()
        assert not stream.writer.is_closing()
        stream.writer.close()
        assert stream.writer.is_closing()
        await waiting
        await stream.writer.wait_closed()
        assert stream.lost
        assert stream.loss is None
    await server.wait_idle()


async def test_wait_closed_by_several(raw_server: StartServer) -> None:
    async with connected(await raw_server([Hold()])) as stream:
        waiting = [asyncio.create_task(stream.writer.wait_closed()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        stream.abort()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting[1]
        assert stream.lost or stream.transport.is_closing()


async def test_half_closed_by_the_peer_can_still_be_written_to(raw_server: StartServer) -> None:
    server = await raw_server([Send(b"bye"), EndSending(), Hold()])
    async with connected(server) as stream:
        assert await stream.reader.read() == b"bye"
        assert stream.reader.at_eof()
        assert not stream.lost
        stream.writer.write(b"still here")
        await stream.writer.drain()
        stream.close()
        await until(lambda: stream.lost)
    await server.wait_idle()


@pytest.mark.parametrize("name", ["abort", "close"])
async def test_ending_twice_and_after_the_end(raw_server: StartServer, name: str) -> None:
    server = await raw_server([Hold()])
    async with connected(server) as stream:
        for _ in range(2):
            getattr(stream, name)()
        await until(lambda: stream.lost)
        for end in (stream.abort, stream.close):
            end()
        assert stream.transport.is_closing()
        assert await stream.reader.read() == b""
    await server.wait_idle()


async def test_reset_by_the_peer_is_an_error_to_the_reader(raw_server: StartServer) -> None:
    async with connected(await raw_server([Reset()])) as stream:
        with pytest.raises(ConnectionResetError):
            await stream.reader.read(10)
        assert isinstance(stream.loss, ConnectionResetError)
        assert stream.lost


async def test_repr_tells_the_state(raw_server: StartServer) -> None:
    async with connected(await raw_server([Hold()])) as stream:
        assert "open" in repr(stream)
        stream.abort()
        await until(lambda: stream.lost)
        assert "lost" in repr(stream)
        assert "ended" in repr(stream.reader)


# --- a peer on its own thread: what the loop has not seen yet ---------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels drop what a reset overtakes")
@pytest.mark.parametrize("size", [5, 20_000])
async def test_answer_that_a_reset_overtook_is_salvaged(peer: Any, size: int) -> None:
    """It arrives, then a reset, and the first the loop learns is that writing fails."""
    answer = bytes(range(250)) * (size // 250) or b"hello"

    def play(conn: socket.socket) -> None:
        conn.recv(1)
        conn.sendall(answer)
        reset_on_close(conn)

    port, done = peer(play)
    stream = await open_stream("127.0.0.1", port)
    try:
        stream.writer.write(b"x")
        if stream.transport.get_write_buffer_size():
            await asyncio.sleep(0)  # uvloop writes at the end of its turn
        assert done.wait(10), "the loop stands still meanwhile, and reads nothing"
        stream.writer.write(b"more" * 1000)
        got, _ = await drain_by(lambda: stream.reader.read(MIB))
        assert got == answer
    finally:
        stream.abort()


async def test_stale_is_seen_before_the_loop_has_read(peer: Any) -> None:
    go = threading.Event()

    def play(conn: socket.socket) -> None:
        go.wait(10)
        conn.sendall(b"unasked")

    port, done = peer(play)
    stream = await open_stream("127.0.0.1", port)
    try:
        await settle()
        assert not stream.is_stale()
        go.set()
        assert done.wait(10)
        assert stream.is_stale(), "it is in the socket, and the loop has not turned"
        await until(lambda: stream.reader.buffered)
        assert stream.is_stale()
    finally:
        stream.abort()
    assert stream.is_stale()


async def test_closed_by_the_peer_is_stale_before_the_loop_has_read(peer: Any) -> None:
    port, done = peer(lambda conn: None)
    stream = await open_stream("127.0.0.1", port)
    try:
        assert done.wait(10)
        assert stream.is_stale()
    finally:
        stream.abort()


async def test_stream_over_a_socket_pair() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        stream = await stream_over(ours)
        try:
            stream.writer.write(b"ping")
            await until(lambda: not stream.transport.get_write_buffer_size())
            assert theirs.recv(10) == b"ping"
            theirs.sendall(b"pong")
            assert await stream.reader.readexactly(4) == b"pong"
        finally:
            stream.abort()


def test_writer_dropped_with_its_loop_says_nothing() -> None:
    """asyncio's writer closes its transport when it is collected; ours leaves that to the connection."""
    assert StreamWriter.__del__ is not asyncio.StreamWriter.__dict__.get("__del__")
