"""A jar's shelves: cookies by domain, within limits (RFC 6265bis section 5.7), and what requests get of them."""

from __future__ import annotations

from .cookie import Cookie, domain_matches, is_address, path_matches
from .cookie_selection import Site

_HOSTS = 1024
"""Hosts for which it is remembered what they get, of each scheme."""

_PREFERRED = 50
"""Cookies of one domain that stay when a jar is full, while there are domains with more (section 6.1)."""

_Key = tuple[str, str, bool]  # name, path, host_only


def _key(cookie: Cookie) -> _Key:
    return cookie.name, cookie.path, cookie.host_only


class CookieStore:
    """The half of `CookieJar` that holds the cookies, by domain: no other domain's are looked at."""

    def __init__(self, max_cookies: int, max_per_domain: int) -> None:
        self.max_cookies = max_cookies
        self.max_per_domain = max_per_domain
        self.size = 0
        self._asked = 0  # counts what was asked for: who was used before whom
        self._made = 0
        self._domains: dict[str, dict[_Key, Cookie]] = {}
        self._secure_names: dict[str, dict[tuple[str, str, str, bool], Cookie]] = {}
        # By host; each stays until something changes there.
        self._sites: dict[str, Site] = {}
        self._secure_sites: dict[str, Site] = {}

    # --- looking ---

    def _cookies(self, domain: str | None = None) -> list[Cookie]:
        """All cookies, or those of one domain, expired ones too."""
        if domain is not None:
            return list(self._domains.get(domain, {}).values())
        return [cookie for bucket in self._domains.values() for cookie in bucket.values()]

    def _hides_secure(self, cookie: Cookie, now: float) -> bool:
        """Whether a cookie would hide, or take the place of, one that is Secure (section 5.7)."""
        for other in self._secure_names.get(cookie.name, {}).values():
            if (
                (domain_matches(other.domain, cookie.domain) or domain_matches(cookie.domain, other.domain))
                and path_matches(cookie.path, other.path)
                and not other.expired(now)
            ):
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
            if not gone and cookie.secure is old.secure is False:
                bucket[key] = cookie
                self._changed(cookie)
                return
            self._remove(old)
        if gone:
            return
        self._domains.setdefault(cookie.domain, bucket)[key] = cookie
        self.size += 1
        if cookie.secure:
            self._secure_names.setdefault(cookie.name, {})[cookie.domain, *key] = cookie
        self._changed(cookie)
        # Several at once, or every cookie that comes to a full jar would have all the others looked at.
        if len(bucket) > self.max_per_domain:
            self._evict(list(bucket.values()), self.max_per_domain - self.max_per_domain // 6, now)
        if self.size > self.max_cookies:
            self._evict(self._cookies(), self.max_cookies - self.max_cookies // 10, now)

    def _remove(self, cookie: Cookie) -> None:
        """Take a cookie out."""
        key = _key(cookie)
        bucket = self._domains[cookie.domain]
        del bucket[key]
        if not bucket:
            del self._domains[cookie.domain]
        if cookie.secure:
            same = self._secure_names[cookie.name]
            del same[cookie.domain, *key]
            if not same:
                del self._secure_names[cookie.name]
        self.size -= 1
        self._changed(cookie)

    def _drop_expired(self, now: float) -> None:
        """Take out all that have expired."""
        for cookie in self._cookies():
            if cookie.expired(now):
                self._remove(cookie)

    def _evict(self, cookies: list[Cookie], room: int, now: float) -> None:
        """Take cookies out until there are `room` of these: expired ones, then in the order of section 5.7's end."""
        kept = []
        for cookie in cookies:
            if cookie.expired(now):
                self._remove(cookie)
            else:
                kept.append(cookie)
        domains = {cookie.domain for cookie in kept}
        for sites in (self._sites, self._secure_sites):
            for host, site in sites.items():
                if len(domains) > 1 or any(domain_matches(host, domain) for domain in domains):
                    site.note_accesses()
        crowded = {domain for domain in domains if len(self._domains[domain]) > _PREFERRED}

        def rank(cookie: Cookie) -> tuple[int, int]:
            priority = 2 if cookie.domain not in crowded else 1 if cookie.secure else 0
            return priority, cookie.accessed

        kept.sort(key=rank)
        for cookie in kept[: max(0, len(kept) - room)]:
            self._remove(cookie)

    # --- selecting ---

    def _select(self, host: str, secure: bool, now: float) -> Site:
        """What requests to a host get, of cookies for it and for the domains above it."""
        cookies = self._cookies(host)
        if not is_address(host):
            at = host.find(".")
            while at >= 0:
                bucket = self._domains.get(host[at + 1 :])
                if bucket is not None:
                    cookies += [cookie for cookie in bucket.values() if not cookie.host_only]
                at = host.find(".", at + 1)
        kept = []
        for cookie in cookies:
            if cookie.expired(now):
                self._remove(cookie)
            elif secure or not cookie.secure:
                kept.append(cookie)
        sites = self._secure_sites if secure else self._sites
        if len(sites) >= _HOSTS:
            self._forget_sites()
        site = sites[host] = Site(kept)
        return site

    def _changed(self, cookie: Cookie) -> None:
        """What was selected for the hosts of a cookie holds no longer."""
        if not cookie.host_only:
            self._forget_sites()
            return
        for sites in (self._sites, self._secure_sites):
            site = sites.pop(cookie.domain, None)
            if site is not None:
                site.note_accesses()

    def _forget_sites(self) -> None:
        for sites in (self._sites, self._secure_sites):
            for site in sites.values():
                site.note_accesses()
            sites.clear()
