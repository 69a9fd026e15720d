"""`Hooks`: who is told what happens to a client's requests."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..messages import Request

if TYPE_CHECKING:
    from ..messages import Opening, ResponseHead
    from ..transport import Observer
    from .flow import Attempt
    from .response import Response

H = TypeVar("H", bound=Callable[..., Any])

RequestHook: TypeAlias = "Callable[[Request], Request | Awaitable[Request | None] | None]"
# What these return is awaited if it can be, else passed over: ``lambda response: response.raise_for_status()`` is one.
ResponseHook: TypeAlias = "Callable[[Response], object]"
ConnectHook: TypeAlias = "Callable[[Request, Opening], object]"
ReuseHook: TypeAlias = "Callable[[Request], object]"
RedirectHook: TypeAlias = "Callable[[Response, Request], object]"
RetryHook: TypeAlias = "Callable[[Request, Attempt], object]"
InterimHook: TypeAlias = "Callable[[Request, ResponseHead], object]"
ChunkHook: TypeAlias = "Callable[[Response, bytes], object]"
ErrorHook: TypeAlias = "Callable[[Request, BaseException], object]"

_NAMES = (
    "on_request",
    "on_response",
    "on_connect",
    "on_reuse",
    "on_redirect",
    "on_retry",
    "on_interim",
    "on_chunk",
    "on_error",
)

_resends: ContextVar[int] = ContextVar("aiohttpconn_resends", default=0)


def resend_count() -> int:
    """Within an `on_request` hook: how many requests this call has sent before, by redirects, retries and challenges
    to sign. 0 for the first."""
    return _resends.get()


class Hooks:
    """Who is told what happens: each of these a function, a coroutine function, or several in an iterable.

    - `on_request(request)`: a request is about to be sent, its cookies and signature on it; each redirect and each
      retry is one. A `Request` that it returns is sent instead.
    - `on_response(response)`: the head of the response to it is there; the body may be read (`await response.read()`).
    - `on_connect(request, opening)`: a connection was opened for it; `opening` says why, and how long each step took.
    - `on_reuse(request)`: it goes out on a connection that has served before.
    - `on_redirect(response, request)`: the response leads on to that request.
    - `on_retry(request, attempt)`: it is to be sent again; `attempt.outcome` is the status or error that it came to,
      `attempt.delay` the seconds until then.
    - `on_interim(request, head)`: a 1xx response came (100 Continue, 103 Early Hints).
    - `on_chunk(response, data)`: a piece of the body arrived, its content codings still on.
    - `on_error(request, error)`: it got no response: an `HTTPException`, what the body's own iterator or a hook
      raised, or `asyncio.CancelledError` when its caller gave up, or when the other attempt of a hedge was answered
      first (its text is then `hedging.CALLED_OFF`). Also when the body of a response that is read for the caller
      breaks off, after `on_response`; one that the caller reads himself is told to him only.

    They are called one after the other, in the task of the caller, who waits for those that are coroutines; of the
    timeouts only `total` counts then. What one raises, the caller gets once the others have been told (not after
    `on_request`, which ends there); nothing stays behind. ``a | b`` are the hooks of both, `a` first.

    >>> hooks = Hooks(on_request=lambda request: request.with_fields({"X-Request-Id": "1"}))
    >>> hooks |= Hooks(on_response=[print, print])
    >>> hooks
    <Hooks on_request, on_response>
    """

    on_request: tuple[RequestHook, ...] | None
    on_response: tuple[ResponseHook, ...] | None
    on_connect: tuple[ConnectHook, ...] | None
    on_reuse: tuple[ReuseHook, ...] | None
    on_redirect: tuple[RedirectHook, ...] | None
    on_retry: tuple[RetryHook, ...] | None
    on_interim: tuple[InterimHook, ...] | None
    on_chunk: tuple[ChunkHook, ...] | None
    on_error: tuple[ErrorHook, ...] | None

    def __init__(
        self,
        *,
        on_request: RequestHook | Iterable[RequestHook] | None = None,
        on_response: ResponseHook | Iterable[ResponseHook] | None = None,
        on_connect: ConnectHook | Iterable[ConnectHook] | None = None,
        on_reuse: ReuseHook | Iterable[ReuseHook] | None = None,
        on_redirect: RedirectHook | Iterable[RedirectHook] | None = None,
        on_retry: RetryHook | Iterable[RetryHook] | None = None,
        on_interim: InterimHook | Iterable[InterimHook] | None = None,
        on_chunk: ChunkHook | Iterable[ChunkHook] | None = None,
        on_error: ErrorHook | Iterable[ErrorHook] | None = None,
    ) -> None:
        self.on_request = _hooks("on_request", on_request)
        self.on_response = _hooks("on_response", on_response)
        self.on_connect = _hooks("on_connect", on_connect)
        self.on_reuse = _hooks("on_reuse", on_reuse)
        self.on_redirect = _hooks("on_redirect", on_redirect)
        self.on_retry = _hooks("on_retry", on_retry)
        self.on_interim = _hooks("on_interim", on_interim)
        self.on_chunk = _hooks("on_chunk", on_chunk)
        self.on_error = _hooks("on_error", on_error)

    @staticmethod
    def combined(*several: Hooks | None) -> Hooks:
        """The hooks of several, in this order; None among them is passed over."""
        return Hooks(
            **{
                name: [hook for hooks in several if hooks is not None for hook in getattr(hooks, name) or ()]
                for name in _NAMES
            }
        )

    def __or__(self, other: Hooks) -> Hooks:
        return Hooks.combined(self, other) if isinstance(other, Hooks) else NotImplemented

    @property
    def observer(self) -> Observer | None:
        """Who is to be told what the transport does; None when nobody is."""
        return self if self.on_connect or self.on_reuse or self.on_interim else None

    # --- what the client calls ---

    async def request(self, request: Request, resends: int = 0) -> Request:
        """A request is about to be sent; the one to send. `resends`: how many its call has sent before."""
        if self.on_request is not None:
            _resends.set(resends)
            for hook in self.on_request:
                said = hook(request)
                changed = await said if isawaitable(said) else said
                if changed is not None:
                    if not isinstance(changed, Request):
                        raise TypeError(f"an on_request hook returns a Request or None, not {changed!r}")
                    request = changed
        return request

    async def response(self, response: Response) -> None:
        """The head of a response is there."""
        await _tell(self.on_response, response)

    async def redirect(self, response: Response, following: Request) -> None:
        """A response leads on to another request."""
        await _tell(self.on_redirect, response, following)

    async def retry(self, request: Request, attempt: Attempt) -> None:
        """A request is to be sent again."""
        await _tell(self.on_retry, request, attempt)

    async def chunk(self, response: Response, data: bytes) -> None:
        """A piece of a body arrived."""
        await _tell(self.on_chunk, response, data)

    async def error(self, request: Request, error: BaseException) -> None:
        """A request got no response."""
        await _tell(self.on_error, request, error)

    # --- what a transport calls: `transport.Observer` ---

    async def connected(self, request: Request, opening: Opening) -> None:
        """A connection was opened for a request."""
        await _tell(self.on_connect, request, opening)

    async def reused(self, request: Request) -> None:
        """A request goes out on a connection that has served before."""
        await _tell(self.on_reuse, request)

    def interim(self, request: Request, head: ResponseHead) -> Awaitable[None] | None:
        """A 1xx response came: functions are called at once, coroutines when the transport awaits what is returned."""
        later: list[InterimHook] = []
        for hook in self.on_interim or ():
            if iscoroutinefunction(hook):
                later.append(hook)  # one that is never awaited would complain
            elif isawaitable(said := hook(request, head)):
                later.append(_Said(said))
        return _Later(later, request, head) if later else None

    def __repr__(self) -> str:
        given = [name for name in _NAMES if getattr(self, name) is not None]
        return f"<{type(self).__name__}{' ' if given else ''}{', '.join(given)}>"


class _Said:
    """What a hook that is no coroutine function returned to be awaited."""

    def __init__(self, said: Awaitable[None]) -> None:
        self._said = said

    def __call__(self, request: Request, head: ResponseHead) -> Awaitable[None]:
        return self._said


class _Later:
    """Hooks that are called when this is awaited."""

    def __init__(self, hooks: list[Any], *told: object) -> None:
        self._hooks = hooks
        self._told = told

    def __await__(self) -> Any:
        return _tell(self._hooks, *self._told).__await__()


async def _tell(hooks: Iterable[Callable[..., Any]] | None, *told: object) -> None:
    """Tell all of them, also when one raises: whoever was told of a beginning waits for the end. Raises the first."""
    first: BaseException | None = None
    for hook in hooks or ():
        try:
            said = hook(*told)
            if isawaitable(said):
                await said
        except (Exception, CancelledError) as error:
            first = first or error
    if first is not None:
        try:
            raise first
        finally:
            del first  # an error that its own traceback refers to is a circle


def _hooks(name: str, given: H | Iterable[H] | None) -> tuple[H, ...] | None:
    if given is None:
        return None
    if not callable(given) and not isinstance(given, Iterable):
        raise TypeError(f"{name} must be a function or several, not {given!r}")
    hooks = (given,) if callable(given) else tuple(given)
    if wrong := [hook for hook in hooks if not callable(hook)]:
        raise TypeError(f"{name} must be a function or several, not {wrong[0]!r}")
    return hooks or None
