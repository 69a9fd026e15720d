"""The entries of an `AddressPolicy`: what their texts mean, and which of them an address, a name or a path meets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import InvalidURL
from ..url import parse
from .address_ranges import IP, ip

# What the URL parser would leave as it is: lower case, and nothing that it would read as a number at the end.
_PLAIN_NAME = re.compile(r"(?:[a-z0-9_-]+\.)*[a-z_][a-z0-9_-]*")
_NOT_IN_HOST = re.compile(r"[\0- /?#@\\%:\[\]\x7f]")


def read_host(host: str) -> tuple[str, IP | None]:
    """A host as a URL would have it, without its trailing dot (IDNA, lower case), and the address that it is if it is a
    literal: in any spelling that a URL may have, with or without brackets and zone.

    Raises `InvalidURL` for what can be no host.

    >>> read_host("Bücher.example.")
    ('xn--bcher-kva.example', None)
    >>> read_host("0x7f.1")
    ('127.0.0.1', IP(version=4, value=2130706433))
    """
    name = host.rstrip(".")
    if _PLAIN_NAME.fullmatch(name) and "xn--" not in name:
        return name, None
    if ":" in host:
        name = host.partition("%")[0].strip("[]")
        if (address := ip(name)) is None or not host.isprintable():
            raise InvalidURL(f"not an IPv6 address: {host!r}")
        return name, address
    if not name or _NOT_IN_HOST.search(host):
        raise InvalidURL(f"not the name of a host: {host!r}")
    name = parse(f"http://{host}/").origin.host.rstrip(".")
    return name, ip(name)


_ALL_PORTS = (0, 65535)


class _Ports(NamedTuple):
    """The ports that an entry is for, and the entry."""

    first: int
    last: int
    entry: str


class _Entry(NamedTuple):
    """One entry: exactly one of `network`, `name`, `path` and `anything` is set."""

    text: str
    ports: _Ports
    network: tuple[IP, int] | None = None
    name: str = ""
    subdomains: bool = False
    path: str = ""
    anything: bool = False


class AddressRules:
    """A list of entries, compiled: what it costs to ask does not grow with their number."""

    __slots__ = ("_anything", "_names", "_networks", "_parents", "_paths", "entries")

    def __init__(self, entries: Iterable[str]) -> None:
        self._anything: list[_Ports] = []
        self._networks: dict[tuple[int, int], dict[int, list[_Ports]]] = {}  # by version and bits of the host part
        self._names: dict[str, list[_Ports]] = {}
        self._parents: dict[str, list[_Ports]] = {}
        self._paths: list[str] = []
        texts = set()
        for text in entries:
            entry = parse_entry(text)
            texts.add(entry.text)
            if entry.path:
                self._paths.append(entry.path)
            elif entry.network is not None:
                address, host_bits = entry.network
                table = self._networks.setdefault((address.version, host_bits), {})
                table.setdefault(address.value >> host_bits, []).append(entry.ports)
            elif entry.name:
                names = self._parents if entry.subdomains else self._names
                names.setdefault(entry.name, []).append(entry.ports)
            else:
                self._anything.append(entry.ports)
        self.entries = tuple(sorted(texts))
        """The entries in canonical form, sorted, each once."""

    def __bool__(self) -> bool:
        return bool(self.entries)

    def of_address(self, address: IP, port: int) -> str | None:
        """The entry that an address and port meet, None without one."""
        for (version, host_bits), table in self._networks.items():
            if (
                version == address.version
                and (rows := table.get(address.value >> host_bits)) is not None
                and (entry := _of_port(rows, port)) is not None
            ):
                return entry
        return _of_port(self._anything, port)

    def of_name(self, name: str, port: int) -> str | None:
        """The entry that a name, in canonical form, and port meet, None without one."""
        if (rows := self._names.get(name)) is not None and (entry := _of_port(rows, port)) is not None:
            return entry
        if self._parents:
            _, dot, parent = name.partition(".")
            while dot:
                if (rows := self._parents.get(parent)) is not None and (entry := _of_port(rows, port)) is not None:
                    return entry
                _, dot, parent = parent.partition(".")
        return _of_port(self._anything, port)

    def has_addresses(self, port: int) -> bool:
        """Whether there is any entry that an address may meet at this port."""
        tables = self._networks.values()
        return any(_of_port(rows, port) is not None for table in tables for rows in table.values())

    def of_path(self, path: str, *, denied: bool = False) -> str | None:
        """The entry that a Unix socket meets: spelt the same, or where they deny after following symbolic links, and by
        one for everything."""
        for own in self._paths:
            if own == path or (own.endswith("*") and _begins(path, own[:-1])) or (denied and _same_file(own, path)):
                return f"unix:{_shown_path(own)}"
        return next((rows.entry for rows in self._anything if denied and rows[:2] == _ALL_PORTS), None)


def _of_port(rows: list[_Ports], port: int) -> str | None:
    for first, last, entry in rows:
        if first <= port <= last:
            return entry
    return None


def _begins(path: str, prefix: str) -> bool:
    # "/run/../etc/x" does begin with "/run/", and is not there.
    return path.startswith(prefix) and (not prefix or ".." not in path.split("/"))


def _same_file(entry: str, path: str) -> bool:
    """Whether the entry means what the path leads to, symbolic links followed."""
    if "\0" in entry + path:
        return False
    if not entry.endswith("*"):
        return os.path.realpath(entry) == os.path.realpath(path)
    folder, _, start = entry[:-1].rpartition("/")
    return os.path.realpath(path).startswith(os.path.join(os.path.realpath(folder or "/"), start))


def _shown_path(path: str) -> str:
    return "@" + path[1:] if path.startswith("\0") else path


# --- from text to entry -----------------------------------------------------------------------------------------------


def parse_entry(text: str) -> _Entry:
    """The meaning of one entry. Raises ValueError that names the entry, TypeError if it is no str."""
    if not isinstance(text, str):
        raise TypeError(f"an entry of allow or deny must be a str, not {type(text).__name__}")
    if text.startswith("unix:"):
        return _unix_entry(text)
    if "://" in text:
        raise _wrong(text, "it is a URL; an entry has only a host and perhaps a port")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            raise _wrong(text, "brackets are around an IPv6 address or network, with :port after them")
        port = rest[1:] if rest else None
    elif text.count(":") > 1:
        host, port = text, None
    else:
        host, colon, after = text.partition(":")
        port = after if colon else None
    first, last = _port_range(text, port)
    ports = "" if port is None else f":{first}" if first == last else f":{first}-{last}"
    if host in ("", "*"):
        if not text:
            raise _wrong(text, "it is empty")
        text = f"*{ports}"
        return _Entry(text, _Ports(first, last, text), anything=True)
    network = _network(text, host) if ":" in host or "/" in host else _ipv4(text, host)
    if network is not None:
        text = _network_text(network, ports)
        return _Entry(text, _Ports(first, last, text), network=network)
    subdomains = host.startswith((".", "*."))
    name = _name(text, host[host.index(".") + 1 :] if subdomains else host)
    text = f"{'*.' if subdomains else ''}{name}{ports}"
    return _Entry(text, _Ports(first, last, text), name=name, subdomains=subdomains)


def _wrong(text: str, why: str) -> ValueError:
    return ValueError(f"{text!r} cannot be an entry of allow or deny: {why}")


def _unix_entry(text: str) -> _Entry:
    path = text[len("unix:") :]
    if path.startswith("@"):
        path = "\0" + path[1:]
    if path != "*" and (len(path) < 2 or path[0] not in "/\0" or "\0" in path[1:]):
        raise _wrong(text, "unix: is followed by an absolute path, by @ and an abstract name, or by * for all")
    if "*" in path[:-1]:
        raise _wrong(text, "a star stands at the end of a path only, for all that begin so")
    text = f"unix:{_shown_path(path)}"
    return _Entry(text, _Ports(*_ALL_PORTS, text), path=path)


def _port_range(text: str, port: str | None) -> tuple[int, int]:
    if port is None:
        return _ALL_PORTS
    low, dash, high = port.partition("-")
    if not dash:
        high = low
    if not all(number.isascii() and number.isdigit() and len(number) <= 5 for number in (low, high)):
        raise _wrong(text, f"{port!r} is neither a port nor a range such as 8000-8099")
    first, last = int(low), int(high)
    if not first <= last <= 65535:
        raise _wrong(text, f"ports go from 0 to 65535, and a range from the lower to the higher: {port!r}")
    return first, last


def _ipv4(text: str, host: str) -> tuple[IP, int] | None:
    """The IPv4 address that a host without colon and slash is, None if it is a name."""
    if (address := ip(host)) is not None:
        return address, 0
    if not host.startswith((".", "*")) and (meant := _read(text, host)[1]) is not None:
        # "10.1" is 10.0.0.1, and whoever wrote it may have meant a network.
        raise _wrong(text, f"an address is written in full: {meant}")
    return None


def _network(text: str, network: str) -> tuple[IP, int]:
    """A network's address, and how many of its bits are the host's."""
    host, slash, length = network.partition("/")
    if "%" in host:
        raise _wrong(text, "an entry has no zone")
    address = ip(host)
    if address is None:
        raise _wrong(text, f"{host!r} is no address")
    mapped = address.version == 4 and ":" in host
    bits = 128 if ":" in host else 32
    if not slash:
        if _looks_like_a_port(address) and "." not in host and f"[{host}]" not in text:
            raise _wrong(text, f"brackets are needed to tell an address from one with a port: [{host}] or [::1]:8080")
        return address, 0
    if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= bits):
        raise _wrong(text, f"the length of a network's prefix is a number from 0 to {bits}")
    host_bits = bits - int(length)
    if mapped and host_bits > 32:
        raise _wrong(text, "IPv4-mapped addresses count as IPv4: write the network as such")
    if address.value & ((1 << host_bits) - 1):
        first = IP(address.version, address.value >> host_bits << host_bits)
        raise _wrong(text, f"it has bits set beyond its prefix; the network is {_network_text((first, host_bits), '')}")
    return address, host_bits


def _network_text(network: tuple[IP, int], ports: str) -> str:
    address, host_bits = network
    text = str(address)
    if host_bits:
        text += f"/{(32 if address.version == 4 else 128) - host_bits}"
    bracketed = address.version == 6 and (ports or (not host_bits and _looks_like_a_port(address)))
    return f"[{text}]{ports}" if bracketed else text + ports


def _looks_like_a_port(address: IP) -> bool:
    """Whether an address without brackets may have been meant as one with a port: "::1:8080" is ::0.1.128.128."""
    return address.version == 6 and 1 < address.value < 1 << 32


def _name(text: str, host: str) -> str:
    name, address = _read(text, host)
    # Of two dots at the end a URL drops neither: "0.." is a name there, "0." and "0" are addresses.
    if "*" in host or host.endswith("..") or "" in name.split(".") or address is not None:
        raise _wrong(text, f"{host!r} is not the name of a host")
    return name


def _read(text: str, host: str) -> tuple[str, IP | None]:
    try:
        return read_host(host)
    except InvalidURL as error:
        raise _wrong(text, str(error)) from error
