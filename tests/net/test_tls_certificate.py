"""The client's own certificate: from files and from memory, with keys in the clear and encrypted; what is wrong."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

import aiohttpconn
from aiohttpconn import Client, TLSError, TLSOptions
from aiohttpconn.net.tls import ssl_context
from tests.servers.certificates import server_context
from tests.servers.raw import Hold, Request, Send

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.servers.raw import Connection, RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NAME = "me@example.org"


class Files:
    """A client's certificate and key as they may lie about."""

    def __init__(self, ca: trustme.CA, folder: Path) -> None:
        leaf = ca.issue_cert(NAME)
        self.chain = b"".join([blob.bytes() for blob in leaf.cert_chain_pems])
        self.key = leaf.private_key_pem.bytes()
        self.other_key = ca.issue_cert(NAME).private_key_pem.bytes()
        self.encrypted = self._encrypted(serialization.PrivateFormat.PKCS8)
        self.old_encrypted = self._encrypted(serialization.PrivateFormat.TraditionalOpenSSL)
        self.folder = folder
        for name in ("chain", "key", "other_key", "encrypted"):
            (folder / f"{name}.pem").write_bytes(getattr(self, name))
        (folder / "both.pem").write_bytes(self.key + self.chain)
        (folder / "der.pem").write_bytes(ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode()))

    def _encrypted(self, kind: serialization.PrivateFormat) -> bytes:
        key = serialization.load_pem_private_key(self.key, None)
        how = serialization.BestAvailableEncryption(b"open sesame")
        return key.private_bytes(serialization.Encoding.PEM, kind, how)

    def path(self, name: str) -> str:
        return str(self.folder / f"{name}.pem")


@pytest.fixture(scope="module")
def files(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(ca, tmp_path_factory.mktemp("client"))


@pytest.fixture
def asking_ctx(ca: trustme.CA) -> ssl.SSLContext:
    """A server's context that wants a certificate of `ca`."""
    context = server_context(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    return context


def password() -> str:
    return "open sesame"


@pytest.mark.parametrize(
    "cert",
    [
        pytest.param(lambda files: files.path("both"), id="one file"),
        pytest.param(lambda files: files.folder / "both.pem", id="one file as a path"),
        pytest.param(lambda files: (files.path("chain"), files.folder / "key.pem"), id="two files"),
        pytest.param(lambda files: (files.path("both"), None, None), id="one file in a tuple"),
        pytest.param(lambda files: files.key + files.chain, id="bytes"),
        pytest.param(lambda files: (files.chain + files.key).decode(), id="text"),
        pytest.param(lambda files: (files.chain, files.key), id="two bytes"),
        pytest.param(lambda files: (files.path("chain"), files.key), id="a file and bytes"),
        pytest.param(lambda files: (files.path("chain"), files.path("encrypted"), "open sesame"), id="encrypted"),
        pytest.param(lambda files: (files.chain, files.encrypted, b"open sesame"), id="encrypted, in memory"),
        pytest.param(lambda files: (files.chain, files.old_encrypted, password), id="encrypted, asked for"),
        pytest.param(lambda files: (files.encrypted + files.chain, None, password), id="encrypted, together"),
        pytest.param(lambda files: (files.path("chain"), files.path("key"), "needless"), id="a needless password"),
        pytest.param(lambda files: (files.chain, b"# UNENCRYPTED\n" + files.key), id="a comment about encryption"),
    ],
)
async def test_server_is_shown_the_certificate(
    raw_server: StartServer, asking_ctx: ssl.SSLContext, ca_file: Path, files: Files, cert: Callable[[Files], Any]
) -> None:
    shown: list[dict[str, Any]] = []

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: Connection) -> None:
        shown.append(writer.get_extra_info("peercert"))
        await Request().play(conn)
        await Send(OK).play(conn)
        await Hold().play(conn)

    server = await raw_server(look, tls=asking_ctx)
    async with Client(verify=ca_file, cert=cert(files)) as client:
        assert (await client.get(f"https://localhost:{server.port}/")).content == b"ok"
    assert ("email", NAME) in shown[0]["subjectAltName"]


@pytest.mark.parametrize(
    ("cert", "says"),
    [
        (
            lambda files: (files.path("chain"), files.path("other_key")),
            r"other_key.pem' holds the key of another",
        ),
        (lambda files: (files.chain, files.other_key), "key given in memory holds the key of another certificate"),
        (lambda files: (files.path("chain"), files.path("encrypted"), "wrong"), r"encrypted.pem'.*password is wrong"),
        (lambda files: (files.chain, files.old_encrypted, lambda: b"wrong"), "in memory.*the password is wrong"),
        (
            lambda files: (files.path("chain"), files.path("encrypted")),
            r"encrypted.pem' is encrypted: give its",
        ),
        (lambda files: (files.path("key"), files.path("key")), r"certificate '.*key.pem' holds no certificate in PEM"),
        (lambda files: files.path("chain"), r"chain.pem' holds no private key in PEM"),
        (lambda files: (files.path("der"), files.path("key")), r"der.pem' holds no certificate.*looks like DER"),
        (lambda files: (files.path("gone"), files.path("key")), r"cannot be read from '.*gone.pem': No such file"),
        (lambda files: (files.path("chain"), files.folder), "key cannot be read from .*Is a directory"),
        (lambda files: (files.chain[:60] + b"AAAA" + files.chain[80:], files.key), "a certificate that cannot be read"),
        (lambda files: (files.chain, files.key[:60] + b"AAAA" + files.key[80:]), "a key that cannot be used"),
        (lambda files: "no\0path", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_of_the_file(files: Files, cert: Callable[[Files], Any], says: str) -> None:
    with pytest.raises(TLSError, match=says) as caught:
        ssl_context(cert=cert(files))
    assert caught.value.reason
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("cert", [1, ("a", "b", "c", "d"), ("a",), (None, "key"), ("a", 2), ("a", "b", 3)], ids=repr)
def test_what_is_no_certificate_is_a_type_error(cert: Any) -> None:
    with pytest.raises(TypeError, match="cert must be"):
        ssl_context(cert=cert)


def test_what_the_password_s_function_raises_is_raised(files: Files) -> None:
    def fail() -> str:
        raise LookupError("the keyring is locked")

    with pytest.raises(LookupError, match="keyring"):
        ssl_context(cert=(files.chain, files.encrypted, fail))
    ssl_context(cert=(files.chain, files.key, fail))  # not asked for a key in the clear


def test_in_memory_where_there_is_no_memfd(
    files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ca_file: Path
) -> None:
    """Then a file that only this user may read, and that is gone at once, also after a failure."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    modes: list[int] = []
    load = ssl.SSLContext.load_cert_chain

    def watch(self: ssl.SSLContext, certfile: str, keyfile: str, password: Any) -> None:
        modes.extend(os.stat(path).st_mode & 0o777 for path in (certfile, keyfile))
        load(self, certfile, keyfile, password)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watch)
    ssl_context(ca_file, cert=(files.chain, files.key))
    with pytest.raises(TLSError):
        ssl_context(ca_file, cert=(files.chain, files.other_key))
    assert modes == [0o600] * 4
    assert list(tmp_path.iterdir()) == []


def test_no_descriptor_is_left_open(files: Files, ca_file: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        ssl_context(ca_file, cert=(files.chain, files.key))
    assert len(os.listdir("/proc/self/fd")) == before


def test_context_with_a_certificate_is_not_shared(files: Files, ca_file: Path) -> None:
    mine = ssl_context(ca_file, cert=files.path("both"))
    assert mine is not ssl_context(ca_file, cert=files.path("both"))
    assert mine is not ssl_context(ca_file)
    assert mine.verify_mode is ssl.CERT_REQUIRED
    assert ssl_context(False, cert=files.path("both")).verify_mode is ssl.CERT_NONE


def test_context_of_one_s_own_is_not_changed(files: Files, client_ctx: ssl.SSLContext) -> None:
    with pytest.raises(TypeError, match=r"load_cert_chain"):
        Client(verify=client_ctx, cert=files.path("both"))


async def test_with_a_transport_it_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="cert, tls"):
        Client(transport=object(), cert="a.pem", tls=None)  # type: ignore[arg-type]


async def test_for_one_request(
    raw_server: StartServer, asking_ctx: ssl.SSLContext, ca_file: Path, files: Files
) -> None:
    server = await raw_server([Request(), Send(OK), Hold()], tls=asking_ctx)
    url = f"https://localhost:{server.port}/"
    assert (await aiohttpconn.get(url, verify=ca_file, cert=files.path("both"))).content == b"ok"
    with pytest.raises(TLSError, match="not pinned"):
        await aiohttpconn.get(url, verify=ca_file, cert=files.path("both"), tls=TLSOptions(assert_fingerprint="0" * 64))
