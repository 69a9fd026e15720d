"""What one cookie costs in a jar of thousands, counted; and that what is looked up is what a look at all would find."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiohttpconn.client import cookie_store
from aiohttpconn.client.cookie import Cookie, domain_matches, path_matches, paths_above
from aiohttpconn.client.cookie_domains import Domains
from aiohttpconn.client.cookies import CookieJar
from aiohttpconn.url import parse

NOW = 1_800_000_000.0


class Looks:
    """Counts the cookies that are asked whether they have expired, or are ranked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        asked = Cookie.expired

        def expired(cookie: Cookie, now: float) -> bool:
            self.count += 1
            return asked(cookie, now)

        def matches(*arguments: str) -> bool:
            self.count += 1
            return domain_matches(*arguments)

        monkeypatch.setattr(Cookie, "expired", expired)
        monkeypatch.setattr(cookie_store, "domain_matches", matches, raising=False)

    def of(self, jar: CookieJar, url: str, line: str) -> int:
        before = self.count
        jar.update(parse(url), [line], now=NOW)
        return self.count - before


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


# --- below and above --------------------------------------------------------------------------------------------------


def test_domains_below_stand_together() -> None:
    domains = Domains()
    for domain in ("a.example.org", "example.org", "b.a.example.org", "xexample.org", "org", "a.example.org"):
        domains.add(domain)
    assert sorted(domains.below("example.org")) == ["a.example.org", "a.example.org", "b.a.example.org"]
    domains.remove("a.example.org")
    assert sorted(domains.below("example.org")) == ["a.example.org", "b.a.example.org"]
    assert list(domains.below("example.com")) == list(domains.below("b.a.example.org")) == []
    assert len(domains) == 5


@given(st.text("/ab", max_size=9).map("/".__add__), st.text("/ab", max_size=9).map("/".__add__))
def test_paths_above_are_all_that_match(path: str, other: str) -> None:
    assert (other in paths_above(path)) == path_matches(path, other)


DOMAINS = st.sampled_from(
    ["org", "example.org", "a.example.org", "b.a.example.org", "b.example.org", "10.0.0.1", "0.1"]
)
PATHS = st.sampled_from(["/", "/a", "/a/", "/a/b", "/ab"])
COOKIES = st.builds(
    lambda domain, path, host_only, secure, ends: Cookie(
        "n", "v", domain, path, host_only=host_only, secure=secure, expires=ends
    ),
    *(DOMAINS, PATHS, st.booleans(), st.booleans(), st.sampled_from([None, NOW - 1, NOW + 1])),
)


@given(st.lists(COOKIES, max_size=8), COOKIES)
@example(
    [Cookie("n", "v", "10.0.0.1", "/", host_only=False, secure=True)], Cookie("n", "v", "0.1", "/", host_only=False)
)
def test_what_hides_a_secure_cookie_is_what_a_look_at_all_would_find(cookies: list[Cookie], one: Cookie) -> None:
    jar = CookieJar()
    for cookie in cookies:
        jar._put(cookie, NOW - 2)
    assert jar._hides_secure(one, NOW) == any(
        (domain_matches(other.domain, one.domain) or domain_matches(one.domain, other.domain))
        and path_matches(one.path, other.path)
        and other.secure
        and not other.expired(NOW)
        for other in jar._cookies()
    )


def test_http_looks_at_no_secure_cookies_of_other_domains(looks: Looks) -> None:
    jar = CookieJar()
    for number in range(8_900):
        jar.update(parse(f"https://h{number % 890}.example/"), [f"sid=v; Secure; Path=/{number // 890}"], now=NOW)
    assert jar.size == 8_900
    for url, line in (
        ("http://other.example/", "sid=1; Path=/"),
        ("http://h7.example/", "sid=1; Path=/other"),
        ("http://a.h7.example/", "sid=1; Path=/other; Domain=h7.example"),
        ("http://example/", "sid=1; Path=/other"),
    ):
        assert looks.of(jar, url, line) <= 5, url
        assert jar.get("sid", domain=parse(url).host, path="/") is None or "other" in url
    size = jar.size
    for url in ("http://h7.example/", "http://a.h7.example/", "http://example/"):
        assert looks.of(jar, url, "sid=evil; Path=/3/deep") <= 5, url
    assert jar.size == size


# --- a change and the hosts that it concerns --------------------------------------------------------------------------


def test_a_domains_cookie_leaves_what_other_hosts_get() -> None:
    jar = CookieJar()
    for host in ("a.example.org", "b.a.example.org", "example.com", "org"):
        jar.header_for(parse(f"http://{host}/"), now=NOW)
    kept = jar._sites["example.com"]
    jar.update(parse("http://a.example.org/"), ["n=v; Domain=example.org"], now=NOW)
    assert set(jar._sites) == {"example.com", "org"}
    assert jar._sites["example.com"] is kept
    assert jar.header_for(parse("http://b.a.example.org/"), now=NOW) == "n=v"


def test_of_many_hosts_the_one_that_was_first_is_forgotten() -> None:
    jar = CookieJar()
    for number in range(1_100):
        jar.header_for(parse(f"https://h{number}.example/"), now=NOW)
    assert len(jar._secure_sites) == len(jar._hosts) == 1_024
    assert "h1099.example" in jar._secure_sites
    assert "h75.example" not in jar._secure_sites


# --- a full jar -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", [4_000, 60])
def test_no_cookie_that_comes_to_a_full_jar_has_all_others_looked_at(hosts: int, looks: Looks) -> None:
    jar = CookieJar()
    most = total = 0
    for number in range(15_000):
        jar.header_for(parse(f"http://h{number * 7 % hosts}.example/"), now=NOW)
        looked = looks.of(jar, f"http://h{number % hosts}.example/", f"c{number}=v")
        most, total = max(most, looked), total + looked
        assert jar.size <= jar.max_cookies
    assert jar.size >= 9_000
    assert most <= 400  # those of one domain are at most 180, and looked at together
    assert total <= 15_000 * 3 * 20


def test_a_full_jar_keeps_what_was_used_and_what_came_last() -> None:
    jar = CookieJar(max_cookies=1_000)
    for number in range(2_000):
        jar.update(parse(f"http://h{number}.example/"), ["n=v"], now=NOW)
        assert jar.header_for(parse("http://h0.example/"), now=NOW) == "n=v"
        if number % 20 == 0:
            jar.header_for(parse("http://h1.example/"), now=NOW)
    names = {cookie.domain for cookie in jar._cookies()}
    assert {"h0.example", "h1.example"} <= names
    assert {f"h{number}.example" for number in range(1_100, 2_000)} <= names


def test_in_a_full_jar_what_floods_it_goes_before_all_others() -> None:
    jar = CookieJar(max_cookies=1_000, max_per_domain=100)
    for number in range(950):
        jar.update(parse(f"http://h{number}.example/"), ["n=v"], now=NOW)
    assert jar._sweep is not None  # it has ranked those before the flood comes
    for number in range(1_000):
        jar.update(parse(f"http://flood{number % 5}.example/"), [f"c{number}=v"], now=NOW)
    domains = [cookie.domain for cookie in jar._cookies()]
    assert sum(domain.startswith("flood") for domain in domains) >= 50
    assert sum(domain.startswith("h") for domain in domains) >= 750


def test_a_jar_that_is_ample_again_remembers_nothing_of_the_others() -> None:
    jar = CookieJar(max_cookies=100)
    for number in range(95):
        jar.update(parse(f"http://h{number}.example/"), ["n=v"], now=NOW)
    assert jar._sweep is not None
    assert jar._ranked
    jar.clear()
    assert (jar._sweep, jar._ranked, jar._secure_names) == (None, [], {})


@pytest.mark.parametrize("room", [1, 2, 9, 10, 11, 30])
def test_a_jar_of_any_size_holds_as_many_as_it_says(room: int) -> None:
    jar = CookieJar(max_cookies=room)
    sizes: list[Any] = []
    for number in range(4 * room):
        jar.update(parse(f"http://h{number}.example/"), ["n=v"], now=NOW)
        sizes.append(jar.size)
        assert jar.get("n", domain=f"h{number}.example") == "v"
    assert max(sizes) == room
    assert min(sizes[room:]) >= room - room // 10 - 1
