"""Unix domain sockets by name: as paths, and as the host of an ``http+unix://`` URL."""

from __future__ import annotations

import os
import re
import sys

from can_ada import parse as _parse_whatwg

from .errors import InvalidURL

SCHEME = "http+unix"
HOST = "localhost"
"""What such a URL's requests say in Host, as curl's and Docker's do: servers want a name there, and a path is none."""
_MOST_BYTES = 107 if sys.platform == "linux" else 103
"""What `sockaddr_un` has room for, with the NUL at the end of a path (unix(7))."""
# As texts, which `re` compiles when they are first used, and keeps: few programs have such a URL.
_HREF = r"http\+unix://([^/?#@]*@)?([^/?#@]*)([/?#].*)?"
_PERCENT_ENCODED = rb"%([0-9A-Fa-f]{2})"
_NOT_PLAIN = rb"[^A-Za-z0-9\-._~]"


def socket_path(path: str) -> str:
    """The path as the system takes it: "@name" is how others write the abstract name "\\0name" (Linux's unix(7)).

    A file of such a name is "./@name".
    """
    return "\0" + path[1:] if path.startswith("@") else path


def checked_path(path: str | os.PathLike[str]) -> str:
    """The path as text, refused if it cannot be one of a socket. Raises ValueError, TypeError."""
    text = os.fsdecode(path)
    name = socket_path(text)
    if not name.strip("\0"):
        raise ValueError(f"uds must be the path of a socket, or @ and an abstract name, not {text!r}")
    if "\0" in name[1:]:
        raise ValueError(f"uds must have no NUL in it: {text!r}")
    if len(os.fsencode(name)) > _MOST_BYTES:
        raise ValueError(f"uds must not be longer than {_MOST_BYTES} bytes, which is all that a system takes: {text!r}")
    return text


def shown_path(path: str) -> str:
    """The path as messages name it: no NUL in it."""
    return "@" + path[1:] if path.startswith("\0") else path


def path_of_host(host: str) -> str:
    """The socket that a URL's host means: its path, percent-encoded; ``%00name`` or ``%40name`` is an abstract one.

    Raises `InvalidURL`.

    >>> path_of_host("%2Frun%2Fapp.sock")
    '/run/app.sock'
    """
    octets = re.sub(_PERCENT_ENCODED, lambda match: bytes((int(match[1], 16),)), host.encode())
    path = socket_path(os.fsdecode(octets))
    if not path.strip("\0") or "\0" in path[1:]:
        raise InvalidURL(
            "an http+unix URL has the path of a socket in place of a host, percent-encoded, "
            f"as in http+unix://%2Frun%2Fapp.sock/path: {host!r}"
        )
    if len(os.fsencode(path)) > _MOST_BYTES:
        raise InvalidURL(f"a socket's path is not longer than {_MOST_BYTES} bytes: {host!r:.200}")
    return path


def host_of_path(path: str) -> str:
    """The path of a socket as a URL's host: one spelling for each, since pools key on it."""
    return re.sub(_NOT_PLAIN, lambda match: b"%%%02X" % match[0][0], os.fsencode(path)).decode("ascii")


def normalised_href(href: str) -> str:
    """The URL that a parser serialised, its host in one spelling, its path and query as those of http.

    (To the URL standard http+unix is any scheme: a backslash is no slash there, and a path may be empty.)
    """
    match = re.fullmatch(_HREF, href)
    if match is None:
        raise InvalidURL(f"an http+unix URL is written http+unix://%2Frun%2Fapp.sock/path: {href!r:.200}")
    userinfo, host, rest = match.groups()
    if ":" in host:
        raise InvalidURL(f"a Unix socket has no port: {host!r:.200}")
    host = host_of_path(path_of_host(host))
    after = _parse_whatwg(f"http://{HOST}{rest or ''}").href[len(f"http://{HOST}") :]
    return f"{SCHEME}://{userinfo or ''}{host}{after}"
