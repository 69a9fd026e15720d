"""`RecordReplay`: what a server answered once, from a file ever after."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from multidict import CIMultiDict

from ..errors import HTTPException
from ..headers import EMPTY_HEADERS, Headers
from ..messages import ResponseHead
from ..pool import ConnectionPool
from ..wire.codings import decode_all
from .faults import relay
from .memory import MemoryExchange, MemoryTransport, UnexpectedRequest, name
from .scrub import Scrubber

if TYPE_CHECKING:
    from ..har import Exchange
    from ..messages import Request
    from ..response import HTTPResponse
    from ..transport import RequestContext, Transport

_Key: TypeAlias = tuple[object, ...]


class RecordReplay(MemoryTransport):
    """Answers requests from a HAR file, and records in it what another transport answers.

    - `path`: of the file (HAR 1.2). It is written, whole, each time a response has been read to its end.
    - `inner`: who is asked for what is to be recorded; left out: a `ConnectionPool` of its own. It is closed with this.
    - `mode`: "replay": never over the network, and a request that is not in the file is `UnexpectedRequest`;
      "record": everything over the network, and what the file held is dropped; "auto": from the file what is there, the
      rest over the network.
    - `match`: what of a request has to be the same: "method", "url", "body", and "headers.NAME" for a header field.
      Requests that are the same get the recorded responses in order, the last one again and again.
    - `scrub`: more names (of fields, parameters, members) whose values must not be written.

    Credentials are replaced by "REDACTED" before anything is written: Authorization and its like, cookies (their names
    stay), userinfo, and what in queries, forms and JSON goes by a name like password, token or api_key. Requests are
    scrubbed before they are compared, too, so another secret finds the same response. Bodies of other kinds are written
    as they are: mind what is in them.

    >>> from aiohttpconn import Client
    >>> async with RecordReplay("service.har") as transport, Client(transport=transport) as client:
    ...     first = await client.get("http://localhost:8000/")
    >>> async with RecordReplay("service.har", mode="replay") as transport, Client(transport=transport) as client:
    ...     (await client.get("http://localhost:8000/")).content == first.content
    True
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        inner: Transport | None = None,
        mode: str = "auto",
        *,
        match: Iterable[str] = ("method", "url", "body"),
        scrub: Iterable[str] = (),
    ) -> None:
        super().__init__()
        if mode not in ("auto", "record", "replay"):
            raise ValueError(f'mode must be "auto", "record" or "replay", not {mode!r}')
        self.path = Path(path)
        self.mode = mode
        self.match = tuple(match)
        if wrong := [part for part in self.match if part not in _PARTS and not part.startswith("headers.")]:
            raise ValueError(f'match takes "method", "url", "body" and "headers.NAME", not {wrong[0]!r}')
        self._scrubber = Scrubber(scrub)
        self._inner = inner
        self._recorded = [] if mode == "record" else _exchanges_in(self.path)
        self._known: dict[_Key, list[Exchange]] = {}
        for each in self._recorded:
            # Scrubbed once more: others may have written the file, or other rules applied when it was.
            asked = self._asked(each.method, each.url, each.request_headers, each.request_body or b"")
            self._known.setdefault(self._key_of(asked), []).append(each)
        self._served: dict[_Key, int] = {}

    @property
    def recorded(self) -> tuple[Exchange, ...]:
        """The exchanges that the file holds."""
        return tuple(self._recorded)

    async def send(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send a request (see `Transport`). Raises `UnexpectedRequest` where it is not in the file, and must be."""
        exchange = self.begin(request, context)
        try:
            async with exchange.head_limit():
                body = b"".join([bytes(piece) async for piece in exchange.request_pieces()])
            url = str(request.url.without_fragment())
            asked = self._asked(request.method, url, request.headers.items(), body)
            key = self._key_of(asked)
            known = self._known.get(key)
            if known is not None and self.mode != "record":
                number = self._served.get(key, 0)
                self._served[key] = number + 1
                return _replayed(exchange, known[min(number, len(known) - 1)])
            if self.mode == "replay":
                raise self._unexpected(asked)
            if self._inner is None:
                self._inner = ConnectionPool()
            again = request if request.body is None else request.replace(body=body)
            began = perf_counter()
            response = await self._inner.send(again, context)
        except BaseException as error:
            exchange.broken(exchange.stream)
            name(error, exchange)
            raise
        return relay(exchange, response, self._recording(response, key, asked, began))

    async def close(self) -> None:
        """Close this and the transport inside. Idempotent."""
        await super().close()
        if self._inner is not None:
            await self._inner.close()

    # --- recording ---

    async def _recording(
        self, response: HTTPResponse, key: _Key, recorded: Exchange, began: float
    ) -> AsyncIterator[bytes]:
        """The pieces of a response's body, recorded once they are all there."""
        kept = []
        async for piece in response:
            kept.append(piece)
            yield piece
        head = response.head
        scrubber = self._scrubber
        fields = scrubber.fields(head.headers.items())
        body = b"".join(kept)
        try:
            # A secret in a packed body could not be seen; a HAR has it unpacked anyway.
            body = decode_all(head.headers.getall("Content-Encoding", []), body)
            fields = [pair for pair in fields if pair[0].lower() != "content-encoding"]
        except HTTPException:
            pass  # the reader has been told
        body = scrubber.body(body, head.headers.get("Content-Type", ""))
        recorded.http_version = f"HTTP/1.{head.version - 10}"
        recorded.status, recorded.reason = head.status, head.reason
        recorded.headers = fields
        recorded.body, recorded.encoded_size = body, len(body)
        recorded.trailers = scrubber.fields(response.trailers.items())
        recorded.timings = {"wait": perf_counter() - began}
        self._recorded.append(recorded)
        self._known.setdefault(key, []).append(recorded)
        if self.mode == "auto":
            self._served[key] = len(self._known[key])
        self._save()

    def _save(self) -> None:
        from ..har import entry_of, save  # noqa: PLC0415 - every run of pytest loads this module, and few of them a file

        self.path.parent.mkdir(parents=True, exist_ok=True)
        # In the order in which they are replayed, wherever a test has set the clock.
        save(self.path, [entry_of(each, keep_secrets=True) for each in self._recorded], sort=False)

    def _asked(self, method: str, url: str, fields: Iterable[tuple[str, str]], body: bytes) -> Exchange:
        """A request with its secrets gone."""
        from ..har import Exchange  # noqa: PLC0415 - as above

        scrubber = self._scrubber
        headers = scrubber.fields(fields)
        media_type = next((value for name, value in headers if name.lower() == "content-type"), "")
        return Exchange(
            method=method,
            url=scrubber.url(url),
            request_headers=headers,
            request_body=scrubber.body(body, media_type) or None,
        )

    # --- matching ---

    def _key_of(self, asked: Exchange) -> _Key:
        parts: list[object] = []
        for part in self.match:
            if part.startswith("headers."):
                wanted = part.removeprefix("headers.").lower()
                parts.append(tuple([value for field, value in asked.request_headers if field.lower() == wanted]))
            else:
                parts.append(getattr(asked, _PARTS[part]))
        return tuple(parts)

    def _unexpected(self, asked: Exchange) -> UnexpectedRequest:
        known = [f"{each.method} {self._scrubber.url(each.url)}" for each in self._recorded]
        same = f"{asked.method} {asked.url}"
        if same in known:
            why = f"what was recorded differs in another part of {', '.join(self.match)}"
        elif known:
            shown = ", ".join(list(dict.fromkeys(known))[:10])
            why = f"recorded are: {shown}{', …' if len(set(known)) > 10 else ''}"
        else:
            why = "nothing is recorded there"
        return UnexpectedRequest(f'{same} is not in {self.path} (mode="replay"): {why}')

    def __repr__(self) -> str:
        return f"<RecordReplay {self.mode} {self.path} {len(self._recorded)} recorded>"


_PARTS = {"method": "method", "url": "url", "body": "request_body"}


def _exchanges_in(path: Path) -> list[Exchange]:
    """The exchanges in a file, none if there is no such file. Raises ValueError for a file that is no HAR."""
    from ..har import exchange_of, load  # noqa: PLC0415 - as above

    try:
        return [exchange_of(entry) for entry in load(path)]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise ValueError(f"{path} is not an HTTP Archive (HAR 1.2): {error}") from error


def _replayed(exchange: MemoryExchange, recorded: Exchange) -> HTTPResponse:
    """The response that was recorded, framed by the body that is there now (scrubbing may have changed its length)."""
    body = recorded.body or b""
    version = 10 if recorded.http_version.upper() == "HTTP/1.0" else 11
    fields = CIMultiDict(recorded.headers)
    bodiless = exchange.request.method == "HEAD" or recorded.status in (204, 304)
    if "Content-Length" in fields and not bodiless:
        fields["Content-Length"] = str(len(body))
    head = ResponseHead(version, recorded.status, recorded.reason, Headers(fields))
    trailers: Headers = Headers(CIMultiDict(recorded.trailers)) if recorded.trailers else EMPTY_HEADERS
    return exchange.respond(head, body, trailers)
