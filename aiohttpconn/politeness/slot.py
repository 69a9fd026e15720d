"""`Slot`: one of so many requests at a time, which a request has not while it waits for the rules."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .rule import Rule


class Slot(Protocol):
    """What somebody who sends many requests, so many at a time, counts one of them by. Where the rules hold it back, it
    gives its slot to another, and goes when they agree and there is a slot for it again, at the same moment."""

    @property
    def rule(self) -> Rule:
        """Says whether there is a slot to be had (never at a moment to come); its `began` takes one, its `over` gives
        one back."""
        ...

    def give_back(self) -> bool:
        """The request is about to wait; False if it has no slot. `waited` follows."""
        ...

    def waited(self, taken: bool) -> None:
        """It waits no more. `taken`: it has a slot again; else it was given up."""
        ...


current_slot: ContextVar[Slot | None] = ContextVar("current_slot", default=None)
"""The slot of the request that the running task sends."""
