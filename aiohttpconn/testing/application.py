"""One call of an ASGI application: what it receives and sends, in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from multidict import CIMultiDict

from ..headers import Headers, header_pairs
from ..messages import ResponseHead
from .memory import MemoryExchange, cancelled
from .mock import phrase

if TYPE_CHECKING:
    from ..messages import BytesLike

Message: TypeAlias = MutableMapping[str, Any]
Application: TypeAlias = Callable[
    [Any, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


class ClientDisconnected(ConnectionError):
    """The application sent something to a client that is gone (ASGI's http protocol 2.4: `send` raises an OSError)."""


class ApplicationCall:
    """One call of the application: what it receives and sends, and the task that it runs in."""

    def __init__(self, exchange: MemoryExchange, raises: bool) -> None:
        self.exchange = exchange
        self.head: asyncio.Future[ResponseHead] = exchange.loop.create_future()
        self.task: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None
        """What the application raised when its response was complete."""
        self.raised = False
        self._raises = raises
        self._complete = False  # the application has sent all of its response
        self._left: int | None = None  # bytes of the body still to be sent, where that is known
        self._trailers: CIMultiDict[str] | None = None  # to follow the body
        self._gone: asyncio.Future[None] = exchange.loop.create_future()  # a disconnect, or the response is complete
        self._disconnected = False
        self._cancel: asyncio.TimerHandle | None = None
        self._body = _RequestBody(exchange)

    # --- the application's side ---

    async def run(self, app: Application, scope: dict[str, Any]) -> None:
        """Run the application to its end."""
        try:
            await app(scope, self.receive, self.send)
            if not self.head.done() and not self._disconnected:
                raise RuntimeError("the application returned without sending a response")
            if not self._complete and not self._disconnected:
                self.exchange.end(cut=True)
        except asyncio.CancelledError as error:
            asked = self.task is not None and self.task.cancelling() > 0
            if not (asked and self._complete):
                self._failed(cancelled("the application", error))
            if asked:
                raise
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # what pytest.fail() raises is none of Exception
            self._failed(error)
        finally:
            if self._cancel is not None:
                self._cancel.cancel()
            await self._body.close()

    def _failed(self, error: BaseException) -> None:
        if self._disconnected or self.head.cancelled():
            return  # nobody is there to be told
        if self._complete or (self.head.done() and self._left == 0):  # a caller with all of it asks no more
            self.failure = error
        elif not self.head.done():
            if self._raises:
                self.head.set_exception(error)
                return
            fields: CIMultiDict[str] = CIMultiDict({"Content-Type": "text/plain; charset=utf-8"})
            self.head.set_result(ResponseHead(11, 500, phrase(500), Headers(fields)))
            self.exchange.stream.reader.feed_data(b"Internal Server Error")
            self.exchange.end()
        elif self._raises:
            self.exchange.fail(error)
        else:
            self.exchange.end(cut=True)

    async def receive(self) -> Message:
        """What ASGI calls `receive`."""
        if not self._body.ended and not self._gone.done():
            try:
                piece = await self._body.next(self._gone)
            except Exception as error:
                # The caller's own mistake is the caller's to hear of; the application sees the connection go.
                if not self.head.done():
                    self.head.set_exception(error)
                else:
                    self.exchange.fail(error)
                self.disconnect()
            else:
                if piece is not None:
                    return {"type": "http.request", "body": piece, "more_body": not self._body.ended}
        if not self._gone.done():
            # A wait would suspend all the same, and those that ask in passing (in a scope already cancelled, as
            # Starlette's `is_disconnected` does) would never hear of it.
            await asyncio.wait((self._gone,))
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """What ASGI calls `send`."""
        kind = message["type"]
        if self._disconnected or self.head.cancelled():
            raise ClientDisconnected(f"{kind}: the client is gone")
        if not self.head.done():
            if kind != "http.response.start":
                raise RuntimeError(f"the application sent {kind!r} before 'http.response.start'")
            self._start(message)
        elif self._complete or kind not in ("http.response.body", "http.response.trailers"):
            state = "its response was complete" if self._complete else "'http.response.start'"
            raise RuntimeError(f"the application sent {kind!r} after {state}")
        elif kind == "http.response.body":
            more = message.get("more_body", False)
            await self._send_body(message.get("body", b""))
            if not more:
                if self._left:
                    raise RuntimeError(f"the application's body is {self._left} bytes shorter than its Content-Length")
                if self._trailers is None:
                    self._end()
        else:
            if self._trailers is None:
                raise RuntimeError("the application sent trailers that its 'http.response.start' did not announce")
            self._trailers.extend(_fields(message.get("headers", ())))
            if not message.get("more_trailers", False):
                self._end(Headers(self._trailers))

    def _start(self, message: Message) -> None:
        fields = CIMultiDict(_fields(message.get("headers", ())))
        status = message["status"]
        if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 999:
            raise ValueError(f"the application sent a status that no final response has: {status!r}")
        if message.get("trailers", False):
            self._trailers = CIMultiDict()
        length = fields.get("Content-Length")
        if status in _BODILESS or self.exchange.request.method == "HEAD":
            self._left = 0
        elif length is None:
            fields["Transfer-Encoding"] = "chunked"  # as the servers of applications do
        elif "Transfer-Encoding" not in fields and length.isascii() and length.isdecimal():
            self._left = int(length)
        self.head.set_result(ResponseHead(11, status, phrase(status), Headers(fields)))

    async def _send_body(self, body: BytesLike) -> None:
        if body and self._left is not None and self.exchange.request.method != "HEAD":
            size = memoryview(body).nbytes
            if size > self._left:
                raise RuntimeError(f"the application's body is {size - self._left} bytes longer than its response says")
            self._left -= size
        # The response to a HEAD request has no body, and what is sent as one is dropped.
        if body and not self.exchange.over and not await self.exchange.feed(body) and self._disconnected:
            raise ClientDisconnected("http.response.body: the client is gone")

    def _end(self, trailers: Headers | None = None) -> None:
        self._complete = True
        self._leave()
        if trailers is None:
            self.exchange.end()
        else:
            self.exchange.end(trailers)

    # --- the caller's side ---

    def take_failure(self) -> BaseException:
        """What the application raised, to be raised by whoever takes it."""
        assert self.failure is not None
        self.raised = True
        return self.failure

    def exchange_over(self, complete: bool, grace: float | None) -> None:
        """The response was read to its end, or it never will be."""
        if not complete:
            self.end(grace)

    def end(self, grace: float | None) -> None:
        """Nobody waits for the response any more: an application that still makes it has so many seconds to notice."""
        if not self._complete:
            self.disconnect()
            if self.task is not None and not self.task.done() and grace is not None and self._cancel is None:
                self._cancel = self.exchange.loop.call_later(grace, self.task.cancel)

    def disconnect(self) -> None:
        """From now on the application sees that the client is gone."""
        self._disconnected = True
        self._leave()

    def _leave(self) -> None:
        if not self._gone.done():
            self._gone.set_result(None)


class _RequestBody:
    """The request's body, piece by piece.

    Each piece is made in a task of its own: an application may cancel its `receive` (a middleware that listens for a
    disconnect does), and the piece is then there for the next one.
    """

    def __init__(self, exchange: MemoryExchange) -> None:
        self.ended = False
        self._body = exchange.request.body
        self._pieces: AsyncIterator[BytesLike] = exchange.request_pieces()
        self._making: asyncio.Task[BytesLike | None] | None = None
        self._at_once = self._body is None or (isinstance(self._body, bytes) and len(self._body) <= 65_536)

    async def next(self, gone: asyncio.Future[None]) -> bytes | None:
        """The next piece, b"" with the end of those that do not know it before; `ended` is True with the last one.

        None once `gone` is done, or where another call has taken the piece.
        """
        if self._at_once:
            self.ended = True
            return b"".join([bytes(piece) async for piece in self._pieces])
        if self._making is None:
            self._making = asyncio.get_running_loop().create_task(self._make())
        making = self._making
        await asyncio.wait((making, gone), return_when=asyncio.FIRST_COMPLETED)
        if self._making is not making or not making.done():
            return None
        self._making = None
        self.ended = True  # also when it raises
        piece = making.result()
        self.ended = piece is None
        return b"" if piece is None else bytes(piece)

    async def _make(self) -> BytesLike | None:
        return await anext(self._pieces, None)

    async def close(self) -> None:
        """Let go of what was not received."""
        making, self._making = self._making, None
        if making is not None:
            making.cancel()
            await asyncio.wait((making,))
            if not making.cancelled():
                making.exception()
        await self._pieces.aclose()  # type: ignore[attr-defined]  # a generator
        aclose = getattr(self._body, "aclose", None)
        if aclose is not None and not self.ended:
            await aclose()


def _fields(pairs: Any) -> list[tuple[str, str]]:
    """The fields that the application gives, as they arrive. Raises `InvalidHeader`."""
    given = []
    for field, value in pairs:
        if isinstance(field, str) or isinstance(value, str):
            raise TypeError(f"ASGI has names and values of fields as bytes, not str: {field!r}")
        given.append((bytes(field), bytes(value)))
    return [(field, value.strip(" \t")) for field, value in header_pairs(given)]


_BODILESS = (204, 304)
