"""One call's way to its response: redirect hops, within each the auth flow, within it the retries, then the transport.

The order is that of the secrets' scope: every hop has an auth flow of its own, so that what signs the requests to one
origin never sees those to another. Cookies go onto each request as it is sent, and are taken from each response.
"""

from __future__ import annotations

import asyncio
import math
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..config import UNSET, Unset
from ..errors import HTTPException, RedirectBlocked, TooManyRedirects, TotalTimeout
from ..messages import Request
from ..transport import RequestContext
from ..upload import body_pieces
from .body import prepared_body
from .redirects import check_location, left_behind, redirect_location, redirected
from .response import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from ..config import Deadline, Hedge, Retry
    from ..proxy import Proxy
    from ..transport import Transport
    from ..url import Origin
    from ..waits import Waits
    from .auth import Auth
    from .charset import DefaultEncoding
    from .cookies import CookieJar
    from .hooks import Hooks
    from .proxies import ProxyChooser
    from .retries import RetryRecord

T = TypeVar("T")
DRAINED = 65_536
"""Bytes of a body that nobody asked for (a redirect's, a challenge's) that are read to keep its connection; a longer
one costs more than a new connection."""


class GivenCookies(NamedTuple):
    """The cookies that are no jar's: those given with the request, those given with the client."""

    own: Mapping[str, str] | None
    client: Mapping[str, str] | None


NO_COOKIES = GivenCookies(None, None)


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
        "asked",
        "auth",
        "bodies",
        "choose_proxy",
        "cookies",
        "deadline",
        "default_encoding",
        "follow",
        "hedge",
        "history",
        "hooks",
        "jar",
        "jar_is_own",
        "max_body",
        "proxies",
        "proxy",
        "resends",
        "retry",
        "sent",
        "signer",
    )

    def __init__(
        self,
        *,
        deadline: Deadline,
        follow: bool,
        auth: Auth | None,
        cookies: GivenCookies,
        jar: CookieJar | None,
        jar_is_own: bool,
        max_body: int | None,
        default_encoding: DefaultEncoding,
        retry: Retry | None,
        hedge: Hedge | None,
        proxy: Proxy | Unset | None,
        choose_proxy: Callable[[Request], Proxy | None] | None,
        proxies: ProxyChooser | None,
        hooks: Hooks | None,
    ) -> None:
        self.deadline = deadline
        self.follow = follow
        self.auth = auth
        self.cookies = cookies
        self.jar = jar
        self.jar_is_own = jar_is_own
        self.max_body = max_body
        self.default_encoding = default_encoding
        self.retry = retry
        self.hedge = hedge
        self.proxy = proxy
        self.choose_proxy = choose_proxy
        self.proxies = proxies  # a function or a pool of the caller's
        self.hooks = hooks
        self.resends = 0
        self.history: list[Response] = []
        self.sent = False  # a body that was sent once has to be rewound before it is sent again
        self.asked: Request | None = None  # the hop's request, before it was signed and given cookies
        self.signer: Auth | None = None  # who signed what is being sent
        self.bodies: dict[int, tuple[object, object]] = {}  # streams that hooks and auth flows gave, as bodies


class Flow:
    """A client's part in every call: its transport, and what it remembers."""

    def __init__(
        self,
        transport: Transport,
        waits: Waits,
        *,
        max_redirects: int,
        allow_downgrade: bool,
        cross_origin_headers: frozenset[str],
    ) -> None:
        self.transport = transport
        self.waits = waits
        self._room: Callable[[Request, Proxy | Unset | None], bool] | None = getattr(transport, "has_room", None)
        self.record: RetryRecord | None = None  # made when somebody first asks for retries
        self.max_redirects = max_redirects
        self.redirect_rules: dict[str, Any] = {"allow_downgrade": allow_downgrade, "keep": cross_origin_headers}
        """What `redirected` is to know of the client."""

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
                check_location(response.head)
                if redirects >= self.max_redirects:
                    raise TooManyRedirects(
                        f"more than {self.max_redirects} redirects",
                        history=(*call.history, response),
                        doing=f"{request.method} {request.url.shown}",
                    )
                following = redirected(request, response.status, location, **self.redirect_rules)
            except HTTPException as error:
                error.request = request
                if isinstance(error, RedirectBlocked):
                    error.history = (*call.history, response)
                    error.doing = f"{request.method} {request.url.shown}"
                await response.close()
                raise
            redirects += 1
            call.sent = True  # also by who sent the first request without this flow
            await response.drain(DRAINED)
            call.history.append(response)
            if call.hooks is not None:
                await call.hooks.redirect(response, following)
            sent, before, request = response.request.headers, request, following
            # What was given for one host, or signs for one origin, stays there; userinfo of a Location serves its hop.
            origin = request.url.origin
            hop_auth = auth if auth is None or origin == first else auth.elsewhere()
            if request.url.has_userinfo:
                hop_auth = _userinfo_auth(request)
            hop_cookies = cookies if serves_same(first, origin) else NO_COOKIES
            response = await self._hop(request, call, hop_auth, hop_cookies)
            if origin != before.url.origin:
                response.dropped = left_behind(sent, response.request)
        return response

    # --- one hop ---

    async def _hop(self, request: Request, call: Call, auth: Auth | None, cookies: GivenCookies) -> Response:
        """Send the requests of an auth flow, and return the response to the last of them."""
        call.asked = request
        call.signer = auth
        if auth is None:
            return await self._attempts(request, call, cookies)
        if auth.needs_request_body:
            request = await _in_time(_with_body_read(request), request, call)
        flow = auth.async_flow(request)
        if not hasattr(flow, "asend"):
            if (close := getattr(flow, "close", None)) is not None:
                close()  # a coroutine, which would complain of not being awaited
            raise TypeError(f"{type(auth).__name__}.async_flow() must be an async generator")
        try:
            try:
                signed = await _in_time(anext(flow), request, call)
            except StopAsyncIteration:
                raise RuntimeError(f"{type(auth).__name__} yielded no request") from None
            while True:
                if not isinstance(signed, Request):
                    raise TypeError(f"{type(auth).__name__} must yield a Request, not {type(signed).__name__}")
                here = signed.url.host == request.url.host  # a flow may ask somebody else, for a token
                response = await self._attempts(_sendable(signed, call), call, cookies if here else NO_COOKIES)
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

    async def _attempts(self, request: Request, call: Call, cookies: GivenCookies) -> Response:
        retry, hedge, record = call.retry, call.hedge, self.record
        if record is None or (retry is None and hedge is None):
            return await self._send(request, call, cookies)
        record.began(request, retry, hedge)
        if retry is None:
            return await self._send_or_hedge(request, call, cookies)
        loop = asyncio.get_running_loop()
        attempts: list[Attempt] = []
        next_proxy = call.proxies is not None and call.proxies.takes_turns
        while True:
            response: Response | None = None
            failure: HTTPException | None = None
            try:
                if attempts and call.signer is not None:
                    request = call.signer.sign_again(request)
                response = await self._send_or_hedge(request, call, cookies)
            except HTTPException as error:
                failure = error
            outcome = response.head if response is not None else failure
            assert outcome is not None
            try:
                now = loop.time()
                left = call.deadline.at - now
                delay = record.delay(retry, request, len(attempts) + 1, outcome, left, next_proxy=next_proxy)
                if delay is not None:
                    attempts.append(_attempt(response, failure, delay))
                    if call.hooks is not None:
                        await call.hooks.retry(request, attempts[-1])
                    from ..politeness.slot import without_slot  # noqa: PLC0415 - few requests are sent again

                    with self.waits.wait(request, call.deadline, "about to send again"):
                        await without_slot(_pause(now + delay, response))
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

    async def _send_or_hedge(self, request: Request, call: Call, cookies: GivenCookies) -> Response:
        hedge, record = call.hedge, self.record
        if hedge is None or record is None or not (request.is_idempotent and _unread(request)):
            return await self._send(request, call, cookies)
        after = record.hedge_after(hedge, request)
        began = asyncio.get_running_loop().time()
        if after is None:
            response = await self._send(request, call, cookies)
        else:
            from .hedging import race  # noqa: PLC0415 - few clients hedge

            context = RequestContext(call.deadline)
            proxy: Proxy | Unset | None = UNSET

            def departed() -> float | None:
                return began if self._room is None else context.leased_at

            def again() -> Coroutine[Any, Any, Response]:
                signed = request if call.signer is None else call.signer.sign_again(request)
                return self._send(signed, call, cookies, RequestContext(call.deadline, proxy))

            def may_hedge() -> bool:
                nonlocal proxy
                # One that waits for a connection would only be in the way of others.
                proxy = self._proxy_of(request, call)  # perhaps another than the first attempt's
                room = self._room is None or self._room(request, proxy)
                return room and record.may_hedge(hedge, request)

            response = await race(self._send(request, call, cookies, context), again, after, departed, may_hedge)
        record.took(request, asyncio.get_running_loop().time() - began)
        return response

    def _proxy_of(self, request: Request, call: Call) -> Proxy | Unset | None:
        if call.proxies is not None:
            return call.proxies.choose(request)
        return call.proxy if call.choose_proxy is None else call.choose_proxy(request)

    # --- one request, once ---

    async def _send(
        self, request: Request, call: Call, cookies: GivenCookies, context: RequestContext | None = None
    ) -> Response:
        hooks, jar = call.hooks, call.jar
        request = with_cookies(request, jar, cookies, call.jar_is_own)
        if call.sent:
            request.rewind()
        elif not _unread(request):
            call.sent = True
        context = context or RequestContext(call.deadline)
        began = perf_counter()
        try:
            if hooks is not None:
                told = await _in_time(hooks.request(request, call.resends), request, call, "in a hook of")
                request = _sendable(told, call)
                call.resends += 1
                context.observer = hooks.observer
            if context.proxy is UNSET:
                context.proxy = self._proxy_of(request, call)
            raw = await self.transport.send(request, context)
            if call.proxies is not None:
                call.proxies.came_to(_chosen(context), None)
        except (Exception, asyncio.CancelledError) as error:
            if call.proxies is not None:
                call.proxies.came_to(_chosen(context), error)
            if isinstance(error, HTTPException):
                error.request = error.request or request
            if hooks is not None:
                await hooks.error(request, error)
            raise
        response = Response(raw, request, began)
        response.max_body = call.max_body
        response.redirect_rules = self.redirect_rules
        response.history = tuple(call.history)
        response.default_encoding = call.default_encoding
        if call.deadline.timeout.total is not None:
            response.deadline = call.deadline
        if request is not call.asked:
            response.asked = call.asked
        if jar is not None and raw.head.set_cookie is not None:
            jar.update(request.url, raw.head.set_cookie)
        if hooks is not None:
            response.hooks = hooks
            try:
                await _in_time(hooks.response(response), request, call, "in a hook of")
            except BaseException:
                await response.close()
                raise
        return response


def serves_same(first: Origin, other: Origin) -> bool:
    """Whether cookies that were given for one origin may go to another: on the same host, and not in the clear where
    the first was not."""
    return other.host == first.host and (other.is_secure or not first.is_secure)


def _chosen(context: RequestContext) -> Proxy | None:
    return None if isinstance(context.proxy, Unset) else context.proxy


def with_cookies(request: Request, jar: CookieJar | None, cookies: GivenCookies, jar_is_own: bool = False) -> Request:
    """The request with the Cookie field that a jar and mappings make for it, after one that the caller set.
    `jar_is_own`: the jar was given with the request, as the field was.

    A name is sent once: as the caller gave it with the request (by a field or a mapping), else as the jar has it, else
    as it was given with the client: a server that sets a cookie anew means the new one.
    """
    value = jar.header_for(request.url) if jar is not None and jar.size else None
    headers = request.headers
    if cookies is NO_COOKIES and "Cookie" not in headers:
        if value is None:
            return request
        given = ""
    else:
        fields = [pair for field in headers.getall("Cookie", ()) for pair in field.split("; ")]
        own = _pairs(cookies.own)
        kept = _others(value.split("; ") if value is not None else [], fields + own)
        pairs = fields + _others(_pairs(cookies.client), fields + own + kept) + own + kept
        if not pairs:
            return request
        value = "; ".join(pairs)
        given = "; ".join(fields + own)
    return request.with_field_last("Cookie", value, None if jar_is_own else given)


def _pairs(cookies: Mapping[str, str] | None) -> list[str]:
    return [f"{name}={content}" for name, content in (cookies or {}).items()]


def _others(pairs: list[str], than: list[str]) -> list[str]:
    """The pairs with other names."""
    names = {pair.partition("=")[0] for pair in than}
    return [pair for pair in pairs if pair.partition("=")[0] not in names]


def _sendable(request: Request, call: Call) -> Request:
    """The request, its body one that knows whether it can be read again, whoever made it (a hook, an auth flow)."""
    body = request.body
    if _unread(request):
        return request
    known = call.bodies.get(id(body))
    if known is None:
        prepared = prepared_body(body)
        if prepared is body:
            return request
        known = call.bodies[id(body)] = (body, prepared)  # kept, so that nobody else gets its id
    return request.replace(body=known[1], headers=request.headers)


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


async def _in_time(step: Awaitable[T], request: Request, call: Call, doing: str = "signing") -> T:
    """A step of an auth flow, or hooks, which may wait for anything (a token), within the call's time."""
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
        late = deadline.expiry(TotalTimeout, deadline.at, f"{doing} {request.method} {request.url.shown}")
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
