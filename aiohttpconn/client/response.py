"""`Response`: what a client's request brings back; its body decoded, at once or on the way."""

from __future__ import annotations

import codecs
import re
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from multidict import CIMultiDict, CIMultiDictProxy, istr

from ..errors import HTTPException, HTTPStatusError, StreamClosed, StreamConsumed
from ..headers import EMPTY_HEADERS, Headers
from ..messages import ResponseHead
from ..url import URL
from ..wire.codings import MAX_CHUNK, Decoder, decode_all, decoder_for
from .redirects import redirect_location

if TYPE_CHECKING:
    from datetime import timedelta

    from ..messages import Request
    from ..response import HTTPResponse
    from .flow import Attempt
    from .hooks import Hooks

_CONTENT_ENCODING = istr("Content-Encoding")

T = TypeVar("T", bytes, str)

# RFC 9110 section 8.3.2: charset=token, or quoted.
_CHARSET = re.compile(r";[ \t]*charset[ \t]*=[ \t]*\"?([^\s\";]+)", re.IGNORECASE)


class Response:
    """One response. `client.get()` and its like return it read; inside `client.stream()` its body is still to be read.

    The body can be read once: by `read()`, which keeps it, or by one of the iterators, which do not.
    """

    # Defaults of the class instead of slots: most responses are read, kept, and never asked for their encoding.
    _content: bytes | None = None
    _streamed = False
    _encoding: str | None = None

    history: tuple[Response, ...] = ()
    """The responses that led here, oldest first: redirects, and those that asked for a signature."""
    attempts: tuple[Attempt, ...] = ()
    """The attempts before the one that brought this response, oldest first."""
    dropped: tuple[str, ...] = ()
    """The names of the request's fields that were not sent to this origin, to which a redirect led."""
    max_body: int | None = None
    hooks: Hooks | None = None

    def __init__(self, raw: HTTPResponse, request: Request, began: float) -> None:
        self._raw = raw
        self.head = raw.head
        """Status line and fields."""
        self.request = request
        """The `Request` that this answers: the last one, after redirects."""
        self._began = began  # by time.perf_counter()

    # --- head ---

    @property
    def status(self) -> int:
        """Status code."""
        return self.head.status

    @property
    def status_code(self) -> int:
        """The same as `status`."""
        return self.head.status

    @property
    def reason(self) -> str:
        """Reason phrase, "" when there is none."""
        return self.head.reason

    @property
    def http_version(self) -> str:
        """ "HTTP/1.1" or "HTTP/1.0"."""
        return "HTTP/1.1" if self.head.version == 11 else "HTTP/1.0"

    @property
    def headers(self) -> Headers:
        """The fields: case-insensitive, in order, repeats kept."""
        return self.head.headers

    @property
    def trailers(self) -> Headers:
        """The fields after a chunked body, once it has been read; empty otherwise."""
        return self._raw.trailers

    @property
    def url(self) -> URL:
        """The URL that this is the response to, after redirects."""
        return self.request.url

    @property
    def elapsed(self) -> timedelta:
        """From sending the request (the last one, after redirects) to the head of its response."""
        from datetime import timedelta  # noqa: PLC0415 - 2 ms of import for what few ask

        return timedelta(seconds=self._raw.arrived_at - self._began)

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.head.status < 300

    @property
    def is_redirect(self) -> bool:
        """A 301, 302, 303, 307 or 308 that says where to."""
        return redirect_location(self.head) is not None

    @property
    def is_error(self) -> bool:
        """4xx or 5xx."""
        return self.head.status >= 400

    def raise_for_status(self) -> Response:
        """Raise `HTTPStatusError` for a 4xx or 5xx; returns the response itself otherwise."""
        if self.head.status >= 400:
            raise HTTPStatusError(
                f"{self.status} {self.reason}".rstrip(),
                response=self,
                doing=f"{self.request.method} {self.request.url.without_userinfo()}",
            )
        return self

    # --- the body, whole ---

    @property
    def content(self) -> bytes:
        """The decoded body. Raises `StreamConsumed` or `StreamClosed` when it is not to be had (any more)."""
        if self._content is None:
            if self._streamed:
                raise StreamConsumed("the body was read piece by piece, and not kept")
            if self._raw.closed:
                raise StreamClosed("the response was closed before its body was read")
            raise StreamConsumed("the body has not been read yet: await response.read()")
        return self._content

    @property
    def encoding(self) -> str:
        """The charset of `text`: what Content-Type declares if Python knows it, else utf-8. May be set."""
        if self._encoding is None:
            self._encoding = _declared_charset(self.headers.get("Content-Type", "")) or "utf-8"
        return self._encoding

    @encoding.setter
    def encoding(self, value: str) -> None:
        codecs.lookup(value)
        self._encoding = value

    @property
    def text(self) -> str:
        """The decoded body as text; what does not decode is replaced by U+FFFD."""
        return self.content.decode(self.encoding, "replace")

    def json(self) -> Any:
        """The body as JSON (RFC 8259). Raises ValueError (`json.JSONDecodeError`) if it is none."""
        import json  # noqa: PLC0415 - 2 ms of import; not every client speaks JSON

        return json.loads(self.content)

    async def read(self) -> bytes:
        """Read the rest of the body, decode it and keep it as `content`.

        Raises `IncompleteRead`, `ReadError`, `ReadTimeout`, `TotalTimeout`, `DecodingError`.
        """
        if self._content is None:
            self._claim()
            raw = self._raw
            try:
                self.keep(await raw.read())
            except HTTPException as error:
                self.name(error)
                raise
        assert self._content is not None
        return self._content

    def keep_arrived(self) -> bool:
        """`read()` without waiting, if all of the body is there, as it is for most; whether it was."""
        if self._content is not None:
            return True  # an auth flow or a hook has read it
        body = self._raw.take_whole()
        if body is None:
            return False
        self._streamed = True
        try:
            self.keep(body)
        except HTTPException as error:
            self.name(error)
            raise
        return True

    async def read_or_close(self) -> None:
        """`read()` for a response that nobody else will close: when it fails, or is cancelled, it is closed."""
        try:
            await self.read()
        except BaseException:
            self._raw.close_now()
            raise

    async def drain(self, limit: int) -> None:
        """Read a body that nobody asked for, if it is framed and at most `limit` bytes long, so that its connection can
        be used again; else close it."""
        raw = self._raw
        length = raw.length
        framed = raw.chunked or length is not None
        try:
            if framed and (length is None or length <= limit):
                kept = b""
                while len(kept) <= limit and (piece := await raw.read1()):
                    kept += piece
                if raw.isclosed():
                    self._streamed = True
                    self.keep(kept)
        except HTTPException:
            pass  # what it had to say was in its head
        finally:
            raw.close_now()

    def keep(self, body: bytes) -> None:
        """Decode the whole body as it came, and keep it as `content`."""
        codings = self.head.headers.getall(_CONTENT_ENCODING, None)
        self._content = body if codings is None else decode_all(codings, body)

    def name(self, error: HTTPException) -> None:
        """Say in an error whose response it is about, if nobody has said so yet."""
        error.request = error.request or self.request
        error.doing = error.doing or f"reading the response to {self.request.method} {self.url.without_userinfo()}"

    def _claim(self) -> None:
        """The body is about to be read: once."""
        if self._streamed:
            raise StreamConsumed("the body was read already, and not kept")
        if self._raw.closed:
            raise StreamClosed("the response was closed before its body was read")
        self._streamed = True

    # --- the body, in pieces ---

    def iter_raw(self, size: int | None = None) -> BodyIterator[bytes]:
        """The body as it comes, content codings left on; in pieces of `size` bytes if given (the last one shorter)."""
        return BodyIterator(self, _RawPieces(self), _BytesChunker(size) if size is not None else None)

    def iter_bytes(self, size: int | None = None) -> BodyIterator[bytes]:
        """The decoded body as it comes, at most 256 KiB at a time; in pieces of `size` bytes if given."""
        return BodyIterator(self, self._decoded(), _BytesChunker(size) if size is not None else None)

    def iter_text(self) -> BodyIterator[str]:
        """The body as text by `encoding`, as it comes."""
        return BodyIterator(self, self._decoded(), _TextChunker(self.encoding))

    def iter_lines(self) -> BodyIterator[str]:
        """The body line by line, split as `str.splitlines` does, without line ends."""
        return BodyIterator(self, self._decoded(), _LineChunker(self.encoding))

    def _decoded(self) -> _RawPieces:
        if self._content is not None:
            return _KeptPieces(self)
        codings = self.headers.getall(_CONTENT_ENCODING, None)
        try:
            decoder = None if codings is None else decoder_for(codings)
        except HTTPException as error:
            self.name(error)
            raise
        return _RawPieces(self) if decoder is None else _DecodedPieces(self, decoder)

    # --- the end ---

    async def close(self) -> None:
        """Let go of the connection: kept if the rest of the body has already arrived, else closed. Idempotent."""
        self._raw.close_now()

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A snapshot without streams, for errors that carry a response to another process.
        head = self.head
        return _restore_response, (
            (head.version, head.status, head.reason, tuple(head.headers.items())),
            self.request,
            self.history,
            self._raw.arrived_at - self._began,
            self._content,
        )


def _declared_charset(content_type: str) -> str | None:
    match = _CHARSET.search(content_type)
    if match is None:
        return None
    try:
        # Python's codecs are not all charsets: "hex" and "zip" make bytes of bytes, and "idna" and "punycode" know no
        # replacing of what does not decode.
        "".encode(match[1])
        b"\xff".decode(match[1], "replace")
    except (LookupError, ValueError, TypeError):
        return None
    return match[1]


class _RawPieces:
    """The pieces of the body as they come off the connection."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self._raw = response._raw
        self._begun = False

    def ready(self) -> bytes:
        """The next piece if it is there already, else b"": spares two coroutines a piece."""
        return self._raw.take_piece() if self._begun else b""

    async def next(self) -> bytes:
        """The next piece, b"" at the end."""
        if not self._begun:
            self._response._claim()
            self._begun = True
        try:
            return await self._raw.__anext__()
        except StopAsyncIteration:
            return b""
        except HTTPException as error:
            self._response.name(error)
            raise


class _KeptPieces(_RawPieces):
    """The body that was read before, 256 KiB at a time."""

    _at = 0

    def ready(self) -> bytes:
        return b""

    async def next(self) -> bytes:
        content = self._response.content
        piece = content[self._at : self._at + MAX_CHUNK]
        self._at += len(piece)
        return piece


class _DecodedPieces(_RawPieces):
    """The pieces of the decoded body: never more inflated than one of them."""

    def __init__(self, response: Response, decoder: Decoder) -> None:
        super().__init__(response)
        self._decoder = decoder
        self._pending: Iterator[bytes] = iter(())
        self._ended = False

    def ready(self) -> bytes:
        return b""

    async def next(self) -> bytes:
        try:
            while True:
                piece = next(self._pending, b"")
                if piece or self._ended:
                    return piece
                data = await super().next()
                if data:
                    self._pending = self._decoder.decode(data)
                else:
                    self._ended = True
                    return self._decoder.flush()
        except HTTPException as error:
            self._response.name(error)
            self._raw.close_now()
            raise


class _Chunker(Generic[T]):
    """Cuts a stream of bytes anew."""

    def feed(self, data: bytes) -> list[T]:
        raise NotImplementedError

    def flush(self) -> list[T]:
        raise NotImplementedError


class _BytesChunker(_Chunker[bytes]):
    """Pieces of one size."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"the size of a piece must be at least 1, not {size}")
        self._size = size
        self._parts: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> list[bytes]:
        self._parts.append(data)
        self._held += len(data)
        size = self._size
        if self._held < size:
            return []
        data = b"".join(self._parts)
        whole = len(data) - len(data) % size
        self._parts = [data[whole:]] if whole < len(data) else []
        self._held = len(data) - whole
        return [data[at : at + size] for at in range(0, whole, size)]

    def flush(self) -> list[bytes]:
        return [b"".join(self._parts)] if self._held else []


class _TextChunker(_Chunker[str]):
    """Text, characters whole."""

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def feed(self, data: bytes) -> list[str]:
        text = self._decoder.decode(data)
        return [text] if text else []

    def flush(self) -> list[str]:
        text = self._decoder.decode(b"", True)
        return [text] if text else []


class _LineChunker(_Chunker[str]):
    """Lines as `str.splitlines` cuts them, wherever the pieces were cut."""

    def __init__(self, encoding: str) -> None:
        self._text = _TextChunker(encoding)
        self._parts: list[str] = []

    def feed(self, data: bytes) -> list[str]:
        for text in self._text.feed(data):
            return self._split(text)
        return []

    def _split(self, text: str) -> list[str]:
        if self._parts and self._parts[-1].endswith("\r"):
            # A CR at the end of the last piece: perhaps the first half of CRLF.
            text = self._parts.pop() + text
        lines = text.splitlines(keepends=True)
        whole: list[str] = []
        for left, line in enumerate(lines, 1 - len(lines)):
            self._parts.append(line)
            if line.splitlines()[0] != line and (left or not line.endswith("\r")):
                whole.append("".join(self._parts).splitlines()[0])
                self._parts = []
        return whole

    def flush(self) -> list[str]:
        whole = self._split(text[0]) if (text := self._text.flush()) else []
        rest = "".join(self._parts).splitlines()
        self._parts = []
        return whole + rest


class BodyIterator(AsyncIterator[T]):
    """A body in pieces. `aclose()` closes the response; leaving the loop early needs nothing inside `client.stream`."""

    __slots__ = ("_chunker", "_ended", "_pieces", "_ready", "_response")

    def __init__(self, response: Response, pieces: _RawPieces, chunker: _Chunker[T] | None) -> None:
        self._response = response
        self._pieces = pieces
        self._chunker: _Chunker[T] | None = chunker
        self._ready: Iterator[T] = iter(())
        self._ended = False

    def __aiter__(self) -> BodyIterator[T]:
        return self

    async def __anext__(self) -> T:
        chunker = self._chunker
        if chunker is None:
            piece = self._pieces.ready() or await self._pieces.next()
            if not piece:
                raise StopAsyncIteration
            return piece  # type: ignore[return-value]
        while True:
            for ready in self._ready:
                return ready
            if self._ended:
                raise StopAsyncIteration
            data = await self._pieces.next()
            if data:
                self._ready = iter(chunker.feed(data))
            else:
                self._ended = True
                self._ready = iter(chunker.flush())

    async def aclose(self) -> None:
        """Close the response."""
        await self._response.close()


class _Snapshot:
    """What is left of an exchange when its response is pickled."""

    def __init__(self, head: Any, arrived_at: float) -> None:
        self.arrived_at = arrived_at
        version, status, reason, pairs = head
        self.head = ResponseHead(version, status, reason, CIMultiDictProxy(CIMultiDict(pairs)))
        self.trailers: Headers = EMPTY_HEADERS
        self.closed = True

    def close_now(self) -> None:
        """Nothing is open."""


def _restore_response(
    head: Any, request: Request, history: tuple[Response, ...], elapsed: float, content: bytes | None
) -> Response:
    response = Response(_Snapshot(head, elapsed), request, 0.0)  # type: ignore[arg-type]
    response.history = history
    response._content = content
    return response
