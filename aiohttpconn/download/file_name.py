"""The name of a file that a stranger chose: by Content-Disposition (RFC 6266), else by the URL; made harmless."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, unquote_to_bytes

if TYPE_CHECKING:
    from ..headers import Headers
    from ..url import URL

FALLBACK: Final = "index.html"
"""As wget and aria2 have it."""
LONGEST: Final = 200
"""Bytes of a name: file systems take 255, and more may be appended to it."""

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 section 5.6.2
_PARAMETER: Final = re.compile(
    rf';[ \t]*(?P<name>{_TOKEN})[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^;"]*))[ \t]*', re.DOTALL
)
_EXTENDED: Final = re.compile(r"(?P<charset>[\w!#$%&+^{}~-]+)'[\w-]*'(?P<value>.*)", re.DOTALL | re.ASCII)  # RFC 8187
# What some file system or shell gives a meaning of its own.
_MEANINGFUL: Final = re.compile(r'[<>:"/\\|?*]')
# What a download keeps beside a file, and reads again: a stranger does not get to write that.
_OURS: Final = (".part", ".part.jsonl", ".part.jsonl.new")
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)[ ]*(\..*)?", re.IGNORECASE)


def disposition_name(value: str) -> str | None:
    """The file name of a Content-Disposition field, not yet made harmless: `filename*` before `filename`; None if there
    is none that can be read.

    >>> disposition_name("attachment; filename=EURO.txt; filename*=UTF-8''%e2%82%ac.txt")
    '€.txt'
    """
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(value):
        text = match["plain"].strip() if match["quoted"] is None else re.sub(r"\\(.)", r"\1", match["quoted"])
        found.setdefault(match["name"].lower(), text)
    extended = _EXTENDED.fullmatch(found.get("filename*", ""))
    if extended is not None:
        try:
            return unquote_to_bytes(extended["value"]).decode(extended["charset"])
        except (LookupError, UnicodeError):
            pass  # of the two, the other may be readable
    plain = found.get("filename")
    if plain is None:
        return None
    try:
        return plain.encode("latin-1").decode("utf-8")  # what servers send there that do not know of `filename*`
    except UnicodeError:
        return plain


def file_name(headers: Headers, url: URL) -> str:
    """What to call the file of a response: as Content-Disposition says, else as the URL does."""
    stated = disposition_name(headers.get("Content-Disposition", ""))
    return safe_name(stated or "") or url_name(url)


def url_name(url: URL) -> str:
    """The last segment of the URL's path, percent-decoded and made harmless; "index.html" if nothing is left.

    >>> from aiohttpconn import URL
    >>> url_name(URL("https://example.org/a/report%202.pdf?x=1")), url_name(URL("https://example.org/"))
    ('report 2.pdf', 'index.html')
    """
    return safe_name(unquote(url.path.rpartition("/")[2])) or FALLBACK


def safe_name(name: str) -> str:
    """A name without harm: the part after the last separator, no control or bidirectional character, none that file
    systems or shells read, no dot or dash in front (hidden files, options), no device's name, none of what downloads
    keep beside a file (".part"), at most 200 bytes, the extension kept. "" if nothing is left.

    >>> safe_name("../../etc/passwd"), safe_name("C:\\\\nul.txt"), safe_name(".bashrc"), safe_name("..")
    ('passwd', '_nul.txt', '_.bashrc', '')
    """
    name = re.split(r"[/\\]", name)[-1]
    name = _MEANINGFUL.sub("_", "".join(char if char.isprintable() else "_" for char in name)).strip(" ")
    name = name.encode("utf-8", "replace").decode()  # lone surrogates
    # Windows drops trailing dots and spaces, so that another file would be written.
    name = name.rstrip(". ")
    if not name.strip("._ "):
        return ""
    if name[0] in ".-" or _DEVICE.fullmatch(name):
        name = "_" + name
    name = shortened(name, LONGEST)
    return name + "_" if name.casefold().endswith(_OURS) else name


def shortened(name: str, longest: int) -> str:
    """At most so many bytes, the extension kept where it is one."""
    if len(name.encode()) <= longest:
        return name
    stem, dot, extension = name.rpartition(".")
    ending = dot + extension if dot and len(extension.encode()) <= 16 else ""
    room = longest - len(ending.encode())
    return (stem if ending else name).encode()[:room].decode(errors="ignore").rstrip(". ") + ending


def numbered(name: str, number: int) -> str:
    """The name with a number before its extensions: a-2.tar.gz.

    >>> numbered("a.tar.gz", 2)
    'a-2.tar.gz'
    """
    stem, dot, extension = name.partition(".")
    return f"{stem}-{number}{dot}{extension}"
