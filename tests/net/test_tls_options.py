"""`TLSOptions`: pins of keys, names, versions; and the authorities that are trusted where nobody named any."""

from __future__ import annotations

import hashlib
import ssl
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aiohttpconn import AsyncHTTPSConnection, Client, ConnectionPool, Retry, TLSError, TLSOptions
from aiohttpconn.net import tls as tls_module
from aiohttpconn.net import tls_trust
from aiohttpconn.net.tls import ssl_context
from aiohttpconn.net.tls_pins import key_digest
from tests.cancellation import cancel_everywhere
from tests.servers.certificates import server_context, trusting_context
from tests.servers.raw import Hold, Request, Send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    import trustme

    from tests.servers.raw import RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = [Request(), Send(OK), Hold()]
OTHER = hashlib.sha256(b"another key").digest()


@pytest.fixture(scope="module")
def pinned(ca: trustme.CA) -> tuple[ssl.SSLContext, bytes]:
    """A server's context, and the SHA-256 of its public key as `cryptography` finds it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf = ca.issue_cert("localhost")
    leaf.configure_cert(context)
    key = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).public_key()
    return context, hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


async def get(conn: AsyncHTTPSConnection) -> bytes:
    await conn.request("GET", "/")
    return await (await conn.getresponse()).read()


def hexed(digest: bytes) -> str:
    return digest.hex(":").upper()


# --- what is given to a client ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"tls": {}}, TypeError, "tls must be a TLSOptions"),
        ({"tls": "1.3"}, TypeError, "tls must be a TLSOptions"),
        ({"verify": "-----BEGIN CERTIFICATE-----\nMII"}, ValueError, "verify is a path: .*cadata"),
        ({"verify": b"-----BEGIN CERTIFICATE-----\nMII"}, ValueError, "verify is a path: .*cadata"),
        ({"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)}, TypeError, "is a server's"),
    ],
)
def test_what_is_none(options: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Client(**options)


# --- pins -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda digest: b64encode(digest).decode(), id="base64"),
        pytest.param(lambda digest: "sha256/" + b64encode(digest).decode(), id="prefix"),
        pytest.param(lambda digest: f'pin-sha256="{b64encode(digest).decode()}"', id="RFC 7469"),
        pytest.param(lambda digest: digest.hex(), id="hex"),
        pytest.param(lambda digest: "SHA256:" + hexed(digest), id="hex with colons"),
        pytest.param(lambda digest: [hexed(OTHER), hexed(digest)], id="one of several"),
        pytest.param(
            lambda digest: "; ".join(["sha256//" + b64encode(d).decode() for d in (OTHER, digest)]), id="curl"
        ),
        pytest.param(lambda digest: {"LOCALHOST": hexed(digest), "other.example": OTHER.hex()}, id="by host"),
        pytest.param(lambda digest: {"other.example": hexed(OTHER)}, id="another host's"),
    ],
)
async def test_pinned_key_is_let_in(
    raw_server: StartServer, pinned: tuple[ssl.SSLContext, bytes], ca_file: Path, verify: bool, write: Any
) -> None:
    context, digest = pinned
    server = await raw_server(ANSWERS, tls=context)
    options = TLSOptions(assert_fingerprint=write(digest))
    async with Client(verify=ca_file if verify else False, tls=options) as client:
        assert (await client.get(f"https://localhost:{server.port}/")).content == b"ok"


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("pins", [hexed(OTHER), [hexed(OTHER), "A" * 43 + "="], {"localhost": hexed(OTHER)}])
async def test_other_key_is_refused_before_a_byte_is_sent(
    raw_server: StartServer, pinned: tuple[ssl.SSLContext, bytes], ca_file: Path, verify: bool, pins: Any
) -> None:
    context, digest = pinned
    heard: list[bytes] = []

    async def listen(reader: Any, writer: Any, conn: Any) -> None:
        try:
            heard.append(await reader.read(100))
        except ConnectionError:
            heard.append(b"")

    server = await raw_server(listen, tls=context)
    options = TLSOptions(assert_fingerprint=pins)
    async with Client(verify=ca_file if verify else False, tls=options, retries=Retry(attempts=3)) as client:
        with pytest.raises(TLSError, match="public key of localhost is sha256/") as caught:
            await client.get(f"https://localhost:{server.port}/", headers={"Authorization": "secret"})
        assert client.stats().open == 0
    assert caught.value.reason == "not pinned"
    assert b64encode(digest).decode() in str(caught.value)
    await server.wait_idle()
    assert heard in ([], [b""])  # once, although it might have been tried again


async def test_pins_of_a_connection(raw_server: StartServer, pinned: Any, client_ctx: ssl.SSLContext) -> None:
    context, digest = pinned
    server = await raw_server(ANSWERS, tls=context)
    options = {"context": client_ctx, "server_hostname": "localhost"}
    async with AsyncHTTPSConnection("127.0.0.1", server.port, assert_fingerprint=digest.hex(), **options) as conn:
        await conn.connect()
    async with AsyncHTTPSConnection("127.0.0.1", server.port, assert_fingerprint=[OTHER], **options) as conn:
        with pytest.raises(TLSError, match="pin"):
            await conn.connect()
        assert not conn.is_connected


@pytest.mark.parametrize("prefix", ["", "sha256/", "sha256//", "sha256:", "sha256=", "SHA256/", "pin-sha256="])
@pytest.mark.parametrize("first", [b"\xff", b"\xfc", b"\xff\xff\xff", b"\x00", b"\xb2\x16\xb6\xe7\xaf\xff"])
def test_digests_that_begin_as_a_prefix_ends(prefix: str, first: bytes) -> None:
    """In base64 they begin with one or four slashes, with an A and with "sha256//"."""
    digest = first + bytes(range(32 - len(first)))
    for written in (b64encode(digest).decode(), digest.hex(), hexed(digest), f'"{b64encode(digest).decode()}"'):
        assert TLSOptions(assert_fingerprint=prefix + written).pins_for("localhost") == {digest}


@pytest.mark.parametrize(
    "pin",
    [
        "",
        "sha256/",
        "abc",
        "sha256//" + "A" * 41 + "=",
        "sha256///" + "A" * 43 + "=",
        "é" * 44,
        "A" * 64 + "==",
        "z" * 64,
        "sha1/" + "A" * 43 + "=",
        b"x",
        7,
    ],
)
def test_what_is_no_pin(pin: Any) -> None:
    for given in (pin, {"localhost": pin}):
        with pytest.raises((ValueError, TypeError)):
            TLSOptions(assert_fingerprint=given)
    with pytest.raises((ValueError, TypeError)):
        AsyncHTTPSConnection("localhost", assert_fingerprint=pin)


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("[::1]", "::1"),
        ("0:0::1", "::1"),
        ("127.1", "127.0.0.1"),
    ],
)
def test_a_pin_counts_however_its_host_is_spelt(key: str, host: str) -> None:
    options = TLSOptions(assert_fingerprint={key: OTHER.hex()})
    assert options.pins_for(host) == {OTHER}
    assert options.replace(resume=False).pins_for(host) == {OTHER}


@pytest.mark.parametrize(
    "key",
    ["localhost:8443", "https://localhost", "localhost/", "*", "*.example", " localhost", "", "a@b", "::1]:5", "a..b:"],
)
def test_a_pin_that_would_never_count_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"assert_fingerprint: .* is not the name or address of one host"):
        TLSOptions(assert_fingerprint={key: OTHER.hex()})


@pytest.mark.parametrize("none", [[], (), {}, {"localhost": []}, {"localhost": None}])
def test_no_pins_at_all_are_refused(none: Any) -> None:
    with pytest.raises(ValueError, match="assert_fingerprint"):
        TLSOptions(assert_fingerprint=none)
    assert TLSOptions(assert_fingerprint=None).pins_for("localhost") is None
    assert TLSOptions().replace(resume=False) == TLSOptions(resume=False)
    with pytest.raises(ValueError, match="assert_fingerprint"):
        AsyncHTTPSConnection("localhost", assert_fingerprint=[])


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("server_hostname", 5, TypeError),
        ("server_hostname", "", ValueError),
        ("server_hostname", "a\0b", ValueError),
        ("minimum_version", "1.2", TypeError),
        ("minimum_version", 771, TypeError),
        ("assert_fingerprint", 0, TypeError),
        ("assert_fingerprint", {5: OTHER.hex()}, TypeError),
    ],
)
def test_what_is_no_option_is_said_by_name(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        TLSOptions(**{name: value})


def test_digest_of_every_kind_of_key_and_of_what_is_no_certificate(ca: trustme.CA) -> None:
    import trustme

    for kind in trustme.KeyType:
        pem = ca.issue_cert("localhost", key_type=kind).cert_chain_pems[0].bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        der = certificate.public_bytes(Encoding.DER)
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert key_digest(der) == hashlib.sha256(spki).digest()
        for end in (0, 1, 3, 10, len(der) // 2, len(der) - 1):
            with pytest.raises(ValueError, match="certificate"):
                key_digest(der[:end])


def test_options_are_values() -> None:
    one = TLSOptions("a.example", {"b.example": hexed(OTHER), "a.example": [OTHER]}, ssl.TLSVersion.TLSv1_3)  # type: ignore[dict-item]
    same = TLSOptions("a.example", {"A.example.": [OTHER.hex()], "b.example": OTHER.hex()}, ssl.TLSVersion.TLSv1_3)
    assert one == same
    assert hash(one) == hash(same)
    assert one != TLSOptions("a.example")
    assert one.pins_for("A.EXAMPLE") == {OTHER}
    assert one.pins_for("c.example") is None
    with pytest.raises(TypeError, match="TLSOptions"):
        ConnectionPool(tls="1.3")  # type: ignore[arg-type]


# --- names and versions -----------------------------------------------------------------------------------------------


async def test_server_hostname_of_a_client(raw_server: StartServer, ca: trustme.CA, ca_file: Path) -> None:
    names: list[str | None] = []
    context = server_context(ca, "inside.example")
    context.sni_callback = lambda session, name, _: names.append(name)  # type: ignore[assignment]
    server = await raw_server(ANSWERS, tls=context)
    async with Client(verify=ca_file, tls=TLSOptions(server_hostname="inside.example")) as client:
        assert (await client.get(f"https://127.0.0.1:{server.port}/")).content == b"ok"
    assert names == ["inside.example"]
    assert server.requests[0].get("Host") == f"127.0.0.1:{server.port}"


async def test_minimum_version(raw_server: StartServer, ca: trustme.CA, ca_file: Path) -> None:
    context = server_context(ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = await raw_server(ANSWERS, tls=context)
    async with Client(verify=ca_file, tls=TLSOptions(minimum_version=ssl.TLSVersion.TLSv1_3)) as client:
        with pytest.raises(TLSError):
            await client.get(f"https://localhost:{server.port}/")
    async with Client(verify=ca_file) as client:
        assert (await client.get(f"https://localhost:{server.port}/")).content == b"ok"


def test_tls_1_2_is_the_oldest_by_default() -> None:
    assert ssl_context().minimum_version == ssl_context(False).minimum_version == ssl.TLSVersion.TLSv1_2
    newest = ssl_context(minimum_version=ssl.TLSVersion.TLSv1_3)
    assert newest.minimum_version == ssl.TLSVersion.TLSv1_3
    assert newest is not ssl_context()


def test_version_of_a_context_of_one_s_own_is_not_changed(client_ctx: ssl.SSLContext) -> None:
    with pytest.raises(TypeError, match="minimum_version"):
        Client(verify=client_ctx, tls=TLSOptions(minimum_version=ssl.TLSVersion.TLSv1_3))


async def test_cancelled_at_every_await(raw_server: StartServer, pinned: Any, client_ctx: ssl.SSLContext) -> None:
    context, digest = pinned

    server = await raw_server(ANSWERS, tls=context)

    async def open_and_ask() -> None:
        options = {"context": client_ctx, "assert_fingerprint": digest.hex()}
        async with AsyncHTTPSConnection("localhost", server.port, **options) as conn:
            assert await get(conn) == b"ok"

    async def check() -> None:
        await server.wait_idle()

    assert await cancel_everywhere(open_and_ask, check) >= 3


# --- authorities ------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine without any authorities where OpenSSL looks."""
    paths = ssl.get_default_verify_paths()._replace(openssl_cafile="", openssl_capath=str(tmp_path))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda self, purpose=None: None)
    monkeypatch.setattr(ssl.SSLContext, "set_default_verify_paths", lambda self: None)
    for name in tls_module.TLS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    tls_module._context.cache_clear()
    yield
    tls_module._context.cache_clear()


@pytest.mark.usefixtures("no_store")
def test_certifi_where_no_store_is_found() -> None:
    assert ssl_context().cert_store_stats()["x509_ca"] > 50
    assert ssl_context().verify_mode is ssl.CERT_REQUIRED


@pytest.mark.usefixtures("no_store")
def test_no_store_and_no_certifi_trusts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "certifi", None)
    assert ssl_context().cert_store_stats()["x509"] == 0


@pytest.mark.usefixtures("no_store")
def test_store_of_hashed_files_is_one(tmp_path: Path) -> None:
    (tmp_path / "0a1b2c3d.0").touch()
    assert ssl_context().cert_store_stats()["x509"] == 0


@pytest.mark.usefixtures("no_store")
def test_certifi_is_not_added_to_what_somebody_named(ca_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(ssl_context(ca_file).get_ca_certs()) == 1
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    assert ssl_context().cert_store_stats()["x509"] <= 1


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_platform_s_own_verification_where_it_is_better(
    monkeypatch: pytest.MonkeyPatch, platform: str, ca_file: Path, tmp_path: Path
) -> None:
    import truststore

    for name in tls_module.TLS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tls_trust, "_PLATFORM", platform)
    tls_module._context.cache_clear()
    try:
        context = ssl_context()
        assert isinstance(context, truststore.SSLContext)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert not isinstance(ssl_context(False), truststore.SSLContext)
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
        assert isinstance(ssl_context(), truststore.SSLContext)
        assert ssl_context().keylog_filename == str(tmp_path / "keys")
        monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
        assert not isinstance(ssl_context(), truststore.SSLContext)
    finally:
        tls_module._context.cache_clear()


async def test_truststore_s_context_verifies_on_our_transport(raw_server: StartServer, ca: trustme.CA) -> None:
    import truststore

    server = await raw_server(*[ANSWERS] * 2, tls=server_context(ca))
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with AsyncHTTPSConnection("localhost", server.port, context=context) as conn:
        with pytest.raises(TLSError, match="issuer"):
            await conn.connect()
    ca.configure_trust(context)  # type: ignore[arg-type]
    async with AsyncHTTPSConnection("localhost", server.port, context=context) as conn:
        await conn.connect()


# --- the protocol -----------------------------------------------------------------------------------------------------


async def test_another_protocol_than_is_spoken_is_refused(raw_server: StartServer, ca: trustme.CA) -> None:
    """A context of one's own may offer what we do not speak, and the server choose it."""
    context = server_context(ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    server = await raw_server(*[ANSWERS] * 2, tls=context)
    own = trusting_context(ca)
    own.set_alpn_protocols(["h2", "http/1.1"])
    async with Client(verify=own) as client:
        with pytest.raises(TLSError, match=r"localhost chose h2 by ALPN.*set_alpn_protocols\(\[\"http/1\.1\"\]\)"):
            await client.get(f"https://localhost:{server.port}/")
        assert client.stats().open == 0
    own.set_alpn_protocols(["http/1.1"])
    async with Client(verify=own) as client:
        assert (await client.get(f"https://localhost:{server.port}/")).content == b"ok"
    assert len(server.requests) == 1
