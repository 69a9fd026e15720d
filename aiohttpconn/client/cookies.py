"""Cookies (RFC 6265bis): what servers set, and which of it goes with a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from threading import RLock
from time import time
from typing import IO, TYPE_CHECKING

from ..errors import InvalidHeader
from ..headers import check_field_value
from ..url import URL, parse
from .cookie import Cookie, default_path, domain_matches, is_address, keeps_prefix
from .cookie_selection import NEVER
from .cookie_store import CookieStore
from .public_suffixes import is_public_suffix
from .set_cookie import CONTROL, MAX_AGE, MAX_COOKIE, SetCookie, parse_set_cookie

if TYPE_CHECKING:
    import os

__all__ = ["Cookie", "CookieJar", "SetCookie", "checked_cookies", "parse_set_cookie"]


class CookieJar(CookieStore):
    """Cookies that servers set, and which of them go with a request. Clients may share one, on any loops and threads.

    - `max_per_domain`, `max_cookies`: how many are kept of one domain, and in all. When there are more, a sixth of that
      domain's goes, or a tenth of all: first cookies of domains with more than 50, not Secure ones before the others,
      and of these the ones that were not used for longest.

    `size` is the number of cookies stored, expired ones that nobody has looked at yet included; `len(jar)` is without
    them.

    >>> jar = CookieJar()
    >>> jar.update(parse("https://example.org/login"), ["sid=31d4; Path=/; Secure", "tip=off; Domain=example.org"])
    >>> jar.header_for(parse("https://www.example.org/login"))
    'tip=off'
    """

    def __init__(self, *, max_cookies: int = 10_000, max_per_domain: int = 180) -> None:
        if max_cookies < 1 or max_per_domain < 1:
            raise ValueError("a jar must have room for one cookie")
        super().__init__(max_cookies, max_per_domain)
        self._lock = RLock()  # for what is done in more than one step

    # --- what a client asks ---

    def header_for(self, url: URL, *, now: float | None = None) -> str | None:
        """The value of the Cookie field for a request (section 5.8.3), None for none. `now`: seconds since 1970."""
        scheme, host, _ = url.origin
        site = (self._secure_sites if scheme == "https" else self._sites).get(host)
        if site is None or (site.until is not NEVER and site.until <= (time() if now is None else now)):
            with self._lock:
                site = self._select(host, scheme == "https", time() if now is None else now)
        selection = site.whole
        if selection is None:
            with self._lock:
                selection = site.select(url.path)
        self._asked = selection.accessed = self._asked + 1
        return selection.value

    def update(self, url: URL, values: Sequence[str], *, now: float | None = None) -> None:
        """Take in the Set-Cookie values of the response to a request (section 5.7). What is wrong is left out."""
        scheme, host, _ = url.origin
        for line in values:
            parsed = parse_set_cookie(line)
            if parsed is None:
                continue
            # Most servers set what is set already: 1 µs instead of 8.
            domain = parsed.domain
            bucket = self._domains.get(domain or host)
            if bucket is not None:
                cookie = bucket.get((parsed.name, parsed.path or default_path(url.path), not domain))
                if (
                    cookie is not None
                    and cookie.source is parsed
                    and (not domain or domain_matches(host, domain))
                    and self._renew(cookie, parsed, scheme, now)
                ):
                    continue
            self._receive(url, scheme == "https", host, parsed, time() if now is None else now)

    def _renew(self, cookie: Cookie, parsed: SetCookie, scheme: str, now: float | None) -> bool:
        """Set a cookie that is set, if there is no more to it than a later end."""
        if cookie.expires is None:
            return True
        if scheme != "https" and cookie.name in self._secure_names:
            return False
        now = time() if now is None else now
        expires = _expiry(parsed, now)
        if expires is None or expires < cookie.expires or cookie.expires <= now:
            return False
        cookie.expires = expires
        return True

    # --- what a caller asks ---

    def set(
        self,
        name: str,
        value: str,
        domain: str,
        path: str = "/",
        *,
        host_only: bool | None = None,
        secure: bool = False,
        http_only: bool = False,
        same_site: str | None = None,
        expires: float | None = None,
    ) -> Cookie:
        """Put a cookie into the jar, in place of one with the same name, domain and path.

        - `domain`: a host. With `host_only` False, or a leading dot, the cookie goes to the hosts below it as well.
        - `expires`: seconds since 1970, at most 400 days from now; None for the end of the session.

        Raises `InvalidHeader` for what cannot stand in a Cookie field, `InvalidURL` for a domain that is none, and
        ValueError for what no server could set: over 4096 octets, or against the rule of a ``__Host-`` or ``__Secure-``
        name.
        """
        if not name and not value:
            raise ValueError("a cookie has a name or a value")
        if name:
            _check_name(name)
        name, value = _checked(name, name), _checked(name, value)
        if len(name) + len(value) > MAX_COOKIE:
            raise ValueError(f"name and value of the cookie {name} are longer than {MAX_COOKIE} octets together")
        if not path.startswith("/") or CONTROL.search(path) or ";" in path:
            raise ValueError(f"the path of a cookie begins with a slash: {path!r}")
        if host_only is None:
            host_only = not domain.startswith(".")
        host = domain.removeprefix(".")
        host = parse(f"http://[{host}]/" if ":" in host and host[0] != "[" else f"http://{host}/").host
        if is_address(host):
            host_only = True
        if same_site is not None and same_site not in ("Strict", "Lax", "None"):
            raise ValueError(f"same_site must be 'Strict', 'Lax', 'None' or None, not {same_site!r}")
        now = time()
        if expires is not None:
            expires = min(expires, now + MAX_AGE)
        cookie = Cookie(
            name,
            value,
            host,
            path,
            host_only=host_only,
            secure=secure,
            http_only=http_only,
            same_site=same_site,
            expires=expires,
            created=now,
        )
        if not keeps_prefix(name, value, secure=secure, one_host=host_only and path == "/"):
            raise ValueError(
                f"a cookie with the name {name} must be Secure, and with __Host- for one host and all paths"
            )
        with self._lock:
            self._put(cookie, now)
        return cookie.copy()

    def get(
        self, name: str, default: str | None = None, *, domain: str | None = None, path: str | None = None
    ) -> str | None:
        """The value of a cookie; of several the one with the longest path, and of these the oldest."""
        with self._lock:
            found = self._find(name, domain, path)
        return min(found, key=lambda cookie: (-len(cookie.path), cookie.order)).value if found else default

    def __getitem__(self, name: str) -> str:
        """`get(name)`; KeyError if there is none."""
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def delete(self, name: str, *, domain: str | None = None, path: str | None = None) -> int:
        """Take the cookies of a name out, all of them or those of one domain or path; how many there were."""
        with self._lock:
            found = self._find(name, domain, path)
            for cookie in found:
                self._remove(cookie)
        return len(found)

    def clear(self, domain: str | None = None) -> None:
        """Take all cookies out, or all of one domain (those of the hosts below it stay)."""
        with self._lock:
            for cookie in self._cookies(None if domain is None else domain.removeprefix(".").lower()):
                self._remove(cookie)

    def end_session(self) -> None:
        """Take out the cookies that last for the session, as a browser does when it is closed."""
        with self._lock:
            for cookie in self._cookies():
                if cookie.expires is None:
                    self._remove(cookie)

    def __iter__(self) -> Iterator[Cookie]:
        """The cookies that have not expired, as they are now, domain by domain."""
        with self._lock:
            self._drop_expired(time())
            return iter([cookie.copy() for cookie in self._cookies()])

    def __len__(self) -> int:
        with self._lock:
            self._drop_expired(time())
            return self.size

    def __contains__(self, item: object) -> bool:
        """Whether there is a cookie of that name, or that `Cookie`."""
        return any(item in (cookie.name, cookie) for cookie in self)

    def __repr__(self) -> str:
        return f"<CookieJar: {self.size} cookies of {len(self._domains)} domains>"

    # --- files ---

    def save_json(self, target: str | os.PathLike[str] | IO[str], *, session: bool = True) -> None:
        """Write the cookies as JSON, to a path (replaced at once, readable for its owner only) or a text file.

        `session`: whether those that last for the session are written as well. Blocks: it is meant for a program's end;
        elsewhere ``await asyncio.to_thread(jar.save_json, path)``.
        """
        from .cookie_files import save, to_json  # noqa: PLC0415 - few jars are saved

        save(target, to_json(self, session))

    def load_json(self, source: str | os.PathLike[str] | IO[str]) -> None:
        """Add the cookies that `save_json` wrote. Raises ValueError if the file holds anything else."""
        from .cookie_files import from_json, load  # noqa: PLC0415 - few jars are saved

        from_json(self, load(source))

    def save_netscape(self, target: str | os.PathLike[str] | IO[str], *, session: bool = True) -> None:
        """Write the cookies as ``cookies.txt``, the form that curl, wget and browsers' tools read. See `save_json`.

        The form has no place for SameSite, nor for a tab in a name or path: a cookie with one is left out.
        """
        from .cookie_files import save, to_netscape  # noqa: PLC0415 - few jars are saved

        save(target, to_netscape(self, session))

    def load_netscape(self, source: str | os.PathLike[str] | IO[str]) -> None:
        """Add the cookies of a ``cookies.txt``. Raises ValueError, with the number of the line, if it is none."""
        from .cookie_files import from_netscape, load  # noqa: PLC0415 - few jars are saved

        from_netscape(self, load(source))

    # --- receiving ---

    def _receive(self, url: URL, secure: bool, host: str, parsed: SetCookie, now: float) -> None:
        """The steps of the storage model (section 5.7)."""
        if parsed.secure and not secure:
            return
        if parsed.same_site == "None" and not parsed.secure:
            return
        domain, host_only = parsed.domain, False
        if not domain:
            domain, host_only = host, True
        elif not domain_matches(host, domain):
            return
        elif is_address(host) or is_public_suffix(domain):
            # A host that is a public suffix may have cookies of its own.
            if domain != host:
                return
            host_only = True
        one_host = not parsed.domain and parsed.path == "/"
        if not keeps_prefix(parsed.name, parsed.value, secure=parsed.secure, one_host=one_host):
            return
        cookie = Cookie(
            parsed.name,
            parsed.value,
            domain,
            parsed.path or default_path(url.path),
            host_only=host_only,
            secure=parsed.secure,
            http_only=parsed.http_only,
            same_site=parsed.same_site,
            expires=_expiry(parsed, now),
            created=now,
        )
        cookie.source = parsed
        with self._lock:
            if secure or not self._hides_secure(cookie, now):
                self._put(cookie, now)

    def _find(self, name: str, domain: str | None, path: str | None) -> list[Cookie]:
        self._drop_expired(time())
        cookies = self._cookies(None if domain is None else domain.removeprefix(".").lower())
        return [cookie for cookie in cookies if cookie.name == name and (path is None or cookie.path == path)]


def _expiry(parsed: SetCookie, now: float) -> float | None:
    """When a cookie ends that is set now: by Max-Age, else by Expires, within the cap (section 5.5)."""
    if parsed.max_age is not None:
        return now + parsed.max_age if parsed.max_age else 0.0
    return None if parsed.expires is None else min(parsed.expires, now + MAX_AGE)


def checked_cookies(cookies: Mapping[str, str]) -> dict[str, str]:
    """The names and values of a mapping, checked. Raises `InvalidHeader` for an empty name, and for what cannot stand
    in a Cookie field: control characters, semicolons, an equals sign in a name, characters outside latin-1."""
    return {_checked(name, name): _checked(name, value) for name, value in cookies.items() if _check_name(name)}


def _check_name(name: str) -> bool:
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
