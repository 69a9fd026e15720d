"""`Slot`: one of so many requests at a time, which a request has not while it waits for something else: `Wait`."""

from __future__ import annotations

from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Protocol, TypeVar

from .admission import running_admission

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from .rule import Rule

T = TypeVar("T")


class Slot(Protocol):
    """What somebody who sends many requests, so many at a time, counts one of them by. Where the rules hold it back, it
    gives its slot to another, and goes when they agree and there is a slot for it again, at the same moment. What the
    rules ask of servers for themselves, because of one of his, is counted, and not held back."""

    @property
    def rule(self) -> Rule:
        """Says whether there is a slot to be had (never at a moment to come); its `began` takes one, its `over` gives
        one back."""
        ...

    @property
    def is_held(self) -> bool:
        """Whether the request has its slot."""
        ...

    @property
    def is_given_back(self) -> bool:
        """Whether the request waits without it. (It neither has it nor waits once it is over.)"""
        ...

    def give_back(self, for_host: bool) -> bool:
        """The request is about to wait; False if it has no slot. `waited` follows. `for_host`: all others of its host
        would have to wait as well."""
        ...

    def waited(self, taken: bool) -> None:
        """It waits no more, and is counted again. `taken`: it has been; else it goes on though there may be no slot, to
        its end, or to be tried again."""
        ...


class Wait:
    """The time for which a request is without its slot. Only who has begun it ends it: tasks that the request started
    know the slot as well."""

    __slots__ = ("_for_host", "_slot", "began")

    def __init__(self, slot: Slot, for_host: bool) -> None:
        self._slot = slot
        self._for_host = for_host
        self.began = False
        """Whether the slot was given back."""

    def begin(self) -> None:
        """Give the slot back, if there is one."""
        self.began = self._slot.give_back(self._for_host)

    def end(self, taken: bool) -> None:
        """See `Slot.waited`. Nothing if it has not begun."""
        if self.began:
            self._slot.waited(taken)


current_slot: ContextVar[Slot | None] = ContextVar("current_slot", default=None)
"""The slot of the request that the running task sends."""


def slotless() -> Context:
    """The running task's context for a task that sends for several requests, and so is none of their slots'."""
    context = copy_context()
    context.run(current_slot.set, None)
    return context


async def without_slot(waiting: Awaitable[T]) -> T:
    """Wait for something that is not up to the request, or its host: what it comes to, once there is a slot again."""
    slot = current_slot.get()
    if slot is None:
        return await waiting
    wait = Wait(slot, for_host=False)
    wait.begin()
    taken = False
    try:
        outcome = await waiting
        if wait.began:
            await running_admission().enter((slot.rule,), (None,))
            taken = True
        return outcome
    finally:
        wait.end(taken)
