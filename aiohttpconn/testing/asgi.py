"""`ASGITransport`: an ASGI application in place of a server, in the caller's own loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .application import Application, ApplicationCall
from .lifespan import Lifespan
from .memory import MemoryExchange, MemoryTransport, name, received_fields

if TYPE_CHECKING:
    from types import TracebackType

    from ..messages import Request
    from ..response import HTTPResponse
    from ..transport import RequestContext

_log = logging.getLogger("aiohttpconn.testing")


class ASGITransport(MemoryTransport):
    """Sends every request to an ASGI 3 application: http only, without a network.

    - `app`: ``async def app(scope, receive, send)``, such as a Starlette or FastAPI object.
    - `root_path`, `client`: what the scope says of them.
    - `raise_app_exceptions`: whether what the application raises reaches the caller; else it is a 500, or a body that
      breaks off. What it raises when its response is complete (in a background task) is logged, and raised by
      `settled()` and `close()`. So are its faults that a server would find: fields that cannot be sent, and a body that
      is not as long as its Content-Length.
    - `lifespan`: "on", "auto" (an application that does not know of it goes without) or "off". It begins and ends with
      ``async with transport``; requests see the state that it left.
    - `grace`: seconds that the application has after a disconnect, then its task is cancelled; None: never.

    The response's head is there as soon as the application sends it, its body comes as it is sent and no faster than it
    is read, and the request's body is made as the application receives it. A response that is closed early, and a call
    that is cancelled, are a disconnect: `receive` returns ``http.disconnect`` and `send` raises `ClientDisconnected`.
    A proxy that a request names is not asked, though the response says that it was.

    >>> from aiohttpconn import Client
    >>> async def app(scope, receive, send):
    ...     await send({"type": "http.response.start", "status": 200})
    ...     await send({"type": "http.response.body", "body": scope["path"].encode()})
    >>> async with ASGITransport(app, lifespan="off") as transport, Client(transport=transport) as client:
    ...     (await client.get("http://app.example/hello")).text
    '/hello'
    """

    def __init__(
        self,
        app: Application,
        *,
        root_path: str = "",
        client: tuple[str, int] | None = ("127.0.0.1", 123),
        raise_app_exceptions: bool = True,
        lifespan: str = "auto",
        grace: float | None = 0.5,
    ) -> None:
        super().__init__()
        if not callable(app):
            raise TypeError(f"app must be an ASGI application, async def app(scope, receive, send), not {app!r}")
        if lifespan not in ("on", "auto", "off"):
            raise ValueError(f'lifespan must be "on", "auto" or "off", not {lifespan!r}')
        self.app = app
        self.root_path = root_path
        self.client = client
        self.raise_app_exceptions = raise_app_exceptions
        self.grace = grace
        self._lifespan = None if lifespan == "off" else Lifespan(app, required=lifespan == "on")
        self._running: dict[asyncio.Task[None], ApplicationCall] = {}
        self._late: list[BaseException] = []

    @property
    def state(self) -> dict[str, Any]:
        """What the application's lifespan left for its requests."""
        return {} if self._lifespan is None else self._lifespan.state

    async def send(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send a request (see `Transport`). What the application raises before its response is raised here."""
        if "websocket" in request.headers.get("Upgrade", "").lower():
            raise NotImplementedError("ASGITransport speaks http only: there are no websockets to test with it")
        if self._lifespan is not None and self._lifespan.required and not self._lifespan.running:
            raise RuntimeError('lifespan="on" begins with `async with transport:`, which was not entered')
        exchange = self.begin(request, context)
        try:
            await exchange.connected()
            call = self._call(exchange)
            async with exchange.head_limit():
                head = await call.head
            if call.failure is not None and self.raise_app_exceptions:
                raise call.take_failure()
            return exchange.open(head)
        except BaseException as error:
            exchange.broken(exchange.stream)
            name(error, exchange)
            raise

    def _call(self, exchange: MemoryExchange) -> ApplicationCall:
        """Have the application begin with a request."""
        call = ApplicationCall(exchange, self.raise_app_exceptions)
        exchange.on_over = lambda complete: self._over(exchange, call, complete)
        task = exchange.loop.create_task(call.run(self.app, self._scope(exchange.request)))
        call.task = task
        self._running[task] = call
        task.add_done_callback(self._ended)
        return call

    def _scope(self, request: Request) -> dict[str, Any]:
        url = request.url
        path, _, query = url.target.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.origin.scheme,
            "path": unquote(path),
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": self.root_path,
            "headers": [
                (field.lower().encode("ascii"), value.encode("latin-1")) for field, value in received_fields(request)
            ],
            "client": self.client,
            "server": (url.origin.host, url.origin.port),
            "state": dict(self.state),
            "extensions": {"http.response.trailers": {}},
        }

    def _over(self, exchange: MemoryExchange, call: ApplicationCall, complete: bool) -> None:
        self.exchange_over(exchange, complete)
        call.exchange_over(complete, self.grace)

    def _ended(self, task: asyncio.Task[None]) -> None:
        call = self._running.pop(task)
        if call.failure is not None and not call.raised:
            _log.error("the application failed after its response was complete", exc_info=call.failure)
            if self.raise_app_exceptions:
                self._late.append(call.take_failure())

    async def settled(self) -> None:
        """Wait until the application has nothing more to do for the responses so far: background tasks are done.

        Raises the first exception of those that came too late for their response.
        """
        while self._running:
            await asyncio.wait(set(self._running))
        if self._late:
            raise self._late.pop(0)

    async def close(self) -> None:
        """Disconnect who still reads, wait for background tasks, end the lifespan. Idempotent.

        Raises what `settled()` raises.
        """
        await super().close()
        for call in self._running.values():
            call.end(self.grace)
        try:
            await self.settled()
        finally:
            if self._lifespan is not None:
                await self._lifespan.shut_down()

    async def __aenter__(self) -> ASGITransport:
        if self._lifespan is not None:
            await self._lifespan.start_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except Exception:
            if error is None:
                raise

    def __repr__(self) -> str:
        return f"<ASGITransport {getattr(self.app, '__name__', type(self.app).__name__)}>"
