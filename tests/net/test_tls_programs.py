"""TLS against nginx: what is said of servers that cannot be trusted or spoken to, and the client's own certificate."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from aiohttpconn import Client, HTTPException, TLSError
from tests.servers import strict_tls
from tests.servers.certificates import trusting_context
from tests.servers.program import Program, free_port, listens, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.interop
BIG = b"x" * 3_000_000
BODIES = [pytest.param(None, id="no body"), pytest.param(BIG, id="body")]


@pytest.fixture(scope="module")
def ports(ca: trustme.CA) -> Iterator[dict[str, int]]:
    with strict_tls.running(ca) as found:
        yield found


def certificate(ca: trustme.CA) -> bytes:
    return ca.issue_cert("me@example.org").private_key_and_cert_chain_pem.bytes()


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("unknown", "localhost was refused: .*issued by .*pass verify= the CA to trust"),
        ("elsewhere", "it is for elsewhere.example; ask for a name that it has"),
        ("expired", "expired .*it was valid until .*renew it on the server"),
        ("old", "localhost.* the TLS versions offered|speaks only a version of TLS older than TLSv1.2"),
        ("plain", "localhost does not speak TLS on this port .* ask for http://"),
    ],
)
async def test_a_server_that_cannot_be_used(
    kind: str, says: str, body: bytes | None, ports: dict[str, int], ca_file: Path
) -> None:
    async with Client(verify=ca_file, trust_env=False, timeout=10) as client:
        with pytest.raises(TLSError, match=says) as caught:
            await client.request("POST", f"https://localhost:{ports[kind]}/", content=body)
        assert caught.value.reason
        assert client.stats().open == 0


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kind", ["asks12", "asks13"])
async def test_a_client_s_certificate(
    kind: str, body: bytes | None, ports: dict[str, int], ca: trustme.CA, ca_file: Path
) -> None:
    url = f"https://localhost:{ports[kind]}/"
    options: dict[str, Any] = {"verify": ca_file, "trust_env": False, "timeout": 10}
    async with Client(cert=certificate(ca), **options) as client:
        assert (await client.request("POST", url, content=body)).text == "SUCCESS POST"
    # nginx shakes hands with anybody, and says so by a response.
    for cert in (None, certificate(trustme.CA())):
        async with Client(cert=cert, **options) as client:
            response = await client.request("POST", url, content=body)
            assert response.status == 400
            assert "certificate" in response.text


async def test_a_context_that_offers_http_2(ports: dict[str, int], ca: trustme.CA) -> None:
    context = trusting_context(ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with Client(verify=context, trust_env=False, timeout=10) as client:
        with pytest.raises(TLSError, match="localhost chose h2 by ALPN"):
            await client.get(f"https://localhost:{ports['http2']}/")
    context.set_alpn_protocols(["http/1.1"])
    async with Client(verify=context, trust_env=False, timeout=10) as client:
        assert (await client.get(f"https://localhost:{ports['http2']}/")).text.endswith("GET")


async def test_http_on_a_port_for_tls(ports: dict[str, int]) -> None:
    async with Client(trust_env=False, timeout=10) as client:
        response = await client.get(f"http://localhost:{ports['good']}/")
        assert response.status == 400
        assert "plain HTTP request was sent to HTTPS port" in response.text
        with pytest.raises(HTTPException):
            await client.get(f"https://localhost:{ports['good']}/")


@pytest.fixture(scope="module")
def strict_openssl(ca: trustme.CA) -> Iterator[dict[str, int]]:
    """OpenSSL's own server, which ends the handshake by an alert where it is not shown a certificate of `ca`."""
    program = require("openssl")
    with ExitStack() as stack:
        found: dict[str, int] = {}
        for version in ("tls1_2", "tls1_3"):

            def configure(directory: Path, version: str = version) -> Sequence[str]:
                found[version] = port = free_port()
                (directory / "ca.pem").write_bytes(ca.cert_pem.bytes())
                (directory / "own.pem").write_bytes(ca.issue_cert("localhost").private_key_and_cert_chain_pem.bytes())
                command = [program, "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(directory / "own.pem")]
                command += ["-CAfile", str(directory / "ca.pem"), "-Verify", "1", "-verify_return_error", "-www"]
                return [*command, f"-{version}"]

            stack.enter_context(Program("s_server", configure, lambda version=version: listens(found[version])))
        yield found


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
async def test_a_server_that_refuses_the_client_s_certificate(
    version: str, body: bytes | None, strict_openssl: dict[str, int], ca: trustme.CA, ca_file: Path
) -> None:
    """By TLS 1.3 the client hears of it when the handshake is over for it: while it sends, or waits for the answer."""
    url = f"https://localhost:{strict_openssl[version]}/"
    options: dict[str, Any] = {"verify": ca_file, "trust_env": False, "timeout": 10}
    async with Client(cert=certificate(ca), **options) as client:
        assert (await client.get(url)).status == 200
    for cert, says in ((None, "wants|certificate"), (certificate(trustme.CA()), "does not trust the CA")):
        async with Client(cert=cert, **options) as client:
            with pytest.raises(TLSError, match=f"localhost refused the TLS handshake: .*{says}"):
                await client.request("POST", url, content=body)
            assert client.stats().open == 0
