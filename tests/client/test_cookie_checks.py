"""What a caller gives as cookies: jars and mappings of others, and a jar taken for a mapping."""

from __future__ import annotations

import http.cookiejar
from collections.abc import Iterator, MutableMapping
from typing import Any, cast

import pytest

from aiohttpconn.client.cookie_checks import checked_cookies
from aiohttpconn.client.cookies import CookieJar
from aiohttpconn.url import parse


def standard_cookie(name: str, value: str | None, domain: str, **changed: Any) -> http.cookiejar.Cookie:
    facts: dict[str, Any] = {
        "version": 0,
        "port": None,
        "port_specified": False,
        "domain_specified": domain.startswith("."),
        "domain_initial_dot": domain.startswith("."),
        "path": "/",
        "path_specified": True,
        "secure": False,
        "expires": None,
        "discard": True,
        "comment": None,
        "comment_url": None,
        "rest": {},
    }
    return http.cookiejar.Cookie(name=name, value=value, domain=domain, **(facts | changed))


def standard_jar(*cookies: http.cookiejar.Cookie) -> http.cookiejar.CookieJar:
    jar = http.cookiejar.CookieJar()
    for cookie in cookies:
        jar.set_cookie(cookie)
    return jar


class MappingJar(http.cookiejar.CookieJar, MutableMapping[str, str]):  # type: ignore[misc]
    """As requests has it."""

    def __getitem__(self, name: str) -> str:
        raise KeyError(name)

    def __setitem__(self, name: str, value: str) -> None: ...

    def __delitem__(self, name: str) -> None: ...


class JarInside(dict[str, str]):
    """As httpx has it."""

    jar = http.cookiejar.CookieJar()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda jar: jar.set("a", "1"), "no domain is given: a cookie belongs to a domain: jar.set"),
        (lambda jar: jar.set("a", "1", None), "no domain is given"),
        (lambda jar: jar.update({"a": "1"}), r"update\(\) takes a URL .*Client\(cookies="),
        (lambda jar: jar.update(CookieJar()), r"update\(\) takes a URL"),
        (lambda jar: jar.update("http://a.example/", ["a=1"]), r"update\(\) takes a URL"),
        (lambda jar: jar.update(parse("http://a.example/"), "a=1"), "a list of str"),
        (lambda jar: jar.__setitem__("a", "1"), "does not say where it goes: a cookie belongs to a domain"),
        (lambda jar: jar.get("a", domain=1), "must be a str like"),
    ],
)
def test_a_jar_that_is_taken_for_a_mapping_says_what_to_do(call: Any, match: str) -> None:
    jar = CookieJar()
    with pytest.raises(TypeError, match=match):
        call(jar)
    assert not jar


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (standard_jar(), r"http\.cookiejar\.CookieJar; CookieJar\.from_cookiejar\(jar\)"),
        (MappingJar(), r"test_cookie_checks\.MappingJar; CookieJar\.from_cookiejar\(jar\)"),
        (JarInside(a="1"), r"test_cookie_checks\.JarInside; CookieJar\.from_cookiejar\(cookies\.jar\)"),
        ([("a", "1")], "not list$"),
        ("a=1", "not str$"),
    ],
)
def test_what_is_no_mapping_or_the_jar_of_another_is_named(value: Any, named: str) -> None:
    with pytest.raises(TypeError, match=named):
        checked_cookies(value)


def test_the_cookies_of_a_standard_jar_are_taken_over() -> None:
    jar = CookieJar.from_cookiejar(
        standard_jar(
            standard_cookie("host", "1", "a.example.org"),
            standard_cookie("below", "2", ".example.org", secure=True, rest={"HttpOnly": None}),
            standard_cookie("nameless", None, "a.example.org", path="/x"),
            standard_cookie("old", "3", "a.example.org", expires=1, discard=False),
            standard_cookie("local", "4", "localhost.local"),
            standard_cookie("wide", "5", ".co.uk"),
        )
    )
    assert jar.header_for(parse("https://a.example.org/x")) == "nameless; host=1; below=2"
    assert jar.header_for(parse("http://b.example.org/")) is None
    assert jar.header_for(parse("http://localhost/")) == "local=4"
    assert jar.header_for(parse("http://shop.co.uk/")) is None
    assert [cookie.http_only for cookie in jar if cookie.name == "below"] == [True]


def test_a_standard_cookie_that_is_for_no_domain_is_named() -> None:
    with pytest.raises(ValueError, match="the cookie a for '' cannot be taken") as caught:
        CookieJar.from_cookiejar(standard_jar(standard_cookie("a", "hunter2", "")))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(TypeError, match="not dict"):
        CookieJar.from_cookiejar(cast("Any", {}))


def test_a_domain_is_found_however_it_is_spelt() -> None:
    jar = CookieJar()
    jar.set("a", "1", "B\xfccher.example")
    jar.set("b", "2", "::1")
    assert jar.get("a", domain="b\xfccher.example") == jar.get("a", domain=".xn--bcher-kva.example") == "1"
    assert jar.get("b", domain="[::1]") == "2"
    assert jar.delete("a", domain="b\xfccher.example") == 1
    jar.clear("[::1]")
    assert not jar


def test_only_the_domain_that_is_asked_for_is_looked_at() -> None:
    class Counted(dict[Any, Any]):
        looked = 0

        def values(self) -> Any:
            Counted.looked += len(self)
            return super().values()

        def items(self) -> Iterator[Any]:  # type: ignore[override]
            raise AssertionError("not needed")

    jar = CookieJar()
    for number in range(200):
        jar.set("a", "1", f"h{number}.example")
    jar._domains = {domain: Counted(bucket) for domain, bucket in jar._domains.items()}
    assert jar.get("a", domain="h7.example") == "1"
    assert jar.delete("a", domain="h7.example") == 1
    jar.clear("h8.example")
    assert Counted.looked == 3
