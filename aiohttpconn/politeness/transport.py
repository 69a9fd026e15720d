"""`PoliteTransport`: sends requests when its rules agree."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from ..config import Deadline
from ..errors import HTTPException
from ..transport import RequestContext
from ..waits import Waits
from .admission import running_admission
from .rule import Rule
from .slot import Wait, current_slot

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import Unset
    from ..messages import Request, ResponseHead
    from ..proxy import Proxy
    from ..response import HTTPResponse
    from ..transport import Transport
    from .admission import Admission, Keys, Rules

OWN_SECONDS = 60.0
"""In all, once its turn has come, for a request of a rule's own. No caller's limit holds: others may wait for it."""


class PoliteTransport:
    """Sends requests through another transport when its rules agree: what ``Client(politeness=…)`` is made of.

    - `inner`: the transport to send through. It is closed with this one.
    - `rules`: a `Rule`, or several. First they check the request, in the order given; then it stands in line.

    Who waits is served first come, first served, for each host by itself; the wait counts within the request's `total`
    limit and within no other: a plain number of seconds as `timeout`, which sets all but `total`, does not bound it.
    Rules may be shared by several transports of one event loop.
    """

    def __init__(self, inner: Transport, rules: Rule | Iterable[Rule]) -> None:
        self.inner = inner
        self.rules: tuple[Rule, ...] = _several(rules)
        wrong: list[object] = [rule for rule in self.rules if not isinstance(rule, Rule)]
        if wrong:
            hint = f"; make one of it: {wrong[0].__name__}(…)" if isinstance(wrong[0], type) else ""
            raise TypeError(f"politeness must be an instance of Rule, or several, not {wrong[0]!r}{hint}")
        self._loop: asyncio.AbstractEventLoop | None = None
        self.waits = Waits()
        """Who waits here; a client has its own in its place."""
        self._checks = [rule for rule in self.rules if type(rule).check is not Rule.check]
        self.holds_back = True
        """Requests may have to wait here for the rules."""
        self.uds: str | None = getattr(inner, "uds", None)
        """The Unix socket that everything is sent to."""
        room = getattr(inner, "has_room", None)
        if room is not None:
            self.has_room: Callable[[Request, Proxy | Unset | None], bool] = room

    async def send(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send a request (see `Transport`). Raises `RobotsDenied`; `TotalTimeout` and `PoolClosed` while it waits."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            for rule in self.rules:
                rule.bind_loop()
            self._loop = loop
        keys = tuple([rule.key(request) for rule in self.rules])
        admission = running_admission()
        now = loop.time()
        if not self._checks and admission.enter_now(self.rules, keys, now):
            return await self._exchange(request, self.rules, keys, context, admission, now)
        try:
            with self.waits.wait(request, context.deadline, "waiting for the turn of"):
                began = await self._wait(request, keys, context, admission)
        except HTTPException as error:
            error.request = error.request or request
            error.doing = error.doing or f"{request.method} {request.url.shown}"
            raise
        return await self._exchange(request, self.rules, keys, context, admission, began)

    async def _wait(self, request: Request, keys: Keys, context: RequestContext, admission: Admission) -> float:
        """Wait for the rules, without the slot that the request has among others of its sender's."""
        slot = current_slot.get()
        if slot is None:
            await self._check(request, context)
            return await admission.enter(self.rules, keys)
        wait = Wait(slot, for_host=True)
        taken = False
        try:
            if self._checks:
                # Called once the loop comes round: a check that does not suspend is through by then.
                suspended = asyncio.get_running_loop().call_soon(wait.begin)
                try:
                    await self._check(request, context)
                finally:
                    suspended.cancel()
            if not wait.began:
                now = asyncio.get_running_loop().time()
                if admission.enter_now(self.rules, keys, now):
                    return now
                wait.begin()
            if not wait.began:  # the slot is another task's to give
                return await admission.enter(self.rules, keys)
            began = await admission.enter((slot.rule, *self.rules), (None, *keys))
            taken = True
            return began
        finally:
            wait.end(taken)

    async def _check(self, request: Request, context: RequestContext) -> None:
        for rule in self._checks:
            await rule.check(request, lambda own: self._send_own(own, context))

    async def _send_own(self, request: Request, context: RequestContext) -> HTTPResponse:
        """Send what a rule asks for itself: in line like all others. It is counted among those of the sender whose
        request it is for, and waits for no slot of his: others, who have nothing to do with him, may wait for it."""
        rules = self.rules
        keys: Keys = tuple([rule.key(request) for rule in rules])
        admission = running_admission()
        began = await admission.enter(rules, keys)
        if (slot := current_slot.get()) is not None:
            slot.rule.began(None, began)
            rules, keys = (slot.rule, *rules), (None, *keys)
        own = RequestContext(Deadline(context.deadline.timeout.replace(total=OWN_SECONDS), began), context.proxy)
        return await self._exchange(request, rules, keys, own, admission, began)

    async def _exchange(
        self, request: Request, rules: Rules, keys: Keys, context: RequestContext, admission: Admission, began: float
    ) -> HTTPResponse:
        loop = asyncio.get_running_loop()
        try:
            response = await self.inner.send(request, context)
        except BaseException as error:
            if isinstance(error, Exception):
                now = loop.time()
                _answered(rules, keys, error, began, now - began, now, admission)
            admission.leave(rules, keys)
            raise
        now = loop.time()
        # Without what was spent on waiting for a connection: that says nothing about the server.
        waited = response.arrived_at - response.sent_at
        _answered(rules, keys, response.head, began, waited if waited > 0 else now - began, now, admission)
        if response.ended:
            admission.leave(rules, keys)
        else:
            response.when_over(lambda: admission.leave(rules, keys))
        return response

    async def close(self) -> None:
        """End who waits with `PoolClosed`, and close the transport inside. Idempotent."""
        self.waits.close()
        await self.inner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<PoliteTransport {', '.join([type(rule).__name__ for rule in self.rules])} before {self.inner!r}>"


def _answered(
    rules: Rules,
    keys: Keys,
    outcome: ResponseHead | Exception,
    began: float,
    seconds: float,
    now: float,
    admission: Admission,
) -> None:
    for rule, key in zip(rules, keys, strict=True):
        rule.answered(key, outcome, began, seconds, now)
    admission.changed(rules, keys)  # a rule may let more go than before


def _several(given: Any) -> tuple[Any, ...]:
    """What a caller gave, one or several, rules or not."""
    several = isinstance(given, Iterable) and not isinstance(given, (Rule, str, type))
    return tuple(given) if several else (given,)
