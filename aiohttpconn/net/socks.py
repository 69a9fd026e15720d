"""A way through a SOCKS proxy, as a step over an open stream to it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ..errors import ProtocolError, ProxyError
from ..messages import Opening
from ..wire.socks import NAMES_GO_TO_PROXY, SocksHandshake, SocksKind
from .resolve import Resolver, resolve

if TYPE_CHECKING:
    from .guard import AddressPolicy
    from .stream import Stream


async def open_socks(
    stream: Stream,
    kind: SocksKind,
    host: str,
    port: int,
    credentials: tuple[str, str] | None = None,
    *,
    proxy: str = "",
    resolver: Resolver | None = None,
    policy: AddressPolicy | None = None,
    opening: Opening | None = None,
) -> tuple[str, int] | None:
    """Have the SOCKS proxy at the other end of `stream` connect it to `host`:`port` (RFC 1928).

    Args:
        stream: an open stream to the proxy. It is the caller's, to be aborted when this raises or is cancelled.
        kind: "socks5h" and "socks4a" hand a name to the proxy; "socks5" and "socks4" look it up here.
        host: a name or a literal address (without brackets), which goes as an address with every kind.
        credentials: user and password (RFC 1929); with SOCKS 4 the user id and "".
        proxy: what messages call the proxy; its address where that is left out.
        resolver: who looks names up here; None for the system.
        policy: which addresses, or names where they go to the proxy, it may be asked for.
        opening: where it is noted that the proxy has answered.

    Returns:
        The address and port that the proxy says it connects from; often zeros.

    Raises:
        ProxyError: the proxy refused, said something that is not SOCKS, or closed; the cause says which (`SocksRefused`
            has the code). Or the address is of IPv6, for which SOCKS 4 has no form.
        InvalidURL: a name or credentials that the protocol cannot carry. Nothing has been sent.
        ResolveError: the name has no address.
        AddressBlocked: `policy` forbids the target. Nothing has been sent.

    What the target sent at once stays in the stream, to be read. There is no time limit: whoever calls it puts one
    around lookup, TCP, this and TLS together.
    """
    proxy = proxy or _peer(stream)
    target = _shown(host, port)
    try:
        if policy is not None:
            policy.check_host(host, port)
        if kind not in NAMES_GO_TO_PROXY:
            host, port = await _address(host, port, resolver, policy)
        handshake = SocksHandshake(kind, host, port, credentials)
        await _shake_hands(stream, handshake, opening or Opening())
    except (ProxyError, ProtocolError) as error:
        label = "SOCKS 5" if kind.startswith("socks5") else "SOCKS 4"
        raise ProxyError(f"the {label} proxy {proxy} did not connect to {target}: {error}") from error
    return handshake.bound


async def _shake_hands(stream: Stream, handshake: SocksHandshake, opening: Opening) -> None:
    reader = stream.reader
    stream.transport.write(handshake.opening)
    while not handshake.done:
        if data := reader.take():
            answer = handshake.feed(data)
            opening.proxy_answered = True
            if answer:
                stream.transport.write(answer)
        elif reader.ended:
            raise handshake.closed() from stream.loss
        else:
            await reader.waiter()
    reader.unread(handshake.rest)


async def _address(host: str, port: int, resolver: Resolver | None, policy: AddressPolicy | None) -> tuple[str, int]:
    """The address to ask for, of those that `host` has and `policy` permits.

    IPv4 comes first: the system's order (RFC 6724) is by the routes of this machine, not of the proxy, which may well
    have no IPv6.
    """
    addresses = await resolve(host, port, resolver)
    if policy is not None:
        addresses = policy.permitted(host, port, addresses)
    _, where = min(addresses, key=lambda address: address[0] != socket.AF_INET)
    return _with_zone(where), int(where[1])


def _with_zone(where: tuple[str, int] | tuple[str, int, int, int]) -> str:
    # A zone is this machine's: with it in its text the address is refused.
    zone = where[3] if len(where) > 2 else 0
    return f"{where[0].partition('%')[0]}%{zone}" if zone else where[0]


def _peer(stream: Stream) -> str:
    peer = stream.transport.get_extra_info("peername")
    return _shown(peer[0], peer[1]) if isinstance(peer, tuple) else str(peer)


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
