"""TLS over a stream, and over TLS: handshakes good and bad, how sessions end, what is shared."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from aiohttpconn import TLSError
from aiohttpconn.net import tls_transport as tls_module
from aiohttpconn.net.dial import open_stream, open_tunnel
from aiohttpconn.net.tls import TLS_VARIABLES, ssl_context
from tests.auditing import settle
from tests.net.streaming import connected, drain_by, layered, until
from tests.servers.certificates import ELSEWHERE, server_context
from tests.servers.proxy import ConnectProxy
from tests.servers.raw import Close, Hold, Reset, Send, Truncate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from aiohttpconn.net.stream import Stream
    from tests.servers.raw import Connection, RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

MIB = 1 << 20


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
    """Send back whatever comes."""
    while some := await reader.read(65536):
        writer.write(some)
        await writer.drain()


@contextlib.asynccontextmanager
async def secured(server: RawServer, context: ssl.SSLContext, name: str = "localhost") -> AsyncIterator[Stream]:
    """A stream with TLS on top."""
    async with connected(server) as stream:
        await stream.start_tls(context, name)
        yield stream


async def handshake_error(server: RawServer, context: ssl.SSLContext, name: str | None = "localhost") -> TLSError:
    """What the handshake raises; that nothing stays open."""
    async with connected(server) as stream:
        with pytest.raises(TLSError) as caught:
            await stream.start_tls(context, name)
        await until(lambda: stream.lost)
        assert stream.tls is None
        assert stream.reader.at_eof()
        await stream.writer.wait_closed()
    return caught.value


# --- sessions that work -----------------------------------------------------------------------------------------------

LAYERS = pytest.mark.parametrize("layers", ["TLS", "TLS in TLS"])


@LAYERS
async def test_bytes_go_both_ways(
    layers: str, raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    data = bytes(range(256)) * 8192
    async with layered(layers, echo, raw_server, server_ctx, client_ctx) as stream:
        for size in (1, 100, 16_384, 16_385, len(data)):

            async def send(size: int = size) -> None:
                for at in range(0, size, 100_000):
                    stream.writer.write(data[at : min(at + 100_000, size)])
                    await stream.writer.drain()

            sending = asyncio.create_task(send())
            assert await stream.reader.readexactly(size) == data[:size]
            await sending


@LAYERS
async def test_sessions_side_by_side_do_not_mix(
    layers: str, raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    """They share a receive buffer: what is in it is one session's at a time."""
    bodies = [bytes([n]) * (MIB // 2) for n in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(layered(layers, [Send(body), Hold()], raw_server, server_ctx, client_ctx))
            for body in bodies
        ]
        assert await asyncio.gather(*(stream.reader.readexactly(MIB // 2) for stream in streams)) == bodies


async def test_reader_and_writer_stay_the_same_objects(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    async with connected(await raw_server(echo, tls=server_ctx)) as stream:
        reader, writer = stream.reader, stream.writer
        below = stream.transport
        await writer.start_tls(client_ctx, server_hostname="localhost", ssl_handshake_timeout=10)
        assert stream.reader is reader
        assert stream.writer is writer
        assert writer.transport is stream.transport is stream.tls
        assert stream.transport is not below
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"


async def test_what_the_session_tells(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    async with secured(await raw_server(echo, tls=server_ctx), client_ctx) as stream:
        info = stream.writer.get_extra_info
        assert info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
        assert info("sslcontext") is client_ctx
        assert ("DNS", "localhost") in info("peercert")["subjectAltName"]
        assert len(info("cipher")) == 3
        assert info("compression") is None
        assert info("peername")[0] == "127.0.0.1"
        assert info("nonsense", "default") == "default"
        assert not stream.transport.can_write_eof()
        assert stream.transport.is_reading()
        assert stream.transport.get_protocol() is stream


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_each_version(
    raw_server: StartServer, ca: trustme.CA, client_ctx: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    context = server_context(ca)
    context.minimum_version = context.maximum_version = version
    async with secured(await raw_server(echo, tls=context), client_ctx) as stream:
        stream.writer.writelines([b"pi", b"", bytearray(b"n"), memoryview(b"g")])
        assert await stream.reader.readexactly(4) == b"ping"


async def test_alpn_http_1_1_is_offered(raw_server: StartServer, server_ctx: ssl.SSLContext, ca_file: Path) -> None:
    async with secured(await raw_server(echo, tls=server_ctx), ssl_context(ca_file)) as stream:
        assert stream.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    ("asked", "sent"),
    [("localhost", "localhost"), ("localhost.", "localhost"), ("127.0.0.1", None), ("::1", None)],
)
async def test_server_name_indication(
    raw_server: StartServer, ca: trustme.CA, client_ctx: ssl.SSLContext, asked: str, sent: str | None
) -> None:
    """RFC 6066 section 3: no trailing dot, and no IP addresses. The certificate is verified all the same."""
    names: list[str | None] = []
    context = server_context(ca)
    context.sni_callback = lambda session, name, _: names.append(name)  # type: ignore[assignment]
    async with secured(await raw_server(echo, tls=context), client_ctx, asked) as stream:
        assert stream.tls is not None
    assert names == [sent]


async def test_bytes_right_after_the_handshake_are_not_lost(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    for _ in range(10):
        async with secured(await raw_server([Send(b"hello"), Close()], tls=server_ctx), client_ctx) as stream:
            assert await stream.reader.read() == b"hello"


async def test_finished_and_what_is_sent_first_go_in_one_piece(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    """Inside TLS, whose records show what was written at once."""
    came_with_finished: list[bytes] = []

    async def by_hand(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        (outer_in, outer_out), (inner_in, inner_out) = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
        outer = server_ctx.wrap_bio(outer_in, outer_out, server_side=True)
        inner = server_ctx.wrap_bio(inner_in, inner_out, server_side=True)

        async def patiently(step: Callable[[], Any]) -> Any:
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    return step()
                writer.write(outer_out.read())
                outer_in.write(await reader.read(65536))

        await patiently(outer.do_handshake)
        inner_in.write(await patiently(lambda: outer.read(65536)))
        with contextlib.suppress(ssl.SSLWantReadError):
            inner.do_handshake()
        outer.write(inner_out.read())
        inner_in.write(await patiently(lambda: outer.read(65536)))
        inner.do_handshake()
        try:
            came_with_finished.append(inner.read(100))
        except ssl.SSLWantReadError:
            came_with_finished.append(b"")
        inner.write(b"pong")
        outer.write(inner_out.read())
        writer.write(outer_out.read())

    async with secured(await raw_server(by_hand), client_ctx) as stream:
        await stream.start_tls(client_ctx, "localhost")
        stream.writer.write(b"ping")
        assert await stream.reader.readexactly(4) == b"pong"
    assert came_with_finished == [b"ping"]


async def test_handshake_is_over_for_the_server_before_anything_is_sent(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    async with secured(await raw_server([Send(b"hello"), Hold()], tls=server_ctx), client_ctx) as stream:
        assert await stream.reader.readexactly(5) == b"hello"


async def test_without_verification(raw_server: StartServer, untrusted_ctx: ssl.SSLContext) -> None:
    async with secured(await raw_server(echo, tls=untrusted_ctx), ssl_context(False), "wrong.example") as stream:
        stream.writer.write(b"ping")
        assert await stream.reader.readexactly(4) == b"ping"


# --- certificates that are refused ------------------------------------------------------------------------------------


async def test_wrong_host(raw_server: StartServer, wrong_host_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext) -> None:
    error = await handshake_error(await raw_server(echo, tls=wrong_host_ctx), client_ctx)
    assert "localhost" in str(error)
    assert "mismatch" in str(error)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_wrong_host_is_right_under_its_own_name(
    raw_server: StartServer, wrong_host_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    async with secured(await raw_server(echo, tls=wrong_host_ctx), client_ctx, ELSEWHERE):
        pass


async def test_expired(raw_server: StartServer, expired_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext) -> None:
    error = await handshake_error(await raw_server(echo, tls=expired_ctx), client_ctx)
    assert "localhost" in str(error)
    assert "expired" in str(error)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_unknown_authority(
    raw_server: StartServer, untrusted_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    error = await handshake_error(await raw_server(echo, tls=untrusted_ctx), client_ctx)
    assert "localhost" in str(error)
    assert "issuer" in str(error)
    assert "verify=" in str(error)


@pytest.fixture(scope="session")
def self_signed_ctx(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's context whose certificate signed itself: an authority's own."""
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("self-signed") / "both.pem"
    path.write_bytes(authority.cert_pem.bytes() + authority.private_key_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_self_signed(
    raw_server: StartServer, self_signed_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    error = await handshake_error(await raw_server(echo, tls=self_signed_ctx), client_ctx)
    assert "localhost" in str(error)
    assert "self-signed" in str(error)


async def test_system_s_authorities_are_asked_by_default(raw_server: StartServer, server_ctx: ssl.SSLContext) -> None:
    error = await handshake_error(await raw_server(echo, tls=server_ctx), ssl_context())
    assert "issuer" in str(error)
    assert ssl_context().verify_mode is ssl.CERT_REQUIRED
    assert ssl_context().check_hostname


async def test_peer_is_told_why(
    raw_server: StartServer, untrusted_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    """By an alert (RFC 8446 section 6.2), so that the server's log says unknown CA and not just connection lost."""
    told: list[BaseException | None] = []
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def accept() -> None:
        sock, _ = await loop.sock_accept(listener)
        with sock:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            session = untrusted_ctx.wrap_bio(incoming, outgoing, server_side=True)
            while not told:
                try:
                    session.do_handshake()
                    session.read()
                    told.append(None)
                except ssl.SSLWantReadError:
                    if outgoing.pending:
                        await loop.sock_sendall(sock, outgoing.read())
                    try:
                        data = await loop.sock_recv(sock, 65536)
                    except ConnectionError as error:
                        told.append(error)
                        return
                    if not data:
                        told.append(EOFError())
                    incoming.write(data)
                except ssl.SSLError as error:
                    told.append(error)

    with listener:
        serving = asyncio.create_task(accept())
        stream = await open_stream(*listener.getsockname())
        with pytest.raises(TLSError):
            await stream.start_tls(client_ctx, "localhost")
        stream.abort()
        await serving
    assert len(told) == 1
    assert "UNKNOWN_CA" in str(told[0]), told


# --- handshakes that fail ---------------------------------------------------------------------------------------------


async def test_plain_http_on_the_port(raw_server: StartServer, client_ctx: ssl.SSLContext) -> None:
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        await reader.read(65536)
        writer.write(answer)

    error = await handshake_error(await raw_server(plain), client_ctx)
    assert "localhost" in str(error)
    assert "does not speak TLS" in str(error)
    assert isinstance(error.__cause__, ssl.SSLError)


@pytest.mark.parametrize("how", [Close, Reset], ids=["closes", "resets"])
@pytest.mark.parametrize("after", [0, 1], ids=["before any byte", "after the client's hello"])
async def test_server_ends_in_mid_handshake(
    raw_server: StartServer, client_ctx: ssl.SSLContext, how: type[Close] | type[Reset], after: int
) -> None:
    async def leave(reader: asyncio.StreamReader, writer: object, conn: Connection) -> None:
        if after:
            await reader.read(65536)
        await how().play(conn)

    error = await handshake_error(await raw_server(leave), client_ctx)
    assert "localhost" in str(error)
    assert "handshake" in str(error)


async def test_connection_already_gone_before_the_handshake(
    raw_server: StartServer, client_ctx: ssl.SSLContext
) -> None:
    async with connected(await raw_server([Reset()])) as stream:
        await until(lambda: stream.lost)
        with pytest.raises(TLSError, match="localhost"):
            await stream.start_tls(client_ctx, "localhost")


def serve(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    """A server that tells its clients by alerts what is wrong, as asyncio's does not."""

    def play(conn: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(conn, server_side=True) as session:
            session.recv(1)

    return play


async def test_no_version_in_common(peer: Any, ca: trustme.CA, ca_file: Path) -> None:
    context = server_context(ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    modern = ssl.create_default_context(cafile=str(ca_file))
    modern.minimum_version = ssl.TLSVersion.TLSv1_3
    port, _ = peer(serve(context))
    stream = await open_stream("127.0.0.1", port)
    with pytest.raises(TLSError, match=r"localhost.*PROTOCOL_VERSION"):
        await stream.start_tls(modern, "localhost")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_client_certificate_wanted_and_missing(
    peer: Any, ca: trustme.CA, client_ctx: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    """In TLS 1.2 the handshake fails; in 1.3 (RFC 8446 section 4.4.2.4) the first read does."""
    context = server_context(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    context.maximum_version = version
    port, _ = peer(serve(context))
    stream = await open_stream("127.0.0.1", port)
    try:
        if version is ssl.TLSVersion.TLSv1_2:
            with pytest.raises(TLSError, match="localhost"):
                await stream.start_tls(client_ctx, "localhost")
        else:
            await stream.start_tls(client_ctx, "localhost")
            with pytest.raises(TLSError, match=r"certificate required.*pass cert="):
                await stream.reader.read(10)
            assert isinstance(stream.loss, TLSError)
            assert isinstance(stream.loss.__cause__, ssl.SSLError)
    finally:
        stream.abort()


@pytest.mark.parametrize("name", ["a" * 300, "bad\0name", ".example"], ids=ascii)
async def test_name_that_cannot_be_verified(raw_server: StartServer, name: str, client_ctx: ssl.SSLContext) -> None:
    async with connected(await raw_server([Hold()])) as stream:
        with pytest.raises(TLSError, match="TLS cannot be set up"):
            await stream.start_tls(client_ctx, name)


@pytest.mark.parametrize("name", [None, "", "."], ids=repr)
async def test_no_name_is_not_any_name(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext, name: str | None
) -> None:
    """OpenSSL verifies no name where none is given, even if the context is to check it."""
    async with connected(await raw_server(echo, tls=server_ctx)) as stream:
        with pytest.raises(TLSError, match="name"):
            await stream.start_tls(client_ctx, name)
    async with connected(await raw_server(echo, tls=server_ctx)) as stream:
        await stream.start_tls(ssl_context(False), name)  # where nothing is verified, none is needed
        stream.writer.write(b"ping")
        assert await stream.reader.readexactly(4) == b"ping"


async def test_handshake_timeout_of_the_writer(raw_server: StartServer, client_ctx: ssl.SSLContext) -> None:
    server = await raw_server([Hold()])
    async with connected(server) as stream:
        with pytest.raises(TimeoutError):
            await stream.writer.start_tls(client_ctx, server_hostname="localhost", ssl_handshake_timeout=0.05)
        await until(lambda: stream.lost)
    await server.wait_idle()


@LAYERS
async def test_cancelled_handshake_leaves_nothing(
    layers: str, raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    silent = await raw_server([Hold()])
    async with ConnectProxy(tls=server_ctx) as proxy:
        stream = await open_stream("127.0.0.1", silent.port if layers == "TLS" else proxy.port)
        if layers == "TLS in TLS":
            await stream.start_tls(client_ctx, "localhost")
            await open_tunnel(stream, silent.authority)
        task = asyncio.create_task(stream.start_tls(client_ctx, "localhost"))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: stream.lost)
        await stream.writer.wait_closed()
        await silent.wait_idle()


async def test_bytes_in_the_clear_before_tls_are_refused(raw_server: StartServer, client_ctx: ssl.SSLContext) -> None:
    """Who sent them is not the peer of the session (the STARTTLS injection)."""
    async with connected(await raw_server([Send(b"injected"), Hold()])) as stream:
        await until(lambda: stream.reader.buffered)
        with pytest.raises(ConnectionError, match="in the clear"):
            await stream.start_tls(client_ctx, "localhost")


# --- how sessions end -------------------------------------------------------------------------------------------------


@LAYERS
async def test_ended_by_close_notify(
    layers: str, raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    async with layered(layers, [Send(b"all of it"), Close()], raw_server, server_ctx, client_ctx) as stream:
        assert await stream.reader.read() == b"all of it"
        assert not stream.truncated


async def test_ended_without_close_notify(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    server = await raw_server([Send(b"part of it"), Truncate(), Hold()], tls=server_ctx)
    async with secured(server, client_ctx) as stream:
        assert await stream.reader.read() == b"part of it"
        assert stream.truncated


async def test_tunnel_that_ends_truncates_the_session_inside(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    """The proxy's own close_notify is not the server's."""
    server = await raw_server([Send(b"part of it"), Truncate(), Hold()], tls=server_ctx)
    async with ConnectProxy(tls=server_ctx) as proxy:
        stream = await open_stream("127.0.0.1", proxy.port)
        try:
            await stream.start_tls(client_ctx, "localhost")
            await open_tunnel(stream, server.authority)
            await stream.start_tls(client_ctx, "localhost")
            assert await stream.reader.read() == b"part of it"
            assert stream.truncated
        finally:
            stream.abort()


async def test_reset_in_mid_session(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    go = asyncio.Event()

    async def part(reader: object, writer: asyncio.StreamWriter, conn: Connection) -> None:
        writer.write(b"part of it")
        await writer.drain()
        await go.wait()
        conn.reset()

    async with secured(await raw_server(part, tls=server_ctx), client_ctx) as stream:
        assert await stream.reader.readexactly(10) == b"part of it"
        go.set()
        got, error = await drain_by(lambda: stream.reader.read(100))
        assert got == b""
        assert isinstance(error, ConnectionResetError)


async def test_our_close_says_close_notify(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    ends: list[bytes | BaseException] = []

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        writer.write(b"x")
        session = writer.get_extra_info("ssl_object")
        ends.append(await reader.read())
        with contextlib.suppress(ssl.SSLWantReadError):
            session.unwrap()
        ends.append(b"unwrapped")

    server = await raw_server(watch, tls=server_ctx)
    async with secured(server, client_ctx) as stream:
        await stream.reader.readexactly(1)
        stream.writer.write(b"last words")
        await until(lambda: not stream.transport.get_write_buffer_size())
        stream.close()
        await until(lambda: stream.lost)
        assert stream.loss is None
    await server.wait_idle()
    assert ends[0] == b"last words"


async def test_writing_after_the_end_is_dropped(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    async with secured(await raw_server(echo, tls=server_ctx), client_ctx) as stream:
        stream.abort()
        await until(lambda: stream.lost)
        stream.writer.write(b"x")
        stream.writer.writelines([b"y"])
        with pytest.raises(ConnectionError):
            await stream.writer.drain()
        stream.close()
        await stream.writer.wait_closed()


# --- an attacker on the path ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "injected", [b"\x17\x03\x03\x00\x20", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["record", "plain text"]
)
async def test_bytes_beside_the_session_never_reach_the_reader(
    peer: Any,
    server_ctx: ssl.SSLContext,
    client_ctx: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    injected: bytes,
) -> None:
    """After a record that does not verify, what is still in the socket is the attacker's, not an answer to salvage."""
    monkeypatch.setattr(tls_module, "_BUFFER", 1024)  # so that the session breaks while most of it is in the socket
    monkeypatch.setattr(tls_module, "_buffers", type(tls_module._buffers)())
    attack = injected + b"INJECTED" * 2000

    def play(conn: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = server_ctx.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                conn.sendall(outgoing.read())
                incoming.write(conn.recv(65536))
        session.write(b"genuine")
        conn.sendall(outgoing.read())
        conn.recv(1)  # something the client says when it is ready
        conn.sendall(attack)

    port, done = peer(play)
    stream = await open_stream("127.0.0.1", port)
    try:
        await stream.start_tls(client_ctx, "localhost")
        assert await stream.reader.readexactly(7) == b"genuine"
        stream.writer.write(b"x")
        await settle()
        assert done.wait(10)
        got, error = await drain_by(lambda: stream.reader.read(MIB))
        assert got == b""
        assert isinstance(error, ssl.SSLError)
    finally:
        stream.abort()


async def test_tampered_record_breaks_the_session_after_what_was_genuine(
    raw_server: StartServer, server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext
) -> None:
    async def tamper(reader: object, writer: asyncio.StreamWriter, conn: Connection) -> None:
        await conn.send(b"genuine")
        await asyncio.sleep(0.01)
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as raw:
            raw.send(b"\x17\x03\x03\x00\x40" + b"A" * 64)
        await asyncio.Event().wait()

    async with secured(await raw_server(tamper, tls=server_ctx), client_ctx) as stream:
        got, error = await drain_by(lambda: stream.reader.read(100))
        assert got == b"genuine"
        assert isinstance(error, ssl.SSLError)
        assert stream.truncated
        assert stream.lost


# --- contexts ---------------------------------------------------------------------------------------------------------


def test_contexts_are_built_once_per_configuration(ca_file: Path) -> None:
    assert ssl_context() is ssl_context(True)
    assert ssl_context(False) is ssl_context(False)
    assert ssl_context(ca_file) is ssl_context(str(ca_file)) is ssl_context(ca_file)
    assert len({ssl_context(True), ssl_context(False), ssl_context(ca_file)}) == 3


@pytest.mark.parametrize("trust_env", [True, False])
def test_contexts_are_as_strict_as_python_s_own(
    ca_file: Path, trust_env: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in TLS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    ours, python_s = ssl_context(ca_file, trust_env), ssl.create_default_context(cafile=str(ca_file))
    for name in ("options", "verify_flags", "verify_mode", "check_hostname", "minimum_version", "maximum_version"):
        assert getattr(ours, name) == getattr(python_s, name), name
    assert ours.security_level == python_s.security_level
    assert ours.get_ciphers() == python_s.get_ciphers()
    assert ours.get_ca_certs() == python_s.get_ca_certs()
    assert ours.cert_store_stats() == python_s.cert_store_stats()
    assert ssl_context(True, trust_env).cert_store_stats() == ssl.create_default_context().cert_store_stats()


@pytest.mark.parametrize("way", ["verify", "SSL_CERT_FILE"])
def test_authorities_that_were_replaced_are_read_anew(
    way: str, ca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ca.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    def authorities() -> list[Any]:
        context = ssl_context(path if way == "verify" else True)
        assert context is ssl_context(path if way == "verify" else True)
        return [of["subject"] for of in context.get_ca_certs()]

    path.write_bytes(ca_file.read_bytes())
    before = authorities()
    other = tmp_path / "other.pem"
    other.write_bytes(trustme.CA(organization_name="another").cert_pem.bytes())
    other.replace(path)
    after = authorities()
    assert "another" in str(after)
    assert "another" not in str(before)


def test_a_folder_of_authorities_that_changed_is_looked_at_anew(tmp_path: Path) -> None:
    (tmp_path / "12345678.0").write_bytes(b"")
    before = ssl_context(tmp_path)
    (tmp_path / "12345678.1").write_bytes(b"")
    os.utime(tmp_path, ns=(1, 1))
    assert ssl_context(tmp_path) is not before


def test_context_of_one_s_own_is_used_as_it_is(client_ctx: ssl.SSLContext) -> None:
    assert ssl_context(client_ctx) is client_ctx


def test_context_without_verification() -> None:
    context = ssl_context(False)
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


def test_authorities_from_a_file_only(ca: trustme.CA, ca_file: Path) -> None:
    context = ssl_context(ca_file)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1


async def test_authorities_from_a_directory(
    raw_server: StartServer, ca: trustme.CA, server_ctx: ssl.SSLContext, tmp_path: Path
) -> None:
    """OpenSSL finds them there by the hash of their names, when it needs them."""
    import subprocess

    (tmp_path / "ca.pem").write_bytes(ca.cert_pem.bytes())
    try:
        subprocess.run(["openssl", "rehash", str(tmp_path)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl program to name the files by their hashes")
    async with secured(await raw_server(echo, tls=server_ctx), ssl_context(tmp_path)) as stream:
        assert stream.tls is not None


@pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=["missing", "empty", "garbage"])
def test_authorities_that_cannot_be_loaded(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TLSError, match=r"ca\.pem"):
        ssl_context(path)


def test_authorities_that_openssl_would_pass_over_in_silence(
    ca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without the links that OpenSSL looks for, a file that holds no certificate: it would trust nobody."""
    folder, garbage = tmp_path / "cas", tmp_path / "garbage"
    folder.mkdir()
    garbage.write_bytes(b"no certificate")
    for _ in range(2):
        with pytest.raises(
            TLSError, match=r"folder '.*cas': it holds none under the hash of its name \(`openssl rehash"
        ):
            ssl_context(folder)
        monkeypatch.setenv("SSL_CERT_DIR", str(folder))
        monkeypatch.setenv("SSL_CERT_FILE", "")
        with pytest.raises(TLSError, match=r"SSL_CERT_DIR names no folder of CA certificates: '.*cas'"):
            ssl_context()
        monkeypatch.delenv("SSL_CERT_DIR")
        (folder / "ca.pem").write_bytes(ca_file.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(garbage))
    with pytest.raises(TLSError, match=r"SSL_CERT_FILE names a file that holds no certificate in PEM: '.*garbage'"):
        ssl_context()
    assert ssl_context(trust_env=False).verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(("verify", "error"), [(None, TypeError), (0, TypeError), ([], TypeError), ("", ValueError)])
def test_what_is_no_way_of_verifying(verify: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^verify "):
        ssl_context(verify)
