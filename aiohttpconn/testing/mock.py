"""`MockTransport`: a function in place of a server."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from multidict import CIMultiDict

from ..client.response import Response
from ..config import UNSET
from ..errors import StreamConsumed
from ..headers import EMPTY_HEADERS, Headers, HeadersInput, header_pairs
from ..messages import ResponseHead
from ..upload import is_bytes_like
from .memory import MemoryExchange, MemoryTransport, name, received_fields

if TYPE_CHECKING:
    from ..messages import BytesLike, Request
    from ..proxy import Proxy
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
        self.headers: Headers = Headers(CIMultiDict(received_fields(self.request)))
        """The fields, Host included."""
        self.proxy: Proxy | None = exchange.proxy
        """The proxy that the request was to go through, None where the caller named none."""
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

    - `status`: from 200 to 999.
    - `content` (bytes), `text` (UTF-8) or `json` (None is null): a body whose length is told.
    - `chunks`: an iterable or async iterable of bytes, or a function that makes one: sent piece by piece, in chunks, no
      faster than it is read. What it raises, the reader meets. A generator serves once: to give the response more than
      once, let it be a list or a function.
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
        json: Any = UNSET,
        chunks: Pieces | Callable[[], Pieces] | None = None,
        trailers: HeadersInput | None = None,
        interim: Iterable[tuple[int, HeadersInput | None]] = (),
        reason: str | None = None,
    ) -> None:
        if sum([content is not None, text is not None, json is not UNSET, chunks is not None]) > 1:
            raise TypeError("content=, text=, json= and chunks= exclude each other")
        self.status = status = _checked_status(status, 200, 999)
        if content is not None and not is_bytes_like(content):
            raise TypeError(f"content must be bytes-like, not {type(content).__name__}; a str is given as text=")
        if text is not None and not isinstance(text, str):
            raise TypeError(f"text must be a str, not {type(text).__name__}")
        if chunks is not None and not _are_pieces(chunks):
            raise TypeError(
                "chunks must be an iterable or async iterable of bytes, or a function that makes one, "
                f"not {type(chunks).__name__}"
            )
        self.chunks = chunks
        self._given = False
        self.content = b"" if content is None else bytes(content)
        kind = None
        if text is not None:
            self.content, kind = text.encode(), "text/plain; charset=utf-8"
        elif json is not UNSET:
            from json import dumps  # noqa: PLC0415 - for those who ask

            self.content, kind = dumps(json, ensure_ascii=False).encode(), "application/json"
        fields = _as_received(headers)
        if kind is not None:
            fields.setdefault("Content-Type", kind)
        if status >= 200 and status not in (204, 304) and "Transfer-Encoding" not in fields:
            if chunks is None:
                fields.setdefault("Content-Length", str(len(self.content)))
            elif "Content-Length" not in fields:
                fields["Transfer-Encoding"] = "chunked"
        self.head = ResponseHead(11, status, phrase(status) if reason is None else reason, Headers(fields))
        if trailers is not None and (chunks is None or "Content-Length" in fields):
            raise TypeError("trailers= go after chunks=, and without a Content-Length")
        self.trailers: Headers = EMPTY_HEADERS if trailers is None else Headers(_as_received(trailers))
        self.interim = [
            ResponseHead(11, _checked_status(code, 100, 199), phrase(code), Headers(_as_received(pairs)))
            for code, pairs in interim
        ]

    def body(self) -> BytesLike | Pieces:
        """The body, to be sent once. Raises RuntimeError where that was so already, and it cannot be made again."""
        chunks = self.chunks
        if chunks is None:
            return self.content
        if callable(chunks):
            return chunks()
        if self._given and isinstance(chunks, (Iterator, AsyncIterator)):
            raise RuntimeError(
                f"the chunks of {self!r} have been sent, and a {type(chunks).__name__} can be read only once; "
                "give a list, or a function that makes them"
            )
        self._given = True
        return chunks

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
        raise TypeError(f"a handler returns {_ANSWERS}, not {type(answer).__name__}")

    def __repr__(self) -> str:
        return f"<MockResponse {self.status}>"


_ANSWERS = "a MockResponse, a Response that was read, a status, or (status, headers, body)"
_REDONE = {"content-length", "transfer-encoding", "content-encoding"}
"""What no longer holds of a body that was decoded."""


class Answering:
    """What answers requests: a function, plain or a coroutine function, or always the same response.

    Raises TypeError for what is neither, beginning with `wanted`.
    """

    def __init__(self, given: Any, wanted: str) -> None:
        self.given = given
        self._same: MockResponse | None = None
        if isinstance(given, type) and issubclass(given, BaseException):
            raise TypeError(f"{wanted}, or {_ANSWERS}; not the class {given.__name__}")
        if not callable(given):
            try:
                self._same = MockResponse.of(given)
            except TypeError:
                shown = given if given is None or isinstance(given, bool) else type(given).__name__
                raise TypeError(f"{wanted}, or {_ANSWERS}; not {shown}") from None
        self._awaited = inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(
            getattr(given, "__call__", None)  # noqa: B004 - of an object that is called, its method says so
        )

    async def __call__(self, request: MockRequest) -> MockResponse:
        """The response to a request, whose body is read before unless a coroutine function is to do so."""
        if not self._awaited:
            await request.read()
        if self._same is not None:
            return self._same
        answer = self.given(request)
        if inspect.isawaitable(answer):
            answer = await answer
        return MockResponse.of(answer)


class MockTransport(MemoryTransport):
    """Sends every request to a function, `handler(request) -> response`, plain or a coroutine function. Given a
    response in place of it, that answers them all.

    Timeouts hold for the handler and for the pieces of its bodies, and what it raises reaches the caller. `requests`
    has all that were sent. Every request is as one on a connection of its own; a proxy that it was to go through is
    noted (`MockRequest.proxy`), and nothing else comes of it.

    >>> from aiohttpconn import Client
    >>> def handler(request):
    ...     return MockResponse(json={"path": request.url.path, "got": request.text})
    >>> async with Client(transport=MockTransport(handler)) as client:
    ...     response = await client.post("http://service.example/orders", content="one")
    >>> response.json()
    {'path': '/orders', 'got': 'one'}
    """

    def __init__(self, handler: Handler | Answer) -> None:
        super().__init__()
        self._answer = Answering(handler, "MockTransport takes a function of a request")
        self.requests: list[MockRequest] = []
        """Every request that was sent, in order."""

    async def send(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send a request (see `Transport`)."""
        exchange = self.begin(request, context)
        received = MockRequest(exchange)
        self.requests.append(received)
        try:
            await exchange.connected()
            async with exchange.head_limit():
                response = await self._answer_to(received)(received)
                if response.interim:
                    await exchange.interim(response.interim)
                await received.finish(response.status)
            return exchange.respond(response.head, response.body(), response.trailers)
        except BaseException as error:
            exchange.broken(exchange.stream)
            name(error, exchange)
            raise
        finally:
            await received.close()

    def _answer_to(self, request: MockRequest) -> Answering:
        return self._answer

    def __repr__(self) -> str:
        return f"<MockTransport {getattr(self._answer.given, '__name__', self._answer.given)}>"


def _checked_status(status: int, least: int, most: int) -> int:
    if isinstance(status, bool) or not isinstance(status, int):
        raise TypeError(f"a status must be an int, not {status!r}")
    if not least <= status <= most or status == 101:
        more = "; a double cannot switch protocols" if status == 101 else ""
        more = more or ("; 1xx responses are given as interim=" if 100 <= status < 200 else "")
        raise ValueError(f"the status of such a response must be from {least} to {most}: {status!r}{more}")
    return int(status)


def _are_pieces(chunks: object) -> bool:
    if callable(chunks):
        return True
    return isinstance(chunks, (Iterable, AsyncIterable)) and not (is_bytes_like(chunks) or isinstance(chunks, str))


def _as_received(headers: HeadersInput | None) -> CIMultiDict[str]:
    """Fields as the network brings them: without spaces around their values."""
    return CIMultiDict([(field, value.strip(" \t")) for field, value in header_pairs(headers)])


def phrase(status: int) -> str:
    """The reason phrase that goes with a status, "" for one that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
