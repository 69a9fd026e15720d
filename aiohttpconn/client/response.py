"""`Response`: what a client's request brings back; its body decoded, at once or on the way."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from multidict import CIMultiDict, istr

from ..config import check_count
from ..errors import HTTPException, HTTPStatusError, StreamClosed, StreamConsumed
from ..headers import EMPTY_HEADERS, Headers
from ..messages import ResponseHead
from ..url import URL
from ..wire.codings import WholeBody, decode_all, decoder_for
from .pieces import (
    TURN,
    BodyIterator,
    DecodedPieces,
    KeptPieces,
    RawPieces,
    ValueIterator,
    WatchedPieces,
    check_total,
)
from .redirects import check_location, redirect_location, redirected
from .renames import answer_to_other_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from ..config import Deadline
    from ..loan import Loan
    from ..messages import Request
    from ..net.tls_info import TLSInfo
    from ..response import HTTPResponse
    from .charset import DefaultEncoding, TextDecoder
    from .flow import Attempt
    from .hedging import Hedged
    from .hooks import Hooks
    from .links import Links
    from .timings import Timings

_CONTENT_ENCODING = istr("Content-Encoding")
DRAINING = 1.0
"""Seconds that a body which nobody asked for gets to arrive; a new connection is sooner there."""
MAX_DRAINED = 1 << 20
"""Bytes that a body which nobody asked for may decode to, to be kept."""


class Response:
    """One response. `client.get()` and its like return it read; inside `client.stream()` its body is still to be read.

    The body can be read once: by `read()`, which keeps it, or by one of the iterators, which do not.
    """

    # Defaults of the class instead of slots: most responses are read, kept, and never asked for their encoding.
    _content: bytes | None = None
    _streamed = False
    _encoding: str | None = None
    _text: TextDecoder | None = None  # of text that is being streamed: it may find the charset out
    _pieces: RawPieces | None = None  # of the body that is being read, or was
    _whole: WholeBody | None = None  # a body that is all there, and still being decoded
    _downloaded = 0  # bytes of a body that came as a whole, its content codings on

    history: tuple[Response, ...] = ()
    """The responses that led here, oldest first: redirects, and those that asked for a signature."""
    attempts: tuple[Attempt, ...] = ()
    """The attempts before the one that brought this response, oldest first."""
    hedged: Hedged | None = None
    """The second attempt that was sent beside the first (see `Hedge`), None where there was none."""
    dropped: tuple[str, ...] = ()
    """The names of the request's fields that were not sent to this origin, to which a redirect led."""
    redirect_rules: Mapping[str, Any] = MappingProxyType({})
    """What `redirected` is to know of the client."""
    asked: Request | None = None
    """The request before it was signed and given cookies, where that makes a difference."""
    deadline: Deadline | None = None
    """When the time for the exchange is over; it holds for reading the body, too."""
    default_encoding: DefaultEncoding = None
    """The charset of text that declares none and has no byte order mark: a name, or who guesses it from the body."""

    def __init__(self, raw: HTTPResponse, request: Request, began: float) -> None:
        self._raw = raw
        self.head = raw.head
        """Status line and fields."""
        self.request = request
        """The `Request` that this answers: the last one, after redirects."""
        self._began = began  # by time.perf_counter()
        # Defaults of the class would be found more slowly, and every response is asked for these.
        self.max_body: int | None = None
        """Bytes that the decoded body may have; None for no limit."""
        self.hooks: Hooks | None = None
        """Who is told of the pieces of the body."""

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
    def tls(self) -> TLSInfo | None:
        """The TLS session that it came over, see `TLSInfo`; None for plain HTTP."""
        return self._raw.tls

    @property
    def from_cache(self) -> bool:
        """Whether the body came from the client's `cache`: without asking the server, or after it said that what is
        stored still holds."""
        return self._raw.from_cache

    @property
    def elapsed(self) -> timedelta:
        """From sending the request (the last one, after redirects) to the head of its response."""
        from datetime import timedelta  # noqa: PLC0415 - 2 ms of import for what few ask

        return timedelta(seconds=self.timings.first_byte or 0.0)

    @property
    def timings(self) -> Timings:
        """How the time of this exchange was spent, see `Timings`."""
        from .timings import timings_of  # noqa: PLC0415 - for who asks

        return timings_of(self._raw, self._began)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that this very response set, names to values; not those that it took back by an expiry in the
        past. (What the client keeps is in `Client.cookies`.)"""
        lines = self.head.set_cookie
        if lines is None:
            return {}
        import time  # noqa: PLC0415 - the same

        from .set_cookie import parse_set_cookie  # noqa: PLC0415 - the same

        found: dict[str, str] = {}
        for cookie in map(parse_set_cookie, lines):
            if cookie is None:
                continue
            expired = cookie.max_age == 0
            if cookie.max_age is None and cookie.expires is not None:
                expired = cookie.expires <= time.time()
            if expired:
                found.pop(cookie.name, None)
            else:
                found[cookie.name] = cookie.value
        return found

    @property
    def links(self) -> Links:
        """The links in the Link fields (RFC 8288): ``response.links["next"].url`` is absolute."""
        from .links import parse_links  # noqa: PLC0415 - the same

        return parse_links(self.head.headers.getall("Link", ()), self.request.url)

    @property
    def next_request(self) -> Request | None:
        """The request that would follow this redirect; None if it is none. For who does not have them followed.

        Give it to `Client.send`, which puts the cookies on, and signs it if it stays with the origin. Across origins it
        has lost the fields that may be secrets, by the client's rules. Raises `RedirectBlocked`, `InvalidURL`,
        `BodyNotReplayable`.
        """
        location = redirect_location(self.head)
        if location is None:
            return None
        check_location(self.head)
        return redirected(self.asked or self.request, self.head.status, location, **self.redirect_rules)

    def explain(self) -> str:
        """What happened, on a page to read: each hop with its route, connection, time, failed attempts, and the fields
        that were not sent on. Secrets are left out: credentials, cookies, and parameters of the query that look it."""
        from .explain import explain  # noqa: PLC0415 - the same

        return explain(self)

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.head.status < 300

    @property
    def is_redirect(self) -> bool:
        """A 301, 302, 303, 307 or 308 that says where to."""
        return redirect_location(self.head) is not None

    @property
    def is_client_error(self) -> bool:
        """4xx."""
        return 400 <= self.head.status < 500

    @property
    def is_server_error(self) -> bool:
        """5xx, and whatever is above."""
        return self.head.status >= 500

    @property
    def is_error(self) -> bool:
        """4xx or 5xx."""
        return self.head.status >= 400

    def raise_for_status(self) -> Self:
        """Raise `HTTPStatusError` for a 4xx or 5xx; returns the response itself otherwise."""
        if self.head.status >= 400:
            raise HTTPStatusError(
                f"{self.status} {self.reason}".rstrip(),
                response=self,
                doing=f"{self.request.method} {self.request.url.shown}",
            )
        return self

    # --- the body, whole ---

    @property
    def content(self) -> bytes:
        """The decoded body. Raises `StreamConsumed` or `StreamClosed` when it is not to be had (any more)."""
        if self._content is None:
            if self._streamed:
                raise self._named(StreamConsumed("the body was read piece by piece, and not kept"))
            if self._raw.closed:
                raise self._named(StreamClosed("the response was closed before its body was read"))
            raise self._named(StreamConsumed("the body has not been read yet: await response.read()"))
        return self._content

    @property
    def charset_encoding(self) -> str | None:
        """The charset that Content-Type declares, if Python knows it; else None."""
        from .charset import declared_charset  # noqa: PLC0415 - not everybody reads text

        return declared_charset(self.head.headers.get("Content-Type", ""))

    @property
    def encoding(self) -> str:
        """The charset of `text`; may be set.

        It is what Content-Type declares if it is one of Python's charsets, else what a byte order mark says, else what
        the client's `default_encoding` is or guesses, else utf-8. Before the body has been read nothing is guessed.
        """
        if self._encoding is None:
            if (declared := self.charset_encoding) is not None:
                self._encoding = declared
            elif self._text is not None and self._text.charset is not None:
                self._encoding = self._text.charset
            elif self._content is not None:
                from .charset import charset_of  # noqa: PLC0415 - the same

                self._encoding = charset_of(self._content, self.default_encoding)
            else:
                default = self.default_encoding
                return default if isinstance(default, str) else "utf-8"
        return self._encoding

    @encoding.setter
    def encoding(self, value: str) -> None:
        from .charset import is_charset  # noqa: PLC0415 - for the few who know better

        if not is_charset(value):
            raise LookupError(f"no charset that text can be decoded by: {value!r}")
        self._encoding = value

    @property
    def text(self) -> str:
        """The decoded body as text; what does not decode is replaced by U+FFFD."""
        content = self.content
        from .charset import decode_text  # noqa: PLC0415 - the same

        return decode_text(content, self.encoding)

    def json(self, **options: Any) -> Any:
        """The body as JSON (RFC 8259); `options` are those of `json.loads`.

        Raises ValueError (`json.JSONDecodeError`) if it is none.
        """
        import json  # noqa: PLC0415 - 2 ms of import; not every client speaks JSON

        return json.loads(self.content, **options)

    async def read(self) -> bytes:
        """Read the rest of the body, decode it and keep it as `content`.

        Raises `IncompleteRead`, `ReadError`, `ReadTimeout`, `TotalTimeout`, `DecodingError`, `BodyTooLarge`.
        """
        if self._content is None:
            try:
                if self._whole is None and (self.max_body is not None or self._told is not None):
                    pieces = self._decoded()
                    parts = []
                    while piece := await pieces.next():
                        parts.append(piece)
                    self._content = parts[0] if len(parts) == 1 else b"".join(parts)
                else:
                    self._content = await self._read_whole()
            except HTTPException as error:
                self.name(error)
                raise
        return self._content

    async def _read_whole(self) -> bytes:
        whole = self._whole
        if whole is None:
            self._claim()
            body = await self._raw.read()
            codings = self.head.headers.getall(_CONTENT_ENCODING, None)
            self._downloaded = len(body)
            if codings is None:
                return body
            self._whole = whole = WholeBody(codings, body)
        try:
            while not whole.advance(TURN):
                await asyncio.sleep(0)  # nothing is waited for: others have their turn
                check_total(self)
        finally:
            self._whole = None
        return whole.content()

    @property
    def _told(self) -> Hooks | None:
        """The hooks, if they are to be told of pieces."""
        hooks = self.hooks
        return None if hooks is None or hooks.on_chunk is None else hooks

    def keep_arrived(self) -> bool:
        """`read()` without waiting, if all of the body is there, as it is for most; whether it was.

        One that is there and decodes to more than 4 MiB is left for `read()` to go on with.
        """
        if self._content is not None or (self.hooks is not None and self._told is not None):
            return False  # an auth flow or a hook has read it, or is to be told of its pieces
        body = self._raw.take_whole()
        if body is None:
            return False
        self._streamed = True
        codings = self.head.headers.getall(_CONTENT_ENCODING, None)
        if codings is None and self.max_body is None:
            self._content = body
            return True
        try:
            return self._keep_within(codings or (), body)
        except HTTPException as error:
            self.name(error)
            self._raw.close_now()
            raise

    def _keep_within(self, codings: Sequence[str], body: bytes) -> bool:
        self._downloaded = len(body)
        whole = WholeBody(codings, body, self.max_body)
        if not whole.advance(TURN):
            self._whole = whole
            return False
        self._content = whole.content()
        return True

    async def read_or_close(self) -> None:
        """`read()` for a response that nobody else will close: when it fails, or is cancelled, it is closed."""
        try:
            await self.read()
        except BaseException:
            self._raw.close_now()
            raise
        if not self._raw.ended:
            self._raw.close_now()  # a 101 has no end: whoever wants its streams asks for them with `stream`

    async def drain(self, limit: int) -> None:
        """Read a body that nobody asked for, if it is framed, at most `limit` bytes long, and there within a second, so
        that its connection can be used again; else close it."""
        raw = self._raw
        length = raw.length
        framed = raw.chunked or length is not None
        try:
            if framed and (length is None or length <= limit):
                async with asyncio.timeout(None if raw.ended else DRAINING):
                    await self._read_away(limit)
        except (HTTPException, TimeoutError):
            pass  # what it had to say was in its head
        finally:
            raw.close_now()

    async def _read_away(self, limit: int) -> None:
        raw, told = self._raw, self._told
        kept = b""
        while len(kept) <= limit and (piece := await raw.read1()):
            kept += piece
            if told is not None:
                await told.chunk(self, piece)
        if raw.isclosed():
            self._streamed = True
            self._downloaded = len(kept)
            codings = self.head.headers.getall(_CONTENT_ENCODING, ())
            self._content = decode_all(codings, kept, MAX_DRAINED) if codings else kept

    def name(self, error: HTTPException) -> None:
        """Say in an error whose response it is about, if nobody has said so yet."""
        error.request = error.request or self.request
        error.doing = error.doing or f"reading the response to {self.request.method} {self.url.shown}"

    def _named(self, error: HTTPException) -> HTTPException:
        self.name(error)
        return error

    def _claim(self, pieces: RawPieces | None = None) -> None:
        """The body is about to be read: once."""
        if self._streamed:
            raise self._named(StreamConsumed("the body was read already, and not kept"))
        if self._raw.closed:
            raise self._named(StreamClosed("the response was closed before its body was read"))
        self._raw.check_loop()
        self._streamed = True
        self._pieces = pieces

    @property
    def num_bytes_downloaded(self) -> int:
        """Bytes of the body that have come so far, before content codings were undone."""
        if self._pieces is not None:
            return self._pieces.count
        if self._downloaded or self._content is None:
            return self._downloaded
        return len(self._content)

    @property
    def is_stream_consumed(self) -> bool:
        """Whether the body has been read, or begun to be."""
        return self._streamed or self._content is not None

    @property
    def is_closed(self) -> bool:
        """Whether the connection is no longer this response's: the body has come, or failed, or nobody wants it."""
        return self._raw.closed or self._raw.ended

    # --- the body, in pieces ---

    def iter_raw(self, size: int | None = None) -> BodyIterator[bytes]:
        """The body as it comes, content codings left on; in pieces of `size` bytes if given (the last one shorter).

        Here `max_body` counts what comes.
        """
        return self._in_pieces(self._raw_pieces(self.max_body), size)

    def iter_bytes(self, size: int | None = None) -> BodyIterator[bytes]:
        """The decoded body as it comes, at most 256 KiB at a time; in pieces of `size` bytes if given."""
        return self._in_pieces(self._decoded(), size)

    def receive_ahead(self, size: int) -> None:
        """Have no more of the body than about so many bytes received before they are asked for, instead of 256 KiB: for
        who reads many large bodies at a time, and has little memory.

        - `size`: at least 1.
        """
        self._raw.receive_ahead(check_count("size", size))

    def lend_socket(self) -> Loan | None:
        """In the midst of `iter_raw()`: the socket, for somebody who takes what is left of the body from it himself, by
        the system's own means (a download does: `os.splice`).

        None where that cannot be done: the body is nearly all there, comes in chunks or through TLS, or is limited,
        timed as a whole, or told to hooks.
        """
        pieces = self._pieces
        if type(pieces) is not RawPieces or self.max_body is not None:
            return None
        return self._raw.lend(pieces.counted)

    def iter_text(self) -> BodyIterator[str]:
        """The body as text by `encoding`, as it comes, characters whole."""
        from .chunkers import TextChunker  # noqa: PLC0415 - not everybody reads text

        return BodyIterator(self, self._decoded(), TextChunker(self._text_decoder()))

    def iter_lines(self) -> BodyIterator[str]:
        """The body line by line, split as `str.splitlines` does, without line ends."""
        from .chunkers import LineChunker  # noqa: PLC0415 - the same

        return BodyIterator(self, self._decoded(), LineChunker(self._text_decoder()))

    def iter_ndjson(self) -> ValueIterator:
        """The values of a body of newline-delimited JSON, one a line, as they come; blank lines are passed over.

        A line that is no JSON is a `json.JSONDecodeError` (a ValueError) that names it, and has it as `lineno`; the
        lines after it can still be read.
        """
        from .chunkers import ByteLineChunker  # noqa: PLC0415 - the same

        return ValueIterator(self, BodyIterator(self, self._decoded(), ByteLineChunker()))

    def _in_pieces(self, pieces: RawPieces, size: int | None) -> BodyIterator[bytes]:
        if size is None:
            return BodyIterator(self, pieces, None)
        from .chunkers import BytesChunker  # noqa: PLC0415 - the same

        return BodyIterator(self, pieces, BytesChunker(size))

    def _text_decoder(self) -> TextDecoder:
        from .charset import TextDecoder  # noqa: PLC0415 - the same

        charset = self._encoding or self.charset_encoding
        if charset is None and self._content is not None:
            charset = self.encoding
        self._text = TextDecoder(charset, self.default_encoding)
        return self._text

    def _raw_pieces(self, limit: int | None) -> RawPieces:
        return RawPieces(self) if limit is None and self._told is None else WatchedPieces(self, limit)

    def _decoded(self) -> RawPieces:
        if self._content is not None:
            return KeptPieces(self)
        codings = self.head.headers.getall(_CONTENT_ENCODING, None)
        try:
            decoder = None if codings is None else decoder_for(codings)
        except HTTPException as error:
            self.name(error)
            raise
        if decoder is None:
            return self._raw_pieces(self.max_body)
        return DecodedPieces(self, self._raw_pieces(None), decoder, self.max_body)

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
            self._began,
            _Snapshot.of(self._raw),
            {
                "_content": self._content,
                "_streamed": self._streamed,
                "_encoding": self._encoding,
                "_downloaded": self.num_bytes_downloaded,
                "history": self.history,
                "attempts": self.attempts,
                "hedged": self.hedged,
                "dropped": self.dropped,
                "asked": self.asked,
                "redirect_rules": dict(self.redirect_rules),
            },
        )


answer_to_other_names(Response)


class _Snapshot:
    """What is left of an exchange when its response is pickled."""

    closed = True
    ended = True
    trailers: Headers
    head: ResponseHead
    from_cache: bool
    _KEPT = ("from_cache", "opening", "queued", "sent_at", "arrived_at", "done_at", "proxy", "uds", "tls")

    @classmethod
    def of(cls, raw: Any) -> tuple[tuple[tuple[str, str], ...], dict[str, Any]]:
        """What to pickle of a response that came over a connection, or of a snapshot."""
        return tuple(raw.trailers.items()), {name: getattr(raw, name, None) for name in cls._KEPT}

    def __init__(self, head: ResponseHead, trailers: tuple[tuple[str, str], ...], kept: dict[str, Any]) -> None:
        self.head = head
        self.trailers = Headers(CIMultiDict(trailers)) if trailers else EMPTY_HEADERS
        self.__dict__.update(kept)

    def close_now(self) -> None:
        """Nothing is open."""


def _restore_response(
    head: tuple[int, int, str, tuple[tuple[str, str], ...]],
    request: Request,
    began: float,
    raw: tuple[tuple[tuple[str, str], ...], dict[str, Any]],
    kept: dict[str, Any],
) -> Response:
    version, status, reason, pairs = head
    snapshot = _Snapshot(ResponseHead(version, status, reason, Headers(CIMultiDict(pairs))), *raw)
    response = Response(snapshot, request, began)  # type: ignore[arg-type]
    response.__dict__.update(kept)
    return response
