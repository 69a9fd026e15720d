"""What is remembered of addresses: whose turn it is, and which of them failed lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from .tcp import Address, interleave

AVOIDED = 30.0
"""Seconds that an address is avoided after it failed; doubled each time that it fails again."""
AVOIDED_MOST = 300.0
"""Seconds that it is avoided at most. As long again without a failure, and the failures before are forgotten."""


class AddressBook:
    """In which order the addresses of a name are to be tried. Pure: the time is passed in, in seconds of any clock.

    - `limit`: how many names, and how many failed addresses, are remembered; the oldest go first.

    An address that failed, or kept others waiting, goes behind those that did not: it is still tried when they fail. So
    a book is wrong only about the order.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._turns: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._failures: OrderedDict[Address, tuple[int, float]] = OrderedDict()  # how often, and avoided until when

    def order(
        self, host: str, port: int, addresses: Sequence[Address], now: float, *, in_order: bool = False
    ) -> list[Address]:
        """The addresses in the order to be tried by the next connection to `host`:`port`.

        It begins with the family that the resolver put first, each time with another address of it; families take turns
        (RFC 8305 section 4); those to be avoided come last. Those that are `in_order` already take no turns.
        """
        if len(addresses) < 2:
            return list(addresses)
        good = list(addresses)
        avoided: list[Address] = []
        if self._failures:  # before turns are taken: whoever comes behind one to be avoided would get its turns, too
            good = []
            for address in addresses:
                (avoided if self.avoids(address, now) else good).append(address)
        if in_order:
            return good + avoided
        turn = self._next_turn((host, port))
        preferred = addresses[0][0]
        return interleave(_turned(turn, preferred, good)) + _turned(turn, preferred, avoided)

    def avoids(self, address: Address, now: float) -> bool:
        """Whether the address failed so lately that others go before it."""
        failure = self._failures.get(address)
        return failure is not None and now < failure[1]

    def failed(self, address: Address, now: float) -> None:
        """An attempt at the address failed, or others that began later were faster.

        Attempts that were under way together count as one: failing again while it is avoided changes nothing.
        """
        times, until = self._failures.get(address, (0, now))
        if now < until:
            return
        times = 1 if now > until + AVOIDED_MOST else times + 1
        self._failures[address] = times, now + min(AVOIDED * 2 ** (min(times, 10) - 1), AVOIDED_MOST)
        self._failures.move_to_end(address)
        if len(self._failures) > self._limit:
            self._failures.popitem(last=False)

    def worked(self, address: Address) -> None:
        """A connection was made: what was held against the address is forgotten."""
        if self._failures:
            self._failures.pop(address, None)

    def clear(self) -> None:
        """Forget all."""
        self._turns.clear()
        self._failures.clear()

    def __repr__(self) -> str:
        return f"<AddressBook {len(self._turns)} names, {len(self._failures)} addresses that failed>"

    def _next_turn(self, name: tuple[str, int]) -> int:
        turn = self._turns.get(name, -1) + 1
        self._turns[name] = turn
        self._turns.move_to_end(name)
        if len(self._turns) > self._limit:
            self._turns.popitem(last=False)
        return turn


def _turned(turn: int, preferred: int, addresses: list[Address]) -> list[Address]:
    """The addresses of the preferred family, then the others, each beginning with another one."""
    ours = [address for address in addresses if address[0] == preferred]
    others = [address for address in addresses if address[0] != preferred]
    return _from(turn, ours) + _from(turn, others)


def _from(turn: int, addresses: list[Address]) -> list[Address]:
    if len(addresses) < 2:
        return addresses
    start = turn % len(addresses)
    return addresses[start:] + addresses[:start]
