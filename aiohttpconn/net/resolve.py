"""From a host's name to its addresses."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

from ..errors import ResolveError
from .tcp import Address
from .threads import Job, Threads

Found: TypeAlias = tuple[list[Address], None] | tuple[None, Exception]
"""What a look-up came to: addresses, or why there are none."""


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


def scope_of(zone: str) -> int:
    """The number of a zone (RFC 4007 section 11.2), which may be the name of an interface. Raises OSError."""
    return int(zone) if zone.isascii() and zone.isdigit() else socket.if_nametoindex(zone)


class Resolver(Protocol):
    """Looks up names in one's own way."""

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of `host` as (family, socket address) pairs, in the order to be tried.

        ``(socket.AF_INET, ("192.0.2.1", port))`` and ``(socket.AF_INET6, ("2001:db8::1", port, 0, 0))`` are pairs; what
        `socket.getaddrinfo` returns has to be cut down to its first and last items. Raises OSError (`socket.gaierror`
        is one) when there is none.
        """
        ...


class TimedResolver(Resolver, Protocol):
    """A `Resolver` that knows how long its answers hold, which `CachingResolver` then heeds."""

    async def resolve_with_ttl(self, host: str, port: int) -> tuple[Sequence[Address], float | None]:
        """What `resolve()` returns, and for how many seconds it may be kept; None if that is not known."""
        ...


class GivenAddresses(list[Address]):
    """Addresses that somebody put into an order by hand, which is to be kept: nothing is gained by taking turns."""


def checked_resolver(name: str, resolver: Any) -> None:
    """Refuse what is no `Resolver`, before anything is asked of it. Raises TypeError."""
    if isinstance(resolver, type) or not callable(getattr(resolver, "resolve", None)):
        raise TypeError(f"{name} must have resolve(host, port), as Resolver says, not be {resolver!r}")


def checked_addresses(host: str, said: Any) -> list[Address]:
    """What a resolver said of `host`, in the shape that `Resolver` has it. Raises TypeError, which says what is wanted.

    A name in the place of an address is refused, too: whoever connects would look it up once more, past every check.
    For the same reason a zone in the text is put into its number; OSError if there is none of that name.
    """
    if type(said) is GivenAddresses or not said:
        return said or []
    try:
        addresses = list(said)
    except TypeError:
        addresses = [said]
    return [_checked_address(host, address) for address in addresses]


def _checked_address(host: str, address: Any) -> Address:
    if isinstance(address, (tuple, list)) and len(address) == 2 and isinstance(address[0], int):
        family, where = address
        if family == getattr(socket, "AF_UNIX", None) and isinstance(where, (str, bytes)):
            return family, where
        if isinstance(where, (tuple, list)) and 2 <= len(where) <= 4 and isinstance(where[0], str):
            text, zone = where[0], ""
            if family == socket.AF_INET6:
                text, _, zone = text.partition("%")
            try:
                socket.inet_pton(family, text)
            except (OSError, ValueError):  # of no such family; a NUL in it
                pass
            else:
                if isinstance(where[1], int) and 0 <= where[1] <= 65_535:
                    if zone:  # the loop would look up what has one in its text
                        where = (text, where[1], *(where[2:3] or (0,)), scope_of(zone))
                    return int(family), tuple(where)
    raise TypeError(
        f"the resolver said of {host!r} that {address!r:.200} is an address; what it returns must be pairs of family "
        "and socket address, such as (socket.AF_INET, ('192.0.2.1', 80))"
    )


def system_lookup(threads: Threads, host: str, port: int, done: Callable[[Found], object]) -> Job:
    """Have the system look up a name, sorted as it sorts (RFC 6724), on one of `threads`.

    `done` is called in the running loop, unless that has been closed meanwhile.
    """
    loop = asyncio.get_running_loop()

    def call() -> None:
        found: Found
        try:
            said = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = [(int(family), where) for family, _, _, _, where in said], None
        except Exception as error:
            found = None, error.with_traceback(None)
        try:
            loop.call_soon_threadsafe(done, found)
        except RuntimeError:
            pass  # the loop is closed

    return threads.submit(call)


_threads = Threads(32, name="aiohttpconn-lookup")


def _new_threads() -> None:
    """A process that was forked has none of the threads, and a lock that may be held for ever."""
    global _threads  # noqa: PLW0603 - one for all connections without a pool
    _threads = Threads(32, name="aiohttpconn-lookup")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_threads)


class SystemResolver:
    """Looks up names by the system's `getaddrinfo`, sorted by it (RFC 6724), and remembers nothing.

    It runs on threads of its own kind: those of the loop's executor belong to the application, and a look-up that hangs
    would hold up the loop's end.
    """

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """See `Resolver`."""
        waiter: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        threads = _threads
        job = system_lookup(threads, host, port, partial(_hand_over, waiter))
        try:
            addresses, error = await waiter
        finally:
            threads.give_up(job)
        if addresses is not None:
            return addresses
        try:
            raise error or OSError("no answer")
        finally:
            del error  # it refers to this frame


def _hand_over(waiter: asyncio.Future[Found], found: Found) -> None:
    if not waiter.done():
        waiter.set_result(found)


_SYSTEM = SystemResolver()


async def resolve(host: str, port: int, resolver: Resolver | None = None) -> Sequence[Address]:
    """The addresses of `host`, at least one; a literal address is its own.

    Raises `ResolveError`; TypeError if the resolver returns something else than addresses.
    """
    if (address := literal_address(host, port)) is not None:
        return [address]
    try:
        addresses = checked_addresses(host, await (resolver or _SYSTEM).resolve(host, port))
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ResolveError(f"no address is known for host {host!r}: {why}") from error
    if not addresses:
        raise ResolveError(f"no address is known for host {host!r}")
    return addresses
