"""What the environment says of proxies: http_proxy, https_proxy, all_proxy, no_proxy, in small letters or capitals."""

from __future__ import annotations

import os
import ssl

from ..messages import Proxy
from ..url import Origin


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
    """Whether no_proxy takes this origin out: a host, a domain with or without a leading dot (its subdomains too),
    either with a port, or ``*``."""
    host = origin.host.rstrip(".")
    for rule in (_variable("no_proxy") or "").lower().split(","):
        name, port = rule.strip(), ""
        if name.startswith("["):
            name, _, port = name[1:].partition("]")
        elif name.count(":") == 1:
            name, _, port = name.partition(":")
        if name == "*":
            return True
        name = name.removeprefix("*").strip(".")
        if name and (host == name or host.endswith("." + name)) and port.removeprefix(":") in ("", str(origin.port)):
            return True
    return False


def environment_context() -> ssl.SSLContext | None:
    """The TLS settings that the environment names, None if it names none."""
    return None
