"""What a caller wants set on the sockets that are dialled: options, the interface, keep-alive probes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import TypeAlias

from ..errors import ConnectError

SocketOption: TypeAlias = tuple[int, int, int | bytes]
"""Level, name and value, as `socket.setsockopt` takes them."""

_IDLE = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)  # macOS has the second name
_IFNAMSIZ = 16
_MOST_SECONDS, _MOST_PROBES = 32_767, 127
"""What Linux takes of TCP_KEEPIDLE and TCP_KEEPINTVL, and of TCP_KEEPCNT."""


class SocketOptions:
    """Options that are set on each socket before it connects: SO_RCVBUF decides on the window that TCP then announces.

    An option of a level that a socket has not is left out: those of IPv6 on an IPv4 socket and the other way round,
    and all but SOL_SOCKET's on a Unix socket.
    """

    __slots__ = ("_options",)

    def __init__(self, options: list[tuple[SocketOption, str]]) -> None:
        self._options = options

    @classmethod
    def of(
        cls,
        socket_options: Iterable[SocketOption] | SocketOptions = (),
        interface: str | None = None,
        tcp_keepalive: tuple[int, int, int] | None = None,
    ) -> SocketOptions | None:
        """What a caller gave, checked; None for nothing. Raises TypeError, ValueError."""
        if isinstance(socket_options, SocketOptions):
            return socket_options
        found: list[tuple[SocketOption, str]] = []
        if interface is not None:
            found.append(_interface(interface))
        if tcp_keepalive is not None:
            found += _probes(tcp_keepalive)
        found += [(_checked(option), "") for option in socket_options]
        return cls(found) if found else None

    def apply(self, sock: socket.socket) -> None:
        """Set them. Raises `ConnectError` with the option in words."""
        family = sock.family
        for (level, name, value), what in self._options:
            if _has(family, level, what):
                try:
                    sock.setsockopt(level, name, value)
                except OSError as error:
                    why = os.strerror(error.errno) if error.errno else str(error)
                    raise ConnectError(f"{what or _in_words(level, name, value)} was refused: {why}") from error

    def apply_again(self, sock: socket.socket) -> None:
        """Set what the loop has set otherwise meanwhile: TCP_NODELAY, which it switches on."""
        if sock.family == getattr(socket, "AF_UNIX", None):
            return
        for (level, name, value), _ in self._options:
            if level == socket.IPPROTO_TCP and name == socket.TCP_NODELAY:
                sock.setsockopt(level, name, value)


def checked_local_address(name: str, value: tuple[str, int] | str | None) -> tuple[str, int] | str | None:
    """What sockets are bound to: an address, or (address, port). A name would be looked up on the loop's own thread.

    Returns it. ``("", port)`` is any address, as in `http.client`. Raises TypeError, ValueError.
    """
    if value is None:
        return None
    host, port = value if isinstance(value, (tuple, list)) and len(value) == 2 else (value, 0)
    if not isinstance(host, str) or isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"{name} must be an address such as '192.0.2.1', or (address, port), not {value!r}")
    if not 0 <= port <= 65_535:
        raise ValueError(f"the port of {name} must be from 0 (any) to 65535: {value!r}")
    if host or isinstance(value, str):
        text = host.partition("%")[0] if ":" in host else host
        try:
            socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, text)
        except (OSError, ValueError):
            raise ValueError(f"{name} must be an IPv4 or IPv6 address, and no name: {value!r}") from None
    return value


def _has(family: int, level: int, what: str) -> bool:
    """Whether a socket of that family has options of that level; `what` there is only of TCP's own."""
    if family == getattr(socket, "AF_UNIX", None):
        return level == socket.SOL_SOCKET and not what
    if level == socket.IPPROTO_IP:
        return family == socket.AF_INET
    if level == socket.IPPROTO_IPV6:
        return family == socket.AF_INET6
    return True


def _checked(option: SocketOption) -> SocketOption:
    if not isinstance(option, (tuple, list)) or len(option) != 3:
        raise TypeError(f"a socket option must be (level, name, value), not {option!r}")
    level, name, value = option
    if not isinstance(level, int) or not isinstance(name, int) or not isinstance(value, (int, bytes)):
        raise TypeError(f"a socket option must be (int, int, int or bytes), not {option!r}")
    if isinstance(value, int) and not -(2**31) <= value < 2**31:
        raise ValueError(f"a socket option's number must fit into 32 bits: {option!r}")
    return int(level), int(name), value


def _interface(name: str) -> tuple[SocketOption, str]:
    option = getattr(socket, "SO_BINDTODEVICE", None)
    if option is None:
        raise ValueError("interface needs SO_BINDTODEVICE, which this system has not")
    if not isinstance(name, str):
        raise TypeError(f"interface must be a name such as 'eth0', not {name!r}")
    encoded = os.fsencode(name)
    if not 0 < len(encoded) < _IFNAMSIZ or b"\0" in encoded or b"/" in encoded:
        raise ValueError(f"not the name of an interface: {name!r}")
    return (socket.SOL_SOCKET, option, encoded), f"the interface {name!r} (SO_BINDTODEVICE)"


def _probes(probes: tuple[int, int, int]) -> list[tuple[SocketOption, str]]:
    if not isinstance(probes, (tuple, list)) or len(probes) != 3:
        raise TypeError(f"tcp_keepalive must be (idle, interval, count), not {probes!r}")
    for value, most in zip(probes, (_MOST_SECONDS, _MOST_SECONDS, _MOST_PROBES), strict=True):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"tcp_keepalive must be whole seconds and a number, not {probes!r}")
        if not 1 <= value <= most:
            raise ValueError(f"tcp_keepalive must be from 1 to {_MOST_SECONDS} s and 1 to {_MOST_PROBES}: {probes!r}")
    names = (_IDLE, getattr(socket, "TCP_KEEPINTVL", None), getattr(socket, "TCP_KEEPCNT", None))
    options: list[SocketOption] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    options += [
        (socket.IPPROTO_TCP, name, value) for name, value in zip(names, probes, strict=True) if name is not None
    ]
    return [(option, f"tcp_keepalive={tuple(probes)}") for option in options]


def _in_words(level: int, name: int, value: int | bytes) -> str:
    """The option by the names that the socket module has for its numbers: for errors."""
    levels = {socket.SOL_SOCKET: ("SOL_SOCKET", "SO_"), socket.IPPROTO_TCP: ("IPPROTO_TCP", "TCP_")}
    levels |= {socket.IPPROTO_IP: ("IPPROTO_IP", "IP_"), socket.IPPROTO_IPV6: ("IPPROTO_IPV6", "IPV6_")}
    level_name, prefix = levels.get(level, (str(level), ""))
    names = [each for each in dir(socket) if prefix and each.startswith(prefix) and getattr(socket, each) == name]
    return f"the socket option ({level_name}, {names[0] if names else name}, {value!r})"
