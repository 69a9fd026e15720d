"""Which addresses are public: IANA's special-purpose registries (RFC 6890), the same on every Python, and what a cloud
serves to its own machines at an address that looks public.

`ipaddress.is_global` is not asked: what it says of 64:ff9b:1::/48, 192.0.0.0/24, 2001::/23 and 3fff::/20 differs
between releases of Python, and IPv4 addresses within IPv6 ones it does not look at. Addresses are numbers here: a
verdict takes 0.6 to 1.3 µs (CPython 3.11, one x86-64 core).
"""

from __future__ import annotations

import socket
from typing import NamedTuple

IPV4_MAX = 0xFFFF_FFFF
_MAPPED = 0xFFFF  # ::ffff:0:0/96, as its upper 96 bits (RFC 4291 section 2.5.5.2)
_NAT64 = 0x0064_FF9B << 64  # 64:ff9b::/96, likewise (RFC 6052 section 2.1)
_NAT64_LOCAL = 0x0064_FF9B_0001  # 64:ff9b:1::/48, as its upper 48 bits (RFC 8215)
_TRANSLATED = 0xFFFF_0000  # ::ffff:0:0:0/96, as its upper 96 bits (RFC 2765 section 2.1)
_GLOBAL_UNICAST = 0b001  # 2000::/3 (RFC 4291 section 2.4)


class IP(NamedTuple):
    """An IP address as a number. An IPv4-mapped one is IPv4: that is what goes out on the wire."""

    version: int
    value: int

    def __str__(self) -> str:
        if self.version == 4:
            return socket.inet_ntop(socket.AF_INET, self.value.to_bytes(4, "big"))
        return socket.inet_ntop(socket.AF_INET6, self.value.to_bytes(16, "big"))


LOOPBACK = IP(4, 0x7F00_0001), IP(6, 1)
_UNSPECIFIED_IPV4, _UNSPECIFIED_IPV6 = IP(4, 0), IP(6, 0)


def ip(text: str) -> IP | None:
    """The address that a text spells in the usual way (dotted decimal, RFC 4291 section 2.2); None if it does not.

    No zone, no brackets, no short or octal forms.
    """
    try:
        if ":" in text:
            return (
                _unmapped(int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")) if "%" not in text else None
            )
        return IP(4, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big"))
    except (OSError, ValueError):  # ValueError: a NUL in it, or no ASCII
        return None


def _unmapped(value: int) -> IP:
    return IP(4, value & IPV4_MAX) if value >> 32 == _MAPPED else IP(6, value)


def _table(version: int, *rows: tuple[str, str]) -> tuple[tuple[int, int, str], ...]:
    """First and last address of each network, and what an error says of it."""
    table = []
    for network, what in rows:
        text, _, length = network.partition("/")
        packed = socket.inet_pton(socket.AF_INET if version == 4 else socket.AF_INET6, text)
        first = int.from_bytes(packed, "big")
        last = first | ((1 << (len(packed) * 8 - int(length))) - 1)
        table.append((first, last, f"{what}: {network}"))
    return tuple(table)


# Whole blocks, also where the registry has single addresses in them that are reachable: those of 192.0.0.0/24 and
# 2001::/23 are the network's own gateway (PCP and TURN, RFC 7723, RFC 8155), identifiers that are no places (ORCHID,
# RFC 7343; DRIP, RFC 9374) or do not speak HTTP (AMT, RFC 7450).
_IPV4 = _table(
    4,
    ("0.0.0.0/8", "this network, RFC 791"),
    ("10.0.0.0/8", "private, RFC 1918"),
    ("100.64.0.0/10", "carrier NAT, RFC 6598"),
    ("127.0.0.0/8", "loopback, RFC 1122"),
    ("168.63.129.16/32", "Azure's own services, which answer its machines only"),
    ("169.254.0.0/16", "link-local, RFC 3927"),
    ("172.16.0.0/12", "private, RFC 1918"),
    ("192.0.0.0/24", "IETF protocol assignments, RFC 6890"),
    ("192.0.2.0/24", "documentation, RFC 5737"),
    ("192.88.99.0/24", "6to4 relays, RFC 7526"),
    ("192.168.0.0/16", "private, RFC 1918"),
    ("198.18.0.0/15", "benchmarking, RFC 2544"),
    ("198.51.100.0/24", "documentation, RFC 5737"),
    ("203.0.113.0/24", "documentation, RFC 5737"),
    ("224.0.0.0/4", "multicast, RFC 5771"),
    ("255.255.255.255/32", "broadcast, RFC 919"),
    ("240.0.0.0/4", "reserved, RFC 1112"),
)
_IPV6_GLOBAL_UNICAST = _table(
    6,
    ("2001::/32", "Teredo, RFC 4380"),
    ("2001:2::/48", "benchmarking, RFC 5180"),
    ("2001:10::/28", "ORCHID, RFC 4843"),
    ("2001:20::/28", "ORCHID, RFC 7343"),
    ("2001::/23", "IETF protocol assignments, RFC 2928"),
    ("2001:db8::/32", "documentation, RFC 3849"),
    ("3fff::/20", "documentation, RFC 9637"),
)
_IPV6_ELSEWHERE = _table(
    6,
    ("::1/128", "loopback, RFC 4291"),
    ("::/128", "unspecified, RFC 4291"),
    ("::/96", "IPv4-compatible, RFC 4291"),
    ("::ffff:0:0:0/96", "IPv4-translated, RFC 2765"),
    ("64:ff9b:1::/48", "local NAT64, RFC 8215"),
    ("100::/64", "discard-only, RFC 6666"),
    ("100:0:0:1::/64", "dummy, RFC 9780"),
    ("5f00::/16", "segment routing, RFC 9602"),
    ("fc00::/7", "unique-local, RFC 4193"),
    ("fe80::/10", "link-local, RFC 4291"),
    ("fec0::/10", "site-local, RFC 3879"),
    ("ff00::/8", "multicast, RFC 4291"),
    ("::/0", "reserved, RFC 4291, outside the global unicast addresses"),
)


def why_not_public(address: IP) -> str | None:
    """What keeps an address from being one of the public Internet, e.g. ``"private, RFC 1918: 10.0.0.0/8"``; None if
    nothing does.

    An IPv6 address that leads to an IPv4 one (NAT64, 6to4, ISATAP) is public if that is.
    """
    version, value = address
    if version == 4:
        return _what(_IPV4, value)
    if value >> 125 != _GLOBAL_UNICAST and value >> 32 != _NAT64:
        return _what(_IPV6_ELSEWHERE, value)
    if value >> 125 == _GLOBAL_UNICAST and (what := _what(_IPV6_GLOBAL_UNICAST, value)) is not None:
        return what
    for inner in embedded_ipv4(address):
        if (what := _what(_IPV4, inner.value)) is not None:
            return f"{inner} within an IPv6 address, {what}"
    return None


def forms_of(address: IP) -> tuple[IP, ...]:
    """The address, and those that connecting to it may lead to: what it embeds, and loopback for the unspecified ones.

    Systems connect to loopback where 0.0.0.0 or :: is dialled (a socket of IPv6 for :: to either loopback).
    """
    found = [address, *embedded_ipv4(address)]
    if address == _UNSPECIFIED_IPV6:
        found += LOOPBACK
    elif _UNSPECIFIED_IPV4 in found:
        found.append(LOOPBACK[0])
    return tuple(found)


def _what(table: tuple[tuple[int, int, str], ...], value: int) -> str | None:
    for first, last, what in table:
        if first <= value <= last:
            return what
    return None


def embedded_ipv4(address: IP) -> tuple[IP, ...]:
    """The IPv4 addresses that an IPv6 address may lead to, through a tunnel or a translator that knows its form."""
    version, value = address
    if version == 4:
        return ()
    found = []
    upper = value >> 32
    if upper in (_NAT64, _TRANSLATED) or value >> 80 == _NAT64_LOCAL or (upper == 0 and value > 1):
        found.append(value)
    if value >> 112 == 0x2002:  # 6to4 (RFC 3056 section 2)
        found.append(value >> 80)
    if value >> 96 == 0x2001_0000:  # Teredo: its server, and its client with every bit turned (RFC 4380 section 4)
        found += value >> 64, ~value
    if upper & 0xFDFF_FFFF == 0x5EFE:  # ISATAP, with either universal bit (RFC 5214 section 6.1)
        found.append(value)
    return tuple([IP(4, inner & IPV4_MAX) for inner in found])
