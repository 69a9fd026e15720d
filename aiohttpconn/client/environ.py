"""What the environment says of proxies: http_proxy, https_proxy, all_proxy, no_proxy, in small letters or capitals."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from ..errors import HTTPException, InvalidURL, UnsupportedScheme
from ..proxy import Proxy
from ..url import Origin, parse

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    from ..url import URL


class EnvironmentProxies:
    """The proxies that the environment names, and whom they are not for. All of it is read when this is made.

    In a CGI script HTTP_PROXY in capitals is not looked at: there it is what a request's Proxy field said (httpoxy).

    no_proxy is a list, with commas or spaces between, of

    - hosts and domains (their subdomains too), with or without a leading dot or ``*.``, in letters of any language;
    - addresses, and networks such as ``10.0.0.0/8`` or ``fd00::/8``;
    - names with stars elsewhere, which stand for anything: ``10.*`` (addresses only, as it has no letters);
    - any of them with a port (an IPv6 address then in brackets); one for http:// or with a slash after it, as in a URL,
      is taken for its host;
    - ``*`` for everything.
    """

    def __init__(self) -> None:
        self._rules = [_Rule(entry) for entry in (_variable("no_proxy").value.lower().replace(",", " ").split())]
        self._by_scheme: dict[str, Proxy | _Variable] = {}
        if any(rule.everything and rule.port is None for rule in self._rules):
            return
        fallback = _variable("all_proxy")
        for scheme in ("http", "https"):
            own = _variable(f"{scheme}_proxy")
            named = own if own.value else fallback
            if named.value:
                try:
                    self._by_scheme[scheme] = named.proxy()
                except HTTPException:
                    self._by_scheme[scheme] = named  # whoever needs it is told; the others can do without

    def __bool__(self) -> bool:
        """Whether there is a proxy for anybody."""
        return bool(self._by_scheme)

    def proxy_for(self, origin: Origin) -> Proxy | None:
        """The proxy through which an origin is reached, None for none.

        Raises `UnsupportedScheme` and `InvalidURL`, which name the variable, for one that cannot be used.
        """
        proxy = self._by_scheme.get(origin.scheme)
        if proxy is None or self.bypasses(origin):
            return None
        return proxy if isinstance(proxy, Proxy) else proxy.proxy()

    def choose_for(self, url: URL) -> Proxy | None:
        """See `ProxyChoice`."""
        return self.proxy_for(url.origin)

    def came_to(self, proxy: Proxy | None, error: BaseException | None) -> None:
        """See `ProxyChoice`: nobody is told."""

    def bypasses(self, origin: Origin) -> bool:
        """Whether no_proxy takes this origin out."""
        if not self._rules:
            return False
        host = origin.host.rstrip(".")
        address = _address(host)
        return any(rule.fits(host, address, origin.port) for rule in self._rules)


class _Variable(NamedTuple):
    """A variable as it is set, or an empty one."""

    name: str
    value: str

    def proxy(self) -> Proxy:
        """The proxy that it names. The errors say where it comes from."""
        value = self.value if "://" in self.value else f"http://{self.value}"
        advice = "unset it, or pass proxy=None or trust_env=False"
        try:
            proxy = Proxy.of(value)
        except UnsupportedScheme as error:
            scheme = value.partition("://")[0]
            raise UnsupportedScheme(
                f"{self.name} names a {scheme}:// proxy, which is not supported: {advice}"
            ) from error
        except ValueError as error:
            raise InvalidURL(f"{self.name} names no proxy: {error}: correct or {advice}") from error
        assert proxy is not None
        return proxy


def _variable(name: str) -> _Variable:
    value = os.environ.get(name)
    if value is None and not (name == "http_proxy" and "REQUEST_METHOD" in os.environ):
        name = name.upper()
        value = os.environ.get(name)
    return _Variable(name, (value or "").strip())


class _Rule:
    """One entry of no_proxy."""

    def __init__(self, entry: str) -> None:
        self.port: int | None = None
        self.network: IPv4Network | IPv6Network | None = None
        self.pattern: re.Pattern[str] | None = None
        _, scheme, rest = entry.rpartition("://")
        entry = rest.partition("/")[0] if scheme else rest.rstrip("/")
        name, port = entry, ""
        if entry.startswith("["):
            name, _, rest = entry[1:].partition("]")
            prefix, _, port = rest.partition(":")
            name += prefix
        elif entry.count(":") == 1:
            name, _, port = entry.partition(":")
        if port:
            self.port = int(port) if port.isascii() and port.isdigit() else -1  # no port: fits nothing
        self.everything = name == "*"
        self.name = _ascii(name.removeprefix("*").strip("."))
        if "*" in self.name:
            anything = "[0-9.]*" if re.fullmatch(r"[0-9.*]+", name) else ".*"
            self.pattern = re.compile(anything.join(map(re.escape, name.split("*"))))
        elif "/" in name or ":" in name or name[:1].isdigit():
            import ipaddress  # noqa: PLC0415 - 2 ms of import, for those who name addresses

            try:
                self.network = ipaddress.ip_network(name, strict=False)
            except ValueError:
                pass  # a name that begins with a digit

    def fits(self, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
        """Whether the entry takes out this host, which may be an address, and port."""
        if self.port not in (None, port):
            return False
        if self.everything:
            return True
        if self.pattern is not None:
            return self.pattern.fullmatch(host) is not None
        if self.network is None:
            return bool(self.name) and (host == self.name or (address is None and host.endswith("." + self.name)))
        if address is None:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return address in self.network or (mapped is not None and mapped in self.network)


def _ascii(name: str) -> str:
    """A host as URLs have it: IDNA."""
    if name.isascii():
        return name
    try:
        return parse(f"http://{name}/").origin.host
    except InvalidURL:
        return name  # fits nothing


def _address(host: str) -> IPv4Address | IPv6Address | None:
    if ":" not in host and not host[-1:].isdigit():
        return None
    import ipaddress  # noqa: PLC0415

    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
