"""`FaultTransport`: what may go wrong does, by plan or by (seeded) chance, between a client and its transport."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from ..errors import ConnectError, HTTPException, ReadError
from .ending import Truncated
from .memory import MemoryExchange, MemoryTransport, name
from .mock import MockResponse

if TYPE_CHECKING:
    from ..headers import HeadersInput
    from ..messages import Request
    from ..response import HTTPResponse
    from ..transport import RequestContext, Transport


class Fault:
    """Something that goes wrong. Base of the faults, and to be subclassed for one's own.

    Without further words it befalls every request. `every`: each so-manieth of those that `when` is true for, the first
    one after `every - 1` others; `when`: a function from the request to whether; `probability`: from 0 to 1; `times`:
    so often, and then no more.
    """

    def __init__(
        self,
        *,
        every: int = 1,
        when: Callable[[Request], bool] | None = None,
        probability: float = 1.0,
        times: int | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1: {every!r}")
        if times is not None and times < 0:
            raise ValueError(f"times must not be negative: {times!r}")
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be from 0 to 1: {probability!r}")
        self.every = every
        self.when = when
        self.probability = probability
        self.times = times
        self.seen = 0
        """How many requests it could have befallen."""
        self.befallen = 0
        """How many it did."""

    def befalls(self, request: Request, chance: random.Random) -> bool:
        """Whether it befalls this request."""
        if self.when is not None and not self.when(request):
            return False
        self.seen += 1
        if self.seen % self.every or (self.times is not None and self.befallen >= self.times):
            return False
        if self.probability < 1 and chance.random() >= self.probability:
            return False
        self.befallen += 1
        return True

    async def before(self, request: Request, chance: random.Random) -> MockResponse | None:
        """What happens before the request is sent: it may wait, raise, or answer in place of the transport."""
        return None

    def body(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes] | None:
        """What becomes of the body's pieces; None if nothing does. It may wait, raise, or end early (`Truncated`)."""
        return None


class Latency(Fault):
    """The response's head takes `seconds` longer, up to `jitter` seconds of them by chance."""

    def __init__(self, seconds: float, *, jitter: float = 0.0, **choice: Any) -> None:
        super().__init__(**choice)
        if seconds < 0 or jitter < 0:
            raise ValueError(f"seconds and jitter must not be negative: {seconds!r}, {jitter!r}")
        self.seconds = seconds
        self.jitter = jitter

    async def before(self, request: Request, chance: random.Random) -> MockResponse | None:
        await asyncio.sleep(self.seconds + (chance.uniform(0, self.jitter) if self.jitter else 0))
        return None


class Failure(Fault):
    """The request is not sent, and raises: by default `ConnectError`, as if nobody listened."""

    def __init__(self, error: Callable[[], BaseException] | None = None, **choice: Any) -> None:
        super().__init__(**choice)
        self.error = error

    async def before(self, request: Request, chance: random.Random) -> MockResponse | None:
        if self.error is None:
            error = ConnectError(f"no connection to {request.url.origin}: refused (a fault that was asked for)")
            error.__cause__ = ConnectionRefusedError("refused")
            raise error
        raise self.error()


class Status(Fault):
    """The request is not sent, and is answered with this status."""

    def __init__(
        self, status: int = 503, headers: HeadersInput | None = None, content: bytes = b"", **choice: Any
    ) -> None:
        super().__init__(**choice)
        self.response = MockResponse(status, headers, content=content)

    async def before(self, request: Request, chance: random.Random) -> MockResponse | None:
        return self.response


class Reset(Fault):
    """The connection is reset after `after` bytes of the body: `ReadError`. A body that is no longer is left alone."""

    def __init__(self, after: int = 0, **choice: Any) -> None:
        super().__init__(**choice)
        if after < 0:
            raise ValueError(f"after must not be negative: {after!r}")
        self.after = after

    async def body(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left = self.after
        async for piece in pieces:
            if left >= len(piece):
                left -= len(piece)
                yield piece
                continue
            if left:
                yield piece[:left]
            raise self._error()

    def _error(self) -> HTTPException:
        error = ReadError(f"the connection broke after {self.after} bytes of the body (a fault that was asked for)")
        error.__cause__ = ConnectionResetError("reset")
        return error


class Truncate(Reset):
    """The peer closes after `after` bytes of the body: `IncompleteRead`, if that is not where the body ends."""

    def _error(self) -> Any:
        return Truncated()


class Drip(Fault):
    """The body comes at `bytes_per_second`, in pieces of `size` bytes."""

    def __init__(self, bytes_per_second: float, *, size: int = 1, **choice: Any) -> None:
        super().__init__(**choice)
        if bytes_per_second <= 0 or size < 1:
            raise ValueError(f"bytes_per_second and size must be above zero: {bytes_per_second!r}, {size!r}")
        self.pause = size / bytes_per_second
        self.size = size

    async def body(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            for at in range(0, len(piece), self.size):
                await asyncio.sleep(self.pause)
                yield piece[at : at + self.size]


class FaultTransport(MemoryTransport):
    """Sends requests through another transport, and has `faults` befall them, in the order given.

    `seed` makes chance the same each time. `close()` closes the transport inside, too.

    >>> from aiohttpconn import Client
    >>> from aiohttpconn.testing import FaultTransport, MockResponse, MockTransport, faults
    >>> inside = MockTransport(lambda request: MockResponse(text="hello"))
    >>> transport = FaultTransport(inside, faults.Status(503, every=2), faults.Latency(0.01))
    >>> async with Client(transport=transport) as client:
    ...     [(await client.get("http://service.example/")).status for _ in range(4)]
    [200, 503, 200, 503]
    """

    def __init__(self, inner: Transport, *faults: Fault, seed: int | None = None) -> None:
        super().__init__()
        if isinstance(inner, type) or not callable(getattr(inner, "send", None)):
            raise TypeError(f"FaultTransport goes before a transport, such as MockTransport(…), not {inner!r}")
        wrong: list[object] = [fault for fault in faults if not isinstance(fault, Fault)]
        if wrong:
            hint = f"; make one of it: {wrong[0].__name__}(…)" if isinstance(wrong[0], type) else ""
            raise TypeError(f"a fault is an instance of faults.Fault, not {wrong[0]!r}{hint}")
        self.inner = inner
        self.faults = faults
        self._chance = random.Random(seed)

    async def send(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send a request (see `Transport`)."""
        exchange = self.begin(request, context)
        try:
            befallen = [fault for fault in self.faults if fault.befalls(request, self._chance)]
            async with exchange.head_limit():
                answer = await self._before(request, befallen)
            if answer is not None:
                await exchange.connected()
                await exchange.interim(answer.interim)
                return exchange.respond(answer.head, answer.body(), answer.trailers)
            response = await self.inner.send(request, context)
            return self._after(exchange, response, befallen)
        except BaseException as error:
            exchange.broken(exchange.stream)
            name(error, exchange)
            raise

    async def _before(self, request: Request, befallen: list[Fault]) -> MockResponse | None:
        for fault in befallen:
            answer = await fault.before(request, self._chance)
            if answer is not None:
                return answer
        return None

    def _after(self, exchange: MemoryExchange, response: HTTPResponse, befallen: list[Fault]) -> HTTPResponse:
        """The response with what befalls its body."""
        layers: list[AsyncIterator[bytes]] = [aiter(response)]
        try:
            for fault in befallen:
                if (pieces := fault.body(layers[-1])) is not None:
                    layers.append(pieces)
        except BaseException:
            response.close_now()
            raise
        if len(layers) == 1:
            exchange.finished(exchange.stream, True)
            return response
        return relay(exchange, response, _outermost(layers))

    async def close(self) -> None:
        """Close this and the transport inside. Idempotent."""
        await super().close()
        await self.inner.close()


async def _outermost(layers: list[AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
    """The pieces of the last one; all are closed with it, one after the other."""
    try:
        async for piece in layers[-1]:
            yield piece
    finally:
        for layer in reversed(layers[1:]):
            await layer.aclose()  # type: ignore[attr-defined]  # a generator


def relay(exchange: MemoryExchange, inner: HTTPResponse, pieces: AsyncIterator[bytes]) -> HTTPResponse:
    """A response like `inner`, whose body is these pieces made of its own; `inner` is closed with it."""

    async def until_closed() -> AsyncIterator[bytes]:
        try:
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]  # a generator
            inner.close_now()

    try:
        response = exchange.respond(inner.head, until_closed(), lambda: inner.trailers)
    except BaseException:  # such as a 101, whose streams cannot be handed on
        inner.close_now()
        exchange.broken(exchange.stream)
        raise
    response.opening, response.queued, response.sent_at = inner.opening, inner.queued, inner.sent_at
    response.proxy, response.uds = inner.proxy, inner.uds
    return response
