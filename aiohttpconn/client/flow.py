"""One call's way to its response: redirect hops, within each the auth flow, within it the retries, then the transport.

The order is that of the secrets' scope: every hop has an auth flow of its own, so that what signs the requests to one
origin never sees those to another. Cookies go onto each request as it is sent, and are taken from each response.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

from ..errors import HTTPException, ReadTimeout, TooManyRedirects, TotalTimeout
from ..messages import Request
from ..transport import RequestContext
from ..upload import body_pieces
from .redirects import redirect_location, redirected
from .response import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ..config import Deadline, Hedge, Retry, Unset
    from ..messages import Proxy
    from ..transport import Transport
    from .auth import Auth
    from .cookies import CookieJar
    from .hooks import Hooks
    from .retries import RetryRecord

DRAINED = 65_536
"""Bytes of a body that nobody asked for (a redirect's, a challenge's) that are read to keep its connection; a longer
one costs more than a new connection."""


class Attempt(NamedTuple):
    """One attempt that was followed by another: to what it came, and the seconds before the next."""

    outcome: int | HTTPException
    delay: float

    @property
    def said(self) -> str:
        """The outcome in words."""
        outcome = self.outcome
        return f"{type(outcome).__name__}: {outcome}" if isinstance(outcome, HTTPException) else f"status {outcome}"


class Call:
    """What holds for one call beside its request: the client's settings with the caller's in their place."""

    __slots__ = (
        "auth",
        "choose_proxy",
        "cookies",
        "deadline",
        "follow",
        "hedge",
        "history",
        "hooks",
        "jar",
        "max_body",
        "proxy",
        "resends",
        "retry",
        "sent",
    )

    def __init__(
        self,
        *,
        deadline: Deadline,
        follow: bool,
        auth: Auth | None,
        cookies: Mapping[str, str] | None,
        jar: CookieJar | None,
        max_body: int | None,
        retry: Retry | None,
        hedge: Hedge | None,
        proxy: Proxy | Unset | None,
        choose_proxy: Callable[[Request], Proxy | None] | None,
        hooks: Hooks | None,
    ) -> None:
        self.deadline = deadline
        self.follow = follow
        self.auth = auth
        self.cookies = cookies
        self.jar = jar
        self.max_body = max_body
        self.retry = retry
        self.hedge = hedge
        self.proxy = proxy
        self.choose_proxy = choose_proxy
        self.hooks = hooks
        self.resends = 0
        self.history: list[Response] = []
        self.sent = False  # a body that was sent once has to be rewound before it is sent again


class Flow:
    """A client's part in every call: its transport, and what it remembers."""

    def __init__(
        self,
        transport: Transport,
        *,
        max_redirects: int,
        allow_downgrade: bool,
        cross_origin_headers: frozenset[str],
    ) -> None:
        self.transport = transport
        self.record: RetryRecord | None = None  # made when somebody first asks for retries
        self.max_redirects = max_redirects
        self.allow_downgrade = allow_downgrade
        self.cross_origin_headers = cross_origin_headers

    async def run(self, request: Request, call: Call) -> Response:
        """Send a request, and follow where its response leads; the last response, its body unread."""
        if call.auth is None and request.url.has_userinfo:
            call.auth = _userinfo_auth(request)  # the caller's own: it signs wherever he named the origin
        return await self.follow(request, await self._hop(request, call, call.auth, call.cookies), call)

    async def follow(self, request: Request, response: Response, call: Call) -> Response:
        """Go on from the response to a request, if it is a redirect.

        The request is the one before it was signed and given cookies: each hop has its own.
        """
        first = request.url.origin
        redirects = 0
        auth, cookies = call.auth, call.cookies
        while call.follow and (location := redirect_location(response.head)) is not None:
            try:
                if redirects >= self.max_redirects:
                    raise TooManyRedirects(
                        f"more than {self.max_redirects} redirects",
                        history=(*call.history, response),
                        doing=f"{request.method} {request.url.without_userinfo()}",
                    )
                following = redirected(
                    request,
                    response.status,
                    location,
                    allow_downgrade=self.allow_downgrade,
                    keep=self.cross_origin_headers,
                )
            except HTTPException as error:
                error.request = request
                await response.close()
                raise
            redirects += 1
            call.sent = True  # also by who sent the first request without this flow
            await response.drain(DRAINED)
            call.history.append(response)
            if call.hooks is not None:
                await call.hooks.redirect(response, following)
            dropped = tuple([name for name in request.headers if name not in following.headers])
            request = following
            # What was given for one host, or signs for one origin, stays there.
            origin = request.url.origin
            hop_auth = auth if auth is None or origin == first else auth.elsewhere()
            response = await self._hop(request, call, hop_auth, cookies if origin.host == first.host else None)
            response.dropped = dropped
        return response

    # --- one hop ---

    async def _hop(
        self, request: Request, call: Call, auth: Auth | None, cookies: Mapping[str, str] | None
    ) -> Response:
        """Send the requests of an auth flow, and return the response to the last of them."""
        if auth is None and request.url.has_userinfo:
            auth = _userinfo_auth(request)  # a Location's: for this hop only
        if auth is None:
            return await self._attempts(request, call, cookies)
        if auth.needs_request_body:
            request = await _with_body_read(request)
        flow = auth.async_flow(request)
        try:
            signed = await _in_time(anext(flow), request, call)
            while True:
                response = await self._attempts(signed, call, cookies)
                try:
                    if auth.needs_response_body:
                        await response.read_or_close()
                    signed = await _in_time(flow.asend(response), request, call)
                except StopAsyncIteration:
                    return response
                except BaseException:
                    await response.close()
                    raise
                await response.drain(DRAINED)
                call.history.append(response)
        finally:
            await flow.aclose()

    # --- one request, perhaps several times ---

    async def _attempts(self, request: Request, call: Call, cookies: Mapping[str, str] | None) -> Response:
        retry, hedge, record = call.retry, call.hedge, self.record
        if record is None or (retry is None and hedge is None):
            return await self._send(request, call, cookies)
        record.began(request, retry, hedge)
        if retry is None:
            return await self._send_or_hedge(request, call, cookies)
        loop = asyncio.get_running_loop()
        attempts: list[Attempt] = []
        while True:
            response: Response | None = None
            failure: HTTPException | None = None
            try:
                response = await self._send_or_hedge(request, call, cookies)
            except HTTPException as error:
                failure = error
            outcome = response.head if response is not None else failure
            assert outcome is not None
            try:
                now = loop.time()
                delay = record.delay(retry, request, len(attempts) + 1, outcome, call.deadline.at - now)
                if delay is not None:
                    attempts.append(_attempt(response, failure, delay))
                    if call.hooks is not None:
                        await call.hooks.retry(request, attempts[-1])
                    await _pause(now + delay, response)
                    if call.deadline.at <= loop.time():  # a hook took its time
                        late = call.deadline.expiry(ReadTimeout, loop.time(), f"about to send {request!r} again")
                        late.request = request
                        raise late
                elif response is not None:
                    response.attempts = tuple(attempts)
                    return response
                else:
                    assert failure is not None
                    for number, attempt in enumerate(attempts, 1):
                        failure.add_note(f"attempt {number} came to: {attempt.said}")
                    raise failure
            except BaseException:
                if response is not None:
                    await response.close()
                raise
            finally:
                del failure, outcome  # an error that its own traceback refers to is a circle

    async def _send_or_hedge(self, request: Request, call: Call, cookies: Mapping[str, str] | None) -> Response:
        hedge, record = call.hedge, self.record
        if hedge is None or record is None or not (request.is_idempotent and _unread(request)):
            return await self._send(request, call, cookies)
        after = record.hedge_after(hedge, request)
        began = perf_counter()
        if after is None:
            response = await self._send(request, call, cookies)
        else:
            from .hedging import race  # noqa: PLC0415 - few clients hedge

            send, may_hedge = partial(self._send, request, call, cookies), partial(record.may_hedge, hedge, request)
            response = await race(send, after, may_hedge)
        record.took(request, perf_counter() - began)
        return response

    # --- one request, once ---

    async def _send(self, request: Request, call: Call, cookies: Mapping[str, str] | None) -> Response:
        hooks, jar = call.hooks, call.jar
        asked = request
        request = with_cookies(request, jar, cookies)
        if call.sent:
            request.rewind()
        elif not _unread(request):
            call.sent = True
        began = perf_counter()
        try:
            if hooks is not None:
                request = await hooks.request(request, call.resends)
                call.resends += 1
            proxy = call.proxy if call.choose_proxy is None else call.choose_proxy(request)
            context = RequestContext(call.deadline, proxy, None if hooks is None else hooks.observer)
            raw = await self.transport.send(request, context)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, HTTPException):
                error.request = error.request or request
            if hooks is not None:
                await hooks.error(request, error)
            raise
        response = Response(raw, request, began)
        response.max_body = call.max_body
        response.history = tuple(call.history)
        if request is not asked:
            response.asked = asked
        if jar is not None and raw.head.set_cookie is not None:
            jar.update(request.url, raw.head.set_cookie)
        if hooks is not None:
            response.hooks = hooks
            try:
                await hooks.response(response)
            except BaseException:
                await response.close()
                raise
        return response


def with_cookies(request: Request, jar: CookieJar | None, cookies: Mapping[str, str] | None) -> Request:
    """The request with the Cookie field that a jar and a mapping make for it, after one that the caller set."""
    value = jar.header_for(request.url) if jar is not None and jar.size else None
    if cookies:
        own = "; ".join([f"{name}={content}" for name, content in cookies.items()])
        value = own if value is None else f"{own}; {value}"
    if value is None:
        return request
    headers = CIMultiDict(request.headers)
    if "Cookie" in headers:
        return request.with_fields({"Cookie": "; ".join([*headers.getall("Cookie"), value])})
    headers.add("Cookie", value)
    lines = request.field_lines
    signed = Request(
        request.method,
        request.url,
        CIMultiDictProxy(headers),
        request.body,
        field_lines=lines,
        idempotent=request.idempotent,
    )
    if lines is not None:
        signed.more_lines = request.more_lines + f"Cookie: {value}\r\n".encode("latin-1")
    return signed


def _unread(request: Request) -> bool:
    """Whether sending leaves the body as it is."""
    return request.body is None or isinstance(request.body, bytes)


def _userinfo_auth(request: Request) -> Auth:
    """Basic authentication with what a URL carries. Raises `InvalidHeader` for a user name with a colon."""
    from .auth import BasicAuth  # noqa: PLC0415 - not every client signs its requests

    try:
        return BasicAuth(*(request.url.credentials or ("", "")))
    except HTTPException as error:
        error.request = request
        raise


async def _in_time(step: Awaitable[Request], request: Request, call: Call) -> Request:
    """A step of an auth flow, which may wait for anything (a token), within the call's time."""
    deadline = call.deadline
    limit = None if deadline.at == math.inf else asyncio.timeout_at(deadline.at)
    try:
        if limit is None:
            return await step
        async with limit:
            return await step
    except HTTPException as error:
        error.request = error.request or request
        raise
    except TimeoutError as error:
        if limit is None or not limit.expired():
            raise
        doing = f"signing {request.method} {request.url.without_userinfo()}"
        late = deadline.expiry(TotalTimeout, deadline.at, doing)
        late.request = request
        raise late from error


async def _with_body_read(request: Request) -> Request:
    """The request with its whole body as bytes, for those who sign it."""
    body = request.body
    if _unread(request):
        return request
    pieces = body_pieces(body, 65_536)
    try:
        data = b"".join([bytes(piece) async for piece in pieces])
    finally:  # cancelled in the midst, the caller's iterator is ended
        await pieces.aclose()  # type: ignore[attr-defined]
        if (aclose := getattr(body, "aclose", None)) is not None:
            await aclose()
    read = request.without_fields("Transfer-Encoding").with_fields({"Content-Length": str(len(data))})
    return read.replace(body=data)


def _attempt(response: Response | None, failure: HTTPException | None, delay: float) -> Attempt:
    """What is kept of an attempt that is followed by another."""
    if response is not None:
        return Attempt(response.status, delay)
    assert failure is not None
    failure.__traceback__ = None  # it would keep all that was under way
    return Attempt(failure, delay)


async def _pause(until: float, response: Response | None) -> None:
    """Wait until the loop's time `until`. Meanwhile what is left of the last response is read, so that its connection
    can be used again; a body that takes longer is let go."""
    if response is not None:
        try:
            async with asyncio.timeout_at(until):
                await response.drain(DRAINED)
        except TimeoutError:
            pass
    await asyncio.sleep(until - asyncio.get_running_loop().time())
