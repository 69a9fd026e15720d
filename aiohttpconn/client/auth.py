"""Signing requests: the protocol that every kind of signature follows, and those that need no challenge.

An `Auth` signs the requests of one hop of one call. The secrets it holds never show in its repr; the user's name does
not either, since it often is an API key. Auth objects pickle, secrets included, so that they can be given to worker
processes; what they have learned of servers (challenges, tokens) stays behind.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, TypeAlias

from multidict import istr

from ..errors import InvalidHeader
from ..messages import Request

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Generator, Iterable

    from ..url import Origin
    from .netrc_file import Netrc
    from .response import Response

AUTHORIZATION = istr("Authorization")


class Auth:
    """Signs requests; the base of one's own flows.

    Override `flow`, a generator: it is given the request, yields the one to send, is sent its response, and may yield
    another; the response to the last one is what the caller gets. Each hop of a redirect has a flow of its own. Where
    something has to be awaited, override `async_flow` instead.

    >>> class TokenAuth(Auth):
    ...     def __init__(self, token):
    ...         self.token = token
    ...
    ...     def flow(self, request):
    ...         response = yield request.with_fields({"X-Token": self.token})
    ...         if response.status == 401:
    ...             self.token = response.headers["X-New-Token"]
    ...             yield request.with_fields({"X-Token": self.token})
    """

    needs_request_body: bool = False
    """Whether the body is read into memory first, so that `flow` finds bytes or None in `request.body`."""
    needs_response_body: bool = False
    """Whether responses are read before `flow` gets them, so that it finds their `content`."""

    def flow(self, request: Request) -> Generator[Request, Response, None]:
        """Yield the requests to send; each is answered by its response. At least one."""
        raise NotImplementedError(f"{type(self).__name__} must override flow() or async_flow()")

    async def async_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
        """`flow`, awaited; this one drives it."""
        flow = self.flow(request)
        if not hasattr(flow, "send") or hasattr(flow, "cr_code"):
            if hasattr(flow, "close"):
                flow.close()
            raise TypeError(f"{type(self).__name__}.flow() must be a generator; one that awaits is async_flow()")
        try:
            signed = next(flow, None)
            if signed is None:
                raise RuntimeError(f"{type(self).__name__}.flow() yielded no request")
            while signed is not None:
                response = yield signed
                try:
                    signed = flow.send(response)
                except StopIteration:
                    return
        finally:
            flow.close()

    def sign_again(self, request: Request) -> Request:
        """A request that `flow` yielded, signed anew: it is to be sent a second time (a retry, a hedge). By default it
        is sent as it was; a signature that is good for one request only has to be made again here."""
        return request

    def elsewhere(self) -> Auth | None:
        """What signs the requests to another origin than the one that the caller named, to which a redirect leads: by
        default nothing, since what this one knows was not given for it."""
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


AuthInput: TypeAlias = tuple[str, str] | Auth
"""What `auth=` takes: a user and password for basic, or an `Auth`."""


def auth_of(value: AuthInput) -> Auth:
    """The `Auth` that a caller means. Raises TypeError for what is none; its text does not show it."""
    if isinstance(value, Auth):
        return value
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return BasicAuth(*value)
    raise TypeError(f"auth must be (user, password), an Auth or None, not {type(value).__name__}")


def with_authorization(request: Request, value: str) -> Request:
    """The request with this Authorization field, in place of any other; the value has been checked."""
    return request.with_field_last(AUTHORIZATION, value)


def octets(value: str | bytes, what: str, encoding: str = "utf-8") -> bytes:
    """A user's name or password as bytes. Raises TypeError and ValueError, whose texts do not show it."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(f"the {what} must be str or bytes, not {type(value).__name__}")
    try:
        return value.encode(encoding)
    except UnicodeEncodeError:
        raise ValueError(f"the {what} has characters that do not fit into {encoding}") from None


class BasicAuth(Auth):
    """Basic authentication (RFC 7617), sent with the first request, without waiting to be asked.

    - `user`, `password`: text is sent in UTF-8, bytes as they are. A user name with a colon cannot be sent:
      `InvalidHeader`.
    """

    def __init__(self, user: str | bytes, password: str | bytes = "") -> None:
        self._credentials = (user, password)
        name = octets(user, "user name")
        if b":" in name:
            raise InvalidHeader("a user name with a colon cannot be sent by basic authentication (RFC 7617 section 2)")
        self._value = "Basic " + b64encode(name + b":" + octets(password, "password")).decode()

    def flow(self, request: Request) -> Generator[Request, Response, None]:
        yield with_authorization(request, self._value)

    def sign_for_proxy(self, proxy: Origin, method: str, target: str) -> str:
        """See `ProxyAuth`."""
        return self._value

    def answer_proxy(
        self, proxy: Origin, method: str, target: str, challenges: Iterable[str], answered: int
    ) -> str | None:
        """See `ProxyAuth`: it has said all that it knows."""
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._credentials


class BearerAuth(Auth):
    """A bearer token (RFC 6750), sent with the first request.

    - `token`: visible ASCII without spaces; anything else is `InvalidHeader`.
    """

    def __init__(self, token: str) -> None:
        if not isinstance(token, str):
            raise TypeError(f"the token must be a str, not {type(token).__name__}")
        if not token or not all("!" <= character <= "~" for character in token):
            raise InvalidHeader("a bearer token is visible ASCII without spaces, and at least one character")
        self._token = token
        self.value = f"Bearer {token}"
        """The Authorization value."""

    def flow(self, request: Request) -> Generator[Request, Response, None]:
        yield with_authorization(request, self.value)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._token,)


class NetrcAuth(Auth):
    """Basic authentication with what a netrc file says of the host, wherever a request goes; else nothing.

    What the caller says goes before: an Authorization field of his own stays, and so do user and password of a URL. A
    URL with a user alone gets the password that the file has for this user. The file is read when this is made.

    - `path`: of the file. Raises OSError for one that cannot be read, ValueError for one that is no netrc file. Left
      out, the one that NETRC names, else ~/.netrc; it need not be there, and one that cannot be used is as if empty.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        from .netrc_file import Netrc  # noqa: PLC0415 - not everybody has one

        self._path = path
        self._netrc: Netrc = Netrc.read(path)
        self._named = False  # whether an entry has to name the host

    def flow(self, request: Request) -> Generator[Request, Response, None]:
        if AUTHORIZATION in request.headers:
            yield request
            return
        url = request.url
        user, password = url.credentials or (None, "")
        if user is None or not password:
            entry = self._netrc.entry(url.host, user or None, default=not self._named)
            if entry is not None:
                user, password = entry.login, entry.password
        if user is None:
            yield request
        else:
            yield from BasicAuth(_as_read(user), _as_read(password)).flow(request)

    def elsewhere(self) -> Auth | None:
        """The same, without the entry that the file has for all other hosts: it was not given for any that a server
        cares to name."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _named=True)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path,)


def _as_read(text: str) -> bytes:
    """The bytes of the file, of which not all need be UTF-8."""
    return text.encode("utf-8", "surrogateescape")
