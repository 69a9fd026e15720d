"""What look-ups came to, remembered for a while and bounded in number."""

from __future__ import annotations

import socket
from collections import OrderedDict
from copy import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .tcp import Address

MIN_TTL = 1.0
"""Seconds that an answer is kept at least, whatever its own TTL says: a TTL of 0 must not cost a look-up a request."""
FAILURE_TTL = 1.0
"""Seconds that a failure which may pass is remembered: as long as BIND remembers SERVFAIL (RFC 9520 section 3.2)."""
NO_SUCH_NAME = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
)
"""`gaierror` numbers by which a resolver says that it knows that there is no address."""


class Answer:
    """What is known of one name until `until`: its addresses (`error` is then None), or why it has none."""

    __slots__ = ("_latest", "_template", "error", "stale_until", "until")

    def __init__(self, addresses: tuple[Address, ...], error: Exception | None, until: float, stale: float) -> None:
        self._template = addresses  # with port 0 where the port of whoever asks belongs
        self._latest = 0, addresses
        self.error = error
        self.until = until
        self.stale_until = stale

    @classmethod
    def failed(cls, error: Exception, until: float = 0.0) -> Answer:
        """Why there are no addresses; as it is, not to be remembered."""
        return cls((), error, until, 0.0)

    def at(self, port: int) -> tuple[Address, ...]:
        """The addresses with the port put in. Those of the last port are kept: most names are asked for one port."""
        latest, addresses = self._latest
        if port != latest:
            addresses = tuple([_with_port(address, 0, port) for address in self._template])
            self._latest = port, addresses
        return addresses


def _with_port(address: Address, old: int, new: int) -> Address:
    family, where = address
    if isinstance(where, tuple) and len(where) > 1 and where[1] == old:
        return family, (where[0], new, *where[2:])
    return address


class Answers:
    """The answers by name: at most `max_names`, the one looked up longest ago goes first.

    `ttl`, `negative_ttl`, `stale_if_error`: seconds, see `CachingResolver`. The time is passed in.
    """

    def __init__(self, ttl: float, negative_ttl: float, stale_if_error: float, max_names: int) -> None:
        self.ttl = ttl
        self.negative_ttl = negative_ttl
        self.stale_if_error = stale_if_error
        self.max_names = max_names
        self._by_name: OrderedDict[str, Answer] = OrderedDict()
        self.get = self._by_name.get
        self.clear = self._by_name.clear

    def __len__(self) -> int:
        return len(self._by_name)

    def found(self, name: str, port: int, addresses: Sequence[Address], ttl: float | None, now: float) -> Answer:
        """Remember addresses, which hold for `ttl` seconds if that is known; they were looked up for `port`."""
        kept = self.ttl if ttl is None else min(max(ttl, MIN_TTL), self.ttl)
        template = tuple([_with_port(address, port, 0) for address in addresses])
        return self._remember(name, Answer(template, None, now + kept, now + kept + self.stale_if_error))

    def failure(self, name: str, error: Exception, now: float) -> Answer:
        """What is to be said of a name that could not be looked up."""
        kept = self.negative_ttl
        if not (isinstance(error, socket.gaierror) and error.errno in NO_SUCH_NAME):
            if not isinstance(error, OSError):
                return Answer.failed(error)  # of an upstream's own making: it is not the name's affair
            if (stale := self.stale(name, now)) is not None:
                return stale
            kept = min(kept, FAILURE_TTL)
        try:
            # Without the traceback, which holds on to whole frames.
            answer = Answer.failed(copy(error))
        except Exception:
            return Answer.failed(error)
        answer.until = now + kept
        return self._remember(name, answer)

    def stale(self, name: str, now: float) -> Answer | None:
        """Addresses that are past their time and may serve all the same, now for `negative_ttl` more."""
        stale = self._by_name.get(name)
        if stale is None or stale.error is not None or stale.stale_until <= now:
            return None
        # RFC 8767 section 5: the failure recheck timer.
        stale.until = min(max(now + self.negative_ttl, stale.until), stale.stale_until)
        return stale

    def _remember(self, name: str, answer: Answer) -> Answer:
        by_name = self._by_name
        by_name[name] = answer
        by_name.move_to_end(name)
        if len(by_name) > self.max_names:
            by_name.popitem(last=False)
        return answer
