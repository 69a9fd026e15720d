"""Names looked up by DNS itself, without threads: `aiodns` as a `Resolver` (``pip install "aiohttpconn[dns]"``)."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiodns

    from .tcp import Address

RESOLUTION_DELAY = 0.05
"""Seconds that the answer for one family is waited for after the other one's came (RFC 8305 section 3)."""
_AS_IT_STANDS = 32 | 256  # ARES_FLAG_NOSEARCH; ARES_FLAG_EDNS, which is on by default
# The numbers of c-ares that say that there is no address (ENODATA, ENOTFOUND, EBADNAME, ENONAME), that time is over
# (ETIMEOUT), and that the channel is (EDESTRUCTION, ECANCELLED).
_NO_ADDRESS = {1, 4, 8, 19}
_TIMED_OUT = 12
_CANCELLED = {16, 24}


class AioDNSResolver:
    """A `TimedResolver` that asks name servers by `aiodns` (3.2 or later). Best within a `CachingResolver`.

    - `nameservers`: addresses of the servers to ask, ``"192.0.2.53"`` or (aiodns 4) ``"192.0.2.53:5353"``; None for the
      system's. The file of hosts is heeded as well.
    - `timeout`: seconds for one try. `tries`: how often each server is asked.

    A and AAAA are asked for at once; when one of them has come, the other gets 50 ms more (RFC 8305 section 3), and
    what is then missing is asked for again soon. IPv6 addresses come first. Names with a dot are asked for as they
    stand, then by the search list; names without one by the search list only, for both families together: half an
    answer of one name must not be mixed with half of another's.

    Serves the event loop it was first used on. Raises ImportError if aiodns is not installed.

    >>> async def main():
    ...     from aiohttpconn import CachingResolver, Client
    ...     resolver = CachingResolver(upstream=AioDNSResolver(["192.0.2.53"]))
    ...     async with Client(resolver=resolver) as client:
    ...         return await client.get("http://example.org/")
    """

    def __init__(self, nameservers: Sequence[str] | None = None, *, timeout: float = 2.0, tries: int = 2) -> None:
        try:
            import aiodns  # noqa: F401, PLC0415 - an extra
        except ImportError as error:
            raise ImportError('AioDNSResolver needs aiodns: pip install "aiohttpconn[dns]"') from error
        if isinstance(nameservers, str):
            raise TypeError(f"nameservers must be a list of addresses, not {nameservers!r}")
        self.nameservers = None if nameservers is None else list(nameservers)
        self.timeout = timeout
        self.tries = tries
        self._channels: dict[int, aiodns.DNSResolver] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """See `Resolver`. Raises `socket.gaierror`, and TimeoutError when no server answers."""
        return (await self.resolve_with_ttl(host, port))[0]

    async def resolve_with_ttl(self, host: str, port: int) -> tuple[Sequence[Address], float]:
        """See `TimedResolver`. What comes from the file of hosts has a TTL of 0: it is cheap to read again."""
        import aiodns  # noqa: PLC0415 - an extra

        loop = asyncio.get_running_loop()
        if self._closed:
            raise RuntimeError("the resolver is closed")
        if self._loop is not loop:
            if self._loop is not None and not self._loop.is_closed():
                raise RuntimeError("the resolver belongs to another event loop")
            self._loop = loop
            self._channels.clear()
        try:
            if "." in host.removesuffix("."):
                try:
                    return await self._both_families(host, port)
                except aiodns.error.DNSError as error:
                    if error.args[0] not in _NO_ADDRESS or host.endswith("."):
                        raise
            return _addresses([await self._ask(host, socket.AF_UNSPEC, 0)], port)
        except aiodns.error.DNSError as error:
            raise _translated(error) from error

    async def close(self) -> None:
        """End what is under way, and refuse what comes."""
        self._closed = True
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.cancel()  # its queries end with ECANCELLED
            if hasattr(channel, "close"):  # from aiodns 3.5 on; before, the sockets went with the queries
                await channel.close()

    def _ask(self, host: str, family: int, flags: int) -> asyncio.Future[Any]:
        import aiodns  # noqa: PLC0415 - an extra

        channel = self._channels.get(flags)
        if channel is None:
            options: dict[str, Any] = {"flags": flags} if flags else {}
            channel = aiodns.DNSResolver(loop=self._loop, timeout=self.timeout, tries=self.tries, **options)
            if self.nameservers is not None:
                try:
                    channel.nameservers = self.nameservers
                except Exception as error:
                    raise ValueError(f"nameservers {self.nameservers} cannot be used: {error}") from error
            self._channels[flags] = channel
        return channel.getaddrinfo(host, family=socket.AddressFamily(family), type=socket.SOCK_STREAM)

    async def _both_families(self, host: str, port: int) -> tuple[Sequence[Address], float]:
        # IPv6 first: its answer is hoped for first (RFC 8305 section 3).
        queries = [self._ask(host, family, _AS_IT_STANDS) for family in (socket.AF_INET6, socket.AF_INET)]
        try:
            done, pending = await asyncio.wait(queries, return_when=asyncio.FIRST_COMPLETED)
            if pending:
                # Only addresses cannot wait for the other half; a refusal can.
                enough = next(iter(done)).exception() is None
                await asyncio.wait(pending, timeout=RESOLUTION_DELAY if enough else None)
        finally:
            for query in queries:
                if not query.cancel() and not query.cancelled():
                    query.exception()  # retrieved
        answers = [query.result() for query in queries if query.done() and not _failure(query)]
        if not answers:
            # One that may pass says more than one that will not: of two answers, half is unknown.
            raise min(
                [failure for query in queries if (failure := _failure(query))],
                key=lambda failure: failure.args[0] in _NO_ADDRESS,
            )
        found, ttl = _addresses(answers, port)
        whole = all(query.done() and (_failure(query) is None or _certain(query)) for query in queries)
        return found, ttl if whole else 0.0


def _failure(query: asyncio.Future[Any]) -> BaseException | None:
    return asyncio.CancelledError() if query.cancelled() else query.exception()


def _certain(query: asyncio.Future[Any]) -> bool:
    """Whether the answer was that there is no address, rather than none."""
    failure = _failure(query)
    return failure is not None and bool(failure.args) and failure.args[0] in _NO_ADDRESS


def _addresses(answers: Sequence[Any], port: int) -> tuple[list[Address], float]:
    found: list[Address] = []
    ttl = math.inf
    for answer in answers:
        for node in answer.nodes:
            host = node.addr[0]
            text = host.decode("ascii") if isinstance(host, bytes) else str(host)
            family = int(node.family)
            where = (text, port, *node.addr[2:4]) if family == socket.AF_INET6 else (text, port)
            if (family, where) not in found:
                found.append((family, where))
            ttl = min(ttl, node.ttl)
    return found, ttl


def _translated(error: Exception) -> OSError:
    """What c-ares said, as the system's resolver would say it."""
    number, text = error.args[:2] if len(error.args) > 1 else (0, str(error))
    if number in _NO_ADDRESS:
        return socket.gaierror(socket.EAI_NONAME, text)
    if number == _TIMED_OUT:
        return TimeoutError("no name server answered in time")
    if number in _CANCELLED:
        return OSError(errno.ECANCELED, "the resolver was closed")
    return socket.gaierror(socket.EAI_AGAIN, text)
