"""The right to use one connection."""

from __future__ import annotations

import enum
import math
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..connection import AsyncHTTPConnection
    from .hosts import Host
    from .ledger import Ledger


class State(enum.Enum):
    """Who has the connection: somebody, nobody, or it is no more."""

    LEASED = "leased"
    IDLE = "idle"
    CLOSED = "closed"


LEASED, IDLE, CLOSED = State


class Slot:
    """The right to use one connection, and the ledger's record of it. Whoever holds it gives it back, once."""

    __slots__ = (
        "__weakref__",
        "connection",
        "expires",
        "host",
        "idle_since",
        "idle_until",
        "ledger",
        "left",
        "since",
        "state",
        "used",
        "what",
        "why",
    )

    def __init__(self, ledger: Ledger, host: Host, connection: AsyncHTTPConnection) -> None:
        self.ledger = weakref.ref(ledger)  # a pool that was dropped unclosed can be collected, and says so
        self.host = host
        self.connection = connection
        self.state = LEASED
        self.used = False
        """Whether the connection has served before: then the peer may be about to close it."""
        self.idle_since = 0.0
        self.idle_until = 0.0
        self.expires = math.inf
        """When the connection is too old to be used again."""
        self.left = 0
        """How many more requests it may serve, where the pool limits them."""
        self.since = 0.0
        self.what: object = None
        """Who holds it: a request, or a text."""
        self.why = ""
        """Why its connection had to be opened."""
        connection.on_change = self.changed

    def give_back(self) -> None:
        """The connection goes on to the next who waits, or idle, or is closed: as its state allows."""
        ledger = self.ledger()
        if ledger is not None and self.state is LEASED:
            ledger.take_back(self)

    def changed(self) -> None:
        """The connection was lost while it was idle, or said something that nobody had asked for."""
        ledger = self.ledger()
        if ledger is not None and self.state is IDLE:
            ledger.forget_idle(self)
