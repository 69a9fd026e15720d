"""One call's way to its response: redirect hops, within each the auth flow, within it the retries, then the transport.

The order is that of the secrets' scope: every hop has an auth flow of its own, so that what signs the requests to one
origin never sees those to another. Cookies go onto each request as it is sent, and are taken from each response.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

from ..errors import HTTPException, TooManyRedirects
from ..transport import RequestContext
from ..upload import body_pieces
from .redirects import redirect_location, redirected
from .response import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..config import Deadline, Hedge, Retry, Unset
    from ..messages import Proxy, Request
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
        "jar",
        "max_body",
        "proxy",
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
        self.history: list[Response] = []
        self.sent = False  # a body that was sent once has to be rewound before it is sent again


class Flow:
    """A client's part in every call: its transport, and what it remembers."""

    def __init__(
        self,
        transport: Transport,
        *,
        hooks: Hooks | None,
        max_redirects: int,
        allow_downgrade: bool,
        cross_origin_headers: frozenset[str],
    ) -> None:
        self.transport = transport
        self.hooks = hooks
        self.record: RetryRecord | None = None  # made when somebody first asks for retries
        self.max_redirects = max_redirects
        self.allow_downgrade = allow_downgrade
        self.cross_origin_headers = cross_origin_headers

    async def run(self, request: Request, call: Call) -> Response:
        """Send a request, and follow where its response leads; the last response, its body unread."""
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
            await response.drain(DRAINED)
            call.history.append(response)
            if self.hooks is not None:
                await self.hooks.redirect(response, following)
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
        if request.url.has_userinfo and auth is None:
            from .auth import BasicAuth  # noqa: PLC0415 - not every client signs its requests

            auth = BasicAuth(*(request.url.credentials or ("", "")))
        if auth is None:
            return await self._attempts(request, call, cookies)
        if auth.needs_request_body:
            request = await _with_body_read(request)
        flow = auth.async_flow(request)
        try:
            signed = await anext(flow)
            while True:
                response = await self._attempts(signed, call, cookies)
                try:
                    if auth.needs_response_body:
                        await response.read_or_close()
                    signed = await flow.asend(response)
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
        retry = call.retry
        if retry is None or self.record is None:
            return await self._send_or_hedge(request, call, cookies)
        attempts: list[Attempt] = []
        self.record.began(request)
        while True:
            outcome: Response | HTTPException
            try:
                outcome = await self._send_or_hedge(request, call, cookies)
            except HTTPException as error:
                outcome = error
            now = asyncio.get_running_loop().time()
            delay = self.record.delay(
                retry,
                request,
                len(attempts) + 1,
                outcome if isinstance(outcome, HTTPException) else outcome.head,
                call.deadline.at - now,
            )
            if delay is None:
                if isinstance(outcome, HTTPException):
                    raise outcome
                outcome.attempts = tuple(attempts)
                return outcome
            if isinstance(outcome, HTTPException):
                attempts.append(Attempt(outcome, delay))
            else:
                attempts.append(Attempt(outcome.status, delay))
                await outcome.drain(DRAINED)
            if self.hooks is not None:
                await self.hooks.retry(request, attempts[-1])
            await asyncio.sleep(delay)

    async def _send_or_hedge(self, request: Request, call: Call, cookies: Mapping[str, str] | None) -> Response:
        if call.hedge is None or self.record is None or not (request.is_idempotent and _unread(request)):
            return await self._send(request, call, cookies)
        after = self.record.hedge_after(call.hedge, request)
        began = perf_counter()
        if after is None:
            response = await self._send(request, call, cookies)
        else:
            response = await self._race(request, call, cookies, after)
        self.record.took(request, perf_counter() - began)
        return response

    async def _race(self, request: Request, call: Call, cookies: Mapping[str, str] | None, after: float) -> Response:
        """Two attempts, the second begun `after` seconds later: the first answer wins, the other is cancelled."""
        running = {asyncio.create_task(self._send(request, call, cookies))}
        winner: asyncio.Task[Response] | None = None
        try:
            done, _ = await asyncio.wait(running, timeout=after)
            if not done:
                running.add(asyncio.create_task(self._send(request, call, cookies)))
            while winner is None:
                done, waiting = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                answered = [task for task in done if task.exception() is None]
                if answered or not waiting:
                    winner = answered[0] if answered else done.pop()
                    running.discard(winner)
                else:
                    running = waiting  # the one that failed is not the answer while the other may be
        except BaseException:
            await _call_off(running)
            raise
        try:
            await _call_off(running)
        except BaseException:
            if winner.exception() is None:
                await winner.result().close()
            raise
        return winner.result()

    # --- one request, once ---

    async def _send(self, request: Request, call: Call, cookies: Mapping[str, str] | None) -> Response:
        hooks = self.hooks
        proxy = call.proxy if call.choose_proxy is None else call.choose_proxy(request)
        context = RequestContext(call.deadline, proxy, hooks)
        jar = call.jar
        request = with_cookies(request, jar, cookies)
        if call.sent:
            request.rewind()
        elif not _unread(request):
            call.sent = True
        began = perf_counter()
        try:
            if hooks is not None:
                await hooks.request(request)
            raw = await self.transport.send(request, context)
        except HTTPException as error:
            error.request = error.request or request
            if hooks is not None:
                await hooks.error(request, error)
            raise
        response = Response(raw, request, began)
        response.max_body = call.max_body
        response.history = tuple(call.history)
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
    if "Cookie" in request.headers:
        return request.with_fields({"Cookie": "; ".join([*request.headers.getall("Cookie"), value])})
    headers = CIMultiDict(request.headers)
    headers.add("Cookie", value)
    lines = request.field_lines
    signed = request.replace(headers=CIMultiDictProxy(headers))
    if lines is not None:
        signed.field_lines = lines
        signed.more_lines = request.more_lines + f"Cookie: {value}\r\n".encode("latin-1")
    return signed


def _unread(request: Request) -> bool:
    """Whether sending leaves the body as it is."""
    return request.body is None or isinstance(request.body, bytes)


async def _with_body_read(request: Request) -> Request:
    """The request with its whole body as bytes, for those who sign it."""
    body = request.body
    if _unread(request):
        return request
    data = b"".join([bytes(piece) async for piece in body_pieces(body, 65_536)])
    read = request.without_fields("Transfer-Encoding").with_fields({"Content-Length": str(len(data))})
    return read.replace(body=data)


async def _call_off(tasks: set[asyncio.Task[Response]]) -> None:
    """End attempts that are not wanted any more, and close what they may have brought meanwhile."""
    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    for task in tasks:
        while not task.done():
            try:
                await asyncio.wait((task,))
            except asyncio.CancelledError as error:
                cancelled = error
        if not task.cancelled() and task.exception() is None:
            await task.result().close()
    if cancelled is not None:
        raise cancelled
