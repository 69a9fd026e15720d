"""`Slot`: one of so many requests at a time, which a request has not while it waits for the rules: `Wait`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .rule import Rule


class Slot(Protocol):
    """What somebody who sends many requests, so many at a time, counts one of them by. Where the rules hold it back, it
    gives its slot to another, and goes when they agree and there is a slot for it again, at the same moment. What the
    rules ask of servers for themselves, because of one of his, is counted, and not held back."""

    @property
    def rule(self) -> Rule:
        """Says whether there is a slot to be had (never at a moment to come); its `began` takes one, its `over` gives
        one back."""
        ...

    def give_back(self) -> bool:
        """The request is about to wait; False if it has no slot. `waited` follows."""
        ...

    def waited(self, taken: bool) -> None:
        """It waits no more, and is counted again. `taken`: it has been; else it goes on though there may be no slot, to
        its end, or to be tried again."""
        ...


class Wait:
    """The time for which a request is without its slot. Only who has begun it ends it: tasks that the request started
    know the slot as well."""

    __slots__ = ("_slot", "began")

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self.began = False
        """Whether the slot was given back."""

    def begin(self) -> None:
        """Give the slot back, if there is one."""
        self.began = self._slot.give_back()

    def end(self, taken: bool) -> None:
        """See `Slot.waited`. Nothing if it has not begun."""
        if self.began:
            self._slot.waited(taken)


current_slot: ContextVar[Slot | None] = ContextVar("current_slot", default=None)
"""The slot of the request that the running task sends."""
