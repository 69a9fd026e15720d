"""`Client`: what most people call."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import re
import ssl
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakSet

from multidict import CIMultiDict

from .._version import __version__
from ..config import DEFAULT, UNSET, Deadline, Hedge, Limits, Retry, Timeout, Unset, check_seconds
from ..errors import PoolClosed
from ..headers import Headers, HeadersInput, header_pairs
from ..messages import Request, method_of
from ..net.tls import ssl_context
from ..net.tls_options import TLSOptions
from ..pool import ConnectionPool
from ..pool.ways import NO_PROXY
from ..transport import RequestContext, Transport
from ..url import URL, Params, is_known, join, merge_params, other_params, parse
from ..waits import Waits
from ..wire.codings import accept_encoding
from ..wire.head import MAX_FIELDS, MAX_HEAD, encode_fields
from .body import Content, encode_body, merged_fields, with_body_prepared
from .cookies import CookieJar
from .flow import DRAINED, NO_COOKIES, Call, Flow, GivenCookies, serves_same, with_cookies
from .redirects import REDIRECTS
from .renames import answer_to_other_names
from .response import Response
from .settings import (
    LINKS,
    NOTHING,
    UNFOLLOWED,
    Own,
    check_hooks,
    check_own,
    checked_count,
    checked_encoding,
    checked_flag,
    checked_max_body,
    environment_auth,
    environment_proxies,
    given_auth,
    given_hedge,
    given_retry,
    jar_and_cookies,
    or_none,
    proxy_chooser,
)

if TYPE_CHECKING:
    from typing import Unpack

    from ..bulk.map import MapResults
    from ..bulk.source import Requests
    from ..cache.cache import Cache
    from ..cache.transport import CachingTransport
    from ..download import Download, DownloadResult, RangeStream
    from ..download.keywords import DownloadAllKeywords, DownloadKeywords, RangeStreamKeywords
    from ..net.guard import AddressPolicy
    from ..net.resolve import Resolver
    from ..net.socket_options import SocketOption
    from ..net.tls_certificate import ClientCertificate
    from ..politeness.rule import Rule
    from ..pool.stats import PoolStats
    from ..proxy import Proxy, ProxyInput
    from .auth import Auth, AuthInput
    from .charset import DefaultEncoding
    from .environ import EnvironmentProxies
    from .form import Files, FormData
    from .hooks import Hooks
    from .keywords import RequestKeywords

F = TypeVar("F", bound=Callable[..., Any])
_ABSOLUTE = re.compile(r"http(?:s|\+unix)?://", re.IGNORECASE)
_KEPT_GETS = 256
_DEBUG = logging.DEBUG
_is_logged = logging.getLogger("aiohttpconn.client").isEnabledFor
"""Asked for each request (75 ns), so that the level may be changed at any time."""


def _awaited(function: F) -> F:
    """Mark a function that returns a coroutine (instead of being one: 0.5 µs less) as what it is to its callers, so
    that mocks and `iscoroutinefunction` take it for that."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(function)
    else:
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    return function


class Client:
    """Requests over a pool of keep-alive connections.

    - `base_url`: what relative URLs are appended to. `headers`, `params`: go with every request.
    - `cookies`: left out, a jar of the client's own; a `CookieJar`; a mapping of names to values, which go with every
      request beside the jar; False for no cookies at all.
    - `auth`: (user, password) for basic, an `Auth`, or None. Left out, with `trust_env`, what ~/.netrc (or the file
      that NETRC names) says of a host. It signs requests to the origin that the caller named, not where redirects lead.
    - `timeout`: seconds, a `Timeout`, or None for none. `limits`: of the pool.
    - `retries`: a `Retry`, or how many attempts; None for none. `hedge`: a `Hedge`, or seconds.
    - `max_body`: bytes that the decoded body of a response may have, else `BodyTooLarge`.
    - `proxy`: URL of a proxy (http, https, socks4, socks4a, socks5, socks5h), its credentials as userinfo; a `Proxy`; a
      `ProxyPool`; or a function from the URL of each request to a proxy or None; not beside `uds`. Left out: the
      environment's (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), as they are when the client is made, with
      `trust_env`; None: no proxy.
    - `verify`: True for the system's CAs, the path of a file or folder of CAs, an `ssl.SSLContext`, or False for no
      verification at all. Left out, with `trust_env`, SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE are looked at.
    - `cert`: the client's own certificate: the path of a PEM file with its key, (certificate, key), or (certificate,
      key, password); bytes, and text that begins with ``-----BEGIN``, are the PEM itself.
    - `tls`: `TLSOptions`: another name to verify, pins of keys, the oldest version, whether sessions are resumed.
    - `follow_redirects`, `max_redirects`; `allow_downgrade`: whether a redirect may lead from https to http;
      `cross_origin_headers`: names of more fields that may go to another origin.
    - `raise_for_status`: whether a 4xx or 5xx that a call comes to, after its retries and challenges, is raised as
      `HTTPStatusError`.
    - `hooks`: who is told what happens, see `Hooks`.
    - `json_encoder`: makes the str or bytes of what `json=` is given; left out: orjson if it is installed, else json.
    - `default_encoding`: the charset of text that declares none and has no byte order mark: a name, or a function that
      guesses one of Python's own from the body's bytes; left out: utf-8.
    - `max_head`, `max_fields`: bytes and fields that the heads of one response may have.
    - `transport`: what sends the requests, instead of a pool of the client's own; it is not closed with the client.
    - `politeness`: a rule, or several, for what goes out and when: `RateLimit`, `HostConcurrency`, `AdaptiveThrottle`,
      `RobotsTxt`, or a `Rule` of one's own.
    - `cache`: where responses are stored, to be used again as RFC 9111 has it: a `Cache`, the path of a SQLite file, or
      True for memory. What is answered from it goes past the rules of politeness.
    - `uds`: path of a Unix domain socket that all connections go to; "@name" is an abstract one (Linux). One request's
      is named by its URL: ``http+unix://%2Frun%2Fapp.sock/path``. `local_address`: (address, port), or an address, to
      connect from; no name.
    - `resolver`: who looks up names; left out, a `CachingResolver` of the client's own. One that is given is asked for
      every new connection, and stays its owner's to close; ``CachingResolver(upstream=…)`` around it remembers what it
      said. `resolve`: addresses by hand,
      as ``{"host:port": "address"}`` (curl's ``--resolve``; see `OverridingResolver`).
    - `addresses`: an `AddressPolicy` that says what may be connected to, wherever redirects lead and names point.
    - `socket_options`: (level, name, value) as `setsockopt` takes them, set before connecting. `interface`: the name of
      the network interface to go through. `tcp_keepalive`: (idle, interval, count) of TCP's keep-alive probes.

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
        cookies: Mapping[str, str] | CookieJar | bool | None = None,
        auth: AuthInput | Unset | None = UNSET,
        timeout: Timeout | float | Unset | None = DEFAULT,
        limits: Limits | Unset = UNSET,
        retries: Retry | int | None = None,
        hedge: Hedge | float | None = None,
        max_body: int | None = None,
        proxy: ProxyInput | Unset | None = UNSET,
        trust_env: bool = True,
        verify: bool | str | os.PathLike[str] | ssl.SSLContext | Unset = UNSET,
        cert: ClientCertificate | Unset | None = UNSET,
        tls: TLSOptions | Unset | None = UNSET,
        follow_redirects: bool = True,
        max_redirects: int = 20,
        allow_downgrade: bool = False,
        cross_origin_headers: Iterable[str] = (),
        raise_for_status: bool = False,
        hooks: Hooks | None = None,
        json_encoder: Callable[[Any], str | bytes] | None = None,
        default_encoding: DefaultEncoding = None,
        max_head: int = MAX_HEAD,
        max_fields: int = MAX_FIELDS,
        transport: Transport | None = None,
        politeness: Rule | Iterable[Rule] | None = None,
        cache: Cache | str | os.PathLike[str] | bool | None = None,
        uds: str | os.PathLike[str] | Unset | None = UNSET,
        resolver: Resolver | Unset | None = UNSET,
        resolve: Mapping[str, str | Sequence[str]] | Unset | None = UNSET,
        addresses: AddressPolicy | Unset | None = UNSET,
        local_address: tuple[str, int] | str | Unset | None = UNSET,
        socket_options: Iterable[SocketOption] | Unset = UNSET,
        interface: str | Unset | None = UNSET,
        tcp_keepalive: tuple[int, int, int] | Unset | None = UNSET,
    ) -> None:
        self._base_url = None if base_url is None else _directory(parse(base_url))
        if hooks is not None:
            check_hooks(hooks)
        self._params = params
        self._timeout = Timeout.of(timeout)
        self._follow_redirects = checked_flag("follow_redirects", follow_redirects)
        self._max_redirects = checked_count("max_redirects", max_redirects)
        self._allow_downgrade = allow_downgrade
        self._max_body = checked_max_body(max_body)
        if isinstance(cross_origin_headers, str):
            raise TypeError("cross_origin_headers takes several names: give one as [name]")
        own = header_pairs(headers)
        given = {name.lower() for name, _ in own}
        pairs = [pair for pair in _default_fields() if pair[0].lower() not in given] + own
        self._pairs = pairs
        self._headers: Headers = Headers(CIMultiDict(pairs))
        self._field_lines = encode_fields(pairs)
        if json_encoder is not None and not callable(json_encoder):
            raise TypeError(f"json_encoder must be a function, not {json_encoder!r}")
        self._encode_json = json_encoder
        self._default_encoding = checked_encoding(default_encoding)
        self._raise_for_status = checked_flag("raise_for_status", raise_for_status)
        self._jar, self._cookies = jar_and_cookies(cookies)
        self._auth = (environment_auth() if trust_env else None) if isinstance(auth, Unset) else given_auth(auth)
        self._retry = given_retry(retries)
        self._hedge = given_hedge(hedge)
        network = {
            "limits": limits,
            "proxy": proxy,
            "verify": verify,
            "cert": cert,
            "tls": tls,
            "uds": uds,
            "resolver": resolver,
            "resolve": resolve,
            "addresses": addresses,
            "local_address": local_address,
            "socket_options": socket_options,
            "interface": interface,
            "tcp_keepalive": tcp_keepalive,
        }
        self._closed = False
        self._gets: dict[str, Request] = {}
        self._maps: WeakSet[MapResults] | None = None  # to be ended with this
        self._env_proxies: EnvironmentProxies | None = None
        self._proxies = proxy_chooser(proxy)
        if transport is not None:
            limits_of_heads = {"max_head": (max_head, MAX_HEAD), "max_fields": (max_fields, MAX_FIELDS)}
            needless = [name for name, value in network.items() if value is not UNSET]
            if needless := needless + [name for name, (value, usual) in limits_of_heads.items() if value != usual]:
                raise TypeError(f"{', '.join(needless)}: these are the transport's own affair when transport= is given")
            if isinstance(transport, type) or not callable(getattr(transport, "send", None)):
                raise TypeError(f"transport must have send() and close(), as Transport says, not {transport!r}")
            self._transport: Transport = transport
            self._pool: ConnectionPool | None = None
        else:
            if self._proxies is not None and or_none(uds) is not None:
                raise TypeError(NO_PROXY)
            if proxy is UNSET and trust_env and or_none(uds) is None:  # no proxy lies before a socket of one's own
                self._env_proxies = environment_proxies()
            context = None  # the pool's default is made when https is first spoken
            options = or_none(tls)
            oldest = options.minimum_version if isinstance(options, TLSOptions) else None  # the pool refuses others
            if (own := or_none(cert)) is not None or oldest is not None:
                way = True if isinstance(verify, Unset) else verify
                context = ssl_context(way, trust_env, own, oldest)
            elif not isinstance(verify, Unset) and verify is not True:
                context = ssl_context(verify, trust_env)
            self._transport = self._pool = ConnectionPool(
                or_none(limits),
                self._timeout,
                context,
                None if self._proxies is not None else or_none(proxy),
                or_none(resolver),
                resolve=or_none(resolve),
                addresses=or_none(addresses),
                uds=or_none(uds),
                local_address=or_none(local_address),
                socket_options=or_none(socket_options) or (),
                interface=or_none(interface),
                tcp_keepalive=or_none(tcp_keepalive),
                max_head=max_head,
                max_fields=max_fields,
                tls=options,
                authorities=verify if isinstance(verify, (str, os.PathLike)) else None,
                trust_env=trust_env,
            )
            self._pool.chooser = self._proxies or self._env_proxies or None
        self._network = self._transport
        self._waits = Waits()
        if politeness:
            from ..politeness.transport import PoliteTransport  # noqa: PLC0415 - not every client has rules

            polite = self._transport = PoliteTransport(self._transport, politeness)
            polite.waits = self._waits
        self._caching: CachingTransport | None = None
        if cache is not None and cache is not False:
            from ..cache.transport import CachingTransport  # noqa: PLC0415 - not every client has one

            self._transport = self._caching = CachingTransport(self._transport, cache)
            self._caching.waits = self._waits
        self._hooks = hooks
        self._choose_proxy = self._proxy_of if self._env_proxies else None
        # Without a total limit this says nothing about now, and serves every request.
        self._context = RequestContext(Deadline(self._timeout, 0.0))
        self._flow = Flow(
            self._transport,
            self._waits,
            max_redirects=max_redirects,
            allow_downgrade=allow_downgrade,
            cross_origin_headers=frozenset([name.lower() for name in cross_origin_headers]),
        )
        # Whether a request needs nothing but to be sent: what nearly all of them do.
        self._plain = (
            self._timeout.total is None
            and max_body is None
            and not self._cookies
            and self._auth is None
            and self._retry is None
            and self._hedge is None
            and hooks is None
            and self._choose_proxy is None
            and self._proxies is None
        )

    # --- requests ---

    def build_request(
        self,
        method: str,
        url: str | URL,
        *,
        params: Params = None,
        headers: HeadersInput | None = None,
        content: Content | None = None,
        data: FormData | None = None,
        json: Any = None,
        files: Files | None = None,
        idempotent: bool | None = None,
    ) -> Request:
        """The `Request` that `request()` would send. (Cookies and signatures are put on as it is sent.)

        Raises `InvalidURL`, `InvalidMethod`, `InvalidHeader`, and TypeError for what cannot be sent.
        """
        return self._build(method, url, params, headers, content, data, json, files, idempotent)

    def _build(
        self,
        method: str,
        url: str | URL,
        params: Params = None,
        headers: HeadersInput | None = None,
        content: Content | None = None,
        data: FormData | None = None,
        json: Any = None,
        files: Files | None = None,
        idempotent: bool | None = None,
    ) -> Request:
        url = parse(url) if self._base_url is None else self._absolute(url)
        if self._params is not None:
            url = merge_params(url, self._params if params is None else other_params(self._params, params))
        if params is not None:
            url = merge_params(url, params)
        if headers is content is data is json is files is None and method == "GET":
            # The fields of most requests are the client's own, in wire form since the client was made.
            return Request(method, url, self._headers, None, field_lines=self._field_lines, idempotent=idempotent)
        method = method_of(method)
        own = header_pairs(headers)
        body, fields = encode_body(method, content, data, json, files, self._encode_json, own)
        pairs = merged_fields(self._headers, fields, own)
        return Request(method, url, Headers(CIMultiDict(pairs)), body, idempotent=idempotent)

    def _get_of(self, url: str) -> Request:
        """The GET of a URL without anything else; kept when it is asked for again, as many are: 5,000 of a request's
        62,000 instructions."""
        may_come_again = is_known(url)
        if self._base_url is None and self._params is None:  # what `_build` does then
            request = Request("GET", parse(url), self._headers, None, field_lines=self._field_lines)
        else:
            request = self._build("GET", url)
        if not may_come_again:
            return request
        if len(self._gets) >= _KEPT_GETS:
            self._gets.clear()
        self._gets[url] = request
        return request

    def _absolute(self, url: str | URL) -> URL:
        """A URL as it is, anything else appended to `base_url`: never does it lead to another host."""
        if isinstance(url, URL) or not isinstance(url, str) or _ABSOLUTE.match(url):
            return parse(url)
        assert self._base_url is not None
        relative = url.lstrip("/\\ ")
        # "./" before what could be taken for a scheme: "v1:batchGet" is a path.
        return join(self._base_url, relative if relative[:1] in ("", "?", "#") else "./" + relative)

    @_awaited
    def send(
        self,
        request: Request,
        *,
        stream: bool = False,
        cookies: Mapping[str, str] | CookieJar | bool | None = None,
        auth: AuthInput | Unset | None = UNSET,
        follow_redirects: bool | Unset = UNSET,
        timeout: Timeout | float | Unset | None = UNSET,
        proxy: ProxyInput | Unset | None = UNSET,
        max_body: int | Unset | None = UNSET,
        retries: Retry | int | Unset | None = UNSET,
        hedge: Hedge | float | Unset | None = UNSET,
    ) -> Coroutine[Any, Any, Response]:
        """Send a `Request`: one of `build_request`, one made by hand, or the `next_request` of a response.

        - `stream`: whether the body is still to be read, and the response to be closed, by the caller.
        - the others are those of `request`.

        A request that follows a redirect to another origin gets neither the client's `auth` nor the cookies of a
        mapping, as if the client had followed it. A body that is a stream is read from where it stands when it is first
        sent; whether it can be sent again, `request.replayable` then says.
        """
        if not isinstance(request, Request):
            raise TypeError(f"send() takes a Request, not {type(request).__name__}; request() takes a method and a URL")
        if request.body is not None:
            request = with_body_prepared(request)
        if cookies is None and auth is timeout is proxy is max_body is retries is hedge is UNSET:
            if follow_redirects is UNSET:
                return self._send(request, stream, None)
            if follow_redirects is False:
                return self._send(request, stream, UNFOLLOWED)
        own = Own(cookies, auth, follow_redirects, timeout, proxy, max_body, retries, hedge)
        return self._send(request, stream, None if own == NOTHING else own)

    def send_for_links(self, request: Request, **own: Any) -> Coroutine[Any, Any, Response]:
        """`send` for a crawl, to which a redirect is a link: of the body of one that is not followed, as of those that
        are, no more is read than it takes to keep the connection (64 KiB)."""
        if request.body is not None:
            request = with_body_prepared(request)
        return self._send(request, False, UNFOLLOWED if own == LINKS else Own(**own), True)

    async def _send(
        self,
        request: Request | tuple[Any, ...] | str | URL,
        stream: bool,
        own: Own | None,
        pass_over_redirects: bool = False,
    ) -> Response:
        """Send a request, or one still to be built of what `_build` takes, or a GET of a URL: in here, so that what is
        wrong with it is raised where the caller awaits, without a coroutine more (0.5 µs)."""
        if isinstance(request, str):
            request = self._gets.get(request) or self._get_of(request)
        elif not isinstance(request, Request):
            request = self._build(*request) if isinstance(request, tuple) else self._build("GET", request)
        if self._closed:
            error = PoolClosed("the client is closed", doing=f"{request.method} {request.url.shown}")
            error.request = request
            raise error
        if (
            (own is None or own is UNFOLLOWED)
            and self._plain
            and not request.url.has_userinfo
            and not _is_logged(_DEBUG)
        ):
            # Flow.run without what is not there to be done: it spares 5 of 20 µs.
            jar = self._jar
            sent = request if jar is None or not jar.size else with_cookies(request, jar, NO_COOKIES)
            began = perf_counter()
            raw = await self._transport.send(sent, self._context)
            response = Response(raw, sent, began)
            if sent is not request:
                response.asked = request
            head = raw.head
            if jar is not None and head.set_cookie is not None:
                jar.update(request.url, head.set_cookie)
            if self._default_encoding is not None:
                response.default_encoding = self._default_encoding
            if head.status in REDIRECTS:
                response.redirect_rules = self._flow.redirect_rules
                call = self._call(own or NOTHING)
                call.asked = request
                response = await self._flow.follow(request, response, call)
        else:
            call = self._call(own or NOTHING)
            if (first := request.redirected_from) is not None and first != request.url.origin:
                self._keep_back(request, call, own or NOTHING)
            response = await self._flow.run(request, call)
        if pass_over_redirects and response.is_redirect:
            await response.drain(DRAINED)
        elif not stream:
            if response.hooks is not None:
                await _read_and_tell(response, response.hooks)
            elif not response.keep_arrived():
                await response.read_or_close()
        if self._raise_for_status and response.is_error:
            if stream:
                await response.close()
            response.raise_for_status()
        return response

    def _keep_back(self, request: Request, call: Call, own: Own) -> None:
        """Take from a call what the client has for the origin where the caller began, and not for this one, to which a
        redirect led."""
        assert request.redirected_from is not None
        if own.auth is UNSET and call.auth is not None:
            call.auth = call.auth.elsewhere()
        if not serves_same(request.redirected_from, request.url.origin):
            call.cookies = GivenCookies(call.cookies.own, None)

    def _call(self, own: Own) -> Call:
        """What holds for one call: the client's settings, and the caller's own in their place."""
        deadline = self._context.deadline
        if own.timeout is not UNSET or self._timeout.total is not None:
            timeout = self._timeout if isinstance(own.timeout, Unset) else Timeout.of(own.timeout)
            deadline = Deadline(timeout, asyncio.get_running_loop().time())
        jar, own_cookies, cookies = self._jar, None, self._cookies
        if own.cookies is False:
            jar = cookies = None
        elif own.cookies is not None and own.cookies is not True:
            own_jar, own_cookies = jar_and_cookies(own.cookies)
            if own_cookies is None:
                jar = own_jar
        retry = self._retry if isinstance(own.retries, Unset) else given_retry(own.retries)
        hedge = self._hedge if isinstance(own.hedge, Unset) else given_hedge(own.hedge)
        if (retry is not None or hedge is not None) and self._flow.record is None:
            from .retries import RetryRecord  # noqa: PLC0415 - most clients send everything once

            self._flow.record = RetryRecord()
        proxies = self._proxies
        proxy: Proxy | Unset | None = UNSET
        if not isinstance(own.proxy, Unset):
            proxies = proxy_chooser(own.proxy)
            if proxies is None:
                from ..proxy import Proxy  # noqa: PLC0415 - for who uses one

                proxy = Proxy.of(own.proxy)  # type: ignore[arg-type]  # it is no function
            elif self.pool is not None and self.pool.uds is not None:
                raise TypeError(NO_PROXY)  # before one takes its turn
        hooks = self._hooks
        if _is_logged(_DEBUG):
            from .logs import with_logs  # noqa: PLC0415 - few watch the log

            hooks = with_logs(hooks)
        return Call(
            deadline=deadline,
            follow=self._follow_redirects
            if isinstance(own.follow_redirects, Unset)
            else checked_flag("follow_redirects", own.follow_redirects),
            auth=self._auth if isinstance(own.auth, Unset) else given_auth(own.auth),
            cookies=GivenCookies(own_cookies, cookies) if own_cookies or cookies else NO_COOKIES,
            jar=jar,
            jar_is_own=jar is not self._jar,
            default_encoding=self._default_encoding,
            max_body=self._max_body if isinstance(own.max_body, Unset) else checked_max_body(own.max_body),
            retry=retry,
            hedge=hedge,
            proxy=proxy,
            choose_proxy=self._choose_proxy if own.proxy is UNSET else None,
            proxies=proxies,
            hooks=hooks,
        )

    def _proxy_of(self, request: Request) -> Proxy | None:
        """The environment's proxy for a request."""
        assert self._env_proxies is not None
        return self._env_proxies.proxy_for(request.url.origin)

    @_awaited
    def request(
        self,
        method: str,
        url: str | URL,
        *,
        params: Params = None,
        headers: HeadersInput | None = None,
        cookies: Mapping[str, str] | CookieJar | bool | None = None,
        auth: AuthInput | Unset | None = UNSET,
        content: Content | None = None,
        data: FormData | None = None,
        json: Any = None,
        files: Files | None = None,
        follow_redirects: bool | Unset = UNSET,
        timeout: Timeout | float | Unset | None = UNSET,
        proxy: ProxyInput | Unset | None = UNSET,
        max_body: int | Unset | None = UNSET,
        retries: Retry | int | Unset | None = UNSET,
        hedge: Hedge | float | Unset | None = UNSET,
        idempotent: bool | None = None,
    ) -> Coroutine[Any, Any, Response]:
        """Send a request and read its response.

        - `params`: added to the URL's query: mapping, pairs, or text that is appended as it is.
        - `headers`: added to the client's, in place of those of the same name.
        - `cookies`: a mapping that goes with this request beside the client's cookies, and where it is redirected
          within the same host; or a `CookieJar` in place of the client's; or False for none.
        - `content`: bytes-like, str (UTF-8), a file object, an iterable or async iterable of bytes. `data`: a form, as
          a mapping or pairs. `json`: anything that `json.dumps` takes. `files`: a form with files, as
          multipart/form-data.
        - `auth`, `follow_redirects`, `timeout`, `proxy`, `max_body`, `retries`, `hedge`: in place of the client's; None
          switches them off.
        - `idempotent`: whether the request may be sent twice, if its method does not say so.

        Returns the `Response`, read. Raises the errors of `aiohttpconn.errors`; a 4xx or 5xx is none (see
        `raise_for_status`).
        """
        parts = (method, url, params, headers, content, data, json, files, idempotent)
        if cookies is None and auth is follow_redirects is timeout is proxy is max_body is retries is hedge is UNSET:
            return self._send(parts, False, None)
        own = Own(cookies, auth, follow_redirects, timeout, proxy, max_body, retries, hedge)
        return self._send(parts, False, own)

    def stream(
        self,
        method: str,
        url: str | URL,
        *,
        params: Params = None,
        headers: HeadersInput | None = None,
        cookies: Mapping[str, str] | CookieJar | bool | None = None,
        auth: AuthInput | Unset | None = UNSET,
        content: Content | None = None,
        data: FormData | None = None,
        json: Any = None,
        files: Files | None = None,
        follow_redirects: bool | Unset = UNSET,
        timeout: Timeout | float | Unset | None = UNSET,
        proxy: ProxyInput | Unset | None = UNSET,
        max_body: int | Unset | None = UNSET,
        retries: Retry | int | Unset | None = UNSET,
        hedge: Hedge | float | Unset | None = UNSET,
        idempotent: bool | None = None,
    ) -> StreamedResponse:
        """``async with client.stream("GET", url) as response``: the head is there, the body is read on demand.

        Takes what `request` takes. After the block the connection is kept if the body was read, or has arrived, to its
        end, else closed.
        """
        request = self._build(method, url, params, headers, content, data, json, files, idempotent)
        own = Own(cookies, auth, follow_redirects, timeout, proxy, max_body, retries, hedge)
        return StreamedResponse(self, request, None if own == NOTHING else own)

    @_awaited
    def get(self, url: str | URL, **options: Unpack[RequestKeywords]) -> Coroutine[Any, Any, Response]:
        """`request("GET", url, …)` with `params`, `headers`, `content`, `data`, `json`, `files`, `auth` …"""
        if options:
            return self.request("GET", url, **options)
        return self._send(url, False, None)  # `request` with nothing to say passes 18 arguments: 0.4 µs

    @_awaited
    def head(self, url: str | URL, **options: Unpack[RequestKeywords]) -> Coroutine[Any, Any, Response]:
        """`request("HEAD", url, …)` with `params`, `headers`, `content`, `data`, `json`, `files`, `auth` …"""
        return self.request("HEAD", url, **options)

    @_awaited
    def options(self, url: str | URL, **options: Unpack[RequestKeywords]) -> Coroutine[Any, Any, Response]:
        """`request("OPTIONS", url, …)` with `params`, `headers`, `content`, `data`, `json`, `files`, `auth` …"""
        return self.request("OPTIONS", url, **options)

    @_awaited
    def delete(self, url: str | URL, **options: Unpack[RequestKeywords]) -> Coroutine[Any, Any, Response]:
        """`request("DELETE", url, …)` with `params`, `headers`, `content`, `data`, `json`, `files`, `auth` …"""
        return self.request("DELETE", url, **options)

    @_awaited
    def post(self, url: str | URL, **options: Unpack[RequestKeywords]) -> Coroutine[Any, Any, Response]:
        """`request("POST", url, …)` with `params`, `headers`, `content`, `data`, `json`, `files`, `auth` …"""
        return self.request("POST", url, **options)

    @_awaited
    def put(self, url: str | URL, **options: Unpack[RequestKeywords]) -> Coroutine[Any, Any, Response]:
        """`request("PUT", url, …)` with `params`, `headers`, `content`, `data`, `json`, `files`, `auth` …"""
        return self.request("PUT", url, **options)

    @_awaited
    def patch(self, url: str | URL, **options: Unpack[RequestKeywords]) -> Coroutine[Any, Any, Response]:
        """`request("PATCH", url, …)` with `params`, `headers`, `content`, `data`, `json`, `files`, `auth` …"""
        return self.request("PATCH", url, **options)

    # --- files ---

    async def download(
        self, url: str | URL, path: str | os.PathLike[str] | None = None, **options: Unpack[DownloadKeywords]
    ) -> Download:
        """Save a file: as ``PATH.part`` until it is complete and verified, then renamed.

        What breaks off, or is killed, is gone on with: by this call after a failure that passes, else by the same call
        in another run. The file's version is told by its entity tag or Last-Modified (RFC 9110 section 13.1.5); one
        that has changed meanwhile is begun anew. But where HTML comes in the place of a half file that was none (of a
        login that ran out, say), that is a `DownloadError`, and the half file is kept. It is saved as it is sent, a
        Content-Encoding that nobody asked for left on; with an Accept-Encoding field of the caller's own, decoded.

        - `path`: the file; or a folder that is there, or a name that ends in a separator, or None for the current
          folder: then the name is Content-Disposition's, else the URL's, made harmless. Folders that are missing are
          made, once there is something to be put in them.
        - `segments`: connections that bring ranges of it side by side; those that are done take over from slow ones,
          and after a second or two from one that is stalled all of it. (One that is still to be answered is left alone:
          for 4 s at least, and with `politeness` for ever.) "auto": one for each 16 MiB, at most 8. A server that has
          no ranges sends it over one; one that does not say (no Accept-Ranges) is asked for the last byte while the
          file is on its way, and divides what is left then. 8 take 3 MiB of memory (over TLS 6), however large the
          file; 64, the most, some 30.
        - `checksum`: "sha256:…", or another algorithm of `hashlib`, in hexadecimal or base64. What Repr-Digest,
          Content-Digest, Digest or Content-MD5 say is verified too.
        - `mirrors`: other URLs of the same file, asked in turn, and instead of one that fails. Without `checksum`,
          ranges are taken from one whose strong ETag, or Last-Modified and size, is that of the first.
        - `resume`: whether to go on with what an earlier run left; `repairs`: how many failures in a row, without a
          byte between, are borne (5).
        - `overwrite`: whether a file that is there is replaced; left out, one that `path` names is, one whose name the
          server chose is not (FileExistsError), and one that has the checksum, or else the size, the Last-Modified and
          the digests that the server states, is the file: nothing is fetched then. (The server is asked for the first
          byte, unless the file has changed since: If-Range, RFC 9110 section 13.1.5. One without ranges begins to send
          all of it.)
        - `on_progress`: called with a `Progress`, at most ten times a second; `progress`: True, or a
          `rich.progress.Progress`, for a bar on the terminal (extra ``cli``).
        - `limit_rate`: bytes per second over all segments. `fsync`: whether what counts as saved is on the disk,
          so that a power cut leaves nothing wrong: a sync for every 256 KiB to 1 MiB (1 to 10 ms), and when it is done.
        - `params`, `headers`, `cookies`, `auth`, `follow_redirects`, `timeout` (`total` is for all of it), `proxy`,
          `retries`: as of `request`; and `max_body`, which left out is the client's: `BodyTooLarge` for a file above.

        Raises `HTTPStatusError`, `ChecksumMismatch` (the bytes are thrown away), `FileChanged` and other
        `DownloadError`, OSError of the file system, and what requests raise. A note of the error says what was kept.
        """
        from ..download import download  # noqa: PLC0415 - most clients save nothing

        return await download(self, url, path, **options)

    async def download_all(
        self,
        items: Iterable[Any] | AsyncIterable[Any] | Mapping[Any, Any],
        **options: Unpack[DownloadAllKeywords],
    ) -> list[DownloadResult]:
        """Save many files; a `DownloadResult` for each, in their order.

        - `items`: URLs, pairs of URL and path, or triples with a dict of keywords for that file; an iterable, async or
          not, from which they are taken as they are begun; or a mapping of URL to path. `directory`: what their paths
          are relative to.
        - `concurrency`: how many at a time (8). `on_result`: called with each `DownloadResult` as it comes.
        - the others are those of `download`, for each file; `limit_rate` is for all together.

        A file that fails does not stop the others: its `DownloadResult` has the error, and so has an item that is none.
        A name that a server chooses and another item has gets the number of its item; two items with the same path are
        an error of the second. When this is cancelled, all are, and the same call goes on with them; what is complete
        is not fetched again. What `items` raises is raised when those before it are done.
        """
        from ..download import download_all  # noqa: PLC0415 - the same

        return await download_all(self, items, **options)

    def stream_ranges(self, url: str | URL, **options: Unpack[RangeStreamKeywords]) -> RangeStream:
        """A file's bytes in their order, fetched in ranges over several connections: an asynchronous iterator, and a
        block, which lets go of the connections at once where the loop is left early.

        - `segments`: how many connections, up to 64 (4, as is "auto"). `window`: bytes that are held, at most (16 MiB).
        - `mirrors`, `repairs`, `limit_rate`, `checksum`, and the request's keywords: those of `download`. What the file
          is to have is known at the end: `ChecksumMismatch` then comes in place of the end. Of `timeout`, `total` is
          for all of it: the time that is waited for pieces, not what the caller does with them.

        A file without ranges, or whose version cannot be told, comes over one connection; a server that does not say
        whether it has ranges (no Accept-Ranges) is asked for the last byte meanwhile. If it turns out halfway that
        ranges are not heeded, all of the file is fetched once more, and what was handed out left out. Raises
        `FileChanged` for one that changes meanwhile.
        """
        from ..download import stream_ranges  # noqa: PLC0415 - the same

        return stream_ranges(self, url, **options)

    # --- many requests ---

    def map(
        self,
        requests: Requests,
        *,
        concurrency: int = 100,
        per_host: int = 8,
        ordered: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        handle: Callable[[Response], Awaitable[Any]] | None = None,
        window: int | None = None,
        method: str = "GET",
        **options: Unpack[RequestKeywords],
    ) -> MapResults:
        """``async for result in client.map(urls)``: send many requests at a time, and have the results as they come.

        - `requests`: an iterable or async iterable, read only as far as there is room, of URLs and of `Request`s; or a
          `Frontier`.
        - `concurrency`: how many are under way at a time; `per_host`: how many of them to one origin. More than the
          client's `Limits` have connections wait in the pool.
        - `ordered`: whether results come in the order of their requests, each held back until those before it are done.
        - `checkpoint`: path of an SQLite file that remembers what is finished: a next run over the same requests leaves
          it out. Finished is a result that was taken and followed by the next (or by the end of an ``async with``
          block), and that has a response other than 429, 502, 503 and 504; what comes to an error is tried again. It is
          known by method, URL and body, a `Request` by its own fields as well, so what a list has twice is sent once or
          twice. After a crash, what was finished in the last 0.1 s may be sent again. A file that is no map's
          checkpoint, or cannot be written, is an OSError; one that another map has, here or in another process, a
          BlockingIOError.
        - `handle`: a coroutine function that each response is given to as it comes, as many at a time as are under way;
          what it returns is `MapResult.value`.
        - `window`: how many requests may be read ahead of those that can be sent, and wait in memory, left out
          10 × `concurrency`; once if `ordered`, or from a `Frontier`, whose priorities are for what has not been read
          (10 × with `politeness`: only hosts of which something has been read go side by side). What is redirected
          counts as its first URL's host's.
        - `method`, and the others as `request` has them, go with every URL; `timeout`, `auth`, `cookies`, `proxy`,
          `follow_redirects`, `max_body`, `retries` and `hedge` with `Request`s, too.

        A host that is slow, or hangs, holds up its own requests only. When all that wait are to hosts that have
        `per_host` under way, or have to wait, and more could be sent, those of the hosts that have most are put aside
        in a temporary file, in their order (a `Frontier`'s: by priority), and the source is read on: after 0.1 s,
        1,000 requests of these hosts at a time; as fast as can be while it has some that can be sent, else up to
        10,000 a second while everything hangs, and 1,000 while results come. So an endless source of one host that
        hangs fills the disk, slowly. A `Request` that was put aside is an equal one in its result; one whose body is
        read as it is sent cannot be put aside, and counts against the window, as does everything if `ordered`. A file
        that cannot be written is an OSError.

        A request that has to wait for a rule of `politeness`, or for what one asks for (a robots.txt, which counts as
        under way itself), is not under way: others go, and of its host none is begun until it goes. So each host has
        its own rate, however many wait, as far as the window holds requests to it. Nor is one under way that waits to
        be sent again (`retries`), or, with `politeness` or `retries`, for the answer to an identical one (`cache`);
        it counts within its host's `per_host`.

        Besides what waits in the window, `concurrency` requests are under way and as many results wait to be taken
        (`ordered`: what is held back counts against the window); a consumer that is slow slows the map down.

        What is wrong with the keywords, which would be so with each request, is raised here: TypeError for a name that
        is none, and for a body that can be read only once. What goes wrong with one request, an invalid URL included,
        is its result's `error`. What the source itself raises ends the map after the last result, and so does
        `close()`, which cancels what is still under way then. See `MapResults` for leaving it early.

        >>> async def main():
        ...     async with Client() as client:
        ...         urls = [f"http://localhost:8000/{number}" for number in range(3)]
        ...         return [result.response.status async for result in client.map(urls) if result.ok]
        """
        from ..bulk.map import MapResults  # noqa: PLC0415 - for who has many

        results = MapResults(
            self,
            requests,
            concurrency=concurrency,
            per_host=per_host,
            ordered=ordered,
            checkpoint=checkpoint,
            handle=handle,
            window=window,
            method=method,
            **options,
        )
        check_own(Own(**{name: value for name, value in options.items() if name in Own._fields}))  # type: ignore[arg-type]
        if self._maps is None:
            self._maps = WeakSet()
        self._maps.add(results)
        return results

    # --- state ---

    @property
    def headers(self) -> Headers:
        """The fields that go with every request."""
        return self._headers

    @property
    def cookies(self) -> CookieJar | None:
        """The jar of the cookies that servers set; None with `cookies=False`."""
        return self._jar

    @property
    def base_url(self) -> URL | None:
        """What relative URLs are appended to."""
        return self._base_url

    # Read-only, as everything that a client is made with: the pool and the flow have been made by it.

    @property
    def params(self) -> Params:
        """What goes into every request's query."""
        return self._params

    @property
    def auth(self) -> Auth | None:
        """Who signs the requests."""
        return self._auth

    @property
    def timeout(self) -> Timeout:
        """What holds for requests without one of their own."""
        return self._timeout

    @property
    def retries(self) -> Retry | None:
        """When requests without `retries` of their own are sent again."""
        return self._retry

    @property
    def hooks(self) -> Hooks | None:
        """Who is told what happens."""
        return self._hooks

    @property
    def follow_redirects(self) -> bool:
        """Whether redirects are followed."""
        return self._follow_redirects

    @property
    def max_redirects(self) -> int:
        """How many redirects of one request are followed."""
        return self._max_redirects

    @property
    def allow_downgrade(self) -> bool:
        """Whether a redirect may lead from https to http."""
        return self._allow_downgrade

    @property
    def max_body(self) -> int | None:
        """Bytes that the decoded body of a response may have; None for no limit."""
        return self._max_body

    @property
    def holds_back(self) -> bool:
        """Whether requests may have to wait for rules of politeness, the client's or those of its transport."""
        return getattr(self._transport, "holds_back", False)

    @property
    def is_closed(self) -> bool:
        """Whether `close()` was called."""
        return self._closed

    @property
    def pool(self) -> ConnectionPool | None:
        """The client's pool: its own, or the one given as `transport`; None if the transport is none."""
        return self._network if isinstance(self._network, ConnectionPool) else None

    def stats(self) -> PoolStats:
        """The pool's `stats()`."""
        pool = self.pool
        if pool is None:
            raise TypeError("the client's transport is not a pool")
        return pool.stats()

    async def warm(self, url: str | URL, n: int = 1) -> int:
        """Open connections in advance, so that `n` to the origin of `url` are idle; how many were opened.

        They go the way that a request to `url` would go: a function or `ProxyPool` that is the client's `proxy` is
        asked once, for all of them. See `ConnectionPool.warm`.
        """
        request = self._build("GET", url)
        pool = self.pool
        if pool is None:
            raise TypeError("the client's transport is not a pool")
        if self._closed:
            raise PoolClosed("the client is closed", doing=f"a connection in advance to {request.url.origin}")
        return await pool.warm(request.url, n)

    async def close(self, grace: float | None = 0.0) -> None:
        """Close the client's pool; a transport that was given stays open. Who waits for a connection, a rule of
        politeness, another's answer or the time of a retry is told at once: `PoolClosed`. Idempotent.

        - `grace`: seconds that calls under way get to end before that, their bodies read, their redirects followed, and
          those that wait served; None for as long as they take. New ones are `PoolClosed` at once. (Of those in a
          transport that was given, only those are known that wait before it.)

        A second `close()` has a grace of its own: without one it aborts what the first still waits for. When it is
        cancelled, everything is aborted at once.
        """
        check_seconds("grace", grace)
        self._closed = True
        pool = self._pool
        try:
            if grace != 0:
                for each in list(self._maps or ()):
                    each.wind_up(PoolClosed("the client is closed"))
                try:
                    async with asyncio.timeout(grace):
                        await self._calls_over()
                except TimeoutError:
                    pass
        finally:
            self._waits.close()
            try:
                if self._caching is not None:
                    await self._caching.release()
            finally:
                try:
                    if pool is not None:
                        await pool.close()
                finally:
                    for each in list(self._maps or ()):  # who reads it may have been cancelled
                        each.break_off(PoolClosed("the client is closed"))

    async def _calls_over(self) -> None:
        """Wait until no call is under way any more."""
        while True:
            if self._pool is not None:
                await self._pool.drain()
            if not self._waits:
                return
            await self._waits.over()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Client {'closed' if self._closed else self._transport!r}>"


answer_to_other_names(Client)


class StreamedResponse:
    """The block of `Client.stream`."""

    __slots__ = ("_client", "_own", "_request", "_response")

    def __init__(self, client: Client, request: Request, own: Own | None) -> None:
        self._client = client
        self._request = request
        self._own = own
        self._response: Response | None = None

    async def __aenter__(self) -> Response:
        self._response = await self._client._send(self._request, True, self._own)
        return self._response

    async def __aexit__(self, *exc: object) -> None:
        if self._response is not None:
            await self._response.close()

    def __await__(self) -> Any:
        raise TypeError("stream() is for a block: async with client.stream(…) as response; client.get() is awaited")


async def _read_and_tell(response: Response, hooks: Hooks) -> None:
    """Read the body; the hooks are told if it breaks off."""
    try:
        if not response.keep_arrived():
            await response.read_or_close()
    except (Exception, asyncio.CancelledError) as error:
        await hooks.error(response.request, error)
        raise


def _default_fields() -> list[tuple[str, str]]:
    return [("User-Agent", f"aiohttpconn/{__version__}"), ("Accept", "*/*"), ("Accept-Encoding", accept_encoding())]


def _directory(url: URL) -> URL:
    """A base URL whose path ends with a slash, so that what is joined to it is appended."""
    if url.path.endswith("/"):
        return url
    before, mark, query = url.without_fragment().href.partition("?")
    return parse(f"{before}/{mark}{query}")
