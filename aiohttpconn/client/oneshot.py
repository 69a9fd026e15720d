"""One request without a client of one's own: `await aiohttpconn.get(url)`."""

from __future__ import annotations

import os
import ssl
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from ..config import UNSET, Unset
from .client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Unpack

    from ..net.tls_certificate import ClientCertificate
    from ..net.tls_options import TLSOptions
    from ..url import URL
    from .keywords import OneShotKeywords, RequestKeywords
    from .response import Response


async def request(
    method: str,
    url: str | URL,
    *,
    verify: bool | str | os.PathLike[str] | ssl.SSLContext | Unset = UNSET,
    cert: ClientCertificate | None = None,
    tls: TLSOptions | None = None,
    trust_env: bool = True,
    **options: Unpack[RequestKeywords],
) -> Response:
    """Send one request over a connection of its own and read the response; takes what `Client.request` takes.

    `verify`, `cert`, `tls` and `trust_env` are as `Client` has them. For more than one request a `Client` is faster: it
    keeps connections.
    """
    async with Client(verify=verify, cert=cert, tls=tls, trust_env=trust_env) as client:
        return await client.request(method, url, **options)


def stream(
    method: str,
    url: str | URL,
    *,
    verify: bool | str | os.PathLike[str] | ssl.SSLContext | Unset = UNSET,
    cert: ClientCertificate | None = None,
    tls: TLSOptions | None = None,
    trust_env: bool = True,
    **options: Unpack[RequestKeywords],
) -> AbstractAsyncContextManager[Response]:
    """``async with aiohttpconn.stream("GET", url) as response``: the body is read on demand, see `Client.stream`."""

    @asynccontextmanager
    async def streamed() -> AsyncIterator[Response]:
        async with (
            Client(verify=verify, cert=cert, tls=tls, trust_env=trust_env) as client,
            client.stream(method, url, **options) as response,
        ):
            yield response

    return streamed()


async def get(url: str | URL, **options: Unpack[OneShotKeywords]) -> Response:
    """`request("GET", url, …)`."""
    return await request("GET", url, **options)


async def head(url: str | URL, **options: Unpack[OneShotKeywords]) -> Response:
    """`request("HEAD", url, …)`."""
    return await request("HEAD", url, **options)


async def options(url: str | URL, **options: Unpack[OneShotKeywords]) -> Response:
    """`request("OPTIONS", url, …)`."""
    return await request("OPTIONS", url, **options)


async def delete(url: str | URL, **options: Unpack[OneShotKeywords]) -> Response:
    """`request("DELETE", url, …)`."""
    return await request("DELETE", url, **options)


async def post(url: str | URL, **options: Unpack[OneShotKeywords]) -> Response:
    """`request("POST", url, …)`."""
    return await request("POST", url, **options)


async def put(url: str | URL, **options: Unpack[OneShotKeywords]) -> Response:
    """`request("PUT", url, …)`."""
    return await request("PUT", url, **options)


async def patch(url: str | URL, **options: Unpack[OneShotKeywords]) -> Response:
    """`request("PATCH", url, …)`."""
    return await request("PATCH", url, **options)
