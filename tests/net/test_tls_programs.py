"""TLS against nginx: what is said of servers that cannot be trusted or spoken to, and the client's own certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trustme

from aiohttpconn import Client, HTTPException, TLSError
from tests.servers import strict_tls
from tests.servers.certificates import trusting_context

if TYPE_CHECKING:
    from collections.abc import Iterator
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
