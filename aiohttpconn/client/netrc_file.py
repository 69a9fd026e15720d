"""netrc files: user names and passwords by host, as ftp(1) and curl read them.

The standard library's parser refuses a whole file for one word that it does not know, quotes that word (often a
password) in its error, and keeps only the last of several users of a host.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

_WORD = re.compile(r'[ \t\f\v]*(?:"((?:[^"\\]|\\.)*)"|(\S+))')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class Entry(NamedTuple):
    """What a file says of a host. `host` is None for the default entry."""

    host: str | None
    login: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"<Entry {self.host or 'default'}>"


class Netrc:
    """The entries of one netrc file, in its order."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries

    @classmethod
    def read(cls, path: str | os.PathLike[str] | None) -> Netrc:
        """Read a file; with None the usual one, if there is one that can be used. Raises OSError, ValueError for a file
        that was named; the usual one is there for other programs too, and what it has wrong is not the caller's."""
        try:
            with open(path if path is not None else _usual_path(), encoding="utf-8", errors="surrogateescape") as file:
                return cls(parse_netrc(file.read()))
        except (OSError, ValueError):
            if path is not None:
                raise
            return cls([])

    def entry(self, host: str, login: str | None = None, *, default: bool = True) -> Entry | None:
        """The first entry for a host, and for that user if there is one; else the default entry, if it may serve."""
        host = host.rstrip(".")
        for entry in self._entries:
            if (entry.host == host or (default and entry.host is None)) and login in (entry.login, None):
                return entry
        return None

    def __repr__(self) -> str:
        return f"<Netrc of {len(self._entries)} entries>"


def _usual_path() -> str:
    return os.environ.get("NETRC") or os.path.expanduser("~/.netrc")


def parse_netrc(text: str) -> list[Entry]:
    """The entries of a netrc file that name a user or a password; the default one last.

    Words are separated by white space, a value may be quoted (then a backslash escapes), ``#`` where a keyword could
    be begins a comment, a macro ends at an empty line, and words that are no keyword are passed over. Raises ValueError
    for a keyword without its value; the text says the line, and nothing of what stands there.
    """
    found: list[list[str]] = []
    keyword = ""
    in_macro = False
    for line in text.splitlines():
        if in_macro:
            in_macro = bool(line.strip())
            continue
        for match in _WORD.finditer(line):
            quoted, plain = match.groups()
            word = plain if quoted is None else _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), quoted)
            if keyword:
                if keyword == "machine":
                    found.append([word.lower().strip("[]").rstrip("."), "", ""])
                elif keyword in ("login", "password") and found:
                    found[-1][1 if keyword == "login" else 2] = word
                in_macro = keyword == "macdef"
                keyword = ""
                if in_macro:
                    break
            elif word.startswith("#"):
                break
            elif word == "default":
                found.append(["", "", ""])
            elif word in ("machine", "login", "password", "account", "macdef"):
                keyword = word
    if keyword:
        raise ValueError(f"the netrc file ends after {keyword!r}, whose value is missing")
    entries = [Entry(host or None, login, password) for host, login, password in found if login or password]
    return sorted(entries, key=lambda entry: entry.host is None)
