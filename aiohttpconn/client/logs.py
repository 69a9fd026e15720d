"""What a client logs at DEBUG, secrets masked and control characters escaped: hooks like any others, there while
somebody listens.

Loggers: ``aiohttpconn.client`` (requests, responses, redirects, retries, errors) and, below it,
``aiohttpconn.client.connection`` (connections opened and used again). The level may be changed at any time.

    logging.getLogger("aiohttpconn").setLevel(logging.DEBUG)
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from datetime import timedelta
from typing import TYPE_CHECKING

from ..secrets import masked_fields, masked_text, masked_url
from .hedging import CALLED_OFF
from .hooks import Hooks

if TYPE_CHECKING:
    from ..headers import Headers
    from ..messages import Opening, Request, ResponseHead
    from .flow import Attempt
    from .response import Response

_client = logging.getLogger("aiohttpconn.client")
_connection = logging.getLogger("aiohttpconn.client.connection")

_ESCAPES = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0))}
"""In what a peer sent, a line break would begin a line of its own, and an escape sequence act on the terminal."""


class LogHooks(Hooks):
    """Logs what happens."""

    def __init__(self) -> None:
        super().__init__(
            on_request=_request,
            on_response=_response,
            on_connect=_connect,
            on_reuse=_reuse,
            on_redirect=_redirect,
            on_retry=_retry,
            on_interim=_interim,
            on_error=_error,
        )


def with_logs(hooks: Hooks | None) -> Hooks:
    """These hooks, and after them the log: it shows what they made of a request."""
    return LogHooks() if hooks is None else hooks | LogHooks()


def _request(request: Request) -> None:
    _client.debug("sending %s%s", _named(request), _shown(request.headers))


def _response(response: Response) -> None:
    head = response.head
    milliseconds = response.elapsed / timedelta(milliseconds=1)
    _client.debug(
        "%s answered %s %s after %.1f ms%s",
        _named(response.request),
        head.status,
        _escaped(head.reason),
        milliseconds,
        _shown(head.headers),
    )


def _redirect(response: Response, following: Request) -> None:
    _client.debug("%s is redirected (%s) to %s", _named(response.request), response.status, _named(following))


def _retry(request: Request, attempt: Attempt) -> None:
    outcome = attempt.outcome
    said = f"status {outcome}" if isinstance(outcome, int) else _said(outcome)
    _client.debug("%s came to %s; again in %.3f s", _named(request), said, attempt.delay)


def _interim(request: Request, head: ResponseHead) -> None:
    _client.debug(
        "%s: interim response %s %s%s", _named(request), head.status, _escaped(head.reason), _shown(head.headers)
    )


def _error(request: Request, error: BaseException) -> None:
    if isinstance(error, CancelledError) and error.args == (CALLED_OFF,):
        _client.debug("%s was %s", _named(request), CALLED_OFF)
    else:
        _client.debug("%s failed: %s", _named(request), _said(error))


def _connect(request: Request, opening: Opening) -> None:
    if _connection.isEnabledFor(logging.DEBUG):
        steps = [
            f"{name} {seconds * 1000:.1f} ms"
            for name in ("lookup", "connect", "tunnel", "tls")
            if (seconds := getattr(opening, name)) is not None
        ]
        why = f": {opening.why}" if opening.why else ""
        _connection.debug(
            "opened a connection to %s%s%s", request.url.origin, why, f" ({', '.join(steps)})" if steps else ""
        )


def _reuse(request: Request) -> None:
    _connection.debug("using a connection to %s again", request.url.origin)


def _named(request: Request) -> str:
    return f"{request.method} {masked_url(request.url)}"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {_escaped(masked_text(str(error)))}"


def _shown(headers: Headers) -> str:
    return "".join([f"\n    {name}: {_escaped(value)}" for name, value in masked_fields(headers.items())])


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
