"""The ways to origins: which route a request takes, and a new connection of that route."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..config import Timeout, Unset
from ..connection import AsyncHTTPConnection, AsyncHTTPSConnection
from ..messages import Route
from ..net.resolve import checked_resolver
from ..net.socket_options import SocketOptions, checked_local_address
from ..net.tls import ssl_context as default_context
from ..net.tls_options import TLSOptions
from ..net.tls_sessions import TLSSessions
from ..unix_socket import checked_path, socket_path
from .own_resolver import OwnResolver

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping, Sequence

    from ..net.address_book import AddressBook
    from ..net.guard import AddressPolicy
    from ..net.resolve import Resolver
    from ..net.socket_options import SocketOption
    from ..proxy import Proxy
    from ..url import Origin


NO_PROXY = "proxy: there is none before a Unix socket, and uds is where all connections go"


class Ways:
    """How a pool gets to origins. The arguments are `ConnectionPool`'s."""

    __slots__ = (
        "_addresses",
        "_authorities",
        "_options",
        "_proxy_context",
        "_sessions",
        "_ssl_context",
        "_tls",
        "_trust_env",
        "book",
        "own_resolver",
        "proxy",
        "timeout",
        "uds",
    )

    def __init__(
        self,
        *,
        timeout: Timeout,
        ssl_context: ssl.SSLContext | None,
        proxy: Proxy | None,
        resolver: Resolver | None,
        resolve: Mapping[str, str | Sequence[str]] | None,
        addresses: AddressPolicy | None,
        uds: str | os.PathLike[str] | None,
        local_address: tuple[str, int] | str | None,
        socket_options: Iterable[SocketOption],
        interface: str | None,
        tcp_keepalive: tuple[int, int, int] | None,
        happy_eyeballs_delay: float | None,
        max_head: int,
        max_fields: int,
        tls: TLSOptions | None,
        authorities: str | os.PathLike[str] | None,
        trust_env: bool,
    ) -> None:
        if uds is not None and proxy is not None:
            raise TypeError(NO_PROXY)
        self.timeout = timeout
        self.proxy = proxy
        if tls is not None and not isinstance(tls, TLSOptions):
            raise TypeError(f"tls must be a TLSOptions or None, not {tls!r}")
        self._ssl_context = ssl_context
        self._proxy_context: ssl.SSLContext | None = None
        self._authorities = authorities
        self._trust_env = trust_env
        self._tls = tls if tls is not None else TLSOptions()
        self._sessions = TLSSessions() if self._tls.resume else None
        self.uds = None if uds is None else socket_path(checked_path(uds))
        self.book: AddressBook | None = None
        """What was learnt of addresses; None until something is connected."""
        self._addresses = _checked_policy(addresses)
        if resolver is not None:
            checked_resolver("resolver", resolver)
        self.own_resolver = OwnResolver() if resolver is None else None
        """The resolver that the pool has to close."""
        resolver = self.own_resolver or resolver
        if resolve is not None:
            from ..net.overrides import OverridingResolver  # noqa: PLC0415 - few give addresses by hand

            resolver = OverridingResolver(resolve, resolver)
        self._options: dict[str, Any] = {
            "source_address": checked_local_address("local_address", local_address),
            "socket_options": SocketOptions.of(socket_options, interface, tcp_keepalive) or (),
            "happy_eyeballs_delay": happy_eyeballs_delay,
            "resolver": resolver,
            "addresses": addresses,
            "max_head": max_head,
            "max_fields": max_fields,
        }

    def route(self, origin: Origin, proxy: Proxy | Unset | None) -> Route:
        """The route to an origin; `proxy` is as in `RequestContext`. Raises what an `AddressPolicy` has against it."""
        if self._addresses is not None:
            self._check_addresses(self._addresses, origin)
        way = self.proxy if isinstance(proxy, Unset) else proxy
        if way is not None and self.uds is not None:
            raise TypeError(NO_PROXY)
        context = None
        if origin.scheme == "https":
            context = self._ssl_context
            if context is None:
                self._ssl_context = context = self._default_context()
        uds = self.uds
        if origin.scheme == "http+unix":
            way, uds = None, origin.uds  # no proxy lies before a socket
        return Route(origin, way, context, uds)

    def new_connection(self, route: Route) -> AsyncHTTPConnection:
        """A connection of that route, not yet open."""
        origin, proxy = route.origin, route.proxy
        peer = origin if proxy is None else proxy.origin
        if self.book is None:
            from ..net.address_book import AddressBook  # noqa: PLC0415 - not before something is connected

            self.book = self._options["address_book"] = AddressBook()
        if origin.scheme == "http+unix":
            return AsyncHTTPConnection(origin.host_field, peer.port, self.timeout, uds=route.uds, **self._options)
        connection: AsyncHTTPConnection
        if route.context is None:
            connection = AsyncHTTPConnection(
                _bracketed(peer.host), peer.port, self.timeout, uds=route.uds, **self._options
            )
        else:
            connection = AsyncHTTPSConnection(
                _bracketed(peer.host),
                peer.port,
                timeout=self.timeout,
                context=route.context,
                server_hostname=self._tls.server_hostname,
                assert_fingerprint=self._tls.pins_for(origin.host),
                sessions=self._sessions,
                uds=route.uds,
                **self._options,
            )
        if proxy is not None:
            context = None
            if proxy.origin.is_secure and proxy.context is None:
                context = self._proxy_context
                if context is None:
                    # Not the one for origins: that may verify nothing, or show a certificate.
                    self._proxy_context = context = self._default_context()
            connection.set_proxy(proxy, origin if route.tunnelled else None, context=context, sessions=self._sessions)
            if not route.tunnelled:
                connection.forward_to(origin)
        return connection

    def _default_context(self) -> ssl.SSLContext:
        verify = True if self._authorities is None else self._authorities
        return default_context(verify, self._trust_env, minimum_version=self._tls.minimum_version)

    def forget_sessions(self) -> None:
        """No TLS session is resumed any more."""
        if self._sessions is not None:
            self._sessions.clear()

    async def close(self) -> None:
        """End the look-ups that are under way."""
        if self.own_resolver is not None:
            await self.own_resolver.close()

    def _check_addresses(self, policy: AddressPolicy, origin: Origin) -> None:
        """Refuse what can be refused before a name is looked up: whatever the way, and on every hop of a redirect."""
        if self.uds is None or origin.uds is not None:
            policy.check_origin(origin)
        else:
            policy.check_scheme(origin)
            policy.check_unix(self.uds)


def _checked_policy(value: AddressPolicy | None) -> AddressPolicy | None:
    if value is not None:
        from ..net.guard import AddressPolicy  # noqa: PLC0415 - for those who have one

        if not isinstance(value, AddressPolicy):
            raise TypeError(f"addresses must be an AddressPolicy, such as AddressPolicy.public_only(), not {value!r}")
    return value


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
