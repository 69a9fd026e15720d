"""OAuth 2.0 with client credentials (RFC 6749 section 4.4): a token is fetched, and signs requests until it expires."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlencode

from ..errors import HTTPException
from ..url import URL, parse
from .auth import Auth, BearerAuth, with_authorization

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from ..messages import Request
    from .client import Client
    from .response import Response

_ANSWER = 262_144
"""Bytes that the token endpoint may answer with."""


class TokenError(HTTPException):
    """The token endpoint gave no token.

    `status` is that of its answer, None if there was none; `error` and `description` are what it said (RFC 6749 section
    5.2), "" otherwise. What went wrong underneath is the cause.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        error: str = "",
        description: str = "",
        doing: str | None = None,
    ) -> None:
        super().__init__(message, doing=doing)
        self.status, self.error, self.description = status, error, description


class _Token:
    """An access token as it goes out, and when it is to be replaced."""

    __slots__ = ("expires", "signer")

    def __init__(self, value: str, expires: float | None) -> None:
        self.signer = BearerAuth(value)
        self.expires = expires

    @property
    def is_fresh(self) -> bool:
        return self.expires is None or time.monotonic() < self.expires


class _Fetch:
    """A token on its way, and how many wait for it. It ends when the last of them gives up."""

    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[_Token]) -> None:
        self.task = task
        self.waiting = 0


class OAuth2ClientCredentials(Auth):
    """Bearer tokens from a token endpoint, by the client-credentials grant (RFC 6749 section 4.4).

    Requests that need a token at the same time wait for one fetch; one that is cancelled leaves the others theirs. A
    token is replaced `leeway` seconds before it expires, and when a request signed with it is refused by a 401, which
    is then sent once more (if its body can be). Raises `TokenError`, with what went wrong as its cause.

    - `token_url`: the token endpoint; redirects are not followed there.
    - `client_id`, `client_secret`: sent by basic authentication, or with ``credentials_in="body"`` as form fields.
    - `scope`: text, or names that are joined by spaces. `parameters`: more fields of the token request (`audience` …).
    - `client`: the `Client` that fetches tokens, with its own settings; it may be one that this signs for. None: one of
      its own for each token, with default settings.
    """

    def __init__(
        self,
        token_url: str | URL,
        client_id: str,
        client_secret: str,
        *,
        scope: str | tuple[str, ...] | list[str] | None = None,
        parameters: Mapping[str, str] | None = None,
        client: Client | None = None,
        credentials_in: str = "header",
        leeway: float = 30.0,
    ) -> None:
        if credentials_in not in ("header", "body"):
            raise ValueError(f'credentials_in must be "header" or "body", not {credentials_in!r}')
        self._url = parse(token_url)
        self._client_id, self._client_secret = client_id, client_secret
        self._scope = scope if scope is None or isinstance(scope, str) else " ".join(scope)
        self._parameters = dict(parameters or {})
        self._client = client
        self._credentials_in = credentials_in
        self._leeway = leeway
        self._token: _Token | None = None
        self._fetch: _Fetch | None = None

    async def async_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
        token = await self._fresh_token()
        response = yield _signed(request, token)
        if response.status != 401:
            return
        if self._token is token:
            self._token = None  # whoever comes next fetches another; who was faster has done so
        if request.replayable:
            yield _signed(request, await self._fresh_token())

    # --- the token ---

    async def _fresh_token(self) -> _Token:
        """The token, fetched if there is none that will do. One fetch serves all who ask meanwhile."""
        token = self._token
        if token is not None and token.is_fresh:
            return token
        from ..politeness.slot import slotless, without_slot  # noqa: PLC0415 - once for each token

        fetch = self._fetch
        if fetch is None or fetch.task.done():
            fetch = self._fetch = _Fetch(asyncio.create_task(self._fetch_token(), context=slotless()))
        fetch.waiting += 1
        try:
            await without_slot(asyncio.wait((fetch.task,)))  # all of a map's may wait for it
        except asyncio.CancelledError:
            if fetch.waiting == 1 and not fetch.task.done():
                if self._fetch is fetch:
                    self._fetch = None
                await _call_off(fetch.task)
            elif fetch.task.done() and not fetch.task.cancelled():
                fetch.task.exception()  # nobody else may be there to look at it
            raise
        finally:
            fetch.waiting -= 1
        try:
            return fetch.task.result()
        except HTTPException as error:
            own = TokenError(
                f"no access token: {error.describe()}",
                doing=f"fetching a token from {self._url.shown}",
            )
            if isinstance(error, TokenError):
                own.status, own.error, own.description = error.status, error.error, error.description
            raise own from error  # one for each who waits: it will carry that one's request and traceback

    async def _fetch_token(self) -> _Token:
        if self._client is not None:
            self._token = await self._ask(self._client)
        else:
            from .client import Client  # noqa: PLC0415 - only who brings no client needs it from here

            async with Client(auth=None, cookies=False) as client:
                self._token = await self._ask(client)
        return self._token

    async def _ask(self, client: Client) -> _Token:
        form = {"grant_type": "client_credentials", **self._parameters}
        if self._scope is not None:
            form["scope"] = self._scope
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if self._credentials_in == "body":
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        else:
            # RFC 6749 section 2.3.1: each form-encoded, then as basic credentials.
            pair = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret)}"
            headers["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        began = time.monotonic()
        response = await client.post(
            self._url.without_userinfo(),
            content=urlencode(form).encode(),
            headers=headers,
            auth=None,
            cookies=False,
            follow_redirects=False,
            max_body=_ANSWER,
        )
        return self._token_of(response, began)

    def _token_of(self, response: Response, began: float) -> _Token:
        """The token that an answer holds (RFC 6749 section 5.1). The answer itself is never shown: it is a secret."""
        status = response.status
        try:
            answer = json.loads(response.content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise TokenError(f"status {status}, and no JSON object", status=status)
        if not response.is_success or "error" in answer:
            error, description = _shown(answer.get("error")), _shown(answer.get("error_description"))
            said = ", ".join([text for text in (error, description) if text])
            raise TokenError(
                f"status {status}" + (f", {said}" if said else ""), status=status, error=error, description=description
            )
        value, kind, lifetime = answer.get("access_token"), answer.get("token_type", "Bearer"), answer.get("expires_in")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise TokenError("the token's type is none that is known here", status=status)
        try:
            seconds = None if lifetime is None else float(lifetime)
            # Of a token that lives shorter than twice the leeway half its life is used.
            expires = None if seconds is None else began + max(seconds - self._leeway, seconds / 2)
            return _Token(value, expires)  # type: ignore[arg-type] # BearerAuth looks at it
        except (TypeError, ValueError, OverflowError) as error:
            raise TokenError("the answer holds no usable access_token", status=status) from error

    def __reduce__(self) -> tuple[Any, ...]:
        # A client serves one loop of one process: the copy has one of its own.
        settings = {
            "scope": self._scope,
            "parameters": self._parameters,
            "credentials_in": self._credentials_in,
            "leeway": self._leeway,
        }
        return _restore, (type(self), (self._url, self._client_id, self._client_secret), settings)


def _restore(
    kind: type[OAuth2ClientCredentials], arguments: tuple[Any, ...], settings: dict[str, Any]
) -> OAuth2ClientCredentials:
    return kind(*arguments, **settings)


def _signed(request: Request, token: _Token) -> Request:
    return with_authorization(request, token.signer.value)


def _shown(value: object) -> str:
    """What an error answer says, as far as it may be shown (RFC 6749 section 5.2: visible ASCII and spaces)."""
    return "".join([c for c in value if " " <= c <= "~"])[:200] if isinstance(value, str) else ""


async def _call_off(task: asyncio.Task[_Token]) -> None:
    """Cancel a task and see it end, whatever happens meanwhile."""
    task.cancel()
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            pass  # the caller is being cancelled already
    if not task.cancelled():
        task.exception()
