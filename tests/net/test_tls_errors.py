"""What `TLSError` says when a handshake fails: which name, whose certificate, why, and what to do about it."""

from __future__ import annotations

import contextlib
import datetime
import pickle
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from aiohttpconn import AsyncHTTPSConnection, TLSError
from tests.servers.certificates import ELSEWHERE, server_context, trusting_context
from tests.servers.raw import Close, Reset, Send

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.servers.raw import Connection, RawServer

    StartServer = Callable[..., Awaitable[RawServer]]
    Peer = Callable[[Callable[[socket.socket], None]], tuple[int, object]]

DAY = datetime.timedelta(days=1)


def serve(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    """A server that tells its clients by alerts what is wrong, as asyncio's does not."""

    def play(conn: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(conn, server_side=True) as session:
            session.recv(1)

    return play


async def refusal(port: int, context: ssl.SSLContext, host: str = "localhost", **options: Any) -> TLSError:
    """What opening a connection and asking for something raises."""
    conn = AsyncHTTPSConnection(host, port, context=context, timeout=10, **options)
    with pytest.raises(TLSError) as caught:
        await conn.request("GET", "/")
        await conn.getresponse()
    assert not conn.is_connected
    error = caught.value
    assert host in str(error)
    assert error.reason is not None
    assert error.__cause__ is not None
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    return error


# --- certificates -----------------------------------------------------------------------------------------------------


async def test_unknown_authority(peer: Peer, untrusted_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext) -> None:
    port, _ = peer(serve(untrusted_ctx))
    error = await refusal(port, client_ctx)
    assert "unable to get local issuer certificate" in str(error)
    assert "(issued by 'trustme v" in str(error)
    assert "pass verify= the CA to trust" in str(error)
    assert error.reason == "unable to get local issuer certificate"
    assert error.certificate is not None
    assert ("DNS", "localhost") in error.certificate["subjectAltName"]


async def test_wrong_host_names_those_that_the_certificate_is_for(
    peer: Peer, ca: trustme.CA, client_ctx: ssl.SSLContext
) -> None:
    names = [ELSEWHERE, *[f"n{number}.example" for number in range(9)]]
    port, _ = peer(serve(server_context(ca, *names)))
    error = await refusal(port, client_ctx)
    assert "Hostname mismatch" in str(error)
    assert f"it is for {ELSEWHERE}, n0.example, n1.example, n2.example, n3.example and 5 more" in str(error)
    assert "server_hostname=" in str(error)


async def test_wrong_address(peer: Peer, wrong_host_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext) -> None:
    port, _ = peer(serve(wrong_host_ctx))
    error = await refusal(port, client_ctx, "127.0.0.1")
    assert "IP address mismatch" in str(error)
    assert f"it is for {ELSEWHERE};" in str(error)


async def test_expired_says_since_when(peer: Peer, ca: trustme.CA, client_ctx: ssl.SSLContext) -> None:
    ended = datetime.datetime(2020, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    port, _ = peer(serve(server_context(ca, not_after=ended)))
    error = await refusal(port, client_ctx)
    assert "certificate has expired" in str(error)
    assert "it was valid until Feb  3 04:05:06 2020 GMT, and here it is " in str(error)
    assert "renew it on the server" in str(error)


async def test_expired_intermediate_is_told_from_the_certificate_itself(peer: Peer, tmp_path: Path) -> None:
    root = trustme.CA()
    middle = root.create_child_ca()
    leaf = middle.issue_cert("localhost")
    expired = _reissued(middle, root, datetime.datetime.now(datetime.UTC) - DAY)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes() + expired)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    port, _ = peer(serve(context))
    error = await refusal(port, trusting_context(root))
    assert "certificate has expired" in str(error)
    assert "the one of its issuer" in str(error)


def _reissued(child: trustme.CA, parent: trustme.CA, not_after: datetime.datetime) -> bytes:
    """The certificate of `child` once more, with another end."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    old = x509.load_pem_x509_certificate(child.cert_pem.bytes())
    key = serialization.load_pem_private_key(parent.private_key_pem.bytes(), None)
    builder = x509.CertificateBuilder(
        old.issuer,
        old.subject,
        old.public_key(),
        old.serial_number,
        not_after - 9 * DAY,
        not_after,
        list(old.extensions),
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]


async def test_not_yet_valid_says_from_when(peer: Peer, ca: trustme.CA, client_ctx: ssl.SSLContext) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    begins = datetime.datetime(2999, 2, 3, tzinfo=datetime.UTC)
    ca.issue_cert("localhost", not_before=begins).configure_cert(context)
    port, _ = peer(serve(context))
    error = await refusal(port, client_ctx)
    assert "certificate is not yet valid" in str(error)
    assert "it is valid from Feb  3 00:00:00 2999 GMT, and here it is " in str(error)
    assert "clocks" in str(error)


async def test_self_signed(peer: Peer, client_ctx: ssl.SSLContext, tmp_path: Path) -> None:
    authority = trustme.CA()
    path = tmp_path / "both.pem"
    path.write_bytes(authority.cert_pem.bytes() + authority.private_key_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    port, _ = peer(serve(context))
    error = await refusal(port, client_ctx)
    assert "self-signed certificate" in str(error)
    assert "pass verify= the certificate to trust" in str(error)


async def test_chain_that_ends_in_a_root_of_its_own(peer: Peer, client_ctx: ssl.SSLContext, tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    path = tmp_path / "chain.pem"
    path.write_bytes(leaf.private_key_and_cert_chain_pem.bytes() + authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    port, _ = peer(serve(context))
    error = await refusal(port, client_ctx)
    assert "a self-signed certificate, 'trustme v" in str(error)
    assert "pass verify= the CA to trust" in str(error)


async def test_names_of_a_hostile_certificate_are_escaped(peer: Peer, client_ctx: ssl.SSLContext, ca: Any) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    leaf = ca.issue_cert(ELSEWHERE)
    old = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    bad = x509.DNSName._init_without_validation("a\r\nb\x1b[31m" + "x" * 5000 + ".example")
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, old.public_key(), 7, old.not_valid_before_utc, old.not_valid_after_utc
    ).add_extension(x509.SubjectAlternativeName([bad]), False)
    key = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]
    with trustme.Blob(leaf.private_key_pem.bytes() + pem).tempfile() as path:
        context.load_cert_chain(path)
    port, _ = peer(serve(context))
    text = str(await refusal(port, client_ctx))
    assert text.isprintable()
    assert len(text) < 600


# --- what the server says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "said", "why"),
    [
        (40, "handshake failure", "none of the ciphers"),
        (42, "bad certificate", "pass cert="),
        (44, "certificate revoked", "was revoked"),
        (45, "certificate expired", "has expired"),
        (46, "certificate unknown", "does not accept"),
        (48, "unknown ca", "does not trust the CA of the client's"),
        (49, "access denied", "not allowed"),
        (70, "protocol version", "TLSv1.2 to TLSv1.3"),
        (71, "insufficient security", "stronger"),
        (80, "internal error", "its side"),
        (112, "unrecognized name", "no host of that name"),
        (116, "certificate required", "pass cert="),
        (120, "no application protocol", "ALPN"),
    ],
)
async def test_alert_in_words(
    raw_server: StartServer, client_ctx: ssl.SSLContext, code: int, said: str, why: str
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        await reader.read(65536)
        writer.write(b"\x15\x03\x03\x00\x02\x02" + bytes([code]))
        await conn.wait_closed_by_peer()

    server = await raw_server(refuse)
    error = await refusal(server.port, client_ctx)
    assert f"localhost refused the TLS handshake: {said} (" in str(error)
    assert why in str(error)
    assert error.reason == said


async def test_no_cipher_in_common(peer: Peer, ca: trustme.CA, ca_file: Path) -> None:
    context, mine = server_context(ca), trusting_context(ca)
    context.maximum_version = mine.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    mine.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")
    port, _ = peer(serve(context))
    error = await refusal(port, mine)
    assert "refused the TLS handshake: handshake failure" in str(error)


async def test_server_that_is_too_old_for_the_client(peer: Peer, ca: trustme.CA) -> None:
    context, mine = server_context(ca), trusting_context(ca)
    context.maximum_version, mine.minimum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    port, _ = peer(serve(context))
    error = await refusal(port, mine)
    assert "it speaks none of the TLS versions offered, TLSv1.3 to TLSv1.3" in str(error)


async def test_server_that_answers_in_a_version_that_was_not_offered(
    raw_server: StartServer, client_ctx: ssl.SSLContext
) -> None:
    """As servers of before RFC 8446 do, which take the oldest that they know."""
    hello = b"\x03\x01" + bytes(32) + b"\x00" + b"\xc0\x13" + b"\x00"
    record = b"\x16\x03\x01" + (len(hello) + 4).to_bytes(2) + b"\x02" + len(hello).to_bytes(3) + hello

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        await reader.read(65536)
        writer.write(record)
        await conn.wait_closed_by_peer()

    server = await raw_server(answer)
    error = await refusal(server.port, client_ctx)
    assert "older than TLSv1.2, the oldest allowed" in str(error)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda value: value.name)
@pytest.mark.parametrize("given", [None, "another CA's", "expired"])
async def test_client_certificate_that_is_not_accepted(
    peer: Peer, ca: trustme.CA, version: ssl.TLSVersion, given: str | None
) -> None:
    """In TLS 1.2 the handshake fails; in 1.3 (RFC 8446 section 4.4.2.4) the server says so afterwards."""
    context, mine = server_context(ca), trusting_context(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    context.maximum_version = version
    says = "pass cert="
    if given is not None:
        says = "unknown ca" if given == "another CA's" else "certificate expired"
        issuer = ca if given == "expired" else trustme.CA()
        ended = datetime.datetime.now(datetime.UTC) - DAY if given == "expired" else None
        issuer.issue_cert("me@example.org", not_after=ended).configure_cert(mine)
    port, _ = peer(serve(context))
    error = await refusal(port, mine)
    assert says in str(error)


async def test_plain_http_on_the_port(raw_server: StartServer, client_ctx: ssl.SSLContext) -> None:
    server = await raw_server([Send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), Close()])
    error = await refusal(server.port, client_ctx)
    assert "localhost does not speak TLS on this port" in str(error)
    assert "ask for http://" in str(error)


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["closes", "resets"])
async def test_peer_that_goes_away_gives_no_reason(
    raw_server: StartServer, client_ctx: ssl.SSLContext, end: Any
) -> None:
    server = await raw_server([end])
    with pytest.raises(TLSError, match="closed the connection during the TLS handshake with localhost") as caught:
        await AsyncHTTPSConnection("localhost", server.port, context=client_ctx).connect()
    assert caught.value.reason is None
