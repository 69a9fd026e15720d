"""The jar by RFC 6265bis: what is taken from Set-Cookie, and what goes into Cookie."""

from __future__ import annotations

from typing import Any

import pytest

from aiohttpconn import InvalidHeader, InvalidURL
from aiohttpconn.client.cookie_checks import checked_cookies
from aiohttpconn.client.cookies import Cookie, CookieJar, parse_set_cookie
from aiohttpconn.url import parse

NOW = 1_800_000_000.0
DAY = 86_400


def jar_of(url: str, *lines: str, now: float = NOW) -> CookieJar:
    jar = CookieJar()
    jar.update(parse(url), lines, now=now)
    return jar


def sent(jar: CookieJar, url: str, now: float = NOW) -> str | None:
    return jar.header_for(parse(url), now=now)


# --- one line ---------------------------------------------------------------------------------------------------------


def test_a_line_is_name_value_and_attributes() -> None:
    cookie = parse_set_cookie(' sid = "a b" ; PATH=/x;Path=/y ; Secure; Max-Age=5; Max-Age=x; SameSite=lax; Odd')
    assert cookie is not None
    assert (cookie.name, cookie.value) == ("sid", '"a b"')
    assert cookie.attributes == {"path": "/y", "secure": "", "max-age": "5", "samesite": "lax", "odd": ""}
    assert (cookie.path, cookie.secure, cookie.http_only, cookie.max_age) == ("/y", True, False, 5)
    assert cookie.same_site == "Lax"
    assert "a b" not in repr(cookie)


@pytest.mark.parametrize("line", ["", "=", " ; Path=/", "a=\x00", "a\x1f=b", "a=b; Path=/\x7f", "a=b\r", "a" * 4097])
def test_what_is_no_cookie_is_ignored(line: str) -> None:
    assert parse_set_cookie(line) is None
    assert len(jar_of("http://a.example/", line)) == 0


def test_a_tab_is_no_control_character() -> None:
    assert sent(jar_of("http://a.example/", "a=b\tc"), "http://a.example/") == "a=b\tc"


def test_name_and_value_may_have_4096_octets_together() -> None:
    jar = jar_of("http://a.example/", "a=" + "x" * 4095, "b=" + "y" * 4096)
    assert [cookie.name for cookie in jar] == ["a"]


def test_an_attribute_of_more_than_1024_octets_is_not_there() -> None:
    path = "/" + "p" * 1024
    jar = jar_of("http://a.example/x/y", f"a=b; Path={path}", f"c=d; Path={path[:-1]}")
    assert {cookie.name: cookie.path for cookie in jar} == {"a": "/x", "c": path[:-1]}


# --- where it belongs -------------------------------------------------------------------------------------------------


def test_without_domain_it_is_for_the_host_alone() -> None:
    jar = jar_of("http://a.example.org/", "a=b")
    assert sent(jar, "http://a.example.org/") == "a=b"
    assert sent(jar, "http://a.example.org:8080/") == "a=b"
    assert sent(jar, "http://b.a.example.org/") is None
    assert sent(jar, "http://example.org/") is None


@pytest.mark.parametrize("domain", ["example.org", ".example.org", "EXAMPLE.org"])
def test_with_domain_it_is_for_all_below(domain: str) -> None:
    jar = jar_of("http://a.example.org/", f"a=b; Domain={domain}")
    for host in ("example.org", "a.example.org", "x.y.example.org"):
        assert sent(jar, f"http://{host}/") == "a=b", host
    for host in ("badexample.org", "org", "example.com"):
        assert sent(jar, f"http://{host}/") is None, host


@pytest.mark.parametrize(
    "domain", ["b.example.org", "x.a.example.org", "ample.org", "org", "co.uk", "a.example.org.", "ex\xe4mple.org"]
)
def test_a_host_cannot_set_for_another_or_for_everybody(domain: str) -> None:
    assert len(jar_of("http://a.example.org/", f"a=b; Domain={domain}")) == 0


@pytest.mark.parametrize("host", ["localhost", "github.io", "xn--55qx5d.cn"])
def test_a_host_that_is_a_public_suffix_sets_for_itself_alone(host: str) -> None:
    jar = jar_of(f"http://{host}/", f"a=b; Domain={host}")
    assert sent(jar, f"http://{host}/") == "a=b"
    assert sent(jar, f"http://x.{host}/") is None


def test_a_private_suffix_is_public() -> None:
    assert len(jar_of("http://me.github.io/", "a=b; Domain=github.io")) == 0


@pytest.mark.parametrize(
    ("host", "domain", "kept"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.1", False),
        ("[::1]", "::1", True),
        ("[::1]", "1", False),
    ],
)
def test_an_address_is_for_itself_alone(host: str, domain: str, kept: bool) -> None:
    jar = jar_of(f"http://{host}/", f"a=b; Domain={domain}")
    assert [cookie.host_only for cookie in jar] == [True] * kept
    assert sent(jar, f"http://{host}/") == ("a=b" if kept else None)


@pytest.mark.parametrize(
    ("path", "request_path", "goes"),
    [
        ("/a", "/a", True),
        ("/a", "/a/", True),
        ("/a", "/a/b?c", True),
        ("/a", "/ab", False),
        ("/a/", "/a", False),
        ("/a/", "/a/b", True),
        ("/", "/x", True),
        ("relative", "/dir/x", True),
        ("", "/dir", True),
        ("", "/other", False),
    ],
)
def test_paths_match_whole_segments(path: str, request_path: str, goes: bool) -> None:
    jar = jar_of("http://a.example/dir/page", f"a=b; Path={path}")
    assert sent(jar, "http://a.example" + request_path) == ("a=b" if goes else None)


def test_longer_paths_come_first_then_older_cookies() -> None:
    jar = jar_of("http://a.example/x/y", "one=1; Path=/", "two=2; Path=/x/y", "three=3; Path=/", "four=4; Path=/x")
    assert sent(jar, "http://a.example/x/y") == "two=2; four=4; one=1; three=3"
    jar.update(parse("http://a.example/"), ["one=new; Path=/"], now=NOW + 1)
    assert sent(jar, "http://a.example/") == "one=new; three=3"


def test_what_a_host_and_its_domain_set_go_together() -> None:
    jar = jar_of("http://a.example.org/", "a=1", "a=2; Domain=example.org")
    assert sent(jar, "http://a.example.org/") == "a=1; a=2"
    assert len(jar) == 2


# --- Secure and prefixes ----------------------------------------------------------------------------------------------


def test_secure_goes_over_https_only() -> None:
    jar = jar_of("https://a.example/", "a=b; Secure")
    assert sent(jar, "https://a.example/") == "a=b"
    assert sent(jar, "http://a.example/") is None


def test_secure_is_not_set_over_http() -> None:
    assert len(jar_of("http://a.example/", "a=b; Secure")) == 0


@pytest.mark.parametrize(
    ("url", "line", "taken"),
    [
        ("http://a.example.org/", "a=evil", False),
        ("http://a.example.org/", "a=evil; Domain=example.org", False),
        ("http://x.a.example.org/", "a=evil", False),
        ("http://a.example.org/", "a=evil; Path=/login/deep", False),
        ("http://a.example.org/", "a=; Path=/login; Max-Age=0", False),
        ("http://a.example.org/", "a=fine; Path=/elsewhere", True),
        ("http://b.example.org/", "a=fine; Path=/login", True),
        ("http://a.example.org/", "other=fine; Path=/login", True),
        ("https://a.example.org/", "a=fine; Path=/login", True),
    ],
)
def test_http_does_not_touch_a_secure_cookie(url: str, line: str, taken: bool) -> None:
    line = line if "Path" in line else line + "; Path=/login"
    jar = jar_of("https://a.example.org/", "a=secret; Secure; Path=/login")
    jar.update(parse(url), [line], now=NOW)
    values = {cookie.value for cookie in jar}
    assert ("fine" in values) is taken
    assert "evil" not in values
    if not url.startswith("https"):
        assert jar.get("a", domain="a.example.org", path="/login") == "secret"


def test_http_does_not_lengthen_what_a_secure_cookie_hides() -> None:
    jar = jar_of("http://a.example/", "a=1; Path=/x; Max-Age=100")
    jar.update(parse("https://a.example/"), ["a=2; Path=/; Secure"], now=NOW)
    jar.update(parse("http://a.example/"), ["a=1; Path=/x; Max-Age=100"], now=NOW + 50)
    assert sent(jar, "http://a.example/x", NOW + 99) == "a=1"
    assert sent(jar, "http://a.example/x", NOW + 101) is None


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("__Secure-a=b; Secure", True),
        ("__Secure-a=b", False),
        ("__SECURE-a=b", False),
        ("__Host-a=b; Secure; Path=/", True),
        ("__Host-a=b; Secure", False),
        ("__host-a=b; Secure; Path=/x", False),
        ("__Host-a=b; Secure; Path=/; Domain=a.example.org", False),
        ("__Host-a=b; Path=/", False),
        ("=__host-a=b; Secure; Path=/", False),
        ("__Secure-a", False),
        ("a=b; SameSite=None", False),
        ("a=b; SameSite=None; Secure", True),
    ],
)
def test_a_cookie_keeps_what_its_name_promises(line: str, kept: bool) -> None:
    assert len(jar_of("https://a.example.org/", line)) == kept


@pytest.mark.parametrize(
    ("said", "kept"), [("strict", "Strict"), ("LAX", "Lax"), ("None", "None"), ("odd", None), ("", None)]
)
def test_same_site_is_kept(said: str, kept: str | None) -> None:
    (cookie,) = jar_of("https://a.example/", f"a=b; Secure; HttpOnly; SameSite={said}")
    assert cookie.same_site == kept
    assert (cookie.secure, cookie.http_only, cookie.host_only) == (True, True, True)


# --- time -------------------------------------------------------------------------------------------------------------


def test_max_age_goes_before_expires() -> None:
    jar = jar_of("http://a.example/", "a=b; Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    assert sent(jar, "http://a.example/", NOW + 9) == "a=b"
    assert sent(jar, "http://a.example/", NOW + 10) is None
    assert jar.size == 0


@pytest.mark.parametrize("end", ["Max-Age=0", "Max-Age=-1", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_past_end_takes_a_cookie_out(end: str) -> None:
    jar = jar_of("http://a.example/", "a=b", "c=d")
    jar.update(parse("http://a.example/"), [f"a=; {end}"], now=NOW)
    assert sent(jar, "http://a.example/") == "c=d"
    assert jar.size == 1


@pytest.mark.parametrize("end", ["Max-Age=" + "9" * 1000, "Expires=Fri, 31 Dec 9999 23:59:59 GMT"])
def test_nothing_is_kept_for_more_than_400_days(end: str) -> None:
    jar = jar_of("http://a.example/", f"a=b; {end}")
    assert sent(jar, "http://a.example/", NOW + 400 * DAY - 1) == "a=b"
    assert sent(jar, "http://a.example/", NOW + 400 * DAY) is None


@pytest.mark.parametrize("end", ["Max-Age=", "Max-Age=1.5", "Max-Age=+1", "Max-Age=x", "Expires=never", "Expires"])
def test_an_end_that_means_nothing_is_not_there(end: str) -> None:
    (cookie,) = jar_of("http://a.example/", f"a=b; {end}")
    assert cookie.expires is None


def test_a_cookie_that_is_set_again_ends_later_or_earlier() -> None:
    url = parse("http://a.example/")
    jar = jar_of("http://a.example/", "a=b; Max-Age=100")
    assert sent(jar, "http://a.example/") == "a=b"
    jar.update(url, ["a=b; Max-Age=100"], now=NOW + 50)
    assert sent(jar, "http://a.example/", NOW + 149) == "a=b"
    jar.update(url, ["a=b; Max-Age=1"], now=NOW + 50)
    assert sent(jar, "http://a.example/", NOW + 52) is None
    jar.update(url, ["a=b; Max-Age=100"], now=NOW + 60)
    assert sent(jar, "http://a.example/", NOW + 61) == "a=b"


def test_another_host_does_not_lengthen_a_cookie_by_the_same_line() -> None:
    line = "a=b; Domain=example.org; Max-Age=100"
    jar = jar_of("http://example.org/", line)
    jar.update(parse("http://example.com/"), [line], now=NOW + 50)
    assert sent(jar, "http://example.org/", NOW + 101) is None


def test_the_field_follows_every_change() -> None:
    url = "http://a.example.org/x"
    jar = jar_of(url, "a=1; Path=/")
    assert sent(jar, url) == "a=1"
    jar.update(parse(url), ["a=2; Path=/"], now=NOW)
    assert sent(jar, url) == "a=2"
    jar.update(parse("http://b.example.org/"), ["d=3; Domain=example.org; Path=/"], now=NOW)
    assert sent(jar, url) == "a=2; d=3"
    jar.update(parse(url), ["p=4; Path=/x"], now=NOW)
    assert sent(jar, url) == "p=4; a=2; d=3"
    assert sent(jar, "http://a.example.org/y") == "a=2; d=3"
    assert jar.delete("a") == 1
    assert sent(jar, url) == "p=4; d=3"


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_domain_has_room_for_fifty_and_no_more_than_its_limit() -> None:
    jar = jar_of("http://a.example/", *[f"c{number}=v" for number in range(500)])
    assert 50 <= len(jar) <= jar.max_per_domain
    assert jar.size == len(list(jar))
    assert "c499" in jar
    assert "c0" not in jar


def test_a_jar_has_room_for_3000_and_no_more_than_its_limit() -> None:
    jar = CookieJar()
    for number in range(12_000):
        jar.update(parse(f"http://h{number % 4_000}.example/"), [f"c{number}=v"], now=NOW)
        assert jar.size <= jar.max_cookies
    assert 3_000 <= len(jar) <= 10_000


def test_the_least_recently_sent_goes_first_and_secure_last() -> None:
    jar = CookieJar(max_per_domain=3)
    url = parse("http://a.example/x")
    jar.update(url, ["a=1; Path=/a", "b=2; Path=/b", "c=3; Path=/c"], now=NOW)
    assert sent(jar, "http://a.example/a") == "a=1"
    jar.update(url, ["d=4; Path=/d"], now=NOW)
    assert sorted(cookie.name for cookie in jar) == ["a", "c", "d"]


def test_expired_cookies_go_before_all_others() -> None:
    jar = CookieJar(max_per_domain=2)
    url = parse("http://a.example/")
    jar.update(url, ["old=1", "brief=2; Max-Age=1"], now=NOW)
    jar.update(url, ["new=3"], now=NOW + 2)
    assert sorted(cookie.name for cookie in jar) == ["new", "old"]


def test_crowded_domains_make_room_first_and_there_what_is_not_secure() -> None:
    jar = CookieJar(max_cookies=100)
    jar.update(parse("https://small.example/"), ["kept=1"], now=NOW)
    jar.update(parse("https://big.example/"), [f"s{n}=1; Secure" for n in range(60)], now=NOW)
    jar.update(parse("https://big.example/"), [f"n{n}=1" for n in range(40)], now=NOW)
    assert 90 <= len(jar) <= 100
    assert "kept" in jar
    assert sum(cookie.secure for cookie in jar) == 60


def test_many_hosts_and_paths_leave_no_trace() -> None:
    jar = jar_of("http://a.example/", "a=b; Path=/x")
    for number in range(5_000):
        sent(jar, f"http://h{number}.example/")
        sent(jar, f"http://a.example/{number}")
    held = len(jar._sites) + len(jar._secure_sites)
    assert held <= 2 * 1024
    assert sum(len(site.paths) for site in jar._sites.values()) <= 64 * 2
    assert jar.size == 1


# --- a caller's own hand ----------------------------------------------------------------------------------------------


def test_set_get_delete_clear() -> None:
    jar = CookieJar()
    assert len(jar) == jar.size == 0
    assert not jar
    jar.set("a", "1", "example.org")
    jar.set("a", "2", "example.org", "/deep")
    jar.set("b", "3", ".Example.com", secure=True, http_only=True, same_site="Lax")
    assert jar.get("a") == "2"
    assert jar.get("a", path="/") == "1"
    assert jar.get("a", domain="example.com") is None
    assert jar.get("gone", "default") == "default"
    assert sent(jar, "https://x.example.com/") == "b=3"
    assert sent(jar, "http://x.example.com/") is None
    assert sent(jar, "http://x.example.org/") is None
    assert len(jar) == 3
    assert jar.delete("a", path="/deep") == 1
    assert jar.delete("a", path="/deep") == 0
    jar.clear("example.com")
    assert [cookie.name for cookie in jar] == ["a"]
    jar.clear()
    assert not jar
    assert sent(jar, "http://example.org/") is None


def test_a_session_ends() -> None:
    jar = CookieJar()
    jar.update(parse("http://a.example/"), ["a=1", "b=2; Max-Age=100"])
    jar.end_session()
    assert [cookie.name for cookie in jar] == ["b"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": "a;b"}, InvalidHeader),
        ({"name": "a=b"}, InvalidHeader),
        ({"name": "a\n"}, InvalidHeader),
        ({"name": "", "value": ""}, ValueError),
        ({"value": "x;y"}, InvalidHeader),
        ({"value": "x\r\ny"}, InvalidHeader),
        ({"value": "\u20ac"}, InvalidHeader),
        ({"value": "x" * 4096}, ValueError),
        ({"path": "x"}, ValueError),
        ({"path": "/\n"}, ValueError),
        ({"domain": ""}, InvalidURL),
        ({"domain": "a b"}, InvalidURL),
        ({"domain": "."}, InvalidURL),
        ({"domain": "..x.com"}, InvalidURL),
        ({"domain": "x..com"}, InvalidURL),
        ({"domain": "*.x.com"}, InvalidURL),
        ({"domain": "x.com/path"}, InvalidURL),
        ({"domain": "https://x.com"}, InvalidURL),
        ({"domain": "user@x.com"}, InvalidURL),
        ({"domain": "x.com?a"}, InvalidURL),
        ({"domain": "x.com:80"}, InvalidURL),
        ({"domain": "[::1]:80"}, InvalidURL),
        ({"domain": None}, TypeError),
        ({"domain": b"x.com"}, TypeError),
        ({"domain": ".co.uk"}, ValueError),
        ({"domain": "github.io", "host_only": False}, ValueError),
        ({"domain": "localhost", "host_only": False}, ValueError),
        ({"path": None}, TypeError),
        ({"path": "/\u20ac"}, ValueError),
        ({"expires": float("nan")}, ValueError),
        ({"expires": float("inf")}, ValueError),
        ({"expires": "tomorrow"}, TypeError),
        ({"expires": True}, TypeError),
        ({"name": "__Host-a"}, ValueError),
        ({"name": "__Secure-a"}, ValueError),
        ({"same_site": "lax"}, ValueError),
    ],
)
def test_set_refuses_what_no_server_could_set(arguments: dict[str, Any], error: type[Exception]) -> None:
    jar = CookieJar()
    with pytest.raises(error) as caught:
        jar.set(**({"name": "n", "value": "v", "domain": "a.example"} | arguments))
    assert len(jar) == 0
    assert "x;y" not in str(caught.value)


def test_what_is_seen_of_a_jar_is_a_copy_without_secrets() -> None:
    jar = jar_of("https://a.example/", "sid=hunter2; Path=/x", now=NOW)
    (cookie,) = jar
    assert cookie == Cookie("sid", "hunter2", "a.example", "/x")
    assert cookie in jar
    assert "sid" in jar
    assert "hunter2" not in f"{jar!r} {cookie!r} {jar} {cookie}"
    cookie.value = "changed"
    assert jar.get("sid") == "hunter2"
    assert len({cookie, Cookie("sid", "x", "a.example", "/x")}) == 2


@pytest.mark.parametrize("cookies", [{"": "x"}, {"a=b": "x"}, {"a": "x;y"}, {"a": "\0"}, {"a;": "b"}, {"a": "\u20ac"}])
def test_a_mapping_is_checked(cookies: dict[str, str]) -> None:
    with pytest.raises(InvalidHeader) as caught:
        checked_cookies(cookies)
    assert "x;y" not in str(caught.value)


def test_a_mapping_stays_as_it_is() -> None:
    assert checked_cookies({"a": 'b "c", d', "e": "=", "f": ""}) == {"a": 'b "c", d', "e": "=", "f": ""}
    with pytest.raises(TypeError):
        checked_cookies({1: "x"})  # type: ignore[dict-item]
