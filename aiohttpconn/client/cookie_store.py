"""A jar's shelves: cookies by domain, within limits (RFC 6265bis section 5.7), and what requests get of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from .cookie import Cookie, domain_matches, domains_above, path_matches, paths_above
from .cookie_domains import Domains
from .cookie_selection import Site

_HOSTS = 1024
"""Hosts for which it is remembered what they get, of each scheme."""

_PREFERRED = 50
"""Cookies of one domain that stay when a jar is full, while there are domains with more (section 6.1)."""

_STEP = 20
"""Cookies that are looked at for each that comes to a jar that fills: to look at all 10,000 at once took 16 ms."""

_Key = tuple[str, str, bool]  # name, path, host_only
_CLASS = 1 << 62  # more than a jar is ever asked


def _key(cookie: Cookie) -> _Key:
    return cookie.name, cookie.path, cookie.host_only


class CookieStore:
    """The half of `CookieJar` that holds the cookies, by domain: no other domain's are looked at."""

    def __init__(self, max_cookies: int, max_per_domain: int) -> None:
        self.max_cookies = max_cookies
        self.max_per_domain = max_per_domain
        self.size = 0
        self._asked = 0  # counts what was asked for: who was used before whom
        self._made = self._pushed = 0
        self._domains: dict[str, dict[_Key, Cookie]] = {}
        # Where Secure cookies are, by name and path.
        self._secure_names: dict[str, dict[str, Domains]] = {}
        # By host; each stays until something changes there.
        self._sites: dict[str, Site] = {}
        self._secure_sites: dict[str, Site] = {}
        self._hosts = Domains()  # of both
        # From so many cookies on it is sought which of them go next; each of these by its rank when it was looked at.
        self._ample = max_cookies - max_cookies // 10
        self._sweep: Iterator[int] | None = None
        self._ranked: list[tuple[int, int, Cookie]] = []

    # --- looking ---

    def _cookies(self, domain: str | None = None) -> list[Cookie]:
        """All cookies, or those of one domain, expired ones too."""
        if domain is not None:
            return list(self._domains.get(domain, {}).values())
        return [cookie for bucket in self._domains.values() for cookie in bucket.values()]

    def _hides_secure(self, cookie: Cookie, now: float) -> bool:
        """Whether a cookie would hide, or take the place of, one that is Secure (section 5.7): of the same name, for a
        path that it goes to as well, at its domain, above it or below."""
        paths = self._secure_names.get(cookie.name)
        if paths is None:
            return False
        for domain in (cookie.domain, *domains_above(cookie.domain)):
            for other in self._domains.get(domain, {}).values():
                if (
                    other.secure
                    and other.name == cookie.name
                    and path_matches(cookie.path, other.path)
                    and not other.expired(now)
                ):
                    return True
        for path in paths_above(cookie.path):
            if path in paths:
                for domain in paths[path].below(cookie.domain):
                    if not domain_matches(domain, cookie.domain):
                        continue  # an address, which lies below nothing
                    bucket = self._domains[domain]
                    for host_only in (True, False):
                        below = bucket.get((cookie.name, path, host_only))
                        if below is not None and below.secure and not below.expired(now):
                            return True
        return False

    # --- changing ---

    def _put(self, cookie: Cookie, now: float) -> None:
        """Store a cookie in place of the one of its name, domain and path; one that has expired takes that out."""
        bucket = self._domains.get(cookie.domain)
        if bucket is None:
            bucket = {}
        key = _key(cookie)
        old = bucket.get(key)
        self._made += 1
        self._asked += 1
        cookie.order, cookie.accessed = self._made, self._asked
        gone = cookie.expired(now)
        if old is not None:
            if not old.expired(now):
                cookie.order, cookie.created = old.order, old.created
            if not gone and cookie.secure == old.secure:
                bucket[key] = cookie
                self._changed(cookie)
                return
            self._remove(old)
        if gone:
            return
        self._domains.setdefault(cookie.domain, bucket)[key] = cookie
        self.size += 1
        if cookie.secure:
            paths = self._secure_names.setdefault(cookie.name, {})
            if cookie.path not in paths:
                paths[cookie.path] = Domains()
            paths[cookie.path].add(cookie.domain)
        self._changed(cookie)
        if self._sweep is not None:
            # The others of its domain as well, once they are too many.
            for other in bucket.values() if len(bucket) == _PREFERRED + 1 else (cookie,):
                self._rank(other, now)
        if len(bucket) > self.max_per_domain:
            self._thin(cookie.domain, now)
        if self.size > self._ample:
            self._make_room(now)

    def _remove(self, cookie: Cookie) -> None:
        """Take a cookie out."""
        key = _key(cookie)
        bucket = self._domains[cookie.domain]
        del bucket[key]
        if not bucket:
            del self._domains[cookie.domain]
        if cookie.secure:
            paths = self._secure_names[cookie.name]
            paths[cookie.path].remove(cookie.domain)
            if not paths[cookie.path]:
                del paths[cookie.path]
            if not paths:
                del self._secure_names[cookie.name]
        self.size -= 1
        if self.size <= self._ample:
            self._sweep, self._ranked = None, []
        self._changed(cookie)

    def _drop_expired(self, now: float) -> None:
        """Take out all that have expired."""
        for cookie in self._cookies():
            if cookie.expired(now):
                self._remove(cookie)

    # --- making room ---

    def _rank_of(self, cookie: Cookie, now: float) -> int:
        """In which order cookies go (section 5.7's end)."""
        if cookie.expired(now):
            return 0
        if len(self._domains[cookie.domain]) <= _PREFERRED:
            return 3 * _CLASS + cookie.accessed
        return (2 if cookie.secure else 1) * _CLASS + cookie.accessed

    def _rank(self, cookie: Cookie, now: float) -> None:
        self._pushed += 1  # so that never two cookies are compared
        heappush(self._ranked, (self._rank_of(cookie, now), self._pushed, cookie))

    def _thin(self, domain: str, now: float) -> None:
        """Take cookies of a domain out, a sixth of what it may have: one by one, each would have them all looked at."""
        for host in (domain, *self._hosts.below(domain)):
            self._note_accesses(host)
        cookies = sorted(self._cookies(domain), key=lambda cookie: self._rank_of(cookie, now))
        room = self.max_per_domain - self.max_per_domain // 6
        for number, cookie in enumerate(cookies):
            if len(cookies) - number <= room and not cookie.expired(now):
                break
            self._remove(cookie)

    def _make_room(self, now: float) -> None:
        """Go a step towards room in a jar that fills; as far as it takes in one that is full."""
        work = 0
        while self.size > self._ample:
            if self._sweep is None:
                self._sweep = self._sweeping(now)
            for looked in self._sweep:
                work += looked
                if work >= _STEP and self.size <= self.max_cookies:
                    return
            self._sweep, self._ranked = None, []

    def _sweeping(self, now: float) -> Iterator[int]:
        """Find out which cookies go next while the jar fills, and once it is full take out two for each that comes,
        until it is ample again. Yields how many were looked at."""
        for sites in (self._sites, self._secure_sites):
            for site in list(sites.values()):
                site.note_accesses()
                yield 1 + len(site.cookies) // 8
        for domain in list(self._domains):
            for cookie in self._cookies(domain):
                self._rank(cookie, now)
            yield len(self._domains.get(domain, ()))
        while self.size <= self.max_cookies:
            yield _STEP
        spared: list[Cookie] = []
        while self._ranked:
            rank, _, ranked = heappop(self._ranked)
            found = self._domains.get(ranked.domain, {}).get(_key(ranked))  # another, perhaps, by now
            if found is None:
                yield 1
                continue
            cookie = found
            self._note_accesses(cookie.domain)
            if self._rank_of(cookie, now) != rank:
                self._rank(cookie, now)  # it was used since, or its domain has fewer
                if self.size <= self.max_cookies:
                    yield 1
                    continue
                spared.append(cookie)
                if len(spared) < _STEP:
                    continue
                # They are used faster than they are looked at: of these, the one that was not for longest.
                cookie = min(spared, key=lambda cookie: self._rank_of(cookie, now))
            self._remove(cookie)
            spared.clear()
            yield _STEP // 2

    # --- selecting ---

    def _select(self, host: str, secure: bool, now: float) -> Site:
        """What requests to a host get, of cookies for it and for the domains above it."""
        cookies = self._cookies(host)
        for domain in domains_above(host):
            bucket = self._domains.get(domain)
            if bucket is not None:
                cookies += [cookie for cookie in bucket.values() if not cookie.host_only]
        kept = []
        for cookie in cookies:
            if cookie.expired(now):
                self._remove(cookie)
            elif secure or not cookie.secure:
                kept.append(cookie)
        sites = self._secure_sites if secure else self._sites
        if len(sites) >= _HOSTS and host not in sites:
            self._forget((next(iter(sites)),))
        if host not in self._sites and host not in self._secure_sites:
            self._hosts.add(host)
        site = sites[host] = Site(kept)
        return site

    def _changed(self, cookie: Cookie) -> None:
        """What was selected for the hosts of a cookie holds no longer."""
        hosts = [cookie.domain]
        if not cookie.host_only:
            hosts += self._hosts.below(cookie.domain)
        self._forget(hosts)

    def _forget(self, hosts: Iterable[str]) -> None:
        for host in hosts:
            self._note_accesses(host)
            found = self._sites.pop(host, None), self._secure_sites.pop(host, None)
            if found != (None, None):
                self._hosts.remove(host)

    def _note_accesses(self, host: str) -> None:
        for sites in (self._sites, self._secure_sites):
            site = sites.get(host)
            if site is not None:
                site.note_accesses()
