"""`AsyncHTTPConnection`, `AsyncHTTPSConnection`: `http.client`, awaited. HTTP/1.1, one exchange at a time."""

from __future__ import annotations

import asyncio
import math
import os
import warnings
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, cast

from .config import DEFAULT, Deadline, Timeout, Unset
from .errors import (
    AddressBlocked,
    CannotSendHeader,
    CannotSendRequest,
    ConnectError,
    ConnectTimeout,
    HTTPException,
    NotConnected,
    ProxyError,
    TLSError,
)
from .headers import HeadersInput, HeaderValue, check_field_name, check_field_value, header_pairs
from .http1 import HTTP1, State
from .messages import Opening
from .net.attempts import Attempts
from .net.dial import TunnelChallenged, open_stream, open_tunnel
from .net.resolve import checked_resolver
from .net.socket_options import SocketOptions, checked_local_address
from .net.tls import ssl_context
from .net.tls_errors import FOR_PROXY
from .net.tls_pins import parse_pins
from .request_head import RequestHead, host_field, split_host_port
from .unix_socket import checked_path, shown_path
from .upload import body_length
from .wire.head import MAX_FIELDS, MAX_HEAD, encode_fields

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable

    from .headers import Headers
    from .messages import Body, ResponseHead
    from .net.address_book import AddressBook
    from .net.guard import AddressPolicy
    from .net.resolve import Resolver
    from .net.socket_options import SocketOption
    from .net.stream import Stream, StreamReader, StreamWriter
    from .net.tls_info import TLSInfo
    from .net.tls_sessions import TLSSessions
    from .proxy import Proxy
    from .url import Origin
    from .wire.socks import SocksKind

UNOPENED = Opening()


class AsyncHTTPConnection(HTTP1):
    """One connection to one server, with `http.client.HTTPConnection`'s names. Nothing is opened by making one.

    - `host`: "name", "name:port", "[::1]" or "[::1]:port"; `port` counts if given, else `default_port`.
    - `timeout`: seconds, a `Timeout`, or None for no limit.
    - `source_address`: (address, port), or an address, to connect from; no name. `blocksize`: bytes read from a file
      body at a time.
    - `sock`: a connected socket to use instead of dialling; the connection owns it.
    - `uds`: path of a Unix domain socket; "@name" is an abstract one (Linux).
    - `socket_options`: (level, name, value) as `setsockopt` takes them, set before connecting. `interface`: the name of
      the network interface to go through (SO_BINDTODEVICE). `tcp_keepalive`: (idle, interval, count): probe a silent
      peer after so many seconds, that often.
    - `happy_eyeballs_delay`: seconds between attempts at several addresses (RFC 8305); None for one after the other.
    - `resolver`: who looks up names (see `Resolver`); None for the system.
    - `addresses`: an `AddressPolicy` that says what may be connected to; None for everything.
    - `address_book`: what is remembered of addresses that failed, shared with other connections; None for nothing.
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
        "_attempts",
        "_forwarded",
        "_head",
        "_loop",
        "_opening",
        "_proxy",
        "_proxy_tls",
        "_sock",
        "_timeout",
        "_tunnel",
        "_tunnel_head",
        "address_book",
        "addresses",
        "auto_open",
        "happy_eyeballs_delay",
        "host",
        "opening",
        "port",
        "resolver",
        "socket_options",
        "source_address",
        "uds",
    )
    default_port: ClassVar[int] = 80

    def __init__(
        self,
        host: str,
        port: int | None = None,
        timeout: Timeout | float | Unset | None = DEFAULT,
        source_address: tuple[str, int] | str | None = None,
        blocksize: int = 65536,
        *,
        sock: socket.socket | None = None,
        uds: str | os.PathLike[str] | None = None,
        happy_eyeballs_delay: float | None = 0.25,
        resolver: Resolver | None = None,
        addresses: AddressPolicy | None = None,
        address_book: AddressBook | None = None,
        socket_options: Iterable[SocketOption] | SocketOptions = (),
        interface: str | None = None,
        tcp_keepalive: tuple[int, int, int] | None = None,
        max_head: int = MAX_HEAD,
        max_fields: int = MAX_FIELDS,
    ) -> None:
        super().__init__(blocksize, max_head, max_fields)
        self.host, self.port = split_host_port(host, port, self.default_port)
        self.timeout = timeout
        self.source_address = checked_local_address("source_address", source_address)
        self.uds = None if uds is None else checked_path(uds)
        self.happy_eyeballs_delay = happy_eyeballs_delay
        if resolver is not None:
            checked_resolver("resolver", resolver)
        self.resolver = resolver
        self.addresses = addresses
        self.address_book = address_book
        self.socket_options = SocketOptions.of(socket_options, interface, tcp_keepalive)
        self.auto_open = True
        self.opening = UNOPENED
        """How the connection came to be: how long each step took. (Whoever keeps it puts `UNOPENED` in its place.)"""
        self._head: RequestHead | None = None
        self._forwarded: Origin | None = None
        self._sock = sock
        self._opening: asyncio.Timeout | None = None  # around what `open` awaits
        self._attempts: Attempts | None = None  # meanwhile
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tunnel: tuple[str, int, str | None, bytes] | None = None
        self._proxy: Proxy | None = None
        self._proxy_tls: tuple[ssl.SSLContext | None, TLSSessions | None] = (None, None)
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
        return self._state is State.IDLE and self._stream is not None and not self._stream.is_stale()

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

    def set_proxy(
        self,
        proxy: Proxy,
        origin: Origin | None = None,
        *,
        context: ssl.SSLContext | None = None,
        sessions: TLSSessions | None = None,
    ) -> None:
        """Have `connect()` go through `proxy`, which is what the connection dials: over TLS to an https one, and by a
        tunnel to `origin` where one is given. `context` is for an https proxy that has none of its own; `sessions` are
        those to resume with it. Raises as `set_tunnel`."""
        if origin is not None:
            self.set_tunnel(f"[{origin.host}]" if ":" in origin.host else origin.host, origin.port)
        elif self._stream is not None:
            raise RuntimeError("Can't set up a proxy for established connection")
        self._proxy = proxy
        self._proxy_tls = context, sessions

    def forward_to(self, origin: Origin | None) -> None:
        """Have the proxy forward requests to `origin`: they go out in absolute-form (RFC 9112 section 3.2.2), with the
        proxy's own fields. None: no longer."""
        self._forwarded = origin

    def way(self) -> tuple[object, ...]:
        """Where the connection leads: what must not change while it is lent."""
        return self.host, self.port, self.uds, self.source_address, self._tunnel, self._proxy

    @property
    def tls(self) -> TLSInfo | None:
        """The TLS session with the server (not that with a proxy), None where there is none, or no connection."""
        if self._stream is None or self._secured is None:
            return None
        from .net.tls_info import TLSInfo  # noqa: PLC0415 - for who asks

        return TLSInfo.of(self._secured)

    def get_proxy_response_headers(self) -> Headers | None:
        """The fields of the proxy's answer to CONNECT, None before there is one."""
        return None if self._tunnel_head is None else self._tunnel_head.headers

    async def connect(self) -> None:
        """Connect, through the tunnel and with TLS where they are set; nothing if already connected.

        Raises `ResolveError`, `AddressBlocked`, `ConnectError`, `ProxyError`, `TLSError`, `ConnectTimeout`.
        """
        loop = asyncio.get_running_loop()
        await self.open(Deadline(self._timeout, loop.time()))

    async def open(self, deadline: Deadline) -> None:
        """`connect()` within a deadline that began earlier."""
        if self.is_connected:
            return
        head = self._head  # connecting between putrequest() and endheaders() does not end the request
        self._drop()
        self.opening = Opening()
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
            late = deadline.expiry(ConnectTimeout, loop.time(), f"connecting to {self.where()}")
            late.proxy_answered = self.opening.proxy_answered
            connected = self.opening.connect is not None
            if isinstance(late, ConnectTimeout):
                late.connected = connected
            attempts = self._attempts
            if connected or not attempts:
                raise late from error
            attempts.given_up(loop.time(), time_is_over=True)
            late.args = (f"{late.args[0]}: {attempts}",)
            raise late from attempts.causes()
        except HTTPException as error:
            error.doing = error.doing or f"connecting to {self.where()}"
            raise
        finally:
            self._opening = self._attempts = None
        if head is not None:
            self._head, self._state = head, State.HEAD

    async def _open(self) -> None:
        if self.addresses is not None and self._tunnel is not None:
            self.addresses.check_host(*self._tunnel[:2])  # a proxy is not asked for what is forbidden
        stream: Stream | None = None
        answer: bytes | None = None
        try:
            stream = await self._open_once()
        except TunnelChallenged as challenged:
            self.opening.proxy_answered = True
            answer = challenged.fields
        if stream is None:
            stream = await self._open_once(answer)
        self._stream = stream
        self._set_idle(stream)

    async def _open_once(self, proxy_fields: bytes | None = None) -> Stream:
        opening, proxy = self.opening, self._proxy
        if proxy is not None and opening.proxy_answered is None:
            opening.proxy_answered = False
        try:
            stream = await self._dial()
        except AddressBlocked as error:
            error.of_proxy = proxy is not None
            raise
        except ConnectError as error:
            if proxy is None:
                raise
            raise ProxyError(f"the proxy {proxy.where} cannot be reached: {error.describe()}") from error
        is_address_s = True  # whether what goes wrong is the affair of the address that was dialled
        try:
            began = perf_counter()
            if proxy is not None and proxy.origin.is_secure:
                await self._secure_proxy(stream, proxy)
                opening.proxy_answered = True
                opening.tls = perf_counter() - began
            if self._tunnel is not None:
                is_address_s = False
                await self._open_tunnel(stream, proxy_fields)
                opening.proxy_answered = True
                tunnelled = perf_counter()
                opening.tunnel, began = tunnelled - began, tunnelled
                opening.tls = None
            if await self._secure(stream):
                opening.tls = perf_counter() - began
        except BaseException as error:
            stream.abort()
            is_over = self._opening is not None and self._opening.expired()
            if is_address_s and self._attempts is not None and (is_over or isinstance(error, HTTPException)):
                self._attempts.turned_out_bad(asyncio.get_running_loop().time())
            raise
        return stream

    async def _dial(self) -> Stream:
        if self._sock is not None:
            sock, self._sock = self._sock, None
            self.auto_open = False  # what was given cannot be opened again
            return await open_stream(self.host, self.port, sock=sock)
        self._attempts = Attempts(self.address_book)
        return await open_stream(
            self.host,
            self.port,
            uds=self.uds,
            local_address=self.source_address,
            socket_options=self.socket_options,
            happy_eyeballs_delay=self.happy_eyeballs_delay,
            resolver=self.resolver,
            book=self.address_book,
            policy=self.addresses,
            opening=self.opening,
            attempts=self._attempts,
        )

    async def _secure_proxy(self, stream: Stream, proxy: Proxy) -> None:
        context, sessions = self._proxy_tls
        if proxy.context is not None:
            context = proxy.context
        elif context is None:
            context = ssl_context()
        try:
            resumption = None if sessions is None else sessions.at(("proxy", proxy), context)
            await stream.start_tls(context, proxy.origin.host, resumption=resumption, advice=FOR_PROXY)
            assert stream.tls is not None
            stream.tls.check_protocol()
        except TLSError as error:
            raise ProxyError(f"no TLS with the proxy {proxy.where}: {error.describe()}") from error
        except ConnectionError as error:
            raise ProxyError(f"no TLS with the proxy {proxy.where}: {error}") from error

    async def _open_tunnel(self, stream: Stream, signed: bytes | None) -> None:
        """`signed`: the fields for the proxy, if it has asked who one is; it is not answered twice then."""
        assert self._tunnel is not None
        name, port, host_field, own = self._tunnel
        proxy = self._proxy
        where = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        if proxy is not None and proxy.is_socks:
            from .net.socks import open_socks  # noqa: PLC0415 - few go through such a proxy

            kind = cast("SocksKind", proxy.origin.scheme)
            await open_socks(
                stream,
                kind,
                name,
                port,
                proxy.credentials,
                proxy=where,
                resolver=self.resolver,
                policy=self.addresses,
                opening=self.opening,
            )
            return
        authority = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        fields, answer = own, None
        if signed is not None:
            fields = signed
        elif proxy is not None:
            fields = own + encode_fields(proxy.fields_for("CONNECT", authority))
            answer = partial(_answer_proxy, proxy, authority, own)
        self._debug_sent(b"CONNECT %b HTTP/1.1\r\n" % authority.encode())
        self._tunnel_head = await open_tunnel(
            stream,
            authority,
            fields,
            proxy=where,
            answer=answer,
            host_field=host_field or authority,
            max_head=self._parser.max_head,
            max_fields=self._parser.max_fields,
        )
        self._debug_head(self._tunnel_head)

    async def _secure(self, stream: Stream) -> bool:
        """Whether TLS was put on top: not here; `AsyncHTTPSConnection` does."""
        return False

    async def close(self) -> None:
        """Close the connection, also in mid-exchange, the rest of which is dropped. Idempotent; waits for nothing."""
        self._check_loop()
        self.close_now()

    def close_now(self) -> None:
        """`close()` without being awaited."""
        stream = self._stream
        if stream is not None and self._state is State.IDLE:
            stream.reader.on_activity = None
            stream.close()  # in order: TLS says goodbye
            self._stream = None
        self._drop()
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _drop(self, error: HTTPException | None = None) -> None:
        if self._stream is None and self._opening is not None:
            if not self._opening.expired():
                self._opening.reschedule(-math.inf)  # ends what is being awaited there
            self._opening = None
        self._head = None
        super()._drop(error)

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
        if not head.has("accept-encoding"):
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
        self._check_ready()
        self._head = head
        await self._send_head(body, chunked)

    def putrequest(self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False) -> None:
        """Begin a request step by step. Nothing is sent before `endheaders()`."""
        head = RequestHead(method, url, [])
        self._check_ready()
        head.skip_host = skip_host
        if not skip_accept_encoding:
            head.put("Accept-Encoding", "identity")
        self._head = head
        self._state = State.HEAD

    def putheader(self, name: str | bytes, *values: HeaderValue) -> None:
        """Add a field; several values are joined by a space, as continuation lines are read (RFC 9112 section 5.2)."""
        if self._state is not State.HEAD or self._head is None:
            raise CannotSendHeader(
                "putheader() comes after putrequest() and before endheaders()", doing=f"a request to {self.where()}"
            )
        text = check_field_name(name)
        self._head.put(text, " ".join([check_field_value(text, value) for value in values]))

    async def endheaders(self, message_body: Body | None = None, *, encode_chunked: bool = False) -> None:
        """Send the head, and the body where one is given: as it is, or cut into chunks with `encode_chunked`."""
        if self._state is not State.HEAD:
            raise CannotSendHeader("endheaders() comes after putrequest()", doing=f"a request to {self.where()}")
        await self._send_head(message_body, encode_chunked)

    async def send(self, data: Body) -> None:
        """Send bytes, a file or an iterable as they are, after `endheaders()` without a body.

        Before any request it only connects (as `http.client` does) and sends raw bytes.
        """
        self._check_loop()
        if self._state is State.RESPONSE or self._state is State.HEAD:
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
            self._sent_at, self._began = perf_counter(), stream.loop.time()
        except BaseException as error:
            self._failed(stream, error)
            raise

    async def _auto_connect(self, deadline: Deadline) -> None:
        if not self.auto_open:
            raise NotConnected(f"there is no connection to {self.where()}, and auto_open is off")
        await self.open(deadline)

    def _check_ready(self) -> None:
        stream = self._stream
        if self._state is not State.IDLE:
            raise CannotSendRequest(
                f"the exchange before this one is not over: {self._state.value}", doing=self._doing()
            )
        self._check_loop()
        if stream is not None and stream.is_stale():
            self._drop()  # the peer closed it meanwhile: `auto_open` opens a new one

    def _check_loop(self) -> None:
        if self._stream is not None and self._loop is not asyncio.get_running_loop():
            raise RuntimeError("the connection belongs to another event loop")

    async def _send_head(self, body: Body | None, chunked: bool) -> None:
        self._check_loop()
        head, self._head = self._head, None
        assert head is not None
        self._state = State.IDLE
        if self._forwarded is None:
            encoded = head.encode(self._host_field())
        else:
            encoded = head.to_proxy(str(self._forwarded), self._proxy).encode(self._forwarded.host_field)
        deadline = Deadline(self._timeout, asyncio.get_running_loop().time())
        if self._stream is None:
            await self._auto_connect(deadline)
        stream = self._stream
        assert stream is not None
        self._begin(head.method, head.target, deadline, head.upgrade, head.close)
        if body is None:
            self._declared, self._sent, self._expecting = head.length, 0, head.expect
        stream.reader.on_activity = None
        self._state = State.SENT
        try:
            length = None if chunked else head.length
            await self._send_request(stream, encoded, body, chunked, length, head.expect)
        except BaseException as error:
            self._failed(stream, error)
            raise

    def handed_over(self, stream: Stream) -> None:
        """The streams are somebody else's, and so is what would be opened again."""
        if stream is self._stream:
            self.auto_open = False
        super().handed_over(stream)

    def _host_field(self) -> str:
        # Looked at each time: `host` and `port` may have been set.
        name, port = (self.host, self.port) if self._tunnel is None else self._tunnel[:2]
        return host_field(name, port, self.default_port)

    def _failed(self, stream: Stream, error: BaseException) -> None:
        if self._proxy is not None and self._tunnel is None and isinstance(error, HTTPException):
            error.proxy_answered = self.opening.proxy_answered
        super()._failed(stream, error)

    # --- words ---

    def where(self) -> str:
        """Host and port, or path, as messages name them."""
        if self.uds is not None:
            return shown_path(self.uds)
        where = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        if self._tunnel is not None:
            return f"{self._tunnel[0]}:{self._tunnel[1]} through proxy {where}"
        if self._forwarded is not None:
            return f"{_authority(self._forwarded)} through proxy {where}"
        return where if self._proxy is None else f"the proxy {where}"

    def _doing(self) -> str:
        doing = super()._doing()
        if self._proxy is None or self._tunnel is not None or isinstance(self._target, str):
            return doing
        return f"{doing} through proxy {self._proxy.where}"

    def __repr__(self) -> str:
        state = self._state.value if self._stream is not None else "closed"
        return f"<{type(self).__name__} {self.where()} {state}>"


def _authority(origin: Origin) -> str:
    return f"[{origin.host}]:{origin.port}" if ":" in origin.host else f"{origin.host}:{origin.port}"


def _answer_proxy(proxy: Proxy, authority: str, own: bytes, head: ResponseHead, answered: int) -> bytes | None:
    """The fields to ask once more with, when the proxy wants to know who asks."""
    challenges = head.headers.getall("Proxy-Authenticate", ())
    if proxy.auth is None:
        return None
    value = proxy.auth.answer_proxy(proxy.origin, "CONNECT", authority, challenges, answered)
    return None if value is None else own + encode_fields(proxy.fields_with(value))


class AsyncHTTPSConnection(AsyncHTTPConnection):
    """The same over TLS.

    - `context`: an `ssl.SSLContext`; None for one that verifies against the system's CAs.
    - `server_hostname`: the name to verify and to send by SNI; None for `host` (of the tunnel, where there is one).
    - `assert_fingerprint`: SHA-256 pins of public keys, of which the server's own must be one (see `TLSOptions`).
    - `sessions`: where sessions are kept for further connections to resume, None for nowhere.

    Raises `TLSError` from `connect()` when the certificate is refused or there is no TLS at the other end.
    """

    __slots__ = ("_context", "_pins", "_server_hostname", "_sessions")
    default_port: ClassVar[int] = 443

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        assert_fingerprint: str | Iterable[str | bytes] | None = None,
        sessions: TLSSessions | None = None,
        **options: Any,
    ) -> None:
        super().__init__(host, port, **options)
        self._context = context
        self._sessions = sessions
        self._pins = None if assert_fingerprint is None else parse_pins(assert_fingerprint)
        self._server_hostname = server_hostname

    async def _secure(self, stream: Stream) -> bool:
        context = self._context if self._context is not None else ssl_context()
        name = self._server_hostname or (self.host if self._tunnel is None else self._tunnel[0])
        try:
            resumption = None if self._sessions is None else self._sessions.at((self.way(), name), context)
            await stream.start_tls(context, name, self._pins, resumption)
            assert stream.tls is not None
            stream.tls.check_protocol()
            self._secured = stream.tls.session
            return True
        except ConnectionError as error:
            if isinstance(error, HTTPException):
                raise
            raise TLSError(f"the TLS handshake with {name} failed: {error}") from error
