"""TLS over any transport by `ssl.MemoryBIO`.

The loops' own TLS is not used. Ours is the same on asyncio and uvloop, also inside TLS; it knows whether the peer ended
with close_notify, which they do not tell; it has no 256 KiB buffer for every connection; and it asks OpenSSL only when
there is something to read, where they end every read with an exception (1.5 µs).
"""

from __future__ import annotations

import asyncio
import enum
import os
import ssl
import sys
import weakref
from collections.abc import Iterable
from typing import Any

from ..errors import TLSError
from .tcp import salvage
from .tls_errors import FOR_SERVER, Advice, alert_error, handshake_error, pin_error
from .tls_pins import Pins, key_digest
from .tls_sessions import Resumption

RECORD = 16_384  # RFC 8446 section 5.1: the most that one record holds
_BUFFER = 262_144
_AT_FIRST = 65_536

# One receive buffer a loop, shared by its connections: a loop fills it and hands it over in one go, and what is in it
# goes into the BIO at once. (Windows' proactor fills buffers in the background: there each connection has its own.)
_buffers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = weakref.WeakKeyDictionary()


def _receive_buffer(loop: asyncio.AbstractEventLoop) -> memoryview:
    if sys.platform == "win32":
        return memoryview(bytearray(65_536))
    buffer = _buffers.get(loop)
    if buffer is None:
        buffer = _buffers[loop] = memoryview(bytearray(_BUFFER))
    return buffer


class _State(enum.Enum):
    HANDSHAKE = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


class TLSTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """A TLS session: the protocol of the transport below it, and the transport of the protocol above."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lower: asyncio.Transport,
        upper: asyncio.Protocol,
        context: ssl.SSLContext,
        server_hostname: str | None,
        descriptor: int,
        resumption: Resumption | None = None,
        advice: Advice = FOR_SERVER,
    ) -> None:
        super().__init__()
        self._loop = loop
        self._lower = lower
        self._upper: asyncio.Protocol = upper
        self._inner: TLSTransport | None = None  # the session inside this one
        self._descriptor = descriptor
        self._hostname = server_hostname or ""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # RFC 6066 section 3: SNI has no trailing dot.
        sni = (server_hostname or "").rstrip(".") or None
        if sni is None and context.check_hostname:
            # OpenSSL would verify no name at all.
            raise TLSError("TLS cannot be set up: the context verifies the host's name, and server_hostname names none")
        try:
            earlier = None if resumption is None else resumption.begin()
            self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=sni, session=earlier)
        except (ValueError, TypeError, ssl.SSLError) as error:  # TypeError: a NUL in the name
            raise TLSError(f"TLS cannot be set up for host {server_hostname!r}: {error}") from error
        self._state = _State.HANDSHAKE
        self._shaken: asyncio.Future[None] | None = None
        self._unsent: list[bytes] = []  # written while OpenSSL needed to read first
        self._buffer = _receive_buffer(loop)[:_AT_FIRST]
        self._at_once = _BUFFER
        self._read_paused = False
        self._resumption = resumption
        self._advice = advice
        self._heard = False  # whether anything has come through the session
        self.close_notify_received = False
        """Whether the peer said that it has sent everything."""

    @property
    def session(self) -> ssl.SSLObject:
        """OpenSSL's side of it."""
        return self._session

    def receive_at_once(self, size: int) -> None:
        """Take at most so many bytes from the socket at a time: OpenSSL keeps room for them. (64 KiB until they fill
        that: most connections never do.)"""
        if isinstance(self._lower, TLSTransport):
            self._lower.receive_at_once(size)
        else:
            self._at_once = max(size, RECORD)
            self._buffer = self._buffer[:size]

    # --- handshake ---

    async def handshake(self) -> None:
        """Take over the transport below and shake hands; raises `TLSError`, and aborts when it is cancelled."""
        self._shaken = self._loop.create_future()
        try:
            if self._lower.is_closing():
                raise TLSError(f"the connection was closed before the TLS handshake with {self._hostname}")
            # The loop looks at the kind of the protocol when reading starts.
            self._lower.pause_reading()
            self._lower.set_protocol(self)
            self._lower.resume_reading()
            self._shake()
            await self._shaken
        except BaseException:
            if self._resumption is not None:
                self._resumption.failed()
            self.abort()
            raise

    def _shake(self) -> None:
        assert self._shaken is not None
        try:
            self._session.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._flush()
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._flush()  # the alert that tells the peer why
            self._state = _State.CLOSED
            if not self._shaken.done():
                failure = handshake_error(self._hostname, error, self._session, self._advice)
                self._shaken.set_exception(failure)
        else:
            self._state = _State.OPEN
            if not self._shaken.done():
                self._shaken.set_result(None)
            # After who waits for it has run, so that Finished and the request go out in one piece: one system call and
            # one segment less, 20 µs of either side's CPU for a connection.
            self._loop.call_soon(self._flush)

    def check_pins(self, pins: Pins) -> None:
        """Abort and raise `TLSError` unless the key of the peer's certificate is one of those pinned."""
        certificate = self._session.getpeercert(True)
        try:
            digest = None if certificate is None else key_digest(certificate)
        except ValueError:  # what OpenSSL has read and we cannot is not let in
            digest = None
        if digest is None or digest not in pins:
            self.abort()
            raise pin_error(self._hostname, digest)

    def check_protocol(self) -> None:
        """Abort and raise `TLSError` unless what was chosen by ALPN (RFC 7301) is what will be spoken: HTTP/1.1."""
        chosen = self._session.selected_alpn_protocol()
        if chosen is not None and chosen not in ("http/1.1", "http/1.0"):
            self.abort()
            raise TLSError(
                f"{self._hostname} chose {chosen} by ALPN, and only HTTP/1.1 is spoken here; "
                'the context must offer no other: context.set_alpn_protocols(["http/1.1"])',
                reason="wrong protocol",
            )

    # --- protocol of the transport below ---

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        buffer = self._buffer
        self._incoming.write(buffer[:nbytes])
        if nbytes == len(buffer) < self._at_once:
            self._buffer = _receive_buffer(self._loop)[: self._at_once]
        self._receive()

    def data_received(self, data: bytes) -> None:
        """From a transport that hands over bytes, and what was salvaged."""
        self._incoming.write(data)
        self._receive()

    def _receive(self) -> None:
        if self._state is _State.HANDSHAKE:
            self._shake()
            if not self._incoming.pending:
                return
        if self._state is not _State.OPEN:
            return
        pieces: list[bytes] = []
        session = self._session
        inner = self._inner
        passed_on = ended = False
        failure: ssl.SSLError | None = None
        try:
            if inner is None:
                while self._incoming.pending or session.pending():
                    data = session.read(RECORD)
                    if not data:
                        ended = True
                        break
                    pieces.append(data)
            else:
                # From here straight to where the session inside reads, by way of the receive buffer, which is free
                # again: pieces of bytes, and one for all of them, cost 5 % of both sessions together.
                buffer = self._buffer
                while self._incoming.pending or session.pending():
                    size: int = session.read(RECORD, buffer)  # type: ignore[assignment]  # typeshed: bytes
                    if not size:
                        ended = True
                        break
                    inner._incoming.write(buffer[:size])
                    passed_on = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as error:
            failure = error
        if pieces or passed_on:
            if not self._heard:
                self._heard = True
                if self._resumption is not None:
                    self._resumption.keep(session)
            if inner is not None:
                inner._receive()
            else:
                # One hand-over for all the records that came together: 16 KiB pieces cost their receiver more than the
                # copy does.
                self._upper.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            self.writelines(unsent)
        elif self._outgoing.pending:
            self._flush()
        if ended and not self.close_notify_received:
            self.close_notify_received = True
            if not self._upper.eof_received():
                self.close()
        elif failure is not None:
            self._fail(failure)

    def _fail(self, error: BaseException) -> None:
        """The session is broken: close below, and tell above why."""
        self._state = _State.CLOSED
        if self._resumption is not None:
            self._resumption.drop()
        if not self._heard and isinstance(error, ssl.SSLError):
            error = alert_error(self._hostname, error, self._session.context, self._advice) or error
        self._flush()
        self._lower.abort()
        self._upper.connection_lost(error)  # type: ignore[arg-type]

    def eof_received(self) -> bool:
        if self._state is _State.HANDSHAKE:
            self._lose(None)
        elif self._state is _State.OPEN and not self.close_notify_received:
            self._upper.eof_received()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        broke = self._state is _State.OPEN and exc is not None and not isinstance(self._lower, TLSTransport)
        if broke and (rest := salvage(self._descriptor)):
            self.data_received(rest)
        self._lose(exc)

    def _lose(self, exc: BaseException | None) -> None:
        was = self._state
        self._state = _State.CLOSED
        if was is _State.HANDSHAKE and self._shaken is not None and not self._shaken.done():
            how = f": {exc}" if exc else ""
            error = TLSError(f"the peer closed the connection during the TLS handshake with {self._hostname}{how}")
            error.__cause__ = exc
            self._shaken.set_exception(error)
        self._upper.connection_lost(exc)  # type: ignore[arg-type]

    def pause_writing(self) -> None:
        self._upper.pause_writing()

    def resume_writing(self) -> None:
        self._upper.resume_writing()

    def look(self) -> bool:
        """Read what has arrived, without waiting; False when the peer has closed.

        What makes a socket readable may be the session's own, and mean nothing above: TLS 1.3 servers send tickets
        after the handshake (RFC 8446 section 4.6.1), which a busy loop has not read yet.
        """
        if isinstance(self._lower, TLSTransport):
            return self._lower.look()
        if sys.platform == "win32":
            return False  # sockets are no files there
        try:
            while data := os.read(self._descriptor, _BUFFER):
                self._incoming.write(data)
                self._receive()
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    # --- transport of the protocol above ---

    def write(self, data: Any) -> None:
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        if self._state is _State.CLOSED:
            return
        waiting = list(list_of_data)
        try:
            while waiting:
                data = waiting[0]
                if len(data):
                    sent = self._session.write(data)
                    if sent < len(data):
                        waiting[0] = memoryview(data)[sent:]
                        continue
                del waiting[0]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._unsent.extend(bytes(data) for data in waiting)
        except ssl.SSLError as error:
            self._loop.call_soon(self._fail, error)
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._lower.is_closing():
            self._lower.write(self._outgoing.read())

    def close(self) -> None:
        """Say close_notify and close without waiting for the peer's (RFC 8446 section 6.1 allows it)."""
        if self._state is _State.OPEN and not self._lower.is_closing():
            try:
                self._session.unwrap()
            except (ssl.SSLError, ValueError):
                pass
            self._flush()
        self._lower.close()

    def abort(self) -> None:
        self._lower.abort()

    def is_closing(self) -> bool:
        return self._state is _State.CLOSED or self._lower.is_closing()

    def pause_reading(self) -> None:
        if not self._read_paused and not self._lower.is_closing():
            self._read_paused = True
            self._lower.pause_reading()

    def resume_reading(self) -> None:
        if self._read_paused and not self._lower.is_closing():
            self._read_paused = False
            self._lower.resume_reading()

    def is_reading(self) -> bool:
        return not self._read_paused and not self.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._lower.get_write_buffer_size() + sum(map(len, self._unsent))

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._lower.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._lower.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        return False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._upper = protocol  # type: ignore[assignment]
        self._inner = protocol if isinstance(protocol, TLSTransport) else None

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._upper

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._session
        if name == "sslcontext":
            return self._session.context
        if name == "peercert":
            return self._session.getpeercert()
        if name == "cipher":
            return self._session.cipher()
        if name == "compression":
            return self._session.compression()
        return self._lower.get_extra_info(name, default)
