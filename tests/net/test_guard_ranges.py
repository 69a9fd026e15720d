"""What is public and what is not, at the borders of every range; and the same again by an independent table."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiohttpconn.errors import AddressBlocked
from aiohttpconn.net.guard import AddressPolicy
from aiohttpconn.net.tcp import Address

PUBLIC_ONLY = AddressPolicy.public_only()


def socket_address(text: str, port: int = 443) -> Address:
    if ":" in text:
        return socket.AF_INET6, (text, port, 0, 0)
    return socket.AF_INET, (text, port)


def is_permitted(text: str, policy: AddressPolicy = PUBLIC_ONLY) -> bool:
    """By the literal before the look-up and by the address after it, which must agree."""
    address = socket_address(text)
    try:
        policy.check_host(text, 443)
    except AddressBlocked:
        with pytest.raises(AddressBlocked):
            policy.permitted("name.example", 443, [address])
        return False
    assert policy.permitted("name.example", 443, [address]) == [address]
    return True


PUBLIC = [
    "1.0.0.0",
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.1.255",
    "192.0.3.0",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "192.175.48.1",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "::ffff:808:808",
    "::ffff:9.255.255.255",
    "::ffff:172.32.0.0",
    "::ffff:223.255.255.255",
    "64:ff9b::8.8.8.8",
    "64:ff9b::1.0.0.0",
    "64:ff9b::9.255.255.255",
    "64:ff9b::128.0.0.0",
    "64:ff9b::223.255.255.255",
    "2000::",
    "2000::1",
    "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:200::",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db9::",
    "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2002:808:808::1",
    "2002:100::",
    "2002:9ff:ffff::1",
    "2002:b00::",
    "2002:dfff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2003::",
    "2400:cb00:2048:1::c629:d7a2",
    "2600::",
    "2606:2800:220:1:248:1893:25c8:1946",
    "2606:4700::1111",
    "2606:4700::5efe:808:808",
    "2606:4700::200:5efe:808:808",
    "2606:4700::5eff:a00:1",
    "2606:4700::100:5efe:a00:1",
    "2620:4f:8000::1",
    "2620:fe::fe",
    "2a00:1450:4001:81b::200e",
    "2c0f:ffff::1",
    "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "3fff:1000::",
    "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
]

# The first and the last address of each range, and the form that the error must name.
FORBIDDEN = {
    "this network": ["0.0.0.0", "0.255.255.255", "::ffff:0.0.0.1", "64:ff9b::", "2002::1"],
    "private": [
        *("10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255"),
        *("::ffff:10.0.0.0", "64:ff9b::172.16.0.0", "64:ff9b::192.168.255.255", "2002:c0a8::1", "2002:ac1f:ffff::"),
        *("2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:192.168.0.1", "2002:808:808::5efe:10.0.0.1"),
    ],
    "carrier NAT": ["100.64.0.0", "100.127.255.255", "64:ff9b::100.64.0.0"],
    "loopback": ["127.0.0.0", "127.255.255.255", "::1", "::ffff:127.0.0.1", "64:ff9b::127.255.255.255"],
    "link-local": ["169.254.0.0", "169.254.255.255", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    "IETF protocol assignments": [
        *("192.0.0.0", "192.0.0.9", "192.0.0.10", "192.0.0.170", "192.0.0.255"),
        *("2001:1::1", "2001:1:ffff:ffff::", "2001:2:1::", "2001:4:112::1", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
    "documentation": [
        *("192.0.2.0", "192.0.2.255", "198.51.100.0", "198.51.100.255", "203.0.113.0", "203.0.113.255"),
        *("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
    "6to4 relays": ["192.88.99.0", "192.88.99.1", "192.88.99.255"],
    "benchmarking": ["198.18.0.0", "198.19.255.255", "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"],
    # Other clouds' are in ranges that are not public: 169.254.169.254, 100.100.100.200, 192.0.0.192, fd00:ec2::254.
    "Azure's own services": ["168.63.129.16", "::ffff:168.63.129.16", "64:ff9b::168.63.129.16", "2002:a83f:8110::1"],
    "multicast": ["224.0.0.0", "239.255.255.255", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    "reserved": [
        *(
            "240.0.0.0",
            "255.255.255.254",
            "1::",
            "4000::",
            "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "e000::",
            "fe00::",
        ),
        *(
            "64:ff9a::808:808",
            "64:ff9b::1:808:808",
            "64:ff9b:2::808:808",
            "64:ff9b:0:1::808:808",
            "100:0:0:2::",
            "101::",
        ),
        *("ff:ffff::", "5eff::", "5f01::", "fe7f::1", "::1:0:0:0", "::fffe:8.8.8.8"),
    ],
    "broadcast": ["255.255.255.255", "::ffff:255.255.255.255"],
    "unspecified": ["::"],
    "IPv4-compatible": ["::2", "::8.8.8.8", "::255.255.255.255"],
    "IPv4-translated": ["::ffff:0:8.8.8.8", "::ffff:0:0:0"],
    "local NAT64": ["64:ff9b:1::", "64:ff9b:1::808:808", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"],
    "discard-only": ["100::", "100::ffff:ffff:ffff:ffff"],
    "dummy": ["100:0:0:1::", "100::1:ffff:ffff:ffff:ffff"],
    "Teredo": ["2001::", "2001::1", "2001:0:808:808::f7f7:f7f7", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"],
    "ORCHID": [
        *("2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", "2001:20::"),
        "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff",
    ],
    "segment routing": ["5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    "unique-local": ["fc00::", "fd00:ec2::254", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    "site-local": ["fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
}


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_pass(text: str) -> None:
    assert is_permitted(text)


@pytest.mark.parametrize(("what", "text"), [(what, text) for what, texts in FORBIDDEN.items() for text in texts])
def test_what_is_not_public_is_refused_and_the_error_says_why(what: str, text: str) -> None:
    assert not is_permitted(text)
    with pytest.raises(AddressBlocked) as caught:
        PUBLIC_ONLY.permitted("name.example", 443, [socket_address(text)])
    assert what in str(caught.value)


# --- the same by `ipaddress` and IANA's tables as they stand there: network, whether globally reachable ---------------

IPV4_REGISTRY = {
    "0.0.0.0/8": False,
    "10.0.0.0/8": False,
    "100.64.0.0/10": False,
    "127.0.0.0/8": False,
    "169.254.0.0/16": False,
    "172.16.0.0/12": False,
    "192.0.0.0/24": False,
    "192.0.0.0/29": False,
    "192.0.0.8/32": False,
    "192.0.0.9/32": True,
    "192.0.0.10/32": True,
    "192.0.0.170/31": False,
    "192.0.2.0/24": False,
    "192.31.196.0/24": True,
    "192.52.193.0/24": True,
    "192.88.99.0/24": False,  # deprecated, not applicable
    "192.168.0.0/16": False,
    "192.175.48.0/24": True,
    "198.18.0.0/15": False,
    "198.51.100.0/24": False,
    "203.0.113.0/24": False,
    "224.0.0.0/4": False,  # the registry of multicast addresses
    "240.0.0.0/4": False,
    "255.255.255.255/32": False,
}
IPV6_REGISTRY = {
    "::/0": False,  # the registry of the address space: reserved by IETF
    "2000::/3": True,  # global unicast
    "::/128": False,
    "::1/128": False,
    "64:ff9b::/96": True,
    "64:ff9b:1::/48": False,
    "100::/64": False,
    "100:0:0:1::/64": False,
    "2001::/23": False,
    "2001::/32": False,  # not applicable
    "2001:1::1/128": True,
    "2001:1::2/128": True,
    "2001:1::3/128": True,
    "2001:2::/48": False,
    "2001:3::/32": True,
    "2001:4:112::/48": True,
    "2001:10::/28": False,  # deprecated
    "2001:20::/28": True,
    "2001:30::/28": True,
    "2001:db8::/32": False,
    "2002::/16": True,  # not applicable: as the address within
    "2620:4f:8000::/48": True,
    "3fff::/20": False,
    "5f00::/16": False,
    "fc00::/7": False,
    "fe80::/10": False,
}
# Reachable by the registry, and yet refused: see the module's comment.
STRICTER = [ip_network(text) for text in ("168.63.129.16/32", "192.0.0.0/24", "2001::/23")]


def _most_specific_first(
    registry: dict[str, bool],
) -> list[tuple[IPv4Network | IPv6Network, bool]]:
    rows = [(ip_network(text), reachable) for text, reachable in registry.items()]
    return sorted(rows, key=lambda row: -row[0].prefixlen)


IPV4_ROWS, IPV6_ROWS = _most_specific_first(IPV4_REGISTRY), _most_specific_first(IPV6_REGISTRY)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in ip_network("64:ff9b::/96") and not is_public(IPv4Address(address.packed[12:])):
            return False
        if address.sixtofour is not None and not is_public(address.sixtofour):
            return False
        isatap = address.packed[8:12] in (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
        if isatap and not is_public(IPv4Address(address.packed[12:])):
            return False
    if any(address in network for network in STRICTER):
        return False
    rows = IPV4_ROWS if isinstance(address, IPv4Address) else IPV6_ROWS
    return next((reachable for network, reachable in rows if address in network), True)


def _borders(registry: dict[str, bool]) -> list[int]:
    found = []
    for text in registry:
        network = ip_network(text)
        first, last = int(network.network_address), int(network.broadcast_address)
        found += [first - 1, first, first + 1, last - 1, last, last + 1]
    return [number for number in found if 0 <= number < 1 << network.max_prefixlen]


ipv4 = st.one_of(
    st.integers(0, 2**32 - 1), st.sampled_from(_borders(IPV4_REGISTRY)), st.sampled_from(_borders(IPV4_REGISTRY))
).map(IPv4Address)
prefixes = st.sampled_from(
    [int(IPv6Address(text)) for text in ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::")]
    + [int(IPv6Address(text)) for text in ("2606:4700::5efe:0:0", "2606:4700::200:5efe:0:0", "fe80::5efe:0:0")]
)
embedding = st.one_of(
    st.builds(lambda prefix, inner: prefix | int(inner), prefixes, ipv4),
    st.builds(lambda inner, rest: 0x2002 << 112 | int(inner) << 80 | rest, ipv4, st.integers(0, 2**80 - 1)),
    st.builds(
        lambda rest, inner: 0x2001 << 112 | rest << 32 | ~int(inner) & 0xFFFFFFFF, st.integers(0, 2**64 - 1), ipv4
    ),
)
ipv6 = st.one_of(
    st.integers(0, 2**128 - 1),
    st.integers(1 << 125, (1 << 126) - 1),
    st.sampled_from(_borders(IPV6_REGISTRY)),
    embedding,
).map(IPv6Address)


@given(st.one_of(ipv4, ipv6))
@example(ip_address("2001:1::1"))
@example(ip_address("192.0.0.9"))
def test_verdicts_are_those_of_the_registries(address: IPv4Address | IPv6Address) -> None:
    assert is_permitted(str(address)) is is_public(address)


@pytest.mark.parametrize("number", _borders(IPV4_REGISTRY))
def test_every_border_of_ipv4(number: int) -> None:
    expected = is_public(IPv4Address(number))
    assert is_permitted(str(IPv4Address(number))) is expected
    assert is_permitted(f"64:ff9b::{IPv4Address(number)}") is expected
    assert is_permitted(f"::ffff:{IPv4Address(number)}") is expected
    assert is_permitted(str(IPv6Address(0x2002 << 112 | number << 80))) is expected


@pytest.mark.parametrize("number", _borders(IPV6_REGISTRY))
def test_every_border_of_ipv6(number: int) -> None:
    assert is_permitted(str(IPv6Address(number))) is is_public(IPv6Address(number))


@given(ipv4, st.integers(0, 32), st.one_of(ipv4, ipv6))
def test_a_network_has_the_addresses_that_python_says_it_has(
    base: IPv4Address, length: int, address: IPv4Address | IPv6Address
) -> None:
    network = IPv4Network((int(base) >> (32 - length) << (32 - length), length))
    policy = AddressPolicy(allow=[str(network)])
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) and address.ipv4_mapped is not None else address
    assert is_permitted(str(address), policy) is (inner in network)
    assert is_permitted(str(base), policy) is True


@given(ipv6, st.integers(0, 128), ipv6)
def test_a_network_of_ipv6_likewise(base: IPv6Address, length: int, address: IPv6Address) -> None:
    mapped = ip_network("::ffff:0:0/96")
    network = IPv6Network((int(base) >> (128 - length) << (128 - length), length))
    if base in mapped or network.supernet_of(mapped) or network.subnet_of(mapped):
        return  # counts as IPv4
    policy = AddressPolicy(deny=[str(network)])
    assert is_permitted(str(address), policy) is (address in mapped or address not in network)
    assert is_permitted(str(base), policy) is False
