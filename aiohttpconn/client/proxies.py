"""Which proxy a request goes through: a function of the caller's, or several proxies in turns."""

from __future__ import annotations

from collections import OrderedDict
from inspect import iscoroutine, iscoroutinefunction
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..errors import (
    AddressBlocked,
    BadStatusLine,
    ConnectTimeout,
    NetworkError,
    ProxyError,
    ReadTimeout,
    TotalTimeout,
    WriteTimeout,
)
from ..proxy import Proxy
from ..url import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..messages import Request
    from ..url import URL

_DOUBTS = 3
"""Requests in a row of which nothing came, after which a proxy that has worked is taken for dead."""
_HOSTS = 10_000
"""How many hosts are remembered with the proxy that they stay with; the one asked for longest ago goes first."""


class ProxyChooser:
    """Whom a client asks for the proxy of each request: a function of its URL. A `ProxyPool` hears what came of it."""

    __slots__ = ("_function", "_pool")

    def __init__(self, function: Callable[[URL], str | URL | Proxy | None]) -> None:
        if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
            raise TypeError("proxy must be a function that returns a proxy: it cannot be a coroutine function")
        self._function = function
        self._pool = function if isinstance(function, ProxyPool) else None

    @property
    def takes_turns(self) -> bool:
        """Whether another attempt may go through another proxy."""
        return self._pool is not None

    def choose(self, request: Request) -> Proxy | None:
        """`choose_for` the URL of a request."""
        return self.choose_for(request.url)

    def choose_for(self, url: URL) -> Proxy | None:
        """The proxy for a URL; None for none. Raises what the function does, and what `Proxy` does.

        The function is not asked about a Unix socket: no proxy lies before one.
        """
        if url.origin.uds is not None:
            return None
        found: Any = self._function(url)
        if iscoroutine(found):
            found.close()  # else it would complain of not being awaited
            raise TypeError("the function given as proxy= must return a proxy: it cannot be a coroutine function")
        return Proxy.of(found)

    def came_to(self, proxy: Proxy | None, error: BaseException | None) -> None:
        """What a request through the proxy came to: a response (None), or an error."""
        if self._pool is None or proxy is None:
            return
        if error is None or (isinstance(error, ProxyError) and not blames_proxy(error)):
            self._pool.worked(proxy)
        elif blames_proxy(error):
            self._pool.failed(proxy)
        elif raises_doubts(error):
            self._pool.doubted(proxy)


def blames_proxy(error: BaseException) -> bool:
    """Whether an error says that the proxy itself is not there: it cannot be reached, or must not be, or says nothing
    that makes sense.

    One that refuses a target, with a status or by SOCKS, is alive.
    """
    if isinstance(error, ConnectTimeout):
        return not error.connected
    if isinstance(error, AddressBlocked):
        return error.of_proxy
    if not isinstance(error, ProxyError) or error.status is not None:
        return False
    from ..wire.socks import SocksRefused  # noqa: PLC0415 - when something failed

    return not isinstance(error.__cause__, SocksRefused)


def raises_doubts(error: BaseException) -> bool:
    """Whether an error may be that of a proxy that accepts connections and does nothing with them.

    It may as well be the target's: nothing came, not from the proxy either, or something that is no HTTP was passed on.
    """
    kinds = (ConnectTimeout, ReadTimeout, WriteTimeout, TotalTimeout, BadStatusLine, NetworkError)
    return isinstance(error, kinds) and error.proxy_answered is False


class ProxyState(NamedTuple):
    """A proxy of a `ProxyPool`, how often it has failed since it last worked, and for how many seconds it will still be
    avoided."""

    proxy: Proxy
    failures: int
    avoided: float


class _Member:
    """One proxy, and what is known of it."""

    __slots__ = ("answered", "doubts", "failures", "proxy", "tried", "until")

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.answered = False
        """Whether it has ever worked."""
        self.doubts = 0
        """How many requests since it last worked may have failed by its fault, or by their targets'."""
        self.failures = 0
        self.until = 0.0
        self.tried = False
        """Whether it has been given out since it failed."""


class ProxyPool:
    """Several proxies, taken in turns: ``Client(proxy=ProxyPool([...]))``, or a request's `proxy=`.

    - `proxies`: URLs or `Proxy`; at least one.
    - `sticky`: "host": a host stays with the proxy that it was given first, as long as that works; None: the next
      request takes the next proxy.
    - `probe_after`: seconds that a proxy is left out after it failed. Then one request tries it; each time that it
      fails again the pause doubles, up to `probe_most`.

    A proxy has failed when it cannot be reached, is forbidden by `addresses=`, or gives no answer that makes sense; one
    that refuses a target is alive. Where it may as well be the target that says nothing (the time for connecting
    through an http proxy ran out, or a forwarded request found the connection closed), one that has worked before has
    failed with the third such request in a row, another with the first. When all have failed, the one that failed the
    fewest times is tried. A request that fails is not repeated by itself: with `retries=` it goes through the next
    proxy. One pool may serve several clients.

    It is a function of a URL, and so may be called by one's own: ``lambda url: None if url.host == "…" else pool(url)``
    (which is not told what came of it then: call `failed()`, `doubted()` and `worked()`).

    >>> pool = ProxyPool(["http://one.example:3128", "socks5h://two.example"])
    >>> [pool(url).origin.host for url in ("http://a.example/", "http://a.example/", "http://b.example/")]
    ['one.example', 'two.example', 'one.example']
    """

    def __init__(
        self,
        proxies: Iterable[str | URL | Proxy],
        *,
        sticky: Literal["host"] | None = None,
        probe_after: float = 30.0,
        probe_most: float = 600.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if isinstance(proxies, (str, bytes)):
            raise TypeError("proxies must be several: give one as [url]")
        if sticky not in (None, "host"):
            raise ValueError(f'sticky must be "host" or None, not {sticky!r}')
        if not 0 < probe_after <= probe_most:
            raise ValueError(f"0 < probe_after <= probe_most must hold, not {probe_after!r} and {probe_most!r}")
        found: list[Proxy] = []
        for each in proxies:
            if (one := Proxy.of(each)) is None:
                raise TypeError("None is no proxy: for requests that are to go without one give a function as proxy=")
            found.append(one)
        # One given twice is taken twice as often, and dies but once.
        members = {proxy: _Member(proxy) for proxy in found}
        if not found:
            raise ValueError("a ProxyPool needs at least one proxy")
        self._members = members
        self._turns = [members[proxy] for proxy in found]
        self._next = 0
        self._sticky = sticky is not None
        self._hosts: OrderedDict[str, _Member] = OrderedDict()
        self._probe_after, self._probe_most, self._clock = probe_after, probe_most, clock

    def __call__(self, url: str | URL) -> Proxy:
        """The proxy for a request to this URL."""
        now = self._clock()
        if not self._sticky:
            return self._take(now).proxy
        host = parse(url).host
        member = self._hosts.get(host)
        if member is None or member.failures:
            self._hosts[host] = member = self._take(now)
            if len(self._hosts) > _HOSTS:
                self._hosts.popitem(last=False)
        self._hosts.move_to_end(host)
        return member.proxy

    def failed(self, proxy: Proxy) -> None:
        """A proxy is not there: leave it out for a while.

        Of requests that were under way together the first one counts.
        """
        member = self._members.get(proxy)
        if member is None or (member.failures and not member.tried):
            return
        member.failures += 1
        member.doubts = 0
        member.tried = False
        pause = self._probe_after * 2 ** min(member.failures - 1, 30)
        member.until = self._clock() + min(pause, self._probe_most)

    def doubted(self, proxy: Proxy) -> None:
        """Nothing came through a proxy, not from itself either: it has failed, if it has never worked, or this is the
        third time in a row."""
        member = self._members.get(proxy)
        if member is None:
            return
        member.doubts += 1
        if member.failures or not member.answered or member.doubts >= _DOUBTS:
            self.failed(proxy)

    def worked(self, proxy: Proxy) -> None:
        """A proxy answered: what was held against it is forgotten."""
        member = self._members.get(proxy)
        if member is not None:
            member.answered, member.doubts = True, 0
            if member.failures:
                member.failures, member.until, member.tried = 0, 0.0, False

    def states(self) -> list[ProxyState]:
        """What is known of each proxy, in the order in which they were given."""
        now = self._clock()
        return [
            ProxyState(member.proxy, member.failures, max(0.0, member.until - now)) for member in self._members.values()
        ]

    def __len__(self) -> int:
        return len(self._members)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        failed = sum(member.failures > 0 for member in self._members.values())
        return f"<ProxyPool {len(self._members)} proxies, {failed} of them failed>"

    def _take(self, now: float) -> _Member:
        """The next that works, or whose time has come to be tried; else the least bad."""
        turns = self._turns
        count = len(turns)
        for at in range(self._next, self._next + count):
            member = turns[at % count]
            if member.until <= now:
                self._next = (at + 1) % count
                break
        else:
            member = min(turns, key=lambda member: (member.failures, member.until))
        if member.failures:
            # One request is enough to find out; the others go elsewhere meanwhile.
            member.tried = True
            member.until = max(member.until, now + self._probe_after)
        return member
