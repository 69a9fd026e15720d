"""Who waits for which host: lines, first come, first served, whose head goes when all rules agree.

There is one `Admission` for an event loop, because rules may be shared by several clients: the one that waits longest
goes first, whichever client's it is.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from .rule import Rule

Rules: TypeAlias = tuple["Rule", ...]
Keys: TypeAlias = tuple[Hashable, ...]


class _Line:
    """Those who wait under the same rules for the same keys, each with the number of its arrival."""

    __slots__ = ("keys", "place", "rules", "waiting")

    def __init__(self, rules: Rules, keys: Keys) -> None:
        self.rules = rules
        self.keys = keys
        self.waiting: OrderedDict[asyncio.Future[float], int] = OrderedDict()
        self.place = 0
        """Which of its entries among those that are due is the valid one."""

    @property
    def arrival(self) -> int:
        """The number of its head."""
        return next(iter(self.waiting.values()), 0)

    def drop_cancelled(self) -> None:
        while self.waiting and next(iter(self.waiting)).done():
            self.waiting.popitem(last=False)


_Entry: TypeAlias = tuple[float, int, int, _Line]


def _ready_at(rules: Rules, keys: Keys, now: float) -> tuple[float, int]:
    """When the next request may go, and the rule that says so."""
    at, by = now, 0
    for number, (rule, key) in enumerate(zip(rules, keys, strict=True)):
        ready = rule.ready_at(key, now)
        if ready > at:
            at, by = ready, number
    return at, by


def _begin(rules: Rules, keys: Keys, now: float) -> None:
    for rule, key in zip(rules, keys, strict=True):
        rule.began(key, now)


class Admission:
    """The lines of one event loop. Nothing here outlives those who wait."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Rules, Keys], _Line] = {}
        # Heaps: when, the head's arrival, the place. An entry whose place is not the line's any more is none.
        self._due: list[_Entry] = []
        self._held: dict[tuple[Rule, Hashable], list[_Entry]] = {}  # until something is over for that key
        self._numbers = count(1)
        self._timer: asyncio.Handle | None = None
        self._rings_at = math.inf

    def enter_now(self, rules: Rules, keys: Keys, now: float) -> bool:
        """Go without waiting, if nobody waits there and the rules agree; whether that was so. Then `leave` follows."""
        if (rules, keys) in self._lines or _ready_at(rules, keys, now)[0] > now:
            return False
        _begin(rules, keys, now)
        return True

    async def enter(self, rules: Rules, keys: Keys) -> float:
        """Wait for one's turn; the moment when it was. `leave` follows, once; not if this is cancelled."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self.enter_now(rules, keys, now):
            return now
        line = self._lines.get((rules, keys))
        if line is None:
            line = self._lines[rules, keys] = _Line(rules, keys)
        waiter: asyncio.Future[float] = loop.create_future()
        line.waiting[waiter] = next(self._numbers)
        if len(line.waiting) == 1:
            self._place(line, now)
        try:
            return await waiter
        except BaseException:
            if not waiter.cancelled():  # cancelled when it had just been its turn
                self.leave(rules, keys)
            elif line.waiting.pop(waiter, None) is not None and not line.waiting:
                self._drop(line)
            raise

    def leave(self, rules: Rules, keys: Keys) -> None:
        """The exchange is over."""
        now = asyncio.get_running_loop().time()
        for rule, key in zip(rules, keys, strict=True):
            rule.over(key, now)
        self.changed(rules, keys)

    def changed(self, rules: Rules, keys: Keys) -> None:
        """Look again at the lines that were held back until something would be over for these keys."""
        if not self._held:
            return
        now = asyncio.get_running_loop().time()
        for rule, key in zip(rules, keys, strict=True):
            held = self._held.get((rule, key))
            if held is None:
                continue
            for _ in range(len(held)):
                if not held or rule.ready_at(key, now) == math.inf:  # which nearly always is so after the first
                    break
                _, _, place, line = heappop(held)
                if line.place == place and self._serve(line, now) and line.waiting:
                    self._place(line, now)
            if not held:
                self._held.pop((rule, key), None)

    def _serve(self, line: _Line, now: float) -> bool:
        """Let the head of a line go, if it may; whether it did. Else, the line has its place, or is no more."""
        line.drop_cancelled()
        if not line.waiting:
            self._drop(line)
            return False
        if _ready_at(line.rules, line.keys, now)[0] > now:
            self._place(line, now)
            return False
        waiter, _ = line.waiting.popitem(last=False)
        _begin(line.rules, line.keys, now)
        waiter.set_result(now)
        line.drop_cancelled()
        if not line.waiting:
            self._drop(line)
        return True

    def _place(self, line: _Line, now: float) -> None:
        """Note when to look at a line again."""
        at, by = _ready_at(line.rules, line.keys, now)
        line.place = next(self._numbers)
        held = at == math.inf
        entries = self._held.setdefault((line.rules[by], line.keys[by]), []) if held else self._due
        if len(entries) > 2 * len(self._lines) + 64:  # lines that were cancelled leave their entries behind
            entries[:] = [entry for entry in entries if entry[3].place == entry[2]]
            heapify(entries)
        heappush(entries, (at, line.arrival, line.place, line))
        if not held:
            self._arm()

    def _drop(self, line: _Line) -> None:
        line.place = 0
        self._lines.pop((line.rules, line.keys), None)
        if not self._lines:
            self._held.clear()
            self._due.clear()
            self._arm()

    def _arm(self) -> None:
        """Have the timer ring when the first line is due."""
        timer = self._timer
        at = self._due[0][0] if self._due else None
        if timer is not None:
            if at is not None and self._rings_at <= at:
                return  # it will be seen then that it is too soon
            timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = asyncio.get_running_loop().call_at(at, self._ring)
            self._rings_at = at

    def _ring(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._due and self._due[0][0] <= now:
            _, _, place, line = heappop(self._due)
            if line.place == place and self._serve(line, now) and line.waiting:
                self._place(line, now)  # one at a time: another line's head may have come earlier than its next
        self._arm()


_admissions: WeakKeyDictionary[asyncio.AbstractEventLoop, Admission] = WeakKeyDictionary()


def running_admission() -> Admission:
    """That of the running event loop."""
    loop = asyncio.get_running_loop()
    admission = _admissions.get(loop)
    if admission is None:
        admission = _admissions[loop] = Admission()
    return admission
