"""`Slots`: a map's requests under way, as one rule more for those of them that wait for something else."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING

from ..politeness.admission import running_admission
from ..politeness.rule import Rule
from ..politeness.slot import current_slot

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ..client.response import Response
    from .result import MapResult
    from .workers import Workers


class Slots(Rule):
    """Lets one of a map's requests go as soon as one more may be under way."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def ready_at(self, key: Hashable, now: float) -> float:
        """See `Rule`."""
        return now if self._workers.may_send else math.inf

    def began(self, key: Hashable, now: float) -> None:
        """See `Rule`."""
        self._workers.count_in()

    def over(self, key: Hashable, now: float) -> None:
        """See `Rule`."""
        self._workers.count_out()
        self._workers.look_again()

    def offer(self) -> None:
        """Let those go first that have waited for something else, and then for a slot."""
        running_admission().changed((self,), (None,))

    async def send(self, sending: Awaitable[Response], job: MapResult) -> Response:
        """What is being sent for a job, which has a slot before and after."""
        slot = _Slot(self, self._workers, job)
        current_slot.set(slot)
        try:
            return await sending
        finally:
            current_slot.set(None)
            slot.end()


class _Slot:
    """That of one request. Tasks that were started by it (a hook's, a rule's) know it, too, and may outlive it."""

    __slots__ = ("_holds_host", "_job", "_over", "_workers", "is_given_back", "is_held", "rule")

    def __init__(self, rule: Slots, workers: Workers, job: MapResult) -> None:
        self.rule = rule
        self._workers = workers
        self._job: MapResult | None = job
        self.is_held = True
        self.is_given_back = False
        self._holds_host = False
        self._over = False

    def give_back(self, for_host: bool) -> bool:
        """See `Slot`."""
        if not self.is_held:
            return False
        self.is_held, self.is_given_back, self._holds_host = False, True, for_host
        self._workers.count_out()
        self._workers.begin_wait(self._job if for_host else None)
        return True

    def waited(self, taken: bool) -> None:
        """See `Slot`."""
        if not self._over:
            if not taken:
                self._workers.count_in()
            self.is_held = True
            self._end_wait()
        elif taken:
            self._workers.count_out()
            self._workers.pump()

    def end(self) -> None:
        """The request is over, though it may have had to wait to its end."""
        self._over = True
        if not self.is_held:
            self._workers.count_in()
        self.is_held = False
        self._end_wait()
        # What it came to goes when the caller lets go of it: contexts that know the slot live as long as connections.
        self._job = None

    def _end_wait(self) -> None:
        if self.is_given_back:
            self.is_given_back = False
            self._workers.end_wait(self._job if self._holds_host else None)
