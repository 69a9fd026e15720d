"""Sessions that are resumed, and those that must not be; what a response tells of the session it came over."""

from __future__ import annotations

import asyncio
import pickle
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    AsyncHTTPSConnection,
    Client,
    HTTPStatusError,
    Limits,
    TLSError,
    TLSInfo,
    TLSOptions,
    TLSSessions,
)
from aiohttpconn.net.tls import ssl_context
from tests.servers.certificates import server_context, trusting_context
from tests.servers.raw import Hold, Request, Reset, Send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import trustme

    from tests.servers.nginx import Nginx
    from tests.servers.origin import OriginServer
    from tests.servers.proxy import ConnectProxy
    from tests.servers.raw import RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_KEEPING = Limits(max_idle=0)
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)


def limited(ca: trustme.CA, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = trusting_context(ca)
    context.maximum_version = version
    return context


def named(version: ssl.TLSVersion, *marks: str) -> list[str]:
    """What nginx says on ``/tls`` of so many connections."""
    return [f"{version.name.replace('_', '.')} {mark}" for mark in marks]


async def texts(client: Client, url: str, count: int) -> list[str]:
    return [(await client.get(url)).text for _ in range(count)]


# --- resumed ----------------------------------------------------------------------------------------------------------


@pytest.mark.interop
@VERSIONS
async def test_second_connection_to_a_host_resumes(nginx: Nginx, ca: trustme.CA, version: ssl.TLSVersion) -> None:
    async with Client(verify=limited(ca, version), limits=NO_KEEPING) as client:
        assert await texts(client, f"{nginx.https}/tls", 4) == named(version, ".", "r", "r", "r")
        assert client.stats().opened_total == 4


@pytest.mark.interop
async def test_by_session_ids_without_tickets(nginx: Nginx, ca: trustme.CA) -> None:
    context = limited(ca, ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_TICKET
    async with Client(verify=context, limits=NO_KEEPING) as client:
        assert await texts(client, f"{nginx.https}/tls", 3) == named(ssl.TLSVersion.TLSv1_2, ".", "r", "r")


@pytest.mark.interop
@VERSIONS
async def test_connections_beside_the_first_resume_its_session(
    nginx: Nginx, ca: trustme.CA, version: ssl.TLSVersion
) -> None:
    """While it is still open, and several at a time."""
    async with Client(verify=limited(ca, version)) as client:
        await client.get(f"{nginx.https}/tls")
        answers = await asyncio.gather(*[client.get(f"{nginx.https}/tls") for _ in range(6)])
        assert client.stats().opened_total > 3
        assert [answer.text for answer in answers][1:] == named(version, *"rrrrr")
        assert [answer.tls.resumed for answer in answers if answer.tls][1:] == [True] * 5


@pytest.mark.interop
@VERSIONS
async def test_inside_a_tunnel(
    nginx: Nginx, connect_proxy: ConnectProxy, ca: trustme.CA, version: ssl.TLSVersion
) -> None:
    url = f"{nginx.https}/tls"
    async with Client(verify=limited(ca, version), limits=NO_KEEPING, proxy=connect_proxy.url) as client:
        assert await texts(client, url, 3) == named(version, ".", "r", "r")
        # Who sees the direct connection must not learn that it is the same client's.
        assert (await client.get(url, proxy=None)).text == named(version, ".")[0]


@pytest.mark.interop
async def test_connections_that_share_sessions(nginx: Nginx, ca: trustme.CA) -> None:
    context, sessions = trusting_context(ca), TLSSessions()
    found = []
    for _ in range(2):
        async with AsyncHTTPSConnection("localhost", nginx.https_port, context=context, sessions=sessions) as conn:
            await conn.request("GET", "/1k")
            await (await conn.getresponse()).read()
            assert conn.tls is not None
            found.append(conn.tls.resumed)
        assert conn.tls is None
    assert found == [False, True]
    sessions.clear()
    async with AsyncHTTPSConnection("localhost", nginx.https_port, context=context, sessions=sessions) as conn:
        await conn.connect()
        assert conn.tls is not None
        assert not conn.tls.resumed


@pytest.mark.interop
async def test_resumed_session_is_held_to_the_pins(nginx: Nginx, ca: trustme.CA) -> None:
    context, sessions = trusting_context(ca), TLSSessions()
    options = {"context": context, "sessions": sessions}
    async with AsyncHTTPSConnection("localhost", nginx.https_port, **options) as conn:
        await conn.request("GET", "/1k")
        await (await conn.getresponse()).read()
        assert conn.tls is not None
        pin = conn.tls.fingerprint
        assert pin is not None
    async with AsyncHTTPSConnection("localhost", nginx.https_port, assert_fingerprint=pin, **options) as conn:
        await conn.connect()
        assert conn.tls is not None
        assert conn.tls.resumed
    async with AsyncHTTPSConnection("localhost", nginx.https_port, assert_fingerprint="0" * 64, **options) as conn:
        with pytest.raises(TLSError, match="not pinned"):
            await conn.connect()


# --- not resumed ------------------------------------------------------------------------------------------------------


@pytest.mark.interop
async def test_not_if_it_is_not_wanted(nginx: Nginx, ca: trustme.CA) -> None:
    async with Client(verify=trusting_context(ca), limits=NO_KEEPING, tls=TLSOptions(resume=False)) as client:
        assert await texts(client, f"{nginx.https}/tls", 2) == named(ssl.TLSVersion.TLSv1_3, ".", ".")


@pytest.mark.interop
@pytest.mark.parametrize("change", ["context", "verification", "name", "port"])
@VERSIONS
async def test_not_where_anything_differs(
    nginx: Nginx, ca: trustme.CA, version: ssl.TLSVersion, change: str, https_server: OriginServer
) -> None:
    """Nothing is verified when a session is resumed: one that was begun without must not serve who verifies."""
    sessions = TLSSessions()
    context = limited(ca, version)
    if change == "verification":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE

    async def resumed(context: ssl.SSLContext, name: str = "localhost", port: int = nginx.https_port) -> bool:
        conn = AsyncHTTPSConnection("127.0.0.1", port, context=context, server_hostname=name, sessions=sessions)
        async with conn:
            await conn.request("GET", "/")
            await (await conn.getresponse()).read()
            assert conn.tls is not None
            return conn.tls.resumed

    assert not await resumed(context)
    assert await resumed(context)
    if change == "context":
        assert not await resumed(limited(ca, version))
    elif change == "verification":
        context.verify_mode = ssl.CERT_REQUIRED
        assert not await resumed(context)
        context.check_hostname = True
        assert not await resumed(context)
    elif change == "name":
        assert not await resumed(context, "127.0.0.1")
        with pytest.raises(TLSError, match="mismatch"):
            await resumed(context, "elsewhere.example")
    else:
        assert not await resumed(context, port=https_server.port)


async def resumed_over(server: RawServer, context: ssl.SSLContext, sessions: TLSSessions) -> bool:
    """Whether a connection to the server resumed a session. All of them are to the same place, whichever it is."""
    sock = socket.create_connection(("127.0.0.1", server.port))
    async with AsyncHTTPSConnection("localhost", 443, sock=sock, context=context, sessions=sessions) as conn:
        await conn.connect()
        assert conn.tls is not None
        found = conn.tls.resumed
        await conn.request("GET", "/")
        await (await conn.getresponse()).read()
    return found


@VERSIONS
async def test_session_that_is_declined_is_replaced(
    raw_server: StartServer, ca: trustme.CA, version: ssl.TLSVersion
) -> None:
    """As after a restart of the server, which then has another key for its tickets."""
    mine, sessions = limited(ca, version), TLSSessions()
    answers = [Request(), Send(OK), Hold()]
    before = await raw_server(answers, tls=server_context(ca))
    after = await raw_server(answers, tls=server_context(ca))
    found = [await resumed_over(server, mine, sessions) for server in (before, before, after, after, after)]
    assert found == [False, True, False, True, True]


def counting(context: ssl.SSLContext) -> list[object]:
    """What grows by one whenever a session is asked for: each time it is encoded and decoded."""
    asked: list[object] = []

    class Asked(ssl.SSLObject):
        @property
        def session(self) -> ssl.SSLSession | None:
            asked.append(self)
            return super().session

    context.sslobject_class = Asked
    return asked


async def test_server_that_takes_a_session_once_is_offered_the_newest(raw_server: StartServer, ca: trustme.CA) -> None:
    mine, sessions = trusting_context(ca), TLSSessions()
    asked = counting(mine)
    answers = [Request(), Send(OK), Hold()]
    before, after = [await raw_server(answers, tls=server_context(ca)) for _ in range(2)]
    servers = [before] * 2 + [after] * 3
    assert [await resumed_over(server, mine, sessions) for server in servers] == [False, True, False, True, True]
    assert len(asked) == 3


async def test_server_that_was_restarted_is_not_taken_for_one_of_those(raw_server: StartServer, ca: trustme.CA) -> None:
    mine, sessions = trusting_context(ca), TLSSessions()
    asked = counting(mine)
    answers = [Request(), Send(OK), Hold()]
    before, after = [await raw_server(answers, tls=server_context(ca)) for _ in range(2)]
    servers = [before] * 3 + [after] * 4
    found = [await resumed_over(server, mine, sessions) for server in servers]
    assert found == [False, True, True, False, True, True, True]
    assert len(asked) == 2


@VERSIONS
async def test_server_without_sessions_is_seldom_asked(
    raw_server: StartServer, ca: trustme.CA, version: ssl.TLSVersion
) -> None:
    mine, sessions = limited(ca, version), TLSSessions()
    asked = counting(mine)
    theirs = server_context(ca)
    theirs.num_tickets = 0
    theirs.options |= ssl.OP_NO_TICKET
    server = await raw_server([Request(), Send(OK), Hold()], tls=theirs)
    if version is ssl.TLSVersion.TLSv1_2:  # there it has session ids, which another server does not know
        servers = [server, await raw_server([Request(), Send(OK), Hold()], tls=server_context(ca))] * 10
    else:
        servers = [server] * 20
    assert not any([await resumed_over(server, mine, sessions) for server in servers])
    assert len(asked) <= 5


async def test_server_that_takes_sessions_again(raw_server: StartServer, ca: trustme.CA) -> None:
    """Behind one address there may be several, each with a key of its own for its tickets."""
    mine, sessions = trusting_context(ca), TLSSessions()
    answers = [Request(), Send(OK), Hold()]
    servers = [await raw_server(answers, tls=server_context(ca)) for _ in range(3)]
    assert not any([await resumed_over(server, mine, sessions) for server in servers * 4])
    found = [await resumed_over(servers[0], mine, sessions) for _ in range(16)]
    assert found[-4:] == [True] * 4


async def test_handshake_that_fails_is_begun_without_a_session_the_next_time(
    raw_server: StartServer, ca: trustme.CA
) -> None:
    mine, sessions = trusting_context(ca), TLSSessions()
    server = await raw_server([Request(), Send(OK), Hold()], tls=server_context(ca))
    refusing = await raw_server([Reset()])
    assert not await resumed_over(server, mine, sessions)
    assert await resumed_over(server, mine, sessions)
    with pytest.raises(TLSError):
        await resumed_over(refusing, mine, sessions)
    assert not await resumed_over(server, mine, sessions)
    assert await resumed_over(server, mine, sessions)


async def test_sessions_are_bounded(ca: trustme.CA, raw_server: StartServer) -> None:
    context, sessions = trusting_context(ca), TLSSessions(2)
    for _ in range(4):
        server = await raw_server([Request(), Send(OK), Hold()], tls=server_context(ca))
        async with AsyncHTTPSConnection("localhost", server.port, context=context, sessions=sessions) as conn:
            await conn.request("GET", "/")
            await (await conn.getresponse()).read()
    assert len(sessions) == 2


# --- what is told -----------------------------------------------------------------------------------------------------


@VERSIONS
async def test_response_tells_of_its_session(https_server: OriginServer, ca: trustme.CA, version: Any) -> None:
    context = limited(ca, version)
    context.set_alpn_protocols(["http/1.1"])
    async with Client(verify=context) as client:
        response = await client.get(f"https://localhost:{https_server.port}/")
        assert response.tls is not None
        assert response.tls == response.tls
    tls = response.tls  # still told when the connection is closed
    assert isinstance(tls, TLSInfo)
    assert tls.version == version.name.replace("_", ".")
    assert "AES" in tls.cipher or "CHACHA" in tls.cipher
    assert tls.alpn == "http/1.1"
    assert not tls.resumed
    assert tls.server_hostname == "localhost"
    assert tls.peer_certificate is not None
    assert tls.peer_certificate[:1] == b"\x30"
    assert ("DNS", "localhost") in tls.certificate["subjectAltName"]
    assert tls.fingerprint is not None
    assert tls.fingerprint.startswith("sha256/")


async def test_without_verification_there_is_no_parsed_certificate(https_server: OriginServer) -> None:
    async with (
        Client(verify=False) as client,
        client.stream("GET", f"https://127.0.0.1:{https_server.port}/") as answer,
    ):
        assert answer.tls is not None
        assert answer.tls.certificate == {}
        assert answer.tls.peer_certificate is not None


async def test_plain_http_has_none(http_server: OriginServer) -> None:
    async with Client() as client:
        assert (await client.get(f"{http_server.url}/")).tls is None


async def test_pickled_with_an_error(https_server: OriginServer, ca_file: Path) -> None:
    async with Client(verify=ca_file) as client:
        response = await client.get(f"https://localhost:{https_server.port}/status/404")
    with pytest.raises(HTTPStatusError) as caught:
        response.raise_for_status()
    assert pickle.loads(pickle.dumps(caught.value)).response.tls == response.tls


def test_sessions_are_never_of_contexts_that_verify_by_themselves() -> None:
    import truststore

    assert TLSSessions().at("place", truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) is None
    assert TLSSessions().at("place", ssl_context()) is not None
