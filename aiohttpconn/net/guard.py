"""Which addresses may be connected to: what keeps a service that fetches strangers' URLs out of its own network."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, final

from ..errors import AddressBlocked
from ..url import Origin
from .address_ranges import IP, LOOPBACK, forms_of, ip, why_not_public
from .address_rules import AddressRules, read_host
from .tcp import Address

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")  # RFC 3986 section 3.1
_AF_UNIX = getattr(socket, "AF_UNIX", None)
_SHOWN_ADDRESSES = 4


@final
class AddressPolicy:
    """Which schemes, hosts, addresses and ports may be connected to. An immutable value.

    ``AddressPolicy.public_only()`` lets through only what is an address of the public Internet by IANA's registries
    (RFC 6890): not loopback, private, link-local (cloud metadata), unique-local, carrier NAT, multicast, reserved,
    documentation, benchmarking, nor an IPv6 address that embeds one of those. Unix sockets are local.

    Args:
        public: whether only public addresses are permitted, `allow` apart.
        allow: what is permitted all the same. Without `public` a list that is not empty says all that is permitted.
        deny: what is not permitted, whatever the other two say.
        schemes: the schemes that URLs may have. An ``http+unix`` URL needs either that scheme here or an entry of
            `allow` that names its socket.

    The rules apply in this order: `deny`, then `allow`, then `public`. An entry is one of:

    - ``"10.1.2.3"``, ``"10.0.0.0/8"``, ``"fd00::/8"``: an address or network. An IPv4-mapped IPv6 address counts as
      IPv4. To deny an IPv4 address denies the IPv6 forms that lead to it (NAT64, 6to4, Teredo, ISATAP), to deny
      127.0.0.1 or ::1 denies the unspecified addresses (0.0.0.0, ::) by which systems reach them; to allow does not
      allow them.
    - ``"intranet.example"``: that name and no other; ``"*.example"`` or ``".example"``: all names below it, at any
      depth, not itself. Case and a trailing dot do not matter; names are compared after IDNA. An allowed name is
      allowed whatever it resolves to, but for addresses that are denied.
    - any of them with a port or a range of ports: ``"127.0.0.1:8080"``, ``"[::1]:8080"``, ``"[fd00::/8]:443"``,
      ``"*.example:8000-8099"``; ``"*:8080"`` or ``":8080"`` is that port of everything (allowed: of your own network
      too), ``"*"`` everything; denied, that is Unix sockets too.
    - ``"unix:/run/app.sock"``, ``"unix:@name"`` (abstract): a Unix socket; ``"unix:/run/*"``, ``"unix:@app-*"``: all
      whose path or name begins so, at any depth; ``"unix:*"``: all. A denied path is compared with symbolic links
      followed, an allowed one as it is spelt (one with ``..`` in it begins like no other).

    Names below ``localhost`` are loopback by definition (RFC 6761 section 6.3) and judged so before any look-up. What a
    proxy resolves it resolves for itself: of a request through one, the proxy's addresses are judged, and the target by
    its name or literal.

    Raises:
        ValueError: an entry or scheme that cannot be; the text names it.
        TypeError: a str in place of a list.

    >>> policy = AddressPolicy.public_only(allow=["10.1.2.0/24", "127.0.0.1:8080"])
    >>> policy.check_host("10.1.2.3", 80)
    >>> policy.check_host("0x7f.1", 80)
    Traceback (most recent call last):
    ...
    aiohttpconn.errors.AddressBlocked: 0x7f.1:80 is forbidden: 127.0.0.1 is not public (loopback, RFC 1122: 127.0.0.0/8)
    """

    __slots__ = ("_allow", "_deny", "public", "schemes")

    _allow: AddressRules
    _deny: AddressRules
    public: bool
    schemes: tuple[str, ...]

    def __init__(
        self,
        *,
        public: bool = False,
        allow: Iterable[str] = (),
        deny: Iterable[str] = (),
        schemes: Iterable[str] = ("http", "https"),
    ) -> None:
        for name, value in (("allow", allow), ("deny", deny), ("schemes", schemes)):
            if isinstance(value, (str, bytes)):
                raise TypeError(f"{name} must be a list of str, not {value!r} alone")
        # Past __setattr__, which forbids it.
        put = object.__setattr__
        put(self, "public", bool(public))
        put(self, "_allow", AddressRules(allow))
        put(self, "_deny", AddressRules(deny))
        put(self, "schemes", tuple(sorted({_scheme(scheme) for scheme in schemes})))

    @classmethod
    def public_only(
        cls, *, allow: Iterable[str] = (), deny: Iterable[str] = (), schemes: Iterable[str] = ("http", "https")
    ) -> AddressPolicy:
        """The policy that permits public addresses and what `allow` adds, without what `deny` takes away."""
        return cls(public=True, allow=allow, deny=deny, schemes=schemes)

    @property
    def allow(self) -> tuple[str, ...]:
        """The entries that allow, in canonical form, sorted."""
        return self._allow.entries

    @property
    def deny(self) -> tuple[str, ...]:
        """The entries that deny, in canonical form, sorted."""
        return self._deny.entries

    # --- before any look-up ---

    def check_origin(self, origin: Origin) -> None:
        """Refuse an origin by all that is known before its name is looked up: scheme, port, name or literal address.

        Raises `AddressBlocked`; `InvalidURL` for a host that cannot be.
        """
        path = origin.uds
        if path is None:
            self.check_scheme(origin)
            self.check_host(origin.host, origin.port)
        elif origin.scheme in self.schemes or self._allow.of_path(path) is not None:
            self.check_unix(path)
        else:
            raise _blocked_socket(
                path, f"{self._permitted_schemes()} permitted, and it is not in the list of what is allowed"
            )

    def check_scheme(self, origin: Origin) -> None:
        """Refuse an origin by its scheme alone: what is left to check where a Unix socket stands in for its host.

        Raises `AddressBlocked`.
        """
        if origin.scheme not in self.schemes:
            raise _blocked(f"{origin.scheme}://{origin.host}", origin.port, f"{self._permitted_schemes()} permitted")

    def _permitted_schemes(self) -> str:
        return f"only {' and '.join(self.schemes)} URLs are" if self.schemes else "no scheme is"

    def check_host(self, host: str, port: int) -> None:
        """`check_origin()` for what has no scheme of a URL, such as a proxy.

        A literal in any spelling (``0x7f.1``, ``2130706433``, ``::ffff:7f00:1``) is judged as the address it is. A name
        that passes may yet have no address that is permitted: `permitted()` tells. Raises `AddressBlocked`;
        `InvalidURL` for a host that cannot be.
        """
        self._check(host, port, *read_host(host))

    def _check(self, host: str, port: int, name: str, address: IP | None) -> None:
        if address is not None:
            why = self._why_not(address, port, zone="%" in host)
            if why is not None:
                raise _blocked(host, port, f"{address} {why}")
            return
        deny, allow = self._deny, self._allow
        if deny and (entry := deny.of_name(name, port)) is not None:
            raise _blocked(host, port, f"it is denied by {entry!r}")
        if allow:
            if allow.of_name(name, port) is not None:
                return
            if not self.public and not allow.has_addresses(port):
                raise _blocked(host, port, "it is not in the list of what is allowed")
        if name == "localhost" or name.endswith(".localhost"):
            reasons = [self._why_not(loopback, port) for loopback in LOOPBACK]
            if None not in reasons:
                raise _blocked(host, port, f"it is a name of loopback, and {LOOPBACK[0]} {reasons[0]}")

    def check_unix(self, path: str) -> None:
        """Refuse a Unix socket by its path (``"\\0name"`` if abstract): it is local, and so never public.

        Raises `AddressBlocked`.
        """
        why = self._why_not_unix(path)
        if why is not None:
            raise _blocked_socket(path, why)

    def _why_not_unix(self, path: str) -> str | None:
        entry = self._deny.of_path(path, denied=True)
        if entry is not None:
            return f"it is denied by {entry!r}"
        if self._allow.of_path(path) is not None:
            return None
        if self.public:
            return "it is local, not public"
        return "it is not in the list of what is allowed" if self._allow else None

    # --- after the look-up ---

    def permitted(self, host: str, port: int, addresses: Sequence[Address]) -> list[Address]:
        """Those of the addresses of `host` that may be dialled, in their order, the very objects: connect to these, do
        not look up again.

        The port that counts is each address's own. A socket address that holds no literal, or is of an unknown family,
        is never permitted. Raises `AddressBlocked` if none is left, `InvalidURL` for a host that cannot be.
        """
        name, literal = read_host(host)
        self._check(host, port, name, literal)
        permitted: list[Address] = []
        refused: list[str] = []
        for address in addresses:
            why = self._why_not_dial(name, *address)
            if why is None:
                permitted.append(address)
            else:
                refused.append(why)
        if not permitted:
            more = f"; and {len(refused) - _SHOWN_ADDRESSES} more" if len(refused) > _SHOWN_ADDRESSES else ""
            raise _blocked(host, port, "; ".join(refused[:_SHOWN_ADDRESSES]) + more or "it has no address")
        return permitted

    def _why_not_dial(self, name: str, family: int, where: Any) -> str | None:
        """Why a socket address of the host `name` must not be dialled, None if it may."""
        if family == _AF_UNIX:
            why = self._why_not_unix(where) if isinstance(where, str) else "its path is no str"
            return why and f"Unix socket {where!r}: {why}"
        if family not in (socket.AF_INET, socket.AF_INET6):
            return f"addresses of family {family} cannot be judged"
        spelt, port = str(where[0]), where[1]
        text = spelt.partition("%")[0] if family == socket.AF_INET6 else spelt
        address = ip(text)
        if address is None or (":" in text) != (family == socket.AF_INET6) or not isinstance(port, int):
            return f"{where!r} is no IP address and port"
        # A zone stands in the text, or as its number behind port and flow.
        why = self._why_not(address, port, name, zone=text != spelt or any(where[3:4]))
        return why and f"{address} {why}"

    def _why_not(self, address: IP, port: int, name: str = "", *, zone: bool = False) -> str | None:
        """Why an address must not be dialled, to go after it in a sentence; None if it may."""
        deny, allow = self._deny, self._allow
        if deny:
            for form in forms_of(address):
                entry = deny.of_address(form, port)
                if entry is not None:
                    return f"is denied by {entry!r}"
            if name and (entry := deny.of_name(name, port)) is not None:
                return f"is denied by {entry!r}"
        if allow and (allow.of_address(address, port) is not None or (name and allow.of_name(name, port) is not None)):
            return None
        if self.public:
            what = "it has a zone" if zone else why_not_public(address)
            return what and f"is not public ({what})"
        return "is not in the list of what is allowed" if allow else None

    # --- a value ---

    def _key(self) -> tuple[object, ...]:
        return self.public, self.allow, self.deny, self.schemes

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, AddressPolicy) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an AddressPolicy is immutable: its {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an AddressPolicy is immutable: its {name} cannot be deleted")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, self._key()

    def __repr__(self) -> str:
        given = [f"{name}={list(value)}" for name, value in (("allow", self.allow), ("deny", self.deny)) if value]
        if self.schemes != ("http", "https"):
            given.append(f"schemes={list(self.schemes)}")
        return f"AddressPolicy{'.public_only' if self.public else ''}({', '.join(given)})"


def _restore(public: bool, allow: tuple[str, ...], deny: tuple[str, ...], schemes: tuple[str, ...]) -> AddressPolicy:
    return AddressPolicy(public=public, allow=allow, deny=deny, schemes=schemes)


def _scheme(scheme: str) -> str:
    if not isinstance(scheme, str):
        raise TypeError(f"a scheme must be a str, not {type(scheme).__name__}")
    if _SCHEME.fullmatch(scheme.lower()) is None:
        raise ValueError(f"{scheme!r} is not a URL's scheme")
    return scheme.lower()


def _blocked(host: str, port: int, why: str) -> AddressBlocked:
    where = f"[{host}]:{port}" if ip(host.partition("%")[0]) and ":" in host else f"{host}:{port}"
    return AddressBlocked(f"{where} is forbidden: {why}")


def _blocked_socket(path: str, why: str) -> AddressBlocked:
    return AddressBlocked(f"the Unix socket {path!r} is forbidden: {why}")
