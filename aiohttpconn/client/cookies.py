"""Cookies (RFC 6265bis): what servers set, and which of it goes with a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import RLock
from time import time
from typing import IO, TYPE_CHECKING, NoReturn

from ..url import URL
from .cookie import Cookie, default_path, domain_matches, is_address, keeps_prefix
from .cookie_selection import NEVER
from .cookie_store import CookieStore
from .set_cookie import MAX_AGE, SetCookie, parse_set_cookie

if TYPE_CHECKING:
    import http.cookiejar
    import os

__all__ = ["Cookie", "CookieJar", "SetCookie", "parse_set_cookie"]


class CookieJar(CookieStore):
    """Cookies that servers set, and which of them go with a request. Clients may share one, on any loops and threads.

    - `max_per_domain`, `max_cookies`: how many are kept of one domain, and in all. When there are more, a sixth of that
      domain's goes at once, or a tenth of all, two for each that comes: first cookies of domains with more than 50, not
      Secure ones before the others, and of these the ones that were not used for longest.

    `size` is the number of cookies stored, expired ones that nobody has looked at yet included; `len(jar)` is without
    them.

    >>> from aiohttpconn.url import parse
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

    def update(self, url: URL, values: Sequence[str] = (), *, now: float | None = None) -> None:
        """Take in the Set-Cookie values of the response to a request (section 5.7). What is wrong is left out."""
        try:
            scheme, host, _ = url.origin
        except AttributeError:
            from .cookie_checks import refuse  # noqa: PLC0415 - for who errs

            refuse("update() takes a URL and the Set-Cookie values of its response")
        if values.__class__ is str:
            raise TypeError("the values of Set-Cookie must be a list of str, not a str")
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
        domain: str | None = None,
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

        Raises `InvalidHeader` for what cannot stand in a Cookie field, `InvalidURL` for a domain that is no host, and
        ValueError for what no server could set: over 4096 octets, against the rule of a ``__Host-`` or ``__Secure-``
        name, or for all hosts below a public suffix, like ``co.uk``. TypeError without a domain: cookies that go with
        all requests are a mapping, ``Client(cookies={…})``.
        """
        from .cookie_checks import made_cookie  # noqa: PLC0415 - servers set most of them

        cookie = made_cookie(
            name,
            value,
            domain,
            path,
            host_only=host_only,
            secure=secure,
            http_only=http_only,
            same_site=same_site,
            expires=expires,
        )
        with self._lock:
            self._put(cookie, cookie.created)
        return cookie.copy()

    def __setitem__(self, name: str, value: str) -> NoReturn:
        from .cookie_checks import refuse  # noqa: PLC0415 - for who errs

        refuse("cookies[name] = value does not say where it goes")

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
            for cookie in self._of(domain):
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
        now = time()
        with self._lock:
            return any(item in (cookie.name, cookie) and not cookie.expired(now) for cookie in self._cookies())

    def __repr__(self) -> str:
        return f"<CookieJar: {self.size} cookies of {len(self._domains)} domains>"

    # --- files, and other jars ---

    @classmethod
    def from_cookiejar(cls, jar: http.cookiejar.CookieJar) -> CookieJar:
        """A jar with the cookies of a jar of the standard library, as requests has it too (httpx in `cookies.jar`).

        Those that have expired are left out. Raises ValueError if one belongs to no domain, or can be no cookie.
        """
        from .cookie_checks import taken_over  # noqa: PLC0415 - few jars are taken over

        made = cls()
        made._add(taken_over(jar))
        return made

    def save_json(self, target: str | os.PathLike[str] | IO[str], *, session: bool = True) -> None:
        """Write the cookies as JSON, to a path (replaced at once, readable for its owner only) or a text file.

        `session`: whether those that last for the session are written as well. Blocks: it is meant for a program's end;
        elsewhere ``await asyncio.to_thread(jar.save_json, path)``.
        """
        from .cookie_files import save, to_json  # noqa: PLC0415 - few jars are saved

        save(target, to_json(self, session))

    def load_json(self, source: str | os.PathLike[str] | IO[str]) -> None:
        """Add the cookies that `save_json` wrote. Raises ValueError if the file holds anything else, and adds none."""
        from .cookie_files import from_json, load  # noqa: PLC0415 - few jars are saved

        self._add(from_json(load(source)))

    def save_netscape(self, target: str | os.PathLike[str] | IO[str], *, session: bool = True) -> None:
        """Write the cookies as ``cookies.txt``, the form that curl, wget and browsers' tools read. See `save_json`.

        The form has no place for SameSite, nor for a tab in a name or path: a cookie with one is left out.
        """
        from .cookie_files import save, to_netscape  # noqa: PLC0415 - few jars are saved

        save(target, to_netscape(self, session))

    def load_netscape(self, source: str | os.PathLike[str] | IO[str]) -> None:
        """Add the cookies of a ``cookies.txt``. Raises ValueError, with the number of the line, if it is none, and adds
        none.

        What is for a public suffix and all below it becomes a cookie of that host alone, as it is when a server sets
        it (section 5.7); what has expired is left out.
        """
        from .cookie_files import from_netscape, load  # noqa: PLC0415 - few jars are saved

        self._add(from_netscape(load(source)))

    def _add(self, cookies: list[Cookie]) -> None:
        with self._lock:
            for cookie in cookies:
                self._put(cookie, cookie.created)

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
        elif is_address(host) or _is_public_suffix(domain):
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

    def _of(self, domain: str | None) -> list[Cookie]:
        """The cookies of a domain as a caller gave it, or all."""
        if domain is None:
            return self._cookies()
        from .cookie_checks import host_of  # noqa: PLC0415 - as above

        return self._cookies(host_of(domain))

    def _find(self, name: str, domain: str | None, path: str | None) -> list[Cookie]:
        now = time()
        cookies = self._of(domain)
        return [
            cookie
            for cookie in cookies
            if cookie.name == name and (path is None or cookie.path == path) and not cookie.expired(now)
        ]


def _is_public_suffix(domain: str) -> bool:
    from .public_suffixes import is_public_suffix  # noqa: PLC0415 - for cookies with a Domain attribute

    return is_public_suffix(domain)


def _expiry(parsed: SetCookie, now: float) -> float | None:
    """When a cookie ends that is set now: by Max-Age, else by Expires, within the cap (section 5.5)."""
    if parsed.max_age is not None:
        return now + parsed.max_age if parsed.max_age else 0.0
    return None if parsed.expires is None else min(parsed.expires, now + MAX_AGE)
