"""`RecordReplay`: what a server answered once, from a file ever after."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from multidict import CIMultiDict, CIMultiDictProxy

from ..errors import HTTPException
from ..headers import EMPTY_HEADERS, Headers
from ..messages import ResponseHead
from ..pool import ConnectionPool
from ..wire.codings import decode_all
from .archive import Recorded, load, save
from .faults import relay
from .memory import MemoryExchange, MemoryTransport, UnexpectedRequest, name
from .scrub import Scrubber

if TYPE_CHECKING:
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
        self._recorded: list[Recorded] = [] if mode == "record" else load(self.path)
        self._known: dict[_Key, list[Recorded]] = {}
        for each in self._recorded:
            self._known.setdefault(self._key_of(each), []).append(each)
        self._served: dict[_Key, int] = {}

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        """The exchanges that the file holds."""
        return tuple(self._recorded)

    async def send(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send a request (see `Transport`). Raises `UnexpectedRequest` where it is not in the file, and must be."""
        exchange = self.begin(request, context)
        try:
            async with exchange.head_limit():
                body = b"".join([bytes(piece) async for piece in exchange.request_pieces()])
            asked = self._asked(request, body)
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
            began, started = perf_counter(), datetime.now(UTC).isoformat()
            response = await self._inner.send(again, context)
        except BaseException as error:
            exchange.broken(exchange.stream)
            name(error, exchange)
            raise
        begun = asked._replace(started=started)
        return relay(exchange, response, self._recording(response, key, begun, began))

    async def close(self) -> None:
        """Close this and the transport inside. Idempotent."""
        await super().close()
        if self._inner is not None:
            await self._inner.close()

    # --- recording ---

    async def _recording(
        self, response: HTTPResponse, key: _Key, asked: Recorded, began: float
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
        recorded = asked._replace(
            version=head.version,
            status=head.status,
            reason=head.reason,
            response_headers=fields,
            response_body=body,
            trailers=scrubber.fields(response.trailers.items()),
            seconds=perf_counter() - began,
        )
        self._recorded.append(recorded)
        self._known.setdefault(key, []).append(recorded)
        if self.mode == "auto":
            self._served[key] = len(self._known[key])
        save(self.path, self._recorded)

    def _asked(self, request: Request, body: bytes) -> Recorded:
        """A request with its secrets gone."""
        scrubber = self._scrubber
        return Recorded(
            request.method,
            scrubber.url(str(request.url.without_fragment())),
            scrubber.fields(request.headers.items()),
            scrubber.body(body, request.headers.get("Content-Type", "")),
            *(11, 0, "", (), b""),
        )

    # --- matching ---

    def _key_of(self, recorded: Recorded) -> _Key:
        parts: list[object] = []
        for part in self.match:
            if part.startswith("headers."):
                wanted = part.removeprefix("headers.").lower()
                parts.append(tuple([value for field, value in recorded.request_headers if field.lower() == wanted]))
            else:
                parts.append(getattr(recorded, _PARTS[part]))
        return tuple(parts)

    def _unexpected(self, asked: Recorded) -> UnexpectedRequest:
        known = [f"{each.method} {each.url}" for each in self._recorded]
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


def _replayed(exchange: MemoryExchange, recorded: Recorded) -> HTTPResponse:
    """The response that was recorded, framed by the body that is there now (scrubbing may have changed its length)."""
    fields = CIMultiDict(recorded.response_headers)
    bodiless = exchange.request.method == "HEAD" or recorded.status in (204, 304)
    if "Content-Length" in fields and not bodiless:
        fields["Content-Length"] = str(len(recorded.response_body))
    head = ResponseHead(recorded.version, recorded.status, recorded.reason, CIMultiDictProxy(fields))
    trailers: Headers = CIMultiDictProxy(CIMultiDict(recorded.trailers)) if recorded.trailers else EMPTY_HEADERS
    return exchange.respond(head, recorded.response_body, trailers)
