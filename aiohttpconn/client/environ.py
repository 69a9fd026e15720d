"""What the environment says of proxies: http_proxy, https_proxy, all_proxy, no_proxy, in small letters or capitals."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from ..net.tls import TLS_VARIABLES
from ..proxy import Proxy
from ..url import Origin

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network


def environment_proxies() -> dict[str, Proxy | None]:
    """The proxies by scheme, as the environment names them now.

    Raises `UnsupportedScheme` and `InvalidURL` for one that cannot be used. In a CGI script HTTP_PROXY in capitals is
    not looked at: there it is what a request's Proxy field said (httpoxy).
    """
    fallback = _variable("all_proxy")
    proxies: dict[str, Proxy | None] = {}
    for scheme in ("http", "https"):
        value = _variable(f"{scheme}_proxy") or fallback
        if value:
            proxies[scheme] = Proxy.of(value if "://" in value else f"http://{value}")
    return proxies


def _variable(name: str) -> str | None:
    value = os.environ.get(name)
    if value is None and not (name == "http_proxy" and "REQUEST_METHOD" in os.environ):
        value = os.environ.get(name.upper())
    return value


def bypasses_proxy(origin: Origin) -> bool:
    """Whether no_proxy takes this origin out.

    It is a list with commas or spaces between of: a host or domain, with or without a leading dot or ``*.`` (its
    subdomains too); an address; a network such as ``10.0.0.0/8`` or ``fd00::/8``; any of them with a port (an IPv6
    address then in brackets); ``*`` for everything.
    """
    text = _variable("no_proxy")
    if not text:
        return False
    host = origin.host.rstrip(".")
    return any(rule.fits(host, origin.port) for rule in _rules(text.lower()))


class _Rule:
    """One entry of no_proxy."""

    def __init__(self, entry: str) -> None:
        self.port: int | None = None
        self.network: IPv4Network | IPv6Network | None = None
        name, port = entry, ""
        if entry.startswith("["):
            name, _, port = entry[1:].partition("]")
            port = port.removeprefix(":")
        elif entry.count(":") == 1:
            name, _, port = entry.partition(":")
        if port:
            self.port = int(port) if port.isascii() and port.isdigit() else -1  # no port: fits nothing
        self.everything = name == "*"
        self.name = name.removeprefix("*").strip(".")
        if "/" in name or ":" in name or name[:1].isdigit():
            import ipaddress  # noqa: PLC0415 - 2 ms of import, for those who name addresses

            try:
                self.network = ipaddress.ip_network(name, strict=False)
            except ValueError:
                pass  # a name that begins with a digit

    def fits(self, host: str, port: int) -> bool:
        """Whether the entry takes out this host and port."""
        if self.port not in (None, port):
            return False
        if self.everything:
            return True
        if self.network is None:
            return bool(self.name) and (host == self.name or host.endswith("." + self.name))
        import ipaddress  # noqa: PLC0415

        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return address in self.network or (mapped is not None and mapped in self.network)


@lru_cache(maxsize=8)
def _rules(text: str) -> tuple[_Rule, ...]:
    return tuple([_Rule(entry) for entry in text.replace(",", " ").split()])


def names_tls_settings() -> bool:
    """Whether the environment says anything of TLS: SSL_CERT_FILE, SSL_CERT_DIR, SSLKEYLOGFILE."""
    return any(os.environ.get(name) for name in TLS_VARIABLES)
