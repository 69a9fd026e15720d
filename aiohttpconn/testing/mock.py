"""`MockTransport`: a function in place of a server."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from multidict import CIMultiDict

from ..client.response import Response
from ..errors import StreamConsumed
from ..headers import EMPTY_HEADERS, Headers, HeadersInput, header_pairs
from ..messages import ResponseHead
from .memory import MemoryExchange, MemoryTransport, name

if TYPE_CHECKING:
    from ..messages import BytesLike, Request
    from ..response import HTTPResponse
    from ..transport import RequestContext
    from ..url import URL

Pieces: TypeAlias = "Iterable[BytesLike] | AsyncIterable[BytesLike]"
Answer: TypeAlias = "MockResponse | Response | int | tuple[int, HeadersInput | None, BytesLike | str | Pieces]"
"""What a handler may return: a `MockResponse`, a `Response` that was read, a status, or (status, headers, body)."""
Handler: TypeAlias = "Callable[[MockRequest], Answer | Awaitable[Answer]]"


class MockRequest:
    """A request as a server would see it.

    Its body is there for a handler that is a plain function; a coroutine function reads it by `read()` or
    `iter_bytes()`, and may answer without doing so.
    """

    def __init__(self, exchange: MemoryExchange) -> None:
        self.request: Request = exchange.request
        """What was given to the transport."""
        host = [] if "Host" in self.request.headers else [("Host", self.request.url.origin.host_field)]
        self.headers: Headers = Headers(CIMultiDict([*host, *self.request.headers.items()]))
        """The fields, Host included."""
        self._pieces: AsyncIterator[BytesLike] = exchange.request_pieces()
        self._begun = self.request.body is None
        self._content: bytes | None = b"" if self._begun else None

    @property
    def method(self) -> str:
        """The method."""
        return self.request.method

    @property
    def url(self) -> URL:
        """The URL."""
        return self.request.url

    @property
    def target(self) -> str:
        """Path and query, as they would be sent."""
        return self.request.url.target

    @property
    def content(self) -> bytes:
        """The body, once it has been read. Raises `StreamConsumed` before."""
        if self._content is None:
            raise StreamConsumed("the body has not been read, or was not kept: await request.read()")
        return self._content

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON."""
        import json  # noqa: PLC0415 - for handlers that want it

        return json.loads(self.content)

    async def read(self) -> bytes:
        """The whole body, kept as `content`. Raises what the body's maker raises, and `BodyLengthMismatch`."""
        if self._content is None:
            self._content = b"".join([bytes(piece) async for piece in self.iter_bytes()])
        return self._content

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """The body in pieces as it is sent."""
        if self._begun:
            if self._content is None:
                raise StreamConsumed("the body was read piece by piece, and not kept")
            if self._content:
                yield self._content
            return
        self._begun = True
        async for piece in self._pieces:
            yield bytes(piece)

    async def finish(self, answered: int) -> None:
        """The handler has answered: a body that it did not begin goes on being sent to a 2xx, and to no other."""
        if not self._begun and answered < 300:
            await self.read()

    async def close(self) -> None:
        """Let go of what was not read of the body."""
        self._begun = True
        await self._pieces.aclose()  # type: ignore[attr-defined]  # a generator
        aclose = getattr(self.request.body, "aclose", None)
        if aclose is not None and self._content is None:
            await aclose()

    def __repr__(self) -> str:
        return f"<MockRequest {self.method} {self.url.shown}>"


class MockResponse:
    """A response to give.

    - `content` (bytes), `text` (UTF-8) or `json`: a body whose length is told.
    - `chunks`: an iterable or async iterable of bytes, or a function that makes one (to be given more than once): sent
      piece by piece, in chunks, no faster than it is read. What it raises, the reader meets.
    - `headers`: go before the Content-Length, Transfer-Encoding and Content-Type that the body asks for.
    - `trailers`: after a body of `chunks`. `interim`: (status, headers) pairs of 1xx responses that go before.
    """

    def __init__(
        self,
        status: int = 200,
        headers: HeadersInput | None = None,
        *,
        content: BytesLike | None = None,
        text: str | None = None,
        json: Any = None,
        chunks: Pieces | Callable[[], Pieces] | None = None,
        trailers: HeadersInput | None = None,
        interim: Iterable[tuple[int, HeadersInput | None]] = (),
        reason: str | None = None,
    ) -> None:
        if sum([value is not None for value in (content, text, json, chunks)]) > 1:
            raise TypeError("content=, text=, json= and chunks= exclude each other")
        self.status = status
        self.chunks = chunks
        self.content = b"" if content is None else bytes(content)
        kind = None
        if text is not None:
            self.content, kind = text.encode(), "text/plain; charset=utf-8"
        elif json is not None:
            from json import dumps  # noqa: PLC0415 - for those who ask

            self.content, kind = dumps(json, ensure_ascii=False).encode(), "application/json"
        fields = CIMultiDict(header_pairs(headers))
        if kind is not None:
            fields.setdefault("Content-Type", kind)
        if status >= 200 and status not in (204, 304) and "Transfer-Encoding" not in fields:
            if chunks is None:
                fields.setdefault("Content-Length", str(len(self.content)))
            elif "Content-Length" not in fields:
                fields["Transfer-Encoding"] = "chunked"
        self.head = ResponseHead(11, status, phrase(status) if reason is None else reason, Headers(fields))
        self.trailers: Headers = Headers(CIMultiDict(header_pairs(trailers))) if trailers is not None else EMPTY_HEADERS
        self.interim = [
            ResponseHead(11, code, phrase(code), Headers(CIMultiDict(header_pairs(pairs)))) for code, pairs in interim
        ]

    @classmethod
    def of(cls, answer: Any) -> MockResponse:
        """What a handler returned, as a `MockResponse`. Raises TypeError for what is none of `Answer`."""
        if isinstance(answer, cls):
            return answer
        if isinstance(answer, Response):
            kept = [pair for pair in answer.headers.items() if pair[0].lower() not in _REDONE]
            return cls(answer.status, kept, content=answer.content)
        if isinstance(answer, int) and not isinstance(answer, bool):
            return cls(answer)
        if isinstance(answer, tuple) and len(answer) == 3:
            status, headers, body = answer
            if isinstance(body, str):
                return cls(status, headers, text=body)
            if isinstance(body, (bytes, bytearray, memoryview)) or body is None:
                return cls(status, headers, content=body)
            return cls(status, headers, chunks=body)
        raise TypeError(
            "a handler returns a MockResponse, a Response that was read, a status, or (status, headers, body), "
            f"not {type(answer).__name__}"
        )

    def __repr__(self) -> str:
        return f"<MockResponse {self.status}>"


_REDONE = {"content-length", "transfer-encoding", "content-encoding"}
"""What no longer holds of a body that was decoded."""


class MockTransport(MemoryTransport):
    """Sends every request to a function, `handler(request) -> response`, plain or a coroutine function.

    Timeouts hold for the handler and for the pieces of its bodies, and what it raises reaches the caller. `requests`
    has all that were sent.

    >>> from aiohttpconn import Client
    >>> def handler(request):
    ...     return MockResponse(json={"path": request.url.path, "got": request.text})
    >>> async with Client(transport=MockTransport(handler)) as client:
    ...     response = await client.post("http://service.example/orders", content="one")
    >>> response.json()
    {'path': '/orders', 'got': 'one'}
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self._awaited = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - of an object that is called, its method says so
        )
        self.requests: list[MockRequest] = []
        """Every request that was sent, in order."""

    async def send(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send a request (see `Transport`)."""
        exchange = self.begin(request, context)
        received = MockRequest(exchange)
        self.requests.append(received)
        try:
            async with exchange.head_limit():
                if not self._awaited:
                    await received.read()
                answer: Any = self._handler(received)
                if inspect.isawaitable(answer):
                    answer = await answer
                response = MockResponse.of(answer)
                for head in response.interim:
                    if context.observer is not None and (said := context.observer.interim(request, head)) is not None:
                        await said
                await received.finish(response.status)
            chunks = response.chunks
            body = response.content if chunks is None else chunks() if callable(chunks) else chunks
            return exchange.respond(response.head, body, response.trailers)
        except BaseException as error:
            exchange.broken(exchange.stream)
            name(error, exchange)
            raise
        finally:
            await received.close()

    def __repr__(self) -> str:
        return f"<MockTransport {getattr(self._handler, '__name__', self._handler)}>"


def phrase(status: int) -> str:
    """The reason phrase that goes with a status, "" for one that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
