"""TLS over any transport by `ssl.MemoryBIO`, and the contexts for it.

The loops' own TLS is not used. Ours is the same on asyncio and uvloop, also inside TLS; it knows whether the peer ended
with close_notify, which they do not tell; it has no 256 KiB buffer for every connection; and it asks OpenSSL only when
there is something to read, where they end every read with an exception (1.5 µs).
"""

from __future__ import annotations

import asyncio
import enum
import functools
import os
import ssl
import sys
import weakref
from collections.abc import Iterable
from typing import Any, TypeAlias

from ..errors import TLSError
from .tcp import salvage

RECORD = 16_384  # RFC 8446 section 5.1: the most that one record holds
_BUFFER = 262_144

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
    ) -> None:
        super().__init__()
        self._loop = loop
        self._lower = lower
        self._upper: asyncio.Protocol = upper
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
            self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=sni)
        except (ValueError, TypeError, ssl.SSLError) as error:  # TypeError: a NUL in the name
            raise TLSError(f"TLS cannot be set up for host {server_hostname!r}: {error}") from error
        self._state = _State.HANDSHAKE
        self._shaken: asyncio.Future[None] | None = None
        self._unsent: list[bytes] = []  # written while OpenSSL needed to read first
        self._buffer = _receive_buffer(loop)
        self._read_paused = False
        self.close_notify_received = False
        """Whether the peer said that it has sent everything."""

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
                failure = _handshake_error(self._hostname, error)
                failure.__cause__ = error
                self._shaken.set_exception(failure)
        else:
            self._state = _State.OPEN
            self._flush()
            if not self._shaken.done():
                self._shaken.set_result(None)

    # --- protocol of the transport below ---

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._incoming.write(self._buffer[:nbytes])
        self._receive()

    def data_received(self, data: bytes) -> None:
        """From a transport that hands over bytes: TLS inside TLS."""
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
        ended = False
        failure: ssl.SSLError | None = None
        try:
            while self._incoming.pending or session.pending():
                data = session.read(RECORD)
                if not data:
                    ended = True
                    break
                pieces.append(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as error:
            failure = error
        if pieces:
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


def _handshake_error(host: str, error: Exception) -> TLSError:
    """`TLSError` that says which name was asked for, what is wrong, and what can be done about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message
        advice = {
            18: "it is self-signed; pass verify= the certificate to trust it",
            19: "a self-signed certificate is in its chain; pass verify= the CA to trust",
            20: "its issuer is not known here; pass verify= the CA to trust",
            10: "renew it on the server",
        }.get(error.verify_code, "")
        return TLSError(f"the certificate of {host} was refused: {reason}" + (f" ({advice})" if advice else ""))
    reason = getattr(error, "reason", None) or str(error)
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"):
        return TLSError(f"{host} does not speak TLS on this port ({reason})")
    return TLSError(f"the TLS handshake with {host} failed: {reason}")


# --- contexts ---------------------------------------------------------------------------------------------------------


TLS_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
"""What the environment may say of TLS: which CAs are trusted instead of the system's, where session keys are logged."""

_Settings: TypeAlias = tuple[str | None, ...]
_Stamp: TypeAlias = tuple[int, int, int] | None


@functools.lru_cache(maxsize=16)
def _context(verify: bool | str, environment: _Settings | None, stamps: tuple[_Stamp, ...]) -> ssl.SSLContext:
    """`environment` has the values of `TLS_VARIABLES`; None if they are to be passed over. `stamps` are those of the CA
    files and folders, so that one that was replaced is read anew."""
    # ssl.create_default_context() by hand: that opens SSLKEYLOGFILE whether the environment is to be trusted or not.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if sys.version_info >= (3, 13):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _load_authorities(context, None if verify is True else verify, environment)
    keys = None if environment is None else environment[2]
    if keys and not sys.flags.ignore_environment:
        try:
            context.keylog_filename = keys
        except (OSError, ssl.SSLError) as error:
            raise TLSError(
                f"SSLKEYLOGFILE names a file that cannot be written, {keys!r}: {error.strerror or error}: "
                "correct or unset it, or pass trust_env=False"
            ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_authorities(context: ssl.SSLContext, path: str | None, environment: _Settings | None) -> None:
    """Trust the CAs of a file or folder; None for the system's, or what the environment has in their place."""
    cafile = capath = None
    if path is not None:
        source = repr(path)
        cafile, capath = (None, path) if os.path.isdir(path) else (path, None)
    elif environment is None:
        source = "the system's default paths"
        paths = ssl.get_default_verify_paths()
        cafile = paths.openssl_cafile if os.path.isfile(paths.openssl_cafile) else None
        capath = paths.openssl_capath if os.path.isdir(paths.openssl_capath) else None
    else:
        source = "SSL_CERT_FILE, SSL_CERT_DIR or the system's default paths"
        if environment[0] and not os.path.isfile(environment[0]):
            raise TLSError(f"SSL_CERT_FILE names no file: {environment[0]!r}")  # OpenSSL would trust nobody, in silence
    try:
        if cafile or capath:
            context.load_verify_locations(cafile, capath)
        else:
            context.load_default_certs()
    except (OSError, ssl.SSLError) as error:
        raise TLSError(f"no CA certificates could be loaded from {source}: {error}") from error


def _stamp(path: str) -> _Stamp:
    """What changes when a file is replaced, or a folder's entries are; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def ssl_context(
    verify: bool | str | os.PathLike[str] | ssl.SSLContext = True, trust_env: bool = True
) -> ssl.SSLContext:
    """The context for a way of verifying: True (the system's CAs), False (none), a path of CA certificates, or a
    context of one's own, which is used as it is.

    With `trust_env` SSL_CERT_FILE and SSL_CERT_DIR replace the system's CAs, and SSLKEYLOGFILE is written to.

    Built once per way and shared: building one costs 15 ms. A file of CAs that was replaced is read anew, and so is a
    folder to which files were added, or from which they were removed. Raises `TLSError` when the CAs cannot be loaded,
    and when SSLKEYLOGFILE cannot be written.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    environment = tuple([os.environ.get(name) for name in TLS_VARIABLES]) if trust_env else None
    if not isinstance(verify, bool):
        path = os.fspath(verify)
        return _context(path, environment, (_stamp(path),))
    sources = environment[:2] if verify and environment is not None else ()
    return _context(verify, environment, tuple([_stamp(source) for source in sources if source]))
