"""A jar under whatever servers send, and under several threads."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from aiohttpconn.client.cookie_dates import parse_cookie_date
from aiohttpconn.client.cookies import CookieJar
from aiohttpconn.url import parse

if TYPE_CHECKING:
    from collections.abc import Callable

OCTETS = st.text(st.characters(max_codepoint=255), max_size=60)
ATTRIBUTES = st.sampled_from(
    (
        *("Path", "Path=/", "Path=/a/b", "Domain=example.org", "Domain=.org", "Secure", "Max-Age=9", "Max-Age=0"),
        *("HttpOnly", "SameSite=None", "Expires=Thu, 31 Feb 2030 00:00:00 GMT", "Expires=Fri, 01 Mar 2030 00:00:00"),
        *("=", "a=b"),
    )
)
LINES = st.builds(lambda pair, attributes: "; ".join([pair, *attributes]), OCTETS, st.lists(ATTRIBUTES, max_size=5))
URLS = st.sampled_from(
    ["http://example.org/", "https://a.example.org/a/b", "http://a.example.org/a", "https://org/", "http://[::1]/x"]
)


@given(st.lists(st.tuples(URLS, st.lists(LINES, max_size=4), st.integers(0, 20)), max_size=12))
def test_any_line_is_taken_or_left_and_the_count_is_exact(steps: list[tuple[str, list[str], int]]) -> None:
    jar, now = CookieJar(max_cookies=6, max_per_domain=3), 1_700_000_000.0
    for url, lines, later in steps:
        now += later
        jar.update(parse(url), lines, now=now)
        assert jar.size == len(jar._cookies()) <= 6
        places = [domains for paths in jar._secure_names.values() for domains in paths.values()]
        assert sum(map(len, places)) == sum(cookie.secure for cookie in jar._cookies())
        for asked in ("http://a.example.org/a/b", "https://a.example.org/a/b"):
            value = jar.header_for(parse(asked), now=now)
            fresh = CookieJar()  # has selected nothing before
            for cookie in sorted(jar._cookies(), key=lambda cookie: cookie.order):
                fresh._put(cookie.copy(), now)
            assert value == fresh.header_for(parse(asked), now=now)
            assert len(jar._hosts) == len({*jar._sites, *jar._secure_sites})
            assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value or "")


@given(OCTETS)
def test_any_date_means_a_time_or_none(text: str) -> None:
    time = parse_cookie_date(text)
    assert time is None or -11_644_473_600 <= time < 253_402_300_800


def test_threads_share_a_jar() -> None:
    jar, failures = CookieJar(max_cookies=300, max_per_domain=20), []

    def visit(number: int) -> None:
        for turn in range(300):
            url = parse(f"https://h{(number + turn) % 40}.example/a/{turn % 7}")
            lines = [f"c{turn % 30}={turn}; Path=/a", f"s{number}=1; Secure; Max-Age={turn % 3}", "d=1; Domain=example"]
            jar.update(url, lines)
            jar.header_for(url)
            jar.delete(f"c{turn % 11}", domain=url.host)

    def noting(call: Callable[[int], None], number: int) -> None:
        try:
            call(number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=noting, args=(visit, number)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert jar.size == len(jar._cookies()) <= 300


def test_a_request_looks_at_no_other_domains_cookies() -> None:
    jar = CookieJar()
    for number in range(10_000):
        jar.update(parse(f"http://h{number % 1000}.example/"), [f"c{number}=v"])
    assert jar.size == 10_000
    looked: list[str] = []

    class Watched(dict):  # type: ignore[type-arg]
        def get(self, key: str, default: object = None) -> object:
            looked.append(key)
            return super().get(key, default)

        def values(self) -> object:
            raise AssertionError("all domains were looked at")

    jar._domains = Watched(jar._domains)
    value = jar.header_for(parse("http://h7.example/"))
    assert value is not None
    assert value.count("; ") == 9
    assert set(looked) <= {"h7.example", "example"}
    assert jar.header_for(parse("http://h7.example/")) == value
    assert len(looked) <= 2
