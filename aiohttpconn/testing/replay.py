"""`RecordReplay`: what a server answered once, from a file ever after."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from multidict import CIMultiDict

from ..errors import DecodingError, IncompleteRead
from ..headers import EMPTY_HEADERS, Headers
from ..messages import ResponseHead
from ..pool import ConnectionPool
from ..wire.codings import decoder_for
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

    - `path`: of the file (HAR 1.2). It is written, whole and in a thread, by `close()`, and before that as responses
      come, at most once a second. Files of browsers and of `HarRecorder` will do as well.
    - `inner`: who is asked for what is to be recorded; left out: a `ConnectionPool` of its own. It is closed with this.
    - `mode`: "replay": never over the network, and a request that is not in the file is `UnexpectedRequest`;
      "record": everything over the network, and what the file held is dropped; "auto": from the file what is there, the
      rest over the network.
    - `match`: what of a request has to be the same: "method", "url", "body", and "headers.NAME" for a header field.
      Requests that are the same get the recorded responses in order, the last one again and again.
    - `scrub`: more names (of fields, parameters, members) whose values must not be written.

    Of a response that nobody read to its end, what had come by then is recorded: replayed, it is `IncompleteRead` for
    who reads further. One that broke off is not recorded, and a failure in the file is no response.

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
        self._failures: dict[_Key, str] = {}
        for each in self._recorded:
            # Scrubbed once more: others may have written the file, or other rules applied when it was.
            asked = self._asked(each.method, each.url, each.request_headers, each.request_body or b"")
            if each.status:
                self._known.setdefault(self._key_of(asked), []).append(each)
            else:
                self._failures[self._key_of(asked)] = each.error or each.comment or "no response"
        self._served: dict[_Key, int] = {}
        self._recording: set[MemoryExchange] = set()
        self._saver: asyncio.Task[None] | None = None
        self._unsaved = False
        self._writing = Lock()

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
                await exchange.connected()
                return _replayed(exchange, known[min(number, len(known) - 1)])
            if self.mode == "replay":
                raise self._unexpected(asked, self._failures.get(key))
            if self._inner is None:
                self._inner = ConnectionPool()
            again = request if request.body is None else request.replace(body=body)
            began = perf_counter()
            response = await self._inner.send(again, context)
        except BaseException as error:
            exchange.broken(exchange.stream)
            name(error, exchange)
            raise
        recording = _Recording(response, key, asked, began)
        self._recording.add(exchange)
        answer = relay(exchange, response, self._pieces(recording, exchange))
        recording.answer = weakref.ref(answer)
        return answer

    async def close(self) -> None:
        """Close this and the transport inside, and write what is not in the file yet. Idempotent."""
        try:
            await super().close()
            for exchange in list(self._recording):  # closed just now, and not yet put down
                await exchange.wait()
            if self._inner is not None:
                await self._inner.close()
        finally:
            await self._save_at_last()

    # --- recording ---

    async def _pieces(self, recording: _Recording, exchange: MemoryExchange) -> AsyncIterator[bytes]:
        """The pieces of a response's body; the response is recorded when they are all there, or nobody wants more."""
        kept = []
        try:
            async for piece in recording.response:
                kept.append(piece)
                yield piece
        except (GeneratorExit, asyncio.CancelledError):
            if recording.was_let_go():
                self._record(recording, b"".join(kept))
            raise
        else:
            self._record(recording, b"".join(kept))
        finally:
            self._recording.discard(exchange)

    def _record(self, recording: _Recording, body: bytes) -> None:
        response, recorded = recording.response, recording.asked
        head = response.head
        scrubber = self._scrubber
        fields = scrubber.fields(head.headers.items())
        recorded.partial = not response.complete
        try:
            # A secret in a packed body could not be seen; a HAR has it unpacked anyway.
            decoder = decoder_for(head.headers.getall("Content-Encoding", []))
            if decoder is not None:
                body = b"".join(decoder.decode(body)) + (b"" if recorded.partial else decoder.flush())
            recorded.coded = decoder is None and "Content-Encoding" in head.headers
        except DecodingError:
            recorded.coded = True  # the reader has been told
        if not recorded.coded:
            fields = _without_coding(fields, recorded.partial)
        if recorded.partial:
            recorded.comment = f"the first {len(body)} bytes: nobody read any further"
        body = scrubber.body(body, head.headers.get("Content-Type", ""))
        recorded.http_version = f"HTTP/1.{head.version - 10}"
        recorded.status, recorded.reason = head.status, head.reason
        recorded.headers = fields
        recorded.body, recorded.encoded_size = body, len(body)
        recorded.trailers = scrubber.fields(response.trailers.items())
        recorded.timings = {"wait": perf_counter() - recording.began}
        key = recording.key
        self._recorded.append(recorded)
        self._known.setdefault(key, []).append(recorded)
        if self.mode == "auto":
            self._served[key] = len(self._known[key])
        self._unsaved = True
        if self._saver is None and not self.closed:
            self._saver = asyncio.get_running_loop().create_task(self._save_now_and_then())

    async def _save_now_and_then(self) -> None:
        """Write the file while there is more to write: the first time at once, then each second, or less often where
        it is so long that this would be a tenth of the time."""
        try:
            while self._unsaved:
                began = perf_counter()
                await asyncio.to_thread(self._save)
                await asyncio.sleep(max(1.0, 10 * (perf_counter() - began)))
        except Exception:  # the file cannot be written: close() tries again, and has somebody to tell
            pass
        finally:
            self._saver = None

    async def _save_at_last(self) -> None:
        try:
            saver = self._saver
            if saver is not None:
                saver.cancel()
                await asyncio.wait((saver,))
            if saver is not None or self._unsaved:
                await asyncio.to_thread(self._save)  # after a thread that is still at it
        except asyncio.CancelledError:
            self._save()  # a thread that has begun goes on; then this waits for it and finds nothing to do
            raise

    def _save(self) -> None:
        """Write the file, in whatever thread; what is recorded meanwhile is left for the next time."""
        from ..har import entry_of, save  # noqa: PLC0415 - every run of pytest loads this module, and few of them a file

        with self._writing:
            if not self._unsaved:
                return
            self._unsaved = False
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # In the order in which they are replayed, wherever a test has set the clock.
                save(self.path, [entry_of(each, keep_secrets=True) for each in list(self._recorded)], sort=False)
            except BaseException:
                self._unsaved = True
                raise

    def _asked(self, method: str, url: str, fields: Iterable[tuple[str, str]], body: bytes) -> Exchange:
        """A request with its secrets gone."""
        from ..har import Exchange  # noqa: PLC0415 - as above

        scrubber = self._scrubber
        headers, body = scrubber.settled(scrubber.fields(fields), body)
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

    def _unexpected(self, asked: Exchange, failure: str | None) -> UnexpectedRequest:
        known = [f"{each.method} {self._scrubber.url(each.url)}" for each in self._recorded]
        same = f"{asked.method} {asked.url}"
        if failure is not None:
            why = f"what was recorded is no response but a failure: {failure}"
        elif same in known:
            why = f"what was recorded differs in another part of {', '.join(self.match)}"
        elif known:
            shown = ", ".join(list(dict.fromkeys(known))[:10])
            why = f"recorded are: {shown}{', …' if len(set(known)) > 10 else ''}"
        else:
            why = "nothing is recorded there"
        return UnexpectedRequest(f'{same} is not in {self.path} (mode="replay"): {why}')

    def __repr__(self) -> str:
        return f"<RecordReplay {self.mode} {self.path} {len(self._recorded)} recorded>"


class _Recording:
    """A response that is being read, to be recorded."""

    def __init__(self, response: HTTPResponse, key: _Key, asked: Exchange, began: float) -> None:
        self.response = response
        self.key = key
        self.asked = asked
        self.began = began
        self.answer: Callable[[], HTTPResponse | None] = lambda: None
        """Gives what the reader has in hand, which must be free to be dropped."""

    def was_let_go(self) -> bool:
        """Whether the reader wanted no more of the response, rather than waited for more in vain."""
        answer = self.answer()
        return answer is None or (answer.closed and answer._failure is None)


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
    pairs = recorded.headers if recorded.coded else _without_coding(recorded.headers, recorded.partial)
    fields = CIMultiDict(pairs)
    bodiless = exchange.request.method == "HEAD" or recorded.status in (204, 304)
    if "Content-Length" in fields and not bodiless and not recorded.partial:
        fields["Content-Length"] = str(len(body))
    head = ResponseHead(version, recorded.status, recorded.reason, Headers(fields))
    if recorded.partial and not bodiless:
        return exchange.respond(head, _cut_off(body, recorded))
    trailers: Headers = Headers(CIMultiDict(recorded.trailers)) if recorded.trailers else EMPTY_HEADERS
    return exchange.respond(head, body, trailers)


def _without_coding(fields: list[tuple[str, str]], partial: bool) -> list[tuple[str, str]]:
    """The fields of a body that has been decoded. The length that is announced is that of the coded one: where the
    body is not whole, there is no other."""
    if not any(name.lower() == "content-encoding" for name, _ in fields):
        return fields
    dropped = ("content-encoding", "content-length") if partial else ("content-encoding",)
    return [pair for pair in fields if pair[0].lower() not in dropped]


async def _cut_off(body: bytes, recorded: Exchange) -> AsyncIterator[bytes]:
    if body:
        yield body
    why = recorded.error or recorded.comment or "the recording does not hold the body"
    raise IncompleteRead(b"", None, f"as it was recorded: {why}")
