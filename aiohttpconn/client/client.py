"""`Client`: what most people call."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Coroutine
from time import perf_counter
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict, CIMultiDictProxy

from .._version import __version__
from ..config import DEFAULT, UNSET, Deadline, Limits, Timeout, Unset
from ..errors import PoolClosed
from ..headers import Headers, HeadersInput, check_method, header_pairs
from ..messages import Proxy, Request
from ..net.tls import ssl_context
from ..pool import ConnectionPool, PoolStats
from ..transport import RequestContext, Transport
from ..url import URL, Params, join, merge_params, parse
from ..wire.codings import accept_encoding
from ..wire.head import MAX_FIELDS, MAX_HEAD, encode_fields
from . import flow
from .body import Content, encode_body
from .environ import bypasses_proxy, environment_proxies
from .redirects import REDIRECTS
from .response import Response

if TYPE_CHECKING:
    from ..net.resolve import Resolver


class Client:
    """Requests over a pool of keep-alive connections.

    - `base_url`: what relative URLs are appended to. `headers`, `params`: go with every request.
    - `timeout`: seconds, a `Timeout`, or None for none. `limits`: of the pool.
    - `proxy`: URL of an http proxy, its credentials as userinfo; left out: the environment's (HTTP_PROXY, HTTPS_PROXY,
      ALL_PROXY, NO_PROXY) with `trust_env`; None: no proxy.
    - `verify`: True for the system's CAs, the path of a file or folder of CAs, an `ssl.SSLContext`, or False for no
      verification at all.
    - `follow_redirects`, `max_redirects`; `allow_downgrade`: whether a redirect may lead from https to http.
    - `max_head`, `max_fields`: bytes and fields that the heads of one response may have.
    - `transport`: what sends the requests, instead of a pool of the client's own; it is not closed with the client.
    - `uds`: path of a Unix domain socket that all connections go to. `resolver`: who looks up names.
      `local_address`: (host, port) to connect from.

    A client serves the event loop it was first used on.

    >>> async def main():
    ...     async with Client() as client:
    ...         response = await client.get("http://localhost:8000/")
    ...         return response.status, response.text
    """

    def __init__(
        self,
        base_url: str | URL | None = None,
        *,
        headers: HeadersInput | None = None,
        params: Params = None,
        timeout: Timeout | float | Unset | None = DEFAULT,
        limits: Limits | Unset = UNSET,
        proxy: str | URL | Unset | None = UNSET,
        trust_env: bool = True,
        verify: bool | str | os.PathLike[str] | ssl.SSLContext | Unset = UNSET,
        follow_redirects: bool = True,
        max_redirects: int = 20,
        allow_downgrade: bool = False,
        max_head: int = MAX_HEAD,
        max_fields: int = MAX_FIELDS,
        transport: Transport | None = None,
        uds: str | Unset | None = UNSET,
        resolver: Resolver | Unset | None = UNSET,
        local_address: tuple[str, int] | Unset | None = UNSET,
    ) -> None:
        self._base_url = None if base_url is None else _directory(parse(base_url))
        self._params = params
        self.timeout = Timeout.of(timeout)
        self.follow_redirects = follow_redirects
        self.max_redirects = max_redirects
        self.allow_downgrade = allow_downgrade
        own = header_pairs(headers)
        given = {name.lower() for name, _ in own}
        pairs = [pair for pair in _default_fields() if pair[0].lower() not in given] + own
        self._pairs = pairs
        self._headers: Headers = CIMultiDictProxy(CIMultiDict(pairs))
        self._field_lines = encode_fields(pairs)
        network = {
            "limits": limits,
            "proxy": proxy,
            "verify": verify,
            "uds": uds,
            "resolver": resolver,
            "local_address": local_address,
        }
        self._closed = False
        self._env_proxies: dict[str, Proxy | None] = {}
        if transport is not None:
            if needless := [name for name, value in network.items() if value is not UNSET]:
                raise TypeError(f"{', '.join(needless)}: these are the transport's own affair when transport= is given")
            self._transport: Transport = transport
            self._pool: ConnectionPool | None = None
        else:
            if proxy is UNSET and trust_env and _or_none(uds) is None:  # no proxy lies before a socket of one's own
                self._env_proxies = environment_proxies()
            self._transport = self._pool = ConnectionPool(
                _or_none(limits),
                self.timeout,
                None if verify is UNSET or verify is True else ssl_context(verify),
                _or_none(proxy),
                _or_none(resolver),
                uds=_or_none(uds),
                local_address=_or_none(local_address),
                max_head=max_head,
                max_fields=max_fields,
            )
        self._choose_proxy = self._proxy_of if self._env_proxies else None
        # Without a total limit this says nothing about now, and serves every request.
        self._context = RequestContext(Deadline(self.timeout, 0.0))

    # --- requests ---

    def build_request(
        self,
        method: str,
        url: str | URL,
        *,
        params: Params = None,
        headers: HeadersInput | None = None,
        content: Content | None = None,
        json: Any = None,
        idempotent: bool | None = None,
    ) -> Request:
        """The `Request` that `request()` would send.

        Raises `InvalidURL`, `InvalidMethod`, `InvalidHeader`, and TypeError for what cannot be sent.
        """
        return self._build(method, url, params, headers, content, json, idempotent)

    def _build(
        self,
        method: str,
        url: str | URL,
        params: Params,
        headers: HeadersInput | None,
        content: Content | None,
        json: Any,
        idempotent: bool | None,
    ) -> Request:
        url = parse(url) if self._base_url is None else self._absolute(url)
        if self._params is not None:
            url = merge_params(url, self._params)
        if params is not None:
            url = merge_params(url, params)
        if headers is None and content is None and json is None and method == "GET":
            # The fields of most requests are the client's own, in wire form since the client was made.
            return Request(method, url, self._headers, None, field_lines=self._field_lines, idempotent=idempotent)
        check_method(method)
        body, fields = encode_body(method, content, json)
        own = header_pairs(headers)
        given = {name.lower() for name, _ in own}
        if "content-length" in given or "transfer-encoding" in given:
            fields = [pair for pair in fields if pair[0] not in ("Content-Length", "Transfer-Encoding")]
        pairs = [pair for pair in (*self._pairs, *fields) if pair[0].lower() not in given] + own
        return Request(method, url, CIMultiDictProxy(CIMultiDict(pairs)), body, idempotent=idempotent)

    def _absolute(self, url: str | URL) -> URL:
        """A URL as it is, anything else appended to `base_url`."""
        if isinstance(url, URL):
            return url
        assert self._base_url is not None
        if url.startswith(("http://", "https://")):
            return parse(url)
        return join(self._base_url, url.lstrip("/"))

    def send(
        self,
        request: Request,
        *,
        stream: bool = False,
        follow_redirects: bool | Unset = UNSET,
        timeout: Timeout | float | Unset | None = UNSET,
        proxy: str | URL | Unset | None = UNSET,
    ) -> Coroutine[Any, Any, Response]:
        """Send a `Request`. With `stream` the body is still to be read, and the response to be closed by the caller."""
        return self._send(request, stream, follow_redirects, timeout, proxy)

    async def _send(
        self,
        request: Request | tuple[Any, ...],
        stream: bool,
        follow_redirects: bool | Unset,
        timeout: Timeout | float | Unset | None,
        proxy: str | URL | Unset | None,
    ) -> Response:
        """Send a request, or one still to be built of what `_build` takes: in here, so that what is wrong with it is
        raised where the caller awaits, without a coroutine more (0.5 µs)."""
        if isinstance(request, tuple):
            request = self._build(*request)
        if self._closed:
            error = PoolClosed("the client is closed", doing=f"{request.method} {request.url.without_userinfo()}")
            error.request = request
            raise error
        context = self._context
        choose_proxy = self._choose_proxy
        if choose_proxy is not None or timeout is not UNSET or proxy is not UNSET or self.timeout.total is not None:
            deadline = context.deadline
            if timeout is not UNSET or self.timeout.total is not None:
                deadline = self._deadline(timeout)
            if proxy is not UNSET:
                choose_proxy = None
                context = RequestContext(deadline, Proxy.of(_or_none(proxy)))
            else:
                context = RequestContext(deadline, UNSET if choose_proxy is None else choose_proxy(request))
        began = perf_counter()
        raw = await self._transport.send(request, context)
        response = Response(raw, request, perf_counter() - began)
        follow = self.follow_redirects if follow_redirects is UNSET else follow_redirects
        if follow and response.head.status in REDIRECTS:
            response = await flow.follow(
                self._transport,
                response,
                context,
                max_redirects=self.max_redirects,
                allow_downgrade=self.allow_downgrade,
                choose_proxy=choose_proxy,
            )
        if not stream and not response.keep_arrived():
            await response.read_or_close()
        return response

    def _deadline(self, timeout: Timeout | float | Unset | None) -> Deadline:
        limits = self.timeout if timeout is UNSET else Timeout.of(timeout)
        return Deadline(limits, asyncio.get_running_loop().time())

    def _proxy_of(self, request: Request) -> Proxy | None:
        """The environment's proxy for a request."""
        origin = request.url.origin
        proxy = self._env_proxies.get(origin.scheme)
        return None if proxy is None or bypasses_proxy(origin) else proxy

    def request(
        self,
        method: str,
        url: str | URL,
        *,
        params: Params = None,
        headers: HeadersInput | None = None,
        content: Content | None = None,
        json: Any = None,
        follow_redirects: bool | Unset = UNSET,
        timeout: Timeout | float | Unset | None = UNSET,
        proxy: str | URL | Unset | None = UNSET,
        idempotent: bool | None = None,
    ) -> Coroutine[Any, Any, Response]:
        """Send a request and read its response.

        - `params`: added to the URL's query: mapping, pairs, or text that is appended as it is.
        - `headers`: added to the client's, in place of those of the same name.
        - `content`: bytes-like, str (UTF-8), a file object, an iterable or async iterable of bytes. `json`: anything
          that `json.dumps` takes.
        - `follow_redirects`, `timeout`, `proxy`: in place of the client's; None switches a timeout or proxy off.
        - `idempotent`: whether the request may be sent twice, if its method does not say so.

        Returns the `Response`, read. Raises the errors of `aiohttpconn.errors`; a 4xx or 5xx is none (see
        `raise_for_status`).
        """
        parts = (method, url, params, headers, content, json, idempotent)
        return self._send(parts, False, follow_redirects, timeout, proxy)

    def stream(
        self,
        method: str,
        url: str | URL,
        *,
        params: Params = None,
        headers: HeadersInput | None = None,
        content: Content | None = None,
        json: Any = None,
        follow_redirects: bool | Unset = UNSET,
        timeout: Timeout | float | Unset | None = UNSET,
        proxy: str | URL | Unset | None = UNSET,
        idempotent: bool | None = None,
    ) -> StreamedResponse:
        """``async with client.stream("GET", url) as response``: the head is there, the body is read on demand.

        Takes what `request` takes. After the block the connection is kept if the body was read, or has arrived, to its
        end, else closed.
        """
        request = self._build(method, url, params, headers, content, json, idempotent)
        return StreamedResponse(self, request, follow_redirects, timeout, proxy)

    def get(self, url: str | URL, **options: Any) -> Coroutine[Any, Any, Response]:
        """`request("GET", url, …)`."""
        return self.request("GET", url, **options)

    def head(self, url: str | URL, **options: Any) -> Coroutine[Any, Any, Response]:
        """`request("HEAD", url, …)`."""
        return self.request("HEAD", url, **options)

    def options(self, url: str | URL, **options: Any) -> Coroutine[Any, Any, Response]:
        """`request("OPTIONS", url, …)`."""
        return self.request("OPTIONS", url, **options)

    def delete(self, url: str | URL, **options: Any) -> Coroutine[Any, Any, Response]:
        """`request("DELETE", url, …)`."""
        return self.request("DELETE", url, **options)

    def post(self, url: str | URL, **options: Any) -> Coroutine[Any, Any, Response]:
        """`request("POST", url, …)`."""
        return self.request("POST", url, **options)

    def put(self, url: str | URL, **options: Any) -> Coroutine[Any, Any, Response]:
        """`request("PUT", url, …)`."""
        return self.request("PUT", url, **options)

    def patch(self, url: str | URL, **options: Any) -> Coroutine[Any, Any, Response]:
        """`request("PATCH", url, …)`."""
        return self.request("PATCH", url, **options)

    # --- state ---

    @property
    def headers(self) -> Headers:
        """The fields that go with every request."""
        return self._headers

    @property
    def base_url(self) -> URL | None:
        """What relative URLs are appended to."""
        return self._base_url

    @property
    def pool(self) -> ConnectionPool | None:
        """The client's pool: its own, or the one given as `transport`; None if the transport is none."""
        if isinstance(self._transport, ConnectionPool):
            return self._transport
        return self._pool

    def stats(self) -> PoolStats:
        """The pool's `stats()`."""
        pool = self.pool
        if pool is None:
            raise TypeError("the client's transport is not a pool")
        return pool.stats()

    async def close(self) -> None:
        """Close the client's pool; a transport that was given stays open. Idempotent."""
        self._closed = True
        if self._pool is not None:
            await self._pool.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Client {'closed' if self._closed else self._transport!r}>"


class StreamedResponse:
    """The block of `Client.stream`."""

    __slots__ = ("_client", "_follow", "_proxy", "_request", "_response", "_timeout")

    def __init__(
        self,
        client: Client,
        request: Request,
        follow_redirects: bool | Unset,
        timeout: Timeout | float | Unset | None,
        proxy: str | URL | Unset | None,
    ) -> None:
        self._client = client
        self._request = request
        self._follow = follow_redirects
        self._timeout = timeout
        self._proxy = proxy
        self._response: Response | None = None

    async def __aenter__(self) -> Response:
        self._response = await self._client.send(
            self._request, stream=True, follow_redirects=self._follow, timeout=self._timeout, proxy=self._proxy
        )
        return self._response

    async def __aexit__(self, *exc: object) -> None:
        if self._response is not None:
            await self._response.close()


def _default_fields() -> list[tuple[str, str]]:
    return [("User-Agent", f"aiohttpconn/{__version__}"), ("Accept", "*/*"), ("Accept-Encoding", accept_encoding())]


def _directory(url: URL) -> URL:
    """A base URL whose path ends with a slash, so that what is joined to it is appended."""
    if url.path.endswith("/"):
        return url
    return parse(f"{url.origin}{url.path}/" + (f"?{url.query}" if url.query else ""))


def _or_none(value: Any) -> Any:
    return None if value is UNSET else value
