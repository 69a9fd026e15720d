"""What a caller gives as cookies: checked, so that what is sent is what was meant."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from math import inf
from time import time
from typing import Any, NoReturn

from ..errors import InvalidHeader, InvalidURL
from ..headers import check_field_value
from ..url import parse
from .cookie import Cookie, is_address, keeps_prefix
from .public_suffixes import is_public_suffix
from .set_cookie import CONTROL, MAX_AGE, MAX_COOKIE

_HOW = (
    "a cookie belongs to a domain: jar.set(name, value, domain='example.org'), and those that all requests of a client"
    " or one request takes along are Client(cookies={…}) or get(url, cookies={…})"
)


def refuse(what: str) -> NoReturn:
    """Tell who does to a jar what is done to a mapping how cookies are set."""
    raise TypeError(f"{what}: {_HOW}")


def host_of(domain: Any) -> str:
    """The host that a domain means, as URLs have it. A leading dot does not count.

    Raises TypeError if it is no str, and `InvalidURL`, which is a ValueError, if it is no host.
    """
    if not isinstance(domain, str):
        raise TypeError(f"the domain of a cookie must be a str like 'example.org', not {type(domain).__name__}")
    host = domain.removeprefix(".")
    bracketed = f"[{host}]" if host.count(":") > 1 and host[0] != "[" else host
    if not host or host[0] == "." or ".." in host or "*" in host or not set("/\\?#@").isdisjoint(host):
        raise InvalidURL(f"the domain of a cookie is a host like 'example.org', nothing more: {domain!r}")
    url = parse(f"http://{bracketed}/")
    if bracketed.rpartition("]")[2].count(":"):
        raise InvalidURL(f"a cookie is for all ports of a host; the domain {domain!r} names one")
    return url.host


def made_cookie(
    name: str,
    value: str,
    domain: str | None,
    path: Any,
    *,
    host_only: bool | None,
    secure: bool = False,
    http_only: bool = False,
    same_site: str | None = None,
    expires: float | None = None,
) -> Cookie:
    """A cookie as `CookieJar.set` describes it, or what it raises."""
    if not name and not value:
        raise ValueError("a cookie has a name or a value")
    if name:
        _check_name(name)
    name, value = _checked(name, name), _checked(name, value)
    if len(name) + len(value) > MAX_COOKIE:
        raise ValueError(f"name and value of the cookie {name} are longer than {MAX_COOKIE} octets together")
    if not isinstance(path, str):
        raise TypeError(f"the path of a cookie must be a str like '/', not {type(path).__name__}")
    if not path.startswith("/") or CONTROL.search(path) or ";" in path or max(path) > "\xff":
        raise ValueError(f"the path of a cookie begins with a slash, and is percent-encoded as in URLs: {path!r}")
    if domain is None:
        refuse("no domain is given")
    host = host_of(domain)
    if host_only is None:
        host_only = not domain.startswith(".")
    if is_address(host):
        host_only = True
    if not host_only and is_public_suffix(host):
        raise ValueError(f"{host} is a public suffix: no cookie is for all hosts below it, only for it alone")
    if same_site is not None and same_site not in ("Strict", "Lax", "None"):
        raise ValueError(f"same_site must be 'Strict', 'Lax', 'None' or None, not {same_site!r}")
    now = time()
    if not keeps_prefix(name, value, secure=secure, one_host=host_only and path == "/"):
        raise ValueError(f"a cookie with the name {name} must be Secure, and with __Host- for one host and all paths")
    return Cookie(
        name,
        value,
        host,
        path,
        host_only=host_only,
        secure=secure,
        http_only=http_only,
        same_site=same_site,
        expires=_end(expires, now),
        created=now,
    )


def _end(expires: Any, now: float) -> float | None:
    if expires is None:
        return None
    if not isinstance(expires, (int, float)) or isinstance(expires, bool):
        raise TypeError(f"expires must be seconds since 1970 or None, not {type(expires).__name__}")
    if expires != expires or expires in (inf, -inf):
        raise ValueError(f"expires must be seconds since 1970 or None, not {expires}")
    return float(max(0, min(expires, now + MAX_AGE)))


def checked_cookies(cookies: Any) -> dict[str, str]:
    """The names and values of a mapping, checked.

    Raises `InvalidHeader` for an empty name, and for what cannot stand in a Cookie field: control characters,
    semicolons, an equals sign in a name, characters outside latin-1. TypeError for what is no mapping, and for the jars
    of other libraries, some of which are mappings: their cookies belong to domains, and would go to all.
    """
    if _is_standard_jar(cookies) or _is_standard_jar(getattr(cookies, "jar", None)):
        kind = type(cookies)
        jar = "jar" if _is_standard_jar(cookies) else "cookies.jar"
        raise TypeError(
            f"cookies must be a mapping, an aiohttpconn.CookieJar or False, not {kind.__module__}.{kind.__qualname__};"
            f" CookieJar.from_cookiejar({jar}) makes one of it"
        )
    if not isinstance(cookies, Mapping):
        kind = type(cookies)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        raise TypeError(f"cookies must be a mapping, a CookieJar or False, not {name}")
    return {_checked(name, name): _checked(name, value) for name, value in cookies.items() if _check_name(name)}


def _is_standard_jar(value: object) -> bool:
    # Who has one has imported its module.
    module = sys.modules.get("http.cookiejar")
    return module is not None and isinstance(value, module.CookieJar)


def taken_over(jar: Any) -> list[Cookie]:
    """The cookies of a jar of `http.cookiejar`."""
    if not _is_standard_jar(jar):
        raise TypeError(f"from_cookiejar takes a jar of http.cookiejar, not {type(jar).__name__}")
    cookies = []
    for theirs in jar:
        if theirs.is_expired():
            continue
        try:
            cookie = loaded_cookie(
                # That module has what has only a value as a name without one.
                "" if theirs.value is None else theirs.name,
                theirs.name if theirs.value is None else theirs.value,
                theirs.domain,
                theirs.path,
                host_only=not theirs.domain.startswith("."),
                secure=theirs.secure,
                http_only=any(theirs.has_nonstandard_attr(name) for name in ("HttpOnly", "httponly", "HTTPOnly")),
                same_site=None,
                expires=theirs.expires,
            )
        except ValueError as error:
            raise ValueError(f"the cookie {theirs.name} for {theirs.domain!r} cannot be taken: {error}") from error
        cookies.append(cookie)
    return cookies


def loaded_cookie(
    name: str, value: str, domain: str, path: str = "/", *, host_only: bool | None = None, **rest: Any
) -> Cookie:
    """A cookie that another program kept, made as `made_cookie` does but for what that knew no better.

    - For a public suffix and all below it: it is for that host alone, which is all it could be set for (section 5.7).
    - For ``localhost.local``, as `http.cookiejar` calls localhost: for localhost.
    """
    if host_only is None:
        host_only = not domain.startswith(".")
    if domain in ("localhost.local", ".localhost.local"):
        domain = "localhost"
    if not host_only and is_public_suffix(host_of(domain)):
        host_only = True
    return made_cookie(name, value, domain, path, host_only=host_only, **rest)


def _check_name(name: Any) -> bool:
    if not isinstance(name, str):
        raise TypeError(f"the name of a cookie must be str, not {type(name).__name__}")
    if not name or "=" in name:
        raise InvalidHeader(f"the name of a cookie must not be empty nor hold an equals sign: {name!r}")
    return True


def _checked(name: str, text: str) -> str:
    text = check_field_value("Cookie", text)
    if ";" in text:
        # The value itself may be a secret.
        raise InvalidHeader(f"the cookie {name!r} holds a semicolon, which ends a cookie")
    return text
