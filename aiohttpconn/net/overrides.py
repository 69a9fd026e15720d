"""Addresses given by hand for names, as by curl's ``--resolve``."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..url import parse
from .resolve import GivenAddresses, Resolver, SystemResolver, checked_resolver, literal_address, scope_of

if TYPE_CHECKING:
    from .tcp import Address


class OverridingResolver:
    """A `Resolver` that knows the addresses of some names, and asks another one for the rest.

    - `overrides`: addresses by ``"host:port"``, ``"host"`` (any port), ``"*:port"`` (any name) or ``"*"``; the first of
      these that there is counts. An address is IPv4 or IPv6, in brackets or not, with a zone or without
      (``"fe80::1%eth0"``). Several are a list, or one text with commas; they are tried in the order given. The port is
      that of the request.
    - `upstream`: who is asked for other names; None for the system.

    Names are told apart after IDNA, without regard to case or a trailing dot. Only names are looked up: a URL whose
    host is an address goes there, whatever ``"*"`` says. Raises ValueError, naming the entry that is wrong.

    >>> resolver = OverridingResolver({"example.org:443": "127.0.0.1", "api.example": ["::1", "127.0.0.1"]})
    """

    def __init__(self, overrides: Mapping[str, str | Sequence[str]], upstream: Resolver | None = None) -> None:
        if not isinstance(overrides, Mapping):
            raise TypeError(f"overrides must be a mapping like {{'host:port': 'address'}}, not {overrides!r}")
        if upstream is not None:
            checked_resolver("upstream", upstream)
        self.upstream: Resolver = SystemResolver() if upstream is None else upstream
        self._addresses: dict[tuple[str, int | None], list[Address]] = {}
        for entry, value in overrides.items():
            if not isinstance(entry, str) or not isinstance(value, (str, list, tuple)):
                raise TypeError(f"resolve entry {entry!r}: {value!r} is no address, nor a list of addresses")
            try:
                key = _key(entry)
                self._addresses[key] = [_address(each) for each in _several(value)]
            except ValueError as error:
                raise ValueError(f"resolve entry {entry!r}: {value!r} is wrong: {error}") from error

    def __repr__(self) -> str:
        names = ", ".join(f"{host}:{port}" if port else host for host, port in self._addresses)
        return f"<OverridingResolver of {names or 'nothing'}>"

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """The addresses given for `host`, else what the upstream says, which also may raise."""
        found = self.override(host, port)
        return await self.upstream.resolve(host, port) if found is None else found

    def override(self, host: str, port: int) -> list[Address] | None:
        """The addresses given for `host`, None if none are."""
        name = host.lower().removesuffix(".")
        known = self._addresses
        for key in ((name, port), (name, None), ("*", port), ("*", None)):
            if (addresses := known.get(key)) is not None:
                return GivenAddresses([(family, (where[0], port, *where[2:])) for family, where in addresses])
        return None


def _key(entry: str) -> tuple[str, int | None]:
    host, colon, digits = entry.rpartition(":")
    if not colon or entry.endswith("]"):
        host, digits = entry, ""
    elif not (digits.isascii() and digits.isdigit() and 0 < int(digits) < 65_536):
        raise ValueError(f"{digits!r} is no port")
    port = int(digits) if digits else None
    if host == "*":
        return host, port
    if not host or "*" in host or any(mark in host for mark in "/?#@\\"):
        raise ValueError("a key is 'host:port', 'host', '*:port' or '*'")
    name = parse(f"http://{host}/").host.removesuffix(".")
    if ":" in name or literal_address(name, 0) is not None:
        raise ValueError(f"{host} is an address, which is not looked up")
    return name, port


def _several(value: str | Sequence[str]) -> list[str]:
    found = value.split(",") if isinstance(value, str) else list(value)
    if not found:
        raise ValueError("no address is given")
    return found


def _address(text: str) -> Address:
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no address")
    bare = text.strip()
    if bare.startswith("[") and bare.endswith("]") and ":" in bare:
        bare = bare[1:-1]
    if (address := literal_address(bare, 0)) is not None:
        return address
    name, mark, zone = bare.partition("%")
    if mark and literal_address(name, 0) is not None and ":" in name:
        try:
            return socket.AF_INET6, (name, 0, 0, scope_of(zone))
        except OSError as error:
            raise ValueError(f"there is no network interface {zone!r}") from error
    raise ValueError(f"{text!r} is no IPv4 or IPv6 address (the port is that of the request)")
