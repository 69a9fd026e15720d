"""A jar's cookies in files: as JSON, and as the ``cookies.txt`` of Netscape, which curl and wget share."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from threading import get_ident
from typing import IO, TYPE_CHECKING, Any

from .cookie import Cookie
from .cookie_checks import loaded_cookie

if TYPE_CHECKING:
    from .cookies import CookieJar

_NETSCAPE_FIRST_LINE = "# Netscape HTTP Cookie File"
_HTTP_ONLY = "#HttpOnly_"
_FLAGS = {"TRUE", "FALSE"}
_END = re.compile(r"-?[0-9]+(\.[0-9]*)?|")  # some write fractions
_FAR = 1e12  # in 30,000 years; and what no float can hold
_BOM = "\ufeff".encode().decode("latin-1")


def save(target: str | os.PathLike[str] | IO[str], text: str) -> None:
    """Write a text to a path or a text file.

    A path is replaced at once, so that nobody reads half of it, and is readable for its owner only: cookies are as good
    as passwords.
    """
    if not isinstance(target, (str, os.PathLike)):
        target.write(text)
        return
    path = os.fspath(target)
    beside = f"{path}.{os.getpid()}.{get_ident()}.tmp"
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


def from_json(text: str) -> list[Cookie]:
    """The cookies of `to_json`, but for those that have expired."""
    try:
        document = json.loads(text.removeprefix("\ufeff").removeprefix(_BOM))
    except RecursionError as error:
        raise ValueError("a file of cookies is not so deep") from error
    entries = document.get("cookies") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError('a file of cookies holds {"cookies": […]}')
    cookies = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or not all(_is_right(name, entry.get(name)) for name in _FIELDS):
            raise ValueError(f"cookie {number} of the file is none")
        given = {name: entry[name] for name in _FIELDS if entry.get(name) is not None}
        cookies.append(_made(f"cookie {number}", **given))
    return [cookie for cookie in cookies if not cookie.expired(cookie.created)]


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


def from_netscape(text: str) -> list[Cookie]:
    """The cookies of a ``cookies.txt``, but for those that have expired."""
    cookies = []
    for number, whole in enumerate(text.removeprefix("\ufeff").removeprefix(_BOM).split("\n"), 1):
        line = whole.removesuffix("\r")
        http_only = line.startswith(_HTTP_ONLY)
        line = line.removeprefix(_HTTP_ONLY)
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split("\t", 6)
        if len(fields) == 6:
            fields.append("")  # an empty value at the end of a line is easily lost
        if len(fields) != 7 or not {fields[1].upper(), fields[3].upper()} <= _FLAGS or not _END.fullmatch(fields[4]):
            raise ValueError(f"line {number} of the file is no line of a cookies.txt")
        domain, below, path, secure, end, name, value = fields
        cookie = _made(
            f"line {number}",
            name=_octets(name),
            value=_octets(value),
            domain=domain,
            path=path,
            host_only=below.upper() == "FALSE",
            secure=secure.upper() == "TRUE",
            http_only=http_only,
            # Nothing is what the standard library writes for the session, and 0 what all others do.
            expires=min(float(end or 0), _FAR) or None,
        )
        if not cookie.expired(cookie.created):
            cookies.append(cookie)
    return cookies


def _octets(text: str) -> str:
    """A text as it goes over the wire, a character an octet: one that was decoded as UTF-8 is encoded so again."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("latin-1")
    return text


def _made(where: str, **parts: Any) -> Cookie:
    try:
        return loaded_cookie(**parts)
    except ValueError as error:
        raise ValueError(f"{where} of the file cannot be a cookie: {error}") from error
