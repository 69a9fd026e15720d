"""Every error that this library raises (the floor everything else stands on).

Names are `http.client`'s where it has one. An error holds fields; its text is derived from them. `doing` says what was
being done and to which host, and is filled in by the floor that knows. All of them pickle.
"""

from __future__ import annotations

from typing import Any


def _restore(cls: type[HTTPException], args: tuple[object, ...], state: dict[str, object]) -> HTTPException:
    """Rebuild a pickled error without running its constructor."""
    error = cls.__new__(cls)
    error.args = args
    if "errno" in state:  # OSError has it in a place of its own
        state = dict(state)
        error.errno, error.strerror = state.pop("errno"), state.pop("strerror")  # type: ignore[attr-defined]
    error.__dict__.update(state)
    return error


class HTTPException(Exception):
    """Base of all errors of this library.

    `request` is the `Request` that failed, where there is one; `doing` says what was being done, e.g.
    ``"GET http://example.org/"``.
    """

    request: Any = None
    doing: str | None = None
    proxy_answered: bool | None = None
    """Of what failed before anything came of a response: whether the proxy had said anything that makes sense. None: no
    proxy was on the way, or it is known to be alive."""

    def __init__(self, message: str = "", *, doing: str | None = None) -> None:
        super().__init__(message)
        if doing is not None:
            self.doing = doing

    def describe(self) -> str:
        """What came instead of what was hoped for; subclasses derive it from their fields."""
        return (str(self.args[0]) if self.args else "") or type(self).__name__

    def __str__(self) -> str:
        text = self.describe()
        return f"{text} [{self.doing}]" if self.doing else text

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        if (number := getattr(self, "errno", None)) is not None:
            state |= {"errno": number, "strerror": getattr(self, "strerror", None)}
        return _restore, (type(self), self.args, state)


# --- what the caller asked for cannot be sent -------------------------------------------------------------------------


class InvalidURL(HTTPException, ValueError):
    """The URL or request target cannot be used."""


class UnsupportedScheme(InvalidURL):
    """The URL's scheme is not one that can be fetched."""


class InvalidHeader(HTTPException, ValueError):
    """A field name or value that must not be sent (RFC 9110 section 5.5)."""


class InvalidMethod(HTTPException, ValueError):
    """A method that is not a token (RFC 9110 section 9.1)."""


class BodyLengthMismatch(HTTPException, ValueError):
    """The body that was sent is not as long as its Content-Length said."""


class BodyNotReplayable(HTTPException):
    """The request would have to be sent again, and its body was given as something that can be read only once."""


# --- the network ------------------------------------------------------------------------------------------------------


class NetworkError(HTTPException, OSError):
    """The network, or the peer's end of it, failed.

    `errno` is the system's number of what went wrong where there is one that says it all, else None.
    """


class ConnectError(NetworkError):
    """No connection could be made."""


class ResolveError(ConnectError):
    """The host's name has no address."""


class TLSError(ConnectError):
    """TLS could not be set up, or the peer's certificate was refused.

    `reason` is what was found wrong, in OpenSSL's words or those of the peer's alert (``"certificate has expired"``,
    ``"handshake failure"``); None where the peer only went away. `certificate` is the peer's that was refused, as
    `ssl.SSLSocket.getpeercert` has it; None where it is not known.
    """

    reason: str | None = None
    certificate: dict[str, Any] | None = None

    def __init__(
        self,
        message: str = "",
        *,
        reason: str | None = None,
        certificate: dict[str, Any] | None = None,
        doing: str | None = None,
    ) -> None:
        super().__init__(message, doing=doing)
        if reason is not None:
            self.reason = reason
        if certificate is not None:
            self.certificate = certificate


class ProxyError(ConnectError):
    """The proxy did not open the tunnel.

    `status`, `headers` and `body` (its first 64 KiB) are the proxy's answer; None, None and b"" where it gave none.
    """

    status: int | None = None
    headers: Any = None
    body: bytes = b""

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        headers: Any = None,
        body: bytes = b"",
        doing: str | None = None,
    ) -> None:
        super().__init__(message, doing=doing)
        self.status, self.headers, self.body = status, headers, body

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        if self.headers is not None:
            state["headers"] = tuple(self.headers.items()) if hasattr(self.headers, "items") else tuple(self.headers)
        return _restore, (type(self), self.args, state)


class AddressBlocked(ConnectError):
    """The address is one that must not be dialled.

    The text says which address and why: for logs. It tells what names resolve to within one's own network, and should
    not be echoed to whoever gave the URL.

    `of_proxy`: whether it is the address of the proxy that was to be gone through, not of the origin.
    """

    of_proxy: bool = False


class ReadError(NetworkError):
    """The connection broke while something was being read."""


class WriteError(NetworkError):
    """The connection broke while something was being sent."""


# --- time -------------------------------------------------------------------------------------------------------------


class RequestTimeout(HTTPException, TimeoutError):
    """Base of the timeouts: one class for each limit in `Timeout`."""


class ConnectTimeout(RequestTimeout):
    """No connection within `Timeout.connect`: lookup, TCP, proxy tunnel and TLS together.

    `connected`: whether TCP was there (to the proxy, if there is one), so that what took long came after it.
    """

    connected: bool = False


class ReadTimeout(RequestTimeout):
    """The peer sent nothing more within `Timeout.read`, or not the whole head."""


class WriteTimeout(RequestTimeout):
    """The peer took nothing more within `Timeout.write`."""


class PoolTimeout(RequestTimeout):
    """No connection became free within `Timeout.pool`."""


class TotalTimeout(RequestTimeout):
    """The whole exchange took longer than `Timeout.total`."""


# --- what the peer sent is not HTTP -----------------------------------------------------------------------------------


class ProtocolError(HTTPException):
    """The peer broke the rules of HTTP/1.1 (RFC 9112)."""


class BadStatusLine(ProtocolError):
    """No HTTP/1.x status line (RFC 9112 section 4). `line` is what came instead."""

    def __init__(self, line: str = "", *, doing: str | None = None) -> None:
        super().__init__(line, doing=doing)
        self.line = line

    def describe(self) -> str:
        shown = self.line if len(self.line) <= 200 else self.line[:200] + "…"
        return f"not an HTTP/1.x status line: {shown!r}"


class RemoteDisconnected(BadStatusLine, NetworkError, ConnectionResetError):
    """The peer closed the connection before the head of its response was complete.

    `bytes_received` counts the bytes of the head that had come.
    """

    def __init__(
        self, message: str = "the peer closed the connection", *, bytes_received: int = 0, doing: str | None = None
    ) -> None:
        super().__init__("", doing=doing)
        self.args = (message,)
        self.bytes_received = bytes_received

    def describe(self) -> str:
        came = f"after {self.bytes_received} bytes of it" if self.bytes_received else "without sending a byte"
        return f"{self.args[0]} {came}, before the response's head was complete"


class BadHeader(ProtocolError):
    """A line of the head or of the trailers is not a field (RFC 9112 section 5). `line` is it, secrets masked."""

    def __init__(self, line: str = "", why: str = "not a header field", *, doing: str | None = None) -> None:
        super().__init__(line, doing=doing)
        self.line, self.why = line, why

    def describe(self) -> str:
        shown = self.line if len(self.line) <= 200 else self.line[:200] + "…"
        return f"{self.why}: {shown!r}"


class LineTooLong(ProtocolError):
    """A line, or the head as a whole, is over its limit. `size` and `limit` are in bytes."""

    def __init__(self, what: str = "line", size: int = 0, limit: int = 0, *, doing: str | None = None) -> None:
        super().__init__(what, doing=doing)
        self.what, self.size, self.limit = what, size, limit

    def describe(self) -> str:
        return f"{self.what} is over {self.limit} bytes (got {self.size})"


class TooManyFields(ProtocolError):
    """The head has more than `limit` fields."""

    def __init__(self, limit: int = 0, *, doing: str | None = None) -> None:
        super().__init__(str(limit), doing=doing)
        self.limit = limit

    def describe(self) -> str:
        return f"got more than {self.limit} header fields"


class UnknownTransferEncoding(ProtocolError):
    """A transfer coding other than chunked and identity (RFC 9112 section 6.1). `value` is the whole field."""

    def __init__(self, value: str = "", *, doing: str | None = None) -> None:
        super().__init__(value, doing=doing)
        self.value = value

    def describe(self) -> str:
        return f"unknown transfer coding in Transfer-Encoding: {self.value!r}"


class IncompleteRead(ProtocolError):
    """The body ended early. `partial` is what had not been handed out yet of what came, `expected` how many bytes are
    still missing (None when that is not known)."""

    def __init__(
        self, partial: bytes = b"", expected: int | None = None, why: str = "", *, doing: str | None = None
    ) -> None:
        super().__init__("", doing=doing)
        self.args = (partial, expected)
        self.partial, self.expected, self.why = partial, expected, why

    def describe(self) -> str:
        more = "" if self.expected is None else f", {self.expected} more expected"
        return f"the body ended early: {len(self.partial)} bytes read{more}" + (f" ({self.why})" if self.why else "")


# --- calls in the wrong order -----------------------------------------------------------------------------------------


class ImproperConnectionState(HTTPException):
    """The connection is not in the state for this call."""


class CannotSendRequest(ImproperConnectionState):
    """A request was begun before the one before it was over."""


class CannotSendHeader(ImproperConnectionState):
    """A field was put before the request was begun, or after its head was sent."""


class ResponseNotReady(ImproperConnectionState):
    """The response was asked for before the request was sent, or a second time."""


class NotConnected(ImproperConnectionState):
    """There is no connection, and `auto_open` is off."""


class PoolClosed(HTTPException):
    """The pool or client was closed."""


class StreamConsumed(HTTPException):
    """The body was already read, and not kept."""


class StreamClosed(HTTPException):
    """The response was closed before its body was read."""


# --- the response is well-formed, but not what the caller wants -------------------------------------------------------


class DecodingError(HTTPException):
    """The body does not decode by its Content-Encoding, or its text by its charset."""


class BodyTooLarge(HTTPException):
    """The decoded body is over `max_body`."""


class TooSlow(HTTPException):
    """The peer sends more slowly than `min_speed` allows."""


class RedirectBlocked(HTTPException):
    """The redirect leads where the client must not follow. `history` has the responses up to there, oldest first."""

    def __init__(self, message: str = "", *, history: Any = (), doing: str | None = None) -> None:
        super().__init__(message, doing=doing)
        self.history = tuple(history)


class RobotsDenied(HTTPException):
    """robots.txt forbids this URL."""


class ChecksumMismatch(HTTPException):
    """The bytes received are not those that the checksum is of."""


class DownloadError(HTTPException):
    """A download cannot go on. Its text says why, what was kept, and how to go on."""


class FileChanged(DownloadError):
    """The file on the server is not the one that the download began with."""


class TooManyRedirects(HTTPException):
    """More redirects than `max_redirects`. `history` has the responses up to there, oldest first."""

    def __init__(self, message: str = "", *, history: Any = (), doing: str | None = None) -> None:
        super().__init__(message, doing=doing)
        self.history = tuple(history)


class HTTPStatusError(HTTPException):
    """`raise_for_status()` met a 4xx or 5xx. `response` is the response, `request` its request."""

    def __init__(self, message: str = "", *, response: Any = None, doing: str | None = None) -> None:
        super().__init__(message, doing=doing)
        self.response = response
        self.request = getattr(response, "request", None)
