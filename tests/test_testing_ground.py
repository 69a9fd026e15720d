"""The testing ground does what it says: leaks are found, servers play what they should, awaits are all cancelled."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import http.client
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import auditing, corpus
from tests.auditing import Ground, open_sockets
from tests.cancellation import cancel_everywhere
from tests.servers import program
from tests.servers.origin import DOCUMENT, OriginServer, Reply, pattern
from tests.servers.proxy import ConnectProxy
from tests.servers.raw import (
    Body,
    Close,
    Connection,
    Drip,
    EndSending,
    Head,
    Hold,
    Pause,
    RawServer,
    Request,
    Reset,
    ResumeReading,
    Send,
    Step,
    StopReading,
    Truncate,
    WaitFor,
)

ROOT = Path(__file__).resolve().parents[1]
StartRaw = Callable[..., Awaitable[RawServer]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def ask(server: RawServer, request: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """Send bytes to a server and read until it ends."""
    if server.uds:
        reader, writer = await asyncio.open_unix_connection(server.path)
    else:
        name = "localhost" if tls else None
        reader, writer = await asyncio.open_connection(server.host, server.port, ssl=tls, server_hostname=name)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


# --- both loops -------------------------------------------------------------------------------------------------------


async def test_coroutine_tests_run_on_both_loops(request: pytest.FixtureRequest) -> None:
    name = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    assert request.node.name.endswith(f"[{name}]")


def test_plain_tests_run_once(request: pytest.FixtureRequest) -> None:
    assert "[" not in request.node.name
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


# --- nothing left behind ----------------------------------------------------------------------------------------------

LEAKS = """
import asyncio, gc, socket, pytest

kept = []

async def test_clean():
    await asyncio.sleep(0)

async def test_clean_with_servers(http_server, https_server, raw_server):
    server = await raw_server(b"")
    reader, writer = await asyncio.open_connection("127.0.0.1", http_server.port)
    writer.write(b"GET / HTTP/1.1\\r\\n\\r\\n")
    assert await reader.read(4) == b"HTTP"
    writer.close()
    await writer.wait_closed()

async def test_leaks_task():
    kept.append(asyncio.create_task(asyncio.sleep(3600)))

async def test_leaks_socket(http_server):
    kept.append(socket.create_connection(("127.0.0.1", http_server.port)))

async def test_leaks_socket_pair():
    kept.append(socket.socketpair())

async def test_leaks_task_error():
    async def fail():
        raise ValueError("nobody asks")
    task = asyncio.create_task(fail())
    await asyncio.sleep(0.01)

async def test_leaks_future_error_in_a_circle():
    future = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("nobody asks"))
    circle = [future]
    circle.append(circle)

async def test_leaks_callback_error():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)

async def test_leaks_script_error(raw_server):
    async def script(reader, writer, conn):
        assert False, "the script is wrong"
    server = await raw_server(script)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await reader.read()
    writer.close()
    await writer.wait_closed()

async def test_leaks_time():
    await asyncio.sleep(60)

async def test_leaks_warning():
    asyncio.sleep(0)
    gc.collect()

def test_clean_plain():
    kept.append(socket.socketpair())
"""


def test_what_a_test_leaves_behind_fails_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests import auditing, conftest\n"
        "from tests.conftest import *\n"
        "from tests.conftest import _nothing_left_behind, _swept\n"
        "auditing.GRACE, conftest.TEST_SECONDS = 0.2, 0.5\n"
    )
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-rA"]
    command += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), str(tmp_path / "test_leaks.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_ADDOPTS", None)
    played = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    outcomes: dict[str, set[str]] = {}
    for outcome, name in re.findall(r"^(PASSED|FAILED|ERROR) \S*?::(\w+(?:\[\w+\])?)", played.stdout, re.MULTILINE):
        outcomes.setdefault(name, set()).add(outcome)
    assert len(outcomes) == LEAKS.count("async def test_") * 2 + 1, played.stdout
    for name, seen in outcomes.items():
        assert (seen == {"PASSED"}) == name.startswith("test_clean"), f"{name}: {seen}\n{played.stdout}"


async def test_the_ground_names_what_is_left(http_server: OriginServer) -> None:
    ground = Ground()
    assert ground.leftovers() == []
    left = socket.create_connection(("127.0.0.1", http_server.port))
    task = asyncio.create_task(asyncio.sleep(60), name="left")
    try:
        found = await ground.cleared(grace=0.01)
        assert any("task still pending" in line and "left" in line for line in found)
        assert any("socket still open" in line and str(http_server.port) in line for line in found)
    finally:
        left.close()
        task.cancel()
    await http_server.wait_idle()
    assert await ground.cleared() == []


def test_open_sockets_sees_sockets_and_only_these(tmp_path: Path) -> None:
    before = open_sockets()
    with socket.socket() as one, open(tmp_path / "file", "w"):
        assert {number for number, _ in open_sockets() - before} == {one.fileno()}
    assert open_sockets() == before


class FakePool:
    """Just enough of a pool to be audited."""

    def __init__(self, **changes: int) -> None:
        figures = {
            "open": 2,
            "idle": 2,
            "in_use": 0,
            "waiting": 0,
            "opened_total": 5,
            "reused_total": 1,
            "closed_total": 3,
        }
        self.figures = SimpleNamespace(**figures | changes)
        self.audits = 0

    def audit(self) -> None:
        self.audits += 1

    def stats(self) -> Any:
        return self.figures


def test_audit_asks_the_pool_and_compares_its_figures() -> None:
    pool: Any = FakePool()
    auditing.audit(pool)
    auditing.audit_quiet(pool)
    assert pool.audits == 2
    for changes in ({"open": 3}, {"idle": 3}, {"waiting": -1}, {"closed_total": 2}):
        broken: Any = FakePool(**changes)
        with pytest.raises(AssertionError):
            auditing.audit(broken)
    for changes in ({"in_use": 1, "idle": 1}, {"waiting": 1}, {"idle": 1}):
        busy: Any = FakePool(**changes)
        auditing.audit(busy)
        with pytest.raises(AssertionError):
            auditing.audit_quiet(busy)


# --- the corpora ------------------------------------------------------------------------------------------------------


def test_a_corpus_is_loaded_or_the_module_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTPCONN_CORPUS", str(tmp_path))
    (tmp_path / "there.json").write_text('{"cases": [1, "é"]}', encoding="utf-8")
    assert corpus.load("there.json") == {"cases": [1, "é"]}
    with pytest.raises(pytest.skip.Exception, match=r"absent\.json") as skipped:
        corpus.load("absent.json")
    assert skipped.value.allow_module_level


# --- cancellation at every await --------------------------------------------------------------------------------------


async def test_every_suspension_is_cancelled_at_both_moments() -> None:
    reached: list[int] = []

    async def scenario() -> None:
        await asyncio.sleep(0)
        reached.append(1)
        await asyncio.sleep(0.001)
        reached.append(2)
        await asyncio.get_running_loop().run_in_executor(None, str)
        reached.append(3)

    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1

    assert await cancel_everywhere(scenario, check) == 6
    assert checks == 8  # and the two undisturbed runs
    assert reached == [1, 1, 2, 1, 2, 3] * 2


async def test_at_the_second_moment_the_result_is_there_and_is_lost() -> None:
    """The race that loses connections: what was awaited has happened, and the task is cancelled before it runs."""
    futures: list[asyncio.Future[str]] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        futures.append(future)
        loop.call_later(0.001, lambda: future.done() or future.set_result("slot"))
        await future

    seen: list[str] = []

    def check() -> None:
        future = futures.pop()
        seen.append("cancelled" if future.cancelled() else future.result())

    assert await cancel_everywhere(scenario, check) == 2
    assert seen == ["cancelled", "slot", "slot", "slot"]  # suspended, undisturbed, woken, undisturbed


@pytest.mark.parametrize("mistake", ["swallows", "raises another", "leaks", "hangs", "endless"])
async def test_a_scenario_that_mishandles_cancellation_is_found(mistake: str) -> None:
    leaked: list[str] = []

    async def scenario() -> None:
        leaked.append("slot")
        try:
            while True:
                await asyncio.sleep(0)
                if mistake != "endless":
                    break
        except asyncio.CancelledError:
            if mistake == "swallows":
                return
            if mistake == "raises another":
                raise ValueError("oh") from None
            if mistake == "hangs":
                await asyncio.sleep(60)
            if mistake != "leaks":
                leaked.clear()
            raise
        leaked.clear()

    def check() -> None:
        assert not leaked, "a slot was lost"

    complaints = {
        "swallows": "swallowed",
        "raises another": "instead of CancelledError",
        "leaks": "a slot was lost",
        "hangs": "hung",
        "endless": "more than 5 suspensions",
    }
    with pytest.raises(AssertionError, match=complaints[mistake]):
        await cancel_everywhere(scenario, check, limit=5, seconds=0.2)


async def test_a_clean_up_that_awaits_is_cancelled_a_second_time() -> None:
    cleaned: list[bool] = []

    async def scenario() -> None:
        cleaned.clear()
        try:
            await asyncio.sleep(0.001)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    async def check() -> None:
        assert cleaned, "the clean-up was not completed"

    with pytest.raises(AssertionError, match="clean-up was not completed") as caught:
        await cancel_everywhere(scenario, check)
    assert "once more" in caught.value.__notes__[0]


async def test_the_errors_of_the_undisturbed_scenario_pass_through() -> None:
    async def scenario() -> None:
        await asyncio.sleep(0)
        raise LookupError("its own")

    with pytest.raises(LookupError, match="its own"):
        await cancel_everywhere(scenario, lambda: None)


# --- the scripted server ----------------------------------------------------------------------------------------------


async def test_bytes_are_answered_to_one_request_and_the_connection_closed(raw_server: StartRaw) -> None:
    server = await raw_server(OK)
    assert await ask(server, GET) == OK
    assert await ask(server, GET) == OK
    assert server.connections == 2
    assert [request.raw for request in server.requests] == [GET, GET]


async def test_each_connection_plays_its_own_script_and_the_last_goes_on(raw_server: StartRaw) -> None:
    server = await raw_server([Send(b"one")], [Send(b"two")])
    assert [await ask(server, b"") for _ in range(3)] == [b"one", b"two", b"two"]


async def test_a_script_may_be_a_function(raw_server: StartRaw) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        request = await conn.read_request()
        writer.write(f"{conn.number} {request.target} {await reader.readexactly(3)!r}".encode())

    server = await raw_server(script)
    assert await ask(server, b"GET /x HTTP/1.1\r\n\r\nabc") == b"0 /x b'abc'"


@pytest.mark.parametrize(
    ("step", "pieces"),
    [
        (Send(b"abcdef"), [b"abcdef"]),
        (Send(b"abcdef", cuts=(4, 1)), [b"a", b"bcd", b"ef"]),
        (Send(b"abcdef", each=4), [b"abcd", b"ef"]),
        (Drip(b"abc"), [b"a", b"b", b"c"]),
    ],
)
async def test_pieces_arrive_one_by_one(raw_server: StartRaw, step: Step, pieces: list[bytes]) -> None:
    class Recorder(asyncio.Protocol):
        def __init__(self) -> None:
            self.pieces: list[bytes] = []
            self.ended = asyncio.get_running_loop().create_future()

        def data_received(self, data: bytes) -> None:
            self.pieces.append(bytes(data))

        def connection_lost(self, error: Exception | None) -> None:
            self.ended.set_result(error)

    server = await raw_server([step])
    _, recorder = await asyncio.get_running_loop().create_connection(Recorder, server.host, server.port)
    assert await recorder.ended is None
    assert recorder.pieces == pieces


async def test_bodies_are_read_by_length_and_by_chunks(raw_server: StartRaw) -> None:
    server = await raw_server([Head(), Body(), Request(), Send(b"done")])
    first = b"PUT /a HTTP/1.1\r\nContent-Length: 3\r\nX-Two: 1\r\nx-two:  2 \r\n\r\nabc"
    second = b"POST /b?q HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1;x=y\r\nf\r\n0\r\nT: v\r\n\r\n"
    assert await ask(server, first + second) == b"done"
    one, two = server.requests
    assert (one.method, one.target, one.body, one.raw) == ("PUT", "/a", b"abc", first)
    assert one.get_all("X-TWO") == ["1", "2"]
    assert (two.path, two.body, two.raw) == ("/b", b"def", second)


async def test_reset_is_a_reset_and_close_is_an_end(raw_server: StartRaw) -> None:
    server = await raw_server([Send(b"x"), Close()], [Pause(0.001), Reset()])
    assert await ask(server, b"") == b"x"
    with pytest.raises(ConnectionResetError):
        await ask(server, b"")


async def test_a_reset_is_one_over_tls_too(
    raw_server: StartRaw, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    server = await raw_server([Request(), Reset()], tls=server_ctx)
    with pytest.raises(ConnectionResetError):
        await ask(server, GET, client_ctx)


def read_over_tls(port: int, context: ssl.SSLContext) -> bytes:
    """By the plainest means, in which the end without close_notify is an error."""
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as secure,
    ):
        got = bytearray()
        while some := secure.recv(100):
            got += some
        return bytes(got)


async def test_truncated_tls_ends_without_close_notify(
    raw_server: StartRaw, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    server = await raw_server([Send(b"whole"), Close()], [Send(b"part"), Truncate(), Hold()], tls=server_ctx)
    assert await asyncio.to_thread(read_over_tls, server.port, client_ctx) == b"whole"
    with pytest.raises(ssl.SSLEOFError):
        await asyncio.to_thread(read_over_tls, server.port, client_ctx)


async def test_the_sending_half_ends_and_the_script_goes_on(raw_server: StartRaw) -> None:
    server = await raw_server([Send(b"bye"), EndSending(), Request(), Hold()])
    reader, writer = await asyncio.open_connection(server.host, server.port)
    assert await reader.read() == b"bye"
    writer.write(GET)
    writer.close()
    await writer.wait_closed()
    await server.wait_idle()
    assert server.requests[0].raw == GET


async def test_a_server_that_stops_reading_blocks_the_writer_until_it_goes_on(raw_server: StartRaw) -> None:
    go_on = asyncio.Event()
    server = await raw_server([StopReading(), Send(b"!"), WaitFor(go_on), ResumeReading(), Hold()], receive_buffer=8192)
    reader, writer = await asyncio.open_connection(server.host, server.port)
    await reader.readexactly(1)
    writer.write(bytes(8 << 20))
    drained = asyncio.create_task(writer.drain())
    done, _ = await asyncio.wait({drained}, timeout=0.05)
    assert not done
    go_on.set()
    await drained
    writer.close()
    await writer.wait_closed()


async def test_a_peer_that_leaves_early_is_noted(raw_server: StartRaw) -> None:
    server = await raw_server([Request(), Send(OK)])
    _, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"GET / HT")
    writer.close()
    await writer.wait_closed()
    while not server.broken:
        await asyncio.sleep(0)
    assert isinstance(server.broken[0], asyncio.IncompleteReadError)


async def test_open_connections_are_ended_with_the_server() -> None:
    async with RawServer([Hold()]) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        while not server.open:
            await asyncio.sleep(0)
    assert server.open == 0
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_connection_that_nobody_accepted_yet_does_not_hold_up_the_close() -> None:
    async with RawServer([Hold()]) as server:
        waiting = socket.create_connection((server.host, server.port))  # the loop does not turn in between
    with waiting:
        waiting.settimeout(5)
        with contextlib.suppress(ConnectionError):
            assert waiting.recv(1) == b""


async def test_after_stop_listening_connections_are_refused(raw_server: StartRaw) -> None:
    server = await raw_server(OK)
    server.stop_listening()
    await asyncio.sleep(0.01)
    with pytest.raises(ConnectionRefusedError):
        await ask(server, GET)


async def test_unix_sockets_and_ipv6(raw_server: StartRaw) -> None:
    local = await raw_server(OK, uds=True)
    assert await ask(local, GET) == OK
    assert Path(local.path).is_socket()
    await local.close()
    assert not Path(local.path).exists()
    six = await raw_server(OK, host="::1")
    assert await ask(six, GET) == OK
    assert six.url == f"http://[::1]:{six.port}"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("expired_ctx", "expired"), ("wrong_host_ctx", "not valid for 'localhost'"), ("untrusted_ctx", "unable to get")],
)
async def test_bad_certificates_are_bad_in_their_own_way(
    raw_server: StartRaw, request: pytest.FixtureRequest, client_ctx: ssl.SSLContext, name: str, complaint: str
) -> None:
    server = await raw_server(OK, tls=request.getfixturevalue(name))
    with pytest.raises(ssl.SSLCertVerificationError, match=complaint):
        await ask(server, GET, client_ctx)


def test_the_authority_is_in_its_file(ca_file: Path, client_ctx: ssl.SSLContext) -> None:
    context = ssl.create_default_context(cafile=ca_file)
    assert context.get_ca_certs(True)[0] in client_ctx.get_ca_certs(True)


# --- the ordinary server ----------------------------------------------------------------------------------------------


def converse(connection: http.client.HTTPConnection, *requests: tuple[Any, ...]) -> list[Any]:
    """Requests on one connection, one after the other: (status, reason, headers, body) of each."""
    answers = []
    try:
        for method, target, *rest in requests:
            connection.request(method, target, *rest)
            response = connection.getresponse()
            answers.append((response.status, response.reason, response.headers, response.read()))
    finally:
        connection.close()
    return answers


async def test_the_ordinary_server_answers_what_it_says(http_server: OriginServer) -> None:
    http_server.routes["/mine"] = lambda request: Reply(request.method.encode(), status=201, fields=[("X", "1")])
    connection = http.client.HTTPConnection("127.0.0.1", http_server.port)
    requests = [
        ("GET", "/"),
        ("HEAD", "/bytes/70000"),
        ("GET", "/bytes/70000"),
        ("GET", "/chunked/2500"),
        ("POST", "/echo", b"said", {"Content-Type": "text/x"}),
        ("PUT", "/echo", iter([b"in ", b"chunks"])),
        ("DELETE", "/request?a=b", None, {"X-Y": "z"}),
        ("GET", "/status/418"),
        ("GET", "/redirect/308?http://elsewhere/?x"),
        ("GET", "/gzip"),
        ("GET", "/mine"),
        ("GET", "/nowhere"),
        ("GET", "/status/204"),
        ("GET", "/until-close/10"),
    ]
    got = await asyncio.to_thread(converse, connection, *requests)
    assert http_server.connections == 1
    assert [status for status, *_ in got] == [200, 200, 200, 200, 200, 200, 200, 418, 308, 200, 201, 404, 204, 200]
    bodies = [body for *_, body in got]
    assert bodies[:6] == [b"hello", b"", pattern(70000), pattern(2500), b"said", b"in chunks"]
    assert got[1][2]["Content-Length"] == "70000"
    assert got[3][2]["Transfer-Encoding"] == "chunked"
    assert got[4][2]["Content-Type"] == "text/x"
    asked = json.loads(bodies[6])
    assert (asked["method"], asked["target"]) == ("DELETE", "/request?a=b")
    assert ["X-Y", "z"] in asked["fields"]
    assert got[8][2]["Location"] == "http://elsewhere/?x"
    assert json.loads(gzip.decompress(bodies[9])) == DOCUMENT
    assert (bodies[10], got[10][2]["X"]) == (b"GET", "1")
    assert bodies[-1] == pattern(10)


async def test_it_ends_where_either_side_asks_to(http_server: OriginServer) -> None:
    answer = await ask(http_server, GET)
    assert answer.endswith(b"\r\n\r\nhello")
    assert b"Connection: close\r\n" in await ask(http_server, b"GET /close HTTP/1.1\r\n\r\n")


async def test_trailers_and_continue(http_server: OriginServer) -> None:
    http_server.routes["/trailers"] = Reply(b"abc", chunked=2, trailers=[("T", "v")])
    ended = await ask(http_server, b"GET /trailers HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert ended.endswith(b"\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nT: v\r\n\r\n")
    reader, writer = await asyncio.open_connection(http_server.host, http_server.port)
    writer.write(b"PUT /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ok")
    assert (await reader.read()).endswith(b"\r\n\r\nok")
    writer.close()
    await writer.wait_closed()


async def test_the_ordinary_server_speaks_tls(https_server: OriginServer, client_ctx: ssl.SSLContext) -> None:
    connection = http.client.HTTPSConnection("localhost", https_server.port, context=client_ctx)
    [(status, _, _, body)] = await asyncio.to_thread(converse, connection, ("GET", "/"))
    assert (status, body) == (200, b"hello")
    assert https_server.url.startswith("https://127.0.0.1:")


# --- the scripted proxy -----------------------------------------------------------------------------------------------


def through(proxy: Any, server: OriginServer, client_ctx: ssl.SSLContext, headers: dict[str, str]) -> Any:
    connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=client_ctx)
    connection.set_tunnel("localhost", server.port, headers)
    return converse(connection, ("GET", "/bytes/100000"))


def basic(user: str, password: str) -> dict[str, str]:
    return {"Proxy-Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def test_the_proxy_tunnels(
    connect_proxy: ConnectProxy, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    [(_, _, _, body)] = await asyncio.to_thread(through, connect_proxy, https_server, client_ctx, {})
    assert body == pattern(100000)
    assert connect_proxy.tunnels == [f"localhost:{https_server.port}"]
    assert connect_proxy.requests[0].method == "CONNECT"
    connect_proxy.hosts["elsewhere.example:443"] = ("127.0.0.1", https_server.port)
    reader, writer = await asyncio.open_connection(connect_proxy.host, connect_proxy.port)
    writer.write(b"CONNECT elsewhere.example:443 HTTP/1.1\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


async def test_the_proxy_wants_credentials_when_told(
    connect_proxy: ConnectProxy, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    connect_proxy.credentials = ("ada", "x")
    for headers in ({}, basic("ada", "y")):
        with pytest.raises(OSError, match="407"):
            await asyncio.to_thread(through, connect_proxy, https_server, client_ctx, headers)
    assert connect_proxy.tunnels == []
    [(status, *_)] = await asyncio.to_thread(through, connect_proxy, https_server, client_ctx, basic("ada", "x"))
    assert status == 200


async def test_a_tunnel_that_is_reset_by_either_end_is_no_failure_of_the_proxy(
    connect_proxy: ConnectProxy, raw_server: StartRaw
) -> None:
    server = await raw_server([Send(b"!"), Hold()], [Send(b"!"), Reset()])
    for _ in range(2):
        reader, writer = await asyncio.open_connection(connect_proxy.host, connect_proxy.port)
        writer.write(f"CONNECT {server.authority} HTTP/1.1\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readexactly(1)
        descriptor = writer.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(descriptor)) as borrowed:
            borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await server.wait_idle()
        await connect_proxy.wait_idle()
    assert connect_proxy.failures == []


async def test_the_proxy_refuses_as_it_is_told(connect_proxy: ConnectProxy) -> None:
    connect = b"CONNECT localhost:1 HTTP/1.1\r\n\r\n"
    assert (await ask(connect_proxy, connect)).startswith(b"HTTP/1.1 502 ")
    connect_proxy.answer = b"HTTP/1.1 403 No\r\n\r\nbecause"
    assert await ask(connect_proxy, connect) == connect_proxy.answer
    connect_proxy.answer = b""
    assert await ask(connect_proxy, connect) == b""


async def test_the_proxy_forwards(connect_proxy: ConnectProxy, http_server: OriginServer) -> None:
    url = f"{http_server.url}/echo?q"
    request = f"POST {url} HTTP/1.1\r\nHost: h\r\nProxy-Authorization: x\r\nContent-Length: 2\r\n\r\nok"
    assert (await ask(connect_proxy, request.encode())).endswith(b"\r\n\r\nok")
    assert connect_proxy.forwarded == [url]
    assert http_server.requests[0].target == "/echo?q"
    assert http_server.requests[0].get("Proxy-Authorization") is None


# --- real programs ----------------------------------------------------------------------------------------------------


def test_a_missing_program_skips_and_in_ci_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        program.require("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        program.require("no-such-program")


def test_a_program_is_ended_with_its_block_and_its_children_with_it() -> None:
    port = 0

    def configure(directory: Path) -> list[str]:
        nonlocal port
        port = program.free_port()
        listen = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
        return [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {listen!r}])"]

    with program.Program("nested", configure, lambda: program.listens(port)) as child:
        directory = child.directory
        assert program.listens(port)
    for _ in range(500):  # the grandchild was sent its signal, and dies when the system gets to it
        if not program.listens(port):
            break
        time.sleep(0.01)
    assert not program.listens(port)
    assert not directory.exists()


def test_a_program_that_does_not_start_says_why() -> None:
    command = [sys.executable, "-c", "print('no such option'); raise SystemExit(1)"]
    with (
        pytest.raises(RuntimeError, match=r"broken does not start:\nno such option"),
        program.Program("broken", lambda _: command, lambda: False, attempts=1),
    ):
        pass


@pytest.mark.interop
def test_nginx_serves_what_it_says(nginx: Any, client_ctx: ssl.SSLContext) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", nginx.http_port)
    requests = [
        ("GET", "/1k"),
        ("GET", "/chunked"),
        ("GET", "/gzip", None, {"Accept-Encoding": "gzip"}),
        ("GET", "/json"),
        ("GET", "/echo-status/418"),
        ("GET", "/echo-status/204"),
        ("GET", "/redirect/307"),
        ("GET", "/redirect/absolute"),
        ("GET", "/redirect/loop"),
        ("GET", "/target?a=%2e"),
        ("PUT", "/upload", bytes(3000000)),
        ("POST", "/upload", iter([bytes(1000)] * 100)),
        ("HEAD", "/big"),
        ("GET", "/connection"),
        ("GET", "/close"),
    ]
    got = converse(connection, *requests)
    small, chunked, packed, document, teapot, empty, moved, absolute, loop, target, put, post, big, reused, close = got
    assert small[3] == pattern(1024)
    assert (chunked[2]["Transfer-Encoding"], len(chunked[3])) == ("chunked", 65536)
    assert gzip.decompress(packed[3]) == document[3]
    assert 110_000 < len(document[3]) < 130_000
    assert (teapot[0], empty[0], moved[0], moved[2]["Location"]) == (418, 204, 307, "/1k")
    assert absolute[2]["Location"] == f"{nginx.http}/1k"
    assert loop[2]["Location"] == "/redirect/loop"
    assert (target[3], put[3], post[3]) == (b"/target?a=%2e", b"3000000", b"100000")
    assert big[2]["Content-Length"] == str(nginx.big)
    assert reused[3].split()[1] == b"14"  # the fourteenth on its connection
    assert close[2]["Connection"] == "close"
    connection = http.client.HTTPConnection("127.0.0.1", nginx.http_port)
    [(status, *_)] = converse(connection, ("POST", "/413", bytes(2000)))
    assert status == 413
    secure = http.client.HTTPSConnection("localhost", nginx.https_port, context=client_ctx)
    [(_, _, _, body)] = converse(secure, ("GET", "/1k"))
    assert body == pattern(1024)
    with socket.socket(socket.AF_UNIX) as local:
        local.connect(nginx.uds)
        local.sendall(b"GET /1k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with local.makefile("rb") as file:
            assert file.read().endswith(pattern(1024))


@pytest.mark.interop
@pytest.mark.parametrize("name", ["squid", "proxypy"])
def test_the_real_proxies_forward_and_tunnel(
    request: pytest.FixtureRequest, nginx: Any, client_ctx: ssl.SSLContext, name: str
) -> None:
    proxy = request.getfixturevalue(name)
    connection = http.client.HTTPConnection(proxy.host, proxy.port)
    [(status, _, _, body)] = converse(connection, ("GET", f"{nginx.http}/1k"))
    assert (status, body) == (200, pattern(1024))
    tunnelled = http.client.HTTPSConnection(proxy.host, proxy.port, context=client_ctx)
    tunnelled.set_tunnel("localhost", nginx.https_port)
    [(status, _, _, body)] = converse(tunnelled, ("GET", "/1k"))
    assert (status, body) == (200, pattern(1024))


@pytest.mark.interop
@pytest.mark.parametrize("name", ["squid_auth", "proxypy_auth"])
def test_the_real_proxies_want_credentials(
    request: pytest.FixtureRequest, nginx: Any, client_ctx: ssl.SSLContext, name: str
) -> None:
    proxy = request.getfixturevalue(name)
    assert proxy.url == f"http://{proxy.user}:{proxy.password}@127.0.0.1:{proxy.port}"
    for headers, granted in (
        ({}, False),
        (basic(proxy.user, "wrong"), False),
        (basic(proxy.user, proxy.password), True),
    ):
        tunnelled = http.client.HTTPSConnection(proxy.host, proxy.port, context=client_ctx)
        tunnelled.set_tunnel("localhost", nginx.https_port, headers)
        if granted:
            [(status, *_)] = converse(tunnelled, ("GET", "/1k"))
            assert status == 200
        else:
            with pytest.raises(OSError, match="407"):
                converse(tunnelled, ("GET", "/1k"))
