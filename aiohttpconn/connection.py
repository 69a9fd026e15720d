"""`AsyncHTTPConnection`, `AsyncHTTPSConnection`: `http.client`, awaited. HTTP/1.1, one exchange at a time."""

from __future__ import annotations

import asyncio
import enum
import math
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from .config import DEFAULT, NO_TIMEOUT, Deadline, Timeout, Unset
from .errors import (
    BodyLengthMismatch,
    CannotSendHeader,
    CannotSendRequest,
    ConnectError,
    ConnectTimeout,
    HTTPException,
    NotConnected,
    ProtocolError,
    ReadError,
    ReadTimeout,
    RemoteDisconnected,
    ResponseNotReady,
    TLSError,
    WriteError,
)
from .headers import HeadersInput, HeaderValue, check_field_name, check_field_value, check_method, header_pairs
from .net.dial import open_stream, open_tunnel
from .net.tls import ssl_context
from .request_head import RequestHead, check_target, request_options, split_host_port
from .response import HTTPResponse
from .upload import Upload, body_length, encode_text, is_bytes_like
from .wire.framing import (
    BodyDecoder,
    BodyFraming,
    ChunkedDecoder,
    CloseDecoder,
    Framing,
    LengthDecoder,
    response_framing,
)
from .wire.head import MAX_FIELDS, MAX_HEAD, HeadParser, encode_fields, encode_request_head, parse_whole_head

if TYPE_CHECKING:
    import socket
    import ssl

    from .headers import Headers
    from .messages import Body, Request, ResponseHead
    from .net.resolve import Resolver
    from .net.stream import Stream, StreamReader, StreamWriter
    from .url import URL

MAX_INTERIM = 16
CONTINUE_TIMEOUT = 1.0
"""Seconds that a body waits for 100 (Continue) before it is sent all the same (RFC 9110 section 10.1.1)."""


_NO_DEADLINE = Deadline(NO_TIMEOUT, 0.0)


class _State(enum.Enum):
    IDLE = "idle"  # a request may begin
    HEAD = "head open"  # putrequest was called, endheaders was not
    SENT = "request sent"  # the response has not been asked for
    RESPONSE = "response open"  # its body is still to come


_IDLE, _HEAD, _SENT, _RESPONSE = _State


def _weakly_disturbed(conn: AsyncHTTPConnection) -> Callable[[], None]:
    """What an idle stream calls. It must not keep the connection: the loop holds the stream, and a connection that was
    dropped unclosed is to be noticed."""
    ref = weakref.ref(conn)

    def disturbed() -> None:
        conn = ref()
        if conn is not None:
            conn._disturbed()

    return disturbed


class AsyncHTTPConnection:
    """One connection to one server, with `http.client.HTTPConnection`'s names. Nothing is opened by making one.

    - `host`: "name", "name:port", "[::1]" or "[::1]:port"; `port` counts if given, else `default_port`.
    - `timeout`: seconds, a `Timeout`, or None for no limit.
    - `source_address`: (host, port) to connect from. `blocksize`: bytes read from a file body at a time.
    - `sock`: a connected socket to use instead of dialling; the connection owns it.
    - `uds`: path of a Unix domain socket.
    - `happy_eyeballs_delay`: seconds between attempts at several addresses (RFC 8305); None for one after the other.
    - `resolver`: who looks up names (see `Resolver`); None for the system.
    - `max_head`, `max_fields`: bytes and fields that the heads of one response may have.

    One exchange at a time: a request begun before the response to the one before it has been read is
    `CannotSendRequest`. An error, a timeout or a cancellation within an exchange closes the connection; the next
    request opens a new one (`auto_open`). A connection serves the event loop it was opened on.

    >>> import asyncio
    >>> async def main():
    ...     async with AsyncHTTPConnection("localhost", 8000) as conn:
    ...         await conn.request("GET", "/")
    ...         response = await conn.getresponse()
    ...         return response.status, await response.read()
    """

    # A pool may keep thousands: slots spare 1.5 KiB each.
    __slots__ = (
        "__dict__",  # what is set on one connection only, or by a subclass
        "__weakref__",
        "_continued",
        "_deadline",
        "_declared",
        "_early",
        "_expecting",
        "_head",
        "_interim",
        "_keep_alive",
        "_loop",
        "_method",
        "_on_activity",
        "_opening",
        "_parser",
        "_recent",
        "_sending",
        "_sent",
        "_sent_at",
        "_sock",
        "_state",
        "_stream",
        "_target",
        "_timeout",
        "_tunnel",
        "_tunnel_head",
        "_unwanted",
        "_upgrade",
        "_upload",
        "auto_open",
        "blocksize",
        "debuglevel",
        "happy_eyeballs_delay",
        "host",
        "on_change",
        "on_interim",
        "port",
        "resolver",
        "source_address",
        "uds",
    )
    default_port: ClassVar[int] = 80
    response_class: type[HTTPResponse] = HTTPResponse

    def __init__(
        self,
        host: str,
        port: int | None = None,
        timeout: Timeout | float | Unset | None = DEFAULT,
        source_address: tuple[str, int] | None = None,
        blocksize: int = 65536,
        *,
        sock: socket.socket | None = None,
        uds: str | None = None,
        happy_eyeballs_delay: float | None = 0.25,
        resolver: Resolver | None = None,
        max_head: int = MAX_HEAD,
        max_fields: int = MAX_FIELDS,
    ) -> None:
        self.host, self.port = split_host_port(host, port, self.default_port)
        self.timeout = timeout
        self.source_address = source_address
        self.blocksize = blocksize
        self.uds = uds
        self.happy_eyeballs_delay = happy_eyeballs_delay
        self.resolver = resolver
        self.auto_open = True
        self.debuglevel = 0
        self.on_interim: Callable[[ResponseHead], None] | None = None
        """Called with the head of each 1xx response (100, 103 …)."""
        self.on_change: Callable[[], None] | None = None
        self._sock = sock
        self._stream: Stream | None = None
        self._opening: asyncio.Timeout | None = None  # around what `open` awaits
        self._loop: asyncio.AbstractEventLoop | None = None
        self._parser = HeadParser(max_head, max_fields)
        self._state = _IDLE
        self._head: RequestHead | None = None
        self._upload: Upload | None = None
        self._sending: asyncio.Task[bool] | None = None  # the rest of a body, after an early answer
        self._early: ResponseHead | None = None  # a final head that came while the body was being sent
        self._declared: int | None = None  # Content-Length of a body that is sent stepwise
        self._expecting = False  # such a body has to wait for 100 (Continue)
        self._unwanted = False  # the peer has answered instead
        self._sent = 0
        self._sent_at = 0.0
        self._interim = 0
        self._continued = False  # 100 (Continue) has come
        self._method = ""
        self._target: str | URL = ""
        self._upgrade = False
        self._keep_alive = True  # as far as the request goes
        self._deadline = _NO_DEADLINE
        self._recent: tuple[bytes, ResponseHead, str, BodyFraming] | None = None
        self._tunnel: tuple[str, int, str | None, bytes] | None = None
        self._tunnel_head: ResponseHead | None = None

    # --- state ---

    @property
    def timeout(self) -> Timeout:
        """The limits of each exchange. May be set to seconds, a `Timeout` or None; holds from the next request on."""
        return self._timeout

    @timeout.setter
    def timeout(self, value: Timeout | float | Unset | None) -> None:
        self._timeout = Timeout.of(value)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that has not been closed, as far as is known."""
        return self._stream is not None and not self._stream.transport.is_closing()

    @property
    def reusable(self) -> bool:
        """Whether the next request may go out on the connection there is."""
        return self._state is _IDLE and self._stream is not None and not self._stream.is_stale()

    @property
    def free_slots(self) -> int:
        """1 if `reusable` as far as is known without looking at the socket, else 0."""
        return 1 if self._state is _IDLE and self._stream is not None and not self._stream.lost else 0

    @property
    def reader(self) -> StreamReader | None:
        """The stream to read from, None while closed."""
        return None if self._stream is None else self._stream.reader

    @property
    def writer(self) -> StreamWriter | None:
        """The stream to write to, None while closed."""
        return None if self._stream is None else self._stream.writer

    def set_debuglevel(self, level: int) -> None:
        """With 1 and above, what is sent and the heads received are printed, as `http.client` does."""
        self.debuglevel = level

    def is_stale(self) -> bool:
        """Whether the idle connection must not be used: closed by the peer, or holding bytes nobody asked for."""
        stream = self._stream
        return stream is None or stream.is_stale()

    # --- connecting ---

    def set_tunnel(self, host: str, port: int | None = None, headers: HeadersInput | None = None) -> None:
        """Have `connect()` ask the proxy it dials for a tunnel to `host`:`port` by CONNECT (RFC 9110 section 9.3.6).

        `headers` go to the proxy only. Raises RuntimeError once connected, `InvalidURL` or `InvalidHeader` for what
        must not be sent.
        """
        if self._stream is not None:
            raise RuntimeError("Can't set up tunnel for established connection")
        name, number = split_host_port(host, port, self.default_port)
        pairs = header_pairs(headers)
        hosts = [value for field, value in pairs if field.lower() == "host"]  # the caller's own is first and once, too
        fields = encode_fields(pair for pair in pairs if pair[0].lower() != "host")
        self._tunnel = name, number, hosts[0] if hosts else None, fields
        self._tunnel_head = None

    def get_proxy_response_headers(self) -> Headers | None:
        """The fields of the proxy's answer to CONNECT, None before there is one."""
        return None if self._tunnel_head is None else self._tunnel_head.headers

    async def connect(self) -> None:
        """Connect, through the tunnel and with TLS where they are set; nothing if already connected.

        Raises `ResolveError`, `ConnectError`, `ProxyError`, `TLSError`, `ConnectTimeout`.
        """
        loop = asyncio.get_running_loop()
        await self.open(Deadline(self._timeout, loop.time()))

    async def open(self, deadline: Deadline) -> None:
        """`connect()` within a deadline that began earlier."""
        if self.is_connected:
            return
        head = self._head  # connecting between putrequest() and endheaders() does not end the request
        self._drop()
        self._loop = loop = asyncio.get_running_loop()
        at = min(loop.time() + deadline.connect, deadline.at)
        limit = asyncio.timeout_at(None if at == math.inf else at)
        try:
            async with limit:
                self._opening = limit
                await self._open()
            if self._opening is not limit:
                self._drop()
                raise ConnectError("the connection was closed while it was being opened")
        except TimeoutError as error:
            if self._opening is not limit:
                doing = f"connecting to {self.where()}"
                raise ConnectError("the connection was closed while it was being opened", doing=doing) from error
            if not limit.expired():
                raise
            raise deadline.expiry(ConnectTimeout, loop.time(), f"connecting to {self.where()}") from error
        except HTTPException as error:
            error.doing = error.doing or f"connecting to {self.where()}"
            raise
        finally:
            self._opening = None
        if head is not None:
            self._head, self._state = head, _HEAD

    async def _open(self) -> None:
        if self._sock is None:
            stream = await open_stream(
                self.host,
                self.port,
                uds=self.uds,
                local_address=self.source_address,
                happy_eyeballs_delay=self.happy_eyeballs_delay,
                resolver=self.resolver,
            )
        else:
            sock, self._sock = self._sock, None
            self.auto_open = False  # what was given cannot be opened again
            stream = await open_stream(self.host, self.port, sock=sock)
        try:
            if self._tunnel is not None:
                await self._open_tunnel(stream)
            await self._secure(stream)
        except BaseException:
            stream.abort()
            raise
        self._stream = stream
        self._on_activity = _weakly_disturbed(self)
        self._set_idle(stream)

    async def _open_tunnel(self, stream: Stream) -> None:
        assert self._tunnel is not None
        name, port, host_field, fields = self._tunnel
        authority = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        self._debug_sent(b"CONNECT %b HTTP/1.1\r\n" % authority.encode())
        self._tunnel_head = await open_tunnel(
            stream,
            authority,
            fields,
            host_field=host_field or authority,
            max_head=self._parser.max_head,
            max_fields=self._parser.max_fields,
        )
        self._debug_head(self._tunnel_head)

    async def _secure(self, stream: Stream) -> None:
        """Nothing to do in the clear; `AsyncHTTPSConnection` puts TLS on top."""

    async def close(self) -> None:
        """Close the connection, also in mid-exchange, the rest of which is dropped. Idempotent; waits for nothing."""
        self.close_now()

    def close_now(self) -> None:
        """`close()` without being awaited."""
        stream = self._stream
        if stream is not None and self._state is _IDLE:
            stream.reader.on_activity = None
            stream.close()  # in order: TLS says goodbye
            self._stream = None
        self._drop()
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def abort(self) -> None:
        """Close at once and drop what is unsent."""
        self._drop()

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.reader.on_activity = None
            stream.abort()
        elif self._opening is not None:
            self._opening.reschedule(-math.inf)  # ends what is being awaited there
            self._opening = None
        self._state = _IDLE
        sending, self._sending = self._sending, None
        if sending is not None and not sending.done():
            # Not at once: a task that is cancelled before its first step leaves the body unclosed.
            sending.get_loop().call_soon(sending.cancel)
        self._head = self._early = self._upload = None
        self._declared = None

    async def __aenter__(self) -> AsyncHTTPConnection:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        sock = getattr(self, "_sock", None)
        if sock is not None:
            sock.close()
        if stream is None or stream.lost or stream.transport.is_closing():
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        stream.reader.on_activity = None
        try:
            # The finaliser may run on any thread.
            stream.loop.call_soon_threadsafe(stream.abort)
        except RuntimeError:
            pass  # the loop is closed, and with it every connection

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
            self.auto_open = False

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

    async def start(
        self, request: Request, deadline: Deadline, *, absolute_form: bool = False, extra_fields: bytes = b""
    ) -> HTTPResponse:
        """Send a request and return its response: the way of the pool (see `exchange.ExchangeConnection`)."""
        stream = self._stream
        if stream is None or self._state is not _IDLE:
            raise CannotSendRequest(f"the connection to {self.where()} is {self._state.value}")
        url = request.url
        fields = request.field_lines
        if fields is None:
            fields = request.field_lines = encode_fields(request.headers.items())
        options = request_options[fields]
        body = request.body
        self._method = method = request.method
        self._target = url
        self._state = _SENT
        reader = stream.reader
        reader.on_activity = None
        try:
            if body is None and options.plain and not absolute_form and not extra_fields and not self.debuglevel:
                # What nearly every exchange is: no body, and an answer whose head comes in one piece. Nothing here that
                # the long way does not do too; it spares 8 of 30 µs.
                stream.transport.write(b"".join((method.encode(), b" ", url.request_tail, fields, b"\r\n")))
                sent_at = stream.loop.time()
                by = sent_at + deadline.read
                if not await reader.waiter(by if by < deadline.at else deadline.at):
                    raise deadline.expiry(ReadTimeout, stream.loop.time(), self._doing())
                data = reader.take()
                parser = self._parser
                recent = self._recent
                if recent is not None and recent[2] == method and data.startswith(recent[0]):
                    # A server that says the same again is not parsed again: 3 µs.
                    self._upload = None
                    return self._response(stream, deadline, recent[1], recent[3], data[len(recent[0]) :], True)
                found = parse_whole_head(data, parser.max_head, parser.max_fields)
                if found is not None and (head := found[0]).status >= 200:
                    self._upload = None
                    size = found[1]
                    framing = response_framing(head, method)
                    self._recent = (data[:size], head, method, framing) if size <= 1024 else None
                    return self._response(stream, deadline, head, framing, data[size:], True)
                self._begin(method, url, deadline, False, False)
                reader.unread(data)
                self._sent_at = sent_at
                return await self._receive_response(stream)
            target = url.absolute_form if absolute_form else url.target
            host = url.origin.host_field if options.host is None else options.host
            encoded = encode_request_head(method, target, host, extra_fields + options.without_host)
            self._begin(method, url, deadline, options.upgrade, options.close)
            self._debug_sent(encoded)
            if body is None:
                stream.transport.write(encoded)
            else:
                await self._send_with_body(stream, encoded, body, options.chunked, options.length, options.expect)
            self._sent_at = stream.loop.time()
            return await self._receive_response(stream)
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

    # --- http.client's steps ---

    async def request(
        self,
        method: str,
        url: str,
        body: Body | None = None,
        headers: HeadersInput = (),
        *,
        encode_chunked: bool = False,
    ) -> None:
        """Send a request; connects first where needed.

        - `url`: the request target, e.g. "/path?query"; "" is "/".
        - `body`: bytes-like, str (latin-1), a binary or text file object, an iterable or async iterable of bytes.
          Content-Length is set where the size is known (bytes-like, str), else the body goes out chunked.
        - `headers`: mapping or pairs. Host and Accept-Encoding: identity are added unless given.
        - `encode_chunked`: when the caller sets Transfer-Encoding: whether the body is still to be cut into chunks.

        With `Expect: 100-continue` the body waits up to 1 s for the peer's word. A final answer during the upload: 300
        and above ends it, 2xx goes on sending while the response is read. Raises `InvalidURL`, `InvalidMethod`,
        `InvalidHeader` before a byte is sent, `WriteError`, `WriteTimeout`, `BodyLengthMismatch` during it.
        """
        head = RequestHead(method, url, header_pairs(headers))
        if head.names.isdisjoint(("accept-encoding",)):
            head.put("Accept-Encoding", "identity")
        chunked = encode_chunked
        if not head.has("content-length"):
            if head.has("transfer-encoding"):
                pass
            elif (length := body_length(body)) is None:
                head.put("Transfer-Encoding", "chunked")
                chunked = True
            elif body is not None or method.upper() in ("PATCH", "POST", "PUT"):
                head.put("Content-Length", str(length))
                chunked = False
        else:
            chunked = False
        self._check_ready(method, url)
        self._head = head
        await self._send_head(body, chunked)

    def putrequest(self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False) -> None:
        """Begin a request step by step. Nothing is sent before `endheaders()`."""
        self._check_ready(method, url)
        head = RequestHead(method, url, [])
        head.skip_host = skip_host
        if not skip_accept_encoding:
            head.put("Accept-Encoding", "identity")
        self._head = head
        self._state = _HEAD

    def putheader(self, name: str | bytes, *values: HeaderValue) -> None:
        """Add a field; several values are joined by a space, as continuation lines are read (RFC 9112 section 5.2)."""
        if self._state is not _HEAD or self._head is None:
            raise CannotSendHeader("putheader() comes after putrequest() and before endheaders()")
        text = check_field_name(name)
        self._head.put(text, " ".join([check_field_value(text, value) for value in values]))

    async def endheaders(self, message_body: Body | None = None, *, encode_chunked: bool = False) -> None:
        """Send the head, and the body where one is given: as it is, or cut into chunks with `encode_chunked`."""
        if self._state is not _HEAD:
            raise CannotSendHeader("endheaders() comes after putrequest()")
        await self._send_head(message_body, encode_chunked)

    async def send(self, data: Body) -> None:
        """Send bytes, a file or an iterable as they are, after `endheaders()` without a body.

        Before any request it only connects (as `http.client` does) and sends raw bytes.
        """
        if self._state is _RESPONSE or self._state is _HEAD:
            raise CannotSendRequest(f"send() to {self.where()} in state: {self._state.value}")
        if self._stream is None:
            await self._auto_connect(Deadline(self._timeout, asyncio.get_running_loop().time()))
        stream = self._stream
        assert stream is not None
        if isinstance(data, (bytearray, memoryview)):
            data = bytes(data)  # what the peer has not taken yet is kept, and the caller may use the buffer again
        try:
            if self._expecting:
                self._expecting = False
                self._unwanted = not await self._await_continue(stream)
            if self._unwanted or (self._early is not None and self._early.status >= 300):
                self._keep_alive = False
            elif self._upload is not None:
                self._upload.add(data)  # what was sent before is still on its way
            else:
                upload = self._new_upload(stream, data, False, self._declared)
                upload.sent, upload.partial = self._sent, True
                await self._run(stream, upload)
                self._sent = upload.sent
            self._sent_at = stream.loop.time()
        except BaseException as error:
            self._failed(stream, error)
            raise

    async def _auto_connect(self, deadline: Deadline) -> None:
        if not self.auto_open:
            raise NotConnected(f"there is no connection to {self.where()}, and auto_open is off")
        await self.open(deadline)

    def _check_ready(self, method: str, url: str) -> None:
        check_method(method)
        check_target(url)
        stream = self._stream
        if self._state is not _IDLE:
            raise CannotSendRequest(
                f"the exchange before this one is not over: {self._state.value}", doing=self._doing()
            )
        if stream is not None:
            if self._loop is not asyncio.get_running_loop():
                raise RuntimeError("the connection belongs to another event loop")
            if stream.is_stale():
                self._drop()  # the peer closed it meanwhile: `auto_open` opens a new one

    async def _send_head(self, body: Body | None, chunked: bool) -> None:
        head, self._head = self._head, None
        assert head is not None
        self._state = _IDLE
        encoded = head.encode(self._host_field())
        deadline = Deadline(self._timeout, asyncio.get_running_loop().time())
        if self._stream is None:
            await self._auto_connect(deadline)
        stream = self._stream
        assert stream is not None
        self._begin(head.method, head.target, deadline, head.upgrade, head.close)
        if body is None:
            self._declared, self._sent, self._expecting = head.length, 0, head.expect
        stream.reader.on_activity = None
        self._state = _SENT
        self._debug_sent(encoded)
        try:
            if body is None:
                stream.transport.write(encoded)
            else:
                length = None if chunked else head.length
                await self._send_with_body(stream, encoded, body, chunked, length, head.expect)
            self._sent_at = stream.loop.time()
        except BaseException as error:
            self._failed(stream, error)
            raise

    def _host_field(self) -> str:
        name, port = (self.host, self.port) if self._tunnel is None else self._tunnel[:2]
        if ":" in name:
            name = f"[{name}]"
        return name if port == self.default_port else f"{name}:{port}"

    # --- sending a body ---

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
        if self._state is not _SENT or stream is None:
            raise ResponseNotReady(f"no response is to be had: the connection to {self.where()} is {self._state.value}")
        try:
            if self._declared is not None and self._sent < self._declared and self._upload is None:
                if self._watch() and not self._unwanted:
                    raise BodyLengthMismatch(
                        f"the body is shorter than its Content-Length of {self._declared}: {self._sent} bytes"
                    )
                self._keep_alive = False  # the next request would be taken for what is missing of this one
            return await self._receive_response(stream)
        except BaseException as error:
            self._failed(stream, error)
            raise

    async def _receive_response(self, stream: Stream) -> HTTPResponse:
        """Read the final head and decide how its body ends. The whole head has `Timeout.read`, each interim anew."""
        parser = self._parser
        reader = stream.reader
        deadline = self._deadline
        head = self._early
        if head is None:
            loop = stream.loop
            by = min(self._sent_at + deadline.read, deadline.at)
            while True:
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
        if self.debuglevel > 0:
            self._debug_head(head)
        if head.status == 101 and not self._upgrade:
            raise ProtocolError("101 Switching Protocols came, and nobody had asked for an upgrade")
        framing = response_framing(head, self._method)
        return self._response(stream, deadline, head, framing, parser.rest, self._keep_alive)

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
        task.add_done_callback(response.uploaded)

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
        if self.on_interim is not None:
            self.on_interim(head)
        return True

    def _disconnected(self, stream: Stream) -> HTTPException:
        received = self._parser.bytes_received
        loss = stream.loss
        if isinstance(loss, OSError) and not isinstance(loss, ConnectionError):
            error: HTTPException = ReadError(f"the connection broke while the response was awaited: {loss}")
        else:
            error = RemoteDisconnected(bytes_received=received)
        error.__cause__ = loss
        return error

    # --- words ---

    def where(self) -> str:
        """Host and port, or path, as messages name them."""
        if self.uds is not None:
            return self.uds
        where = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        if self._tunnel is not None:
            return f"{self._tunnel[0]}:{self._tunnel[1]} through proxy {where}"
        return where

    def _doing(self) -> str:
        if isinstance(self._target, str):
            return f"{self._method} {self._target} at {self.where()}"
        return f"{self._method} {self._target.without_userinfo()}"

    def _debug_sent(self, data: bytes) -> None:
        if self.debuglevel > 0:
            print("send:", repr(data))

    def _debug_head(self, head: ResponseHead) -> None:
        if self.debuglevel > 0:
            print("reply:", repr(f"HTTP/1.{head.version - 10} {head.status} {head.reason}\r\n"))
            for name, value in head.headers.items():
                print("header:", f"{name}:", value)

    def __repr__(self) -> str:
        state = self._state.value if self._stream is not None else "closed"
        return f"<{type(self).__name__} {self.where()} {state}>"


class AsyncHTTPSConnection(AsyncHTTPConnection):
    """The same over TLS.

    - `context`: an `ssl.SSLContext`; None for one that verifies against the system's CAs.
    - `server_hostname`: the name to verify and to send by SNI; None for `host` (of the tunnel, where there is one).

    Raises `TLSError` from `connect()` when the certificate is refused or there is no TLS at the other end.
    """

    __slots__ = ("_context", "_server_hostname")
    default_port: ClassVar[int] = 443

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(host, port, **options)
        self._context = context
        self._server_hostname = server_hostname

    async def _secure(self, stream: Stream) -> None:
        context = self._context if self._context is not None else ssl_context()
        name = self._server_hostname or (self.host if self._tunnel is None else self._tunnel[0])
        try:
            await stream.start_tls(context, name)
        except ConnectionError as error:
            if isinstance(error, HTTPException):
                raise
            raise TLSError(f"the TLS handshake with {name} failed: {error}") from error
