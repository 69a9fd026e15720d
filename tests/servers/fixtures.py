"""The servers as fixtures. `tests/conftest.py` imports them, so every test may ask for them by name."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests.servers import danted as danted_program
from tests.servers import haproxy as haproxy_program
from tests.servers import nginx as nginx_program
from tests.servers import proxypy as proxypy_program
from tests.servers import squid as squid_program
from tests.servers.certificates import ELSEWHERE, expired_context, server_context, trusting_context
from tests.servers.origin import OriginServer
from tests.servers.proxy import ConnectProxy
from tests.servers.raw import RawServer, Script

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.servers.haproxy import Haproxy
    from tests.servers.nginx import Nginx
    from tests.servers.squid import Proxy

# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """The authority that signed all certificates but `untrusted_ctx`'s."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate in a PEM file."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def client_ctx(ca: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts `ca`. Shared: do not change it."""
    return trusting_context(ca)


@pytest.fixture(scope="session")
def server_ctx(ca: trustme.CA) -> ssl.SSLContext:
    """A server's context for localhost, 127.0.0.1 and ::1."""
    return server_context(ca)


@pytest.fixture(scope="session")
def expired_ctx(ca: trustme.CA) -> ssl.SSLContext:
    """The same, but the certificate ran out yesterday."""
    return expired_context(ca)


@pytest.fixture(scope="session")
def wrong_host_ctx(ca: trustme.CA) -> ssl.SSLContext:
    """The same, but the certificate is for elsewhere.example only."""
    return server_context(ca, ELSEWHERE)


@pytest.fixture(scope="session")
def untrusted_ctx() -> ssl.SSLContext:
    """The same, but signed by an authority that nobody knows."""
    return server_context(trustme.CA())


# --- servers in the test's loop ---------------------------------------------------------------------------------------


@pytest.fixture
async def raw_server() -> AsyncIterator[Callable[..., Awaitable[RawServer]]]:
    """``await raw_server(*scripts, tls=None, uds=False, host=…, receive_buffer=None)`` starts a scripted server.

    See `tests.servers.raw`. It is closed after the test, which fails if a script did.
    """
    async with AsyncExitStack() as stack:

        async def start(*scripts: Script, **options: Any) -> RawServer:
            return await stack.enter_async_context(RawServer(*scripts, **options))

        yield start


@pytest.fixture
async def http_server() -> AsyncIterator[OriginServer]:
    """An ordinary HTTP server (`tests.servers.origin` says what it answers)."""
    async with OriginServer() as server:
        yield server


@pytest.fixture
async def https_server(server_ctx: ssl.SSLContext) -> AsyncIterator[OriginServer]:
    """The same over TLS, with a certificate of `ca`."""
    async with OriginServer(tls=server_ctx) as server:
        yield server


@pytest.fixture
def refusing() -> Iterator[tuple[str, int]]:
    """An address where nobody listens, and nobody else can begin to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


@pytest.fixture
async def connect_proxy() -> AsyncIterator[ConnectProxy]:
    """A proxy that notes what it is asked and refuses as told (`tests.servers.proxy`)."""
    async with ConnectProxy() as server:
        yield server


# --- real programs ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def nginx(ca: trustme.CA) -> Iterator[Nginx]:
    """nginx over HTTP, HTTPS and a Unix domain socket (`tests.servers.nginx`)."""
    with nginx_program.running(ca) as server:
        yield server


@pytest.fixture(scope="session")
def squid() -> Iterator[Proxy]:
    """squid, open to all."""
    with squid_program.running(authenticate=False) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def squid_auth() -> Iterator[Proxy]:
    """squid that wants a user and password."""
    with squid_program.running(authenticate=True) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def proxypy() -> Iterator[Proxy]:
    """proxy.py, open to all."""
    with proxypy_program.running(authenticate=False) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def proxypy_auth() -> Iterator[Proxy]:
    """proxy.py that wants a user and password."""
    with proxypy_program.running(authenticate=True) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def danted() -> Iterator[Proxy]:
    """Dante, open to all."""
    with danted_program.running(authenticate=False) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def danted_auth() -> Iterator[Proxy]:
    """Dante that wants a user and password."""
    with danted_program.running(authenticate=True) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def https_proxy(ca: trustme.CA) -> Iterator[Proxy]:
    """proxy.py over TLS, that wants a user and password."""
    with proxypy_program.running(authenticate=True, ca=ca) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def squid_digest() -> Iterator[Proxy]:
    """squid that wants digest authentication."""
    with squid_program.running(authenticate=True, digest=True) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def haproxy(nginx: Nginx) -> Iterator[Haproxy]:
    """HAProxy in front of nginx."""
    with haproxy_program.running(nginx.http_port, nginx.https_port) as server:
        yield server
