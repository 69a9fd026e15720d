"""A jar's cookies in files: as JSON, and as the ``cookies.txt`` of Netscape, which curl and wget share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from typing import IO, TYPE_CHECKING, Any

from ..errors import HTTPException
from .cookie import Cookie

if TYPE_CHECKING:
    from .cookies import CookieJar

_NETSCAPE_FIRST_LINE = "# Netscape HTTP Cookie File"
_HTTP_ONLY = "#HttpOnly_"


def save(target: str | os.PathLike[str] | IO[str], text: str) -> None:
    """Write a text to a path or a text file.

    A path is replaced at once, so that nobody reads half of it, and is readable for its owner only: cookies are as good
    as passwords.
    """
    if not isinstance(target, (str, os.PathLike)):
        target.write(text)
        return
    path = os.fspath(target)
    beside = f"{path}.{os.getpid()}.tmp"
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
        # What came off the wire is latin-1, a character a byte: so the bytes in the file are those.
        with open(handle, "w", encoding="latin-1", newline="\n") as file:
            file.write(text)
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def load(source: str | os.PathLike[str] | IO[str]) -> str:
    """The text of a path or a text file."""
    if not isinstance(source, (str, os.PathLike)):
        return source.read()
    with open(source, encoding="latin-1") as file:
        return file.read()


def _saved(jar: CookieJar, session: bool) -> Iterator[Cookie]:
    # In the order in which they were made, which is that of the Cookie field.
    kept = [cookie for cookie in jar if session or cookie.expires is not None]
    return iter(sorted(kept, key=lambda cookie: cookie.order))


# --- JSON ---

_FIELDS = ("name", "value", "domain", "path", "host_only", "secure", "http_only", "same_site", "expires")


def to_json(jar: CookieJar, session: bool) -> str:
    """``{"cookies": [{"name": …, "value": …, "domain": …, …}, …]}``"""
    cookies = [{name: getattr(cookie, name) for name in _FIELDS} for cookie in _saved(jar, session)]
    return json.dumps({"cookies": cookies}, indent=1) + "\n"


def from_json(jar: CookieJar, text: str) -> None:
    """Put the cookies of `to_json` into a jar."""
    document = json.loads(text)
    entries = document.get("cookies") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError('a file of cookies holds {"cookies": […]}')
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or not all(_is_right(name, entry.get(name)) for name in _FIELDS):
            raise ValueError(f"cookie {number} of the file is none")
        _set(jar, f"cookie {number}", **{name: entry[name] for name in _FIELDS if name in entry})


def _is_right(name: str, value: Any) -> bool:
    if name in ("name", "value", "domain"):
        return isinstance(value, str)
    if name == "expires":
        return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
    if name in ("path", "same_site"):
        return value is None or isinstance(value, str)
    return value is None or isinstance(value, bool)


# --- Netscape ---


def to_netscape(jar: CookieJar, session: bool) -> str:
    """Lines of domain, whether hosts below it are meant, path, Secure, end (0 for the session), name and value."""
    lines = [_NETSCAPE_FIRST_LINE]
    for cookie in _saved(jar, session):
        fields = (
            ("" if cookie.host_only else ".") + cookie.domain,
            "FALSE" if cookie.host_only else "TRUE",
            cookie.path,
            "TRUE" if cookie.secure else "FALSE",
            "0" if cookie.expires is None else str(ceil(cookie.expires)),
            cookie.name,
        )
        if not any("\t" in field for field in fields):
            lines.append((_HTTP_ONLY if cookie.http_only else "") + "\t".join([*fields, cookie.value]))
    return "\n".join(lines) + "\n"


def from_netscape(jar: CookieJar, text: str) -> None:
    """Put the cookies of a ``cookies.txt`` into a jar. What has expired is left out."""
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.removesuffix("\r")
        http_only = line.startswith(_HTTP_ONLY)
        line = line.removeprefix(_HTTP_ONLY)
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split("\t", 6)
        if len(fields) == 6:
            fields.append("")  # an empty value at the end of a line is easily lost
        if (
            len(fields) != 7
            or {fields[1], fields[3]} - {"TRUE", "FALSE"}
            or not fields[4].removeprefix("-").isdecimal()
        ):
            raise ValueError(f"line {number} of the file is no line of a cookies.txt")
        domain, below, path, secure, expires, name, value = fields
        _set(
            jar,
            f"line {number}",
            name=name,
            value=value,
            domain=domain,
            path=path,
            host_only=below == "FALSE",
            secure=secure == "TRUE",
            http_only=http_only,
            expires=int(expires) or None,
        )


def _set(jar: CookieJar, where: str, **fields: Any) -> None:
    try:
        jar.set(**{name: value for name, value in fields.items() if value is not None})
    except (HTTPException, ValueError) as error:
        raise ValueError(f"{where} of the file cannot be a cookie: {error}") from error
