"""One exchange at a time over one stream: HTTP/1.1 from the head that goes out to the response that comes back."""

from __future__ import annotations

import asyncio
import enum
import math
import weakref
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from .config import NO_TIMEOUT, Deadline
from .errors import (
    BadStatusLine,
    BodyLengthMismatch,
    CannotSendRequest,
    HTTPException,
    InvalidHeader,
    ProtocolError,
    ReadError,
    ReadTimeout,
    RemoteDisconnected,
    ResponseNotReady,
    TLSError,
    WriteError,
)
from .headers import KEEP_ALIVE
from .request_head import request_options
from .response import HTTPResponse
from .secrets import masked_url
from .upload import Upload, encode_text, is_bytes_like
from .wire.framing import (
    BodyDecoder,
    BodyFraming,
    ChunkedDecoder,
    CloseDecoder,
    Framing,
    LengthDecoder,
    response_framing,
)
from .wire.head import HeadParser, encode_fields, encode_request_head, parse_whole_head
from .wire.keep_alive import usable_for

if TYPE_CHECKING:
    import ssl

    from .messages import Body, Request, ResponseHead
    from .net.stream import Stream
    from .url import URL

MAX_INTERIM = 16
CONTINUE_TIMEOUT = 1.0
"""Seconds that a body waits for 100 (Continue) before it is sent all the same (RFC 9110 section 10.1.1)."""


_NO_DEADLINE = Deadline(NO_TIMEOUT, 0.0)

_Recent: TypeAlias = tuple[bytes, "ResponseHead", str, "BodyFraming"]
"""The last response's head as it came, as it was parsed, to which method, and what it says of the body."""
_NONE_RECENT: _Recent = (b"", None, "", None)  # type: ignore[assignment]
_latest = _NONE_RECENT
"""The last that was parsed for any connection: a server says the same to all that come within one second of its Date,
and a client with 2,000 connections to it uses each of them less often than that (half of all heads, 10 of 75 µs)."""


class State(enum.Enum):
    IDLE = "idle"  # a request may begin
    HEAD = "head open"  # putrequest was called, endheaders was not
    SENT = "request sent"  # the response has not been asked for
    RESPONSE = "response open"  # its body is still to come


_IDLE, _HEAD, _SENT, _RESPONSE = State


def _weakly_disturbed(conn: HTTP1) -> Callable[[], None]:
    """What an idle stream calls. It must not keep the connection: the loop holds the stream, and a connection that was
    dropped unclosed is to be noticed."""
    ref = weakref.ref(conn)

    def disturbed() -> None:
        conn = ref()
        if conn is not None:
            conn._disturbed()

    return disturbed


class HTTP1:
    """The exchanges of a connection, whoever opened its stream: state, sending, receiving.

    The state goes IDLE, (HEAD while a request is put together,) SENT, RESPONSE, IDLE. Whatever fails in between ends
    with no stream: an exchange that is not known to be over never leaves a connection that could be used again.
    """

    __slots__ = (
        "__weakref__",
        "_began",
        "_continued",
        "_deadline",
        "_declared",
        "_early",
        "_expecting",
        "_hooked",
        "_interim",
        "_keep_alive",
        "_method",
        "_on_activity",
        "_parser",
        "_recent",
        "_secured",
        "_sending",
        "_sent",
        "_sent_at",
        "_state",
        "_stream",
        "_target",
        "_unwanted",
        "_upgrade",
        "_upload",
        "blocksize",
        "debuglevel",
        "idle_limit",
        "on_change",
        "on_interim",
    )
    response_class: type[HTTPResponse] = HTTPResponse

    def __init__(self, blocksize: int, max_head: int, max_fields: int) -> None:
        self.blocksize = blocksize
        self._on_activity = _weakly_disturbed(self)
        self.debuglevel = 0
        self.on_interim: Callable[[ResponseHead], Awaitable[None] | None] | None = None
        """Called with the head of each 1xx response (100, 103 …). An awaitable that it returns is awaited by whoever
        waits for the final response."""
        self._hooked: list[Awaitable[None]] = []
        self.on_change: Callable[[], None] | None = None
        self.idle_limit = math.inf
        """Seconds that it may be idle and used again, as its owner says: less once the peer has said so."""
        self._stream: Stream | None = None
        self._secured: ssl.SSLObject | None = None  # the TLS session with the server
        self._parser = HeadParser(max_head, max_fields)
        self._state = _IDLE
        self._upload: Upload | None = None
        self._sending: asyncio.Task[bool] | None = None  # the rest of a body, after an early answer
        self._early: ResponseHead | None = None  # a final head that came while the body was being sent
        self._declared: int | None = None  # Content-Length of a body that is sent stepwise
        self._expecting = False  # such a body has to wait for 100 (Continue)
        self._unwanted = False  # the peer has answered instead
        self._sent = 0
        self._sent_at = 0.0  # by perf_counter()
        self._began = 0.0  # the same by the loop's time: when waiting for the head began
        self._interim = 0
        self._continued = False  # 100 (Continue) has come
        self._method = ""
        self._target: str | URL = ""
        self._upgrade = False
        self._keep_alive = True  # as far as the request goes
        self._deadline = _NO_DEADLINE
        self._recent = _NONE_RECENT

    # --- state ---

    def free_slots(self) -> int:
        """1 if `reusable` as far as is known without looking at the socket, else 0."""
        return 1 if self._state is _IDLE and self._stream is not None and not self._stream.lost else 0

    def is_stale(self) -> bool:
        """Whether the idle connection must not be used: closed by the peer, or holding bytes nobody asked for."""
        stream = self._stream
        return stream is None or stream.is_stale()

    def abort(self, error: HTTPException | None = None) -> None:
        """Close at once and drop what is unsent. `error`: what a body that is being read ends with, in place of
        `ReadError`."""
        self._drop(error)

    def _drop(self, error: HTTPException | None = None) -> None:
        """Close what is open, and forget the exchange that was going on."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.reader.on_activity = None
            stream.abort(error)
        self._state = _IDLE
        sending, self._sending = self._sending, None
        if sending is not None and not sending.done():
            # Not at once: a task that is cancelled before its first step leaves the body unclosed.
            sending.get_loop().call_soon(sending.cancel)
        self._early = self._upload = None
        self._declared = None

    # --- what a response tells its connection (ResponseOwner) ---

    def finished(self, stream: Stream, reusable: bool) -> None:
        """The exchange on `stream` is over."""
        if stream is not self._stream:
            return
        reader = stream.reader
        if reusable and not reader.buffered and not reader.ended:
            self._state = _IDLE
            reader.on_activity = self._on_activity
        else:
            self._stream = None
            stream.close()
            self._state = _IDLE

    def broken(self, stream: Stream) -> None:
        """The exchange on `stream` will not come to its end."""
        if stream is self._stream:
            self._drop()
        elif not stream.lost:
            stream.abort()

    def handed_over(self, stream: Stream) -> None:
        """The streams are somebody else's."""
        if stream is self._stream:
            self._stream = None
            self._state = _IDLE

    def _set_idle(self, stream: Stream) -> None:
        self._state = _IDLE
        stream.reader.on_activity = self._on_activity

    def _disturbed(self) -> None:
        """The idle connection was closed by the peer, or bytes came that nobody asked for: it is of no further use."""
        if self._state is _IDLE:
            if self.on_change is not None:
                self._drop()
                self.on_change()
            elif self._stream is not None and self._stream.lost:
                self._drop()

    # --- one exchange in one call ---

    async def start(self, request: Request, deadline: Deadline, proxy_fields: bytes | None = None) -> HTTPResponse:
        """Send a request and return its response: the way of the pool (see `exchange.ExchangeConnection`)."""
        global _latest  # noqa: PLW0603 - it is for all connections
        stream = self._stream
        if stream is None or self._state is not _IDLE:
            raise CannotSendRequest(f"the connection to {self.where()} is {self._state.value}")
        fields = request.field_lines
        if fields is None:
            fields = encode_fields(request.headers.items())
            # What a caller made of multidict's types has not been through a check of ours.
            if not fields.count(b"\n") == fields.count(b"\r") == len(request.headers) or b"\0" in fields:
                raise InvalidHeader("a field of the request holds CR, LF or NUL")
            object.__setattr__(request, "field_lines", fields)
        options = request_options[fields]
        if request.body is not None and not options.chunked and options.length is None:
            # A request made by hand: unframed, its body would be taken for the next request (RFC 9112 section 6.3).
            return await self.start(request.replace(body=request.body), deadline, proxy_fields)
        self._method = method = request.method
        self._target = url = request.url
        self._state = _SENT
        reader = stream.reader
        reader.on_activity = None
        try:
            body = request.body
            if body is None and options.plain and proxy_fields is None and not self.debuglevel:
                # What nearly every exchange is: no body, and an answer whose head comes in one piece. Nothing here that
                # the long way does not do too; it spares 8 of 30 µs.
                stream.transport.write(
                    b"".join((method.encode(), b" ", url.request_tail, fields, request.more_lines, b"\r\n"))
                )
                began = stream.loop.time()
                by = began + deadline.read
                self._sent_at = perf_counter()
                if not await reader.waiter(by if by < deadline.at else deadline.at):
                    raise deadline.expiry(ReadTimeout, stream.loop.time(), self._doing())
                data = reader.take()
                known, head, asked, framing = self._recent
                self._upload = None
                if data.startswith(known) and asked == method:
                    # A server that says the same again is not parsed again: 3 µs.
                    return self._response(stream, deadline, head, framing, data[len(known) :], True)
                parser = self._parser
                known, head, asked, framing = latest = _latest
                if (
                    data.startswith(known)
                    and asked == method
                    and len(known) <= parser.max_head
                    and len(head.headers) <= parser.max_fields
                ):
                    if KEEP_ALIVE in head.headers:
                        self._learn(head)
                    self._recent = latest
                    return self._response(stream, deadline, head, framing, data[len(known) :], True)
                found = parse_whole_head(data, parser.max_head, parser.max_fields)
                if found is not None and (head := found[0]).status >= 200:
                    size = found[1]
                    framing = response_framing(head, method)
                    if KEEP_ALIVE in head.headers:
                        self._learn(head)
                    self._recent = _NONE_RECENT
                    if size <= 1024:
                        self._recent = _latest = data[:size], head, method, framing
                    return self._response(stream, deadline, head, framing, data[size:], True)
                self._begin(method, url, deadline, False, False)
                reader.unread(data)
                return await self._receive_response(stream, began)
            if body is None and (options.chunked or options.length):
                announced = "Transfer-Encoding" if options.chunked else f"Content-Length of {options.length}"
                raise BodyLengthMismatch(f"the fields announce a body ({announced}), and there is none")
            target, own_fields = url.target, options.without_host + request.more_lines
            if proxy_fields is not None:
                target, own_fields = url.absolute_form, proxy_fields + own_fields
            host = url.origin.host_field if options.host is None else options.host
            encoded = encode_request_head(method, target, host, own_fields)
            self._begin(method, url, deadline, options.upgrade, options.close)
            await self._send_request(stream, encoded, body, options.chunked, options.length, options.expect)
            return await self._receive_response(stream, self._began)
        except BaseException as error:
            self._failed(stream, error)
            raise

    def _begin(self, method: str, target: str | URL, deadline: Deadline, upgrade: bool, close: bool) -> None:
        self._method = method
        self._target = target
        self._deadline = deadline
        self._upgrade = upgrade
        self._keep_alive = not close
        self._interim = 0
        self._continued = False
        self._early = None
        self._upload = None
        self._declared = None
        self._expecting = self._unwanted = False
        self._parser.start()

    def _failed(self, stream: Stream, error: BaseException) -> None:
        """Something went wrong within the exchange: say during what, and close."""
        if isinstance(error, HTTPException) and error.doing is None:
            error.doing = self._doing()
        if stream is self._stream:
            self._drop()
        else:
            stream.abort()

    # --- sending ---

    async def _send_request(
        self, stream: Stream, head: bytes, body: Body | None, chunked: bool, length: int | None, expect: bool
    ) -> None:
        self._debug_sent(head)
        if body is None:
            stream.transport.write(head)
        else:
            await self._send_with_body(stream, head, body, chunked, length, expect)
        self._sent_at, self._began = perf_counter(), stream.loop.time()

    async def _send_with_body(
        self, stream: Stream, head: bytes, body: Body, chunked: bool, length: int | None, expect: bool
    ) -> None:
        if isinstance(body, str):
            body = encode_text(body)
        if expect:
            stream.transport.write(head)
            if not await self._await_continue(stream):
                self._keep_alive = False
                return
        elif isinstance(body, bytes) and not chunked and len(body) <= self.blocksize:
            if length is not None and length != len(body):
                raise BodyLengthMismatch(f"Content-Length is {length}, and the body has {len(body)} bytes")
            stream.transport.write(head + body)  # one packet
            if body:
                self._debug_sent(body)
            return
        else:
            stream.transport.write(head)
        if is_bytes_like(body) and len(body) == 0 and not chunked and not length:
            return
        await self._run(stream, self._new_upload(stream, body, chunked, length))

    def _new_upload(self, stream: Stream, body: Body, chunked: bool, declared: int | None) -> Upload:
        return Upload(
            stream,
            body,
            chunked=chunked,
            declared=declared,
            blocksize=self.blocksize,
            deadline=self._deadline,
            watch=self._watch,
            show=self._debug_sent if self.debuglevel > 0 else None,
        )

    async def _run(self, stream: Stream, upload: Upload) -> None:
        """Send a body; stop for a final answer."""
        try:
            finished = await upload.run()
        except WriteError:
            # The peer may have answered and closed. Then the answer counts, not the failure to say more.
            if self._early is None and not stream.reader.buffered:
                await upload.close()
                raise
            finished = False
        except BaseException:
            await upload.close()
            raise
        if finished:
            return
        if self._early is not None and self._early.status < 300 and self._early.status != 101 and not stream.lost:
            self._upload = upload  # the answer goes on with sending while it is read
            return
        self._keep_alive = False
        await upload.close()

    def _watch(self) -> bool:
        """Look at what arrived while the body is being sent; whether to go on sending."""
        stream = self._stream
        if stream is None:
            return False
        reader = stream.reader
        while self._early is None and (data := self._parser.rest or reader.take()):
            self._parser.rest = b""
            head = self._parser.feed(data)
            if head is not None and not self._is_interim(head):
                self._early = head
        return self._early is None

    async def _await_continue(self, stream: Stream) -> bool:
        """Wait for 100 (Continue), up to 1 s; whether the body is to be sent (RFC 9110 section 10.1.1)."""
        end = stream.loop.time() + CONTINUE_TIMEOUT
        while True:
            if not self._watch():
                return False
            if self._continued:
                return True
            if stream.reader.ended:
                return False
            if not await stream.reader.waiter(min(end, self._deadline.at)):
                return True

    # --- the response ---

    async def getresponse(self) -> HTTPResponse:
        """The final response to the request that was sent; 1xx are passed over (`on_interim` sees them).

        Raises `ResponseNotReady` if there is nothing to wait for, `RemoteDisconnected`, `BadStatusLine`, `BadHeader`,
        `LineTooLong`, `TooManyFields`, `ProtocolError`, `ReadError`, `ReadTimeout`.
        """
        stream = self._stream
        if stream is not None and stream.loop is not asyncio.get_running_loop():
            raise RuntimeError("the connection belongs to another event loop")
        if self._state is not _SENT or stream is None:
            raise ResponseNotReady(f"no response is to be had: the connection to {self.where()} is {self._state.value}")
        try:
            if self._declared is not None and self._sent < self._declared and self._upload is None:
                if self._watch() and not self._unwanted:
                    raise BodyLengthMismatch(
                        f"the body is shorter than its Content-Length of {self._declared}: {self._sent} bytes"
                    )
                self._keep_alive = False  # the next request would be taken for what is missing of this one
            return await self._receive_response(stream, self._began)
        except BaseException as error:
            self._failed(stream, error)
            raise

    async def _receive_response(self, stream: Stream, began: float) -> HTTPResponse:
        """Read the final head and decide how its body ends. The whole head has `Timeout.read` from `began` (the loop's
        time), each interim anew."""
        parser = self._parser
        reader = stream.reader
        deadline = self._deadline
        head = self._early
        if head is None:
            loop = stream.loop
            by = min(began + deadline.read, deadline.at)
            while True:
                if self._hooked:
                    await self._await_hooked()
                data = reader.take()
                if not data:
                    if reader.ended:
                        raise self._disconnected(stream)
                    if not await reader.waiter(by):
                        raise deadline.expiry(ReadTimeout, loop.time(), self._doing())
                    continue
                head = parser.feed(data)
                if head is not None:
                    while head.status < 200 and self._is_interim(head):
                        by = min(loop.time() + deadline.read, deadline.at)
                        if not parser.rest or (head := parser.feed(parser.rest)) is None:
                            break
                    else:
                        break
        if self._hooked:
            await self._await_hooked()
        if self.debuglevel > 0:
            self._debug_head(head)
        if head.status == 101 and not self._upgrade:
            raise ProtocolError("101 Switching Protocols came, and nobody had asked for an upgrade")
        framing = response_framing(head, self._method)
        if KEEP_ALIVE in head.headers:
            self._learn(head)
        return self._response(stream, deadline, head, framing, parser.rest, self._keep_alive)

    def _learn(self, head: ResponseHead) -> None:
        """The peer says for how long it keeps the connection."""
        limit = usable_for(",".join(head.headers.getall(KEEP_ALIVE)))
        if limit < self.idle_limit:
            self.idle_limit = limit

    def _response(
        self,
        stream: Stream,
        deadline: Deadline,
        head: ResponseHead,
        framing: BodyFraming,
        rest: bytes,
        keep_alive: bool,
    ) -> HTTPResponse:
        """The response, with what is there of its body: `rest`, which came right after the head."""
        kind, length, outlives = framing
        keep_alive = keep_alive and outlives
        size = len(rest)
        if length is not None and size >= length and self._upload is None:
            # All of it is here: the connection is free before the caller looks at the response.
            if size > length:
                keep_alive = False
                rest = rest[:length]
            response = self.response_class(head, self._method, self._target, keep_alive, rest)
            response.sent_at = self._sent_at
            response.arrived_at = response.done_at = perf_counter()
            if self._secured is not None:
                response.secured = self._secured
            self.finished(stream, keep_alive)
            return response
        decoder: BodyDecoder | None = None
        if length is not None:
            decoder = LengthDecoder(length)
        elif kind is Framing.CHUNKED:
            decoder = ChunkedDecoder(self._parser.max_head, self._parser.max_fields)
        elif kind is Framing.CLOSE:
            decoder = CloseDecoder()
        response = self.response_class(head, self._method, self._target, keep_alive, b"")
        response.sent_at = self._sent_at
        response.arrived_at = perf_counter()
        if self._secured is not None:
            response.secured = self._secured
        response.expect_body(self, stream, deadline, kind, decoder)
        self._state = _RESPONSE
        if decoder is None:
            stream.reader.unread(rest)
            return response
        if self._upload is not None:
            self._go_on_sending(response, self._upload)
        if rest:
            response.feed(rest)
        response.take_arrived()
        return response

    def _go_on_sending(self, response: HTTPResponse, upload: Upload) -> None:
        """The only task this library starts for an exchange: an early 2xx is read while the body is being sent."""
        upload.watch = None
        self._upload = None

        async def go_on() -> bool:
            try:
                # Begun before it can be cancelled (`_drop` sees to that), so that the body is always closed.
                await asyncio.sleep(0)
                return await upload.run() and upload.complete
            except BaseException:
                await upload.close()
                raise

        response.upload = self._sending = task = asyncio.get_running_loop().create_task(go_on())
        # Weakly: the loop holds the task, and a response that is dropped is to be noticed.
        ref = weakref.ref(response)

        def uploaded(task: asyncio.Task[bool]) -> None:
            response = ref()
            if response is not None:
                response.uploaded(task)
            elif not task.cancelled():
                task.exception()  # nobody is left to be told

        task.add_done_callback(uploaded)

    def _is_interim(self, head: ResponseHead) -> bool:
        """Whether the head is one of a 1xx to pass over (RFC 9110 section 15.2)."""
        if head.status >= 200 or head.status == 101:
            return False
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise ProtocolError(f"more than {MAX_INTERIM} interim responses")
        if head.status == 100:
            self._continued = True
        if self.debuglevel > 0:
            self._debug_head(head)
        if self.on_interim is not None and (said := self.on_interim(head)) is not None:
            self._hooked.append(said)
        return True

    async def _await_hooked(self) -> None:
        while self._hooked:
            await self._hooked.pop(0)

    def _disconnected(self, stream: Stream) -> HTTPException:
        received = self._parser.bytes_received
        loss = stream.loss
        if self._parser.is_garbage():
            garbage = BadStatusLine(self._parser.beginning())
            garbage.__cause__ = loss
            return garbage
        if isinstance(loss, TLSError):
            return loss  # the server refuses the client's certificate: TLS 1.3 says so only now
        if isinstance(loss, OSError) and not isinstance(loss, ConnectionError):
            error: HTTPException = ReadError(f"the connection broke while the response was awaited: {loss}")
        else:
            error = RemoteDisconnected(bytes_received=received)
        error.__cause__ = loss
        return error

    # --- words ---

    def where(self) -> str:
        """To whom, in words."""
        raise NotImplementedError

    def _doing(self) -> str:
        if isinstance(self._target, str):
            return f"{self._method} {masked_url(self._target)} at {self.where()}"
        return f"{self._method} {self._target.shown}"

    def _debug_sent(self, data: bytes) -> None:
        if self.debuglevel > 0:
            print("send:", repr(data))

    def _debug_head(self, head: ResponseHead) -> None:
        if self.debuglevel > 0:
            print("reply:", repr(f"HTTP/1.{head.version - 10} {head.status} {head.reason}\r\n"))
            for name, value in head.headers.items():
                print("header:", f"{name}:", value)
