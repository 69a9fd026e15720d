"""One cookie, and the rules of where it belongs (RFC 6265bis sections 5.1 and 5.7)."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .set_cookie import SetCookie


class Cookie:
    """One cookie, as it is in a jar: to be looked at; changing it changes nothing there.

    - `name`, `value`, `path`; `domain`: the host, without a leading dot.
    - `host_only`: whether it goes to that host alone, and not to those below it.
    - `secure`: whether it goes over https only. `http_only`: whether scripts in a browser would be kept from it.
    - `same_site`: ``"Strict"``, ``"Lax"``, ``"None"`` or None for not said. It is kept, and has no effect here: what a
      client is asked to fetch is what a user types.
    - `expires`: seconds since 1970, None for the end of the session. `created`: seconds since 1970.
    """

    __slots__ = (
        "accessed",
        "created",
        "domain",
        "expires",
        "host_only",
        "http_only",
        "name",
        "order",
        "path",
        "same_site",
        "secure",
        "source",
        "value",
    )

    def __init__(
        self,
        name: str,
        value: str,
        domain: str,
        path: str = "/",
        *,
        host_only: bool = True,
        secure: bool = False,
        http_only: bool = False,
        same_site: str | None = None,
        expires: float | None = None,
        created: float | None = None,
    ) -> None:
        self.name = name
        self.value = value
        self.domain = domain
        self.path = path
        self.host_only = host_only
        self.secure = secure
        self.http_only = http_only
        self.same_site = same_site
        self.expires = expires
        self.created = time() if created is None else created
        # A jar's own notes: what it was made of, and counts that say when it was made and last sent.
        self.source: SetCookie | None = None
        self.order = 0
        self.accessed = 0

    def expired(self, now: float) -> bool:
        """Whether it is over at a time, in seconds since 1970."""
        return self.expires is not None and self.expires <= now

    def copy(self) -> Cookie:
        """A cookie that equals this one."""
        cookie = Cookie(self.name, self.value, self.domain, self.path)
        for name in self.__slots__:
            setattr(cookie, name, getattr(self, name))
        return cookie

    def _fields(self) -> tuple[object, ...]:
        return (
            self.name,
            self.value,
            self.domain,
            self.path,
            self.host_only,
            self.secure,
            self.http_only,
            self.same_site,
            self.expires,
        )

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, Cookie) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.name, self.domain, self.path))

    def __repr__(self) -> str:
        # The value is as good as a password.
        return f"<Cookie {self.name} for {'' if self.host_only else '*.'}{self.domain}{self.path}>"


def is_address(host: str) -> bool:
    """Whether a host (as URLs have it) is an IP address rather than a name."""
    return ":" in host or host.rpartition(".")[2].isdigit()


def domain_matches(host: str, domain: str) -> bool:
    """Whether a host is a domain or lies below it (section 5.1.3)."""
    return host == domain or (host.endswith(domain) and host[-len(domain) - 1] == "." and not is_address(host))


def domains_above(host: str) -> list[str]:
    """The domains that a host lies below, the longest first."""
    above = []
    if not is_address(host):
        at = host.find(".")
        while at >= 0:
            above.append(host[at + 1 :])
            at = host.find(".", at + 1)
    return above


def path_matches(path: str, cookie_path: str) -> bool:
    """Whether a cookie's path is a request's, or a directory above it (section 5.1.4)."""
    if not path.startswith(cookie_path):
        return False
    return len(path) == len(cookie_path) or cookie_path.endswith("/") or path[len(cookie_path)] == "/"


def paths_above(path: str) -> list[str]:
    """The paths of cookies that go with a request for a path: all that `path_matches` would find."""
    above = [path]
    at = path.find("/")
    while at >= 0:
        above += [path[: at + 1], path[:at]] if at else ["/"]
        at = path.find("/", at + 1)
    return above


def default_path(path: str) -> str:
    """The path of a cookie that names none: the directory of the request's (section 5.1.4)."""
    return path[: path.rfind("/")] or "/"


def keeps_prefix(name: str, value: str, *, secure: bool, one_host: bool) -> bool:
    """Whether a cookie keeps what its name promises (section 4.1.3): Secure, and for ``__Host-`` to be for one host and
    all its paths. In any case of letters, since servers compare so; without a name, the value must not look like one.
    """
    if not name:
        return not value.lower().startswith(("__secure-", "__host-"))
    lower = name.lower()
    if lower.startswith("__host-"):
        return secure and one_host
    return secure or not lower.startswith("__secure-")
