"""A pool's own resolver, made when the first name is looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..net.lookups import CachingResolver
    from ..net.tcp import Address


class OwnResolver:
    """A `CachingResolver` from the first name on: it takes 1 ms to import."""

    __slots__ = ("_resolver",)

    def __init__(self) -> None:
        self._resolver: CachingResolver | None = None

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """See `Resolver`."""
        if self._resolver is None:
            from ..net.lookups import CachingResolver  # noqa: PLC0415

            self._resolver = CachingResolver()
        return await self._resolver.resolve(host, port)

    async def close(self) -> None:
        """Give up the look-ups that are under way."""
        if self._resolver is not None:
            await self._resolver.close()
