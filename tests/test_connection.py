"""`AsyncHTTPConnection`: its life, its states, its time, what its errors say; and side by side with `http.client`."""

from __future__ import annotations

import asyncio
import gc
import http.client
import io
import re
import socket
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    DEFAULT,
    AsyncHTTPConnection,
    BadStatusLine,
    CannotSendRequest,
    ConnectError,
    ConnectTimeout,
    HTTPException,
    HTTPResponse,
    ImproperConnectionState,
    InvalidURL,
    NotConnected,
    ReadError,
    ReadTimeout,
    RemoteDisconnected,
    RequestTimeout,
    ResolveError,
    ResponseNotReady,
    Timeout,
    TotalTimeout,
)
from tests.servers.raw import Close, Drip, Hold, Pause, RawServer, Request, Reset, Send, WaitFor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.servers.origin import OriginServer

    StartServer = Callable[..., Awaitable[RawServer]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"


async def get(conn: AsyncHTTPConnection, target: str = "/") -> bytes:
    await conn.request("GET", target)
    return await (await conn.getresponse()).read()


# --- made, opened, closed ---------------------------------------------------------------------------------------------


async def test_nothing_is_opened_by_making_one(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    await asyncio.sleep(0)
    assert server.connections == 0
    assert (conn.host, conn.port, conn.default_port) == ("127.0.0.1", server.port, 80)
    assert (conn.is_connected, conn.reusable, conn.reader, conn.writer) == (False, False, None, None)
    assert (conn.auto_open, conn.debuglevel) == (True, 0)
    assert conn.response_class is HTTPResponse
    assert "closed" in repr(conn)
    await conn.close()


async def test_connect_opens_and_close_closes(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    await conn.connect()
    assert conn.is_connected
    assert conn.reusable
    assert isinstance(conn.reader, asyncio.StreamReader)
    assert isinstance(conn.writer, asyncio.StreamWriter)
    assert "idle" in repr(conn)
    first = conn.writer
    await conn.connect()  # is connected already
    assert conn.writer is first
    await conn.close()
    await conn.close()
    assert (conn.is_connected, conn.reusable, conn.reader, conn.writer) == (False, False, None, None)
    await server.wait_idle()
    assert server.connections == 1


async def test_async_with_closes(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        assert isinstance(conn, AsyncHTTPConnection)
        assert not conn.is_connected
        assert await get(conn) == b"ok"
        assert conn.is_connected
    assert not conn.is_connected
    await server.wait_idle()


async def test_closing_in_the_middle_of_an_exchange(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(HALF), Hold()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    async with asyncio.timeout(10):
        conn.putrequest("GET", "/")
        await conn.close()
        await conn.request("GET", "/")
        await conn.close()
        with pytest.raises(ResponseNotReady):
            await conn.getresponse()
        await conn.request("GET", "/")
        response = await conn.getresponse()
        await conn.close()
        await conn.close()
        with pytest.raises(HTTPException):
            await response.read()
        await server.wait_idle()
    assert not conn.is_connected


async def test_closing_while_another_task_reads_ends_its_wait(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(HALF), Hold()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    await conn.request("GET", "/")
    response = await conn.getresponse()
    reading = asyncio.create_task(response.read())
    await asyncio.sleep(0)
    await conn.close()
    async with asyncio.timeout(10):
        with pytest.raises(HTTPException):
            await reading


async def test_closing_while_another_task_awaits_the_head_ends_its_wait(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Hold()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    await conn.request("GET", "/")
    waiting = asyncio.create_task(conn.getresponse())
    await asyncio.sleep(0)
    await conn.close()
    async with asyncio.timeout(10):
        with pytest.raises(HTTPException):
            await waiting


async def test_closing_while_another_task_connects_ends_it(raw_server: StartServer) -> None:
    class Resolver:
        async def resolve(self, host: str, port: int) -> Any:
            await asyncio.Event().wait()

    conn = AsyncHTTPConnection("name.example", resolver=Resolver())
    connecting = asyncio.create_task(conn.connect())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await conn.close()
    async with asyncio.timeout(10):
        with pytest.raises(ConnectError, match=r"name\.example:80"):
            await connecting
    assert not conn.is_connected


async def test_connection_dropped_unclosed_warns_and_is_closed(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    await conn.connect()
    with pytest.warns(ResourceWarning, match=rf"unclosed.*127\.0\.0\.1:{server.port}"):
        del conn
        gc.collect()
    async with asyncio.timeout(10):
        await server.wait_idle()


def test_connection_never_opened_is_dropped_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AsyncHTTPConnection("example.org")
        gc.collect()


# --- what it connects to ----------------------------------------------------------------------------------------------


async def test_sock_is_used_instead_of_dialling(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK), Request(), Send(OK), Close()])
    sock = socket.create_connection(("127.0.0.1", server.port))
    async with asyncio.timeout(10), AsyncHTTPConnection("name.example", sock=sock) as conn:
        assert await get(conn) == b"ok"
        assert await get(conn) == b"ok"
        while conn.reusable:
            await asyncio.sleep(0)
        with pytest.raises(NotConnected):  # what was given cannot be opened again
            await conn.request("GET", "/")
    assert server.connections == 1
    assert server.requests[0].get("Host") == "name.example"


async def test_sock_that_was_never_used_is_closed() -> None:
    ours, theirs = socket.socketpair()
    conn = AsyncHTTPConnection("name.example", sock=ours)
    await conn.close()
    assert ours.fileno() == -1
    theirs.close()


async def test_unix_domain_socket(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK), Hold()], uds=True)
    async with AsyncHTTPConnection("name.example", uds=server.path) as conn:
        assert await get(conn) == b"ok"
    assert server.requests[0].get("Host") == "name.example"
    conn = AsyncHTTPConnection("name.example", uds=server.path + ".gone")
    with pytest.raises(ConnectError, match=re.escape(server.path + ".gone")):
        await conn.connect()


async def test_source_address(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port, source_address=("127.0.0.2", 0)) as conn:
        assert await get(conn) == b"ok"
        assert server.accepted[0].writer.get_extra_info("peername")[0] == "127.0.0.2"


async def test_resolver_of_ones_own_and_the_next_address_when_one_fails(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK), Hold()])
    asked = []

    class Resolver:
        async def resolve(self, host: str, port: int) -> Any:
            asked.append((host, port))
            return [(socket.AF_INET, ("127.9.9.9", port)), (socket.AF_INET, ("127.0.0.1", port))]

    async with AsyncHTTPConnection("name.example", server.port, resolver=Resolver()) as conn:
        assert await get(conn) == b"ok"
    assert asked == [("name.example", server.port)]


async def test_refused_is_connect_error_that_says_where(raw_server: StartServer) -> None:
    server = await raw_server([Hold()])
    server.stop_listening()
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    with pytest.raises(ConnectError) as caught:
        await conn.request("GET", "/")
    assert isinstance(caught.value, OSError)
    assert type(caught.value) is ConnectError
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert "refused" in str(caught.value).lower()
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert isinstance(caught.value.__cause__.exceptions[0], ConnectionRefusedError)
    assert not conn.is_connected


async def test_name_without_address_is_resolve_error_that_says_which() -> None:
    class Resolver:
        async def resolve(self, host: str, port: int) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    conn = AsyncHTTPConnection("no.such.name.example", resolver=Resolver())
    with pytest.raises(ResolveError, match=r"no\.such\.name\.example.*not known") as caught:
        await conn.connect()
    assert isinstance(caught.value, ConnectError)
    assert isinstance(caught.value.__cause__, socket.gaierror)


# --- opened again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["close", "reset"])
@pytest.mark.parametrize("noticed", [True, False])
async def test_request_after_the_server_closed_opens_anew(raw_server: StartServer, end: Any, noticed: bool) -> None:
    go = asyncio.Event()
    server = await raw_server([Request(), Send(OK), WaitFor(go), end])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        for number in range(3):
            assert await get(conn, f"/{number}") == b"ok"
            go.set()
            await server.wait_idle()
            while noticed and conn.reusable:
                await asyncio.sleep(0)
            go.clear()
            assert not conn.reusable
    assert server.connections == 3
    assert [request.target for request in server.requests] == ["/0", "/1", "/2"]


async def test_without_auto_open_a_closed_connection_is_not_connected(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")])
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    conn.auto_open = False
    with pytest.raises(NotConnected) as caught:
        await conn.request("GET", "/")
    assert isinstance(caught.value, ImproperConnectionState)
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    with pytest.raises(NotConnected):
        await conn.send(b"raw")
    await conn.connect()
    assert await get(conn) == b"ok"
    assert not conn.is_connected
    with pytest.raises(NotConnected):
        await conn.request("GET", "/")
    assert server.connections == 1


async def test_request_that_failed_to_connect_may_be_made_again(raw_server: StartServer) -> None:
    class Resolver:
        async def resolve(self, host: str, port: int) -> Any:
            if not failed:
                failed.append(True)
                raise OSError("not now")
            return [(socket.AF_INET, ("127.0.0.1", port))]

    failed: list[bool] = []
    server = await raw_server([Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("name.example", server.port, resolver=Resolver()) as conn:
        with pytest.raises(ResolveError):
            await conn.request("GET", "/")
        assert await get(conn) == b"ok"


async def test_connecting_between_the_steps_of_a_request(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        conn.putrequest("GET", "/stepwise")
        await conn.connect()
        conn.putheader("X", "y")
        await conn.endheaders()
        assert (await conn.getresponse()).status == 200
    assert server.requests[0].target == "/stepwise"
    assert server.requests[0].get("X") == "y"


async def test_send_before_any_request_connects_and_sends_raw_bytes(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(b"raw answer"), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.send(b"GET /raw HTTP/1.1\r\n\r\n")
        assert conn.reader is not None
        assert await conn.reader.readexactly(10) == b"raw answer"
    assert server.requests[0].target == "/raw"


# --- states -----------------------------------------------------------------------------------------------------------


async def test_getresponse_before_a_request_is_response_not_ready(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        with pytest.raises(ResponseNotReady) as caught:
            await conn.getresponse()
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        await conn.connect()
        with pytest.raises(ResponseNotReady):
            await conn.getresponse()
        conn.putrequest("GET", "/")
        with pytest.raises(ResponseNotReady):
            await conn.getresponse()
        await conn.endheaders()
        assert await (await conn.getresponse()).read() == b"ok"
        with pytest.raises(ResponseNotReady):
            await conn.getresponse()
        assert conn.reusable


async def test_one_exchange_at_a_time(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(HALF), Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/first")
        assert not conn.reusable
        with pytest.raises(CannotSendRequest) as caught:
            await conn.request("GET", "/second")
        assert "GET /first" in str(caught.value)
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        response = await conn.getresponse()
        assert not conn.reusable
        with pytest.raises(CannotSendRequest):
            await conn.request("GET", "/second")
        with pytest.raises(CannotSendRequest):
            conn.putrequest("GET", "/second")
        with pytest.raises(ResponseNotReady):
            await conn.getresponse()
        assert await response.read(4) == b"half"  # the first is undisturbed
        await response.close()
    assert [request.target for request in server.requests] == ["/first"]


async def test_use_from_another_loop_is_runtime_error() -> None:
    """In a thread, because a loop already runs here."""
    factory = type(asyncio.get_running_loop())

    def two_loops() -> None:
        async def first() -> None:
            async with RawServer([Request(), Send(OK), Hold()]) as server:
                conn = AsyncHTTPConnection("127.0.0.1", server.port)
                assert await get(conn) == b"ok"
                try:
                    await asyncio.get_running_loop().run_in_executor(None, second, conn)
                    assert conn.reusable  # no harm done
                finally:
                    await conn.close()

        def second(conn: AsyncHTTPConnection) -> None:
            async def use() -> None:
                with pytest.raises(RuntimeError, match="another event loop"):
                    await conn.request("GET", "/")
                with pytest.raises(RuntimeError, match="another event loop"):
                    conn.putrequest("GET", "/")

            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                runner.run(use())

        with asyncio.Runner(loop_factory=lambda: factory()) as runner:  # type: ignore[call-arg]
            runner.run(first())

    await asyncio.to_thread(two_loops)


async def test_closed_on_one_loop_it_may_be_opened_on_another(http_server: OriginServer) -> None:
    conn = AsyncHTTPConnection("127.0.0.1", http_server.port)

    async def once() -> bytes:
        async with conn:
            return await get(conn)

    assert await once() == b"hello"
    assert await asyncio.to_thread(lambda: asyncio.run(once())) == b"hello"


async def test_response_class_is_the_callers(raw_server: StartServer) -> None:
    class Mine(HTTPResponse):
        pass

    class Connection(AsyncHTTPConnection):
        response_class = Mine

    server = await raw_server([Request(), Send(OK), Request(), Send(HALF), Hold()])
    async with Connection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        assert type(await conn.getresponse()) is Mine
        conn.response_class = HTTPResponse
        await conn.request("GET", "/")
        assert type(await conn.getresponse()) is HTTPResponse


async def test_on_interim_sees_1xx(raw_server: StartServer) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    server = await raw_server([Request(), Send(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + OK, each=1), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        seen: list[tuple[int, str | None]] = []
        conn.on_interim = lambda head: seen.append((head.status, head.headers.get("link")))
        assert await get(conn) == b"ok"
        assert seen == [(100, None), (103, "</a>")]


# --- time -------------------------------------------------------------------------------------------------------------


def test_timeout_is_readable_and_settable() -> None:
    conn = AsyncHTTPConnection("example.org")
    assert conn.timeout == Timeout()
    assert AsyncHTTPConnection("example.org", timeout=DEFAULT).timeout == Timeout()
    assert AsyncHTTPConnection("example.org", timeout=5).timeout == Timeout(None, 5, 5, 5, 5)
    assert AsyncHTTPConnection("example.org", timeout=None).timeout == Timeout(None, None, None, None, None)
    conn.timeout = 2.5  # type: ignore[assignment]
    assert conn.timeout == Timeout(None, 2.5, 2.5, 2.5, 2.5)
    conn.timeout = Timeout(read=1)
    assert conn.timeout.read == 1
    with pytest.raises(ValueError, match="negative"):
        conn.timeout = -1  # type: ignore[assignment]
    with pytest.raises(TypeError):
        conn.timeout = "5"  # type: ignore[assignment]


async def expire(conn: AsyncHTTPConnection, kind: type[RequestTimeout], server: RawServer, target: str = "/") -> str:
    """The message of the timeout, of exactly that class, that a request runs into; the connection is closed by it."""
    async with asyncio.timeout(10):
        with pytest.raises(kind) as caught:
            await get(conn, target)
        assert type(caught.value) is kind
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, HTTPException)
        assert not conn.is_connected
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        await server.wait_idle()
    return str(caught.value)


async def test_silence_is_read_timeout(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Hold()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(read=0.05))
    assert "within 0.05 s" in await expire(conn, ReadTimeout, server)


async def test_read_timeout_covers_the_whole_head_though_it_drips(raw_server: StartServer) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100
    server = await raw_server([Request(), Drip(head, pause=0.01), Hold()])
    await expire(AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(read=0.15)), ReadTimeout, server)


async def test_read_timeout_starts_anew_with_each_interim_response(raw_server: StartServer) -> None:
    interim = [Pause(0.3), Send(b"HTTP/1.1 102 Processing\r\n\r\n")]
    server = await raw_server([Request(), *interim, *interim, *interim, Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(read=0.8)) as conn:
        assert await get(conn) == b"ok"


async def test_read_timeout_after_interim_responses(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(b"HTTP/1.1 102 Processing\r\n\r\n"), Hold()])
    await expire(AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(read=0.05)), ReadTimeout, server)


async def test_total_covers_head_and_body(raw_server: StartServer) -> None:
    for script in (
        [Request(), Hold()],
        [Request(), Send(HALF), Hold()],
        [Request(), Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + b"x" * 999, pause=0.01), Hold()],
        [Request(), Send(b"HTTP/1.1 102 Processing\r\n\r\n"), Hold()],
    ):
        server = await raw_server(script)
        conn = AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(total=0.1))
        assert "longer than 0.1 s in all" in await expire(conn, TotalTimeout, server)


async def test_total_counts_a_slow_consumer(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(HALF), Hold()])
    async with asyncio.timeout(10), AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(total=0.1)) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        assert await response.read(4) == b"half"
        await asyncio.sleep(0.15)
        with pytest.raises(TotalTimeout):
            await response.read()


async def test_total_counts_connecting_and_from_each_request_anew(raw_server: StartServer) -> None:
    class Resolver:
        async def resolve(self, host: str, port: int) -> Any:
            await asyncio.sleep(delay)
            return [(socket.AF_INET, ("127.0.0.1", port))]

    server = await raw_server([Request(), Pause(0.25), Send(OK), Hold()])
    delay = 0.25
    timeout = Timeout(total=0.4)
    async with asyncio.timeout(10):
        conn = AsyncHTTPConnection("name.example", server.port, resolver=Resolver(), timeout=timeout)
        with pytest.raises(TotalTimeout):
            await get(conn)
        delay = 0.6
        with pytest.raises(TotalTimeout):
            await conn.connect()


async def test_slow_lookup_is_connect_timeout() -> None:
    class Resolver:
        async def resolve(self, host: str, port: int) -> Any:
            await asyncio.Event().wait()

    conn = AsyncHTTPConnection("name.example", resolver=Resolver(), timeout=Timeout(connect=0.05))
    with pytest.raises(ConnectTimeout, match=r"within 0\.05 s.*name\.example:80") as caught:
        await conn.request("GET", "/")
    assert isinstance(caught.value, TimeoutError)
    assert not conn.is_connected


async def test_peer_that_does_not_accept_is_connect_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        where = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(where)
            conn = AsyncHTTPConnection(*where, timeout=Timeout(connect=0.1))
            with pytest.raises(ConnectTimeout, match=f"127.0.0.1:{where[1]}"):
                await conn.connect()
        finally:
            for filler in fillers:
                filler.close()


async def test_timeout_set_later_holds_from_the_next_request_on(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK), Request(), Hold()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    assert await get(conn) == b"ok"
    conn.timeout = Timeout(read=0.05)
    await expire(conn, ReadTimeout, server)


async def test_without_timeout_there_is_none(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Pause(0.05), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port, timeout=None) as conn:
        assert await get(conn) == b"ok"


async def test_timeout_of_before_does_not_fire_in_the_next_exchange(raw_server: StartServer) -> None:
    slow = [Request(), Pause(0.2), Send(OK)]
    server = await raw_server([Request(), Send(OK), *slow, Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port, timeout=Timeout(read=0.1)) as conn:
        assert await get(conn) == b"ok"
        conn.timeout = None  # type: ignore[assignment]
        assert await get(conn) == b"ok"


# --- errors -----------------------------------------------------------------------------------------------------------


async def test_reset_while_the_head_is_awaited(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Reset()])
    conn = AsyncHTTPConnection("127.0.0.1", server.port)
    with pytest.raises((RemoteDisconnected, ReadError)) as caught:
        await get(conn, "/path")
    assert isinstance(caught.value, OSError)
    assert f"GET /path at 127.0.0.1:{server.port}" in str(caught.value)
    assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_errors_say_what_was_being_done_to_which_host_and_what_came(raw_server: StartServer) -> None:
    for data, says in (
        (b"garbage\r\n", "'garbage'"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "'no colon'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "'x'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "'gzip'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "xyz"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "4 bytes read, 5 more expected"),
        (b"HTTP/1.1 200", "after 12 bytes"),
        (b"", "without sending a byte"),
    ):
        server = await raw_server([Request(), Send(data)])
        conn = AsyncHTTPConnection("127.0.0.1", server.port)
        with pytest.raises(HTTPException) as caught:
            await get(conn, "/path")
        assert says in str(caught.value)
        assert f"GET /path at 127.0.0.1:{server.port}" in str(caught.value)
        assert not conn.is_connected


# --- set_debuglevel ---------------------------------------------------------------------------------------------------


def printed(lines: str) -> list[str]:
    """The lines that tell what was sent and received; what differs by the library's name or order is left out."""
    kept = [line for line in lines.splitlines() if line.startswith(("send: b", "reply:", "header:"))]
    return [line for line in kept if "HTTP/1.1\\r\\n" not in line or not line.startswith("send:")]


@pytest.mark.parametrize(
    ("method", "make", "headers"),
    [
        ("GET", lambda: None, {}),
        ("POST", lambda: b"some bytes", {}),
        ("POST", lambda: b"", {}),
        ("POST", lambda: [b"one", b"two"], {}),
        ("POST", lambda: [b"one", b"two"], {"Content-Length": "6"}),
    ],
    ids=["GET", "bytes", "empty", "chunked", "pieces"],
)
async def test_debuglevel_prints_http_clients_lines(
    http_server: OriginServer, capsys: pytest.CaptureFixture[str], method: str, make: Any, headers: dict[str, str]
) -> None:
    def theirs() -> None:
        conn = http.client.HTTPConnection("127.0.0.1", http_server.port)
        conn.set_debuglevel(1)
        conn.request(method, "/echo", make(), headers)
        conn.getresponse().read()
        conn.close()

    await asyncio.to_thread(theirs)
    expected = capsys.readouterr().out
    async with AsyncHTTPConnection("127.0.0.1", http_server.port) as conn:
        await get(conn)
        assert capsys.readouterr().out == ""
        conn.set_debuglevel(1)
        assert conn.debuglevel == 1
        await conn.request(method, "/echo", make(), headers)
        await (await conn.getresponse()).read()
    out = capsys.readouterr().out
    assert printed(out) == printed(expected)
    (head,) = (line for line in out.splitlines() if line.startswith("send:") and "HTTP/1.1" in line)
    assert f"{method} /echo HTTP/1.1\\r\\nHost: 127.0.0.1:{http_server.port}\\r\\n" in head


# --- side by side with http.client ------------------------------------------------------------------------------------


def outcome(response: Any, body: bytes) -> list[Any]:
    return [
        response.status,
        response.reason,
        response.version,
        response.getheaders(),
        response.getheader("content-length"),
        response.getheader("absent", "default"),
        response.isclosed(),
        body,
    ]


REQUESTS: list[tuple[Any, ...]] = [
    ("GET", "/"),
    ("GET", ""),
    ("HEAD", "/bytes/100"),
    ("GET", "/request?a=b&c=d", None, {"User-Agent": "x", "Accept": "*/*"}),
    ("GET", "/bytes/100000"),
    ("GET", "/chunked/100000"),
    ("GET", "/until-close/1000"),
    ("GET", "/close"),
    ("GET", "/status/404"),
    ("GET", "/status/204"),
    ("GET", "/redirect/302?/there"),
    ("POST", "/echo", b"bytes"),
    ("POST", "/echo", "stré"),
    ("POST", "/echo", bytearray(b"bytearray"), {"Content-Type": "text/plain"}),
    ("POST", "/echo", [b"a", b"list"]),
    ("POST", "/echo", lambda: io.BytesIO(b"a file")),
    ("POST", "/echo", lambda: io.StringIO("a text filé")),
    ("POST", "/echo", lambda: iter([b"an", b"iterator"])),
    ("PUT", "/echo", b"x" * 300_000),
    ("POST", "/echo"),
    ("DELETE", "/request"),
    ("PATCH", "/request"),
    ("OPTIONS", "*"),
    ("GET", "/request", None, {"Host": "other.example", "Accept-Encoding": "gzip"}),
    ("POST", "/echo", b"five5", {"Content-Length": "5"}),
]


async def test_the_same_calls_give_the_same_results(http_server: OriginServer) -> None:
    """The line of a user of http.client and ours, with `await`, for every kind of request, on one connection each."""

    def arguments(call: tuple[Any, ...]) -> list[Any]:
        return [argument() if callable(argument) else argument for argument in call]

    def theirs() -> list[Any]:
        results = []
        conn = http.client.HTTPConnection("127.0.0.1", http_server.port, timeout=10)
        for call in REQUESTS:
            conn.request(*arguments(call))
            response = conn.getresponse()
            results.append(outcome(response, response.read()))
        conn.close()
        return results

    async def ours() -> list[Any]:
        results = []
        conn = AsyncHTTPConnection("127.0.0.1", http_server.port, timeout=10)
        for call in REQUESTS:
            await conn.request(*arguments(call))
            response = await conn.getresponse()
            results.append(outcome(response, await response.read()))
        await conn.close()
        return results

    expected = await asyncio.to_thread(theirs)
    seen_by_server = list(http_server.requests)
    http_server.requests.clear()
    got = await ours()
    for call, mine, yours in zip(REQUESTS, got, expected, strict=True):
        if call[1].startswith("/request"):  # what the server echoes has the fields in the order that they came in
            mine, yours = mine[:3], yours[:3]
        assert mine == yours, call
    for mine, yours in zip(http_server.requests, seen_by_server, strict=True):
        assert (mine.method, mine.target, mine.version) == (yours.method, yours.target, yours.version)
        assert mine.fields[0] == yours.fields[0] or yours.get("Host") == "other.example"
        assert {(k.lower(), v) for k, v in mine.fields} == {(k.lower(), v) for k, v in yours.fields}
        assert mine.body == yours.body
    assert http_server.connections == 2 * 3  # each was opened anew after the two responses that close


async def test_the_same_steps_give_the_same_bytes(http_server: OriginServer) -> None:
    def theirs() -> bytes:
        conn = http.client.HTTPConnection("127.0.0.1", http_server.port)
        conn.putrequest("POST", "/echo", skip_accept_encoding=True)
        conn.putheader("Content-Length", "10")
        conn.putheader("X-Number", 1)
        conn.putheader("X-Bytes", b"2")
        conn.endheaders()
        conn.send(b"01234")
        conn.send(io.BytesIO(b"56789"))
        body = conn.getresponse().read()
        conn.close()
        return body

    expected = await asyncio.to_thread(theirs)
    async with AsyncHTTPConnection("127.0.0.1", http_server.port) as conn:
        conn.putrequest("POST", "/echo", skip_accept_encoding=True)
        conn.putheader("Content-Length", "10")
        conn.putheader("X-Number", 1)
        conn.putheader("X-Bytes", b"2")
        await conn.endheaders()
        await conn.send(b"01234")
        await conn.send(io.BytesIO(b"56789"))
        assert await (await conn.getresponse()).read() == expected == b"0123456789"
    yours, mine = http_server.requests
    assert mine.raw == yours.raw


async def test_the_same_mistakes_raise_errors_of_the_same_name(http_server: OriginServer) -> None:
    async def of_ours(use: Any) -> str:
        async with AsyncHTTPConnection("127.0.0.1", http_server.port) as conn:
            try:
                await use(conn)
            except Exception as error:
                return type(error).__name__
        return "nothing"

    def of_theirs(use: Any) -> str:
        conn = http.client.HTTPConnection("127.0.0.1", http_server.port)
        try:
            use(conn)
        except Exception as error:
            return type(error).__name__
        finally:
            conn.close()
        return "nothing"

    async def twice(conn: AsyncHTTPConnection) -> None:
        await conn.request("GET", "/hold")
        await conn.request("GET", "/hold")

    def their_twice(conn: http.client.HTTPConnection) -> None:
        conn.request("GET", "/hold")
        conn.request("GET", "/hold")

    async def header_first(conn: AsyncHTTPConnection) -> None:
        conn.putheader("A", "b")

    pairs: list[tuple[Any, Any]] = [
        (twice, their_twice),
        (lambda conn: conn.getresponse(), lambda conn: conn.getresponse()),
        (header_first, lambda conn: conn.putheader("A", "b")),
        (lambda conn: conn.endheaders(), lambda conn: conn.endheaders()),
        (lambda conn: conn.request("GET", "/a b"), lambda conn: conn.request("GET", "/a b")),
        (lambda conn: conn.request("POST", "/", "€"), lambda conn: conn.request("POST", "/", "€")),
        (lambda conn: conn.request("POST", "/", 5), lambda conn: conn.request("POST", "/", 5)),
    ]
    for mine, yours in pairs:
        expected = await asyncio.to_thread(of_theirs, yours)
        assert await of_ours(mine) == expected != "nothing"


async def test_host_that_was_set_is_checked_too(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        conn.host = "evil\r\nX: y"
        with pytest.raises(InvalidURL, match="not a host"):
            await conn.request("GET", "/")
    assert not server.requests


@pytest.mark.parametrize("host", ["", "127.0.0.1"])
async def test_source_address_by_itself(host: str, http_server: OriginServer) -> None:
    async with AsyncHTTPConnection("127.0.0.1", http_server.port, source_address=(host, 0)) as conn:
        assert await get(conn) == b"hello"


@pytest.mark.parametrize("said", [b"<html>hello</html>", b"\x00\xff", b"HTTP/2", b"H", b"SSH-2.0"])
@pytest.mark.parametrize("step", [1, 100])
async def test_what_is_not_http_and_has_no_line_end(said: bytes, step: int, raw_server: StartServer) -> None:
    pieces = [Send(said[at : at + step]) for at in range(0, len(said), step)]
    server = await raw_server([Request(), *pieces])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        with pytest.raises(BadStatusLine) as info:
            await conn.getresponse()
    if b"HTTP/1.".startswith(said[:7]):
        assert isinstance(info.value, RemoteDisconnected)
    else:
        assert (type(info.value), info.value.line) == (BadStatusLine, said.decode("latin-1"))


@pytest.mark.parametrize("status", [b"099", b"000", b"012"])
async def test_status_below_100(status: bytes, raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(b"HTTP/1.1 " + status + b" x\r\n\r\n"), Hold()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        with pytest.raises(BadStatusLine):
            await conn.getresponse()


async def test_every_step_belongs_to_the_loop(http_server: OriginServer) -> None:
    async with AsyncHTTPConnection("127.0.0.1", http_server.port) as conn:
        await conn.connect()
        conn.putrequest("GET", "/")

        async def elsewhere() -> None:
            for step in (conn.endheaders(), conn.send(b""), conn.getresponse(), conn.close()):
                with pytest.raises(RuntimeError, match="another event loop"):
                    await step

        await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
        await conn.endheaders()
        assert await (await conn.getresponse()).read() == b"hello"
