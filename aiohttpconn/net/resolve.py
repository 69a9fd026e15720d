"""From a host's name to its addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Protocol

from ..errors import ResolveError
from .tcp import Address


def literal_address(host: str, port: int) -> Address | None:
    """The address that `host` spells out, None if it is a name. Saves a turn through the resolver."""
    if ":" in host:
        if "%" in host:
            return None  # a zone: the resolver knows its number
        family: int = socket.AF_INET6
        where: tuple[str, int] | tuple[str, int, int, int] = (host, port, 0, 0)
    elif host[-1:].isdigit():
        family, where = socket.AF_INET, (host, port)
    else:
        return None
    try:
        socket.inet_pton(family, host)
    except OSError:
        return None
    return family, where


class Resolver(Protocol):
    """Looks up names in one's own way."""

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of `host` as (family, socket address) pairs, in the order to be tried.

        Raises OSError (`socket.gaierror` is one) when there is none.
        """
        ...


class SystemResolver:
    """Looks up names by the loop's `getaddrinfo`, sorted by the system (RFC 6724)."""

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, where) for family, _, _, _, where in found]


_SYSTEM = SystemResolver()


async def resolve(host: str, port: int, resolver: Resolver | None = None) -> Sequence[Address]:
    """The addresses of `host`, at least one; a literal address is its own. Raises `ResolveError`."""
    if (address := literal_address(host, port)) is not None:
        return [address]
    try:
        found = await (resolver or _SYSTEM).resolve(host, port)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ResolveError(f"no address is known for host {host!r}: {why}") from error
    if not found:
        raise ResolveError(f"no address is known for host {host!r}")
    return found
